//! Which J1939 device holds which address of a bus: a row for each address, under a sequence lock as a record's.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::can::name::{ADDRESSES, Name};

/// Words of a table: eight counters, then a row for each address.
pub const TABLE_WORDS: usize = COUNTERS + ADDRESSES * ROW_WORDS;

const COUNTERS: usize = 8;
const ROW_WORDS: usize = 4;

// Words of a row; a time of 0: nobody holds the address.
const SEQUENCE: usize = 0;
const NAME: usize = 1;
const TIME: usize = 2;

/// Counters of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum NameWord {
    /// Another number after each change of a row.
    Changes = 0,
    /// Address Claimed messages.
    Claims,
    /// Those for an address that another NAME held.
    Contentions,
    /// Cannot Claim messages.
    CannotClaims,
    /// Messages with less than the 8 bytes of a NAME.
    Short,
    /// NAMEs that left an address for another one.
    Moves,
}

impl NameWord {
    pub const ALL: [NameWord; 6] = [
        NameWord::Changes,
        NameWord::Claims,
        NameWord::Contentions,
        NameWord::CannotClaims,
        NameWord::Short,
        NameWord::Moves,
    ];
}

/// Who holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub name: Name,
    /// CLOCK_REALTIME nanoseconds since 1970 of the last claim.
    pub claimed: u64,
}

/// Where a row begins in its table. `None`: no device can hold the address.
pub(super) fn row(address: u8) -> Option<usize> {
    let address = usize::from(address);
    (address < ADDRESSES).then_some(COUNTERS + address * ROW_WORDS)
}

/// Writes a row. The caller is the only writer.
pub(super) fn store(row: &[AtomicU64], holder: Option<Holder>) {
    let row = &row[..ROW_WORDS];
    let sequence = row[SEQUENCE].load(Ordering::Relaxed);
    row[SEQUENCE].store(sequence | 1, Ordering::Relaxed);
    // No word below may become visible before the odd number.
    fence(Ordering::Release);
    row[NAME].store(holder.map_or(0, |holder| holder.name.0), Ordering::Relaxed);
    // a clock that was never set may stand at 0, which says something else here
    row[TIME].store(holder.map_or(0, |holder| holder.claimed.max(1)), Ordering::Relaxed);
    row[SEQUENCE].store((sequence | 1).wrapping_add(1), Ordering::Release);
}

/// Reads a row; `None` where nobody holds the address, or the writer was in the middle of it each time.
pub(super) fn load(row: &[AtomicU64], attempts: u32) -> Option<Holder> {
    let row = &row[..ROW_WORDS];
    for _ in 0..attempts {
        let before = row[SEQUENCE].load(Ordering::Relaxed);
        // No word below may be read before the sequence.
        fence(Ordering::Acquire);
        let (name, claimed) = (row[NAME].load(Ordering::Relaxed), row[TIME].load(Ordering::Relaxed));
        // Both are read before the sequence is looked at again.
        fence(Ordering::Acquire);
        if before & 1 == 0 && row[SEQUENCE].load(Ordering::Relaxed) == before {
            return (claimed != 0).then_some(Holder { name: Name(name), claimed });
        }
        std::hint::spin_loop();
    }
    None
}
