//! What is where in the store's memory, in 64-bit words.

use super::events;
pub use super::latch::Latch;
use super::names::TABLE_WORDS;
use super::ring::{SLOT_WORDS, SLOTS};
pub use super::trouble::Trouble;
use crate::plan::Plan;
use crate::quality::{Cause, Causes};

/// "CANVOY" and the version of this layout; a reader of another version refuses.
pub const MAGIC: u64 = u64::from_be_bytes(*b"CANVOY\0\x05");

/// Words of the header.
pub const HEADER_WORDS: usize = 128;
/// Words of a bus.
pub const BUS_WORDS: usize = 40;
/// Words of a record: two cache lines.
pub const RECORD_WORDS: usize = 16;
/// Words of a contract.
pub const CONTRACT_WORDS: usize = 128;
/// Words of an alarm.
pub const ALARM_WORDS: usize = 4;
/// Words of a route.
pub const ROUTE_WORDS: usize = 16;
/// Words of a link.
pub const LINK_WORDS: usize = 4;
/// Words of a message.
pub const MESSAGE_WORDS: usize = 8;
/// Most forces at a time.
pub const FORCES: usize = 64;
/// Words of a force.
pub const FORCE_WORDS: usize = 4;
/// Tags whose marks share a word.
pub const MARKS_PER_WORD: usize = 8;

/// Words of the header that have a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Word {
    Magic = 0,
    /// First 8 bytes of the plan's hash.
    PlanHash,
    Buses,
    Records,
    /// CLOCK_MONOTONIC, nanoseconds: the last turn of the real-time loop.
    Heartbeat,
    /// CLOCK_MONOTONIC, nanoseconds, of the start.
    StartedMonotonic,
    /// CLOCK_REALTIME, nanoseconds since 1970, of the start.
    StartedRealtime,
    /// Bits: [`FLAG_SIMULATED`], [`FLAG_FIFO`], [`FLAG_LOCKED`].
    Flags,
    /// Turns of the real-time loop.
    Turns,
    /// Cyclic frames that left later than half of their period.
    Overruns,
    /// Writes from the plant that were applied.
    Writes,
    /// J1939 frames of a source address for which no record was left.
    SourcesDropped,
    /// 1: armed.
    Armed,
    /// 1: Remote, the plant may write, arm and force. 0: Local.
    Remote,
    /// Forces in force.
    Forces,
    /// Alarms that are active.
    AlarmsActive,
    /// CLOCK_REALTIME nanoseconds of the last change of [`Word::Armed`].
    ArmedSince,
    /// Commands that were applied, writes included.
    Commands,
    /// Commands that the real-time thread refused.
    CommandsRefused,
    /// Frames that went into the broadcast ring.
    Published,
    /// Nanoseconds: the sum of what [`Word::Lateness`] counts.
    LatenessSum,
    /// CLOCK_MONOTONIC, nanoseconds: the earliest deadline that was not served yet at [`Word::Heartbeat`]; `u64::MAX`: none,
    /// 0: not known yet.
    NextDue,
    /// Transitions of alarms that went into their ring, over all reloads: the sequence that comes next.
    AlarmEvents,
    /// The sequence with which the ring of this store begins; those before are in the store before it.
    AlarmEventsBegin,
    /// First of [`LATENESS_BUCKETS`] words: how late the timer was when it served a deadline.
    Lateness,
}

/// Words of the header that the controller's main thread writes, the others being the real-time thread's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum MainWord {
    /// 0: not known. 1: the kernel says that its clock is not synchronised. 2: that it is.
    ClockSynchronized = 96,
    /// Nanoseconds by which the clock may be wrong, as the kernel estimates it.
    ClockMaxError,
    /// Commands that did not belong to the door they came through: sent in the name of another place, or what the plant may
    /// never ask for.
    WrongDoor,
}

/// Buckets of the lateness histogram: bucket n counts 2^n..2^(n+1) microseconds, the first everything below 2.
pub const LATENESS_BUCKETS: usize = 24;

pub const FLAG_SIMULATED: u64 = 1;
/// The real-time thread runs under SCHED_FIFO.
pub const FLAG_FIFO: u64 = 2;
/// The controller's memory is locked.
pub const FLAG_LOCKED: u64 = 4;

