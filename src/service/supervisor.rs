//! `canvoy run` and `canvoy demo`: starts controller and plant, keeps both running, shows how things are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::banner;
use super::child::{Event, Process};
use super::controller::plant_socket;
use super::exit::Failure;
use super::folder::{self, Private};
use super::plant::Overrides;
use super::restart::{Action, Ending, Side};
use super::source::{Source, print_diagnostics};
use super::terminal::Terminal;
use crate::config::LoadOptions;
use crate::notify::Notifier;
use crate::plant::access;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    pub source: Source,
    pub simulate: bool,
    pub overrides: Overrides,
    pub state: Option<PathBuf>,
    pub watch: Vec<String>,
}

/// Name of the user of a demo.
const DEMO_USER: &str = "demo";
/// How long both may take to end when they are asked to; then they are killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Until the next attempt where a process can't be started at all.
const RETRY: Duration = Duration::from_secs(1);
/// How long the controller waits for the plant to end first.
const HEAD_START: Duration = Duration::from_millis(500);

/// Runs until it is told to stop.
pub fn run(mut options: Options) -> anyhow::Result<ExitCode> {
    // found here, a mistake is shown once, and nothing has been started
    let plant = options.source.load(LoadOptions { simulate: options.simulate })?;
    print_diagnostics(&plant.loaded.diagnostics);
    let variable = |name: &str| std::env::var_os(name);
    let private = Private::new(variable)?;
    let mut password = None;
    let state = match (&options.state, &options.source) {
        (Some(state), _) => state.clone(),
        (None, Source::Demo) => private.path().to_owned(),
        (None, Source::File(_)) => folder::state(variable)?,
    };
    if options.source == Source::Demo {
        let users = private.path().join("users");
        let secret = random_password()?;
        access::add(&users, DEMO_USER, &secret).context("make a user for this run")?;
        options.overrides.users = Some(users);
        options.overrides.trust_any_client_certificate = true;
        password = Some(secret);
    }
    let mut settings = plant.loaded.settings.clone();
    options.overrides.apply(&mut settings);
    let login = password.as_deref().map(|password| (DEMO_USER, password));
    let banner = banner::text(&options.source, &plant.loaded.plan, &settings, login);

    let socket = private.path().join("command");
    let controller = controller_arguments(&options, &socket, &state);
    let plant = plant_arguments(&options, &plant_socket(&socket), &state);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut both = Supervisor {
            controller: Process::new(Side::Controller, controller, private.path())?,
            plant: Process::new(Side::Plant, plant, private.path())?,
            terminal: Terminal::new(),
            notifier: Notifier::from_environment(),
            banner: Some(banner),
        };
        both.serve().await
    })
}

fn controller_arguments(options: &Options, socket: &Path, state: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["controller".into()];
    match &options.source {
        Source::Demo => arguments.push("--demo".into()),
        Source::File(files) => {
            if options.simulate {
                arguments.push("--simulate".into());
            }
            if let Some(machine) = &files.machine {
                arguments.extend(["--machine".into(), machine.clone().into()]);
            }
            arguments.extend(["--".into(), files.config.clone().into()]);
        }
    }
    // before a `--`
    arguments.splice(1..1, ["--socket".into(), socket.into(), "--state".into(), state.into()]);
    arguments
}

fn plant_arguments(options: &Options, socket: &Path, state: &Path) -> Vec<OsString> {
    let Overrides { opcua_port, http_port, users, trust_any_client_certificate } = &options.overrides;
    let mut arguments: Vec<OsString> =
        vec!["plant".into(), "--socket".into(), socket.into(), "--state".into(), state.into()];
    for (flag, port) in [("--opcua-port", opcua_port), ("--http-port", http_port)] {
        arguments.extend(port.iter().flat_map(|port| [flag.into(), port.to_string().into()]));
    }
    arguments.extend(users.iter().flat_map(|users| ["--users".into(), users.into()]));
    if *trust_any_client_certificate {
        arguments.push("--trust-any-client-certificate".into());
    }
    arguments.extend(options.watch.iter().map(|tag| format!("--watch={tag}").into()));
    arguments
}

/// 60 bits in letters and digits that nobody takes for another.
fn random_password() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0u8; 12];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

struct Supervisor {
    controller: Process,
    plant: Process,
    terminal: Terminal,
    notifier: Notifier,
    /// Until it has been shown.
    banner: Option<String>,
}

