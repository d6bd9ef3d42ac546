//! The machine as Machinery has it (OPC 40001-1): who made it, its building blocks, and its components, which are devices.

use opcua::types::{DataTypeId, NodeClass, ObjectTypeId, ReferenceTypeId, VariableTypeId, Variant};

use super::devices::Device;
use super::mark::Mark;
use super::plate::Plate;
use super::{DI, MACHINERY, Part};
use crate::plant::opcua::space::{NAMESPACE, Node, Passing, Reference, Space, forward};

/// Machines, MachineComponentsType, MachineIdentificationType, MachineryComponentIdentificationType.
const MACHINES: u32 = 1001;
const COMPONENTS_TYPE: u32 = 1006;
const MACHINE_TYPE: u32 = 1012;
const COMPONENT_TYPE: u32 = 1005;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// The machine, if it has a name.
    Machine,
    /// All that follows once more, in one place (OPC 40001-1, 6.3).
    BuildingBlocks,
    /// Who made it, if that is known.
    Identification,
    Mark(Mark),
    /// The devices whose maker is known (OPC 40001-1, 11).
    Components,
    /// Who made one of them.
    Nameplate(Device),
    Plate(Device, Plate),
}

/// The part behind what follows `Canvoy.Asset`.
pub fn find(space: &Space, text: &str) -> Option<Item> {
    space.identity.machine.name.as_ref()?;
    match text.split_once('.').unwrap_or((text, "")) {
        ("", "") => Some(Item::Machine),
        ("MachineryBuildingBlocks", "") => Some(Item::BuildingBlocks),
        ("Components", "") => Some(Item::Components),
        ("Identification", mark) if space.is_identified() => match mark {
            "" => Some(Item::Identification),
            name => space.marks().find(|mark| mark.name() == name).map(Item::Mark),
        },
        _ => None,
    }
}

/// The part behind what follows the identifier of a device.
pub fn find_of(space: &Space, device: Device, text: &str) -> Option<Item> {
    let (first, name) = text.split_once('.').unwrap_or((text, ""));
    (first == IDENTIFICATION && space.is_component(device)).then_some(())?;
    match name {
        "" => Some(Item::Nameplate(device)),
        name => space.component_plates(device).find(|own| own.name() == name).map(|plate| Item::Plate(device, plate)),
    }
}

/// DefaultInstanceBrowseName of the types of identifications.
const IDENTIFICATION: &str = "Identification";

/// BrowseName, and its namespace.
pub fn name(space: &Space, item: Item) -> (u16, &str) {
    match item {
        Item::Machine => (NAMESPACE, space.identity.machine.name.as_deref().unwrap_or_default()),
        Item::BuildingBlocks => (MACHINERY, "MachineryBuildingBlocks"),
        Item::Components => (MACHINERY, "Components"),
        Item::Identification | Item::Nameplate(_) => (DI, IDENTIFICATION),
        Item::Mark(mark) => (mark.namespace(), mark.name()),
        Item::Plate(_, plate) => (DI, plate.name()),
    }
}

pub fn class(item: Item) -> NodeClass {
    match item {
        Item::Mark(_) | Item::Plate(..) => NodeClass::Variable,
        Item::Machine | Item::BuildingBlocks | Item::Identification | Item::Components | Item::Nameplate(_) => {
            NodeClass::Object
        }
    }
}

pub fn type_definition(space: &Space, item: Item) -> Option<Node> {
    let (namespace, number) = match item {
        Item::Machine => (0, ObjectTypeId::BaseObjectType as u32),
        Item::BuildingBlocks => (0, ObjectTypeId::FolderType as u32),
        Item::Components => (MACHINERY, COMPONENTS_TYPE),
        Item::Identification => (MACHINERY, MACHINE_TYPE),
        Item::Nameplate(_) => (MACHINERY, COMPONENT_TYPE),
        Item::Mark(_) | Item::Plate(..) => (0, VariableTypeId::PropertyType as u32),
    };
    space.find_number(namespace, number)
}

