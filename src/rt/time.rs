//! The loop's time: one look at the clock for a turn; a frame's moment comes from the kernel's stamp.
//!
//! A look at the clock is cheap where the kernel lends it without a call, and not everywhere does it. Between the arrival
//! of a frame and its leaving by a route there is none.

use super::HEARTBEAT;
use crate::control::{Key, Now, Outgoing, Sent};
use crate::plan::ContractIndex;
use crate::store::clock;

/// Routed frames that may leave between two looks at the clock.
const UNMEASURED: usize = 256;

/// The time as the loop knows it. It never goes back.
pub(super) struct Time {
    now: Now,
    /// It was read from the clock, and nothing has left since.
    fresh: bool,
    /// Contracts of routed frames that have left since the last look, and when each began.
    unmeasured: Vec<(ContractIndex, u64)>,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, wrapping, when both were last read.
    offset: u64,
    /// CLOCK_MONOTONIC of that.
    compared: u64,
}

impl Time {
    pub fn new() -> Time {
        let mut time = Time::unset();
        time.compare(clock::monotonic(), clock::realtime());
        time
    }

    fn unset() -> Time {
        let now = Now { monotonic: 0, realtime: 0 };
        Time { now, fresh: false, unmeasured: Vec::with_capacity(UNMEASURED), offset: 0, compared: 0 }
    }

    /// The last known time.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Looks at the clock.
    pub fn look(&mut self) -> Now {
        let monotonic = clock::monotonic();
        if monotonic.saturating_sub(self.compared) >= HEARTBEAT {
            self.compare(monotonic, clock::realtime());
        } else {
            self.advance(monotonic, monotonic.wrapping_add(self.offset));
        }
        self.fresh = true;
        self.now
    }

    /// Time has passed.
    pub fn waited(&mut self) {
        self.fresh = false;
    }

    /// A look at the clock, unless nothing has happened since the last one.
    pub fn after_sending(&mut self) -> Now {
        if self.fresh { self.now } else { self.look() }
    }

    /// A frame that has left now. Our own messages want to know when; a routed frame is measured with the next look.
    pub fn sent(&mut self, outgoing: &Outgoing) -> Sent {
        match (outgoing.key, outgoing.contract) {
            (Key::Route(_), None) => {}
            (Key::Route(_), Some(contract)) if self.unmeasured.len() < self.unmeasured.capacity() => {
                self.unmeasured.push((contract, outgoing.began));
            }
            (Key::Route(_) | Key::Message(_), _) => return Sent::At(self.look().monotonic),
        }
        self.fresh = false;
        Sent::Later
    }

    /// One of those that wait for the last look: its contract, and the nanoseconds it has taken.
    pub fn take_measured(&mut self) -> Option<(ContractIndex, u64)> {
        let (contract, began) = self.unmeasured.pop()?;
        Some((contract, self.now.monotonic.saturating_sub(began)))
    }

    /// The moment when a frame was received, from its stamp (CLOCK_REALTIME), where that is after the last known time; else that
    /// time. A look at the clock where there is no stamp or it can't be right: CLOCK_REALTIME has jumped, or the loop has
    /// not turned for long. Frames that have waited cost no look: there are most of them when there is least time.
    pub fn of_stamp(&mut self, stamp: Option<u64>) -> Now {
        let Some(stamp) = stamp else { return self.look() };
        let monotonic = stamp.wrapping_sub(self.offset);
        // negative: before the last known time, however long
        let ahead = monotonic.wrapping_sub(self.now.monotonic).cast_signed();
        if ahead > HEARTBEAT.cast_signed() {
            return self.look();
        }
        self.fresh = false;
        if ahead > 0 {
            self.advance(monotonic, stamp);
        }
        self.now
    }

    fn compare(&mut self, monotonic: u64, realtime: u64) {
        self.offset = realtime.wrapping_sub(monotonic);
        self.compared = monotonic;
        self.advance(monotonic, realtime);
    }

    fn advance(&mut self, monotonic: u64, realtime: u64) {
        if monotonic > self.now.monotonic {
            self.now = Now { monotonic, realtime };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;

    #[test]
    fn frames_bring_their_time_with_them() {
        // CLOCK_REALTIME is 4900 s ahead, and the last look was at 100 s
        let check = |stamp: u64, expected: u64| {
            let mut time = Time::unset();
            time.compare(100 * SECOND, 5000 * SECOND);
            let now = time.of_stamp(Some(stamp));
            assert_eq!((now.monotonic, now.realtime), (expected, expected + 4900 * SECOND), "{stamp}");
        };
        check(5000 * SECOND + MS, 100 * SECOND + MS);
        check(5000 * SECOND, 100 * SECOND);
        check(5000 * SECOND + HEARTBEAT, 100 * SECOND + HEARTBEAT);
        // it came before the last look: the time does not go back, whether it has waited long or somebody has set the clock
        check(5000 * SECOND - MS, 100 * SECOND);
        check(4000 * SECOND, 100 * SECOND);
        check(0, 100 * SECOND);
        check(u64::MAX, 100 * SECOND);
    }

    #[test]
    fn the_clock_is_asked_where_a_stamp_does_not_help() {
        let mut time = Time::new();
        let before = clock::monotonic();
        let ahead = clock::realtime() + 3600 * SECOND;
        for stamp in [None, Some(ahead)] {
            let now = time.of_stamp(stamp);
            assert!(now.monotonic >= before && now.monotonic <= clock::monotonic(), "{stamp:?} {now:?}");
        }
    }
}
