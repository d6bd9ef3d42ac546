//! Secrets from the service manager: a file that is named `credential:NAME` is one of those that the unit loads
//! (LoadCredential=, LoadCredentialEncrypted=; systemd.exec(5)).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config;
use crate::service::exit::{CONFIG, Failure};

/// The path of a file that the configuration names.
pub fn resolve(file: PathBuf, variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Failure> {
    let Some(name) = config::credential(&file) else { return Ok(file) };
    let folder = variable("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|folder| folder.is_absolute());
    match folder.map(|folder| folder.join(name)) {
        Some(path) if path.is_file() => Ok(path),
        Some(_) | None => {
            let message = format!(
                "there is no credential {name}: the unit of this process has to load it (LoadCredential={name}:/a/file, \
                 or LoadCredentialEncrypted= and `systemd-creds encrypt`)"
            );
            Err(Failure::new(CONFIG, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::folder::Private;

    #[test]
    fn a_credential_is_found_or_missed_in_words() {
        let folder = Private::new(|_| None).unwrap();
        std::fs::write(folder.path().join("users"), "").unwrap();
        let check = |file: &str, given: bool, want: Option<PathBuf>| {
            let found = resolve(file.into(), |name| {
                (given && name == "CREDENTIALS_DIRECTORY").then(|| folder.path().as_os_str().to_owned())
            });
            match want {
                Some(path) => assert_eq!(found.unwrap(), path),
                None => assert!(found.unwrap_err().to_string().contains("LoadCredential="), "{file}"),
            }
        };
        check("/etc/canvoy/users", true, Some("/etc/canvoy/users".into()));
        check("credential:users", true, Some(folder.path().join("users")));
        check("credential:users", false, None);
        check("credential:others", true, None);
    }
}
