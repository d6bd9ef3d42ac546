//! The ring of alarm transitions: every change of every alarm in order, until 32,768 newer ones. The writer never waits; who
//! is too slow sees which are lost.
//!
//! Each slot has a sequence like that of the frames' ring: `2n + 1` while transition `n` is being written, `2n + 2` when it is there.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::plan::AlarmIndex;

/// Transitions that the ring holds: half a minute of a thousand each second.
pub const SLOTS: usize = 32_768;
/// Words of a slot.
pub const SLOT_WORDS: usize = 5;
/// A reader that was overrun goes on this far behind the writer, so that it is not overrun again at once.
const RESUME: u64 = SLOTS as u64 - SLOTS as u64 / 4;

const SEQUENCE: usize = 0;
const TIME: usize = 1;
/// Alarm, state << 32, state before << 40.
const FACTS: usize = 2;
const DETAIL: usize = 3;
const VALUE: usize = 4;

/// One change of one alarm.
#[derive(Clone, Copy, Debug)]
pub struct AlarmEvent {
    /// One more than that of the transition before; from 0 with each start of the controller, and on over reloads.
    pub sequence: u64,
    pub alarm: AlarmIndex,
    /// 0: not active; 1: active; of a limit its levels (`plan::Level`).
    pub state: u8,
    /// The same before.
    pub before: u8,
    /// See `plan::Alarm`; where it ended, that of when it was active.
    pub detail: u64,
    /// The value that decided, in its signal's unit; NaN where there is none.
    pub value: f64,
    /// CLOCK_REALTIME nanoseconds since 1970: where a frame decided, its source time.
    pub time: u64,
}

/// Bit by bit: NaN is the same as itself.
impl PartialEq for AlarmEvent {
    fn eq(&self, other: &AlarmEvent) -> bool {
        let words =
            |event: &AlarmEvent| (event.sequence, facts(event), event.detail, event.value.to_bits(), event.time);
        words(self) == words(other)
    }
}

/// The transition is not in this store any more, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transitions of alarms before number {next} are lost")]
pub struct EventLost {
    /// From where it goes on: a sequence that can be read, or that comes next.
    pub next: u64,
}

fn facts(event: &AlarmEvent) -> u64 {
    event.alarm as u64 & 0xFFFF_FFFF | u64::from(event.state) << 32 | u64::from(event.before) << 40
}

fn slot(ring: &[AtomicU64], sequence: u64) -> &[AtomicU64] {
    let start = (sequence % SLOTS as u64) as usize * SLOT_WORDS;
    &ring[start..start + SLOT_WORDS]
}

/// Writes a transition. The caller is the only writer, and makes `sequence + 1` known afterwards.
pub(super) fn write(ring: &[AtomicU64], event: &AlarmEvent) {
    let slot = slot(ring, event.sequence);
    slot[SEQUENCE].store(2 * event.sequence + 1, Ordering::Relaxed);
    // No word below may become visible before the odd number.
    fence(Ordering::Release);
    slot[TIME].store(event.time, Ordering::Relaxed);
    slot[FACTS].store(facts(event), Ordering::Relaxed);
    slot[DETAIL].store(event.detail, Ordering::Relaxed);
    slot[VALUE].store(event.value.to_bits(), Ordering::Relaxed);
    slot[SEQUENCE].store(2 * event.sequence + 2, Ordering::Release);
}

/// Reads a transition; `None` where it comes only later. `begin`: with which the ring begins; `next`: those so far.
pub(super) fn read(ring: &[AtomicU64], sequence: u64, begin: u64, next: u64) -> Result<Option<AlarmEvent>, EventLost> {
    if sequence >= next {
        return Ok(None);
    }
    let there = (sequence >= begin && next - sequence <= SLOTS as u64).then(|| load(slot(ring, sequence), sequence));
    match there.flatten() {
        Some(event) => Ok(Some(event)),
        None => {
            Err(EventLost { next: next.saturating_sub(RESUME).max(begin).max(sequence.saturating_add(1).min(next)) })
        }
    }
}

