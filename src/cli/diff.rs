//! `canvoy diff OLD NEW`: what another configuration changes on the machine.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::check::decimal;
use super::{EXIT_CONFIG, alarm, milliseconds, passing, print, print_diagnostics};
use crate::config::{self, LoadOptions};
use crate::dbc::codec::ByteOrder;
use crate::plan::{
    Arm, Direction, Interface, MessageIndex, Plan, Reception, Succession, TagIndex, Transmission, WhenDisarmed,
};

/// Show what another configuration changes: buses, messages, signals, routes, what may be written
///
/// Compares what two configurations mean for the machine, not their text: another order, comment or file name is no
/// difference. Lines begin with + (new), - (gone) or ~ (changed). Of our own messages it says which go on without a gap when the
/// new one is put in force by `canvoy reload`, and which enter at their fallback values.
/// Exit code: 0 whether there are differences or not, 78 when one of the two can't be used.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy diff /etc/canvoy/plant.toml plant-new.toml
  canvoy reload --dry-run                  what a reload of the running controller would change")]
pub struct Args {
    /// The configuration before
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The configuration after
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let read = |path: &Path| {
        let loaded = config::read(path).and_then(|sources| config::load(&sources, LoadOptions::default()));
        loaded.inspect_err(|mistakes| print_diagnostics(mistakes)).ok().map(|loaded| loaded.plan)
    };
    let (Some(old), Some(new)) = (read(&args.old), read(&args.new)) else { return Ok(ExitCode::from(EXIT_CONFIG)) };
    print(&difference(&old, &new))?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that differs, a line each, and the two plans.
pub fn difference(old: &Plan, new: &Plan) -> String {
    let mut text = String::new();
    if old.hash == new.hash {
        return format!("The machine is the same. Plan {}.\n", new.short_hash());
    }
    let (before, after) = (things(old), things(new));
    let succession = Succession::new(old, new);
    for (name, thing) in &before {
        if !after.contains_key(name) {
            // writing to a string can't fail
            let _ = writeln!(text, "- {} {}", thing.kind, name.1);
        }
    }
    for (name, thing) in &after {
        let entry = thing.message.map_or("", |message| entry(new, &succession, message));
        let _ = match before.get(name) {
            None => writeln!(text, "+ {} {}{}{entry}", thing.kind, name.1, thing.summary()),
            Some(known) if known.facts == thing.facts && entry.is_empty() => Ok(()),
            Some(known) => writeln!(text, "~ {} {}: {}{entry}", thing.kind, name.1, changes(known, thing)),
        };
    }
    let (old, new) = (old.short_hash(), new.short_hash());
    if text.is_empty() {
        text.push_str("Nothing of what is listed here: words, units or comments of the DBC files, or details.\n");
    }
    let _ = writeln!(text, "Plan {old} -> {new}.");
    text
}

/// How a message of ours comes into force.
fn entry(plan: &Plan, succession: &Succession, message: MessageIndex) -> &'static str {
    match (&plan.messages[message].direction, succession.continues[message]) {
        (Direction::Output(_), false) => "; enters at its fallback values",
        (Direction::Output(_), true) | (Direction::Input(_), _) => "",
    }
}

