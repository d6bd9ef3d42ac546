//! Signal links: `[link.NAME]` checked and resolved.

use std::collections::BTreeMap;

use super::bus::Section;
use super::report::Report;
use super::route::check_name;
use super::suggest::{did_you_mean, list};
use super::tag::{self, Named, Tags};
use super::unit::conversion;
use super::written::{self, NumberOrLabel};
use crate::dbc::{self, Raw};
use crate::plan::{Bits, Direction, Immediate, Link, Mapping, Otherwise, Plan, TagIndex, WhenBad};

/// Most links of one plant.
const MAX_LINKS: usize = 10_000;
const MAX_HOLD_MS: i64 = 86_400_000;
const BUDGET_US: u64 = 2000;

/// Fills `plan.links`, and makes them the owners of their targets. `plan` has all its buses.
pub fn connect(plan: &mut Plan, file: &written::File, sections: &[Section<'_>], report: &mut Report<'_>) {
    let mut links: Vec<Link> = Vec::new();
    for (name, written) in &file.link {
        if report.is_full() {
            break;
        }
        if links.len() >= MAX_LINKS {
            report.error(&["link", name], format!("more than {MAX_LINKS} links"));
            break;
        }
        check_name("link", name, report);
        let tags = Tags::new(plan, sections);
        links.extend(Check { name, written, tags }.link(report));
    }
    own(plan, &links, sections, report);
    plan.links = links;
}

/// One link in the making.
struct Check<'a> {
    name: &'a str,
    written: &'a written::Link,
    tags: Tags<'a>,
}

