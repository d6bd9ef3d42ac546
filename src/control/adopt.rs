//! The machine's behaviour under another plan: what both plans have goes on as if nothing had happened.

use super::configured::{self, Configured};
use super::{Control, Now, Transmit};
use crate::command::Place;
use crate::plan::{MessageIndex, Succession};
use crate::store::Writer;

/// The state of the machine side under one plan, lent for a change of plans.
pub struct State<'a> {
    pub control: &'a mut Control,
    pub transmit: &'a mut Transmit,
    pub store: &'a mut Writer,
}

impl Control {
    /// Whether another plan may take the place of this one now.
    pub fn may_be_replaced(&self, store: &Writer) -> bool {
        super::condition::all(&self.reload_when, &self.inputs, store) == Some(true)
    }

    /// Sends the fallback values of our messages once more, of those that `leaves` names: they will not be sent any more, or not
    /// as they were.
    pub fn farewell(
        &mut self,
        now: Now,
        leaves: impl Fn(MessageIndex) -> bool,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        for message in 0..self.own.len() {
            if self.own[message].is_none() || !leaves(message) {
                continue;
            }
            self.authority.retire(now, message, store);
            let composed = self.authority.compose(message);
            self.outputs.farewell(now, message, &composed, store, transmit);
        }
    }

    /// Takes over from the plan before, whose state is left for its parts to be freed; nothing is allocated or freed here.
    /// Instead of [`Control::start`]. `made`: the moment that this was made for.
    pub fn adopt(
        &mut self,
        made: Now,
        now: Now,
        (transmit, store): (&mut Transmit, &mut Writer),
        old: State<'_>,
        succession: &Succession,
    ) {
        let State { control: old, transmit: old_transmit, store: old_store } = old;
        while let Some(tag) = old.authority.force_without_successor(succession) {
            // it was found among the forces, so this can't fail
            let _ = old.authority.release(now, Some(tag), Place::Machine, old_store);
            old.authority_changed(now, old_store, old_transmit);
        }
        let (authority, outputs) = (&old.authority, &old.outputs);
        old_transmit.keep_last(succession, |message, frame| {
            let composed = authority.compose(message);
            if composed.send {
                outputs.fill(message, &composed, frame);
            }
            composed.send
        });
        store.adopt(old_store, succession);
        self.life.adopt(&mut old.life, &succession.buses, now);
        transmit.adopt(old_transmit, succession, now, store);
        self.routes.adopt(&mut old.routes, &succession.routes);
        self.names.adopt(&old.names, &succession.names);
        self.inputs.adopt(&mut old.inputs, succession, now, store);
        self.outputs.adopt(&mut old.outputs, succession, (made, now), store);
        let inputs = (&mut self.inputs, &mut old.inputs);
        self.authority.adopt(&mut old.authority, succession, now, inputs, store);
        self.alarms_adopt(&old.configured, succession, now, store);
        self.links.adopt(&old.links, &succession.links, &mut self.authority, store);
        for message in 0..self.own.len() {
            if self.own[message].is_some() && !succession.continues[message] {
                self.outputs.show(now, message, &self.authority.compose(message), store);
            }
        }
        for bus in 0..self.first_message.len() {
            self.open_or_close(bus, now, store, transmit);
        }
        self.authority_changed(now, store, transmit);
    }

    /// After authority and inputs, before what they change is told.
    fn alarms_adopt(&mut self, old: &Configured, succession: &Succession, now: Now, store: &mut Writer) {
        let Control { inputs, authority, configured, .. } = self;
        configured.adopt(old, succession, now, &mut configured::Means { inputs, authority, store });
    }
}
