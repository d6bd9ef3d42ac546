//! When our messages leave: send types of the DBC file against events, as lines of time.

use canvoy::bus::error_frame::ErrorFrame;
use canvoy::can::{Frame, FrameId};
use canvoy::command::{Change, Place, Value, Write, compile};
use canvoy::control::{Event, Sent};
use canvoy::plan::{Alarm, Direction, Timed};
use canvoy::store::layout::{BusState, BusWord, Word};

use crate::bench::{Bench, MS};

const SEND_TYPES: [&str; 12] = [
    "Cyclic",
    "OnWrite",
    "OnWriteWithRepetition",
    "OnChange",
    "OnChangeWithRepetition",
    "IfActive",
    "IfActiveWithRepetition",
    "NoSendType",
    "cyclicAndSpontanX",
    "cyclicIfActiveAndSpontanWD",
    "CyclicAndIfActive",
    "BAF",
];

/// A file with message M (A in byte 0, B in byte 1) of node Us. `attributes`: words like `type=Cyclic cycle=20`, `silent` for
/// one that nothing sends; behind `|`
/// the keys of its section in the configuration.
fn bench(attributes: &str) -> Bench {
    let (attributes, section) = attributes.split_once('|').unwrap_or((attributes, ""));
    let words = SEND_TYPES.map(|word| format!("\"{word}\"")).join(",");
    let mut dbc = format!(
        r#"VERSION ""
BU_: Us Other
BO_ 256 M: 2 Us
 SG_ A : 0|8@1+ (1,0) [0|0] "" Other
 SG_ B : 8|8@1+ (1,0) [0|0] "" Other
BA_DEF_ BO_ "GenMsgSendType" ENUM {words};
BA_DEF_ SG_ "GenSigSendType" ENUM {words};
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "GenMsgCycleTimeFast" INT 0 65535;
BA_DEF_ BO_ "GenMsgNrOfRepetition" INT 0 255;
BA_DEF_ BO_ "GenMsgDelayTime" INT 0 65535;
BA_DEF_ BO_ "GenMsgStartDelayTime" INT 0 65535;
BA_DEF_ SG_ "GenSigStartValue" INT 0 255;
BA_DEF_ SG_ "GenSigInactiveValue" INT 0 255;
BA_DEF_DEF_ "GenMsgSendType" "NoSendType";
BA_DEF_DEF_ "GenSigSendType" "NoSendType";
"#
    );
    let writable = if attributes.contains("silent") { "[]" } else { "\"all\"" };
    for word in attributes.split_whitespace().filter(|word| *word != "silent") {
        let (name, value) = word.split_once('=').unwrap();
        let index = || SEND_TYPES.iter().position(|known| *known == value).unwrap_or_else(|| panic!("{value}"));
        dbc += &match name {
            "type" => format!("BA_ \"GenMsgSendType\" BO_ 256 {};\n", index()),
            "cycle" => format!("BA_ \"GenMsgCycleTime\" BO_ 256 {value};\n"),
            "fast" => format!("BA_ \"GenMsgCycleTimeFast\" BO_ 256 {value};\n"),
            "n" => format!("BA_ \"GenMsgNrOfRepetition\" BO_ 256 {value};\n"),
            "delay" => format!("BA_ \"GenMsgDelayTime\" BO_ 256 {value};\n"),
            "start" => format!("BA_ \"GenMsgStartDelayTime\" BO_ 256 {value};\n"),
            "a" | "b" => {
                format!("BA_ \"GenSigSendType\" SG_ 256 {} {};\n", name.to_uppercase(), index())
            }
            "a0" | "b0" => {
                format!("BA_ \"GenSigStartValue\" SG_ 256 {} {value};\n", name[..1].to_uppercase())
            }
            "ia" | "ib" => {
                format!("BA_ \"GenSigInactiveValue\" SG_ 256 {} {value};\n", name[1..].to_uppercase())
            }
            _ => panic!("{name}"),
        };
    }
    let toml = format!(
        "[bus.b]\ninterface = \"can0\"\ndbc = [\"b.dbc\"]\nnode = \"Us\"\ntransmit = \"all\"\n\
         writable = {writable}\n[bus.b.message.M]\n{}\n",
        section.replace(';', "\n")
    );
    Bench::new(&toml, &[("b.dbc", &dbc)])
}

