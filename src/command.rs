//! The up door: commands from the plant to the controller in their wire form, and the checks that the controller makes.
//!
//! One datagram of a SOCK_SEQPACKET socket is one JSON document. The controller trusts nobody: what may be written, its
//! type, range and representation are checked here, on its side.

mod refusal;
pub mod socket;

pub use refusal::{Denied, Lasting, Refusal, latch_words};
use serde::{Deserialize, Serialize};

use crate::can::MAX_LEN;
use crate::dbc::{EncodeError, Raw};
use crate::plan::{Bits, BusIndex, Direction, Immediate, MessageIndex, Plan, RouteIndex, TagIndex};

/// Version of the door; both sides must agree.
pub const VERSION: u32 = 5;
/// Largest datagram either way, in bytes.
pub const MAX_DATAGRAM: usize = 64 * 1024;
/// Most signals in one command.
pub const MAX_WRITES: usize = 256;

/// First datagram after a connection and after each reload, controller to plant. It carries two descriptors: the sealed
/// configuration bundle and the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    pub version: u32,
    /// Counts from 1 in each controller process.
    pub number: u64,
    /// Process id of the controller.
    pub pid: u32,
    /// [`Plan::hash`], hexadecimal.
    pub hash: String,
    /// CLOCK_REALTIME, nanoseconds since 1970: in force since.
    pub since: u64,
    /// Whose door this is.
    pub door: Place,
}

/// Plant, or a person at the machine, to controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Comes back in the [`Reply`].
    pub id: u64,
    /// [`Generation::number`] of the plan that the indices in the action are of.
    pub generation: u64,
    pub origin: Origin,
    pub action: Action,
}

/// What is to be done. Closed: nothing else can be asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Action {
    /// Writes signals of one message together: all or none. Renews the message's lease.
    Set(Vec<Write>),
    /// The same, and a frame leaves at once, also where the message is only sent by its cycle.
    Send(Vec<Write>),
    /// Renews the lease of the message of this tag without writing.
    Renew(TagIndex),
    /// Holds a tag at a value for so many seconds, whatever the machine or its owner says.
    Force { tag: TagIndex, value: Value, seconds: f64 },
    /// Ends the force of one tag, or all forces.
    Release(Option<TagIndex>),
    /// Ends fallback: every latch is reset, if the cause of none lasts.
    Arm,
    /// Takes every output to its fallback value.
    Disarm,
    /// Takes one output, or all of them, to the fallback values by hand.
    Fallback(Option<MessageIndex>),
    /// Ends the fallback of one output, or of all, of a machine that is armed: if no cause of it lasts.
    ResetFallback(Option<MessageIndex>),
    /// Remote, or Local: the plant may not make the machine do anything.
    Remote(bool),
    /// Restarts a bus that is off, and forgets how often it was.
    Restart(BusIndex),
    /// Switches a route on or off.
    Route { route: RouteIndex, on: bool },
    /// Reads the configuration again and puts it in force: only if its [`Plan::hash`] is this one (hexadecimal), where given.
    Reload(Option<String>),
    /// Forgets a configuration that waits for `reload_when`.
    CancelReload,
}

/// Who wrote, for the audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// `opcua`, `web`, …; [`Origin::TERMINAL`] of a person at the machine.
    pub protocol: String,
    pub user: String,
    /// Network address of the client.
    pub address: String,
}

impl Origin {
    /// [`Origin::protocol`] of the command line at the machine.
    pub const TERMINAL: &'static str = "cli";
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// Index into the plan's tags; both processes have the same plan.
    pub tag: TagIndex,
    pub value: Value,
}

/// A value to write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// In the signal's unit. JSON knows no infinity or NaN: they arrive as a type mismatch.
    Engineering(f64),
    /// Before factor and offset; a float signal takes its IEEE bits.
    Raw(Raw),
}

/// Controller to plant, one for each [`Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The command's id.
    pub id: u64,
    /// Nothing: done, and the next frame carries it.
    pub refusal: Option<Refusal>,
}

/// Longest force: a day.
pub const MAX_FORCE_SECONDS: f64 = 86_400.0;

/// Where a command comes from: in Local the machine obeys who stands before it. It is the socket that decides, which the
/// kernel lets only some users open; never what a command says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// The terminal of the machine.
    Machine,
    /// The network side.
    Plant,
}

impl Place {
    /// In a word, for the log.
    pub fn word(self) -> &'static str {
        match self {
            Place::Machine => "machine",
            Place::Plant => "plant",
        }
    }
}

