//! `[bus.NAME.protection.MESSAGE]`: which counter and checksum a message has, checked against the DBC file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::bus::{Bus, Section};
use super::report::Report;
use super::rights::unknown_message;
use crate::can::MAX_LEN;
use crate::dbc;
use crate::protection::{Algorithm, Checksum, Counter, Covers, DataId, Nibble, Protection, Resync, Scheme};

mod machine;
mod place;
mod written;

pub use written::{ALGORITHMS, MODES, SCHEMES, Written};

use place::{Field, bits, mask, nibble, overlap};
use written::Name;

/// CRCs of 8 bits lose their power over longer messages.
const LONGEST_OF_8_BITS: usize = 32;
/// Bytes in `before` and in `after`.
const MAX_EXTRA: usize = 16;
/// A counter of more bits is a mistake, or no counter.
const MAX_COUNTER_BITS: u8 = 32;

/// The protected messages of the bus, by their index.
pub fn decide(section: &Section<'_>, bus: &Bus<'_>, report: &mut Report<'_>) -> BTreeMap<usize, Protection> {
    let mut found = BTreeMap::new();
    for (name, written) in &section.written.protection {
        if report.is_full() {
            break;
        }
        let path = ["bus", section.name, "protection", name.as_str()];
        let Some(index) = bus.find(name) else {
            if section.complete {
                report.error(&path, unknown_message(bus, name));
            }
            continue;
        };
        let message = &bus.messages[index].message;
        let mut part = Part { path, written, message, report, signals: Vec::new(), right: true };
        let protection = part.protection();
        let right = part.right;
        match (found.entry(index), protection.filter(|_| right)) {
            (Entry::Occupied(_), _) => {
                let text = format!("{} has two sections, by its long name and by its DBC name", message.name);
                report.error(&path, text);
            }
            (Entry::Vacant(entry), Some(protection)) => {
                entry.insert(protection);
            }
            (Entry::Vacant(_), None) => {}
        }
    }
    found
}

/// One section while it is checked.
struct Part<'a, 'r> {
    path: [&'a str; 4],
    written: &'a Written,
    message: &'a dbc::Message,
    report: &'a mut Report<'r>,
    /// The signals that the scheme writes, with the key that names them.
    signals: Vec<usize>,
    right: bool,
}

impl Part<'_, '_> {
    fn error(&mut self, key: &str, message: impl Into<String>) {
        self.right = false;
        let [a, b, c, d] = self.path;
        if key.is_empty() {
            self.report.error(&[a, b, c, d], message);
        } else if !self.is_dropped(key) {
            self.report.error(&[a, b, c, d, key], message);
        }
    }

    fn is_dropped(&self, key: &str) -> bool {
        let [a, b, c, d] = self.path;
        self.report.is_dropped(&[a, b, c, d, key])
    }

    fn protection(&mut self) -> Option<Protection> {
        let Some(name) = self.written.scheme else {
            self.error("scheme", format!("scheme is missing: {}", written::SCHEMES));
            return None;
        };
        for key in self.written.keys() {
            if !name.takes(key) {
                self.error(key, format!("scheme \"{name}\" has no {key}; remove it"));
            }
        }
        let length = usize::from(self.message.length);
        if length > MAX_LEN {
            let text =
                format!("{} has {length} bytes: only what fits into one frame has a protection", self.message.name);
            self.error("", text);
            return None;
        }
        let scheme = match name {
            Name::Plain => self.plain(length)?,
            Name::Tsc1 => self.tsc1(length)?,
            Name::E2e1 | Name::E2e1a | Name::E2e1b | Name::E2e1c | Name::E2e11 | Name::E2e11a | Name::E2e11c => {
                self.profile_1_or_11(name, length)?
            }
            Name::E2e2 => {
                let (data_ids, header) = (self.data_ids(), self.header(name, 8, length));
                if header? != 0 {
                    self.error("", "scheme \"e2e-2\" has its CRC in byte 0; elsewhere write scheme = \"e2e-22\"");
                }
                Scheme::Profile2 { data_ids: data_ids?, resync: self.resync() }
            }
            Name::E2e22 => {
                let (data_ids, header) = (self.data_ids(), self.header(name, 8, length));
                Scheme::Profile22 { header: header?, data_ids: data_ids? }
            }
            Name::E2e5 => {
                let (data_id, header) = (self.data_id(0xFFFF), self.header(name, 16, length));
                Scheme::Profile5 { header: header?, data_id: data_id? }
            }
        };
        let values = match &scheme {
            Scheme::Plain { counter, .. } => counter.map_or(256, |counter| counter.modulus),
            Scheme::Profile1 { .. } | Scheme::Profile11 { .. } => 15,
            Scheme::Profile2 { .. } | Scheme::Profile22 { .. } => 16,
            Scheme::Profile5 { .. } => 256,
            Scheme::Tsc1 => 8,
        };
        let eight_bits = !matches!(scheme, Scheme::Plain { .. } | Scheme::Profile5 { .. });
        if eight_bits && length > LONGEST_OF_8_BITS {
            let text = format!(
                "scheme \"{name}\" is for {LONGEST_OF_8_BITS} bytes at most; {} has {length}",
                self.message.name
            );
            self.error("scheme", text);
        }
        let max_delta = self.number("max_delta", self.written.max_delta, 1, (values as i64 - 1).clamp(1, 254), 1);
        let state = self.state_machine();
        self.signals.sort_unstable();
        self.signals.dedup();
        Some(Protection {
            scheme,
            length,
            max_delta: max_delta as u8,
            state,
            signals: std::mem::take(&mut self.signals),
        })
    }

