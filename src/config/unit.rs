//! Units of signals: which are the same, and how one becomes another.

/// What is measured: a unit converts only to one of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    Rotation,
    Frequency,
    Speed,
    Temperature,
    Pressure,
    Length,
    Time,
    Ratio,
    Voltage,
    Current,
    Power,
    Energy,
    Force,
    Torque,
    Mass,
    Volume,
    Flow,
    Angle,
    Resistance,
}

use Quantity::*;

/// Unit, what it measures, and `base = value × factor + offset`.
const UNITS: &[(&str, Quantity, f64, f64)] = &[
    ("rpm", Rotation, 1.0, 0.0),
    ("1/min", Rotation, 1.0, 0.0),
    ("min-1", Rotation, 1.0, 0.0),
    ("min^-1", Rotation, 1.0, 0.0),
    ("U/min", Rotation, 1.0, 0.0),
    ("r/min", Rotation, 1.0, 0.0),
    ("rev/min", Rotation, 1.0, 0.0),
    ("Hz", Frequency, 1.0, 0.0),
    ("kHz", Frequency, 1e3, 0.0),
    ("m/s", Speed, 1.0, 0.0),
    ("mm/s", Speed, 1e-3, 0.0),
    ("m/min", Speed, 1.0 / 60.0, 0.0),
    ("km/h", Speed, 1.0 / 3.6, 0.0),
    ("kmh", Speed, 1.0 / 3.6, 0.0),
    ("kph", Speed, 1.0 / 3.6, 0.0),
    ("mph", Speed, 0.44704, 0.0),
    ("K", Temperature, 1.0, 0.0),
    ("degC", Temperature, 1.0, 273.15),
    ("deg C", Temperature, 1.0, 273.15),
    ("°C", Temperature, 1.0, 273.15),
    ("degF", Temperature, 5.0 / 9.0, 459.67 * 5.0 / 9.0),
    ("deg F", Temperature, 5.0 / 9.0, 459.67 * 5.0 / 9.0),
    ("°F", Temperature, 5.0 / 9.0, 459.67 * 5.0 / 9.0),
    ("Pa", Pressure, 1.0, 0.0),
    ("hPa", Pressure, 1e2, 0.0),
    ("mbar", Pressure, 1e2, 0.0),
    ("kPa", Pressure, 1e3, 0.0),
    ("bar", Pressure, 1e5, 0.0),
    ("MPa", Pressure, 1e6, 0.0),
    ("psi", Pressure, 6894.757293168, 0.0),
    ("um", Length, 1e-6, 0.0),
    ("µm", Length, 1e-6, 0.0),
    ("mm", Length, 1e-3, 0.0),
    ("cm", Length, 1e-2, 0.0),
    ("m", Length, 1.0, 0.0),
    ("km", Length, 1e3, 0.0),
    ("us", Time, 1e-6, 0.0),
    ("µs", Time, 1e-6, 0.0),
    ("ms", Time, 1e-3, 0.0),
    ("s", Time, 1.0, 0.0),
    ("sec", Time, 1.0, 0.0),
    ("min", Time, 60.0, 0.0),
    ("h", Time, 3600.0, 0.0),
    ("1", Ratio, 1.0, 0.0),
    ("%", Ratio, 1e-2, 0.0),
    ("‰", Ratio, 1e-3, 0.0),
    ("mV", Voltage, 1e-3, 0.0),
    ("V", Voltage, 1.0, 0.0),
    ("kV", Voltage, 1e3, 0.0),
    ("mA", Current, 1e-3, 0.0),
    ("A", Current, 1.0, 0.0),
    ("kA", Current, 1e3, 0.0),
    ("mW", Power, 1e-3, 0.0),
    ("W", Power, 1.0, 0.0),
    ("kW", Power, 1e3, 0.0),
    ("MW", Power, 1e6, 0.0),
    ("J", Energy, 1.0, 0.0),
    ("kJ", Energy, 1e3, 0.0),
    ("Wh", Energy, 3.6e3, 0.0),
    ("kWh", Energy, 3.6e6, 0.0),
    ("MWh", Energy, 3.6e9, 0.0),
    ("N", Force, 1.0, 0.0),
    ("kN", Force, 1e3, 0.0),
    ("Ncm", Torque, 1e-2, 0.0),
    ("Nm", Torque, 1.0, 0.0),
    ("kNm", Torque, 1e3, 0.0),
    ("g", Mass, 1e-3, 0.0),
    ("kg", Mass, 1.0, 0.0),
    ("t", Mass, 1e3, 0.0),
    ("ml", Volume, 1e-6, 0.0),
    ("mL", Volume, 1e-6, 0.0),
    ("l", Volume, 1e-3, 0.0),
    ("L", Volume, 1e-3, 0.0),
    ("m3", Volume, 1.0, 0.0),
    ("m^3", Volume, 1.0, 0.0),
    ("m³", Volume, 1.0, 0.0),
    ("l/h", Flow, 1.0 / 60.0, 0.0),
    ("L/h", Flow, 1.0 / 60.0, 0.0),
    ("l/min", Flow, 1.0, 0.0),
    ("L/min", Flow, 1.0, 0.0),
    ("mrad", Angle, 1e-3, 0.0),
    ("rad", Angle, 1.0, 0.0),
    ("deg", Angle, std::f64::consts::PI / 180.0, 0.0),
    ("°", Angle, std::f64::consts::PI / 180.0, 0.0),
    ("Ohm", Resistance, 1.0, 0.0),
    ("kOhm", Resistance, 1e3, 0.0),
];

