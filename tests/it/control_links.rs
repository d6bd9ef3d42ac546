//! Signal links over `Control::step`: values from one bus to another, and what happens while the source is not good.

use canvoy::can::{Frame, FrameId};
use canvoy::cli::check;
use canvoy::command::Change;
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::control::{Event, Now, Sent, Transmit};
use canvoy::plan::{Mapping, Timed};
use canvoy::store::layout::{BusState, LinkWord};

use crate::allocations::Watch;
use crate::bench::{Bench, MS};
use crate::control_routes::mistakes;

const LINE: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
 SG_ State : 16|4@1+ (1,0) [0|15] "" Us
 SG_ Temperature : 24|8@1+ (1,-40) [-40|210] "degC" Us
 SG_ Pressure : 32|8@1+ (0.1,0) [0|25] "bar" Us
 SG_ Belt : 40|16@1+ (0.1,0) [0|0] "km/h" Us
 SG_ Count : 56|8@1+ (1,0) [0|0] "" Us
BO_ 257 Pages: 2 Drive
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Us
 SG_ A m0 : 8|8@1+ (1,0) [0|0] "" Us
 SG_ B m1 : 8|8@1+ (1,0) [0|0] "" Us
BO_ 2364540158 EEC1: 8 Drive
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BO_ 300 Command: 2 Us
 SG_ Setpoint : 0|16@1- (0.5,0) [-3000|3000] "rpm" Drive
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2364540158 3;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 2364540158 100;
VAL_ 256 State 0 "Stop" 1 "Run" 2 "Fault" 15 "SNA" ;
"#;

const CELL: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Robot
BO_ 512 Reference: 8 Us
 SG_ Speed : 0|16@1+ (0.5,0) [0|1000] "1/min" Robot
 SG_ Mode : 16|4@1+ (1,0) [0|15] "" Robot
 SG_ Temperature : 24|16@1+ (0.1,0) [0|600] "K" Robot
 SG_ Pressure : 40|16@1+ (1,0) [0|2500] "kPa" Robot
BO_ 513 Belt: 2 Us
 SG_ Speed : 0|16@1+ (0.01,0) [0|0] "m/s" Robot
BO_ 514 Pages: 2 Us
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Robot
 SG_ A m1 : 8|8@1+ (1,0) [0|0] "" Robot
 SG_ B m2 : 8|8@1+ (1,0) [0|0] "" Robot
BO_ 2364538110 Tsc: 8 Us
 SG_ Requested : 8|16@1+ (0.125,0) [0|8031.875] "rpm" Robot
BO_ 769 Pose: 2 Robot
 SG_ X : 0|16@1+ (1,0) [0|0] "" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "GenMsgSendType" ENUM "Cyclic","OnWrite","OnChange","NoMsgSendType";
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "GenMsgSendType" "Cyclic";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2364538110 3;
BA_ "GenMsgCycleTime" BO_ 512 100;
BA_ "GenMsgSendType" BO_ 513 2;
BA_ "GenMsgSendType" BO_ 514 1;
BA_ "GenMsgSendType" BO_ 2364538110 1;
VAL_ 512 Mode 0 "STOP" 1 "Running" 3 "Error" 15 "not available" ;
VAL_ 512 Temperature 65535 "SNA" ;
"#;

const BUSES: &str = r#"
[bus.line]
interface = "can0"
dbc = ["line.dbc"]
node = "Us"
transmit = ["Command"]
message.Command.cycle_ms = 50000
[bus.cell]
interface = "can1"
dbc = ["cell.dbc"]
node = "Us"
transmit = "all"
"#;

const FILES: &[(&str, &str)] = &[("line.dbc", LINE), ("cell.dbc", CELL)];

fn bench(links: &str) -> Bench {
    Bench::new(&format!("{BUSES}{links}"), FILES)
}

fn play(links: &str, script: &str) -> Bench {
    let mut bench = bench(links);
    bench.play(script);
    bench
}

fn word(bench: &Bench, link: &str, word: LinkWord) -> u64 {
    bench.reader.link(bench.plan.links.iter().position(|known| known.name == link).unwrap(), word)
}

/// One link, frames of the source, and what a message sent at once says: the source's bytes, the target's or `-`.
#[track_caller]
fn check(link: &str, cases: &[(&str, &str)]) {
    let mut bench = bench(link);
    bench.pass(10);
    for (frame, want) in cases {
        let sent = bench.receive(&format!("line {frame}"));
        assert_eq!(sent.first().map_or("-", |sent| sent.trim_start_matches("cell ")), *want, "{link}\n{frame}");
        assert!(sent.len() < 2, "{sent:?}");
        bench.pass(1);
    }
}

