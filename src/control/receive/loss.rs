//! Frames that were lost on the way to us: which records may lack one.
//!
//! A loss costs one addition: it begins a new epoch of its bus, and each record has the epoch of its last good frame. The
//! records that are behind are marked by the timer, some at a time, so that neither a loss nor a burst of them keeps the
//! loop from its deadlines.

use crate::control::due::Due;
use crate::plan::Plan;

/// Records that are looked at in one step.
const STEP: usize = 64;
/// Nanoseconds from the beginning of one pass over the records of a bus to the next one.
const REST: u64 = 10_000_000;
/// Nanoseconds without a loss after which the alarm ends.
const QUIET: u64 = 60_000_000_000;
/// The epoch of what has nothing to lose: no good frame so far, or one of our own.
pub(super) const NOTHING: u32 = u32::MAX;

pub(super) struct Losses {
    buses: Box<[Bus]>,
    /// By bus: its pass, then the end of its alarm.
    due: Due,
}

struct Bus {
    epoch: u32,
    /// Of its messages.
    records: std::ops::Range<usize>,
    /// The next record to look at; the end: no pass is under way.
    at: usize,
    /// CLOCK_MONOTONIC nanoseconds: when the last pass began.
    began: u64,
    /// Something was lost during the pass.
    again: bool,
}

/// What is due.
pub(super) enum Task {
    /// Records to look at, those of one bus whose epoch is now this.
    Mark(std::ops::Range<usize>, u32),
    /// A minute without a loss.
    Quiet(usize),
}

impl Losses {
    pub fn new(plan: &Plan) -> Losses {
        let buses = plan.buses.iter().map(|bus| {
            let mut messages = plan.messages[bus.messages.clone()].iter();
            let first = messages.next().map_or(0, |message| message.first_record);
            let end = plan.messages[bus.messages.clone()].last();
            let end = end.map_or(first, |message| message.first_record + message.records());
            Bus { epoch: 0, records: first..end, at: end, began: 0, again: false }
        });
        Losses { buses: buses.collect(), due: Due::new(plan.buses.len() * 2) }
    }

    /// Goes on with a bus of the plan before. A pass over its records that was under way begins anew.
    pub fn adopt(&mut self, bus: usize, old: &Losses, at: usize, now: u64) {
        let (lost, before) = (&mut self.buses[bus], &old.buses[at]);
        (lost.epoch, lost.began) = (before.epoch, before.began);
        if before.at < before.records.end {
            lost.at = lost.records.start;
            self.due.set(bus * 2, now);
        }
        self.due.set(bus * 2 + 1, old.due.get(at * 2 + 1));
    }

    pub fn epoch(&self, bus: usize) -> u32 {
        self.buses[bus].epoch
    }

    /// Frames may have been lost before now. `alarm`: it is news that they were.
    pub fn lost(&mut self, now: u64, bus: usize, alarm: bool) {
        let lost = &mut self.buses[bus];
        lost.epoch = (lost.epoch + 1).min(NOTHING - 1);
        if lost.at < lost.records.end {
            lost.again = true;
        } else {
            // the first of a burst at once, the others together
            let begin = if lost.began == 0 { now } else { now.max(lost.began.saturating_add(REST)) };
            lost.at = lost.records.start;
            self.due.set(bus * 2, begin);
        }
        if alarm {
            self.due.set(bus * 2 + 1, now.saturating_add(QUIET));
        }
    }

    pub fn next(&self) -> u64 {
        self.due.next()
    }

    pub fn take(&mut self, now: u64) -> Option<Task> {
        let (item, _) = self.due.take(now)?;
        if item % 2 == 1 {
            return Some(Task::Quiet(item / 2));
        }
        let lost = &mut self.buses[item / 2];
        if lost.at == lost.records.start {
            lost.began = now;
            lost.again = false;
        }
        let step = lost.at..(lost.at + STEP).min(lost.records.end);
        lost.at = step.end;
        if lost.at < lost.records.end {
            // the next turn of the loop
            self.due.set(item, now + 1);
        } else if lost.again {
            lost.at = lost.records.start;
            self.due.set(item, now.saturating_add(REST));
        }
        Some(Task::Mark(step, lost.epoch))
    }
}
