//! Another configuration while the machine runs: read and checked beside everything else, put in force at the end of a cycle,
//! and taken back where it can't keep its times.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context;
use tracing::{error, info, warn};

use super::audit::Entry;
use super::supervision::Supervision;
use super::trial::{Trials, Verdict};
use super::{Controller, generation};
use crate::command::Refusal;
use crate::plan::{Alarm, Plan};
use crate::rt::{Next, Order};
use crate::sim::Simulator;
use crate::store::layout::{MainWord, Word};
use crate::store::{Layout, MainWriter, Memory, Reader, Writer, clock, memory};

/// A configuration that was read and found to be without mistakes.
pub struct Candidate {
    pub plan: Arc<Plan>,
    /// The bytes that the plan was made from.
    pub bundle: Vec<u8>,
    /// Whoever else is on the virtual buses.
    pub simulator: Option<Simulator>,
}

/// Reads the configuration again: from its files, or from the bytes of a bundle. An error is every mistake, a line or more each,
/// with file, line and column.
pub type Load = dyn Fn(Option<&[u8]>) -> Result<Candidate, String> + Send + Sync;

/// How long the store of the plan before looks alive for those who do not have the new one yet, in nanoseconds.
const FAREWELL: u64 = 10_000_000_000;
/// Longest text about mistakes that is answered, in bytes; the log has all of it.
const MISTAKES: usize = 32 * 1024;
/// What is under way.
pub struct Reload {
    load: Option<Arc<Load>>,
    /// Folder for what outlives a run.
    state: Option<PathBuf>,
    reading: Option<Reading>,
    /// Told to read, by a signal, while it was being read: what is read may be older than what was meant.
    again: bool,
    /// Plans that the real-time thread has: one, and those that it gives back.
    waiting: Vec<Waiting>,
    /// Plans handed over so far.
    number: u64,
    /// What is left of the plan before, until then (CLOCK_MONOTONIC nanoseconds).
    left: Option<(Box<Next>, u64)>,
    /// The bundle of the configuration before, for as long as it may come back.
    trials: Trials<OwnedFd>,
}

/// A thread reads and checks.
struct Reading {
    thread: JoinHandle<Result<Ready, Refusal>>,
    /// The plan in force when it began, which the change is worked out from.
    base: Arc<Plan>,
    asked: Option<Asked>,
    /// It is the configuration before.
    back: bool,
    /// Nobody wants it any more.
    cancelled: bool,
}

/// The real-time thread takes it over as soon as it may.
struct Waiting {
    number: u64,
    ready: Ready,
    asked: Option<Asked>,
    back: bool,
    /// The thread has said that it has to wait for `reload_when`; until then it is on its way.
    told: bool,
}

/// Who waits for an answer.
pub struct Asked {
    pub client: u64,
    pub id: u64,
    pub entry: Entry,
}

/// Everything for another generation; nothing of it is in force.
struct Ready {
    plan: Arc<Plan>,
    bundle: OwnedFd,
    /// Nothing where the machine's part is the same as before.
    parts: Option<Parts>,
}

struct Parts {
    next: Option<Box<Next>>,
    reader: Reader,
    own_words: MainWriter,
    store: OwnedFd,
}

impl Reload {
    pub fn new(load: Option<Arc<Load>>, state: Option<PathBuf>) -> Reload {
        Reload {
            load,
            state,
            reading: None,
            again: false,
            waiting: Vec::new(),
            number: 0,
            left: None,
            trials: Trials::new(0, 0),
        }
    }

    /// Whether a plan waits for `reload_when`.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether somebody waits for an answer: to be looked at often.
    pub fn is_awaited(&self) -> bool {
        self.reading.is_some() || self.again || self.waiting.iter().any(|waiting| waiting.asked.is_some())
    }
}

impl Controller {
    /// Begins to read the configuration again. `hash`: the only plan that is wanted, where one is.
    pub(super) fn reload(&mut self, hash: Option<String>, asked: Option<Asked>) {
        if self.reload.reading.is_some() {
            let reason = "the configuration is being read already; try again".into();
            return self.answer_reload(asked, Err(Refusal::NotReloaded { reason }));
        }
        info!("reading the configuration again");
        self.notifier.reloading(clock::monotonic(), "reading the configuration again");
        self.begin_reading(None, hash, asked, false);
    }

