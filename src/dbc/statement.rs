//! Splits the text of a DBC file into statements, so that a broken one costs nothing but itself.

/// What begins a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Version,
    /// Lists without meaning for us that end where the next statement begins: NS_, BS_.
    Section,
    Nodes,
    Message,
    Signal,
    /// Ends with a semicolon and says something about messages, signals, nodes or attributes.
    Semicolon,
    /// Ends with a semicolon and has no meaning for us: environment variables, signal groups, relations.
    Unused,
    /// As `Unused`, and obsolete: its presence is reported.
    Obsolete,
}

pub(super) fn keyword(word: &str) -> Option<Keyword> {
    Some(match word {
        "VERSION" => Keyword::Version,
        "NS_" | "BS_" => Keyword::Section,
        "BU_" => Keyword::Nodes,
        "BO_" => Keyword::Message,
        "SG_" => Keyword::Signal,
        "CM_" | "BA_DEF_" | "BA_DEF_DEF_" | "BA_" | "VAL_" | "SIG_VALTYPE_" | "SG_MUL_VAL_" | "BO_TX_BU_" => {
            Keyword::Semicolon
        }
        "VAL_TABLE_" | "SIG_GROUP_" | "EV_" | "ENVVAR_DATA_" | "EV_DATA_" | "BA_REL_" | "BA_DEF_REL_"
        | "BA_DEF_DEF_REL_" | "BU_SG_REL_" | "BU_BO_REL_" | "BU_EV_REL_" | "NS_DESC_" => Keyword::Unused,
        "CAT_DEF_" | "CAT_" | "FILTER" | "SGTYPE_" | "SGTYPE_VAL_" | "SIG_TYPE_REF_" | "SIGTYPE_VALTYPE_"
        | "BA_DEF_SGTYPE_" | "BA_SGTYPE_" => Keyword::Obsolete,
        _ => return None,
    })
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    /// Where lines begin that look like a statement: a keyword and something behind it.
    starts: Vec<usize>,
    /// Where the last `*/` is; an unclosed `/*` behind it is not searched for again and again.
    last_comment_end: usize,
    /// Bytes that may still be looked at a second time.
    budget: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        let mut starts = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let begin = at + (line.len() - line.trim_start().len());
            let word = word_at(text, begin);
            let rest = line.trim_start().get(word.len()..).unwrap_or("");
            if keyword(word).is_some() && !rest.trim().is_empty() {
                starts.push(begin);
            }
            at += line.len();
        }
        let last_comment_end = text.rfind("*/").unwrap_or(0);
        Scanner { text, starts, last_comment_end, budget: text.len() * 8 + (1 << 16) }
    }

    /// The next line after `at` that looks like a statement; the end of the text where there is none.
    pub fn next_start(&self, at: usize) -> usize {
        let index = self.starts.partition_point(|start| *start <= at);
        self.starts.get(index).copied().unwrap_or(self.text.len())
    }

    /// Past white space, comments and stray semicolons.
    pub fn skip_blank(&self, mut at: usize) -> usize {
        loop {
            let rest = self.text.get(at..).unwrap_or("");
            let Some(c) = rest.chars().next() else { return self.text.len() };
            match comment(rest, at < self.last_comment_end) {
                Some(len) => at += len,
                None if is_blank(c) || c == ';' => at += c.len_utf8(),
                None => return at,
            }
        }
    }

    /// The word at `at`; empty where none begins there.
    pub fn word(&self, at: usize) -> &'a str {
        word_at(self.text, at)
    }

    /// Behind the first semicolon before `limit`, outside of strings and comments.
    pub fn semicolon(&self, at: usize, limit: usize) -> Option<usize> {
        self.find(at, limit, |rest| rest.starts_with(';'))
    }

    /// Takes a second look at `bytes` out of the budget; false when that is used up.
    pub fn spend(&mut self, bytes: usize) -> bool {
        let enough = bytes <= self.budget;
        self.budget = self.budget.saturating_sub(bytes);
        enough
    }

    /// As [`Scanner::semicolon`] up to the end of the text, for a statement whose text in quotes holds lines that look
    /// like statements. `None` too when that has been tried too often: garbage must not cost more than a few passes.
    pub fn far_semicolon(&mut self, at: usize) -> Option<usize> {
        let limit = self.text.len().min(at.saturating_add(self.budget));
        let found = self.find(at, limit, |rest| rest.starts_with(';'));
        self.spend(found.unwrap_or(limit) - at);
        found
    }

    /// The end of the line outside of strings, an `SG_` or `BO_` before it on the same line, or `limit`.
    pub fn line_end(&self, at: usize, limit: usize) -> usize {
        let end = self.find(at, limit, |rest| {
            let next = rest.strip_prefix([' ', '\t']).unwrap_or("");
            rest.starts_with('\n') || next.starts_with("SG_ ") || next.starts_with("BO_ ")
        });
        end.unwrap_or(limit)
    }

    /// Behind the first byte before `limit`, outside of strings and comments, at which `test` holds.
    fn find(&self, mut at: usize, limit: usize, test: impl Fn(&str) -> bool) -> Option<usize> {
        while let Some(rest) = self.text.get(at..limit).filter(|rest| !rest.is_empty()) {
            if test(rest) {
                return Some(at + 1);
            }
            at += match comment(rest, at < self.last_comment_end) {
                Some(len) => len,
                None if rest.starts_with('"') => string(rest),
                None => rest.chars().next().map_or(1, char::len_utf8),
            };
        }
        None
    }
}

