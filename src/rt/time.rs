//! The loop's time: one look at the clock for a turn; a frame's moment comes from the kernel's stamp.
//!
//! A look at the clock is cheap where the kernel lends it without a call, and not everywhere does it. Between the arrival
//! of a frame and its leaving by a route there is none.

use super::HEARTBEAT;
use crate::control::{Key, Now, Outgoing, Sent};
use crate::plan::ContractIndex;
use crate::store::clock;

/// A smaller difference between the two clocks than before is no step of CLOCK_REALTIME: it runs at most 500 ppm faster or
/// slower, and between two looks at both clocks some microseconds pass. Nanoseconds.
const STEP: u64 = 200_000;
/// For so long after a step there may be frames in the sockets that were stamped before it, in nanoseconds.
const OLD_STAMPS: u64 = 20_000_000;

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
    /// The offset before CLOCK_REALTIME was last set, and the CLOCK_MONOTONIC until which stamps may still be of that.
    former: Option<(u64, u64)>,
}

impl Time {
    pub fn new() -> Time {
        let mut time = Time::unset();
        time.now_and_offset(clock::monotonic(), clock::realtime());
        time
    }

    fn unset() -> Time {
        let now = Now { monotonic: 0, realtime: 0 };
        Time { now, fresh: false, unmeasured: Vec::with_capacity(UNMEASURED), offset: 0, compared: 0, former: None }
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

    /// CLOCK_REALTIME was set (the kernel tells): both clocks are read.
    pub fn clock_was_set(&mut self) {
        self.compare(clock::monotonic(), clock::realtime());
        self.fresh = true;
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
            (Key::Route(_) | Key::Message(_) | Key::Last, _) => return Sent::At(self.look().monotonic),
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
    /// time. [`Now::moment_of`] the stamp is right in either case. A look at the clock where there is no stamp or it can't be
    /// right: CLOCK_REALTIME has been set, or the loop has not turned for long. Frames that have waited a little cost no look:
    /// there are most of them when there is least time.
    pub fn of_stamp(&mut self, stamp: Option<u64>) -> Now {
        let Some(stamp) = stamp else { return self.look() };
        let monotonic = stamp.wrapping_sub(self.offset);
        // negative: before the last known time
        let ahead = monotonic.wrapping_sub(self.now.monotonic).cast_signed();
        let plausible = ahead.unsigned_abs() <= HEARTBEAT;
        let after_step = self.former.is_some_and(|(_, until)| self.now.monotonic < until);
        if !plausible && !after_step {
            self.compare(clock::monotonic(), clock::realtime());
            self.fresh = true;
        }
        if !plausible || after_step {
            return self.stamped_before_now(stamp);
        }
        self.fresh = false;
        if ahead > 0 {
            self.advance(monotonic, stamp);
        }
        self.now
    }

    /// The last known time, with the CLOCK_REALTIME that the stamp was taken from: the one in force or, shortly after it
    /// was set, the one before, whichever makes the frame younger. Where neither can be, it has come now.
    fn stamped_before_now(&self, stamp: u64) -> Now {
        let monotonic = self.now.monotonic;
        let former = self.former.filter(|(_, until)| monotonic < *until).map(|(offset, _)| offset);
        let clocks = [Some(self.offset), former].into_iter().flatten().map(|offset| monotonic.wrapping_add(offset));
        let could_be = clocks.filter(|realtime| *realtime >= stamp && realtime - stamp <= monotonic);
        Now { monotonic, realtime: could_be.min().unwrap_or(stamp) }
    }

    /// Both clocks, read one after the other.
    fn compare(&mut self, monotonic: u64, realtime: u64) {
        let before = self.offset;
        self.now_and_offset(monotonic, realtime);
        if self.offset.wrapping_sub(before).cast_signed().unsigned_abs() > STEP {
            self.former = Some((before, monotonic.saturating_add(OLD_STAMPS)));
        }
    }

    fn now_and_offset(&mut self, monotonic: u64, realtime: u64) {
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
    const HOUR: u64 = 3600 * SECOND;

    /// CLOCK_REALTIME is 4900 s ahead, and the last look was at 100 s.
    fn at_100_s() -> Time {
        let mut time = Time::unset();
        time.now_and_offset(100 * SECOND, 5000 * SECOND);
        time
    }

    #[test]
    fn frames_bring_their_time_with_them() {
        let check = |stamp: u64, expected: u64| {
            let mut time = at_100_s();
            let now = time.of_stamp(Some(stamp));
            assert_eq!((now.monotonic, now.realtime), (expected, expected + 4900 * SECOND), "{stamp}");
        };
        check(5000 * SECOND + MS, 100 * SECOND + MS);
        check(5000 * SECOND, 100 * SECOND);
        check(5000 * SECOND + HEARTBEAT, 100 * SECOND + HEARTBEAT);
        // it came before the last look: the time does not go back, and it is as old as it is
        check(5000 * SECOND - MS, 100 * SECOND);
        assert_eq!(at_100_s().of_stamp(Some(5000 * SECOND - MS)).moment_of(5000 * SECOND - MS), 100 * SECOND - MS);
    }

    /// A frame is never older than it is, whichever way the clock was set, and whether it was stamped before or after.
    #[test]
    fn a_step_of_the_clock_makes_no_frame_old() {
        for step in [HOUR.cast_signed(), -HOUR.cast_signed(), 40 * MS.cast_signed(), -40 * MS.cast_signed()] {
            let mut time = Time::new();
            let (before, old_offset) = (time.now(), time.offset);
            // the kernel tells, and both clocks are read
            let monotonic = before.monotonic + 5 * MS;
            let new_offset = old_offset.wrapping_add_signed(step);
            time.compare(monotonic, monotonic.wrapping_add(new_offset));
            for (offset, age) in [(old_offset, 3 * MS), (new_offset, 2 * MS), (old_offset, 0), (new_offset, 0)] {
                let stamp = (monotonic - age).wrapping_add(offset);
                let now = time.of_stamp(Some(stamp));
                assert_eq!(now.monotonic, monotonic, "step {step}");
                let moment = now.moment_of(stamp);
                assert!((monotonic - age..=monotonic).contains(&moment), "step {step}: {} ns old", monotonic - moment);
            }
            // later only the new clock counts
            let later = monotonic + OLD_STAMPS + MS;
            time.now_and_offset(later, later.wrapping_add(new_offset));
            let stamp = (later - 30 * MS).wrapping_add(new_offset);
            assert_eq!(time.of_stamp(Some(stamp)).moment_of(stamp), later - 30 * MS, "really late, step {step}");
        }
    }

    /// Before the kernel's word about it arrives: the stamp itself shows that something is wrong.
    #[test]
    fn the_clock_is_asked_where_a_stamp_does_not_help() {
        for stamp in [None, Some(clock::realtime() + HOUR), Some(clock::realtime() - HOUR), Some(0), Some(u64::MAX)] {
            let mut time = Time::new();
            // as if the clock was set by an hour since
            time.offset =
                time.offset.wrapping_add(if stamp.is_some_and(|stamp| stamp > clock::realtime()) { 0 } else { HOUR });
            let before = clock::monotonic();
            let now = time.of_stamp(stamp);
            assert!(now.monotonic >= before && now.monotonic <= clock::monotonic(), "{stamp:?} {now:?}");
        }
        // set back by an hour just now; the frame was stamped after that
        let mut time = Time::new();
        time.offset = time.offset.wrapping_add(HOUR);
        let stamp = clock::realtime();
        let now = time.of_stamp(Some(stamp));
        assert!(now.monotonic - now.moment_of(stamp) < SECOND, "{now:?} {stamp}");
    }

    #[test]
    fn a_frame_that_has_waited_for_long_is_as_old_as_it_is() {
        let mut time = Time::new();
        let stamp = clock::realtime() - SECOND;
        let now = time.of_stamp(Some(stamp));
        let age = now.monotonic - now.moment_of(stamp);
        assert!((SECOND..10 * SECOND).contains(&age), "{age}");
    }
}
