//! NodeVersion (OPC 10000-3, 9.32.2): which nodes have one, and what is in it. No version is counted and kept: it is made of
//! what the node is and refers to, for the user who reads it, so that it is another one exactly when a ModelChangeEvent of
//! that user names the node; and it is the same again after a restart.

use std::fmt::Write;

use opcua::types::{NodeClass, ReferenceTypeId, Variant};

use super::model::devices::{Device, Family};
use super::model::machinery::Item;
use super::model::{self, Part as ModelPart};
use super::{Node, Passing, Reference, Source, Space, condition, forward};
use crate::plan::{BusIndex, MessageIndex, TagIndex};

/// What the NodeId of the property begins with; it goes on with that of its node.
const PREFIX: &str = "Canvoy.NodeVersion.";
const NAME: &str = "NodeVersion";

/// A node that has a NodeVersion. What it shows besides these, a signal's properties or a device's plate, changes the version
/// of the one that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Root,
    Machine,
    Alarms,
    Buses,
    Deadlines,
    Components,
    Areas,
    Area(u32),
    Place(u32, MessageIndex, Option<Source>),
    Bus(BusIndex),
    Message(MessageIndex, Option<Source>),
    Device(Device),
    Family(Family),
    Signal(TagIndex, Option<Source>),
}

/// What a version is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// A number for each reference, sorted.
    pub references: Vec<u64>,
    /// Of a variable: a number for data type and rank.
    pub data_type: u64,
}

impl Part {
    /// That of a node, where it has one.
    pub fn of(node: Node) -> Option<Part> {
        Some(match node {
            Node::Root => Part::Root,
            Node::Machine => Part::Machine,
            Node::Bus(bus) => Part::Bus(bus),
            Node::Message(message, source) => Part::Message(message, source),
            Node::Signal(tag, source) => Part::Signal(tag, source),
            Node::Condition(condition::Part::Folder) => Part::Alarms,
            Node::Model(ModelPart::Buses) => Part::Buses,
            Node::Model(ModelPart::Deadlines) => Part::Deadlines,
            Node::Model(ModelPart::Machinery(Item::Components)) => Part::Components,
            Node::Model(ModelPart::Areas) => Part::Areas,
            Node::Model(ModelPart::Area(area)) => Part::Area(area),
            Node::Model(ModelPart::Place(area, message, source)) => Part::Place(area, message, source),
            Node::Model(ModelPart::Device(device)) => Part::Device(device),
            Node::Model(ModelPart::Family(family)) => Part::Family(family),
            _ => return None,
        })
    }

    /// The node that has it.
    pub fn node(self) -> Node {
        match self {
            Part::Root => Node::Root,
            Part::Machine => Node::Machine,
            Part::Bus(bus) => Node::Bus(bus),
            Part::Message(message, source) => Node::Message(message, source),
            Part::Signal(tag, source) => Node::Signal(tag, source),
            Part::Alarms => Node::Condition(condition::Part::Folder),
            Part::Buses => Node::Model(ModelPart::Buses),
            Part::Deadlines => Node::Model(ModelPart::Deadlines),
            Part::Components => Node::Model(ModelPart::Machinery(Item::Components)),
            Part::Areas => Node::Model(ModelPart::Areas),
            Part::Area(area) => Node::Model(ModelPart::Area(area)),
            Part::Place(area, message, source) => Node::Model(ModelPart::Place(area, message, source)),
            Part::Device(device) => Node::Model(ModelPart::Device(device)),
            Part::Family(family) => Node::Model(ModelPart::Family(family)),
        }
    }

    /// How far it is from the folder of the plant, at most [`DEEPEST`].
    pub fn depth(self) -> u8 {
        match self {
            Part::Root => 0,
            Part::Machine | Part::Alarms | Part::Buses | Part::Deadlines | Part::Components | Part::Areas => 1,
            Part::Area(_) | Part::Bus(_) => 1,
            Part::Place(..) | Part::Message(..) | Part::Device(_) | Part::Family(_) => 2,
            Part::Signal(..) => DEEPEST,
        }
    }

    /// What stands for it where it is one of too many.
    pub fn above(self, space: &Space) -> Part {
        let bus = |bus: Option<BusIndex>| bus.map_or(Part::Root, Part::Bus);
        match self {
            Part::Signal(tag, source) => {
                space.plan.tags.get(tag).map_or(Part::Root, |tag| Part::Message(tag.message, source))
            }
            Part::Place(area, ..) => Part::Area(area),
            Part::Message(message, _) => bus(space.plan.messages.get(message).map(|message| message.bus)),
            Part::Device(Device::Source(of, _)) | Part::Family(Family::Sources(of)) => Part::Bus(of),
            Part::Device(Device::Listed(number)) | Part::Family(Family::Listed(number)) => {
                bus(space.device_bus(number))
            }
            _ => Part::Root,
        }
    }
}

/// The depth of signals.
pub const DEEPEST: u8 = 3;

/// The part behind an identifier.
pub fn find(space: &Space, text: &str, passing: Passing<'_>) -> Option<Part> {
    // a version has none; and what begins so again and again would be a search as deep as the text is long
    let of = text.strip_prefix(PREFIX).filter(|of| !of.starts_with(PREFIX))?;
    Part::of(space.plant(of, passing)?)
}

