//! What an output says and who may say it: owners, forces, interlocks, fallback; latches and what arms again.

use canvoy::cli::check;
use canvoy::command::{self, Change, Place, Value};
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::control::Event;
use canvoy::plan::Alarm;
use canvoy::store::layout::{BusState, BusWord, Latch, MessageWord, Word};

use crate::bench::Bench;

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
 SG_ Ready : 16|1@1+ (1,0) [0|1] "" Us
BO_ 257 Guard: 1 Drive
 SG_ Open : 0|1@1+ (1,0) [0|1] "" Us
 SG_ Local : 1|1@1+ (1,0) [0|1] "" Us
 SG_ Slow : 2|1@1+ (1,0) [0|1] "" Us
BO_ 300 Command: 4 Us
 SG_ Setpoint : 0|16@1- (0.5,0) [-3000|3000] "rpm" Drive
 SG_ Enable : 16|1@1+ (1,0) [0|1] "" Drive
 SG_ Mode : 24|8@1+ (1,0) [0|3] "" Drive
BO_ 301 Event: 1 Us
 SG_ Code : 0|8@1+ (1,0) [0|0] "" Drive
BO_ 302 Pages: 2 Us
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Drive
 SG_ A m0 : 8|8@1+ (1,0) [0|0] "" Drive
 SG_ B m1 : 8|8@1+ (1,0) [0|0] "" Drive
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "GenMsgSendType" ENUM "Cyclic","OnWrite","NoMsgSendType";
BA_DEF_ SG_ "GenSigStartValue" FLOAT 0 1000000;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "GenMsgSendType" "Cyclic";
BA_DEF_DEF_ "GenSigStartValue" 0;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 300 20;
BA_ "GenMsgCycleTime" BO_ 302 50;
BA_ "GenMsgSendType" BO_ 301 1;
BA_ "GenSigStartValue" SG_ 300 Setpoint 100;
BA_ "GenSigStartValue" SG_ 300 Mode 2;
VAL_ 300 Mode 0 "Off" 1 "Jog" 2 "Auto" ;
"#;

/// Two buses of the same kind.
fn toml(lines: &str, extra: &str) -> String {
    format!(
        r#"
[bus.a]
interface = "can0"
dbc = ["x.dbc"]
node = "Us"
transmit = "all"
writable = ["Command.Setpoint", "Command.Enable", "Event.Code", "Pages.A", "Pages.B"]
forcible = "all"
{lines}
[bus.c]
interface = "can1"
dbc = ["x.dbc"]
node = "Us"
transmit = ["Command"]
writable = "all"
{extra}
"#
    )
}

fn bench(lines: &str, extra: &str) -> Bench {
    Bench::new(&toml(lines, extra), &[("x.dbc", DBC)])
}

/// The answer to a command or write, `ok` or the refusal.
fn answer(result: Result<Vec<String>, String>) -> String {
    result.err().unwrap_or_else(|| "ok".into())
}

/// Plays lines of a [`Bench::play`] script and these, each with the answer that is wanted behind `=>` (`ok` where there is
/// none): `arm`, `disarm`, `fallback`, `fallback MESSAGE`, `reset`, `reset MESSAGE`, `remote`, `local`, `put TAG VALUE`, `hold TAG VALUE SECONDS`, `let TAG`, `let`, `renew MESSAGE`; `from plant`, `from
/// machine`: where the next ones come from;
/// `says MESSAGE HEX CAUSE`: the payload in the store, and the cause (`good`); `armed N`, `is-remote N`, `forces N`;
/// `latched MESSAGE Start Lease`: exactly these. The time `.` is now.
fn play(b: &mut Bench, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = &line.strip_prefix(". ").map_or(line.into(), |rest| format!("{} {rest}", b.ms()));
        let (what, want) = line.split_once(" => ").unwrap_or((line, "ok"));
        let words: Vec<&str> = what.split_whitespace().collect();
        let [ms, verb, arguments @ ..] = &words[..] else { panic!("{line}") };
        let found = match (*verb, arguments) {
            ("arm", []) => Some(Change::Arm),
            ("disarm", []) => Some(Change::Disarm),
            ("fallback", []) => Some(Change::Fallback(None)),
            ("fallback", [message]) => Some(Change::Fallback(Some(b.message(message)))),
            ("reset", []) => Some(Change::ResetFallback(None)),
            ("reset", [message]) => Some(Change::ResetFallback(Some(b.message(message)))),
            ("remote", []) => Some(Change::Remote(true)),
            ("local", []) => Some(Change::Remote(false)),
            ("renew", [message]) => Some(Change::Renew(b.message(message))),
            ("let", []) => Some(Change::Release(None)),
            ("let", [tag]) => Some(Change::Release(Some(b.tag(tag)))),
            _ => None,
        };
        let at = |b: &mut Bench| {
            let ms: u64 = ms.parse().unwrap_or_else(|_| panic!("{line}"));
            b.pass(ms - b.ms());
        };
        if let Some(change) = found {
            at(b);
            assert_eq!(answer(b.command(change)), want, "{line}");
            continue;
        }
        match (*verb, arguments) {
            ("from", [place]) => b.place = if *place == "plant" { Place::Plant } else { Place::Machine },
            ("put", [tag, value]) => {
                at(b);
                assert_eq!(answer(b.write(&[(tag, Value::Engineering(value.parse().unwrap()))])), want, "{line}");
            }
            ("hold", [tag, value, seconds]) => {
                at(b);
                let (value, seconds) = (Value::Engineering(value.parse().unwrap()), seconds.parse().unwrap());
                let force = command::compile_force(&b.plan, b.tag(tag), value, seconds, b.now);
                let result = force.map_err(|refusal| refusal.to_string()).and_then(|force| b.command(force));
                assert_eq!(answer(result), want, "{line}");
            }
            ("says", [message, hex, cause]) => {
                at(b);
                let message = &b.plan.messages[b.message(message)];
                let record = b.reader.record(message.first_record).unwrap();
                let payload: String = record.bytes().iter().map(|byte| format!("{byte:02X}")).collect();
                assert_eq!((&payload[..], record.causes.meaning().label), (*hex, *cause), "{line}");
            }
            ("armed", [n]) => check_word(b, at, Word::Armed, n, line),
            ("is-remote", [n]) => check_word(b, at, Word::Remote, n, line),
            ("forces", [n]) => check_word(b, at, Word::Forces, n, line),
            ("latched", [message, latches @ ..]) => {
                at(b);
                let bits = b.message_word(message, MessageWord::Latched);
                let found = Latch::ALL.into_iter().filter(|latch| bits & *latch as u64 != 0);
                let found: Vec<String> = found.map(|latch| format!("{latch:?}")).collect();
                assert_eq!(found, *latches, "{line}");
            }
            _ => b.play(what),
        }
    }
}

