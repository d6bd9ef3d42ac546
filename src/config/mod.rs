//! Configuration: the TOML file as written, checked together with its DBC files, and resolved to a [`Plan`].
//!
//! `disk` has the only file access; everything after it is a function of bytes, so the controller and the plant
//! process build the same plan. All mistakes of all files are reported together, each with its place and a remedy.

mod alarm;
mod arming;
mod assemble;
mod bus;
mod condition;
mod cycle;
mod device;
mod disk;
mod document;
mod hash;
mod identifiers;
mod identity;
mod include;
mod instance;
mod interlock;
mod j1939;
mod life;
mod link;
mod overlay;
mod protection;
mod reception;
mod report;
mod retain;
mod rights;
mod role;
mod route;
mod sources;
mod suggest;
mod tag;
mod takes;
mod transmission;
mod unit;
mod variable;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub use disk::{Files, read};
pub use sources::{BundleError, SourceFile, Sources};
pub use variable::{Origin, Variable};

use crate::dbc;
use crate::diagnostic::{Diagnostic, Severity, has_errors};
use crate::plan::{Bus, Direction, Instance, Message, Plan, Tag};
use crate::plant;
use crate::plant::access::Rights;
use crate::plant::access::role::Configs;
use crate::protection::Protection;
use assemble::{Assembled, Missing, assemble};
use bus::{Content, Parsed, Section};
use document::Document;
use instance::Devices;
use overlay::Overlays;
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
    /// Who may do what on the network side, in this plan.
    pub rights: Rights,
    /// Sorted by name.
    pub variables: Vec<Variable>,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// What concerns only the network process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub opcua: plant::opcua::Config,
    pub http: plant::http::Config,
    pub roles: Configs,
}

/// The plan that the files describe, or every mistake in them (warnings included).
///
/// The same bytes and options give the same plan and the same hash.
pub fn load(sources: &Sources, options: LoadOptions) -> Result<Loaded, Vec<Diagnostic>> {
    check(sources, options, &Missing::new(), None)
}

/// The same, with warnings where roles name users that are not among these: the names in the users file, which is no part of the
/// configuration.
pub fn load_with_users(sources: &Sources, options: LoadOptions, users: &[String]) -> Result<Loaded, Vec<Diagnostic>> {
    check(sources, options, &Missing::new(), Some(users))
}

