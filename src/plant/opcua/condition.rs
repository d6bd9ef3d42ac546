//! An alarm as a condition (OPC 10000-9): its type, and what each of its variables and event fields says.

pub mod tell;

use std::sync::Arc;

use opcua::types::{ByteString, DateTime, LocalizedText, NodeId, ObjectTypeId, StatusCode, Variant};

use super::mapping;
use super::space::Space;
use crate::plan::{Alarm, AlarmIndex, Level, Limit, Plan};
use crate::plant::alarm::state::MOST_SHELVED;
use crate::plant::alarm::{self, Shelf, State};

/// States of the state machines (OPC 10000-9, 5.8.17 and 5.8.20), by their numbers in namespace 0.
const UNSHELVED: (&str, u32) = ("Unshelved", 2930);
const TIMED_SHELVED: (&str, u32) = ("Timed Shelved", 2932);
const ONE_SHOT_SHELVED: (&str, u32) = ("One Shot Shelved", 2933);

/// ConditionClasses (5.9).
const PROCESS: (&str, u32) = ("ProcessConditionClassType", ObjectTypeId::ProcessConditionClassType as u32);
const SYSTEM: (&str, u32) = ("SystemConditionClassType", ObjectTypeId::SystemConditionClassType as u32);

/// One condition at one moment.
#[derive(Clone, Debug)]
pub struct Condition {
    pub alarm: AlarmIndex,
    pub state: State,
    pub node: NodeId,
    pub source: NodeId,
    pub source_name: String,
    pub input: NodeId,
    pub name: String,
    pub class: (&'static str, u32),
    pub kind: u32,
    pub message: String,
    pub limit: Option<Limit>,
    /// Nanoseconds; `None`: there are none.
    pub delays: Option<(u64, u64)>,
    /// The highest that it can have.
    severity: u16,
    /// Whether the machine can be seen at all.
    pub alive: bool,
    pub id: [u8; 16],
    /// The nodes that it had, where a reload has taken it out of the configuration.
    pub gone: Option<Former>,
}

/// The nodes of a plan that holds no more.
#[derive(Clone)]
pub struct Former(pub Arc<Space>);

impl std::fmt::Debug for Former {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Former({:p})", self.0)
    }
}

/// Number of the type in namespace 0.
pub fn type_of(plan: &Plan, alarm: Alarm) -> u32 {
    let kind = match alarm {
        Alarm::Limit(limit) if plan.limits[limit].exclusive => ObjectTypeId::ExclusiveLevelAlarmType,
        Alarm::Limit(_) => ObjectTypeId::NonExclusiveLimitAlarmType,
        Alarm::OffNormal(_) => ObjectTypeId::OffNormalAlarmType,
        _ => ObjectTypeId::SystemOffNormalAlarmType,
    };
    kind as u32
}

