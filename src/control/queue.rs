//! The frames that wait to be sent: a bounded queue for each bus, the most urgent first, of a message only the newest.
//!
//! ```text
//! route, cycle, write ──push──> queue of the bus ──flush──> kernel
//!                                 │      ▲            │
//!                    too old, full, no bus └── full ──┘   tried again by timer
//! ```
//!
//! Every frame that is pushed is sent, replaced by a newer one of its message, or dropped and counted by reason. A kernel
//! queue that stays full (ENOBUFS: nobody acknowledges, or the bus is overloaded) costs one call per [`LONGEST_PAUSE`].

use std::collections::VecDeque;

use super::due::Due;
use super::{Key, Now, Outgoing};
use crate::can::{Frame, FrameId};
use crate::plan::{Alarm, AlarmIndex, BusIndex, Direction, Plan};
use crate::store::Writer;
use crate::store::layout::{BusWord, RouteWord};

/// Nanoseconds after which a full kernel queue is tried again: about a frame at 500 kbit/s.
const SHORTEST_PAUSE: u64 = 250_000;
/// The pause doubles up to this while nothing gets through.
const LONGEST_PAUSE: u64 = 1_000_000;
/// The alarm "frames could not be sent" ends so many nanoseconds after the last one.
const ALARM_TIME: u64 = 60_000_000_000;
/// No slot.
const NONE: u32 = u32::MAX;

/// The queues of all buses.
pub struct Transmit {
    queues: Box<[Queue]>,
    /// By message of the plan: the slot where its frame waits, or [`NONE`].
    waiting: Box<[u32]>,
    /// By route: a newer frame takes the place of an older one with the same identifier.
    newest_wins: Box<[bool]>,
    /// Buses whose queue is to be tried; each at most once.
    ready: VecDeque<BusIndex>,
    /// Of bus b: when a full kernel queue is tried again; at `buses + b`: when the alarm ends.
    due: Due,
    alarms: Box<[Option<AlarmIndex>]>,
}

struct Queue {
    slots: Box<[Outgoing]>,
    free: Vec<u32>,
    /// Sorted, the most urgent at the end.
    order: Vec<Place>,
    /// Frames pushed so far.
    pushed: u64,
    /// Frames can leave by this bus.
    open: bool,
    /// It is in [`Transmit::ready`].
    ready: bool,
    /// The kernel's queue is full; nanoseconds that this attempt waits, 0: it is not.
    pause: u64,
    /// What the store shows.
    shown: usize,
}

/// Where a frame is in the queue: by deadline, then as on the bus, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    deadline: u64,
    rank: u32,
    number: u64,
    slot: u32,
}

impl Transmit {
    /// Empty queues, all closed. Everything is allocated here.
    pub fn new(plan: &Plan) -> Transmit {
        let buses = plan.buses.iter().map(|bus| {
            let messages = &plan.messages[bus.messages.clone()];
            // each message waits at most once, so that a step that sends all of them finds room
            let ours = messages.iter().filter(|message| matches!(message.direction, Direction::Output(_))).count();
            Queue::new(bus.transmit_queue.max(1) + ours)
        });
        Transmit {
            queues: buses.collect(),
            waiting: vec![NONE; plan.messages.len()].into(),
            newest_wins: plan.routes.iter().map(|route| route.newest_wins).collect(),
            ready: VecDeque::with_capacity(plan.buses.len()),
            due: Due::new(2 * plan.buses.len()),
            alarms: (0..plan.buses.len()).map(|bus| plan.alarm(Alarm::TransmitDropped(bus))).collect(),
        }
    }

    /// Whether frames can leave by a bus.
    pub fn is_open(&self, bus: BusIndex) -> bool {
        self.queues[bus].open
    }

    /// Frames can leave by the bus from now on, or no longer: then all that wait are dropped.
    pub(super) fn set_open(&mut self, bus: BusIndex, open: bool, now: Now, store: &mut Writer) {
        let queue = &mut self.queues[bus];
        queue.open = open;
        queue.pause = 0;
        self.due.set(bus, u64::MAX);
        if !open {
            while !self.queues[bus].order.is_empty() {
                self.drop_at(bus, self.queues[bus].order.len() - 1, BusWord::TransmitNoBus, now, store);
            }
        } else if !self.queues[bus].order.is_empty() {
            self.make_ready(bus);
        }
        self.show(bus, store);
    }

