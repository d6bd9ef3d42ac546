//! Keeps up with the machine's alarms: reads the ring of transitions, writes journal and states.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context;

use super::Alarms;
use super::disk::Disk;
use super::journal::Position;
use crate::plant::figure::Figure;
use crate::plant::{Plant, View};
use crate::store::layout::Word;
use crate::store::{AlarmEvent, clock};

/// Between two looks at the ring.
const LOOK: Duration = Duration::from_millis(5);
/// A clock that goes wrong by more than this within a run was set. Nanoseconds.
const STEP: u64 = 500_000_000;
/// Transitions that are taken at once.
const MOST: usize = 2048;

/// Follows the plant for good. The files are in `folder`.
pub async fn run(plant: Arc<Plant>, folder: PathBuf) -> anyhow::Result<Infallible> {
    let mut follower = {
        let (plant, folder) = (plant.clone(), folder.clone());
        tokio::task::spawn_blocking(move || {
            Follower::new(&plant.alarms, plant.view(), &folder, clock::realtime(), clock::monotonic())
        })
        .await
    }
    .context("the alarms")?;
    loop {
        let mut more = false;
        if follower.has_work(&plant) {
            let plant = plant.clone();
            (follower, more) = tokio::task::spawn_blocking(move || {
                let more = follower.step(&plant, clock::realtime(), clock::monotonic());
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
    pub(super) disk: Disk,
    /// Not compared yet with what the store says is active.
    unsettled: bool,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, until the clock is set.
    offset: i128,
}

impl Follower {
    /// Takes up what was kept. Clocks: CLOCK_REALTIME and CLOCK_MONOTONIC nanoseconds.
    pub fn new(alarms: &Alarms, view: Arc<View>, folder: &Path, now: u64, monotonic: u64) -> Follower {
        let mut disk = Disk::new(folder);
        disk.recall(alarms, now);
        let offset = i128::from(now) - i128::from(monotonic);
        let mut follower = Follower { view: view.clone(), disk, unsettled: true, offset };
        follower.take_up(alarms, view, now);
        follower
    }

    /// Whether there is anything to do; asked often.
    pub fn has_work(&self, plant: &Plant) -> bool {
        let (now, monotonic) = (clock::realtime(), clock::monotonic());
        let book = plant.alarms.book();
        self.unsettled
            || !Arc::ptr_eq(&self.view, &plant.view())
            || book.position().next < self.view.reader.alarm_events_next()
            || book.is_due(now)
            || book.has_entries()
            || self.disk.is_due(monotonic)
            || self.stepped(now, monotonic) != 0
    }

    /// By how much the clock was set. Nanoseconds.
    fn stepped(&self, now: u64, monotonic: u64) -> i64 {
        let by = i128::from(now) - i128::from(monotonic) - self.offset;
        if by.unsigned_abs() < u128::from(STEP) { 0 } else { i64::try_from(by).unwrap_or(0) }
    }

    /// Does what there is to do; whether there is more. Clocks: CLOCK_REALTIME and CLOCK_MONOTONIC nanoseconds.
    pub fn step(&mut self, plant: &Plant, now: u64, monotonic: u64) -> bool {
        let alarms = &plant.alarms;
        let by = self.stepped(now, monotonic);
        if by != 0 {
            self.offset += i128::from(by);
            alarms.book().clock_was_set(by);
            self.disk.touch();
        }
        // looked at first: what the old ring has is read to its end before it is left
        let view = plant.view();
        let more = self.read(alarms, now);
        if !more && !Arc::ptr_eq(&self.view, &view) {
            self.take_up(alarms, view, now);
        } else if !more && self.unsettled {
            self.settle(alarms, now);
        }
        let mut book = alarms.book();
        book.tick(now);
        alarms.publish(&mut book);
        let entries = book.take_entries();
        drop(book);
        self.disk.write(alarms, entries, now);
        // what was kept may have been active then
        self.unsettled |= self.disk.keep(alarms, now, monotonic);
        plant.figures.set(Figure::AlarmsUnkept, u64::from(!self.disk.is_well()));
        plant.figures.set(Figure::AlarmChangesLost, alarms.counts.lost.load(Relaxed));
        plant.figures.set(Figure::AlarmLinesLost, alarms.counts.unwritten.load(Relaxed));
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
                Ok(event) => book.event(&event, now),
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
    fn settle(&mut self, alarms: &Alarms, now: u64) {
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
            let time = if state.since == 0 { now } else { state.since };
            book.agree(alarm, state.state, state.detail, state.value, time, now);
        }
        self.unsettled = false;
    }
}
