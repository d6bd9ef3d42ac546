//! Devices, buses, areas and the types of them: nodes of the plant besides its buses, messages and signals as the DBC has them.

pub mod area;
mod claimed;
mod declared;
pub mod devices;
pub mod kinds;
mod lookup;
pub mod machinery;
mod mark;
mod naming;
mod order;
pub mod plate;
mod state;
mod subject;

use opcua::types::{
    AttributeId, DataTypeId, LocalizedText, NodeClass, NodeId, ObjectTypeId, ReferenceTypeId, StatusCode,
    VariableTypeId, Variant,
};

use super::names::Named;
use super::{Fact, Node, Passing, ROOT, Reference, Source, Space, alias, forward};
use crate::plan::{MessageIndex, TagIndex};
use crate::plant::opcua::machine;
use crate::plant::opcua::mapping::{self, Property};
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::sample::Sample;
use devices::{Device, Family};
use kinds::{Kind, Owner};
use machinery::Item;
use order::{inverse, merge, rule};
use plate::Plate;

pub use declared::families;
pub use lookup::{devices_of, messages_in};
pub use naming::{display_name_in, name_in, write_id};
pub use subject::{any, subject};

/// Namespace of DI (OPC 10000-100).
pub const DI: u16 = 3;
pub const DI_URI: &str = "http://opcfoundation.org/UA/DI/";
/// Namespace of Machinery (OPC 40001-1).
pub const MACHINERY: u16 = 4;
pub const MACHINERY_URI: &str = "http://opcfoundation.org/UA/Machinery/";

/// DeviceType of DI.
const DEVICE_TYPE: u32 = 1002;
/// DeviceSet of DI.
const DEVICE_SET: u32 = 5001;
/// One node of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// One of the plant's own types, or an object of it; and their variables.
    Object(Owner),
    Field(Owner, u8),
    /// What the numbers of a variable mean.
    Scale(Owner, u8, Property),
    /// The enumeration of a bus's states, and its EnumStrings.
    State,
    States,
    /// The folder of the buses' objects.
    Buses,
    /// The folder of what has times to keep.
    Deadlines,
    Device(Device),
    Plate(Device, Plate),
    /// The machine and its components, of which it is known who made them.
    Machinery(Item),
    /// Places in the plant, and in each a message with the signals that are there.
    Areas,
    Area(u32),
    Place(u32, MessageIndex, Option<Source>),
    /// What people call a signal, or several.
    Alias(u32),
    /// A type of devices, and what it says that each of them has (OPC 10000-3, 4.6: InstanceDeclarations).
    Family(Family),
    Message(Family, MessageIndex),
    Fact(Family, MessageIndex, Fact),
    Signal(Family, TagIndex),
    Property(Family, TagIndex, Property),
}

/// The part behind an identifier, which begins with `Canvoy.`.
pub fn find(space: &Space, text: &str, passing: Passing<'_>) -> Option<Part> {
    let rest = text.strip_prefix(ROOT)?.strip_prefix('.')?;
    if let Some(name) = rest.strip_prefix("Aliases.") {
        return space.aliases.find(space.plan(), name).map(Part::Alias);
    }
    let rest = Some(rest).filter(|rest| !rest.ends_with('.'))?;
    let (first, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let plan = space.plan();
    let object = |owner: Owner, rest: &str| {
        let (name, property) = rest.split_once('.').unwrap_or((rest, ""));
        match (name, property) {
            ("", _) => Some(Part::Object(owner)),
            (_, "") => owner.find_field(plan, name).map(|field| Part::Field(owner, field)),
            (_, property) => owner.find_scale(plan, name, property),
        }
    };
    match (first, rest) {
        ("Buses", "") => Some(Part::Buses),
        ("Buses", rest) => {
            let (bus, field) = rest.split_once('.').unwrap_or((rest, ""));
            object(Owner::Bus(space.bus_named(bus)?), field)
        }
        ("Controller", field) => object(Owner::Controller, field),
        ("Deadlines", "") => Some(Part::Deadlines),
        ("Deadlines", rest) => match kinds::find_deadline(space, rest) {
            Some(contract) => Some(Part::Object(Owner::Deadline(contract))),
            None => {
                let (name, field) = rest.rsplit_once('.')?;
                let owner = Owner::Deadline(kinds::find_deadline(space, name)?);
                owner.find_field(plan, field).map(|field| Part::Field(owner, field))
            }
        },
        (state::NAME, "") => Some(Part::State),
        (state::NAME, "EnumStrings") => Some(Part::States),
        ("Devices", rest) => lookup::device(space, rest, passing),
        ("Types", rest) => declared::find(space, rest),
        ("Areas", "") => (!space.areas.is_empty()).then_some(Part::Areas),
        ("Areas", rest) => space.find_area(rest, passing),
        ("Asset", rest) => machinery::find(space, rest).map(Part::Machinery),
        (name, field) => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
            object(Owner::Type(kind), field)
        }
    }
}

