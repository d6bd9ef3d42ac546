//! Counters and checksums of messages: written when we send, checked when we receive.
//!
//! AUTOSAR E2E profiles 1, 2, 5, 11 and 22 with their state machine (AUTOSAR FO PRS E2EProtocol, "PRS" below; R20-11),
//! the counter and checksum of J1939's TSC1 (SAE J1939-71, SPN 4206 and 4207), and plain ones that a DBC only names.
//! No clock, no allocation after [`Protector::new`] and [`Checker::new`].

mod algorithm;
mod checker;
mod guard;
mod protector;
mod sequence;
mod state;

pub use algorithm::Algorithm;
pub use checker::{Checker, Status, Verdict};
pub use protector::Protector;
pub use state::{State, StateMachine};

use crate::dbc::Codec;

/// What protects one message, as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Protection {
    pub scheme: Scheme,
    /// Bytes that are protected: the message's length in the DBC file. A longer payload's tail (the padding of CAN FD) is
    /// not part of it, a shorter payload is a fault.
    pub length: usize,
    /// Largest step of the counter from one frame to the next that is still right: 1 for "none may be lost"
    /// (MaxDeltaCounter, for profiles 1 and 2 MaxDeltaCounterInit).
    pub max_delta: u8,
    /// For the E2E profiles; the others have none.
    pub state: StateMachine,
    /// Indices of the message's signals that the scheme writes: nobody else may.
    pub signals: Vec<usize>,
}

/// Which counter and checksum, and where they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// Anything that has no standard: either may be missing.
    Plain { counter: Option<Counter>, checksum: Option<Checksum> },
    /// 8-bit CRC of SAE J1850 and a counter of 0 to 14 (PRS, E2E Profile 1). `crc` is the CRC's byte.
    Profile1 { crc: u8, counter: Nibble, data_id: DataId, resync: Resync },
    /// 8-bit CRC 0x2F in byte 0, a counter of 0 to 15 in the low half of byte 1, a data ID for each counter
    /// (PRS, E2E Profile 2).
    Profile2 { data_ids: [u8; 16], resync: Resync },
    /// 16-bit CRC, low byte first, then a counter of 0 to 255, from byte `header` on (PRS, E2E Profile 5).
    Profile5 { header: u8, data_id: u16 },
    /// On the bus the same as profile 1 (PRS, E2E Profile 11).
    Profile11 { crc: u8, counter: Nibble, data_id: DataId },
    /// Profile 2 with the CRC in byte `header` and the counter in the byte behind (PRS, E2E Profile 22).
    Profile22 { header: u8, data_ids: [u8; 16] },
    /// Counter of 0 to 7 in the low and checksum in the high half of byte 8 (SAE J1939-71, SPN 4206 and 4207).
    Tsc1,
}

/// A counter that adds 1 with each frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counter {
    pub codec: Codec,
    /// Counts 0 to one below.
    pub modulus: u64,
}

/// A checksum over bytes of the message.
#[derive(Clone, Debug, PartialEq)]
pub struct Checksum {
    pub codec: Codec,
    pub algorithm: Algorithm,
    pub covers: Covers,
    /// What the calculation starts with.
    pub initial: u64,
    /// XOR on the result.
    pub final_xor: u64,
    /// Bytes that count as if they stood before and after those of the message; they are not on the bus.
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

/// Which bytes a plain checksum covers. Bits of the checksum itself count as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// Every byte that is not the checksum's altogether.
    Others,
    /// From the first to the last, both included.
    Bytes(u8, u8),
}

/// Half a byte: where E2E counters are, by the low or the high four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nibble {
    pub byte: u8,
    pub high: bool,
}

/// How the data ID of profiles 1 and 11 goes into the CRC (PRS_E2E_00163).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataId {
    /// Low byte, then high byte.
    Both(u16),
    /// The low byte with an even counter, the high byte with an odd one.
    Alternating(u16),
    /// The low byte.
    Low(u8),
    /// Of 12 bits: the low byte, then 0; the upper four bits are sent in the message.
    Nibble(u16, Nibble),
}

/// How profiles 1 and 2 find back to a counter that did not go on as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resync {
    /// After more missing or repeated frames than this the next ones only synchronize (MaxNoNewOrRepeatedData).
    pub max_no_new_or_repeated: u8,
    /// So many frames synchronize (SyncCounterInit). With 0 a counter that jumped is not taken over: the checker waits
    /// until it comes round.
    pub sync_counter: u8,
}
