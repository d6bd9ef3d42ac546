//! Receive deadlines: a great many timers with few different times, each started anew by every frame.

use crate::control::due::Due;

const NONE: u32 = u32::MAX;

/// Timers that each have their own fixed time. All timers of one time expire in the order in which they were started, so
/// they are a list; starting one costs the same however many there are. Nothing is allocated after [`Expiry::new`].
pub(super) struct Expiry {
    /// By timer.
    links: Box<[Link]>,
    /// By list.
    lists: Box<[List]>,
    /// When each list is looked at: not later than its first timer expires.
    due: Due,
    /// Room for [`Expiry::adopt`]: when they expire, and which.
    late: Vec<(u64, u32)>,
}

#[derive(Clone, Copy)]
struct Link {
    list: u32,
    before: u32,
    behind: u32,
    running: bool,
    /// CLOCK_MONOTONIC nanoseconds.
    expires: u64,
}

struct List {
    /// Nanoseconds.
    time: u64,
    first: u32,
    last: u32,
    /// Where [`Expiry::adopt`] has come to.
    at: u32,
}

impl Expiry {
    /// `times`: nanoseconds, by timer. None runs.
    pub fn new(times: &[u64]) -> Expiry {
        let mut different = times.to_vec();
        different.sort_unstable();
        different.dedup();
        let links = times.iter().map(|time| Link {
            list: different.binary_search(time).map_or(NONE, |list| list as u32),
            before: NONE,
            behind: NONE,
            running: false,
            expires: 0,
        });
        Expiry {
            links: links.collect(),
            due: Due::new(different.len()),
            late: Vec::with_capacity(times.len()),
            lists: different.into_iter().map(|time| List { time, first: NONE, last: NONE, at: NONE }).collect(),
        }
    }

    /// Starts a timer, or starts it anew. `now` never goes back.
    pub fn start(&mut self, timer: usize, now: u64) {
        self.unlink(timer);
        let link = &mut self.links[timer];
        let list = &mut self.lists[link.list as usize];
        let expires = now.saturating_add(list.time);
        *link = Link { before: list.last, behind: NONE, running: true, expires, ..*link };
        let at = link.list as usize;
        match std::mem::replace(&mut list.last, timer as u32) {
            NONE => {
                list.first = timer as u32;
                // One that is looked at too early costs less than moving the moment with every frame.
                if self.due.get(at) == u64::MAX {
                    self.due.set(at, expires);
                }
            }
            last => self.links[last as usize].behind = timer as u32,
        }
    }

    /// Starts timers, each as if at a moment that may be before that of others; none runs so far. They come in the order of
    /// [`Expiry::running`]: where timers of different times have the same from now on, they have to be put in order, which
    /// costs as much as sorting them.
    pub fn adopt(&mut self, began: impl Iterator<Item = (usize, u64)>) {
        self.late.clear();
        for (timer, moment) in began {
            let list = &self.lists[self.links[timer].list as usize];
            let expires = moment.saturating_add(list.time);
            let last = self.links.get(list.last as usize).map_or(0, |last| last.expires);
            if expires >= last || self.late.len() == self.late.capacity() {
                self.insert(timer, expires, list.last);
            } else {
                self.late.push((expires, timer as u32));
            }
        }
        // the last ones first, so that each list is gone through once
        self.late.sort_unstable();
        self.lists.iter_mut().for_each(|list| list.at = list.last);
        while let Some((expires, timer)) = self.late.pop() {
            let timer = timer as usize;
            let list = self.links[timer].list as usize;
            self.lists[list].at = self.insert(timer, expires, self.lists[list].at);
        }
    }

    /// Puts a timer behind the first one, from `before` back, that does not expire later; that one, or [`NONE`].
    fn insert(&mut self, timer: usize, expires: u64, mut before: u32) -> u32 {
        self.unlink(timer);
        let at = self.links[timer].list as usize;
        while let Some(link) = self.links.get(before as usize).filter(|link| link.expires > expires) {
            before = link.before;
        }
        let behind = match self.links.get_mut(before as usize) {
            Some(link) => std::mem::replace(&mut link.behind, timer as u32),
            None => std::mem::replace(&mut self.lists[at].first, timer as u32),
        };
        match self.links.get_mut(behind as usize) {
            Some(link) => link.before = timer as u32,
            None => self.lists[at].last = timer as u32,
        }
        let link = &mut self.links[timer];
        *link = Link { before, behind, running: true, expires, ..*link };
        if expires < self.due.get(at) {
            self.due.set(at, expires);
        }
        before
    }

