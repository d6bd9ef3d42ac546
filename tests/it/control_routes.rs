//! Frame routes over `Control::step`: which frames pass, as what, where to; rate limits, storms, switching.

use canvoy::command::Change;
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::plan::Alarm;
use canvoy::store::layout::{BusWord, RouteWord};

use crate::bench::{Bench, MS};

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 DriveStatus: 8 Drive
 SG_ Speed : 0|16@1+ (0.5,0) [0|6000] "rpm" Us
BO_ 2364540158 EEC1: 8 Drive
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BO_ 2565810174 Prop: 8 Drive
 SG_ Value : 0|16@1+ (1,0) [0|0] "" Us
BO_ 2566834942 Wide: 8 Drive
 SG_ First : 0|8@1+ (1,0) [0|0] "" Us
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2364540158 3;
BA_ "VFrameFormat" BO_ 2565810174 3;
"#;

const CELL: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Robot
BO_ 768 Command: 2 Us
 SG_ A : 0|16@1+ (1,0) [0|0] "" Robot
BO_ 769 Status: 2 Robot
 SG_ A : 0|16@1+ (1,0) [0|0] "" Us
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 768 1000;
"#;

/// a and b are classic, f and g are CAN FD.
const BUSES: &str = r#"
[bus.a]
interface = "can0"
dbc = ["a.dbc"]
[bus.b]
interface = "can1"
dbc = ["cell.dbc"]
node = "Us"
transmit = "all"
[bus.f]
interface = "can2"
dbc = ["cell.dbc"]
fd = true
[bus.g]
interface = "can3"
dbc = ["cell.dbc"]
fd = true
"#;

const FILES: &[(&str, &str)] = &[("a.dbc", DBC), ("cell.dbc", CELL)];

/// With all that the outputs send at the start out of the way.
fn bench(routes: &str) -> Bench {
    let mut bench = Bench::new(&format!("{BUSES}{routes}"), FILES);
    bench.pass(500);
    bench
}

/// What the routes have made of a frame that arrives.
#[track_caller]
fn check(routes: &str, cases: &[(&str, &[&str])]) {
    let mut bench = bench(routes);
    for (frame, passed) in cases {
        let mut sent = bench.receive(frame);
        sent.sort();
        assert_eq!(sent, *passed, "{routes}\n{frame}");
        // far apart, so that no limit plays a part
        bench.pass(1);
        bench.now += 50 * MS;
    }
}

fn word(bench: &Bench, route: &str, word: RouteWord) -> u64 {
    bench.reader.route(bench.plan.routes.iter().position(|known| known.name == route).unwrap(), word)
}

#[test]
fn what_a_route_takes() {
    let ab = |what: &str| format!("[route.r]\nfrom = \"a\"\nto = \"b\"\n{what}\n");
    check(
        &ab("id = \"1F4\""),
        &[
            ("a 1F4#0102", &["b 1F4#0102"]),
            ("a 1F4#", &["b 1F4#"]),
            ("a 1F5#01", &[]),
            ("a 000001F4#01", &[]),
            ("b 1F4#0102", &[]),
            ("f 1F4#0102", &[]),
        ],
    );
    check(
        &ab("id = \"18FEEE00\""),
        &[("a 18FEEE00#01", &["b 18FEEE00#01"]), ("a 18FEEE01#01", &[]), ("a 600#01", &[])],
    );
    check(
        &ab("ids = [\"100-1FF\", \"2F0\", \"00000100-000001FF\"]\nexcept = [\"180-18F\", \"00000150\"]"),
        &[
            ("a 0FF#", &[]),
            ("a 100#", &["b 100#"]),
            ("a 17F#", &["b 17F#"]),
            ("a 180#", &[]),
            ("a 18F#", &[]),
            ("a 190#", &["b 190#"]),
            ("a 1FF#", &["b 1FF#"]),
            ("a 200#", &[]),
            ("a 2F0#", &["b 2F0#"]),
            ("a 000000FF#", &[]),
            ("a 00000100#", &["b 00000100#"]),
            ("a 00000150#", &[]),
            ("a 000001FF#", &["b 000001FF#"]),
            ("a 00000200#", &[]),
        ],
    );
    check(
        &ab("mask = \"7F0\"\nvalue = \"120\""),
        &[
            ("a 11F#", &[]),
            ("a 120#", &["b 120#"]),
            ("a 12F#", &["b 12F#"]),
            ("a 130#", &[]),
            ("a 520#", &[]),
            ("a 00000120#", &[]),
        ],
    );
    check(
        &ab("mask = \"000000FF\"\nvalue = \"00000021\""),
        &[("a 18FEEE21#", &["b 18FEEE21#"]), ("a 18FEEE22#", &[]), ("a 00000021#", &["b 00000021#"]), ("a 021#", &[])],
    );
    check(&ab("message = \"DriveStatus\""), &[("a 100#11", &["b 100#11"]), ("a 101#11", &[])]);
    check(
        &ab("message = \"EEC1\""),
        &[
            ("a 0CF00400#11", &["b 0CF00400#11"]),
            ("a 18F00421#11", &["b 18F00421#11"]),
            ("a 0CF00521#11", &[]),
            ("a 100#11", &[]),
        ],
    );
    // PDU1: to any destination
    check(&ab("message = \"Prop\""), &[("a 18EF2700#", &["b 18EF2700#"]), ("a 18EFFF03#", &["b 18EFFF03#"])]);
    check(
        &ab("all = true\nexcept = [\"300\", \"1FFFFFFF\"]"),
        &[
            ("a 000#", &["b 000#"]),
            ("a 7FF#0102030405060708", &["b 7FF#0102030405060708"]),
            ("a 300#", &[]),
            ("a 00000300#", &["b 00000300#"]),
            ("a 1FFFFFFE#", &["b 1FFFFFFE#"]),
            ("a 1FFFFFFF#", &[]),
        ],
    );
}

