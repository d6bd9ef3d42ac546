//! The configuration file as written: its keys and their types, before anything is checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{alarm, arming, interlock, protection};
use crate::dbc::{SendType, Trigger};
use crate::plant;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub bus: BTreeMap<String, Bus>,
    pub machine: arming::Machine,
    pub route: BTreeMap<String, Route>,
    pub interlock: BTreeMap<String, interlock::Written>,
    pub link: BTreeMap<String, Link>,
    pub alarm: BTreeMap<String, alarm::Written>,
    pub opcua: plant::opcua::Config,
    pub http: plant::http::Config,
    pub role: BTreeMap<String, plant::access::role::Config>,
}

/// `[bus.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bus {
    pub interface: Option<String>,
    pub r#virtual: Option<bool>,
    pub dbc: Vec<String>,
    pub node: Option<String>,
    pub fd: Option<bool>,
    pub transmit: Names,
    pub writable: Names,
    pub late_factor: Option<f64>,
    pub j1939_sources: Option<i64>,
    pub bit_rate: Option<i64>,
    pub data_bit_rate: Option<i64>,
    pub managed: Option<bool>,
    pub restart: Option<RestartPolicy>,
    pub restart_ms: Option<i64>,
    pub restart_max_ms: Option<i64>,
    pub restarts_per_hour: Option<i64>,
    pub quarantine_ms: Option<i64>,
    pub listen_ms: Option<i64>,
    pub forcible: Names,
    pub retain: Names,
    pub message: BTreeMap<String, Override>,
    pub protection: BTreeMap<String, protection::Written>,
    pub device: BTreeMap<String, Device>,
    pub overlay: Vec<String>,
}

/// `[bus.NAME.device.TYPE]`, without what is the bus's by now (`device`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    pub dbc: Vec<String>,
    pub instances: Vec<Instance>,
}

/// One device of a type.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Instance {
    pub name: Option<String>,
    pub id_offset: Option<i64>,
    pub source_address: Option<i64>,
}

/// `[bus.NAME.message.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    pub cycle_ms: Option<i64>,
    pub timeout_ms: Option<i64>,
    pub branch_timeout_ms: Option<i64>,
    pub expected_when: OneOrMore,
    pub shortest_interval_ms: Option<f64>,
    pub send: Option<Send>,
    pub cycle_fast_ms: Option<i64>,
    pub repetitions: Option<i64>,
    pub delay_ms: Option<i64>,
    pub start_delay_ms: Option<i64>,
    pub stale_ms: Option<i64>,
    pub budget_ms: Option<f64>,
    pub fallback: BTreeMap<String, arming::Scalar>,
    pub when_disarmed: Option<arming::Disarmed>,
    pub vital: OneOrMore,
    pub fallback_on: OneOrMore,
    pub lease_ms: Option<i64>,
}

/// `[route.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    pub from: Option<String>,
    pub to: Option<String>,
    pub id: Option<String>,
    pub ids: Option<Vec<String>>,
    pub mask: Option<String>,
    pub value: Option<String>,
    pub message: Option<String>,
    pub all: Option<bool>,
    pub except: Vec<String>,
    pub new_id: Option<String>,
    pub add_to_id: Option<i64>,
    pub format: Format,
    pub bit_rate_switch: Option<bool>,
    pub edits: Vec<Edit>,
    pub max_rate_hz: Option<f64>,
    pub storm_hz: Option<i64>,
    pub newest_wins: bool,
    pub stale_ms: Option<i64>,
    pub budget_us: Option<i64>,
    pub both: bool,
    pub protected: bool,
}

/// What a route makes of the frame format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    #[default]
    Keep,
    Classic,
    Fd,
}

/// `edits = [{ byte = 0, mask = "F0", value = "10" }]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edit {
    pub byte: Option<i64>,
    pub mask: Option<String>,
    pub value: Option<String>,
}

/// `[link.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    pub from: Option<String>,
    pub to: Option<String>,
    pub scale: Option<f64>,
    pub offset: Option<f64>,
    pub labels: BTreeMap<String, String>,
    pub when_bad: Option<WhenBad>,
    pub hold_ms: Option<i64>,
    pub then: Option<Then>,
    pub substitute: Option<NumberOrLabel>,
    pub budget_us: Option<i64>,
}

/// What a link does while its source is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBad {
    Stop,
    Hold,
    Substitute,
    NotAvailable,
}

/// What comes after holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    Stop,
    Substitute,
    NotAvailable,
}

