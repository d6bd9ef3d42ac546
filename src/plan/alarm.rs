//! Everything that can be wrong: what it is called, how bad it is, what it says.

use super::{BusIndex, LinkIndex, MessageIndex, Plan, RouteIndex};

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
    /// A value is beyond a limit: an index into [`Plan::limits`]. Its state has one bit for each [`super::Level`].
    Limit(usize),
    /// Conditions hold that should not: an index into [`Plan::off_normals`].
    OffNormal(usize),
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
            Alarm::Limit(_) => "limit",
            Alarm::OffNormal(_) => "off_normal",
        }
    }

    /// Its identity for good, over reloads and restarts: `late:line.DriveStatus`; `alarm:oven_hot` where a configuration
    /// names it. No two alarms of a plan have the same.
    pub fn key(self, plan: &Plan) -> String {
        match self {
            Alarm::Limit(_) | Alarm::OffNormal(_) => format!("alarm:{}", self.subject(plan)),
            _ => format!("{}:{}", self.label(), self.subject(plan)),
        }
    }

    /// 1 to 1000 (OPC 10000-5, 6.4.2): the most that it can be. 801 and more: the machine can't do its work; 601: part of it
    /// can't; 401: something is wrong that it works with; below: to be known.
    pub fn severity(self, plan: &Plan) -> u16 {
        self.severity_at(plan, u8::MAX)
    }

    /// The same in one state: that of the most severe level among its bits.
    pub fn severity_at(self, plan: &Plan, state: u8) -> u16 {
        match self {
            Alarm::InterfaceGone(_) | Alarm::BusOff(_) => 900,
            Alarm::ForeignSender(_) => 850,
            Alarm::NotArmed | Alarm::Fallback(_) => 800,
            Alarm::TakenBack | Alarm::Storm(_) => 700,
            Alarm::Late(_) | Alarm::Protection(_) | Alarm::Link(_) => 650,
            Alarm::BusErrors(_) | Alarm::Flapping(_) => 600,
            Alarm::Overrun | Alarm::FramesLost(_) | Alarm::TransmitDropped(_) | Alarm::NotRetained => 500,
            Alarm::Forced => 300,
            Alarm::Limit(limit) => plan.limits[limit].severity_at(state),
            Alarm::OffNormal(at) => plan.off_normals[at].severity,
        }
    }

    /// What it is about: a bus, `bus.Message`, a route or a link by name; `machine`; a configured one by its name.
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
            Alarm::Limit(limit) => plan.limits[limit].name.clone(),
            Alarm::OffNormal(at) => plan.off_normals[at].name.clone(),
        }
    }

    /// What is wrong, for the person who is called: one sentence, without the subject.
    pub fn text(self, plan: &Plan) -> &str {
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
            Alarm::Limit(limit) => &plan.limits[limit].text,
            Alarm::OffNormal(at) => &plan.off_normals[at].text,
        }
    }
}
