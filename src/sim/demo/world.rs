//! The demo plant's devices as one physical system that moves in fixed ticks.

use super::conveyor::Conveyor;
use super::drive::Drive;
use super::filler::Filler;
use super::genset::Genset;
use super::guard::Guard;
use super::labeller::Labeller;
use super::meter::Meter;
use super::oven::Oven;
use super::panel::Panel;
use super::random::Random;
use super::robot::Robot;

/// Nanoseconds from tick to tick.
pub const TICK_NS: u64 = 10_000_000;
/// The same in seconds.
pub const TICK_S: f64 = 0.01;
/// Temperature of the hall, in °C.
pub const AMBIENT: f64 = 22.0;

/// Who sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Drive,
    Conveyor,
    Filler,
    Labeller,
    Oven,
    GuardRelay,
    Panel,
    Robot,
    Meter,
    Genset1,
    Genset2,
}

/// `DemoControl.FaultSelect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    DriveOverTemperature,
    FillerSilent,
    OvenSensorBroken,
    OvenSensorShorted,
    ConveyorJam,
    GuardDoorOpen,
    LabellerRollEmpty,
    DriveCounterStuck,
    DriveChecksumWrong,
    EnergyMeterSilent,
    GensetSilent,
    RobotCollision,
}

impl Fault {
    /// In the order of the value table in `line.dbc`.
    pub const ALL: [Fault; 13] = [
        Fault::None,
        Fault::DriveOverTemperature,
        Fault::FillerSilent,
        Fault::OvenSensorBroken,
        Fault::OvenSensorShorted,
        Fault::ConveyorJam,
        Fault::GuardDoorOpen,
        Fault::LabellerRollEmpty,
        Fault::DriveCounterStuck,
        Fault::DriveChecksumWrong,
        Fault::EnergyMeterSilent,
        Fault::GensetSilent,
        Fault::RobotCollision,
    ];

    /// From the value on the bus; `None` for one that means nothing.
    pub fn from_value(value: f64) -> Option<Fault> {
        Fault::ALL.get(value as usize).copied()
    }
}

/// All devices and what connects them.
#[derive(Debug)]
pub struct World {
    /// Ticks since the start.
    pub ticks: u64,
    pub fault: Fault,
    pub random: Random,
    pub guard: Guard,
    pub drive: Drive,
    pub conveyor: Conveyor,
    pub filler: Filler,
    pub labeller: Labeller,
    pub oven: Oven,
    pub panel: Panel,
    pub robot: Robot,
    pub meter: Meter,
    pub gensets: [Genset; 2],
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            ticks: 0,
            fault: Fault::None,
            random: Random::new(seed),
            guard: Guard::new(),
            drive: Drive::new(),
            conveyor: Conveyor::new(),
            filler: Filler::new(),
            labeller: Labeller::new(),
            oven: Oven::new(),
            panel: Panel::new(),
            robot: Robot::new(),
            meter: Meter::new(),
            gensets: [Genset::main(), Genset::reserve()],
        }
    }

    /// Seconds since the start.
    pub fn time(&self) -> f64 {
        self.ticks as f64 * TICK_S
    }

    /// Moves everything on by one tick. Each device sees those before it as they are now.
    pub fn tick(&mut self) {
        self.ticks += 1;
        let (time, fault, random) = (self.time(), self.fault, &mut self.random);
        self.guard.tick(fault, self.panel.reset_pressed, random);
        self.drive.tick(fault, self.guard.relay_closed(), time, random);
        self.conveyor.tick(fault, &self.drive, random);
        self.filler.tick(&self.conveyor, random);
        self.labeller.tick(fault, &self.conveyor, random);
        self.oven.tick(fault, time, random);
        let ready = self.filler.good && self.labeller.running && self.oven.shrinks();
        self.conveyor.count(ready, random);
        self.panel.tick(self.guard.reset_required, time, random);
        self.robot.tick(fault, random);
        let power = self.drive.power + self.oven.power() + self.robot.power;
        self.meter.tick(power, time, random);
        for genset in &mut self.gensets {
            genset.tick(time, random);
        }
    }

    /// Whether a device has stopped sending.
    pub fn silent(&self, device: Device) -> bool {
        match self.fault {
            Fault::FillerSilent => device == Device::Filler,
            Fault::EnergyMeterSilent => device == Device::Meter,
            Fault::GensetSilent => device == Device::Genset2,
            _ => false,
        }
    }
}

/// Moves `value` towards `target` as a first-order system with time constant `tau_s` does in one tick.
pub fn approach(value: &mut f64, target: f64, tau_s: f64) {
    *value += (target - *value) * (TICK_S / tau_s).min(1.0);
}

/// 1 for true: the value of a named bit.
pub fn bit(on: bool) -> f64 {
    on as u8 as f64
}