fn check_word(b: &mut Bench, at: impl Fn(&mut Bench), word: Word, want: &str, line: &str) {
    at(b);
    assert_eq!(b.reader.get(word).to_string(), want, "{line}");
}

fn run(lines: &str, extra: &str, script: &str) {
    play(&mut bench(lines, extra), script);
}

const FALLBACK: &str = "message.Command = { fallback = { Setpoint = -5, Mode = \"Off\" } }";
const BY_HAND: &str = "[machine]\narm = \"by-hand\"";
const AT_START: &str = "[machine]\narm = \"at-start\"";

#[test]
fn who_names_fallback_values_starts_disarmed() {
    let by_hand = "0 armed 0\n0 on not-armed\n0 latched a.Command Start\n0 off fallback a.Command";
    let at_start = "0 armed 1\n0 off not-armed\n0 latched a.Command\n0 says a.Command 64000002 good";
    run("", "", at_start);
    run("", AT_START, at_start);
    run("", BY_HAND, by_hand);
    run(FALLBACK, "", by_hand);
    run(FALLBACK, AT_START, at_start);
    let interlock = "[interlock.x]\nwhen = \"a.Guard.Open == 1\"\nset = { \"a.Command.Enable\" = 0 }";
    run("", interlock, by_hand);
    run("", &format!("{AT_START}\n{interlock}"), "0 armed 1");
}

#[test]
fn until_armed_the_fallback_is_sent_and_writes_are_refused() {
    let script = "
        0 says a.Command F6FF0000 fallback
        0 says c.Command 64000002 fallback
        0 put a.Command.Enable 1 => the outputs are not armed; arm first
        0 renew a.Command => the outputs are not armed; arm first
        61 arm
        61 armed 1
        61 off not-armed
        61 latched a.Command
        61 says a.Command F6FF0002 good
        70 put a.Command.Enable 1
        70 put a.Command.Setpoint 1
        80 says a.Command 02000102 good
        90 disarm
        90 armed 0
        90 on not-armed
        90 latched a.Command Command
        90 latched c.Command Command
        90 says a.Command F6FF0000 fallback
        95 put a.Command.Enable 1 => the outputs are not armed; arm first
        96 arm
        96 says a.Command F6FF0002 good
    ";
    run(FALLBACK, "", script);
    // Mode is nobody's: its start value comes back with arming; what the plant may write stays until it writes
}

#[test]
fn a_start_in_order_takes_the_start_values_and_one_by_hand_what_is_sent_already() {
    run(FALLBACK, AT_START, "0 says a.Command 64000002 good");
    run(FALLBACK, BY_HAND, "0 says a.Command F6FF0000 fallback\n5 arm\n5 says a.Command F6FF0002 good");
}

#[test]
fn silent_until_armed() {
    let lines = "message.Command = { when_disarmed = \"silent\" }";
    let script = "
        0 says a.Command 64000002 not_sent
        25 clear
        50 arm
        50 says a.Command 64000002 good
        60 disarm
        60 says a.Command 64000002 not_sent
    ";
    run(lines, BY_HAND, script);
    let mut b = bench(lines, BY_HAND);
    assert!(b.pass(100).iter().all(|(_, frame)| !frame.starts_with("a 12C")), "sent before it was armed");
    play(&mut b, "100 arm");
    assert!(b.pass(20).iter().any(|(_, frame)| frame == "a 12C#64000002"));
}

