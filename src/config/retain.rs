//! What outlives a restart: `retain`, signals of ours whose last accepted write comes back.

use std::collections::BTreeSet;

use super::arming::signals;
use super::bus::Section;
use super::report::Report;
use super::written::Names;
use crate::diagnostic::Severity;
use crate::plan::{Direction, Plan, TagIndex};

/// Most retained signals of a plant: they are written together, at most once a second.
const MOST: usize = 10_000;

/// Marks the retained tags. After everything that takes rights of writing away.
pub fn connect(plan: &mut Plan, sections: &[Section<'_>], report: &mut Report<'_>) {
    for (at, section) in sections.iter().enumerate().take(plan.buses.len()) {
        let messages = plan.buses[at].messages.clone();
        let path = ["bus", section.name, "retain"];
        let names = match &section.written.retain {
            Names::All => {
                let text = "list what is retained, like \"DriveCommand.SpeedSetpoint\" or \"OvenCommand.*\": what comes back by itself after years should have been meant";
                report.error(&path, text);
                continue;
            }
            Names::List(names) => names,
        };
        for (place, name) in names.iter().enumerate() {
            if report.is_full() {
                break;
            }
            let tags = match signals(plan, messages.clone(), name, section.complete) {
                Ok(tags) => tags,
                Err(mistake) => {
                    mistake.into_iter().for_each(|text| report.element(Severity::Error, &path, Some(place), text));
                    continue;
                }
            };
            let can: Vec<TagIndex> = tags.iter().copied().filter(|tag| refusal(plan, *tag).is_none()).collect();
            // of a whole message what can be retained; of one signal why not
            match (&can[..], name.ends_with(".*")) {
                ([], false) => {
                    let reasons: BTreeSet<String> = tags.iter().filter_map(|tag| refusal(plan, *tag)).collect();
                    for reason in reasons {
                        let text = format!("{name} can't be retained: {reason}");
                        report.element(Severity::Error, &path, Some(place), text);
                    }
                }
                ([], true) => {
                    let text =
                        format!("nothing of {name} can be retained: that takes signals in writable, not multiplexed");
                    report.element(Severity::Error, &path, Some(place), text);
                }
                _ if can.iter().all(|tag| plan.tags[*tag].retained) => {
                    report.element(Severity::Warning, &path, Some(place), format!("{name} is listed twice"));
                }
                _ => {}
            }
            can.into_iter().for_each(|tag| plan.tags[tag].retained = true);
        }
        if plan.tags.iter().filter(|tag| tag.retained).count() > MOST {
            report.error(&path, format!("more than {MOST} signals are retained"));
        }
    }
}

/// Why a tag can't be retained.
fn refusal(plan: &Plan, tag: TagIndex) -> Option<String> {
    let planned = &plan.tags[tag];
    let signal = plan.signal(tag);
    let message = &plan.messages[planned.message];
    if let Some(link) = planned.link {
        return Some(format!("it follows link \"{}\"", plan.links[link].name));
    }
    if let Direction::Input(_) = message.direction {
        return Some(format!("{} is received, not sent", message.message.name));
    }
    if !planned.writable {
        return Some("it is not in writable, so that nobody writes what could be retained".to_owned());
    }
    // what came back would be bits of whatever branch is in the frame then
    if signal.multiplexor || !message.message.groups[signal.group].conditions.is_empty() {
        return Some("it is multiplexed, or chooses the branch of those that are".to_owned());
    }
    None
}
