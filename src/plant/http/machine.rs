//! The machine side in Prometheus text: alarms, arming, forces, routes, times against their budgets.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::metrics::{Escaped, Number, header, single};
use crate::plan::{AlarmIndex, Plan};
use crate::plant::j1939;
use crate::plant::machine::timed;
use crate::store::Reader;
use crate::store::layout::{BUCKETS, LinkWord, MessageWord, RouteWord, Word, bucket_end};
use crate::store::names::NameWord;

/// Every fourth bucket of a histogram is a series: one for each doubling.
const STEP: usize = 4;

/// Appends all of it. `alive`: a controller is there.
pub fn write(out: &mut String, plan: &Plan, reader: &Reader, alive: bool) {
    for (name, word, help) in [
        ("canvoy_armed", Word::Armed, "1 while the outputs are armed; 0: they have their fallback values."),
        ("canvoy_remote", Word::Remote, "1 in Remote, the plant may write, arm and force; 0 in Local."),
        ("canvoy_forces", Word::Forces, "Signals that are forced."),
        ("canvoy_alarms_active", Word::AlarmsActive, "Alarms that are active."),
    ] {
        single(out, name, "gauge", help, if alive { reader.get(word) as f64 } else { 0.0 });
    }
    // without a controller nobody asks the kernel
    if let Some(clock) = reader.clock().filter(|_| alive) {
        let help = "1 while a time service keeps the clock, as the kernel says; absent where it does not say.";
        single(out, "canvoy_clock_synchronized", "gauge", help, f64::from(u8::from(clock.synchronized)));
        let help = "Seconds by which the clock may be wrong, as the kernel estimates it.";
        single(out, "canvoy_clock_max_error_seconds", "gauge", help, clock.max_error as f64 / 1e9);
    }
    alarms(out, plan, reader, alive);
    for (name, word, help) in [
        ("canvoy_commands_total", Word::Commands, "Commands that were carried out, writes included."),
        ("canvoy_commands_refused_total", Word::CommandsRefused, "Commands that the real-time thread refused."),
    ] {
        single(out, name, "counter", help, reader.get(word) as f64);
    }
    let help = "Commands refused for the door that they came through: in the name of the machine through the plant's, or what the plant may never ask.";
    single(out, "canvoy_commands_wrong_door_total", "counter", help, reader.wrong_door() as f64);
    messages(out, plan, reader);
    sources(out, plan, reader);
    routes(out, plan, reader);
    links(out, plan, reader);
    times(out, plan, reader);
}

/// Only what is active has a series: an alarm rule is `canvoy_alarm == 1`, and one without consequences
/// `canvoy_alarm unless canvoy_alarm_suppressed`.
fn alarms(out: &mut String, plan: &Plan, reader: &Reader, alive: bool) {
    header(out, "canvoy_alarm", "gauge", "1 for each active alarm, with its kind and what it is about.");
    let active = plan.alarms.iter().enumerate().filter(|(index, _)| alive && reader.alarm(*index).active);
    let active: BTreeMap<AlarmIndex, u64> = active.map(|(index, _)| (index, reader.alarm(index).since)).collect();
    let suppressed = |index: AlarmIndex| plan.cause(index, |at| active.get(&at).copied()).is_some();
    let series = |out: &mut String, name: &str, index: AlarmIndex| {
        let (kind, subject) = (plan.alarms[index].label(), plan.alarms[index].subject(plan));
        // writing into a String can't fail
        let _ = writeln!(out, "{name}{{kind=\"{kind}\",subject=\"{}\"}} 1", Escaped(&subject));
    };
    active.keys().for_each(|index| series(out, "canvoy_alarm", *index));
    let help = "1 for each active alarm that is only a consequence of another active one.";
    header(out, "canvoy_alarm_suppressed", "gauge", help);
    active.keys().filter(|index| suppressed(**index)).for_each(|index| series(out, "canvoy_alarm_suppressed", *index));
}

/// Only messages with something to count have a series.
fn messages(out: &mut String, plan: &Plan, reader: &Reader) {
    for (name, word, help) in [
        ("can_message_late_total", MessageWord::Late, "Times that a received message was late."),
        ("can_message_checksum_errors_total", MessageWord::WrongChecksums, "Frames with a wrong checksum."),
        ("can_message_counter_errors_total", MessageWord::WrongCounters, "Frames with a wrong or repeated counter."),
        ("can_message_too_soon_total", MessageWord::TooSoon, "Frames that came sooner than configured."),
        ("can_message_foreign_total", MessageWord::Foreign, "Frames of ours that another node sent."),
    ] {
        header(out, name, "counter", help);
        for (index, message) in plan.messages.iter().enumerate() {
            let count = reader.message(index, word);
            if count > 0 {
                let (bus, message) = (&plan.buses[message.bus].name, &message.message.name);
                let _ = writeln!(out, "{name}{{bus=\"{}\",message=\"{}\"}} {count}", Escaped(bus), Escaped(message));
            }
        }
    }
}