/// Words of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum BusWord {
    /// [`BusState`] as a number.
    State = 0,
    /// Causes that hold for everything on this bus.
    Causes,
    ReceivedFrames,
    ReceivedBytes,
    TransmittedFrames,
    TransmittedBytes,
    /// Frames that match no message of the DBC files.
    UnknownFrames,
    /// Frames that the kernel dropped because the socket's buffer was full (SO_RXQ_OVFL).
    LostFrames,
    /// Frames that the driver or controller lost (error frames, CAN_ERR_CRTL_RX_OVERFLOW).
    ControllerOverflows,
    /// Frames we could not hand to the kernel.
    TransmitDropped,
    /// Error frames received.
    ErrorFrames,
    /// Bus-off states entered.
    BusOffs,
    /// Interface losses (down or removed).
    InterfaceLosses,
    /// Transmit error counter (ISO 11898-1), where the driver tells.
    TransmitErrors,
    /// Receive error counter.
    ReceiveErrors,
    /// CLOCK_REALTIME nanoseconds of the last change of `State`.
    StateSince,
    /// Frames shorter than the DBC says.
    ShortFrames,
    /// Frames of ours dropped because they waited too long.
    TransmitStale,
    /// Frames of ours dropped because the queue was full.
    TransmitOverflow,
    /// Frames of ours dropped because the bus was down, off, in quarantine or gone.
    TransmitNoBus,
    /// Frames of ours that a newer one of the same message replaced while it waited. Not a loss.
    TransmitReplaced,
    /// Frames of ours whose message was stopped, or went silent, while they waited. Not a loss.
    TransmitWithdrawn,
    /// Frames that the kernel refused for another reason than a full queue.
    TransmitRefused,
    /// Times that the kernel's queue was full (ENOBUFS).
    TransmitBusy,
    /// Frames that wait to be sent now.
    TransmitWaiting,
    /// Restarts after bus-off, within this start of the controller.
    Restarts,
    /// [`FLAG_LISTEN_ONLY`] and so on, as the interface is set up.
    Mode,
    /// Bit/s as the interface is set up; 0: not known.
    BitRate,
    /// [`Trouble`] of the bus as a number: the likely cause of what is wrong.
    Trouble,
    /// CLOCK_MONOTONIC nanoseconds until which nothing of ours is sent (quarantine, listening); 0: none.
    SilentUntil,
    /// CLOCK_MONOTONIC nanoseconds of the last reading of the socket, whatever was in it; 0: there is none to read.
    ReadAt,
    /// Bit/s of the data phase as the interface is set up; 0: not known.
    DataBitRate,
    /// Bits of received and sent frames ([`crate::can::wire::Bits`]) at the nominal bit rate, and at the data bit rate.
    NominalBits,
    DataBits,
    /// Nanoseconds that these frames had the bus, while its bit rate was known.
    BusyTime,
    /// Share of the last second that frames had the bus, in millionths; above a million where nothing keeps to the bit rate.
    Load,
    /// CLOCK_MONOTONIC nanoseconds at which that second ended; 0: not known now.
    LoadAt,
    /// The highest [`BusWord::Load`] so far, and the CLOCK_REALTIME nanoseconds of its end; 0: there was none.
    LoadPeak,
    LoadPeakAt,
}

/// The CAN controller is set up not to send and not to acknowledge (CAN_CTRLMODE_LISTENONLY).
pub const FLAG_LISTEN_ONLY: u64 = 1;
/// The interface tells its mode and bit rate.
pub const FLAG_MODE_KNOWN: u64 = 2;

/// Words of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LinkWord {
    /// Frames of the source whose value was taken over.
    Passed = 0,
    /// Frames of the source with a value that the target can't say.
    Unfit,
    /// 1: the source is not good.
    Bad,
}

/// Words of a route: what it did with its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum RouteWord {
    /// Frames passed on.
    Passed = 0,
    /// Dropped: above the rate limit.
    RateLimited,
    /// Dropped: does not fit the other format, has not the byte to change, or its new identifier is impossible.
    Unfit,
    /// Dropped: the route is off.
    Off,
    /// Dropped on the way out, for whatever reason of the transmit queue.
    NotSent,
    /// 1: switched off by the storm detector or by command.
    Stopped,
}

