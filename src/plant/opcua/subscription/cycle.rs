//! One subscription: its publishing cycle, what it has sent, how long it lives without its client (OPC 10000-4, 5.14.1).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use opcua::types::{DateTime, MonitoringMode, StatusCode};

use super::item::{Item, Queue};
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::standard::Standard;
use crate::plant::opcua::wire::{NodeRef, Writer};

/// Messages that are kept until the client has acknowledged them.
const MOST_KEPT: usize = 100;

/// Bytes of one message; the rest comes with the next (moreNotifications).
const MOST_BYTES: usize = 1024 * 1024;

/// What a client asked for, revised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Publishing interval in nanoseconds.
    pub interval: u64,
    /// Publishing intervals.
    pub lifetime: u32,
    pub keep_alive: u32,
    /// Values in one message; 0: no limit.
    pub most: u32,
    pub priority: u8,
}

/// For SubscriptionDiagnostics (OPC 10000-5, 12.15).
#[derive(Clone, Copy, Debug, Default)]
pub struct Diagnostics {
    pub modified: u32,
    pub enabled: u32,
    pub disabled: u32,
    pub republish_requests: u32,
    pub republished: u32,
    pub transfer_requests: u32,
    pub transferred_to_other: u32,
    pub transferred_to_same: u32,
    pub publish_requests: u32,
    pub data_changes: u32,
    pub events: u32,
    pub late: u32,
    pub unacknowledged: u32,
    pub discarded: u32,
    pub overflows: u32,
    pub event_overflows: u32,
}

/// A message that is ready to be sent: its bytes after the type of the response and its header.
#[derive(Clone, Debug)]
pub struct Message {
    pub bytes: Arc<[u8]>,
    pub more: bool,
    pub values: u64,
}

/// What a publishing timer has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Notifications,
    KeepAlive,
    /// Its client has not been heard of for its whole lifetime.
    Expired,
}

/// One of them.
pub struct Subscription {
    pub id: u32,
    /// The session that it belongs to; none since that was closed.
    pub session: Option<u32>,
    pub user: Arc<User>,
    /// ApplicationUri of the client: an anonymous one is known by it.
    pub client: String,
    pub settings: Settings,
    pub enabled: bool,
    /// When the publishing timer expires next; CLOCK_MONOTONIC nanoseconds.
    pub due: u64,
    pub items: BTreeMap<u32, Item>,
    /// Items that have something to report, in the order in which they got it.
    pub ready: VecDeque<u32>,
    /// A message is due, but no Publish request was there.
    pub late: bool,
    /// When it was answered last, as a number that counts up with each answer of the server.
    pub served: u64,
    pub diagnostics: Diagnostics,
    /// Bytes of what waits and of what is kept.
    pub bytes: usize,
    /// When ConditionRefresh was called last, where no item waits to be told by it; CLOCK_MONOTONIC nanoseconds.
    pub refreshed: Option<u64>,
    cycles_silent: u32,
    cycles_alone: u32,
    sequence: u32,
    kept: VecDeque<(u32, Arc<[u8]>)>,
}

impl Subscription {
    pub fn new(id: u32, session: u32, user: Arc<User>, client: String, settings: Settings, now: u64) -> Subscription {
        Subscription {
            id,
            session: Some(session),
            user,
            client,
            settings,
            enabled: true,
            due: now + settings.interval,
            items: BTreeMap::new(),
            ready: VecDeque::new(),
            late: false,
            served: 0,
            diagnostics: Diagnostics::default(),
            bytes: 0,
            refreshed: None,
            // the first message comes after one interval, whatever it holds
            cycles_silent: settings.keep_alive,
            cycles_alone: 0,
            sequence: 1,
            kept: VecDeque::new(),
        }
    }

    /// The publishing timer has expired.
    pub fn expire(&mut self, now: u64) -> Due {
        // what was missed is not made up for
        let interval = self.settings.interval;
        self.due = if self.due + interval > now { self.due + interval } else { now + interval };
        self.cycles_alone = self.cycles_alone.saturating_add(1);
        if self.cycles_alone > self.settings.lifetime {
            return Due::Expired;
        }
        self.cycles_silent = self.cycles_silent.saturating_add(1);
        self.wants()
    }

    /// What it would send now.
    pub fn wants(&self) -> Due {
        if self.enabled && self.has_reports() {
            Due::Notifications
        } else if self.cycles_silent >= self.settings.keep_alive {
            Due::KeepAlive
        } else {
            Due::Nothing
        }
    }

    fn has_reports(&self) -> bool {
        self.ready.iter().any(|id| self.items.get(id).is_some_and(Item::has_report))
    }