/// Something with a name, and what is known about it.
struct Thing {
    kind: &'static str,
    facts: Vec<(&'static str, String)>,
    /// One of ours.
    message: Option<MessageIndex>,
}

impl Thing {
    fn summary(&self) -> String {
        let facts = self.facts.iter().filter(|(_, value)| !value.is_empty());
        let facts: Vec<String> = facts.map(|(name, value)| format!("{name} {value}")).collect();
        if facts.is_empty() { String::new() } else { format!(": {}", facts.join(", ")) }
    }
}

fn changes(old: &Thing, new: &Thing) -> String {
    let word = |value: &str| if value.is_empty() { "none".to_owned() } else { value.to_owned() };
    let differ = old.facts.iter().zip(&new.facts).filter(|(old, new)| old != new);
    let texts: Vec<String> =
        differ.map(|((name, old), (_, new))| format!("{name} {} -> {}", word(old), word(new))).collect();
    if texts.is_empty() { "who writes it, its counter or checksum".into() } else { texts.join(", ") }
}

/// By rank of the kind and name: all that has a name in a plan.
fn things(plan: &Plan) -> BTreeMap<(u8, String), Thing> {
    let mut things = BTreeMap::new();
    let mut add = |rank: u8, name: String, kind, facts, message| {
        things.insert((rank, name), Thing { kind, facts, message });
    };
    add(0, "settings".into(), "machine", machine(plan), None);
    for bus in &plan.buses {
        add(1, bus.name.clone(), "bus", self::bus(bus), None);
    }
    for (index, message) in plan.messages.iter().enumerate() {
        let name = plan.message_name(index, None);
        let ours = matches!(message.direction, Direction::Output(_));
        add(2, name, "message", self::message(plan, index), ours.then_some(index));
    }
    for tag in 0..plan.tags.len() {
        add(3, plan.tag_name(tag, None), "signal", signal(plan, tag), None);
    }
    for route in &plan.routes {
        let fact = vec![("", passing::of_route(plan, route))];
        add(4, route.name.clone(), "route", fact, None);
    }
    for link in &plan.links {
        add(5, link.name.clone(), "link", vec![("", passing::of_link(plan, link))], None);
    }
    for interlock in &plan.interlocks {
        let when = conditions(plan, &interlock.when);
        let holds: Vec<String> = interlock
            .holds
            .iter()
            .map(|(tag, bits)| {
                let raw = plan.signal(*tag).codec.raw(&bits.bits);
                let value = raw.map_or(f64::NAN, |raw| plan.signal(*tag).codec.engineering(raw));
                format!("{} = {}", plan.tag_name(*tag, None), decimal(value))
            })
            .collect();
        add(6, interlock.name.clone(), "interlock", vec![("when", when), ("set", holds.join(", "))], None);
    }
    for limit in &plan.limits {
        add(7, limit.name.clone(), "alarm", vec![("", alarm::of_limit(plan, limit))], None);
    }
    for off_normal in &plan.off_normals {
        add(7, off_normal.name.clone(), "alarm", vec![("", alarm::of_off_normal(plan, off_normal))], None);
    }
    things
}

fn machine(plan: &Plan) -> Vec<(&'static str, String)> {
    let machine = &plan.machine;
    let arm = match machine.arm {
        Arm::AtStart => "at-start",
        Arm::ByHand => "by-hand",
    };
    vec![
        ("arm", arm.into()),
        ("local_when", conditions(plan, &machine.local_when)),
        ("reload_when", conditions(plan, &machine.reload_when)),
        ("reload_trial_s", (machine.reload_trial / 1_000_000_000).to_string()),
        ("fallback_on_overrun", machine.fallback_on_overrun.to_string()),
        ("remote_from_plant", machine.remote_from_plant.to_string()),
    ]
}

fn bus(bus: &crate::plan::Bus) -> Vec<(&'static str, String)> {
    let interface = match &bus.interface {
        Interface::SocketCan(name) => name.clone(),
        Interface::Virtual => "virtual".into(),
    };
    let rate = |rate: Option<u32>| rate.map(|rate| rate.to_string()).unwrap_or_default();
    vec![
        ("interface", interface),
        ("node", bus.node.clone().unwrap_or_default()),
        ("format", if bus.fd { "CAN FD".into() } else { "classic CAN".into() }),
        ("listen_ms", milliseconds(bus.listen).to_string()),
        ("bit_rate", rate(bus.bit_rate)),
        ("data_bit_rate", rate(bus.data_bit_rate)),
        ("managed", bus.managed.to_string()),
        ("restart", format!("{:?}", bus.restart.policy)),
    ]
}

fn message(plan: &Plan, index: MessageIndex) -> Vec<(&'static str, String)> {
    let message = &plan.messages[index];
    let dbc = &message.message;
    let time = |time: Option<u64>| time.map(|time| format!("{} ms", milliseconds(time))).unwrap_or_default();
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let (sent, received) = match &message.direction {
        Direction::Output(transmission) => (Some(&**transmission), None),
        Direction::Input(reception) => (None, Some(reception)),
    };
    let of = |fact: &dyn Fn(&Transmission) -> String| sent.map(fact).unwrap_or_default();
    let vital = |t: &Transmission| {
        t.vital.iter().map(|vital| plan.tag_name(vital.tag, vital.source_address)).collect::<Vec<_>>().join(" ")
    };
    let deadline = |reception: &Reception| time(reception.deadlines.first().copied().flatten());
    vec![
        ("", if sent.is_some() { "sent".into() } else { "received".into() }),
        ("identifier", dbc.id.to_string()),
        ("length", dbc.length.to_string()),
        ("format", if dbc.fd { "CAN FD".into() } else { "classic".into() }),
        ("cycle", of(&|t| time(t.period))),
        ("cycle while active", of(&|t| time(t.active.as_ref().map(|active| active.period)))),
        ("repetitions", of(&|t| if t.repetitions > 0 { t.repetitions.to_string() } else { String::new() })),
        ("shortest gap", of(&|t| time((t.delay > 0).then_some(t.delay)))),
        ("start values", of(&|t| hexadecimal(&t.start[..t.length]))),
        ("fallback", of(&|t| hexadecimal(&t.fallback[..t.length]))),
        (
            "when disarmed",
            of(&|t| if t.when_disarmed == WhenDisarmed::Silent { "silent".into() } else { String::new() }),
        ),
        ("lease", of(&|t| time(t.lease))),
        ("vital", of(&vital)),
        ("falls back on", of(&|t| alarm::fallback_on(plan, &t.fallback_on))),
        ("deadline", received.map(deadline).unwrap_or_default()),
        ("expected while", received.map(|r| conditions(plan, &r.expected_when)).unwrap_or_default()),
        ("protection", message.protection.as_ref().map(|p| format!("{:?}", p.scheme)).unwrap_or_default()),
    ]
}

fn signal(plan: &Plan, index: TagIndex) -> Vec<(&'static str, String)> {
    let tag = &plan.tags[index];
    let signal = plan.signal(index);
    let codec = &signal.codec;
    let order = match codec.order {
        ByteOrder::LittleEndian => "Intel",
        ByteOrder::BigEndian => "Motorola",
    };
    let yes = |on: bool| if on { "yes".to_owned() } else { String::new() };
    let link = tag.link.map(|link| plan.links[link].name.clone()).unwrap_or_default();
    let range = signal.range.map(|(min, max)| format!("{} to {}", decimal(min), decimal(max))).unwrap_or_default();
    let labels: Vec<String> = signal.value_table.iter().map(|(value, word)| format!("{value}={word}")).collect();
    vec![
        ("bits", format!("{}|{} {order} {:?}", codec.start, codec.size, codec.kind)),
        ("factor", decimal(codec.factor)),
        ("offset", decimal(codec.offset)),
        ("unit", signal.unit.clone()),
        ("range", range),
        ("values", labels.join(" ")),
        ("writable", yes(tag.writable)),
        ("forcible", yes(tag.forcible)),
        ("link", link),
    ]
}

fn conditions(plan: &Plan, conditions: &[crate::plan::Condition]) -> String {
    conditions.iter().map(|condition| plan.condition_text(condition)).collect::<Vec<_>>().join(" and ")
}
