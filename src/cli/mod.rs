//! The command line: one file per subcommand.

pub mod check;
pub mod decode;
pub mod encode;
pub mod tags;

mod database;
mod lines;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::diagnostic::Diagnostic;

/// The configuration is wrong: every mistake has been printed (EX_CONFIG of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// CAN on the machine, OPC UA and Prometheus to the plant.
#[derive(Debug, Parser)]
#[command(name = "canvoy", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Decode(decode::Args),
    Encode(encode::Args),
    Tags(tags::Args),
}

/// Runs what the command line says.
pub fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Check(args) => check::run(args),
        Command::Decode(args) => decode::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Tags(args) => tags::run(args),
    }
}

/// Mistakes to standard error, one after the other.
pub fn print_diagnostics(diagnostics: &[Diagnostic]) {
    let mut stderr = std::io::stderr().lock();
    for diagnostic in diagnostics {
        // there is nowhere left to report that standard error is gone
        let _ = writeln!(stderr, "{diagnostic}");
    }
}

/// To standard output; a reader who has seen enough (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
