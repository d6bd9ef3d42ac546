//! How one of our messages is sent.

use super::{Alarm, TagIndex};
use crate::can::MAX_LEN;

/// How one of our messages is sent.
#[derive(Clone, Debug)]
pub struct Transmission {
    /// Nanoseconds; `None`: not cyclic, or only while active.
    pub period: Option<u64>,
    /// Nanoseconds of phase that keep the cycles of a bus from falling on one moment.
    pub stagger: u64,
    /// "IfActive": another cycle while a signal differs from its inactive value.
    pub active: Option<Active>,
    /// `GenMsgCycleTimeFast`, nanoseconds: between the repetitions of a frame that was sent at once.
    pub fast_period: Option<u64>,
    /// `GenMsgNrOfRepetition`: how often a frame that was sent at once is sent again.
    pub repetitions: u32,
    /// `GenMsgDelayTime`, nanoseconds: shortest time between two frames.
    pub delay: u64,
    /// `GenMsgStartDelayTime`: nanoseconds from the start of the controller to the first frame.
    pub start_delay: u64,
    /// Bytes on the wire (a DLC length).
    pub length: usize,
    /// Payload at start: the start values.
    pub start: [u8; MAX_LEN],
    /// Payload in fallback.
    pub fallback: [u8; MAX_LEN],
    /// What is sent until armed, and while latched.
    pub when_disarmed: WhenDisarmed,
    /// Tags that must be good for this message to be under way; one that is not latches the fallback.
    pub vital: Vec<Vital>,
    /// Configured alarms that latch the fallback when they are raised.
    pub fallback_on: Vec<FallbackOn>,
    /// Nanoseconds within which the plant must write again; `None`: no lease.
    pub lease: Option<u64>,
    /// Nanoseconds after which a frame that still waits in the queue is dropped.
    pub stale: u64,
    /// Nanoseconds by which a cycle may be late.
    pub budget: u64,
}

impl Transmission {
    /// Sent with this payload, cyclically where there is a period (nanoseconds), and nothing else.
    pub fn new(length: usize, start: [u8; MAX_LEN], period: Option<u64>) -> Transmission {
        Transmission {
            period,
            stagger: 0,
            active: None,
            fast_period: None,
            repetitions: 0,
            delay: 0,
            start_delay: 0,
            length,
            start,
            fallback: start,
            when_disarmed: WhenDisarmed::Fallback,
            vital: Vec::new(),
            fallback_on: Vec::new(),
            lease: None,
            stale: Transmission::usual_stale(period),
            budget: Transmission::usual_budget(period),
        }
    }

    /// A frame that waited longer than its cycle, or than 100 ms, is dropped.
    pub fn usual_stale(period: Option<u64>) -> u64 {
        period.unwrap_or(u64::MAX).min(100_000_000)
    }

    /// A cycle may be late by a tenth of its period, at most by 10 ms.
    pub fn usual_budget(period: Option<u64>) -> u64 {
        (period.unwrap_or(u64::MAX) / 10).min(10_000_000)
    }
}

/// The cycle of a message while it is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Nanoseconds.
    pub period: u64,
    /// For each group of signals with inactive values: the group, and those values. The message is active while a group
    /// that is present has not these bits.
    pub inactive: Vec<(usize, Bits)>,
    /// How many frames are still sent once it is inactive, that of the change included.
    pub last_frames: u32,
}

/// An input without which an output is not under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vital {
    pub tag: TagIndex,
    /// J1939: the source address that counts; `None` for all others.
    pub source_address: Option<u8>,
    /// Only that its message comes and is right counts, not what the tag says.
    pub message: bool,
}

/// An alarm with which an output is not under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackOn {
    /// [`Alarm::Limit`] or [`Alarm::OffNormal`].
    pub alarm: Alarm,
    /// Bits of its state that count: one level of a limit, or `u8::MAX` for any.
    pub state: u8,
}

/// Some bits of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Ones where `bits` counts.
    pub mask: [u8; MAX_LEN],
    pub bits: [u8; MAX_LEN],
}

impl Bits {
    pub const NONE: Bits = Bits { mask: [0; MAX_LEN], bits: [0; MAX_LEN] };

    /// Puts the bits into a payload; whether anything became different.
    pub fn apply(&self, payload: &mut [u8; MAX_LEN]) -> bool {
        let before = *payload;
        for ((byte, mask), bits) in payload.iter_mut().zip(self.mask).zip(self.bits) {
            *byte = *byte & !mask | bits & mask;
        }
        before != *payload
    }

    /// Whether both say something about some bit.
    pub fn overlaps(&self, other: &Bits) -> bool {
        self.mask.iter().zip(other.mask).any(|(a, b)| a & b != 0)
    }

    /// Whether the payload has these bits.
    pub fn in_force(&self, payload: &[u8; MAX_LEN]) -> bool {
        payload.iter().zip(self.mask).zip(self.bits).all(|((byte, mask), bits)| byte & mask == bits & mask)
    }
}

/// What a message does while the machine is not armed, or the message latched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenDisarmed {
    /// It is sent as always, with the fallback values.
    #[default]
    Fallback,
    /// It is not sent.
    Silent,
}
