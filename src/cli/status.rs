//! `canvoy status`: what is wrong and since when, what is armed, forced and late, from a running controller.

use std::fmt::Write;
use std::process::ExitCode;

use serde::Serialize;

use super::operate::Door;
use super::print;
use crate::plant::j1939;
use crate::plant::machine::Machine;
use crate::plant::text;
use crate::service::client::Client;
use crate::store::clock;
use crate::store::layout::{BusWord, FLAG_FIFO, FLAG_LOCKED, Trouble, Word};

/// Show how a running controller is: alarms, outputs, forces, buses, times against their budgets
///
/// Exit code: 0 when nothing is wrong, 1 when an alarm is active, 69 when there is no controller.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  canvoy status\n  watch -n1 canvoy status\n  canvoy status --json | jq '.machine.alarms[]'"
)]
pub struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Everything, for programs.
#[derive(Serialize)]
struct Document<'a> {
    controller: Controller<'a>,
    buses: Vec<Bus<'a>>,
    /// Who holds which address of a bus, from the NAMEs that were claimed.
    j1939: Vec<j1939::Device>,
    machine: Machine,
}

#[derive(Serialize)]
struct Controller<'a> {
    pid: u32,
    /// Its real-time loop turns.
    alive: bool,
    /// RFC 3339; `null`: the clock was not set then.
    started: Option<String>,
    /// First digits of the hash of the configuration in force.
    configuration: String,
    /// All of it.
    configuration_hash: &'a str,
    /// RFC 3339: in force since.
    configuration_since: String,
    /// The real-time thread runs under SCHED_FIFO.
    fifo: bool,
    memory_locked: bool,
}

#[derive(Serialize)]
struct Bus<'a> {
    name: &'a str,
    state: &'static str,
    /// The likely cause of what is wrong.
    trouble: &'static str,
    /// Percent of the last second that frames had the bus; `null` while that is not known.
    load_percent: Option<f64>,
    /// The highest since the start of the controller.
    load_peak_percent: Option<f64>,
    received: u64,
    transmitted: u64,
    lost: u64,
    not_sent: u64,
    restarts: u64,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::open(args.door.socket)?;
    let document = take(&client, clock::monotonic());
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    } else {
        let mut text = String::new();
        write_people(&mut text, &document)?;
        print(&text)?;
    }
    Ok(ExitCode::from(u8::from(!document.controller.alive || !document.machine.alarms.is_empty())))
}

fn take(client: &Client, now: u64) -> Document<'_> {
    let Client { plan, reader, pid, generation, .. } = client;
    let flags = reader.get(Word::Flags);
    let buses = plan.buses.iter().enumerate().map(|(index, bus)| {
        let count = |word| reader.bus(index, word);
        Bus {
            name: &bus.name,
            state: reader.bus_state(index).word(),
            trouble: Trouble::from_word(count(BusWord::Trouble)).text(),
            load_percent: reader.load(index, now).ok().map(text::percent),
            load_peak_percent: reader.load_peak(index).map(|(load, _)| text::percent(load)),
            received: count(BusWord::ReceivedFrames),
            transmitted: count(BusWord::TransmittedFrames),
            lost: count(BusWord::LostFrames) + count(BusWord::ControllerOverflows),
            not_sent: count(BusWord::TransmitDropped),
            restarts: count(BusWord::Restarts),
        }
    });
    Document {
        controller: Controller {
            pid: *pid,
            alive: !reader.stale(now),
            started: text::known_time(reader.get(Word::StartedRealtime)),
            configuration: plan.short_hash(),
            configuration_hash: &generation.hash,
            configuration_since: text::time(generation.since),
            fifo: flags & FLAG_FIFO != 0,
            memory_locked: flags & FLAG_LOCKED != 0,
        },
        buses: buses.collect(),
        j1939: j1939::devices(plan, reader),
        machine: Machine::take(plan, reader, now),
    }
}

