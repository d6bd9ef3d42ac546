//! Which groups of signals a payload holds, at a cost that does not grow with the number of branches.

use crate::dbc::{Codec, Message, Raw};

/// The multiplexing of one message.
pub(super) struct Branches {
    selectors: Vec<Selector>,
    /// For each group: its selectors, as indices into `selectors`.
    of_group: Vec<Vec<u32>>,
    /// Groups that are looked at one by one, because their conditions are not those of a tree.
    apart: Vec<u32>,
}

struct Selector {
    codec: Codec,
    /// Raw values from and to, sorted, apart from each other; and the groups that they choose.
    segments: Vec<(i128, i128, Vec<u32>)>,
}

impl Branches {
    /// `None` where there is nothing to choose.
    pub fn new(message: &Message) -> Option<Branches> {
        if message.groups.len() < 2 {
            return None;
        }
        let mut signals: Vec<usize> = Vec::new();
        let (mut chosen, mut apart) = (Vec::<Vec<(u32, &[(i128, i128)])>>::new(), Vec::new());
        for (index, group) in message.groups.iter().enumerate().skip(1) {
            let Some((last, outer)) = group.conditions.split_last() else { continue };
            // a selector is itself in the group that the conditions before it choose
            if message.groups[message.signals[last.selector].group].conditions != outer {
                apart.push(index as u32);
                continue;
            }
            let at = signals.iter().position(|signal| *signal == last.selector).unwrap_or_else(|| {
                signals.push(last.selector);
                chosen.push(Vec::new());
                signals.len() - 1
            });
            chosen[at].push((index as u32, &last.ranges));
        }
        let mut of_group = vec![Vec::new(); message.groups.len()];
        for (at, signal) in signals.iter().enumerate() {
            of_group[message.signals[*signal].group].push(at as u32);
        }
        let selectors = signals.iter().zip(&chosen);
        let selectors = selectors
            .map(|(signal, chosen)| Selector { codec: message.signals[*signal].codec, segments: segments(chosen) });
        Some(Branches { selectors: selectors.collect(), of_group, apart })
    }

    /// Fills `active` with the groups that are in the payload, group 0 first. It needs room for all groups.
    pub fn find(&self, message: &Message, payload: &[u8], active: &mut Vec<u32>) {
        active.clear();
        active.push(0);
        let mut next = 0;
        while let Some(group) = active.get(next) {
            for selector in &self.of_group[*group as usize] {
                let selector = &self.selectors[*selector as usize];
                if let Some(value) = selector.codec.raw(payload).and_then(Raw::as_i128) {
                    active.extend_from_slice(selector.chosen(value));
                }
            }
            next += 1;
        }
        active.extend(self.apart.iter().filter(|group| message.group_active(**group as usize, payload)));
    }
}

impl Selector {
    fn chosen(&self, value: i128) -> &[u32] {
        let behind = self.segments.partition_point(|(from, _, _)| *from <= value);
        match self.segments[..behind].last() {
            Some((_, to, groups)) if value <= *to => groups,
            _ => &[],
        }
    }
}

/// Ranges that may overlap, cut into pieces that do not.
fn segments(chosen: &[(u32, &[(i128, i128)])]) -> Vec<(i128, i128, Vec<u32>)> {
    let all = || chosen.iter().flat_map(|(group, ranges)| ranges.iter().map(move |range| (*group, *range)));
    let mut starts: Vec<i128> = all().flat_map(|(_, (from, to))| [from, to.saturating_add(1)]).collect();
    starts.sort_unstable();
    starts.dedup();
    let pieces = starts.windows(2).map(|pair| {
        let (from, to) = (pair[0], pair[1] - 1);
        let mut groups: Vec<u32> =
            all().filter(|(_, (low, high))| *low <= from && to <= *high).map(|(group, _)| group).collect();
        groups.dedup();
        (from, to, groups)
    });
    pieces.filter(|(_, _, groups)| !groups.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_are_cut() {
        let cut = segments(&[(1, &[(0, 5), (9, 9)]), (2, &[(4, 9)])]);
        assert_eq!(cut, [(0, 3, vec![1]), (4, 5, vec![1, 2]), (6, 8, vec![2]), (9, 9, vec![1, 2])]);
    }

    #[test]
    fn every_payload_holds_what_its_conditions_say() {
        let dbc = "VERSION \"\"\nBU_: A\nBO_ 1 M: 8 A\n SG_ Top M : 0|8@1+ (1,0) [0|0] \"\" A\n \
                   SG_ A m0 : 8|8@1+ (1,0) [0|0] \"\" A\n SG_ Sub m1M : 8|4@1+ (1,0) [0|0] \"\" A\n \
                   SG_ B m2 : 16|8@1+ (1,0) [0|0] \"\" A\n SG_ C m3 : 24|8@1+ (1,0) [0|0] \"\" A\n \
                   SG_ D m7 : 32|8@1+ (1,0) [0|0] \"\" A\nSG_MUL_VAL_ 1 Sub Top 1-1, 3-6;\n\
                   SG_MUL_VAL_ 1 B Sub 2-4;\nSG_MUL_VAL_ 1 C Sub 3-9;\nSG_MUL_VAL_ 1 D Top 5-7;\n";
        let (database, found) = crate::dbc::parse("m.dbc", dbc.as_bytes());
        let message = database.unwrap_or_else(|| panic!("{found:?}")).messages.remove(0);
        assert!(message.groups.len() > 4, "{:?}", message.groups);
        let branches = Branches::new(&message).unwrap();
        assert!(branches.apart.is_empty());
        let mut active = Vec::with_capacity(message.groups.len());
        for top in 0..=8 {
            for sub in 0..16 {
                for length in [0, 1, 8] {
                    let payload = &[top, sub, 0, 0, 0, 0, 0, 0][..length];
                    branches.find(&message, payload, &mut active);
                    active.sort_unstable();
                    let all = 0..message.groups.len();
                    let want: Vec<u32> =
                        all.filter(|group| message.group_active(*group, payload)).map(|group| group as u32).collect();
                    assert_eq!(active, want, "{payload:?}");
                }
            }
        }
    }
}
