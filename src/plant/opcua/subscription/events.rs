//! What waits in an item for events: a queue of a given length, and beside it what ConditionRefresh tells (OPC 10000-9, 5.5.7).
//!
//! A refresh is as long as there are conditions, whatever queue its client has asked for. It is kept whole and in one piece,
//! in its place among the events before and after it, which alone are counted against the length of the queue.

use std::collections::VecDeque;
use std::ops::Range;

use super::event::{EventFilter, Fields};
use super::item::Change;

/// Queue of an item for events.
#[derive(Debug)]
pub struct Events {
    pub filter: EventFilter,
    waiting: VecDeque<Fields>,
    /// Places in `waiting` of a refresh.
    refresh: Range<usize>,
    /// Events were lost, which has not been told; some of them of conditions.
    lost: bool,
    lost_condition: bool,
}

impl Events {
    pub fn new(filter: EventFilter) -> Events {
        Events { filter, waiting: VecDeque::new(), refresh: 0..0, lost: false, lost_condition: false }
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn has_report(&self) -> bool {
        !self.waiting.is_empty() || self.lost
    }

    /// Whether a refresh waits for its client.
    pub fn is_refreshing(&self) -> bool {
        !self.refresh.is_empty()
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.waiting.iter().map(Fields::bytes).sum()
    }

    /// Queues an event. Of more than `most` the oldest goes, or the newest that waits.
    pub fn push(&mut self, fields: Fields, most: usize, discard_oldest: bool) -> Change {
        let mut change = Change { news: true, ..Change::default() };
        if self.waiting.len() - self.refresh.len() >= most.max(1) {
            self.lost = true;
            change.lost = 1;
            let before = self.refresh.start;
            let after = self.refresh.end..self.waiting.len();
            let at = match (discard_oldest, before, after.is_empty()) {
                (true, 1.., _) => 0,
                (true, 0, _) => after.start,
                (false, _, false) => after.end - 1,
                (false, _, true) => before.saturating_sub(1),
            };
            if at < before {
                self.refresh = self.refresh.start - 1..self.refresh.end - 1;
            }
            if let Some(gone) = self.waiting.remove(at) {
                change.bytes -= gone.bytes() as isize;
                self.lost_condition |= gone.1;
            }
        }
        change.bytes += fields.bytes() as isize;
        self.waiting.push_back(fields);
        change
    }

    /// A refresh begins: it stands for one that waits still.
    pub fn begin_refresh(&mut self) -> Change {
        let gone = self.waiting.drain(self.refresh.clone()).map(|fields| fields.bytes() as isize).sum::<isize>();
        self.refresh = self.waiting.len()..self.waiting.len();
        Change { bytes: -gone, lost: 0, news: false }
    }

    /// The next event of the refresh that has begun.
    pub fn push_refresh(&mut self, fields: Fields) -> Change {
        let bytes = fields.bytes() as isize;
        self.waiting.insert(self.refresh.end, fields);
        self.refresh.end += 1;
        Change { bytes, lost: 0, news: true }
    }

    /// Where to tell that events were lost: where they would be (OPC 10000-4, 7.22.3), and behind a refresh which no longer has
    /// any before it, or its client would think that it knows all.
    pub fn take_lost(&mut self, discard_oldest: bool) -> Option<usize> {
        let at = match (discard_oldest, self.refresh.start) {
            (true, 0) => self.refresh.end,
            (true, _) => 0,
            (false, _) => self.waiting.len(),
        };
        std::mem::take(&mut self.lost).then_some(at)
    }

    /// Whether what was lost, and has been told, makes a refresh necessary.
    pub fn take_lost_condition(&mut self) -> bool {
        std::mem::take(&mut self.lost_condition)
    }

    /// Puts in what tells of it.
    pub fn insert(&mut self, at: usize, fields: Fields) {
        let at = at.min(self.waiting.len());
        if at < self.refresh.start {
            self.refresh = self.refresh.start + 1..self.refresh.end + 1;
        }
        self.waiting.insert(at, fields);
    }

    /// Takes out the first events.
    pub fn take(&mut self, count: usize) -> impl Iterator<Item = Fields> + '_ {
        let count = count.min(self.waiting.len());
        self.refresh = self.refresh.start.saturating_sub(count)..self.refresh.end.saturating_sub(count);
        self.waiting.drain(..count)
    }

