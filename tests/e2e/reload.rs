//! Other configurations while the machine runs: no cycle and no routed frame is missed, no client is disconnected, bad files
//! change nothing, and one that can't keep its times is taken back.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::canvoy::{CANVOY, Canvoy, get};
use crate::harness::{LIMIT, Process, poll, signal};
use crate::operate::{ask, text};
use crate::peer::Peer;

crate::tests! {
    Nothing: no_cycle_and_no_routed_frame_is_missed, bad_files_change_nothing, outputs_enter_at_their_fallback_values,
        a_configuration_waits_for_its_moment, what_misses_its_times_is_taken_back, only_the_plant_side_is_touched;
    Tools: clients_stay_connected;
}

/// How often the configuration changes.
const RELOADS: usize = 100;
/// So many at a time, then as long none.
const BLOCK: usize = 10;

/// Sent each millisecond, with a counter that shows each cycle; received each two, and routed.
const A: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Command: 8 Us
 SG_ Setpoint : 0|16@1+ (0.5,0) [0|3000] "rpm" Drive
 SG_ Cycle : 32|16@1+ (1,0) [0|65535] "" Drive
BO_ 257 Lamp: 2 Us
 SG_ Lit : 0|8@1+ (1,0) [0|255] "" Drive
 SG_ Colour : 8|8@1+ (1,0) [0|255] "" Drive
BO_ 512 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|3000] "rpm" Us
 SG_ Beat : 16|16@1+ (1,0) [0|65535] "" Us
CM_ BO_ 512 "As the drive is.";
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 1;
BA_ "GenMsgCycleTime" BO_ 257 10;
BA_ "GenMsgCycleTime" BO_ 512 2;
"#;

const PLANT: &str = r#"[machine]
arm = "at-start"
reload_trial_s = 0

[bus.a]
virtual = true
dbc = ["a.dbc"]
node = "Us"
transmit = "all"
writable = ["Command.Setpoint", "Lamp.Lit"]

[bus.a.protection.Command]
scheme = "plain"
counter = "Cycle"

[bus.b]
virtual = true

[route.through]
from = "a"
to = "b"
ids = ["200"]
budget_us = 50000
"#;

fn start() -> Canvoy {
    start_with(PLANT)
}

fn start_with(plant: &str) -> Canvoy {
    Canvoy::run(plant, &[("a.dbc", A)], &["--simulate"])
}

/// What is written anew: the configuration with other lines for the machine, and the DBC file.
struct Files {
    opcua_and_http: String,
}

impl Files {
    fn of(canvoy: &Canvoy) -> Files {
        let text = std::fs::read_to_string(canvoy.folder.path().join("plant.toml")).expect("the configuration");
        let at = text.find("\n[opcua]").expect("a section [opcua]");
        Files { opcua_and_http: text[at..].to_owned() }
    }

    fn write(&self, canvoy: &Canvoy, plant: &str, dbc: &str) {
        // each at once, as an editor or a package does
        for (name, text) in [("a.dbc", dbc), ("plant.toml", &format!("{plant}{}", self.opcua_and_http))] {
            let path = canvoy.folder.path();
            std::fs::write(path.join("next"), text).expect("write a file");
            std::fs::rename(path.join("next"), path.join(name)).expect("put it in place");
        }
    }
}

/// `canvoy monitor`, of all buses.
fn watch(canvoy: &Canvoy) -> Process {
    let mut command = Command::new(CANVOY);
    command.arg("monitor").env("XDG_RUNTIME_DIR", canvoy.folder.path()).env("TMPDIR", canvoy.folder.path());
    Process::spawn(command)
}

fn hash(canvoy: &Canvoy) -> String {
    let status = ask(canvoy, &["status", "--json"]);
    let json: Value = serde_json::from_slice(&status.stdout).unwrap_or_else(|_| panic!("{}", text(&status)));
    json["controller"]["configuration_hash"].as_str().unwrap_or_else(|| panic!("no hash in {json}")).to_owned()
}

fn reload(canvoy: &Canvoy) -> Output {
    let output = ask(canvoy, &["reload"]);
    assert!(output.status.success(), "{:?} {}", output.status, text(&output));
    output
}

/// As `systemctl reload` does; waits until `words` are in the log once more.
fn hang_up(canvoy: &Canvoy, words: &str) {
    let count = || canvoy.process.errors().matches(words).count();
    let before = count();
    signal(canvoy.part("controller"), libc::SIGHUP);
    poll(&format!("in the log: {words}"), LIMIT, || (count() > before).then_some(()));
}

