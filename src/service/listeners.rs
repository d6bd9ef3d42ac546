//! The plant's listening sockets. The service manager keeps copies of them (its file descriptor store) and hands them to
//! the next start, so that a client who connects while the plant restarts waits in the backlog and is not refused.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{Backlog, Shutdown, getsockopt, listen, shutdown, sockopt};
use tracing::{debug, warn};

use crate::command::socket::passing;
use crate::notify::Notifier;
use crate::service::exit::{Failure, PERMISSION, UNAVAILABLE};

/// One of them, as messages and the service manager call it.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// `FDNAME`.
    pub name: &'static str,
    pub protocol: &'static str,
    pub section: &'static str,
    pub flag: &'static str,
}

pub const OPCUA: Door = Door { name: "opcua", protocol: "OPC UA", section: "[opcua]", flag: "--opcua-port" };
pub const HTTP: Door = Door { name: "http", protocol: "HTTP", section: "[http]", flag: "--http-port" };

/// Connections that wait for the next start; the kernel's limit is net.core.somaxconn. Of more, each waits a second to try
/// again (std asks for 128, which a busy second fills).
const WAITING: i32 = 1024;

/// What earlier starts have left with the service manager.
#[derive(Debug, Default)]
pub struct Kept(Vec<(String, OwnedFd)>);

impl Kept {
    /// Takes `LISTEN_FDS` over. Call it before other threads are started. `supervised`: our supervisor can't know
    /// `LISTEN_PID` before we exist and leaves it out; anywhere else that means another process.
    pub fn from_environment(supervised: bool) -> Kept {
        let variable = |name: &str| std::env::var(name).ok();
        let ours = match variable("LISTEN_PID") {
            Some(pid) => pid.parse() == Ok(std::process::id()),
            None => supervised,
        };
        let count = variable("LISTEN_FDS").filter(|_| ours).and_then(|text| text.parse().ok()).unwrap_or(0);
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
        Kept(names.zip(passing::inherited(count)).collect())
    }

    /// The listener on this address: the one that was kept, or a new one, which is given to the service manager to keep.
    pub fn listen(&mut self, door: Door, address: SocketAddr, notifier: &Notifier) -> Result<TcpListener, Failure> {
        let (mut fitting, odd): (Vec<_>, Vec<_>) =
            self.take(door).into_iter().map(TcpListener::from).partition(|listener| fits(listener, address));
        if !odd.is_empty() || fitting.len() > 1 {
            notifier.forget(door.name);
            odd.iter().for_each(close);
        } else if let Some(listener) = fitting.pop() {
            debug!(%address, protocol = door.protocol, "listener taken over");
            return Ok(listener);
        }
        let listener = match fitting.pop() {
            Some(listener) => listener,
            None => bind(door, address)?,
        };
        if let Err(error) = Backlog::new(WAITING).and_then(|most| listen(&listener, most)) {
            warn!(%error, protocol = door.protocol, "only few clients can wait during a restart");
        }
        if let Err(error) = notifier.keep(door.name, listener.as_fd()) {
            warn!(%error, protocol = door.protocol, "the service manager does not keep the listener: clients are refused during a restart");
        }
        Ok(listener)
    }

    /// Nothing listens there any more.
    pub fn close(&mut self, door: Door, notifier: &Notifier) {
        let kept = self.take(door);
        if !kept.is_empty() {
            notifier.forget(door.name);
            kept.into_iter().map(TcpListener::from).for_each(|listener| close(&listener));
        }
    }

    fn take(&mut self, door: Door) -> Vec<OwnedFd> {
        let (ours, others) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name == door.name);
        self.0 = others;
        ours.into_iter().map(|(_, descriptor)| descriptor).collect()
    }
}

/// It is a socket that listens where it shall. Port 0: any will do, and the old one serves clients better.
fn fits(listener: &TcpListener, address: SocketAddr) -> bool {
    let listens = getsockopt(listener, sockopt::AcceptConn).is_ok_and(|listens| listens);
    listens
        && listener
            .local_addr()
            .is_ok_and(|found| found.ip() == address.ip() && (address.port() == 0 || found.port() == address.port()))
}

/// Ends it in every process that has a copy: its address is free at once.
fn close(listener: &TcpListener) {
    // fails where it is no socket that listens; then there is nothing to end
    let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
}

