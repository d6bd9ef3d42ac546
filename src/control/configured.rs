//! Alarms that the configuration names: values beyond limits, with hysteresis and delays, and conditions that should not hold.
//!
//! A value that is not good raises none and ends none: that it is not good is another alarm. What had to last for some time
//! begins anew then.

use std::sync::Arc;

use super::authority::Authority;
use super::due::Due;
use super::receive::Inputs;
use super::{Now, condition};
use crate::dbc;
use crate::plan::{
    AlarmIndex, Condition, Direction, Level, Limit, MessageIndex, OffNormal, Plan, Succession, TagIndex,
};
use crate::quality::{Cause, Causes};
use crate::sample;
use crate::store::{Writer, clock};

/// Timers of an alarm, one for each level; conditions have the first.
const TIMERS: usize = Level::ALL.len();

/// What is said about one of our outputs, and does not make the value another than the one that is sent.
const OF_OUTPUTS: Causes = Causes::of(Cause::Fallback).with(Cause::Interlocked).with(Cause::Substituted);

pub(super) struct Configured {
    items: Box<[Item]>,
    /// Where the first of them is among the alarms of the plan; the others follow.
    first: AlarmIndex,
    /// By message of the plan: those that look at it.
    of: Box<[Box<[usize]>]>,
    due: Due,
}

struct Item {
    alarm: AlarmIndex,
    what: What,
    /// Bits of what has lasted for long enough: levels of a limit, or 1.
    raised: u8,
    /// The last good value.
    value: f64,
    /// What hangs on it knows whether it lasts.
    told: bool,
}

enum What {
    Limit(Limit, Source),
    OffNormal(OffNormal, Box<[Source]>),
}

/// Where the value of a tag is.
enum Source {
    Received {
        tag: TagIndex,
        source_address: Option<u8>,
    },
    /// What we say ourselves.
    Sent {
        tag: TagIndex,
        message: Arc<dbc::Message>,
        signal: usize,
        record: usize,
    },
}

/// What alarms are decided from, and whom they concern.
pub(super) struct Means<'a> {
    pub inputs: &'a Inputs,
    pub authority: &'a mut Authority,
    pub store: &'a mut Writer,
}

impl Configured {
    /// Nothing is raised.
    pub fn new(plan: &Plan) -> Configured {
        let first = plan.alarms.len() - plan.limits.len() - plan.off_normals.len();
        let limits = plan.limits.iter().map(|limit| {
            let source = Source::new(plan, limit.tag, limit.source_address);
            What::Limit(limit.clone(), source)
        });
        let off_normals = plan.off_normals.iter().map(|alarm| {
            let sources = alarm.when.iter().map(|when| Source::new(plan, when.tag, when.source_address));
            What::OffNormal(alarm.clone(), sources.collect())
        });
        let items: Box<[Item]> = limits
            .chain(off_normals)
            .enumerate()
            .map(|(at, what)| Item { alarm: first + at, what, raised: 0, value: f64::NAN, told: false })
            .collect();
        let mut of: Vec<Vec<usize>> = vec![Vec::new(); plan.messages.len()];
        for (at, item) in items.iter().enumerate() {
            for tag in item.tags() {
                let looks = &mut of[plan.tags[tag].message];
                if !looks.contains(&at) {
                    looks.push(at);
                }
            }
        }
        Configured {
            due: Due::new(items.len() * TIMERS),
            items,
            first,
            of: of.into_iter().map(Vec::into_boxed_slice).collect(),
        }
    }

