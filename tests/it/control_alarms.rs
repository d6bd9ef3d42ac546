//! Alarms that the configuration names, with an invented clock: frames and time in, transitions and latches out.

use canvoy::can::{Frame, FrameId};
use canvoy::cli::{check, diff};
use canvoy::command::{Change, Place, Value, Write, compile};
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::control::{Event, Now, Sent};
use canvoy::plan::{Alarm, Level};
use canvoy::store::clock;
use canvoy::store::layout::{BusState, Latch, MessageWord};

use crate::allocations::Watch;
use crate::bench::{Bench, plan};

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Oven
BO_ 256 Status: 8 Oven
 SG_ Temp : 0|16@1+ (0.1,0) [0|300] "degC" Us
 SG_ Door : 16|8@1+ (1,0) [0|3] "" Us
 SG_ Ready : 24|1@1+ (1,0) [0|1] "" Us
BO_ 257 Paged: 4 Oven
 SG_ Page M : 0|8@1+ (1,0) [0|255] "" Us
 SG_ Pressure m1 : 8|16@1+ (1,0) [0|1000] "bar" Us
 SG_ Flow m2 : 8|16@1+ (1,0) [0|1000] "l/min" Us
BO_ 300 Command: 4 Us
 SG_ Setpoint : 0|16@1+ (0.1,0) [0|300] "degC" Oven
 SG_ Fan : 16|8@1+ (1,0) [0|100] "%" Oven
BO_ 2364540158 EEC1: 8 Oven
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 300 20;
BA_ "VFrameFormat" BO_ 2364540158 3;
VAL_ 256 Door 0 "Open" 1 "Closed" 3 "SNA" ;
"#;

const FILES: &[(&str, &str)] = &[("x.dbc", DBC)];

fn toml(lines: &str, alarms: &str) -> String {
    format!(
        r#"
[machine]
arm = "by-hand"
[bus.a]
interface = "can0"
dbc = ["x.dbc"]
node = "Us"
transmit = "all"
writable = "all"
forcible = "all"
{lines}
{alarms}
"#
    )
}

/// A frame of Status with this temperature in tenths, and this door.
fn status(tenths: u16, door: u8) -> String {
    let [low, high] = tenths.to_le_bytes();
    format!("a 100#{low:02X}{high:02X}{door:02X}0000000000")
}

/// A script in which `temp T` and `door T D` stand for frames.
fn expand(script: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let tenths = |text: &str| (text.parse::<f64>().unwrap() * 10.0).round() as u16;
        match words[..] {
            [ms, "temp", temp] => format!("{ms} rx {}\n", status(tenths(temp), 1)),
            [ms, "door", temp, door] => format!("{ms} rx {}\n", status(tenths(temp), door.parse().unwrap())),
            _ => format!("{line}\n"),
        }
    };
    script.lines().map(line).collect()
}

/// What, alarms, what happens, transitions.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

fn check(cases: &[Case]) {
    for (name, alarms, script, expected) in cases {
        let mut bench = Bench::new(&toml("", alarms), FILES);
        bench.play(&expand(script));
        assert_eq!(bench.configured_events(), *expected, "{name}");
    }
}

const FOUR: &str = "[alarm.t]\ntag = \"a.Status.Temp\"\nhihi = 250\nhi = 230\nlo = 20\nlolo = 10\nhysteresis = 2\n";

