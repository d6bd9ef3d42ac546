//! Who says what an output carries: owner, force, interlock, fallback, the later the stronger; and whether it is sent.
//!
//! Nothing here moves a machine by surprise: an output that is latched has its fallback values until it is armed, and
//! what the plant wrote before is forgotten by then.

mod adopt;
mod alarmed;
mod arming;
mod force;
mod watch;

use std::sync::Arc;

use super::Now;
use super::alarm::Alarms;
use super::due::Due;
use crate::can::MAX_LEN;
use crate::command::Denied;
use crate::dbc;
use crate::plan::{Arm, Bits, BusIndex, Direction, MessageIndex, Plan, TagIndex, WhenDisarmed};
use crate::quality::{Cause, Causes};
use crate::store::Writer;
use crate::store::layout::{BusState, FORCES, Latch, Marks};
use alarmed::Alarmed;
use force::Forces;
use watch::Watches;

/// What one of our messages carries now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Composed {
    pub payload: [u8; MAX_LEN],
    /// It may leave; otherwise neither a cycle nor a write sends it.
    pub send: bool,
    /// [`Cause::Fallback`] or [`Cause::NotSent`], for its records.
    pub causes: Causes,
}

impl Composed {
    const NOTHING: Composed = Composed { payload: [0; MAX_LEN], send: false, causes: Causes::NONE };
}

/// The layers of every output, what latches them, and the forces.
pub struct Authority {
    outputs: Box<[Output]>,
    /// By message of the plan: index into `outputs`.
    by_message: Box<[Option<usize>]>,
    /// By tag of the plan: its message, and the group of its signal.
    tags: Box<[(MessageIndex, usize)]>,
    buses: Box<[BusWatch]>,
    forces: Forces,
    watches: Watches,
    alarmed: Alarmed,
    armed: bool,
    /// Arms by itself as soon as nothing stands against it.
    by_itself: bool,
    /// What comes new into an armed machine arms by itself too.
    at_start: bool,
    /// An overrun latches the outputs of its bus.
    fallback_on_overrun: bool,
    /// What the command said last; `local_when` is stronger.
    remote: bool,
    /// Lease by output, end by force, the next try to arm by itself, and by output the end of its entry.
    due: Due,
    /// Outputs that say something else since they were last asked about.
    changed: Vec<usize>,
    /// Inputs whose force has ended and that have not been told.
    released: Vec<TagIndex>,
    alarms: Alarms,
}

struct Output {
    message: MessageIndex,
    bus: BusIndex,
    dbc: Arc<dbc::Message>,
    length: usize,
    /// What plant and links wrote, start values elsewhere.
    owner: [u8; MAX_LEN],
    fallback: [u8; MAX_LEN],
    /// Ones where the plant may write, selectors of what it may write included.
    plant: [u8; MAX_LEN],
    /// Ones where what the plant wrote outlives a latch.
    retainable: [u8; MAX_LEN],
    /// What it wrote there.
    retained: Bits,
    when_disarmed: WhenDisarmed,
    /// Nanoseconds.
    lease: Option<u64>,
    /// Nanoseconds without a foreign frame after which its sender counts as gone.
    foreign_gone: u64,
    /// CLOCK_MONOTONIC of the last foreign frame.
    foreign_seen: Option<u64>,
    /// [`Latch`] bits.
    latches: u64,
    /// A link has stopped it.
    stopped: bool,
    /// It has come with a reload, and its identifier is listened for before it is used.
    listening: bool,
    /// Nanoseconds that a reload which brings it listens for it, and then lets it say its fallback values before it may be armed.
    listen: u64,
    entry: u64,
    /// What interlocks can hold in it, the strongest last.
    holds: Box<[Hold]>,
    /// Forces in the table that are about it.
    forces: usize,
    /// Some tag of it has a mark.
    marked: bool,
    composed: Composed,
    /// It is in `Authority::changed`.
    changed: bool,
}

/// One signal that an interlock can hold.
struct Hold {
    interlock: usize,
    tag: TagIndex,
    group: usize,
    bits: Bits,
}

struct BusWatch {
    state: BusState,
    /// CLOCK_MONOTONIC until which nothing of ours is sent on it (listening, quarantine); 0: none.
    silent_until: u64,
    /// It was off before it came back.
    was_off: bool,
    /// There are messages of ours on it.
    sends: bool,
    /// How many of them are latched because somebody else sends them.
    foreign: usize,
}

