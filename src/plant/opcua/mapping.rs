//! Between the plan and OPC UA: types, values, quality and refusals. Nothing here knows how it is asked for.

use opcua::types::{
    DataTypeId, DataValue, DateTime, EnumValueType, ExtensionObject, LocalizedText, Range, ReferenceTypeId, StatusCode,
    VariableTypeId, Variant,
};

use super::space::NAMESPACE;
use super::units;
use crate::command::{self, Refusal, Value, Write};
use crate::dbc::codec::Kind;
use crate::dbc::{Raw, Signal};
use crate::plan::{Plan, TagIndex};
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
    /// In no session's language: the Description is.
    Comment,
    EngineeringUnits,
    EnumValues,
    EuRange,
    FalseState,
    /// What is in the frame, before factor and offset; a component, not a property.
    RawValue,
    TrueState,
    ValueAsText,
}

impl Property {
    pub const ALL: [Property; 8] = [
        Property::Comment,
        Property::EngineeringUnits,
        Property::EnumValues,
        Property::EuRange,
        Property::FalseState,
        Property::RawValue,
        Property::TrueState,
        Property::ValueAsText,
    ];

    /// The BrowseName, but for one the standard's.
    pub fn name(self) -> &'static str {
        match self {
            Property::Comment => "Comment",
            Property::EngineeringUnits => "EngineeringUnits",
            Property::EnumValues => "EnumValues",
            Property::EuRange => "EURange",
            Property::FalseState => "FalseState",
            Property::RawValue => "RawValue",
            Property::TrueState => "TrueState",
            Property::ValueAsText => "ValueAsText",
        }
    }

    /// Namespace of the BrowseName.
    pub fn namespace(self) -> u16 {
        if matches!(self, Property::Comment | Property::RawValue) { NAMESPACE } else { 0 }
    }

    /// What a signal has it by.
    pub fn reference(self) -> ReferenceTypeId {
        match self {
            Property::RawValue => ReferenceTypeId::HasComponent,
            _ => ReferenceTypeId::HasProperty,
        }
    }

    pub fn type_definition(self) -> VariableTypeId {
        match self {
            Property::RawValue => VariableTypeId::BaseDataVariableType,
            _ => VariableTypeId::PropertyType,
        }
    }

    pub fn data_type(self, signal: &Signal) -> DataTypeId {
        match self {
            Property::RawValue => raw_type(signal).data_type(),
            Property::EngineeringUnits => DataTypeId::EUInformation,
            Property::EnumValues => DataTypeId::EnumValueType,
            Property::EuRange => DataTypeId::Range,
            Property::Comment | Property::FalseState | Property::TrueState | Property::ValueAsText => {
                DataTypeId::LocalizedText
            }
        }
    }

    /// What the plan says for good, not what comes from a frame.
    pub fn is_constant(self) -> bool {
        !matches!(self, Property::RawValue | Property::ValueAsText)
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
    if is_bit(signal) {
        Type::Boolean
    } else if unscaled(signal) {
        raw_type(signal)
    } else {
        Type::Double
    }
}

