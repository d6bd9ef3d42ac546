//! From the nodes as the crate has them to the packed table: the set of nodes, both directions of references, order.

use std::collections::HashMap;

use opcua::types::{
    AttributeId, DataEncoding, DataTypeDefinition, DynEncodable, ExtensionObject, NodeClass, NodeId, NumericRange,
    TimestampsToReturn, Variant, VariantScalarTypeId,
};
use opcua_core_namespace::CoreNamespace;
use opcua_nodes::{ImportedItem, NamespaceMap, NodeSetImport, NodeSetNamespaceMapper, NodeType};

use super::{HAS_SUBTYPE, HAS_TYPE_DEFINITION, Link, Row, Span, Standard};
use super::{companions, definition, prune};
use crate::plant::opcua::wire::Writer;

/// HasModellingRule.
pub(super) const HAS_MODELLING_RULE: u32 = 37;

/// Who a node is, before rows have numbers: namespace and number, or a text in the server's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Id {
    Number(u16, u32),
    Text(String),
}

/// A node on its way into the table.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub id: Id,
    pub class: NodeClass,
    pub level: u8,
    pub is_abstract: bool,
    pub symmetric: bool,
    pub name: (u16, String),
    pub display_name: String,
    pub description: String,
    pub inverse_name: String,
    /// Number in namespace 0; 0: none.
    pub data_type: u32,
    pub value_rank: i32,
    pub dimensions: Variant,
    pub value: Variant,
    pub definition: Option<DataTypeDefinition>,
    /// ReferenceType, the other end, forward.
    pub references: Vec<(u32, Id, bool)>,
}

impl Standard {
    /// All nodes. `own_uri`: the ApplicationUri, which is the URI of namespace 1; `plant_uri`: that of namespace 2.
    pub fn load(own_uri: &str, plant_uri: &str) -> Standard {
        let mut namespaces = NamespaceMap::new();
        let mapper = NodeSetNamespaceMapper::new(&mut namespaces);
        let mut drafts: Vec<Draft> = CoreNamespace.load(&mapper).filter_map(draft).collect();
        drafts.extend(prune::namespaces(own_uri, plant_uri));
        drafts.extend(companions::nodes());
        prune::prune(&mut drafts);
        definition::complete(&mut drafts);
        pack(drafts)
    }
}

fn number(id: &NodeId) -> u32 {
    id.as_u32().unwrap_or(0)
}

fn draft(item: ImportedItem) -> Option<Draft> {
    let ImportedItem { node, references } = item;
    let base = node.as_node();
    let attribute = |id: AttributeId| {
        let read = base.get_attribute(TimestampsToReturn::Neither, id, &NumericRange::None, &DataEncoding::Binary);
        read.and_then(|read| read.value)
    };
    let flag = |id| matches!(attribute(id), Some(Variant::Boolean(true)));
    let class = base.node_class();
    let (data_type, value_rank) = match &node {
        NodeType::Variable(variable) => (number(&variable.data_type()), variable.value_rank()),
        NodeType::VariableType(kind) => (number(kind.data_type()), kind.value_rank()),
        _ => (0, -1),
    };
    let id = base.node_id();
    let reference = |reference: &opcua_nodes::ImportedReference| {
        (number(&reference.type_id), Id::Number(0, number(&reference.target_id)), reference.is_forward)
    };
    Some(Draft {
        id: Id::Number(0, id.as_u32().filter(|_| id.namespace == 0)?),
        class,
        // nothing of the standard's own is written or has a history
        level: u8::from(class == NodeClass::Variable),
        is_abstract: flag(AttributeId::IsAbstract),
        symmetric: flag(AttributeId::Symmetric),
        name: (0, base.browse_name().name.to_string()),
        display_name: base.display_name().text.to_string(),
        description: base.description().map(|text| text.text.to_string()).unwrap_or_default(),
        inverse_name: match attribute(AttributeId::InverseName) {
            Some(Variant::LocalizedText(text)) => text.text.value().clone().unwrap_or_default(),
            _ => String::new(),
        },
        data_type,
        value_rank,
        dimensions: attribute(AttributeId::ArrayDimensions).unwrap_or_default(),
        value: attribute(AttributeId::Value).unwrap_or_default(),
        definition: match &node {
            NodeType::DataType(kind) => kind.data_type_definition().cloned(),
            _ => None,
        },
        references: references.iter().map(reference).collect(),
    })
}

/// The table's arenas while they are filled: what comes twice is kept once.
#[derive(Default)]
struct Arenas {
    text: String,
    texts: HashMap<String, Span>,
    values: Vec<u8>,
    written: HashMap<Vec<u8>, Span>,
}

impl Arenas {
    fn text(&mut self, text: String) -> Span {
        if text.is_empty() {
            return Span::default();
        }
        if let Some(span) = self.texts.get(&text) {
            return *span;
        }
        let span = Span { start: self.text.len() as u32, length: text.len() as u32 };
        self.text.push_str(&text);
        self.texts.insert(text, span);
        span
    }

    fn value(&mut self, value: &Variant) -> Span {
        if matches!(value, Variant::Empty) {
            return Span::default();
        }
        let mut writer = Writer::new();
        writer.variant(value);
        let bytes = writer.finish();
        if let Some(span) = self.written.get(&bytes) {
            return *span;
        }
        let span = Span { start: self.values.len() as u32, length: bytes.len() as u32 };
        self.values.extend_from_slice(&bytes);
        self.written.insert(bytes, span);
        span
    }
}

