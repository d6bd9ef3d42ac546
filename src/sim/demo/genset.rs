//! Two generator sets on J1939: one carries a part of the load, the other is tested now and then.

use super::random::Random;
use super::table::{Sent, Source, Timing};
use super::world::{AMBIENT, Device, TICK_S, approach, bit};
use super::{CELL, World};
use crate::can::{Frame, FrameId};

/// Speed of the engine for 50 Hz, rpm.
const RATED_SPEED: f64 = 1500.0;

/// Values of `GensetPropA.GensetMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Standby = 0,
    Cranking = 1,
    WarmUp = 2,
    OnLoad = 3,
    CoolDown = 4,
}

#[derive(Debug)]
pub struct Genset {
    mode: Mode,
    /// Seconds left in this mode.
    left: f64,
    /// Goes through all modes; otherwise stays on load.
    tested: bool,
    speed: f64,
    /// Share of the rated torque.
    torque: f64,
    coolant: f64,
    oil: f64,
    fuel_temperature: f64,
    intercooler: f64,
    oil_pressure: f64,
    fuel_level: f64,
    seconds: f64,
    revolutions: f64,
}

impl Genset {
    /// The one on load.
    pub fn main() -> Genset {
        Genset {
            mode: Mode::OnLoad,
            left: 0.0,
            tested: false,
            speed: RATED_SPEED,
            torque: 0.4,
            coolant: 82.0,
            oil: 94.0,
            fuel_temperature: 41.0,
            intercooler: 46.0,
            oil_pressure: 410.0,
            fuel_level: 71.0,
            seconds: 5_411.0 * 3600.0,
            revolutions: 5_411.0 * 60.0 * RATED_SPEED,
        }
    }

    /// The one that is tested now and then.
    pub fn reserve() -> Genset {
        Genset {
            mode: Mode::Standby,
            left: 25.0,
            tested: true,
            speed: 0.0,
            torque: 0.0,
            coolant: 44.0,
            oil: 38.0,
            fuel_temperature: 26.0,
            intercooler: 27.0,
            oil_pressure: 0.0,
            fuel_level: 93.0,
            seconds: 207.0 * 3600.0,
            revolutions: 207.0 * 60.0 * RATED_SPEED,
        }
    }

    pub fn tick(&mut self, time: f64, random: &mut Random) {
        self.left -= TICK_S;
        if self.tested && self.left <= 0.0 {
            (self.mode, self.left) = match self.mode {
                Mode::Standby => (Mode::Cranking, 2.5),
                Mode::Cranking => (Mode::WarmUp, 15.0),
                Mode::WarmUp => (Mode::OnLoad, 45.0),
                Mode::OnLoad => (Mode::CoolDown, 20.0),
                Mode::CoolDown => (Mode::Standby, random.between(60.0, 120.0)),
            };
        }
        let (speed, tau) = match self.mode {
            Mode::Standby => (0.0, 1.2),
            Mode::Cranking => (240.0, 0.4),
            Mode::WarmUp | Mode::CoolDown => (RATED_SPEED, 1.0),
            Mode::OnLoad => (RATED_SPEED - 18.0 * self.torque, 0.6),
        };
        let running = self.running();
        approach(&mut self.speed, speed + random.noise(25.0) * bit(running), tau);
        if self.mode == Mode::Standby && self.speed < 5.0 {
            self.speed = 0.0;
        }
        let torque = match self.mode {
            Mode::OnLoad => 0.45 + 0.18 * (time / 23.0).sin() + random.noise(0.3),
            _ => 0.06 * bit(running),
        };
        approach(&mut self.torque, torque, 0.8);
        let share = self.speed / RATED_SPEED;
        // standing it is kept warm, ready to start
        let (coolant, oil) =
            if running { (78.0 + 14.0 * self.torque, 84.0 + 24.0 * self.torque) } else { (44.0, 38.0) };
        approach(&mut self.coolant, coolant, 60.0);
        approach(&mut self.oil, oil, 80.0);
        approach(&mut self.fuel_temperature, AMBIENT + 4.0 + 16.0 * share, 70.0);
        approach(&mut self.intercooler, AMBIENT + 5.0 + 42.0 * self.torque, 30.0);
        approach(&mut self.oil_pressure, 430.0 * share - 0.3 * (self.oil - 80.0).max(0.0), 0.8);
        self.fuel_level -= (0.004 + 0.02 * self.torque) * TICK_S * bit(running);
        if self.fuel_level < 15.0 {
            self.fuel_level = 98.0;
        }
        self.seconds += TICK_S * bit(running);
        self.revolutions += self.speed / 60.0 * TICK_S;
    }

    fn running(&self) -> bool {
        self.mode != Mode::Standby
    }

    fn breaker_closed(&self) -> bool {
        self.mode == Mode::OnLoad
    }

