//! The place of the SocketCAN tests: one start of tests/vm/run (a network namespace or User Mode Linux) for all of them.
//!
//! This binary starts itself again inside, with the names of the tests to run; the inner run appends one JSON line a test
//! to a file, the outer one reports each test by its name.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Test;
use crate::harness::{ROOT, own_group, tail, target_folder};

/// A guest boots in 4 to 30 s and runs its tests one after the other on one slow processor; this only ends what hangs.
const LIMIT_SECONDS: u64 = 1800;
/// One test inside; a longer one is reported as failed and left behind, and the next one starts.
const TEST_LIMIT: Duration = Duration::from_secs(420);

/// What the inner run left: results by name, and what its console showed.
struct Outcome {
    results: Vec<Value>,
    console: String,
}

/// The running or finished inner run.
#[derive(Clone)]
pub struct Place(Arc<Mutex<State>>);

enum State {
    Running(JoinHandle<Outcome>),
    Ended(Outcome),
}

impl Place {
    /// Starts the inner run of `tests` in the background, by a program of tests/vm; of no tests, none.
    pub fn start(program: &'static str, tests: &[Test]) -> Place {
        let names: Vec<&'static str> = tests.iter().map(|test| test.name).collect();
        let state = match names.is_empty() {
            true => State::Ended(Outcome { results: Vec::new(), console: String::new() }),
            false => State::Running(std::thread::spawn(move || run(program, &names))),
        };
        Place(Arc::new(Mutex::new(state)))
    }

    /// Waits for the inner run and reports one of its tests: panics with what it said when it failed or did not run.
    pub fn report(&self, name: &str) {
        let failure = {
            let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let State::Running(_) = *state {
                let none = Outcome { results: Vec::new(), console: String::new() };
                if let State::Running(thread) = std::mem::replace(&mut *state, State::Ended(none)) {
                    *state = State::Ended(thread.join().expect("the thread of the inner run"));
                }
            }
            let State::Ended(outcome) = &*state else { unreachable!("joined above") };
            match outcome.results.iter().find(|result| result["name"] == name) {
                Some(result) if result["error"].is_null() => return,
                Some(_) => console_of(&outcome.console, name),
                None => format!("did not run; the end of the console:\n{}", tail(&outcome.console)),
            }
        };
        panic!("{failure}");
    }
}

fn run(program: &str, names: &[&str]) -> Outcome {
    let folder = target_folder();
    let results = folder.join(format!("place-{program}-{}.jsonl", std::process::id()));
    let console = folder.join(format!("place-{program}-{}.console", std::process::id()));
    let output = std::fs::File::create(&console).expect("create the console file");
    let mut command = Command::new(format!("{ROOT}/tests/vm/{program}"));
    command.args(["-t", &LIMIT_SECONDS.to_string(), "-w", ROOT]).arg("-w").arg(&folder).arg("--");
    command.arg(std::env::current_exe().expect("path of this binary")).args(names);
    command.env("CANVOY_PLACE_RESULTS", &results);
    command.stdout(output.try_clone().expect("a second descriptor")).stderr(output);
    own_group(&mut command, libc::SIGTERM);
    let status = command.status();
    let text = std::fs::read(&console).unwrap_or_default();
    // a console ends its lines with CR LF
    let mut text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
    if !matches!(&status, Ok(status) if status.success()) {
        text.push_str(&format!("\ntests/vm/{program} ended with {status:?}\n"));
    }
    let lines = std::fs::read_to_string(&results).unwrap_or_default();
    for file in [&results, &console] {
        let _ = std::fs::remove_file(file);
    }
    Outcome { results: lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), console: text }
}

/// The inner run: the named tests one after the other, each with a limit.
pub fn inside(all: &[Test], names: &[String], results: &Path) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(results).expect("open the results file");
    for test in all.iter().filter(|test| names.iter().any(|name| name == test.name)) {
        println!("=== {}", test.name);
        let (done, ended) = std::sync::mpsc::channel();
        let run = test.run;
        let started = std::time::Instant::now();
        std::thread::spawn(move || {
            let outcome = std::panic::catch_unwind(run);
            let _ = done.send(outcome.is_err());
        });
        let error = match ended.recv_timeout(TEST_LIMIT) {
            Ok(false) => Value::Null,
            Ok(true) => json!("panicked"),
            Err(_) => json!("did not end"),
        };
        if !error.is_null() {
            println!("{} after {} s", error, started.elapsed().as_secs());
        }
        let line = json!({"name": test.name, "seconds": started.elapsed().as_secs_f64(), "error": error});
        writeln!(file, "{line}").expect("write a result");
    }
}

/// The part of the console that belongs to one test.
fn console_of(console: &str, name: &str) -> String {
    let after = console.split_once(&format!("=== {name}\n")).map_or(console, |(_, after)| after);
    after.split("\n=== ").next().unwrap_or(after).to_string()
}
