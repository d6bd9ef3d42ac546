//! Our own messages: what sends them, their counters and checksums, what the store shows of them, and their times.

mod schedule;

use std::sync::Arc;

use super::authority::{Authority, Composed};
use super::due::Due;
use super::{Key, Now, Outgoing, Transmit};
use crate::can::{Frame, MAX_LEN};
use crate::dbc;
use crate::plan::{
    Alarm, AlarmIndex, Bits, ContractIndex, Direction, Immediate, MessageIndex, Plan, Succession, Timed, Transmission,
};
use crate::protection::Protector;
use crate::quality::Cause;
use crate::store::layout::Word;
use crate::store::{Record, Writer};
use schedule::{Leave, Schedule};

/// The alarm "a time was missed" ends so many nanoseconds after the last one.
const ALARM_TIME: u64 = 60_000_000_000;

pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// By message of the plan: index into `outputs`.
    by_message: Vec<Option<usize>>,
    /// By output: [`Schedule::next`].
    due: Due,
    /// By contract: nanoseconds.
    budgets: Box<[u64]>,
    overrun: Option<AlarmIndex>,
    /// When that alarm ends; `u64::MAX`: it is not active.
    overrun_ends: u64,
    /// Which contract it is about: its detail. `None`: one that the plan does not have any more.
    overran: Option<ContractIndex>,
    /// Messages that may say something else, and whether each is among them.
    touched: Vec<MessageIndex>,
    is_touched: Box<[bool]>,
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
    /// What the last frame that has left carried, without counter and checksum.
    carried: [u8; MAX_LEN],
    schedule: Schedule,
    /// It is never sent by a cycle.
    spontaneous: bool,
    /// For each group with inactive values: these.
    inactive: Box<[(usize, Bits)]>,
    protector: Option<Protector>,
    /// For each link to it: its contract, and the stamp of the value that has not left yet (CLOCK_MONOTONIC nanoseconds;
    /// `u64::MAX`: none).
    links: Box<[(ContractIndex, u64)]>,
    sent: u64,
}

/// What a write or a link has done to a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub message: MessageIndex,
    /// It carries another value than before.
    pub changed: bool,
    pub immediate: Immediate,
    /// The repetitions follow.
    pub repeated: bool,
    /// The contract of the link that did it, and the stamp of its source (CLOCK_MONOTONIC nanoseconds).
    pub link: Option<(ContractIndex, u64)>,
}

impl Outputs {
    pub fn new(plan: &Plan, start: Now) -> Outputs {
        let mut outputs = Vec::new();
        let mut by_message = Vec::with_capacity(plan.messages.len());
        for (index, message) in plan.messages.iter().enumerate() {
            let output = match &message.direction {
                Direction::Output(transmission) => Output::new(plan, index, transmission, start),
                Direction::Input(_) => None,
            };
            by_message.push(output.is_some().then_some(outputs.len()));
            outputs.extend(output);
        }
        let mut due = Due::new(outputs.len());
        outputs.iter().enumerate().for_each(|(index, output)| due.set(index, output.schedule.next()));
        Outputs {
            outputs,
            by_message,
            due,
            budgets: plan.contracts.iter().map(|contract| contract.budget).collect(),
            overrun: plan.alarm(Alarm::Overrun),
            overrun_ends: u64::MAX,
            overran: None,
            touched: Vec::with_capacity(plan.messages.len()),
            is_touched: vec![false; plan.messages.len()].into(),
        }
    }

    /// A message that may say something else than when it was last taken from here.
    pub fn take_touched(&mut self) -> Option<MessageIndex> {
        let message = self.touched.pop()?;
        self.is_touched[message] = false;
        Some(message)
    }

    fn touch(&mut self, message: MessageIndex) {
        if !std::mem::replace(&mut self.is_touched[message], true) {
            self.touched.push(message);
        }
    }

    /// Goes on with the messages that both plans have: those that are sent as before keep their phase, the others begin
    /// now. `start`: the moment that this was made for. `store` has the alarms already.
    pub fn adopt(&mut self, old: &mut Outputs, succession: &Succession, (start, now): (Now, Now), store: &mut Writer) {
        for index in 0..self.outputs.len() {
            let output = &mut self.outputs[index];
            let heir = succession.messages[output.index].and_then(|message| old.by_message[message]);
            let before = heir.map(|at| &mut old.outputs[at]);
            if let Some(before) = before {
                output.sent = before.sent;
                if succession.protection[output.index] {
                    // the receivers go on counting
                    std::mem::swap(&mut output.protector, &mut before.protector);
                }
                if succession.continues[output.index] {
                    output.carried = before.carried;
                    std::mem::swap(&mut output.schedule, &mut before.schedule);
                    for (contract, waiting) in &mut output.links {
                        let was = |known: &&(ContractIndex, u64)| succession.contracts[*contract] == Some(known.0);
                        *waiting = before.links.iter().find(was).map_or(u64::MAX, |(_, waiting)| *waiting);
                    }
                    self.due.set(index, self.outputs[index].schedule.next());
                    continue;
                }
            }
            output.schedule.shift(now.monotonic.saturating_sub(start.monotonic));
            self.due.set(index, output.schedule.next());
        }
        self.overrun_ends = old.overrun_ends;
        self.overran = old.overran.and_then(|contract| succession.contract_after[contract]);
        if let Some(alarm) = self.overrun.filter(|_| self.overrun_ends != u64::MAX) {
            store.alarm(alarm, true, self.overran.map_or(u64::MAX, |contract| contract as u64), now.realtime);
        }
    }

