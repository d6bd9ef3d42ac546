//! What is on the wire: identifiers and frames of classic CAN and CAN FD (ISO 11898-1).

pub mod name;
pub mod wire;

use std::fmt;

/// Largest payload of a CAN FD frame, in bytes.
pub const MAX_LEN: usize = 64;
/// Largest payload of a classic CAN frame, in bytes.
pub const MAX_CLASSIC_LEN: usize = 8;

/// A CAN identifier: 11 bits (standard) or 29 bits (extended). The two number spaces are separate.
///
/// Kept as SocketCAN and DBC files write it: bit 31 marks an extended identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(u32);

impl FrameId {
    const EXTENDED: u32 = 0x8000_0000;
    /// Largest 11-bit identifier.
    pub const MAX_STANDARD: u32 = 0x7FF;
    /// Largest 29-bit identifier.
    pub const MAX_EXTENDED: u32 = 0x1FFF_FFFF;

    /// An 11-bit identifier, or `None` where the number needs more bits.
    pub const fn standard(number: u32) -> Option<FrameId> {
        if number <= Self::MAX_STANDARD { Some(FrameId(number)) } else { None }
    }

    /// A 29-bit identifier, or `None` where the number needs more bits.
    pub const fn extended(number: u32) -> Option<FrameId> {
        if number <= Self::MAX_EXTENDED { Some(FrameId(number | Self::EXTENDED)) } else { None }
    }

    /// From the form with bit 31 for "extended"; `None` where the number does not fit its kind.
    pub const fn from_bits(bits: u32) -> Option<FrameId> {
        if bits & Self::EXTENDED != 0 { Self::extended(bits & !Self::EXTENDED) } else { Self::standard(bits) }
    }

    /// The number with bit 31 set for an extended identifier.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The bare 11- or 29-bit number.
    pub const fn number(self) -> u32 {
        self.0 & !Self::EXTENDED
    }

    /// Whether this is a 29-bit identifier.
    pub const fn is_extended(self) -> bool {
        self.0 & Self::EXTENDED != 0
    }

    /// The J1939 parameter group number of an extended identifier (SAE J1939-21, 5.2):
    /// the destination address of a PDU1 format is not part of it.
    pub const fn pgn(self) -> u32 {
        let number = self.number();
        let pdu_format = (number >> 16) & 0xFF;
        let with_destination = (number >> 8) & 0x3_FFFF;
        if pdu_format < 240 { with_destination & 0x3_FF00 } else { with_destination }
    }

    /// The J1939 source address of an extended identifier.
    pub const fn source_address(self) -> u8 {
        (self.number() & 0xFF) as u8
    }
}

/// As candump writes it: `1F4` or `18FEEE00`.
impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_extended() { write!(f, "{:08X}", self.number()) } else { write!(f, "{:03X}", self.number()) }
    }
}

impl fmt::Debug for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameId({self})")
    }
}

/// A data or remote frame. Error frames are not frames on the wire; they are bus events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    pub id: FrameId,
    /// CAN FD format; payload up to 64 bytes.
    pub fd: bool,
    /// FD only: sent with the second bit rate.
    pub bit_rate_switch: bool,
    /// FD only: the sender is error-passive.
    pub error_state: bool,
    /// Classic only: a remote transmission request; carries no data.
    pub remote: bool,
    len: u8,
    data: [u8; MAX_LEN],
}

impl Frame {
    /// A classic frame without data, identifier 0.
    pub const EMPTY: Frame = Frame {
        id: FrameId(0),
        fd: false,
        bit_rate_switch: false,
        error_state: false,
        remote: false,
        len: 0,
        data: [0; MAX_LEN],
    };

    /// A classic data frame; `None` for more than 8 bytes.
    pub fn classic(id: FrameId, data: &[u8]) -> Option<Frame> {
        (data.len() <= MAX_CLASSIC_LEN).then(|| Self::filled(id, data, false))
    }

    /// A classic data frame of the first `len` of eight bytes; `None` for more than 8. No loop over a length: the shape that
    /// almost every frame has on its way through.
    pub fn classic_of(id: FrameId, bytes: [u8; MAX_CLASSIC_LEN], len: usize) -> Option<Frame> {
        if len > MAX_CLASSIC_LEN {
            return None;
        }
        let kept = u64::MAX.checked_shr(64 - 8 * len as u32).unwrap_or(0);
        let mut frame = Frame { id, len: len as u8, ..Frame::EMPTY };
        frame.data[..MAX_CLASSIC_LEN].copy_from_slice(&(u64::from_le_bytes(bytes) & kept).to_le_bytes());
        Some(frame)
    }

