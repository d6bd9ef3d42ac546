//! The energy meter of the line: measures what the other devices take.

use super::CELL;
use super::random::Random;
use super::table::{Received, Sent, Source, Timing};
use super::world::{Device, TICK_S, approach};

/// What light, pumps and cabinets take, W.
const BASE: f64 = 3_200.0;
/// Mean power above which "demand high" is reported, and below which it ends, W.
const DEMAND_HIGH: f64 = 18_000.0;
const DEMAND_NORMAL: f64 = 16_500.0;
/// Share of each phase.
const PHASES: [f64; 3] = [0.345, 0.325, 0.33];
const JOULE_PER_KWH: f64 = 3.6e6;

#[derive(Debug)]
pub struct Meter {
    /// W.
    power: f64,
    voltage: [f64; 3],
    frequency: f64,
    factor: f64,
    /// Total harmonic distortion and its third, fifth and seventh part, per cent.
    harmonics: [[f64; 4]; 3],
    /// kWh, kWh, kvarh.
    import: f64,
    export: f64,
    reactive: f64,
    tariff: f64,
    period: f64,
    /// Seconds left in this demand period.
    remaining: f64,
    /// Mean power of this period so far times its time, J.
    period_energy: f64,
    /// kW.
    maximum: f64,
    /// Mean over half a minute, W.
    mean: f64,
    high: bool,
    reset: bool,
    event_code: f64,
    events: u64,
}

impl Meter {
    pub fn new() -> Meter {
        Meter {
            power: BASE,
            voltage: [230.0; 3],
            frequency: 50.0,
            factor: 0.97,
            harmonics: [[2.0; 4]; 3],
            import: 418_233.7,
            export: 12.4,
            reactive: 60_118.2,
            tariff: 1.0,
            period: 900.0,
            remaining: 900.0,
            period_energy: 0.0,
            maximum: 24.6,
            mean: 14_000.0,
            high: false,
            reset: false,
            event_code: 0.0,
            events: 0,
        }
    }

    /// `power`: of drive, oven and robot together, W; negative while the drive brakes.
    pub fn tick(&mut self, power: f64, time: f64, random: &mut Random) {
        self.power = power + BASE + 150.0 * (time / 5.0).sin() + random.noise(60.0);
        for (phase, voltage) in self.voltage.iter_mut().enumerate() {
            let sag = self.power * PHASES[phase] / 5000.0;
            approach(voltage, 231.0 - sag + 1.5 * (time / 31.0 + phase as f64).sin() + random.noise(2.0), 0.3);
        }
        approach(&mut self.frequency, 50.0 + 0.03 * (time / 47.0).sin() + random.noise(0.1), 1.0);
        let heaters = (self.power / 25_000.0).clamp(0.0, 1.0);
        approach(&mut self.factor, 0.88 + 0.11 * heaters, 0.5);
        for (phase, harmonics) in self.harmonics.iter_mut().enumerate() {
            let level = 1.0 + 0.2 * phase as f64 + 0.4 * (time / 13.0 + phase as f64).sin();
            for (part, order) in harmonics.iter_mut().zip([3.0, 0.8, 2.4, 1.6]) {
                approach(part, order * level * (1.3 - 0.5 * heaters), 2.0);
            }
        }
        let kwh = self.power * TICK_S / JOULE_PER_KWH;
        if kwh >= 0.0 {
            self.import += kwh;
        } else {
            self.export -= kwh;
        }
        self.reactive += (kwh * self.factor.acos().tan()).abs();
        approach(&mut self.mean, self.power, 30.0);
        self.demand();
    }

    fn demand(&mut self) {
        self.period_energy += self.power * TICK_S;
        self.remaining -= TICK_S;
        if self.remaining <= 0.0 {
            self.maximum = self.maximum.max(self.period_energy / self.period / 1000.0);
            self.start_period();
        }
        if !self.high && self.mean > DEMAND_HIGH {
            self.high = true;
            self.event(1.0);
        } else if self.high && self.mean < DEMAND_NORMAL {
            self.high = false;
            self.event(2.0);
        }
    }

    fn start_period(&mut self) {
        (self.remaining, self.period_energy) = (self.period, 0.0);
        self.event(3.0);
    }

    fn event(&mut self, code: f64) {
        self.event_code = code;
        self.events += 1;
    }

    /// A change to "reset" forgets the maximum and starts a new period.
    fn reset(&mut self, reset: bool) {
        if reset && !self.reset {
            self.maximum = 0.0;
            self.start_period();
        }
        self.reset = reset;
    }

