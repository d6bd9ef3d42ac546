//! Routes and links in words, for `canvoy check`.

use super::check::decimal;
use super::milliseconds;
use crate::plan::{Filter, Format, IdChange, Link, Mapping, Otherwise, Plan, Route, WhenBad};

/// One line for each route and link; empty without any.
pub fn summary(plan: &Plan) -> String {
    let mut text = String::new();
    if !plan.routes.is_empty() {
        text.push_str("routes, sent without transmit:\n");
        plan.routes.iter().for_each(|route| text.push_str(&format!("  {}\n", of_route(plan, route))));
    }
    if !plan.links.is_empty() {
        text.push_str("links:\n");
        plan.links.iter().for_each(|link| text.push_str(&format!("  {}\n", of_link(plan, link))));
    }
    text
}

pub(super) fn of_route(plan: &Plan, route: &Route) -> String {
    let list = |filters: &[Filter]| filters.iter().map(of_filter).collect::<Vec<_>>().join(", ");
    let (from, to) = (&plan.buses[route.from].name, &plan.buses[route.to].name);
    let mut text = format!("{}: {from} -> {to}, {}", route.name, list(&route.filters));
    if !route.except.is_empty() {
        text.push_str(&format!(" except {}", list(&route.except)));
    }
    match route.id {
        IdChange::Keep => {}
        IdChange::To(id) => text.push_str(&format!(", as {id}")),
        IdChange::Add(n) if n < 0 => text.push_str(&format!(", identifier - {n:#X}", n = n.unsigned_abs())),
        IdChange::Add(n) => text.push_str(&format!(", identifier + {n:#X}")),
    }
    match route.format {
        Format::Keep => {}
        Format::Classic => text.push_str(", as classic CAN"),
        Format::Fd { bit_rate_switch: true } => text.push_str(", as CAN FD"),
        Format::Fd { bit_rate_switch: false } => text.push_str(", as CAN FD without bit rate switch"),
    }
    for edit in &route.edits {
        text.push_str(&format!(", byte {} = {:02X} in the bits {:02X}", edit.byte, edit.value, edit.mask));
    }
    if let Some(interval) = route.shortest_interval {
        text.push_str(&format!(", each at most every {} ms", milliseconds(interval)));
    }
    if route.protected {
        text.push_str(", protected");
    }
    text.push_str(&format!("; off above {} frames/s; budget {} ms", route.storm, milliseconds(route.budget)));
    text
}

fn of_filter(filter: &Filter) -> String {
    match filter {
        Filter::Any => "everything".into(),
        Filter::Id(id) => id.to_string(),
        Filter::Range(first, last) => format!("{first}-{last}"),
        Filter::Mask { value, mask } if value.is_extended() => format!("{value} in the bits {mask:08X}"),
        Filter::Mask { value, mask } => format!("{value} in the bits {mask:03X}"),
        Filter::Pgn(pgn) => format!("parameter group {pgn}"),
    }
}

pub(super) fn of_link(plan: &Plan, link: &Link) -> String {
    let (from, to) = (plan.tag_name(link.from, link.source_address), plan.tag_name(link.to, None));
    let how = match &link.mapping {
        Mapping::Linear { scale, offset } => {
            let scale = if *scale == 1.0 { String::new() } else { format!(" × {}", decimal(*scale)) };
            let offset = match *offset {
                0.0 => String::new(),
                offset if offset < 0.0 => format!(" - {}", decimal(-offset)),
                offset => format!(" + {}", decimal(offset)),
            };
            format!("{scale}{offset}")
        }
        Mapping::Table(table) => format!(", {} states by their words", table.len()),
    };
    let otherwise = |otherwise: Otherwise| match otherwise {
        Otherwise::Stop => "its message stops".to_owned(),
        Otherwise::Value(raw) => {
            let signal = plan.signal(link.to);
            match signal.label(raw) {
                Some(word) => word.to_owned(),
                None => format!("{} {}", decimal(signal.codec.engineering(raw)), signal.unit).trim_end().to_owned(),
            }
        }
    };
    let bad = match link.when_bad {
        WhenBad::At(at) => otherwise(at),
        WhenBad::Hold { time, then } => format!("held for {} ms, then {}", milliseconds(time), otherwise(then)),
    };
    format!("{}: {to} = {from}{how}; not good: {bad}", link.name)
}
