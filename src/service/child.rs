//! One process of the supervisor: started, listened to, seen to end, started again.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::UnixDatagram;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::exit;
use super::restart::{Action, Ending, SETTLED, Side, decide};
use crate::command::socket::{self, passing};

/// A process that was ready for this long is started again without more and more delay.
const GOOD_LIFE: Duration = Duration::from_millis(300);
/// A process that says nothing for this long is stuck. Far above anything that a loaded computer does.
const STUCK: Duration = Duration::from_secs(10);
/// Longest line of a log that is kept in one piece, in bytes.
const LINE: usize = 16 * 1024;

/// What one of the processes did.
pub enum Event {
    Ended(Ending),
    Restart,
    /// It has not fed its watchdog for `STUCK`.
    Stuck,
    /// A notification, as for systemd (sd_notify(3)), and the descriptors that came with it.
    Told(String, Vec<OwnedFd>),
}

/// A process, running or about to be started again.
pub struct Process {
    pub side: Side,
    arguments: Vec<OsString>,
    /// Where it tells what systemd would be told.
    notifications: UnixDatagram,
    notify_path: PathBuf,
    pub child: Option<Child>,
    restart_at: Option<Instant>,
    starts: u64,
    /// Since when this life is ready.
    pub ready: Option<Instant>,
    /// When it last said that it moves; `None` before it is ready.
    fed: Option<Instant>,
    /// Some life was ready for long enough.
    settled: bool,
    failures: u32,
    /// Its last status line.
    pub status: String,
    /// What its next life starts with.
    kept: Kept,
}

/// Descriptors that a process has given us to keep, each with its name: systemd's file descriptor store.
#[derive(Debug, Default)]
struct Kept {
    names: Vec<String>,
    descriptors: Vec<OwnedFd>,
}

impl Kept {
    fn add(&mut self, name: &str, descriptors: Vec<OwnedFd>) {
        for descriptor in descriptors {
            if self.names.len() < passing::MOST {
                self.names.push(name.to_owned());
                self.descriptors.push(descriptor);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        while let Some(at) = self.names.iter().position(|other| other == name) {
            self.names.remove(at);
            self.descriptors.remove(at);
        }
    }
}

impl Process {
    pub fn new(side: Side, arguments: Vec<OsString>, folder: &Path) -> anyhow::Result<Process> {
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
            fed: None,
            settled: false,
            failures: 0,
            status: String::new(),
            kept: Kept::default(),
        })
    }

    /// Starts it. `lines`: where its log goes, one line at a time; `None`: where ours goes.
    pub fn start(&mut self, lines: Option<&mpsc::Sender<Vec<u8>>>) -> anyhow::Result<()> {
        // the program that we are, also when another version has been installed in its place since
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("canvoy")
            .args(&self.arguments[..1])
            .arg(format!("--supervisor={}", std::process::id()))
            .args((self.side == Side::Plant).then(|| format!("--restarts={}", self.starts)))
            .args(&self.arguments[1..])
            .env("NOTIFY_SOCKET", &self.notify_path)
            .env("WATCHDOG_USEC", STUCK.as_micros().to_string())
            .env_remove("WATCHDOG_PID")
            // which nobody knows before it exists; see `listeners`
            .env_remove("LISTEN_PID")
            .env("LISTEN_FDS", self.kept.names.len().to_string())
            .env("LISTEN_FDNAMES", self.kept.names.join(":"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Ctrl-C reaches us alone; we tell them
            .process_group(0)
            .kill_on_drop(true);
        if lines.is_some() {
            command.stderr(Stdio::piped()).env("CLICOLOR_FORCE", "1");
        }
        passing::give(command.as_std_mut(), &self.kept.descriptors).context("can't hand over listeners")?;
        let mut child = command.spawn().context("can't start a process")?;
        if let (Some(stderr), Some(lines)) = (child.stderr.take(), lines) {
            tokio::spawn(forward(stderr, lines.clone()));
        }
        self.child = Some(child);
        self.restart_at = None;
        self.starts += 1;
        Ok(())
    }

    /// The next thing that happens to it. Cancelling it loses nothing.
    pub async fn event(&mut self) -> Event {
        let (restart_at, stuck_at) = (self.restart_at, self.fed.map(|fed| fed + STUCK));
        let moment = async |at: Option<Instant>| match at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        };
        tokio::select! {
            // its last words come before its end
            biased;
            Ok((text, descriptors)) = hear(&self.notifications) => Event::Told(text, descriptors),
            ended = async {
                match &mut self.child {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            } => Event::Ended(ended.map_or(Ending::Exited(exit::SYSTEM), Ending::from)),
            () = moment(restart_at) => Event::Restart,
            () = moment(stuck_at) => Event::Stuck,
        }
    }

    /// Takes note of its end; what is to be done.
    pub fn ended(&mut self, ending: Ending) -> Action {
        (self.child, self.fed) = (None, None);
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
    pub fn told(&mut self, text: &str, descriptors: Vec<OwnedFd>) -> bool {
        let mut ready = false;
        let says = |wanted: &str| text.lines().any(|line| line == wanted);
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
        if says("FDSTOREREMOVE=1") {
            self.kept.remove(name);
        } else if says("FDSTORE=1") && self.side == Side::Plant {
            self.kept.add(name, descriptors);
        }
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => {
                    self.ready.get_or_insert_with(Instant::now);
                    self.fed = Some(Instant::now());
                    ready = true;
                }
                Some(("WATCHDOG", "1")) if self.ready.is_some() => self.fed = Some(Instant::now()),
                Some(("STATUS", status)) => self.status = status.to_owned(),
                _ => {}
            }
        }
        ready
    }

    /// Until it has ended, if it runs.
    pub async fn wait(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
    }

    /// Kills it and waits for its end.
    pub async fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // fails only where it has ended
            let _ = child.kill().await;
        }
    }

    /// It could not be started: once more after this time.
    pub fn retry(&mut self, after: Duration) {
        self.restart_at = Some(Instant::now() + after);
    }

    /// It does not move: it is killed, and its end is the next event.
    pub fn stuck(&mut self) {
        self.fed = None;
        self.signal(Signal::SIGKILL);
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            // not waited for yet, so the id is still its own; fails only where it has ended
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}

