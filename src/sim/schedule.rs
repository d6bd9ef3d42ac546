//! When each of a fixed set of cyclic jobs is due next; constant memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::MAX_BEHIND;

/// Cyclic jobs, numbered from 0. Of jobs due at the same time the lowest number comes first.
#[derive(Debug)]
pub struct Schedule {
    /// Time since the origin and number of each job; as many entries as jobs, always.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    /// Nanoseconds, never 0.
    periods: Vec<u64>,
    /// The time of the first call.
    origin: Option<u64>,
}

impl Schedule {
    /// `jobs`: period and time of the first run after the start, in nanoseconds.
    pub fn new(jobs: impl IntoIterator<Item = (u64, u64)>) -> Schedule {
        let (mut due, mut periods) = (Vec::new(), Vec::new());
        for (job, (period, first)) in jobs.into_iter().enumerate() {
            due.push(Reverse((first, job)));
            periods.push(period.max(1));
        }
        Schedule { due: due.into(), periods, origin: None }
    }

    /// Absolute time of the next job: 0 before the first call of [`Schedule::pop`], `u64::MAX` without jobs.
    pub fn next_due(&self) -> u64 {
        match (self.origin, self.due.peek()) {
            (_, None) => u64::MAX,
            (None, Some(_)) => 0,
            (Some(origin), Some(Reverse((due, _)))) => origin.saturating_add(*due),
        }
    }

    /// The next job that is due at `now`, if any, which is thereby due again one period later. Call it until it
    /// answers `None`. Runs missed by more than [`MAX_BEHIND`] are left out in whole periods: the phase stays.
    pub fn pop(&mut self, now: u64) -> Option<usize> {
        let origin = *self.origin.get_or_insert(now);
        let now = now.saturating_sub(origin);
        let mut top = self.due.peek_mut()?;
        let Reverse((due, job)) = *top;
        if due > now {
            return None;
        }
        let period = self.periods.get(job).copied().unwrap_or(1);
        let missed = (now - due).saturating_sub(MAX_BEHIND).div_ceil(period);
        *top = Reverse((due.saturating_add(period.saturating_mul(missed + 1)), job));
        // letting go of it puts it at its new place
        drop(top);
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn check(jobs: &[(u64, u64)], calls: &[(u64, &[usize])]) {
        let mut schedule = Schedule::new(jobs.iter().copied());
        for &(now, expected) in calls {
            let ran: Vec<usize> = std::iter::from_fn(|| schedule.pop(now)).collect();
            assert_eq!(ran, expected, "at {now}");
        }
    }

    #[test]
    fn runs_in_order_of_time_then_number() {
        check(&[(10, 0), (5, 5), (10, 5)], &[(1000, &[0]), (1004, &[]), (1005, &[1, 2]), (1010, &[0, 1]), (1011, &[])]);
    }

    #[test]
    fn a_short_delay_is_made_up_for_and_a_long_one_is_left_out() {
        let ten = 10 * MS;
        check(&[(ten, 0)], &[(7, &[0]), (7 + 3 * ten, &[0, 0, 0])]);
        // after a second: once for what was due, then from 910 to 1000 ms; the phase stays
        let mut schedule = Schedule::new([(ten, 0)]);
        assert_eq!(schedule.pop(7), Some(0));
        let runs = std::iter::from_fn(|| schedule.pop(7 + 1000 * MS)).count();
        assert_eq!(runs, 11);
        assert_eq!(schedule.next_due(), 7 + 1010 * MS);
    }

    #[test]
    fn nothing_to_do_is_never_due() {
        assert_eq!(Schedule::new([]).next_due(), u64::MAX);
        assert_eq!(Schedule::new([(1, 0)]).next_due(), 0);
    }
}
