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

/// Alarms of a plan by their keys.
type Keys = HashMap<Box<str>, AlarmIndex>;

/// All of them.
#[derive(Default)]
pub struct Book {
    plan: Option<Arc<Plan>>,
    /// By alarm.
    keys: Vec<Box<str>>,
    states: Vec<State>,
    by_key: Keys,
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
    /// Takes up what was kept: before there is a plan, or later, where the disk gave it only then. `after`: lines of the journal
    /// after the snapshot; `own`: those of this run that wait, behind so many that are lost. They come with numbers that go on
    /// where the journal ends.
    pub(super) fn recall(&mut self, snapshot: Snapshot, after: &[Entry], own: Vec<Entry>, lost: u64, now: u64) {
        let Snapshot { number, position, alarms } = snapshot;
        let mut kept = Book { former: alarms, number, position, ..Book::default() };
        after.iter().for_each(|entry| kept.replay(entry));
        kept.former.values_mut().for_each(|of| of.state.bound_shelf(now));
        if self.plan.is_none() {
            *self = kept;
            return;
        }
        self.entries.splice(0..0, own);
        // what the ring has brought once more is in the journal already
        self.entries.retain(|entry| !entry.was_read_before(kept.position));
        self.number = kept.number + lost;
        for entry in &mut self.entries {
            self.number += 1;
            entry.number = self.number;
        }
        for (key, was) in kept.former {
            match self.by_key.get(&*key).and_then(|alarm| self.states.get_mut(*alarm)) {
                Some(state) => state.recall(&was.state),
                None => drop(self.former.entry(key).or_insert(was)),
            }
        }
        self.retire(None, now);
        for alarm in 0..self.states.len() {
            self.consider(alarm, now, now);
        }
        self.due = 0;
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
    fn replay(&mut self, entry: &Entry) {
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
        let before = self.plan.replace(plan.clone()).map(|plan| (plan, std::mem::take(&mut self.by_key)));
        let states = std::mem::take(&mut self.states);
        for (alarm, (key, state)) in std::mem::take(&mut self.keys).into_iter().zip(states).enumerate() {
            if state != State::default() {
                let text = before.as_ref().map(|(plan, _)| super::sentence(plan, alarm, &state)).unwrap_or_default();
                self.former.insert(key.into(), Kept { seen: now, text, because: None, state });
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
        self.retire(before.as_ref(), now);
        self.trim(now);
        for alarm in 0..self.states.len() {
            self.consider(alarm, now, now);
        }
        self.due = 0;
    }

    /// What is not in the plan any more can't end by itself, and nobody can acknowledge it: it ends now. `before`: the plan
    /// that it was in, where there was one.
    fn retire(&mut self, before: Option<&(Arc<Plan>, Keys)>, now: u64) {
        for (key, kept) in &mut self.former {
            let level = kept.state.level;
            let Some(what) = kept.state.remove(now) else { continue };
            self.number += 1;
            kept.state.numbered(self.number, what);
            let of = before.and_then(|(plan, keys)| Some((plan, *keys.get(key.as_str())?)));
            let text = match of {
                Some((plan, alarm)) => super::sentence(plan, alarm, &kept.state),
                None if kept.text.is_empty() => key.clone(),
                None => kept.text.clone(),
            };
            kept.text = format!("{text}; {}", super::REMOVED);
            kept.because = None;
            let mut entry = Entry::of(self.number, self.position, key, what, &kept.state, now);
            entry.before = level;
            entry.text.clone_from(&kept.text);
            self.entries.push(entry);
            self.changes.extend(of.map(|(plan, alarm)| Change {
                plan: plan.clone(),
                alarm,
                what,
                who: String::new(),
                removed: true,
                state: kept.state.clone(),
            }));
        }
    }

    /// Forgets what was in a plan long ago, and the oldest of too many.
    fn trim(&mut self, now: u64) {
        self.former.retain(|_, kept| kept.seen.saturating_add(FORMER) > now);
        let beyond = self.former.len().saturating_sub(MOST_FORMER);
        if beyond == 0 {
            return;
        }
        let mut seen: Vec<u64> = self.former.values().map(|kept| kept.seen).collect();
        let (older, first, _) = seen.select_nth_unstable(beyond);
        let first = *first;
        // of those that are as old as the first to stay, only so many go
        let mut equal = beyond - older.iter().filter(|seen| **seen < first).count();
        self.former.retain(|_, kept| {
            let goes = kept.seen < first || kept.seen == first && equal > 0;
            equal -= usize::from(goes && kept.seen == first);
            !goes
        });
    }

    /// CLOCK_REALTIME was set, forward or back: what lasts for a time lasts as long as before. Nanoseconds.
    pub(super) fn clock_was_set(&mut self, by: i64) {
        let former = self.former.values_mut().map(|kept| &mut kept.state);
        self.states.iter_mut().chain(former).for_each(|state| state.clock_was_set(by));
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
    pub(super) fn event(&mut self, event: &AlarmEvent, now: u64) {
        self.position.next = event.sequence + 1;
        let Some(severity) = self.severity(event.alarm, event.state) else { return };
        let (level, detail, value, time) = (event.state, event.detail, event.value, event.time);
        self.transition(event.alarm, Transition { level, detail, value, severity, time }, false, now);
    }

    /// What the alarm is now, where transitions were missed.
    pub(super) fn agree(&mut self, alarm: AlarmIndex, level: u8, detail: u64, value: f64, time: u64, now: u64) {
        let Some(severity) = self.severity(alarm, level) else { return };
        self.transition(alarm, Transition { level, detail, value, severity, time }, true, now);
    }

    fn severity(&self, alarm: AlarmIndex, level: u8) -> Option<u16> {
        let plan = self.plan.as_ref()?;
        Some(plan.alarms.get(alarm)?.severity_at(plan, level).clamp(1, 1000))
    }

    fn transition(&mut self, alarm: AlarmIndex, to: Transition, inferred: bool, now: u64) {
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
                self.consider(effect, to.time, now);
            }
        }
        if let Some(what) = self.states.get_mut(alarm).and_then(|state| state.spent(to.time)) {
            self.record(alarm, what, "", to.level, to.time, inferred);
        }
    }

    /// Whether an alarm is a consequence now. That of one that is of no interest is not told. `time`: when it became so, by the
    /// controller; `now`: that of this process, which may come to it later.
    fn consider(&mut self, alarm: AlarmIndex, time: u64, now: u64) {
        let caused = self.causes.get(alarm).is_some_and(|count| *count > 0);
        let Some(state) = self.states.get_mut(alarm) else { return };
        let before = state.retain();
        let (level, what) = (state.level, state.suppress(caused, time, now));
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
        let who = who.to_owned();
        let change = Change { plan: plan.clone(), alarm, what, who, removed: false, state: state.clone() };
        self.changes.push(change);
    }

    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }
}
