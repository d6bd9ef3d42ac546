//! The signals of one message: codec, multiplexing, range, words, and the checks of their layout.

use std::collections::HashMap;
use std::time::Duration;

use super::assemble::{Context, long_name, resolved, shown};
use super::attribute;
use super::codec::{Codec, Kind};
use super::gather::Notes;
use super::item::{MessageLine, SignalLine, ValueType};
use super::model::{Attribute, Condition, Group, Signal};
use super::multiplex::{self, Link, Member};
use super::text::Report;

/// A signal with a codec, not yet placed among the branches.
struct Candidate {
    at: usize,
    line: SignalLine,
    codec: Codec,
}

pub(super) fn build(
    message: &MessageLine,
    lines: Vec<(usize, SignalLine)>,
    notes: &mut HashMap<String, Notes>,
    context: &Context,
    report: &mut Report,
) -> (Vec<Signal>, Vec<Group>) {
    let mut candidates: Vec<Candidate> = Vec::new();
    for (at, line) in lines {
        let value_type = notes.get(&line.name).and_then(|notes| notes.value_type);
        match codec(&line, value_type, message.size) {
            Ok((codec, note)) => {
                if let Some(note) = note {
                    report.warn(at, format!("signal {}: {note}", line.name));
                }
                candidates.push(Candidate { at, line, codec });
            }
            Err(reason) => report.warn(at, format!("signal {} left out: {reason}", line.name)),
        }
    }
    let placed = place(candidates, notes, report);
    let (signals, groups) = finish(message, placed, notes, context, report);
    overlaps(message, &signals, &groups, report);
    (signals.into_iter().map(|(_, signal)| signal).collect(), groups)
}

/// The codec of a signal and what looks wrong with it, or why there is none.
fn codec(
    line: &SignalLine,
    value_type: Option<ValueType>,
    message_len: u64,
) -> Result<(Codec, Option<String>), String> {
    let SignalLine { start, size, order, factor, offset, .. } = *line;
    if size == 0 || size > 64 {
        return Err(format!("it has {size} bits, 1 to 64 are possible"));
    }
    if !factor.is_finite() || !offset.is_finite() {
        return Err("factor or offset is not a finite number".into());
    }
    let mut note = None;
    let integer = if line.signed { Kind::Signed } else { Kind::Unsigned };
    let kind = match (value_type, size) {
        (None | Some(ValueType::Integer), _) => integer,
        (Some(ValueType::F32), 32) => Kind::F32,
        (Some(ValueType::F64), 64) => Kind::F64,
        // no other reading of the bits is a float
        (Some(_), 32 | 64) => {
            note = Some(format!("SIG_VALTYPE_ names a float of another size: read as a {size}-bit float"));
            if size == 32 { Kind::F32 } else { Kind::F64 }
        }
        (Some(_), _) => return Err(format!("SIG_VALTYPE_ says float, but {size} bits are none (32 or 64 are)")),
    };
    let outside = || format!("it does not lie inside the {message_len} bytes of its message");
    let (Ok(start), Ok(bits)) = (u16::try_from(start), u8::try_from(size)) else { return Err(outside()) };
    let codec = Codec::new(start, bits, order, kind, factor, offset);
    let Some(codec) = codec.filter(|codec| codec.fits(message_len as usize)) else { return Err(outside()) };
    if factor == 0.0 {
        note = Some(format!("factor 0 makes it the constant {offset}"));
    }
    Ok((codec, note))
}

/// The conditions of every signal that can be placed; the links are indices into the result.
fn place(
    candidates: Vec<Candidate>,
    notes: &HashMap<String, Notes>,
    report: &mut Report,
) -> Vec<(Candidate, Vec<Link>)> {
    let members: Vec<Member> = candidates
        .iter()
        .map(|candidate| Member {
            name: &candidate.line.name,
            mark: candidate.line.multiplex,
            is_float: candidate.codec.raw_limits().is_none(),
            limits: candidate.codec.raw_limits().unwrap_or((0, 0)),
        })
        .collect();
    let extended = notes.iter().filter_map(|(name, notes)| Some((name.as_str(), notes.extended.as_ref()?))).collect();
    let places = multiplex::resolve(&members, &extended);
    let mut places: Vec<Option<Vec<Link>>> = places
        .into_iter()
        .zip(&candidates)
        .map(|(place, candidate)| {
            let name = &candidate.line.name;
            if let Some(note) = place.note {
                report.warn(candidate.at, format!("signal {name}: {note}"));
            }
            match place.links {
                Ok(links) => Some(links),
                Err(reason) => {
                    report.warn(candidate.at, format!("signal {name} left out: {reason}"));
                    None
                }
            }
        })
        .collect();
    leave_out_duplicates(&candidates, &mut places, report);
    let mut next = 0;
    let moved: Vec<usize> = places
        .iter()
        .map(|place| {
            let index = next;
            next += usize::from(place.is_some());
            index
        })
        .collect();
    let selects = |links: Vec<Link>| {
        links.into_iter().map(|(selector, ranges)| (moved.get(selector).copied().unwrap_or(0), ranges)).collect()
    };
    candidates.into_iter().zip(places).filter_map(|(candidate, place)| Some((candidate, selects(place?)))).collect()
}

