//! Between the plan and OPC UA: types, values, quality and refusals. Nothing here knows the server layer.

use opcua::types::{
    DataTypeId, DataValue, DateTime, EnumValueType, ExtensionObject, LocalizedText, Range, StatusCode, VariableTypeId,
    Variant,
};

use super::units;
use crate::command::{Refusal, Value};
use crate::dbc::codec::Kind;
use crate::dbc::{Raw, Signal};
use crate::plant::view::WriteError;
use crate::quality::Causes;
use crate::sample::Sample;

/// The built-in type of a signal's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Boolean,
    SByte,
    Byte,
    Int16,
    UInt16,
    Int32,
    UInt32,
    Int64,
    UInt64,
    Float,
    Double,
}

/// What kind of variable a signal is (OPC 10000-8, 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number with a unit: AnalogUnitType.
    Unit,
    /// A number without a unit: BaseAnalogType.
    Number,
    /// Words for whole numbers: MultiStateValueDiscreteType.
    MultiState,
    /// A bit with a word for each state: TwoStateDiscreteType.
    TwoState,
    /// A bit without words: BaseDataVariableType.
    Bit,
}

/// Properties of signals, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Property {
    EngineeringUnits,
    EnumValues,
    EuRange,
    FalseState,
    TrueState,
    ValueAsText,
}

impl Property {
    pub const ALL: [Property; 6] = [
        Property::EngineeringUnits,
        Property::EnumValues,
        Property::EuRange,
        Property::FalseState,
        Property::TrueState,
        Property::ValueAsText,
    ];

    /// The standard's BrowseName, in namespace 0.
    pub fn name(self) -> &'static str {
        match self {
            Property::EngineeringUnits => "EngineeringUnits",
            Property::EnumValues => "EnumValues",
            Property::EuRange => "EURange",
            Property::FalseState => "FalseState",
            Property::TrueState => "TrueState",
            Property::ValueAsText => "ValueAsText",
        }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            Property::EngineeringUnits => DataTypeId::EUInformation,
            Property::EnumValues => DataTypeId::EnumValueType,
            Property::EuRange => DataTypeId::Range,
            Property::FalseState | Property::TrueState | Property::ValueAsText => DataTypeId::LocalizedText,
        }
    }

    /// One dimension or a scalar.
    pub fn is_array(self) -> bool {
        self == Property::EnumValues
    }
}

impl Type {
    pub fn data_type(self) -> DataTypeId {
        match self {
            Type::Boolean => DataTypeId::Boolean,
            Type::SByte => DataTypeId::SByte,
            Type::Byte => DataTypeId::Byte,
            Type::Int16 => DataTypeId::Int16,
            Type::UInt16 => DataTypeId::UInt16,
            Type::Int32 => DataTypeId::Int32,
            Type::UInt32 => DataTypeId::UInt32,
            Type::Int64 => DataTypeId::Int64,
            Type::UInt64 => DataTypeId::UInt64,
            Type::Float => DataTypeId::Float,
            Type::Double => DataTypeId::Double,
        }
    }
}

impl Form {
    pub fn type_definition(self) -> VariableTypeId {
        match self {
            Form::Unit => VariableTypeId::AnalogUnitType,
            Form::Number => VariableTypeId::BaseAnalogType,
            Form::MultiState => VariableTypeId::MultiStateValueDiscreteType,
            Form::TwoState => VariableTypeId::TwoStateDiscreteType,
            Form::Bit => VariableTypeId::BaseDataVariableType,
        }
    }

    /// BrowseName of the type definition.
    pub fn type_name(self) -> &'static str {
        match self {
            Form::Unit => "AnalogUnitType",
            Form::Number => "BaseAnalogType",
            Form::MultiState => "MultiStateValueDiscreteType",
            Form::TwoState => "TwoStateDiscreteType",
            Form::Bit => "BaseDataVariableType",
        }
    }
}

/// Factor and offset change nothing, so that the raw value is the engineering value.
fn unscaled(signal: &Signal) -> bool {
    signal.codec.factor == 1.0 && signal.codec.offset == 0.0
}

fn is_bit(signal: &Signal) -> bool {
    signal.codec.size == 1 && signal.codec.kind == Kind::Unsigned && unscaled(signal)
}

