//! Bytes that nobody meant: as DBC, TOML and candump log, to the OPC UA and the HTTP port. Every one ends in a clear
//! error or a counter; none in a panic, a hang or a process that grows.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::canvoy::CANVOY;
use crate::harness::{Process, ROOT, TempDir};

crate::tests! {
    Nothing: dbc_files, configurations;
}

/// Reproducible numbers (xorshift64*, Vigna 2016); a failed case is found again by its number.
pub struct Random(u64);

impl Random {
    pub fn new(case: u64) -> Random {
        Random(case.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// Case 0 is nothing, 1 and 2 are noise; the others are the text with something done to it, mostly in several places.
fn damaged(text: &[u8], case: u64) -> Vec<u8> {
    let mut random = Random::new(case);
    match case {
        0 => return Vec::new(),
        1 => return random.bytes(5_000),
        2 => return vec![b'('; 200_000],
        _ => {}
    }
    let mut bytes = text.to_vec();
    for _ in 0..1 + random.below(20) {
        let at = random.below(bytes.len());
        let end = (at + random.below(200)).min(bytes.len());
        match random.below(6) {
            0 => bytes[at] = random.next() as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let noise = random.bytes(20);
                bytes.splice(at..at, noise);
            }
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let digit = bytes[at..end].iter().position(u8::is_ascii_digit);
                let number: &[u8] =
                    [&b"99999999999999999999"[..], b"-1", b"0", b"1e999", b"4294967296"][random.below(5)];
                if let Some(digit) = digit {
                    bytes.splice(at + digit..=at + digit, number.iter().copied());
                }
            }
            _ => bytes.truncate(bytes.len() / 2 + random.below(bytes.len() / 2)),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Runs canvoy with at most 1 GB of memory: its exit code and what it wrote to standard error.
fn canvoy(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1048576; exec \"$@\"", "sh", CANVOY]).args(arguments);
    command.current_dir(folder).stdin(Stdio::null());
    let mut process = Process::spawn(command);
    let code = process.wait_end();
    (code, process.errors())
}

/// `canvoy check` says yes, or 78 with at least one line of where and what.
fn check(folder: &TempDir, case: u64) {
    let (code, errors) = canvoy(folder.path(), &["check", "plant.toml"]);
    assert!(code == 0 || code == 78, "case {case}: exit code {code}: {errors}");
    assert!(
        code == 0 || errors.contains(".toml:") || errors.contains(".dbc:") || errors.contains("plant.toml"),
        "case {case}: {errors}"
    );
    assert!(!errors.contains("panicked"), "case {case}: {errors}");
}

fn dbc_files() {
    let original = std::fs::read(format!("{ROOT}/dbc/line.dbc")).expect("the demo's DBC file");
    let folder = TempDir::new();
    let config =
        "[bus.line]\nvirtual = true\ndbc = [\"line.dbc\"]\nnode = \"Canvoy\"\ntransmit = \"all\"\nwritable = \"all\"\n";
    std::fs::write(folder.path().join("plant.toml"), config).expect("write the configuration");
    for case in 0..60 {
        std::fs::write(folder.path().join("line.dbc"), damaged(&original, case)).expect("write the DBC file");
        check(&folder, case);
    }
}

fn configurations() {
    let original = std::fs::read(format!("{ROOT}/examples/line.toml")).expect("the demo's configuration");
    let original = String::from_utf8_lossy(&original).replace("../dbc", &format!("{ROOT}/dbc"));
    let folder = TempDir::new();
    for case in 0..60 {
        std::fs::write(folder.path().join("plant.toml"), damaged(original.as_bytes(), case))
            .expect("write the configuration");
        check(&folder, case);
    }
}
