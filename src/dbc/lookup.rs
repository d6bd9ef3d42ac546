//! From the identifier of a frame to the message it carries: one load for 11 bits, a perfect hash for 29 bits, then the
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
    /// J1939: parameter group and source address to message.
    sources: Table,
    /// J1939: parameter group number to message.
    groups: Table,
}

impl Lookup {
    pub fn new<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Lookup {
        let mut standard = vec![NONE; FrameId::MAX_STANDARD as usize + 1].into_boxed_slice();
        let (mut extended, mut sources, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (index, message) in messages.into_iter().enumerate() {
            let index = index as u32;
            if message.id.is_extended() {
                extended.push((message.id.number(), index));
            } else if standard[message.id.number() as usize] == NONE {
                standard[message.id.number() as usize] = index;
            }
            match (message.pgn, message.source_address) {
                (Some(pgn), None) => groups.push((pgn, index)),
                (Some(pgn), Some(address)) => sources.push((sender(pgn, address), index)),
                (None, _) => {}
            }
        }
        Lookup { standard, extended: Table::new(&extended), sources: Table::new(&sources), groups: Table::new(&groups) }
    }

    /// The message of a frame: by its exact identifier first; a J1939 message then by parameter group and source address,
    /// whatever the priority and (PDU1) destination address, then by its parameter group alone.
    #[inline]
    pub fn get(&self, id: FrameId) -> Option<usize> {
        if !id.is_extended() {
            let index = *self.standard.get(id.number() as usize)?;
            return (index != NONE).then_some(index as usize);
        }
        let exact = self.extended.get(id.number());
        exact.or_else(|| self.sources.get(sender(id.pgn(), id.source_address()))).or_else(|| self.groups.get(id.pgn()))
    }
}

/// A parameter group (18 bits) and a source address.
#[inline(always)]
fn sender(pgn: u32, address: u8) -> u32 {
    pgn << 8 | u32::from(address)
}

/// A perfect hash (hash and displace): one load finds by how much a key's bucket is moved, the sum is the only place
/// where the key can be. No search, so nothing for the processor to guess wrong.
#[derive(Clone, Debug)]
struct Table {
    multiplier: u64,
    bucket_shift: u32,
    /// By bucket, chosen so that no two keys share a place.
    moved: Box<[u32]>,
    /// Key and value, a power of two; a free place has the value `NONE`.
    places: Box<[(u32, u32)]>,
}

impl Table {
    /// Of two entries with one key the first wins.
    fn new(entries: &[(u32, u32)]) -> Table {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| *key);
        // a multiplier serves when it separates the keys of every bucket: one in a few does
        let mut multiplier = 0x9E37_79B9_7F4A_7C15u64;
        let mut size = (entries.len() * 2).next_power_of_two().max(2);
        let mut attempts = 0;
        loop {
            if let Some(table) = Table::with(&entries, multiplier, size) {
                return table;
            }
            // odd stays odd
            multiplier = multiplier.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(0x5851_F42D_4C95_7F2E);
            attempts += 1;
            if attempts % 64 == 0 {
                size *= 2;
            }
        }
    }

    /// `None` where some bucket finds no places.
    fn with(entries: &[(u32, u32)], multiplier: u64, size: usize) -> Option<Table> {
        // four places to a bucket: two keys on average
        let buckets = (size / 4).max(2);
        let mut table = Table {
            multiplier,
            bucket_shift: 64 - buckets.ilog2(),
            moved: vec![0; buckets].into(),
            places: vec![(0, NONE); size].into(),
        };
        let mut keys = vec![Vec::new(); buckets];
        for entry in entries {
            keys[table.bucket(entry.0)].push(*entry);
        }
        // the largest first, while there is room
        let mut order: Vec<usize> = (0..buckets).collect();
        order.sort_by_key(|bucket| std::cmp::Reverse(keys[*bucket].len()));
        let mut wanted = Vec::new();
        for bucket in order {
            let moved = (0..size as u32).find(|moved| {
                wanted.clear();
                keys[bucket].iter().all(|(key, _)| {
                    let place = table.place(*key, *moved);
                    let is_free = table.places[place].1 == NONE && !wanted.contains(&place);
                    wanted.push(place);
                    is_free
                })
            })?;
            table.moved[bucket] = moved;
            wanted.iter().zip(&keys[bucket]).for_each(|(place, entry)| table.places[*place] = *entry);
        }
        Some(table)
    }

    #[inline(always)]
    fn hash(&self, key: u32) -> u64 {
        u64::from(key).wrapping_mul(self.multiplier)
    }

    #[inline(always)]
    fn bucket(&self, key: u32) -> usize {
        (self.hash(key) >> self.bucket_shift) as usize
    }

    #[inline(always)]
    fn place(&self, key: u32, moved: u32) -> usize {
        ((self.hash(key) >> 32) as u32).wrapping_add(moved) as usize & (self.places.len().wrapping_sub(1))
    }

    #[inline(always)]
    fn get(&self, key: u32) -> Option<usize> {
        let moved = self.moved.get(self.bucket(key))?;
        let (found, value) = self.places.get(self.place(key, *moved))?;
        (*found == key && *value != NONE).then_some(*value as usize)
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
            source_address: None,
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
            Message { source_address: Some(0x33), ..message(extended(0x0CF0_0433), Some(0xF004)) },
            Message { source_address: Some(0x34), ..message(extended(0x0C00_0034), Some(0)) },
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
            // one source of a group: any priority, and of PDU1 any destination
            (extended(0x0CF0_0433), Some(4)),
            (extended(0x18F0_0433), Some(4)),
            (extended(0x0CF0_0434), Some(2)),
            (extended(0x1800_FF34), Some(5)),
            (extended(0x1801_FF34), None),
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
