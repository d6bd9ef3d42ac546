//! Whether a time service keeps the wall clock: asked of the kernel, shown in the store.

use crate::store::layout::MainWord;
use crate::store::{MainWriter, clock};

/// Between two looks, in nanoseconds.
const REST: u64 = 1_000_000_000;

/// What is told to readers about the wall clock.
pub struct Timekeeping {
    store: MainWriter,
    /// CLOCK_MONOTONIC of the last look.
    looked: u64,
}

impl Timekeeping {
    pub fn new(store: MainWriter) -> Timekeeping {
        Timekeeping { store, looked: 0 }
    }

    /// Asks, where it is time to. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn look(&mut self, now: u64) {
        if now - self.looked < REST {
            return;
        }
        self.looked = now;
        let (word, max_error) = match clock::synchronisation() {
            None => (0, 0),
            Some(clock) => (1 + u64::from(clock.synchronized), clock.max_error),
        };
        self.store.set(MainWord::ClockMaxError, max_error);
        self.store.set(MainWord::ClockSynchronized, word);
    }
}
