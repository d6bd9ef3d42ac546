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

/// Gives memory back that was freed: what a plan that is no longer in force has held. The allocator keeps it otherwise. It
/// takes milliseconds, so not in a thread that has a deadline.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no argument but a number, and it may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Keeps freed memory from staying with the allocator: large pieces (a password's check takes 19 MB) go back at once, and
/// there are few places where small ones lie. To be called before there are threads. Whether the allocator took it.
pub fn steady_heap() -> bool {
    #[cfg(target_env = "gnu")]
    // SAFETY: no argument but numbers; no other thread allocates yet (mallopt(3)).
    let taken =
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20) == 1 && libc::mallopt(libc::M_ARENA_MAX, 4) == 1 };
    #[cfg(not(target_env = "gnu"))]
    let taken = true;
    taken
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
        // Who writes shall not wait for pages, least of all while another thread maps or unmaps memory.
        let now = if protection & libc::PROT_WRITE != 0 { libc::MAP_POPULATE } else { 0 };
        let flags = libc::MAP_SHARED | now;
        // SAFETY: a new shared mapping at an address the kernel chooses; the result is checked before use.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, file.as_raw_fd(), 0) };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::quality::{Cause, Causes};
    use crate::store::layout::{BusState, BusWord, Word};
    use crate::store::reader::{HEARTBEAT_LIMIT, OpenError};
    use crate::store::{Layout, Reader, Record, Writer};

    const LAYOUT: Layout =
        Layout { buses: 2, records: 3, messages: 2, tags: 9, routes: 1, links: 1, contracts: 1, alarms: 4, names: 1 };

    #[test]
    fn the_allocator_gives_large_pieces_back() {
        assert!(steady_heap());
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let pieces: Vec<Vec<u8>> = (0..20).map(|_| vec![7; 8 << 20]).collect();
        let held = resident();
        drop(pieces);
        assert!(resident() + (100 << 20) < held, "160 MB were freed");
    }

    #[test]
    fn a_reader_in_another_mapping_sees_what_the_writer_writes() {
        let (memory, descriptor) = Memory::shared(c"store", LAYOUT.words()).unwrap();
        let mut writer = Writer::new(Arc::new(memory), LAYOUT, 42);
        let reader = Reader::open(Arc::new(Memory::read_only(descriptor).unwrap()), LAYOUT, 42).unwrap();
        assert_eq!(reader.record(2), Some(Record::EMPTY));
        assert_eq!(reader.bus_causes(1, 0), Causes::of(Cause::InterfaceGone));
        let record = Record { count: 1, length: 3, causes: Causes::NONE, ..Record::EMPTY };
        writer.record(2, &record);
        writer.set_bus_state(1, BusState::Passive, 5);
        writer.add_bus(1, BusWord::LostFrames, 7);
        writer.set(Word::Heartbeat, 1_000);
        writer.lateness(3_000);
        assert_eq!(reader.record(2), Some(record));
        assert_eq!((reader.bus_state(1), reader.bus(1, BusWord::LostFrames)), (BusState::Passive, 7));
        assert_eq!(reader.bus_causes(1, 1_000 + HEARTBEAT_LIMIT), Causes::NONE);
        assert_eq!(reader.bus_causes(1, 1_001 + HEARTBEAT_LIMIT), Causes::of(Cause::ControllerGone));
        assert_eq!(reader.lateness()[1], 1);
    }

    #[test]
    fn another_layout_or_plan_is_refused() {
        let memory = Arc::new(Memory::heap(LAYOUT.words()));
        assert_eq!(Reader::open(memory.clone(), LAYOUT, 42).err(), Some(OpenError::Layout));
        Writer::new(memory.clone(), LAYOUT, 42);
        assert_eq!(Reader::open(memory.clone(), LAYOUT, 43).err(), Some(OpenError::Plan));
        assert_eq!(Reader::open(memory, Layout { records: 900, ..LAYOUT }, 42).err(), Some(OpenError::Layout));
    }

    #[test]
    fn the_seals_hold() {
        let (memory, descriptor) = Memory::shared(c"store", 512).unwrap();
        let file = File::from(descriptor);
        // SAFETY: a new mapping that is not used; each call is expected to be refused.
        let map = |protection| unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_eq!(map(libc::PROT_READ | libc::PROT_WRITE), libc::MAP_FAILED);
        assert_ne!(map(libc::PROT_READ), libc::MAP_FAILED);
        use std::os::unix::fs::FileExt;
        for refused in
            [file.set_len(8), file.set_len(1 << 20), file.write_at(b"x", 0).map(drop), seal(&file, libc::F_SEAL_WRITE)]
        {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
        }
        memory.words()[0].store(9, Ordering::Relaxed);
        assert_eq!(Memory::read_only(file.into()).unwrap().words()[0].load(Ordering::Relaxed), 9);
    }

    #[test]
    fn an_unsealed_file_is_no_store() {
        assert!(Memory::read_only(memfd(c"x").unwrap().into()).is_err());
        assert!(Memory::read_only(sealed(c"x", b"12345678").unwrap()).is_ok());
    }
}