/// One event of a time line, now.
fn event(bench: &mut Bench, what: &str) -> Vec<String> {
    match what {
        "down" => bench.step(Event::Bus { bus: 0, state: BusState::Down }),
        "up" => bench.step(Event::Bus { bus: 0, state: BusState::Active }),
        "arm" => bench.command(Change::Arm).unwrap(),
        "disarm" => bench.command(Change::Disarm).unwrap(),
        "free" => {
            bench.room[0] = None;
            Vec::new()
        }
        _ if what.starts_with("room=") => {
            bench.room[0] = Some(what[5..].parse().unwrap());
            Vec::new()
        }
        // the loop is held up: time passes and nothing is served
        _ if what.starts_with("stall=") => {
            bench.now += what[6..].parse::<u64>().unwrap() * MS;
            Vec::new()
        }
        _ => {
            let writes: Vec<(String, Value)> = what
                .split(',')
                .map(|write| {
                    let (signal, value) = write.split_once('=').unwrap();
                    (format!("b.M.{signal}"), Value::Engineering(value.parse().unwrap()))
                })
                .collect();
            let writes: Vec<(&str, Value)> = writes.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            bench.write(&writes).unwrap_or_else(|refusal| panic!("{what}: {refusal}"))
        }
    }
}

/// Plays a time line: `20:0001` this frame leaves at 20 ms, `25!A=1` an event, `100.` the end. Nothing else may leave.
fn play(bench: &mut Bench, line: &str) -> Vec<String> {
    let mut sent = Vec::new();
    let short = |frame: &str| frame.rsplit('#').next().unwrap().to_string();
    for token in line.split_whitespace() {
        let at = token.find(['!', '.']);
        let Some(at) = at else { continue };
        let moment: u64 = token[..at].parse().unwrap_or_else(|_| panic!("{token}"));
        assert!(moment >= bench.ms(), "{token} comes too late in {line}");
        sent.extend(bench.pass(moment - bench.ms()).iter().map(|(ms, frame)| format!("{ms}:{}", short(frame))));
        if token[at..].starts_with('!') {
            let frames = event(bench, &token[at + 1..]);
            sent.extend(frames.iter().map(|frame| format!("{moment}:{}", short(frame))));
        }
    }
    sent
}

fn check(attributes: &str, line: &str) {
    let sent = play(&mut bench(attributes), line);
    let want: Vec<&str> = line.split_whitespace().filter(|token| token.contains(':')).collect();
    assert_eq!(sent, want, "\n{attributes}\n{line}");
}

/// Lines in pairs: attributes, time line.
fn check_all(table: &str) {
    let lines: Vec<&str> = table
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.len() % 2, 0);
    for pair in lines.chunks(2) {
        check(pair[0], pair[1]);
    }
}

#[test]
fn cycles() {
    check_all(
        "
        type=Cyclic cycle=20
        0:0000 20:0000 40:0000 60:0000 79.
        type=Cyclic cycle=20 // a write goes with the next cycle, which keeps its phase
        0:0000 5!A=1 20:0100 25!A=2 30!B=3 40:0203 59.
        type=Cyclic cycle=20 // several before it: the last
        0:0000 5!A=1 6!A=2 7!A=3 20:0300 39.
        type=Cyclic cycle=20 start=50
        50:0000 70:0000 89.
        type=Cyclic cycle=20 a0=7 b0=9
        0:0709 20:0709 39.
        type=Cyclic cycle=20 // late: missed cycles are skipped, the phase is kept
        0:0000 10!stall=55 65.  65:0000 80:0000 99.
        type=Cyclic cycle=20 // late by less than a period
        0:0000 15!stall=12 27.  27:0000 40:0000 59.
        silent type=NoSendType cycle=20 // neither the message nor a signal says cyclic
        90.
        type=NoSendType cycle=20 a=Cyclic // a signal does
        0:0000 20:0000 39.
        silent type=Cyclic // no time
        90.
        type=Cyclic cycle=20 | cycle_ms = 50
        0:0000 50:0000 99.
        silent type=Cyclic cycle=20 | cycle_ms = 0
        90.
        type=NoSendType | cycle_ms = 30
        0:0000 30:0000 59.
        type=OnWrite cycle=20 | cycle_ms = 30 // what is written in the configuration is meant
        0:0000 5!A=1 5:0100 30:0100 59.
        type=OnWrite cycle=20 | send = \"cyclic\"
        0:0000 5!A=1 20:0100 39.
        type=Cyclic cycle=20 start=50 | start_delay_ms = 10
        10:0000 30:0000 49.
        type=Cyclic cycle=20 start=50 | start_delay_ms = 0
        0:0000 20:0000 39.
        type=Cyclic cycle=1
        0:0000 1:0000 2:0000 3:0000 3.
        ",
    );
}

