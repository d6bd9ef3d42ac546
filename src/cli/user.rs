//! `canvoy user`: users of the OPC UA server, in a file.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::prompt::{ask_twice, refuse};
use super::{EXIT_CONFIG, print};
use crate::config::{self, LoadOptions};
use crate::plant::access::role::{self, Configs};
use crate::plant::access::{self, Identity, Role, Roles};
use crate::plant::private::become_owner;
use crate::service::exit::Failure;

/// The configuration of the units.
const INSTALLED: &str = "/etc/canvoy/plant.toml";

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
    /// Show the users of a file, with the roles that the configuration gives them by name
    ///
    /// A role may come with a user's certificate or with the application too, which is not shown.
    #[command(after_help = "Examples:
  sudo canvoy user list /var/lib/canvoy-plant/users
  canvoy user list users --config plant.toml")]
    List {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The configuration with the roles [default: /etc/canvoy/plant.toml, where it names FILE]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
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
        Command::List { file, config, json } => {
            // read before anything else: the owner of the users may not read it
            let configs = roles_in(config.as_deref(), &file)?;
            become_owner_of(&file)?;
            let names = access::list(&file)?;
            if json { json_of(&names, configs.as_ref()) } else { lines_of(&names, configs.as_ref()) }
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The roles of a configuration; `None`: none was named, and the one that is installed has other users or can't be read.
fn roles_in(config: Option<&Path>, users: &Path) -> anyhow::Result<Option<Configs>> {
    let read = |file: &Path| {
        let loaded = config::read(file).and_then(|sources| config::load(&sources, LoadOptions::default()));
        loaded.map(|loaded| loaded.settings)
    };
    if let Some(file) = config {
        let failure = |_| Failure::new(EXIT_CONFIG, format!("{0} has mistakes: canvoy check {0}", file.display()));
        return Ok(Some(read(file).map_err(failure)?.roles));
    }
    let real = |file: &Path| std::fs::canonicalize(file).ok();
    let installed = read(Path::new(INSTALLED)).ok().filter(|settings| {
        let named = settings.opcua.users.as_deref().and_then(real);
        named.is_some() && named == real(users)
    });
    Ok(installed.map(|settings| settings.roles))
}

/// By the name alone.
fn roles_of(name: &str, configs: &Configs) -> Roles {
    role::roles_of(configs, Identity { name: Some(name), ..Identity::default() })
}

fn lines_of(names: &[String], configs: Option<&Configs>) -> String {
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |name: &String| match configs {
        Some(configs) => format!("{name:width$}  {}\n", roles_of(name, configs)),
        None => format!("{name}\n"),
    };
    names.iter().map(line).collect()
}

fn json_of(names: &[String], configs: Option<&Configs>) -> String {
    let mut json = serde_json::json!({ "users": names });
    if let Some(configs) = configs {
        let roles = |name: &String| roles_of(name, configs).iter().map(Role::name).collect::<Vec<_>>();
        let all: BTreeMap<&String, Vec<&str>> = names.iter().map(|name| (name, roles(name))).collect();
        json["roles"] = serde_json::json!(all);
    }
    format!("{json}\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_shown_with_their_roles() {
        let of = |users: &[&str]| role::Config {
            users: users.iter().map(|user| user.to_string()).collect(),
            ..Default::default()
        };
        let given = Configs::from([(Role::Operator, of(&["anna", "shift-*"])), (Role::Engineer, of(&["anna"]))]);
        let names = ["anna", "shift-2", "bo"].map(String::from);
        for (configs, lines, json) in [
            (None, "anna\nshift-2\nbo\n", r#"{"users":["anna","shift-2","bo"]}"#),
            (
                Some(&given),
                "anna     Operator,Engineer\nshift-2  Operator\nbo       AuthenticatedUser\n",
                r#"{"roles":{"anna":["Operator","Engineer"],"bo":["AuthenticatedUser"],"shift-2":["Operator"]},"users":["anna","shift-2","bo"]}"#,
            ),
        ] {
            assert_eq!(lines_of(&names, configs), lines);
            let (found, want) = (json_of(&names, configs), json);
            let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(parsed(&found), parsed(want));
        }
        assert_eq!(lines_of(&names[..1], Some(&Configs::new())), "anna  Engineer,SecurityAdmin\n");
    }
}