impl Authority {
    /// Everything has its fallback values, and every bus is gone.
    pub fn new(plan: &Plan) -> Authority {
        let mut by_message = vec![None; plan.messages.len()];
        let mut outputs = Vec::new();
        for (message, planned) in plan.messages.iter().enumerate() {
            let Direction::Output(transmission) = &planned.direction else { continue };
            by_message[message] = Some(outputs.len());
            let plant = plant_bits(plan, message);
            let listen = plan.buses[planned.bus].listen;
            outputs.push(Output {
                message,
                bus: planned.bus,
                dbc: planned.message.clone(),
                length: transmission.length,
                owner: transmission.start,
                fallback: transmission.fallback,
                plant,
                retainable: retained_bits(plan, message),
                retained: Bits::NONE,
                when_disarmed: transmission.when_disarmed,
                lease: transmission.lease,
                foreign_gone: listen.max(transmission.period.unwrap_or(0).saturating_mul(3)),
                foreign_seen: None,
                latches: Latch::Start as u64,
                stopped: false,
                listening: false,
                listen,
                entry: listen.max(transmission.period.unwrap_or(0)),
                holds: holds(plan, message),
                forces: 0,
                marked: false,
                composed: Composed { payload: transmission.fallback, send: false, causes: Causes::of(Cause::NotSent) },
                changed: false,
            });
        }
        let buses: Box<[BusWatch]> = plan
            .buses
            .iter()
            .map(|bus| BusWatch {
                state: BusState::Gone,
                silent_until: 0,
                was_off: false,
                sends: by_message[bus.messages.clone()].iter().any(Option::is_some),
                foreign: 0,
            })
            .collect();
        Authority {
            due: Due::new(2 * outputs.len() + FORCES + 1),
            changed: Vec::with_capacity(outputs.len()),
            released: Vec::with_capacity(FORCES),
            outputs: outputs.into_boxed_slice(),
            by_message: by_message.into_boxed_slice(),
            tags: plan
                .tags
                .iter()
                .map(|tag| (tag.message, plan.messages[tag.message].message.signals[tag.signal].group))
                .collect(),
            buses,
            forces: Forces::default(),
            watches: Watches::new(plan),
            alarmed: Alarmed::new(plan),
            armed: false,
            by_itself: plan.machine.arm == Arm::AtStart,
            at_start: plan.machine.arm == Arm::AtStart,
            fallback_on_overrun: plan.machine.fallback_on_overrun,
            remote: true,
            alarms: Alarms::new(plan),
        }
    }

    /// Whatever the plan says, only the command arms.
    pub fn only_by_hand(&mut self) {
        self.by_itself = false;
    }

    /// What a message of ours carries, and whether it may leave.
    pub fn compose(&self, message: MessageIndex) -> Composed {
        self.output(message).map_or(Composed::NOTHING, |output| self.outputs[output].composed)
    }

    /// A message that says something else, or is sent or not, since it was last taken from here. What a write or a link
    /// changed is not in it: that is their answer.
    pub fn take_changed(&mut self) -> Option<MessageIndex> {
        let output = &mut self.outputs[self.changed.pop()?];
        output.changed = false;
        Some(output.message)
    }

    /// Whether [`Authority::take_changed`] has something.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// An input whose force has ended by its time or was released.
    pub fn take_released(&mut self) -> Option<TagIndex> {
        self.released.pop()
    }

    /// A write of the plant: whether the payload became different. A write that is refused because of Local or an interlock
    /// renews the lease too: who writes is alive.
    pub fn write(&mut self, now: Now, message: MessageIndex, bits: &Bits, store: &mut Writer) -> Result<bool, Denied> {
        let Some(index) = self.output(message) else { return Ok(false) };
        self.may_act(index)?;
        self.renew_lease(now, index, false);
        if !self.is_remote() {
            return Err(Denied::Local);
        }
        if let Some(tag) = self.held_otherwise(index, bits) {
            return Err(Denied::Interlocked(tag));
        }
        self.renew_lease(now, index, true);
        let output = &mut self.outputs[index];
        bits.apply(&mut output.owner);
        output.retain(bits);
        Ok(self.recompose(index, store))
    }

    /// A value that was retained before this start. It is the owner's, and in force once armed. Before the first step.
    pub fn restore(&mut self, message: MessageIndex, bits: &Bits) {
        let Some(index) = self.output(message) else { return };
        let output = &mut self.outputs[index];
        output.retain(bits);
        output.retained.apply(&mut output.owner);
    }

    /// Renews the lease of a message, where the plant has written it.
    pub fn renew(&mut self, now: Now, message: MessageIndex) -> Result<(), Denied> {
        let Some(index) = self.output(message) else { return Ok(()) };
        self.may_act(index)?;
        self.renew_lease(now, index, false);
        Ok(())
    }

