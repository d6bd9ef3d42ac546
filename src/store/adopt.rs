//! A store that takes over from another one: what goes on in the next plan keeps its records, counters and alarms.

use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::{
    ALARM_WORDS, BUS_WORDS, BusWord, CONTRACT_WORDS, ContractWord, HEADER_WORDS, LINK_WORDS, LinkWord, MESSAGE_WORDS,
    MessageWord, RECORD_WORDS, ROUTE_WORDS, RouteWord, Word,
};
use super::names::TABLE_WORDS;
use super::writer::Writer;
use crate::plan::Succession;

impl Writer {
    /// Copies from `old` what goes on; before anybody reads this store. Frames of the broadcast ring and
    /// transitions of alarms stay in the old one, their numbers go on. Marks and forces are the machine side's to set again.
    pub fn adopt(&mut self, old: &Writer, succession: &Succession) {
        let (from, to) = (old.words(), self.words());
        let (before, after) = (old.layout(), self.layout());
        copy(from, to, Word::Heartbeat as usize, Word::Heartbeat as usize, HEADER_WORDS - Word::Heartbeat as usize);
        for (index, heir) in heirs(&succession.buses) {
            let first = BusWord::State;
            copy(from, to, before.bus(heir, first), after.bus(index, first), BUS_WORDS);
        }
        for (index, heir, count) in succession.records.iter().copied().filter(|(_, _, count)| *count > 0) {
            copy(from, to, before.record(heir), after.record(index), count * RECORD_WORDS);
        }
        for (index, heir) in heirs(&succession.messages) {
            let first = MessageWord::ShortestInterval;
            copy(from, to, before.message(heir, first), after.message(index, first), MESSAGE_WORDS);
        }
        for (index, heir) in heirs(&succession.routes) {
            let first = RouteWord::Passed;
            copy(from, to, before.route(heir, first), after.route(index, first), ROUTE_WORDS);
        }
        for (index, heir) in heirs(&succession.links) {
            let first = LinkWord::Passed;
            copy(from, to, before.link(heir, first), after.link(index, first), LINK_WORDS);
        }
        for (index, heir) in heirs(&succession.names) {
            copy(from, to, before.names(heir), after.names(index), TABLE_WORDS);
        }
        for (index, heir) in heirs(&succession.contracts) {
            let first = ContractWord::Count as usize;
            copy(from, to, before.contract(heir) + first, after.contract(index) + first, CONTRACT_WORDS);
        }
        let mut active = 0;
        for (index, heir) in heirs(&succession.alarms) {
            copy(from, to, before.alarm(heir), after.alarm(index), ALARM_WORDS);
            active += u64::from(to[after.alarm(index)].load(Ordering::Relaxed) as u8 != 0);
        }
        self.set(Word::AlarmsActive, active);
        self.set(Word::Forces, 0);
        self.set(Word::AlarmEventsBegin, old.words()[Word::AlarmEvents as usize].load(Ordering::Relaxed));
    }
}

fn heirs(succession: &[Option<usize>]) -> impl Iterator<Item = (usize, usize)> + '_ {
    succession.iter().enumerate().filter_map(|(index, heir)| Some((index, (*heir)?)))
}

/// Both ends are ours: nobody else writes.
fn copy(from: &[AtomicU64], to: &[AtomicU64], start: usize, at: usize, words: usize) {
    for (from, to) in from[start..start + words].iter().zip(&to[at..at + words]) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