/// Words of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum MessageWord {
    /// Nanoseconds: shortest interval between two frames so far.
    ShortestInterval = 0,
    /// Nanoseconds: longest.
    LongestInterval,
    /// Intervals shorter than configured.
    TooSoon,
    /// Frames with a wrong checksum.
    WrongChecksums,
    /// Frames with a wrong or repeated counter.
    WrongCounters,
    /// Times that it was late.
    Late,
    /// One of ours: [`Latch`] bits that hold it in fallback.
    Latched,
    /// Frames of ours, sent by somebody else.
    Foreign,
}

/// Words of a contract; buckets from [`CONTRACT_BUCKETS`] on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ContractWord {
    Count = 0,
    /// Nanoseconds.
    Sum,
    /// Nanoseconds.
    Max,
    /// CLOCK_REALTIME nanoseconds of the maximum.
    MaxAt,
    /// More than the budget.
    Overruns,
    /// CLOCK_REALTIME nanoseconds of the last overrun.
    OverrunAt,
}

/// First word of the histogram of a contract.
pub const CONTRACT_BUCKETS: usize = 8;
/// Buckets of the histogram: [`bucket`] and [`bucket_end`].
pub const BUCKETS: usize = CONTRACT_WORDS - CONTRACT_BUCKETS;

/// The bucket that counts a time in nanoseconds: everything below 1 µs in the first, then four for each doubling, so that
/// a bucket's end is at most a quarter above its beginning; the last takes all above 500 s.
pub fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < 1024 {
        return 0;
    }
    let octave = nanoseconds.ilog2() as usize;
    let quarter = (nanoseconds >> (octave - 2)) as usize & 3;
    ((octave - 10) * 4 + quarter + 1).min(BUCKETS - 1)
}

/// The end of a bucket in nanoseconds: all it counts is below. `u64::MAX` for the last.
pub fn bucket_end(bucket: usize) -> u64 {
    match bucket {
        0 => 1024,
        last if last >= BUCKETS - 1 => u64::MAX,
        _ => {
            let (octave, quarter) = ((bucket - 1) / 4 + 10, (bucket - 1) % 4);
            (5 + quarter as u64) << (octave - 2)
        }
    }
}

/// What belongs to one tag and not to its whole message; one byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks(pub u8);

impl Marks {
    pub const FORCED: u8 = 1;
    pub const INTERLOCKED: u8 = 2;
    pub const SUBSTITUTED: u8 = 4;

    pub fn causes(self) -> Causes {
        let one = |bit, cause| if self.0 & bit != 0 { Causes::of(cause) } else { Causes::NONE };
        one(Marks::FORCED, Cause::Forced)
            .and(one(Marks::INTERLOCKED, Cause::Interlocked))
            .and(one(Marks::SUBSTITUTED, Cause::Substituted))
    }
}

/// State of a bus as the machine side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u64)]
pub enum BusState {
    /// The interface does not exist.
    #[default]
    Gone = 0,
    /// It exists and is down.
    Down = 1,
    /// Error-active: normal.
    Active = 2,
    /// Error warning limit reached (a counter at 96 or more).
    Warning = 3,
    /// Error-passive.
    Passive = 4,
    BusOff = 5,
}

impl BusState {
    pub const ALL: [BusState; 6] =
        [BusState::Gone, BusState::Down, BusState::Active, BusState::Warning, BusState::Passive, BusState::BusOff];

    /// From its number; unknown numbers are `Gone`.
    pub fn from_word(word: u64) -> BusState {
        Self::ALL.into_iter().find(|s| *s as u64 == word).unwrap_or_default()
    }

    /// For labels and people.
    pub fn word(self) -> &'static str {
        match self {
            BusState::Gone => "gone",
            BusState::Down => "down",
            BusState::Active => "active",
            BusState::Warning => "warning",
            BusState::Passive => "passive",
            BusState::BusOff => "bus_off",
        }
    }
}

/// Sizes of one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub buses: usize,
    pub records: usize,
    pub messages: usize,
    pub tags: usize,
    pub routes: usize,
    pub links: usize,
    pub contracts: usize,
    pub alarms: usize,
    /// Tables of J1939 NAMEs.
    pub names: usize,
}

impl Layout {
    pub fn of(plan: &Plan) -> Layout {
        Layout {
            buses: plan.buses.len(),
            records: plan.records,
            messages: plan.messages.len(),
            tags: plan.tags.len(),
            routes: plan.routes.len(),
            links: plan.links.len(),
            contracts: plan.contracts.len(),
            alarms: plan.alarms.len(),
            names: plan.buses.iter().filter(|bus| bus.names.is_some()).count(),
        }
    }

