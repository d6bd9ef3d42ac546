//! What latches an output in its fallback values, and what arms it again.

use std::ops::Range;

use super::{Authority, BusWatch, NOT_ARMED};
use crate::command::{Denied, Lasting};
use crate::control::Now;
use crate::control::receive::Inputs;
use crate::plan::{Alarm, BusIndex, MessageIndex};
use crate::store::Writer;
use crate::store::layout::{BusState, FORCES, Latch, MessageWord, Word};

impl Authority {
    /// Shows the start in the store: everything in fallback. Once, before anything else.
    pub fn start(&mut self, now: Now, store: &mut Writer) {
        for index in 0..self.outputs.len() {
            self.recompose(index, store);
            store.set_message(self.outputs[index].message, MessageWord::Latched, self.outputs[index].latches);
        }
        self.show_armed(now, store);
        self.show_remote(store);
        self.arm_by_itself(now, store);
    }

    /// Ends every latch, if the cause of none lasts.
    pub fn arm(&mut self, now: Now, store: &mut Writer) -> Result<(), Denied> {
        if let Some(lasting) = self.lasting(now) {
            return Err(Denied::Lasts(lasting));
        }
        // Start values of the plant's signals come into force where the machine arms itself at its start, which its
        // configuration says. Who arms by hand gets what is sent already, until somebody writes.
        for output in self.outputs.iter_mut().filter(|output| output.latches != 0) {
            output.forget_writes();
        }
        self.unlatch(now, u64::MAX, store);
        // whoever arms has seen what is in force
        self.alarms.set(Alarm::TakenBack, false, 0, now, store);
        Ok(())
    }

    /// Takes every output to its fallback values.
    pub fn disarm(&mut self, now: Now, store: &mut Writer) {
        // who disarms does not want to see it armed a moment later
        self.by_itself = false;
        for index in 0..self.outputs.len() {
            self.latch(now, index, Latch::Command, store);
        }
        if !self.outputs.is_empty() && self.armed {
            self.armed = false;
            self.show_armed(now, store);
        }
    }

    /// Takes one output, or all of them, to the fallback values. The machine stays armed.
    pub fn fallback(&mut self, now: Now, message: Option<MessageIndex>, store: &mut Writer) {
        for index in self.meant(message) {
            self.latch(now, index, Latch::Hand, store);
        }
    }

    /// Ends the latches of one output, or of all, if no cause of them lasts. What is not armed is not armed by this.
    pub fn reset(&mut self, now: Now, message: Option<MessageIndex>, store: &mut Writer) -> Result<(), Denied> {
        if !self.armed {
            return Err(Denied::NotArmed);
        }
        let meant = self.meant(message);
        if let Some(lasting) = self.lasting_for(now, meant.clone()) {
            return Err(Denied::Lasts(lasting));
        }
        for index in meant {
            if self.outputs[index].latches != 0 {
                self.outputs[index].forget_writes();
                self.unlatch_one(now, index, u64::MAX, store);
            }
        }
        Ok(())
    }

    /// The output of a message, or all of them.
    fn meant(&self, message: Option<MessageIndex>) -> Range<usize> {
        match message {
            Some(message) => self.output(message).map_or(0..0, |index| index..index + 1),
            None => 0..self.outputs.len(),
        }
    }

    /// The state of a bus, which may have changed, and until when nothing of ours is sent on it (CLOCK_MONOTONIC
    /// nanoseconds; 0: none). The store has the state already.
    pub fn bus(
        &mut self,
        now: Now,
        bus: BusIndex,
        (state, silent_until): (BusState, u64),
        inputs: &Inputs,
        store: &mut Writer,
    ) {
        let watch = &mut self.buses[bus];
        let before = std::mem::replace(&mut watch.state, state);
        let silent_before = std::mem::replace(&mut watch.silent_until, silent_until);
        if before == state && silent_before == silent_until {
            return;
        }
        if before != state {
            self.look_at_bus(now, bus, inputs, store);
        }
        let watch = &mut self.buses[bus];
        if !watch.sends {
            return;
        }
        match state {
            BusState::BusOff => watch.was_off = true,
            BusState::Gone | BusState::Down => watch.was_off = false,
            BusState::Active | BusState::Warning | BusState::Passive if silent_until == 0 => watch.was_off = false,
            BusState::Active | BusState::Warning | BusState::Passive => {}
        }
        if on_bus(before) && !on_bus(state) {
            for index in 0..self.outputs.len() {
                if self.outputs[index].bus == bus {
                    self.latch(now, index, Latch::BusOff, store);
                }
            }
        }
        if silent_before != silent_until {
            self.recompose_bus(bus, store);
        }
        self.arm_by_itself(now, store);
    }

    /// A frame with the identifier of one of our messages, from somebody else.
    pub fn foreign(&mut self, now: Now, message: MessageIndex, store: &mut Writer) {
        let Some(index) = self.output(message) else { return };
        store.add_message(message, MessageWord::Foreign, 1);
        self.outputs[index].foreign_seen = Some(now.monotonic);
        if self.outputs[index].latches & Latch::Foreign as u64 != 0 {
            return;
        }
        self.latch(now, index, Latch::Foreign, store);
        self.alarms.set(Alarm::ForeignSender(message), true, 0, now, store);
        // those that have not spoken yet on this bus do not begin
        self.recompose_bus(self.outputs[index].bus, store);
    }