    /// The same by SIGHUP: who sends it gets no answer and does not try again, so that it is remembered while another one is
    /// being read.
    pub(super) fn reload_by_signal(&mut self) {
        match self.reload.reading {
            Some(_) => self.reload.again = true,
            None => self.reload(None, None),
        }
    }

    /// Forgets a plan that is being read or waits; not the one before, which goes back into force because times are missed.
    pub(super) fn cancel_reload(&mut self, asked: Option<Asked>) {
        let reading = self.reload.reading.as_mut().filter(|reading| !reading.back && !reading.cancelled);
        if reading.is_none() && self.reload.waiting.is_empty() {
            let reason = "no configuration waits".into();
            return self.answer_reload(asked, Err(Refusal::NotReloaded { reason }));
        }
        if !self.reload.waiting.is_empty() && self.rt.order(Order::Cancel).is_err() {
            return self.answer_reload(asked, Err(Refusal::Busy));
        }
        if let Some(reading) = self.reload.reading.as_mut().filter(|reading| !reading.back) {
            // the thread can't be stopped: what it finds is thrown away
            reading.cancelled = true;
            let waits = reading.asked.take();
            self.reload.again = false;
            self.answer_reload(waits, Err(given_up()));
        }
        self.answer_reload(asked, Ok(()));
    }

    fn begin_reading(&mut self, bytes: Option<Vec<u8>>, hash: Option<String>, asked: Option<Asked>, back: bool) {
        let Some(load) = self.reload.load.clone() else {
            let reason = "this configuration is built in: there is nothing to read again".into();
            return self.answer_reload(asked, Err(Refusal::NotReloaded { reason }));
        };
        let (base, plan) = (self.plan.clone(), self.plan.clone());
        self.reload.number += 1;
        let number = self.reload.number;
        // ordinary priority: what this thread has is not inherited
        let thread = std::thread::Builder::new().name("reload".into()).spawn(move || {
            let candidate = load(bytes.as_deref()).map_err(|mistakes| Refusal::Configuration { mistakes })?;
            prepare(candidate, &plan, number, hash)
        });
        match thread {
            Ok(thread) => self.reload.reading = Some(Reading { thread, base, asked, back, cancelled: false }),
            Err(error) => {
                let reason = format!("can't start a thread: {error}");
                self.answer_reload(asked, Err(Refusal::NotReloaded { reason }));
            }
        }
    }

    /// Once for each turn of the main thread. `now`: CLOCK_MONOTONIC.
    pub(super) fn look_after_reload(&mut self, now: u64) {
        match &mut self.reload.left {
            Some((next, until)) if now < *until => next.keep_alive(),
            Some(_) => {
                self.reload.left = None;
                memory::trim_heap();
            }
            None => {}
        }
        if let Some(reading) = self.reload.reading.take_if(|reading| reading.thread.is_finished()) {
            let Reading { thread, base, asked, back, cancelled } = reading;
            let read = thread.join().unwrap_or_else(|_| {
                Err(Refusal::NotReloaded { reason: "the configuration can't be read: an error in this program".into() })
            });
            match read {
                _ if cancelled => self.notifier.ready(&self.status()),
                // another plan has come into force meanwhile
                Ok(_) if !Arc::ptr_eq(&base, &self.plan) => {
                    // nobody tries again after a signal
                    self.reload.again |= asked.is_none() && !back;
                    let reason = "the one that waited has just come into force; try again".into();
                    self.answer_reload(asked, Err(Refusal::NotReloaded { reason }));
                }
                Ok(ready) => self.hand_over(ready, asked, back),
                Err(refusal) => self.answer_reload(asked, Err(refusal)),
            }
        }
        // the change is worked out from what is in force: first whatever is on its way there
        let rests = self.reload.reading.is_none() && self.reload.waiting.iter().all(|waiting| waiting.told);
        if rests && std::mem::take(&mut self.reload.again) {
            self.reload(None, None);
        }
        self.look_at_trial(now);
    }