#[test]
fn a_message_without_a_cycle_tells_its_fallback_once() {
    let lines = "message.Event = { fallback = { Code = 9 } }";
    let mut b = bench(lines, AT_START);
    b.pass(5);
    assert_eq!(b.write(&[("a.Event.Code", Value::Engineering(7.0))]), Ok(vec!["a 12D#07".into()]));
    assert_eq!(b.command(Change::Disarm), Ok(vec!["a 12D#09".into()]));
    assert_eq!(b.command(Change::Disarm), Ok(vec![]));
    assert_eq!(b.command(Change::Arm), Ok(vec![]));
    assert_eq!(b.write(&[("a.Event.Code", Value::Engineering(7.0))]), Ok(vec!["a 12D#07".into()]));
}

/// A cause of fallback: what the configuration says for it, what brings it about, what it latches, what arming says while
/// it lasts, and what ends it.
struct Cause {
    name: &'static str,
    latch: &'static str,
    lines: &'static str,
    extra: &'static str,
    /// Until 100 ms.
    before: &'static str,
    /// At 100 ms, or a little later.
    begin: &'static str,
    /// What is latched by it besides a.Command.
    others: &'static [&'static str],
    /// Empty: it does not last.
    refusal: &'static str,
    /// At 1000 ms or a little later.
    end: &'static str,
    sent: bool,
}

const CAUSES: &[Cause] = &[
    Cause {
        name: "bus off",
        latch: "BusOff",
        lines: FALLBACK,
        extra: "",
        before: "",
        begin: "100 state a bus_off",
        others: &["a.Event", "a.Pages"],
        refusal: "can't be armed yet: bus a is down, off or in quarantine",
        // the quarantine is over too
        end: "1000 state a active\n1300 quiet-not",
        sent: true,
    },
    Cause {
        name: "interface down",
        latch: "BusOff",
        lines: FALLBACK,
        extra: "",
        before: "",
        begin: "100 state a down",
        others: &["a.Event", "a.Pages"],
        refusal: "can't be armed yet: bus a is down, off or in quarantine",
        end: "1000 state a active",
        sent: true,
    },
    Cause {
        name: "interface gone",
        latch: "BusOff",
        lines: FALLBACK,
        extra: "",
        before: "",
        begin: "100 state a gone",
        others: &["a.Event", "a.Pages"],
        refusal: "can't be armed yet: bus a is down, off or in quarantine",
        end: "1000 state a active",
        sent: true,
    },
    Cause {
        name: "vital message late",
        latch: "Vital",
        lines: "message.Command = { fallback = { Setpoint = -5, Mode = \"Off\" }, vital = \"a.Status\" }",
        extra: "",
        before: "0 rx a 100#0000000000000000",
        begin: "251 on late a.Status",
        others: &[],
        refusal: "can't be armed yet: a.Status.Speed is needed and is not good",
        end: "1000 rx a 100#0000000000000000",
        sent: true,
    },
    Cause {
        name: "vital tag out of its range",
        latch: "Vital",
        lines: "message.Command = { fallback = { Setpoint = -5, Mode = \"Off\" }, vital = [\"a.Status.Speed\"] }",
        extra: "",
        before: "0 rx a 100#0000000000000000",
        begin: "100 rx a 100#E12E000000000000",
        others: &[],
        refusal: "can't be armed yet: a.Status.Speed is needed and is not good",
        end: "1000 rx a 100#0000000000000000",
        sent: true,
    },
    Cause {
        name: "vital tag on a bus that is down",
        latch: "Vital",
        lines: "message.Command = { fallback = { Setpoint = -5, Mode = \"Off\" }, vital = \"c.Guard.Open\" }",
        extra: "",
        before: "0 rx c 101#00",
        begin: "100 state c down",
        others: &[],
        refusal: "can't be armed yet: bus c is down, off or in quarantine",
        end: "1000 state c active\n1001 rx c 101#00",
        sent: true,
    },
    Cause {
        name: "lost lease",
        latch: "Lease",
        lines: "message.Command = { fallback = { Setpoint = -5, Mode = \"Off\" }, lease_ms = 40 }",
        extra: "",
        before: "10 arm\n60 put a.Command.Enable 1",
        begin: "101 armed 1",
        others: &[],
        refusal: "",
        end: "1000 armed 1",
        sent: true,
    },
    Cause {
        name: "foreign sender",
        latch: "Foreign",
        lines: FALLBACK,
        extra: "",
        before: "",
        begin: "100 rx a 12C#00",
        others: &[],
        refusal: "can't be armed yet: another node sends a.Command",
        end: "1000 armed 1",
        sent: false,
    },
];

