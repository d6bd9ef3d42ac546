//! What alarms are about, and where their events are told: the machine, its buses, their messages, and signals.

use opcua::types::ObjectId;

use crate::plan::{Alarm, AlarmIndex, MessageIndex, Plan, TagIndex};
use crate::plant::opcua::space::{Node, Space};

/// The alarms of each source: by what they are about, then by key. What that is, is computed anew each time.
pub struct Sources {
    sorted: Vec<u32>,
}

/// Orders sources.
fn rank(node: Node) -> (u8, usize) {
    match node {
        Node::Bus(bus) => (1, bus),
        Node::Message(message, None) => (2, message),
        Node::Signal(tag, None) => (3, tag),
        _ => (0, 0),
    }
}

impl Sources {
    /// `by_key`: all alarms of the plan.
    pub fn new(plan: &Plan, by_key: &[u32]) -> Sources {
        let mut sorted = by_key.to_vec();
        sorted.sort_by_key(|alarm| rank(of(plan, *alarm as usize).0));
        Sources { sorted }
    }

    pub fn has(&self, plan: &Plan, node: Node) -> bool {
        self.conditions(plan, node).next().is_some()
    }

    /// The alarms of a source, sorted by key.
    pub fn conditions<'a>(&'a self, plan: &'a Plan, node: Node) -> impl Iterator<Item = AlarmIndex> + 'a {
        let any = matches!(node, Node::Machine | Node::Bus(_) | Node::Message(_, None) | Node::Signal(_, None));
        let at = |alarm: &u32| rank(of(plan, *alarm as usize).0);
        let first = self.sorted.partition_point(|alarm| at(alarm) < rank(node));
        let own = self.sorted.iter().skip(first).take_while(move |alarm| any && at(alarm) == rank(node));
        own.map(|alarm| *alarm as usize)
    }

    pub fn bytes(&self) -> usize {
        self.sorted.len() * size_of::<u32>()
    }
}

/// What an alarm is about, and the variable that decides.
pub fn of(plan: &Plan, alarm: AlarmIndex) -> (Node, Option<Node>) {
    plan.alarms.get(alarm).map_or((Node::Machine, None), |alarm| source(plan, *alarm))
}

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
pub fn notifier(space: &Space, node: Node) -> Option<Node> {
    let plan = space.plan();
    match node {
        Node::Signal(tag, None) => Some(Node::Message(plan.tags[tag].message, None)),
        // its device, of several alike: their messages have the same names
        Node::Message(message, None) => space.home(message),
        Node::Model(_) => space.alike(node).map(|(bus, _)| Node::Bus(bus)),
        Node::Bus(_) => Some(Node::Machine),
        _ => None,
    }
}

/// The nodes whose events are told at this one, next to it.
pub fn below(space: &Space, node: Node, sources: &Sources, standard: impl Fn(u32) -> Option<Node>) -> Vec<Node> {
    let plan = space.plan();
    match node {
        Node::Machine => (0..plan.buses.len()).map(Node::Bus).collect(),
        Node::Bus(bus) => {
            let messages = plan.buses[bus].messages.clone().filter(|message| space.instance(*message).is_none());
            messages.map(|message| Node::Message(message, None)).chain(space.alike_on(bus)).collect()
        }
        Node::Model(_) => {
            let messages = space.alike(node).map_or(&[][..], |(_, messages)| messages);
            messages.iter().map(|message| Node::Message(*message as usize, None)).collect()
        }
        Node::Message(message, None) => {
            let tags = plan.messages[message].tags.clone().map(|tag| Node::Signal(tag, None));
            tags.filter(|node| sources.has(plan, *node)).collect()
        }
        Node::Standard(_) if standard(ObjectId::Server as u32) == Some(node) => vec![Node::Machine],
        _ => Vec::new(),
    }
}
