//! `[bus.NAME.device.TYPE]` before it is read: what it says once for all its devices becomes keys of the bus, one for each
//! device, at the same place in the text.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::document::Document;
use super::variable::INSTANCE;

/// Keys that mean the same as in the bus, with the DBC file's own names.
pub const KEYS: [&str; 5] = ["message", "protection", "transmit", "writable", "forcible"];
/// Most devices of one type.
pub const MAX_INSTANCES: usize = 256;

/// Values that all device types together may become.
pub const MAX_VALUES: usize = 200_000;

/// A key with its place.
type Key<'a> = Spanned<DeString<'a>>;

/// What one device type says about its devices.
struct Said<'a> {
    instances: Vec<String>,
    keys: Vec<(Key<'a>, Spanned<DeValue<'a>>)>,
}

/// The name of one device's message.
pub fn message_name(instance: &str, message: &str) -> String {
    format!("{instance}_{message}")
}

/// Moves these keys of all device types to their buses; gives the places of those that would be too much.
pub fn expand(document: &mut Document<'_>) -> Vec<Range<usize>> {
    let mut too_much = Vec::new();
    let mut values = 0usize;
    let Some(DeValue::Table(buses)) = document.root.get_mut("bus").map(Spanned::get_mut) else { return too_much };
    for (_, bus) in buses.iter_mut() {
        let DeValue::Table(bus) = bus.get_mut() else { continue };
        for Said { instances, keys } in said(bus) {
            for (key, value) in keys {
                values = values.saturating_add(count(value.get_ref()).saturating_mul(instances.len()));
                if values > MAX_VALUES {
                    too_much.push(key.span());
                    continue;
                }
                instances.iter().for_each(|instance| add(bus, &key, value.get_ref(), &value, instance));
            }
        }
    }
    too_much
}

/// The values in a value, itself among them.
fn count(value: &DeValue<'_>) -> usize {
    match value {
        DeValue::Array(list) => 1 + list.iter().map(|element| count(element.get_ref())).sum::<usize>(),
        DeValue::Table(table) => 1 + table.values().map(|value| count(value.get_ref())).sum::<usize>(),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => 1,
    }
}

fn said<'a>(bus: &mut DeTable<'a>) -> Vec<Said<'a>> {
    let Some(DeValue::Table(devices)) = bus.get_mut("device").map(Spanned::get_mut) else { return Vec::new() };
    let mut all = Vec::new();
    for (_, device) in devices.iter_mut() {
        let DeValue::Table(device) = device.get_mut() else { continue };
        let list = device.get("instances").and_then(|list| list.get_ref().as_array());
        let tables = list.into_iter().flatten().filter_map(|element| element.get_ref().as_table());
        let names = tables.filter_map(|table| table.get("name")?.get_ref().as_str().map(str::to_owned));
        let instances: Vec<String> = names.take(MAX_INSTANCES).collect();
        let taken = std::mem::take(device);
        let (keys, rest) = taken.into_iter().partition(|(key, _)| KEYS.contains(&key.get_ref().as_ref()));
        let rest: Vec<(Key<'a>, Spanned<DeValue<'a>>)> = rest;
        *device = rest.into_iter().collect();
        all.push(Said { instances, keys });
    }
    all
}

/// One key for one device. What the bus itself says is stronger.
fn add<'a>(bus: &mut DeTable<'a>, key: &Key<'a>, value: &DeValue<'a>, whole: &Spanned<DeValue<'a>>, instance: &str) {
    let name = key.get_ref().as_ref();
    match value {
        DeValue::Table(sections) => {
            let empty = || Spanned::new(whole.span(), DeValue::Table(DeTable::new()));
            let there = bus.entry(key.clone()).or_insert_with(empty);
            let DeValue::Table(there) = there.get_mut() else { return };
            for (message, section) in sections {
                let message = Spanned::new(message.span(), Cow::Owned(message_name(instance, message.get_ref())));
                fill(there, message, named(section, instance));
            }
        }
        value => {
            let new: Vec<Spanned<DeValue<'a>>> = match value {
                DeValue::Array(list) => list
                    .iter()
                    .map(|element| match element.get_ref() {
                        DeValue::String(text) => text_at(element, message_name(instance, text)),
                        _ => element.clone(),
                    })
                    .collect(),
                DeValue::String(all) if all == "all" => {
                    let pattern = if name == "transmit" { "*" } else { "*.*" };
                    vec![text_at(whole, message_name(instance, pattern))]
                }
                _ => vec![whole.clone()],
            };
            let empty = || Spanned::new(whole.span(), DeValue::Array(DeArray::new()));
            let there = bus.entry(key.clone()).or_insert_with(empty);
            // "all" of the bus has them already
            if let DeValue::Array(list) = there.get_mut() {
                new.into_iter().for_each(|element| list.push(element));
            }
        }
    }
}

fn text_at<'a>(place: &Spanned<DeValue<'_>>, text: String) -> Spanned<DeValue<'a>> {
    Spanned::new(place.span(), DeValue::String(Cow::Owned(text)))
}

/// A copy for one device, with its name where that is wanted.
fn named<'a>(value: &Spanned<DeValue<'a>>, instance: &str) -> Spanned<DeValue<'a>> {
    let reference = format!("${{{INSTANCE}}}");
    let new = match value.get_ref() {
        DeValue::String(text) if text.contains(&reference) => {
            DeValue::String(Cow::Owned(text.replace(&reference, instance)))
        }
        DeValue::Array(list) => DeValue::Array(list.iter().map(|element| named(element, instance)).collect()),
        DeValue::Table(table) => {
            DeValue::Table(table.iter().map(|(key, value)| (key.clone(), named(value, instance))).collect())
        }
        other => other.clone(),
    };
    Spanned::new(value.span(), new)
}

/// Inserts what is not there yet.
fn fill<'a>(table: &mut DeTable<'a>, key: Key<'a>, mut value: Spanned<DeValue<'a>>) {
    match table.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut) {
        None => {
            table.insert(key, value);
        }
        Some(DeValue::Table(there)) => {
            let DeValue::Table(more) = value.get_mut() else { return };
            std::mem::take(more).into_iter().for_each(|(key, value)| fill(there, key, value));
        }
        Some(_) => {}
    }
}
