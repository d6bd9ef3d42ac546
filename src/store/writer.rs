//! The writing side: owned by the real-time thread alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::events::{self, AlarmEvent};
use super::layout::{
    BusState, BusWord, CONTRACT_BUCKETS, ContractWord, LATENESS_BUCKETS, Layout, LinkWord, MAGIC, MainWord, Marks,
    MessageWord, RouteWord, Word, bucket,
};
use super::memory::Memory;
use super::names::{self, Holder, NameWord};
use super::record::{self, Record};
use super::ring;
use crate::can::{Frame, wire};
use crate::quality::{Cause, Causes};

/// Writes the few words that belong to the controller's main thread. There is one per store.
pub struct MainWriter {
    memory: Arc<Memory>,
}

impl MainWriter {
    /// Of the same memory as the [`Writer`].
    pub fn new(memory: Arc<Memory>) -> MainWriter {
        MainWriter { memory }
    }

    pub fn set(&mut self, word: MainWord, value: u64) {
        self.memory.words()[word as usize].store(value, Ordering::Relaxed);
    }
}

/// Writes records and counters. There is one per store.
pub struct Writer {
    memory: Arc<Memory>,
    layout: Layout,
}

impl Writer {
    /// Fills fresh memory: every record "never received", every bus "gone".
    pub fn new(memory: Arc<Memory>, layout: Layout, plan_hash: u64) -> Writer {
        assert!(memory.words().len() >= layout.words(), "the store's memory is too small");
        let mut writer = Writer { memory, layout };
        for index in 0..layout.records {
            writer.record(index, &Record::EMPTY);
        }
        for bus in 0..layout.buses {
            writer.set_bus(bus, BusWord::Causes, Causes::of(Cause::InterfaceGone).bits() as u64);
        }
        writer.set(Word::PlanHash, plan_hash);
        writer.set(Word::Buses, layout.buses as u64);
        writer.set(Word::Records, layout.records as u64);
        writer.set(Word::Remote, 1);
        // last: a reader that sees it sees the rest
        writer.word(Word::Magic as usize).store(MAGIC, Ordering::Release);
        writer
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        self.memory.words()
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.memory.words()[index]
    }

    /// Writes a whole record.
    pub fn record(&mut self, index: usize, record: &Record) {
        record::store(&self.memory.words()[self.layout.record(index)..], record);
    }

    /// One more good frame of a record: at most 64 bytes, times in nanoseconds (CLOCK_REALTIME, CLOCK_MONOTONIC).
    pub fn received(&mut self, index: usize, id_bits: u32, source_time: u64, received: u64, payload: &[u8]) {
        let words = &self.memory.words()[self.layout.record(index)..];
        record::received(words, id_bits, source_time, received, payload);
    }

    /// A record as it was written last.
    pub fn load(&self, index: usize) -> Record {
        // nobody else writes, so that it is never in the middle
        record::load(&self.memory.words()[self.layout.record(index)..], 1, false).unwrap_or(Record::EMPTY)
    }

    pub fn causes(&self, index: usize) -> Causes {
        record::causes(&self.memory.words()[self.layout.record(index)..])
    }

    /// Changes the causes of a record, and nothing else.
    pub fn set_causes(&mut self, index: usize, causes: Causes) {
        record::set_causes(&self.memory.words()[self.layout.record(index)..], causes);
    }