/// `missing`: files that are named and could not be read, with the reason.
fn check(
    sources: &Sources,
    options: LoadOptions,
    missing: &Missing,
    users: Option<&[String]>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut assembled = assemble(sources, missing)?;
    let (file, dropped) = assemble::read(&mut assembled);
    let Assembled { document, variables, found } = assembled;
    let mut report = Report { document: &document, missing, found, dropped, alike: Vec::new() };

    let named = named(&file, &document);
    let used = sources.dbc.iter().filter(|file| named.contains(&file.name));
    let parsed: Vec<Parsed<'_>> = used.map(|file| parse(file, &mut report)).collect();
    let devices: Vec<Devices<'_>> =
        file.bus.iter().map(|(name, written)| instance::devices(name, written, &parsed, &mut report)).collect();
    report.alike = devices
        .iter()
        .flat_map(|devices| &devices.files)
        .filter_map(|file| file.instance)
        .map(|instance| device::message_name(instance.name, ""))
        .collect();
    report.alike.dedup();
    let mut sections = sections(&file, &parsed, &devices, &mut report);
    check_buses(&sections, &mut report);
    sections.truncate(MAX_BUSES);
    let mut plan = Plan { simulated: options.simulate, ..Plan::default() };
    for section in &sections {
        let mut bus = bus::check(section, options.simulate, &mut report);
        let overlays = overlay::apply(section, &mut bus, &sources.overlay, &mut report);
        let protections = protection::decide(section, &bus, &mut report);
        let decided = rights::decide(section, &bus, &protections, &mut report);
        if !add(&mut plan, section, bus, decided, protections, overlays) {
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
    retain::connect(&mut plan, &sections, &mut report);
    plan.interlocks = interlock::interlocks(&file, &plan, &sections, &mut report);
    alarm::connect(&mut plan, &file, &sections, &mut report);
    plan.manufacturers = j1939::manufacturers(&file.j1939, &mut report);
    let mut settings = settings(&file, &mut report);
    settings.roles = role::roles(&file, &plan, &sections, &mut report);
    if let (Some(users), Some(file)) = (users, &settings.opcua.users) {
        role::check_users(&settings.roles, users, file, &mut report);
    }
    identity::check(&settings.opcua, &plan, &mut report);
    let mut diagnostics = report.found;
    sort(&mut diagnostics, sources);
    if has_errors(&diagnostics) {
        return Err(diagnostics);
    }
    let dbc: Vec<Vec<(&str, &[u8])>> = sections.iter().map(|section| dbc_bytes(section, sources, &document)).collect();
    plan.number();
    plan.hash = hash::hash(&plan, &dbc);
    let rights = Rights::new(&settings.roles, &plan);
    Ok(Loaded { plan, settings, rights, variables, diagnostics })
}

/// The DBC files and overlay tables of a bus by their names, those of device types once.
fn dbc_bytes<'a>(section: &Section<'a>, sources: &'a Sources, document: &Document<'_>) -> Vec<(&'a str, &'a [u8])> {
    let own = section.files.iter().filter(|parsed| parsed.instance.is_none());
    let own = section.written.dbc.iter().map(String::as_str).zip(own.map(|parsed| parsed.file.bytes.as_slice()));
    let mut all: Vec<_> = own.collect();
    for parsed in section.files.iter().filter(|parsed| parsed.instance.is_some()) {
        let bytes = parsed.file.bytes.as_slice();
        if !all.iter().any(|(_, other)| std::ptr::eq(*other, bytes)) {
            let name = Path::new(&parsed.file.name).file_name().and_then(|name| name.to_str());
            all.push((name.unwrap_or_default(), bytes));
        }
    }
    let path = ["bus", section.name, "overlay"];
    for (index, written) in section.written.overlay.iter().enumerate() {
        let name = sources::dbc_name(document.file(&path, Some(index)), written);
        let file = sources.overlay.iter().find(|file| file.name == name);
        all.extend(file.map(|file| (written.as_str(), file.bytes.as_slice())));
    }
    all
}

fn parse<'a>(file: &'a SourceFile, report: &mut Report<'_>) -> Parsed<'a> {
    let (database, found) = dbc::parse(&file.name, &file.bytes);
    report.found.extend(found);
    let content = database.map(|database| Content {
        nodes: database.nodes,
        messages: database.messages.into_iter().map(Arc::new).collect(),
    });
    Parsed { file, places: Places::of(&file.bytes), content, instance: None }
}

/// The names of all DBC files.
fn named(file: &written::File, document: &Document<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (bus, section) in &file.bus {
        let mut add = |path: &[&str], written: &[String]| {
            let files = written.iter().enumerate();
            names.extend(files.map(|(index, name)| sources::dbc_name(document.file(path, Some(index)), name)));
        };
        add(&["bus", bus, "dbc"], &section.dbc);
        section.device.iter().for_each(|(name, device)| add(&["bus", bus, "device", name, "dbc"], &device.dbc));
    }
    names
}

/// The DBC files that a list names; false where one is missing.
fn dbc_files<'p, 'a>(
    path: &[&str],
    written: &[String],
    parsed: &'p [Parsed<'a>],
    report: &mut Report<'_>,
) -> (Vec<&'p Parsed<'a>>, bool) {
    let mut files: Vec<&Parsed<'_>> = Vec::new();
    // one that can't be used has been reported
    let mut whole = !report.is_dropped(path);
    for (index, dbc) in written.iter().enumerate() {
        let wanted = sources::dbc_name(report.document.file(path, Some(index)), dbc);
        let Some(found) = parsed.iter().find(|parsed| parsed.file.name == wanted) else {
            whole = false;
            report.unread(path, index, dbc, &wanted);
            continue;
        };
        if files.iter().any(|other| std::ptr::eq(*other, found)) {
            report.element(Severity::Error, path, Some(index), format!("\"{dbc}\" is listed twice"));
            continue;
        }
        whole &= found.content.is_some();
        files.push(found);
    }
    (files, whole)
}

