//! What a DBC file says, in the field's words: database, message, signal, multiplexing, value tables.

use std::collections::BTreeMap;
use std::time::Duration;

use super::attribute;
use super::codec::{Codec, Raw};
use crate::can::FrameId;

/// The checked content of one DBC file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Database {
    /// The file's name as it was given, for messages to people.
    pub file: String,
    /// `VERSION`.
    pub version: String,
    /// `CM_` of the network itself.
    pub comment: Option<String>,
    pub nodes: Vec<Node>,
    /// In the order of the file.
    pub messages: Vec<Message>,
    /// `BA_` of the network, defaults included.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A network node, `BU_`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// The long name where the file has one, else the name in `BU_`. Senders and receivers are given by it.
    pub name: String,
    /// The name in `BU_`.
    pub dbc_name: String,
    pub comment: Option<String>,
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute, enumerations already resolved to their word.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    Integer(i64),
    Float(f64),
    Text(String),
    Enum { index: usize, word: String },
}

/// What a DBC describes for one identifier (or one J1939 parameter group), `BO_`.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: FrameId,
    /// Set when the message is matched by parameter group number (VFrameFormat or ProtocolType say J1939).
    pub pgn: Option<u32>,
    /// Of the J1939 parameter group only what this address sends. A DBC file never says so: it comes with devices that are
    /// described by one file.
    pub source_address: Option<u8>,
    /// The long name where the file has one, else the name in `BO_`.
    pub name: String,
    /// The name in `BO_`.
    pub dbc_name: String,
    /// Payload length in bytes as the DBC gives it (J1939 transport: above 64).
    pub length: u16,
    /// CAN FD format (VFrameFormat, or BusType of the network).
    pub fd: bool,
    /// `BO_` sender and `BO_TX_BU_`; empty for `Vector__XXX`.
    pub senders: Vec<String>,
    pub comment: Option<String>,
    pub signals: Vec<Signal>,
    /// Which signals are present together; group 0 is "always".
    pub groups: Vec<Group>,
    /// `GenMsgSendType`; `None` where nothing is said.
    pub send_type: Option<SendType>,
    /// `GenMsgCycleTime`, defaults included; `None` for 0 or absent.
    pub cycle_time: Option<Duration>,
    /// `GenMsgStartDelayTime`.
    pub start_delay: Duration,
    /// All `BA_` of the message, defaults included.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A group of signals that are present under the same selector values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// All must hold, outermost selector first. Empty: always present.
    pub conditions: Vec<Condition>,
}

/// A selector signal must have a raw value inside one of the ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Index of the selector in [`Message::signals`].
    pub selector: usize,
    /// Inclusive, of the raw value of the selector.
    pub ranges: Vec<(i128, i128)>,
}

/// How `GenMsgSendType` (message) or `GenSigSendType` (signal) says that something is sent. The default: not at all
/// (`NoMsgSendType`, and words that no convention knows).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendType {
    /// With `GenMsgCycleTime`.
    pub cyclic: bool,
    /// At once, besides.
    pub trigger: Trigger,
    /// Cyclic while a signal differs from its inactive value.
    pub if_active: bool,
    /// What is sent at once is sent again, `GenMsgNrOfRepetition` times.
    pub repeated: bool,
}

/// What sends a frame at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    #[default]
    No,
    /// A write that changes the value.
    OnChange,
    /// Each write (`OnWrite`, `spontaneous`, `Event`).
    OnWrite,
}

/// One value inside a message, `SG_`.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The long name where the file has one, else the name in `SG_`.
    pub name: String,
    /// The name in `SG_`.
    pub dbc_name: String,
    /// Bits and scaling, compiled.
    pub codec: Codec,
    /// Physical range; `None` where the file gives none (`[0|0]` or minimum not below maximum).
    pub range: Option<(f64, f64)>,
    /// As the file writes it, spaces trimmed; empty for none.
    pub unit: String,
    pub comment: Option<String>,
    pub receivers: Vec<String>,
    /// `VAL_`: raw value to word, sorted by value, each value once. Wider than any signal, so that the all-ones value of
    /// an unsigned 64-bit signal has its word too.
    pub value_table: Vec<(i128, String)>,
    /// Whether this signal selects others (`M`).
    pub multiplexor: bool,
    /// Index into [`Message::groups`].
    pub group: usize,
    /// `GenSigStartValue`, a raw value.
    pub start_value: Option<Raw>,
    /// `GenSigSendType`; `None` where nothing is said.
    pub send_type: Option<SendType>,
    /// `GenSigTimeoutTime`: after which time without the signal its receiver is to notice, by receiving node; `None`: by
    /// any. Zero: never.
    pub timeouts: Vec<(Option<String>, Duration)>,
    pub attributes: BTreeMap<String, Attribute>,
}

