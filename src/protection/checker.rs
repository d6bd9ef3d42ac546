//! The receiver's side: whether a frame of one message may be used, and what is wrong with it.

use super::guard::Guard;
use super::sequence::Sequence;
use super::state::{Check, Machine};
use super::{Protection, Scheme, State};
use crate::can::FrameId;
use crate::quality::Cause;

/// Checks the received frames of one message from one sender.
#[derive(Clone, Debug)]
pub struct Checker {
    guard: Guard,
    sequence: Sequence,
    /// E2E profiles only.
    machine: Option<Machine>,
    /// What the last bad frame had; until one may be used again.
    cause: Option<Cause>,
}

/// What a frame, or its absence, is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub status: Status,
    /// Of an E2E profile.
    pub state: Option<State>,
    usable: bool,
    cause: Option<Cause>,
}

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Checksum right, counter one more.
    Good,
    /// As `Good`, but so many frames before it are missing, no more than allowed.
    Lost(u8),
    /// The first frame: nothing to compare its counter with.
    Initial,
    /// Profiles 1 and 2: right again after a fault of the counter (SYNC).
    Synchronizing,
    /// The counter of the frame before.
    Repeated,
    /// Further than allowed from the frame before, or a counter that does not exist.
    WrongCounter,
    /// Wrong checksum, or the data ID of another message.
    WrongChecksum,
    /// Too few bytes for counter and checksum.
    TooShort,
    /// No frame at all.
    NoNewData,
}

impl Verdict {
    /// Whether the frame's values may be used. Where not, what was there before it stays.
    pub fn usable(&self) -> bool {
        self.usable
    }

    /// What is wrong with the message from now on: the fault of the last bad frame, until a frame may be used again. Before
    /// any was bad there is none, although the first frames of an E2E profile can't be used yet.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }
}

impl Checker {
    /// The next frame is the first one.
    pub fn new(protection: &Protection) -> Checker {
        let guard = Guard::new(protection);
        let modulus = guard.counter.map_or(1, |(_, modulus)| modulus);
        let machine = match protection.scheme {
            Scheme::Plain { .. } | Scheme::Tsc1 => None,
            Scheme::Profile1 { .. }
            | Scheme::Profile2 { .. }
            | Scheme::Profile5 { .. }
            | Scheme::Profile11 { .. }
            | Scheme::Profile22 { .. } => Some(Machine::new(protection.state)),
        };
        Checker { sequence: Sequence::new(protection, modulus), guard, machine, cause: None }
    }

    /// A frame has arrived.
    pub fn check(&mut self, id: FrameId, payload: &[u8]) -> Verdict {
        self.sequence.begin();
        let status = self.status(id, payload);
        let impossible = status.is_none();
        self.judge(status.unwrap_or(Status::WrongCounter), impossible)
    }

    /// A receive deadline has passed without a frame; once for each.
    pub fn missed(&mut self) -> Verdict {
        self.sequence.begin();
        self.sequence.nothing();
        self.judge(Status::NoNewData, false)
    }

    /// Forgets all that was received, as after an interruption that the sender has nothing to do with.
    pub fn reset(&mut self) {
        self.sequence.reset();
        self.cause = None;
        if let Some(machine) = &mut self.machine {
            machine.reset();
        }
    }

    /// Of an E2E profile.
    pub fn state(&self) -> Option<State> {
        self.machine.as_ref().map(|machine| machine.state)
    }

    /// `None`: a counter that does not exist, like 15 in profile 1.
    fn status(&mut self, id: FrameId, payload: &[u8]) -> Option<Status> {
        let Some(data) = self.guard.data(payload) else { return Some(Status::TooShort) };
        if !self.guard.is_right(id, data) {
            return Some(Status::WrongChecksum);
        }
        let Some((received, (_, modulus))) = self.guard.received(data).zip(self.guard.counter) else {
            return Some(Status::Good);
        };
        (received < modulus).then(|| self.sequence.next(received))
    }

    /// `impossible`: the counter does not exist.
    fn judge(&mut self, status: Status, impossible: bool) -> Verdict {
        // E2E_P01MapStatusToSM and its like, profileBehavior TRUE (R4.2 and later)
        let (check, cause) = match status {
            Status::Good | Status::Lost(_) | Status::Synchronizing => (Check::Ok, None),
            Status::Initial => (Check::Counter, None),
            Status::WrongCounter if impossible => (Check::Error, Some(Cause::Counter)),
            Status::Repeated | Status::WrongCounter => (Check::Counter, Some(Cause::Counter)),
            Status::WrongChecksum | Status::TooShort => (Check::Error, Some(Cause::Checksum)),
            Status::NoNewData => (Check::NoNewData, None),
        };
        let state = self.machine.as_mut().map(|machine| machine.check(check));
        let right = match self.machine {
            Some(_) => check == Check::Ok,
            None => cause.is_none() && status != Status::NoNewData,
        };
        let usable = right && state.is_none_or(|state| state == State::Valid);
        self.cause = if usable { None } else { cause.or(self.cause) };
        Verdict { status, state, usable, cause: self.cause }
    }
}
