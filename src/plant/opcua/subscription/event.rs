//! Events: what one says, which of it a client wants, and of which it wants nothing (OPC 10000-4, 7.22.3 and 7.7.4).

use opcua::types::{AttributeId, DateTime, NodeId, StatusCode, Variant};

use super::filter::number;
use super::item::weight;
use crate::plant::access::Roles;
use crate::plant::opcua::condition::Condition;
use crate::plant::opcua::limits::{MOST_ELEMENTS, MOST_SELECTED};
use crate::plant::opcua::pattern::Pattern;
use crate::plant::opcua::space::standard::Standard;
use crate::plant::opcua::wire::{NodeRef, Reader, Writer};

/// Operands of one element, and names in one path.
const MOST_OPERANDS: usize = 100;
const MOST_NAMES: usize = 10;

/// Bytes of a whole filter, and of a value in it: they are kept, and compared under a lock.
const MOST_FILTER: usize = 16 * 1024;
const MOST_LITERAL: usize = 256;

/// BaseEventType, and the type that tells of a queue that overflowed.
const BASE: u32 = 2041;
const OVERFLOW: u32 = 3035;
const REFRESH_REQUIRED: u32 = 2789;
/// That, RefreshStartEventType and RefreshEndEventType.
const OF_REFRESH: [u32; 3] = [2787, 2788, REFRESH_REQUIRED];

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    pub event_type: NodeId,
    pub source_node: NodeId,
    pub source_name: String,
    /// 1 to 1000 (OPC 10000-5, 6.4.2).
    pub severity: u16,
    pub message: String,
    pub time: DateTime,
    /// By name, besides those of every event.
    pub fields: Vec<(&'static str, Variant)>,
    /// It tells of other users: an audit event.
    pub confidential: bool,
    /// Only for who has exactly these roles: others are told of it by events of their own.
    pub audience: Option<Roles>,
    /// Nodes besides Server at which it is told.
    pub notifiers: Vec<NodeId>,
    /// Of an event of a condition, which has its own EventId and fields.
    pub condition: Option<Box<Condition>>,
}

impl Event {
    /// Whether it tells a client about its own picture of conditions: no filter, and no notifier, keeps it from that
    /// (OPC 10000-9, 4.5).
    pub fn is_of_refresh(&self) -> bool {
        NodeRef::from(&self.event_type).standard().is_some_and(|kind| OF_REFRESH.contains(&kind))
    }
}

/// The selected fields of an event, in the order of the selection, and whether it is one of a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields(pub Vec<Variant>, pub bool);

impl Fields {
    /// About how many bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        size_of::<Fields>() + self.0.iter().map(|value| size_of::<Variant>() + weight(value)).sum::<usize>()
    }
}

/// A SimpleAttributeOperand.
#[derive(Clone, Debug, PartialEq)]
struct Path {
    /// Number of the event type in namespace 0.
    of: u32,
    /// Names joined by `/`; empty: the event itself.
    name: String,
    attribute: u32,
}

/// An operand of a condition.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Element(usize),
    Literal(Variant),
    Path(Path),
}

#[derive(Clone, Debug, PartialEq)]
struct Element {
    operator: u32,
    operands: Vec<Operand>,
}

/// Which fields of which events.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFilter {
    select: Vec<Path>,
    condition: Vec<Element>,
}

/// What is told about a filter: a status for each selected field, and for each element of the condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    pub select: Vec<StatusCode>,
    pub condition: Vec<StatusCode>,
}

impl Checked {
    fn is_good(&self) -> bool {
        self.condition.iter().all(|status| status.is_good()) && self.select.iter().any(|status| status.is_good())
    }

    /// As an EventFilterResult in an ExtensionObject.
    pub fn write(&self, writer: &mut Writer) {
        writer.node_id(NodeRef::Numeric(0, 736));
        writer.u8(1);
        let at = writer.len();
        writer.u32(0);
        writer.count(self.select.len());
        self.select.iter().for_each(|status| writer.status(*status));
        writer.i32(-1);
        writer.count(self.condition.len());
        for status in &self.condition {
            writer.status(*status);
            writer.count(0);
            writer.i32(-1);
        }
        writer.i32(-1);
        writer.set_u32(at, (writer.len() - at - 4) as u32);
    }
}

