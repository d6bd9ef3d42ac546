//! The command line: one file per subcommand.

pub mod acceptance;
mod alarm;
pub mod alarms;
pub mod backup;
pub mod cert;
pub mod check;
pub mod controller;
pub mod decode;
pub mod demo;
pub mod diff;
pub mod encode;
pub mod link;
pub mod monitor;
pub mod operate;
mod passing;
pub mod plant;
mod prompt;
pub mod reload;
pub mod restore;
pub mod run;
pub mod status;
pub mod tags;
pub mod user;

mod arming;
mod database;
mod lines;
mod shown;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::service::exit;

pub use crate::service::exit::CONFIG as EXIT_CONFIG;
pub use crate::service::source::print_diagnostics;

/// CAN on the machine, OPC UA and Prometheus to the plant
///
/// Canvoy receives and sends CAN frames by the definitions in DBC files, and serves the same data as OPC UA, Prometheus
/// metrics and a web page. It is not a safety component.
#[derive(Debug, Parser)]
#[command(name = "canvoy", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  canvoy demo                          a simulated packaging line; nothing to install, no CAN
  canvoy check plant.toml              every mistake at once; what will be sent and may be written
  canvoy run --simulate plant.toml     your plant at the desk, its other nodes simulated
  canvoy run plant.toml                your plant
  canvoy backup line3.canvoy           everything for a spare computer; there: canvoy restore line3.canvoy
  canvoy reload                        your changed files in force, without a gap
  canvoy status                        what is wrong and since when; canvoy arm lets the outputs go
  candump can0 | canvoy decode --dbc line.dbc

`canvoy COMMAND --help` explains each command with examples.
Exit codes: 0 stopped cleanly, 64 command line, 69 something needed is not there, 70 internal,
71 operating system, 74 input or output, 77 permission, 78 configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(run::Args),
    Controller(controller::Args),
    Plant(plant::Args),
    Link(link::Args),
    Check(check::Args),
    Diff(diff::Args),
    Reload(reload::Args),
    Tags(tags::Args),
    Decode(decode::Args),
    Encode(encode::Args),
    Status(status::Args),
    Alarms(alarms::Args),
    Monitor(monitor::Args),
    Arm(operate::ArmArgs),
    Disarm(operate::DisarmArgs),
    Fallback(operate::FallbackArgs),
    Reset(operate::ResetArgs),
    Local(operate::LocalArgs),
    Remote(operate::RemoteArgs),
    Force(operate::ForceArgs),
    Release(operate::ReleaseArgs),
    Restart(operate::RestartArgs),
    Route(operate::RouteArgs),
    Acceptance(acceptance::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    User(user::Args),
    Cert(cert::Args),
    /// Print the version
    Version,
}

