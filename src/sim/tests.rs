//! The simulators behind their common face, on the demo's own plan; and what their tests share.

use super::*;
use crate::can::name::Claim;
use crate::config::{LoadOptions, Sources, load};
use crate::dbc::{Database, Message, Raw, Signal, parse};
use crate::plan::{Direction, Plan};

/// `line` and `cell`; both without a single complaint.
pub fn demo_databases() -> [Database; 2] {
    std::array::from_fn(|n| {
        let (name, bytes) = demo::DBC[n];
        let (database, diagnostics) = parse(name, bytes);
        assert_eq!(diagnostics, [], "{name}");
        database.unwrap()
    })
}

/// The signals that are present in a payload, by its selectors.
pub fn present<'a>(message: &'a Message, payload: &'a [u8]) -> impl Iterator<Item = &'a Signal> {
    let raw = |signal: usize| message.signals[signal].codec.raw(payload).and_then(Raw::as_i128);
    let present = move |signal: &&Signal| {
        message.groups[signal.group].conditions.iter().all(|condition| {
            let value = raw(condition.selector).unwrap();
            condition.ranges.iter().any(|(low, high)| (*low..=*high).contains(&value))
        })
    };
    message.signals.iter().filter(present)
}

fn demo_plan() -> Plan {
    let sources = Sources::embedded("line.toml", demo::CONFIG, demo::DBC);
    let loaded = load(&sources, LoadOptions { simulate: true }).unwrap();
    assert_eq!(loaded.diagnostics, [], "the demo's configuration is an example: nothing to complain about");
    loaded.plan
}

/// Runs for ten seconds from a time: per message of the plan how many frames came.
fn check(mut simulator: Simulator, plan: &Plan) -> Vec<usize> {
    assert_eq!(simulator.next_due(), 0);
    let (start, mut now) = (1_000_000_007, 1_000_000_007);
    let mut counts = vec![0; plan.messages.len()];
    while now < start + 10_000_000_000 {
        simulator.step(now, &mut |bus, frame| {
            let same = |m: &crate::plan::Message| {
                m.bus == bus
                    && (m.message.id == frame.id || m.message.pgn == Some(frame.id.pgn()) && frame.id.is_extended())
            };
            if Claim::of(frame).is_some() {
                // no DBC file needs to describe it
                return;
            }
            let message = plan.messages.iter().position(same).unwrap();
            assert!(plan.buses[bus].fd || !frame.fd, "{}", plan.message_name(message, None));
            counts[message] += 1;
        });
        assert!(simulator.next_due() > now);
        now = simulator.next_due();
    }
    counts
}

#[test]
fn both_simulators_send_what_the_plan_receives_and_nothing_else() {
    let plan = demo_plan();
    let plant = demo::Plant::new(&plan).unwrap();
    let player = playback::Player::new(&plan);
    assert_eq!(player.left_out, Vec::<usize>::new());
    let demo = check(Simulator::Demo(plant), &plan);
    let playback = check(Simulator::Playback(player), &plan);
    for (index, message) in plan.messages.iter().enumerate() {
        let (name, dbc) = (&message.message.name, &message.message);
        let received = matches!(message.direction, Direction::Input(_));
        let cyclic = received.then_some(dbc.cycle_time).flatten();
        let frames = cyclic.map_or(0, |time| 10_000_000_000_u128.div_ceil(time.as_nanos()) as usize);
        assert_eq!(playback[index], if received && cyclic.is_none() { 10 } else { frames }, "{name} played back");
        // an event may come, but not without a reason
        let senders = if dbc.pgn.is_some() { dbc.senders.len() } else { 1 };
        assert!(demo[index] == frames * senders || received && cyclic.is_none() && demo[index] < 3, "{name}");
    }
}

#[test]
fn messages_of_ours_that_may_not_be_sent_stay_away() {
    let listening = "[bus.line]\nvirtual = true\ndbc = [\"../dbc/line.dbc\"]\nnode = \"Canvoy\"\n";
    let sources = Sources::embedded("listening.toml", listening, demo::DBC);
    let plan = load(&sources, LoadOptions { simulate: true }).unwrap().plan;
    let counts = check(Simulator::Playback(playback::Player::new(&plan)), &plan);
    for (message, count) in plan.messages.iter().zip(counts) {
        assert_eq!(count == 0, message.message.senders == ["Canvoy"], "{}", message.message.name);
    }
}
