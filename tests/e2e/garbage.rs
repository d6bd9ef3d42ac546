//! Bytes that nobody meant: as DBC, TOML and candump log, to the OPC UA and the HTTP port. Every one ends in a clear
//! error or a counter; none in a panic, a hang or a process that grows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::canvoy::{CANVOY, Canvoy, get};
use crate::harness::{Process, ROOT, TempDir, resident};

crate::tests! {
    Nothing: dbc_files, configurations, candump_logs, bytes_to_the_ports;
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

/// `canvoy decode` reads what it can and says 65 where there was more, with the number of the line.
fn candump_logs() {
    let log: String = (0..200u32)
        .map(|n| format!("(1790000000.{n:06}) line {:03X}#{:016X}\n", 0x100 + n, u64::from(n) * 0x0123_4567_89AB))
        .collect();
    let dbc = format!("{ROOT}/dbc/line.dbc");
    let folder = TempDir::new();
    for case in 0..60 {
        std::fs::write(folder.path().join("log"), damaged(log.as_bytes(), case)).expect("write the log");
        let options: &[&str] = if case % 2 == 0 { &["--json"] } else { &[] };
        let (code, errors) = canvoy(folder.path(), &[&["decode", "--dbc", &dbc, "log"], options].concat());
        assert!(code == 0 || code == 65, "case {case}: exit code {code}: {errors}");
        assert!(code == 0 || errors.contains("log:"), "case {case}: {errors}");
        assert!(!errors.contains("panicked"), "case {case}: {errors}");
    }
}

/// What an OPC UA port is told (OPC 10000-6, 7.1.2): message type, chunk letter, size, body.
fn opcua_bytes(case: u64) -> Vec<u8> {
    let mut random = Random::new(case);
    let hello = || {
        let mut body = vec![0; 4];
        for size in [65_535u32, 65_535, 0, 0] {
            body.extend(size.to_le_bytes());
        }
        let url = b"opc.tcp://127.0.0.1:4840";
        body.extend((url.len() as u32).to_le_bytes());
        body.extend(url);
        body
    };
    let message = |kind: &[u8], size: Option<u32>, body: &[u8]| {
        let size = size.unwrap_or(body.len() as u32 + 8).to_le_bytes();
        [kind, &size[..], body].concat()
    };
    match case % 12 {
        0 => random.bytes(1 + case as usize * 7),
        1 => message(b"HELF", Some(u32::MAX), &hello()),
        2 => message(b"HELF", Some(0), &hello()),
        3 => message(b"HELF", None, &damaged(&hello(), case)),
        4 => [message(b"HELF", None, &hello()), random.bytes(3000)].concat(),
        5 => [message(b"HELF", None, &hello()), message(b"OPNF", Some(0xFFFF_FF00), &random.bytes(2000))].concat(),
        6 => [message(b"HELF", None, &hello()), message(b"MSGF", None, &random.bytes(500))].concat(),
        7 => [message(b"HELF", None, &hello()), message(b"OPNF", None, &random.bytes(500))].concat(),
        8 => message(b"HELF", None, &hello()).repeat(50),
        9 => [message(b"HELF", None, &hello()), message(b"MSGC", None, &[]).repeat(2000)].concat(),
        10 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        _ => message(b"RHEF", None, &hello()),
    }
}

/// What the HTTP port is told.
fn http_bytes(case: u64) -> Vec<u8> {
    let mut random = Random::new(case);
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    match case % 8 {
        0 => random.bytes(1 + case as usize * 11),
        1 => [&b"GET /"[..], &vec![b'a'; 300_000], b" HTTP/1.1\r\n\r\n"].concat(),
        2 => [&b"GET / HTTP/1.1\r\n"[..], &b"x: y\r\n".repeat(50_000), b"\r\n"].concat(),
        3 => [&b"POST /api/v1/tags HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"[..], &random.bytes(50_000)].concat(),
        4 => b"GET /api/v1/tags?%ff%00&bus=%&&&=====&message=../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        5 => request.repeat(200),
        6 => b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n".to_vec(),
        _ => damaged(request, case),
    }
}

fn bytes_to_the_ports() {
    let dbc = include_str!("machine.dbc");
    let canvoy = Canvoy::run(
        "[bus.m]\nvirtual = true\ndbc = [\"machine.dbc\"]\nnode = \"Canvoy\"\n",
        &[("machine.dbc", dbc)],
        &[],
    );
    let plant = canvoy.part("plant");
    let opcua = canvoy.opcua.trim_start_matches("opc.tcp://").to_string();
    let mut kept = Vec::new();
    // a first round, so that what is allocated once does not count as growth
    let mut resident_before = 0;
    for round in 0..4 {
        for case in 0..48 {
            for (address, bytes) in
                [(&opcua, opcua_bytes(case + 100 * round)), (&canvoy.http, http_bytes(case + 100 * round))]
            {
                let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("case {case}: {error}"));
                stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
                stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a time limit");
                // it may well close before all is said
                let _ = stream.write_all(&bytes);
                let _ = stream.read(&mut [0; 4096]);
                // some stay open and say no more
                if case % 5 == 0 {
                    kept.push(stream);
                }
            }
        }
        match round {
            0 => resident_before = resident(plant),
            _ => {
                let grown = resident(plant).saturating_sub(resident_before);
                assert!(grown < 32 << 20, "round {round}: the plant process has grown by {grown} bytes");
            }
        }
        kept.clear();
    }
    assert_eq!(canvoy.part("plant"), plant, "the plant process was started again");
    assert_eq!(get(&canvoy.http, "/healthz").map(|(status, _)| status), Some(200));
    let log = canvoy.process.errors();
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.len() < 200_000, "{} bytes of log", log.len());
}
