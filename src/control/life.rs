//! The life of each bus: its state from interface and error frames, alarms, the likely cause, restarts after bus-off,
//! and when nothing of ours may be sent.

mod restart;
mod trouble;

use super::Now;
use super::alarm::Alarms;
use super::due::Due;
use crate::bus::error_frame::{ErrorFrame, Finding};
use crate::command::Denied;
use crate::plan::{Alarm, BusIndex, Direction, Plan};
use crate::store::Writer;
use crate::store::layout::{BusState, BusWord, Trouble};
use restart::Restarts;
use trouble::Evidence;

/// An interface that is not there yet at the start is no alarm for so long: the sockets are just being opened.
const START_GRACE: u64 = 1_000_000_000;
/// A trouble of a healthy bus is looked at again after this time.
const LOOK_AGAIN: u64 = 1_000_000_000;
/// So many departures within [`FLAPPING_WITHIN`] are flapping.
const DEPARTURES: usize = 3;
const FLAPPING_WITHIN: u64 = 5 * 60 * 1_000_000_000;
/// On the bus for so long, it does not flap any more.
const FLAPPING_OVER: u64 = 10 * 60 * 1_000_000_000;

/// What the machine side wants for a bus that only others can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The controller is off the bus and is to be restarted.
    Restart,
    /// There were as many restarts within the hour as there may be: from now on by command.
    ByHand,
}

/// What can be due for a bus.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Kind {
    /// The grace of the start is over.
    Grace,
    Restart,
    /// Quarantine or listening is over.
    Silence,
    /// Errors of a healthy bus may be over.
    Trouble,
    Flapping,
}

const KINDS: usize = 5;

pub(super) struct Life {
    buses: Vec<BusLife>,
    due: Due,
    alarms: Alarms,
    /// Buses whose wish waits to be taken.
    wishes: usize,
}

struct BusLife {
    state: BusState,
    /// Nanoseconds that we listen after the interface came up; 0 where nothing of ours is sent.
    listen: u64,
    /// CLOCK_MONOTONIC nanoseconds; 0: none.
    silent_until: u64,
    /// It was off since it was last on the bus.
    was_off: bool,
    /// CLOCK_MONOTONIC nanoseconds of the last return to the bus.
    since: u64,
    counters: (u8, u8),
    evidence: Evidence,
    trouble: Trouble,
    restarts: Restarts,
    wish: Option<Wish>,
    /// CLOCK_MONOTONIC nanoseconds of the last departures, the oldest first; 0: none.
    departures: [u64; DEPARTURES],
    /// Departures since it flaps; 0: it does not.
    flaps: u64,
}

impl Life {
    pub fn new(plan: &Plan) -> Life {
        let buses = plan.buses.iter().map(|bus| {
            let sends = plan.messages[bus.messages.clone()].iter().any(|m| matches!(m.direction, Direction::Output(_)));
            BusLife {
                state: BusState::Gone,
                listen: if sends { bus.listen } else { 0 },
                silent_until: 0,
                was_off: false,
                since: 0,
                counters: (0, 0),
                evidence: Evidence::default(),
                trouble: Trouble::None,
                restarts: Restarts::new(bus.restart),
                wish: None,
                departures: [0; DEPARTURES],
                flaps: 0,
            }
        });
        Life { buses: buses.collect(), due: Due::new(plan.buses.len() * KINDS), alarms: Alarms::new(plan), wishes: 0 }
    }

    /// Goes on with the buses that both plans have; the others begin. Instead of [`Life::start`].
    pub fn adopt(&mut self, old: &mut Life, buses: &[Option<BusIndex>], now: Now) {
        for (bus, heir) in buses.iter().enumerate() {
            let Some(at) = *heir else {
                self.set_due(bus, Kind::Grace, now.monotonic.saturating_add(START_GRACE));
                continue;
            };
            let (life, before) = (&mut self.buses[bus], &mut old.buses[at]);
            let same_rule = life.restarts.adopt(&before.restarts);
            // all of it, but for what the plan says
            std::mem::swap(life, before);
            std::mem::swap(&mut life.restarts, &mut before.restarts);
            life.listen = before.listen;
            self.wishes += usize::from(life.wish.is_some());
            let off = life.state == BusState::BusOff;
            for kind in KIND {
                self.set_due(bus, kind, old.due.get(at * KINDS + kind as usize));
            }
            if off && !same_rule {
                self.plan_restart(now, bus);
            }
        }
        old.wishes = 0;
    }

    /// Once, before the first event.
    pub fn start(&mut self, now: Now) {
        for bus in 0..self.buses.len() {
            self.set_due(bus, Kind::Grace, now.monotonic.saturating_add(START_GRACE));
        }
    }

    pub fn state(&self, bus: BusIndex) -> BusState {
        self.buses[bus].state
    }

