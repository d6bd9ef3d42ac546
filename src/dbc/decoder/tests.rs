//! The decoder against the scalar codec: whatever the layout, the payload and the form, the same signals and values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dbc::codec::{ByteOrder, Kind, Raw};
use crate::dbc::model::{Condition, Signal};
use crate::dbc::parse;

/// A reproducible stream of bits.
fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

fn id(number: u32) -> FrameId {
    if number <= FrameId::MAX_STANDARD { FrameId::standard(number) } else { FrameId::extended(number) }.unwrap()
}

/// A message of signals with their groups.
fn message(id: FrameId, signals: &[(Codec, usize)], groups: Vec<Group>) -> Message {
    let signal = |(codec, group): &(Codec, usize)| Signal {
        name: String::new(),
        dbc_name: String::new(),
        codec: *codec,
        range: None,
        unit: String::new(),
        comment: None,
        receivers: vec![],
        value_table: vec![],
        multiplexor: false,
        group: *group,
        start_value: None,
        send_type: None,
        timeouts: vec![],
        attributes: BTreeMap::new(),
    };
    Message {
        id,
        pgn: None,
        source_address: None,
        name: "M".into(),
        dbc_name: "M".into(),
        length: 64,
        fd: false,
        senders: vec![],
        comment: None,
        signals: signals.iter().map(signal).collect(),
        groups,
        send_type: None,
        cycle_time: None,
        start_delay: std::time::Duration::ZERO,
        attributes: BTreeMap::new(),
    }
}

/// What the reference says: message, raw values by signal.
type Reference = Option<(usize, BTreeMap<usize, Raw>)>;

fn same(got: f64, want: f64) -> bool {
    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan())
}

/// Every form gives, for every frame, what the reference gives.
fn check(messages: &[Message], frames: &[(FrameId, Vec<u8>)]) {
    check_with(Decoder::portable(messages), messages, frames);
    check_with(Decoder::new(messages), messages, frames);
}

fn check_with(decoder: Decoder, messages: &[Message], frames: &[(FrameId, Vec<u8>)]) {
    let lookup = Lookup::new(messages);
    let reference = |(id, payload): &(FrameId, Vec<u8>)| -> Reference {
        let message = lookup.get(*id)?;
        Some((message, messages[message].decode(payload).collect()))
    };
    let want: Vec<Reference> = frames.iter().map(reference).collect();
    let value = |message: usize, signal: usize, raw: Raw| messages[message].signals[signal].codec.engineering(raw);
    let (mut row, mut raw) = (decoder.row(), decoder.row());
    for ((id, payload), want) in frames.iter().zip(&want) {
        let place = || format!("{id} {payload:02X?}: {want:?}");
        let got = decoder.decode(*id, payload, &mut row);
        assert_eq!(got.map(|got| got.message), want.as_ref().map(|(message, _)| *message), "{}", place());
        let raws = decoder.raw(*id, payload, &mut raw);
        assert_eq!(raws.map(|got| got.message), got.map(|got| got.message), "{}", place());
        let (Some(got), Some(raws), Some((message, want))) = (got, raws, want) else { continue };
        assert_eq!(got.signals.len(), want.len(), "{}", place());
        assert_eq!(got.signals, raws.signals, "{}", place());
        for ((signal, got), (_, bits)) in got.iter().zip(raws.iter()) {
            let codec = messages[*message].signals[signal].codec;
            let raw = want.get(&signal).copied();
            assert_eq!(Some(bits), raw.map(Raw::bits), "{codec:?} {}", place());
            assert!(raw.is_some_and(|raw| same(got, value(*message, signal, raw))), "{codec:?} {got} {}", place());
        }
    }
    let mut left = want;
    let mut batch = decoder.batch_buffer();
    // twice: a buffer used again gives the same
    decoder.batch(&frames[..frames.len() / 2], |(id, payload)| (*id, payload), &mut batch, |_| ());
    let table = |table: Table| {
        assert!(table.frames.is_sorted() && !table.frames.is_empty());
        for (column, signal) in table.signals.iter().enumerate() {
            let values = table.column(column);
            assert_eq!(values.len(), table.frames.len());
            for (frame, got) in table.frames.iter().zip(values) {
                let Some((message, want)) = &mut left[*frame as usize] else { panic!("frame {frame} of no message") };
                assert_eq!(*message, table.message);
                let raw = want.remove(&(*signal as usize));
                let is_right = raw.is_some_and(|raw| same(*got, value(*message, *signal as usize, raw)));
                assert!(is_right, "frame {frame} signal {signal}: {got}, raw {raw:?}");
            }
        }
    };
    decoder.batch(frames, |(id, payload)| (*id, payload), &mut batch, table);
    assert!(left.iter().flatten().all(|(_, missing)| missing.is_empty()), "signals in no table: {left:?}");
}