fn write_people(out: &mut String, document: &Document<'_>) -> std::fmt::Result {
    let Document { controller, buses, j1939, machine } = document;
    if !controller.alive {
        writeln!(out, "THE CONTROLLER DOES NOT MOVE: what follows is its last word\n")?;
    }
    writeln!(
        out,
        "outputs {} · {} · {}, {} · configuration {} since {}",
        if machine.armed { "armed" } else { "NOT ARMED" },
        if machine.remote { "Remote" } else { "Local" },
        if controller.fifo { "SCHED_FIFO" } else { "no real-time scheduling" },
        if controller.memory_locked { "memory locked" } else { "memory not locked" },
        controller.configuration,
        controller.configuration_since,
    )?;
    match (machine.clock_synchronized, machine.clock_max_error) {
        (Some(true), Some(error)) => writeln!(out, "clock synchronised, wrong by at most {:.3} s", error)?,
        (Some(false), _) => writeln!(out, "clock NOT synchronised: times may be wrong")?,
        _ => {}
    }
    if machine.wrong_door > 0 {
        let commands = machine.wrong_door;
        writeln!(out, "doors: {commands} commands refused that did not belong to theirs; the log says who sent them")?;
    }
    match machine.alarms.len() {
        0 => writeln!(out, "\nno alarm")?,
        1 => writeln!(out, "\n1 alarm:")?,
        many => writeln!(out, "\n{many} alarms:")?,
    }
    for alarm in &machine.alarms {
        let since = alarm.since.as_deref().unwrap_or(text::UNKNOWN_TIME);
        let consequence = if alarm.suppressed { "↳ " } else { "" };
        write!(out, "  {since}  {consequence}{}: {}", alarm.subject, alarm.text)?;
        if !alarm.detail.is_empty() {
            write!(out, " ({})", alarm.detail)?;
        }
        writeln!(out)?;
    }
    for force in &machine.forces {
        let value = force.value.map_or_else(|| "–".into(), |value| value.to_string());
        writeln!(out, "  forced: {} = {value}, ends in {:.0} s", force.tag, force.seconds_left)?;
    }
    writeln!(out, "\nbuses:")?;
    for bus in buses {
        let Bus { name, state, received, transmitted, lost, not_sent, .. } = bus;
        let percent = |load: Option<f64>| load.map_or_else(|| "–".into(), |load| format!("{load:.1} %"));
        let (load, peak) = (percent(bus.load_percent), percent(bus.load_peak_percent));
        write!(
            out,
            "  {name:<12} {state:<8} load {load} (highest {peak}), received {received}, sent {transmitted}, lost {lost}, not sent {not_sent}"
        )?;
        writeln!(out, "{}{}", if bus.trouble.is_empty() { "" } else { "; " }, bus.trouble)?;
    }
    for route in &machine.routes {
        let state = if route.on { "on" } else { "OFF" };
        writeln!(out, "  route {} {state}: passed {}, dropped {}", route.name, route.passed, route.dropped())?;
    }
    if !j1939.is_empty() {
        writeln!(out, "\nJ1939 devices, by the NAMEs that they claimed:")?;
    }
    for device in j1939 {
        writeln!(out, "  {}", device.line())?;
    }
    if !machine.times.is_empty() {
        writeln!(out, "\ntimes in ms (routes and links: receive stamp to sent; cycles: moment to sent):")?;
        writeln!(out, "  {:<40} {:>8} {:>8} {:>8} {:>8} {:>9}  over", "", "budget", "p50", "p99.9", "max", "count")?;
    }
    for times in &machine.times {
        let ms = |us: f64| format!("{:.3}", us / 1e3);
        writeln!(
            out,
            "  {:<40} {:>8} {:>8} {:>8} {:>8} {:>9}  {}",
            format!("{} {}", times.kind, times.name),
            ms(times.budget_us),
            ms(times.p50_us),
            ms(times.p999_us),
            ms(times.max_us),
            times.count,
            times.overruns,
        )?;
    }
    Ok(())
}
