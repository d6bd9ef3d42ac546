//! Keeps what others can provoke from filling the log: one line a second for each kind, with the number left out.

use crate::store::clock;

/// Nanoseconds between two lines.
const INTERVAL: u64 = 1_000_000_000;

/// One kind of line.
#[derive(Debug, Default)]
pub struct Limiter {
    next: u64,
    left_out: u64,
}

impl Limiter {
    /// How many lines were left out since the last one, where a line may be written now; else counts this one.
    pub fn pass(&mut self) -> Option<u64> {
        self.pass_at(clock::monotonic())
    }

    fn pass_at(&mut self, now: u64) -> Option<u64> {
        if now < self.next {
            self.left_out += 1;
            return None;
        }
        self.next = now + INTERVAL;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second() {
        let mut limiter = Limiter::default();
        let mut check = |now, passed| assert_eq!(limiter.pass_at(now), passed, "at {now}");
        check(5, Some(0));
        check(6, None);
        check(INTERVAL + 4, None);
        check(INTERVAL + 5, Some(2));
        check(INTERVAL + 6, None);
        check(9 * INTERVAL, Some(1));
    }
}
