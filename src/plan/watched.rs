//! What is watched: times to keep, and everything that can be wrong.

use super::{
    AlarmIndex, BusIndex, ContractIndex, Direction, Immediate, LinkIndex, MessageIndex, Plan, RouteIndex, TagIndex,
};

/// Something with a time to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    pub of: Timed,
    /// Nanoseconds.
    pub budget: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timed {
    /// From the receive stamp to the return of the transmit call.
    Route(RouteIndex),
    /// From the receive stamp of the source to the return of the transmit call of the frame that carries it.
    Link(LinkIndex),
    /// From the moment of the cycle to the return of the transmit call.
    Cycle(MessageIndex),
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alarm {
    /// The outputs have their fallback values until armed.
    NotArmed,
    /// Forces are in force.
    Forced,
    /// A cycle or a route missed its budget within the last minute.
    Overrun,
    /// A new configuration missed its times, and the one before it is in force again.
    TakenBack,
    /// The interface is down or does not exist. Detail: the state as a number.
    InterfaceGone(BusIndex),
    /// Detail: the likely cause (`store::layout::Trouble`) as a number.
    BusOff(BusIndex),
    /// Error-passive or error warning. Detail: the same.
    BusErrors(BusIndex),
    /// It left the bus or its interface three times within five minutes; over after ten minutes on the bus. Detail: how often
    /// it left since.
    Flapping(BusIndex),
    /// Frames were lost on receiving within the last minute.
    FramesLost(BusIndex),
    /// Frames could not be sent within the last minute.
    TransmitDropped(BusIndex),
    /// Somebody else sends one of our messages; it is stopped.
    ForeignSender(MessageIndex),
    /// One of our messages has its fallback values.
    Fallback(MessageIndex),
    /// A received message is late.
    Late(MessageIndex),
    /// A received message has a wrong checksum or counter.
    Protection(MessageIndex),
    /// A route took more frames than it may, and is off.
    Storm(RouteIndex),
    /// The source of a link is not good.
    Link(LinkIndex),
    /// Retained values can't be written.
    NotRetained,
}

impl Alarm {
    /// Its kind, for labels.
    pub fn label(self) -> &'static str {
        match self {
            Alarm::NotArmed => "not_armed",
            Alarm::Forced => "forced",
            Alarm::Overrun => "overrun",
            Alarm::TakenBack => "taken_back",
            Alarm::InterfaceGone(_) => "interface_gone",
            Alarm::BusOff(_) => "bus_off",
            Alarm::BusErrors(_) => "bus_errors",
            Alarm::Flapping(_) => "flapping",
            Alarm::FramesLost(_) => "frames_lost",
            Alarm::TransmitDropped(_) => "transmit_dropped",
            Alarm::ForeignSender(_) => "foreign_sender",
            Alarm::Fallback(_) => "fallback",
            Alarm::Late(_) => "late",
            Alarm::Protection(_) => "protection",
            Alarm::Storm(_) => "storm",
            Alarm::Link(_) => "link",
            Alarm::NotRetained => "not_retained",
        }
    }

    /// What it is about: a bus, `bus.Message`, a route or a link by name; `machine`.
    pub fn subject(self, plan: &Plan) -> String {
        match self {
            Alarm::NotArmed | Alarm::Forced | Alarm::Overrun | Alarm::TakenBack | Alarm::NotRetained => {
                "machine".into()
            }
            Alarm::InterfaceGone(bus)
            | Alarm::BusOff(bus)
            | Alarm::BusErrors(bus)
            | Alarm::Flapping(bus)
            | Alarm::FramesLost(bus)
            | Alarm::TransmitDropped(bus) => plan.buses[bus].name.clone(),
            Alarm::ForeignSender(message)
            | Alarm::Fallback(message)
            | Alarm::Late(message)
            | Alarm::Protection(message) => plan.message_name(message, None),
            Alarm::Storm(route) => plan.routes[route].name.clone(),
            Alarm::Link(link) => plan.links[link].name.clone(),
        }
    }

    /// What is wrong, for the person who is called: one sentence, without the subject.
    pub fn text(self) -> &'static str {
        match self {
            Alarm::NotArmed => "the outputs have their fallback values until they are armed",
            Alarm::Forced => "values are forced",
            Alarm::Overrun => "frames left later than their budget within the last minute",
            Alarm::TakenBack => "the configuration before is in force again: the new one missed its times",
            Alarm::InterfaceGone(_) => "the interface is down or does not exist",
            Alarm::BusOff(_) => "bus off: nothing is sent or received",
            Alarm::BusErrors(_) => "many errors on the bus",
            Alarm::Flapping(_) => "the bus goes and comes again and again",
            Alarm::FramesLost(_) => "received frames were lost within the last minute",
            Alarm::TransmitDropped(_) => "frames could not be sent within the last minute",
            Alarm::ForeignSender(_) => "another node sends this message of ours; ours is stopped until armed again",
            Alarm::Fallback(_) => "the message has its fallback values until armed again",
            Alarm::Late(_) => "the message is late; its last values are held",
            Alarm::Protection(_) => "the message comes with a wrong checksum or counter",
            Alarm::Storm(_) => "the route took more frames than it may and is off until it is switched on",
            Alarm::Link(_) => "the source of the link is not good",
            Alarm::NotRetained => "retained values can't be written to the disk: they would be lost with the power",
        }
    }
}

