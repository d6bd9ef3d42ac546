//! The alarms that are active, each followed by its consequences: what is wrong first, then what that brings with it.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::text;
use crate::command::latch_words;
use crate::plan::{Alarm, AlarmIndex, Level, Plan};
use crate::store::Reader;
use crate::store::layout::Trouble;
use crate::store::reader::AlarmState;

#[derive(Clone, Debug, Serialize)]
pub struct ActiveAlarm {
    #[serde(skip)]
    pub alarm: AlarmIndex,
    /// [`Alarm::key`]: the same after a reload and a restart.
    pub key: String,
    /// [`Alarm::label`].
    pub kind: &'static str,
    pub subject: String,
    pub text: String,
    /// More, where there is more to say.
    pub detail: String,
    /// 1 to 1000, of the state that it has now.
    pub severity: u16,
    /// It is a consequence of another active alarm.
    pub suppressed: bool,
    /// The key of that one; `null`: it is no consequence.
    pub because: Option<String>,
    /// The value that decided, in its signal's unit; `null` where there is none.
    pub value: Option<f64>,
    /// RFC 3339; `null`: the clock was not set then.
    pub since: Option<String>,
    /// How often it was raised since the start of the controller.
    pub count: u64,
    /// What people have done about it, in words; empty where the controller alone is asked, which does not know.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub handled: String,
}

/// All that are active: what is no consequence by severity, the worst first, and behind each what follows from it.
pub fn take(plan: &Plan, reader: &Reader) -> Vec<ActiveAlarm> {
    let states = plan.alarms.iter().enumerate().map(|(index, _)| (index, reader.alarm(index)));
    let active: HashMap<AlarmIndex, AlarmState> = states.filter(|(_, state)| state.active).collect();
    let mut order: Vec<(AlarmIndex, Option<AlarmIndex>)> =
        active.keys().map(|index| (*index, plan.cause(*index, |alarm| Some(active.get(&alarm)?.since)))).collect();
    let rank = |index: AlarmIndex| {
        let state = &active[&index];
        (Reverse(plan.alarms[index].severity_at(plan, state.state)), state.since, index)
    };
    order.sort_by_key(|(index, cause)| (rank(cause.unwrap_or(*index)), cause.is_some(), rank(*index)));
    let shown = order.into_iter().map(|(index, cause)| {
        let (alarm, state) = (plan.alarms[index], &active[&index]);
        ActiveAlarm {
            alarm: index,
            key: alarm.key(plan),
            kind: alarm.label(),
            subject: alarm.subject(plan),
            text: alarm.text(plan).to_owned(),
            detail: detail(plan, alarm, state.state, state.detail, state.value),
            severity: alarm.severity_at(plan, state.state),
            suppressed: cause.is_some(),
            because: cause.map(|cause| plan.alarms[cause].key(plan)),
            value: state.value.is_finite().then_some(state.value),
            since: text::known_time(state.since),
            count: state.count,
            handled: String::new(),
        }
    });
    shown.collect()
}

/// What an alarm has to say beyond its text in this state, for people; empty where that is nothing.
pub fn detail(plan: &Plan, alarm: Alarm, state: u8, detail: u64, value: f64) -> String {
    match alarm {
        Alarm::Fallback(_) | Alarm::NotArmed => latch_words(detail),
        Alarm::BusOff(_) | Alarm::BusErrors(_) => Trouble::from_word(detail).text().into(),
        Alarm::Limit(at) => {
            let limit = &plan.limits[at];
            let (name, signal) = (plan.tag_name(limit.tag, limit.source_address), plan.signal(limit.tag));
            let level = Level::of(state).next().map_or("back", Level::text);
            let unit = if signal.unit.is_empty() { String::new() } else { format!(" {}", signal.unit) };
            format!("{level}: {name} = {}{unit}", text::engineering(signal, value))
        }
        Alarm::OffNormal(_)
        | Alarm::Forced
        | Alarm::Overrun
        | Alarm::TakenBack
        | Alarm::InterfaceGone(_)
        | Alarm::Flapping(_)
        | Alarm::FramesLost(_)
        | Alarm::TransmitDropped(_)
        | Alarm::ForeignSender(_)
        | Alarm::Late(_)
        | Alarm::Protection(_)
        | Alarm::Storm(_)
        | Alarm::Link(_)
        | Alarm::NotRetained => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::http::tests::Example;

    /// Which alarms are active since when; what is shown: key, and the key of the cause.
    type Case = (&'static [(&'static str, u64)], &'static [(&'static str, &'static str)]);

    #[test]
    fn one_bus_off_is_one_alarm_with_its_consequences_below() {
        let cases: [Case; 5] = [
            (&[], &[]),
            (
                &[("late:line.DriveStatus", 2), ("bus_off:line", 1), ("fallback:line.DriveCommand", 1)],
                &[
                    ("bus_off:line", ""),
                    ("fallback:line.DriveCommand", "bus_off:line"),
                    ("late:line.DriveStatus", "bus_off:line"),
                ],
            ),
            // the bus is back, the fallback stays until armed
            (&[("fallback:line.DriveCommand", 1)], &[("fallback:line.DriveCommand", "")]),
            // two that have nothing to do with each other, the worse first
            (&[("bus_errors:line", 1), ("bus_off:cell", 9)], &[("bus_off:cell", ""), ("bus_errors:line", "")]),
            // two causes: the first of them counts
            (
                &[("bus_off:line", 5), ("foreign_sender:line.DriveCommand", 4), ("fallback:line.DriveCommand", 5)],
                &[
                    ("bus_off:line", ""),
                    ("foreign_sender:line.DriveCommand", ""),
                    ("fallback:line.DriveCommand", "foreign_sender:line.DriveCommand"),
                ],
            ),
        ];
        for (active, expected) in cases {
            let mut example = Example::new();
            let plan = example.plan.clone();
            for (key, since) in active {
                let index = plan.alarms.iter().position(|alarm| alarm.key(&plan) == *key);
                example.writer.alarm(index.unwrap_or_else(|| panic!("no {key}")), true, 0, *since);
            }
            let found = take(&plan, &example.plant.view().reader);
            let found: Vec<(&str, &str)> =
                found.iter().map(|alarm| (alarm.key.as_str(), alarm.because.as_deref().unwrap_or(""))).collect();
            assert_eq!(found, expected, "{active:?}");
        }
    }
}