    /// Whether a frame of ours may leave by a bus now: it is up and not off, and neither in quarantine nor being
    /// listened to. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn can_send(&self, bus: BusIndex, now: u64) -> bool {
        let life = &self.buses[bus];
        on_bus(life.state) && now >= life.silent_until
    }

    /// CLOCK_MONOTONIC nanoseconds until which nothing of ours is sent on a bus that is up; 0: none.
    pub fn silent_until(&self, bus: BusIndex) -> u64 {
        self.buses[bus].silent_until
    }

    /// Sends nothing on a bus until then (CLOCK_MONOTONIC nanoseconds), or longer where that is so already.
    pub fn keep_silent(&mut self, bus: BusIndex, until: u64, store: &mut Writer) {
        if until > self.buses[bus].silent_until {
            self.silence(bus, until, store);
        }
    }

    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    /// A wish that nobody has taken yet.
    pub fn take_wish(&mut self) -> Option<(BusIndex, Wish)> {
        if self.wishes == 0 {
            return None;
        }
        self.wishes -= 1;
        self.buses.iter_mut().enumerate().find_map(|(bus, life)| Some((bus, life.wish.take()?)))
    }

    /// What the kernel says about an interface.
    pub fn interface(&mut self, now: Now, bus: BusIndex, state: BusState, store: &mut Writer) {
        self.enter(now, bus, state, store);
    }

    /// An error frame; what follows from it.
    pub fn error(&mut self, now: Now, bus: BusIndex, error: &ErrorFrame, store: &mut Writer) -> Finding {
        let life = &mut self.buses[bus];
        let finding = error.finding(life.state);
        store.add_bus(bus, BusWord::ErrorFrames, 1);
        if finding.overflow {
            store.add_bus(bus, BusWord::ControllerOverflows, 1);
        }
        // a restarted controller counts from zero (ISO 11898-1, bus integration)
        if let Some(counters) = finding.counters.or(finding.restarted.then_some((0, 0))) {
            life.count(bus, counters, store);
        }
        life.evidence.add(now.monotonic, finding.class);
        self.enter(now, bus, finding.state, store);
        self.judge(now, bus, store);
        finding
    }

    /// What is due.
    pub fn timer(&mut self, now: Now, store: &mut Writer) {
        while let Some((item, _)) = self.due.take(now.monotonic) {
            let bus = item / KINDS;
            match KIND[item % KINDS] {
                Kind::Grace => self.grace_is_over(now, bus, store),
                Kind::Restart => self.ask(now, bus),
                Kind::Silence => self.silence(bus, 0, store),
                Kind::Trouble => self.judge(now, bus, store),
                Kind::Flapping => {
                    self.buses[bus].flaps = 0;
                    self.alarms.set(Alarm::Flapping(bus), false, 0, now, store);
                }
            }
        }
    }

    /// By command: at once, whatever the policy says, and what was before is forgotten.
    pub fn restart(&mut self, now: Now, bus: BusIndex) -> Result<(), Denied> {
        if self.buses[bus].state != BusState::BusOff {
            return Err(Denied::NotBusOff(bus));
        }
        self.buses[bus].restarts.by_command(now.monotonic);
        self.wish(bus, Some(Wish::Restart));
        self.plan_restart(now, bus);
        Ok(())
    }

    /// Asks for a restart, and sets when it is asked for again if that changes nothing.
    fn ask(&mut self, now: Now, bus: BusIndex) {
        if self.buses[bus].restarts.ask(now.monotonic) {
            self.wish(bus, Some(Wish::Restart));
            self.plan_restart(now, bus);
        } else {
            self.wish(bus, Some(Wish::ByHand));
        }
    }

    fn plan_restart(&mut self, now: Now, bus: BusIndex) {
        let next = self.buses[bus].restarts.next(now.monotonic);
        self.set_due(bus, Kind::Restart, next);
    }

    fn wish(&mut self, bus: BusIndex, wish: Option<Wish>) {
        let before = std::mem::replace(&mut self.buses[bus].wish, wish);
        self.wishes = self.wishes + usize::from(wish.is_some()) - usize::from(before.is_some());
    }

    fn grace_is_over(&mut self, now: Now, bus: BusIndex, store: &mut Writer) {
        let state = self.buses[bus].state;
        if !has_interface(state) {
            self.alarms.set(Alarm::InterfaceGone(bus), true, state as u64, now, store);
            self.judge(now, bus, store);
        }
    }

    /// The bus has a state, which may be a new one.
    fn enter(&mut self, now: Now, bus: BusIndex, state: BusState, store: &mut Writer) {
        let life = &mut self.buses[bus];
        let before = std::mem::replace(&mut life.state, state);
        if before == state {
            return;
        }
        self.set_due(bus, Kind::Grace, u64::MAX);
        store.set_bus_state(bus, state, now.realtime);
        if has_interface(before) && !has_interface(state) {
            store.add_bus(bus, BusWord::InterfaceLosses, 1);
        }
        if on_bus(before) && !on_bus(state) {
            self.departed(now, bus, store);
        }
        if state == BusState::BusOff {
            self.off(now, bus, store);
        } else {
            self.wish(bus, None);
            self.set_due(bus, Kind::Restart, u64::MAX);
        }
        if !on_bus(before) && on_bus(state) {
            self.returned(now, bus, before, store);
        }
        let has_errors = matches!(state, BusState::Warning | BusState::Passive);
        self.alarms.set(Alarm::InterfaceGone(bus), !has_interface(state), state as u64, now, store);
        self.alarms.set(Alarm::BusOff(bus), state == BusState::BusOff, self.buses[bus].trouble as u64, now, store);
        self.alarms.set(Alarm::BusErrors(bus), has_errors, self.buses[bus].trouble as u64, now, store);
        self.judge(now, bus, store);
    }

    fn departed(&mut self, now: Now, bus: BusIndex, store: &mut Writer) {
        let life = &mut self.buses[bus];
        life.departures.rotate_left(1);
        life.departures[DEPARTURES - 1] = now.monotonic.max(1);
        let oldest = life.departures[0];
        if life.flaps > 0 {
            life.flaps += 1;
        } else if oldest > 0 && now.monotonic - oldest <= FLAPPING_WITHIN {
            life.flaps = DEPARTURES as u64;
        }
        let flaps = life.flaps;
        if flaps > 0 {
            self.alarms.set(Alarm::Flapping(bus), true, flaps, now, store);
        }
        self.set_due(bus, Kind::Flapping, u64::MAX);
        self.silence(bus, 0, store);
    }

    fn off(&mut self, now: Now, bus: BusIndex, store: &mut Writer) {
        store.add_bus(bus, BusWord::BusOffs, 1);
        let life = &mut self.buses[bus];
        life.was_off = true;
        life.restarts.off_after(now.monotonic - life.since);
        self.plan_restart(now, bus);
    }

    fn returned(&mut self, now: Now, bus: BusIndex, before: BusState, store: &mut Writer) {
        let life = &mut self.buses[bus];
        life.since = now.monotonic;
        let mut silence = 0;
        if before != BusState::BusOff {
            // another interface, or one that was set up anew: its counters are not those we know
            life.count(bus, (0, 0), store);
            silence = life.listen;
        }
        if std::mem::take(&mut life.was_off) {
            store.add_bus(bus, BusWord::Restarts, 1);
            silence = silence.max(life.restarts.quarantine());
        }
        let flapping = life.flaps > 0;
        if silence > 0 {
            self.keep_silent(bus, now.monotonic.saturating_add(silence), store);
        }
        if flapping {
            self.set_due(bus, Kind::Flapping, now.monotonic.saturating_add(FLAPPING_OVER));
        }
    }

    fn silence(&mut self, bus: BusIndex, until: u64, store: &mut Writer) {
        self.buses[bus].silent_until = until;
        store.set_bus(bus, BusWord::SilentUntil, until);
        self.set_due(bus, Kind::Silence, if until == 0 { u64::MAX } else { until });
    }

    /// Finds the likely cause, and shows it where it is another one.
    fn judge(&mut self, now: Now, bus: BusIndex, store: &mut Writer) {
        let life = &mut self.buses[bus];
        let (state, trouble) = (life.state, life.evidence.judge(now.monotonic, life.state, life.counters));
        let look = state == BusState::Active && trouble != Trouble::None;
        if std::mem::replace(&mut life.trouble, trouble) != trouble {
            store.set_bus(bus, BusWord::Trouble, trouble as u64);
            match state {
                BusState::BusOff => self.alarms.set(Alarm::BusOff(bus), true, trouble as u64, now, store),
                BusState::Warning | BusState::Passive => {
                    self.alarms.set(Alarm::BusErrors(bus), true, trouble as u64, now, store);
                }
                BusState::Active | BusState::Down | BusState::Gone => {}
            }
        }
        self.set_due(bus, Kind::Trouble, if look { now.monotonic.saturating_add(LOOK_AGAIN) } else { u64::MAX });
    }

    fn set_due(&mut self, bus: BusIndex, kind: Kind, moment: u64) {
        self.due.set(bus * KINDS + kind as usize, moment);
    }
}

impl BusLife {
    fn count(&mut self, bus: BusIndex, counters: (u8, u8), store: &mut Writer) {
        self.counters = counters;
        store.set_bus(bus, BusWord::TransmitErrors, counters.0.into());
        store.set_bus(bus, BusWord::ReceiveErrors, counters.1.into());
    }
}

const KIND: [Kind; KINDS] = [Kind::Grace, Kind::Restart, Kind::Silence, Kind::Trouble, Kind::Flapping];

fn on_bus(state: BusState) -> bool {
    match state {
        BusState::Active | BusState::Warning | BusState::Passive => true,
        BusState::Gone | BusState::Down | BusState::BusOff => false,
    }
}

fn has_interface(state: BusState) -> bool {
    !matches!(state, BusState::Gone | BusState::Down)
}