/// The type of a signal's value: exact for what is not scaled, Double for what is.
pub fn value_type(signal: &Signal) -> Type {
    match (signal.codec.kind, signal.codec.size) {
        _ if is_bit(signal) => Type::Boolean,
        _ if !unscaled(signal) => Type::Double,
        (Kind::F32, _) => Type::Float,
        (Kind::F64, _) => Type::Double,
        (Kind::Unsigned, 0..=8) => Type::Byte,
        (Kind::Unsigned, 9..=16) => Type::UInt16,
        (Kind::Unsigned, 17..=32) => Type::UInt32,
        (Kind::Unsigned, _) => Type::UInt64,
        (Kind::Signed, 0..=8) => Type::SByte,
        (Kind::Signed, 9..=16) => Type::Int16,
        (Kind::Signed, 17..=32) => Type::Int32,
        (Kind::Signed, _) => Type::Int64,
    }
}

/// A value table makes an enumeration of an integer without unit; elsewhere it names a few codes of a measured value.
pub fn form(signal: &Signal) -> Form {
    if is_bit(signal) {
        let named = |value| signal.label(Raw::Unsigned(value)).is_some_and(|word| !word.is_empty());
        return if named(0) && named(1) { Form::TwoState } else { Form::Bit };
    }
    let integer = matches!(signal.codec.kind, Kind::Unsigned | Kind::Signed);
    if integer && unscaled(signal) && signal.unit.is_empty() && !signal.value_table.is_empty() {
        Form::MultiState
    } else if signal.unit.is_empty() {
        Form::Number
    } else {
        Form::Unit
    }
}

/// Smallest and largest value: the DBC's range, else what the bits can hold. `None` for a float without a range.
pub fn range(signal: &Signal) -> Option<(f64, f64)> {
    let (low, high) = match (signal.range, signal.codec.kind) {
        (Some(range), _) => range,
        (None, Kind::F32 | Kind::F64) => return None,
        (None, Kind::Unsigned | Kind::Signed) => signal.codec.engineering_limits(),
    };
    (low < high && low.is_finite() && high.is_finite()).then_some((low, high))
}

/// Whether a signal has this property.
pub fn has_property(signal: &Signal, property: Property) -> bool {
    match (form(signal), property) {
        (Form::Unit, Property::EngineeringUnits) => true,
        (Form::Unit | Form::Number, Property::EuRange) => range(signal).is_some(),
        (Form::MultiState, Property::EnumValues | Property::ValueAsText) => true,
        (Form::TwoState, Property::FalseState | Property::TrueState) => true,
        _ => false,
    }
}

/// The value of a property that never changes. [`Property::ValueAsText`] is Empty: see [`value_as_text`].
pub fn property_value(signal: &Signal, property: Property) -> Variant {
    let state = |raw| localized(signal.label(Raw::Unsigned(raw)).unwrap_or_default());
    match property {
        Property::EngineeringUnits => {
            Variant::from(ExtensionObject::from_message(units::engineering_units(&signal.unit)))
        }
        Property::EuRange => match range(signal) {
            Some((low, high)) => Variant::from(ExtensionObject::from_message(Range { low, high })),
            None => Variant::Empty,
        },
        Property::EnumValues => {
            let values = signal.value_table.iter().filter_map(|(value, word)| {
                let text = LocalizedText::new("", word);
                let value = EnumValueType {
                    value: i64::try_from(*value).ok()?,
                    display_name: text,
                    description: LocalizedText::null(),
                };
                Some(ExtensionObject::from_message(value))
            });
            Variant::from(values.collect::<Vec<_>>())
        }
        Property::FalseState => state(0),
        Property::TrueState => state(1),
        Property::ValueAsText => Variant::Empty,
    }
}

fn localized(text: &str) -> Variant {
    Variant::from(LocalizedText::new("", text))
}

/// The value in its OPC UA type; `None` where there never was one.
pub fn value(signal: &Signal, sample: &Sample) -> Option<Variant> {
    let raw = sample.raw?;
    let bits = raw.bits();
    // `as` cuts nothing off: the type holds as many bits as the signal has
    Some(match value_type(signal) {
        Type::Boolean => Variant::Boolean(bits != 0),
        Type::SByte => Variant::SByte(bits as i8),
        Type::Byte => Variant::Byte(bits as u8),
        Type::Int16 => Variant::Int16(bits as i16),
        Type::UInt16 => Variant::UInt16(bits as u16),
        Type::Int32 => Variant::Int32(bits as i32),
        Type::UInt32 => Variant::UInt32(bits as u32),
        Type::Int64 => Variant::Int64(bits as i64),
        Type::UInt64 => Variant::UInt64(bits),
        Type::Float => Variant::Float(f32::from_bits(bits as u32)),
        Type::Double => Variant::Double(sample.value?),
    })
}

