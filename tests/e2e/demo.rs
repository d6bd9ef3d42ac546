//! `canvoy demo` as a newcomer meets it: what it prints, what OPC UA clients find and change in it, how it ends.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use canvoy::command::{self, Action, Refusal, Write};
use canvoy::sample;
use canvoy::service::client::Client;
use canvoy::store::clock;
use canvoy::store::layout::Word;
use serde_json::{Value, json};

use crate::canvoy::{CANVOY, Canvoy, get};
use crate::harness::{LIMIT, poll, run, signal};
use crate::peer::Peer;

crate::tests! {
    Nothing: it_says_where_to_look_and_ends_cleanly, a_killed_controller_is_seen_within_a_second_and_comes_back,
        a_killed_controller_moves_nothing_until_armed;
    Tools: asyncua_finds_its_way, node_opcua_finds_its_way;
}

const SETPOINT: &str = "line.DriveCommand.SpeedSetpoint";
const SPEED: &str = "line.DriveStatus.ActualSpeed";

fn it_says_where_to_look_and_ends_cleanly() {
    let mut demo = Canvoy::demo();
    let output = demo.process.output();
    for part in [&demo.opcua, &demo.user, &demo.password, "/metrics"] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
    assert_eq!(get(&demo.http, "/").map(|(status, page)| (status, page.contains("Canvoy"))), Some((200, true)));
    poll("the drive to report its speed", LIMIT, || {
        demo.metric("can_signal_value{bus=\"line\",message=\"DriveStatus\",signal=\"ActualSpeed\",unit=\"rpm\"}")
    });
    let children = demo.process.children();
    assert_eq!(children.len(), 2, "controller and plant: {children:?}");
    demo.process.signal(libc::SIGINT);
    assert_eq!(demo.process.wait_end(), 0);
    poll("both processes to be gone", LIMIT, || {
        children.iter().all(|(pid, _)| !std::path::Path::new(&format!("/proc/{pid}/root/")).exists()).then_some(())
    });
}

fn a_killed_controller_is_seen_within_a_second_and_comes_back() {
    let demo = Canvoy::demo();
    let speed = "can_signal_value{bus=\"line\",message=\"DriveStatus\",signal=\"ActualSpeed\",unit=\"rpm\"}";
    // a busy machine may be late once; only being late each time is a fault of ours
    let mut seen = Vec::new();
    while seen.len() < 3 && !seen.iter().any(|seconds| *seconds < 1.0) {
        poll("a speed", LIMIT, || demo.metric(speed));
        let controller = demo.part("controller");
        let killed = Instant::now();
        signal(controller, libc::SIGKILL);
        let page = poll("every value to be bad with its cause", LIMIT, || {
            let page = demo.metrics();
            (!page.contains("\ncan_signal_value{")).then_some(page)
        });
        seen.push(killed.elapsed().as_secs_f64());
        let reasons: Vec<&str> = page.lines().filter(|line| line.starts_with("can_signal_quality{")).collect();
        assert!(reasons.len() > 100, "{} signals", reasons.len());
        assert!(reasons.iter().all(|line| line.contains("quality=\"controller_gone\"")), "{reasons:?}");
        assert_eq!(get(&demo.http, "/healthz").map(|(status, _)| status), Some(503));
    }
    assert!(seen.iter().any(|seconds| *seconds < 1.0), "seen after {seen:?} s");
    // nothing is stuck: the supervisor starts it again, and the plant process finds it
    poll("a speed from the new controller", LIMIT, || demo.metric(speed));
}

/// A person's connection to the controller of a demo.
fn machine(demo: &Canvoy, not: u32) -> Client {
    let socket = poll("the command socket", LIMIT, || {
        let (_, line) = demo.process.children().into_iter().find(|(_, line)| line.contains(" controller "))?;
        let socket = line.split(" --socket ").nth(1)?.split(' ').next()?;
        Some(PathBuf::from(socket))
    });
    poll("the controller", LIMIT, || Client::open(Some(socket.clone())).ok().filter(|client| client.pid != not))
}

fn tag(client: &Client, name: &str) -> usize {
    (0..client.plan.tags.len()).find(|tag| client.plan.tag_name(*tag, None) == name).unwrap_or_else(|| panic!("{name}"))
}

