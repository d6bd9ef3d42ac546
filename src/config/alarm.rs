//! `[alarm.NAME]`: limits of a value, or conditions that should not hold; and what falls back when one is raised.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::bus::Section;
use super::condition;
use super::report::Report;
use super::route::check_name;
use super::suggest::did_you_mean;
use super::tag::{self, Named, Tags};
use super::written::{File, OneOrMore};
use crate::dbc::Signal;
use crate::diagnostic::Severity as Weight;
use crate::plan::{Alarm, Condition, Direction, FallbackOn, Level, Limit, OffNormal, Plan};

const NS_PER_MS: u64 = 1_000_000;
/// A day.
const MAX_DELAY_MS: i64 = 86_400_000;
/// So many can be configured.
const MOST: usize = 10_000;
/// Characters of a text and of an area, at most.
const LONGEST: usize = 200;
/// Severities where none is given (OPC 10000-9, annex B: 201 to 400 medium low, 401 to 600 medium, 601 to 800 medium high).
const SEVERITY: u16 = 500;
const SEVERITY_EXTREME: u16 = 700;

/// `[alarm.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    pub tag: Option<String>,
    pub when: OneOrMore,
    pub hihi: Option<f64>,
    pub hi: Option<f64>,
    pub lo: Option<f64>,
    pub lolo: Option<f64>,
    pub hysteresis: Option<f64>,
    pub on_delay_ms: Option<i64>,
    pub off_delay_ms: Option<i64>,
    pub exclusive: Option<bool>,
    pub severity: Option<Severity>,
    pub text: Option<String>,
    pub area: Option<String>,
}

/// One for all, or one for each level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    All(i64),
    Each(Severities),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Severities {
    pub hihi: Option<i64>,
    pub hi: Option<i64>,
    pub lo: Option<i64>,
    pub lolo: Option<i64>,
}

// By hand: an untagged enum would lose the place of a wrong one.
impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
        struct SeverityVisitor;
        impl<'de> Visitor<'de> for SeverityVisitor {
            type Value = Severity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a table of them")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Severity, E> {
                Ok(Severity::All(number))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Severity, A::Error> {
                Severities::deserialize(MapAccessDeserializer::new(map)).map(Severity::Each)
            }
        }
        deserializer.deserialize_any(SeverityVisitor)
    }
}

/// Fills in all alarms of the configuration, and which outputs fall back on them, once the outputs are there.
pub fn connect(plan: &mut Plan, file: &File, sections: &[Section<'_>], report: &mut Report<'_>) {
    if file.alarm.len() > MOST {
        return report.error(&["alarm"], format!("more than {MOST} alarms"));
    }
    let tags = Tags::new(plan, sections);
    let (mut limits, mut off_normals) = (Vec::new(), Vec::new());
    for (name, written) in &file.alarm {
        if report.is_full() {
            break;
        }
        check_name("alarm", name, report);
        let mut alarm = Checked { name, written, tags: &tags, report };
        match (&written.tag, written.when.0.is_empty()) {
            (Some(_), false) => alarm.error("when", "keep one of the two, tag (with limits) or when".into()),
            (Some(tag), true) => limits.extend(alarm.limit(tag)),
            (None, false) => off_normals.push(alarm.off_normal()),
            (None, true) => alarm.nothing(),
        }
    }
    (plan.limits, plan.off_normals) = (limits, off_normals);
    fallbacks(plan, file, sections, report);
}

/// One section, and who hears what is wrong with it.
struct Checked<'a, 'r, 'd> {
    name: &'a str,
    written: &'a Written,
    tags: &'a Tags<'a>,
    report: &'r mut Report<'d>,
}

