//! Many frames at once: gathered by what they hold, then decoded signal by signal.
//!
//! Frames of one branch of one message make a table: a row for each frame, a column for each signal. A column is one
//! loop with everything that is particular to its signal in registers, and no jump depends on which frame comes next.

use super::lane::{Column, MOST_WORDS, ROWS, WORDS, Words, first_eight};
use super::program::{Next, Program};
use super::{Decoder, Row};
use crate::can::FrameId;

/// A buffer for [`Decoder::batch`], used again for the next batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// By program.
    gathered: Box<[Gathered]>,
    /// Programs that have rows.
    started: Vec<u32>,
    columns: Box<[Column<u64>]>,
    values: Box<[Column<f64>]>,
    /// Programs of the present frame.
    found: Vec<u32>,
    words: Box<Words>,
    row: Row<f64>,
}

/// Frames that wait until there are enough of their program.
#[derive(Clone, Copy, Debug)]
struct Gathered {
    rows: u32,
    /// Whether the program is in `started`.
    is_started: bool,
    /// Positions in the batch.
    frames: [u32; ROWS],
    /// The first eight bytes, for a program that needs no more.
    words: Column<u64>,
}

/// Frames of one message in which the same signals are present.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Position of the message in the list given to [`Decoder::new`].
    pub message: usize,
    /// A column each: positions in [`crate::dbc::Message::signals`].
    pub signals: &'a [u32],
    /// A row each: positions in the frames of the batch, ascending.
    pub frames: &'a [u32],
    values: &'a [Column<f64>],
}

impl<'a> Table<'a> {
    /// The engineering values of `signals[column]`, a value for each of `frames`.
    pub fn column(&self, column: usize) -> &'a [f64] {
        self.values.get(column).and_then(|column| column.0.get(..self.frames.len())).unwrap_or(&[])
    }
}

impl Decoder {
    /// A buffer for [`Decoder::batch`] of this decoder.
    pub fn batch_buffer(&self) -> Batch {
        let empty = Gathered { rows: 0, is_started: false, frames: [0; ROWS], words: Column([0; ROWS]) };
        Batch {
            gathered: vec![empty; self.programs.list.len()].into(),
            started: Vec::with_capacity(self.programs.list.len()),
            columns: vec![Column([0; ROWS]); MOST_WORDS].into(),
            values: vec![Column([0.0; ROWS]); self.width].into(),
            found: Vec::with_capacity(self.programs.list.len()),
            words: Box::new([0; WORDS]),
            row: self.row(),
        }
    }

    /// Decodes frames of any kind that `frame` can read, and gives the values to `table` in tables of up to 64 frames.
    /// Their order is that of the frames within a table only; a frame that is shorter than its message is a table by
    /// itself. Frames of messages that the decoder does not have are in no table; a frame of a message with several
    /// selectors side by side is in a table for each. The more frames, the better: some hundred per message fill the
    /// tables.
    pub fn batch<'f, F>(
        &self,
        frames: &'f [F],
        frame: impl Fn(&'f F) -> (FrameId, &'f [u8]),
        batch: &mut Batch,
        mut table: impl FnMut(Table),
    ) {
        for (index, one) in frames.iter().enumerate() {
            let (id, payload) = frame(one);
            let Some(mut program) = self.program(id) else { continue };
            while program.next == Next::One && payload.len() >= program.needed as usize {
                self.programs.load(program, payload, &mut batch.words);
                let Some(chosen) = self.programs.chosen(program, &batch.words) else { break };
                program = chosen;
            }
            if payload.len() >= program.needed as usize && program.next == Next::End {
                if batch.gather(program, index, payload) {
                    self.table(program, frames, &frame, batch, &mut table);
                }
            } else if program.message != Program::UNKNOWN.message {
                self.gather_branches(program, index, frames, &frame, batch, &mut table);
            }
        }
        while let Some(program) = batch.started.pop() {
            let Some(gathered) = batch.gathered.get_mut(program as usize) else { continue };
            gathered.is_started = false;
            if let Some(program) = self.programs.get(program).filter(|_| gathered.rows > 0) {
                self.table(program, frames, &frame, batch, &mut table);
            }
        }
    }

    /// A frame with selectors, or one that is too short.
    #[inline(never)]
    fn gather_branches<'f, F>(
        &self,
        start: &Program,
        index: usize,
        frames: &'f [F],
        frame: &impl Fn(&'f F) -> (FrameId, &'f [u8]),
        batch: &mut Batch,
        table: &mut impl FnMut(Table),
    ) {
        let Some((_, payload)) = frames.get(index).map(frame) else { return };
        let Batch { found, words, .. } = batch;
        found.clear();
        if self.programs.each(start, payload, words, &mut |program| found.push(program.index)).is_some() {
            for at in 0..batch.found.len() {
                let program = batch.found.get(at).and_then(|program| self.programs.get(*program));
                if let Some(program) = program.filter(|program| batch.gather(program, index, payload)) {
                    self.table(program, frames, frame, batch, table);
                }
            }
        } else if let Some(decoded) = self.scalar(start.message, payload, &mut batch.row) {
            let (message, signals) = (decoded.message, decoded.signals);
            batch.values.iter_mut().zip(decoded.values).for_each(|(column, value)| column.0[0] = *value);
            table(Table { message, signals, frames: &[index as u32], values: &batch.values });
        }
    }

    /// The table of what a program has gathered.
    fn table<'f, F>(
        &self,
        program: &Program,
        frames: &'f [F],
        frame: &impl Fn(&'f F) -> (FrameId, &'f [u8]),
        batch: &mut Batch,
        table: &mut impl FnMut(Table),
    ) {
        let Some(gathered) = batch.gathered.get_mut(program.index as usize) else { return };
        let rows = std::mem::take(&mut gathered.rows) as usize;
        let positions = gathered.frames.get(..rows).unwrap_or(&[]);
        if program.windows.is_empty() {
            self.programs.load_first_columns(program, &gathered.words, rows, &mut batch.columns);
        } else {
            let mut payloads: [&[u8]; ROWS] = [&[]; ROWS];
            for (payload, index) in payloads.iter_mut().zip(positions) {
                *payload = frames.get(*index as usize).map_or(&[], |one| frame(one).1);
            }
            self.programs.load_columns(program, payloads.get(..rows).unwrap_or(&[]), &mut batch.columns);
        }
        match self.programs.vector {
            Some(vector) => vector.columns(&self.programs, program, &batch.columns, rows, &mut batch.values),
            None => self.programs.columns(program, &batch.columns, rows, &mut batch.values),
        }
        table(Table {
            message: program.message as usize,
            signals: self.programs.signals(program),
            frames: positions,
            values: &batch.values,
        });
    }
}

impl Batch {
    /// Adds a frame to those of its program; whether there are enough now.
    #[inline(always)]
    fn gather(&mut self, program: &Program, index: usize, payload: &[u8]) -> bool {
        let Some(gathered) = self.gathered.get_mut(program.index as usize) else { return false };
        let row = gathered.rows as usize % ROWS;
        if !gathered.is_started {
            gathered.is_started = true;
            self.started.push(program.index);
        }
        gathered.frames[row] = index as u32;
        gathered.words.0[row] = first_eight(payload);
        gathered.rows = row as u32 + 1;
        row + 1 == ROWS
    }
}
