//! Secrets that a person types: asked for on the terminal, not shown.

use std::io::{Read, Write, stderr, stdin};

use anyhow::Context;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::service::exit::{Failure, USAGE};

/// What was asked for can't be done.
pub fn refuse(message: impl Into<String>) -> anyhow::Error {
    Failure::new(USAGE, message).into()
}

/// Asks for something new, twice.
pub fn ask_twice(prompt: &str) -> anyhow::Result<String> {
    let first = ask(prompt)?;
    if first.is_empty() {
        return Err(refuse("nothing typed, nothing changed"));
    }
    if ask("Once more: ")? != first {
        return Err(refuse("these were two different ones, nothing changed"));
    }
    Ok(first)
}

/// Reads a line from the terminal without showing it.
pub fn ask(prompt: &str) -> anyhow::Result<String> {
    let _ = write!(stderr(), "{prompt}");
    let terminal = Hidden::new()?;
    let mut line = Vec::new();
    let end = loop {
        let mut byte = [0];
        match stdin().lock().read(&mut byte)? {
            0 => break Ok(()),
            _ => match byte[0] {
                b'\r' | b'\n' => break Ok(()),
                // Ctrl-C and Ctrl-D arrive as characters here
                3 | 4 => break Err(refuse("nothing changed")),
                // backspace takes a character, which may be several bytes
                8 | 127 => while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {},
                // Ctrl-U
                21 => line.clear(),
                byte => line.push(byte),
            },
        }
    };
    drop(terminal);
    let _ = writeln!(stderr());
    end?;
    String::from_utf8(line).context("a password is UTF-8 text")
}

/// Standard input without echo and line editing, until dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> anyhow::Result<Hidden> {
        let before = tcgetattr(stdin()).context("the terminal")?;
        let mut without = before.clone();
        // no signals either: the terminal must not be left like this
        without.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(stdin(), SetArg::TCSAFLUSH, &without).context("the terminal")?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.0);
    }
}