/// Who sends: at most 254 series for each bus with J1939, and none for the others.
fn sources(out: &mut String, plan: &Plan, reader: &Reader) {
    if plan.buses.iter().all(|bus| bus.names.is_none()) {
        return;
    }
    let name = "canvoy_j1939_source_info";
    header(out, name, "gauge", "1 for each J1939 device that holds an address, with what its NAME says.");
    for device in j1939::devices(plan, reader) {
        let _ = writeln!(
            out,
            "{name}{{bus=\"{}\",source_address=\"{}\",name=\"{}\",manufacturer=\"{}\",manufacturer_code=\"{}\",\
             identity_number=\"{}\",function=\"{}\"}} 1",
            Escaped(&device.bus),
            device.source_address,
            device.name,
            Escaped(&device.manufacturer),
            device.manufacturer_code,
            device.identity_number,
            device.function,
        );
    }
    for (name, word, help) in [
        ("canvoy_j1939_claims_total", NameWord::Claims, "J1939 address claims."),
        ("canvoy_j1939_contentions_total", NameWord::Contentions, "J1939 claims of an address that another NAME held."),
        ("canvoy_j1939_cannot_claim_total", NameWord::CannotClaims, "J1939 devices that could not claim an address."),
        ("canvoy_j1939_short_claims_total", NameWord::Short, "J1939 address claims of less than 8 bytes."),
    ] {
        header(out, name, "counter", help);
        for (bus, count) in j1939::counts(plan, reader, word) {
            let _ = writeln!(out, "{name}{{bus=\"{}\"}} {count}", Escaped(&bus));
        }
    }
}

fn routes(out: &mut String, plan: &Plan, reader: &Reader) {
    if plan.routes.is_empty() {
        return;
    }
    header(out, "canvoy_route_frames_total", "counter", "Frames of a route by what became of them.");
    for (index, route) in plan.routes.iter().enumerate() {
        for (word, fate) in [
            (RouteWord::Passed, "passed"),
            (RouteWord::RateLimited, "rate_limited"),
            (RouteWord::Unfit, "unfit"),
            (RouteWord::Off, "off"),
            (RouteWord::NotSent, "not_sent"),
        ] {
            let (name, count) = (Escaped(&route.name), reader.route(index, word));
            let _ = writeln!(out, "canvoy_route_frames_total{{route=\"{name}\",fate=\"{fate}\"}} {count}");
        }
    }
    header(out, "canvoy_route_on", "gauge", "1 while a route passes frames; 0: switched off by a storm or by command.");
    for (index, route) in plan.routes.iter().enumerate() {
        let on = u8::from(reader.route(index, RouteWord::Stopped) == 0);
        let _ = writeln!(out, "canvoy_route_on{{route=\"{}\"}} {on}", Escaped(&route.name));
    }
}

fn links(out: &mut String, plan: &Plan, reader: &Reader) {
    if plan.links.is_empty() {
        return;
    }
    header(out, "canvoy_link_values_total", "counter", "Values of the source of a link by what became of them.");
    for (index, link) in plan.links.iter().enumerate() {
        for (word, fate) in [(LinkWord::Passed, "passed"), (LinkWord::Unfit, "unfit")] {
            let (name, count) = (Escaped(&link.name), reader.link(index, word));
            let _ = writeln!(out, "canvoy_link_values_total{{link=\"{name}\",fate=\"{fate}\"}} {count}");
        }
    }
    header(out, "canvoy_link_source_bad", "gauge", "1 while the source of a link is not good.");
    for (index, link) in plan.links.iter().enumerate() {
        let bad = reader.link(index, LinkWord::Bad);
        let _ = writeln!(out, "canvoy_link_source_bad{{link=\"{}\"}} {bad}", Escaped(&link.name));
    }
}

