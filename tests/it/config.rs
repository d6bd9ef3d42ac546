//! Configuration: what a file means, and what is said about a wrong one.

use std::path::Path;

use canvoy::cli::{check, tags};
use canvoy::config::{LoadOptions, Loaded, SourceFile, Sources, load, read};
use canvoy::diagnostic::{Diagnostic, Severity};
use canvoy::plan::{Direction, Immediate, Interface, Message, Plan};
use proptest::prelude::*;

const PLANT: &[u8] = include_bytes!("../fixtures/config/plant.dbc");
const SECOND: &[u8] = include_bytes!("../fixtures/config/second.dbc");

fn sources(toml: &str) -> Sources {
    Sources::embedded("p.toml", toml, &[("plant.dbc", PLANT), ("second.dbc", SECOND), ("broken.dbc", b"nothing")])
}

fn load_text(toml: &str) -> Result<Loaded, Vec<Diagnostic>> {
    load(&sources(toml), LoadOptions::default())
}

/// Each diagnostic as a user sees it, without the excerpt.
fn said(loaded: Result<Loaded, Vec<Diagnostic>>) -> Vec<String> {
    let diagnostics = loaded.map(|loaded| loaded.diagnostics).unwrap_or_else(|mistakes| mistakes);
    diagnostics.iter().map(|d| d.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

/// mistakes.txt: `=== what`, a configuration, `---`, and everything that must be said about it.
#[test]
fn mistakes_are_reported_together_with_their_places() {
    let cases = include_str!("../fixtures/config/mistakes.txt");
    let mut differing = String::new();
    for case in cases.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (toml, expected) = rest.split_once("---\n").unwrap();
        let said = said(load_text(toml)).join("\n");
        if said != expected.trim_end() {
            differing.push_str(&format!("=== {name}\n{toml}---\n{said}\n"));
        }
    }
    assert!(differing.is_empty(), "said otherwise:\n{differing}");
}

/// What the plan says about each message, one line each.
fn described(plan: &Plan) -> Vec<String> {
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let line = |message: &Message| {
        let what = match &message.direction {
            Direction::Input(reception) => match reception.deadlines.first().copied().flatten() {
                None => "in, never late".to_owned(),
                Some(deadline) => format!("in, late after {}", ms(deadline)),
            },
            Direction::Output(t) => {
                let payload: String = t.start[..t.length].iter().map(|byte| format!("{byte:02x}")).collect();
                assert!(t.start[t.length..].iter().all(|byte| *byte == 0));
                let period = t.period.map_or("no cycle".into(), |period| format!("every {}", ms(period)));
                format!("out {payload}, {period}, first after {}", ms(t.start_delay))
            }
        };
        let tags: Vec<String> = plan.tags[message.tags.clone()]
            .iter()
            .map(|tag| {
                let name = &message.message.signals[tag.signal].name;
                let how = match tag.immediate {
                    Immediate::No => "",
                    Immediate::OnChange => "~",
                    Immediate::OnWrite => "!",
                };
                format!("{name}{how}{}", if tag.writable { "=w" } else { "" })
            })
            .collect();
        let records = message.first_record..message.first_record + message.records();
        format!("{}: {what}; {}; records {records:?}", message.message.name, tags.join(" "))
    };
    plan.messages.iter().map(line).collect()
}

#[track_caller]
fn check_plan(toml: &str, expected: &[&str]) {
    let loaded = load_text(toml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    assert_eq!(described(&loaded.plan), expected, "{toml}");
}

#[test]
fn a_new_bus_only_listens() {
    let toml = "[bus.a]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nlate_factor = 3\n";
    let loaded = load_text(toml).unwrap();
    let bus = &loaded.plan.buses[0];
    assert_eq!((&bus.interface, bus.fd, &bus.node), (&Interface::SocketCan("can0".into()), false, &None));
    check_plan(
        toml,
        &[
            "Ask: in, never late; What; records 0..1",
            "DriveCommand: in, late after 60; SpeedSetpoint Trim Gain; records 1..2",
            "DriveStatus: in, late after 60; Speed State; records 2..3",
            "EEC1: in, late after 150; EngineSpeed; records 3..11",
            "LampsOfTheOperatorPanelAndTheStackLight: in, never late; Red Green; records 11..12",
            "OvenAlarm: in, never late; Code; records 12..13",
            "OvenCommand: in, late after 300; Page Temperature Fan; records 13..16",
            "Transport: in, never late; First; records 16..24",
        ],
    );
}

#[test]
fn cycles_start_values_and_rights() {
    check_plan(
        "[bus.a]\nvirtual = true\ndbc = [\"plant.dbc\"]\nnode = \"Canvoy\"\nj1939_sources = 3\n\
         transmit = [\"DriveCommand\", \"OvenCommand\", \"Lamps\"]\n\
         writable = [\"DriveCommand.Trim\", \"OvenCommand.*\", \"Lamps.Red\"]\n",
        &[
            "Ask: in, never late; What; records 0..1",
            "DriveCommand: out 2c01fb000000803f, every 20, first after 7; SpeedSetpoint! Trim~=w Gain; records 1..2",
            "DriveStatus: in, late after 50; Speed State; records 2..3",
            "EEC1: in, late after 125; EngineSpeed; records 3..6",
            "LampsOfTheOperatorPanelAndTheStackLight: out 0000, no cycle, first after 0; Red!=w Green!; records 6..7",
            "OvenAlarm: in, never late; Code; records 7..8",
            "OvenCommand: out 0100064000000000, every 100, first after 0; Page=w Temperature=w Fan=w; records 8..11",
            "Transport: in, never late; First; records 11..14",
        ],
    );
}

#[test]
fn overrides() {
    check_plan(
        "[bus.a]\nvirtual = true\ndbc = [\"plant.dbc\"]\nnode = \"Canvoy\"\n\
         transmit = [\"DriveCommand\", \"OvenCommand\", \"Lamps\", \"Ask\"]\nwritable = [\"Ask.What\", \"Lamps.*\"]\n\
         [bus.a.message]\nDriveCommand = { send = \"cyclic\", cycle_ms = 10 }\nOvenCommand = { send = \"cyclic-and-on-write\" }\n\
         Lamps = { cycle_ms = 500 }\nAsk = { send = \"on-change\" }\nDriveStatus = { timeout_ms = 0 }\nOvenAlarm = { timeout_ms = 1500 }\n",
        &[
            "Ask: out 00, no cycle, first after 0; What~=w; records 0..1",
            "DriveCommand: out 2c01fb000000803f, every 10, first after 7; SpeedSetpoint Trim Gain; records 1..2",
            "DriveStatus: in, never late; Speed State; records 2..3",
            "EEC1: in, late after 125; EngineSpeed; records 3..11",
            "LampsOfTheOperatorPanelAndTheStackLight: out 0000, every 500, first after 0; Red!=w Green!=w; records 11..12",
            "OvenAlarm: in, late after 1500; Code; records 12..13",
            "OvenCommand: out 0100064000000000, every 100, first after 0; Page! Temperature! Fan!; records 13..16",
            "Transport: in, never late; First; records 16..24",
        ],
    );
}

const WHOLE: &str = "[bus.b]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"Canvoy\"\ntransmit = [\"DriveCommand\"]\n\
                     writable = [\"DriveCommand.Trim\"]\n[bus.a]\ninterface = \"can1\"\ndbc = [\"second.dbc\"]\n";

fn hash(toml: &str, simulate: bool) -> String {
    load(&sources(toml), LoadOptions { simulate }).unwrap().plan.short_hash()
}

#[test]
fn the_hash_is_that_of_the_machine() {
    let whole = hash(WHOLE, false);
    let same = [
        WHOLE.to_owned(),
        format!("{WHOLE}[opcua]\nlisten = \"127.0.0.1:4841\"\n[http]\nenabled = false\n"),
        format!("# comments and defaults change nothing\n{WHOLE}late_factor = 2.5\nfd = true\n"),
    ];
    for toml in same {
        assert_eq!(hash(&toml, false), whole, "{toml}");
    }
    let different = [
        WHOLE.replace("can0", "can2"),
        WHOLE.replace("bus.b", "bus.c"),
        WHOLE.replace("[\"DriveCommand.Trim\"]", "[]"),
        WHOLE.replace("[\"DriveCommand.Trim\"]", "[\"DriveCommand.Gain\"]"),
        WHOLE.replace("transmit", "late_factor = 3\ntransmit"),
        WHOLE.replace("[bus.a]", "[bus.b.message.DriveCommand]\ncycle_ms = 21\n[bus.a]"),
        WHOLE.replace("[bus.a]", "[bus.a]\nj1939_sources = 7"),
    ];
    let mut seen = vec![whole.clone(), hash(WHOLE, true)];
    for toml in different {
        let hash = hash(&toml, false);
        assert!(!seen.contains(&hash), "{toml}");
        seen.push(hash);
    }
    // a byte of a DBC file, even in a comment
    let mut other = sources(WHOLE);
    other.dbc[0].bytes.extend(b"\n");
    assert_ne!(load(&other, LoadOptions::default()).unwrap().plan.short_hash(), whole);
}

#[test]
fn both_processes_make_the_same_plan() {
    let options = LoadOptions { simulate: true };
    let here = load(&sources(WHOLE), options).unwrap();
    let (sources, options) = Sources::from_bundle(&sources(WHOLE).to_bundle(options)).unwrap();
    let there = load(&sources, options).unwrap();
    assert_eq!(format!("{here:?}"), format!("{there:?}"));
    assert!(there.plan.simulated);
    let buses: Vec<_> = there.plan.buses.iter().map(|bus| (bus.name.as_str(), &bus.interface, bus.fd)).collect();
    assert_eq!(buses, [("a", &Interface::Virtual, true), ("b", &Interface::Virtual, false)]);
}

/// Files on disk: what can't be read is reported with its place, along with what is wrong in the rest.
#[test]
fn files_are_read_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("canvoy-config-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("dbc")).unwrap();
    let path = folder.join("p.toml");
    std::fs::write(folder.join("dbc/plant.dbc"), PLANT).unwrap();
    std::fs::write(&path, "[bus.a]\nvirtual = true\ndbc = [\"dbc/plant.dbc\"]\n[opcua]\nusers = \"users.txt\"\n")
        .unwrap();
    let loaded = load(&read(&path).unwrap(), LoadOptions::default()).unwrap();
    assert_eq!(loaded.plan.messages.len(), 8);
    assert_eq!(loaded.settings.opcua.users, Some(folder.join("users.txt")));

    std::fs::write(
        &path,
        "[bus.a]\nvirtual = true\ndbc = [\"dbc/plant.dbc\", \"gone.dbc\", \"dbc\"]\nnode = \"X\"\nnod = 1\n\
         [bus.b]\nvirtual = true\ndbc = [\"dbc/plant.dbc\", \"/dev/zero\", \"\\u0000\"]\nnode = \"Canwoy\"\ntransmit = [\"DriveStatus\"]\n\
         [bus.c]\nvirtual = true\ndbc = [\"dbc/plant.dbc\"]\nnode = \"Canwoy\"\n",
    )
    .unwrap();
    let name = path.display().to_string();
    let said: Vec<String> = read(&path).unwrap_err().iter().map(|d| d.to_string()).collect();
    let said: Vec<&str> = said.iter().map(|d| d.strip_prefix(&name).unwrap().lines().next().unwrap()).collect();
    assert_eq!(
        said,
        [
            ":3:25: error: can't read \"gone.dbc\": no such file",
            ":3:37: error: can't read \"dbc\": it is a directory",
            ":5:1: error: unknown key \"nod\"; did you mean \"node\"?",
            ":8:25: error: can't read \"/dev/zero\": it is not a regular file",
            ":8:38: error: can't read \"\0\": not a file name",
            ":14:8: error: node \"Canwoy\" is in none of the DBC files of this bus (did you mean \"Canvoy\"?); they have: Canvoy, Drive, Oven",
        ]
    );
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(read(&path).unwrap_err()[0].to_string(), format!("{name}: error: can't read the file: no such file"));
}

/// What the Debian package puts into /etc/canvoy: it sends nothing and opens nothing; with its lines put in force as its comments
/// say, it sends what they name.
#[test]
fn the_configuration_of_the_package_is_harmless_and_leads_on() {
    let toml = include_str!("../../systemd/plant.toml");
    let load = |toml: &str| {
        let dbc = include_bytes!("../../dbc/line.dbc");
        load(&Sources::embedded("plant.toml", toml, &[("line.dbc", dbc)]), LoadOptions::default()).unwrap()
    };
    let plan = load(toml).plan;
    assert!(plan.buses.iter().all(|bus| matches!(bus.interface, Interface::Virtual)));
    assert_eq!((plan.messages.len(), plan.routes.len()), (0, 0));

    let edit = |line: &str| match line.strip_prefix("# ") {
        Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => setting.to_owned(),
        _ if line.starts_with("virtual") => String::new(),
        _ => line.to_owned(),
    };
    let plan = load(&toml.lines().map(|line| edit(line) + "\n").collect::<String>()).plan;
    assert!(matches!(&plan.buses[0].interface, Interface::SocketCan(name) if name == "can0"));
    let sent = plan.messages.iter().filter(|message| matches!(message.direction, Direction::Output(_)));
    assert_eq!(sent.map(|message| message.message.name.as_str()).collect::<Vec<_>>(), ["DriveCommand"]);
}

#[test]
fn roles_of_users_that_cannot_log_in_are_warned_of() {
    let toml = "[bus.a]\nvirtual = true\n[opcua]\nusers = \"users\"\n[role.Operator]\nusers = [\"anna\", \"ana\", \"shift-*\", \"night-*\"]\n[role.Engineer]\nusers = [\"bo\"]\n";
    let users = ["anna", "shift-1", "bo"].map(String::from);
    let found = canvoy::config::load_with_users(&sources(toml), LoadOptions::default(), &users).unwrap();
    let roles = |text: &String| text.contains("\": no user");
    let told: Vec<String> = said(Ok(found)).into_iter().filter(roles).collect();
    let only = "only a user certificate with that name could have the role";
    assert_eq!(
        told,
        [
            format!(
                r#"p.toml:6:18: warning: "ana": no user in users (did you mean "anna"?); `canvoy user add users ana` adds one; {only}"#
            ),
            format!(r#"p.toml:6:36: warning: "night-*": no user in users fits; {only}"#),
        ]
    );
    let untold = said(load(&sources(toml), LoadOptions::default()));
    assert!(!untold.iter().any(roles), "{untold:?}");
}

#[test]
fn the_examples_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples = 0;
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let loaded = read(&path).and_then(|sources| load(&sources, LoadOptions::default()));
        let loaded = loaded.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        assert_eq!(loaded.diagnostics, [], "{path:?}");
        assert!(loaded.plan.tags.iter().any(|tag| tag.writable), "{path:?}");
        examples += 1;
    }
    assert!(examples >= 2);
}

#[test]
fn places_that_are_hard_to_find() {
    for (toml, expected) in [
        (&b"[bus.a]\nvirtual = \xE4"[..], "p.toml:2:11: error: the file is not UTF-8 text; save it as UTF-8"),
        (b"\xEF\xBB\xBFbuss = 1\n", "p.toml:1:1: error: unknown key \"buss\"; did you mean \"bus\"?"),
        (
            "\"größe\" = 1\n".as_bytes(),
            "p.toml:1:1: error: unknown key \"größe\"; known here: bus, machine, route, interlock, link, alarm, j1939, opcua, http, role, include, variables, machine_file",
        ),
        ("bus = 'größe' # \r\n".as_bytes(), "p.toml:1:7: error: bus takes sections [bus.NAME], one for each bus"),
        (b"opcua.listn = 'x'\n", "p.toml:1:7: error: unknown key \"listn\"; did you mean \"listen\"?"),
        (b"bus = { a = { fd = 1 } }", "p.toml:1:20: error: fd takes true or false"),
    ] {
        let mut sources = sources("");
        sources.config.bytes = toml.to_vec();
        let said = said(load(&sources, LoadOptions::default()));
        assert!(said.iter().any(|said| said == expected), "{said:?}");
    }
}

/// As many signals as one plant may have, and one bus more.
#[test]
fn a_plant_has_limits() {
    use std::fmt::Write;
    let mut dbc = String::from("BU_: A\n");
    for message in 0..50 {
        writeln!(dbc, "BO_ {message} M{message}: 8 A").unwrap();
        (0..64).for_each(|bit| writeln!(dbc, " SG_ S{bit} : {bit}|1@1+ (1,0) [0|0] \"\" A").unwrap());
    }
    let toml = |buses: usize| {
        (0..buses).map(|bus| format!("[bus.b{bus:02}]\nvirtual = true\ndbc = [\"x.dbc\"]\n")).collect::<String>()
    };
    let load_buses = |buses: usize, dbc: &str| {
        load(&Sources::embedded("p.toml", &toml(buses), &[("x.dbc", dbc.as_bytes())]), LoadOptions::default())
    };
    assert_eq!(load_buses(62, &dbc).unwrap().plan.tags.len(), 198_400);
    let limits = "more than 200000 signals and 500000 records (message, J1939 source, multiplexed branch)";
    assert_eq!(said(load_buses(63, &dbc)), [format!("p.toml:187:6: error: with bus \"b62\" the plant has {limits}")]);
    assert_eq!(said(load_buses(65, "BU_: A\n")), ["p.toml:193:6: error: more than 64 buses"]);
}

/// Words that a configuration is made of, so that random ones come far into the checks.
fn words() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "[bus.a]\n",
        "[bus.b]\n",
        "[[bus]]\n",
        "[opcua]\n",
        "[http]\n",
        "[bus.a.message.DriveCommand]\n",
        "[bus]\n",
        "virtual = true\n",
        "interface = \"can0\"\n",
        "dbc = [\"plant.dbc\"]\n",
        "dbc = [\"second.dbc\", \"plant.dbc\"]\n",
        "dbc = 3\n",
        "node = \"Canvoy\"\n",
        "node = \"Drive\"\n",
        "transmit = \"all\"\n",
        "transmit = [\"DriveCommand\", \"Ask\"]\n",
        "writable = \"all\"\n",
        "writable = [\"DriveCommand.*\", \"Ask.What\", \".\", \"..\", \"\"]\n",
        "fd = false\n",
        "late_factor = 1e308\n",
        "late_factor = -inf\n",
        "j1939_sources = 9223372036854775807\n",
        "cycle_ms = 86400000\n",
        "cycle_ms = -9223372036854775808\n",
        "timeout_ms = 0\n",
        "send = \"on-change\"\n",
        "listen = \"[::]:0\"\n",
        "message.Ask.send = \"cyclic\"\n",
        "a.b.c = {}\n",
        "=",
        "[",
        "]",
        "\"",
        "'''",
        "\n",
        "\u{feff}",
        "\0",
        "{ x = ",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_bytes_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut sources = sources("");
        sources.config.bytes = bytes.clone();
        prop_assert!(load(&sources, LoadOptions::default()).is_err());
        sources.config.bytes = WHOLE.into();
        sources.dbc[0].bytes = bytes;
        let _ = load(&sources, LoadOptions::default());
    }

    #[test]
    fn any_words_are_no_trouble(words in prop::collection::vec(words(), 0..20), simulate: bool) {
        match load(&sources(&words.concat()), LoadOptions { simulate }) {
            Ok(loaded) => {
                prop_assert!(loaded.diagnostics.iter().all(|d| d.severity == Severity::Warning));
                prop_assert_eq!(described(&loaded.plan).len(), loaded.plan.messages.len());
            }
            Err(mistakes) => prop_assert!(mistakes.iter().any(|d| d.severity == Severity::Error)),
        }
    }

    #[test]
    fn damaged_files_are_no_trouble(at in 0..WHOLE.len(), byte: u8, cut: bool) {
        let mut sources = sources(WHOLE);
        sources.config.bytes[at] = byte;
        if cut {
            sources.config.bytes.truncate(at);
        }
        let _ = load(&sources, LoadOptions::default());
    }
}

