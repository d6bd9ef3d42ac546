//! `canvoy reload`: the running controller reads its configuration again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::operate::Door;
use super::{EXIT_CONFIG, diff, print, print_diagnostics};
use crate::command::{Action, Refusal};
use crate::config;
use crate::service::client::Client;
use crate::service::exit::{Failure, UNAVAILABLE};

/// Put a changed configuration in force without stopping the machine
///
/// Reads and checks the files of the running controller again, shows what they change (as `canvoy diff` does), and has them
/// take effect at the end of a cycle: cyclic frames keep their phase, records and causes of unchanged messages stay, clients stay
/// connected. New or changed messages of ours enter at their fallback values: until armed by hand, or where the plant arms
/// itself, after listening. With reload_when in [machine] it waits until that holds. A file with mistakes changes nothing.
/// When times are missed in the first reload_trial_s seconds (10), the configuration before comes back.
/// Exit code: 0 in force, or waiting for reload_when; 78 when the files can't be used; 69 when it was not done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy reload --dry-run      what it would change
  canvoy reload
  canvoy reload --cancel       forget one that waits for reload_when")]
pub struct Args {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Forget a configuration that waits for reload_when
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
    let path = path(&client);
    let loaded = config::read(&path).and_then(|sources| config::load(&sources, client.options));
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

/// The configuration of the controller: a relative name is seen from where that was started.
fn path(client: &Client) -> PathBuf {
    let named = Path::new(&client.file);
    let folder = std::fs::read_link(format!("/proc/{}/cwd", client.pid));
    folder.map_or_else(|_| named.to_owned(), |folder| folder.join(named))
}
