//! Compiled signal codec: payload bits ↔ raw value ↔ engineering value.

/// A raw value, before factor and offset: exactly what the bits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    Unsigned(u64),
    Signed(i64),
    /// IEEE 754 single precision, its bits (SIG_VALTYPE_ 1).
    F32(u32),
    /// IEEE 754 double precision, its bits (SIG_VALTYPE_ 2).
    F64(u64),
}

/// Byte order of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Intel, `@1`.
    LittleEndian,
    /// Motorola, `@0`; the start bit is the most significant one in saw-tooth numbering.
    BigEndian,
}

/// How the bits are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unsigned,
    Signed,
    F32,
    F64,
}

/// Where a signal lies in a payload and how it scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// Start bit as the DBC numbers it.
    pub start: u16,
    /// 1 to 64 bits.
    pub size: u8,
    pub order: ByteOrder,
    pub kind: Kind,
    pub factor: f64,
    pub offset: f64,
}

/// Why a value can't be put into a signal.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    #[error("not a number")]
    NotFinite,
    #[error("value {value} needs a raw value outside {min}..={max}")]
    OutOfRaw { value: f64, min: i128, max: i128 },
    #[error("the signal's factor is 0: it is a constant and can't be encoded")]
    ConstantFactor,
}
