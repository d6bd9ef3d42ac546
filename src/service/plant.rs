//! The plant process: waits for a controller, serves its plant, and outlives it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::config::{self, Settings, Sources};
use crate::notify::Notifier;
use crate::plan::Plan;
use crate::plant::link::{self, End, Handover, Link};
use crate::plant::pulse::Pulses;
use crate::plant::status::{Counters, Status};
use crate::plant::view::Request;
use crate::plant::{Plant, access, http, opcua};
use crate::service::exit::{CONFIG, Failure, INTERNAL, UNAVAILABLE};
use crate::service::listeners::{HTTP, Kept, OPCUA};
use crate::service::log::Who;
use crate::service::proof::{Proof, Told};
use crate::service::{credential, exit, log, process};
use crate::store::{Layout, Reader, clock};

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Path of the controller's command socket.
    pub socket: PathBuf,
    /// For certificates.
    pub state: PathBuf,
    pub overrides: Overrides,
    /// Tags to show in the status line.
    pub watch: Vec<String>,
    /// Process id of the supervisor.
    pub supervisor: Option<u32>,
    /// How often the supervisor has started this process again.
    pub restarts: u64,
}

/// What the command line says in place of `[opcua]` and `[http]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub opcua_port: Option<u16>,
    pub http_port: Option<u16>,
    pub users: Option<PathBuf>,
    pub trust_any_client_certificate: bool,
}

/// Between two attempts to reach the controller.
const RETRY: Duration = Duration::from_millis(200);
/// Without a controller for this long at the start, the service manager is told that we are ready all the same.
const LONELY: Duration = Duration::from_secs(5);
/// Between two looks at the servers while they begin.
const LOOK: Duration = Duration::from_millis(5);
/// Between two status lines; the watchdog is fed at least as often.
const SECOND: Duration = Duration::from_secs(1);
/// What is asked for, again and again, while the servers begin.
const MORE_TIME: Duration = Duration::from_secs(30);
/// Writes on their way to the controller; more are refused as busy.
const REQUESTS: usize = 64;

impl Overrides {
    pub fn apply(&self, settings: &mut Settings) {
        if let Some(port) = self.opcua_port {
            settings.opcua.listen.set_port(port);
        }
        if let Some(port) = self.http_port {
            settings.http.listen.set_port(port);
        }
        if let Some(users) = &self.users {
            settings.opcua.users = Some(users.clone());
        }
        settings.opcua.trust_any_client_certificate |= self.trust_any_client_certificate;
    }
}

/// Runs until it is told to stop, or a controller with another configuration makes it start anew.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    process::begin(c"canvoy-plant", options.supervisor, Signal::SIGKILL)?;
    let kept = Kept::from_environment(options.supervisor.is_some());
    log::start(Who::Plant, options.supervisor.is_some());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(opcua::WORKER_STACK)
        .enable_all()
        .build()
        .context("can't start threads")?;
    let result = runtime.block_on(serve(options, kept));
    // what is stuck in a blocking call must not hold up the end
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(options: Options, kept: Kept) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("can't handle signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't handle signals")?;
    let notifier = Notifier::from_environment();
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = work(&options, kept, &notifier) => Some(ended),
    };
    notifier.stopping();
    match ended {
        None => {
            info!("stopping");
            Ok(ExitCode::SUCCESS)
        }
        Some(failure) => {
            notifier.failed(&format!("{failure:#}"), exit::errno(&failure));
            Err(failure)
        }
    }
}