const ON_CHANGE: &str = "message.Reference = { send = \"on-change\" }\n";

#[test]
fn values_go_over_in_engineering_units() {
    // the same unit by another name; on change: the same value again sends nothing
    check(
        &format!("{ON_CHANGE}[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\n"),
        &[
            ("100#0A00000000000000", "200#0A00000000000000"),
            ("100#0A00000000000000", "-"),
            ("100#D007000000000000", "200#D007000000000000"), // 1000: the target's limit
            ("100#D107000000000000", "-"),                    // 1000.5: does not fit, so the message stops
            ("100#D007000000000000", "200#D007000000000000"),
        ],
    );
    // km/h to m/s, to the nearest
    check(
        "[link.l]\nfrom = \"line.Status.Belt\"\nto = \"cell.Belt.Speed\"\n",
        &[("100#0000000000240000", "201#6400"), ("100#0000000000010000", "201#0300")],
    );
    check(
        "[link.l]\nfrom = \"line.Status.Belt\"\nto = \"cell.Belt.Speed\"\nscale = -1\noffset = 10\n",
        &[("100#0000000000640000", "201#0000"), ("100#0000000000320000", "201#F401"), ("100#0000000000650000", "-")],
    );
    check(
        &format!("{ON_CHANGE}[link.l]\nfrom = \"line.Status.Temperature\"\nto = \"cell.Reference.Temperature\"\n"),
        &[("100#0000003C00000000", "200#000000730B000000")], // 20 °C, 293.15 K, to the nearest raw value
    );
    check(
        &format!("{ON_CHANGE}[link.l]\nfrom = \"line.Status.Pressure\"\nto = \"cell.Reference.Pressure\"\n"),
        &[("100#0000000078000000", "200#0000000000B00400"), ("100#00000000FB000000", "-")], // 12 bar; 25.1 is out of range
    );
}

#[test]
fn states_go_over_by_their_words() {
    let link = "[link.l]\nfrom = \"line.Status.State\"\nto = \"cell.Reference.Mode\"\nlabels = { Run = \"Running\", Fault = \"Error\" }\n";
    check(
        &format!("{ON_CHANGE}{link}"),
        &[
            ("100#0000010000000000", "200#0000010000000000"),
            ("100#0000020000000000", "200#0000030000000000"),
            ("100#0000000000000000", "200#0000000000000000"),
            ("100#00000F0000000000", "-"), // the source says "not available"
            ("100#0000050000000000", "-"), // no word
            ("100#0000020000000000", "200#0000030000000000"),
        ],
    );
    // numbers where they are wanted
    check(
        &format!("{ON_CHANGE}[link.l]\nfrom = \"line.Status.State\"\nto = \"cell.Reference.Mode\"\nscale = 1\n"),
        &[("100#0000050000000000", "200#0000050000000000"), ("100#00000F0000000000", "-")],
    );
}

#[test]
fn a_multiplexed_target_brings_its_selector() {
    check(
        "[link.l]\nfrom = \"line.Status.Count\"\nto = \"cell.Pages.B\"\n",
        &[("100#0000000000000007", "202#0207"), ("100#0000000000000007", "202#0207")],
    );
    // a multiplexed source: only frames with its branch bring a value
    check(
        "[link.l]\nfrom = \"line.Pages.B\"\nto = \"cell.Pages.A\"\n",
        &[
            ("101#0005", "-"),
            ("101#0106", "202#0106"),
            ("101#0107", "202#0107"),
            ("101#0005", "-"),
            ("101#0107", "202#0107"),
        ],
    );
}

#[test]
fn one_source_address_of_a_parameter_group_counts() {
    check(
        "[link.l]\nfrom = \"line.EEC1@33.EngineSpeed\"\nto = \"cell.Tsc.Requested\"\n",
        &[
            ("0CF00400#0000000800000000", "-"),
            ("0CF00421#0000001000000000", "0CEFFCFE#0010000000000000"),
            // nothing new from 33
            ("0CF00400#0000000800000000", "-"),
            ("0CF00421#0000001000000000", "0CEFFCFE#0010000000000000"),
            ("18F00421#FFFFFFFFFFFFFFFF", "-"),
        ],
    );
}

