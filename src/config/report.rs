//! Collecting mistakes while a configuration is checked, each with its place.

use super::document::{Document, Dropped};
use std::collections::HashMap;
use std::ops::Range;

use super::assemble::Missing;
use super::bus::Parsed;
use super::sources::Sources;
use crate::diagnostic::{Diagnostic, Severity};

/// So many are collected; who has more has another problem.
pub const MOST: usize = 300;

/// The mistakes found so far.
pub struct Report<'a> {
    pub document: &'a Document<'a>,
    /// Files that are named and could not be read, with the reason.
    pub missing: &'a Missing,
    pub found: Vec<Diagnostic>,
    /// Keys that were written but can't be read; nothing more is said about them.
    pub dropped: Vec<Dropped>,
    /// Names of alike devices, each with what stands between it and the name of a message.
    pub alike: Vec<String>,
}

impl Report<'_> {
    /// About the value at a path of keys.
    pub fn error(&mut self, path: &[&str], message: impl Into<String>) {
        self.add(|document| document.value(Severity::Error, path, message));
    }

    /// About the value at a path of keys.
    pub fn warning(&mut self, path: &[&str], message: impl Into<String>) {
        self.add(|document| document.value(Severity::Warning, path, message));
    }

    /// About an element of the list at a path; without an index about the whole value.
    pub fn element(&mut self, severity: Severity, path: &[&str], index: Option<usize>, message: impl Into<String>) {
        self.add(|document| match index {
            Some(index) => document.element(severity, path, index, message),
            None => document.value(severity, path, message),
        });
    }

    /// About a file that a list names, and that is not there.
    pub fn unread(&mut self, path: &[&str], index: usize, written: &str, name: &str) {
        let message = match self.missing.get(name) {
            Some(reason) => format!("can't read \"{written}\": {reason}"),
            None => format!("\"{written}\" is not among the files handed over"),
        };
        let once = |found: &Diagnostic| found.message == message;
        if self.missing.contains_key(name) && self.found.iter().any(once) {
            return;
        }
        self.element(Severity::Error, path, Some(index), message);
    }

    /// About a message in a DBC file.
    pub fn dbc(
        &mut self,
        severity: Severity,
        parsed: &Parsed<'_>,
        message: &crate::dbc::Message,
        text: impl Into<String>,
    ) {
        self.add(|_| match parsed.places.get(message) {
            Some(place) => {
                let line = parsed.file.bytes.get(place.text.clone()).unwrap_or_default();
                Diagnostic::new(severity, &parsed.file.name, place.line, 1, text)
                    .excerpt(&String::from_utf8_lossy(line))
            }
            None => Diagnostic::new(severity, &parsed.file.name, 0, 0, text),
        });
    }

    /// About another file.
    pub fn elsewhere(&mut self, found: Diagnostic) {
        self.add(|_| found);
    }

    /// Whether so much is wrong that more would not help.
    pub fn is_full(&self) -> bool {
        self.found.len() > MOST
    }

    fn add(&mut self, make: impl FnOnce(&Document<'_>) -> Diagnostic) {
        if self.found.len() < MOST {
            let new = make(self.document);
            if self.alike.is_empty() || !self.found.iter().any(|other| self.is_alike(other, &new)) {
                self.found.push(new);
            }
        } else if self.found.len() == MOST {
            let file = self.document.main_file();
            self.found.push(Diagnostic::new(
                Severity::Error,
                file,
                0,
                0,
                "there are more mistakes; correct these first",
            ));
        }
    }

    /// Whether the same is said at one place about two alike devices: once is enough.
    fn is_alike(&self, one: &Diagnostic, other: &Diagnostic) -> bool {
        let place = |found: &Diagnostic| (found.line, found.column, found.severity);
        let plain = |text: &str| self.alike.iter().fold(text.to_owned(), |text, name| text.replace(name, ""));
        one.line > 0
            && place(one) == place(other)
            && one.file == other.file
            && plain(&one.message) == plain(&other.message)
    }

    /// Whether the key was written but can't be read.
    pub fn is_dropped(&self, path: &[&str]) -> bool {
        self.dropped.iter().any(|dropped| dropped.covers(path))
    }
}

/// Where the messages of a DBC file are in its text.
pub struct Places(HashMap<(u32, String), Place>);

/// One line of a file.
#[derive(Clone)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// Its bytes.
    pub text: Range<usize>,
}

impl Places {
    /// Finds the `BO_` lines.
    pub fn of(bytes: &[u8]) -> Places {
        let mut places = HashMap::new();
        let mut start = 0;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let text = start..start + line.len();
            start = text.end + 1;
            let Some(rest) = line.trim_ascii_start().strip_prefix(b"BO_") else { continue };
            let rest = String::from_utf8_lossy(rest);
            let mut words = rest.split(|c: char| c.is_whitespace() || c == ':').filter(|word| !word.is_empty());
            let id = words.next().and_then(|word| word.parse::<u32>().ok());
            if let (Some(id), Some(name)) = (id, words.next()) {
                places.entry((id, name.to_owned())).or_insert(Place { line: number as u32 + 1, text });
            }
        }
        Places(places)
    }

    /// For messages under other names.
    pub fn empty(&self) -> Places {
        Places(HashMap::with_capacity(self.0.len()))
    }

    pub fn put(&mut self, message: &crate::dbc::Message, place: Option<&Place>) {
        if let Some(place) = place {
            self.0.insert((message.id.bits(), message.dbc_name.clone()), place.clone());
        }
    }

    pub fn get(&self, message: &crate::dbc::Message) -> Option<&Place> {
        self.0.get(&(message.id.bits(), message.dbc_name.clone()))
    }
}

/// By file (the configuration's, then the DBC files, then others), line and column.
pub fn sort(found: &mut [Diagnostic], sources: &Sources) {
    let rank = |file: &str| {
        let place = sources.files().position(|source| source.name == file);
        place.unwrap_or(usize::MAX)
    };
    found.sort_by_cached_key(|found| (rank(&found.file), found.line, found.column, found.severity));
}