    /// Its client is there.
    pub fn heard(&mut self) {
        self.cycles_alone = 0;
    }

    pub fn alone(&self) -> u32 {
        self.cycles_alone
    }

    pub fn silent(&self) -> u32 {
        self.cycles_silent
    }

    pub fn next_sequence(&self) -> u32 {
        self.sequence
    }

    /// Puts an item that has got something on the list.
    pub fn list(&mut self, id: u32) {
        if let Some(item) = self.items.get_mut(&id)
            && !item.listed
        {
            item.listed = true;
            self.ready.push_back(id);
        }
    }

    /// A message without notifications; its number is that of the next one with some (5.14.1.1).
    pub fn keep_alive(&mut self) -> Message {
        self.sent();
        let mut writer = Writer::with_capacity(16);
        writer.u32(self.sequence);
        writer.encode(&DateTime::now());
        writer.count(0);
        Message { bytes: writer.finish().into(), more: false, values: 0 }
    }

    fn sent(&mut self) {
        self.cycles_silent = 0;
        self.cycles_alone = 0;
        self.late = false;
    }

    /// The next message of what is ready, and the bytes that it frees (and takes, kept for Republish).
    pub fn notifications(&mut self, types: &Standard, event_id: &mut dyn FnMut() -> [u8; 16]) -> Message {
        self.sent();
        let most = if self.settings.most == 0 { usize::MAX } else { self.settings.most as usize };
        let (mut values, mut events) = (Writer::with_capacity(1024), Writer::new());
        let (mut value_count, mut event_count) = (0, 0);
        let mut again = VecDeque::new();
        while let Some(id) = self.ready.pop_front() {
            if value_count + event_count >= most || values.len() + events.len() >= MOST_BYTES {
                self.ready.push_front(id);
                break;
            }
            let Some(item) = self.items.get_mut(&id) else { continue };
            if !item.has_report() {
                // sampled only, or nothing was there to be triggered: listed again with its next value
                item.listed = false;
                item.triggered = false;
                continue;
            }
            let room = most - value_count - event_count;
            let (handle, timestamps) = (item.settings.client_handle, item.settings.timestamps);
            match &mut item.queue {
                Queue::Values(queue) => {
                    let count = queue.len().min(room);
                    for seen in queue.drain(..count) {
                        self.bytes = self.bytes.saturating_sub(seen.bytes());
                        values.u32(handle);
                        seen.write(timestamps, &mut values);
                    }
                    value_count += count;
                    // most items are idle most of the time: an empty queue holds no memory
                    if queue.is_empty() {
                        *queue = VecDeque::new();
                    }
                }
                Queue::Events(queue) => {
                    if let Some(at) = queue.take_lost(item.settings.discard_oldest) {
                        let told = queue.filter.overflow(DateTime::now(), &event_id(), types);
                        self.bytes += told.bytes();
                        queue.insert(at, told);
                        let stale = queue.take_lost_condition();
                        let told = stale.then(|| queue.filter.refresh_required(DateTime::now(), &event_id(), types));
                        if let Some(told) = told.flatten() {
                            self.bytes += told.bytes();
                            queue.insert(usize::MAX, told);
                        }
                    }
                    let count = queue.len().min(room);
                    for fields in queue.take(count) {
                        self.bytes = self.bytes.saturating_sub(fields.bytes());
                        events.u32(handle);
                        events.count(fields.0.len());
                        fields.0.iter().for_each(|value| events.variant(value));
                    }
                    event_count += count;
                }
            }
            if item.waiting() > 0 {
                again.push_back(id);
            } else {
                item.listed = false;
                item.triggered = false;
            }
        }
        while let Some(id) = again.pop_back() {
            self.ready.push_front(id);
        }
        self.diagnostics.data_changes = self.diagnostics.data_changes.wrapping_add(value_count as u32);
        self.diagnostics.events = self.diagnostics.events.wrapping_add(event_count as u32);
        let mut writer = Writer::with_capacity(values.len() + events.len() + 64);
        writer.u32(self.sequence);
        writer.encode(&DateTime::now());
        writer.count(usize::from(value_count > 0) + usize::from(event_count > 0));
        if value_count > 0 {
            // MonitoredItemNotifications and no diagnostics
            structure(&mut writer, 811, value_count, values, &(-1i32).to_le_bytes());
        }
        if event_count > 0 {
            structure(&mut writer, 916, event_count, events, &[]);
        }
        let bytes: Arc<[u8]> = writer.finish().into();
        self.keep(bytes.clone());
        let more = self.enabled && self.has_reports();
        Message { bytes, more, values: (value_count + event_count) as u64 }
    }

