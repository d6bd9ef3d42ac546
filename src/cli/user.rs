//! `canvoy user add FILE NAME`: users of the OPC UA server.

use std::io::{IsTerminal, Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::print;
use super::prompt::{ask_twice, refuse};
use crate::plant::access;

/// Manage the users of the OPC UA server
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Add a user to a file, or change a password
    ///
    /// The password is asked for, or read from standard input where that is no terminal; it is never an argument, which
    /// all users of a computer can see. The file keeps an Argon2 hash, and only its owner may read it. Name the file in
    /// the configuration: users = "users" in [opcua]. A running server reads it anew at the next login.
    #[command(after_help = "Examples:
  canvoy user add users anna
  sudo -u canvoy-plant canvoy user add /var/lib/canvoy-plant/users anna
  pwgen 20 1 | tee password.txt | canvoy user add users scada")]
    Add {
        /// The file; made where there is none
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The user's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Add { file, name } = args.command;
    let password = if stdin().is_terminal() { ask_twice(&format!("Password of {name}: "))? } else { first_line()? };
    access::add(&file, &name, &password).map_err(|error| {
        // what is no matter of the file system is one of the name or the password
        let of_file = error.chain().any(|cause| cause.is::<std::io::Error>());
        if of_file { error } else { refuse(format!("{error:#}")) }
    })?;
    print(&format!("{name} can log in with this password where [opcua] has users = \"{}\"\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A line of standard input, without its end.
fn first_line() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    // one more than allowed, so that a longer one is refused and not cut
    let limit = access::MAX_PASSWORD as u64 + 3;
    stdin().lock().take(limit).read_to_end(&mut bytes).context("read the password from standard input")?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8(line.to_vec()).context("a password is UTF-8 text")
}