/// Another configuration, the same machine: `number` says which.
fn variant(number: usize) -> (String, String) {
    let changed = match number % 6 {
        // a message in front of all others: every index moves
        1 => (
            PLANT.into(),
            A.replacen("BO_ 256", "BO_ 16 Aaa: 8 Drive\n SG_ Any : 0|8@1+ (1,0) [0|255] \"\" Us\nBO_ 256", 1),
        ),
        // a bus in front of all others
        2 => (PLANT.replace("[bus.b]", "[bus.\"0\"]\nvirtual = true\n[bus.b]"), A.into()),
        3 => (format!("{PLANT}[route.another]\nfrom = \"b\"\nto = \"a\"\nids = [\"333\"]\n"), A.into()),
        4 => (PLANT.replace("\"Lamp.Lit\"", "\"Lamp.Colour\""), A.into()),
        5 => (PLANT.into(), A.replace("As the drive is.", "As the drive was.")),
        _ => (PLANT.into(), A.into()),
    };
    assert!(number.is_multiple_of(6) || changed != (PLANT.into(), A.into()), "variant {number}");
    changed
}

/// What the monitor saw: when each Command left and which it was; and what came on bus a and went out on bus b.
#[derive(Default)]
struct Seen {
    cycles: Vec<(f64, u16)>,
    came: Vec<String>,
    went: Vec<String>,
}

fn seen(log: &str) -> Seen {
    let mut seen = Seen::default();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [time, bus, frame, way] = words[..] else { continue };
        match (bus, frame.split_once('#'), way) {
            ("a", Some(("100", payload)), "T") => {
                let time = time.trim_matches(['(', ')']).parse().expect("a time");
                let count = u16::from_str_radix(&payload[8..12], 16).expect("a counter").swap_bytes();
                seen.cycles.push((time, count));
            }
            ("a", Some(("200", payload)), "R") => seen.came.push(payload.to_owned()),
            ("b", Some(("200", payload)), "T") => seen.went.push(payload.to_owned()),
            _ => {}
        }
    }
    seen
}

/// Periods of more than two cycles: at least one was left out; those that were not one after the other by their counter;
/// and the longest.
fn periods(cycles: &[(f64, u16)]) -> (usize, usize, f64) {
    let pairs = || cycles.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1.wrapping_sub(pair[0].1)));
    let long = pairs().filter(|(period, _)| *period > 0.002).count();
    let jumps = pairs().filter(|(_, step)| *step != 1).count();
    (long, jumps, pairs().map(|(period, _)| period).fold(0.0, f64::max))
}

fn no_cycle_and_no_routed_frame_is_missed() {
    let canvoy = start();
    let files = Files::of(&canvoy);
    let controller = canvoy.part("controller");
    let mut monitor = watch(&canvoy);
    monitor.wait_output("frames", |log| (seen(log).cycles.len() > 100).then_some(()));
    // in turns with as long without: a computer that stalls by itself does so in both
    let (mut busy, mut quiet, mut cycles) = (Vec::new(), Vec::new(), 0..0);
    let mut next_part = |monitor: &Process| {
        cycles = cycles.end..seen(&monitor.output()).cycles.len();
        cycles.clone()
    };
    next_part(&monitor);
    let started = Instant::now();
    for block in 0..RELOADS / BLOCK {
        let begin = Instant::now();
        for number in (block * BLOCK + 1)..=(block + 1) * BLOCK {
            let (plant, dbc) = variant(number);
            files.write(&canvoy, &plant, &dbc);
            match number % 10 {
                0 => hang_up(&canvoy, "controller INFO  another configuration is in force"),
                _ => drop(reload(&canvoy)),
            }
        }
        busy.push(next_part(&monitor));
        let took = begin.elapsed();
        while begin.elapsed() < 2 * took {
            ask(&canvoy, &["reload", "--dry-run"]);
        }
        quiet.push(next_part(&monitor));
    }
    let took = started.elapsed();
    let log = monitor.output();
    assert_eq!(controller, canvoy.part("controller"));
    assert!(!monitor.errors().contains("not seen"), "{}", monitor.errors());
    let Seen { cycles, came, went } = seen(&log);
    let sum = |parts: &[std::ops::Range<usize>]| {
        let found: Vec<_> = parts.iter().map(|part| periods(&cycles[part.clone()])).collect();
        let long: usize = found.iter().map(|(long, ..)| long).sum();
        (long, found.iter().map(|(.., longest)| *longest).fold(0.0, f64::max))
    };
    let (busy, quiet) = (sum(&busy), sum(&quiet));
    println!(
        "{RELOADS} reloads in {took:.1?}, half of it: {} periods late by more than one cycle, longest {:.3} ms; without: {}, \
         {:.3} ms; {} cycles, {} frames routed",
        busy.0,
        busy.1 * 1000.0,
        quiet.0,
        quiet.1 * 1000.0,
        cycles.len(),
        went.len()
    );
    assert_eq!(periods(&cycles).1, 0, "each cycle counts on by one");
    // a change that costs a cycle costs one each time
    assert!(busy.0 <= 2 * quiet.0 + RELOADS / 2, "{busy:?} with reloads, {quiet:?} without");
    // none lost, none twice, none in another order; the last may be on its way
    assert!(came.len() > 1000 && came.len().abs_diff(went.len()) <= 1, "{} came, {} went", came.len(), went.len());
    assert!(came.iter().zip(&went).all(|(came, went)| came == went), "a routed frame is another one");
}