/// A DataTypeDefinition as a value.
fn structure(definition: DataTypeDefinition) -> Variant {
    fn object(value: impl DynEncodable + 'static) -> Variant {
        Variant::from(ExtensionObject::from_message(value))
    }
    match definition {
        DataTypeDefinition::Structure(definition) => object(definition),
        DataTypeDefinition::Enum(definition) => object(definition),
    }
}

/// References by row, both directions, sorted and each once; and where each row's begin.
fn join(drafts: &mut [Draft], rows: &HashMap<Id, u32>) -> (Vec<Link>, Vec<u32>) {
    let mut links: Vec<(u32, Link)> = Vec::new();
    for (row, draft) in drafts.iter_mut().enumerate() {
        for (kind, other, forward) in std::mem::take(&mut draft.references) {
            // what leads to nothing is left out
            let Some(target) = rows.get(&other).copied() else { continue };
            let (from, to) = if forward { (row as u32, target) } else { (target, row as u32) };
            links.push((from, Link { kind, target: to, forward: true }));
            // Nobody asks a type for all of its instances, or a rule for all that follow it.
            if kind != HAS_TYPE_DEFINITION && kind != HAS_MODELLING_RULE {
                links.push((to, Link { kind, target: from, forward: false }));
            }
        }
    }
    let name = |row: u32| drafts.get(row as usize).map(|draft| &draft.name.1);
    links.sort_by(|(a, left), (b, right)| {
        let key = |from: &u32, link: &Link| (*from, link.forward, link.kind);
        key(a, left)
            .cmp(&key(b, right))
            .then_with(|| name(left.target).cmp(&name(right.target)))
            .then(left.target.cmp(&right.target))
    });
    links.dedup();
    let mut starts = Vec::with_capacity(drafts.len());
    let mut at = 0;
    for row in 0..drafts.len() as u32 {
        starts.push(at as u32);
        at += links.get(at..).unwrap_or_default().iter().take_while(|(from, _)| *from == row).count();
    }
    (links.into_iter().map(|(_, link)| link).collect(), starts)
}

fn pack(mut drafts: Vec<Draft>) -> Standard {
    drafts.sort_by(|a, b| a.id.cmp(&b.id));
    drafts.dedup_by(|a, b| a.id == b.id);
    let numbered = drafts.iter().take_while(|draft| matches!(draft.id, Id::Number(..))).count();
    let rows: HashMap<Id, u32> = drafts.iter().enumerate().map(|(row, draft)| (draft.id.clone(), row as u32)).collect();
    let (links, starts) = join(&mut drafts, &rows);
    let builtin =
        |number: u32| rows.get(&Id::Number(0, number)).and_then(|row| builtin(*row, &drafts, &links, &starts));
    let fits: Vec<Option<u32>> = drafts.iter().map(|draft| builtin(draft.data_type)).collect();
    let mut arenas = Arenas::default();
    let mut table = Vec::with_capacity(drafts.len());
    for ((draft, start), builtin) in drafts.into_iter().zip(starts).zip(fits) {
        let has_definition = draft.definition.is_some();
        let value = match draft.definition {
            Some(definition) => structure(definition),
            None => fit(draft.value, builtin),
        };
        let (namespace, number, text) = match draft.id {
            Id::Number(namespace, number) => (namespace, number, Span::default()),
            Id::Text(text) => (1, 0, arenas.text(text)),
        };
        table.push(Row {
            namespace,
            number,
            text,
            class: draft.class,
            level: draft.level,
            is_abstract: draft.is_abstract,
            symmetric: draft.symmetric,
            has_definition,
            name_namespace: draft.name.0,
            name: arenas.text(draft.name.1),
            display_name: arenas.text(draft.display_name),
            description: arenas.text(draft.description),
            inverse_name: arenas.text(draft.inverse_name),
            data_type: draft.data_type,
            value_rank: draft.value_rank,
            dimensions: arenas.value(&draft.dimensions),
            value: arenas.value(&value),
            links: start,
        });
    }
    arenas.text.shrink_to_fit();
    arenas.values.shrink_to_fit();
    Standard { rows: table, numbered, links, text: arenas.text, values: arenas.values }
}

/// The built-in type that a data type is written as (its numbers are those of the data types); `None` where that is open.
fn builtin(row: u32, drafts: &[Draft], links: &[Link], starts: &[u32]) -> Option<u32> {
    let mut row = row as usize;
    for _ in 0..super::MOST_SUPERTYPES {
        match drafts.get(row).map(|draft| &draft.id) {
            Some(Id::Number(0, 24)) => return None,
            Some(Id::Number(0, number @ 1..=25)) => return Some(*number),
            // Enumeration
            Some(Id::Number(0, 29)) => return Some(6),
            _ => {}
        }
        let own = links.get(*starts.get(row)? as usize..).unwrap_or_default();
        let super_type = own.iter().take_while(|link| !link.forward).find(|link| link.kind == HAS_SUBTYPE)?;
        row = super_type.target as usize;
    }
    None
}

/// The value in the type that its variable has: the crate has some numbers in others.
fn fit(value: Variant, builtin: Option<u32>) -> Variant {
    let wanted = builtin.and_then(|builtin| VariantScalarTypeId::try_from(builtin).ok());
    match (wanted, value.scalar_type_id()) {
        (Some(wanted), Some(found)) if wanted != found && !value.is_array() => value.cast(wanted),
        _ => value,
    }
}
