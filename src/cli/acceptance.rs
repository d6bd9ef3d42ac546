//! `canvoy acceptance --hours N FILE`: the times of this machine on this computer against their budgets, as a report.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use super::{EXIT_CONFIG, print, print_diagnostics};
use crate::config::{self, Files, LoadOptions};
use crate::plan::Plan;
use crate::service::acceptance::{Computer, Counters, Run, report};
use crate::service::client::Client;
use crate::service::exit::{Failure, UNAVAILABLE};
use crate::service::folder::Private;
use crate::store::clock;

/// Measure a machine on this computer against its budgets, and write a report
///
/// Runs the controller of FILE on its buses (it sends what FILE says) for the time given, or watches one that runs already
/// (--socket), and compares each route, link and cycle with its budget: pass or fail, with the kernel, the processor and
/// the scheduling class it got. Put the load on the computer that it will have. Ctrl-C ends it early, with its report.
/// Exit code: 0 when everything passed, 1 when not.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy acceptance --hours 24 plant.toml --report report.txt --json report.json
  canvoy acceptance --hours 0.01 --simulate examples/line.toml
  canvoy acceptance --hours 8 /etc/canvoy/canvoy.toml --socket /run/canvoy/command")]
pub struct Args {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The variables of this machine, in place of the file that FILE names as machine_file
    #[arg(long, value_name = "FILE")]
    machine: Option<PathBuf>,
    /// How long to measure, in hours
    #[arg(long, value_name = "N", value_parser = hours)]
    hours: f64,
    /// Watch the controller that runs on this command socket with FILE, instead of starting one
    #[arg(long, value_name = "PATH", conflicts_with = "simulate")]
    socket: Option<PathBuf>,
    /// Every bus virtual: tries the report, says nothing about a machine
    #[arg(long)]
    simulate: bool,
    /// Write the report to this file too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How long a controller may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// After its start, for listening and for everything to be under way.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let files = Files { config: args.file.clone(), machine: args.machine.clone() };
    let loaded = files.read().and_then(|sources| config::load(&sources, LoadOptions { simulate: args.simulate }));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            print_diagnostics(&mistakes);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let started = match &args.socket {
        Some(_) => None,
        None => Some(Started::new(&args)?),
    };
    let socket = args.socket.clone().or_else(|| started.as_ref().map(Started::socket));
    let patience = if started.is_some() { PATIENCE } else { Duration::ZERO };
    let client = open(socket, patience)?;
    check_same(&client.plan, &loaded.plan, &args.file)?;
    if started.is_some() {
        std::thread::sleep(SETTLE);
    }
    let counters = || Counters::take(&client.plan, &client.reader, clock::realtime(), clock::monotonic());
    let before = counters();
    let ended_early = wait(&client, Duration::from_secs_f64(args.hours * 3600.0))?;
    let after = counters();
    let run = Run {
        plan: &client.plan,
        reader: &client.reader,
        file: args.file.display().to_string(),
        computer: Computer::look(Path::new("/")),
        ended_early,
    };
    let report = report(run, &before, &after);
    drop(started);
    let text = report.text();
    for (path, content) in
        [(&args.report, text.clone()), (&args.json, format!("{}\n", serde_json::to_string_pretty(&report)?))]
    {
        if let Some(path) = path {
            std::fs::write(path, content).with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    print(&text)?;
    Ok(ExitCode::from(u8::from(!report.passed)))
}

fn hours(text: &str) -> Result<f64, String> {
    let hours = text.parse::<f64>().map_err(|_| "a number of hours, like 24 or 0.5".to_owned())?;
    // written so that NaN is refused too
    if (0.001..=8760.0).contains(&hours) { Ok(hours) } else { Err("from 0.001 (3.6 s) to 8760 (a year)".into()) }
}

/// A controller of our own, ended with this value.
struct Started {
    child: Child,
    folder: Private,
}

impl Started {
    fn new(args: &Args) -> anyhow::Result<Started> {
        let folder = Private::new(|name| std::env::var_os(name))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("controller").arg("--socket").arg(folder.path().join("command"));
        command.args(args.simulate.then_some("--simulate"));
        // Ctrl-C is for us: the report comes first
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.args(args.machine.iter().flat_map(|machine| ["--machine".as_ref(), machine.as_os_str()]));
        command.arg("--").arg(&args.file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().context("can't start the controller")?;
        Ok(Started { child, folder })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("command")
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // it may have ended by itself; either way it is waited for
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Connects; one that was just started needs a moment.
fn open(socket: Option<PathBuf>, patience: Duration) -> anyhow::Result<Client> {
    let began = Instant::now();
    loop {
        match Client::open(socket.clone()) {
            Err(error) if began.elapsed() >= patience => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
            Ok(client) => return Ok(client),
        }
    }
}

fn check_same(running: &Plan, file: &Plan, path: &Path) -> anyhow::Result<()> {
    if running.hash == file.hash {
        return Ok(());
    }
    let (running, file) = (running.short_hash(), file.short_hash());
    let message = format!(
        "the controller runs configuration {running}, {} is {file}; restart it with this file, or give the file it runs",
        path.display()
    );
    Err(Failure::new(UNAVAILABLE, message).into())
}

/// Waits; why it came back before its time, if it did.
fn wait(client: &Client, time: Duration) -> anyhow::Result<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut second = tokio::time::interval(Duration::from_secs(1).min(time));
        let began = Instant::now();
        let shown = std::io::stderr().is_terminal();
        loop {
            let reason = tokio::select! {
                _ = interrupt.recv() => Some("Ctrl-C"),
                _ = terminate.recv() => Some("SIGTERM"),
                () = tokio::time::sleep(time.saturating_sub(began.elapsed())) => break Ok(None),
                _ = second.tick() => {
                    client.reader.stale(clock::monotonic()).then_some("the controller ended or does not move")
                }
            };
            if shown {
                let (done, of) = (began.elapsed().as_secs(), time.as_secs());
                // only for the eye
                let _ = write!(std::io::stderr(), "\r{done} of {of} s; Ctrl-C ends early with the report ");
            }
            if let Some(reason) = reason {
                let hours = began.elapsed().as_secs_f64() / 3600.0;
                break Ok(Some(format!("{reason}, after {hours:.3} h")));
            }
        }
    })
}
