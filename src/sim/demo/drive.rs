//! The main drive: speed along ramps, torque, heat, fault memory.

use super::LINE;
use super::random::Random;
use super::table::{Received, Sent, Source, Timing};
use super::world::{AMBIENT, Device, Fault, TICK_S, approach, bit};

/// Largest speed of the motor, rpm.
pub const MAX_SPEED: f64 = 3000.0;
/// Rated torque, Nm.
const RATED_TORQUE: f64 = 80.0;
/// Motor and belt as the shaft feels them, Nm per rpm/s.
const INERTIA: f64 = 0.04;
/// The motor winding may not get hotter, °C.
const MAX_TEMPERATURE: f64 = 155.0;
/// And has to be cooler than this before a fault can be reset, °C.
const RESET_TEMPERATURE: f64 = 140.0;
/// `DriveCommand` has to come again within this time, seconds.
const COMMAND_TIMEOUT: f64 = 0.5;

/// Values of `DriveStatus.DriveState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    SwitchOnDisabled = 1,
    Ready = 2,
    Running = 3,
    QuickStop = 4,
    Fault = 5,
    CommandTimeout = 6,
}

/// `DriveCommand` as it came last.
#[derive(Debug, Default)]
pub struct Command {
    pub setpoint: f64,
    pub ramp_up: f64,
    pub ramp_down: f64,
    pub torque_limit: f64,
    pub trim: f64,
    pub enable: bool,
    pub reverse: bool,
    pub quick_stop: bool,
    pub reset: bool,
    pub jog: bool,
}

#[derive(Debug)]
pub struct Drive {
    pub command: Command,
    /// Seconds since the last command; `None` before the first: the drive then runs with the start values.
    pub command_age: Option<f64>,
    pub state: State,
    /// rpm, negative in reverse.
    pub speed: f64,
    /// Nm at the shaft.
    pub torque: f64,
    /// Electrical power, W.
    pub power: f64,
    measured_speed: f64,
    motor_temperature: f64,
    heatsink_temperature: f64,
    current: f64,
    link_voltage: f64,
    /// Thousandth revolutions since it was built.
    milli_revolutions: u64,
    /// The part of it that is not yet a thousandth.
    rest: f64,
    hours: f64,
    reset_before: bool,
    fault_code: f64,
    fault_number: u64,
    fault_temperature: f64,
}

impl Drive {
    pub fn new() -> Drive {
        Drive {
            command: Command::default(),
            command_age: None,
            state: State::Ready,
            speed: 0.0,
            torque: 0.0,
            power: 0.0,
            measured_speed: 0.0,
            motor_temperature: 41.0,
            heatsink_temperature: 34.0,
            current: 0.0,
            link_voltage: 565.0,
            milli_revolutions: 1_482_930_557_120,
            rest: 0.0,
            hours: 12_804.6,
            reset_before: false,
            fault_code: 0.0,
            fault_number: 0,
            fault_temperature: f64::NAN,
        }
    }

    /// The speed that it aims at, rpm.
    pub fn target(&self) -> f64 {
        if self.state != State::Running {
            return 0.0;
        }
        let speed = self.command.setpoint * (1.0 + self.command.trim / 100.0);
        let speed = if self.command.jog { speed / 10.0 } else { speed }.min(MAX_SPEED);
        if self.command.reverse { -speed } else { speed }
    }

    pub fn tick(&mut self, fault: Fault, power_enabled: bool, time: f64, random: &mut Random) {
        let before = self.state;
        self.state = self.next_state(fault, power_enabled);
        if (before == State::Fault) != (self.state == State::Fault) {
            self.fault_code = if self.state == State::Fault { 0x4310 as f64 } else { 0.0 };
            self.fault_number += 1;
            self.fault_temperature = self.motor_temperature;
        }
        self.accelerate(time, random);
        self.heat(fault, random);
        let milli = self.speed.abs() / 60.0 * TICK_S * 1000.0 + self.rest;
        self.rest = milli.fract();
        self.milli_revolutions = self.milli_revolutions.wrapping_add(milli as u64);
        self.hours += TICK_S / 3600.0;
    }

