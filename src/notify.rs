//! What a process tells systemd: ready, status, watchdog, stopping (sd_notify(3)); silent where nobody listens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::store::clock;

/// The way to the service manager, taken from the environment once at the start.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Without them every call does nothing.
    pub fn from_environment() -> Notifier {
        let variable = |name| std::env::var(name).ok();
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let watchdog = variable("WATCHDOG_USEC").filter(|_| ours).and_then(|text| text.parse().ok());
        let path = std::env::var_os("NOTIFY_SOCKET");
        Notifier::new(path.as_deref(), watchdog.filter(|usec| *usec > 0).map(Duration::from_micros))
    }

    /// `path`: a file system path, or `@` and an abstract name. A socket that can't be reached counts as none.
    pub fn new(path: Option<&OsStr>, watchdog: Option<Duration>) -> Notifier {
        Notifier { socket: path.and_then(|path| connect(path).ok()), watchdog }
    }

    /// How often [`Notifier::watchdog`] is expected: half of the manager's limit. `None`: no watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|limit| limit / 2)
    }

    /// Everything is open: `READY=1` with a line for people.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// Still alive. Call it only on proof: an idle timer that feeds the watchdog proves nothing.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// The configuration is being read again; [`Notifier::ready`] says that this is over, whatever came of it.
    pub fn reloading(&self) {
        let now = clock::monotonic() / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// A clean stop has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A lost notification is the manager's to notice: there is nobody else to tell.
    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket {
            drop(socket.send(text.as_bytes()));
        }
    }
}

/// A line feed would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(path)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(abstract_name: bool) {
        let name = format!("canvoy-notify-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        let (listener, path) = if abstract_name {
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into())
        } else {
            (UnixDatagram::bind(&folder).unwrap(), folder.clone().into_os_string())
        };
        listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let notifier = Notifier::new(Some(&path), Some(Duration::from_secs(3)));
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_millis(1500)));
        notifier.ready("two buses\nFDSTORE=1");
        notifier.watchdog();
        notifier.stopping();
        let mut buffer = [0; 256];
        for expected in ["READY=1\nSTATUS=two buses FDSTORE=1", "WATCHDOG=1", "STOPPING=1"] {
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
        }
        if !abstract_name {
            std::fs::remove_file(folder).unwrap();
        }
    }

    #[test]
    fn the_manager_hears_each_assignment() {
        check(true);
        check(false);
    }

    #[test]
    fn nobody_listens() {
        let notifier = Notifier::new(Some(OsStr::new("/nowhere/at/all")), Some(Duration::from_secs(1)));
        assert_eq!(notifier.watchdog_interval(), None);
        notifier.ready("nothing happens");
    }
}
