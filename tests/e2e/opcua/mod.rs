//! The OPC UA server as clients that are not ours see it: programs in tests/peers that say one JSON line a check, and
//! what becomes of these lines.

mod alarms;
mod conformance;
mod methods;
mod model;
mod reloads;
mod robustness;
mod roles;
mod security;
mod times;
mod words;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::Test;
use crate::canvoy::CANVOY;
use crate::harness::{Process, ROOT, TempDir, poll};

/// The tables of the modules here.
pub const TESTS: [&[Test]; 10] = [
    alarms::TESTS,
    conformance::TESTS,
    methods::TESTS,
    model::TESTS,
    reloads::TESTS,
    security::TESTS,
    robustness::TESTS,
    roles::TESTS,
    times::TESTS,
    words::TESTS,
];

/// Time for all checks of one program; each has its own, shorter one.
const LIMIT: Duration = Duration::from_secs(900);

/// Python with a program of tests/peers.
fn python(program: &str) -> Command {
    let mut command = Command::new(format!("{ROOT}/.testenv/venv/bin/python"));
    command.arg(format!("{ROOT}/tests/peers/{program}"));
    command
}

/// Runs checks against a `canvoy` that they start themselves; fails with each that was not as expected.
fn check(program: &str, arguments: &[&str]) {
    let mut command = python(program);
    command.args(["--canvoy", CANVOY]).args(arguments);
    judge(command);
}

/// Runs a program by node-opcua against a plant that is started for it, with `more` of its configuration.
fn node(program: &str, more: &[&str]) {
    let mut command = python("common/plant.py");
    command.args([CANVOY, "trust_any_client_certificate=true"]).args(more);
    command.args(["--", "node", &format!("{ROOT}/tests/peers/{program}"), &format!("{ROOT}/.testenv/node")]);
    judge(command);
}

/// Runs a program and judges its lines: what was expected, and what was said instead.
fn judge(mut command: Command) {
    let home = TempDir::new();
    command
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    let mut process = Process::spawn(command);
    let ended = poll("the end of the checks", LIMIT, || process.ended());
    let output = process.output();
    let answers: Vec<Value> = output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let failed: Vec<String> = answers.iter().filter(|answer| !is_passed(answer)).map(told).collect();
    println!("{} checks, {} not as expected", answers.len(), failed.len());
    assert!(failed.is_empty(), "{} of {} checks:\n{}", failed.len(), answers.len(), failed.concat());
    assert!(ended.success() && !answers.is_empty(), "{ended} after {} checks", answers.len());
}

/// What was not looked at has not passed.
fn is_passed(answer: &Value) -> bool {
    answer["ok"] == true && answer["skipped"] != true
}

/// A failed check in words.
fn told(answer: &Value) -> String {
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    format!(
        "- {}/{}\n    expected: {} ({})\n    said: {}\n",
        word("category"),
        word("name"),
        word("expected"),
        word("clause"),
        word("said")
    )
}
