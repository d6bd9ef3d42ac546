//! The plant process: waits for a controller, serves its plant, and outlives it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::command::{Generation, Place};
use crate::config::{self, Settings, Sources};
use crate::notify::Notifier;
use crate::plan::Plan;
use crate::plant::access::Rights;
use crate::plant::link::{self, End, Handover, Link, LinkError};
use crate::plant::pulse::Pulses;
use crate::plant::status::{Counters, Status};
use crate::plant::view::Request;
use crate::plant::{Plant, View, access, alarm, http, opcua, text};
use crate::service::exit::{AGAIN, CONFIG, Failure, INTERNAL};
use crate::service::listeners::{HTTP, Kept, OPCUA};
use crate::service::log::Who;
use crate::service::proof::{Proof, Told};
use crate::service::{credential, exit, log, process};
use crate::store::{Layout, Reader, clock, memory};

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Path of the controller's socket for the plant process.
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
/// How long after a reload what the plan before held is given back.
const TRIM: Duration = Duration::from_secs(2);
/// Threads for what blocks: passwords, certificates, files.
const BLOCKING: usize = 6;
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

/// Runs until it is told to stop, or a configuration with other settings of its own makes it start anew.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    process::begin(c"canvoy-plant", options.supervisor, Signal::SIGKILL)?;
    let kept = Kept::from_environment(options.supervisor.is_some());
    log::start(Who::Plant, options.supervisor.is_some());
    memory::steady_heap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING)
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
    let Loaded { plan, settings: written, rights, reader, generation } = load(handover).await?;
    let mut settings = written.clone();
    options.overrides.apply(&mut settings);
    let users = settings.opcua.users.map(|file| credential::resolve(file, |name| std::env::var_os(name)));
    settings.opcua.users = users.transpose()?;
    let (requests, incoming) = mpsc::channel(REQUESTS);
    let status = Status::new(&plan, &options.watch).map_err(|missing| {
        let message = format!("no such signal to watch: {}. `canvoy tags FILE` lists them", missing.join(", "));
        Failure::new(CONFIG, message)
    })?;
    let status = Arc::new(status);
    info!(socket = %options.socket.display(), configuration = plan.short_hash(), "connected to the controller");
    let view = View::new(Arc::new(plan), reader, &generation, requests);
    let plant = Arc::new(Plant::new(view.with_rights(Arc::new(rights))));

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
    {
        let (plant, folder) = (plant.clone(), options.state.join(alarm::FOLDER));
        servers.spawn(async move { match alarm::run(plant, folder).await? {} });
    }
    let proof = Proof::new(loops, Instant::now());
    tokio::select! {
        failure = follow(link, incoming, &plant, &options.socket, &written) => Err(failure),
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
        let reason = match link::connect(socket, Place::Plant).await {
            Ok(connected) => return connected,
            Err(LinkError::Socket(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                format!("{error}; the plant side has a socket of its own (canvoy controller --plant-socket)")
            }
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

/// What a handover means.
pub(super) struct Loaded {
    pub plan: Plan,
    pub settings: Settings,
    pub rights: Rights,
    pub reader: Reader,
    pub generation: Generation,
}

/// Builds the plan from the bytes that were handed over, never from files: those may have changed since.
pub(super) fn plan_of(handover: Handover) -> anyhow::Result<Loaded> {
    let Handover { generation, bundle, memory } = handover;
    let (sources, options) =
        Sources::from_bundle(&bundle).map_err(|error| Failure::new(INTERNAL, error.to_string()))?;
    let config::Loaded { plan, settings, rights, .. } = config::load(&sources, options).map_err(|mistakes| {
        // the controller has accepted the same bytes
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        Failure::new(INTERNAL, format!("the controller runs a configuration that this version refuses: {first}"))
    })?;
    if plan.hash_text() != generation.hash {
        let message =
            "the controller's configuration means something else to this version: install both from one release";
        return Err(Failure::new(INTERNAL, message).into());
    }
    let reader = Reader::open(Arc::new(memory), Layout::of(&plan), plan.hash_word())?;
    Ok(Loaded { plan, settings, rights, reader, generation })
}

/// The same, beside the threads that serve.
async fn load(handover: Handover) -> anyhow::Result<Loaded> {
    tokio::task::spawn_blocking(move || plan_of(handover)).await.context("the controller's configuration")?
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

/// What [`follow`] waits for.
enum Event {
    /// From the controller, or the end of the connection.
    Link(Result<End, LinkError>),
    /// A handover has been understood, or not.
    Loaded(anyhow::Result<Box<Loaded>>),
}

/// Keeps the connection to the controller and shows the plant what it hands over. Comes back when this process has to be
/// started anew.
pub(super) async fn follow(
    mut link: Link,
    mut requests: mpsc::Receiver<Request>,
    plant: &Plant,
    socket: &Path,
    settings: &Settings,
) -> anyhow::Error {
    let mut sender = plant.view().requests.clone();
    // of a controller that we have just found again; else it has read its configuration anew
    let mut returned = false;
    let mut loading: Option<JoinHandle<anyhow::Result<Loaded>>> = None;
    loop {
        let event = tokio::select! {
            served = link.serve(&mut requests) => Event::Link(served),
            loaded = finished(&mut loading) => Event::Loaded(loaded),
        };
        match event {
            // a newer one makes the one before it worthless
            Event::Link(Ok(End::Handover(handover))) => loading = Some(tokio::spawn(load(handover))),
            Event::Link(lost) => {
                plant.disconnect();
                match lost {
                    Err(error) => error!(%error, "the connection to the controller is broken; every value is bad"),
                    Ok(_) => error!("the controller is gone; every value is bad"),
                }
                // A way of its own for each connection: what was meant for one controller never reaches the next, whose
                // indices may be others. Who waits for an answer is told.
                (sender, requests) = mpsc::channel(REQUESTS);
                let (new, handover) = match reconnect(socket).await {
                    Ok(connected) => connected,
                    Err(error) => return Failure::new(AGAIN, format!("{error}; starting again")).into(),
                };
                link = new;
                returned = true;
                loading = Some(tokio::spawn(load(handover)));
            }
            Event::Loaded(Ok(loaded)) => {
                if loaded.settings != *settings {
                    let message = "[opcua], [http] or [role] has changed; starting again with that";
                    return Failure::new(AGAIN, message).into();
                }
                show(plant, *loaded, &sender, std::mem::take(&mut returned));
            }
            // the controller may be of another version than we are: a new process is of the one that is installed
            Event::Loaded(Err(error)) if returned => return error,
            Event::Loaded(Err(error)) => {
                plant.disconnect();
                error!(%error, "the configuration in force can't be used here; every value is bad until the next one");
            }
        }
    }
}

/// Never without one.
async fn finished(loading: &mut Option<JoinHandle<anyhow::Result<Loaded>>>) -> anyhow::Result<Box<Loaded>> {
    let Some(handle) = loading else { return std::future::pending().await };
    let loaded = handle.await;
    *loading = None;
    loaded.context("the controller's configuration")?.map(Box::new)
}

/// Puts a generation in the place of the one before. `returned`: of a controller that was gone.
fn show(plant: &Plant, loaded: Loaded, requests: &mpsc::Sender<Request>, returned: bool) {
    let Loaded { plan, rights, reader, generation, .. } = loaded;
    let before = plant.view();
    let same = before.plan.hash == plan.hash;
    // what was made for the plan goes on to be used
    let (plan, rights) =
        if same { (before.plan.clone(), before.rights.clone()) } else { (Arc::new(plan), Arc::new(rights)) };
    let (configuration, since) = (plan.short_hash(), text::time(generation.since));
    plant.connect(View::new(plan, reader, &generation, requests.clone()).with_rights(rights));
    if returned {
        info!("the controller is back");
    }
    if !same {
        info!(configuration, since, "another configuration is in force");
        // once nobody works on the one before any more; should somebody, the next time
        tokio::spawn(async {
            sleep(TRIM).await;
            let _ = tokio::task::spawn_blocking(memory::trim_heap).await;
        });
    }
}

/// Until it is there again. An error: it is of another version, and a new process is of the one that is installed.
async fn reconnect(socket: &Path) -> Result<(Link, Handover), LinkError> {
    let mut told = String::new();
    loop {
        match link::connect(socket, Place::Plant).await {
            Ok(connected) => return Ok(connected),
            Err(link::LinkError::Socket(_)) => {}
            Err(error) if error.is_of_versions() => return Err(error),
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
                before = status.sample(&plant.view(), &before, now);
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
