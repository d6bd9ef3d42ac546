//! Puts a backup in place: everything is checked and written beside before anything is replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::unistd::{Group, Uid, User, geteuid};

use super::archive::{Backup, Entry};
use super::{CONFIGURATION, PLANT_STATE, REPLACED, STATE, WHOLE};
use crate::config::{self, LoadOptions, Loaded};
use crate::diagnostic::Diagnostic;

/// The configuration in a backup, checked by this version of the program. `folder`: an empty one, for the files of it.
pub fn check(backup: &Backup, folder: &Path) -> anyhow::Result<Result<Loaded, Vec<Diagnostic>>> {
    for (entry, bytes) in backup.files().filter(|(entry, _)| entry.path.starts_with(CONFIGURATION)) {
        let path = folder.join(&entry.path);
        make_folder(path.parent().unwrap_or(folder), 0o700, None)?;
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    let read = config::read(&folder.join(&backup.list.configuration));
    Ok(read.and_then(|sources| config::load(&sources, LoadOptions::default())))
}

/// One step of the end: this path comes into place, from beside it; or what is there goes, because the backup has none of it.
struct Step {
    beside: Option<PathBuf>,
    path: PathBuf,
}

/// What was put in place.
pub struct Put {
    pub files: usize,
    /// What was replaced, under its new name.
    pub replaced: Vec<PathBuf>,
}

/// Writes everything below `root`. What is replaced is kept beside it as `NAME.before-restore`.
pub fn put(backup: &Backup, root: &Path) -> anyhow::Result<Put> {
    let mut steps = Vec::new();
    let written = write_beside(backup, root, &mut steps);
    if written.is_err() {
        steps.iter().filter_map(|step| step.beside.as_deref()).for_each(remove);
    }
    written?;
    for path in WHOLE.map(|folder| root.join(folder)) {
        let left = !steps.iter().any(|step| step.path == path) && fs::symlink_metadata(&path).is_ok();
        steps.extend(left.then_some(Step { beside: None, path }));
    }
    let mut replaced = Vec::new();
    for Step { beside, path } in &steps {
        let mut exchange = || -> std::io::Result<()> {
            if fs::symlink_metadata(path).is_ok() {
                let old = free_name(path);
                fs::rename(path, &old)?;
                replaced.push(old);
            }
            if let Some(beside) = beside {
                fs::rename(beside, path)?;
            }
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        let context = || format!("put {} in place; what was there before is beside it as *.{REPLACED}", path.display());
        exchange().with_context(context)?;
    }
    Ok(Put { files: backup.list.files.len(), replaced })
}

fn write_beside(backup: &Backup, root: &Path, steps: &mut Vec<Step>) -> anyhow::Result<()> {
    let mine = std::process::id();
    for (entry, bytes) in backup.files() {
        let whole = WHOLE.into_iter().find(|folder| entry.path.starts_with(&format!("{folder}/")));
        let (step, rest) = match whole {
            Some(folder) => (folder, entry.path[folder.len()..].trim_start_matches('/')),
            None => (entry.path.as_str(), ""),
        };
        let path = root.join(step);
        let (parent, name) = (path.parent().unwrap_or(root), path.file_name().unwrap_or_default());
        let beside = parent.join(format!(".{}.restore-{mine}", name.to_string_lossy()));
        if !steps.iter().any(|step| step.path == path) {
            make_folder(parent, mode_of_folder(step), owner_of_place(step))?;
            remove(&beside);
            steps.push(Step { beside: Some(beside.clone()), path });
        }
        let file = if rest.is_empty() { beside } else { beside.join(rest) };
        if let (false, Some(folder)) = (rest.is_empty(), file.parent()) {
            make_folder(folder, 0o700, owner_of_place(step))?;
        }
        write(&file, entry, bytes).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn write(file: &Path, entry: &Entry, bytes: &[u8]) -> std::io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    new.write_all(bytes)?;
    // the owner first: giving a file away takes permission bits off it
    let place = owner_of_place(&entry.path).unwrap_or("root");
    let owner = if entry.owner.is_empty() { place } else { &entry.owner };
    let group = if entry.group.is_empty() { place } else { &entry.group };
    give(file, owner, group)?;
    new.set_permissions(fs::Permissions::from_mode(entry.mode & 0o777))?;
    new.sync_all()
}

/// Who needs what is at a place: the users of the units; `None` for root.
fn owner_of_place(path: &str) -> Option<&'static str> {
    let is_in = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_in(PLANT_STATE) {
        Some("canvoy-plant")
    } else if is_in(STATE) {
        Some("canvoy")
    } else {
        None
    }
}

fn mode_of_folder(path: &str) -> u32 {
    if owner_of_place(path).is_some() { 0o700 } else { 0o755 }
}

/// Gives a file to a user and a group, where we may and they exist. systemd gives its state folders to their users by itself.
fn give(path: &Path, owner: &str, group: &str) -> std::io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let user = User::from_name(owner).ok().flatten().map_or(Uid::from_raw(0), |user| user.uid);
    let group = Group::from_name(group).ok().flatten().map(|group| group.gid.as_raw());
    chown(path, Some(user.as_raw()), Some(group.unwrap_or(0)))
}

/// Makes the folders that are missing.
fn make_folder(folder: &Path, mode: u32, owner: Option<&str>) -> anyhow::Result<()> {
    let context = || format!("make the folder {}", folder.display());
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent, 0o755, None)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).with_context(context),
        _ => {}
    }
    owner.map_or(Ok(()), |owner| give(folder, owner, owner)).with_context(context)
}