#[test]
fn limits() {
    let (lolo, lo, hi, hihi) = (Level::LoLo.bit(), Level::Lo.bit(), Level::Hi.bit(), Level::HiHi.bit());
    assert_eq!((lolo, lo, hi, hihi), (1, 2, 4, 8));
    check(&[
        ("nothing came, nothing is wrong", FOUR, "5000 off limit t", &[]),
        ("a value at a limit is beyond it", FOUR, "0 temp 229.9\n10 temp 230\n10 on limit t", &["10 t 0>4 230"]),
        (
            "it ends when it is back by the hysteresis, not before",
            FOUR,
            "0 temp 230\n10 temp 228.1\n20 temp 229\n30 temp 228\n30 off limit t\n40 temp 229.9\n50 temp 230",
            &["0 t 0>4 230", "30 t 4>0 228", "50 t 0>4 230"],
        ),
        (
            "one level at a time, up and down",
            FOUR,
            "0 temp 100\n10 temp 240\n20 temp 260\n30 temp 249\n40 temp 248\n50 temp 200\n60 temp 15\n70 temp 5\n80 temp 12\n90 temp 22",
            &[
                "10 t 0>4 240",
                "20 t 4>8 260",
                "40 t 8>4 248",
                "50 t 4>0 200",
                "60 t 0>2 15",
                "70 t 2>1 5",
                "80 t 1>2 12",
                "90 t 2>0 22",
            ],
        ),
        ("from one end to the other in one frame", FOUR, "0 temp 260\n10 temp 5", &["0 t 0>8 260", "10 t 8>1 5"]),
        (
            "several levels together",
            "[alarm.t]\ntag = \"a.Status.Temp\"\nhihi = 250\nhi = 230\nexclusive = false",
            "0 temp 240\n10 temp 260\n20 temp 249.9\n30 temp 1\n40 temp 299",
            &["0 t 0>4 240", "10 t 4>12 260", "20 t 12>4 249.9", "30 t 4>0 1", "40 t 0>12 299"],
        ),
        (
            "without hysteresis it ends below the limit",
            "[alarm.t]\ntag = \"a.Status.Temp\"\nhi = 230\n[alarm.u]\ntag = \"a.Status.Temp\"\nlo = 20",
            "0 temp 230\n10 temp 229.9\n20 temp 20\n30 temp 20.1",
            &["0 t 0>4 230", "10 t 4>0 229.9", "20 u 0>2 20", "30 u 2>0 20.1"],
        ),
        ("the same again changes nothing", FOUR, "0 temp 240\n10 temp 240\n20 temp 241\n30 temp 239", &["0 t 0>4 240"]),
    ]);
}

const DELAYED: &str = "[alarm.t]\ntag = \"a.Status.Temp\"\nhihi = 250\nhi = 230\non_delay_ms = 500\noff_delay_ms = 200\n[bus.a.message.Status]\ntimeout_ms = 10000\n";

#[test]
fn delays() {
    check(&[
        (
            "beyond for long enough, without another frame",
            DELAYED,
            "0 temp 240\n499 off limit t\n500 on limit t\n600 temp 240\n700 temp 100\n899 on limit t\n900 off limit t",
            &["500 t 0>4 240", "900 t 4>0 100"],
        ),
        (
            "back in time, it begins anew",
            DELAYED,
            "0 temp 240\n499 temp 229\n500 off limit t\n600 temp 240\n1099 off limit t\n1100 on limit t",
            &["1100 t 0>4 240"],
        ),
        (
            "beyond again in time, it does not end",
            DELAYED,
            "0 temp 240\n600 temp 100\n799 temp 240\n2000 on limit t",
            &["500 t 0>4 240"],
        ),
        (
            "each level has its time",
            DELAYED,
            "0 temp 240\n300 temp 260\n600 on limit t\n1000 temp 240\n1300 on limit t",
            &["500 t 0>4 260", "800 t 4>8 260", "1200 t 8>4 240"],
        ),
        (
            "a value that is not good stops the time",
            DELAYED,
            "0 temp 240\n300 state a bus_off\n3000 off limit t\n3000 state a active\n3100 temp 240\n3599 off limit t\n3600 on limit t",
            // frames may have been lost meanwhile, so that the one before does not count
            &["3600 t 0>4 240"],
        ),
        (
            "conditions have delays too",
            "[alarm.t]\nwhen = \"a.Status.Door != 'Closed'\"\non_delay_ms = 50\noff_delay_ms = 30",
            "0 door 20 0\n49 door 20 1\n60 door 20 0\n100 door 20 0\n110 on off-normal t\n120 door 20 1\n149 on off-normal t\n150 off off-normal t",
            &["110 t 0>1 0", "150 t 1>0 1"],
        ),
    ]);
}

