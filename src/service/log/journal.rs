//! Events to the journal in its own form: each fact a field to search by (`journalctl BUS=line`, `journalctl AUDIT=1`).
//!
//! The form: systemd.io/JOURNAL_NATIVE_PROTOCOL. One datagram an event, never waited for: `tracing-journald` sends on a
//! blocking socket, and stands still with a journald that does.

use std::fmt::{Debug, Write};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::lost_text;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest value, in bytes; more is cut off. A whole datagram then stays below every limit of the kernel.
const VALUE: usize = 8 * 1024;
/// Most bytes of the facts of an event.
const FACTS: usize = 64 * 1024;
/// Target of the record of what was done on whose word: marked by `AUDIT=1`.
const AUDIT: &str = "audit";

pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    identifier: &'static str,
    /// Events dropped since the last that was sent.
    lost: AtomicU64,
}

impl Journal {
    pub fn new(identifier: &'static str, path: PathBuf) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Journal { socket, path, identifier, lost: AtomicU64::new(0) })
    }

    /// By its path each time: a journald that was installed anew has a new socket there.
    fn send(&self, datagram: &[u8]) -> bool {
        self.socket.send_to(datagram, &self.path).is_ok()
    }

    /// Every datagram begins so. `priority`: syslog(3).
    fn begin(&self, priority: u8) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(1024);
        put(&mut datagram, "PRIORITY", &priority.to_string());
        put(&mut datagram, "SYSLOG_IDENTIFIER", self.identifier);
        datagram
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut datagram = self.begin(priority(Level::WARN));
            put(&mut datagram, "MESSAGE", &lost_text(lost));
            put(&mut datagram, "LOST", &lost.to_string());
            if !self.send(&datagram) {
                self.lost.fetch_add(lost + 1, Ordering::Relaxed);
                return;
            }
        }
        let metadata = event.metadata();
        let mut facts = Facts::default();
        event.record(&mut facts);
        let mut datagram = self.begin(priority(*metadata.level()));
        put(&mut datagram, "MESSAGE", &format!("{}{}", facts.message, facts.shown));
        put(&mut datagram, "TARGET", metadata.target());
        if metadata.target() == AUDIT {
            put(&mut datagram, "AUDIT", "1");
        }
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            put(&mut datagram, "CODE_FILE", file);
            put(&mut datagram, "CODE_LINE", &line.to_string());
        }
        datagram.append(&mut facts.fields);
        if !self.send(&datagram) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// What an event says.
#[derive(Default)]
struct Facts {
    message: String,
    /// ` name=value`, for people.
    shown: String,
    /// The same as fields of the journal.
    fields: Vec<u8>,
}

impl Facts {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
            return;
        }
        if self.shown.len() + value.len() > FACTS {
            return;
        }
        // a String takes everything
        let _ = write!(self.shown, " {}={value}", field.name());
        // what is quoted for people is looked for as it is
        let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let plain = plain.filter(|value| !value.contains('\\')).unwrap_or(&value);
        put(&mut self.fields, &name(field.name()), plain);
    }
}

impl Visit for Facts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.add(field, value.to_owned()),
            _ => self.add(field, format!("{value:?}")),
        }
    }
}

/// The name of a field as the journal wants it; those that mean something else there begin with F_.
fn name(name: &str) -> String {
    const TAKEN: [&str; 9] =
        ["MESSAGE", "PRIORITY", "TARGET", "AUDIT", "LOST", "ERRNO", "UNIT", "TID", "DOCUMENTATION"];
    let upper: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let odd = !upper.starts_with(|c: char| c.is_ascii_uppercase());
    let taken = TAKEN.contains(&upper.as_str())
        || ["CODE_", "SYSLOG_", "USER_", "MESSAGE_"].iter().any(|prefix| upper.starts_with(prefix));
    if odd || taken { format!("F_{upper}") } else { upper }
}

/// One field. A value with line feeds has its length before it, so that no text becomes a field of its own.
fn put(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(VALUE)];
    datagram.extend(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend((value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use tracing::{info, subscriber, warn};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry;

    use super::*;
    use crate::service::folder::Private;

    /// A journald, and a log that goes there.
    fn journald() -> (Private, UnixDatagram, subscriber::DefaultGuard) {
        let folder = Private::new(|_| None).unwrap();
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let guard = subscriber::set_default(registry().with(Journal::new("canvoy", path).unwrap()));
        (folder, socket, guard)
    }

    fn next(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = vec![0; 256 * 1024];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn facts_are_fields() {
        let (_folder, socket, _guard) = journald();
        warn!(bus = %"line", frame_id = 0x123, state = ?Some(1), message_count = 2, "bus is off");
        let datagram = next(&socket).unwrap();
        let line = line!() - 2;
        for field in [
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=canvoy",
            "MESSAGE=bus is off bus=line frame_id=291 state=Some(1) message_count=2",
            "TARGET=canvoy::service::log::journal::tests",
            &format!("CODE_FILE={}", file!()),
            &format!("CODE_LINE={line}"),
            "BUS=line",
            "FRAME_ID=291",
            "STATE=Some(1)",
            "F_MESSAGE_COUNT=2",
        ] {
            assert!(datagram.lines().any(|found| found == field), "no {field} in {datagram}");
        }
        assert!(!datagram.contains("AUDIT="));
    }

    #[test]
    fn an_audit_record_is_found_and_can_not_be_forged() {
        let (_folder, socket, _guard) = journald();
        let (user, odd, raw) = ("anna", "x\nAUDIT=2", "y\nAUDIT=3");
        info!(target: "audit", ?user, tag = ?"line.Drive.Speed", ?odd, raw = %raw, unit = "V", "write");
        let datagram = next(&socket).unwrap();
        for field in ["AUDIT=1", "USER=anna", "TAG=line.Drive.Speed", "F_UNIT=V", "ODD=\"x\\nAUDIT=2\""] {
            assert!(datagram.lines().any(|found| found == field), "no {field} in {datagram}");
        }
        // length, then text: not a line of its own to journald
        assert!(datagram.contains("\nRAW\n\u{9}\0\0\0\0\0\0\0y\nAUDIT=3\n"), "{datagram:?}");
    }

    #[test]
    fn a_journald_that_stands_still_holds_up_nobody() {
        const LINES: u64 = 20_000;
        let (folder, socket, _guard) = journald();
        for number in 0..LINES {
            // a test that hangs here is one that fails
            info!(number, "a line");
        }
        let held = std::iter::from_fn(|| next(&socket)).count() as u64;
        assert!(held < LINES, "{held}");
        info!("the next");
        let notice = next(&socket).unwrap();
        assert!(notice.contains(&format!("\nLOST={}\n", LINES - held)) && notice.contains("PRIORITY=4"), "{notice}");
        assert!(next(&socket).unwrap().contains("MESSAGE=the next\n"));
        // gone, and there again
        let path = folder.path().join("socket");
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        info!("nobody is there");
        let socket = UnixDatagram::bind(&path).unwrap();
        info!("again");
        assert!(next(&socket).unwrap().contains("LOST=1\n"));
        assert!(next(&socket).unwrap().contains("MESSAGE=again\n"));
        // far too long
        info!(text = "ä".repeat(100_000), "long");
        assert!(next(&socket).unwrap().len() < 70_000);
    }
}
