//! The machine itself as variables: armed, Remote, forces, alarms; beside the buses, in `Canvoy.Machine`.

use opcua::types::{DataTypeId, StatusCode, Variant};

use crate::command::Action;
use crate::plant::Plant;
use crate::plant::machine::Machine;
use crate::quality::{Cause, Causes};
use crate::sample::Sample;
use crate::store::clock;
use crate::store::layout::Word;

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
    /// How many signals are forced: UInt32.
    Forces,
    /// Boolean: the plant may write. Switched at the machine.
    Remote,
}

impl State {
    pub const ALL: [State; 6] =
        [State::ActiveAlarms, State::Alarms, State::Armed, State::ClockSynchronized, State::Forces, State::Remote];

    pub fn name(self) -> &'static str {
        match self {
            State::ActiveAlarms => "ActiveAlarms",
            State::Alarms => "Alarms",
            State::Armed => "Armed",
            State::ClockSynchronized => "ClockSynchronized",
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
            State::Forces => "Number of signals that are forced by an operator.",
            State::Remote => "Whether the plant may write. Switched at the machine.",
        }
    }

    pub fn data_type(self) -> DataTypeId {
        match self {
            State::ActiveAlarms | State::Forces => DataTypeId::UInt32,
            State::Alarms => DataTypeId::String,
            State::Armed | State::ClockSynchronized | State::Remote => DataTypeId::Boolean,
        }
    }

    pub fn is_array(self) -> bool {
        self == State::Alarms
    }

    pub fn is_writable(self) -> bool {
        self == State::Armed
    }

    /// The present value, with a sample that has its quality. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn value(self, plant: &Plant, now: u64) -> (Variant, Sample) {
        let reader = plant.reader();
        let number = |word: Word| Variant::UInt32(u32::try_from(reader.get(word)).unwrap_or(u32::MAX));
        let clock = reader.clock();
        let value = match self {
            State::ActiveAlarms => number(Word::AlarmsActive),
            State::Forces => number(Word::Forces),
            State::Armed => Variant::Boolean(reader.get(Word::Armed) == 1),
            State::ClockSynchronized => clock.map_or(Variant::Empty, |clock| Variant::Boolean(clock.synchronized)),
            State::Remote => Variant::Boolean(reader.get(Word::Remote) == 1),
            State::Alarms => {
                let alarms = Machine::take(&plant.plan, &reader, now).alarms;
                let words = alarms.into_iter().map(|alarm| format!("{}: {}", alarm.subject, alarm.text));
                Variant::from(words.collect::<Vec<String>>())
            }
        };
        let causes = if plant.alive(now) { Causes::NONE } else { Causes::of(Cause::ControllerGone) };
        let causes = match self {
            State::ClockSynchronized if clock.is_none() => causes.with(Cause::NotAvailable),
            _ => causes,
        };
        let source_time =
            if self == State::Armed { clock::known(reader.get(Word::ArmedSince)).unwrap_or(0) } else { 0 };
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
