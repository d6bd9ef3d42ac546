//! One `[bus.NAME]`: its own keys, its node, and its messages merged from all its DBC files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::instance::Instance;
use super::life::{self, Life};
use super::report::{Places, Report};
use super::sources::SourceFile;
use super::suggest::{did_you_mean, list};
use super::written;
use crate::can::FrameId;
use crate::dbc;
use crate::diagnostic::Severity;
use crate::plan::Interface;

/// What a bus has that its section does not say.
const LATE_FACTOR: f64 = 2.5;
const J1939_SOURCES: usize = 8;
const MAX_J1939_SOURCES: usize = 64;
/// IFNAMSIZ of Linux, without the zero at the end.
const MAX_INTERFACE_NAME: usize = 15;

/// A DBC file as read and as understood.
pub struct Parsed<'a> {
    pub file: &'a SourceFile,
    pub places: Places,
    /// Nothing where the file can't be used at all.
    pub content: Option<Content>,
    /// The device whose messages these are, where several are described by one file.
    pub instance: Option<Instance<'a>>,
}

pub struct Content {
    pub nodes: Vec<dbc::Node>,
    pub messages: Vec<Arc<dbc::Message>>,
}

/// One bus section and the DBC files it names.
pub struct Section<'a> {
    pub name: &'a str,
    pub written: &'a written::Bus,
    pub files: Vec<&'a Parsed<'a>>,
    /// Every DBC file could be read: what is not found does not exist.
    pub complete: bool,
    /// Targets of links on this bus as written, `Message.Signal`.
    pub linked: Vec<&'a str>,
}

impl Section<'_> {
    /// Whether a link ends in the message.
    pub fn is_linked(&self, message: &dbc::Message) -> bool {
        let names = || self.linked.iter().filter_map(|target| target.split_once('.')).map(|(name, _)| name);
        names().any(|name| name == message.name || name == message.dbc_name)
    }
}

/// One message of a bus.
pub struct BusMessage<'a> {
    pub message: Arc<dbc::Message>,
    /// Where it is described.
    pub parsed: &'a Parsed<'a>,
}

/// A bus, its own keys checked.
pub struct Bus<'a> {
    pub interface: Interface,
    pub fd: bool,
    pub node: Option<String>,
    pub late_factor: f64,
    pub j1939_sources: usize,
    pub life: Life,
    /// Sorted by name; names and identifiers are unique.
    pub messages: Vec<BusMessage<'a>>,
    /// Long names and DBC names to indices into `messages`.
    names: HashMap<String, usize>,
}

impl Bus<'_> {
    /// By long name or DBC name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The device that `pump1_*` means all messages of, where there is one of that name.
    pub fn instance(&self, pattern: &str) -> Option<impl Iterator<Item = usize>> {
        let name = pattern.strip_suffix("_*")?;
        let of = move |entry: &BusMessage<'_>| entry.parsed.instance.is_some_and(|instance| instance.name == name);
        self.messages.iter().any(of).then(|| {
            let messages = self.messages.iter().enumerate();
            messages.filter(move |(_, entry)| of(entry)).map(|(index, _)| index)
        })
    }

    /// Whether the DBC file says that our node sends the message.
    pub fn ours(&self, message: &dbc::Message) -> bool {
        self.node.as_ref().is_some_and(|node| message.senders.contains(node))
    }
}

/// Checks everything of the section but what is to be sent and written.
pub fn check<'a>(section: &Section<'a>, simulate: bool, report: &mut Report<'_>) -> Bus<'a> {
    check_name(section.name, report);
    let interface = check_interface(section, report);
    let messages = merge(section, report);
    let fd = check_fd(section, &messages, report);
    let mut names = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        names.insert(message.message.name.clone(), index);
    }
    for (index, message) in messages.iter().enumerate() {
        // a long name is stronger than another message's DBC name
        names.entry(message.message.dbc_name.clone()).or_insert(index);
    }
    Bus {
        interface: if simulate { Interface::Virtual } else { interface },
        fd,
        node: check_node(section, report),
        late_factor: check_late_factor(section, report),
        j1939_sources: check_j1939_sources(section, report),
        life: life::check(section, simulate, fd, report),
        messages,
        names,
    }
}

