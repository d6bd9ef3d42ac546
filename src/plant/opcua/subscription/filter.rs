//! What of a value is news to a client (OPC 10000-4, 7.22.2): DataChangeFilter and its deadbands.

use opcua::types::{StatusCode, Variant};

use crate::plant::opcua::wire::{Reader, Structure};

/// Encodings of the filters.
const DATA_CHANGE: u32 = 724;
const EVENT: u32 = 727;
const AGGREGATE: u32 = 730;

/// What counts as a change besides the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Status,
    Value,
    Timestamp,
}

/// A deadband as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deadband {
    None,
    Absolute(f64),
    /// Of the EURange.
    Percent(f64),
}

/// A DataChangeFilter; without one, [`Filter::DEFAULT`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    pub trigger: Trigger,
    pub deadband: Deadband,
}

/// The filter of a monitored item, not looked into where it is one for events.
pub enum Asked<'a> {
    Data(Filter),
    Event(Reader<'a>),
}

impl Filter {
    pub const DEFAULT: Filter = Filter { trigger: Trigger::Value, deadband: Deadband::None };

    fn read(reader: &mut Reader<'_>) -> Result<Filter, StatusCode> {
        let invalid = StatusCode::BadMonitoredItemFilterInvalid;
        let numbers = (|| Ok::<_, StatusCode>((reader.u32()?, reader.u32()?, reader.f64()?)))();
        let (trigger, kind, width) = numbers.map_err(|_| invalid)?;
        let trigger = match trigger {
            0 => Trigger::Status,
            1 => Trigger::Value,
            2 => Trigger::Timestamp,
            _ => return Err(invalid),
        };
        let deadband = match kind {
            0 => Deadband::None,
            1 if width.is_finite() && width >= 0.0 => Deadband::Absolute(width),
            2 if (0.0..=100.0).contains(&width) => Deadband::Percent(width),
            1 | 2 => return Err(StatusCode::BadDeadbandFilterInvalid),
            _ => return Err(invalid),
        };
        Ok(Filter { trigger, deadband })
    }

    /// The least difference that is news. `number`: the value is one; `range`: its EURange. Errors: a deadband on what has
    /// none (7.22.2).
    pub fn width(&self, number: bool, range: Option<(f64, f64)>) -> Result<f64, StatusCode> {
        match self.deadband {
            Deadband::None => Ok(0.0),
            _ if !number => Err(StatusCode::BadFilterNotAllowed),
            Deadband::Absolute(width) => Ok(width),
            Deadband::Percent(percent) => match range {
                Some((low, high)) if high > low => Ok((high - low) * percent / 100.0),
                _ => Err(StatusCode::BadMonitoredItemFilterUnsupported),
            },
        }
    }
}

