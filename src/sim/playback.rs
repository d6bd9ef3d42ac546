//! Plays the other nodes' messages of any plant at their cycle times, with values that move inside the DBC's ranges.

use crate::can::{Frame, MAX_LEN};
use crate::dbc::codec::Kind;
use crate::dbc::{self, Codec, Raw, SendType, Signal};
use crate::plan::{Direction, Interface, Plan};
use crate::protection::{Protection, Protector};

use super::empty_frame;
use super::schedule::Schedule;

const MS: u64 = 1_000_000;
/// Cycle of a message whose DBC gives none: one that is sent cyclically or says nothing, and one that is sent on events.
const DEFAULT_PERIOD: u64 = 200 * MS;
const EVENT_PERIOD: u64 = 1000 * MS;
/// No message is played faster.
const SHORTEST_PERIOD: u64 = MS;
/// Between the first frames of two messages, and when all have been sent once.
const STAGGER: u64 = 1_370_000;
const SPREAD: u64 = 500 * MS;
/// The J1939 "null address": what a DBC file writes where the sender's address is left open.
const NULL_ADDRESS: u8 = 0xFE;

/// Plays all messages of a plan that are not ours.
#[derive(Debug)]
pub struct Player {
    schedule: Schedule,
    tracks: Vec<Track>,
    /// Messages of the plan that do not fit into one frame and are not played.
    pub left_out: Vec<usize>,
}

/// One message that is played.
#[derive(Debug)]
struct Track {
    bus: usize,
    frame: Frame,
    sent: u64,
    /// One after the other; what is in one page can be in one frame.
    pages: Vec<Vec<Part>>,
    /// Writes counter and checksum over what moves there.
    protector: Option<Protector>,
}

/// A signal that is driven.
#[derive(Debug)]
struct Part {
    codec: Codec,
    motion: Motion,
}

/// How a raw value moves.
#[derive(Clone, Debug)]
enum Motion {
    Still(Raw),
    /// Each for so many nanoseconds.
    Steps {
        values: Vec<Raw>,
        hold: u64,
    },
    /// One more with each frame.
    Count {
        low: i128,
        high: i128,
    },
    /// Up and down between raw values.
    Sweep {
        low: i128,
        high: i128,
        wave: Wave,
    },
    /// Up and down between engineering values of a float signal.
    SweepFloat {
        low: f64,
        high: f64,
        wave: Wave,
    },
}

/// A periodic movement between 0 and 1.
#[derive(Clone, Copy, Debug)]
struct Wave {
    period: u64,
    /// Nanoseconds.
    shift: u64,
    sine: bool,
}

impl Player {
    /// Everything that others send on the plan's virtual buses; on a real bus they do it themselves.
    pub fn new(plan: &Plan) -> Player {
        let others = plan.messages.iter().enumerate().filter(|(_, message)| {
            let bus = plan.buses.get(message.bus);
            let real = bus.is_none_or(|bus| bus.interface != Interface::Virtual);
            let node = bus.and_then(|bus| bus.node.as_ref());
            // what only we would send stays away too, when the configuration keeps us from sending it
            let ours = node.is_some_and(|node| message.message.senders == std::slice::from_ref(node));
            matches!(message.direction, Direction::Input(_)) && !ours && !real
        });
        Player::play(
            others.map(|(index, message)| (index, message.bus, &*message.message, message.protection.as_ref())),
        )
    }

    /// `messages`: index for [`Player::left_out`], bus, description, protection.
    fn play<'a>(messages: impl Iterator<Item = (usize, usize, &'a dbc::Message, Option<&'a Protection>)>) -> Player {
        let (mut tracks, mut jobs, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (index, bus, message, protection) in messages {
            let open = message.pgn.is_some() && message.id.source_address() == NULL_ADDRESS;
            let Some(frame) = empty_frame(message, open.then_some(0)) else {
                left_out.push(index);
                continue;
            };
            let period = period(message);
            jobs.push((period, tracks.len() as u64 * STAGGER % period.min(SPREAD)));
            let protector = protection.map(Protector::new);
            tracks.push(Track { bus, frame, sent: 0, pages: pages(message, frame.len()), protector });
        }
        Player { schedule: Schedule::new(jobs), tracks, left_out }
    }

    /// See [`super::Simulator::next_due`].
    pub fn next_due(&self) -> u64 {
        self.schedule.next_due()
    }

    /// See [`super::Simulator::step`].
    pub fn step(&mut self, now_ns: u64, send: &mut dyn FnMut(usize, &Frame)) {
        while let Some(job) = self.schedule.pop(now_ns) {
            if let Some(track) = self.tracks.get_mut(job) {
                track.encode(now_ns);
                send(track.bus, &track.frame);
            }
        }
    }
}