    /// Takes a frame over. What becomes of it is counted here and in [`super::Control::flush`]: nothing is left to do for
    /// who pushes.
    pub(super) fn push(&mut self, bus: BusIndex, outgoing: &Outgoing, now: Now, store: &mut Writer) {
        if !self.queues[bus].open {
            return self.dropped(bus, outgoing.key, BusWord::TransmitNoBus, now, store);
        }
        let queue = &mut self.queues[bus];
        if !queue.order.is_empty() {
            let older = match outgoing.key {
                Key::Message(message) => Some(self.waiting[message]).filter(|slot| *slot != NONE),
                Key::Route(route) if self.newest_wins[route] => queue.find(outgoing.key, outgoing.frame.id),
                Key::Route(_) => None,
            };
            if let Some(slot) = older {
                // It keeps its place: or a message that changes all the time would never have its turn.
                queue.slots[slot as usize] = *outgoing;
                store.add_bus(bus, BusWord::TransmitReplaced, 1);
                if let Key::Route(route) = outgoing.key {
                    store.add_route(route, RouteWord::NotSent, 1);
                }
                return;
            }
        }
        let place =
            Place { deadline: outgoing.stale, rank: arbitration(outgoing.frame.id), number: queue.pushed, slot: NONE };
        queue.pushed += 1;
        if queue.free.is_empty() {
            self.drop_stale(bus, now, store);
        }
        let queue = &mut self.queues[bus];
        if queue.free.is_empty() {
            // the order is never empty where nothing is free
            if queue.order.first().is_none_or(|least| place >= *least) {
                return self.dropped(bus, outgoing.key, BusWord::TransmitOverflow, now, store);
            }
            self.drop_at(bus, 0, BusWord::TransmitOverflow, now, store);
        }
        let queue = &mut self.queues[bus];
        let Some(slot) = queue.free.pop() else { return };
        queue.slots[slot as usize] = *outgoing;
        let at = queue.order.partition_point(|other| *other > place);
        queue.order.insert(at, Place { slot, ..place });
        if let Key::Message(message) = outgoing.key {
            self.waiting[message] = slot;
        }
        if queue.pause == 0 {
            self.make_ready(bus);
        }
    }

    /// A bus whose queue is to be tried now.
    pub(super) fn take_ready(&mut self) -> Option<BusIndex> {
        let bus = self.ready.pop_front()?;
        self.queues[bus].ready = false;
        Some(bus)
    }

    /// The most urgent frame that is worth sending.
    pub(super) fn first(&mut self, bus: BusIndex, now: Now, store: &mut Writer) -> Option<&mut Outgoing> {
        while let Some(place) = self.queues[bus].order.last() {
            let slot = place.slot as usize;
            if self.queues[bus].slots[slot].stale > now.monotonic {
                return self.queues[bus].slots.get_mut(slot);
            }
            self.drop_at(bus, self.queues[bus].order.len() - 1, BusWord::TransmitStale, now, store);
        }
        self.show(bus, store);
        None
    }

    /// The first frame has left, or is not wanted any more.
    pub(super) fn remove_first(&mut self, bus: BusIndex) {
        self.queues[bus].pause = 0;
        if let Some(at) = self.queues[bus].order.len().checked_sub(1) {
            self.take(bus, at);
        }
    }

    /// The first frame can't be sent for a reason that waiting does not mend.
    pub(super) fn refuse_first(&mut self, bus: BusIndex, reason: BusWord, now: Now, store: &mut Writer) {
        if let Some(at) = self.queues[bus].order.len().checked_sub(1) {
            self.drop_at(bus, at, reason, now, store);
        }
    }

