//! DBC files of several kinds and frames for them, the same on every run.

use canvoy::can::FrameId;
use canvoy::dbc::codec::{ByteOrder, Kind};
use canvoy::dbc::{Condition, Message, Raw};
use std::fmt::Write as _;

/// A reproducible stream of numbers (xorshift).
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.bits() >> 32) as usize) % end.max(1)
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What a generated DBC file is like.
pub struct Shape {
    pub name: &'static str,
    pub messages: usize,
    /// Drawn from, in bytes.
    lengths: &'static [usize],
    /// Signals of a message (of a branch), drawn from; fewer where the payload is full.
    signals: &'static [usize],
    /// Bits of a signal, drawn from.
    sizes: &'static [usize],
    extended: bool,
    /// Share of messages in Motorola order, and of messages with both orders.
    motorola: usize,
    both: usize,
    /// Share of multiplexed messages, and how many branches they have.
    multiplexed: usize,
    branches: &'static [usize],
    /// Share of signals that are IEEE floats.
    floats: usize,
    /// Share of signals of 8 bits and more that begin at a byte.
    aligned: usize,
}

/// As in passenger cars: mostly flags and small numbers, a few counters.
const CAR_SIZES: &[usize] = &[
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 6, 7, 8, 8, 8, 8, 8, 9, 10,
    11, 12, 12, 13, 14, 16, 16, 24, 32,
];

pub const SHAPES: &[Shape] = &[
    Shape {
        name: "car, 11-bit ids, both byte orders",
        messages: 113,
        lengths: &[8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 6, 5, 4, 3],
        signals: &[6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 48],
        sizes: CAR_SIZES,
        extended: false,
        motorola: 35,
        both: 10,
        multiplexed: 4,
        branches: &[3, 4, 8],
        floats: 0,
        aligned: 60,
    },
    Shape {
        name: "Motorola, up to 64 bytes",
        messages: 330,
        lengths: &[8, 8, 8, 8, 8, 8, 12, 16, 24, 32, 48, 64],
        signals: &[2, 3, 4, 5, 6, 7, 8, 10, 12],
        sizes: CAR_SIZES,
        extended: false,
        motorola: 100,
        both: 0,
        multiplexed: 0,
        branches: &[],
        floats: 0,
        aligned: 60,
    },
    Shape {
        name: "CAN FD, 64 bytes, both byte orders",
        messages: 60,
        lengths: &[64],
        signals: &[20, 30, 40, 50, 60, 80],
        sizes: CAR_SIZES,
        extended: false,
        motorola: 40,
        both: 20,
        multiplexed: 0,
        branches: &[],
        floats: 0,
        aligned: 60,
    },
    Shape {
        name: "multiplexed",
        messages: 148,
        lengths: &[8],
        signals: &[3, 4, 5, 6, 8, 10, 12],
        sizes: CAR_SIZES,
        extended: false,
        motorola: 20,
        both: 0,
        multiplexed: 60,
        branches: &[2, 3, 4, 6, 8, 12],
        floats: 0,
        aligned: 60,
    },
    Shape {
        name: "29-bit ids",
        messages: 217,
        lengths: &[8, 8, 8, 8, 6, 4],
        signals: &[1, 1, 2, 2, 2, 3, 4, 8],
        sizes: &[1, 2, 2, 2, 4, 8, 8, 8, 16, 16, 16, 16, 32, 32],
        extended: true,
        motorola: 10,
        both: 0,
        multiplexed: 0,
        branches: &[],
        floats: 0,
        aligned: 90,
    },
    Shape {
        name: "few small messages",
        messages: 14,
        lengths: &[8, 6, 4, 2],
        signals: &[2, 3, 4, 5, 6],
        sizes: &[1, 2, 4, 8, 8, 16, 16],
        extended: false,
        motorola: 50,
        both: 0,
        multiplexed: 0,
        branches: &[],
        floats: 0,
        aligned: 80,
    },
    Shape {
        name: "IEEE floats, 8 and 64 bytes",
        messages: 80,
        lengths: &[8, 8, 8, 64],
        signals: &[1, 2, 2, 3, 16],
        sizes: &[8, 16, 32],
        extended: false,
        motorola: 40,
        both: 0,
        multiplexed: 0,
        branches: &[],
        floats: 70,
        aligned: 100,
    },
    Shape {
        name: "wide signals, up to nine bytes",
        messages: 60,
        lengths: &[8, 16, 32, 64],
        signals: &[2, 4, 6, 8],
        sizes: &[7, 33, 40, 48, 50, 55, 60, 62, 63, 64],
        extended: false,
        motorola: 50,
        both: 0,
        multiplexed: 0,
        branches: &[],
        floats: 5,
        aligned: 30,
    },
];

