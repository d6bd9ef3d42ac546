//! One protected message compiled: where counter and checksum are, and what the checksum must be.

use super::{Algorithm, Checksum, Covers, DataId, Nibble, Protection, Scheme};
use crate::can::{FrameId, MAX_LEN};
use crate::dbc::codec::{ByteOrder, Kind};
use crate::dbc::{Codec, Raw};

/// TSC1 counts to 7 (SAE J1939-71, SPN 4206).
const TSC1_MODULUS: u64 = 8;
/// 15 is the error value of profiles 1 and 11 (PRS_E2E_00075).
const NIBBLE_WITHOUT_15: u64 = 15;

#[derive(Clone, Debug)]
pub struct Guard {
    /// Bytes that are protected.
    pub length: usize,
    /// Place, and number of values.
    pub counter: Option<(Codec, u64)>,
    /// The counter of the first frame.
    pub first: u64,
    checksum: Option<Codec>,
    /// The checksum's bits.
    mask: [u8; MAX_LEN],
    /// Part of the data ID that is sent.
    nibble: Option<(Codec, u64)>,
    method: Method,
}

/// How the checksum is calculated.
#[derive(Clone, Debug)]
enum Method {
    None,
    Plain(Checksum),
    /// Profiles 1 and 11: the CRC of SAE J1850, but with 0 as start value and XOR value (PRS_E2E_00070).
    J1850(DataId),
    /// Profiles 2 and 22.
    H2f([u8; 16]),
    /// Profile 5.
    Ccitt(u16),
    Tsc1,
}

impl Guard {
    pub fn new(protection: &Protection) -> Guard {
        let mut guard = Guard {
            length: protection.length.min(MAX_LEN),
            counter: None,
            first: 0,
            checksum: None,
            mask: [0; MAX_LEN],
            nibble: None,
            method: Method::None,
        };
        match &protection.scheme {
            Scheme::Plain { counter, checksum } => {
                guard.counter = counter.map(|counter| (counter.codec, counter.modulus.max(1)));
                guard.checksum = checksum.as_ref().map(|checksum| checksum.codec);
                guard.method = checksum.clone().map_or(Method::None, Method::Plain);
            }
            Scheme::Profile1 { crc, counter, data_id, .. } | Scheme::Profile11 { crc, counter, data_id } => {
                guard.counter = nibble(*counter).map(|codec| (codec, NIBBLE_WITHOUT_15));
                guard.checksum = unsigned(u16::from(*crc) * 8, 8);
                if let DataId::Nibble(id, place) = data_id {
                    guard.nibble = nibble(*place).map(|codec| (codec, u64::from(id >> 8 & 0xF)));
                }
                guard.method = Method::J1850(*data_id);
            }
            Scheme::Profile2 { data_ids, .. } => guard.with_data_ids(0, data_ids),
            Scheme::Profile22 { header, data_ids } => guard.with_data_ids(*header, data_ids),
            Scheme::Profile5 { header, data_id } => {
                let start = u16::from(*header) * 8;
                guard.checksum = unsigned(start, 16);
                guard.counter = unsigned(start + 16, 8).map(|codec| (codec, 256));
                guard.method = Method::Ccitt(*data_id);
            }
            Scheme::Tsc1 => {
                guard.counter = unsigned(56, 4).map(|codec| (codec, TSC1_MODULUS));
                guard.checksum = unsigned(60, 4);
                guard.method = Method::Tsc1;
            }
        }
        if let Some(checksum) = &guard.checksum {
            checksum.mask(&mut guard.mask);
        }
        guard
    }

    fn with_data_ids(&mut self, header: u8, data_ids: &[u8; 16]) {
        let start = u16::from(header) * 8;
        self.checksum = unsigned(start, 8);
        self.counter = unsigned(start + 8, 4).map(|codec| (codec, 16));
        // E2E_P02Protect adds 1 to its state's 0 before it writes the counter, and so does E2E_P22Protect
        self.first = 1;
        self.method = Method::H2f(*data_ids);
    }

