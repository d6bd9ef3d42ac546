//! The machine's behaviour over `Control::step` with an invented clock: frames and writes in, records and frames out.

use canvoy::can::FrameId;
use canvoy::command::Value;
use canvoy::control::Event;
use canvoy::dbc::Raw;
use canvoy::quality::Cause;
use canvoy::store::layout::{BusState, BusWord, MessageWord, Word};

use crate::bench::{Bench, MS};

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
 SG_ Mode : 16|8@1+ (1,0) [0|0] "" Us
 SG_ Pressure : 24|8@1+ (0.1,0) [0|25.4] "bar" Us
BO_ 512 Pages: 8 Drive
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Us
 SG_ Common : 8|8@1+ (1,0) [0|0] "" Us
 SG_ A m0 : 16|8@1+ (1,0) [0|0] "" Us
 SG_ B m1 : 16|8@1+ (1,0) [0|0] "" Us
BO_ 2364540158 Engine: 8 Drive
 SG_ Rpm : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BO_ 300 Command: 8 Us
 SG_ Setpoint : 0|16@1- (0.5,0) [-3000|3000] "rpm" Drive
 SG_ Enable : 16|1@1+ (1,0) [0|1] "" Drive
 SG_ Ramp : 24|8@1+ (1,0) [0|0] "" Drive
 SG_ Coarse : 32|8@1+ (0.5,0) [0|10.3] "" Drive
BO_ 301 Event: 2 Us
 SG_ Code : 0|8@1+ (1,0) [0|0] "" Drive
 SG_ Level : 8|8@1+ (1,0) [0|0] "" Drive
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "GenMsgSendType" ENUM "Cyclic","OnWrite","NoMsgSendType";
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_ SG_ "GenSigStartValue" FLOAT 0 1000000;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "GenMsgSendType" "Cyclic";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_DEF_DEF_ "GenSigStartValue" 0;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 300 20;
BA_ "GenMsgSendType" BO_ 301 1;
BA_ "VFrameFormat" BO_ 2364540158 3;
BA_ "GenSigStartValue" SG_ 300 Setpoint 100;
"#;

const TOML: &str = r#"
[bus.b]
interface = "can0"
dbc = ["b.dbc"]
node = "Us"
transmit = "all"
writable = "all"
j1939_sources = 2
"#;

fn bench() -> Bench {
    Bench::new(TOML, &[("b.dbc", DBC)])
}

/// A frame on the bus; nothing may be sent because of it.
fn receive(b: &mut Bench, id: u32, payload: &[u8]) {
    let hex: String = payload.iter().map(|byte| format!("{byte:02X}")).collect();
    let id = FrameId::from_bits(id).unwrap();
    assert_eq!(b.receive(&format!("b {id}#{hex}")), Vec::<String>::new());
}

#[test]
fn a_value_is_never_received_then_good_then_late_then_good() {
    let mut b = bench();
    b.check("b.Status.Speed", "- never_received");
    receive(&mut b, 256, &[0x10, 0x27, 3, 0, 0, 0, 0, 0]);
    b.check("b.Status.Speed", "5000 good");
    b.pass(249);
    b.check("b.Status.Speed", "5000 good");
    b.pass(2); // 100 ms × 2.5
    b.check("b.Status.Speed", "5000 late");
    receive(&mut b, 256, &[0xE0, 0x2E, 3, 0, 0, 0, 0, 0]);
    b.check("b.Status.Speed", "6000 good");
    receive(&mut b, 256, &[0xE1, 0x2E, 3, 0, 0, 0, 0, 0]);
    b.check("b.Status.Speed", "6000.5 out_of_range");
    receive(&mut b, 256, &[0, 0, 0, 254, 0, 0, 0, 0]);
    b.check("b.Status.Pressure", "25.400000000000002 good"); // on the limit, but for the rounding
    receive(&mut b, 256, &[0, 0, 0, 255, 0, 0, 0, 0]);
    b.check("b.Status.Pressure", "25.5 out_of_range");
}

