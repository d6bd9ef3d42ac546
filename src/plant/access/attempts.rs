//! How often somebody has failed to log in, and what it costs the next time. Pure: the time is an argument.
//!
//! Three things are counted: the name (an answer to it comes later and later), the name from one address (its passwords are
//! looked at more and more seldom), and the address with any names (it gets no more than its share). Nobody is locked out:
//! the right password from another address is looked at, at most a second late.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// A wrong password is answered this late; twice as late with each further failure of the name.
const DELAY: Duration = Duration::from_secs(1);
/// No answer is later: many clients give up after four seconds.
const MOST_DELAY: Duration = Duration::from_secs(3);
/// Who would have to wait longer for its turn is refused unseen.
const PATIENCE: Duration = Duration::from_millis(2500);
/// So long after the last failure it is forgotten.
const MEMORY: Duration = Duration::from_secs(900);
/// What is remembered at one time.
const MOST: usize = 3000;
/// Longest name that is told apart, in characters.
const MOST_NAME: usize = 64;

/// Who tries to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    name: String,
    address: IpAddr,
}

impl Who {
    /// One IPv6 network is one address: whoever has one of them has them all.
    pub fn new(name: &str, address: IpAddr) -> Who {
        let address = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        };
        Who { name: name.chars().take(MOST_NAME).collect(), address }
    }

    fn keys(&self) -> [Key; 3] {
        [Key::Name(self.name.clone()), Key::Pair(self.name.clone(), self.address), Key::Address(self.address)]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Pair(String, IpAddr),
    Address(IpAddr),
}

impl Key {
    /// Time between two passwords that are looked at, after so many failures.
    fn gap(&self, failures: u32) -> Duration {
        match (self, failures) {
            (Key::Pair(..), 3..=9) => Duration::from_secs(1),
            (Key::Pair(..), 10..) => MOST_DELAY,
            (Key::Address(_), 20..) => Duration::from_millis(500),
            _ => Duration::ZERO,
        }
    }

    /// What everybody waits, together, so that a name that is guessed at from many addresses is not kept from its owner.
    fn wait(&self, failures: u32) -> Duration {
        match (self, failures) {
            (Key::Name(_), 10..) => Duration::from_secs(1),
            _ => Duration::ZERO,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last: Instant,
    /// When the next password is looked at.
    next: Instant,
}

/// Too many attempts wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Failures that are remembered.
#[derive(Default)]
pub struct Attempts {
    entries: HashMap<Key, Entry>,
}

impl Attempts {
    /// When this one's password may be looked at; the time is reserved.
    pub fn enter(&mut self, who: &Who, now: Instant) -> Result<Instant, TooMany> {
        let mut at = now;
        let keys = who.keys();
        for key in &keys {
            let Some(entry) = self.entries.get(key).filter(|entry| now < entry.last + MEMORY) else { continue };
            at = at.max(now + key.wait(entry.failures));
            if !key.gap(entry.failures).is_zero() {
                at = at.max(entry.next);
            }
        }
        if at > now + PATIENCE {
            return Err(TooMany);
        }
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.next = at + key.gap(entry.failures);
            }
        }
        Ok(at)
    }

    /// What came of it; how long after its beginning the answer goes out.
    pub fn end(&mut self, who: &Who, right: bool, now: Instant) -> Duration {
        let [name, pair, address] = who.keys();
        if right {
            // the address is not forgiven: one right password must not pay for guesses at others
            self.entries.remove(&name);
            self.entries.remove(&pair);
            return Duration::ZERO;
        }
        let failures = self.fail(name, now);
        self.fail(pair, now);
        self.fail(address, now);
        DELAY.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(MOST_DELAY)
    }

    /// How an attempt is answered that was refused unseen.
    pub fn refused() -> Duration {
        MOST_DELAY
    }

