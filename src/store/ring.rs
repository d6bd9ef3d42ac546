//! The broadcast ring: every frame in order, for readers that want to see each one. The writer never waits; a reader that is
//! too slow sees how many it lost.
//!
//! Each slot has a sequence like a record: `2n + 1` while frame `n` is being written, `2n + 2` when it is there. A reader
//! that finds another one was overrun.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::can::{Frame, FrameId, MAX_LEN};

/// Frames that the ring holds: a second of four busy buses.
pub const SLOTS: usize = 16_384;
/// Words of a slot.
pub const SLOT_WORDS: usize = 12;
/// A reader that was overrun goes on this far behind the writer, so that it is not overrun again at once.
const RESUME: u64 = SLOTS as u64 / 2;

const SEQUENCE: usize = 0;
const TIME: usize = 1;
/// Identifier, length << 32, flags << 40, bus << 48.
const FACTS: usize = 2;
const PAYLOAD: usize = 3;

const FLAG_FD: u64 = 1;
const FLAG_BIT_RATE_SWITCH: u64 = 2;
const FLAG_REMOTE: u64 = 4;
const FLAG_SENT: u64 = 8;

/// One frame that was received or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub bus: usize,
    pub frame: Frame,
    /// CLOCK_REALTIME nanoseconds since 1970.
    pub time: u64,
    /// By us; else by another node.
    pub sent: bool,
}

/// What a reader finds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Entry(Entry),
    /// So many frames were overwritten before they were read.
    Lost(u64),
    /// Nothing yet.
    Empty,
}

/// Writes frame number `number`. The caller is the only writer, and makes `number + 1` known afterwards.
pub(super) fn write(ring: &[AtomicU64], number: u64, bus: usize, frame: &Frame, time: u64, sent: bool) {
    let start = (number % SLOTS as u64) as usize * SLOT_WORDS;
    let slot = &ring[start..start + SLOT_WORDS];
    slot[SEQUENCE].store(2 * number + 1, Ordering::Relaxed);
    // No word below may become visible before the odd number.
    fence(Ordering::Release);
    let flag = |on: bool, flag| if on { flag } else { 0 };
    let flags = flag(frame.fd, FLAG_FD)
        | flag(frame.bit_rate_switch, FLAG_BIT_RATE_SWITCH)
        | flag(frame.remote, FLAG_REMOTE)
        | flag(sent, FLAG_SENT);
    let facts = u64::from(frame.id.bits()) | (frame.len() as u64) << 32 | flags << 40 | (bus as u64) << 48;
    slot[TIME].store(time, Ordering::Relaxed);
    slot[FACTS].store(facts, Ordering::Relaxed);
    for (word, bytes) in slot[PAYLOAD..].iter().zip(frame.payload().chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
    }
    slot[SEQUENCE].store(2 * number + 2, Ordering::Release);
}

/// Reads frame number `number`; `None` where it is not there any more.
fn read(ring: &[AtomicU64], number: u64) -> Option<Entry> {
    let start = (number % SLOTS as u64) as usize * SLOT_WORDS;
    let slot = &ring[start..start + SLOT_WORDS];
    if slot[SEQUENCE].load(Ordering::Relaxed) != 2 * number + 2 {
        return None;
    }
    // No word below may be read before the sequence.
    fence(Ordering::Acquire);
    let (time, facts) = (slot[TIME].load(Ordering::Relaxed), slot[FACTS].load(Ordering::Relaxed));
    let length = ((facts >> 32) as u8 as usize).min(MAX_LEN);
    let mut payload = [0; MAX_LEN];
    for (word, bytes) in slot[PAYLOAD..].iter().zip(payload.as_chunks_mut::<8>().0).take(length.div_ceil(8)) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    // All words above are read before the sequence is looked at again.
    fence(Ordering::Acquire);
    if slot[SEQUENCE].load(Ordering::Relaxed) != 2 * number + 2 {
        return None;
    }
    let flags = facts >> 40 & 0xFF;
    let id = FrameId::from_bits(facts as u32)?;
    let mut frame = match flags {
        flags if flags & FLAG_REMOTE != 0 => Frame::remote(id, length as u8)?,
        flags if flags & FLAG_FD != 0 => Frame::fd(id, &payload[..length])?,
        _ => Frame::classic(id, &payload[..length])?,
    };
    frame.bit_rate_switch = flags & FLAG_BIT_RATE_SWITCH != 0;
    Some(Entry { bus: (facts >> 48) as usize, frame, time, sent: flags & FLAG_SENT != 0 })
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u64);

