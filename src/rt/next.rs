//! A plan that is ready to take the place of the one in force: made elsewhere, so that the change itself allocates nothing.

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::load::{Load, Rates};
use super::machine::{Machine, Slot};
use super::time::Time;
use super::token::{data_token, error_token, errors_once};
use super::{Notice, Order};
use crate::bus::Bus;
use crate::bus::socketcan::Port;
use crate::command::{Denied, Patch};
use crate::control::{Control, Now, State, Transmit};
use crate::plan::{Direction, Interface, Plan, Succession};
use crate::sim::Simulator;
use crate::store::layout::{BusState, FLAG_SIMULATED, Word};
use crate::store::{Writer, clock};

/// Nanoseconds that a change of plans takes at least, and for each record that goes on: until the next cycle there should be more.
const ROOM: u64 = 200_000;
const ROOM_FOR_RECORD: u64 = 100;

/// Nanoseconds that another plan waits for a moment without anything due; then it takes over all the same.
const LONGEST_WAIT: u64 = 100_000_000;

/// Everything that one plan needs in the real-time thread. Once it has been taken over, what the plan before needed: to be
/// freed where that does no harm.
pub struct Next {
    /// Which one it is, for who made it.
    pub number: u64,
    pub(super) buses: Vec<Slot>,
    pub(super) control: Control,
    pub(super) transmit: Transmit,
    pub(super) store: Writer,
    pub(super) simulator: Option<Simulator>,
    /// [`Word::Flags`] that come from the plan.
    pub(super) flags: u64,
    pub(super) succession: Succession,
    /// The moment that `control` was made for.
    pub(super) made: Now,
    /// Nanoseconds that are to be left until something is due.
    pub(super) room: u64,
}

/// When it is the turn of a plan that is ready.
pub(super) struct Turn {
    /// CLOCK_MONOTONIC nanoseconds since which nothing but the time until the next deadline is in the way.
    since: u64,
    /// It is told that it waits for `reload_when`.
    told: bool,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Later,
    /// Say that it waits for `reload_when`; once.
    Tell,
    Now,
}

impl Turn {
    /// `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn new(now: u64) -> Turn {
        Turn { since: now, told: false }
    }

    /// `may`: `reload_when` holds; `free`: there is time until something is due.
    fn look(&mut self, may: bool, now: u64, free: bool) -> Answer {
        if !may {
            self.since = now;
            return if std::mem::replace(&mut self.told, true) { Answer::Later } else { Answer::Tell };
        }
        if free || now >= self.since.saturating_add(LONGEST_WAIT) { Answer::Now } else { Answer::Later }
    }
}

impl Next {
    /// `old`: the plan in force.
    pub fn new(number: u64, old: &Plan, plan: &Plan, store: Writer, simulator: Option<Simulator>) -> Next {
        let made = Time::new().now();
        let succession = Succession::new(old, plan);
        let records: usize = succession.records.iter().map(|(_, _, count)| count).sum();
        Next {
            number,
            buses: slots(plan),
            control: Control::new(plan, made),
            transmit: Transmit::new(plan),
            store,
            simulator,
            flags: flags(plan),
            made,
            room: ROOM + ROOM_FOR_RECORD * records as u64,
            succession,
        }
    }

    /// A retained value that this plan has use for, as a checked write: in force once armed, where the plan in force does not know
    /// better.
    pub fn restore(&mut self, retained: &Patch) {
        self.control.restore(retained);
    }

    /// Once it has been taken over: lets the old store look alive for readers that do not have the new one yet.
    pub fn keep_alive(&mut self) {
        self.store.set(Word::Heartbeat, clock::monotonic());
    }
}

/// The buses of a plan, all without sockets.
pub(super) fn slots(plan: &Plan) -> Vec<Slot> {
    let slot = |(index, bus): (usize, &crate::plan::Bus)| Slot {
        bus: match bus.interface {
            Interface::SocketCan(_) => Bus::SocketCan(Port::default()),
            Interface::Virtual => Bus::Virtual,
        },
        sends: plan.messages[bus.messages.clone()].iter().any(|m| matches!(m.direction, Direction::Output(_)))
            || plan.routes.iter().any(|route| route.to == index),
        read_at: 0,
        load: Load::new(Rates::of(bus)),
    };
    plan.buses.iter().enumerate().map(slot).collect()
}

pub(super) fn flags(plan: &Plan) -> u64 {
    if plan.simulated { FLAG_SIMULATED } else { 0 }
}

