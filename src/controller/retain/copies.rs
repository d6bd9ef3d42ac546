//! The two copies of the retained values: their form, and which of them counts.
//!
//! They are written in turn, so that whatever happens while one is written (power loss, a full disk), the other is whole.
//!
//! ```text
//! "CANVOYR" · version (1 byte) · sequence (8 bytes, little endian) · length (8) · values (JSON) · SHA-256 of all before
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dbc::Raw;

const MAGIC: &[u8; 7] = b"CANVOYR";
/// A newer one is refused, and left alone. The magic, the version and the hash at the end stay where they are in every version.
const VERSION: u8 = 1;
const HEADER: usize = 24;
const HASH: usize = 32;
/// A larger file is no copy of ours, in bytes.
const MOST: u64 = 16 << 20;
const NAMES: [&str; 2] = ["a", "b"];

/// One retained value. It is kept by its name `bus.Message.Signal`, because the next start may have another plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub raw: Raw,
    /// Of the DBC file when it was written: with others the raw value means something else.
    pub factor: f64,
    pub offset: f64,
    /// Starts in a row that had no use for it.
    pub missed: u32,
}

/// All of them by name.
pub type Values = BTreeMap<String, Kept>;

/// Why a copy does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unusable {
    Damaged,
    Newer(u8),
}

/// Why there is nothing to go on with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{path}: written by a newer version of Canvoy (form {version}); nothing is retained until it is moved away or that version is back"
    )]
    Newer { path: PathBuf, version: u8 },
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    pub values: Values,
    pub copies: Copies,
    /// Copies that are damaged: of none or one nothing is lost but perhaps the last second.
    pub damaged: usize,
}

/// Where the next copy goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Copies {
    folder: PathBuf,
    next: usize,
    sequence: u64,
}

