//! Configuration: the TOML file as written, checked together with its DBC files, and resolved to a [`Plan`].
//!
//! `sources` has the only file access; everything after it is a function of bytes, so the controller and the plant
//! process build the same plan. All mistakes of all files are reported together, each with its place and a remedy.

mod arming;
mod bus;
mod condition;
mod cycle;
mod document;
mod hash;
mod identifiers;
mod interlock;
mod life;
mod link;
mod protection;
mod reception;
mod report;
mod rights;
mod route;
mod sources;
mod suggest;
mod tag;
mod transmission;
mod unit;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub use sources::{BundleError, SourceFile, Sources, read};

use crate::dbc;
use crate::diagnostic::{Diagnostic, Severity, has_errors};
use crate::plan::{Bus, Direction, Message, Plan, Tag};
use crate::plant;
use crate::protection::Protection;
use bus::{Content, Parsed, Section};
use document::Document;
use report::{Places, Report, sort};
use rights::Decided;

/// Frames that may wait to be sent on a bus, unless configured.
const TRANSMIT_QUEUE: usize = 64;
/// Most buses of one plant.
const MAX_BUSES: usize = 64;
/// Most signals of all buses together.
const MAX_TAGS: usize = 200_000;
/// Most records in the store: 64 MiB of locked memory.
const MAX_RECORDS: usize = 500_000;

/// What a command line adds to the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Every bus is virtual, and the devices on it are simulated.
    pub simulate: bool,
}

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub plan: Plan,
    pub settings: Settings,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// What concerns only the network process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub opcua: plant::opcua::Config,
    pub http: plant::http::Config,
}

/// The plan that the files describe, or every mistake in them (warnings included).
///
/// The same bytes and options give the same plan and the same hash.
pub fn load(sources: &Sources, options: LoadOptions) -> Result<Loaded, Vec<Diagnostic>> {
    check(sources, options, true)
}

/// `complete`: all DBC files that the configuration names should be there; else missing ones are passed over.
fn check(sources: &Sources, options: LoadOptions, complete: bool) -> Result<Loaded, Vec<Diagnostic>> {
    let document = Document::parse(&sources.config.name, &sources.config.bytes)?;
    let mut found = Vec::new();
    let (file, dropped) = document.read::<written::File>(written::TAKES, &mut found);
    let mut report = Report { document: &document, found, dropped };

    let named: BTreeSet<String> =
        file.bus.values().flat_map(|bus| &bus.dbc).map(|name| sources::dbc_name(&sources.config.name, name)).collect();
    let used = sources.dbc.iter().filter(|file| named.contains(&file.name));
    let parsed: Vec<Parsed<'_>> = used.map(|file| parse(file, &mut report)).collect();
    let mut sections = sections(&file, sources, &parsed, complete, &mut report);
    check_buses(&sections, &mut report);
    sections.truncate(MAX_BUSES);
    let mut plan = Plan { simulated: options.simulate, ..Plan::default() };
    for section in &sections {
        let bus = bus::check(section, options.simulate, &mut report);
        let protections = protection::decide(section, &bus, &mut report);
        let decided = rights::decide(section, &bus, &protections, &mut report);
        if !add(&mut plan, section, bus, decided, protections) {
            let limits =
                format!("{MAX_TAGS} signals and {MAX_RECORDS} records (message, J1939 source, multiplexed branch)");
            let message = format!("with bus \"{}\" the plant has more than {limits}", section.name);
            report.error(&["bus", section.name], message);
            break;
        }
    }
    reception::connect(&mut plan, &sections, &mut report);
    link::connect(&mut plan, &file, &sections, &mut report);
    plan.routes = route::routes(&file, &plan, &sections, &mut report);
    arming::connect(&mut plan, &file, &sections, &mut report);
    plan.interlocks = interlock::interlocks(&file, &plan, &sections, &mut report);
    let settings = settings(&file, sources, &mut report);
    let mut diagnostics = report.found;
    sort(&mut diagnostics, sources);
    if has_errors(&diagnostics) {
        return Err(diagnostics);
    }
    let dbc: Vec<Vec<(&str, &[u8])>> = sections
        .iter()
        .map(|section| {
            let files = section.written.dbc.iter().zip(&section.files);
            files.map(|(name, parsed)| (name.as_str(), parsed.file.bytes.as_slice())).collect()
        })
        .collect();
    plan.number();
    plan.hash = hash::hash(&plan, &dbc);
    Ok(Loaded { plan, settings, diagnostics })
}

fn parse<'a>(file: &'a SourceFile, report: &mut Report<'_>) -> Parsed<'a> {
    let (database, found) = dbc::parse(&file.name, &file.bytes);
    report.found.extend(found);
    let content = database.map(|database| Content {
        nodes: database.nodes,
        messages: database.messages.into_iter().map(Arc::new).collect(),
    });
    Parsed { file, places: Places::of(&file.bytes), content }
}

