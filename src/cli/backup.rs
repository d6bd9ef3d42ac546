//! `canvoy backup FILE`: everything that makes this computer's plant, in one file.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::prompt::{ask, ask_twice, refuse};
use super::{EXIT_CONFIG, print, print_diagnostics};
use crate::backup::archive::{self, Backup};
use crate::backup::gather::{Places, gather};
use crate::backup::{MOST_BYTES, Refused, seal};
use crate::config::{self, LoadOptions};
use crate::plant::private;
use crate::service::exit::{Failure, IO};

/// Longest passphrase, in bytes.
const MOST_PASSPHRASE: u64 = 1024;

/// Write everything that makes this plant into one file, for a spare computer
///
/// Configuration with its DBC files and all else in its folder, users, certificates with their keys and the list of
/// trusted clients, what people did about alarms and their journal, retained values, drop-ins of the systemd units, and the systemd-networkd files of the CAN interfaces.
/// The running plant goes on. The file holds private keys: only its owner may read it; --encrypt protects it elsewhere.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo canvoy backup /media/usb/line3.canvoy --encrypt
  canvoy backup --list /media/usb/line3.canvoy
  sudo canvoy backup - | ssh safe 'cat > line3.canvoy'
  canvoy backup desk.canvoy --config plant.toml --state ~/.local/state/canvoy --plant-state ~/.local/state/canvoy

On the spare computer: sudo canvoy restore /media/usb/line3.canvoy")]
pub struct Args {
    /// The file to write; `-` for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what is in the file instead
    #[arg(long, conflicts_with_all = ["encrypt", "force", "config", "state", "plant_state", "root"])]
    pub list: bool,
    /// Encrypt it with a passphrase, which is asked for
    #[arg(long)]
    pub encrypt: bool,
    /// The passphrase is the first line of this file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// The configuration file [default: /etc/canvoy/plant.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the controller [default: /var/lib/canvoy]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Folder of the plant side [default: /var/lib/canvoy-plant]
    #[arg(long, value_name = "DIR")]
    pub plant_state: Option<PathBuf>,
    /// The root of another system's files, for all these defaults
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.list {
        let backup = read(&args.file, args.passphrase_file.as_deref())?;
        print(&listing(&backup))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Args { file, encrypt, passphrase_file, force, config, state, plant_state, root, list: _ } = args;
    let to_stdout = file.as_os_str() == "-";
    if !to_stdout && !force && file.exists() {
        return Err(refuse(format!("{} is there already; --force writes over it", file.display())));
    }
    let places = Places {
        configuration: config.unwrap_or_else(|| root.join("etc/canvoy/plant.toml")),
        state: state.unwrap_or_else(|| root.join("var/lib/canvoy")),
        plant_state: plant_state.unwrap_or_else(|| root.join("var/lib/canvoy-plant")),
        root,
    };
    let loaded = config::read(&places.configuration)
        .and_then(|sources| config::load(&sources, LoadOptions::default()).map(|loaded| (sources, loaded)));
    let (sources, loaded) = match loaded {
        Ok(both) => both,
        Err(mistakes) => {
            print_diagnostics(&mistakes);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let passphrase = match (encrypt || passphrase_file.is_some(), &passphrase_file) {
        (false, _) => None,
        (true, Some(file)) => Some(first_line(file)?),
        (true, None) if stdin().is_terminal() => Some(ask_twice("Passphrase of the backup: ")?),
        (true, None) => return Err(refuse("no terminal to ask for the passphrase: say --passphrase-file")),
    };
    let gathered = gather(&places, &sources, &loaded)?;
    let packed = archive::pack(&gathered.backup).context("put the backup together")?;
    let bytes = match &passphrase {
        Some(passphrase) => seal::seal(&packed, passphrase)?,
        None => packed,
    };
    if to_stdout {
        let mut stdout = stdout().lock();
        stdout.write_all(&bytes).and_then(|()| stdout.flush()).context("write to standard output")?;
    } else {
        private::write(&file, &bytes)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).context("write to the disk")?;
    }
    let mut text = String::new();
    for note in &gathered.notes {
        // writing into a String can't fail
        let _ = writeln!(text, "note: {note}");
    }
    let (files, hash) = (gathered.backup.list.files.len(), &gathered.backup.list.plan[..12]);
    let how = if passphrase.is_some() { "encrypted" } else { "not encrypted: it holds private keys, keep it safe" };
    let _ = writeln!(text, "{files} files, {} KiB, configuration {hash}; {how}", bytes.len().div_ceil(1024));
    // there may be the backup itself on standard output
    stderr().lock().write_all(text.as_bytes()).context("write to standard error")?;
    Ok(ExitCode::SUCCESS)
}

/// Reads and opens a backup, and checks that it is whole. `-`: standard input.
pub(super) fn read(file: &Path, passphrase_file: Option<&Path>) -> anyhow::Result<Backup> {
    let mut bytes = Vec::new();
    let from_stdin = file.as_os_str() == "-";
    let read = match from_stdin {
        true => stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes),
        false => File::open(file).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("read {}", file.display()))?;
    let told = |refused: Refused| Failure::new(IO, format!("{}: {refused}", file.display()));
    if bytes.len() as u64 > MOST_BYTES {
        return Err(told(Refused::TooLarge).into());
    }
    if seal::is_sealed(&bytes) {
        let passphrase = match passphrase_file {
            Some(file) => first_line(file)?,
            None if stdin().is_terminal() && !from_stdin => ask("Passphrase of the backup: ")?,
            None => return Err(told(Refused::Encrypted).into()),
        };
        bytes = seal::open(&bytes, &passphrase).map_err(told)?;
    }
    Ok(archive::unpack(&bytes).map_err(told)?)
}

/// What a backup says about itself, for people.
pub(super) fn listing(backup: &Backup) -> String {
    let list = &backup.list;
    let time = list.time.as_deref().unwrap_or("a time that is not known");
    let mut text = format!(
        "made by Canvoy {} on {}, {time}; configuration /{} ({})\n",
        list.canvoy,
        list.host,
        list.configuration,
        list.plan.get(..12).unwrap_or(&list.plan)
    );
    for file in &list.files {
        // writing into a String can't fail
        let _ = writeln!(text, "{:04o} {:>12} {:>9}  /{}", file.mode, file.owner, file.size, file.path);
    }
    text
}

fn first_line(file: &Path) -> anyhow::Result<String> {
    let context = || format!("read the passphrase from {}", file.display());
    let mut text = String::new();
    let opened = fs::File::open(file).with_context(context)?;
    opened.take(MOST_PASSPHRASE).read_to_string(&mut text).with_context(context)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(refuse(format!("{}: its first line is empty, and no passphrase", file.display()))),
    }
}
