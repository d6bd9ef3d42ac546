//! Why a command was not carried out: what the check finds, and what only the real-time thread knows.

use serde::{Deserialize, Serialize};

use super::{MAX_FORCE_SECONDS, MAX_WRITES, Place};
use crate::plan::{AlarmIndex, BusIndex, MessageIndex, Plan, TagIndex};
use crate::store::layout::Latch;

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
    #[error("{tag} belongs to a link")]
    OwnedByLink { tag: String },
    #[error("the machine is in Local: the plant may only disarm, release and take outputs to fallback")]
    Local,
    #[error("the outputs are not armed; arm first")]
    NotArmed,
    #[error("{message} is in fallback ({}); arm again once that is over", latch_words(*.latches))]
    Fallback { message: String, latches: u64 },
    #[error("can't be armed yet: {what}")]
    CauseLasts { what: String },
    #[error("local_when holds the machine in Local")]
    HeldLocal,
    #[error("{tag} is held by an interlock; only the value it is held at can be written")]
    Interlocked { tag: String },
    #[error("{tag} can't be forced: it is not in the bus's `forcible` list")]
    NotForcible { tag: String },
    #[error("{tag} is not forced")]
    NotForced { tag: String },
    #[error("a force lasts from 1 second to {MAX_FORCE_SECONDS} seconds")]
    ForceTime,
    #[error("all {} places for forces are taken; release one", crate::store::layout::FORCES)]
    TooManyForces,
    #[error("no such bus, route or message")]
    Unknown,
    #[error("bus {bus} is not off")]
    NotBusOff { bus: String },
    #[error(
        "bus {bus} is not `managed = true`: Canvoy can't restart its interface; ip link set ... type can restart can"
    )]
    NotManaged { bus: String },
    #[error("{message} is not sent by this controller")]
    NotSent { message: String },
    #[error("from Local to Remote only at the machine: `[machine] remote_from_plant` is not set")]
    RemoteAtTheMachine,
    #[error("only at the machine: the plant can't do this")]
    OnlyAtTheMachine,
    /// What the command says of its origin and the socket that it came by are not the same.
    #[error("{}", wrong_door(*.door))]
    WrongDoor { door: Place },
    #[error("the configuration has just been changed; try again")]
    Reloaded,
    /// What is wrong, a line or more each, with file, line and column.
    #[error("the new configuration can't be used, nothing was changed:\n{mistakes}")]
    Configuration { mistakes: String },
    #[error("{reason}")]
    NotReloaded { reason: String },
    /// No mistake: it takes effect later, by itself.
    #[error("the new configuration waits until {condition}")]
    ReloadWaits { condition: String },
}

impl Refusal {
    /// The tags that it is because of, where it is because of single ones.
    pub fn tags(&self) -> [Option<&str>; 2] {
        match self {
            Refusal::NotWritable { tag }
            | Refusal::NotFinite { tag }
            | Refusal::Type { tag }
            | Refusal::Range { tag, .. }
            | Refusal::Unrepresentable { tag, .. }
            | Refusal::SeveralMessages { tag }
            | Refusal::OwnedByLink { tag }
            | Refusal::Interlocked { tag }
            | Refusal::NotForcible { tag }
            | Refusal::NotForced { tag } => [Some(tag), None],
            Refusal::Conflict { tag, other } => [Some(tag), Some(other)],
            Refusal::UnknownTag
            | Refusal::Empty
            | Refusal::TooMany
            | Refusal::Malformed
            | Refusal::Busy
            | Refusal::BusDown
            | Refusal::Local
            | Refusal::NotArmed
            | Refusal::Fallback { .. }
            | Refusal::CauseLasts { .. }
            | Refusal::HeldLocal
            | Refusal::ForceTime
            | Refusal::TooManyForces
            | Refusal::Unknown
            | Refusal::NotBusOff { .. }
            | Refusal::NotManaged { .. }
            | Refusal::NotSent { .. }
            | Refusal::RemoteAtTheMachine
            | Refusal::OnlyAtTheMachine
            | Refusal::WrongDoor { .. }
            | Refusal::Reloaded
            | Refusal::Configuration { .. }
            | Refusal::NotReloaded { .. }
            | Refusal::ReloadWaits { .. } => [None, None],
        }
    }
}

fn wrong_door(door: Place) -> &'static str {
    match door {
        Place::Machine => {
            "this is the socket of people at the machine; the plant side has one of its own (canvoy controller --plant-socket)"
        }
        Place::Plant => "this is the plant side's socket: nobody is at the machine here, whatever is said",
    }
}

/// The reasons in a word of [`Latch`] bits, for people.
pub fn latch_words(bits: u64) -> String {
    let reasons: Vec<&str> = Latch::ALL.into_iter().filter(|l| bits & *l as u64 != 0).map(Latch::text).collect();
    reasons.join(", ")
}

/// Why the real-time thread did not do what it was told: what only it can know. [`Denied::refusal`] puts it into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    Local,
    NotArmed,
    /// [`Latch`] bits.
    Fallback {
        message: MessageIndex,
        latches: u64,
    },
    /// Remote is asked for, and `local_when` says Local.
    HeldLocal,
    Interlocked(TagIndex),
    NotForced(TagIndex),
    TooManyForces,
    NotBusOff(BusIndex),
    /// Arming: this still lasts.
    Lasts(Lasting),
    /// Another plan has just been put in force: the indices mean something else.
    Reloaded,
}

/// What keeps the machine from being armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// A bus with outputs is down, gone, off or in quarantine.
    Bus(BusIndex),
    /// Still listening for our own identifiers.
    Listening(BusIndex),
    /// A vital tag is not good.
    Vital(TagIndex),
    /// An alarm is active on which an output falls back.
    Alarm(AlarmIndex),
    /// Somebody else sent this message of ours within the listening time.
    Foreign(MessageIndex),
}

impl Denied {
    pub fn refusal(self, plan: &Plan) -> Refusal {
        let bus = |bus: BusIndex| plan.buses[bus].name.clone();
        match self {
            Denied::Local => Refusal::Local,
            Denied::NotArmed => Refusal::NotArmed,
            Denied::Fallback { message, latches } => {
                Refusal::Fallback { message: plan.message_name(message, None), latches }
            }
            Denied::HeldLocal => Refusal::HeldLocal,
            Denied::Interlocked(tag) => Refusal::Interlocked { tag: plan.tag_name(tag, None) },
            Denied::NotForced(tag) => Refusal::NotForced { tag: plan.tag_name(tag, None) },
            Denied::TooManyForces => Refusal::TooManyForces,
            Denied::Reloaded => Refusal::Reloaded,
            Denied::NotBusOff(at) => Refusal::NotBusOff { bus: bus(at) },
            Denied::Lasts(lasting) => Refusal::CauseLasts {
                what: match lasting {
                    Lasting::Bus(at) => format!("bus {} is down, off or in quarantine", bus(at)),
                    Lasting::Listening(at) => {
                        format!("bus {} is still being listened to for other senders of our messages", bus(at))
                    }
                    Lasting::Vital(tag) => format!("{} is needed and is not good", plan.tag_name(tag, None)),
                    Lasting::Alarm(alarm) => {
                        let alarm = plan.alarms[alarm];
                        format!("alarm {} is active: {}", alarm.subject(plan), alarm.text(plan))
                    }
                    Lasting::Foreign(message) => {
                        format!("another node sends {}", plan.message_name(message, None))
                    }
                },
            },
        }
    }
}
