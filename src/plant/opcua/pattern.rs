//! Patterns of the operator Like (OPC 10000-4, 7.7.3): `%` is any text, `_` any character, `[a-c]` one of a list, `[^a-c]`
//! one that is not in it, and what follows `\` stands for itself.

use std::iter::Peekable;
use std::str::Chars;

/// What one place of a pattern takes.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Text,
    Any,
    One(char),
    /// Ranges, the last character included.
    List {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Place {
    fn takes(&self, letter: char) -> bool {
        match self {
            Place::Text | Place::Any => true,
            Place::One(one) => *one == letter,
            Place::List { not, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&letter)) != *not
            }
        }
    }
}

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(Vec<Place>);

impl Pattern {
    /// `None`: nothing is behind a `\`, a list does not end or is empty, or its range goes backwards.
    pub fn read(text: &str) -> Option<Pattern> {
        let (mut places, mut letters) = (Vec::new(), text.chars().peekable());
        while let Some(letter) = letters.next() {
            places.push(match letter {
                // as good as one of them
                '%' if places.last() == Some(&Place::Text) => continue,
                '%' => Place::Text,
                '_' => Place::Any,
                '[' => list(&mut letters)?,
                '\\' => Place::One(letters.next()?),
                letter => Place::One(letter),
            });
        }
        Some(Pattern(places))
    }

    /// Places that it has.
    pub fn places(&self) -> usize {
        self.0.len()
    }

    /// Whether all of the text fits. Takes nothing from memory; at worst as many steps as text and pattern are long, multiplied.
    pub fn fits(&self, text: &str) -> bool {
        let (mut rest, mut at) = (text.chars(), 0);
        // where to go on when what follows the last % does not fit
        let mut retry: Option<(usize, Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let Some(letter) = rest.next() else {
                let left = self.0.get(at..).unwrap_or_default();
                return left.iter().all(|place| *place == Place::Text);
            };
            match self.0.get(at) {
                Some(Place::Text) => {
                    at += 1;
                    rest = here.clone();
                    retry = Some((at, here));
                }
                Some(place) if place.takes(letter) => at += 1,
                _ => {
                    let Some((after, from)) = &mut retry else { return false };
                    from.next();
                    (at, rest) = (*after, from.clone());
                }
            }
        }
    }
}

/// A list, behind its `[`. A `-` that is its first or its last is no range.
fn list(letters: &mut Peekable<Chars<'_>>) -> Option<Place> {
    let not = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match letters.next()? {
            ']' if ranges.is_empty() => return None,
            ']' => return Some(Place::List { not, ranges }),
            '\\' => letters.next()?,
            letter => letter,
        };
        let mut ahead = letters.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *letters = ahead;
                if last == '\\' { letters.next()? } else { last }
            }
            _ => first,
        };
        if last < first {
            return None;
        }
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (text, pattern, want) in [
            ("Oven", "Oven", Some(true)),
            ("Oven", "O%", Some(true)),
            ("Oven", "%en", Some(true)),
            ("Oven", "O__n", Some(true)),
            ("Oven", "O_n", Some(false)),
            ("Oven", "%v%", Some(true)),
            ("Oven", "%%", Some(true)),
            ("Oven", "", Some(false)),
            ("", "", Some(true)),
            ("", "%", Some(true)),
            ("", "_", Some(false)),
            ("aab", "%ab", Some(true)),
            ("aabXaab", "%ab%b", Some(true)),
            ("Oven", "%x%", Some(false)),
            ("Öfen", "_fen", Some(true)),
            ("Öfen", "%Öf%", Some(true)),
            ("Öfen", "Ö_", Some(false)),
            // what the clause has as examples
            ("That is fine", "Th[ia][ts]%", Some(true)),
            ("Then at any", "Th[ia][ts]%", Some(false)),
            ("abc4", "abc[13-68]", Some(true)),
            ("abc8", "abc[13-68]", Some(true)),
            ("abc2", "abc[13-68]", Some(false)),
            ("xyzd", "xyz[c-f]", Some(true)),
            ("ABC1", "ABC[^13-5]", Some(false)),
            ("ABC2", "ABC[^13-5]", Some(true)),
            ("xyzg", "xyz[^dgh]", Some(false)),
            ("xyz", "xyz[^dgh]", Some(false)),
            ("50%", r"50\%", Some(true)),
            ("500", r"50\%", Some(false)),
            ("a_b", r"a\_b", Some(true)),
            ("axb", r"a\_b", Some(false)),
            (r"a\b", r"a\\b", Some(true)),
            ("[1]", r"\[1]", Some(true)),
            ("a]", r"a[\]x]", Some(true)),
            ("a-", "a[-x]", Some(true)),
            ("a-", "a[x-]", Some(true)),
            ("ay", "a[x-]", Some(false)),
            ("a^", "a[x^]", Some(true)),
            ("a%", "a[%]", Some(true)),
            ("ax", "a[%]", Some(false)),
            (r"a]", r"a[\[-\]]", Some(true)),
            // no patterns
            ("a", r"a\", None),
            ("a", "[", None),
            ("a", "[a", None),
            ("a", "[a-", None),
            ("a", "[a-c", None),
            ("a", "[]", None),
            ("a", "[^]", None),
            ("a", "[c-a]", None),
            ("a", r"[a\", None),
            ("a", r"[a-\", None),
        ] {
            let fits = Pattern::read(pattern).map(|pattern| pattern.fits(text));
            assert_eq!(fits, want, "{text} {pattern}");
        }
    }

    #[test]
    fn the_worst_pattern_takes_no_more_steps_than_text_and_pattern_multiplied() {
        let text = "a".repeat(2_000);
        let pattern = Pattern::read(&format!("{}X", "%a_".repeat(66))).unwrap();
        let start = std::time::Instant::now();
        assert!(!pattern.fits(&text));
        assert!(start.elapsed().as_secs() < 5);
    }
}
