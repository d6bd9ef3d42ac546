//! Programs: the signals that are present together, laid out for `run`.

use super::lane::{Block, Class, LANES, Lane, Window, Windows};
use super::vector::{self, Any, Narrow, Vector, WIDE};
use crate::dbc::codec::Codec;

/// The signals of one branch, in one cache line. Its lists are runs of the lists in [`Programs`].
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Program {
    /// `needed` of a program without selectors that is run at once: with a `Vector` any of up to 64 bytes, else one that
    /// is nothing but blocks over the first eight bytes. More than any payload for others.
    pub quick: u32,
    /// Bytes of payload that signals and selectors need; more than any payload where the program can't be run.
    pub needed: u32,
    pub blocks: Run,
    /// Into `signals` and `lanes`: those by themselves by class, then those in blocks.
    pub signals: Run,
    /// The message it belongs to.
    pub message: u32,
    /// Its own place in the list.
    pub index: u32,
    /// None: the first eight bytes.
    pub windows: Run,
    pub selectors: Run,
    /// How many signals are by themselves, and how many of them span nine bytes: the first ones.
    pub alone: u16,
    pub nine: u16,
    pub next: Next,
    /// Of the first eight bytes: a bit for each word that is used.
    pub used: u8,
    /// Into `any` and `narrow`: where its first ones are.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "there is no `Vector`"))]
    pub any: u32,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "there is no `Vector`"))]
    pub narrow: u32,
}

/// Where a program's entries begin in a list, and how many they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    first: u32,
    count: u32,
}

/// What follows a program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    /// Its signals are all that are present.
    End,
    /// It has no signals of its own; its selector chooses the program that has them all.
    One,
    /// Its selectors each add a program.
    Several,
}

/// A signal whose value chooses a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selector {
    pub lane: Lane,
    /// Into `choices`: by value, the last for all greater ones; or in parallel to `edges`.
    pub choices: Run,
    /// Into `edges`: the smallest bit pattern of each choice; empty where `choices` is by value.
    pub edges: Run,
}

/// Chosen values of a selector, as bit patterns without sign, from each `.0` to before the next.
pub(super) type Choices = Vec<(u64, u32)>;

/// A selector whose choices all begin below this value has a table by value.
const TABLE: u64 = 1024;

/// Signals of a program are all decoded by themselves where one of them is, up to this many.
const ALONE: usize = 8;

/// The programs of all messages and their lists, each contiguous.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub list: Vec<Program>,
    pub windows: Vec<Window>,
    pub blocks: Vec<Block>,
    pub signals: Vec<u32>,
    /// In parallel to `signals`.
    pub lanes: Vec<Lane>,
    pub selectors: Vec<Selector>,
    pub edges: Vec<u64>,
    pub choices: Vec<u32>,
    /// Whether the two lists that follow are there to be used.
    pub vector: Option<Vector>,
    pub any: Vec<Any>,
    pub narrow: Vec<Narrow>,
}

impl Run {
    const NONE: Run = Run { first: 0, count: 0 };

    /// From a length before to the length now.
    fn since<T>(first: usize, list: &[T]) -> Run {
        Run { first: first as u32, count: (list.len() - first) as u32 }
    }

    #[inline(always)]
    pub fn of<T>(self, list: &[T]) -> &[T] {
        let first = self.first as usize;
        // a match, not unwrap_or: a jump that is never taken costs less than a choice
        match list.get(first..first + self.count as usize) {
            Some(run) => run,
            None => &[],
        }
    }

    pub fn len(self) -> usize {
        self.count as usize
    }

    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.count == 0
    }
}

impl Program {
    /// Of no message.
    pub const UNKNOWN: Program = Program {
        quick: u32::MAX,
        needed: u32::MAX,
        blocks: Run::NONE,
        signals: Run::NONE,
        message: u32::MAX,
        index: u32::MAX,
        windows: Run::NONE,
        selectors: Run::NONE,
        alone: 0,
        nine: 0,
        next: Next::End,
        used: 0,
        any: 0,
        narrow: 0,
    };
}

impl Programs {
    /// Room for the programs of that many messages, to be filled by [`Programs::set`].
    pub fn reserve(messages: usize, vector: Option<Vector>) -> Programs {
        let mut programs = Programs { vector, ..Programs::default() };
        for message in 0..messages {
            programs.add(message as u32);
        }
        programs
    }

    /// Adds a program of a message, to be filled by [`Programs::set`]. Until then its frames are left to the reference.
    pub fn add(&mut self, message: u32) -> u32 {
        let index = self.list.len() as u32;
        self.list.push(Program { message, index, ..Program::UNKNOWN });
        index
    }