/// The whole command line as clap has it, for manual pages and shell completions (examples/manual.rs).
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            // help and version that were asked for go to standard output; there is nowhere to report that it is gone
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            let text = format!("{error:#}");
            if !text.is_empty() {
                let _ = writeln!(std::io::stderr(), "canvoy: {text}");
            }
            ExitCode::from(exit::code(&error))
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Controller(args) => controller::run(args),
        Command::Plant(args) => plant::run(args),
        Command::Link(args) => link::run(args),
        Command::Check(args) => check::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Tags(args) => tags::run(args),
        Command::Decode(args) => decode::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Alarms(args) => alarms::run(args),
        Command::Monitor(args) => monitor::run(args),
        Command::Status(args) => status::run(args),
        Command::Arm(args) => operate::arm(args),
        Command::Disarm(args) => operate::disarm(args),
        Command::Fallback(args) => operate::fallback(args),
        Command::Reset(args) => operate::reset(args),
        Command::Local(args) => operate::local(args),
        Command::Remote(args) => operate::remote(args),
        Command::Force(args) => operate::force(args),
        Command::Release(args) => operate::release(args),
        Command::Restart(args) => operate::restart(args),
        Command::Route(args) => operate::route(args),
        Command::Acceptance(args) => acceptance::run(args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => restore::run(args),
        Command::User(args) => user::run(args),
        Command::Cert(args) => cert::run(args),
        Command::Version => {
            print(concat!("canvoy ", env!("CARGO_PKG_VERSION"), "\n"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Nanoseconds as milliseconds, exactly.
pub(super) fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// To standard output; a reader who has seen enough (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command, with what its help must show.
    #[test]
    fn help_teaches_with_examples() {
        let mut command = Arguments::command();
        Arguments::command().debug_assert();
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        assert_eq!(
            names,
            "demo run controller plant link check diff reload tags decode encode status alarms monitor arm disarm fallback reset local remote force release restart route acceptance backup restore user cert version".split(' ').collect::<Vec<_>>()
        );
        for name in names.iter().filter(|name| *name != "version") {
            let sub = command.find_subcommand_mut(name).unwrap();
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example") || sub.has_subcommands(), "{name} has no example:\n{help}");
            assert!(
                help.contains(&format!("canvoy {name}")) || sub.has_subcommands(),
                "{name} is not in its example:\n{help}"
            );
            assert!(!help.contains("--supervisor"), "{name} shows what is not for people:\n{help}");
        }
    }

    fn check(line: &str, good: bool) {
        let parsed = Arguments::try_parse_from(line.split_whitespace());
        assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
    }

    #[test]
    fn command_lines() {
        for line in [
            "canvoy demo",
            "canvoy demo --opcua-port 4841 --http-port 0",
            "canvoy run --simulate plant.toml",
            "canvoy run plant.toml --state /tmp/x --watch line.A.B",
            "canvoy run plant.toml --machine /etc/canvoy/machine.toml",
            "canvoy check plant.toml --machine machine-07.toml",
            "canvoy tags --json plant.toml --machine machine-07.toml",
            "canvoy controller plant.toml --machine m.toml --socket /s",
            "canvoy link plant.toml --machine m.toml",
            "canvoy acceptance --hours 1 plant.toml --machine m.toml",
            "canvoy controller plant.toml --socket /run/canvoy/command --group canvoy",
            "canvoy controller plant.toml --socket /c --plant-socket /run/canvoy-plant/command --plant-group canvoy-plant",
            "canvoy controller --supervisor=1 --demo --socket /s",
            "canvoy plant --socket /run/canvoy-plant/command --state /var/lib/canvoy-plant",
            "canvoy link plant.toml --socket /run/canvoy-link/socket --user canvoy",
            "canvoy user add users anna",
            "canvoy user add --stdin users anna",
            "canvoy user passwd users anna",
            "canvoy user remove users anna",
            "canvoy user list users --json",
            "canvoy cert list --json --state /s",
            "canvoy cert --state /s trust 5f3a",
            "canvoy cert trust --issuer --user ca.pem",
            "canvoy cert reject 5f3a",
            "canvoy cert renew --new-key --host plc --host 10.0.0.7",
            "canvoy backup b --encrypt --config plant.toml --root /x",
            "canvoy backup --list b --passphrase-file p",
            "canvoy restore b --root /x",
            "canvoy force line.A.B -3.5 --for 10m --socket /s",
            "canvoy release --all",
            "canvoy route drive off",
            "canvoy status --json",
            "canvoy alarms --all",
            "canvoy alarms --journal --json --state /s",
            "canvoy monitor --bus line",
            "canvoy acceptance --hours 24 plant.toml --json r.json",
            "canvoy diff old.toml new.toml",
            "canvoy reload --dry-run --socket /s",
            "canvoy reload --cancel",
            "canvoy version",
        ] {
            check(line, true);
        }
        for line in [
            "canvoy",
            "canvoy run",
            "canvoy controller --socket /s",
            "canvoy controller --demo plant.toml --socket /s",
            "canvoy controller --demo --machine m.toml --socket /s",
            "canvoy plant --state /s",
            "canvoy demo --opcua-port 70000",
            "canvoy user add users",
            "canvoy user add users anna secret",
            "canvoy cert",
            "canvoy cert trust",
            "canvoy force line.A.B 1",
            "canvoy release",
            "canvoy acceptance plant.toml",
            "canvoy acceptance --hours 0 plant.toml",
            "canvoy release line.A.B --all",
            "canvoy route drive maybe",
            "canvoy diff old.toml",
            "canvoy reload --cancel --dry-run",
            "canvoy backup",
            "canvoy backup --list b --encrypt",
            "canvoy restore",
            "canvoy nothing",
        ] {
            check(line, false);
        }
    }
}
