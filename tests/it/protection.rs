//! Counters and checksums: published vectors, independent implementations, sequences of frames as data.

use canvoy::can::{FrameId, MAX_LEN};
use canvoy::dbc::Codec;
use canvoy::dbc::codec::{ByteOrder, Kind};
use canvoy::protection::*;
use canvoy::quality::Cause;
use proptest::prelude::*;

fn id() -> FrameId {
    FrameId::standard(0x180).unwrap()
}

fn low(byte: u8) -> Nibble {
    Nibble { byte, high: false }
}

fn high(byte: u8) -> Nibble {
    Nibble { byte, high: true }
}

const RESYNC: Resync = Resync { max_no_new_or_repeated: 14, sync_counter: 1 };

fn unsigned(start: u16, size: u8) -> Codec {
    Codec::new(start, size, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0).unwrap()
}

fn protection(scheme: Scheme, length: usize, max_delta: u8) -> Protection {
    Protection { scheme, length, max_delta, state: StateMachine::USUAL, signals: Vec::new() }
}

fn profile1(crc: u8, data_id: DataId) -> Scheme {
    Scheme::Profile1 { crc, counter: low(crc + 1), data_id, resync: RESYNC }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Protects the payloads one after the other, and checks what that gave: `expected` frames that are all in sequence.
#[track_caller]
fn check_frames(protection: &Protection, id: FrameId, payloads: &[Vec<u8>], expected: &[String]) {
    let (mut protector, mut checker) = (Protector::new(protection), Checker::new(protection));
    assert_eq!(payloads.len(), expected.len());
    for (number, (payload, expected)) in payloads.iter().zip(expected).enumerate() {
        let mut frame = payload.clone();
        protector.protect(id, &mut frame);
        assert_eq!(hex(&frame), *expected, "frame {number} of {protection:?}");
        let verdict = checker.check(id, &frame);
        let first = number == 0 && matches!(verdict.status, Status::Initial | Status::Good);
        assert!(first || verdict.status == Status::Good, "frame {number} of {protection:?}: {verdict:?}");
    }
}

/// Frames of zeros as the examples of AUTOSAR PRS E2EProtocol give them (data ID 0x123 for profiles 1 and 11, 0x1234 for 5,
/// the list 1 to 16 for 2 and 22), in order from the first counter on.
#[test]
fn examples_of_the_autosar_specification() {
    let data_ids: [u8; 16] = std::array::from_fn(|at| at as u8 + 1);
    let of_list = "1b01 9802 3103 0d04 1805 9b06 6507 0808 1d09 9e0a 370b 0b0c 1e0d 9d0e cd0f 0e00";
    let (both, nibble) = (DataId::Both(0x123), DataId::Nibble(0x123, high(1)));
    let profile11 = |data_id| Scheme::Profile11 { crc: 0, counter: low(1), data_id };
    let at_8 = DataId::Nibble(0x123, high(9));
    for (scheme, length, at, expected) in [
        (profile1(0, both), 8, 0, "cc00 9101"),
        (profile1(0, DataId::Alternating(0x123)), 8, 0, "ce00 0201"),
        (profile1(0, DataId::Low(0x23)), 8, 0, "ce00 9301"),
        (profile1(0, nibble), 8, 0, "2a10 7711"),
        (profile1(8, at_8), 16, 8, "7d10 2011"),
        (Scheme::Profile2 { data_ids, resync: RESYNC }, 8, 0, of_list),
        (Scheme::Profile5 { header: 0, data_id: 0x1234 }, 8, 0, "1cca00 cf8d01"),
        (Scheme::Profile5 { header: 8, data_id: 0x1234 }, 16, 8, "289100 fbd601"),
        (profile11(both), 8, 0, "cc00 9101"),
        (profile11(nibble), 8, 0, "2a10 7711"),
        (Scheme::Profile11 { crc: 8, counter: low(9), data_id: at_8 }, 16, 8, "7d10 2011"),
        (Scheme::Profile22 { header: 0, data_ids }, 8, 0, of_list),
    ] {
        let frames: Vec<String> = expected
            .split(' ')
            .map(|header| format!("{}{header}{}", "00".repeat(at), "00".repeat(length - at - header.len() / 2)))
            .collect();
        let payloads = vec![vec![0; length]; frames.len()];
        // profile 22 begins with 1; the example's frame with counter 0 comes last
        check_frames(&protection(scheme, length, 1), id(), &payloads, &frames);
    }
}

/// golden/protection/frames.jsonl: frames that the Python package autosar-e2e made, see golden/protection/make.py.
#[test]
fn frames_of_another_implementation() {
    let mut lines = 0;
    for line in include_str!("../golden/protection/frames.jsonl").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| line[key].as_u64().unwrap_or(0);
        let at = number("offset") as u8;
        let data_id = number("data_id") as u16;
        let mode = || match line["mode"].as_str().unwrap() {
            "both" => DataId::Both(data_id),
            "alternating" => DataId::Alternating(data_id),
            "low" => DataId::Low(data_id as u8),
            "nibble" => DataId::Nibble(data_id, high(at + 1)),
            other => panic!("{other}"),
        };
        let data_ids = || std::array::from_fn(|at| line["data_ids"][at].as_u64().unwrap() as u8);
        let (scheme, id) = match number("profile") {
            0 => (Scheme::Tsc1, FrameId::extended(number("id") as u32).unwrap()),
            1 => (profile1(at, mode()), id()),
            2 => (Scheme::Profile2 { data_ids: data_ids(), resync: RESYNC }, id()),
            5 => (Scheme::Profile5 { header: at, data_id }, id()),
            11 => (Scheme::Profile11 { crc: at, counter: low(at + 1), data_id: mode() }, id()),
            22 => (Scheme::Profile22 { header: at, data_ids: data_ids() }, id()),
            other => panic!("profile {other}"),
        };
        let frames = line["frames"].as_array().unwrap();
        let payloads: Vec<Vec<u8>> = frames.iter().map(|frame| bytes(frame[0].as_str().unwrap())).collect();
        let expected: Vec<String> = frames.iter().map(|frame| frame[1].as_str().unwrap().to_owned()).collect();
        check_frames(&protection(scheme, number("length") as usize, 1), id, &payloads, &expected);
        lines += 1;
    }
    assert_eq!(lines, 88);
}

