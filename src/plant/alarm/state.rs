//! One alarm as the plant keeps it: acknowledged, confirmed, shelved and so on (OPC 10000-9, 5.5 to 5.8). A pure state machine:
//! time, who and what happened come in, whether something has changed goes out.

mod outlive;

use serde::{Deserialize, Serialize};

use crate::plant::text;

/// An alarm that had this severity when it was to be acknowledged wants to be confirmed too: the machine could not do its work.
pub const CONFIRM_FROM: u16 = 801;
/// The longest that an alarm may be shelved, in nanoseconds (MaxTimeShelved).
pub const MOST_SHELVED: u64 = 24 * 3600 * 1_000_000_000;
/// An alarm that turns out to be a consequence within this time after it was raised needs nobody of its own. Nanoseconds.
const TOGETHER: u64 = 5_000_000_000;
/// A consequence outlasts the end of its cause by so much before it counts by itself: the first frame must come. Nanoseconds.
const AFTERMATH: u64 = 3_000_000_000;
/// Bytes of a comment.
pub const MOST_COMMENT: usize = 1024;

/// Shelved or not (the states of ShelvedStateMachineType, 5.8.17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shelf {
    #[default]
    Unshelved,
    /// Until then. CLOCK_REALTIME nanoseconds.
    Timed(u64),
    /// Until it ends, and no longer than until then.
    OneShot(u64),
}

impl Shelf {
    /// CLOCK_REALTIME nanoseconds.
    pub fn until(self) -> Option<u64> {
        match self {
            Shelf::Unshelved => None,
            Shelf::Timed(until) | Shelf::OneShot(until) => Some(until),
        }
    }
}

/// What somebody has said about an alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub text: String,
    pub locale: String,
    /// User name; empty: nobody has said anything yet.
    pub who: String,
    /// CLOCK_REALTIME nanoseconds.
    pub time: u64,
}

/// When each part changed last. CLOCK_REALTIME nanoseconds; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    pub enabled: u64,
    pub active: u64,
    pub acknowledged: u64,
    pub confirmed: u64,
    pub suppressed: u64,
    pub shelved: u64,
    pub severity: u64,
    /// Of the last change of any kind.
    pub last: u64,
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub enabled: bool,
    pub acknowledged: bool,
    pub confirmed: bool,
    /// An alarm of which this one is a consequence is active.
    pub suppressed: bool,
    pub shelf: Shelf,
    pub comment: Comment,
    /// As the controller has it: 0 is not active, a limit has one bit for each level.
    pub level: u8,
    pub detail: u64,
    /// The value that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub severity: u16,
    pub last_severity: u16,
    /// The highest severity of what has not been acknowledged yet, or was last.
    pub worst: u16,
    /// Number of the last change; the second half of its EventId.
    pub number: u64,
    /// Changes from this one on may be acknowledged: those before tell of another state.
    pub current: u64,
    pub times: Times,
    /// Since when no cause is active any more while it is still suppressed. CLOCK_REALTIME nanoseconds; 0: one is.
    pub alone_since: u64,
}

impl Default for State {
    fn default() -> State {
        State {
            enabled: true,
            acknowledged: true,
            confirmed: true,
            suppressed: false,
            shelf: Shelf::Unshelved,
            comment: Comment::default(),
            level: 0,
            detail: 0,
            value: None,
            severity: 0,
            last_severity: 0,
            worst: 0,
            number: 0,
            current: 0,
            times: Times::default(),
            alone_since: 0,
        }
    }
}

/// What a person can do with an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Enable,
    Disable,
    /// `number`: the change that is meant, [`State::number`] when it was told.
    Acknowledge {
        number: u64,
        comment: Option<Said>,
    },
    Confirm {
        number: u64,
        comment: Option<Said>,
    },
    Comment {
        number: u64,
        comment: Option<Said>,
    },
    /// For so many nanoseconds.
    TimedShelve(u64),
    OneShotShelve,
    Unshelve,
}

/// A text with its locale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub locale: String,
}

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no such alarm")]
    Unknown,
    #[error("the event is not known, or the alarm has changed since")]
    EventUnknown,
    #[error("the alarm is enabled already")]
    AlreadyEnabled,
    #[error("the alarm is disabled already")]
    AlreadyDisabled,
    #[error("the alarm is disabled")]
    Disabled,
    #[error("the alarm is acknowledged already")]
    AlreadyAcknowledged,
    #[error("the alarm is confirmed already, or needs not to be")]
    AlreadyConfirmed,
    #[error("the alarm is shelved so already")]
    AlreadyShelved,
    #[error("the alarm is not shelved")]
    NotShelved,
    #[error("an alarm is shelved for more than nothing and at most a day")]
    ShelvingTime,
    #[error("a comment has at most {MOST_COMMENT} bytes")]
    CommentTooLong,
}

/// What has happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Raised,
    /// Another level while it is active.
    Changed,
    Ended,
    Acknowledged,
    Confirmed,
    Commented,
    Enabled,
    Disabled,
    Shelved,
    Unshelved,
    Suppressed,
    Unsuppressed,
}

