//! What the supervisor shows a person: lines that stay, and one at the bottom that changes.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

/// Between two status lines where nobody watches a terminal.
pub const SLOW: Duration = Duration::from_secs(10);
/// The same on a terminal.
pub const LIVE: Duration = Duration::from_secs(1);

/// Standard output, and standard error where both are the same terminal.
#[derive(Debug)]
pub struct Terminal {
    /// A line at the bottom is rewritten in place.
    live: bool,
    /// What our processes write to standard error has to pass through here, or it would end in that line.
    pub shared: bool,
    status: String,
}

// Errors are passed over throughout: the plant runs on when nobody can watch it any more.
impl Terminal {
    pub fn new() -> Terminal {
        let live = stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Terminal { live, shared: live && stderr().is_terminal(), status: String::new() }
    }

    /// How often [`Terminal::status`] is worth calling.
    pub fn period(&self) -> Duration {
        if self.live { LIVE } else { SLOW }
    }

    /// Text for standard output that stays, with its line feed.
    pub fn print(&mut self, text: &str) {
        self.clear();
        let mut stdout = stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        drop(stdout);
        self.draw();
    }

    /// A line of the log, with its line feed.
    pub fn log(&mut self, line: &[u8]) {
        self.clear();
        let _ = stderr().lock().write_all(line);
        self.draw();
    }

    /// The line at the bottom; where there is none, a line like all others.
    pub fn status(&mut self, text: &str) {
        self.clear();
        // what a DBC file says must not move the cursor
        self.status = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.live {
            self.draw();
        } else if !self.status.is_empty() {
            let line = format!("{}\n", self.status);
            let mut stdout = stdout().lock();
            let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
        }
    }

    fn clear(&self) {
        if self.live && !self.status.is_empty() {
            let _ = stdout().write_all(b"\r\x1b[K");
            let _ = stdout().flush();
        }
    }

    fn draw(&self) {
        if self.live && !self.status.is_empty() {
            // no line wrap: what is longer than the terminal is wide is cut off
            let line = format!("\r\x1b[K\x1b[?7l{}\x1b[?7h", self.status);
            let mut stdout = stdout().lock();
            let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
        }
    }
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal::new()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.clear();
    }
}
