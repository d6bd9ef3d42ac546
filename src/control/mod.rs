//! The machine's behaviour as a pure state machine: events in, records and frames out. No clock, no socket, no log.
//!
//! Everything is allocated by [`Control::new`]; [`Control::step`] allocates nothing, takes no lock and runs for a time
//! that the plan bounds.

mod alarm;
mod condition;
mod due;
mod life;
mod queue;
mod receive;
mod route;
mod transmit;

use crate::bus::error_frame::ErrorFrame;
use crate::can::Frame;
use crate::command::{Change, Denied};
use crate::dbc::Lookup;
use crate::plan::{BusIndex, ContractIndex, MessageIndex, Plan, RouteIndex};
use crate::store::Writer;
use crate::store::layout::{BusState, BusWord, RouteWord};
use life::Life;
pub use life::Wish;
pub use queue::Transmit;
use receive::Inputs;
use route::{Arrival, Routes};
use transmit::Outputs;

/// The time of an event, as the loop read it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_MONOTONIC, nanoseconds: deadlines.
    pub monotonic: u64,
    /// CLOCK_REALTIME, nanoseconds since 1970: stamps only.
    pub realtime: u64,
}

impl Now {
    /// The moment (CLOCK_MONOTONIC) of a stamp of CLOCK_REALTIME that is not in the future.
    pub fn moment_of(self, stamp: u64) -> u64 {
        self.monotonic.saturating_sub(self.realtime.saturating_sub(stamp))
    }
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
    /// Of a message of ours only the identifier, format and length count: the payload is put in when it is sent.
    pub frame: Frame,
    pub key: Key,
    /// CLOCK_MONOTONIC nanoseconds after which it is worth nothing.
    pub stale: u64,
    /// What is measured when it has left, from `began` (CLOCK_MONOTONIC nanoseconds, see [`Now::moment_of`]) on.
    pub contract: Option<ContractIndex>,
    pub began: u64,
}

/// Whose frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Message(MessageIndex),
    Route(RouteIndex),
}

/// What became of a frame that was handed to its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken, and the call returned at this moment (CLOCK_MONOTONIC nanoseconds; any where no contract asks).
    At(u64),
    /// The queue behind is full (ENOBUFS, EAGAIN): later.
    Busy,
    /// There is no bus any more (ENETDOWN, ENXIO).
    NoBus,
    /// Any other error.
    Refused,
}

/// All state of the machine side.
pub struct Control {
    /// By bus: identifier to position among the messages of the bus.
    lookups: Vec<Lookup>,
    /// By bus: index of its first message.
    first_message: Vec<usize>,
    routes: Routes,
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
            routes: Routes::new(plan),
            inputs: Inputs::new(plan),
            outputs: Outputs::new(plan, start),
            life: Life::new(plan),
        }
    }

    /// Shows the outputs' start values in the store. Once, before the first step.
    pub fn start(&mut self, now: Now, store: &mut Writer) {
        self.life.start(now);
        self.outputs.show_all(now, store);
    }

    /// One event.
    pub fn step(&mut self, now: Now, event: Event<'_>, store: &mut Writer, transmit: &mut Transmit) {
        match event {
            Event::Received { bus, frame, source_time } => self.receive(now, bus, frame, source_time, store, transmit),
            Event::Bus { bus, state } => {
                self.life.interface(now, bus, state, store);
                self.open_or_close(bus, now, store, transmit);
            }
            Event::Error { bus, error } => {
                self.life.error(now, bus, error, store);
                self.open_or_close(bus, now, store, transmit);
            }
            Event::Timer => {
                self.life.timer(now, store);
                for bus in 0..self.first_message.len() {
                    self.open_or_close(bus, now, store, transmit);
                }
                transmit.timer(now, store);
                self.outputs.timer(now, store, transmit);
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
            Change::Patch(patch) => self.outputs.patch(now, patch, store, transmit),
            Change::Restart(bus) => return self.life.restart(now, *bus),
            Change::Renew(_)
            | Change::Force { .. }
            | Change::Release(_)
            | Change::Arm
            | Change::Disarm
            | Change::Remote(_) => return Err(Denied::NotArmed),
            Change::Route { route, on } => self.routes.switch(*route, *on, now, store),
        }
        Ok(())
    }

    /// Hands what waits to the buses, after each step: all of it, or until a bus takes no more. `send` sees the frame as it
    /// leaves.
    pub fn flush(
        &mut self,
        now: Now,
        store: &mut Writer,
        transmit: &mut Transmit,
        mut send: impl FnMut(BusIndex, &Outgoing) -> Sent,
    ) {
        while let Some(bus) = transmit.take_ready() {
            while let Some(outgoing) = transmit.first(bus, now, store) {
                if let Key::Message(message) = outgoing.key {
                    self.outputs.fill(message, &mut outgoing.frame);
                }
                match send(bus, outgoing) {
                    Sent::At(moment) => {
                        self.sent(now, moment, bus, outgoing, store);
                        transmit.remove_first(bus);
                    }
                    Sent::Busy => {
                        transmit.busy(bus, now, store);
                        break;
                    }
                    Sent::NoBus => transmit.refuse_first(bus, BusWord::TransmitNoBus, now, store),
                    Sent::Refused => transmit.refuse_first(bus, BusWord::TransmitRefused, now, store),
                }
            }
        }
    }

    /// Opens or closes the queue of a bus, as its life is.
    fn open_or_close(&mut self, bus: BusIndex, now: Now, store: &mut Writer, transmit: &mut Transmit) {
        let open = self.life.can_send(bus, now.monotonic);
        if open != transmit.is_open(bus) {
            transmit.set_open(bus, open, now, store);
        }
    }

    fn sent(&mut self, now: Now, moment: u64, bus: BusIndex, outgoing: &Outgoing, store: &mut Writer) {
        store.add_bus(bus, BusWord::TransmittedFrames, 1);
        store.add_bus(bus, BusWord::TransmittedBytes, outgoing.frame.payload().len() as u64);
        match outgoing.key {
            Key::Message(message) => self.outputs.sent(message, now, store),
            Key::Route(route) => store.add_route(route, RouteWord::Passed, 1),
        }
        if let Some(contract) = outgoing.contract {
            self.outputs.measured(contract, moment.saturating_sub(outgoing.began), now, store);
        }
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

    fn receive(
        &mut self,
        now: Now,
        bus: usize,
        frame: &Frame,
        source_time: u64,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        // first, because somebody waits for it
        let routed = self.routes.receive(Arrival { now, bus, frame, source_time }, store, transmit);
        if frame.remote {
            // a request carries no data; nobody answers it (message transmission is by cycle and write)
            return;
        }
        let message = self.lookups[bus].get(frame.id).map(|at| self.first_message[bus] + at);
        let known = message.is_some_and(|message| self.inputs.receive(now, message, frame, source_time, bus, store));
        if !known && !routed {
            store.add_bus(bus, BusWord::UnknownFrames, 1);
        }
    }
}
