//! What turns a bare computer into the one that failed: configuration, users, certificates, retained values, in one file.
//!
//! ```text
//! gather ─> archive (tar) ─> seal (passphrase) ─> FILE ─> seal ─> archive: checked ─> put
//! ```
//!
//! A backup is a tar file that any tool can look into, in one canonical form: its list of files first, their hashes last.
//! What is not exactly that is refused.

pub mod archive;
pub mod gather;
pub mod put;
pub mod seal;

use std::path::{Component, Path};

/// Why a file is not restored, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this is no backup of Canvoy")]
    NotABackup,
    #[error(
        "made by a newer version of Canvoy{by} (form {format}; this one knows {known}): install that version, then restore"
    )]
    Newer { format: u32, known: u32, by: String },
    #[error("the backup is damaged ({0}): nothing was restored; take another copy of it")]
    Damaged(&'static str),
    #[error("wrong passphrase, or the backup is damaged")]
    Passphrase,
    #[error("the backup is encrypted: say its passphrase with --passphrase-file, or run this on a terminal")]
    Encrypted,
    #[error("{0}: no place that a backup may write to; it was not made by this program, or by a newer one")]
    Place(String),
    #[error("larger than {} MiB: no backup of Canvoy", MOST_BYTES >> 20)]
    TooLarge,
}

/// Largest backup, in bytes.
pub const MOST_BYTES: u64 = 512 << 20;

/// Where what belongs to the plant process is, below the root.
const PLANT_STATE: &str = "var/lib/canvoy-plant";
/// Where what belongs to the controller is.
const STATE: &str = "var/lib/canvoy";
const CONFIGURATION: &str = "etc/canvoy";
const UNITS: &str = "etc/systemd/system";
const NETWORK: &str = "etc/systemd/network";
/// What is replaced as a whole, also by nothing: a certificate that is not in the backup must not stay trusted, nor a value move
/// a machine. States and journal of alarms are of one plant: half of another one's would contradict them.
const WHOLE: [&str; 3] = ["var/lib/canvoy-plant/pki", "var/lib/canvoy-plant/alarms", "var/lib/canvoy/retained"];
/// What the files of a restore are called while they are not in place, and those that they replaced.
const REPLACED: &str = "before-restore";

/// Whether a backup may hold this path: relative to the root, no way out of it, and one of our places.
fn allowed(path: &str) -> bool {
    let normal = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let clean = !path.is_empty()
        && path.len() <= 1024
        && normal
        && !path.contains("//")
        && !path.ends_with('/')
        && !path.contains("/./")
        && !path.chars().any(char::is_control);
    let below = |folder: &str| path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    let place = below(CONFIGURATION).is_some()
        || below(STATE).is_some_and(|rest| matches!(rest, "retained/a" | "retained/b"))
        || below(PLANT_STATE).is_some()
        || below(NETWORK).is_some_and(is_network_file)
        || below(UNITS).is_some_and(is_drop_in);
    clean && place
}

fn is_network_file(name: &str) -> bool {
    !name.contains('/') && [".network", ".netdev", ".link"].iter().any(|end| name.ends_with(end))
}

/// `canvoy.service.d/NAME.conf` and those of the other units.
fn is_drop_in(name: &str) -> bool {
    name.split_once('/').is_some_and(|(unit, file)| {
        unit.starts_with("canvoy") && unit.ends_with(".d") && !file.contains('/') && file.ends_with(".conf")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (path, good) in [
            ("etc/canvoy/plant.toml", true),
            ("etc/canvoy/dbc/line.dbc", true),
            ("var/lib/canvoy/retained/a", true),
            ("var/lib/canvoy-plant/pki/own/key.pem", true),
            ("var/lib/canvoy-plant/users", true),
            ("etc/systemd/system/canvoy.service.d/override.conf", true),
            ("etc/systemd/network/80-can0.network", true),
            ("", false),
            ("/etc/canvoy/plant.toml", false),
            ("etc/canvoy", false),
            ("etc/canvoy/", false),
            ("etc/canvoy/../passwd", false),
            ("etc/canvoy/./plant.toml", false),
            ("etc/canvoy//plant.toml", false),
            ("etc/canvoy/a\nb", false),
            ("etc/canvoyx/plant.toml", false),
            ("etc/passwd", false),
            ("var/lib/canvoy/retained/c", false),
            ("etc/systemd/system/canvoy.service", false),
            ("etc/systemd/system/sshd.service.d/x.conf", false),
            ("etc/systemd/system/canvoy.service.d/../x.conf", false),
            ("etc/systemd/network/sub/x.network", false),
        ] {
            assert_eq!(allowed(path), good, "{path:?}");
        }
    }
}
