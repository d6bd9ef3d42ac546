//! Messages and nodes of a DBC file from what was gathered, with the checks that no grammar makes.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::attribute::{self, Definitions};
use super::gather::{Draft, Gathered, Notes, gather};
use super::item::{Item, Object};
use super::model::{Attribute, Database, Message, Node};
use super::signals;
use super::text::Report;
use crate::can::{FrameId, MAX_CLASSIC_LEN, MAX_LEN};

/// The bin where Vector's tools keep signals that belong to no message, and its identifier.
const UNUSED_SIGNALS: &str = "VECTOR__INDEPENDENT_SIG_MSG";
const UNUSED_SIGNALS_ID: u64 = 0xC000_0000;
/// Longest J1939 transport message (SAE J1939-21, 5.10).
const MAX_TRANSPORT_LEN: u64 = 1785;

pub(super) fn database(file: &str, items: Vec<(usize, Item)>, report: &mut Report) -> Database {
    let mut gathered = gather(items);
    check_references(&gathered, report);
    let definitions = std::mem::take(&mut gathered.definitions);
    let defaults = |object| definitions.defaults(object);
    let network = resolved(&gathered.network, defaults(Object::Network), &definitions, report);
    let node_defaults = defaults(Object::Node);
    let mut long_names = HashMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    for name in std::mem::take(&mut gathered.nodes) {
        if long_names.contains_key(&name) {
            continue;
        }
        let notes = gathered.of_node.remove(&name).unwrap_or_default();
        let attributes = resolved(&notes, node_defaults.clone(), &definitions, report);
        let long = shown(long_name(&attributes, "SystemNodeLongSymbol").unwrap_or(&name));
        nodes.push(Node { name: long.clone(), dbc_name: name.clone(), comment: notes.comment, attributes });
        long_names.insert(name, long);
    }
    let context = Context {
        bus: Bus::new(&network, &definitions),
        message_defaults: defaults(Object::Message),
        signal_defaults: defaults(Object::Signal),
        definitions: &definitions,
        nodes: &long_names,
    };
    let drafts = std::mem::take(&mut gathered.messages);
    check_senders(&drafts, &gathered, &context, report);
    let last = last_of_each(&drafts, report);
    let mut messages: Vec<Message> = Vec::new();
    let mut names = HashSet::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        let Some(id) = last.get(&index) else { continue };
        let at = draft.at;
        let mut message = message(draft, *id, &mut gathered, &context, report);
        if !names.insert(message.name.clone()) {
            let unique = format!("{}_{}", message.name, message.id);
            let (name, id) = (&message.name, message.id);
            report.warn(at, format!("a second message named {name}: identifier {id} is called {unique} here"));
            names.insert(unique.clone());
            message.name = unique;
        }
        messages.push(message);
    }
    Database {
        file: file.into(),
        version: gathered.version,
        comment: gathered.network.comment,
        nodes,
        messages,
        attributes: network,
    }
}

/// What the building of a message needs to know of the rest of the file.
pub(super) struct Context<'a> {
    bus: Bus,
    message_defaults: BTreeMap<String, Attribute>,
    pub signal_defaults: BTreeMap<String, Attribute>,
    pub definitions: &'a Definitions,
    /// Name in BU_ to the name shown.
    pub nodes: &'a HashMap<String, String>,
}

impl Context<'_> {
    pub fn node(&self, name: &str) -> String {
        self.nodes.get(name).cloned().unwrap_or_else(|| name.into())
    }
}

/// What the attributes of the network say about all messages.
struct Bus {
    j1939: bool,
    /// BusType says so and no VFrameFormat tells messages apart.
    fd: bool,
}

impl Bus {
    fn new(network: &BTreeMap<String, Attribute>, definitions: &Definitions) -> Bus {
        let is = |name: &str, word: &str| {
            network.get(name).and_then(attribute::text).is_some_and(|text| text.eq_ignore_ascii_case(word))
        };
        Bus {
            j1939: is("ProtocolType", "J1939"),
            fd: is("BusType", "CAN FD") && !definitions.is_defined("VFrameFormat"),
        }
    }
}

