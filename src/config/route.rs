//! Frame routes: `[route.NAME]` checked and resolved.

use super::bus::Section;
use super::cycle;
use super::identifiers::{Set, parse, parse_range};
use super::report::Report;
use super::suggest::{did_you_mean, list};
use super::written;
use crate::can::{FrameId, MAX_CLASSIC_LEN, MAX_LEN};
use crate::diagnostic::Severity;
use crate::plan::{BusIndex, Direction, Edit, Filter, Format, IdChange, Plan, Route};

/// Most routes of one plant, both directions counted.
const MAX_ROUTES: usize = 1000;
const STORM: u32 = 10_000;
const STALE_MS: u64 = 100;
const BUDGET_US: u64 = 1000;

/// Where a key of a route is.
type Path<'a> = [&'a str; 3];

/// All routes, those back included.
pub fn routes(file: &written::File, plan: &Plan, sections: &[Section<'_>], report: &mut Report<'_>) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for (name, written) in &file.route {
        if report.is_full() {
            break;
        }
        if routes.len() + 2 > MAX_ROUTES {
            report.error(&["route", name], format!("more than {MAX_ROUTES} routes; ids = [...] takes several in one"));
            break;
        }
        check_name("route", name, report);
        let Some(route) = route(name, written, plan, sections, report) else { continue };
        let back = if written.both { back(&route, written, report) } else { None };
        routes.push(route);
        routes.extend(back);
    }
    check_senders(plan, &routes, report);
    cycle::check(plan, &routes, report);
    routes
}

/// Names become labels of metrics and words in logs.
pub fn check_name(kind: &str, name: &str, report: &mut Report<'_>) {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        report.error(&[kind, name], format!("{kind} name \"{name}\": only letters, digits, _ and - are possible"));
    }
}

/// One direction; nothing where so much is wrong that more can't be told.
fn route(
    name: &str,
    written: &written::Route,
    plan: &Plan,
    sections: &[Section<'_>],
    report: &mut Report<'_>,
) -> Option<Route> {
    let from = bus(name, "from", written.from.as_deref(), plan, report);
    let to = bus(name, "to", written.to.as_deref(), plan, report);
    let filters = filters(name, written, from, plan, sections, report);
    let except = identifiers(name, "except", &written.except, report);
    let id = id_change(name, written, filters.as_deref(), report);
    let format = format(name, written, from, to, plan, report);
    let edits = edits(name, written, report);
    let (from, to, filters) = (from?, to?, filters?);
    if from == to {
        let text =
            format!("from and to are both bus \"{}\": a route goes from one bus to another", plan.buses[to].name);
        report.error(&["route", name, "to"], text);
        return None;
    }
    let set = Set::taken(&filters, &except);
    if set.is_empty() {
        report.error(&["route", name, "except"], "nothing is left of what the route takes");
        return None;
    }
    if set.changed(id).is_empty() {
        report.error(&["route", name, "add_to_id"], "no identifier of the route can have this added to it");
        return None;
    }
    let number = |key, value: Option<i64>, most: i64, default: u64, report: &mut Report<'_>| match value {
        Some(value) if !(1..=most).contains(&value) => {
            report.error(&["route", name, key], format!("{key} goes from 1 to {most}; not {value}"));
            default
        }
        value => value.map_or(default, |value| value as u64),
    };
    let route = Route {
        name: name.to_owned(),
        from,
        to,
        filters,
        except,
        id,
        format,
        edits,
        shortest_interval: interval(name, written, report),
        storm: number("storm_hz", written.storm_hz, 1_000_000, STORM.into(), report) as u32,
        newest_wins: written.newest_wins,
        stale: number("stale_ms", written.stale_ms, 60_000, STALE_MS, report) * 1_000_000,
        budget: number("budget_us", written.budget_us, 60_000_000, BUDGET_US, report) * 1000,
        protected: written.protected,
    };
    check_protected(&route, written, plan, report);
    Some(route)
}

fn bus(name: &str, key: &str, bus: Option<&str>, plan: &Plan, report: &mut Report<'_>) -> Option<BusIndex> {
    let path: Path<'_> = ["route", name, key];
    let Some(bus) = bus else {
        if !report.is_dropped(&path) {
            report.error(&path[..2], format!("route \"{name}\" has no {key}; add {key} = \"BUS\""));
        }
        return None;
    };
    let found = plan.buses.iter().position(|known| known.name == bus);
    if found.is_none() && !report.is_dropped(&["bus", bus]) {
        let names = || plan.buses.iter().map(|bus| bus.name.as_str());
        let text = format!("no bus \"{bus}\"{}; there are: {}", did_you_mean(bus, names()), list(names()));
        report.error(&path, text);
    }
    found
}