    /// Keeps a message until it is acknowledged, and counts on.
    fn keep(&mut self, bytes: Arc<[u8]>) {
        if self.kept.len() >= MOST_KEPT
            && let Some((_, gone)) = self.kept.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(gone.len());
            self.diagnostics.discarded += 1;
        }
        self.bytes += bytes.len();
        self.kept.push_back((self.sequence, bytes));
        self.diagnostics.unacknowledged = self.kept.len() as u32;
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
    }

    /// The client has this message.
    pub fn acknowledge(&mut self, number: u32) -> StatusCode {
        let Some(at) = self.kept.iter().position(|(kept, _)| *kept == number) else {
            return StatusCode::BadSequenceNumberUnknown;
        };
        if let Some((_, gone)) = self.kept.remove(at) {
            self.bytes = self.bytes.saturating_sub(gone.len());
        }
        self.diagnostics.unacknowledged = self.kept.len() as u32;
        StatusCode::Good
    }

    /// A message as it was sent before.
    pub fn republish(&mut self, number: u32) -> Option<Arc<[u8]>> {
        let found = self.kept.iter().find(|(kept, _)| *kept == number).map(|(_, bytes)| bytes.clone());
        self.diagnostics.republish_requests += 1;
        self.diagnostics.republished += u32::from(found.is_some());
        found
    }

    /// Drops what waits and what is kept: it was for somebody else.
    pub fn forget(&mut self) {
        for item in self.items.values_mut() {
            self.bytes = self.bytes.saturating_add_signed(item.clear());
            item.last = None;
        }
        for (_, gone) in self.kept.drain(..) {
            self.bytes = self.bytes.saturating_sub(gone.len());
        }
    }

    /// Numbers of the messages that are kept.
    pub fn available(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.kept.iter().map(|(number, _)| *number)
    }

    /// Gives memory back until no more than `most` bytes are held, as far as that goes: first messages that were sent but not
    /// acknowledged, then the older half of the longest queues, again and again. Every item keeps its newest value. Gives the
    /// values and events that were lost.
    pub fn shed(&mut self, most: usize) -> u64 {
        while self.bytes > most && self.kept.len() > 1 {
            if let Some((_, gone)) = self.kept.pop_front() {
                self.bytes = self.bytes.saturating_sub(gone.len());
                self.diagnostics.discarded = self.diagnostics.discarded.wrapping_add(1);
            }
        }
        self.diagnostics.unacknowledged = self.kept.len() as u32;
        let mut lost = 0;
        while self.bytes > most {
            let longest = self.items.values().map(Item::waiting).max().unwrap_or(0);
            if longest < 2 {
                break;
            }
            for item in self.items.values_mut().filter(|item| item.waiting() > longest / 2) {
                let change = item.shorten(longest / 2);
                self.bytes = self.bytes.saturating_add_signed(change.bytes);
                lost += change.lost;
            }
        }
        lost
    }

    /// Has every item that reports told its last value once more (ResendData, SendInitialValues). Gives the values that
    /// did not fit.
    pub fn resend(&mut self) -> u64 {
        let mut lost = 0;
        let ids: Vec<u32> = self.items.keys().copied().collect();
        for id in ids {
            let Some(item) = self.items.get_mut(&id) else { continue };
            if item.mode == MonitoringMode::Reporting
                && item.waiting() == 0
                && let Some(last) = item.last.clone()
            {
                let change = item.push(last);
                self.bytes = self.bytes.saturating_add_signed(change.bytes);
                lost += change.lost;
                self.list(id);
            }
        }
        lost
    }
}

/// Adds an ExtensionObject that holds an array.
fn structure(writer: &mut Writer, encoding: u32, count: usize, content: Writer, rest: &[u8]) {
    let content = content.finish();
    writer.node_id(NodeRef::Numeric(0, encoding));
    writer.u8(1);
    writer.count(4 + content.len() + rest.len());
    writer.count(count);
    writer.raw(&content);
    writer.raw(rest);
}

/// A message that tells of the end of a subscription (StatusChangeNotification, 7.25.4). It has the next number.
pub fn status_change(subscription: &Subscription, status: StatusCode) -> Arc<[u8]> {
    let mut writer = Writer::with_capacity(40);
    writer.u32(subscription.next_sequence());
    writer.encode(&DateTime::now());
    writer.count(1);
    writer.node_id(NodeRef::Numeric(0, 820));
    writer.u8(1);
    writer.count(5);
    writer.status(status);
    writer.u8(0); // no diagnostics
    writer.finish().into()
}
