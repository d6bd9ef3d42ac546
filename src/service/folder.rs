//! Folders: a private one for the time of a run, and the one that keeps certificates.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::service::exit::{Failure, UNAVAILABLE};

/// A path of a UNIX socket has at most 107 bytes; our names in the folder need up to 20.
const LONGEST: usize = 80;
/// Most bytes of `/canvoy-PID-RANDOM`: a pid has up to 7 digits.
const NAME: usize = 28;

/// Whether the path of a socket in a private folder in `parent` is short enough.
pub fn has_room(parent: &Path) -> bool {
    parent.as_os_str().len() + NAME <= LONGEST
}

/// A folder that nobody else can look into; removed at the end if it was made here.
#[derive(Debug)]
pub struct Private {
    path: PathBuf,
    made: bool,
}

impl Private {
    /// systemd's `$RUNTIME_DIRECTORY`, else a new folder in `$XDG_RUNTIME_DIR`, else one in the temporary folder.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Private> {
        if let Some(given) = first_of_list(variable("RUNTIME_DIRECTORY")) {
            return Ok(Private { path: given, made: false });
        }
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("canvoy-{}-{suffix}", std::process::id());
        let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        for parent in runtime.into_iter().chain([std::env::temp_dir(), "/tmp".into()]) {
            let path = parent.join(&name);
            if has_room(&parent) && make(&path).is_ok() {
                return Ok(Private { path, made: true });
            }
        }
        let message =
            "no folder for the sockets of this run can be made: set XDG_RUNTIME_DIR or TMPDIR to one you may write to";
        Err(Failure::new(UNAVAILABLE, message).into())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if self.made {
            // what is left there helps nobody and harms nobody
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The folder for what must outlive a run: systemd's `$STATE_DIRECTORY`, else `canvoy` in the user's state folder (XDG).
pub fn state(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<PathBuf> {
    if let Some(given) = first_of_list(variable("STATE_DIRECTORY")) {
        return Ok(given);
    }
    let message = "no folder to keep certificates in: say one with --state";
    let path = of_person(variable).ok_or_else(|| Failure::new(UNAVAILABLE, message))?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .with_context(|| format!("make the folder {}; or say another one with --state", path.display()))?;
    Ok(path)
}

/// `canvoy` in the user's state folder (XDG), whether it is there or not.
pub fn of_person(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    Some(parent?.join("canvoy"))
}

/// The state folder that systemd has made for us, if it has.
pub fn of_service(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    first_of_list(variable("STATE_DIRECTORY"))
}

/// systemd separates several folders by colons.
fn first_of_list(list: Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&list?).next().filter(|path| path.is_absolute())
}

/// Fails where the name is taken, whoever took it.
fn make(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_folder_comes_and_goes() {
        let private = Private::new(|_| None).unwrap();
        let path = private.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("socket"), "").unwrap();
        let second = Private::new(|name| (name == "XDG_RUNTIME_DIR").then(|| path.clone().into())).unwrap();
        assert!(second.path().starts_with(&path));
        let given = Private::new(|name| (name == "RUNTIME_DIRECTORY").then(|| path.clone().into())).unwrap();
        drop(given);
        assert!(path.exists());
        drop(second);
        drop(private);
        assert!(!path.exists());
        // what can't be used is passed over
        for odd in ["/nowhere/at/all".to_owned(), "relative".to_owned(), format!("/tmp/{}", "x".repeat(90))] {
            let private = Private::new(|name| (name == "XDG_RUNTIME_DIR").then(|| odd.clone().into())).unwrap();
            assert!(private.path().exists() && !private.path().starts_with(&odd));
        }
    }

    #[test]
    fn the_state_folder() {
        let private = Private::new(|_| None).unwrap();
        let home = private.path().to_owned();
        let check = |variables: &[(&str, String)], want: PathBuf| {
            let found = state(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()));
            assert_eq!(found.unwrap(), want);
        };
        let text = home.display().to_string();
        check(&[("HOME", text.clone())], home.join(".local/state/canvoy"));
        check(&[("HOME", text.clone()), ("XDG_STATE_HOME", format!("{text}/s"))], home.join("s/canvoy"));
        check(&[("HOME", text), ("STATE_DIRECTORY", "/a:/b".into())], "/a".into());
        assert!(state(|_| None).is_err());
    }
}