/// Payloads of every length up to one too long, in noise and in all ones.
fn payloads(id: FrameId, longest: usize, next: &mut impl FnMut() -> u64) -> Vec<(FrameId, Vec<u8>)> {
    let mut frames: Vec<_> = (0..=longest + 1).map(|len| (id, (0..len).map(|_| next() as u8).collect())).collect();
    frames.push((id, vec![0xFF; longest]));
    frames
}

#[test]
fn every_start_and_size_in_both_orders_and_all_kinds() {
    let mut next = noise(11);
    // each position within eight bytes, across them, and at the end of 64
    for start in (0..140u16).chain(440..512) {
        let mut messages = Vec::new();
        let mut frames = Vec::new();
        for order in [ByteOrder::LittleEndian, ByteOrder::BigEndian] {
            for kind in [Kind::Unsigned, Kind::Signed, Kind::F32, Kind::F64] {
                for sizes in [1..=16u8, 17..=32, 33..=48, 49..=58, 59..=63, 64..=64] {
                    let scale = |size: u8| [(1.0, 0.0), (0.1, -40.0), (-0.25, 1e6), (0.0, 7.0)][usize::from(size % 4)];
                    let codec = |size| Codec::new(start, size, order, kind, scale(size).0, scale(size).1);
                    let signals: Vec<_> = sizes.filter_map(codec).map(|codec| (codec, 0)).collect();
                    let Some(needed) = signals.iter().map(|(codec, _)| codec.needed_len()).max() else { continue };
                    let id = id(messages.len() as u32);
                    frames.extend(payloads(id, needed, &mut next).into_iter().skip(needed - 1));
                    messages.push(message(id, &signals, vec![Group::default()]));
                }
            }
        }
        check(&messages, &frames);
    }
}

#[test]
fn scales_that_do_not_divide() {
    let mut next = noise(12);
    let scales = [5e-324, 1e-310, f64::MIN_POSITIVE, 1e-300, 1e300, f64::MAX, f64::INFINITY, f64::NAN, -0.0];
    let signals: Vec<_> = scales
        .iter()
        .flat_map(|factor| [8u16, 40].map(|start| (start, *factor)))
        .filter_map(|(start, factor)| Codec::new(start, 12, ByteOrder::LittleEndian, Kind::Signed, factor, 0.5))
        .map(|codec| (codec, 0))
        .collect();
    check(&[message(id(5), &signals, vec![Group::default()])], &payloads(id(5), 8, &mut next));
}

#[test]
fn floats_that_are_no_numbers() {
    let codec = |kind, size, start| Codec::new(start, size, ByteOrder::LittleEndian, kind, 2.0, -1.0).unwrap();
    let signals = [(codec(Kind::F32, 32, 0), 0), (codec(Kind::F64, 64, 32), 0)];
    let frame = |single: f32, double: f64| (id(5), [&single.to_le_bytes()[..], &double.to_le_bytes()].concat());
    let frames = [
        frame(f32::NAN, f64::NAN),
        frame(f32::INFINITY, f64::NEG_INFINITY),
        frame(-0.0, -0.0),
        frame(1e-45, 5e-324),
        frame(f32::MAX, f64::MAX),
    ];
    check(&[message(id(5), &signals, vec![Group::default()])], &frames);
}