const SENDING: &str = "[bus.a]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"Canvoy\"\n\
                       transmit = [\"DriveCommand\", \"Lamps\", \"Ask\"]\n\
                       writable = [\"DriveCommand.Trim\", \"DriveCommand.Gain\"]\n\
                       [bus.b]\nvirtual = true\ndbc = [\"second.dbc\"]\n";

#[test]
fn check_says_what_will_be_sent_and_written() {
    let mut loaded = load_text(SENDING).unwrap();
    assert_eq!(loaded.diagnostics.len(), 2);
    loaded.plan.hash = [0xAB; 32];
    let expected = "\
bus a: interface can0, classic CAN, node Canvoy
  sends 3 messages:
    103  Ask                                      never: neither cycle time nor send type
    100  DriveCommand                             every 20 ms, first after 7 ms, at once when a write changes it
    102  LampsOfTheOperatorPanelAndTheStackLight  when written; but nothing may write it
  may be written from the plant, 2 signals:
    a.DriveCommand.Trim  -100 to 100 %
    a.DriveCommand.Gain  -3.4028234663852886e38 to 3.4028234663852886e38
  receives 5 messages with 8 signals; 2 of them late when they stop coming
bus b: virtual (simulated devices), CAN FD
  listens: transmits nothing
  receives 4 messages with 4 signals; 0 of them late when they stop coming
outputs: armed by themselves at the start; after a crash by hand (canvoy arm)
OK: 2 buses, 12 messages, 18 signals; 2 warnings. Plan abababababab.
";
    assert_eq!(check::summary(&loaded), expected);
}

