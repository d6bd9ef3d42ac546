//! The nodes that do not depend on the plan: those of the standard, and what describes this server's own namespaces. One
//! read-only table, loaded once: rows sorted by NodeId, texts and values in arenas, references as numbers.

mod companions;
mod definition;
mod load;
mod prune;

use opcua::types::{NodeClass, Variant};

use crate::plant::opcua::wire::{NodeRef, Reader};

/// All nodes that are always there.
pub struct Standard {
    /// Those with numbers by namespace and number, then those with texts by these.
    rows: Vec<Row>,
    /// How many have numbers.
    numbered: usize,
    links: Vec<Link>,
    text: String,
    /// Values in their binary encoding, as Variants.
    values: Vec<u8>,
}

/// A piece of one of the arenas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    length: u32,
}

/// What a node has.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// 0, 1 for the server's own, or that of a companion specification.
    namespace: u16,
    /// The identifier; in namespace 1 it is a text.
    number: u32,
    /// The identifier in namespace 1.
    text: Span,
    class: NodeClass,
    /// Of Variables: AccessLevel. Of Objects and Views: EventNotifier. Of Methods: Executable.
    level: u8,
    is_abstract: bool,
    symmetric: bool,
    has_definition: bool,
    name_namespace: u16,
    name: Span,
    display_name: Span,
    description: Span,
    inverse_name: Span,
    /// Of Variables and VariableTypes: the data type, a number of namespace 0.
    data_type: u32,
    value_rank: i32,
    /// ArrayDimensions, a Variant.
    dimensions: Span,
    /// Value, or DataTypeDefinition: a Variant.
    value: Span,
    /// The first of its references; the next row has the end.
    links: u32,
}

/// A reference, from the row that it is listed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number of the ReferenceType in namespace 0.
    pub kind: u32,
    /// Row.
    pub target: u32,
    pub forward: bool,
}

/// One node of the table.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    table: &'a Standard,
    row: &'a Row,
    number: u32,
}

/// HasSubtype.
const HAS_SUBTYPE: u32 = 45;
/// HasTypeDefinition.
const HAS_TYPE_DEFINITION: u32 = 40;
/// A type tree is not deeper than this.
const MOST_SUPERTYPES: usize = 32;

impl Standard {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes that the table takes.
    pub fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>()
            + self.links.len() * size_of::<Link>()
            + self.text.len()
            + self.values.len()
            + size_of::<Standard>()
    }

    /// The row of a node of namespace 0.
    pub fn number(&self, number: u32) -> Option<u32> {
        self.numbered(0, number)
    }

    /// The row of a node of any namespace whose identifiers are numbers.
    pub fn numbered(&self, namespace: u16, number: u32) -> Option<u32> {
        let rows = self.rows.get(..self.numbered).unwrap_or_default();
        let found = rows.binary_search_by_key(&(namespace, number), |row| (row.namespace, row.number));
        found.ok().map(|row| row as u32)
    }

    pub fn find(&self, id: NodeRef<'_>) -> Option<u32> {
        match id {
            NodeRef::Numeric(namespace, number) => self.numbered(namespace, number),
            NodeRef::String(1, text) => {
                let found = (self.numbered..self.rows.len()).find(|row| self.id_text(*row as u32) == Some(text));
                found.map(|row| row as u32)
            }
            _ => None,
        }
    }

    fn id_text(&self, row: u32) -> Option<&str> {
        let row = self.rows.get(row as usize)?;
        (row.namespace == 1).then(|| self.text(row.text))
    }

    pub fn entry(&self, row: u32) -> Option<Entry<'_>> {
        Some(Entry { table: self, row: self.rows.get(row as usize)?, number: row })
    }

    fn text(&self, span: Span) -> &str {
        self.text.get(span.start as usize..(span.start + span.length) as usize).unwrap_or_default()
    }

    fn value(&self, span: Span) -> &[u8] {
        self.values.get(span.start as usize..(span.start + span.length) as usize).unwrap_or_default()
    }

    /// The references of a row: inverse ones first, then by reference type and name.
    pub fn links(&self, row: u32) -> &[Link] {
        let start = |row: usize| self.rows.get(row).map_or(self.links.len(), |row| row.links as usize);
        self.links.get(start(row as usize)..start(row as usize + 1)).unwrap_or_default()
    }

    /// The supertype, both as numbers of namespace 0.
    fn supertype(&self, number: u32) -> Option<u32> {
        let row = self.number(number)?;
        let link = self.links(row).iter().find(|link| link.kind == HAS_SUBTYPE && !link.forward)?;
        self.rows.get(link.target as usize).map(|row| row.number)
    }

    /// The number of a type and of all that it derives from.
    pub fn lineage(&self, number: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(number), |number| self.supertype(*number)).take(MOST_SUPERTYPES)
    }

    /// Whether a type is another one or derives from it, both of namespace 0.
    pub fn is_subtype(&self, number: u32, of: u32) -> bool {
        self.lineage(number).any(|number| number == of)
    }

    /// Whether a type says that its instances have a component or property of this name.
    pub fn has_component(&self, number: u32, name: &str) -> bool {
        let links = self.number(number).map_or(&[][..], |row| self.links(row));
        let below = links.iter().filter(|link| link.forward && link.kind != HAS_SUBTYPE);
        below.filter_map(|link| self.entry(link.target)).any(|entry| entry.browse_name().1 == name)
    }

    /// The type with all that derive from it.
    pub fn subtypes(&self, number: u32) -> Vec<u32> {
        let mut all = vec![number];
        let mut at = 0;
        while let Some(number) = all.get(at).copied() {
            at += 1;
            let links = self.number(number).map_or(&[][..], |row| self.links(row));
            let below = links.iter().filter(|link| link.kind == HAS_SUBTYPE && link.forward);
            all.extend(below.filter_map(|link| self.rows.get(link.target as usize)).map(|row| row.number));
        }
        all
    }
}