    /// Compiles a program: signals, by index, and selectors with what they choose. `inherited`: its signals are those
    /// of the programs chosen, too, and are not decoded here. `None`, and nothing done, where it can't be compiled.
    pub fn set(
        &mut self,
        at: u32,
        signals: &[(u32, &Codec)],
        selectors: &[(&Codec, Choices)],
        inherited: bool,
    ) -> Option<()> {
        let own: &[_] = if inherited { &[] } else { signals };
        let codecs = || own.iter().map(|(_, codec)| *codec).chain(selectors.iter().map(|(codec, _)| *codec));
        let needed = codecs().map(Codec::needed_len).max().unwrap_or(0);
        let mut windows = Windows::new(needed);
        // in the order of the payload, neighbours share a word
        let mut sorted: Vec<&Codec> = codecs().collect();
        sorted.sort_by_key(|codec| codec.first_bit());
        for codec in sorted {
            windows.place(codec)?;
        }
        let mut placed = Vec::with_capacity(own.len());
        for (signal, codec) in own {
            let place = windows.place(codec)?;
            placed.push((Class::of(codec, place), *signal, *codec, place));
        }
        // few signals: one loop for all of them
        if placed.len() <= ALONE && placed.iter().any(|(class, ..)| *class != Class::Block) {
            placed.iter_mut().for_each(|(class, ..)| *class = (*class).min(Class::Alone));
        }
        placed.sort_by_key(|(class, ..)| *class);
        let class = |class| placed.iter().filter(|(of, ..)| *of == class).count();
        let nine = u16::try_from(class(Class::Nine)).ok()?;
        let alone = u16::try_from(class(Class::Nine) + class(Class::Alone)).ok()?;
        let mut chosen = Vec::with_capacity(selectors.len());
        for (codec, choices) in selectors {
            let place = windows.place(codec)?;
            if Class::of(codec, place) == Class::Nine {
                return None;
            }
            chosen.push((Lane::new(codec, place), choices));
        }
        let place = self.list.get(at as usize).copied()?;
        let first = [self.windows.len(), self.blocks.len(), self.signals.len(), self.selectors.len()];
        for (lane, choices) in chosen {
            self.add_selector(lane, choices);
        }
        if !windows.first_eight {
            self.windows.extend(&windows.list);
        }
        self.signals.extend(placed.iter().map(|(_, signal, ..)| *signal));
        self.lanes.extend(placed.iter().map(|(_, _, codec, place)| Lane::new(codec, *place)));
        for lanes in placed.get(alone.into()..).unwrap_or(&[]).chunks(LANES) {
            let mut block = Block::EMPTY;
            for (at, (_, _, codec, place)) in lanes.iter().enumerate() {
                block.set(at, codec, *place);
            }
            self.blocks.push(block);
        }
        let (any, narrow) = (self.any.len() as u32, self.narrow.len() as u32);
        if self.vector.is_some() {
            let codecs: Vec<&Codec> = placed.iter().map(|(_, _, codec, _)| *codec).collect();
            let (alone, blocks) = codecs.split_at(alone.into());
            self.any.extend(alone.chunks(WIDE).map(Any::new));
            self.narrow.extend(blocks.chunks(WIDE).map(Narrow::new));
        }
        let is_quick = match self.vector {
            Some(_) => needed <= vector::MOST,
            None => windows.first_eight && alone == 0,
        };
        let is_quick = is_quick && selectors.is_empty();
        let needed = needed as u32;
        let program = Program {
            quick: if is_quick { needed } else { u32::MAX },
            needed,
            blocks: Run::since(first[1], &self.blocks),
            signals: Run::since(first[2], &self.signals),
            windows: Run::since(first[0], &self.windows),
            selectors: Run::since(first[3], &self.selectors),
            alone,
            nine,
            next: match selectors {
                [] => Next::End,
                [_] if inherited => Next::One,
                _ => Next::Several,
            },
            any,
            narrow,
            used: placed.iter().fold(0, |used, (.., place)| used | place.used()),
            ..place
        };
        *self.list.get_mut(at as usize)? = program;
        Some(())
    }

    fn add_selector(&mut self, lane: Lane, values: &Choices) {
        let (edges, choices) = (self.edges.len(), self.choices.len());
        match values.last() {
            Some((last, _)) if *last < TABLE => {
                let chosen = |pattern: u64| values.iter().rev().find(|(from, _)| *from <= pattern);
                self.choices.extend((0..=*last).filter_map(|pattern| chosen(pattern).map(|(_, program)| *program)));
            }
            _ => {
                self.edges.extend(values.iter().map(|(from, _)| *from));
                self.choices.extend(values.iter().map(|(_, program)| *program));
            }
        }
        let choices = Run::since(choices, &self.choices);
        self.selectors.push(Selector { lane, choices, edges: Run::since(edges, &self.edges) });
    }
}
