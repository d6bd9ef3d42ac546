//! The table of forces: tags held at a value until a time, whatever their owner says.

use super::Authority;
use crate::command::{Denied, Place};
use crate::control::Now;
use crate::plan::{Alarm, Bits, MessageIndex, TagIndex};
use crate::store::Writer;
use crate::store::layout::{FORCES, Marks, Word};

/// One tag that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Force {
    pub tag: TagIndex,
    pub message: MessageIndex,
    pub bits: Bits,
    /// As the store shows it.
    pub raw: u64,
    /// Who holds it.
    pub place: Place,
}

/// The table of the store, with the bits.
pub(super) struct Forces(pub [Option<Force>; FORCES]);

impl Default for Forces {
    fn default() -> Forces {
        Forces([None; FORCES])
    }
}

impl Forces {
    /// Those of one message.
    pub fn of(&self, message: MessageIndex) -> impl Iterator<Item = &Force> + Clone {
        self.0.iter().flatten().filter(move |force| force.message == message)
    }

    fn slot(&self, tag: TagIndex) -> Option<usize> {
        self.0.iter().position(|force| force.is_some_and(|force| force.tag == tag))
    }

    fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

impl Authority {
    /// Holds a tag until a time (CLOCK_MONOTONIC nanoseconds); one that is forced takes the new value and time. A force
    /// does not end with fallback, which is stronger: it is in force again when armed.
    pub fn force(
        &mut self,
        now: Now,
        (tag, bits, raw): (TagIndex, &Bits, u64),
        place: Place,
        until: u64,
        store: &mut Writer,
    ) -> Result<(), Denied> {
        let known = self.forces.slot(tag);
        let slot = known.or_else(|| self.forces.0.iter().position(Option::is_none)).ok_or(Denied::TooManyForces)?;
        let message = self.tags[tag].0;
        self.forces.0[slot] = Some(Force { tag, message, bits: *bits, raw, place });
        self.due.set(self.force_item(slot), until);
        store.set_force(slot, tag, until, raw);
        if let Some(index) = self.output(message) {
            self.outputs[index].forces += usize::from(known.is_none());
            self.recompose_and_tell(index, store);
        }
        self.show_forces(now, store);
        Ok(())
    }

    /// Ends the force of one tag, or all of them (which is no mistake where there is none). In Local the plant ends its own:
    /// whoever holds a valve at the machine counts on it.
    pub fn release(&mut self, now: Now, tag: Option<TagIndex>, place: Place, store: &mut Writer) -> Result<(), Denied> {
        let all = place == Place::Machine || self.is_remote();
        let may_end = |force: &Force| all || force.place == place;
        match tag {
            Some(tag) => {
                let slot = self.forces.slot(tag).ok_or(Denied::NotForced(tag))?;
                if !self.forces.0[slot].as_ref().is_some_and(may_end) {
                    return Err(Denied::Local);
                }
                self.force_ended(now, slot, store);
            }
            None => {
                for slot in 0..FORCES {
                    if self.forces.0[slot].as_ref().is_some_and(may_end) {
                        self.force_ended(now, slot, store);
                    }
                }
            }
        }
        Ok(())
    }

    /// Empties a place of the table.
    pub(super) fn force_ended(&mut self, now: Now, slot: usize, store: &mut Writer) {
        let Some(Force { tag, message, .. }) = self.forces.0[slot].take() else { return };
        self.due.set(self.force_item(slot), u64::MAX);
        store.clear_force(slot);
        match self.output(message) {
            Some(index) => {
                self.outputs[index].forces -= 1;
                store.mark(tag, Marks::FORCED, false);
                self.recompose_and_tell(index, store);
            }
            None => self.released.push(tag),
        }
        self.show_forces(now, store);
    }

    pub(super) fn force_item(&self, slot: usize) -> usize {
        self.outputs.len() + slot
    }

    pub(super) fn show_forces(&mut self, now: Now, store: &mut Writer) {
        let count = self.forces.count() as u64;
        store.set(Word::Forces, count);
        self.alarms.set(Alarm::Forced, count > 0, count, now, store);
    }
}