fn check_name(name: &str, report: &mut Report<'_>) {
    let possible = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !possible {
        report.error(&["bus", name], format!("bus name \"{name}\": only letters, digits, _ and - are possible"));
    } else if name == "Canvoy" {
        report.error(&["bus", name], "a bus can't be called \"Canvoy\": in OPC UA that is the folder of all buses");
    } else if name == "Machine" {
        report.error(
            &["bus", name],
            "a bus can't be called \"Machine\": in OPC UA that is the machine itself, beside the buses",
        );
    }
}

fn check_interface(section: &Section<'_>, report: &mut Report<'_>) -> Interface {
    let name = section.name;
    let path = ["bus", name, "interface"];
    match (section.written.interface.as_deref(), section.written.r#virtual) {
        (Some(_), Some(true)) => {
            let message = format!("bus \"{name}\" has an interface and is virtual; keep one of the two");
            report.error(&["bus", name, "virtual"], message);
        }
        (None, None | Some(false)) => {
            if !report.is_dropped(&path) && !report.is_dropped(&["bus", name, "virtual"]) {
                let remedy = "add interface = \"can0\" for a Linux CAN interface, or virtual = true";
                report.error(&["bus", name], format!("bus \"{name}\" has no interface; {remedy}"));
            }
        }
        (Some(interface), _) => {
            let possible = (1..=MAX_INTERFACE_NAME).contains(&interface.len())
                && !matches!(interface, "." | "..")
                && interface.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':');
            if !possible {
                let message = format!(
                    "\"{interface}\" is not possible as a Linux network interface: 1 to {MAX_INTERFACE_NAME} characters, without space, / and :"
                );
                report.error(&path, message);
            }
            return Interface::SocketCan(interface.to_owned());
        }
        (None, Some(true)) => {}
    }
    Interface::Virtual
}

fn check_late_factor(section: &Section<'_>, report: &mut Report<'_>) -> f64 {
    let factor = section.written.late_factor.unwrap_or(LATE_FACTOR);
    // written so that NaN is refused too
    if !(1.0..=1000.0).contains(&factor) {
        let message = format!("late_factor is a multiple of the cycle time, from 1 to 1000; not {factor}");
        report.error(&["bus", section.name, "late_factor"], message);
        return LATE_FACTOR;
    }
    factor
}

fn check_j1939_sources(section: &Section<'_>, report: &mut Report<'_>) -> usize {
    let Some(written) = section.written.j1939_sources else { return J1939_SOURCES };
    match usize::try_from(written) {
        Ok(sources @ 1..=MAX_J1939_SOURCES) => sources,
        _ => {
            let message = format!("j1939_sources goes from 1 to {MAX_J1939_SOURCES}; not {written}");
            report.error(&["bus", section.name, "j1939_sources"], message);
            J1939_SOURCES
        }
    }
}

