//! From the identifier of a frame to the message it carries: one load for 11 bits, one hash probe for 29 bits, then the
//! J1939 parameter group. No allocation after construction.

use super::Message;
use crate::can::FrameId;

/// Marks a free place; more messages than that can't be told apart.
const NONE: u32 = u32::MAX;

/// Index over a list of messages, by position in that list. Of two messages with one identifier the first wins.
#[derive(Clone, Debug)]
pub struct Lookup {
    standard: Box<[u32]>,
    extended: Table,
    /// J1939: parameter group number to message.
    groups: Table,
}

impl Lookup {
    pub fn new<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Lookup {
        let mut standard = vec![NONE; FrameId::MAX_STANDARD as usize + 1].into_boxed_slice();
        let (mut extended, mut groups) = (Vec::new(), Vec::new());
        for (index, message) in messages.into_iter().enumerate() {
            let index = index as u32;
            if message.id.is_extended() {
                extended.push((message.id.number(), index));
            } else if standard[message.id.number() as usize] == NONE {
                standard[message.id.number() as usize] = index;
            }
            if let Some(pgn) = message.pgn {
                groups.push((pgn, index));
            }
        }
        Lookup { standard, extended: Table::new(&extended), groups: Table::new(&groups) }
    }

    /// The message of a frame: by its exact identifier first; a J1939 message then by its parameter group, whatever the
    /// priority, source and (PDU1) destination address.
    #[inline]
    pub fn get(&self, id: FrameId) -> Option<usize> {
        if !id.is_extended() {
            let index = self.standard[id.number() as usize];
            return (index != NONE).then_some(index as usize);
        }
        self.extended.get(id.number()).or_else(|| if self.groups.is_empty() { None } else { self.groups.get(id.pgn()) })
    }
}

/// Open addressing, at most half full, Fibonacci hashing: few probes on the regular identifiers of a vehicle bus.
#[derive(Clone, Debug)]
struct Table {
    /// Key and value; a free place has the value `NONE`.
    places: Box<[(u32, u32)]>,
    shift: u32,
}

impl Table {
    fn new(entries: &[(u32, u32)]) -> Table {
        if entries.is_empty() {
            return Table { places: Box::new([]), shift: 0 };
        }
        let size = (entries.len() * 2).next_power_of_two().max(2);
        let mut table = Table { places: vec![(0, NONE); size].into_boxed_slice(), shift: 64 - size.ilog2() };
        for &(key, value) in entries {
            let mut at = table.home(key);
            while table.places[at].1 != NONE && table.places[at].0 != key {
                at = (at + 1) & (size - 1);
            }
            if table.places[at].1 == NONE {
                table.places[at] = (key, value);
            }
        }
        table
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn home(&self, key: u32) -> usize {
        (u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    #[inline]
    fn get(&self, key: u32) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(key);
        // at most half full: a free place ends the search
        loop {
            let (found, value) = self.places[at];
            if value == NONE {
                return None;
            }
            if found == key {
                return Some(value as usize);
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn message(id: FrameId, pgn: Option<u32>) -> Message {
        Message {
            id,
            pgn,
            name: "M".into(),
            dbc_name: "M".into(),
            length: 8,
            fd: false,
            senders: vec![],
            comment: None,
            signals: vec![],
            groups: vec![],
            send_type: None,
            cycle_time: None,
            start_delay: std::time::Duration::ZERO,
            attributes: BTreeMap::new(),
        }
    }

    fn standard(n: u32) -> FrameId {
        FrameId::standard(n).unwrap()
    }

    fn extended(n: u32) -> FrameId {
        FrameId::extended(n).unwrap()
    }

    #[test]
    fn standard_extended_and_parameter_groups_are_kept_apart() {
        let eec1 = extended(0x0CF0_04FE);
        let tsc1 = extended(0x0C00_00FE);
        let messages = [
            message(standard(0x100), None),
            message(extended(0x100), None),
            message(eec1, Some(0xF004)),
            message(tsc1, Some(0)),
        ];
        let lookup = Lookup::new(&messages);
        for (id, want) in [
            (standard(0x100), Some(0)),
            (extended(0x100), Some(1)),
            (standard(0x101), None),
            (eec1, Some(2)),
            (extended(0x18F0_0421), Some(2)),
            (extended(0x0C00_1103), Some(3)), // PDU1: any destination
            (extended(0x0CF0_0500), None),
        ] {
            assert_eq!(lookup.get(id), want, "{id:?}");
        }
    }

    #[test]
    fn every_identifier_is_found_and_no_other() {
        let ids: Vec<u32> = (0..3000u32).map(|i| i.wrapping_mul(0x9E37) & 0x1FFF_FFFF | (i % 2)).collect();
        let messages: Vec<Message> = ids.iter().map(|i| message(extended(*i), None)).collect();
        let lookup = Lookup::new(&messages);
        for (i, id) in ids.iter().enumerate() {
            let first = ids.iter().position(|other| other == id).unwrap();
            assert_eq!(lookup.get(extended(*id)), Some(first), "{i}");
        }
        for id in (0..0x1FFF_FFFFu32).step_by(99_991) {
            assert_eq!(lookup.get(extended(id)).is_some(), ids.contains(&id));
        }
    }
}