fn checksum(codec: Codec, algorithm: Algorithm) -> Checksum {
    let (initial, final_xor) = algorithm.usual();
    Checksum { codec, algorithm, covers: Covers::Others, initial, final_xor, before: Vec::new(), after: Vec::new() }
}

/// Checksums worked out by hand.
#[test]
fn plain_checksums() {
    let last = unsigned(56, 8);
    let plain = |algorithm| checksum(last, algorithm);
    let payload = "0102030405060700";
    for (checksum, payload, expected) in [
        (plain(Algorithm::Xor), payload, "0102030405060700"),
        (Checksum { final_xor: 0xFF, ..plain(Algorithm::Xor) }, payload, "01020304050607ff"),
        (plain(Algorithm::Sum), payload, "010203040506071c"),
        (plain(Algorithm::Sum), "ffffffffffffffaa", "fffffffffffffff9"),
        (Checksum { final_xor: 0xFF, ..plain(Algorithm::Sum) }, payload, "01020304050607e3"),
        (plain(Algorithm::SumToZero), payload, "01020304050607e4"),
        (Checksum { covers: Covers::Bytes(1, 3), ..plain(Algorithm::Sum) }, payload, "0102030405060709"),
        // the checksum's own byte counts as 0
        (Checksum { covers: Covers::Bytes(6, 7), ..plain(Algorithm::Sum) }, "00000000000007ff", "0000000000000707"),
        (Checksum { before: vec![0x10], after: vec![0x20, 1], ..plain(Algorithm::Sum) }, payload, "010203040506074d"),
        (Checksum { initial: 0x80, ..plain(Algorithm::Sum) }, payload, "010203040506079c"),
        // four bits, the other half of the byte counts
        (checksum(unsigned(60, 4), Algorithm::Sum), "0100000000000002", "0100000000000032"),
        // 12 bits across bytes, of Motorola order
        (
            checksum(Codec::new(51, 12, ByteOrder::BigEndian, Kind::Unsigned, 1.0, 0.0).unwrap(), Algorithm::Sum),
            "ffff000000001000",
            "ffff00000000120e",
        ),
        // the check value of the CRC before it, in both byte orders
        (
            checksum(
                Codec::new(79, 16, ByteOrder::BigEndian, Kind::Unsigned, 1.0, 0.0).unwrap(),
                Algorithm::Crc16Ccitt,
            ),
            "3132333435363738390000",
            "31323334353637383929b1",
        ),
        (checksum(unsigned(72, 16), Algorithm::Crc16Ccitt), "3132333435363738390000", "313233343536373839b129"),
        (checksum(unsigned(72, 8), Algorithm::Crc8J1850), "31323334353637383900", "3132333435363738394b"),
    ] {
        let length = payload.len() / 2;
        let protection = protection(Scheme::Plain { counter: None, checksum: Some(checksum) }, length, 1);
        let mut frame = bytes(payload);
        Protector::new(&protection).protect(id(), &mut frame);
        assert_eq!(hex(&frame), expected, "{protection:?}");
        assert_eq!(Checker::new(&protection).check(id(), &frame).status, Status::Good);
    }
}