#[test]
fn multiplexed_messages() {
    let file = "VERSION \"\"\nBU_: A\n\
        BO_ 100 One: 8 A\n SG_ S M : 0|4@1+ (1,0) [0|0] \"\" A\n SG_ Always : 4|4@1- (1,0) [0|0] \"\" A\n\
        SG_ A m0 : 8|16@1+ (0.5,0) [0|0] \"\" A\n SG_ B m1 : 15|16@0- (1,3) [0|0] \"\" A\n\
        SG_ C m1 : 24|40@1+ (1,0) [0|0] \"\" A\n\
        BO_ 101 Nested: 8 A\n SG_ S M : 7|8@0+ (1,0) [0|0] \"\" A\n SG_ T m1M : 8|2@1- (1,0) [0|0] \"\" A\n\
        SG_ A m1 : 16|12@1+ (1,0) [0|0] \"\" A\n SG_ B m2 : 32|8@1+ (1,0) [0|0] \"\" A\n\
        SG_ C m3 : 40|8@1+ (1,0) [0|0] \"\" A\n\
        BO_ 102 Two: 8 A\n SG_ S M : 0|8@1+ (1,0) [0|0] \"\" A\n SG_ T M : 8|8@1+ (1,0) [0|0] \"\" A\n\
        SG_ A m1 : 16|12@1+ (1,0) [0|0] \"\" A\n SG_ B m2 : 32|8@1+ (1,0) [0|0] \"\" A\n\
        SG_ C m3 : 40|8@1+ (1,0) [0|0] \"\" A\n SG_ D m3 : 48|8@1+ (1,0) [0|0] \"\" A\n\
        BO_ 103 Wide: 16 A\n SG_ S M : 4|20@1+ (1,0) [0|0] \"\" A\n SG_ A m1 : 64|64@1+ (1,0) [0|0] \"\" A\n\
        SG_ B m2 : 71|8@0+ (1,0) [0|0] \"\" A\n\
        BO_ 104 Many: 8 A\n SG_ S M : 0|3@1+ (1,0) [0|0] \"\" A\n";
    let many: String =
        (0..12).map(|i| format!(" SG_ P{i} : {}|3@1+ (1,0) [0|0] \"\" A\n", 3 + i * 3)).collect::<String>()
            + " SG_ A m1 : 40|8@1+ (1,0) [0|0] \"\" A\n SG_ B m2 : 48|16@1- (1,0) [0|0] \"\" A\n";
    let ranges = "SG_MUL_VAL_ 101 T S 1-3, 7-7;\nSG_MUL_VAL_ 101 A S 2-4;\nSG_MUL_VAL_ 101 B T 0-1;\n\
        SG_MUL_VAL_ 101 C T 1-1;\nSG_MUL_VAL_ 102 A S 0-100;\nSG_MUL_VAL_ 102 B S 50-150;\n\
        SG_MUL_VAL_ 102 C T 0-127;\nSG_MUL_VAL_ 102 D T 3-3, 200-255;\nSG_MUL_VAL_ 103 A S 0-500000;\n\
        SG_MUL_VAL_ 103 B S 400000-1048575;\n";
    let (database, said) = parse("t.dbc", format!("{file}{many}{ranges}").as_bytes());
    let messages = database.unwrap().messages;
    assert!(messages.iter().all(|message| message.groups.len() > 1), "{said:?}");
    let mut next = noise(13);
    let mut frames = Vec::new();
    for round in 0..400 {
        for message in &messages {
            frames.extend(payloads(message.id, message.length.into(), &mut next).into_iter().skip(round % 8));
        }
    }
    check(&messages, &frames);
}