    fn next_state(&mut self, fault: Fault, power_enabled: bool) -> State {
        let reset = self.command.reset && !self.reset_before;
        self.reset_before = self.command.reset;
        let timed_out = match &mut self.command_age {
            Some(age) => {
                *age += TICK_S;
                *age > COMMAND_TIMEOUT
            }
            None => false,
        };
        let cool = fault != Fault::DriveOverTemperature && self.motor_temperature < RESET_TEMPERATURE;
        if self.motor_temperature > MAX_TEMPERATURE || self.state == State::Fault && !(reset && cool) {
            State::Fault
        } else if timed_out {
            State::CommandTimeout
        } else if !power_enabled {
            State::SwitchOnDisabled
        } else if !self.command.enable {
            State::Ready
        } else if self.command.quick_stop {
            State::QuickStop
        } else {
            State::Running
        }
    }

    /// Speed and torque: along the ramp as far as the torque limit allows.
    fn accelerate(&mut self, time: f64, random: &mut Random) {
        let target = self.target();
        let faster = target.abs() > self.speed.abs() && target * self.speed >= 0.0;
        let ramp = match (faster, self.state) {
            (true, _) => self.command.ramp_up,
            (false, State::QuickStop) => 3.0 * self.command.ramp_down,
            (false, _) => self.command.ramp_down,
        };
        let share = self.speed.abs() / MAX_SPEED;
        // bottles come unevenly
        let load = 6.0 * share + 1.5 * (time * 0.9).sin() * (share * 4.0).min(1.0);
        let friction = 4.0 * (self.speed.abs() / 20.0).min(1.0) + 26.0 * share + load;
        let wanted = ((target - self.speed) / TICK_S).clamp(-ramp, ramp);
        let spare = ((self.command.torque_limit - friction) / INERTIA).max(-ramp);
        let toward = if self.speed != 0.0 { self.speed.signum() } else { target.signum() };
        let acceleration = if wanted * toward > spare { spare * toward } else { wanted };
        let next = self.speed + acceleration * TICK_S;
        // without the torque to move it stands; it does not run backwards
        self.speed = if spare < 0.0 && next * toward < 0.0 { 0.0 } else { next };
        self.torque = toward * friction + acceleration * INERTIA;
        if self.speed == 0.0 && target == 0.0 {
            self.torque = 0.0;
        }
        self.measured_speed = self.speed + random.noise(1.2) * (share * 20.0).min(1.0);
    }

    fn heat(&mut self, fault: Fault, random: &mut Random) {
        let on = matches!(self.state, State::Running | State::QuickStop);
        let torque = self.torque + random.noise(0.2) * bit(on);
        self.current = if on { 3.0 + 0.45 * torque.abs() + random.noise(0.05) } else { 0.0 };
        let mechanical = self.torque * self.speed * std::f64::consts::TAU / 60.0;
        self.power = if on { mechanical / 0.93 + 180.0 } else { 90.0 };
        approach(&mut self.link_voltage, 565.0 - mechanical / 2000.0 + random.noise(8.0), 0.1);
        let losses = 0.07 * self.current * self.current + 22.0 * self.speed.abs() / MAX_SPEED;
        let (target, tau) =
            if fault == Fault::DriveOverTemperature { (210.0, 9.0) } else { (AMBIENT + 10.0 + losses, 45.0) };
        approach(&mut self.motor_temperature, target, tau);
        approach(&mut self.heatsink_temperature, AMBIENT + 6.0 + 0.02 * self.current * self.current, 30.0);
    }

    fn faulted(&self) -> bool {
        self.state == State::Fault
    }

    fn warning(&self) -> bool {
        self.motor_temperature > 130.0 || self.torque.abs() > 0.95 * self.command.torque_limit
    }

    fn at_setpoint(&self) -> bool {
        self.state == State::Running && (self.speed - self.target()).abs() <= 0.01 * self.target().abs()
    }

    fn direction(&self) -> f64 {
        if self.speed.abs() < 1.0 { 0.0 } else { self.speed.signum() }
    }

    fn load(&self) -> f64 {
        (self.torque.abs() / RATED_TORQUE * 100.0).min(125.0)
    }
}

