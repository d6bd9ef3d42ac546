//! Alike devices: the messages of a DBC file once for each, with names and identifiers of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bus::{Content, Parsed};
use super::device::{MAX_INSTANCES, message_name};
use super::report::Report;
use super::{MAX_TAGS, dbc_files, written};
use crate::can::FrameId;
use crate::dbc;
use crate::diagnostic::Severity;

/// One device of a type, where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance<'a> {
    pub device: &'a str,
    pub name: &'a str,
    /// Its place in the list of instances.
    pub index: usize,
}

/// How a device's identifiers differ from those of the DBC file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    Offset(i64),
    SourceAddress(u8),
}

/// The messages of one bus's devices.
pub struct Devices<'a> {
    pub files: Vec<Parsed<'a>>,
    /// Everything could be read.
    pub complete: bool,
}

/// The messages of all devices of a bus.
pub fn devices<'a>(
    bus: &'a str,
    written: &'a written::Bus,
    parsed: &[Parsed<'a>],
    report: &mut Report<'_>,
) -> Devices<'a> {
    let mut devices = Devices { files: Vec::new(), complete: !report.is_dropped(&["bus", bus, "device"]) };
    let mut names = BTreeSet::new();
    for (device, section) in &written.device {
        let path = ["bus", bus, "device", device.as_str()];
        let [a, b, c, d] = path;
        if section.dbc.is_empty() && !report.is_dropped(&[a, b, c, d, "dbc"]) {
            report.error(&path, format!("device \"{device}\" names no DBC file; add dbc = [\"FILE.dbc\"]"));
        }
        if section.instances.is_empty() && !report.is_dropped(&[a, b, c, d, "instances"]) {
            let remedy = "add instances = [{ name = \"pump1\", id_offset = 0x10 }, …]";
            report.error(&path, format!("there is no device \"{device}\"; {remedy}"));
        }
        devices.complete &= !report.is_dropped(&[a, b, c, d, "instances"]);
        let (files, complete) = dbc_files(&[a, b, c, d, "dbc"], &section.dbc, parsed, report);
        devices.complete &= complete;
        for (index, instance) in section.instances.iter().enumerate() {
            let path = [a, b, c, d, "instances"];
            if index == MAX_INSTANCES {
                let text = format!("more than {MAX_INSTANCES} devices of one type");
                report.element(Severity::Error, &path, Some(index), text);
                devices.complete = false;
                break;
            }
            let (name, difference) = match check(instance) {
                Ok(checked) => checked,
                Err(mistake) => {
                    report.element(Severity::Error, &path, Some(index), mistake);
                    devices.complete = false;
                    continue;
                }
            };
            if !names.insert(name) {
                let text = format!("there are two devices \"{name}\" on bus \"{bus}\"");
                report.element(Severity::Error, &path, Some(index), text);
                continue;
            }
            let instance = Instance { device, name, index };
            for file in &files {
                match of_instance(file, instance, difference, written.node.as_deref()) {
                    Ok(file) => devices.files.push(file),
                    Err(mistake) => {
                        report.element(Severity::Error, &path, Some(index), mistake);
                        devices.complete = false;
                    }
                }
            }
            let signals = devices.files.iter().filter_map(|file| file.content.as_ref());
            let signals = signals.flat_map(|content| &content.messages).map(|message| message.signals.len());
            if signals.sum::<usize>() > MAX_TAGS {
                let text = format!("with \"{name}\" the devices have more than {MAX_TAGS} signals");
                report.element(Severity::Error, &path, Some(index), text);
                devices.complete = false;
                return devices;
            }
        }
    }
    devices
}

fn check(written: &written::Instance) -> Result<(&str, Difference), String> {
    let name = written.name.as_deref().ok_or("a device has a name: { name = \"pump1\", id_offset = 0x10 }")?;
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return Err(format!("device name \"{name}\": only letters, digits and _ are possible"));
    }
    match (written.id_offset, written.source_address) {
        (Some(_), Some(_)) => Err(format!("\"{name}\" has id_offset and source_address; keep one of the two")),
        (offset, None) => Ok((name, Difference::Offset(offset.unwrap_or_default()))),
        (None, Some(address)) => match u8::try_from(address) {
            // 254 is "cannot claim", 255 "all" (SAE J1939-81, 4.2)
            Ok(address @ 0..=253) => Ok((name, Difference::SourceAddress(address))),
            _ => Err(format!("source_address goes from 0 to 253; not {address}")),
        },
    }
}

/// A DBC file for one device. `node`: what we are on the bus.
fn of_instance<'a>(
    file: &Parsed<'a>,
    instance: Instance<'a>,
    difference: Difference,
    node: Option<&str>,
) -> Result<Parsed<'a>, String> {
    let mut places = file.places.empty();
    let content = match &file.content {
        None => None,
        Some(content) => {
            let known = content.nodes.iter().find(|known| Some(known.name.as_str()) == node);
            let known = known.or_else(|| content.nodes.iter().find(|known| Some(known.dbc_name.as_str()) == node));
            let ours = known.map(|node| node.name.as_str());
            let mut messages = Vec::with_capacity(content.messages.len());
            for message in &content.messages {
                let sent_by_us = ours.is_some_and(|ours| message.senders.iter().any(|sender| sender == ours));
                let new = of_message(message, instance.name, difference, sent_by_us)?;
                places.put(&new, file.places.get(message));
                messages.push(Arc::new(new));
            }
            Some(Content { nodes: content.nodes.clone(), messages })
        }
    };
    Ok(Parsed { file: file.file, places, content, instance: Some(instance) })
}

fn of_message(
    message: &dbc::Message,
    instance: &str,
    difference: Difference,
    sent_by_us: bool,
) -> Result<dbc::Message, String> {
    let mut new = message.clone();
    new.name = message_name(instance, &message.name);
    new.dbc_name = message_name(instance, &message.dbc_name);
    let (name, id) = (&message.name, message.id);
    match difference {
        Difference::Offset(0) => {}
        Difference::Offset(_) if message.pgn.is_some() => {
            return Err(format!(
                "{name} is a J1939 message: such devices differ by source_address = N, not by id_offset"
            ));
        }
        Difference::Offset(offset) => {
            let shifted = i64::from(id.number()).checked_add(offset).and_then(|number| u32::try_from(number).ok());
            let (most, kind) = match id.is_extended() {
                true => (FrameId::MAX_EXTENDED, FrameId::extended as fn(u32) -> Option<FrameId>),
                false => (FrameId::MAX_STANDARD, FrameId::standard as fn(u32) -> Option<FrameId>),
            };
            new.id = shifted.and_then(kind).ok_or_else(|| {
                format!("with id_offset {offset} the identifier of {name}, {id}, is not from 0 to {most:X} any more")
            })?;
        }
        Difference::SourceAddress(_) if !id.is_extended() => {
            return Err(format!(
                "{name} ({id}) has 11 bits and no source address: such devices differ by id_offset = N"
            ));
        }
        // what we send keeps our own address; one to a device has the device's as its destination (SAE J1939-21, 5.2)
        Difference::SourceAddress(address) if sent_by_us => {
            if id.pgn() >> 8 & 0xFF < 240 {
                new.id = extended(id.number() & !0xFF00 | u32::from(address) << 8, id);
            }
        }
        Difference::SourceAddress(address) => {
            new.id = extended(id.number() & !0xFF | u32::from(address), id);
            new.source_address = message.pgn.map(|_| address);
        }
    }
    Ok(new)
}

/// Always possible: no bit above the 29 is set.
fn extended(number: u32, before: FrameId) -> FrameId {
    FrameId::extended(number).unwrap_or(before)
}
