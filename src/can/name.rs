//! The NAME of a J1939 device and the frames that tell it (SAE J1939-81; the same in ISO 11783-5).

use std::fmt;

use super::Frame;

/// Addresses that a device can hold: 0 to 253. 254 is "cannot claim", 255 "all" (SAE J1939-81, 4.2).
pub const ADDRESSES: usize = 254;
/// Parameter group Address Claimed, which is Cannot Claim too.
pub const PGN: u32 = 0xEE00;

const NULL_ADDRESS: u8 = 254;
const GLOBAL_ADDRESS: u8 = 255;

/// The 64 bits that say which device of the world it is, and what it does on its bus (SAE J1939-81, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u64);

impl Name {
    /// Given by the manufacturer, so that no two of his devices have the same: 21 bits.
    pub const fn identity_number(self) -> u32 {
        self.bits(0, 21) as u32
    }

    /// The manufacturer by the list of SAE: 11 bits.
    pub const fn manufacturer_code(self) -> u16 {
        self.bits(21, 11) as u16
    }

    /// Which of several ECUs that share one function: 3 bits.
    pub const fn ecu_instance(self) -> u8 {
        self.bits(32, 3) as u8
    }

    /// Which of several functions of the same kind in the same vehicle system: 5 bits.
    pub const fn function_instance(self) -> u8 {
        self.bits(35, 5) as u8
    }

    /// What it does: below 128 the same in every industry group, above that by industry group and vehicle system. 8 bits.
    pub const fn function(self) -> u8 {
        self.bits(40, 8) as u8
    }

    /// Kind of vehicle or part of it, by industry group: 7 bits. Bit 48 below it is reserved.
    pub const fn vehicle_system(self) -> u8 {
        self.bits(49, 7) as u8
    }

    /// Which of several vehicle systems of the same kind: 4 bits.
    pub const fn vehicle_system_instance(self) -> u8 {
        self.bits(56, 4) as u8
    }

    /// 0: global, 1: on-highway, 2: agriculture and forestry, 3: construction, 4: marine, 5: industrial. 3 bits.
    pub const fn industry_group(self) -> u8 {
        self.bits(60, 3) as u8
    }

    /// It can take another address where the one it wants is taken.
    pub const fn is_arbitrary_address_capable(self) -> bool {
        self.bits(63, 1) == 1
    }

    const fn bits(self, first: u32, count: u32) -> u64 {
        self.0 >> first & ((1 << count) - 1)
    }
}

/// Sixteen hexadecimal digits, as a number.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// What a frame of the parameter group says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The device of this NAME wants this address, or has it.
    Address(u8, Name),
    /// The device of this NAME has none.
    Cannot(Name),
    /// It has less than the 8 bytes of a NAME.
    Short,
}

impl Claim {
    /// `None` for every other frame. Both messages go to all (SAE J1939-81, 4.2); nothing comes from the address of all.
    pub fn of(frame: &Frame) -> Option<Claim> {
        let (id, to) = (frame.id, (frame.id.number() >> 8) as u8);
        if !id.is_extended() || id.pgn() != PGN || to != GLOBAL_ADDRESS || frame.remote {
            return None;
        }
        let source = id.source_address();
        let Some(bytes) = frame.payload().first_chunk().filter(|_| source != GLOBAL_ADDRESS) else {
            return (source != GLOBAL_ADDRESS).then_some(Claim::Short);
        };
        let name = Name(u64::from_le_bytes(*bytes));
        Some(if source == NULL_ADDRESS { Claim::Cannot(name) } else { Claim::Address(source, name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::can::FrameId;

    /// Made by tests/fixtures/j1939/names.py with the NAME class of another implementation.
    const NAMES: &str = include_str!("../../tests/fixtures/j1939/names.csv");

    #[test]
    fn fields_are_those_that_another_implementation_reads() {
        let mut seen = 0;
        for line in NAMES.lines().skip(1) {
            let numbers: Vec<u64> = line.split(',').skip(1).map(|field| field.parse().unwrap()).collect();
            let bytes = line.split(',').next().unwrap();
            let bytes: [u8; 8] = std::array::from_fn(|at| u8::from_str_radix(&bytes[at * 2..at * 2 + 2], 16).unwrap());
            let frame = Frame::classic(FrameId::extended(0x18EE_FF21).unwrap(), &bytes).unwrap();
            let Some(Claim::Address(0x21, name)) = Claim::of(&frame) else { panic!("{line}") };
            let fields = [
                u64::from(name.is_arbitrary_address_capable()),
                name.industry_group().into(),
                name.vehicle_system_instance().into(),
                name.vehicle_system().into(),
                name.function().into(),
                name.function_instance().into(),
                name.ecu_instance().into(),
                name.manufacturer_code().into(),
                name.identity_number().into(),
            ];
            assert_eq!(fields[..], numbers[1..], "{line}");
            assert_eq!(name.0, numbers[0], "{line}");
            seen += 1;
        }
        assert!(seen >= 100, "{seen}");
    }

    #[test]
    fn frames_that_tell_a_name() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        let name = Name(0x0807_0605_0403_0201);
        let extended = |id| FrameId::extended(id).unwrap();
        for (id, length, want) in [
            (extended(0x18EE_FF21), 8, Some(Claim::Address(0x21, name))),
            // whatever the priority; the last address there is
            (extended(0x00EE_FFFD), 8, Some(Claim::Address(0xFD, name))),
            (extended(0x18EE_FFFE), 8, Some(Claim::Cannot(name))),
            (extended(0x18EE_FF21), 7, Some(Claim::Short)),
            (extended(0x18EE_FFFE), 0, Some(Claim::Short)),
            (extended(0x18EE_FFFF), 8, None),
            (extended(0x18EE_FFFF), 2, None),
            // to one device; of the other data page; another group; a standard frame
            (extended(0x18EE_2021), 8, None),
            (extended(0x19EE_FF21), 8, None),
            (extended(0x18EA_FF21), 8, None),
            (FrameId::standard(0x721).unwrap(), 8, None),
        ] {
            assert_eq!(Claim::of(&Frame::classic(id, &bytes[..length]).unwrap()), want, "{id} {length}");
        }
        assert_eq!(Claim::of(&Frame::remote(extended(0x18EE_FF21), 8).unwrap()), None);
        let long = Frame::fd(extended(0x18EE_FF21), &[bytes, bytes].concat()[..12]).unwrap();
        assert_eq!(Claim::of(&long), Some(Claim::Address(0x21, name)));
        assert_eq!(name.to_string(), "0807060504030201");
    }
}