impl Checked<'_, '_, '_> {
    fn error(&mut self, key: &str, text: String) {
        self.report.error(&["alarm", self.name, key], text);
    }

    fn is_dropped(&self, key: &str) -> bool {
        self.report.is_dropped(&["alarm", self.name, key])
    }

    fn nothing(&mut self) {
        if !self.is_dropped("tag") && !self.is_dropped("when") {
            let remedy = "add tag = \"bus.Message.Signal\" and hi = 80, or when = \"bus.Message.Signal == 1\"";
            self.error("tag", format!("alarm \"{}\" looks at nothing; {remedy}", self.name));
        }
    }

    fn limit(&mut self, tag: &str) -> Option<Limit> {
        let named = match self.tags.find(tag, self.report) {
            Ok(named) => Some(named),
            Err(mistake) => {
                mistake.into_iter().for_each(|text| self.error("tag", text));
                None
            }
        };
        let written = self.written;
        let limits = [written.lolo, written.lo, written.hi, written.hihi];
        let given = || Level::ALL.into_iter().filter_map(|level| Some((level, limits[level.index()]?)));
        if given().next().is_none() && !Level::ALL.iter().any(|level| self.is_dropped(level.word())) {
            self.error("hi", format!("alarm \"{}\" has no limit; add one of hihi, hi, lo and lolo", self.name));
        }
        let mut finite = true;
        for (level, limit) in given().filter(|(_, limit)| !limit.is_finite()) {
            self.error(level.word(), format!("{} is no number: {limit}", level.word()));
            finite = false;
        }
        for ((below, low), (above, high)) in given().zip(given().skip(1)) {
            if low >= high {
                self.error(above.word(), format!("{} must be above {} ({low})", above.word(), below.word()));
                finite = false;
            }
        }
        let hysteresis = written.hysteresis.unwrap_or(0.0);
        if !(hysteresis.is_finite() && hysteresis >= 0.0) {
            let text = "hysteresis is the way back from a limit, in the signal's unit: 0 or more";
            self.error("hysteresis", text.into());
            finite = false;
        }
        if let Some(named) = named.filter(|_| finite) {
            self.reach(named, tag, &limits, hysteresis);
            self.never_late(&named, "tag", None);
        }
        let (on_delay, off_delay) = self.delays();
        let severities = self.severities(&limits);
        Some(Limit {
            name: self.name.to_owned(),
            limits,
            hysteresis,
            on_delay,
            off_delay,
            exclusive: written.exclusive.unwrap_or(true),
            severities,
            text: self.text().unwrap_or_else(|| "the value is beyond its limit".into()),
            area: self.area(),
            tag: named?.tag,
            source_address: named?.source_address,
        })
    }

    /// Limits that the value never reaches, or never leaves.
    fn reach(&mut self, named: Named, name: &str, limits: &[Option<f64>; 4], hysteresis: f64) {
        let signal = self.tags.plan.signal(named.tag);
        let (low, high) = range(signal);
        let unit = if signal.unit.is_empty() { String::new() } else { format!(" {}", signal.unit) };
        for level in Level::ALL {
            let Some(limit) = limits[level.index()] else { continue };
            let (word, high_level) = (level.word(), matches!(level, Level::Hi | Level::HiHi));
            let (never, always, back) = match high_level {
                true => (limit > high, limit <= low, limit - hysteresis),
                false => (limit < low, limit >= high, limit + hysteresis),
            };
            let than = if high_level { "or more" } else { "or less" };
            let text = match (never, always) {
                (true, _) => format!("{name} is never {limit}{unit} {than}: it goes from {low} to {high}"),
                (_, true) => format!("{name} is always {limit}{unit} {than}: it goes from {low} to {high}"),
                _ if high_level && back < low || !high_level && back > high => {
                    let text = format!(
                        "with this hysteresis {word} ends at {back}{unit}, and {name} goes from {low} to {high}"
                    );
                    self.error("hysteresis", text);
                    continue;
                }
                _ => continue,
            };
            self.error(word, text);
        }
    }

    fn off_normal(&mut self) -> OffNormal {
        let written = self.written;
        for (key, given) in [
            ("hihi", written.hihi.is_some()),
            ("hi", written.hi.is_some()),
            ("lo", written.lo.is_some()),
            ("lolo", written.lolo.is_some()),
            ("hysteresis", written.hysteresis.is_some()),
            ("exclusive", written.exclusive.is_some()),
        ] {
            if given {
                self.error(key, format!("{key} belongs to an alarm with tag, and this one has when"));
            }
        }
        let path = ["alarm", self.name, "when"];
        let when = condition::of_all(&written.when, &path, self.tags, self.report);
        for (place, condition) in when.iter().enumerate() {
            let named = Named { tag: condition.tag, source_address: condition.source_address };
            self.never_late(&named, "when", Some(place));
        }
        let (on_delay, off_delay) = self.delays();
        let severity = match written.severity {
            None => SEVERITY,
            Some(Severity::All(severity)) => self.severity(&["severity"], severity),
            Some(Severity::Each(_)) => {
                self.error("severity", "an alarm with when has one severity, like severity = 500".into());
                SEVERITY
            }
        };
        OffNormal {
            name: self.name.to_owned(),
            text: self.text().unwrap_or_else(|| words(self.tags.plan, &when)),
            when,
            on_delay,
            off_delay,
            severity,
            area: self.area(),
        }
    }

    /// A device that stays away leaves the alarm as it is: something must say that it stays away.
    fn never_late(&mut self, named: &Named, key: &str, place: Option<usize>) {
        if let Some(text) = tag::never_late(self.tags.plan, named.tag) {
            self.report.element(Weight::Warning, &["alarm", self.name, key], place, text);
        }
    }

    /// Nanoseconds.
    fn delays(&mut self) -> (u64, u64) {
        let written = [("on_delay_ms", self.written.on_delay_ms), ("off_delay_ms", self.written.off_delay_ms)];
        let [on, off] = written.map(|(key, ms)| match ms.unwrap_or(0) {
            ms @ 0..=MAX_DELAY_MS => ms as u64 * NS_PER_MS,
            _ => {
                self.error(key, format!("{key} goes from 0 to {MAX_DELAY_MS} (a day)"));
                0
            }
        });
        (on, off)
    }

    fn severities(&mut self, limits: &[Option<f64>; 4]) -> [u16; 4] {
        let usual = [SEVERITY_EXTREME, SEVERITY, SEVERITY, SEVERITY_EXTREME];
        let each = match self.written.severity {
            None => return usual,
            Some(Severity::All(severity)) => return [self.severity(&["severity"], severity); 4],
            Some(Severity::Each(Severities { hihi, hi, lo, lolo })) => [lolo, lo, hi, hihi],
        };
        let mut severities = usual;
        for level in Level::ALL {
            let Some(severity) = each[level.index()] else { continue };
            let word = level.word();
            if limits[level.index()].is_none() && !self.is_dropped(word) {
                let path = ["alarm", self.name, "severity", word];
                self.report.warning(&path, format!("there is no limit {word}: this severity says nothing"));
            }
            severities[level.index()] = self.severity(&["severity", word], severity);
        }
        severities
    }

    fn severity(&mut self, keys: &[&str], severity: i64) -> u16 {
        u16::try_from(severity).ok().filter(|severity| (1..=1000).contains(severity)).unwrap_or_else(|| {
            let path = [&["alarm", self.name], keys].concat();
            self.report.error(&path, "severity goes from 1 to 1000");
            SEVERITY
        })
    }

    fn text(&mut self) -> Option<String> {
        self.words("text", self.written.text.as_deref())
    }

    fn area(&mut self) -> Option<String> {
        self.words("area", self.written.area.as_deref())
    }

    fn words(&mut self, key: &str, text: Option<&str>) -> Option<String> {
        let text = text?;
        if text.trim().is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            self.error(key, format!("{key} is one line of 1 to {LONGEST} characters"));
        }
        Some(text.to_owned())
    }
}

