//! Values as XML (OPC 10000-6, 5.3): those types that the plant's constants have.

use std::fmt::Write as _;

use opcua::types::{
    Argument, BinaryDecodable, BinaryEncodable, ContextOwned, EUInformation, EnumValueType, ExtensionObject,
    LocalizedText, Range, Variant,
};

use super::{escape, id_text};

/// Appends a `Value` element; nothing for a type that no constant has.
pub fn write(value: &Variant, text: &mut String) {
    // structures of the standard's table are kept as bytes
    let standard = ContextOwned::default();
    let context = standard.context();
    let decoded = Variant::decode(&mut value.encode_to_vec(&context).as_slice(), &context);
    let value = decoded.as_ref().unwrap_or(value);
    let mut inner = String::new();
    let done = match value {
        Variant::Array(array) => {
            let mut items = String::new();
            let mut name = None;
            let done = array.values.iter().all(|value| {
                name = element(value, &mut items);
                items.push('\n');
                name.is_some()
            });
            let empty = if array.values.is_empty() { None } else { name };
            empty
                .map(|name| {
                    let _ = write!(inner, "<ListOf{name}{TYPES}>\n{items}</ListOf{name}>");
                })
                .filter(|()| done)
        }
        value => element(value, &mut inner).map(|name| {
            inner = inner.replacen(&format!("<{name}>"), &format!("<{name}{TYPES}>"), 1);
        }),
    };
    if done.is_some() {
        let _ = writeln!(text, "    <Value>{inner}</Value>");
    }
}

const TYPES: &str = " xmlns=\"http://opcfoundation.org/UA/2008/02/Types.xsd\"";

/// Appends one value; the name of its element.
fn element(value: &Variant, text: &mut String) -> Option<&'static str> {
    let (name, inner) = match value {
        Variant::Boolean(on) => ("Boolean", on.to_string()),
        Variant::SByte(number) => ("SByte", number.to_string()),
        Variant::Byte(number) => ("Byte", number.to_string()),
        Variant::Int16(number) => ("Int16", number.to_string()),
        Variant::UInt16(number) => ("UInt16", number.to_string()),
        Variant::Int32(number) => ("Int32", number.to_string()),
        Variant::UInt32(number) => ("UInt32", number.to_string()),
        Variant::Int64(number) => ("Int64", number.to_string()),
        Variant::UInt64(number) => ("UInt64", number.to_string()),
        Variant::Float(number) => ("Float", number.to_string()),
        Variant::Double(number) => ("Double", number.to_string()),
        Variant::String(words) => ("String", escape(words.as_ref())),
        Variant::DateTime(time) => ("DateTime", time.to_rfc3339()),
        Variant::LocalizedText(words) => ("LocalizedText", localized(words)),
        Variant::NodeId(id) => ("NodeId", format!("<Identifier>{}</Identifier>", id_text(id))),
        Variant::ExtensionObject(object) => ("ExtensionObject", structure(object)?),
        _ => return None,
    };
    let _ = write!(text, "<{name}>{inner}</{name}>");
    Some(name)
}

fn localized(words: &LocalizedText) -> String {
    let mut text = String::new();
    if !words.locale.as_ref().is_empty() {
        let _ = write!(text, "<Locale>{}</Locale>", escape(words.locale.as_ref()));
    }
    let _ = write!(text, "<Text>{}</Text>", escape(words.text.as_ref()));
    text
}

/// TypeId is that of the XML encoding.
fn structure(object: &ExtensionObject) -> Option<String> {
    let (encoding, body) = if let Some(range) = object.inner_as::<Range>() {
        (885, format!("<Range><Low>{}</Low><High>{}</High></Range>", range.low, range.high))
    } else if let Some(unit) = object.inner_as::<EUInformation>() {
        let body = format!(
            "<EUInformation><NamespaceUri>{}</NamespaceUri><UnitId>{}</UnitId><DisplayName>{}</DisplayName>\
             <Description>{}</Description></EUInformation>",
            escape(unit.namespace_uri.as_ref()),
            unit.unit_id,
            localized(&unit.display_name),
            localized(&unit.description)
        );
        (888, body)
    } else if let Some(value) = object.inner_as::<EnumValueType>() {
        let body = format!(
            "<EnumValueType><Value>{}</Value><DisplayName>{}</DisplayName><Description>{}</Description></EnumValueType>",
            value.value,
            localized(&value.display_name),
            localized(&value.description)
        );
        (7616, body)
    } else if let Some(argument) = object.inner_as::<Argument>() {
        let dimensions: String = argument
            .array_dimensions
            .iter()
            .flatten()
            .map(|dimension| format!("<UInt32>{dimension}</UInt32>"))
            .collect();
        let body = format!(
            "<Argument><Name>{}</Name><DataType><Identifier>{}</Identifier></DataType><ValueRank>{}</ValueRank>\
             <ArrayDimensions>{dimensions}</ArrayDimensions><Description>{}</Description></Argument>",
            escape(argument.name.as_ref()),
            id_text(&argument.data_type),
            argument.value_rank,
            localized(&argument.description)
        );
        (297, body)
    } else {
        return None;
    };
    Some(format!("<TypeId><Identifier>i={encoding}</Identifier></TypeId><Body>{body}</Body>"))
}
