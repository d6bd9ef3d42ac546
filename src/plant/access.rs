//! Users of the network side: a file of names with Argon2 hashes, and the one place where a password is checked.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// Longest password, in bytes: enough for any sentence, too little to keep a processor busy.
pub const MAX_PASSWORD: usize = 1024;
/// Passwords checked at one time. Each check takes 19 MiB and some ten milliseconds of a core.
const CHECKS: usize = 2;
/// A wrong password is answered after this long; it doubles with each further failure of the name.
const DELAY: Duration = Duration::from_secs(1);
/// How often it doubles at most.
const DOUBLINGS: u32 = 4;
/// Names whose failures are remembered.
const REMEMBERED: usize = 1000;

/// Checks names and passwords against a file, which is read anew each time: a new user needs no restart.
pub struct Users {
    file: Option<PathBuf>,
    checks: Semaphore,
    delay: Duration,
    /// Failures in a row of a name, whether there is such a user or not.
    failures: Mutex<HashMap<String, u32>>,
}

impl Users {
    /// Without a file there is nobody.
    pub fn new(file: Option<PathBuf>) -> Users {
        Users { file, checks: Semaphore::new(CHECKS), delay: DELAY, failures: Mutex::new(HashMap::new()) }
    }

    /// Whether the password is this user's. An unknown name costs as much time as a wrong password, and both are
    /// answered late.
    pub async fn verify(&self, name: &str, password: &str) -> bool {
        let start = Instant::now();
        let right = match self.checks.acquire().await {
            Ok(_turn) if password.len() <= MAX_PASSWORD && check_name(name).is_ok() => {
                let (file, name, password) = (self.file.clone(), name.to_owned(), password.to_owned());
                tokio::task::spawn_blocking(move || matches(file.as_deref(), &name, &password)).await.unwrap_or(false)
            }
            _ => false,
        };
        let failures = self.count(name, right);
        if !right {
            let doublings = failures.saturating_sub(1).min(DOUBLINGS);
            tokio::time::sleep_until(start + self.delay * 2_u32.pow(doublings)).await;
        }
        right
    }

    /// Failures of this name in a row, this attempt included.
    fn count(&self, name: &str, right: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if right {
            failures.remove(name);
            return 0;
        }
        if failures.len() >= REMEMBERED && !failures.contains_key(name) {
            failures.clear();
        }
        let short: String = name.chars().take(MAX_NAME).collect();
        let count = failures.entry(short).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }
}

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    name: &'a str,
    hash: &'a str,
}

/// Lines `name:$argon2id$…`; empty lines and lines that begin with `#` are left out. Errors name the line.
fn parse(text: &str) -> Result<Vec<Entry<'_>>, String> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let (name, hash) = line.split_once(':').ok_or(format!("line {number}: no `name:hash`"))?;
            check_name(name).map_err(|error| format!("line {number}: {error}"))?;
            match PasswordHash::new(hash) {
                Ok(parsed) if parsed.algorithm.as_str().starts_with("argon2") => Ok(Entry { name, hash }),
                _ => Err(format!("line {number}: the hash of {name} is no Argon2 hash in PHC form ($argon2id$…)")),
            }
        })
        .collect()
}

/// Whether the file can be read and understood; the number of users in it. A file that is not there has none.
pub fn check(file: &Path) -> anyhow::Result<usize> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        other => other.with_context(|| format!("users: {}", file.display()))?,
    };
    let entries = parse(&text).map_err(anyhow::Error::msg).with_context(|| format!("users: {}", file.display()))?;
    Ok(entries.len())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("a user name has 1 to 64 characters");
    }
    if name.starts_with('#') || name.trim() != name || name.contains(':') || name.chars().any(char::is_control) {
        return Err("a user name has no colon, no control character, no space at its ends and does not begin with #");
    }
    Ok(())
}

/// Reads the file and checks one password. Blocks.
fn matches(file: Option<&Path>, name: &str, password: &str) -> bool {
    let text = match file.map(fs::read_to_string) {
        Some(Ok(text)) => text,
        Some(Err(error)) => {
            tracing::warn!(file = %file.unwrap_or(Path::new("")).display(), %error, "users can't be read; nobody can log in");
            String::new()
        }
        None => String::new(),
    };
    let entries = parse(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %file.unwrap_or(Path::new("")).display(), error, "users can't be read; nobody can log in");
        Vec::new()
    });
    let entry = entries.iter().find(|entry| entry.name == name);
    // whoever is not there is checked against a hash that fits no password
    let hash = entry.map_or(NOBODY, |entry| entry.hash);
    let right = PasswordHash::new(hash).is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok());
    right && entry.is_some()
}

