//! The TOML texts of a configuration as one tree with the place of everything in it, and reading it into structs with all
//! mistakes at once.
//!
//! A place is an offset into all texts behind each other, so it names the file too.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::suggest::nearest;
use super::{device, include, variable};
use crate::diagnostic::{Diagnostic, Severity, position};

/// After so many mistakes of shape the rest is not looked at.
const MOST_MISTAKES: usize = 100;
/// Places of one text in the tree, at most.
const MOST_COPIES: usize = 10_000;
/// So many variables are explained behind a mistake.
const MOST_NOTES: usize = 3;

/// TOML texts, parsed and put together.
#[derive(Clone, Debug, Default)]
pub struct Document<'a> {
    texts: Vec<Text<'a>>,
    /// All of them as one.
    pub root: DeTable<'a>,
    /// Where values came from elsewhere.
    pub notes: Vec<Note>,
    /// Values that have been reported already: they are not read.
    pub wrong: Vec<Range<usize>>,
}

/// One file.
#[derive(Clone, Copy, Debug)]
struct Text<'a> {
    file: &'a str,
    text: &'a str,
    /// The place of its first byte.
    start: usize,
}

/// A value that is not what is written at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub place: Range<usize>,
    /// What it is, and from where.
    pub words: String,
}

/// A key that was written but could not be read: what depends on it is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped(Vec<String>);

