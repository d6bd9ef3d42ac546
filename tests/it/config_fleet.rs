//! Many machines from one set of files, on disk and as bytes.

use std::path::{Path, PathBuf};

use canvoy::cli::{check, tags};
use canvoy::config::{Files, LoadOptions, Loaded, SourceFile, Sources, load, read};
use canvoy::diagnostic::Severity;
use canvoy::plan::Interface;
use proptest::prelude::*;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fleet").join(name)
}

fn load_example(machine: Option<&str>, environment: &[(&str, &str)]) -> Loaded {
    let files = Files { config: example("plant.toml"), machine: machine.map(example) };
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let sources = files.read_with(environment).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let loaded = load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    // what crosses to the plant process is enough for the same plan
    let (handed_over, options) = Sources::from_bundle(&sources.to_bundle(LoadOptions::default())).unwrap();
    assert_eq!(format!("{:?}", load(&handed_over, options).unwrap()), format!("{loaded:?}"));
    loaded
}

#[test]
fn the_example_of_a_fleet_is_right() {
    for machine in ["machine-07.toml", "machine-08.toml"] {
        let loaded = load_example(Some(machine), &[]);
        assert_eq!(loaded.diagnostics, [], "{machine}");
    }
    let loaded = load_example(Some("machine-08.toml"), &[("CANVOY_VAR_FASTEST", "1200.5")]);
    let summary = check::summary(&loaded);
    let root = example("").display().to_string();
    let summary = summary.replace(&root, "").replace("\\", "/");
    for line in [
        "variables:\n",
        "  fastest    1200.5  from environment CANVOY_VAR_FASTEST\n",
        "  interface  \"can2\"  from machine file machine-08.toml:5:1\n",
        "bus line: interface can2, classic CAN, node Master\n",
        "  2 devices Pump: pump1, pump2\n",
        "  overlay tables give names, areas or texts of 4 signals and 2 messages\n",
        "    210  pump2_Command  every 50 ms",
        "    line.pump1_Command.Setpoint",
    ] {
        assert!(summary.contains(line), "no {line} in\n{summary}");
    }
    assert_eq!(loaded.settings.opcua.certificate_hosts, ["press-08.example"]);
    assert_eq!(loaded.settings.opcua.users, Some(example("users")));
}

#[test]
fn tags_show_names_areas_and_devices() {
    let plan = load_example(None, &[]).plan;
    let row = (0..plan.tags.len()).map(|tag| tags::row(&plan, tag)).find(|row| row.tag == "line.pump2_Status.Pressure");
    let row = row.unwrap();
    let json = serde_json::to_value(&row).unwrap();
    for (key, want) in [
        ("alias", "Wash pressure"),
        ("area", "Basement"),
        ("device", "pump2"),
        ("device_type", "Pump"),
        ("comment", "Behind the pump"),
        ("id", "110"),
    ] {
        assert_eq!(json[key], want, "{key}");
    }
    assert_eq!((&json["max"], &json["descriptions"]["de"]), (&6.0.into(), &"Hinter der Pumpe".into()));
    let csv = tags::csv(&[row]);
    assert!(csv.contains(",0,6,bar,100,250,no,Wash pressure,Basement,Behind the pump,"), "{csv}");
    // a signal has its message's area unless it has one of its own
    let speed = (0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == "line.pump2_Status.Speed").unwrap();
    assert_eq!((plan.alias(speed), plan.area(speed)), (Some("Wash pump speed"), Some("Hall 3")));
}

/// The lines of a plan, as text that shows every field.
fn lines(loaded: &Loaded) -> Vec<String> {
    let mut plan = loaded.plan.clone();
    plan.hash = [0; 32];
    format!("{:#?}", (plan, &loaded.settings)).lines().map(str::to_owned).collect()
}