pub fn class(part: Part) -> NodeClass {
    match part {
        Part::Object(Owner::Type(_)) | Part::Family(_) => NodeClass::ObjectType,
        Part::State => NodeClass::DataType,
        Part::Object(_)
        | Part::Buses
        | Part::Deadlines
        | Part::Device(_)
        | Part::Areas
        | Part::Area(_)
        | Part::Place(..)
        | Part::Alias(_)
        | Part::Message(..) => NodeClass::Object,
        Part::Machinery(item) => machinery::class(item),
        Part::Field(..)
        | Part::Scale(..)
        | Part::States
        | Part::Plate(..)
        | Part::Fact(..)
        | Part::Signal(..)
        | Part::Property(..) => NodeClass::Variable,
    }
}

pub fn type_definition(space: &Space, part: Part) -> Option<Node> {
    let property = VariableTypeId::PropertyType as u32;
    let number = match part {
        Part::Object(Owner::Type(_)) | Part::Family(_) | Part::State => return None,
        Part::Object(owner) => return Some(Node::Model(Part::Object(Owner::Type(owner.kind())))),
        Part::Device(device) => return Some(Node::Model(Part::Family(space.family(device)?))),
        Part::Message(_, message) => return space.type_definition(Node::Message(message, None)),
        Part::Signal(_, tag) => return space.type_definition(Node::Signal(tag, None)),
        Part::Property(_, tag, property) => return space.type_definition(Node::Property(tag, None, property)),
        Part::Field(owner, field) if owner.field(field).is_property => property,
        Part::Field(owner, field) => owner.field(field).data_type.type_definition() as u32,
        Part::Machinery(item) => return machinery::type_definition(space, item),
        Part::Alias(_) => ObjectTypeId::AliasNameType as u32,
        Part::Buses | Part::Deadlines | Part::Areas | Part::Area(_) | Part::Place(..) => {
            ObjectTypeId::FolderType as u32
        }
        Part::Scale(..) | Part::States | Part::Plate(..) | Part::Fact(..) => property,
    };
    space.standard(number)
}

/// What it hangs from.
pub fn parent(space: &Space, part: Part) -> Option<(ReferenceTypeId, Node)> {
    use ReferenceTypeId::{HasComponent, HasProperty, HasSubtype, Organizes};
    let base = |number: u32| Some((HasSubtype, space.standard(number)?));
    Some(match part {
        Part::Object(Owner::Type(_)) => return base(ObjectTypeId::BaseObjectType as u32),
        Part::State => return base(DataTypeId::Enumeration as u32),
        Part::Family(_) => (HasSubtype, space.find_number(DI, DEVICE_TYPE)?),
        Part::States => (HasProperty, Node::Model(Part::State)),
        Part::Buses | Part::Object(Owner::Controller) => (HasComponent, Node::Machine),
        Part::Object(Owner::Bus(_)) => (Organizes, Node::Model(Part::Buses)),
        Part::Deadlines => (HasComponent, Node::Model(Part::Object(Owner::Controller))),
        Part::Object(Owner::Deadline(_)) => (Organizes, Node::Model(Part::Deadlines)),
        Part::Field(owner, field) => (field_reference(owner, field), Node::Model(Part::Object(owner))),
        Part::Scale(owner, field, _) => (HasProperty, Node::Model(Part::Field(owner, field))),
        Part::Device(_) => (HasComponent, space.find_number(DI, DEVICE_SET)?),
        Part::Plate(device, _) => (HasProperty, Node::Model(Part::Device(device))),
        Part::Machinery(item) => return machinery::parent(space, item),
        Part::Areas => (HasComponent, Node::Machine),
        Part::Area(_) => (Organizes, Node::Model(Part::Areas)),
        Part::Place(area, ..) => (Organizes, Node::Model(Part::Area(area))),
        Part::Alias(_) => (Organizes, space.standard(alias::CATEGORY)?),
        Part::Message(family, _) => (HasComponent, Node::Model(Part::Family(family))),
        Part::Fact(family, message, _) => (HasProperty, Node::Model(Part::Message(family, message))),
        Part::Signal(family, tag) => {
            (HasComponent, Node::Model(Part::Message(family, space.plan().tags.get(tag)?.message)))
        }
        Part::Property(family, tag, property) => (property.reference(), Node::Model(Part::Signal(family, tag))),
    })
}