    /// The value of a link: whether the payload became different. A link is heard while latched too: what it said last is
    /// in force once armed.
    pub fn link(&mut self, message: MessageIndex, bits: &Bits, store: &mut Writer) -> bool {
        let Some(index) = self.output(message) else { return false };
        bits.apply(&mut self.outputs[index].owner) && self.recompose(index, store)
    }

    /// A link stops a message, or lets it go on. In fallback it is sent all the same: its values are no longer the link's.
    pub fn stop(&mut self, message: MessageIndex, stopped: bool, store: &mut Writer) {
        let Some(index) = self.output(message) else { return };
        if std::mem::replace(&mut self.outputs[index].stopped, stopped) != stopped {
            self.recompose_and_tell(index, store);
        }
    }

    /// Everything whose time has come.
    pub fn timer(&mut self, now: Now, store: &mut Writer) {
        let outputs = self.outputs.len();
        while let Some((item, _)) = self.due.take(now.monotonic) {
            if item < outputs {
                self.latch(now, item, Latch::Lease, store);
            } else if item < outputs + FORCES {
                self.force_ended(now, item - outputs, store);
            } else if item == outputs + FORCES {
                self.arm_by_itself(now, store);
            } else {
                self.entered(now, item - outputs - FORCES - 1, store);
            }
        }
    }

    /// When [`Authority::timer`] is wanted, CLOCK_MONOTONIC nanoseconds.
    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    fn output(&self, message: MessageIndex) -> Option<usize> {
        self.by_message.get(message).copied().flatten()
    }

    /// A tag that an interlock holds at another value than a write would give it.
    fn held_otherwise(&self, index: usize, bits: &Bits) -> Option<TagIndex> {
        let output = &self.outputs[index];
        let mut wanted = output.owner;
        bits.apply(&mut wanted);
        // where several hold the same bits, only the strongest counts
        let mut held = [0; MAX_LEN];
        for hold in output.holds.iter().rev().filter(|hold| self.watches.holds(hold.interlock)) {
            if !output.dbc.group_active(hold.group, &wanted[..output.length]) {
                continue;
            }
            for (byte, held) in held.iter_mut().enumerate() {
                let both = hold.bits.mask[byte] & bits.mask[byte] & !*held;
                if (hold.bits.bits[byte] ^ bits.bits[byte]) & both != 0 {
                    return Some(hold.tag);
                }
                *held |= hold.bits.mask[byte];
            }
        }
        None
    }

    /// Refuses what is about a latched output.
    fn may_act(&self, index: usize) -> Result<(), Denied> {
        let Output { message, latches, .. } = self.outputs[index];
        match latches {
            0 => Ok(()),
            _ if latches & !NOT_ARMED == 0 => Err(Denied::NotArmed),
            _ => Err(Denied::Fallback { message, latches }),
        }
    }

    /// Lets a lease run from now; where it does not run yet, only a write that is accepted starts it.
    fn renew_lease(&mut self, now: Now, index: usize, start: bool) {
        if let Some(lease) = self.outputs[index].lease
            && (start || self.due.get(index) != u64::MAX)
        {
            self.due.set(index, now.monotonic.saturating_add(lease));
        }
    }

    /// Composes an output anew; whether its payload became different.
    fn recompose(&mut self, index: usize, store: &mut Writer) -> bool {
        let output = &self.outputs[index];
        let bus = &self.buses[output.bus];
        let latched = output.latches != 0;
        let mut payload = if latched { output.fallback } else { output.owner };
        if !latched {
            if output.forces > 0 {
                let forces = || self.forces.of(output.message);
                apply(output, &mut payload, forces().map(|force| (self.tags[force.tag].1, &force.bits)));
            }
            let holds = output.holds.iter().filter(|hold| self.watches.holds(hold.interlock));
            apply(output, &mut payload, holds.map(|hold| (hold.group, &hold.bits)));
        }
        let silent = match latched {
            false => output.stopped,
            true => {
                output.when_disarmed == WhenDisarmed::Silent
                    || output.latches & Latch::Foreign as u64 != 0
                    // who is not armed yet does not start to talk where its own voice is heard
                    || (output.latches & (Latch::Start as u64 | Latch::Reload as u64) != 0 && bus.foreign > 0)
            }
        };
        let send = !silent && !output.listening && bus.silent_until == 0;
        let causes = match (send, latched) {
            (false, _) => Causes::of(Cause::NotSent),
            (true, true) => Causes::of(Cause::Fallback),
            (true, false) => Causes::NONE,
        };
        if output.marked || (!latched && (output.forces > 0 || !output.holds.is_empty())) {
            let marked = self.mark(index, &payload, store);
            self.outputs[index].marked = marked;
        }
        let output = &mut self.outputs[index];
        let before = std::mem::replace(&mut output.composed, Composed { payload, send, causes });
        before.payload != payload
    }

