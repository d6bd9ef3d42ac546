//! What alarms are about, and where their events are told: the machine, its buses, their messages, and signals.

use std::collections::HashMap;

use opcua::types::ObjectId;

use crate::plan::{Alarm, AlarmIndex, MessageIndex, Plan, TagIndex};
use crate::plant::opcua::space::Node;

/// The sources of all alarms, both ways.
pub struct Sources {
    /// By alarm: what it is about, and the variable that decides.
    of: Vec<(Node, Option<Node>)>,
    conditions: HashMap<Node, Vec<u32>>,
}

impl Sources {
    pub fn new(plan: &Plan) -> Sources {
        let of: Vec<_> = plan.alarms.iter().map(|alarm| source(plan, *alarm)).collect();
        let mut conditions: HashMap<Node, Vec<u32>> = HashMap::new();
        for (alarm, (node, _)) in of.iter().enumerate() {
            conditions.entry(*node).or_default().push(alarm as u32);
        }
        for alarms in conditions.values_mut() {
            alarms.sort_by_cached_key(|alarm| plan.alarms.get(*alarm as usize).map(|alarm| alarm.key(plan)));
        }
        Sources { of, conditions }
    }

    pub fn of(&self, alarm: AlarmIndex) -> (Node, Option<Node>) {
        self.of.get(alarm).copied().unwrap_or((Node::Machine, None))
    }

    pub fn has(&self, node: Node) -> bool {
        self.conditions.contains_key(&node)
    }

    /// The alarms of a source, sorted by key.
    pub fn conditions(&self, node: Node) -> impl Iterator<Item = AlarmIndex> {
        self.conditions.get(&node).into_iter().flatten().map(|alarm| *alarm as usize)
    }

    pub fn bytes(&self) -> usize {
        self.of.len() * (size_of::<(Node, Option<Node>)>() + 4)
            + self.conditions.len() * (size_of::<Node>() + size_of::<Vec<u32>>())
    }
}

/// What an alarm is about, and the variable that decides.
fn source(plan: &Plan, alarm: Alarm) -> (Node, Option<Node>) {
    let message = |message: MessageIndex| (Node::Message(message, None), None);
    match alarm {
        Alarm::NotArmed | Alarm::Forced | Alarm::Overrun | Alarm::TakenBack | Alarm::NotRetained => {
            (Node::Machine, None)
        }
        Alarm::InterfaceGone(bus)
        | Alarm::BusOff(bus)
        | Alarm::BusErrors(bus)
        | Alarm::Flapping(bus)
        | Alarm::FramesLost(bus)
        | Alarm::TransmitDropped(bus) => (Node::Bus(bus), None),
        Alarm::ForeignSender(at) | Alarm::Fallback(at) | Alarm::Late(at) | Alarm::Protection(at) => message(at),
        Alarm::Storm(_) => (Node::Machine, None),
        Alarm::Link(link) => match plan.links.get(link) {
            Some(link) => message(plan.tags[link.from].message),
            None => (Node::Machine, None),
        },
        Alarm::Limit(at) => match plan.limits.get(at) {
            Some(limit) => signal(plan, limit.tag),
            None => (Node::Machine, None),
        },
        Alarm::OffNormal(at) => match plan.off_normals.get(at).map(|alarm| alarm.when.as_slice()) {
            Some([condition]) => signal(plan, condition.tag),
            Some([condition, ..]) => (Node::Machine, signal(plan, condition.tag).1),
            _ => (Node::Machine, None),
        },
    }
}

/// A signal of a J1939 message exists only with a source that has been seen: then it is the message.
fn signal(plan: &Plan, tag: TagIndex) -> (Node, Option<Node>) {
    let message = plan.tags[tag].message;
    if plan.messages[message].message.has_sources() {
        return (Node::Message(message, None), None);
    }
    (Node::Signal(tag, None), Some(Node::Signal(tag, None)))
}

/// Where the events of a node are told, next to it; `None`: at Server, or it has none.
pub fn notifier(plan: &Plan, node: Node) -> Option<Node> {
    match node {
        Node::Signal(tag, None) => Some(Node::Message(plan.tags[tag].message, None)),
        Node::Message(message, None) => Some(Node::Bus(plan.messages[message].bus)),
        Node::Bus(_) => Some(Node::Machine),
        _ => None,
    }
}

/// The nodes whose events are told at this one, next to it.
pub fn below(plan: &Plan, node: Node, sources: &Sources, standard: impl Fn(u32) -> Option<Node>) -> Vec<Node> {
    match node {
        Node::Machine => (0..plan.buses.len()).map(Node::Bus).collect(),
        Node::Bus(bus) => plan.buses[bus].messages.clone().map(|message| Node::Message(message, None)).collect(),
        Node::Message(message, None) => {
            let tags = plan.messages[message].tags.clone().map(|tag| Node::Signal(tag, None));
            tags.filter(|node| sources.has(*node)).collect()
        }
        Node::Standard(_) if standard(ObjectId::Server as u32) == Some(node) => vec![Node::Machine],
        _ => Vec::new(),
    }
}
