use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::can::FrameId;
use crate::can::name::{Claim, Name};
use crate::dbc::{Database, Lookup, Message, Raw, Signal};
use crate::sim::tests::{demo_databases, present};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// Any time will do: the plant knows only differences.
const START: u64 = 987_654_321;
const COMMAND_PERIOD: u64 = 100 * MS;

/// The plant with an invented clock and a controller that sends every message of ours.
struct Bench {
    databases: [Database; 2],
    plant: Plant,
    now: u64,
    /// The last frame of each identifier and its time.
    last: BTreeMap<(usize, FrameId), (u64, Frame)>,
    lookups: [Lookup; 2],
    commands: Vec<(usize, Frame)>,
    /// The controller sends.
    sending: bool,
    /// Who said which address is his.
    claims: Vec<Claim>,
}

impl Bench {
    fn new() -> Bench {
        let databases = demo_databases();
        let plant = Plant::bind(|bus, name| {
            let bus = [LINE, CELL].iter().position(|b| *b == bus)?;
            Some((bus, databases[bus].messages.iter().find(|m| m.name == name)?))
        })
        .unwrap();
        let mut commands = Vec::new();
        for (bus, database) in databases.iter().enumerate() {
            for message in database.messages.iter().filter(|m| m.senders == ["Canvoy"]) {
                let payload = start_payload(message);
                let payload = &payload[..message.length as usize];
                let frame =
                    if message.fd { Frame::fd(message.id, payload) } else { Frame::classic(message.id, payload) };
                commands.push((bus, frame.unwrap()));
            }
        }
        let lookups = [0, 1].map(|bus: usize| Lookup::new(&databases[bus].messages));
        Bench {
            databases,
            lookups,
            plant,
            now: START,
            last: BTreeMap::new(),
            commands,
            sending: true,
            claims: Vec::new(),
        }
    }

    /// On whichever bus has it.
    fn message(&self, name: &str) -> (usize, &Message) {
        let find = |bus: usize| Some((bus, self.databases[bus].messages.iter().find(|m| m.name == name)?));
        (0..2).find_map(find).unwrap()
    }

    /// `Message.Signal`.
    fn find(&self, path: &str) -> (usize, &Message, &Signal) {
        let (message, signal) = path.split_once('.').unwrap();
        let (bus, message) = self.message(message);
        (bus, message, message.signals.iter().find(|s| s.name == signal).unwrap())
    }

    /// What the controller sends from now on.
    fn command(&mut self, path: &str, value: f64) {
        let (bus, message, signal) = self.find(path);
        let (id, codec) = (message.id, signal.codec);
        let (_, frame) = self.commands.iter_mut().find(|(b, f)| (*b, f.id) == (bus, id)).unwrap();
        codec.insert(codec.to_raw(value).unwrap(), frame.payload_mut()).unwrap();
    }

