//! An alarm over reloads, restarts, and a clock that is set.

use super::{MOST_SHELVED, Shelf, State, What};

impl State {
    /// It is not in the configuration any more: it is over, and nobody needs to do anything. `None`: nothing to be told.
    pub fn remove(&mut self, now: u64) -> Option<What> {
        let told = self.is_active() || self.retain();
        (self.suppressed, self.alone_since) = (false, 0);
        if !told {
            return None;
        }
        if self.is_active() {
            (self.level, self.times.active) = (0, now);
        }
        (self.acknowledged, self.confirmed) = (true, true);
        if matches!(self.shelf, Shelf::OneShot(_)) {
            self.unshelve(now);
        }
        self.times.last = now;
        Some(What::Ended)
    }

    /// What was kept comes only when this run has begun: what people did then holds where nobody did anything since.
    pub fn recall(&mut self, was: &State) {
        if self.number == 0 {
            *self = was.clone();
            return;
        }
        if self.times.enabled == 0 {
            (self.enabled, self.times.enabled) = (was.enabled, was.times.enabled);
        }
        if self.times.shelved == 0 {
            (self.shelf, self.times.shelved) = (was.shelf, was.times.shelved);
        }
        if self.comment.time == 0 {
            self.comment = was.comment.clone();
        }
        // it is still the alarm that was acknowledged
        let same = self.is_active() && self.level == was.level && self.times.active == was.times.active;
        if same && was.acknowledged && !self.acknowledged {
            (self.acknowledged, self.times.acknowledged) = (true, was.times.acknowledged);
            (self.confirmed, self.times.confirmed) = (was.confirmed, was.times.confirmed);
        }
    }

    /// No longer than anybody may shelve it: the clock may have been wrong when it was, or may be wrong now.
    pub fn bound_shelf(&mut self, now: u64) {
        if let Shelf::Timed(until) | Shelf::OneShot(until) = &mut self.shelf {
            *until = (*until).min(now.saturating_add(MOST_SHELVED));
        }
    }

    /// CLOCK_REALTIME was set by so many nanoseconds: what is left of a time stays what it is.
    pub fn clock_was_set(&mut self, by: i64) {
        if let Shelf::Timed(until) | Shelf::OneShot(until) = &mut self.shelf {
            *until = until.saturating_add_signed(by);
        }
        if self.alone_since != 0 {
            self.alone_since = self.alone_since.saturating_add_signed(by).max(1);
        }
    }
}
