//! The configuration file as written: its keys and their types, before anything is checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{alarm, arming, interlock, j1939, protection};
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
    pub j1939: j1939::Written,
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
