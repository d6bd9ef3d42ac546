//! Configured counters and checksums: what a section means, and what is said about a wrong one.

use canvoy::can::Frame;
use canvoy::config::{LoadOptions, Loaded, Sources, load};
use canvoy::dbc::Raw;
use canvoy::diagnostic::Diagnostic;
use canvoy::plan::{Direction, Message, Plan};
use canvoy::protection::{Checker, Protection, Scheme, StateMachine};
use canvoy::quality::Cause;
use canvoy::sim::demo::{CONFIG, DBC, Plant};
use canvoy::sim::playback::Player;

const MACHINE: &[u8] = include_bytes!("../fixtures/protection/machine.dbc");
const BUS: &str = "[bus.a]\nvirtual = true\ndbc = [\"machine.dbc\"]\nnode = \"Canvoy\"\n";

fn load_text(toml: &str) -> Result<Loaded, Vec<Diagnostic>> {
    load(&Sources::embedded("p.toml", toml, &[("machine.dbc", MACHINE)]), LoadOptions::default())
}

fn said(loaded: Result<Loaded, Vec<Diagnostic>>) -> String {
    let diagnostics = loaded.map(|loaded| loaded.diagnostics).unwrap_or_else(|mistakes| mistakes);
    let lines = diagnostics.iter().map(|d| d.to_string().lines().next().unwrap_or_default().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// mistakes.txt: `=== what`, the sections of [bus.a.protection], `---`, and everything that must be said about them. Line 6 of
/// the configuration is the first of them.
#[test]
fn mistakes_are_reported_together_with_their_places() {
    let mut differing = String::new();
    for case in include_str!("../fixtures/protection/mistakes.txt").split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (sections, expected) = rest.split_once("---\n").unwrap();
        let said = said(load_text(&format!("{BUS}[bus.a.protection]\n{sections}")));
        if said != expected.trim_end() || said.is_empty() {
            differing.push_str(&format!("=== {name}\n{sections}---\n{said}\n"));
        }
    }
    assert!(differing.is_empty(), "said otherwise:\n{differing}");
}

/// The scheme in short, its signals, and what is not as usual.
fn described(message: &Message) -> String {
    let Some(protection) = &message.protection else { return format!("{}: none", message.message.name) };
    let Protection { scheme, length, max_delta, state, signals } = protection;
    let signals: Vec<&str> = signals.iter().map(|signal| message.message.signals[*signal].name.as_str()).collect();
    let scheme = match scheme {
        Scheme::Plain { counter, checksum } => {
            let counter = counter.map(|counter| format!(" counts to {}", counter.modulus));
            let checksum = checksum.as_ref().map(|sum| {
                let (initial, xor) = (sum.initial, sum.final_xor);
                format!(" {:?} {:?} {initial:x} {xor:x} {:?} {:?}", sum.algorithm, sum.covers, sum.before, sum.after)
            });
            format!("plain{}{}", counter.unwrap_or_default(), checksum.unwrap_or_default())
        }
        other => format!("{other:?}"),
    };
    let state = if *state == StateMachine::USUAL { String::new() } else { format!(", {state:?}") };
    format!("{}: {scheme}, {length} bytes, max {max_delta}, {}{state}", message.message.name, signals.join(" "))
}

#[track_caller]
fn check_plan(sections: &str, expected: &[&str]) {
    let toml = format!("{BUS}[bus.a.protection]\n{sections}");
    let loaded = load_text(&toml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let described: Vec<String> =
        loaded.plan.messages.iter().filter(|message| message.protection.is_some()).map(described).collect();
    assert_eq!(described, expected, "{toml}");
}

#[test]
fn plain_schemes() {
    check_plan(
        "Status = { scheme = \"plain\", counter = \"Alive\", modulus = 15, checksum = \"Check\", algorithm = \"crc8-j1850\" }\n\
         Mixed = { scheme = \"plain\", counter = \"Whole\", max_delta = 254 }\n\
         Tail = { scheme = \"plain\", checksum = \"TailId\", algorithm = \"sum\", covers = [0, 5], initial = 0xF, final_xor = 1, before = [1, 2], after = [0xFF] }\n\
         Wide = { scheme = \"plain\", checksum = \"WideCrc\", algorithm = \"crc16-ccitt\" }\n\
         Short = { scheme = \"plain\", checksum = \"ShortValue\", algorithm = \"xor\", final_xor = 0x5A }\n",
        &[
            "Mixed: plain counts to 256, 8 bytes, max 254, Whole",
            "ShortMessageOfTheDriveAtTheEndOfTheLine: plain Xor Others 0 5a [] [], 2 bytes, max 1, ShortValue",
            "Status: plain counts to 15 Crc8J1850 Others ff ff [] [], 8 bytes, max 1, Alive Check",
            "Tail: plain Sum Bytes(0, 5) f 1 [1, 2] [255], 8 bytes, max 1, TailId",
            "Wide: plain Crc16Ccitt Others ffff 0 [] [], 12 bytes, max 1, WideCrc",
        ],
    );
}

#[test]
fn schemes_of_the_specifications() {
    check_plan(
        "Command = { scheme = \"e2e-1c\", data_id = 0xABC, max_delta = 3, sync_counter = 2, max_no_new_or_repeated = 4 }\n\
         Tail = { scheme = \"e2e-11\", data_id_mode = \"nibble\", data_id = 1, checksum = \"TailCrc\", counter = \"TailCounter\", data_id_nibble = \"TailId\" }\n\
         Wide = { scheme = \"e2e-5\", data_id = 0xFFFF, counter = \"WideCounter\" }\n\
         Long = { scheme = \"e2e-5\", data_id = 5, state_machine = { window_valid = 10, max_error_valid = 3, clear_to_invalid = true } }\n\
         TSC1 = { scheme = \"tsc1\", max_delta = 2 }\n",
        &[
            "Command: Profile1 { crc: 0, counter: Nibble { byte: 1, high: false }, data_id: Nibble(2748, Nibble { byte: 1, high: true }), resync: Resync { max_no_new_or_repeated: 4, sync_counter: 2 } }, 8 bytes, max 3, CommandCrc CommandCounter CommandId",
            "Long: Profile5 { header: 0, data_id: 5 }, 48 bytes, max 1, , StateMachine { window_init: 2, window_valid: 10, window_invalid: 2, min_ok_init: 1, max_error_init: 0, min_ok_valid: 1, max_error_valid: 3, min_ok_invalid: 2, max_error_invalid: 0, clear_to_invalid: true }",
            "TSC1: Tsc1, 8 bytes, max 2, MessageCounter MessageChecksum",
            "Tail: Profile11 { crc: 6, counter: Nibble { byte: 7, high: false }, data_id: Nibble(1, Nibble { byte: 7, high: true }) }, 8 bytes, max 1, TailCrc TailCounter TailId",
            "Wide: Profile5 { header: 4, data_id: 65535 }, 12 bytes, max 1, WideCrc WideCounter",
        ],
    );
    let list = "data_ids = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]";
    let ids = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]";
    check_plan(
        &format!(
            "Command = {{ scheme = \"e2e-2\", {list} }}\nTail = {{ scheme = \"e2e-22\", checksum = \"TailCrc\", {list} }}\n\
             Status = {{ scheme = \"e2e-1\", data_id_mode = \"alternating\", data_id = 9, checksum = \"Check\", counter = \"Alive\" }}\n"
        ),
        &[
            &format!(
                "Command: Profile2 {{ data_ids: {ids}, resync: Resync {{ max_no_new_or_repeated: 15, sync_counter: 1 }} }}, 8 bytes, max 1, CommandCrc CommandCounter"
            ),
            "Status: Profile1 { crc: 7, counter: Nibble { byte: 6, high: false }, data_id: Alternating(9), resync: Resync { max_no_new_or_repeated: 15, sync_counter: 1 } }, 8 bytes, max 1, Alive Check",
            &format!("Tail: Profile22 {{ header: 6, data_ids: {ids} }}, 8 bytes, max 1, TailCrc TailCounter"),
        ],
    );
}

/// What the scheme writes, the plant can't: not by name, and "all" leaves it out.
#[test]
fn what_a_scheme_writes_is_not_writable() {
    let sections = "[bus.a.protection]\nCommand = { scheme = \"e2e-1c\", data_id = 1 }\n";
    for (writable, expected) in [
        ("\"all\"", Ok("Setpoint Enable")),
        ("[\"Command.*\"]", Ok("Setpoint Enable")),
        ("[\"Command.Enable\"]", Ok("Enable")),
        (
            "[\"Command.Enable\", \"Command.CommandId\"]",
            Err(
                "p.toml:6:31: error: Command.CommandId can't be written: [bus.a.protection.Command] writes it with each frame",
            ),
        ),
    ] {
        let toml = format!("{BUS}transmit = [\"Command\"]\nwritable = {writable}\n{sections}");
        let loaded = load_text(&toml).map(|loaded| {
            let plan = &loaded.plan;
            let tags = plan.tags.iter().enumerate().filter(|(_, tag)| tag.writable);
            tags.map(|(tag, _)| plan.signal(tag).name.clone()).collect::<Vec<_>>().join(" ")
        });
        let got = loaded.map_err(|mistakes| mistakes.iter().map(|d| d.to_string()).collect::<String>());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert_eq!(got.lines().next(), Some(expected)),
            (got, expected) => panic!("{got:?} {expected:?}"),
        }
    }
}

