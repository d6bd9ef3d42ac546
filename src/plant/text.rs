//! Samples in words for people: numbers with the digits they have, labels, ages, times.

use crate::dbc::codec::Kind;
use crate::dbc::{Raw, Signal};
use crate::sample::Sample;
use crate::store::clock;

/// A value without its unit: `1480.5`, `Running (2)`, `–` for none.
pub fn value(signal: &Signal, sample: &Sample) -> String {
    let (Some(raw), Some(value)) = (sample.raw, sample.value) else { return "–".into() };
    match signal.label(raw) {
        Some(label) => format!("{label} ({})", number(signal, raw, value)),
        None => number(signal, raw, value),
    }
}

/// An engineering value without its unit, with the digits that its signal has.
pub fn engineering(signal: &Signal, value: f64) -> String {
    match signal.codec.to_raw(value) {
        Ok(raw) => number(signal, raw, value),
        Err(_) => significant(value, 9),
    }
}

fn number(signal: &Signal, raw: Raw, value: f64) -> String {
    let codec = &signal.codec;
    match (raw.as_i128(), codec.kind) {
        // exact, where f64 is not
        (Some(raw), _) if codec.factor == 1.0 && codec.offset == 0.0 => raw.to_string(),
        (_, Kind::F32) => significant(value, 6),
        (_, Kind::F64) => significant(value, 9),
        (_, Kind::Unsigned | Kind::Signed) => {
            let digits = decimals(codec.factor).max(decimals(codec.offset));
            if digits > MAX_DECIMALS || value.abs() >= 1e15 {
                significant(value, 9)
            } else {
                format!("{value:.digits$}")
            }
        }
    }
}

/// More decimals than this are a factor like 1/3.
const MAX_DECIMALS: usize = 6;

/// Digits behind the point of the shortest text of a number; large where it has an exponent.
fn decimals(number: f64) -> usize {
    let text = format!("{number:?}");
    match text.split_once('.') {
        Some((_, "0")) | None if !text.contains('e') => 0,
        Some((_, digits)) if !digits.contains('e') => digits.len(),
        _ => usize::MAX,
    }
}

fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    // rounded to so many digits, then the shortest text of that
    let rounded: f64 = format!("{value:.*e}", digits - 1).parse().unwrap_or(value);
    let size = rounded.abs();
    if size == 0.0 || (1e-4..1e15).contains(&size) { format!("{rounded}") } else { format!("{rounded:e}") }
}

/// How long ago: `0.12 s`, `42 s`, `3 min`, `5 h`, `12 d`.
pub fn age(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    match seconds {
        0..10 => format!("{:.2} s", nanoseconds as f64 / 1e9),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Percent of a share, to the hundredth.
pub fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

/// CLOCK_REALTIME nanoseconds as `2026-01-02T03:04:05.250Z` (RFC 3339).
pub fn time(nanoseconds: u64) -> String {
    let (seconds, milliseconds) = (nanoseconds / 1_000_000_000, nanoseconds / 1_000_000 % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// The same, if the clock was set when the stamp was taken.
pub fn known_time(nanoseconds: u64) -> Option<String> {
    clock::known(nanoseconds).map(time)
}

/// What stands where it was not.
pub const UNKNOWN_TIME: &str = "time unknown";

/// Year, month and day of a number of days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    // years begin in March, so that the leap day is the last
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::dbc::Codec;
    use crate::dbc::codec::ByteOrder;
    use crate::quality::Causes;

    fn check(kind: Kind, factor: f64, raw: Raw, text: &str) {
        let size = match kind {
            Kind::F32 => 32,
            _ => 64,
        };
        let codec = Codec::new(0, size, ByteOrder::LittleEndian, kind, factor, 0.0).unwrap();
        let signal = Signal {
            name: "S".into(),
            dbc_name: "S".into(),
            codec,
            range: None,
            unit: String::new(),
            comment: None,
            receivers: Vec::new(),
            value_table: vec![(7, "Seven".into())],
            multiplexor: false,
            group: 0,
            start_value: None,
            timeouts: Vec::new(),
            send_type: None,
            attributes: BTreeMap::new(),
        };
        let sample = Sample {
            raw: Some(raw),
            value: Some(codec.engineering(raw)),
            causes: Causes::NONE,
            source_time: 0,
            received: 0,
            count: 1,
        };
        assert_eq!(value(&signal, &sample), text);
        assert_eq!(value(&signal, &Sample { raw: None, value: None, ..sample }), "–");
    }

    #[test]
    fn values_have_the_digits_of_their_factor() {
        check(Kind::Unsigned, 1.0, Raw::Unsigned(u64::MAX), "18446744073709551615");
        check(Kind::Unsigned, 1.0, Raw::Unsigned(7), "Seven (7)");
        check(Kind::Signed, 0.1, Raw::Signed(-15), "-1.5");
        check(Kind::Signed, 0.1, Raw::Signed(30), "3.0");
        check(Kind::Unsigned, 0.125, Raw::Unsigned(8), "1.000");
        check(Kind::Unsigned, 10.0, Raw::Unsigned(8), "80");
        check(Kind::Unsigned, 1.0 / 3.0, Raw::Unsigned(1), "0.333333333");
        check(Kind::Unsigned, 1e-9, Raw::Unsigned(1), "1e-9");
        check(Kind::F32, 1.0, Raw::F32(0.1f32.to_bits()), "0.1");
        check(Kind::F64, 1.0, Raw::F64(1e300f64.to_bits()), "1e300");
        check(Kind::F64, 1.0, Raw::F64(f64::NAN.to_bits()), "NaN");
    }

    #[test]
    fn ages_and_times() {
        for (nanoseconds, text) in [
            (123_000_000, "0.12 s"),
            (42_000_000_000, "42 s"),
            (180_000_000_000, "3 min"),
            (18_000_000_000_000, "5 h"),
            (1_036_800_000_000_000, "12 d"),
        ] {
            assert_eq!(age(nanoseconds), text);
        }
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_323_045, "2026-01-02T03:04:05.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(seconds * 1_000_000_000), text);
        }
    }
}
