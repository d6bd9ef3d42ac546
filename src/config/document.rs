//! One TOML text with the place of everything in it, and reading it into structs with all mistakes at once.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::suggest::nearest;
use crate::diagnostic::{Diagnostic, Severity, position};

/// After so many mistakes of shape the rest is not looked at.
const MOST_MISTAKES: usize = 100;

/// A TOML document, parsed.
pub struct Document<'a> {
    /// The file's name as the user gave it.
    pub file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// A key that was written but could not be read: what depends on it is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped(Vec<String>);

impl<'a> Document<'a> {
    /// All syntax errors at once.
    pub fn parse(file: &'a str, bytes: &'a [u8]) -> Result<Document<'a>, Vec<Diagnostic>> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let (good, _) = bytes.split_at(error.valid_up_to());
            let good = std::str::from_utf8(good).unwrap_or_default();
            let (line, column) = position(good, good.len());
            let message = "the file is not UTF-8 text; save it as UTF-8";
            vec![Diagnostic::new(Severity::Error, file, line, column, message)]
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Document { file, text, root };
        if errors.is_empty() {
            return Ok(document);
        }
        let mut mistakes: Vec<Diagnostic> = Vec::new();
        for error in errors.iter().take(MOST_MISTAKES) {
            let mistake = document.at(
                Severity::Error,
                error.span(),
                format!("TOML syntax: {}", error.message().trim_end_matches(", expected literal string")),
            );
            // the parser's recovery often finds more to say about the same place
            if mistakes.iter().all(|other| other.line != mistake.line) {
                mistakes.push(mistake);
            }
        }
        Err(mistakes)
    }

    /// A diagnostic about a byte range.
    fn at(&self, severity: Severity, span: Option<Range<usize>>, message: impl Into<String>) -> Diagnostic {
        let Some(span) = span else { return Diagnostic::new(severity, self.file, 0, 0, message) };
        let (line, column) = position(self.text, span.start);
        let excerpt = self.text.lines().nth(line as usize - 1).unwrap_or_default();
        Diagnostic::new(severity, self.file, line, column, message).excerpt(excerpt)
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

    /// The line of the value at a path.
    pub fn line(&self, path: &[&str]) -> u32 {
        self.value(Severity::Error, path, "").line
    }

    /// The place of the last key of a path, and the value behind it.
    fn find(&self, path: &[&str]) -> Option<(Range<usize>, &Spanned<DeValue<'a>>)> {
        let (first, rest) = path.split_first()?;
        let (mut key, mut value) = self.root.get_ref().get_key_value(*first)?;
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
        let mut dropped = Vec::new();
        for _ in 0..MOST_MISTAKES {
            let error = match T::deserialize(toml::Deserializer::from(tree.clone())) {
                Ok(read) => return (read, dropped),
                Err(error) => error,
            };
            let path = error.span().and_then(|span| take_out(tree.get_mut(), &span));
            let Some(path) = path else {
                mistakes.push(self.at(Severity::Error, error.span(), error.message()));
                break;
            };
            let (message, meant) = explain(error.message(), &path, takes);
            mistakes.push(self.at(Severity::Error, error.span(), message));
            if let Some(meant) = meant {
                let section = &path[..path.len() - 1];
                dropped.push(Dropped(section.iter().cloned().chain([meant]).collect()));
            }
            dropped.push(Dropped(path));
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
                _ => value.span().start <= span.start && span.end <= value.span().end,
            };
        if found {
            return true;
        }
        path.pop();
    }
    false
}

/// serde's words in ours; for an unknown key also the key that was probably meant.
fn explain(message: &str, path: &[String], takes: &[(&str, &str)]) -> (String, Option<String>) {
    let key = path.last().map(String::as_str).unwrap_or_default();
    // serde: "unknown field `x`, expected one of `a`, `b`"
    if message.starts_with("unknown field") {
        let known = message.rsplit_once(", expected ").map(|(_, known)| known).unwrap_or_default();
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        // inside of a list the path ends at the list
        let key = message.split('`').nth(1).unwrap_or(key);
        let meant = nearest(key, known.iter().copied());
        let remedy = match meant {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known here: {}", known.join(", ")),
        };
        return (format!("unknown key \"{key}\"; {remedy}"), meant.map(str::to_owned));
    }
    let in_section = |name: &str| {
        name.split_once('.')
            .is_some_and(|(section, of)| path.first().is_some_and(|first| first == section) && of == key)
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
