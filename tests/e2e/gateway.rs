//! Two buses joined by `canvoy run`, with can-utils on both: frames both ways and no loop, a signal that follows another.

use std::path::Path;
use std::time::Duration;

use crate::canvoy::Canvoy;
use crate::harness::{LIMIT, Process, ROOT, poll, run};

crate::tests! {
    Vcan: frames_pass_both_ways_and_none_comes_back, the_example_joins_two_buses;
}

/// Sent before anything is routed.
const MARK: &str = "7FF#AABBCC";

/// Frames that the interface has carried.
fn carried(interface: &str) -> u64 {
    let path = Path::new("/sys/class/net").join(interface).join("statistics/tx_packets");
    std::fs::read_to_string(path).expect("statistics of the interface").trim().parse().expect("a number")
}

/// The frames of one interface in a log of candump.
fn frames(log: &str, interface: &str) -> Vec<String> {
    let words = log.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.filter(|words| words.get(1) == Some(&interface)).filter_map(|words| Some(words.get(2)?.to_string())).collect()
}

/// The same frame without the flag that its sender is error-passive (CANFD_ESI): that is about who sends it.
fn without_error_state(frame: String) -> String {
    let Some((id, rest)) = frame.split_once("##") else { return frame };
    let (flags, payload) = rest.split_at(1);
    let flags = u8::from_str_radix(flags, 16).expect("flags of an FD frame");
    format!("{id}##{:X}{payload}", flags & !2)
}

fn sorted(mut frames: Vec<String>) -> Vec<String> {
    frames.sort();
    frames
}

fn frames_pass_both_ways_and_none_comes_back() {
    let buses = "[bus.a]\ninterface = \"vcan0\"\nfd = true\n[bus.b]\ninterface = \"vcan1\"\nfd = true\n\
                 [route.join]\nfrom = \"a\"\nto = \"b\"\nall = true\nboth = true\nstale_ms = 60000\n";
    let mut dump = Process::start("candump", &["-L", "vcan0", "vcan1"]);
    poll("candump to listen", LIMIT, || {
        for interface in ["vcan0", "vcan1"] {
            run("cansend", &[interface, MARK]);
        }
        let log = dump.output();
        ["vcan0", "vcan1"].iter().all(|interface| log.contains(&format!("{interface} {MARK}"))).then_some(())
    });
    let before = [carried("vcan0"), carried("vcan1")];
    let canvoy = Canvoy::run(buses, &[], &[]);
    // it listens: both ways are open
    poll("the first frames on the other side", LIMIT, || {
        run("cansend", &["vcan0", "7FE#01"]);
        run("cansend", &["vcan1", "7FD#02"]);
        let log = dump.output();
        (log.contains("vcan1 7FE#01") && log.contains("vcan0 7FD#02")).then_some(())
    });
    // classic and FD, 11 and 29 bits, remote frames; slow enough for one processor to lose none
    for mix in [["vcan0", "-m"], ["vcan1", "-m"], ["vcan0", "-e"], ["vcan1", "-R"]] {
        run("cangen", &[mix[0], "-g", "2", "-n", "200", mix[1]]);
    }
    let sent = || [carried("vcan0") - before[0], carried("vcan1") - before[1]];
    // whatever one interface carried, the other carried too: once
    poll("the same number of frames on both", LIMIT, || (sent()[0] == sent()[1]).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let sent = sent();
    assert_eq!(sent[0], sent[1], "frames go on by themselves");
    assert!(sent[0] >= 802, "{sent:?}");
    let log = dump.wait_output("all frames in the log", |log| {
        let passed = |interface| frames(log, interface).iter().filter(|frame| *frame != MARK).count() as u64;
        let all = passed("vcan0") + passed("vcan1");
        (all == sent[0] + sent[1]).then(|| log.to_string())
    });
    let passed = |interface| {
        let all = frames(&log, interface).into_iter().filter(|frame| frame != MARK);
        sorted(all.map(without_error_state).collect())
    };
    assert!(passed("vcan0") == passed("vcan1"), "a frame became another one:\n{log}");
    drop(canvoy);
}

fn the_example_joins_two_buses() {
    let example = include_str!("../../examples/gateway.toml").replace("../dbc", &format!("{ROOT}/dbc"));
    let canvoy = Canvoy::run(&example, &[], &[]);
    let mut dump = Process::start("candump", &["-L", "vcan0", "vcan1"]);
    // SpeedOverride is the third byte of RobotCommand, half a per cent each
    let says = |log: &str, byte: &str| {
        let last = frames(log, "vcan1").into_iter().rfind(|frame| frame.starts_with("010##"))?;
        (last.get(10..12)? == byte).then_some(())
    };
    dump.wait_output("nothing while the belt was never seen", |log| says(log, "00"));
    poll("half of the speed", LIMIT, || {
        run("cansend", &["vcan0", "190#D007000000000000"]);
        says(&dump.output(), "64")
    });
    dump.wait_output("nothing when the belt is late", |log| says(log, "00"));
    poll("the guards on the other side", LIMIT, || {
        run("cansend", &["vcan0", "080#AA01000000000000"]);
        run("cansend", &["vcan1", "035#0102030405060708"]);
        let log = dump.output();
        (log.contains("vcan1 080#AA01000000000000") && log.contains("vcan0 735#0102030405060708")).then_some(())
    });
    drop(canvoy);
}