#[test]
fn what_is_not_good_changes_nothing() {
    let door = "[alarm.t]\nwhen = \"a.Status.Door != 'Closed'\"";
    check(&[
        (
            "late",
            FOUR,
            "0 temp 240\n5000 on late a.Status\n5000 on limit t\n5000 temp 100",
            &["0 t 0>4 240", "5000 t 4>0 100"],
        ),
        (
            "the bus is gone",
            FOUR,
            "0 temp 240\n10 state a bus_off\n9000 on limit t\n9000 state a active\n9000 on limit t",
            &["0 t 0>4 240"],
        ),
        (
            "not available",
            door,
            "0 door 20 0\n10 door 20 3\n10 on off-normal t\n20 door 20 1",
            &["0 t 0>1 0", "20 t 1>0 1"],
        ),
        ("not available from the start", door, "0 door 20 3\n10 off off-normal t", &[]),
        (
            "outside the range it ends nothing",
            "[alarm.t]\nwhen = \"a.Status.Temp > 100\"\n[alarm.u]\ntag = \"a.Status.Temp\"\nlo = 20\nhi = 230",
            "0 temp 10\n10 temp 301\n20 temp 301\n30 temp 240\n40 temp 301\n50 temp 25",
            &["0 u 0>2 10", "10 u 2>4 301", "30 t 0>1 240", "50 u 4>0 25", "50 t 1>0 25"],
        ),
        // an oven that is hotter than its DBC file knows is hot
        ("outside the range", FOUR, "0 temp 301\n10 temp 20.5\n20 temp 22.5", &["0 t 0>8 301", "10 t 8>0 20.5"]),
        (
            "one of two conditions can't be told",
            "[alarm.t]\nwhen = [\"a.Status.Door == 'Open'\", \"a.Status.Temp > 100\"]",
            "0 door 110 0\n10 door 110 3\n10 on off-normal t\n20 door 90 3\n20 off off-normal t\n30 door 110 3\n40 door 110 0",
            &["0 t 0>1 0", "20 t 1>0 NaN", "40 t 0>1 0"],
        ),
    ]);
}

#[test]
fn whatever_has_a_value_can_be_looked_at() {
    check(&[
        (
            "a branch of a multiplexed message",
            "[alarm.p]\ntag = \"a.Paged.Pressure\"\nhi = 100\n[alarm.f]\nwhen = \"a.Paged.Flow < 5\"",
            "0 rx a 101#02040000\n10 rx a 101#01C80000\n20 rx a 101#02C80000\n30 on limit p\n40 rx a 101#01010000",
            &["0 f 0>1 4", "10 p 0>4 200", "20 f 1>0 200", "40 p 4>0 1"],
        ),
        (
            "one J1939 source, not the others",
            "[alarm.e]\ntag = \"a.EEC1@33.EngineSpeed\"\nhi = 1000",
            "0 rx a 0CF00405#000000803E000000\n10 off limit e\n20 rx a 0CF00421#000000803E000000\n20 on limit e\n30 rx a 0CF00405#0000000000000000\n40 rx a 0CF00421#0000000000000000",
            &["20 e 0>4 2000", "40 e 4>0 0"],
        ),
        (
            "a forced value",
            FOUR,
            "0 temp 100\n10 force a.Status.Temp 240 100\n10 on limit t\n20 temp 100\n20 on limit t\n30 release a.Status.Temp",
            &["10 t 0>4 240", "30 t 4>0 100"],
        ),
        (
            "forced while nobody sends it, until its time is over",
            FOUR,
            "10 force a.Status.Temp 240 1\n10 on limit t\n3000 on limit t",
            &["10 t 0>4 240"],
        ),
        (
            "what is sent: written, forced, fallen back",
            "[alarm.s]\ntag = \"a.Command.Setpoint\"\nhi = 200\n[alarm.f]\nwhen = [\"a.Command.Fan == 0\", \"a.Command.Setpoint > 100\"]",
            "0 off limit s\n10 arm\n20 write a.Command.Setpoint 250\n30 write a.Command.Fan 7\n40 force a.Command.Setpoint 10 100\n50 release\n60 disarm",
            &["20 s 0>4 250", "20 f 0>1 0", "30 f 1>0 7", "40 s 4>0 10", "50 s 0>4 250", "60 s 4>0 0"],
        ),
    ]);
}

