//! A running `canvoy` for a test: started on free ports in a folder of its own, awaited, asked over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{LIMIT, Process, TempDir, free_port, poll};

/// The program under test.
pub const CANVOY: &str = env!("CARGO_BIN_EXE_canvoy");
/// The OPC UA user of every test.
pub const USER: &str = "operator";
pub const PASSWORD: &str = "correct horse battery staple";

/// `canvoy run` or `canvoy demo` with its ports.
pub struct Canvoy {
    pub process: Process,
    pub opcua: String,
    pub http: String,
    pub user: String,
    pub password: String,
    pub folder: TempDir,
}

impl Canvoy {
    /// Starts `canvoy run` with these buses and waits until it serves. The text may name files of `files`.
    pub fn run(buses: &str, files: &[(&str, &str)], options: &[&str]) -> Canvoy {
        Canvoy::run_with("trust_any_client_certificate = true", buses, files, options)
    }

    /// The same with other lines in `[opcua]`.
    pub fn run_with(opcua_lines: &str, buses: &str, files: &[(&str, &str)], options: &[&str]) -> Canvoy {
        let folder = TempDir::new();
        let (opcua, http) = (free_port(), free_port());
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("write a file");
        }
        let config = format!(
            "{buses}\n[opcua]\nlisten = \"127.0.0.1:{opcua}\"\nusers = \"users\"\n{opcua_lines}\n\n[http]\nlisten = \"127.0.0.1:{http}\"\n"
        );
        std::fs::write(folder.path().join("plant.toml"), config).expect("write the configuration");
        add_user(&folder);
        let mut command = Command::new(CANVOY);
        command.arg("run").args(options).arg("plant.toml").current_dir(folder.path()).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        let canvoy = Canvoy {
            process: Process::spawn(command),
            opcua: format!("opc.tcp://127.0.0.1:{opcua}"),
            http: format!("127.0.0.1:{http}"),
            user: USER.into(),
            password: PASSWORD.into(),
            folder,
        };
        canvoy.wait_ready()
    }

    /// Starts `canvoy demo` on free ports and waits until it serves; user and password are those that it prints.
    pub fn demo() -> Canvoy {
        let folder = TempDir::new();
        let (opcua, http) = (free_port(), free_port());
        let mut command = Command::new(CANVOY);
        command.args(["demo", "--opcua-port", &opcua.to_string(), "--http-port", &http.to_string()]);
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        let mut canvoy = Canvoy {
            process: Process::spawn(command),
            opcua: format!("opc.tcp://127.0.0.1:{opcua}"),
            http: format!("127.0.0.1:{http}"),
            user: String::new(),
            password: String::new(),
            folder,
        }
        .wait_ready();
        let word = |output: &str, before: &str| {
            let after = output.split(before).nth(1)?;
            Some(after.split_whitespace().next()?.to_string())
        };
        (canvoy.user, canvoy.password) = canvoy
            .process
            .wait_output("user and password", |output| Some((word(output, " user ")?, word(output, " password ")?)));
        canvoy
    }

    fn wait_ready(mut self) -> Canvoy {
        let (address, opcua) = (self.http.clone(), self.opcua.trim_start_matches("opc.tcp://").to_string());
        poll("canvoy to serve", LIMIT, || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "canvoy ended: {ended:?}");
            TcpStream::connect(&opcua).ok()?;
            matches!(get(&address, "/healthz"), Some((200, _))).then_some(())
        });
        self
    }

    /// The metrics page.
    pub fn metrics(&self) -> String {
        poll("the metrics page", LIMIT, || match get(&self.http, "/metrics") {
            Some((200, page)) => Some(page),
            _ => None,
        })
    }

    /// The value of one series, `name{labels}`; `None` where there is none or the page does not come.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, page) = get(&self.http, "/metrics")?;
        metric(&page, series)
    }

    /// The process whose command line has this word: `controller` or `plant`.
    pub fn part(&self, word: &str) -> i32 {
        poll(&format!("the {word} process"), LIMIT, || {
            self.process
                .children()
                .into_iter()
                .find(|(_, line)| line.split(' ').nth(1) == Some(word))
                .map(|(pid, _)| pid)
        })
    }
}

fn add_user(folder: &TempDir) {
    let mut command = Command::new(CANVOY);
    command.args(["user", "add", "users", USER]).current_dir(folder.path()).stdin(Stdio::piped());
    let mut process = Process::spawn(command);
    process.write(format!("{PASSWORD}\n").as_bytes());
    process.close_input();
    assert_eq!(process.wait_end(), 0, "canvoy user add");
}

/// A GET request: status and body; `None` when nobody answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_string()))
}

/// The value of one series of a metrics page.
pub fn metric(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
