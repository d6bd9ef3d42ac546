//! What is watched: times to keep, and everything that can be wrong, each numbered.

use super::{
    Alarm, AlarmIndex, ContractIndex, Direction, Immediate, LinkIndex, MessageIndex, Plan, RouteIndex, TagIndex,
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

impl Plan {
    /// Fills `contracts`, `alarms` and their causes, and numbers the tables of NAMEs, once everything else is there.
    pub fn number(&mut self) {
        let mut tables = 0..;
        for bus in &mut self.buses {
            let is_j1939 = self.messages[bus.messages.clone()].iter().any(|message| message.message.pgn.is_some());
            bus.names = if is_j1939 { tables.next() } else { None };
        }
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
        alarms.extend((0..self.limits.len()).map(Alarm::Limit));
        alarms.extend((0..self.off_normals.len()).map(Alarm::OffNormal));
        self.alarms = alarms;
        self.alarm_causes = super::consequence::causes(self);
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

    /// The alarms of which this one is a consequence: while one of them is active, this one is suppressed (OPC 10000-9,
    /// 5.8.2: SuppressedState). Sorted.
    pub fn causes(&self, alarm: AlarmIndex) -> &[AlarmIndex] {
        self.alarm_causes.get(alarm).map_or(&[], |causes| causes)
    }

    /// The alarm of which an active one is a consequence, given those that are active with their time: the one that was active
    /// first among those that are no consequences themselves. `None`: it is none.
    pub fn cause(&self, alarm: AlarmIndex, since: impl Fn(AlarmIndex) -> Option<u64>) -> Option<AlarmIndex> {
        let own = |cause: &AlarmIndex| !self.causes(*cause).iter().any(|further| since(*further).is_some());
        let active = self.causes(alarm).iter().copied().filter_map(|cause| Some((since(cause)?, cause)));
        let first = active.clone().filter(|(_, cause)| own(cause)).min();
        first.or(active.min()).map(|(_, cause)| cause)
    }

    /// Where the times of something are in the store.
    pub fn contract(&self, of: Timed) -> Option<ContractIndex> {
        self.contracts.iter().position(|known| known.of == of)
    }
}