fn field_reference(owner: Owner, field: u8) -> ReferenceTypeId {
    match owner.field(field).is_property {
        true => ReferenceTypeId::HasProperty,
        false => ReferenceTypeId::HasComponent,
    }
}

/// Adds references to those of any node, besides parent and type definition of a part.
pub fn references(space: &Space, node: Node, passing: Passing<'_>, all: &mut Vec<Reference>) {
    use ReferenceTypeId::{HasComponent, HasProperty, HasSubtype, Organizes};
    let plan = space.plan();
    match node {
        Node::Standard(_) if space.standard(ObjectTypeId::BaseObjectType as u32) == Some(node) => {
            let mut kinds = Kind::ALL;
            kinds.sort_by_key(|kind| kind.name());
            all.extend(kinds.map(|kind| forward(HasSubtype, Node::Model(Part::Object(Owner::Type(kind))))));
        }
        Node::Standard(_) if space.standard(DataTypeId::Enumeration as u32) == Some(node) => {
            all.push(forward(HasSubtype, Node::Model(Part::State)));
        }
        Node::Standard(_) if space.find_number(DI, DEVICE_TYPE) == Some(node) => {
            all.extend(space.families().map(|family| forward(HasSubtype, Node::Model(Part::Family(family)))));
        }
        Node::Standard(_) if space.find_number(DI, DEVICE_SET) == Some(node) => {
            let devices = (0..plan.buses.len()).flat_map(|bus| space.devices_of(bus, passing, |_| true));
            all.extend(devices.map(|device| forward(HasComponent, Node::Model(Part::Device(device)))));
        }
        Node::Standard(_) if space.standard(alias::CATEGORY) == Some(node) => all.extend(space.aliases_named()),
        Node::Signal(tag, source) => {
            let place = |area| Part::Place(area, plan.tags[tag].message, source);
            inverse(all, space.area_of(tag).map(|area| (Organizes, Node::Model(place(area)))).into_iter());
            inverse(all, space.alias_of(tag).map(|alias| (ReferenceTypeId::AliasFor, alias)).into_iter());
        }
        Node::Machine => {
            if !space.areas.is_empty() {
                merge(space, all, vec![forward(HasComponent, Node::Model(Part::Areas))]);
            }
            merge(
                space,
                all,
                vec![
                    forward(HasComponent, Node::Model(Part::Buses)),
                    forward(HasComponent, Node::Model(Part::Object(Owner::Controller))),
                ],
            );
        }
        Node::Bus(bus) => {
            let devices = space.devices_of(bus, passing, devices::Listed::is_instance);
            let devices = devices.into_iter().map(|device| forward(Organizes, Node::Model(Part::Device(device))));
            merge(space, all, devices.collect());
        }
        // a configured device is the message's parent already
        Node::Message(message, None) if space.instance(message).is_none() => {
            let devices = space.devices.of_message(plan, message).into_iter();
            inverse(all, devices.map(|device| (HasComponent, Node::Model(Part::Device(Device::Listed(device))))));
        }
        Node::Model(part) => match part {
            Part::Object(owner) => {
                let field = |field| forward(field_reference(owner, field), Node::Model(Part::Field(owner, field)));
                all.extend(owner.numbers(plan).map(field));
                if owner == Owner::Controller {
                    merge(space, all, vec![forward(HasComponent, Node::Model(Part::Deadlines))]);
                }
            }
            Part::Field(owner, field) => {
                if let Owner::Type(_) = owner {
                    all.extend(rule(space, owner.field(field).is_mandatory));
                }
                let properties = owner.field(field).data_type.properties().iter();
                let scale = |property: &Property| Node::Model(Part::Scale(owner, field, *property));
                all.extend(properties.map(|property| forward(HasProperty, scale(property))));
            }
            Part::Scale(Owner::Type(_), ..) => all.extend(rule(space, true)),
            Part::State => all.push(forward(HasProperty, Node::Model(Part::States))),
            Part::Buses => {
                let buses = 0..plan.buses.len();
                all.extend(buses.map(|bus| forward(Organizes, Node::Model(Part::Object(Owner::Bus(bus))))));
            }
            Part::Deadlines => {
                let contracts = 0..plan.contracts.len();
                all.extend(contracts.map(|at| forward(Organizes, Node::Model(Part::Object(Owner::Deadline(at))))));
            }
            Part::Device(device) => {
                let bus = match device {
                    Device::Source(bus, _) => Some(bus),
                    Device::Listed(number) => {
                        space.devices.get(number).filter(|device| device.is_instance()).map(|device| device.bus)
                    }
                };
                inverse(all, bus.into_iter().map(|bus| (Organizes, Node::Bus(bus))));
                all.extend(
                    space.plates(device).map(|plate| forward(HasProperty, Node::Model(Part::Plate(device, plate)))),
                );
                all.extend(space.messages_of(device, passing).into_iter().map(|node| forward(HasComponent, node)));
            }
            Part::Family(_) | Part::Message(..) | Part::Fact(..) | Part::Signal(..) | Part::Property(..) => {
                declared::references(space, part, all);
            }
            Part::Areas => {
                let machine = space
                    .identity
                    .machine
                    .name
                    .is_some()
                    .then_some((Organizes, Node::Model(Part::Machinery(Item::Machine))));
                inverse(all, machine.into_iter());
                let areas = 0..space.areas.len() as u32;
                all.extend(areas.map(|area| forward(Organizes, Node::Model(Part::Area(area)))));
            }
            Part::Area(area) => {
                let places = space.messages_in(area, passing).into_iter();
                let place = |(message, source)| forward(Organizes, Node::Model(Part::Place(area, message, source)));
                all.extend(places.map(place));
            }
            Part::Alias(alias) => {
                let nodes = space.aliased(alias, passing).into_iter();
                all.extend(nodes.map(|node| forward(ReferenceTypeId::AliasFor, node)));
            }
            Part::Place(area, message, source) => {
                let tags = space.tags_in(area, message);
                all.extend(tags.map(|tag| forward(Organizes, Node::Signal(tag, source))));
            }
            Part::Scale(..) | Part::States | Part::Plate(..) | Part::Machinery(_) => {}
        },
        _ => {}
    }
    machinery::references(space, node, passing, all);
}

