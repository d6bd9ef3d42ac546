//! Attributes other than Value (OPC 10000-3, 5): which each class of node has, and what is in them.

use opcua::types::{
    AttributeId, DataTypeId, LocalizedText, NodeClass, NodeId, StatusCode, Variant, VariantScalarTypeId,
};

use super::standard::{self, Entry};
use super::{Fact, Node, Source, Space, array, condition, is_live, lease, method, model};
use crate::can::FrameId;
use crate::plan::MessageIndex;
use crate::plant::access::Operation;
use crate::plant::opcua::limits::FASTEST_MS;
use crate::plant::opcua::locale::Locales;
use crate::plant::opcua::mapping;
use crate::plant::opcua::session::User;

/// Bits of OPC 10000-3, 8.57.
const CURRENT_READ: u8 = 1;
const CURRENT_WRITE: u8 = 2;
const HISTORY_READ: u8 = 4;
/// A change of the value is a SemanticChangeEvent of what has the property.
const SEMANTIC_CHANGE: u8 = 16;

impl Space {
    /// An attribute other than Value, as this user sees it.
    pub fn attribute(&self, node: Node, attribute: AttributeId, user: &User) -> Result<Variant, StatusCode> {
        use NodeClass as C;
        let row = match node {
            Node::Standard(row) => Some(self.standard.entry(row).ok_or(StatusCode::BadNodeIdUnknown)?),
            _ => None,
        };
        let missing = StatusCode::BadAttributeIdInvalid;
        let text = |text: &str| Variant::from(LocalizedText::new("", text));
        let own = match node {
            Node::Model(part) => model::attribute(self, part, attribute, user),
            Node::Condition(part) => condition::attribute(self, part, attribute, user),
            Node::Method(part) => method::attribute(self, part, attribute, user),
            _ => None,
        };
        if let Some(own) = own {
            return own;
        }
        Ok(match (self.class(node), attribute) {
            (_, AttributeId::NodeId) => Variant::from(self.id(node)),
            (class, AttributeId::NodeClass) => Variant::Int32(class as i32),
            (_, AttributeId::BrowseName) => Variant::from(self.browse_name(node)),
            (_, AttributeId::DisplayName) => Variant::from(self.display_name(node, &user.locales)),
            (_, AttributeId::Description) => self.described(node, &user.locales)?,
            (_, AttributeId::WriteMask | AttributeId::UserWriteMask) => Variant::UInt32(0),
            (C::Object | C::View, AttributeId::EventNotifier) => {
                let own = u8::from(self.is_notifier(node));
                Variant::Byte(row.map_or(own, |entry: Entry<'_>| entry.level()))
            }
            (C::View, AttributeId::ContainsNoLoops) => Variant::Boolean(true),
            (C::Variable | C::VariableType, AttributeId::DataType) => Variant::from(self.data_type_id(node)),
            (C::Variable | C::VariableType, AttributeId::ValueRank) => Variant::Int32(self.value_rank(node)),
            (C::Variable | C::VariableType, AttributeId::ArrayDimensions) => match row.and_then(|row| row.dimensions())
            {
                Some(bytes) => standard::decode(bytes),
                None if self.value_rank(node) == 1 => Variant::from(vec![0_u32]),
                None => return Err(missing),
            },
            (_, AttributeId::RolePermissions) => self.role_permissions(node, user, false)?,
            (_, AttributeId::UserRolePermissions) => self.role_permissions(node, user, true)?,
            (C::Variable, AttributeId::AccessLevel) => Variant::Byte(self.access_level(node)),
            (C::Variable, AttributeId::UserAccessLevel) => Variant::Byte(self.user_access_level(node, user)),
            (C::Variable, AttributeId::AccessLevelEx) => Variant::UInt32(u32::from(self.access_level(node))),
            (C::Variable, AttributeId::MinimumSamplingInterval) => Variant::Double(self.sampling_interval(node)),
            (C::Variable, AttributeId::Historizing) => Variant::Boolean(false),
            (C::ObjectType | C::VariableType | C::DataType | C::ReferenceType, AttributeId::IsAbstract) => {
                Variant::Boolean(row.is_some_and(|row| row.is_abstract()))
            }
            (C::ReferenceType, AttributeId::Symmetric) => Variant::Boolean(row.is_some_and(|row| row.is_symmetric())),
            (C::ReferenceType, AttributeId::InverseName) => {
                text(row.and_then(|row| row.inverse_name()).ok_or(missing)?)
            }
            (C::DataType, AttributeId::DataTypeDefinition) => {
                standard::decode(row.and_then(|row| row.definition()).ok_or(missing)?)
            }
            (C::Method, AttributeId::Executable | AttributeId::UserExecutable) => {
                Variant::Boolean(row.is_some_and(|row| row.level() == 1))
            }
            _ => return Err(missing),
        })
    }

    /// The Description, of what has one.
    pub(super) fn described(&self, node: Node, locales: &Locales) -> Result<Variant, StatusCode> {
        let (locale, text) = self.description(node, locales).ok_or(StatusCode::BadAttributeIdInvalid)?;
        Ok(Variant::from(LocalizedText::new(locale, text)))
    }

    /// Locale and text: the best that an overlay table has for these locales, else the comment of the DBC or what such a table
    /// has in its place, else whatever there is.
    pub fn description(&self, node: Node, locales: &Locales) -> Option<(&str, &str)> {
        let (comment, overlay) = match node {
            Node::Message(message, _) => {
                (self.plan.messages[message].message.comment.as_deref(), self.plan.message_overlays.get(&message))
            }
            Node::Signal(tag, _) => (self.plan.signal(tag).comment.as_deref(), self.plan.tag_overlays.get(&tag)),
            Node::State(state) => (Some(state.description()), None),
            Node::Standard(row) => (self.standard.entry(row).and_then(|entry| entry.description()), None),
            Node::Root
            | Node::Machine
            | Node::Bus(_)
            | Node::Fact(..)
            | Node::Property(..)
            | Node::Session(_)
            | Node::Diagnostic(..)
            | Node::Model(_)
            | Node::Condition(_)
            | Node::Method(_)
            | Node::Version(_) => (None, None),
        };
        locales.text(comment, overlay.map_or(&[], |overlay| &overlay.descriptions))
    }

    /// The data type, which may be one of the plant's own.
    pub fn data_type_id(&self, node: Node) -> NodeId {
        match node {
            Node::Model(part) => model::data_type(self, part),
            _ => NodeId::new(0, self.data_type(node)),
        }
    }

    /// Number in namespace 0; of a data type of the plant's own that of the standard's which it derives from.
    pub fn data_type(&self, node: Node) -> u32 {
        let data_type = match node {
            Node::Signal(tag, _) => mapping::value_type(self.plan.signal(tag)).data_type(),
            Node::Property(tag, _, property) => property.data_type(self.plan.signal(tag)),
            Node::Fact(_, _, Fact::CycleTime | Fact::LeaseTime) => DataTypeId::Duration,
            Node::Fact(_, _, Fact::Comment) => DataTypeId::LocalizedText,
            Node::State(state) => state.data_type(),
            Node::Standard(row) => return self.standard.entry(row).map_or(0, |entry| entry.data_type()),
            Node::Diagnostic(_, diagnostic) => diagnostic.data_type(),
            Node::Model(part) => return model::standard_data_type(self, part),
            Node::Condition(part) => return condition::data_type(self, part),
            Node::Method(part) => return method::data_type(part),
            _ => DataTypeId::String,
        };
        data_type as u32
    }

    /// -1: a scalar; 1: an array of one dimension; what the standard has for its own.
    pub fn value_rank(&self, node: Node) -> i32 {
        let array = match node {
            Node::Property(_, _, property) => property.is_array(),
            Node::State(state) => state.is_array(),
            Node::Diagnostic(_, diagnostic) => diagnostic.is_array(),
            Node::Standard(row) => return self.standard.entry(row).map_or(-1, |entry| entry.value_rank()),
            Node::Model(part) => return model::value_rank(self, part),
            Node::Condition(part) => return condition::value_rank(self, part),
            Node::Method(part) => return method::value_rank(part),
            _ => false,
        };
        if array { 1 } else { -1 }
    }

    pub(super) fn access_level(&self, node: Node) -> u8 {
        match node {
            Node::Signal(tag, _) if self.plan.tags[tag].writable => CURRENT_READ | CURRENT_WRITE | HISTORY_READ,
            // the last frames, of every signal alike: nothing is collected for one (Historizing)
            Node::Signal(..) => CURRENT_READ | HISTORY_READ,
            Node::State(state) if state.is_writable() => CURRENT_READ | CURRENT_WRITE,
            Node::Property(_, _, property) if property.is_constant() => CURRENT_READ | SEMANTIC_CHANGE,
            Node::Fact(..) => CURRENT_READ | SEMANTIC_CHANGE,
            Node::Standard(row) => self.standard.entry(row).map_or(0, |entry| entry.level()),
            _ => CURRENT_READ,
        }
    }

    fn user_access_level(&self, node: Node, user: &User) -> u8 {
        let may = |bit: u8, operation| if self.may(user, operation, node) { bit } else { 0 };
        let own = may(CURRENT_READ, self.reading(node))
            | may(CURRENT_WRITE, Self::writing(node))
            | may(HISTORY_READ, Operation::History);
        self.access_level(node) & own
    }

    /// Milliseconds; 0 where nothing changes (any interval will do), as OPC 10000-3, 5.6.2 has it for "continuously".
    fn sampling_interval(&self, node: Node) -> f64 {
        if is_live(self, node) { FASTEST_MS } else { 0.0 }
    }

    /// The value of a fact about a message.
    pub fn fact_value(&self, message: MessageIndex, source: Option<Source>, fact: Fact) -> Variant {
        let planned = &self.plan.messages[message];
        let message = &planned.message;
        match fact {
            Fact::Comment => Variant::from(LocalizedText::new("", message.comment.as_deref().unwrap_or_default())),
            Fact::CycleTime => match message.cycle_time {
                Some(period) => Variant::Double(period.as_secs_f64() * 1000.0),
                None => Variant::Empty,
            },
            Fact::Identifier => Variant::from(identifier(message.id, source)),
            Fact::LeaseTime => match lease(planned) {
                Some(nanoseconds) => Variant::Double(nanoseconds as f64 / 1e6),
                None => Variant::Empty,
            },
            Fact::Sender => Variant::from(message.senders.join(", ")),
        }
    }

    /// What a node of the table has as its value: that of the standard, or the null of its type, so that the type is right
    /// (OPC 10000-3, 5.6.2) where the standard has none.
    pub fn standard_value(&self, row: u32) -> Result<Variant, StatusCode> {
        let entry = self.standard.entry(row).ok_or(StatusCode::BadNodeIdUnknown)?;
        match (entry.class(), entry.value()) {
            (NodeClass::Variable, Some(bytes)) => Ok(standard::decode(bytes)),
            (NodeClass::Variable, None) => Ok(self.null_of(entry.data_type(), entry.value_rank())),
            (NodeClass::VariableType, Some(bytes)) => Ok(standard::decode(bytes)),
            _ => Err(StatusCode::BadAttributeIdInvalid),
        }
    }

    pub(super) fn null_of(&self, data_type: u32, rank: i32) -> Variant {
        let builtin = self.standard.lineage(data_type).find_map(|number| match number {
            1..=23 | 25 => Some(number),
            // Enumeration
            29 => Some(6),
            _ => None,
        });
        let kind = builtin.and_then(|number| VariantScalarTypeId::try_from(number).ok());
        match kind {
            Some(kind) if rank >= 0 => array(kind, Vec::new()),
            Some(kind) => null(kind),
            None => Variant::Empty,
        }
    }
}

fn null(kind: VariantScalarTypeId) -> Variant {
    use VariantScalarTypeId as T;
    match kind {
        T::Boolean => Variant::Boolean(false),
        T::SByte => Variant::SByte(0),
        T::Byte => Variant::Byte(0),
        T::Int16 => Variant::Int16(0),
        T::UInt16 => Variant::UInt16(0),
        T::Int32 => Variant::Int32(0),
        T::UInt32 => Variant::UInt32(0),
        T::Int64 => Variant::Int64(0),
        T::UInt64 => Variant::UInt64(0),
        T::Float => Variant::Float(0.0),
        T::Double => Variant::Double(0.0),
        T::String => Variant::String(Default::default()),
        T::DateTime => Variant::from(opcua::types::DateTime::null()),
        T::Guid => Variant::from(opcua::types::Guid::null()),
        T::StatusCode => Variant::StatusCode(StatusCode::Good),
        T::ByteString => Variant::ByteString(Default::default()),
        T::XmlElement => Variant::XmlElement(Default::default()),
        T::QualifiedName => Variant::from(opcua::types::QualifiedName::null()),
        T::LocalizedText => Variant::from(LocalizedText::null()),
        T::NodeId => Variant::from(NodeId::null()),
        T::ExpandedNodeId => Variant::from(opcua::types::ExpandedNodeId::null()),
        T::ExtensionObject => Variant::from(opcua::types::ExtensionObject::null()),
        T::Variant | T::DataValue | T::DiagnosticInfo => Variant::Empty,
    }
}

/// As candump writes it; with the address of a J1939 source in it.
fn identifier(id: FrameId, source: Option<Source>) -> String {
    let of = |source: Source| FrameId::extended(id.number() & !0xFF | u32::from(source.address));
    source.and_then(of).unwrap_or(id).to_string()
}
