//! What of one plan goes on in the next: by name, and only where it is the same thing.
//!
//! Both plans are read here, once, before the next one takes effect; the real-time thread then goes by indices alone.

use std::collections::HashMap;

use super::{
    Alarm, AlarmIndex, BusIndex, ContractIndex, Direction, LinkIndex, MessageIndex, Plan, RouteIndex, TagIndex, Timed,
    Transmission,
};
use crate::dbc;

/// For everything of the new plan what it was in the old one; `None`: it is new, or another thing under the old name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Succession {
    /// The same interface.
    pub buses: Box<[Option<BusIndex>]>,
    /// By table of J1939 NAMEs, of buses that go on.
    pub names: Box<[Option<usize>]>,
    /// The same bits in the same frames, in the same direction: records and what is known about them go on.
    pub messages: Box<[Option<MessageIndex>]>,
    /// Of ours: it goes on as it is sent. Otherwise it enters at its fallback values, also where its record goes on.
    pub continues: Box<[bool]>,
    /// Which message of ours had its identifier on the same bus: what was heard about that one counts for this.
    pub known_ids: Box<[Option<MessageIndex>]>,
    /// By message: counter and checksum are the same.
    pub protection: Box<[bool]>,
    pub tags: Box<[Option<TagIndex>]>,
    pub routes: Box<[Option<RouteIndex>]>,
    pub links: Box<[Option<LinkIndex>]>,
    pub contracts: Box<[Option<ContractIndex>]>,
    pub alarms: Box<[Option<AlarmIndex>]>,
    /// By alarm that does not go on: the one of the configuration that had its name, and looked at the same value where it is a
    /// limit. Its limits or conditions are others.
    pub redefined: Box<[Option<AlarmIndex>]>,
    /// Rows of records that go on: where they begin in the new store, where in the old one, and how many.
    pub records: Box<[(usize, usize, usize)]>,
    /// By message of the old plan: what it is in the new one.
    pub message_after: Box<[Option<MessageIndex>]>,
    /// By message of the old plan: it is sent and does not go on as it is.
    pub leaves: Box<[bool]>,
    /// By tag of the old plan: what it is in the new one, where that may still be forced.
    pub forcible_after: Box<[Option<TagIndex>]>,
    /// By route of the old plan.
    pub route_after: Box<[Option<RouteIndex>]>,
    /// By contract of the old plan.
    pub contract_after: Box<[Option<ContractIndex>]>,
}

impl Succession {
    pub fn new(old: &Plan, new: &Plan) -> Succession {
        let buses: Box<[Option<BusIndex>]> = new
            .buses
            .iter()
            .map(|bus| old.buses.iter().position(|known| known.name == bus.name && known.interface == bus.interface))
            .collect();
        let mut names: HashMap<(BusIndex, &str), MessageIndex> = HashMap::new();
        for (index, message) in old.messages.iter().enumerate() {
            names.insert((message.bus, &message.message.name), index);
        }
        let found = |message: &super::Message| {
            let bus = buses[message.bus]?;
            names.get(&(bus, message.message.name.as_str())).copied()
        };
        let messages: Box<[Option<MessageIndex>]> = new
            .messages
            .iter()
            .map(|message| found(message).filter(|at| same_records(&old.messages[*at], message)))
            .collect();
        let mut succession = Succession {
            known_ids: new.messages.iter().map(|message| was_ours(old, buses[message.bus], message)).collect(),
            protection: new
                .messages
                .iter()
                .zip(&messages)
                .map(|(message, heir)| heir.is_some_and(|at| old.messages[at].protection == message.protection))
                .collect(),
            tags: new
                .tags
                .iter()
                .map(|tag| {
                    // the signals of messages with the same records are the same, in the same order
                    messages[tag.message].map(|message| old.messages[message].tags.start + tag.signal)
                })
                .collect(),
            names: name_tables(old, new, &buses),
            buses,
            messages,
            ..Succession::default()
        };
        succession.links = new.links.iter().map(|link| succession.link(old, new, link)).collect();
        succession.routes = new.routes.iter().map(|route| succession.route(old, route)).collect();
        succession.continues = (0..new.messages.len()).map(|message| succession.output(old, new, message)).collect();
        let mut leaves: Box<[bool]> =
            old.messages.iter().map(|message| matches!(message.direction, Direction::Output(_))).collect();
        for (heir, continues) in succession.messages.iter().zip(&succession.continues) {
            if let (Some(at), true) = (heir, continues) {
                leaves[*at] = false;
            }
        }
        succession.leaves = leaves;
        // a link goes on with the message that it fills
        succession.links = (0..new.links.len())
            .map(|link| {
                let message = new.tags[new.links[link].to].message;
                succession.links[link].filter(|_| succession.continues[message])
            })
            .collect();
        let contracts: HashMap<Timed, ContractIndex> =
            old.contracts.iter().enumerate().map(|(index, contract)| (contract.of, index)).collect();
        let alarms: HashMap<Alarm, AlarmIndex> =
            old.alarms.iter().enumerate().map(|(index, alarm)| (*alarm, index)).collect();
        succession.contracts =
            new.contracts.iter().map(|contract| contracts.get(&succession.timed(contract.of)?).copied()).collect();
        succession.alarms =
            new.alarms.iter().map(|alarm| alarms.get(&succession.alarm(old, new, *alarm)?).copied()).collect();
        let redefined = |(alarm, heir): (&Alarm, &Option<AlarmIndex>)| match heir {
            Some(_) => None,
            None => alarms.get(&succession.redefined(old, new, *alarm)?).copied(),
        };
        succession.redefined = new.alarms.iter().zip(&succession.alarms).map(redefined).collect();
        succession.message_after = after(&succession.messages, old.messages.len());
        succession.route_after = after(&succession.routes, old.routes.len());
        succession.contract_after = after(&succession.contracts, old.contracts.len());
        succession.forcible_after = after(&succession.tags, old.tags.len())
            .iter()
            .map(|tag| tag.filter(|tag| new.tags[*tag].forcible))
            .collect();
        succession.records = new
            .messages
            .iter()
            .zip(&succession.messages)
            .filter_map(|(message, heir)| {
                let before = &old.messages[(*heir)?];
                Some((message.first_record, before.first_record, message.records().min(before.records())))
            })
            .collect();
        succession
    }

