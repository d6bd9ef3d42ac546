//! A change of plans while the machine runs: what goes on, what enters at its fallback values, what ends.

use std::process::Command;

use canvoy::command::Change;
use canvoy::control::Event;
use canvoy::plan::{Alarm, Succession, Timed};
use canvoy::store::layout::{BusState, BusWord, Latch, MessageWord};

use crate::bench::{Bench, MS, RELOADING, plan};

/// Every script of the machine side again, with a reload of the same plan before events and commands: nobody may notice.
#[test]
fn all_that_holds_without_a_reload_holds_with_one_between_the_events() {
    if std::env::var_os(RELOADING).is_some() {
        return;
    }
    let tests = Command::new(std::env::current_exe().unwrap())
        .args(["control", "--test-threads", "2"])
        .env(RELOADING, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success(), "{text}\n{}", String::from_utf8_lossy(&tests.stderr));
    assert!(text.contains("test control_links::"), "{text}");
}

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
 SG_ Ready : 16|1@1+ (1,0) [0|1] "" Us
BO_ 300 Command: 4 Us
 SG_ Setpoint : 0|16@1- (0.5,0) [-3000|3000] "rpm" Drive
 SG_ Enable : 16|1@1+ (1,0) [0|1] "" Drive
BO_ 301 Event: 1 Us
 SG_ Code : 0|8@1+ (1,0) [0|0] "" Drive
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "GenMsgSendType" ENUM "Cyclic","OnWrite","NoMsgSendType";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "GenMsgSendType" "Cyclic";
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 300 20;
BA_ "GenMsgSendType" BO_ 301 1;
"#;

/// What comes before everything else by its name, so that every index moves.
const FIRST: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 100 Aaa: 2 Drive
 SG_ A : 0|8@1+ (1,0) [0|0] "" Us
 SG_ B : 8|8@1+ (1,0) [0|0] "" Us
BO_ 101 Aab: 1 Us
 SG_ C : 0|8@1+ (1,0) [0|0] "" Drive
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 101 10;
"#;

/// Bus b with the message DBC; `before`: sections of buses before it; `lines`: more of bus b, `extra` behind it.
fn toml(dbc: &str, transmit: &str, lines: &str, extra: &str) -> String {
    let command = if transmit.contains("Command") { "\"Command.*\"," } else { "" };
    format!(
        r#"
[bus.b]
interface = "can0"
dbc = [{dbc}]
node = "Us"
transmit = [{transmit}]
writable = [{command} "Event.Code"]
forcible = "all"
{lines}
{extra}
"#
    )
}

const FILES: &[(&str, &str)] = &[("x.dbc", DBC), ("first.dbc", FIRST)];
const BOTH: &str = r#""Command", "Event""#;