#[test]
fn several_routes_and_both_directions() {
    check(
        "[route.one]\nfrom = \"a\"\nto = \"b\"\nid = \"100\"\n[route.two]\nfrom = \"a\"\nto = \"f\"\nids = [\"0F0-10F\"]\n\
         [route.three]\nfrom = \"f\"\nto = \"a\"\nmask = \"700\"\nvalue = \"200\"\n",
        &[
            ("a 100#01", &["b 100#01", "f 100#01"]),
            ("a 10F#01", &["f 10F#01"]),
            ("a 200#01", &[]),
            ("f 200#01", &["a 200#01"]),
            ("f 100#01", &[]),
            ("b 100#01", &[]),
        ],
    );
    check(
        "[route.x]\nfrom = \"f\"\nto = \"g\"\nall = true\nboth = true\n",
        &[
            ("f 123#01", &["g 123#01"]),
            ("g 123#02", &["f 123#02"]),
            ("f 1ABCDEF0##1000102030405060708090A0B", &["g 1ABCDEF0##1000102030405060708090A0B"]),
            ("a 123#01", &[]),
        ],
    );
    check(
        "[route.x]\nfrom = \"a\"\nto = \"f\"\nids = [\"100-10F\", \"00000100\"]\nadd_to_id = 0x100\nboth = true\nexcept = [\"105\"]\n\
         [route.y]\nfrom = \"a\"\nto = \"f\"\nid = \"7FF\"\nnew_id = \"1FFFFFFF\"\nboth = true\n",
        &[
            ("a 100#01", &["f 200#01"]),
            ("f 200#01", &["a 100#01"]),
            ("f 100#01", &[]),
            ("a 105#01", &[]),
            ("f 205#01", &[]),
            ("f 20F#01", &["a 10F#01"]),
            ("f 210#01", &[]),
            ("a 00000100#01", &["f 00000200#01"]),
            ("f 00000200#01", &["a 00000100#01"]),
            ("a 7FF#01", &["f 1FFFFFFF#01"]),
            ("f 1FFFFFFF#01", &["a 7FF#01"]),
            ("f 7FF#01", &[]),
        ],
    );
}