/// What may come through a door at all, whoever sends it. Closed: another action is refused to the plant until it is
/// written here.
pub fn admit(door: Place, origin: &Origin, action: &Action) -> Result<(), Refusal> {
    // what says that it comes from elsewhere lies, or has been given the wrong path: neither is obeyed
    if (door == Place::Machine) != (origin.protocol == Origin::TERMINAL) {
        return Err(Refusal::WrongDoor { door });
    }
    match (door, action) {
        (Place::Machine, _) => Ok(()),
        (
            Place::Plant,
            Action::Set(_)
            | Action::Send(_)
            | Action::Renew(_)
            | Action::Force { .. }
            | Action::Release(_)
            | Action::Arm
            | Action::Disarm
            | Action::Fallback(_)
            | Action::ResetFallback(_)
            | Action::Remote(_)
            | Action::Restart(_)
            | Action::Route { .. },
        ) => Ok(()),
        (Place::Plant, Action::Reload(_) | Action::CancelReload) => Err(Refusal::OnlyAtTheMachine),
    }
}

/// A checked command, as the real-time thread takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Patch(Patch),
    Renew(MessageIndex),
    /// `until`: CLOCK_MONOTONIC nanoseconds. `bits`: of the tag's message; `raw`: [`Raw::bits`].
    Force {
        tag: TagIndex,
        bits: Bits,
        raw: u64,
        until: u64,
    },
    Release(Option<TagIndex>),
    Arm,
    Disarm,
    Fallback(Option<MessageIndex>),
    ResetFallback(Option<MessageIndex>),
    Remote(bool),
    Restart(BusIndex),
    Route {
        route: RouteIndex,
        on: bool,
    },
}

/// A checked write: the bits of one message that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    pub message: MessageIndex,
    pub bits: Bits,
    pub immediate: Immediate,
    /// The message's repetitions follow.
    pub repeated: bool,
}

/// Checks a set of writes against the plan and compiles it.
///
/// A multiplexed signal brings its selectors with it where its branch has one value; otherwise they must be written in
/// the same command. Never clips, never touches bits of signals that were not named.
pub fn compile(plan: &Plan, writes: &[Write]) -> Result<Patch, Refusal> {
    let first = writes.first().ok_or(Refusal::Empty)?;
    if writes.len() > MAX_WRITES {
        return Err(Refusal::TooMany);
    }
    let message_index = plan.tags.get(first.tag).ok_or(Refusal::UnknownTag)?.message;
    let message = &plan.messages[message_index];
    let Direction::Output(_) = message.direction else {
        return Err(Refusal::NotWritable { tag: plan.tag_name(first.tag, None) });
    };
    let mut values: Vec<(usize, Raw)> = Vec::with_capacity(writes.len());
    let (mut immediate, mut repeated) = (Immediate::No, false);
    for write in writes {
        let tag = plan.tags.get(write.tag).ok_or(Refusal::UnknownTag)?;
        let name = || plan.tag_name(write.tag, None);
        if tag.message != message_index {
            return Err(Refusal::SeveralMessages { tag: name() });
        }
        if tag.link.is_some() {
            return Err(Refusal::OwnedByLink { tag: name() });
        }
        if !tag.writable {
            return Err(Refusal::NotWritable { tag: name() });
        }
        values.push((tag.signal, raw_of(plan, write.tag, write.value)?));
        immediate = immediate.max(tag.immediate);
        repeated |= tag.repeated;
    }
    let mut patch = Patch { message: message_index, bits: Bits::NONE, immediate, repeated };
    add_selectors(plan, message_index, &mut values)?;
    for (i, (signal, raw)) in values.iter().enumerate() {
        let codec = &message.message.signals[*signal].codec;
        let mut mask = [0; MAX_LEN];
        codec.mask(&mut mask);
        if mask.iter().zip(&patch.bits.mask).any(|(a, b)| a & b != 0) {
            let other = values[..i].iter().find(|(other, _)| {
                let mut bits = [0; MAX_LEN];
                message.message.signals[*other].codec.mask(&mut bits);
                bits.iter().zip(&mask).any(|(a, b)| a & b != 0)
            });
            return Err(Refusal::Conflict {
                tag: signal_name(plan, message_index, *signal),
                other: signal_name(plan, message_index, other.map_or(*signal, |(other, _)| *other)),
            });
        }
        patch.bits.mask.iter_mut().zip(mask).for_each(|(all, one)| *all |= one);
        codec.insert(*raw, &mut patch.bits.bits).map_err(|error| Refusal::Unrepresentable {
            tag: signal_name(plan, message_index, *signal),
            reason: error.to_string(),
        })?;
    }
    Ok(patch)
}