    /// The kernel's queue is full: all wait, and those that have waited too long are dropped.
    pub(super) fn busy(&mut self, bus: BusIndex, now: Now, store: &mut Writer) {
        store.add_bus(bus, BusWord::TransmitBusy, 1);
        let queue = &mut self.queues[bus];
        queue.pause = (queue.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.due.set(bus, now.monotonic.saturating_add(queue.pause));
        self.drop_stale(bus, now, store);
        self.show(bus, store);
    }

    /// Serves the deadlines: full kernel queues are tried again by the next flush, old alarms end.
    pub(super) fn timer(&mut self, now: Now, store: &mut Writer) {
        while let Some((item, _)) = self.due.take(now.monotonic) {
            match item.checked_sub(self.queues.len()) {
                None => self.make_ready(item),
                Some(bus) => {
                    if let Some(alarm) = self.alarms[bus] {
                        store.alarm(alarm, false, 0, now.realtime);
                    }
                }
            }
        }
    }

    /// When [`super::Event::Timer`] is wanted next, CLOCK_MONOTONIC nanoseconds; `u64::MAX` for never.
    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    /// How many frames wait to be sent on a bus.
    pub fn waiting(&self, bus: BusIndex) -> usize {
        self.queues[bus].order.len()
    }

    fn make_ready(&mut self, bus: BusIndex) {
        let queue = &mut self.queues[bus];
        if !std::mem::replace(&mut queue.ready, true) {
            self.ready.push_back(bus);
        }
    }

    /// Drops all that have waited too long, wherever they are.
    fn drop_stale(&mut self, bus: BusIndex, now: Now, store: &mut Writer) {
        for at in (0..self.queues[bus].order.len()).rev() {
            let queue = &self.queues[bus];
            let place = queue.order[at];
            if place.deadline > now.monotonic {
                // those further on in the list are not old enough either
                return;
            }
            if queue.slots[place.slot as usize].stale <= now.monotonic {
                self.drop_at(bus, at, BusWord::TransmitStale, now, store);
            }
        }
    }

    fn drop_at(&mut self, bus: BusIndex, at: usize, reason: BusWord, now: Now, store: &mut Writer) {
        let key = self.take(bus, at);
        self.dropped(bus, key, reason, now, store);
    }

    /// Frees a place of the order.
    fn take(&mut self, bus: BusIndex, at: usize) -> Key {
        let queue = &mut self.queues[bus];
        let slot = queue.order.remove(at).slot;
        queue.free.push(slot);
        let key = queue.slots[slot as usize].key;
        if let Key::Message(message) = key {
            self.waiting[message] = NONE;
        }
        key
    }

    fn dropped(&mut self, bus: BusIndex, key: Key, reason: BusWord, now: Now, store: &mut Writer) {
        store.add_bus(bus, reason, 1);
        store.add_bus(bus, BusWord::TransmitDropped, 1);
        if let Key::Route(route) = key {
            store.add_route(route, RouteWord::NotSent, 1);
        }
        // that the bus is not there is an alarm of its own
        if let (Some(alarm), false) = (self.alarms[bus], reason == BusWord::TransmitNoBus) {
            store.alarm(alarm, true, reason as u64, now.realtime);
            self.due.set(self.queues.len() + bus, now.monotonic.saturating_add(ALARM_TIME));
        }
    }

    fn show(&mut self, bus: BusIndex, store: &mut Writer) {
        let queue = &mut self.queues[bus];
        let waiting = queue.order.len();
        if std::mem::replace(&mut queue.shown, waiting) != waiting {
            store.set_bus(bus, BusWord::TransmitWaiting, waiting as u64);
        }
    }
}

impl Queue {
    fn new(capacity: usize) -> Queue {
        let empty = Outgoing { frame: Frame::EMPTY, key: Key::Message(0), stale: 0, contract: None, began: 0 };
        Queue {
            slots: vec![empty; capacity].into(),
            free: (0..capacity as u32).rev().collect(),
            order: Vec::with_capacity(capacity),
            pushed: 0,
            open: false,
            ready: false,
            pause: 0,
            shown: 0,
        }
    }

    /// The slot of a waiting frame of the same route with the same identifier.
    fn find(&self, key: Key, id: FrameId) -> Option<u32> {
        let same = |place: &&Place| {
            let outgoing = &self.slots[place.slot as usize];
            outgoing.key == key && outgoing.frame.id == id
        };
        self.order.iter().find(same).map(|place| place.slot)
    }
}

/// The lower wins the bus (ISO 11898-1): the first 11 bits, then standard before extended, then the other 18.
fn arbitration(id: FrameId) -> u32 {
    let number = id.number();
    if id.is_extended() { number >> 18 << 19 | 1 << 18 | number & 0x3_FFFF } else { number << 19 }
}