/// Appends the identifier.
pub fn write_id(space: &Space, part: Part, text: &mut String) {
    text.push_str(PREFIX);
    space.write_id(part.node(), text);
}

/// Appends the BrowseName; its namespace.
pub fn name_in(text: &mut String) -> u16 {
    text.push_str(NAME);
    0
}

/// Adds the property to the references of a node, where its name belongs among other properties.
pub fn references(space: &Space, node: Node, all: &mut Vec<Reference>) {
    use ReferenceTypeId::{HasComponent, HasProperty};
    let Some(part) = Part::of(node) else { return };
    let among =
        |kind: u32| kind == HasProperty as u32 || matches!(part, Part::Signal(..)) && kind == HasComponent as u32;
    let mut name = String::new();
    let mut at = None;
    for (index, reference) in all.iter().enumerate() {
        if !reference.forward || !among(reference.kind) {
            continue;
        }
        space.name_in(reference.target, &mut name);
        if name.as_str() > NAME {
            at.get_or_insert(index);
            break;
        }
        at = None;
    }
    let last = all.iter().rposition(|reference| reference.forward && among(reference.kind));
    let at = at.or(last.map(|last| last + 1)).unwrap_or(all.len());
    all.insert(at, forward(HasProperty, Node::Version(part)));
}

/// What a node is made of, as far as it is seen.
pub fn shape(space: &Space, part: Part, passing: Passing<'_>, sees: impl Fn(Node) -> bool) -> Shape {
    let node = part.node();
    let mut text = String::new();
    let seen = space.references(node, passing).into_iter();
    let seen = seen.filter(|of| !matches!(of.target, Node::Version(_)) && sees(of.target));
    let mut references: Vec<u64> = seen
        .map(|Reference { kind, forward, target }| {
            let mut hash = Hash::default();
            hash.number(u64::from(kind) << 1 | u64::from(forward));
            id(space, target, &mut text, &mut hash);
            // an alarm has no version of its own
            if let Some(kind) = space.type_definition(target).filter(|_| matches!(target, Node::Condition(_))) {
                id(space, kind, &mut text, &mut hash);
            }
            hash.0
        })
        .collect();
    references.sort_unstable();
    let mut hash = Hash::default();
    if space.class(node) == NodeClass::Variable {
        hash.number(u64::from(space.data_type(node)));
        hash.number(space.value_rank(node) as u64);
    }
    Shape { references, data_type: hash.0 }
}

fn id(space: &Space, node: Node, text: &mut String, hash: &mut Hash) {
    let id = space.id_in(node, text);
    match id {
        super::NodeRef::Numeric(namespace, number) => {
            hash.number(u64::from(namespace));
            hash.number(u64::from(number));
        }
        super::NodeRef::String(namespace, name) => {
            hash.number(u64::from(namespace));
            hash.text(name);
        }
        other => hash.text(&format!("{other:?}")),
    }
}

/// A number for all of a shape: another one with every other shape.
pub fn digest(shape: &Shape) -> u64 {
    let mut hash = Hash::default();
    shape.references.iter().for_each(|number| hash.number(*number));
    hash.number(shape.data_type);
    hash.0
}

/// The value.
pub fn value(shape: &Shape) -> Variant {
    let mut text = String::new();
    // a String takes everything
    let _ = write!(text, "{:016x}", digest(shape));
    Variant::from(text)
}

/// A number for an identifier: the same in every plan.
pub fn key(space: &Space, part: Part) -> u64 {
    let mut hash = Hash::default();
    id(space, part.node(), &mut String::new(), &mut hash);
    hash.0
}

/// FNV-1a: no secret, and the same in every release.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xCBF2_9CE4_8422_2325)
    }
}

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }
}

/// All nodes that have one, in an order that two plans have in common. `passing_only`: those that a new J1939 source may change.
pub fn each(space: &Space, passing: Passing<'_>, passing_only: bool, mut visit: impl FnMut(Part)) {
    let plan = &space.plan;
    if !passing_only {
        [Part::Root, Part::Machine, Part::Alarms, Part::Buses, Part::Deadlines].into_iter().for_each(&mut visit);
        if !space.areas.is_empty() {
            visit(Part::Areas);
        }
        model::families(space).into_iter().map(Part::Family).for_each(&mut visit);
    }
    if space.identity.machine.name.is_some() {
        visit(Part::Components);
    }
    for bus in 0..plan.buses.len() {
        visit(Part::Bus(bus));
        for device in model::devices_of(space, bus, passing) {
            if !passing_only || matches!(device, Device::Source(..)) {
                visit(Part::Device(device));
            }
        }
    }
    for (index, message) in plan.messages.iter().enumerate() {
        let mut signals = |source: Option<Source>| {
            visit(Part::Message(index, source));
            message.tags.clone().for_each(|tag| visit(Part::Signal(tag, source)));
        };
        if message.message.has_sources() {
            space.sources(index, passing).for_each(|source| signals(Some(source)));
            if !passing_only {
                visit(Part::Message(index, None));
            }
        } else if !passing_only {
            signals(None);
        }
    }
    for area in 0..space.areas.len() as u32 {
        visit(Part::Area(area));
        for (message, source) in model::messages_in(space, area, passing) {
            if !passing_only || source.is_some() {
                visit(Part::Place(area, message, source));
            }
        }
    }
}
