//! `canvoy controller FILE`: the machine side alone.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Files;
use crate::service::controller::{self, Options};
use crate::service::source::Source;

/// Run the controller alone: buses, store and command socket, no network
///
/// This is what canvoy.service starts. It asks for SCHED_FIFO and locked memory, says in the log what it did not get,
/// and runs all the same. Log level: CANVOY_LOG=debug.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy controller /etc/canvoy/plant.toml --socket /run/canvoy/command --group canvoy \\
      --plant-socket /run/canvoy-plant/command --plant-group canvoy-plant --state /var/lib/canvoy
  canvoy controller plant.toml --socket /tmp/command --simulate")]
pub struct Args {
    /// The configuration file
    #[arg(value_name = "FILE", required_unless_present = "demo")]
    pub file: Option<PathBuf>,
    /// The variables of this machine, in place of the file that FILE names as machine_file
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// Path of the socket for people at the machine: canvoy status, arm, force, reload
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Members of this group may connect to it, besides our own user and root
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Path of the plant side's socket: what comes through it is from the network, whatever it says [default: PATH of --socket
    /// with .plant behind it]
    #[arg(long, value_name = "PATH")]
    pub plant_socket: Option<PathBuf>,
    /// Members of this group may connect to that one, besides our own user and root
    #[arg(long, value_name = "GROUP")]
    pub plant_group: Option<String>,
    /// Folder that keeps retained values [default: $STATE_DIRECTORY; without either nothing is retained]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Path of the socket of `canvoy link`, which looks after buses with managed = true
    #[arg(long, value_name = "PATH", default_value = crate::link::SOCKET)]
    pub link: PathBuf,
    /// Every bus virtual, the messages of all other nodes played at their cycle times with moving values
    #[arg(long)]
    pub simulate: bool,
    /// The built-in demo instead of a file
    #[arg(long, hide = true, conflicts_with_all = ["file", "machine", "simulate"])]
    pub demo: bool,
    /// Process id of the supervisor that has started us
    #[arg(long, hide = true)]
    pub supervisor: Option<u32>,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, machine, socket, group, plant_socket, plant_group, state, link, simulate, demo: _, supervisor } =
        args;
    let source = file.map_or(Source::Demo, |config| Source::File(Files { config, machine }));
    controller::run(Options { source, simulate, socket, group, plant_socket, plant_group, link, state, supervisor })
}
