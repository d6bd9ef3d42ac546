//! `canvoy run` and `canvoy demo`: starts controller and plant, keeps both running, shows how things are.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::banner;
use super::exit::{self, Failure};
use super::folder::{self, Private};
use super::plant::Overrides;
use super::restart::{Action, Ending, SETTLED, Side, decide};
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
/// How long the controller waits for the plant to end first.
const HEAD_START: Duration = Duration::from_millis(500);
/// A process that was ready for this long is started again without more and more delay.
const GOOD_LIFE: Duration = Duration::from_millis(300);
/// Longest line of a log that is kept in one piece, in bytes.
const LINE: usize = 16 * 1024;

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
    let controller = controller_arguments(&options, &socket);
    let plant = plant_arguments(&options, &socket, &state);
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

fn controller_arguments(options: &Options, socket: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["controller".into()];
    match &options.source {
        Source::Demo => arguments.push("--demo".into()),
        Source::File(path) => {
            if options.simulate {
                arguments.push("--simulate".into());
            }
            arguments.extend(["--".into(), path.clone().into()]);
        }
    }
    // before a `--`
    arguments.splice(1..1, ["--socket".into(), socket.into()]);
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

/// What one of the processes did.
enum Event {
    Ended(Ending),
    Restart,
    /// A notification, as for systemd (sd_notify(3)).
    Told(String),
}

impl Supervisor {
    async fn serve(&mut self) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        let (lines, mut log) = mpsc::channel(64);
        self.controller.start(&self.terminal, &lines)?;
        self.plant.start(&self.terminal, &lines)?;
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
                Event::Restart => process.start(&self.terminal, &lines)?,
                Event::Told(text) => {
                    if process.told(&text) {
                        self.show_banner();
                    }
                }
            }
        };
        self.notifier.stopping();
        self.terminal.status("");
        self.stop(&mut interrupt, &mut log).await;
        // what they said last
        while let Ok(line) = log.try_recv() {
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
        };
        let in_time = tokio::select! {
            done = timeout(PATIENCE, ended) => done.is_ok(),
            _ = interrupt.recv() => false,
            () = reading => false,
        };
        if !in_time {
            for process in [&mut self.plant, &mut self.controller] {
                if let Some(child) = &mut process.child {
                    // fails only where it has ended
                    let _ = child.kill().await;
                }
            }
        }
    }
}

/// A process, running or about to be started again.
struct Process {
    side: Side,
    arguments: Vec<OsString>,
    /// Where it tells what systemd would be told.
    notifications: UnixDatagram,
    notify_path: PathBuf,
    child: Option<Child>,
    restart_at: Option<Instant>,
    starts: u64,
    /// Since when this life is ready.
    ready: Option<Instant>,
    /// Some life was ready for long enough.
    settled: bool,
    failures: u32,
    /// Its last status line.
    status: String,
}

impl Process {
    fn new(side: Side, arguments: Vec<OsString>, folder: &Path) -> anyhow::Result<Process> {
        let name = match side {
            Side::Controller => "controller.notify",
            Side::Plant => "plant.notify",
        };
        let notify_path = folder.join(name);
        let _ = std::fs::remove_file(&notify_path);
        let notifications =
            UnixDatagram::bind(&notify_path).with_context(|| format!("make the socket {}", notify_path.display()))?;
        Ok(Process {
            side,
            arguments,
            notifications,
            notify_path,
            child: None,
            restart_at: None,
            starts: 0,
            ready: None,
            settled: false,
            failures: 0,
            status: String::new(),
        })
    }

