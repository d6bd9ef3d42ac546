//! The palletizing robot: goes round between infeed and pallet, six axes consistent with each other.

use super::random::Random;
use super::table::Source::{self, Counter, Page, Raw, Selected, Value};
use super::table::{Received, Sent, Timing};
use super::world::{AMBIENT, Device, Fault, TICK_S, approach, bit};
use super::{CELL, World};

/// One leg of the round: seconds at full speed and what `RobotJoints.JointsMotion` says.
const LEGS: [(f64, f64); 4] = [(2.2, 1.0), (0.7, 2.0), (2.6, 3.0), (0.9, 4.0)];
/// Axes at infeed and pallet, degrees.
const AT_INFEED: [f64; 6] = [-35.0, 22.0, 104.0, 0.0, 54.0, -35.0];
const AT_PALLET: [f64; 6] = [48.0, 38.0, 81.0, 6.0, 61.0, 132.0];
/// Tool at the infeed, mm.
const INFEED: [f64; 3] = [1240.0, 610.0, 920.0];
/// Height of one layer, mm.
const LAYER: f64 = 180.0;
/// The tool's largest speed at full override, mm/s: longer ways take longer.
const FASTEST: f64 = 2200.0;

#[derive(Debug)]
pub struct Robot {
    enable: bool,
    hold: bool,
    speed_override: f64,
    target: [f64; 3],
    payload: f64,
    layers_per_pallet: u16,
    gripper_command: f64,
    /// Leg of the round and share of it that is done.
    leg: usize,
    done: f64,
    axes: [f64; 6],
    velocity: [f64; 6],
    torque: [f64; 6],
    temperature: [f64; 6],
    hours: f64,
    pose: [f64; 3],
    speed: f64,
    deviation: f64,
    /// Thousandth mm since it was built.
    path: u64,
    cycle: f64,
    last_cycle: f64,
    layers: u16,
    grips: u32,
    faulted: bool,
    moving: bool,
    vacuum: f64,
    force: f64,
    cpu_load: f64,
    jitter: f64,
    /// Electrical power, W.
    pub power: f64,
}

impl Robot {
    pub fn new() -> Robot {
        Robot {
            enable: false,
            hold: false,
            speed_override: 50.0,
            target: [800.0, -400.0, 150.0],
            payload: 12.5,
            layers_per_pallet: 6,
            gripper_command: 0.0,
            leg: 0,
            done: 0.0,
            axes: AT_PALLET,
            velocity: [0.0; 6],
            torque: [0.0; 6],
            temperature: [38.0, 41.0, 39.0, 33.0, 32.0, 31.0],
            hours: 9_210.4,
            pose: [800.0, -400.0, 150.0],
            speed: 0.0,
            deviation: 0.0,
            path: 74_110_229_330_415,
            cycle: 0.0,
            last_cycle: 12.8,
            layers: 2_204,
            grips: 88_310,
            faulted: false,
            moving: false,
            vacuum: -10.0,
            force: 0.0,
            cpu_load: 30.0,
            jitter: 4.0,
            power: 450.0,
        }
    }

    pub fn tick(&mut self, fault: Fault, random: &mut Random) {
        self.faulted = fault == Fault::RobotCollision;
        self.moving = self.enable && !self.hold && !self.faulted && self.speed_override > 0.0;
        if self.moving {
            self.done += TICK_S / self.leg_seconds();
            self.cycle += TICK_S;
            self.hours += TICK_S / 3600.0;
            if self.done >= 1.0 {
                self.next_leg();
            }
        }
        self.place(random);
        let (vacuum, weight) = if self.holding() { (-720.0, self.payload * 9.81) } else { (-12.0, 0.0) };
        approach(&mut self.vacuum, vacuum + random.noise(15.0), 0.1);
        approach(&mut self.force, weight + 0.05 * self.speed * bit(self.moving) + random.noise(5.0), 0.1);
        approach(&mut self.cpu_load, 26.0 + 30.0 * bit(self.moving) + random.noise(40.0), 1.0);
        approach(&mut self.jitter, 6.0 + random.noise(40.0).abs() * 0.4, 0.5);
        let effort: f64 = self.torque.iter().zip(&self.velocity).map(|(t, v)| (t * v).abs()).sum();
        approach(&mut self.power, 430.0 + effort.to_radians() * 1.3, 0.2);
    }

