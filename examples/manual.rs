//! `cargo run --example manual -- DIR`: writes manual pages and shell completions of `canvoy` into DIR, for packages.
//!
//! Here and not in the program, so that what runs on a machine does not carry what only a packager needs.

use std::io::{Error, Result};
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| Error::other("usage: manual DIR"))?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let mut command = canvoy::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "canvoy", folder)?;
    }
    let mut command = canvoy::cli::command().disable_help_subcommand(true);
    // gives each its whole name: canvoy-user-add
    command.build();
    pages(&command, folder)
}

/// `canvoy.1`, `canvoy-check.1`, `canvoy-user-add.1`: one page for each command that the help shows.
fn pages(command: &clap::Command, folder: &Path) -> Result<()> {
    let page = Man::new(command.clone()).manual("Canvoy");
    let mut text = Vec::new();
    page.render(&mut text)?;
    // what follows the options are examples and exit codes
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH EXAMPLES\n");
    std::fs::write(folder.join(page.get_filename()), text)?;
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| pages(sub, folder))
}
