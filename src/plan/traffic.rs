//! What passes between buses: routes of frames, links of signals, interlocks.

use super::{Bits, BusIndex, Condition, TagIndex};
use crate::can::FrameId;
use crate::dbc::Raw;

/// Frames that are passed from one bus to another as they are, or nearly so.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The name in `[route.NAME]`; the second of one that goes both ways has ` (back)` behind it.
    pub name: String,
    pub from: BusIndex,
    pub to: BusIndex,
    /// What it takes: frames that one of these matches, and none of `except`.
    pub filters: Vec<Filter>,
    pub except: Vec<Filter>,
    pub id: IdChange,
    pub format: Format,
    /// Bits that are set, in order.
    pub edits: Vec<Edit>,
    /// At most one frame in so many nanoseconds for each identifier; more are dropped and counted.
    pub shortest_interval: Option<u64>,
    /// Frames within a second above which the route is switched off, with an alarm.
    pub storm: u32,
    /// A newer frame takes the place of an older one with the same identifier that still waits.
    pub newest_wins: bool,
    /// Nanoseconds after which a frame that still waits is dropped.
    pub stale: u64,
    /// Nanoseconds from the receive stamp to the return of the transmit call.
    pub budget: u64,
    /// A protocol with a protection of its own: its frames pass unchanged or not at all.
    pub protected: bool,
}

impl Route {
    /// Whether frames of this identifier are passed.
    pub fn takes(&self, id: FrameId) -> bool {
        self.filters.iter().any(|filter| filter.matches(id)) && !self.except.iter().any(|filter| filter.matches(id))
    }
}

impl IdChange {
    /// The identifier on the other bus; `None` where it would not fit its kind.
    pub fn apply(self, id: FrameId) -> Option<FrameId> {
        match self {
            IdChange::Keep => Some(id),
            IdChange::To(new) => Some(new),
            IdChange::Add(n) => {
                let number = u32::try_from(i64::from(id.number()).checked_add(n)?).ok()?;
                if id.is_extended() { FrameId::extended(number) } else { FrameId::standard(number) }
            }
        }
    }
}

/// Which frames a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Any,
    Id(FrameId),
    /// Both of the same kind, inclusive.
    Range(FrameId, FrameId),
    /// Identifiers of the kind of `value` that agree with it in the bits of `mask`.
    Mask {
        value: FrameId,
        mask: u32,
    },
    /// A J1939 parameter group, from any source.
    Pgn(u32),
}

impl Filter {
    pub fn matches(&self, id: FrameId) -> bool {
        match *self {
            Filter::Any => true,
            Filter::Id(wanted) => id == wanted,
            // bit 31 keeps the kinds apart
            Filter::Range(first, last) => (first.bits()..=last.bits()).contains(&id.bits()),
            Filter::Mask { value, mask } => {
                id.is_extended() == value.is_extended() && (id.number() ^ value.number()) & mask == 0
            }
            Filter::Pgn(pgn) => id.is_extended() && id.pgn() == pgn,
        }
    }
}

/// What becomes of the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdChange {
    Keep,
    To(FrameId),
    /// Added to the number; frames whose new number does not fit its kind are dropped and counted.
    Add(i64),
}

/// What becomes of the frame format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Keep,
    /// Frames above 8 bytes are dropped and counted, never cut.
    Classic,
    Fd {
        bit_rate_switch: bool,
    },
}

/// One byte that a route changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Index of the byte; a frame that does not have it is dropped and counted.
    pub byte: u8,
    /// Ones where `value` counts.
    pub mask: u8,
    pub value: u8,
}

/// A signal that follows another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The name in `[link.NAME]`.
    pub name: String,
    pub from: TagIndex,
    /// J1939: the source address that counts; `None` for all others.
    pub source_address: Option<u8>,
    pub to: TagIndex,
    /// The selectors of a multiplexed target, which are set with it.
    pub with: Bits,
    pub mapping: Mapping,
    pub when_bad: WhenBad,
    /// Nanoseconds from the receive stamp to the return of the transmit call, beyond a cycle of the target.
    pub budget: u64,
}

/// How a value becomes another one.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapping {
    /// Engineering value × scale + offset, to the nearest raw value. What does not fit the target is a bad source.
    Linear { scale: f64, offset: f64 },
    /// Raw value to raw value, sorted by the first; a value that is not there is a bad source.
    Table(Vec<(i128, Raw)>),
}

/// What a link does while its source is not good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WhenBad {
    /// The last good value for so many nanoseconds (`u64::MAX`: for ever), then `then`.
    Hold {
        time: u64,
        then: Otherwise,
    },
    At(Otherwise),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Otherwise {
    /// This raw value: a substitute, or the code for "not available".
    Value(Raw),
    /// The whole message is not sent.
    Stop,
}

/// Signals that are held at a value while a condition holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Interlock {
    /// The name in `[interlock.NAME]`.
    pub name: String,
    /// All hold, or one can't be told because its tag is not good.
    pub when: Vec<Condition>,
    /// What is held: signals of ours, each with its bits in its message. A multiplexed one only while its branch is sent.
    pub holds: Vec<(TagIndex, Bits)>,
}