    /// Says once more what a message carries, which will not be sent any more; where it was sent before.
    pub fn farewell(
        &mut self,
        now: Now,
        message: MessageIndex,
        composed: &Composed,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        let Some(index) = self.by_message.get(message).copied().flatten() else { return };
        let output = &mut self.outputs[index];
        if output.sent > 0 {
            output.send(now, Leave::AtOnce, composed, store, transmit);
        }
    }

    /// Shows a message's present payload in the store.
    pub fn show(&mut self, now: Now, message: MessageIndex, composed: &Composed, store: &mut Writer) {
        if let Some(index) = self.by_message.get(message).copied().flatten() {
            self.outputs[index].show(now, composed, store);
            self.touch(message);
        }
    }

    /// Shows every output's present payload in the store.
    pub fn show_all(&mut self, now: Now, authority: &Authority, store: &mut Writer) {
        for at in 0..self.outputs.len() {
            let message = self.outputs[at].index;
            self.outputs[at].show(now, &authority.compose(message), store);
            self.touch(message);
        }
    }

    /// Sends what is due.
    pub fn timer(&mut self, now: Now, authority: &Authority, store: &mut Writer, transmit: &mut Transmit) {
        if now.monotonic >= self.overrun_ends {
            self.overrun_ends = u64::MAX;
            if let Some(alarm) = self.overrun {
                store.alarm(alarm, false, 0, now.realtime);
            }
        }
        while let Some((index, _)) = self.due.take(now.monotonic) {
            let output = &mut self.outputs[index];
            let leave = output.schedule.timer(now.monotonic);
            self.due.set(index, output.schedule.next());
            let Some(leave) = leave else { continue };
            if let Leave::Cycle { moment, period } = leave {
                let late = now.monotonic - moment;
                store.lateness(late);
                if late > period / 2 {
                    store.add(Word::Overruns, 1);
                }
            }
            output.send(now, leave, &authority.compose(output.index), store, transmit);
        }
    }

    /// A write of the plant or a link was taken: the next frame carries it, or one at once.
    pub fn written(
        &mut self,
        now: Now,
        written: Written,
        composed: &Composed,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        let Some(index) = self.by_message.get(written.message).copied().flatten() else { return };
        self.touch(written.message);
        let output = &mut self.outputs[index];
        if let (Some((contract, stamp)), true) = (written.link, written.changed) {
            let known = output.links.iter_mut().find(|(known, _)| *known == contract);
            // the oldest value that waits counts
            known.into_iter().for_each(|(_, waiting)| *waiting = stamp.min(*waiting));
        }
        let at_once = match written.immediate {
            Immediate::No => false,
            Immediate::OnChange => written.changed,
            Immediate::OnWrite => true,
        };
        output.show(now, composed, store);
        // both look: a write may do both
        let now_active = output.activity(now, composed);
        let leaves = at_once && output.schedule.at_once(now.monotonic, written.repeated) || now_active;
        self.due.set(index, output.schedule.next());
        if leaves {
            output.send(now, Leave::AtOnce, composed, store, transmit);
        }
    }

    /// Force, interlock or fallback have changed what a message carries. One without a cycle that has been sent is sent
    /// again: nothing else would tell the others. So is one whose links have spoken before it could be sent.
    pub fn changed(
        &mut self,
        now: Now,
        message: MessageIndex,
        composed: &Composed,
        store: &mut Writer,
        transmit: &mut Transmit,
    ) {
        let Some(index) = self.by_message.get(message).copied().flatten() else { return };
        self.touch(message);
        let output = &mut self.outputs[index];
        output.show(now, composed, store);
        if !composed.send {
            // what waited in a message that stops never leaves
            output.links.iter_mut().for_each(|(_, waiting)| *waiting = u64::MAX);
        }
        let mut leaves = output.activity(now, composed);
        let waits = !output.links.is_empty() && !composed.causes.contains(Cause::Fallback);
        if output.spontaneous && (output.sent > 0 || waits) && output.carried != composed.payload && composed.send {
            leaves |= output.schedule.at_once(now.monotonic, false);
        }
        self.due.set(index, output.schedule.next());
        if leaves {
            output.send(now, Leave::AtOnce, composed, store, transmit);
        }
    }

    /// Puts what a message carries into its frame that is about to leave.
    pub fn fill(&self, message: MessageIndex, composed: &Composed, frame: &mut Frame) {
        let length = frame.len();
        frame.payload_mut().copy_from_slice(&composed.payload[..length]);
        if let Some(index) = self.by_message[message] {
            self.outputs[index].protect(frame.payload_mut());
        }
    }