#[test]
fn at_once() {
    check_all(
        "
        type=OnWrite
        10!A=1 10:0100 20!A=1 20:0100 21!B=2 21:0102 99.
        type=OnWrite // together is one frame
        10!A=1,B=2 10:0102 99.
        type=OnWrite cycle=20 // the cycle time of a message that is not cyclic says nothing
        10!A=1 10:0100 99.
        type=OnChange
        10!A=1 10:0100 20!A=1 30!A=2 30:0200 40!B=0 50!A=0 50:0000 99.
        type=OnChange a0=5 // the start value is no change
        10!A=5 20!A=6 20:0600 99.
        type=NoSendType a=OnWrite // a signal's type is about this signal
        10!A=1 10:0100 20!B=1 30!A=1 30:0101 99.
        type=NoSendType a=OnChange b=OnWrite
        10!A=1 10:0100 20!A=1 30!B=0 30:0100 40!A=1,B=0 40:0100 99.
        type=NoSendType a=OnChange
        10!B=1 20!A=0 30!A=1 30:0101 99.
        type=cyclicAndSpontanX cycle=20
        0:0000 5!A=1 5:0100 20:0100 25!A=1 25:0100 40:0100 59.
        type=Cyclic cycle=20 a=OnChange
        0:0000 5!A=1 5:0100 6!A=1 7!B=1 20:0101 39.
        type=Cyclic cycle=20 a=OnWrite
        0:0000 5!A=0 5:0000 6!B=1 20:0001 39.
        type=OnWrite a=OnChange // the message's type is stronger
        5!A=0 5:0000 6!A=0 6:0000 99.
        type=Cyclic cycle=20 | send = \"on-write\"
        5!A=0 5:0000 99.
        type=Cyclic cycle=20 | send = \"on-change\"
        5!A=0 6!A=1 6:0100 99.
        type=NoSendType cycle=20 | send = \"cyclic-and-on-write\"
        0:0000 5!A=0 5:0000 20:0000 39.
        type=NoSendType cycle=20 | send = \"cyclic-and-on-change\"
        0:0000 5!A=0 6!A=1 6:0100 20:0100 39.
        type=OnWrite start=30 // the first frame waits for the start delay, with the values of then
        10!A=1 20!A=2 30:0200 40!A=3 40:0300 99.
        ",
    );
}

#[test]
fn repetitions() {
    check_all(
        "
        type=OnWriteWithRepetition fast=5 n=3
        10!A=1 10:0100 15:0100 20:0100 25:0100 99.
        type=OnWriteWithRepetition fast=5 n=1
        10!A=1 10:0100 15:0100 99.
        type=OnWriteWithRepetition fast=5 n=3 // a new one starts anew, from its own moment
        10!A=1 10:0100 15:0100 17!A=2 17:0200 22:0200 27:0200 32:0200 99.
        type=OnWriteWithRepetition fast=5 n=0 // none
        10!A=1 10:0100 99.
        type=OnWriteWithRepetition n=3 // no time between them
        10!A=1 10:0100 99.
        type=OnChangeWithRepetition fast=5 n=2
        10!A=1 10:0100 12!A=1 15:0100 20:0100 30!A=1 40!A=0 40:0000 45:0000 50:0000 99.
        type=OnWrite fast=5 n=3 // the word says it, not the number
        10!A=1 10:0100 99.
        type=NoSendType a=OnWriteWithRepetition b=OnWrite fast=5 n=2
        10!B=1 10:0001 20!A=1 20:0101 25:0101 30:0101 99.
        type=NoSendType a=OnWriteWithRepetition b=OnWrite fast=5 n=2 // what else is sent carries on the repetitions
        10!A=1 10:0100 12!B=1 12:0101 15:0101 20:0101 99.
        type=NoSendType a=OnChangeWithRepetition b=OnWriteWithRepetition fast=5 n=1
        10!A=0,B=0 10:0000 15:0000 20!A=0 30!A=1 30:0100 35:0100 99.
        type=Cyclic cycle=20 a=OnWriteWithRepetition fast=4 n=2 // the cycle goes on beside
        0:0000 5!A=1 5:0100 9:0100 13:0100 20:0100 39.
        type=Cyclic cycle=20 a=OnWriteWithRepetition fast=5 n=2 // one moment is one frame
        0:0000 10!A=1 10:0100 15:0100 20:0100 39.
        type=OnWriteWithRepetition fast=5 n=3 // late: those that were missed are not made up for
        10!A=1 10:0100 12!stall=10 22:0100 25:0100 99.
        type=OnWriteWithRepetition fast=5 n=3 | repetitions = 1
        10!A=1 10:0100 15:0100 99.
        type=OnWriteWithRepetition fast=5 n=3 | cycle_fast_ms = 10
        10!A=1 10:0100 20:0100 30:0100 40:0100 99.
        type=OnWriteWithRepetition fast=5 n=3 | repetitions = 0
        10!A=1 10:0100 99.
        type=NoSendType | send = \"on-write\"; repetitions = 2; cycle_fast_ms = 3
        10!A=1 10:0100 13:0100 16:0100 99.
        type=OnChange | repetitions = 1; cycle_fast_ms = 3
        10!A=1 10:0100 11!A=1 13:0100 99.
        ",
    );
}