/// Nothing but the hash and the words of a refusal are looked at.
struct Bad {
    name: &'static str,
    /// In the configuration: what is there, and what instead.
    plant: (&'static str, &'static str),
    /// The same in the DBC file.
    dbc: (&'static str, &'static str),
    /// Where the mistake is: file and line; the column follows.
    place: &'static str,
    words: &'static str,
}

const fn plant(
    name: &'static str,
    from: &'static str,
    to: &'static str,
    place: &'static str,
    words: &'static str,
) -> Bad {
    Bad { name, plant: (from, to), dbc: ("", ""), place, words }
}

const fn dbc(
    name: &'static str,
    from: &'static str,
    to: &'static str,
    place: &'static str,
    words: &'static str,
) -> Bad {
    Bad { name, plant: ("", ""), dbc: (from, to), place, words }
}

#[rustfmt::skip]
const BAD: &[Bad] = &[
    plant("TOML", "virtual = true", "virtual = ", "plant.toml:6:", ""),
    plant("a key that nobody knows", "node =", "nodes =", "plant.toml:8:", "nodes"),
    plant("another type", "virtual = true", "virtual = 3", "plant.toml:6:", "true or false"),
    plant("no such DBC file", "a.dbc", "c.dbc", "plant.toml:7:", "c.dbc"),
    plant("a folder for a DBC file", "a.dbc", ".", "plant.toml:7:", ""),
    plant("no such node", "\"Us\"", "\"Them\"", "plant.toml:8:", "Them"),
    plant("no such message", "\"all\"", "[\"Comand\"]", "plant.toml:9:", "Comand"),
    plant("no such signal", "Command.Setpoint", "Command.Setpiont", "plant.toml:10:", "Setpiont"),
    plant("no such bus", "to = \"b\"", "to = \"c\"", "plant.toml:21:", "c"),
    plant("a route to itself", "to = \"b\"", "to = \"a\"", "plant.toml:", ""),
    plant("a circle of routes", "budget_us = 50000", "[route.back]\nfrom = \"b\"\nto = \"a\"\nids = [\"200\"]", "plant.toml:", ""),
    plant("fallback out of range", "[bus.b]", "[bus.a.message.Command]\nfallback = { Setpoint = 9999 }\n[bus.b]", "plant.toml:17:", "9999"),
    plant("a condition", "arm =", "reload_when = \"a.Status.Speed =\"\narm =", "plant.toml:2:", ""),
    plant("include", "[machine]", "include = [\"nothing.toml\"]\n[machine]", "plant.toml:1:", "nothing.toml"),
    plant("a variable that is nowhere", "\"a.dbc\"", "\"${nothing}.dbc\"", "plant.toml:7:", "nothing"),
    plant("protection", "scheme = \"plain\"", "scheme = \"plane\"", "plant.toml:13:", "plane"),
    plant("a checksum signal that is not there", "counter = \"Cycle\"", "counter = \"Cycles\"", "plant.toml:14:", "Cycles"),
    plant("a trial of a day", "reload_trial_s = 0", "reload_trial_s = 86400", "plant.toml:3:", "reload_trial_s"),
    plant("an overlay that is not there", "node = ", "overlay = [\"nothing.csv\"]\nnode = ", "plant.toml:8:", "nothing.csv"),
    plant("an overlay with an unknown signal", "node = ", "overlay = [\"overlay.csv\"]\nnode = ", "overlay.csv:2:", "Nothing"),
    plant("devices that collide", "[bus.b]", "[bus.a.device.x]\ndbc = [\"a.dbc\"]\ninstances = [{ name = \"x\" }, { name = \"y\" }]\n[bus.b]", "plant.toml:1", ""),
    dbc("a message that can't be read", "Command: 8 Us", "Command 8 Us", "plant.toml:10:", "Command.Setpoint"),
    dbc("a signal outside of its message", "0|16@1+ (0.5,0) [0|3000] \"rpm\" Drive", "60|16@1+ (0.5,0) [0|3000] \"rpm\" Drive", "plant.toml:10:", "Setpoint"),
    dbc("one identifier twice", "BO_ 257", "BO_ 256", "plant.toml:10:", "has the same identifier 100"),
];