#[test]
fn every_cause_latches_until_armed_and_arming_waits_for_its_end() {
    for cause in CAUSES {
        let mut b = bench(cause.lines, cause.extra);
        let context = cause.name;
        println!("{context}");
        play(&mut b, cause.before);
        play(&mut b, ". arm");
        if cause.latch != "Lease" {
            play(&mut b, ". put a.Command.Enable 1");
        }
        play(&mut b, cause.begin);
        let now = b.ms();
        let (payload, shown) = ("F6FF0000", if cause.sent { "fallback" } else { "not_sent" });
        play(&mut b, &format!("{now} latched a.Command {}\n{now} says a.Command {payload} {shown}", cause.latch));
        play(&mut b, &format!("{now} on fallback a.Command\n{now} armed 1\n{now} off not-armed"));
        assert_eq!(b.alarm(Alarm::ForeignSender(b.message("a.Command"))), cause.latch == "Foreign", "{context}");
        for other in cause.others {
            play(&mut b, &format!("{now} latched {other} {}", cause.latch));
        }
        // the rest of the machine goes on
        if !cause.begin.contains(" c ") {
            play(&mut b, &format!("{now} latched c.Command\n{now} put c.Command.Enable 1"));
        }
        let latch = Latch::ALL.into_iter().find(|latch| format!("{latch:?}") == cause.latch).unwrap();
        let refused = format!("a.Command is in fallback ({}); arm again once that is over", latch.text());
        play(&mut b, &format!("{now} put a.Command.Enable 1 => {refused}\n{now} renew a.Command => {refused}"));
        if !cause.refusal.is_empty() {
            play(&mut b, &format!("{now} arm => {}\n{now} latched a.Command {}", cause.refusal, cause.latch));
        }
        // the cause ends by itself, the latch does not
        for line in cause.end.lines() {
            match line.split_once(" quiet-not") {
                Some((ms, _)) => drop(b.pass(ms.parse::<u64>().unwrap() - b.ms())),
                None => play(&mut b, line),
            }
        }
        let end = b.ms();
        play(&mut b, &format!("{end} latched a.Command {}\n{end} put a.Command.Enable 1 => {refused}", cause.latch));
        let sent = b.pass(40);
        assert_eq!(sent.iter().any(|(_, frame)| frame == "a 12C#F6FF0000"), cause.sent, "{context}: {sent:?}");
        // a lease that is kept in the way that the vital message is
        if cause.latch == "Vital" && cause.end.contains(" rx ") {
            play(&mut b, ". rx a 100#0000000000000000");
        }
        let armed = b.ms();
        play(&mut b, &format!("{armed} arm\n{armed} latched a.Command\n{armed} off fallback a.Command"));
        // the old write is forgotten
        play(&mut b, &format!("{armed} says a.Command F6FF0002 good\n{armed} put a.Command.Enable 1"));
        play(&mut b, &format!("{armed} says a.Command F6FF0102 good\n{armed} off foreign-sender a.Command"));
    }
}

#[test]
fn disarming_adds_to_every_latch_and_arming_ends_all_at_once() {
    for cause in CAUSES {
        let mut b = bench(cause.lines, cause.extra);
        play(&mut b, cause.before);
        play(&mut b, ". arm");
        if cause.latch == "Lease" {
            play(&mut b, ". put a.Command.Enable 1");
        }
        play(&mut b, cause.begin);
        let now = b.ms();
        play(
            &mut b,
            &format!("{now} disarm\n{now} latched a.Command {} Command\n{now} latched c.Command", cause.latch).replace(
                "latched c.Command",
                if cause.begin.contains(" c ") {
                    "latched c.Command BusOff Command"
                } else {
                    "latched c.Command Command"
                },
            ),
        );
        play(&mut b, &format!("{now} on fallback a.Command\n{now} on not-armed"));
    }
}

#[test]
fn one_output_is_taken_to_fallback_by_hand_and_let_go_again() {
    let by_hand = "a.Command is in fallback (taken to fallback by hand); arm again once that is over";
    let script = format!(
        "
        0 put a.Command.Enable 1
        0 put c.Command.Enable 1
        10 fallback a.Command
        10 latched a.Command Hand
        10 says a.Command F6FF0000 fallback
        10 on fallback a.Command
        10 latched c.Command
        10 armed 1
        20 put a.Command.Enable 1 => {by_hand}
        30 reset c.Command
        30 latched a.Command Hand
        40 reset a.Command
        40 latched a.Command
        40 says a.Command F6FF0002 good
        40 off fallback a.Command
        50 fallback
        50 latched a.Command Hand
        50 latched c.Command Hand
        60 reset
        60 latched a.Command
        60 latched c.Command
        70 fallback a.Command
        70 arm
        70 latched a.Command
        80 fallback a.Command
        90 disarm
        90 latched a.Command Command Hand
        90 reset a.Command => the outputs are not armed; arm first
        90 reset => the outputs are not armed; arm first
        90 latched a.Command Command Hand
        "
    );
    run(FALLBACK, AT_START, &script);
}

