//! The alarms that a configuration names, in words: for `canvoy check` and `canvoy diff`.

use std::fmt::Write;

use super::check::decimal;
use super::milliseconds;
use crate::plan::{Alarm, Direction, FallbackOn, Level, Limit, OffNormal, Plan};

/// Appends one line for each.
pub fn describe(plan: &Plan, text: &mut String) -> std::fmt::Result {
    for limit in &plan.limits {
        writeln!(text, "alarm {}: {}", limit.name, of_limit(plan, limit))?;
    }
    for alarm in &plan.off_normals {
        writeln!(text, "alarm {}: {}", alarm.name, of_off_normal(plan, alarm))?;
    }
    for (index, message) in plan.messages.iter().enumerate() {
        let Direction::Output(transmission) = &message.direction else { continue };
        if !transmission.fallback_on.is_empty() {
            let name = plan.message_name(index, None);
            writeln!(text, "  {name} falls back on {}", fallback_on(plan, &transmission.fallback_on))?;
        }
    }
    Ok(())
}

/// What it looks at, its limits, and how it is raised and ends.
pub fn of_limit(plan: &Plan, limit: &Limit) -> String {
    let given = Level::ALL.into_iter().filter_map(|level| Some((level, limit.limits[level.index()]?)));
    let limits: Vec<String> = given
        .map(|(level, at)| {
            let severity = limit.severities[level.index()];
            format!("{} {} (severity {severity})", level.word(), decimal(at))
        })
        .collect();
    let mut parts = vec![plan.tag_name(limit.tag, limit.source_address) + " " + &limits.join(", ")];
    if limit.hysteresis > 0.0 {
        parts.push(format!("hysteresis {}", decimal(limit.hysteresis)));
    }
    if !limit.exclusive {
        parts.push("levels together".to_owned());
    }
    rest(parts, limit.on_delay, limit.off_delay, &limit.text, limit.area.as_deref())
}

/// Its conditions, and how it is raised and ends.
pub fn of_off_normal(plan: &Plan, alarm: &OffNormal) -> String {
    let when: Vec<String> = alarm.when.iter().map(|when| plan.condition_text(when)).collect();
    let parts = vec![format!("while {} (severity {})", when.join(" and "), alarm.severity)];
    rest(parts, alarm.on_delay, alarm.off_delay, &alarm.text, alarm.area.as_deref())
}

/// The names of the alarms that an output falls back on, as a configuration writes them.
pub fn fallback_on(plan: &Plan, on: &[FallbackOn]) -> String {
    let name = |on: &FallbackOn| {
        let name = match on.alarm {
            Alarm::Limit(_) | Alarm::OffNormal(_) => on.alarm.subject(plan),
            _ => on.alarm.key(plan),
        };
        // whoever names high means very high too: the lowest of them is what is written
        let level =
            [Level::Hi, Level::Lo, Level::HiHi, Level::LoLo].into_iter().find(|level| on.state & level.bit() != 0);
        match level {
            Some(level) if on.state != u8::MAX => format!("{name}.{}", level.word()),
            _ => name,
        }
    };
    on.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn rest(mut parts: Vec<String>, on: u64, off: u64, text: &str, area: Option<&str>) -> String {
    if on > 0 {
        parts.push(format!("after {} ms", milliseconds(on)));
    }
    if off > 0 {
        parts.push(format!("ends after {} ms", milliseconds(off)));
    }
    parts.extend(area.map(|area| format!("area {area}")));
    parts.push(format!("\"{text}\""));
    parts.join("; ")
}
