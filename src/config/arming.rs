//! What outputs say until armed and when something is wrong: fallback values, vital inputs, leases, what may be forced,
//! and how the machine is armed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use super::bus::Section;
use super::condition::conditions;
use super::report::Report;
use super::suggest::{did_you_mean, list};
use super::tag::{self, Tags};
use super::written::{File, Names, OneOrMore, Override};
use crate::can::MAX_LEN;
use crate::command::{self, Value};
use crate::dbc::codec::Kind;
use crate::dbc::{self, Raw};
use crate::diagnostic::Severity;
use crate::plan::{Arm, Direction, Interface, MessageIndex, Plan, TagIndex, Vital, WhenDisarmed};

const NS_PER_MS: u64 = 1_000_000;
/// Nanoseconds that a bus on a wire is listened to before the first frame, unless configured.
const LISTEN: u64 = 200 * NS_PER_MS;
/// A minute.
const MAX_LISTEN_MS: i64 = 60_000;
/// A day.
const MAX_LEASE_MS: i64 = 86_400_000;
/// Seconds after a reload in which missed times take it back, unless configured; and the most.
const RELOAD_TRIAL: u64 = 10;
const MAX_RELOAD_TRIAL: u64 = 60;

/// `[machine]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    pub arm: Option<WrittenArm>,
    pub local_when: OneOrMore,
    pub fallback_on_overrun: bool,
    pub remote_from_plant: bool,
    pub reload_when: OneOrMore,
    pub reload_trial_s: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenArm {
    AtStart,
    ByHand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disarmed {
    Fallback,
    Silent,
}

/// A value as written: a number in the signal's unit, or a word of its value table.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Number(f64),
    Word(String),
}