impl Check<'_> {
    fn link(&self, report: &mut Report<'_>) -> Option<Link> {
        let from = self.end("from", self.written.from.as_deref(), report);
        let to = self.end("to", self.written.to.as_deref(), report);
        let from = from.filter(|from| self.is_received(from.tag, report));
        let to = to.filter(|to| self.is_sent(to.tag, report));
        let (from, to) = (from?, to?.tag);
        if let Some(text) = tag::never_late(self.tags.plan, from.tag) {
            report.warning(&["link", self.name, "from"], text);
        }
        let mapping = self.mapping(from.tag, to, report);
        let when_bad = self.when_bad(to, report);
        let with = self.selectors(to, report);
        let budget = match self.written.budget_us {
            None => BUDGET_US,
            Some(us @ 1..=60_000_000) => us as u64,
            Some(us) => {
                let text = format!("budget_us goes from 1 to 60000000; not {us}");
                report.error(&["link", self.name, "budget_us"], text);
                BUDGET_US
            }
        };
        Some(Link {
            name: self.name.to_owned(),
            from: from.tag,
            source_address: from.source_address,
            to,
            mapping: mapping?,
            with: with?,
            when_bad: when_bad?,
            budget: budget * 1000,
        })
    }

    fn error(&self, key: &str, text: impl Into<String>, report: &mut Report<'_>) {
        report.error(&["link", self.name, key], text);
    }

    fn signal(&self, tag: TagIndex) -> &dbc::Signal {
        self.tags.plan.signal(tag)
    }

    fn message(&self, tag: TagIndex) -> &dbc::Message {
        &self.tags.plan.messages[self.tags.plan.tags[tag].message].message
    }

    fn end(&self, key: &str, name: Option<&str>, report: &mut Report<'_>) -> Option<Named> {
        let Some(name) = name else {
            if !report.is_dropped(&["link", self.name, key]) {
                let text = format!("link \"{}\" has no {key}; add {key} = \"bus.Message.Signal\"", self.name);
                report.error(&["link", self.name], text);
            }
            return None;
        };
        match self.tags.find(name, report) {
            Ok(named) => Some(named),
            Err(mistake) => {
                if let Some(mistake) = mistake {
                    self.error(key, mistake, report);
                }
                None
            }
        }
    }

    fn is_received(&self, from: TagIndex, report: &mut Report<'_>) -> bool {
        let plan = self.tags.plan;
        let received = matches!(plan.messages[plan.tags[from].message].direction, Direction::Input(_));
        if !received {
            let name = plan.tag_name(from, None);
            self.error(
                "from",
                format!("{name} is sent by this controller; a link begins at a received signal"),
                report,
            );
        }
        received
    }

    fn is_sent(&self, to: TagIndex, report: &mut Report<'_>) -> bool {
        let plan = self.tags.plan;
        let tag = &plan.tags[to];
        let message = &plan.messages[tag.message];
        let (bus, name) = (&plan.buses[message.bus].name, &message.message.name);
        let text = match &message.direction {
            Direction::Output(_) if plan.is_protection(to) => format!(
                "{} can't be the target of a link: [bus.{bus}.protection.{name}] writes it with each frame",
                self.tags.plan.tag_name(to, None)
            ),
            Direction::Output(transmission) if transmission.period.is_some() || tag.immediate != Immediate::No => {
                return true;
            }
            Direction::Output(_) => format!(
                "{name} would never be sent: it has no cycle time, and no send type that sends this signal; add [bus.{bus}.message.{name}] with cycle_ms = 100, or with send = \"on-change\""
            ),
            Direction::Input(_) => {
                // where the list could not be read, that has been said
                if report.is_dropped(&["bus", bus, "transmit"]) || report.is_dropped(&["bus", bus, "node"]) {
                    return false;
                }
                format!("{name} is not sent: a link ends at a signal of a message that is in transmit of [bus.{bus}]")
            }
        };
        self.error("to", text, report);
        false
    }

    fn mapping(&self, from: TagIndex, to: TagIndex, report: &mut Report<'_>) -> Option<Mapping> {
        let (source, target) = (self.signal(from), self.signal(to));
        let written = self.written;
        let scaled = written.scale.is_some() || written.offset.is_some();
        for (key, number) in [("scale", written.scale), ("offset", written.offset)] {
            if number.is_some_and(|number| !number.is_finite() || key == "scale" && number == 0.0) {
                self.error(key, format!("{key} is a finite number, and scale is not 0"), report);
                return None;
            }
        }
        let source_states = states(source, self.message(from));
        let by_label = !scaled && !source_states.is_empty() && !states(target, self.message(to)).is_empty();
        if by_label {
            return self.by_label(from, to, &source_states, report);
        }
        if let Some(label) = written.labels.keys().next() {
            let text = if scaled {
                "labels and scale: a value goes over by its label or by its number".to_owned()
            } else {
                format!("labels.{label} does nothing: both signals need a value table with integers")
            };
            self.error("labels", text, report);
            return None;
        }
        if scaled {
            return Some(Mapping::Linear {
                scale: written.scale.unwrap_or(1.0),
                offset: written.offset.unwrap_or(0.0),
            });
        }
        let converted = conversion(&source.unit, &target.unit);
        if converted.is_none() {
            let unit = |unit: &str| if unit.is_empty() { "no unit".to_owned() } else { format!("\"{unit}\"") };
            let text = format!(
                "{} has {}, {} has {}, and there is no known conversion: add scale (and offset), so that target = source × scale + offset; scale = 1 where they mean the same",
                self.tags.plan.tag_name(from, None),
                unit(&source.unit),
                self.tags.plan.tag_name(to, None),
                unit(&target.unit)
            );
            self.error("to", text, report);
        }
        converted.map(|(scale, offset)| Mapping::Linear { scale, offset })
    }

    /// Value tables on both sides: the words decide.
    fn by_label(
        &self,
        from: TagIndex,
        to: TagIndex,
        source: &[(i128, &str)],
        report: &mut Report<'_>,
    ) -> Option<Mapping> {
        let target = self.signal(to);
        let labels: &BTreeMap<String, String> = &self.written.labels;
        let mut good = true;
        for (label, wanted) in labels {
            if !source.iter().any(|(_, word)| word == label) {
                let hint = did_you_mean(label, source.iter().map(|(_, word)| *word));
                let name = self.tags.plan.tag_name(from, None);
                report.error(&["link", self.name, "labels", label], format!("{name} has no value \"{label}\"{hint}"));
                good = false;
            }
            if raw_of_label(target, wanted).is_none() {
                let hint = did_you_mean(wanted, target.value_table.iter().map(|(_, word)| word.as_str()));
                let name = self.tags.plan.tag_name(to, None);
                report.error(&["link", self.name, "labels", label], format!("{name} has no value \"{wanted}\"{hint}"));
                good = false;
            }
        }
        let mut table = Vec::new();
        let mut missing = Vec::new();
        for (value, label) in source {
            let wanted = labels.get(*label).map_or(*label, String::as_str);
            match raw_of_label(target, wanted) {
                Some(raw) => table.push((*value, raw)),
                None => missing.push(*label),
            }
        }
        if table.is_empty() {
            let (from, to) = (self.tags.plan.tag_name(from, None), self.tags.plan.tag_name(to, None));
            let text = format!(
                "no value of {from} has the name of a value of {to}; name pairs: labels = {{ Run = \"Running\" }}, or scale = 1 for numbers"
            );
            self.error("to", text, report);
            return None;
        }
        if !missing.is_empty() && good {
            let (from, to) = (self.tags.plan.tag_name(from, None), self.tags.plan.tag_name(to, None));
            let text = format!(
                "{to} has no value with the name of these values of {from}: {}; they count as a source that is not good; labels = {{ ... }} names others",
                list(missing)
            );
            report.warning(&["link", self.name], text);
        }
        good.then_some(Mapping::Table(table))
    }

    fn when_bad(&self, to: TagIndex, report: &mut Report<'_>) -> Option<WhenBad> {
        use written::{Then, WhenBad as Written};
        let written = self.written;
        let when = written.when_bad.unwrap_or(Written::Stop);
        let hold = when == Written::Hold;
        for (key, given, fits) in [
            ("hold_ms", written.hold_ms.is_some(), hold),
            ("then", written.then.is_some(), hold),
            (
                "substitute",
                written.substitute.is_some(),
                when == Written::Substitute || hold && written.then == Some(Then::Substitute),
            ),
        ] {
            if given && !fits && !report.is_dropped(&["link", self.name, "when_bad"]) {
                let text = match key {
                    "substitute" => {
                        "substitute goes with when_bad = \"substitute\", or with then = \"substitute\"".into()
                    }
                    _ => format!("{key} goes with when_bad = \"hold\""),
                };
                self.error(key, text, report);
                return None;
            }
        }
        let plan = self.tags.plan;
        let message = &plan.messages[plan.tags[to].message];
        if message.protection.is_some() && when != Written::Stop {
            let text = format!(
                "{} has a counter or checksum, which is never made over a source that is not good: only \"stop\" is possible",
                message.message.name
            );
            self.error("when_bad", text, report);
            return None;
        }
        Some(match when {
            Written::Stop => WhenBad::At(Otherwise::Stop),
            Written::Substitute => WhenBad::At(self.substitute(to, report)?),
            Written::NotAvailable => WhenBad::At(self.not_available(to, "when_bad", report)?),
            Written::Hold => {
                let time = match written.hold_ms {
                    Some(ms @ 1..=MAX_HOLD_MS) => ms as u64 * 1_000_000,
                    Some(ms) => {
                        let text = format!("hold_ms goes from 1 to {MAX_HOLD_MS} (a day); not {ms}");
                        self.error("hold_ms", text, report);
                        return None;
                    }
                    None if report.is_dropped(&["link", self.name, "hold_ms"]) => return None,
                    None => {
                        let text = "when_bad = \"hold\" needs hold_ms: how long the last good value may stand in";
                        self.error("when_bad", text, report);
                        return None;
                    }
                };
                let then = match written.then.unwrap_or(Then::Stop) {
                    Then::Stop => Otherwise::Stop,
                    Then::Substitute => self.substitute(to, report)?,
                    Then::NotAvailable => self.not_available(to, "then", report)?,
                };
                WhenBad::Hold { time, then }
            }
        })
    }

    fn substitute(&self, to: TagIndex, report: &mut Report<'_>) -> Option<Otherwise> {
        let target = self.signal(to);
        let name = self.tags.plan.tag_name(to, None);
        let raw = match &self.written.substitute {
            None if report.is_dropped(&["link", self.name, "substitute"]) => return None,
            None => Err("the substitute is missing; add substitute = VALUE in the unit of the target".to_owned()),
            Some(NumberOrLabel::Label(label)) => raw_of_label(target, label).ok_or_else(|| {
                let words = || target.value_table.iter().map(|(_, word)| word.as_str());
                format!("{name} has no value \"{label}\"{}", did_you_mean(label, words()))
            }),
            Some(NumberOrLabel::Number(value)) => {
                target.codec.to_raw(*value).map_err(|e| format!("{name}: {e}")).and_then(|raw| {
                    let real = target.codec.engineering(raw);
                    match target.range {
                        Some((min, max)) if !target.in_range(*value) || !target.in_range(real) => {
                            Err(format!("{value} is outside {min}..={max} of {name}"))
                        }
                        _ => Ok(raw),
                    }
                })
            }
        };
        raw.map(Otherwise::Value).map_err(|mistake| self.error("substitute", mistake, report)).ok()
    }

    /// The code with which the target says that there is no value.
    fn not_available(&self, to: TagIndex, key: &str, report: &mut Report<'_>) -> Option<Otherwise> {
        let (target, message) = (self.signal(to), self.message(to));
        let kind = target.codec.kind;
        let named = target.value_table.iter().filter_map(|(value, _)| Raw::from_i128(kind, *value));
        // SAE J1939-71, 5.1: all ones
        let ones = target.codec.raw_limits().and_then(|(_, max)| Raw::from_i128(kind, max));
        let code = named.chain(ones).find(|raw| target.not_available(message, *raw));
        if code.is_none() {
            let name = self.tags.plan.tag_name(to, None);
            let text = format!(
                "{name} has no code for \"not available\": no entry of its value table says SNA or \"not available\", and no J1939 rule gives one"
            );
            self.error(key, text, report);
        }
        code.map(Otherwise::Value)
    }

    /// The selectors that go with a multiplexed target.
    fn selectors(&self, to: TagIndex, report: &mut Report<'_>) -> Option<Bits> {
        let message = self.message(to);
        let group = &message.groups[self.signal(to).group];
        let mut with = Bits::NONE;
        for condition in &group.conditions {
            let selector = &message.signals[condition.selector];
            let only = match condition.ranges[..] {
                [(from, to)] if from == to => Raw::from_i128(selector.codec.kind, from),
                _ => None,
            };
            let start = selector.start_value.unwrap_or(Raw::from_bits(selector.codec.kind, 0));
            let chosen =
                start.as_i128().filter(|start| condition.ranges.iter().any(|(from, to)| (*from..=*to).contains(start)));
            let raw = only.or_else(|| chosen.and_then(|start| Raw::from_i128(selector.codec.kind, start)));
            let set = raw.is_some_and(|raw| selector.codec.insert(raw, &mut with.bits).is_ok());
            if !set || !selector.codec.mask(&mut with.mask) {
                let text = format!(
                    "{} is present for several values of {}, and its start value is none of them: give it one in the DBC file",
                    self.tags.plan.tag_name(to, None),
                    selector.name
                );
                self.error("to", text, report);
                return None;
            }
        }
        Some(with)
    }
}

