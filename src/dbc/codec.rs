//! Compiled signal codec: payload bits ↔ raw value ↔ engineering value.
//!
//! Raw values are exact. Engineering values are `raw * factor + offset` in `f64`, within
//! `4 * 2^-53 * (|raw * factor| + |offset|)` of the exact result. Nothing here allocates, panics or clips.

use std::fmt;

/// A raw value, before factor and offset: exactly what the bits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// Where a signal lies in a payload and how it scales. Made by [`Codec::new`], which checks size and kind.
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
    /// First and last byte that the signal touches.
    first: u16,
    last: u16,
    /// Bits of the first byte before the signal: below its least significant bit (Intel) or above its most
    /// significant bit (Motorola).
    skip: u8,
}

/// Why a value can't be put into a signal.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum EncodeError {
    #[error("not a finite number")]
    NotFinite,
    #[error("value {value} needs a raw value outside {min}..={max}")]
    OutOfRaw { value: f64, min: i128, max: i128 },
    #[error("raw value {raw} is outside {min}..={max}")]
    RawOutOfRange { raw: i128, min: i128, max: i128 },
    #[error("value {value} does not fit the signal's floating-point format")]
    OutOfFloat { value: f64 },
    #[error("the raw value is of another kind than the signal ({expected})")]
    WrongKind { expected: Kind },
    #[error("the signal's factor is 0: it is a constant and can't be encoded")]
    ConstantFactor,
    #[error("the signal needs {needed} bytes, the payload has {len}")]
    OutsidePayload { needed: usize, len: usize },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Unsigned => "unsigned integer",
            Kind::Signed => "signed integer",
            Kind::F32 => "32-bit float",
            Kind::F64 => "64-bit float",
        })
    }
}

impl Raw {
    /// The kind of signal this raw value belongs to.
    pub fn kind(self) -> Kind {
        match self {
            Raw::Unsigned(_) => Kind::Unsigned,
            Raw::Signed(_) => Kind::Signed,
            Raw::F32(_) => Kind::F32,
            Raw::F64(_) => Kind::F64,
        }
    }

    /// From 64 bits as [`Codec::bits`] gives them.
    pub fn from_bits(kind: Kind, bits: u64) -> Raw {
        match kind {
            Kind::Unsigned => Raw::Unsigned(bits),
            Kind::Signed => Raw::Signed(bits as i64),
            Kind::F32 => Raw::F32(bits as u32),
            Kind::F64 => Raw::F64(bits),
        }
    }

    /// As 64 bits: sign-extended for a signed value, IEEE bits for a float.
    pub fn bits(self) -> u64 {
        match self {
            Raw::Unsigned(v) | Raw::F64(v) => v,
            Raw::Signed(v) => v as u64,
            Raw::F32(v) => v as u64,
        }
    }

    /// The integer; `None` for the float kinds.
    pub fn as_i128(self) -> Option<i128> {
        match self {
            Raw::Unsigned(v) => Some(v as i128),
            Raw::Signed(v) => Some(v as i128),
            Raw::F32(_) | Raw::F64(_) => None,
        }
    }

    /// The number that the raw value stands for, before factor and offset; above 2^53 the nearest `f64`.
    pub fn as_f64(self) -> f64 {
        match self {
            Raw::Unsigned(v) => v as f64,
            Raw::Signed(v) => v as f64,
            Raw::F32(v) => f32::from_bits(v) as f64,
            Raw::F64(v) => f64::from_bits(v),
        }
    }

    /// An integer as the raw value of an integer signal; `None` for float kinds and where 64 bits do not hold it.
    pub fn from_i128(kind: Kind, value: i128) -> Option<Raw> {
        match kind {
            Kind::Unsigned => u64::try_from(value).ok().map(Raw::Unsigned),
            Kind::Signed => i64::try_from(value).ok().map(Raw::Signed),
            Kind::F32 | Kind::F64 => None,
        }
    }

    /// From a decimal string; the IEEE bits as unsigned decimal for the float kinds. The reverse of `Display`.
    pub fn parse(kind: Kind, text: &str) -> Option<Raw> {
        match kind {
            Kind::Unsigned => text.parse().ok().map(Raw::Unsigned),
            Kind::Signed => text.parse().ok().map(Raw::Signed),
            Kind::F32 => text.parse().ok().map(Raw::F32),
            Kind::F64 => text.parse().ok().map(Raw::F64),
        }
    }
}

