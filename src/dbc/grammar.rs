//! One statement through the grammar of `can-dbc`; what it cuts off or masks (identifiers) is read from the text.

use can_dbc::{
    AttributeDefinition, AttributeValue, AttributeValueForRelationType, AttributeValueType, Dbc, NumericValue,
    SignalExtendedValueType,
};

use super::codec::ByteOrder;
use super::item::{AttributeKind, Item, MessageLine, Multiplex, Object, SignalLine, Target, Value, ValueType};
use super::statement::Keyword;

/// Why a statement was refused.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    /// Byte offset in the statement.
    pub at: usize,
    pub reason: String,
}

/// Reads a flattened statement.
pub(super) fn read(keyword: Keyword, statement: &str) -> Result<Item, Refusal> {
    // a signal only exists below a message
    const HEAD: &str = "BO_ 0 M: 8 N\n";
    let text = match keyword {
        Keyword::Signal => format!("{HEAD}{statement}\n"),
        _ => format!("{statement}\n"),
    };
    let skip = if keyword == Keyword::Signal { HEAD.len() } else { 0 };
    let dbc = Dbc::try_from(text.as_str()).map_err(|error| refusal(&error.to_string(), &text, skip))?;
    if count(&dbc, keyword) != 1 {
        return Err(Refusal { at: 0, reason: "not a single complete statement; is a semicolon missing?".into() });
    }
    let id = identifier(statement);
    item(keyword, dbc, id, statement).ok_or(Refusal { at: 0, reason: "not a complete statement".into() })
}

/// How many statements the text held: the grammar asks for neither line breaks nor all semicolons between them.
fn count(dbc: &Dbc, keyword: Keyword) -> usize {
    match keyword {
        Keyword::Version | Keyword::Nodes => 1,
        Keyword::Signal => dbc.messages.first().map_or(0, |message| message.signals.len()),
        _ => {
            dbc.messages.len()
                + dbc.messages.iter().map(|message| message.signals.len()).sum::<usize>()
                + dbc.message_transmitters.len()
                + dbc.comments.len()
                + dbc.attribute_definitions.len()
                + dbc.attribute_defaults.len()
                + dbc.attribute_values_database.len()
                + dbc.attribute_values_node.len()
                + dbc.attribute_values_message.len()
                + dbc.attribute_values_signal.len()
                + dbc.attribute_values_env.len()
                + dbc.value_descriptions.len()
                + dbc.signal_extended_value_type_list.len()
                + dbc.extended_multiplex.len()
                + dbc.value_tables.len()
                + dbc.signal_groups.len()
                + dbc.environment_variables.len()
                + dbc.environment_variable_data.len()
                + dbc.relation_attribute_definitions.len()
                + dbc.relation_attribute_defaults.len()
                + dbc.relation_attribute_values.len()
        }
    }
}

/// The first number outside of strings: the identifier of every statement that has one.
pub(super) fn identifier(statement: &str) -> Option<u64> {
    statement
        .split('"')
        .step_by(2)
        .flat_map(|part| part.split([' ', '\t', ':']))
        .find(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()))?
        .parse()
        .ok()
}

