//! Tags that outputs depend on: vital inputs, interlocks, the switch between Local and Remote.

use std::ops::Range;

use super::Authority;
use crate::command::{Change, Denied, Place};
use crate::control::receive::Inputs;
use crate::control::{Now, condition};
use crate::plan::{self, Bus, BusIndex, Condition, Direction, InterlockIndex, MessageIndex, Plan, TagIndex};
use crate::quality::{Cause, Causes};
use crate::store::Writer;
use crate::store::layout::{Latch, Word};

/// What is looked at when a message comes, or stops being good.
pub(super) struct Watches {
    vital: Box<[Vital]>,
    interlocks: Box<[Interlock]>,
    local_when: Box<[Condition]>,
    /// `local_when` holds, or can't be told.
    held_local: bool,
    /// By message of the plan: what depends on it.
    of: Box<[Box<[Watch]>]>,
    /// By bus: messages that something depends on.
    on: Box<[Box<[MessageIndex]>]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Vital(usize),
    Interlock(InterlockIndex),
    Local,
}

struct Vital {
    needed: plan::Vital,
    /// The output that needs it.
    output: usize,
    good: bool,
}

struct Interlock {
    when: Box<[Condition]>,
    /// Outputs in which it holds something.
    outputs: Box<[usize]>,
    holds: bool,
}

impl Watches {
    /// Nothing was received yet: nothing is good, every interlock holds.
    pub fn new(plan: &Plan) -> Watches {
        let mut of: Vec<Vec<Watch>> = vec![Vec::new(); plan.messages.len()];
        let mut depend = |tag: TagIndex, watch: Watch| {
            let watches = &mut of[plan.tags[tag].message];
            if !watches.contains(&watch) {
                watches.push(watch);
            }
        };
        let outputs = plan.messages.iter().enumerate().filter_map(|(message, planned)| match &planned.direction {
            Direction::Output(transmission) => Some((message, transmission)),
            Direction::Input(_) => None,
        });
        let mut vital = Vec::new();
        let mut by_message = vec![usize::MAX; plan.messages.len()];
        for (output, (message, transmission)) in outputs.enumerate() {
            by_message[message] = output;
            for needed in &transmission.vital {
                depend(needed.tag, Watch::Vital(vital.len()));
                vital.push(Vital { needed: *needed, output, good: false });
            }
        }
        let mut interlocks = Vec::with_capacity(plan.interlocks.len());
        for (index, interlock) in plan.interlocks.iter().enumerate() {
            interlock.when.iter().for_each(|condition| depend(condition.tag, Watch::Interlock(index)));
            let mut held: Vec<usize> =
                interlock.holds.iter().map(|(tag, _)| by_message[plan.tags[*tag].message]).collect();
            held.retain(|output| *output != usize::MAX);
            held.sort_unstable();
            held.dedup();
            interlocks.push(Interlock {
                when: interlock.when.clone().into_boxed_slice(),
                outputs: held.into_boxed_slice(),
                holds: true,
            });
        }
        let local_when = plan.machine.local_when.clone().into_boxed_slice();
        local_when.iter().for_each(|condition| depend(condition.tag, Watch::Local));
        let watched = |bus: &Bus| {
            bus.messages.clone().filter(|message| !of[*message].is_empty()).collect::<Box<[MessageIndex]>>()
        };
        Watches {
            on: plan.buses.iter().map(watched).collect(),
            held_local: !local_when.is_empty(),
            vital: vital.into_boxed_slice(),
            interlocks: interlocks.into_boxed_slice(),
            local_when,
            of: of.into_iter().map(Vec::into_boxed_slice).collect(),
        }
    }

    /// Whether an interlock holds its signals now.
    pub fn holds(&self, interlock: usize) -> bool {
        self.interlocks[interlock].holds
    }

    /// Vital inputs of an output count as good until looked at: one that is not takes it to fallback then.
    pub fn trust_vital(&mut self, output: usize) {
        self.vital.iter_mut().filter(|vital| vital.output == output).for_each(|vital| vital.good = true);
    }

    /// Whether all that an output needs is good.
    pub fn vital_good(&self, output: usize) -> bool {
        self.vital.iter().all(|vital| vital.output != output || vital.good)
    }

