//! What of the plant a node of the model is about, for who may see it.

use super::Part;
use super::devices::{Device, Family, Listed};
use super::kinds::Owner;
use super::machinery::Item;
use crate::plan::{MessageIndex, TagIndex, Timed};
use crate::plant::access::Subject;
use crate::plant::opcua::space::Space;
use crate::plant::opcua::space::names::Named;

/// What of the plant it is about, where that is one thing: who may not see that does not see it.
pub fn subject(space: &Space, part: Part) -> Subject {
    let owner = |owner: Owner| match owner {
        Owner::Type(_) | Owner::Controller => Subject::Machine,
        Owner::Bus(bus) => Subject::Bus(bus),
        Owner::Deadline(contract) => match space.plan().contracts.get(contract).map(|contract| contract.of) {
            Some(Timed::Route(route)) => {
                space.plan().routes.get(route).map_or(Subject::Machine, |route| Subject::Bus(route.to))
            }
            Some(Timed::Link(link)) => {
                space.plan().links.get(link).map_or(Subject::Machine, |link| Subject::Tag(link.to))
            }
            Some(Timed::Cycle(message)) => Subject::Message(message),
            None => Subject::Machine,
        },
    };
    match part {
        // it is seen with its device
        Part::Machinery(Item::Nameplate(device) | Item::Plate(device, _)) => subject(space, Part::Device(device)),
        Part::Object(of) | Part::Field(of, _) | Part::Scale(of, ..) => owner(of),
        Part::Device(Device::Source(bus, _)) | Part::Plate(Device::Source(bus, _), _) => Subject::Bus(bus),
        Part::Family(Family::Sources(bus)) => Subject::Bus(bus),
        Part::Message(_, message) | Part::Fact(_, message, _) => Subject::Message(message),
        Part::Signal(_, tag) | Part::Property(_, tag, _) => Subject::Tag(tag),
        Part::Place(_, message, _) => Subject::Message(message),
        Part::Machinery(_) | Part::Areas | Part::Area(_) => Subject::Machine,
        Part::Alias(alias) => {
            space.aliases.tags(alias).first().map_or(Subject::Machine, |tag| Subject::Tag(*tag as usize))
        }
        Part::State | Part::States | Part::Buses | Part::Deadlines => Subject::Machine,
        Part::Device(Device::Listed(_)) | Part::Plate(Device::Listed(_), _) | Part::Family(Family::Listed(_)) => {
            Subject::Machine
        }
    }
}

/// Asks about all that it is about. A device and a type of devices are there for who may see one message of it, an area and a
/// message in it for who may see a signal that is there: a message may have signals elsewhere. What a type declares is there for who may see it at one device: without its type no device is complete (OPC 10000-3, 5.5.1).
pub fn any(space: &Space, part: Part, ask: impl Fn(Subject) -> bool) -> bool {
    let of = |listed: &Listed| match listed.messages.as_slice() {
        // a device that sends nothing hides nothing
        [] => ask(Subject::Machine),
        messages => messages.iter().any(|message| ask(Subject::Message(*message as usize))),
    };
    let there = |area, message| space.tags_in(area, message).any(|tag| ask(Subject::Tag(tag)));
    match part {
        Part::Area(area) => match space.areas.get(area as usize) {
            Some(of) => of.messages.iter().any(|message| there(area, *message as usize)),
            None => ask(Subject::Machine),
        },
        Part::Machinery(Item::Nameplate(device) | Item::Plate(device, _)) => any(space, Part::Device(device), ask),
        Part::Place(area, message, _) => there(area, message),
        Part::Device(Device::Listed(number)) | Part::Plate(Device::Listed(number), _) => {
            space.devices.get(number).is_some_and(of)
        }
        Part::Family(Family::Listed(number)) => members(space, number).any(of),
        Part::Message(Family::Listed(number), message) | Part::Fact(Family::Listed(number), message, _) => {
            alike(space, number, message).any(|message| ask(Subject::Message(message)))
        }
        Part::Signal(Family::Listed(number), tag) | Part::Property(Family::Listed(number), tag, _) => {
            alike_tags(space, number, tag).any(|tag| ask(Subject::Tag(tag)))
        }
        Part::Alias(alias) => space.aliases.tags(alias).iter().any(|tag| ask(Subject::Tag(*tag as usize))),
        _ => ask(subject(space, part)),
    }
}

/// The devices of a type. `number`: the first of them.
fn members(space: &Space, number: u32) -> impl Iterator<Item = &Listed> {
    let bus = space.devices.get(number).map(|device| device.bus);
    let on_bus = bus.into_iter().flat_map(|bus| space.devices.of_bus(bus));
    on_bus.map(|(_, device)| device).filter(move |device| device.family == number)
}

/// The same message of all devices of a type. `message`: that of the first.
fn alike(space: &Space, number: u32, message: MessageIndex) -> impl Iterator<Item = MessageIndex> {
    let plan = space.plan();
    let first = space.devices.get(number);
    let name = plan
        .messages
        .get(message)
        .zip(first.filter(|first| first.is_instance()))
        .and_then(|(message, first)| message.message.name.strip_prefix(first.name(plan))?.strip_prefix('_'));
    let others = members(space, number).skip(1).filter_map(move |device| {
        let bus = &plan.buses.get(device.bus)?.name;
        match space.names.find(plan, &[bus, ".", device.name(plan), "_", name?])? {
            Named::Message(message) => Some(message),
            Named::Bus(_) | Named::Tag(_) => None,
        }
    });
    std::iter::once(message).chain(others)
}

fn alike_tags(space: &Space, number: u32, tag: TagIndex) -> impl Iterator<Item = TagIndex> {
    let plan = space.plan();
    let own = plan.tags.get(tag).map(|tag| (tag.message, tag.signal));
    let messages = own.into_iter().flat_map(move |(message, _)| alike(space, number, message));
    messages.filter_map(move |message| plan.messages.get(message)?.tags.clone().nth(own?.1))
}
