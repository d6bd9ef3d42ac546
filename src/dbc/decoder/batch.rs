//! Many frames at once: sorted by what they hold, then decoded signal by signal.
//!
//! Frames of one branch of one message make a table: a row for each frame, a column for each signal. A column is one
//! loop with everything that is particular to its signal in registers, and there is no jump that depends on which
//! frame comes next.

use super::lane::{Column, ROWS, WORDS, Words};
use super::program::{Next, Program};
use super::{Decoder, Row};
use crate::can::FrameId;

/// A buffer for [`Decoder::batch`], used again for the next batch. It grows to the largest batch it has seen.
#[derive(Clone, Debug)]
pub struct Batch {
    tables: Vec<Place>,
    /// Positions of frames, by table.
    frames: Vec<u32>,
    /// Columns, by table.
    values: Vec<f64>,
    /// Signals of the tables that are no program's.
    signals: Vec<u32>,
    /// Program and frame, as they come.
    found: Vec<(u32, u32)>,
    /// Of `values`, by the tables of short frames.
    used: usize,
    /// By program: how many rows, then where the next one goes.
    rows: Vec<u32>,
    words: Box<Words>,
    columns: Box<[Column]>,
    row: Row<f64>,
}

/// Where a table lies in the lists of a batch.
#[derive(Clone, Copy, Debug)]
struct Place {
    message: u32,
    /// `None`: a short frame by itself, with its signals in `signals`.
    program: Option<u32>,
    signals: (u32, u32),
    frames: (u32, u32),
    values: usize,
    stride: u32,
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
    values: &'a [f64],
    stride: usize,
}

impl<'a> Table<'a> {
    /// The engineering values of `signals[column]`, a value for each of `frames`.
    pub fn column(&self, column: usize) -> &'a [f64] {
        let first = column * self.stride;
        self.values.get(first..first + self.frames.len()).unwrap_or(&[])
    }
}

impl Batch {
    fn clear(&mut self, programs: usize) {
        self.tables.clear();
        self.frames.clear();
        self.signals.clear();
        self.found.clear();
        self.rows.clear();
        self.rows.resize(programs, 0);
    }
}

impl Decoder {
    /// A buffer for [`Decoder::batch`] of this decoder.
    pub fn new_batch(&self) -> Batch {
        Batch {
            tables: Vec::new(),
            frames: Vec::new(),
            values: Vec::new(),
            signals: Vec::new(),
            found: Vec::new(),
            used: 0,
            rows: Vec::new(),
            words: Box::new([0; WORDS]),
            columns: vec![[0; ROWS]; 64].into(),
            row: self.row(),
        }
    }