fn item(keyword: Keyword, dbc: Dbc, id: Option<u64>, statement: &str) -> Option<Item> {
    if keyword == Keyword::Version {
        return Some(Item::Version(unescape(dbc.version.0)));
    }
    if keyword == Keyword::Nodes {
        return Some(Item::Nodes(dbc.nodes.into_iter().map(|node| node.0).collect()));
    }
    if let Some(message) = dbc.messages.into_iter().next() {
        if keyword == Keyword::Signal {
            return message.signals.into_iter().next().map(|signal| Item::Signal(Box::new(line(signal, statement))));
        }
        let (name, size, transmitter) = (message.name, message.size, message.transmitter);
        return Some(Item::Message(MessageLine { id: id?, name, size, transmitter }));
    }
    if let Some(found) = dbc.message_transmitters.into_iter().next() {
        return Some(Item::Senders { id: id?, nodes: found.transmitter });
    }
    if let Some(found) = dbc.comments.into_iter().next() {
        use can_dbc::Comment::*;
        let (target, text) = match found {
            Plain { comment } => (Target::Network, comment),
            Node { name, comment } => (Target::Node(name), comment),
            Message { comment, .. } => (Target::Message(id?), comment),
            Signal { name, comment, .. } => (Target::Signal(id?, name), comment),
            EnvVar { comment, .. } => (Target::EnvironmentVariable, comment),
        };
        return Some(Item::Comment { target, text: unescape(text) });
    }
    if let Some(found) = dbc.attribute_definitions.into_iter().next() {
        let (object, name, kind) = match found {
            AttributeDefinition::Message(name, kind) => (Object::Message, name, kind),
            AttributeDefinition::Node(name, kind) => (Object::Node, name, kind),
            AttributeDefinition::Signal(name, kind) => (Object::Signal, name, kind),
            AttributeDefinition::EnvironmentVariable(name, kind) => (Object::EnvironmentVariable, name, kind),
            AttributeDefinition::Plain(name, kind) => (Object::Network, name, kind),
        };
        let kind = match kind {
            AttributeValueType::Int(..) | AttributeValueType::Hex(..) => AttributeKind::Integer,
            AttributeValueType::Float(..) => AttributeKind::Float,
            AttributeValueType::String => AttributeKind::Text,
            AttributeValueType::Enum(words) => AttributeKind::Enum(words.into_iter().map(unescape).collect()),
        };
        return Some(Item::Definition { object, name: unescape(name), kind });
    }
    if let Some(found) = dbc.attribute_defaults.into_iter().next() {
        return Some(Item::Default { name: unescape(found.name), value: value(found.value) });
    }
    if let Some((target, name, found)) = dbc
        .attribute_values_database
        .into_iter()
        .map(|a| (Target::Network, a.name, a.value))
        .chain(dbc.attribute_values_node.into_iter().map(|a| (Target::Node(a.node_name), a.name, a.value)))
        .chain(dbc.attribute_values_env.into_iter().map(|a| (Target::EnvironmentVariable, a.name, a.value)))
        .next()
    {
        return Some(Item::Attribute { target, name: unescape(name), value: value(found) });
    }
    if let Some(found) = dbc.attribute_values_message.into_iter().next() {
        let (name, value) = (unescape(found.name), value(found.value));
        return Some(Item::Attribute { target: Target::Message(id?), name, value });
    }
    if let Some(found) = dbc.attribute_values_signal.into_iter().next() {
        let (name, value) = (unescape(found.name), value(found.value));
        return Some(Item::Attribute { target: Target::Signal(id?, found.signal_name), name, value });
    }
    if let Some(found) = dbc.value_descriptions.into_iter().next() {
        use can_dbc::ValueDescription::*;
        return Some(match found {
            Signal { name, value_descriptions, .. } => {
                let entries = value_descriptions.into_iter().map(|v| (v.id.into(), unescape(v.description))).collect();
                Item::Labels { id: id?, signal: name, entries }
            }
            EnvironmentVariable { .. } => Item::Nothing,
        });
    }
    if let Some(found) = dbc.signal_extended_value_type_list.into_iter().next() {
        let kind = match found.signal_extended_value_type {
            SignalExtendedValueType::SignedOrUnsignedInteger => ValueType::Integer,
            SignalExtendedValueType::IEEEfloat32Bit => ValueType::F32,
            SignalExtendedValueType::IEEEdouble64bit => ValueType::F64,
        };
        return Some(Item::ValueType { id: id?, signal: found.signal_name, kind });
    }
    if let Some(found) = dbc.relation_attribute_values.into_iter().next()
        && let AttributeValueForRelationType::NodeToSignal { node_name, signal_name, value: given, .. } = found.details
    {
        let (name, value) = (unescape(found.name), value(given));
        return Some(Item::Relation { node: node_name, id: id?, signal: signal_name, name, value });
    }
    if keyword == Keyword::Unused {
        return Some(Item::Nothing);
    }
    let found = dbc.extended_multiplex.into_iter().next()?;
    let ranges = found.mappings.iter().map(|range| (range.min_value, range.max_value)).collect();
    Some(Item::Multiplex { id: id?, signal: found.signal_name, multiplexor: found.multiplexor_signal_name, ranges })
}