/// What the route takes: exactly one way to say it.
fn filters(
    name: &str,
    written: &written::Route,
    from: Option<BusIndex>,
    plan: &Plan,
    sections: &[Section<'_>],
    report: &mut Report<'_>,
) -> Option<Vec<Filter>> {
    let given: Vec<&str> = [
        ("id", written.id.is_some()),
        ("ids", written.ids.is_some()),
        ("mask", written.mask.is_some()),
        ("message", written.message.is_some()),
        ("all", written.all == Some(true)),
    ]
    .into_iter()
    .filter_map(|(key, given)| given.then_some(key))
    .collect();
    const WAYS: &str = "id = \"1F4\", ids = [\"1F4\", \"200-2FF\"], mask with value, message = \"NAME\" or all = true";
    match given[..] {
        [] => {
            let dropped =
                ["id", "ids", "mask", "message", "all"].iter().any(|k| report.is_dropped(&["route", name, k]));
            if !dropped {
                report.error(&["route", name], format!("route \"{name}\" does not say what it takes: add {WAYS}"));
            }
            return None;
        }
        [_] => {}
        [first, second, ..] => {
            let text = format!("the route has both {first} and {second}; what it takes is said once: {WAYS}");
            report.error(&["route", name, second], text);
            return None;
        }
    }
    if written.value.is_some() && written.mask.is_none() && !report.is_dropped(&["route", name, "mask"]) {
        report.error(&["route", name, "value"], "value goes with mask");
    }
    if let Some(text) = &written.id {
        return parse(text).map(|id| vec![Filter::Id(id)]).map_err(|e| report.error(&["route", name, "id"], e)).ok();
    }
    if let Some(ids) = &written.ids {
        if ids.is_empty() {
            report.error(&["route", name, "ids"], "the list is empty: the route would take nothing");
            return None;
        }
        let found = identifiers(name, "ids", ids, report);
        return (found.len() == ids.len()).then_some(found);
    }
    if let Some(mask) = &written.mask {
        return masked(name, mask, written.value.as_deref(), report).map(|filter| vec![filter]);
    }
    match &written.message {
        Some(message) => of_message(name, message, from?, plan, sections, report).map(|filter| vec![filter]),
        None => Some(vec![Filter::Any]),
    }
}

fn identifiers(name: &str, key: &str, texts: &[String], report: &mut Report<'_>) -> Vec<Filter> {
    let mut found = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match parse_range(text) {
            Ok(filter) => found.push(filter),
            Err(mistake) => report.element(Severity::Error, &["route", name, key], Some(place), mistake),
        }
    }
    found
}

fn masked(name: &str, mask: &str, value: Option<&str>, report: &mut Report<'_>) -> Option<Filter> {
    let Some(value) = value else {
        if !report.is_dropped(&["route", name, "value"]) {
            report.error(
                &["route", name, "mask"],
                "mask goes with value: identifiers that agree with it in the mask's bits",
            );
        }
        return None;
    };
    let (parsed, bits) = (parse(value), parse(mask));
    match (parsed, bits) {
        (Ok(value), Ok(mask)) if value.is_extended() == mask.is_extended() => {
            if value.number() & !mask.number() != 0 {
                let text = "value has bits that the mask leaves free: they are not looked at";
                report.warning(&["route", name, "value"], text);
            }
            Some(Filter::Mask { value, mask: mask.number() })
        }
        (Ok(_), Ok(_)) => {
            report.error(
                &["route", name, "mask"],
                "mask and value both have 3 digits (11 bits), or both have 8 (29 bits)",
            );
            None
        }
        (Err(mistake), _) => {
            report.error(&["route", name, "value"], mistake);
            None
        }
        (_, Err(mistake)) => {
            report.error(&["route", name, "mask"], mistake);
            None
        }
    }
}

