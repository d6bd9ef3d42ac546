//! The machine's behaviour as a pure state machine: events in, records and frames out. No clock, no socket, no log.
//!
//! Everything is allocated by [`Control::new`]; [`Control::step`] allocates nothing, takes no lock and runs for a time
//! that the plan bounds.

mod adopt;
mod alarm;
mod authority;
mod condition;
mod configured;
mod due;
mod life;
mod link;
mod names;
mod queue;
mod receive;
mod route;
mod transmit;

use crate::bus::error_frame::ErrorFrame;
use crate::can::{Frame, FrameId};
use crate::command::{Change, Denied, Patch, Place};
use crate::dbc::Lookup;
use crate::plan::{BusIndex, Condition, ContractIndex, Direction, MessageIndex, Plan, RouteIndex};
use crate::store::Writer;
use crate::store::layout::{BusState, BusWord, RouteWord, Word};
pub use adopt::State;
use authority::Authority;
use configured::Configured;
use life::Life;
pub use life::Wish;
use link::{Links, Means};
use names::Names;
pub use queue::Transmit;
use receive::Inputs;
use route::{Arrival, Routes};
use transmit::{Outputs, Written};

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
    /// Frames were lost before now, by the kernel or by the CAN controller; 0: nobody knows how many.
    Lost { bus: usize, frames: u64 },
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
    /// The last one of a message that the plan in force does not have: it leaves as it is.
    Last,
}

