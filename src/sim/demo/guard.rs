//! The guard relay's report: doors that open now and then. It only reports; nothing here can be commanded.

use super::LINE;
use super::random::Random;
use super::table::{Sent, Source, Timing};
use super::world::{Device, Fault, TICK_S, bit};

/// Seconds from the start to the first opening of a door: time enough to look around.
const FIRST_OPENING: f64 = 300.0;
/// A door stays open for this long, seconds.
const OPEN: f64 = 6.0;

#[derive(Debug)]
pub struct Guard {
    doors_open: [bool; 4],
    /// Seconds to the next opening or, while one is open, closing.
    next: f64,
    door: usize,
    open: bool,
    /// Waits for the reset button.
    pub reset_required: bool,
    openings: u16,
    since_opening: f64,
    voltage: f64,
    muting: f64,
}

impl Guard {
    pub fn new() -> Guard {
        Guard {
            doors_open: [false; 4],
            next: FIRST_OPENING,
            door: 0,
            open: false,
            reset_required: false,
            openings: 311,
            since_opening: 742.0,
            voltage: 24.1,
            muting: 0.0,
        }
    }

    /// Power for the drives.
    pub fn relay_closed(&self) -> bool {
        !self.reset_required && self.doors_open == [false; 4]
    }

    pub fn tick(&mut self, fault: Fault, reset_pressed: bool, random: &mut Random) {
        self.next -= TICK_S;
        if self.next <= 0.0 {
            self.open = !self.open;
            self.next = if self.open { OPEN } else { random.between(240.0, 420.0) };
            if self.open {
                self.door = (self.door + 1) % 4;
            }
        }
        let forced = fault == Fault::GuardDoorOpen;
        let before = self.doors_open;
        self.doors_open = std::array::from_fn(|door| self.open && door == self.door || forced && door == 1);
        let any = self.doors_open != [false; 4];
        self.since_opening = (self.since_opening + TICK_S).min(6553.0);
        if any && before == [false; 4] {
            self.openings = self.openings.wrapping_add(1);
            self.since_opening = 0.0;
        }
        if any {
            self.reset_required = true;
        } else if reset_pressed {
            self.reset_required = false;
        }
        self.voltage = 24.1 + random.noise(0.3);
        self.muting = if self.muting <= 0.0 { random.between(18.0, 35.0) } else { self.muting - TICK_S };
    }

    fn door(&self, door: usize) -> f64 {
        // 1 is "closed"
        bit(!self.doors_open[door])
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::{Counter, Value};
    vec![Sent {
        bus: LINE,
        message: "GuardRelayStatus",
        device: Device::GuardRelay,
        source_address: None,
        timing: Timing::Cyclic,
        signals: vec![
            ("Door1", Value(|w| w.guard.door(0))),
            ("Door2", Value(|w| w.guard.door(1))),
            ("Door3", Value(|w| w.guard.door(2))),
            ("Door4", Value(|w| w.guard.door(3))),
            ("EStopChain", Value(|_| 1.0)),
            ("ResetRequired", Value(|w| bit(w.guard.reset_required))),
            ("Muting", Value(|w| bit(w.guard.muting < 4.0))),
            ("RelayOutput", Value(|w| bit(w.guard.relay_closed()))),
            ("SupplyVoltage", Value(|w| w.guard.voltage)),
            ("OpenCount", Value(|w| w.guard.openings as f64)),
            ("SinceLastOpening", Value(|w| w.guard.since_opening)),
            ("GuardAlive", Counter { modulus: 16, stuck_by: None }),
        ],
    }]
}
