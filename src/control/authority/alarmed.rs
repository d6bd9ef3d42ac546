//! Outputs that fall back when an alarm of the configuration is raised.

use std::ops::Range;

use super::Authority;
use crate::control::Now;
use crate::plan::{AlarmIndex, Direction, Plan};
use crate::store::Writer;
use crate::store::layout::Latch;

/// Which outputs hang on which alarms, and which of these last.
pub(super) struct Alarmed {
    ties: Box<[Tie]>,
    /// By alarm of the plan: its ties.
    of: Box<[Box<[usize]>]>,
}

struct Tie {
    alarm: AlarmIndex,
    output: usize,
    /// Bits of the alarm's state that count.
    state: u8,
    lasts: bool,
    /// It has been told since the start whether the alarm lasts: until then nothing arms by itself.
    told: bool,
}

impl Alarmed {
    pub fn new(plan: &Plan) -> Alarmed {
        let (mut ties, mut of) = (Vec::new(), vec![Vec::new(); plan.alarms.len()]);
        let outputs = plan.messages.iter().filter_map(|message| match &message.direction {
            Direction::Output(transmission) => Some(transmission),
            Direction::Input(_) => None,
        });
        for (output, transmission) in outputs.enumerate() {
            for on in &transmission.fallback_on {
                let Some(alarm) = plan.alarm(on.alarm) else { continue };
                of[alarm].push(ties.len());
                ties.push(Tie { alarm, output, state: on.state, lasts: false, told: false });
            }
        }
        Alarmed { ties: ties.into(), of: of.into_iter().map(Vec::into_boxed_slice).collect() }
    }

    /// An alarm that lasts, and on which one of these outputs hangs.
    pub fn lasting(&self, outputs: Range<usize>) -> Option<AlarmIndex> {
        self.ties.iter().find(|tie| tie.lasts && outputs.contains(&tie.output)).map(|tie| tie.alarm)
    }

    /// Whether it is known that none lasts on which this output hangs.
    pub fn none_lasts(&self, output: usize) -> bool {
        self.ties.iter().all(|tie| tie.output != output || (tie.told && !tie.lasts))
    }

    /// Whether of some alarm on which an output hangs nobody knows yet whether it lasts.
    pub fn untold(&self) -> bool {
        self.ties.iter().any(|tie| !tie.told)
    }
}

impl Authority {
    /// Takes from the store, which has adopted, what lasts: before anything is armed.
    pub(super) fn adopt_alarmed(&mut self, now: Now, store: &mut Writer) {
        for at in 0..self.alarmed.ties.len() {
            let tie = &mut self.alarmed.ties[at];
            tie.lasts = tie.state & store.alarm_now(tie.alarm) != 0;
            let (output, lasts) = (tie.output, tie.lasts);
            if lasts {
                // a tie that this plan has made, or one that has latched already
                self.latch(now, output, Latch::Alarm, store);
            }
        }
    }

    /// Its value was good for the first time, and nothing of it waits for its delay to be raised.
    pub fn alarm_told(&mut self, now: Now, alarm: AlarmIndex, store: &mut Writer) {
        for at in 0..self.alarmed.of[alarm].len() {
            self.alarmed.ties[self.alarmed.of[alarm][at]].told = true;
        }
        self.arm_by_itself(now, store);
    }

    /// An alarm of the configuration has this state now: what hangs on it falls back when it is raised, and is not armed while
    /// it lasts.
    pub fn alarmed(&mut self, now: Now, alarm: AlarmIndex, state: u8, store: &mut Writer) {
        let mut ended = false;
        for at in 0..self.alarmed.of[alarm].len() {
            let tie = &mut self.alarmed.ties[self.alarmed.of[alarm][at]];
            let (output, lasts) = (tie.output, tie.state & state != 0);
            let before = std::mem::replace(&mut tie.lasts, lasts);
            ended |= before && !lasts;
            if lasts && !before {
                self.latch(now, output, Latch::Alarm, store);
            }
        }
        if ended {
            self.arm_by_itself(now, store);
        }
    }
}