/// Decimal; the IEEE bits as unsigned decimal for the float kinds.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Unsigned(v) | Raw::F64(v) => v.fmt(f),
            Raw::Signed(v) => v.fmt(f),
            Raw::F32(v) => v.fmt(f),
        }
    }
}

impl Codec {
    /// `None` where the size is not 1 to 64 bits, or a float kind is not 32 or 64 bits as its format asks.
    ///
    /// `start` is the number in the `SG_` line: the least significant bit for Intel, the most significant one, in
    /// saw-tooth numbering (byte * 8 + 7 - position from the top), for Motorola.
    pub const fn new(start: u16, size: u8, order: ByteOrder, kind: Kind, factor: f64, offset: f64) -> Option<Codec> {
        let size_is_possible = match kind {
            Kind::Unsigned | Kind::Signed => size >= 1 && size <= 64,
            Kind::F32 => size == 32,
            Kind::F64 => size == 64,
        };
        if !size_is_possible {
            return None;
        }
        let skip = match order {
            ByteOrder::LittleEndian => start % 8,
            ByteOrder::BigEndian => 7 - start % 8,
        };
        let first = start / 8;
        let last = first + (skip + size as u16 - 1) / 8;
        Some(Codec { start, size, order, kind, factor, offset, first, last, skip: skip as u8 })
    }

    /// The signal's bits as one integer: sign-extended for a signed signal. `None` where the signal is not wholly
    /// inside the payload.
    #[inline]
    pub fn bits(&self, payload: &[u8]) -> Option<u64> {
        let Some((word, left)) = self.window(payload) else {
            return self.bits_of_nine(payload);
        };
        let word = match self.order {
            ByteOrder::LittleEndian => u64::from_le_bytes(word),
            ByteOrder::BigEndian => u64::from_be_bytes(word),
        };
        Some(self.extend(word << left))
    }

    /// The raw value; `None` where the signal is not wholly inside the payload.
    #[inline]
    pub fn raw(&self, payload: &[u8]) -> Option<Raw> {
        self.bits(payload).map(|bits| Raw::from_bits(self.kind, bits))
    }

    /// Whether the signal lies wholly inside a payload of this many bytes.
    #[inline]
    pub fn fits(&self, len_bytes: usize) -> bool {
        (self.last as usize) < len_bytes
    }

    /// The first of the signal's bits on the way through the payload, counted from its beginning: the least significant
    /// one of Intel, the most significant one of Motorola.
    pub fn first_bit(&self) -> u16 {
        self.first * 8 + u16::from(self.skip)
    }

    /// Bytes that a payload needs to hold the signal.
    pub fn needed_len(&self) -> usize {
        self.last as usize + 1
    }

    /// `raw * factor + offset`.
    #[inline]
    pub fn engineering(&self, raw: Raw) -> f64 {
        raw.as_f64() * self.factor + self.offset
    }