impl Position {
    /// From now on. `written`: frames so far.
    pub(super) fn now(written: u64) -> Position {
        Position(written)
    }

    /// The oldest that a reader can take without being overrun at once.
    pub(super) fn oldest(written: u64) -> Position {
        Position(written.saturating_sub(SLOTS as u64 - SLOTS as u64 / 16))
    }

    pub(super) fn next(&mut self, ring: &[AtomicU64], written: u64) -> Next {
        // a new controller counts from 0 again
        if self.0 > written {
            self.0 = written;
        }
        if self.0 == written {
            return Next::Empty;
        }
        if written - self.0 <= SLOTS as u64
            && let Some(entry) = read(ring, self.0)
        {
            self.0 += 1;
            return Next::Entry(entry);
        }
        // overrun; what lies half a ring behind has time to be read
        let resume = written.saturating_sub(RESUME).max(self.0 + 1);
        let lost = resume - self.0;
        self.0 = resume;
        Next::Lost(lost)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn ring() -> Vec<AtomicU64> {
        (0..SLOTS * SLOT_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    /// A frame in which every part says `n`.
    fn of(n: u64) -> Entry {
        let id = FrameId::standard((n % 0x800) as u32).unwrap();
        let lengths = [0, 1, 7, 8, 12, 20, 64];
        let bytes = [n as u8; MAX_LEN];
        let length = lengths[(n % 7) as usize];
        let mut frame = match n % 11 {
            0 => Frame::remote(id, 3).unwrap(),
            _ if length > 8 => Frame::fd(id, &bytes[..length]).unwrap(),
            _ => Frame::classic(id, &bytes[..length]).unwrap(),
        };
        frame.bit_rate_switch = frame.fd && n.is_multiple_of(2);
        Entry { bus: (n % 64) as usize, frame, time: n, sent: n.is_multiple_of(3) }
    }

    fn write_entry(ring: &[AtomicU64], n: u64) {
        let Entry { bus, frame, time, sent } = of(n);
        write(ring, n, bus, &frame, time, sent);
    }

    #[test]
    fn what_is_written_is_read_in_order() {
        let ring = ring();
        let mut position = Position::now(0);
        assert_eq!(position.next(&ring, 0), Next::Empty);
        for n in 0..SLOTS as u64 + 100 {
            write_entry(&ring, n);
            assert_eq!(position.next(&ring, n + 1), Next::Entry(of(n)), "{n}");
        }
        assert_eq!(position.next(&ring, SLOTS as u64 + 100), Next::Empty);
        assert_eq!(position.next(&ring, 5), Next::Empty, "a new controller");
    }

    #[test]
    fn a_slow_reader_knows_what_it_lost() {
        let ring = ring();
        let mut position = Position::now(0);
        let written = 3 * SLOTS as u64 + 17;
        for n in 0..written {
            write_entry(&ring, n);
        }
        let Next::Lost(lost) = position.next(&ring, written) else { panic!("not lost") };
        assert_eq!(lost, written - RESUME);
        for n in lost..written {
            assert_eq!(position.next(&ring, written), Next::Entry(of(n)));
        }
        assert_eq!(position.next(&ring, written), Next::Empty);
    }

    #[test]
    fn beside_a_writer_nothing_is_torn_and_nothing_is_missing() {
        let (ring, written, done) = (ring(), AtomicU64::new(0), AtomicBool::new(false));
        const FRAMES: u64 = 2_000_000;
        let (mut read, mut lost) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..FRAMES {
                    write_entry(&ring, n);
                    written.store(n + 1, Ordering::Release);
                }
                done.store(true, Ordering::Release);
            });
            let mut position = Position::now(0);
            loop {
                let ended = done.load(Ordering::Acquire);
                match position.next(&ring, written.load(Ordering::Acquire)) {
                    Next::Entry(entry) => {
                        assert_eq!(entry, of(read + lost));
                        read += 1;
                    }
                    Next::Lost(frames) => lost += frames,
                    Next::Empty if ended => break,
                    Next::Empty => std::hint::spin_loop(),
                }
            }
        });
        assert_eq!(read + lost, FRAMES);
        assert!(read > 0);
    }
}