// By hand: an untagged enum would lose the place of a wrong one.
impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a word of the value table in quotes")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_str<E>(self, word: &str) -> Result<Scalar, E> {
                Ok(Scalar::Word(word.to_owned()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// Fills in who may say what, once all buses and links are there.
pub fn connect(plan: &mut Plan, file: &File, sections: &[Section<'_>], report: &mut Report<'_>) {
    listening(plan, sections, report);
    forcible(plan, sections, report);
    let mut cautious = !file.interlock.is_empty();
    let mut decided = Vec::new();
    let tags = Tags::new(plan, sections);
    for (bus, section) in plan.buses.iter().zip(sections) {
        for (name, over) in &section.written.message {
            if report.is_full() {
                break;
            }
            // unknown messages have been reported
            let Some(index) = find_message(plan, bus.messages.clone(), name) else { continue };
            cautious |= !over.fallback.is_empty();
            decided.push((index, message(&tags, section.name, name, index, over, report)));
        }
    }
    let local_when = conditions(&file.machine.local_when, &["machine", "local_when"], &tags, report);
    let reload_when = conditions(&file.machine.reload_when, &["machine", "reload_when"], &tags, report);
    for (index, decided) in decided {
        if let Direction::Output(transmission) = &mut plan.messages[index].direction {
            transmission.vital = decided.vital;
            transmission.lease = decided.lease;
            transmission.when_disarmed = decided.when_disarmed;
            if let Some(fallback) = decided.fallback {
                transmission.fallback = fallback;
            }
        }
    }
    plan.machine.local_when = local_when;
    plan.machine.reload_when = reload_when;
    plan.machine.reload_trial = trial(file, report) * 1000 * NS_PER_MS;
    plan.machine.fallback_on_overrun = file.machine.fallback_on_overrun;
    plan.machine.remote_from_plant = file.machine.remote_from_plant;
    // who names fallback values or interlocks means that nothing moves by itself
    plan.machine.arm = match file.machine.arm {
        Some(WrittenArm::AtStart) => Arm::AtStart,
        Some(WrittenArm::ByHand) => Arm::ByHand,
        None if cautious => Arm::ByHand,
        None => Arm::AtStart,
    };
    owners(plan, sections, report);
}

/// Seconds.
fn trial(file: &File, report: &mut Report<'_>) -> u64 {
    let written = file.machine.reload_trial_s;
    let seconds = written.map_or(Ok(RELOAD_TRIAL), u64::try_from).ok().filter(|seconds| *seconds <= MAX_RELOAD_TRIAL);
    seconds.unwrap_or_else(|| {
        let message = format!("reload_trial_s goes from 0 (never take a reload back) to {MAX_RELOAD_TRIAL} seconds");
        report.error(&["machine", "reload_trial_s"], message);
        RELOAD_TRIAL
    })
}

/// How long each bus with outputs is listened to.
fn listening(plan: &mut Plan, sections: &[Section<'_>], report: &mut Report<'_>) {
    for (bus, section) in plan.buses.iter_mut().zip(sections) {
        let written = section.written.listen_ms;
        if written.is_some_and(|ms| !(0..=MAX_LISTEN_MS).contains(&ms)) {
            let path = ["bus", section.name, "listen_ms"];
            report.error(&path, format!("listen_ms goes from 0 to {MAX_LISTEN_MS} (a minute)"));
        }
        let sends = plan.messages[bus.messages.clone()].iter().any(|m| matches!(m.direction, Direction::Output(_)));
        bus.listen = match (&bus.interface, written) {
            _ if !sends => 0,
            // nobody else is on a virtual bus
            (Interface::Virtual, None) => 0,
            (Interface::Virtual, _) if plan.simulated => 0,
            (_, Some(ms)) => (ms.max(0) as u64) * NS_PER_MS,
            (Interface::SocketCan(_), None) => LISTEN,
        };
    }
}

/// What an operator may force.
fn forcible(plan: &mut Plan, sections: &[Section<'_>], report: &mut Report<'_>) {
    for (at, section) in sections.iter().enumerate().take(plan.buses.len()) {
        let messages = plan.buses[at].messages.clone();
        let path = ["bus", section.name, "forcible"];
        let names = match &section.written.forcible {
            Names::All => {
                for tag in messages.flat_map(|message| plan.messages[message].tags.clone()) {
                    plan.tags[tag].forcible = !plan.is_protection(tag);
                }
                continue;
            }
            Names::List(names) => names,
        };
        for (place, name) in names.iter().enumerate() {
            if report.is_full() {
                break;
            }
            match signals(plan, messages.clone(), name, section.complete) {
                Ok(tags) => {
                    if !name.ends_with(".*") && tags.iter().any(|tag| plan.is_protection(*tag)) {
                        let text =
                            format!("{name} can't be forced: the message's protection writes it with each frame");
                        report.element(Severity::Error, &path, Some(place), text);
                    }
                    tags.into_iter().for_each(|tag| plan.tags[tag].forcible = !plan.is_protection(tag));
                }
                Err(Some(mistake)) => report.element(Severity::Error, &path, Some(place), mistake),
                Err(None) => {}
            }
        }
    }
}

/// The tags of `Message.Signal` or `Message.*`; the mistake in words, or none where it can't be told.
pub(super) fn signals(
    plan: &Plan,
    messages: std::ops::Range<MessageIndex>,
    name: &str,
    complete: bool,
) -> Result<Vec<TagIndex>, Option<String>> {
    let Some((message_name, signal_name)) = name.split_once('.') else {
        return Err(Some(format!(
            "\"{name}\" is not of the form Message.Signal; for all signals of a message write Message.*"
        )));
    };
    if let Some(tags) = of_instance(plan, messages.clone(), message_name).filter(|_| signal_name == "*") {
        return Ok(tags);
    }
    let Some(index) = find_message(plan, messages.clone(), message_name) else {
        let hint = did_you_mean(message_name, messages.map(|index| plan.messages[index].message.name.as_str()));
        let mistake = format!("no message \"{message_name}\" in the DBC files of this bus{hint}");
        return Err(complete.then_some(mistake));
    };
    let message = &plan.messages[index];
    if signal_name == "*" {
        return Ok(message.tags.clone().collect());
    }
    match find_signal(&message.message, signal_name) {
        Ok(signal) => Ok(vec![message.tags.start + signal]),
        Err(mistake) => Err(Some(mistake)),
    }
}

/// All tags of the device that `pump1_*` means, where there is one of that name.
fn of_instance(plan: &Plan, messages: std::ops::Range<MessageIndex>, pattern: &str) -> Option<Vec<TagIndex>> {
    let name = pattern.strip_suffix("_*")?;
    let of = |instance: usize| plan.instances.get(instance).is_some_and(|instance| instance.name == name);
    let of_device = messages.map(|index| &plan.messages[index]).filter(|message| message.instance.is_some_and(of));
    let tags: Vec<TagIndex> = of_device.flat_map(|message| message.tags.clone()).collect();
    (!tags.is_empty()).then_some(tags)
}

/// What the section of one message says about its arming.
#[derive(Default)]
struct Decided {
    fallback: Option<[u8; MAX_LEN]>,
    when_disarmed: WhenDisarmed,
    vital: Vec<Vital>,
    lease: Option<u64>,
}

fn message(
    tags: &Tags<'_>,
    bus: &str,
    name: &str,
    index: MessageIndex,
    over: &Override,
    report: &mut Report<'_>,
) -> Decided {
    let path = |key| ["bus", bus, "message", name, key];
    let message = &tags.plan.messages[index];
    let Direction::Output(_) = &message.direction else {
        for (key, written) in [
            ("fallback", !over.fallback.is_empty()),
            ("when_disarmed", over.when_disarmed.is_some()),
            ("vital", !over.vital.0.is_empty()),
            ("lease_ms", over.lease_ms.is_some()),
        ] {
            if written {
                let text = format!("{key} does nothing: {name} is not in transmit; this key is about sending");
                report.warning(&path(key), text);
            }
        }
        return Decided::default();
    };
    let mut decided = Decided::default();
    if !over.fallback.is_empty() {
        decided.fallback = fallback(tags.plan, index, &over.fallback, &path("fallback"), report);
    }
    if over.when_disarmed == Some(Disarmed::Silent) {
        decided.when_disarmed = WhenDisarmed::Silent;
        if !over.fallback.is_empty() {
            let text = format!("{name} is not sent while it is not armed, so its fallback values are never sent");
            report.warning(&path("when_disarmed"), text);
        }
    }
    for (place, name) in over.vital.0.iter().enumerate() {
        match vital(tags, name, report) {
            Ok(vital) => {
                if let Some(text) = tag::never_late(tags.plan, vital.tag) {
                    report.element(Severity::Warning, &path("vital"), Some(place), text);
                }
                decided.vital.push(vital);
            }
            Err(Some(mistake)) => report.element(Severity::Error, &path("vital"), Some(place), mistake),
            Err(None) => {}
        }
    }
    if let Some(ms) = over.lease_ms {
        let writable = tags.plan.tags[message.tags.clone()].iter().any(|tag| tag.writable);
        if !(1..=MAX_LEASE_MS).contains(&ms) {
            report.error(&path("lease_ms"), format!("lease_ms goes from 1 to {MAX_LEASE_MS} (a day)"));
        } else if !writable {
            let text = format!("nothing of {name} is in writable, so there is no writer whose lease could run out");
            report.error(&path("lease_ms"), text);
        } else {
            decided.lease = Some(ms as u64 * NS_PER_MS);
        }
    }
    decided
}

/// The payload of named values; start values elsewhere.
fn fallback(
    plan: &Plan,
    index: MessageIndex,
    written: &BTreeMap<String, Scalar>,
    path: &[&str; 5],
    report: &mut Report<'_>,
) -> Option<[u8; MAX_LEN]> {
    let message = &plan.messages[index];
    let (mut values, mut wrong) = (HashMap::new(), false);
    for (name, value) in written {
        let [a, b, c, d, e] = *path;
        let path = [a, b, c, d, e, name.as_str()];
        let raw = find_signal(&message.message, name)
            .and_then(|signal| Ok((signal, raw_value(plan, message.tags.start + signal, value)?)));
        match raw {
            Ok((signal, raw)) => {
                if values.insert(signal, raw).is_some() {
                    report.error(&path, format!("{name} has two fallback values, by its long name and its DBC name"));
                    wrong = true;
                }
            }
            Err(mistake) => {
                report.error(&path, mistake);
                wrong = true;
            }
        }
    }
    if wrong {
        return None;
    }
    let mut values: Vec<(usize, Raw)> = values.into_iter().collect();
    values.sort_by_key(|(signal, _)| *signal);
    match message.message.encode(&values) {
        Ok(bytes) => {
            let mut payload = [0; MAX_LEN];
            payload.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            Some(payload)
        }
        Err(error) => {
            report.error(path, format!("these values can't be in one frame: {error}"));
            None
        }
    }
}

/// A tag, or a message of which only the frames count.
fn vital(tags: &Tags<'_>, name: &str, report: &Report<'_>) -> Result<Vital, Option<String>> {
    let plan = tags.plan;
    let named = match name.split('.').count() {
        2 => {
            // any signal that is in every frame stands for the message
            let Some((bus_name, message_name)) = name.split_once('.') else { return Err(None) };
            let bare = message_name.split('@').next().unwrap_or_default();
            let bus = plan.buses.iter().find(|bus| bus.name == bus_name);
            let index = bus.and_then(|bus| find_message(plan, bus.messages.clone(), bare));
            let signal = index.and_then(|index| {
                let signals = &plan.messages[index].message.signals;
                signals.iter().find(|signal| signal.group == 0).or(signals.first())
            });
            let Some(signal) = signal else {
                // says what is wrong with the names before the signal
                tags.find(&format!("{name}.*"), report).map_err(|mistake| {
                    mistake.map(|text| match index {
                        Some(_) => format!("\"{name}\" has no signals, and can't be vital"),
                        None => text.replacen(".*\"", "\"", 1),
                    })
                })?;
                return Err(None);
            };
            tags.find(&format!("{name}.{}", signal.name), report)?
        }
        _ => tags.find(name, report)?,
    };
    if let Direction::Output(_) = plan.messages[plan.tags[named.tag].message].direction {
        return Err(Some(format!("{name} is sent by this controller; vital is what it must receive")));
    }
    let message = name.split('.').count() == 2;
    Ok(Vital { tag: named.tag, source_address: named.source_address, message })
}

/// Signals that share bits with one that a link owns, or whose write would choose another branch than the link does. The
/// plant does not get them with "all"; named, they are a mistake.
fn owners(plan: &mut Plan, sections: &[Section<'_>], report: &mut Report<'_>) {
    for index in 0..plan.messages.len() {
        let message = &plan.messages[index];
        let all = sections.get(message.bus).is_some_and(|section| section.written.writable == Names::All);
        let tags = message.tags.clone();
        for tag in tags.clone() {
            let Some(link) = plan.tags[tag].link else { continue };
            let bits = bits_of(plan, index, tag);
            for other in tags.clone().filter(|other| *other != tag) {
                let shared = bits_of(plan, index, other).iter().zip(&bits).any(|(one, other)| one & other != 0);
                if !plan.tags[other].writable || !shared {
                    continue;
                }
                // said once, and once is enough
                plan.tags[other].writable = false;
                if !all {
                    let (name, other_name) = (plan.tag_name(tag, None), plan.tag_name(other, None));
                    let text = format!(
                        "{other_name}, which the plant may write (`writable`), shares bits or its selector with {name}; remove one of them"
                    );
                    report.error(&["link", &plan.links[link].name.clone(), "to"], text);
                }
            }
        }
    }
}

/// The bits that a write of a tag changes: its own, and those of the selectors that come with it.
fn bits_of(plan: &Plan, message: MessageIndex, tag: TagIndex) -> [u8; MAX_LEN] {
    let dbc = &plan.messages[message].message;
    let signal = &dbc.signals[plan.tags[tag].signal];
    let mut mask = [0; MAX_LEN];
    signal.codec.mask(&mut mask);
    for condition in &dbc.groups[signal.group].conditions {
        dbc.signals[condition.selector].codec.mask(&mut mask);
    }
    mask
}

/// By long name, else by DBC name.
pub(super) fn find_message(plan: &Plan, messages: std::ops::Range<MessageIndex>, name: &str) -> Option<MessageIndex> {
    let long = messages.clone().find(|index| plan.messages[*index].message.name == name);
    long.or_else(|| messages.clone().find(|index| plan.messages[*index].message.dbc_name == name))
}

/// By long name, else by DBC name.
fn find_signal(message: &dbc::Message, name: &str) -> Result<usize, String> {
    let long = message.signals.iter().position(|signal| signal.name == name);
    let found = long.or_else(|| message.signals.iter().position(|signal| signal.dbc_name == name));
    found.ok_or_else(|| {
        let hint = did_you_mean(name, message.signals.iter().map(|signal| signal.name.as_str()));
        format!("{} has no signal \"{name}\"{hint}", message.name)
    })
}

/// What a tag is set to: in its range, or named by its value table.
pub(super) fn raw_value(plan: &Plan, tag: TagIndex, value: &Scalar) -> Result<Raw, String> {
    let signal = plan.signal(tag);
    let label = match value {
        Scalar::Number(number) => {
            let raw = command::raw_of(plan, tag, Value::Engineering(*number)).map_err(|refusal| refusal.to_string())?;
            return Ok(raw);
        }
        Scalar::Word(label) => label,
    };
    let name = plan.tag_name(tag, None);
    let mut keys = signal.value_table.iter().filter(|(_, word)| word == label).map(|(key, _)| *key);
    let words = || signal.value_table.iter().map(|(_, word)| word.as_str());
    let Some(key) = keys.next() else {
        return Err(match signal.value_table.is_empty() {
            true => format!("{name} has no value table in the DBC file; write a number instead of \"{label}\""),
            false => {
                format!("{name} has no value \"{label}\"{}; it has: {}", did_you_mean(label, words()), list(words()))
            }
        });
    };
    if keys.next().is_some() {
        return Err(format!("{name}: \"{label}\" stands for several values; write the number"));
    }
    let raw = match signal.codec.kind {
        Kind::F32 => Some(Raw::F32((key as f32).to_bits())),
        Kind::F64 => Some(Raw::F64((key as f64).to_bits())),
        kind @ (Kind::Unsigned | Kind::Signed) => Raw::from_i128(kind, key),
    };
    let raw = raw.filter(|raw| signal.codec.check_raw(*raw).is_ok());
    raw.ok_or_else(|| format!("{name} can't have the value of \"{label}\": it has too few bits"))
}