/// Of signals with one name the last counts, as in other tools, unless no frame carries both.
fn leave_out_duplicates(candidates: &[Candidate], places: &mut [Option<Vec<Link>>], report: &mut Report) {
    /// Signals with one name that are compared; garbage could have thousands.
    const MOST: usize = 64;
    let mut later: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, candidate) in candidates.iter().enumerate().rev() {
        let Some(Some(links)) = places.get(index) else { continue };
        let name = candidate.line.name.as_str();
        let same = later.entry(name).or_default();
        let clash = same.iter().find(|other| match places.get(**other) {
            Some(Some(others)) => same.len() >= MOST || !exclusive(others, links),
            _ => false,
        });
        let Some(clash) = clash.and_then(|other| candidates.get(*other)) else {
            same.push(index);
            continue;
        };
        let line = report.line(clash.at);
        report.warn(candidate.at, format!("signal {name} left out: line {line} has another signal of this name"));
        // what it selects can't be chosen by the other signal either
        if let Some(place) = places.get_mut(index) {
            *place = None;
        }
        for (place, candidate) in places.iter_mut().zip(candidates) {
            if place.as_ref().is_some_and(|links| links.iter().any(|(selector, _)| *selector == index)) {
                let reason = format!("its multiplexor {name} is left out");
                report.warn(candidate.at, format!("signal {} left out: {reason}", candidate.line.name));
                *place = None;
            }
        }
    }
}

/// Whether no payload satisfies both: some selector would need two values.
fn exclusive(a: &[Link], b: &[Link]) -> bool {
    a.iter().any(|(selector, ranges)| {
        b.iter().any(|(other, others)| {
            selector == other
                && !ranges.iter().any(|(low, high)| others.iter().any(|(from, to)| low <= to && from <= high))
        })
    })
}

fn finish(
    message: &MessageLine,
    placed: Vec<(Candidate, Vec<Link>)>,
    notes: &mut HashMap<String, Notes>,
    context: &Context,
    report: &mut Report,
) -> (Vec<(usize, Signal)>, Vec<Group>) {
    let mut groups = vec![Group::default()];
    let mut group_of: HashMap<Vec<Link>, usize> = HashMap::from([(Vec::new(), 0)]);
    let mut names: HashMap<String, usize> = HashMap::new();
    let selectors: Vec<usize> =
        placed.iter().flat_map(|(_, links)| links.iter().map(|(selector, _)| *selector)).collect();
    let mut signals = Vec::new();
    for (Candidate { at, line, codec }, links) in placed {
        let group = *group_of.entry(links).or_insert_with_key(|links| {
            let condition = |(selector, ranges): &Link| Condition { selector: *selector, ranges: ranges.clone() };
            groups.push(Group { conditions: links.iter().map(condition).collect() });
            groups.len() - 1
        });
        let nothing = Notes::default();
        let said = notes.get(&line.name).unwrap_or(&nothing);
        let attributes = resolved(said, Default::default(), context.definitions, report);
        let attribute = |name: &str| attributes.get(name).or_else(|| context.signal_defaults.get(name));
        let start_value = attribute("GenSigStartValue").and_then(|value| attribute::raw_value(&codec, value));
        if start_value.is_none() && attributes.contains_key("GenSigStartValue") {
            report.warn(at, format!("signal {}: GenSigStartValue is no raw value that it can hold", line.name));
        }
        let mut name = shown(long_name(&attributes, "SystemSignalLongSymbol").unwrap_or(&line.name));
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let unique = format!("{name}_{count}");
            report.warn(at, format!("another signal named {name} in the message: this one is called {unique} here"));
            name = unique;
        }
        let signal = Signal {
            name,
            codec,
            range: (line.min < line.max && line.min.is_finite() && line.max.is_finite())
                .then_some((line.min, line.max)),
            unit: line.unit.trim().into(),
            comment: said.comment.clone(),
            receivers: line.receivers.iter().map(|node| context.node(node)).collect(),
            value_table: table(said.labels.as_deref().unwrap_or(&[])),
            multiplexor: false,
            group,
            start_value,
            send_type: attribute::send_type(attribute("GenSigSendType")),
            timeouts: timeouts(message, said, attribute("GenSigTimeoutTime"), context),
            attributes,
            dbc_name: line.name,
        };
        signals.push((at, signal));
    }
    for selector in selectors {
        if let Some((_, signal)) = signals.get_mut(selector) {
            signal.multiplexor = true;
        }
    }
    (signals, groups)
}

