//! OPC UA clients that are not ours: asyncua and node-opcua behind tests/peers/opcua.{py,mjs}.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::canvoy::Canvoy;
use crate::harness::{LIMIT, Process, ROOT, TempDir, poll};

/// JavaScript writes 1.0 as 1: every `value` that is a number becomes a float, so that both clients compare alike.
fn numbers(answer: Value) -> Value {
    match answer {
        Value::Array(items) => items.into_iter().map(numbers).collect(),
        Value::Object(fields) => {
            let float = |(name, value): (String, Value)| match value.as_f64() {
                Some(number) if name == "value" => (name, json!(number)),
                _ => (name, numbers(value)),
            };
            Value::Object(fields.into_iter().map(float).collect())
        }
        other => other,
    }
}

/// A client process that answers requests.
pub struct Peer {
    process: Process,
    answered: usize,
    _home: TempDir,
}

impl Peer {
    pub fn asyncua() -> Peer {
        let mut command = Command::new(format!("{ROOT}/.testenv/venv/bin/python"));
        command.arg(format!("{ROOT}/tests/peers/opcua.py"));
        Peer::spawn(command)
    }

    pub fn node_opcua() -> Peer {
        let mut command = Command::new("node");
        command.args([format!("{ROOT}/tests/peers/opcua.mjs"), format!("{ROOT}/.testenv/node")]);
        Peer::spawn(command)
    }

    fn spawn(mut command: Command) -> Peer {
        let home = TempDir::new();
        // neither writes to the home folder of whoever runs the tests, nor beside its source, nor leaves anything
        command
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped());
        Peer { process: Process::spawn(command), answered: 0, _home: home }
    }

    /// The answer to a request: what it found, or what went wrong.
    pub fn try_ask(&mut self, request: &Value) -> Result<Value, String> {
        self.process.write(format!("{request}\n").as_bytes());
        let answered = self.answered;
        let line = self.process.wait_output(&format!("the answer to {request}"), |output| {
            let complete = &output[..output.rfind('\n').map_or(0, |end| end + 1)];
            complete.lines().nth(answered).map(str::to_string)
        });
        self.answered += 1;
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        match answer["error"].as_str() {
            Some(error) => Err(error.to_string()),
            None => Ok(numbers(answer["ok"].take())),
        }
    }

    /// The answer to a request that must succeed.
    pub fn ask(&mut self, request: Value) -> Value {
        self.try_ask(&request).unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// Connects as the user of the test, Basic256Sha256 with SignAndEncrypt.
    pub fn connect(&mut self, canvoy: &Canvoy) {
        self.ask(json!({"do": "connect", "url": canvoy.opcua, "user": canvoy.user, "password": canvoy.password}));
    }

    /// One value: {value, type, status, status_name, source_ms, server_ms}.
    pub fn read(&mut self, node: &str) -> Value {
        self.ask(json!({"do": "read", "nodes": [node]}))[0].take()
    }

    /// Reads until the value satisfies `wanted`.
    pub fn read_until(&mut self, node: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.read_until_within(node, what, LIMIT, wanted)
    }

    pub fn read_until_within(
        &mut self,
        node: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        poll(&format!("{node} to be {what}"), limit, || {
            last = self.read(node);
            wanted(&last).then(|| last.clone())
        })
    }

    /// Writes; the name of the status.
    pub fn write(&mut self, node: &str, value: impl Into<Value>) -> String {
        let status = self.ask(json!({"do": "write", "node": node, "value": value.into()}));
        status.as_str().unwrap_or_default().to_string()
    }
}