impl Plan {
    /// Fills `contracts` and `alarms`, once everything else is there.
    pub fn number(&mut self) {
        let cycles = self.messages.iter().enumerate().filter_map(|(index, message)| match &message.direction {
            Direction::Output(t) if t.period.is_some() || t.active.is_some() => {
                Some(Contract { of: Timed::Cycle(index), budget: t.budget })
            }
            _ => None,
        });
        let routes = self.routes.iter().enumerate();
        let links = self.links.iter().enumerate();
        self.contracts = routes
            .map(|(index, route)| Contract { of: Timed::Route(index), budget: route.budget })
            .chain(links.map(|(index, link)| {
                let budget = link.budget.saturating_add(self.cycle_of(link.to));
                Contract { of: Timed::Link(index), budget }
            }))
            .chain(cycles)
            .collect();
        let mut alarms = vec![Alarm::NotArmed, Alarm::Forced, Alarm::Overrun, Alarm::TakenBack];
        for bus in 0..self.buses.len() {
            alarms.extend([
                Alarm::InterfaceGone(bus),
                Alarm::BusOff(bus),
                Alarm::BusErrors(bus),
                Alarm::Flapping(bus),
                Alarm::FramesLost(bus),
                Alarm::TransmitDropped(bus),
            ]);
        }
        for (index, message) in self.messages.iter().enumerate() {
            match message.direction {
                Direction::Output(_) => alarms.extend([Alarm::ForeignSender(index), Alarm::Fallback(index)]),
                Direction::Input(_) => alarms.extend([Alarm::Late(index), Alarm::Protection(index)]),
            }
        }
        alarms.extend((0..self.routes.len()).map(Alarm::Storm));
        alarms.extend((0..self.links.len()).map(Alarm::Link));
        if self.tags.iter().any(|tag| tag.retained) {
            alarms.push(Alarm::NotRetained);
        }
        self.alarms = alarms;
    }

    /// Nanoseconds that a value of a tag of ours may wait for its cycle: 0 where it is sent at once.
    fn cycle_of(&self, tag: TagIndex) -> u64 {
        let tag = &self.tags[tag];
        match &self.messages[tag.message].direction {
            Direction::Output(transmission) if tag.immediate == Immediate::No => transmission.period.unwrap_or(0),
            Direction::Output(_) | Direction::Input(_) => 0,
        }
    }

    /// Where an alarm is in the store.
    pub fn alarm(&self, alarm: Alarm) -> Option<AlarmIndex> {
        self.alarms.iter().position(|known| *known == alarm)
    }

    /// Where the times of something are in the store.
    pub fn contract(&self, of: Timed) -> Option<ContractIndex> {
        self.contracts.iter().position(|known| known.of == of)
    }
}
