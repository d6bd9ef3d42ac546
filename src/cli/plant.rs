//! `canvoy plant`: the network side alone.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::service::folder;
use crate::service::plant::{self, Options, Overrides};

/// Run the plant side alone: OPC UA, metrics and page of a running controller
///
/// This is what canvoy-plant.service starts. It has no configuration of its own: the controller hands over the bytes it
/// works with. It may be stopped and started at any time; the controller does not notice. Log level: CANVOY_LOG=debug.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  canvoy plant --socket /run/canvoy-plant/command --state /var/lib/canvoy-plant")]
pub struct Args {
    /// Path of the controller's socket for the plant side (its --plant-socket)
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Folder that keeps the OPC UA certificates [default: $STATE_DIRECTORY, $XDG_STATE_HOME/canvoy or ~/.local/state/canvoy]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Port of the OPC UA server, instead of the one in `[opcua]`
    #[arg(long, value_name = "PORT")]
    pub opcua_port: Option<u16>,
    /// Port of metrics and page, instead of the one in `[http]`
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// File with users and password hashes, instead of the one in `[opcua]`
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// Accept every client certificate; only on a loopback address
    #[arg(long)]
    pub trust_any_client_certificate: bool,
    /// A signal to show in the status line: BUS.MESSAGE.SIGNAL; may be given several times
    #[arg(long, value_name = "TAG")]
    pub watch: Vec<String>,
    /// Process id of the supervisor that has started us
    #[arg(long, hide = true)]
    pub supervisor: Option<u32>,
    /// How often it has done so before
    #[arg(long, hide = true, default_value_t = 0)]
    pub restarts: u64,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let state = match args.state {
        Some(state) => state,
        None => folder::state(|name| std::env::var_os(name))?,
    };
    plant::run(Options {
        socket: args.socket,
        state,
        overrides: Overrides {
            opcua_port: args.opcua_port,
            http_port: args.http_port,
            users: args.users,
            trust_any_client_certificate: args.trust_any_client_certificate,
        },
        watch: args.watch,
        supervisor: args.supervisor,
        restarts: args.restarts,
    })
}