impl Copies {
    /// Reads both copies; the newer whole one counts. Nothing is written.
    pub fn open(folder: &Path) -> Result<Found, OpenError> {
        let mut best: Option<(usize, u64, Values)> = None;
        let mut damaged = 0;
        for (index, name) in NAMES.iter().enumerate() {
            let path = folder.join(name);
            let bytes = match read(&path) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => return Err(OpenError::Unreadable { path, error }),
            };
            match parse(&bytes) {
                Ok((sequence, values)) if best.as_ref().is_none_or(|(_, best, _)| sequence > *best) => {
                    best = Some((index, sequence, values));
                }
                Ok(_) => {}
                Err(Unusable::Damaged) => damaged += 1,
                Err(Unusable::Newer(version)) => return Err(OpenError::Newer { path, version }),
            }
        }
        let (next, sequence, values) = match best {
            Some((index, sequence, values)) => (1 - index, sequence, values),
            None => (0, 0, Values::new()),
        };
        Ok(Found { values, copies: Copies { folder: folder.to_owned(), next, sequence }, damaged })
    }

    /// Writes the older copy anew and waits until it is on the disk. After an error the same one is tried again: the
    /// other is whole.
    pub fn write(&mut self, values: &Values) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let bytes = form(sequence, values)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(NAMES[self.next]);
        let new = !path.exists();
        // in place: a disk that is full has had room for it before
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()?;
        if new {
            File::open(&self.folder)?.sync_all()?;
        }
        (self.next, self.sequence) = (1 - self.next, sequence);
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path)?,
        Ok(_) => return Err(io::Error::new(ErrorKind::InvalidData, "not a regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn form(sequence: u64, values: &Values) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(values)?;
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend(sequence.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(body);
    bytes.extend(Sha256::digest(&bytes));
    Ok(bytes)
}

/// The sequence number and the values of a copy; any bytes may come.
fn parse(bytes: &[u8]) -> Result<(u64, Values), Unusable> {
    let (content, hash) = bytes.split_last_chunk::<HASH>().ok_or(Unusable::Damaged)?;
    let (header, body) = content.split_first_chunk::<HEADER>().ok_or(Unusable::Damaged)?;
    if !header.starts_with(MAGIC) || Sha256::digest(content).as_slice() != hash {
        return Err(Unusable::Damaged);
    }
    let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    match header[MAGIC.len()] {
        VERSION if number(16) == body.len() as u64 => {
            let values = serde_json::from_slice(body).map_err(|_| Unusable::Damaged)?;
            Ok((number(8), values))
        }
        VERSION | 0 => Err(Unusable::Damaged),
        newer => Err(Unusable::Newer(newer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("canvoy-retain-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn values(raw: u64) -> Values {
        let kept = |raw| Kept { raw, factor: 0.1, offset: -40.0, missed: 0 };
        [("a.M.S", Raw::Unsigned(raw)), ("a.M.F", Raw::F32(0x7F80_0000)), ("ä.M.T", Raw::Signed(i64::MIN))]
            .map(|(name, raw)| (name.to_owned(), kept(raw)))
            .into()
    }

    #[test]
    fn written_in_turn_and_read_back() {
        let folder = folder("turn");
        let mut found = Copies::open(&folder).unwrap();
        assert_eq!((found.values.len(), found.damaged), (0, 0));
        assert!(!folder.exists(), "reading writes nothing");
        for n in 1..=5 {
            found.copies.write(&values(n)).unwrap();
            found = Copies::open(&folder).unwrap();
            assert_eq!((&found.values, found.damaged, found.copies.sequence), (&values(n), 0, n));
        }
        fs::remove_dir_all(folder).unwrap();
    }

    /// Whatever happens to one copy, the last or the one before comes back.
    #[test]
    fn cut_and_flipped_at_every_byte() {
        let folder = folder("flip");
        let mut found = Copies::open(&folder).unwrap();
        for n in 1..=2 {
            found.copies.write(&values(n)).unwrap();
        }
        // 1 is in a, 2 in b
        for (name, otherwise) in [("a", 2), ("b", 1)] {
            let path = folder.join(name);
            let whole = fs::read(&path).unwrap();
            let check = |bytes: &[u8], what: &str| {
                fs::write(&path, bytes).unwrap();
                let found = Copies::open(&folder).unwrap();
                assert_eq!((found.values, found.damaged), (values(otherwise), 1), "{name} {what}");
                // and the good one is not what is written next
                assert_eq!(NAMES[found.copies.next], name, "{what}");
            };
            for cut in 0..whole.len() {
                check(&whole[..cut], &format!("cut at {cut}"));
                let mut torn = whole[..cut].to_vec();
                torn.resize(whole.len(), 0);
                if torn != whole {
                    check(&torn, &format!("zeros from {cut}"));
                }
            }
            for at in 0..whole.len() {
                for bit in [0x01, 0x80, 0xFF] {
                    let mut flipped = whole.clone();
                    flipped[at] ^= bit;
                    check(&flipped, &format!("byte {at} ^ {bit:#x}"));
                }
            }
            check(&[&whole[..], b"x"].concat(), "longer");
            fs::write(&path, &whole).unwrap();
        }
        for name in NAMES {
            fs::write(folder.join(name), "").unwrap();
        }
        let found = Copies::open(&folder).unwrap();
        assert_eq!((found.values.len(), found.damaged), (0, 2), "both damaged: nothing, not garbage");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_newer_form_is_refused_and_left_alone() {
        let folder = folder("newer");
        Copies::open(&folder).unwrap().copies.write(&values(1)).unwrap();
        let mut bytes = fs::read(folder.join("a")).unwrap();
        bytes[MAGIC.len()] = VERSION + 1;
        let end = bytes.len() - HASH;
        let hash = Sha256::digest(&bytes[..end]);
        bytes[end..].copy_from_slice(&hash);
        fs::write(folder.join("b"), &bytes).unwrap();
        let error = Copies::open(&folder).unwrap_err().to_string();
        assert!(error.contains("newer version of Canvoy (form 2)"), "{error}");
        assert_eq!(fs::read(folder.join("b")).unwrap(), bytes);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn after_an_error_the_same_copy_is_tried_again() {
        let folder = folder("error");
        let mut found = Copies::open(&folder).unwrap();
        found.copies.write(&values(1)).unwrap();
        fs::create_dir(folder.join("b")).unwrap();
        for _ in 0..2 {
            found.copies.write(&values(2)).unwrap_err();
        }
        fs::remove_dir(folder.join("b")).unwrap();
        assert_eq!(Copies::open(&folder).unwrap().values, values(1));
        found.copies.write(&values(2)).unwrap();
        assert_eq!(Copies::open(&folder).unwrap().values, values(2));
        fs::remove_dir_all(folder).unwrap();
    }
}