#[test]
fn the_stamp_is_that_of_the_frame_and_a_step_of_the_clock_is_nothing_to_delays() {
    let mut bench = Bench::new(&toml("", DELAYED), FILES);
    let hot = Frame::classic(FrameId::standard(0x100).unwrap(), &[0x60, 9, 1, 0, 0, 0, 0, 0]).unwrap();
    let at = Now { realtime: clock::FLOOR + 86_400_000_000_000, ..bench.at() };
    // half a second behind, with a clock that an hour was taken from meanwhile
    let event = Event::Received { bus: 0, frame: &hot, source_time: at.realtime - 500_000_000 };
    bench.control.step(at, event, &mut bench.store, &mut bench.transmit);
    let later = |ms: u64| Now { monotonic: at.monotonic + ms * 1_000_000, realtime: at.realtime - 3_600_000_000_000 };
    bench.control.step(later(499), Event::Timer, &mut bench.store, &mut bench.transmit);
    assert!(!bench.alarm(Alarm::Limit(0)));
    bench.control.step(later(503), Event::Timer, &mut bench.store, &mut bench.transmit);
    assert!(bench.alarm(Alarm::Limit(0)));
    // the timer came three milliseconds late
    assert_eq!(bench.alarm_events().last().unwrap().1.time, later(503).realtime - 3_000_000);

    let mut bench = Bench::new(&toml("", FOUR), FILES);
    let at = Now { realtime: clock::FLOOR + 86_400_000_000_000, ..bench.at() };
    // the second has no stamp
    for (source_time, want) in [(at.realtime - 7, at.realtime - 7), (0, at.realtime)] {
        let event = Event::Received { bus: 0, frame: &hot, source_time };
        bench.control.step(at, event, &mut bench.store, &mut bench.transmit);
        assert_eq!(bench.alarm_events().last().unwrap().1.time, want);
        bench.receive(&status(1000, 1));
    }
}

#[test]
fn a_frame_behind_a_late_timer_does_not_swallow_what_had_lasted() {
    let mut bench = Bench::new(&toml("", DELAYED), FILES);
    bench.receive(&status(2400, 1));
    // no timer until then
    bench.now += 700 * 1_000_000;
    bench.receive(&status(1000, 1));
    bench.play("1000 off limit t");
    assert_eq!(bench.configured_events(), ["500 t 0>4 240", "900 t 4>0 100"]);
}

#[test]
fn outputs_fall_back_until_armed_and_not_while_it_lasts() {
    let hot = "[alarm.hot]\ntag = \"a.Status.Temp\"\nhihi = 250\nhi = 230\nhysteresis = 2\n[alarm.door]\nwhen = \"a.Status.Door == 'Open'\"";
    let latched = |bench: &Bench| bench.message_word("a.Command", MessageWord::Latched);
    for (on, script, latch) in [
        ("\"hot\"", "10 temp 240", true),
        ("\"hot.hi\"", "10 temp 240", true),
        ("\"hot.hi\"", "10 temp 260", true),
        ("\"hot.hihi\"", "10 temp 240", false),
        ("\"hot.hihi\"", "10 temp 240\n20 temp 260", true),
        ("\"door\"", "10 temp 260", false),
        ("[\"hot.hihi\", \"door\"]", "10 door 20 0", true),
        // it is over, and the latch stays
        ("\"hot\"", "10 temp 240\n20 temp 20\n500 off limit hot\n500 on fallback a.Command", true),
        (
            "\"hot\"",
            "10 temp 240\n11 refused alarm hot is active: the value is beyond its limit\n20 temp 20\n21 arm\n22 off fallback a.Command",
            false,
        ),
        ("\"hot.hihi\"", "10 temp 260\n20 temp 240\n21 arm", false),
        // one that lasts latches again, as soon as it is raised again
        ("\"hot\"", "10 temp 240\n20 temp 20\n21 arm\n30 temp 240", true),
    ] {
        let lines = format!("[bus.a.message.Command]\nfallback_on = {on}\nfallback = {{ Setpoint = 1.5 }}\n");
        let mut bench = Bench::new(&toml(&lines, hot), FILES);
        bench.play(
            "0 door 20 1\n5 arm\n5 write a.Command.Setpoint 20"
                .replace("door 20 1", &format!("rx {}", status(200, 1)))
                .as_str(),
        );
        bench.play(&expand(script));
        let want = if latch { Latch::Alarm as u64 } else { 0 };
        assert_eq!(latched(&bench), want, "{on}: {script}");
        if latch {
            bench.check("a.Command.Setpoint", "1.5 fallback");
        }
    }
}