/// The bus sections, sorted by name, with their DBC files.
fn sections<'a>(
    file: &'a written::File,
    parsed: &'a [Parsed<'a>],
    devices: &'a [Devices<'a>],
    report: &mut Report<'_>,
) -> Vec<Section<'a>> {
    let mut sections = Vec::new();
    for ((name, written), devices) in file.bus.iter().zip(devices) {
        let path = ["bus", name.as_str(), "dbc"];
        if written.dbc.is_empty() && written.device.is_empty() && !report.is_dropped(&path) {
            report.warning(&path[..2], format!("bus \"{name}\" names no DBC file: its frames are only counted"));
        }
        let (mut files, whole) = dbc_files(&path, &written.dbc, parsed, report);
        files.extend(&devices.files);
        let targets = file.link.values().filter_map(|link| link.to.as_deref()?.strip_prefix(name.as_str()));
        let linked = targets.filter_map(|target| target.strip_prefix('.')).collect();
        sections.push(Section { name, written, files, complete: whole && devices.complete, linked });
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
            let path = ["bus", section.name, "interface"];
            let place = report.document.place_from(&["bus", other, "interface"], &path);
            let message = format!("interface {interface} is already bus \"{other}\" ({place}); put both in one bus");
            report.error(&path, message);
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
    overlays: Overlays,
) -> bool {
    let first_message = plan.messages.len();
    let first_instance = plan.instances.len();
    let devices: BTreeMap<&str, &str> =
        section.files.iter().filter_map(|parsed| parsed.instance.map(|of| (of.name, of.device))).collect();
    plan.instances.extend(devices.into_iter().map(|(name, device)| Instance {
        bus: plan.buses.len(),
        name: name.to_owned(),
        device: device.to_owned(),
    }));
    for (index, (entry, decided)) in bus.messages.into_iter().zip(decided).enumerate() {
        let received_j1939 = entry.message.has_sources() && matches!(decided.direction, Direction::Input(_));
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
            instance: entry.parsed.instance.and_then(|of| {
                let devices = plan.instances[first_instance..].iter();
                devices.zip(first_instance..).find(|(device, _)| device.name == of.name).map(|(_, index)| index)
            }),
            message: entry.message,
        };
        plan.records += message.records();
        plan.messages.push(message);
    }
    for ((message, signal), overlay) in overlays {
        plan.locales.extend(overlay.locales().cloned());
        let message = first_message + message;
        match signal {
            Some(signal) => plan.tag_overlays.insert(plan.messages[message].tags.start + signal, overlay),
            None => plan.message_overlays.insert(message, overlay),
        };
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
fn settings(file: &written::File, report: &mut Report<'_>) -> Settings {
    let mut opcua = file.opcua.clone();
    let http = file.http.clone();
    let folder = Path::new(report.document.file(&["opcua", "users"], None)).parent().unwrap_or(Path::new(""));
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
    if opcua.trust_first_client && !opcua.listen.ip().is_loopback() {
        let message =
            "whoever comes first is trusted for good: take this out again when your client is (`canvoy cert list`)";
        report.warning(&["opcua", "trust_first_client"], message);
    }
    if opcua.security_policy_none && !opcua.listen.ip().is_loopback() {
        let message = "security policy None: no encryption; anyone on the network reads and can change what passes; nobody logs in by name over it, and no password is taken";
        report.warning(&["opcua", "security_policy_none"], message);
    }
    if !(1..=1000).contains(&opcua.max_connections) {
        report.error(&["opcua", "max_connections"], "max_connections goes from 1 to 1000");
    }
    for key in plant::opcua::limits::KEYS {
        let value = (key.of)(&opcua.limits);
        if !(key.least..=key.most).contains(&value) {
            report
                .error(&["opcua", "limits", key.name], format!("{} goes from {} to {}", key.name, key.least, key.most));
        }
    }
    if opcua.limits.message_before_login_bytes > opcua.limits.message_bytes {
        let message = "before login a message may not be longer than after it: message_before_login_bytes is at most message_bytes";
        report.error(&["opcua", "limits", "message_before_login_bytes"], message);
    }
    if opcua.enabled && http.enabled && opcua.listen.port() != 0 && opcua.listen == http.listen {
        report.error(&["http", "listen"], "opcua and http can't listen on the same port");
    }
    for (name, role) in &file.role {
        if opcua.trust_any_client_certificate && !role.applications.is_empty() {
            let message = "with trust_any_client_certificate every client can call itself what it likes: an application has no role then; take one of both out";
            report.error(&["role", name, "applications"], message);
        } else if opcua.trust_first_client && !role.applications.is_empty() {
            let message = "with trust_first_client the first client to come has this role if it calls itself so; take trust_first_client out when your client is trusted (`canvoy cert list`)";
            report.warning(&["role", name, "applications"], message);
        }
    }
    Settings { opcua, http, roles: Configs::new() }
}
