//! The shrink oven: a thermostat on a first-order system, with a sensor that can break.

use super::LINE;
use super::random::Random;
use super::table::{Received, Sent, Source, Timing};
use super::world::{AMBIENT, Device, Fault, approach, bit};

/// Power of the heaters, W.
const HEATERS: f64 = 24_000.0;
/// How much hotter than the hall full power would make it in the end, K.
const RISE: f64 = 340.0;
/// Time constants: closed, and with the door open, seconds.
const TAU: f64 = 90.0;
const TAU_OPEN: f64 = 25.0;
/// The sensor follows the air with this time constant, seconds.
const SENSOR_TAU: f64 = 1.5;
/// What a shorted sensor reads, °C: beyond every range.
const SHORTED: f64 = 6400.0;

#[derive(Debug)]
pub struct Oven {
    enable: bool,
    setpoint: f64,
    hysteresis: f64,
    program: f64,
    fan_setpoint: f64,
    power_limit: f64,
    door_open: bool,
    /// Air in the oven and what the sensor says, °C.
    air: f64,
    sensor: f64,
    zones: [f64; 4],
    exhaust: f64,
    heating: bool,
    /// Share of the installed power.
    heater: f64,
    /// Mean of it, per cent.
    mean: f64,
    /// rpm.
    fan: f64,
    sensor_fault: Fault,
}

impl Oven {
    pub fn new() -> Oven {
        let start = 164.0;
        Oven {
            enable: false,
            setpoint: 180.0,
            hysteresis: 3.0,
            program: 0.0,
            fan_setpoint: 60.0,
            power_limit: HEATERS,
            door_open: false,
            air: start,
            sensor: start,
            zones: [start; 4],
            exhaust: 80.0,
            heating: false,
            heater: 0.0,
            mean: 45.0,
            fan: 1600.0,
            sensor_fault: Fault::None,
        }
    }

    /// Electrical power, W.
    pub fn power(&self) -> f64 {
        HEATERS * self.heater + 0.5 * self.fan + 60.0
    }

    /// Hot enough for the film.
    pub fn shrinks(&self) -> bool {
        (140.0..230.0).contains(&self.air)
    }

    pub fn tick(&mut self, fault: Fault, time: f64, random: &mut Random) {
        self.sensor_fault = match fault {
            Fault::OvenSensorBroken | Fault::OvenSensorShorted => fault,
            _ => Fault::None,
        };
        if self.sensor > self.setpoint + self.hysteresis / 2.0 {
            self.heating = false;
        } else if self.sensor < self.setpoint - self.hysteresis / 2.0 {
            self.heating = true;
        }
        let allowed = self.enable && !self.door_open && self.sensor_fault == Fault::None;
        let program = match self.program {
            1.0 => 0.7,
            2.0 => 1.25,
            3.0 => 0.5,
            _ => 1.0,
        };
        self.heater = if allowed && self.heating { (self.power_limit / HEATERS).min(1.0) * program } else { 0.0 };
        let tau = if self.door_open { TAU_OPEN } else { TAU };
        approach(&mut self.air, AMBIENT + RISE * self.heater, tau);
        approach(&mut self.sensor, self.air + random.noise(0.4), SENSOR_TAU);
        for (zone, temperature) in self.zones.iter_mut().enumerate() {
            let along = [-9.0, 1.5, 3.0, -6.0][zone] + 1.5 * (time / 17.0 + zone as f64).sin();
            approach(temperature, (self.air + along).max(AMBIENT - 2.0), 4.0);
        }
        approach(&mut self.exhaust, AMBIENT + 0.42 * (self.air - AMBIENT), 12.0);
        approach(&mut self.mean, self.heater * 100.0, 60.0);
        approach(&mut self.fan, 28.0 * self.fan_setpoint + random.noise(30.0), 2.0);
    }

    /// What the sensor reports.
    fn reading(&self, normal: f64) -> f64 {
        match self.sensor_fault {
            Fault::OvenSensorBroken => f64::NAN,
            Fault::OvenSensorShorted => SHORTED,
            _ => normal,
        }
    }

    fn state(&self) -> f64 {
        if self.sensor_fault != Fault::None {
            7.0
        } else if !self.enable {
            0.0
        } else if self.sensor < self.setpoint - 8.0 {
            1.0
        } else if self.sensor > self.setpoint + 8.0 {
            3.0
        } else {
            2.0
        }
    }
}

/// What it listens to.
pub fn received() -> Received {
    Received {
        bus: LINE,
        message: "OvenCommand",
        arrived: |_| {},
        signals: vec![
            ("TemperatureSetpoint", |w, v| w.oven.setpoint = v.clamp(0.0, 300.0)),
            ("OvenEnable", |w, v| w.oven.enable = v != 0.0),
            ("DoorRelease", |w, v| w.oven.door_open = v != 0.0),
            ("OvenProgram", |w, v| w.oven.program = v),
            ("FanSpeedSetpoint", |w, v| w.oven.fan_setpoint = v.clamp(0.0, 100.0)),
            ("Hysteresis", |w, v| w.oven.hysteresis = v.clamp(0.5, 20.0)),
            ("MaxHeaterPower", |w, v| w.oven.power_limit = v),
        ],
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::{Counter, Value};
    let message = |message, signals| Sent {
        bus: LINE,
        message,
        device: Device::Oven,
        source_address: None,
        timing: Timing::Cyclic,
        signals,
    };
    vec![
        message(
            "OvenStatus",
            vec![
                ("OvenTemperature", Value(|w| w.oven.reading(w.oven.sensor))),
                ("HeaterPower", Value(|w| (w.oven.heater * 100.0).min(100.0))),
                ("OvenState", Value(|w| w.oven.state())),
                ("DoorOpen", Value(|w| bit(w.oven.door_open))),
                ("FanRunning", Value(|w| bit(w.oven.fan > 50.0))),
                ("OvenOverTemperature", Value(|w| bit(w.oven.sensor > w.oven.setpoint + 30.0))),
                ("SensorFault", Value(|w| bit(w.oven.sensor_fault != Fault::None))),
                ("OvenPower", Value(|w| w.oven.power())),
                ("OvenFanSpeed", Value(|w| w.oven.fan.max(0.0))),
                ("OvenAlive", Counter { modulus: 16, stuck_by: None }),
            ],
        ),
        message(
            "OvenZones",
            vec![
                ("Zone1Temperature", Value(|w| w.oven.zone1())),
                ("Zone2Temperature", Value(|w| w.oven.zones[1])),
                ("Zone3Temperature", Value(|w| w.oven.zones[2])),
                ("Zone4Temperature", Value(|w| w.oven.zones[3])),
                ("ExhaustTemperature", Value(|w| w.oven.exhaust)),
            ],
        ),
        message(
            "OvenControl",
            vec![
                ("ControlDeviation", Value(|w| w.oven.setpoint - w.oven.sensor)),
                ("IntegralTerm", Value(|w| w.oven.mean)),
            ],
        ),
    ]
}

impl Oven {
    /// Zone 1 has the control sensor in it: a short reaches both, a broken wire only one.
    fn zone1(&self) -> f64 {
        // one step below the "not available" code of its 12 bits
        if self.sensor_fault == Fault::OvenSensorShorted { 409.4 } else { self.zones[0] }
    }
}
