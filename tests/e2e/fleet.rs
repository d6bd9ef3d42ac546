//! Many machines from one set of files: what the machine file and the environment say reaches both processes.

use std::process::Command;

use crate::canvoy::{CANVOY, Canvoy, get};
use crate::harness::{LIMIT, poll};

crate::tests! {
    Nothing: a_machine_file_reaches_both_processes, the_environment_is_stronger;
}

fn example(name: &str) -> String {
    format!("{}/examples/fleet/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn a_machine_file_reaches_both_processes() {
    let read = |name: &str| std::fs::read_to_string(example(name)).expect("a file of the example");
    let plant = read("plant.toml").replace("common.toml", "mor?.toml");
    let files = [
        ("pump.dbc", read("pump.dbc")),
        ("names.csv", read("names.csv")),
        ("m.toml", "[variables]\nfastest = 50\nserial = \"7\"\n".into()),
        (
            "more.toml",
            "[machine]\narm = \"by-hand\"\n[opcua]\ncertificate_hosts = [\"press-${serial}.example\"]\n".into(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let canvoy = Canvoy::run(&plant, &files, &["--simulate", "--machine", "m.toml"]);
    // the plant process serves only a plan with the controller's hash
    let page = poll("values of both pumps", LIMIT, || {
        let page = canvoy.metrics();
        let values = |pump: u8| page.contains(&format!("can_signal_value{{bus=\"line\",message=\"pump{pump}_Status\""));
        (values(1) && values(2)).then_some(page)
    });
    let info = r#"can_signal_info{bus="line",message="pump2_Status",signal="Pressure",alias="Wash pressure",area="Basement"} 1"#;
    assert!(page.lines().any(|line| line == info), "{page}");
    let (status, found) = get(&canvoy.http, "/api/v1/tags?q=basement").expect("the page as JSON");
    let json: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!((status, json["tags"].as_array().map(Vec::len)), (200, Some(1)), "{found}");
    assert_eq!(json["tags"][0]["name"], "line.pump2_Status.Pressure");
}

fn the_environment_is_stronger() {
    let check = |variables: &[(&str, &str)]| {
        let mut command = Command::new(CANVOY);
        command.args(["check", &example("plant.toml"), "--machine", &example("machine-08.toml")]);
        command.envs(variables.iter().copied());
        let output = command.output().expect("run canvoy");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, _) = check(&[("CANVOY_VAR_FASTEST", "1234")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("fastest    1234    from environment CANVOY_VAR_FASTEST"), "{said}");
    assert!(said.contains("line.pump2_Command.Setpoint = 1234"), "{said}");
    let (code, _, said) = check(&[("CANVOY_VAR_FASTEST", "fast"), ("CANVOY_VAR_SPEED", "1")]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("CANVOY_VAR_FASTEST: error: \"fast\" is no number, which fastest is at machine file"),
        "{said}"
    );
    assert!(said.contains("CANVOY_VAR_SPEED: warning: "), "{said}");
}
