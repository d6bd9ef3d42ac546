//! Received messages: their records, J1939 sources, multiplexor branches, deadlines, protection, intervals and forces.

mod adopt;
mod branches;
mod expect;
mod expiry;
mod force;
mod loss;

use std::sync::Arc;

use super::Now;
use super::alarm::Alarms;
use crate::can::{Frame, MAX_LEN};
use crate::dbc;
use crate::plan::{Alarm, Bits, Direction, MessageIndex, Plan, TagIndex};
use crate::protection::{Checker, Status};
use crate::quality::{Cause, Causes};
use crate::sample::{self, Sample};
use crate::store::Writer;
use crate::store::layout::{BusWord, Marks, MessageWord, Word};
use branches::Branches;
use expect::{Expectation, LookedAt};
use expiry::Expiry;
use force::{Forces, Real};
use loss::{Losses, NOTHING, Task};

/// Marks a record without a deadline.
const NONE: u32 = u32::MAX;

pub(super) struct Inputs {
    /// By message of the plan; `None` for those we send.
    messages: Box<[Option<Input>]>,
    /// By record of the plan.
    kept: Box<[Kept]>,
    /// By timer of `expiry`.
    deadlines: Box<[Deadline]>,
    expiry: Expiry,
    losses: Losses,
    expectations: Box<[Expectation]>,
    looked_at: LookedAt,
    forces: Forces,
    alarms: Alarms,
    /// By bus: frames can arrive.
    receiving: Box<[bool]>,
    /// By tag of the plan: its message, and the signal in it.
    tags: Box<[(usize, usize)]>,
    /// Messages of which something changed without a frame, and whether each is among them.
    changed: Vec<MessageIndex>,
    is_changed: Box<[bool]>,
    /// The groups of the frame at hand.
    active: Vec<u32>,
}

struct Input {
    bus: usize,
    message: Arc<dbc::Message>,
    first_record: usize,
    branches: Option<Branches>,
    /// Bytes of a whole frame.
    length: usize,
    /// J1939: the source address of each slot, in order of appearance. One slot without address for all others.
    slots: Box<[Slot]>,
    used: usize,
    /// By slot; empty where the message is not protected.
    checkers: Box<[Checker]>,
    /// Nanoseconds; 0: not watched.
    shortest_allowed: u64,
    shortest: u64,
    longest: u64,
    /// Slots and groups that are late, with the alarm.
    late: u32,
    /// Slots whose last frame was bad.
    bad: u32,
    /// Tags that are forced.
    forced: u32,
    awaited: bool,
    expected: bool,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    address: Option<u8>,
    /// A good frame was here.
    seen: bool,
    /// What was wrong with the last frame.
    bad: Option<Cause>,
    /// CLOCK_MONOTONIC nanoseconds of the last frame, good or bad; 0: none.
    last: u64,
}

/// What belongs to a record and is not in the store.
#[derive(Clone, Copy)]
struct Kept {
    message: u32,
    /// Of the bus at the last good frame, see [`loss`].
    epoch: u32,
    /// Its timer.
    deadline: u32,
}