impl Track {
    fn encode(&mut self, now_ns: u64) {
        let id = self.frame.id;
        let payload = self.frame.payload_mut();
        payload.fill(0);
        let turns = self.pages.len().max(1) as u64;
        let page = self.pages.get((self.sent % turns) as usize);
        // a page's counters count its own frames
        let count = self.sent / turns;
        for part in page.into_iter().flatten() {
            let raw = part.motion.raw(&part.codec, now_ns, count);
            // what a page holds was checked against its signal when it was made
            let _ = part.codec.insert(raw, payload);
        }
        if let Some(protector) = &mut self.protector {
            protector.protect(id, payload);
        }
        self.sent += 1;
    }
}

impl Motion {
    fn raw(&self, codec: &Codec, now_ns: u64, count: u64) -> Raw {
        let integer = |value| Raw::from_i128(codec.kind, value).unwrap_or(Raw::Unsigned(0));
        match self {
            Motion::Still(raw) => *raw,
            Motion::Steps { values, hold } => {
                let at = (now_ns / hold) as usize % values.len().max(1);
                values.get(at).copied().unwrap_or(Raw::Unsigned(0))
            }
            Motion::Count { low, high } => integer(low + count as i128 % (high - low + 1)),
            Motion::Sweep { low, high, wave } => {
                let span = (high - low) as f64;
                integer((low + (span * wave.at(now_ns)).round() as i128).clamp(*low, *high))
            }
            Motion::SweepFloat { low, high, wave } => {
                let value = low + (high - low) * wave.at(now_ns);
                codec.to_raw(value).unwrap_or(zero(codec.kind))
            }
        }
    }
}

impl Wave {
    /// A wave of its own for each signal: 4 to 20 seconds.
    fn of(message: &dbc::Message, signal: &Signal) -> Wave {
        let hash = hash(message, signal);
        let period = 4000 * MS + hash % 16_000 * MS;
        Wave { period, shift: (hash >> 16) % period, sine: hash >> 60 & 1 == 0 }
    }

    fn at(self, now_ns: u64) -> f64 {
        let phase = (now_ns.wrapping_add(self.shift) % self.period) as f64 / self.period as f64;
        if self.sine { 0.5 - 0.5 * (phase * std::f64::consts::TAU).cos() } else { 1.0 - (2.0 * phase - 1.0).abs() }
    }
}

/// FNV-1a of the names: the same plant moves the same way each time.
fn hash(message: &dbc::Message, signal: &Signal) -> u64 {
    let names = message.dbc_name.bytes().chain([b'.']).chain(signal.dbc_name.bytes());
    let fnv = names.fold(0xCBF2_9CE4_8422_2325, |h: u64, b| (h ^ b as u64).wrapping_mul(0x0100_0000_01B3));
    // its high bits hardly differ for short names
    fnv ^ fnv.rotate_left(29) ^ fnv.rotate_left(47)
}

fn period(message: &dbc::Message) -> u64 {
    let default = match message.send_type {
        None | Some(SendType { cyclic: true, .. }) => DEFAULT_PERIOD,
        Some(_) => EVENT_PERIOD,
    };
    message.cycle_time.map_or(default, |time| time.as_nanos() as u64).max(SHORTEST_PERIOD)
}

/// The frames that show every branch once, then again.
fn pages(message: &dbc::Message, length: usize) -> Vec<Vec<Part>> {
    let mut selections: Vec<Vec<(usize, i128)>> = Vec::new();
    for group in message.groups.iter().filter(|group| !group.conditions.is_empty()) {
        for ends in [first_value, last_value] {
            let selection = group.conditions.iter().map(|c| Some((c.selector, ends(message, c)?))).collect();
            if let Some(selection) = selection
                && !selections.contains(&selection)
            {
                selections.push(selection);
            }
        }
    }
    let mut pages: Vec<_> = selections.iter().filter_map(|selection| page(message, length, selection)).collect();
    if pages.is_empty() {
        pages.extend(page(message, length, &[]));
    }
    pages
}

/// The smallest value that a condition asks for and its selector can have.
fn first_value(message: &dbc::Message, condition: &dbc::Condition) -> Option<i128> {
    possible(message, condition).map(|(low, _)| low).min()
}

/// The largest one.
fn last_value(message: &dbc::Message, condition: &dbc::Condition) -> Option<i128> {
    possible(message, condition).map(|(_, high)| high).max()
}