impl What {
    /// For people, after the name of the alarm.
    pub fn text(self) -> &'static str {
        match self {
            What::Raised => "raised",
            What::Changed => "changed",
            What::Ended => "ended",
            What::Acknowledged => "acknowledged",
            What::Confirmed => "confirmed",
            What::Commented => "commented",
            What::Enabled => "enabled",
            What::Disabled => "disabled",
            What::Shelved => "shelved",
            What::Unshelved => "unshelved",
            What::Suppressed => "is a consequence",
            What::Unsuppressed => "is no consequence any more",
        }
    }
}

/// A change of the machine's side of an alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    pub level: u8,
    pub detail: u64,
    /// NaN: none.
    pub value: f64,
    pub severity: u16,
    /// CLOCK_REALTIME nanoseconds.
    pub time: u64,
}

impl State {
    pub fn is_active(&self) -> bool {
        self.level != 0
    }

    /// Whether somebody who has missed everything wants to know of it (Retain, 5.5.2): it is active, or somebody must still do
    /// something about it.
    pub fn retain(&self) -> bool {
        self.enabled && (self.is_active() || !self.acknowledged || !self.confirmed)
    }

    /// Whether it is to be seen by whoever looks after the machine.
    pub fn suppressed_or_shelved(&self) -> bool {
        self.suppressed || self.shelf != Shelf::Unshelved
    }

    /// What people have done about it and have yet to do, in words.
    pub fn handled(&self) -> String {
        if !self.enabled {
            return "disabled".into();
        }
        let said = &self.comment;
        let mut words: Vec<String> = vec![match (self.acknowledged, self.confirmed) {
            (false, _) => "unacknowledged".into(),
            (true, false) => "acknowledged, to be confirmed".into(),
            (true, true) => "acknowledged".into(),
        }];
        match self.shelf {
            Shelf::Unshelved => {}
            Shelf::Timed(until) => words.push(format!("shelved until {}", text::time(until))),
            Shelf::OneShot(_) => words.push("shelved until it is over".into()),
        }
        if !said.text.is_empty() {
            words.push(format!("{}: {}", said.who, said.text));
        }
        words.join(" · ")
    }

    /// The controller has changed it. `None`: it was so already.
    pub fn transition(&mut self, to: Transition) -> Option<What> {
        let before = self.level;
        if before == to.level {
            return None;
        }
        self.level = to.level;
        self.detail = to.detail;
        self.value = (!to.value.is_nan()).then_some(to.value);
        let what = match (before, to.level) {
            (0, _) => What::Raised,
            (_, 0) => What::Ended,
            _ => What::Changed,
        };
        if what != What::Ended {
            let worse = to.severity > self.severity;
            if to.severity != self.severity {
                self.last_severity = self.severity;
                self.severity = to.severity;
                self.times.severity = to.time;
            }
            // a consequence needs nobody, nor does what is disabled; what got worse needs somebody again
            if self.enabled && !self.suppressed && (what == What::Raised || worse) {
                self.wants_acknowledgement(to.time);
            }
        }
        if what != What::Changed {
            self.times.active = to.time;
        }
        self.times.last = to.time;
        Some(what)
    }

    fn wants_acknowledgement(&mut self, time: u64) {
        self.note_severity();
        if self.acknowledged {
            self.times.acknowledged = time;
        }
        if !self.confirmed {
            self.times.confirmed = time;
        }
        (self.acknowledged, self.confirmed) = (false, true);
    }

    /// What is to be acknowledged has this severity now. A value that comes back from far beyond passes a lower level, and was
    /// there all the same.
    pub(super) fn note_severity(&mut self) {
        self.worst = if self.acknowledged { self.severity } else { self.worst.max(self.severity) };
    }

    /// An alarm that this one follows from is active, or none is. `None`: nothing to be told. `time`: when it became so;
    /// `now`: the clock of this process, by which [`State::expire`] counts.
    pub fn suppress(&mut self, caused: bool, time: u64, now: u64) -> Option<What> {
        match (self.suppressed, caused) {
            (true, true) => self.alone_since = 0,
            (true, false) if self.alone_since == 0 => {
                // a time by another clock, from before it was set, would end it at once or never
                let recent = (time..=time.saturating_add(AFTERMATH)).contains(&now);
                self.alone_since = if recent { time } else { now }.max(1);
            }
            (false, true) => {
                self.suppressed = true;
                self.alone_since = 0;
                self.times.suppressed = time;
                let together = (self.times.active..=self.times.active.saturating_add(TOGETHER)).contains(&time);
                if self.is_active() && together && !self.acknowledged {
                    self.acknowledged = true;
                    self.times.acknowledged = time;
                }
                self.times.last = time;
                return Some(What::Suppressed);
            }
            _ => {}
        }
        None
    }

    /// When time alone changes something next. CLOCK_REALTIME nanoseconds.
    pub fn due(&self) -> Option<u64> {
        let alone = (self.suppressed && self.alone_since != 0).then(|| self.alone_since.saturating_add(AFTERMATH));
        self.shelf.until().into_iter().chain(alone).min()
    }

