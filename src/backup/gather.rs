//! Everything that a backup holds, from where it is on this computer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::unistd::{Gid, Group, Uid, User};

use super::archive::{Backup, Entry, List};
use super::{CONFIGURATION, MOST_BYTES, NETWORK, PLANT_STATE, REPLACED, STATE, UNITS, is_drop_in, is_network_file};
use crate::config::{Loaded, Sources, credential};
use crate::plan::Interface;
use crate::plant::alarm;
use crate::plant::opcua::{self, pki};
use crate::plant::text;
use crate::store::clock;

/// Folders below another in what is walked.
const DEEPEST: usize = 8;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    pub root: PathBuf,
    /// The configuration file.
    pub configuration: PathBuf,
    /// Folder of the controller.
    pub state: PathBuf,
    /// Folder of the plant process.
    pub plant_state: PathBuf,
}

/// What was found, and what people should know about it.
pub struct Gathered {
    pub backup: Backup,
    /// What is not in it, each with the reason.
    pub notes: Vec<String>,
}

/// Reads all of it. `sources` and `loaded`: the configuration, which has no mistakes.
pub fn gather(places: &Places, sources: &Sources, loaded: &Loaded) -> anyhow::Result<Gathered> {
    let mut found = Found::default();
    let folder = places.configuration.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = |path: &Path| below(path, folder, CONFIGURATION);
    let Some(configuration) = name(&places.configuration) else {
        bail!("{}: names no file", places.configuration.display());
    };
    for file in sources.files() {
        let path = PathBuf::from(&file.name);
        let Some(at) = name(&path) else {
            bail!(
                "the configuration uses {}, which is not in its folder {}: move it there, so that it can be restored beside it",
                path.display(),
                folder.display()
            );
        };
        found.take(at, &path)?;
    }
    if folder == places.root.join(CONFIGURATION) {
        found.walk(folder, CONFIGURATION, DEEPEST, &|_| true)?;
    }
    match &loaded.settings.opcua.users {
        Some(users) if credential(users).is_some() => {
            found.notes.push(format!("no users: {} is handed over by the service manager", users.display()));
        }
        Some(users) => found.users(places, folder, users)?,
        None => {}
    }
    if !sources.environment.is_empty() {
        let names: Vec<&str> = sources.environment.iter().map(|(name, _)| name.as_str()).collect();
        let note =
            format!("variables of this environment are not in it, a machine file would be: {}", names.join(", "));
        found.notes.push(note);
    }
    let pki = places.plant_state.join("pki");
    // what lies in `session` is a copy
    for part in ["own", "trusted", "issuers", "rejected", "users_trusted", "users_issuers", "users_rejected"] {
        found.walk(&pki.join(part), &format!("{PLANT_STATE}/pki/{part}"), 1, &|_| true)?;
    }
    if !found.files.keys().any(|path| path.ends_with("pki/own/key.pem")) {
        let note = format!("no certificate in {}: the restored server will make a new one", pki.display());
        found.notes.push(note);
    }
    found.walk(&places.state.join("retained"), &format!("{STATE}/retained"), 0, &|name| matches!(name, "a" | "b"))?;
    found.alarms(&places.plant_state)?;
    found.drop_ins(&places.root.join(UNITS))?;
    found.network(&places.root.join(NETWORK), loaded)?;
    found.notes.extend(replaced_elsewhere(&loaded.settings.opcua, folder));

    let (files, contents) = found.files.into_values().unzip();
    let list = List {
        format: Backup::FORMAT,
        canvoy: env!("CARGO_PKG_VERSION").into(),
        host: pki::hostname(),
        time: text::known_time(clock::realtime()),
        configuration,
        plan: loaded.plan.hash_text(),
        files,
    };
    Ok(Gathered { backup: Backup { list, contents }, notes: found.notes })
}

/// The users are kept where the configuration says; where it says nothing there are none.
fn replaced_elsewhere(opcua: &opcua::Config, folder: &Path) -> Option<String> {
    let none = opcua.enabled && opcua.users.is_none();
    none.then(|| format!("no users: [opcua] in {} names no file with them", folder.display()))
}

#[derive(Default)]
struct Found {
    files: BTreeMap<String, (Entry, Vec<u8>)>,
    bytes: u64,
    notes: Vec<String>,
}

