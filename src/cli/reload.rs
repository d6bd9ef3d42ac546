//! `canvoy reload`: the running controller reads its configuration again.

use std::process::ExitCode;

use super::operate::Door;
use super::{EXIT_CONFIG, diff, print, print_diagnostics};
use crate::command::{Action, Refusal};
use crate::config::{self, Files, SourceFile, Sources};
use crate::service::client::Client;
use crate::service::exit::{Failure, UNAVAILABLE};

/// Put a changed configuration in force without stopping the machine
///
/// Reads and checks the files of the running controller again, shows what they change (as `canvoy diff` does), and has them
/// take effect at the end of a cycle: cyclic frames keep their phase, records and causes of unchanged messages stay, clients stay
/// connected. New or changed messages of ours enter at their fallback values: until armed by hand, or where the plant arms
/// itself, after listening. With reload_when in `[machine]` it waits until that holds. A file with mistakes changes nothing.
/// When times are missed in the first reload_trial_s seconds (10), the configuration before comes back.
/// Exit code: 0 in force, or waiting for reload_when; 78 when the files can't be used; 69 when it was not done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy reload --dry-run      what it would change
  canvoy reload
  canvoy reload --cancel       forget one that is being read or waits for reload_when")]
pub struct Args {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Forget a configuration that is being read or waits for reload_when
    #[arg(long, conflicts_with = "dry_run")]
    cancel: bool,
    #[command(flatten)]
    door: Door,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(args.door.socket)?;
    if args.cancel {
        let answer = client.command(Action::CancelReload)?;
        answer.map_err(|refusal| Failure::new(UNAVAILABLE, format!("refused: {refusal}")))?;
        print("cancelled: the configuration in force stays\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    // with the variables of the controller's environment, not of ours
    let sources = files(&client).read_with(client.sources.environment.clone());
    let loaded = sources.and_then(|sources| config::load(&sources, client.options));
    let plan = match loaded {
        Ok(loaded) => {
            print_diagnostics(&loaded.diagnostics);
            loaded.plan
        }
        Err(mistakes) => {
            print_diagnostics(&mistakes);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    print(&diff::difference(&client.plan, &plan))?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    match client.command(Action::Reload(Some(plan.hash_text())))? {
        Ok(()) => print("in force\n")?,
        Err(waits @ Refusal::ReloadWaits { .. }) => print(&format!("checked: {waits}\n"))?,
        Err(Refusal::Configuration { mistakes }) => {
            return Err(Failure::new(crate::service::exit::CONFIG, mistakes).into());
        }
        Err(refusal) => return Err(Failure::new(UNAVAILABLE, format!("refused: {refusal}")).into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of the controller: a relative name is seen from where that was started.
fn files(client: &Client) -> Files {
    let folder = std::fs::read_link(format!("/proc/{}/cwd", client.pid)).unwrap_or_default();
    let Sources { config, included, machine, .. } = &client.sources;
    // a machine file that the configuration names is found by it
    let names_it = |file: &SourceFile| {
        let text = String::from_utf8_lossy(&file.bytes);
        text.lines().any(|line| {
            line.trim_start().strip_prefix("machine_file").is_some_and(|rest| rest.trim_start().starts_with('='))
        })
    };
    let named = std::iter::once(config).chain(included).any(names_it);
    Files {
        config: folder.join(&config.name),
        machine: machine.as_ref().filter(|_| !named).map(|machine| folder.join(&machine.name)),
    }
}
