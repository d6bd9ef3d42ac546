//! When the service manager may be told that the process lives: only on proof that the real-time loop turns, serves its
//! deadlines and reads every bus.

use std::time::Duration;

use tracing::error;

use crate::plan::Plan;
use crate::store::Reader;
use crate::store::layout::{BusWord, Word};

/// A deadline, or a socket, that the loop has not looked at for this long while it turned: nanoseconds. It reads each socket
/// twice a second, and a deadline is late by milliseconds at most, under whatever load.
const LIMIT: u64 = 2_000_000_000;

/// What the loop no longer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    /// It does not turn.
    Still,
    /// It turns, and leaves a deadline: cycles, receive deadlines, queues.
    Overdue,
    /// It turns, and does not read this bus.
    Unread(usize),
}

/// What the store says about the loop. `now`: CLOCK_MONOTONIC.
fn stuck(reader: &Reader, buses: usize, now: u64) -> Option<Stuck> {
    if reader.stale(now) {
        return Some(Stuck::Still);
    }
    // in this order: the other way round a deadline that is served in between would look overdue
    let turned = reader.get(Word::Heartbeat);
    let overdue = |at: u64| at != 0 && turned.saturating_sub(at) > LIMIT;
    if overdue(reader.get(Word::NextDue)) {
        return Some(Stuck::Overdue);
    }
    (0..buses).find(|bus| overdue(reader.bus(*bus, BusWord::ReadAt))).map(Stuck::Unread)
}

/// What was known at the last feeding.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// CLOCK_MONOTONIC, nanoseconds.
    fed: u64,
    /// The loop's turns then.
    turns: u64,
    stuck: Option<Stuck>,
}

impl Watchdog {
    /// Whether to feed now. `interval`: how often the manager wants it; it gets it twice as often, so that one late feeding
    /// does no harm.
    pub fn due(&mut self, now: u64, interval: Duration, turns: u64) -> bool {
        let rested = u128::from(now - self.fed) >= interval.as_nanos() / 2;
        let due = rested && turns != self.turns && self.stuck.is_none();
        if due {
            (self.fed, self.turns) = (now, turns);
        }
        due
    }

    /// Looks at what the loop does; what it no longer does is said once.
    pub fn look(&mut self, plan: &Plan, reader: &Reader, now: u64) {
        match self.note(stuck(reader, plan.buses.len(), now)) {
            None => {}
            Some(Stuck::Still) => error!("the real-time loop does not turn"),
            Some(Stuck::Overdue) => error!("the real-time loop turns, but leaves its deadlines"),
            Some(Stuck::Unread(bus)) => {
                error!(bus = %plan.buses[bus].name, "the real-time loop turns, but does not read this bus");
            }
        }
    }

    fn note(&mut self, stuck: Option<Stuck>) -> Option<Stuck> {
        let before = std::mem::replace(&mut self.stuck, stuck);
        stuck.filter(|_| before != stuck)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Layout, Memory, Writer};

    #[test]
    fn a_loop_that_stands_still_starves_it() {
        let mut watchdog = Watchdog::default();
        let mut check = |now, turns, stuck, due| {
            watchdog.note(stuck);
            assert_eq!(watchdog.due(now, Duration::from_nanos(100), turns), due, "at {now}");
        };
        check(1000, 5, None, true);
        check(1049, 6, None, false);
        check(1050, 6, None, true);
        check(1100, 6, None, false);
        check(9000, 6, None, false);
        check(9001, 7, Some(Stuck::Still), false);
        check(9002, 7, None, true);
        check(9100, 8, Some(Stuck::Unread(1)), false);
        assert_eq!(watchdog.note(Some(Stuck::Unread(1))), None, "said before");
        assert_eq!(watchdog.note(Some(Stuck::Overdue)), Some(Stuck::Overdue));
    }

    #[test]
    fn a_loop_that_turns_must_serve_its_deadlines_and_buses() {
        const SECOND: u64 = 1_000_000_000;
        const LAYOUT: Layout = Layout {
            buses: 3,
            records: 1,
            messages: 1,
            tags: 1,
            routes: 0,
            links: 0,
            contracts: 0,
            alarms: 0,
            names: 0,
        };
        let memory = Arc::new(Memory::heap(LAYOUT.words()));
        let mut writer = Writer::new(memory.clone(), LAYOUT, 1);
        let reader = Reader::open(memory, LAYOUT, 1).unwrap();
        // in seconds: the last turn, the next deadline, when each bus was read (0: it has no socket)
        let mut check = |turned: u64, next: u64, read: [u64; 3], want| {
            writer.set(Word::Heartbeat, turned * SECOND);
            writer.set(Word::NextDue, next.saturating_mul(SECOND));
            for (bus, at) in read.into_iter().enumerate() {
                writer.set_bus(bus, BusWord::ReadAt, at * SECOND);
            }
            assert_eq!(stuck(&reader, 3, 100 * SECOND), want, "{turned} {next} {read:?}");
        };
        check(100, u64::MAX, [0, 0, 0], None);
        check(100, 101, [100, 99, 98], None);
        check(100, 98, [0, 100, 100], None);
        check(100, 0, [0, 0, 0], None);
        check(100, 97, [0, 100, 100], Some(Stuck::Overdue));
        check(100, 101, [100, 97, 100], Some(Stuck::Unread(1)));
        check(100, 101, [0, 100, 3], Some(Stuck::Unread(2)));
        check(97, 101, [100, 100, 100], Some(Stuck::Still));
    }
}