/// The ranges of a condition, as far as the selector's bits reach.
fn possible<'a>(
    message: &'a dbc::Message,
    condition: &'a dbc::Condition,
) -> impl Iterator<Item = (i128, i128)> + use<'a> {
    let limits = message.signals.get(condition.selector).and_then(|signal| signal.codec.raw_limits());
    let cut = move |&(low, high): &(i128, i128)| {
        let (min, max) = limits?;
        Some((low.max(min), high.min(max))).filter(|(low, high)| low <= high)
    };
    condition.ranges.iter().filter_map(cut)
}

/// What a frame holds in which the selectors are as `selection` says. Selectors it does not name have the first value
/// that anything asks of them. `None` where the selectors can't all have their values.
fn page(message: &dbc::Message, length: usize, selection: &[(usize, i128)]) -> Option<Vec<Part>> {
    let mut selected = selection.to_vec();
    let mut used = [0; MAX_LEN];
    let mut parts = Vec::new();
    let conditions = |signal: &Signal| message.groups.get(signal.group).map_or(&[][..], |g| &g.conditions);
    let mut selectors: Vec<usize> = (0..message.signals.len()).filter(|i| message.signals[*i].multiplexor).collect();
    // outer ones first: they decide which inner ones are there
    selectors.sort_by_key(|selector| conditions(&message.signals[*selector]).len());
    for selector in selectors {
        let signal = &message.signals[selector];
        if !holds(conditions(signal), &selected) {
            continue;
        }
        let value = match selected.iter().find(|(index, _)| *index == selector) {
            Some((_, value)) => *value,
            None => {
                let all = message.groups.iter().flat_map(|group| &group.conditions);
                let asked = all.filter(|c| c.selector == selector).filter_map(|c| first_value(message, c)).min();
                let value = asked.unwrap_or(0);
                selected.push((selector, value));
                value
            }
        };
        let raw = Raw::from_i128(signal.codec.kind, value)?;
        signal.codec.check_raw(raw).ok()?;
        if !claim(&signal.codec, length, &mut used) {
            return None;
        }
        parts.push(Part { codec: signal.codec, motion: Motion::Still(raw) });
    }
    for signal in message.signals.iter().filter(|signal| !signal.multiplexor) {
        // where signals overlap, the first one moves and the others show what comes of it
        if holds(conditions(signal), &selected) && claim(&signal.codec, length, &mut used) {
            parts.push(Part { codec: signal.codec, motion: motion(message, signal) });
        }
    }
    Some(parts)
}

fn holds(conditions: &[dbc::Condition], selected: &[(usize, i128)]) -> bool {
    conditions.iter().all(|condition| {
        let value = selected.iter().find(|(index, _)| *index == condition.selector);
        value.is_some_and(|(_, v)| condition.ranges.iter().any(|(low, high)| (*low..=*high).contains(v)))
    })
}

/// Takes the signal's bits, unless another signal has one of them or the frame is too short.
fn claim(codec: &Codec, length: usize, used: &mut [u8; MAX_LEN]) -> bool {
    let mut bits = [0; MAX_LEN];
    let free = codec.mask(&mut bits[..length]) && bits.iter().zip(used.iter()).all(|(new, used)| new & used == 0);
    if free {
        bits.iter().zip(used).for_each(|(new, used)| *used |= new);
    }
    free
}

fn motion(message: &dbc::Message, signal: &Signal) -> Motion {
    let codec = &signal.codec;
    let wave = Wave::of(message, signal);
    let Some((low, high)) = raw_range(message, signal) else {
        return match (codec.kind, float_range(signal)) {
            (Kind::F32 | Kind::F64, Some((low, high))) => Motion::SweepFloat { low, high, wave },
            _ => Motion::Still(zero(codec.kind)),
        };
    };
    let words: Vec<Raw> = signal
        .value_table
        .iter()
        .filter(|(value, _)| (low..=high).contains(value))
        .filter_map(|(value, _)| Raw::from_i128(codec.kind, *value))
        .filter(|raw| !signal.not_available(message, *raw))
        .collect();
    // one or two words on a wide signal are codes beside a number; more are the states of something
    if words.len() >= 3 || words.len() == 2 && codec.size <= 4 {
        return Motion::Steps { values: words, hold: 1000 * MS + wave.shift % (3000 * MS) };
    }
    if is_counter(signal) {
        return Motion::Count { low, high };
    }
    if high - low <= 1 {
        let values = [low, high].iter().filter_map(|value| Raw::from_i128(codec.kind, *value)).collect();
        return Motion::Steps { values, hold: 1000 * MS + wave.shift % (3000 * MS) };
    }
    Motion::Sweep { low, high, wave }
}

