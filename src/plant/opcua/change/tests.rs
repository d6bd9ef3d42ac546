//! Two plans, and what each user is told of what lies between them.

use super::*;
use crate::config::{self, LoadOptions, SourceFile, Sources};
use crate::plant::access::Role;
use crate::plant::opcua::space::NAMESPACE_URI;
use crate::plant::opcua::space::standard::Standard;
use crate::plant::opcua::tests::DBC;

const CONFIG: &str = r#"
[bus.line]
interface = "can0"
dbc = ["plant.dbc"]
overlay = ["names.csv"]
node = "ME"
transmit = "all"
[role.Operator]
users = ["bob"]
see = ["area:Engines", "line.Oven"]
"#;

const NAMES: &str = "tag,area\nEEC1.EngineSpeed,Engines\n";

struct Bench {
    standard: Arc<Standard>,
}

impl Bench {
    fn snapshot(&self, config: &str, dbc: &str, names: &str, addresses: &[u8]) -> Snapshot {
        let mut sources = Sources::embedded("plant.toml", config, &[("plant.dbc", dbc.as_bytes())]);
        if config.contains("names.csv") {
            sources.overlay.push(SourceFile { name: "names.csv".into(), bytes: names.into() });
        }
        let loaded = config::load(&sources, LoadOptions::default()).unwrap_or_else(|found| panic!("{found:?}"));
        let eec1 = loaded.plan.messages.iter().position(|message| message.message.has_sources());
        let space = Space::new(Arc::new(loaded.plan), self.standard.clone(), Default::default());
        let space = Arc::new(space.with_rights(Arc::new(loaded.rights)));
        let slots = addresses.iter().enumerate();
        let sources = eec1.map_or_else(BTreeMap::new, |eec1| slots.map(|(at, to)| ((eec1, at), *to)).collect());
        Snapshot { space, sources: Arc::new(sources) }
    }
}

fn engineer() -> User {
    User::anybody("anna")
}

fn operator() -> User {
    User::named("bob", Proof::Password, Roles::of(&[Role::Operator]))
}

/// `verb id` of each, sorted; `only`: those whose ids have this in them.
fn lines(pair: &Pair, changes: &[Change], only: &str) -> Vec<String> {
    let line = |change: &Change| {
        let (id, _) = pair.ids(*change);
        let verbs = [(1, 'A'), (2, 'D'), (4, '+'), (8, '-'), (16, 'T')];
        let verbs: String = verbs.iter().filter(|(bit, _)| change.verb & bit != 0).map(|(_, sign)| *sign).collect();
        let id = id.identifier.to_string();
        let id = id.trim_start_matches("s=").to_owned();
        if verbs.is_empty() { id } else { format!("{verbs} {id}") }
    };
    let mut all: Vec<String> = changes.iter().map(line).filter(|line| line.contains(only)).collect();
    all.sort();
    all
}

const MORE: &str = "BO_ 300 Abba: 8 ECU\n SG_ First : 0|16@1+ (1,0) [0|0] \"\" ME\nBO_ 256 Oven";
const WIDE: &str = "BO_ 257 Wide: 8 ECU\n SG_ Big : 0|64@1+ (1,0) [0|0] \"\" ME\n";
const TEMP: &str = r#"(0.1,-40) [-40|200] "degC""#;