    /// The first eight bytes of data; 0 behind the payload.
    pub fn first_bytes(&self) -> [u8; MAX_CLASSIC_LEN] {
        std::array::from_fn(|index| self.data[index])
    }

    /// A CAN FD data frame; `None` for a length that no DLC stands for (see [`fd_len`]).
    pub fn fd(id: FrameId, data: &[u8]) -> Option<Frame> {
        (fd_len(data.len()) == Some(data.len())).then(|| Self::filled(id, data, true))
    }

    /// A remote frame asking for `len` bytes (0 to 8).
    pub fn remote(id: FrameId, len: u8) -> Option<Frame> {
        (len as usize <= MAX_CLASSIC_LEN).then(|| Frame { remote: true, len, ..Self::filled(id, &[], false) })
    }

    fn filled(id: FrameId, bytes: &[u8], fd: bool) -> Frame {
        let mut data = [0; MAX_LEN];
        data[..bytes.len()].copy_from_slice(bytes);
        Frame { id, fd, bit_rate_switch: false, error_state: false, remote: false, len: bytes.len() as u8, data }
    }

    /// The payload; empty for a remote frame.
    pub fn payload(&self) -> &[u8] {
        if self.remote { &[] } else { &self.data[..self.len as usize] }
    }

    /// The payload for writing; empty for a remote frame.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        if self.remote { &mut [] } else { &mut self.data[..self.len as usize] }
    }

    /// The length in bytes that the DLC says (also for a remote frame).
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the DLC says 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The shortest length that a CAN FD frame can have for `len` bytes of data; `None` above 64.
/// Lengths above 8 come in steps: 12, 16, 20, 24, 32, 48, 64 (ISO 11898-1, DLC 9 to 15).
pub const fn fd_len(len: usize) -> Option<usize> {
    Some(match len {
        0..=8 => len,
        9..=12 => 12,
        13..=16 => 16,
        17..=20 => 20,
        21..=24 => 24,
        25..=32 => 32,
        33..=48 => 48,
        49..=64 => 64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_and_extended_are_different_identifiers() {
        let s = FrameId::standard(0x123).unwrap();
        let e = FrameId::extended(0x123).unwrap();
        assert_ne!(s, e);
        assert_eq!((s.to_string(), e.to_string()), ("123".into(), "00000123".into()));
        assert_eq!(FrameId::from_bits(e.bits()), Some(e));
        assert_eq!(FrameId::standard(0x800), None);
        assert_eq!(FrameId::extended(0x2000_0000), None);
        assert_eq!(FrameId::from_bits(0xC000_0000), None);
    }

    #[test]
    fn parameter_group_number() {
        // PDU2: EEC1 from engine; PDU1: TSC1 to engine 0x00 from 0x03 keeps no destination
        assert_eq!(FrameId::extended(0x0CF0_0400).unwrap().pgn(), 0xF004);
        assert_eq!(FrameId::extended(0x0C00_0003).unwrap().pgn(), 0x0000);
        assert_eq!(FrameId::extended(0x18EA_FF21).unwrap().pgn(), 0xEA00);
        assert_eq!(FrameId::extended(0x18EA_FF21).unwrap().source_address(), 0x21);
    }

    #[test]
    fn lengths() {
        let id = FrameId::standard(1).unwrap();
        assert!(Frame::classic(id, &[0; 9]).is_none());
        for len in 0..=9 {
            let expected = [1, 2, 3, 4, 5, 6, 7, 8].get(..len).and_then(|bytes| Frame::classic(id, bytes));
            assert_eq!(Frame::classic_of(id, [1, 2, 3, 4, 5, 6, 7, 8], len), expected);
        }
        assert_eq!(Frame::classic(id, &[1, 2]).unwrap().first_bytes(), [1, 2, 0, 0, 0, 0, 0, 0]);
        assert!(Frame::fd(id, &[0; 9]).is_none());
        assert_eq!(Frame::fd(id, &[7; 12]).unwrap().payload(), [7; 12]);
        assert_eq!(Frame::remote(id, 4).unwrap().payload(), [0u8; 0]);
        assert_eq!(fd_len(33), Some(48));
        assert_eq!(fd_len(65), None);
    }
}