#[test]
fn check_says_who_looks_after_an_interface() {
    let said = |keys: &str| {
        let toml = format!("[bus.a]\ninterface = \"can0\"\n{keys}\ndbc = [\"plant.dbc\"]\n");
        let summary = check::summary(&load_text(&toml).unwrap());
        summary.lines().skip(1).take_while(|line| !line.contains("receives")).map(str::to_owned).collect::<Vec<_>>()
    };
    let silent =
        "  listens: transmits nothing; the controller still acknowledges, unless the interface is in listen-only mode";
    assert_eq!(said(""), [silent]);
    let up = "  canvoy-link sets the interface up";
    let growing = "restarted 1000 to 60000 ms after bus-off, at most 10 times an hour";
    assert_eq!(said("managed = true"), [&format!("{up}; {growing}"), silent]);
    assert_eq!(
        said(
            "managed = true\nbit_rate = 500000\ndata_bit_rate = 2000000\nfd = true\nrestart = \"fixed\"\nrestart_ms = 50"
        ),
        [
            &format!(
                "{up} with 500000 bit/s, data 2000000 bit/s; restarted 50 ms after bus-off, at most 10 times an hour"
            ),
            silent
        ]
    );
    assert_eq!(
        said("managed = true\nrestart = \"by-hand\""),
        [&format!("{up}; restarted after bus-off by command only"), silent]
    );
}

