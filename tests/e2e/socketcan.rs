//! `canvoy run` on kernel CAN with can-utils on the other side: nothing lost uncounted, nothing sent unasked, interfaces
//! that come and go, processes that die.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::canvoy::{Canvoy, metric};
use crate::harness::{LIMIT, Process, Stalls, poll, run, signal};
use crate::operate::{ask, text};
use crate::peer::Peer;

crate::tests! {
    Vcan: every_frame_is_received_or_counted_as_lost, nothing_is_sent_unasked, interfaces_go_and_come_back, clients_read_and_write,
        the_plant_dies_and_the_bus_goes_on, a_second_instance_stays_silent_until_the_first_has_gone;
}

const DBC: &str = include_str!("machine.dbc");
const SPEED: &str = "can_signal_value{bus=\"m\",message=\"Status\",signal=\"Speed\",unit=\"rpm\"}";

/// Listens on one interface.
fn listening(interface: &str) -> String {
    format!("[bus.m]\ninterface = \"{interface}\"\ndbc = [\"machine.dbc\"]\nnode = \"Canvoy\"\n")
}

/// Sends Command, and lets the plant write its setpoint.
fn sending(interface: &str) -> String {
    format!("{}transmit = [\"Command\"]\nwritable = [\"Command.Setpoint\", \"Command.Enable\"]\n", listening(interface))
}

fn start(buses: &str) -> Canvoy {
    Canvoy::run(buses, &[("machine.dbc", DBC)], &[])
}

fn bus(canvoy: &Canvoy, family: &str) -> f64 {
    let page = canvoy.metrics();
    metric(&page, &format!("{family}{{bus=\"m\"}}")).unwrap_or_else(|| panic!("no {family} in\n{page}"))
}

/// Frames that the interface has carried.
fn carried(interface: &str) -> u64 {
    let path = format!("/sys/class/net/{interface}/statistics/tx_packets");
    std::fs::read_to_string(path).expect("statistics of the interface").trim().parse().expect("a number")
}

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

fn candump(filter: &str) -> Process {
    Process::start("candump", &["-L", filter])
}

/// Waits until the reason why Speed has no value is `quality`.
fn wait_quality(canvoy: &Canvoy, quality: &str) {
    let series = format!("can_signal_quality{{bus=\"m\",message=\"Status\",signal=\"Speed\",quality=\"{quality}\"}}");
    poll(&format!("quality {quality}"), LIMIT, || canvoy.metric(&series));
}

/// Sends Status frames until the value has arrived.
fn wait_speed(canvoy: &Canvoy, interface: &str, raw: u16) {
    let [low, high] = raw.to_le_bytes();
    let frame = format!("200#{low:02X}{high:02X}020001000000");
    poll(&format!("speed {}", f64::from(raw) / 2.0), LIMIT, || {
        run("cansend", &[interface, &frame]);
        canvoy.metric(SPEED).filter(|speed| *speed == f64::from(raw) / 2.0)
    });
}

fn every_frame_is_received_or_counted_as_lost() {
    let canvoy = start(&listening("vcan0"));
    let before = carried("vcan0");
    let (received, lost) = (bus(&canvoy, "can_bus_received_frames_total"), bus(&canvoy, "can_bus_lost_frames_total"));
    let mut generator = Process::start("cangen", &["vcan0", "-g", "0", "-I", "r", "-L", "r", "-D", "r"]);
    let started = Instant::now();
    poll("ten seconds of frames", LIMIT, || (started.elapsed() > Duration::from_secs(10)).then_some(()));
    generator.signal(libc::SIGTERM);
    generator.wait_end();
    // The kernel tells of losses with the next frame that it delivers: the sentinel.
    wait_speed(&canvoy, "vcan0", 2468);
    let sent = (carried("vcan0") - before) as f64;
    let received = bus(&canvoy, "can_bus_received_frames_total") - received;
    let lost = bus(&canvoy, "can_bus_lost_frames_total") - lost;
    println!("{sent} frames sent, {received} received, {lost} lost by the kernel and counted");
    assert!(sent > 1000.0, "cangen sent {sent} frames");
    assert!(received > 0.0);
    assert_eq!(received + lost, sent);
}