/// Checks the force of one tag. `now`: CLOCK_MONOTONIC nanoseconds. Signals of a J1939 message are forced for all sources.
pub fn compile_force(plan: &Plan, tag: TagIndex, value: Value, seconds: f64, now: u64) -> Result<Change, Refusal> {
    let forced = plan.tags.get(tag).ok_or(Refusal::UnknownTag)?;
    if !forced.forcible {
        return Err(Refusal::NotForcible { tag: plan.tag_name(tag, None) });
    }
    // written so that NaN is refused too
    if !(1.0..=MAX_FORCE_SECONDS).contains(&seconds) {
        return Err(Refusal::ForceTime);
    }
    let raw = raw_of(plan, tag, value)?;
    let codec = &plan.signal(tag).codec;
    let mut bits = Bits::NONE;
    codec.mask(&mut bits.mask);
    codec
        .insert(raw, &mut bits.bits)
        .map_err(|error| Refusal::Unrepresentable { tag: plan.tag_name(tag, None), reason: error.to_string() })?;
    Ok(Change::Force { tag, bits, raw: raw.bits(), until: now.saturating_add((seconds * 1e9) as u64) })
}

fn signal_name(plan: &Plan, message: MessageIndex, signal: usize) -> String {
    plan.tag_name(plan.messages[message].tags.start + signal, None)
}

/// The raw value for one write: right type, inside the DBC's range, representable.
pub fn raw_of(plan: &Plan, tag: TagIndex, value: Value) -> Result<Raw, Refusal> {
    let signal = plan.signal(tag);
    let name = || plan.tag_name(tag, None);
    let refuse = |error: EncodeError| Refusal::Unrepresentable { tag: name(), reason: error.to_string() };
    let raw = match value {
        Value::Engineering(value) if !value.is_finite() => return Err(Refusal::NotFinite { tag: name() }),
        Value::Engineering(value) => signal.codec.to_raw(value).map_err(refuse)?,
        Value::Raw(raw) if raw.kind() != signal.codec.kind => return Err(Refusal::Type { tag: name() }),
        Value::Raw(raw) => {
            signal.codec.check_raw(raw).map_err(refuse)?;
            raw
        }
    };
    let engineering = signal.codec.engineering(raw);
    if !engineering.is_finite() {
        return Err(Refusal::NotFinite { tag: name() });
    }
    // A value that the DBC names in its value table is meant, even outside the range (SNA codes).
    let named = signal.value_table.iter().any(|(key, _)| raw.as_i128() == Some(*key));
    // Both what was asked for and what the frame will say, which rounding to the raw value may carry over a limit.
    let asked = match value {
        Value::Engineering(value) => value,
        Value::Raw(_) => engineering,
    };
    let outside = [asked, engineering].into_iter().find(|value| !signal.in_range(*value));
    match (signal.range, outside) {
        (Some((min, max)), Some(value)) if !named => Err(Refusal::Range { tag: name(), value, min, max }),
        _ => Ok(raw),
    }
}

/// Adds the selectors that the written signals need, and refuses signals of different branches.
fn add_selectors(plan: &Plan, message: MessageIndex, values: &mut Vec<(usize, Raw)>) -> Result<(), Refusal> {
    let dbc = &plan.messages[message].message;
    for i in 0..values.len() {
        let written = values[i].0;
        for condition in &dbc.groups[dbc.signals[written].group].conditions {
            let name = || signal_name(plan, message, written);
            let selector = &dbc.signals[condition.selector];
            match values.iter().find(|(signal, _)| *signal == condition.selector) {
                Some((_, raw)) => {
                    let selected = raw.as_i128();
                    if !condition.ranges.iter().any(|(from, to)| selected.is_some_and(|v| (*from..=*to).contains(&v))) {
                        let other = signal_name(plan, message, condition.selector);
                        return Err(Refusal::Conflict { tag: name(), other });
                    }
                }
                None => {
                    let only = match condition.ranges[..] {
                        [(from, to)] if from == to => Raw::from_i128(selector.codec.kind, from),
                        _ => None,
                    };
                    let raw = only.ok_or_else(|| Refusal::Unrepresentable {
                        tag: name(),
                        reason: format!("write {} in the same command to choose the branch", selector.name),
                    })?;
                    values.push((condition.selector, raw));
                }
            }
        }
    }
    Ok(())
}