    /// What time alone changes; to be asked until there is nothing more.
    pub fn expire(&mut self, now: u64) -> Option<What> {
        // the clock may have been set back while nobody ran
        let ahead = self.alone_since > now;
        if self.suppressed && self.alone_since != 0 && (ahead || self.alone_since.saturating_add(AFTERMATH) <= now) {
            self.suppressed = false;
            self.alone_since = 0;
            self.times.suppressed = now;
            self.times.last = now;
            if self.is_active() {
                // it has outlasted its cause, so it is not its consequence
                self.wants_acknowledgement(now);
            }
            return Some(What::Unsuppressed);
        }
        if self.shelf.until().is_some_and(|until| until <= now) {
            self.unshelve(now);
            return Some(What::Unshelved);
        }
        None
    }

    /// One shot is over with the alarm (5.8.17.5).
    pub fn spent(&mut self, now: u64) -> Option<What> {
        let spent = matches!(self.shelf, Shelf::OneShot(_)) && !self.is_active();
        spent.then(|| {
            self.unshelve(now);
            What::Unshelved
        })
    }

    fn unshelve(&mut self, now: u64) {
        self.shelf = Shelf::Unshelved;
        self.times.shelved = now;
        self.times.last = now;
    }

    /// Somebody does something. Nothing has changed where it is refused.
    pub fn operate(&mut self, operation: &Operation, who: &str, now: u64) -> Result<What, Refused> {
        let what = match operation {
            Operation::Enable if self.enabled => return Err(Refused::AlreadyEnabled),
            Operation::Enable => {
                (self.enabled, self.times.enabled) = (true, now);
                if self.is_active() && !self.suppressed {
                    self.wants_acknowledgement(now);
                }
                What::Enabled
            }
            Operation::Disable if !self.enabled => return Err(Refused::AlreadyDisabled),
            Operation::Disable => {
                (self.enabled, self.times.enabled) = (false, now);
                What::Disabled
            }
            _ if !self.enabled => return Err(Refused::Disabled),
            Operation::Acknowledge { number, comment } => {
                self.meant(*number)?;
                if self.acknowledged {
                    return Err(Refused::AlreadyAcknowledged);
                }
                self.say(comment.as_ref(), who, now)?;
                (self.acknowledged, self.times.acknowledged) = (true, now);
                if self.severity.max(self.worst) >= CONFIRM_FROM {
                    (self.confirmed, self.times.confirmed) = (false, now);
                }
                What::Acknowledged
            }
            Operation::Confirm { number, comment } => {
                self.meant(*number)?;
                if self.confirmed {
                    return Err(Refused::AlreadyConfirmed);
                }
                self.say(comment.as_ref(), who, now)?;
                (self.confirmed, self.times.confirmed) = (true, now);
                What::Confirmed
            }
            Operation::Comment { number, comment } => {
                self.meant(*number)?;
                self.say(comment.as_ref(), who, now)?;
                What::Commented
            }
            Operation::TimedShelve(duration) => {
                if matches!(self.shelf, Shelf::Timed(_)) {
                    return Err(Refused::AlreadyShelved);
                }
                if *duration == 0 || *duration > MOST_SHELVED {
                    return Err(Refused::ShelvingTime);
                }
                (self.shelf, self.times.shelved) = (Shelf::Timed(now.saturating_add(*duration)), now);
                What::Shelved
            }
            Operation::OneShotShelve => {
                if matches!(self.shelf, Shelf::OneShot(_)) {
                    return Err(Refused::AlreadyShelved);
                }
                (self.shelf, self.times.shelved) = (Shelf::OneShot(now.saturating_add(MOST_SHELVED)), now);
                What::Shelved
            }
            Operation::Unshelve if self.shelf == Shelf::Unshelved => return Err(Refused::NotShelved),
            Operation::Unshelve => {
                self.unshelve(now);
                What::Unshelved
            }
        };
        self.times.last = now;
        Ok(what)
    }

    /// That a person has seen the state that there is now.
    fn meant(&self, number: u64) -> Result<(), Refused> {
        if number == 0 || number < self.current || number > self.number { Err(Refused::EventUnknown) } else { Ok(()) }
    }

    /// Nothing said leaves what was said (5.5.6, 5.7.3).
    fn say(&mut self, said: Option<&Said>, who: &str, now: u64) -> Result<(), Refused> {
        let Some(Said { text, locale }) = said else { return Ok(()) };
        if text.len() > MOST_COMMENT || locale.len() > MOST_COMMENT {
            return Err(Refused::CommentTooLong);
        }
        self.comment = Comment { text: text.clone(), locale: locale.clone(), who: who.to_owned(), time: now };
        Ok(())
    }

    /// A change has got its number. What the machine did makes earlier ones stale, what people did does not.
    pub fn numbered(&mut self, number: u64, what: What) {
        self.number = number;
        if matches!(what, What::Raised | What::Changed | What::Ended | What::Enabled | What::Unsuppressed) {
            self.current = number;
        }
    }
}

#[cfg(test)]
mod tests;
