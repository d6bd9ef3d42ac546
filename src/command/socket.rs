//! The command socket: whole datagrams (SOCK_SEQPACKET), descriptors that travel with them, and who is on the other side.
//!
//! std has no SOCK_SEQPACKET, so the few system calls stand here. Everything is non-blocking: the controller polls, the
//! plant waits in its event loop.

pub mod passing;

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Most descriptors in one datagram.
pub const MAX_DESCRIPTORS: usize = 4;

/// The controller's end: accepts connections. Removes its path when dropped.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

/// One connection, either side.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
}

/// Who connected, as the kernel saw it then. A process in a user namespace of its own sees users outside of it as
/// 65534, so what keeps strangers out is the mode of the socket and of its directory, not these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Listener {
    /// Listens on `path` with this mode. A socket that a dead process left there is replaced; one that somebody listens
    /// on is [`io::ErrorKind::AddrInUse`].
    pub fn bind(path: &Path, mode: u32) -> io::Result<Listener> {
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            match Connection::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                _ => return Err(io::ErrorKind::AddrInUse.into()),
            }
        }
        let (address, length) = address(path)?;
        let socket = new_socket()?;
        // SAFETY: `address` is a filled sockaddr_un of at least `length` bytes; the descriptor is ours.
        check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        let listener = Listener { socket, path: path.into() };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        // SAFETY: a plain call on a descriptor that is ours.
        check(unsafe { libc::listen(listener.socket.as_raw_fd(), 8) })?;
        Ok(listener)
    }

    /// The next connection; `None` where none waits.
    pub fn accept(&self) -> io::Result<Option<Connection>> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: the address is not asked for; the returned descriptor is checked before use.
        let fd = unsafe { libc::accept4(self.socket.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        match check(fd) {
            // SAFETY: a new descriptor that nobody else owns.
            Ok(fd) => Ok(Some(Connection { socket: unsafe { OwnedFd::from_raw_fd(fd) } })),
            // ECONNABORTED: it gave up while it waited
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // the directory may be gone already; nothing depends on it
        let _ = std::fs::remove_file(&self.path);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Connects to the controller that listens on `path`.
    pub fn connect(path: &Path) -> io::Result<Connection> {
        let (address, length) = address(path)?;
        let socket = new_socket()?;
        // SAFETY: `address` is a filled sockaddr_un of at least `length` bytes; the descriptor is ours.
        check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
        Ok(Connection { socket })
    }

    /// Two ends of a connection without a path.
    pub fn pair() -> io::Result<(Connection, Connection)> {
        let mut fds: [RawFd; 2] = [-1; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: `fds` has room for the two descriptors that the call writes.
        check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
        // SAFETY: two new descriptors that nobody else owns.
        let [a, b] = fds.map(|fd| Connection { socket: unsafe { OwnedFd::from_raw_fd(fd) } });
        Ok((a, b))
    }

    /// Who is on the other side.
    pub fn peer(&self) -> io::Result<Peer> {
        let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `found` and `length` are valid to write to and agree on the size.
        check(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut found).cast(),
                &mut length,
            )
        })?;
        Ok(Peer { pid: found.pid as u32, uid: found.uid, gid: found.gid })
    }

    /// [`send`] to the other side.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.as_fd(), bytes, descriptors)
    }

    /// [`receive`] from the other side.
    pub fn receive(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        receive(self.as_fd(), buffer, descriptors)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Sends one datagram over a connected socket with up to [`MAX_DESCRIPTORS`] descriptors. [`io::ErrorKind::WouldBlock`]: the other side does
/// not read; nothing was sent.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = ControlBuffer::new();
    // SAFETY: an all-zero msghdr is a valid empty one.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if !descriptors.is_empty() {
        let payload = size_of_val(descriptors) as u32;
        message.msg_control = control.words.as_mut_ptr().cast();
        // SAFETY: pure arithmetic; the buffer holds MAX_DESCRIPTORS, checked above.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(payload) } as _;
        // SAFETY: `message` describes an aligned control buffer with room for one header and `payload` bytes; a
        // BorrowedFd is a descriptor number (repr(transparent)).
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload) as _;
            std::ptr::copy_nonoverlapping(descriptors.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), payload as usize);
        }
    }
    loop {
        // SAFETY: everything `message` points to lives until the call returns.
        match check(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) } as i32) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives one datagram into `buffer` and its descriptors into `descriptors` (close-on-exec); the length, 0 at the
