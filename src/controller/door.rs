//! The door to the plant: the command socket, who may come in, what they are handed, and their datagrams.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tracing::{info, warn};

use super::limiter::Limiter;
use crate::command::socket::{Connection, Listener, Peer};
use crate::command::{Command, Generation, MAX_DATAGRAM, Refusal, Reply};
use crate::store::clock;

/// Most plant processes at a time.
const CLIENTS: usize = 4;
/// Datagrams taken from one client before the others have their turn.
const DATAGRAMS: usize = 8;
/// A datagram that is no command is searched for its id up to this size, in bytes.
const SEARCHED: usize = 4096;
/// After a connection could not be accepted, the next try is made after this time, in nanoseconds: the reason (no free
/// descriptors) stays for a while.
const ACCEPT_REST: u64 = 1_000_000_000;
/// Owner and group read and write: connecting needs the right to write.
const MODE: u32 = 0o660;
/// What the kernel shows in place of a user whom our user namespace does not know (systemd's PrivateUsers=).
const UNMAPPED: u32 = 65534;

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}: another controller is running; stop it, or give this one another socket (--socket)")]
    InUse(PathBuf),
    #[error("{path}: {error}")]
    Path { path: PathBuf, error: io::Error },
}

/// What every client is handed when it connects.
pub struct Handout {
    pub generation: Generation,
    /// The sealed configuration.
    pub bundle: OwnedFd,
    pub store: OwnedFd,
}

impl Handout {
    fn send(&self, connection: &Connection) -> io::Result<()> {
        let text = serde_json::to_vec(&self.generation).map_err(io::Error::other)?;
        connection.send(&text, &[self.bundle.as_fd(), self.store.as_fd()])
    }
}

/// The listening socket and its clients.
pub struct Door {
    clients: Vec<Client>,
    /// Numbers clients, so that an answer never goes to another one.
    next: u64,
    handout: Handout,
    group: Option<Gid>,
    /// We see unknown users as [`UNMAPPED`].
    private_users: bool,
    buffer: Vec<u8>,
    refusals: Limiter,
    listener: Listener,
    /// CLOCK_MONOTONIC until which nobody is let in.
    closed_until: u64,
    /// Held as long as the socket is ours.
    _lock: File,
}

struct Client {
    number: u64,
    connection: Connection,
    peer: Peer,
}

/// One datagram.
pub struct Request {
    pub client: u64,
    pub peer: Peer,
    /// Where it is no command: the id to answer to.
    pub command: Result<Command, u64>,
}

