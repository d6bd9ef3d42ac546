//! Identifiers as a configuration writes them, and sets of identifiers: what two routes have in common.

use crate::can::FrameId;
use crate::plan::{Filter, IdChange};

/// Free bits of a mask above its lowest fixed bit from which on only a part of what it matches is looked at: the sets
/// here find mistakes, they decide nothing at run time.
const MOST_INTERVALS: u32 = 4096;

/// As candump writes it: 3 hexadecimal digits for 11 bits, 8 for 29 bits.
pub fn parse(text: &str) -> Result<FrameId, String> {
    let number = |digits| match text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => u32::from_str_radix(text, 16).ok(),
        false => None,
    };
    let id = number(3).and_then(FrameId::standard).or_else(|| number(8).and_then(FrameId::extended));
    id.ok_or_else(|| {
        format!("\"{text}\" is no identifier; write 3 hexadecimal digits (000 to 7FF) for 11 bits, 8 (00000000 to 1FFFFFFF) for 29 bits")
    })
}

/// One identifier, or `FIRST-LAST`.
pub fn parse_range(text: &str) -> Result<Filter, String> {
    let Some((first, last)) = text.split_once('-') else { return parse(text).map(Filter::Id) };
    let (first, last) = (parse(first.trim())?, parse(last.trim())?);
    if first.is_extended() != last.is_extended() {
        return Err(format!("\"{text}\": both ends of a range have 3 digits, or both have 8"));
    }
    if first > last {
        return Err(format!("\"{text}\": the first identifier of a range is the lower one"));
    }
    Ok(if first == last { Filter::Id(first) } else { Filter::Range(first, last) })
}

/// Identifiers as [`FrameId::bits`]: inclusive intervals, sorted, apart from each other.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Set(Vec<(u32, u32)>);

impl Set {
    /// All that a filter matches.
    pub fn of(filter: &Filter) -> Set {
        let extended = |number: u32| number | 1 << 31;
        Set::from(match *filter {
            Filter::Any => vec![(0, FrameId::MAX_STANDARD), (extended(0), extended(FrameId::MAX_EXTENDED))],
            Filter::Id(id) => vec![(id.bits(), id.bits())],
            Filter::Range(first, last) => vec![(first.bits(), last.bits())],
            Filter::Mask { value, mask } => {
                let all = if value.is_extended() { FrameId::MAX_EXTENDED } else { FrameId::MAX_STANDARD };
                let low = (mask & all).trailing_zeros().min(all.count_ones());
                let below = ((1_u64 << low) - 1) as u32;
                let free = !mask & all & !below;
                let fixed = value.bits() & !(free | below);
                let mut found = Vec::new();
                let mut part = 0_u32;
                for _ in 0..MOST_INTERVALS {
                    found.push((fixed | part, fixed | part | below));
                    // the next number that has only bits of `free`
                    part = part.wrapping_sub(free) & free;
                    if part == 0 {
                        break;
                    }
                }
                found
            }
            Filter::Pgn(pgn) => {
                let below = if (pgn >> 8 & 0xFF) < 240 { 0xFFFF } else { 0xFF };
                let first = |priority: u32| extended(priority << 26 | pgn << 8);
                (0..8).map(|priority| (first(priority), first(priority) | below)).collect()
            }
        })
    }

    /// All that a route with these filters takes.
    pub fn taken(filters: &[Filter], except: &[Filter]) -> Set {
        let mut set = Set::from(filters.iter().flat_map(|filter| Set::of(filter).0).collect::<Vec<_>>());
        for (first, last) in except.iter().flat_map(|filter| Set::of(filter).0) {
            let parts = set.0.into_iter().flat_map(|(from, to)| {
                let before = (from < first).then(|| (from, to.min(first.wrapping_sub(1))));
                let after = (to > last).then(|| (from.max(last.wrapping_add(1)), to));
                before.into_iter().chain(after)
            });
            set = Set::from(parts.collect::<Vec<_>>());
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest.
    pub fn first(&self) -> Option<FrameId> {
        self.0.first().and_then(|(first, _)| FrameId::from_bits(*first))
    }

    pub fn contains(&self, id: FrameId) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&id.bits()))
    }

    pub fn common(&self, other: &Set) -> Set {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut found = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let (first, last) = (x.0.max(y.0), x.1.min(y.1));
            if first <= last {
                found.push((first, last));
            }
            if x.1 < y.1 {
                a.next()
            } else {
                b.next()
            };
        }
        Set(found)
    }

    /// What becomes of these identifiers.
    pub fn changed(&self, change: IdChange) -> Set {
        match change {
            IdChange::Keep => self.clone(),
            IdChange::To(_) if self.is_empty() => Set::default(),
            IdChange::To(id) => Set(vec![(id.bits(), id.bits())]),
            IdChange::Add(n) => Set::from(self.0.iter().filter_map(|part| moved(*part, n)).collect::<Vec<_>>()),
        }
    }
}