/// An attribute that is not as the class of the node has it; `None`: it is.
pub fn attribute(
    space: &Space,
    part: Part,
    attribute: AttributeId,
    user: &User,
) -> Option<Result<Variant, StatusCode>> {
    let description = match part {
        Part::State if attribute == AttributeId::DataTypeDefinition => return state::attribute(attribute),
        _ if attribute != AttributeId::Description => return None,
        Part::Object(owner) => owner.kind().description(),
        Part::Field(owner, field) => owner.field(field).description,
        Part::Message(_, message) => return Some(space.described(Node::Message(message, None), &user.locales)),
        Part::Signal(_, tag) => return Some(space.described(Node::Signal(tag, None), &user.locales)),
        Part::Plate(_, Plate::J1939(field)) => field.description(),
        Part::State => "State of a CAN bus (ISO 11898-1), or that its interface is not there.",
        _ => return None,
    };
    Some(Ok(Variant::from(LocalizedText::new("", description))))
}

pub fn data_type(space: &Space, part: Part) -> NodeId {
    match part {
        Part::Field(owner, field) => owner.field(field).data_type.id(),
        _ => NodeId::new(0, standard_data_type(space, part)),
    }
}

/// Number in namespace 0 of the type that the data type is, or derives from.
pub fn standard_data_type(space: &Space, part: Part) -> u32 {
    let kind = match part {
        Part::Field(owner, field) => owner.field(field).data_type.standard(),
        Part::Scale(_, _, property) => kinds::scale_type(property),
        Part::States => DataTypeId::LocalizedText,
        Part::Plate(_, plate) => plate.data_type(),
        Part::Machinery(item) => machinery::data_type(item),
        Part::Fact(_, message, fact) => return space.data_type(Node::Fact(message, None, fact)),
        Part::Signal(_, tag) => return space.data_type(Node::Signal(tag, None)),
        Part::Property(_, tag, property) => return space.data_type(Node::Property(tag, None, property)),
        _ => DataTypeId::String,
    };
    kind as u32
}

