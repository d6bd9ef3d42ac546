//! Multiplexing resolved before any frame comes: a program for each set of branches that one selector value chooses.

use std::collections::{BTreeMap, HashMap};

use super::program::{Choices, Programs};
use super::vector::Vector;
use crate::dbc::codec::Codec;
use crate::dbc::model::{Group, Message};

/// A message with no more signals than this beside its only selector decodes them together with each branch.
const INHERITED: usize = 8;

/// The programs of all messages; program `i` is where message `i` begins.
pub(super) fn compile(messages: &[&Message], vector: Option<Vector>) -> Programs {
    let mut programs = Programs::reserve(messages.len(), vector);
    for (index, message) in messages.iter().enumerate() {
        // what is no tree is left to the reference
        if let Some(tree) = Tree::new(index as u32, message) {
            tree.node(&mut programs, index as u32, tree.chosen_by(None), &[]);
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

    /// Compiles the program `at` for groups that are present together, and those below it. `None`: it is left to the
    /// reference.
    fn node(&self, programs: &mut Programs, at: u32, groups: &[usize], inherited: &[usize]) -> Option<()> {
        let mut here: Vec<usize> =
            groups.iter().filter_map(|group| self.members.get(*group)).flatten().copied().collect();
        here.sort_unstable();
        let selectors: Vec<usize> = here.iter().copied().filter(|s| self.chosen.contains_key(&Some(*s))).collect();
        let own: Vec<usize> = inherited.iter().copied().chain(here).collect();
        let inherit = selectors.len() == 1 && own.len() <= INHERITED;
        let passed: &[usize] = if inherit { &own } else { &[] };
        let mut chosen = Vec::with_capacity(selectors.len());
        for selector in selectors {
            chosen.push((self.codec(selector)?, self.choices(programs, selector, passed)?));
        }
        let signals: Option<Vec<(u32, &Codec)>> =
            own.iter().map(|signal| Some((*signal as u32, self.codec(*signal)?))).collect();
        programs.set(at, &signals?, &chosen, inherit)
    }

    /// What each value of a selector chooses, as bit patterns.
    fn choices(&self, programs: &mut Programs, selector: usize, inherited: &[usize]) -> Option<Choices> {
        let codec = self.codec(selector)?;
        // where a group begins and ends to be chosen
        let mut edges: BTreeMap<u64, Vec<(usize, isize)>> = BTreeMap::from([(0, Vec::new())]);
        for group in self.chosen_by(Some(selector)) {
            let condition = self.message.groups.get(*group)?.conditions.last()?;
            for (from, to) in condition.ranges.iter().flat_map(|range| patterns(codec, *range)) {
                edges.entry(from).or_default().push((*group, 1));
                if let Some(behind) = to.checked_add(1) {
                    edges.entry(behind).or_default().push((*group, -1));
                }
            }
        }
        let mut present: BTreeMap<usize, isize> = BTreeMap::new();
        let mut known: HashMap<Vec<usize>, u32> = HashMap::new();
        let mut choices = Choices::new();
        for (edge, changes) in edges {
            for (group, change) in changes {
                *present.entry(group).or_default() += change;
            }
            present.retain(|_, ranges| *ranges > 0);
            let groups: Vec<usize> = present.keys().copied().collect();
            let program = match known.get(&groups) {
                Some(program) => *program,
                None => {
                    let program = programs.add(self.index);
                    self.node(programs, program, &groups, inherited);
                    known.insert(groups, program);
                    program
                }
            };
            choices.push((edge, program));
        }
        Some(choices)
    }
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
