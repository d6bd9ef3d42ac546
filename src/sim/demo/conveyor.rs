//! The conveyor: driven by the main drive, carries and counts bottles.

use super::LINE;
use super::drive::Drive;
use super::random::Random;
use super::table::{Received, Sent, Source, Timing};
use super::world::{Device, Fault, TICK_S, approach, bit};

/// Way of the belt for one revolution of the motor, m.
const METRES_PER_REVOLUTION: f64 = 0.04;
/// From infeed to outfeed, mm.
const LENGTH: f64 = 12_000.0;
/// Diameter of a bottle, mm.
const BOTTLE: f64 = 70.0;

#[derive(Debug)]
pub struct Conveyor {
    pub enable: bool,
    counter_reset: bool,
    gate: f64,
    gap: f64,
    limit: f64,
    filter_us: f64,
    /// m/min, negative backwards.
    pub speed: f64,
    pub jammed: bool,
    /// Way of the belt, mm; as `ConveyorStatus.BeltPosition` wraps.
    position: f64,
    /// Way since the last bottle came in, mm.
    since_bottle: f64,
    /// Bottles that came in, ever.
    pub bottles: u64,
    /// Bottles that came in with this tick.
    pub new_bottles: u64,
    good: u32,
    rejected: u16,
    missed: u16,
    vibration: f64,
}

impl Conveyor {
    pub fn new() -> Conveyor {
        Conveyor {
            enable: false,
            counter_reset: false,
            gate: 0.0,
            gap: 250.0,
            limit: 1200.0,
            filter_us: 2000.0,
            speed: 0.0,
            jammed: false,
            position: 0.0,
            since_bottle: 0.0,
            bottles: 0,
            new_bottles: 0,
            good: 18_204,
            rejected: 97,
            missed: 4,
            vibration: 0.0,
        }
    }

    /// Bottles per second.
    pub fn rate(&self) -> f64 {
        self.speed.max(0.0) / 60.0 * 1000.0 / self.gap
    }

    /// Way from bottle to bottle, as a share of the gap.
    pub fn phase(&self) -> f64 {
        self.since_bottle / self.gap
    }

    pub fn tick(&mut self, fault: Fault, drive: &Drive, random: &mut Random) {
        self.jammed = fault == Fault::ConveyorJam;
        let coupled = self.enable && !self.jammed;
        approach(&mut self.speed, if coupled { drive.speed * METRES_PER_REVOLUTION } else { 0.0 }, 0.15);
        if self.speed.abs() < 0.01 {
            self.speed = 0.0;
        }
        let way = self.speed / 60.0 * 1000.0 * TICK_S;
        self.position = (self.position + way).rem_euclid(1_048_576.0);
        let held = self.on_belt() >= self.limit;
        self.new_bottles = 0;
        if way > 0.0 && !held {
            self.since_bottle += way;
            if self.since_bottle >= self.gap {
                self.since_bottle = (self.since_bottle - self.gap).min(self.gap);
                self.new_bottles = 1;
                self.bottles += 1;
            }
        }
        approach(&mut self.vibration, 8.0 + 2.2 * self.speed.abs() + random.noise(60.0), 0.3);
    }

    /// Counts what leaves the line. `ready`: all machines did their work.
    pub fn count(&mut self, ready: bool, random: &mut Random) {
        if self.counter_reset {
            (self.good, self.rejected, self.missed) = (0, 0, 0);
        }
        if self.new_bottles == 0 {
            return;
        }
        let luck = random.unit();
        // a long filter does not see every bottle
        if luck < 0.0005 + self.filter_us / 4.0e6 {
            self.missed = self.missed.wrapping_add(1);
        } else if self.gate == 1.0 || self.gate != 2.0 && (luck > 0.994 || !ready) {
            self.rejected = self.rejected.wrapping_add(1);
        } else {
            self.good = self.good.wrapping_add(1);
        }
    }

    fn on_belt(&self) -> f64 {
        (LENGTH / self.gap).floor().min(250.0)
    }

    fn covered(&self, ahead: f64) -> bool {
        (self.since_bottle + ahead * self.gap).rem_euclid(self.gap) < BOTTLE
    }

    fn state(&self) -> f64 {
        match (self.enable, self.jammed) {
            (_, true) => 5.0,
            (false, _) => 0.0,
            (true, _) if self.speed == 0.0 => 2.0,
            (true, _) => 3.0,
        }
    }

    fn direction(&self) -> f64 {
        if self.speed == 0.0 { 0.0 } else { self.speed.signum() }
    }
}

/// What it listens to.
pub fn received() -> Received {
    Received {
        bus: LINE,
        message: "ConveyorCommand",
        arrived: |_| {},
        signals: vec![
            ("ConveyorEnable", |w, v| w.conveyor.enable = v != 0.0),
            ("CounterReset", |w, v| w.conveyor.counter_reset = v != 0.0),
            ("RejectGate", |w, v| w.conveyor.gate = v),
            ("ProductGap", |w, v| w.conveyor.gap = v.clamp(100.0, 2000.0)),
            ("AccumulationLimit", |w, v| w.conveyor.limit = v),
            ("SensorFilter", |w, v| w.conveyor.filter_us = v),
        ],
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::Value;
    let message = |message, signals| Sent {
        bus: LINE,
        message,
        device: Device::Conveyor,
        source_address: None,
        timing: Timing::Cyclic,
        signals,
    };
    vec![
        message(
            "ConveyorStatus",
            vec![
                ("BeltSpeed", Value(|w| w.conveyor.speed.abs())),
                ("BeltPosition", Value(|w| w.conveyor.position.floor())),
                ("EntrySensor", Value(|w| bit(w.conveyor.covered(0.0)))),
                ("ExitSensor", Value(|w| bit(w.conveyor.covered(0.4)))),
                ("JamSensor", Value(|w| bit(w.conveyor.jammed))),
                ("BeltDirection", Value(|w| w.conveyor.direction())),
                ("ConveyorState", Value(|w| w.conveyor.state())),
                ("ProductsOnBelt", Value(|w| w.conveyor.on_belt())),
                ("BeltVibration", Value(|w| w.conveyor.vibration.clamp(0.0, 600.0))),
            ],
        ),
        message(
            "ConveyorCounters",
            vec![
                ("GoodCount", Value(|w| w.conveyor.good as f64)),
                ("RejectCount", Value(|w| w.conveyor.rejected as f64)),
                ("MissedCount", Value(|w| w.conveyor.missed as f64)),
            ],
        ),
    ]
}
