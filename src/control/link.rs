//! Signal links: a received signal that one of ours follows, and what happens while its source is not good.

use std::sync::Arc;

use super::authority::Authority;
use super::due::Due;
use super::receive::Inputs;
use super::transmit::{Outputs, Written};
use super::{Now, Transmit};
use crate::command::Patch;
use crate::dbc::{self, Raw};
use crate::plan::{
    Alarm, AlarmIndex, BusIndex, ContractIndex, Immediate, LinkIndex, Mapping, MessageIndex, Otherwise, Plan, TagIndex,
    Timed, WhenBad,
};
use crate::quality::{Cause, Causes};
use crate::store::Writer;
use crate::store::layout::{LinkWord, Marks};

pub(super) struct Links {
    links: Box<[Running]>,
    /// By message: the links that begin there.
    begin: Box<[Box<[usize]>]>,
    /// By message: how many links stop it.
    stops: Box<[u32]>,
    /// Buses that links begin on, each with the causes last seen; none at the start, so that the first step decides all
    /// links before anything is sent.
    buses: Box<[(BusIndex, Option<Causes>)]>,
    /// By link: when it has held its last good value for long enough.
    due: Due,
}

/// A link at work.
struct Running {
    from: TagIndex,
    source_address: Option<u8>,
    /// The bus of `from`.
    bus: BusIndex,
    to: TagIndex,
    message: Arc<dbc::Message>,
    /// In `message`.
    signal: usize,
    mapping: Mapping,
    when_bad: WhenBad,
    /// What it writes, with the bits of the target still empty.
    patch: Patch,
    state: State,
    /// Frames that had the source so far.
    count: u64,
    contract: Option<ContractIndex>,
    alarm: Option<AlarmIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was decided yet.
    New,
    Good,
    Holding,
    /// The source is not good: something else is sent.
    Replaced,
    /// The source is not good: the message is not sent.
    Stopped,
}

/// A value for the target.
struct Write {
    raw: Raw,
    /// When it was received, CLOCK_MONOTONIC nanoseconds; `None` for a substitute.
    began: Option<u64>,
    /// A frame brought it.
    fresh: bool,
    /// With it the message goes on that was stopped.
    resumed: bool,
}

/// What links work with.
pub(super) struct Means<'a> {
    pub inputs: &'a Inputs,
    pub authority: &'a mut Authority,
    pub outputs: &'a mut Outputs,
    pub store: &'a mut Writer,
    pub transmit: &'a mut Transmit,
}

impl Links {
    pub fn new(plan: &Plan) -> Links {
        let mut begin = vec![Vec::new(); plan.messages.len()];
        for (index, link) in plan.links.iter().enumerate() {
            begin[plan.tags[link.from].message].push(index);
        }
        let links = plan.links.iter().enumerate().map(|(index, link)| {
            let tag = &plan.tags[link.to];
            let message = plan.messages[tag.message].message.clone();
            let mut bits = link.with;
            message.signals[tag.signal].codec.mask(&mut bits.mask);
            Running {
                from: link.from,
                source_address: link.source_address,
                bus: plan.messages[plan.tags[link.from].message].bus,
                to: link.to,
                signal: tag.signal,
                mapping: link.mapping.clone(),
                when_bad: link.when_bad,
                patch: Patch { message: tag.message, bits, immediate: tag.immediate, repeated: tag.repeated },
                state: State::New,
                count: 0,
                contract: plan.contract(Timed::Link(index)),
                alarm: plan.alarm(Alarm::Link(index)),
                message,
            }
        });
        let links: Box<[Running]> = links.collect();
        let mut buses: Vec<BusIndex> = links.iter().map(|link| link.bus).collect();
        buses.sort_unstable();
        buses.dedup();
        Links {
            begin: begin.into_iter().map(Vec::into_boxed_slice).collect(),
            stops: vec![0; plan.messages.len()].into(),
            buses: buses.into_iter().map(|bus| (bus, None)).collect(),
            due: Due::new(links.len()),
            links,
        }
    }