pub fn value_rank(space: &Space, part: Part) -> i32 {
    match part {
        Part::Field(owner, field) => match owner.field(field).data_type {
            kinds::Type::Array(_) => 1,
            kinds::Type::Scalar(_) | kinds::Type::Percent | kinds::Type::State => -1,
        },
        Part::States => 1,
        Part::Property(_, tag, property) => space.value_rank(Node::Property(tag, None, property)),
        _ => -1,
    }
}

/// Whether the value changes without a change of the plan.
pub fn is_live(space: &Space, part: Part) -> bool {
    match part {
        Part::Plate(device, plate) | Part::Machinery(Item::Plate(device, plate)) => space.is_claimed(device, plate),
        Part::Field(owner, field) => !matches!(owner, Owner::Type(_)) && !owner.field(field).is_property,
        _ => false,
    }
}

/// Whether a user may know of a message or signal with this name.
fn seen(space: &Space, user: &User, name: &str) -> bool {
    let node = match space.names.find(&space.plan, &[name]) {
        Some(Named::Message(message)) => Node::Message(message, None),
        Some(Named::Tag(tag)) => Node::Signal(tag, None),
        Some(Named::Bus(bus)) => Node::Bus(bus),
        None => return true,
    };
    space.sees(user, node)
}

/// The value, with its sample where it comes from the store. `now`: CLOCK_MONOTONIC nanoseconds.
pub fn value(
    scene: &Scene,
    part: Part,
    user: &User,
    now: u64,
) -> Result<(Option<Variant>, Option<Sample>), StatusCode> {
    let space = &scene.space;
    let nothing = || space.null_of(standard_data_type(space, part), value_rank(space, part));
    Ok(match part {
        Part::Field(owner, field) => match owner.value(&scene.view, field, now) {
            Some((_, sample)) if owner.field(field).name == kinds::FORCES => {
                let sees = |tag| space.sees(user, Node::Signal(tag, None));
                (Some(machine::forces_seen(&scene.view, sees)), Some(sample))
            }
            Some((value, sample)) => {
                let value = kinds::seen_of(value, |name| seen(space, user, name));
                (Some(value).filter(|value| *value != Variant::Empty), Some(sample))
            }
            None => (Some(nothing()), None),
        },
        Part::Scale(_, _, property) => (Some(kinds::percent(property)), None),
        Part::States => (Some(state::strings()), None),
        Part::Plate(device, plate) | Part::Machinery(Item::Plate(device, plate)) => {
            match space.is_claimed(device, plate) {
                true => space.claimed(&scene.view, device, plate, now),
                false => (Some(space.plate(device, plate)), None),
            }
        }
        Part::Machinery(item) => (Some(machinery::value(space, item).ok_or(StatusCode::BadAttributeIdInvalid)?), None),
        // a declaration has no value of its own (OPC 10000-3, 4.6.2)
        Part::Fact(..) | Part::Signal(..) => (Some(nothing()), None),
        Part::Property(_, tag, property) => {
            match mapping::property_value(space.plan().signal(tag), property, space.words(tag, user)) {
                Variant::Empty => (Some(nothing()), None),
                value => (Some(value), None),
            }
        }
        Part::Object(_)
        | Part::State
        | Part::Buses
        | Part::Deadlines
        | Part::Device(_)
        | Part::Areas
        | Part::Area(_)
        | Part::Place(..)
        | Part::Alias(_)
        | Part::Family(_)
        | Part::Message(..) => return Err(StatusCode::BadAttributeIdInvalid),
    })
}
