//! How many bits of a bus's time a frame takes on the wire (ISO 11898-1: frame formats, bit stuffing).
//!
//! What the format alone decides is exact: every field up to the end of frame, and the three bits of intermission before the
//! next frame may begin. The stuff bits are an estimate from the runs of equal bits in identifier and data. To count them
//! takes the checksum and a walk over the bits: four to ten times the time, for a load that differs by less than one part in
//! a hundred. Leaving them out would make it up to 11 % too low, and taking the most that there can be 20 % too high.

use super::Frame;

/// Bits of one frame at each of the two bit rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bits {
    /// At the nominal bit rate.
    pub nominal: u32,
    /// At the data bit rate: of a CAN FD frame that switches, from ESI to the end of the checksum.
    pub data: u32,
}

/// CRC delimiter, acknowledge slot and delimiter, end of frame (7), intermission (3): no stuff bits among them.
const TAIL: u32 = 13;
/// Start of frame, identifier, RTR, IDE, r0, DLC.
const HEAD: u32 = 19;
/// The same with SRR, r1, and 18 bits more of the identifier.
const HEAD_EXTENDED: u32 = 39;
const CRC: u32 = 15;
/// Start of frame, identifier, RRS, IDE, FDF, res, BRS.
const FD_HEAD: u32 = 17;
/// The same with SRR, and 18 bits more of the identifier.
const FD_HEAD_EXTENDED: u32 = 36;
/// ESI, DLC.
const FD_CONTROL: u32 = 5;
/// Stuff count (4 bits) and 17 of CRC, with 6 fixed stuff bits.
const FD_CRC: u32 = 27;
/// Stuff count and 21 of CRC, with 7 fixed stuff bits: for more than 16 bytes.
const FD_CRC_LONG: u32 = 32;

/// SRR and IDE of an extended frame: both recessive.
const SRR_IDE: u64 = 0b11;
/// FDF, res, BRS: recessive, dominant, and recessive where it switches.
const FDF: u64 = 0b100;
/// Fifths of a stuff bit on top of what the runs say, before rounding down: what is not looked at (the CRC of a classic
/// frame), and runs that go on behind a stuff bit. Chosen so that the mean over many frames is right.
const CLASSIC_MORE: u32 = 4;
const FD_HEAD_MORE: u32 = 1;
const FD_DATA_MORE: u32 = 1;

/// The bits of a data or remote frame. Of a few nanoseconds, so that it can be asked for every frame.
pub fn bits(frame: &Frame) -> Bits {
    if frame.fd { fd(frame) } else { Bits { nominal: classic(frame), data: 0 } }
}

fn classic(frame: &Frame) -> u32 {
    // RTR, then two dominant bits, then the DLC
    let control = u64::from(frame.remote) << 6 | u64::from(frame.len);
    let (head, size) = head(frame, 7, (HEAD, HEAD_EXTENDED));
    let data = 8 * frame.payload().len() as u32;
    let runs = runs(head | control, size) + runs_ahead(u64::from_be_bytes(frame.first_bytes()), data);
    size + data + CRC + (runs + CLASSIC_MORE) / 5 + TAIL
}

fn fd(frame: &Frame) -> Bits {
    let (head, size) = head(frame, 5 - u32::from(frame.id.is_extended()), (FD_HEAD, FD_HEAD_EXTENDED));
    let head = runs(head | FDF | u64::from(frame.bit_rate_switch), size);
    let payload = frame.payload();
    let words = payload.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        runs_ahead(u64::from_be_bytes(word), 8 * bytes.len() as u32)
    });
    let crc = if payload.len() > 16 { FD_CRC_LONG } else { FD_CRC };
    let data = FD_CONTROL + 8 * payload.len() as u32 + (words.sum::<u32>() + FD_DATA_MORE) / 5 + crc;
    let nominal = size + (head + FD_HEAD_MORE) / 5 + TAIL;
    match frame.bit_rate_switch {
        true => Bits { nominal, data },
        false => Bits { nominal: nominal + data, data: 0 },
    }
}

/// Start of frame to the end of the identifier, with room for `below` more bits, and the size of all that.
fn head(frame: &Frame, below: u32, (standard, extended): (u32, u32)) -> (u64, u32) {
    let number = u64::from(frame.id.number());
    match frame.id.is_extended() {
        true => (((number >> 18) << 2 | SRR_IDE) << 18 << below | (number & 0x3_FFFF) << below, extended),
        false => (number << below, standard),
    }
}

/// Runs in the last `size` bits, at least one.
fn runs(word: u64, size: u32) -> u32 {
    runs_ahead(word << (64 - size), size)
}

/// Fifths of a stuff bit for the runs of five and more equal bits within the first `size` bits: five for a run of five (a
/// stuff bit follows), and one for each bit more. A run cut in two counts as two.
fn runs_ahead(word: u64, size: u32) -> u32 {
    // of each bit: the next one is the same
    let same = !(word ^ word << 1) & !(u64::MAX >> size.saturating_sub(1));
    let fives = same & same << 1 & same << 2 & same << 3;
    let firsts = fives & !(fives >> 1);
    fives.count_ones() + 4 * firsts.count_ones()
}

#[cfg(test)]
mod tests;
