//! Our own messages: cycles from absolute deadlines, writes of the plant, what the store shows of them.

use std::sync::Arc;

use super::life::Life;
use super::{Key, Now, Outgoing, Transmit};
use crate::can::{Frame, MAX_LEN};
use crate::command::Patch;
use crate::dbc;
use crate::plan::{Direction, Immediate, Plan};
use crate::quality::{Cause, Causes};
use crate::store::layout::{BusWord, Word};
use crate::store::{Record, Writer};

pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// By message of the plan: index into `outputs`.
    by_message: Vec<Option<usize>>,
    next_due: u64,
}

struct Output {
    /// In the plan.
    index: usize,
    bus: usize,
    /// Nanoseconds that a frame may wait.
    stale: u64,
    message: Arc<dbc::Message>,
    first_record: usize,
    frame: Frame,
    payload: [u8; MAX_LEN],
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
                message: dbc.clone(),
                first_record: message.first_record,
                frame,
                payload: transmission.start,
                period: transmission.period.filter(|period| *period > 0),
                due: match transmission.period {
                    Some(period) if period > 0 => start.monotonic.saturating_add(transmission.start_delay),
                    _ => u64::MAX,
                },
                sent: 0,
            });
        }
        let next_due = outputs.iter().map(|o| o.due).min().unwrap_or(u64::MAX);
        Outputs { outputs, by_message, next_due }
    }

    /// Shows every output's present payload in the store.
    pub fn show_all(&mut self, now: Now, store: &mut Writer) {
        for output in &self.outputs {
            output.show(now, store);
        }
    }

    /// Sends what is due. A cycle keeps its phase whatever happens: a missed one is skipped, never made up for.
    pub fn timer(&mut self, now: Now, life: &Life, store: &mut Writer, transmit: &mut Transmit) {
        if now.monotonic < self.next_due {
            return;
        }
        let mut next = u64::MAX;
        for output in &mut self.outputs {
            if let Some(period) = output.period
                && output.due <= now.monotonic
            {
                let late = now.monotonic - output.due;
                store.lateness(late);
                if late > period / 2 {
                    store.add(Word::Overruns, 1);
                }
                output.due += period * (late / period + 1);
                output.send(now, life, store, transmit);
            }
            next = next.min(output.due);
        }
        self.next_due = next;
    }

    /// A write of the plant: the next frame carries it, or one at once.
    pub fn patch(&mut self, now: Now, patch: &Patch, life: &Life, store: &mut Writer, transmit: &mut Transmit) {
        let Some(index) = self.by_message.get(patch.message).copied().flatten() else { return };
        let output = &mut self.outputs[index];
        let changed = patch.bits.apply(&mut output.payload);
        store.add(Word::Writes, 1);
        let at_once = match patch.immediate {
            Immediate::No => false,
            Immediate::OnChange => changed,
            Immediate::OnWrite => true,
        };
        if at_once {
            output.send(now, life, store, transmit);
        } else {
            output.show(now, store);
        }
    }

    pub fn next_due(&self) -> u64 {
        self.next_due
    }
}

impl Output {
    fn send(&mut self, now: Now, life: &Life, store: &mut Writer, transmit: &mut Transmit) {
        if life.can_send(self.bus, now.monotonic) {
            let length = self.frame.len();
            self.frame.payload_mut().copy_from_slice(&self.payload[..length]);
            let outgoing = Outgoing {
                frame: self.frame,
                key: Key::Message(self.index),
                stale: now.monotonic.saturating_add(self.stale),
                contract: None,
                since: now.realtime,
            };
            if transmit.push(self.bus, &outgoing) {
                self.sent += 1;
            } else {
                store.add_bus(self.bus, BusWord::TransmitDropped, 1);
            }
        }
        self.show(now, store);
    }

    /// The store shows what the next frame carries; the count is of frames handed out.
    fn show(&self, now: Now, store: &mut Writer) {
        let length = self.frame.len();
        for group in 0..self.message.groups.len() {
            let mut record = Record {
                causes: Causes::NONE,
                id_bits: self.frame.id.bits(),
                source_time: now.realtime,
                received: now.monotonic,
                count: self.sent,
                length,
                payload: self.payload,
            };
            if !self.message.group_active(group, &self.payload[..length]) {
                record.causes = Causes::of(Cause::BranchNotSeen);
            }
            store.record(self.first_record + group, &record);
        }
    }
}