/// The entries of a value table that name states, without those that say "not available"; none where it names nothing
/// else, as with measured values that have one code.
fn states<'a>(signal: &'a dbc::Signal, message: &dbc::Message) -> Vec<(i128, &'a str)> {
    let entries = signal.value_table.iter().filter_map(|(value, word)| {
        let raw = Raw::from_i128(signal.codec.kind, *value)?;
        (!signal.not_available(message, raw)).then_some((*value, word.trim()))
    });
    entries.collect()
}

/// Spaces around it and the case of letters do not count where no word is exactly the same.
fn raw_of_label(signal: &dbc::Signal, label: &str) -> Option<Raw> {
    let same = signal.value_table.iter().find(|(_, word)| word.trim() == label.trim());
    let near = || signal.value_table.iter().find(|(_, word)| word.trim().eq_ignore_ascii_case(label.trim()));
    let (value, _) = same.or_else(near)?;
    let raw = Raw::from_i128(signal.codec.kind, *value)?;
    signal.codec.check_raw(raw).ok().map(|()| raw)
}

/// Every target has one owner.
fn own(plan: &mut Plan, links: &[Link], sections: &[Section<'_>], report: &mut Report<'_>) {
    let mut taken: Vec<(usize, Bits)> = Vec::new();
    for (index, link) in links.iter().enumerate() {
        let (tag, name) = (&plan.tags[link.to], plan.tag_name(link.to, None));
        if let Some(other) = tag.link.map(|other| &links[other].name) {
            let place = report.document.place_from(&["link", other, "to"], &["link", &link.name, "to"]);
            let text = format!("{name} is already the target of link \"{other}\" ({place}): a signal has one owner");
            report.error(&["link", &link.name, "to"], text);
            continue;
        }
        let message = tag.message;
        let bits = link.with;
        let double = taken
            .iter()
            .find(|(other, theirs)| plan.tags[links[*other].to].message == message && differs(&bits, theirs));
        if let Some((other, _)) = double {
            let text = format!(
                "link \"{}\" needs another multiplexor branch of {}: one frame has one",
                links[*other].name, plan.messages[message].message.name
            );
            report.error(&["link", &link.name, "to"], text);
        }
        taken.push((index, bits));
        let bus = plan.messages[message].bus;
        let selectors: Vec<TagIndex> = selectors_of(plan, link.to).collect();
        let all = sections.get(bus).is_some_and(|section| section.written.writable == written::Names::All);
        if all {
            // "all" is what nobody else owns; other branches can't be chosen any more
            for tag in plan.messages[message].tags.clone() {
                let shared = selectors_of(plan, tag).any(|selector| selectors.contains(&selector));
                if shared || tag == link.to || selectors.contains(&tag) {
                    plan.tags[tag].writable = false;
                }
            }
        }
        for tag in std::iter::once(link.to).chain(selectors) {
            if std::mem::take(&mut plan.tags[tag].writable) {
                let name = &plan.buses[bus].name;
                let place = report.document.place_from(&["bus", name, "writable"], &["link", &link.name, "to"]);
                let text = format!(
                    "{} is in writable of [bus.{name}] ({place}) too: a signal has one owner, the plant or a link",
                    plan.tag_name(tag, None)
                );
                report.error(&["link", &link.name, "to"], text);
            }
            plan.tags[tag].link.get_or_insert(index);
        }
    }
}

/// The selectors of a multiplexed tag.
fn selectors_of(plan: &Plan, tag: TagIndex) -> impl Iterator<Item = TagIndex> {
    let message = &plan.messages[plan.tags[tag].message];
    let signal = &message.message.signals[plan.tags[tag].signal];
    let first = message.tags.start;
    message.message.groups[signal.group].conditions.iter().map(move |condition| first + condition.selector)
}

/// Whether two links want different values in the same selector bits.
fn differs(a: &Bits, b: &Bits) -> bool {
    let bytes = a.mask.iter().zip(a.bits).zip(b.mask.iter().zip(b.bits));
    bytes.into_iter().any(|((mask, bits), (other_mask, other))| mask & other_mask & (bits ^ other) != 0)
}
