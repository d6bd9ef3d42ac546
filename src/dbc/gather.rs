//! All that a DBC file says about each object, collected under it: signals under messages, comments and attributes under both.

use std::collections::HashMap;

use super::attribute::Definitions;
use super::item::{Item, MessageLine, SignalLine, Target, Value, ValueType};
use super::multiplex::Extended;

#[derive(Default)]
pub(super) struct Gathered {
    pub version: String,
    pub nodes: Vec<String>,
    pub messages: Vec<Draft>,
    pub definitions: Definitions,
    pub network: Notes,
    pub of_node: HashMap<String, Notes>,
    /// By the identifier as written.
    pub of_message: HashMap<u64, Notes>,
    pub of_signal: HashMap<u64, HashMap<String, Notes>>,
}

/// A message as its BO_ and SG_ lines have it.
pub(super) struct Draft {
    pub at: usize,
    pub line: MessageLine,
    pub signals: Vec<(usize, SignalLine)>,
}

/// What other statements say about one object.
#[derive(Default)]
pub(super) struct Notes {
    pub comment: Option<String>,
    pub attributes: Vec<(usize, String, Value)>,
    /// BA_REL_: node, attribute, value.
    pub relations: Vec<(String, String, Value)>,
    /// BO_TX_BU_
    pub senders: Vec<String>,
    /// VAL_
    pub labels: Option<Vec<(i128, String)>>,
    pub value_type: Option<ValueType>,
    pub extended: Option<Extended>,
    /// Place and keyword of the first statement.
    pub first: Option<(usize, &'static str)>,
}

impl Notes {
    fn from(&mut self, at: usize, keyword: &'static str) -> &mut Notes {
        self.first.get_or_insert((at, keyword));
        self
    }
}

pub(super) fn gather(items: Vec<(usize, Item)>) -> Gathered {
    let mut gathered = Gathered::default();
    for (at, item) in items {
        gathered.add(at, item);
    }
    gathered
}

impl Gathered {
    fn add(&mut self, at: usize, item: Item) {
        match item {
            Item::Nothing => {}
            Item::Version(version) => self.version = version,
            Item::Nodes(nodes) => self.nodes.extend(nodes),
            Item::Message(line) => self.messages.push(Draft { at, line, signals: Vec::new() }),
            Item::Signal(line) => {
                if let Some(message) = self.messages.last_mut() {
                    message.signals.push((at, *line));
                }
            }
            Item::Senders { id, nodes } => self.message(id).from(at, "BO_TX_BU_").senders.extend(nodes),
            Item::Comment { target, text } => {
                let joins = target == Target::Network;
                let Some(notes) = self.target(target) else { return };
                let notes = notes.from(at, "CM_");
                // CANdb++ joins several comments of the network
                match &mut notes.comment {
                    Some(before) if joins => before.push_str(&text),
                    other => *other = Some(text),
                }
            }
            Item::Definition { object, name, kind } => self.definitions.define(object, name, kind),
            Item::Default { name, value } => self.definitions.set_default(name, value),
            Item::Attribute { target, name, value } => {
                if let Some(notes) = self.target(target) {
                    notes.from(at, "BA_").attributes.push((at, name, value));
                }
            }
            // no `from`: what says nothing to us need not be about something
            Item::Relation { node, id, signal, name, value } => {
                self.signal(id, signal).relations.push((node, name, value));
            }
            Item::Labels { id, signal, entries } => {
                self.signal(id, signal).from(at, "VAL_").labels = Some(entries);
            }
            Item::ValueType { id, signal, kind } => {
                self.signal(id, signal).from(at, "SIG_VALTYPE_").value_type = Some(kind);
            }
            Item::Multiplex { id, signal, multiplexor, ranges } => {
                let notes = self.signal(id, signal).from(at, "SG_MUL_VAL_");
                let entry = notes.extended.get_or_insert_with(Extended::default);
                entry.contradicted |= !entry.ranges.is_empty() && entry.multiplexor != multiplexor;
                entry.multiplexor = multiplexor;
                entry.ranges.extend(ranges);
            }
        }
    }

    fn target(&mut self, target: Target) -> Option<&mut Notes> {
        Some(match target {
            Target::Network => &mut self.network,
            Target::Node(name) => self.of_node.entry(name).or_default(),
            Target::Message(id) => self.message(id),
            Target::Signal(id, name) => self.signal(id, name),
            Target::EnvironmentVariable => return None,
        })
    }

    fn message(&mut self, id: u64) -> &mut Notes {
        self.of_message.entry(id).or_default()
    }

    fn signal(&mut self, id: u64, name: String) -> &mut Notes {
        self.of_signal.entry(id).or_default().entry(name).or_default()
    }
}
