//! Decoding many frames: the messages of a database compiled into a plan that is made for speed and never changes.
//!
//! [`Codec`] is the reference and says what each value is; a [`Decoder`] gives the same values, bit for bit, several
//! times faster. A message becomes one program per multiplexor branch: which words to load from the payload (with their
//! bytes swapped for Motorola), and blocks of four signals that are masked out of a word, converted and scaled together
//! without a branch on size, sign or byte order. Nothing here allocates once a [`Row`] is there.

mod batch;
mod branch;
mod lane;
mod program;
mod run;
mod vector;

use super::codec::Codec;
use super::lookup::Lookup;
use super::model::{Group, Message};
use crate::can::FrameId;
pub use batch::{Batch, Table};
use lane::{WORDS, Words};
use program::{Next, Program, Programs};
use vector::Vector;

/// The compiled messages. They are named by their position in the list that was given to [`Decoder::new`].
#[derive(Debug)]
pub struct Decoder {
    lookup: Lookup,
    /// By 11-bit identifier: a copy of the message's first program.
    standard: Box<[Program]>,
    programs: Programs,
    messages: Box<[Reference]>,
    /// Values of the largest message, with room for the last block.
    width: usize,
}

/// A message for the scalar codec: frames that are shorter than their program needs.
#[derive(Debug)]
struct Reference {
    /// Codec and group of each signal.
    signals: Box<[(Codec, usize)]>,
    groups: Box<[Group]>,
}

/// A buffer for one decoded frame, made by [`Decoder::row`] and used again for the next. `f64` for engineering values,
/// `u64` for raw ones.
#[derive(Clone, Debug)]
pub struct Row<T> {
    values: Box<[T]>,
    /// The first of the values that are used: it begins a cache line.
    first: usize,
    signals: Box<[u32]>,
    words: Box<Words>,
}

/// The signals present in a frame. What is not listed is absent: outside a short frame or in another branch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded<'a, T> {
    /// Position of the message in the list given to [`Decoder::new`].
    pub message: usize,
    /// Positions in [`Message::signals`], in the order of `values`. The same for every full frame of the same branch.
    pub signals: &'a [u32],
    /// Engineering values, or the bits of raw values as [`Codec::bits`] gives them.
    pub values: &'a [T],
}

impl<'a, T: Copy> Decoded<'a, T> {
    /// Signal and value.
    pub fn iter(&self) -> impl Iterator<Item = (usize, T)> + 'a {
        self.signals.iter().zip(self.values).map(|(signal, value)| (*signal as usize, *value))
    }
}

/// A form of values: engineering ones or raw bits.
trait Form: Copy {
    /// All signals of a program, for which the payload is long enough.
    fn run(programs: &Programs, program: &Program, payload: &[u8], words: &mut Words, values: &mut [Self]);
    /// One signal, by the reference.
    fn scalar(codec: &Codec, payload: &[u8]) -> Option<Self>;
}

impl Form for f64 {
    #[inline(always)]
    fn run(programs: &Programs, program: &Program, payload: &[u8], words: &mut Words, values: &mut [f64]) {
        match programs.vector {
            Some(vector) if program.needed as usize <= vector::MOST => {
                vector.engineering(programs, program, payload, values)
            }
            _ => {
                programs.load(program, payload, words);
                programs.engineering(program, words, values);
            }
        }
    }

    fn scalar(codec: &Codec, payload: &[u8]) -> Option<f64> {
        codec.raw(payload).map(|raw| codec.engineering(raw))
    }
}

impl Form for u64 {
    #[inline(always)]
    fn run(programs: &Programs, program: &Program, payload: &[u8], words: &mut Words, values: &mut [u64]) {
        programs.load(program, payload, words);
        programs.raw(program, words, values);
    }

    fn scalar(codec: &Codec, payload: &[u8]) -> Option<u64> {
        codec.bits(payload)
    }
}

impl Decoder {
    /// Compiles the messages. Of two with the same identifier the first is used.
    pub fn new<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Decoder {
        Decoder::with(messages, Vector::detect())
    }

    /// As [`Decoder::new`], with instructions that every processor has: to compare.
    pub fn portable<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Decoder {
        Decoder::with(messages, None)
    }