    /// Goes on with the links that both plans have. All are looked at with the next step, the new ones for the first time.
    pub fn adopt(&mut self, old: &Links, heirs: &[Option<LinkIndex>], authority: &mut Authority, store: &mut Writer) {
        for (index, heir) in heirs.iter().enumerate() {
            let Some(at) = *heir else { continue };
            let (link, before) = (&mut self.links[index], &old.links[at]);
            (link.state, link.count) = (before.state, before.count);
            self.due.set(index, old.due.get(at));
            match link.state {
                State::New | State::Good => {}
                State::Holding | State::Replaced => store.mark(link.to, Marks::SUBSTITUTED, true),
                State::Stopped => {
                    self.stops[link.patch.message] += 1;
                    authority.stop(link.patch.message, true, store);
                }
            }
        }
    }

    /// A message has been received, at `began` (CLOCK_MONOTONIC nanoseconds).
    pub fn received(&mut self, now: Now, began: u64, message: MessageIndex, means: &mut Means<'_>) {
        for at in 0..self.begin[message].len() {
            self.look(self.begin[message][at], now, began, true, means);
        }
    }

    /// A value or a cause of a message has changed without a frame.
    pub fn changed(&mut self, now: Now, message: MessageIndex, means: &mut Means<'_>) {
        for at in 0..self.begin[message].len() {
            self.look(self.begin[message][at], now, now.monotonic, false, means);
        }
    }

    /// Looks after buses that went or came back, and ends what was held for long enough.
    pub fn timer(&mut self, now: Now, means: &mut Means<'_>) {
        for at in 0..self.buses.len() {
            let (bus, before) = self.buses[at];
            let causes = means.store.bus_causes(bus);
            if Some(causes) == before {
                continue;
            }
            self.buses[at].1 = Some(causes);
            for index in 0..self.links.len() {
                if self.links[index].bus == bus {
                    self.look(index, now, now.monotonic, false, means);
                }
            }
        }
        while let Some((index, _)) = self.due.take(now.monotonic) {
            if let WhenBad::Hold { then, .. } = self.links[index].when_bad {
                self.otherwise(index, then, now, means);
            }
        }
    }

    /// When [`Links::timer`] is wanted, CLOCK_MONOTONIC nanoseconds.
    pub fn next_due(&self) -> u64 {
        self.due.next()
    }

    /// `fresh`: there is a frame; it may be of another sender, or have another branch.
    fn look(&mut self, index: usize, now: Now, began: u64, fresh: bool, means: &mut Means<'_>) {
        let link = &mut self.links[index];
        let sample = means.inputs.sample(means.store, link.from, link.source_address);
        let fresh = std::mem::replace(&mut link.count, sample.count) != sample.count && fresh;
        if !sample.causes.is_good() {
            let cause = sample.causes.worst();
            return self.bad(index, cause, now, means);
        }
        match sample.raw.zip(sample.value).and_then(|(raw, value)| link.target(raw, value)) {
            Some(raw) => self.good(index, raw, now, began, fresh, means),
            None => {
                if fresh || link.state == State::Good {
                    means.store.add_link(index, LinkWord::Unfit, 1);
                }
                self.bad(index, Some(Cause::OutOfRange), now, means);
            }
        }
    }

    fn good(&mut self, index: usize, raw: Raw, now: Now, began: u64, fresh: bool, means: &mut Means<'_>) {
        let before = std::mem::replace(&mut self.links[index].state, State::Good);
        if before != State::Good {
            self.due.set(index, u64::MAX);
            if let Some(alarm) = self.links[index].alarm {
                means.store.alarm(alarm, false, 0, now.realtime);
            }
            means.store.set_link(index, LinkWord::Bad, 0);
            means.store.mark(self.links[index].to, Marks::SUBSTITUTED, false);
        }
        let resumed = before == State::Stopped && self.stop(index, false, means);
        // a value without a frame is a force, or a bus that came back: only a change matters
        let write = Write { raw, began: Some(began), fresh, resumed };
        self.write(index, now, write, means);
        if fresh {
            means.store.add_link(index, LinkWord::Passed, 1);
        }
    }

