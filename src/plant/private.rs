//! Files of one owner: written beside, then put in place at once.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid, setgroups};

/// Writes a file that only its owner may read, whatever was there.
pub fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    put(file, bytes, false)
}

/// Writes a file anew. What was there keeps its owner and mode; where there was nothing only its owner may read it.
pub fn rewrite(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    put(file, bytes, true)
}

fn put(file: &Path, bytes: &[u8], as_before: bool) -> anyhow::Result<()> {
    let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
    let beside = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let write = || -> std::io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        match fs::metadata(file) {
            Ok(old) if as_before => keep(&new, &old)?,
            _ => {}
        }
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    let written = write();
    if written.is_err() {
        // what is left there helps nobody
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("write {}", file.display()))
}

/// Gives a new file the owner and mode of the one that it replaces.
fn keep(new: &File, old: &fs::Metadata) -> std::io::Result<()> {
    if geteuid().is_root() {
        // the owner first: giving a file away takes permission bits off it
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(Permissions::from_mode(old.mode() & 0o777))
}

/// Root goes on as the owner of a folder, for the rest of the process: what is made there belongs to who uses it, and whoever
/// owns the folder can't lead root elsewhere by a link.
pub fn become_owner(folder: &Path) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let found = fs::metadata(folder).with_context(|| format!("read {}", folder.display()))?;
    if found.uid() == 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    let become_ = || -> nix::Result<()> {
        setgroups(&[group])?;
        setegid(group)?;
        seteuid(user)
    };
    become_().with_context(|| format!("go on as the owner of {}", folder.display()))?;
    if geteuid().is_root() {
        bail!("root can't go on as the owner of {}", folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_mode_and_a_new_one_is_private() {
        let folder = std::env::temp_dir().join(format!("canvoy-private-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("users");
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        write(&file, b"1").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        rewrite(&file, b"2").unwrap();
        assert_eq!((mode(), fs::read(&file).unwrap()), (0o640, b"2".to_vec()));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12345), Some(12346)).unwrap();
            rewrite(&file, b"3").unwrap();
            let found = fs::metadata(&file).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (12345, 12346, 0o640));
        }
        write(&file, b"4").unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(folder).unwrap();
    }
}