    /// A number between two limits, which are said where it is not; the default also then.
    fn number(&mut self, key: &str, written: Option<i64>, low: i64, high: i64, default: i64) -> i64 {
        match written {
            None => default,
            Some(number) if (low..=high).contains(&number) => number,
            Some(number) => {
                self.error(key, format!("{key} goes from {low} to {high} here; not {number}"));
                default
            }
        }
    }

    /// The bytes of a list.
    fn list(&mut self, key: &str, written: &[i64], most: usize) -> Vec<u8> {
        if written.len() > most {
            self.error(key, format!("{key} has at most {most} bytes"));
        }
        let bytes: Option<Vec<u8>> = written.iter().map(|number| u8::try_from(*number).ok()).collect();
        bytes.unwrap_or_else(|| {
            self.error(key, format!("{key} has bytes: numbers from 0 to 255"));
            Vec::new()
        })
    }

    fn plain(&mut self, length: usize) -> Option<Scheme> {
        let written = self.written;
        if written.counter.is_none() && written.checksum.is_none() {
            if !self.is_dropped("counter") && !self.is_dropped("checksum") {
                self.error("", "scheme \"plain\" needs counter or checksum, or both: the names of their signals");
            }
            return None;
        }
        for (missing, of, keys) in [
            (written.counter.is_none(), "counter", &["modulus", "max_delta"][..]),
            (
                written.checksum.is_none(),
                "checksum",
                &["algorithm", "covers", "initial", "final_xor", "before", "after"],
            ),
        ] {
            let written: Vec<&str> = written.keys().filter(|key| missing && keys.contains(key)).collect();
            written.iter().for_each(|key| self.error(key, format!("{key} without {of}; name the signal in {of}")));
        }
        let counter = written.counter.as_deref().map(|name| self.plain_counter(name));
        let checksum = written.checksum.as_deref().map(|name| self.plain_checksum(name, length));
        if counter.as_ref().is_some_and(Option::is_none) || checksum.as_ref().is_some_and(Option::is_none) {
            return None;
        }
        let (counter, checksum) = (counter.flatten(), checksum.flatten());
        let masks = counter.map(|counter| mask(&counter.codec)).zip(checksum.as_ref().map(|sum| mask(&sum.codec)));
        if masks.is_some_and(|(a, b)| overlap(&a, &b)) {
            self.error("checksum", "counter and checksum share bits");
        }
        Some(Scheme::Plain { counter, checksum })
    }

    fn plain_counter(&mut self, name: &str) -> Option<Counter> {
        let (index, codec) = self.signal("counter", name)?;
        self.signals.push(index);
        if codec.size > MAX_COUNTER_BITS {
            self.error("counter", format!("a counter has at most {MAX_COUNTER_BITS} bits; {name} has {}", codec.size));
            return None;
        }
        let values = 1 << codec.size;
        let modulus = self.number("modulus", self.written.modulus, 2, values, values);
        Some(Counter { codec, modulus: modulus as u64 })
    }

    fn plain_checksum(&mut self, name: &str, length: usize) -> Option<Checksum> {
        let written = self.written;
        let (index, codec) = self.signal("checksum", name)?;
        self.signals.push(index);
        let Some(algorithm) = written.algorithm.map(Algorithm::from) else {
            self.error("algorithm", format!("algorithm is missing: {}", written::ALGORITHMS));
            return None;
        };
        if let Some(bits) = algorithm.bits().filter(|bits| *bits != codec.size) {
            self.error("checksum", format!("the algorithm gives {bits} bits; {name} has {}", codec.size));
        }
        let covers = match written.covers.as_deref() {
            None => Covers::Others,
            Some([first, last]) if (0..length as i64).contains(last) && (0..=*last).contains(first) => {
                Covers::Bytes(*first as u8, *last as u8)
            }
            Some(_) => {
                let last = length.saturating_sub(1);
                self.error(
                    "covers",
                    format!("covers has the first and the last byte, from 0 to {last}, like [0, {last}]"),
                );
                Covers::Others
            }
        };
        let most = (1i64 << codec.size.min(32)) - 1;
        let (initial, final_xor) = algorithm.usual();
        let initial = self.number("initial", written.initial, 0, most, initial as i64) as u64;
        let final_xor = self.number("final_xor", written.final_xor, 0, most, final_xor as i64) as u64;
        let before = self.list("before", written.before.as_deref().unwrap_or_default(), MAX_EXTRA);
        let after = self.list("after", written.after.as_deref().unwrap_or_default(), MAX_EXTRA);
        Some(Checksum { codec, algorithm, covers, initial, final_xor, before, after })
    }