fn set(client: &mut Client, values: &[(&str, f64)]) -> Result<(), Refusal> {
    let writes = values
        .iter()
        .map(|(name, value)| Write { tag: tag(client, name), value: command::Value::Engineering(*value) })
        .collect();
    client.command(Action::Set(writes)).expect("an answer")
}

/// Value and causes of a tag.
fn look(client: &Client, name: &str) -> (Option<f64>, String) {
    let tag = tag(client, name);
    let sample = sample::read(&client.plan, &client.reader, tag, 0, clock::monotonic());
    (sample.value, sample.causes.meaning().label.to_owned())
}

fn a_killed_controller_moves_nothing_until_armed() {
    const ENABLE: &str = "line.DriveCommand.Enable";
    let mut demo = Canvoy::demo();
    let mut client = machine(&demo, 0);
    // armed by itself after a start in order
    poll("the first arming", LIMIT, || (client.reader.get(Word::Armed) == 1).then_some(()));
    assert_eq!(set(&mut client, &[(SETPOINT, 900.0), (ENABLE, 1.0)]), Ok(()));
    let turns = |client: &Client| look(client, SPEED).0.is_some_and(|speed| speed > 500.0);
    poll("the drive to turn", LIMIT, || turns(&client).then_some(()));

    let killed = client.pid;
    signal(i32::try_from(killed).expect("a process id"), libc::SIGKILL);
    let mut client = machine(&demo, killed);
    assert!(demo.process.errors().contains("did not end in order"), "it is in the log");
    // the drive has frames again, and they say: stand still
    let sent = |client: &Client| {
        client.reader.record(client.plan.messages[client.plan.tags[tag(client, ENABLE)].message].first_record)
    };
    poll("fifty frames", LIMIT, || sent(&client).filter(|record| record.count > 50));
    assert_eq!(client.reader.get(Word::Armed), 0);
    assert_eq!(
        (look(&client, SETPOINT), look(&client, ENABLE)),
        ((Some(0.0), "fallback".into()), (Some(0.0), "fallback".into()))
    );
    assert_eq!(set(&mut client, &[(ENABLE, 1.0)]), Err(Refusal::NotArmed));
    assert!(!turns(&client), "{:?}", look(&client, SPEED));

    let socket = client.socket.display().to_string();
    run(CANVOY, &["arm", "--socket", &socket]);
    assert_eq!(client.reader.get(Word::Armed), 1);
    assert_eq!(look(&client, ENABLE), (Some(0.0), "simulated".into()), "arming alone moves nothing");
    assert_eq!(set(&mut client, &[(SETPOINT, 900.0), (ENABLE, 1.0)]), Ok(()));
    poll("the drive to turn again", LIMIT, || turns(&client).then_some(()));
    demo.process.signal(libc::SIGINT);
    assert_eq!(demo.process.wait_end(), 0);
}

fn asyncua_finds_its_way() {
    client_finds_its_way(Peer::asyncua);
}

fn node_opcua_finds_its_way() {
    client_finds_its_way(Peer::node_opcua);
}

fn client_finds_its_way(start: fn() -> Peer) {
    let demo = Canvoy::demo();
    let mut peer = start();
    check_security(&mut peer, &demo, start);
    peer.connect(&demo);
    check_tree(&mut peer);
    check_description(&mut peer);
    check_writes(&mut peer);
    check_subscription(&mut peer);
    check_quality(&mut peer);
    check_arming(&mut peer);
    check_reconnection(&mut peer, &demo);
    check_controller_gone(&mut peer, &demo);
    peer.ask(json!({"do": "disconnect"}));
}

