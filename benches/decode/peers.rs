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

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/decode/peer.py");
        let output = Command::new(&self.0).arg(script).args(arguments).output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(text.trim().lines().last().unwrap_or("no reason given").to_string());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

    /// Frames per second, and the values of all frames.
    pub fn decode(&self, dbc: &str, width: usize, frames: &str, folder: &str) -> Result<(f64, Vec<u8>), String> {
        let values = format!("{folder}/python.values");
        let speed = self.run(&["python", dbc, &width.to_string(), frames, &values])?;
        let speed = speed.trim().parse().map_err(|_| format!("{speed:?} is no number"))?;
        Ok((speed, std::fs::read(values).map_err(|error| error.to_string())?))
    }
}

/// The generated C with its frames, waiting for orders.
pub struct GeneratedC {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: String,
}

impl GeneratedC {
    /// Compiles what [`Python::generate_c`] wrote, as one unit, and starts it.
    pub fn start(folder: &str, frames: &str) -> Result<GeneratedC, String> {
        let binary = format!("{folder}/decode");
        let changed = |path: &str| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let sources = ["dbc.h", "dbc.c", "decode.c"].map(|name| changed(&format!("{folder}/{name}")));
        if sources.iter().any(|source| *source >= changed(&binary)) {
            let gcc = Command::new("gcc")
                .args(["-O3", "-march=native", "-w", "-o", &binary, &format!("{folder}/decode.c")])
                .output()
                .map_err(|error| format!("gcc: {error}"))?;
            if !gcc.status.success() {
                return Err(format!(
                    "gcc: {}",
                    String::from_utf8_lossy(&gcc.stderr).lines().next().unwrap_or_default()
                ));
            }
        }
        let mut child = Command::new(&binary)
            .arg(frames)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipe to the generated C".into());
        };
        Ok(GeneratedC { child, orders, answers: BufReader::new(answers), folder: folder.into() })
    }

    fn order(&mut self, order: &str) -> String {
        let mut answer = String::new();
        let asked = writeln!(self.orders, "{order}").and_then(|()| self.orders.flush());
        if asked.and_then(|()| self.answers.read_line(&mut answer)).is_err() {
            answer.clear();
        }
        answer
    }

    /// CPU seconds of that many passes over the frames; `what` is `all` members or those of the selected `branch`.
    pub fn seconds(&mut self, what: &str, passes: usize) -> f64 {
        let answer = self.order(&format!("{what} {passes}"));
        answer.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(f64::NAN)
    }

    /// The values of all frames.
    pub fn values(&mut self) -> Result<Vec<u8>, String> {
        let path = format!("{}/c.values", self.folder);
        self.order(&format!("values {path}"));
        std::fs::read(path).map_err(|error| error.to_string())
    }
}

impl Drop for GeneratedC {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
