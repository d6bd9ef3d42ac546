//! Keeps up with the machine's alarms: reads the ring of transitions, writes journal and states.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;

use super::journal::{BYTES, Entry, FILES, Journal, Position, read};
use super::{Alarms, kept};
use crate::plant::{Plant, View};
use crate::store::layout::Word;
use crate::store::{AlarmEvent, clock};

/// Between two looks at the ring.
const LOOK: Duration = Duration::from_millis(5);
/// Between two times that the states are written, and the journal is brought to the disk. Nanoseconds.
const KEEP: u64 = 1_000_000_000;
const LIMITS: (u64, usize) = (BYTES, FILES);
/// Transitions that are taken at once.
const MOST: usize = 2048;

/// Follows the plant for good. The files are in `folder`.
pub async fn run(plant: Arc<Plant>, folder: PathBuf) -> anyhow::Result<Infallible> {
    let mut follower = {
        let (plant, folder) = (plant.clone(), folder.clone());
        tokio::task::spawn_blocking(move || Follower::new(&plant.alarms, plant.view(), &folder)).await
    }
    .context("the alarms")??;
    loop {
        let mut more = false;
        if follower.has_work(&plant) {
            let plant = plant.clone();
            (follower, more) = tokio::task::spawn_blocking(move || {
                let more = follower.step(&plant, clock::realtime());
                (follower, more)
            })
            .await
            .context("the alarms")?;
        }
        if !more {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = plant.alarms.wake.notified() => {}
            }
        }
    }
}

/// Where it is.
pub(super) struct Follower {
    view: Arc<View>,
    folder: PathBuf,
    /// `None`: it could not be opened yet.
    journal: Option<Journal>,
    /// Not compared yet with what the store says is active.
    unsettled: bool,
    /// Changed since it was kept; when it was last. CLOCK_REALTIME nanoseconds.
    dirty: bool,
    kept: u64,
    /// Writing failed last time.
    trouble: bool,
}

impl Follower {
    /// Takes up what was kept.
    pub fn new(alarms: &Alarms, view: Arc<View>, folder: &Path) -> anyhow::Result<Follower> {
        std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
        // a full disk must not keep the plant from serving: it is tried again with the first line
        let journal = Journal::open(folder, LIMITS).ok();
        let snapshot = kept::read(folder).or_else(|error| {
            // states that nobody can read must not keep the plant from serving
            tracing::error!(error = format!("{error:#}"), "what was done about alarms is not known any more");
            std::fs::rename(folder.join(kept::FILE), folder.join("states.unreadable.json")).map(|()| Default::default())
        })?;
        let after = snapshot.number;
        let mut book = alarms.book();
        book.begin(snapshot);
        for entry in read(folder, after)? {
            book.replay(&entry);
        }
        drop(book);
        alarms.kept.store(true, Relaxed);
        let mut follower = Follower {
            view: view.clone(),
            folder: folder.to_owned(),
            journal,
            unsettled: true,
            dirty: true,
            kept: 0,
            trouble: false,
        };
        follower.take_up(alarms, view, clock::realtime());
        Ok(follower)
    }

    /// Whether there is anything to do; asked often.
    pub fn has_work(&self, plant: &Plant) -> bool {
        let now = clock::realtime();
        let book = plant.alarms.book();
        self.unsettled
            || !Arc::ptr_eq(&self.view, &plant.view())
            || book.position().next < self.view.reader.alarm_events_next()
            || book.is_due(now)
            || book.has_entries()
            || self.dirty && (now < self.kept || now - self.kept >= KEEP)
    }

    /// Does what there is to do; whether there is more. `now`: CLOCK_REALTIME nanoseconds.
    pub fn step(&mut self, plant: &Plant, now: u64) -> bool {
        let alarms = &plant.alarms;
        // looked at first: what the old ring has is read to its end before it is left
        let view = plant.view();
        let more = self.read(alarms, now);
        if !more && !Arc::ptr_eq(&self.view, &view) {
            self.take_up(alarms, view, now);
        } else if !more && self.unsettled {
            self.settle(alarms);
        }
        let mut book = alarms.book();
        book.tick(now);
        alarms.publish(&mut book);
        let entries = book.take_entries();
        drop(book);
        self.write(alarms, &entries);
        self.keep(alarms, now);
        more
    }