/// Reads and checks an EventFilter. `Err` with what is wrong where it can't be used.
pub fn read(reader: &mut Reader<'_>, types: &Standard) -> Result<(EventFilter, Checked), (StatusCode, Checked)> {
    let invalid = |_| (StatusCode::BadMonitoredItemFilterInvalid, Checked::default());
    let filter = (|| -> Result<EventFilter, StatusCode> {
        if reader.rest().len() > MOST_FILTER {
            return Err(StatusCode::BadEncodingLimitsExceeded);
        }
        let count = reader.count(12)?;
        if count > MOST_SELECTED {
            return Err(StatusCode::BadTooManyOperations);
        }
        let select = (0..count).map(|_| path(reader)).collect::<Result<_, _>>()?;
        let count = reader.count(8)?;
        if count > MOST_ELEMENTS {
            return Err(StatusCode::BadTooManyOperations);
        }
        let condition = (0..count).map(|_| element(reader)).collect::<Result<_, _>>()?;
        Ok(EventFilter { select, condition })
    })();
    let filter = filter.map_err(invalid)?;
    let checked = Checked {
        select: filter.select.iter().map(|path| check_path(path, types)).collect(),
        condition: filter
            .condition
            .iter()
            .enumerate()
            .map(|(index, element)| check_element(index, element, filter.condition.len()))
            .collect(),
    };
    match filter.select.is_empty() {
        true => Err((StatusCode::BadEventFilterInvalid, checked)),
        false if checked.is_good() => Ok((filter, checked)),
        false => Err((StatusCode::BadEventFilterInvalid, checked)),
    }
}

fn path(reader: &mut Reader<'_>) -> Result<Path, StatusCode> {
    let of = reader.node_id()?;
    let names = reader.count(6)?;
    if names > MOST_NAMES {
        return Err(StatusCode::BadTooManyOperations);
    }
    let names = (0..names).map(|_| reader.name().map(|name| name.name)).collect::<Result<Vec<_>, _>>()?;
    let attribute = reader.u32()?;
    reader.string()?; // index range: of the whole value only
    let of = if of.is_null() { BASE } else { of.standard().unwrap_or(0) };
    Ok(Path { of, name: names.join("/"), attribute })
}

fn element(reader: &mut Reader<'_>) -> Result<Element, StatusCode> {
    let operator = reader.u32()?;
    let count = reader.count(3)?;
    if count > MOST_OPERANDS {
        return Err(StatusCode::BadTooManyOperations);
    }
    let operands = (0..count).map(|_| {
        let structure = reader.structure()?;
        let mut body = Reader::new(structure.body.unwrap_or_default());
        Ok(match structure.encoding.standard() {
            Some(594) => Operand::Element(body.u32()? as usize),
            Some(597) if body.rest().len() <= MOST_LITERAL => Operand::Literal(body.variant()?),
            Some(603) => Operand::Path(path(&mut body)?),
            _ => return Err(StatusCode::BadFilterOperandInvalid),
        })
    });
    Ok(Element { operator, operands: operands.collect::<Result<_, _>>()? })
}

fn check_path(path: &Path, types: &Standard) -> StatusCode {
    if AttributeId::from_u32(path.attribute).is_err() {
        StatusCode::BadAttributeIdInvalid
    } else if !types.is_subtype(path.of, BASE) {
        StatusCode::BadTypeDefinitionInvalid
    } else if !has_field(path, types) {
        StatusCode::BadNodeIdUnknown
    } else {
        StatusCode::Good
    }
}

/// Whether some event of the type can have the field: by its own type, one above, or one below.
fn has_field(path: &Path, types: &Standard) -> bool {
    let first = path.name.split('/').next().unwrap_or_default();
    first.is_empty() || types.lineage(path.of).chain(types.subtypes(path.of)).any(|of| types.has_component(of, first))
}

/// Operands that each operator takes; `None`: not supported.
fn operands(operator: u32) -> Option<std::ops::RangeInclusive<usize>> {
    Some(match operator {
        // Equals, GreaterThan, LessThan, and with equality; Like; And, Or
        0 | 2..=6 | 10 | 11 => 2..=2,
        // IsNull, Not, OfType
        1 | 7 | 14 => 1..=1,
        // Between
        8 => 3..=3,
        // InList
        9 => 2..=MOST_OPERANDS,
        _ => return None,
    })
}

