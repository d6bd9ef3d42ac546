//! Programs run over payloads: one frame, or a table of them.

use super::lane::{Column, LANES, ROWS, TOP, Words, load_first_eight};
use super::program::{Program, Programs, Selector};
use super::{Form, Row};

impl Programs {
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&Program> {
        self.list.get(index as usize)
    }

    #[inline(always)]
    pub fn signals(&self, program: &Program) -> &[u32] {
        program.signals.of(&self.signals)
    }

    /// Loads the words that signals and selectors of the program lie in.
    #[inline(always)]
    pub fn load(&self, program: &Program, payload: &[u8], words: &mut Words) {
        if program.windows.is_empty() {
            load_first_eight(payload, words);
        } else {
            for (word, window) in words.iter_mut().zip(program.windows.of(&self.windows)) {
                *word = window.load(payload);
            }
        }
    }

    /// The engineering values, in the order of the program's signals. Writes up to the end of the last block.
    #[inline(always)]
    pub fn engineering(&self, program: &Program, words: &Words, values: &mut [f64]) {
        let mut values = values;
        if program.alone > 0 {
            let Some((alone, blocks)) = values.split_at_mut_checked(program.alone.into()) else { return };
            let mut lanes = program.signals.of(&self.lanes).iter().zip(alone);
            for (lane, value) in lanes.by_ref().take(program.nine.into()) {
                *value = lane.number(lane.bits_of_nine(words));
            }
            for (lane, value) in lanes {
                *value = lane.number(lane.bits(words));
            }
            values = blocks;
        }
        self.blocks(program, words, values);
    }

    /// [`Programs::engineering`] of the signals in blocks.
    #[inline(always)]
    pub fn blocks(&self, program: &Program, words: &Words, values: &mut [f64]) {
        let blocks = program.blocks.of(&self.blocks);
        for (block, values) in blocks.iter().zip(values.as_chunks_mut::<LANES>().0) {
            *values = block.engineering(words);
        }
    }

    /// The raw values' bits, in the order of the program's signals.
    #[inline(always)]
    pub fn raw(&self, program: &Program, words: &Words, values: &mut [u64]) {
        let mut lanes = program.signals.of(&self.lanes).iter().zip(values);
        for (lane, value) in lanes.by_ref().take(program.nine.into()) {
            *value = lane.bits_of_nine(words);
        }
        for (lane, value) in lanes {
            *value = lane.bits(words);
        }
    }

    /// The program that the only selector of a program chooses.
    #[inline(always)]
    pub fn chosen(&self, program: &Program, words: &Words) -> Option<&Program> {
        self.select(program.selectors.of(&self.selectors).first()?, words)
    }

    /// The program that a selector chooses.
    #[inline(always)]
    fn select(&self, selector: &Selector, words: &Words) -> Option<&Program> {
        let pattern = selector.lane.pattern(words);
        let choices = selector.choices.of(&self.choices);
        let at = match selector.edges.of(&self.edges) {
            [] => pattern.min((choices.len() as u64).saturating_sub(1)) as usize,
            edges => edges.partition_point(|edge| *edge <= pattern).wrapping_sub(1),
        };
        self.get(*choices.get(at)?)
    }

    /// Runs a program and what its selectors choose, from the place `used` on; the places used then, or `None` where
    /// the payload is too short.
    pub fn descend<T: Form>(&self, program: &Program, payload: &[u8], row: &mut Row<T>, used: usize) -> Option<usize> {
        if payload.len() < program.needed as usize {
            return None;
        }
        T::run(self, program, payload, &mut row.words, row.values.get_mut(row.first + used..)?);
        let signals = self.signals(program);
        let mut end = used + signals.len();
        row.signals.get_mut(used..end)?.copy_from_slice(signals);
        for selector in program.selectors.of(&self.selectors) {
            // the program chosen before has loaded its own words
            self.load(program, payload, &mut row.words);
            end = self.descend(self.select(selector, &row.words)?, payload, row, end)?;
        }
        Some(end)
    }

    /// Calls `found` with each program that holds signals of a payload; `None` where the payload is too short.
    pub fn each(
        &self,
        program: &Program,
        payload: &[u8],
        words: &mut Words,
        found: &mut impl FnMut(&Program),
    ) -> Option<()> {
        if payload.len() < program.needed as usize {
            return None;
        }
        if !program.signals.is_empty() {
            found(program);
        }
        for selector in program.selectors.of(&self.selectors) {
            self.load(program, payload, words);
            self.each(self.select(selector, words)?, payload, words, found)?;
        }
        Some(())
    }

    /// The words of up to [`ROWS`] payloads, a column each, for a program with windows.
    pub fn load_columns(&self, program: &Program, payloads: &[&[u8]], columns: &mut [Column<u64>]) {
        for (window, column) in program.windows.of(&self.windows).iter().zip(columns) {
            window.load_column(payloads, column);
        }
    }

    /// The same for a program of the first eight bytes. Rounded up to eight rows.
    pub fn load_first_columns(&self, program: &Program, first: &Column<u64>, rows: usize, columns: &mut [Column<u64>]) {
        let [little, little_top, big, big_top, ..] = columns else { return };
        *little = *first;
        let rows = rows.next_multiple_of(8).min(ROWS);
        let each = |from: &Column<u64>, to: &mut Column<u64>, word: fn(u64) -> u64| {
            to.0.iter_mut().zip(&from.0).take(rows).for_each(|(to, from)| *to = word(*from));
        };
        // only the words that the program uses
        if program.used & 0b0010 != 0 {
            each(first, little_top, |word| word >> TOP);
        }
        if program.used & 0b0100 != 0 {
            each(first, big, u64::swap_bytes);
        }
        if program.used & 0b1000 != 0 {
            each(first, big_top, |word| word.swap_bytes() >> TOP);
        }
    }

    /// The engineering values of up to [`ROWS`] rows, column by column.
    /// Rounded up to eight rows.
    #[inline(always)]
    pub fn columns(&self, program: &Program, words: &[Column<u64>], rows: usize, values: &mut [Column<f64>]) {
        let rows = rows.next_multiple_of(8).min(ROWS);
        let mut columns = values.iter_mut().map(|column| column.0.get_mut(..rows).unwrap_or_default());
        let lanes = program.signals.of(&self.lanes).iter().take(program.alone.into());
        for (lane, column) in lanes.zip(columns.by_ref()) {
            lane.column(words, column);
        }
        let mut left = program.signals.len().saturating_sub(program.alone.into());
        for block in program.blocks.of(&self.blocks) {
            for (lane, column) in (0..left.min(LANES)).zip(columns.by_ref()) {
                block.column(lane, words, column);
            }
            left = left.saturating_sub(LANES);
        }
    }
}
