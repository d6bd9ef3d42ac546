//! The section as written: its keys, the names of schemes and algorithms.

use std::fmt;

use serde::Deserialize;

use super::machine::WrittenStates;
use crate::protection::Algorithm;

/// What the keys take, for messages.
pub const SCHEMES: &str = "\"plain\", \"e2e-1\" (or \"e2e-1a\", \"e2e-1b\", \"e2e-1c\"), \"e2e-2\", \"e2e-5\", \"e2e-11\" (or \"e2e-11a\", \"e2e-11c\"), \"e2e-22\" or \"tsc1\"";
pub const ALGORITHMS: &str =
    "\"xor\", \"sum\", \"sum-to-zero\", \"crc8\", \"crc8-j1850\", \"crc8-h2f\" or \"crc16-ccitt\"";
pub const MODES: &str = "\"both\", \"alternating\", \"low\" or \"nibble\"";
pub const MODES_11: &str = "\"both\" or \"nibble\"";

/// `[bus.NAME.protection.MESSAGE]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    pub scheme: Option<Name>,
    pub counter: Option<String>,
    pub modulus: Option<i64>,
    pub checksum: Option<String>,
    pub algorithm: Option<AlgorithmName>,
    pub covers: Option<Vec<i64>>,
    pub initial: Option<i64>,
    pub final_xor: Option<i64>,
    pub before: Option<Vec<i64>>,
    pub after: Option<Vec<i64>>,
    pub data_id: Option<i64>,
    pub data_ids: Option<Vec<i64>>,
    pub data_id_mode: Option<Mode>,
    pub data_id_nibble: Option<String>,
    pub max_delta: Option<i64>,
    pub sync_counter: Option<i64>,
    pub max_no_new_or_repeated: Option<i64>,
    pub state_machine: Option<WrittenStates>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Name {
    #[serde(rename = "plain")]
    Plain,
    #[serde(rename = "e2e-1")]
    E2e1,
    #[serde(rename = "e2e-1a")]
    E2e1a,
    #[serde(rename = "e2e-1b")]
    E2e1b,
    #[serde(rename = "e2e-1c")]
    E2e1c,
    #[serde(rename = "e2e-2")]
    E2e2,
    #[serde(rename = "e2e-5")]
    E2e5,
    #[serde(rename = "e2e-11")]
    E2e11,
    #[serde(rename = "e2e-11a")]
    E2e11a,
    #[serde(rename = "e2e-11c")]
    E2e11c,
    #[serde(rename = "e2e-22")]
    E2e22,
    #[serde(rename = "tsc1")]
    Tsc1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlgorithmName {
    Xor,
    Sum,
    SumToZero,
    Crc8,
    #[serde(rename = "crc8-j1850")]
    Crc8J1850,
    #[serde(rename = "crc8-h2f")]
    Crc8H2f,
    #[serde(rename = "crc16-ccitt")]
    Crc16Ccitt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Both,
    Alternating,
    Low,
    Nibble,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Algorithm {
        match name {
            AlgorithmName::Xor => Algorithm::Xor,
            AlgorithmName::Sum => Algorithm::Sum,
            AlgorithmName::SumToZero => Algorithm::SumToZero,
            AlgorithmName::Crc8 => Algorithm::Crc8,
            AlgorithmName::Crc8J1850 => Algorithm::Crc8J1850,
            AlgorithmName::Crc8H2f => Algorithm::Crc8H2f,
            AlgorithmName::Crc16Ccitt => Algorithm::Crc16Ccitt,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::Plain => "plain",
            Name::E2e1 => "e2e-1",
            Name::E2e1a => "e2e-1a",
            Name::E2e1b => "e2e-1b",
            Name::E2e1c => "e2e-1c",
            Name::E2e2 => "e2e-2",
            Name::E2e5 => "e2e-5",
            Name::E2e11 => "e2e-11",
            Name::E2e11a => "e2e-11a",
            Name::E2e11c => "e2e-11c",
            Name::E2e22 => "e2e-22",
            Name::Tsc1 => "tsc1",
        })
    }
}

impl Name {
    pub fn is_11(self) -> bool {
        matches!(self, Name::E2e11 | Name::E2e11a | Name::E2e11c)
    }

    /// Whether the scheme has this key.
    pub fn takes(self, key: &str) -> bool {
        let own: &[&str] = match self {
            Name::Plain => &["modulus", "algorithm", "covers", "initial", "final_xor", "before", "after"],
            Name::E2e1 => &["data_id", "data_id_mode", "data_id_nibble", "sync_counter", "max_no_new_or_repeated"],
            Name::E2e1a | Name::E2e1b => &["data_id", "sync_counter", "max_no_new_or_repeated"],
            Name::E2e1c => &["data_id", "data_id_nibble", "sync_counter", "max_no_new_or_repeated"],
            Name::E2e2 => &["data_ids", "sync_counter", "max_no_new_or_repeated"],
            Name::E2e5 | Name::E2e11a => &["data_id"],
            Name::E2e11 => &["data_id", "data_id_mode", "data_id_nibble"],
            Name::E2e11c => &["data_id", "data_id_nibble"],
            Name::E2e22 => &["data_ids"],
            Name::Tsc1 => &[],
        };
        let of_all = matches!(key, "counter" | "checksum" | "max_delta");
        let of_e2e = key == "state_machine" && !matches!(self, Name::Plain | Name::Tsc1);
        of_all || of_e2e || own.contains(&key)
    }
}

impl Written {
    /// The keys that are written, except the scheme.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("counter", self.counter.is_some()),
            ("modulus", self.modulus.is_some()),
            ("checksum", self.checksum.is_some()),
            ("algorithm", self.algorithm.is_some()),
            ("covers", self.covers.is_some()),
            ("initial", self.initial.is_some()),
            ("final_xor", self.final_xor.is_some()),
            ("before", self.before.is_some()),
            ("after", self.after.is_some()),
            ("data_id", self.data_id.is_some()),
            ("data_ids", self.data_ids.is_some()),
            ("data_id_mode", self.data_id_mode.is_some()),
            ("data_id_nibble", self.data_id_nibble.is_some()),
            ("max_delta", self.max_delta.is_some()),
            ("sync_counter", self.sync_counter.is_some()),
            ("max_no_new_or_repeated", self.max_no_new_or_repeated.is_some()),
            ("state_machine", self.state_machine.is_some()),
        ];
        keys.into_iter().filter(|(_, written)| *written).map(|(key, _)| key)
    }

    /// The signal that the key names.
    pub fn named(&self, key: &str) -> Option<&str> {
        match key {
            "counter" => self.counter.as_deref(),
            "checksum" => self.checksum.as_deref(),
            "data_id_nibble" => self.data_id_nibble.as_deref(),
            _ => None,
        }
    }
}
