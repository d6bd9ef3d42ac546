//! Eight signals at a time out of payloads of up to 64 bytes, with the 512-bit instructions of x86-64 where they are.
//!
//! The payload is one register. A byte permutation brings the bytes of eight signals, in either byte order, into eight
//! lanes; what follows is the arithmetic of `lane`, operation for operation, so the values are the same to the bit.

use super::lane::Column;
use super::program::{Program, Programs};
use crate::dbc::codec::{ByteOrder, Codec, Kind};

/// Signals in a block.
pub(super) const WIDE: usize = 8;
/// Longest payload that a register holds.
pub(super) const MOST: usize = 64;

/// Signals of `Class::Block`.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Narrow {
    /// Which byte of the payload goes to each byte of the lanes.
    bytes: [u8; MOST],
    mask: [u64; WIDE],
    bias: [u64; WIDE],
    factor: [f64; WIDE],
    offset: [f64; WIDE],
}

/// Signals of any other class.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Any {
    /// The lowest eight bytes of each signal, and the ninth.
    bytes: [u8; MOST],
    ninth: [u8; MOST],
    /// 0xFF where there is a ninth.
    ninth_mask: [u64; WIDE],
    shift: [u64; WIDE],
    mask: [u64; WIDE],
    sign: [u64; WIDE],
    factor: [f64; WIDE],
    offset: [f64; WIDE],
    /// Lanes of each kind, a bit each; the others are signed.
    unsigned: u8,
    single: u8,
    double: u8,
}

/// Bits below a signal in its lowest byte.
pub(super) fn position(codec: &Codec) -> u32 {
    let first = u32::from(codec.first_bit());
    match codec.order {
        ByteOrder::LittleEndian => first % 8,
        ByteOrder::BigEndian => (8 - (first + u32::from(codec.size)) % 8) % 8,
    }
}

/// The byte of the payload that is the `number`th of a signal from its lowest one, within the register.
fn byte(codec: &Codec, number: usize) -> u8 {
    let (lowest, step) = match codec.order {
        ByteOrder::LittleEndian => (usize::from(codec.first_bit() / 8), number),
        ByteOrder::BigEndian => (codec.needed_len() - 1, MOST - number),
    };
    ((lowest + step) % MOST) as u8
}

impl Narrow {
    pub fn new(codecs: &[&Codec]) -> Narrow {
        let mut block =
            Narrow { bytes: [0; MOST], mask: [0; WIDE], bias: [0; WIDE], factor: [0.0; WIDE], offset: [0.0; WIDE] };
        for (lane, codec) in codecs.iter().enumerate().take(WIDE) {
            (0..8).for_each(|number| block.bytes[lane * 8 + number] = byte(codec, number));
            let Some(place) = super::lane::in_mantissa(codec, position(codec)) else { continue };
            (block.mask[lane], block.bias[lane], block.factor[lane]) = place;
            block.offset[lane] = codec.offset;
        }
        block
    }
}

impl Any {
    pub fn new(codecs: &[&Codec]) -> Any {
        let mut block = Any {
            bytes: [0; MOST],
            ninth: [0; MOST],
            ninth_mask: [0; WIDE],
            shift: [0; WIDE],
            mask: [0; WIDE],
            sign: [0; WIDE],
            factor: [0.0; WIDE],
            offset: [0.0; WIDE],
            unsigned: 0,
            single: 0,
            double: 0,
        };
        for (lane, codec) in codecs.iter().enumerate().take(WIDE) {
            (0..8).for_each(|number| block.bytes[lane * 8 + number] = byte(codec, number));
            block.ninth[lane * 8] = byte(codec, 8);
            let (shift, size) = (position(codec), u32::from(codec.size));
            block.ninth_mask[lane] = if shift + size > 64 { 0xFF } else { 0 };
            block.shift[lane] = shift.into();
            block.mask[lane] = u64::MAX >> (64 - size);
            block.sign[lane] = if codec.kind == Kind::Signed { 1 << (size - 1) } else { 0 };
            (block.factor[lane], block.offset[lane]) = (codec.factor, codec.offset);
            match codec.kind {
                Kind::Signed => {}
                Kind::Unsigned => block.unsigned |= 1 << lane,
                Kind::F32 => block.single |= 1 << lane,
                Kind::F64 => block.double |= 1 << lane,
            }
        }
        block
    }
}

/// Whether a signal can be in a [`Narrow`] block.
pub(super) fn is_narrow(codec: &Codec) -> bool {
    super::lane::in_mantissa(codec, position(codec)).is_some()
}

/// Proof that this processor has the instructions.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector(());

/// No other architecture has them.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
pub(super) enum Vector {}

#[cfg(not(target_arch = "x86_64"))]
impl Vector {
    pub fn detect() -> Option<Vector> {
        None
    }

    pub fn engineering(self, _: &Programs, _: &Program, _: &[u8], _: &mut [f64]) {
        match self {}
    }

