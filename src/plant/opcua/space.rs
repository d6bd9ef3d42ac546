//! The address space: which nodes there are, computed from the plan and never kept. NodeIds and names are fixed for good.

use std::collections::HashMap;
use std::sync::Arc;

use opcua::types::node_id::Identifier;
use opcua::types::{
    AttributeId, DataTypeId, LocalizedText, NodeClass, NodeId, ObjectId, ObjectTypeId, QualifiedName, ReferenceTypeId,
    StatusCode, UAString, VariableTypeId, Variant,
};

use super::machine::State;
use super::mapping::{self, Property};
use crate::can::FrameId;
use crate::plan::{BusIndex, MessageIndex, Plan, TagIndex};

/// Namespace of all nodes of the plant.
pub const NAMESPACE_URI: &str = "urn:canvoy:plant";
/// Its index: after the standard's and the server's own (OPC 10000-5, 6.3.14).
pub const NAMESPACE: u16 = 2;
/// The shortest time between two looks at a value, in milliseconds.
pub const FASTEST_MS: f64 = 10.0;
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

/// One node of the plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Root,
    /// The machine itself, and its variables.
    Machine,
    State(State),
    Bus(BusIndex),
    /// Of J1939 without a source: the folder of its sources.
    Message(MessageIndex, Option<Source>),
    Fact(MessageIndex, Fact),
    Signal(TagIndex, Option<Source>),
    Property(TagIndex, Option<Source>, Property),
}

/// What is known about a message: its properties, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    CycleTime,
    Identifier,
    Sender,
}

impl Fact {
    const ALL: [Fact; 3] = [Fact::CycleTime, Fact::Identifier, Fact::Sender];

    fn name(self) -> &'static str {
        match self {
            Fact::CycleTime => "CycleTime",
            Fact::Identifier => "Identifier",
            Fact::Sender => "Sender",
        }
    }
}

/// One end of a reference: a node of ours, or a standard one with what a client is told about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Plant(Node),
    Standard { id: NodeId, name: &'static str, class: NodeClass, type_definition: NodeId },
}

/// A reference from a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub kind: ReferenceTypeId,
    pub forward: bool,
    pub target: Target,
}

impl Reference {
    fn forward(kind: ReferenceTypeId, node: Node) -> Reference {
        Reference { kind, forward: true, target: Target::Plant(node) }
    }

    fn inverse(kind: ReferenceTypeId, node: Node) -> Reference {
        Reference { kind, forward: false, target: Target::Plant(node) }
    }
}

/// The nodes of a plan. What a J1939 message has beside them is handed in by the caller (`sources`), since it comes and goes.
pub struct Space {
    plan: Arc<Plan>,
    nodes: HashMap<String, Node>,
    /// The tags of each message sorted by name.
    sorted: Vec<Vec<TagIndex>>,
}

