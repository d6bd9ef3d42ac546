//! Words, numbers and strings of one DBC statement, for the statements that the grammar of `can-dbc` refuses.

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// Letters, digits and underscores that are not a number.
    Word(&'a str),
    /// As written: `5.`, `-1e3`, `1.#INF`.
    Number(&'a str),
    /// Without its quotes.
    Text(&'a str),
    Sign(char),
}

impl<'a> Token<'a> {
    /// A name: a word, or a number's digits where a name begins or consists of digits.
    pub fn name(self) -> Option<&'a str> {
        match self {
            Token::Word(word) => Some(word),
            Token::Number(number) if number.bytes().all(|b| b.is_ascii_digit()) => Some(number),
            Token::Number(_) | Token::Text(_) | Token::Sign(_) => None,
        }
    }

    pub fn number(self) -> Option<&'a str> {
        if let Token::Number(number) = self { Some(number) } else { None }
    }
}

/// The tokens of a flattened statement. `escapes`: a backslash before a quote keeps the string open.
pub(super) fn tokens(statement: &str, escapes: bool) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = statement;
    let mut glued = false;
    while let Some(c) = rest.chars().next() {
        let (token, len) = if c == '"' {
            text(rest, escapes)
        } else if let Some(len) = number(rest, glued) {
            (rest.get(..len).map(Token::Number), len)
        } else if is_word(c) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (rest.get(..len).map(Token::Word), len)
        } else {
            ((!c.is_whitespace()).then_some(Token::Sign(c)), c.len_utf8())
        };
        glued = matches!(token, Some(Token::Word(_) | Token::Number(_)));
        found.extend(token);
        rest = rest.get(len..).unwrap_or("");
    }
    found
}

/// A number as people write it: also `5.`; `None` for one that is not finite.
pub(super) fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn text(rest: &str, escapes: bool) -> (Option<Token<'_>>, usize) {
    let mut before = 0;
    for (i, byte) in rest.bytes().enumerate().skip(1) {
        if byte == b'"' && !(escapes && before == b'\\') {
            return (rest.get(1..i).map(Token::Text), i + 1);
        }
        before = byte;
    }
    // not closed: no token that any statement expects
    (Some(Token::Sign('"')), rest.len())
}

/// Length of a number at the beginning. `glued`: directly behind a word or number, where a sign is a separator (`0-5`).
fn number(rest: &str, glued: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    let digits = |mut at: usize| {
        let begin = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > begin, at)
    };
    let mut at = usize::from(!glued && matches!(bytes.first(), Some(b'+' | b'-')));
    let whole;
    (whole, at) = digits(at);
    if bytes.get(at) == Some(&b'.') {
        let fraction;
        (fraction, at) = digits(at + 1);
        if !whole && !fraction {
            return None;
        }
    } else if !whole {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        if let (true, end) = digits(at + 1 + sign) {
            at = end;
        }
    }
    // what Microsoft's C library writes for infinities and NaN
    if bytes.get(at) == Some(&b'#') {
        at += 1;
        while bytes.get(at).is_some_and(u8::is_ascii_alphanumeric) {
            at += 1;
        }
    }
    // `3phase` is a name
    let ends = !bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    ends.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_odd_statements() {
        use Token::*;
        let check = |statement, escapes, want: &[Token]| assert_eq!(tokens(statement, escapes), want, "{statement}");
        check(
            "SG_ 3phase m0M : 0|8",
            true,
            &[Word("SG_"), Word("3phase"), Word("m0M"), Sign(':'), Number("0"), Sign('|'), Number("8")],
        );
        check(
            "@1-(5.,-.5e-3)[-1.#INF|1.5]",
            true,
            &[
                Sign('@'),
                Number("1"),
                Sign('-'),
                Sign('('),
                Number("5."),
                Sign(','),
                Number("-.5e-3"),
                Sign(')'),
                Sign('['),
                Number("-1.#INF"),
                Sign('|'),
                Number("1.5"),
                Sign(']'),
            ],
        );
        check("0-5, 7 -9", true, &[Number("0"), Sign('-'), Number("5"), Sign(','), Number("7"), Number("-9")]);
        check(r#""a\"b" "C:\""#, true, &[Text(r#"a\"b"#), Sign('"')]);
        check(r#""C:\" 1"#, false, &[Text(r"C:\"), Number("1")]);
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_number("5."), Some(5.0));
        assert_eq!(parse_number("-1.#INF"), None);
        assert_eq!(parse_number("1e999"), None);
    }
}