fn check_security(peer: &mut Peer, demo: &Canvoy, start: fn() -> Peer) {
    let endpoints = peer.ask(json!({"do": "endpoints", "url": demo.opcua}));
    let mut policies: Vec<&str> =
        endpoints.as_array().expect("endpoints").iter().filter_map(|e| e["policy"].as_str()).collect();
    policies.sort_unstable();
    policies.dedup();
    assert_eq!(policies, ["Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss", "Basic256Sha256"]);
    assert_eq!(endpoints.as_array().map(Vec::len), Some(6), "each with Sign and with SignAndEncrypt");
    for endpoint in endpoints.as_array().expect("endpoints") {
        assert!(["Sign", "SignAndEncrypt"].map(|mode| json!(mode)).contains(&endpoint["mode"]), "{endpoint}");
        assert_eq!(endpoint["tokens"], json!(["Certificate", "UserName"]), "{endpoint}");
    }
    let request = |policy: &str, password: &str| json!({"do": "connect", "url": demo.opcua, "user": demo.user, "password": password, "policy": policy});
    for policy in ["Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] {
        let mut other = start();
        other.ask(request(policy, &demo.password));
        assert_eq!(other.read("i=2259")["value"], json!(0.0), "server state: running");
        other.ask(json!({"do": "disconnect"}));
    }
    assert!(start().try_ask(&request("Basic256Sha256", "wrong")).is_err(), "a wrong password");
}

fn check_tree(peer: &mut Peer) {
    let tree = peer.ask(json!({"do": "browse", "depth": 4}));
    let rows: Vec<[&str; 4]> = tree
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| [0, 1, 2, 3].map(|column| row[column].as_str().unwrap_or_default()))
        .collect();
    // Objects/Canvoy/bus/message/signal, and bus/bus.@SA/message/signal: bus.Message.Signal, bus.Message@SA.Signal
    let variables = rows.iter().filter(|row| row[2] == "Variable" && row[3] != "PropertyType");
    let (machine, signals): (Vec<&[&str; 4]>, Vec<&[&str; 4]>) =
        variables.partition(|row| row[0].starts_with("Canvoy/Machine/"));
    // buses, controller, areas and alarms are below
    let own = machine.iter().filter(|row| row[0].matches('/').count() == 2);
    let machine: Vec<&str> = own.map(|row| row[1]).collect();
    assert_eq!(
        machine,
        [
            "ActiveAlarms",
            "Alarms",
            "Armed",
            "ClockSynchronized",
            "ConfigurationHash",
            "ConfigurationTime",
            "FallbackReasons",
            "Forces",
            "Remote"
        ]
        .map(|name| format!("Canvoy.Machine.{name}"))
    );
    assert!(signals.len() > 300, "{} signals", signals.len());
    for [path, id, ..] in &signals {
        let parts: Vec<&str> = path.split('/').collect();
        let expected = match parts[..] {
            [_, bus, message, signal, "RawValue"] => format!("{bus}.{message}.{signal}.RawValue"),
            [_, bus, message, signal] => format!("{bus}.{message}.{signal}"),
            [_, bus, device, message, signal] => {
                let (_, address) = device.rsplit_once('@').expect(path);
                format!("{bus}.{message}@{address}.{signal}")
            }
            _ => panic!("{path}"),
        };
        assert_eq!(*id, expected, "NodeId of {path}");
    }
    for kind in ["AnalogUnitType", "MultiStateValueDiscreteType", "TwoStateDiscreteType"] {
        assert!(signals.iter().any(|row| row[3] == kind), "no {kind}");
    }
    // sorted and stable: the walk is depth first, so each level in its order
    let mut siblings: std::collections::BTreeMap<&str, Vec<&str>> = Default::default();
    for [path, ..] in &rows {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        // properties come behind what hangs below a folder
        if name == "NodeVersion" {
            continue;
        }
        siblings.entry(parent).or_default().push(name);
    }
    for (parent, names) in siblings.iter().filter(|(parent, _)| parent.matches('/').count() < 2) {
        assert!(names.is_sorted(), "{parent}: {names:?}");
    }
    assert_eq!(tree, peer.ask(json!({"do": "browse", "depth": 4})), "a second walk finds the same");
}