#[test]
fn one_output_is_not_let_go_while_its_own_cause_lasts() {
    let mut b = bench(FALLBACK, AT_START);
    play(&mut b, "10 rx a 12C#00\n10 latched a.Command Foreign");
    play(&mut b, "20 fallback c.Command\n20 reset c.Command\n20 latched c.Command");
    play(&mut b, "30 reset a.Command => can't be armed yet: another node sends a.Command");
    play(&mut b, "30 reset => can't be armed yet: another node sends a.Command");
    play(
        &mut b,
        "30 latched a.Command Foreign\n1000 reset a.Command\n1000 latched a.Command\n1000 off foreign-sender a.Command",
    );
    let sent = b.pass(40);
    assert!(sent.iter().any(|(_, frame)| frame.starts_with("a 12C#")), "{sent:?}");
}

#[test]
fn a_lease_is_kept_by_writing_and_renewing() {
    let lines = "message.Command = { lease_ms = 50 }";
    let script = "
        0 armed 1
        200 latched a.Command
        200 renew a.Command
        400 latched a.Command
        400 put a.Command.Enable 1
        445 put a.Command.Setpoint 3
        490 renew a.Command
        535 renew a.Command
        584 latched a.Command
        585 latched a.Command Lease
        600 arm
        800 latched a.Command
        800 put a.Command.Enable 1
        840 put a.Command.Enable 1
        849 disarm
        860 arm
        1200 latched a.Command
    ";
    run(lines, "", script);
}

#[test]
fn an_attempt_that_local_or_an_interlock_refuses_keeps_the_lease() {
    let extra =
        format!("{AT_START}\n[interlock.guard]\nwhen = \"a.Guard.Open == 1\"\nset = {{ \"a.Command.Enable\" = 0 }}");
    let script = "
        0 rx a 101#00
        0 put a.Command.Enable 1
        10 local
        40 put a.Command.Enable 1 => the machine is in Local: the plant may only disarm, release and take outputs to fallback
        80 put a.Command.Enable 1 => the machine is in Local: the plant may only disarm, release and take outputs to fallback
        90 remote
        120 rx a 101#01
        120 put a.Command.Enable 1 => a.Command.Enable is held by an interlock; only the value it is held at can be written
        160 latched a.Command
        160 put a.Command.Enable 0
        209 latched a.Command
        210 latched a.Command Lease
    ";
    run("message.Command = { lease_ms = 50 }", &extra, script);
}

#[test]
fn a_foreign_sender_stops_one_message_and_arming_waits_until_it_is_gone() {
    let script = "
        0 armed 1
        100 rx a 12C#00
        100 count a.Command Foreign 1
        100 on foreign-sender a.Command
        100 latched a.Event
        101 put a.Event.Code 3
        120 rx a 12C#00
        120 count a.Command Foreign 2
        150 rx c 12D#00
        179 arm => can't be armed yet: another node sends a.Command
        180 arm
        180 off foreign-sender a.Command
        180 says a.Command 64000002 good
    ";
    run("", "", script);
    // extended identifiers and remote frames of the same number are not ours
    let mut b = bench("", "");
    play(&mut b, "0 rx a 0000012C#00\n0 rx a 12C#R\n0 rx a 7F1#R\n0 latched a.Command");
    // what no DBC file knows is counted, a request too
    assert_eq!(b.bus_word("a", BusWord::UnknownFrames), 2);
}

#[test]
fn every_bus_is_listened_to_before_the_first_frame() {
    let mut b = bench("listen_ms = 200", "listen_ms = 300");
    play(
        &mut b,
        "
        0 says a.Command 64000002 not_sent
        0 arm => can't be armed yet: bus a is still being listened to for other senders of our messages
        199 quiet
        250 arm => can't be armed yet: bus c is still being listened to for other senders of our messages
        250 armed 0
        250 says a.Command 64000002 fallback
        250 clear
        299 armed 0
        300 armed 1
        301 says c.Command 64000002 good
        301 says a.Command 64000002 good
    ",
    );
    // who comes back is listened to again, and is armed by hand
    play(
        &mut b,
        "
        400 state a down
        400 clear
        500 state a active
        699 says a.Command 64000002 not_sent
        699 arm => can't be armed yet: bus a is still being listened to for other senders of our messages
        701 arm
    ",
    );
}

