//! What is expected when: deadlines that have passed, devices that are switched off by design, buses that are not there.

use super::{Delay, Inputs};
use crate::control::{Now, condition};
use crate::plan::{Alarm, Condition, Direction, MessageIndex, Plan};
use crate::protection::Checker;
use crate::quality::Cause;
use crate::store::Writer;
use crate::store::layout::{BusState, MessageWord};

/// A message that comes only under conditions.
pub(super) struct Expectation {
    message: MessageIndex,
    conditions: Box<[Condition]>,
}

impl Expectation {
    pub(super) fn is_of(&self, message: MessageIndex) -> bool {
        self.message == message
    }
}

/// By message: indices of the expectations that look at it.
pub(super) type LookedAt = Box<[Box<[usize]>]>;

/// The expectations of a plan, and by message those that look at it.
pub(super) fn of(plan: &Plan) -> (Box<[Expectation]>, LookedAt) {
    let mut expectations = Vec::new();
    let mut looked_at = vec![Vec::new(); plan.messages.len()];
    for (message, planned) in plan.messages.iter().enumerate() {
        let Direction::Input(reception) = &planned.direction else { continue };
        if reception.expected_when.is_empty() {
            continue;
        }
        for condition in &reception.expected_when {
            let looks: &mut Vec<usize> = &mut looked_at[plan.tags[condition.tag].message];
            if !looks.contains(&expectations.len()) {
                looks.push(expectations.len());
            }
        }
        expectations.push(Expectation { message, conditions: reception.expected_when.clone().into() });
    }
    (expectations.into(), looked_at.into_iter().map(Vec::into_boxed_slice).collect())
}

impl Inputs {
    /// A deadline has passed.
    pub(super) fn expired(&mut self, now: Now, timer: usize, store: &mut Writer) {
        let deadline = &mut self.deadlines[timer];
        let (message, slot, group) = (deadline.message, deadline.slot, deadline.group);
        let Some(input) = &mut self.messages[message] else { return };
        deadline.state = match (input.expected, self.receiving[input.bus]) {
            (false, _) => Delay::NotExpected,
            (true, false) => Delay::NoBus,
            (true, true) => Delay::Late,
        };
        if deadline.state == Delay::Late {
            input.late += 1;
            store.add_message(message, MessageWord::Late, 1);
            let detail = slot as u64 | (group as u64) << 8;
            self.alarms.set(Alarm::Late(message), true, detail, now, store);
        }
        if group == 0
            && let Some(checker) = input.checkers.get_mut(slot)
        {
            // the state machine counts it; what it means for the value is said by the deadline
            let _ = checker.missed();
        }
        self.mark_delay(timer, store);
    }

    /// Shows in the records why they have their old values.
    pub(super) fn mark_delay(&mut self, timer: usize, store: &mut Writer) {
        let deadline = &self.deadlines[timer];
        let Some(input) = &self.messages[deadline.message] else { return };
        let (delay, message) = (deadline.state, deadline.message);
        // where the message itself is late, all its branches are
        let records = match deadline.group {
            0 => input.records(deadline.slot),
            group => input.record(deadline.slot, group)..input.record(deadline.slot, group) + 1,
        };
        for record in records {
            let before = store.causes(record);
            let never = before.contains(Cause::NeverReceived) || before.contains(Cause::BranchNotSeen);
            let rest = before.without(Cause::Late).without(Cause::NotExpected);
            let causes = match delay {
                Delay::None => before,
                Delay::NotExpected => rest.with(Cause::NotExpected),
                Delay::Late | Delay::NoBus if never => rest,
                Delay::Late | Delay::NoBus => rest.with(Cause::Late),
            };
            if causes != before {
                store.set_causes(record, causes);
            }
        }
        self.change(message);
    }

    /// Something of this message may have changed: is what depends on it still expected?
    pub(super) fn look(&mut self, now: Now, message: MessageIndex, store: &mut Writer) {
        for index in 0..self.looked_at[message].len() {
            let expectation = &self.expectations[self.looked_at[message][index]];
            let concerned = expectation.message;
            // what can't be told stays as it was
            let Some(expected) = condition::all(&expectation.conditions, self, store) else { continue };
            let Some(input) = &mut self.messages[concerned] else { continue };
            if std::mem::replace(&mut input.expected, expected) != expected {
                self.expectation_changed(now, concerned, expected, store);
            }
        }
    }

    fn expectation_changed(&mut self, now: Now, message: MessageIndex, expected: bool, store: &mut Writer) {
        for timer in self.timers(message) {
            let known = self.is_awaited(timer);
            let state = &mut self.deadlines[timer].state;
            if expected && known {
                // a whole deadline for the device to begin with
                self.expiry.start(timer, now.monotonic);
                *state = Delay::None;
            } else if !expected && (*state == Delay::Late || *state == Delay::NoBus) {
                *state = Delay::NotExpected;
                self.mark_delay(timer, store);
            } else if !expected && known && !self.has_come(timer) {
                self.expiry.stop(timer);
                self.deadlines[timer].state = Delay::NotExpected;
                self.mark_delay(timer, store);
            }
        }
        if let Some(input) = &mut self.messages[message] {
            input.late = 0;
        }
        self.alarms.set(Alarm::Late(message), false, 0, now, store);
    }

    /// A bus has another state. While it is not there nothing on it is expected; what was on it before may lack frames.
    pub fn bus(&mut self, now: Now, bus: usize, state: BusState) {
        let receiving = match state {
            BusState::Active | BusState::Warning | BusState::Passive => true,
            BusState::Gone | BusState::Down | BusState::BusOff => false,
        };
        if std::mem::replace(&mut self.receiving[bus], receiving) == receiving {
            return;
        }
        for message in 0..self.messages.len() {
            let Some(input) = self.messages[message].as_mut().filter(|input| input.bus == bus) else { continue };
            if receiving {
                // the interruption was not the sender's
                input.checkers.iter_mut().for_each(Checker::reset);
            }
            self.change(message);
        }
        if !receiving {
            // its own alarm says so
            self.losses.lost(now.monotonic, bus, false);
            return;
        }
        for timer in 0..self.deadlines.len() {
            let deadline = &self.deadlines[timer];
            let Some(input) = &self.messages[deadline.message] else { continue };
            if input.bus != bus || deadline.state == Delay::Late || !input.expected {
                continue;
            }
            if self.is_awaited(timer) {
                self.expiry.start(timer, now.monotonic);
                self.deadlines[timer].state = Delay::None;
            }
        }
    }

    /// Whether somebody waits for it: it has come before, or is configured to come.
    pub(super) fn is_awaited(&self, timer: usize) -> bool {
        let deadline = &self.deadlines[timer];
        let awaited = self.messages[deadline.message].as_ref().is_some_and(|input| input.awaited);
        self.has_come(timer) || awaited && deadline.group == 0
    }

    fn has_come(&self, timer: usize) -> bool {
        let deadline = &self.deadlines[timer];
        self.messages[deadline.message]
            .as_ref()
            .is_some_and(|input| self.kept[input.record(deadline.slot, deadline.group)].epoch != super::NOTHING)
    }

    /// All timers of one message: they were made together.
    fn timers(&self, message: MessageIndex) -> std::ops::Range<usize> {
        let first = self.deadlines.partition_point(|deadline| deadline.message < message);
        let behind = self.deadlines.partition_point(|deadline| deadline.message <= message);
        first..behind
    }
}