/// A scheme of the sequences below by its name.
fn named(name: &str) -> Scheme {
    let data_ids = std::array::from_fn(|at| 0x30 + 7 * at as u8);
    let resync = |name: &str| {
        let (max, sync) = name.rsplit_once('/').unwrap();
        Resync { max_no_new_or_repeated: max.parse().unwrap(), sync_counter: sync.parse().unwrap() }
    };
    let of_8 = Counter { codec: unsigned(48, 4), modulus: 8 };
    match name {
        "plain" => {
            let checksum = Some(checksum(unsigned(56, 8), Algorithm::Crc8J1850));
            Scheme::Plain { counter: Some(of_8), checksum }
        }
        "counter" => Scheme::Plain { counter: Some(of_8), checksum: None },
        "xor" => Scheme::Plain { counter: None, checksum: Some(checksum(unsigned(56, 8), Algorithm::Xor)) },
        "tsc1" => Scheme::Tsc1,
        "5" => Scheme::Profile5 { header: 0, data_id: 0xBEEF },
        "11" => Scheme::Profile11 { crc: 0, counter: low(1), data_id: DataId::Nibble(0xABC, high(1)) },
        "22" => Scheme::Profile22 { header: 2, data_ids },
        _ if name.starts_with("1/") => {
            Scheme::Profile1 { crc: 0, counter: low(1), data_id: DataId::Both(0x123), resync: resync(&name[2..]) }
        }
        _ if name.starts_with("2/") => Scheme::Profile2 { data_ids, resync: resync(&name[2..]) },
        _ => panic!("{name}"),
    }
}

/// A frame of a scheme with a counter.
fn frame(protection: &Protection, counter: u64) -> Vec<u8> {
    let (first, modulus) = match protection.scheme {
        Scheme::Plain { counter: Some(counter), .. } => (0, counter.modulus),
        Scheme::Plain { counter: None, .. } => (0, 1),
        Scheme::Profile1 { .. } | Scheme::Profile11 { .. } => (0, 15),
        Scheme::Profile2 { .. } | Scheme::Profile22 { .. } => (1, 16),
        Scheme::Profile5 { .. } => (0, 256),
        Scheme::Tsc1 => (0, 8),
    };
    let mut protector = Protector::new(protection);
    let mut frame = vec![0x5A; protection.length];
    for _ in 0..=(counter + modulus - first) % modulus {
        protector.protect(id(), &mut frame);
    }
    frame
}

