//! Mistakes in the files people write: where, how grave, what to do. All of a file are reported together.

use std::fmt;

/// How grave a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is used; something in it was left out or looks wrong.
    Warning,
    /// The file can't be used as it stands.
    Error,
}

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// The file as the user named it.
    pub file: String,
    /// From 1; 0 where the whole file is meant.
    pub line: u32,
    /// From 1, in characters; 0 where the whole line is meant.
    pub column: u32,
    /// What is wrong, what was left out, what to do.
    pub message: String,
    /// The line itself, where it helps.
    pub excerpt: Option<String>,
}

impl Diagnostic {
    /// A mistake at a place; line and column from 1, 0 for "the whole".
    pub fn new(severity: Severity, file: &str, line: u32, column: u32, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity, file: file.into(), line, column, message: message.into(), excerpt: None }
    }

    /// The same with the line it is about.
    pub fn excerpt(mut self, line: &str) -> Diagnostic {
        self.excerpt = Some(line.trim_end().into());
        self
    }
}

/// `plant.toml:3:9: error: unknown key "interfce"`, then the line and a caret.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, ": {word}: {}", self.message)?;
        if let Some(line) = &self.excerpt {
            // a window of the line around the column; tabs as one space so that the caret stays under its place
            const WIDTH: usize = 100;
            let column = (self.column.max(1) - 1) as usize;
            let from = column.saturating_sub(WIDTH * 3 / 4);
            let shown: String =
                line.chars().skip(from).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n {margin} |\n {number} | {shown}")?;
            if self.column > 0 {
                write!(f, "\n {margin} | {}^", " ".repeat(column - from))?;
            }
        }
        Ok(())
    }
}

/// Whether any of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// Line and column (from 1, in characters) of a byte offset.
pub fn position(text: &str, offset: usize) -> (u32, u32) {
    let end = (0..=offset.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let before = &text[..end];
    let line = before.matches('\n').count() as u32 + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (line, before[start..].chars().count() as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_place_and_caret() {
        let d = Diagnostic::new(Severity::Error, "p.toml", 3, 5, "unknown key").excerpt("abc def");
        assert_eq!(d.to_string(), "p.toml:3:5: error: unknown key\n   |\n 3 | abc def\n   |     ^");
    }

    #[test]
    fn position_counts_characters() {
        assert_eq!(position("aé\nbcd", 0), (1, 1));
        assert_eq!(position("aé\nbcd", 5), (2, 2));
        assert_eq!(position("aé\nbcd", 2), (1, 2));
        assert_eq!(position("", 9), (1, 1));
    }
}