#[test]
fn nothing_is_armed_while_it_lasts_and_what_arms_by_itself_waits_for_the_end() {
    let lines = "[bus.a.message.Command]\nfallback_on = \"hot\"\n";
    let toml = toml(lines, "[alarm.hot]\ntag = \"a.Status.Temp\"\nhi = 230").replace("by-hand", "at-start");
    let mut bench = Bench::unplugged(&toml, FILES);
    bench.play("0 force a.Status.Temp 240 1000\n1 state a active\n50 on not-armed\n60 release\n60 on not-armed");
    // nobody has sent it: what was forced is held
    bench
        .play(&format!("70 refused alarm hot is active\n80 rx {}\n80 off limit hot\n80 off not-armed", status(200, 1)));
}

#[test]
fn what_arms_by_itself_waits_until_it_is_known_whether_the_alarm_lasts() {
    let lines = "[bus.a.message.Command]\nfallback_on = \"hot\"\n";
    let alarm = "[alarm.hot]\ntag = \"a.Status.Temp\"\nhi = 230\non_delay_ms = 500\n";
    let toml = toml(lines, alarm).replace("by-hand", "at-start");
    for (name, script) in [
        ("nothing came yet", "0 on not-armed\n1000 on not-armed\n1010 temp 20\n1010 off not-armed"),
        (
            "beyond, for less than its delay",
            "0 temp 240\n200 temp 240\n400 temp 240\n400 on not-armed\n450 temp 20\n450 off not-armed",
        ),
        (
            "beyond until it is raised",
            "0 temp 240\n200 temp 240\n400 temp 240\n499 on not-armed\n500 on limit hot\n500 on not-armed\n510 temp 20\n510 off not-armed",
        ),
        // a person knows more
        ("armed by hand", "0 on not-armed\n10 arm\n10 off not-armed"),
    ] {
        let mut bench = Bench::unplugged(&toml, FILES);
        bench.play("0 state a active");
        let listened = script.lines().map(|line| {
            let (ms, what) = line.split_once(' ').unwrap();
            format!("{} {what}\n", ms.parse::<u64>().unwrap() + 300)
        });
        eprintln!("{name}");
        bench.play(&expand(&listened.collect::<String>()));
    }
}

#[test]
fn an_output_that_falls_back_on_what_it_says_itself_ends_in_fallback() {
    let lines = "[bus.a.message.Command]\nfallback_on = \"high\"\n";
    let mut bench = Bench::new(&toml(lines, "[alarm.high]\ntag = \"a.Command.Setpoint\"\nhi = 200"), FILES);
    bench.play("5 arm\n10 write a.Command.Setpoint 250\n10 off limit high\n10 on fallback a.Command\n20 arm\n20 is a.Command.Setpoint 0 good");
    assert_eq!(bench.configured_events(), ["10 high 0>4 250", "10 high 4>0 0"]);
}

