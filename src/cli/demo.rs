//! `canvoy demo`: the simulated packaging line.

use std::process::ExitCode;

use crate::service::plant::Overrides;
use crate::service::source::Source;
use crate::service::supervisor::{self, Options};

/// Run a simulated packaging line: no CAN, no root, no files
///
/// Drive, conveyor, filler, labeller, oven, guard relay and operator panel on a bus `line`, robot and energy meter on a
/// bus `cell` (CAN FD), all simulated. The terminal says where to look: OPC UA endpoint with user and password of this
/// run, metrics, page. Write line.DriveCommand.SpeedSetpoint from any OPC UA client, and the motor follows.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy demo
  canvoy demo --opcua-port 4841 --http-port 9841      when the ports are taken
  curl -s http://127.0.0.1:9840/metrics | grep ActualSpeed")]
pub struct Args {
    /// Port of the OPC UA server on 127.0.0.1
    #[arg(long, value_name = "PORT", default_value_t = 4840)]
    pub opcua_port: u16,
    /// Port of metrics and page on 127.0.0.1
    #[arg(long, value_name = "PORT", default_value_t = 9840)]
    pub http_port: u16,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    supervisor::run(Options {
        source: Source::Demo,
        simulate: false,
        overrides: Overrides {
            opcua_port: Some(args.opcua_port),
            http_port: Some(args.http_port),
            ..Overrides::default()
        },
        state: None,
        watch: vec!["line.DriveStatus.ActualSpeed".into()],
    })
}
