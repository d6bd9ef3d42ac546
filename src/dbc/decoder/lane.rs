//! Where each signal of a program lies in the words loaded from a payload, and the arithmetic from words to values.
//!
//! A word is 64 bits of the payload in the byte order of its signals, so that a signal is a run of bits in it. Most
//! integer signals are never moved to bit 0: a value below 2^52 placed into the mantissa of 2^52 is that number plus
//! 2^52, so one AND, one XOR and one subtraction turn the bits where they are into `raw * 2^position`, and the
//! factor is divided by `2^position` when the plan is made. The bias flips the sign bit and takes it away again, which
//! makes signed and unsigned the same. All of it is exact, so `raw * factor + offset` is rounded as the scalar codec
//! rounds it, bit for bit; no fused multiply-add is used.

use super::vector;
use crate::dbc::codec::{ByteOrder, Codec, Kind};

/// Signals decoded together.
pub(super) const LANES: usize = 4;
/// Room for words: any index of a lane is inside. No program has more than [`MOST_WORDS`].
pub(super) const WORDS: usize = 256;
pub(super) const MOST_WORDS: usize = 64;

/// The words loaded for one program.
pub(super) type Words = [u64; WORDS];

/// Rows of frames decoded together by column.
pub(super) const ROWS: usize = 64;
/// One word or value of each row.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Column<T>(pub [T; ROWS]);

/// 2^52 as a double: a mantissa of integers.
const MANTISSA: u64 = 0x4330_0000_0000_0000;
/// Bits of that mantissa.
const MANTISSA_BITS: u32 = 52;

/// Integer signals of up to 52 bits, one per lane. A lane without signal gives 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// The word of each lane.
    words: [u8; LANES],
    /// The signal's bits, in place.
    mask: [u64; LANES],
    /// `MANTISSA`, and for a signed signal its sign bit.
    bias: [u64; LANES],
    /// Factor / 2^position.
    factor: [f64; LANES],
    offset: [f64; LANES],
}

/// One signal by itself: every signal's raw value, and the value of what no block can hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    mask: u64,
    /// The sign bit of a signed signal, moved to where the mask leaves it.
    sign: u64,
    factor: f64,
    offset: f64,
    word: u8,
    /// Nine bytes: the word whose top byte is the ninth.
    top: u8,
    shift: u8,
    kind: Kind,
}

/// How a signal is reached: in which word, at which bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Word {
        word: u8,
        position: u32,
    },
    /// More than eight bytes: 64 bits in one word, then the top byte of another.
    Nine {
        word: u8,
        top: u8,
        position: u32,
    },
}

/// How a signal is decoded. A program keeps its signals in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// By itself, out of nine bytes.
    Nine,
    /// By itself: floats and integers too wide for a mantissa.
    Alone,
    /// In a block with others.
    Block,
}

impl Place {
    /// A bit for the word among the first eight.
    pub fn used(self) -> u8 {
        let (Place::Word { word, .. } | Place::Nine { word, .. }) = self;
        1u8.checked_shl(word.into()).unwrap_or(0)
    }
}

impl Class {
    pub fn of(codec: &Codec, place: Place) -> Class {
        let Place::Word { position, .. } = place else { return Class::Nine };
        let is_narrow = in_mantissa(codec, position).is_some() && vector::is_narrow(codec);
        if is_narrow { Class::Block } else { Class::Alone }
    }
}

/// Mask, bias and factor / 2^position of an integer signal at that position of a word, where all of it lies within a
/// mantissa and the division is exact.
pub(super) fn in_mantissa(codec: &Codec, position: u32) -> Option<(u64, u64, f64)> {
    let sign = match codec.kind {
        Kind::Unsigned => 0,
        Kind::Signed => 1,
        Kind::F32 | Kind::F64 => return None,
    };
    let end = position + u32::from(codec.size);
    if end > MANTISSA_BITS {
        return None;
    }
    let power = (1u64 << position) as f64;
    let factor = codec.factor / power;
    let is_exact = factor.is_normal() || codec.factor == 0.0;
    is_exact.then_some(((u64::MAX >> (64 - codec.size)) << position, MANTISSA | sign << (end - 1), factor))
}