#[test]
fn what_a_reload_does_to_an_alarm() {
    let state = |bench: &Bench, alarm| {
        let state = bench.reader.alarm(bench.plan.alarm(alarm).unwrap());
        (state.state, state.count, (state.since / 1_000_000) % 1_000_000)
    };
    let first = "[alarm.a]\ntag = \"a.Status.Ready\"\nhi = 1\n";
    // the old alarm, the new one, its state after the reload and a second later: state, count
    for (name, old, new, now, later) in [
        ("the same", FOUR.to_owned(), FOUR.to_owned(), (4, 2), (4, 2)),
        ("at another index", FOUR.to_owned(), format!("{first}{FOUR}"), (4, 2), (4, 2)),
        ("another text and severity", FOUR.to_owned(), format!("{FOUR}text = \"Hot\"\nseverity = 3\n"), (4, 2), (4, 2)),
        ("other limits", FOUR.to_owned(), FOUR.replace("230", "220"), (4, 1), (4, 1)),
        (
            "other limits and a delay",
            FOUR.to_owned(),
            format!("{}on_delay_ms = 500", FOUR.replace("230", "220")),
            (4, 1),
            (4, 1),
        ),
        (
            "another level and a delay",
            FOUR.to_owned(),
            format!("{}on_delay_ms = 500", FOUR.replace("hi = 230", "hi = 220").replace("250", "225")),
            (4, 1),
            (4, 1),
        ),
        (
            "limits that it is not beyond, and a delay",
            FOUR.to_owned(),
            format!("{}on_delay_ms = 500", FOUR.replace("230", "245")),
            (0, 0),
            (0, 0),
        ),
        ("limits that it is not beyond", FOUR.to_owned(), FOUR.replace("230", "245"), (0, 0), (0, 0)),
        (
            "limits that it is not back from by the hysteresis",
            FOUR.to_owned(),
            FOUR.replace("230", "241"),
            (4, 1),
            (4, 1),
        ),
        ("another name", FOUR.to_owned(), FOUR.replace("alarm.t", "alarm.t2"), (4, 1), (4, 1)),
        ("new", String::new(), FOUR.to_owned(), (4, 1), (4, 1)),
        ("new and delayed", String::new(), format!("{FOUR}on_delay_ms = 150"), (0, 0), (4, 1)),
    ] {
        let mut bench = Bench::new(&toml("", &old), FILES);
        bench.play(&expand("0 temp 240\n10 temp 100\n20 temp 240\n100 is a.Status.Temp 240 good"));
        let before = bench.plan.alarm(Alarm::Limit(0)).map(|_| state(&bench, Alarm::Limit(0)).2);
        bench.reload(plan(&toml("", &new), FILES));
        let at = bench.plan.limits.iter().position(|limit| limit.name.starts_with('t')).unwrap();
        let (bits, count, since) = state(&bench, Alarm::Limit(at));
        assert_eq!((bits, count), now, "{name}");
        if count == 2 {
            assert_eq!(Some(since), before, "{name}");
        }
        bench.pass(1000);
        let (bits, count, _) = state(&bench, Alarm::Limit(at));
        assert_eq!((bits, count), later, "{name}");
    }
}

#[test]
fn a_delay_goes_on_over_a_reload() {
    let mut bench = Bench::new(&toml("", DELAYED), FILES);
    bench.play(&expand("0 temp 240\n300 off limit t"));
    bench.reload(plan(&toml("", &format!("{DELAYED}[alarm.a]\ntag = \"a.Status.Ready\"\nhi = 1")), FILES));
    bench.play("499 off limit t\n500 on limit t");
}

#[test]
fn nothing_can_be_armed_while_other_limits_of_an_alarm_that_lasts_wait_for_their_delay() {
    let lines = "[bus.a.message.Command]\nfallback_on = [\"t\", \"door\"]\n";
    let door = "[alarm.door]\nwhen = \"a.Status.Door == 'Closed'\"\n";
    let other = "on_delay_ms = 500\n[alarm.door]\nwhen = [\"a.Status.Door == 'Closed'\", \"a.Status.Temp > 10\"]\non_delay_ms = 500\n";
    for (name, before, after, refused) in [
        ("limits", FOUR.to_owned(), format!("{}{other}", FOUR.replace("230", "220")), "alarm t is active"),
        (
            "conditions",
            format!("{FOUR}{door}"),
            format!("{}{other}", FOUR.replace("230", "245")),
            "alarm door is active",
        ),
    ] {
        let lines = if before.contains("door") { lines } else { &lines.replace(", \"door\"", "") };
        let mut bench = Bench::new(&toml(lines, &before), FILES);
        bench.play(&expand("0 temp 240\n10 refused alarm t is active"));
        bench.reload(plan(&toml(lines, &after), FILES));
        eprintln!("{name}");
        bench.play(&format!("11 refused {refused}\n100 refused {refused}"));
    }
}

#[test]
fn what_is_tied_to_an_alarm_by_a_reload_falls_back_at_once() {
    let mut bench = Bench::new(&toml("", FOUR), FILES);
    bench.play(&expand("0 temp 240\n5 arm\n10 write a.Command.Setpoint 20\n10 off fallback a.Command"));
    let lines = "[bus.a.message.Command]\nfallback_on = \"t\"\n";
    bench.reload(plan(&toml(lines, FOUR), FILES));
    bench.play("10 on fallback a.Command\n20 refused alarm t is active");
}