fn check_element(index: usize, element: &Element, count: usize) -> StatusCode {
    let Some(wanted) = operands(element.operator) else {
        return if element.operator <= 17 {
            StatusCode::BadFilterOperatorUnsupported
        } else {
            StatusCode::BadFilterOperatorInvalid
        };
    };
    if !wanted.contains(&element.operands.len()) {
        return StatusCode::BadFilterOperandCountMismatch;
    }
    // an element may point to later ones only, so that there are no circles (7.7.4.2)
    let forward = |operand: &Operand| !matches!(operand, Operand::Element(to) if *to <= index || *to >= count);
    // Like with what is no pattern
    let wrong = |operand: &Operand| match operand {
        Operand::Literal(Variant::String(pattern)) => Pattern::read(pattern.as_ref()).is_none(),
        _ => false,
    };
    if !element.operands.iter().all(forward) || element.operator == 6 && element.operands.get(1).is_some_and(wrong) {
        return StatusCode::BadFilterOperandInvalid;
    }
    StatusCode::Good
}

/// An event that is told to one client alone.
fn of_queue(event_type: u32, message: &str, time: DateTime) -> Event {
    Event {
        event_type: NodeId::new(0, event_type),
        source_node: NodeId::new(0, 2253),
        source_name: "Server".into(),
        severity: 500,
        message: message.into(),
        time,
        fields: Vec::new(),
        confidential: false,
        audience: None,
        notifiers: Vec::new(),
        condition: None,
    }
}

impl EventFilter {
    /// Selects nothing, of everything.
    #[cfg(test)]
    pub fn nothing() -> EventFilter {
        EventFilter { select: Vec::new(), condition: Vec::new() }
    }

    /// The fields that are told, where the event is wanted at all. `id`: its EventId.
    pub fn apply(&self, event: &Event, id: &[u8; 16], types: &Standard) -> Option<Fields> {
        let look = Look { event, id, types };
        let wanted = self.condition.is_empty() || event.is_of_refresh() || self.holds(&look);
        wanted.then(|| self.fields(&look))
    }

    /// What is told when events were lost (EventQueueOverflowEventType, OPC 10000-5, 6.4.34).
    pub fn overflow(&self, time: DateTime, id: &[u8; 16], types: &Standard) -> Fields {
        let event = of_queue(OVERFLOW, "Events were lost: the queue of this client was full", time);
        self.fields(&Look { event: &event, id, types })
    }

    /// What is told when events of conditions were lost, where it is wanted (RefreshRequiredEventType, OPC 10000-9, 5.11.4).
    pub fn refresh_required(&self, time: DateTime, id: &[u8; 16], types: &Standard) -> Option<Fields> {
        let event = of_queue(REFRESH_REQUIRED, "Events of conditions were lost: call ConditionRefresh", time);
        self.apply(&event, id, types)
    }

    fn fields(&self, look: &Look<'_>) -> Fields {
        Fields(self.select.iter().map(|path| look.field(path)).collect(), look.event.condition.is_some())
    }

    /// Whether the condition holds. Elements point to later ones only: from the last to the first each is worked out once,
    /// however often it is pointed to.
    fn holds(&self, look: &Look<'_>) -> bool {
        let mut known = vec![None; self.condition.len()];
        for (index, element) in self.condition.iter().enumerate().rev() {
            let found = element.holds(&known, look);
            if let Some(place) = known.get_mut(index) {
                *place = found;
            }
        }
        known.first() == Some(&Some(true))
    }
}

