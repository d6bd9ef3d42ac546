//! The wall clock is set while the machine works: nothing of the machine side follows it but the stamps.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use canvoy::bus::socketcan::{Batch, Content, Sockets};
use canvoy::can::{Frame, FrameId};
use canvoy::command::socket::Connection;
use canvoy::command::{Action, Command, MAX_DATAGRAM, Origin, Value};
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::controller::{Controller, Options};
use canvoy::notify::Notifier;
use canvoy::plan::Alarm;
use canvoy::store::clock;
use canvoy::store::layout::{BusWord, MessageWord, Word};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::harness::{LIMIT, TempDir, poll};

crate::tests! {
    Clock: a_clock_that_is_set_disturbs_nothing;
}

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Controller Drive
BO_ 256 Command: 8 Controller
 SG_ Speed : 0|16@1- (1,0) [0|0] "" Drive
BO_ 512 Status: 8 Drive
 SG_ Number : 0|32@1+ (1,0) [0|0] "" Controller
"#;

// The limits are far above what a guest on a busy computer does, and far below the steps of the clock.
const TOML: &str = r#"
[bus.a]
interface = "vcan0"
dbc = ["bus.dbc"]
node = "Controller"
transmit = ["Command"]
writable = ["Command.Speed"]
forcible = ["Status.*"]
message.Command = { cycle_ms = 10, send = "cyclic", budget_ms = 3000, lease_ms = 60000 }
message.Status = { timeout_ms = 3000 }
[bus.b]
interface = "vcan1"
[route.on]
from = "a"
to = "b"
message = "Status"
budget_us = 3000000
"#;

const HOUR: i64 = 3_600_000;

/// Sets the clock by so many milliseconds.
fn step(milliseconds: i64) {
    let wanted = clock::realtime().wrapping_add_signed(milliseconds * 1_000_000);
    let time = TimeSpec::new((wanted / 1_000_000_000) as _, (wanted % 1_000_000_000) as _);
    clock_settime(ClockId::CLOCK_REALTIME, time).expect("set the clock of the guest");
}

fn index(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).expect("an interface")
}

