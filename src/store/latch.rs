//! Why an output of ours is held in fallback.

/// Why an output is held in fallback: one bit each in `MessageWord::Latched`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Latch {
    /// Not armed since the start.
    Start = 1,
    /// The bus was off.
    BusOff = 2,
    /// A vital input was not good.
    Vital = 4,
    /// The plant did not renew its lease.
    Lease = 8,
    /// A cycle missed its budget.
    Overrun = 16,
    /// Somebody else sends this message.
    Foreign = 32,
    /// Disarmed by command.
    Command = 64,
    /// It came with a reload, or came back changed.
    Reload = 128,
    /// An alarm was raised on which it falls back.
    Alarm = 256,
    /// Taken to fallback by hand, it or all outputs.
    Hand = 512,
}

impl Latch {
    pub const ALL: [Latch; 10] = [
        Latch::Start,
        Latch::BusOff,
        Latch::Vital,
        Latch::Lease,
        Latch::Overrun,
        Latch::Foreign,
        Latch::Command,
        Latch::Reload,
        Latch::Alarm,
        Latch::Hand,
    ];

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Latch::Start => "not armed since the start",
            Latch::BusOff => "the bus was off or gone",
            Latch::Vital => "an input that it needs was not good",
            Latch::Lease => "the plant stopped renewing its lease",
            Latch::Overrun => "a cycle was later than its budget",
            Latch::Foreign => "another node sends this message",
            Latch::Command => "disarmed by command",
            Latch::Reload => "new or changed by a reload",
            Latch::Alarm => "an alarm was raised on which it falls back",
            Latch::Hand => "taken to fallback by hand",
        }
    }
}
