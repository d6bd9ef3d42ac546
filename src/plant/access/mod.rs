//! Users of the network side: a file of names with Argon2 hashes, and the one place where a password is checked.

mod attempts;
pub mod rights;
pub mod role;

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

pub use self::rights::{Rights, Subject};
pub use self::role::{Identity, Operation, Role, Roles};

use self::attempts::{Attempts, Who};
use super::private;

/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// Longest password, in bytes: enough for any sentence, too little to keep a processor busy.
pub const MAX_PASSWORD: usize = 1024;
/// Passwords checked at one time. Each check takes 19 MiB and some ten milliseconds of a core.
const CHECKS: usize = 2;
/// Checks names and passwords against a file, which is read anew each time: a new user needs no restart.
pub struct Users {
    shared: Arc<Shared>,
}

struct Shared {
    file: Option<PathBuf>,
    checks: Semaphore,
    attempts: Mutex<Attempts>,
}

impl Users {
    /// Without a file there is nobody.
    pub fn new(file: Option<PathBuf>) -> Users {
        Users { shared: Arc::new(Shared { file, checks: Semaphore::new(CHECKS), attempts: Mutex::default() }) }
    }

    /// Whether the password is this user's. `peer`: where it comes from. An unknown name costs as much time as a wrong password;
    /// both are answered late, and who has failed often waits before the next password is looked at.
    pub async fn verify(&self, name: &str, password: &str, peer: IpAddr) -> bool {
        let start = Instant::now();
        let (shared, name, password) = (self.shared.clone(), name.to_owned(), password.to_owned());
        // a task of its own: who hangs up meanwhile has tried all the same
        let attempt = tokio::spawn(async move { shared.attempt(&name, password, peer).await });
        match attempt.await {
            Ok(Ok(())) => true,
            Ok(Err(late)) => {
                tokio::time::sleep_until(start + late).await;
                false
            }
            Err(_) => false,
        }
    }
}

impl Shared {
    /// The error says how long after its beginning the answer goes out.
    async fn attempt(&self, name: &str, password: String, peer: IpAddr) -> Result<(), Duration> {
        let who = Who::new(name, peer);
        let Some(_turn) = self.turn(&who).await else { return Err(Attempts::refused()) };
        let right = self.matches(name, password).await;
        let late = self.attempts().end(&who, right, Instant::now());
        if right { Ok(()) } else { Err(late) }
    }

    /// Waits for this attempt's turn; `None` if too many wait before it.
    async fn turn(&self, who: &Who) -> Option<SemaphorePermit<'_>> {
        // asked only when the checks before are done: they may have failed
        let turn = self.checks.acquire().await.ok()?;
        let at = self.attempts().enter(who, Instant::now()).ok()?;
        if at <= Instant::now() {
            return Some(turn);
        }
        drop(turn);
        tokio::time::sleep_until(at).await;
        self.checks.acquire().await.ok()
    }

    async fn matches(&self, name: &str, password: String) -> bool {
        if password.len() > MAX_PASSWORD || check_name(name).is_err() {
            return false;
        }
        let (file, name) = (self.file.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || matches(file.as_deref(), &name, &password)).await.unwrap_or(false)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
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

pub fn check_name(name: &str) -> Result<(), &'static str> {
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

/// Names in the file, in its order. A file that is not there has none.
pub fn list(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = read(file)?;
    Ok(parsed(&text, file)?.into_iter().map(|entry| entry.name.to_owned()).collect())
}

/// Adds a user to the file or replaces the password. The file is put in place at once; who may read it stays as it was, its
/// owner only where it is new. Comments and other users stay.
pub fn add(file: &Path, name: &str, password: &str) -> anyhow::Result<()> {
    check_name(name).map_err(anyhow::Error::msg)?;
    if password.is_empty() || password.len() > MAX_PASSWORD {
        bail!("a password has 1 to {MAX_PASSWORD} bytes");
    }
    let mut text = without(file, name)?;
    text.push_str(&format!("{name}:{}\n", hash(password)?));
    private::rewrite(file, text.as_bytes())
}

/// Removes a user from the file; false if there is none of this name.
pub fn remove(file: &Path, name: &str) -> anyhow::Result<bool> {
    if !list(file)?.iter().any(|there| there == name) {
        return Ok(false);
    }
    private::rewrite(file, without(file, name)?.as_bytes())?;
    Ok(true)
}

/// The text of the file without one user.
fn without(file: &Path, name: &str) -> anyhow::Result<String> {
    let text = read(file)?;
    parsed(&text, file)?;
    let others = text.lines().filter(|line| {
        let line = line.trim();
        line.starts_with('#') || line.split_once(':').is_none_or(|(other, _)| other != name)
    });
    Ok(others.map(|line| format!("{line}\n")).collect())
}

fn read(file: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("users: {}", file.display())),
    }
}

