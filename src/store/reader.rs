//! The reading side: records and counters of a store that another process writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::Synchronisation;
use super::events::{self, AlarmEvent, EventLost};
use super::layout::{
    BUCKETS, BusState, BusWord, CONTRACT_BUCKETS, ContractWord, FORCES, LATENESS_BUCKETS, Layout, LinkWord, MAGIC,
    MainWord, Marks, MessageWord, RouteWord, Word, bucket_end,
};
use super::memory::Memory;
use super::names::{self, Holder, NameWord};
use super::record::{self, Record};
use super::ring::{Next, Position};
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

/// The times of one contract so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub count: u64,
    /// Nanoseconds, as all times here.
    pub sum: u64,
    pub max: u64,
    /// CLOCK_REALTIME of the maximum.
    pub max_at: u64,
    pub overruns: u64,
    /// CLOCK_REALTIME of the last overrun; 0: none.
    pub overrun_at: u64,
    /// See [`bucket_end`].
    pub buckets: [u64; BUCKETS],
}

impl Times {
    /// The time that this share (0 to 1) of all times does not exceed: the end of its bucket, or the maximum where that is
    /// less. `None` without any time.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(bucket_end(at).min(self.max))
    }
}

/// One alarm at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlarmState {
    pub active: bool,
    /// 0: not active; of a limit its levels, as in [`AlarmEvent`].
    pub state: u8,
    /// How often it was raised.
    pub count: u64,
    /// CLOCK_REALTIME nanoseconds of the last change; 0: it never was.
    pub since: u64,
    pub detail: u64,
    /// The value that decided at the last change; NaN where there is none.
    pub value: f64,
}

