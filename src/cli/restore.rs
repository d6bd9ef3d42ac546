//! `canvoy restore FILE`: puts a backup in place on a spare computer.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::prompt::refuse;
use super::{EXIT_CONFIG, backup, print, print_diagnostics};
use crate::backup::put;
use crate::service::exit::Failure;
use crate::service::folder::Private;

/// Put a backup in place on this computer
///
/// The file is checked first, and its configuration with this version of Canvoy; what is not understood is refused, and
/// then nothing is changed. What is replaced stays beside the new as NAME.before-restore; the certificates, the list of
/// trusted clients, alarms with their journal and the retained values are replaced as a whole. The server shows clients the same certificate as the
/// computer that the backup is of: let only one of them be on the network.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo canvoy restore /media/usb/line3.canvoy && sudo systemctl start canvoy canvoy-plant
  sudo canvoy restore line3.canvoy --root /mnt/image")]
pub struct Args {
    /// The backup; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The passphrase is the first line of this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The root of the system to restore to
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, passphrase_file, root } = args;
    // the controller leaves it behind only when it crashes
    let running = root.join("run/canvoy/command.running");
    if running.exists() {
        let text = "Canvoy runs here and would write over what is restored: systemctl stop canvoy canvoy-plant";
        return Err(refuse(format!("{text} (there is {})", running.display())));
    }
    let backup = backup::read(&file, passphrase_file.as_deref())?;
    let private = Private::new(|name| std::env::var_os(name).filter(|_| name != "RUNTIME_DIRECTORY"))?;
    let loaded = match put::check(&backup, private.path())? {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            print_diagnostics(&mistakes);
            let text = "this version of Canvoy can't use the configuration in the backup; nothing was restored";
            return Err(Failure::new(EXIT_CONFIG, text).into());
        }
    };
    let put = put::put(&backup, &root)?;
    let mut text = backup::listing(&backup);
    for old in &put.replaced {
        // writing into a String can't fail
        let _ = writeln!(text, "kept: {}", old.display());
    }
    let _ = writeln!(text, "\n{} files restored; configuration {}.", put.files, loaded.plan.short_hash());
    let network = backup.list.files.iter().any(|file| file.path.starts_with("etc/systemd/network/"));
    text.push_str("Next, with the other computer off the network:\n");
    if network {
        text.push_str("  networkctl reload                          # the CAN interfaces\n");
    }
    text.push_str("  systemctl daemon-reload && systemctl start canvoy canvoy-plant\n  canvoy status; canvoy arm\n");
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