    /// A vital tag of these outputs that is not good.
    pub fn vital_lasting(&self, outputs: Range<usize>) -> Option<TagIndex> {
        self.vital.iter().find(|vital| !vital.good && outputs.contains(&vital.output)).map(|vital| vital.needed.tag)
    }
}

impl Authority {
    /// A received message has a new value or another cause: everything that depends on it.
    pub fn look(&mut self, now: Now, message: MessageIndex, inputs: &Inputs, store: &mut Writer) {
        for at in 0..self.watches.of[message].len() {
            match self.watches.of[message][at] {
                Watch::Vital(vital) => self.look_at_vital(now, vital, inputs, store),
                Watch::Interlock(interlock) => self.look_at_interlock(interlock, inputs, store),
                Watch::Local => {
                    self.watches.held_local = may_hold(&self.watches.local_when, inputs, store);
                    self.show_remote(store);
                }
            }
        }
    }

    /// Everything that anything depends on.
    pub fn look_at_all(&mut self, now: Now, inputs: &Inputs, store: &mut Writer) {
        for message in 0..self.watches.of.len() {
            self.look(now, message, inputs, store);
        }
    }

    /// A bus has another state, which is a cause for all that is received on it.
    pub fn look_at_bus(&mut self, now: Now, bus: BusIndex, inputs: &Inputs, store: &mut Writer) {
        for at in 0..self.watches.on[bus].len() {
            self.look(now, self.watches.on[bus][at], inputs, store);
        }
    }

    /// Whether this may be asked for from there. In Local the plant makes the machine do nothing; what only lets go stays open to
    /// it. A write is refused where it is carried out, as it renews its lease all the same.
    pub fn may_be_asked(&self, place: Place, change: &Change) -> Result<(), Denied> {
        let acts = match change {
            Change::Arm
            | Change::ResetFallback(_)
            | Change::Force { .. }
            | Change::Restart(_)
            | Change::Route { .. } => true,
            Change::Patch(_)
            | Change::Renew(_)
            | Change::Release(_)
            | Change::Disarm
            | Change::Fallback(_)
            | Change::Remote(_) => false,
        };
        if acts && place == Place::Plant && !self.is_remote() { Err(Denied::Local) } else { Ok(()) }
    }

    /// Remote or Local. Refused where `local_when` says otherwise.
    pub fn set_remote(&mut self, remote: bool, store: &mut Writer) -> Result<(), Denied> {
        if remote && self.watches.held_local {
            return Err(Denied::HeldLocal);
        }
        self.remote = remote;
        self.show_remote(store);
        Ok(())
    }

    pub(super) fn is_remote(&self) -> bool {
        self.remote && !self.watches.held_local
    }

    pub(super) fn show_remote(&self, store: &mut Writer) {
        store.set(Word::Remote, self.is_remote().into());
    }

    fn look_at_vital(&mut self, now: Now, vital: usize, inputs: &Inputs, store: &mut Writer) {
        let Vital { needed, output, good: before } = self.watches.vital[vital];
        let sample = inputs.sample(store, needed.tag, needed.source_address);
        let good = if needed.message {
            // a forced signal says nothing about the device
            let ignored = [Cause::Forced, Cause::NotAvailable, Cause::OutOfRange];
            ignored.into_iter().fold(sample.causes, Causes::without).is_good()
        } else {
            sample.value.is_some() && sample.causes.is_good()
        };
        self.watches.vital[vital].good = good;
        if before && !good {
            self.latch(now, output, Latch::Vital, store);
        } else if good && !before {
            self.arm_by_itself(now, store);
        }
    }

    fn look_at_interlock(&mut self, interlock: usize, inputs: &Inputs, store: &mut Writer) {
        let holds = may_hold(&self.watches.interlocks[interlock].when, inputs, store);
        if std::mem::replace(&mut self.watches.interlocks[interlock].holds, holds) != holds {
            for at in 0..self.watches.interlocks[interlock].outputs.len() {
                let output = self.watches.interlocks[interlock].outputs[at];
                self.recompose_and_tell(output, store);
            }
        }
    }
}

/// All hold, or one can't be told and none fails.
fn may_hold(conditions: &[Condition], inputs: &Inputs, store: &Writer) -> bool {
    condition::all(conditions, inputs, store) != Some(false)
}
