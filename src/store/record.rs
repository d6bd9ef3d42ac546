//! One record under its sequence lock: the last payload of a group of signals, when it came, what is wrong with it.
//!
//! The lock is Boehm's seqlock ("Can seqlocks get along with programming language memory models?", 2012): every word is
//! an atomic, the data are read and written relaxed, two fences give the order.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::layout::RECORD_WORDS;
use crate::can::{FrameId, MAX_LEN};
use crate::quality::Causes;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Causes that belong to the message: never received, late.
    pub causes: Causes,
    /// Identifier of the last frame, [`FrameId::bits`]; J1939 keeps its source address here.
    pub id_bits: u32,
    /// CLOCK_REALTIME nanoseconds since 1970: receive stamp of the kernel, or time of sending for our own frames. 0: none yet.
    pub source_time: u64,
    /// CLOCK_MONOTONIC nanoseconds of the receiving, for the age.
    pub received: u64,
    /// Frames so far.
    pub count: u64,
    /// Bytes that the frame had; the rest of `payload` is 0.
    pub length: usize,
    pub payload: [u8; MAX_LEN],
}

impl Record {
    /// Before the first frame.
    pub const EMPTY: Record = Record {
        causes: Causes::of(crate::quality::Cause::NeverReceived),
        id_bits: 0,
        source_time: 0,
        received: 0,
        count: 0,
        length: 0,
        payload: [0; MAX_LEN],
    };

    /// The bytes of the last frame.
    pub fn bytes(&self) -> &[u8] {
        &self.payload[..self.length.min(MAX_LEN)]
    }

    /// J1939 source address of the last frame.
    pub fn source_address(&self) -> Option<u8> {
        FrameId::from_bits(self.id_bits).filter(|id| id.is_extended()).map(FrameId::source_address)
    }
}

// Words of a record; STATE is causes | length << 32.
pub(super) const SEQUENCE: usize = 0;
const STATE: usize = 1;
const SOURCE_TIME: usize = 2;
const RECEIVED: usize = 3;
const COUNT: usize = 4;
const IDENTIFIER: usize = 5;
const PAYLOAD: usize = 8;

/// Writes a record. The caller is the only writer.
pub(super) fn store(words: &[AtomicU64], record: &Record) {
    let words = &words[..RECORD_WORDS];
    let sequence = words[SEQUENCE].load(Ordering::Relaxed);
    // Odd: being written. A writer that died here leaves it odd; the next one starts a new store, never this one.
    words[SEQUENCE].store(sequence | 1, Ordering::Relaxed);
    // No word below may become visible before the odd number.
    fence(Ordering::Release);
    words[STATE].store(record.causes.bits() as u64 | (record.length as u64) << 32, Ordering::Relaxed);
    words[SOURCE_TIME].store(record.source_time, Ordering::Relaxed);
    words[RECEIVED].store(record.received, Ordering::Relaxed);
    words[COUNT].store(record.count, Ordering::Relaxed);
    words[IDENTIFIER].store(record.id_bits as u64, Ordering::Relaxed);
    let used = record.length.div_ceil(8).max(1);
    for (word, bytes) in words[PAYLOAD..].iter().zip(record.payload.as_chunks::<8>().0).take(used) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    words[SEQUENCE].store((sequence | 1).wrapping_add(1), Ordering::Release);
}

