//! Configuration of receiving: deadlines from the DBC file and from the configuration, conditions, and their mistakes.

use canvoy::config::{LoadOptions, Loaded, Sources, load};
use canvoy::diagnostic::Diagnostic;
use canvoy::plan::{Comparison, Direction, Reception};

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive Other
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.1,0) [0|5000] "rpm" Us
 SG_ Mode : 16|4@1+ (1,0) [0|0] "" Us
 SG_ Trim : 24|8@1- (1,0) [-100|100] "" Us
 SG_ Ratio : 32|32@1- (1,0) [0|0] "" Us
BO_ 257 Plain: 8 Drive
 SG_ X : 0|8@1+ (1,0) [0|0] "" Us
 SG_ Y : 8|8@1+ (1,0) [0|0] "" Us
BO_ 512 Pages: 8 Drive
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Us
 SG_ A m0 : 16|8@1+ (1,0) [0|0] "" Us
 SG_ B m1 : 16|8@1+ (1,0) [0|0] "" Us
BO_ 300 Command: 8 Us
 SG_ Setpoint : 0|8@1+ (1,0) [0|0] "" Drive
BO_ 2364540158 Engine: 8 Drive
 SG_ Rpm : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_ SG_ "GenSigTimeoutTime" INT 0 65535;
BA_DEF_REL_ BU_SG_REL_ "GenSigTimeoutTime" INT 0 65535;
BA_DEF_REL_ BU_SG_REL_ "GenSigTimeoutMsg" HEX 0 0;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_DEF_DEF_ "GenSigTimeoutTime" 0;
BA_DEF_DEF_REL_ "GenSigTimeoutTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 300 100;
BA_ "VFrameFormat" BO_ 2364540158 3;
SIG_VALTYPE_ 256 Ratio : 1;
VAL_ 256 Mode 0 "Off" 1 "On" 2 "Twice" 3 "Twice" 15 "SNA";
VAL_ 256 Trim 127 "Far" -1 "Minus" ;
VAL_ 256 Ratio 2 "Two" ;
"#;

fn load_with(dbc: &str, more: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let toml = format!(
        "[bus.b]\ninterface = \"can0\"\ndbc = [\"b.dbc\"]\nnode = \"Us\"\ntransmit = \"all\"\n\
         message.Command = {{ send = \"cyclic\" }}\n{more}"
    );
    let dbc = format!("{DBC}{dbc}");
    load(&Sources::embedded("p.toml", &toml, &[("b.dbc", dbc.as_bytes())]), LoadOptions::default())
}

fn reception(loaded: &Loaded, name: &str) -> Reception {
    let message = loaded.plan.messages.iter().find(|message| message.message.name == name).unwrap();
    let Direction::Input(reception) = &message.direction else { panic!("{name} is sent") };
    reception.clone()
}

#[test]
fn deadlines_by_group() {
    let time = |node: &str, id: u32, signal: &str, ms: u32| {
        format!("BA_REL_ \"GenSigTimeoutTime\" BU_SG_REL_ {node} SG_ {id} {signal} {ms};\n")
    };
    let of = |id: u32, signal: &str, ms: u32| format!("BA_ \"GenSigTimeoutTime\" SG_ {id} {signal} {ms};\n");
    let watched = |id: u32| format!("BA_REL_ \"GenSigTimeoutMsg\" BU_SG_REL_ Us SG_ 256 Speed {id};\n");
    let none = String::new();
    for (dbc, more, message, want) in [
        (none.clone(), "", "Status", vec![Some(250)]),
        (none.clone(), "late_factor = 4\n", "Status", vec![Some(400)]),
        (none.clone(), "", "Plain", vec![None]),
        (none.clone(), "", "Pages", vec![None, None, None]),
        (none.clone(), "message.Status = { timeout_ms = 70 }", "Status", vec![Some(70)]),
        (none.clone(), "message.Status = { timeout_ms = 0 }", "Status", vec![None]),
        (none.clone(), "message.Pages = { branch_timeout_ms = 9 }", "Pages", vec![None, Some(9), Some(9)]),
        (
            none.clone(),
            "message.Pages = { timeout_ms = 5, branch_timeout_ms = 9 }",
            "Pages",
            vec![Some(5), Some(9), Some(9)],
        ),
        (time("Us", 256, "Speed", 600), "", "Status", vec![Some(600)]),
        (time("Us", 256, "Speed", 600) + &time("Us", 256, "Mode", 500), "", "Status", vec![Some(500)]),
        (time("Us", 256, "Speed", 600), "message.Status = { timeout_ms = 70 }", "Status", vec![Some(70)]),
        (time("Us", 256, "Speed", 0), "", "Status", vec![Some(250)]),
        (time("Other", 256, "Speed", 600), "", "Status", vec![Some(250)]),
        (time("Us", 256, "Speed", 600) + &watched(256), "", "Status", vec![Some(600)]),
        (time("Us", 256, "Speed", 600) + &watched(257), "", "Status", vec![Some(250)]),
        (of(257, "Y", 800), "", "Plain", vec![Some(800)]),
        (of(257, "Y", 800) + &time("Us", 257, "Y", 300), "", "Plain", vec![Some(300)]),
        (of(257, "Y", 800) + &time("Us", 257, "Y", 0), "", "Plain", vec![None]),
        (time("Us", 512, "B", 40), "", "Pages", vec![None, None, Some(40)]),
        (time("Us", 512, "B", 40), "message.Pages = { branch_timeout_ms = 0 }", "Pages", vec![None, None, None]),
    ] {
        let loaded = load_with(&dbc, more).unwrap_or_else(|mistakes| panic!("{dbc}{more}: {mistakes:#?}"));
        let found: Vec<Option<u64>> = reception(&loaded, message).deadlines;
        let want: Vec<Option<u64>> = want.into_iter().map(|ms: Option<u64>| ms.map(|ms| ms * 1_000_000)).collect();
        assert_eq!(found, want, "{dbc}{more}");
    }
}