    /// Every running timer with the moment it was started as of; those of one time in their order.
    pub fn running(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.lists.iter().flat_map(|list| {
            let next = |timer: &u32| self.links.get(*timer as usize).map(|link| link.behind);
            let timers = std::iter::successors(Some(list.first), next).take_while(|timer| *timer != NONE);
            timers.map(|timer| (timer as usize, self.links[timer as usize].expires.saturating_sub(list.time)))
        })
    }

    pub fn stop(&mut self, timer: usize) {
        self.unlink(timer);
    }

    /// Not later than the first timer expires; `u64::MAX` for never.
    pub fn next(&self) -> u64 {
        self.due.next()
    }

    /// A timer that has expired; it runs no longer.
    pub fn take(&mut self, now: u64) -> Option<usize> {
        while let Some((at, _)) = self.due.take(now) {
            let first = self.lists[at].first;
            let Some(link) = self.links.get(first as usize) else { continue };
            let expires = link.expires;
            self.due.set(at, expires);
            if expires <= now {
                self.unlink(first as usize);
                return Some(first as usize);
            }
        }
        None
    }

    fn unlink(&mut self, timer: usize) {
        let link = self.links[timer];
        if !link.running {
            return;
        }
        let list = &mut self.lists[link.list as usize];
        match link.before {
            NONE => list.first = link.behind,
            before => self.links[before as usize].behind = link.behind,
        }
        match link.behind {
            NONE => list.last = link.before,
            behind => self.links[behind as usize].before = link.before,
        }
        self.links[timer].running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_expire_when_they_should_whatever_was_started_before() {
        let times: Vec<u64> = (0..41).map(|timer| [50, 70, 70, 1000][timer % 4] + timer as u64 / 20).collect();
        let mut expiry = Expiry::new(&times);
        let mut plain: Vec<Option<u64>> = vec![None; times.len()];
        let (mut now, mut random, mut expired) = (0_u64, 1_u64, 0);
        for _ in 0..50_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let timer = (random >> 33) as usize % times.len();
            match random >> 60 {
                0 => {
                    // another takes over, with half of the timers that run and one that began earlier
                    let mut began: Vec<(usize, u64)> = expiry.running().filter(|(other, _)| *other % 2 == 0).collect();
                    began.retain(|(other, _)| *other != timer);
                    began.insert(began.len() / 2, (timer, now.saturating_sub(random >> 40 & 63)));
                    expiry = Expiry::new(&times);
                    expiry.adopt(began.iter().copied());
                    plain.fill(None);
                    began.iter().for_each(|(timer, began)| plain[*timer] = Some(began + times[*timer]));
                    let mut running: Vec<(usize, u64)> = expiry.running().collect();
                    running.sort_unstable();
                    began.sort_unstable();
                    assert_eq!(running, began);
                }
                1..=7 => {
                    expiry.start(timer, now);
                    plain[timer] = Some(now + times[timer]);
                }
                8..=9 => {
                    expiry.stop(timer);
                    plain[timer] = None;
                }
                10..=12 => now += random >> 50 & 7,
                _ => {
                    let mut found: Vec<usize> = std::iter::from_fn(|| expiry.take(now)).collect();
                    found.sort_unstable();
                    let due = |timer: &usize| plain[*timer].is_some_and(|at| at <= now);
                    let want: Vec<usize> = (0..times.len()).filter(due).collect();
                    assert_eq!(found, want);
                    want.iter().for_each(|timer| plain[*timer] = None);
                    expired += want.len();
                }
            }
            assert_eq!(expiry.links[timer].running, plain[timer].is_some());
            assert!(expiry.next() <= plain.iter().flatten().copied().min().unwrap_or(u64::MAX));
        }
        assert!(expired > 100, "{expired}");
    }

    /// A hundred thousand timers of three times that have one from now on, in the real-time thread.
    #[test]
    fn timers_whose_times_become_one_are_put_in_order_at_once() {
        const TIMERS: usize = 100_000;
        let mut old = Expiry::new(&(0..TIMERS).map(|timer| [500, 1000, 9000][timer % 3]).collect::<Vec<u64>>());
        (0..TIMERS).for_each(|timer| old.start(timer, timer as u64));
        let mut new = Expiry::new(&[700; TIMERS]);
        let began = std::time::Instant::now();
        new.adopt(old.running());
        let took = began.elapsed();
        assert!(new.running().map(|(timer, _)| timer).eq(0..TIMERS));
        // one comparison with each of the others would take a hundred times as long
        assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    }
}