/// The word for the current value of an enumeration; empty where the table has none.
pub fn value_as_text(signal: &Signal, sample: &Sample) -> Option<Variant> {
    sample.raw.map(|raw| localized(signal.label(raw).unwrap_or_default()))
}

/// The StatusCode of the worst cause.
pub fn status(causes: Causes) -> StatusCode {
    StatusCode::from(causes.meaning().status)
}

/// A sample as DataValue: the held value where there is one, the cause as StatusCode, the frame's own time.
pub fn data_value(value: Option<Variant>, sample: &Sample, now: DateTime) -> DataValue {
    DataValue {
        value,
        status: Some(status(sample.causes)),
        source_timestamp: source_time(sample.source_time),
        source_picoseconds: None,
        server_timestamp: Some(now),
        server_picoseconds: None,
    }
}

/// Nanoseconds since 1970 as DateTime, which counts 100 ns since 1601; `None` for 0, "no frame yet".
pub fn source_time(nanoseconds: u64) -> Option<DateTime> {
    /// 1601-01-01 to 1970-01-01, in units of 100 ns.
    const EPOCH: i64 = 116_444_736_000_000_000;
    (nanoseconds > 0).then(|| DateTime::from(EPOCH + (nanoseconds / 100) as i64))
}

/// A written value as a command takes it; the type must be exactly the variable's.
pub fn to_command(signal: &Signal, value: &Variant) -> Result<Value, StatusCode> {
    let unsigned = |bits: u64| Ok(Value::Raw(Raw::Unsigned(bits)));
    let signed = |bits: i64| Ok(Value::Raw(Raw::Signed(bits)));
    match (value_type(signal), value) {
        (Type::Boolean, Variant::Boolean(on)) => unsigned(u64::from(*on)),
        (Type::Byte, Variant::Byte(number)) => unsigned(u64::from(*number)),
        (Type::UInt16, Variant::UInt16(number)) => unsigned(u64::from(*number)),
        (Type::UInt32, Variant::UInt32(number)) => unsigned(u64::from(*number)),
        (Type::UInt64, Variant::UInt64(number)) => unsigned(*number),
        (Type::SByte, Variant::SByte(number)) => signed(i64::from(*number)),
        (Type::Int16, Variant::Int16(number)) => signed(i64::from(*number)),
        (Type::Int32, Variant::Int32(number)) => signed(i64::from(*number)),
        (Type::Int64, Variant::Int64(number)) => signed(*number),
        (Type::Float, Variant::Float(number)) if number.is_finite() => Ok(Value::Raw(Raw::F32(number.to_bits()))),
        (Type::Double, Variant::Double(number)) if number.is_finite() => Ok(match signal.codec.kind {
            Kind::F64 if unscaled(signal) => Value::Raw(Raw::F64(number.to_bits())),
            _ => Value::Engineering(*number),
        }),
        (Type::Float, Variant::Float(_)) | (Type::Double, Variant::Double(_)) => Err(StatusCode::BadOutOfRange),
        _ => Err(StatusCode::BadTypeMismatch),
    }
}

/// Why the controller refused, as the Write service says it (OPC 10000-4, 5.11.4.4).
pub fn refusal(error: &WriteError) -> StatusCode {
    match error {
        // the same code that every value of a gone controller has
        WriteError::ControllerGone => StatusCode::BadDeviceFailure,
        WriteError::Unanswered => StatusCode::BadTimeout,
        WriteError::Refused(refusal) => match refusal {
            Refusal::UnknownTag => StatusCode::BadNodeIdUnknown,
            Refusal::NotWritable { .. } => StatusCode::BadNotWritable,
            Refusal::NotFinite { .. } | Refusal::Range { .. } | Refusal::Unrepresentable { .. } => {
                StatusCode::BadOutOfRange
            }
            Refusal::Type { .. } => StatusCode::BadTypeMismatch,
            Refusal::Conflict { .. } | Refusal::SeveralMessages { .. } => StatusCode::BadWriteNotSupported,
            Refusal::Empty => StatusCode::BadNothingToDo,
            Refusal::TooMany => StatusCode::BadTooManyOperations,
            Refusal::Malformed => StatusCode::BadInternalError,
            Refusal::Busy => StatusCode::BadServerTooBusy,
            Refusal::BusDown => StatusCode::BadNoCommunication,
        },
    }
}