    fn phase_power(&self, phase: usize) -> f64 {
        self.power * PHASES[phase]
    }

    fn current(&self, phase: usize) -> f64 {
        (self.phase_power(phase) / (self.voltage[phase] * self.factor)).abs()
    }
}

/// What it listens to.
pub fn received() -> Received {
    Received {
        bus: CELL,
        message: "MeterCommand",
        arrived: |_| {},
        signals: vec![
            ("DemandPeriod", |w, v| w.meter.period = v.clamp(60.0, 3600.0)),
            ("TariffSelect", |w, v| w.meter.tariff = v.clamp(1.0, 4.0)),
            ("ResetDemand", |w, v| w.meter.reset(v != 0.0)),
        ],
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::{Page, Raw, Value};
    let message = |message, timing, signals| Sent {
        bus: CELL,
        message,
        device: Device::Meter,
        source_address: None,
        timing,
        signals,
    };
    vec![
        message(
            "MeterPower",
            Timing::Cyclic,
            vec![
                ("VoltageL1", Value(|w| w.meter.voltage[0])),
                ("VoltageL2", Value(|w| w.meter.voltage[1])),
                ("VoltageL3", Value(|w| w.meter.voltage[2])),
                ("CurrentL1", Value(|w| w.meter.current(0))),
                ("CurrentL2", Value(|w| w.meter.current(1))),
                ("CurrentL3", Value(|w| w.meter.current(2))),
                ("PowerL1", Value(|w| w.meter.phase_power(0))),
                ("PowerL2", Value(|w| w.meter.phase_power(1))),
                ("PowerL3", Value(|w| w.meter.phase_power(2))),
                ("PowerTotal", Value(|w| w.meter.power)),
                ("Frequency", Value(|w| w.meter.frequency)),
                ("PowerFactor", Value(|w| w.meter.factor)),
            ],
        ),
        message(
            "MeterEnergy",
            Timing::Cyclic,
            vec![
                ("EnergyImport", Value(|w| w.meter.import)),
                ("EnergyExport", Value(|w| w.meter.export)),
                ("ReactiveEnergy", Value(|w| w.meter.reactive)),
                ("MaximumDemand", Value(|w| w.meter.maximum)),
                ("ActiveTariff", Value(|w| w.meter.tariff)),
                ("DemandRemaining", Value(|w| w.meter.remaining.ceil().max(0.0))),
            ],
        ),
        message(
            "MeterHarmonics",
            Timing::Cyclic,
            vec![
                ("HarmonicsPhase", Page { values: &[1, 2, 3], frames: 1 }),
                ("L1THD", Value(|w| w.meter.harmonics[0][0])),
                ("L1H3", Value(|w| w.meter.harmonics[0][1])),
                ("L1H5", Value(|w| w.meter.harmonics[0][2])),
                ("L1H7", Value(|w| w.meter.harmonics[0][3])),
                ("L2THD", Value(|w| w.meter.harmonics[1][0])),
                ("L2H3", Value(|w| w.meter.harmonics[1][1])),
                ("L2H5", Value(|w| w.meter.harmonics[1][2])),
                ("L2H7", Value(|w| w.meter.harmonics[1][3])),
                ("L3THD", Value(|w| w.meter.harmonics[2][0])),
                ("L3H3", Value(|w| w.meter.harmonics[2][1])),
                ("L3H5", Value(|w| w.meter.harmonics[2][2])),
                ("L3H7", Value(|w| w.meter.harmonics[2][3])),
            ],
        ),
        message(
            "MeterIdentity",
            Timing::Cyclic,
            vec![
                ("MeterPhases", Value(|_| 3.0)),
                // above 2^53 on purpose: readers must not lose its last digits
                ("MeterSerial", Raw(|_| 18_014_398_509_481_985)),
                ("MeterFirmware", Value(|_| 3.07)),
                ("CurrentTransformer", Value(|_| 250.0)),
                ("MeterSupply", Value(|w| 24.0 + 0.1 * (w.time() / 9.0).sin())),
            ],
        ),
        message(
            "MeterEvent",
            Timing::Event(|w| w.meter.events),
            vec![
                ("MeterEventCode", Value(|w| w.meter.event_code)),
                ("MeterEventNumber", Value(|w| (w.meter.events % 0x1_0000) as f64)),
                ("MeterEventPower", Value(|w| w.meter.power)),
            ],
        ),
    ]
}