/// What a signal can say, by its bits and the DBC's range.
fn range(signal: &Signal) -> (f64, f64) {
    let (low, high) = signal.codec.engineering_limits();
    signal.range.map_or((low, high), |(min, max)| (low.max(min), high.min(max)))
}

/// Conditions as the configuration writes them, in one sentence.
fn words(plan: &Plan, when: &[Condition]) -> String {
    let texts: Vec<String> = when.iter().map(|condition| plan.condition_text(condition)).collect();
    texts.join(" and ")
}

/// `fallback_on` of all messages of ours.
fn fallbacks(plan: &mut Plan, file: &File, sections: &[Section<'_>], report: &mut Report<'_>) {
    let mut known: BTreeMap<&str, Alarm> = BTreeMap::new();
    known.extend(plan.limits.iter().enumerate().map(|(at, limit)| (limit.name.as_str(), Alarm::Limit(at))));
    known.extend(plan.off_normals.iter().enumerate().map(|(at, alarm)| (alarm.name.as_str(), Alarm::OffNormal(at))));
    let mut decided = Vec::new();
    for (bus, section) in plan.buses.iter().zip(sections) {
        for (name, over) in &section.written.message {
            // unknown messages have been reported
            let index = super::arming::find_message(plan, bus.messages.clone(), name);
            let Some(index) = index.filter(|_| !over.fallback_on.0.is_empty()) else { continue };
            let path = ["bus", section.name, "message", name.as_str(), "fallback_on"];
            if let Direction::Input(_) = plan.messages[index].direction {
                let text = format!("fallback_on does nothing: {name} is not in transmit; this key is about sending");
                report.warning(&path, text);
                continue;
            }
            let mut on = Vec::new();
            for (place, alarm) in over.fallback_on.0.iter().enumerate() {
                match fallback_on(plan, file, &known, alarm, report) {
                    Ok(found) => on.extend(found),
                    Err(mistake) => report.element(Weight::Error, &path, Some(place), mistake),
                }
            }
            decided.push((index, on));
        }
    }
    for (index, on) in decided {
        if let Direction::Output(transmission) = &mut plan.messages[index].direction {
            transmission.fallback_on = on;
        }
    }
}

/// `NAME`, or `NAME.hihi`; none where the alarm itself is wrong, which has been said.
fn fallback_on(
    plan: &Plan,
    file: &File,
    known: &BTreeMap<&str, Alarm>,
    text: &str,
    report: &Report<'_>,
) -> Result<Option<FallbackOn>, String> {
    let (name, level) = text.split_once('.').map_or((text, None), |(name, level)| (name, Some(level)));
    let Some(alarm) = known.get(name).copied() else {
        if file.alarm.contains_key(name) || report.is_dropped(&["alarm", name]) {
            return Ok(None);
        }
        let hint = did_you_mean(name, file.alarm.keys().map(String::as_str));
        return Err(format!("no alarm \"{name}\"{hint}; alarms are sections [alarm.NAME]"));
    };
    let Some(word) = level else { return Ok(Some(FallbackOn { alarm, state: u8::MAX })) };
    let Alarm::Limit(at) = alarm else {
        return Err(format!("alarm \"{name}\" has no levels; write \"{name}\" alone"));
    };
    let limits = plan.limits[at].limits;
    let given = || Level::ALL.into_iter().filter(|level| limits[level.index()].is_some());
    let Some(level) = given().find(|level| level.word() == word) else {
        let words: Vec<&str> = given().map(Level::word).collect();
        return Err(format!("alarm \"{name}\" has no limit \"{word}\"; it has: {}", words.join(", ")));
    };
    // whoever falls back on high does so on very high
    let worse = match level {
        Level::Hi => Level::HiHi.bit(),
        Level::Lo => Level::LoLo.bit(),
        Level::HiHi | Level::LoLo => 0,
    };
    Ok(Some(FallbackOn { alarm, state: level.bit() | worse }))
}