/// The EventId of a change: the alarm, and the number of the change.
pub fn event_id(key: &str, number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&digest(key).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

/// The number of the change of this alarm that an EventId stands for.
pub fn number_of(key: &str, id: &[u8]) -> Option<u64> {
    let (of, number) = id.split_at_checked(8)?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    (*of == digest(key).to_be_bytes()).then_some(number)
}

/// FNV-1a: no secret, the same in every release.
fn digest(key: &str) -> u64 {
    key.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

fn words(text: &str) -> Variant {
    Variant::from(LocalizedText::new("en", text))
}

fn time(nanoseconds: u64) -> Variant {
    // a time that never was is the null of its type
    Variant::from(mapping::source_time(nanoseconds).filter(|_| nanoseconds != 0).unwrap_or(DateTime::null()))
}

fn milliseconds(nanoseconds: u64) -> Variant {
    Variant::Double(nanoseconds as f64 / 1e6)
}

fn number(number: u32) -> Variant {
    Variant::from(NodeId::new(0, number))
}

/// A two-state variable and what is in it.
fn two_state(rest: &str, on: bool, names: (&str, &str), changed: u64) -> Option<Variant> {
    Some(match rest {
        "" => words(if on { names.0 } else { names.1 }),
        "Id" => Variant::Boolean(on),
        "EffectiveDisplayName" => words(if on { names.0 } else { names.1 }),
        "TransitionTime" | "EffectiveTransitionTime" => time(changed),
        _ => return None,
    })
}

/// Variables of a level, and the state of an exclusive one, by numbers in namespace 0.
fn level_names(level: Level) -> (&'static str, u32) {
    match level {
        Level::HiHi => ("HighHigh", 9329),
        Level::Hi => ("High", 9331),
        Level::Lo => ("Low", 9333),
        Level::LoLo => ("LowLow", 9335),
    }
}

/// The level whose variables begin with this word.
pub fn level_of(word: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level_names(*level).0 == word)
}

impl Condition {
    pub fn new(space: &Space, alarm: AlarmIndex, state: State, alive: bool) -> Option<Condition> {
        let plan = space.plan();
        let what = *plan.alarms.get(alarm)?;
        let key = space.alarms.key(alarm);
        let (source, input) = (space.alarms.source(alarm), space.alarms.input(alarm));
        let (limit, delays) = match what {
            Alarm::Limit(at) => {
                let limit = plan.limits.get(at)?;
                (Some(limit.clone()), Some((limit.on_delay, limit.off_delay)))
            }
            Alarm::OffNormal(at) => {
                let off = plan.off_normals.get(at)?;
                (None, Some((off.on_delay, off.off_delay)))
            }
            _ => (None, None),
        };
        let configured = delays.is_some();
        Some(Condition {
            alarm,
            node: space.id(space.alarms.node(alarm)),
            source: space.id(source),
            source_name: space.source_name(source),
            input: input.map_or(NodeId::null(), |input| space.id(input)),
            name: if configured { what.subject(plan) } else { what.label().to_owned() },
            class: if configured { PROCESS } else { SYSTEM },
            kind: type_of(plan, what),
            message: alarm::sentence(plan, alarm, &state),
            limit,
            delays,
            alive,
            severity: what.severity(plan).max(1),
            id: event_id(&key, state.number),
            gone: None,
            state,
        })
    }

    /// One that is not in the configuration any more, as it was before.
    pub fn removed(space: Arc<Space>, alarm: AlarmIndex, state: State, alive: bool) -> Option<Condition> {
        let condition = Condition::new(&space, alarm, state, alive)?;
        let message = format!("{}; {}", condition.message, alarm::REMOVED);
        Some(Condition { message, gone: Some(Former(space)), ..condition })
    }

    /// 1 to 1000; of one that never was what it would be.
    pub fn severity(&self) -> u16 {
        if self.state.severity == 0 { self.severity } else { self.state.severity }
    }

    /// A variable or event field by its names joined by `/`; `None`: it has none of that name.
    pub fn field(&self, path: &str) -> Option<Variant> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if !self.state.enabled && is_silent(first) {
            return Some(Variant::StatusCode(StatusCode::BadConditionDisabled));
        }
        self.value(first, rest, path)
    }

    /// The same, whether it is disabled or not.
    pub fn value(&self, first: &str, rest: &str, path: &str) -> Option<Variant> {
        let state = &self.state;
        let times = &state.times;
        let leaf = |value: Variant| rest.is_empty().then_some(value);
        match first {
            "EventId" => leaf(Variant::from(ByteString::from(self.id.as_slice()))),
            "EventType" => leaf(number(self.kind)),
            "SourceNode" => leaf(Variant::from(self.source.clone())),
            "SourceName" => leaf(Variant::from(self.source_name.as_str())),
            "Time" | "ReceiveTime" => leaf(time(times.last)),
            "Message" => leaf(words(&self.message)),
            "Severity" => leaf(Variant::UInt16(self.severity())),
            "BranchId" => leaf(Variant::from(NodeId::null())),
            "ConditionName" => leaf(Variant::from(self.name.as_str())),
            "ConditionClassId" => leaf(number(self.class.1)),
            "ConditionClassName" => leaf(words(self.class.0)),
            "Retain" => leaf(Variant::Boolean(state.retain())),
            "ClientUserId" => leaf(Variant::from(state.comment.who.as_str())),
            "Comment" => match rest {
                "" => Some(Variant::from(LocalizedText::new(&state.comment.locale, &state.comment.text))),
                "SourceTimestamp" => Some(time(state.comment.time)),
                _ => None,
            },
            "Quality" => match rest {
                "" => Some(Variant::StatusCode(if self.alive {
                    StatusCode::Good
                } else {
                    StatusCode::BadNoCommunication
                })),
                "SourceTimestamp" => Some(time(times.last)),
                _ => None,
            },
            "LastSeverity" => match rest {
                "" => Some(Variant::UInt16(state.last_severity)),
                "SourceTimestamp" => Some(time(times.severity)),
                _ => None,
            },
            "EnabledState" if rest == "EffectiveDisplayName" => Some(words(self.effective())),
            "EnabledState" => two_state(rest, state.enabled, ("Enabled", "Disabled"), times.enabled),
            "AckedState" => two_state(rest, state.acknowledged, ("Acknowledged", "Unacknowledged"), times.acknowledged),
            "ConfirmedState" => two_state(rest, state.confirmed, ("Confirmed", "Unconfirmed"), times.confirmed),
            "ActiveState" if rest == "EffectiveDisplayName" => Some(words(&self.active_words())),
            "ActiveState" => two_state(rest, state.is_active(), ("Active", "Inactive"), times.active),
            "SuppressedState" => two_state(rest, state.suppressed, ("Suppressed", "Unsuppressed"), times.suppressed),
            "SuppressedOrShelved" => leaf(Variant::Boolean(state.suppressed_or_shelved())),
            "ShelvingState" => self.shelving(rest),
            "MaxTimeShelved" => leaf(milliseconds(MOST_SHELVED)),
            "InputNode" => leaf(Variant::from(self.input.clone())),
            // the state in which it is normal is no variable of its own
            "NormalState" => leaf(Variant::from(NodeId::null())),
            "OnDelay" => leaf(milliseconds(self.delays?.0)),
            "OffDelay" => leaf(milliseconds(self.delays?.1)),
            _ => self.limit_value(first, rest, path),
        }
    }

    fn shelving(&self, rest: &str) -> Option<Variant> {
        let (name, id) = match self.state.shelf {
            Shelf::Unshelved => UNSHELVED,
            Shelf::Timed(_) => TIMED_SHELVED,
            Shelf::OneShot(_) => ONE_SHOT_SHELVED,
        };
        Some(match rest {
            "CurrentState" => words(name),
            "CurrentState/Id" => number(id),
            "LastTransition" => words(""),
            "LastTransition/TransitionTime" => time(self.state.times.shelved),
            "UnshelveTime" => {
                let now = crate::store::clock::realtime();
                milliseconds(self.state.shelf.until().map_or(0, |until| until.saturating_sub(now)))
            }
            _ => return None,
        })
    }

    fn limit_value(&self, first: &str, rest: &str, path: &str) -> Option<Variant> {
        let limit = self.limit.as_ref()?;
        if let Some(word) = path.strip_suffix("Limit") {
            return limit.limits[level_of(word)?.index()].map(Variant::Double);
        }
        if let Some(word) = path.strip_suffix("Deadband") {
            level_of(word)?;
            return Some(Variant::Double(limit.hysteresis));
        }
        if let Some(word) = path.strip_prefix("Severity") {
            return Some(Variant::UInt16(limit.severities[level_of(word)?.index()]));
        }
        // the states of one that is not exclusive are those of its levels
        if first == "LimitState" && limit.exclusive {
            let level = Level::of(self.state.level).next().map(level_names);
            return Some(match rest {
                "CurrentState" => words(level.map_or("", |(name, _)| name)),
                "CurrentState/Id" => level.map_or(Variant::from(NodeId::null()), |(_, id)| number(id)),
                _ => return None,
            });
        }
        let level = level_of(first.strip_suffix("State")?)?;
        limit.limits[level.index()].filter(|_| !limit.exclusive)?;
        let (name, _) = level_names(level);
        let (on, off) = (format!("{name} active"), format!("{name} inactive"));
        two_state(rest, self.state.level & level.bit() != 0, (&on, &off), self.state.times.last)
    }

    fn active_words(&self) -> String {
        if !self.state.is_active() {
            return "Inactive".into();
        }
        match &self.limit {
            Some(_) => {
                let levels: Vec<&str> = Level::of(self.state.level).map(|level| level_names(level).0).collect();
                format!("Active/{}", levels.join("/"))
            }
            None => "Active".into(),
        }
    }

    /// What matters of all the states (5.5.2).
    fn effective(&self) -> &'static str {
        let state = &self.state;
        match (state.enabled, state.shelf, state.suppressed, state.is_active(), state.acknowledged) {
            (false, ..) => "Disabled",
            (_, Shelf::Timed(_) | Shelf::OneShot(_), ..) => "Shelved",
            (_, _, true, ..) => "Suppressed",
            (_, _, _, true, true) => "Active, acknowledged",
            (_, _, _, true, false) => "Active, unacknowledged",
            (_, _, _, false, true) => "Inactive",
            (_, _, _, false, false) => "Inactive, unacknowledged",
        }
    }
}

/// Whether a variable of a condition says the same as long as the configuration does.
pub fn is_constant(path: &str) -> bool {
    let of_its_own = [
        "EventType",
        "SourceNode",
        "SourceName",
        "BranchId",
        "ConditionName",
        "ConditionClassId",
        "ConditionClassName",
        "InputNode",
        "NormalState",
        "MaxTimeShelved",
        "OnDelay",
        "OffDelay",
    ];
    let of_level = path.strip_suffix("Limit").or_else(|| path.strip_suffix("Deadband"));
    let of_level = of_level.or_else(|| path.strip_prefix("Severity")).and_then(level_of);
    of_its_own.contains(&path) || of_level.is_some()
}

/// Whether a variable says nothing while the condition is disabled (5.5.2).
fn is_silent(first: &str) -> bool {
    matches!(
        first,
        "AckedState"
            | "ConfirmedState"
            | "ActiveState"
            | "SuppressedState"
            | "SuppressedOrShelved"
            | "ShelvingState"
            | "LimitState"
            | "HighHighState"
            | "HighState"
            | "LowState"
            | "LowLowState"
            | "Quality"
            | "LastSeverity"
    )
}

#[cfg(test)]
mod tests;