/// What it listens to.
pub fn received() -> Received {
    Received {
        bus: LINE,
        message: "DriveCommand",
        arrived: |w| w.drive.command_age = Some(0.0),
        signals: vec![
            ("SpeedSetpoint", |w, v| w.drive.command.setpoint = v.clamp(0.0, MAX_SPEED)),
            ("RampUp", |w, v| w.drive.command.ramp_up = v),
            ("RampDown", |w, v| w.drive.command.ramp_down = v),
            ("TorqueLimit", |w, v| w.drive.command.torque_limit = v),
            ("SpeedTrim", |w, v| w.drive.command.trim = v),
            ("Enable", |w, v| w.drive.command.enable = v != 0.0),
            ("Direction", |w, v| w.drive.command.reverse = v != 0.0),
            ("QuickStop", |w, v| w.drive.command.quick_stop = v != 0.0),
            ("FaultReset", |w, v| w.drive.command.reset = v != 0.0),
            ("OperatingMode", |w, v| w.drive.command.jog = v == 3.0),
        ],
    }
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    use Source::{Checksum, Counter, Raw, Value};
    let message = |message, timing, signals| Sent {
        bus: LINE,
        message,
        device: Device::Drive,
        source_address: None,
        timing,
        signals,
    };
    vec![
        message(
            "DriveStatus",
            Timing::Cyclic,
            vec![
                ("ActualSpeed", Value(|w| w.drive.measured_speed)),
                ("ActualTorque", Value(|w| w.drive.torque)),
                ("DriveState", Value(|w| w.drive.state as u8 as f64)),
                ("DriveReady", Value(|w| bit(!w.drive.faulted() && w.guard.relay_closed()))),
                ("DriveRunning", Value(|w| bit(w.drive.state == State::Running))),
                ("DriveFaulted", Value(|w| bit(w.drive.faulted()))),
                ("DriveWarning", Value(|w| bit(w.drive.warning()))),
                ("AtSetpoint", Value(|w| bit(w.drive.at_setpoint()))),
                ("ActualDirection", Value(|w| w.drive.direction())),
                ("CommandAlive", Value(|w| bit(w.drive.command_age.is_some_and(|age| age <= COMMAND_TIMEOUT)))),
                ("Load", Value(|w| w.drive.load())),
                ("DriveAlive", Counter { modulus: 15, stuck_by: Some(Fault::DriveCounterStuck) }),
                ("DriveChecksum", Checksum { wrong_by: Some(Fault::DriveChecksumWrong) }),
            ],
        ),
        message(
            "DriveThermal",
            Timing::Cyclic,
            vec![
                ("MotorTemperature", Value(|w| w.drive.motor_temperature)),
                ("HeatsinkTemperature", Value(|w| w.drive.heatsink_temperature)),
                ("MotorCurrent", Value(|w| w.drive.current.max(0.0))),
                ("DCLinkVoltage", Value(|w| w.drive.link_voltage)),
                ("DriveFanSpeed", Value(|w| (w.drive.heatsink_temperature * 60.0).clamp(0.0, 6000.0))),
            ],
        ),
        message("DriveOdometer", Timing::Cyclic, vec![("Revolutions", Raw(|w| w.drive.milli_revolutions))]),
        message(
            "DriveFault",
            Timing::Event(|w| w.drive.fault_number),
            vec![
                ("FaultCode", Value(|w| w.drive.fault_code)),
                ("FaultNumber", Value(|w| (w.drive.fault_number % 0x1_0000) as f64)),
                ("TemperatureAtFault", Value(|w| w.drive.fault_temperature)),
                ("DriveHours", Value(|w| w.drive.hours)),
            ],
        ),
        message(
            "DriveIdentity",
            Timing::Cyclic,
            vec![
                ("DriveSerial", Raw(|_| 40_217_733_105)),
                ("DriveHardware", Value(|_| b'C' as f64)),
                ("DriveFirmwareMajor", Value(|_| 4.0)),
                ("DriveFirmwareMinor", Value(|_| 2.0)),
                ("DriveFirmwarePatch", Value(|_| 17.0)),
            ],
        ),
    ]
}