/// Everything; comes back only with what went wrong.
async fn work(options: &Options, kept: Kept, notifier: &Notifier) -> anyhow::Error {
    match try_work(options, kept, notifier).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn try_work(options: &Options, mut kept: Kept, notifier: &Notifier) -> anyhow::Result<std::convert::Infallible> {
    let (link, handover) = first_controller(&options.socket, notifier).await;
    let generation = handover.generation.number;
    let (plan, mut settings, reader) = plan_of(handover)?;
    options.overrides.apply(&mut settings);
    let users = settings.opcua.users.map(|file| credential::resolve(file, |name| std::env::var_os(name)));
    settings.opcua.users = users.transpose()?;
    let (requests, incoming) = mpsc::channel(REQUESTS);
    let plant = Arc::new(Plant::new(Arc::new(plan), reader, generation, requests));
    let status = Status::new(&plant, &options.watch).map_err(|missing| {
        let message = format!("no such signal to watch: {}. `canvoy tags FILE` lists them", missing.join(", "));
        Failure::new(CONFIG, message)
    })?;
    let status = Arc::new(status);
    info!(socket = %options.socket.display(), configuration = plant.plan.short_hash(), "connected to the controller");

    let mut servers: JoinSet<anyhow::Result<()>> = JoinSet::new();
    // dropped at the end, which the OPC UA server takes as the order to stop
    let (_stop, stopped) = oneshot::channel::<()>();
    let pulses = Arc::new(Pulses::default());
    let mut loops = Vec::new();
    if settings.http.enabled {
        let listener = kept.listen(HTTP, settings.http.listen, notifier)?;
        listener.set_nonblocking(true).context("the HTTP listener")?;
        let listener = tokio::net::TcpListener::from_std(listener).context("the HTTP listener")?;
        let (plant, status, restarts) = (plant.clone(), status.clone(), options.restarts);
        loops.push(&pulses.http);
        let pulses = pulses.clone();
        servers.spawn(async move {
            match http::run(listener, plant, status, restarts, &pulses.http).await {
                Ok(never) => match never {},
                Err(error) => Err(error.into()),
            }
        });
    } else {
        kept.close(HTTP, notifier);
    }
    if settings.opcua.enabled {
        check_users(&settings.opcua)?;
        let listener = kept.listen(OPCUA, settings.opcua.listen, notifier)?;
        let (plant, state) = (plant.clone(), options.state.clone());
        let config = settings.opcua.clone();
        loops.extend([&pulses.opcua, &pulses.sampling]);
        let pulses = pulses.clone();
        servers.spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            opcua::run(plant, config, listener, &state, &pulses, stop).await
        });
    } else {
        kept.close(OPCUA, notifier);
    }
    drop(kept);
    let proof = Proof::new(loops, Instant::now());
    tokio::select! {
        failure = follow(link, incoming, &plant, &options.socket) => Err(failure),
        ended = servers.join_next(), if !servers.is_empty() => Err(match ended {
            Some(Ok(Err(failure))) => failure,
            Some(Ok(Ok(()))) | None => Failure::new(INTERNAL, "a server has ended by itself").into(),
            Some(Err(panic)) => Failure::new(INTERNAL, format!("a server has ended: {panic}")).into(),
        }),
        never = tell(&plant, &status, proof, notifier) => match never {},
    }
}

/// Tries until there is one.
async fn first_controller(socket: &Path, notifier: &Notifier) -> (Link, Handover) {
    let started = Instant::now();
    let mut told = String::new();
    let mut ready = false;
    loop {
        let reason = match link::connect(socket).await {
            Ok(connected) => return connected,
            Err(error) => error.to_string(),
        };
        if reason != told {
            notifier.status(&format!("waiting for the controller at {}: {reason}", socket.display()));
            // a controller that is about to start is not worth a line
            if started.elapsed() > RETRY * 4 {
                warn!(socket = %socket.display(), %reason, "waiting for the controller");
                told = reason;
            }
        }
        if !ready && started.elapsed() > LONELY {
            ready = true;
            notifier.ready(&format!("waiting for the controller at {}", socket.display()));
        }
        notifier.watchdog();
        sleep(RETRY).await;
    }
}

/// Builds the plan from the bytes that were handed over, never from files: those may have changed since.
pub(super) fn plan_of(handover: Handover) -> anyhow::Result<(Plan, Settings, Reader)> {
    let Handover { generation, bundle, memory } = handover;
    let (sources, options) =
        Sources::from_bundle(&bundle).map_err(|error| Failure::new(INTERNAL, error.to_string()))?;
    let loaded = config::load(&sources, options).map_err(|mistakes| {
        // the controller has accepted the same bytes
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        Failure::new(INTERNAL, format!("the controller runs a configuration that this version refuses: {first}"))
    })?;
    let plan = loaded.plan;
    if hexadecimal(&plan) != generation.hash {
        let message =
            "the controller's configuration means something else to this version: install both from one release";
        return Err(Failure::new(INTERNAL, message).into());
    }
    let layout = Layout::of(&plan);
    let reader = Reader::open(Arc::new(memory), layout, plan.hash_word())?;
    Ok((plan, loaded.settings, reader))
}

