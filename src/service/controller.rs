//! The controller process: from files to a running machine side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::config::LoadOptions;
use crate::notify::Notifier;
use crate::service::log::Who;
use crate::service::source::{Source, print_diagnostics};
use crate::service::{exit, folder, log, process};
use crate::{controller, service};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    pub source: Source,
    pub simulate: bool,
    /// Of people at the machine.
    pub socket: PathBuf,
    /// Whose members may connect to the socket.
    pub group: Option<String>,
    /// Of the plant process; `None`: [`plant_socket`].
    pub plant_socket: Option<PathBuf>,
    /// Whose members may connect to that.
    pub plant_group: Option<String>,
    /// Path of the socket of `canvoy-link`.
    pub link: PathBuf,
    /// Folder for what outlives a run.
    pub state: Option<PathBuf>,
    /// Process id of the supervisor; it has printed the warnings.
    pub supervisor: Option<u32>,
}

/// Runs until it is told to stop.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    try_run(options).inspect_err(|error| {
        // mistakes of the configuration have been printed
        let text = format!("{error:#}");
        let reason = if text.is_empty() { "the configuration is wrong; `canvoy check` says where" } else { &text };
        Notifier::from_environment().failed(reason, exit::errno(error));
    })
}

fn try_run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { source, simulate, socket, group, plant_socket, plant_group, link, state, supervisor } = options;
    // a clean stop when the supervisor dies: outputs end between two frames, not in one
    process::begin(c"canvoy-control", supervisor, Signal::SIGTERM)?;
    log::start(Who::Controller, supervisor.is_some());
    let service::source::Plant { sources, options, loaded } = source.load(LoadOptions { simulate })?;
    if supervisor.is_none() {
        print_diagnostics(&loaded.diagnostics);
    }
    let simulator = source.simulator(&loaded)?;
    let gid = |name: Option<String>| name.as_deref().map(controller::group).transpose();
    let (group, plant_group) = (gid(group)?, gid(plant_group)?);
    let plant_socket = plant_socket.unwrap_or_else(|| self::plant_socket(&socket));
    let bundle = sources.to_bundle(options);
    let load = source.reload(options);
    let state = state.or_else(|| folder::of_service(|name| std::env::var_os(name)));
    let plan = Arc::new(loaded.plan);
    controller::run(controller::Options {
        plan,
        bundle,
        simulator,
        socket,
        group,
        plant_socket,
        plant_group,
        link,
        load,
        state,
    })
}

/// The plant process's socket beside that of people at the machine, where no other is named.
pub fn plant_socket(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".plant");
    path.into()
}