    /// Goes on with another store: that of a reload, or of another controller.
    fn take_up(&mut self, alarms: &Alarms, view: Arc<View>, now: u64) {
        let mut book = alarms.book();
        if book.plan().is_none_or(|plan| !Arc::ptr_eq(plan, &view.plan)) {
            book.adopt(&view.plan, now);
        }
        let controller = view.reader.get(Word::StartedRealtime);
        if book.position().controller != controller {
            // what the one before has not told nobody will
            book.follow_from(Position { controller, next: view.reader.alarm_events_begin() });
        }
        self.view = view;
        self.unsettled = true;
    }

    /// Takes the next transitions; whether there may be more.
    fn read(&mut self, alarms: &Alarms, now: u64) -> bool {
        let mut batch: Vec<Result<AlarmEvent, (u64, u64)>> = Vec::new();
        let mut next = alarms.book().position().next;
        let mut more = true;
        while more && batch.len() < MOST {
            match self.view.reader.alarm_event(next) {
                Ok(Some(event)) => {
                    next = event.sequence + 1;
                    batch.push(Ok(event));
                }
                Ok(None) => more = false,
                Err(lost) => {
                    batch.push(Err((lost.next.saturating_sub(next), lost.next)));
                    next = lost.next;
                }
            }
        }
        let mut book = alarms.book();
        for found in batch {
            match found {
                Ok(event) => book.event(&event),
                Err((count, next)) => {
                    alarms.counts.lost.fetch_add(count, Relaxed);
                    tracing::error!(count, "changes of alarms were not read in time and are lost");
                    book.lost(count, next, now);
                    self.unsettled = true;
                }
            }
        }
        alarms.publish(&mut book);
        more
    }

    /// Compares with what the store says: of a controller that started anew, and where something was lost.
    fn settle(&mut self, alarms: &Alarms) {
        let reader = &self.view.reader;
        let next = reader.alarm_events_next();
        let states: Vec<_> = (0..self.view.plan.alarms.len()).map(|alarm| reader.alarm(alarm)).collect();
        let mut book = alarms.book();
        // what changes meanwhile is looked at once it has been read
        if book.position().next < next || reader.alarm_events_next() != next {
            return;
        }
        // no controller counts back; a position from elsewhere must not keep us from reading
        let Position { controller, .. } = book.position();
        book.follow_from(Position { controller, next });
        for (alarm, state) in states.iter().enumerate() {
            let time = if state.since == 0 { clock::realtime() } else { state.since };
            book.agree(alarm, state.state, state.detail, state.value, time);
        }
        self.unsettled = false;
    }

    fn write(&mut self, alarms: &Alarms, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let written = match &mut self.journal {
            Some(journal) => journal.write(entries).map_err(Into::into),
            None => Journal::open(&self.folder, LIMITS).and_then(|opened| {
                let journal = self.journal.insert(opened);
                journal.write(entries).map_err(Into::into)
            }),
        };
        match written {
            Ok(()) => self.trouble = false,
            Err(error) => {
                alarms.counts.unwritten.fetch_add(entries.len() as u64, Relaxed);
                if !std::mem::replace(&mut self.trouble, true) {
                    let error = format!("{error:#}");
                    tracing::error!(error, "the journal of alarms can't be written; what happens goes on unwritten");
                }
            }
        }
        alarms.written.send_replace(last.number);
        self.dirty = true;
    }

    /// The states, at most once a second.
    fn keep(&mut self, alarms: &Alarms, now: u64) {
        // a clock that was stepped back keeps nothing from the disk
        if !self.dirty || (now >= self.kept && now - self.kept < KEEP) {
            return;
        }
        self.kept = now;
        self.dirty = false;
        let snapshot = alarms.book().snapshot(now);
        let synced = self.journal.as_ref().map_or(Ok(()), Journal::sync).context("the journal of alarms");
        let kept = synced.and_then(|()| kept::write(&self.folder, &snapshot));
        if let Err(error) = kept {
            // again in a second
            self.dirty = true;
            if !std::mem::replace(&mut self.trouble, true) {
                tracing::error!(error = format!("{error:#}"), "what is done about alarms can't be kept");
            }
        }
    }
}