#[test]
fn machines_of_one_set_of_files_differ_in_their_variables_only() {
    let common = load_example(None, &[]);
    let mut hashes = vec![common.plan.hash];
    let usual = lines(&common);
    for machine in 1..=40 {
        let (interface, fastest) = (format!("can{machine}"), (100 + machine).to_string());
        let serial = format!("{machine:02}");
        let loaded = load_example(
            None,
            &[
                ("CANVOY_VAR_INTERFACE", interface.as_str()),
                ("CANVOY_VAR_FASTEST", fastest.as_str()),
                ("CANVOY_VAR_SERIAL", serial.as_str()),
            ],
        );
        assert_eq!(loaded.plan.buses[0].interface, Interface::SocketCan(interface.clone()));
        let own = lines(&loaded);
        assert_eq!(own.len(), usual.len());
        let different: Vec<&String> = own.iter().zip(&usual).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
        // the raw value has two bytes; in the plan they are two lines of an array
        let texts: Vec<&str> = different.iter().map(|line| line.trim()).collect();
        let is_known = |line: &&str| {
            line.starts_with('"') && (line.contains(&interface) || line.contains(&format!("press-{serial}")))
                || line.trim_end_matches(',').parse::<u8>().is_ok()
        };
        assert!(texts.iter().all(is_known) && (3..=4).contains(&texts.len()), "{texts:#?}");
        assert!(!hashes.contains(&loaded.plan.hash));
        hashes.push(loaded.plan.hash);
    }
}

