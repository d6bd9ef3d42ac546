//! Certificates that were refused: kept for whoever decides whether to trust them, a bounded number of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::certificate::Certificate;
use super::folders::files;
use crate::plant::private;

/// Longest common name in a file's name, in characters.
const MOST_NAME: usize = 64;
/// Files written in a second when many are refused: who makes certificates all day must not wear out the disk.
const RATE: f64 = 2.0;

pub struct Rejected {
    folder: PathBuf,
    /// Files that are kept; the oldest goes.
    most: usize,
    budget: Mutex<(f64, Instant)>,
}

impl Rejected {
    pub fn new(folder: PathBuf, most: usize) -> Rejected {
        Rejected { folder, most, budget: Mutex::new((most as f64, Instant::now())) }
    }

    /// Where the certificate is now, if it could be kept. The same one is kept once.
    pub fn keep(&self, certificate: &Certificate) -> Option<PathBuf> {
        let file = self.folder.join(file_name(certificate));
        if fs::read(&file).is_ok_and(|there| there == certificate.der) {
            return Some(file);
        }
        if self.most == 0 || !self.spend() {
            return None;
        }
        let mut kept = files(&self.folder);
        kept.retain(|(other, _)| *other != file);
        kept.sort_by_key(|(_, metadata)| metadata.modified().ok());
        let over = (kept.len() + 1).saturating_sub(self.most);
        let removed = kept.iter().take(over).try_for_each(|(old, _)| fs::remove_file(old));
        let written = removed.map_err(Into::into).and_then(|()| private::write(&file, &certificate.der));
        match written {
            Ok(()) => Some(file),
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), error = format!("{error:#}"), "rejected certificate can't be kept");
                None
            }
        }
    }

    /// Whether one more may be written now.
    fn spend(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = &mut *budget;
        let now = Instant::now();
        *left = (*left + now.duration_since(*since).as_secs_f64() * RATE).min(self.most as f64);
        *since = now;
        let may = *left >= 1.0;
        if may {
            *left -= 1.0;
        }
        may
    }
}

/// `CN [thumbprint].der`, as other OPC UA products name them.
pub fn file_name(certificate: &Certificate) -> String {
    let name: String = certificate.common_name().chars().take(MOST_NAME).collect();
    let name = name.replace(['/', '\0'], "_");
    // no hidden file, no name that is no name
    let name = name.trim_start_matches('.').trim();
    format!("{name} [{}].der", certificate.thumbprint_text()).trim_start().to_owned()
}

/// Makes a folder that only its owner may enter.
pub fn private_folder(folder: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("make the folder {}", folder.display()))
}
