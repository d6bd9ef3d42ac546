//! `canvoy run FILE`: both processes under a supervisor.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Files;
use crate::service::plant::Overrides;
use crate::service::source::Source;
use crate::service::supervisor::{self, Options};

/// Run a plant: controller and plant side, kept running
///
/// Starts two processes. The controller owns the buses; the plant side serves OPC UA, metrics and the page. When the
/// plant side ends, for whatever reason, it is started again at once and nothing changes on a bus. When the controller
/// crashes, every value turns bad ("controller gone") within a second and it is started again after 5 s.
/// For a machine use the systemd units, which give each process only the rights it needs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The variables of this machine, in place of the file that FILE names as machine_file
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// Every bus virtual, the messages of all other nodes played at their cycle times with moving values
    #[arg(long)]
    pub simulate: bool,
    /// Folder that keeps the OPC UA certificates and retained values [default: $XDG_STATE_HOME/canvoy or ~/.local/state/canvoy]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Port of the OPC UA server, instead of the one in `[opcua]`
    #[arg(long, value_name = "PORT")]
    pub opcua_port: Option<u16>,
    /// Port of metrics and page, instead of the one in `[http]`
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// A signal to show in the status line: BUS.MESSAGE.SIGNAL; may be given several times
    #[arg(long, value_name = "TAG")]
    pub watch: Vec<String>,
}

const EXAMPLES: &str = r#"Examples:
  canvoy check plant.toml && canvoy run plant.toml
  canvoy run --simulate plant.toml --watch line.DriveStatus.ActualSpeed

The smallest useful configuration:
  [bus.line]
  interface = "can0"
  dbc = ["line.dbc"]                           # relative to this file
  node = "Canvoy"                              # our BU_ in the DBC file
  transmit = ["DriveCommand"]                  # default: nothing is sent
  writable = ["DriveCommand.SpeedSetpoint"]    # default: nothing may be written

The network side, with its defaults:
  [opcua]
  enabled = true
  listen = "127.0.0.1:4840"
  users = "users"                              # no default; made by `canvoy user add users NAME`
  anonymous_read = false
  security_policy_none = false                 # true: no encryption
  trust_any_client_certificate = false         # only on a loopback address
  trust_first_client = false                   # the first client is trusted, while nobody is
  revocation_lists_required = true             # of every certificate authority
  max_connections = 50
  certificate_hosts = []                       # more host names for the server's certificate
  [opcua.limits]                               # sessions, queues, sizes: the README has all with their defaults
  [http]
  enabled = true
  listen = "127.0.0.1:9840"                    # metrics, page, health: no login, so choose who can reach it

CAN interfaces are set up outside: sudo ip link set can0 up type can bitrate 500000"#;

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, machine, simulate, state, opcua_port, http_port, watch } = args;
    supervisor::run(Options {
        source: Source::File(Files { config: file, machine }),
        simulate,
        overrides: Overrides { opcua_port, http_port, ..Overrides::default() },
        state,
        watch,
    })
}
