//! Received messages: their records, J1939 sources, multiplexor branches and receive deadlines.

use std::sync::Arc;

use super::Now;
use super::alarm::Alarms;
use super::due::Due;
use crate::can::{Frame, MAX_LEN};
use crate::dbc;
use crate::plan::{Alarm, Direction, MessageIndex, Plan, TagIndex};
use crate::quality::{Cause, Causes};
use crate::sample::{self, Sample};
use crate::store::layout::{BusWord, Word};
use crate::store::{Record, Writer};

pub(super) struct Inputs {
    /// By message of the plan; `None` for those we send.
    messages: Vec<Option<Input>>,
    /// What the store shows, by record: the source for causes that change without a frame.
    records: Box<[Record]>,
    /// Message and slot of each item of `due`.
    deadlines: Vec<(usize, usize)>,
    due: Due,
    alarms: Alarms,
    /// By tag of the plan: its message, and the signal in it.
    tags: Box<[(usize, usize)]>,
    /// Messages of which something changed without a frame, and whether each is among them.
    changed: Vec<usize>,
    is_changed: Box<[bool]>,
}

struct Input {
    bus: usize,
    message: Arc<dbc::Message>,
    first_record: usize,
    /// J1939: the source address of each slot, in order of appearance. One slot without address for all others.
    sources: Box<[Option<u8>]>,
    used: usize,
    /// Nanoseconds, and the index of the first slot's deadline in `Inputs::deadlines`.
    deadline: Option<(u64, usize)>,
}

impl Inputs {
    pub fn new(plan: &Plan) -> Inputs {
        let mut deadlines = Vec::new();
        let mut messages = Vec::with_capacity(plan.messages.len());
        for (index, message) in plan.messages.iter().enumerate() {
            let Direction::Input(reception) = &message.direction else {
                messages.push(None);
                continue;
            };
            let deadline = reception.deadlines.iter().copied().flatten().min();
            let first = deadlines.len();
            if deadline.is_some() {
                deadlines.extend((0..message.sources).map(|slot| (index, slot)));
            }
            messages.push(Some(Input {
                bus: message.bus,
                message: message.message.clone(),
                first_record: message.first_record,
                sources: vec![None; message.sources].into_boxed_slice(),
                used: if message.message.pgn.is_some() { 0 } else { 1 },
                deadline: deadline.map(|after| (after, first)),
            }));
        }
        Inputs {
            messages,
            records: vec![Record::EMPTY; plan.records].into_boxed_slice(),
            due: Due::new(deadlines.len()),
            deadlines,
            alarms: Alarms::new(plan),
            tags: plan.tags.iter().map(|tag| (tag.message, tag.signal)).collect(),
            changed: Vec::with_capacity(plan.messages.len()),
            is_changed: vec![false; plan.messages.len()].into_boxed_slice(),
        }
    }

    /// A frame of a message; false where it is one that we send ourselves.
    pub fn receive(
        &mut self,
        now: Now,
        message: usize,
        frame: &Frame,
        source_time: u64,
        bus: usize,
        store: &mut Writer,
    ) -> bool {
        let Some(input) = &mut self.messages[message] else { return false };
        let Some(slot) = input.slot(frame) else {
            store.add(Word::SourcesDropped, 1);
            return true;
        };
        let payload = frame.payload();
        if payload.len() < usize::from(input.message.length).min(MAX_LEN) {
            store.add_bus(bus, BusWord::ShortFrames, 1);
        }
        let groups = input.message.groups.len();
        let first = input.first_record + slot * groups;
        let first_frame = self.records[first].count == 0;
        for group in 0..groups {
            let record = &mut self.records[first + group];
            if input.message.group_active(group, payload) {
                record.causes = Causes::NONE;
                record.id_bits = frame.id.bits();
                record.source_time = source_time;
                record.received = now.monotonic;
                record.count += 1;
                record.length = payload.len();
                record.payload = [0; MAX_LEN];
                record.payload[..payload.len()].copy_from_slice(payload);
            } else if first_frame {
                record.causes = Causes::of(Cause::BranchNotSeen);
                record.id_bits = frame.id.bits();
            } else {
                continue;
            }
            store.record(first + group, record);
        }
        if let Some((after, first)) = input.deadline {
            if self.due.get(first + slot) == u64::MAX {
                self.alarms.set(Alarm::Late(message), false, 0, now, store);
            }
            self.due.set(first + slot, now.monotonic.saturating_add(after));
        }
        true
    }

    /// Marks as late what is.
    pub fn timer(&mut self, now: Now, store: &mut Writer) {
        while let Some((item, _)) = self.due.take(now.monotonic) {
            let (message, slot) = self.deadlines[item];
            let Some(input) = &self.messages[message] else { continue };
            self.alarms.set(Alarm::Late(message), true, slot as u64, now, store);
            let groups = input.message.groups.len();
            let first = input.first_record + slot * groups;
            if !std::mem::replace(&mut self.is_changed[message], true) {
                self.changed.push(message);
            }
            for index in first..first + groups {
                let record = &mut self.records[index];
                if record.count > 0 {
                    record.causes = record.causes.with(Cause::Late);
                    store.record(index, record);
                }
            }
        }
    }

    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    /// A received tag as it is now. `source_address`: the sender of a J1939 message, `None` for all others.
    pub fn sample(&self, store: &Writer, tag: TagIndex, source_address: Option<u8>) -> Sample {
        let (message, signal) = self.tags[tag];
        let Some(input) = &self.messages[message] else { return Sample::NEVER_RECEIVED };
        let slot = match source_address {
            None => Some(0),
            some => input.sources[..input.used].iter().position(|known| *known == some),
        };
        let Some(slot) = slot else { return Sample::NEVER_RECEIVED };
        let group = input.message.signals[signal].group;
        let record = &self.records[input.first_record + slot * input.message.groups.len() + group];
        let outer = store.bus_causes(input.bus).and(store.marks(tag).causes());
        sample::decode(&input.message, signal, record, outer)
    }

    /// A message of which a value or a cause changed without a frame, once for each time.
    pub fn take_changed(&mut self) -> Option<MessageIndex> {
        let message = self.changed.pop()?;
        self.is_changed[message] = false;
        Some(message)
    }
}

impl Input {
    /// The slot of a frame's source; `None` when the table is full.
    fn slot(&mut self, frame: &Frame) -> Option<usize> {
        if self.message.pgn.is_none() {
            return Some(0);
        }
        let address = Some(frame.id.source_address());
        if let Some(slot) = self.sources[..self.used].iter().position(|known| *known == address) {
            return Some(slot);
        }
        let slot = self.used;
        *self.sources.get_mut(slot)? = address;
        self.used += 1;
        Some(slot)
    }
}