    /// Goes on with the alarms that both plans have, as long as they have lasted; all are looked at, the new ones for the
    /// first time. Store and authority have adopted.
    pub fn adopt(&mut self, old: &Configured, succession: &Succession, now: Now, means: &mut Means<'_>) {
        for at in 0..self.items.len() {
            let item = &mut self.items[at];
            let before = succession.alarms[item.alarm].and_then(|alarm| alarm.checked_sub(old.first));
            if let Some(before) = before {
                (item.raised, item.value) = (old.items[before].raised, old.items[before].value);
                for timer in 0..TIMERS {
                    self.due.set(at * TIMERS + timer, old.due.get(before * TIMERS + timer));
                }
            }
            let again = succession.redefined[item.alarm].and_then(|alarm| alarm.checked_sub(old.first));
            if let Some(before) = again {
                item.redefined(old.items[before].raised, means);
            }
            self.look_at(at, now, now.realtime, means);
        }
    }

    /// A message has come, or one of ours says something else: whatever looks at it. `source_time`: of the frame that decided,
    /// CLOCK_REALTIME nanoseconds; 0 where none did.
    pub fn look(&mut self, now: Now, source_time: u64, message: MessageIndex, means: &mut Means<'_>) {
        for at in 0..self.of[message].len() {
            let time = clock::known(source_time).unwrap_or(now.realtime);
            self.look_at(self.of[message][at], now, time, means);
        }
    }

    /// Whether something looks at a message.
    pub fn looks_at(&self, message: MessageIndex) -> bool {
        !self.of[message].is_empty()
    }

    /// Raises and ends what has lasted for long enough.
    pub fn timer(&mut self, now: Now, means: &mut Means<'_>) {
        while let Some((timer, moment)) = self.due.take(now.monotonic) {
            self.lasted(timer, moment, now, means);
        }
    }

    /// When [`Configured::timer`] is wanted, CLOCK_MONOTONIC nanoseconds.
    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    fn look_at(&mut self, at: usize, now: Now, time: u64, means: &mut Means<'_>) {
        // what had lasted before this moment counts, also where the timer is late
        for timer in at * TIMERS..(at + 1) * TIMERS {
            let moment = self.due.get(timer);
            if moment <= now.monotonic {
                self.due.set(timer, u64::MAX);
                self.lasted(timer, moment, now, means);
            }
        }
        let item = &mut self.items[at];
        let (on_delay, off_delay) = item.delays();
        let found = item.beyond(means);
        // nobody knows how long it lasts
        let beyond = found.unwrap_or(item.raised);
        for (place, level) in Level::ALL.into_iter().enumerate() {
            let (timer, bit) = (at * TIMERS + place, level.bit());
            let on = beyond & bit != 0;
            if on == (self.items[at].raised & bit != 0) {
                if self.due.get(timer) != u64::MAX {
                    self.due.set(timer, u64::MAX);
                }
                continue;
            }
            match if on { on_delay } else { off_delay } {
                0 => {
                    self.due.set(timer, u64::MAX);
                    self.items[at].raised ^= bit;
                }
                delay if self.due.get(timer) == u64::MAX => self.due.set(timer, now.monotonic.saturating_add(delay)),
                _ => {}
            }
        }
        self.tell(at, now, time, means);
        if found.is_some_and(|beyond| beyond & !self.items[at].raised == 0) {
            self.told(at, now, means);
        }
    }

    /// It is known whether it lasts, what is beyond a limit having lasted for its time.
    fn told(&mut self, at: usize, now: Now, means: &mut Means<'_>) {
        if !std::mem::replace(&mut self.items[at].told, true) {
            means.authority.alarm_told(now, self.items[at].alarm, means.store);
        }
    }

    /// A level lasted for its time, which ended at this moment (CLOCK_MONOTONIC nanoseconds).
    fn lasted(&mut self, timer: usize, moment: u64, now: Now, means: &mut Means<'_>) {
        let (at, place) = (timer / TIMERS, timer % TIMERS);
        self.items[at].raised ^= 1 << place;
        let time = now.realtime.saturating_sub(now.monotonic.saturating_sub(moment));
        self.tell(at, now, time, means);
        self.told(at, now, means);
    }