/// A file or a folder that was ours; it may not be there.
fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// `NAME.before-restore`, with a number where that is taken.
fn free_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number: usize| match number {
        1 => path.with_file_name(format!("{name}.{REPLACED}")),
        _ => path.with_file_name(format!("{name}.{REPLACED}-{number}")),
    };
    (1..).map(numbered).find(|path| fs::symlink_metadata(path).is_err()).unwrap_or_else(|| numbered(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::archive::List;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("canvoy-put-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn backup(files: &[(&str, &str, u32)]) -> Backup {
        let entry = |(path, bytes, mode): &(&str, &str, u32)| Entry {
            path: (*path).into(),
            mode: *mode,
            owner: String::new(),
            group: String::new(),
            size: bytes.len() as u64,
        };
        let list = List {
            format: Backup::FORMAT,
            canvoy: "0.1.0".into(),
            host: "first".into(),
            time: None,
            configuration: "etc/canvoy/plant.toml".into(),
            plan: String::new(),
            files: files.iter().map(entry).collect(),
        };
        Backup { list, contents: files.iter().map(|(_, bytes, _)| bytes.as_bytes().to_vec()).collect() }
    }

    #[test]
    fn what_is_replaced_is_kept_and_certificates_go_as_a_whole() {
        let root = folder("whole");
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let pki = "var/lib/canvoy-plant/pki";
        for (path, text) in [("etc/canvoy/plant.toml", "old"), ("etc/canvoy/other.dbc", "stays")] {
            fs::create_dir_all(root.join("etc/canvoy")).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        fs::create_dir_all(root.join(pki).join("trusted")).unwrap();
        fs::write(root.join(pki).join("trusted/stranger.der"), "stranger").unwrap();
        let new = backup(&[
            ("etc/canvoy/plant.toml", "new", 0o644),
            ("var/lib/canvoy-plant/pki/own/key.pem", "key", 0o600),
            ("var/lib/canvoy-plant/pki/trusted/hmi.der", "hmi", 0o644),
            ("var/lib/canvoy/retained/a", "value", 0o600),
        ]);
        for round in 1..=2 {
            let put = put(&new, &root).unwrap();
            assert_eq!((put.files, put.replaced.len()), (4, if round == 1 { 2 } else { 3 }));
            assert_eq!(read("etc/canvoy/plant.toml").as_deref(), Some("new"));
            assert_eq!(read("etc/canvoy/other.dbc").as_deref(), Some("stays"));
            assert_eq!(read(&format!("{pki}/trusted/hmi.der")).as_deref(), Some("hmi"));
            assert_eq!(read(&format!("{pki}/trusted/stranger.der")), None, "trusted by the spare computer only");
            assert_eq!(read("var/lib/canvoy/retained/a").as_deref(), Some("value"));
            assert_eq!(read("etc/canvoy/plant.toml.before-restore").as_deref(), Some("old"), "the first one stays");
            assert_eq!(read(&format!("{pki}.before-restore/trusted/stranger.der")).as_deref(), Some("stranger"));
        }
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&format!("{pki}/own/key.pem")), mode(&format!("{pki}/own"))), (0o600, 0o700));
        assert_eq!((mode("var/lib/canvoy"), mode("etc/canvoy/plant.toml")), (0o700, 0o644));
        fs::remove_dir_all(root).unwrap();
    }

    /// The spare computer was in use before: what it knew must not come alive under the other's configuration.
    #[test]
    fn certificates_and_retained_values_that_the_backup_does_not_have_are_put_aside() {
        let root = folder("aside");
        let known = ["var/lib/canvoy-plant/pki/trusted/stranger.der", "var/lib/canvoy/retained/a"];
        for path in known.map(|path| root.join(path)) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "old").unwrap();
        }
        let put = put(&backup(&[("etc/canvoy/plant.toml", "new", 0o644)]), &root).unwrap();
        assert_eq!((put.files, put.replaced.len()), (1, 2));
        for path in known {
            assert!(!root.join(path).exists(), "{path}");
        }
        let kept = root.join("var/lib/canvoy/retained.before-restore/a");
        assert_eq!(fs::read_to_string(kept).unwrap(), "old");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn where_one_file_can_t_be_written_nothing_is_replaced() {
        let root = folder("nothing");
        fs::create_dir_all(root.join("etc/canvoy")).unwrap();
        fs::write(root.join("etc/canvoy/plant.toml"), "old").unwrap();
        // a file where a folder should be
        fs::write(root.join("var"), "").unwrap();
        let new = backup(&[("etc/canvoy/plant.toml", "new", 0o644), ("var/lib/canvoy/retained/a", "value", 0o600)]);
        assert!(put(&new, &root).is_err());
        assert_eq!(fs::read_to_string(root.join("etc/canvoy/plant.toml")).unwrap(), "old");
        assert_eq!(fs::read_dir(root.join("etc/canvoy")).unwrap().count(), 1, "nothing is left beside");
        fs::remove_dir_all(root).unwrap();
    }
}
