//! Where each alarm of the plan is in the store, found once.

use crate::plan::{Alarm, AlarmIndex, BusIndex, LinkIndex, MessageIndex, Plan, RouteIndex};
use crate::store::Writer;

use super::Now;

/// The alarms of the plan by what they are about.
pub(super) struct Alarms {
    not_armed: Option<AlarmIndex>,
    forced: Option<AlarmIndex>,
    overrun: Option<AlarmIndex>,
    taken_back: Option<AlarmIndex>,
    not_retained: Option<AlarmIndex>,
    buses: Vec<[Option<AlarmIndex>; 6]>,
    /// Sent: foreign sender, fallback; received: late, protection.
    messages: Vec<[Option<AlarmIndex>; 4]>,
    storms: Vec<Option<AlarmIndex>>,
    links: Vec<Option<AlarmIndex>>,
    limits: Vec<Option<AlarmIndex>>,
    off_normals: Vec<Option<AlarmIndex>>,
}

impl Alarms {
    pub fn new(plan: &Plan) -> Alarms {
        let mut alarms = Alarms {
            not_armed: None,
            forced: None,
            overrun: None,
            taken_back: None,
            not_retained: None,
            buses: vec![[None; 6]; plan.buses.len()],
            messages: vec![[None; 4]; plan.messages.len()],
            storms: vec![None; plan.routes.len()],
            links: vec![None; plan.links.len()],
            limits: vec![None; plan.limits.len()],
            off_normals: vec![None; plan.off_normals.len()],
        };
        for (index, alarm) in plan.alarms.iter().enumerate() {
            *alarms.place(*alarm) = Some(index);
        }
        alarms
    }

    /// Raises or ends an alarm; nothing happens where it is so already.
    pub fn set(&mut self, alarm: Alarm, active: bool, detail: u64, now: Now, store: &mut Writer) {
        if let Some(index) = *self.place(alarm) {
            store.alarm(index, active, detail, now.realtime);
        }
    }

    fn place(&mut self, alarm: Alarm) -> &mut Option<AlarmIndex> {
        match alarm {
            Alarm::NotArmed => &mut self.not_armed,
            Alarm::Forced => &mut self.forced,
            Alarm::Overrun => &mut self.overrun,
            Alarm::TakenBack => &mut self.taken_back,
            Alarm::InterfaceGone(bus) => self.bus(bus, 0),
            Alarm::BusOff(bus) => self.bus(bus, 1),
            Alarm::BusErrors(bus) => self.bus(bus, 2),
            Alarm::Flapping(bus) => self.bus(bus, 3),
            Alarm::FramesLost(bus) => self.bus(bus, 4),
            Alarm::TransmitDropped(bus) => self.bus(bus, 5),
            Alarm::ForeignSender(message) => self.message(message, 0),
            Alarm::Fallback(message) => self.message(message, 1),
            Alarm::Late(message) => self.message(message, 2),
            Alarm::Protection(message) => self.message(message, 3),
            Alarm::Storm(route) => self.storm(route),
            Alarm::Link(link) => self.link(link),
            Alarm::NotRetained => &mut self.not_retained,
            Alarm::Limit(at) => &mut self.limits[at],
            Alarm::OffNormal(at) => &mut self.off_normals[at],
        }
    }

    fn bus(&mut self, bus: BusIndex, which: usize) -> &mut Option<AlarmIndex> {
        &mut self.buses[bus][which]
    }

    fn message(&mut self, message: MessageIndex, which: usize) -> &mut Option<AlarmIndex> {
        &mut self.messages[message][which]
    }

    fn storm(&mut self, route: RouteIndex) -> &mut Option<AlarmIndex> {
        &mut self.storms[route]
    }

    fn link(&mut self, link: LinkIndex) -> &mut Option<AlarmIndex> {
        &mut self.links[link]
    }
}