impl Block {
    pub const EMPTY: Block = Block {
        words: [0; LANES],
        mask: [0; LANES],
        bias: [MANTISSA; LANES],
        factor: [0.0; LANES],
        offset: [0.0; LANES],
    };

    /// Puts a signal of [`Class::Block`] into a lane.
    pub fn set(&mut self, at: usize, codec: &Codec, place: Place) {
        let Place::Word { word, position } = place else { return };
        let Some((mask, bias, factor)) = in_mantissa(codec, position) else { return };
        self.words[at] = word;
        (self.mask[at], self.bias[at], self.factor[at]) = (mask, bias, factor);
        self.offset[at] = codec.offset;
    }

    #[inline(always)]
    pub fn engineering(&self, words: &Words) -> [f64; LANES] {
        let word: [u64; LANES] = std::array::from_fn(|i| words[self.words[i] as usize]);
        std::array::from_fn(|i| {
            let number = f64::from_bits((word[i] & self.mask[i]) ^ self.bias[i]) - f64::from_bits(self.bias[i]);
            number * self.factor[i] + self.offset[i]
        })
    }

    /// The values of one lane for many rows, eight at a time.
    #[inline(always)]
    pub fn column(&self, lane: usize, words: &[Column<u64>], values: &mut [f64]) {
        let Some(words) = words.get(self.words[lane] as usize) else { return };
        let (mask, bias, factor, offset) = (self.mask[lane], self.bias[lane], self.factor[lane], self.offset[lane]);
        for (word, value) in words.0.iter().zip(values) {
            let number = f64::from_bits((word & mask) ^ bias) - f64::from_bits(bias);
            *value = number * factor + offset;
        }
    }
}

impl Lane {
    pub fn new(codec: &Codec, place: Place) -> Lane {
        let (word, top, position) = match place {
            Place::Word { word, position } => (word, word, position),
            Place::Nine { word, top, position } => (word, top, position),
        };
        Lane {
            mask: u64::MAX >> (64 - codec.size),
            sign: if codec.kind == Kind::Signed { 1 << (codec.size - 1) } else { 0 },
            factor: codec.factor,
            offset: codec.offset,
            word,
            top,
            shift: position as u8,
            kind: codec.kind,
        }
    }

    #[inline(always)]
    fn extend(&self, bits: u64) -> u64 {
        ((bits & self.mask) ^ self.sign).wrapping_sub(self.sign)
    }

    /// The raw value's bits, as [`Codec::bits`] gives them; not of nine bytes.
    #[inline(always)]
    pub fn bits(&self, words: &Words) -> u64 {
        self.extend(words[self.word as usize] >> (self.shift & 63))
    }

    /// The same of nine bytes.
    #[inline(always)]
    pub fn bits_of_nine(&self, words: &Words) -> u64 {
        self.join(words[self.word as usize], words[self.top as usize])
    }

    /// The bits out of eight bytes and a word whose top byte is the ninth; the position is 1 to 7.
    #[inline(always)]
    fn join(&self, word: u64, top: u64) -> u64 {
        self.extend(word >> (self.shift & 63) | top >> 56 << ((64 - u32::from(self.shift)) & 63))
    }

    /// The bits without sign: what selects a branch.
    #[inline(always)]
    pub fn pattern(&self, words: &Words) -> u64 {
        (words[self.word as usize] >> (self.shift & 63)) & self.mask
    }

    /// `raw * factor + offset` of the raw value's bits, without a jump that depends on the kind.
    #[inline(always)]
    pub fn number(&self, bits: u64) -> f64 {
        let numbers = [bits as f64, bits as i64 as f64, f32::from_bits(bits as u32).into(), f64::from_bits(bits)];
        let number = numbers[self.kind as usize % numbers.len()];
        number * self.factor + self.offset
    }

