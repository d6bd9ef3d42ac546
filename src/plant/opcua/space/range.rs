//! IndexRange (OPC 10000-4, 7.27): a piece of an array, of a text, or of the texts of an array.

use opcua::types::{ByteString, StatusCode, UAString, Variant};

/// First and last index, both included.
pub type Range = (usize, usize);

/// What a client wrote: one range for each dimension; none of our values has more than one, and texts have one more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range>);

/// More dimensions than this are no range.
const MOST_DIMENSIONS: usize = 16;

impl Ranges {
    /// An empty text is no range.
    pub fn parse(text: &str) -> Result<Ranges, StatusCode> {
        if text.is_empty() {
            return Ok(Ranges::default());
        }
        let ranges: Vec<Range> =
            text.split(',').map(one).collect::<Option<_>>().ok_or(StatusCode::BadIndexRangeInvalid)?;
        if ranges.len() > MOST_DIMENSIONS { Err(StatusCode::BadIndexRangeInvalid) } else { Ok(Ranges(ranges)) }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The piece of a value.
    pub fn of(&self, value: Variant) -> Result<Variant, StatusCode> {
        let none = StatusCode::BadIndexRangeNoData;
        match (self.0.as_slice(), value) {
            ([], value) => Ok(value),
            ([range], Variant::Array(mut array)) if array.dimensions.is_none() => {
                array.values = cut(&array.values, *range).ok_or(none)?.to_vec();
                Ok(Variant::Array(array))
            }
            ([range, inner], Variant::Array(mut array)) if array.dimensions.is_none() => {
                let values = cut(&array.values, *range).ok_or(none)?;
                array.values = values.iter().map(|value| text(value, *inner).ok_or(none)).collect::<Result<_, _>>()?;
                Ok(Variant::Array(array))
            }
            ([range], value) => text(&value, *range).ok_or(none),
            _ => Err(none),
        }
    }
}

/// `5`, or `5:7`.
fn one(text: &str) -> Option<Range> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits).map(|number| number as usize)
    };
    match text.split_once(':') {
        None => number(text).map(|index| (index, index)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first < last).then_some((first, last))
        }
    }
}

/// What there is of a range; `None` where it begins behind the end.
fn cut<T>(all: &[T], (first, last): Range) -> Option<&[T]> {
    let end = last.saturating_add(1).min(all.len());
    all.get(first..end).filter(|piece| !piece.is_empty())
}

/// A piece of a text, in characters, or of bytes.
fn text(value: &Variant, range: Range) -> Option<Variant> {
    match value {
        Variant::String(text) => {
            let characters: Vec<char> = text.as_ref().chars().collect();
            let piece: String = cut(&characters, range)?.iter().collect();
            Some(Variant::String(UAString::from(piece)))
        }
        Variant::ByteString(bytes) => Some(Variant::ByteString(ByteString::from(cut(bytes.as_ref(), range)?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces() {
        use StatusCode as S;
        let words = || Variant::from(vec!["alpha".to_owned(), "be".to_owned(), "gamma".to_owned()]);
        let some = |words: &[&str]| Ok(Variant::from(words.iter().map(|word| word.to_string()).collect::<Vec<_>>()));
        for (value, range, want) in [
            (words(), "", some(&["alpha", "be", "gamma"])),
            (words(), "1", some(&["be"])),
            (words(), "1:9", some(&["be", "gamma"])),
            (words(), "3", Err(S::BadIndexRangeNoData)),
            (words(), "0:1,1", some(&["l", "e"])),
            (words(), "0:1,3", Err(S::BadIndexRangeNoData)),
            (words(), "0,0,0", Err(S::BadIndexRangeNoData)),
            (Variant::from("Überlauf"), "0:3", Ok(Variant::from("Über"))),
            (Variant::from(ByteString::from(&[1u8, 2, 3])), "1:2", Ok(Variant::from(ByteString::from(&[2u8, 3])))),
            (Variant::from(1.5), "0", Err(S::BadIndexRangeNoData)),
            (Variant::Empty, "0", Err(S::BadIndexRangeNoData)),
            (words(), "1:1", Err(S::BadIndexRangeInvalid)),
            (words(), "2:1", Err(S::BadIndexRangeInvalid)),
            (words(), "-1", Err(S::BadIndexRangeInvalid)),
            (words(), "+1", Err(S::BadIndexRangeInvalid)),
            (words(), "a", Err(S::BadIndexRangeInvalid)),
            (words(), ",", Err(S::BadIndexRangeInvalid)),
            (words(), "1,", Err(S::BadIndexRangeInvalid)),
            (words(), "99999999999", Err(S::BadIndexRangeInvalid)),
        ] {
            let found = Ranges::parse(range).and_then(|ranges| ranges.of(value));
            assert_eq!(found, want, "{range:?}");
        }
    }
}