impl Space {
    pub fn new(plan: Arc<Plan>) -> Space {
        let mut nodes = HashMap::new();
        let mut sorted = Vec::with_capacity(plan.messages.len());
        for (bus, description) in plan.buses.iter().enumerate() {
            nodes.insert(description.name.clone(), Node::Bus(bus));
        }
        for (index, message) in plan.messages.iter().enumerate() {
            nodes.insert(plan.message_name(index, None), Node::Message(index, None));
            let mut tags: Vec<TagIndex> = message.tags.clone().collect();
            tags.sort_by_key(|tag| &plan.signal(*tag).name);
            for tag in &tags {
                nodes.insert(plan.tag_name(*tag, None), Node::Signal(*tag, None));
            }
            sorted.push(tags);
        }
        nodes.insert(ROOT.into(), Node::Root);
        nodes.insert(MACHINE.into(), Node::Machine);
        nodes.extend(State::ALL.map(|state| (format!("{MACHINE}.{}", state.name()), Node::State(state))));
        Space { plan, nodes, sorted }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The node behind a NodeId. `sources`: the source addresses of a J1939 message seen so far.
    pub fn find(&self, id: &NodeId, sources: impl Fn(MessageIndex) -> Vec<(usize, u8)>) -> Option<Node> {
        let Identifier::String(text) = &id.identifier else { return None };
        if id.namespace != NAMESPACE {
            return None;
        }
        let text: &str = text.as_ref();
        if let Some(node) = self.named(text, &sources) {
            return Some(node);
        }
        let (parent, name) = text.rsplit_once('.')?;
        match self.named(parent, &sources)? {
            Node::Signal(tag, source) => {
                let property = Property::ALL.into_iter().find(|property| property.name() == name)?;
                mapping::has_property(self.plan.signal(tag), property).then_some(Node::Property(tag, source, property))
            }
            Node::Message(message, None) => {
                self.facts(message).find(|fact| fact.name() == name).map(|fact| Node::Fact(message, fact))
            }
            _ => None,
        }
    }

    /// Everything but properties: `bus`, `bus.Message`, `bus.Message.Signal`, with `@address` for J1939.
    fn named(&self, text: &str, sources: impl Fn(MessageIndex) -> Vec<(usize, u8)>) -> Option<Node> {
        let Some((message, rest)) = text.split_once('@') else {
            return match *self.nodes.get(text)? {
                // a J1939 signal exists only with its source
                Node::Signal(tag, None) if self.is_j1939(self.plan.tags[tag].message) => None,
                node => Some(node),
            };
        };
        let (address, signal) = match rest.split_once('.') {
            Some((address, signal)) => (address, Some(signal)),
            None => (rest, None),
        };
        let Node::Message(index, None) = *self.nodes.get(message)? else { return None };
        // one spelling for one node: no "+1", no "01"
        let number: u8 = address.parse().ok().filter(|number: &u8| number.to_string() == address)?;
        let (slot, address) = sources(index).into_iter().find(|(_, seen)| *seen == number)?;
        let source = Some(Source { slot, address });
        let Some(signal) = signal else { return Some(Node::Message(index, source)) };
        match *self.nodes.get(&format!("{message}.{signal}"))? {
            Node::Signal(tag, None) => Some(Node::Signal(tag, source)),
            _ => None,
        }
    }

    fn is_j1939(&self, message: MessageIndex) -> bool {
        self.plan.messages[message].message.has_sources()
    }

    /// What is known about a message. A signal of the same name keeps the name to itself.
    fn facts(&self, message: MessageIndex) -> impl Iterator<Item = Fact> {
        let description = &self.plan.messages[message].message;
        Fact::ALL.into_iter().filter(move |fact| {
            let known = match fact {
                Fact::CycleTime => description.cycle_time.is_some(),
                Fact::Identifier => true,
                Fact::Sender => !description.senders.is_empty(),
            };
            known && description.signals.iter().all(|signal| signal.name != fact.name())
        })
    }

    /// The NodeId's text.
    pub fn id_text(&self, node: Node) -> String {
        let address = |source: Option<Source>| source.map(|source| source.address);
        match node {
            Node::Root => ROOT.into(),
            Node::Machine => MACHINE.into(),
            Node::State(state) => format!("{MACHINE}.{}", state.name()),
            Node::Bus(bus) => self.plan.buses[bus].name.clone(),
            Node::Message(message, source) => self.plan.message_name(message, address(source)),
            Node::Fact(message, fact) => format!("{}.{}", self.plan.message_name(message, None), fact.name()),
            Node::Signal(tag, source) => self.plan.tag_name(tag, address(source)),
            Node::Property(tag, source, property) => {
                format!("{}.{}", self.plan.tag_name(tag, address(source)), property.name())
            }
        }
    }

    pub fn id(&self, node: Node) -> NodeId {
        NodeId::new(NAMESPACE, UAString::from(self.id_text(node)))
    }

    /// The name inside its parent.
    fn name(&self, node: Node) -> String {
        match node {
            Node::Root => ROOT.into(),
            Node::Machine => "Machine".into(),
            Node::State(state) => state.name().into(),
            Node::Bus(bus) => self.plan.buses[bus].name.clone(),
            Node::Message(message, source) => {
                let name = &self.plan.messages[message].message.name;
                source.map_or_else(|| name.clone(), |source| format!("{name}@{}", source.address))
            }
            Node::Fact(_, fact) => fact.name().into(),
            Node::Signal(tag, _) => self.plan.signal(tag).name.clone(),
            Node::Property(_, _, property) => property.name().into(),
        }
    }

    pub fn browse_name(&self, node: Node) -> QualifiedName {
        let namespace = if matches!(node, Node::Property(..)) { 0 } else { NAMESPACE };
        QualifiedName::new(namespace, self.name(node))
    }

    /// The alias of an overlay table, else the name inside its parent.
    pub fn display_name(&self, node: Node) -> LocalizedText {
        let alias = match node {
            Node::Signal(tag, _) => self.plan.alias(tag),
            // the folder of a J1939 message's sources and each of them would have one name
            Node::Message(message, None) => self.plan.message_overlays.get(&message).and_then(|o| o.alias.as_deref()),
            _ => None,
        };
        LocalizedText::new("", alias.unwrap_or(&self.name(node)))
    }

    pub fn class(&self, node: Node) -> NodeClass {
        match node {
            Node::Root | Node::Machine | Node::Bus(_) | Node::Message(..) => NodeClass::Object,
            Node::State(_) | Node::Fact(..) | Node::Signal(..) | Node::Property(..) => NodeClass::Variable,
        }
    }

    /// The type definition: NodeId, BrowseName, class.
    fn type_definition(&self, node: Node) -> (NodeId, &'static str, NodeClass) {
        match node {
            Node::Root | Node::Bus(_) => (ObjectTypeId::FolderType.into(), "FolderType", NodeClass::ObjectType),
            Node::Message(message, None) if self.is_j1939(message) => {
                (ObjectTypeId::FolderType.into(), "FolderType", NodeClass::ObjectType)
            }
            Node::State(_) => {
                (VariableTypeId::BaseDataVariableType.into(), "BaseDataVariableType", NodeClass::VariableType)
            }
            Node::Machine | Node::Message(..) => {
                (ObjectTypeId::BaseObjectType.into(), "BaseObjectType", NodeClass::ObjectType)
            }
            Node::Fact(..) | Node::Property(..) => {
                (VariableTypeId::PropertyType.into(), "PropertyType", NodeClass::VariableType)
            }
            Node::Signal(tag, _) => {
                let form = mapping::form(self.plan.signal(tag));
                (form.type_definition().into(), form.type_name(), NodeClass::VariableType)
            }
        }
    }

    pub fn type_definition_id(&self, node: Node) -> NodeId {
        self.type_definition(node).0
    }

    /// The reference from the standard Objects folder into the plant.
    pub fn from_objects() -> Reference {
        Reference::forward(ReferenceTypeId::Organizes, Node::Root)
    }

    /// All references of a node, parents first, children sorted by name.
    pub fn references(&self, node: Node, sources: impl Fn(MessageIndex) -> Vec<(usize, u8)>) -> Vec<Reference> {
        use ReferenceTypeId::{HasComponent, HasProperty, HasTypeDefinition, Organizes};
        let (id, name, class) = self.type_definition(node);
        let definition = Target::Standard { id, name, class, type_definition: NodeId::null() };
        let mut all = Vec::new();
        match node {
            Node::Root => all.push(Reference {
                kind: Organizes,
                forward: false,
                target: Target::Standard {
                    id: ObjectId::ObjectsFolder.into(),
                    name: "Objects",
                    class: NodeClass::Object,
                    type_definition: ObjectTypeId::FolderType.into(),
                },
            }),
            Node::Machine | Node::Bus(_) => all.push(Reference::inverse(Organizes, Node::Root)),
            Node::State(_) => all.push(Reference::inverse(HasComponent, Node::Machine)),
            Node::Message(message, None) => {
                all.push(Reference::inverse(Organizes, Node::Bus(self.plan.messages[message].bus)));
            }
            Node::Message(message, Some(_)) => all.push(Reference::inverse(Organizes, Node::Message(message, None))),
            Node::Fact(message, _) => all.push(Reference::inverse(HasProperty, Node::Message(message, None))),
            Node::Signal(tag, source) => {
                all.push(Reference::inverse(HasComponent, Node::Message(self.plan.tags[tag].message, source)));
            }
            Node::Property(tag, source, _) => all.push(Reference::inverse(HasProperty, Node::Signal(tag, source))),
        }
        all.push(Reference { kind: HasTypeDefinition, forward: true, target: definition });
        match node {
            Node::Root => {
                all.push(Reference::forward(Organizes, Node::Machine));
                all.extend((0..self.plan.buses.len()).map(|bus| Reference::forward(Organizes, Node::Bus(bus))));
            }
            Node::Bus(bus) => {
                let messages = self.plan.buses[bus].messages.clone();
                all.extend(messages.map(|message| Reference::forward(Organizes, Node::Message(message, None))));
            }
            Node::Message(message, source) => {
                if source.is_none() {
                    all.extend(
                        self.facts(message).map(|fact| Reference::forward(HasProperty, Node::Fact(message, fact))),
                    );
                }
                if source.is_none() && self.is_j1939(message) {
                    let mut seen = sources(message);
                    seen.sort_by_key(|(_, address)| *address);
                    all.extend(seen.into_iter().map(|(slot, address)| {
                        Reference::forward(Organizes, Node::Message(message, Some(Source { slot, address })))
                    }));
                } else {
                    let tags = self.sorted[message].iter();
                    all.extend(tags.map(|tag| Reference::forward(HasComponent, Node::Signal(*tag, source))));
                }
            }
            Node::Signal(tag, source) => {
                let signal = self.plan.signal(tag);
                let properties = Property::ALL.into_iter().filter(|property| mapping::has_property(signal, *property));
                all.extend(
                    properties.map(|property| Reference::forward(HasProperty, Node::Property(tag, source, property))),
                );
            }
            Node::Machine => {
                all.extend(State::ALL.map(|state| Reference::forward(HasComponent, Node::State(state))));
            }
            Node::State(_) | Node::Fact(..) | Node::Property(..) => {}
        }
        all
    }

    /// An attribute other than Value. `may_write`: the user may.
    pub fn attribute(&self, node: Node, attribute: AttributeId, may_write: bool) -> Result<Variant, StatusCode> {
        let class = self.class(node);
        match (class, attribute) {
            (_, AttributeId::NodeId) => Ok(Variant::from(self.id(node))),
            (_, AttributeId::NodeClass) => Ok(Variant::Int32(class as i32)),
            (_, AttributeId::BrowseName) => Ok(Variant::from(self.browse_name(node))),
            (_, AttributeId::DisplayName) => Ok(Variant::from(self.display_name(node))),
            (_, AttributeId::Description) => match self.description(node) {
                Some((locale, text)) => Ok(Variant::from(LocalizedText::new(locale, text))),
                None => Err(StatusCode::BadAttributeIdInvalid),
            },
            (_, AttributeId::WriteMask | AttributeId::UserWriteMask) => Ok(Variant::UInt32(0)),
            (NodeClass::Object, AttributeId::EventNotifier) => Ok(Variant::Byte(0)),
            (NodeClass::Variable, AttributeId::DataType) => Ok(Variant::from(NodeId::from(self.data_type(node)))),
            (NodeClass::Variable, AttributeId::ValueRank) => Ok(Variant::Int32(if is_array(node) { 1 } else { -1 })),
            (NodeClass::Variable, AttributeId::ArrayDimensions) if is_array(node) => Ok(Variant::from(vec![0_u32])),
            (NodeClass::Variable, AttributeId::AccessLevel) => Ok(Variant::Byte(self.access_level(node, true))),
            (NodeClass::Variable, AttributeId::UserAccessLevel) => {
                Ok(Variant::Byte(self.access_level(node, may_write)))
            }
            (NodeClass::Variable, AttributeId::MinimumSamplingInterval) => {
                Ok(Variant::Double(if is_live(node) { FASTEST_MS } else { 0.0 }))
            }
            (NodeClass::Variable, AttributeId::Historizing) => Ok(Variant::Boolean(false)),
            _ => Err(StatusCode::BadAttributeIdInvalid),
        }
    }

    /// Locale and text: the comment of the DBC or what an overlay table has in its place, else the first that such a table
    /// has for a locale. The session's own locales are not known here.
    fn description(&self, node: Node) -> Option<(&str, &str)> {
        let (comment, overlay) = match node {
            Node::Message(message, _) => {
                (self.plan.messages[message].message.comment.as_deref(), self.plan.message_overlays.get(&message))
            }
            Node::Signal(tag, _) => (self.plan.signal(tag).comment.as_deref(), self.plan.tag_overlays.get(&tag)),
            Node::State(state) => (Some(state.description()), None),
            Node::Root | Node::Machine | Node::Bus(_) | Node::Fact(..) | Node::Property(..) => (None, None),
        };
        let first = || overlay?.descriptions.first().map(|(locale, text)| (locale.as_str(), text.as_str()));
        comment.map(|text| ("", text)).or_else(first)
    }

    fn data_type(&self, node: Node) -> DataTypeId {
        match node {
            Node::Signal(tag, _) => mapping::value_type(self.plan.signal(tag)).data_type(),
            Node::Property(_, _, property) => property.data_type(),
            Node::Fact(_, Fact::CycleTime) => DataTypeId::Duration,
            Node::State(state) => state.data_type(),
            _ => DataTypeId::String,
        }
    }

    /// Bits of OPC 10000-3, 8.57: 0 CurrentRead, 1 CurrentWrite.
    fn access_level(&self, node: Node, may_write: bool) -> u8 {
        match node {
            Node::Signal(tag, _) if may_write && self.plan.tags[tag].writable => 0b11,
            Node::State(state) if may_write && state.is_writable() => 0b11,
            _ => 0b01,
        }
    }

    /// The value of a fact about a message.
    pub fn fact_value(&self, message: MessageIndex, fact: Fact) -> Variant {
        let message = &self.plan.messages[message].message;
        match fact {
            Fact::CycleTime => match message.cycle_time {
                Some(period) => Variant::Double(period.as_secs_f64() * 1000.0),
                None => Variant::Empty,
            },
            Fact::Identifier => Variant::from(identifier(message.id)),
            Fact::Sender => Variant::from(message.senders.join(", ")),
        }
    }
}

/// As candump writes it.
fn identifier(id: FrameId) -> String {
    id.to_string()
}

fn is_array(node: Node) -> bool {
    match node {
        Node::Property(_, _, property) => property.is_array(),
        Node::State(state) => state.is_array(),
        _ => false,
    }
}

/// Whether the value comes from the store.
pub fn is_live(node: Node) -> bool {
    matches!(node, Node::Signal(..) | Node::Property(_, _, Property::ValueAsText) | Node::State(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Overlay;
    use crate::plant::opcua::tests::{plan, tag};

    /// Two sources of every J1939 message.
    fn seen(_: MessageIndex) -> Vec<(usize, u8)> {
        vec![(0, 200), (1, 33)]
    }

    #[test]
    fn every_node_is_found_by_its_id_and_refers_back() {
        let space = Space::new(Arc::new(plan()));
        let mut nodes = vec![Node::Root];
        let mut at = 0;
        while let Some(node) = nodes.get(at).copied() {
            at += 1;
            let id = space.id(node);
            assert_eq!(space.find(&id, seen), Some(node), "{id}");
            let references = space.references(node, seen);
            let children: Vec<Node> = references
                .iter()
                .filter_map(|reference| match &reference.target {
                    Target::Plant(child) if reference.forward => Some(*child),
                    _ => None,
                })
                .collect();
            for child in &children {
                let back = space.references(*child, seen);
                let parent = |reference: &&Reference| reference.target == Target::Plant(node) && !reference.forward;
                assert_eq!(back.iter().filter(parent).count(), 1, "{}", space.id(*child));
            }
            let definitions = references.iter().filter(|r| r.kind == ReferenceTypeId::HasTypeDefinition);
            assert_eq!(definitions.count(), 1, "{id}");
            let mut names: Vec<_> = children.iter().map(|child| space.browse_name(*child).to_string()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), children.len(), "names below {id} are unique");
            for attribute in
                [AttributeId::NodeId, AttributeId::NodeClass, AttributeId::BrowseName, AttributeId::DisplayName]
            {
                assert!(space.attribute(node, attribute, false).is_ok(), "{id} {attribute:?}");
            }
            let variable = space.class(node) == NodeClass::Variable;
            for attribute in [
                AttributeId::DataType,
                AttributeId::ValueRank,
                AttributeId::AccessLevel,
                AttributeId::UserAccessLevel,
                AttributeId::Historizing,
            ] {
                assert_eq!(space.attribute(node, attribute, false).is_ok(), variable, "{id} {attribute:?}");
            }
            nodes.extend(children);
        }
        assert_eq!(nodes.len(), 63, "{:?}", nodes.iter().map(|node| space.id_text(*node)).collect::<Vec<_>>());
    }

    #[test]
    fn ids_are_fixed_for_good() {
        let space = Space::new(Arc::new(plan()));
        for (text, found) in [
            ("Canvoy", true),
            ("line", true),
            ("line.Oven", true),
            ("Canvoy.Machine", true),
            ("Canvoy.Machine.Armed", true),
            ("Canvoy.Machine.Nothing", false),
            ("line.Oven.Temp", true),
            ("line.Oven.Temp.EURange", true),
            ("line.Oven.Identifier", true),
            ("line.EEC1", true),
            ("line.EEC1@33", true),
            ("line.EEC1@33.EngineSpeed", true),
            ("line.EEC1@200.EngineSpeed.EngineeringUnits", true),
            ("line.EEC1@34", false),
            ("line.EEC1@033", false),
            ("line.EEC1@+33", false),
            ("line.EEC1@", false),
            ("line.EEC1@33.", false),
            ("line.EEC1.EngineSpeed", false),
            ("line.Oven@33", false),
            ("line.Oven.Temp.EnumValues", false),
            ("line.EEC1@33.Identifier", false),
            ("", false),
            (".", false),
            ("line.", false),
        ] {
            // only a J1939 message has sources
            let sources = |message: MessageIndex| if space.is_j1939(message) { seen(message) } else { Vec::new() };
            let id = NodeId::new(NAMESPACE, text.to_owned());
            assert_eq!(space.find(&id, sources).is_some(), found, "{text}");
            assert_eq!(space.find(&NodeId::new(1, text.to_owned()), sources), None);
        }
        assert_eq!(space.find(&NodeId::new(NAMESPACE, 5_u32), seen), None);
    }

    #[test]
    fn overlay_tables_give_names_and_descriptions_never_ids() {
        let mut plan = plan();
        let overlay = |alias: &str, de: &str| Overlay {
            alias: Some(alias.into()),
            area: None,
            descriptions: vec![("de".into(), de.into())],
        };
        let (temp, mode) = (tag(&plan, "Oven.Temp"), tag(&plan, "Oven.Mode"));
        plan.tag_overlays = [(temp, overlay("Oven 3", "Temperatur")), (mode, overlay("Mode 3", "Betriebsart"))].into();
        let eec1 = plan.tags[tag(&plan, "EEC1.EngineSpeed")].message;
        plan.message_overlays = [(eec1, overlay("Engine", "Motor"))].into();
        let space = Space::new(Arc::new(plan));
        let read = |text: &str, attribute| {
            let node = space.find(&NodeId::new(NAMESPACE, text.to_owned()), seen).unwrap();
            match space.attribute(node, attribute, false) {
                Ok(Variant::LocalizedText(text)) => format!("{}:{}", text.locale, text.text),
                other => format!("{other:?}"),
            }
        };
        for (id, name, description) in [
            // what the DBC file says has no locale, and is stronger
            ("line.Oven.Temp", "Oven 3", ":Temperature of the oven"),
            ("line.Oven.Mode", "Mode 3", "de:Betriebsart"),
            ("line.Oven", "Oven", ":The oven"),
            ("line.EEC1", "Engine", "de:Motor"),
            ("line.EEC1@33", "EEC1@33", "de:Motor"),
        ] {
            assert_eq!(read(id, AttributeId::DisplayName).trim_start_matches("[null]").trim_start_matches(':'), name);
            assert_eq!(read(id, AttributeId::Description).trim_start_matches("[null]"), description, "{id}");
        }
    }

    #[test]
    fn who_may_write_sees_it() {
        let space = Space::new(Arc::new(plan()));
        let level = |text: &str, attribute, may_write| {
            let node = space.find(&NodeId::new(NAMESPACE, text.to_owned()), seen).unwrap();
            space.attribute(node, attribute, may_write).unwrap()
        };
        let (access, user) = (AttributeId::AccessLevel, AttributeId::UserAccessLevel);
        assert_eq!(level("line.DriveCommand.Enable", access, false), Variant::Byte(3));
        assert_eq!(level("line.DriveCommand.Enable", user, false), Variant::Byte(1));
        assert_eq!(level("line.DriveCommand.Enable", user, true), Variant::Byte(3));
        assert_eq!(level("line.DriveCommand.Locked", user, true), Variant::Byte(1));
        assert_eq!(level("line.Oven.Temp", access, true), Variant::Byte(1));
    }
}
