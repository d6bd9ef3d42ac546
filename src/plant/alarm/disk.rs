//! The files of the alarms: what is kept, and what waits or is lost while the disk refuses. A disk that refuses keeps nobody
//! from working: alarms go on in memory, and it is tried again.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context;

use super::journal::{BYTES, Entry, FILES, Gap, Journal};
use super::{Alarms, journal, kept};

/// Between two times that the states are written, the journal is brought to the disk, and what did not go is tried again.
/// Nanoseconds.
const KEEP: u64 = 1_000_000_000;
const LIMITS: (u64, usize) = (BYTES, FILES);
/// Lines that wait for a disk that refuses; the oldest beyond that are lost.
pub(super) const MOST_WAITING: usize = 4096;

/// Where the files are, and what is not in them yet.
pub(super) struct Disk {
    folder: PathBuf,
    /// What was kept has been taken up. Nothing is written before: it would be written over.
    known: bool,
    /// `None`: it could not be opened yet.
    pub(super) journal: Option<Journal>,
    waiting: VecDeque<Entry>,
    /// Before those that wait.
    lost: Option<Gap>,
    /// Something is not kept.
    dirty: bool,
    /// When it was tried last. CLOCK_MONOTONIC nanoseconds.
    tried: Option<u64>,
    /// Each failed the last time.
    journal_refused: bool,
    states_refused: bool,
}

impl Disk {
    pub fn new(folder: &Path) -> Disk {
        Disk {
            folder: folder.to_owned(),
            known: false,
            journal: None,
            waiting: VecDeque::new(),
            lost: None,
            dirty: true,
            tried: None,
            journal_refused: false,
            states_refused: false,
        }
    }

    /// Whether there is something to do at this time. CLOCK_MONOTONIC nanoseconds.
    pub fn is_due(&self, monotonic: u64) -> bool {
        self.dirty && self.tried.is_none_or(|tried| monotonic.saturating_sub(tried) >= KEEP)
    }

    /// There is something to be kept that is in no line.
    pub fn touch(&mut self) {
        self.dirty = true;
    }

    /// Takes up what was kept, where that has not been done yet; whether it was now. `now`: CLOCK_REALTIME nanoseconds.
    pub fn recall(&mut self, alarms: &Alarms, now: u64) -> bool {
        if self.known {
            return false;
        }
        let found = self.read();
        self.known = found.is_ok();
        match found {
            Ok((snapshot, entries, lost)) => {
                let last = entries.last().map_or(snapshot.number, |entry| entry.number);
                let mut book = alarms.book();
                let (own, waiting) = (self.lost.take(), std::mem::take(&mut self.waiting));
                book.recall(snapshot, &entries, waiting.into(), own.map_or(0, |own| own.to), now);
                let own = own.map(|own| own.shifted(last));
                self.lost = match (lost, own) {
                    (Some(kept), Some(own)) => Some(kept.and(own)),
                    (kept, own) => kept.or(own),
                };
                tell(&mut self.states_refused, &Ok(()));
            }
            Err(error) => tell(&mut self.states_refused, &Err(error)),
        }
        alarms.kept.store(self.known, Relaxed);
        self.known
    }

    fn read(&mut self) -> anyhow::Result<(kept::Snapshot, Vec<Entry>, Option<Gap>)> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
        let snapshot = kept::read(folder).or_else(|error| {
            // states that nobody can read any more must not keep new ones from being written
            let aside = folder.join("states.unreadable.json");
            std::fs::rename(folder.join(kept::FILE), &aside).with_context(|| format!("{error:#}"))?;
            tracing::error!(error = format!("{error:#}"), "what was done about alarms is not known any more");
            anyhow::Ok(kept::Snapshot::default())
        })?;
        self.journal = Some(Journal::open(folder, LIMITS)?);
        let entries = journal::read(folder, snapshot.number)?;
        let last = match entries.last() {
            Some(entry) => entry.number,
            None => journal::last(folder)?,
        };
        let lost = (last < snapshot.number).then_some(Gap {
            from: last + 1,
            to: snapshot.number,
            position: snapshot.position,
        });
        Ok((snapshot, entries, lost))
    }

    /// Adds lines, and writes what there is to be written.
    pub fn write(&mut self, alarms: &Alarms, entries: Vec<Entry>, now: u64) {
        if let Some(last) = entries.last() {
            let last = last.number;
            self.dirty = true;
            self.waiting.extend(entries);
            // a disk that refuses is asked again with the states
            if !self.journal_refused {
                self.append(now);
            }
            self.bound(alarms);
            alarms.written.send_replace(last);
        }
    }

    /// Everything that waits, after a line about what is lost.
    fn append(&mut self, now: u64) {
        if !self.known || self.waiting.is_empty() && self.lost.is_none() {
            return;
        }
        let appended = (|| {
            let journal = match &mut self.journal {
                Some(journal) => journal,
                None => self.journal.insert(Journal::open(&self.folder, LIMITS)?),
            };
            if let Some(gap) = self.lost {
                journal.write(&[Entry::unwritten(gap, now)])?;
                self.lost = None;
            }
            journal.write(self.waiting.make_contiguous())?;
            self.waiting.clear();
            anyhow::Ok(())
        })();
        tell(&mut self.journal_refused, &appended.context("the journal of alarms"));
    }

    /// Too many that wait.
    fn bound(&mut self, alarms: &Alarms) {
        let beyond = self.waiting.len().saturating_sub(MOST_WAITING);
        for entry in self.waiting.drain(..beyond) {
            let gap = Gap { from: entry.number, to: entry.number, position: entry.position };
            self.lost = Some(self.lost.map_or(gap, |lost| lost.and(gap)));
        }
        alarms.counts.unwritten.fetch_add(beyond as u64, Relaxed);
    }

    /// The states, at most once a second. Whether what was kept has been taken up only now.
    pub fn keep(&mut self, alarms: &Alarms, now: u64, monotonic: u64) -> bool {
        if !self.is_due(monotonic) {
            return false;
        }
        let recalled = self.recall(alarms, now);
        self.tried = Some(monotonic);
        if !self.known {
            return false;
        }
        // What somebody has done since the lines were taken is in the snapshot: its line must be there first.
        let (snapshot, entries) = {
            let mut book = alarms.book();
            (book.snapshot(now), book.take_entries())
        };
        self.waiting.extend(entries);
        self.append(now);
        self.bound(alarms);
        alarms.written.send_replace(snapshot.number);
        // where lines wait the snapshot is ahead of the journal: whoever reads both sees what is lost
        let synced = self.journal.as_ref().map_or(Ok(()), Journal::sync).context("the journal of alarms");
        let kept = synced.and_then(|()| kept::write(&self.folder, &snapshot));
        self.dirty = !self.waiting.is_empty() || kept.is_err();
        tell(&mut self.states_refused, &kept);
        recalled
    }

    /// Whether the disk took what there was.
    pub fn is_well(&self) -> bool {
        !self.journal_refused && !self.states_refused
    }
}

/// Logs when it begins to fail, and when it is over.
fn tell(refused: &mut bool, result: &anyhow::Result<()>) {
    match (result, std::mem::replace(refused, result.is_err())) {
        (Err(error), false) => tracing::error!(
            error = format!("{error:#}"),
            "alarms can't be written to the disk; they go on in memory, and it is tried again each second"
        ),
        (Ok(()), true) => tracing::info!("alarms are written to the disk again"),
        _ => {}
    }
}
