//! The reading side: records and counters of a store that another process writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{BusState, BusWord, LATENESS_BUCKETS, Layout, MAGIC, Word};
use super::memory::Memory;
use super::record::{self, Record};
use crate::quality::{Cause, Causes};

/// How often a record is tried before it counts as unreadable. The writer holds it for well under a microsecond; a
/// writer that was stopped in the middle is noticed by its heartbeat.
const ATTEMPTS: u32 = 10_000;

/// An older heartbeat means: the controller is gone or stuck. The loop beats at least every 100 ms.
pub const HEARTBEAT_LIMIT: u64 = 500_000_000;

/// Reads records and counters.
#[derive(Clone)]
pub struct Reader {
    memory: Arc<Memory>,
    layout: Layout,
}

/// Why a store can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the controller's store has another layout: both processes must be of the same version")]
    Layout,
    #[error("the controller's store is of another plan")]
    Plan,
}

impl Reader {
    /// Checks that the memory is a store of this layout and plan.
    pub fn open(memory: Arc<Memory>, layout: Layout, plan_hash: u64) -> Result<Reader, OpenError> {
        let words = memory.words();
        if words.len() < layout.words() || words[Word::Magic as usize].load(Ordering::Acquire) != MAGIC {
            return Err(OpenError::Layout);
        }
        let reader = Reader { memory, layout };
        if reader.get(Word::PlanHash) != plan_hash
            || reader.get(Word::Buses) != layout.buses as u64
            || reader.get(Word::Records) != layout.records as u64
        {
            return Err(OpenError::Plan);
        }
        Ok(reader)
    }

    /// A word of the header.
    pub fn get(&self, word: Word) -> u64 {
        self.memory.words()[word as usize].load(Ordering::Relaxed)
    }

    /// The lateness histogram.
    pub fn lateness(&self) -> [u64; LATENESS_BUCKETS] {
        std::array::from_fn(|i| self.memory.words()[Word::Lateness as usize + i].load(Ordering::Relaxed))
    }

    /// A word of a bus.
    pub fn bus(&self, bus: usize, word: BusWord) -> u64 {
        self.memory.words()[self.layout.bus(bus, word)].load(Ordering::Relaxed)
    }

    pub fn bus_state(&self, bus: usize) -> BusState {
        BusState::from_word(self.bus(bus, BusWord::State))
    }

    /// A record; `None` where the writer was stopped in the middle of it.
    pub fn record(&self, index: usize) -> Option<Record> {
        record::load(&self.memory.words()[self.layout.record(index)..], ATTEMPTS, true)
    }

    /// Without looking at the sequence: for the test that shows what the lock is for.
    #[doc(hidden)]
    pub fn record_unchecked(&self, index: usize) -> Option<Record> {
        record::load(&self.memory.words()[self.layout.record(index)..], 1, false)
    }

    /// Whether the controller's real-time loop has not turned for [`HEARTBEAT_LIMIT`]. `now`: CLOCK_MONOTONIC.
    pub fn stale(&self, now: u64) -> bool {
        now.saturating_sub(self.get(Word::Heartbeat)) > HEARTBEAT_LIMIT
    }

    /// The causes that hold for everything on a bus, whatever a record says. `now`: CLOCK_MONOTONIC.
    pub fn bus_causes(&self, bus: usize, now: u64) -> Causes {
        let causes = Causes::from_bits(self.bus(bus, BusWord::Causes) as u32);
        if self.stale(now) { causes.with(Cause::ControllerGone) } else { causes }
    }
}