#[test]
fn a_bus_that_is_gone_overrides_and_comes_back() {
    let mut b = bench();
    receive(&mut b, 256, &[2, 0, 0, 0, 0, 0, 0, 0]);
    for (state, want) in [
        (BusState::Down, "1 interface_gone"),
        (BusState::Gone, "1 interface_gone"),
        (BusState::BusOff, "1 bus_off"),
        (BusState::Passive, "1 good"),
    ] {
        b.step(Event::Bus { bus: 0, state });
        b.check("b.Status.Speed", want);
    }
    b.pass(1000);
    b.step(Event::Bus { bus: 0, state: BusState::Down });
    b.check("b.Status.Speed", "1 interface_gone"); // and late: the worse is shown
}

#[test]
fn a_stuck_controller_is_seen_by_its_heartbeat() {
    let mut b = bench();
    receive(&mut b, 256, &[2, 0, 0, 0, 0, 0, 0, 0]);
    b.now += 600 * MS;
    b.check("b.Status.Speed", "1 controller_gone");
}

#[test]
fn branches_keep_their_own_last_value() {
    let mut b = bench();
    b.check("b.Pages.A", "- never_received");
    receive(&mut b, 512, &[0, 7, 11, 0, 0, 0, 0, 0]);
    b.check("b.Pages.A", "11 good");
    b.check("b.Pages.B", "- branch_not_seen");
    receive(&mut b, 512, &[1, 8, 22, 0, 0, 0, 0, 0]);
    b.check("b.Pages.A", "11 good");
    b.check("b.Pages.B", "22 good");
    b.check("b.Pages.Common", "8 good");
    receive(&mut b, 512, &[9, 9, 99, 0, 0, 0, 0, 0]); // a page without signals
    b.check("b.Pages.A", "11 good");
    b.check("b.Pages.Page", "9 good");
    receive(&mut b, 512, &[0]); // too short for A: not an old value
    b.check("b.Pages.A", "- never_received");
    assert_eq!(b.reader.bus(0, BusWord::ShortFrames), 1);
}

#[test]
fn sources_of_a_parameter_group_are_kept_apart_and_bounded() {
    let mut b = bench();
    let rpm = |n: u8| [0xFF, 0xFF, 0xFF, n, 0, 0xFF, 0xFF, 0xFF];
    receive(&mut b, 0x8CF0_0400 | 0x21, &rpm(8));
    receive(&mut b, 0x98F0_0400 | 0x42, &rpm(16)); // another priority
    receive(&mut b, 0x8CF0_0400 | 0x63, &rpm(24)); // no slot left
    assert_eq!((b.show("b.Engine.Rpm", 0), b.show("b.Engine.Rpm", 1)), ("1 good".into(), "2 good".into()));
    assert_eq!(b.reader.get(Word::SourcesDropped), 1);
    receive(&mut b, 0x8CF0_0400 | 0x21, &[0xFF; 8]);
    b.check("b.Engine.Rpm", "8191.875 not_available");
}

#[test]
fn unknown_frames_and_frames_of_our_own_name_are_counted() {
    let mut b = bench();
    receive(&mut b, 0x7FF, &[]);
    receive(&mut b, 300, &[0; 8]); // ours, from somebody else: the record keeps what we would send
    assert_eq!(b.reader.bus(0, BusWord::UnknownFrames), 1);
    assert_eq!(b.message_word("b.Command", MessageWord::Foreign), 1);
    b.check("b.Command.Setpoint", "50 not_sent");
}

#[test]
fn cycles_come_from_absolute_deadlines() {
    let mut b = bench();
    let sent = b.pass(60);
    let want: Vec<(u64, String)> = [0, 20, 40, 60].map(|at| (at, "b 12C#6400000000000000".to_string())).into();
    assert_eq!(sent, want);
    // the loop was held up for 50 ms: two cycles are lost and counted, the phase is kept
    b.now += 50 * MS;
    assert_eq!(b.step(Event::Timer).len(), 1);
    assert_eq!(b.pass(31).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [120, 140]);
    assert_eq!(b.reader.get(Word::Overruns), 1);
}