    /// A frame of a message has left, and the call returned at `moment` (CLOCK_MONOTONIC nanoseconds).
    pub fn sent(&mut self, message: MessageIndex, now: Now, moment: u64, composed: &Composed, store: &mut Writer) {
        let Some(index) = self.by_message[message] else { return };
        let output = &mut self.outputs[index];
        output.sent += 1;
        output.carried = composed.payload;
        output.show(now, composed, store);
        if let Some(protector) = &mut output.protector {
            protector.sent();
        }
        for link in 0..output.links.len() {
            let (contract, stamp) = self.outputs[index].links[link];
            if stamp != u64::MAX {
                self.outputs[index].links[link].1 = u64::MAX;
                self.measured(contract, moment.saturating_sub(stamp), now, store);
            }
        }
    }

    /// Records what a contract has taken, in nanoseconds; whether that was more than its budget.
    pub fn measured(&mut self, contract: ContractIndex, took: u64, now: Now, store: &mut Writer) -> bool {
        let overrun = store.contract(contract, took, self.budgets[contract], now.realtime);
        if overrun {
            if let Some(alarm) = self.overrun {
                store.alarm(alarm, true, contract as u64, now.realtime);
            }
            self.overrun_ends = now.monotonic.saturating_add(ALARM_TIME);
            self.overran = Some(contract);
        }
        overrun
    }

    pub fn next_due(&self) -> u64 {
        self.due.next().min(self.overrun_ends)
    }
}

impl Output {
    fn new(plan: &Plan, index: MessageIndex, transmission: &Transmission, start: Now) -> Option<Output> {
        let planned = &plan.messages[index];
        let message = &planned.message;
        let bytes = &transmission.start[..transmission.length];
        // the configuration has refused lengths that no frame can have
        let frame = if message.fd { Frame::fd(message.id, bytes) } else { Frame::classic(message.id, bytes) }?;
        let inactive: Box<[(usize, Bits)]> =
            transmission.active.iter().flat_map(|active| active.inactive.iter().copied()).collect();
        let active = is_active(message, &inactive, &transmission.fallback, transmission.length);
        let links = plan.links.iter().enumerate().filter(|(_, link)| plan.tags[link.to].message == index);
        Some(Output {
            index,
            bus: planned.bus,
            stale: transmission.stale,
            contract: plan.contract(Timed::Cycle(index)),
            message: message.clone(),
            first_record: planned.first_record,
            frame,
            carried: transmission.start,
            schedule: Schedule::new(transmission, start.monotonic, active),
            spontaneous: transmission.period.is_none() && transmission.active.is_none(),
            inactive,
            protector: planned.protection.as_ref().map(Protector::new),
            links: links.filter_map(|(link, _)| Some((plan.contract(Timed::Link(link))?, u64::MAX))).collect(),
            sent: 0,
        })
    }

    /// Tells the schedule whether the message is active; whether a frame leaves now.
    fn activity(&mut self, now: Now, composed: &Composed) -> bool {
        !self.inactive.is_empty() && {
            let active = is_active(&self.message, &self.inactive, &composed.payload, self.frame.len());
            self.schedule.activity(now.monotonic, active)
        }
    }

    fn protect(&self, payload: &mut [u8]) {
        if let Some(protector) = &self.protector {
            protector.write(self.frame.id, payload);
        }
    }

    /// Gives a frame to the queue of its bus.
    fn send(&mut self, now: Now, leave: Leave, composed: &Composed, store: &mut Writer, transmit: &mut Transmit) {
        // a cycle goes on while there is no bus; frames that nobody could get are not made
        if composed.send && transmit.is_open(self.bus) {
            let (contract, began) = match leave {
                Leave::Cycle { moment, .. } => (self.contract, moment),
                Leave::AtOnce => (None, now.monotonic),
            };
            let outgoing = Outgoing {
                frame: self.frame,
                key: Key::Message(self.index),
                stale: now.monotonic.saturating_add(self.stale),
                contract,
                began,
            };
            transmit.push(self.bus, &outgoing, now, store);
        }
    }

    /// The store shows what the next frame carries; the count is of frames that have left.
    fn show(&self, now: Now, composed: &Composed, store: &mut Writer) {
        let length = self.frame.len();
        let mut payload = composed.payload;
        self.protect(&mut payload[..length]);
        for group in 0..self.message.groups.len() {
            let mut record = Record {
                causes: composed.causes,
                id_bits: self.frame.id.bits(),
                source_time: now.realtime,
                received: now.monotonic,
                count: self.sent,
                length,
                payload,
            };
            if !self.message.group_active(group, &payload[..length]) {
                record.causes = record.causes.with(Cause::BranchNotSeen);
            }
            store.record(self.first_record + group, &record);
        }
    }
}

/// Whether a signal that is present differs from its inactive value.
fn is_active(message: &dbc::Message, inactive: &[(usize, Bits)], payload: &[u8; MAX_LEN], length: usize) -> bool {
    inactive.iter().any(|(group, bits)| message.group_active(*group, &payload[..length]) && !bits.in_force(payload))
}