impl Signal {
    /// After which time without the signal a node is to notice, as the file says for that node, or else for all; zero:
    /// never.
    pub fn timeout(&self, node: Option<&str>) -> Option<Duration> {
        let own = self.timeouts.iter().find(|(by, _)| by.is_some() && by.as_deref() == node);
        own.or_else(|| self.timeouts.iter().find(|(by, _)| by.is_none())).map(|(_, time)| *time)
    }

    /// `GenSigInactiveValue`, a raw value; `None` where the signal has none or can't hold it.
    pub fn inactive_value(&self) -> Option<Raw> {
        attribute::raw_value(&self.codec, self.attributes.get("GenSigInactiveValue")?)
    }

    /// Whether an engineering value lies in the DBC's range. The limits are inclusive, and so is what scaling in floating
    /// point does to a value that lies on one (254 × 0.1 is a little more than 25.4).
    pub fn in_range(&self, value: f64) -> bool {
        let Some((min, max)) = self.range else { return true };
        let rounding = 2.0 * f64::EPSILON * ((value - self.codec.offset).abs() + self.codec.offset.abs());
        value >= min - rounding && value <= max + rounding
    }

    /// The word that the value table gives to this raw value. On a float signal a word belongs to a whole number.
    pub fn label(&self, raw: Raw) -> Option<&str> {
        if self.value_table.is_empty() {
            return None;
        }
        let key = match raw.as_i128() {
            Some(key) => key,
            None => {
                let number = raw.as_f64();
                // a table's numbers are far below the limits of i128, so a saturated conversion finds nothing
                if number.trunc() == number { number as i128 } else { return None }
            }
        };
        let at = self.value_table.binary_search_by_key(&key, |(value, _)| *value).ok()?;
        self.value_table.get(at).map(|(_, word)| word.as_str())
    }
}

impl Message {
    /// Whether several J1939 source addresses may send it, each with values of its own.
    pub fn has_sources(&self) -> bool {
        self.pgn.is_some() && self.source_address.is_none()
    }

    /// `GenMsgCycleTimeFast`: between repetitions and while active; `None` for 0 or absent.
    pub fn fast_cycle_time(&self) -> Option<Duration> {
        attribute::milliseconds(self.attributes.get("GenMsgCycleTimeFast"))
    }

    /// `GenMsgDelayTime`: shortest time between two frames.
    pub fn delay_time(&self) -> Duration {
        attribute::milliseconds(self.attributes.get("GenMsgDelayTime")).unwrap_or_default()
    }

    /// `GenMsgNrOfRepetition`: how often something is sent again.
    pub fn repetitions(&self) -> u32 {
        let number = self.attributes.get("GenMsgNrOfRepetition").and_then(attribute::number);
        // saturates; 0 for what is no number
        number.unwrap_or_default() as u32
    }

    /// Whether the signals of a group are present in this payload: every selector is wholly inside it and chooses the group.
    pub fn group_active(&self, group: usize, payload: &[u8]) -> bool {
        self.groups[group].active(|selector| self.signals[selector].codec.raw(payload))
    }
}

impl Group {
    /// Whether the signals of the group are present, given the raw value of each selector; `None`: not in the payload.
    pub fn active(&self, raw: impl Fn(usize) -> Option<Raw>) -> bool {
        self.conditions.iter().all(|condition| {
            let selector = raw(condition.selector).and_then(Raw::as_i128);
            selector.is_some_and(|value| condition.ranges.iter().any(|(from, to)| (*from..=*to).contains(&value)))
        })
    }
}