/// An interval of one kind of identifiers, moved and cut to what its kind can hold.
fn moved((first, last): (u32, u32), by: i64) -> Option<(u32, u32)> {
    let kind = first & 1 << 31;
    let most = if kind != 0 { FrameId::MAX_EXTENDED } else { FrameId::MAX_STANDARD };
    let place = |bits: u32| i64::from(bits & !(1 << 31)).saturating_add(by);
    let (from, to) = (place(first).max(0), place(last).min(most.into()));
    let bits = |number: i64| u32::try_from(number).ok().map(|number| number | kind);
    if from <= to { bits(from).zip(bits(to)) } else { None }
}

impl From<Vec<(u32, u32)>> for Set {
    fn from(mut parts: Vec<(u32, u32)>) -> Set {
        parts.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(parts.len());
        for (first, last) in parts {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Set(joined)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(bits: u32) -> FrameId {
        FrameId::from_bits(bits).unwrap()
    }

    #[test]
    fn identifiers_as_candump_writes_them() {
        for (text, bits) in [
            ("1F4", Some(0x1F4)),
            ("000", Some(0)),
            ("7ff", Some(0x7FF)),
            ("18FEEE00", Some(0x98FE_EE00)),
            ("1FFFFFFF", Some(0x9FFF_FFFF)),
            ("800", None),
            ("20000000", None),
            ("1F", None),
            ("0x1F4", None),
            ("+1F", None),
            ("", None),
            ("1F4 ", None),
        ] {
            assert_eq!(parse(text).ok(), bits.map(id), "{text}");
        }
        assert_eq!(parse_range("100-1FF"), Ok(Filter::Range(id(0x100), id(0x1FF))));
        assert_eq!(parse_range("100 - 100"), Ok(Filter::Id(id(0x100))));
        for text in ["1FF-100", "100-00000200", "100-", "-", "100-1FF-200"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }

    fn identifier() -> impl Strategy<Value = FrameId> {
        prop_oneof![(0..0x800_u32).prop_map(id), (0..0x2000_0000_u32).prop_map(|n| id(n | 1 << 31))]
    }

    fn filter() -> impl Strategy<Value = Filter> {
        prop_oneof![
            Just(Filter::Any),
            identifier().prop_map(Filter::Id),
            (identifier(), identifier())
                .prop_filter("one kind", |(a, b)| a.is_extended() == b.is_extended())
                .prop_map(|(a, b)| Filter::Range(a.min(b), a.max(b))),
            // at most eleven free bits above the lowest fixed one
            (identifier(), 0..0x800_u32, 0..18_u32).prop_map(|(value, mask, shift)| {
                let all = if value.is_extended() { FrameId::MAX_EXTENDED } else { FrameId::MAX_STANDARD };
                Filter::Mask { value, mask: (!0 << (shift + 11) | mask << shift) & all }
            }),
            (0..0x4_0000_u32).prop_map(|pgn| Filter::Pgn(if (pgn >> 8 & 0xFF) < 240 { pgn & 0x3_FF00 } else { pgn })),
        ]
    }

    proptest! {
        #[test]
        fn a_set_is_what_the_filters_match(
            filters in prop::collection::vec(filter(), 1..4),
            except in prop::collection::vec(filter(), 0..3),
            ids in prop::collection::vec(identifier(), 50),
            by in -0x400..0x400_i64,
        ) {
            let takes = |id: FrameId| filters.iter().any(|f| f.matches(id)) && !except.iter().any(|f| f.matches(id));
            let set = Set::taken(&filters, &except);
            let change = IdChange::Add(by);
            let moved = set.changed(change);
            // at the edges of the sets too
            let edges: Vec<FrameId> = set.0.iter().flat_map(|(a, b)| [a.wrapping_sub(1), *a, *b, b.wrapping_add(1)])
                .filter_map(FrameId::from_bits).collect();
            for id in ids.into_iter().chain(edges) {
                prop_assert_eq!(set.contains(id), takes(id), "{:?}", id);
                if let Some(new) = change.apply(id) {
                    prop_assert_eq!(moved.contains(new), takes(id), "{:?}", id);
                }
                let both = set.common(&moved);
                prop_assert_eq!(both.contains(id), set.contains(id) && moved.contains(id));
            }
        }
    }
}
