//! `[interlock.NAME]`: signals that are held at a value while conditions hold.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::arming::{Scalar, raw_value};
use super::bus::Section;
use super::condition::conditions;
use super::report::Report;
use super::tag::{self, Tags};
use super::written::{File, OneOrMore};
use crate::plan::{Bits, Direction, Interlock, Plan, TagIndex};

/// `[interlock.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    pub when: OneOrMore,
    pub set: BTreeMap<String, Scalar>,
}

/// All interlocks, sorted by name.
pub fn interlocks(file: &File, plan: &Plan, sections: &[Section<'_>], report: &mut Report<'_>) -> Vec<Interlock> {
    let tags = Tags::new(plan, sections);
    let mut found = Vec::new();
    for (name, written) in &file.interlock {
        if report.is_full() {
            break;
        }
        let path = |key| ["interlock", name.as_str(), key];
        if written.when.0.is_empty() && !report.is_dropped(&path("when")) {
            let remedy = "add when = \"bus.Message.Signal == 1\"";
            report.error(&path("when"), format!("interlock \"{name}\" has no condition; {remedy}"));
        }
        if written.set.is_empty() && !report.is_dropped(&path("set")) {
            let remedy = "add set = { \"bus.Message.Signal\" = 0 }";
            report.error(&path("set"), format!("interlock \"{name}\" holds nothing; {remedy}"));
        }
        let when = conditions(&written.when, &path("when"), &tags, report);
        for text in when.iter().filter_map(|condition| tag::never_late(plan, condition.tag)) {
            report.warning(&path("when"), text);
        }
        let mut holds: Vec<(TagIndex, Bits)> = Vec::new();
        for (held, value) in &written.set {
            match hold(&tags, held, value, report) {
                Ok((tag, bits)) if holds.iter().all(|(other, _)| *other != tag) => holds.push((tag, bits)),
                Ok(_) => report.error(
                    &["interlock", name, "set", held],
                    format!("{held} is held twice, by its long name and its DBC name"),
                ),
                Err(Some(mistake)) => report.error(&["interlock", name, "set", held], mistake),
                Err(None) => {}
            }
        }
        found.push(Interlock { name: name.clone(), when, holds });
    }
    found
}

/// A signal of ours and the bits it is held at; the mistake in words, or none where it can't be told.
fn hold(tags: &Tags<'_>, name: &str, value: &Scalar, report: &Report<'_>) -> Result<(TagIndex, Bits), Option<String>> {
    let tag = match tags.find(name, report) {
        Ok(named) => named.tag,
        Err(mistake) => return Err(mistake),
    };
    if let Direction::Input(_) = tags.plan.messages[tags.plan.tags[tag].message].direction {
        return Err(Some(format!("{name} is not sent by this controller; an interlock holds what is in transmit")));
    }
    if tags.plan.is_protection(tag) {
        return Err(Some(format!("{name} can't be held: the message's protection writes it with each frame")));
    }
    let raw = raw_value(tags.plan, tag, value).map_err(Some)?;
    let codec = &tags.plan.signal(tag).codec;
    let mut bits = Bits::NONE;
    codec.mask(&mut bits.mask);
    codec.insert(raw, &mut bits.bits).map_err(|error| Some(format!("{name}: {error}")))?;
    Ok((tag, bits))
}