fn times(out: &mut String, plan: &Plan, reader: &Reader) {
    if plan.contracts.is_empty() {
        return;
    }
    let all: Vec<(String, u64)> = plan
        .contracts
        .iter()
        .map(|contract| {
            let (kind, name) = timed(plan, contract.of);
            (format!("kind=\"{kind}\",name=\"{}\"", Escaped(&name)), contract.budget)
        })
        .collect();
    let name = "canvoy_time_seconds";
    header(
        out,
        name,
        "histogram",
        "Routes and links: from the receive stamp to the return of the transmit call; cycles: from their moment.",
    );
    for (index, (labels, _)) in all.iter().enumerate() {
        let times = reader.contract(index);
        let mut total = 0;
        for (bucket, count) in times.buckets.iter().enumerate() {
            total += count;
            if bucket % STEP == 0 && bucket + 1 < BUCKETS && bucket_end(bucket) < 20_000_000_000 {
                let end = bucket_end(bucket) as f64 / 1e9;
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {total}", Number(end));
            }
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", Number(times.sum as f64 / 1e9));
        let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
    }
    header(out, "canvoy_time_budget_seconds", "gauge", "What each time may be.");
    for (labels, budget) in &all {
        let _ = writeln!(out, "canvoy_time_budget_seconds{{{labels}}} {}", Number(*budget as f64 / 1e9));
    }
    header(out, "canvoy_time_max_seconds", "gauge", "The longest time since the start of the controller.");
    for (index, (labels, _)) in all.iter().enumerate() {
        let max = reader.contract(index).max as f64 / 1e9;
        let _ = writeln!(out, "canvoy_time_max_seconds{{{labels}}} {}", Number(max));
    }
    header(out, "canvoy_time_overruns_total", "counter", "Times above the budget.");
    for (index, (labels, _)) in all.iter().enumerate() {
        let _ = writeln!(out, "canvoy_time_overruns_total{{{labels}}} {}", reader.contract(index).overruns);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Example;
    use super::*;
    use crate::can::name::Name;
    use crate::plan::{Alarm, Timed};
    use crate::store::layout::MainWord;
    use crate::store::names::Holder;

    #[test]
    fn who_claimed_an_address_is_a_series() {
        let mut example = Example::new();
        let text = |example: &Example| {
            let mut text = String::new();
            write(&mut text, &example.plan, &example.plant.view().reader, true);
            text
        };
        assert!(!text(&example).contains("canvoy_j1939_source_info{"));
        example.writer.set_holder(0, 33, Some(Holder { name: Name(0xA10A_8200_2260_1267), claimed: 1 }));
        example.writer.count_name(0, NameWord::Contentions);
        let text = text(&example);
        for line in [
            "canvoy_j1939_source_info{bus=\"line\",source_address=\"33\",name=\"A10A820022601267\",\
             manufacturer=\"J1939 manufacturer 275\",manufacturer_code=\"275\",identity_number=\"4711\",\
             function=\"130\"} 1",
            "canvoy_j1939_contentions_total{bus=\"line\"} 1",
            "canvoy_j1939_claims_total{bus=\"line\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn alarms_and_times_are_series() {
        let mut example = Example::new();
        let plan = example.plan.clone();
        let message = plan.messages.iter().position(|m| m.message.name == "DriveCommand").unwrap();
        example.writer.alarm(plan.alarm(Alarm::ForeignSender(message)).unwrap(), true, 0, 1);
        example.writer.add_message(message, MessageWord::Foreign, 7);
        example.writer.alarm(plan.alarm(Alarm::Fallback(message)).unwrap(), true, 0, 2);
        let contract = plan.contract(Timed::Cycle(message)).unwrap();
        example.writer.contract(contract, 3_000_000, 1_000_000, 1);
        let mut text = String::new();
        write(&mut text, &plan, &example.plant.view().reader, true);
        for line in [
            "canvoy_alarms_active 2",
            "canvoy_alarm{kind=\"foreign_sender\",subject=\"line.DriveCommand\"} 1",
            "canvoy_alarm{kind=\"fallback\",subject=\"line.DriveCommand\"} 1",
            "canvoy_alarm_suppressed{kind=\"fallback\",subject=\"line.DriveCommand\"} 1",
            "can_message_foreign_total{bus=\"line\",message=\"DriveCommand\"} 7",
            "canvoy_time_seconds_bucket{kind=\"cycle\",name=\"line.DriveCommand\",le=\"0.002097152\"} 0",
            "canvoy_time_seconds_bucket{kind=\"cycle\",name=\"line.DriveCommand\",le=\"0.004194304\"} 1",
            "canvoy_time_overruns_total{kind=\"cycle\",name=\"line.DriveCommand\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("canvoy_alarm_suppressed{kind=\"foreign"), "{text}");
        assert!(!text.contains("canvoy_clock"), "nobody has asked the kernel");
        example.main.set(MainWord::ClockMaxError, 250_000_000);
        for (word, line) in [(1, "canvoy_clock_synchronized 0"), (2, "canvoy_clock_synchronized 1")] {
            example.main.set(MainWord::ClockSynchronized, word);
            let mut text = String::new();
            write(&mut text, &plan, &example.plant.view().reader, true);
            for line in [line, "canvoy_clock_max_error_seconds 0.25"] {
                assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
            }
        }
        example.main.set(MainWord::WrongDoor, 3);
        let mut text = String::new();
        write(&mut text, &plan, &example.plant.view().reader, true);
        assert!(text.contains("\ncanvoy_commands_wrong_door_total 3\n"), "{text}");
        let mut gone = String::new();
        write(&mut gone, &plan, &example.plant.view().reader, false);
        assert!(!gone.contains("canvoy_alarm{") && !gone.contains("canvoy_clock") && gone.contains("canvoy_armed 0"));
    }
}