impl Machine {
    /// Puts the plan that waits in force, if it may be and there is time until the next deadline: a cycle has just been served
    /// then, or none is near.
    pub(super) fn take_over(&mut self) {
        let Some((next, turn)) = &mut self.next else { return };
        let (room, now) = (next.room, self.time.now());
        let may = self.control.may_be_replaced(&self.store);
        let due = self.control.next_due().min(self.transmit.next_due());
        match turn.look(may, now.monotonic, now.monotonic.saturating_add(room) <= due) {
            Answer::Later => {}
            Answer::Tell => drop(self.notices.push(Notice::Waits)),
            Answer::Now => {
                if let Some((next, _)) = self.next.take() {
                    self.swap(now, next);
                }
            }
        }
    }

    fn swap(&mut self, now: Now, mut next: Box<Next>) {
        self.control.farewell(now, |at| next.succession.leaves[at], &mut self.store, &mut self.transmit);
        self.send(now);
        let now = self.look();
        let (control, transmit, store) = (&mut self.control, &mut self.transmit, &mut self.store);
        let ours = (&mut next.transmit, &mut next.store);
        next.control.adopt(next.made, now, ours, State { control, transmit, store }, &next.succession);
        std::mem::swap(&mut self.control, &mut next.control);
        std::mem::swap(&mut self.transmit, &mut next.transmit);
        std::mem::swap(&mut self.store, &mut next.store);
        std::mem::swap(&mut self.simulator, &mut next.simulator);
        std::mem::swap(&mut self.buses, &mut next.buses);
        std::mem::swap(&mut self.flags, &mut next.flags);
        self.store.set(Word::Flags, self.flags | self.granted);
        self.swaps += 1;
        for bus in 0..self.buses.len() {
            match next.succession.buses[bus] {
                Some(at) => {
                    std::mem::swap(&mut self.buses[bus].bus, &mut next.buses[at].bus);
                    self.buses[bus].read_at = next.buses[at].read_at;
                    self.buses[bus].load.go_on(&next.buses[at].load);
                    self.renumber(bus);
                }
                None if matches!(self.buses[bus].bus, Bus::Virtual) => self.set_state(now, bus, BusState::Active),
                None => {}
            }
        }
        for slot in &next.buses {
            if let Bus::SocketCan(Port { sockets: Some(sockets), .. }) = &slot.bus {
                // both are in the set, so this can't fail
                let _ = self.epoll.delete(sockets.data());
                let _ = self.epoll.delete(sockets.errors());
            }
        }
        self.send(now);
        self.notify(Notice::Swapped(next));
    }

    /// The sockets of a bus are heard under its number in this plan.
    fn renumber(&mut self, bus: usize) {
        let Bus::SocketCan(port) = &self.buses[bus].bus else { return };
        let Some(sockets) = &port.sockets else { return };
        let mut data = EpollEvent::new(EpollFlags::EPOLLIN, data_token(bus));
        // one that rests is asked again when it has rested
        let flags = if port.errors_rest_until == 0 { errors_once() } else { EpollFlags::EPOLLONESHOT };
        let mut errors = EpollEvent::new(flags, error_token(bus));
        // both are in the set, so this can't fail
        let _ = self.epoll.modify(sockets.data(), &mut data);
        let _ = self.epoll.modify(sockets.errors(), &mut errors);
    }

    /// An order that was given before a change of plans, and means something else since.
    pub(super) fn give_back(&mut self, order: Order) {
        match order {
            Order::Command { ticket, .. } => self.notify(Notice::Done { ticket, result: Err(Denied::Reloaded) }),
            Order::Open { sockets, .. } => self.notify(Notice::Closed { sockets }),
            Order::Swap(next) => self.notify(Notice::Unused(next)),
            // said again by the next look at the interfaces
            Order::State { .. } | Order::Setup { .. } | Order::Alarm { .. } | Order::Cancel | Order::Stop => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each: milliseconds, `reload_when` holds, there is time; what is done.
    fn check(looks: &[(u64, bool, bool, Answer)]) {
        let mut turn = Turn::new(0);
        for (at, may, free, wanted) in looks {
            assert_eq!(turn.look(*may, at * 1_000_000, *free), *wanted, "{looks:?} at {at} ms");
        }
    }

    #[test]
    fn a_plan_takes_over_in_a_free_moment_or_after_a_while() {
        use Answer::{Later, Now, Tell};
        check(&[(0, true, true, Now)]);
        check(&[(0, true, false, Later), (50, true, true, Now)]);
        check(&[(0, true, false, Later), (99, true, false, Later), (100, true, false, Now)]);
        check(&[(0, false, true, Tell), (1, false, true, Later), (2, true, true, Now)]);
        // the search for a free moment begins when the condition holds, however long that took
        check(&[
            (0, false, true, Tell),
            (5000, false, false, Later),
            (5001, true, false, Later),
            (5050, true, true, Now),
        ]);
        check(&[
            (0, false, true, Tell),
            (5000, false, false, Later),
            (5099, true, false, Later),
            (5100, true, false, Now),
        ]);
    }
}
