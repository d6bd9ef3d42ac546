//! Which selector values make a signal present: `M`, `m<n>`, `m<n>M` and SG_MUL_VAL_ resolved to conditions.

use std::collections::HashMap;

use super::item::Multiplex;

/// A signal as far as multiplexing is concerned.
pub(super) struct Member<'a> {
    pub name: &'a str,
    pub mark: Multiplex,
    /// Integers only can select.
    pub is_float: bool,
    /// Smallest and largest raw value.
    pub limits: (i128, i128),
}

/// What SG_MUL_VAL_ says about one signal.
#[derive(Clone, Debug, Default)]
pub(super) struct Extended {
    pub multiplexor: String,
    pub ranges: Vec<(u64, u64)>,
    /// A second SG_MUL_VAL_ names another multiplexor.
    pub contradicted: bool,
}

/// Selector (an index into the members) and the raw values that select, inclusive.
pub(super) type Link = (usize, Vec<(i128, i128)>);

/// What became of one member.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// All must hold, outermost first; or why the signal can't be placed.
    pub links: Result<Vec<Link>, String>,
    /// What looks wrong but does not matter.
    pub note: Option<String>,
}

/// Places every member. Members that can't be placed take those they select with them.
pub(super) fn resolve(members: &[Member], extended: &HashMap<&str, &Extended>) -> Vec<Place> {
    let is_multiplexor = |m: &Member| matches!(m.mark, Multiplex::Multiplexor | Multiplex::SelectedMultiplexor(_));
    let message = Message {
        members,
        // the first of two with the same name: the second is left out anyway
        by_name: members.iter().enumerate().rev().map(|(i, member)| (member.name, i)).collect(),
        multiplexors: members.iter().enumerate().filter(|(_, m)| is_multiplexor(m)).map(|(i, _)| i).collect(),
    };
    let parents: Vec<Parent> = (0..members.len()).map(|i| message.parent(i, extended)).collect();
    (0..members.len()).map(|i| place(i, members, &parents)).collect()
}

struct Parent {
    link: Result<Option<Link>, String>,
    note: Option<String>,
}

/// Deeper nesting than any file has; a circle is deeper than anything.
const DEEPEST: usize = 16;

fn place(index: usize, members: &[Member], parents: &[Parent]) -> Place {
    let note = parents.get(index).and_then(|parent| parent.note.clone());
    let mut links = Vec::new();
    let mut at = index;
    while let Some(parent) = parents.get(at) {
        match &parent.link {
            Ok(None) => break,
            Ok(Some(link)) => {
                links.push(link.clone());
                at = link.0;
            }
            Err(reason) if at == index => return Place { links: Err(reason.clone()), note },
            Err(_) => {
                let name = members.get(at).map_or("", |member| member.name);
                return Place { links: Err(format!("its multiplexor {name} is left out")), note };
            }
        }
        if links.len() > DEEPEST {
            return Place { links: Err("its multiplexors select each other in a circle".into()), note };
        }
    }
    links.reverse();
    Place { links: Ok(links), note }
}

struct Message<'a> {
    members: &'a [Member<'a>],
    by_name: HashMap<&'a str, usize>,
    multiplexors: Vec<usize>,
}

impl Message<'_> {
    fn mark(&self, index: usize) -> Multiplex {
        self.members.get(index).map_or(Multiplex::Plain, |member| member.mark)
    }

    /// The multiplexor directly above a signal.
    fn parent(&self, index: usize, extended: &HashMap<&str, &Extended>) -> Parent {
        let root = |note: Option<&str>| Parent { link: Ok(None), note: note.map(String::from) };
        let refused = |reason: &str| Parent { link: Err(reason.into()), note: None };
        let Some(member) = self.members.get(index) else { return root(None) };
        let value = match (member.mark, extended.get(member.name)) {
            (Multiplex::Plain, Some(_)) => {
                return root(Some("SG_MUL_VAL_ of a signal without m<n>: decoded always"));
            }
            (Multiplex::Plain | Multiplex::Multiplexor, None) => return root(None),
            (_, Some(entry)) => return self.by_entry(index, entry),
            (Multiplex::Selected(value) | Multiplex::SelectedMultiplexor(value), None) => Some(value),
            (Multiplex::Bare, None) => None,
        };
        // without SG_MUL_VAL_: the only other multiplexor, or for an inner multiplexor the only outer one
        let others = || self.multiplexors.iter().copied().filter(|other| *other != index);
        let outer = || others().filter(|other| self.mark(*other) == Multiplex::Multiplexor);
        let is_multiplexor = matches!(member.mark, Multiplex::SelectedMultiplexor(_));
        let selector = if is_multiplexor { only(outer()).or(only(others())) } else { only(others()) };
        match (value, selector) {
            (Some(value), Some(selector)) => self.link(selector, vec![(value.into(), value.into())]),
            (Some(_), None) if others().next().is_some() => {
                refused("the message has several multiplexors and no SG_MUL_VAL_ says which one selects it")
            }
            (Some(_), None) if is_multiplexor => root(Some("m<n>M without an outer multiplexor: taken as M")),
            (Some(_), None) => refused("m<n>, but the message has no multiplexor (M)"),
            (None, _) if others().next().is_some() => {
                refused("`m` without a number says for no multiplexor value when it is present")
            }
            (None, _) => root(Some("`m` without a number in a message without multiplexor: taken as a plain signal")),
        }
    }

    fn by_entry(&self, index: usize, entry: &Extended) -> Parent {
        if entry.contradicted {
            return Parent { link: Err("SG_MUL_VAL_ names two multiplexors for it".into()), note: None };
        }
        let selector = self.by_name.get(entry.multiplexor.as_str()).copied();
        let Some(selector) = selector.filter(|selector| *selector != index) else {
            let name = &entry.multiplexor;
            let reason = format!("SG_MUL_VAL_ names {name} as its multiplexor, which the message does not have");
            return Parent { link: Err(reason), note: None };
        };
        let ranges: Vec<_> = entry
            .ranges
            .iter()
            .filter(|(low, high)| low <= high)
            .map(|(low, high)| (i128::from(*low), i128::from(*high)))
            .collect();
        let complete = ranges.len() == entry.ranges.len();
        let mut parent = self.link(selector, ranges);
        if !complete {
            parent.note = Some("an SG_MUL_VAL_ range ends below its beginning and is left out".into());
        }
        parent
    }

    fn link(&self, selector: usize, ranges: Vec<(i128, i128)>) -> Parent {
        let Some(by) = self.members.get(selector) else { return Parent { link: Ok(None), note: None } };
        if by.is_float {
            return Parent { link: Err(format!("its multiplexor {} is a float", by.name)), note: None };
        }
        let (min, max) = by.limits;
        let reachable = ranges.iter().any(|(low, high)| *low <= max && *high >= min);
        let note =
            (!reachable).then(|| format!("never present: its multiplexor {} holds {min} to {max} only", by.name));
        Parent { link: Ok(Some((selector, ranges))), note }
    }
}