struct Deadline {
    message: usize,
    slot: usize,
    group: usize,
    state: Delay,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delay {
    /// The timer runs, or nothing ever started it.
    None,
    /// With the alarm.
    Late,
    /// The bus is not there: nothing can come.
    NoBus,
    /// The device is switched off.
    NotExpected,
}

impl Inputs {
    pub fn new(plan: &Plan) -> Inputs {
        let mut kept = vec![Kept { message: 0, epoch: NOTHING, deadline: NONE }; plan.records].into_boxed_slice();
        let (mut deadlines, mut times) = (Vec::new(), Vec::new());
        let mut messages = Vec::with_capacity(plan.messages.len());
        for (index, message) in plan.messages.iter().enumerate() {
            let Direction::Input(reception) = &message.direction else {
                messages.push(None);
                continue;
            };
            for slot in 0..message.sources {
                for group in 0..message.message.groups.len() {
                    let record = &mut kept[message.record(slot, group)];
                    record.message = index as u32;
                    if let Some(time) = reception.deadlines.get(group).copied().flatten() {
                        record.deadline = times.len() as u32;
                        times.push(time);
                        deadlines.push(Deadline { message: index, slot, group, state: Delay::None });
                    }
                }
            }
            let checker = message.protection.as_ref().map(Checker::new);
            messages.push(Some(Input {
                bus: message.bus,
                message: message.message.clone(),
                first_record: message.first_record,
                branches: Branches::new(&message.message),
                length: usize::from(message.message.length).min(MAX_LEN),
                slots: vec![Slot::default(); message.sources].into_boxed_slice(),
                used: if message.message.has_sources() { 0 } else { 1 },
                checkers: checker.map_or_else(Box::default, |checker| vec![checker; message.sources].into()),
                shortest_allowed: reception.shortest_interval.unwrap_or(0),
                shortest: u64::MAX,
                longest: 0,
                late: 0,
                bad: 0,
                forced: 0,
                awaited: reception.awaited,
                expected: true,
            }));
        }
        let (expectations, looked_at) = expect::of(plan);
        let groups = plan.messages.iter().map(|message| message.message.groups.len()).max().unwrap_or(0);
        Inputs {
            messages: messages.into(),
            kept,
            expiry: Expiry::new(&times),
            deadlines: deadlines.into(),
            losses: Losses::new(plan),
            expectations,
            looked_at,
            forces: Forces::new(plan),
            alarms: Alarms::new(plan),
            receiving: vec![false; plan.buses.len()].into(),
            tags: plan.tags.iter().map(|tag| (tag.message, tag.signal)).collect(),
            changed: Vec::with_capacity(plan.messages.len()),
            is_changed: vec![false; plan.messages.len()].into(),
            active: Vec::with_capacity(groups.max(1)),
        }
    }

    /// A frame of a message; false where it is one that we send ourselves.
    pub fn receive(
        &mut self,
        now: Now,
        message: MessageIndex,
        frame: &Frame,
        source_time: u64,
        store: &mut Writer,
    ) -> bool {
        let Some(input) = &mut self.messages[message] else { return false };
        let Some(slot) = input.slot(frame) else {
            store.add(Word::SourcesDropped, 1);
            return true;
        };
        input.interval(now, message, slot, store);
        let payload = frame.payload();
        if payload.len() < input.length {
            store.add_bus(input.bus, BusWord::ShortFrames, 1);
        }
        if !input.checkers.is_empty() && !self.is_right(now, message, slot, frame, store) {
            return true;
        }
        let Some(input) = &mut self.messages[message] else { return false };
        self.active.clear();
        match &input.branches {
            None => self.active.push(0),
            Some(branches) => branches.find(&input.message, payload, &mut self.active),
        }
        let first = input.record(slot, 0);
        if !std::mem::replace(&mut input.slots[slot].seen, true) && input.branches.is_some() {
            // those that are in the frame follow
            for record in first + 1..first + input.message.groups.len() {
                let mut unseen = store.load(record);
                unseen.causes = Causes::of(Cause::BranchNotSeen);
                unseen.id_bits = frame.id.bits();
                store.record(record, &unseen);
            }
        }
        let (epoch, mut recovered, forced) = (self.losses.epoch(input.bus), false, input.forced > 0);
        for group in &self.active {
            let group = *group as usize;
            let kept = &mut self.kept[first + group];
            kept.epoch = epoch;
            if kept.deadline != NONE {
                self.expiry.start(kept.deadline as usize, now.monotonic);
                let state = &mut self.deadlines[kept.deadline as usize].state;
                if *state != Delay::None {
                    input.late -= u32::from(*state == Delay::Late);
                    *state = Delay::None;
                    recovered = true;
                }
            }
            let id_bits = frame.id.bits();
            match if forced { self.forces.real((message, group), slot) } else { None } {
                None => store.received(first + group, id_bits, source_time, now.monotonic, payload),
                Some(real) => {
                    *real = Real::of(payload);
                    let real = *real;
                    let shown = self.forces.apply((message, group), &real);
                    store.received(first + group, id_bits, source_time, now.monotonic, &shown.payload[..shown.length]);
                    if shown.length > real.length {
                        // what the force has lengthened, the frame did not have
                        store.set_causes(first + group, Causes::of(Cause::NeverReceived));
                    }
                }
            }
        }
        if recovered && input.late == 0 {
            self.alarms.set(Alarm::Late(message), false, 0, now, store);
        }
        if !self.looked_at[message].is_empty() {
            self.look(now, message, store);
        }
        true
    }

