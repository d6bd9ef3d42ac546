//! `overlay = ["names.csv"]`: tables that say about tags and messages what a DBC file does not: alias, description, unit, closer
//! limits, area, and the same in other languages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bus::{Bus, Section};
use super::report::Report;
use super::rights::unknown_message;
use super::sources::{self, SourceFile};
use super::suggest::{did_you_mean, list};
use crate::diagnostic::{Diagnostic, Severity, position};
use crate::plan::Overlay;

/// Most rows of one table.
const MAX_ROWS: usize = 200_000;
/// Longest text in a cell, in bytes.
const MAX_TEXT: usize = 1000;

/// By message and signal of the bus; without a signal the message's own.
pub type Overlays = BTreeMap<(usize, Option<usize>), Overlay>;

/// What a column is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    Tag,
    /// With its locale, where it has one.
    Alias(Option<String>),
    Description(Option<String>),
    /// Words of the value table in another language.
    Values(String),
    Unit,
    Min,
    Max,
    Area,
}

const COLUMNS: [&str; 7] = ["tag", "alias", "description", "unit", "min", "max", "area"];
/// Those that have a locale in brackets.
const TRANSLATED: [&str; 3] = ["alias", "description", "values"];

/// Puts what the tables say into the messages; gives what has no place there.
pub fn apply(section: &Section<'_>, bus: &mut Bus<'_>, files: &[SourceFile], report: &mut Report<'_>) -> Overlays {
    let mut found = Overlays::new();
    let mut places = BTreeMap::new();
    let path = ["bus", section.name, "overlay"];
    for (index, written) in section.written.overlay.iter().enumerate() {
        let name = sources::dbc_name(report.document.file(&path, Some(index)), written);
        let Some(file) = files.iter().find(|file| file.name == name) else {
            report.unread(&path, index, written, &name);
            continue;
        };
        let mut table = match Table::new(file) {
            Ok(table) => table,
            Err(mistake) => {
                report.elsewhere(*mistake);
                continue;
            }
        };
        table.read(section, bus, &mut found, &mut places, report);
    }
    found
}

/// One file.
struct Table<'a> {
    file: &'a str,
    text: &'a str,
    delimiter: u8,
    columns: Vec<Column>,
}

/// A cell: where its row begins, and which it is.
#[derive(Clone, Copy, Debug)]
struct Cell {
    start: usize,
    index: usize,
}