/// What happens to a checker: a counter; with `x` behind it a wrong checksum; `short`; `-` no frame; `reset`.
fn happens(protection: &Protection, checker: &mut Checker, event: &str) -> Option<Verdict> {
    Some(match event {
        "-" => checker.missed(),
        "short" => checker.check(id(), &frame(protection, 0)[..protection.length - 1]),
        "reset" => {
            checker.reset();
            return None;
        }
        _ => {
            let mut frame = frame(protection, event.trim_end_matches('x').parse().unwrap());
            if event.ends_with('x') {
                frame[4] ^= 0x10;
            }
            checker.check(id(), &frame)
        }
    })
}

/// `good`, `lost2`, ...; `!` where it may be used; the cause; the state.
fn said(verdict: Verdict) -> String {
    let status = match verdict.status {
        Status::Good => "good".to_owned(),
        Status::Lost(count) => format!("lost{count}"),
        Status::Initial => "initial".to_owned(),
        Status::Synchronizing => "sync".to_owned(),
        Status::Repeated => "repeated".to_owned(),
        Status::WrongCounter => "counter".to_owned(),
        Status::WrongChecksum => "checksum".to_owned(),
        Status::TooShort => "short".to_owned(),
        Status::NoNewData => "nothing".to_owned(),
    };
    let cause = match verdict.cause() {
        None => "",
        Some(Cause::Checksum) => "/checksum",
        Some(Cause::Counter) => "/counter",
        Some(other) => panic!("{other:?}"),
    };
    let state = match verdict.state {
        None => "",
        Some(State::NoData) => "@nodata",
        Some(State::Init) => "@init",
        Some(State::Valid) => "@valid",
        Some(State::Invalid) => "@invalid",
    };
    format!("{status}{}{cause}{state}", if verdict.usable() { "!" } else { "" })
}

/// sequences.txt: `scheme max_delta: event event ...`, then a line for what each event gave.
#[test]
fn sequences_of_frames() {
    let mut differing = String::new();
    let text = include_str!("../fixtures/protection/sequences.txt");
    let cases = text.split("\n\n").filter(|case| !case.trim().is_empty());
    let mut count = 0;
    for case in cases {
        let (comments, lines): (Vec<&str>, Vec<&str>) = case.trim().lines().partition(|line| line.starts_with('#'));
        let (scheme, events) = lines[0].split_once(": ").unwrap();
        let (scheme, options) = scheme.split_once(' ').unwrap();
        let mut protection = protection(named(scheme), 8, 1);
        for option in options.split(' ') {
            let (key, value) = option.split_once('=').unwrap();
            let state = &mut protection.state;
            let number = || value.parse().unwrap();
            match key {
                "max" => protection.max_delta = number(),
                "init" => (state.window_init, state.min_ok_init, state.max_error_init) = three(value),
                "valid" => (state.window_valid, state.min_ok_valid, state.max_error_valid) = three(value),
                "invalid" => (state.window_invalid, state.min_ok_invalid, state.max_error_invalid) = three(value),
                "clear" => state.clear_to_invalid = value == "yes",
                _ => panic!("{key}"),
            }
        }
        let mut checker = Checker::new(&protection);
        let said: Vec<String> =
            events.split(' ').filter_map(|event| happens(&protection, &mut checker, event)).map(said).collect();
        let said = said.join(" ");
        if lines.get(1) != Some(&said.as_str()) {
            let comments = comments.iter().map(|line| format!("{line}\n")).collect::<String>();
            differing.push_str(&format!("{comments}{}\n{said}\n\n", lines[0]));
        }
        count += 1;
    }
    assert!(differing.is_empty(), "said otherwise:\n{differing}");
    assert!(count >= 40, "{count}");
}

/// `window,min_ok,max_error`.
fn three(text: &str) -> (u8, u8, u8) {
    let mut numbers = text.split(',').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap())
}

/// The state machine once more, as the specification's flow chart with a list for its window.
struct Model {
    config: StateMachine,
    state: State,
    window: Vec<char>,
}