    /// Where the pallet is, with the layers that lie on it.
    fn pallet(&self) -> [f64; 3] {
        let layer = self.layers % self.layers_per_pallet.max(1);
        let [x, y, z] = self.target;
        [x, y, (z + LAYER * layer as f64).min(2400.0)]
    }

    /// From and to, as tool positions and axes.
    fn way(&self) -> ([f64; 3], [f64; 3], [f64; 6], [f64; 6]) {
        match self.leg {
            0 => (self.pallet(), INFEED, AT_PALLET, AT_INFEED),
            1 => (INFEED, INFEED, AT_INFEED, AT_INFEED),
            2 => (INFEED, self.pallet(), AT_INFEED, AT_PALLET),
            _ => (self.pallet(), self.pallet(), AT_PALLET, AT_PALLET),
        }
    }

    fn leg_seconds(&self) -> f64 {
        let (from, to, ..) = self.way();
        // the smooth start and stop below is one and a half times as fast in the middle
        let least = 1.5 * distance(from, to) / FASTEST;
        LEGS[self.leg].0.max(least) / (self.speed_override / 100.0).max(0.01)
    }

    fn next_leg(&mut self) {
        self.done = 0.0;
        match self.leg {
            0 => self.grips = self.grips.wrapping_add(1),
            3 => {
                self.layers = self.layers.wrapping_add(1);
                self.last_cycle = self.cycle;
                self.cycle = 0.0;
            }
            _ => {}
        }
        self.leg = (self.leg + 1) % LEGS.len();
    }

    /// Axes, tool and what follows from them, for where it is on its way.
    fn place(&mut self, random: &mut Random) {
        let (from, to, axes_from, axes_to) = self.way();
        let smooth = self.done * self.done * (3.0 - 2.0 * self.done);
        let slope = if self.moving { 6.0 * self.done * (1.0 - self.done) / self.leg_seconds() } else { 0.0 };
        for axis in 0..6 {
            let span = axes_to[axis] - axes_from[axis];
            self.axes[axis] = axes_from[axis] + span * smooth + 0.002 * random.noise(1.0);
            self.velocity[axis] = span * slope;
            let lever = [0.05, 1.0, 0.7, 0.1, 0.2, 0.05][axis];
            let weight = (340.0 + if self.holding() { 9.81 * self.payload } else { 0.0 }) * lever;
            let drag = self.velocity[axis] * [4.0, 3.0, 2.0, 0.6, 0.5, 0.3][axis];
            self.torque[axis] = (weight + drag + random.noise(3.0)).clamp(-1590.0, 1590.0);
            let heat = 14.0 + 0.02 * self.torque[axis].abs() + 0.1 * self.velocity[axis].abs();
            approach(&mut self.temperature[axis], AMBIENT + heat, 180.0);
        }
        // lifted over what stands between
        let lift = 350.0 * (std::f64::consts::PI * smooth).sin() * bit(from != to);
        let mut pose: [f64; 3] = std::array::from_fn(|i| from[i] + (to[i] - from[i]) * smooth);
        pose[2] = (pose[2] + lift).clamp(-500.0, 2500.0);
        let way = distance(self.pose, pose);
        self.pose = pose;
        // a new target while standing is a jump of the set point, not of the arm
        self.speed = (way / TICK_S).min(3900.0);
        self.path = self.path.wrapping_add((way * 1000.0) as u64);
        approach(&mut self.deviation, 20.0 + 0.08 * self.speed + random.noise(60.0), 0.1);
    }