/// The single item of an iterator; `None` for none or several.
fn only(mut items: impl Iterator<Item = usize>) -> Option<usize> {
    let first = items.next();
    if items.next().is_none() { first } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Multiplex::*;

    /// Signal, multiplexor, ranges.
    type Line<'a> = (&'a str, &'a str, &'a [(u64, u64)]);

    fn check(marks: &[(&str, Multiplex)], extended: &[Line], want: &[Result<Vec<Link>, &str>]) {
        let members: Vec<_> =
            marks.iter().map(|(name, mark)| Member { name, mark: *mark, is_float: false, limits: (0, 255) }).collect();
        let extended: Vec<_> = extended
            .iter()
            .map(|(signal, by, ranges)| {
                (*signal, Extended { multiplexor: by.to_string(), ranges: ranges.to_vec(), contradicted: false })
            })
            .collect();
        let extended: HashMap<&str, &Extended> = extended.iter().map(|(signal, entry)| (*signal, entry)).collect();
        let places = resolve(&members, &extended);
        for ((place, want), (name, _)) in places.iter().zip(want).zip(marks) {
            match (&place.links, want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{name}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{name}: {got}"),
                _ => panic!("{name}: {place:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn one_multiplexor() {
        check(
            &[("S", Multiplexor), ("A", Selected(0)), ("B", Selected(1)), ("C", Plain), ("D", Bare)],
            &[("B", "S", &[(1, 3), (7, 7)])],
            &[
                Ok(vec![]),
                Ok(vec![(0, vec![(0, 0)])]),
                Ok(vec![(0, vec![(1, 3), (7, 7)])]),
                Ok(vec![]),
                Err("without a number"),
            ],
        );
    }

    #[test]
    fn nested_with_ranges() {
        check(
            &[("S", Multiplexor), ("T", SelectedMultiplexor(1)), ("A", Selected(4)), ("B", Selected(5))],
            &[("A", "T", &[(4, 4)]), ("B", "Nobody", &[(5, 5)])],
            &[
                Ok(vec![]),
                Ok(vec![(0, vec![(1, 1)])]),
                Ok(vec![(0, vec![(1, 1)]), (1, vec![(4, 4)])]),
                Err("does not have"),
            ],
        );
    }

    #[test]
    fn several_without_ranges_and_none_at_all() {
        check(
            &[("S", Multiplexor), ("T", Multiplexor), ("A", Selected(1))],
            &[],
            &[Ok(vec![]), Ok(vec![]), Err("several multiplexors")],
        );
        check(&[("A", Selected(1)), ("B", Bare)], &[], &[Err("no multiplexor"), Ok(vec![])]);
    }

    #[test]
    fn circles_end() {
        check(
            &[("S", SelectedMultiplexor(0)), ("T", SelectedMultiplexor(0))],
            &[("S", "T", &[(0, 0)]), ("T", "S", &[(0, 0)])],
            &[Err("circle"), Err("circle")],
        );
        check(&[("S", SelectedMultiplexor(0))], &[("S", "S", &[(0, 0)])], &[Err("does not have")]);
    }

    #[test]
    fn selectors_out_of_reach_are_noted() {
        let members = [
            Member { name: "S", mark: Multiplexor, is_float: false, limits: (-128, 127) },
            Member { name: "A", mark: Selected(255), is_float: false, limits: (0, 1) },
        ];
        let places = resolve(&members, &HashMap::new());
        assert_eq!(places[1].note.as_deref(), Some("never present: its multiplexor S holds -128 to 127 only"));
    }
}