impl Model {
    fn check(&mut self, check: char) -> State {
        self.window.insert(0, check);
        let c = self.config;
        let count = |what, window: u8| self.window.iter().take(window.into()).filter(|w| **w == what).count();
        let is = |window, min_ok: u8, max_error: u8| {
            (count('o', window) >= min_ok.into(), count('e', window) <= max_error.into())
        };
        let (next, keep) = match self.state {
            State::NoData if check == 'e' || check == '-' => return State::NoData,
            State::NoData => (State::Init, 0),
            State::Init => match is(c.window_init, c.min_ok_init, c.max_error_init) {
                (true, true) => (State::Valid, c.window_init),
                (_, false) => (State::Invalid, c.window_init),
                (false, true) => return State::Init,
            },
            State::Valid => match is(c.window_valid, c.min_ok_valid, c.max_error_valid) {
                (true, true) => return State::Valid,
                _ => (State::Invalid, c.window_valid),
            },
            State::Invalid => match is(c.window_invalid, c.min_ok_invalid, c.max_error_invalid) {
                (true, true) => (State::Valid, c.window_invalid),
                _ => return State::Invalid,
            },
        };
        self.window.truncate(if next == State::Invalid && c.clear_to_invalid { 0 } else { keep.into() });
        self.state = next;
        next
    }
}

/// All sequences of seven good frames, repeated ones, wrong checksums and missing frames, for several state machines.
#[test]
fn every_short_sequence_follows_the_specification() {
    let machine = |init, valid, invalid, clear_to_invalid| {
        let ((window_init, min_ok_init, max_error_init), (window_valid, min_ok_valid, max_error_valid)) = (init, valid);
        let (window_invalid, min_ok_invalid, max_error_invalid) = invalid;
        StateMachine {
            window_init,
            window_valid,
            window_invalid,
            min_ok_init,
            max_error_init,
            min_ok_valid,
            max_error_valid,
            min_ok_invalid,
            max_error_invalid,
            clear_to_invalid,
        }
    };
    let mut sequences = 0;
    for config in [
        StateMachine::USUAL,
        machine((1, 1, 0), (1, 1, 0), (1, 1, 0), false),
        machine((2, 2, 0), (4, 1, 2), (3, 2, 1), false),
        machine((2, 2, 0), (4, 1, 2), (3, 2, 1), true),
        machine((3, 2, 1), (3, 2, 1), (2, 2, 0), false),
        machine((3, 3, 0), (64, 1, 3), (5, 3, 0), true),
        machine((3, 2, 1), (6, 2, 1), (3, 2, 1), false),
        machine((1, 1, 0), (3, 1, 1), (2, 1, 1), false),
    ] {
        let protection = Protection { state: config, ..protection(named("5"), 8, 1) };
        let frames: Vec<Vec<u8>> = (0..8).map(|counter| frame(&protection, counter)).collect();
        for sequence in 0..4u32.pow(7) {
            let mut checker = Checker::new(&protection);
            let mut model = Model { config, state: State::NoData, window: Vec::new() };
            let mut next = 0;
            for at in 0..7 {
                let (verdict, check) = match sequence >> (2 * at) & 3 {
                    0 => {
                        next += 1;
                        (checker.check(id(), &frames[next - 1]), 'o')
                    }
                    // there is nothing to repeat yet: a first frame with counter 1
                    1 => {
                        let counter = if next == 0 { 1 } else { next - 1 };
                        next = counter + 1;
                        (checker.check(id(), &frames[counter]), 'r')
                    }
                    2 => {
                        let mut wrong = frames[0].clone();
                        wrong[7] ^= 1;
                        (checker.check(id(), &wrong), 'e')
                    }
                    _ => (checker.missed(), '-'),
                };
                let state = model.check(check);
                let name = format!("{sequence:o} at {at}: {verdict:?} {config:?}");
                assert_eq!(verdict.state, Some(state), "{name}");
                assert_eq!(verdict.usable(), state == State::Valid && check == 'o', "{name}");
                assert!(verdict.cause().is_none() || !verdict.usable(), "{name}");
                assert_eq!(check == 'e', verdict.status == Status::WrongChecksum, "{name}");
                assert!(check != 'e' || verdict.cause() == Some(Cause::Checksum), "{name}");
                assert_eq!(checker.state(), verdict.state);
            }
            sequences += 1;
        }
    }
    assert_eq!(sequences, 8 * 16384);
}