    /// The same, for changes that [`Authority::take_changed`] tells.
    fn recompose_and_tell(&mut self, index: usize, store: &mut Writer) {
        let before = self.outputs[index].composed;
        self.recompose(index, store);
        let output = &mut self.outputs[index];
        if output.composed != before && !output.changed {
            output.changed = true;
            self.changed.push(index);
        }
    }

    /// Marks the tags of an output that are held by a force or an interlock, and only those whose bits are in the payload;
    /// whether there are any.
    fn mark(&self, index: usize, payload: &[u8; MAX_LEN], store: &mut Writer) -> bool {
        let output = &self.outputs[index];
        let latched = output.latches != 0;
        let shown = |group: usize| !latched && output.dbc.group_active(group, &payload[..output.length]);
        let holding = |hold: &&Hold| self.watches.holds(hold.interlock) && shown(hold.group);
        let mut any = false;
        for hold in &output.holds {
            let on = output.holds.iter().filter(holding).any(|other| other.tag == hold.tag);
            store.mark(hold.tag, Marks::INTERLOCKED, on);
            any |= on;
        }
        for force in self.forces.of(output.message) {
            let overruled = output.holds.iter().filter(holding).any(|hold| hold.bits.overlaps(&force.bits));
            let on = !overruled && shown(self.tags[force.tag].1);
            store.mark(force.tag, Marks::FORCED, on);
            any |= on;
        }
        any
    }
}

/// The latches of a machine that is not armed as a whole.
const NOT_ARMED: u64 = Latch::Start as u64 | Latch::Command as u64;

/// Applies bits in their order, those of multiplexed signals after the selectors that decide whether they are there.
fn apply<'a>(output: &Output, payload: &mut [u8; MAX_LEN], layers: impl Iterator<Item = (usize, &'a Bits)> + Clone) {
    let depth = |group: usize| output.dbc.groups[group].conditions.len();
    let deepest = layers.clone().map(|(group, _)| depth(group)).max().unwrap_or(0);
    for level in 0..=deepest {
        for (group, bits) in layers.clone().filter(|(group, _)| depth(*group) == level) {
            if output.dbc.group_active(group, &payload[..output.length]) {
                bits.apply(payload);
            }
        }
    }
}

/// Ones where the plant may write: its signals and the selectors that a write of them brings with it.
fn plant_bits(plan: &Plan, message: MessageIndex) -> [u8; MAX_LEN] {
    let message = &plan.messages[message];
    let mut mask = [0; MAX_LEN];
    for tag in plan.tags[message.tags.clone()].iter().filter(|tag| tag.writable) {
        let signal = &message.message.signals[tag.signal];
        signal.codec.mask(&mut mask);
        for condition in &message.message.groups[signal.group].conditions {
            message.message.signals[condition.selector].codec.mask(&mut mask);
        }
    }
    mask
}

/// Ones where what the plant writes is retained.
fn retained_bits(plan: &Plan, message: MessageIndex) -> [u8; MAX_LEN] {
    let message = &plan.messages[message];
    let mut mask = [0; MAX_LEN];
    for tag in plan.tags[message.tags.clone()].iter().filter(|tag| tag.retained) {
        message.message.signals[tag.signal].codec.mask(&mut mask);
    }
    mask
}

/// What interlocks can hold in a message, the strongest last.
fn holds(plan: &Plan, message: MessageIndex) -> Box<[Hold]> {
    let mut holds = Vec::new();
    for (interlock, planned) in plan.interlocks.iter().enumerate().rev() {
        for (tag, bits) in planned.holds.iter().filter(|(tag, _)| plan.tags[*tag].message == message) {
            holds.push(Hold { interlock, tag: *tag, group: plan.signal(*tag).group, bits: *bits });
        }
    }
    holds.into_boxed_slice()
}

impl Output {
    /// Remembers what of a write is to be retained.
    fn retain(&mut self, written: &Bits) {
        let at = self.retained.mask.iter_mut().zip(&mut self.retained.bits).zip(&self.retainable);
        for (((mask, bits), retainable), (written_mask, written_bits)) in at.zip(written.mask.iter().zip(&written.bits))
        {
            let new = retainable & written_mask;
            *mask |= new;
            *bits = *bits & !new | written_bits & new;
        }
    }

    /// Goes on with what was retained under the plan before, in the same bits.
    fn adopt_retained(&mut self, before: &Bits) {
        self.retain(before);
        self.retained.apply(&mut self.owner);
    }

    /// Forgets what the plant wrote, but for what is retained.
    fn forget_writes(&mut self) {
        Bits { mask: self.plant, bits: self.fallback }.apply(&mut self.owner);
        self.retained.apply(&mut self.owner);
    }
}