impl Found {
    fn take(&mut self, at: String, path: &Path) -> anyhow::Result<()> {
        if self.files.contains_key(&at) {
            return Ok(());
        }
        let read = || -> std::io::Result<(fs::Metadata, Vec<u8>)> {
            let mut bytes = Vec::new();
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
            Ok((metadata, bytes))
        };
        let (metadata, bytes) = read().with_context(|| format!("read {}", path.display()))?;
        if !super::allowed(&at) {
            bail!("{}: a name that a backup can't hold", path.display());
        }
        self.bytes += bytes.len() as u64;
        // room for names, and for the hashes
        if self.bytes > MOST_BYTES / 2 {
            bail!("more than {} MiB: what does not belong to Canvoy must go elsewhere", MOST_BYTES >> 21);
        }
        let entry = Entry {
            path: at.clone(),
            mode: metadata.mode() & 0o777,
            owner: user(metadata.uid()),
            group: group(metadata.gid()),
            size: bytes.len() as u64,
        };
        self.files.insert(at, (entry, bytes));
        Ok(())
    }

    /// The regular files of a folder that are `wanted` by name. A folder that is not there has none.
    fn walk(&mut self, folder: &Path, at: &str, deeper: usize, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("read {}", folder.display())),
        };
        let entries: Result<BTreeSet<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        for path in entries.with_context(|| format!("read {}", folder.display()))? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                self.notes.push(format!("{}: its name is not UTF-8; left out", path.display()));
                continue;
            };
            let left = name.starts_with('.') || name.contains(REPLACED) || !wanted(name);
            let at = format!("{at}/{name}");
            match fs::metadata(&path) {
                _ if left => {}
                // who reads this is root; who writes there is not
                Ok(_) if is_state(&at) && !stays(&path, &at) => {
                    self.notes.push(format!("{}: leads out of its folder; left out", path.display()));
                }
                Ok(metadata) if metadata.is_file() => self.take(at, &path)?,
                Ok(metadata) if metadata.is_dir() && deeper > 0 => self.walk(&path, &at, deeper - 1, wanted)?,
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) | Err(_) => self.notes.push(format!("{}: not a regular file; left out", path.display())),
            }
        }
        Ok(())
    }

    /// What people have done about alarms, and the journal. The plant side may write them meanwhile: the states first, so that the
    /// journal has what came after them; its newest file first, so that a rotation makes one appear twice and none go missing.
    fn alarms(&mut self, plant_state: &Path) -> anyhow::Result<()> {
        let names = (0..alarm::journal::FILES).map(alarm::journal::name);
        let names = std::iter::once(alarm::kept::FILE.to_owned()).chain(names);
        for name in names {
            let path = plant_state.join(alarm::FOLDER).join(&name);
            let at = format!("{PLANT_STATE}/{}/{name}", alarm::FOLDER);
            match fs::metadata(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Ok(_) if !stays(&path, &at) => {
                    self.notes.push(format!("{}: leads out of its folder; left out", path.display()));
                }
                Ok(metadata) if metadata.is_file() => self.take(at, &path)?,
                Ok(_) => self.notes.push(format!("{}: not a regular file; left out", path.display())),
                Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
            }
        }
        Ok(())
    }

    /// The file with the users: beside the configuration, or in the folder of the plant process.
    fn users(&mut self, places: &Places, folder: &Path, users: &Path) -> anyhow::Result<()> {
        let inside =
            |path: &Path| below(path, folder, CONFIGURATION).or_else(|| below(path, &places.plant_state, PLANT_STATE));
        // with another root, what the configuration says is seen from there
        let below_root = users.strip_prefix("/").ok().map(|rest| places.root.join(rest));
        let path = [Some(users.to_owned()), below_root].into_iter().flatten().find(|path| inside(path).is_some());
        let Some((path, at)) = path.and_then(|path| Some((inside(&path)?, path))).map(|(at, path)| (path, at)) else {
            bail!(
                "the users are in {}: a backup holds them only in {} or /{PLANT_STATE}; move the file and change `users` in [opcua]",
                users.display(),
                folder.display()
            );
        };
        if path.exists() && is_state(&at) && !stays(&path, &at) {
            bail!("{}: leads out of its folder", path.display());
        }
        if path.exists() {
            return self.take(at, &path);
        }
        self.notes.push(format!("no users: there is no file {}", path.display()));
        Ok(())
    }

    fn drop_ins(&mut self, folder: &Path) -> anyhow::Result<()> {
        for unit in names(folder) {
            let at = format!("{UNITS}/{unit}");
            self.walk(&folder.join(&unit), &at, 0, &|name| is_drop_in(&format!("{unit}/{name}")))?;
        }
        Ok(())
    }

    /// What systemd-networkd knows about the buses' interfaces: files with a section for CAN, or with one of their names.
    fn network(&mut self, folder: &Path, loaded: &Loaded) -> anyhow::Result<()> {
        let interfaces: Vec<&str> = loaded
            .plan
            .buses
            .iter()
            .filter_map(|bus| match &bus.interface {
                Interface::SocketCan(name) => Some(name.as_str()),
                Interface::Virtual => None,
            })
            .collect();
        let concerns = |text: &str| {
            text.lines().map(str::trim).any(|line| {
                let value = line.strip_prefix("Name=").unwrap_or_default();
                line == "[CAN]"
                    || line == "Kind=vcan"
                    || value.split_whitespace().any(|name| interfaces.contains(&name))
            })
        };
        for name in names(folder).into_iter().filter(|name| is_network_file(name)) {
            let path = folder.join(&name);
            if fs::read_to_string(&path).is_ok_and(|text| concerns(&text)) {
                self.take(format!("{NETWORK}/{name}"), &path)?;
            }
        }
        Ok(())
    }
}