fn small(lines: &str) -> String {
    toml(r#""x.dbc""#, BOTH, lines, "")
}

/// Another bus in front, other messages in front, one of them ours.
fn large(lines: &str) -> String {
    larger(r#""Aab", "Command", "Event""#, lines)
}

fn larger(transmit: &str, lines: &str) -> String {
    let more = "[bus.a]\ninterface = \"can1\"\ndbc = [\"first.dbc\"]\nnode = \"Us\"\ntransmit = \"all\"\n";
    toml(r#""x.dbc", "first.dbc""#, transmit, lines, more)
}

#[test]
fn what_goes_on_does_so_under_other_indices() {
    let mut bench = Bench::new(&small(""), FILES);
    bench.play(
        "0 clear
         10 rx b 100#9001010000000000
         45 write b.Command.Setpoint 50
         45 force b.Status.Speed 7 100
         65 clear",
    );
    let before = bench.message_word("b.Command", MessageWord::Latched);
    assert_eq!((bench.tag("b.Command.Setpoint"), before), (0, 0));
    // half-way between two cycles, nothing is sent
    assert_eq!(bench.reload(plan(&larger(BOTH, ""), FILES)), Vec::<String>::new());
    assert_ne!(bench.tag("b.Command.Setpoint"), 0);
    bench.play(
        "65 is b.Command.Setpoint 50 good
         65 is b.Status.Speed 7 forced
         65 is b.Status.Ready 1 good
         80 tx b 12C#64000000
         100 tx b 12C#64000000
         101 release b.Status.Speed
         101 is b.Status.Speed 200 good
         250 is b.Status.Speed 200 good
         261 is b.Status.Speed 200 late
         261 on late b.Status",
    );
    // and back, with what is late
    bench.play("261 clear");
    bench.reload(plan(&small(""), FILES));
    bench.play(
        "265 is b.Status.Speed 200 late
         265 on late b.Status
         266 rx b 100#9001010000000000
         266 is b.Status.Speed 200 good
         266 off late b.Status",
    );
    assert_eq!(bench.message_word("b.Status", MessageWord::Late), 1);
}

#[test]
fn a_new_message_of_ours_listens_says_its_fallback_and_arms_as_the_plan_does() {
    for (arm, armed) in [("at-start", true), ("by-hand", false)] {
        let machine = format!("[machine]\narm = \"{arm}\"");
        let toml = |base: String| format!("{base}{machine}\n");
        let mut bench = Bench::new(&toml(small("listen_ms = 30")), FILES);
        bench.pass(40);
        if !armed {
            bench.command(Change::Arm).unwrap();
        }
        bench.play("50 clear");
        let lines = "listen_ms = 30\nmessage.Aab = { fallback = { C = 9 } }";
        bench.reload(plan(&toml(large(lines)), FILES));
        assert_eq!(bench.message_word("b.Aab", MessageWord::Latched), Latch::Reload as u64);
        bench.check("b.Aab.C", "9 not_sent");
        // nobody has used its identifier so far
        let sent = bench.pass(29);
        assert!(sent.iter().all(|(_, frame)| frame.starts_with("b 12C")), "{sent:?}");
        // then it says its fallback value for as long, or until armed by hand
        let values = |sent: Vec<(u64, String)>| -> Vec<String> {
            sent.iter().filter_map(|(_, frame)| Some(frame.strip_prefix("b 065#")?.to_owned())).collect()
        };
        assert_eq!(values(bench.pass(30)).join(" "), "09 09 09", "{arm}");
        assert_eq!(values(bench.pass(30)).join(" "), if armed { "00 00 00" } else { "09 09 09" }, "{arm}");
        if !armed {
            assert!(bench.alarm(Alarm::Fallback(bench.message("b.Aab"))));
            bench.step(Event::Bus { bus: bench.bus("a"), state: BusState::Active });
            bench.pass(240);
            bench.command(Change::Arm).unwrap();
        }
        bench.check("b.Aab.C", "0 good");
        assert!(!bench.alarm(Alarm::Fallback(bench.message("b.Aab"))));
    }
}

#[test]
fn a_foreign_sender_that_is_heard_while_listening_keeps_a_new_message_silent() {
    let mut bench = Bench::new(&small("listen_ms = 30"), FILES);
    bench.pass(50);
    bench.reload(plan(&large("listen_ms = 30"), FILES));
    bench.play("60 rx b 065#01");
    let sent = bench.pass(100);
    assert!(sent.iter().all(|(_, frame)| frame.starts_with("b 12C")), "{sent:?}");
    assert!(bench.alarm(Alarm::ForeignSender(bench.message("b.Aab"))));
}

/// What a change of the configuration does to a message of ours that the plant has written: the frames of the change, and
/// what is sent from then on.
#[test]
fn a_changed_message_says_its_fallback_and_an_unchanged_one_its_value() {
    let check = |change: &str, at_once: &[&str], then: &str| {
        let old = "message.Command = { fallback = { Setpoint = 1 } }\nmessage.Event = { fallback = { Code = 3 } }";
        let head = "[machine]\narm = \"at-start\"\n";
        let mut bench = Bench::new(&format!("{}{head}", small(old)), FILES);
        bench.play(
            "5 write b.Command.Setpoint 50
             5 write b.Event.Code 8
             45 clear",
        );
        let new = change.lines().next().unwrap_or_default();
        let rest = change.lines().skip(1).collect::<Vec<_>>().join("\n");
        let toml = match new {
            "" => format!("{}{head}", small(&rest)),
            transmit => format!("{}{head}", toml(r#""x.dbc""#, transmit, &rest, "")),
        };
        assert_eq!(bench.reload(plan(&toml, FILES)), at_once, "{change}");
        let sent: Vec<String> = bench.pass(15).into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(sent.join(" "), then, "{change}");
    };
    let same = "message.Command = { fallback = { Setpoint = 1 } }\nmessage.Event = { fallback = { Code = 3 } }";
    check(&format!("\n{same}"), &[], "b 12C#64000000");
    // a deadline of another message, more rights, a budget: nothing that is sent
    check(&format!("\n{same}\nmessage.Status = {{ timeout_ms = 300 }}"), &[], "b 12C#64000000");
    // another cycle: its last frame is the fallback, it enters with it, and arms itself after a cycle as at the start
    let cycle = same.replace("Command = { ", "Command = { cycle_ms = 10, ");
    check(&format!("\n{cycle}"), &["b 12C#02000000"], "b 12C#02000000 b 12C#00000000");
    // gone
    check(&format!("\"Event\"\n{}", same.lines().nth(1).unwrap()), &["b 12C#02000000"], "");
    // a message without a cycle
    let event = same.replace("Code = 3", "Code = 4");
    check(&format!("\n{event}"), &["b 12D#03", "b 12D#04"], "b 12D#00 b 12C#64000000");
}

#[test]
fn forces_end_where_the_new_plan_does_not_allow_them() {
    let mut bench = Bench::new(&small(""), FILES);
    bench.play(
        "10 rx b 100#9001010000000000
         15 force b.Status.Speed 7 100
         16 force b.Command.Setpoint 9 100
         45 clear",
    );
    let mut other = plan(&large(""), FILES);
    other.tags.iter_mut().for_each(|tag| tag.forcible = false);
    let succession = Succession::new(&bench.plan, &other);
    assert!(succession.forcible_after.iter().all(Option::is_none));
    bench.reload_as_written(other);
    bench.play(
        "50 is b.Status.Speed 200 good
         50 is b.Command.Setpoint 0 good
         50 off forced",
    );
}

#[test]
fn deadlines_follow_the_new_plan() {
    let mut bench = Bench::new(&small(""), FILES);
    bench.play("10 rx b 100#9001010000000000\n 270 is b.Status.Speed 200 late");
    // none any more
    bench.reload(plan(&large("message.Status = { timeout_ms = 0 }"), FILES));
    bench.play("271 is b.Status.Speed 200 good\n 271 off late b.Status");
    // one again: a whole time from now on
    bench.reload(plan(&small("message.Status = { timeout_ms = 50 }"), FILES));
    bench.play("320 is b.Status.Speed 200 good\n 322 is b.Status.Speed 200 late\n 322 on late b.Status");
    // shorter, longer: counted from the last frame
    bench.play("330 rx b 100#9001010000000000");
    bench.reload(plan(&small("message.Status = { timeout_ms = 80 }"), FILES));
    bench.play("409 is b.Status.Speed 200 good\n 411 is b.Status.Speed 200 late");
}

#[test]
fn a_plan_waits_for_its_condition() {
    let mut bench = Bench::new(&format!("{}[machine]\nreload_when = \"b.Status.Speed == 0\"\n", small("")), FILES);
    let may = |bench: &Bench| bench.control.may_be_replaced(&bench.store);
    assert!(!may(&bench), "not known");
    bench.receive("b 100#9001010000000000");
    assert!(!may(&bench), "turning");
    bench.receive("b 100#0000010000000000");
    assert!(may(&bench));
    bench.pass(500);
    assert!(!may(&bench), "late");
}

/// A reload is no way around a latch: a message that is changed while it is latched waits for whoever arms, and one that somebody
/// else sends stays silent.
#[test]
fn a_changed_message_keeps_what_latched_it() {
    let head = "[machine]\narm = \"at-start\"\n";
    let old = "message.Command = { fallback = { Setpoint = 1 } }";
    // another cycle; the same identifier under another name of a signal
    let renamed = DBC.replace("SG_ Enable", "SG_ Enabled");
    for (new, dbc) in [(old.replace("{ fallback", "{ cycle_ms = 10, fallback"), DBC), (old.to_owned(), &renamed)] {
        let files = [("x.dbc", dbc)];
        let new = plan(&format!("{}{head}", small(&new)), &files);
        let mut bench = Bench::new(&format!("{}{head}", small(old)), FILES);
        bench.play("45 rx b 12C#00000000\n 50 clear");
        assert!(bench.alarm(Alarm::ForeignSender(bench.message("b.Command"))));
        assert_eq!(bench.reload(new.clone()), Vec::<String>::new(), "it says nothing, not even its fallback");
        assert_eq!(bench.pass(500), [], "and does not begin to");
        assert!(bench.alarm(Alarm::ForeignSender(bench.message("b.Command"))));
        assert!(bench.message_word("b.Command", MessageWord::Latched) & Latch::Foreign as u64 != 0);
        // whoever arms ends it
        bench.command(Change::Arm).unwrap();
        assert!(!bench.alarm(Alarm::ForeignSender(bench.message("b.Command"))));
        assert_eq!(bench.message_word("b.Command", MessageWord::Latched), 0);

        let mut bench = Bench::new(&format!("{}{head}", small(old)), FILES);
        let bus = bench.bus("b");
        bench.play("45 clear");
        bench.step(Event::Bus { bus, state: BusState::BusOff });
        bench.step(Event::Bus { bus, state: BusState::Active });
        bench.pass(2000);
        assert!(bench.message_word("b.Command", MessageWord::Latched) & Latch::BusOff as u64 != 0);
        bench.reload(new);
        let sent = bench.pass(500);
        assert!(sent.iter().all(|(_, frame)| frame == "b 12C#02000000"), "{sent:?}");
        assert!(bench.message_word("b.Command", MessageWord::Latched) & Latch::BusOff as u64 != 0);
        assert!(bench.alarm(Alarm::Fallback(bench.message("b.Command"))));
    }
}

/// The time in which a new message says its fallback values begins when it can be heard.
#[test]
fn a_new_message_does_not_arm_while_its_bus_is_not_there() {
    let head = "[machine]\narm = \"at-start\"\n";
    let lines = "listen_ms = 30\nmessage.Aab = { fallback = { C = 9 } }";
    for away in [BusState::BusOff, BusState::Down] {
        let mut bench = Bench::new(&format!("{}{head}", small("listen_ms = 30")), FILES);
        bench.play("50 clear");
        let bus = bench.bus("b");
        bench.step(Event::Bus { bus, state: away });
        bench.reload(plan(&format!("{}{head}", large(lines)), FILES));
        bench.pass(1000);
        assert_ne!(bench.message_word("b.Aab", MessageWord::Latched), 0, "{away:?}");
        assert!(bench.write(&[("b.Command.Setpoint", canvoy::command::Value::Engineering(1.0))]).is_err());
        let bus = bench.bus("b");
        bench.step(Event::Bus { bus, state: BusState::Active });
        let values: Vec<String> = bench
            .pass(5000)
            .into_iter()
            .filter_map(|(_, frame)| Some(frame.strip_prefix("b 065#")?.to_owned()))
            .collect();
        assert!(values.len() > 3 && values[..3].iter().all(|value| value == "09"), "{away:?} {values:?}");
    }
}

#[test]
fn what_is_expected_always_again_is_late_again() {
    let always = larger(BOTH, "message.Status = { timeout_ms = 50 }");
    let sometimes = "message.Status = { timeout_ms = 50, expected_when = \"b.Aaa.A == 1\" }";
    let mut bench = Bench::new(&larger(BOTH, sometimes), FILES);
    bench.play("5 rx b 064#0000\n 10 rx b 100#9001000000000000\n 100 off late b.Status\n 100 is b.Status.Speed 200 not_expected");
    bench.reload(plan(&always, FILES));
    bench.play(
        "120 off late b.Status
         151 on late b.Status
         151 is b.Status.Speed 200 late
         160 rx b 100#9001000000000000
         160 off late b.Status
         211 on late b.Status",
    );
}

/// It was known by its cycle and nobody waited for the first frame; from now on somebody does.
#[test]
fn what_never_came_is_late_once_it_is_configured_to_come() {
    let mut bench = Bench::new(&small(""), FILES);
    bench.play("400 off late b.Status");
    bench.reload(plan(&small("message.Status = { timeout_ms = 50 }"), FILES));
    bench.play(
        "449 off late b.Status
         451 on late b.Status
         451 is b.Status.Speed - never_received
         460 rx b 100#9001010000000000
         460 off late b.Status",
    );
    // once more the same: it does not begin anew
    bench.reload(plan(&large("message.Status = { timeout_ms = 50 }"), FILES));
    bench.play("509 off late b.Status\n 511 on late b.Status");
}

/// The kernel takes nothing at the moment of the change: the last frame of a message waits and leaves, with its fallback values.
#[test]
fn the_last_frame_of_a_message_waits_for_a_full_bus() {
    let old = "message.Command = { fallback = { Setpoint = 1 } }";
    let head = "[machine]\narm = \"at-start\"\n";
    let gone = format!("{}{head}", toml(r#""x.dbc", "first.dbc""#, "\"Event\"", "", ""));
    let mut bench = Bench::new(&format!("{}{head}", small(old)), FILES);
    bench.play("5 write b.Command.Setpoint 50\n 45 clear");
    bench.room[0] = Some(0);
    assert_eq!(bench.reload(plan(&gone, FILES)), Vec::<String>::new());
    // and over another change
    assert_eq!(
        bench.reload(plan(&gone.replace("[machine]", "[machine]\nreload_trial_s = 9"), FILES)),
        Vec::<String>::new()
    );
    bench.room[0] = None;
    let sent: Vec<String> = bench.pass(100).into_iter().map(|(_, frame)| frame).collect();
    assert_eq!(sent.join(" "), "b 12C#02000000");
    assert_eq!(bench.bus_word("b", BusWord::TransmitWithdrawn), 0);
    // one that must not be sent any more is not
    let mut bench = Bench::new(&format!("{}{head}", small(old)), FILES);
    bench.room[0] = Some(0);
    bench.play("45 rx b 12C#00000000");
    bench.reload(plan(&gone, FILES));
    bench.room[0] = None;
    assert_eq!(bench.pass(100), []);
}

#[test]
fn the_alarm_about_an_overrun_goes_on_to_say_what_was_late() {
    let about = |bench: &Bench| bench.reader.alarm(bench.plan.alarm(Alarm::Overrun).unwrap()).detail;
    let cycle = |bench: &Bench| bench.plan.contract(Timed::Cycle(bench.message("b.Command"))).map(|at| at as u64);
    let mut bench = Bench::new(&small(""), FILES);
    bench.call = 100 * MS;
    bench.pass(20);
    bench.call = 0;
    assert!(bench.alarm(Alarm::Overrun));
    let before = about(&bench);
    assert_eq!(Some(before), cycle(&bench));
    bench.reload(plan(&large(""), FILES));
    assert_eq!((Some(about(&bench)), about(&bench) != before), (cycle(&bench), true));
    // nothing that the plan has
    bench.reload(plan(&larger("\"Event\"", ""), FILES));
    assert_eq!((bench.alarm(Alarm::Overrun), about(&bench)), (true, u64::MAX));
}