/// 15 is no counter of profile 1, even under a right checksum; neither is what is above the modulus of a plain one, or
/// above 7 in TSC1. Wrong data ID nibbles are another message's.
#[test]
fn impossible_counters_and_data_ids() {
    let crc = |bytes: &[u8]| Algorithm::Crc8J1850.add(0, bytes.iter().copied()) as u8;
    let mut frame = frame(&protection(named("1/14/1"), 8, 14), 3);
    frame[1] = frame[1] & 0xF0 | 15;
    frame[0] = crc(&[&[0x23, 0x01], &frame[1..]].concat());
    for (scheme, frame, expected) in [
        ("1/14/1", frame.clone(), "counter/counter@nodata"),
        ("1/14/1", vec![0; 8], "checksum/checksum@nodata"),
        ("counter", vec![0, 0, 0, 0, 0, 0, 8, 0], "counter/counter"),
        // 7 + 8 + 0x80 + 0x01 = 0x90: 2 + 2 + 0
        ("tsc1", vec![1, 1, 1, 1, 1, 1, 1, 0x48], "counter/counter"),
        // "not available", both
        ("tsc1", vec![1, 1, 1, 1, 1, 1, 1, 0xFF], "checksum/checksum"),
    ] {
        let protection = protection(named(scheme), 8, 1);
        let mut checker = Checker::new(&protection);
        assert_eq!(said(checker.check(id(), &frame)), expected, "{scheme}");
    }
    // the CRC over the right low byte of the data ID, but another upper nibble in the message
    let protection = protection(named("11"), 8, 14);
    let mut other = super::protection::frame(&protection, 0);
    other[1] = 0x90;
    other[0] = crc(&[&[0xBC, 0], &other[1..]].concat());
    assert_eq!(said(Checker::new(&protection).check(id(), &other)), "checksum/checksum@nodata");
}

/// The identifier goes into the checksum of TSC1: a frame under another address is another frame.
#[test]
fn tsc1_covers_the_identifier() {
    let protection = protection(Scheme::Tsc1, 8, 1);
    let mut frame = bytes("cc010203040506ff");
    let from = |number| FrameId::extended(number).unwrap();
    Protector::new(&protection).protect(from(0x0C00_0003), &mut frame);
    // 0xCC + 1 + ... + 6 + 0x0C + 3 = 0xF0: 3 + 6 + 0
    assert_eq!(hex(&frame), "cc01020304050610");
    assert_eq!(Checker::new(&protection).check(from(0x0C00_0003), &frame).status, Status::Initial);
    assert_eq!(Checker::new(&protection).check(from(0x0C00_0011), &frame).status, Status::WrongChecksum);
}

/// What is called in the real-time thread asks nothing of the allocator.
#[test]
fn frames_cost_no_allocation() {
    let plain = Checksum { before: vec![1, 2], after: vec![3], ..checksum(unsigned(56, 8), Algorithm::Crc8J1850) };
    let counter = Some(Counter { codec: unsigned(48, 4), modulus: 15 });
    let names = ["tsc1", "1/14/1", "2/14/1", "5", "11", "22"].map(named);
    let schemes = names.into_iter().chain([Scheme::Plain { counter, checksum: Some(plain) }]);
    let mut pairs: Vec<_> = schemes
        .map(|scheme| protection(scheme, 8, 1))
        .map(|protection| (Protector::new(&protection), Checker::new(&protection)))
        .collect();
    let watch = crate::allocations::Watch::thread(nix::unistd::gettid().as_raw());
    let mut usable = 0;
    for (protector, checker) in &mut pairs {
        for number in 0..300u16 {
            let mut frame = [number as u8; 8];
            protector.protect(id(), &mut frame);
            usable += u32::from(checker.check(id(), &frame).usable());
            frame[5] ^= u8::from(number % 50 == 0);
            checker.check(id(), &frame);
            if number % 70 == 0 {
                checker.missed();
                checker.reset();
            }
        }
    }
    let count = watch.count();
    drop(watch);
    assert_eq!(count, 0);
    assert!(usable > 1000, "{usable}");
}