impl<'a> Document<'a> {
    /// Parses one more file; what is in it is for the caller to put into the root. All syntax errors at once.
    pub fn add(&mut self, file: &'a str, bytes: &'a [u8]) -> Result<DeTable<'a>, Vec<Diagnostic>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let (good, _) = bytes.split_at(error.valid_up_to());
            let good = std::str::from_utf8(good).unwrap_or_default();
            let (line, column) = position(good, good.len());
            let message = "the file is not UTF-8 text; save it as UTF-8";
            vec![Diagnostic::new(Severity::Error, file, line, column, message)]
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // one more, so that the end of a text is not the start of the next
        let start = self.texts.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.texts.push(Text { file, text, start });
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(moved_table(root.into_inner(), start));
        }
        let mut mistakes: Vec<Diagnostic> = Vec::new();
        for error in errors.iter().take(MOST_MISTAKES) {
            let mistake = self.at(
                Severity::Error,
                error.span().map(|span| span.start + start..span.end + start),
                format!("TOML syntax: {}", error.message().trim_end_matches(", expected literal string")),
            );
            // the parser's recovery often finds more to say about the same place
            if mistakes.iter().all(|other| other.line != mistake.line) {
                mistakes.push(mistake);
            }
        }
        Err(mistakes)
    }

    /// The file that was added first.
    pub fn main_file(&self) -> &'a str {
        self.texts.first().map_or("", |text| text.file)
    }

    /// The text that a place is in.
    fn text(&self, place: usize) -> Option<&Text<'a>> {
        let behind = self.texts.partition_point(|text| text.start <= place);
        self.texts.get(behind.checked_sub(1)?)
    }

    /// The file that a place is in.
    pub fn file_of(&self, place: &Range<usize>) -> &'a str {
        self.text(place.start).map_or(self.main_file(), |text| text.file)
    }

    /// `common.toml:3:9`.
    pub fn place(&self, span: &Range<usize>) -> String {
        let Some(text) = self.text(span.start) else { return self.main_file().to_owned() };
        let (line, column) = position(text.text, span.start - text.start);
        format!("{}:{line}:{column}", text.file)
    }

    /// A diagnostic about a place.
    pub fn at(&self, severity: Severity, span: Option<Range<usize>>, message: impl Into<String>) -> Diagnostic {
        let Some(span) = span else { return Diagnostic::new(severity, self.main_file(), 0, 0, message) };
        let Some(text) = self.text(span.start) else {
            return Diagnostic::new(severity, self.main_file(), 0, 0, message);
        };
        let (line, column) = position(text.text, span.start - text.start);
        let excerpt = text.text.lines().nth(line as usize - 1).unwrap_or_default();
        let mut message = message.into();
        let inside = |note: &&Note| contains(&span, &note.place);
        for note in self.notes.iter().filter(inside).take(MOST_NOTES) {
            message.push_str("; ");
            message.push_str(&note.words);
        }
        Diagnostic::new(severity, text.file, line, column, message).excerpt(excerpt)
    }

    /// The file that names the element of the list at a path; without an index the value. The main file where there is none.
    pub fn file(&self, path: &[&str], index: Option<usize>) -> &'a str {
        let value = self.find(path).map(|(_, value)| value);
        let value = match index {
            Some(index) => value.and_then(|value| value.get_ref().as_array()?.get(index)),
            None => value,
        };
        value.map_or(self.main_file(), |value| self.file_of(&value.span()))
    }

    /// About the value at a path of keys; about the nearest section where there is none.
    pub fn value(&self, severity: Severity, path: &[&str], message: impl Into<String>) -> Diagnostic {
        let span = self.find(path).map(|(key, value)| match value.get_ref() {
            DeValue::Table(_) => key,
            _ => value.span(),
        });
        match path {
            [before @ .., _] if span.is_none() && !before.is_empty() => self.value(severity, before, message),
            _ => self.at(severity, span, message),
        }
    }

    /// About one element of the list at a path.
    pub fn element(&self, severity: Severity, path: &[&str], index: usize, message: impl Into<String>) -> Diagnostic {
        let element = self.find(path).and_then(|(_, value)| Some(value.get_ref().as_array()?.get(index)?.span()));
        match element {
            Some(span) => self.at(severity, Some(span), message),
            None => self.value(severity, path, message),
        }
    }

    /// Where the value at a path is, seen from a mistake at another path: `line 7`, or file and line.
    pub fn place_from(&self, path: &[&str], from: &[&str]) -> String {
        let (there, here) = (self.value(Severity::Error, path, ""), self.value(Severity::Error, from, ""));
        if there.file == here.file { format!("line {}", there.line) } else { format!("{}:{}", there.file, there.line) }
    }

    /// The place of the last key of a path, and the value behind it.
    fn find(&self, path: &[&str]) -> Option<(Range<usize>, &Spanned<DeValue<'a>>)> {
        let (first, rest) = path.split_first()?;
        let (mut key, mut value) = self.root.get_key_value(*first)?;
        for step in rest {
            (key, value) = value.get_ref().as_table()?.get_key_value(*step)?;
        }
        Some((key.span(), value))
    }

    /// Reads the document into structs that have a default for every key. A key that can't be read is reported, taken
    /// out, and the reading starts again, so that all mistakes come together.
    pub fn read<T: Deserialize<'a> + Default>(
        &self,
        takes: &[(&str, &str)],
        mistakes: &mut Vec<Diagnostic>,
    ) -> (T, Vec<Dropped>) {
        let mut tree = self.root.clone();
        let mut dropped: Vec<Dropped> = Vec::new();
        for span in &self.wrong {
            dropped.extend(take_out_all(&mut tree, span).into_iter().map(Dropped));
        }
        for _ in 0..MOST_MISTAKES {
            let root = Spanned::new(0..0, tree.clone());
            let error = match T::deserialize(toml::Deserializer::from(root)) {
                Ok(read) => return (read, dropped),
                Err(error) => error,
            };
            let span = error.span();
            // what stands for several devices is there several times, and is reported once
            let paths = span.map(|span| take_out_all(&mut tree, &span)).unwrap_or_default();
            let Some(path) = paths.first() else {
                mistakes.push(self.at(Severity::Error, error.span(), error.message()));
                break;
            };
            let (message, meant) = explain(error.message(), path, takes);
            mistakes.push(self.at(Severity::Error, error.span(), message));
            for path in paths {
                if let Some(meant) = &meant {
                    let section = &path[..path.len() - 1];
                    dropped.push(Dropped(section.iter().chain([meant]).cloned().collect()));
                }
                dropped.push(Dropped(path));
            }
        }
        (T::default(), dropped)
    }
}

impl Dropped {
    /// Whether this is the key at the path, or a section around it.
    pub fn covers(&self, path: &[&str]) -> bool {
        self.0.len() <= path.len() && self.0.iter().zip(path).all(|(a, b)| a == b)
    }
}