#[test]
fn several_links_fill_one_message_and_each_may_stop_it() {
    play(
        "[link.a]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\n\
         [link.b]\nfrom = \"line.EEC1@0.EngineSpeed\"\nto = \"cell.Reference.Pressure\"\nscale = 1\n",
        "
        0 clear
        99 quiet
        110 rx line 100#0A00000000000000
        250 quiet
        251 is cell.Reference.Speed 5 not_sent
        255 rx line 0CF00400#0000000800000000
        300 tx cell 200#0A00000000010000
        310 rx line 100#0B00000000000000
        400 tx cell 200#0B00000000010000
        401 is cell.Reference.Pressure 1 good
        402 on link b
        "
        .replace("        402 on link b\n", "")
        .as_str(),
    );
}

/// On change, and there is no other change: what came before a message could be sent is sent when it can.
#[test]
fn what_came_before_the_first_frame_is_told_when_it_can_be() {
    let link = "[link.l]\nfrom = \"line.Status.Belt\"\nto = \"cell.Belt.Speed\"\n";
    let early = "10 rx line 100#0000000000240000\n20 rx line 100#0000000000240000\n30 quiet";
    let silent = "message.Belt.when_disarmed = \"silent\"\n[machine]\narm = \"by-hand\"\n";
    let mut b = bench(&format!("{silent}{link}"));
    b.play(&early.replace("30 quiet", "30 clear"));
    assert_eq!(b.command(Change::Arm), Ok(vec!["cell 201#6400".to_string()]));
    b.play("31 clear\n40 rx line 100#0000000000240000\n41 quiet");
    // the bus is listened to first
    let mut b = bench(&format!("listen_ms = 50\n{link}"));
    b.play(early);
    assert_eq!(
        b.pass(200).into_iter().filter(|(_, f)| f.contains(" 201#")).collect::<Vec<_>>(),
        [(200, "cell 201#6400".into())]
    );
}

#[test]
fn what_happens_while_the_source_is_not_good() {
    let link = |when: &str| format!("[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\n{when}\n");
    // the source is late 250 ms after its last frame
    play(
        &link(""),
        "
        0 clear
        0 on link l
        0 is cell.Reference.Speed 0 not_sent
        50 rx line 100#0A00000000000000
        50 off link l
        100 tx cell 200#0A00000000000000
        200 tx cell 200#0A00000000000000
        299 is cell.Reference.Speed 5 good
        300 clear
        301 on link l
        301 is cell.Reference.Speed 5 not_sent
        900 quiet
        950 rx line 100#0B00000000000000
        950 is cell.Reference.Speed 5.5 good
        1000 tx cell 200#0B00000000000000",
    );
    play(
        &link("when_bad = \"hold\"\nhold_ms = 500"),
        "
        0 clear
        50 rx line 100#0A00000000000000
        300 clear
        400 tx cell 200#0A00000000000000
        401 on link l
        401 is cell.Reference.Speed 5 substituted
        750 clear
        799 is cell.Reference.Speed 5 substituted
        801 is cell.Reference.Speed 5 not_sent
        1500 quiet
        1510 rx line 100#0B00000000000000
        1510 off link l
        1600 tx cell 200#0B00000000000000
        1601 is cell.Reference.Speed 5.5 good",
    );
    // good again within the time
    play(
        &link("when_bad = \"hold\"\nhold_ms = 500\nthen = \"substitute\"\nsubstitute = 100"),
        "
        0 clear
        0 is cell.Reference.Speed 100 substituted
        50 rx line 100#0A00000000000000
        400 clear
        401 is cell.Reference.Speed 5 substituted
        500 tx cell 200#0A00000000000000
        510 rx line 100#0B00000000000000
        510 is cell.Reference.Speed 5.5 good
        900 clear
        1200 is cell.Reference.Speed 5.5 substituted
        1259 is cell.Reference.Speed 5.5 substituted
        1261 is cell.Reference.Speed 100 substituted
        1261 clear
        1300 tx cell 200#C800000000000000",
    );
    play(
        &link("when_bad = \"substitute\"\nsubstitute = 7.5"),
        "
        0 is cell.Reference.Speed 7.5 substituted
        0 clear
        100 tx cell 200#0F00000000000000
        150 rx line 100#0A00000000000000
        150 is cell.Reference.Speed 5 good
        160 rx line 100#FFFF000000000000 // out of the source's range
        160 is cell.Reference.Speed 7.5 substituted
        170 rx line 100#D107000000000000 // 1000.5: out of the target's
        170 is cell.Reference.Speed 7.5 substituted
        180 rx line 100#0A00000000000000
        180 is cell.Reference.Speed 5 good",
    );
    play(
        "[link.l]\nfrom = \"line.Status.State\"\nto = \"cell.Reference.Mode\"\nlabels = { Run = \"Running\" }\nwhen_bad = \"not-available\"\n\
         [link.m]\nfrom = \"line.Status.Temperature\"\nto = \"cell.Reference.Temperature\"\nwhen_bad = \"not-available\"\n",
        "
        0 clear
        100 tx cell 200#00000FFFFF000000
        150 rx line 100#0000013C00000000
        200 tx cell 200#000001730B000000
        250 rx line 100#0000023C00000000 // Fault: a word that the target has not
        300 tx cell 200#00000F730B000000",
    );
    // J1939 has a code for every parameter
    play(
        "[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Tsc.Requested\"\nwhen_bad = \"not-available\"\n",
        "
        0 clear
        10 rx line 100#1000000000000000
        10 tx cell 0CEFFCFE#0040000000000000
        300 is cell.Tsc.Requested 8191.875 not_available
        301 clear",
    );
}

