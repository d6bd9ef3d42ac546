//! The part of `canvoy check` about what outputs say until armed, and what holds them: arming, fallback, interlocks, forces.

use std::fmt::Write;

use super::check::decimal;
use super::milliseconds;
use crate::plan::{Arm, Bits, Comparison, Condition, Direction, MessageIndex, Plan, TagIndex, WhenDisarmed};

/// Appends what a plan with outputs does; nothing for one that only listens.
pub fn describe(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let outputs = || plan.messages.iter().enumerate().filter(|(_, m)| matches!(m.direction, Direction::Output(_)));
    if outputs().next().is_some() {
        let arm = match plan.machine.arm {
            Arm::AtStart => "by themselves at the start; after a crash by hand (canvoy arm)",
            Arm::ByHand => "by hand (canvoy arm); until then the fallback values are sent",
        };
        writeln!(text, "outputs: armed {arm}")?;
        if plan.machine.fallback_on_overrun {
            writeln!(text, "  a cycle that is later than its budget takes its bus to fallback")?;
        }
        for (index, _) in outputs() {
            message(plan, index, text)?;
        }
    }
    if !plan.machine.reload_when.is_empty() {
        writeln!(text, "A reload takes effect while {}", conditions(plan, &plan.machine.reload_when))?;
    }
    if !plan.machine.local_when.is_empty() {
        writeln!(text, "Local while {}, or that can't be told", conditions(plan, &plan.machine.local_when))?;
    }
    if plan.machine.remote_from_plant {
        writeln!(text, "The plant too may switch from Local to Remote")?;
    }
    for interlock in &plan.interlocks {
        let held: Vec<String> = interlock.holds.iter().map(|(tag, bits)| value(plan, *tag, bits)).collect();
        let when = conditions(plan, &interlock.when);
        writeln!(text, "interlock {}: {}, while {when}, or that can't be told", interlock.name, held.join(", "))?;
    }
    let forcible = plan.tags.iter().filter(|tag| tag.forcible).count();
    match forcible {
        0 => Ok(()),
        _ => writeln!(text, "{forcible} of {} signals may be forced", plan.tags.len()),
    }
}

/// One line for a message of which there is something to say.
fn message(plan: &Plan, index: MessageIndex, text: &mut String) -> std::fmt::Result {
    let message = &plan.messages[index];
    let Direction::Output(transmission) = &message.direction else { return Ok(()) };
    let mut parts = Vec::new();
    if transmission.when_disarmed == WhenDisarmed::Silent {
        parts.push("not sent until armed".to_owned());
    } else if transmission.fallback != transmission.start {
        let fallback = &transmission.fallback[..transmission.length];
        let differs = message.tags.clone().filter_map(|tag| {
            let signal = plan.signal(tag);
            let raw = |payload: &[u8]| {
                message.message.group_active(signal.group, payload).then(|| signal.codec.raw(payload)).flatten()
            };
            let raw_fallback = raw(fallback)?;
            let differs = raw(&transmission.start[..transmission.length]) != Some(raw_fallback);
            differs.then(|| format!("{} = {}", signal.name, decimal(signal.codec.engineering(raw_fallback))))
        });
        parts.push(format!("fallback {}", differs.collect::<Vec<_>>().join(", ")));
    }
    if !transmission.vital.is_empty() {
        let names = transmission.vital.iter().map(|vital| match vital.message {
            true => plan.message_name(plan.tags[vital.tag].message, vital.source_address),
            false => plan.tag_name(vital.tag, vital.source_address),
        });
        parts.push(format!("needs {}", names.collect::<Vec<_>>().join(", ")));
    }
    if let Some(lease) = transmission.lease {
        parts.push(format!("must be written again within {} ms", milliseconds(lease)));
    }
    match parts.is_empty() {
        true => Ok(()),
        false => writeln!(text, "  {}: {}", plan.message_name(index, None), parts.join("; ")),
    }
}

fn conditions(plan: &Plan, conditions: &[Condition]) -> String {
    let one = |condition: &Condition| {
        let comparison = match condition.comparison {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
        };
        let name = plan.tag_name(condition.tag, condition.source_address);
        format!("{name} {comparison} {}", decimal(condition.value))
    };
    conditions.iter().map(one).collect::<Vec<_>>().join(" and ")
}

fn value(plan: &Plan, tag: TagIndex, bits: &Bits) -> String {
    let raw = plan.signal(tag).codec.raw(&bits.bits);
    let value = raw.map_or(String::new(), |raw| decimal(plan.signal(tag).codec.engineering(raw)));
    format!("{} = {value}", plan.tag_name(tag, None))
}
