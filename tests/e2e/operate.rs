//! A person at the machine: status, arm and disarm, forces, the monitor, the acceptance run, each as typed in a terminal.

use std::process::{Command, Output};

use crate::canvoy::{CANVOY, Canvoy, get};
use crate::harness::{LIMIT, TempDir, poll};

crate::tests! {
    Nothing: outputs_are_disarmed_and_armed_again, values_are_forced_and_released, every_frame_is_seen, an_acceptance_run_reports,
        without_a_controller_it_says_so;
}

/// One `canvoy` command beside a running one.
pub fn ask(canvoy: &Canvoy, arguments: &[&str]) -> Output {
    command(&canvoy.folder, arguments)
}

fn command(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.arg("60").arg(CANVOY).args(arguments).current_dir(folder.path());
    command.env("XDG_RUNTIME_DIR", folder.path()).env("TMPDIR", folder.path());
    command.output().expect("run canvoy")
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asks until the answer has the words.
fn wait_for(canvoy: &Canvoy, arguments: &[&str], words: &str) -> Output {
    poll(words, LIMIT, || {
        let output = ask(canvoy, arguments);
        text(&output).contains(words).then_some(output)
    })
}

fn snapshot(canvoy: &Canvoy) -> serde_json::Value {
    let page = poll("the page as JSON", LIMIT, || match get(&canvoy.http, "/api/v1/tags") {
        Some((200, page)) => Some(page),
        _ => None,
    });
    serde_json::from_str(&page).expect("JSON")
}

fn outputs_are_disarmed_and_armed_again() {
    let demo = Canvoy::demo();
    wait_for(&demo, &["status"], "outputs armed · Remote");
    assert!(text(&ask(&demo, &["disarm"])).starts_with("disarmed"));
    let status = wait_for(&demo, &["status"], "outputs NOT ARMED");
    assert_eq!(status.status.code(), Some(1), "{}", text(&status));
    assert!(text(&status).contains("until they are armed"), "{}", text(&status));
    poll("the metrics", LIMIT, || (demo.metric("canvoy_armed") == Some(0.0)).then_some(()));
    assert_eq!(snapshot(&demo)["machine"]["armed"], false);
    let json = ask(&demo, &["status", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["machine"]["armed"], false);
    assert!(text(&ask(&demo, &["arm"])).starts_with("armed"));
    wait_for(&demo, &["status"], "outputs armed");
    // who comes later sees that it was
    let over = poll("the alarm that is over", LIMIT, || {
        let over = snapshot(&demo)["over"].as_array()?.first()?.clone();
        (over["kind"] == "not_armed").then_some(over)
    });
    assert_eq!((&over["subject"], &over["handled"]), (&"machine".into(), &"unacknowledged".into()), "{over}");
    let (_, page) = get(&demo.http, "/").expect("the page");
    assert!(page.contains("1 over, to be acknowledged") && page.contains(r#"<tr class="over">"#), "{page}");
    assert!(text(&ask(&demo, &["local"])).starts_with("Local"));
    wait_for(&demo, &["status"], "· Local ·");
    assert_eq!(demo.metric("canvoy_remote"), Some(0.0));
}

const FORCIBLE: &str = r#"
[bus.m]
virtual = true
dbc = ["m.dbc"]
node = "Us"
forcible = ["Status.Speed"]
"#;

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
 SG_ Mode : 16|8@1+ (1,0) [0|10] "" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 50;
VAL_ 256 Mode 0 "Off" 1 "On" ;
"#;

fn values_are_forced_and_released() {
    let canvoy = Canvoy::run(FORCIBLE, &[("m.dbc", DBC)], &["--simulate"]);
    let quality = |signal: &str| {
        let snapshot = snapshot(&canvoy);
        let tags = snapshot["tags"].as_array().expect("tags").clone();
        let tag = tags.into_iter().find(|tag| tag["name"] == format!("m.Status.{signal}")).expect("the tag");
        (tag["value"].as_f64(), tag["quality"].as_str().map(str::to_owned))
    };
    let forced = ask(&canvoy, &["force", "m.Status.Speed", "1234.5", "--for", "10m"]);
    assert!(forced.status.success(), "{}", text(&forced));
    poll("the forced value", LIMIT, || (quality("Speed") == (Some(1234.5), Some("forced".into()))).then_some(()));
    assert_ne!(quality("Mode").1.as_deref(), Some("forced"));
    let status = text(&ask(&canvoy, &["status"]));
    assert!(status.contains("forced: m.Status.Speed = 1234.5, ends in "), "{status}");
    for (arguments, words) in [
        (&["force", "m.Status.Mode", "On", "--for", "10m"][..], "not in the bus's `forcible` list"),
        (&["force", "m.Status.Speed", "9999", "--for", "10m"], "outside 0..=6000"),
        (&["force", "m.Status.Speed", "fast", "--for", "10m"], "takes a number"),
        (&["force", "m.Status.Sped", "1", "--for", "10m"], "no signal \"m.Status.Sped\""),
        (&["release", "m.Status.Mode"], "is not forced"),
    ] {
        let refused = ask(&canvoy, arguments);
        assert!(!refused.status.success() && text(&refused).contains(words), "{arguments:?}: {}", text(&refused));
    }
    assert!(ask(&canvoy, &["release", "--all"]).status.success());
    poll("the machine's own value", LIMIT, || (quality("Speed").1.as_deref() != Some("forced")).then_some(()));
}

fn every_frame_is_seen() {
    let demo = Canvoy::demo();
    let mut command = Command::new("timeout");
    command.args(["--signal=TERM", "2", CANVOY, "monitor", "--bus", "line"]).env("XDG_RUNTIME_DIR", demo.folder.path());
    let seen = command.env("TMPDIR", demo.folder.path()).output().expect("run canvoy");
    let lines = String::from_utf8_lossy(&seen.stdout).into_owned();
    let (sent, received): (Vec<&str>, Vec<&str>) =
        lines.lines().filter(|line| line.len() > 30).partition(|line| line.ends_with(" T"));
    assert!(sent.len() > 50 && received.len() > 50, "{} sent, {} received", sent.len(), received.len());
    assert!(lines.lines().all(|line| line.contains(") line ")), "another bus");
    assert!(!text(&seen).contains("not seen"), "{}", text(&seen));
    assert!(text(&ask(&demo, &["monitor", "--bus", "nothing"])).contains("there are: cell, line"));
}

fn an_acceptance_run_reports() {
    let folder = TempDir::new();
    std::fs::write(folder.path().join("m.dbc"), DBC).expect("write");
    let config =
        FORCIBLE.replace("node = \"Us\"", "node = \"Drive\"\ntransmit = \"all\"").replace("forcible", "writable");
    std::fs::write(folder.path().join("plant.toml"), config).expect("write");
    let arguments =
        ["acceptance", "--hours", "0.001", "--simulate", "plant.toml", "--json", "r.json", "--report", "r.txt"];
    let output = command(&folder, &arguments);
    let report = text(&output);
    for words in ["acceptance: ", "cycle m.Status", "50 ms", "NOT MEASURED ON HARDWARE", "kernel ", "real-time thread "]
    {
        assert!(report.contains(words), "no {words} in\n{report}");
    }
    assert!(matches!(output.status.code(), Some(0 | 1)), "{report}");
    let json = std::fs::read(folder.path().join("r.json")).expect("the report as JSON");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["passed"].as_bool(), Some(output.status.success()));
    let count = json["times"][0]["count"].as_u64().expect("a count");
    assert!((60..=80).contains(&count), "{count} frames in 3.6 s at 50 ms");
    assert!(std::fs::read_to_string(folder.path().join("r.txt")).expect("the report").contains("cycle m.Status"));
}

fn without_a_controller_it_says_so() {
    let folder = TempDir::new();
    for arguments in [&["status"][..], &["arm"], &["monitor"], &["status", "--socket", "nowhere"]] {
        let output = command(&folder, arguments);
        assert_eq!(output.status.code(), Some(69), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains("controller"), "{}", text(&output));
    }
}