    /// Sets a word of the header.
    pub fn set(&mut self, word: Word, value: u64) {
        self.word(word as usize).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of the header.
    pub fn add(&mut self, word: Word, n: u64) {
        add(self.word(word as usize), n);
    }

    /// Counts how late a deadline was served.
    pub fn lateness(&mut self, nanoseconds: u64) {
        self.add(Word::LatenessSum, nanoseconds);
        let bucket = ((nanoseconds / 1000).max(1).ilog2() as usize).min(LATENESS_BUCKETS - 1);
        add(self.word(Word::Lateness as usize + bucket), 1);
    }

    /// Sets a word of a bus.
    pub fn set_bus(&mut self, bus: usize, word: BusWord, value: u64) {
        self.word(self.layout.bus(bus, word)).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of a bus.
    pub fn add_bus(&mut self, bus: usize, word: BusWord, n: u64) {
        add(self.word(self.layout.bus(bus, word)), n);
    }

    /// A word of a bus as it was written last.
    pub fn bus(&self, bus: usize, word: BusWord) -> u64 {
        self.word(self.layout.bus(bus, word)).load(Ordering::Relaxed)
    }

    /// Counts a frame that came in, and the time that it had the bus.
    pub fn count_received(&mut self, bus: usize, frame: &Frame) {
        self.add_bus(bus, BusWord::ReceivedFrames, 1);
        self.add_bus(bus, BusWord::ReceivedBytes, frame.payload().len() as u64);
        self.count_bits(bus, frame);
    }

    /// The same of one of ours that left. Sockets do not hear it again: it is counted once.
    pub fn count_sent(&mut self, bus: usize, frame: &Frame) {
        self.add_bus(bus, BusWord::TransmittedFrames, 1);
        self.add_bus(bus, BusWord::TransmittedBytes, frame.payload().len() as u64);
        self.count_bits(bus, frame);
    }

    fn count_bits(&mut self, bus: usize, frame: &Frame) {
        let bits = wire::bits(frame);
        self.add_bus(bus, BusWord::NominalBits, bits.nominal.into());
        self.add_bus(bus, BusWord::DataBits, bits.data.into());
    }

    /// Sets the state of a bus, the time of the change and the causes that follow from it.
    pub fn set_bus_state(&mut self, bus: usize, state: BusState, realtime: u64) {
        let causes = match state {
            BusState::Gone | BusState::Down => Causes::of(Cause::InterfaceGone),
            BusState::BusOff => Causes::of(Cause::BusOff),
            BusState::Active | BusState::Warning | BusState::Passive => Causes::NONE,
        };
        self.set_bus(bus, BusWord::State, state as u64);
        self.set_bus(bus, BusWord::StateSince, realtime);
        self.set_bus(bus, BusWord::Causes, causes.bits() as u64);
    }

    /// The causes that hold for everything on a bus.
    pub fn bus_causes(&self, bus: usize) -> Causes {
        Causes::from_bits(self.word(self.layout.bus(bus, BusWord::Causes)).load(Ordering::Relaxed) as u32)
    }

    /// Sets a word of a message.
    pub fn set_message(&mut self, message: usize, word: MessageWord, value: u64) {
        self.word(self.layout.message(message, word)).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of a message.
    pub fn add_message(&mut self, message: usize, word: MessageWord, n: u64) {
        add(self.word(self.layout.message(message, word)), n);
    }

    /// Sets a word of a route.
    pub fn set_route(&mut self, route: usize, word: RouteWord, value: u64) {
        self.word(self.layout.route(route, word)).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of a route.
    pub fn add_route(&mut self, route: usize, word: RouteWord, n: u64) {
        add(self.word(self.layout.route(route, word)), n);
    }

    /// Sets a word of a link.
    pub fn set_link(&mut self, link: usize, word: LinkWord, value: u64) {
        self.word(self.layout.link(link, word)).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of a link.
    pub fn add_link(&mut self, link: usize, word: LinkWord, n: u64) {
        add(self.word(self.layout.link(link, word)), n);
    }

    /// Counts one time of a contract, in nanoseconds; whether it was more than the budget.
    pub fn contract(&mut self, contract: usize, nanoseconds: u64, budget: u64, realtime: u64) -> bool {
        let first = self.layout.contract(contract);
        let words = &self.memory.words()[first..];
        let at = |word: ContractWord| &words[word as usize];
        add(at(ContractWord::Count), 1);
        add(at(ContractWord::Sum), nanoseconds);
        add(&words[CONTRACT_BUCKETS + bucket(nanoseconds)], 1);
        if nanoseconds > at(ContractWord::Max).load(Ordering::Relaxed) {
            at(ContractWord::Max).store(nanoseconds, Ordering::Relaxed);
            at(ContractWord::MaxAt).store(realtime, Ordering::Relaxed);
        }
        let overrun = nanoseconds > budget;
        if overrun {
            add(at(ContractWord::Overruns), 1);
            at(ContractWord::OverrunAt).store(realtime, Ordering::Relaxed);
        }
        overrun
    }

    /// Raises or ends an alarm; `detail` says more where the alarm has more to say. Nothing happens where it is so already.
    /// `time`: CLOCK_REALTIME nanoseconds.
    pub fn alarm(&mut self, alarm: usize, active: bool, detail: u64, time: u64) {
        self.alarm_state(alarm, active.into(), detail, f64::NAN, time);
    }

    /// The same with a state that has more to say than active or not, and the value that decided (NaN: none).
    pub fn alarm_state(&mut self, alarm: usize, state: u8, detail: u64, value: f64, time: u64) {
        let words = &self.memory.words()[self.layout.alarm(alarm)..];
        let word = words[0].load(Ordering::Relaxed);
        if state != 0 {
            words[2].store(detail, Ordering::Relaxed);
        }
        let before = word as u8;
        if before == state {
            return;
        }
        let detail = words[2].load(Ordering::Relaxed);
        words[1].store(time, Ordering::Relaxed);
        words[3].store(value.to_bits(), Ordering::Relaxed);
        // the lowest byte is the state; the rest counts how often it was raised
        let count = (word >> 8) + u64::from(before == 0);
        words[0].store(count << 8 | u64::from(state), Ordering::Release);
        match (before, state) {
            (0, _) => self.add(Word::AlarmsActive, 1),
            (_, 0) => self.add(Word::AlarmsActive, u64::MAX),
            _ => {}
        }
        let sequence = self.word(Word::AlarmEvents as usize).load(Ordering::Relaxed);
        let event = AlarmEvent { sequence, alarm, state, before, detail, value, time };
        events::write(&self.memory.words()[self.layout.events()..], &event);
        self.word(Word::AlarmEvents as usize).store(sequence + 1, Ordering::Release);
    }

    /// The state of an alarm.
    pub fn alarm_now(&self, alarm: usize) -> u8 {
        self.word(self.layout.alarm(alarm)).load(Ordering::Relaxed) as u8
    }

    /// Fills a slot of the table of forces. `until`: CLOCK_MONOTONIC nanoseconds; `bits`: the raw value.
    pub fn set_force(&mut self, slot: usize, tag: usize, until: u64, bits: u64) {
        let words = &self.memory.words()[self.layout.force(slot)..];
        words[0].store(0, Ordering::Relaxed);
        words[1].store(until, Ordering::Relaxed);
        words[2].store(bits, Ordering::Relaxed);
        words[0].store(tag as u64 + 1, Ordering::Release);
    }

    /// Empties a slot of the table of forces.
    pub fn clear_force(&mut self, slot: usize) {
        self.word(self.layout.force(slot)).store(0, Ordering::Release);
    }

    /// Adds one to a counter of a table of NAMEs.
    pub fn count_name(&mut self, table: usize, word: NameWord) {
        add(self.word(self.layout.names(table) + word as usize), 1);
    }

    /// Who holds an address.
    pub fn holder(&self, table: usize, address: u8) -> Option<Holder> {
        // nobody else writes, so that it is never in the middle
        names::load(&self.memory.words()[self.layout.names(table) + names::row(address)?..], 1)
    }

    /// Changes who holds an address; nothing happens where no device can hold it.
    pub fn set_holder(&mut self, table: usize, address: u8, holder: Option<Holder>) {
        if let Some(row) = names::row(address) {
            names::store(&self.memory.words()[self.layout.names(table) + row..], holder);
            self.count_name(table, NameWord::Changes);
        }
    }

    /// Puts a frame into the broadcast ring.
    pub fn publish(&mut self, bus: usize, frame: &Frame, time: u64, sent: bool) {
        let number = self.word(Word::Published as usize).load(Ordering::Relaxed);
        ring::write(&self.memory.words()[self.layout.ring()..], number, bus, frame, time, sent);
        self.word(Word::Published as usize).store(number + 1, Ordering::Release);
    }

    /// Sets or clears one of the [`Marks`] of a tag.
    pub fn mark(&mut self, tag: usize, mark: u8, on: bool) {
        let (index, shift) = self.layout.marks(tag);
        let word = self.word(index);
        let bits = u64::from(mark) << shift;
        let before = word.load(Ordering::Relaxed);
        word.store(if on { before | bits } else { before & !bits }, Ordering::Relaxed);
    }

    /// The [`Marks`] of a tag.
    pub fn marks(&self, tag: usize) -> Marks {
        let (index, shift) = self.layout.marks(tag);
        Marks((self.word(index).load(Ordering::Relaxed) >> shift) as u8)
    }
}

/// One writer: a load and a store do.
fn add(word: &AtomicU64, n: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