/// What it hangs from.
pub fn parent(space: &Space, item: Item) -> Option<(ReferenceTypeId, Node)> {
    use ReferenceTypeId::{HasAddIn, HasComponent, HasProperty, Organizes};
    Some(match item {
        Item::Machine => (Organizes, machines(space)?),
        Item::BuildingBlocks => (HasComponent, node(Item::Machine)),
        Item::Identification | Item::Components => (HasAddIn, node(Item::Machine)),
        Item::Mark(_) => (HasProperty, node(Item::Identification)),
        Item::Nameplate(device) => (HasAddIn, Node::Model(Part::Device(device))),
        Item::Plate(device, _) => (HasProperty, node(Item::Nameplate(device))),
    })
}

fn node(item: Item) -> Node {
    Node::Model(Part::Machinery(item))
}

/// The folder of machines.
fn machines(space: &Space) -> Option<Node> {
    space.find_number(MACHINERY, MACHINES)
}

/// Adds references to those of any node, besides parent and type definition.
pub fn references(space: &Space, of: Node, passing: Passing<'_>, all: &mut Vec<Reference>) {
    use ReferenceTypeId::{HasAddIn, HasComponent, HasProperty, Organizes};
    let is_named = space.identity.machine.name.is_some();
    match of {
        Node::Standard(_) if is_named && machines(space) == Some(of) => {
            all.push(forward(Organizes, node(Item::Machine)));
        }
        Node::Model(Part::Device(device)) if space.is_component(device) => {
            super::inverse(all, std::iter::once((HasComponent, node(Item::Components))));
            let plates = |one: &Reference| one.kind == HasProperty as u32;
            let at = all.iter().rposition(plates).map_or(all.len(), |last| last + 1);
            all.insert(at, forward(HasAddIn, node(Item::Nameplate(device))));
        }
        Node::Model(Part::Machinery(item)) => match item {
            Item::Machine => {
                all.extend((!space.areas.is_empty()).then(|| forward(Organizes, Node::Model(Part::Areas))));
                all.extend(add_ins(space));
                all.push(forward(HasComponent, node(Item::BuildingBlocks)));
            }
            Item::BuildingBlocks => all.extend(add_ins(space)),
            Item::Identification => {
                blocks(all);
                all.extend(space.marks().map(|mark| forward(HasProperty, node(Item::Mark(mark)))));
            }
            Item::Components => {
                blocks(all);
                let devices = (0..space.plan().buses.len()).flat_map(|bus| space.devices_of(bus, passing, |_| true));
                let devices = devices.filter(|device| space.is_component(*device));
                all.extend(devices.map(|device| forward(HasComponent, Node::Model(Part::Device(device)))));
            }
            Item::Nameplate(device) => {
                let plates = space.component_plates(device);
                all.extend(plates.map(|plate| forward(HasProperty, node(Item::Plate(device, plate)))));
            }
            Item::Mark(_) | Item::Plate(..) => {}
        },
        _ => {}
    }
}

/// What the machine has of Machinery, sorted by name.
fn add_ins(space: &Space) -> impl Iterator<Item = Reference> {
    let identification = space.is_identified().then_some(Item::Identification);
    let add_in = |item| forward(ReferenceTypeId::HasAddIn, node(item));
    std::iter::once(Item::Components).chain(identification).map(add_in)
}

/// Where they are once more.
fn blocks(all: &mut Vec<Reference>) {
    super::inverse(all, std::iter::once((ReferenceTypeId::HasAddIn, node(Item::BuildingBlocks))));
}

pub fn data_type(item: Item) -> DataTypeId {
    match item {
        Item::Mark(mark) => mark.data_type(),
        Item::Plate(_, plate) => plate.data_type(),
        _ => DataTypeId::String,
    }
}

/// `None` for what has no value.
pub fn value(space: &Space, item: Item) -> Option<Variant> {
    match item {
        Item::Mark(mark) => mark.value(&space.identity.machine),
        _ => None,
    }
}
