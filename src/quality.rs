//! Why a value is or is not good: the causes, and the one table that every protocol takes its words and codes from.

use std::fmt;

/// One reason for doubt. The order is the order of precedence: where several hold, the first is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// The controller process is gone or stuck: nothing here is being kept up to date.
    ControllerGone,
    /// An operator has set the value until a given time; what the machine says is not shown.
    Forced,
    /// The Linux network interface is down or does not exist.
    InterfaceGone,
    /// The CAN controller has left the bus (ISO 11898-1, fault confinement).
    BusOff,
    /// No frame of this message has arrived since the start.
    NeverReceived,
    /// Frames arrive, but none yet in which this multiplexed signal is present.
    BranchNotSeen,
    /// The device is switched off by design (`expected_when` does not hold): nothing is missing.
    NotExpected,
    /// One of our messages that is not being sent now: disarmed and silent until armed, a foreign sender, a source that is
    /// not good.
    NotSent,
    /// The last frame had a wrong checksum; the last good one is held.
    Checksum,
    /// The last frame had a wrong counter; the last good one is held.
    Counter,
    /// The receive deadline has passed; the last value is held.
    Late,
    /// Frames may have been lost on the way since the last one; until the next good one.
    Lost,
    /// The sender says so: SAE J1939-71 code, or a value table entry "not available".
    NotAvailable,
    /// Outside the range that the DBC gives; shown as received, never clipped.
    OutOfRange,
    /// One of our outputs has its fallback value: not armed, or latched.
    Fallback,
    /// One of our outputs is held by an interlock.
    Interlocked,
    /// One of our outputs has a substitute, because the source of its link is not good.
    Substituted,
    /// Made up by a simulated device: there is no machine behind it.
    Simulated,
}

/// How much a value may be trusted, as OPC UA divides it (OPC 10000-8, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    Good,
    Uncertain,
    Bad,
}

/// What one cause is called and coded as, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Value of the metric label `quality` and of `--json`.
    pub label: &'static str,
    /// For people.
    pub text: &'static str,
    /// OPC UA StatusCode (OPC 10000-6, annex A.2).
    pub status: u32,
    /// The StatusCode's name.
    pub status_name: &'static str,
    pub trust: Trust,
}

/// The meaning of "no cause at all".
pub const GOOD: Meaning = Meaning { label: "good", text: "good", status: 0, status_name: "Good", trust: Trust::Good };

impl Cause {
    /// All causes, worst first.
    pub const ALL: [Cause; 18] = [
        Cause::ControllerGone,
        Cause::Forced,
        Cause::InterfaceGone,
        Cause::BusOff,
        Cause::NeverReceived,
        Cause::BranchNotSeen,
        Cause::NotExpected,
        Cause::NotSent,
        Cause::Checksum,
        Cause::Counter,
        Cause::Late,
        Cause::Lost,
        Cause::NotAvailable,
        Cause::OutOfRange,
        Cause::Fallback,
        Cause::Interlocked,
        Cause::Substituted,
        Cause::Simulated,
    ];