impl Door {
    /// Listens on `path`; members of `group` may connect besides our own user and root.
    pub fn open(path: &Path, group: Option<Gid>, handout: Handout) -> Result<Door, OpenError> {
        let wrong = |error| OpenError::Path { path: path.into(), error };
        // Two that start at once must not take each other's socket for a dead one's.
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = File::options().create(true).append(true).mode(0o600).open(&lock_path).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.into())),
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let listener = Listener::bind(path, MODE).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse(path.into()),
            _ => wrong(error),
        })?;
        if let Some(group) = group
            && std::fs::metadata(path).map_err(wrong)?.gid() != group.as_raw()
        {
            std::os::unix::fs::chown(path, None, Some(group.as_raw())).map_err(wrong)?;
        }
        // the identity map of all users, as outside of any namespace
        let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
        let private_users = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !whole(map));
        Ok(Door {
            clients: Vec::with_capacity(CLIENTS),
            next: 0,
            handout,
            group,
            private_users,
            // one more, so that a datagram of the largest size is told from a cut one
            buffer: vec![0; MAX_DATAGRAM + 1],
            refusals: Limiter::default(),
            listener,
            closed_until: 0,
            _lock: lock,
        })
    }

    /// What to wait for: one for each client in order.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.clients.iter().map(|client| client.connection.as_fd())
    }

    /// What to wait for: somebody who wants to come in. `now`: CLOCK_MONOTONIC.
    pub fn listener(&self, now: u64) -> Option<BorrowedFd<'_>> {
        (now >= self.closed_until).then(|| self.listener.as_fd())
    }

    /// Lets in who waits and may.
    pub fn accept(&mut self) {
        for _ in 0..CLIENTS {
            match self.listener.accept() {
                Ok(Some(connection)) => self.admit(connection),
                Ok(None) => return,
                Err(error) => {
                    self.closed_until = clock::monotonic() + ACCEPT_REST;
                    return warn!(%error, "can't accept a connection; trying again in a second");
                }
            }
        }
    }

    fn admit(&mut self, connection: Connection) {
        let refused = |limiter: &mut Limiter, peer: Peer, reason: &str| {
            if let Some(left_out) = limiter.pass() {
                warn!(uid = peer.uid, pid = peer.pid, reason, left_out, "connection refused");
            }
        };
        let peer = match connection.peer() {
            Ok(peer) => peer,
            Err(error) => return warn!(%error, "connection refused: its user is unknown"),
        };
        if !self.may_enter(peer) {
            return refused(&mut self.refusals, peer, "not our user, root or the socket's group");
        }
        if self.clients.len() == CLIENTS {
            return refused(&mut self.refusals, peer, "there are as many plant processes as there may be");
        }
        if self.handout.send(&connection).is_err() {
            return refused(&mut self.refusals, peer, "it went away before it was connected");
        }
        info!(uid = peer.uid, pid = peer.pid, "client connected");
        self.clients.push(Client { number: self.next, connection, peer });
        self.next += 1;
    }

    fn may_enter(&self, peer: Peer) -> bool {
        let own = Uid::effective().as_raw();
        let member = |group: Gid| {
            let user = User::from_uid(Uid::from_raw(peer.uid)).ok().flatten();
            let groups = user.and_then(|user| {
                let name = std::ffi::CString::new(user.name).ok()?;
                getgrouplist(&name, user.gid).ok()
            });
            peer.gid == group.as_raw() || groups.is_some_and(|groups| groups.contains(&group))
        };
        peer.uid == own
            || peer.uid == 0
            || self.group.is_some_and(member)
            // the socket's mode has let this user pass, and it says the same as we would
            || (self.private_users && peer.uid == UNMAPPED)
    }

    /// Takes what the clients whose descriptors are ready have sent. `ready`: one for each client, as in
    /// [`Door::clients`]. Clients that went away are forgotten.
    pub fn receive(&mut self, ready: &[bool], requests: &mut Vec<Request>) {
        let mut ready = ready.iter();
        let buffer = &mut self.buffer;
        self.clients.retain(|client| !ready.next().is_some_and(|ready| *ready) || client.receive(buffer, requests));
    }

    /// What clients are handed now.
    pub fn generation(&self) -> &Generation {
        &self.handout.generation
    }

    /// Hands another generation to every client, and to those that come; the bundle of the one before. `store`: where it is
    /// another one.
    pub fn renew(&mut self, generation: Generation, bundle: OwnedFd, store: Option<OwnedFd>) -> OwnedFd {
        self.handout.generation = generation;
        let before = std::mem::replace(&mut self.handout.bundle, bundle);
        if let Some(store) = store {
            self.handout.store = store;
        }
        let handout = &self.handout;
        self.clients.retain(|client| match handout.send(&client.connection) {
            Ok(()) => true,
            Err(error) => {
                warn!(pid = client.peer.pid, %error, "client disconnected: it does not take the new configuration");
                false
            }
        });
        before
    }

    /// Answers a client. One that is gone, or does not read, is forgotten.
    pub fn answer(&mut self, client: u64, id: u64, refusal: Option<Refusal>) {
        let Some(at) = self.clients.iter().position(|known| known.number == client) else { return };
        let sent = serde_json::to_vec(&Reply { id, refusal })
            .map_err(io::Error::other)
            .and_then(|text| self.clients[at].connection.send(&text, &[]));
        if let Err(error) = sent {
            let client = self.clients.swap_remove(at);
            warn!(pid = client.peer.pid, %error, "plant disconnected: it does not take its answers");
        }
    }
}

impl Client {
    /// Takes some datagrams; false where the client has gone.
    fn receive(&self, buffer: &mut [u8], requests: &mut Vec<Request>) -> bool {
        let mut unwanted = Vec::new();
        for _ in 0..DATAGRAMS {
            let command = match self.connection.receive(buffer, &mut unwanted) {
                Ok(0) => {
                    info!(pid = self.peer.pid, "client disconnected");
                    return false;
                }
                Ok(length) if length > MAX_DATAGRAM => Err(0),
                Ok(length) => parse(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // too large, or with too many descriptors
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(0),
                Err(error) => {
                    warn!(pid = self.peer.pid, %error, "client disconnected");
                    return false;
                }
            };
            requests.push(Request { client: self.number, peer: self.peer, command });
        }
        true
    }
}

/// A command, or the id that a datagram which is none seems to have.
fn parse(datagram: &[u8]) -> Result<Command, u64> {
    serde_json::from_slice(datagram).map_err(|_| {
        if datagram.len() > SEARCHED {
            return 0;
        }
        let document: serde_json::Value = serde_json::from_slice(datagram).unwrap_or_default();
        document.get("id").and_then(serde_json::Value::as_u64).unwrap_or(0)
    })
}

/// The numeric id of a group, for [`super::Options::group`].
pub fn group(name: &str) -> anyhow::Result<Gid> {
    let found = nix::unistd::Group::from_name(name).with_context(|| format!("can't look up the group {name}"))?;
    Ok(found.with_context(|| format!("there is no group {name}"))?.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_answered_by_its_id() {
        let check = |text: &[u8], id| assert_eq!(parse(text), Err(id), "{}", String::from_utf8_lossy(text));
        check(b"", 0);
        check(b"\xFF\xFE", 0);
        check(b"[[[[", 0);
        check(br#"{"id":7}"#, 7);
        check(br#"{"id":8,"action":"Reboot"}"#, 8);
        check(br#"{"id":-1,"generation":1,"origin":{},"action":{"Set":[]}}"#, 0);
        check(
            br#"{"id":9,"generation":1,"origin":{"protocol":"","user":"","address":""},"action":{"Set":[]},"x":1}"#,
            9,
        );
        check("[".repeat(60_000).as_bytes(), 0);
        assert!(
            parse(br#"{"id":1,"generation":1,"origin":{"protocol":"","user":"","address":""},"action":{"Set":[]}}"#)
                .is_ok()
        );
    }
}
