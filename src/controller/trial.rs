//! Whether a new configuration keeps its times as well as the one before: counted second by second, so that a computer that stood
//! still for a moment is no reason to go back.

use std::collections::VecDeque;

/// Missed budgets within a trial that are never a reason to go back.
const FORGIVEN: u64 = 3;
/// Bad seconds that a configuration must have to be at fault: one or two may be the computer's.
const BAD_SECONDS: u32 = 3;
/// Seconds that are remembered: the longest trial.
const REMEMBERED: usize = 60;
const SECOND: u64 = 1_000_000_000;

/// Missed budgets of the last seconds, and the trial that is under way. Times are CLOCK_MONOTONIC nanoseconds.
pub struct Trials<T> {
    /// The newest last.
    seconds: VecDeque<u64>,
    /// Missed budgets in total when this second began, and when that was.
    total: u64,
    began: u64,
    trial: Option<Trial<T>>,
}

/// The first time of a new plan.
struct Trial<T> {
    ends: u64,
    /// Missed budgets at its beginning, and how many more are allowed.
    base: u64,
    allowed: u64,
    /// A second is bad if more are missed in it than this, twice as many as usual.
    usual: u64,
    /// Bad seconds so far, and how many are too many.
    bad: u32,
    too_many: u32,
    /// What goes back into force.
    before: T,
}

#[derive(Debug, PartialEq)]
pub enum Verdict<T> {
    /// It has kept its times, all but so many.
    Kept(u64),
    Missed {
        missed: u64,
        allowed: u64,
        before: T,
    },
}

impl<T> Trials<T> {
    /// None is under way. `total`: missed budgets so far.
    pub fn new(now: u64, total: u64) -> Trials<T> {
        Trials { seconds: VecDeque::with_capacity(REMEMBERED), total, began: now, trial: None }
    }

    /// `total`: missed budgets so far, of the new plan. `time`: nanoseconds; 0 is no trial.
    pub fn begin(&mut self, now: u64, total: u64, time: u64, before: T) {
        (self.total, self.began) = (total, now);
        self.trial = None;
        let length = time / SECOND;
        if length == 0 {
            return;
        }
        let earlier = || self.seconds.iter().rev().take(length as usize);
        // where less is remembered than a trial lasts, the rest is taken to have been like it
        let usual = earlier().sum::<u64>() * length / (earlier().count() as u64).max(1);
        self.trial = Some(Trial {
            ends: now + time,
            base: total,
            allowed: FORGIVEN.max(2 * usual),
            usual: 2 * usual / length,
            bad: 0,
            too_many: BAD_SECONDS.min(length as u32),
            before,
        });
    }

    /// The configuration before is in force again: what the other one missed says nothing about it.
    pub fn went_back(&mut self, now: u64, total: u64) {
        *self = Trials::new(now, total);
    }