/// All messages of all DBC files, sorted by name.
fn merge<'a>(section: &Section<'a>, report: &mut Report<'_>) -> Vec<BusMessage<'a>> {
    let mut merged: Vec<BusMessage<'a>> = Vec::new();
    let (mut by_name, mut by_id) = (HashMap::<String, usize>::new(), HashMap::<FrameId, usize>::new());
    let mut by_source = HashMap::<(u32, u8), usize>::new();
    let mut collided = BTreeSet::new();
    for parsed in &section.files {
        for message in parsed.content.iter().flat_map(|content| &content.messages) {
            let same_id = by_id.get(&message.id);
            let same_name = by_name.get(&message.name);
            let bound = message.pgn.zip(message.source_address);
            let same_source = bound.and_then(|source| by_source.get(&source));
            if let Some(other) = same_id.or(same_name).or(same_source).and_then(|index| merged.get(*index)) {
                if let Some(instance) = parsed.instance.filter(|_| !std::ptr::eq(*parsed, other.parsed)) {
                    if collided.insert(instance.name) {
                        let other = &other.message;
                        let text = match same_name {
                            Some(_) => format!("its message {} is there already", message.name),
                            None => format!(
                                "identifier {} of its {} is that of {} already: alike devices differ by id_offset or source_address",
                                message.id, message.name, other.name
                            ),
                        };
                        let path = ["bus", section.name, "device", instance.device, "instances"];
                        let text = format!("device \"{}\": {text}", instance.name);
                        report.element(Severity::Error, &path, Some(instance.index), text);
                    }
                    continue;
                }
                let what = if same_id.is_some() {
                    format!("identifier {} ({})", message.id, message.name)
                } else {
                    format!("message {}", message.name)
                };
                let line = other.parsed.places.get(&other.message).map_or(0, |place| place.line);
                let place = format!("{}:{line} ({})", other.parsed.file.name, other.message.name);
                let bus = section.name;
                if std::ptr::eq(*parsed, other.parsed) {
                    let text = format!("{what} is already at {place}; this one is left out");
                    report.dbc(Severity::Warning, parsed, message, text);
                } else {
                    let remedy = "a bus has it once: remove it from one of the two files";
                    let text = format!("{what} is already at {place}, and both files are of bus \"{bus}\"; {remedy}");
                    report.dbc(Severity::Error, parsed, message, text);
                }
                continue;
            }
            by_name.insert(message.name.clone(), merged.len());
            by_id.insert(message.id, merged.len());
            if let Some(source) = bound {
                by_source.insert(source, merged.len());
            }
            merged.push(BusMessage { message: Arc::clone(message), parsed });
        }
    }
    merged.sort_by(|a, b| a.message.name.cmp(&b.message.name));
    check_parameter_groups(&merged, report);
    merged
}

/// Several messages of one J1939 parameter group: frames with another address are read as the first of them.
fn check_parameter_groups(messages: &[BusMessage<'_>], report: &mut Report<'_>) {
    let mut groups: BTreeMap<u32, &BusMessage<'_>> = BTreeMap::new();
    for message in messages {
        let Some(pgn) = message.message.pgn.filter(|_| message.message.has_sources()) else { continue };
        // to devices, each with its address
        if message.parsed.instance.is_some() {
            continue;
        }
        let first = groups.entry(pgn).or_insert(message);
        if first.message.id != message.message.id {
            let text = format!(
                "{} and {} are both parameter group {pgn}: frames from addresses other than those in the DBC file are read as {}",
                message.message.name, first.message.name, first.message.name
            );
            report.dbc(Severity::Warning, message.parsed, &message.message, text);
        }
    }
}

fn check_fd(section: &Section<'_>, messages: &[BusMessage<'_>], report: &mut Report<'_>) -> bool {
    let mut with_fd = messages.iter().filter(|message| message.message.fd).map(|message| message.message.name.as_str());
    match section.written.fd {
        Some(false) => {
            let names: Vec<&str> = with_fd.collect();
            if !names.is_empty() {
                let message = format!(
                    "fd = false, but the DBC files describe CAN FD messages: {}; remove this key or set it to true",
                    list(names)
                );
                report.error(&["bus", section.name, "fd"], message);
            }
            false
        }
        Some(true) => true,
        None => with_fd.next().is_some(),
    }
}

/// Our name on the bus, where the DBC files know it: the long name where there is one.
fn check_node(section: &Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let node = section.written.node.as_ref()?;
    let nodes = || section.files.iter().filter_map(|file| file.content.as_ref()).flat_map(|content| &content.nodes);
    let long = nodes().find(|known| known.name == *node);
    if let Some(found) = long.or_else(|| nodes().find(|known| known.dbc_name == *node)) {
        return Some(found.name.clone());
    }
    let known: BTreeSet<&str> = nodes().map(|node| node.name.as_str()).collect();
    if section.complete {
        let hint = did_you_mean(node, known.iter().copied());
        let known = if known.is_empty() { "they have none".to_owned() } else { format!("they have: {}", list(known)) };
        let message = format!("node \"{node}\" is in none of the DBC files of this bus{hint}; {known}");
        report.error(&["bus", section.name, "node"], message);
    }
    None
}