    /// Decodes frames of any kind that `frame` can read. Frames of messages that the decoder does not have are in no
    /// table; a message with several selectors side by side is in a table for each. Batches of some thousand frames
    /// stay in the cache.
    pub fn batch<'b, F>(
        &'b self,
        frames: &[F],
        frame: impl Fn(&F) -> (FrameId, &[u8]),
        batch: &'b mut Batch,
    ) -> impl Iterator<Item = Table<'b>> {
        self.sort(frames, &frame, batch);
        self.fill(frames, &frame, batch);
        let batch = &*batch;
        batch.tables.iter().map(move |place| {
            let signals = match place.program.and_then(|program| self.programs.get(program)) {
                Some(program) => self.programs.signals(program),
                None => slice(&batch.signals, place.signals),
            };
            let values = batch.values.get(place.values..).unwrap_or(&[]);
            let (message, stride) = (place.message as usize, place.stride as usize);
            Table { message, signals, frames: slice(&batch.frames, place.frames), values, stride }
        })
    }

    /// Which programs each frame needs; tables for the frames that are too short for theirs.
    #[inline(always)]
    fn sort<F>(&self, frames: &[F], frame: impl Fn(&F) -> (FrameId, &[u8]), batch: &mut Batch) {
        batch.clear(self.programs.list.len());
        let mut used = 0;
        for (index, one) in frames.iter().enumerate() {
            let (id, payload) = frame(one);
            let Some(program) = self.program(id) else { continue };
            if payload.len() >= program.needed as usize && program.next == Next::End {
                batch.found.push((program.index, index as u32));
                continue;
            }
            if program.message == Program::UNKNOWN.message {
                continue;
            }
            let before = batch.found.len();
            let found = &mut batch.found;
            let each = self.programs.each(program, payload, &mut batch.words, &mut |program| {
                found.push((program.index, index as u32));
            });
            if each.is_none() {
                batch.found.truncate(before);
                used = self.short(program.message, index, payload, batch, used);
            }
        }
        for (program, _) in &batch.found {
            if let Some(rows) = batch.rows.get_mut(*program as usize) {
                *rows += 1;
            }
        }
        batch.used = used;
    }

    /// A table of its own for a short frame.
    #[cold]
    fn short(&self, message: u32, index: usize, payload: &[u8], batch: &mut Batch, used: usize) -> usize {
        let Some(decoded) = self.decode_scalar(message, payload, &mut batch.row) else { return used };
        let count = decoded.signals.len();
        let end = used + count;
        if batch.values.len() < end {
            batch.values.resize(end, 0.0);
        }
        batch.values.splice(used..end, decoded.values.iter().copied());
        batch.tables.push(Place {
            message,
            program: None,
            signals: (batch.signals.len() as u32, count as u32),
            frames: (batch.frames.len() as u32, 1),
            values: used,
            stride: 1,
        });
        batch.signals.extend(decoded.signals);
        batch.frames.push(index as u32);
        end
    }

    /// The tables of all programs.
    #[inline(always)]
    fn fill<'f, F>(&self, frames: &'f [F], frame: impl Fn(&'f F) -> (FrameId, &'f [u8]), batch: &mut Batch) {
        let mut first = batch.frames.len();
        let mut values = batch.used;
        for (index, rows) in batch.rows.iter_mut().enumerate().filter(|(_, rows)| **rows > 0) {
            let Some(program) = self.programs.get(index as u32) else { continue };
            let stride = rows.next_multiple_of(8);
            batch.tables.push(Place {
                message: program.message,
                program: Some(index as u32),
                signals: (0, 0),
                frames: (first as u32, *rows),
                values,
                stride,
            });
            values += stride as usize * self.programs.signals(program).len();
            first += *rows as usize;
            *rows = first as u32 - *rows;
        }
        batch.frames.resize(first, 0);
        if batch.values.len() < values {
            batch.values.resize(values, 0.0);
        }
        for (program, index) in &batch.found {
            let Some(next) = batch.rows.get_mut(*program as usize) else { continue };
            if let Some(place) = batch.frames.get_mut(*next as usize) {
                *place = *index;
                *next += 1;
            }
        }
        for place in &batch.tables {
            let Some(program) = place.program.and_then(|program| self.programs.get(program)) else { continue };
            let Some(values) = batch.values.get_mut(place.values..) else { continue };
            let stride = place.stride as usize;
            let size = stride * self.programs.signals(program).len();
            let Some(values) = values.get_mut(..size) else { continue };
            for (part, rows) in slice(&batch.frames, place.frames).chunks(ROWS).enumerate() {
                let mut payloads: [&[u8]; ROWS] = [&[]; ROWS];
                for (payload, index) in payloads.iter_mut().zip(rows) {
                    *payload = frames.get(*index as usize).map_or(&[], |one| frame(one).1);
                }
                let payloads = payloads.get(..rows.len()).unwrap_or(&[]);
                self.programs.load_columns(program, payloads, &mut batch.columns);
                self.programs.columns(program, &batch.columns, rows.len(), values, stride, part * ROWS);
            }
        }
    }
}

fn slice(list: &[u32], (first, count): (u32, u32)) -> &[u32] {
    list.get(first as usize..first as usize + count as usize).unwrap_or(&[])
}
