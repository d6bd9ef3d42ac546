//! `canvoy status`: what is wrong and since when, what is armed, forced and late, from a running controller.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use super::operate::Door;
use super::{milliseconds, print};
use crate::command::latch_words;
use crate::dbc::Raw;
use crate::plan::{Alarm, Plan, Timed};
use crate::plant::text;
use crate::service::client::Client;
use crate::store::layout::{BusWord, FLAG_FIFO, FLAG_LOCKED, Latch, RouteWord, Trouble, Word};
use crate::store::{Reader, clock};

/// Show how a running controller is: alarms, outputs, forces, buses, times against their budgets
///
/// Exit code: 0 when nothing is wrong, 1 when an alarm is active, 69 when there is no controller.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  canvoy status\n  watch -n1 canvoy status\n  canvoy status --json | jq '.alarms[]'"
)]
pub struct Args {
    /// One JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::open(args.door.socket)?;
    let now = clock::monotonic();
    let status = document(&client.plan, &client.reader, client.pid, now);
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&status)?))?;
    } else {
        print(&people(&client.plan, &client.reader, now))?;
    }
    let alarmed = client.reader.stale(now) || client.reader.get(Word::AlarmsActive) > 0;
    Ok(ExitCode::from(u8::from(alarmed)))
}

/// The name of what keeps a time.
pub fn timed_name(plan: &Plan, of: Timed) -> (&'static str, String) {
    match of {
        Timed::Route(route) => ("route", plan.routes[route].name.clone()),
        Timed::Link(link) => ("link", plan.links[link].name.clone()),
        Timed::Cycle(message) => ("cycle", plan.message_name(message, None)),
    }
}

/// What an alarm's detail says, where it says something.
fn detail(alarm: Alarm, detail: u64) -> String {
    match alarm {
        Alarm::Fallback(_) | Alarm::NotArmed => latch_words(detail),
        Alarm::BusOff(_) | Alarm::BusErrors(_) => Trouble::from_word(detail).text().into(),
        _ => String::new(),
    }
}

fn document(plan: &Plan, reader: &Reader, pid: u32, now: u64) -> Json {
    let time = |stamp: u64| (stamp > 0).then(|| text::time(stamp));
    let flags = reader.get(Word::Flags);
    let alarms: Vec<Json> = plan
        .alarms
        .iter()
        .enumerate()
        .map(|(index, alarm)| (alarm, reader.alarm(index)))
        .filter(|(_, state)| state.active)
        .map(|(alarm, state)| {
            json!({ "kind": alarm.label(), "subject": alarm.subject(plan), "text": alarm.text(),
                "detail": detail(*alarm, state.detail), "since": time(state.since), "count": state.count })
        })
        .collect();
    let forces: Vec<Json> = reader
        .forces()
        .map(|force| {
            let codec = &plan.signal(force.tag).codec;
            json!({ "tag": plan.tag_name(force.tag, None), "value": codec.engineering(Raw::from_bits(codec.kind, force.bits)),
                "seconds_left": force.until.saturating_sub(now) as f64 / 1e9 })
        })
        .collect();
    let buses: Vec<Json> = plan
        .buses
        .iter()
        .enumerate()
        .map(|(index, bus)| {
            let count = |word| reader.bus(index, word);
            json!({ "name": bus.name, "state": reader.bus_state(index).word(), "since": time(count(BusWord::StateSince)),
                "trouble": Trouble::from_word(count(BusWord::Trouble)).text(), "received": count(BusWord::ReceivedFrames),
                "transmitted": count(BusWord::TransmittedFrames), "lost": count(BusWord::LostFrames) + count(BusWord::ControllerOverflows),
                "not_sent": count(BusWord::TransmitDropped), "waiting": count(BusWord::TransmitWaiting),
                "restarts": count(BusWord::Restarts) })
        })
        .collect();
    let routes: Vec<Json> = plan
        .routes
        .iter()
        .enumerate()
        .map(|(index, route)| {
            let count = |word| reader.route(index, word);
            json!({ "name": route.name, "on": count(RouteWord::Stopped) == 0, "passed": count(RouteWord::Passed),
                "rate_limited": count(RouteWord::RateLimited), "unfit": count(RouteWord::Unfit), "off": count(RouteWord::Off),
                "not_sent": count(RouteWord::NotSent) })
        })
        .collect();
    json!({
        "controller": { "pid": pid, "alive": !reader.stale(now), "started": time(reader.get(Word::StartedRealtime)),
            "configuration": plan.short_hash(), "fifo": flags & FLAG_FIFO != 0, "memory_locked": flags & FLAG_LOCKED != 0 },
        "armed": reader.get(Word::Armed) == 1, "remote": reader.get(Word::Remote) == 1,
        "alarms": alarms, "forces": forces, "buses": buses, "routes": routes, "times": times(plan, reader),
    })
}

