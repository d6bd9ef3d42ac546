//! Collecting mistakes while a configuration is checked, each with its place.

use super::document::{Document, Dropped};
use super::sources::{SourceFile, Sources};
use crate::diagnostic::{Diagnostic, Severity};

/// So many are collected; who has more has another problem.
const MOST: usize = 1000;

/// The mistakes found so far.
pub struct Report<'a> {
    pub document: &'a Document<'a>,
    pub found: Vec<Diagnostic>,
    /// Keys that were written but can't be read; nothing more is said about them.
    pub dropped: Vec<Dropped>,
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

    /// About a message in a DBC file.
    pub fn dbc(
        &mut self,
        severity: Severity,
        file: &SourceFile,
        message: &crate::dbc::Message,
        text: impl Into<String>,
    ) {
        self.add(|_| {
            let (line, excerpt) = message_line(&file.bytes, message);
            let place = Diagnostic::new(severity, &file.name, line, u32::from(line > 0), text);
            if line > 0 { place.excerpt(&excerpt) } else { place }
        });
    }

    fn add(&mut self, make: impl FnOnce(&Document<'_>) -> Diagnostic) {
        if self.found.len() < MOST {
            self.found.push(make(self.document));
        } else if self.found.len() == MOST {
            let file = self.document.file;
            self.found.push(Diagnostic::new(
                Severity::Error,
                file,
                0,
                0,
                "there are more mistakes; correct these first",
            ));
        }
    }

    /// Whether the key was written but can't be read.
    pub fn is_dropped(&self, path: &[&str]) -> bool {
        self.dropped.iter().any(|dropped| dropped.covers(path))
    }
}

/// The line of a message's `BO_`, from 1, and its text; 0 where it is not found.
pub fn message_line(bytes: &[u8], message: &crate::dbc::Message) -> (u32, String) {
    let wanted = message.id.bits();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let Some(rest) = line.trim_ascii_start().strip_prefix(b"BO_") else { continue };
        let line = String::from_utf8_lossy(line);
        let rest = String::from_utf8_lossy(rest);
        let mut words = rest.split(|c: char| c.is_whitespace() || c == ':').filter(|word| !word.is_empty());
        let id = words.next().and_then(|word| word.parse::<u32>().ok());
        if id == Some(wanted) && words.next() == Some(&message.dbc_name) {
            return (number as u32 + 1, line.trim_end().to_owned());
        }
    }
    (0, String::new())
}

/// By file (the configuration, then the DBC files), line and column.
pub fn sort(found: &mut [Diagnostic], sources: &Sources) {
    let rank = |file: &str| {
        let place = std::iter::once(&sources.config).chain(&sources.dbc).position(|source| source.name == file);
        place.unwrap_or(usize::MAX)
    };
    found.sort_by_cached_key(|found| (rank(&found.file), found.line, found.column, found.severity));
}
