//! The memory of a store: a sealed memfd that one process may write and others can only read, or plain heap in tests.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// F_SEAL_FUTURE_WRITE (linux/fcntl.h, since 5.1): mappings made before stay writable, no new one can be.
const F_SEAL_FUTURE_WRITE: libc::c_int = 0x0010;

/// Words shared between processes, or owned by this one.
pub enum Memory {
    Heap(Box<[AtomicU64]>),
    Mapped(Mapping),
}

impl Memory {
    /// Zeroed words on the heap.
    pub fn heap(words: usize) -> Memory {
        Memory::Heap((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    /// A new memfd of `words` words: the writable mapping for this process and the descriptor to hand to readers, sealed
    /// so that nobody can map it writable, write to it, or change its size any more.
    pub fn shared(name: &std::ffi::CStr, words: usize) -> io::Result<(Memory, OwnedFd)> {
        let bytes = words * 8;
        let file = memfd(name)?;
        file.set_len(bytes as u64)?;
        let mapping = Mapping::new(&file, bytes, libc::PROT_READ | libc::PROT_WRITE)?;
        seal(&file, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL)?;
        Ok((Memory::Mapped(mapping), file.into()))
    }

    /// Maps a store that another process writes, read-only.
    pub fn read_only(descriptor: OwnedFd) -> io::Result<Memory> {
        let file = File::from(descriptor);
        // An unsealed file could be shortened under us, and a read past its end is SIGBUS.
        // SAFETY: a plain fcntl on a descriptor that `file` owns.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the store is not sealed against shrinking"));
        }
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Memory::Mapped(Mapping::new(&file, bytes, libc::PROT_READ)?))
    }

    /// The words. On a read-only mapping only relaxed or acquire loads are allowed; `Reader` does nothing else.
    pub fn words(&self) -> &[AtomicU64] {
        match self {
            Memory::Heap(words) => words,
            Memory::Mapped(mapping) => mapping.words(),
        }
    }
}

/// A memfd holding `bytes`, sealed against every change: how configuration bytes are handed over.
pub fn sealed(name: &std::ffi::CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write;
    let mut file = memfd(name)?;
    file.write_all(bytes)?;
    seal(&file, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL)?;
    Ok(file.into())
}

fn memfd(name: &std::ffi::CStr) -> io::Result<File> {
    // SAFETY: `name` ends with NUL; the returned descriptor is new and owned by nobody else.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn seal(file: &File, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: a plain fcntl on a descriptor that `file` owns.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A shared mapping of a whole file.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the mapping is plain memory that is only touched through atomics, and is unmapped once, by its owner.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &File, bytes: usize, protection: libc::c_int) -> io::Result<Mapping> {
        // SAFETY: a new shared mapping at an address the kernel chooses; the result is checked before use.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Mapping { start, bytes })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: page-aligned, alive as long as `self`, sealed against shrinking, and only ever accessed as atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes / 8) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