    fn hand_over(&mut self, mut ready: Ready, asked: Option<Asked>, back: bool) {
        let Some(mut next) = ready.parts.as_mut().and_then(|parts| parts.next.take()) else {
            // nothing for the machine: only the plant side is told; and one that waits is not wanted any more
            self.renew_handout(ready);
            if !self.reload.waiting.is_empty() {
                let _ = self.rt.order(Order::Cancel);
            }
            info!(plan = self.plan.short_hash(), "the configuration of the machine is the same as before");
            return self.answer_reload(asked, Ok(()));
        };
        let retained = self.retained.adopt(self.reload.state.as_deref(), &ready.plan);
        retained.iter().for_each(|patch| next.restore(patch));
        let number = next.number;
        match self.rt.order(Order::Swap(next)) {
            Ok(()) => self.reload.waiting.push(Waiting { number, ready, asked, back, told: false }),
            Err(_) => self.answer_reload(asked, Err(Refusal::Busy)),
        }
    }

    /// The plan that was handed over has to wait.
    pub(super) fn reload_waits(&mut self) {
        let conditions = &self.plan.machine.reload_when;
        let texts: Vec<String> = conditions.iter().map(|condition| self.plan.condition_text(condition)).collect();
        let condition = texts.join(" and ");
        let asked = self.reload.waiting.last_mut().and_then(|waiting| {
            waiting.told = true;
            waiting.asked.take()
        });
        warn!(
            condition,
            "the new configuration is ready and waits; it takes effect by itself, or canvoy reload --cancel"
        );
        self.answer_reload(asked, Err(Refusal::ReloadWaits { condition }));
    }

    fn take_waiting(&mut self, number: u64) -> Option<Waiting> {
        let at = self.reload.waiting.iter().position(|waiting| waiting.number == number)?;
        Some(self.reload.waiting.swap_remove(at))
    }

    /// A plan came back without having been taken over: cancelled, or another one is there.
    pub(super) fn reload_unused(&mut self, next: Box<Next>) {
        let Some(waiting) = self.take_waiting(next.number) else { return };
        info!("the configuration that waited is given up");
        self.answer_reload(waiting.asked, Err(given_up()));
    }

    /// The plan that was handed over is in force. `left`: what remains of the one before. `now`: CLOCK_MONOTONIC.
    pub(super) fn reloaded(&mut self, left: Box<Next>, now: u64) {
        let Some(Waiting { ready, asked, back, .. }) = self.take_waiting(left.number) else { return };
        let before = std::mem::replace(&mut self.plan, ready.plan.clone());
        match &mut self.supervision {
            Some(supervision) => supervision.adopt(&self.plan),
            None => match Supervision::new(&self.plan) {
                Ok(supervision) => self.supervision = supervision,
                Err(error) => error!(%error, "can't follow network interfaces (netlink)"),
            },
        }
        // counted from here: before, the new plan's contracts are not in the reader
        let bundle = self.renew_handout(ready);
        self.reload.left = Some((left, now + FAREWELL));
        self.look_wanted = true;
        let (plan, old) = (self.plan.short_hash(), before.short_hash());
        if back {
            error!(plan, given_up = old, "the new configuration missed its times: the one before is in force again");
            self.reload.trials.went_back(now, self.missed_budgets());
        } else {
            info!(plan, before = old, "another configuration is in force");
            self.reload.trials.begin(now, self.missed_budgets(), self.plan.machine.reload_trial, bundle);
        }
        self.alarm_taken_back(back);
        self.report_buses();
        self.answer_reload(asked, Ok(()));
    }

    /// For those who do not read the log: the files say something else than what is in force.
    pub(super) fn alarm_taken_back(&mut self, active: bool) {
        if let Some(alarm) = self.plan.alarm(Alarm::TakenBack) {
            // a full ring only leaves the alarm out; the log has it
            let _ = self.rt.order(Order::Alarm { alarm, active });
        }
    }

    /// Hands another generation to everybody; the bundle of the one before.
    fn renew_handout(&mut self, ready: Ready) -> OwnedFd {
        let Ready { plan, bundle, parts } = ready;
        let number = self.door.generation().number + 1;
        let handout = generation(&plan, number);
        let store = parts.map(|parts| {
            (self.reader, self.own_words) = (parts.reader, parts.own_words);
            // the store took it over, but not what was counted since
            self.own_words.set(MainWord::WrongDoor, self.wrong_door);
            parts.store
        });
        self.door.renew(handout, bundle, store)
    }