#[test]
fn what_becomes_of_a_frame() {
    check(
        "[route.r]\nfrom = \"a\"\nto = \"b\"\nid = \"100\"\nnew_id = \"00000100\"\n",
        &[("a 100#01", &["b 00000100#01"]), ("a 100#R", &["b 00000100#"])],
    );
    check(
        "[route.r]\nfrom = \"a\"\nto = \"b\"\nids = [\"000-010\", \"7F0-7FF\"]\nadd_to_id = -8\n",
        &[("a 007#", &[]), ("a 008#", &["b 000#"]), ("a 010#", &["b 008#"]), ("a 7FF#", &["b 7F7#"])],
    );
    check(
        "[route.r]\nfrom = \"a\"\nto = \"b\"\nids = [\"1FFFFFF0-1FFFFFFF\", \"7F0-7FF\"]\nadd_to_id = 8\n",
        &[("a 1FFFFFF7#", &["b 1FFFFFFF#"]), ("a 1FFFFFF8#", &[]), ("a 7F7#", &["b 7FF#"]), ("a 7F8#", &[])],
    );
    // an FD frame never goes to a classic bus, and is never cut
    check(
        "[route.r]\nfrom = \"f\"\nto = \"b\"\nid = \"100\"\n",
        &[("f 100#0102", &["b 100#0102"]), ("f 100##00102", &[]), ("f 100##1000102030405060708090A0B", &[])],
    );
    check(
        "[route.r]\nfrom = \"f\"\nto = \"b\"\nid = \"100\"\nformat = \"classic\"\n",
        &[
            ("f 100#0102", &["b 100#0102"]),
            ("f 100##10102030405060708", &["b 100#0102030405060708"]),
            ("f 100##1000102030405060708090A0B", &[]),
        ],
    );
    check(
        "[route.r]\nfrom = \"a\"\nto = \"f\"\nid = \"100\"\nformat = \"fd\"\n",
        &[("a 100#0102", &["f 100##10102"]), ("a 100#", &["f 100##1"]), ("a 100#R", &[])],
    );
    check(
        "[route.r]\nfrom = \"g\"\nto = \"f\"\nid = \"100\"\nformat = \"fd\"\nbit_rate_switch = false\n",
        &[("g 100#0102", &["f 100##00102"]), ("g 100##101", &["f 100##001"])],
    );
    check(
        "[route.r]\nfrom = \"g\"\nto = \"f\"\nid = \"100\"\n",
        &[("g 100#0102", &["f 100#0102"]), ("g 100##101", &["f 100##101"]), ("g 100##001", &["f 100##001"])],
    );
    check(
        "[route.r]\nfrom = \"a\"\nto = \"b\"\nid = \"100\"\n\
         edits = [{ byte = 0, mask = \"F0\", value = \"A0\" }, { byte = 2, value = \"7F\" }, { byte = 0, mask = \"01\", value = \"00\" }]\n",
        &[
            ("a 100#0F0203", &["b 100#AE027F"]),
            ("a 100#FFFFFFFF", &["b 100#AEFF7FFF"]),
            ("a 100#0102", &[]),
            ("a 100#R", &[]),
        ],
    );
}

#[test]
fn frames_that_do_not_fit_are_counted() {
    let mut b = bench(
        "[route.r]\nfrom = \"f\"\nto = \"b\"\nids = [\"000-7FF\"]\nexcept = [\"2FF-300\"]\nadd_to_id = 1\nstorm_hz = 5\n",
    );
    for frame in ["f 100#01", "f 7FF#01", "f 100##001", "f 00000300#01", "b 100#"] {
        b.receive(frame);
    }
    let words = |b: &Bench| {
        [RouteWord::Passed, RouteWord::Unfit, RouteWord::RateLimited, RouteWord::Off, RouteWord::Stopped]
            .map(|which| word(b, "r", which))
    };
    assert_eq!(words(&b), [1, 2, 0, 0, 0]);
    // neither a route nor a message: the one to leave out, and one on b
    assert_eq!((b.bus_word("f", BusWord::UnknownFrames), b.bus_word("b", BusWord::UnknownFrames)), (1, 1));
    b.receive("f 301#0000");
    assert_eq!(b.bus_word("f", BusWord::UnknownFrames), 1);
}

#[test]
fn a_rate_limit_holds_for_each_identifier() {
    let mut b = bench("[route.r]\nfrom = \"a\"\nto = \"b\"\nall = true\nexcept = [\"300\"]\nmax_rate_hz = 100\n");
    b.play(
        "
        1000 clear
        1000 rx a 100#01
        1000 tx b 100#01
        1001 rx a 100#02
        1001 rx a 101#03
        1001 tx b 101#03
        1009 rx a 100#04
        1009 quiet
        1010 rx a 100#05
        1010 tx b 100#05
        1011 rx a 101#06
        1011 tx b 101#06
        1012 rx a 18FEEE00#07
        1012 tx b 18FEEE00#07
        1013 rx a 18FEEE00#08
        1013 rx a 18FEEE01#09
        1013 tx b 18FEEE01#09
        1013 rx a 00000100#0A
        1013 tx b 00000100#0A
        1022 rx a 18FEEE00#0B
        1022 tx b 18FEEE00#0B
        1023 quiet",
    );
    assert_eq!((word(&b, "r", RouteWord::Passed), word(&b, "r", RouteWord::RateLimited)), (8, 3));
}

/// More 29-bit identifiers than the table has places: none of them ever passes twice within the interval.
#[test]
fn a_rate_limit_never_lets_more_through() {
    let mut b = bench(
        "[route.r]\nfrom = \"a\"\nto = \"b\"\nall = true\nexcept = [\"300\"]\nmax_rate_hz = 1\nstorm_hz = 1000000\n",
    );
    let mut passed = std::collections::BTreeMap::new();
    for round in 0..3 {
        for number in 0..6000_u32 {
            let frame = format!("a {:08X}#", number * 977);
            if b.receive(&frame).is_empty() {
                continue;
            }
            assert!(passed.insert(number, round).is_none(), "{number} passed twice within a second");
        }
        b.now += 100 * MS;
    }
    assert!(passed.len() > 2000, "{}", passed.len());
    assert_eq!(word(&b, "r", RouteWord::Passed) + word(&b, "r", RouteWord::RateLimited), 18_000);
}