#[test]
fn alarms_allocate_nothing() {
    let lines = "[bus.a.message.Command]\nfallback_on = [\"a.hi\", \"d\"]\n".replace("a.hi", "t.hi");
    let alarms = format!(
        "{DELAYED}[alarm.u]\ntag = \"a.Status.Temp\"\nhi = 230\nlo = 20\n[alarm.d]\nwhen = [\"a.Status.Door != 'Closed'\", \"a.Command.Setpoint > 10\"]"
    );
    let mut bench = Bench::new(&toml(&lines, &alarms), FILES);
    let write = |value| [Write { tag: bench.tag("a.Command.Setpoint"), value: Value::Engineering(value) }];
    let patches = [5.0, 50.0].map(|value| Change::Patch(compile(&bench.plan, &write(value)).unwrap()));
    let frame = |tenths: u16, door| {
        let [low, high] = tenths.to_le_bytes();
        Frame::classic(FrameId::standard(0x100).unwrap(), &[low, high, door, 0, 0, 0, 0, 0]).unwrap()
    };
    let frames =
        [(2400, 1), (100, 1), (1000, 0), (3010, 3), (2600, 1), (1000, 1)].map(|(temp, door)| frame(temp, door));
    let mut refused = 0;
    let watch = Watch::thread(nix::unistd::gettid().as_raw());
    for turn in 0..20_000_usize {
        bench.now += 10_000_000;
        let now = bench.at();
        let event = match turn % 100 {
            // long enough for the delays, which are served by what comes next
            90 => {
                bench.now += 700_000_000;
                Event::Timer
            }
            91 => Event::Bus { bus: 0, state: BusState::BusOff },
            92 => Event::Bus { bus: 0, state: BusState::Active },
            at if at % 2 == 0 => Event::Timer,
            _ => Event::Received { bus: 0, frame: &frames[turn / 7 % 6], source_time: now.realtime },
        };
        bench.control.step(now, event, &mut bench.store, &mut bench.transmit);
        for change in [&Change::Arm, &patches[turn % 2]] {
            refused += u32::from(
                bench.control.command(now, Place::Machine, change, &mut bench.store, &mut bench.transmit).is_err(),
            );
        }
        bench.control.flush(now, &mut bench.store, &mut bench.transmit, |_, _| Sent::At(now.monotonic));
        while bench.control.take_wish().is_some() {}
    }
    assert_eq!(watch.count(), 0, "allocated or freed memory");
    drop(watch);
    let count = |alarm| bench.reader.alarm(bench.plan.alarm(alarm).unwrap()).count;
    let counts = [Alarm::Limit(0), Alarm::Limit(1), Alarm::OffNormal(0)].map(count);
    assert!(counts.into_iter().all(|count| count > 50) && refused > 100, "{counts:?} {refused}");
}

#[test]
fn every_alarm_of_a_plan_has_a_key_of_its_own_and_a_severity() {
    let alarms = format!("{FOUR}[alarm.door]\nwhen = \"a.Status.Door == 'Open'\"");
    let plan = plan(&toml("", &alarms), FILES);
    let keys: Vec<String> = plan.alarms.iter().map(|alarm| alarm.key(&plan)).collect();
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), keys.len());
    for key in ["not_armed:machine", "bus_off:a", "late:a.Status", "fallback:a.Command", "alarm:t", "alarm:door"] {
        assert!(keys.iter().any(|known| known == key), "{key}: {keys:?}");
    }
    assert!(plan.alarms.iter().all(|alarm| (1..=1000).contains(&alarm.severity(&plan))));
    let limit = Alarm::Limit(0);
    assert_eq!((limit.severity(&plan), limit.severity_at(&plan, 4), limit.severity_at(&plan, 12)), (700, 500, 700));
}