    /// The values for many rows.
    pub fn column(&self, words: &[Column<u64>], values: &mut [f64]) {
        let (word, top) = (usize::from(self.word), usize::from(self.top));
        let (Some(words), Some(tops)) = (words.get(word), words.get(top)) else { return };
        let lane = *self;
        let scale = |number: f64| number * lane.factor + lane.offset;
        let low = |word: u64| lane.extend(word >> (lane.shift & 63));
        let rows = words.0.iter().zip(values);
        if word != top {
            for ((word, value), top) in rows.zip(&tops.0) {
                *value = lane.number(lane.join(*word, *top));
            }
            return;
        }
        match self.kind {
            Kind::Unsigned => rows.for_each(|(word, value)| *value = scale(low(*word) as f64)),
            Kind::Signed => rows.for_each(|(word, value)| *value = scale(low(*word) as i64 as f64)),
            Kind::F32 => rows.for_each(|(word, value)| *value = scale(f32::from_bits(low(*word) as u32).into())),
            Kind::F64 => rows.for_each(|(word, value)| *value = scale(f64::from_bits(low(*word)))),
        }
    }
}

/// Eight bytes of a payload as one word: from which byte, in which byte order, and how many of its lowest bits are
/// left out (so that signals at its top come within the mantissa).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub offset: u16,
    pub order: ByteOrder,
    pub shift: u8,
}

/// Shift of a window for signals at the top of its word.
pub(super) const TOP: u8 = 64 - MANTISSA_BITS as u8;

/// The words of every payload of which the first eight bytes are enough; bytes that a shorter payload lacks are 0.
pub(super) const FIRST_EIGHT: [Window; 4] = [
    Window { offset: 0, order: ByteOrder::LittleEndian, shift: 0 },
    Window { offset: 0, order: ByteOrder::LittleEndian, shift: TOP },
    Window { offset: 0, order: ByteOrder::BigEndian, shift: 0 },
    Window { offset: 0, order: ByteOrder::BigEndian, shift: TOP },
];

/// Fills the words of [`FIRST_EIGHT`].
#[inline(always)]
pub(super) fn load_first_eight(payload: &[u8], words: &mut Words) {
    let little = first_eight(payload);
    let big = little.swap_bytes();
    words[0] = little;
    words[1] = little >> TOP;
    words[2] = big;
    words[3] = big >> TOP;
}

/// Up to eight bytes as a little-endian number, without a loop over them and with the same path for 4 to 8.
#[inline(always)]
pub(super) fn first_eight(payload: &[u8]) -> u64 {
    let payload = payload.get(..8).unwrap_or(payload);
    let behind = |bytes: usize| (payload.len() - bytes) as u32 * 8;
    if let (Some(head), Some(tail)) = (payload.first_chunk(), payload.last_chunk()) {
        return u64::from(u32::from_le_bytes(*head)) | u64::from(u32::from_le_bytes(*tail)) << behind(4);
    }
    if let (Some(head), Some(tail)) = (payload.first_chunk(), payload.last_chunk()) {
        return u64::from(u16::from_le_bytes(*head)) | u64::from(u16::from_le_bytes(*tail)) << behind(2);
    }
    payload.first().map_or(0, |byte| u64::from(*byte))
}

impl Window {
    /// The word; 0 where the payload does not hold all of it, which a program rules out before.
    #[inline(always)]
    pub fn load(&self, payload: &[u8]) -> u64 {
        let offset = usize::from(self.offset);
        let bytes = payload.get(offset..).and_then(|from| from.first_chunk()).copied().unwrap_or_default();
        let little = u64::from_le_bytes(bytes);
        let word = if self.order == ByteOrder::BigEndian { little.swap_bytes() } else { little };
        word >> (self.shift & 63)
    }

    /// [`Window::load`] of many payloads.
    pub fn load_column(&self, payloads: &[&[u8]], column: &mut Column<u64>) {
        let offset = usize::from(self.offset);
        let bytes =
            |payload: &[u8]| payload.get(offset..).and_then(|from| from.first_chunk()).copied().unwrap_or_default();
        let rows = payloads.iter().zip(&mut column.0);
        match self.order {
            ByteOrder::LittleEndian => {
                rows.for_each(|(p, word)| *word = u64::from_le_bytes(bytes(p)) >> (self.shift & 63))
            }
            ByteOrder::BigEndian => {
                rows.for_each(|(p, word)| *word = u64::from_be_bytes(bytes(p)) >> (self.shift & 63))
            }
        }
    }

