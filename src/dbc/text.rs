//! The bytes of a DBC file as text: encoding, and places in it for messages to people.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, Severity};

/// UTF-8 where all of it is, else Windows-1252, which is what most DBC tools write. A byte-order mark is dropped.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        return Err("the file is UTF-16; save it as UTF-8 or Windows-1252");
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    })
}

/// Collects the mistakes of one file, each with its line and column.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    /// Byte offset of the beginning of each line.
    lines: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
    dropped: usize,
}

/// Mistakes listed per file; garbage could have one per line.
const MOST: usize = 300;
/// Longer lines are not shown: they are not text that a person wrote.
const LONGEST_EXCERPT: usize = 4000;

impl<'a> Report<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Report<'a> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Report { file, text, lines, diagnostics: Vec::new(), dropped: 0 }
    }

    /// A mistake at a byte offset of the text.
    pub fn warn(&mut self, at: usize, message: impl Into<String>) {
        if self.diagnostics.len() >= MOST {
            self.dropped += 1;
            return;
        }
        let index = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        let start = self.lines.get(index).copied().unwrap_or(0);
        let end = self.lines.get(index + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..end).unwrap_or("");
        let column = line.char_indices().take_while(|(i, _)| start + i < at).count() as u32 + 1;
        let mut diagnostic = Diagnostic::new(Severity::Warning, self.file, index as u32 + 1, column, message);
        if line.len() <= LONGEST_EXCERPT {
            diagnostic = diagnostic.excerpt(line);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Whether there was any mistake so far.
    pub fn any(&self) -> bool {
        !self.diagnostics.is_empty()
    }

    /// The line number, from 1, of a byte offset.
    pub fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// All of them, in the order of the file.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|d| (d.line, d.column));
        if self.dropped > 0 {
            let message = format!("{} more mistakes are not listed", self.dropped);
            self.diagnostics.push(Diagnostic::new(Severity::Warning, self.file, 0, 0, message));
        }
        self.diagnostics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        assert_eq!(decode(b"\xEF\xBB\xBFVERSION").unwrap(), "VERSION");
        assert_eq!(decode("°C".as_bytes()).unwrap(), "°C");
        assert_eq!(decode(b"\xB0C \x80").unwrap(), "°C €");
        assert!(decode(b"\xFF\xFEV\0").is_err());
    }

    #[test]
    fn places() {
        let mut report = Report::new("a.dbc", "one\r\ntwö x\n");
        report.warn(10, "x");
        report.warn(0, "one");
        let found: Vec<_> = report.finish().into_iter().map(|d| (d.line, d.column, d.excerpt)).collect();
        assert_eq!(found, [(1, 1, Some("one".into())), (2, 5, Some("twö x".into()))]);
    }

    #[test]
    fn a_flood_is_counted() {
        let mut report = Report::new("a.dbc", "");
        (0..MOST + 7).for_each(|_| report.warn(0, "again"));
        let found = report.finish();
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found[MOST].message, "7 more mistakes are not listed");
    }
}