fn check_description(peer: &mut Peer) {
    let setpoint = peer.ask(json!({"do": "describe", "node": SETPOINT}));
    assert!(
        setpoint["description"].as_str().is_some_and(|text| text.starts_with("Speed that the main drive shall reach")),
        "{setpoint}"
    );
    assert_eq!(setpoint["writable"], json!(true), "{setpoint}");
    let range = &setpoint["properties"]["EURange"];
    assert_eq!((range["low"].as_f64(), range["high"].as_f64()), (Some(0.0), Some(3000.0)), "{setpoint}");
    let unit = &setpoint["properties"]["EngineeringUnits"];
    // UNECE Recommendation 20: the letters of RPM, revolutions per minute
    assert_eq!(unit["unitId"], json!(u32::from_be_bytes(*b"\0RPM")), "{setpoint}");
    let speed = peer.ask(json!({"do": "describe", "node": SPEED}));
    assert_eq!(speed["writable"], json!(false), "{speed}");
    let state = peer.ask(json!({"do": "describe", "node": "line.DriveStatus.DriveState"}));
    assert!(state["properties"]["EnumValues"].as_array().is_some_and(|values| values.len() > 3), "{state}");
    assert!(state["properties"]["ValueAsText"].is_string(), "{state}");
    let enable = peer.ask(json!({"do": "describe", "node": "line.DriveCommand.Enable"}));
    assert!(
        enable["properties"]["TrueState"].is_string() && enable["properties"]["FalseState"].is_string(),
        "{enable}"
    );
}

fn check_writes(peer: &mut Peer) {
    for rpm in [1200.0, 600.0] {
        assert_eq!(peer.write(SETPOINT, rpm), "Good");
        peer.read_until(SPEED, &format!("near {rpm}"), |value| {
            value["status"].as_u64().is_some_and(|status| status >> 30 == 0)
                && value["value"].as_f64().is_some_and(|speed| (speed - rpm).abs() < 10.0)
        });
        assert_eq!(peer.read(SETPOINT)["value"], json!(rpm));
    }
    let mut wrong = |node: &str, value: Value, kind: Option<&str>| {
        let mut request = json!({"do": "write", "node": node, "value": value});
        if let Some(kind) = kind {
            request["type"] = json!(kind);
        }
        peer.ask(request).as_str().unwrap_or_default().to_string()
    };
    assert_eq!(wrong(SETPOINT, json!(3000.5), None), "BadOutOfRange");
    assert_eq!(wrong(SETPOINT, json!("fast"), Some("String")), "BadTypeMismatch");
    assert!(["BadNotWritable", "BadUserAccessDenied"].contains(&wrong(SPEED, json!(1.0), None).as_str()));
    assert_eq!(peer.read(SETPOINT)["value"], json!(600.0), "refused writes change nothing");
}

fn check_subscription(peer: &mut Peer) {
    peer.ask(json!({"do": "changes"}));
    let revised = peer.ask(json!({"do": "subscribe", "nodes": [SPEED, "line.DriveStatus.DriveAlive"], "interval": 10}));
    assert!(revised["publishing"].as_f64().is_some_and(|interval| interval <= 10.0), "{revised}");
    assert_eq!(peer.write(SETPOINT, 1500.0), "Good");
    // the counter of a 10 ms message: most of its steps arrive
    let mut stamps: Vec<f64> = Vec::new();
    poll("changes at 10 ms", LIMIT, || {
        let seen = peer.ask(json!({"do": "changes"}));
        let changes = seen["changes"].as_array().cloned().unwrap_or_default();
        stamps.extend(
            changes
                .iter()
                .filter(|c| c["node"] == "line.DriveStatus.DriveAlive")
                .filter_map(|c| c["source_ms"].as_f64()),
        );
        (stamps.len() > 200).then_some(())
    });
    assert!(stamps.is_sorted(), "source time stamps go forward");
    let mut steps: Vec<f64> = stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    assert!(
        steps[steps.len() / 2] < 25.0,
        "half of the changes come within {} ms of each other",
        steps[steps.len() / 2]
    );
}

fn check_quality(peer: &mut Peer) {
    // good, but simulated: GoodEdited
    assert_eq!(peer.read("line.FillerStatus.TankLevel")["status"], json!(0x00DC_0000));
    assert_eq!(peer.write("line.DemoControl.FaultSelect", 2), "Good");
    let late =
        peer.read_until("line.FillerStatus.TankLevel", "late", |value| value["status"] == json!(0x408F_0000_u32));
    assert!(late["value"].is_number(), "the last value is held: {late}");
    let same = peer.read("line.FillerStatus.TankLevel");
    assert_eq!((&same["value"], &same["source_ms"]), (&late["value"], &late["source_ms"]), "and its time");
    assert_eq!(peer.write("line.DemoControl.FaultSelect", 3), "Good");
    peer.read_until("line.OvenStatus.OvenTemperature", "not available", |value| {
        value["status"] == json!(0x808C_0000_u32)
    });
    peer.read_until_within("line.FillerStatus.TankLevel", "back", Duration::from_secs(30), |value| {
        value["status"] == json!(0x00DC_0000)
    });
    assert_eq!(peer.write("line.DemoControl.FaultSelect", 0), "Good");
}

