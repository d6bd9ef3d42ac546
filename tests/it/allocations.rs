//! The allocator of the test binary: the system's, which counts what one watched thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Kernel's id of the watched thread; 0: none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// One test watches at a time.
static TURN: Mutex<()> = Mutex::new(());

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched != 0 && nix::unistd::gettid().as_raw() == watched {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is done by the system's allocator; counting touches atomics only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Watches one thread until it is dropped.
pub struct Watch(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Watch {
    pub fn thread(id: i32) -> Watch {
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        COUNT.store(0, Ordering::Relaxed);
        WATCHED.store(id, Ordering::Relaxed);
        Watch(turn)
    }

    /// Allocations, reallocations and frees so far.
    pub fn count(&self) -> u64 {
        COUNT.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.store(0, Ordering::Relaxed);
    }
}

#[test]
fn allocations_of_the_watched_thread_are_seen() {
    let watch = Watch::thread(nix::unistd::gettid().as_raw());
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(watch.count(), 2);
}
