//! `[role.NAME]`: who has which role, and what that is narrowed to.

use std::path::Path;

use super::bus::Section;
use super::report::Report;
use super::suggest::{did_you_mean, list};
use super::written::File;
use crate::diagnostic::Severity;
use crate::plan::Plan;
use crate::plant::access::rights::{Part, Unknown};
use crate::plant::access::role::{Config, Configs, Role, are_given, fits, thumbprint};

/// Longest name of a user or an application.
const MOST_NAME: usize = 256;

/// All that is said about roles, checked.
pub fn roles(file: &File, plan: &Plan, sections: &[Section<'_>], report: &mut Report<'_>) -> Configs {
    let mut configs = Configs::new();
    for (name, config) in &file.role {
        let Some(role) = Role::named(name) else {
            let hint = did_you_mean(name, Role::ALL.map(Role::name));
            let known = list(Role::ALL.map(Role::name));
            report.error(&["role", name], format!("there is no role \"{name}\"{hint}; the roles are {known}"));
            continue;
        };
        identities(role, config, report);
        let seen = part(role, "see", config.see.as_deref(), plan, sections, report);
        let written = part(role, "write", config.write.as_deref(), plan, sections, report);
        if config.write.is_some() && !role.changes_machine() {
            let remedy = "take write out, or give its users the role Operator or Engineer";
            report.error(&["role", name, "write"], format!("the role {name} changes nothing of the machine; {remedy}"));
        }
        if let (Some(seen), Some(written)) = (&seen, &written) {
            hidden(name, config, seen, written, plan, report);
        }
        configs.insert(role, config.clone());
    }
    let anybody = |config: &Config| {
        !config.users.is_empty() || !config.certificates.is_empty() || !config.applications.is_empty()
    };
    if are_given(&configs) && !configs.values().any(anybody) {
        let message = "nobody has a role: whoever logs in may only read; add users = [\"NAME\"] to a role";
        report.warning(&["role"], message);
    }
    configs
}

/// Whether somebody can log in by each of the names. `users`: those in the users file.
pub fn check_users(configs: &Configs, users: &[String], file: &Path, report: &mut Report<'_>) {
    let file = file.display();
    for (role, config) in configs.iter().filter(|(role, _)| role.is_given()) {
        for (index, name) in config.users.iter().enumerate() {
            if users.iter().any(|user| fits(name, user)) {
                continue;
            }
            let hint = did_you_mean(name, users.iter().map(String::as_str));
            let remedy = match name.contains('*') {
                true => format!("no user in {file} fits"),
                false => format!("no user in {file}{hint}; `canvoy user add {file} {name}` adds one"),
            };
            let message = format!("\"{name}\": {remedy}; only a user certificate with that name could have the role");
            report.element(Severity::Warning, &["role", role.name(), "users"], Some(index), message);
        }
    }
}

/// Who has the role.
fn identities(role: Role, config: &Config, report: &mut Report<'_>) {
    let name = role.name();
    let lists =
        [("users", &config.users), ("certificates", &config.certificates), ("applications", &config.applications)];
    for (key, list) in lists {
        let path = ["role", name, key];
        if !role.is_given() && !list.is_empty() {
            let who = if role == Role::Anonymous { "who shows nothing" } else { "who logs in and has no other role" };
            report.error(&path, format!("{name} is {who}: it can't be given; use another role"));
            continue;
        }
        for (index, text) in list.iter().enumerate() {
            let mut say = |message: String| report.element(Severity::Error, &path, Some(index), message);
            if list.get(..index).unwrap_or_default().contains(text) {
                say(format!("\"{text}\" is listed twice"));
            } else if text.is_empty() || text.len() > MOST_NAME {
                say(format!("a name has 1 to {MOST_NAME} bytes"));
            } else if key == "certificates" && thumbprint(text).is_none() {
                say(format!("\"{text}\" is no thumbprint: 40 hexadecimal digits, as `canvoy cert list` shows them"));
            } else if key == "applications" && text.contains('*') {
                say(format!("\"{text}\": an ApplicationUri is written out, without *"));
            }
        }
    }
    if role.is_given() && config.users.iter().any(|user| user == "*") && role != Role::Observer {
        report.warning(&["role", name, "users"], format!("everybody who logs in is {name}"));
    }
}

/// What a list names; `None`: everything, or it names what is not there.
fn part(
    role: Role,
    key: &str,
    list: Option<&[String]>,
    plan: &Plan,
    sections: &[Section<'_>],
    report: &mut Report<'_>,
) -> Option<Part> {
    let list = list?;
    let mut part = Part::nothing(plan);
    let mut whole = true;
    let path = ["role", role.name(), key];
    for (index, text) in list.iter().enumerate() {
        if list.get(..index).unwrap_or_default().contains(text) {
            report.element(Severity::Error, &path, Some(index), format!("\"{text}\" is listed twice"));
            continue;
        }
        let before = part.clone();
        match part.add(plan, text) {
            Ok(()) if key == "write" => {
                if let Some(message) = useless(text, &before, &part, plan) {
                    report.element(Severity::Warning, &path, Some(index), message);
                }
            }
            Ok(()) => {}
            Err(unknown) => {
                whole = false;
                if let Some(message) = mistake(text, &unknown, plan, sections, report) {
                    report.element(Severity::Error, &path, Some(index), message);
                }
            }
        }
    }
    whole.then_some(part)
}

/// Why an element of `write` changes nothing.
fn useless(text: &str, before: &Part, after: &Part, plan: &Plan) -> Option<String> {
    if after == before {
        // `machine` once is enough, and so is what is within another
        return Some(format!("\"{text}\" adds nothing to what is listed before it"));
    }
    let named = after.tags.iter().zip(&before.tags).enumerate().filter(|(_, (after, before))| **after && !**before);
    let mut named = named.map(|(tag, _)| tag).peekable();
    named.peek()?;
    let can = |tag: usize| plan.tags.get(tag).is_some_and(|tag| tag.writable || tag.forcible);
    let remedy = "add what may be written to writable of its bus";
    (!named.any(can)).then(|| format!("\"{text}\": nothing of it may be written or forced by anybody; {remedy}"))
}

/// What may be written and is not seen.
fn hidden(name: &str, config: &Config, seen: &Part, written: &Part, plan: &Plan, report: &mut Report<'_>) {
    let tags = written.tags.iter().zip(&seen.tags).enumerate();
    let mut tags = tags.filter(|(_, (written, seen))| **written && !**seen).map(|(tag, _)| tag);
    let Some(first) = tags.next() else { return };
    // of a whole bus few may be written at all
    let Some(first) =
        std::iter::once(first).chain(tags).find(|tag| plan.tags.get(*tag).is_some_and(|tag| tag.writable))
    else {
        return;
    };
    let tag = plan.tag_name(first, None);
    let at = config.write.as_ref().and_then(|list| {
        list.iter().position(|text| {
            let mut part = Part::nothing(plan);
            part.add(plan, text).is_ok() && part.tags.get(first) == Some(&true)
        })
    });
    let message = format!("the role {name} may not see {tag}, so it can't write it; add it to see");
    report.element(Severity::Warning, &["role", name, "write"], at, message);
}

/// What is wrong with an element, with what was meant; `None`: a file of its bus could not be read.
fn mistake(
    text: &str,
    unknown: &Unknown,
    plan: &Plan,
    sections: &[Section<'_>],
    report: &Report<'_>,
) -> Option<String> {
    let buses = || plan.buses.iter().map(|bus| bus.name.as_str());
    let complete = |bus: usize| sections.get(bus).is_some_and(|section| section.complete);
    match unknown {
        Unknown::Form => {
            let forms = "\"bus.Message.Signal\", \"bus.Message.*\", \"bus:NAME\", \"area:NAME\" or \"machine\"";
            let meant = if buses().any(|bus| bus == text) {
                format!("write \"bus:{text}\"")
            } else if areas(plan).any(|area| area == text) {
                format!("write \"area:{text}\"")
            } else {
                format!("write {forms}")
            };
            Some(format!("\"{text}\" names nothing; {meant}"))
        }
        Unknown::Bus(bus) => {
            let known = !report.is_dropped(&["bus", bus]);
            known.then(|| format!("\"{text}\": no bus \"{bus}\"{}", did_you_mean(bus, buses())))
        }
        Unknown::Area(area) => {
            let hint = did_you_mean(area, areas(plan));
            let whole = sections.iter().all(|section| section.complete);
            let none = areas(plan).next().is_none();
            let remedy = if none { "; areas come from the column area of overlay tables" } else { "" };
            whole.then(|| format!("\"{text}\": no overlay table has an area \"{area}\"{hint}{remedy}"))
        }
        Unknown::Message { bus, name } => {
            let of = plan.buses.get(*bus)?;
            let messages = plan.messages.get(of.messages.clone()).unwrap_or_default();
            let hint = did_you_mean(name, messages.iter().map(|message| message.message.name.as_str()));
            let bus_name = &of.name;
            complete(*bus)
                .then(|| format!("\"{text}\": no message \"{name}\" in the DBC files of bus {bus_name}{hint}"))
        }
        Unknown::Signal { message, name } => {
            let of = &plan.messages.get(*message)?.message;
            let hint = did_you_mean(name, of.signals.iter().map(|signal| signal.name.as_str()));
            Some(format!("\"{text}\": {} has no signal \"{name}\"{hint}", of.name))
        }
    }
}

fn areas(plan: &Plan) -> impl Iterator<Item = &str> {
    let overlays = plan.tag_overlays.values().chain(plan.message_overlays.values());
    overlays.filter_map(|overlay| overlay.area.as_deref())
}
