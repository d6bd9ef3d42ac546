//! `canvoy check FILE`: every mistake of a configuration, or what it will do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_CONFIG, arming, milliseconds, print, print_diagnostics};
use crate::config::{self, Files, LoadOptions, Loaded};
use crate::plan::{Bus, Direction, Immediate, Instance, Interface, Message, Plan, RestartPolicy, Transmission};
use crate::plant::access;

/// Check a configuration and its DBC files, and show what it will do
///
/// Prints every mistake at once, each with file, line and column. Opens no bus and no port.
/// Exit code: 0 when the configuration can be used (there may be warnings), 78 when it can't.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy check /etc/canvoy/canvoy.toml && sudo systemctl reload canvoy
  canvoy check plant.toml --machine machine-07.toml
  CANVOY_VAR_INTERFACE=can1 canvoy check plant.toml")]
pub struct Args {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The variables of this machine, in place of the file that FILE names as machine_file
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let files = Files { config: args.file, machine: args.machine };
    let checked = files.read().and_then(|sources| {
        let loaded = config::load(&sources, LoadOptions::default())?;
        // who may not read the users is told what else there is
        match loaded
            .settings
            .opcua
            .users
            .as_deref()
            .filter(|file| file.is_file())
            .and_then(|file| access::list(file).ok())
        {
            Some(users) => config::load_with_users(&sources, LoadOptions::default(), &users),
            None => Ok(loaded),
        }
    });
    match checked {
        Ok(loaded) => {
            print_diagnostics(&loaded.diagnostics);
            print(&summary(&loaded))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            print_diagnostics(&mistakes);
            Ok(ExitCode::from(EXIT_CONFIG))
        }
    }
}

/// What the plan does, for people.
pub fn summary(loaded: &Loaded) -> String {
    let plan = &loaded.plan;
    let mut text = String::new();
    let _ = variables(loaded, &mut text);
    for bus in &plan.buses {
        // writing to a string can't fail
        let _ = describe(plan, bus, &mut text);
    }
    text.push_str(&super::passing::summary(plan));
    let _ = arming::describe(plan, &mut text);
    let _ = super::alarm::describe(plan, &mut text);
    let warnings = loaded.diagnostics.len();
    let _ = writeln!(
        text,
        "OK: {}, {}, {}; {}. Plan {}.",
        count(plan.buses.len(), "bus", "buses"),
        count(plan.messages.len(), "message", "messages"),
        count(plan.tags.len(), "signal", "signals"),
        if warnings == 0 { "no warnings".to_owned() } else { count(warnings, "warning", "warnings") },
        plan.short_hash(),
    );
    text
}

/// The variables in force, and where they come from.
fn variables(loaded: &Loaded, text: &mut String) -> std::fmt::Result {
    if loaded.variables.is_empty() {
        return Ok(());
    }
    writeln!(text, "variables:")?;
    let names: Vec<&str> = loaded.variables.iter().map(|variable| variable.name.as_str()).collect();
    let values: Vec<&str> = loaded.variables.iter().map(|variable| variable.value.as_str()).collect();
    let (name_width, value_width) = (width(&names), width(&values));
    for variable in &loaded.variables {
        let (name, value, origin) = (&variable.name, &variable.value, &variable.origin);
        writeln!(text, "  {name:name_width$}  {value:value_width$}  from {origin}")?;
    }
    Ok(())
}

