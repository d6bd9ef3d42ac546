//! The receiver's counter: what a step from the last frame's counter to this one's means.

use super::{Protection, Resync, Scheme, Status};

/// After which rules the counter is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Ours, for schemes without a specification: what was received is followed; a gap that was noticed as such starts anew.
    Plain,
    /// Profiles 5, 11 and 22: what was received is followed.
    Follow,
    /// Profiles 1 and 2: the step that is allowed grows with each check that brought nothing.
    Resync(Resync),
}

#[derive(Clone, Debug)]
pub struct Sequence {
    rule: Rule,
    /// The counter goes from 0 to one below.
    modulus: u64,
    max_delta_init: u8,
    /// The counter of the last frame; `None`: the next is the first.
    last: Option<u64>,
    /// State->MaxDeltaCounter of profiles 1 and 2.
    max_delta: u8,
    /// State->NoNewOrRepeatedDataCounter.
    no_new_or_repeated: u8,
    /// State->SyncCounter.
    sync: u8,
}

impl Sequence {
    pub fn new(protection: &Protection, modulus: u64) -> Sequence {
        let rule = match &protection.scheme {
            Scheme::Plain { .. } | Scheme::Tsc1 => Rule::Plain,
            Scheme::Profile5 { .. } | Scheme::Profile11 { .. } | Scheme::Profile22 { .. } => Rule::Follow,
            Scheme::Profile1 { resync, .. } | Scheme::Profile2 { resync, .. } => Rule::Resync(*resync),
        };
        let max_delta = protection.max_delta;
        Sequence { rule, modulus, max_delta_init: max_delta, last: None, max_delta, no_new_or_repeated: 0, sync: 0 }
    }

    /// Starts over: the next frame is the first.
    pub fn reset(&mut self) {
        self.last = None;
        self.max_delta = self.max_delta_init;
        self.no_new_or_repeated = 0;
        self.sync = 0;
    }

    /// A check begins, whatever it finds: after this one more frame may have been lost (PRS, E2E_P01Check and E2E_P02Check).
    pub fn begin(&mut self) {
        if let Rule::Resync(_) = self.rule {
            self.max_delta = self.max_delta.saturating_add(1).min(self.largest());
        }
    }

    /// Nothing was received.
    pub fn nothing(&mut self) {
        match self.rule {
            Rule::Plain => self.last = None,
            Rule::Follow => {}
            Rule::Resync(_) => self.count_no_new_or_repeated(),
        }
    }

    /// A frame with a right checksum and this counter, which is below the modulus.
    pub fn next(&mut self, received: u64) -> Status {
        let Some(last) = self.last else {
            self.last = Some(received);
            self.max_delta = self.max_delta_init;
            return self.first(received);
        };
        let delta = (received + self.modulus - last) % self.modulus;
        let resync = match self.rule {
            Rule::Plain | Rule::Follow => {
                self.last = Some(received);
                return step(delta, self.max_delta_init);
            }
            Rule::Resync(resync) => resync,
        };
        let status = step(delta, self.max_delta);
        match status {
            Status::Repeated => self.count_no_new_or_repeated(),
            Status::Good | Status::Lost(_) => {
                self.max_delta = self.max_delta_init;
                self.last = Some(received);
                let too_many = self.no_new_or_repeated > resync.max_no_new_or_repeated;
                self.no_new_or_repeated = 0;
                if too_many {
                    self.sync = resync.sync_counter;
                    return Status::Synchronizing;
                } else if self.sync > 0 {
                    self.sync -= 1;
                    return Status::Synchronizing;
                }
            }
            _ => {
                self.no_new_or_repeated = 0;
                self.sync = resync.sync_counter;
                if resync.sync_counter > 0 {
                    self.max_delta = self.max_delta_init;
                    self.last = Some(received);
                }
            }
        }
        status
    }

    /// The first frame. Profiles 5, 11 and 22 have no word for it: they compare it with a counter that starts one before 0
    /// (E2E_P05CheckInit and its like), and call it out of sequence or not.
    fn first(&self, received: u64) -> Status {
        match self.rule {
            Rule::Plain | Rule::Resync(_) => Status::Initial,
            Rule::Follow => match step((received + 1) % self.modulus, self.max_delta_init) {
                good @ (Status::Good | Status::Lost(_)) => good,
                _ => Status::Initial,
            },
        }
    }

    fn count_no_new_or_repeated(&mut self) {
        self.no_new_or_repeated = self.no_new_or_repeated.saturating_add(1).min(self.largest());
    }

    /// 14 for profile 1, 15 for profile 2: what the specification's counters of counters stop at.
    fn largest(&self) -> u8 {
        u8::try_from(self.modulus - 1).unwrap_or(u8::MAX)
    }
}

fn step(delta: u64, max_delta: u8) -> Status {
    match delta {
        0 => Status::Repeated,
        1 => Status::Good,
        _ if delta <= max_delta.into() => Status::Lost((delta - 1) as u8),
        _ => Status::WrongCounter,
    }
}