#[test]
fn a_bus_that_goes_reaches_the_link_without_a_frame() {
    for state in [BusState::Down, BusState::BusOff, BusState::Gone] {
        let mut b = bench(
            "[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\nwhen_bad = \"substitute\"\nsubstitute = 1\n",
        );
        b.play(&format!(
            "
            5 rx line 100#0A00000000000000
            5 is cell.Reference.Speed 5 good
            5 off link l
            6 state line {}
            6 on link l
            6 is cell.Reference.Speed 1 substituted",
            state.word()
        ));
    }
}

#[test]
fn what_a_link_did_is_counted() {
    let mut b = bench("[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\n");
    for frame in ["0A00", "0B00", "D107", "FFFF", "0C00"] {
        b.receive(&format!("line 100#{frame}000000000000"));
    }
    let words = [LinkWord::Passed, LinkWord::Unfit, LinkWord::Bad].map(|which| word(&b, "l", which));
    assert_eq!(words, [3, 1, 0]);
    b.pass(260);
    assert_eq!(word(&b, "l", LinkWord::Bad), 1);
}

/// From the receive stamp of the source to the frame that carries it: at once, or with the next cycle.
#[test]
fn the_time_of_a_link_is_measured_to_the_frame_that_carries_the_value() {
    let link = "[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\nbudget_us = 500\n";
    for (how, budget, took) in [("", 100 * MS + 500_000, 50 * MS), (ON_CHANGE, 500_000, 0)] {
        let mut b = bench(&format!("{how}{link}"));
        let contract = b.plan.contract(Timed::Link(0)).unwrap();
        assert_eq!(b.plan.contracts[contract].budget, budget);
        b.pass(50);
        b.receive("line 100#0A00000000000000");
        b.pass(100);
        b.receive("line 100#0A00000000000000"); // nothing new to carry
        b.pass(50);
        let times = b.reader.contract(contract);
        assert_eq!((times.count, times.max, times.overruns), (1, took, 0), "{how}");
    }
}

#[test]
fn a_plant_that_may_write_all_may_not_write_what_a_link_owns() {
    let toml = format!(
        "{BUSES}writable = \"all\"\n[link.l]\nfrom = \"line.Status.Count\"\nto = \"cell.Pages.B\"\n[link.m]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\n"
    );
    let b = Bench::new(&toml, FILES);
    let writable = |name: &str| b.plan.tags[b.tag(name)].writable;
    assert!(writable("cell.Reference.Pressure") && writable("cell.Belt.Speed"));
    assert!(!writable("cell.Reference.Speed") && !writable("cell.Pages.B") && !writable("cell.Pages.Page"));
    // a write of the other branch would change the selector
    assert!(!writable("cell.Pages.A"));
    assert!(matches!(b.plan.links[1].mapping, Mapping::Linear { scale: 1.0, offset: 0.0 }));
}

#[test]
fn mistakes_in_links() {
    mistakes(include_str!("../fixtures/config/links.txt"), BUSES, FILES);
}

#[test]
fn a_signal_has_one_owner() {
    let toml = format!(
        "{BUSES}writable = [\"Reference.Speed\"]\n[link.l]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\n"
    );
    let files: Vec<(&str, &[u8])> = FILES.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let mistakes = load(&Sources::embedded("p.toml", &toml, &files), LoadOptions::default()).unwrap_err();
    let said: Vec<&str> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
    let want =
        "cell.Reference.Speed is in writable of [bus.cell] (line 13) too: a signal has one owner, the plant or a link";
    assert_eq!(said, [want]);
}