    /// Factor and offset where both are whole numbers.
    pub fn whole_scaling(&self) -> Option<(i128, i128)> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = |v: f64| (v.trunc() == v && v.abs() <= EXACT).then_some(v as i128);
        whole(self.factor).zip(whole(self.offset))
    }

    /// The engineering value of an integer signal with whole factor and offset, exact also above 2^53; `None` for any
    /// other.
    pub fn exact(&self, raw: Raw) -> Option<i128> {
        let (factor, offset) = self.whole_scaling()?;
        Some(raw.as_i128()? * factor + offset)
    }

    /// The reverse of [`Codec::exact`]: `None` where the scaling is not whole, no raw value gives exactly this value, or
    /// the signal can't hold it.
    pub fn to_raw_exact(&self, value: i128) -> Option<Raw> {
        let (factor, offset) = self.whole_scaling()?;
        let unscaled = value.checked_sub(offset)?;
        if factor == 0 || unscaled % factor != 0 {
            return None;
        }
        let raw = Raw::from_i128(self.kind, unscaled / factor)?;
        self.check_raw(raw).ok().map(|()| raw)
    }

    /// The raw value nearest to `(value - offset) / factor`, ties to even; refused, never clipped, where the signal's
    /// bits can't hold it. NaN and infinities are refused for every kind: who means them writes raw bits.
    pub fn to_raw(&self, value: f64) -> Result<Raw, EncodeError> {
        if !value.is_finite() {
            return Err(EncodeError::NotFinite);
        }
        if self.factor == 0.0 {
            return Err(EncodeError::ConstantFactor);
        }
        let unscaled = (value - self.offset) / self.factor;
        match self.kind {
            Kind::F32 => {
                let single = unscaled as f32;
                if single.is_finite() { Ok(Raw::F32(single.to_bits())) } else { Err(EncodeError::OutOfFloat { value }) }
            }
            Kind::F64 => {
                if unscaled.is_finite() {
                    Ok(Raw::F64(unscaled.to_bits()))
                } else {
                    Err(EncodeError::OutOfFloat { value })
                }
            }
            Kind::Unsigned | Kind::Signed => {
                let (min, max) = self.integer_limits();
                // `as` saturates far outside of any signal, so the comparison below still refuses
                let nearest = unscaled.round_ties_even() as i128;
                match Raw::from_i128(self.kind, nearest) {
                    Some(raw) if (min..=max).contains(&nearest) && !unscaled.is_nan() => Ok(raw),
                    _ => Err(EncodeError::OutOfRaw { value, min, max }),
                }
            }
        }
    }

    /// Whether the raw value is of the signal's kind and fits its size.
    pub fn check_raw(&self, raw: Raw) -> Result<(), EncodeError> {
        if raw.kind() != self.kind {
            return Err(EncodeError::WrongKind { expected: self.kind });
        }
        let Some(raw) = raw.as_i128() else { return Ok(()) };
        let (min, max) = self.integer_limits();
        if (min..=max).contains(&raw) { Ok(()) } else { Err(EncodeError::RawOutOfRange { raw, min, max }) }
    }

    /// Smallest and largest raw value; `None` for the float kinds.
    pub fn raw_limits(&self) -> Option<(i128, i128)> {
        match self.kind {
            Kind::Unsigned | Kind::Signed => Some(self.integer_limits()),
            Kind::F32 | Kind::F64 => None,
        }
    }

    /// Smallest and largest engineering value that the bits can hold.
    pub fn engineering_limits(&self) -> (f64, f64) {
        let (low, high) = match self.kind {
            Kind::F32 => (f32::MIN as f64, f32::MAX as f64),
            Kind::F64 => (f64::MIN, f64::MAX),
            Kind::Unsigned | Kind::Signed => {
                let (min, max) = self.integer_limits();
                (min as f64, max as f64)
            }
        };
        let (a, b) = (low * self.factor + self.offset, high * self.factor + self.offset);
        if a <= b { (a, b) } else { (b, a) }
    }

    /// Writes the raw value into the signal's own bits and no others.
    pub fn insert(&self, raw: Raw, payload: &mut [u8]) -> Result<(), EncodeError> {
        self.check_raw(raw)?;
        if !self.fits(payload.len()) {
            return Err(EncodeError::OutsidePayload { needed: self.needed_len(), len: payload.len() });
        }
        self.replace(raw.bits(), payload);
        Ok(())
    }

    /// Sets the signal's bits to 1, to merge writes of several signals; false, and nothing set, where the signal is not
    /// wholly inside the slice.
    pub fn mask(&self, bytes: &mut [u8]) -> bool {
        let fits = self.fits(bytes.len());
        if fits {
            self.replace(u64::MAX, bytes);
        }
        fits
    }

    /// Eight bytes of the payload that hold the signal, and how far left to shift them so that the signal's most
    /// significant bit is bit 63. `None` where the signal spans nine bytes or is not wholly inside.
    #[inline]
    fn window(&self, payload: &[u8]) -> Option<([u8; 8], u32)> {
        let (first, last, len) = (self.first as usize, self.last as usize, payload.len());
        if last >= len || last - first >= 8 {
            return None;
        }
        // near the end of the payload the window moves down, so that one load serves there too
        let (word, before) = if len >= 8 {
            let from = first.min(len - 8);
            (*payload.get(from..)?.first_chunk::<8>()?, first - from)
        } else {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(payload) {
                *to = *from;
            }
            (word, first)
        };
        Some((word, self.shift(before)))
    }

    /// The left shift that brings the signal's most significant bit to bit 63 of a window which begins `before` bytes
    /// before the signal.
    #[inline]
    fn shift(&self, before: usize) -> u32 {
        let from_first = before as u32 * 8 + self.skip as u32;
        match self.order {
            ByteOrder::LittleEndian => 64 - self.size as u32 - from_first,
            ByteOrder::BigEndian => from_first,
        }
    }

    /// From a word with the signal's most significant bit at bit 63 to the signal alone.
    #[inline]
    fn extend(&self, word: u64) -> u64 {
        let right = 64 - self.size as u32;
        match self.kind {
            Kind::Signed => ((word as i64) >> right) as u64,
            Kind::Unsigned | Kind::F32 | Kind::F64 => word >> right,
        }
    }

    /// [`Codec::bits`] of a signal that spans nine bytes.
    #[cold]
    fn bits_of_nine(&self, payload: &[u8]) -> Option<u64> {
        let bytes: &[u8; 9] = payload.get(self.first as usize..)?.first_chunk()?;
        if !self.fits(payload.len()) {
            return None;
        }
        let wide = Self::wide(bytes, self.order);
        Some(self.extend(((wide >> self.wide_shift()) as u64) << (64 - self.size as u32)))
    }

    /// Nine bytes as one integer.
    fn wide(bytes: &[u8; 9], order: ByteOrder) -> u128 {
        let join = |wide: u128, byte: &u8| wide << 8 | *byte as u128;
        match order {
            ByteOrder::LittleEndian => bytes.iter().rev().fold(0, join),
            ByteOrder::BigEndian => bytes.iter().fold(0, join),
        }
    }

    /// The bits below the signal in the integer of [`Codec::wide`].
    fn wide_shift(&self) -> u32 {
        match self.order {
            ByteOrder::LittleEndian => self.skip as u32,
            ByteOrder::BigEndian => 72 - self.skip as u32 - self.size as u32,
        }
    }

    /// Puts the lowest `size` bits of `bits` in the place of the signal, which is known to be inside the payload.
    fn replace(&self, bits: u64, payload: &mut [u8]) {
        let ones = u64::MAX >> (64 - self.size as u32);
        let bits = bits & ones;
        let (first, last) = (self.first as usize, self.last as usize);
        let Some(bytes) = payload.get_mut(first..=last) else { return };
        // at most nine bytes, as one integer in the signal's byte order
        let below = match self.order {
            ByteOrder::LittleEndian => self.skip as u32,
            ByteOrder::BigEndian => bytes.len() as u32 * 8 - self.skip as u32 - self.size as u32,
        };
        let (keep, new) = (!((ones as u128) << below), (bits as u128) << below);
        let replaced = |byte: &mut u8, at: usize| {
            let at = at as u32 * 8;
            *byte = *byte & (keep >> at) as u8 | (new >> at) as u8;
        };
        match self.order {
            ByteOrder::LittleEndian => bytes.iter_mut().enumerate().for_each(|(i, byte)| replaced(byte, i)),
            ByteOrder::BigEndian => bytes.iter_mut().rev().enumerate().for_each(|(i, byte)| replaced(byte, i)),
        }
    }

    fn integer_limits(&self) -> (i128, i128) {
        match self.kind {
            Kind::Signed => (-(1i128 << (self.size - 1)), (1i128 << (self.size - 1)) - 1),
            Kind::Unsigned | Kind::F32 | Kind::F64 => (0, (1i128 << self.size) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The positions (byte, bit from the least significant) of a signal's bits, most significant first, by the
    /// definition in the DBC format and nothing else.
    fn positions(start: usize, size: usize, order: ByteOrder) -> Vec<(usize, u32)> {
        let mut positions = Vec::new();
        let mut p = match order {
            ByteOrder::LittleEndian => start + size - 1,
            ByteOrder::BigEndian => start,
        };
        for _ in 0..size {
            positions.push((p / 8, (p % 8) as u32));
            p = match order {
                ByteOrder::LittleEndian => p.wrapping_sub(1),
                ByteOrder::BigEndian => {
                    if p % 8 == 0 {
                        p + 15
                    } else {
                        p - 1
                    }
                }
            };
        }
        positions
    }

    fn naive_bits(payload: &[u8], positions: &[(usize, u32)]) -> Option<u64> {
        positions.iter().try_fold(0u64, |bits, &(byte, bit)| Some(bits << 1 | (*payload.get(byte)? >> bit & 1) as u64))
    }

    fn naive_insert(payload: &mut [u8], positions: &[(usize, u32)], value: u64) {
        for (i, &(byte, bit)) in positions.iter().rev().enumerate() {
            payload[byte] = payload[byte] & !(1 << bit) | ((value >> i & 1) as u8) << bit;
        }
    }

    fn codec(start: u16, size: u8, order: ByteOrder, kind: Kind) -> Codec {
        Codec::new(start, size, order, kind, 1.0, 0.0).unwrap()
    }

    /// A reproducible stream of bytes.
    fn noise(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    #[test]
    fn every_start_and_size_in_both_orders_against_bit_by_bit() {
        let mut next = noise(7);
        // lengths around the eight-byte window: shorter, equal, one more, far more
        for len in [1usize, 3, 7, 8, 9, 12, 16, 64] {
            let mut payload = vec![0u8; len];
            for start in 0..len * 8 {
                for size in 1..=64usize {
                    for order in [ByteOrder::LittleEndian, ByteOrder::BigEndian] {
                        payload.iter_mut().for_each(|byte| *byte = next() as u8);
                        let positions = positions(start, size, order);
                        let want = naive_bits(&payload, &positions);
                        let place = format!("{start}|{size} {order:?} in {len} bytes");
                        let unsigned = codec(start as u16, size as u8, order, Kind::Unsigned);
                        assert_eq!(unsigned.bits(&payload), want, "{place}");
                        assert_eq!(unsigned.fits(len), want.is_some(), "{place}");
                        let signed = codec(start as u16, size as u8, order, Kind::Signed);
                        let extended = want.map(|v| ((v << (64 - size)) as i64 >> (64 - size)) as u64);
                        assert_eq!(signed.bits(&payload), extended, "{place}");

                        let value = next() >> (64 - size);
                        let (mut got, mut expected) = (payload.clone(), payload.clone());
                        let inserted = unsigned.insert(Raw::Unsigned(value), &mut got);
                        assert_eq!(inserted.is_ok(), want.is_some(), "{place}");
                        let mut mask = vec![0u8; len];
                        assert_eq!(unsigned.mask(&mut mask), want.is_some(), "{place}");
                        if want.is_some() {
                            naive_insert(&mut expected, &positions, value);
                            let mut ones = vec![0u8; len];
                            naive_insert(&mut ones, &positions, u64::MAX);
                            assert_eq!(mask, ones, "{place}");
                            assert_eq!(unsigned.bits(&got), Some(value), "{place}");
                        }
                        assert_eq!(got, expected, "{place}");
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_that_no_signal_can_have() {
        for (size, kind) in [(0, Kind::Unsigned), (65, Kind::Signed), (16, Kind::F32), (64, Kind::F32), (32, Kind::F64)]
        {
            assert_eq!(Codec::new(0, size, ByteOrder::LittleEndian, kind, 1.0, 0.0), None, "{size} {kind:?}");
        }
    }

    #[test]
    fn engineering_values_to_raw() {
        use EncodeError::*;
        let check = |kind, size, factor, offset, value: f64, want: Result<Raw, EncodeError>| {
            let codec = Codec::new(0, size, ByteOrder::LittleEndian, kind, factor, offset).unwrap();
            assert_eq!(codec.to_raw(value), want, "{kind:?} {size} {factor} {offset} {value}");
        };
        let (u, s) = (Kind::Unsigned, Kind::Signed);
        check(u, 8, 0.5, -10.0, -10.0, Ok(Raw::Unsigned(0)));
        check(u, 8, 0.5, -10.0, 117.5, Ok(Raw::Unsigned(255)));
        check(u, 8, 0.5, -10.0, 118.0, Err(OutOfRaw { value: 118.0, min: 0, max: 255 }));
        check(u, 8, 1.0, 0.0, -0.4, Ok(Raw::Unsigned(0)));
        check(u, 8, 1.0, 0.0, -0.6, Err(OutOfRaw { value: -0.6, min: 0, max: 255 }));
        // ties to even
        check(u, 8, 1.0, 0.0, 2.5, Ok(Raw::Unsigned(2)));
        check(u, 8, 1.0, 0.0, 3.5, Ok(Raw::Unsigned(4)));
        check(s, 8, 1.0, 0.0, -2.5, Ok(Raw::Signed(-2)));
        // a negative factor turns the order round
        check(s, 8, -0.1, 0.0, 12.8, Ok(Raw::Signed(-128)));
        check(s, 8, -0.1, 0.0, -12.8, Err(OutOfRaw { value: -12.8, min: -128, max: 127 }));
        // 64 bits
        check(u, 64, 1.0, 0.0, 18446744073709549568.0, Ok(Raw::Unsigned(18446744073709549568)));
        check(
            u,
            64,
            1.0,
            0.0,
            1.8446744073709552e19,
            Err(OutOfRaw { value: 1.8446744073709552e19, min: 0, max: u64::MAX as i128 }),
        );
        check(s, 64, 1.0, 0.0, i64::MIN as f64, Ok(Raw::Signed(i64::MIN)));
        check(u, 8, 1.0, 0.0, f64::NAN, Err(NotFinite));
        check(u, 8, 1e-300, 0.0, 1e300, Err(OutOfRaw { value: 1e300, min: 0, max: 255 }));
        check(u, 8, 0.0, 3.0, 3.0, Err(ConstantFactor));
        check(Kind::F32, 32, 1.0, 0.0, 1.5, Ok(Raw::F32(1.5f32.to_bits())));
        check(Kind::F32, 32, 1.0, 0.0, 1e39, Err(OutOfFloat { value: 1e39 }));
        check(Kind::F32, 32, 1.0, 0.0, f64::INFINITY, Err(NotFinite));
        check(Kind::F64, 64, 2.0, 1.0, 4.0, Ok(Raw::F64(1.5f64.to_bits())));
        check(Kind::F64, 64, 1e-9, 0.0, f64::MAX, Err(OutOfFloat { value: f64::MAX }));
    }

    #[test]
    fn raw_values_are_checked_before_they_are_written() {
        let five = codec(3, 5, ByteOrder::LittleEndian, Kind::Signed);
        assert_eq!(five.check_raw(Raw::Signed(-16)), Ok(()));
        assert_eq!(five.check_raw(Raw::Signed(16)), Err(EncodeError::RawOutOfRange { raw: 16, min: -16, max: 15 }));
        let mut payload = [0xFF];
        assert_eq!(five.insert(Raw::Unsigned(1), &mut payload), Err(EncodeError::WrongKind { expected: Kind::Signed }));
        assert_eq!(five.insert(Raw::Signed(1), &mut []), Err(EncodeError::OutsidePayload { needed: 1, len: 0 }));
        assert_eq!(payload, [0xFF]);
    }

    #[test]
    fn raw_values_as_text() {
        for raw in [
            Raw::Unsigned(u64::MAX),
            Raw::Signed(i64::MIN),
            Raw::F32(f32::NAN.to_bits()),
            Raw::F64((-0.5f64).to_bits()),
        ] {
            assert_eq!(Raw::parse(raw.kind(), &raw.to_string()), Some(raw));
        }
        assert_eq!(Raw::F32(1.0f32.to_bits()).to_string(), "1065353216");
        assert_eq!(Raw::parse(Kind::Unsigned, "-1"), None);
        assert_eq!(Raw::parse(Kind::Signed, "1.0"), None);
    }

    #[test]
    fn floats_keep_their_bits() {
        for order in [ByteOrder::LittleEndian, ByteOrder::BigEndian] {
            let start = if order == ByteOrder::BigEndian { 10 } else { 5 };
            for (kind, size, bits) in [(Kind::F32, 32, 0x7FC0_0001u64), (Kind::F64, 64, 0xFFF0_0000_0000_0001)] {
                let codec = codec(start, size, order, kind);
                let mut payload = [0u8; 12];
                codec.insert(Raw::from_bits(kind, bits), &mut payload).unwrap();
                assert_eq!(codec.raw(&payload), Some(Raw::from_bits(kind, bits)));
            }
        }
    }

    proptest! {
        #[test]
        fn scaled_values_come_back(raw in any::<i32>(), factor in -1e3..1e3f64, offset in -1e6..1e6f64) {
            prop_assume!(factor.abs() > 1e-3);
            let codec = Codec::new(0, 32, ByteOrder::BigEndian, Kind::Signed, factor, offset).unwrap();
            prop_assert_eq!(codec.to_raw(codec.engineering(Raw::Signed(raw as i64))), Ok(Raw::Signed(raw as i64)));
        }

        #[test]
        fn no_layout_and_no_payload_panics(
            start in any::<u16>(), size in any::<u8>(), big in any::<bool>(), bits in any::<u64>(),
            payload in proptest::collection::vec(any::<u8>(), 0..2000), value in any::<f64>(),
        ) {
            let order = if big { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
            for kind in [Kind::Unsigned, Kind::Signed, Kind::F32, Kind::F64] {
                let Some(codec) = Codec::new(start, size, order, kind, value, bits as f64) else { continue };
                let mut copy = payload.clone();
                prop_assert_eq!(codec.bits(&payload).is_some(), codec.fits(payload.len()));
                if let Some(raw) = codec.raw(&payload) {
                    prop_assert_eq!(codec.insert(raw, &mut copy), Ok(()));
                    prop_assert_eq!(&copy, &payload);
                }
                prop_assert!(codec.to_raw(value).is_ok() || codec.to_raw(value).is_err());
                prop_assert_eq!(codec.mask(&mut copy), codec.fits(payload.len()));
            }
        }
    }
}
