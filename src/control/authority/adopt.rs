//! Authority under another plan: what goes on keeps its owner's values, latches and forces; what is new or changed enters at
//! its fallback values.

use super::arming::on_bus;
use super::{Authority, FORCES};
use crate::control::Now;
use crate::control::receive::Inputs;
use crate::plan::{Alarm, MessageIndex, Succession};
use crate::store::Writer;
use crate::store::layout::{Latch, MessageWord};

/// Nanoseconds after which a message whose bus is not there is looked at again at the earliest.
const SHORTEST_ENTRY: u64 = 10_000_000;

impl Authority {
    /// Goes on with what both plans have. `inputs` have been adopted, the store too.
    pub fn adopt(
        &mut self,
        old: &mut Authority,
        succession: &Succession,
        now: Now,
        (inputs, old_inputs): (&mut Inputs, &mut Inputs),
        store: &mut Writer,
    ) {
        self.armed = old.armed;
        self.by_itself &= old.by_itself;
        self.remote = old.remote;
        for (bus, heir) in succession.buses.iter().enumerate() {
            if let Some(at) = *heir {
                let (watch, before) = (&mut self.buses[bus], &old.buses[at]);
                (watch.state, watch.silent_until, watch.was_off) = (before.state, before.silent_until, before.was_off);
            }
        }
        for index in 0..self.outputs.len() {
            let message = self.outputs[index].message;
            let heir = succession.messages[message].and_then(|at| old.output(at));
            if let Some(at) = heir {
                // what the plant wrote since the retained values were looked at
                self.outputs[index].adopt_retained(&old.outputs[at].retained);
            }
            match heir {
                Some(at) if succession.continues[message] => self.adopt_output(index, old, at),
                _ => {
                    let before = succession.known_ids[message].and_then(|at| old.output(at)).map(|at| &old.outputs[at]);
                    let new_bus = succession.buses[self.outputs[index].bus].is_none();
                    self.enter(index, before, new_bus, now);
                }
            }
            let output = &self.outputs[index];
            self.buses[output.bus].foreign += usize::from(output.latches & Latch::Foreign as u64 != 0);
            if output.latches == 0 {
                self.watches.trust_vital(index);
            }
        }
        self.adopt_forces(old, succession, inputs, old_inputs, store);
        for index in 0..self.outputs.len() {
            let (message, latches) = (self.outputs[index].message, self.outputs[index].latches);
            store.set_message(message, MessageWord::Latched, latches);
            self.show_latches(now, index, store);
            if latches & Latch::Foreign as u64 != 0 {
                self.alarms.set(Alarm::ForeignSender(message), true, 0, now, store);
            }
            self.recompose_and_tell(index, store);
        }
        self.adopt_alarmed(now, store);
        self.look_at_all(now, inputs, store);
        self.show_remote(store);
        self.show_forces(now, store);
        self.alarms.set(Alarm::NotArmed, !self.armed && !self.outputs.is_empty(), 0, now, store);
        self.arm_by_itself(now, store);
    }

    fn adopt_output(&mut self, index: usize, old: &Authority, at: usize) {
        let (output, before) = (&mut self.outputs[index], &old.outputs[at]);
        output.owner = before.owner;
        output.latches = before.latches;
        output.foreign_seen = before.foreign_seen;
        output.composed = before.composed;
        output.listening = before.listening;
        let (entry, lease) = (self.entry_item(index), old.due.get(at));
        if self.outputs[index].lease.is_some() {
            self.due.set(index, lease);
        }
        self.due.set(entry, old.due.get(old.entry_item(at)));
    }

    /// A message that is new, or not what it was: at its fallback values until armed. One whose identifier we have not used
    /// is silent at first, and listens. What latched the one with its identifier latches it too.
    fn enter(&mut self, index: usize, before: Option<&super::Output>, new_bus: bool, now: Now) {
        let away = !new_bus && !on_bus(self.buses[self.outputs[index].bus].state);
        let armed = self.armed;
        let output = &mut self.outputs[index];
        output.latches = if armed { Latch::Reload as u64 } else { Latch::Start as u64 };
        if let Some(before) = before {
            // of the command the last frame of the one before knows too
            output.latches |= before.latches & !(Latch::Command as u64 | Latch::Start as u64);
            output.foreign_seen = before.foreign_seen;
        }
        if armed && away {
            output.latches |= Latch::BusOff as u64;
        }
        output.listening = before.is_none() && output.listen > 0;
        let time = if output.listening { output.listen } else { output.entry };
        let end = now.monotonic.saturating_add(time);
        self.due.set(self.entry_item(index), end);
    }

    /// A message was listened for, and says its fallback values from now on; or it has said them, and where the plan arms by
    /// itself, and nothing else stands against it, has its owner's values from now on.
    pub(super) fn entered(&mut self, now: Now, index: usize, store: &mut Writer) {
        let bus = &self.buses[self.outputs[index].bus];
        if !on_bus(bus.state) || bus.silent_until != 0 {
            // nobody hears it, and it hears nobody: all of that later
            let time = self.outputs[index].entry.max(SHORTEST_ENTRY);
            self.due.set(self.entry_item(index), now.monotonic.saturating_add(time));
            return;
        }
        if std::mem::take(&mut self.outputs[index].listening) {
            let end = now.monotonic.saturating_add(self.outputs[index].entry);
            self.due.set(self.entry_item(index), end);
            return self.recompose_and_tell(index, store);
        }
        let nothing_lasts = self.watches.vital_good(index) && self.alarmed.none_lasts(index);
        let by_itself = self.armed && self.at_start && nothing_lasts;
        let output = &mut self.outputs[index];
        if by_itself && output.latches == Latch::Reload as u64 && output.foreign_end() <= now.monotonic {
            output.latches = 0;
            self.show_latches(now, index, store);
        }
        self.recompose_and_tell(index, store);
    }

    /// Forces of tags that the new plan does not have, or does not allow to be forced, have been released before.
    fn adopt_forces(
        &mut self,
        old: &mut Authority,
        succession: &Succession,
        inputs: &mut Inputs,
        old_inputs: &mut Inputs,
        store: &mut Writer,
    ) {
        for slot in 0..FORCES {
            let Some(force) = old.forces.0[slot] else { continue };
            let Some(tag) = succession.forcible_after[force.tag] else { continue };
            let message = self.tags[tag].0;
            let until = old.due.get(old.force_item(slot));
            self.forces.0[slot] = Some(super::force::Force { tag, message, ..force });
            self.due.set(self.force_item(slot), until);
            store.set_force(slot, tag, until, force.raw);
            match self.output(message) {
                Some(index) => self.outputs[index].forces += 1,
                None => inputs.adopt_force(tag, old_inputs, force.tag, store),
            }
        }
    }

    /// A tag that is forced and can't be under the next plan.
    pub fn force_without_successor(&self, succession: &Succession) -> Option<usize> {
        let forced = self.forces.0.iter().flatten().map(|force| force.tag);
        forced.into_iter().find(|tag| succession.forcible_after[*tag].is_none())
    }

    /// Takes a message to its fallback values for its last frame.
    pub fn retire(&mut self, now: Now, message: MessageIndex, store: &mut Writer) {
        if let Some(index) = self.output(message) {
            self.latch(now, index, Latch::Command, store);
        }
    }

    fn entry_item(&self, index: usize) -> usize {
        self.outputs.len() + FORCES + 1 + index
    }
}