/// The bus sections, sorted by name, with their DBC files.
fn sections<'a>(
    file: &'a written::File,
    sources: &Sources,
    parsed: &'a [Parsed<'a>],
    complete: bool,
    report: &mut Report<'_>,
) -> Vec<Section<'a>> {
    let mut sections = Vec::new();
    for (name, written) in &file.bus {
        let path = ["bus", name.as_str(), "dbc"];
        let mut files = Vec::new();
        // one that can't be used has been reported
        let mut whole = !report.is_dropped(&path);
        if written.dbc.is_empty() && whole {
            report.warning(&path[..2], format!("bus \"{name}\" names no DBC file: its frames are only counted"));
        }
        for (index, dbc) in written.dbc.iter().enumerate() {
            let wanted = sources::dbc_name(&sources.config.name, dbc);
            let Some(found) = parsed.iter().find(|parsed| parsed.file.name == wanted) else {
                whole = false;
                if complete {
                    let message = format!("\"{dbc}\" is not among the files handed over");
                    report.element(Severity::Error, &path, Some(index), message);
                }
                continue;
            };
            if files.iter().any(|other: &&Parsed<'_>| std::ptr::eq(*other, found)) {
                report.element(Severity::Error, &path, Some(index), format!("\"{dbc}\" is listed twice"));
                continue;
            }
            whole &= found.content.is_some();
            files.push(found);
        }
        let targets = file.link.values().filter_map(|link| link.to.as_deref()?.strip_prefix(name.as_str()));
        let linked = targets.filter_map(|target| target.strip_prefix('.')).collect();
        sections.push(Section { name, written, files, complete: whole, linked });
    }
    sections
}

/// What concerns the buses together.
fn check_buses(sections: &[Section<'_>], report: &mut Report<'_>) {
    if sections.is_empty() && !report.is_dropped(&["bus"]) {
        let remedy = "add a section [bus.NAME] with interface = \"can0\" and dbc = [\"FILE.dbc\"]";
        report.error(&["bus"], format!("there is no bus; {remedy}"));
    }
    if let Some(section) = sections.get(MAX_BUSES) {
        report.error(&["bus", section.name], format!("more than {MAX_BUSES} buses"));
    }
    let mut interfaces: BTreeMap<&str, &str> = BTreeMap::new();
    for section in sections {
        let Some(interface) = section.written.interface.as_deref() else { continue };
        if let Some(other) = interfaces.insert(interface, section.name) {
            let line = report.document.line(&["bus", other, "interface"]);
            let message =
                format!("interface {interface} is already bus \"{other}\" (line {line}); put both in one bus");
            report.error(&["bus", section.name, "interface"], message);
        }
    }
}

/// Numbers the messages, tags and records of one more bus; false where that would be too many.
fn add(
    plan: &mut Plan,
    section: &Section<'_>,
    bus: bus::Bus<'_>,
    decided: Vec<Decided>,
    mut protections: BTreeMap<usize, Protection>,
) -> bool {
    let first_message = plan.messages.len();
    for (index, (entry, decided)) in bus.messages.into_iter().zip(decided).enumerate() {
        let received_j1939 = entry.message.pgn.is_some() && matches!(decided.direction, Direction::Input(_));
        let first_tag = plan.tags.len();
        let tags = decided.tags.into_iter().enumerate();
        plan.tags.extend(tags.map(|(signal, (writable, immediate, repeated))| Tag {
            message: plan.messages.len(),
            signal,
            writable,
            immediate,
            repeated,
            ..Tag::default()
        }));
        let message = Message {
            bus: plan.buses.len(),
            direction: decided.direction,
            sources: if received_j1939 { bus.j1939_sources } else { 1 },
            first_record: plan.records,
            tags: first_tag..plan.tags.len(),
            protection: protections.remove(&index),
            message: entry.message,
        };
        plan.records += message.records();
        plan.messages.push(message);
    }
    plan.buses.push(Bus {
        name: section.name.to_owned(),
        interface: bus.interface,
        fd: bus.fd,
        node: bus.node,
        messages: first_message..plan.messages.len(),
        transmit_queue: TRANSMIT_QUEUE,
        restart: bus.life.restart,
        bit_rate: bus.life.bit_rate,
        data_bit_rate: bus.life.data_bit_rate,
        managed: bus.life.managed,
        ..Bus::default()
    });
    plan.tags.len() <= MAX_TAGS && plan.records <= MAX_RECORDS
}

/// The name in `credential:NAME`, which stands for a file that the service manager hands to the process.
pub fn credential(file: &Path) -> Option<&str> {
    file.to_str()?.strip_prefix("credential:")
}

/// Checks the sections of the network process, and resolves their files.
fn settings(file: &written::File, sources: &Sources, report: &mut Report<'_>) -> Settings {
    let mut opcua = file.opcua.clone();
    let http = file.http.clone();
    let folder = Path::new(&sources.config.name).parent().unwrap_or(Path::new(""));
    match opcua.users.as_deref().and_then(credential) {
        None => opcua.users = opcua.users.map(|users| folder.join(users)),
        // its path is known to the process that it is given to
        Some(name)
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) => {}
        Some(_) => {
            let message = "the name of a credential has letters, digits, _ and -: users = \"credential:opcua_users\"";
            report.error(&["opcua", "users"], message);
        }
    }
    if opcua.trust_any_client_certificate && !opcua.listen.ip().is_loopback() {
        let message = "with this, anyone who reaches the server is trusted: only possible when listen is a loopback address, like 127.0.0.1";
        report.error(&["opcua", "trust_any_client_certificate"], message);
    }
    if opcua.security_policy_none && !opcua.listen.ip().is_loopback() {
        let message = "security policy None: no encryption; anyone on the network reads and can change what passes, passwords included";
        report.warning(&["opcua", "security_policy_none"], message);
    }
    if !(1..=1000).contains(&opcua.max_connections) {
        report.error(&["opcua", "max_connections"], "max_connections goes from 1 to 1000");
    }
    if opcua.enabled && http.enabled && opcua.listen.port() != 0 && opcua.listen == http.listen {
        report.error(&["http", "listen"], "opcua and http can't listen on the same port");
    }
    Settings { opcua, http }
}
