//! What is received: records, deadlines, intervals, protection, losses, forces, over `Control::step` with an invented clock.

use canvoy::store::layout::BusWord;

use crate::bench::Bench;

/// Two buses: a drive on the line, a robot in the cell.
const LINE: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
BO_ 300 Command: 2 Us
 SG_ Setpoint : 0|16@1- (0.5,0) [-3000|3000] "rpm" Drive
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 300 20;
"#;

const CELL: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Robot
BO_ 256 Pose: 8 Robot
 SG_ X : 0|32@1- (0.001,0) [0|0] "m" Us
"#;

const TOML: &str = r#"
[bus.line]
interface = "can0"
dbc = ["line.dbc"]
node = "Us"
transmit = "all"
writable = "all"
[bus.cell]
interface = "can1"
dbc = ["cell.dbc"]
"#;

fn bench() -> Bench {
    Bench::new(TOML, &[("line.dbc", LINE), ("cell.dbc", CELL)])
}

#[test]
fn buses_are_kept_apart() {
    let mut b = bench();
    b.play(
        "
        0 tx line 12C#0000
        0 quiet
        5 rx line 100#1027000000000000
        5 is line.Status.Speed 5000 good
        5 is cell.Pose.X - never_received
        6 rx cell 100#E803000000000000
        6 is cell.Pose.X 1 good
        7 write line.Command.Setpoint 1.5
        20 tx line 12C#0300
        255 is line.Status.Speed 5000 late
        255 causes line.Status.Speed {Late}
        255 on late line.Status
        255 count line.Status TooSoon 0
        255 clear
        256 rx line 100#1127000000000000
        256 off late line.Status
        256 is line.Status.Speed 5000.5 good
        256 state line down
        256 is line.Status.Speed 5000.5 interface_gone
        256 is cell.Pose.X 1 good
        257 rx cell 101#
        ",
    );
    assert_eq!(b.bus_word("cell", BusWord::UnknownFrames), 1);
}

#[test]
fn a_bus_that_was_never_there_is_gone() {
    let b = Bench::unplugged(TOML, &[("line.dbc", LINE), ("cell.dbc", CELL)]);
    b.check("cell.Pose.X", "- interface_gone");
}

/// Engines of one DBC file, told apart by their source addresses; a third that nobody described is the DBC file's own.
#[test]
fn alike_devices_have_messages_of_their_own() {
    let dbc = include_str!("../fixtures/config/engine.dbc");
    let toml = r#"
[bus.b]
interface = "can0"
dbc = ["engine.dbc"]
node = "Master"
[bus.b.device.Engine]
dbc = ["engine.dbc"]
instances = [{ name = "left", source_address = 0x21 }, { name = "right", source_address = 0x22 }]
transmit = ["TSC1"]
writable = ["TSC1.RequestedSpeed"]
message.TSC1.fallback = { RequestedSpeed = 0 }
message.EEC1.timeout_ms = 200
[machine]
arm = "at-start"
"#;
    let mut b = Bench::new(toml, &[("engine.dbc", dbc)]);
    b.play(
        "
        1 rx b 0CF00421#000000E02E000000
        1 is b.left_EEC1.EngineSpeed 1500 good
        1 is b.right_EEC1.EngineSpeed - never_received
        2 rx b 18F00422#0000000004000000
        2 is b.right_EEC1.EngineSpeed 128 good
        2 is b.left_EEC1.EngineSpeed 1500 good
        3 rx b 0CF00433#0000000008000000
        3 is b.EEC1.EngineSpeed 256 good
        3 is b.left_EEC1.EngineSpeed 1500 good
        4 rx b 0CF00421#000000FFFF000000
        4 is b.left_EEC1.EngineSpeed 8191.875 not_available
        ",
    );
    // each is spoken to at its own address
    for (engine, id) in [("left", 0x0C00_21FE), ("right", 0x0C00_22FE)] {
        let name = format!("{engine}_TSC1");
        let message = b.plan.messages.iter().find(|message| message.message.name == name).unwrap();
        assert_eq!(message.message.id.number(), id, "{name}");
    }
}

/// What deadlines, branches, sources, losses and forces need.
const ALL: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
 SG_ Mode : 16|8@1+ (1,0) [0|0] "" Us
BO_ 257 Power: 2 Drive
 SG_ DrivePower : 0|2@1+ (1,0) [0|0] "" Us
 SG_ Voltage : 8|8@1+ (0.1,0) [0|25] "V" Us
BO_ 258 Event: 2 Drive
 SG_ Code : 0|8@1+ (1,0) [0|0] "" Us
 SG_ Level : 8|8@1+ (1,0) [0|0] "" Us
BO_ 259 Motor: 8 Drive
 SG_ Torque : 0|8@1+ (1,0) [0|0] "" Us
