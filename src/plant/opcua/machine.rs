//! The machine itself as variables: armed, Remote, forces, alarms; beside the buses, in `Canvoy.Machine`.

use opcua::types::{DataTypeId, StatusCode, Variant};

use super::mapping;
use super::space::{Node, condition};
use crate::command::{Action, latch_words};
use crate::plan::{AlarmIndex, TagIndex};
use crate::plant::{View, active};
use crate::quality::{Cause, Causes};
use crate::sample::Sample;
use crate::store::clock;
use crate::store::layout::{MessageWord, Word};

/// One variable, in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// How many alarms are active: UInt32.
    ActiveAlarms,
    /// Them in words, `subject: what is wrong`: String array.
    Alarms,
    /// Boolean. Writing true arms, false disarms.
    Armed,
    /// Boolean: a time service keeps the clock of the machine.
    ClockSynchronized,
    /// [`View::hash`]: String.
    ConfigurationHash,
    /// [`View::since`]: DateTime.
    ConfigurationTime,
    /// Messages that have their fallback values and why, `bus.Message: reasons`: String array.
    FallbackReasons,
    /// How many signals are forced: UInt32.
    Forces,
    /// Boolean: the plant may write, arm, force and switch. Switched at the machine.
    Remote,
}

impl State {
    pub const ALL: [State; 9] = [
        State::ActiveAlarms,
        State::Alarms,
        State::Armed,
        State::ClockSynchronized,
        State::ConfigurationHash,
        State::ConfigurationTime,
        State::FallbackReasons,
        State::Forces,
        State::Remote,
    ];

    pub fn name(self) -> &'static str {
        match self {
            State::ActiveAlarms => "ActiveAlarms",
            State::Alarms => "Alarms",
            State::Armed => "Armed",
            State::ClockSynchronized => "ClockSynchronized",
            State::ConfigurationHash => "ConfigurationHash",
            State::ConfigurationTime => "ConfigurationTime",
            State::FallbackReasons => "FallbackReasons",
            State::Forces => "Forces",
            State::Remote => "Remote",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            State::ActiveAlarms => "Number of active alarms.",
            State::Alarms => "Active alarms in words.",
            State::Armed => {
                "Whether the outputs are armed; if not, they have their fallback values. Writing true arms, writing false disarms."
            }
            State::ClockSynchronized => {
                "Whether a time service keeps the clock of the machine. Not available where the kernel does not say."
            }
            State::ConfigurationHash => "SHA-256 of the configuration and DBC files in force, hexadecimal.",
            State::ConfigurationTime => "When that configuration was put in force.",
            State::FallbackReasons => "Messages that have their fallback values, and why.",
            State::Forces => "Number of signals that are forced by an operator.",
            State::Remote => {
                "Whether the plant may write, arm, force and switch. In Local it may only disarm, release and take outputs to fallback. Switched at the machine."
            }
        }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            State::ActiveAlarms | State::Forces => DataTypeId::UInt32,
            State::Alarms | State::ConfigurationHash | State::FallbackReasons => DataTypeId::String,
            State::ConfigurationTime => DataTypeId::DateTime,
            State::Armed | State::ClockSynchronized | State::Remote => DataTypeId::Boolean,
        }
    }

    pub fn is_array(self) -> bool {
        matches!(self, State::Alarms | State::FallbackReasons)
    }

    pub fn is_writable(self) -> bool {
        self == State::Armed
    }

    /// The present value, with a sample that has its quality. `sees`: whether whoever asks may know of a node; lists and
    /// counts leave out the others. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn value(self, view: &View, sees: impl Fn(Node) -> bool, now: u64) -> (Variant, Sample) {
        let View { plan, reader, .. } = view;
        let clock = reader.clock();
        let sees_alarm = |alarm: AlarmIndex| sees(Node::Condition(condition::Part::Alarm(alarm)));
        let value = match self {
            State::ActiveAlarms => {
                let active = (0..plan.alarms.len()).filter(|alarm| reader.alarm(*alarm).active && sees_alarm(*alarm));
                Variant::UInt32(u32::try_from(active.count()).unwrap_or(u32::MAX))
            }
            State::Forces => forces_seen(view, |tag| sees(Node::Signal(tag, None))),
            State::Armed => Variant::Boolean(reader.get(Word::Armed) == 1),
            State::ClockSynchronized => clock.map_or(Variant::Empty, |clock| Variant::Boolean(clock.synchronized)),
            State::Remote => Variant::Boolean(reader.get(Word::Remote) == 1),
            State::ConfigurationHash => Variant::from(view.hash.clone()),
            State::ConfigurationTime => mapping::source_time(view.since).map_or(Variant::Empty, Variant::from),
            State::FallbackReasons => {
                let latched = (0..plan.messages.len()).filter_map(|message| {
                    if !sees(Node::Message(message, None)) {
                        return None;
                    }
                    let latches = reader.message(message, MessageWord::Latched);
                    (latches != 0).then(|| format!("{}: {}", plan.message_name(message, None), latch_words(latches)))
                });
                Variant::from(latched.collect::<Vec<String>>())
            }
            State::Alarms => {
                let alarms = active::take(plan, reader).into_iter().filter(|alarm| sees_alarm(alarm.alarm));
                let words = alarms.map(|alarm| format!("{}: {}", alarm.subject, alarm.text));
                Variant::from(words.collect::<Vec<String>>())
            }
        };
        let causes = if view.alive(now) { Causes::NONE } else { Causes::of(Cause::ControllerGone) };
        let causes = match self {
            State::ClockSynchronized if clock.is_none() => causes.with(Cause::NotAvailable),
            _ => causes,
        };
        let source_time = match self {
            State::Armed => clock::known(reader.get(Word::ArmedSince)).unwrap_or(0),
            State::ConfigurationHash | State::ConfigurationTime => clock::known(view.since).unwrap_or(0),
            State::ActiveAlarms
            | State::Alarms
            | State::ClockSynchronized
            | State::FallbackReasons
            | State::Forces
            | State::Remote => 0,
        };
        (value, Sample { raw: None, value: None, causes, source_time, received: now, count: 1 })
    }

    /// What writing a value asks for.
    pub fn write(self, value: &Variant) -> Result<Action, StatusCode> {
        match (self, value) {
            (State::Armed, Variant::Boolean(true)) => Ok(Action::Arm),
            (State::Armed, Variant::Boolean(false)) => Ok(Action::Disarm),
            (State::Armed, _) => Err(StatusCode::BadTypeMismatch),
            _ => Err(StatusCode::BadNotWritable),
        }
    }
}

/// How many signals are forced, of those that may be seen.
pub fn forces_seen(view: &View, sees: impl Fn(TagIndex) -> bool) -> Variant {
    let forced = view.reader.forces().filter(|force| force.tag < view.plan.tags.len() && sees(force.tag));
    Variant::UInt32(u32::try_from(forced.count()).unwrap_or(u32::MAX))
}
