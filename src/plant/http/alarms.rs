//! What is wrong and since when, first on the page: alarms that are active, those that are over and wait for somebody, forces.

use std::cmp::Reverse;
use std::fmt::{self, Write};

use serde::Serialize;

use super::page::Escaped;
use super::snapshot::Snapshot;
use crate::plant::Plant;
use crate::plant::figure::Figure;
use crate::plant::text;

/// Most of one kind in an answer. What is left out is counted, and the worst are there.
const MOST: usize = 500;

/// An alarm that is over, and that nobody has acknowledged yet, or confirmed.
#[derive(Debug, Serialize)]
pub struct Over {
    /// The same after a reload and a restart.
    pub key: String,
    pub kind: &'static str,
    pub subject: String,
    pub text: String,
    /// 1 to 1000, the last while it was active.
    pub severity: u16,
    /// RFC 3339: since when it is over; `null`: the clock was not set then.
    pub since: Option<String>,
    /// What people have done about it, in words.
    pub handled: String,
}

/// Adds what people have done about the alarms, which the store does not know, and bounds both lists.
pub fn fill(plant: &Plant, snapshot: &mut Snapshot<'_>) {
    snapshot.alarms_kept = plant.figures.get(Figure::AlarmsUnkept) == 0;
    let active = &mut snapshot.machine.alarms;
    snapshot.alarms_left_out = active.len().saturating_sub(MOST);
    active.truncate(MOST);
    plant.alarms.look(|book| {
        for alarm in active {
            alarm.handled = book.state(&alarm.key).cloned().unwrap_or_default().handled();
        }
        let Some(plan) = book.plan() else { return };
        let mut over: Vec<_> = book.all().filter(|(_, _, state)| state.retain() && !state.is_active()).collect();
        over.sort_by_key(|(index, _, state)| (Reverse(state.severity), state.times.active, *index));
        snapshot.alarms_left_out += over.len().saturating_sub(MOST);
        snapshot.over = over
            .into_iter()
            .take(MOST)
            .filter_map(|(index, key, state)| {
                let alarm = plan.alarms.get(index)?;
                Some(Over {
                    key: key.to_owned(),
                    kind: alarm.label(),
                    subject: alarm.subject(plan),
                    text: alarm.text(plan).to_owned(),
                    severity: state.severity,
                    since: text::known_time(state.times.active),
                    handled: state.handled(),
                })
            })
            .collect();
    });
}

/// A table of all that, with a line that counts it. The script says the same.
pub fn write(page: &mut String, snapshot: &Snapshot<'_>) -> fmt::Result {
    let (active, over, forces) = (&snapshot.machine.alarms, &snapshot.over, &snapshot.machine.forces);
    write!(
        page,
        r#"<div class="sheet wrong">
<table>
<caption id="wrong">{}</caption>
<thead><tr><th>Alarm since</th><th>What</th><th>is wrong</th><th class="number">Severity</th><th class="number">Times</th></tr></thead>
<tbody id="alarms">
"#,
        summary(snapshot),
    )?;
    let since = |time: &Option<String>| time.clone().unwrap_or_else(|| text::UNKNOWN_TIME.into());
    for alarm in active {
        let (looks, arrow) = if alarm.suppressed { ("consequence", "↳ ") } else { ("alarm", "") };
        let detail = if alarm.detail.is_empty() { String::new() } else { format!(" ({})", alarm.detail) };
        let words = format!("{}{detail}{}", alarm.text, dotted(&alarm.handled));
        let what = format!("{arrow}{}", alarm.subject);
        row(page, looks, &since(&alarm.since), &what, &words, &[u64::from(alarm.severity), alarm.count])?;
    }
    for alarm in over {
        let words = format!("over: {}{}", alarm.text, dotted(&alarm.handled));
        row(page, "over", &since(&alarm.since), &alarm.subject, &words, &[u64::from(alarm.severity)])?;
    }
    for force in forces {
        let value = force.value.map_or_else(|| "–".into(), |value| value.to_string());
        let words = format!("forced to {value} for another {:.0} s", force.seconds_left);
        row(page, "forced", "", &force.tag, &words, &[])?;
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}

/// How many of each, so that a long list says at once what it is.
fn summary(snapshot: &Snapshot<'_>) -> String {
    let active = &snapshot.machine.alarms;
    let consequences = active.iter().filter(|alarm| alarm.suppressed).count();
    let counts = [
        (active.len() - consequences, "active"),
        (consequences, "that follow from them"),
        (snapshot.over.len(), "over, to be acknowledged or confirmed"),
        (snapshot.machine.forces.len(), "forced"),
        (snapshot.alarms_left_out, "not shown"),
    ];
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if words.is_empty() { "no alarm".into() } else { format!("Alarms: {}", words.join(" · ")) }
}

fn row(page: &mut String, looks: &str, since: &str, what: &str, words: &str, numbers: &[u64]) -> fmt::Result {
    write!(
        page,
        r#"<tr class="{looks}"><td>{since}</td><td>{}</td><td class="words">{}</td>"#,
        Escaped(what),
        Escaped(words)
    )?;
    for at in 0..2 {
        let number = numbers.get(at).map(u64::to_string).unwrap_or_default();
        write!(page, r#"<td class="number">{number}</td>"#)?;
    }
    page.push_str("</tr>\n");
    Ok(())
}

fn dotted(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" · {words}") }
}