#[test]
fn nothing_is_sent_on_a_bus_that_is_not_there() {
    let mut b = bench();
    b.step(Event::Bus { bus: 0, state: BusState::BusOff });
    assert_eq!(b.pass(100), []);
    b.step(Event::Bus { bus: 0, state: BusState::Active });
    // 200 ms of quarantine
    assert_eq!(b.pass(199), []);
    assert_eq!(b.pass(20).len(), 1);
}

#[test]
fn a_write_changes_the_next_frame_and_nothing_else() {
    let mut b = bench();
    b.pass(0);
    assert_eq!(b.write(&[("b.Command.Setpoint", Value::Engineering(-1.5))]), Ok(vec![]));
    b.check("b.Command.Setpoint", "-1.5 good");
    assert_eq!(b.pass(20), [(20, "b 12C#FDFF000000000000".into())]);
    let both = [("b.Command.Enable", Value::Raw(Raw::Unsigned(1))), ("b.Command.Ramp", Value::Engineering(9.0))];
    assert_eq!(b.write(&both), Ok(vec![]));
    assert_eq!(b.pass(20), [(40, "b 12C#FDFF010900000000".into())]);
    assert_eq!(b.reader.get(Word::Writes), 2);
}

#[test]
fn a_message_sent_on_write_leaves_at_once() {
    let mut b = bench();
    b.pass(10);
    assert_eq!(b.write(&[("b.Event.Code", Value::Engineering(7.0))]), Ok(vec!["b 12D#0700".into()]));
    assert_eq!(b.write(&[("b.Event.Code", Value::Engineering(7.0))]), Ok(vec!["b 12D#0700".into()]));
    b.step(Event::Bus { bus: 0, state: BusState::Down });
    let refusal = "b.Event is in fallback (the bus was off or gone); arm again once that is over";
    assert_eq!(b.write(&[("b.Event.Level", Value::Engineering(1.0))]), Err(refusal.into()));
}

#[test]
fn what_may_not_be_written_is_refused_with_its_reason() {
    let mut b = bench();
    for (writes, want) in [
        (vec![("b.Status.Speed", Value::Engineering(1.0))], "b.Status.Speed is not in the bus's `writable` list"),
        (
            vec![("b.Command.Setpoint", Value::Engineering(3000.5))],
            "3000.5 is outside -3000..=3000 of b.Command.Setpoint",
        ),
        // on the limit, but the frame would say 10.5
        (vec![("b.Command.Coarse", Value::Engineering(10.3))], "10.5 is outside 0..=10.3 of b.Command.Coarse"),
        (vec![("b.Command.Setpoint", Value::Engineering(f64::NAN))], "b.Command.Setpoint takes a finite number"),
        (vec![("b.Command.Setpoint", Value::Raw(Raw::Unsigned(1)))], "b.Command.Setpoint takes another type of value"),
        (
            vec![("b.Command.Ramp", Value::Engineering(256.0))],
            "b.Command.Ramp: value 256 needs a raw value outside 0..=255",
        ),
        (
            vec![("b.Command.Ramp", Value::Engineering(1.0)), ("b.Event.Code", Value::Engineering(1.0))],
            "one command writes signals of one message; b.Event.Code belongs to another",
        ),
        (
            vec![("b.Command.Ramp", Value::Engineering(1.0)), ("b.Command.Ramp", Value::Engineering(2.0))],
            "b.Command.Ramp and b.Command.Ramp can't be in one frame: different multiplexor branches or overlapping bits",
        ),
        (vec![], "nothing to write"),
    ] {
        assert_eq!(b.write(&writes), Err(want.to_string()));
    }
    b.check("b.Command.Setpoint", "50 good");
    assert_eq!(b.reader.get(Word::Writes), 0);
}

#[test]
fn every_cause_has_a_way_to_show() {
    // the README's table is this table
    let readme = include_str!("../../README.md");
    for cause in Cause::ALL {
        let m = cause.meaning();
        let row = format!("| {} | `{}` | {} `0x{:08X}` |", m.text, m.label, m.status_name, m.status);
        assert!(readme.contains(&row), "the README's table of causes lacks: {row}");
    }
}
