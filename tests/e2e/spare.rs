//! What outlives a controller and a computer: retained values after a kill, a backup that is restored elsewhere.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use canvoy::command::socket::Connection;
use canvoy::command::{self, Action, MAX_DATAGRAM, Origin, Value, Write};
use serde_json::json;

use crate::canvoy::{CANVOY, Canvoy, PASSWORD, USER, get};
use crate::harness::{LIMIT, Process, TempDir, free_port, poll, signal};
use crate::operate::{ask, text};
use crate::peer::Peer;

crate::tests! {
    Nothing: a_retained_value_survives_a_kill, what_is_no_backup_changes_nothing;
    Tools: a_spare_computer_takes_over_and_no_client_notices;
}

const DBC: &str = include_str!("machine.dbc");
const BUS: &str = r#"
[bus.m]
virtual = true
dbc = ["machine.dbc"]
node = "Canvoy"
transmit = ["Command"]
writable = ["Command.Setpoint", "Command.Enable"]
retain = ["Command.Setpoint"]
"#;

/// Writes one signal of `Command` through the command socket, as the plant process does.
fn write(socket: &Path, signal: &str, value: f64) {
    let connection = Connection::connect(socket).expect("connect to the controller");
    let mut buffer = vec![0; MAX_DATAGRAM];
    poll("the handover", LIMIT, || connection.receive(&mut buffer, &mut Vec::new()).ok());
    let tag = ["Setpoint", "Enable", "Ramp"].iter().position(|name| *name == signal).expect("a signal");
    let action = Action::Set(vec![Write { tag, value: Value::Engineering(value) }]);
    let origin = Origin { protocol: "test".into(), ..Origin::default() };
    let command = command::Command { id: 1, generation: 1, origin, action };
    connection.send(&serde_json::to_vec(&command).expect("JSON"), &[]).expect("send");
    let length = poll("the reply", LIMIT, || connection.receive(&mut buffer, &mut Vec::new()).ok());
    let reply: command::Reply = serde_json::from_slice(&buffer[..length]).expect("a reply");
    assert_eq!(reply.refusal, None);
}

fn value(http: &str, tag: &str) -> Option<f64> {
    let (_, page) = get(http, "/api/v1/tags")?;
    let page: serde_json::Value = serde_json::from_str(&page).ok()?;
    page["tags"].as_array()?.iter().find(|one| one["name"] == tag)?["value"].as_f64()
}

fn wait_value(http: &str, tag: &str, wanted: f64) {
    poll(&format!("{tag} = {wanted}"), LIMIT, || (value(http, tag) == Some(wanted)).then_some(()));
}

fn a_retained_value_survives_a_kill() {
    let canvoy = Canvoy::run(BUS, &[("machine.dbc", DBC)], &[]);
    let socket = poll("the command socket", LIMIT, || {
        let mut folders = std::fs::read_dir(canvoy.folder.path()).ok()?.flatten().map(|entry| entry.path());
        folders.find_map(|folder| Some(folder.join("command.plant")).filter(|socket| socket.exists()))
    });
    wait_value(&canvoy.http, "m.Command.Setpoint", 0.0);
    write(&socket, "Setpoint", 1234.5);
    write(&socket, "Enable", 1.0);
    wait_value(&canvoy.http, "m.Command.Setpoint", 1234.5);
    let kept = canvoy.folder.path().join("canvoy/retained");
    poll("the value on the disk", LIMIT, || {
        let copies = ["a", "b"].map(|name| std::fs::read(kept.join(name)).unwrap_or_default());
        copies.iter().any(|copy| String::from_utf8_lossy(copy).contains("m.Command.Setpoint")).then_some(())
    });
    let before = canvoy.part("controller");
    signal(before, libc::SIGKILL);
    poll("another controller", LIMIT, || (canvoy.part("controller") != before).then_some(()));
    let status = poll("the outputs in fallback", LIMIT, || {
        let status = text(&ask(&canvoy, &["status"]));
        status.contains("outputs NOT ARMED").then_some(status)
    });
    println!("{status}");
    wait_value(&canvoy.http, "m.Command.Setpoint", 0.0);
    assert!(text(&ask(&canvoy, &["arm"])).starts_with("armed"));
    wait_value(&canvoy.http, "m.Command.Setpoint", 1234.5);
    // what is not listed is forgotten
    assert_eq!(value(&canvoy.http, "m.Command.Enable"), Some(0.0));
    assert!(canvoy.process.errors().contains("retained value comes back"));
}

