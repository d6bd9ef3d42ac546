//! Leases of messages that sessions hold: who wrote one last keeps it by every further sign of life, and by nothing else.
//!
//! A session that ends, or whose client is silent, renews nothing: its outputs go to their fallback values when the lease runs
//! out. A connection that still seems open tells nothing about the other end, only requests do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::plan::{Direction, MessageIndex, Plan};

/// A lease is renewed at most once in this part of its time.
const PART: u32 = 4;

/// All leases of all sessions.
#[derive(Default)]
pub struct Leases {
    held: Mutex<AllHeld>,
    /// How many sessions hold some: most requests need not look.
    sessions: AtomicUsize,
    /// The last command that was sent.
    sent: Mutex<Ticket>,
}

/// The place of a command among all that were sent: the controller takes them in this order, answers come in any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Default)]
struct AllHeld {
    by_session: HashMap<u32, Held>,
    /// By message: the last write that may have been carried out.
    last: HashMap<String, Ticket>,
}

struct Held {
    leases: Vec<Lease>,
    /// When the next of them may be renewed.
    next: Instant,
}

struct Lease {
    /// `bus.Message`: its index may change with a reload.
    message: String,
    time: Duration,
    renewed: Instant,
}

impl Leases {
    fn held(&self) -> MutexGuard<'_, AllHeld> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn count(&self, held: &AllHeld) {
        self.sessions.store(held.by_session.len(), Ordering::Relaxed);
    }

    /// Sends a command, with the ticket that tells when. It must not block.
    pub fn in_order<T>(&self, send: impl FnOnce() -> T) -> (Ticket, T) {
        let mut sent = self.sent.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        sent.0 += 1;
        (*sent, send())
    }

    /// A session's write to a message was accepted: it holds its lease from now on, and nobody else does. Unless a later
    /// write was told of before, whose value is in force; and nobody holds what was written by who is gone by now. `still`:
    /// whether the session is there, with the user who wrote. What ends a session, or gives it another user, does so before
    /// it tells here.
    pub fn written(
        &self,
        plan: &Plan,
        message: MessageIndex,
        (session, ticket): (u32, Ticket),
        now: Instant,
        still: impl FnOnce() -> bool,
    ) {
        let Some(Direction::Output(transmission)) = plan.messages.get(message).map(|message| &message.direction) else {
            return;
        };
        let Some(nanoseconds) = transmission.lease else { return };
        let (name, time) = (plan.message_name(message, None), Duration::from_nanos(nanoseconds));
        let mut held = self.held();
        // names that went with a configuration
        if held.last.len() > plan.messages.len() {
            held.last.clear();
        }
        let last = held.last.entry(name.clone()).or_default();
        if *last > ticket {
            return;
        }
        *last = ticket;
        held.by_session.retain(|_, held| {
            held.leases.retain(|lease| lease.message != name);
            !held.leases.is_empty()
        });
        if still() {
            let own = held.by_session.entry(session).or_insert_with(|| Held { leases: Vec::new(), next: now });
            own.leases.push(Lease { message: name, time, renewed: now });
            own.plan_next();
        }
        self.count(&held);
    }

    /// A session has shown that it lives: the messages whose leases are to be renewed now.
    pub fn alive(&self, session: u32, now: Instant) -> Vec<String> {
        if self.sessions.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut held = self.held();
        let Some(own) = held.by_session.get_mut(&session).filter(|own| own.next <= now) else { return Vec::new() };
        let mut due = Vec::new();
        for lease in own.leases.iter_mut().filter(|lease| lease.next() <= now) {
            lease.renewed = now;
            due.push(lease.message.clone());
        }
        own.plan_next();
        due
    }

    /// Whether a session still holds the lease of a message.
    pub fn holds(&self, session: u32, message: &str) -> bool {
        self.held().by_session.get(&session).is_some_and(|own| own.leases.iter().any(|lease| lease.message == message))
    }

    /// There is nothing left to renew: the message is in fallback, or has no lease any more.
    pub fn lost(&self, session: u32, message: &str) {
        let mut held = self.held();
        if let Some(own) = held.by_session.get_mut(&session) {
            own.leases.retain(|lease| lease.message != message);
            own.plan_next();
        }
        held.by_session.retain(|_, held| !held.leases.is_empty());
        self.count(&held);
    }

    /// A session has ended, or has another user.
    pub fn ended(&self, session: u32) {
        let mut held = self.held();
        held.by_session.remove(&session);
        self.count(&held);
    }
}

