//! What is where in the store's memory, in 64-bit words.

/// "CANVOY" and the version of this layout; a reader of another version refuses.
pub const MAGIC: u64 = u64::from_be_bytes(*b"CANVOY\0\x01");

/// Words of the header.
pub const HEADER_WORDS: usize = 128;
/// Words of a bus.
pub const BUS_WORDS: usize = 32;
/// Words of a record: two cache lines.
pub const RECORD_WORDS: usize = 16;

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
    /// Nanoseconds: the sum of what [`Word::Lateness`] counts.
    LatenessSum,
    /// First of [`LATENESS_BUCKETS`] words: how late the timer was when it served a deadline.
    Lateness,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub buses: usize,
    pub records: usize,
}

impl Layout {
    pub fn words(self) -> usize {
        HEADER_WORDS + self.buses * BUS_WORDS + self.records * RECORD_WORDS
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
        HEADER_WORDS + self.buses * BUS_WORDS + record * RECORD_WORDS
    }
}
