//! Our own messages: cycles from absolute deadlines, writes of the plant, what the store shows of them.

use std::sync::Arc;

use super::authority::{Authority, Composed};
use super::{Key, Now, Outgoing, Transmit};
use crate::can::{Frame, MAX_LEN};
use crate::command::Patch;
use crate::dbc;
use crate::plan::{Alarm, AlarmIndex, ContractIndex, Direction, Immediate, MessageIndex, Plan, Timed};
use crate::quality::Cause;
use crate::store::layout::Word;
use crate::store::{Record, Writer};

/// The alarm "a time was missed" ends so many nanoseconds after the last one.
const ALARM_TIME: u64 = 60_000_000_000;

pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// By message of the plan: index into `outputs`.
    by_message: Vec<Option<usize>>,
    /// Of the cycles.
    next_due: u64,
    /// By contract: nanoseconds.
    budgets: Box<[u64]>,
    overrun: Option<AlarmIndex>,
    /// When that alarm ends; `u64::MAX`: it is not active.
    overrun_ends: u64,
}

struct Output {
    /// In the plan.
    index: usize,
    bus: usize,
    /// Nanoseconds that a frame may wait.
    stale: u64,
    contract: Option<ContractIndex>,
    message: Arc<dbc::Message>,
    first_record: usize,
    frame: Frame,
    /// The payload of the last frame that has left.
    carried: [u8; MAX_LEN],
    /// Nanoseconds; `None`: not cyclic.
    period: Option<u64>,
    /// CLOCK_MONOTONIC of the next cycle; `u64::MAX` for never.
    due: u64,
    sent: u64,
}

impl Outputs {
    pub fn new(plan: &Plan, start: Now) -> Outputs {
        let mut outputs = Vec::new();
        let mut by_message = Vec::with_capacity(plan.messages.len());
        for (index, message) in plan.messages.iter().enumerate() {
            let Direction::Output(transmission) = &message.direction else {
                by_message.push(None);
                continue;
            };
            let dbc = &message.message;
            let bytes = &transmission.start[..transmission.length];
            let frame = if dbc.fd { Frame::fd(dbc.id, bytes) } else { Frame::classic(dbc.id, bytes) };
            // the configuration has refused lengths that no frame can have
            let Some(frame) = frame else {
                by_message.push(None);
                continue;
            };
            by_message.push(Some(outputs.len()));
            outputs.push(Output {
                index,
                bus: message.bus,
                stale: transmission.stale,
                contract: plan.contract(Timed::Cycle(index)),
                message: dbc.clone(),
                first_record: message.first_record,
                frame,
                carried: transmission.start,
                period: transmission.period.filter(|period| *period > 0),
                due: match transmission.period {
                    Some(period) if period > 0 => start.monotonic.saturating_add(transmission.start_delay),
                    _ => u64::MAX,
                },
                sent: 0,
            });
        }
        let next_due = outputs.iter().map(|o| o.due).min().unwrap_or(u64::MAX);
        Outputs {
            outputs,
            by_message,
            next_due,
            budgets: plan.contracts.iter().map(|contract| contract.budget).collect(),
            overrun: plan.alarm(Alarm::Overrun),
            overrun_ends: u64::MAX,
        }
    }

    /// Shows every output's present payload in the store.
    pub fn show_all(&mut self, now: Now, authority: &Authority, store: &mut Writer) {
        for output in &self.outputs {
            output.show(now, &authority.compose(output.index), store);
        }
    }

