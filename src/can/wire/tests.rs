use super::*;
use crate::can::FrameId;

const FRAMES: &str = include_str!("../../../tests/fixtures/wire/frames.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// `123#00`, `123#R4`, `123##100`: what there is in the table.
fn frame(text: &str) -> Frame {
    let (id, rest) = text.split_once('#').unwrap();
    let number = u32::from_str_radix(id, 16).unwrap();
    let id = if id.len() == 8 { FrameId::extended(number) } else { FrameId::standard(number) }.unwrap();
    if let Some(length) = rest.strip_prefix('R') {
        return Frame::remote(id, length.parse().unwrap()).unwrap();
    }
    match rest.strip_prefix('#') {
        None => Frame::classic(id, &bytes(rest)).unwrap(),
        Some(rest) => {
            let mut frame = Frame::fd(id, &bytes(&rest[1..])).unwrap();
            frame.bit_rate_switch = rest.starts_with('1');
            frame
        }
    }
}

/// Of each frame of the table: our bits, those of its format, and its stuff bits.
fn table() -> impl Iterator<Item = (&'static str, Bits, Bits, Bits)> {
    FRAMES.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().unwrap();
        let pair = |at| Bits { nominal: number(at), data: number(at + 1) };
        (words[0], bits(&frame(words[0])), pair(1), pair(3))
    })
}

#[test]
fn the_format_is_exact_and_stuff_bits_are_near() {
    let mut frames = 0;
    for (text, ours, format, stuff) in table() {
        for (ours, format, stuff) in
            [(ours.nominal, format.nominal, stuff.nominal), (ours.data, format.data, stuff.data)]
        {
            assert!(ours >= format, "{text}: {ours} without {format}");
            let off = (ours - format).abs_diff(stuff);
            // the sum of many is nearer: the next test
            assert!(off <= 4 + format / 64, "{text}: {} stuff bits for {stuff}", ours - format);
        }
        assert_eq!(ours.data == 0, format.data == 0, "{text}");
        frames += 1;
    }
    assert_eq!(frames, 221);
}

#[test]
fn many_frames_together_are_right_within_one_part_in_a_hundred() {
    for (kind, of) in [("classic", 0), ("FD", 1)] {
        let (mut ours, mut exact) = (0, 0);
        for (_, bits, format, stuff) in table().filter(|(text, ..)| usize::from(text.contains("##")) == of) {
            ours += bits.nominal + bits.data;
            exact += format.nominal + format.data + stuff.nominal + stuff.data;
        }
        let error = f64::from(ours) / f64::from(exact) - 1.0;
        assert!(error.abs() < 0.01, "{kind}: {ours} bits for {exact}, {:+.2} %", error * 100.0);
        println!("{kind}: {:+.2} %", error * 100.0);
    }
}