/// A command and what it said; whether it ended well.
fn canvoy(arguments: &[&str], folder: &Path) -> (bool, String) {
    let mut command = Command::new(CANVOY);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env("XDG_RUNTIME_DIR", folder);
    let output = command.output().expect("run canvoy");
    (output.status.success(), text(&output))
}

/// A root with a configuration, users and ports.
fn root(folder: &Path, opcua: u16, http: u16) {
    let etc = folder.join("etc/canvoy");
    std::fs::create_dir_all(&etc).expect("make folders");
    std::fs::write(etc.join("machine.dbc"), DBC).expect("write a file");
    let plant = format!(
        "{BUS}\n[opcua]\nlisten = \"127.0.0.1:{opcua}\"\nusers = \"users\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n"
    );
    std::fs::write(etc.join("plant.toml"), plant).expect("write a file");
    let mut command = Command::new(CANVOY);
    command.args(["user", "add", "users", USER]).current_dir(&etc).stdin(Stdio::piped());
    let mut process = Process::spawn(command);
    process.write(format!("{PASSWORD}\n").as_bytes());
    process.close_input();
    assert_eq!(process.wait_end(), 0, "canvoy user add");
}

/// Both processes of a root, as the units start them; `host`: the name of the computer.
fn start(folder: &Path, host: &str, http: &str) -> [Process; 2] {
    let path = |below: &str| folder.join(below).display().to_string();
    for below in ["run/canvoy", "run/canvoy-plant", "var/lib/canvoy", "var/lib/canvoy-plant"] {
        std::fs::create_dir_all(folder.join(below)).expect("make folders");
    }
    let (socket, door) = (path("run/canvoy/command"), path("run/canvoy-plant/command"));
    let (state, plant_state, file) =
        (path("var/lib/canvoy"), path("var/lib/canvoy-plant"), path("etc/canvoy/plant.toml"));
    let controller =
        Process::start(CANVOY, &["controller", "--socket", &socket, "--plant-socket", &door, "--state", &state, &file]);
    let named = format!("hostname {host} && exec \"$@\"");
    let plant = Process::start(
        "unshare",
        &[
            "--map-root-user",
            "--uts",
            "sh",
            "-c",
            &named,
            "sh",
            CANVOY,
            "plant",
            "--socket",
            &door,
            "--state",
            &plant_state,
        ],
    );
    poll("the server", LIMIT, || matches!(get(http, "/healthz"), Some((200, _))).then_some(()));
    [controller, plant]
}

fn stop([mut controller, mut plant]: [Process; 2]) {
    plant.signal(libc::SIGTERM);
    plant.wait_end();
    controller.signal(libc::SIGTERM);
    assert_eq!(controller.wait_end(), 0, "{}", controller.errors());
}

/// Files below a folder with their bytes.
fn files(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.path().is_dir() {
            true => {
                found.extend(files(&entry.path()).into_iter().map(|(path, bytes)| (format!("{name}/{path}"), bytes)))
            }
            false => drop(found.insert(name, std::fs::read(entry.path()).unwrap_or_default())),
        }
    }
    found
}