impl Supervisor {
    async fn serve(&mut self) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        let (lines, mut log) = mpsc::channel(64);
        let lines = self.terminal.shared.then_some(lines);
        self.controller.start(lines.as_ref())?;
        self.plant.start(lines.as_ref())?;
        let mut tick = interval(self.terminal.period());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        let end = loop {
            let (side, event) = tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                _ = async { match &mut hang_up { Some(signal) => signal.recv().await, None => std::future::pending().await } } => break Ok(()),
                Some(line) = log.recv() => {
                    self.terminal.log(&line);
                    continue;
                }
                _ = tick.tick() => {
                    self.show_status();
                    continue;
                }
                event = self.controller.event() => (Side::Controller, event),
                event = self.plant.event() => (Side::Plant, event),
            };
            let process = match side {
                Side::Controller => &mut self.controller,
                Side::Plant => &mut self.plant,
            };
            match event {
                Event::Ended(ending) => match process.ended(ending) {
                    Action::End(code) => break Err(code),
                    Action::Restart(after) => {
                        self.terminal.log(describe(side, ending, after).as_bytes());
                    }
                },
                Event::Restart => {
                    if let Err(error) = process.start(lines.as_ref()) {
                        process.retry(RETRY);
                        self.terminal.log(format!("canvoy: {error:#}; trying again\n").as_bytes());
                    }
                }
                Event::Stuck => {
                    process.stuck();
                    let text = format!("canvoy: the {} does not move any more and is killed\n", name(side));
                    self.terminal.log(text.as_bytes());
                }
                Event::Told(text, descriptors) => {
                    if process.told(&text, descriptors) {
                        self.show_banner();
                    }
                }
            }
        };
        self.notifier.stopping();
        self.terminal.status("");
        self.stop(&mut interrupt, &mut log).await;
        // what they said last: their pipes end with them
        drop(lines);
        while let Ok(Some(line)) = timeout(HEAD_START, log.recv()).await {
            self.terminal.log(&line);
        }
        // the process that ended has said why
        end.map(|()| ExitCode::SUCCESS).map_err(|code| Failure::new(code, "").into())
    }

    /// Once, as soon as both are there.
    fn show_banner(&mut self) {
        if self.controller.ready.is_some()
            && self.plant.ready.is_some()
            && let Some(banner) = self.banner.take()
        {
            self.terminal.print(&banner);
            self.notifier.ready(&self.plant.status);
        }
    }

    fn show_status(&mut self) {
        if self.banner.is_some() {
            return;
        }
        let line = match (&self.controller.child, &self.plant.child) {
            (Some(_), Some(_)) => self.plant.status.clone(),
            (Some(_), None) => "the plant side is being started again; the machine side goes on".into(),
            (None, _) => "the controller is gone: every value is bad. It is started again after 5 s".into(),
        };
        self.notifier.status(&line);
        self.terminal.status(&line);
    }

    /// Asks both to end, the plant first: it would report the end of the other. Waits, and kills what is left; at once
    /// after another Ctrl-C.
    async fn stop(&mut self, interrupt: &mut tokio::signal::unix::Signal, log: &mut mpsc::Receiver<Vec<u8>>) {
        let (plant, controller) = (&mut self.plant, &mut self.controller);
        let ended = async {
            plant.signal(Signal::SIGTERM);
            let _ = timeout(HEAD_START, plant.wait()).await;
            controller.signal(Signal::SIGTERM);
            controller.wait().await;
            plant.wait().await;
        };
        let terminal = &mut self.terminal;
        let reading = async {
            // keeps their pipes empty, or they could not end
            while let Some(line) = log.recv().await {
                terminal.log(&line);
            }
            std::future::pending().await
        };
        let in_time = tokio::select! {
            done = timeout(PATIENCE, ended) => done.is_ok(),
            _ = interrupt.recv() => false,
            never = reading => never,
        };
        if !in_time {
            self.plant.kill().await;
            self.controller.kill().await;
        }
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Controller => "controller",
        Side::Plant => "plant side",
    }
}

fn describe(side: Side, ending: Ending, after: Duration) -> String {
    let how = match ending {
        Ending::Exited(code) => format!("ended with code {code}"),
        Ending::Killed(signal) => match Signal::try_from(signal) {
            Ok(signal) => format!("was ended by {}", signal.as_str()),
            Err(_) => format!("was ended by signal {signal}"),
        },
    };
    match side {
        Side::Controller => {
            format!(
                "canvoy: the controller {how}. Nothing is sent, every value is bad; it is started again in {} s\n",
                after.as_secs()
            )
        }
        Side::Plant => format!("canvoy: the plant side {how} and is started again; the machine side goes on\n"),
    }
}

/// nohup(1) has asked for that.
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Files;

    fn check(options: &Options, controller: &str, plant: &str) {
        let join = |arguments: Vec<OsString>| arguments.join(" ".as_ref()).into_string().unwrap();
        assert_eq!(join(controller_arguments(options, Path::new("/r/command"), Path::new("/s"))), controller);
        assert_eq!(join(plant_arguments(options, Path::new("/r/command.plant"), Path::new("/s"))), plant);
    }

    #[test]
    fn what_the_processes_are_started_with() {
        let mut options = Options {
            source: Source::File(Files { config: "-odd.toml".into(), machine: Some("/m.toml".into()) }),
            simulate: true,
            overrides: Overrides::default(),
            state: None,
            watch: vec!["a.B.C".into()],
        };
        check(
            &options,
            "controller --socket /r/command --state /s --simulate --machine /m.toml -- -odd.toml",
            "plant --socket /r/command.plant --state /s --watch=a.B.C",
        );
        options.source = Source::Demo;
        options.watch.clear();
        options.overrides = Overrides {
            opcua_port: Some(4841),
            http_port: Some(0),
            users: Some("/r/users".into()),
            trust_any_client_certificate: true,
        };
        check(
            &options,
            "controller --socket /r/command --state /s --demo",
            "plant --socket /r/command.plant --state /s --opcua-port 4841 --http-port 0 --users /r/users --trust-any-client-certificate",
        );
    }

    #[test]
    fn passwords_differ() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), 12);
        assert_ne!(one, other);
    }
}
