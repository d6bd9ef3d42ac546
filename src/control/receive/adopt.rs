//! Received messages under another plan: what was received, is late, forced or wrong goes on where both plans have it.

use super::{Deadline, Delay, Input, Inputs, Kept, NONE};
use crate::control::Now;
use crate::plan::{Alarm, Succession, TagIndex};
use crate::quality::Cause;
use crate::store::Writer;

impl Inputs {
    /// Goes on with the messages that both plans have. `store` has their records already. What is new, or has a deadline for the
    /// first time, is awaited from now on.
    pub fn adopt(&mut self, old: &mut Inputs, succession: &Succession, now: Now, store: &mut Writer) {
        for (bus, heir) in succession.buses.iter().enumerate() {
            if let Some(at) = *heir {
                self.receiving[bus] = old.receiving[at];
                self.losses.adopt(bus, &old.losses, at, now.monotonic);
            }
        }
        for (message, heir) in succession.messages.iter().enumerate() {
            if let Some(at) = *heir {
                self.adopt_message(message, old, at, succession.protection[message], now, store);
            }
        }
        let (messages, kept) = (&self.messages, &self.kept);
        let began = old
            .expiry
            .running()
            .filter_map(|(timer, began)| Some((successor(messages, kept, &old.deadlines[timer], succession)?, began)));
        self.expiry.adopt(began);
        self.adopt_delays(old, succession, now, store);
        self.await_new(old, succession, now);
        for message in 0..self.looked_at.len() {
            self.look(now, message, store);
        }
    }

    fn adopt_message(
        &mut self,
        message: usize,
        old: &mut Inputs,
        at: usize,
        same_protection: bool,
        now: Now,
        store: &mut Writer,
    ) {
        let conditional = self.expectations.iter().any(|expectation| expectation.is_of(message));
        let (Some(input), Some(before)) = (&mut self.messages[message], &mut old.messages[at]) else { return };
        let slots = input.slots.len().min(before.slots.len());
        input.slots[..slots].copy_from_slice(&before.slots[..slots]);
        input.used = before.used.min(slots);
        (input.shortest, input.longest) = (before.shortest, before.longest);
        input.expected = before.expected || !conditional;
        if same_protection {
            input.checkers.iter_mut().zip(&mut before.checkers).for_each(|(one, other)| std::mem::swap(one, other));
        }
        for slot in 0..slots {
            if !same_protection && input.slots[slot].bad.take().is_some() {
                for record in input.records(slot) {
                    store.set_causes(record, store.causes(record).without(Cause::Checksum).without(Cause::Counter));
                }
            }
            for group in 0..input.message.groups.len() {
                self.kept[input.record(slot, group)].epoch = old.kept[before.record(slot, group)].epoch;
            }
        }
        input.bad = input.slots.iter().filter(|slot| slot.bad.is_some()).count() as u32;
        let bad = input.bad > 0;
        if before.bad > 0 && !bad {
            self.alarms.set(Alarm::Protection(message), false, 0, now, store);
        }
        self.change(message);
    }

    fn adopt_delays(&mut self, old: &Inputs, succession: &Succession, now: Now, store: &mut Writer) {
        let delayed = || old.deadlines.iter().filter(|deadline| deadline.state != Delay::None);
        // who has no deadline any more is not late any more
        for deadline in delayed() {
            let Some(message) = succession.message_after[deadline.message] else { continue };
            let Some(input) = self.messages[message].as_ref().filter(|input| deadline.slot < input.slots.len()) else {
                continue;
            };
            for record in input.records(deadline.slot) {
                store.set_causes(record, store.causes(record).without(Cause::Late).without(Cause::NotExpected));
            }
        }
        for deadline in delayed() {
            let Some(timer) = successor(&self.messages, &self.kept, deadline, succession) else { continue };
            let message = self.deadlines[timer].message;
            if let Some(input) = &mut self.messages[message] {
                if deadline.state == Delay::NotExpected && input.expected {
                    // a whole deadline for the device to begin with
                    self.expiry.start(timer, now.monotonic);
                    continue;
                }
                input.late += u32::from(deadline.state == Delay::Late);
            }
            self.deadlines[timer].state = deadline.state;
            self.mark_delay(timer, store);
        }
        for (message, heir) in succession.messages.iter().enumerate() {
            let was_late = heir.and_then(|at| old.messages[at].as_ref()).is_some_and(|input| input.late > 0);
            if was_late && self.messages[message].as_ref().is_some_and(|input| input.late == 0) {
                self.alarms.set(Alarm::Late(message), false, 0, now, store);
            }
        }
    }

    /// Starts the deadlines that the old plan did not have, or had and waited for nobody by.
    fn await_new(&mut self, old: &Inputs, succession: &Succession, now: Now) {
        for timer in 0..self.deadlines.len() {
            let deadline = &self.deadlines[timer];
            let Some(input) = &self.messages[deadline.message] else { continue };
            let known = succession.messages[deadline.message].is_some_and(|at| {
                let before = old.messages[at].as_ref().filter(|before| deadline.slot < before.slots.len());
                let timer = before.map(|before| old.kept[before.record(deadline.slot, deadline.group)].deadline);
                timer.is_some_and(|timer| timer != NONE && old.is_awaited(timer as usize))
            });
            if !known && self.receiving[input.bus] && self.is_awaited(timer) {
                self.expiry.start(timer, now.monotonic);
            }
        }
    }

    /// Goes on with the force of a tag.
    pub fn adopt_force(&mut self, tag: TagIndex, old: &mut Inputs, was: TagIndex, store: &mut Writer) {
        let (message, signal) = self.tags[tag];
        let Some(input) = &mut self.messages[message] else { return };
        let group = input.message.signals[signal].group;
        input.forced += 1;
        let (before, _) = old.tags[was];
        self.forces.adopt((tag, (message, group)), &mut old.forces, (was, (before, group)));
        store.mark(tag, crate::store::layout::Marks::FORCED, true);
    }
}

/// The timer of the new plan, of these messages, for a deadline of the old one.
fn successor(messages: &[Option<Input>], kept: &[Kept], deadline: &Deadline, succession: &Succession) -> Option<usize> {
    let input = messages[succession.message_after[deadline.message]?].as_ref()?;
    if deadline.slot >= input.slots.len() {
        return None;
    }
    let timer = kept[input.record(deadline.slot, deadline.group)].deadline;
    (timer != NONE).then_some(timer as usize)
}
