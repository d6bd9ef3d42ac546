//! What of the plant a node of the model is about, for who may see it.

use super::Part;
use super::devices::{Device, Family};
use super::kinds::Owner;
use crate::plan::Timed;
use crate::plant::access::Subject;
use crate::plant::opcua::space::Space;

/// What of the plant it is about: who may not see that does not see it. Of a device see [`messages`].
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
        Part::Object(of) | Part::Field(of, _) => owner(of),
        Part::Device(Device::Source(bus, _)) | Part::Plate(Device::Source(bus, _), _) => Subject::Bus(bus),
        Part::Family(Family::Sources(bus)) => Subject::Bus(bus),
        Part::Message(_, message) | Part::Fact(_, message, _) => Subject::Message(message),
        Part::Signal(_, tag) | Part::Property(_, tag, _) => Subject::Tag(tag),
        Part::Place(_, message, _) => Subject::Message(message),
        Part::Asset | Part::Identification | Part::Mark(_) | Part::Areas | Part::Area(_) => Subject::Machine,
        Part::Alias(alias) => {
            space.aliases.tags(alias).first().map_or(Subject::Machine, |tag| Subject::Tag(*tag as usize))
        }
        Part::State | Part::States | Part::Buses | Part::Deadlines => Subject::Machine,
        Part::Device(Device::Listed(_)) | Part::Plate(Device::Listed(_), _) | Part::Family(Family::Listed(_)) => {
            Subject::Machine
        }
    }
}

/// The messages of a device, a type of devices or an area: who may see one of them sees it. `None`: it is none of these.
pub fn messages(space: &Space, part: Part) -> Option<&[u32]> {
    if let Part::Area(area) = part {
        return space.areas.get(area as usize).map(|area| area.messages.as_slice());
    }
    let (Part::Device(Device::Listed(number))
    | Part::Plate(Device::Listed(number), _)
    | Part::Family(Family::Listed(number))) = part
    else {
        return None;
    };
    let listed = space.devices.get(number)?;
    // a device that sends nothing hides nothing
    (!listed.messages.is_empty()).then_some(&listed.messages)
}