/// A standard identifier of 11 bits, or with bit 31 an extended one of 29; else why not.
fn frame_id(raw: u64) -> Result<FrameId, String> {
    let extended = raw & 0x8000_0000 != 0;
    match u32::try_from(raw).ok().and_then(FrameId::from_bits) {
        Some(id) => Ok(id),
        None if raw > u32::MAX.into() => Err(format!("identifier {raw} has more than 32 bits")),
        None if extended => {
            Err(format!("extended identifier 0x{:X} ({raw} in the file) has more than 29 bits", raw & 0x7FFF_FFFF))
        }
        None if raw <= FrameId::MAX_EXTENDED.into() => Err(format!(
            "identifier {raw} (0x{raw:X}) has more than 11 bits and is not marked as extended; write {} if 29 bits are \
             meant",
            raw | 0x8000_0000
        )),
        None => Err(format!("identifier {raw} (0x{raw:X}) has more than 29 bits")),
    }
}

fn is_unused_signals(draft: &Draft) -> bool {
    draft.line.name == UNUSED_SIGNALS || draft.line.id == UNUSED_SIGNALS_ID
}

/// The messages to build, by their place among the drafts: those with a possible identifier and length, of several with
/// one identifier the last, as other tools do.
fn last_of_each(drafts: &[Draft], report: &mut Report) -> HashMap<usize, FrameId> {
    let mut by_id: HashMap<FrameId, usize> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate().filter(|(_, draft)| !is_unused_signals(draft)) {
        let name = &draft.line.name;
        let id = match frame_id(draft.line.id) {
            Ok(_) if draft.line.size > MAX_TRANSPORT_LEN => {
                Err(format!("{} bytes are more than any CAN message has", draft.line.size))
            }
            other => other,
        };
        match id {
            Ok(id) => {
                if let Some(before) = by_id.insert(id, index)
                    && let Some(before) = drafts.get(before)
                {
                    let line = report.line(draft.at);
                    let name = &before.line.name;
                    let reason = format!(
                        "message {name} left out: {} in line {line} has the same identifier {id}",
                        draft.line.name
                    );
                    report.warn(before.at, reason);
                }
            }
            Err(reason) => report.warn(draft.at, format!("message {name} left out: {reason}")),
        }
    }
    by_id.into_iter().map(|(id, index)| (index, id)).collect()
}

fn message(draft: Draft, id: FrameId, gathered: &mut Gathered, context: &Context, report: &mut Report) -> Message {
    let Draft { at, line, signals } = draft;
    let notes = gathered.of_message.remove(&line.id).unwrap_or_default();
    let explicit_format = notes.attributes.iter().any(|(_, name, _)| name == "VFrameFormat");
    let attributes = resolved(&notes, context.message_defaults.clone(), context.definitions, report);
    let format = attributes.get("VFrameFormat").and_then(format_word);
    let by_protocol = context.bus.j1939 && !explicit_format;
    let is_j1939 = id.is_extended() && (format == Some("J1939PG") || by_protocol);
    let mut fd = match format {
        Some(word) => word.ends_with("_FD"),
        None => context.bus.fd,
    };
    let length = line.size as usize;
    if !fd && !is_j1939 && length > MAX_CLASSIC_LEN {
        if length <= MAX_LEN {
            report
                .warn(at, format!("message {} has {length} bytes but is not marked as CAN FD: taken as FD", line.name));
            fd = true;
        } else {
            report.warn(at, format!("message {} has {length} bytes: no frame carries it whole", line.name));
        }
    }
    let mut known = HashSet::new();
    let senders = line.transmitter.iter().chain(&notes.senders).map(|sender| context.node(sender));
    let senders = senders.filter(|sender| known.insert(sender.clone())).collect();
    let mut signal_notes = gathered.of_signal.remove(&line.id).unwrap_or_default();
    let (signals, groups) = signals::build(&line, signals, &mut signal_notes, context, report);
    let name = shown(long_name(&attributes, "SystemMessageLongSymbol").unwrap_or(&line.name));
    Message {
        id,
        pgn: is_j1939.then(|| id.pgn()),
        source_address: None,
        name,
        dbc_name: line.name,
        length: line.size as u16,
        fd,
        senders,
        comment: notes.comment,
        signals,
        groups,
        send_type: attribute::send_type(attributes.get("GenMsgSendType")),
        cycle_time: attribute::milliseconds(attributes.get("GenMsgCycleTime")),
        start_delay: attribute::milliseconds(attributes.get("GenMsgStartDelayTime")).unwrap_or_default(),
        attributes,
    }
}