    fn fail(&mut self, key: Key, now: Instant) -> u32 {
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        let new = Entry { failures: 0, last: now, next: now };
        let entry = self.entries.entry(key.clone()).or_insert(new);
        if now >= entry.last + MEMORY {
            *entry = new;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.last = now;
        let gap = key.gap(entry.failures);
        // otherwise the time is reserved already
        if gap > key.gap(entry.failures - 1) {
            entry.next = entry.next.max(now + gap);
        }
        entry.failures
    }

    /// Forgets what is old, and if that is nothing the one with the fewest failures: who makes up names does not wash away who
    /// is really guessed at.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.last + MEMORY);
        if self.entries.len() < MOST {
            return;
        }
        let least = self.entries.iter().min_by_key(|(_, entry)| (entry.failures, entry.last));
        if let Some(key) = least.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// One after the other, each when it is answered: when its password was looked at and when it was answered, in seconds
    /// after its beginning.
    #[test]
    fn a_client_that_fails_again_and_again() {
        let mut attempts = Attempts::default();
        let mut now = Instant::now();
        let anna = Who::new("anna", address(1));
        let mut found = Vec::new();
        for _ in 0..30 {
            let at = attempts.enter(&anna, now).unwrap();
            let late = attempts.end(&anna, false, at);
            found.push(((at - now).as_secs_f64(), late.as_secs_f64()));
            now = (now + late).max(at);
        }
        // from the tenth failure on the name waits a second
        let want = [vec![(0.0, 1.0), (0.0, 2.0)], vec![(0.0, 3.0); 8], vec![(1.0, 3.0); 20]];
        assert_eq!(found, want.concat());
        let at = attempts.enter(&anna, now).unwrap();
        attempts.end(&anna, true, at);
        let share = at + seconds(0.5);
        assert_eq!(attempts.enter(&anna, at), Ok(share), "all is forgiven but the share of the address");
    }

    #[test]
    fn many_at_once_are_few() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        let anna = Who::new("anna", address(1));
        let mut seen = Vec::new();
        for _ in 0..100 {
            if let Ok(at) = attempts.enter(&anna, now) {
                attempts.end(&anna, false, at);
                seen.push((at - now).as_secs_f64());
            }
        }
        assert_eq!(seen, [0.0, 0.0, 0.0, 1.0, 2.0], "passwords that were looked at");
        // the same name from elsewhere, and another name from the same address
        for (who, want) in [
            (Who::new("anna", address(2)), 0.0),
            (Who::new("bert", address(1)), 0.0),
            (Who::new("bert", address(2)), 0.0),
        ] {
            assert_eq!(attempts.enter(&who, now), Ok(now + seconds(want)), "{who:?}");
        }
    }

    #[test]
    fn nobody_is_locked_out_by_guesses_from_many_addresses() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        for number in 0..100 {
            attempts.end(&Who::new("anna", address(number)), false, now);
        }
        assert_eq!(attempts.enter(&Who::new("anna", address(200)), now), Ok(now + seconds(1.0)));
        assert_eq!(attempts.enter(&Who::new("bert", address(200)), now), Ok(now));
        let later = now + MEMORY;
        assert_eq!(attempts.enter(&Who::new("anna", address(200)), later), Ok(later));
    }

    #[test]
    fn one_address_has_its_share_whatever_names_it_makes_up() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        let mut seen = 0;
        for number in 0..1000 {
            let who = Who::new(&number.to_string(), address(1));
            if let Ok(at) = attempts.enter(&who, now) {
                attempts.end(&who, false, at);
                seen += 1;
            }
        }
        assert_eq!(seen, 25);
        assert_eq!(attempts.enter(&Who::new("anna", address(2)), now), Ok(now));
        // addresses of one IPv6 network are one
        let six = |text: &str| Who::new("anna", text.parse().unwrap());
        assert_eq!(six("2001:db8::1"), six("2001:db8::ffff:1"));
        assert_ne!(six("2001:db8::1"), six("2001:db8:0:1::1"));
        assert_eq!(six("::ffff:10.0.0.1"), Who::new("anna", address(1)));
    }

    #[test]
    fn memory_is_bounded_and_keeps_who_is_guessed_at() {
        let mut attempts = Attempts::default();
        let now = Instant::now();
        let anna = Who::new("anna", address(1));
        for _ in 0..5 {
            attempts.end(&anna, false, now);
        }
        for number in 0..2 * MOST as u32 {
            let who = Who::new(&format!("{number:0>100}"), IpAddr::from(number.to_be_bytes()));
            attempts.end(&who, false, now);
        }
        assert_eq!(attempts.entries.len(), MOST);
        assert!(attempts.entries.keys().all(|key| !matches!(key, Key::Name(name) if name.chars().count() > MOST_NAME)));
        assert_eq!(attempts.enter(&anna, now), Ok(now + seconds(1.0)), "washed away");
    }
}
