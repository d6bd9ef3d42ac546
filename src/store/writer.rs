//! The writing side: owned by the real-time thread alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{BusState, BusWord, LATENESS_BUCKETS, Layout, MAGIC, Word};
use super::memory::Memory;
use super::record::{self, Record};
use crate::quality::{Cause, Causes};

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
        // last: a reader that sees it sees the rest
        writer.word(Word::Magic as usize).store(MAGIC, Ordering::Release);
        writer
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.memory.words()[index]
    }

    /// Writes a whole record.
    pub fn record(&mut self, index: usize, record: &Record) {
        record::store(&self.memory.words()[self.layout.record(index)..], record);
    }

    /// Sets a word of the header.
    pub fn set(&mut self, word: Word, value: u64) {
        self.word(word as usize).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of the header. One writer: a load and a store do.
    pub fn add(&mut self, word: Word, n: u64) {
        let word = self.word(word as usize);
        word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Counts how late a deadline was served.
    pub fn lateness(&mut self, nanoseconds: u64) {
        self.add(Word::LatenessSum, nanoseconds);
        let bucket = ((nanoseconds / 1000).max(1).ilog2() as usize).min(LATENESS_BUCKETS - 1);
        let word = self.word(Word::Lateness as usize + bucket);
        word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Sets a word of a bus.
    pub fn set_bus(&mut self, bus: usize, word: BusWord, value: u64) {
        self.word(self.layout.bus(bus, word)).store(value, Ordering::Relaxed);
    }

    /// Adds to a counter of a bus.
    pub fn add_bus(&mut self, bus: usize, word: BusWord, n: u64) {
        let word = self.word(self.layout.bus(bus, word));
        word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
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
}
