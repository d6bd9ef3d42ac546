//! Engineering units: from the text in a DBC file to the UNECE code that OPC UA asks for (OPC 10000-8, 5.6.3).

use opcua::types::{EUInformation, LocalizedText};

/// Namespace of the unit codes (UNECE Recommendation 20, "common codes").
const NAMESPACE: &str = "http://www.opcfoundation.org/UA/units/un/cefact";

/// A unit of the table.
struct Unit {
    /// UNECE common code.
    code: &'static str,
    symbol: &'static str,
    name: &'static str,
    /// As DBC files write it, besides the symbol itself.
    spellings: &'static [&'static str],
}

const fn unit(
    code: &'static str,
    symbol: &'static str,
    name: &'static str,
    spellings: &'static [&'static str],
) -> Unit {
    Unit { code, symbol, name, spellings }
}

const UNITS: &[Unit] = &[
    unit("CEL", "°C", "degree Celsius", &["degC", "deg C", "C", "Celsius", "oC"]),
    unit("FAH", "°F", "degree Fahrenheit", &["degF", "deg F", "Fahrenheit"]),
    unit("KEL", "K", "kelvin", &["kelvin"]),
    unit("RPM", "r/min", "revolutions per minute", &["rpm", "1/min", "U/min", "min-1", "min^-1", "rev/min"]),
    unit("RPS", "r/s", "revolutions per second", &["rps", "U/s"]),
    unit("P1", "%", "percent", &["percent", "pct", "Prozent"]),
    unit("59", "ppm", "part per million", &[]),
    unit("VLT", "V", "volt", &["Volt", "volts"]),
    unit("2Z", "mV", "millivolt", &[]),
    unit("KVT", "kV", "kilovolt", &[]),
    unit("AMP", "A", "ampere", &["Amp", "Amps", "ampere"]),
    unit("4K", "mA", "milliampere", &[]),
    unit("B84", "µA", "microampere", &["uA", "μA"]),
    unit("AMH", "A·h", "ampere hour", &["Ah"]),
    unit("WTT", "W", "watt", &["Watt"]),
    unit("KWT", "kW", "kilowatt", &[]),
    unit("MAW", "MW", "megawatt", &[]),
    unit("D46", "V·A", "volt - ampere", &["VA"]),
    unit("KVA", "kV·A", "kilovolt - ampere", &["kVA"]),
    unit("D44", "var", "var", &[]),
    unit("KVR", "kvar", "kilovar", &[]),
    unit("WHR", "W·h", "watt hour", &["Wh"]),
    unit("KWH", "kW·h", "kilowatt hour", &["kWh"]),
    unit("MWH", "MW·h", "megawatt hour", &["MWh"]),
    unit("JOU", "J", "joule", &[]),
    unit("KJO", "kJ", "kilojoule", &[]),
    unit("OHM", "Ω", "ohm", &["Ohm", "ohms", "Ω"]),
    unit("B49", "kΩ", "kiloohm", &["kOhm", "kΩ"]),
    unit("FAR", "F", "farad", &["farad"]),
    unit("BAR", "bar", "bar [unit of pressure]", &["bars"]),
    unit("MBR", "mbar", "millibar", &[]),
    unit("PAL", "Pa", "pascal", &["pascal"]),
    unit("A97", "hPa", "hectopascal", &[]),
    unit("KPA", "kPa", "kilopascal", &[]),
    unit("MPA", "MPa", "megapascal", &[]),
    unit("PS", "lbf/in²", "pound-force per square inch", &["psi"]),
    unit("MTR", "m", "metre", &["meter", "metre"]),
    unit("DMT", "dm", "decimetre", &[]),
    unit("CMT", "cm", "centimetre", &[]),
    unit("MMT", "mm", "millimetre", &[]),
    unit("4H", "µm", "micrometre (micron)", &["um", "μm"]),
    unit("KMT", "km", "kilometre", &[]),
    unit("MTK", "m²", "square metre", &["m2", "m^2"]),
    unit("MTQ", "m³", "cubic metre", &["m3", "m^3"]),
    unit("LTR", "l", "litre", &["L", "liter", "litre"]),
    unit("MLT", "ml", "millilitre", &["mL"]),
    unit("MTS", "m/s", "metre per second", &["mps"]),
    unit("C16", "mm/s", "millimetre per second", &[]),
    unit("2X", "m/min", "metre per minute", &[]),
    unit("KMH", "km/h", "kilometre per hour", &["kph", "kmh"]),
    unit("HM", "mile/h", "mile per hour", &["mph"]),
    unit("MSK", "m/s²", "metre per second squared", &["m/s2", "m/s^2"]),
    unit("K40", "gn", "standard acceleration of free fall", &["g-force"]),
    unit("NEW", "N", "newton", &["newton"]),
    unit("B47", "kN", "kilonewton", &[]),
    unit("NU", "N·m", "newton metre", &["Nm", "N.m", "N*m"]),
    unit("B48", "kN·m", "kilonewton metre", &["kNm"]),
    unit("KGM", "kg", "kilogram", &[]),
    unit("GRM", "g", "gram", &["gram"]),
    unit("MGM", "mg", "milligram", &[]),
    unit("TNE", "t", "tonne (metric ton)", &["ton"]),
    unit("SEC", "s", "second [unit of time]", &["sec", "second", "seconds"]),
    unit("C26", "ms", "millisecond", &["msec"]),
    unit("B98", "µs", "microsecond", &["us", "μs"]),
    unit("MIN", "min", "minute [unit of time]", &["minute", "minutes"]),
    unit("HUR", "h", "hour", &["hr", "hrs", "hour", "hours"]),
    unit("DAY", "d", "day", &["day", "days"]),
    unit("HTZ", "Hz", "hertz", &["hertz", "1/s"]),
    unit("KHZ", "kHz", "kilohertz", &[]),
    unit("MHZ", "MHz", "megahertz", &[]),
    unit("L2", "l/min", "litre per minute", &["L/min", "lpm"]),
    unit("E32", "l/h", "litre per hour", &["L/h"]),
    unit("G51", "l/s", "litre per second", &["L/s"]),
    unit("MQH", "m³/h", "cubic metre per hour", &["m3/h", "m^3/h"]),
    unit("E93", "kg/h", "kilogram per hour", &[]),
    unit("KGS", "kg/s", "kilogram per second", &[]),
    unit("DD", "°", "degree [unit of angle]", &["deg", "degree", "degrees", "Grad"]),
    unit("E96", "°/s", "degree per second", &["deg/s"]),
    unit("C81", "rad", "radian", &[]),
    unit("2A", "rad/s", "radian per second", &[]),
    unit("2N", "dB", "decibel", &[]),
    unit("LUX", "lx", "lux", &["lux"]),
    unit("A99", "bit", "bit", &["bits"]),
    unit("AD", "byte", "byte", &["bytes"]),
];