/// `to = from × scale + offset`; `None` where no table says so. The same unit, known or not: 1 and 0.
pub fn conversion(from: &str, to: &str) -> Option<(f64, f64)> {
    let (from, to) = (from.trim(), to.trim());
    if from == to {
        return Some((1.0, 0.0));
    }
    let known = |unit: &str| UNITS.iter().find(|(name, ..)| *name == unit);
    let (&(_, quantity, factor, offset), &(_, other, by, less)) = (known(from)?, known(to)?);
    (quantity == other).then(|| (tidy(factor / by), tidy((offset - less) / by)))
}

/// Without what division in floating point leaves behind: 1e3 / 1e-3 is a million.
fn tidy(number: f64) -> f64 {
    format!("{number:.14e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_becomes_another() {
        for (from, to, want) in [
            ("rpm", "1/min", Some((1.0, 0.0))),
            ("", " ", Some((1.0, 0.0))),
            ("Stück", "Stück", Some((1.0, 0.0))),
            ("km/h", "m/s", Some((0.277777777777778, 0.0))),
            ("m/s", "km/h", Some((3.6, 0.0))),
            ("degC", "K", Some((1.0, 273.15))),
            ("K", "°C", Some((1.0, -273.15))),
            ("°F", "degC", Some((0.555555555555556, -17.7777777777778))),
            ("bar", "kPa", Some((100.0, 0.0))),
            ("mbar", "Pa", Some((100.0, 0.0))),
            ("mm", "m", Some((0.001, 0.0))),
            ("m", "mm", Some((1000.0, 0.0))),
            ("ms", "s", Some((0.001, 0.0))),
            ("%", "1", Some((0.01, 0.0))),
            ("V", "mV", Some((1000.0, 0.0))),
            ("kW", "W", Some((1000.0, 0.0))),
            ("MW", "mW", Some((1e9, 0.0))),
            ("kWh", "MWh", Some((0.001, 0.0))),
            ("mW", "mw", None),
            ("rpm", "Hz", None),
            ("rpm", "", None),
            ("1", "", None),
            ("bar", "V", None),
        ] {
            assert_eq!(conversion(from, to), want, "{from} to {to}");
        }
    }

    #[test]
    fn every_unit_is_there_once_and_goes_back() {
        for (at, (name, ..)) in UNITS.iter().enumerate() {
            assert!(UNITS[..at].iter().all(|(other, ..)| other != name), "{name} twice");
            for (other, ..) in UNITS {
                let Some((scale, offset)) = conversion(name, other) else { continue };
                let (back, rest) = conversion(other, name).unwrap();
                let value = 12.5;
                let again = (value * scale + offset) * back + rest;
                assert!((again - value).abs() < 1e-6, "{name} {other} {again}");
            }
        }
    }
}