/// Neither can a link, an interlock or an operator who forces it.
#[test]
fn what_a_scheme_writes_has_no_other_owner() {
    let bus = format!("{BUS}transmit = [\"Command\"]\n");
    let section = "[bus.a.protection]\nCommand = { scheme = \"e2e-1c\", data_id = 1 }\n";
    for (toml, expected) in [
        (
            format!("{bus}{section}[link.l]\nfrom = \"a.Status.Alive\"\nto = \"a.Command.CommandCounter\"\n"),
            "p.toml:10:6: error: a.Command.CommandCounter can't be the target of a link: [bus.a.protection.Command] writes it with each frame",
        ),
        (
            format!(
                "{bus}{section}[interlock.i]\nwhen = \"a.Status.Speed > 1\"\nset = {{ \"a.Command.CommandCrc\" = 0 }}\n"
            ),
            "p.toml:10:34: error: a.Command.CommandCrc can't be held: the message's protection writes it with each frame",
        ),
        (
            format!("{bus}forcible = [\"Command.*\", \"Command.CommandId\"]\n{section}"),
            "p.toml:6:26: error: Command.CommandId can't be forced: the message's protection writes it with each frame",
        ),
    ] {
        assert_eq!(said(load_text(&toml)), expected, "{toml}");
    }
    let loaded = load_text(&format!("{bus}forcible = [\"Command.*\", \"Status.*\"]\n{section}")).unwrap();
    let all = load_text(&format!("{bus}forcible = \"all\"\n{section}")).unwrap();
    for plan in [loaded.plan, all.plan] {
        let forcible =
            |name: &str| (0..plan.tags.len()).any(|tag| plan.signal(tag).name == name && plan.tags[tag].forcible);
        let names = ["CommandCrc", "CommandCounter", "CommandId", "Enable", "Alive"];
        assert_eq!(names.map(forcible), [false, false, false, true, true]);
    }
}