#[cfg(test)]
mod tests {
    use super::super::page::render;
    use super::super::page::tests::{check, page};
    use super::super::snapshot::{Filter, take};
    use super::super::tests::{Example, NOW};
    use super::*;
    use crate::plan::{Alarm, Timed};
    use crate::plant::active::ActiveAlarm;
    use crate::plant::status::Status;
    use crate::store::layout::Latch;

    #[test]
    fn alarms_and_forces_come_first() {
        let mut example = Example::new();
        let quiet = [
            r#"<caption id="wrong">no alarm</caption>"#,
            "outputs not armed · Remote",
            "abababababab</span> since 2026-01-02T03:04:05.250Z",
        ];
        check(&page(&example, ""), &quiet, &[]);
        let plan = example.plan.clone();
        let message = plan.messages.iter().position(|m| m.message.name == "DriveCommand").unwrap();
        let alarm = plan.alarm(Alarm::Fallback(message)).unwrap();
        example.writer.alarm(alarm, true, Latch::Lease as u64, 1_767_323_045_250_000_000);
        example.writer.set_force(0, plan.messages[message].tags.start, NOW + 90_000_000_000, 20);
        example.writer.contract(plan.contract(Timed::Cycle(message)).unwrap(), 1_000_000, 500_000, 1);
        check(
            &page(&example, ""),
            &[
                r#"<caption id="wrong">Alarms: 1 active · 1 forced</caption>"#,
                r#"<tr class="alarm"><td>2026-01-02T03:04:05.250Z</td><td>line.DriveCommand</td>"#,
                "(the plant stopped renewing its lease)",
                r#"<td>line.DriveCommand.Setpoint</td><td class="words">forced to 10 for another 90 s"#,
                "Remote · 1 forced",
                r#"<tr><td>cycle line.DriveCommand</td><td class="number">1.000</td>"#,
            ],
            &[r#"<caption id="wrong">no alarm</caption>"#],
        );
    }

    #[test]
    fn a_long_list_is_bounded_and_says_so() {
        let mut example = Example::new();
        let plan = example.plan.clone();
        let alarm = plan.alarm(Alarm::NotArmed).unwrap();
        example.writer.alarm(alarm, true, 0, 5);
        let (filter, status) = (Filter::from_query(None), Status::new(&plan, &[]).unwrap());
        let view = example.plant.view();
        let mut snapshot = take(&view, &status, &filter, NOW);
        let over = |number: usize| Over {
            key: format!("limit:a{number}"),
            kind: "limit",
            subject: format!("a{number}"),
            text: "<hot>".into(),
            severity: 900,
            since: None,
            handled: "unacknowledged".into(),
        };
        fill(&example.plant, &mut snapshot);
        assert!(snapshot.over.is_empty() && snapshot.alarms_left_out == 0);
        snapshot.over = (0..3).map(over).collect();
        snapshot.alarms_left_out = 7;
        check(
            &render(&snapshot, &filter, "0123"),
            &[
                "Alarms: 1 active · 3 over, to be acknowledged or confirmed · 7 not shown</caption>",
                r#"<tr class="over"><td>time unknown</td><td>a2</td><td class="words">over: &lt;hot&gt; · unacknowledged</td><td class="number">900</td>"#,
            ],
            &["<hot>"],
        );
        let one = snapshot.machine.alarms.remove(0);
        let many = |number: usize| ActiveAlarm { key: format!("a{number}"), ..one.clone() };
        snapshot.machine.alarms = (0..MOST + 2).map(many).collect();
        fill(&example.plant, &mut snapshot);
        assert_eq!((snapshot.machine.alarms.len(), snapshot.alarms_left_out), (MOST, 2));
    }
}