    /// Checks counter and checksum; false for a frame that is not to be used.
    fn is_right(&mut self, now: Now, message: usize, slot: usize, frame: &Frame, store: &mut Writer) -> bool {
        let Some(input) = &mut self.messages[message] else { return false };
        let verdict = input.checkers[slot].check(frame.id, frame.payload());
        match verdict.status {
            Status::WrongChecksum | Status::TooShort => store.add_message(message, MessageWord::WrongChecksums, 1),
            Status::Repeated | Status::WrongCounter => store.add_message(message, MessageWord::WrongCounters, 1),
            Status::Good | Status::Lost(_) | Status::Initial | Status::Synchronizing | Status::NoNewData => {}
        }
        let cause = if verdict.usable() { None } else { verdict.cause() };
        let before = std::mem::replace(&mut input.slots[slot].bad, cause);
        if before == cause {
            return verdict.usable();
        }
        match (before, cause) {
            (None, Some(_)) => input.bad += 1,
            (Some(_), None) => input.bad -= 1,
            _ => {}
        }
        let bad = input.bad > 0;
        if let Some(cause) = cause {
            // which branch a damaged frame had can't be told
            for record in input.records(slot) {
                let causes = store.causes(record).without(Cause::Checksum).without(Cause::Counter);
                store.set_causes(record, causes.with(cause));
            }
            self.change(message);
        }
        self.alarms.set(Alarm::Protection(message), bad, slot as u64, now, store);
        verdict.usable()
    }

    /// Marks what is late, and what may lack a lost frame.
    pub fn timer(&mut self, now: Now, store: &mut Writer) {
        while let Some(timer) = self.expiry.take(now.monotonic) {
            self.expired(now, timer, store);
        }
        while let Some(task) = self.losses.take(now.monotonic) {
            match task {
                Task::Quiet(bus) => self.alarms.set(Alarm::FramesLost(bus), false, 0, now, store),
                Task::Mark(records, epoch) => {
                    for record in records {
                        let kept = self.kept[record];
                        if kept.epoch < epoch {
                            store.set_causes(record, store.causes(record).with(Cause::Lost));
                            self.change(kept.message as usize);
                        }
                    }
                }
            }
        }
    }

    pub fn next_due(&self) -> u64 {
        self.expiry.next().min(self.losses.next())
    }

    /// Frames of a bus were lost before now: in the kernel, in the controller.
    pub fn lost(&mut self, now: Now, bus: usize, frames: u64, store: &mut Writer) {
        self.losses.lost(now.monotonic, bus, true);
        self.alarms.set(Alarm::FramesLost(bus), true, frames, now, store);
    }

    /// Holds bits of a tag in all that is received of it, from now on. False where there is no room.
    pub fn force(&mut self, now: Now, tag: TagIndex, bits: &Bits, store: &mut Writer) -> bool {
        let (message, signal) = self.tags[tag];
        let Some(input) = &mut self.messages[message] else { return false };
        let signal = &input.message.signals[signal];
        let group = (message, signal.group);
        let Some(first) = self.forces.add(tag, group, *bits, signal.codec.needed_len()) else { return false };
        input.forced += u32::from(first.of_tag);
        store.mark(tag, Marks::FORCED, true);
        // slot 0 is shown before any sender is known
        for slot in 0..input.used.max(1) {
            let index = input.record(slot, group.1);
            let mut record = store.load(index);
            let Some(real) = self.forces.real(group, slot) else { continue };
            if first.of_group {
                *real = Real::of(record.bytes());
            }
            let real = *real;
            self.forces.apply(group, &real).show(&real, &mut record);
            store.record(index, &record);
        }
        self.change(message);
        self.look(now, message, store);
        true
    }