/// Two controllers with one node on one bus: the newcomer hears the first one and never sends; a slow one that starts to
/// send after all stops both.
#[test]
fn a_second_instance_never_sends() {
    let mut newcomer = bench("listen_ms = 200", "listen_ms = 200");
    let mut sent = Vec::new();
    for ms in 0..100 {
        sent.extend(newcomer.pass(20));
        newcomer.receive("a 12C#64000002");
        assert!(newcomer.alarm(Alarm::ForeignSender(newcomer.message("a.Command"))), "{ms}");
    }
    let ours: Vec<_> = sent.iter().filter(|(_, frame)| frame.starts_with("a ")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    play(&mut newcomer, "2000 armed 0\n2000 latched a.Command Start Foreign\n2000 latched a.Pages Start");
    let refusal = "can't be armed yet: another node sends a.Command";
    assert_eq!(answer(newcomer.command(Change::Arm)), refusal);
    // the first one is switched off: the rest goes on by itself, what was heard takes the command
    newcomer.pass(1000);
    play(&mut newcomer, "3000 armed 1\n3000 latched a.Command Foreign\n3000 latched a.Pages");
    play(&mut newcomer, "3000 says a.Command 64000002 not_sent\n3000 arm\n3000 says a.Command 64000002 good");
    // the first one, which was sending: it hears a newcomer that was deaf
    run(
        "",
        "",
        "0 armed 1\n500 rx a 12C#64000002\n500 latched a.Command Foreign\n500 clear\n505 rx a 12E#0000\n505 latched a.Pages Foreign",
    );
}

#[test]
fn after_a_crash_only_the_command_arms() {
    for extra in ["", AT_START, BY_HAND] {
        let mut b = Bench::unplugged(&toml(FALLBACK, extra), &[("x.dbc", DBC)]);
        b.control.after_unclean_end();
        play(&mut b, "0 state a active\n0 state c active\n0 armed 0\n2000 armed 0");
        play(
            &mut b,
            "2000 says a.Command F6FF0000 fallback\n2000 arm\n2000 armed 1\n2000 says a.Command F6FF0002 good",
        );
    }
}

const INTERLOCKS: &str = r#"[machine]
arm = "at-start"
[interlock.guard]
when = ["a.Guard.Open == 1"]
set = { "a.Command.Enable" = 0, "a.Command.Setpoint" = 0 }
[interlock.slow]
when = "a.Guard.Slow == 1"
set = { "a.Command.Setpoint" = 50 }
"#;

#[test]
fn interlocks_hold_while_their_conditions_hold_or_cant_be_told() {
    let held = "a.Command.Setpoint is held by an interlock; only the value it is held at can be written";
    let script = format!(
        "
        0 says a.Command 00000002 good
        0 causes a.Command.Setpoint {{Interlocked}}
        0 put a.Command.Setpoint 7 => {held}
        0 put a.Command.Setpoint 0
        10 rx a 101#00
        10 says a.Command 00000002 good
        10 causes a.Command.Setpoint {{}}
        20 put a.Command.Setpoint 500
        20 put a.Command.Enable 1
        20 says a.Command E8030102 good
        30 rx a 101#04
        30 says a.Command 64000102 good
        30 causes a.Command.Enable {{}}
        30 put a.Command.Setpoint 500 => {held}
        40 rx a 101#05
        40 says a.Command 00000002 good
        50 rx a 101#04
        50 says a.Command 64000102 good
        60 rx a 101#00
        60 says a.Command E8030102 good
        70 disarm
        70 rx a 101#01
        70 says a.Command 64000002 fallback
        70 causes a.Command.Enable {{Fallback}}
    "
    );
    run("", INTERLOCKS, &script);
}

#[test]
fn forces_are_stronger_than_owners_and_weaker_than_interlocks_and_fallback() {
    let script = "
        0 rx a 101#00
        0 put a.Command.Setpoint 500
        10 hold a.Command.Setpoint 1 2
        10 says a.Command 02000002 good
        10 causes a.Command.Setpoint {Forced}
        10 on forced
        10 forces 1
        20 put a.Command.Setpoint 600
        20 says a.Command 02000002 good
        30 rx a 101#01
        30 says a.Command 00000002 good
        30 causes a.Command.Setpoint {Interlocked}
        40 rx a 101#00
        40 says a.Command 02000002 good
        50 disarm
        50 says a.Command 64000002 fallback
        50 causes a.Command.Setpoint {Fallback}
        50 forces 1
        60 arm
        60 says a.Command 02000002 good
        70 hold a.Command.Setpoint 2 1
        70 forces 1
        70 says a.Command 04000002 good
        1069 says a.Command 04000002 good
        1070 says a.Command 64000002 good
        1070 forces 0
        1070 off forced
        1070 causes a.Command.Setpoint {}
        1100 hold a.Command.Setpoint 3 100
        1100 hold a.Command.Mode 1 100
        1100 hold a.Status.Ready 1 100
        1100 forces 3
        1100 let a.Command.Setpoint
        1100 let a.Command.Setpoint => a.Command.Setpoint is not forced
        1100 forces 2
        1100 let
        1100 let
        1100 forces 0
        1100 says a.Command 64000002 good
    ";
    run("", INTERLOCKS, script);
    run(
        "",
        "",
        "0 hold c.Command.Enable 1 10 => c.Command.Enable can't be forced: it is not in the bus's `forcible` list",
    );
    run("", "", "0 hold a.Command.Enable 1 0.5 => a force lasts from 1 second to 86400 seconds");
}

#[test]
fn a_forced_input_counts_for_vital_and_interlocks() {
    let lines = "message.Command = { vital = \"a.Status.Speed\" }";
    let extra =
        "[machine]\narm = \"by-hand\"\n[interlock.x]\nwhen = \"a.Guard.Open == 1\"\nset = { \"a.Command.Enable\" = 0 }";
    let script = "
        0 arm => can't be armed yet: a.Status.Speed is needed and is not good
        0 hold a.Status.Speed 10 5
        0 hold a.Guard.Open 0 9
        0 arm
        0 put a.Command.Enable 1
        4999 latched a.Command
        5000 latched a.Command Vital
        9000 latched a.Command Vital
    ";
    run(lines, extra, script);
}

/// Where only the message counts, a forced signal of it does not stand for the device.
#[test]
fn a_forced_signal_is_no_sign_of_life_of_its_message() {
    let lines = "message.Command = { vital = \"a.Status\" }";
    let script = "
        0 hold a.Status.Speed 10 60
        0 arm => can't be armed yet: a.Status.Speed is needed and is not good
        10 rx a 100#0000000000000000
        10 arm
        250 latched a.Command
        270 latched a.Command Vital
        270 arm => can't be armed yet: a.Status.Speed is needed and is not good
    ";
    run(lines, "[machine]\narm = \"by-hand\"", script);
}

#[test]
fn a_multiplexed_signal_is_forced_only_while_its_branch_is_sent() {
    let script = "
        0 put a.Pages.A 5
        0 hold a.Pages.B 9 60
        0 says a.Pages 0005 good
        1 put a.Pages.B 3
        1 says a.Pages 0109 good
        2 put a.Pages.A 6
        2 says a.Pages 0006 good
    ";
    run("", "", script);
}

#[test]
fn in_local_the_plant_makes_the_machine_do_nothing() {
    let refused = "the machine is in Local: the plant may only disarm, release and take outputs to fallback";
    let script = format!(
        "
        0 from plant
        0 hold a.Command.Enable 1 60
        0 local
        1 arm => {refused}
        1 hold a.Command.Enable 0 60 => {refused}
        1 forces 1
        2 let a.Command.Enable
        2 let
        2 forces 0
        3 fallback a.Command
        3 latched a.Command Hand
        4 reset a.Command => {refused}
        4 reset => {refused}
        5 fallback
        5 disarm
        5 armed 0
        6 arm => {refused}
        7 local
        8 armed 0
        9 from machine
        9 hold a.Command.Enable 1 60
        9 forces 1
        9 let
        9 arm
        9 armed 1
        9 fallback a.Command
        9 reset a.Command
        9 latched a.Command
        9 hold a.Command.Enable 1 60
        10 from plant
        10 hold a.Command.Enable 1 60 => {refused}
        10 let a.Command.Enable => {refused}
        10 let
        10 forces 1
        11 remote
        11 let
        11 forces 0
        11 hold a.Command.Enable 1 60
        12 disarm
        12 arm
        12 armed 1
    "
    );
    run("", "", &script);
}

#[test]
fn in_local_the_plant_may_not_write() {
    let refused = "the machine is in Local: the plant may only disarm, release and take outputs to fallback";
    let script = format!(
        "
        0 is-remote 1
        0 put a.Command.Enable 1
        10 local
        10 is-remote 0
        10 put a.Command.Enable 0 => {refused}
        10 says a.Command 64000102 good
        20 remote
        20 is-remote 1
        20 put a.Command.Enable 0
    "
    );
    run("", "", &script);
    let extra = "[machine]\nlocal_when = [\"a.Guard.Local == 1\", \"a.Guard.Slow == 0\"]";
    let script = format!(
        "
        0 is-remote 0
        0 put a.Command.Enable 1 => {refused}
        0 remote => local_when holds the machine in Local
        1 rx a 101#00
        1 is-remote 1
        1 put a.Command.Enable 1
        2 rx a 101#02
        2 is-remote 0
        2 put a.Command.Enable 1 => {refused}
        2 remote => local_when holds the machine in Local
        3 rx a 101#06
        3 is-remote 1
        4 local
        5 rx a 101#00
        5 is-remote 0
        5 remote
        5 is-remote 1
        6 state a down
        6 is-remote 0
    "
    );
    run("", extra, &script);
}

#[test]
fn commands_are_counted() {
    let mut b = bench("", BY_HAND);
    play(
        &mut b,
        "0 put a.Command.Enable 1 => the outputs are not armed; arm first\n0 arm\n0 put a.Command.Enable 1\n0 disarm",
    );
    assert_eq!((b.reader.get(Word::Commands), b.reader.get(Word::CommandsRefused)), (3, 1));
    assert_ne!(b.reader.get(Word::ArmedSince), 0);
}

#[test]
fn the_table_of_forces_is_bounded() {
    let signals: String = (0..9)
        .map(|n| {
            format!(
                "BO_ {} In{n}: 8 Drive\n{}",
                600 + n,
                (0..8).map(|s| format!(" SG_ S{s} : {}|8@1+ (1,0) [0|0] \"\" Us\n", 8 * s)).collect::<String>()
            )
        })
        .collect();
    let dbc = DBC.replace("BA_DEF_ BO_ \"GenMsgCycleTime\"", &format!("{signals}BA_DEF_ BO_ \"GenMsgCycleTime\""));
    let mut b = Bench::new(&toml("", ""), &[("x.dbc", &dbc)]);
    for n in 0..72 {
        let result = b.force(&format!("a.In{}.S{}", n / 8, n % 8), 1.0, 10.0);
        assert_eq!(result.is_ok(), n < 64, "{n}: {result:?}");
    }
    assert_eq!(b.force("a.In0.S0", 2.0, 10.0), Ok(vec![]), "one that is there can change");
    assert_eq!(b.reader.forces().count(), 64);
    play(&mut b, "9999 forces 64\n10000 forces 0");
    assert_eq!(b.reader.forces().count(), 0);
}

/// What `check` says about wrong keys of this part; lines counted from the first behind the bus.
#[test]
fn mistakes_in_arming() {
    let bus = "[bus.a]\nvirtual = true\ndbc = [\"plant.dbc\"]\nnode = \"Canvoy\"\ntransmit = [\"DriveCommand\", \"OvenCommand\"]\nwritable = [\"DriveCommand.Trim\"]\n";
    let files = [("plant.dbc", include_str!("../fixtures/config/plant.dbc"))];
    crate::control_routes::mistakes(include_str!("../fixtures/config/arming.txt"), bus, &files);
}

#[test]
fn what_check_says_about_arming() {
    let lines = "message.Command = { fallback = { Setpoint = -5, Mode = \"Off\" }, vital = [\"a.Status\", \"a.Guard.Open\"], lease_ms = 100 }\nmessage.Event = { when_disarmed = \"silent\" }";
    let extra = "[machine]\nlocal_when = \"a.Guard.Local == 1\"\n[interlock.guard]\nwhen = [\"a.Guard.Open == 1\", \"a.Status.Speed >= 5\"]\nset = { \"a.Command.Enable\" = 0 }";
    let sources = Sources::embedded("x.toml", &toml(lines, extra), &[("x.dbc", DBC.as_bytes())]);
    let loaded = load(&sources, LoadOptions::default()).unwrap_or_else(|e| panic!("{e:#?}"));
    let summary = check::summary(&loaded);
    let start = summary.find("outputs: armed").unwrap_or_else(|| panic!("{summary}"));
    let said: Vec<&str> = summary[start..].lines().collect();
    let want = [
        "outputs: armed by hand (canvoy arm); until then the fallback values are sent",
        "  a.Command: fallback Setpoint = -5, Mode = 0; needs a.Status, a.Guard.Open; must be written again within 100 ms",
        "  a.Event: not sent until armed",
        "Local while a.Guard.Local == 1, or that can't be told",
        "interlock guard: a.Command.Enable = 0, while a.Guard.Open == 1 and a.Status.Speed >= 5, or that can't be told",
        "12 of 24 signals may be forced",
    ];
    assert_eq!(said[..want.len()], want, "{summary}");
}

#[test]
fn an_overrun_takes_the_bus_to_fallback_where_the_configuration_says_so() {
    for (line, latched) in [("fallback_on_overrun = true", " Overrun"), ("", "")] {
        let mut b = bench(FALLBACK, &format!("{AT_START}\n{line}"));
        play(&mut b, ". armed 1");
        b.pass(100);
        // the loop was held up: the next cycle leaves far too late
        b.now += 15_000_000;
        b.step(Event::Timer);
        play(&mut b, &format!(". latched a.Command{latched}\n. latched a.Event{latched}"));
        play(&mut b, ". arm\n. latched a.Command");
    }
}

/// `retain`: what the plant wrote last is not forgotten by disarming, latches and restarts, all else is.
#[test]
fn retained_values_outlive_latches() {
    let lines = "retain = [\"Command.Setpoint\"]";
    run(
        lines,
        "",
        "0 says a.Command 64000002 good
         0 put a.Command.Setpoint 20
         0 put a.Command.Enable 1
         10 says a.Command 28000102 good
         10 disarm
         10 says a.Command 64000002 fallback
         20 put a.Command.Setpoint 30 => the outputs are not armed; arm first
         20 arm
         20 says a.Command 28000002 good
         30 put a.Command.Setpoint 20.5
         40 says a.Command 29000002 good",
    );
}

/// What comes from before the start is in force once armed, by itself or by hand.
#[test]
fn a_restored_value_waits_for_arming() {
    let toml = |machine: &str| toml("retain = [\"Command.*\"]", machine);
    for machine in ["", "[machine]\narm = \"by-hand\""] {
        let mut b = Bench::unplugged(&toml(machine), &[("x.dbc", DBC)]);
        let write = command::Write { tag: b.tag("a.Command.Setpoint"), value: Value::Engineering(-5.5) };
        let patch = command::compile(&b.plan, &[write]).unwrap();
        b.control.restore(&patch);
        for bus in 0..2 {
            b.step(Event::Bus { bus, state: BusState::Active });
        }
        if !machine.is_empty() {
            play(&mut b, "0 says a.Command 64000002 fallback");
            play(&mut b, "0 arm");
        }
        play(&mut b, "0 says a.Command F5FF0002 good");
    }
}