BO_ 512 Pages: 8 Drive
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Us
 SG_ Common : 8|8@1+ (1,0) [0|0] "" Us
 SG_ A m0 : 16|8@1+ (1,0) [0|0] "" Us
 SG_ B m1 : 16|8@1+ (1,0) [0|0] "" Us
BO_ 513 Counted: 2 Drive
 SG_ Level2 : 0|8@1+ (1,0) [0|0] "" Us
 SG_ Count : 8|4@1+ (1,0) [0|0] "" Us
BO_ 514 Summed: 3 Drive
 SG_ Page2 M : 0|8@1+ (1,0) [0|0] "" Us
 SG_ C m0 : 8|8@1+ (1,0) [0|0] "" Us
 SG_ D m1 : 8|8@1+ (1,0) [0|0] "" Us
 SG_ Sum : 16|8@1+ (1,0) [0|0] "" Us
BO_ 2364540158 Engine: 8 Drive
 SG_ Rpm : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 257 20;
BA_ "GenMsgCycleTime" BO_ 513 100;
BA_ "GenMsgCycleTime" BO_ 2364540158 20;
BA_ "VFrameFormat" BO_ 2364540158 3;
VAL_ 257 DrivePower 0 "Off" 1 "On" 2 "Error" 3 "SNA";
"#;

const ALL_TOML: &str = r#"
[bus.b]
interface = "can0"
dbc = ["b.dbc"]
node = "Us"
j1939_sources = 2
message.Motor = { timeout_ms = 50, expected_when = "b.Power.DrivePower == 'On'", shortest_interval_ms = 2.5 }
message.Pages = { timeout_ms = 100, branch_timeout_ms = 300 }
message.Counted = { timeout_ms = 250 }
[bus.b.protection.Counted]
scheme = "plain"
counter = "Count"
[bus.b.protection.Summed]
scheme = "plain"
checksum = "Sum"
algorithm = "sum"
"#;

fn check(name: &str, script: &str) {
    let mut b = Bench::new(ALL_TOML, &[("b.dbc", ALL)]);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| b.play(script)));
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().cloned();
        panic!("{name}: {}", text.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap_or(&"?").to_string()));
    }
}

/// `=== what`, and a script.
#[test]
fn receiving() {
    let mut failed = Vec::new();
    let cases = include_str!("../fixtures/control/receive.txt");
    for case in cases.split("=== ").skip(1) {
        let (name, script) = case.split_once('\n').unwrap();
        if std::panic::catch_unwind(|| check(name, script)).is_err() {
            failed.push(name);
        }
    }
    assert!(cases.matches("=== ").count() > 30);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Whatever comes in whatever order: nothing panics, and once everything is released and quiet, nothing is left behind.
#[test]
fn any_order_of_events() {
    let mut b = Bench::new(ALL_TOML, &[("b.dbc", ALL)]);
    let mut random = 1_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let ids = ["100", "101", "102", "103", "200", "201", "202", "0CF00421", "0CF00422", "18F00423"];
    let tags = ["b.Status.Speed", "b.Power.DrivePower", "b.Pages.A", "b.Pages.B", "b.Counted.Level2", "b.Engine.Rpm"];
    let states = ["gone", "down", "active", "warning", "passive", "bus_off", "active", "active", "active"];
    for _ in 0..20_000 {
        let now = b.ms();
        match next(20) {
            0..10 => {
                let length = if next(5) == 0 { next(9) } else { 8 };
                let bytes: String = (0..length).map(|_| format!("{:02X}", next(4))).collect();
                b.receive(&format!("b {}#{bytes}", ids[next(10) as usize]));
            }
            10..15 => drop(b.pass(next(60))),
            15 => b.play(&format!("{now} lost b {}", next(3))),
            16 => b.play(&format!("{now} state b {}", states[next(9) as usize])),
            17 => b.play(&format!("{now} force {} {} 1.5", tags[next(6) as usize], next(3))),
            _ => b.play(&format!("{now} release")),
        }
    }
    let now = b.ms();
    b.play(&format!("{now} state b active\n{now} release\n{now} rx b 101#0196"));
    b.pass(61_000);
    let end = "
        on late b.Motor
        off frames-lost b
        off forced
        rx b 101#0196
        rx b 103#05
        is b.Motor.Torque 5 good
        off late b.Motor
        rx b 100#1027030000000000
        is b.Status.Speed 5000 good
        off late b.Status
        on late b.Engine
        rx b 0CF00421#FFFFFF0800FFFFFF
        rx b 0CF00422#FFFFFF0800FFFFFF
        rx b 18F00423#FFFFFF0800FFFFFF
        slot 0 b.Engine.Rpm 1 good
        slot 1 b.Engine.Rpm 1 good
        off late b.Engine";
    end.lines().for_each(|line| b.play(&format!("{} {}", now + 61_000, line.trim())));
    let quiet: Vec<String> =
        tags.iter().map(|tag| b.causes(tag, 0)).filter(|causes| causes.contains("Forced")).collect();
    assert_eq!(quiet, Vec::<String>::new());
}
