//! Multiplexing resolved before any frame comes: a program for each set of branches that one selector value chooses.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::program::{Choices, Programs};
use super::vector::Vector;
use crate::dbc::codec::Codec;
use crate::dbc::model::{Group, Message};

/// Signals that the programs of a message may have together so that each of them holds all signals of its branches,
/// one after the other selector resolved. With more, unconditional signals and each selector's branches are programs
/// of their own, several to a frame.
const REPEATED: usize = 2048;
/// Selectors that are resolved one after the other.
const PENDING: usize = 8;
/// Signals over all edges of a selector. With more, as no machine has but a hostile file may, the message is left to the
/// reference.
const OVERLAPS: usize = 1 << 16;

/// The programs of all messages; program `i` is where message `i` begins.
pub(super) fn compile(messages: &[&Message], vector: Option<Vector>) -> Programs {
    let mut programs = Programs::reserve(messages.len(), vector);
    for (index, message) in messages.iter().enumerate() {
        // what is no tree is left to the reference
        if let Some(tree) = Tree::new(index as u32, message) {
            let (index, groups) = (index as u32, tree.chosen_by(None));
            match tree.repeated(groups, &[], 0) {
                Some(_) => tree.chain(&mut programs, index, groups, &[], &[]),
                None => tree.fork(&mut programs, index, groups),
            };
        }
    }
    programs
}

/// The groups of a message as they hang on selectors.
struct Tree<'a> {
    index: u32,
    message: &'a Message,
    /// By group: its signals.
    members: Vec<Vec<usize>>,
    /// By selector, `None` for no selector: the groups it chooses once its own group is present.
    chosen: BTreeMap<Option<usize>, Vec<usize>>,
}

impl<'a> Tree<'a> {
    /// `None` where a group does not hang on the group of its last selector.
    fn new(index: u32, message: &'a Message) -> Option<Tree<'a>> {
        let mut members = vec![Vec::new(); message.groups.len()];
        for (index, signal) in message.signals.iter().enumerate() {
            members.get_mut(signal.group)?.push(index);
        }
        let mut chosen: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (index, group) in message.groups.iter().enumerate() {
            let selector = match group.conditions.split_last() {
                None => None,
                Some((last, above)) => {
                    let parent: &Group = message.groups.get(message.signals.get(last.selector)?.group)?;
                    if parent.conditions != above {
                        return None;
                    }
                    Some(last.selector)
                }
            };
            chosen.entry(selector).or_default().push(index);
        }
        Some(Tree { index, message, members, chosen })
    }

    fn chosen_by(&self, selector: Option<usize>) -> &[usize] {
        self.chosen.get(&selector).map(Vec::as_slice).unwrap_or(&[])
    }

    fn codec(&self, signal: usize) -> Option<&'a Codec> {
        self.message.signals.get(signal).map(|signal| &signal.codec)
    }

    /// The signals of groups that are present together, and those among them that select.
    fn present(&self, groups: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let mut signals: Vec<usize> =
            groups.iter().filter_map(|group| self.members.get(*group)).flatten().copied().collect();
        signals.sort_unstable();
        let selectors = signals.iter().copied().filter(|s| self.chosen.contains_key(&Some(*s))).collect();
        (signals, selectors)
    }

    /// How many signals the programs would have together that [`Tree::chain`] makes; `None` where they are too many.
    fn repeated(&self, groups: &[usize], pending: &[usize], inherited: usize) -> Option<usize> {
        let (here, selectors) = self.present(groups);
        let own = inherited + here.len();
        let pending: Vec<usize> = pending.iter().copied().chain(selectors).collect();
        let Some((selector, rest)) = pending.split_first() else { return Some(own) };
        if pending.len() > PENDING || self.chosen_by(Some(*selector)).len() > REPEATED {
            return None;
        }
        let mut sum = 0;
        for (_, groups) in distinct(&self.edges(*selector)?) {
            sum += self.repeated(groups, rest, own)?.max(1);
            if sum > REPEATED {
                return None;
            }
        }
        Some(sum)
    }

