//! J1939 NAMEs over `Control::step`: who holds which address, from the claims that pass.

use canvoy::can::{Frame, FrameId};
use canvoy::control::Event;
use canvoy::store::layout::{BusState, BusWord};
use canvoy::store::names::NameWord;

use crate::allocations::Watch;
use crate::bench::{Bench, START, plan};

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Engine
BO_ 2364540158 EEC1: 8 Engine
 SG_ Speed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" Us
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2364540158 3;
"#;

/// The same with the parameter group of the claims.
const DESCRIBED: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Engine
BO_ 2565799678 AddressClaimed: 8 Engine
 SG_ IdentityNumber : 0|21@1+ (1,0) [0|0] "" Us
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 2565799678 3;
"#;

const PLAIN: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Us Drive
BO_ 256 Status: 1 Drive
 SG_ Speed : 0|8@1+ (1,0) [0|0] "" Us
"#;

const FILES: &[(&str, &str)] = &[("e.dbc", DBC), ("claims.dbc", DESCRIBED), ("plain.dbc", PLAIN)];

fn bus(name: &str, dbc: &str) -> String {
    format!("[bus.{name}]\ninterface = \"can_{name}\"\ndbc = [\"{dbc}\"]\nnode = \"Us\"\n")
}

/// All holders of a bus as `ADDRESS=NAME@MS`, the NAME as a number, the time of the claim in milliseconds since the start.
fn holders(b: &Bench, bus: &str) -> String {
    let ahead = b.at().realtime - b.at().monotonic;
    let table = b.plan.buses[b.bus(bus)].names.unwrap();
    let holders = (0..=255).filter_map(|address| {
        let holder = b.reader.holder(table, address)?;
        Some(format!("{address}={:X}@{}", holder.name.0, (holder.claimed - START - ahead) / 1_000_000))
    });
    holders.collect::<Vec<_>>().join(" ")
}

/// Claims, contentions, cannot claim, short, moves.
fn counts(b: &Bench, bus: &str) -> [u64; 5] {
    use NameWord::{CannotClaims, Claims, Contentions, Moves, Short};
    let table = b.plan.buses[b.bus(bus)].names.unwrap();
    [Claims, Contentions, CannotClaims, Short, Moves].map(|word| b.reader.name_word(table, word))
}

/// `script`: `MS SOURCE NAME` for a claim, `MS SOURCE` for one that is too short, `MS is HOLDERS` for who holds what then.
fn check(script: &str, want: [u64; 5]) {
    let mut b = Bench::new(&bus("b", "e.dbc"), FILES);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (ms, rest) = line.split_once(' ').unwrap();
        b.pass(ms.parse::<u64>().unwrap() - b.ms());
        let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if first == "is" {
            assert_eq!(holders(&b, "b"), rest, "{line}");
            continue;
        }
        let source: u8 = first.parse().unwrap();
        let payload: String = match rest {
            "" => "0102030405".to_owned(),
            name => u64::from_str_radix(name, 16).unwrap().to_le_bytes().iter().map(|b| format!("{b:02X}")).collect(),
        };
        assert_eq!(
            b.receive(&format!("b 18EEFF{source:02X}#{payload}")),
            Vec::<String>::new(),
            "nothing is sent: {line}"
        );
    }
    assert_eq!(counts(&b, "b"), want, "{script}");
    assert_eq!(b.bus_word("b", BusWord::UnknownFrames), 0, "{script}");
}

#[test]
fn an_address_is_held_by_who_claimed_it() {
    let claimed = "0 is\n5 0 A0\n5 is 0=A0@5\n9 253 8000000000000000";
    // asked for its claim, it says it again
    let again = "20 0 A0\n20 is 0=A0@20 253=8000000000000000@9";
    let short = "30 33\n30 is 0=A0@20 253=8000000000000000@9";
    check(&[claimed, again, short].join("\n"), [3, 0, 0, 1, 0]);
}

#[test]
fn the_lower_name_has_the_address() {
    // the newcomer is lower: he has it at once
    check("0 7 B0\n1 7 A0\n1 is 7=A0@1\n500 is 7=A0@1", [2, 1, 0, 0, 0]);
    // he is higher, and the holder answers: never
    check("0 7 A0\n100 7 B0\n101 7 A0\n101 is 7=A0@101\n900 is 7=A0@101", [3, 1, 0, 0, 0]);
    // the holder is not there any more: after a quarter of a second
    check("0 7 A0\n100 7 B0\n349 is 7=A0@0\n350 is 7=B0@100", [2, 1, 0, 0, 0]);
    // of two that come, the lower
    check("0 7 A0\n100 7 C0\n200 7 B0\n300 7 C0\n449 is 7=A0@0\n450 is 7=B0@200", [4, 3, 0, 0, 0]);
    // the newcomer asks again before his time is over
    check("0 7 A0\n100 7 B0\n200 7 B0\n449 is 7=A0@0\n450 is 7=B0@200", [3, 2, 0, 0, 0]);
}

