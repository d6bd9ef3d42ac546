//! Alarms on the plant side: what people have done about each, kept over restarts; a journal of all that happened. The machine
//! side decides what is active; it does not know of any of this.
//!
//! ```text
//! store's ring ─> follow ─> book (states) ─┬─> journal, kept states   (files)
//! protocols ───────────────────▲           └─> changes ─> protocols
//! ```

mod book;
mod disk;
mod follow;
pub mod journal;
pub mod kept;
pub mod state;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};

pub use book::Book;
pub use follow::run;
pub use state::{Operation, Refused, Said, Shelf, State, What};

use super::active;
use crate::plan::{AlarmIndex, Plan};
use crate::store::clock;

/// The folder of journal and states, in the state folder of the plant.
pub const FOLDER: &str = "alarms";

/// Why an alarm ended that was active.
pub const REMOVED: &str = "ended: no longer in the configuration";

/// Batches of changes that wait for whoever is slow; more are lost for him, and he is told so.
const WAITING: usize = 1024;
/// How long somebody waits until what he did is in the journal. It is done whether or not it gets there.
const TO_BE_WRITTEN: Duration = Duration::from_secs(2);

/// One change of one alarm, with the state that it brought.
#[derive(Clone, Debug)]
pub struct Change {
    pub plan: Arc<Plan>,
    pub alarm: AlarmIndex,
    pub what: What,
    /// Who did it; empty: the machine.
    pub who: String,
    /// The alarm is not in the configuration any more. `plan` is the one before.
    pub removed: bool,
    pub state: State,
}

/// What has been counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Transitions that the store's ring had lost before they were read.
    pub lost: AtomicU64,
    /// Lines that could not be written to the journal and are lost.
    pub unwritten: AtomicU64,
}

/// All alarms of the plant, shared by its protocols.
pub struct Alarms {
    book: Mutex<Book>,
    changes: broadcast::Sender<Arc<[Change]>>,
    /// Number of the last change that is in the journal.
    written: watch::Sender<u64>,
    /// Somebody writes the journal.
    kept: AtomicBool,
    /// There is something to be written.
    wake: Notify,
    pub counts: Counts,
}

impl Default for Alarms {
    fn default() -> Alarms {
        Alarms {
            book: Mutex::default(),
            changes: broadcast::Sender::new(WAITING),
            written: watch::Sender::new(0),
            kept: AtomicBool::new(false),
            wake: Notify::new(),
            counts: Counts::default(),
        }
    }
}

impl Alarms {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Looks at all of them, for a moment.
    pub fn look<R>(&self, look: impl FnOnce(&Book) -> R) -> R {
        look(&self.book())
    }

    /// The state of one alarm of a plan, by its key.
    pub fn state(&self, key: &str) -> State {
        self.book().state(key).cloned().unwrap_or_default()
    }

    /// Batches of changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Arc<[Change]>> {
        self.changes.subscribe()
    }

    /// Somebody does something about an alarm; done when it is in the journal.
    pub async fn operate(&self, key: &str, operation: &Operation, who: &str) -> Result<(), Refused> {
        let number = self.operate_now(key, operation, who, clock::realtime())?;
        if self.kept.load(Relaxed) {
            self.wake.notify_one();
            let mut written = self.written.subscribe();
            let _ = tokio::time::timeout(TO_BE_WRITTEN, written.wait_for(|written| *written >= number)).await;
        }
        Ok(())
    }

    /// The same without waiting; its number.
    fn operate_now(&self, key: &str, operation: &Operation, who: &str, now: u64) -> Result<u64, Refused> {
        let mut book = self.book();
        let number = book.operate(key, operation, who, now)?;
        self.publish(&mut book);
        Ok(number)
    }

    /// Tells what has changed. The book is still locked: changes are told in their order.
    fn publish(&self, book: &mut Book) {
        let changes = book.take_changes();
        if !changes.is_empty() {
            // nobody may be listening
            let _ = self.changes.send(changes.into());
        }
    }
}

/// What is wrong, or was, in one sentence.
pub fn sentence(plan: &Plan, alarm: AlarmIndex, state: &State) -> String {
    let Some(alarm) = plan.alarms.get(alarm) else { return String::new() };
    let (subject, text) = (alarm.subject(plan), alarm.text(plan));
    let value = state.value.unwrap_or(f64::NAN);
    let detail = active::detail(plan, *alarm, state.level, state.detail, value);
    let over = if state.is_active() { "" } else { "over: " };
    match detail.is_empty() {
        true => format!("{subject}: {over}{text}"),
        false => format!("{subject}: {over}{text} ({detail})"),
    }
}
