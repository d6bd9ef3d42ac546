//! What of a bus is sent and what the plant may write: `transmit`, `writable` and the overrides of single messages.

use std::collections::{BTreeMap, BTreeSet};

use super::bus::{Bus, BusMessage, Section};
use super::reception::{self, reception};
use super::report::Report;
use super::suggest::{did_you_mean, list};
use super::transmission::{CantSend, MAX_REPETITIONS, Sending, sending, stagger};
use super::written::{Names, Override};
use crate::dbc;
use crate::diagnostic::Severity;
use crate::plan::{Direction, Immediate};
use crate::protection::Protection;

/// A day: nothing on a machine waits longer for a frame.
const MAX_MS: i64 = 86_400_000;

/// A message with all that is decided about it.
pub struct Decided {
    pub direction: Direction,
    /// For each signal: may be written, what that sends at once, and whether that is repeated.
    pub tags: Vec<(bool, Immediate, bool)>,
}

/// Decides every message of the bus; the order is that of `bus.messages`.
pub fn decide(
    section: &Section<'_>,
    bus: &Bus<'_>,
    protections: &BTreeMap<usize, Protection>,
    report: &mut Report<'_>,
) -> Vec<Decided> {
    let overrides = check_overrides(section, bus, report);
    let transmitted = check_transmit(section, bus, report);
    let writable = check_writable(section, bus, &transmitted, protections, report);
    let mut decided = Vec::with_capacity(bus.messages.len());
    for (index, entry) in bus.messages.iter().enumerate() {
        let message = &entry.message;
        let over = overrides.get(&index).cloned().unwrap_or_default();
        let received = || Decided {
            direction: Direction::Input(reception(bus, message, &over)),
            tags: vec![(false, Immediate::No, false); message.signals.len()],
        };
        let place = transmitted.get(&index);
        warn_useless(section, message, &over, place.is_some(), report);
        decided.push(match place {
            None => received(),
            Some(place) => match sending(message, &over) {
                Ok(sending) => {
                    check_sending(section, entry, &sending, *place, &writable, index, report);
                    let tags = sending.immediate.iter().enumerate();
                    let tags = tags
                        .map(|(signal, (how, repeated))| (writable.contains_key(&(index, signal)), *how, *repeated))
                        .collect();
                    Decided { direction: Direction::Output(Box::new(sending.transmission)), tags }
                }
                Err(CantSend { reason, by_override }) => {
                    let text = format!("{} can't be sent: {reason}", message.name);
                    if by_override {
                        report.error(&override_path(section, message), text);
                    } else {
                        report.element(Severity::Error, &["bus", section.name, "transmit"], *place, text);
                    }
                    received()
                }
            },
        });
    }
    stagger(decided.iter_mut().filter_map(|decided| match &mut decided.direction {
        Direction::Output(transmission) => Some(&mut **transmission),
        Direction::Input(_) => None,
    }));
    decided
}

/// The overrides by message.
fn check_overrides(section: &Section<'_>, bus: &Bus<'_>, report: &mut Report<'_>) -> BTreeMap<usize, Override> {
    let mut found = BTreeMap::new();
    for (name, over) in &section.written.message {
        if report.is_full() {
            break;
        }
        let path = ["bus", section.name, "message", name.as_str()];
        for (key, value) in [
            ("cycle_ms", over.cycle_ms),
            ("timeout_ms", over.timeout_ms),
            ("branch_timeout_ms", over.branch_timeout_ms),
            ("cycle_fast_ms", over.cycle_fast_ms),
            ("delay_ms", over.delay_ms),
            ("start_delay_ms", over.start_delay_ms),
        ] {
            if value.is_some_and(|ms| !(0..=MAX_MS).contains(&ms)) {
                let [a, b, c, d] = path;
                report.error(&[a, b, c, d, key], format!("{key} goes from 0 to {MAX_MS} (a day)"));
            }
        }
        reception::check(over, path, report);
        let [a, b, c, d] = path;
        if over.stale_ms.is_some_and(|ms| !(1..=MAX_MS).contains(&ms)) {
            report.error(&[a, b, c, d, "stale_ms"], format!("stale_ms goes from 1 to {MAX_MS} (a day)"));
        }
        if over.repetitions.is_some_and(|n| !(0..=i64::from(MAX_REPETITIONS)).contains(&n)) {
            let message = format!("repetitions goes from 0 to {MAX_REPETITIONS}");
            report.error(&[a, b, c, d, "repetitions"], message);
        }
        // written so that NaN is refused too
        if over.budget_ms.is_some_and(|ms| !(0.001..=60_000.0).contains(&ms)) {
            report.error(&[a, b, c, d, "budget_ms"], "budget_ms goes from 0.001 to 60000");
        }
        let Some(index) = bus.find(name) else {
            if section.complete {
                report.error(&path, unknown_message(bus, name));
            }
            continue;
        };
        if found.insert(index, over.clone()).is_some() {
            let long = &bus.messages[index].message.name;
            report.error(&path, format!("{long} has two sections, by its long name and by its DBC name"));
        }
    }
    found
}

