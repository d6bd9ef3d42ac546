//! What a process tells systemd: ready, status, reloading, watchdog, stopping, descriptors to keep (sd_notify(3),
//! sd_pid_notify_with_fds(3)); silent where nobody listens.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::command::socket;

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

    /// A reload has begun; [`Notifier::ready`] ends it, whatever came of it. `now`: CLOCK_MONOTONIC, nanoseconds, which
    /// systemd from 253 on wants to tell one reload from another.
    pub fn reloading(&self, now: u64, status: &str) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS={}", now / 1000, one_line(status)));
    }

    /// The start, the reload or the stop under way may take this much longer from now on.
    pub fn extend(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    /// Why the process is about to end: `systemctl status` shows it besides the exit code. `errno`: what the operating
    /// system said, where it did.
    pub fn failed(&self, reason: &str, errno: Option<i32>) {
        let errno = errno.map(|number| format!("\nERRNO={number}")).unwrap_or_default();
        self.send(&format!("STATUS={}{errno}", one_line(reason)));
    }

    /// Has a copy of this descriptor kept, and handed to the next start under this name (FileDescriptorStoreMax=).
    pub fn keep(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let Some(manager) = &self.socket else { return Ok(()) };
        socket::send(manager.as_fd(), format!("FDSTORE=1\nFDNAME={name}").as_bytes(), &[descriptor])
    }

    /// What is kept under this name is not wanted any more.
    pub fn forget(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// Still alive. Call it only on proof: an idle timer that feeds the watchdog proves nothing.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
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
        notifier.reloading(7_654_321, "reading");
        notifier.extend(Duration::from_secs(2));
        notifier.keep("opcua", listener.as_fd()).unwrap();
        notifier.forget("http");
        notifier.failed("no bus\n", Some(19));
        notifier.stopping();
        let mut buffer = [0; 256];
        let mut descriptors = Vec::new();
        for (expected, with) in [
            ("READY=1\nSTATUS=two buses FDSTORE=1", 0),
            ("WATCHDOG=1", 0),
            ("RELOADING=1\nMONOTONIC_USEC=7654\nSTATUS=reading", 0),
            ("EXTEND_TIMEOUT_USEC=2000000", 0),
            ("FDSTORE=1\nFDNAME=opcua", 1),
            ("FDSTOREREMOVE=1\nFDNAME=http", 0),
            ("STATUS=no bus \nERRNO=19", 0),
            ("STOPPING=1", 0),
        ] {
            let length = socket::receive(listener.as_fd(), &mut buffer, &mut descriptors).unwrap();
            assert_eq!((std::str::from_utf8(&buffer[..length]).unwrap(), descriptors.len()), (expected, with));
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