fn bind(door: Door, address: SocketAddr) -> Result<TcpListener, Failure> {
    let Door { protocol, section, flag, .. } = door;
    TcpListener::bind(address).map_err(|error| {
        let choose = format!("`listen` in {section}, or {flag}");
        match error.kind() {
            ErrorKind::AddrInUse => Failure::new(
                UNAVAILABLE,
                format!("{protocol}: {address} is in use by another program. Stop that one, or choose another port: {choose}"),
            ),
            ErrorKind::PermissionDenied => Failure::new(
                PERMISSION,
                format!("{protocol}: no permission to listen on {address}. Ports below 1024 need a privilege; choose another: {choose}"),
            ),
            _ => Failure::new(UNAVAILABLE, format!("{protocol}: can't listen on {address}: {error}. Choose another: {choose}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::command::socket;
    use crate::service::folder::Private;

    /// A service manager that keeps nothing, and what it is told.
    struct Manager {
        _folder: Private,
        socket: UnixDatagram,
        notifier: Notifier,
    }

    impl Manager {
        fn new() -> Manager {
            let folder = Private::new(|_| None).unwrap();
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Manager { notifier: Notifier::new(Some(path.as_os_str()), None), _folder: folder, socket }
        }

        fn told(&self) -> Vec<String> {
            let (mut buffer, mut descriptors) = ([0; 512], Vec::new());
            std::iter::from_fn(|| {
                let length = socket::receive(self.socket.as_fd(), &mut buffer, &mut descriptors).ok()?;
                Some(format!("{} {}", String::from_utf8_lossy(&buffer[..length]), descriptors.len()))
            })
            .collect()
        }
    }

    fn any() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn kept(listeners: &[(&str, &TcpListener)]) -> Kept {
        Kept(listeners.iter().map(|(name, one)| (name.to_string(), one.try_clone().unwrap().into())).collect())
    }

    #[test]
    fn a_new_one_is_kept_and_an_old_one_taken_over() {
        let manager = Manager::new();
        let first = Kept::default().listen(OPCUA, "127.0.0.1:0".parse().unwrap(), &manager.notifier).unwrap();
        assert_eq!(manager.told(), ["FDSTORE=1\nFDNAME=opcua 1"]);
        let address = first.local_addr().unwrap();
        let other = any();
        let mut kept = kept(&[("http", &other), ("opcua", &first)]);
        // who comes while nobody accepts is served by the next
        let client = TcpStream::connect(address).unwrap();
        let second = kept.listen(OPCUA, address, &manager.notifier).unwrap();
        drop(first);
        assert_eq!(second.accept().unwrap().1, client.local_addr().unwrap());
        assert_eq!(manager.told(), [""; 0]);
        assert_eq!(kept.0.len(), 1, "the other one is still there");
        assert_eq!(
            kept.listen(HTTP, "127.0.0.1:0".parse().unwrap(), &manager.notifier).unwrap().local_addr().unwrap(),
            other.local_addr().unwrap()
        );
        assert_eq!(manager.told(), [""; 0]);
    }

    #[test]
    fn what_does_not_fit_is_forgotten_and_its_address_free() {
        let manager = Manager::new();
        let old = any();
        let port = old.local_addr().unwrap().port();
        // the same port on all addresses: the copy that the manager still has must not stand in the way
        let new = kept(&[("http", &old)]).listen(HTTP, format!("0.0.0.0:{port}").parse().unwrap(), &manager.notifier);
        assert_eq!(new.unwrap().local_addr().unwrap().port(), port);
        assert_eq!(manager.told(), ["FDSTOREREMOVE=1\nFDNAME=http 0", "FDSTORE=1\nFDNAME=http 1"]);
        let (one, two) = (any(), any());
        let wanted = two.local_addr().unwrap();
        let found = kept(&[("http", &one), ("http", &two)]).listen(HTTP, wanted, &manager.notifier).unwrap();
        assert_eq!(found.local_addr().unwrap(), wanted);
        assert_eq!(manager.told(), ["FDSTOREREMOVE=1\nFDNAME=http 0", "FDSTORE=1\nFDNAME=http 1"]);
        // switched off
        kept(&[("opcua", &two)]).close(OPCUA, &manager.notifier);
        assert_eq!(manager.told(), ["FDSTOREREMOVE=1\nFDNAME=opcua 0"]);
        assert!(TcpStream::connect(wanted).is_err());
        // no listener at all
        let client = TcpStream::connect(any().local_addr().unwrap());
        drop(client);
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut odd = Kept(vec![("http".into(), writer.into())]);
        assert!(odd.listen(HTTP, "127.0.0.1:0".parse().unwrap(), &manager.notifier).is_ok());
        assert_eq!(manager.told(), ["FDSTOREREMOVE=1\nFDNAME=http 0", "FDSTORE=1\nFDNAME=http 1"]);
    }
}