impl Element {
    /// Three-valued logic: `None` is not known (7.7.3). `known`: what the later elements came to.
    fn holds(&self, known: &[Option<bool>], look: &Look<'_>) -> Option<bool> {
        let value = |operand: &Operand| match operand {
            Operand::Literal(value) => value.clone(),
            Operand::Path(path) => look.field(path),
            Operand::Element(to) => known.get(*to).copied().flatten().map_or(Variant::Empty, Variant::Boolean),
        };
        let truth = |operand: &Operand| match value(operand) {
            Variant::Boolean(truth) => Some(truth),
            _ => None,
        };
        let [first, rest @ ..] = self.operands.as_slice() else { return None };
        let compare = |to: &Operand| order(&value(first), &value(to));
        let second = rest.first();
        let equals = |to: &Operand| equal(&value(first), &value(to));
        match self.operator {
            0 => equals(second?),
            // a status in place of a value is none
            1 => Some(matches!(value(first), Variant::Empty | Variant::StatusCode(_))),
            2 => Some(compare(second?)?.is_gt()),
            3 => Some(compare(second?)?.is_lt()),
            4 => Some(compare(second?)?.is_ge()),
            5 => Some(compare(second?)?.is_le()),
            6 => match (words(value(first)), words(value(second?))) {
                (Variant::String(text), Variant::String(pattern)) => {
                    Pattern::read(pattern.as_ref()).map(|pattern| pattern.fits(text.as_ref()))
                }
                _ => None,
            },
            7 => truth(first).map(|truth| !truth),
            8 => Some(compare(second?)?.is_ge() && compare(rest.get(1)?)?.is_le()),
            9 => Some(rest.iter().any(|other| equals(other) == Some(true))),
            10 => match (truth(first), truth(second?)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            11 => match (truth(first), truth(second?)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            14 => match value(first) {
                Variant::NodeId(id) => Some(look.is_a(NodeRef::from(&*id).standard()?)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An event being looked at.
struct Look<'a> {
    event: &'a Event,
    id: &'a [u8; 16],
    types: &'a Standard,
}

impl Look<'_> {
    fn is_a(&self, of: u32) -> bool {
        let own = NodeRef::from(&self.event.event_type).standard();
        own.is_some_and(|own| self.types.is_subtype(own, of))
    }

    /// A field; Empty where this event has none of that name.
    fn field(&self, path: &Path) -> Variant {
        if !self.is_a(path.of) {
            return Variant::Empty;
        }
        let event = self.event;
        // the event itself as a node is its condition (OPC 10000-9, 5.5.2)
        if path.attribute == AttributeId::NodeId as u32 && path.name.is_empty() {
            return event.condition.as_ref().map_or(Variant::Empty, |of| Variant::from(of.node.clone()));
        }
        if path.attribute != AttributeId::Value as u32 {
            return Variant::Empty;
        }
        if let Some(condition) = &event.condition {
            return condition.field(&path.name).unwrap_or_default();
        }
        match path.name.as_str() {
            "EventId" => Variant::from(opcua::types::ByteString::from(self.id.as_slice())),
            "EventType" => Variant::from(event.event_type.clone()),
            "SourceNode" => Variant::from(event.source_node.clone()),
            "SourceName" => Variant::from(event.source_name.as_str()),
            "Time" | "ReceiveTime" => Variant::from(event.time),
            "Message" => Variant::from(opcua::types::LocalizedText::new("", &event.message)),
            "Severity" => Variant::UInt16(event.severity),
            name => {
                let found = event.fields.iter().find(|(field, _)| *field == name);
                found.map_or(Variant::Empty, |(_, value)| value.clone())
            }
        }
    }
}

/// Whether two values are equal; not known only where one is null. What has no common type is not (OPC 10000-4, 7.7.3).
fn equal(a: &Variant, b: &Variant) -> Option<bool> {
    match (a, b) {
        (Variant::Empty, _) | (_, Variant::Empty) => None,
        // with their locales
        (Variant::LocalizedText(a), Variant::LocalizedText(b)) => Some(a == b),
        (a, b) => Some(a == b || order(a, b).is_some_and(std::cmp::Ordering::is_eq)),
    }
}

/// How two values compare, where they have an order.
fn order(a: &Variant, b: &Variant) -> Option<std::cmp::Ordering> {
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.partial_cmp(&b);
    }
    match (a, b) {
        (Variant::String(a), Variant::String(b)) => Some(a.as_ref().cmp(b.as_ref())),
        (Variant::Boolean(a), Variant::Boolean(b)) => Some(a.cmp(b)),
        (Variant::DateTime(a), Variant::DateTime(b)) => Some(a.checked_ticks().cmp(&b.checked_ticks())),
        (Variant::LocalizedText(a), Variant::String(b)) => Some(a.text.as_ref().cmp(b.as_ref())),
        (Variant::String(a), Variant::LocalizedText(b)) => Some(a.as_ref().cmp(b.text.as_ref())),
        _ => None,
    }
}

/// A LocalizedText is converted to a String where one is wanted (7.7.3).
fn words(value: Variant) -> Variant {
    match value {
        Variant::LocalizedText(text) => Variant::String(text.text),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let types = Standard::load("urn:test", "urn:canvoy:plant");
        let event = Event {
            event_type: NodeId::new(0, 2100), // AuditWriteUpdateEventType
            source_node: NodeId::new(0, 2253),
            source_name: "Attribute/Write".into(),
            severity: 100,
            message: "m".into(),
            time: DateTime::now(),
            fields: vec![
                ("Status", Variant::from(true)),
                ("AttributeId", Variant::from(13u32)),
                ("Instead", Variant::StatusCode(StatusCode::BadConditionDisabled)),
            ],
            confidential: true,
            audience: None,
            notifiers: Vec::new(),
            condition: None,
        };
        let path = |name: &str| Operand::Path(Path { of: BASE, name: name.into(), attribute: 13 });
        let literal = |value: Variant| Operand::Literal(value);
        let of_type = |number: u32| Element { operator: 14, operands: vec![literal(NodeId::new(0, number).into())] };
        let compare = |operator, name, value| Element { operator, operands: vec![path(name), literal(value)] };
        let both = |operator| Element { operator, operands: vec![Operand::Element(1), Operand::Element(2)] };
        for (condition, want) in [
            (vec![], true),
            (vec![of_type(2052)], true),
            (vec![of_type(2071)], false),
            (vec![compare(2, "Severity", Variant::from(50u16))], true),
            (vec![compare(2, "Severity", Variant::from(100u16))], false),
            (vec![compare(0, "SourceName", Variant::from("Attribute/Write"))], true),
            (vec![compare(0, "Nothing", Variant::from(1u16))], false),
            (vec![compare(6, "SourceName", Variant::from("Attribute[/]_rite"))], true),
            (vec![compare(6, "SourceName", Variant::from("Attribute[^/]%"))], false),
            // another node is another node, and what has no common type is not equal
            (
                vec![
                    Element { operator: 7, operands: vec![Operand::Element(1)] },
                    compare(0, "SourceNode", NodeId::new(0, 2254).into()),
                ],
                true,
            ),
            (
                vec![
                    Element { operator: 7, operands: vec![Operand::Element(1)] },
                    compare(0, "SourceNode", NodeId::new(0, 2253).into()),
                ],
                false,
            ),
            (
                vec![
                    Element { operator: 7, operands: vec![Operand::Element(1)] },
                    compare(0, "SourceName", Variant::from(1u32)),
                ],
                true,
            ),
            (
                vec![
                    Element { operator: 7, operands: vec![Operand::Element(1)] },
                    compare(0, "Nothing", Variant::from(1u32)),
                ],
                false,
            ),
            // words are a text
            (vec![compare(6, "Message", Variant::from("m%"))], true),
            (vec![compare(0, "Message", Variant::from("m"))], true),
            (vec![compare(0, "Message", opcua::types::LocalizedText::new("", "m").into())], true),
            (vec![compare(0, "Message", opcua::types::LocalizedText::new("", "n").into())], false),
            // a status in place of a value
            (vec![Element { operator: 1, operands: vec![path("Instead")] }], true),
            (vec![both(10), of_type(2052), compare(0, "Status", Variant::from(true))], true),
            (vec![both(10), of_type(2071), compare(0, "Status", Variant::from(true))], false),
            (vec![both(11), of_type(2071), compare(0, "Status", Variant::from(true))], true),
        ] {
            let statuses = condition.iter().enumerate().map(|(at, one)| check_element(at, one, condition.len()));
            assert!(statuses.clone().all(|status| status.is_good()), "{condition:?}");
            let filter =
                EventFilter { select: vec![Path { of: BASE, name: "Severity".into(), attribute: 13 }], condition };
            let fields = filter.apply(&event, &[0; 16], &types);
            assert_eq!(fields.is_some(), want, "{:?}", filter.condition);
            assert!(fields.is_none_or(|fields| fields == Fields(vec![Variant::UInt16(100)], false)));
        }
        // two ways from each element to the next: as quick as one
        let twice =
            |at: usize| Element { operator: 10, operands: vec![Operand::Element(at + 1), Operand::Element(at + 1)] };
        let mut condition: Vec<Element> = (0..99).map(twice).collect();
        condition.push(of_type(2052));
        let filter = EventFilter { select: Vec::new(), condition };
        assert!(filter.apply(&event, &[0; 16], &types).is_some());
        let circle = Element { operator: 7, operands: vec![Operand::Element(0)] };
        assert_eq!(check_element(0, &circle, 1), StatusCode::BadFilterOperandInvalid);
        assert_eq!(
            check_element(0, &Element { operator: 12, operands: vec![] }, 1),
            StatusCode::BadFilterOperatorUnsupported
        );
        assert_eq!(check_element(0, &both(99), 3), StatusCode::BadFilterOperatorInvalid);
        let open = compare(6, "SourceName", Variant::from("Attribute["));
        assert_eq!(check_element(0, &open, 1), StatusCode::BadFilterOperandInvalid);
        assert_eq!(
            check_element(0, &Element { operator: 8, operands: vec![] }, 1),
            StatusCode::BadFilterOperandCountMismatch
        );
    }
}