fn a_spare_computer_takes_over_and_no_client_notices() {
    let (first, spare, desk) = (TempDir::new(), TempDir::new(), TempDir::new());
    let (opcua, http) = (free_port(), free_port());
    let (url, http_address) = (format!("opc.tcp://127.0.0.1:{opcua}"), format!("127.0.0.1:{http}"));
    root(first.path(), opcua, http);
    let drop_in = "etc/systemd/system/canvoy.service.d/cpu.conf";
    std::fs::create_dir_all(first.path().join(drop_in).parent().expect("a folder")).expect("make folders");
    std::fs::write(first.path().join(drop_in), "[Service]\nCPUAffinity=1\n").expect("write a file");

    let running = start(first.path(), "first", &http_address);
    let mut peer = Peer::asyncua();
    let connect = json!({"do": "connect", "url": url, "user": USER, "password": PASSWORD});
    assert!(peer.try_ask(&connect).is_err(), "a certificate that nobody has trusted");
    let pki = first.path().join("var/lib/canvoy-plant/pki");
    let rejected = poll("the refused certificate", LIMIT, || {
        Some(std::fs::read_dir(pki.join("rejected")).ok()?.next()?.ok()?.path())
    });
    std::fs::rename(&rejected, pki.join("trusted").join(rejected.file_name().expect("a name"))).expect("trust it");
    peer.ask(connect.clone());
    peer.ask(json!({"do": "write", "node": "m.Command.Setpoint", "value": 777.5}));
    wait_value(&http_address, "m.Command.Setpoint", 777.5);
    peer.ask(json!({"do": "disconnect"}));
    let shown = peer.ask(json!({"do": "identity", "url": url}));
    // the backup is made while the plant runs; the value was written within a second
    poll("the value on the disk", LIMIT, || {
        (!files(&first.path().join("var/lib/canvoy/retained")).is_empty()).then_some(())
    });
    // somebody has done something about an alarm
    let disable = json!({"do": "call", "object": "Canvoy.Alarms.forced:machine", "method": "Canvoy.Alarms.forced:machine.Disable"});
    peer.ask(connect.clone());
    peer.ask(disable);
    peer.ask(json!({"do": "disconnect"}));
    let alarms = |root: &Path, what: &[&str]| {
        let state = root.join("var/lib/canvoy-plant").display().to_string();
        canvoy(&[&["alarms", "--state", &state], what].concat(), root).1
    };
    poll("states of alarms on the disk", LIMIT, || alarms(first.path(), &["--all"]).contains("disabled").then_some(()));
    let journal = alarms(first.path(), &["--journal"]);
    assert!(journal.contains("disabled") && journal.contains(USER), "{journal}");
    let from = first.path().display().to_string();
    std::fs::write(desk.path().join("secret"), "correct horse\n").expect("write a file");
    std::fs::write(desk.path().join("wrong"), "battery staple\n").expect("write a file");
    let began = Instant::now();
    let (good, said) = canvoy(&["backup", "line.canvoy", "--passphrase-file", "secret", "--root", &from], desk.path());
    assert!(good && said.contains("encrypted"), "{said}");
    let backup_took = began.elapsed();
    let (good, said) = canvoy(&["backup", "line.canvoy", "--passphrase-file", "secret", "--root", &from], desk.path());
    assert!(!good && said.contains("--force writes over it"), "{said}");
    let (good, said) = canvoy(&["restore", "line.canvoy", "--passphrase-file", "secret", "--root", &from], desk.path());
    assert!(!good && said.contains("systemctl stop canvoy"), "{said}");
    stop(running);

    // a bare computer: only what the package brings
    let to = spare.path().display().to_string();
    std::fs::create_dir_all(spare.path().join("etc/canvoy")).expect("make folders");
    std::fs::write(spare.path().join("etc/canvoy/plant.toml"), "# the package's\n").expect("write a file");
    for (arguments, words) in [
        (&["restore", "line.canvoy", "--root", &to][..], "--passphrase-file"),
        (&["restore", "line.canvoy", "--passphrase-file", "wrong", "--root", &to], "wrong passphrase"),
    ] {
        let (good, said) = canvoy(arguments, desk.path());
        assert!(!good && said.contains(words), "{said}");
        assert_eq!(files(spare.path()).len(), 1, "nothing was written");
    }
    let (good, said) = canvoy(&["backup", "--list", "line.canvoy", "--passphrase-file", "secret"], desk.path());
    assert!(good && said.contains("/var/lib/canvoy-plant/pki/own/key.pem") && said.contains(drop_in), "{said}");
    let began = Instant::now();
    let (good, said) = canvoy(&["restore", "line.canvoy", "--passphrase-file", "secret", "--root", &to], desk.path());
    assert!(good && said.contains("systemctl start canvoy canvoy-plant"), "{said}");
    let restore_took = began.elapsed();
    let (old, new) = (files(first.path()), files(spare.path()));
    for path in ["etc/canvoy/plant.toml", "etc/canvoy/machine.dbc", "etc/canvoy/users", drop_in] {
        assert_eq!(old[path], new[path], "{path}");
    }
    assert!(alarms(spare.path(), &["--all"]).contains("disabled"), "what people did about alarms");
    assert!(alarms(spare.path(), &["--journal"]).starts_with(&journal), "and what happened");
    assert_eq!(new["etc/canvoy/plant.toml.before-restore"], b"# the package's\n");
    for name in ["own/certificate.der", "own/key.pem"] {
        let path = format!("var/lib/canvoy-plant/pki/{name}");
        assert_eq!(old[&path], new[&path], "{path}");
    }

    let began = Instant::now();
    let running = start(spare.path(), "spare", &http_address);
    // nothing is moved to trusted here
    peer.ask(connect);
    println!("backup {backup_took:?}, restore {restore_took:?}, start to connected {:?}", began.elapsed());
    assert_eq!(peer.ask(json!({"do": "identity", "url": url})), shown, "the same certificate and application");
    wait_value(&http_address, "m.Command.Setpoint", 777.5);
    peer.ask(json!({"do": "disconnect"}));
    stop(running);
}