#[test]
fn a_storm_switches_a_route_off_until_somebody_switches_it_on() {
    let mut b = bench(
        "[route.r]\nfrom = \"a\"\nto = \"b\"\nid = \"100\"\nstorm_hz = 5\n[route.s]\nfrom = \"a\"\nto = \"f\"\nid = \"100\"\n",
    );
    let route = b.plan.routes.iter().position(|route| route.name == "r").unwrap();
    let run = |b: &mut Bench, frames: usize, ms: u64| {
        (0..frames)
            .map(|_| {
                b.now += ms * MS;
                b.receive("a 100#01").iter().filter(|frame| frame.starts_with("b ")).count()
            })
            .sum::<usize>()
    };
    assert_eq!(run(&mut b, 30, 201), 30); // five within a second
    assert!(!b.alarm(Alarm::Storm(route)));
    b.now += 1000 * MS;
    assert_eq!(run(&mut b, 30, 100), 5);
    assert!(b.alarm(Alarm::Storm(route)));
    assert_eq!(word(&b, "r", RouteWord::Stopped), 1);
    b.now += 10_000 * MS;
    assert_eq!(run(&mut b, 1, 1000), 0, "it stays off when the storm is over");
    assert_eq!(word(&b, "s", RouteWord::Stopped), 0);
    b.command(Change::Route { route, on: true }).unwrap();
    assert!(!b.alarm(Alarm::Storm(route)));
    assert_eq!((word(&b, "r", RouteWord::Stopped), run(&mut b, 5, 10)), (0, 5));
    b.command(Change::Route { route, on: false }).unwrap();
    assert!(!b.alarm(Alarm::Storm(route)), "off by command is no alarm");
    let off = word(&b, "r", RouteWord::Off);
    assert_eq!((word(&b, "r", RouteWord::Stopped), run(&mut b, 3, 1000)), (1, 0));
    assert_eq!(word(&b, "r", RouteWord::Off), off + 3);
}

/// What `check` says about a wrong route: `p.toml:LINE:COLUMN: ` is left out.
#[test]
fn mistakes_in_routes() {
    mistakes(include_str!("../fixtures/config/routes.txt"), BUSES, FILES);
}

/// Each case: `=== what`, sections behind `buses`, `---`, and all that is said, lines counted from the first section.
#[track_caller]
pub fn mistakes(cases: &str, buses: &str, files: &[(&str, &str)]) {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let mut differing = String::new();
    for case in cases.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (toml, expected) = rest.split_once("---\n").unwrap();
        let sources = Sources::embedded("p.toml", &format!("{}{toml}", buses.trim_start()), &files);
        let said =
            load(&sources, LoadOptions::default()).map(|loaded| loaded.diagnostics).unwrap_or_else(|found| found);
        let first = buses.trim_start().lines().count() as u32;
        let said: Vec<String> = said
            .iter()
            .map(|d| {
                let text = d.to_string();
                let text = text.lines().next().unwrap_or_default().split_once(": ").map_or("", |(_, text)| text);
                format!("{}:{}: {text}", d.line.saturating_sub(first), d.column)
            })
            .collect();
        let said = said.join("\n");
        if said != expected.trim_end() {
            differing.push_str(&format!("=== {name}\n{toml}---\n{said}\n"));
        }
    }
    assert!(differing.is_empty(), "said otherwise:\n{differing}");
}

#[test]
fn the_time_that_passed_on_frames_take_is_counted_at_both_bit_rates() {
    let check = |route: &str, frame: &str, (nominal, data): (u64, u64)| {
        let mut bench = bench(&format!("[route.r]\nfrom = \"g\"\nto = \"f\"\nid = \"100\"\n{route}"));
        bench.receive(frame);
        let bits = [BusWord::NominalBits, BusWord::DataBits].map(|word| bench.bus_word("f", word));
        assert_eq!(bits, [nominal, data], "{frame} {route}");
    };
    // ISO 11898-1: 47 bits and 8 for each byte; 30 of CAN FD at the nominal bit rate, 32 and the bytes at the other.
    // Stuff bits besides, for the 13 dominant bits behind the first of the identifier's, 10 of CAN FD: three and two.
    check("", "g 100#5555", (47 + 16 + 3, 0));
    check("", "g 100##15555", (30 + 2, 32 + 16));
    check("", "g 100##05555", (30 + 2 + 32 + 16, 0));
    check("format = \"fd\"\n", "g 100#5555", (30 + 2, 32 + 16));
}