fn line(signal: can_dbc::Signal, statement: &str) -> SignalLine {
    use can_dbc::MultiplexIndicator::*;
    let multiplex = match signal.multiplexer_indicator {
        // can-dbc takes a bare `m` for a plain signal
        Plain if statement.split(':').next().is_some_and(|head| head.split_whitespace().nth(2) == Some("m")) => {
            Multiplex::Bare
        }
        Plain => Multiplex::Plain,
        Multiplexor => Multiplex::Multiplexor,
        MultiplexedSignal(value) => Multiplex::Selected(value),
        MultiplexorAndMultiplexedSignal(value) => Multiplex::SelectedMultiplexor(value),
    };
    let number = |value| match value {
        NumericValue::Uint(v) => v as f64,
        NumericValue::Int(v) => v as f64,
        NumericValue::Double(v) => v,
    };
    SignalLine {
        name: signal.name,
        multiplex,
        start: signal.start_bit,
        size: signal.size,
        order: match signal.byte_order {
            can_dbc::ByteOrder::LittleEndian => ByteOrder::LittleEndian,
            can_dbc::ByteOrder::BigEndian => ByteOrder::BigEndian,
        },
        signed: signal.value_type == can_dbc::ValueType::Signed,
        factor: signal.factor,
        offset: signal.offset,
        min: number(signal.min),
        max: number(signal.max),
        unit: unescape(signal.unit),
        receivers: signal.receivers,
    }
}

fn value(value: AttributeValue) -> Value {
    match value {
        AttributeValue::Uint(v) => Value::Integer(v.into()),
        AttributeValue::Int(v) => Value::Integer(v.into()),
        AttributeValue::Double(v) => Value::Float(v),
        AttributeValue::String(v) => Value::Text(unescape(v)),
    }
}

/// Text of a string as people mean it.
pub(super) fn unescape(text: String) -> String {
    if text.contains("\\\"") { text.replace("\\\"", "\"") } else { text }
}

/// Place and reason out of the message of `can-dbc`: ` --> LINE:COLUMN`, then excerpt and caret, then `= expected …`.
/// Its semantic errors have a reason only.
fn refusal(message: &str, text: &str, skip: usize) -> Refusal {
    let reason = message.rsplit("= ").next().unwrap_or(message).trim();
    let place = message.split("--> ").nth(1).and_then(|rest| rest.split_once('\n')).and_then(|(place, _)| {
        let (line, column) = place.split_once(':')?;
        let (line, column): (usize, usize) = (line.parse().ok()?, column.trim().parse().ok()?);
        let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
        let within = text.get(start..)?.char_indices().nth(column.checked_sub(1)?).map_or(0, |(at, _)| at);
        Some(start + within)
    });
    let at = place.unwrap_or(0);
    let found = text.get(at..).unwrap_or("").split_whitespace().next();
    let reason = match (reason.strip_prefix("expected "), found) {
        // "Invalid Uint value: '-8'"
        (None, _) => match reason.split_once("value: ") {
            Some((_, value)) => format!("{value} is not possible here"),
            None => reason.to_string(),
        },
        (Some(_), None) => "it ends too early".into(),
        (Some(_), Some(found)) if found.starts_with('"') => "the quote is not closed".into(),
        (Some(rules), Some(found)) => expected(rules, found),
    };
    Refusal { at: at.saturating_sub(skip), reason }
}

/// The grammar's rule names in the words of people who write DBC files.
fn expected(rules: &str, found: &str) -> String {
    const WORDS: [(&str, &str); 17] = [
        ("uint", "a number"),
        ("int", "a number"),
        ("quoted_str", "a text in quotes"),
        ("ident_ext", "a name"),
        ("ident", "a name"),
        ("signal_name", "a name"),
        ("message_name", "a name"),
        ("node_name", "a node"),
        ("transmitter", "a node"),
        ("message_id", "an identifier"),
        ("unit", "a unit in quotes"),
        ("min_max", "[minimum|maximum]"),
        ("big_endian", "0"),
        ("little_endian", "1"),
        ("signed_type", "-"),
        ("unsigned_type", "+"),
        ("multiplexer_indicator", "M or m<n>"),
    ];
    let found: String = found.chars().take(20).collect();
    let rules: Vec<&str> = rules.split([',', ' ']).filter(|rule| !matches!(*rule, "" | "or" | "NEWLINE")).collect();
    if rules.is_empty() || rules.len() > 4 || rules.contains(&"EOI") {
        return format!("{found:?} is not expected here");
    }
    let word = |rule: &str| WORDS.iter().find(|(known, _)| *known == rule).map(|(_, word)| (*word).to_string());
    let rules: Vec<String> = rules.iter().map(|rule| word(rule).unwrap_or_else(|| rule.replace('_', " "))).collect();
    format!("expected {} instead of {found:?}", rules.join(" or "))
}