#[test]
fn what_was_configured_to_come_is_awaited() {
    for (more, message, want) in [
        ("", "Status", false),
        ("message.Status = { timeout_ms = 70 }", "Status", true),
        ("message.Status = { timeout_ms = 0 }", "Status", false),
        ("message.Status = { expected_when = 'b.Plain.X == 1' }", "Status", true),
        ("message.Engine = { timeout_ms = 70 }", "Engine", false),
    ] {
        let loaded = load_with("", more).unwrap_or_else(|mistakes| panic!("{more}: {mistakes:#?}"));
        assert_eq!(reception(&loaded, message).awaited, want, "{more}");
    }
}

/// Conditions of `Plain`, and what they mean or what is said about them.
#[test]
fn conditions() {
    let held = |value: f64, comparison| Ok((comparison, value, None));
    let wrong = |text: &str| Err(text.to_owned());
    for (condition, want) in [
        ("b.Status.Mode == 1", held(1.0, Comparison::Equal)),
        ("b.Status.Mode==1", held(1.0, Comparison::Equal)),
        ("b.Status.Mode != 1", held(1.0, Comparison::NotEqual)),
        ("b.Status.Speed < 12", held(12.0, Comparison::Below)),
        ("b.Status.Speed <= 12", held(12.0, Comparison::AtMost)),
        ("b.Status.Speed > 12.05", held(12.05, Comparison::Above)),
        ("b.Status.Speed >= 0.3", held(3.0 * 0.1, Comparison::AtLeast)),
        ("b.Status.Speed == 0.3", held(3.0 * 0.1, Comparison::Equal)),
        ("b.Status.Trim == -7", held(-7.0, Comparison::Equal)),
        ("b.Status.Mode == 'On'", held(1.0, Comparison::Equal)),
        ("b.Status.Trim == 'Minus'", held(-1.0, Comparison::Equal)),
        ("b.Status.Ratio == 'Two'", held(2.0, Comparison::Equal)),
        ("b.Status.Ratio == 0.5", held(0.5, Comparison::Equal)),
        ("b.Engine@33.Rpm > 500", Ok((Comparison::Above, 500.0, Some(33)))),
        (
            "b.Status.Mode",
            wrong(
                "\"b.Status.Mode\" has no operator; write TAG OPERATOR VALUE, like \"line.PowerStatus.DrivePower == 1\"",
            ),
        ),
        ("b.Status.Mode = 1", wrong("\"b.Status.Mode = 1\": to compare write ==")),
        ("b.Status.Mode ! 1", wrong("\"b.Status.Mode ! 1\": there are ==, !=, <, <=, > and >=")),
        (
            "b.Status.Mode ==",
            wrong(
                "\"b.Status.Mode ==\" is not complete; write TAG OPERATOR VALUE, like \"line.PowerStatus.DrivePower == 1\"",
            ),
        ),
        (
            "b.Status.Mode == 1 && b.Status.Speed > 1",
            wrong(
                "\"b.Status.Mode == 1 && b.Status.Speed > 1\": one comparison each; write a list of conditions that must all hold",
            ),
        ),
        ("Status.Mode == 1", wrong("\"Status.Mode\" is not of the form bus.Message.Signal")),
        ("c.Status.Mode == 1", wrong("\"c.Status.Mode\": no bus \"c\" (did you mean \"b\"?)")),
        (
            "b.Statsu.Mode == 1",
            wrong("\"b.Statsu.Mode\": no message \"Statsu\" in the DBC files of bus b (did you mean \"Status\"?)"),
        ),
        ("b.Status.Mod == 1", wrong("\"b.Status.Mod\": Status has no signal \"Mod\" (did you mean \"Mode\"?)")),
        (
            "b.Command.Setpoint == 1",
            wrong("b.Command.Setpoint is sent by this controller; a condition looks at what is received"),
        ),
        ("b.Plain.X == 1", wrong("b.Plain.X is in the message itself: when it is not sent, nobody can tell")),
        (
            "b.Engine.Rpm > 500",
            wrong("\"b.Engine.Rpm\" may come from several J1939 source addresses; say which, like b.Engine@33.Rpm"),
        ),
        (
            "b.Engine@255.Rpm > 500",
            wrong("\"b.Engine@255.Rpm\": \"255\" is no source address; they go from 0 to 253, in decimal"),
        ),
        (
            "b.Status@3.Mode == 1",
            wrong("\"b.Status@3.Mode\": only received J1939 messages have a source address behind @"),
        ),
        ("b.Status.Mode == On", wrong("b.Status.Mode: write 'On' in single quotes")),
        ("b.Status.Mode == Om", wrong("b.Status.Mode: \"Om\" is neither a number nor a word in single quotes")),
        ("b.Status.Mode == nan", wrong("b.Status.Mode: \"nan\" is neither a number nor a word in single quotes")),
        ("b.Status.Mode == 'On", wrong("b.Status.Mode: the quote before On is not closed")),
        (
            "b.Status.Mode == 'Om'",
            wrong("b.Status.Mode has no value 'Om' (did you mean \"On\"?); it has: Off, On, Twice, Twice, SNA"),
        ),
        ("b.Status.Mode == 'Twice'", wrong("b.Status.Mode: 'Twice' stands for several values; write the number")),
        (
            "b.Status.Mode == 'SNA'",
            wrong("b.Status.Mode: 'SNA' says that there is no value, and only good values are compared"),
        ),
        (
            "b.Status.Trim == 'Far'",
            wrong("b.Status.Trim: 'Far' is outside the signal's range, and only good values are compared"),
        ),
        (
            "b.Status.Speed == 'Far'",
            wrong("b.Status.Speed has no value table in the DBC file; write the number instead of 'Far'"),
        ),
        ("b.Status.Mode > 'Off'", wrong("b.Status.Mode: a word of the value table compares only with == and !=")),
        ("b.Status.Mode == 16", wrong("b.Status.Mode is never 16")),
        ("b.Status.Mode == 1.2", wrong("b.Status.Mode is never 1.2; the nearest value is 1")),
        ("b.Status.Speed == 5000.1", wrong("b.Status.Speed is never 5000.1")),
        ("b.Status.Speed > 5000", wrong("b.Status.Speed is never > 5000")),
        ("b.Status.Speed >= 0", wrong("b.Status.Speed is always >= 0")),
        ("b.Status.Trim < -100", wrong("b.Status.Trim is never < -100")),
    ] {
        let more = format!("message.Plain = {{ timeout_ms = 50, expected_when = [\"{condition}\"] }}");
        let found = match load_with("", &more) {
            Ok(loaded) => {
                let [condition] = &reception(&loaded, "Plain").expected_when[..] else { panic!("{condition}") };
                Ok((condition.comparison, condition.value, condition.source_address))
            }
            Err(mistakes) => {
                let [mistake] = &mistakes[..] else { panic!("{condition}: {mistakes:#?}") };
                assert_eq!((mistake.line, mistake.column > 40), (7, true), "{condition}");
                Err(mistake.message.clone())
            }
        };
        assert_eq!(found, want, "{condition}");
    }
}