#[test]
fn one_bus_off_is_one_alarm() {
    let lines = "[bus.a.message.Command]\nvital = \"a.Status\"\nfallback_on = \"t\"\n";
    let plan = plan(&toml(lines, FOUR), FILES);
    let causes = |alarm: Alarm| -> Vec<String> {
        let causes = plan.causes(plan.alarm(alarm).unwrap());
        causes.iter().map(|cause| plan.alarms[*cause].key(&plan)).collect()
    };
    let message = |name: &str| (0..plan.messages.len()).find(|at| plan.message_name(*at, None) == name).unwrap();
    let bus = ["interface_gone:a", "bus_off:a", "bus_errors:a"];
    assert_eq!(causes(Alarm::Late(message("a.Status"))), bus);
    let fallback = causes(Alarm::Fallback(message("a.Command")));
    for cause in bus.iter().chain(&["late:a.Status", "protection:a.Status", "foreign_sender:a.Command", "alarm:t"]) {
        assert!(fallback.iter().any(|known| known == cause), "{cause}: {fallback:?}");
    }
    assert!(causes(Alarm::NotArmed).contains(&"fallback:a.Command".to_owned()));
    for (index, _) in plan.alarms.iter().enumerate() {
        // nothing follows from itself, over however many steps
        let mut reached = vec![index];
        let mut at = 0;
        while let Some(alarm) = reached.get(at).copied() {
            at += 1;
            for cause in plan.causes(alarm) {
                assert_ne!(*cause, index);
                if !reached.contains(cause) {
                    reached.push(*cause);
                }
            }
        }
    }
}

#[test]
fn what_check_says_about_alarms() {
    let alarms = "[alarm.t]\ntag = \"a.Status.Temp\"\nhi = 230\nlolo = 10\nhysteresis = 2\non_delay_ms = 500\nexclusive = false\nseverity = { hi = 900 }\ntext = \"Hot\"\narea = \"Infeed\"\n[alarm.door]\nwhen = [\"a.Status.Door == 'Open'\", \"a.Command.Fan > 0\"]\noff_delay_ms = 20\n";
    let lines = "message.Command.fallback_on = [\"t.hi\", \"door\", \"t.lolo\"]\n";
    let sources = Sources::embedded("x.toml", &toml(lines, alarms), &[("x.dbc", DBC.as_bytes())]);
    let loaded = load(&sources, LoadOptions::default()).unwrap_or_else(|e| panic!("{e:#?}"));
    let summary = check::summary(&loaded);
    for line in [
        "alarm t: a.Status.Temp lolo 10 (severity 700), hi 230 (severity 900); hysteresis 2; levels together; after 500 ms; area Infeed; \"Hot\"",
        "alarm door: while a.Status.Door == 0 and a.Command.Fan > 0 (severity 500); ends after 20 ms; \"a.Status.Door == 0 and a.Command.Fan > 0\"",
        "  a.Command falls back on t.hi, door, t.lolo",
    ] {
        assert!(summary.lines().any(|said| said == line), "no {line} in\n{summary}");
    }
}

#[test]
fn alarms_are_part_of_what_the_machine_is() {
    let hash = |alarms: &str| plan(&toml("", alarms), FILES).hash;
    let others = [
        String::new(),
        FOUR.replace("230", "231"),
        FOUR.replace("hysteresis = 2", "hysteresis = 1"),
        format!("{FOUR}severity = 4"),
        format!("{FOUR}text = \"Hot\""),
        format!("{FOUR}exclusive = false"),
    ];
    for other in others {
        assert_ne!(hash(FOUR), hash(&other), "{other}");
        let (old, new) = (plan(&toml("", FOUR), FILES), plan(&toml("", &other), FILES));
        assert!(diff::difference(&old, &new).contains("alarm t"), "{other}");
    }
}

/// What `check` says about wrong keys of this part; lines counted from the first behind the bus.
#[test]
fn mistakes_in_alarms() {
    let bus = "[bus.a]\nvirtual = true\ndbc = [\"plant.dbc\"]\nnode = \"Canvoy\"\ntransmit = [\"DriveCommand\", \"OvenCommand\"]\n";
    let files = [("plant.dbc", include_str!("../fixtures/config/plant.dbc"))];
    crate::control_routes::mistakes(include_str!("../fixtures/config/alarms.txt"), bus, &files);
}
