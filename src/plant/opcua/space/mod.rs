//! The address space: which nodes there are. Those of the plant (namespace 2) are computed from the plan and never kept, their
//! NodeIds and names are fixed for good; all others are in one table (`standard`).

pub mod alias;
mod attribute;
pub mod condition;
mod diagnostic;
mod fact;
pub mod meaning;
pub mod method;
pub mod model;
mod names;
mod naming;
pub mod permission;
pub mod range;
pub mod role;
pub mod server;
pub mod standard;
mod translated;
pub mod version;

use std::sync::Arc;

use opcua::types::{
    Array, NodeClass, NodeId, ObjectId, ObjectTypeId, ReferenceTypeId, VariableTypeId, Variant, VariantScalarTypeId,
};

use super::identity::Identity;
use super::machine::State;
use super::mapping::{self, Property};
use super::wire::NodeRef;
use crate::plan::{BusIndex, MessageIndex, Plan, TagIndex};
use crate::plant::access::Rights;
pub use diagnostic::Diagnostic;
pub use fact::Fact;
use fact::lease;
use model::asset::Area;
use model::devices::{Device, Devices};
use model::kinds::{Kind, Owner};
use names::{Named, Names};
use naming::number_of;
use standard::Standard;

/// Namespace of all nodes of the plant.
pub const NAMESPACE_URI: &str = "urn:canvoy:plant";
/// Its index: after the standard's and the server's own (OPC 10000-5, 6.3.14).
pub const NAMESPACE: u16 = 2;
/// NodeId of the folder in Objects.
const ROOT: &str = "Canvoy";
/// NodeId of the machine in it; no bus can be called Canvoy.
const MACHINE: &str = "Canvoy.Machine";

/// A J1939 source: where it lies in the store, and its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub slot: usize,
    pub address: u8,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Root,
    /// The machine itself, and its variables.
    Machine,
    State(State),
    Bus(BusIndex),
    /// Of J1939 without a source: what is the same for all of its sources.
    Message(MessageIndex, Option<Source>),
    Fact(MessageIndex, Option<Source>, Fact),
    Signal(TagIndex, Option<Source>),
    Property(TagIndex, Option<Source>, Property),
    /// A row of the table of nodes that do not depend on the plan.
    Standard(u32),
    /// Diagnostics of a session, and what is in them.
    Session(u32),
    Diagnostic(u32, Diagnostic),
    /// Devices, buses, areas, and the types of them.
    Model(model::Part),
    /// Alarms.
    Condition(condition::Part),
    Method(method::Part),
    /// The NodeVersion of a node.
    Version(version::Part),
}

/// What comes and goes, whatever the plan.
#[derive(Clone, Copy)]
pub struct Passing<'a> {
    /// The source address seen at a slot of a J1939 message.
    pub address: &'a dyn Fn(MessageIndex, usize) -> Option<u8>,
    /// The sessions there are.
    pub sessions: &'a dyn Fn() -> Vec<u32>,
}

/// A reference from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Number of the ReferenceType, all of which are in namespace 0.
    pub kind: u32,
    pub forward: bool,
    pub target: Node,
}

/// The nodes of a plan, and those that are always there.
pub struct Space {
    plan: Arc<Plan>,
    pub standard: Arc<Standard>,
    names: Names,
    /// All tags, those of each message in its own place and sorted by name.
    sorted: Vec<u32>,
    pub alarms: condition::Alarms,
    /// Who may do what.
    pub rights: Arc<Rights>,
    devices: Devices,
    areas: Vec<Area>,
    pub aliases: alias::Aliases,
    identity: Arc<Identity>,
}

impl Space {
    pub fn new(plan: Arc<Plan>, standard: Arc<Standard>, identity: Arc<Identity>) -> Space {
        let (devices, areas) = (Devices::new(&plan), model::asset::areas(&plan));
        let names = Names::new(&plan);
        let aliases = alias::Aliases::new(&plan);
        let mut sorted: Vec<u32> = (0..plan.tags.len() as u32).collect();
        for message in &plan.messages {
            if let Some(tags) = sorted.get_mut(message.tags.clone()) {
                tags.sort_by_key(|tag| &plan.signal(*tag as usize).name);
            }
        }
        let alarms = condition::Alarms::new(&plan, &standard);
        Space { plan, standard, names, sorted, alarms, rights: Arc::default(), devices, areas, aliases, identity }
    }

    /// The same, with rights that belong to its plan.
    pub fn with_rights(self, rights: Arc<Rights>) -> Space {
        Space { rights, ..self }
    }