/// Whether a place in a backup is one that the processes write to.
fn is_state(at: &str) -> bool {
    [STATE, PLANT_STATE].iter().any(|folder| at.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether a file of the state, which is at `at` in a backup, is below the folder of its process, links followed.
fn stays(path: &Path, at: &str) -> bool {
    let folder = if at.starts_with(&format!("{PLANT_STATE}/")) { PLANT_STATE } else { STATE };
    // as many parts up as the place has below its folder
    let up = at[folder.len()..].matches('/').count();
    let home = path.ancestors().nth(up).map(fs::canonicalize);
    matches!((fs::canonicalize(path), home), (Ok(real), Some(Ok(home))) if real.starts_with(&home))
}

/// The names in a folder; none where it can't be read.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The path in a backup of a file below a folder that is at `place` there.
fn below(path: &Path, folder: &Path, place: &str) -> Option<String> {
    // `./plant.toml` and `plant.toml` are the same
    let clean = |path: &Path| path.components().collect::<PathBuf>();
    let (path, folder) = (clean(path), clean(folder));
    let rest = if folder == Path::new(".") && path.is_relative() { &path } else { path.strip_prefix(&folder).ok()? };
    let at = format!("{place}/{}", rest.to_str()?);
    super::allowed(&at).then_some(at)
}

/// Names that mean the same on another computer; others are left to it.
fn known(name: String) -> String {
    if matches!(name.as_str(), "root" | "canvoy" | "canvoy-plant" | "canvoy-link") { name } else { String::new() }
}

fn user(id: u32) -> String {
    User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| known(user.name)).unwrap_or_default()
}

fn group(id: u32) -> String {
    Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| known(group.name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A plant process that was taken over must not have root read for it what it can't read itself.
    #[test]
    fn links_out_of_the_state_folders_are_left_out() {
        let root = std::env::temp_dir().join(format!("canvoy-gather-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let secret = root.join("etc/ssh");
        let pki = root.join(PLANT_STATE).join("pki");
        for folder in [&secret, &pki.join("trusted")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(secret.join("host_key"), "secret").unwrap();
        fs::write(pki.join("trusted/hmi.der"), "hmi").unwrap();
        symlink(secret.join("host_key"), pki.join("trusted/x.der")).unwrap();
        symlink(pki.join("trusted/hmi.der"), pki.join("trusted/same.der")).unwrap();
        symlink(&secret, pki.join("issuer")).unwrap();
        let mut found = Found::default();
        let alarms = root.join(PLANT_STATE).join("alarms");
        fs::create_dir_all(&alarms).unwrap();
        for name in ["states.json", "journal.jsonl", "journal.9.jsonl", "states.unreadable.json", ".states.json.1"] {
            fs::write(alarms.join(name), name).unwrap();
        }
        symlink(secret.join("host_key"), alarms.join("journal.1.jsonl")).unwrap();
        for part in ["trusted", "issuer", "own"] {
            found.walk(&pki.join(part), &format!("{PLANT_STATE}/pki/{part}"), 0, &|_| true).unwrap();
        }
        found.alarms(&root.join(PLANT_STATE)).unwrap();
        let names: Vec<&str> = found.files.keys().filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(names, ["journal.9.jsonl", "journal.jsonl", "states.json", "hmi.der", "same.der"]);
        assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
        fs::remove_dir_all(root).unwrap();
    }
}