fn of_message(
    name: &str,
    message: &str,
    from: BusIndex,
    plan: &Plan,
    sections: &[Section<'_>],
    report: &mut Report<'_>,
) -> Option<Filter> {
    let bus = &plan.buses[from];
    let messages = &plan.messages[bus.messages.clone()];
    let long = messages.iter().find(|known| known.message.name == message);
    let Some(found) = long.or_else(|| messages.iter().find(|known| known.message.dbc_name == message)) else {
        if sections.get(from).is_some_and(|section| section.complete) {
            let names = messages.iter().map(|known| known.message.name.as_str());
            let hint = did_you_mean(message, names);
            let text = format!("no message \"{message}\" in the DBC files of bus \"{}\"{hint}", bus.name);
            report.error(&["route", name, "message"], text);
        }
        return None;
    };
    if let Direction::Output(_) = found.direction {
        let text = format!("{message} is sent by this controller on bus \"{}\": it is never received there", bus.name);
        report.error(&["route", name, "message"], text);
        return None;
    }
    let id = found.message.id;
    Some(match (found.message.pgn, found.message.source_address) {
        (None, _) => Filter::Id(id),
        (Some(pgn), None) => Filter::Pgn(pgn),
        (Some(pgn), Some(_)) => Filter::Mask { value: id, mask: source_mask(pgn) },
    })
}

/// Parameter group and source address in an identifier; without the priority, and of PDU1 without the destination.
fn source_mask(pgn: u32) -> u32 {
    if pgn >> 8 & 0xFF < 240 { 0x3FF_00FF } else { 0x3FF_FFFF }
}

fn id_change(name: &str, written: &written::Route, filters: Option<&[Filter]>, report: &mut Report<'_>) -> IdChange {
    match (&written.new_id, written.add_to_id) {
        (None, None | Some(0)) => IdChange::Keep,
        (Some(_), Some(_)) => {
            report.error(&["route", name, "add_to_id"], "new_id and add_to_id: keep one of the two");
            IdChange::Keep
        }
        (None, Some(n)) => IdChange::Add(n),
        (Some(text), None) => {
            let path: Path<'_> = ["route", name, "new_id"];
            match (parse(text), filters) {
                (Err(mistake), _) => report.error(&path, mistake),
                (Ok(_), Some(filters)) if !matches!(filters, [Filter::Id(_)]) => {
                    let text =
                        "new_id would give one identifier to frames of several; it goes with id, or use add_to_id";
                    report.error(&path, text);
                }
                (Ok(id), _) => return IdChange::To(id),
            }
            IdChange::Keep
        }
    }
}

fn format(
    name: &str,
    written: &written::Route,
    from: Option<BusIndex>,
    to: Option<BusIndex>,
    plan: &Plan,
    report: &mut Report<'_>,
) -> Format {
    if written.bit_rate_switch.is_some()
        && written.format != written::Format::Fd
        && !report.is_dropped(&["route", name, "format"])
    {
        let text = "bit_rate_switch goes with format = \"fd\"; a frame that keeps its format keeps this too";
        report.error(&["route", name, "bit_rate_switch"], text);
    }
    match written.format {
        written::Format::Keep => Format::Keep,
        written::Format::Classic => Format::Classic,
        written::Format::Fd => {
            let goes_to = |bus: BusIndex| Some(bus) == to || written.both && Some(bus) == from;
            for (_, bus) in plan.buses.iter().enumerate().filter(|(index, _)| goes_to(*index)) {
                if !bus.fd {
                    let text = format!("bus \"{0}\" is classic CAN; [bus.{0}] fd = true says otherwise", bus.name);
                    report.error(&["route", name, "format"], text);
                }
            }
            Format::Fd { bit_rate_switch: written.bit_rate_switch.unwrap_or(true) }
        }
    }
}

fn edits(name: &str, written: &written::Route, report: &mut Report<'_>) -> Vec<Edit> {
    let hex = |text: &str| match text.len() {
        2 if text.bytes().all(|byte| byte.is_ascii_hexdigit()) => u8::from_str_radix(text, 16).ok(),
        _ => None,
    };
    let longest = if written.format == written::Format::Classic { MAX_CLASSIC_LEN } else { MAX_LEN };
    let mut edits = Vec::new();
    for (place, edit) in written.edits.iter().enumerate() {
        let byte = edit.byte.and_then(|byte| u8::try_from(byte).ok()).filter(|byte| usize::from(*byte) < longest);
        let mask = edit.mask.as_deref().map_or(Some(0xFF), hex);
        let value = edit.value.as_deref().and_then(hex);
        let mistake = match (byte, mask, value) {
            (Some(_), Some(mask), Some(value)) if value & !mask != 0 => {
                "value has bits that the mask leaves as they are"
            }
            (Some(byte), Some(mask), Some(value)) => {
                edits.push(Edit { byte, mask, value });
                continue;
            }
            (None, ..) => "byte is the index of a byte of the payload, from 0 to 7 (63 in CAN FD)",
            (_, None, _) => "mask is 2 hexadecimal digits in quotes, like \"F0\"; without it the whole byte is set",
            (_, _, None) => "value is 2 hexadecimal digits in quotes, like \"10\"",
        };
        report.element(Severity::Error, &["route", name, "edits"], Some(place), mistake);
    }
    edits
}

fn interval(name: &str, written: &written::Route, report: &mut Report<'_>) -> Option<u64> {
    let rate = written.max_rate_hz?;
    // written so that NaN is refused too
    if !(0.001..=100_000.0).contains(&rate) {
        let text = format!("max_rate_hz goes from 0.001 to 100000; not {rate}");
        report.error(&["route", name, "max_rate_hz"], text);
        return None;
    }
    Some((1e9 / rate) as u64)
}

/// What has a protection of its own passes unchanged or not at all.
fn check_protected(route: &Route, written: &written::Route, plan: &Plan, report: &mut Report<'_>) {
    let changes = [
        ("new_id", matches!(route.id, IdChange::To(_))),
        ("add_to_id", matches!(route.id, IdChange::Add(_))),
        ("format", route.format != Format::Keep),
        ("edits", !route.edits.is_empty()),
    ];
    let messages = &plan.messages[plan.buses[route.from].messages.clone()];
    let guarded = messages.iter().find(|message| message.protection.is_some() && route.takes(message.message.id));
    let what = match (written.protected, guarded) {
        (true, _) => "the route is protected".to_owned(),
        (false, Some(message)) => format!("{} has a counter or checksum", message.message.name),
        (false, None) => return,
    };
    for (key, _) in changes.into_iter().filter(|(_, changed)| *changed) {
        let text = format!("{key} changes the frame, and {what}: it passes unchanged or not at all");
        report.error(&["route", &route.name, key], text);
    }
}

/// The other direction of a route that goes both ways.
fn back(route: &Route, written: &written::Route, report: &mut Report<'_>) -> Option<Route> {
    let path: Path<'_> = ["route", &route.name, "both"];
    let moved = |id: FrameId| route.id.apply(id);
    let change = |filter: &Filter| match *filter {
        Filter::Id(id) => moved(id).map(Filter::Id),
        Filter::Range(first, last) => moved(first).zip(moved(last)).map(|(first, last)| Filter::Range(first, last)),
        other if route.id == IdChange::Keep => Some(other),
        Filter::Any | Filter::Mask { .. } | Filter::Pgn(_) => None,
    };
    let filters: Option<Vec<Filter>> = route.filters.iter().map(change).collect();
    let except: Option<Vec<Filter>> = route.except.iter().map(change).collect();
    let Some((filters, except)) = filters.zip(except) else {
        let text =
            "what comes back can't be told: with add_to_id, both goes with id and ids whose new identifiers exist";
        report.error(&path, text);
        return None;
    };
    if !route.edits.is_empty() {
        report.error(&path, "edits can't be undone on the way back: write two routes");
    }
    if written.message.is_some() {
        let text = "a message has its sender on one bus: both goes with id, ids, mask or all";
        report.error(&path, text);
        return None;
    }
    let id = match (route.id, &route.filters[..]) {
        (IdChange::To(_), [Filter::Id(id)]) => IdChange::To(*id),
        (IdChange::Add(n), _) => IdChange::Add(-n),
        _ => IdChange::Keep,
    };
    Some(Route {
        name: format!("{} (back)", route.name),
        from: route.to,
        to: route.from,
        filters,
        except,
        id,
        ..route.clone()
    })
}

/// Two senders of one identifier on one bus: our own messages and routes, routes among each other.
fn check_senders(plan: &Plan, routes: &[Route], report: &mut Report<'_>) {
    let sets: Vec<Set> = routes.iter().map(|route| Set::taken(&route.filters, &route.except)).collect();
    let sent: Vec<Set> = routes.iter().zip(&sets).map(|(route, set)| set.changed(route.id)).collect();
    for (index, route) in routes.iter().enumerate() {
        let name = written_name(route);
        let bus = &plan.buses[route.to];
        let ours = plan.messages[bus.messages.clone()].iter().filter(|message| {
            matches!(message.direction, Direction::Output(_)) && sent[index].contains(message.message.id)
        });
        let ours: Vec<String> = ours.map(|m| format!("{} ({})", m.message.id, m.message.name)).collect();
        if !ours.is_empty() {
            let ids = list(ours.iter().map(String::as_str));
            let text = format!(
                "route \"{name}\" would send {ids} on bus \"{}\", which this controller sends there itself: one identifier has one sender; except = [...] leaves it out",
                bus.name
            );
            report.error(&["route", name], text);
        }
        for (other, earlier) in routes[..index].iter().enumerate().filter(|(_, earlier)| earlier.to == route.to) {
            let double = if earlier.from == route.from {
                // the same frame twice, or two frames with one identifier
                let frames = sets[index].common(&sets[other]);
                if frames.is_empty() || (earlier.id != route.id) { sent[index].common(&sent[other]) } else { frames }
            } else {
                sent[index].common(&sent[other])
            };
            let Some(id) = double.first() else { continue };
            let single = |route: &Route| route.filters.iter().any(|filter| matches!(filter, Filter::Id(_)));
            let text = format!(
                "routes \"{}\" and \"{name}\" both send {id} on bus \"{}\": one identifier has one sender",
                written_name(earlier),
                bus.name
            );
            if earlier.from == route.from || single(earlier) || single(route) {
                report.error(&["route", name], text);
            } else {
                let text = format!("{text}; harmless only if it is never on both other buses");
                report.warning(&["route", name], text);
            }
        }
    }
}

/// The name in the configuration.
pub fn written_name(route: &Route) -> &str {
    route.name.trim_end_matches(" (back)")
}
