//! When a bus that is off is restarted: pauses, and at most so many within an hour.

use std::collections::VecDeque;

use crate::plan::{Restart, RestartPolicy};

const HOUR: u64 = 3_600_000_000_000;

/// What is remembered of the restarts of one bus. All times are CLOCK_MONOTONIC, nanoseconds.
pub struct Restarts {
    rule: Restart,
    /// Restarts asked for, one after the other, without a long stay on the bus between them.
    in_a_row: u32,
    /// When restarts were asked for, within the last hour.
    asked: VecDeque<u64>,
}

impl Restarts {
    pub fn new(rule: Restart) -> Restarts {
        Restarts { rule, in_a_row: 0, asked: VecDeque::with_capacity(rule.per_hour as usize) }
    }

    /// Remembers what was before, as far as its own rule asks; whether the rule is the same.
    pub fn adopt(&mut self, before: &Restarts) -> bool {
        self.in_a_row = before.in_a_row;
        let most = self.rule.per_hour as usize;
        self.asked.extend(before.asked.iter().skip(before.asked.len().saturating_sub(most)));
        self.rule == before.rule
    }

    pub fn quarantine(&self) -> u64 {
        self.rule.quarantine
    }

    /// The bus has gone off after a stay of so many nanoseconds: one as long as the longest pause begins the row anew.
    pub fn off_after(&mut self, stay: u64) {
        let longest = match self.rule.policy {
            RestartPolicy::Off | RestartPolicy::ByHand => 0,
            RestartPolicy::Fixed(pause) => pause,
            RestartPolicy::Growing(first, most) => first.max(most),
        };
        if stay >= longest {
            self.in_a_row = 0;
        }
    }

    /// When a restart is to be asked for, of a bus that is off now; `u64::MAX`: not by itself.
    pub fn next(&self, now: u64) -> u64 {
        let pause = match self.rule.policy {
            RestartPolicy::Off | RestartPolicy::ByHand => return u64::MAX,
            RestartPolicy::Fixed(pause) => pause,
            RestartPolicy::Growing(first, most) => {
                let times = 1_u64.checked_shl(self.in_a_row).unwrap_or(u64::MAX);
                first.saturating_mul(times).min(first.max(most))
            }
        };
        now.saturating_add(pause)
    }

    /// Asks for a restart now; false where there were as many within the hour as there may be.
    pub fn ask(&mut self, now: u64) -> bool {
        while self.asked.front().is_some_and(|asked| now - asked >= HOUR) {
            self.asked.pop_front();
        }
        let room = self.asked.len() < self.rule.per_hour as usize;
        if room {
            self.asked.push_back(now);
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
        room
    }

    /// One is asked for by command, whatever was before: everything begins anew.
    pub fn by_command(&mut self, now: u64) {
        self.asked.clear();
        self.in_a_row = 0;
        self.ask(now);
    }
}