    fn look_at_trial(&mut self, now: u64) {
        // What is being read is known in a moment. One that waits may do so for hours, and is given up for the one before.
        let undecided = self.reload.reading.is_some();
        let missed = self.missed_budgets();
        match self.reload.trials.look(now, missed, undecided) {
            None => {}
            Some(Verdict::Kept(missed)) => info!(missed, "the new configuration has kept its times"),
            Some(Verdict::Missed { missed, allowed, before }) => {
                error!(missed, allowed, "times are missed since the reload: going back to the configuration before");
                match read(&before) {
                    Ok(bytes) => self.begin_reading(Some(bytes), None, None, true),
                    Err(error) => error!(%error, "can't go back"),
                }
            }
        }
    }

    /// Cycles, routes and links that were later than their budget, so far.
    fn missed_budgets(&self) -> u64 {
        let contract = |index| self.reader.contract(index).overruns;
        self.reader.get(Word::Overruns) + (0..self.plan.contracts.len()).map(contract).sum::<u64>()
    }

    pub(super) fn answer_reload(&mut self, asked: Option<Asked>, result: Result<(), Refusal>) {
        match &result {
            Ok(()) | Err(Refusal::ReloadWaits { .. }) => {}
            Err(Refusal::Configuration { mistakes }) => {
                error!("the new configuration can't be used, nothing was changed");
                for line in mistakes.lines() {
                    error!("{line}");
                }
            }
            Err(refusal) => error!("not reloaded: {refusal}"),
        }
        // whoever is refused meanwhile does not end the one that is being read
        if self.reload.reading.is_none() {
            self.notifier.ready(&self.status());
        }
        let Some(Asked { client, id, entry }) = asked else { return };
        entry.close(result.as_ref().copied());
        self.door.answer(client, id, result.err().map(cut));
    }
}

/// Makes everything that another plan needs.
fn prepare(candidate: Candidate, old: &Plan, number: u64, hash: Option<String>) -> Result<Ready, Refusal> {
    let Candidate { plan, bundle, simulator } = candidate;
    let failed = |error: anyhow::Error| Refusal::NotReloaded { reason: format!("{error:#}") };
    if hash.is_some_and(|wanted| wanted != plan.hash_text()) {
        let reason = "the files have changed since they were looked at; look again".into();
        return Err(Refusal::NotReloaded { reason });
    }
    let bundle = memory::sealed(c"canvoy-bundle", &bundle).context("can't seal the configuration").map_err(failed)?;
    if plan.hash == old.hash {
        return Ok(Ready { plan, bundle, parts: None });
    }
    let layout = Layout::of(&plan);
    let (memory, store) =
        Memory::shared(c"canvoy-store", layout.words()).context("can't make the store").map_err(failed)?;
    let memory = Arc::new(memory);
    let writer = Writer::new(memory.clone(), layout, plan.hash_word());
    let own_words = MainWriter::new(memory.clone());
    let reader = Reader::open(memory, layout, plan.hash_word()).map_err(|error| failed(error.into()))?;
    let next = Box::new(Next::new(number, old, &plan, writer, simulator));
    Ok(Ready { plan, bundle, parts: Some(Parts { next: Some(next), reader, own_words, store }) })
}

fn given_up() -> Refusal {
    Refusal::NotReloaded { reason: "given up for another one, or cancelled; nothing was changed".into() }
}

/// An answer has to fit into a datagram.
fn cut(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Configuration { mut mistakes } if mistakes.len() > MISTAKES => {
            let end = (0..=MISTAKES).rev().find(|end| mistakes.is_char_boundary(*end)).unwrap_or(0);
            mistakes.truncate(end);
            mistakes.push_str("\n… and more; canvoy check shows all");
            Refusal::Configuration { mistakes }
        }
        other => other,
    }
}

/// What a sealed bundle holds.
fn read(bundle: &OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(bundle.as_fd().try_clone_to_owned()?);
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    // whoever has the descriptor shares its position: read without one
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
