//! The states of all alarms of a plan, and what their changes mean for each other: consequences, what is told, what is
//! written. Without clock and files.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Change;
use super::journal::{Entry, Position};
use super::kept::{Kept, Snapshot};
use super::state::{Operation, Refused, State, Transition, What};
use crate::plan::{AlarmIndex, Plan};
use crate::store::AlarmEvent;

/// States of alarms that the plan has no more; the oldest go.
const MOST_FORMER: usize = 10_000;
/// How long they are kept. Nanoseconds.
const FORMER: u64 = 90 * 86_400 * 1_000_000_000;

/// All of them.
#[derive(Default)]
pub struct Book {
    plan: Option<Arc<Plan>>,
    /// By alarm.
    keys: Vec<Box<str>>,
    states: Vec<State>,
    by_key: HashMap<Box<str>, AlarmIndex>,
    /// By alarm: those that follow from it, and how many of its own causes are active.
    effects: Vec<Vec<u32>>,
    causes: Vec<u32>,
    /// States of alarms that are not in the plan: a reload may bring them back.
    former: BTreeMap<String, Kept>,
    /// Of the last change.
    number: u64,
    position: Position,
    /// When time changes something next, or earlier.
    due: u64,
    changes: Vec<Change>,
    entries: Vec<Entry>,
}

impl Book {
    /// As it was kept, before there is a plan.
    pub(super) fn begin(&mut self, snapshot: Snapshot) {
        self.former = snapshot.alarms;
        self.number = snapshot.number;
        self.position = snapshot.position;
    }

    /// What is to be kept now.
    pub(super) fn snapshot(&self, now: u64) -> Snapshot {
        let mut alarms = self.former.clone();
        let own = self.all().filter(|(_, _, state)| **state != State::default());
        alarms.extend(own.map(|(alarm, key, state)| {
            let text = self.plan.as_ref().map(|plan| super::sentence(plan, alarm, state)).unwrap_or_default();
            (key.to_owned(), Kept { seen: now, text, because: self.cause(alarm), state: state.clone() })
        }));
        Snapshot { number: self.number, position: self.position, alarms }
    }

    /// Takes what a journal has after the snapshot.
    pub(super) fn replay(&mut self, entry: &Entry) {
        if entry.number <= self.number {
            return;
        }
        self.number = entry.number;
        self.position = entry.position;
        if let Some(what) = entry.what.of_state() {
            let kept = self.former.entry(entry.key.clone()).or_default();
            kept.seen = entry.time;
            entry.restore(&mut kept.state, what);
        }
    }

