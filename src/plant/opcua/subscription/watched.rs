//! What the monitored items look at, grouped so that a look costs by record, not by item.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::plan::{MessageIndex, TagIndex};
use crate::quality::Causes;

/// A monitored item: its subscription and its number.
pub type Key = (u32, u32);

/// A record of the store: message, slot of its source, group of its signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub message: MessageIndex,
    pub slot: usize,
    pub group: usize,
}

/// A signal in a record that an item looks at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub key: Key,
    pub tag: TagIndex,
    /// What the tag was marked with at the last look.
    pub marks: u8,
    /// Not looked at yet: frames up to `since` are older than the value that its client has.
    pub fresh: bool,
    /// CLOCK_REALTIME nanoseconds.
    pub since: u64,
}

/// All looks at one record at one interval.
#[derive(Clone, Debug)]
pub struct Group {
    /// Sequence of the record at the last look, and the causes around it; a sequence of `u64::MAX` was never seen.
    pub sequence: u64,
    pub causes: Causes,
    /// Of the ring: the time of the newest frame that was told, and whether a newer record has been waited for.
    pub newest: u64,
    pub put_off: bool,
    pub looks: Vec<Look>,
    /// Where in `looks` each item is; made with the first removal of one among many.
    index: Option<HashMap<Key, usize>>,
}

/// Looks of one group that are searched one by one.
const FEW: usize = 32;

impl Group {
    fn new() -> Group {
        Group { sequence: u64::MAX, causes: Causes::NONE, newest: 0, put_off: false, looks: Vec::new(), index: None }
    }

    fn add(&mut self, look: Look) {
        if let Some(index) = &mut self.index {
            index.insert(look.key, self.looks.len());
        }
        self.looks.push(look);
    }

    /// Deleting many items of one record, one after the other, costs by item.
    fn remove(&mut self, key: Key) {
        let at = if self.looks.len() <= FEW {
            self.index = None;
            self.looks.iter().position(|look| look.key == key)
        } else {
            let looks = &self.looks;
            let all = || looks.iter().enumerate().map(|(at, look)| (look.key, at)).collect();
            self.index.get_or_insert_with(all).remove(&key)
        };
        let Some(at) = at else { return };
        self.looks.swap_remove(at);
        if let (Some(index), Some(moved)) = (&mut self.index, self.looks.get(at)) {
            index.insert(moved.key, at);
        }
    }

    /// Keeps those that are not of a subscription.
    fn forget(&mut self, subscription: u32) {
        self.looks.retain(|look| look.key.0 != subscription);
        self.index = None;
    }
}

/// All that is looked at at one interval.
#[derive(Debug, Default)]
pub struct Class {
    /// CLOCK_MONOTONIC nanoseconds of the next look.
    pub due: u64,
    pub groups: HashMap<Place, Group>,
    /// Items that are no signals.
    pub others: HashSet<Key>,
}

impl Class {
    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.others.is_empty()
    }
}

/// By interval in nanoseconds; 0: every frame.
#[derive(Debug, Default)]
pub struct Watched {
    pub classes: BTreeMap<u64, Class>,
    /// Counts up with each change of what is looked at for every frame.
    pub frames_changed: u64,
}

impl Watched {
    /// A signal. `due`: when it is looked at first, if nothing else is looked at at this interval.
    pub fn signal(&mut self, interval: u64, place: Place, look: Look, due: u64) {
        self.frames_changed += u64::from(interval == 0);
        let class = self.class(interval, due);
        let group = class.groups.entry(place).or_insert_with(Group::new);
        // whatever has come since the item's first value was read is looked at
        group.sequence = u64::MAX;
        group.add(look);
    }

    /// Anything else.
    pub fn other(&mut self, interval: u64, key: Key, due: u64) {
        self.class(interval, due).others.insert(key);
    }

    fn class(&mut self, interval: u64, due: u64) -> &mut Class {
        self.classes.entry(interval).or_insert_with(|| Class { due, ..Class::default() })
    }

    /// Has everything of an interval looked at with the next turn.
    pub fn look_now(&mut self, interval: u64, now: u64) {
        if let Some(class) = self.classes.get_mut(&interval) {
            class.due = class.due.min(now);
        }
    }

    /// One item is no longer looked at. `place`: of a signal.
    pub fn remove(&mut self, interval: u64, place: Option<Place>, key: Key) {
        let Some(class) = self.classes.get_mut(&interval) else { return };
        match place {
            Some(place) => {
                self.frames_changed += u64::from(interval == 0);
                if let Some(group) = class.groups.get_mut(&place) {
                    group.remove(key);
                    if group.looks.is_empty() {
                        class.groups.remove(&place);
                    }
                }
            }
            None => {
                class.others.remove(&key);
            }
        }
        if class.is_empty() {
            self.classes.remove(&interval);
        }
    }

    /// All items of a subscription.
    pub fn forget(&mut self, subscription: u32) {
        for class in self.classes.values_mut() {
            class.groups.retain(|_, group| {
                group.forget(subscription);
                !group.looks.is_empty()
            });
            class.others.retain(|key| key.0 != subscription);
        }
        self.classes.retain(|_, class| !class.is_empty());
        self.frames_changed += 1;
    }

    /// Everything, to be put in anew with the nodes of another plan.
    pub fn clear(&mut self) {
        self.classes.clear();
        self.frames_changed += 1;
    }
}

/// When something is looked at first, so that later looks fall on the publishing timer where the intervals allow it.
pub fn first_look(interval: u64, publishing: u64, now: u64) -> u64 {
    if interval == 0 || publishing <= now { now + interval } else { now + 1 + (publishing - now - 1) % interval }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Group, Look, first_look};

    #[test]
    fn looks_fall_on_the_publishing_timer() {
        for (interval, publishing, now, want) in [
            (100, 1100, 1000, 1100),
            (50, 1100, 1000, 1050),
            (100, 1030, 1000, 1030),
            (1000, 1100, 1000, 1100),
            (30, 1100, 1000, 1010),
            (100, 900, 1000, 1100),
            (0, 1100, 1000, 1000),
        ] {
            assert_eq!(first_look(interval, publishing, now), want, "{interval} {publishing}");
        }
    }

    #[test]
    fn looks_are_removed_whatever_their_number() {
        let look = |key| Look { key, tag: 0, marks: 0, fresh: true, since: 0 };
        let mut group = Group::new();
        let mut want = HashSet::new();
        let add = |group: &mut Group, want: &mut HashSet<_>, key| {
            group.add(look(key));
            want.insert(key);
        };
        (0..100_000).for_each(|item| add(&mut group, &mut want, (item % 3, item)));
        let remove = |group: &mut Group, want: &mut HashSet<_>, key| {
            group.remove(key);
            want.remove(&key);
        };
        let same = |group: &Group, want: &HashSet<_>| {
            assert_eq!(group.looks.len(), want.len());
            assert!(group.looks.iter().all(|look| want.contains(&look.key)));
        };
        // oldest first: the worst for who searches from the end; quadratic, this takes minutes
        (0..60_000).for_each(|item| remove(&mut group, &mut want, (item % 3, item)));
        same(&group, &want);
        // added while there is an index; not there; there again after everything of one subscription has gone
        (100_000..100_100).for_each(|item| add(&mut group, &mut want, (item % 3, item)));
        remove(&mut group, &mut want, (0, 1));
        group.forget(1);
        want.retain(|key| key.0 != 1);
        same(&group, &want);
        (60_000..100_095).for_each(|item| remove(&mut group, &mut want, (item % 3, item)));
        same(&group, &want);
        assert_eq!(group.looks.len(), 3, "few are left");
    }
}