#[test]
fn a_selector_of_nine_bytes() {
    let codec = |start, size| Codec::new(start, size, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0).unwrap();
    let conditions = vec![Condition { selector: 0, ranges: vec![(0, 1 << 58)] }];
    let signals = [(codec(5, 60), 0), (codec(72, 8), 1)];
    let mut next = noise(16);
    let frames: Vec<_> = (0..50).flat_map(|_| payloads(id(1), 10, &mut next)).collect();
    check(&[message(id(1), &signals, vec![Group::default(), Group { conditions }])], &frames);
}

/// Branches within branches' ranges, so many that programs for all of them would fill the memory.
#[test]
fn branches_without_end() {
    let codec = |start, size| Codec::new(start, size, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0).unwrap();
    let range = |i: i128| Group { conditions: vec![Condition { selector: 0, ranges: vec![(i, 4000 - i)] }] };
    let groups = std::iter::once(Group::default()).chain((0..400).map(range)).collect();
    let members = (1..=400).flat_map(|group| (0..4).map(move |i| (codec(16 + i * 8, 8), group)));
    let signals: Vec<_> = std::iter::once((codec(0, 12), 0)).chain(members).collect();
    // as many selectors side by side
    let sides: Vec<_> =
        (0..40).map(|i| (codec(i, 1), 0)).chain((0..40).map(|i| (codec(40 + i, 1), 1 + usize::from(i)))).collect();
    let side = |selector| Group { conditions: vec![Condition { selector, ranges: vec![(1, 1)] }] };
    let side = std::iter::once(Group::default()).chain((0..40).map(side)).collect();
    let mut next = noise(17);
    let frames: Vec<_> = [id(1), id(2)].iter().flat_map(|id| payloads(*id, 10, &mut next)).collect();
    check(&[message(id(1), &signals, groups), message(id(2), &sides, side)], &frames);
}

#[test]
fn tables_that_are_just_full() {
    let codec = Codec::new(0, 32, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0).unwrap();
    let messages = [message(id(1), &[(codec, 0)], vec![Group::default()])];
    for count in [1, 63, 64, 65, 128] {
        let frames: Vec<_> = (0..count).map(|i: u32| (id(1), i.to_le_bytes().to_vec())).collect();
        check(&messages, &frames);
    }
}

/// Groups that no DBC file gives, but the model can hold: they are left to the reference.
#[test]
fn groups_that_are_no_tree() {
    let codec = |start, kind| Codec::new(start, 8, ByteOrder::LittleEndian, kind, 1.0, 0.0).unwrap();
    let condition = |selector, from, to| Condition { selector, ranges: vec![(from, to)] };
    let group = |conditions: &[Condition]| Group { conditions: conditions.to_vec() };
    let signals: Vec<_> = (0..4).map(|i| (codec(i * 8, Kind::Signed), usize::from(i))).collect();
    let groups =
        vec![group(&[]), group(&[condition(0, -128, 0)]), group(&[condition(1, 0, 127)]), group(&[condition(3, 0, 1)])];
    let messages = [message(id(1), &signals, groups)];
    let mut next = noise(14);
    let frames: Vec<_> = (0..50).flat_map(|_| payloads(id(1), 4, &mut next)).collect();
    check(&messages, &frames);
}

#[test]
fn frames_of_no_message_and_parameter_groups() {
    let codec = Codec::new(0, 8, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0).unwrap();
    let plain = |id| message(id, &[(codec, 0)], vec![Group::default()]);
    let empty = message(id(0x300), &[], vec![Group::default()]);
    let eec1 = Message { pgn: Some(0xF004), ..plain(id(0x0CF0_04FE)) };
    let messages = [plain(id(0x100)), plain(FrameId::extended(0x100).unwrap()), eec1, empty, plain(id(0x100))];
    let ids = [id(0x100), FrameId::extended(0x100).unwrap(), id(0x18F0_0421), id(0x300), id(0x200), id(0x1234_5678)];
    let frames: Vec<_> = ids.iter().flat_map(|id| [(*id, vec![1]), (*id, vec![])]).collect();
    check(&messages, &frames);
    let decoder = Decoder::new(&messages);
    assert_eq!(decoder.decode(id(0x200), &[1], &mut decoder.row()), None);
    assert_eq!(decoder.decode(id(0x100), &[1], &mut decoder.row()).unwrap().values, [1.0]);
    check(&[], &frames);
}