/// A statement on one line: line breaks, comments and unusual blanks outside of strings become spaces. Each byte keeps
/// its place.
pub(super) fn flatten(statement: &str) -> String {
    let mut flat = String::with_capacity(statement.len() + 1);
    let mut rest = statement;
    while let Some(c) = rest.chars().next() {
        let (len, keep) = match comment(rest, true) {
            Some(len) => (len, false),
            None if c == '"' => (string(rest), true),
            None => (c.len_utf8(), !is_blank(c)),
        };
        let (part, behind) = rest.split_at_checked(len).unwrap_or((rest, ""));
        if keep {
            flat.push_str(part);
        } else {
            flat.extend(std::iter::repeat_n(' ', part.len()));
        }
        rest = behind;
    }
    flat
}

/// Length of a comment at the beginning: `//` to the end of the line, `/* */` (to the end of the line where it is not
/// closed). `closed`: whether a `*/` may follow.
fn comment(rest: &str, closed: bool) -> Option<usize> {
    let line = || rest.find('\n').unwrap_or(rest.len());
    if rest.starts_with("//") {
        Some(line())
    } else if rest.starts_with("/*") {
        let end = if closed { rest.find("*/") } else { None };
        Some(end.map_or_else(line, |at| at + 2))
    } else {
        None
    }
}

/// Length of the string at the beginning, quotes included; all of the rest where it is not closed. A backslash before a
/// quote keeps the string open, whatever stands before the backslash: so do `can-dbc` and cantools.
fn string(rest: &str) -> usize {
    let mut before = 0;
    for (i, byte) in rest.bytes().enumerate().skip(1) {
        if byte == b'"' && before != b'\\' {
            return i + 1;
        }
        before = byte;
    }
    rest.len()
}

fn word_at(text: &str, at: usize) -> &str {
    let rest = text.get(at..).unwrap_or("");
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest.get(..end).unwrap_or("")
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{FEFF}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_where_they_should() {
        let text =
            "CM_ \"a;b\nBO_ 1 M: 8 X\"; // ; \nBO_ 2 N: 8 X SG_ S : 0|1\n SG_ T /* ; */ ;\nBA_ \"x\\\"y;\" 1 ; end";
        let mut scanner = Scanner::new(text);
        let place = |part: &str| text.find(part).unwrap();
        let (second, ba) = (place("BO_ 2"), place("BA_"));
        assert_eq!(scanner.next_start(0), place("BO_ 1"));
        assert_eq!(scanner.semicolon(0, place("BO_ 1")), None);
        assert_eq!(scanner.far_semicolon(0), Some(place(" // ;")));
        assert_eq!(scanner.skip_blank(place(" // ;")), second);
        assert_eq!(scanner.line_end(second, text.len()), place("SG_ S"));
        assert_eq!(scanner.semicolon(place("SG_ T"), text.len()), Some(place("\nBA_")));
        assert_eq!(scanner.semicolon(ba, text.len()), Some(place(" end")));
        assert_eq!(scanner.skip_blank(text.len()), text.len());
        assert_eq!(scanner.word(ba), "BA_");
    }

    #[test]
    fn lists_of_keywords_are_no_statements() {
        let text = "NS_ :\n\tCM_\n\tBA_ \nBS_:\nBU_:\n";
        assert_eq!(Scanner::new(text).starts, [0, 17, 22]);
    }

    #[test]
    fn flattened_statements_keep_their_bytes_in_place() {
        for (statement, want) in [
            ("a\r\n\tb", "a   b"),
            ("a // \"x\"\nb", "a        b"),
            ("a /* \" */ \"/* b\n*/\"", "a         \"/* b\n*/\""),
            ("a\u{A0}\"\u{A0}\"", "a  \"\u{A0}\""),
            ("\"open\n;", "\"open\n;"),
        ] {
            assert_eq!(flatten(statement), want);
            assert_eq!(flatten(statement).len(), statement.len());
        }
    }
}