    /// The protected bytes of a payload; `None` where it is too short, or where the scheme's places are not inside.
    pub fn data<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        payload.get(..self.length).filter(|data| self.fits(data.len()))
    }

    /// [`Guard::data`] for writing.
    pub fn data_mut<'a>(&self, payload: &'a mut [u8]) -> Option<&'a mut [u8]> {
        payload.get_mut(..self.length).filter(|data| self.fits(data.len()))
    }

    fn fits(&self, len: usize) -> bool {
        let places = [self.counter.map(|(codec, _)| codec), self.checksum, self.nibble.map(|(codec, _)| codec)];
        places.iter().flatten().all(|codec| codec.fits(len))
    }

    /// Writes counter, data ID and checksum into the protected bytes.
    pub fn write(&self, id: FrameId, counter: u64, data: &mut [u8]) {
        for (codec, value) in [self.counter.map(|(codec, _)| (codec, counter)), self.nibble].into_iter().flatten() {
            put(&codec, value, data);
        }
        if let Some(codec) = &self.checksum {
            put(codec, self.expected(id, data), data);
        }
    }

    /// Whether checksum and sent data ID are as they must be.
    pub fn is_right(&self, id: FrameId, data: &[u8]) -> bool {
        let checksum = self.checksum.is_none_or(|codec| bits(&codec, data) == self.expected(id, data));
        checksum && self.nibble.is_none_or(|(codec, value)| bits(&codec, data) == value)
    }

    /// The counter as received.
    pub fn received(&self, data: &[u8]) -> Option<u64> {
        self.counter.map(|(codec, _)| bits(&codec, data))
    }

    /// The checksum's bits as they must be.
    fn expected(&self, id: FrameId, data: &[u8]) -> u64 {
        let counter = || self.received(data).unwrap_or(0);
        match &self.method {
            Method::None => 0,
            Method::Plain(checksum) => {
                let Checksum { algorithm, .. } = checksum;
                let sum = algorithm.add(checksum.initial, checksum.before.iter().copied());
                let sum = match checksum.covers {
                    Covers::Others => algorithm.add(sum, self.others(data)),
                    Covers::Bytes(first, last) => {
                        let masked = data.iter().zip(&self.mask).map(|(byte, mask)| byte & !mask);
                        algorithm.add(sum, masked.take(usize::from(last) + 1).skip(first.into()))
                    }
                };
                let sum = algorithm.add(sum, checksum.after.iter().copied()) ^ checksum.final_xor;
                sum & (u64::MAX >> (64 - u32::from(checksum.codec.size)))
            }
            // first the data ID, then the data (PRS_E2E_00082)
            Method::J1850(data_id) => {
                let [low, high] = match data_id {
                    DataId::Both(id) | DataId::Alternating(id) | DataId::Nibble(id, _) => id.to_le_bytes(),
                    DataId::Low(low) => [*low, 0],
                };
                let (ids, count) = match data_id {
                    DataId::Both(_) => ([low, high], 2),
                    DataId::Alternating(_) if counter() % 2 == 1 => ([high, 0], 1),
                    DataId::Alternating(_) | DataId::Low(_) => ([low, 0], 1),
                    DataId::Nibble(..) => ([low, 0], 2),
                };
                Algorithm::Crc8J1850.add(0, ids.into_iter().take(count).chain(self.others(data)))
            }
            // first the data, then the data ID of this counter
            Method::H2f(data_ids) => {
                let data_id = data_ids.get(counter() as usize).copied();
                Algorithm::Crc8H2f.add(0xFF, self.others(data).chain(data_id)) ^ 0xFF
            }
            Method::Ccitt(data_id) => Algorithm::Crc16Ccitt.add(0xFFFF, self.others(data).chain(data_id.to_le_bytes())),
            // bytes 1 to 7, the counter, the four bytes of the identifier; folded to three bits
            Method::Tsc1 => {
                let sum = Algorithm::Sum.add(counter(), data.iter().copied().take(7));
                let sum = Algorithm::Sum.add(sum, id.number().to_le_bytes().into_iter());
                ((sum >> 6 & 3) + (sum >> 3) + sum) & 7
            }
        }
    }

    /// The bytes that are not the checksum's altogether, its bits as 0.
    fn others<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
        data.iter().zip(&self.mask).filter(|(_, mask)| **mask != 0xFF).map(|(byte, mask)| byte & !mask)
    }
}

fn unsigned(start: u16, size: u8) -> Option<Codec> {
    Codec::new(start, size, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0)
}

fn nibble(nibble: Nibble) -> Option<Codec> {
    unsigned(u16::from(nibble.byte) * 8 + if nibble.high { 4 } else { 0 }, 4)
}

fn bits(codec: &Codec, data: &[u8]) -> u64 {
    codec.bits(data).unwrap_or(0)
}

fn put(codec: &Codec, value: u64, data: &mut [u8]) {
    // it fits: the place has been checked, and the value is below the modulus
    let _ = codec.insert(Raw::from_bits(codec.kind, value), data);
}