#[test]
fn mistakes_about_receiving() {
    for (more, want) in [
        ("message.Status = { shortest_interval_ms = 0 }", "shortest_interval_ms goes from 0.001 to 60000 (a minute)"),
        (
            "message.Status = { shortest_interval_ms = \"1\" }",
            "shortest_interval_ms takes a number of milliseconds, like 5 or 0.5",
        ),
        ("message.Pages = { branch_timeout_ms = -1 }", "branch_timeout_ms goes from 0 to 86400000 (a day)"),
        ("message.Status = { branch_timeout_ms = 7 }", "branch_timeout_ms does nothing: Status is not multiplexed"),
        (
            "message.Plain = { expected_when = 'b.Status.Mode == 1' }",
            "expected_when does nothing: Plain has no deadline; add timeout_ms",
        ),
        (
            "message.Plain = { expected_when = 1 }",
            "expected_when takes a condition in quotes, like \"line.PowerStatus.DrivePower == 1\", or a list of conditions that must all hold",
        ),
    ] {
        let found = load_with("", more).map(|loaded| loaded.diagnostics).unwrap_or_else(|mistakes| mistakes);
        let found: Vec<&str> = found.iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(found, [want], "{more}");
    }
}

#[test]
fn conditions_and_deadlines_are_in_the_hash() {
    let texts = [
        "",
        "message.Plain = { timeout_ms = 50 }",
        "message.Plain = { timeout_ms = 50, shortest_interval_ms = 1 }",
        "message.Plain = { timeout_ms = 50, expected_when = 'b.Status.Mode == 1' }",
        "message.Plain = { timeout_ms = 50, expected_when = 'b.Status.Mode == 2' }",
        "message.Plain = { timeout_ms = 50, expected_when = 'b.Status.Mode != 2' }",
        "message.Plain = { timeout_ms = 50, expected_when = 'b.Status.Trim != 2' }",
        "message.Pages = { branch_timeout_ms = 50 }",
    ];
    let hashes: std::collections::BTreeSet<[u8; 32]> =
        texts.iter().map(|more| load_with("", more).unwrap_or_else(|m| panic!("{m:#?}")).plan.hash).collect();
    assert_eq!(hashes.len(), texts.len());
}
