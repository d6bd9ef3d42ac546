//! The log: to the journal with its fields where systemd has connected us to it, else lines on standard error.
//!
//! A reader that stands still (journald stopped, a terminal held by Ctrl-S, a supervisor that does not read) holds up nobody:
//! the controller's main thread, which feeds the watchdog, writes here too. What can't be written at once is dropped and
//! counted, and the next line that gets through says how many were.

mod journal;
mod outlet;

use std::fmt;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::plant::text;
use crate::store::clock;
use journal::Journal;
use outlet::Shared;

/// `CANVOY_LOG` chooses what is logged, as in RUST_LOG. What the OPC UA library says about clients is ours to say.
const DEFAULT: &str = "info,opcua=error,opcua_core=error,opcua_crypto=error,opcua_types=off";

/// Which process writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Controller,
    Plant,
    Link,
}

impl Who {
    /// SYSLOG_IDENTIFIER: as its unit is called.
    fn identifier(self) -> &'static str {
        match self {
            Who::Controller => "canvoy",
            Who::Plant => "canvoy-plant",
            Who::Link => "canvoy-link",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Who::Controller => "controller",
            Who::Plant => "plant",
            Who::Link => "link",
        }
    }
}

/// Starts it. `beside_others`: lines of other processes stand between ours.
pub fn start(who: Who, beside_others: bool) {
    let filter = EnvFilter::try_from_env("CANVOY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    // a second start changes nothing
    if is_journal()
        && let Ok(journal) = Journal::new(who.identifier(), journal::SOCKET.into())
    {
        let _ = registry.with(journal).try_init();
        return;
    }
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let colours = !has("NO_COLOR") && (std::io::stderr().is_terminal() || has("CLICOLOR_FORCE"));
    let process = if beside_others { who.word() } else { "" };
    let outlet = Shared::standard_error(move |lost| lost_line(process, lost));
    let lines = tracing_subscriber::fmt::layer().with_writer(outlet).with_ansi(colours).event_format(Lines { process });
    let _ = registry.with(lines).try_init();
}

/// Whether standard error is the stream that systemd names in `JOURNAL_STREAM` (systemd.exec(5)), and not something that
/// it was led to since.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(std::io::stderr().as_fd()).is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Takes the place of lines that nobody read.
fn lost_line(process: &str, lost: u64) -> String {
    format!("{} {process:10} WARN  {}\n", moment(), lost_text(lost))
}

fn lost_text(lost: u64) -> String {
    format!("lines of the log were lost here, because nobody took them lost={lost}")
}

/// `2026-01-02T03:04:05.250Z controller WARN bus is off bus=line`.
struct Lines {
    process: &'static str,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // name, ANSI colour
        let (name, colour) = match *event.metadata().level() {
            Level::ERROR => ("ERROR", "\x1b[31m"),
            Level::WARN => ("WARN ", "\x1b[33m"),
            Level::INFO => ("INFO ", "\x1b[32m"),
            Level::DEBUG => ("DEBUG", "\x1b[34m"),
            Level::TRACE => ("TRACE", "\x1b[35m"),
        };
        write!(writer, "{} ", moment())?;
        if !self.process.is_empty() {
            write!(writer, "{:10} ", self.process)?;
        }
        if writer.has_ansi_escapes() {
            write!(writer, "{colour}{name}\x1b[0m ")?;
        } else {
            write!(writer, "{name} ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The time of a line; before the clock is set the time since the boot, as dmesg has it.
fn moment() -> String {
    text::known_time(clock::realtime()).unwrap_or_else(|| format!("[{:12.6}]", clock::monotonic() as f64 / 1e9))
}