/// One more frame with everything good. The caller is the only writer. At most 64 bytes.
pub(super) fn received(words: &[AtomicU64], id_bits: u32, source_time: u64, received: u64, payload: &[u8]) {
    let words = &words[..RECORD_WORDS];
    let sequence = words[SEQUENCE].load(Ordering::Relaxed);
    words[SEQUENCE].store(sequence | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    words[STATE].store((payload.len() as u64) << 32, Ordering::Relaxed);
    words[SOURCE_TIME].store(source_time, Ordering::Relaxed);
    words[RECEIVED].store(received, Ordering::Relaxed);
    words[COUNT].store(words[COUNT].load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    words[IDENTIFIER].store(id_bits.into(), Ordering::Relaxed);
    let (whole, rest) = payload.as_chunks::<8>();
    for (word, bytes) in words[PAYLOAD..].iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if let (false, Some(word)) = (rest.is_empty(), words.get(PAYLOAD + whole.len())) {
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
    }
    words[SEQUENCE].store((sequence | 1).wrapping_add(1), Ordering::Release);
}

/// The causes of a record, for its writer.
pub(super) fn causes(words: &[AtomicU64]) -> Causes {
    Causes::from_bits(words[STATE].load(Ordering::Relaxed) as u32)
}

/// Changes the causes of a record alone. The caller is the only writer.
pub(super) fn set_causes(words: &[AtomicU64], causes: Causes) {
    let sequence = words[SEQUENCE].load(Ordering::Relaxed);
    words[SEQUENCE].store(sequence | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    let length = words[STATE].load(Ordering::Relaxed) >> 32;
    words[STATE].store(u64::from(causes.bits()) | length << 32, Ordering::Relaxed);
    words[SEQUENCE].store((sequence | 1).wrapping_add(1), Ordering::Release);
}

/// Reads a record; `None` when the writer was in the middle of it each time.
///
/// `check` is false only in the test that shows what the sequence is for.
pub(super) fn load(words: &[AtomicU64], attempts: u32, check: bool) -> Option<Record> {
    let words = &words[..RECORD_WORDS];
    for _ in 0..attempts {
        let before = words[SEQUENCE].load(Ordering::Relaxed);
        if before & 1 == 1 && check {
            std::hint::spin_loop();
            continue;
        }
        // No word below may be read before the sequence.
        fence(Ordering::Acquire);
        let state = words[STATE].load(Ordering::Relaxed);
        let length = ((state >> 32) as usize).min(MAX_LEN);
        let mut record = Record {
            causes: Causes::from_bits(state as u32),
            id_bits: words[IDENTIFIER].load(Ordering::Relaxed) as u32,
            source_time: words[SOURCE_TIME].load(Ordering::Relaxed),
            received: words[RECEIVED].load(Ordering::Relaxed),
            count: words[COUNT].load(Ordering::Relaxed),
            length,
            payload: [0; MAX_LEN],
        };
        let used = length.div_ceil(8);
        for (word, bytes) in words[PAYLOAD..].iter().zip(record.payload.as_chunks_mut::<8>().0).take(used) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        // All words above are read before the sequence is looked at again.
        fence(Ordering::Acquire);
        if !check || words[SEQUENCE].load(Ordering::Relaxed) == before {
            // a stale tail of a longer frame inside the last word is not part of this one
            record.payload[length..].fill(0);
            return Some(record);
        }
        std::hint::spin_loop();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::quality::Cause;

    fn words() -> Vec<AtomicU64> {
        (0..RECORD_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    /// A record in which every part says `n`.
    fn of(n: u64) -> Record {
        let length = (n % 65) as usize;
        let mut record = Record {
            causes: Causes::from_bits(n as u32),
            id_bits: n as u32,
            source_time: n,
            received: n,
            count: n,
            length,
            payload: [0; MAX_LEN],
        };
        record.payload[..length].fill(n as u8);
        record
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let words = words();
        for n in [1, 64, 65, 8, 0, 129, 3] {
            store(&words, &of(n));
            assert_eq!(load(&words, 1, true), Some(of(n)), "{n}");
        }
        store(&words, &Record { causes: Causes::of(Cause::Late), ..Record::EMPTY });
        assert_eq!(load(&words, 1, true).unwrap().causes, Causes::of(Cause::Late));
    }

    #[test]
    fn a_writer_that_died_inside_is_not_read() {
        let words = words();
        store(&words, &of(7));
        words[SEQUENCE].fetch_or(1, Ordering::Relaxed);
        assert_eq!(load(&words, 1000, true), None);
    }

    /// How many torn records a reader sees beside a busy writer: stops at the first, or after `limit`.
    fn torn(check: bool, limit: Duration) -> (u64, u64) {
        let words = words();
        let stop = AtomicBool::new(false);
        let (mut torn, mut read) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    store(&words, &of(n));
                }
            });
            let start = Instant::now();
            while torn == 0 && start.elapsed() < limit {
                if let Some(record) = load(&words, 100, check) {
                    read += 1;
                    torn += u64::from(record != of(record.count));
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        (torn, read)
    }

    #[test]
    fn the_sequence_is_what_keeps_records_whole() {
        let (seen, read) = torn(true, Duration::from_secs(1));
        assert_eq!(seen, 0, "of {read}");
        assert!(read > 0);
        let (seen, read) = torn(false, Duration::from_secs(60));
        assert_eq!(seen, 1, "without the check {read} reads saw no torn record: the test above shows nothing");
    }
}