    fn with<'a>(messages: impl IntoIterator<Item = &'a Message>, vector: Option<Vector>) -> Decoder {
        let messages: Vec<&Message> = messages.into_iter().collect();
        let most = messages.iter().map(|message| message.signals.len()).max().unwrap_or(0);
        let reference = |message: &&Message| Reference {
            signals: message.signals.iter().map(|signal| (signal.codec, signal.group)).collect(),
            groups: message.groups.clone().into(),
        };
        let lookup = Lookup::new(messages.iter().copied());
        let programs = branch::compile(&messages, vector);
        let standard = |number: u32| {
            let message = FrameId::standard(number).and_then(|id| lookup.get(id));
            message.and_then(|message| programs.get(message as u32)).copied().unwrap_or(Program::UNKNOWN)
        };
        Decoder {
            standard: (0..=FrameId::MAX_STANDARD).map(standard).collect(),
            lookup,
            programs,
            messages: messages.iter().map(reference).collect(),
            width: most + vector::WIDE,
        }
    }

    /// A buffer for [`Decoder::decode`] (`f64`) or [`Decoder::raw`] (`u64`) of this decoder.
    pub fn row<T: Clone + Default>(&self) -> Row<T> {
        const LINE: usize = 64;
        let values: Box<[T]> = vec![T::default(); self.width + LINE / size_of::<T>().max(1)].into();
        Row {
            first: values.as_ptr().align_offset(LINE).min(LINE / size_of::<T>().max(1)),
            values,
            signals: vec![0; self.width].into(),
            words: Box::new([0; WORDS]),
        }
    }

    /// The engineering values of all signals in a frame; `None` for an identifier that no message has.
    #[inline(always)]
    pub fn decode<'a>(&'a self, id: FrameId, payload: &[u8], row: &'a mut Row<f64>) -> Option<Decoded<'a, f64>> {
        let program = self.program(id)?;
        if payload.len() < program.quick as usize {
            return self.decode_any(program, payload, row);
        }
        match self.programs.vector {
            Some(vector) => vector.engineering(&self.programs, program, payload, row.values.get_mut(row.first..)?),
            None => {
                lane::load_first_eight(payload, &mut row.words);
                self.programs.blocks(program, &row.words, row.values.get_mut(row.first..)?);
            }
        }
        let signals = self.programs.signals(program);
        Some(Decoded {
            message: program.message as usize,
            signals,
            values: row.values.get(row.first..row.first + signals.len())?,
        })
    }

    /// The raw values of all signals in a frame, as bits: sign-extended, IEEE bits of a float.
    #[inline]
    pub fn raw<'a>(&'a self, id: FrameId, payload: &[u8], row: &'a mut Row<u64>) -> Option<Decoded<'a, u64>> {
        self.walk(self.program(id)?, payload, row)
    }

    /// Where a frame's decoding begins. An identifier that no message has gives `None` or [`Program::UNKNOWN`].
    #[inline(always)]
    fn program(&self, id: FrameId) -> Option<&Program> {
        if !id.is_extended() {
            return self.standard.get(id.number() as usize);
        }
        self.programs.get(self.lookup.get(id)? as u32)
    }

    #[inline(never)]
    fn decode_any<'a>(
        &'a self,
        program: &'a Program,
        payload: &[u8],
        row: &'a mut Row<f64>,
    ) -> Option<Decoded<'a, f64>> {
        self.walk(program, payload, row)
    }

    #[inline(always)]
    fn walk<'a, T: Form>(
        &'a self,
        program: &'a Program,
        payload: &[u8],
        row: &'a mut Row<T>,
    ) -> Option<Decoded<'a, T>> {
        let (mut program, mut is_loaded) = (program, false);
        loop {
            if payload.len() < program.needed as usize {
                return self.scalar(program.message, payload, row);
            }
            match program.next {
                Next::End => break,
                Next::One => {
                    // the first eight bytes serve all selectors in them
                    if !(is_loaded && program.windows.is_empty()) {
                        self.programs.load(program, payload, &mut row.words);
                    }
                    is_loaded = program.windows.is_empty();
                    program = self.programs.chosen(program, &row.words)?;
                }
                Next::Several => return self.branches(program, payload, row),
            }
        }
        T::run(&self.programs, program, payload, &mut row.words, row.values.get_mut(row.first..)?);
        let signals = self.programs.signals(program);
        Some(Decoded {
            message: program.message as usize,
            signals,
            values: row.values.get(row.first..row.first + signals.len())?,
        })
    }

    /// A message with several selectors side by side, or with more unconditional signals than each branch repeats.
    #[inline(never)]
    fn branches<'a, T: Form>(
        &'a self,
        program: &Program,
        payload: &[u8],
        row: &'a mut Row<T>,
    ) -> Option<Decoded<'a, T>> {
        let Some(used) = self.programs.descend(program, payload, row, 0) else {
            return self.scalar(program.message, payload, row);
        };
        let (signals, values) = (row.signals.get(..used)?, row.values.get(row.first..row.first + used)?);
        Some(Decoded { message: program.message as usize, signals, values })
    }

    /// By the reference, one signal after the other.
    #[cold]
    #[inline(never)]
    fn scalar<'a, T: Form>(&'a self, message: u32, payload: &[u8], row: &'a mut Row<T>) -> Option<Decoded<'a, T>> {
        let message = message as usize;
        let reference = self.messages.get(message)?;
        let raw = |signal: usize| reference.signals.get(signal).and_then(|(codec, _)| codec.raw(payload));
        let (mut used, mut known) = (0, (usize::MAX, false));
        for (signal, (codec, group)) in reference.signals.iter().enumerate() {
            if known.0 != *group {
                known = (*group, reference.groups.get(*group).is_some_and(|group| group.active(raw)));
            }
            let Some(value) = T::scalar(codec, payload).filter(|_| known.1) else { continue };
            *row.values.get_mut(row.first + used)? = value;
            *row.signals.get_mut(used)? = signal as u32;
            used += 1;
        }
        Some(Decoded {
            message,
            signals: row.signals.get(..used)?,
            values: row.values.get(row.first..row.first + used)?,
        })
    }
}

#[cfg(test)]
mod tests;