    /// A layer hangs on the gripper.
    fn holding(&self) -> bool {
        match self.leg {
            1 => self.done > 0.5,
            2 => true,
            3 => self.done < 0.5,
            _ => false,
        }
    }

    fn gripper(&self) -> f64 {
        match (self.gripper_command, self.leg) {
            (1.0, _) => 0.0,
            (2.0, _) => 1.0,
            (_, 1 | 3) if (self.done - 0.5).abs() < 0.3 => 2.0,
            _ => bit(self.holding()),
        }
    }

    fn mode(&self) -> f64 {
        match (self.faulted, self.enable, self.hold) {
            (true, ..) => 3.0,
            (_, false, _) => 0.0,
            (_, _, true) => 1.0,
            _ => 2.0,
        }
    }

    /// The axis of a page of `RobotDiagnostics`, which counts from 1.
    fn axis(page: u64) -> usize {
        (page.saturating_sub(1) as usize).min(5)
    }
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|i| (a[i] - b[i]) * (a[i] - b[i])).sum::<f64>().sqrt()
}

/// What it listens to.
pub fn received() -> Vec<Received> {
    vec![
        Received {
            bus: CELL,
            message: "RobotCommand",
            arrived: |_| {},
            signals: vec![
                ("RobotEnable", |w, v| w.robot.enable = v != 0.0),
                ("RobotMode", |w, v| w.robot.hold = v != 0.0),
                ("GripperCommand", |w, v| w.robot.gripper_command = v),
                ("SpeedOverride", |w, v| w.robot.speed_override = v.clamp(0.0, 100.0)),
                ("TargetX", |w, v| w.robot.target[0] = v.clamp(-2500.0, 2500.0)),
                ("TargetY", |w, v| w.robot.target[1] = v.clamp(-2500.0, 2500.0)),
                ("TargetZ", |w, v| w.robot.target[2] = v.clamp(-500.0, 2500.0)),
                ("Payload", |w, v| w.robot.payload = v.clamp(0.0, 60.0)),
            ],
        },
        Received {
            bus: CELL,
            message: "CellBeacon",
            arrived: |_| {},
            signals: vec![("LayersPerPallet", |w, v| w.robot.layers_per_pallet = v.clamp(1.0, 20.0) as u16)],
        },
    ]
}

/// What it sends.
pub fn sent() -> Vec<Sent> {
    vec![
        message("RobotJoints", joints()),
        message("RobotPose", pose()),
        message("RobotState", state()),
        message("RobotDiagnostics", diagnostics()),
    ]
}

fn message(message: &'static str, signals: Vec<(&'static str, Source)>) -> Sent {
    Sent { bus: CELL, message, device: Device::Robot, source_address: None, timing: Timing::Cyclic, signals }
}

fn joints() -> Vec<(&'static str, Source)> {
    vec![
        ("Joint1Position", Value(|w| w.robot.axes[0])),
        ("Joint2Position", Value(|w| w.robot.axes[1])),
        ("Joint3Position", Value(|w| w.robot.axes[2])),
        ("Joint4Position", Value(|w| w.robot.axes[3])),
        ("Joint5Position", Value(|w| w.robot.axes[4])),
        ("Joint6Position", Value(|w| w.robot.axes[5])),
        ("Joint1Velocity", Value(|w| w.robot.velocity[0])),
        ("Joint2Velocity", Value(|w| w.robot.velocity[1])),
        ("Joint3Velocity", Value(|w| w.robot.velocity[2])),
        ("Joint4Velocity", Value(|w| w.robot.velocity[3])),
        ("Joint5Velocity", Value(|w| w.robot.velocity[4])),
        ("Joint6Velocity", Value(|w| w.robot.velocity[5])),
        ("Joint1Torque", Value(|w| w.robot.torque[0])),
        ("Joint2Torque", Value(|w| w.robot.torque[1])),
        ("Joint3Torque", Value(|w| w.robot.torque[2])),
        ("Joint4Torque", Value(|w| w.robot.torque[3])),
        ("Joint5Torque", Value(|w| w.robot.torque[4])),
        ("Joint6Torque", Value(|w| w.robot.torque[5])),
        ("Joint1Temperature", Value(|w| w.robot.temperature[0])),
        ("Joint2Temperature", Value(|w| w.robot.temperature[1])),
        ("Joint3Temperature", Value(|w| w.robot.temperature[2])),
        ("Joint4Temperature", Value(|w| w.robot.temperature[3])),
        ("Joint5Temperature", Value(|w| w.robot.temperature[4])),
        ("Joint6Temperature", Value(|w| w.robot.temperature[5])),
        ("SampleTime", Raw(World::robot_time_us)),
        ("JointsAlive", Counter { modulus: 256, stuck_by: None }),
        ("JointsMotion", Value(|w| if w.robot.moving { LEGS[w.robot.leg].1 } else { 0.0 })),
    ]
}

