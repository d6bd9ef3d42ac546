//! The peers: C that cantools generates, compiled here, and cantools itself; each a process of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Python with cantools.
pub struct Python(PathBuf);

/// By identifier (bit 31 for 29 bits): the names of the signals in cantools' order.
pub type Members = HashMap<u32, Vec<String>>;

impl Python {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/decode/peer.py");

    /// From CANVOY_PYTHON, else what tests/setup makes, else the system's.
    pub fn find() -> Result<Python, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let named = std::env::var_os("CANVOY_PYTHON").map(PathBuf::from);
        let candidates = match named {
            Some(python) => vec![python],
            None => vec![root.join(".testenv/venv/bin/python"), "python3".into()],
        };
        let has_cantools = |python: &&PathBuf| {
            let command = Command::new(python).args(["-c", "import cantools"]).stderr(Stdio::null()).status();
            command.is_ok_and(|status| status.success())
        };
        let shown: Vec<String> = candidates.iter().map(|python| python.display().to_string()).collect();
        candidates.iter().find(has_cantools).cloned().map(Python).ok_or_else(|| {
            format!("no Python with cantools ({}): run tests/setup, or set CANVOY_PYTHON", shown.join(", "))
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let output =
            Command::new(&self.0).arg(Self::SCRIPT).args(arguments).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(text.trim().lines().last().unwrap_or("no reason given").to_string());
        }
        Ok(())
    }

    /// Writes the C source into the folder; the order of the signals.
    pub fn generate_c(&self, dbc: &str, width: usize, folder: &str) -> Result<Members, String> {
        self.run(&["c", dbc, &width.to_string(), folder])?;
        let text = std::fs::read_to_string(format!("{folder}/members.txt")).map_err(|error| error.to_string())?;
        let line = |line: &str| {
            let mut words = line.split(' ').map(String::from);
            Some((words.next()?.parse().ok()?, words.collect()))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// cantools with its frames, waiting for orders.
    pub fn start(&self, dbc: &str, width: usize, frames: &str, folder: &str) -> Result<Peer, String> {
        let mut command = Command::new(&self.0);
        Peer::start(
            command.args([Self::SCRIPT, "python", dbc, &width.to_string(), frames]),
            format!("{folder}/python.values"),
        )
    }
}

/// A peer with its frames, waiting for orders.
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Where it writes values.
    values: String,
}

/// Compiles what [`Python::generate_c`] wrote, as one unit, and starts it.
pub fn start_c(folder: &str, frames: &str) -> Result<Peer, String> {
    let binary = format!("{folder}/decode");
    let changed = |path: &str| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let sources = ["dbc.h", "dbc.c", "decode.c"].map(|name| changed(&format!("{folder}/{name}")));
    if sources.iter().any(|source| *source >= changed(&binary)) {
        let gcc = Command::new("gcc")
            .args(["-O3", "-march=native", "-w", "-o", &binary, &format!("{folder}/decode.c")])
            .output()
            .map_err(|error| format!("gcc: {error}"))?;
        if !gcc.status.success() {
            return Err(format!("gcc: {}", String::from_utf8_lossy(&gcc.stderr).lines().next().unwrap_or_default()));
        }
    }
    Peer::start(Command::new(&binary).arg(frames), format!("{folder}/c.values"))
}

impl Peer {
    fn start(command: &mut Command, values: String) -> Result<Peer, String> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{command:?}: {error}"))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{command:?}: no pipe"));
        };
        Ok(Peer { child, orders, answers: BufReader::new(answers), values })
    }

    fn order(&mut self, order: &str) -> String {
        let mut answer = String::new();
        let asked = writeln!(self.orders, "{order}").and_then(|()| self.orders.flush());
        if asked.and_then(|()| self.answers.read_line(&mut answer)).is_err() {
            answer.clear();
        }
        answer
    }

    /// The CPU seconds that it answers.
    pub fn seconds(&mut self, order: &str) -> f64 {
        let answer = self.order(order);
        answer.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or(f64::NAN)
    }

    /// The values of all frames.
    pub fn values(&mut self) -> Option<Vec<u8>> {
        self.order(&format!("values {}", self.values));
        std::fs::read(&self.values).ok()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
