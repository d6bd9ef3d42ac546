//! The loop itself: waits, hands events to `control`, sends what it wants sent, counts.

use std::io;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rtrb::{Consumer, Producer};

use super::grants::Grants;
use super::load::Load;
use super::next::{self, Next, Turn};
use super::sending::hand_over;
use super::time::Time;
use super::token::{CLOCK_TOKEN, TIMER_TOKEN, WAKE_TOKEN, data_token, error_token, errors_once, is_data};
use super::{HEARTBEAT, Inherited, NOTICES_RESERVED, Notice, ORDERS, Order};
use crate::bus::Bus;
use crate::bus::error_frame::ErrorFrame;
use crate::bus::socketcan::{Batch, Content, Port, Sockets, newly_dropped};
use crate::can::Frame;
use crate::control::{Control, Event, Now, Sent, Transmit};
use crate::plan::Plan;
use crate::sim::Simulator;
use crate::store::layout::{BusState, BusWord, FLAG_FIFO, FLAG_LOCKED, Word};
use crate::store::{Writer, clock};

/// An error socket that had something to say is heard again after this time, in nanoseconds, so that an error storm costs
/// at most 100 wake-ups a second.
const ERROR_REST: u64 = 10_000_000;
/// The simulator runs at most this often, in nanoseconds.
const SIMULATOR_REST: u64 = 1_000_000;
/// Frames that the simulator may send in one step; more are counted as lost.
const SIMULATED_FRAMES: usize = 256;
/// A socket of which epoll says nothing is read all the same after this time, in nanoseconds: it proves that the bus is
/// served, and a silent one is told from one that is not read any more.
const READ_AGAIN: u64 = 500_000_000;
/// Descriptors that one wait reports at most; the others are reported by the next.
const READY: usize = 32;

/// One bus and what the loop knows about it.
pub(super) struct Slot {
    pub bus: Bus,
    /// The plan has a message for us to send, or a route to it; otherwise nothing is ever written to the bus.
    pub sends: bool,
    /// CLOCK_MONOTONIC of the last reading of its data socket, nanoseconds.
    pub read_at: u64,
    pub load: Load,
}

pub(super) struct Machine {
    pub(super) buses: Vec<Slot>,
    pub(super) control: Control,
    pub(super) transmit: Transmit,
    pub(super) store: Writer,
    pub(super) simulator: Option<Simulator>,
    /// Frames of the simulator's last step.
    simulated: Vec<(usize, Frame)>,
    /// CLOCK_MONOTONIC of its last step.
    simulator_ran: u64,
    /// [`Word::Flags`] that come from the plan, and from what the system grants.
    pub(super) flags: u64,
    pub(super) granted: u64,
    /// The plan that waits to take the place of this one, and for what.
    pub(super) next: Option<(Box<Next>, Turn)>,
    /// Plans taken over so far.
    pub(super) swaps: u64,
    /// CLOCK_MONOTONIC of the next look at the loads of the buses.
    pub(super) loads_due: u64,
    orders: Consumer<(u64, Order)>,
    pub(super) notices: Producer<Notice>,
    pub(super) epoll: Epoll,
    wake: Arc<EventFd>,
    timer: TimerFd,
    /// Readable when CLOCK_REALTIME was set.
    clock: TimerFd,
    /// What the timer is set to, CLOCK_MONOTONIC nanoseconds.
    armed: u64,
    batch: Batch,
    pub(super) time: Time,
}

