//! The enumeration of a bus's states.

use opcua::types::{AttributeId, EnumDefinition, EnumField, ExtensionObject, LocalizedText, StatusCode, Variant};

use crate::store::layout::BusState;

/// Its name.
pub const NAME: &str = "CanBusState";

/// What the enumeration of a bus's states has besides a DataType's attributes.
pub fn attribute(attribute: AttributeId) -> Option<Result<Variant, StatusCode>> {
    if attribute != AttributeId::DataTypeDefinition {
        return None;
    }
    let fields = BusState::ALL.map(|state| EnumField {
        value: state as i64,
        display_name: LocalizedText::new("", name(state)),
        description: LocalizedText::null(),
        name: name(state).into(),
    });
    let definition = EnumDefinition { fields: Some(fields.to_vec()) };
    Some(Ok(Variant::from(ExtensionObject::from_message(definition))))
}

/// EnumStrings (OPC 10000-3, 5.8.3): the states are numbered from 0 without a gap.
pub fn strings() -> Variant {
    Variant::from(BusState::ALL.map(|state| LocalizedText::new("", name(state))).to_vec())
}

fn name(state: BusState) -> &'static str {
    match state {
        BusState::Gone => "Gone",
        BusState::Down => "Down",
        BusState::Active => "ErrorActive",
        BusState::Warning => "ErrorWarning",
        BusState::Passive => "ErrorPassive",
        BusState::BusOff => "BusOff",
    }
}