#[test]
fn check_says_what_passes() {
    let toml = format!(
        "{BUSES}[route.r]\nfrom = \"line\"\nto = \"cell\"\nids = [\"100-1FF\", \"18FEEE00\"]\nexcept = [\"180\"]\nadd_to_id = -16\nmax_rate_hz = 50\n\
         [route.s]\nfrom = \"cell\"\nto = \"line\"\nmask = \"7F0\"\nvalue = \"320\"\nprotected = true\nstorm_hz = 100\n\
         [link.a]\nfrom = \"line.Status.Belt\"\nto = \"cell.Belt.Speed\"\n\
         [link.b]\nfrom = \"line.Status.State\"\nto = \"cell.Reference.Mode\"\nlabels = {{ Run = \"Running\", Fault = \"Error\" }}\nwhen_bad = \"hold\"\nhold_ms = 500\nthen = \"not-available\"\n\
         [link.c]\nfrom = \"line.Status.Temperature\"\nto = \"cell.Reference.Temperature\"\nwhen_bad = \"substitute\"\nsubstitute = 300\n"
    );
    let files: Vec<(&str, &[u8])> = FILES.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let loaded = load(&Sources::embedded("p.toml", &toml, &files), LoadOptions::default());
    let summary = check::summary(&loaded.unwrap_or_else(|mistakes| panic!("{mistakes:#?}")));
    let want = "\
routes, sent without transmit:
  r: line -> cell, 100-1FF, 18FEEE00 except 180, identifier - 0x10, each at most every 20 ms; off above 10000 frames/s; budget 1 ms
  s: cell -> line, 320 in the bits 7F0, protected; off above 100 frames/s; budget 1 ms
links:
  a: cell.Belt.Speed = line.Status.Belt × 0.277777777777778; not good: its message stops
  b: cell.Reference.Mode = line.Status.State, 3 states by their words; not good: held for 500 ms, then not available
  c: cell.Reference.Temperature = line.Status.Temperature + 273.15; not good: 300 K
";
    assert!(summary.contains(want), "{summary}");
}

#[test]
fn routes_and_links_allocate_nothing() {
    let mut b = bench(
        "[route.r]\nfrom = \"line\"\nto = \"cell\"\nids = [\"100\", \"400-4FF\", \"00000000-1FFFFFFF\"]\nexcept = [\"0CEFFCFE\"]\nmax_rate_hz = 500\nstorm_hz = 900\n\
         [link.a]\nfrom = \"line.Status.Speed\"\nto = \"cell.Reference.Speed\"\nwhen_bad = \"hold\"\nhold_ms = 50\n\
         [link.b]\nfrom = \"line.Status.State\"\nto = \"cell.Reference.Mode\"\nlabels = { Run = \"Running\", Fault = \"Error\" }\n\
         [link.c]\nfrom = \"line.Status.Count\"\nto = \"cell.Pages.B\"\nwhen_bad = \"substitute\"\nsubstitute = 0\n",
    );
    let mut transmit = Transmit::new(&b.plan);
    let line = b.bus("line");
    let mut sent = 0;
    let watch = Watch::thread(nix::unistd::gettid().as_raw());
    for n in 0..5000_u32 {
        let now = Now { monotonic: b.now + u64::from(n) * MS, realtime: b.now + u64::from(n) * MS };
        // every kind of value, and pauses in which the source is late
        let id = match n % 3 {
            0 if n % 1000 < 600 => FrameId::standard(0x100),
            1 => FrameId::standard(n & 0x7FF),
            _ => FrameId::extended(n.wrapping_mul(0x9E37_79B1) & FrameId::MAX_EXTENDED),
        };
        let payload = [n as u8, (n >> 8) as u8, n as u8 & 15, n as u8, 0, 0, 0, n as u8];
        if let Some(frame) = id.and_then(|id| Frame::classic(id, &payload)) {
            let received = Event::Received { bus: line, frame: &frame, source_time: now.realtime };
            b.control.step(now, received, &mut b.store, &mut transmit);
        }
        b.control.step(now, Event::Timer, &mut b.store, &mut transmit);
        b.control.flush(now, &mut b.store, &mut transmit, |_, _| {
            sent += 1;
            if sent % 50 == 0 { Sent::Busy } else { Sent::At(now.monotonic) }
        });
    }
    assert_eq!(watch.count(), 0, "allocated or freed memory");
    drop(watch);
    assert!(sent > 1000, "{sent}");
    assert!(word(&b, "a", LinkWord::Passed) > 100 && word(&b, "a", LinkWord::Unfit) > 0);
}