fn nothing_is_sent_unasked() {
    let before = carried("vcan0");
    let canvoy = start(&listening("vcan0"));
    wait_quality(&canvoy, "never_received");
    wait_speed(&canvoy, "vcan0", 100);
    let own = carried("vcan0") as f64 - before as f64 - bus(&canvoy, "can_bus_received_frames_total");
    assert_eq!(own, 0.0, "frames on the bus that nobody but canvoy can have sent");
    assert_eq!(bus(&canvoy, "can_bus_transmitted_frames_total"), 0.0);
}

fn interfaces_go_and_come_back() {
    let canvoy = start(&sending("vcan1"));
    let mut dump = candump("any,100:7FF");
    // FD frames of 64 bytes next to classic ones
    poll("the last byte of 64", LIMIT, || {
        run("cansend", &["vcan1", &format!("202##1{}", "07".repeat(64))]);
        canvoy
            .metric("can_signal_value{bus=\"m\",message=\"Wide\",signal=\"Last\",unit=\"\"}")
            .filter(|last| *last == 7.0)
    });
    wait_speed(&canvoy, "vcan1", 1000);
    dump.wait_output("a cyclic frame", |output| output.contains("vcan1 100#").then_some(()));

    ip("link set vcan1 down");
    wait_quality(&canvoy, "interface_gone");
    ip("link set vcan1 up");
    wait_speed(&canvoy, "vcan1", 1002);

    ip("link del vcan1");
    wait_quality(&canvoy, "interface_gone");
    ip("link add vcan1 type vcan");
    ip("link set vcan1 mtu 72 up");
    wait_speed(&canvoy, "vcan1", 1004);
    assert!(bus(&canvoy, "can_bus_interface_losses_total") >= 2.0);
    // a dump that began after the return sees our cyclic frames too
    candump("vcan1,100:7FF")
        .wait_output("a cyclic frame after the return", |output| output.contains("vcan1 100#").then_some(()));
}

/// Two controllers with the same node on one bus: the newcomer hears the other one before it says anything.
fn a_second_instance_stays_silent_until_the_first_has_gone() {
    const ALARM: &str = "canvoy_alarm{kind=\"foreign_sender\",subject=\"m.Command\"}";
    let first = start(&sending("vcan2"));
    poll("frames of the first", LIMIT, || (bus(&first, "can_bus_transmitted_frames_total") > 10.0).then_some(()));
    let second = start(&sending("vcan2"));
    poll("the alarm of the second", LIMIT, || second.metric(ALARM));
    let refused = ask(&second, &["arm"]);
    assert!(!refused.status.success() && text(&refused).contains("another node sends m.Command"), "{}", text(&refused));
    assert_eq!(bus(&second, "can_bus_transmitted_frames_total"), 0.0);
    assert_eq!(first.metric(ALARM), None, "the first hears nobody");
    drop(first);
    poll("the second to be armed", LIMIT, || ask(&second, &["arm"]).status.success().then_some(()));
    poll("frames of the second", LIMIT, || (bus(&second, "can_bus_transmitted_frames_total") > 10.0).then_some(()));
    assert_eq!(second.metric(ALARM), None);
}