/// An engineering value, or a word of the value table.
#[derive(Clone, Debug, PartialEq)]
pub enum NumberOrLabel {
    Number(f64),
    Label(String),
}

/// When one of our messages is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Send {
    Cyclic,
    OnWrite,
    OnChange,
    IfActive,
    CyclicAndOnWrite,
    CyclicAndOnChange,
    CyclicAndIfActive,
}

impl Send {
    /// What a DBC file would say.
    pub fn send_type(self) -> SendType {
        let (cyclic, trigger, if_active) = match self {
            Send::Cyclic => (true, Trigger::No, false),
            Send::OnWrite => (false, Trigger::OnWrite, false),
            Send::OnChange => (false, Trigger::OnChange, false),
            Send::IfActive => (false, Trigger::No, true),
            Send::CyclicAndOnWrite => (true, Trigger::OnWrite, false),
            Send::CyclicAndOnChange => (true, Trigger::OnChange, false),
            Send::CyclicAndIfActive => (true, Trigger::No, true),
        };
        SendType { cyclic, trigger, if_active, repeated: false }
    }
}

/// What happens after bus-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    Off,
    ByHand,
    Fixed,
    Growing,
}

/// A list of names, or `"all"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    List(Vec<String>),
    All,
}

impl Default for Names {
    fn default() -> Names {
        Names::List(Vec::new())
    }
}

impl Names {
    pub fn is_empty(&self) -> bool {
        matches!(self, Names::List(names) if names.is_empty())
    }
}

/// One text, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMore(pub Vec<String>);