    pub fn words(self) -> usize {
        self.events() + events::SLOTS * events::SLOT_WORDS
    }

    pub fn bytes(self) -> usize {
        self.words() * 8
    }

    pub fn bus(self, bus: usize, word: BusWord) -> usize {
        assert!(bus < self.buses, "bus out of the plan");
        HEADER_WORDS + bus * BUS_WORDS + word as usize
    }

    pub fn record(self, record: usize) -> usize {
        assert!(record < self.records, "record out of the plan");
        self.records_start() + record * RECORD_WORDS
    }

    pub fn message(self, message: usize, word: MessageWord) -> usize {
        assert!(message < self.messages, "message out of the plan");
        self.messages_start() + message * MESSAGE_WORDS + word as usize
    }

    pub fn route(self, route: usize, word: RouteWord) -> usize {
        assert!(route < self.routes, "route out of the plan");
        self.routes_start() + route * ROUTE_WORDS + word as usize
    }

    pub fn link(self, link: usize, word: LinkWord) -> usize {
        assert!(link < self.links, "link out of the plan");
        self.links_start() + link * LINK_WORDS + word as usize
    }

    /// First word of a contract.
    pub fn contract(self, contract: usize) -> usize {
        assert!(contract < self.contracts, "contract out of the plan");
        self.contracts_start() + contract * CONTRACT_WORDS
    }

    /// First word of an alarm.
    pub fn alarm(self, alarm: usize) -> usize {
        assert!(alarm < self.alarms, "alarm out of the plan");
        self.alarms_start() + alarm * ALARM_WORDS
    }

    /// First word of a force.
    pub fn force(self, slot: usize) -> usize {
        assert!(slot < FORCES, "no such force");
        self.forces_start() + slot * FORCE_WORDS
    }

    /// The word with a tag's marks, and how far they are shifted in it.
    pub fn marks(self, tag: usize) -> (usize, u32) {
        assert!(tag < self.tags, "tag out of the plan");
        (self.marks_start() + tag / MARKS_PER_WORD, (tag % MARKS_PER_WORD * 8) as u32)
    }

    /// First word of a table of J1939 NAMEs.
    pub fn names(self, table: usize) -> usize {
        assert!(table < self.names, "table of NAMEs out of the plan");
        self.names_start() + table * TABLE_WORDS
    }

    /// First word of the broadcast ring.
    pub fn ring(self) -> usize {
        self.names_start() + self.names * TABLE_WORDS
    }

    /// First word of the ring of alarm transitions.
    pub fn events(self) -> usize {
        self.ring() + SLOTS * SLOT_WORDS
    }

    fn records_start(self) -> usize {
        HEADER_WORDS + self.buses * BUS_WORDS
    }

    fn messages_start(self) -> usize {
        self.records_start() + self.records * RECORD_WORDS
    }

    fn routes_start(self) -> usize {
        self.messages_start() + self.messages * MESSAGE_WORDS
    }

    fn links_start(self) -> usize {
        self.routes_start() + self.routes * ROUTE_WORDS
    }

    fn contracts_start(self) -> usize {
        self.links_start() + self.links * LINK_WORDS
    }

    fn alarms_start(self) -> usize {
        self.contracts_start() + self.contracts * CONTRACT_WORDS
    }

    fn forces_start(self) -> usize {
        self.alarms_start() + self.alarms * ALARM_WORDS
    }

    fn marks_start(self) -> usize {
        self.forces_start() + FORCES * FORCE_WORDS
    }

    fn names_start(self) -> usize {
        self.marks_start() + self.tags.div_ceil(MARKS_PER_WORD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_that_ends_behind_it() {
        let mut last = 0;
        for bucket in 0..BUCKETS - 1 {
            let end = bucket_end(bucket);
            assert!(end > last, "{bucket}");
            assert!(bucket == 0 || end <= last + last / 4, "{bucket}: {last} to {end}");
            assert_eq!((super::bucket(end - 1), super::bucket(end), super::bucket(last)), (bucket, bucket + 1, bucket));
            last = end;
        }
        assert_eq!((super::bucket(u64::MAX), bucket_end(BUCKETS - 1)), (BUCKETS - 1, u64::MAX));
        assert!(last > 500_000_000_000, "{last}");
    }
}
