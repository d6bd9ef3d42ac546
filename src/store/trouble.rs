//! The likely cause of what is wrong with a bus.

/// The likely cause of errors on a bus, from the classes of error frames (linux/can/error.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u64)]
pub enum Trouble {
    #[default]
    None = 0,
    /// No acknowledgement.
    NoAcknowledge = 1,
    /// Stuff, form, CRC or bit errors.
    Protocol = 2,
    /// The transceiver says so.
    Transceiver = 3,
    /// Bits of ours are overwritten behind the identifier: two nodes with one identifier.
    SameIdentifier = 4,
    /// Frames lost in the controller.
    Overflow = 5,
    /// The interface is down or gone.
    Interface = 6,
    /// The controller left the bus, no error frame said why.
    Unknown = 7,
}

impl Trouble {
    pub const ALL: [Trouble; 8] = [
        Trouble::None,
        Trouble::NoAcknowledge,
        Trouble::Protocol,
        Trouble::Transceiver,
        Trouble::SameIdentifier,
        Trouble::Overflow,
        Trouble::Interface,
        Trouble::Unknown,
    ];

    /// From its number; unknown numbers are `None`.
    pub fn from_word(word: u64) -> Trouble {
        Self::ALL.into_iter().find(|t| *t as u64 == word).unwrap_or_default()
    }

    /// For people: what it is and where to look. Empty for none.
    pub fn text(self) -> &'static str {
        match self {
            Trouble::None => "",
            Trouble::NoAcknowledge => {
                "nobody acknowledges: alone on the bus (other nodes off, cable open), or wrong bit rate"
            }
            Trouble::Protocol => {
                "stuff, form, bit or CRC errors: wiring, termination, a wrong bit rate here or in another node"
            }
            Trouble::Transceiver => "the transceiver reports a fault: short circuit or broken wire of CAN_H or CAN_L",
            Trouble::SameIdentifier => {
                "bits that we send are overwritten behind the identifier: probably two nodes send the same one"
            }
            Trouble::Overflow => "the CAN controller lost frames: its interrupt is served too late",
            Trouble::Interface => "the interface is down or unplugged",
            Trouble::Unknown => "no error frame says why; see the error counters",
        }
    }
}