impl<'a> Table<'a> {
    fn new(file: &'a SourceFile) -> Result<Table<'a>, Box<Diagnostic>> {
        let text = std::str::from_utf8(&file.bytes).map_err(|error| {
            let good = file.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let (line, column) = position(std::str::from_utf8(good).unwrap_or_default(), good.len());
            let message = "the file is not UTF-8 text; save it as UTF-8 (\"CSV UTF-8\" in spreadsheets)";
            Diagnostic::new(Severity::Error, &file.name, line, column, message)
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let header = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
        // spreadsheets take the separator of their language
        let count = |separator: &u8| header.bytes().filter(|byte| byte == separator).count();
        let delimiter = [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',');
        Ok(Table { file: &file.name, text, delimiter, columns: Vec::new() })
    }

    fn read(
        &mut self,
        section: &Section<'_>,
        bus: &mut Bus<'_>,
        found: &mut Overlays,
        places: &mut BTreeMap<(usize, Option<usize>), String>,
        report: &mut Report<'_>,
    ) {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(self.text.as_bytes());
        let mut rows = 0;
        // up to where lines are counted, and how many there were
        let (mut counted, mut line) = (0, 1);
        let mut record = csv::StringRecord::new();
        // the text is UTF-8, rows may have any length, and memory can't fail to be read
        while let Ok(true) = reader.read_record(&mut record) {
            let start = self.row_start(record.position().map_or(0, |position| position.byte() as usize));
            line +=
                self.text.as_bytes().get(counted..start).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
            counted = start;
            if rows == 0 {
                match self.header(&record, start) {
                    Ok(columns) => self.columns = columns,
                    Err(mistake) => return report.elsewhere(*mistake),
                }
            } else if let Err(Some(mistake)) = self.row(&record, (start, line), section, bus, found, places) {
                report.elsewhere(*mistake);
            }
            rows += 1;
            if report.is_full() {
                return;
            }
            if rows > MAX_ROWS {
                let message = format!("more than {MAX_ROWS} rows");
                return report.elsewhere(*self.mistake(Cell { start, index: 0 }, message));
            }
        }
        if rows == 0 {
            let message = format!("the table is empty; its first row has names of columns: {}", list(COLUMNS));
            report.elsewhere(Diagnostic::new(Severity::Error, self.file, 0, 0, message));
        }
    }

    fn header(&self, record: &csv::StringRecord, start: usize) -> Result<Vec<Column>, Box<Diagnostic>> {
        let mut columns = Vec::new();
        for (index, name) in record.iter().enumerate() {
            let mistake = |message: String| self.mistake(Cell { start, index }, message);
            let name = name.trim();
            let bracketed = name.strip_suffix(']').and_then(|rest| rest.split_once('['));
            let bracketed = bracketed.filter(|(what, _)| TRANSLATED.contains(what));
            let column = match (name, bracketed) {
                (_, Some((what, locale))) if !is_locale(locale) => {
                    return Err(mistake(format!(
                        "\"{locale}\" is no locale; write it like {what}[de] or {what}[pt-BR]"
                    )));
                }
                (_, Some(("alias", locale))) => Column::Alias(Some(locale.to_owned())),
                (_, Some(("values", locale))) => Column::Values(locale.to_owned()),
                (_, Some((_, locale))) => Column::Description(Some(locale.to_owned())),
                ("tag", None) => Column::Tag,
                ("alias", None) => Column::Alias(None),
                ("description", None) => Column::Description(None),
                ("unit", None) => Column::Unit,
                ("min", None) => Column::Min,
                ("max", None) => Column::Max,
                ("area", None) => Column::Area,
                (name, None) => {
                    let hint = did_you_mean(name, COLUMNS);
                    let known = list(COLUMNS);
                    return Err(mistake(format!(
                        "unknown column \"{name}\"{hint}; there are {known}, alias[de], description[de], values[de]"
                    )));
                }
            };
            if columns.contains(&column) {
                return Err(mistake(format!("there are two columns \"{name}\"")));
            }
            columns.push(column);
        }
        if !columns.contains(&Column::Tag) {
            let message = "there is no column \"tag\": Message.Signal, or Message".to_owned();
            return Err(self.mistake(Cell { start, index: 0 }, message));
        }
        Ok(columns)
    }

    /// One row. An error without a mistake: a message of a DBC file that could not be read.
    fn row(
        &self,
        record: &csv::StringRecord,
        (start, line): (usize, usize),
        section: &Section<'_>,
        bus: &mut Bus<'_>,
        found: &mut Overlays,
        places: &mut BTreeMap<(usize, Option<usize>), String>,
    ) -> Result<(), Option<Box<Diagnostic>>> {
        let mistake = |index: usize, message: String| Some(self.mistake(Cell { start, index }, message));
        let mut cells = Vec::with_capacity(self.columns.len());
        for (index, text) in record.iter().enumerate() {
            let text = text.trim();
            match self.columns.get(index) {
                _ if text.is_empty() => {}
                None => return Err(mistake(index, "this cell has no column in the first row".to_owned())),
                Some(_) if text.len() > MAX_TEXT => {
                    return Err(mistake(index, format!("a cell has at most {MAX_TEXT} bytes")));
                }
                Some(column) => cells.push((index, column, text)),
            }
        }
        if cells.is_empty() {
            return Ok(());
        }
        let Some((at, _, name)) = cells.iter().find(|(_, column, _)| **column == Column::Tag) else {
            return Err(mistake(0, "this row has no tag".to_owned()));
        };
        let target = match find(section, bus, name) {
            Ok(target) => target,
            Err(text) => return Err(text.and_then(|text| mistake(*at, text))),
        };
        if let Some(place) = places.get(&target) {
            return Err(mistake(*at, format!("{name} is already at {place}")));
        }
        places.insert(target, format!("{}:{line}", self.file));
        let overlay = self.cells(&cells, bus, target).map_err(|(index, text)| mistake(index, text))?;
        if overlay != Overlay::default() {
            found.insert(target, overlay);
        }
        Ok(())
    }

    /// Puts the cells of one row where they belong.
    fn cells(
        &self,
        cells: &[(usize, &Column, &str)],
        bus: &mut Bus<'_>,
        (message, signal): (usize, Option<usize>),
    ) -> Result<Overlay, (usize, String)> {
        let mut overlay = Overlay::default();
        let mut limits = [None, None];
        for (index, column, text) in cells {
            let own = || Some((*text).to_owned());
            match (column, signal) {
                (Column::Tag, _) => {}
                (Column::Alias(None), _) => overlay.alias = own(),
                (Column::Alias(Some(locale)), _) => overlay.aliases.push((locale.clone(), (*text).to_owned())),
                (Column::Area, _) => overlay.area = own(),
                (Column::Description(Some(locale)), _) => {
                    overlay.descriptions.push((locale.clone(), (*text).to_owned()));
                }
                (Column::Description(None), _) => {
                    let message = Arc::make_mut(&mut bus.messages[message].message);
                    match signal {
                        Some(signal) => message.signals[signal].comment = own(),
                        None => message.comment = own(),
                    }
                }
                (Column::Unit | Column::Min | Column::Max, None) => {
                    return Err((*index, "a message has no unit and no limits; its signals have".to_owned()));
                }
                (Column::Values(_), None) => {
                    return Err((*index, "a message has no value table; its signals have".to_owned()));
                }
                (Column::Values(locale), Some(signal)) => {
                    let table = &bus.messages[message].message.signals[signal].value_table;
                    overlay.words.push((locale.clone(), words(text, table).map_err(|text| (*index, text))?));
                }
                (Column::Unit, Some(signal)) => {
                    Arc::make_mut(&mut bus.messages[message].message).signals[signal].unit = (*text).to_owned();
                }
                (Column::Min, Some(_)) => limits[0] = Some((*index, number(text).map_err(|text| (*index, text))?)),
                (Column::Max, Some(_)) => limits[1] = Some((*index, number(text).map_err(|text| (*index, text))?)),
            }
        }
        overlay.aliases.sort();
        overlay.descriptions.sort();
        overlay.words.sort();
        if let (Some(signal), [Some(_), _] | [_, Some(_)]) = (signal, limits) {
            narrow(bus, message, signal, limits)?;
        }
        Ok(overlay)
    }

    fn mistake(&self, cell: Cell, message: String) -> Box<Diagnostic> {
        let (line, column) = self.position(cell);
        let excerpt = self.text.lines().nth(line as usize - 1).unwrap_or_default();
        Box::new(Diagnostic::new(Severity::Error, self.file, line, column, message).excerpt(excerpt))
    }

    /// The first byte of a row: the reader passes over empty lines before it.
    fn row_start(&self, start: usize) -> usize {
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        start + self.text.as_bytes().get(start..).unwrap_or_default().iter().take_while(blank).count()
    }

    /// Line and column of a cell.
    fn position(&self, cell: Cell) -> (u32, u32) {
        let bytes = self.text.as_bytes();
        let (mut index, mut quoted, mut at) = (0, false, cell.start);
        while index < cell.index {
            match bytes.get(at) {
                None => break,
                // a quote inside of quotes is doubled: it ends them and begins new ones
                Some(b'"') => quoted = !quoted,
                Some(byte) if *byte == self.delimiter && !quoted => index += 1,
                Some(_) => {}
            }
            at += 1;
        }
        position(self.text, at)
    }
}

/// What a tag of a table means; the mistake in words, or none where it can't be told.
fn find(section: &Section<'_>, bus: &Bus<'_>, name: &str) -> Result<(usize, Option<usize>), Option<String>> {
    let exact = find_in(bus, name);
    let without_bus = name.strip_prefix(section.name).and_then(|rest| rest.strip_prefix('.'));
    let found = match (exact, without_bus) {
        (Err(_), Some(name)) => find_in(bus, name),
        (exact, _) => exact,
    };
    found.map_err(|mistake| section.complete.then_some(mistake))
}

fn find_in(bus: &Bus<'_>, name: &str) -> Result<(usize, Option<usize>), String> {
    let (message_name, signal_name) = match name.split_once('.') {
        Some((message, signal)) => (message, Some(signal)),
        None => (name, None),
    };
    let message = bus.find(message_name).ok_or_else(|| unknown_message(bus, message_name))?;
    let Some(signal_name) = signal_name else { return Ok((message, None)) };
    let signals = &bus.messages[message].message.signals;
    let long = signals.iter().position(|signal| signal.name == signal_name);
    let signal = long.or_else(|| signals.iter().position(|signal| signal.dbc_name == signal_name));
    let signal = signal.ok_or_else(|| {
        let hint = did_you_mean(signal_name, signals.iter().map(|signal| signal.name.as_str()));
        format!("{message_name} has no signal \"{signal_name}\"{hint}")
    })?;
    Ok((message, Some(signal)))
}

/// What `|` parts; `\|` is one inside of a word and `\\` a backslash, as `canvoy tags --csv` writes them.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut letters) = (Vec::new(), String::new(), text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '|' => parts.push(std::mem::take(&mut part)),
            '\\' => part.push(letters.next_if(|next| matches!(next, '|' | '\\')).unwrap_or(letter)),
            letter => part.push(letter),
        }
    }
    parts.push(part);
    parts
}