    /// Another plan holds: states go with their keys.
    pub(super) fn adopt(&mut self, plan: &Arc<Plan>, now: u64) {
        for (key, state) in std::mem::take(&mut self.keys).into_iter().zip(std::mem::take(&mut self.states)) {
            if state != State::default() {
                self.former.insert(key.into(), Kept { seen: now, state, ..Kept::default() });
            }
        }
        self.keys = plan.alarms.iter().map(|alarm| alarm.key(plan).into()).collect();
        self.by_key = self.keys.iter().enumerate().map(|(at, key)| (key.clone(), at)).collect();
        let mut former = |key: &str| self.former.remove(key).map(|kept| kept.state).unwrap_or_default();
        self.states = self.keys.iter().map(|key| former(key)).collect();
        self.effects = vec![Vec::new(); self.keys.len()];
        self.causes = vec![0; self.keys.len()];
        for alarm in 0..self.keys.len() {
            for cause in plan.causes(alarm) {
                if let Some(effects) = self.effects.get_mut(*cause) {
                    effects.push(alarm as u32);
                }
                if self.states.get(*cause).is_some_and(State::is_active)
                    && let Some(count) = self.causes.get_mut(alarm)
                {
                    *count += 1;
                }
            }
        }
        self.plan = Some(plan.clone());
        self.former.retain(|_, kept| kept.seen.saturating_add(FORMER) > now);
        while self.former.len() > MOST_FORMER {
            let oldest = self.former.iter().min_by_key(|(_, kept)| kept.seen).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.former.remove(&key));
        }
        for alarm in 0..self.states.len() {
            self.consider(alarm, now);
        }
        self.due = 0;
    }

    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    /// Each alarm of the plan with its key and state.
    pub fn all(&self) -> impl Iterator<Item = (AlarmIndex, &str, &State)> {
        self.keys.iter().zip(&self.states).enumerate().map(|(alarm, (key, state))| (alarm, &**key, state))
    }

    pub fn state(&self, key: &str) -> Option<&State> {
        self.states.get(*self.by_key.get(key)?)
    }

    /// Whether time changes something at `now`.
    pub(super) fn is_due(&self, now: u64) -> bool {
        now >= self.due
    }

    /// Whether something is to be written.
    pub(super) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The key of the alarm that an active consequence follows from.
    fn cause(&self, alarm: AlarmIndex) -> Option<String> {
        let (plan, state) = (self.plan.as_ref()?, self.states.get(alarm)?);
        let since = |alarm: AlarmIndex| self.states.get(alarm).filter(|s| s.is_active()).map(|s| s.times.active);
        let cause = plan.cause(alarm, since).filter(|_| state.is_active() && state.suppressed)?;
        self.keys.get(cause).map(|key| key.to_string())
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// From where the ring is read on.
    pub(super) fn follow_from(&mut self, position: Position) {
        self.position = position;
    }

    /// A transition from the ring.
    pub(super) fn event(&mut self, event: &AlarmEvent) {
        self.position.next = event.sequence + 1;
        let Some(severity) = self.severity(event.alarm, event.state) else { return };
        let (level, detail, value, time) = (event.state, event.detail, event.value, event.time);
        self.transition(event.alarm, Transition { level, detail, value, severity, time }, false);
    }

    /// What the alarm is now, where transitions were missed.
    pub(super) fn agree(&mut self, alarm: AlarmIndex, level: u8, detail: u64, value: f64, time: u64) {
        let Some(severity) = self.severity(alarm, level) else { return };
        self.transition(alarm, Transition { level, detail, value, severity, time }, true);
    }

    fn severity(&self, alarm: AlarmIndex, level: u8) -> Option<u16> {
        let plan = self.plan.as_ref()?;
        Some(plan.alarms.get(alarm)?.severity_at(plan, level).clamp(1, 1000))
    }

    fn transition(&mut self, alarm: AlarmIndex, to: Transition, inferred: bool) {
        let Some(state) = self.states.get_mut(alarm) else { return };
        let before = state.level;
        let Some(what) = state.transition(to) else { return };
        self.record(alarm, what, "", before, to.time, inferred);
        if (before == 0) != (to.level == 0) {
            for effect in self.effects.get(alarm).cloned().unwrap_or_default() {
                let effect = effect as usize;
                if let Some(count) = self.causes.get_mut(effect) {
                    *count = if to.level == 0 { count.saturating_sub(1) } else { *count + 1 };
                }
                self.consider(effect, to.time);
            }
        }
        if let Some(what) = self.states.get_mut(alarm).and_then(|state| state.spent(to.time)) {
            self.record(alarm, what, "", to.level, to.time, inferred);
        }
    }

    /// Whether an alarm is a consequence now. That of one that is of no interest is not told.
    fn consider(&mut self, alarm: AlarmIndex, time: u64) {
        let caused = self.causes.get(alarm).is_some_and(|count| *count > 0);
        let Some(state) = self.states.get_mut(alarm) else { return };
        let before = state.retain();
        let (level, what) = (state.level, state.suppress(caused, time));
        self.due = self.due.min(state.due().unwrap_or(u64::MAX));
        if let Some(what) = what
            && before
        {
            self.record(alarm, what, "", level, time, false);
        }
    }

    /// What time alone changes. CLOCK_REALTIME nanoseconds.
    pub(super) fn tick(&mut self, now: u64) {
        if now < self.due {
            return;
        }
        for alarm in 0..self.states.len() {
            while let Some(state) = self.states.get_mut(alarm)
                && let Some(what) = state.expire(now)
            {
                let (level, told) = (state.level, state.is_active() || what != What::Unsuppressed);
                if told {
                    self.record(alarm, what, "", level, now, false);
                }
            }
        }
        self.due = self.states.iter().filter_map(State::due).min().unwrap_or(u64::MAX);
    }

    pub(super) fn operate(&mut self, key: &str, operation: &Operation, who: &str, now: u64) -> Result<u64, Refused> {
        let alarm = *self.by_key.get(key).ok_or(Refused::Unknown)?;
        let state = self.states.get_mut(alarm).ok_or(Refused::Unknown)?;
        let what = state.operate(operation, who, now)?;
        let level = state.level;
        self.record(alarm, what, who, level, now, false);
        Ok(self.number)
    }

    /// Transitions that nobody has read.
    pub(super) fn lost(&mut self, count: u64, next: u64, now: u64) {
        self.number += 1;
        self.position.next = next;
        self.entries.push(Entry::lost(self.number, self.position, count, now));
    }

    fn record(&mut self, alarm: AlarmIndex, what: What, who: &str, before: u8, time: u64, inferred: bool) {
        let (Some(plan), Some(key)) = (&self.plan, self.keys.get(alarm)) else { return };
        let Some(state) = self.states.get_mut(alarm) else { return };
        self.number += 1;
        state.numbered(self.number, what);
        self.due = self.due.min(state.due().unwrap_or(u64::MAX));
        let mut entry = Entry::of(self.number, self.position, key, what, state, time);
        entry.before = before;
        entry.inferred = inferred;
        entry.who = who.to_owned();
        entry.text = super::sentence(plan, alarm, state);
        self.entries.push(entry);
        let change = Change { plan: plan.clone(), alarm, what, who: who.to_owned(), state: state.clone() };
        self.changes.push(change);
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }
}
