//! The frames that wait to be sent: a bounded queue for each bus, the most urgent first, of a message only the newest.
//!
//! ```text
//! route, cycle, write ──push──> queue of the bus ──flush──> kernel
//!                                 │      ▲            │
//!                    too old, full, no bus └── full ──┘   tried again by timer
//! ```
//!
//! Every frame that is pushed is sent, replaced by a newer one of its message, withdrawn because its message stopped, or
//! dropped and counted by reason. A kernel
//! queue that stays full (ENOBUFS: nobody acknowledges, or the bus is overloaded) costs one call per [`LONGEST_PAUSE`].

use std::collections::VecDeque;

use super::due::Due;
use super::{Key, Now, Outgoing};
use crate::can::{Frame, FrameId};
use crate::plan::{Alarm, AlarmIndex, BusIndex, Direction, MessageIndex, Plan, Succession};
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
    /// The kernel's queue is full: the timer tries again.
    blocked: bool,
    /// Nanoseconds that the last attempt waited; 0: something got through since.
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

    /// Goes on with the queues of the buses that both plans have, and with the frames in them that have a place in the new
    /// plan; the others are withdrawn.
    pub(super) fn adopt(&mut self, old: &mut Transmit, succession: &Succession, now: Now, store: &mut Writer) {
        for (bus, heir) in succession.buses.iter().enumerate() {
            let Some(at) = *heir else { continue };
            let old_buses = old.queues.len();
            let (queue, before) = (&mut self.queues[bus], &mut old.queues[at]);
            (queue.open, queue.pushed, queue.blocked) = (before.open, before.pushed, before.blocked);
            (queue.pause, queue.shown) = (before.pause, before.shown);
            self.due.set(bus, old.due.get(at));
            self.due.set(self.queues.len() + bus, old.due.get(old_buses + at));
            // those that waited longest first, as they came
            while let Some(place) = old.queues[at].order.pop() {
                let before = &mut old.queues[at];
                let mut outgoing = before.slots[place.slot as usize];
                before.free.push(place.slot);
                let key = match outgoing.key {
                    Key::Message(message) => succession.message_after[message].map(Key::Message),
                    Key::Route(route) => succession.route_after[route].map(Key::Route),
                    Key::Last => Some(Key::Last),
                };
                let Some(key) = key else {
                    store.add_bus(bus, BusWord::TransmitWithdrawn, 1);
                    continue;
                };
                outgoing.key = key;
                outgoing.contract = outgoing.contract.and_then(|contract| succession.contract_after[contract]);
                self.push(bus, &outgoing, now, store);
            }
            self.show(bus, store);
        }
    }

    /// Before a change of plans: lets `fill` put into the waiting frames of messages that do not go on what they say at last.
    /// Where it does, they leave as they are; the others will be withdrawn.
    pub(super) fn keep_last(
        &mut self,
        succession: &Succession,
        mut fill: impl FnMut(MessageIndex, &mut Frame) -> bool,
    ) {
        for queue in &mut self.queues {
            for place in &queue.order {
                let outgoing = &mut queue.slots[place.slot as usize];
                if let Key::Message(message) = outgoing.key
                    && succession.message_after[message].is_none()
                    && fill(message, &mut outgoing.frame)
                {
                    (outgoing.key, outgoing.contract) = (Key::Last, None);
                }
            }
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
        (queue.blocked, queue.pause) = (false, 0);
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
                Key::Route(_) | Key::Last => None,
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
        if !queue.blocked {
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

    /// The first frame is not wanted any more: its message has stopped while it waited.
    pub(super) fn withdraw_first(&mut self, bus: BusIndex, store: &mut Writer) {
        if let Some(at) = self.queues[bus].order.len().checked_sub(1) {
            self.take(bus, at);
            store.add_bus(bus, BusWord::TransmitWithdrawn, 1);
        }
    }

    /// The first frame has left.
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
        queue.blocked = true;
        queue.pause = (queue.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.due.set(bus, now.monotonic.saturating_add(queue.pause));
        self.drop_stale(bus, now, store);
        self.show(bus, store);
    }

    /// Serves the deadlines: full kernel queues are tried again by the next flush, old alarms end.
    pub(super) fn timer(&mut self, now: Now, store: &mut Writer) {
        while let Some((item, _)) = self.due.take(now.monotonic) {
            match item.checked_sub(self.queues.len()) {
                None => {
                    self.queues[item].blocked = false;
                    self.make_ready(item);
                }
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
            if queue.slots[queue.order[at].slot as usize].stale <= now.monotonic {
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
            blocked: false,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::{Bus, Filter, Format, IdChange, Message, Route, Transmission};
    use crate::store::{Layout, Memory, Reader};
    use crate::{can::MAX_LEN, dbc};

    const MESSAGES: usize = 4;
    const ROOM: usize = 3;

    /// One bus; four messages of ours; a route that passes every frame, and one of whose frames the newest wins.
    fn plan() -> Plan {
        let lines: String = (0..MESSAGES).map(|n| format!("BO_ {} M{n}: 8 Us\n", 0x100 + 0x10 * n)).collect();
        let (database, _) = dbc::parse("b.dbc", format!("VERSION \"\"\nBU_: Us\n{lines}").as_bytes());
        let messages = database.unwrap().messages.into_iter().map(|message| Message {
            bus: 0,
            message: Arc::new(message),
            direction: Direction::Output(Box::new(Transmission::new(8, [0; MAX_LEN], None))),
            sources: 1,
            first_record: 0,
            tags: 0..0,
            protection: None,
            instance: None,
        });
        let route = |newest_wins| Route {
            name: "r".into(),
            from: 0,
            to: 0,
            filters: vec![Filter::Any],
            except: Vec::new(),
            id: IdChange::Keep,
            format: Format::Keep,
            edits: Vec::new(),
            shortest_interval: None,
            storm: 1000,
            newest_wins,
            stale: 0,
            budget: 0,
            protected: false,
        };
        let bus = Bus { name: "b".into(), messages: 0..MESSAGES, transmit_queue: ROOM, ..Bus::default() };
        let mut plan = Plan {
            buses: vec![bus],
            messages: messages.collect(),
            routes: vec![route(false), route(true)],
            ..Plan::default()
        };
        plan.number();
        plan
    }

    /// What a queue does, written down as plainly as possible.
    #[derive(Default)]
    struct Plain {
        /// Deadline of the first frame in this place, rank, number; frame.
        frames: Vec<(u64, u32, u64, Outgoing)>,
        number: u64,
        open: bool,
        blocked_until: u64,
        pause: u64,
        stale: u64,
        overflow: u64,
        no_bus: u64,
        replaced: u64,
        busy: u64,
    }

    impl Plain {
        fn drop_stale(&mut self, now: u64) {
            let before = self.frames.len();
            self.frames.retain(|(.., outgoing)| outgoing.stale > now);
            self.stale += (before - self.frames.len()) as u64;
        }

        fn push(&mut self, outgoing: Outgoing, now: u64) {
            if !self.open {
                self.no_bus += 1;
                return;
            }
            let same = |other: &Outgoing| match outgoing.key {
                Key::Message(_) => other.key == outgoing.key,
                Key::Route(route) => route == 1 && other.key == outgoing.key && other.frame.id == outgoing.frame.id,
                Key::Last => false,
            };
            if let Some((.., older)) = self.frames.iter_mut().find(|(.., other)| same(other)) {
                *older = outgoing;
                self.replaced += 1;
                return;
            }
            if self.frames.len() == ROOM + MESSAGES {
                self.drop_stale(now);
            }
            self.frames.push((outgoing.stale, arbitration(outgoing.frame.id), self.number, outgoing));
            self.number += 1;
            self.frames.sort_by_key(|(deadline, rank, number, _)| (*deadline, *rank, *number));
            if self.frames.len() > ROOM + MESSAGES {
                self.frames.pop();
                self.overflow += 1;
            }
        }

        /// The numbers of the frames that leave, where the kernel takes `room`.
        fn flush(&mut self, now: u64, mut room: usize) -> Vec<u64> {
            let mut sent = Vec::new();
            if self.blocked_until > now {
                return sent;
            }
            while !self.frames.is_empty() {
                let first = self.frames[0].3;
                if first.stale <= now {
                    self.frames.remove(0);
                    self.stale += 1;
                } else if room > 0 {
                    room -= 1;
                    self.pause = 0;
                    sent.push(first.began);
                    self.frames.remove(0);
                } else {
                    self.busy += 1;
                    self.pause = (self.pause * 2).clamp(250_000, 1_000_000);
                    self.blocked_until = now + self.pause;
                    self.drop_stale(now);
                    break;
                }
            }
            sent
        }
    }

    #[test]
    fn it_does_what_a_plain_one_does() {
        let plan = plan();
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let mut store = Writer::new(memory.clone(), layout, 1);
        let reader = Reader::open(memory, layout, 1).unwrap();
        let (mut transmit, mut plain) = (Transmit::new(&plan), Plain::default());
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut now = Now { monotonic: 1_000_000, realtime: 0 };
        let (mut pushed, mut sent_ever) = (0, 0);
        for turn in 0..200_000_u64 {
            match random(20) {
                0..=11 => {
                    let (key, id) = match random(3) {
                        0 => {
                            let message = random(MESSAGES as u64) as usize;
                            (Key::Message(message), plan.messages[message].message.id)
                        }
                        _ => {
                            let number = 0xF8 + random(64) as u32;
                            let id = if random(4) == 0 {
                                FrameId::extended(number << 18 | 5)
                            } else {
                                FrameId::standard(number)
                            };
                            (Key::Route(random(2) as usize), id.unwrap())
                        }
                    };
                    let frame = Frame::classic(id, &[]).unwrap();
                    // few different deadlines, so that the other parts of the order count too
                    let stale = (now.monotonic / 1_000_000 + 1 + random(4)) * 1_000_000;
                    let outgoing = Outgoing { frame, key, stale, contract: None, began: turn };
                    transmit.push(0, &outgoing, now, &mut store);
                    plain.push(outgoing, now.monotonic);
                    pushed += 1;
                }
                12..=15 => {
                    now.monotonic += random(700_000);
                    transmit.timer(now, &mut store);
                }
                16..=18 => {
                    let room = random(5) as usize;
                    let (mut left, mut sent) = (room, Vec::new());
                    while let Some(bus) = transmit.take_ready() {
                        while let Some(outgoing) = transmit.first(bus, now, &mut store) {
                            if left == 0 {
                                transmit.busy(bus, now, &mut store);
                                break;
                            }
                            left -= 1;
                            sent.push(outgoing.began);
                            transmit.remove_first(bus);
                        }
                    }
                    sent_ever += sent.len() as u64;
                    assert_eq!(sent, plain.flush(now.monotonic, room), "turn {turn}");
                }
                _ if random(20) == 0 => {
                    plain.open = !plain.open;
                    (plain.blocked_until, plain.pause) = (0, 0);
                    if !plain.open {
                        plain.no_bus += plain.frames.drain(..).count() as u64;
                    }
                    transmit.set_open(0, plain.open, now, &mut store);
                }
                _ => {}
            }
            assert_eq!(transmit.waiting(0), plain.frames.len(), "turn {turn}");
            let words = [
                (BusWord::TransmitStale, plain.stale),
                (BusWord::TransmitOverflow, plain.overflow),
                (BusWord::TransmitNoBus, plain.no_bus),
                (BusWord::TransmitReplaced, plain.replaced),
                (BusWord::TransmitBusy, plain.busy),
                (BusWord::TransmitDropped, plain.stale + plain.overflow + plain.no_bus),
            ];
            for (word, value) in words {
                assert_eq!(reader.bus(0, word), value, "{word:?} in turn {turn}");
            }
            let waiting = plain.frames.len() as u64;
            assert_eq!(pushed, sent_ever + plain.stale + plain.overflow + plain.no_bus + plain.replaced + waiting);
        }
        assert!(
            plain.stale > 1000
                && plain.overflow > 100
                && plain.replaced > 1000
                && plain.busy > 1000
                && sent_ever > 1000
        );
    }

    #[test]
    fn lower_identifiers_win_the_bus() {
        let standard = |number| arbitration(FrameId::standard(number).unwrap());
        let extended = |number| arbitration(FrameId::extended(number).unwrap());
        let order = [
            standard(0),
            extended(0),
            extended(0x3_FFFF),
            standard(1),
            extended(1 << 18),
            standard(0x7FF),
            extended(FrameId::MAX_EXTENDED),
        ];
        assert!(order.is_sorted_by(|a, b| a < b), "{order:X?}");
    }
}