/// Padding behind the message is not covered; a frame that is too short has no checksum.
#[test]
fn the_length_is_that_of_the_message() {
    for name in ["plain", "tsc1", "1/14/1", "2/14/1", "5", "11", "22"] {
        let protection = protection(named(name), 8, 1);
        let mut long = vec![0xEE; 12];
        Protector::new(&protection).protect(id(), &mut long);
        assert_eq!(long[8..], [0xEE; 4], "{name}");
        assert_ne!(long[..8], [0xEE; 8], "{name}");
        let mut checker = Checker::new(&protection);
        long[8..].fill(0x11);
        assert!(matches!(checker.check(id(), &long).status, Status::Initial | Status::Good), "{name}");
        let mut short = vec![0xEE; 7];
        Protector::new(&protection).protect(id(), &mut short);
        assert_eq!(short, [0xEE; 7], "{name}");
        assert_eq!(checker.check(id(), &short).status, Status::TooShort, "{name}");
    }
}

fn nibbles() -> impl Strategy<Value = Nibble> {
    (any::<u8>(), any::<bool>()).prop_map(|(byte, high)| Nibble { byte, high })
}

fn data_ids() -> impl Strategy<Value = DataId> {
    prop_oneof![
        any::<u16>().prop_map(DataId::Both),
        any::<u16>().prop_map(DataId::Alternating),
        any::<u8>().prop_map(DataId::Low),
        (any::<u16>(), nibbles()).prop_map(|(id, nibble)| DataId::Nibble(id, nibble)),
    ]
}

fn resyncs() -> impl Strategy<Value = Resync> {
    (any::<u8>(), any::<u8>())
        .prop_map(|(max_no_new_or_repeated, sync_counter)| Resync { max_no_new_or_repeated, sync_counter })
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    use Algorithm::*;
    prop::sample::select(vec![Xor, Sum, SumToZero, Crc8, Crc8J1850, Crc8H2f, Crc16Ccitt])
}

/// Any scheme at any place, possible or not.
fn schemes() -> impl Strategy<Value = Scheme> {
    let counter = (0u16..600, 1u8..=32, any::<u64>())
        .prop_map(|(start, size, modulus)| Counter { codec: unsigned(start, size), modulus });
    let checksum = (0u16..600, 1u8..=32, algorithms(), any::<Option<(u8, u8)>>(), any::<[u64; 2]>(), any::<Vec<u8>>())
        .prop_map(|(start, size, algorithm, covers, [initial, final_xor], before)| Checksum {
            covers: covers.map_or(Covers::Others, |(first, last)| Covers::Bytes(first, last)),
            initial,
            final_xor,
            before,
            ..checksum(unsigned(start, size), algorithm)
        });
    prop_oneof![
        (prop::option::of(counter), prop::option::of(checksum))
            .prop_map(|(counter, checksum)| Scheme::Plain { counter, checksum }),
        (any::<u8>(), nibbles(), data_ids(), resyncs()).prop_map(|(crc, counter, data_id, resync)| Scheme::Profile1 {
            crc,
            counter,
            data_id,
            resync
        }),
        (any::<[u8; 16]>(), resyncs()).prop_map(|(data_ids, resync)| Scheme::Profile2 { data_ids, resync }),
        any::<(u8, u16)>().prop_map(|(header, data_id)| Scheme::Profile5 { header, data_id }),
        (any::<u8>(), nibbles(), data_ids()).prop_map(|(crc, counter, data_id)| Scheme::Profile11 {
            crc,
            counter,
            data_id
        }),
        any::<(u8, [u8; 16])>().prop_map(|(header, data_ids)| Scheme::Profile22 { header, data_ids }),
        Just(Scheme::Tsc1),
    ]
}