/// end of the connection. A datagram larger than the buffer or with more than [`MAX_DESCRIPTORS`] descriptors is
/// [`io::ErrorKind::InvalidData`], and gone.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    descriptors.clear();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = ControlBuffer::new();
    // SAFETY: an all-zero msghdr is a valid empty one.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.words.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control.words);
    let length = loop {
        // SAFETY: everything `message` points to lives until the call returns.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(n as i32) {
            Ok(n) => break n as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // the other side died with something of ours unread: an end like any other
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
            Err(error) => return Err(error),
        }
    };
    // Own the descriptors before anything can return, so that none leaks.
    // SAFETY: the kernel filled the control buffer and set its length; the CMSG macros walk just that.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(header).cast::<RawFd>();
                for i in 0..bytes / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(first.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 || descriptors.len() > MAX_DESCRIPTORS {
        descriptors.clear();
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a datagram was too large for its buffer"));
    }
    Ok(length)
}

/// Room for one SCM_RIGHTS header with [`MAX_DESCRIPTORS`] descriptors, aligned as cmsghdr asks.
struct ControlBuffer {
    words: [u64; 4 + MAX_DESCRIPTORS / 2],
}

impl ControlBuffer {
    fn new() -> ControlBuffer {
        ControlBuffer { words: [0; 4 + MAX_DESCRIPTORS / 2] }
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a plain call; the returned descriptor is checked before use.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: an all-zero sockaddr_un is valid.
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // one byte stays 0 as the end of the path
    if bytes.is_empty() || bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        let limit = address.sun_path.len() - 1;
        let message = format!("{}: the path of a socket has 1 to {limit} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok((address, size_of::<libc::sockaddr_un>() as libc::socklen_t))
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    fn directory() -> PathBuf {
        let path = std::env::temp_dir().join(format!(
            "canvoy-socket-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn datagrams_keep_their_borders_and_bring_descriptors() {
        let (a, b) = Connection::pair().unwrap();
        let mut file = std::fs::File::from(crate::store::memory::sealed(c"test", b"bundle").unwrap());
        let (mut buffer, mut descriptors) = ([0; 16], Vec::new());
        a.send(b"one", &[file.as_fd(), file.as_fd()]).unwrap();
        a.send(b"two", &[]).unwrap();
        assert_eq!(b.receive(&mut buffer, &mut descriptors).unwrap(), 3);
        assert_eq!((&buffer[..3], descriptors.len()), (&b"one"[..], 2));
        let mut text = String::new();
        let mut copy = std::fs::File::from(descriptors.remove(1));
        copy.seek(SeekFrom::Start(0)).unwrap();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bundle");
        assert!(file.write_all(b"x").is_err(), "sealed");
        assert_eq!(b.receive(&mut buffer, &mut descriptors).unwrap(), 3);
        assert_eq!((&buffer[..3], descriptors.len()), (&b"two"[..], 0));
        assert_eq!(b.receive(&mut buffer, &mut descriptors).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        a.send(&[7; 17], &[]).unwrap();
        assert_eq!(b.receive(&mut buffer, &mut descriptors).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(a.send(b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        drop(a);
        assert_eq!(b.receive(&mut buffer, &mut descriptors).unwrap(), 0);
        assert_eq!(b.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn too_many_descriptors_leave_none_open() {
        let (a, b) = Connection::pair().unwrap();
        let end = a.as_fd();
        a.send(b"x", &[end; MAX_DESCRIPTORS]).unwrap();
        assert!(a.send(b"x", &[end; MAX_DESCRIPTORS + 1]).is_err());
        let (mut buffer, mut descriptors) = ([0; 4], Vec::new());
        assert_eq!(b.receive(&mut buffer, &mut descriptors).unwrap(), 1);
        assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
    }

    #[test]
    fn a_path_is_taken_over_from_the_dead_only() {
        let path = directory().join("s");
        let listener = Listener::bind(&path, 0o660).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(Listener::bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // the attempt above connected once to find out
        drop(listener.accept().unwrap().unwrap());
        assert!(listener.accept().unwrap().is_none());
        let client = Connection::connect(&path).unwrap();
        let server = listener.accept().unwrap().unwrap();
        assert_eq!(server.peer().unwrap().pid, std::process::id());
        client.send(b"hello", &[]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(server.receive(&mut buffer, &mut Vec::new()).unwrap(), 5);
        // a process that dies leaves its path behind
        let kept = path.with_extension("kept");
        std::fs::rename(&path, &kept).unwrap();
        drop(listener);
        assert_eq!(Connection::connect(&kept).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        drop(Listener::bind(&kept, 0o600).unwrap());
        assert!(!kept.exists());
        assert!(Listener::bind(Path::new(&"x".repeat(200)), 0o600).is_err());
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