/// `0=Aus|1=Ein`: words for some values of the table; sorted.
fn words(text: &str, table: &[(i128, String)]) -> Result<Vec<(i128, String)>, String> {
    let mut found = Vec::new();
    for part in parts(text) {
        let (value, word) = part.split_once('=').unwrap_or(("", ""));
        let (Ok(value), word) = (value.trim().parse::<i128>(), word.trim()) else {
            return Err(format!("\"{}\" is no word of a value; write it like 0=Aus|1=Ein", part.trim()));
        };
        if word.is_empty() {
            return Err(format!("{value} has no word"));
        }
        if table.binary_search_by_key(&value, |(known, _)| *known).is_err() {
            return Err(format!("the signal's value table has no {value}"));
        }
        found.push((value, word.to_owned()));
    }
    found.sort();
    if found.windows(2).any(|pair| matches!(pair, [(first, _), (second, _)] if first == second)) {
        return Err("two words for one value".to_owned());
    }
    Ok(found)
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ if text.contains(',') => Err(format!("\"{text}\" is no number; decimals have a point, like 0.5")),
        _ => Err(format!("\"{text}\" is no number")),
    }
}

/// Closer limits than the DBC file's, or than what the bits can hold where that has none.
fn narrow(
    bus: &mut Bus<'_>,
    message: usize,
    signal: usize,
    [min, max]: [Option<(usize, f64)>; 2],
) -> Result<(), (usize, String)> {
    let signal = &mut Arc::make_mut(&mut bus.messages[message].message).signals[signal];
    let (low, high) = signal.range.unwrap_or_else(|| signal.codec.engineering_limits());
    let says = if signal.range.is_some() { "the DBC file has" } else { "its bits hold" };
    for (index, limit) in min.iter().chain(&max) {
        if !(low..=high).contains(limit) {
            let text = format!("{limit} is wider than what {says}, {low} to {high}: a table can only narrow that");
            return Err((*index, text));
        }
    }
    let range = (min.map_or(low, |(_, min)| min), max.map_or(high, |(_, max)| max));
    if range.0 >= range.1 {
        let index = max.or(min).map_or(0, |(index, _)| index);
        return Err((index, format!("the lowest value, {}, is not below the highest, {}", range.0, range.1)));
    }
    signal.range = Some(range);
    Ok(())
}

/// The form of BCP 47: a language, then parts of letters and digits.
fn is_locale(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    (2..=8).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
