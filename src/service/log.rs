//! The log: lines on standard error, with priorities where the journal reads them.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::plant::text;
use crate::store::clock;

/// `CANVOY_LOG` chooses what is logged, as in RUST_LOG. What the OPC UA library says about clients is ours to say.
const DEFAULT: &str =
    "info,opcua=error,opcua_client=error,opcua_core=error,opcua_crypto=error,opcua_server=error,opcua_types=off";

/// Starts it. `process`: which one writes, empty for the only one.
pub fn start(process: &'static str) {
    let filter = EnvFilter::try_from_env("CANVOY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    // systemd sets it for what is connected to the journal
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let colours = !has("NO_COLOR") && (std::io::stderr().is_terminal() || has("CLICOLOR_FORCE"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours && !journal)
        .event_format(Lines { process, journal });
    // a second start changes nothing
    let _ = lines.try_init();
}

/// `2026-01-02T03:04:05.250Z controller WARN bus is off bus=line`; for the journal `<4>bus is off bus=line`.
struct Lines {
    process: &'static str,
    journal: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        // name, ANSI colour, priority of sd-daemon(3)
        let (name, colour, priority) = match level {
            Level::ERROR => ("ERROR", "\x1b[31m", 3),
            Level::WARN => ("WARN ", "\x1b[33m", 4),
            Level::INFO => ("INFO ", "\x1b[32m", 6),
            Level::DEBUG => ("DEBUG", "\x1b[34m", 7),
            Level::TRACE => ("TRACE", "\x1b[35m", 7),
        };
        if self.journal {
            write!(writer, "<{priority}>")?;
        } else {
            // before the clock is set: the time since the boot, as dmesg has it
            let up = || format!("[{:12.6}]", clock::monotonic() as f64 / 1e9);
            write!(writer, "{} ", text::known_time(clock::realtime()).unwrap_or_else(up))?;
            if !self.process.is_empty() {
                write!(writer, "{:10} ", self.process)?;
            }
            if writer.has_ansi_escapes() {
                write!(writer, "{colour}{name}\x1b[0m ")?;
            } else {
                write!(writer, "{name} ")?;
            }
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
