//! Types of devices: what each says that its devices have, found by the names in it.

use opcua::types::ReferenceTypeId;

use super::Part;
use super::devices::{Device, Family, SOURCES};
use super::order::rule;
use crate::plan::{BusIndex, MessageIndex, TagIndex};
use crate::plant::opcua::mapping::{self, Property};
use crate::plant::opcua::space::names::Named;
use crate::plant::opcua::space::{Fact, Node, Reference, Space, forward};

/// `bus.Type`, `bus.Type.Message`, `bus.Type.Message.Signal`, and properties.
pub fn find(space: &Space, text: &str) -> Option<Part> {
    let (bus, rest) = text.split_once('.')?;
    let bus = space.bus_named(bus)?;
    // names of types are chosen freely
    space.families_of(bus).find_map(|family| {
        let rest = rest.strip_prefix(space.family_name(family))?;
        match rest.strip_prefix('.') {
            None => rest.is_empty().then_some(Part::Family(family)),
            Some(rest) => in_family(space, bus, family, rest),
        }
    })
}

fn in_family(space: &Space, bus: BusIndex, family: Family, text: &str) -> Option<Part> {
    let mut pieces = text.splitn(3, '.');
    let message_name = pieces.next()?;
    let message = space.message_of(bus, family, message_name)?;
    let Some(name) = pieces.next() else { return Some(Part::Message(family, message)) };
    let signal = signal(space, message, name);
    match (signal, pieces.next()) {
        (Some(tag), None) => Some(Part::Signal(family, tag)),
        (None, None) => {
            space.facts(message).find(|fact| fact.name() == name).map(|fact| Part::Fact(family, message, fact))
        }
        (Some(tag), Some(name)) => {
            let property = Property::ALL.into_iter().find(|property| property.name() == name)?;
            let has = mapping::has_property(space.plan().signal(tag), property);
            has.then_some(Part::Property(family, tag, property))
        }
        (None, Some(_)) => None,
    }
}

fn signal(space: &Space, message: MessageIndex, name: &str) -> Option<TagIndex> {
    let plan = space.plan();
    let described = plan.messages.get(message)?;
    let bus = &plan.buses.get(described.bus)?.name;
    match space.names.find(plan, &[bus, ".", &described.message.name, ".", name])? {
        Named::Tag(tag) => Some(tag),
        Named::Bus(_) | Named::Message(_) => None,
    }
}

/// What is below a type, a message or a signal of it, with its rule.
pub fn references(space: &Space, part: Part, all: &mut Vec<Reference>) {
    use ReferenceTypeId::{HasComponent, HasProperty};
    let plan = space.plan();
    match part {
        Part::Family(family) => {
            let messages = space.messages_declared(family).into_iter();
            all.extend(messages.map(|message| forward(HasComponent, Node::Model(Part::Message(family, message)))));
        }
        Part::Message(family, message) => {
            // not every source sends every message
            all.extend(rule(space, matches!(family, Family::Listed(_))));
            let facts = space.facts(message);
            all.extend(facts.map(|fact: Fact| forward(HasProperty, Node::Model(Part::Fact(family, message, fact)))));
            let tags = plan.messages.get(message).and_then(|message| space.sorted.get(message.tags.clone()));
            let signal = |tag: &u32| forward(HasComponent, Node::Model(Part::Signal(family, *tag as usize)));
            all.extend(tags.unwrap_or_default().iter().map(signal));
        }
        // an overlay table may describe one of several alike
        Part::Fact(_, _, Fact::Comment) | Part::Property(_, _, Property::Comment) => all.extend(rule(space, false)),
        Part::Fact(..) | Part::Property(..) => all.extend(rule(space, true)),
        Part::Signal(family, tag) => {
            all.extend(rule(space, true));
            let signal = plan.signal(tag);
            let properties = Property::ALL.into_iter().filter(|property| mapping::has_property(signal, *property));
            all.extend(
                properties
                    .map(|property| forward(property.reference(), Node::Model(Part::Property(family, tag, property)))),
            );
        }
        _ => {}
    }
}

/// All types of devices.
pub fn families(space: &Space) -> Vec<Family> {
    space.families().collect()
}

impl Space {
    /// The type of a device.
    pub(super) fn family(&self, device: Device) -> Option<Family> {
        Some(match device {
            Device::Listed(number) => Family::Listed(self.devices.get(number)?.family),
            Device::Source(bus, _) => Family::Sources(bus),
        })
    }

    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        (0..self.plan.buses.len()).flat_map(|bus| self.families_of(bus))
    }

    /// Those of a bus, that of its sources first, then sorted by the first device of each.
    fn families_of(&self, bus: BusIndex) -> impl Iterator<Item = Family> {
        let sources = self.bus_messages(bus).any(|message| self.is_j1939(message)).then_some(Family::Sources(bus));
        sources.into_iter().chain(self.devices.families(bus).map(|(number, _)| Family::Listed(number)))
    }

    fn family_name(&self, family: Family) -> &str {
        match family {
            Family::Sources(_) => SOURCES,
            Family::Listed(number) => self.devices.get(number).map_or("", |device| device.family_name(&self.plan)),
        }
    }

    /// The messages that a type says its devices have, sorted by name.
    pub(super) fn messages_declared(&self, family: Family) -> Vec<MessageIndex> {
        match family {
            Family::Sources(bus) => self.bus_messages(bus).filter(|message| self.is_j1939(*message)).collect(),
            Family::Listed(number) => {
                let messages = self.devices.get(number).map_or(&[][..], |device| device.messages.as_slice());
                messages.iter().map(|message| *message as usize).collect()
            }
        }
    }

    /// The message of a type by the name that it has in it.
    fn message_of(&self, bus: BusIndex, family: Family, name: &str) -> Option<MessageIndex> {
        let bus_name = self.plan.buses.get(bus)?.name.as_str();
        let device = match family {
            Family::Sources(_) => None,
            Family::Listed(number) => Some(self.devices.get(number)?),
        };
        let found = match device.filter(|device| device.is_instance()) {
            Some(device) => self.names.find(&self.plan, &[bus_name, ".", device.name(&self.plan), "_", name])?,
            None => self.names.find(&self.plan, &[bus_name, ".", name])?,
        };
        let Named::Message(message) = found else { return None };
        let declared = match device {
            None => self.is_j1939(message),
            Some(device) => device.messages.binary_search(&(message as u32)).is_ok(),
        };
        declared.then_some(message)
    }
}