impl Held {
    fn plan_next(&mut self) {
        if let Some(next) = self.leases.iter().map(Lease::next).min() {
            self.next = next;
        }
    }
}

impl Lease {
    fn next(&self) -> Instant {
        self.renewed + self.time / PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, LoadOptions, Sources};

    const DBC: &str = "BU_: ME ECU\nBO_ 1 A: 1 ME\n SG_ X : 0|8@1+ (1,0) [0|0] \"\" ECU\n\
                       BO_ 2 B: 1 ME\n SG_ X : 0|8@1+ (1,0) [0|0] \"\" ECU\nBO_ 3 C: 1 ME\n SG_ X : 0|8@1+ (1,0) [0|0] \"\" ECU\n";
    const CONFIGURATION: &str = "[bus.line]\nvirtual = true\ndbc = [\"a.dbc\"]\nnode = \"ME\"\ntransmit = \"all\"\nwritable = \"all\"\n\
                                 message.A = { cycle_ms = 10, lease_ms = 400 }\nmessage.B = { cycle_ms = 10, lease_ms = 4000 }\nmessage.C = { cycle_ms = 10 }\n";

    /// `MS write SESSION MESSAGE`, `MS late SESSION MESSAGE` (sent before all others, told of now), `MS gone SESSION MESSAGE`
    /// (written by a session that has ended), `MS ended SESSION`, `MS lost SESSION MESSAGE`, `MS alive SESSION => what is renewed`.
    #[test]
    fn who_wrote_last_renews_by_each_sign_of_life() {
        let sources = Sources::embedded("plant.toml", CONFIGURATION, &[("a.dbc", DBC.as_bytes())]);
        let plan =
            config::load(&sources, LoadOptions::default()).map_err(|mistakes| format!("{mistakes:?}")).unwrap().plan;
        let (leases, start) = (Leases::default(), Instant::now());
        let early = leases.in_order(|| ()).0;
        let message = |name: &str| plan.messages.iter().position(|message| message.message.name == name).unwrap();
        for line in "
            0 alive 1 =>
            0 write 1 A
            0 write 1 C
            10 alive 1 =>
            99 alive 1 =>
            100 alive 1 => line.A
            101 alive 1 =>
            200 write 1 A
            250 write 1 B
            299 alive 1 =>
            300 alive 2 =>
            300 alive 1 => line.A
            1250 alive 1 => line.A line.B
            1300 write 2 A
            2400 alive 1 => line.B
            2400 alive 2 => line.A
            2500 lost 2 line.A
            9000 alive 2 =>
            9000 write 2 A
            9050 ended 1
            9999 alive 1 =>
            9999 alive 2 => line.A
            9999 ended 2
            19999 alive 2 =>
            20000 write 1 A
            20000 late 2 A
            20200 alive 2 =>
            20200 alive 1 => line.A
            20200 ended 1
            20200 late 2 A
            20400 alive 2 =>
            20400 write 1 A
            20400 gone 2 A
            20600 alive 2 =>
            20600 alive 1 =>
            30000 write 3 B
            30001 alive 3 =>
            30010 write 3 A
            30110 alive 3 => line.A
        "
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let now = start + Duration::from_millis(words[0].parse().unwrap());
            let session = words[2].parse().unwrap();
            match words[1] {
                "write" | "late" | "gone" => {
                    let ticket = if words[1] == "late" { early } else { leases.in_order(|| ()).0 };
                    leases.written(&plan, message(words[3]), (session, ticket), now, || words[1] != "gone");
                }
                "ended" => leases.ended(session),
                "lost" => leases.lost(session, words[3]),
                _ => assert_eq!(leases.alive(session, now), words[4..], "{line}"),
            }
        }
    }
}