    /// Counts, and ends the trial that has an end. `undecided`: it is not the moment to end it.
    pub fn look(&mut self, now: u64, total: u64, undecided: bool) -> Option<Verdict<T>> {
        while now.saturating_sub(self.began) >= SECOND {
            let missed = total.saturating_sub(self.total);
            self.total = total;
            self.began += SECOND;
            if self.seconds.len() >= REMEMBERED {
                self.seconds.pop_front();
            }
            self.seconds.push_back(missed);
            if let Some(trial) = &mut self.trial {
                trial.bad += u32::from(missed > trial.usual);
            }
        }
        if undecided {
            return None;
        }
        let trial = self.trial.take()?;
        let missed = total.saturating_sub(trial.base);
        if trial.bad >= trial.too_many && missed > trial.allowed {
            return Some(Verdict::Missed { missed, allowed: trial.allowed, before: trial.before });
        }
        if now >= trial.ends {
            return Some(Verdict::Kept(missed));
        }
        self.trial = Some(trial);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `before` and `after`: missed budgets in each second. What comes of a trial of `length` seconds, and after how many of them.
    fn check(length: u64, before: &[u64], after: &[u64], wanted: (u64, Verdict<()>)) {
        let (mut now, mut total) = (SECOND, 1000);
        let mut trials = Trials::new(now, total);
        let mut pass = |trials: &mut Trials<()>, missed: u64| {
            // two looks a second, as the missed come in
            (now, total) = (now + SECOND / 2, total + missed / 2);
            let first = trials.look(now, total, false);
            (now, total) = (now + SECOND / 2, total + missed - missed / 2);
            (first.or(trials.look(now, total, false)), now, total)
        };
        let mut at = (None, SECOND, 1000);
        for missed in before {
            at = pass(&mut trials, *missed);
            assert_eq!(at.0, None);
        }
        trials.begin(at.1, at.2, length * SECOND, ());
        for (second, missed) in (1..).zip(after) {
            if let (Some(verdict), ..) = pass(&mut trials, *missed) {
                assert_eq!((second, verdict), wanted, "{before:?} {after:?}");
                return;
            }
        }
        panic!("no verdict: {before:?} {after:?}");
    }

    #[test]
    fn a_configuration_that_misses_its_times_goes_and_a_computer_that_stood_still_is_not_its_fault() {
        let kept = Verdict::Kept;
        let missed = |missed, allowed| Verdict::Missed { missed, allowed, before: () };
        check(4, &[0; 4], &[0; 9], (4, kept(0)));
        check(4, &[0; 4], &[1, 1, 1, 0], (4, kept(3)));
        check(4, &[0; 4], &[2; 9], (3, missed(6, 3)));
        check(10, &[0; 60], &[50; 9], (3, missed(150, 3)));
        // once a second, every second: four of them are more than three
        check(10, &[0; 10], &[1; 10], (4, missed(4, 3)));
        // a stall, or two
        check(10, &[0; 10], &[40, 0, 0, 0, 60, 0, 0, 0, 0, 0], (10, kept(100)));
        // a computer that does it all the time: twice as much is allowed
        check(5, &[9, 9, 9, 9, 9], &[12, 12, 12, 12, 12], (5, kept(60)));
        check(5, &[9, 9, 9, 9, 9], &[50, 50, 50, 50, 50], (3, missed(150, 90)));
        // a stall before excuses as much again, not everything
        check(5, &[0, 0, 40, 0, 0], &[30, 30, 30, 30, 30], (3, missed(90, 80)));
        check(5, &[0, 0, 40, 0, 0], &[0, 70, 0, 0, 0], (5, kept(70)));
        // what is remembered is shorter than the trial; nothing is remembered
        check(10, &[4, 4], &[9; 10], (9, missed(81, 80)));
        check(10, &[], &[9; 10], (3, missed(27, 3)));
        // a trial of a second
        check(1, &[0; 4], &[5], (1, missed(5, 3)));
        check(1, &[0; 4], &[3], (1, kept(3)));
    }

    /// Looks come when they come: a short trial is judged by whole seconds all the same.
    #[test]
    fn a_short_trial_is_judged_whenever_one_looks() {
        for length in 1..=4 {
            for step in [3, 20, 37, 70, 100, 333, 999] {
                let mut trials = Trials::new(0, 0);
                trials.begin(0, 0, length * SECOND, ());
                // a hundred a second
                let mut looks = (1..).map(|look| look * step * SECOND / 1000);
                let verdict = looks.find_map(|now| trials.look(now, now / (SECOND / 100), false));
                assert!(matches!(verdict, Some(Verdict::Missed { .. })), "{length} s, {step} ms: {verdict:?}");
            }
        }
    }

    #[test]
    fn what_was_taken_back_is_no_measure_for_the_next() {
        let mut trials = Trials::new(0, 0);
        trials.begin(0, 0, 10 * SECOND, "first");
        let taken = (1..20).find_map(|second| trials.look(second * SECOND, second * 100, false));
        assert_eq!(taken, Some(Verdict::Missed { missed: 300, allowed: 3, before: "first" }));
        trials.went_back(4 * SECOND, 7);
        trials.begin(4 * SECOND, 7, 10 * SECOND, "second");
        let taken = (1..20).find_map(|second| trials.look((4 + second) * SECOND, 7 + second * 100, false));
        assert_eq!(taken, Some(Verdict::Missed { missed: 300, allowed: 3, before: "second" }));
        // no trial, no verdict
        trials.begin(9 * SECOND, 7, 0, "third");
        assert!((1..20).all(|second| trials.look((9 + second) * SECOND, second * 100, false).is_none()));
    }

    #[test]
    fn an_undecided_trial_goes_on() {
        let mut trials = Trials::new(0, 0);
        trials.begin(0, 0, 2 * SECOND, ());
        assert!((1..9).all(|second| trials.look(second * SECOND, second * 100, true).is_none()));
        assert_eq!(trials.look(9 * SECOND, 900, false), Some(Verdict::Missed { missed: 900, allowed: 3, before: () }));
    }
}
