//! Identifiers and names of the model's nodes.

use std::fmt::Write;

use super::devices::{Device, Family, SOURCES};
use super::kinds::{self, Owner};
use super::machinery::{self, Item};
use super::{Part, parent, state};
use crate::plant::opcua::space::{NAMESPACE, Node, ROOT, Space};

/// Appends the identifier.
pub fn write_id(space: &Space, part: Part, text: &mut String) {
    let plan = space.plan();
    let bus_name = |bus: usize| plan.buses.get(bus).map_or("", |bus| bus.name.as_str());
    // a String takes everything
    let _ = match part {
        Part::Object(Owner::Type(kind)) => write!(text, "{ROOT}.{}", kind.name()),
        Part::Object(Owner::Bus(bus)) => write!(text, "{ROOT}.Buses.{}", bus_name(bus)),
        Part::Object(Owner::Controller) => write!(text, "{ROOT}.Controller"),
        Part::Object(Owner::Deadline(at)) => write!(text, "{ROOT}.Deadlines.{}", kinds::deadline_name(plan, at)),
        Part::State => write!(text, "{ROOT}.{}", state::NAME),
        Part::States => write!(text, "{ROOT}.{}.EnumStrings", state::NAME),
        Part::Buses => write!(text, "{ROOT}.Buses"),
        Part::Deadlines => write!(text, "{ROOT}.Deadlines"),
        Part::Machinery(Item::Machine) => write!(text, "{ROOT}.Asset"),
        Part::Areas => write!(text, "{ROOT}.Areas"),
        Part::Alias(alias) => write!(text, "{ROOT}.Aliases.{}", space.aliases.name(plan, alias)),
        Part::Device(_) => {
            text.push_str(ROOT);
            text.push_str(".Devices.");
            name_in(space, part, text);
            Ok(())
        }
        Part::Family(_) => {
            text.push_str(ROOT);
            text.push_str(".Types.");
            name_in(space, part, text);
            Ok(())
        }
        Part::Field(..)
        | Part::Scale(..)
        | Part::Plate(..)
        | Part::Machinery(_)
        | Part::Area(_)
        | Part::Place(..)
        | Part::Message(..)
        | Part::Fact(..)
        | Part::Signal(..)
        | Part::Property(..) => {
            if let Some((_, Node::Model(parent))) = parent(space, part) {
                write_id(space, parent, text);
            }
            text.push('.');
            name_in(space, part, text);
            Ok(())
        }
    };
}

/// Appends the BrowseName; its namespace.
pub fn name_in(space: &Space, part: Part, text: &mut String) -> u16 {
    let plan = space.plan();
    let bus_name = |bus: usize| plan.buses.get(bus).map_or("", |bus| bus.name.as_str());
    let mut namespace = NAMESPACE;
    // a String takes everything
    let _ = match part {
        Part::Object(Owner::Type(kind)) => write!(text, "{}", kind.name()),
        Part::Object(Owner::Bus(bus)) => write!(text, "{}", bus_name(bus)),
        Part::Object(Owner::Controller) => write!(text, "Controller"),
        Part::Object(Owner::Deadline(at)) => write!(text, "{}", kinds::deadline_name(plan, at)),
        Part::Field(owner, field) => write!(text, "{}", owner.field(field).name),
        Part::State => write!(text, "{}", state::NAME),
        Part::States => {
            namespace = 0;
            write!(text, "EnumStrings")
        }
        Part::Buses => write!(text, "Buses"),
        Part::Deadlines => write!(text, "Deadlines"),
        Part::Device(Device::Source(bus, address)) => write!(text, "{}.@{address}", bus_name(bus)),
        Part::Device(Device::Listed(number)) => match space.devices.get(number) {
            Some(device) => write!(text, "{}.{}", bus_name(device.bus), device.name(plan)),
            None => Ok(()),
        },
        Part::Family(Family::Sources(bus)) => write!(text, "{}.{SOURCES}", bus_name(bus)),
        Part::Family(Family::Listed(number)) => match space.devices.get(number) {
            Some(device) => write!(text, "{}.{}", bus_name(device.bus), device.family_name(plan)),
            None => Ok(()),
        },
        Part::Machinery(item) => {
            let (own, name) = machinery::name(space, item);
            namespace = own;
            write!(text, "{name}")
        }
        Part::Areas => write!(text, "Areas"),
        Part::Alias(alias) => write!(text, "{}", space.aliases.name(plan, alias)),
        Part::Area(area) => write!(text, "{}", space.areas.get(area as usize).map_or("", |area| area.name.as_str())),
        Part::Place(_, message, source) => {
            space.write_id(Node::Message(message, source), text);
            Ok(())
        }
        Part::Plate(_, plate) => {
            namespace = plate.namespace();
            write!(text, "{}", plate.name())
        }
        Part::Message(_, message) => write!(text, "{}", space.message_name(message)),
        Part::Fact(_, _, fact) => write!(text, "{}", fact.name()),
        Part::Signal(_, tag) => write!(text, "{}", plan.signal(tag).name),
        Part::Scale(_, _, property) | Part::Property(_, _, property) => {
            namespace = property.namespace();
            write!(text, "{}", property.name())
        }
    };
    namespace
}

/// Replaces the text by the DisplayName.
pub fn display_name_in(space: &Space, part: Part, text: &mut String) {
    text.clear();
    name_in(space, part, text);
}