/// What each key takes, for the message about a value of another type. A key that means something else in another section
/// has the section's name before it.
pub const TAKES: &[(&str, &str)] = &[
    ("bus", "sections [bus.NAME], one for each bus"),
    ("route", "sections [route.NAME], one for each route"),
    ("interlock", "sections [interlock.NAME], one for each interlock"),
    ("machine", "a section [machine]"),
    ("arm", "\"at-start\" or \"by-hand\""),
    (
        "reload_when",
        "a condition in quotes, like \"line.DriveStatus.ActualSpeed == 0\", or a list of conditions that must all hold",
    ),
    ("reload_trial_s", "a whole number of seconds"),
    ("local_when", "a condition in quotes, like \"panel.Keys.Local == 1\", or a list of conditions that must all hold"),
    ("fallback_on_overrun", "true or false"),
    ("remote_from_plant", "true or false"),
    ("listen_ms", "a whole number of milliseconds"),
    ("forcible", "a list, like [\"DriveStatus.Speed\", \"OvenCommand.*\"], or \"all\""),
    ("retain", "a list, like [\"DriveCommand.SpeedSetpoint\", \"OvenCommand.*\"]"),
    ("fallback", "a section of signals and values, like { Enable = 0, Mode = \"Stop\" }"),
    ("when_disarmed", "\"fallback\" or \"silent\""),
    ("vital", "the name in quotes of what must be good, like \"line.DriveStatus\", or a list of names"),
    ("fallback_on", "the name in quotes of an alarm, like \"oven_hot\" or \"oven_hot.hihi\", or a list of names"),
    ("lease_ms", "a whole number of milliseconds"),
    ("alarm", "sections [alarm.NAME], one for each alarm"),
    ("tag", "the name of a signal in quotes, like \"line.OvenStatus.Temperature\""),
    ("hihi", "a number in the signal's unit, like 250"),
    ("hi", "a number in the signal's unit, like 230"),
    ("lo", "a number in the signal's unit, like 20"),
    ("lolo", "a number in the signal's unit, like 10"),
    ("hysteresis", "a number in the signal's unit, like 2"),
    ("on_delay_ms", "a whole number of milliseconds"),
    ("off_delay_ms", "a whole number of milliseconds"),
    ("exclusive", "true or false"),
    ("severity", "a whole number from 1 to 1000, or one for each level, like { hihi = 900, hi = 600 }"),
    ("severity.hihi", "a whole number from 1 to 1000"),
    ("severity.hi", "a whole number from 1 to 1000"),
    ("severity.lo", "a whole number from 1 to 1000"),
    ("severity.lolo", "a whole number from 1 to 1000"),
    ("text", "a sentence in quotes"),
    ("area", "a name in quotes"),
    ("when", "a condition in quotes, like \"line.Guard.Open == 1\", or a list of conditions that must all hold"),
    ("set", "a section of signals and values, like { \"line.DriveCommand.Enable\" = 0 }"),
    ("link", "sections [link.NAME], one for each link"),
    ("opcua", "a section [opcua]"),
    ("http", "a section [http]"),
    ("role", "sections [role.NAME], one for each role"),
    ("role.users", "a list of names, like [\"anna\", \"shift-*\"]"),
    ("certificates", "a list of thumbprints, of 40 hexadecimal digits each"),
    ("applications", "a list of ApplicationUris, like [\"urn:plant:scada\"]"),
    ("write", "a list, like [\"line.DriveCommand.*\", \"area:Infeed\", \"bus:line\", \"machine\"]"),
    ("see", "a list, like [\"line.DriveCommand.*\", \"area:Infeed\", \"bus:line\"]"),
    ("interface", "the name of a Linux network interface in quotes, like \"can0\""),
    ("virtual", "true or false"),
    ("dbc", "a list of file names, like [\"line.dbc\"]"),
    ("node", "the name in quotes that the DBC file has for this controller (BU_)"),
    ("fd", "true or false"),
    ("transmit", "a list of message names, like [\"DriveCommand\"], or \"all\""),
    ("writable", "a list, like [\"DriveCommand.SpeedSetpoint\", \"OvenCommand.*\"], or \"all\""),
    ("late_factor", "a number, like 2.5"),
    ("j1939_sources", "a whole number from 1 to 64"),
    ("bit_rate", "a whole number of bit/s, like 500000"),
    ("data_bit_rate", "a whole number of bit/s, like 2000000"),
    ("managed", "true or false"),
    ("restart", "\"off\", \"by-hand\", \"fixed\" or \"growing\""),
    ("restart_ms", "a whole number of milliseconds"),
    ("restart_max_ms", "a whole number of milliseconds"),
    ("restarts_per_hour", "a whole number from 1 to 3600"),
    ("quarantine_ms", "a whole number of milliseconds from 0 to 60000"),
    ("message", "sections [bus.BUS.message.NAME]"),
    ("device", "sections [bus.BUS.device.TYPE]"),
    (
        "instances",
        "a list of devices, like [{ name = \"pump1\", id_offset = 0x10 }] or [{ name = \"pump1\", source_address = 0x21 }]",
    ),
    ("overlay", "a list of file names, like [\"names.csv\"]"),
    ("cycle_ms", "a whole number of milliseconds"),
    ("timeout_ms", "a whole number of milliseconds"),
    ("branch_timeout_ms", "a whole number of milliseconds"),
    (
        "expected_when",
        "a condition in quotes, like \"line.PowerStatus.DrivePower == 1\", or a list of conditions that must all hold",
    ),
    ("shortest_interval_ms", "a number of milliseconds, like 5 or 0.5"),
    (
        "send",
        "\"cyclic\", \"on-write\", \"on-change\", \"if-active\", \"cyclic-and-on-write\", \"cyclic-and-on-change\" or \
         \"cyclic-and-if-active\"",
    ),
    ("cycle_fast_ms", "a whole number of milliseconds"),
    ("repetitions", "a whole number from 0 to 255"),
    ("delay_ms", "a whole number of milliseconds"),
    ("start_delay_ms", "a whole number of milliseconds"),
    ("stale_ms", "a whole number of milliseconds"),
    ("budget_ms", "a number of milliseconds, like 5 or 0.5"),
    ("protection", "sections [bus.BUS.protection.MESSAGE]"),
    ("scheme", protection::SCHEMES),
    ("counter", "the name of a signal in quotes"),
    ("modulus", "a whole number"),
    ("checksum", "the name of a signal in quotes"),
    ("algorithm", protection::ALGORITHMS),
    ("covers", "the first and the last byte, like [0, 6]"),
    ("initial", "a whole number, like 0xFF"),
    ("final_xor", "a whole number, like 0xFF"),
    ("before", "a list of bytes, like [0x12, 0x34]"),
    ("after", "a list of bytes, like [0x12, 0x34]"),
    ("data_id", "a whole number, like 0x123"),
    ("data_ids", "a list of 16 numbers, one for each counter from 0 to 15"),
    ("data_id_mode", protection::MODES),
    ("data_id_nibble", "the name of a signal in quotes"),
    ("max_delta", "a whole number"),
    ("sync_counter", "a whole number"),
    ("max_no_new_or_repeated", "a whole number"),
    ("state_machine", "a section, like { window_valid = 4, max_error_valid = 1 }"),
    ("clear_to_invalid", "true or false"),
    ("link.from", "the name of a received signal in quotes, like \"line.DriveStatus.Speed\""),
    ("link.to", "the name of a signal in quotes that this controller sends, like \"cell.ConveyorReference.Speed\""),
    ("scale", "a number, like 0.5"),
    ("offset", "a number, like -40"),
    ("labels", "a section with words of both value tables, like { Run = \"Running\" }"),
    ("when_bad", "\"stop\", \"hold\", \"substitute\" or \"not-available\""),
    ("hold_ms", "a whole number of milliseconds"),
    ("then", "\"stop\", \"substitute\" or \"not-available\""),
    ("substitute", "a number, or a word of the value table in quotes"),
    ("from", "the name of a bus in quotes"),
    ("to", "the name of a bus in quotes"),
    ("id", "an identifier in quotes as candump writes it, like \"1F4\" or \"18FEEE00\""),
    ("ids", "a list of identifiers and ranges, like [\"1F4\", \"200-2FF\"]"),
    ("mask", "hexadecimal digits in quotes, like \"7F0\""),
    ("value", "hexadecimal digits in quotes, like \"120\""),
    ("route.message", "the name of a message of the bus that the route comes from, in quotes"),
    ("all", "true or false"),
    ("except", "a list of identifiers and ranges, like [\"1F4\", \"200-2FF\"]"),
    ("new_id", "an identifier in quotes as candump writes it, like \"1F4\" or \"18FEEE00\""),
    ("add_to_id", "a whole number, like 0x100 or -16"),
    ("format", "\"keep\", \"classic\" or \"fd\""),
    ("bit_rate_switch", "true or false"),
    ("edits", "a list, like [{ byte = 0, mask = \"F0\", value = \"10\" }]"),
    ("max_rate_hz", "a number, like 50"),
    ("storm_hz", "a whole number of frames per second"),
    ("newest_wins", "true or false"),
    ("stale_ms", "a whole number of milliseconds"),
    ("budget_us", "a whole number of microseconds"),
    ("both", "true or false"),
    ("protected", "true or false"),
    ("enabled", "true or false"),
    ("listen", "an address and a port in quotes, like \"127.0.0.1:4840\""),
    ("users", "a file name in quotes"),
    ("anonymous_read", "true or false"),
    ("security_policy_none", "true or false"),
    ("manufacturer", "a text in quotes"),
    ("manufacturer_uri", "a text in quotes"),
    ("model", "a text in quotes"),
    ("product_code", "a text in quotes"),
    ("serial_number", "a text in quotes"),
    ("product_instance_uri", "a text in quotes"),
    ("hardware_revision", "a text in quotes"),
    ("software_revision", "a text in quotes"),
    ("device_revision", "a text in quotes"),
    ("device_manual", "a text in quotes"),
    ("device_class", "a text in quotes"),
    ("asset_id", "a text in quotes"),
    ("component_name", "a text in quotes"),
    ("location", "a text in quotes"),
    ("year_of_construction", "a year, like 2026"),
    ("month_of_construction", "a whole number from 1 to 12"),
    ("trust_any_client_certificate", "true or false"),
    ("trust_first_client", "true or false"),
    ("revocation_lists_required", "true or false"),
    ("max_connections", "a whole number"),
    ("limits", "a section [opcua.limits]"),
    ("certificate_hosts", "a list of host names or addresses, like [\"plc.example\", \"192.0.2.7\"]"),
];