/// `GenSigTimeoutTime` by node (BA_REL_), and as a plain attribute. Where `GenSigTimeoutMsg` says that another message is
/// what is watched, the time says nothing about this one.
fn timeouts(
    message: &MessageLine,
    notes: &Notes,
    plain: Option<&Attribute>,
    context: &Context,
) -> Vec<(Option<String>, Duration)> {
    let number = |node: &str, wanted: &str| {
        let mut relations = notes.relations.iter().rev();
        let (_, name, value) = relations.find(|(by, name, _)| by == node && name == wanted)?;
        context.definitions.resolve(name, value).ok().as_ref().and_then(attribute::number)
    };
    let mut nodes: Vec<&str> = notes.relations.iter().map(|(node, _, _)| node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let time = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).ok();
    let of_nodes = nodes.into_iter().filter_map(|node| {
        let watched = number(node, "GenSigTimeoutMsg").filter(|id| *id > 0.0);
        let time = number(node, "GenSigTimeoutTime").and_then(time)?;
        watched.is_none_or(|id| id == message.id as f64).then(|| (Some(context.node(node)), time))
    });
    of_nodes.chain(plain.and_then(attribute::number).and_then(time).map(|time| (None, time))).collect()
}

/// Sorted; of two words for one value the last, as other tools do.
fn table(entries: &[(i128, String)]) -> Vec<(i128, String)> {
    let by_value: std::collections::BTreeMap<i128, &String> =
        entries.iter().map(|(value, word)| (*value, word)).collect();
    by_value.into_iter().map(|(value, word)| (value, word.clone())).collect()
}

/// Pairs of signals compared per message; garbage could have millions.
const MOST_PAIRS: usize = 1 << 20;

/// Signals that share bits in one frame. Each decodes as the file says; only encoding can't have both.
fn overlaps(message: &MessageLine, signals: &[(usize, Signal)], groups: &[Group], report: &mut Report) {
    let masks: Vec<(u16, Vec<u8>)> = signals.iter().map(|(_, signal)| mask(&signal.codec)).collect();
    let links: Vec<Vec<Link>> = groups
        .iter()
        .map(|group| group.conditions.iter().map(|by| (by.selector, by.ranges.clone())).collect())
        .collect();
    let excluded = |a: usize, b: usize| match (links.get(a), links.get(b)) {
        (Some(a), Some(b)) => exclusive(a, b),
        _ => false,
    };
    let mut pairs = 0;
    let mut found: Option<(usize, String)> = None;
    let mut count = 0;
    'all: for (i, ((at, a), mask_a)) in signals.iter().zip(&masks).enumerate() {
        for ((_, b), mask_b) in signals.iter().zip(&masks).take(i) {
            pairs += 1;
            if pairs > MOST_PAIRS {
                break 'all;
            }
            if share_bits(mask_a, mask_b) && !excluded(a.group, b.group) {
                count += 1;
                found.get_or_insert_with(|| (*at, format!("signals {} and {} share bits", b.name, a.name)));
            }
        }
    }
    if let Some((at, text)) = found {
        let more =
            if count > 1 { format!(" (and {} more pairs of {})", count - 1, message.name) } else { String::new() };
        report.warn(at, format!("{text}{more}: both are decoded, encoding refuses to write both"));
    }
}

/// The bytes a signal touches: the first one's number, and in each the bits that belong to it.
pub(super) fn mask(codec: &Codec) -> (u16, Vec<u8>) {
    let first = codec.start / 8;
    let near = Codec::new(codec.start % 8, codec.size, codec.order, codec.kind, 1.0, 0.0).unwrap_or(*codec);
    let mut bytes = vec![0; near.needed_len()];
    near.mask(&mut bytes);
    (first, bytes)
}

pub(super) fn share_bits((first_a, a): &(u16, Vec<u8>), (first_b, b): &(u16, Vec<u8>)) -> bool {
    let (low, high, skip) = if first_a <= first_b { (a, b, first_b - first_a) } else { (b, a, first_a - first_b) };
    low.iter().skip(skip.into()).zip(high).any(|(x, y)| x & y != 0)
}