fn parsed<'a>(text: &'a str, file: &Path) -> anyhow::Result<Vec<Entry<'a>>> {
    parse(text).map_err(anyhow::Error::msg).with_context(|| format!("users: {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::plant::scratch::Scratch;

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

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    // time that passes only while everybody waits for it
    #[tokio::test(start_paused = true)]
    async fn passwords() {
        let folder = Scratch::new("access-passwords");
        let file = folder.join("users");
        fs::write(&file, "# plant 3\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        add(&file, "anna", "first").unwrap();
        add(&file, "bert", "b:ert").unwrap();
        add(&file, "cora", "c").unwrap();
        add(&file, "anna", "second").unwrap();
        assert!(remove(&file, "cora").unwrap() && !remove(&file, "cora").unwrap());
        assert_eq!(list(&file).unwrap(), ["bert", "anna"]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640, "as it was");
        assert!(fs::read_to_string(&file).unwrap().starts_with("# plant 3\n"));
        assert_eq!(check(&file).unwrap(), 2);
        assert_eq!(check(&folder.join("none")).unwrap(), 0);
        assert_eq!(list(&folder.join("none")).unwrap(), [""; 0]);
        fs::write(folder.join("odd"), "anna:secret\n").unwrap();
        assert!(check(&folder.join("odd")).is_err());
        assert!(remove(&folder.join("odd"), "anna").is_err());
        let users = Users::new(Some(file));
        for (name, password, want) in [
            ("anna", "second", true),
            ("anna", "first", false),
            ("anna", "", false),
            ("bert", "b:ert", true),
            ("Anna", "second", false),
            ("nobody", "second", false),
            ("# plant 3", "", false),
            ("cora", "c", false),
            ("anna", "second", true),
        ] {
            let start = Instant::now();
            assert_eq!(users.verify(name, password, PEER).await, want, "{name} {password}");
            let took = start.elapsed();
            assert!(if want { took.is_zero() } else { took.as_secs() >= 1 }, "{name} {password}: {took:?}");
        }
        assert!(!Users::new(None).verify("anna", "second", PEER).await);
        assert!(!users.verify("anna", &"x".repeat(MAX_PASSWORD + 1), PEER).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_guesses_keeps_nobody_else_out() {
        let folder = Scratch::new("access-flood");
        let file = folder.join("users");
        add(&file, "anna", "right").unwrap();
        add(&file, "bert", "right").unwrap();
        let users = Arc::new(Users::new(Some(file)));
        let guess = |number: u32, peer| {
            let users = users.clone();
            tokio::spawn(async move { users.verify("anna", &number.to_string(), peer).await })
        };
        // half of them hang up at once
        let flood: Vec<_> = (0..100).map(|number| guess(number, PEER)).collect();
        tokio::task::yield_now().await;
        flood.iter().take(50).for_each(|attempt| attempt.abort());
        let start = Instant::now();
        assert!(users.verify("bert", "right", PEER).await, "somebody else from there");
        assert!(users.verify("anna", "right", ELSEWHERE).await, "the same name from elsewhere");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let mut answered = 0;
        for attempt in flood {
            answered += usize::from(matches!(attempt.await, Ok(false)));
        }
        assert_eq!(answered, 50);
    }

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        let folder = Scratch::new("access-names");
        let file = folder.join("users");
        for name in ["", "a:b", "#a", " a", "a\nb"] {
            assert!(add(&file, name, "secret").is_err(), "{name:?}");
        }
        assert!(add(&file, "a", "").is_err());
        assert!(!file.exists());
    }
}