/// The machine's own variables: disarmed and armed by writing, subscribed to, and what is refused meanwhile.
fn check_arming(peer: &mut Peer) {
    const ARMED: &str = "Canvoy.Machine.Armed";
    peer.ask(json!({"do": "subscribe", "nodes": [ARMED, "Canvoy.Machine.Alarms"], "interval": 50}));
    assert_eq!(peer.read(ARMED)["value"], json!(true));
    assert_eq!(peer.write(ARMED, false), "Good");
    peer.read_until(ARMED, "false", |value| value["value"] == json!(false));
    let substitute = peer.read_until(SETPOINT, "its fallback value", |value| value["status"] == json!(0x4091_0000_u32));
    assert_eq!(substitute["value"], json!(0.0));
    assert_eq!(peer.write(SETPOINT, 900.0), "BadInvalidState");
    let alarms = peer.read("Canvoy.Machine.Alarms")["value"].to_string();
    assert!(alarms.contains("machine: the outputs have their fallback values until they are armed"), "{alarms}");
    poll("the subscription to tell", LIMIT, || {
        let seen = peer.ask(json!({"do": "changes"}));
        let told = |node: &str, value: &str| {
            let changes = seen["changes"].as_array().into_iter().flatten();
            changes.into_iter().any(|c| c["node"] == node && c["value"].to_string().contains(value))
        };
        (told(ARMED, "false") && told("Canvoy.Machine.Alarms", "fallback values")).then_some(())
    });
    assert_ne!(peer.write("Canvoy.Machine.Remote", false), "Good", "switched at the machine only");
    let wrong = peer.ask(json!({"do": "write", "node": ARMED, "value": 1, "type": "Int32"}));
    assert_eq!(wrong, json!("BadTypeMismatch"));
    assert_eq!(peer.write(ARMED, true), "Good");
    peer.read_until(ARMED, "true", |value| value["value"] == json!(true));
    assert_eq!(peer.read(SETPOINT)["value"], json!(0.0), "what was written before is forgotten");
    assert_eq!(peer.write(SETPOINT, 1500.0), "Good");
}

/// The plant process is killed: the client comes back by itself, and its subscription goes on.
fn check_reconnection(peer: &mut Peer, demo: &Canvoy) {
    let killed = demo.part("plant");
    signal(killed, libc::SIGKILL);
    poll("the loss of the connection", LIMIT, || {
        (peer.ask(json!({"do": "changes"}))["losses"].as_u64() > Some(0)).then_some(())
    });
    let back = poll("a new plant process", LIMIT, || Some(demo.part("plant")).filter(|plant| *plant != killed));
    let mut changes = 0;
    poll("changes of the subscription", LIMIT, || {
        changes += peer.try_ask(&json!({"do": "changes"})).ok()?["changes"].as_array()?.len();
        (changes > 10).then_some(())
    });
    assert_eq!(demo.part("plant"), back, "it stays");
    assert_eq!(peer.read(SETPOINT)["value"], json!(1500.0), "what was written still stands");
}

/// The controller is killed: every value says so, writes are refused, and all is well again when it is back.
fn check_controller_gone(peer: &mut Peer, demo: &Canvoy) {
    signal(demo.part("controller"), libc::SIGKILL);
    for node in [SPEED, SETPOINT, "cell.EEC1@0.EngSpeed"] {
        peer.read_until(node, "BadDeviceFailure", |value| value["status"] == json!(0x808B_0000_u32));
    }
    assert_ne!(peer.write(SETPOINT, 900.0), "Good", "nobody is there to do it");
    peer.read_until(SPEED, "back", |value| value["status"] == json!(0x00DC_0000));
    // after a crash nothing commands until somebody arms
    assert_eq!(peer.write(SETPOINT, 900.0), "BadInvalidState");
    let mut client = machine(demo, 0);
    assert_eq!(client.command(Action::Arm).expect("an answer"), Ok(()));
    assert_eq!(peer.write(SETPOINT, 900.0), "Good");
}