#[test]
fn tags_as_table_csv_and_json() {
    let plan = load_text(SENDING).unwrap().plan;
    let rows: Vec<tags::Row> = (0..plan.tags.len()).map(|tag| tags::row(&plan, tag)).collect();
    let picked: Vec<tags::Row> = [1, 2, 5].map(|at| rows[at].clone()).into();
    let table = "\
TAG                           ID   DIRECTION  TYPE  MIN   MAX   UNIT  CYCLE_MS  DEADLINE_MS  WRITABLE  COMMENT
a.DriveCommand.SpeedSetpoint  100  sent       u16   0     3000  rpm   20                     no        Wanted speed, \"measured\" at the shaft, before the gear, and…
a.DriveCommand.Trim           100  sent       i8    -100  100   %     20                     yes
a.DriveStatus.State           200  received   u4    0     15          20        50           no
";
    assert_eq!(tags::table(&picked), table);
    let csv = tags::csv(&picked);
    let mut lines = csv.split_terminator("\r\n");
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    for (line, begins) in lines.zip([
        "a.DriveCommand.SpeedSetpoint,100,sent,u16,0,3000,rpm,20,,no,,,\
         \"Wanted speed, \"\"measured\"\" at the shaft, before the gear, and after the coupling.\",",
        "a.DriveCommand.Trim,100,sent,i8,-100,100,%,20,,yes,,,,",
        "a.DriveStatus.State,200,received,u4,0,15,,20,50,no,,,,",
    ]) {
        assert!(line.starts_with(begins), "{line}");
    }
    let first =
        "tag,id,direction,type,min,max,unit,cycle_ms,deadline_ms,writable,alias,area,comment,node_id,node_id_uri,";
    assert!(csv.starts_with(first), "{csv}");
    assert_eq!(header.len(), 39);
    let json = serde_json::json!({
        "tag": "a.DriveStatus.State", "bus": "a", "message": "DriveStatus", "signal": "State", "id": "200",
        "extended": false, "pgn": null, "direction": "received", "unit": "", "min": 0.0, "max": 15.0, "type": "u4",
        "cycle_ms": 20.0, "deadline_ms": 50.0, "writable": false, "alias": null, "area": null,
        "device_type": null, "device": null, "comment": null, "descriptions": {}, "senders": ["Drive"],
        "factor": 1.0, "offset": 0.0, "instrument_low": 0.0, "instrument_high": 15.0, "start": null, "fallback": null,
        "values": [{"raw": "0", "label": "Off"}, {"raw": "1", "label": "Running, \"hot\""}],
    });
    assert_eq!(serde_json::to_value(&rows[5]).unwrap(), json);
}

