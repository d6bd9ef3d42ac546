//! When the service manager may be told that the process lives: only on proof that the real-time loop has turned.

use std::time::Duration;

/// What was known at the last feeding.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// CLOCK_MONOTONIC, nanoseconds.
    fed: u64,
    /// The loop's turns then.
    turns: u64,
}

impl Watchdog {
    /// Whether to feed now. `interval`: how often the manager wants it; it gets it twice as often, so that one late feeding
    /// does no harm. `stale`: the loop's heartbeat is too old.
    pub fn due(&mut self, now: u64, interval: Duration, turns: u64, stale: bool) -> bool {
        let rested = u128::from(now - self.fed) >= interval.as_nanos() / 2;
        let due = rested && turns != self.turns && !stale;
        if due {
            *self = Watchdog { fed: now, turns };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_starves_it() {
        let mut watchdog = Watchdog::default();
        let mut check = |now, turns, stale, due| {
            assert_eq!(watchdog.due(now, Duration::from_nanos(100), turns, stale), due, "at {now}");
        };
        check(1000, 5, false, true);
        check(1049, 6, false, false);
        check(1050, 6, false, true);
        check(1100, 6, false, false);
        check(9000, 6, false, false);
        check(9001, 7, true, false);
        check(9002, 7, false, true);
    }
}
