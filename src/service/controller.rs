//! The controller process: from files to a running machine side.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::config::LoadOptions;
use crate::service::source::{Source, print_diagnostics};
use crate::service::{folder, log, process};
use crate::{controller, service};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    pub source: Source,
    pub simulate: bool,
    pub socket: PathBuf,
    /// Whose members may connect to the socket.
    pub group: Option<String>,
    /// Path of the socket of `canvoy-link`.
    pub link: PathBuf,
    /// Folder for what outlives a run.
    pub state: Option<PathBuf>,
    /// Process id of the supervisor; it has printed the warnings.
    pub supervisor: Option<u32>,
}

/// Runs until it is told to stop.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { source, simulate, socket, group, link, state, supervisor } = options;
    // a clean stop when the supervisor dies: outputs end between two frames, not in one
    process::begin(c"canvoy-control", supervisor, Signal::SIGTERM)?;
    log::start(if supervisor.is_some() { "controller" } else { "" });
    let service::source::Plant { sources, options, loaded } = source.load(LoadOptions { simulate })?;
    if supervisor.is_none() {
        print_diagnostics(&loaded.diagnostics);
    }
    let simulator = source.simulator(&loaded)?;
    let group = group.as_deref().map(controller::group).transpose()?;
    let bundle = sources.to_bundle(options);
    let state = state.or_else(|| folder::of_service(|name| std::env::var_os(name)));
    controller::run(controller::Options { plan: Arc::new(loaded.plan), bundle, simulator, socket, group, link, state })
}