/// The words of a CSV table are those of an overlay table, whatever is in them.
#[test]
fn words_of_a_table_can_be_put_into_an_overlay() {
    let labels = ["Off", "On|Off", r"A\B", r"\|", r"ends with \", "a=b"];
    let table: String = labels.iter().enumerate().map(|(raw, label)| format!(" {raw} \"{label}\"")).collect();
    let dbc = format!("BU_: X\nBO_ 1 S: 1 X\n SG_ M : 0|8@1+ (1,0) [0|0] \"\" Vector__XXX\nVAL_ 1 M{table} ;\n");
    let toml = "[bus.a]\nvirtual = true\ndbc = [\"x.dbc\"]\n";
    let plan = load(&Sources::embedded("p.toml", toml, &[("x.dbc", dbc.as_bytes())]), LoadOptions::default());
    let row = tags::row(&plan.unwrap().plan, 0);
    let csv = tags::csv(std::slice::from_ref(&row));
    let mut lines = csv.lines();
    let at = lines.next().unwrap().split(',').position(|name| name == "values").unwrap();
    let cell = lines.next().unwrap().split(',').nth(at).unwrap();
    assert_eq!(cell, r"0=Off|1=On\|Off|2=A\\B|3=\\\||4=ends with \\|5=a=b");
    // a backslash before anything else is one: tables were written like this before
    for (values, want) in [(cell.to_owned(), labels.to_vec()), (r"0=A\B|1=C\".to_owned(), vec![r"A\B", r"C\"])] {
        let toml = format!("{toml}overlay = [\"o.csv\"]\n");
        let overlay = format!("tag;values[de]\nS.M;{values}\n");
        let mut sources = Sources::embedded("p.toml", &toml, &[("x.dbc", dbc.as_bytes())]);
        sources.overlay.push(SourceFile { name: "o.csv".into(), bytes: overlay.into_bytes() });
        let plan = load(&sources, LoadOptions::default()).unwrap().plan;
        let (_, words) = &plan.tag_overlays[&0].words[0];
        assert_eq!(words.iter().map(|(_, word)| word.as_str()).collect::<Vec<_>>(), want);
    }
}

#[test]
fn a_node_goes_by_its_long_name_and_by_its_dbc_name() {
    let dbc = "BU_: Panel\nBO_ 1 Keys: 1 Panel\n SG_ Pressed : 0|8@1+ (1,0) [0|0] \"\" Vector__XXX\n\
               BA_DEF_ BU_ \"SystemNodeLongSymbol\" STRING ;\nBA_DEF_DEF_ \"SystemNodeLongSymbol\" \"\";\n\
               BA_ \"SystemNodeLongSymbol\" BU_ Panel \"PanelOfTheOperatorAtTheEndOfTheLine\";\n";
    for node in ["Panel", "PanelOfTheOperatorAtTheEndOfTheLine"] {
        let toml = format!(
            "[bus.a]\nvirtual = true\ndbc = [\"x.dbc\"]\nnode = \"{node}\"\ntransmit = [\"Keys\"]\nmessage.Keys.cycle_ms = 5\n"
        );
        let sources = Sources::embedded("p.toml", &toml, &[("x.dbc", dbc.as_bytes())]);
        let plan = load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan;
        assert_eq!(plan.buses[0].node.as_deref(), Some("PanelOfTheOperatorAtTheEndOfTheLine"));
        assert_eq!(described(&plan), ["Keys: out 00, every 5, first after 0; Pressed; records 0..1"]);
    }
}