/// Keys of an override that do nothing.
fn warn_useless(section: &Section<'_>, message: &dbc::Message, over: &Override, sent: bool, report: &mut Report<'_>) {
    let keys: &[(&str, bool)] = if sent {
        &[
            ("timeout_ms", over.timeout_ms.is_some()),
            ("branch_timeout_ms", over.branch_timeout_ms.is_some()),
            ("expected_when", !over.expected_when.0.is_empty()),
            ("shortest_interval_ms", over.shortest_interval_ms.is_some()),
        ]
    } else {
        reception::warn_useless(over, override_path(section, message), message, report);
        &[
            ("cycle_ms", over.cycle_ms.is_some()),
            ("send", over.send.is_some()),
            ("cycle_fast_ms", over.cycle_fast_ms.is_some()),
            ("repetitions", over.repetitions.is_some()),
            ("delay_ms", over.delay_ms.is_some()),
            ("start_delay_ms", over.start_delay_ms.is_some()),
            ("stale_ms", over.stale_ms.is_some()),
            ("budget_ms", over.budget_ms.is_some()),
        ]
    };
    let what = if sent { "sent; this key is about receiving" } else { "not in transmit; this key is about sending" };
    for (key, _) in keys.iter().filter(|(_, written)| *written) {
        let [bus, name, section, message_name] = override_path(section, message);
        let path = [bus, name, section, message_name, key];
        report.warning(&path, format!("{key} does nothing: {} is {what}", message.name));
    }
}

/// Where the message's own section is: under its long name or its DBC name.
fn override_path<'a>(section: &Section<'a>, message: &'a dbc::Message) -> [&'a str; 4] {
    let long = section.written.message.contains_key(&message.name);
    ["bus", section.name, "message", if long { &message.name } else { &message.dbc_name }]
}

/// The messages to send, each with its place in the list (none for "all").
fn check_transmit(section: &Section<'_>, bus: &Bus<'_>, report: &mut Report<'_>) -> BTreeMap<usize, Option<usize>> {
    let path = ["bus", section.name, "transmit"];
    let mut transmitted = BTreeMap::new();
    if section.written.transmit.is_empty() {
        return transmitted;
    }
    if section.written.node.is_none() {
        if !report.is_dropped(&["bus", section.name, "node"]) {
            report.error(&path, "transmit needs node: the name that the DBC file has for this controller (BU_)");
        }
        return transmitted;
    }
    // without a known node nothing more can be said
    let Some(node) = &bus.node else { return transmitted };
    let ours = || bus.messages.iter().filter(|entry| bus.ours(&entry.message)).map(|entry| entry.message.name.as_str());
    match &section.written.transmit {
        Names::All => {
            let indices = bus.messages.iter().enumerate().filter(|(_, entry)| bus.ours(&entry.message));
            transmitted.extend(indices.map(|(index, _)| (index, None)));
            if transmitted.is_empty() && section.complete {
                report.warning(&path, format!("nothing is sent: the DBC files have no message that {node} sends"));
            }
        }
        Names::List(names) => {
            for (place, name) in names.iter().enumerate() {
                if report.is_full() {
                    break;
                }
                if let Some(messages) = bus.instance(name) {
                    let of_ours = messages.filter(|index| bus.ours(&bus.messages[*index].message));
                    let before = transmitted.len();
                    transmitted.extend(of_ours.map(|index| (index, Some(place))));
                    if transmitted.len() == before {
                        let text = format!("{name} is nothing: {node} sends no message of this device");
                        report.element(Severity::Warning, &path, Some(place), text);
                    }
                    continue;
                }
                let mistake = match bus.find(name) {
                    None if !section.complete => continue,
                    None if name == "all" || name == "*" => "to send all messages write transmit = \"all\"".to_owned(),
                    None => unknown_message(bus, name),
                    Some(index) if !bus.ours(&bus.messages[index].message) => {
                        let senders = &bus.messages[index].message.senders;
                        let theirs = match senders.is_empty() {
                            true => format!("{name} has no sender in the DBC file"),
                            false => format!("{name} is sent by {}", list(senders.iter().map(String::as_str))),
                        };
                        format!("{theirs}, not by {node}; {node} sends: {}", or_nothing(list(ours())))
                    }
                    Some(index) => {
                        if transmitted.insert(index, Some(place)).is_some() {
                            report.element(Severity::Warning, &path, Some(place), format!("{name} is listed twice"));
                        }
                        continue;
                    }
                };
                report.element(Severity::Error, &path, Some(place), mistake);
            }
        }
    }
    transmitted
}