/// The type of what is in the frame.
fn raw_type(signal: &Signal) -> Type {
    match (signal.codec.kind, signal.codec.size) {
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
    if integer
        && unscaled(signal)
        && signal.unit.is_empty()
        && signal.value_table.iter().any(|(value, _)| i64::try_from(*value).is_ok())
    {
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
        (_, Property::Comment) => signal.comment.is_some(),
        // of what is not scaled, the value is the raw value
        (_, Property::RawValue) => !unscaled(signal),
        _ => false,
    }
}

/// The value of a property that never changes. Empty for what comes from a frame: [`value_as_text`], [`raw_value`].
pub fn property_value(signal: &Signal, property: Property, words: Words<'_>) -> Variant {
    let state = |raw: u64| localized(word(raw.into(), signal.label(Raw::Unsigned(raw)).unwrap_or_default(), words));
    match property {
        Property::Comment => localized(("", signal.comment.as_deref().unwrap_or_default())),
        Property::EngineeringUnits => {
            Variant::from(ExtensionObject::from_message(units::engineering_units(&signal.unit)))
        }
        Property::EuRange => match range(signal) {
            Some((low, high)) => Variant::from(ExtensionObject::from_message(Range { low, high })),
            None => Variant::Empty,
        },
        Property::EnumValues => {
            let values = signal.value_table.iter().filter_map(|(value, own)| {
                // a number without a word has itself
                let text = match word(*value, own, words) {
                    (_, "") => LocalizedText::new("", &value.to_string()),
                    (locale, word) => LocalizedText::new(locale, word),
                };
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
        Property::RawValue | Property::ValueAsText => Variant::Empty,
    }
}

fn localized((locale, text): (&str, &str)) -> Variant {
    Variant::from(LocalizedText::new(locale, text))
}

/// Locale and words of a value table that an overlay table has for who asks.
pub type Words<'a> = Option<&'a (String, Vec<(i128, String)>)>;

/// Locale and word of a raw value: the translation, else the DBC's own.
pub fn word<'a>(raw: i128, own: &'a str, words: Words<'a>) -> (&'a str, &'a str) {
    let translated = words.and_then(|(locale, words)| {
        let at = words.binary_search_by_key(&raw, |(value, _)| *value).ok()?;
        words.get(at).map(|(_, word)| (locale.as_str(), word.as_str()))
    });
    translated.unwrap_or(("", own))
}

/// The value in its OPC UA type; `None` where there never was one.
pub fn value(signal: &Signal, sample: &Sample) -> Option<Variant> {
    match value_type(signal) {
        Type::Double => sample.raw.and(sample.value).map(Variant::Double),
        kind => Some(of_bits(kind, sample.raw?.bits())),
    }
}

/// What is in the frame, before factor and offset.
pub fn raw_value(signal: &Signal, sample: &Sample) -> Option<Variant> {
    Some(of_bits(raw_type(signal), sample.raw?.bits()))
}

fn of_bits(kind: Type, bits: u64) -> Variant {
    // `as` cuts nothing off: the type holds as many bits as the signal has
    match kind {
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
        Type::Double => Variant::Double(f64::from_bits(bits)),
    }
}

/// The same for who writes it himself: number of the built-in type, bytes, bits.
pub fn bits(signal: &Signal, sample: &Sample) -> Option<(u8, usize, u64)> {
    let bits = sample.raw?.bits();
    Some(match value_type(signal) {
        Type::Boolean => (1, 1, u64::from(bits != 0)),
        Type::SByte => (2, 1, bits),
        Type::Byte => (3, 1, bits),
        Type::Int16 => (4, 2, bits),
        Type::UInt16 => (5, 2, bits),
        Type::Int32 => (6, 4, bits),
        Type::UInt32 => (7, 4, bits),
        Type::Int64 => (8, 8, bits),
        Type::UInt64 => (9, 8, bits),
        Type::Float => (10, 4, bits),
        Type::Double => (11, 8, sample.value?.to_bits()),
    })
}

/// The word for the current value of an enumeration; the number where the table has none (OPC 10000-8, 5.3.3.4).
pub fn value_as_text(signal: &Signal, sample: &Sample, words: Words<'_>) -> Option<Variant> {
    let raw = sample.raw?;
    let number = raw.as_i128().unwrap_or_default();
    Some(match word(number, signal.label(raw).unwrap_or_default(), words) {
        (_, "") => localized(("", &number.to_string())),
        found => localized(found),
    })
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
    (nanoseconds > 0).then(|| DateTime::from(ticks(nanoseconds)))
}

/// The same as a number.
pub fn ticks(nanoseconds: u64) -> i64 {
    /// 1601-01-01 to 1970-01-01, in units of 100 ns.
    const EPOCH: i64 = 116_444_736_000_000_000;
    EPOCH + (nanoseconds / 100) as i64
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

/// A written value, checked as far as the plan tells what it must be; the controller checks it again.
pub fn write(plan: &Plan, tag: TagIndex, value: &Variant) -> Result<Write, StatusCode> {
    let value = to_command(plan.signal(tag), value)?;
    command::raw_of(plan, tag, value).map_err(|error| refusal(&WriteError::Refused(error)))?;
    Ok(Write { tag, value })
}

/// What is right by itself and not written, because something that was to go out with it is not: "rejected by the Server because it
/// did not meet the criteria set by the Server" (OPC 10000-4, 7.38.2).
pub const NOT_ALONE: StatusCode = StatusCode::BadRequestNotAllowed;

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
            Refusal::Busy | Refusal::Reloaded => StatusCode::BadServerTooBusy,
            Refusal::BusDown => StatusCode::BadNoCommunication,
            Refusal::OwnedByLink { .. } => StatusCode::BadNotWritable,
            Refusal::OnlyAtTheMachine | Refusal::WrongDoor { .. } => StatusCode::BadUserAccessDenied,
            Refusal::Local
            | Refusal::NotArmed
            | Refusal::Fallback { .. }
            | Refusal::CauseLasts { .. }
            | Refusal::HeldLocal
            | Refusal::Interlocked { .. }
            | Refusal::NotForced { .. }
            | Refusal::NotBusOff { .. }
            | Refusal::Configuration { .. }
            | Refusal::NotReloaded { .. }
            | Refusal::ReloadWaits { .. } => StatusCode::BadInvalidState,
            Refusal::RemoteAtTheMachine => StatusCode::BadNotExecutable,
            Refusal::NotForcible { .. } | Refusal::NotManaged { .. } | Refusal::NotSent { .. } => {
                StatusCode::BadNotSupported
            }
            Refusal::ForceTime => StatusCode::BadOutOfRange,
            Refusal::TooManyForces => StatusCode::BadResourceUnavailable,
            Refusal::Unknown => StatusCode::BadNodeIdUnknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::opcua::tests::{plan, tag};
    use crate::quality::Cause;

    fn sample(raw: Option<Raw>, signal: &Signal, causes: Causes) -> Sample {
        let value = raw.map(|raw| signal.codec.engineering(raw));
        Sample { raw, value, causes, source_time: 1_767_323_045_250_000_000, received: 1, count: 1 }
    }

    #[test]
    fn types_and_values() {
        use Variant as V;
        let plan = plan();
        for (name, kind, form_, raw, want) in [
            ("Oven.Temp", Type::Double, Form::Unit, Raw::Unsigned(1000), V::Double(60.0)),
            ("Oven.Mode", Type::Byte, Form::MultiState, Raw::Unsigned(2), V::Byte(2)),
            ("Oven.Door", Type::Boolean, Form::TwoState, Raw::Unsigned(1), V::Boolean(true)),
            ("Oven.Flag", Type::Boolean, Form::Bit, Raw::Unsigned(0), V::Boolean(false)),
            ("Oven.Trim", Type::SByte, Form::Unit, Raw::Signed(-128), V::SByte(-128)),
            ("Oven.Level", Type::Float, Form::Unit, Raw::F32(1.5_f32.to_bits()), V::Float(1.5)),
            ("Wide.Big", Type::UInt64, Form::Number, Raw::Unsigned(u64::MAX), V::UInt64(u64::MAX)),
            ("Precise.Exact", Type::Double, Form::Number, Raw::F64(0.1_f64.to_bits()), V::Double(0.1)),
            ("DriveCommand.Steps", Type::Int16, Form::Number, Raw::Signed(-3), V::Int16(-3)),
        ] {
            let signal = plan.signal(tag(&plan, name));
            assert_eq!((value_type(signal), form(signal)), (kind, form_), "{name}");
            assert_eq!(value(signal, &sample(Some(raw), signal, Causes::NONE)), Some(want.clone()), "{name}");
            assert_eq!(value(signal, &sample(None, signal, Causes::NONE)), None, "{name}");
            // what is read can be written
            let written = to_command(signal, &want).unwrap();
            assert!(matches!(written, Value::Engineering(60.0)) || written == Value::Raw(raw), "{name}: {written:?}");
        }
    }

    #[test]
    fn properties() {
        let plan = plan();
        for (name, want) in [
            ("Oven.Temp", "Comment EngineeringUnits EURange -40..200 RawValue"),
            ("Oven.Mode", "EnumValues ValueAsText"),
            ("Oven.Door", "FalseState TrueState"),
            ("Oven.Flag", ""),
            ("Oven.Trim", "EngineeringUnits EURange -128..127"),
            // a float without a range has none to tell
            ("Oven.Level", "EngineeringUnits"),
            ("Precise.Exact", "EURange -1..1"),
            ("DriveCommand.Steps", "EURange -32768..32767"),
        ] {
            let signal = plan.signal(tag(&plan, name));
            let mut words = Vec::new();
            for property in Property::ALL.into_iter().filter(|property| has_property(signal, *property)) {
                words.push(property.name().to_owned());
                let value = property_value(signal, property, None);
                let live = matches!(property, Property::RawValue | Property::ValueAsText);
                assert_eq!(value == Variant::Empty, live, "{name}.{}", property.name());
                if let Variant::ExtensionObject(object) = &value
                    && let Some(range) = object.inner_as::<Range>()
                {
                    words.push(format!("{}..{}", range.low, range.high));
                }
            }
            assert_eq!(words.join(" "), want, "{name}");
        }
        let mode = plan.signal(tag(&plan, "Oven.Mode"));
        let german = ("de".to_owned(), vec![(2, "Störung".to_owned())]);
        let text = |raw, words| value_as_text(mode, &sample(Some(Raw::Unsigned(raw)), mode, Causes::NONE), words);
        for (raw, own, translated) in
            [(2, ("", "Fault"), ("de", "Störung")), (1, ("", "On"), ("", "On")), (3, ("", "3"), ("", "3"))]
        {
            assert_eq!(text(raw, None), Some(localized(own)));
            assert_eq!(text(raw, Some(&german)), Some(localized(translated)));
        }
    }

    #[test]
    fn raw_values_are_what_is_in_the_frame() {
        let plan = plan();
        for (name, raw, want) in [
            ("Oven.Temp", Raw::Unsigned(1000), Variant::UInt16(1000)),
            ("DriveCommand.Setpoint", Raw::Unsigned(7), Variant::UInt16(7)),
            ("DriveCommand.Steps", Raw::Signed(-3), Variant::Int16(-3)),
        ] {
            let signal = plan.signal(tag(&plan, name));
            assert_eq!(raw_value(signal, &sample(Some(raw), signal, Causes::NONE)), Some(want), "{name}");
            assert_eq!(raw_value(signal, &sample(None, signal, Causes::NONE)), None);
        }
    }

    #[test]
    fn quality_and_time() {
        let plan = plan();
        let signal = plan.signal(tag(&plan, "Oven.Temp"));
        for cause in Cause::ALL {
            let sample = sample(Some(Raw::Unsigned(1000)), signal, Causes::of(cause));
            let data = data_value(value(signal, &sample), &sample, DateTime::now());
            let meaning = cause.meaning();
            assert_eq!(data.status.unwrap().bits(), meaning.status);
            assert_eq!(data.status.unwrap().to_string(), meaning.status_name);
            assert_eq!(data.value, Some(Variant::Double(60.0)), "the last value is held");
        }
        let time = source_time(1_767_323_045_250_000_100).unwrap();
        assert_eq!(time.as_chrono().timestamp_nanos_opt(), Some(1_767_323_045_250_000_100));
        assert_eq!(source_time(0), None);
    }

    #[test]
    fn what_is_not_exactly_the_type_is_refused() {
        let plan = plan();
        let [setpoint, enable, big, level] = ["DriveCommand.Setpoint", "DriveCommand.Enable", "Wide.Big", "Oven.Level"]
            .map(|name| plan.signal(tag(&plan, name)));
        for (signal, value, want) in [
            (setpoint, Variant::Float(1.0), StatusCode::BadTypeMismatch),
            (setpoint, Variant::UInt16(1), StatusCode::BadTypeMismatch),
            (setpoint, Variant::Empty, StatusCode::BadTypeMismatch),
            (setpoint, Variant::from("1"), StatusCode::BadTypeMismatch),
            (setpoint, Variant::from(vec![1.0]), StatusCode::BadTypeMismatch),
            (setpoint, Variant::Double(f64::INFINITY), StatusCode::BadOutOfRange),
            (level, Variant::Float(f32::NAN), StatusCode::BadOutOfRange),
            (level, Variant::Double(1.0), StatusCode::BadTypeMismatch),
            (enable, Variant::Byte(1), StatusCode::BadTypeMismatch),
            (big, Variant::Int64(1), StatusCode::BadTypeMismatch),
            (big, Variant::Double(1.0), StatusCode::BadTypeMismatch),
        ] {
            assert_eq!(to_command(signal, &value), Err(want), "{value:?}");
        }
    }

    #[test]
    fn refusals() {
        let tag = String::new;
        for (refused, want) in [
            (Refusal::NotWritable { tag: tag() }, StatusCode::BadNotWritable),
            (Refusal::Range { tag: tag(), value: 9.0, min: 0.0, max: 1.0 }, StatusCode::BadOutOfRange),
            (Refusal::Busy, StatusCode::BadServerTooBusy),
            (Refusal::BusDown, StatusCode::BadNoCommunication),
        ] {
            assert_eq!(refusal(&WriteError::Refused(refused)), want);
        }
        assert_eq!(refusal(&WriteError::ControllerGone), status(Causes::of(Cause::ControllerGone)));
    }
}