impl<'a> Entry<'a> {
    pub fn id(self) -> NodeRef<'a> {
        match self.row.namespace {
            1 => NodeRef::String(1, self.table.text(self.row.text)),
            namespace => NodeRef::Numeric(namespace, self.row.number),
        }
    }

    pub fn class(self) -> NodeClass {
        self.row.class
    }

    /// Its namespace, and the name.
    pub fn browse_name(self) -> (u16, &'a str) {
        (self.row.name_namespace, self.table.text(self.row.name))
    }

    pub fn display_name(self) -> &'a str {
        self.table.text(self.row.display_name)
    }

    pub fn description(self) -> Option<&'a str> {
        Some(self.table.text(self.row.description)).filter(|text| !text.is_empty())
    }

    pub fn inverse_name(self) -> Option<&'a str> {
        Some(self.table.text(self.row.inverse_name)).filter(|text| !text.is_empty())
    }

    pub fn is_abstract(self) -> bool {
        self.row.is_abstract
    }

    pub fn is_symmetric(self) -> bool {
        self.row.symmetric
    }

    /// AccessLevel, EventNotifier, or whether a Method can be called.
    pub fn level(self) -> u8 {
        self.row.level
    }

    /// Number in namespace 0.
    pub fn data_type(self) -> u32 {
        self.row.data_type
    }

    pub fn value_rank(self) -> i32 {
        self.row.value_rank
    }

    pub fn dimensions(self) -> Option<&'a [u8]> {
        Some(self.table.value(self.row.dimensions)).filter(|bytes| !bytes.is_empty())
    }

    /// The value that never changes, as it is written.
    pub fn value(self) -> Option<&'a [u8]> {
        Some(self.table.value(self.row.value)).filter(|bytes| !bytes.is_empty() && !self.row.has_definition)
    }

    /// DataTypeDefinition, as it is written.
    pub fn definition(self) -> Option<&'a [u8]> {
        Some(self.table.value(self.row.value)).filter(|_| self.row.has_definition)
    }

    /// The row of its type; `None` for types.
    pub fn type_definition(self) -> Option<u32> {
        let link =
            self.table.links(self.number).iter().find(|link| link.kind == HAS_TYPE_DEFINITION && link.forward)?;
        Some(link.target)
    }
}

/// A value of the table.
pub fn decode(bytes: &[u8]) -> Variant {
    Reader::new(bytes).variant().unwrap_or_default()
}