    /// What had this time to keep in the old plan.
    fn timed(&self, timed: Timed) -> Option<Timed> {
        Some(match timed {
            Timed::Route(at) => Timed::Route(self.routes[at]?),
            Timed::Link(at) => Timed::Link(self.links[at]?),
            Timed::Cycle(at) => Timed::Cycle(self.messages[at]?),
        })
    }

    /// The alarm of the old plan.
    fn alarm(&self, old: &Plan, new: &Plan, alarm: Alarm) -> Option<Alarm> {
        let (bus, message) = (|at: BusIndex| self.buses[at], |at: MessageIndex| self.messages[at]);
        Some(match alarm {
            Alarm::NotArmed | Alarm::Forced | Alarm::Overrun | Alarm::TakenBack | Alarm::NotRetained => alarm,
            Alarm::InterfaceGone(at) => Alarm::InterfaceGone(bus(at)?),
            Alarm::BusOff(at) => Alarm::BusOff(bus(at)?),
            Alarm::BusErrors(at) => Alarm::BusErrors(bus(at)?),
            Alarm::Flapping(at) => Alarm::Flapping(bus(at)?),
            Alarm::FramesLost(at) => Alarm::FramesLost(bus(at)?),
            Alarm::TransmitDropped(at) => Alarm::TransmitDropped(bus(at)?),
            Alarm::ForeignSender(at) => Alarm::ForeignSender(message(at)?),
            Alarm::Fallback(at) => Alarm::Fallback(message(at)?),
            Alarm::Late(at) => Alarm::Late(message(at)?),
            Alarm::Protection(at) => Alarm::Protection(message(at)?),
            Alarm::Storm(at) => Alarm::Storm(self.routes[at]?),
            Alarm::Link(at) => Alarm::Link(self.links[at]?),
            Alarm::Limit(at) => Alarm::Limit(self.limit(old, &new.limits[at])?),
            Alarm::OffNormal(at) => Alarm::OffNormal(self.off_normal(old, &new.off_normals[at])?),
        })
    }

    /// An alarm of the old plan that is another one now.
    fn redefined(&self, old: &Plan, new: &Plan, alarm: Alarm) -> Option<Alarm> {
        match alarm {
            Alarm::Limit(at) => {
                let limit = &new.limits[at];
                let value = (&limit.name, self.tags[limit.tag]?, limit.source_address);
                let same = |known: &super::Limit| (&known.name, known.tag, known.source_address) == value;
                old.limits.iter().position(same).map(Alarm::Limit)
            }
            Alarm::OffNormal(at) => {
                let name = &new.off_normals[at].name;
                old.off_normals.iter().position(|known| known.name == *name).map(Alarm::OffNormal)
            }
            _ => None,
        }
    }

    fn route(&self, old: &Plan, route: &super::Route) -> Option<RouteIndex> {
        let (from, to) = (self.buses[route.from]?, self.buses[route.to]?);
        let was = super::Route { from, to, ..route.clone() };
        old.routes.iter().position(|known| *known == super::Route { budget: known.budget, ..was.clone() })
    }

    fn link(&self, old: &Plan, new: &Plan, link: &super::Link) -> Option<LinkIndex> {
        let (from, to) = (self.tags[link.from]?, self.tags[link.to]?);
        let was = super::Link { from, to, ..link.clone() };
        let at = old.links.iter().position(|known| *known == super::Link { budget: known.budget, ..was.clone() })?;
        let (before, now) = (&old.tags[to], &new.tags[link.to]);
        (before.immediate == now.immediate && before.repeated == now.repeated).then_some(at)
    }