/// The same parameters as [`hasher`], so that it takes as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmU$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Argon2id with the parameters that OWASP recommends (19 MiB, two passes): the crate's own defaults.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

/// The PHC string of a password, with a salt from the kernel.
fn hash(password: &str) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| anyhow::anyhow!("salt: {error}"))?;
    let hash = hasher().hash_password(password.as_bytes(), &salt);
    Ok(hash.map_err(|error| anyhow::anyhow!("hash: {error}"))?.to_string())
}

/// Adds a user to the file or replaces the password. The file is written anew with mode 0600 and put in place at once;
/// comments and other users stay.
pub fn add(file: &Path, name: &str, password: &str) -> anyhow::Result<()> {
    check_name(name).map_err(anyhow::Error::msg)?;
    if password.is_empty() || password.len() > MAX_PASSWORD {
        bail!("a password has 1 to {MAX_PASSWORD} bytes");
    }
    let old = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
    };
    parse(&old).map_err(anyhow::Error::msg).with_context(|| file.display().to_string())?;
    let others = old.lines().filter(|line| {
        let line = line.trim();
        line.starts_with('#') || line.split_once(':').is_none_or(|(other, _)| other != name)
    });
    let mut text: String = others.map(|line| format!("{line}\n")).collect();
    text.push_str(&format!("{name}:{}\n", hash(password)?));
    write_private(file, text.as_bytes())
}

/// Writes a file that only its owner may read: beside it first, then renamed over it.
pub fn write_private(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
    let beside = file.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let write = || -> std::io::Result<()> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    write().with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("canvoy-access-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn files() {
        let hash = NOBODY;
        for (text, want) in [
            (String::new(), Ok(vec![])),
            (format!("# comment\n\nanna:{hash}\n"), Ok(vec!["anna"])),
            (format!("anna:{hash}\r\nJörg Müller:{hash}"), Ok(vec!["anna", "Jörg Müller"])),
            ("anna".into(), Err("line 1: no `name:hash`")),
            ("#\nanna:secret".into(), Err("line 2: the hash of anna is no Argon2 hash in PHC form ($argon2id$…)")),
            (format!(":{hash}"), Err("line 1: a user name has 1 to 64 characters")),
        ] {
            let names = parse(&text).map(|entries| entries.iter().map(|entry| entry.name).collect::<Vec<_>>());
            assert_eq!(names, want.map_err(String::from), "{text:?}");
        }
    }

    #[test]
    fn a_hash_that_fits_nobody_costs_what_a_real_one_costs() {
        let real = hash("x").unwrap();
        let (real, nobody) = (PasswordHash::new(&real).unwrap(), PasswordHash::new(NOBODY).unwrap());
        assert_eq!(real.params, nobody.params);
        assert_eq!(real.hash.unwrap().len(), nobody.hash.unwrap().len());
    }

    #[tokio::test]
    async fn passwords() {
        let folder = folder("passwords");
        let file = folder.join("users");
        fs::write(&file, "# plant 3\n").unwrap();
        add(&file, "anna", "first").unwrap();
        add(&file, "bert", "b:ert").unwrap();
        add(&file, "anna", "second").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&file).unwrap().starts_with("# plant 3\n"));
        assert_eq!(check(&file).unwrap(), 2);
        assert_eq!(check(&folder.join("none")).unwrap(), 0);
        fs::write(folder.join("odd"), "anna:secret\n").unwrap();
        assert!(check(&folder.join("odd")).is_err());
        let quick = |file| Users { delay: Duration::from_millis(20), ..Users::new(file) };
        let users = quick(Some(file));
        for (name, password, want) in [
            ("anna", "second", true),
            ("anna", "first", false),
            ("anna", "", false),
            ("bert", "b:ert", true),
            ("Anna", "second", false),
            ("nobody", "second", false),
            ("# plant 3", "", false),
        ] {
            let start = Instant::now();
            assert_eq!(users.verify(name, password).await, want, "{name} {password}");
            assert!(want || start.elapsed() >= users.delay, "{name} {password} was answered at once");
        }
        assert!(!quick(None).verify("anna", "second").await);
        assert!(!users.verify("anna", &"x".repeat(MAX_PASSWORD + 1)).await);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        let file = folder("names").join("users");
        for name in ["", "a:b", "#a", " a", "a\nb"] {
            assert!(add(&file, name, "secret").is_err(), "{name:?}");
        }
        assert!(add(&file, "a", "").is_err());
        assert!(!file.exists());
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}