    /// Sends what is due. A cycle keeps its phase whatever happens: a missed one is skipped, never made up for.
    pub fn timer(&mut self, now: Now, authority: &Authority, store: &mut Writer, transmit: &mut Transmit) {
        if now.monotonic >= self.overrun_ends {
            self.overrun_ends = u64::MAX;
            if let Some(alarm) = self.overrun {
                store.alarm(alarm, false, 0, now.realtime);
            }
        }
        if now.monotonic < self.next_due {
            return;
        }
        let mut next = u64::MAX;
        for output in &mut self.outputs {
            if let Some(period) = output.period
                && output.due <= now.monotonic
            {
                let due = output.due;
                let late = now.monotonic - due;
                store.lateness(late);
                if late > period / 2 {
                    store.add(Word::Overruns, 1);
                }
                output.due += period * (late / period + 1);
                output.send(now, Some(due), &authority.compose(output.index), store, transmit);
            }
            next = next.min(output.due);
        }
        self.next_due = next;
    }

    /// A write of the plant was taken, and made a difference or not: the next frame carries it, or one at once.
    pub fn written(
        &mut self,
        now: Now,
        patch: &Patch,
        changed: bool,
        composed: &Composed,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        let Some(index) = self.by_message.get(patch.message).copied().flatten() else { return };
        let output = &mut self.outputs[index];
        store.add(Word::Writes, 1);
        output.show(now, composed, store);
        let at_once = match patch.immediate {
            Immediate::No => false,
            Immediate::OnChange => changed,
            Immediate::OnWrite => true,
        };
        if at_once {
            output.send(now, None, composed, store, transmit);
        }
    }

    /// Force, interlock or fallback have changed what a message carries. One without a cycle that has been sent is sent
    /// again: nothing else would tell the others.
    pub fn changed(
        &mut self,
        now: Now,
        message: MessageIndex,
        composed: &Composed,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        let Some(index) = self.by_message.get(message).copied().flatten() else { return };
        let output = &mut self.outputs[index];
        output.show(now, composed, store);
        if output.period.is_none() && output.sent > 0 && output.carried != composed.payload {
            output.send(now, None, composed, store, transmit);
        }
    }

    /// A frame of a message has left.
    pub fn sent(&mut self, message: MessageIndex, now: Now, composed: &Composed, store: &mut Writer) {
        let Some(output) = self.by_message[message].map(|index| &mut self.outputs[index]) else { return };
        output.sent += 1;
        output.carried = composed.payload;
        output.show(now, composed, store);
    }

    /// Records what a contract has taken, in nanoseconds.
    pub fn measured(&mut self, contract: ContractIndex, took: u64, now: Now, store: &mut Writer) {
        if store.contract(contract, took, self.budgets[contract], now.realtime) {
            if let Some(alarm) = self.overrun {
                store.alarm(alarm, true, contract as u64, now.realtime);
            }
            self.overrun_ends = now.monotonic.saturating_add(ALARM_TIME);
        }
    }

    pub fn next_due(&self) -> u64 {
        self.next_due.min(self.overrun_ends)
    }
}

impl Output {
    /// Gives a frame to the queue of its bus. `due`: the moment of the cycle.
    fn send(&mut self, now: Now, due: Option<u64>, composed: &Composed, store: &mut Writer, transmit: &mut Transmit) {
        // a cycle goes on while there is no bus; frames that nobody could get are not made
        if composed.send && transmit.is_open(self.bus) {
            let outgoing = Outgoing {
                frame: self.frame,
                key: Key::Message(self.index),
                stale: now.monotonic.saturating_add(self.stale),
                contract: self.contract.filter(|_| due.is_some()),
                began: due.unwrap_or(now.monotonic),
            };
            transmit.push(self.bus, &outgoing, now, store);
        }
    }

    /// The store shows what the next frame carries; the count is of frames that have left.
    fn show(&self, now: Now, composed: &Composed, store: &mut Writer) {
        let length = self.frame.len();
        for group in 0..self.message.groups.len() {
            let mut record = Record {
                causes: composed.causes,
                id_bits: self.frame.id.bits(),
                source_time: now.realtime,
                received: now.monotonic,
                count: self.sent,
                length,
                payload: composed.payload,
            };
            if !self.message.group_active(group, &composed.payload[..length]) {
                record.causes = record.causes.with(Cause::BranchNotSeen);
            }
            store.record(self.first_record + group, &record);
        }
    }
}