/// `VFrameFormat` as a word. An enumeration of the file gives its own; a bare number means the usual one.
fn format_word(attribute: &Attribute) -> Option<&str> {
    match attribute {
        Attribute::Integer(0) => Some("StandardCAN"),
        Attribute::Integer(1) => Some("ExtendedCAN"),
        Attribute::Integer(3) => Some("J1939PG"),
        Attribute::Integer(14) => Some("StandardCAN_FD"),
        Attribute::Integer(15) => Some("ExtendedCAN_FD"),
        other => attribute::text(other),
    }
}

/// The attributes of one object: defaults, and over them what the file gives.
pub(super) fn resolved(
    notes: &Notes,
    defaults: BTreeMap<String, Attribute>,
    definitions: &Definitions,
    report: &mut Report,
) -> BTreeMap<String, Attribute> {
    let mut attributes = defaults;
    for (at, name, value) in &notes.attributes {
        match definitions.resolve(name, value) {
            Ok(attribute) => {
                attributes.insert(name.clone(), attribute);
            }
            Err(reason) => report.warn(*at, format!("attribute {name} left out: {reason}")),
        }
    }
    attributes
}

/// A `System…LongSymbol`, where there is one. Some tools put any text there.
pub(super) fn long_name<'a>(attributes: &'a BTreeMap<String, Attribute>, attribute: &str) -> Option<&'a str> {
    match attributes.get(attribute)? {
        Attribute::Text(name) if !name.trim().is_empty() => Some(name),
        _ => None,
    }
}

/// A name as part of `bus.Message@SA.Signal`: without the signs that separate its parts.
pub(super) fn shown(name: &str) -> String {
    name.trim().replace(|c: char| matches!(c, '.' | '@') || c.is_control(), "_")
}

/// Statements about messages and signals that the file does not have.
fn check_references(gathered: &Gathered, report: &mut Report) {
    let mut signals: HashMap<u64, HashSet<&str>> = HashMap::new();
    for draft in &gathered.messages {
        let names = draft.signals.iter().map(|(_, line)| line.name.as_str());
        signals.entry(draft.line.id).or_default().extend(names);
    }
    let mut missing = Vec::new();
    for (id, notes) in &gathered.of_message {
        if let (false, Some((at, keyword))) = (signals.contains_key(id) || *id == UNUSED_SIGNALS_ID, notes.first) {
            missing.push((at, format!("{keyword} of a message that is not in the file (identifier {id}) left out")));
        }
    }
    for (id, by_name) in gathered.of_signal.iter().filter(|(id, _)| **id != UNUSED_SIGNALS_ID) {
        for (name, notes) in by_name {
            let known = signals.get(id).is_some_and(|names| names.contains(name.as_str()));
            if let (false, Some((at, keyword))) = (known, notes.first) {
                let of = if signals.contains_key(id) {
                    "its message does not have it"
                } else {
                    "is in no message of the file"
                };
                missing.push((at, format!("{keyword} of signal {name} left out: {of} (identifier {id})")));
            }
        }
    }
    missing.sort();
    missing.into_iter().for_each(|(at, message)| report.warn(at, message));
}

/// Senders that BU_ does not list, once each.
fn check_senders(drafts: &[Draft], gathered: &Gathered, context: &Context, report: &mut Report) {
    if context.nodes.is_empty() {
        return;
    }
    let mut told = HashSet::new();
    for draft in drafts.iter().filter(|draft| !is_unused_signals(draft)) {
        let more = gathered.of_message.get(&draft.line.id).map(|notes| notes.senders.as_slice()).unwrap_or(&[]);
        for sender in draft.line.transmitter.iter().chain(more) {
            if !context.nodes.contains_key(sender) && told.insert(sender.clone()) {
                let name = &draft.line.name;
                report.warn(draft.at, format!("{sender}, the sender of {name}, is not among the nodes (BU_)"));
            }
        }
    }
}
