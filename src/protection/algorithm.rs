//! Checksum algorithms: sums, XOR and table-driven CRCs.

/// How a plain checksum is calculated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Xor,
    Sum,
    /// The sum's two's complement: covered bytes and checksum add up to 0.
    SumToZero,
    /// Polynomial 0x07.
    Crc8,
    /// Polynomial 0x1D (SAE J1850).
    Crc8J1850,
    /// Polynomial 0x2F (AUTOSAR, CRC8H2F).
    Crc8H2f,
    /// Polynomial 0x1021 (CCITT).
    Crc16Ccitt,
}

static CRC8: [u8; 256] = table8(0x07);
static CRC8_J1850: [u8; 256] = table8(0x1D);
static CRC8_H2F: [u8; 256] = table8(0x2F);
static CRC16_CCITT: [u16; 256] = table16(0x1021);

impl Algorithm {
    /// Bits of the result; `None`: as many as its signal has.
    pub fn bits(self) -> Option<u8> {
        match self {
            Algorithm::Xor => Some(8),
            Algorithm::Sum | Algorithm::SumToZero => None,
            Algorithm::Crc8 | Algorithm::Crc8J1850 | Algorithm::Crc8H2f => Some(8),
            Algorithm::Crc16Ccitt => Some(16),
        }
    }

    /// What the catalogue of the algorithm starts with, and what it does to the result by XOR (AUTOSAR SWS CRCLibrary).
    pub fn usual(self) -> (u64, u64) {
        match self {
            Algorithm::Xor | Algorithm::Sum | Algorithm::SumToZero | Algorithm::Crc8 => (0, 0),
            Algorithm::Crc8J1850 | Algorithm::Crc8H2f => (0xFF, 0xFF),
            Algorithm::Crc16Ccitt => (0xFFFF, 0),
        }
    }

    /// The checksum so far with more bytes added.
    pub fn add(self, sum: u64, bytes: impl Iterator<Item = u8>) -> u64 {
        match self {
            Algorithm::Xor => bytes.fold(sum, |sum, byte| sum ^ u64::from(byte)),
            Algorithm::Sum => bytes.fold(sum, |sum, byte| sum.wrapping_add(byte.into())),
            Algorithm::SumToZero => bytes.fold(sum, |sum, byte| sum.wrapping_sub(byte.into())),
            Algorithm::Crc8 => crc8(&CRC8, sum as u8, bytes).into(),
            Algorithm::Crc8J1850 => crc8(&CRC8_J1850, sum as u8, bytes).into(),
            Algorithm::Crc8H2f => crc8(&CRC8_H2F, sum as u8, bytes).into(),
            Algorithm::Crc16Ccitt => {
                bytes.fold(sum as u16, |crc, byte| crc << 8 ^ CRC16_CCITT[usize::from((crc >> 8) as u8 ^ byte)]).into()
            }
        }
    }
}

fn crc8(table: &[u8; 256], crc: u8, bytes: impl Iterator<Item = u8>) -> u8 {
    bytes.fold(crc, |crc, byte| table[usize::from(crc ^ byte)])
}

const fn table8(polynomial: u8) -> [u8; 256] {
    let wide = table16((polynomial as u16) << 8);
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = (wide[at] >> 8) as u8;
        at += 1;
    }
    table
}

const fn table16(polynomial: u16) -> [u16; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ polynomial } else { crc << 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that AUTOSAR SWS CRCLibrary prints for each of its CRCs, and the check value over "123456789".
    #[test]
    fn values_of_the_crc_library() {
        let inputs: [&[u8]; 8] = [
            &[0x00; 4],
            &[0xF2, 0x01, 0x83],
            &[0x0F, 0xAA, 0x00, 0x55],
            &[0x00, 0xFF, 0x55, 0x11],
            &[0x33, 0x22, 0x55, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF],
            &[0x92, 0x6B, 0x55],
            &[0xFF; 4],
            b"123456789",
        ];
        for (algorithm, expected) in [
            (Algorithm::Crc8J1850, [0x59, 0x37, 0x79, 0xB8, 0xCB, 0x8C, 0x74, 0x4B]),
            (Algorithm::Crc8H2f, [0x12, 0xC2, 0xC6, 0x77, 0x11, 0x33, 0x6C, 0xDF]),
            (Algorithm::Crc16Ccitt, [0x84C0, 0xD374, 0x2023, 0xB8F9, 0xF53F, 0x0745, 0x1D0F, 0x29B1]),
        ] {
            let (initial, final_xor) = algorithm.usual();
            let got = inputs.map(|bytes| algorithm.add(initial, bytes.iter().copied()) ^ final_xor);
            assert_eq!(got, expected, "{algorithm:?}");
        }
        // CRC-8/SMBUS in the RevEng catalogue
        assert_eq!(Algorithm::Crc8.add(0, b"123456789".iter().copied()), 0xF4);
    }
}