/// Numbers that look random and are the same each time (splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn what_is_no_backup_changes_nothing() {
    let (first, spare, desk) = (TempDir::new(), TempDir::new(), TempDir::new());
    root(first.path(), 1, 2);
    let (from, to) = (first.path().display().to_string(), spare.path().display().to_string());
    let (good, said) = canvoy(&["backup", "b", "--root", &from], desk.path());
    assert!(good && said.contains("3 files") && said.contains("not encrypted"), "{said}");
    let whole = std::fs::read(desk.path().join("b")).expect("the backup");
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(desk.path().join("odd"), bytes).expect("write a file");
        let (good, said) = canvoy(&["restore", "odd", "--root", &to], desk.path());
        assert!(!good && said.starts_with("canvoy: odd: ") && !said.contains("panicked"), "{what}: {said}");
        assert!(files(spare.path()).is_empty(), "{what}: something was written");
    };
    refused(b"", "empty");
    refused(b"CANVOYE", "a header");
    let mut state = 7;
    for number in 0..40 {
        let mut bytes = whole.clone();
        let at = random(&mut state) as usize % bytes.len();
        if number % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << (random(&mut state) % 8);
        }
        refused(&bytes, &format!("number {number} at {at}"));
    }
    // a configuration that this version can't use is said with its place, before anything is touched
    std::fs::write(first.path().join("etc/canvoy/plant.toml"), "[bus.m]\nvirtual = true\n").expect("write a file");
    let (good, _) = canvoy(&["backup", "b2", "--root", &from], desk.path());
    assert!(good);
    let (good, said) = canvoy(&["restore", "b2", "--root", &to], desk.path());
    assert!(good, "{said}");
    let (good, said) = canvoy(&["restore", "b", "--root", &to], desk.path());
    assert!(good && said.contains("plant.toml.before-restore"), "{said}");
    std::fs::write(first.path().join("etc/canvoy/plant.toml"), "[bus.m]\nvirtua = true\n").expect("write a file");
    let (good, said) = canvoy(&["backup", "b3", "--root", &from], desk.path());
    assert!(!good && said.contains("plant.toml:2:1: error: unknown key"), "{said}");
    assert!(!desk.path().join("b3").exists());
}