    /// The position of a signal's lowest bit in the word; `None` where it is not wholly inside.
    pub fn position(&self, codec: &Codec) -> Option<u32> {
        if codec.order != self.order {
            return None;
        }
        let first = (u32::from(codec.first_bit())).checked_sub(u32::from(self.offset) * 8)?;
        let size = u32::from(codec.size);
        let position = match self.order {
            ByteOrder::LittleEndian => first,
            ByteOrder::BigEndian => 64u32.checked_sub(first + size)?,
        };
        let position = position.checked_sub(self.shift.into())?;
        (position + size <= 64 - u32::from(self.shift)).then_some(position)
    }
}

/// Words and places of the signals of one program.
#[derive(Debug, Default)]
pub(super) struct Windows {
    pub list: Vec<Window>,
    /// The last byte at which eight more are there.
    last: u16,
    /// Only the first eight bytes are needed: the list is [`FIRST_EIGHT`].
    pub first_eight: bool,
}

impl Windows {
    /// For signals of which the farthest needs a payload of that many bytes.
    pub fn new(needed: usize) -> Windows {
        if needed <= 8 {
            return Windows { list: FIRST_EIGHT.to_vec(), last: 0, first_eight: true };
        }
        Windows { list: Vec::new(), last: (needed - 8).try_into().unwrap_or(u16::MAX), first_eight: false }
    }

    /// The place of a signal, with a new word where no word holds it; `None` when there are too many words.
    pub fn place(&mut self, codec: &Codec) -> Option<Place> {
        let widest = match codec.kind {
            Kind::Unsigned | Kind::Signed => MANTISSA_BITS,
            Kind::F32 | Kind::F64 => 64,
        };
        let offset = (codec.first_bit() / 8).min(self.last);
        let fresh = |shift| Window { offset, order: codec.order, shift };
        // best in the mantissa, else anywhere in a word, else in two words
        self.find(codec, widest, &[fresh(0), fresh(TOP)]).or_else(|| self.find(codec, 64, &[fresh(0)])).or_else(|| {
            let (low, high) = match codec.order {
                ByteOrder::LittleEndian => (offset, offset + 1),
                ByteOrder::BigEndian => (offset + 1, offset),
            };
            let first = u32::from(codec.first_bit()) - u32::from(offset) * 8;
            let position = match codec.order {
                ByteOrder::LittleEndian => first,
                ByteOrder::BigEndian => 72 - first - u32::from(codec.size),
            };
            let word = self.add(Window { offset: low, order: codec.order, shift: 0 })?;
            let top = self.add(Window { offset: high, order: codec.order, shift: 0 })?;
            Some(Place::Nine { word, top, position })
        })
    }

    /// A word in which the signal ends at or below bit `widest`: one that is there, else one of `new`.
    fn find(&mut self, codec: &Codec, widest: u32, new: &[Window]) -> Option<Place> {
        let position =
            |window: &Window| window.position(codec).filter(|position| position + u32::from(codec.size) <= widest);
        let found = self.list.iter().enumerate().find_map(|(word, window)| Some((word as u8, position(window)?)));
        let (word, position) = match found {
            Some(found) => found,
            None => {
                let (window, position) = new.iter().find_map(|window| Some((*window, position(window)?)))?;
                (self.add(window)?, position)
            }
        };
        Some(Place::Word { word, position })
    }

    fn add(&mut self, window: Window) -> Option<u8> {
        if let Some(known) = self.list.iter().position(|other| *other == window) {
            return Some(known as u8);
        }
        if self.list.len() == MOST_WORDS {
            return None;
        }
        self.list.push(window);
        Some(self.list.len() as u8 - 1)
    }
}