fn or_nothing(list: String) -> String {
    if list.is_empty() { "nothing".into() } else { list }
}

pub fn unknown_message(bus: &Bus<'_>, name: &str) -> String {
    let names = bus.messages.iter().map(|entry| entry.message.name.as_str());
    format!("no message \"{name}\" in the DBC files of this bus{}", did_you_mean(name, names))
}

/// What the plant may write: (message, signal) with the place in the list (none for "all").
type Writable = BTreeMap<(usize, usize), Option<usize>>;

fn check_writable(
    section: &Section<'_>,
    bus: &Bus<'_>,
    transmitted: &BTreeMap<usize, Option<usize>>,
    protections: &BTreeMap<usize, Protection>,
    report: &mut Report<'_>,
) -> Writable {
    let path = ["bus", section.name, "writable"];
    let mut writable = Writable::new();
    let protected = |index: usize, signal: usize| {
        protections.get(&index).is_some_and(|protection| protection.signals.contains(&signal))
    };
    let all = |index: usize| {
        let signals = (0..bus.messages[index].message.signals.len()).map(move |signal| (index, signal));
        signals.filter(|(index, signal)| !protected(*index, *signal))
    };
    let names = match &section.written.writable {
        Names::All => {
            writable.extend(transmitted.keys().flat_map(|index| all(*index)).map(|at| (at, None)));
            let unclear = !section.complete || report.is_dropped(&["bus", section.name, "transmit"]);
            if writable.is_empty() && !unclear && section.written.transmit.is_empty() {
                report.warning(&path, "nothing can be written, because nothing is in transmit");
            }
            return writable;
        }
        Names::List(names) => names,
    };
    for (place, name) in names.iter().enumerate() {
        if report.is_full() {
            break;
        }
        if let Some(messages) = name.strip_suffix(".*").and_then(|name| bus.instance(name)) {
            let sent = messages.filter(|index| transmitted.contains_key(index));
            let before = writable.len();
            writable.extend(sent.flat_map(all).map(|at| (at, Some(place))));
            if writable.len() == before && section.complete {
                let text = format!("{name} is nothing: no message of this device is in transmit");
                report.element(Severity::Warning, &path, Some(place), text);
            }
            continue;
        }
        match find_signals(section, bus, transmitted, name, report) {
            Ok((index, mut signals)) => {
                if !name.ends_with(".*") && signals.iter().any(|signal| protected(index, *signal)) {
                    let message = &bus.messages[index].message.name;
                    let text = format!(
                        "{name} can't be written: [bus.{}.protection.{message}] writes it with each frame",
                        section.name
                    );
                    report.element(Severity::Error, &path, Some(place), text);
                }
                signals.retain(|signal| !protected(index, *signal));
                let before = writable.len();
                writable.extend(signals.iter().map(|signal| ((index, *signal), Some(place))));
                if writable.len() == before && !signals.is_empty() {
                    report.element(Severity::Warning, &path, Some(place), format!("{name} is listed twice"));
                }
            }
            Err(Some(mistake)) => report.element(Severity::Error, &path, Some(place), mistake),
            Err(None) => {}
        }
    }
    writable
}