fn load(slot: &[AtomicU64], sequence: u64) -> Option<AlarmEvent> {
    if slot[SEQUENCE].load(Ordering::Relaxed) != 2 * sequence + 2 {
        return None;
    }
    // No word below may be read before the sequence.
    fence(Ordering::Acquire);
    let words = [TIME, FACTS, DETAIL, VALUE].map(|word| slot[word].load(Ordering::Relaxed));
    // All words above are read before the sequence is looked at again.
    fence(Ordering::Acquire);
    if slot[SEQUENCE].load(Ordering::Relaxed) != 2 * sequence + 2 {
        return None;
    }
    let [time, facts, detail, value] = words;
    Some(AlarmEvent {
        sequence,
        alarm: (facts & 0xFFFF_FFFF) as usize,
        state: (facts >> 32) as u8,
        before: (facts >> 40) as u8,
        detail,
        value: f64::from_bits(value),
        time,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn ring() -> Vec<AtomicU64> {
        (0..SLOTS * SLOT_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    /// A transition in which every part says `n`.
    fn of(n: u64) -> AlarmEvent {
        let value = if n.is_multiple_of(3) { f64::NAN } else { n as f64 };
        let (state, before) = (n as u8, (n / 256) as u8);
        AlarmEvent { sequence: n, alarm: (n * 7 % 1_000_003) as usize, state, before, detail: n, value, time: n }
    }

    #[test]
    fn what_is_written_is_read_by_its_number() {
        let ring = ring();
        // began, written so far, asked for, what comes
        const S: u64 = SLOTS as u64;
        type Case = (u64, u64, u64, Result<bool, u64>);
        let cases: [Case; 14] = [
            (0, 0, 0, Ok(false)),
            (0, 1, 0, Ok(true)),
            (0, 1, 1, Ok(false)),
            (0, 1, u64::MAX, Ok(false)),
            (0, S, 0, Ok(true)),
            (0, S + 1, 0, Err(S + 1 - RESUME)),
            (0, S + 1, 1, Ok(true)),
            (0, 3 * S, 5, Err(3 * S - RESUME)),
            (0, 3 * S, 3 * S - 1, Ok(true)),
            // a store that goes on where another one ended
            (7, 7, 3, Err(7)),
            (7, 7, 7, Ok(false)),
            (7, 9, 6, Err(7)),
            (7, 9, 7, Ok(true)),
            (7, 9, 9, Ok(false)),
        ];
        for (begin, next, asked, expected) in cases {
            ring.iter().for_each(|word| word.store(0, Ordering::Relaxed));
            (begin..next).for_each(|n| write(&ring, &of(n)));
            let expected = match expected {
                Ok(there) => Ok(there.then(|| of(asked))),
                Err(next) => Err(EventLost { next }),
            };
            assert_eq!(read(&ring, asked, begin, next), expected, "{begin} {next} {asked}");
        }
    }

    #[test]
    fn beside_a_writer_nothing_is_torn_and_what_is_lost_is_said() {
        let (ring, written, done) = (ring(), AtomicU64::new(0), AtomicBool::new(false));
        const EVENTS: u64 = 2_000_000;
        let (mut at, mut read_so_far, mut lost) = (0, 0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..EVENTS {
                    write(&ring, &of(n));
                    written.store(n + 1, Ordering::Release);
                }
                done.store(true, Ordering::Release);
            });
            loop {
                let ended = done.load(Ordering::Acquire);
                match read(&ring, at, 0, written.load(Ordering::Acquire)) {
                    Ok(Some(event)) => {
                        assert_eq!(event, of(at));
                        read_so_far += 1;
                        at += 1;
                    }
                    Err(EventLost { next }) => {
                        assert!(next > at);
                        lost += next - at;
                        at = next;
                    }
                    Ok(None) if ended => break,
                    Ok(None) => std::hint::spin_loop(),
                }
            }
        });
        assert_eq!(read_so_far + lost, EVENTS);
        assert!(read_so_far > 0);
    }
}
