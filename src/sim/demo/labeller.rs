//! The labeller: uses up its roll, gets a new one, prints and applies.

use super::LINE;
use super::conveyor::Conveyor;
use super::random::Random;
use super::table::{Received, Sent, Source, Timing};
use super::world::{AMBIENT, Device, Fault, TICK_S, approach, bit};

/// Share of the roll that one label takes, per cent.
const LABEL: f64 = 0.05;
/// Time to change the roll, seconds.
const CHANGE: f64 = 8.0;
/// Stroke of the applicator, mm.
const STROKE: f64 = 118.0;

#[derive(Debug)]
pub struct Labeller {
    enable: bool,
    intensity: f64,
    offset: f64,
    /// Labels are being applied.
    pub running: bool,
    empty: bool,
    /// Per cent.
    roll: f64,
    ribbon: f64,
    /// Seconds left of a change of the roll.
    change: f64,
    position: f64,
    readable: bool,
    printed: u32,
    head_temperature: f64,
    /// mm.
    cylinder: f64,
    cycles: u32,
    vacuum: f64,
    air: f64,
    idle: bool,
}

impl Labeller {
    pub fn new() -> Labeller {
        Labeller {
            enable: false,
            intensity: 70.0,
            offset: 0.0,
            running: false,
            empty: false,
            roll: 38.0,
            ribbon: 64.0,
            change: 0.0,
            position: 0.0,
            readable: true,
            printed: 112_390,
            head_temperature: 48.0,
            cylinder: 0.0,
            cycles: 604_118,
            vacuum: -20.0,
            air: 6.1,
            idle: true,
        }
    }

    pub fn tick(&mut self, fault: Fault, conveyor: &Conveyor, random: &mut Random) {
        let robbed = fault == Fault::LabellerRollEmpty;
        if robbed {
            (self.roll, self.change) = (0.0, CHANGE);
        } else if self.roll <= 0.0 {
            if self.change <= 0.0 {
                self.change = CHANGE;
            }
            self.change -= TICK_S;
            if self.change <= 0.0 {
                self.roll = 100.0;
            }
        }
        self.empty = self.roll <= 0.0;
        self.idle = conveyor.rate() <= 0.0;
        self.running = self.enable && !self.empty;
        if self.running && conveyor.new_bottles > 0 {
            self.roll = (self.roll - LABEL).max(0.0);
            self.ribbon = if self.ribbon < 1.0 { 100.0 } else { self.ribbon - LABEL / 3.0 };
            self.printed = (self.printed + 1) % 0x100_0000;
            self.cycles = (self.cycles + 1) % 0x100_0000;
            self.position = (self.offset + random.noise(0.25)).clamp(-20.0, 20.0);
            // too cold is pale, too hot is smeared
            self.readable = random.unit() < 1.0 - ((self.intensity - 70.0).abs() / 60.0).powi(2) - 0.004;
        }
        let printing = self.running && !self.idle;
        let phase = conveyor.phase().clamp(0.0, 1.0);
        let target = if printing { STROKE * (std::f64::consts::PI * phase).sin() } else { 0.0 };
        approach(&mut self.cylinder, target, 0.03);
        let vacuum = if printing && phase < 0.6 { -640.0 } else { -20.0 };
        approach(&mut self.vacuum, vacuum + random.noise(8.0), 0.05);
        approach(&mut self.air, 6.1 - 0.25 * bit(printing) + random.noise(0.15), 0.5);
        let head = AMBIENT + 14.0 + if printing { 0.45 * self.intensity } else { 0.0 };
        approach(&mut self.head_temperature, head, 25.0);
    }

    fn state(&self) -> f64 {
        if !self.enable {
            0.0
        } else if self.empty {
            7.0
        } else if self.idle {
            2.0
        } else {
            3.0
        }
    }
}

/// What it listens to.
pub fn received() -> Received {
    Received {
        bus: LINE,
        message: "LabellerCommand",
        arrived: |_| {},
        signals: vec![
            ("LabellerEnable", |w, v| w.labeller.enable = v != 0.0),
            ("PrintIntensity", |w, v| w.labeller.intensity = v.clamp(0.0, 100.0)),
            ("LabelOffset", |w, v| w.labeller.offset = v),
        ],
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::Value;
    let message = |message, signals| Sent {
        bus: LINE,
        message,
        device: Device::Labeller,
        source_address: None,
        timing: Timing::Cyclic,
        signals,
    };
    vec![
        message(
            "LabellerStatus",
            vec![
                ("LabellerState", Value(|w| w.labeller.state())),
                ("RollEmpty", Value(|w| bit(w.labeller.empty))),
                ("RibbonLow", Value(|w| bit(w.labeller.ribbon < 10.0))),
                ("CodeReadable", Value(|w| bit(w.labeller.readable))),
                ("RollRemaining", Value(|w| w.labeller.roll)),
                ("LabelPosition", Value(|w| w.labeller.position)),
                ("LabelsPrinted", Value(|w| w.labeller.printed as f64)),
                ("PrintHeadTemperature", Value(|w| w.labeller.head_temperature)),
            ],
        ),
        message(
            "LabellerApplicatorAndCylinderDiagnostics",
            vec![
                ("ApplicatorVacuum", Value(|w| w.labeller.vacuum.clamp(-1000.0, 0.0))),
                ("ApplicatorCylinderPositionMeasuredByEncoder", Value(|w| w.labeller.cylinder.clamp(0.0, 120.0))),
                ("ApplicatorCylinderCyclesSinceLastService", Value(|w| w.labeller.cycles as f64)),
                ("AirPressure", Value(|w| w.labeller.air)),
            ],
        ),
    ]
}