/// One force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Force {
    pub tag: usize,
    /// CLOCK_MONOTONIC nanoseconds.
    pub until: u64,
    /// [`crate::dbc::Raw::bits`].
    pub bits: u64,
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
        self.at(word as usize)
    }

    /// Whether the kernel says that its clock is synchronised, and by how many nanoseconds it may be wrong; `None` where
    /// it does not tell, or nobody is there any more to ask.
    pub fn clock(&self) -> Option<Synchronisation> {
        let max_error = self.at(MainWord::ClockMaxError as usize);
        match self.at(MainWord::ClockSynchronized as usize) {
            1 => Some(Synchronisation { synchronized: false, max_error }),
            2 => Some(Synchronisation { synchronized: true, max_error }),
            _ => None,
        }
    }

    /// Commands that did not belong to the door they came through.
    pub fn wrong_door(&self) -> u64 {
        self.at(MainWord::WrongDoor as usize)
    }

    /// The lateness histogram.
    pub fn lateness(&self) -> [u64; LATENESS_BUCKETS] {
        std::array::from_fn(|i| self.at(Word::Lateness as usize + i))
    }

    /// A word of a bus.
    pub fn bus(&self, bus: usize, word: BusWord) -> u64 {
        self.at(self.layout.bus(bus, word))
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

    /// The share of the last second that frames had a bus, 1 for all of it; why it is not known otherwise. `now`:
    /// CLOCK_MONOTONIC.
    pub fn load(&self, bus: usize, now: u64) -> Result<f64, Causes> {
        match self.bus_causes(bus, now) {
            Causes::NONE if self.bus(bus, BusWord::LoadAt) == 0 => Err(Causes::of(Cause::NeverReceived)),
            Causes::NONE => Ok(self.bus(bus, BusWord::Load) as f64 / 1e6),
            causes => Err(causes),
        }
    }

    /// The highest load of a second since the start of the controller, and the CLOCK_REALTIME nanoseconds of its end.
    pub fn load_peak(&self, bus: usize) -> Option<(f64, u64)> {
        let at = self.bus(bus, BusWord::LoadPeakAt);
        (at != 0).then(|| (self.bus(bus, BusWord::LoadPeak) as f64 / 1e6, at))
    }

    /// A word of a message.
    pub fn message(&self, message: usize, word: MessageWord) -> u64 {
        self.at(self.layout.message(message, word))
    }

    /// A word of a route.
    pub fn route(&self, route: usize, word: RouteWord) -> u64 {
        self.at(self.layout.route(route, word))
    }

    /// A word of a link.
    pub fn link(&self, link: usize, word: LinkWord) -> u64 {
        self.at(self.layout.link(link, word))
    }

    /// The times of a contract. Each number is right, but they may be of neighbouring moments.
    pub fn contract(&self, contract: usize) -> Times {
        let first = self.layout.contract(contract);
        let word = |word: ContractWord| self.at(first + word as usize);
        Times {
            count: word(ContractWord::Count),
            sum: word(ContractWord::Sum),
            max: word(ContractWord::Max),
            max_at: word(ContractWord::MaxAt),
            overruns: word(ContractWord::Overruns),
            overrun_at: word(ContractWord::OverrunAt),
            buckets: std::array::from_fn(|i| self.at(first + CONTRACT_BUCKETS + i)),
        }
    }

    pub fn alarm(&self, alarm: usize) -> AlarmState {
        let words = &self.memory.words()[self.layout.alarm(alarm)..];
        let word = words[0].load(Ordering::Acquire);
        AlarmState {
            active: word as u8 != 0,
            state: word as u8,
            count: word >> 8,
            since: words[1].load(Ordering::Relaxed),
            detail: words[2].load(Ordering::Relaxed),
            value: f64::from_bits(words[3].load(Ordering::Relaxed)),
        }
    }

    /// The sequence of the transition that comes next.
    pub fn alarm_events_next(&self) -> u64 {
        self.memory.words()[Word::AlarmEvents as usize].load(Ordering::Acquire)
    }

    /// The first transition that is in this store: after a reload those before it are in the store before it.
    pub fn alarm_events_begin(&self) -> u64 {
        self.get(Word::AlarmEventsBegin)
    }

    /// A transition of an alarm by its sequence; `None` where it comes only later. Tells from where it goes on where it is lost.
    pub fn alarm_event(&self, sequence: u64) -> Result<Option<AlarmEvent>, EventLost> {
        let (begin, next) = (self.alarm_events_begin(), self.alarm_events_next());
        events::read(&self.memory.words()[self.layout.events()..], sequence, begin, next)
    }

    /// A counter of a table of NAMEs.
    pub fn name_word(&self, table: usize, word: NameWord) -> u64 {
        self.at(self.layout.names(table) + word as usize)
    }

    /// Who holds an address of the bus of a table of NAMEs; `None`: nobody that we have heard of.
    pub fn holder(&self, table: usize, address: u8) -> Option<Holder> {
        names::load(&self.memory.words()[self.layout.names(table) + names::row(address)?..], ATTEMPTS)
    }

    /// The forces in force.
    pub fn forces(&self) -> impl Iterator<Item = Force> + '_ {
        (0..FORCES).filter_map(|slot| {
            let words = &self.memory.words()[self.layout.force(slot)..];
            let tag = words[0].load(Ordering::Acquire).checked_sub(1)?;
            let (until, bits) = (words[1].load(Ordering::Relaxed), words[2].load(Ordering::Relaxed));
            Some(Force { tag: tag as usize, until, bits })
        })
    }

    /// Sequence of a record: another one after each change. Reads nothing else, so it is cheap to ask.
    pub fn sequence(&self, index: usize) -> u64 {
        self.at(self.layout.record(index) + record::SEQUENCE)
    }

    /// A position in the broadcast ring: what is published from now on.
    pub fn follow(&self) -> Position {
        Position::now(self.at(Word::Published as usize))
    }

    /// A position in the broadcast ring: the oldest frame that is not about to be overwritten.
    pub fn oldest(&self) -> Position {
        Position::oldest(self.at(Word::Published as usize))
    }

    /// The next frame of the broadcast ring.
    pub fn next(&self, position: &mut Position) -> Next {
        let written = self.memory.words()[Word::Published as usize].load(Ordering::Acquire);
        position.next(&self.memory.words()[self.layout.ring()..], written)
    }

    /// The marks of a tag.
    pub fn marks(&self, tag: usize) -> Marks {
        let (index, shift) = self.layout.marks(tag);
        Marks((self.at(index) >> shift) as u8)
    }

    fn at(&self, word: usize) -> u64 {
        self.memory.words()[word].load(Ordering::Relaxed)
    }
}