/// Raw values inside the signal's range and not "not available"; `None` for floats, constants and where there are none.
fn raw_range(message: &dbc::Message, signal: &Signal) -> Option<(i128, i128)> {
    let codec = &signal.codec;
    let (mut low, mut high) = codec.raw_limits()?;
    if codec.factor == 0.0 {
        return None;
    }
    if let Some((min, max)) = signal.range {
        let ends = [(min - codec.offset) / codec.factor, (max - codec.offset) / codec.factor];
        // the conversion saturates, far outside of any signal
        low = low.max(ends[0].min(ends[1]).ceil() as i128);
        high = high.min(ends[0].max(ends[1]).floor() as i128);
    }
    // rounding may leave an end just outside
    let fine = |raw: i128| {
        let raw = Raw::from_i128(codec.kind, raw)?;
        let value = codec.engineering(raw);
        let inside = signal.range.is_none_or(|(min, max)| (min..=max).contains(&value));
        (inside && !signal.not_available(message, raw)).then_some(())
    };
    if message.pgn.is_some() && codec.kind == Kind::Unsigned {
        // the codes above are reserved (SAE J1939-71, 5.1.4)
        high = match codec.size {
            2 => high.min(1),
            8 => high.min(0xFA),
            16 => high.min(0xFAFF),
            32 => high.min(0xFAFF_FFFF),
            _ => high,
        };
    }
    let steps = signal.value_table.len() as i128 + 2;
    let low = (low..=high.min(low.saturating_add(steps))).find(|raw| fine(*raw).is_some())?;
    let high = (low.max(high - steps)..=high).rev().find(|raw| fine(*raw).is_some())?;
    Some((low, high))
}

/// Engineering values that a float signal moves between, a little inside its range so that rounding stays in it.
fn float_range(signal: &Signal) -> Option<(f64, f64)> {
    let codec = &signal.codec;
    let (min, max) = signal.range.unwrap_or((0.0, 100.0));
    let (least, most) = codec.engineering_limits();
    let (min, max) = (min.max(least), max.min(most));
    let inset = (max - min) * 1e-3;
    (codec.factor != 0.0 && inset.is_finite() && min < max).then_some((min + inset, max - inset))
}

fn zero(kind: Kind) -> Raw {
    Raw::from_bits(kind, 0)
}

