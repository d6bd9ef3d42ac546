//! `canvoy user`: users of the OPC UA server, in a file.

use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::print;
use super::prompt::{ask_twice, refuse};
use crate::plant::access;
use crate::plant::private::become_owner;

/// Manage the users of the OPC UA server
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Add a user to a file
    ///
    /// The password is asked for, or read from standard input where that is no terminal; it is never an argument, which
    /// all users of a computer can see. The file keeps an Argon2 hash, and only its owner may read it. Name the file in
    /// the configuration: users = "users" in [opcua]. A running server reads it anew at the next login.
    #[command(after_help = "Examples:
  canvoy user add users anna
  sudo canvoy user add /var/lib/canvoy-plant/users anna
  pwgen 20 1 | tee password.txt | canvoy user add --stdin users scada")]
    Add(Password),
    /// Change a user's password
    #[command(after_help = "Example:
  sudo canvoy user passwd /var/lib/canvoy-plant/users anna")]
    Passwd(Password),
    /// Remove a user from a file
    ///
    /// Sessions of the user stay until they are closed; a restart of the plant side closes them.
    #[command(after_help = "Example:
  sudo canvoy user remove /var/lib/canvoy-plant/users anna")]
    Remove {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The user's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show the users of a file
    #[command(after_help = "Example:
  sudo canvoy user list /var/lib/canvoy-plant/users")]
    List {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Password {
    /// The file; made where there is none
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The user's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Read the password from standard input even on a terminal: its first line
    #[arg(long)]
    stdin: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let text = match args.command {
        Command::Add(Password { file, name, stdin }) => {
            become_owner_of(&file)?;
            if access::list(&file)?.contains(&name) {
                return Err(refuse(format!("{name} is there already; a new password: canvoy user passwd FILE {name}")));
            }
            set(&file, &name, stdin)?;
            format!("{name} can log in with this password where [opcua] has users = \"{}\"\n", file.display())
        }
        Command::Passwd(Password { file, name, stdin }) => {
            become_owner_of(&file)?;
            known(&file, &name)?;
            set(&file, &name, stdin)?;
            format!("{name} logs in with the new password from now on\n")
        }
        Command::Remove { file, name } => {
            become_owner_of(&file)?;
            known(&file, &name)?;
            access::remove(&file, &name)?;
            format!("{name} can't log in any more\n")
        }
        Command::List { file, json } => {
            become_owner_of(&file)?;
            let names = access::list(&file)?;
            if json {
                format!("{}\n", serde_json::json!({ "users": names }))
            } else {
                names.iter().map(|name| format!("{name}\n")).collect()
            }
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What is made new in a service's folder belongs to the service.
fn become_owner_of(file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    become_owner(folder.unwrap_or(Path::new(".")))
}

/// The user must be in the file.
fn known(file: &Path, name: &str) -> anyhow::Result<()> {
    let names = access::list(file)?;
    if names.iter().any(|there| there == name) {
        return Ok(());
    }
    let there = if names.is_empty() { "nobody".into() } else { names.join(", ") };
    Err(refuse(format!("no user {name} in {}; there is: {there}", file.display())))
}

fn set(file: &Path, name: &str, from_stdin: bool) -> anyhow::Result<()> {
    let ask = stdin().is_terminal() && !from_stdin;
    let password = if ask { ask_twice(&format!("Password of {name}: "))? } else { first_line()? };
    access::add(file, name, &password).map_err(|error| {
        // what is no matter of the file system is one of the name or the password
        let of_file = error.chain().any(|cause| cause.is::<std::io::Error>());
        if of_file { error } else { refuse(format!("{error:#}")) }
    })
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
