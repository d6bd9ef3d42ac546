//! The up door: commands from the plant to the controller in their wire form, and the checks that the controller makes.
//!
//! One datagram of a SOCK_SEQPACKET socket is one JSON document. The controller trusts nobody: what may be written, its
//! type, range and representation are checked here, on its side.

pub mod socket;

use serde::{Deserialize, Serialize};

use crate::can::MAX_LEN;
use crate::dbc::{EncodeError, Raw};
use crate::plan::{Direction, Immediate, MessageIndex, Plan, TagIndex};

/// Version of the door; both sides must agree.
pub const VERSION: u32 = 1;
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
}

/// Plant to controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Command {
    /// Writes signals of one message together: all or none.
    Set { id: u64, origin: Origin, writes: Vec<Write> },
}

/// Who wrote, for the audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// `opcua`, `web`, …
    pub protocol: String,
    pub user: String,
    /// Network address of the client.
    pub address: String,
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

/// Why a command was refused. Each protocol maps each to its own status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("no such tag")]
    UnknownTag,
    #[error("{tag} is not in the bus's `writable` list")]
    NotWritable { tag: String },
    #[error("{tag} takes a finite number")]
    NotFinite { tag: String },
    #[error("{tag} takes another type of value")]
    Type { tag: String },
    #[error("{value} is outside {min}..={max} of {tag}")]
    Range { tag: String, value: f64, min: f64, max: f64 },
    #[error("{tag}: {reason}")]
    Unrepresentable { tag: String, reason: String },
    #[error("{tag} and {other} can't be in one frame: different multiplexor branches or overlapping bits")]
    Conflict { tag: String, other: String },
    #[error("one command writes signals of one message; {tag} belongs to another")]
    SeveralMessages { tag: String },
    #[error("nothing to write")]
    Empty,
    #[error("more than {MAX_WRITES} signals in one command")]
    TooMany,
    #[error("the command is malformed or of another version")]
    Malformed,
    #[error("too many commands are waiting; try again")]
    Busy,
    #[error("the bus is down or off; nothing was changed")]
    BusDown,
}

/// A checked command as the real-time thread applies it: the bits of one message that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    pub message: MessageIndex,
    /// Ones where `bits` counts.
    pub mask: [u8; MAX_LEN],
    pub bits: [u8; MAX_LEN],
    pub immediate: Immediate,
}

impl Patch {
    /// Changes a payload; whether anything became different.
    pub fn apply(&self, payload: &mut [u8; MAX_LEN]) -> bool {
        let before = *payload;
        for ((byte, mask), bits) in payload.iter_mut().zip(self.mask).zip(self.bits) {
            *byte = *byte & !mask | bits & mask;
        }
        before != *payload
    }
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
    let mut immediate = Immediate::No;
    for write in writes {
        let tag = plan.tags.get(write.tag).ok_or(Refusal::UnknownTag)?;
        let name = || plan.tag_name(write.tag, None);
        if tag.message != message_index {
            return Err(Refusal::SeveralMessages { tag: name() });
        }
        if !tag.writable {
            return Err(Refusal::NotWritable { tag: name() });
        }
        values.push((tag.signal, raw_of(plan, write.tag, write.value)?));
        immediate = immediate.max(tag.immediate);
    }
    let mut patch = Patch { message: message_index, mask: [0; MAX_LEN], bits: [0; MAX_LEN], immediate };
    add_selectors(plan, message_index, &mut values)?;
    for (i, (signal, raw)) in values.iter().enumerate() {
        let codec = &message.message.signals[*signal].codec;
        let mut mask = [0; MAX_LEN];
        codec.mask(&mut mask);
        if mask.iter().zip(&patch.mask).any(|(a, b)| a & b != 0) {
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
        patch.mask.iter_mut().zip(mask).for_each(|(all, one)| *all |= one);
        codec.insert(*raw, &mut patch.bits).map_err(|error| Refusal::Unrepresentable {
            tag: signal_name(plan, message_index, *signal),
            reason: error.to_string(),
        })?;
    }
    Ok(patch)
}

fn signal_name(plan: &Plan, message: MessageIndex, signal: usize) -> String {
    plan.tag_name(plan.messages[message].tags.start + signal, None)
}

/// The raw value for one write: right type, inside the DBC's range, representable.
fn raw_of(plan: &Plan, tag: TagIndex, value: Value) -> Result<Raw, Refusal> {
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