#[test]
fn while_active() {
    check_all(
        "
        type=IfActive cycle=20 ia=0
        10!A=1 10:0100 30:0100 50:0100 55!A=0 55:0000 99.
        type=IfActive cycle=100 fast=10 ia=0 // with the fast cycle, where there is one
        10!A=1 10:0100 20:0100 30:0100 35!A=0 35:0000 99.
        type=IfActive fast=10 ia=0 // a change while active goes with the cycle
        10!A=1 10:0100 15!A=2 20:0200 25!A=0 25:0000 99.
        type=IfActive fast=10 ia=0 ib=0 // any signal
        10!A=1 10:0100 15!B=1 18!A=0 20:0001 30:0001 35!B=0 35:0000 99.
        type=IfActive fast=10 ia=0 ib=0 // both at once
        10!A=1,B=1 10:0101 20:0101 25!A=0,B=0 25:0000 99.
        type=IfActive fast=10 ia=0 // a signal without an inactive value does not count
        10!B=1 20!A=1 20:0101 30:0101 35!A=0 35:0001 99.
        type=IfActive fast=10 ia=3 a0=3
        10!A=0 10:0000 20:0000 25!A=3 25:0300 99.
        type=IfActive fast=10 ia=3 // active from the start
        0:0000 10:0000 15!A=3 15:0300 99.
        type=IfActive fast=10 ia=3 start=5
        5:0000 15:0000 16!A=3 16:0300 99.
        type=IfActive fast=10 n=3 ia=0 // so many last frames
        10!A=1 10:0100 20:0100 25!A=0 25:0000 35:0000 45:0000 99.
        type=IfActive fast=10 n=3 ia=0 // active again before they are all sent
        10!A=1 10:0100 15!A=0 15:0000 25:0000 30!A=2 30:0200 40:0200 45!A=0 45:0000 55:0000 65:0000 99.
        type=IfActive fast=10 n=2 ia=0 // what is written while inactive goes with the last frames
        10!A=1 10:0100 15!A=0 15:0000 20!B=5 25:0005 99.
        type=BAF fast=10 ia=0
        10!A=1 10:0100 20:0100 22!A=0 22:0000 99.
        type=cyclicIfActiveAndSpontanWD fast=10 ia=0
        5!B=1 5:0001 10!A=1 10:0101 20:0101 25!B=2 25:0102 30:0102 33!A=0 33:0002 99.
        type=NoSendType a=IfActive fast=10 ia=0 ib=0 // this signal only
        10!B=1 20!A=1 20:0101 30:0101 35!A=0 35:0001 99.
        type=NoSendType a=IfActive fast=10 n=3 ia=0 // without the word only one last frame
        10!A=1 10:0100 20:0100 25!A=0 25:0000 99.
        type=NoSendType a=IfActiveWithRepetition fast=10 n=3 ia=0
        10!A=1 10:0100 20:0100 25!A=0 25:0000 35:0000 45:0000 99.
        type=Cyclic cycle=50 a=IfActive fast=10 ia=0 // slow, and fast while active
        0:0000 20!A=1 20:0100 30:0100 40:0100 50:0100 55!A=0 55:0000 100:0000 149.
        type=CyclicAndIfActive cycle=50 fast=10 ia=0
        0:0000 20!A=1 20:0100 30:0100 35!A=0 35:0000 50:0000 99.
        type=CyclicAndIfActive cycle=50 fast=10 n=3 ia=0 // the last frames, then the slow phase again
        0:0000 30!A=1 30:0100 35!A=0 35:0000 45:0000 55:0000 100:0000 149.
        type=CyclicAndIfActive cycle=50 fast=10 ia=3 // active from the start: the fast cycle
        0:0000 10:0000 20:0000 25!A=3 25:0300 50:0300 99.
        silent type=IfActive fast=10 // no inactive value and no cycle time: never
        99.
        type=IfActive cycle=20 // no inactive value: all the time
        0:0000 10!A=1 20:0100 39.
        silent type=IfActive cycle=20 | cycle_ms = 0
        99.
        type=IfActive cycle=20 ia=0 | cycle_ms = 30
        10!A=1 10:0100 40:0100 45!A=0 45:0000 99.
        type=NoSendType ia=0 | send = \"if-active\"; cycle_fast_ms = 10
        10!A=1 10:0100 20:0100 22!A=0 22:0000 99.
        type=NoSendType ia=0 | send = \"cyclic-and-if-active\"; cycle_ms = 40; cycle_fast_ms = 10
        0:0000 10!A=1 10:0100 20:0100 22!A=0 22:0000 40:0000 79.
        type=IfActive fast=10 ia=0 // late: skipped, phase kept
        10!A=1 10:0100 12!stall=23 35:0100 40:0100 45!A=0 45:0000 99.
        ",
    );
}