    fn tsc1(&mut self, length: usize) -> Option<Scheme> {
        let name = &self.message.name;
        if !self.message.id.is_extended() || length != 8 {
            self.error("scheme", format!("scheme \"tsc1\" is for J1939 messages of 8 bytes; {name} is none"));
            return None;
        }
        let fields = [Field { key: "counter", codec: bits(56, 4)? }, Field { key: "checksum", codec: bits(60, 4)? }];
        self.claim(Name::Tsc1, &fields, length);
        Some(Scheme::Tsc1)
    }

    fn profile_1_or_11(&mut self, name: Name, length: usize) -> Option<Scheme> {
        let (crc, counter) = (self.byte_of("checksum"), self.nibble_of("counter"));
        let data_id = self.data_id_with_mode(name);
        let (crc, counter) = (crc?.unwrap_or(0), counter?.unwrap_or(Nibble { byte: 1, high: false }));
        let fixed = matches!(name, Name::E2e1a | Name::E2e1b | Name::E2e1c | Name::E2e11a | Name::E2e11c);
        if fixed && (crc != 0 || counter != (Nibble { byte: 1, high: false })) {
            let general = if name.is_11() { "e2e-11" } else { "e2e-1" };
            let text = format!(
                "scheme \"{name}\" has its CRC in byte 0 and its counter in the low half of byte 1; elsewhere write scheme = \"{general}\" with data_id_mode"
            );
            self.error("scheme", text);
        }
        let data_id = data_id?;
        let mut fields = vec![
            Field { key: "checksum", codec: bits(u16::from(crc) * 8, 8)? },
            Field { key: "counter", codec: nibble(counter)? },
        ];
        if let DataId::Nibble(_, place) = data_id {
            fields.push(Field { key: "data_id_nibble", codec: nibble(place)? });
        }
        self.claim(name, &fields, length);
        Some(if name.is_11() {
            Scheme::Profile11 { crc, counter, data_id }
        } else {
            Scheme::Profile1 { crc, counter, data_id, resync: self.resync() }
        })
    }

    fn data_id_with_mode(&mut self, name: Name) -> Option<DataId> {
        use written::Mode;
        let mode = match name {
            Name::E2e1a | Name::E2e11a => Some(Mode::Both),
            Name::E2e1b => Some(Mode::Alternating),
            Name::E2e1c | Name::E2e11c => Some(Mode::Nibble),
            _ => self.written.data_id_mode,
        };
        let Some(mode) = mode else {
            let modes = if name.is_11() { written::MODES_11 } else { written::MODES };
            self.error("data_id_mode", format!("data_id_mode is missing: {modes}"));
            return None;
        };
        if name.is_11() && matches!(mode, Mode::Alternating | Mode::Low) {
            self.error("data_id_mode", format!("scheme \"{name}\" takes {}", written::MODES_11));
        }
        if mode != Mode::Nibble && self.written.data_id_nibble.is_some() {
            self.error("data_id_nibble", "data_id_nibble is only for data_id_mode = \"nibble\"; remove it");
        }
        Some(match mode {
            Mode::Both => DataId::Both(self.data_id(0xFFFF)?),
            Mode::Alternating => DataId::Alternating(self.data_id(0xFFFF)?),
            Mode::Low => DataId::Low(self.data_id(0xFF)? as u8),
            Mode::Nibble => {
                let (data_id, place) = (self.data_id(0xFFF), self.nibble_of("data_id_nibble"));
                DataId::Nibble(data_id?, place?.unwrap_or(Nibble { byte: 1, high: true }))
            }
        })
    }

    fn data_id(&mut self, most: i64) -> Option<u16> {
        let Some(data_id) = self.written.data_id else {
            self.error(
                "data_id",
                "data_id is missing: the number that sender and receivers have agreed on, like 0x123",
            );
            return None;
        };
        Some(self.number("data_id", Some(data_id), 0, most, 0) as u16)
    }

    fn data_ids(&mut self) -> Option<[u8; 16]> {
        let Some(written) = &self.written.data_ids else {
            self.error("data_ids", "data_ids is missing: 16 numbers, one for each counter from 0 to 15");
            return None;
        };
        let list = self.list("data_ids", written, 16);
        let count = written.len();
        let data_ids = list.try_into().ok();
        if data_ids.is_none() && count < 16 {
            self.error("data_ids", format!("data_ids has 16 numbers, one for each counter from 0 to 15; not {count}"));
        }
        data_ids
    }

    fn resync(&mut self) -> Resync {
        let written = self.written;
        let most = "max_no_new_or_repeated";
        Resync {
            max_no_new_or_repeated: self.number(most, written.max_no_new_or_repeated, 0, 15, 15) as u8,
            sync_counter: self.number("sync_counter", written.sync_counter, 0, 15, 1) as u8,
        }
    }
}