/// Two processes that differ in any of it must notice.
#[test]
fn the_hash_covers_the_protection() {
    let ids = |last: u8| format!("data_ids = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, {last}]");
    let mut seen = Vec::new();
    for section in [
        String::new(),
        "Status = { scheme = \"plain\", counter = \"Alive\" }".into(),
        "Status = { scheme = \"plain\", counter = \"Alive\", modulus = 15 }".into(),
        "Status = { scheme = \"plain\", counter = \"Alive\", max_delta = 2 }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"xor\" }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"sum\" }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"sum\", covers = [0, 6] }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"sum\", initial = 1 }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"sum\", final_xor = 1 }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"sum\", before = [1] }".into(),
        "Status = { scheme = \"plain\", checksum = \"Check\", algorithm = \"sum\", after = [1] }".into(),
        "Tail = { scheme = \"plain\", checksum = \"TailId\", algorithm = \"sum\" }".into(),
        "Tail = { scheme = \"plain\", checksum = \"TailCounter\", algorithm = \"sum\" }".into(),
        "Command = { scheme = \"e2e-1a\", data_id = 1 }".into(),
        "Command = { scheme = \"e2e-1a\", data_id = 2 }".into(),
        "Command = { scheme = \"e2e-1b\", data_id = 1 }".into(),
        "Command = { scheme = \"e2e-1c\", data_id = 1 }".into(),
        "Command = { scheme = \"e2e-1a\", data_id = 1, sync_counter = 2 }".into(),
        "Command = { scheme = \"e2e-1a\", data_id = 1, max_no_new_or_repeated = 2 }".into(),
        "Command = { scheme = \"e2e-1a\", data_id = 1, state_machine = { window_valid = 9 } }".into(),
        "Command = { scheme = \"e2e-1a\", data_id = 1, state_machine = { clear_to_invalid = true } }".into(),
        "Command = { scheme = \"e2e-11a\", data_id = 1 }".into(),
        format!("Command = {{ scheme = \"e2e-2\", {} }}", ids(16)),
        format!("Command = {{ scheme = \"e2e-2\", {} }}", ids(17)),
        format!("Command = {{ scheme = \"e2e-22\", {} }}", ids(16)),
        "Long = { scheme = \"e2e-5\", data_id = 1 }".into(),
        "Long = { scheme = \"e2e-5\", data_id = 256 }".into(),
        "TSC1 = { scheme = \"tsc1\" }".into(),
    ] {
        let toml = format!("{BUS}[bus.a.protection]\n{section}\n");
        let hash = load_text(&toml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan.hash;
        assert!(!seen.contains(&hash), "{section}");
        seen.push(hash);
    }
}

/// A desk test of a plant with protected messages must not look as if its devices were broken, and the demo's drive has the
/// counter and checksum that examples/line.toml says.
#[test]
fn simulated_devices_protect_their_messages() {
    let toml = format!(
        "{BUS}[bus.a.protection]\nTail = {{ scheme = \"e2e-1\", data_id_mode = \"nibble\", data_id = 0x321, checksum = \"TailCrc\", counter = \"TailCounter\", data_id_nibble = \"TailId\" }}\n\
         Status = {{ scheme = \"plain\", counter = \"Alive\", modulus = 15, checksum = \"Check\", algorithm = \"crc8-j1850\" }}\n\
         Wide = {{ scheme = \"e2e-5\", data_id = 7, checksum = \"WideCrc\" }}\n"
    );
    let plan = load_text(&toml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan;
    let mut player = Player::new(&plan);
    check_devices(&plan, 3, &mut |now, send| player.step(now, send));

    let plan = demo();
    let mut plant = Plant::new(&plan).unwrap();
    check_devices(&plan, 1, &mut |now, send| plant.step(now, send));
}

/// The plan of examples/line.toml.
fn demo() -> Plan {
    load(&Sources::embedded("line.toml", CONFIG, DBC), LoadOptions::default()).unwrap().plan
}

/// The faults of the demo's drive, chosen as an operator does it, and what its message is found to be after each frame.
#[test]
fn faults_of_the_demo_are_found() {
    let plan = demo();
    let message = |name: &str| plan.messages.iter().find(|message| message.message.name == name).unwrap();
    let (status, control) = (message("DriveStatus"), message("DemoControl"));
    let select = control.message.signals.iter().find(|signal| signal.name == "FaultSelect").unwrap();
    let mut plant = Plant::new(&plan).unwrap();
    let mut checker = Checker::new(status.protection.as_ref().unwrap());
    let mut now = 0;
    for (fault, cause) in [
        ("None", None),
        ("DriveCounterStuck", Some(Cause::Counter)),
        ("None", None),
        ("DriveChecksumWrong", Some(Cause::Checksum)),
        ("None", None),
    ] {
        let (raw, _) = select.value_table.iter().find(|(_, word)| word == fault).unwrap();
        let mut frame = Frame::classic(control.message.id, &vec![0; control.message.length.into()]).unwrap();
        select.codec.insert(Raw::Unsigned(*raw as u64), frame.payload_mut()).unwrap();
        plant.receive(control.bus, &frame);
        let mut causes = Vec::new();
        for _ in 0..100 {
            plant.step(now, &mut |bus, frame| {
                if (bus, frame.id) == (status.bus, status.message.id) {
                    causes.push(checker.check(frame.id, frame.payload()).cause());
                }
            });
            now += 1_000_000;
        }
        // the fault may begin and end between two frames
        assert!(causes.len() >= 9, "{fault}: {causes:?}");
        assert!(causes[3..].iter().all(|found| *found == cause), "{fault}: {causes:?}");
    }
}

/// Takes a frame of a bus.
type Take<'a> = &'a mut dyn FnMut(usize, &Frame);

/// All protected messages of a plan that are received, over three seconds.
fn check_devices(plan: &Plan, messages: usize, step: &mut dyn FnMut(u64, Take<'_>)) {
    let protected = plan.messages.iter().filter(|message| matches!(message.direction, Direction::Input(_)));
    let mut checkers: Vec<_> =
        protected.filter_map(|message| Some((message, Checker::new(message.protection.as_ref()?), 0))).collect();
    assert_eq!(checkers.len(), messages);
    for now in (0..3_000_000_000).step_by(1_000_000) {
        step(now, &mut |bus, frame| {
            let found = checkers.iter_mut().find(|(message, ..)| (message.bus, message.message.id) == (bus, frame.id));
            let Some((message, checker, count)) = found else { return };
            let verdict = checker.check(frame.id, frame.payload());
            assert!(verdict.cause().is_none(), "{} at {now}: {verdict:?}", message.message.name);
            assert!(verdict.usable() || *count == 0, "{} at {now}: {verdict:?}", message.message.name);
            *count += 1;
        });
    }
    assert!(checkers.iter().all(|(.., count)| *count > 5), "{checkers:?}");
}