impl Machine {
    /// Everything that the loop will ever need is allocated here.
    pub fn new(
        plan: &Plan,
        store: Writer,
        simulator: Option<Simulator>,
        wake: Arc<EventFd>,
        orders: Consumer<(u64, Order)>,
        notices: Producer<Notice>,
    ) -> io::Result<Machine> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE_TOKEN))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER_TOKEN))?;
        let clock = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        epoll.add(&clock, EpollEvent::new(EpollFlags::EPOLLIN, CLOCK_TOKEN))?;
        watch_clock(&clock)?;
        let time = Time::new();
        Ok(Machine {
            buses: next::slots(plan),
            control: Control::new(plan, time.now()),
            transmit: Transmit::new(plan),
            store,
            simulator,
            simulated: Vec::with_capacity(SIMULATED_FRAMES),
            simulator_ran: 0,
            flags: next::flags(plan),
            granted: 0,
            next: None,
            swaps: 0,
            loads_due: 0,
            orders,
            notices,
            epoll,
            wake,
            timer,
            clock,
            armed: 0,
            batch: Batch::default(),
            time,
        })
    }

    /// Takes over what the last controller left. Before [`Machine::start`].
    pub fn inherit(&mut self, Inherited { unclean, retained }: &Inherited) {
        if *unclean {
            self.control.after_unclean_end();
        }
        retained.iter().for_each(|patch| self.control.restore(patch));
    }

    /// Shows the start in the store and opens the virtual buses.
    pub fn start(&mut self, grants: Grants) {
        let now = self.time.look();
        let granted = |result: Result<(), Errno>, flag| if result.is_ok() { flag } else { 0 };
        self.granted = granted(grants.fifo, FLAG_FIFO) | granted(grants.locked, FLAG_LOCKED);
        self.store.set(Word::Flags, self.flags | self.granted);
        self.store.set(Word::StartedMonotonic, now.monotonic);
        self.store.set(Word::StartedRealtime, now.realtime);
        self.store.set(Word::Heartbeat, now.monotonic);
        self.control.start(now, &mut self.store);
        for bus in 0..self.buses.len() {
            if let Bus::Virtual = self.buses[bus].bus {
                self.set_state(now, bus, BusState::Active);
            }
        }
    }

    /// Turns until it is told to stop.
    pub fn run(mut self) {
        let mut ready = [EpollEvent::empty(); READY];
        loop {
            self.arm();
            let count = match self.epoll.wait(&mut ready, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                // The arguments are right, so there is nothing else to do; the main thread sees that the thread ended.
                Err(_) => return,
            };
            let ready = &ready[..count];
            self.time.waited();
            if ready.iter().any(|event| event.data() == CLOCK_TOKEN) {
                // reading takes back that it is readable; it fails (ECANCELED), which is the news
                let _ = self.clock.wait();
                let _ = watch_clock(&self.clock);
                self.time.clock_was_set();
            }
            // Frames bring their time with them; whatever else there is to do goes by the clock.
            if !ready.iter().all(|event| is_data(event.data())) {
                self.time.look();
            }
            if ready.iter().any(|event| event.data() == WAKE_TOKEN) && !self.orders() {
                return;
            }
            for (index, event) in ready.iter().enumerate().filter(|(_, event)| event.data() < CLOCK_TOKEN) {
                let bus = (event.data() / 2) as usize;
                if is_data(event.data()) {
                    self.read_data(bus)
                } else {
                    self.read_errors(bus)
                }
                // a cycle must not wait for the batches of all buses
                if index + 1 < ready.len() && self.next_due() != u64::MAX {
                    let now = self.look();
                    self.deadlines(now);
                }
            }
            let now = self.look();
            self.deadlines(now);
            self.simulate(now);
            self.look_after_sockets(now);
            self.count_loads(now);
            self.store.set(Word::NextDue, self.next_due());
            self.store.set(Word::Heartbeat, now.monotonic);
            self.store.add(Word::Turns, 1);
            // what has left since then
            self.look();
            self.take_over();
        }
    }

    /// The time after the last frame that left; what left since the last look is measured by it. Of several frames all are
    /// measured when the last has left, so none looks better than it was.
    pub(super) fn look(&mut self) -> Now {
        let now = self.time.after_sending();
        while let Some((contract, took)) = self.time.take_measured() {
            self.control.measured(contract, took, now, &mut self.store);
        }
        now
    }

    /// Sets the timer to the next deadline, where that is earlier than what it is set to or that has passed. A timer that
    /// fires too early costs less than setting it for each frame.
    fn arm(&mut self) {
        let now = self.time.now().monotonic;
        let mut due = self.next_due().min(now + HEARTBEAT);
        if let Some(simulator) = &self.simulator {
            due = due.min(simulator.next_due().max(self.simulator_ran + SIMULATOR_REST));
        }
        for slot in &self.buses {
            if let Bus::SocketCan(Port { errors_rest_until: until @ 1.., .. }) = slot.bus {
                due = due.min(until);
            }
        }
        if due < self.armed || self.armed <= now {
            self.armed = due.max(1);
            let at = TimeSpec::new((self.armed / 1_000_000_000) as _, (self.armed % 1_000_000_000) as _);
            // Setting it also takes back that it was readable. It can't fail: the time is valid and absolute.
            let _ = self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        }
    }

    /// Carries out what the main thread wants; false for the end.
    fn orders(&mut self) -> bool {
        // one read takes all wake-ups; nothing to read means that they were taken before
        let _ = self.wake.read();
        for _ in 0..ORDERS {
            let Ok((swaps, order)) = self.orders.pop() else { break };
            let now = self.time.now();
            if swaps != self.swaps && !matches!(order, Order::Cancel | Order::Stop) {
                self.give_back(order);
                continue;
            }
            match order {
                Order::Command { ticket, place, change } => {
                    let result = self.control.command(now, place, &change, &mut self.store, &mut self.transmit);
                    self.send(now);
                    self.notify(Notice::Done { ticket, result });
                    self.wishes();
                }
                Order::Open { bus, sockets, state } => self.open(now, bus, sockets, state),
                Order::State { bus, state } => self.set_state(now, bus, state),
                Order::Setup { bus, mode, rates } => self.set_up(bus, mode, rates),
                Order::Alarm { alarm, active } => self.store.alarm(alarm, active, 0, now.realtime),
                Order::Swap(next) => {
                    if let Some((unused, _)) = self.next.replace((next, Turn::new(now.monotonic))) {
                        self.notify(Notice::Unused(unused));
                    }
                }
                Order::Cancel => {
                    if let Some((unused, _)) = self.next.take() {
                        self.notify(Notice::Unused(unused));
                    }
                }
                Order::Stop => {
                    self.control.farewell(now, |_| true, &mut self.store, &mut self.transmit);
                    self.send(now);
                    return false;
                }
            }
        }
        if !self.orders.is_empty() {
            // more than a ring full: the rest in the next turn. Fails only when it is readable already.
            let _ = self.wake.write(1);
        }
        true
    }

    /// Gives one event to control, and the frames that follow from it to the buses.
    fn step(&mut self, now: Now, event: Event<'_>) {
        self.control.step(now, event, &mut self.store, &mut self.transmit);
        self.send(now);
    }

    /// Gives the frames that control wants sent to the buses.
    pub(super) fn send(&mut self, now: Now) {
        let Machine { buses, control, transmit, store, simulator, time, .. } = self;
        control.flush(now, store, transmit, |bus, outgoing| {
            let slot = &buses[bus];
            match &slot.bus {
                _ if !slot.sends => Sent::Refused,
                Bus::SocketCan(port) => hand_over(port, outgoing, time),
                Bus::Virtual => {
                    if let Some(simulator) = simulator {
                        simulator.receive(now.monotonic, bus, &outgoing.frame);
                    }
                    time.sent(outgoing)
                }
            }
        });
    }

    /// When control or the queues want the time next.
    pub(super) fn next_due(&self) -> u64 {
        self.control.next_due().min(self.transmit.next_due())
    }

    /// Serves the deadlines of control and of the queues.
    fn deadlines(&mut self, now: Now) {
        if self.next_due() <= now.monotonic {
            self.step(now, Event::Timer);
            self.wishes();
        }
    }

    /// Hands on what control wants of others.
    fn wishes(&mut self) {
        while let Some((bus, wish)) = self.control.take_wish() {
            if self.notices.slots() > NOTICES_RESERVED {
                self.notify(Notice::Wish { bus, wish });
            }
        }
    }

    /// Lets the simulated devices run, and takes their frames as received.
    fn simulate(&mut self, now: Now) {
        let Some(simulator) = &mut self.simulator else { return };
        if simulator.next_due().max(self.simulator_ran + SIMULATOR_REST) > now.monotonic {
            return;
        }
        self.simulator_ran = now.monotonic;
        let (queue, store, control) = (&mut self.simulated, &mut self.store, &mut self.control);
        let transmit = &mut self.transmit;
        simulator.step(now.monotonic, &mut |bus, frame| {
            if queue.len() < queue.capacity() {
                queue.push((bus, *frame));
            } else {
                store.add_bus(bus, BusWord::LostFrames, 1);
                control.step(now, Event::Lost { bus, frames: 1 }, store, transmit);
            }
        });
        for index in 0..self.simulated.len() {
            let (bus, frame) = self.simulated[index];
            self.received(now, bus, &frame, now.realtime);
        }
        self.simulated.clear();
    }

    /// Frames of a bus were lost on the way, before the one at hand.
    fn lost(&mut self, bus: usize, frames: u64) {
        self.store.add_bus(bus, BusWord::LostFrames, frames);
        let now = self.time.now();
        self.step(now, Event::Lost { bus, frames });
    }

    fn received(&mut self, now: Now, bus: usize, frame: &Frame, source_time: u64) {
        self.store.count_received(bus, frame);
        self.step(now, Event::Received { bus, frame, source_time });
        // after what must be quick
        self.store.publish(bus, frame, source_time, false);
    }

    /// Takes one batch from a data socket.
    fn read_data(&mut self, bus: usize) {
        let Slot { bus: Bus::SocketCan(port), read_at, .. } = &mut self.buses[bus] else { return };
        let Some(sockets) = &port.sockets else { return };
        let received = self.batch.receive(sockets.data());
        *read_at = self.time.now().monotonic;
        self.store.set_bus(bus, BusWord::ReadAt, *read_at);
        match received {
            Ok(count) => {
                for index in 0..count {
                    let arrival = self.batch.arrival(index);
                    if let Bus::SocketCan(port) = &mut self.buses[bus].bus {
                        let lost = newly_dropped(&mut port.data_drops, arrival.drops);
                        if lost > 0 {
                            self.lost(bus, lost);
                        }
                    }
                    let now = self.time.of_stamp(arrival.source_time);
                    match arrival.content {
                        Content::Frame(frame) => {
                            self.received(now, bus, &frame, arrival.source_time.unwrap_or(now.realtime));
                        }
                        // not asked for on this socket
                        Content::Error(_) => {}
                        Content::Other => {
                            self.store.add_bus(bus, BusWord::ReceivedFrames, 1);
                            self.store.add_bus(bus, BusWord::UnknownFrames, 1);
                        }
                    }
                }
            }
            Err(Errno::ENETDOWN) => {
                let now = self.time.look();
                self.set_state(now, bus, BusState::Down);
            }
            Err(Errno::ENODEV | Errno::ENXIO) => {
                port.dying = true;
                let now = self.time.look();
                self.set_state(now, bus, BusState::Gone);
            }
            Err(_) if port.dying => self.retire(bus, None),
            // EAGAIN, EINTR: nothing there. Reading has cleared any other error, and there is nothing to do about it.
            Err(_) => {}
        }
    }

    /// Takes one batch from an error socket, which rests after that.
    fn read_errors(&mut self, bus: usize) {
        let Bus::SocketCan(port) = &mut self.buses[bus].bus else { return };
        let Some(sockets) = &port.sockets else { return };
        port.errors_rest_until = clock::monotonic() + ERROR_REST;
        // Interface changes are told to both sockets; the data socket's telling is the one that counts.
        let Ok(count) = self.batch.receive(sockets.errors()) else { return };
        for index in 0..count {
            let arrival = self.batch.arrival(index);
            if let Bus::SocketCan(port) = &mut self.buses[bus].bus {
                let lost = newly_dropped(&mut port.error_drops, arrival.drops);
                self.store.add_bus(bus, BusWord::ErrorFrames, lost);
            }
            if let Content::Error(error) = arrival.content {
                let now = self.time.now();
                self.bus_event(now, bus, Event::Error { bus, error: &error }, Some(error));
            }
        }
    }

    /// Listens again to error sockets that have rested, and gives back those of a removed interface once they are empty.
    fn look_after_sockets(&mut self, now: Now) {
        for bus in 0..self.buses.len() {
            let Bus::SocketCan(port) = &mut self.buses[bus].bus else { continue };
            let Some(sockets) = &port.sockets else { continue };
            if (1..=now.monotonic).contains(&port.errors_rest_until) {
                port.errors_rest_until = 0;
                let mut again = EpollEvent::new(errors_once(), error_token(bus));
                // it is in the set, so this can't fail
                let _ = self.epoll.modify(sockets.errors(), &mut again);
            }
            if port.dying || self.buses[bus].read_at + READ_AGAIN <= now.monotonic {
                self.read_data(bus);
            }
        }
    }

    pub(super) fn set_state(&mut self, now: Now, bus: usize, state: BusState) {
        self.bus_event(now, bus, Event::Bus { bus, state }, None);
    }

    /// One event that may change the state of a bus; the main thread is told when it has.
    fn bus_event(&mut self, now: Now, bus: usize, event: Event<'_>, error: Option<ErrorFrame>) {
        let before = self.control.bus_state(bus);
        self.step(now, event);
        let state = self.control.bus_state(bus);
        if before != state && self.notices.slots() > NOTICES_RESERVED {
            self.notify(Notice::Bus { bus, before, state, error });
        }
    }

    /// Puts new sockets in place of the old ones.
    fn open(&mut self, now: Now, bus: usize, sockets: Sockets, state: BusState) {
        self.retire(bus, Some(sockets));
        self.set_state(now, bus, state);
    }

    /// Takes the sockets of a bus out of the loop, hands them back to be closed, and puts others in their place.
    fn retire(&mut self, bus: usize, next: Option<Sockets>) {
        let Bus::SocketCan(port) = &mut self.buses[bus].bus else { return };
        if let Some(old) = port.replace(next) {
            // both are in the set, so this can't fail
            let _ = self.epoll.delete(old.data());
            let _ = self.epoll.delete(old.errors());
            self.notify(Notice::Closed { sockets: old });
            self.store.set_bus(bus, BusWord::ReadAt, 0);
        }
        let Bus::SocketCan(Port { sockets: Some(sockets), .. }) = &self.buses[bus].bus else { return };
        let data = self.epoll.add(sockets.data(), EpollEvent::new(EpollFlags::EPOLLIN, data_token(bus)));
        let errors = self.epoll.add(sockets.errors(), EpollEvent::new(errors_once(), error_token(bus)));
        if data.or(errors).is_err() {
            // out of kernel memory or watches: the main thread will try again with new sockets
            self.retire(bus, None);
        }
    }

    /// There is always room: see [`super::NOTICES`].
    pub(super) fn notify(&mut self, notice: Notice) {
        let _ = self.notices.push(notice);
    }
}

/// Asks to be told when CLOCK_REALTIME is set (TFD_TIMER_CANCEL_ON_SET, timerfd_create(2)). The timer itself is never due.
fn watch_clock(clock: &TimerFd) -> nix::Result<()> {
    let never = TimeSpec::new(libc::time_t::MAX, 0);
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    clock.set(Expiration::OneShot(never), flags)
}