    fn start(&mut self, terminal: &Terminal, lines: &mpsc::Sender<Vec<u8>>) -> anyhow::Result<()> {
        // the program that we are, also when another version has been installed in its place since
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("canvoy")
            .args(&self.arguments[..1])
            .arg(format!("--supervisor={}", std::process::id()))
            .args((self.side == Side::Plant).then(|| format!("--restarts={}", self.starts)))
            .args(&self.arguments[1..])
            .env("NOTIFY_SOCKET", &self.notify_path)
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Ctrl-C reaches us alone; we tell them
            .process_group(0)
            .kill_on_drop(true);
        if terminal.shared {
            command.stderr(Stdio::piped()).env("CLICOLOR_FORCE", "1");
        }
        let mut child = command.spawn().context("can't start a process")?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(forward(stderr, lines.clone()));
        }
        self.child = Some(child);
        self.restart_at = None;
        self.starts += 1;
        Ok(())
    }

    /// The next thing that happens to it. Cancelling it loses nothing.
    async fn event(&mut self) -> Event {
        let mut buffer = [0; 4096];
        let restart_at = self.restart_at;
        tokio::select! {
            // its last words come before its end
            biased;
            Ok(length) = self.notifications.recv(&mut buffer) => {
                Event::Told(String::from_utf8_lossy(&buffer[..length]).into_owned())
            }
            ended = async {
                match &mut self.child {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            } => Event::Ended(ended.map_or(Ending::Exited(exit::SYSTEM), Ending::from)),
            () = async {
                match restart_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => Event::Restart,
        }
    }

    /// Takes note of its end; what is to be done.
    fn ended(&mut self, ending: Ending) -> Action {
        self.child = None;
        let lived = self.ready.take().map(|since| since.elapsed()).unwrap_or_default();
        self.settled |= lived >= SETTLED;
        self.failures = if lived >= GOOD_LIFE { 0 } else { self.failures.saturating_add(1) };
        let action = decide(self.side, ending, self.settled, self.failures);
        if let Action::Restart(after) = action {
            self.restart_at = Some(Instant::now() + after);
        }
        action
    }

    /// Takes note of a notification; whether it says that it is ready.
    fn told(&mut self, text: &str) -> bool {
        let mut ready = false;
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => {
                    self.ready.get_or_insert_with(Instant::now);
                    ready = true;
                }
                Some(("STATUS", status)) => self.status = status.to_owned(),
                _ => {}
            }
        }
        ready
    }

    /// Until it has ended, if it runs.
    async fn wait(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            // not waited for yet, so the id is still its own; fails only where it has ended
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

/// Hands on what a process writes, line by line.
async fn forward(stderr: ChildStderr, lines: mpsc::Sender<Vec<u8>>) {
    let mut reader = BufReader::with_capacity(LINE, stderr);
    loop {
        let mut line = Vec::new();
        match read_line(&mut reader, &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// A line, or as much of it as the buffer holds.
async fn read_line(reader: &mut BufReader<ChildStderr>, line: &mut Vec<u8>) -> io::Result<usize> {
    while line.len() < LINE {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            break;
        }
        let end = available.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(available.len());
        line.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if end.is_some() {
            break;
        }
    }
    Ok(line.len())
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

    fn check(options: &Options, controller: &str, plant: &str) {
        let join = |arguments: Vec<OsString>| arguments.join(" ".as_ref()).into_string().unwrap();
        assert_eq!(join(controller_arguments(options, Path::new("/r/command"))), controller);
        assert_eq!(join(plant_arguments(options, Path::new("/r/command"), Path::new("/s"))), plant);
    }

    #[test]
    fn what_the_processes_are_started_with() {
        let mut options = Options {
            source: Source::File("-odd.toml".into()),
            simulate: true,
            overrides: Overrides::default(),
            state: None,
            watch: vec!["a.B.C".into()],
        };
        check(
            &options,
            "controller --socket /r/command --simulate -- -odd.toml",
            "plant --socket /r/command --state /s --watch=a.B.C",
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
            "controller --socket /r/command --demo",
            "plant --socket /r/command --state /s --opcua-port 4841 --http-port 0 --users /r/users --trust-any-client-certificate",
        );
    }

    #[test]
    fn passwords_differ() {
        let (one, other) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(one.len(), 12);
        assert_ne!(one, other);
    }

    #[tokio::test]
    async fn notifications_and_lives() {
        let folder = Private::new(|_| None).unwrap();
        let mut process = Process::new(Side::Plant, Vec::new(), folder.path()).unwrap();
        let notifier = Notifier::new(Some(process.notify_path.as_os_str()), None);
        notifier.ready("first");
        let Event::Told(text) = process.event().await else { panic!("no notification") };
        assert!(process.told(&text));
        assert_eq!(process.status, "first");
        assert!(!process.told("STATUS=second"));
        assert_eq!(process.status, "second");
        // not for long enough: a bad start
        assert_eq!(process.ended(Ending::Exited(exit::UNAVAILABLE)), Action::End(exit::UNAVAILABLE));
        process.ready = Instant::now().checked_sub(SETTLED);
        assert_eq!(process.ended(Ending::Killed(9)), Action::Restart(Duration::from_millis(50)));
        assert!(matches!(process.event().await, Event::Restart));
        // settled for good, though this life was short
        assert_eq!(process.ended(Ending::Exited(exit::UNAVAILABLE)), Action::Restart(Duration::from_millis(50)));
    }
}