/// What became of a frame that was handed to its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken, and the call returned at this moment (CLOCK_MONOTONIC nanoseconds).
    At(u64),
    /// A routed frame was taken; where a contract asks, [`Control::measured`] follows.
    Later,
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
    links: Links,
    /// By message: the identifier that is ours alone, where we send it.
    own: Vec<Option<FrameId>>,
    authority: Authority,
    inputs: Inputs,
    outputs: Outputs,
    configured: Configured,
    names: Names,
    life: Life,
    reload_when: Box<[Condition]>,
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
            links: Links::new(plan),
            own: plan
                .messages
                .iter()
                .map(|planned| match planned.direction {
                    Direction::Output(_) => Some(planned.message.id),
                    Direction::Input(_) => None,
                })
                .collect(),
            authority: Authority::new(plan),
            inputs: Inputs::new(plan),
            outputs: Outputs::new(plan, start),
            configured: Configured::new(plan),
            names: Names::new(plan),
            life: Life::new(plan),
            reload_when: plan.machine.reload_when.clone().into(),
        }
    }

    /// The controller before this one did not end in order (it crashed, or was killed): whatever the plan says, nothing
    /// commands until it is armed by the command. Before [`Control::start`].
    pub fn after_unclean_end(&mut self) {
        self.authority.only_by_hand();
    }

    /// What was retained before this start, as a checked write. Before [`Control::start`].
    pub fn restore(&mut self, retained: &Patch) {
        self.authority.restore(retained.message, &retained.bits);
    }

    /// Shows the outputs' start values in the store. Once, before the first step.
    pub fn start(&mut self, now: Now, store: &mut Writer) {
        self.life.start(now);
        self.authority.start(now, store);
        self.outputs.show_all(now, &self.authority, store);
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
                if self.life.error(now, bus, error, store).overflow {
                    self.inputs.lost(now, bus, 0, store);
                }
                self.open_or_close(bus, now, store, transmit);
            }
            Event::Lost { bus, frames } => self.inputs.lost(now, bus, frames, store),
            Event::Timer => {
                self.life.timer(now, store);
                for bus in 0..self.first_message.len() {
                    self.open_or_close(bus, now, store, transmit);
                }
                transmit.timer(now, store);
                // first what a frame may say, then the frames
                self.authority.timer(now, store);
                self.inputs.timer(now, store);
                self.names.timer(now, store);
                self.settle(now, store, transmit);
                self.alarms_due(now, store);
                self.outputs.timer(now, &self.authority, store, transmit);
            }
        }
        self.authority_changed(now, store, transmit);
    }

    /// Lets inputs follow the forces that have ended, and what depends on inputs those that changed without a frame.
    fn settle(&mut self, now: Now, store: &mut Writer, transmit: &mut Transmit) {
        while let Some(tag) = self.authority.take_released() {
            self.inputs.release(now, tag, store);
        }
        while let Some(message) = self.inputs.take_changed() {
            let (links, mut means) = self.links_and_means(store, transmit);
            links.changed(now, message, &mut means);
            self.authority.look(now, message, &self.inputs, store);
            self.look_for_alarms(now, 0, message, store);
        }
        let (links, mut means) = self.links_and_means(store, transmit);
        links.timer(now, &mut means);
    }

    /// Shows and sends what the authority has changed by itself.
    fn authority_changed(&mut self, now: Now, store: &mut Writer, transmit: &mut Transmit) {
        self.settle(now, store, transmit);
        loop {
            while let Some(message) = self.authority.take_changed() {
                self.outputs.changed(now, message, &self.authority.compose(message), store, transmit);
            }
            while let Some(message) = self.outputs.take_touched() {
                self.look_for_alarms(now, 0, message, store);
            }
            // an alarm about an output may have latched others; each is latched once until armed, so this ends
            if !self.authority.has_changed() {
                return;
            }
        }
    }

    /// Alarms of the configuration that look at a message. `source_time`: of the frame that brought it; 0 for none.
    fn look_for_alarms(&mut self, now: Now, source_time: u64, message: MessageIndex, store: &mut Writer) {
        if self.configured.looks_at(message) {
            let Control { inputs, authority, configured, .. } = self;
            configured.look(now, source_time, message, &mut configured::Means { inputs, authority, store });
        }
    }

    /// Alarms of the configuration whose delay has passed.
    fn alarms_due(&mut self, now: Now, store: &mut Writer) {
        let Control { inputs, authority, configured, .. } = self;
        configured.timer(now, &mut configured::Means { inputs, authority, store });
    }

    /// One command, already checked for what the plan says; refused for what only the state says.
    pub fn command(
        &mut self,
        now: Now,
        place: Place,
        change: &Change,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) -> Result<(), Denied> {
        let allowed = self.authority.may_be_asked(place, change);
        let result = allowed.and_then(|()| self.carry_out(now, place, change, store, transmit));
        store.add(if result.is_ok() { Word::Commands } else { Word::CommandsRefused }, 1);
        self.authority_changed(now, store, transmit);
        result
    }

    fn carry_out(
        &mut self,
        now: Now,
        place: Place,
        change: &Change,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) -> Result<(), Denied> {
        match *change {
            Change::Patch(ref patch) => {
                let changed = self.authority.write(now, patch.message, &patch.bits, store)?;
                let composed = self.authority.compose(patch.message);
                let Patch { message, immediate, repeated, .. } = *patch;
                let written = Written { message, changed, immediate, repeated, link: None };
                store.add(Word::Writes, 1);
                self.outputs.written(now, written, &composed, store, transmit);
                Ok(())
            }
            Change::Renew(message) => self.authority.renew(now, message),
            Change::Force { tag, ref bits, raw, until } => {
                self.authority.force(now, (tag, bits, raw), place, until, store)?;
                self.inputs.force(now, tag, bits, store);
                Ok(())
            }
            Change::Release(tag) => self.authority.release(now, tag, place, store),
            Change::Arm => self.authority.arm(now, store),
            Change::Disarm => {
                self.authority.disarm(now, store);
                Ok(())
            }
            Change::Fallback(message) => {
                self.authority.fallback(now, message, store);
                Ok(())
            }
            Change::ResetFallback(message) => self.authority.reset(now, message, store),
            Change::Remote(remote) => self.authority.set_remote(remote, store),
            Change::Restart(bus) => self.life.restart(now, bus),
            Change::Route { route, on } => {
                self.routes.switch(route, on, now, store);
                Ok(())
            }
        }
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
        loop {
            while let Some(bus) = transmit.take_ready() {
                while let Some(outgoing) = transmit.first(bus, now, store) {
                    if let Key::Message(message) = outgoing.key {
                        let composed = self.authority.compose(message);
                        if !composed.send {
                            transmit.withdraw_first(bus, store);
                            continue;
                        }
                        self.outputs.fill(message, &composed, &mut outgoing.frame);
                    }
                    match send(bus, outgoing) {
                        Sent::At(moment) => {
                            self.sent(now, moment, bus, outgoing, store);
                            if let Some(contract) = outgoing.contract
                                && self.outputs.measured(contract, moment.saturating_sub(outgoing.began), now, store)
                                && let Key::Message(message) = outgoing.key
                            {
                                self.authority.overrun(now, message, store);
                            }
                            transmit.remove_first(bus);
                        }
                        Sent::Later => {
                            self.sent(now, now.monotonic, bus, outgoing, store);
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
            if !self.authority.has_changed() {
                return;
            }
            // an overrun has latched: what that changes leaves now too, and latches no more
            self.authority_changed(now, store, transmit);
        }
    }

    /// Opens or closes the queue of a bus, as its life is.
    fn open_or_close(&mut self, bus: BusIndex, now: Now, store: &mut Writer, transmit: &mut Transmit) {
        self.inputs.bus(now, bus, self.life.state(bus));
        let open = self.life.can_send(bus, now.monotonic);
        if open != transmit.is_open(bus) {
            transmit.set_open(bus, open, now, store);
        }
        let life = (self.life.state(bus), self.life.silent_until(bus));
        self.authority.bus(now, bus, life, &self.inputs, store);
    }

    fn links_and_means<'a>(
        &'a mut self,
        store: &'a mut Writer,
        transmit: &'a mut Transmit,
    ) -> (&'a mut Links, Means<'a>) {
        let Control { inputs, authority, outputs, links, .. } = self;
        (links, Means { inputs, authority, outputs, store, transmit })
    }

    fn sent(&mut self, now: Now, moment: u64, bus: BusIndex, outgoing: &Outgoing, store: &mut Writer) {
        store.publish(bus, &outgoing.frame, now.realtime, true);
        store.count_sent(bus, &outgoing.frame);
        match outgoing.key {
            Key::Message(message) => {
                self.outputs.sent(message, now, moment, &self.authority.compose(message), store);
            }
            Key::Route(route) => store.add_route(route, RouteWord::Passed, 1),
            Key::Last => {}
        }
    }

    /// What a routed frame has taken, in nanoseconds, where [`Sent::Later`] was the answer.
    pub fn measured(&mut self, contract: ContractIndex, took: u64, now: Now, store: &mut Writer) {
        // an overrun of a route concerns no output: the alarm tells it
        self.outputs.measured(contract, took, now, store);
    }

    /// When [`Event::Timer`] is wanted next, CLOCK_MONOTONIC nanoseconds; `u64::MAX` for never.
    pub fn next_due(&self) -> u64 {
        let outputs = self.outputs.next_due().min(self.authority.next_due());
        let inputs = self.inputs.next_due().min(self.configured.next_due());
        outputs.min(inputs).min(self.life.next_due()).min(self.links.next_due()).min(self.names.next_due())
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
        // whether a DBC file describes it or not
        let understood = self.names.receive(now, bus, frame, source_time, store) || routed;
        let message = self.lookups[bus].get(frame.id).map(|at| self.first_message[bus] + at);
        if frame.remote {
            // a request carries no data; nobody answers it (message transmission is by cycle and write)
            if message.is_none() && !understood {
                store.add_bus(bus, BusWord::UnknownFrames, 1);
            }
            return;
        }
        if let Some(message) = message
            && self.own[message] == Some(frame.id)
        {
            // we do not hear ourselves: there is another one
            return self.authority.foreign(now, message, store);
        }
        let known = message.filter(|message| self.inputs.receive(now, *message, frame, source_time, store));
        if let Some(message) = known {
            let began = now.moment_of(source_time);
            let (links, mut means) = self.links_and_means(store, transmit);
            links.received(now, began, message, &mut means);
            self.authority.look(now, message, &self.inputs, store);
            self.look_for_alarms(now, source_time, message, store);
        } else if !understood {
            store.add_bus(bus, BusWord::UnknownFrames, 1);
        }
    }
}