    /// The same limits of the same value; words, severities and delays may be others.
    fn limit(&self, old: &Plan, limit: &super::Limit) -> Option<usize> {
        let tag = self.tags[limit.tag]?;
        old.limits.iter().position(|known| {
            (&known.name, known.tag, known.source_address, known.limits, known.exclusive)
                == (&limit.name, tag, limit.source_address, limit.limits, limit.exclusive)
        })
    }

    /// The same conditions under the same name.
    fn off_normal(&self, old: &Plan, alarm: &super::OffNormal) -> Option<usize> {
        let was = |condition: &super::Condition| {
            Some(super::Condition { tag: self.tags[condition.tag]?, ..condition.clone() })
        };
        let when = alarm.when.iter().map(was).collect::<Option<Vec<_>>>()?;
        old.off_normals.iter().position(|known| known.name == alarm.name && known.when == when)
    }

    /// Whether a message of ours goes on as it is sent now.
    fn output(&self, old: &Plan, new: &Plan, index: MessageIndex) -> bool {
        let Some(at) = self.messages[index] else { return false };
        let (Direction::Output(before), Direction::Output(now)) =
            (&old.messages[at].direction, &new.messages[index].direction)
        else {
            return false;
        };
        let tags = new.messages[index].tags.clone().zip(old.messages[at].tags.clone());
        let owners = tags.into_iter().all(|(now, before)| {
            let (now, before) = (&new.tags[now], &old.tags[before]);
            // who wrote before must be one who may still write
            let link =
                now.link.is_some() == before.link.is_some() && now.link.is_none_or(|at| self.links[at].is_some());
            link && (now.writable || !before.writable)
        });
        owners && self.protection[index] && same_transmission(before, now)
    }
}

/// The tables of NAMEs of buses that have one in both plans.
fn name_tables(old: &Plan, new: &Plan, buses: &[Option<BusIndex>]) -> Box<[Option<usize>]> {
    let tables = new.buses.iter().zip(buses).filter(|(bus, _)| bus.names.is_some());
    tables.map(|(_, heir)| old.buses[(*heir)?].names).collect()
}

/// From old to new.
fn after(heirs: &[Option<usize>], old: usize) -> Box<[Option<usize>]> {
    let mut after = vec![None; old].into_boxed_slice();
    for (index, heir) in heirs.iter().enumerate() {
        if let Some(at) = heir {
            after[*at] = Some(index);
        }
    }
    after
}

/// Whether the records of one can be read as the other's.
fn same_records(old: &super::Message, new: &super::Message) -> bool {
    let same_direction = match (&old.direction, &new.direction) {
        (Direction::Input(_), Direction::Input(_)) | (Direction::Output(_), Direction::Output(_)) => true,
        (Direction::Input(_), Direction::Output(_)) | (Direction::Output(_), Direction::Input(_)) => false,
    };
    same_direction && same_layout(&old.message, &new.message)
}

/// Whether both are the same bits in the same frame, whatever they are called and mean.
pub fn same_layout(old: &dbc::Message, new: &dbc::Message) -> bool {
    let frame = |message: &dbc::Message| (message.id, message.pgn, message.source_address, message.length, message.fd);
    let same_signal = |(old, new): (&dbc::Signal, &dbc::Signal)| {
        old.name == new.name && old.codec == new.codec && old.group == new.group
    };
    frame(old) == frame(new)
        && old.groups == new.groups
        && old.signals.len() == new.signals.len()
        && old.signals.iter().zip(&new.signals).all(same_signal)
}

/// Whether a message is sent as it was: when, and with which values where nobody has written. The phase is kept, so that what
/// the new plan says about it does not count; what it depends on (`vital`, `fallback_on`) is looked at anew.
fn same_transmission(old: &Transmission, new: &Transmission) -> bool {
    let Transmission {
        period,
        stagger: _,
        active,
        fast_period,
        repetitions,
        delay,
        start_delay,
        length,
        start,
        fallback,
        when_disarmed,
        vital: _,
        fallback_on: _,
        lease,
        stale: _,
        budget: _,
    } = new;
    (&old.period, &old.active, &old.fast_period, &old.repetitions, &old.delay)
        == (period, active, fast_period, repetitions, delay)
        && (&old.start_delay, &old.length, &old.start, &old.fallback) == (start_delay, length, start, fallback)
        && (&old.when_disarmed, &old.lease) == (when_disarmed, lease)
}

/// The message of ours that had this identifier on the same bus.
fn was_ours(old: &Plan, bus: Option<BusIndex>, message: &super::Message) -> Option<MessageIndex> {
    old.buses[bus?].messages.clone().find(|at| {
        let other = &old.messages[*at];
        matches!(other.direction, Direction::Output(_)) && other.message.id == message.message.id
    })
}