    /// Puts the state into the store, and tells the outputs that fall back on it.
    fn tell(&mut self, at: usize, now: Now, time: u64, means: &mut Means<'_>) {
        let item = &self.items[at];
        let state = match &item.what {
            What::Limit(limit, _) => limit.state(item.raised),
            What::OffNormal(..) => item.raised,
        };
        if means.store.alarm_now(item.alarm) != state {
            means.store.alarm_state(item.alarm, state, 0, item.value, time);
            means.authority.alarmed(now, item.alarm, state, means.store);
        }
    }
}

impl Item {
    fn tags(&self) -> impl Iterator<Item = TagIndex> + '_ {
        let (one, more): (_, &[Condition]) = match &self.what {
            What::Limit(limit, _) => (Some(limit.tag), &[]),
            What::OffNormal(alarm, _) => (None, &alarm.when),
        };
        one.into_iter().chain(more.iter().map(|when| when.tag))
    }

    /// Nanoseconds to be raised and to end.
    fn delays(&self) -> (u64, u64) {
        match &self.what {
            What::Limit(limit, _) => (limit.on_delay, limit.off_delay),
            What::OffNormal(alarm, _) => (alarm.on_delay, alarm.off_delay),
        }
    }

    /// Its limits are others since a reload. What was raised and is beyond these too does not begin its delay anew: for that time
    /// outputs that hang on it could be armed. It ends by the new hysteresis, as if it had been raised by these limits. Of a value
    /// that is not good nobody knows, and it stays.
    fn redefined(&mut self, raised: u8, means: &Means<'_>) {
        let there = match &self.what {
            What::Limit(limit, _) => Level::ALL.into_iter().filter(|level| limit.limits[level.index()].is_some()),
            What::OffNormal(..) => return self.raised = raised & self.beyond(means).unwrap_or(1),
        };
        let there = there.fold(0, |bits, level| bits | level.bit());
        self.raised = raised & there;
        self.raised &= self.beyond(means).unwrap_or(there);
    }

    /// The levels that the value is beyond now, or 1 while the conditions hold; `None` where it can't be told.
    fn beyond(&mut self, means: &Means<'_>) -> Option<u8> {
        match &self.what {
            What::Limit(limit, source) => {
                // what is outside the DBC's range may be beyond a limit all the same, and is no sign that all is well
                let (value, causes) = source.value(means, OF_OUTPUTS.with(Cause::OutOfRange))?;
                self.value = value;
                let stays = if causes.contains(Cause::OutOfRange) { self.raised } else { 0 };
                Some(limit.beyond(value, self.raised) | stays)
            }
            What::OffNormal(alarm, sources) => {
                let values = || sources.iter().map(|source| Some(source.value(means, OF_OUTPUTS)?.0));
                let told = condition::told(alarm.when.iter().zip(values()));
                self.value = values().next().flatten().unwrap_or(f64::NAN);
                told.map(u8::from)
            }
        }
    }
}

impl Source {
    fn new(plan: &Plan, tag: TagIndex, source_address: Option<u8>) -> Source {
        let planned = &plan.messages[plan.tags[tag].message];
        match planned.direction {
            Direction::Input(_) => Source::Received { tag, source_address },
            Direction::Output(_) => {
                let signal = plan.tags[tag].signal;
                let group = planned.message.signals[signal].group;
                Source::Sent { tag, message: planned.message.clone(), signal, record: planned.record(0, group) }
            }
        }
    }

    /// The value and all its causes, where nothing is wrong with it but what does not count here.
    fn value(&self, means: &Means<'_>, except: Causes) -> Option<(f64, Causes)> {
        let sample = match self {
            Source::Received { tag, source_address } => means.inputs.sample(means.store, *tag, *source_address),
            // it says this whether its bus takes it or not
            Source::Sent { tag, message, signal, record } => {
                let marks = means.store.marks(*tag).causes();
                sample::decode(message, *signal, &means.store.load(*record), marks)
            }
        };
        let good = Causes::from_bits(sample.causes.bits() & !except.bits()).is_good();
        sample.value.filter(|value| good && value.is_finite()).map(|value| (value, sample.causes))
    }
}