    /// Goes on for a time; `seen` gets every frame with its time, bus and message.
    fn run(&mut self, seconds: f64, mut seen: impl FnMut(u64, usize, &Message, &Frame)) {
        let end = self.now + (seconds * 1e9) as u64;
        let mut command = self.now;
        while self.now < end {
            if self.sending && command <= self.now {
                self.commands.iter().for_each(|(bus, frame)| self.plant.receive(*bus, frame));
                command += COMMAND_PERIOD;
            }
            let (now, databases, lookups, last) = (self.now, &self.databases, &self.lookups, &mut self.last);
            self.plant.step(now, &mut |bus, frame| {
                if let Some(claim) = Claim::of(frame) {
                    self.claims.push(claim);
                    return;
                }
                seen(now, bus, &databases[bus].messages[lookups[bus].get(frame.id).unwrap()], frame);
                last.insert((bus, frame.id), (now, *frame));
            });
            let due = self.plant.next_due();
            assert!(due > self.now, "due again at once");
            self.now = if self.sending { due.min(command) } else { due }.min(end);
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.run(seconds, |_, _, _, _| {});
    }

    fn raw(&self, path: &str) -> Raw {
        let (bus, message, signal) = self.find(path);
        let (_, frame) = &self.last[&(bus, with_source(message, 0))];
        signal.codec.raw(frame.payload()).unwrap()
    }

    fn value(&self, path: &str) -> f64 {
        self.find(path).2.codec.engineering(self.raw(path))
    }

    /// Seconds since the last frame of a message.
    fn silence(&self, message: &str, source: u8) -> f64 {
        let (bus, message) = self.message(message);
        (self.now - self.last[&(bus, with_source(message, source))].0) as f64 / 1e9
    }
}

/// The identifier of a message; of a J1939 one that of this sender.
fn with_source(message: &Message, source: u8) -> FrameId {
    if message.pgn.is_none() {
        return message.id;
    }
    FrameId::extended(message.id.number() & !0xFF | source as u32).unwrap()
}

#[test]
fn generator_sets_claim_their_addresses_once() {
    let mut bench = Bench::new();
    bench.wait(5.0);
    let makers = bench.claims.iter().map(|claim| match claim {
        Claim::Address(address, name) => (*address, name.manufacturer_code(), name.identity_number(), name.function()),
        other => panic!("{other:?}"),
    });
    assert_eq!(makers.collect::<Vec<_>>(), [(0, 2046, 100_541, 0), (1, 2046, 100_207, 0)]);
    assert!(bench.claims.iter().all(|claim| matches!(claim, Claim::Address(_, Name(name)) if name >> 60 == 5)));
}

#[test]
fn every_message_of_the_others_is_sent_and_every_signal_moves() {
    // what stands still whatever happens
    const STILL: [&str; 17] = [
        "DriveIdentity.DriveFirmwareMajor",
        "DriveIdentity.DriveFirmwareMinor",
        "DriveIdentity.DriveFirmwarePatch",
        "DriveIdentity.DriveHardware",
        "DriveIdentity.DriveSerial",
        "DriveStatus.CommandAlive",
        "EFL_P1.EngCoolantLevel",
        "ET1.EngTurboOilTemp",
        "GuardRelayStatus.EStopChain",
        "MeterEnergy.EnergyExport",
        "MeterIdentity.CurrentTransformer",
        "MeterIdentity.MeterFirmware",
        "MeterIdentity.MeterPhases",
        "MeterIdentity.MeterSerial",
        "PanelStatus.KeySwitch",
        "PanelStatus.StopButton",
        "RobotState.RobotHomed",
    ];
    let mut bench = Bench::new();
    // by signal: its first bits and whether there were others
    let mut values: HashMap<*const Signal, (u64, bool)> = HashMap::new();
    let commands = [
        ("DriveCommand.SpeedSetpoint", 3000.0, 300.0),
        ("DriveCommand.Direction", 1.0, 20.0),
        ("DriveCommand.Direction", 0.0, 1300.0),
        ("ConveyorCommand.ProductGap", 400.0, 20.0),
        ("FillerCommand.ActiveRecipe", 2.0, 5.0),
        ("OvenCommand.DoorRelease", 1.0, 20.0),
        ("OvenCommand.FanSpeedSetpoint", 0.0, 20.0),
        ("OvenCommand.TemperatureSetpoint", 20.0, 20.0),
        ("RobotCommand.SpeedOverride", 90.0, 30.0),
        ("MeterCommand.TariffSelect", 2.0, 5.0),
        ("MeterCommand.ResetDemand", 1.0, 5.0),
        ("DriveCommand.FaultReset", 1.0, 5.0),
    ];
    let faults = (0..Fault::ALL.len()).rev().map(|fault| ("DemoControl.FaultSelect", fault as f64, 20.0));
    let end = [("DriveCommand.FaultReset", 0.0, 5.0), ("DriveCommand.FaultReset", 1.0, 5.0)];
    for (path, value, seconds) in commands.into_iter().chain(faults).chain(end) {
        bench.command(path, value);
        bench.run(seconds, |_, _, message, frame| {
            for signal in present(message, frame.payload()) {
                let bits = signal.codec.bits(frame.payload()).unwrap();
                let (first, moved) = values.entry(signal).or_insert((bits, false));
                *moved |= *first != bits;
            }
        });
    }
    let mut still = BTreeSet::new();
    for message in bench.databases.iter().flat_map(|d| &d.messages).filter(|m| m.senders != ["Canvoy"]) {
        for signal in &message.signals {
            let name = format!("{}.{}", message.name, signal.name);
            let (_, moved) = values.get(&std::ptr::from_ref(signal)).unwrap_or_else(|| panic!("{name} was never sent"));
            if !moved {
                still.insert(name);
            }
        }
    }
    assert_eq!(still.iter().map(String::as_str).collect::<Vec<_>>(), STILL);
}

#[test]
fn all_values_stay_in_their_ranges_for_an_hour() {
    let mut bench = Bench::new();
    for (setpoint, temperature) in [(800.0, 180.0), (3000.0, 300.0), (150.0, 60.0)] {
        bench.command("DriveCommand.SpeedSetpoint", setpoint);
        bench.command("OvenCommand.TemperatureSetpoint", temperature);
        bench.run(1200.0, |now, _, message, frame| {
            assert_eq!(frame.len(), message.length as usize, "{}", message.name);
            assert_eq!(frame.fd, message.fd, "{}", message.name);
            for signal in present(message, frame.payload()) {
                let raw = signal.codec.raw(frame.payload()).unwrap();
                let value = signal.codec.engineering(raw);
                let place = || format!("{}.{} = {value} at {} s", message.name, signal.name, (now - START) / SECOND);
                // these engines have no such sensor, and nothing else is missing
                let missing = signal.name == "EngTurboOilTemp";
                assert_eq!(signal.not_available(message, raw), missing, "{}", place());
                if !missing && let Some((min, max)) = signal.range {
                    let rounding = 1e-12 * (max - min);
                    assert!((min - rounding..=max + rounding).contains(&value), "{} not in {min}..={max}", place());
                }
            }
        });
    }
}

#[test]
fn cyclic_messages_keep_their_cycle_exactly_for_an_hour() {
    let mut bench = Bench::new();
    bench.sending = false;
    // message, first time, frames
    let mut seen: BTreeMap<FrameId, (String, u64, u64)> = BTreeMap::new();
    bench.run(3600.0, |now, _, message, frame| {
        let Some(period) = message.cycle_time else { return };
        let (_, first, count) = seen.entry(frame.id).or_insert_with(|| (message.name.clone(), now, 0));
        assert_eq!(now, *first + *count * period.as_nanos() as u64, "{} frame {count}", message.name);
        *count += 1;
    });
    let cyclic = |m: &&Message| m.senders != ["Canvoy"] && m.cycle_time.is_some();
    // of a J1939 parameter group there are two
    let series = bench.databases.iter().flat_map(|d| &d.messages).filter(cyclic).map(|m| m.senders.len());
    assert_eq!(seen.len(), series.sum::<usize>());
    for (id, (name, first, count)) in seen {
        assert!(first - START < SPREAD_NS, "{name} starts late");
        let period = bench.databases.iter().flat_map(|d| &d.messages).find(|m| m.name == name).unwrap().cycle_time;
        let period = period.unwrap().as_nanos() as u64;
        assert_eq!(count, (3600 * SECOND - (first - START)).div_ceil(period), "{name} {id}");
    }
}

#[test]
fn the_line_runs_by_itself_before_the_first_command() {
    let mut bench = Bench::new();
    bench.sending = false;
    bench.wait(20.0);
    assert!((bench.value("DriveStatus.ActualSpeed") - 800.0).abs() < 8.0);
    assert_eq!(bench.value("DriveStatus.CommandAlive"), 0.0);
    assert!(bench.value("ConveyorCounters.GoodCount") > 18_204.0);
}

#[test]
fn drive_follows_its_setpoint_along_the_ramp() {
    let mut bench = Bench::new();
    bench.wait(10.0);
    for (from, to, ramp) in [(800.0, 1500.0, 250.0), (1500.0, 300.0, 400.0), (300.0, 2900.0, 250.0)] {
        bench.command("DriveCommand.SpeedSetpoint", to);
        let needs = f64::abs(to - from) / ramp;
        let mut speeds = Vec::new();
        let sample = |speeds: &mut Vec<f64>, bench: &mut Bench, seconds| {
            let codec = bench.find("DriveStatus.ActualSpeed").2.codec;
            bench.run(seconds, |_, _, message, frame| {
                if message.name == "DriveStatus" {
                    speeds.push(codec.engineering(codec.raw(frame.payload()).unwrap()));
                }
            });
        };
        sample(&mut speeds, &mut bench, 0.8 * needs);
        let on_the_way = *speeds.last().unwrap();
        let share = (on_the_way - from) / (to - from);
        assert!((0.7..0.85).contains(&share), "{from} to {to}: {on_the_way} after 80 % of the ramp");
        sample(&mut speeds, &mut bench, 0.2 * needs + 0.3);
        let arrived = *speeds.last().unwrap();
        assert!((arrived - to).abs() < 5.0, "{from} to {to}: {arrived}");
        assert_eq!(bench.value("DriveStatus.AtSetpoint"), 1.0);
        // measured with a noise of 1.2 rpm
        let bounds = from.min(to) - 5.0..from.max(to) + 5.0;
        assert!(speeds.iter().all(|speed| bounds.contains(speed)), "{from} to {to}: out of bounds");
        let step = ramp * 0.01 + 3.0;
        assert!(speeds.windows(2).all(|w| (w[1] - w[0]).abs() <= step), "{from} to {to}: a jump");
        bench.wait(5.0);
    }
}

#[test]
fn drive_obeys_its_other_commands() {
    // command, value, speed after 20 seconds from 800 rpm
    for (path, value, speed) in [
        ("DriveCommand.Enable", 0.0, 0.0),
        ("DriveCommand.QuickStop", 1.0, 0.0),
        ("DriveCommand.Direction", 1.0, -800.0),
        ("DriveCommand.OperatingMode", 3.0, 80.0),
        ("DriveCommand.SpeedTrim", 10.0, 880.0),
    ] {
        let mut bench = Bench::new();
        bench.wait(10.0);
        bench.command(path, value);
        bench.wait(20.0);
        let actual = bench.value("DriveStatus.ActualSpeed");
        assert!((actual - speed).abs() < 5.0, "{path} = {value}: {actual}");
    }
}

#[test]
fn drive_without_torque_does_not_keep_its_speed() {
    let mut bench = Bench::new();
    bench.wait(10.0);
    bench.command("DriveCommand.TorqueLimit", 3.0);
    bench.wait(30.0);
    let actual = bench.value("DriveStatus.ActualSpeed");
    assert!((0.0..700.0).contains(&actual), "{actual}");
    assert_eq!(bench.value("DriveStatus.DriveWarning"), 1.0);
}

#[test]
fn drive_stops_by_itself_when_its_command_is_missing() {
    let mut bench = Bench::new();
    bench.wait(10.0);
    bench.sending = false;
    bench.wait(0.3);
    assert_eq!(bench.value("DriveStatus.DriveState"), 3.0);
    bench.wait(5.0);
    assert_eq!(bench.value("DriveStatus.DriveState"), 6.0);
    assert_eq!(bench.value("DriveStatus.ActualSpeed"), 0.0);
    bench.sending = true;
    bench.wait(5.0);
    assert_eq!(bench.value("DriveStatus.DriveState"), 3.0);
}

#[test]
fn checksum_and_counter_of_the_drive() {
    let mut bench = Bench::new();
    let (mut next, mut frames) = (0, 0);
    bench.run(2.0, |_, _, message, frame| {
        if message.name == "DriveStatus" {
            let payload = frame.payload();
            assert_eq!(payload[7], table::crc8_j1850(&payload[..7]));
            assert_eq!(payload[6] & 0x0F, next);
            next = (next + 1) % 15;
            frames += 1;
        }
    });
    assert_eq!(frames, 200);
}

#[test]
fn oven_settles_at_its_setpoint() {
    for setpoint in [60.0, 120.0, 180.0, 250.0] {
        let mut bench = Bench::new();
        bench.command("OvenCommand.TemperatureSetpoint", setpoint);
        bench.wait(240.0);
        let (mut lowest, mut highest) = (f64::MAX, f64::MIN);
        let codec = bench.find("OvenStatus.OvenTemperature").2.codec;
        bench.run(120.0, |_, _, message, frame| {
            if message.name == "OvenStatus" {
                let temperature = codec.engineering(codec.raw(frame.payload()).unwrap());
                (lowest, highest) = (lowest.min(temperature), highest.max(temperature));
            }
        });
        assert!(lowest > setpoint - 8.0 && highest < setpoint + 8.0, "{setpoint}: {lowest} to {highest}");
        assert!(highest - lowest > 1.0, "a thermostat switches");
    }
}

#[test]
fn meter_sees_what_drive_and_oven_take() {
    let mut bench = Bench::new();
    bench.command("OvenCommand.OvenEnable", 0.0);
    bench.wait(10.0);
    let idle = bench.value("MeterPower.PowerTotal");
    bench.command("DriveCommand.SpeedSetpoint", 3000.0);
    bench.wait(20.0);
    let driving = bench.value("MeterPower.PowerTotal");
    assert!(driving > idle + 5_000.0, "{idle} W, then {driving} W with the drive");
    bench.command("OvenCommand.TemperatureSetpoint", 300.0);
    bench.command("OvenCommand.OvenEnable", 1.0);
    bench.wait(2.0);
    let heating = bench.value("MeterPower.PowerTotal");
    assert!(heating > driving + 20_000.0, "{driving} W, then {heating} W with the oven");
    let before = bench.value("MeterEnergy.EnergyImport");
    bench.wait(10.0);
    let kwh = bench.value("MeterEnergy.EnergyImport") - before;
    assert!((kwh - heating * 10.0 / 3.6e6).abs() < 0.3 * kwh, "{kwh} kWh in ten seconds");
}

#[test]
fn filler_underfills_when_the_line_is_too_fast() {
    let mut bench = Bench::new();
    bench.command("DriveCommand.SpeedSetpoint", 3000.0);
    bench.wait(60.0);
    assert!(bench.value("FillerPages.UnderfilledBottles") > 0.0);
    assert!(bench.value("ConveyorCounters.RejectCount") > 150.0);
}

#[test]
fn both_generator_sets_are_heard_under_their_addresses() {
    let mut bench = Bench::new();
    bench.wait(2.0);
    let speed = bench.find("EEC1.EngSpeed").2.codec;
    for (address, expected) in [(0, 1440.0..1520.0), (1, 0.0..1.0)] {
        let (_, frame) = &bench.last[&(1, with_source(bench.message("EEC1").1, address))];
        let rpm = speed.engineering(speed.raw(frame.payload()).unwrap());
        assert!(expected.contains(&rpm), "source address {address}: {rpm} rpm");
    }
    let mut fastest: f64 = 0.0;
    bench.run(60.0, |_, _, message, frame| {
        if message.name == "EEC1" && frame.id.source_address() == 1 {
            fastest = fastest.max(speed.engineering(speed.raw(frame.payload()).unwrap()));
        }
    });
    assert!(fastest > 1400.0, "the second one is tested now and then: {fastest} rpm");
}

/// Selects a fault for so many seconds in a plant that has been running.
fn with_fault(fault: Fault, seconds: f64) -> Bench {
    let mut bench = Bench::new();
    bench.wait(20.0);
    let value = Fault::ALL.iter().position(|f| *f == fault).unwrap();
    bench.command("DemoControl.FaultSelect", value as f64);
    bench.wait(seconds);
    bench
}

/// What a fault does to one signal.
fn check_fault(fault: Fault, seconds: f64, path: &str, value: f64) {
    let bench = with_fault(fault, seconds);
    let actual = bench.value(path);
    assert!((actual - value).abs() < 1e-6 * value.abs().max(1.0), "{fault:?}: {path} = {actual}, not {value}");
}

#[test]
fn the_value_table_names_the_faults_in_order() {
    let bench = Bench::new();
    let table = &bench.find("DemoControl.FaultSelect").2.value_table;
    let words: Vec<(i128, String)> =
        Fault::ALL.iter().enumerate().map(|(value, fault)| (value as i128, format!("{fault:?}"))).collect();
    assert_eq!(*table, words);
}

#[test]
fn faults_have_their_effect() {
    for (fault, seconds, path, value) in [
        (Fault::DriveOverTemperature, 30.0, "DriveStatus.DriveFaulted", 1.0),
        (Fault::DriveOverTemperature, 30.0, "DriveStatus.ActualSpeed", 0.0),
        (Fault::DriveOverTemperature, 30.0, "DriveFault.FaultCode", 0x4310 as f64),
        (Fault::OvenSensorBroken, 1.0, "OvenStatus.SensorFault", 1.0),
        (Fault::OvenSensorBroken, 1.0, "OvenStatus.HeaterPower", 0.0),
        (Fault::OvenSensorShorted, 1.0, "OvenStatus.OvenTemperature", 6400.0),
        (Fault::OvenSensorShorted, 1.0, "OvenZones.Zone1Temperature", 409.4),
        (Fault::ConveyorJam, 5.0, "ConveyorStatus.ConveyorState", 5.0),
        (Fault::ConveyorJam, 5.0, "ConveyorStatus.BeltSpeed", 0.0),
        (Fault::ConveyorJam, 5.0, "FillerStatus.FillerState", 5.0),
        (Fault::GuardDoorOpen, 5.0, "GuardRelayStatus.Door2", 0.0),
        (Fault::GuardDoorOpen, 5.0, "DriveStatus.ActualSpeed", 0.0),
        (Fault::GuardDoorOpen, 5.0, "DriveStatus.DriveState", 1.0),
        (Fault::LabellerRollEmpty, 1.0, "LabellerStatus.RollRemaining", 0.0),
        (Fault::LabellerRollEmpty, 1.0, "LabellerStatus.LabellerState", 7.0),
        (Fault::RobotCollision, 1.0, "RobotState.RobotFaulted", 1.0),
        (Fault::RobotCollision, 1.0, "RobotPose.PathSpeed", 0.0),
    ] {
        check_fault(fault, seconds, path, value);
    }
}

#[test]
fn a_broken_sensor_is_not_available() {
    let bench = with_fault(Fault::OvenSensorBroken, 1.0);
    let (_, message, signal) = bench.find("OvenStatus.OvenTemperature");
    assert!(signal.not_available(message, bench.raw("OvenStatus.OvenTemperature")));
}

#[test]
fn silent_devices_send_nothing_and_the_others_go_on() {
    for (fault, message, source, other) in [
        (Fault::FillerSilent, "FillerStatus", 0, "LabellerStatus"),
        (Fault::FillerSilent, "FillerPages", 0, "DriveStatus"),
        (Fault::EnergyMeterSilent, "MeterPower", 0, "RobotJoints"),
        (Fault::GensetSilent, "EEC1", 1, "EEC1"),
    ] {
        let mut bench = with_fault(fault, 5.0);
        assert!(bench.silence(message, source) > 4.7, "{fault:?}: {message} goes on");
        assert!(bench.silence(other, 0) < 0.3, "{fault:?}: {other} is silent too");
        bench.command("DemoControl.FaultSelect", 0.0);
        bench.wait(2.0);
        assert!(bench.silence(message, source) < 0.3, "{fault:?}: {message} does not come back");
    }
}

#[test]
fn counter_stands_still_and_checksum_is_wrong_on_demand() {
    for (fault, stuck, wrong) in
        [(Fault::None, false, false), (Fault::DriveCounterStuck, true, false), (Fault::DriveChecksumWrong, false, true)]
    {
        let mut bench = with_fault(fault, 0.1);
        let mut counters = BTreeSet::new();
        bench.run(1.0, |_, _, message, frame| {
            if message.name == "DriveStatus" {
                let payload = frame.payload();
                counters.insert(payload[6] & 0x0F);
                assert_eq!(payload[7] != table::crc8_j1850(&payload[..7]), wrong, "{fault:?}");
            }
        });
        assert_eq!(counters.len() == 1, stuck, "{fault:?}: {counters:?}");
    }
}

#[test]
fn a_drive_fault_stays_until_it_is_reset() {
    let mut bench = with_fault(Fault::DriveOverTemperature, 30.0);
    bench.command("DriveCommand.FaultReset", 1.0);
    bench.wait(1.0);
    assert_eq!(bench.value("DriveStatus.DriveFaulted"), 1.0, "reset while it is hot");
    bench.command("DriveCommand.FaultReset", 0.0);
    bench.command("DemoControl.FaultSelect", 0.0);
    bench.wait(60.0);
    assert_eq!(bench.value("DriveStatus.DriveFaulted"), 1.0, "nobody reset it");
    bench.command("DriveCommand.FaultReset", 1.0);
    bench.wait(10.0);
    assert_eq!(bench.value("DriveStatus.DriveFaulted"), 0.0);
    assert!((bench.value("DriveStatus.ActualSpeed") - 800.0).abs() < 8.0);
    assert_eq!(bench.value("DriveFault.FaultCode"), 0.0);
}

#[test]
fn a_door_opens_now_and_then_and_somebody_resets_the_relay() {
    let mut bench = Bench::new();
    let relay = bench.find("GuardRelayStatus.RelayOutput").2.codec;
    let mut changes = Vec::new();
    bench.run(1800.0, |_, _, message, frame| {
        if message.name == "GuardRelayStatus" {
            let closed = relay.bits(frame.payload()) == Some(1);
            if changes.last() != Some(&closed) {
                changes.push(closed);
            }
        }
    });
    assert!((8..24).contains(&changes.len()), "{} changes in half an hour", changes.len());
    assert!((bench.value("ConveyorCounters.GoodCount") - 18_204.0) > 3_000.0);
}

#[test]
fn the_same_start_gives_the_same_plant() {
    let record = || {
        let mut bench = Bench::new();
        let mut frames = Vec::new();
        bench.run(5.0, |now, bus, _, frame| frames.push((now, bus, *frame)));
        frames
    };
    assert!(record() == record());
}

#[test]
fn a_missing_name_is_named() {
    let databases = demo_databases();
    let mut broken = databases[0].messages.clone();
    broken.retain(|m| m.name != "OvenZones");
    let bind = |line: &[Message]| {
        Plant::bind(|bus, name| {
            let (bus, messages) = if bus == LINE { (0, line) } else { (1, &databases[1].messages[..]) };
            Some((bus, messages.iter().find(|m| m.name == name)?))
        })
        .map(|_| ())
        .map_err(|error| error.to_string())
    };
    let error = bind(&broken).unwrap_err();
    assert_eq!(error, "the demo plant needs message line.OvenZones, which the DBC files do not have");
    let mut broken = databases[0].messages.clone();
    let oven = broken.iter_mut().find(|m| m.name == "OvenZones").unwrap();
    oven.signals.retain(|s| s.name != "Zone2Temperature");
    let error = bind(&broken).unwrap_err();
    assert_eq!(error, "the demo plant needs signal line.OvenZones.Zone2Temperature, which the DBC files do not have");
}