/// The unit of an analog variable. A unit that the table does not know keeps its text and has the id -1.
pub fn engineering_units(text: &str) -> EUInformation {
    let information = |unit_id, symbol: &str, name: &str| EUInformation {
        namespace_uri: NAMESPACE.into(),
        unit_id,
        display_name: LocalizedText::new("", symbol),
        description: LocalizedText::new("", name),
    };
    match find(text) {
        Some(unit) => information(unit_id(unit.code), unit.symbol, unit.name),
        None => information(-1, text, ""),
    }
}

fn find(text: &str) -> Option<&'static Unit> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    UNITS.iter().find(|unit| unit.symbol == text || unit.spellings.contains(&text)).or_else(|| {
        // Capitals decide between milli and mega, so only words of four letters and more are compared without them.
        let same = |known: &&str| known.chars().count() > 3 && known.eq_ignore_ascii_case(text);
        UNITS.iter().find(|unit| unit.spellings.iter().any(same))
    })
}

/// OPC 10000-8, 5.6.3: the characters of the common code as one big-endian number.
fn unit_id(code: &str) -> i32 {
    code.bytes().fold(0, |id, byte| id << 8 | i32::from(byte))
}

/// The common code behind an id.
pub fn common_code(id: i32) -> String {
    id.to_be_bytes().into_iter().filter(|byte| *byte != 0).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_the_opc_foundation_lists_them() {
        // from UNECE_to_OPCUA.csv
        for (text, id, symbol) in [
            ("°C", 4408652, "°C"),
            ("degC", 4408652, "°C"),
            ("m", 5067858, "m"),
            ("%", 20529, "%"),
            ("A", 4279632, "A"),
            ("V", 5655636, "V"),
            ("rpm", 5394509, "r/min"),
            ("Nm", 20053, "N·m"),
            ("MW", 5062999, "MW"),
            ("mm", 5066068, "mm"),
            ("CELSIUS", 4408652, "°C"),
            ("[bar]", 4342098, "bar"),
        ] {
            let units = engineering_units(text);
            assert_eq!((units.unit_id, units.display_name.text.as_ref()), (id, symbol), "{text}");
            assert_eq!(unit_id(&common_code(id)), id);
        }
    }

    #[test]
    fn unknown_text_is_kept() {
        let units = engineering_units("bottles/min");
        assert_eq!((units.unit_id, units.display_name.text.as_ref()), (-1, "bottles/min"));
        assert_eq!(engineering_units("mw").unit_id, -1, "neither milli nor mega");
    }

    #[test]
    fn no_spelling_stands_for_two_units() {
        let mut all: Vec<&str> =
            UNITS.iter().flat_map(|unit| unit.spellings.iter().copied().chain([unit.symbol])).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