fn hexadecimal(plan: &Plan) -> String {
    plan.hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that can't be understood is a mistake now; one that is not there may come while we run.
fn check_users(config: &opcua::Config) -> Result<(), Failure> {
    let Some(file) = &config.users else {
        if !config.anonymous_read {
            warn!(
                "nobody can log in to the OPC UA server: add users = \"FILE\" to [opcua], and a user by `canvoy user add FILE NAME`"
            );
        }
        return Ok(());
    };
    match access::check(file) {
        Ok(0) => {
            warn!(file = %file.display(), "nobody can log in to the OPC UA server yet: `canvoy user add FILE NAME`")
        }
        Ok(_) => {}
        Err(error) => return Err(Failure::new(CONFIG, format!("{error:#}"))),
    }
    Ok(())
}

/// Keeps the connection to the controller; comes back when there is one with another configuration.
async fn follow(mut link: Link, mut requests: mpsc::Receiver<Request>, plant: &Plant, socket: &Path) -> anyhow::Error {
    let hash = hexadecimal(&plant.plan);
    loop {
        let handover = match link.serve(&mut requests).await {
            Ok(End::Handover(handover)) => handover,
            lost => {
                plant.disconnect();
                match lost {
                    Err(error) => error!(%error, "the connection to the controller is broken; every value is bad"),
                    Ok(_) => error!("the controller is gone; every value is bad"),
                }
                // who waits for an answer is told
                while requests.try_recv().is_ok() {}
                let (new, handover) = reconnect(socket).await;
                link = new;
                while requests.try_recv().is_ok() {}
                handover
            }
        };
        if handover.generation.hash != hash {
            let message = "the controller has another configuration; starting again with that";
            return Failure::new(UNAVAILABLE, message).into();
        }
        let (layout, generation) = (Layout::of(&plant.plan), handover.generation.number);
        match Reader::open(Arc::new(handover.memory), layout, plant.plan.hash_word()) {
            Ok(reader) => plant.connect(reader, generation),
            Err(error) => return Failure::new(UNAVAILABLE, error.to_string()).into(),
        }
        info!("the controller is back");
    }
}

async fn reconnect(socket: &Path) -> (Link, Handover) {
    let mut told = String::new();
    loop {
        match link::connect(socket).await {
            Ok(connected) => return connected,
            Err(link::LinkError::Socket(_)) => {}
            // it is there and does not speak our language: once is enough
            Err(error) => {
                let reason = error.to_string();
                if reason != told {
                    warn!(%reason, "the controller can't be used");
                    told = reason;
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// Samples the rates, and tells the service manager how things are: ready when all servers are, alive while they turn.
async fn tell(plant: &Plant, status: &Status, mut proof: Proof<'_>, notifier: &Notifier) -> std::convert::Infallible {
    let mut second = interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // at the start nobody shall wait for the end of a second
    let mut feed = interval(LOOK);
    feed.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fed = Instant::now();
    let mut before = Counters::default();
    let mut told = String::new();
    loop {
        tokio::select! {
            _ = second.tick() => {
                let now = clock::monotonic();
                before = status.sample(plant, &before, now);
                let line = status.line(plant, now);
                if line != told {
                    notifier.status(&line);
                    told = line;
                }
            }
            _ = feed.tick() => match proof.look(Instant::now()) {
                Told::Begun => {
                    notifier.ready(&status.line(plant, clock::monotonic()));
                    feed = interval(notifier.watchdog_interval().unwrap_or(SECOND).min(SECOND));
                    feed.set_missed_tick_behavior(MissedTickBehavior::Delay);
                }
                Told::Alive => notifier.watchdog(),
                Told::Beginning if fed.elapsed() < SECOND => {}
                Told::Beginning => {
                    fed = Instant::now();
                    notifier.extend(MORE_TIME);
                    notifier.watchdog();
                }
                Told::Nothing => {}
            }
        }
    }
}