/// The bits of a payload that signals have taken.
#[derive(Clone)]
struct Taken(Vec<bool>);

impl Taken {
    /// The bit, counted from the beginning of the payload in the byte order's direction, as DBC files number it.
    fn number(at: usize, order: ByteOrder) -> usize {
        match order {
            ByteOrder::LittleEndian => at,
            ByteOrder::BigEndian => at / 8 * 8 + 7 - at % 8,
        }
    }

    /// Takes the first run of free bits from `from` on.
    fn take(&mut self, size: usize, order: ByteOrder, step: usize, from: usize) -> Option<usize> {
        let last = self.0.len().checked_sub(size)?;
        let from = from.next_multiple_of(step);
        let is_free = |at: &usize| (*at..*at + size).all(|bit| !self.0[Self::number(bit, order)]);
        let at = (from..=last).step_by(step).chain((0..from.min(last + 1)).step_by(step)).find(is_free)?;
        (at..at + size).for_each(|bit| self.0[Self::number(bit, order)] = true);
        Some(at)
    }
}

const FACTORS: &[&str] =
    &["1", "1", "1", "0.5", "0.1", "0.01", "0.25", "0.0625", "0.03125", "2", "10", "0.001", "0.005625"];
const OFFSETS: &[&str] = &["0", "0", "0", "0", "-40", "-100", "-327.68", "10", "0.5", "-1000"];

impl Shape {
    /// The DBC file.
    pub fn dbc(&self) -> String {
        let mut noise = Noise::new(self.name.len() as u64 * 1009 + self.messages as u64);
        let mut text = "VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: Us\n\n".to_string();
        // value tables and float marks follow all messages
        let mut behind = String::new();
        let mut ids = std::collections::BTreeSet::new();
        while ids.len() < self.messages {
            ids.insert(match self.extended {
                false => noise.below(0x7F0) as u32 + 1,
                // as manufacturers number: families of neighbours
                true => {
                    0x8000_0000
                        | (0x0400_0000 * noise.below(7) as u32)
                        | (0x1_0000 * noise.below(4) as u32)
                        | (noise.below(200) as u32 * 16)
                }
            });
        }
        for (index, id) in ids.into_iter().enumerate() {
            let length = noise.one(self.lengths);
            let _ = writeln!(text, "BO_ {id} Message{index}: {length} Us");
            let both = noise.percent(self.both);
            let motorola = noise.percent(self.motorola);
            let mut common = Taken(vec![false; length * 8]);
            let mut number = 0;
            let mut signals = |taken: &mut Taken, noise: &mut Noise, text: &mut String, mark: &str, least: usize| {
                let count = noise.one(self.signals);
                let mut from = least;
                for _ in 0..count {
                    let is_motorola = if both { noise.percent(50) } else { motorola };
                    let order = if is_motorola { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
                    let is_float = noise.percent(self.floats);
                    let size = if is_float { noise.one(&[32, 32, 32, 64]) } else { noise.one(self.sizes) };
                    let step = if is_float || (size >= 8 && noise.percent(self.aligned)) { 8 } else { 1 };
                    let Some(at) = taken.take(size, order, step, from) else { continue };
                    from = at + size + if noise.percent(30) { noise.below(3) } else { 0 };
                    let sign = if !is_float && noise.percent(if size > 4 { 30 } else { 3 }) { '-' } else { '+' };
                    let (factor, offset) =
                        if is_float || size < 4 { ("1", "0") } else { (noise.one(FACTORS), noise.one(OFFSETS)) };
                    let (start, order) = (Taken::number(at, order), if is_motorola { 0 } else { 1 });
                    let _ = writeln!(
                        text,
                        " SG_ Signal{number}{mark} : {start}|{size}@{order}{sign} ({factor},{offset}) [0|0] \"\" Us"
                    );
                    if is_float {
                        let _ = writeln!(behind, "SIG_VALTYPE_ {id} Signal{number} : {};", size / 32);
                    }
                    if size <= 4 && noise.percent(40) {
                        let words: String = (0..1 << size).map(|value| format!(" {value} \"state {value}\"")).collect();
                        let _ = writeln!(behind, "VAL_ {id} Signal{number}{words} ;");
                    }
                    number += 1;
                }
            };
            if noise.percent(self.multiplexed) {
                let branches = noise.one(self.branches);
                let order = if motorola { ByteOrder::BigEndian } else { ByteOrder::LittleEndian };
                let size = noise.one(&[3, 4, 4, 8]).max(branches.next_power_of_two().ilog2() as usize);
                let start = common.take(size, order, 1, 0).map_or(0, |at| Taken::number(at, order));
                let order = if motorola { 0 } else { 1 };
                let _ = writeln!(text, " SG_ Selector M : {start}|{size}@{order}+ (1,0) [0|0] \"\" Us");
                for branch in 0..branches {
                    signals(&mut common.clone(), &mut noise, &mut text, &format!(" m{branch}"), size);
                }
            } else {
                signals(&mut common, &mut noise, &mut text, "", 0);
            }
            text.push('\n');
        }
        text + &behind
    }
}

/// In which order frames come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Every message as often as any other, in no order: nothing can be guessed.
    Random,
    /// Each message in its cycle of 10 to 1000 ms, up to half a millisecond late: as on a bus.
    Cyclic,
}