#[test]
fn a_name_is_at_one_address() {
    check("0 7 A0\n9 8 A0\n9 is 8=A0@9", [2, 0, 0, 0, 1]);
    // it lost its address and takes the next one
    check("0 7 B0\n1 7 A0\n2 8 B0\n2 is 7=A0@1 8=B0@2", [3, 1, 0, 0, 0]);
    // who wanted one and takes another does not get the first as well
    check("0 7 A0\n100 7 B0\n150 8 B0\n900 is 7=A0@0 8=B0@150", [3, 1, 0, 0, 0]);
    // it takes the address of another one
    check("0 7 B0\n0 8 A0\n5 7 A0\n5 is 7=A0@5", [3, 1, 0, 0, 1]);
}

#[test]
fn who_can_not_claim_has_no_address() {
    check("0 7 A0\n5 254 A0\n5 is", [1, 0, 1, 0, 0]);
    check("0 7 A0\n100 7 B0\n150 254 B0\n900 is 7=A0@0", [2, 1, 1, 0, 0]);
    check("0 254 A0\n0 254\n0 is", [0, 0, 1, 1, 0]);
}

#[test]
fn only_buses_with_j1939_have_a_table() {
    let toml = [bus("a", "plain.dbc"), bus("b", "e.dbc"), bus("c", "claims.dbc")].concat();
    let mut b = Bench::new(&toml, FILES);
    assert_eq!(b.plan.buses.iter().map(|bus| bus.names).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
    b.receive("a 18EEFF01#0100000000000000");
    b.receive("b 18EEFF01#0200000000000000");
    b.receive("c 18EEFF01#0300000000000000");
    // nobody sends from the address of all
    b.receive("b 18EEFFFF#0300000000000000");
    assert_eq!(["b", "c"].map(|bus| holders(&b, bus)), ["1=2@0", "1=3@0"]);
    let unknown = ["a", "b", "c"].map(|bus| b.bus_word(bus, BusWord::UnknownFrames));
    assert_eq!(unknown, [1, 1, 0]);
    // described by the DBC file, it is a message as well
    assert_eq!(b.show("c.AddressClaimed.IdentityNumber", 0), "3 good");
    // a bus that goes away takes no names with it: who comes back claims anew
    let bus = b.bus("b");
    b.step(Event::Bus { bus, state: BusState::Gone });
    assert_eq!(holders(&b, "b"), "1=2@0");
}

#[test]
fn names_go_on_over_a_reload() {
    let mut b = Bench::new(&[bus("b", "e.dbc"), bus("c", "claims.dbc")].concat(), FILES);
    b.receive("b 18EEFF07#A000000000000000");
    b.receive("c 18EEFF01#0300000000000000");
    b.pass(10);
    b.receive("b 18EEFF07#B000000000000000");
    // another bus before them, so that every table has another number; the claim that waits goes on waiting
    b.reload(plan(&[bus("a", "e.dbc"), bus("b", "e.dbc"), bus("c", "claims.dbc")].concat(), FILES));
    assert_eq!(["a", "b", "c"].map(|bus| holders(&b, bus)), ["", "7=A0@0", "1=3@0"]);
    assert_eq!(counts(&b, "b"), [2, 1, 0, 0, 0]);
    b.pass(250);
    assert_eq!(holders(&b, "b"), "7=B0@10");
    // the other way, and a bus that has no J1939 any more
    b.reload(plan(&[bus("b", "plain.dbc"), bus("c", "claims.dbc")].concat(), FILES));
    assert_eq!((b.plan.buses[0].names, holders(&b, "c")), (None, "1=3@0".into()));
    b.reload(plan(&[bus("b", "e.dbc"), bus("c", "claims.dbc")].concat(), FILES));
    assert_eq!(["b", "c"].map(|bus| holders(&b, bus)), ["", "1=3@0"]);
}

#[test]
fn claims_allocate_nothing() {
    let mut b = Bench::new(&bus("b", "e.dbc"), FILES);
    let payload = |name: u64| name.to_le_bytes();
    let watch = Watch::thread(nix::unistd::gettid().as_raw());
    for turn in 0..1000_u64 {
        // all addresses, names that move, contend and can't
        let address = if turn % 3 == 0 { turn % 5 } else { turn * 7 % 256 };
        let id = FrameId::extended(0x18EE_FF00 | address as u32).unwrap();
        let frame = Frame::classic(id, &payload(turn * 13 % 101)[..if turn % 50 == 0 { 3 } else { 8 }]).unwrap();
        b.now += 7_000_000;
        let (now, bus) = (b.at(), 0);
        let event = Event::Received { bus, frame: &frame, source_time: now.realtime };
        b.control.step(now, event, &mut b.store, &mut b.transmit);
        b.control.step(now, Event::Timer, &mut b.store, &mut b.transmit);
    }
    assert_eq!(watch.count(), 0);
    drop(watch);
    let counts = counts(&b, "b");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