fn pose() -> Vec<(&'static str, Source)> {
    vec![
        ("PoseX", Value(|w| w.robot.pose[0])),
        ("PoseY", Value(|w| w.robot.pose[1])),
        ("PoseZ", Value(|w| w.robot.pose[2])),
        ("PoseA", Value(|w| w.robot.axes[5] - w.robot.axes[0])),
        ("PoseB", Value(|w| 180.0 - w.robot.axes[1] - w.robot.axes[2])),
        ("PoseC", Value(|w| w.robot.axes[3])),
        ("PathSpeed", Value(|w| w.robot.speed)),
        ("PathDeviation", Value(|w| w.robot.deviation.clamp(0.0, 2000.0))),
        ("PoseAlive", Counter { modulus: 16, stuck_by: None }),
    ]
}

fn state() -> Vec<(&'static str, Source)> {
    vec![
        ("RobotOperatingMode", Value(|w| w.robot.mode())),
        ("PathLength", Raw(|w| w.robot.path)),
        ("GripperState", Value(|w| w.robot.gripper())),
        ("RobotFaulted", Value(|w| bit(w.robot.faulted))),
        ("RobotHomed", Value(|_| 1.0)),
        ("LayersPlaced", Value(|w| w.robot.layers as f64)),
        // longer than it can say: not available
        ("LastCycleTime", Value(|w| if w.robot.last_cycle <= 25.4 { w.robot.last_cycle } else { f64::NAN })),
    ]
}

fn diagnostics() -> Vec<(&'static str, Source)> {
    vec![
        ("Area", Page { values: &[0, 1, 1, 1, 2], frames: 1 }),
        ("CpuLoad", Value(|w| w.robot.cpu_load.clamp(0.0, 100.0))),
        ("CpuTemperature", Value(|w| AMBIENT + 22.0 + 0.2 * w.robot.cpu_load)),
        ("CycleJitter", Value(|w| w.robot.jitter.max(0.0))),
        ("AxisSelect", Page { values: &[1, 2, 3, 4, 5, 6, 7], frames: 1 }),
        ("AxisCurrent", Selected(|w, page| w.robot.torque[Robot::axis(page)] * 0.015)),
        ("AxisBrakeVoltage", Value(|w| 24.0 * bit(w.robot.moving) + 0.05 * (w.time() / 3.0).sin().abs())),
        ("AxisHours", Selected(|w, page| w.robot.hours + 11.0 * page as f64)),
        ("AxisGearboxWear", Selected(|w, page| (w.robot.hours / 400.0 + page as f64).min(100.0))),
        ("ExternalPosition", Value(|w| 1500.0 * (w.time() / 60.0).sin())),
        ("GripperVacuum", Value(|w| w.robot.vacuum.clamp(-1000.0, 0.0))),
        ("GripperCycles", Value(|w| w.robot.grips as f64)),
        ("GripperForce", Value(|w| w.robot.force)),
    ]
}

impl World {
    /// The robot controller was started a month before.
    fn robot_time_us(&self) -> u64 {
        30 * 86_400_000_000 + self.ticks * 10_000
    }
}