    /// Shows what the machine says again; false where the tag was not forced.
    pub fn release(&mut self, now: Now, tag: TagIndex, store: &mut Writer) -> bool {
        let (message, signal) = self.tags[tag];
        let Some(input) = &mut self.messages[message] else { return false };
        if !self.forces.remove(tag) {
            return false;
        }
        input.forced -= 1;
        store.mark(tag, Marks::FORCED, false);
        let group = (message, input.message.signals[signal].group);
        for slot in 0..input.used.max(1) {
            let index = input.record(slot, group.1);
            let Some(real) = self.forces.real(group, slot).map(|real| *real) else { continue };
            let mut record = store.load(index);
            self.forces.apply(group, &real).show(&real, &mut record);
            store.record(index, &record);
        }
        self.forces.tidy(group);
        self.change(message);
        self.look(now, message, store);
        true
    }

    /// A received tag as it is now. `source_address`: the sender of a J1939 message, `None` for all others.
    pub fn sample(&self, store: &Writer, tag: TagIndex, source_address: Option<u8>) -> Sample {
        let (message, signal) = self.tags[tag];
        let Some(input) = &self.messages[message] else { return Sample::NEVER_RECEIVED };
        let marks = store.marks(tag).causes();
        let slot = match source_address {
            None => Some(0),
            some => input.slots[..input.used].iter().position(|slot| slot.address == some),
        };
        let (slot, marks) = match slot {
            Some(slot) => (slot, marks),
            // forced for all senders, the unknown ones included
            None if marks.contains(Cause::Forced) => (0, marks.with(Cause::NeverReceived)),
            None => return Sample::NEVER_RECEIVED,
        };
        let record = store.load(input.record(slot, input.message.signals[signal].group));
        sample::decode(&input.message, signal, &record, store.bus_causes(input.bus).and(marks))
    }

    /// A message of which a value or a cause changed without a good frame, once for each time.
    pub fn take_changed(&mut self) -> Option<MessageIndex> {
        let message = self.changed.pop()?;
        self.is_changed[message] = false;
        Some(message)
    }

    fn change(&mut self, message: usize) {
        if !std::mem::replace(&mut self.is_changed[message], true) {
            self.changed.push(message);
        }
    }
}

impl Input {
    fn record(&self, slot: usize, group: usize) -> usize {
        self.first_record + slot * self.message.groups.len() + group
    }

    /// All of one source.
    fn records(&self, slot: usize) -> std::ops::Range<usize> {
        self.record(slot, 0)..self.record(slot + 1, 0)
    }

    /// The slot of a frame's source; `None` when the table is full.
    fn slot(&mut self, frame: &Frame) -> Option<usize> {
        if !self.message.has_sources() {
            return Some(0);
        }
        let address = Some(frame.id.source_address());
        if let Some(slot) = self.slots[..self.used].iter().position(|known| known.address == address) {
            return Some(slot);
        }
        let slot = self.used;
        self.slots.get_mut(slot)?.address = address;
        self.used += 1;
        Some(slot)
    }

    /// Watches the time between two frames of one source.
    fn interval(&mut self, now: Now, message: usize, slot: usize, store: &mut Writer) {
        let last = std::mem::replace(&mut self.slots[slot].last, now.monotonic);
        if last == 0 {
            return;
        }
        let interval = now.monotonic.saturating_sub(last);
        if interval < self.shortest {
            self.shortest = interval;
            store.set_message(message, MessageWord::ShortestInterval, interval);
        }
        if interval > self.longest {
            self.longest = interval;
            store.set_message(message, MessageWord::LongestInterval, interval);
        }
        if interval < self.shortest_allowed {
            store.add_message(message, MessageWord::TooSoon, 1);
        }
    }
}