// By hand: an untagged enum would lose the place of a wrong element.
impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names or \"all\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Names, E> {
                match text {
                    "all" => Ok(Names::All),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Names, A::Error> {
                Ok(Names::List(strings(list)?))
            }
        }
        deserializer.deserialize_any(NamesVisitor)
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMore, D::Error> {
        struct OneOrMoreVisitor;
        impl<'de> Visitor<'de> for OneOrMoreVisitor {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMore, A::Error> {
                Ok(OneOrMore(strings(list)?))
            }
        }
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

fn strings<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<String>, A::Error> {
    let mut texts = Vec::new();
    while let Some(text) = list.next_element()? {
        texts.push(text);
    }
    Ok(texts)
}

// By hand, for the same reason.
impl<'de> Deserialize<'de> for NumberOrLabel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NumberOrLabel, D::Error> {
        struct NumberOrLabelVisitor;
        impl Visitor<'_> for NumberOrLabelVisitor {
            type Value = NumberOrLabel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a word")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NumberOrLabel, E> {
                Ok(NumberOrLabel::Label(text.to_owned()))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<NumberOrLabel, E> {
                Ok(NumberOrLabel::Number(number))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<NumberOrLabel, E> {
                Ok(NumberOrLabel::Number(number as f64))
            }
        }
        deserializer.deserialize_any(NumberOrLabelVisitor)
    }
}