/// Removes all keys of that place, and says which they were.
fn take_out_all(table: &mut DeTable<'_>, span: &Range<usize>) -> Vec<Vec<String>> {
    std::iter::from_fn(|| take_out(table, span)).take(MOST_COPIES).collect()
}

/// Removes the key whose name or value (or an element of it) is at the span, and says which it was.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let mut path = Vec::new();
    find_span(table, span, &mut path).then_some(())?;
    let (last, sections) = path.split_last()?;
    let mut table = table;
    for section in sections {
        let (_, value) = table.iter_mut().find(|(key, _)| key.get_ref() == section)?;
        let DeValue::Table(inner) = value.get_mut() else { return None };
        table = inner;
    }
    table.remove(last.as_str())?;
    Some(path)
}

/// Depth is bounded: the parser refuses deeper nesting than 80 in each of keys and values.
fn find_span(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let found = key.span() == *span
            || value.span() == *span
            || match value.get_ref() {
                DeValue::Table(inner) => find_span(inner, span, path),
                // elements may come from elsewhere
                DeValue::Array(list) => list.iter().any(|element| contains(&element.span(), span)),
                _ => false,
            }
            || match value.get_ref() {
                DeValue::Table(_) => false,
                _ => contains(&value.span(), span),
            };
        if found {
            return true;
        }
        path.pop();
    }
    false
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Keys of a section that are used before it is read into a struct.
fn taken_out_before(path: &[String]) -> &'static [&'static str] {
    match path {
        [_] => &[include::KEY, variable::SECTION, include::MACHINE_FILE],
        [bus, _, device, _, _] if bus == "bus" && device == "device" => &device::KEYS,
        _ => &[],
    }
}

/// serde's words in ours; for an unknown key also the key that was probably meant.
fn explain(message: &str, path: &[String], takes: &[(&str, &str)]) -> (String, Option<String>) {
    let key = path.last().map(String::as_str).unwrap_or_default();
    // serde: "unknown field `x`, expected one of `a`, `b`"
    if message.starts_with("unknown field") {
        let known = message.rsplit_once(", expected ").map(|(_, known)| known).unwrap_or_default();
        let mut known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        known.extend(taken_out_before(path));
        // inside of a list the path ends at the list
        let key = message.split('`').nth(1).unwrap_or(key);
        let meant = nearest(key, known.iter().copied());
        let remedy = match meant {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known here: {}", known.join(", ")),
        };
        return (format!("unknown key \"{key}\"; {remedy}"), meant.map(str::to_owned));
    }
    let is = |step: Option<&String>, section: &str| step.is_some_and(|step| step == section);
    let in_section = |name: &str| {
        name.split_once('.').is_some_and(|(section, of)| {
            (of == key || of == "*") && (is(path.first(), section) || is(path.iter().nth_back(1), section))
        })
    };
    let own = takes.iter().find(|(name, _)| in_section(name));
    if let Some((_, takes)) = own.or_else(|| takes.iter().find(|(name, _)| *name == key)) {
        return (format!("{key} takes {takes}"), None);
    }
    // the names of buses and messages are the user's
    if message.contains("expected struct") {
        return (format!("\"{key}\" must be a section, [{}]", path.join(".")), None);
    }
    (message.to_owned(), None)
}

/// The table with all its places further behind.
fn moved_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    if by == 0 {
        return table;
    }
    table.into_iter().map(|(key, value)| (moved(key, by, |key, _| key), moved(value, by, moved_value))).collect()
}

fn moved_value(value: DeValue<'_>, by: usize) -> DeValue<'_> {
    match value {
        DeValue::Array(list) => {
            DeValue::Array(list.into_iter().map(|element| moved(element, by, moved_value)).collect())
        }
        DeValue::Table(table) => DeValue::Table(moved_table(table, by)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            value
        }
    }
}

fn moved<T>(spanned: Spanned<T>, by: usize, inside: impl Fn(T, usize) -> T) -> Spanned<T> {
    let span = spanned.span();
    Spanned::new(span.start + by..span.end + by, inside(spanned.into_inner(), by))
}
