//! `canvoy link FILE`: looks after the interfaces of buses with `managed = true`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Files, LoadOptions};
use crate::link::{self, Listed};
use crate::plan::{Interface, Plan};
use crate::service::exit::Failure;
use crate::service::log::Who;
use crate::service::source::Source;
use crate::service::{exit, log};

/// Set bit rates and restart interfaces for the controller (needs CAP_NET_ADMIN)
///
/// This is what canvoy-link.service starts. On the word of the controller it sets the interfaces of buses with
/// `managed = true` up with their `bit_rate` and `data_bit_rate`, and restarts them after bus-off. Other interfaces it
/// does not touch. Optional: without it systemd-networkd or ip do this.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  canvoy link /etc/canvoy/plant.toml --socket /run/canvoy-link/socket --user canvoy")]
pub struct Args {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The variables of this machine, in place of the file that FILE names as machine_file
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// Path of its socket, where the controller asks
    #[arg(long, value_name = "PATH", default_value = link::SOCKET)]
    pub socket: PathBuf,
    /// The controller's user; besides it our own user and root may ask
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, machine, socket, user } = args;
    log::start(Who::Link, false);
    let loaded = Source::File(Files { config: file, machine }).load(LoadOptions::default())?.loaded;
    let listed = listed(&loaded.plan);
    if listed.is_empty() {
        let remedy = "no bus has managed = true; add it to the buses whose interface is to be set up";
        return Err(Failure::new(exit::CONFIG, remedy).into());
    }
    link::run(link::Options { listed, socket, user })
}

fn listed(plan: &Plan) -> Vec<Listed> {
    let managed = plan.buses.iter().filter(|bus| bus.managed);
    let listed = managed.filter_map(|bus| match &bus.interface {
        Interface::SocketCan(interface) => {
            Some(Listed { interface: interface.clone(), bit_rate: bus.bit_rate, data_bit_rate: bus.data_bit_rate })
        }
        Interface::Virtual => None,
    });
    listed.collect()
}