fn bad_files_change_nothing() {
    let canvoy = start();
    let files = Files::of(&canvoy);
    std::fs::write(canvoy.folder.path().join("overlay.csv"), "tag,alias\nStatus.Nothing,x\n").expect("an overlay");
    let before = hash(&canvoy);
    let sent = || canvoy.metric("can_bus_transmitted_frames_total{bus=\"a\"}");
    assert!(BAD.len() >= 20);
    let mut wrong = Vec::new();
    for Bad { name, plant, dbc, place, words } in BAD {
        for (text, part) in [(PLANT, plant.0), (A, dbc.0)] {
            assert!(text.contains(part), "{name}: nothing to change");
        }
        let change = |text: &str, (from, to): (&str, &str)| match from {
            "" => text.to_owned(),
            from => text.replacen(from, to, 1),
        };
        files.write(&canvoy, &change(PLANT, *plant), &change(A, *dbc));
        let refused = ask(&canvoy, &["reload"]);
        let said = text(&refused);
        let placed = |text: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(place)).map(|(_, rest)| rest);
            lines.any(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
        };
        if refused.status.code() != Some(78) || !placed(&said) || !said.contains(words) {
            wrong.push(format!("{name}: canvoy reload: {:?}, wanted {place}, {words}: {said}", refused.status.code()));
            continue;
        }
        let length = canvoy.process.errors().len();
        hang_up(&canvoy, "the new configuration can't be used, nothing was changed");
        let in_time = Instant::now();
        while !placed(&canvoy.process.errors()[length..]) && in_time.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = canvoy.process.errors();
        if !placed(&log[length..]) || !log[length..].contains(words) {
            wrong.push(format!("{name}: the log, wanted {place}, {words}: {}", &log[length..]));
        }
        let frames = sent();
        poll("the machine to go on", LIMIT, || (sent() > frames).then_some(()));
        if hash(&canvoy) != before {
            wrong.push(format!("{name}: another configuration is in force"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // files that can't be read at all, by whatever is there in their place
    let path = canvoy.folder.path().join("plant.toml");
    for (name, bytes) in [("not UTF-8", b"[machine]\n# \xff\xfe\n".to_vec()), ("too large", vec![b'#'; 80 << 20])] {
        std::fs::write(&path, bytes).expect("write");
        let refused = ask(&canvoy, &["reload"]);
        assert_eq!(refused.status.code(), Some(78), "{name}: {}", text(&refused));
        assert!(text(&refused).contains("plant.toml"), "{name}: {}", text(&refused));
        hang_up(&canvoy, "the new configuration can't be used, nothing was changed");
        assert_eq!(hash(&canvoy), before, "{name}");
    }
    std::fs::remove_file(&path).expect("remove");
    for name in ["gone", "a folder"] {
        let refused = ask(&canvoy, &["reload"]);
        assert_eq!(refused.status.code(), Some(78), "{name}: {}", text(&refused));
        hang_up(&canvoy, "the new configuration can't be used, nothing was changed");
        assert_eq!(hash(&canvoy), before, "{name}");
        let _ = std::fs::create_dir(&path);
    }
    std::fs::remove_dir(&path).expect("remove");
    let (plant, dbc) = variant(1);
    files.write(&canvoy, &plant, &dbc);
    reload(&canvoy);
    assert_ne!(hash(&canvoy), before, "a good one is taken after all of them");
}

fn fallbacks(canvoy: &Canvoy) -> String {
    text(&ask(canvoy, &["status"]))
}

fn outputs_enter_at_their_fallback_values() {
    for (arm, by_itself) in [("at-start", true), ("by-hand", false)] {
        let listens = "[bus.a]\nlisten_ms = 300\n";
        let plant = PLANT.replace("at-start", arm).replace("[bus.a]\n", listens);
        let canvoy = start_with(&plant);
        let files = Files::of(&canvoy);
        if !by_itself {
            assert!(ask(&canvoy, &["arm"]).status.success());
        }
        poll("armed", LIMIT, || fallbacks(&canvoy).contains("outputs armed").then_some(()));
        // another fallback value: the message enters anew, with it
        let changed = plant.replace("[bus.b]", "[bus.a.message.Command]\nfallback = { Setpoint = 1200 }\n[bus.b]");
        files.write(&canvoy, &changed, A);
        let mut monitor = watch(&canvoy);
        monitor.wait_output("cycles", |log| log.contains(" a 100#").then_some(()));
        assert!(text(&reload(&canvoy)).contains("Command"));
        // 1200 rpm of half a rpm each
        monitor.wait_output("its fallback value", |log| log.contains(" a 100#6009").then_some(()));
        let waits = |status: &str| status.contains("the message has its fallback values until armed again");
        if by_itself {
            poll("armed by itself", LIMIT, || (!waits(&fallbacks(&canvoy))).then_some(()));
        } else {
            assert!(waits(&fallbacks(&canvoy)), "{}", fallbacks(&canvoy));
            assert!(ask(&canvoy, &["arm"]).status.success());
            poll("armed by hand", LIMIT, || (!waits(&fallbacks(&canvoy))).then_some(()));
        }
    }
}

fn a_configuration_waits_for_its_moment() {
    // forced values say when the machine stands
    let waits = PLANT
        .replace("arm =", "reload_when = \"a.Status.Speed == 0\"\narm =")
        .replace("[bus.b]", "forcible = [\"Status.Speed\"]\n[bus.b]")
        .replace(
            "writable = [\"Command.Setpoint\", \"Lamp.Lit\"]",
            "writable = [\"Command.Setpoint\", \"Lamp.Lit\"]\nforcible = [\"Status.Speed\"]",
        )
        .replacen("forcible = [\"Status.Speed\"]\n[bus.b]", "[bus.b]", 1);
    let canvoy = start_with(&waits);
    let files = Files::of(&canvoy);
    let force = |value: &str| {
        let output = ask(&canvoy, &["force", "a.Status.Speed", value, "--for", "10m"]);
        assert!(output.status.success(), "{}", text(&output));
    };
    force("100");
    let before = hash(&canvoy);
    files.write(&canvoy, &waits.replace("\"Lamp.Lit\"", "\"Lamp.Colour\""), A);
    // looked at and left alone
    assert!(text(&ask(&canvoy, &["reload", "--dry-run"])).contains("Lamp"));
    assert!(text(&reload(&canvoy)).contains("a.Status.Speed"), "it says what it waits for");
    assert_eq!(hash(&canvoy), before);
    assert!(text(&ask(&canvoy, &["reload", "--cancel"])).contains("cancelled"));
    poll("given up", LIMIT, || canvoy.process.errors().contains("given up").then_some(()));
    force("0");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(hash(&canvoy), before, "it was cancelled");
    assert_eq!(ask(&canvoy, &["reload", "--cancel"]).status.code(), Some(69), "nothing waits");
    force("100");
    reload(&canvoy);
    assert_eq!(hash(&canvoy), before);
    force("0");
    poll("it takes effect by itself", LIMIT, || (hash(&canvoy) != before).then_some(()));
}

fn what_misses_its_times_is_taken_back() {
    let canvoy = start();
    let files = Files::of(&canvoy);
    let before = hash(&canvoy);
    const ALARM: &str = "the configuration before is in force again: the new one missed its times";
    // nobody keeps a microsecond
    let hurried = PLANT
        .replace("reload_trial_s = 0", "reload_trial_s = 20")
        .replace("[bus.b]", "[bus.a.message.Command]\nbudget_ms = 0.001\n[bus.b]");
    files.write(&canvoy, &hurried, A);
    reload(&canvoy);
    poll("the configuration before", LIMIT, || {
        let log = canvoy.process.errors();
        (log.contains("the new configuration missed its times") && hash(&canvoy) == before).then_some(())
    });
    let status = || text(&ask(&canvoy, &["status"]));
    poll("the alarm", LIMIT, || status().contains(ALARM).then_some(()));
    poll("the alarm as a metric", LIMIT, || {
        let active = |line: &str| line.contains("taken_back") && line.ends_with(" 1");
        canvoy.metrics().lines().any(active).then_some(())
    });
    let (_, page) = get(&canvoy.http, "/api/v1/tags").expect("the page");
    assert!(page.contains(&before) || page.contains(&before[..8]), "the hash in force: {page}");
    // whoever arms has seen it
    assert!(ask(&canvoy, &["arm"]).status.success());
    poll("no alarm", LIMIT, || (!status().contains(ALARM)).then_some(()));
    files.write(&canvoy, &hurried, A);
    reload(&canvoy);
    poll("the alarm again", LIMIT, || status().contains(ALARM).then_some(()));
    // a good one ends it
    files.write(&canvoy, &variant(4).0, A);
    reload(&canvoy);
    poll("no alarm", LIMIT, || (!status().contains(ALARM)).then_some(()));
}

fn only_the_plant_side_is_touched() {
    let canvoy = start();
    let files = Files::of(&canvoy);
    let (controller, before) = (canvoy.part("controller"), hash(&canvoy));
    let sent = || canvoy.metric("can_bus_transmitted_frames_total{bus=\"a\"}").unwrap_or(0.0);
    poll("frames", LIMIT, || (sent() > 100.0).then_some(()));
    let other = files.opcua_and_http.replace("[http]", "anonymous_read = true\n\n[http]");
    let frames = sent();
    std::fs::write(canvoy.folder.path().join("plant.toml"), format!("{PLANT}{other}")).expect("write");
    reload(&canvoy);
    assert_eq!((canvoy.part("controller"), hash(&canvoy)), (controller, before));
    poll("its cycles", LIMIT, || (sent() > frames).then_some(()));
}

/// Reads, writes, and a subscription over many reloads: the same session, and never anything but good values.
fn clients_stay_connected() {
    const STAYS: &str = "a.Status.Speed";
    const COMES_AND_GOES: &str = "a.Aaa.Any";
    let canvoy = start();
    let files = Files::of(&canvoy);
    let mut peers = [("asyncua", Peer::asyncua()), ("node-opcua", Peer::node_opcua())];
    let (plant, dbc) = variant(1);
    files.write(&canvoy, &plant, &dbc);
    reload(&canvoy);
    for (name, peer) in &mut peers {
        peer.connect(&canvoy);
        peer.ask(json!({"do": "subscribe", "nodes": [STAYS, COMES_AND_GOES], "interval": 20}));
        peer.read_until(STAYS, &format!("good for {name}"), |value| value["value"].is_number());
    }
    assert_eq!(peers[0].1.write("a.Command.Setpoint", 700.0), "Good");
    for (_, peer) in &mut peers {
        peer.read_until(STAYS, "good", |value| value["status"].as_u64().is_some_and(|status| status >> 30 == 0));
        peer.ask(json!({"do": "changes"}));
    }
    for number in 2..=25 {
        let (plant, dbc) = variant(number);
        files.write(&canvoy, &plant, &dbc);
        reload(&canvoy);
        let vanished = number % 6 != 1;
        for (name, peer) in &mut peers {
            let wanted = |value: &Value| {
                let status = value["status"].as_u64().unwrap_or(u64::MAX);
                (status >> 30 == 2) == vanished
            };
            peer.read_until(COMES_AND_GOES, &format!("as variant {number} has it, for {name}"), wanted);
            let kept = peer.read("a.Command.Setpoint");
            assert_eq!(kept["value"], json!(700.0), "{name}, {number}: {kept}");
        }
    }
    for (name, peer) in &mut peers {
        let mut changes = Vec::new();
        let mut losses = json!(0);
        poll("values of the last configuration", LIMIT, || {
            let seen = peer.ask(json!({"do": "changes"}));
            losses = seen["losses"].clone();
            changes.extend(seen["changes"].as_array().cloned().unwrap_or_default());
            (changes.len() > 200).then_some(())
        });
        assert_eq!(losses.as_f64(), Some(0.0), "{name}: the connection");
        let of = |node: &str| changes.iter().filter(|change| change["node"] == node).cloned().collect::<Vec<_>>();
        let good = |change: &Value| change["status"].as_u64().is_some_and(|status| status >> 30 == 0);
        let bad: Vec<Value> = of(STAYS).into_iter().filter(|change| !good(change)).collect();
        assert!(of(STAYS).len() > 100 && bad.is_empty(), "{name}: {} values, {bad:?}", of(STAYS).len());
        let returned = of(COMES_AND_GOES);
        assert!(returned.iter().any(good) && !returned.iter().all(good), "{name}: {returned:?}");
    }
}
