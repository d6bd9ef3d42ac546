//! A listening socket of the controller: its path is of one controller alone, and the kernel, by owner, group and mode, lets
//! in whom it is for.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use tracing::warn;

use crate::command::socket::{Connection, Listener, Peer};
use crate::store::clock;

/// After a connection could not be accepted, the next try is made after this time, in nanoseconds: the reason (no free
/// descriptors) stays for a while.
const ACCEPT_REST: u64 = 1_000_000_000;
/// Connecting needs the right to write: for the owner alone, and for a group besides.
const OWN_MODE: u32 = 0o600;
const GROUP_MODE: u32 = 0o660;
/// What the kernel shows in place of a user or group whom our user namespace does not know (systemd's PrivateUsers=).
const UNMAPPED: u32 = 65534;

/// Where a door is, and whom it is for.
#[derive(Clone, Debug)]
pub struct Way {
    pub path: PathBuf,
    /// Whose members may connect, besides our own user and root.
    pub group: Option<Gid>,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}: another controller is running; stop it, or give this one other sockets (--socket, --plant-socket)")]
    InUse(PathBuf),
    #[error("{0}: people at the machine and the plant side need a socket each (--socket, --plant-socket)")]
    Same(PathBuf),
    #[error("{path}: {error}")]
    Path { path: PathBuf, error: io::Error },
    #[error(
        "{path}: {error}; as root, `systemd-tmpfiles --create canvoy.conf` makes the folder that comes with the package"
    )]
    NoFolder { path: PathBuf, error: io::Error },
    #[error(
        "{path}: can't be given to its group: {error}; a folder of that group with the setgid bit does it (chmod g+s)"
    )]
    Group { path: PathBuf, error: io::Error },
}

/// The listening socket.
pub struct Entrance {
    listener: Listener,
    group: Option<Gid>,
    /// We see unknown users as [`UNMAPPED`].
    private_users: bool,
    /// CLOCK_MONOTONIC until which nobody is let in.
    closed_until: u64,
    /// Held as long as the socket is ours.
    _lock: File,
}

impl Entrance {
    pub fn open(way: &Way) -> Result<Entrance, OpenError> {
        let Way { path, group } = way;
        let wrong = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::NoFolder { path: path.clone(), error },
            _ => OpenError::Path { path: path.clone(), error },
        };
        // Two that start at once must not take each other's socket for a dead one's.
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock = File::options().create(true).append(true).mode(0o600).open(&lock_path).map_err(wrong)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.clone())),
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let mode = if group.is_some() { GROUP_MODE } else { OWN_MODE };
        let listener = Listener::bind(path, mode).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse(path.clone()),
            _ => wrong(error),
        })?;
        // the identity map of all users, as outside of any namespace
        let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
        let private_users = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !whole(map));
        if let Some(group) = group {
            give(path, *group, private_users).map_err(|error| OpenError::Group { path: path.clone(), error })?;
        }
        Ok(Entrance { listener, group: *group, private_users, closed_until: 0, _lock: lock })
    }

    /// What to wait for: somebody who wants to come in. `now`: CLOCK_MONOTONIC.
    pub fn listener(&self, now: u64) -> Option<BorrowedFd<'_>> {
        (now >= self.closed_until).then(|| self.listener.as_fd())
    }

    /// Who waits.
    pub fn accept(&mut self) -> Option<Connection> {
        self.listener.accept().unwrap_or_else(|error| {
            self.closed_until = clock::monotonic() + ACCEPT_REST;
            warn!(%error, "can't accept a connection; trying again in a second");
            None
        })
    }

    /// The kernel has let this peer pass by the mode of the socket; seen once more where it can be.
    pub fn may_enter(&self, peer: Peer) -> bool {
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
            // the mode alone decides about users whom our namespace does not know
            || (self.private_users && self.group.is_some() && peer.uid == UNMAPPED)
    }
}

/// Gives a socket to a group. Inside a user namespace only groups that it knows can be named; there a folder with the setgid
/// bit has done it, and its group looks like nobody's: ours it is not.
fn give(path: &Path, group: Gid, private_users: bool) -> io::Result<()> {
    let now = std::fs::metadata(path)?.gid();
    if now == group.as_raw() || (private_users && now == UNMAPPED) {
        return Ok(());
    }
    chown(path, None, Some(group.as_raw()))
}

/// The numeric id of a group, for [`super::Options::group`].
pub fn group(name: &str) -> anyhow::Result<Gid> {
    let found = nix::unistd::Group::from_name(name).with_context(|| format!("can't look up the group {name}"))?;
    Ok(found.with_context(|| format!("there is no group {name}"))?.gid)
}