/// Sends Status every 10 ms with a number that counts, until told to stop.
fn send_numbers(stop: &AtomicBool) {
    let sockets = Sockets::open(index("vcan0")).expect("open sockets");
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = FrameId::from_bits(512).expect("an identifier");
        let frame = Frame::classic(id, &number.to_le_bytes()).expect("a frame");
        poll("room to send", LIMIT, || sockets.send(&frame).ok());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The numbers that have arrived behind the route, in their order.
fn numbers(sockets: &Sockets, batch: &mut Batch) -> Vec<u64> {
    let mut found = Vec::new();
    while let Ok(count) = batch.receive(sockets.data()) {
        for at in 0..count {
            if let Content::Frame(frame) = batch.arrival(at).content {
                found.push(u64::from_le_bytes(frame.payload().try_into().expect("8 bytes")));
            }
        }
    }
    found
}

fn command(connection: &Connection, id: u64, action: Action) {
    let origin = Origin { protocol: "test".into(), ..Origin::default() };
    let bytes = serde_json::to_vec(&Command { id, generation: 1, origin, action }).expect("JSON");
    connection.send(&bytes, &[]).expect("send a command");
}

fn a_clock_that_is_set_disturbs_nothing() {
    let sources = Sources::embedded("bus.toml", TOML, &[("bus.dbc", DBC.as_bytes())]);
    let loaded = load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let (plan, folder) = (Arc::new(loaded.plan), TempDir::new());
    let options = Options {
        plan: plan.clone(),
        bundle: sources.to_bundle(LoadOptions::default()),
        simulator: None,
        socket: folder.path().join("s"),
        group: None,
        plant_socket: folder.path().join("plant"),
        plant_group: None,
        link: "/nowhere".into(),
        load: None,
        state: None,
    };
    let behind = Sockets::open(index("vcan1")).expect("open sockets");
    let mut controller = Controller::open(options, Notifier::default()).expect("open the controller");
    let reader = controller.reader().clone();
    let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).expect("an eventfd"));
    let stopped = stop.clone();
    let controlling = std::thread::spawn(move || controller.serve(stopped.as_fd()).expect("serve"));
    let quiet = Arc::new(AtomicBool::new(false));
    let quieted = quiet.clone();
    let sending = std::thread::spawn(move || send_numbers(&quieted));
    let tag = |name: &str| (0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == name).expect("a tag");
    let status = (0..plan.messages.len()).find(|at| plan.message_name(*at, None) == "a.Status").expect("a message");
    let record = || reader.record(plan.messages[status].first_record).expect("a readable record");
    poll("the machine to run", LIMIT, || (reader.get(Word::Armed) == 1 && record().count > 20).then_some(()));

    let connection = Connection::connect(&folder.path().join("plant")).expect("connect");
    let mut buffer = vec![0; MAX_DATAGRAM];
    poll("the handover", LIMIT, || connection.receive(&mut buffer, &mut Vec::new()).ok());
    let force =
        Action::Force { tag: tag("a.Status.Number"), value: Value::Raw(canvoy::dbc::Raw::Unsigned(7)), seconds: 600.0 };
    command(&connection, 1, force);
    command(
        &connection,
        2,
        Action::Set(vec![canvoy::command::Write { tag: tag("a.Command.Speed"), value: Value::Engineering(5.0) }]),
    );
    poll("force", LIMIT, || (reader.forces().count() == 1).then_some(()));

    let (mut batch, mut seen) = (Batch::default(), Vec::new());
    let (began, sent) = (Instant::now(), reader.bus(0, BusWord::TransmittedFrames));
    for milliseconds in [HOUR, -HOUR, -HOUR, HOUR, 40, -40, 2, -2, 24 * HOUR, -24 * HOUR] {
        step(milliseconds);
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            seen.extend(numbers(&behind, &mut batch));
            std::thread::sleep(Duration::from_millis(5));
        }
        // values are stamped by the clock as it is now
        poll("the stamps to follow", LIMIT, || {
            let apart = clock::realtime().abs_diff(record().source_time);
            (apart < 5_000_000_000).then_some(())
        });
    }
    let (elapsed, sent) = (began.elapsed(), reader.bus(0, BusWord::TransmittedFrames) - sent);
    quiet.store(true, Ordering::Relaxed);
    sending.join().expect("the sender");
    seen.extend(numbers(&behind, &mut batch));

    let gaps: Vec<_> = seen.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(gaps.is_empty() && seen.len() > 100, "{} frames behind the route, gaps at {gaps:?}", seen.len());
    // Cycles go by absolute deadlines: none is left out or added, but for those that a guest on a busy computer sleeps through.
    let cycles = elapsed.as_millis() as u64 / 10;
    let missed = reader.get(Word::Overruns);
    println!("{sent} frames in {cycles} cycles, {missed} late by more than half of one");
    assert!((cycles * 3 / 4..=cycles + 5).contains(&sent), "{sent} frames in {cycles} cycles");
    for contract in 0..plan.contracts.len() {
        let times = reader.contract(contract);
        println!("{:?}: {} times, longest {} ms", plan.contracts[contract].of, times.count, times.max / 1_000_000);
        assert!(times.count > 100 && times.overruns == 0, "{:?} {times:?}", plan.contracts[contract]);
    }
    for (at, alarm) in plan.alarms.iter().enumerate() {
        let count = reader.alarm(at).count;
        let expected = match alarm {
            Alarm::NotArmed | Alarm::Forced => 1,
            _ => 0,
        };
        assert!(count <= expected || matches!(alarm, Alarm::InterfaceGone(_)), "{alarm:?} {count} times");
    }
    assert_eq!(reader.message(status, MessageWord::Late), 0);
    assert_eq!(reader.forces().count(), 1, "the force goes on");
    assert_eq!(reader.get(Word::Armed), 1);
    stop.write(1).expect("stop the controller");
    assert!(controlling.join().expect("the controller"));
}