#[test]
fn the_gap() {
    check_all(
        "
        type=OnWrite delay=10 // the newest value at its end
        20!A=1 20:0100 22!A=2 25!A=3 30:0300 50!A=4 50:0400 99.
        type=OnWrite delay=10 // exactly at its end
        20!A=1 20:0100 30!A=2 30:0200 99.
        type=OnWrite delay=10 // again and again
        20!A=1 20:0100 21!A=2 30:0200 31!A=3 40:0300 41!A=4 50:0400 99.
        type=OnChange delay=10 // there and back: what changed is told, with the value of then
        20!A=1 20:0100 22!A=2 24!A=1 30:0100 99.
        type=cyclicAndSpontanX cycle=20 delay=10 // a cycle within the gap waits too; its phase stays
        0:0000 15!A=1 15:0100 25:0100 40:0100 59.
        type=cyclicAndSpontanX cycle=20 delay=10 // one that waits goes with the cycle
        0:0000 12!A=1 12:0100 18!A=2 22:0200 40:0200 59.
        type=cyclicAndSpontanX cycle=20 delay=5
        0:0000 2!A=1 5:0100 20:0100 22!A=2 25:0200 40:0200 59.
        type=OnWriteWithRepetition fast=5 n=2 delay=10 // repetitions as well
        20!A=1 20:0100 30:0100 99.
        type=OnWriteWithRepetition fast=12 n=2 delay=10
        20!A=1 20:0100 32:0100 44:0100 99.
        type=OnWriteWithRepetition fast=12 n=1 delay=10 // the repetition counts from the frame that leaves
        20!A=1 20:0100 22!A=2 30:0200 42:0200 99.
        type=IfActive fast=10 ia=0 delay=4
        10!A=1 10:0100 12!A=0 14:0000 99.
        type=IfActive fast=10 ia=0 delay=4 // on and off and on within the gap
        10!A=1 10:0100 11!A=0 12!A=2 14:0200 22:0200 23!A=0 26:0000 99.
        type=OnWrite delay=10 | delay_ms = 3
        20!A=1 20:0100 21!A=2 23:0200 99.
        type=OnWrite delay=10 | delay_ms = 0
        20!A=1 20:0100 21!A=2 21:0200 99.
        type=OnWrite delay=10 start=30
        10!A=1 20!A=2 30:0200 31!A=3 40:0300 99.
        ",
    );
}

#[test]
fn buses_that_come_and_go() {
    check_all(
        "
        type=Cyclic cycle=20 // phase kept
        0:0000 10!down 50!up 60:0000 80:0000 99.
        type=Cyclic cycle=20 // what was written before is forgotten
        0:0000 5!A=1 10!down 50!up 55!arm 60:0000 65!A=2 80:0200 99.
        type=OnWrite // nothing is caught up on
        5!A=1 5:0100 10!down 50!up 99.
        type=Cyclic cycle=20 // the kernel takes nothing: the newest, once it does
        0:0000 10!room=0 15!A=1 25!A=2 30!free 30:0200 40:0200 59.
        type=Cyclic cycle=20 // one in the kernel, one here
        0:0000 10!room=1 20:0000 45!A=3 50!free 50:0300 60:0300 79.
        type=OnWrite // newest wins
        10!room=0 11!A=1 12!A=2 13!A=3 15!free 15:0300 99.
        type=OnWrite // too old: dropped
        10!room=0 11!A=1 200!free 250!A=2 250:0200 299.
        type=OnWrite | stale_ms = 5
        10!room=0 11!A=1 17!free 99.
        type=OnWrite | stale_ms = 50
        10!room=0 11!A=1 17!free 17:0100 99.
        type=Cyclic cycle=20 // the bus goes: nothing is left to send
        0:0000 10!room=0 25!down 30!free 35!up 40:0000 59.
        type=Cyclic cycle=20
        0:0000 5!A=1 20:0100 25!disarm 40:0000 45!arm 60:0000 79.
        type=OnWrite // who was told is told
        5!A=1 5:0100 25!disarm 25:0000 99.
        ",
    );
}