/// The order in which devices are written changes nothing but their order.
#[test]
fn names_do_not_depend_on_the_order_of_devices() {
    let toml = |instances: &str| {
        let text = std::fs::read_to_string(example("plant.toml")).unwrap();
        let (before, rest) = text.split_once("instances = [").unwrap();
        let (_, after) = rest.split_once("\n]").unwrap();
        let text =
            format!("{before}instances = [{instances}]{after}").replace("include", "#").replace("machine_file", "#");
        let mut sources = Sources::embedded("p.toml", &text, &[]);
        for name in ["pump.dbc", "names.csv"] {
            let file = SourceFile { name: name.into(), bytes: std::fs::read(example(name)).unwrap() };
            if name.ends_with("dbc") { sources.dbc.push(file) } else { sources.overlay.push(file) }
        }
        load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan
    };
    let one = toml("{ name = \"pump1\" }, { name = \"pump2\", id_offset = 0x10 }");
    let other = toml("{ name = \"pump2\", id_offset = 0x10 }, { name = \"pump1\" }");
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

/// What readers see is in the hash; how the files are arranged is not.
#[test]
fn the_hash_follows_what_the_files_mean() {
    let sources = |edit: &dyn Fn(&mut Sources)| {
        let files = Files { config: example("plant.toml"), machine: Some(example("machine-08.toml")) };
        let mut sources = files.read_with(Vec::new()).unwrap();
        edit(&mut sources);
        load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan.short_hash()
    };
    let replace = |file: &mut SourceFile, from: &str, to: &str| {
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        file.bytes = text.replace(from, to).into_bytes();
    };
    let whole = sources(&|_| {});
    let same: [&dyn Fn(&mut Sources); 3] = [
        &|s| replace(s.machine.as_mut().unwrap(), "[variables]", "[variables] # of this machine"),
        &|s| s.environment = vec![("CANVOY_VAR_INTERFACE".into(), "can2".into())],
        &|s| {
            let common = std::mem::take(&mut s.included).remove(0);
            replace(&mut s.config, "include = [\"common.toml\"]", "");
            s.config.bytes.extend(common.bytes);
        },
    ];
    for edit in same {
        assert_eq!(sources(edit), whole);
    }
    let different: [&dyn Fn(&mut Sources); 6] = [
        &|s| replace(s.machine.as_mut().unwrap(), "1500", "1501"),
        &|s| s.environment = vec![("CANVOY_VAR_INTERFACE".into(), "can3".into())],
        &|s| replace(&mut s.overlay[0], "Basement", "Cellar"),
        &|s| replace(&mut s.overlay[0], ",0,6", ",0,5"),
        &|s| replace(&mut s.config, "device.Pump", "device.Pomp"),
        &|s| replace(&mut s.dbc[0], "VERSION", "VERSION "),
    ];
    let mut seen = vec![whole];
    for edit in different {
        let hash = sources(edit);
        assert!(!seen.contains(&hash), "{seen:?}");
        seen.push(hash);
    }
}

#[test]
fn the_number_of_files_is_bounded() {
    let folder = std::env::temp_dir().join(format!("canvoy-many-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for number in 0..258 {
        std::fs::write(folder.join(format!("{number:03}.toml")), "# nothing\n").unwrap();
    }
    std::fs::write(folder.join("plant"), "include = [\"*.toml\"]\n[bus.a]\nvirtual = true\ndbc = []\n").unwrap();
    let mistakes = read(&folder.join("plant")).unwrap_err();
    let said: Vec<&str> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
    assert!(said[0].ends_with("256.toml\": more than 256 files are included"), "{said:?}");
    assert_eq!(mistakes.iter().filter(|mistake| mistake.severity == Severity::Error).count(), 2, "{said:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A short file must not become a plan that fills the memory.
#[test]
fn what_files_grow_to_is_bounded() {
    let said = |toml: String| -> Vec<String> {
        let pump = include_bytes!("../fixtures/config/pump.dbc");
        let mistakes = load(&Sources::embedded("p.toml", &toml, &[("pump.dbc", pump)]), LoadOptions::default());
        mistakes.unwrap_err().iter().filter_map(|found| found.to_string().lines().next().map(str::to_owned)).collect()
    };
    let references = "${long}".repeat(400);
    let toml = format!("x = \"{references}\"\n[variables]\nlong = \"{}\"\n", "x".repeat(50_000));
    let bound = "p.toml:1:5: error: with this one the values of variables are put in for more than 16 MiB";
    assert!(said(toml).iter().any(|said| said == bound));
    let instances: String = (0..256).map(|n| format!("{{ name = \"p{n}\", id_offset = {n} }}, ")).collect();
    let messages: String = (0..400).map(|n| format!("M{n}.timeout_ms = 1\n")).collect();
    let toml = format!(
        "[bus.a]\nvirtual = true\n[bus.a.device.P]\ndbc = [\"pump.dbc\"]\ninstances = [{instances}]\n[bus.a.device.P.message]\n{messages}"
    );
    let bound = "p.toml:6:17: error: this is too much for so many devices: more than 200000 values";
    assert!(said(toml).iter().any(|said| said == bound));
}

/// Files on disk: globs, machine files, and what can't be read, each with its place.
#[test]
fn files_are_found_on_disk() {
    let folder = std::env::temp_dir().join(format!("canvoy-fleet-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("lines/sub")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let pump = std::fs::read_to_string(example("pump.dbc")).unwrap();
    write("lines/pump.dbc", &pump);
    write("p.toml", "include = [\"lines/*.toml\"]\nmachine_file = \"m.toml\"\n[variables]\nnode = \"Pump\"\n");
    write("m.toml", "[variables]\nnode = \"Master\"\n");
    write("lines/b.toml", "[bus.b]\nvirtual = true\ndbc = [\"pump.dbc\"]\nnode = \"${node}\"\n");
    write("lines/a.toml", "[bus.a]\nvirtual = true\ndbc = [\"../lines/pump.dbc\"]\n");
    write("lines/.hidden.toml", "x = 1\n");
    write("lines/c.txt", "x = 1\n");
    let path = folder.join("p.toml");
    let sources = read(&path).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let names: Vec<String> = sources.included.iter().map(|file| file.name.clone()).collect();
    let name = |name: &str| folder.join(name).display().to_string();
    assert_eq!(names, [name("lines/a.toml"), name("lines/b.toml")]);
    let loaded = load(&sources, LoadOptions::default()).unwrap();
    assert_eq!(loaded.plan.buses[1].node.as_deref(), Some("Master"));

    write(
        "lines/b.toml",
        "include = [\"gone.toml\", \"sub\"]\n[bus.b]\ndbc = [\"no.dbc\"]\noverlay = [\"no.csv\"]\nnod = 1\n",
    );
    std::fs::remove_file(folder.join("m.toml")).unwrap();
    let said = |files: &Files| -> Vec<String> {
        let mistakes = files.read_with(Vec::new()).unwrap_err();
        let lines = mistakes.iter().map(|d| d.to_string().lines().next().unwrap_or_default().to_owned());
        lines.map(|line| line.replace(&format!("{}/", folder.display()), "")).collect()
    };
    assert_eq!(
        said(&path.clone().into()),
        [
            "p.toml:2:16: error: can't read the machine file \"m.toml\": no such file; where there may be none write machine_file = { path = \"m.toml\", optional = true }",
            "p.toml:4:1: warning: variable \"node\" is used nowhere; a reference is \"${node}\"",
            "lines/b.toml:1:12: error: can't read \"gone.toml\": no such file",
            "lines/b.toml:1:25: error: can't read \"sub\": it is a directory",
            "lines/b.toml:2:6: error: bus \"b\" has no interface; add interface = \"can0\" for a Linux CAN interface, or virtual = true",
            "lines/b.toml:3:8: error: can't read \"no.dbc\": no such file",
            "lines/b.toml:4:12: error: can't read \"no.csv\": no such file",
            "lines/b.toml:5:1: error: unknown key \"nod\"; did you mean \"node\"?",
        ]
    );
    let files = Files { config: path.clone(), machine: Some(folder.join("none.toml")) };
    assert_eq!(said(&files), ["none.toml: error: can't read the file: no such file"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Words that files of a configuration are made of.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "include = [\"a.toml\", \"*.toml\", \"x/?\"]\n",
        "include = \"a.toml\"\n",
        "machine_file = \"m.toml\"\n",
        "machine_file = { optional = true }\n",
        "[variables]\n",
        "a = 3\n",
        "a = [\"Command\", 3, \"${a}\"]\n",
        "b = \"$${x}\"\n",
        "[bus.a]\n",
        "[[bus.a.device.P.instances]]\n",
        "[bus.a.device.P]\n",
        "[bus.a.device.P.message.Status]\n",
        "[bus.a.device.\"\"]\n",
        "virtual = true\n",
        "node = \"${b}\"\n",
        "node = \"Master\"\n",
        "dbc = [\"pump.dbc\", \"${a}\"]\n",
        "overlay = [\"o.csv\"]\n",
        "transmit = \"all\"\n",
        "transmit = [\"Command\", \"p_*\", \"_*\"]\n",
        "writable = \"${a}\"\n",
        "writable = [\"*\", \"p_*.*\", \".*\", \"_*.*\"]\n",
        "forcible = [\"_*.*\", \"p_*.x\"]\n",
        "instances = [{ name = \"p\" }, { name = \"\", id_offset = 9223372036854775807 }, { name = \"q\", source_address = -1 }]\n",
        "name = \"r\"\n",
        "id_offset = -9223372036854775808\n",
        "source_address = 3\n",
        "message = { Status = { vital = \"${instance}\", timeout_ms = \"${a}\" } }\n",
        "timeout_ms = 5\n",
        "= [[\n",
        "tag,alias,min;max\n",
        "tag\tmax\tdescription[de]\n",
        "Status.Speed,\"a\n\"\"b,1e400\n",
        "Status\t\t\"\n",
        "Status.Speed\t12\tx\n",
        "\u{feff}ä\"",
    ]);
    prop_oneof![
        4 => prop::collection::vec(word, 0..12).prop_map(|words| words.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

proptest! {
    #[test]
    fn any_bytes_in_any_file_are_no_trouble(
        files in prop::collection::vec(words(), 6),
        environment in prop::collection::vec(("CANVOY_VAR_[ABÄ]|X?", "[0-9]|\\PC{0,4}"), 0..3),
    ) {
        let [config, a, b, machine, dbc, overlay] = files.try_into().unwrap();
        let file = |name: &str, bytes: Vec<u8>| SourceFile { name: name.into(), bytes };
        let pump = include_bytes!("../fixtures/config/pump.dbc");
        let sources = Sources {
            config: file("p.toml", config),
            included: vec![file("a.toml", a), file("b.toml", b)],
            machine: Some(file("m.toml", machine)),
            environment,
            dbc: vec![file("pump.dbc", if dbc.len() > 20 { dbc } else { pump.to_vec() })],
            overlay: vec![file("o.csv", overlay)],
        };
        let (again, options) = Sources::from_bundle(&sources.to_bundle(LoadOptions::default())).unwrap();
        let text = |loaded: &Result<Loaded, _>| format!("{loaded:?}");
        let loaded = load(&sources, options);
        prop_assert_eq!(text(&load(&again, options)), text(&loaded));
        let mistakes = match loaded {
            Ok(loaded) => loaded.diagnostics,
            Err(mistakes) => {
                prop_assert!(!mistakes.is_empty());
                mistakes
            }
        };
        for mistake in mistakes {
            // every place is in the file it names
            let Some(file) = sources.files().find(|file| file.name == mistake.file) else { continue };
            let lines = file.bytes.split(|byte| *byte == b'\n').count() as u32;
            prop_assert!(mistake.line <= lines, "{}", mistake);
        }
    }
}