/// The next notification.
async fn hear(notifications: &UnixDatagram) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut buffer = [0; 4096];
    let mut descriptors = Vec::new();
    loop {
        let receive = || socket::receive(notifications.as_fd(), &mut buffer, &mut descriptors);
        match notifications.async_io(Interest::READABLE, receive).await {
            // too long, or too many descriptors: gone
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            length => return Ok((String::from_utf8_lossy(&buffer[..length?]).into_owned(), descriptors)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Notifier;
    use crate::service::folder::Private;

    #[tokio::test]
    async fn notifications_and_lives() {
        let folder = Private::new(|_| None).unwrap();
        let mut process = Process::new(Side::Plant, Vec::new(), folder.path()).unwrap();
        let notifier = Notifier::new(Some(process.notify_path.as_os_str()), None);
        notifier.ready("first");
        let Event::Told(text, none) = process.event().await else { panic!("no notification") };
        assert!(process.told(&text, none));
        assert_eq!(process.status, "first");
        assert!(!process.told("STATUS=second", Vec::new()));
        process.fed = Instant::now().checked_sub(STUCK);
        assert!(matches!(process.event().await, Event::Stuck));
        process.told("WATCHDOG=1", Vec::new());
        assert!(process.fed.is_some_and(|fed| fed.elapsed() < STUCK));
        assert_eq!(process.status, "second");
        // not for long enough: a bad start
        assert_eq!(process.ended(Ending::Exited(exit::UNAVAILABLE)), Action::End(exit::UNAVAILABLE));
        process.ready = Instant::now().checked_sub(SETTLED);
        assert_eq!(process.ended(Ending::Killed(9)), Action::Restart(Duration::from_millis(50)));
        assert!(matches!(process.event().await, Event::Restart));
        // settled for good, though this life was short
        assert_eq!(process.ended(Ending::Exited(exit::UNAVAILABLE)), Action::Restart(Duration::from_millis(50)));
    }

    #[tokio::test]
    async fn descriptors_are_kept_for_the_plant() {
        let folder = Private::new(|_| None).unwrap();
        for (side, want) in [(Side::Plant, vec!["opcua", "http"]), (Side::Controller, vec![])] {
            let mut process = Process::new(side, Vec::new(), folder.path()).unwrap();
            let notifier = Notifier::new(Some(process.notify_path.as_os_str()), None);
            let (reader, writer) = io::pipe().unwrap();
            for name in ["opcua", "page", "http"] {
                notifier.keep(name, writer.as_fd()).unwrap();
            }
            notifier.forget("page");
            for _ in 0..4 {
                let Event::Told(text, descriptors) = process.event().await else { panic!("no notification") };
                assert!(!process.told(&text, descriptors));
            }
            assert_eq!(process.kept.names, want);
            for _ in 0..2 * passing::MOST {
                process.told("FDSTORE=1", vec![reader.as_fd().try_clone_to_owned().unwrap()]);
            }
            assert!(process.kept.descriptors.len() <= passing::MOST);
        }
    }
}