#[test]
fn cycles_of_one_bus_never_fall_on_one_moment() {
    let check = |periods: &[u64], most: usize, apart: u64| {
        let mut dbc = "VERSION \"\"\nBU_: Us\n".to_string();
        let mut toml = "[bus.b]\ninterface=\"can0\"\ndbc=[\"b.dbc\"]\nnode=\"Us\"\ntransmit=\"all\"\n".to_string();
        for (index, period) in periods.iter().enumerate() {
            dbc += &format!("BO_ {} M{index}: 1 Us\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" Us\n", 256 + index);
            toml += &format!("message.M{index} = {{ cycle_ms = {period} }}\n");
        }
        let mut bench = Bench::new(&toml, &[("b.dbc", &dbc)]);
        let longest = *periods.iter().max().unwrap();
        let (mut times, mut counts) = (Vec::new(), vec![0; periods.len()]);
        let end = bench.now + 3 * longest * MS;
        // one step for each moment
        while bench.control.next_due() < end {
            bench.now = bench.control.next_due();
            let sent = bench.step(Event::Timer);
            times.extend(sent.iter().map(|_| bench.now));
            for frame in &sent {
                let id = usize::from_str_radix(frame.split(['#', ' ']).nth(1).unwrap(), 16).unwrap();
                counts[id - 256] += 1;
            }
        }
        let want: Vec<u64> = periods.iter().map(|period| 3 * longest / period).collect();
        assert_eq!(counts, want, "{periods:?}");
        let closest = times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
        assert!(closest >= apart, "{periods:?}: {closest} ns apart");
        // the load of any 10 ms
        let busiest =
            times.iter().map(|from| times.iter().filter(|at| (0..10 * MS).contains(&at.wrapping_sub(*from))).count());
        assert!(busiest.max().unwrap() <= most, "{periods:?}: more than {most} in 10 ms");
    };
    check(&[10], 1, 10 * MS);
    check(&[10, 10], 2, 5 * MS);
    check(&[100; 10], 1, 10 * MS);
    check(&[100; 20], 2, 5 * MS);
    check(&[10, 20, 50, 100], 4, 2_500_000);
    check(&[1, 10, 100, 1000], 13, 250_000);
    check(&[20, 20, 20, 20, 40, 40], 4, 3 * MS);
    check(&[60, 30, 20], 3, 3 * MS);
    check(&[1000; 100], 1, 10 * MS);
}

#[test]
fn what_cycles_take_is_measured_against_their_budget() {
    let mut b = bench("type=Cyclic cycle=20");
    let Direction::Output(transmission) = &b.plan.messages[0].direction else { panic!() };
    assert_eq!(transmission.budget, 2 * MS);
    let contract = b.plan.contract(Timed::Cycle(0)).unwrap();
    b.call = 30_000;
    b.pass(99);
    let times = b.reader.contract(contract);
    assert_eq!((times.count, times.max, times.sum, times.overruns), (5, 30_000, 150_000, 0));
    assert!(!b.alarm(Alarm::Overrun));
    // the loop is held up beyond the budget
    b.now += 4 * MS;
    b.pass(0);
    let times = b.reader.contract(contract);
    assert_eq!((times.count, times.max, times.overruns), (6, 3 * MS + 30_000, 1));
    assert!(b.alarm(Alarm::Overrun));
    assert_eq!(b.reader.get(Word::Overruns), 0, "less than half a period");
    b.pass(59_990);
    assert!(b.alarm(Alarm::Overrun));
    b.pass(20);
    assert!(!b.alarm(Alarm::Overrun), "a minute without");
    // a frame that waits for the kernel is late as well
    b.room[0] = Some(0);
    b.pass(40);
    b.room[0] = None;
    b.pass(20);
    assert!(b.alarm(Alarm::Overrun));
    // what the gap holds back is meant, and no overrun
    let mut b = bench("type=cyclicAndSpontanX cycle=20 delay=10");
    play(&mut b, "15!A=1 39.");
    assert_eq!(b.reader.contract(contract).count, 1);
    assert!(!b.alarm(Alarm::Overrun));
    let b = bench("type=Cyclic cycle=20 | budget_ms = 0.5");
    assert_eq!(b.plan.contracts[0].budget, MS / 2);
}

#[test]
fn what_is_not_sent_is_counted_by_its_reason() {
    use BusWord::*;
    let check = |attributes: &str, line: &str, want: &[(BusWord, u64)], alarm: bool| {
        let mut b = bench(attributes);
        play(&mut b, line);
        for word in [
            TransmittedFrames,
            TransmitDropped,
            TransmitStale,
            TransmitOverflow,
            TransmitNoBus,
            TransmitReplaced,
            TransmitRefused,
            TransmitWaiting,
        ] {
            let value = want.iter().find(|(wanted, _)| *wanted == word).map_or(0, |(_, value)| *value);
            assert_eq!(b.bus_word("b", word), value, "{word:?} of {attributes}: {line}");
        }
        assert_eq!(b.alarm(Alarm::TransmitDropped(0)), alarm, "{attributes}: {line}");
    };
    check("type=OnWrite", "1!A=1 2!A=2 3!A=3 9.", &[(TransmittedFrames, 3)], false);
    check("type=OnWrite", "1!room=0 2!A=1 3.", &[(TransmitWaiting, 1)], false);
    check("type=OnWrite", "1!room=0 2!A=1 3!A=2 4!A=3 5.", &[(TransmitWaiting, 1), (TransmitReplaced, 2)], false);
    check("type=OnWrite", "1!room=0 2!A=1 3!free 9.", &[(TransmittedFrames, 1)], false);
    check("type=OnWrite", "1!room=0 2!A=1 109.", &[(TransmitDropped, 1), (TransmitStale, 1)], true);
    check("type=OnWrite", "1!room=0 2!A=1 109!free 60200.", &[(TransmitDropped, 1), (TransmitStale, 1)], false);
    check("type=OnWrite", "1!room=0 2!A=1 5!down 9.", &[(TransmitDropped, 1), (TransmitNoBus, 1)], false);
    check("type=Cyclic cycle=20", "5!down 90.", &[(TransmittedFrames, 1)], false);
    let mut b = bench("type=OnWrite");
    play(&mut b, "1!room=0 2!A=1 92.");
    let busy = b.bus_word("b", TransmitBusy);
    assert!((90..=95).contains(&busy), "{busy} tries in 90 ms");
}

#[test]
fn counters_go_on_with_the_frames_that_leave() {
    let dbc = r#"VERSION ""
BU_: Us Other
BO_ 256 M: 3 Us
 SG_ A : 0|8@1+ (1,0) [0|0] "" Other
 SG_ Counter : 8|4@1+ (1,0) [0|0] "" Other
 SG_ Sum : 16|8@1+ (1,0) [0|0] "" Other
"#;
    let toml = r#"
[bus.b]
interface = "can0"
dbc = ["b.dbc"]
node = "Us"
transmit = "all"
writable = ["M.A"]
message.M = { cycle_ms = 20 }
protection.M = { scheme = "plain", counter = "Counter", checksum = "Sum", algorithm = "xor" }
"#;
    let check = |line: &str| {
        let mut b = Bench::new(toml, &[("b.dbc", dbc)]);
        let sent = play(&mut b, line);
        let want: Vec<&str> = line.split_whitespace().filter(|token| token.contains(':')).collect();
        assert_eq!(sent, want, "{line}");
        b
    };
    let b = check("0:000000 20:000101 40:000202 45!A=16 60:100313 80:100414 99.");
    // the store shows the frame that has left
    b.check("b.M.Counter", "4 good");
    // one that was tried in vain, or replaced, takes no counter with it
    check("0:000000 10!room=0 21!A=1 45!A=2 50!free 50:020103 60:020200 79.");
    // nor does a cycle without a bus
    check("0:000000 10!down 50!up 60:000101 80:000202 99.");
}

#[test]
fn what_waits_for_a_message_that_falls_silent_is_withdrawn() {
    use BusWord::{TransmitDropped, TransmitWaiting, TransmitWithdrawn, TransmittedFrames};
    let dbc = "VERSION \"\"\nBU_: Us Other\nBO_ 256 M: 1 Us\n SG_ A : 0|8@1+ (1,0) [0|0] \"\" Other\n";
    let toml = r#"
[bus.b]
interface = "can0"
dbc = ["b.dbc"]
node = "Us"
transmit = "all"
writable = ["M.A"]
message.M = { send = "on-write", when_disarmed = "silent" }
"#;
    let mut b = Bench::new(toml, &[("b.dbc", dbc)]);
    b.room[0] = Some(0);
    assert_eq!(b.write(&[("b.M.A", Value::Engineering(1.0))]), Ok(vec![]));
    assert_eq!(b.bus_word("b", TransmitWaiting), 1);
    assert_eq!(b.command(Change::Disarm), Ok(vec![]));
    b.room[0] = None;
    assert_eq!(b.pass(50), []);
    let counts =
        [TransmitWithdrawn, TransmitWaiting, TransmitDropped, TransmittedFrames].map(|word| b.bus_word("b", word));
    assert_eq!(counts, [1, 0, 0, 0]);
}

#[test]
fn no_event_allocates() {
    let dbc = r#"VERSION ""
BU_: Us Other
BO_ 256 M: 3 Us
 SG_ A : 0|8@1+ (1,0) [0|0] "" Other
 SG_ Counter : 8|4@1+ (1,0) [0|0] "" Other
 SG_ Sum : 16|8@1+ (1,0) [0|0] "" Other
BO_ 257 L: 1 Us
 SG_ A : 0|8@1+ (1,0) [0|0] "" Other
BO_ 512 R: 2 Other
 SG_ S : 0|8@1+ (1,0) [0|200] "" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 512 10;
BA_ "GenMsgCycleTime" BO_ 257 10;
"#;
    let toml = r#"
[bus.b]
interface = "can0"
dbc = ["b.dbc"]
node = "Us"
transmit = "all"
writable = ["M.A"]
message.L = { stale_ms = 2 }
message.M = { cycle_ms = 3, send = "cyclic-and-on-write", repetitions = 2, cycle_fast_ms = 1, delay_ms = 1, stale_ms = 4 }
protection.M = { scheme = "plain", counter = "Counter", checksum = "Sum", algorithm = "xor" }
[bus.c]
interface = "can1"
dbc = ["b.dbc"]
[link.l]
from = "b.R.S"
to = "b.L.A"
[route.r]
from = "b"
to = "c"
all = true
"#;
    let mut b = Bench::new(toml, &[("b.dbc", dbc)]);
    let frames =
        [0x200, 0x7FF, 0x100].map(|id| Frame::classic(FrameId::standard(id).unwrap(), &[id as u8, 1]).unwrap());
    let write = |value| [Write { tag: b.tag("b.M.A"), value: Value::Engineering(value) }];
    let patches = [1.0, 2.0].map(|value| Change::Patch(compile(&b.plan, &write(value)).unwrap()));
    let errors = [0x40, 0x4, 0x20].map(|classes| ErrorFrame { classes, data: [0; 8] });
    let changes = [
        Change::Arm,
        Change::Remote(false),
        Change::Remote(true),
        Change::Release(None),
        Change::Renew(b.message("b.M")),
        Change::Disarm,
        Change::Arm,
        Change::Route { route: 0, on: false },
        Change::Route { route: 0, on: true },
        Change::Restart(0),
    ];
    let (mut sent, mut busy) = (0_u64, 0_u64);
    let watch = crate::allocations::Watch::thread(nix::unistd::gettid().as_raw());
    for turn in 0..20_000_usize {
        b.now += 400_000;
        let now = b.at();
        let event = match turn % 400 {
            390 => Event::Error { bus: 0, error: &errors[turn / 400 % 3] },
            391 => Event::Bus { bus: 0, state: BusState::ALL[turn / 400 % 6] },
            392 => Event::Bus { bus: 0, state: BusState::Active },
            393 => Event::Lost { bus: 0, frames: 2 },
            _ if turn % 3 == 0 => Event::Received { bus: 0, frame: &frames[turn / 3 % 2], source_time: now.realtime },
            398 if turn > 19_000 => Event::Received { bus: 0, frame: &frames[2], source_time: now.realtime },
            _ => Event::Timer,
        };
        b.control.step(now, event, &mut b.store, &mut b.transmit);
        if turn % 5 == 0 {
            // what is refused is an answer, too
            let _ = b.control.command(now, Place::Machine, &patches[turn / 5 % 2], &mut b.store, &mut b.transmit);
        }
        if turn % 37 == 0 {
            let _ = b.control.command(
                now,
                Place::Machine,
                &changes[turn / 37 % changes.len()],
                &mut b.store,
                &mut b.transmit,
            );
        }
        b.control.flush(now, &mut b.store, &mut b.transmit, |_, _| match turn % 100 {
            0..30 => {
                busy += 1;
                Sent::Busy
            }
            30 => Sent::NoBus,
            31 => Sent::Refused,
            _ => {
                sent += 1;
                Sent::At(now.monotonic)
            }
        });
        while b.control.take_wish().is_some() {}
    }
    assert_eq!(watch.count(), 0, "allocated or freed memory");
    drop(watch);
    assert!(sent > 1000 && busy > 100, "{sent} {busy}");
    for word in [BusWord::TransmitStale, BusWord::TransmitReplaced, BusWord::TransmitNoBus, BusWord::TransmitRefused] {
        assert!(b.bus_word("b", word) + b.bus_word("c", word) > 0, "{word:?} did not happen");
    }
}
