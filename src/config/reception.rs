//! How the others' messages are awaited: deadlines, conditions under which they come, shortest intervals.

use super::bus::{Bus, Section};
use super::condition::conditions;
use super::report::Report;
use super::tag::Tags;
use super::transmission::{cycle, cyclic};
use super::written::Override;
use crate::dbc;
use crate::plan::{Condition, Direction, MessageIndex, Plan, Reception};

const NS_PER_MS: u64 = 1_000_000;
/// A minute: who wants frames further apart than this means a deadline.
const MAX_INTERVAL_MS: f64 = 60_000.0;

/// What the DBC and the override say about receiving a message, `expected_when` left out.
pub fn reception(bus: &Bus<'_>, message: &dbc::Message, over: &Override) -> Reception {
    Reception {
        deadlines: deadlines(bus, message, over),
        awaited: over.timeout_ms.is_some_and(|ms| ms > 0) && !message.has_sources(),
        expected_when: Vec::new(),
        shortest_interval: over.shortest_interval_ms.map(|ms| (ms * NS_PER_MS as f64).round() as u64),
    }
}

/// For each group of signals, in nanoseconds.
fn deadlines(bus: &Bus<'_>, message: &dbc::Message, over: &Override) -> Vec<Option<u64>> {
    let written = |ms: i64| match ms {
        ..=0 => None,
        ms => Some((ms as u64).saturating_mul(NS_PER_MS)),
    };
    // what is ours and not sent by us is nobody's to be late with
    let by_cycle = || match bus.ours(message) {
        true => None,
        // the conversion saturates
        false => {
            cycle(message).filter(|_| cyclic(message)).map(|cycle| (cycle as f64 * bus.late_factor).round() as u64)
        }
    };
    let groups = 0..message.groups.len();
    let of_group = groups.map(|group| match (group, over.timeout_ms, over.branch_timeout_ms) {
        (0, Some(ms), _) => written(ms),
        (1.., _, Some(ms)) => written(ms),
        (0, None, _) => by_signals(bus, message, 0).or_else(by_cycle),
        // which branches a device goes through, and how fast, is not in the DBC file but for this
        (1.., _, None) => by_signals(bus, message, group),
    });
    of_group.collect()
}

/// The shortest `GenSigTimeoutTime` that our node has for a signal of the group.
fn by_signals(bus: &Bus<'_>, message: &dbc::Message, group: usize) -> Option<u64> {
    if bus.ours(message) {
        return None;
    }
    let signals = message.signals.iter().filter(|signal| signal.group == group);
    let times = signals.filter_map(|signal| signal.timeout(bus.node.as_deref())).filter(|time| !time.is_zero());
    times.min().map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Numbers of an override about receiving that are not possible.
pub fn check(over: &Override, path: [&str; 4], report: &mut Report<'_>) {
    let [a, b, c, d] = path;
    // written so that NaN is refused too
    if over.shortest_interval_ms.is_some_and(|ms| !(0.001..=MAX_INTERVAL_MS).contains(&ms)) {
        let key = "shortest_interval_ms";
        report.error(&[a, b, c, d, key], format!("{key} goes from 0.001 to {MAX_INTERVAL_MS} (a minute)"));
    }
}

/// Keys that make no sense with this received message.
pub fn warn_useless(over: &Override, path: [&str; 4], message: &dbc::Message, report: &mut Report<'_>) {
    let [a, b, c, d] = path;
    if over.branch_timeout_ms.is_some() && message.groups.len() < 2 {
        let key = "branch_timeout_ms";
        report.warning(&[a, b, c, d, key], format!("{key} does nothing: {} is not multiplexed", message.name));
    }
}

/// Fills in what may name tags of other buses, once all buses are there.
pub fn connect(plan: &mut Plan, sections: &[Section<'_>], report: &mut Report<'_>) {
    let mut found: Vec<(MessageIndex, Vec<Condition>)> = Vec::new();
    let tags = Tags::new(plan, sections);
    for (bus, section) in plan.buses.iter().zip(sections) {
        for (name, over) in &section.written.message {
            if over.expected_when.0.is_empty() || report.is_full() {
                continue;
            }
            let path = ["bus", section.name, "message", name, "expected_when"];
            let index = bus.messages.clone().find(|index| {
                let message = &plan.messages[*index].message;
                message.name == *name || message.dbc_name == *name
            });
            // unknown messages have been reported
            let Some(index) = index else { continue };
            let conditions = conditions(&over.expected_when, &path, &tags, report);
            let message = &plan.messages[index];
            if let Some(own) = conditions.iter().find(|condition| plan.tags[condition.tag].message == index) {
                let own = plan.tag_name(own.tag, None);
                report.error(&path, format!("{own} is in the message itself: when it is not sent, nobody can tell"));
            }
            match &message.direction {
                Direction::Input(reception) if reception.deadlines.iter().all(Option::is_none) => {
                    let text = format!("expected_when does nothing: {name} has no deadline; add timeout_ms");
                    report.warning(&path, text);
                }
                Direction::Input(_) => found.push((index, conditions)),
                // said by the warning about keys that do nothing
                Direction::Output(_) => {}
            }
        }
    }
    for (index, conditions) in found {
        let awaited = !plan.messages[index].message.has_sources();
        if let Direction::Input(reception) = &mut plan.messages[index].direction {
            reception.expected_when = conditions;
            reception.awaited = awaited;
        }
    }
}