    fn bad(&mut self, index: usize, cause: Option<Cause>, now: Now, means: &mut Means<'_>) {
        let link = &mut self.links[index];
        if let Some(alarm) = link.alarm {
            means.store.alarm(alarm, true, cause.map_or(0, |cause| cause as u64), now.realtime);
        }
        match (link.state, link.when_bad) {
            (State::Holding | State::Replaced | State::Stopped, _) => {}
            (State::Good, WhenBad::Hold { time, .. }) => {
                link.state = State::Holding;
                means.store.mark(link.to, Marks::SUBSTITUTED, true);
                means.store.set_link(index, LinkWord::Bad, 1);
                self.due.set(index, now.monotonic.saturating_add(time));
            }
            // there is nothing yet that could be held
            (State::New, WhenBad::Hold { then, .. }) => self.otherwise(index, then, now, means),
            (State::New | State::Good, WhenBad::At(otherwise)) => self.otherwise(index, otherwise, now, means),
        }
    }

    fn otherwise(&mut self, index: usize, otherwise: Otherwise, now: Now, means: &mut Means<'_>) {
        means.store.set_link(index, LinkWord::Bad, 1);
        match otherwise {
            Otherwise::Value(raw) => {
                self.links[index].state = State::Replaced;
                means.store.mark(self.links[index].to, Marks::SUBSTITUTED, true);
                self.write(index, now, Write { raw, began: None, fresh: false, resumed: false }, means);
            }
            Otherwise::Stop => {
                self.links[index].state = State::Stopped;
                means.store.mark(self.links[index].to, Marks::SUBSTITUTED, false);
                let _ = self.stop(index, true, means);
            }
        }
    }

    /// Several links fill one message: it goes on when none stops it any more. Whether it goes on.
    fn stop(&mut self, index: usize, stop: bool, means: &mut Means<'_>) -> bool {
        let message = self.links[index].patch.message;
        let stops = &mut self.stops[message];
        *stops = if stop { *stops + 1 } else { stops.saturating_sub(1) };
        means.authority.stop(message, *stops > 0, means.store);
        *stops == 0
    }

    fn write(&mut self, index: usize, now: Now, write: Write, means: &mut Means<'_>) {
        let Write { raw, began, fresh, resumed } = write;
        let link = &mut self.links[index];
        let mut patch = link.patch;
        // it was checked to fit
        if link.message.signals[link.signal].codec.insert(raw, &mut patch.bits.bits).is_err() {
            return;
        }
        let changed = means.authority.link(patch.message, &patch.bits, means.store) || resumed;
        let again = fresh && patch.immediate == Immediate::OnWrite;
        if !changed && !again {
            return;
        }
        let composed = means.authority.compose(patch.message);
        let Patch { message, immediate, repeated, .. } = patch;
        let link = link.contract.zip(began).filter(|_| composed.send);
        let written = Written { message, changed, immediate, repeated, link };
        means.outputs.written(now, written, &composed, means.store, means.transmit);
    }
}

impl Running {
    /// What the target says for a value of the source; `None` where it can't say it.
    fn target(&self, raw: Raw, value: f64) -> Option<Raw> {
        let signal = &self.message.signals[self.signal];
        match &self.mapping {
            Mapping::Table(table) => {
                let key = raw.as_i128()?;
                table.binary_search_by_key(&key, |(from, _)| *from).ok().map(|at| table[at].1)
            }
            Mapping::Linear { scale, offset } => {
                let wanted = value * scale + offset;
                let raw = signal.codec.to_raw(wanted).ok()?;
                // rounding may carry it over a limit, and must not make it a code
                let fits = signal.in_range(wanted) && signal.in_range(signal.codec.engineering(raw));
                (fits && !signal.not_available(&self.message, raw)).then_some(raw)
            }
        }
    }
}