    pub fn columns(self, _: &Programs, _: &Program, _: &[Column<u64>], _: usize, _: &mut [Column<f64>]) {
        match self {}
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::*;

    use super::*;

    impl Vector {
        /// `None` on a processor without the instructions.
        pub fn detect() -> Option<Vector> {
            let has_all = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi");
            has_all.then_some(Vector(()))
        }

        /// The engineering values of a program that needs no more than [`MOST`] bytes, all of them in the payload.
        /// Writes up to the end of the last block.
        #[inline(always)]
        pub fn engineering(self, programs: &Programs, program: &Program, payload: &[u8], values: &mut [f64]) {
            // SAFETY: a `Vector` exists only where `detect` found all features of `engineering`.
            unsafe { engineering(programs, program, payload, values) }
        }

        /// [`Programs::columns`].
        #[inline(always)]
        pub fn columns(
            self,
            programs: &Programs,
            program: &Program,
            words: &[Column<u64>],
            rows: usize,
            values: &mut [Column<f64>],
        ) {
            // SAFETY: as above.
            unsafe { columns(programs, program, words, rows, values) }
        }
    }

    impl Programs {
        /// The blocks of the signals by themselves, eight in each.
        #[inline(always)]
        fn any_blocks(&self, program: &Program) -> &[Any] {
            let first = program.any as usize;
            self.any.get(first..first + usize::from(program.alone).div_ceil(WIDE)).unwrap_or_default()
        }

        /// The blocks of the others.
        #[inline(always)]
        fn narrow_blocks(&self, program: &Program) -> &[Narrow] {
            let first = program.narrow as usize;
            let count = program.signals.len().saturating_sub(program.alone.into()).div_ceil(WIDE);
            self.narrow.get(first..first + count).unwrap_or_default()
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vbmi")]
    fn columns(programs: &Programs, program: &Program, words: &[Column<u64>], rows: usize, values: &mut [Column<f64>]) {
        programs.columns(program, words, rows, values);
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vbmi")]
    fn engineering(programs: &Programs, program: &Program, payload: &[u8], values: &mut [f64]) {
        let payload = load(payload);
        if program.alone > 0 {
            any(programs.any_blocks(program), payload, values);
        }
        let Some(values) = values.get_mut(program.alone.into()..) else { return };
        for (block, values) in programs.narrow_blocks(program).iter().zip(values.as_chunks_mut::<WIDE>().0) {
            let bias = integers(&block.bias);
            let word = _mm512_permutexvar_epi8(bytes(&block.bytes), payload);
            let number = _mm512_xor_si512(_mm512_and_si512(word, integers(&block.mask)), bias);
            let number = _mm512_sub_pd(_mm512_castsi512_pd(number), _mm512_castsi512_pd(bias));
            store(scale(number, &block.factor, &block.offset), values);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vbmi")]
    fn any(blocks: &[Any], payload: __m512i, values: &mut [f64]) {
        for (block, values) in blocks.iter().zip(values.as_chunks_mut::<WIDE>().0) {
            let word = _mm512_permutexvar_epi8(bytes(&block.bytes), payload);
            let ninth = _mm512_permutexvar_epi8(bytes(&block.ninth), payload);
            let ninth = _mm512_and_si512(ninth, integers(&block.ninth_mask));
            let shift = integers(&block.shift);
            // a shift by 64 gives 0
            let left = _mm512_sub_epi64(_mm512_set1_epi64(64), shift);
            let bits = _mm512_or_si512(_mm512_srlv_epi64(word, shift), _mm512_sllv_epi64(ninth, left));
            let sign = integers(&block.sign);
            let bits = _mm512_xor_si512(_mm512_and_si512(bits, integers(&block.mask)), sign);
            let bits = _mm512_sub_epi64(bits, sign);
            let number = _mm512_cvtepi64_pd(bits);
            let number = _mm512_mask_cvtepu64_pd(number, block.unsigned, bits);
            let single = _mm256_castsi256_ps(_mm512_cvtepi64_epi32(bits));
            let number = _mm512_mask_cvtps_pd(number, block.single, single);
            let number = _mm512_mask_mov_pd(number, block.double, _mm512_castsi512_pd(bits));
            store(scale(number, &block.factor, &block.offset), values);
        }
    }

    /// `number * factor + offset`, rounded twice.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn scale(number: __m512d, factor: &[f64; WIDE], offset: &[f64; WIDE]) -> __m512d {
        _mm512_add_pd(_mm512_mul_pd(number, numbers(factor)), numbers(offset))
    }

    /// The first 64 bytes of a payload, 0 where it has fewer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(payload: &[u8]) -> __m512i {
        let mask = if payload.len() < MOST { (1 << payload.len()) - 1 } else { u64::MAX };
        // SAFETY: bytes that the mask leaves out are not accessed, and it has only bytes of the slice.
        unsafe { _mm512_maskz_loadu_epi8(mask, payload.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn bytes(from: &[u8; MOST]) -> __m512i {
        // SAFETY: reads the 64 bytes of the array.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn integers(from: &[u64; WIDE]) -> __m512i {
        // SAFETY: reads the 64 bytes of the array.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn numbers(from: &[f64; WIDE]) -> __m512d {
        // SAFETY: reads the 64 bytes of the array.
        unsafe { _mm512_loadu_pd(from.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(number: __m512d, to: &mut [f64; WIDE]) {
        // SAFETY: writes the 64 bytes of the array.
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), number) }
    }
    #[cfg(test)]
    mod tests {
        use super::*;

        #[target_feature(enable = "avx512f,avx512bw")]
        fn loaded(payload: &[u8]) -> [u8; MOST] {
            let mut bytes = [0; MOST];
            // SAFETY: writes the 64 bytes of the array.
            unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), load(payload)) };
            bytes
        }

        #[test]
        fn nothing_behind_a_payload_is_loaded() {
            let Some(Vector(())) = Vector::detect() else { return };
            let bytes: [u8; 80] = std::array::from_fn(|i| i as u8 + 1);
            for len in 0..=bytes.len() {
                let mut want = [0; MOST];
                want.iter_mut().zip(&bytes[..len]).for_each(|(to, from)| *to = *from);
                // SAFETY: the processor has the features.
                assert_eq!(unsafe { loaded(&bytes[..len]) }, want, "{len}");
            }
        }
    }
}
