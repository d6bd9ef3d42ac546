//! Names of buses, messages and signals to their numbers: a hash table of numbers, whose names are compared in the plan.

use hashbrown::HashTable;

use crate::plan::{BusIndex, MessageIndex, Plan, TagIndex};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Bus(BusIndex),
    Message(MessageIndex),
    Tag(TagIndex),
}

/// All names of a plan.
pub struct Names {
    /// Buses, then messages, then tags, in one row of numbers.
    table: HashTable<u32>,
}

/// FNV-1a, 64 bits: a name is the same whether it comes in one piece or in several. Clients choose what is looked up, not
/// what is in the table.
fn hash(pieces: &[&str]) -> u64 {
    let bytes = pieces.iter().flat_map(|piece| piece.bytes());
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The pieces of a name: `bus`, `bus.Message`, `bus.Message.Signal`.
fn pieces(plan: &Plan, named: Named) -> ([&str; 5], usize) {
    let message = |index: MessageIndex| {
        let message = &plan.messages[index];
        (plan.buses[message.bus].name.as_str(), message.message.name.as_str())
    };
    match named {
        Named::Bus(bus) => ([plan.buses[bus].name.as_str(), "", "", "", ""], 1),
        Named::Message(index) => {
            let (bus, message) = message(index);
            ([bus, ".", message, "", ""], 3)
        }
        Named::Tag(tag) => {
            let (bus, message) = message(plan.tags[tag].message);
            ([bus, ".", message, ".", plan.signal(tag).name.as_str()], 5)
        }
    }
}

/// Whether the pieces, one after the other, are these others.
fn same(pieces: &[&str], others: &[&str]) -> bool {
    let length = |pieces: &[&str]| pieces.iter().map(|piece| piece.len()).sum::<usize>();
    if length(pieces) != length(others) {
        return false;
    }
    match others {
        // a name in one piece, as nearly always
        [text] => {
            let mut rest = *text;
            pieces.iter().all(|piece| match rest.strip_prefix(piece) {
                Some(left) => {
                    rest = left;
                    true
                }
                None => false,
            })
        }
        _ => pieces.iter().flat_map(|piece| piece.bytes()).eq(others.iter().flat_map(|piece| piece.bytes())),
    }
}

impl Names {
    pub fn new(plan: &Plan) -> Names {
        let count = plan.buses.len() + plan.messages.len() + plan.tags.len();
        let of = |number: u32| {
            let (pieces, count) = pieces(plan, named(plan, number));
            hash(pieces.get(..count).unwrap_or_default())
        };
        let mut table = HashTable::with_capacity(count);
        for number in 0..count as u32 {
            table.insert_unique(of(number), number, |number| of(*number));
        }
        Names { table }
    }

    /// What these pieces, one after the other, name.
    pub fn find(&self, plan: &Plan, wanted: &[&str]) -> Option<Named> {
        let is = |number: &u32| {
            let (pieces, count) = pieces(plan, named(plan, *number));
            same(pieces.get(..count).unwrap_or_default(), wanted)
        };
        self.table.find(hash(wanted), is).map(|number| named(plan, *number))
    }

    /// Bytes that the table takes.
    pub fn bytes(&self) -> usize {
        self.table.allocation_size()
    }
}

fn named(plan: &Plan, number: u32) -> Named {
    let number = number as usize;
    let (buses, messages) = (plan.buses.len(), plan.messages.len());
    match number {
        _ if number < buses => Named::Bus(number),
        _ if number < buses + messages => Named::Message(number - buses),
        _ => Named::Tag(number - buses - messages),
    }
}