    /// Share of the rated voltage: the alternator is excited near the rated speed.
    fn excited(&self) -> f64 {
        ((self.speed / RATED_SPEED - 0.6) / 0.35).clamp(0.0, 1.0)
    }

    fn starter(&self) -> f64 {
        match self.mode {
            Mode::Standby => 0.0,
            Mode::Cranking => 2.0,
            Mode::WarmUp | Mode::OnLoad | Mode::CoolDown => 3.0,
        }
    }
}

/// What the first one sends and what the second one sends.
pub fn sent() -> Vec<Sent> {
    let mut sent = of::<0>(Device::Genset1);
    sent.extend(of::<1>(Device::Genset2));
    sent
}

/// Who they are: industrial engines (industry group 5, function 0) of manufacturer 2046, which is nobody.
const NAMES: [u64; 2] = [0x5000_0000_FFC1_88BD, 0x5000_0000_FFC1_876F];

/// The claims of their addresses (SAE J1939-81), which devices send when they are powered up.
pub fn claims() -> impl Iterator<Item = Frame> {
    (0..).zip(NAMES).filter_map(|(address, name)| {
        let id = FrameId::extended(0x18EE_FF00 | address)?;
        Frame::classic(id, &name.to_le_bytes())
    })
}

/// The messages of generator set `N`, whose source address is `N`.
fn of<const N: usize>(device: Device) -> Vec<Sent> {
    use Source::Value;
    const NOT_AVAILABLE: Source = Value(|_| f64::NAN);
    let message = |message, signals| Sent {
        bus: CELL,
        message,
        device,
        source_address: Some(N as u8),
        timing: Timing::Cyclic,
        signals,
    };
    let demand = Value(|w: &World| (w.gensets[N].torque * 100.0).round());
    vec![
        message(
            "EEC1",
            vec![
                ("EngTorqueMode", Value(|w| 3.0 * bit(w.gensets[N].running()))),
                // the part of the torque below one per cent, in eighths
                (
                    "ActlEngPrcntTrqueHighResolution",
                    Value(|w| (w.gensets[N].torque * 800.0).floor().rem_euclid(8.0) / 8.0),
                ),
                ("DriversDemandEngPercentTorque", demand),
                ("ActualEngPercentTorque", Value(|w| (w.gensets[N].torque * 100.0).floor())),
                ("EngSpeed", Value(|w| w.gensets[N].speed.max(0.0))),
                ("SrcAddrssOfCntrllngDvcForEngCtrl", Value(|_| N as f64)),
                ("EngStarterMode", Value(|w| w.gensets[N].starter())),
                ("EngDemandPercentTorque", demand),
            ],
        ),
        message(
            "ET1",
            vec![
                ("EngCoolantTemp", Value(|w| w.gensets[N].coolant)),
                ("EngFuelTemp1", Value(|w| w.gensets[N].fuel_temperature)),
                ("EngOilTemp1", Value(|w| w.gensets[N].oil)),
                ("EngTurboOilTemp", NOT_AVAILABLE),
                ("EngIntercoolerTemp", Value(|w| w.gensets[N].intercooler)),
                ("EngIntercoolerThermostatOpening", Value(|w| ((w.gensets[N].coolant - 76.0) * 6.0).clamp(0.0, 100.0))),
            ],
        ),
        message(
            "EFL_P1",
            vec![
                ("EngFuelDlvryPress", Value(|w| 340.0 * w.gensets[N].excited())),
                ("EngOilLevel", Value(|_| 84.0 - 6.0 * N as f64)),
                ("EngOilPress", Value(|w| w.gensets[N].oil_pressure.max(0.0))),
                ("EngCoolantPress", Value(|w| 20.0 + 0.9 * w.gensets[N].coolant)),
                ("EngCoolantLevel", Value(|_| 92.0)),
            ],
        ),
        message(
            "HOURS",
            vec![
                ("EngTotalHoursOfOperation", Value(|w| w.gensets[N].seconds / 3600.0)),
                ("EngTotalRevolutions", Value(|w| w.gensets[N].revolutions)),
            ],
        ),
        message(
            "GensetPropA",
            vec![
                ("GeneratorVoltage", Value(|w| 400.0 * w.gensets[N].excited())),
                (
                    "GeneratorCurrent",
                    Value(|w| 110.0 * w.gensets[N].torque.max(0.0) * bit(w.gensets[N].breaker_closed())),
                ),
                ("GeneratorFrequency", Value(|w| w.gensets[N].speed.max(0.0) / 30.0)),
                ("GensetMode", Value(|w| w.gensets[N].mode as u8 as f64)),
                ("BreakerClosed", Value(|w| bit(w.gensets[N].breaker_closed()))),
                ("FuelLevel", Value(|w| w.gensets[N].fuel_level)),
            ],
        ),
    ]
}
