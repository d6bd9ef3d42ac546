//! What is in the folders: read when something in them has changed, kept otherwise.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use x509_cert::der::pem;

use super::certificate::{Certificate, MOST_CHAIN_BYTES};
use super::chain::Lists;
use super::revocation::RevocationList;
use crate::store::clock;

/// A larger file holds no certificates.
const MOST_BYTES: u64 = 4 * MOST_CHAIN_BYTES as u64;
/// A list of a large authority, with 100,000 entries.
const MOST_LIST_BYTES: u64 = 4 * 1024 * 1024;
/// Files of one folder that are looked at.
const MOST_FILES: usize = 1000;
/// A file written over is seen after this long at the latest; a new, moved or removed one is seen at once.
const LOOK: Duration = Duration::from_secs(1);
/// The kernel's file times have steps, 10 ms at most; what was changed this short a time ago may change again unseen.
const STEP: u64 = 50_000_000;

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Trusted,
    Issuers,
    Revocations,
}

/// A folder, and what it is for.
#[derive(Clone, Debug)]
pub struct Place {
    pub folder: PathBuf,
    pub kind: Kind,
}

/// The folders of one group.
pub struct Folders {
    places: Vec<Place>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lists: Arc<Lists>,
    files: HashMap<PathBuf, Known>,
    /// Of the folders themselves.
    stamps: Vec<Option<Stamp>>,
    looked: Option<Instant>,
    /// Nothing was changed so recently that another change may have gone unseen.
    settled: bool,
}

/// A file, as it was when it was read.
struct Known {
    stamp: Stamp,
    settled: bool,
    content: Content,
}

/// What is in a file.
#[derive(Clone)]
pub enum Content {
    Certificates(Vec<Arc<Certificate>>),
    Revocations(Arc<RevocationList>),
    /// Nothing of the kind.
    Other,
}

/// Changes whenever the file or folder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970, of content and of anything.
    times: [i128; 2],
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Stamp {
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Stamp {
            inode: metadata.ino(),
            size: metadata.size(),
            times: [time(metadata.mtime(), metadata.mtime_nsec()), time(metadata.ctime(), metadata.ctime_nsec())],
        }
    }

    /// Whether a later change must show. A time to come is of a clock that was set back since.
    fn is_settled(&self, now: u64) -> bool {
        self.times.iter().all(|time| !(i128::from(now) - i128::from(STEP)..=i128::from(now)).contains(time))
    }
}

impl Folders {
    pub fn new(places: Vec<Place>) -> Folders {
        Folders { places, state: Mutex::default() }
    }

    /// What is in the folders now. Blocks, for as long as it takes to ask for their times where nothing has changed.
    pub fn current(&self) -> Arc<Lists> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = |place: &Place| fs::metadata(&place.folder).ok().map(|found| Stamp::of(&found));
        let stamps: Vec<Option<Stamp>> = self.places.iter().map(stamp).collect();
        let recent = state.looked.is_some_and(|looked| looked.elapsed() < LOOK);
        if !(recent && state.settled && state.stamps == stamps) {
            let now = clock::realtime();
            state.settled = stamps.iter().flatten().all(|stamp| stamp.is_settled(now));
            state.stamps = stamps;
            state.looked = Some(Instant::now());
            self.look(&mut state, now);
        }
        state.lists.clone()
    }

    /// Reads what has changed.
    fn look(&self, state: &mut State, now: u64) {
        let mut old = std::mem::take(&mut state.files);
        let (mut lists, mut changed) = (Lists::default(), false);
        for place in &self.places {
            for (file, metadata) in files(&place.folder) {
                let stamp = Stamp::of(&metadata);
                let known = match old.remove(&file) {
                    Some(known) if known.stamp == stamp && known.settled => known,
                    _ => {
                        changed = true;
                        let content = read(&file, place.kind).unwrap_or_else(|error| {
                            tracing::warn!(file = %file.display(), %error, "file among the certificates can't be read");
                            Content::Other
                        });
                        let settled = stamp.is_settled(now);
                        state.settled &= settled;
                        Known { stamp, settled, content }
                    }
                };
                match (place.kind, &known.content) {
                    (Kind::Trusted, Content::Certificates(found)) => lists.trusted.extend(found.iter().cloned()),
                    (Kind::Issuers, Content::Certificates(found)) => lists.issuers.extend(found.iter().cloned()),
                    (Kind::Revocations, Content::Revocations(list)) => lists.revocations.push(list.clone()),
                    _ => {}
                }
                state.files.insert(file, known);
            }
        }
        // what is left in `old` is gone
        if changed || !old.is_empty() {
            state.lists = Arc::new(lists);
        }
    }
}

/// The regular files of a folder, without hidden ones. A folder that is not there has none.
pub fn files(folder: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(folder = %folder.display(), %error, "folder of certificates can't be read");
            }
            return Vec::new();
        }
    };
    let shown = entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let file = |entry: fs::DirEntry| {
        // a link is followed
        let metadata = fs::metadata(entry.path()).ok()?;
        metadata.is_file().then(|| (entry.path(), metadata))
    };
    shown.filter_map(file).take(MOST_FILES).collect()
}

/// Reads a file of a folder.
pub fn read(file: &Path, kind: Kind) -> io::Result<Content> {
    let most = if kind == Kind::Revocations { MOST_LIST_BYTES } else { MOST_BYTES };
    if fs::metadata(file)?.len() > most {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("it is larger than {most} bytes")));
    }
    let content = understand(&fs::read(file)?, file);
    let wanted = match (kind, &content) {
        (Kind::Revocations, Content::Revocations(_)) => true,
        (Kind::Trusted | Kind::Issuers, Content::Certificates(_)) => true,
        (_, _) => false,
    };
    if wanted {
        return Ok(content);
    }
    let wanted = if kind == Kind::Revocations { "revocation list" } else { "certificate" };
    Err(io::Error::new(ErrorKind::InvalidData, format!("it is no {wanted} in DER or PEM form")))
}

/// Certificates or a revocation list, DER or PEM. A PEM file may hold several certificates.
pub fn understand(bytes: &[u8], file: &Path) -> Content {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        return Content::Certificates(vec![Arc::new(certificate)]);
    }
    if let Ok(list) = RevocationList::from_der(bytes, file) {
        return Content::Revocations(Arc::new(list));
    }
    let mut certificates = Vec::new();
    for block in blocks(bytes) {
        match pem::decode_vec(block) {
            Ok(("CERTIFICATE", der)) => certificates.extend(Certificate::from_der(&der).ok().map(Arc::new)),
            Ok(("X509 CRL", der)) => {
                if let Ok(list) = RevocationList::from_der(&der, file) {
                    return Content::Revocations(Arc::new(list));
                }
            }
            _ => {}
        }
    }
    if certificates.is_empty() { Content::Other } else { Content::Certificates(certificates) }
}

/// The PEM blocks of a text (RFC 7468), without what people wrote around them.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some(start) = find(rest, BEGIN) {
        let from = rest.get(start..).unwrap_or_default();
        let Some(end) = find(from, END) else { break };
        let line = from.get(end..).unwrap_or_default().iter().position(|byte| *byte == b'\n');
        let length = line.map_or(from.len(), |line| end + line + 1);
        let (block, after) = from.split_at_checked(length).unwrap_or((from, &[]));
        found.push(block);
        rest = after;
    }
    found
}