/// Which filter a client wants.
pub fn read(structure: Structure<'_>) -> Result<Asked<'_>, StatusCode> {
    let Some(body) = structure.body else {
        let none = structure.encoding.is_null();
        return if none { Ok(Asked::Data(Filter::DEFAULT)) } else { Err(StatusCode::BadMonitoredItemFilterInvalid) };
    };
    let mut reader = Reader::new(body);
    match structure.encoding.standard() {
        Some(DATA_CHANGE) => Filter::read(&mut reader).map(Asked::Data),
        Some(EVENT) => Ok(Asked::Event(reader)),
        Some(AGGREGATE) => Err(StatusCode::BadMonitoredItemFilterUnsupported),
        _ => Err(StatusCode::BadMonitoredItemFilterInvalid),
    }
}

/// The number in a value, for deadbands.
pub fn number(value: &Variant) -> Option<f64> {
    Some(match *value {
        Variant::SByte(number) => f64::from(number),
        Variant::Byte(number) => f64::from(number),
        Variant::Int16(number) => f64::from(number),
        Variant::UInt16(number) => f64::from(number),
        Variant::Int32(number) => f64::from(number),
        Variant::UInt32(number) => f64::from(number),
        Variant::Int64(number) => number as f64,
        Variant::UInt64(number) => number as f64,
        Variant::Float(number) => f64::from(number),
        Variant::Double(number) => number,
        _ => return None,
    })
}

/// Whether two values are the same. Absent and Empty are one; NaN is itself, or it would be news at every look.
pub fn same(a: Option<&Variant>, b: Option<&Variant>) -> bool {
    let empty = |value: Option<&Variant>| value.is_none_or(|value| *value == Variant::Empty);
    match (a, b) {
        (Some(Variant::Double(a)), Some(Variant::Double(b))) => a.to_bits() == b.to_bits(),
        (Some(Variant::Float(a)), Some(Variant::Float(b))) => a.to_bits() == b.to_bits(),
        _ => empty(a) && empty(b) || a == b,
    }
}

/// Whether `new` is further from `old` than the deadband is wide; without one, whether it is another.
pub fn differs(width: f64, old: Option<&Variant>, new: Option<&Variant>) -> bool {
    if same(old, new) {
        return false;
    }
    if width > 0.0
        && let (Some(old), Some(new)) = (old.and_then(number), new.and_then(number))
        && old.is_finite()
        && new.is_finite()
    {
        return (new - old).abs() > width;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::opcua::wire::{NodeRef, Writer};

    fn filter(trigger: u32, kind: u32, width: f64) -> Result<Filter, StatusCode> {
        let mut writer = Writer::new();
        writer.u32(trigger);
        writer.u32(kind);
        writer.f64(width);
        let body = writer.finish();
        let structure = Structure { encoding: NodeRef::Numeric(0, DATA_CHANGE), body: Some(&body) };
        match read(structure)? {
            Asked::Data(filter) => Ok(filter),
            Asked::Event(_) => panic!(),
        }
    }

    #[test]
    fn deadbands() {
        use StatusCode as S;
        let range = Some((-40.0, 160.0));
        for (kind, width, number, range, want) in [
            (0, 5.0, false, None, Ok(0.0)),
            (1, 2.5, true, None, Ok(2.5)),
            (1, 2.5, false, None, Err(S::BadFilterNotAllowed)),
            (1, -1.0, true, None, Err(S::BadDeadbandFilterInvalid)),
            (1, f64::NAN, true, None, Err(S::BadDeadbandFilterInvalid)),
            (2, 10.0, true, range, Ok(20.0)),
            (2, 100.1, true, range, Err(S::BadDeadbandFilterInvalid)),
            (2, 10.0, true, None, Err(S::BadMonitoredItemFilterUnsupported)),
            (2, 10.0, false, range, Err(S::BadFilterNotAllowed)),
            (3, 1.0, true, range, Err(S::BadMonitoredItemFilterInvalid)),
        ] {
            let found = filter(1, kind, width).and_then(|filter| filter.width(number, range));
            assert_eq!(found, want, "{kind} {width}");
        }
        assert_eq!(filter(3, 0, 0.0), Err(S::BadMonitoredItemFilterInvalid));
        let structure = Structure { encoding: NodeRef::Numeric(0, DATA_CHANGE), body: Some(&[1, 2]) };
        assert!(read(structure).is_err());
    }

    #[test]
    fn differences() {
        let double = |number| Some(Variant::Double(number));
        for (width, old, new, want) in [
            (0.0, double(1.0), double(1.0), false),
            (0.0, double(1.0), double(1.000_001), true),
            (2.0, double(1.0), double(3.0), false),
            (2.0, double(1.0), double(3.1), true),
            (2.0, double(f64::NAN), double(f64::NAN), false),
            (2.0, double(1.0), double(f64::NAN), true),
            (2.0, None, double(1.0), true),
            (0.0, None, Some(Variant::Empty), false),
            (1.0, Some(Variant::UInt16(5)), Some(Variant::UInt16(6)), false),
            (1.0, Some(Variant::UInt16(5)), Some(Variant::UInt16(7)), true),
        ] {
            assert_eq!(differs(width, old.as_ref(), new.as_ref()), want, "{width} {old:?} {new:?}");
        }
    }
}