/// More words than one program holds: left to the reference.
#[test]
fn signals_scattered_over_a_long_payload() {
    let mut next = noise(15);
    let codec = |i: u16| Codec::new(i * 63, 64, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0).map(|c| (c, 0));
    let signals: Vec<_> = (0..100).filter_map(codec).collect();
    let frames = payloads(id(1), 0, &mut next).into_iter().chain([(id(1), vec![0x5A; 1785]), (id(1), vec![0xA5; 700])]);
    check(&[message(id(1), &signals, vec![Group::default()])], &frames.collect::<Vec<_>>());
}

fn codecs() -> impl Strategy<Value = Vec<Codec>> {
    let codec = (0u16..512, 1u8..=64, any::<bool>(), 0usize..6, 0usize..5, any::<i16>()).prop_filter_map(
        "sizes of floats",
        |(start, size, big, kind, factor, offset)| {
            let (kind, size) = match kind {
                0..=2 => (Kind::Unsigned, size),
                3 => (Kind::Signed, size),
                4 => (Kind::F32, 32),
                _ => (Kind::F64, 64),
            };
            let order = if big { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
            let factor = [1.0, 0.1, -3.0, 1e-9, 12345.678][factor];
            Codec::new(start, size, order, kind, factor, f64::from(offset) / 8.0)
        },
    );
    proptest::collection::vec(codec, 0..40)
}

proptest! {
    #[test]
    fn messages_of_any_signals(
        layouts in proptest::collection::vec(codecs(), 1..6),
        frames in proptest::collection::vec((0u32..7, proptest::collection::vec(any::<u8>(), 0..=72)), 0..60),
    ) {
        let with_groups = |(index, codecs): (usize, &Vec<Codec>)| {
            let signals: Vec<_> = codecs.iter().map(|codec| (*codec, 0)).collect();
            message(id(index as u32 * 0x400), &signals, vec![Group::default()])
        };
        let messages: Vec<Message> = layouts.iter().enumerate().map(with_groups).collect();
        let frames: Vec<_> = frames.into_iter().map(|(message, payload)| (id(message * 0x400), payload)).collect();
        check(&messages, &frames);
    }

    /// Selectors of any width and sign, branches that overlap.
    #[test]
    fn messages_of_any_branches(
        selector in (0u16..40, 1u8..=24, any::<bool>(), any::<bool>()),
        branches in proptest::collection::vec((codecs(), -300i128..300, 0i128..200), 1..6),
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=64), 1..40),
        always in 0usize..12,
    ) {
        let (start, size, big, signed) = selector;
        let order = if big { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
        let kind = if signed { Kind::Signed } else { Kind::Unsigned };
        let selector = Codec::new(start, size, order, kind, 1.0, 0.0).unwrap();
        let mut signals = vec![(selector, 0); always + 1];
        let mut groups = vec![Group::default()];
        for (codecs, from, length) in branches {
            signals.extend(codecs.iter().map(|codec| (*codec, groups.len())));
            groups.push(Group { conditions: vec![Condition { selector: 0, ranges: vec![(from, from + length)] }] });
        }
        let messages = [message(id(7), &signals, groups)];
        let mut frames: Vec<(FrameId, Vec<u8>)> = frames.into_iter().map(|payload| (id(7), payload)).collect();
        for (index, (_, payload)) in frames.iter_mut().enumerate().filter(|(index, _)| index % 2 == 0) {
            if let Some(raw) = Raw::from_i128(kind, index as i128 * 7 - if signed { 150 } else { 0 }) {
                let _ = selector.insert(raw, payload);
            }
        }
        check(&messages, &frames);
    }
}