/// The message and the signals that an entry of `writable` means; the mistake in words, or none where it can't be told.
fn find_signals(
    section: &Section<'_>,
    bus: &Bus<'_>,
    transmitted: &BTreeMap<usize, Option<usize>>,
    name: &str,
    report: &Report<'_>,
) -> Result<(usize, BTreeSet<usize>), Option<String>> {
    let Some((message_name, signal_name)) = name.split_once('.') else {
        return Err(Some(match bus.find(name) {
            Some(_) => format!("\"{name}\" is a message; write \"{name}.SIGNAL\", or \"{name}.*\" for all its signals"),
            None if name == "all" || name == "*" => "to make all writable write writable = \"all\"".to_owned(),
            None => format!("\"{name}\" is not of the form Message.Signal"),
        }));
    };
    let Some(index) = bus.find(message_name) else {
        return Err(section.complete.then(|| unknown_message(bus, message_name)));
    };
    let message = &bus.messages[index].message;
    let signals: BTreeSet<usize> = if signal_name == "*" {
        (0..message.signals.len()).collect()
    } else {
        let long = message.signals.iter().position(|signal| signal.name == signal_name);
        let found = long.or_else(|| message.signals.iter().position(|signal| signal.dbc_name == signal_name));
        let Some(found) = found else {
            let hint = did_you_mean(signal_name, message.signals.iter().map(|signal| signal.name.as_str()));
            return Err(Some(format!("{message_name} has no signal \"{signal_name}\"{hint}")));
        };
        [found].into()
    };
    if transmitted.contains_key(&index) {
        return Ok((index, signals));
    }
    let node_unclear = bus.node.is_none() && (section.written.node.is_some() || !section.written.transmit.is_empty());
    if node_unclear || report.is_dropped(&["bus", section.name, "transmit"]) {
        return Err(None);
    }
    let reason = if bus.node.is_none() {
        "nothing is sent on this bus; that takes node and transmit".to_owned()
    } else if bus.ours(message) {
        format!("{} is not in transmit; add \"{}\" there", message.name, message.name)
    } else {
        let senders = list(message.senders.iter().map(String::as_str));
        let from = if senders.is_empty() { String::new() } else { format!(" from {senders}") };
        format!("{} is received{from}; only what this controller sends can be written", message.name)
    };
    Err(Some(format!("{name} can't be written: {reason}")))
}

/// A message that is sent, checked for what makes no sense.
fn check_sending(
    section: &Section<'_>,
    entry: &BusMessage<'_>,
    sending: &Sending,
    place: Option<usize>,
    writable: &Writable,
    index: usize,
    report: &mut Report<'_>,
) {
    let name = &entry.message.name;
    for warning in &sending.warnings {
        report.dbc(Severity::Warning, entry.parsed, &entry.message, warning);
    }
    if sending.never() {
        let section_name = section.name;
        let what = format!("{name} has neither a cycle time nor a send type in force");
        let remedy =
            format!("add [bus.{section_name}.message.{name}] with cycle_ms = 100, or with send = \"on-write\"");
        let first = writable.range((index, 0)..(index + 1, 0)).next();
        match first {
            Some(((_, signal), written)) => {
                let signal = &entry.message.signals[*signal].name;
                let text = format!("{what}, so a write to {name}.{signal} would never be sent; {remedy}");
                report.element(Severity::Error, &["bus", section_name, "writable"], *written, text);
            }
            None => {
                let text = format!("{what}: it will never be sent; {remedy}");
                report.element(Severity::Warning, &["bus", section_name, "transmit"], place, text);
            }
        }
    } else if sending.transmission.period.is_none() && sending.transmission.active.is_none() && place.is_some() {
        let written = |(signal, (how, _)): (usize, &(Immediate, bool))| {
            *how != Immediate::No && writable.contains_key(&(index, signal))
        };
        if !section.is_linked(&entry.message) && !sending.immediate.iter().enumerate().any(written) {
            let text = format!("{name} is sent only when it is written, and nothing that sends it is in writable");
            report.element(Severity::Warning, &["bus", section.name, "transmit"], place, text);
        }
    }
}
