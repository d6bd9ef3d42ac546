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