#[test]
fn a_plan_after_another() {
    let bench = Bench { standard: Arc::new(Standard::load("urn:test", NAMESPACE_URI)) };
    let replaced = |from: &str, to: &str| {
        assert!(DBC.contains(from), "{from}");
        DBC.replacen(from, to, 1)
    };
    // what was, what is, then what of the model and what of the meaning is told to who sees all, and to the operator
    type Case<'a> = (&'a str, (&'a str, &'a str, &'a [u8]), (&'a str, &'a str, &'a [u8]), [&'a str; 4]);
    let more = replaced("BO_ 256 Oven", MORE);
    let less = replaced(WIDE, "");
    let range = replaced(TEMP, r#"(0.1,-40) [-40|300] "degC""#);
    let unit = replaced(TEMP, r#"(0.1,-40) [-40|200] "K""#);
    let words = replaced(r#"1 "On" 2 "Fault""#, r#"1 "Running" 2 "Fault""#);
    let comment = replaced("Temperature of the oven", "How hot it is");
    let plain = replaced("SG_ Mode : 16|4@1+ (1,0)", "SG_ Mode : 16|4@1+ (2,0)");
    let wider = replaced("SG_ Steps : 24|16@1-", "SG_ Steps : 24|8@1-");
    let id = replaced("BO_ 257 Wide", "BO_ 259 Wide").replace("CM_ BO_ 257", "CM_ BO_ 259");
    let moved = "tag,area\nEEC1.EngineSpeed,Engines\nWide.Big,Engines\n";
    let alias = "tag,area,alias\nEEC1.EngineSpeed,Engines,\nOven.Temp,,Heat\n";
    let cases: &[Case<'_>] = &[
        ("nothing", (DBC, NAMES, &[33]), (DBC, NAMES, &[33]), ["", "", "", ""]),
        (
            "a message more",
            (DBC, NAMES, &[]),
            (&more, NAMES, &[]),
            ["+ Canvoy.Devices.line.ECU|+ Canvoy.Types.line.ECU|+ line|A line.Abba|A line.Abba.First", "", "", ""],
        ),
        (
            "a message less",
            (DBC, NAMES, &[]),
            (&less, NAMES, &[]),
            ["- Canvoy.Devices.line.ECU|- Canvoy.Types.line.ECU|- line|D line.Wide|D line.Wide.Big", "", "", ""],
        ),
        ("another range", (DBC, NAMES, &[]), (&range, NAMES, &[]), ["", "line.Oven.Temp", "", "line.Oven.Temp"]),
        ("another unit", (DBC, NAMES, &[]), (&unit, NAMES, &[]), ["", "line.Oven.Temp", "", "line.Oven.Temp"]),
        ("another word", (DBC, NAMES, &[]), (&words, NAMES, &[]), ["", "line.Oven.Mode", "", "line.Oven.Mode"]),
        ("another comment", (DBC, NAMES, &[]), (&comment, NAMES, &[]), ["", "line.Oven.Temp", "", "line.Oven.Temp"]),
        // which is a node of its own, that the signal refers to
        (
            "another alias",
            (DBC, NAMES, &[]),
            (DBC, alias, &[]),
            ["+ line.Oven.Temp", "line.Oven.Temp", "+ line.Oven.Temp", "line.Oven.Temp"],
        ),
        (
            "a factor",
            (DBC, NAMES, &[]),
            (&plain, NAMES, &[]),
            ["+-T line.Oven.Mode", "line.Oven.Mode", "+-T line.Oven.Mode", "line.Oven.Mode"],
        ),
        (
            "other bits",
            (DBC, NAMES, &[]),
            (&wider, NAMES, &[]),
            ["T line.DriveCommand.Steps", "line.DriveCommand.Steps", "", ""],
        ),
        ("another identifier", (DBC, NAMES, &[]), (&id, NAMES, &[]), ["", "line.Wide", "", ""]),
        (
            "a table alone shows a hidden message",
            (DBC, NAMES, &[]),
            (DBC, moved, &[]),
            [
                "+ Canvoy.Areas.Engines|+ line.Wide.Big|A Canvoy.Areas.Engines.line.Wide",
                "",
                "+ Canvoy.Areas.Engines|+ Canvoy.Devices.line.ECU|+ Canvoy.Types.line.ECU|+ line|A Canvoy.Areas.Engines.line.Wide|A line.Wide|A line.Wide.Big",
                "",
            ],
        ),
        (
            "a source more",
            (DBC, NAMES, &[33]),
            (DBC, NAMES, &[33, 200]),
            [
                "+ Canvoy.Areas.Engines|+ line|A Canvoy.Areas.Engines.line.EEC1@200|A Canvoy.Devices.line.@200|A line.EEC1@200|A line.EEC1@200.EngineSpeed",
                "",
                "+ Canvoy.Areas.Engines|+ line|A Canvoy.Areas.Engines.line.EEC1@200|A Canvoy.Devices.line.@200|A line.EEC1@200|A line.EEC1@200.EngineSpeed",
                "",
            ],
        ),
        (
            "a source that goes",
            (DBC, NAMES, &[33]),
            (DBC, NAMES, &[]),
            [
                "- Canvoy.Areas.Engines|- line|D Canvoy.Areas.Engines.line.EEC1@33|D Canvoy.Devices.line.@33|D line.EEC1@33|D line.EEC1@33.EngineSpeed",
                "",
                "- Canvoy.Areas.Engines|- line|D Canvoy.Areas.Engines.line.EEC1@33|D Canvoy.Devices.line.@33|D line.EEC1@33|D line.EEC1@33.EngineSpeed",
                "",
            ],
        ),
    ];
    for (name, (dbc, names, addresses), (new_dbc, new_names, new_addresses), want) in cases {
        let old = bench.snapshot(CONFIG, dbc, names, addresses);
        let mut new = bench.snapshot(CONFIG, new_dbc, new_names, new_addresses);
        if (dbc, names) == (new_dbc, new_names) && addresses != new_addresses {
            new.space = old.space.clone();
        }
        let pair = Pair { old, new };
        let told = [engineer(), operator()].map(|user| {
            // alarms are told by their folder, which hides what is hidden as well
            let model: Vec<Change> =
                pair.model(&user).into_iter().filter(|change| change.part != Part::Alarms).collect();
            [lines(&pair, &model, ""), lines(&pair, &pair.meaning(&user), "")].map(|lines| lines.join("|"))
        });
        assert_eq!(told.as_flattened(), want, "{name}");
        // what is told is found out at all because the plan has another hash
        let same = pair.old.space.plan().hash == pair.new.space.plan().hash;
        assert_eq!(same, pair.same_plan() || *name == "nothing", "{name}");
    }
}

#[test]
fn versions_change_with_what_is_told() {
    let bench = Bench { standard: Arc::new(Standard::load("urn:test", NAMESPACE_URI)) };
    let more = DBC.replacen("BO_ 256 Oven", MORE, 1);
    let pair =
        Pair { old: bench.snapshot(CONFIG, DBC, NAMES, &[33]), new: bench.snapshot(CONFIG, &more, NAMES, &[33]) };
    for user in [engineer(), operator()] {
        let model = pair.model(&user);
        let (_, old) = pair.old.digests(&user, false);
        let (order, new) = pair.new.digests(&user, false);
        assert!(order.len() > 10);
        for key in order {
            let (part, _) = &new[&key];
            let told = model.iter().any(|change| change.part == *part && change.is && change.verb != ADDED);
            let Some((before, _)) = old.get(&key) else { continue };
            let [before, after] = [pair.old.shape(&user, *before), pair.new.shape(&user, *part)];
            assert_eq!(version::value(&before) != version::value(&after), told, "{part:?}");
        }
    }
}

#[test]
fn what_is_too_much_is_told_by_what_it_hangs_from() {
    let bench = Bench { standard: Arc::new(Standard::load("urn:test", NAMESPACE_URI)) };
    let more = DBC.replacen("BO_ 256 Oven", MORE, 1).replace(WIDE, "");
    let pair = Pair { old: bench.snapshot(CONFIG, DBC, NAMES, &[]), new: bench.snapshot(CONFIG, &more, NAMES, &[]) };
    for (most, want) in [
        (
            20,
            "+- Canvoy.Alarms|+- Canvoy.Devices.line.ECU|+- Canvoy.Types.line.ECU|+- line|A line.Abba|A line.Abba.First|D line.Wide|D line.Wide.Big",
        ),
        (7, "+- Canvoy.Alarms|+- Canvoy.Devices.line.ECU|+- Canvoy.Types.line.ECU|+- line|A line.Abba|D line.Wide"),
        (5, "+- Canvoy.Alarms|+- line"),
        (1, "+- Canvoy"),
    ] {
        let changes = pair.shortened(pair.model(&engineer()), most, &engineer());
        assert_eq!(lines(&pair, &changes, "").join("|"), want, "{most}");
    }
}
