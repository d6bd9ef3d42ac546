//! The machine's behaviour as a pure state machine: events in, records and frames out. No clock, no socket, no log.
//!
//! Everything is allocated by [`Control::new`]; [`Control::step`] allocates nothing, takes no lock and runs for a time
//! that the plan bounds.

mod alarm;
mod due;
mod life;
mod receive;
mod transmit;

use crate::bus::error_frame::ErrorFrame;
use crate::can::Frame;
use crate::command::{Change, Denied};
use crate::dbc::Lookup;
use crate::plan::{BusIndex, ContractIndex, Direction, MessageIndex, Plan, RouteIndex};
use crate::store::Writer;
use crate::store::layout::{BusState, BusWord};
use life::Life;
pub use life::Wish;
use receive::Inputs;
use transmit::Outputs;

/// The time of an event, as the loop read it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_MONOTONIC, nanoseconds: deadlines.
    pub monotonic: u64,
    /// CLOCK_REALTIME, nanoseconds since 1970: stamps only.
    pub realtime: u64,
}

/// What can happen to the machine side.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A frame of another node. `source_time`: CLOCK_REALTIME nanoseconds when the kernel received it.
    Received { bus: usize, frame: &'a Frame, source_time: u64 },
    /// What the kernel says about the interface of a bus.
    Bus { bus: usize, state: BusState },
    /// An error frame of a bus.
    Error { bus: usize, error: &'a ErrorFrame },
    /// A deadline may have come.
    Timer,
}

/// A frame that is to be sent, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub frame: Frame,
    pub key: Key,
    /// CLOCK_MONOTONIC nanoseconds after which it is worth nothing.
    pub stale: u64,
    /// What is measured when it has left, since `since` (CLOCK_REALTIME nanoseconds).
    pub contract: Option<ContractIndex>,
    pub since: u64,
}

/// Whose frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Message(MessageIndex),
    Route(RouteIndex),
}

/// The frames that wait to be sent.
pub struct Transmit {
    frames: Vec<(BusIndex, Outgoing)>,
}

impl Transmit {
    /// Room for `capacity` frames; a step that wants to send more loses the rest, counted.
    pub fn with_capacity(capacity: usize) -> Transmit {
        Transmit { frames: Vec::with_capacity(capacity) }
    }

    /// Whether there was room.
    fn push(&mut self, bus: BusIndex, outgoing: &Outgoing) -> bool {
        let room = self.frames.len() < self.frames.capacity();
        if room {
            self.frames.push((bus, *outgoing));
        }
        room
    }

    /// Takes all frames out, in order; the room stays.
    pub fn drain(&mut self) -> impl Iterator<Item = (BusIndex, Outgoing)> + '_ {
        self.frames.drain(..)
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// All state of the machine side.
pub struct Control {
    /// By bus: identifier to position among the messages of the bus.
    lookups: Vec<Lookup>,
    /// By bus: index of its first message.
    first_message: Vec<usize>,
    inputs: Inputs,
    outputs: Outputs,
    life: Life,
}

impl Control {
    /// Resolves the plan. The cycles start at `start`.
    pub fn new(plan: &Plan, start: Now) -> Control {
        Control {
            lookups: plan
                .buses
                .iter()
                .map(|bus| Lookup::new(plan.messages[bus.messages.clone()].iter().map(|m| &*m.message)))
                .collect(),
            first_message: plan.buses.iter().map(|bus| bus.messages.start).collect(),
            inputs: Inputs::new(plan),
            outputs: Outputs::new(plan, start),
            life: Life::new(plan),
        }
    }

    /// How many frames one step can send at most: the room that [`Transmit`] needs.
    pub fn most_frames(plan: &Plan) -> usize {
        plan.messages.iter().filter(|m| matches!(m.direction, Direction::Output(_))).count() + 1
    }

    /// Shows the outputs' start values in the store. Once, before the first step.
    pub fn start(&mut self, now: Now, store: &mut Writer) {
        self.life.start(now);
        self.outputs.show_all(now, store);
    }

    /// One event.
    pub fn step(&mut self, now: Now, event: Event<'_>, store: &mut Writer, transmit: &mut Transmit) {
        match event {
            Event::Received { bus, frame, source_time } => self.receive(now, bus, frame, source_time, store),
            Event::Bus { bus, state } => self.life.interface(now, bus, state, store),
            Event::Error { bus, error } => {
                self.life.error(now, bus, error, store);
            }
            Event::Timer => {
                self.life.timer(now, store);
                self.outputs.timer(now, &self.life, store, transmit);
                self.inputs.timer(now, store);
            }
        }
    }

    /// One command, already checked for what the plan says; refused for what only the state says.
    pub fn command(
        &mut self,
        now: Now,
        change: &Change,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) -> Result<(), Denied> {
        match change {
            Change::Patch(patch) => self.outputs.patch(now, patch, &self.life, store, transmit),
            Change::Restart(bus) => return self.life.restart(now, *bus),
            Change::Renew(_)
            | Change::Force { .. }
            | Change::Release(_)
            | Change::Arm
            | Change::Disarm
            | Change::Remote(_)
            | Change::Route { .. } => return Err(Denied::NotArmed),
        }
        Ok(())
    }

    /// When [`Event::Timer`] is wanted next, CLOCK_MONOTONIC nanoseconds; `u64::MAX` for never.
    pub fn next_due(&self) -> u64 {
        self.outputs.next_due().min(self.inputs.next_due()).min(self.life.next_due())
    }

    /// The state of a bus.
    pub fn bus_state(&self, bus: BusIndex) -> BusState {
        self.life.state(bus)
    }

    /// CLOCK_MONOTONIC nanoseconds until which nothing of ours is sent on a bus that is up (quarantine, listening); 0: none.
    pub fn silent_until(&self, bus: BusIndex) -> u64 {
        self.life.silent_until(bus)
    }

    /// Something that only others can do for a bus, once; to be asked after each step and command until there is none.
    pub fn take_wish(&mut self) -> Option<(BusIndex, Wish)> {
        self.life.take_wish()
    }

    fn receive(&mut self, now: Now, bus: usize, frame: &Frame, source_time: u64, store: &mut Writer) {
        if frame.remote {
            // a request carries no data; nobody answers it (message transmission is by cycle and write)
            return;
        }
        let message = self.lookups[bus].get(frame.id).map(|at| self.first_message[bus] + at);
        let known = message.is_some_and(|message| self.inputs.receive(now, message, frame, source_time, bus, store));
        if !known {
            store.add_bus(bus, BusWord::UnknownFrames, 1);
        }
    }
}
