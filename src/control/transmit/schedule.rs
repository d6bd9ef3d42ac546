//! When the frames of one message leave: cycles from absolute deadlines, frames at once, repetitions, the shortest gap.
//!
//! The words are those of the DBC attributes (see `dbc::SendType`) and of AUTOSAR COM's transmission modes: periodic,
//! direct with n repetitions, mixed, and the minimum delay between two frames. Whatever falls into the gap waits for its
//! end, in one frame, with the values of then; the cycle keeps its phase.

use crate::plan::Transmission;

/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// All moments are CLOCK_MONOTONIC nanoseconds, all times nanoseconds.
pub(super) struct Schedule {
    /// 0: not cyclic.
    period: u64,
    /// 0: there is no cycle while active.
    active_period: u64,
    last_frames: u32,
    fast_period: u64,
    repetitions: u32,
    delay: u64,
    /// The next cycle. It goes on, unseen, while another one is in force.
    cycle: u64,
    /// The next cycle while active, and of the last frames after that.
    active_cycle: u64,
    active: bool,
    /// Frames that are still to come after it became inactive.
    last: u32,
    /// The next repetition, and how many are left.
    repetition: u64,
    left: u32,
    /// When a frame leaves that the gap holds back.
    held: u64,
    /// No frame leaves before.
    free: u64,
}

/// A frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// For this moment of a cycle of this period.
    Cycle { moment: u64, period: u64 },
    /// Without a cycle, or later than it because of the gap.
    AtOnce,
}

impl Schedule {
    /// `start`: of the controller; `active`: with the start values.
    pub fn new(transmission: &Transmission, start: u64, active: bool) -> Schedule {
        let first = start.saturating_add(transmission.start_delay).saturating_add(transmission.stagger);
        let period = transmission.period.unwrap_or(0);
        let active_period = transmission.active.as_ref().map_or(0, |active| active.period);
        let active = active && active_period > 0;
        Schedule {
            period,
            active_period,
            last_frames: transmission.active.as_ref().map_or(0, |active| active.last_frames),
            fast_period: transmission.fast_period.unwrap_or(0),
            repetitions: transmission.repetitions,
            delay: transmission.delay,
            cycle: if period > 0 { first } else { NEVER },
            active_cycle: if active { first } else { NEVER },
            active,
            last: 0,
            repetition: NEVER,
            left: 0,
            held: NEVER,
            free: start.saturating_add(transmission.start_delay),
        }
    }

    /// Begins so much later. Before the first frame.
    pub fn shift(&mut self, by: u64) {
        for moment in [&mut self.cycle, &mut self.active_cycle, &mut self.free] {
            *moment = moment.saturating_add(by);
        }
    }

    /// When [`Schedule::timer`] is wanted next.
    pub fn next(&self) -> u64 {
        self.cycle.min(self.active_cycle).min(self.repetition).min(self.held)
    }

    /// A frame is to leave now, or as soon as the gap allows; whether it does now.
    pub fn at_once(&mut self, now: u64, repeated: bool) -> bool {
        let leaves = self.pass(now);
        if repeated && self.repetitions > 0 && self.fast_period > 0 {
            self.left = self.repetitions;
            // counted from the frame that is repeated
            self.repetition = now.max(if leaves { now } else { self.held }).saturating_add(self.fast_period);
        }
        leaves
    }

    /// The payload has changed, and with it perhaps whether the message is active; whether a frame leaves now.
    pub fn activity(&mut self, now: u64, active: bool) -> bool {
        if self.active_period == 0 || active == self.active {
            return false;
        }
        self.active = active;
        self.last = if active { 0 } else { self.last_frames.saturating_sub(1) };
        let goes_on = active || self.last > 0;
        self.active_cycle = if goes_on { now.saturating_add(self.active_period) } else { NEVER };
        self.pass(now)
    }

    /// What leaves now of what is due. A cycle that was missed is skipped, never made up for.
    pub fn timer(&mut self, now: u64) -> Option<Leave> {
        let mut leave = None;
        if self.repetition <= now {
            let missed = (now - self.repetition) / self.fast_period;
            let passed = u32::try_from(missed + 1).unwrap_or(u32::MAX).min(self.left);
            self.left -= passed;
            self.repetition = if self.left > 0 { self.repetition + self.fast_period * (missed + 1) } else { NEVER };
            leave = Some(Leave::AtOnce);
        }
        if self.held <= now {
            leave = Some(Leave::AtOnce);
        }
        let slow = self.active_cycle == NEVER;
        if self.cycle <= now {
            let moment = step(&mut self.cycle, self.period, now);
            if slow {
                leave = Some(Leave::Cycle { moment, period: self.period });
            }
        }
        if self.active_cycle <= now {
            let moment = step(&mut self.active_cycle, self.active_period, now);
            if !self.active {
                self.last = self.last.saturating_sub(1);
                if self.last == 0 {
                    self.active_cycle = NEVER;
                }
            }
            leave = Some(Leave::Cycle { moment, period: self.active_period });
        }
        leave.filter(|_| self.pass(now))
    }

    /// Whether the gap lets a frame pass now; otherwise it is held back.
    fn pass(&mut self, now: u64) -> bool {
        let passes = now >= self.free;
        if passes {
            self.free = now.saturating_add(self.delay);
            self.held = NEVER;
        } else {
            self.held = self.free;
        }
        passes
    }
}

/// The moment that has come, and the next one of its grid after now.
fn step(next: &mut u64, period: u64, now: u64) -> u64 {
    let moment = *next;
    *next = moment + period * ((now - moment) / period + 1);
    moment
}