/// Alike devices of a bus, and what overlay tables say about it.
fn described_elsewhere(plan: &Plan, bus: &Bus, text: &mut String) -> std::fmt::Result {
    let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let of_bus = |instance: &&Instance| plan.buses.get(instance.bus).is_some_and(|other| other.name == bus.name);
    for instance in plan.instances.iter().filter(of_bus) {
        types.entry(&instance.device).or_default().push(&instance.name);
    }
    for (device, names) in types {
        writeln!(text, "  {} {device}: {}", count(names.len(), "device", "devices"), names.join(", "))?;
    }
    let messages = bus.messages.clone();
    let tags = plan.tag_overlays.keys().filter(|tag| messages.contains(&plan.tags[**tag].message)).count();
    let of_messages = plan.message_overlays.keys().filter(|message| messages.contains(message)).count();
    if tags + of_messages > 0 {
        let (tags, of_messages) = (count(tags, "signal", "signals"), count(of_messages, "message", "messages"));
        writeln!(text, "  overlay tables give names, areas or texts of {tags} and {of_messages}")?;
    }
    Ok(())
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn describe(plan: &Plan, bus: &Bus, text: &mut String) -> std::fmt::Result {
    let interface = match &bus.interface {
        Interface::SocketCan(name) => format!("interface {name}"),
        Interface::Virtual => "virtual (simulated devices)".to_owned(),
    };
    let format = if bus.fd { "CAN FD" } else { "classic CAN" };
    let node = bus.node.as_deref().map(|node| format!(", node {node}")).unwrap_or_default();
    writeln!(text, "bus {}: {interface}, {format}{node}", bus.name)?;
    if bus.managed {
        writeln!(text, "  {}", managed(bus))?;
    }

    described_elsewhere(plan, bus, text)?;

    let messages = &plan.messages[bus.messages.clone()];
    let sent: Vec<(&Message, &Transmission)> = messages
        .iter()
        .filter_map(|message| match &message.direction {
            Direction::Output(transmission) => Some((message, &**transmission)),
            Direction::Input(_) => None,
        })
        .collect();
    let routed = plan.routes.iter().any(|route| plan.buses[route.to].name == bus.name);
    if sent.is_empty() && routed {
        writeln!(text, "  sends what routes pass, nothing else")?;
    } else if sent.is_empty() {
        let acknowledges = match bus.interface {
            Interface::SocketCan(_) => {
                "; the controller still acknowledges, unless the interface is in listen-only mode"
            }
            Interface::Virtual => "",
        };
        writeln!(text, "  listens: transmits nothing{acknowledges}")?;
    } else {
        writeln!(text, "  sends {}:", count(sent.len(), "message", "messages"))?;
        let (ids, names): (Vec<String>, Vec<&str>) =
            sent.iter().map(|(message, _)| (message.message.id.to_string(), message.message.name.as_str())).unzip();
        let (id_width, name_width) = (width(&ids), width(&names));
        for ((message, transmission), (id, name)) in sent.iter().zip(ids.iter().zip(names)) {
            writeln!(text, "    {id:id_width$}  {name:name_width$}  {}", how(plan, message, transmission))?;
        }
        let tags = sent.iter().flat_map(|(message, _)| message.tags.clone());
        let writable: Vec<usize> = tags.filter(|tag| plan.tags[*tag].writable).collect();
        if writable.is_empty() {
            writeln!(text, "  nothing may be written from the plant")?;
        } else {
            writeln!(text, "  may be written from the plant, {}:", count(writable.len(), "signal", "signals"))?;
            let names: Vec<String> = writable.iter().map(|tag| plan.tag_name(*tag, None)).collect();
            let name_width = width(&names);
            for (tag, name) in writable.into_iter().zip(names) {
                let kept = if plan.tags[tag].retained { "  retained" } else { "" };
                let line = format!("{name:name_width$}  {}{kept}", range(plan, tag));
                writeln!(text, "    {}", line.trim_end())?;
            }
        }
    }

    let received: Vec<&Message> =
        messages.iter().filter(|message| matches!(message.direction, Direction::Input(_))).collect();
    let with_deadline =
        received.iter().filter(|message| matches!(&message.direction, Direction::Input(reception) if reception.deadlines.iter().any(Option::is_some))).count();
    writeln!(
        text,
        "  receives {} with {}; {with_deadline} of them late when they stop coming",
        count(received.len(), "message", "messages"),
        count(received.iter().map(|message| message.tags.len()).sum(), "signal", "signals"),
    )?;
    for message in received {
        let how = awaited(plan, message);
        if !how.is_empty() {
            writeln!(text, "    {}  {}  {}", message.message.id, message.message.name, how.join(", "))?;
        }
    }
    Ok(())
}

/// What is special about how a message is received.
fn awaited(plan: &Plan, message: &Message) -> Vec<String> {
    let Direction::Input(reception) = &message.direction else { return Vec::new() };
    let mut how = Vec::new();
    if message.protection.is_some() {
        how.push("counter or checksum checked".to_owned());
    }
    if let Some(shortest) = reception.deadlines.iter().skip(1).flatten().min() {
        how.push(format!("branches late after {} ms", milliseconds(*shortest)));
    }
    if !reception.expected_when.is_empty() {
        let conditions: Vec<String> = reception.expected_when.iter().map(|c| plan.condition_text(c)).collect();
        how.push(format!("expected while {}", conditions.join(" and ")));
    }
    how
}

/// What `canvoy-link` does for a bus.
fn managed(bus: &Bus) -> String {
    let rate = bus.bit_rate.map(|rate| format!(" with {rate} bit/s")).unwrap_or_default();
    let data = bus.data_bit_rate.map(|rate| format!(", data {rate} bit/s")).unwrap_or_default();
    let per_hour = bus.restart.per_hour;
    let restart = match bus.restart.policy {
        RestartPolicy::Off | RestartPolicy::ByHand => "restarted after bus-off by command only".to_owned(),
        RestartPolicy::Fixed(pause) => {
            format!("restarted {} ms after bus-off, at most {per_hour} times an hour", milliseconds(pause))
        }
        RestartPolicy::Growing(first, most) => format!(
            "restarted {} to {} ms after bus-off, at most {per_hour} times an hour",
            milliseconds(first),
            milliseconds(most)
        ),
    };
    format!("canvoy-link sets the interface up{rate}{data}; {restart}")
}

fn width(texts: &[impl AsRef<str>]) -> usize {
    texts.iter().map(|text| text.as_ref().chars().count()).max().unwrap_or_default()
}

/// When a message is sent.
fn how(plan: &Plan, message: &Message, transmission: &Transmission) -> String {
    let mut how = Vec::new();
    if let Some(period) = transmission.period {
        how.push(format!("every {} ms", milliseconds(period)));
    }
    if let Some(active) = &transmission.active {
        how.push(format!("every {} ms while active", milliseconds(active.period)));
    }
    if transmission.start_delay > 0 {
        how.push(format!("first after {} ms", milliseconds(transmission.start_delay)));
    }
    let tags = &plan.tags[message.tags.clone()];
    let immediate =
        tags.iter().filter(|tag| tag.writable || tag.link.is_some()).map(|tag| tag.immediate).max().unwrap_or_default();
    match immediate {
        Immediate::OnWrite => how.push("at once when written".to_owned()),
        Immediate::OnChange => how.push("at once when a write changes it".to_owned()),
        Immediate::No => {}
    }
    if let (true, Some(fast)) = (tags.iter().any(|tag| tag.writable && tag.repeated), transmission.fast_period) {
        how.push(format!("repeated {} times, every {} ms", transmission.repetitions, milliseconds(fast)));
    }
    if transmission.delay > 0 {
        how.push(format!("never within {} ms", milliseconds(transmission.delay)));
    }
    let cyclic = transmission.period.is_some() || transmission.active.is_some();
    if cyclic || immediate != Immediate::No {
        how.join(", ")
    } else if tags.iter().any(|tag| tag.immediate != Immediate::No) {
        "when written; but nothing may write it".to_owned()
    } else {
        "never: neither cycle time nor send type".to_owned()
    }
}

/// The values that a write to the tag may have: the DBC's range, else what the bits can hold.
fn range(plan: &Plan, tag: usize) -> String {
    let signal = plan.signal(tag);
    let (min, max) = signal.range.unwrap_or_else(|| signal.codec.engineering_limits());
    format!("{} to {} {}", decimal(min), decimal(max), signal.unit)
}

/// Short where a number has many digits (the limits of a float signal).
pub(super) fn decimal(number: f64) -> String {
    if number.abs() >= 1e15 { format!("{number:e}") } else { number.to_string() }
}
