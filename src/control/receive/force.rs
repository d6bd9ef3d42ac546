//! Forces of received tags: what the machine says is kept beside, so that the end of a force shows it at once.

use crate::can::MAX_LEN;
use crate::plan::{Bits, Direction, Plan, TagIndex};
use crate::quality::Cause;
use crate::store::Record;
use crate::store::layout::FORCES;

/// What the last good frame had.
#[derive(Clone, Copy)]
pub(super) struct Real {
    pub length: usize,
    pub payload: [u8; MAX_LEN],
}

impl Real {
    const EMPTY: Real = Real { length: 0, payload: [0; MAX_LEN] };

    /// Of at most 64 bytes.
    pub fn of(bytes: &[u8]) -> Real {
        let mut real = Real { length: bytes.len(), payload: [0; MAX_LEN] };
        real.payload[..bytes.len()].copy_from_slice(bytes);
        real
    }

    /// Puts this, which has forces in it, in the place of what a record shows.
    pub fn show(&self, real: &Real, record: &mut Record) {
        (record.payload, record.length) = (self.payload, self.length);
        if self.length > real.length {
            // what a force has lengthened, the frame did not have
            record.causes = record.causes.with(Cause::NeverReceived);
        } else if record.count > 0 {
            record.causes = record.causes.without(Cause::NeverReceived);
        }
    }
}

/// The signals that are forced. Few, so that all are looked at, and only with messages that have one.
pub(super) struct Forces {
    forced: Vec<Forced>,
    /// A row for each group with a force, a place in it for each source.
    real: Box<[Real]>,
    sources: usize,
    /// The group whose row it is.
    rows: [Option<Group>; FORCES],
}

/// Message of the plan, and group in it.
type Group = (usize, usize);

struct Forced {
    tag: TagIndex,
    group: Group,
    bits: Bits,
    /// Bytes that a payload must have to hold the signal.
    length: usize,
}

impl Forces {
    pub fn new(plan: &Plan) -> Forces {
        let inputs = plan.messages.iter().filter(|message| matches!(message.direction, Direction::Input(_)));
        let sources = inputs.map(|message| message.sources).max().unwrap_or(0);
        let real = vec![Real::EMPTY; FORCES * sources].into_boxed_slice();
        Forces { forced: Vec::with_capacity(FORCES), real, sources, rows: [None; FORCES] }
    }

    /// Adds a force or changes it; `None` where there is no room. Where it is the first of its group, the real payloads
    /// are to be kept from now on.
    pub fn add(&mut self, tag: TagIndex, group: Group, bits: Bits, length: usize) -> Option<First> {
        if let Some(known) = self.forced.iter_mut().find(|forced| forced.tag == tag) {
            known.bits = bits;
            return Some(First { of_tag: false, of_group: false });
        }
        if self.forced.len() == FORCES {
            return None;
        }
        let first = self.row(group).is_none();
        if first {
            *self.rows.iter_mut().find(|row| row.is_none())? = Some(group);
        }
        self.forced.push(Forced { tag, group, bits, length });
        Some(First { of_tag: true, of_group: first })
    }

    /// Goes on with a force of the plan before, and with the real payloads of its group.
    pub fn adopt(&mut self, force: (TagIndex, Group), old: &mut Forces, was: (TagIndex, Group)) {
        let Some(known) = old.forced.iter().find(|forced| forced.tag == was.0) else { return };
        let (bits, length) = (known.bits, known.length);
        if self.add(force.0, force.1, bits, length).is_none_or(|first| !first.of_group) {
            return;
        }
        for slot in 0..self.sources.min(old.sources) {
            if let (Some(real), Some(before)) = (self.real(force.1, slot), old.real(was.1, slot)) {
                *real = *before;
            }
        }
    }

    /// Whether it was forced.
    pub fn remove(&mut self, tag: TagIndex) -> bool {
        let Some(at) = self.forced.iter().position(|forced| forced.tag == tag) else { return false };
        self.forced.swap_remove(at);
        true
    }

    /// Gives the row of a group back where no force of it is left; whether that was so.
    pub fn tidy(&mut self, group: Group) -> bool {
        let over = self.forced.iter().all(|forced| forced.group != group);
        if over && let Some(row) = self.row(group) {
            self.rows[row] = None;
        }
        over
    }

    /// Where the real payload of a group is kept; `None` where it has no force.
    pub fn real(&mut self, group: Group, slot: usize) -> Option<&mut Real> {
        let row = self.row(group)?;
        self.real.get_mut(row * self.sources + slot)
    }

    /// The real payload with the forces of the group in it.
    pub fn apply(&self, group: Group, real: &Real) -> Real {
        let mut shown = *real;
        for forced in self.forced.iter().filter(|forced| forced.group == group) {
            forced.bits.apply(&mut shown.payload);
            shown.length = shown.length.max(forced.length);
        }
        shown
    }

    fn row(&self, group: Group) -> Option<usize> {
        self.rows.iter().position(|row| *row == Some(group))
    }
}

/// What had no force before.
pub(super) struct First {
    pub of_tag: bool,
    pub of_group: bool,
}
