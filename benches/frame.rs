//! What a frame costs: decoding, the step of the control core, the store's records. Each beside a plain peer, same run.
//!
//! `cargo bench`. Best of several rounds; read the ratios, not the absolute figures.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use canvoy::can::{Frame, FrameId};
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::control::{Control, Event, Now, Transmit};
use canvoy::dbc::codec::{ByteOrder, Codec};
use canvoy::plan::{Direction, Plan};
use canvoy::store::layout::{BusState, BusWord};
use canvoy::store::{Layout, Memory, Reader, Record, Writer};

const ROUNDS: usize = 7;

/// Nanoseconds for one turn of `body`, which does `turns` of them: the best of several rounds.
fn best(turns: usize, mut body: impl FnMut()) -> f64 {
    body();
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed().as_nanos() as f64 / turns as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn row(what: &str, ours: f64, peer: &str, theirs: f64) {
    println!("{what:<44} {ours:>9.1} ns   {peer:<34} {theirs:>9.1} ns   {:>6.2}x", theirs / ours);
}

/// The peer of decoding: one bit at a time, as a straightforward reader of the standard would write it.
fn bit_by_bit(codec: &Codec, payload: &[u8]) -> f64 {
    let (mut raw, mut position) = (0u64, usize::from(codec.start));
    for bit in 0..codec.size {
        let value = u64::from(payload[position / 8] >> (position % 8) & 1);
        match codec.order {
            ByteOrder::LittleEndian => {
                raw |= value << bit;
                position += 1;
            }
            ByteOrder::BigEndian => {
                raw = raw << 1 | value;
                position = if position % 8 == 0 { position + 15 } else { position - 1 };
            }
        }
    }
    raw as f64 * codec.factor + codec.offset
}

fn decode(plan: &Plan) {
    let payload: [u8; 64] = std::array::from_fn(|i| (i * 37) as u8);
    let codecs: Vec<Vec<Codec>> =
        plan.messages.iter().map(|m| m.message.signals.iter().map(|s| s.codec).collect()).collect();
    let signals: usize = codecs.iter().map(Vec::len).sum();
    let all = |read: &dyn Fn(&Codec, &[u8]) -> f64| {
        best(100 * signals, || {
            for _ in 0..100 {
                for codec in codecs.iter().flatten() {
                    black_box(read(codec, black_box(&payload)));
                }
            }
        })
    };
    let ours = all(&|codec, payload| codec.raw(payload).map_or(0.0, |raw| codec.engineering(raw)));
    let theirs = all(&bit_by_bit);
    row(&format!("decode a signal ({signals} of the demo plant)"), ours, "bit by bit", theirs);
}

fn records() {
    let layout = Layout { buses: 1, records: 1, ..Layout::default() };
    let memory = Arc::new(Memory::heap(layout.words()));
    let mut writer = Writer::new(memory.clone(), layout, 0);
    let Ok(reader) = Reader::open(memory, layout, 0) else { return };
    let record = Record { length: 8, count: 1, ..Record::EMPTY };
    let mutex = Mutex::new(record);
    let turns = 1_000_000;
    let write = best(turns, || (0..turns).for_each(|_| writer.record(0, black_box(&record))));
    let lock = best(turns, || {
        (0..turns).for_each(|_| {
            if let Ok(mut inside) = mutex.lock() {
                *inside = *black_box(&record);
            }
        });
    });
    row("write a record", write, "uncontended Mutex", lock);
    let read = best(turns, || (0..turns).for_each(|_| _ = black_box(reader.record(0))));
    let lock = best(turns, || (0..turns).for_each(|_| _ = black_box(mutex.lock().map(|inside| *inside))));
    row("read a record", read, "uncontended Mutex", lock);
}

/// What counting one frame costs with the bits that it takes on the wire, beside counting its bytes alone.
fn counts() {
    let layout = Layout { buses: 1, records: 1, ..Layout::default() };
    let mut writer = Writer::new(Arc::new(Memory::heap(layout.words())), layout, 0);
    let payload: [u8; 64] = std::array::from_fn(|i| (i * 37) as u8);
    let turns = 1_000_000;
    let Some(id) = FrameId::standard(0x100) else { return };
    let frames = [("8 bytes", Frame::classic(id, &payload[..8])), ("64 bytes of CAN FD", Frame::fd(id, &payload))];
    for (what, frame) in frames.into_iter().filter_map(|(what, frame)| Some((what, frame?))) {
        let ours = best(turns, || (0..turns).for_each(|_| writer.count_received(0, black_box(&frame))));
        let plain = best(turns, || {
            (0..turns).for_each(|_| {
                writer.add_bus(0, BusWord::ReceivedFrames, 1);
                writer.add_bus(0, BusWord::ReceivedBytes, black_box(&frame).payload().len() as u64);
            });
        });
        row(&format!("count a frame of {what}"), ours, "frames and bytes alone", plain);
    }
}

/// A DBC file with one message of `signals` signals.
fn with_signals(signals: usize) -> String {
    let mut dbc = "VERSION \"\"\nBU_: Us Other\nBO_ 256 Message: 8 Other\n".to_string();
    for i in 0..signals {
        dbc += &format!(" SG_ S{i} : {}|1@1+ (1,0) [0|1] \"\" Us\n", i);
    }
    dbc
}

/// One received frame through the control core into the store.
fn step(signals: usize) -> f64 {
    step_with(signals, "", [1, 1])
}

/// The same with more of a configuration; the first byte is one of two in turn.
fn step_with(signals: usize, more: &str, first: [u8; 2]) -> f64 {
    let toml = &format!("[bus.b]\ninterface = \"can0\"\ndbc = [\"b.dbc\"]\n{more}");
    let dbc = with_signals(signals);
    let sources = Sources::embedded("b.toml", toml, &[("b.dbc", dbc.as_bytes())]);
    let Ok(loaded) = load(&sources, LoadOptions { simulate: false }) else { return f64::NAN };
    let plan = loaded.plan;
    let layout = Layout::of(&plan);
    let mut store = Writer::new(Arc::new(Memory::heap(layout.words())), layout, 0);
    let mut now = Now { monotonic: 1, realtime: 1 };
    let mut control = Control::new(&plan, now);
    let mut transmit = Transmit::new(&plan);
    control.step(now, Event::Bus { bus: 0, state: BusState::Active }, &mut store, &mut transmit);
    let frame = |first| Frame::classic(plan.messages[0].message.id, &[first, 1, 1, 1, 1, 1, 1, 1]);
    let [Some(one), Some(other)] = first.map(frame) else { return f64::NAN };
    let frames = [one, other];
    let turns = 1_000_000;
    best(turns, || {
        for turn in 0..turns {
            now.monotonic += 1;
            let event = Event::Received { bus: 0, frame: black_box(&frames[turn % 2]), source_time: now.realtime };
            control.step(now, event, &mut store, &mut transmit);
        }
    })
}

fn main() {
    let sources = Sources::embedded("line.toml", canvoy::sim::demo::CONFIG, canvoy::sim::demo::DBC);
    let plan = match load(&sources, LoadOptions { simulate: false }) {
        Ok(loaded) => loaded.plan,
        Err(diagnostics) => {
            diagnostics.iter().for_each(|d| eprintln!("{d}"));
            std::process::exit(78);
        }
    };
    let sent = plan.messages.iter().filter(|m| matches!(m.direction, Direction::Output(_))).count();
    println!("{} messages ({sent} sent), {} signals\n", plan.messages.len(), plan.tags.len());
    println!("{:<44} {:>12}   {:<34} {:>12}   {:>7}", "", "Canvoy", "peer", "", "ratio");
    decode(&plan);
    records();
    counts();
    let (one, many) = (step(1), step(64));
    row("a frame into the store, message of 64 signals", many, "the same, message of 1 signal", one);
    alarms(one);
}

/// What alarms of the configuration add to a frame of a message of 8 signals.
fn alarms(plain: f64) {
    let limit = |name: &str| format!("[alarm.{name}]\ntag = \"b.Message.S0\"\nhi = 1\n");
    let (still, moving) = (step_with(8, &limit("a"), [1, 1]), step_with(8, &limit("a"), [0, 1]));
    let ten: String = (0..10).map(|n| limit(&format!("a{n}"))).collect();
    row("the same, with a limit that it stays beyond", still, "without", plain);
    row("the same, a transition with each frame", moving, "without", plain);
    row("the same, ten transitions with each frame", step_with(8, &ten, [0, 1]), "without", plain);
    let second = (moving - plain) * 1000.0;
    println!("a thousand transitions a second: {:.1} µs of each second", second / 1000.0);
}