    /// Drops the oldest until only so many wait.
    pub fn shorten(&mut self, most: usize) -> Change {
        let gone = self.waiting.len().saturating_sub(most);
        let mut conditions = false;
        let bytes = self
            .take(gone)
            .inspect(|fields| conditions |= fields.1)
            .map(|fields| fields.bytes() as isize)
            .sum::<isize>();
        self.lost_condition |= conditions;
        self.waiting.shrink_to(most);
        self.lost |= gone > 0;
        Change { bytes: -bytes, lost: gone as u64, news: false }
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        (self.waiting, self.refresh) = (VecDeque::new(), 0..0);
        (self.lost, self.lost_condition) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::types::Variant;

    /// Queue length, whether the oldest goes, and what happens: numbers are events, `<` begins a refresh, letters are told by
    /// it, `-` takes one; capitals are events of conditions. `!` is where loss is told, `?` that a refresh is needed.
    #[track_caller]
    fn check(most: usize, discard_oldest: bool, happens: &str, want: &str) {
        let one = |letter: char| Fields(vec![Variant::from(letter.to_string())], letter.is_uppercase());
        let mut queue = Events::new(EventFilter::nothing());
        let (mut told, mut bytes) = (Vec::new(), 0);
        let mut tell = |queue: &mut Events, count: usize, bytes: &mut isize| {
            if let Some(at) = queue.take_lost(discard_oldest) {
                *bytes += one('!').bytes() as isize;
                queue.insert(at, one('!'));
                if queue.take_lost_condition() {
                    *bytes += one('?').bytes() as isize;
                    queue.insert(usize::MAX, one('?'));
                }
            }
            for fields in queue.take(count) {
                *bytes -= fields.bytes() as isize;
                told.push(fields.0.first().map(ToString::to_string).unwrap_or_default());
            }
        };
        for letter in happens.chars() {
            match letter {
                '<' => bytes += queue.begin_refresh().bytes,
                '-' => tell(&mut queue, 1, &mut bytes),
                'a'..='z' => bytes += queue.push_refresh(one(letter)).bytes,
                _ => bytes += queue.push(one(letter), most, discard_oldest).bytes,
            }
            assert_eq!(bytes, queue.bytes() as isize, "{happens}: {letter}");
        }
        tell(&mut queue, usize::MAX, &mut bytes);
        assert_eq!(told.concat(), want, "{most} {discard_oldest} {happens}");
        assert!(!queue.is_refreshing());
    }

    #[test]
    fn a_refresh_stays_whole_and_in_its_place() {
        check(3, true, "123", "123");
        check(3, true, "1234", "!234");
        check(3, false, "1234", "124!");
        check(3, true, "A23", "A23");
        check(3, true, "A234", "!234?");
        check(3, false, "12A4", "124!?");
        check(3, true, "1A34", "!A34");
        // longer than the queue
        check(2, true, "<abcdefg", "abcdefg");
        check(2, true, "12<abcd", "12abcd");
        check(2, false, "12<abcd", "12abcd");
        check(2, true, "1<abcd2", "1abcd2");
        // one before it goes, then those behind it
        check(2, true, "12<abcd3", "!2abcd3");
        check(2, true, "12<abcd34", "abcd!34");
        check(2, true, "12<abcd3456", "abcd!56");
        check(2, true, "<abcd123", "abcd!23");
        check(2, false, "12<abcd3", "1abcd3!");
        check(2, false, "1<abcd234", "1abcd4!");
        check(1, true, "<ab12", "ab!2");
        // taken in pieces
        check(2, true, "1<abcd--2", "1abcd2");
        check(2, true, "12<abcd3--4-", "!2abcd34");
        check(2, true, "1<ab---23", "1ab23");
        // another in place of one that waits
        check(2, true, "1<ab2<cde", "12cde");
        check(2, true, "<ab-<cd", "acd");
    }

    #[test]
    fn memory_comes_first() {
        let mut queue = Events::new(EventFilter::nothing());
        let fields = || Fields(vec![Variant::from(1u32)], false);
        queue.begin_refresh();
        (0..10).for_each(|_| assert!(queue.push_refresh(fields()).news));
        assert_eq!(queue.shorten(4).lost, 6);
        assert_eq!((queue.len(), queue.is_refreshing(), queue.take_lost(true)), (4, true, Some(4)));
        queue.clear();
        assert!(!queue.is_refreshing() && !queue.has_report());
    }
}