    /// That of another plan.
    pub fn of(&self, plan: Arc<Plan>) -> Space {
        Space::new(plan, self.standard.clone(), self.identity.clone())
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes that this takes besides the plan and the table of standard nodes.
    pub fn bytes(&self) -> usize {
        let indices =
            self.sorted.len() * size_of::<u32>() + self.devices.bytes() + self.alarms.bytes() + self.aliases.bytes();
        self.names.bytes() + indices + size_of::<Space>()
    }

    /// The node behind a NodeId.
    pub fn find(&self, id: NodeRef<'_>, passing: Passing<'_>) -> Option<Node> {
        match id {
            NodeRef::String(NAMESPACE, text) => self.plant(text, passing),
            NodeRef::Numeric(1, session) => (passing.sessions)().contains(&session).then_some(Node::Session(session)),
            NodeRef::String(1, text) => self.standard.find(id).map(Node::Standard).or_else(|| {
                let (session, name) = text.split_once('.')?;
                let diagnostic = Diagnostic::ALL.into_iter().find(|diagnostic| diagnostic.name() == name)?;
                let session = number_of(session).filter(|session| (passing.sessions)().contains(session))?;
                Some(Node::Diagnostic(session, diagnostic))
            }),
            _ => self.standard.find(id).map(Node::Standard),
        }
    }

    fn plant(&self, text: &str, passing: Passing<'_>) -> Option<Node> {
        if let Some(node) = self.named(text, passing) {
            return Some(node);
        }
        let found = model::find(self, text, passing).map(Node::Model);
        let found = found.or_else(|| condition::find(self, text).map(Node::Condition));
        let found = found.or_else(|| version::find(self, text, passing).map(Node::Version));
        if let Some(node) = found.or_else(|| method::find(self, text).map(Node::Method)) {
            return Some(node);
        }
        let (parent, name) = text.rsplit_once('.')?;
        match self.named(parent, passing)? {
            Node::Signal(tag, source) => {
                let property = Property::ALL.into_iter().find(|property| property.name() == name)?;
                mapping::has_property(self.plan.signal(tag), property).then_some(Node::Property(tag, source, property))
            }
            Node::Message(message, source) => {
                self.facts(message).find(|fact| fact.name() == name).map(|fact| Node::Fact(message, source, fact))
            }
            Node::Machine => State::ALL.into_iter().find(|state| state.name() == name).map(Node::State),
            _ => None,
        }
    }

    /// Everything but properties: `bus`, `bus.Message`, `bus.Message.Signal`, with `@address` for J1939.
    pub(super) fn named(&self, text: &str, passing: Passing<'_>) -> Option<Node> {
        let Some((message, rest)) = text.split_once('@') else {
            return match (text, self.names.find(&self.plan, &[text])) {
                (ROOT, _) => Some(Node::Root),
                (MACHINE, _) => Some(Node::Machine),
                (_, Some(Named::Bus(bus))) => Some(Node::Bus(bus)),
                (_, Some(Named::Message(message))) => Some(Node::Message(message, None)),
                // a J1939 signal exists only with its source
                (_, Some(Named::Tag(tag))) if self.is_j1939(self.plan.tags[tag].message) => None,
                (_, Some(Named::Tag(tag))) => Some(Node::Signal(tag, None)),
                (_, None) => None,
            };
        };
        let (digits, signal) = match rest.split_once('.') {
            Some((digits, signal)) => (digits, Some(signal)),
            None => (rest, None),
        };
        let Named::Message(index) = self.names.find(&self.plan, &[message])? else { return None };
        let wanted = number_of(digits)?;
        let source = Some(self.sources(index, passing).find(|source| u32::from(source.address) == wanted)?);
        let Some(signal) = signal else { return Some(Node::Message(index, source)) };
        match self.names.find(&self.plan, &[message, ".", signal])? {
            Named::Tag(tag) => Some(Node::Signal(tag, source)),
            Named::Bus(_) | Named::Message(_) => None,
        }
    }

    fn is_j1939(&self, message: MessageIndex) -> bool {
        self.plan.messages[message].message.has_sources()
    }

    /// The sources of a J1939 message seen so far; none of others.
    fn sources<'a>(&'a self, message: MessageIndex, passing: Passing<'a>) -> impl Iterator<Item = Source> + 'a {
        let slots = if self.is_j1939(message) { self.plan.messages[message].sources } else { 0 };
        (0..slots).filter_map(move |slot| Some(Source { slot, address: (passing.address)(message, slot)? }))
    }

    pub fn class(&self, node: Node) -> NodeClass {
        match node {
            Node::Root | Node::Machine | Node::Bus(_) | Node::Message(..) | Node::Session(_) => NodeClass::Object,
            Node::State(_) | Node::Fact(..) | Node::Signal(..) | Node::Property(..) | Node::Diagnostic(..) => {
                NodeClass::Variable
            }
            Node::Version(_) => NodeClass::Variable,
            Node::Standard(row) => self.standard.entry(row).map_or(NodeClass::Unspecified, |entry| entry.class()),
            Node::Model(part) => model::class(part),
            Node::Condition(part) => condition::class(self, part),
            Node::Method(part) => method::class(part),
        }
    }

    /// The type definition; `None` for what is a type itself.
    pub fn type_definition(&self, node: Node) -> Option<Node> {
        let number = match node {
            Node::Root | Node::Bus(_) => ObjectTypeId::FolderType as u32,
            Node::State(_) => VariableTypeId::BaseDataVariableType as u32,
            // a signal has the name of one of the type's properties
            Node::Message(message, _) if self.facts_of(message).any(|(_, free)| !free) => {
                ObjectTypeId::BaseObjectType as u32
            }
            Node::Message(..) => return Some(Node::Model(model::Part::Object(Owner::Type(Kind::Message)))),
            Node::Machine => ObjectTypeId::BaseObjectType as u32,
            Node::Fact(..) | Node::Version(_) => VariableTypeId::PropertyType as u32,
            Node::Property(_, _, property) => property.type_definition() as u32,
            Node::Signal(tag, _) => mapping::form(self.plan.signal(tag)).type_definition() as u32,
            Node::Standard(row) => return Some(Node::Standard(self.standard.entry(row)?.type_definition()?)),
            Node::Model(part) => return model::type_definition(self, part),
            Node::Condition(part) => return condition::type_definition(self, part),
            Node::Method(part) => return method::type_definition(self, part),
            Node::Session(_) => ObjectTypeId::SessionDiagnosticsObjectType as u32,
            Node::Diagnostic(_, diagnostic) => diagnostic.type_definition() as u32,
        };
        self.standard(number)
    }

    pub fn type_definition_id(&self, node: Node) -> NodeId {
        self.type_definition(node).map_or_else(NodeId::null, |definition| self.id(definition))
    }

    /// A node of the standard.
    fn standard(&self, number: u32) -> Option<Node> {
        self.standard.number(number).map(Node::Standard)
    }

    /// All references of a node, inverse ones first, children sorted by name.
    pub fn references(&self, node: Node, passing: Passing<'_>) -> Vec<Reference> {
        let mut all = Vec::new();
        if let Node::Standard(row) = node {
            let link = |link: &standard::Link| Reference {
                kind: link.kind,
                forward: link.forward,
                target: Node::Standard(link.target),
            };
            all.extend(self.standard.links(row).iter().map(link));
            if self.standard(ObjectId::ObjectsFolder as u32) == Some(node) {
                all.push(forward(ReferenceTypeId::Organizes, Node::Root));
            }
            if self.standard(ObjectId::Server_ServerDiagnostics_SessionsDiagnosticsSummary as u32) == Some(node) {
                let mut sessions = (passing.sessions)();
                sessions.sort_unstable();
                all.extend(sessions.into_iter().map(|id| forward(ReferenceTypeId::HasComponent, Node::Session(id))));
            }
            self.parts(node, passing, &mut all);
            return all;
        }
        if let Some((kind, parent)) = self.parent(node) {
            all.push(Reference { kind: kind as u32, forward: false, target: parent });
        }
        let definition = self.type_definition(node);
        all.extend(definition.map(|definition| forward(ReferenceTypeId::HasTypeDefinition, definition)));
        self.children(node, &mut all);
        self.parts(node, passing, &mut all);
        all
    }

    /// What the model, the conditions and the methods add to the references of a node, of theirs and of others.
    fn parts(&self, node: Node, passing: Passing<'_>, all: &mut Vec<Reference>) {
        model::references(self, node, passing, all);
        condition::references(self, node, passing, all);
        let before = all.len();
        method::references(self, node, passing, all);
        if all.len() > before {
            self.sort(all);
        }
        version::references(self, node, all);
    }

    /// Of the forward references of a node with many children, those to nodes of this name; `None`: it has not many.
    pub fn references_named(&self, node: Node, namespace: u16, name: &str) -> Option<Vec<Reference>> {
        let Node::Bus(bus) = node else { return None };
        // alarms of the bus have a colon in their names
        if namespace != NAMESPACE || name.contains(':') {
            return None;
        }
        let found = self.names.find(&self.plan, &[&self.plan.buses[bus].name, ".", name]);
        Some(match found {
            Some(Named::Message(message)) if self.instance(message).is_none() => {
                vec![forward(ReferenceTypeId::Organizes, Node::Message(message, None))]
            }
            // a device, whose name begins with that of its bus
            _ if name.contains('.') => return None,
            _ => Vec::new(),
        })
    }

    /// What a node of the plant hangs from.
    fn parent(&self, node: Node) -> Option<(ReferenceTypeId, Node)> {
        use ReferenceTypeId::{HasComponent, HasProperty, Organizes};
        Some(match node {
            Node::Root => (Organizes, self.standard(ObjectId::ObjectsFolder as u32)?),
            Node::Machine | Node::Bus(_) => (Organizes, Node::Root),
            Node::State(_) => (HasComponent, Node::Machine),
            Node::Message(message, None) => match self.home(message)? {
                bus @ Node::Bus(_) => (Organizes, bus),
                device => (HasComponent, device),
            },
            Node::Message(message, Some(source)) => {
                let device = Device::Source(self.plan.messages[message].bus, source.address);
                (HasComponent, Node::Model(model::Part::Device(device)))
            }
            Node::Fact(message, source, _) => (HasProperty, Node::Message(message, source)),
            Node::Signal(tag, source) => (HasComponent, Node::Message(self.plan.tags[tag].message, source)),
            Node::Property(tag, source, property) => (property.reference(), Node::Signal(tag, source)),
            Node::Session(_) => {
                let summary = ObjectId::Server_ServerDiagnostics_SessionsDiagnosticsSummary;
                (HasComponent, self.standard(summary as u32)?)
            }
            Node::Diagnostic(session, _) => (HasComponent, Node::Session(session)),
            Node::Model(part) => return model::parent(self, part),
            Node::Condition(part) => return condition::parent(self, part),
            Node::Method(part) => return method::parent(self, part),
            Node::Version(part) => (HasProperty, part.node()),
            Node::Standard(_) => return None,
        })
    }

    fn children(&self, node: Node, all: &mut Vec<Reference>) {
        use ReferenceTypeId::{HasComponent, HasProperty, Organizes};
        match node {
            Node::Root => {
                all.push(forward(Organizes, Node::Machine));
                all.extend((0..self.plan.buses.len()).map(|bus| forward(Organizes, Node::Bus(bus))));
            }
            Node::Bus(bus) => {
                let messages = self.plan.buses[bus].messages.clone();
                let here = messages.filter(|message| self.instance(*message).is_none());
                all.extend(here.map(|message| forward(Organizes, Node::Message(message, None))));
            }
            Node::Message(message, source) => {
                all.extend(self.facts(message).map(|fact| forward(HasProperty, Node::Fact(message, source, fact))));
                // those of a J1939 message are its sources'
                if source.is_some() || !self.is_j1939(message) {
                    let tags = self.sorted.get(self.plan.messages[message].tags.clone()).unwrap_or_default();
                    all.extend(tags.iter().map(|tag| forward(HasComponent, Node::Signal(*tag as usize, source))));
                }
            }
            Node::Signal(tag, source) => {
                let signal = self.plan.signal(tag);
                let properties = Property::ALL.into_iter().filter(|property| mapping::has_property(signal, *property));
                all.extend(
                    properties.map(|property| forward(property.reference(), Node::Property(tag, source, property))),
                );
            }
            Node::Machine => all.extend(State::ALL.map(|state| forward(HasComponent, Node::State(state)))),
            Node::Session(session) => all
                .extend(Diagnostic::ALL.map(|diagnostic| forward(HasComponent, Node::Diagnostic(session, diagnostic)))),
            Node::State(_) | Node::Fact(..) | Node::Property(..) | Node::Standard(_) | Node::Diagnostic(..) => {}
            Node::Model(_) | Node::Condition(_) | Node::Method(_) | Node::Version(_) => {}
        }
    }
}

/// An array of one dimension, empty or not: the crate gives some empty ones a list of no dimensions, which nobody can read.
pub fn array(kind: VariantScalarTypeId, values: Vec<Variant>) -> Variant {
    Array::new(kind, values).map_or(Variant::Empty, |array| Variant::Array(Box::new(array)))
}

fn forward(kind: ReferenceTypeId, target: Node) -> Reference {
    Reference { kind: kind as u32, forward: true, target }
}

/// Whether the value comes from the store.
pub fn is_live(space: &Space, node: Node) -> bool {
    match node {
        Node::Signal(..) | Node::Property(_, _, Property::RawValue | Property::ValueAsText) | Node::State(_) => true,
        Node::Model(part) => model::is_live(space, part),
        Node::Condition(part) => condition::is_live(space, part),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