/// Schemes that find every single wrong bit: TSC1's three bits can't, and a counter that chooses the data ID may hide itself.
const EVERY_BIT: &[&str] = &["plain", "xor", "1/14/1", "5", "11"];

proptest! {
    #[test]
    fn nothing_panics(scheme in schemes(), length in 0usize..80, max_delta: u8, payload in prop::collection::vec(any::<u8>(), 0..=MAX_LEN)) {
        let protection = protection(scheme, length, max_delta);
        let (mut protector, mut checker) = (Protector::new(&protection), Checker::new(&protection));
        let mut frame = payload.clone();
        for _ in 0..3 {
            protector.protect(id(), &mut frame);
            checker.check(id(), &frame);
            checker.check(id(), &payload);
            checker.missed();
        }
    }

    #[test]
    fn what_is_protected_is_good(
        name in prop::sample::select(vec!["plain", "counter", "xor", "tsc1", "1/14/1", "2/14/1", "5", "11", "22"]),
        payloads in prop::collection::vec(any::<[u8; 8]>(), 1..40),
    ) {
        let protection = protection(named(name), 8, 1);
        let (mut protector, mut checker) = (Protector::new(&protection), Checker::new(&protection));
        for (number, payload) in payloads.into_iter().enumerate() {
            let mut frame = payload;
            protector.protect(id(), &mut frame);
            let verdict = checker.check(id(), &frame);
            prop_assert!(verdict.status == Status::Good || number == 0, "{number}: {verdict:?}");
            prop_assert!(verdict.usable() || number == 0, "{number}: {verdict:?}");
            prop_assert_eq!(verdict.cause(), None);
        }
    }

    #[test]
    fn one_wrong_bit_is_found(name in prop::sample::select(EVERY_BIT), payload: [u8; 8], bit in 0usize..64) {
        let protection = protection(named(name), 8, 1);
        let mut frame = payload;
        Protector::new(&protection).protect(id(), &mut frame);
        frame[bit / 8] ^= 1 << (bit % 8);
        let verdict = Checker::new(&protection).check(id(), &frame);
        prop_assert_eq!(verdict.status, Status::WrongChecksum);
        prop_assert_eq!(verdict.cause(), Some(Cause::Checksum));
    }

    /// The same for the data of profiles 2 and 22, whose counter has data IDs of its own.
    #[test]
    fn one_wrong_bit_of_the_data_is_found(name in prop::sample::select(vec!["2/14/1", "22"]), payload: [u8; 8], bit in 32usize..64) {
        let protection = protection(named(name), 8, 1);
        let mut frame = payload;
        Protector::new(&protection).protect(id(), &mut frame);
        frame[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Checker::new(&protection).check(id(), &frame).status, Status::WrongChecksum);
    }

    /// Steps of a counter are judged by their distance, whatever came before; only frames in sequence may be used.
    #[test]
    fn steps_are_judged_by_distance(
        name in prop::sample::select(vec!["plain", "counter", "tsc1", "5", "11", "22"]),
        max in 1u8..7,
        counters in prop::collection::vec(0u64..8, 2..20),
    ) {
        let protection = protection(named(name), 8, max);
        let modulus = match name { "5" => 256, "11" => 15, "22" => 16, _ => 8 };
        let mut checker = Checker::new(&protection);
        let mut last = None;
        for counter in counters {
            let verdict = checker.check(id(), &frame(&protection, counter));
            if let Some(last) = last {
                let delta = (counter + modulus - last) % modulus;
                let expected = match delta {
                    0 => Status::Repeated,
                    1 => Status::Good,
                    _ if delta <= max.into() => Status::Lost(delta as u8 - 1),
                    _ => Status::WrongCounter,
                };
                prop_assert_eq!(verdict.status, expected);
                let good = matches!(expected, Status::Good | Status::Lost(_));
                prop_assert!(!verdict.usable() || good);
            }
            last = Some(counter);
        }
    }
}