fn clients_read_and_write() {
    let canvoy = start(&sending("vcan2"));
    let mut dump = candump("vcan2,100:7FF");
    for (index, mut peer) in [Peer::asyncua(), Peer::node_opcua()].into_iter().enumerate() {
        peer.connect(&canvoy);
        let tree = peer.ask(json!({"do": "browse", "depth": 3}));
        let paths: Vec<&str> = tree.as_array().expect("rows").iter().filter_map(|row| row[0].as_str()).collect();
        assert!(paths.contains(&"Canvoy/m/Status/Speed"), "{paths:?}");

        let raw = 400 + 2 * index as u16;
        peer.ask(json!({"do": "subscribe", "nodes": ["m.Status.Speed"], "interval": 10}));
        wait_speed(&canvoy, "vcan2", raw);
        let read = peer.read("m.Status.Speed");
        assert_eq!((&read["value"], &read["status_name"]), (&json!(f64::from(raw) / 2.0), &json!("Good")), "{read}");
        poll("the subscription to bring it", LIMIT, || {
            let seen = peer.ask(json!({"do": "changes"}));
            seen["changes"]
                .as_array()?
                .iter()
                .any(|change| change["value"] == json!(f64::from(raw) / 2.0))
                .then_some(())
        });

        let [low, high] = (2000 + 2 * index as u16).to_le_bytes();
        assert_eq!(peer.write("m.Command.Setpoint", 1000.0 + index as f64), "Good");
        // Setpoint as written, Enable 0, Ramp as the DBC starts it
        let frame = format!("100#{low:02X}{high:02X}000A00000000");
        dump.wait_output(&frame, |output| output.contains(&frame).then_some(()));
        assert_ne!(peer.write("m.Command.Ramp", 20), "Good", "not writable");
        assert_ne!(peer.write("m.Command.Setpoint", 3001.0), "Good", "outside its range");
        peer.ask(json!({"do": "disconnect"}));
    }
}

fn the_plant_dies_and_the_bus_goes_on() {
    const PERIOD: f64 = 0.1;
    let canvoy = start(&sending("vcan0"));
    let mut peers = [Peer::asyncua(), Peer::node_opcua()];
    for peer in &mut peers {
        peer.connect(&canvoy);
        assert_eq!(peer.write("m.Command.Setpoint", 1000), "Good");
    }
    let mut dump = candump("vcan0,100:7FF");
    dump.wait_output("the first frames", |output| (output.lines().count() > 3).then_some(()));
    let stalls = Stalls::watch();

    let mut killed = BTreeSet::new();
    let started = Instant::now();
    for kill in 0..10 {
        let due = Duration::from_secs(kill);
        poll("the next kill", LIMIT, || (started.elapsed() >= due).then_some(()));
        let plant =
            poll("a new plant process", LIMIT, || Some(canvoy.part("plant")).filter(|plant| !killed.contains(plant)));
        signal(plant, libc::SIGKILL);
        killed.insert(plant);
    }
    // They reconnect by themselves, and what was written still stands.
    for peer in &mut peers {
        poll("the client to be back", 3 * LIMIT, || {
            let read = peer.try_ask(&json!({"do": "read", "nodes": ["m.Command.Setpoint"]})).ok()?;
            (read[0]["status_name"] == "Good" && read[0]["value"] == json!(1000.0)).then_some(())
        });
        assert!(peer.ask(json!({"do": "changes"}))["losses"].as_u64() > Some(0), "the connection was lost in between");
    }
    let end = dump.output();
    // (seconds) vcan0 100#...: each period has its frame
    let times: Vec<f64> =
        end.lines().filter_map(|line| line.strip_prefix('(')?.split(')').next()?.parse().ok()).collect();
    let periods: Vec<i64> = times.iter().map(|time| ((time - times[0]) / PERIOD).round() as i64).collect();
    let missing: Vec<i64> = (0..*periods.last().expect("frames")).filter(|period| !periods.contains(period)).collect();
    assert!(periods.len() > 100, "{} frames", periods.len());
    // where the whole computer stood still, as a virtual one may, nothing that was sent then says anything
    let stalls = stalls.end();
    let excused = |period: &i64| {
        let due = times[0] + *period as f64 * PERIOD;
        stalls.iter().any(|(from, to)| from - PERIOD / 2.0 < due && due < to + PERIOD / 2.0)
    };
    let missing: Vec<i64> = missing.into_iter().filter(|period| !excused(period)).collect();
    assert!(missing.is_empty(), "of {} cyclic frames are missing: {missing:?}; stalls: {stalls:?}", periods.len());
}
