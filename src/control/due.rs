//! What is due when: a heap of moments of fixed size, each of which can be moved.

/// A fixed set of items, each with the moment it is due (CLOCK_MONOTONIC nanoseconds; `u64::MAX`: never). Setting and
/// taking cost the logarithm of their number; nothing is allocated after [`Due::new`].
pub(super) struct Due {
    /// A binary heap of items, the earliest first.
    heap: Box<[usize]>,
    /// Where each item is in the heap.
    place: Box<[usize]>,
    moments: Box<[u64]>,
}

impl Due {
    /// Nothing is due.
    pub fn new(items: usize) -> Due {
        Due {
            heap: (0..items).collect(),
            place: (0..items).collect(),
            moments: vec![u64::MAX; items].into_boxed_slice(),
        }
    }

    /// Sets when an item is due.
    pub fn set(&mut self, item: usize, moment: u64) {
        let before = std::mem::replace(&mut self.moments[item], moment);
        if moment < before {
            self.up(self.place[item]);
        } else {
            self.down(self.place[item]);
        }
    }

    pub fn get(&self, item: usize) -> u64 {
        self.moments[item]
    }

    /// The earliest moment; `u64::MAX` for never.
    pub fn next(&self) -> u64 {
        self.heap.first().map_or(u64::MAX, |item| self.moments[*item])
    }

    /// An item that is due by `now`, with its moment: the earliest. From then on it is never due until set again.
    pub fn take(&mut self, now: u64) -> Option<(usize, u64)> {
        let item = *self.heap.first()?;
        let moment = self.moments[item];
        if moment > now || moment == u64::MAX {
            return None;
        }
        self.set(item, u64::MAX);
        Some((item, moment))
    }

    fn before(&self, a: usize, b: usize) -> bool {
        // items of one moment in the order of their numbers, so that a run repeats exactly
        (self.moments[self.heap[a]], self.heap[a]) < (self.moments[self.heap[b]], self.heap[b])
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        (self.place[self.heap[a]], self.place[self.heap[b]]) = (a, b);
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 && self.before(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.before(child, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_taken_first_whatever_was_set_before() {
        const ITEMS: usize = 37;
        let mut due = Due::new(ITEMS);
        let mut plain = [u64::MAX; ITEMS];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (item, moment) = ((random >> 33) as usize % ITEMS, random >> 50);
            if random >> 40 & 3 != 0 {
                let moment = if random >> 45 & 7 == 0 { u64::MAX } else { moment };
                due.set(item, moment);
                plain[item] = moment;
            } else {
                let earliest = (0..ITEMS).min_by_key(|item| (plain[*item], *item)).unwrap();
                let want = (plain[earliest] <= moment).then_some((earliest, plain[earliest]));
                assert_eq!(due.take(moment), want);
                if want.is_some() {
                    plain[earliest] = u64::MAX;
                }
            }
            assert_eq!(due.next(), *plain.iter().min().unwrap());
            assert_eq!(due.get(item), plain[item]);
        }
        assert_eq!(Due::new(0).take(u64::MAX), None);
    }
}