/// Counters are known by their names only.
fn is_counter(signal: &Signal) -> bool {
    const WORDS: [&str; 4] = ["counter", "alive", "rolling", "sequence"];
    const ENDS: [&str; 3] = ["cnt", "ctr", "_rc"];
    let name = signal.name.to_ascii_lowercase();
    let plain = signal.codec.factor == 1.0 && signal.codec.offset == 0.0 && signal.codec.size <= 32;
    plain && (WORDS.iter().any(|word| name.contains(word)) || ENDS.iter().any(|end| name.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::sim::tests::{demo_databases, present};

    /// Plays messages for a time and hands out every frame.
    fn play(messages: &[dbc::Message], seconds: u64, mut seen: impl FnMut(u64, usize, &Frame)) {
        let mut player = Player::play(messages.iter().enumerate().map(|(n, message)| (n, n, message, None)));
        assert!(player.left_out.is_empty());
        let (start, mut now) = (5, 5);
        while now < start + seconds * 1000 * MS {
            player.step(now, &mut |bus, frame| seen(now, bus, frame));
            now = player.next_due();
        }
    }

    #[test]
    fn every_message_of_the_demo_plant_decodes_into_its_ranges() {
        for database in demo_databases() {
            let mut values: BTreeMap<(usize, String), BTreeSet<u64>> = BTreeMap::new();
            let messages = &database.messages;
            play(messages, 60, |_, message, frame| {
                let message_of = &messages[message];
                assert_eq!(frame.len(), message_of.length as usize);
                for signal in present(message_of, frame.payload()) {
                    let raw = signal.codec.raw(frame.payload()).unwrap();
                    let value = signal.codec.engineering(raw);
                    let name = format!("{}.{} = {value}", message_of.name, signal.name);
                    assert!(!signal.not_available(message_of, raw), "{name}");
                    assert!(signal.range.is_none_or(|(min, max)| (min..=max).contains(&value)), "{name}");
                    values.entry((message, signal.name.clone())).or_default().insert(raw.bits());
                }
            });
            for (n, message) in messages.iter().enumerate() {
                for signal in &message.signals {
                    let seen = values.get(&(n, signal.name.clone())).map_or(0, BTreeSet::len);
                    assert!(seen >= 2, "{}.{} had {seen} values", message.name, signal.name);
                }
            }
        }
    }

    #[test]
    fn nobody_is_played_on_a_real_bus() {
        let toml = "[bus.a]\ninterface = \"can0\"\ndbc = [\"t.dbc\"]\n[bus.b]\nvirtual = true\ndbc = [\"t.dbc\"]\n";
        let dbc = "BU_: A\nBO_ 256 M: 8 A\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" A\n";
        let sources = crate::config::Sources::embedded("t.toml", toml, &[("t.dbc", dbc.as_bytes())]);
        let played = |simulate| {
            let loaded = crate::config::load(&sources, crate::config::LoadOptions { simulate }).unwrap();
            let (mut player, mut buses) = (Player::new(&loaded.plan), BTreeSet::new());
            for now in [5, 5 + SPREAD] {
                player.step(now, &mut |bus, _| _ = buses.insert(bus));
            }
            buses.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(played(false), [1]);
        assert_eq!(played(true), [0, 1]);
    }

    #[test]
    fn cycles_are_exact_and_events_get_one() {
        let [line, _] = demo_databases();
        let mut times: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        play(&line.messages, 600, |now, message, _| times.entry(message).or_default().push(now));
        for (n, message) in line.messages.iter().enumerate() {
            let period = message.cycle_time.map_or(1000 * MS, |time| time.as_nanos() as u64);
            let times = &times[&n];
            assert!(times.windows(2).all(|w| w[1] - w[0] == period), "{}", message.name);
            assert!(times.len() as u64 >= 600_000 * MS / period, "{}", message.name);
        }
    }

    /// One message of a DBC text: the raw value of each signal in the first frames.
    fn check(signals: &str, frames: &[&[(&str, u64)]]) {
        let text = format!("VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: A\n\nBO_ 256 M: 8 A\n{signals}");
        let database = dbc::parse("t.dbc", text.as_bytes()).0.unwrap();
        let message = &database.messages[0];
        let mut played = Vec::new();
        play(&database.messages, 3, |_, _, frame| played.push(*frame));
        for (n, expected) in frames.iter().enumerate() {
            for (name, bits) in *expected {
                let signal = message.signals.iter().find(|s| s.name == *name).unwrap();
                assert_eq!(signal.codec.bits(played[n].payload()), Some(*bits), "frame {n}: {name}");
            }
        }
    }

    #[test]
    fn selectors_go_round_through_their_branches() {
        check(
            " SG_ S M : 0|8@1+ (1,0) [0|0] \"\" A\n SG_ X m3 : 8|8@1+ (1,0) [0|0] \"\" A\n SG_ Y m200 : 8|16@1+ (1,0) [0|0] \"\" A\n",
            &[&[("S", 3)], &[("S", 200)], &[("S", 3)], &[("S", 200)]],
        );
    }

    #[test]
    fn nested_selectors_and_the_ends_of_ranges() {
        check(
            concat!(
                " SG_ A M : 0|8@1+ (1,0) [0|0] \"\" A\n SG_ B m1M : 8|8@1+ (1,0) [0|0] \"\" A\n",
                " SG_ C m4 : 16|8@1+ (1,0) [0|0] \"\" A\n\n",
                "SG_MUL_VAL_ 256 B A 1-1;\nSG_MUL_VAL_ 256 C B 4-6, 9-400;\n"
            ),
            &[&[("A", 1), ("B", 4)], &[("A", 1), ("B", 4)], &[("A", 1), ("B", 255)]],
        );
    }

    #[test]
    fn counters_count_inside_their_range() {
        check(
            " SG_ MsgCounter : 0|4@1+ (1,0) [0|2] \"\" A\n",
            &[&[("MsgCounter", 0)], &[("MsgCounter", 1)], &[("MsgCounter", 2)], &[("MsgCounter", 0)]],
        );
    }

    #[test]
    fn of_overlapping_signals_the_first_is_driven() {
        // a constant range pins the first one; the second shares its bits and must not touch them
        check(
            " SG_ P : 0|8@1+ (1,0) [7|7.5] \"\" A\n SG_ Q : 4|8@1+ (1,0) [100|200] \"\" A\n",
            &[&[("P", 7)], &[("P", 7)]],
        );
    }

    #[test]
    fn what_fits_into_no_frame_is_left_out() {
        let [_, cell] = demo_databases();
        let mut long = cell.messages[0].clone();
        long.length = 1785;
        let player = Player::play([(9, 0, &cell.messages[1], None), (4, 0, &long, None)].into_iter());
        assert_eq!((player.left_out, player.tracks.len()), (vec![4], 1));
    }
}