    /// A cycle was later than its budget. A reason where the configuration says so, for all outputs of the bus.
    pub fn overrun(&mut self, now: Now, message: MessageIndex, store: &mut Writer) {
        let Some(bus) = self.output(message).map(|index| self.outputs[index].bus) else { return };
        if !self.fallback_on_overrun {
            return;
        }
        for index in 0..self.outputs.len() {
            if self.outputs[index].bus == bus {
                self.latch(now, index, Latch::Overrun, store);
            }
        }
    }

    /// Holds an output in fallback until armed. Before the first arming there is nothing to fall back from: what lasts is
    /// asked for then; only a foreign sender, the command and the hand count.
    pub(super) fn latch(&mut self, now: Now, index: usize, latch: Latch, store: &mut Writer) {
        let output = &mut self.outputs[index];
        let counts = matches!(latch, Latch::Start | Latch::Foreign | Latch::Command | Latch::Reload | Latch::Hand);
        if output.latches & latch as u64 != 0 || (!counts && output.latches & Latch::Start as u64 != 0) {
            return;
        }
        output.latches |= latch as u64;
        self.buses[output.bus].foreign += usize::from(latch == Latch::Foreign);
        // an old write must not come into force when armed again
        output.forget_writes();
        self.due.set(index, u64::MAX);
        self.show_latches(now, index, store);
        self.recompose_and_tell(index, store);
    }

    /// Arms for the first time, where the plan says so and nothing stands against it. A message that somebody else sent
    /// stays as it is: that takes the command.
    pub(super) fn arm_by_itself(&mut self, now: Now, store: &mut Writer) {
        if !self.by_itself || self.alarmed.untold() {
            return;
        }
        let retry = self.outputs.len() + FORCES;
        match self.lasting(now) {
            None => {
                self.by_itself = false;
                self.due.set(retry, u64::MAX);
                self.unlatch(now, Latch::Start as u64, store);
            }
            // the end of everything else comes with an event
            Some(Lasting::Foreign(message)) => {
                let end = self.output(message).map_or(u64::MAX, |index| self.outputs[index].foreign_end());
                self.due.set(retry, end);
            }
            Some(_) => {}
        }
    }

    /// What keeps the machine from being armed.
    fn lasting(&self, now: Now) -> Option<Lasting> {
        self.lasting_for(now, 0..self.outputs.len())
    }

    /// What keeps these outputs, one or all, from being armed.
    fn lasting_for(&self, now: Now, meant: Range<usize>) -> Option<Lasting> {
        let only = (meant.len() == 1).then(|| self.outputs[meant.start].bus);
        let concerned = |bus: BusIndex, watch: &BusWatch| watch.sends && only.is_none_or(|only| bus == only);
        for (bus, watch) in self.buses.iter().enumerate().filter(|(bus, watch)| concerned(*bus, watch)) {
            match (on_bus(watch.state), watch.silent_until, watch.was_off) {
                (true, 0, _) => {}
                (true, _, false) => return Some(Lasting::Listening(bus)),
                _ => return Some(Lasting::Bus(bus)),
            }
        }
        let foreign = self.outputs[meant.clone()].iter().find(|output| output.foreign_end() > now.monotonic);
        let foreign = foreign.map(|output| Lasting::Foreign(output.message));
        foreign
            .or_else(|| self.watches.vital_lasting(meant.clone()).map(Lasting::Vital))
            .or_else(|| self.alarmed.lasting(meant).map(Lasting::Alarm))
    }

    fn unlatch(&mut self, now: Now, latches: u64, store: &mut Writer) {
        self.by_itself = false;
        for index in 0..self.outputs.len() {
            self.unlatch_one(now, index, latches, store);
        }
        if !self.armed {
            self.armed = true;
            self.show_armed(now, store);
        }
    }

    fn unlatch_one(&mut self, now: Now, index: usize, latches: u64, store: &mut Writer) {
        let output = &mut self.outputs[index];
        let before = output.latches;
        output.latches &= !latches;
        if output.latches == before {
            return;
        }
        self.buses[output.bus].foreign -= usize::from((before & latches) & Latch::Foreign as u64 != 0);
        self.show_latches(now, index, store);
        self.recompose_and_tell(index, store);
    }

    pub(super) fn show_latches(&mut self, now: Now, index: usize, store: &mut Writer) {
        let (message, latches) = (self.outputs[index].message, self.outputs[index].latches);
        store.set_message(message, MessageWord::Latched, latches);
        // a machine that is not armed is one alarm, not one for each message
        self.alarms.set(Alarm::Fallback(message), latches & !NOT_ARMED != 0, latches, now, store);
        if latches & Latch::Foreign as u64 == 0 {
            self.alarms.set(Alarm::ForeignSender(message), false, 0, now, store);
        }
    }

    pub(super) fn show_armed(&mut self, now: Now, store: &mut Writer) {
        store.set(Word::Armed, self.armed.into());
        store.set(Word::ArmedSince, now.realtime);
        self.alarms.set(Alarm::NotArmed, !self.armed && !self.outputs.is_empty(), 0, now, store);
    }

    fn recompose_bus(&mut self, bus: BusIndex, store: &mut Writer) {
        for index in 0..self.outputs.len() {
            if self.outputs[index].bus == bus {
                self.recompose_and_tell(index, store);
            }
        }
    }
}

impl super::Output {
    /// CLOCK_MONOTONIC from which a foreign sender counts as gone.
    pub(super) fn foreign_end(&self) -> u64 {
        self.foreign_seen.map_or(0, |seen| seen.saturating_add(self.foreign_gone))
    }
}

/// Frames can leave and come.
pub(super) fn on_bus(state: BusState) -> bool {
    match state {
        BusState::Active | BusState::Warning | BusState::Passive => true,
        BusState::Gone | BusState::Down | BusState::BusOff => false,
    }
}