    /// Compiles the program `at` and those below it for groups that are present, beside those whose signals are
    /// inherited, while the pending selectors are not resolved. `None`: it is left to the reference.
    fn chain(
        &self,
        programs: &mut Programs,
        at: u32,
        groups: &[usize],
        pending: &[usize],
        inherited: &[usize],
    ) -> Option<()> {
        let (here, selectors) = self.present(groups);
        let own: Vec<usize> = inherited.iter().copied().chain(here).collect();
        let pending: Vec<usize> = pending.iter().copied().chain(selectors).collect();
        let Some((selector, rest)) = pending.split_first() else {
            return programs.set(at, &self.codecs(&own)?, &[], false);
        };
        let choices = self.choices(programs, *selector, |programs, at, groups| {
            self.chain(programs, at, groups, rest, &own);
        })?;
        programs.set(at, &[], &[(self.codec(*selector)?, choices)], true)
    }

    /// As [`Tree::chain`], with a program for the groups themselves and one for each choice of each of their selectors.
    fn fork(&self, programs: &mut Programs, at: u32, groups: &[usize]) -> Option<()> {
        let (own, selectors) = self.present(groups);
        let mut chosen = Vec::with_capacity(selectors.len());
        for selector in selectors {
            let choices = self.choices(programs, selector, |programs, at, groups| {
                self.fork(programs, at, groups);
            })?;
            chosen.push((self.codec(selector)?, choices));
        }
        programs.set(at, &self.codecs(&own)?, &chosen, false)
    }

    fn codecs(&self, signals: &[usize]) -> Option<Vec<(u32, &'a Codec)>> {
        signals.iter().map(|signal| Some((*signal as u32, self.codec(*signal)?))).collect()
    }

    /// From which bit pattern of a selector on, up to the next, which groups are present.
    fn edges(&self, selector: usize) -> Option<Vec<(u64, Vec<usize>)>> {
        let codec = self.codec(selector)?;
        // where a group begins and ends to be chosen
        let mut changes: BTreeMap<u64, Vec<(usize, isize)>> = BTreeMap::from([(0, Vec::new())]);
        for group in self.chosen_by(Some(selector)) {
            let condition = self.message.groups.get(*group)?.conditions.last()?;
            for (from, to) in condition.ranges.iter().flat_map(|range| patterns(codec, *range)) {
                changes.entry(from).or_default().push((*group, 1));
                if let Some(behind) = to.checked_add(1) {
                    changes.entry(behind).or_default().push((*group, -1));
                }
            }
        }
        let mut ranges: BTreeMap<usize, isize> = BTreeMap::new();
        let mut edges = Vec::with_capacity(changes.len());
        let mut overlaps = 0;
        for (edge, changes) in changes {
            for (group, change) in changes {
                let left = ranges.entry(group).or_default();
                *left += change;
                if *left == 0 {
                    ranges.remove(&group);
                }
            }
            let groups: Vec<usize> = ranges.keys().copied().collect();
            overlaps += groups.iter().filter_map(|group| self.members.get(*group)).map(|m| m.len() + 1).sum::<usize>();
            if overlaps > OVERLAPS {
                return None;
            }
            edges.push((edge, groups));
        }
        Some(edges)
    }

    /// What each value of a selector chooses: a program for each set of groups, made by `make`.
    fn choices(
        &self,
        programs: &mut Programs,
        selector: usize,
        mut make: impl FnMut(&mut Programs, u32, &[usize]),
    ) -> Option<Choices> {
        let edges = self.edges(selector)?;
        let mut made: HashMap<&[usize], u32> = HashMap::new();
        for (_, groups) in distinct(&edges) {
            let program = programs.add(self.index);
            make(programs, program, groups);
            made.insert(groups, program);
        }
        edges.iter().map(|(edge, groups)| Some((*edge, *made.get(groups.as_slice())?))).collect()
    }
}

/// Each set of groups once.
fn distinct(edges: &[(u64, Vec<usize>)]) -> Vec<(u64, &[usize])> {
    let mut known = HashSet::new();
    edges.iter().map(|(edge, groups)| (*edge, groups.as_slice())).filter(|(_, groups)| known.insert(*groups)).collect()
}

/// A range of raw values as ranges of the selector's bits read without sign.
fn patterns(codec: &Codec, (from, to): (i128, i128)) -> impl Iterator<Item = (u64, u64)> {
    let ones = u64::MAX >> (64 - codec.size);
    // a float selects nothing
    let (min, max) = codec.raw_limits().unwrap_or((1, 0));
    let (from, to) = (from.max(min), to.min(max));
    let part = move |low: i128, high: i128| (low <= high).then_some((low as u64 & ones, high as u64 & ones));
    [part(from, to.min(-1)), part(from.max(0), to)].into_iter().flatten()
}