    /// The table. The README shows the same; a test keeps them together.
    pub const fn meaning(self) -> Meaning {
        let (label, text, status, status_name, trust) = match self {
            Cause::ControllerGone => {
                ("controller_gone", "controller gone", 0x808B_0000, "BadDeviceFailure", Trust::Bad)
            }
            Cause::Forced => ("forced", "forced by an operator", 0x0096_0000, "GoodLocalOverride", Trust::Good),
            Cause::NotExpected => {
                ("not_expected", "device is switched off", 0x808D_0000, "BadOutOfService", Trust::Bad)
            }
            Cause::NotSent => ("not_sent", "not being sent", 0x808D_0000, "BadOutOfService", Trust::Bad),
            Cause::Checksum => (
                "checksum",
                "checksum wrong, last good value held",
                0x4090_0000,
                "UncertainLastUsableValue",
                Trust::Uncertain,
            ),
            Cause::Counter => (
                "counter",
                "counter wrong, last good value held",
                0x4090_0000,
                "UncertainLastUsableValue",
                Trust::Uncertain,
            ),
            Cause::Lost => ("lost", "frames may have been lost", 0x4095_0000, "UncertainSubNormal", Trust::Uncertain),
            Cause::Fallback => {
                ("fallback", "fallback value in force", 0x4091_0000, "UncertainSubstituteValue", Trust::Uncertain)
            }
            Cause::Interlocked => {
                ("interlocked", "held by an interlock", 0x4091_0000, "UncertainSubstituteValue", Trust::Uncertain)
            }
            Cause::Substituted => (
                "substituted",
                "substitute, source not good",
                0x4091_0000,
                "UncertainSubstituteValue",
                Trust::Uncertain,
            ),
            Cause::InterfaceGone => {
                ("interface_gone", "interface down or gone", 0x808A_0000, "BadNotConnected", Trust::Bad)
            }
            Cause::BusOff => ("bus_off", "bus off", 0x8031_0000, "BadNoCommunication", Trust::Bad),
            Cause::NeverReceived => {
                ("never_received", "never received", 0x8032_0000, "BadWaitingForInitialData", Trust::Bad)
            }
            Cause::BranchNotSeen => {
                ("branch_not_seen", "multiplexor branch not seen", 0x8032_0000, "BadWaitingForInitialData", Trust::Bad)
            }
            Cause::Late => (
                "late",
                "late, last value held",
                0x408F_0000,
                "UncertainNoCommunicationLastUsableValue",
                Trust::Uncertain,
            ),
            Cause::NotAvailable => {
                ("not_available", "not available, says the sender", 0x808C_0000, "BadSensorFailure", Trust::Bad)
            }
            Cause::OutOfRange => (
                "out_of_range",
                "outside the DBC's range",
                0x4094_0000,
                "UncertainEngineeringUnitsExceeded",
                Trust::Uncertain,
            ),
            // Good, because a desk test must look to clients like the machine will; the sub-code says "does not come
            // from the real source" (OPC 10000-8, GoodEdited), and a banner says it to people.
            Cause::Simulated => ("simulated", "simulated", 0x00DC_0000, "GoodEdited", Trust::Good),
        };
        Meaning { label, text, status, status_name, trust }
    }
}

/// A set of causes; empty means good.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Causes(u32);

impl Causes {
    pub const NONE: Causes = Causes(0);

    /// The set of just this cause.
    pub const fn of(cause: Cause) -> Causes {
        Causes(1 << cause as u8)
    }

    /// From [`Causes::bits`]; bits without a meaning are dropped.
    pub const fn from_bits(bits: u32) -> Causes {
        Causes(bits & ((1 << Cause::ALL.len()) - 1))
    }

    pub const fn bits(self) -> u32 {
        self.0
    }

    pub const fn contains(self, cause: Cause) -> bool {
        self.0 & (1 << cause as u8) != 0
    }

    #[must_use]
    pub const fn with(self, cause: Cause) -> Causes {
        Causes(self.0 | 1 << cause as u8)
    }

    #[must_use]
    pub const fn without(self, cause: Cause) -> Causes {
        Causes(self.0 & !(1 << cause as u8))
    }

    #[must_use]
    pub const fn and(self, other: Causes) -> Causes {
        Causes(self.0 | other.0)
    }

    /// The cause that is shown, `None` for good.
    pub fn worst(self) -> Option<Cause> {
        Cause::ALL.into_iter().find(|c| self.contains(*c))
    }

    /// Whether the worst cause, if any, still means [`Trust::Good`].
    pub const fn is_good(self) -> bool {
        const OVER_ALL: Causes = Causes::of(Cause::ControllerGone);
        const GOOD: Causes = Causes::of(Cause::Forced).with(Cause::Simulated);
        self.0 & !GOOD.0 == 0 || self.0 & OVER_ALL.0 == 0 && self.contains(Cause::Forced)
    }

    /// The meaning of the worst cause, or [`GOOD`].
    pub fn meaning(self) -> Meaning {
        self.worst().map_or(GOOD, Cause::meaning)
    }
}

impl fmt::Debug for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Cause::ALL.into_iter().filter(|c| self.contains(*c))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_cause_is_shown() {
        let both = Causes::of(Cause::Simulated).with(Cause::Late);
        assert_eq!(both.worst(), Some(Cause::Late));
        assert_eq!(both.without(Cause::Late).meaning().label, "simulated");
        assert_eq!(Causes::NONE.meaning(), GOOD);
        assert_eq!(Causes::from_bits(u32::MAX).worst(), Some(Cause::ControllerGone));
    }

    #[test]
    fn all_is_in_order_and_trust_agrees_with_the_status_code() {
        for (i, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, i);
            let m = cause.meaning();
            let severity = match m.trust {
                Trust::Good => 0,
                Trust::Uncertain => 1,
                Trust::Bad => 2,
            };
            assert_eq!(m.status >> 30, severity, "{m:?}");
            for other in Cause::ALL {
                let both = Causes::of(cause).with(other);
                assert_eq!(both.is_good(), both.meaning().trust == Trust::Good, "{both:?}");
            }
        }
    }
}