impl Order {
    pub fn words(self) -> &'static str {
        match self {
            Order::Random => "frames in random order",
            Order::Cyclic => "frames in the order of their cycles",
        }
    }
}

/// Frames of full length, every branch of a multiplexed message, floats that are numbers.
pub fn frames(messages: &[&Message], count: usize, order: Order) -> Vec<(FrameId, Vec<u8>)> {
    let mut noise = Noise::new(count as u64);
    let senders: Vec<usize> = match order {
        Order::Random => (0..count).map(|_| noise.below(messages.len())).collect(),
        Order::Cyclic => {
            let cycle: Vec<usize> =
                messages.iter().map(|_| noise.one(&[10, 20, 20, 50, 100, 100, 200, 500, 1000])).collect();
            let phase: Vec<usize> = cycle.iter().map(|cycle| noise.below(*cycle * 1000)).collect();
            let each_second: usize = cycle.iter().map(|cycle| 1000 / cycle).sum();
            let mut sent: Vec<(usize, usize)> = Vec::new();
            for (message, (cycle, phase)) in cycle.iter().zip(phase).enumerate() {
                let times = count * 1000 / each_second / cycle + 1;
                sent.extend((0..=times).map(|time| (phase + time * cycle * 1000 + noise.below(500), message)));
            }
            sent.sort_unstable();
            sent.into_iter().map(|(_, message)| message).take(count).collect()
        }
    };
    senders.into_iter().map(|sender| frame(messages[sender], &mut noise)).collect()
}

fn frame(message: &Message, noise: &mut Noise) -> (FrameId, Vec<u8>) {
    let mut payload: Vec<u8> = (0..message.length).map(|_| noise.bits() as u8).collect();
    for signal in &message.signals {
        let number = noise.below(2_000_000) as f64 / 1000.0 - 1000.0;
        let raw = match signal.codec.kind {
            Kind::F32 => Raw::F32((number as f32).to_bits()),
            Kind::F64 => Raw::F64(number.to_bits()),
            Kind::Unsigned | Kind::Signed => continue,
        };
        let _ = signal.codec.insert(raw, &mut payload);
    }
    // each selector has a value with a branch, outer ones first
    let mut chosen: Vec<&Condition> = Vec::new();
    for depth in 1..=message.groups.iter().map(|group| group.conditions.len()).max().unwrap_or(0) {
        let deep: Vec<&Condition> = message
            .groups
            .iter()
            .filter(|group| group.conditions.len() == depth)
            .filter_map(|g| g.conditions.last())
            .collect();
        for condition in &deep {
            if chosen.iter().all(|other| other.selector != condition.selector) {
                let of_selector: Vec<&Condition> =
                    deep.iter().copied().filter(|other| other.selector == condition.selector).collect();
                chosen.push(noise.one(&of_selector));
            }
        }
    }
    for condition in chosen {
        let codec = &message.signals[condition.selector].codec;
        let (low, high) = condition.ranges[noise.below(condition.ranges.len())];
        let value = low + i128::from(noise.bits() >> 32) % (high - low + 1);
        let _ = Raw::from_i128(codec.kind, value).map(|raw| codec.insert(raw, &mut payload));
    }
    (message.id, payload)
}