/// The contracts that were used so far.
pub fn times(plan: &Plan, reader: &Reader) -> Vec<Json> {
    let contracts = plan.contracts.iter().enumerate().map(|(index, contract)| (contract, reader.contract(index)));
    contracts
        .filter(|(_, times)| times.count > 0)
        .map(|(contract, times)| {
            let (kind, name) = timed_name(plan, contract.of);
            let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
            let quantile = |share| times.quantile(share).map(us);
            json!({ "kind": kind, "name": name, "budget_us": us(contract.budget), "count": times.count,
                "mean_us": us(times.sum / times.count), "p50_us": quantile(0.5), "p99_us": quantile(0.99),
                "p999_us": quantile(0.999), "max_us": us(times.max), "overruns": times.overruns })
        })
        .collect()
}

fn people(plan: &Plan, reader: &Reader, now: u64) -> String {
    let mut text = String::new();
    // writing into a String can't fail
    let _ = write_people(&mut text, plan, reader, now);
    text
}

fn write_people(out: &mut String, plan: &Plan, reader: &Reader, now: u64) -> std::fmt::Result {
    if reader.stale(now) {
        writeln!(out, "THE CONTROLLER DOES NOT MOVE: what follows is its last word\n")?;
    }
    let armed = if reader.get(Word::Armed) == 1 { "armed" } else { "NOT ARMED" };
    let mode = if reader.get(Word::Remote) == 1 { "Remote" } else { "Local" };
    let flags = reader.get(Word::Flags);
    let class = if flags & FLAG_FIFO != 0 { "SCHED_FIFO" } else { "no real-time scheduling" };
    let locked = if flags & FLAG_LOCKED != 0 { "memory locked" } else { "memory not locked" };
    writeln!(out, "outputs {armed} · {mode} · {class}, {locked} · configuration {}", plan.short_hash())?;
    let active: Vec<_> =
        (0..plan.alarms.len()).map(|i| (plan.alarms[i], reader.alarm(i))).filter(|(_, s)| s.active).collect();
    if active.is_empty() {
        writeln!(out, "\nno alarm")?;
    } else {
        writeln!(
            out,
            "\n{} active:",
            if active.len() == 1 { "1 alarm".into() } else { format!("{} alarms", active.len()) }
        )?;
        for (alarm, state) in active {
            write!(out, "  {}  {}: {}", text::time(state.since), alarm.subject(plan), alarm.text())?;
            match detail(alarm, state.detail) {
                more if more.is_empty() => writeln!(out)?,
                more => writeln!(out, " ({more})")?,
            }
        }
    }
    for force in reader.forces() {
        let codec = &plan.signal(force.tag).codec;
        let value = codec.engineering(Raw::from_bits(codec.kind, force.bits));
        let left = text::age(force.until.saturating_sub(now));
        writeln!(out, "  forced: {} = {value} for another {left}", plan.tag_name(force.tag, None))?;
    }
    writeln!(out, "\nbuses:")?;
    for (index, bus) in plan.buses.iter().enumerate() {
        let count = |word| reader.bus(index, word);
        let lost = count(BusWord::LostFrames) + count(BusWord::ControllerOverflows);
        write!(
            out,
            "  {:<12} {:<8} received {}, sent {}, lost {lost}, not sent {}",
            bus.name,
            reader.bus_state(index).word(),
            count(BusWord::ReceivedFrames),
            count(BusWord::TransmittedFrames),
            count(BusWord::TransmitDropped),
        )?;
        match Trouble::from_word(count(BusWord::Trouble)) {
            Trouble::None => writeln!(out)?,
            trouble => writeln!(out, "; {}", trouble.text())?,
        }
    }
    for (index, route) in plan.routes.iter().enumerate() {
        let count = |word| reader.route(index, word);
        let dropped =
            count(RouteWord::RateLimited) + count(RouteWord::Unfit) + count(RouteWord::Off) + count(RouteWord::NotSent);
        let state = if count(RouteWord::Stopped) == 0 { "on" } else { "OFF" };
        writeln!(out, "  route {} {state}: passed {}, dropped {dropped}", route.name, count(RouteWord::Passed))?;
    }
    let used: Vec<_> = (0..plan.contracts.len())
        .map(|i| (plan.contracts[i], reader.contract(i)))
        .filter(|(_, t)| t.count > 0)
        .collect();
    if !used.is_empty() {
        writeln!(out, "\ntimes in ms (routes and links: receive stamp to sent; cycles: moment to sent):")?;
        writeln!(out, "  {:<40} {:>8} {:>8} {:>8} {:>8} {:>9}  over", "", "budget", "p50", "p99.9", "max", "count")?;
        for (contract, times) in used {
            let (kind, name) = timed_name(plan, contract.of);
            let ms = |time: u64| format!("{:.3}", milliseconds(time));
            let quantile = |share| times.quantile(share).map_or_else(String::new, ms);
            let what = format!("{kind} {name}");
            writeln!(
                out,
                "  {what:<40} {:>8} {:>8} {:>8} {:>8} {:>9}  {}",
                ms(contract.budget),
                quantile(0.5),
                quantile(0.999),
                ms(times.max),
                times.count,
                times.overruns
            )?;
        }
    }
    let held = (0..plan.messages.len()).map(|m| (m, reader.message(m, crate::store::layout::MessageWord::Latched)));
    for (message, latches) in held.filter(|(_, latches)| *latches != 0 && *latches != Latch::Start as u64) {
        writeln!(out, "  in fallback: {} ({})", plan.message_name(message, None), latch_words(latches))?;
    }
    Ok(())
}
