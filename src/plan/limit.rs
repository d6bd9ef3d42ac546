//! Alarms that the configuration names: values beyond limits, and conditions that should not hold.

use super::{Condition, TagIndex};

/// One limit of a value: its bit in the state of a [`super::Alarm::Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    LoLo = 1,
    Lo = 2,
    Hi = 4,
    HiHi = 8,
}

impl Level {
    /// From the lowest limit to the highest; index by [`Level::index`].
    pub const ALL: [Level; 4] = [Level::LoLo, Level::Lo, Level::Hi, Level::HiHi];

    pub fn bit(self) -> u8 {
        self as u8
    }

    pub fn index(self) -> usize {
        match self {
            Level::LoLo => 0,
            Level::Lo => 1,
            Level::Hi => 2,
            Level::HiHi => 3,
        }
    }

    /// As a configuration writes it.
    pub fn word(self) -> &'static str {
        match self {
            Level::LoLo => "lolo",
            Level::Lo => "lo",
            Level::Hi => "hi",
            Level::HiHi => "hihi",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Level::LoLo => "very low",
            Level::Lo => "low",
            Level::Hi => "high",
            Level::HiHi => "very high",
        }
    }

    /// The levels of a state, the most extreme first.
    pub fn of(state: u8) -> impl Iterator<Item = Level> {
        [Level::HiHi, Level::LoLo, Level::Hi, Level::Lo].into_iter().filter(move |level| state & level.bit() != 0)
    }

    fn is_high(self) -> bool {
        matches!(self, Level::Hi | Level::HiHi)
    }
}

/// Limits of one value (OPC 10000-9, 5.8.18 to 5.8.20).
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The name in `[alarm.NAME]`.
    pub name: String,
    pub tag: TagIndex,
    /// J1939: the source address that counts; `None` for all others.
    pub source_address: Option<u8>,
    /// In the signal's unit, by [`Level::index`]; at least one, rising.
    pub limits: [Option<f64>; 4],
    /// In the signal's unit: by so much the value must come back before a level ends. Not negative.
    pub hysteresis: f64,
    /// Nanoseconds that a level must last before it is raised, and be over before it ends.
    pub on_delay: u64,
    pub off_delay: u64,
    /// One level at a time, the most extreme; otherwise HiHi and Hi together.
    pub exclusive: bool,
    /// 1 to 1000, by [`Level::index`].
    pub severities: [u16; 4],
    /// One sentence for people.
    pub text: String,
    pub area: Option<String>,
}

impl Limit {
    /// The highest severity among the levels of a state that there are limits for; 1 where there is none.
    pub fn severity_at(&self, state: u8) -> u16 {
        let levels = Level::of(state).filter(|level| self.limits[level.index()].is_some());
        levels.map(|level| self.severities[level.index()]).max().unwrap_or(1)
    }

    /// The bits of the levels that a value is beyond, given those that are raised: these end a hysteresis later. A value at
    /// a limit is beyond it.
    pub fn beyond(&self, value: f64, raised: u8) -> u8 {
        Level::ALL.into_iter().fold(0, |bits, level| {
            let Some(limit) = self.limits[level.index()] else { return bits };
            let back = if raised & level.bit() != 0 { self.hysteresis } else { 0.0 };
            let beyond = match level.is_high() {
                true if back > 0.0 => value > limit - back,
                true => value >= limit,
                false if back > 0.0 => value < limit + back,
                false => value <= limit,
            };
            bits | if beyond { level.bit() } else { 0 }
        })
    }

    /// The state for levels: with `exclusive` the most extreme alone.
    pub fn state(&self, levels: u8) -> u8 {
        if self.exclusive { Level::of(levels).next().map_or(0, Level::bit) } else { levels }
    }
}

/// Conditions that should not hold together (OPC 10000-9, 5.8.23).
#[derive(Clone, Debug, PartialEq)]
pub struct OffNormal {
    /// The name in `[alarm.NAME]`.
    pub name: String,
    /// Active while all hold.
    pub when: Vec<Condition>,
    /// Nanoseconds that they must hold before it is raised, and not hold before it ends.
    pub on_delay: u64,
    pub off_delay: u64,
    /// 1 to 1000.
    pub severity: u16,
    /// One sentence for people.
    pub text: String,
    pub area: Option<String>,
}
