//! The plant that all servers serve: names, ranges and units of its signals, and how their values change.

use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Namespace of the peers' nodes, and the index of the plant's namespace in all servers.
pub const NAMESPACE_URI: &str = "urn:bench:plant";
pub const NAMESPACE: u16 = 2;
pub const UNIT: &str = "bar";
/// UNECE code of the unit, as OPC 10000-8, 5.6.3 packs it.
pub const UNIT_ID: i32 = 0x42_41_52;
/// Changing signals of a frame (CAN FD, 32 bits each), and others (8 bits each).
const FAST: usize = 16;
const SLOW: usize = 8;
/// Buses of the signals that do not change, after the bus `a` of those that do.
const SLOW_BUSES: [char; 4] = ['b', 'c', 'd', 'e'];

/// What is served: `signals` of them, of which the first `busy` change.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    pub signals: usize,
    pub busy: usize,
}

/// One signal: the name of its bus (a folder), of its message, and its own.
pub struct Name {
    pub bus: char,
    pub message: String,
    pub signal: String,
}

impl Name {
    /// The NodeId's text: what Canvoy calls it.
    pub fn id(&self) -> String {
        format!("{}.{}.{}", self.bus, self.message, self.signal)
    }
}

impl Plant {
    /// Of signal `index`.
    pub fn name(self, index: usize) -> Name {
        let (bus, at, size) = match index.checked_sub(self.busy) {
            None => ('a', index, FAST),
            Some(index) => {
                let share = self.share();
                (SLOW_BUSES[(index / share).min(SLOW_BUSES.len() - 1)], index % share, SLOW)
            }
        };
        Name { bus, message: format!("Message{:04}", at / size), signal: format!("Value{:02}", at % size) }
    }

    /// Low and high end of the range.
    pub fn range(self, index: usize) -> (f64, f64) {
        if index < self.busy { (0.0, 4_000_000.0) } else { (0.0, 127.5) }
    }

    fn share(self) -> usize {
        ((self.signals - self.busy) / SLOW_BUSES.len()).max(1)
    }

    /// Whether the signals fill whole messages, and the slow ones whole buses.
    pub fn is_even(self) -> bool {
        self.busy.is_multiple_of(FAST)
            && self.signals > self.busy
            && (self.signals - self.busy).is_multiple_of(SLOW * SLOW_BUSES.len())
    }

    /// The DBC file of each bus, by its letter. The messages of bus `a` come every `cycle_ms`, the others once a minute.
    pub fn dbc(self, cycle_ms: u32) -> Vec<(char, String)> {
        let mut files = vec![('a', file(self.busy, FAST, cycle_ms))];
        files.extend(SLOW_BUSES.map(|bus| (bus, file(self.share(), SLOW, 60_000))));
        files
    }
}

fn file(signals: usize, size: usize, cycle_ms: u32) -> String {
    let mut text = String::from("VERSION \"\"\nNS_ :\nBS_:\nBU_: Us Peer\n");
    let wide = size == FAST;
    for message in 0..signals / size {
        let length = if wide { 64 } else { 8 };
        let _ = writeln!(text, "BO_ {} Message{message:04}: {length} Peer", message + 256);
        for signal in 0..size {
            let (bits, range) = if wide { (32, "(0.001,0) [0|4000000]") } else { (8, "(0.5,0) [0|127.5]") };
            let _ = writeln!(text, " SG_ Value{signal:02} : {}|{bits}@1+ {range} \"{UNIT}\" Us", signal * bits);
        }
    }
    text.push_str("BA_DEF_ BO_ \"GenMsgCycleTime\" INT 0 65535;\n");
    let _ = writeln!(text, "BA_DEF_DEF_ \"GenMsgCycleTime\" {cycle_ms};");
    text
}

/// Nanoseconds since 1970, by the clock that stamps frames.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Changes the busy signals in turn, for ever: `rate` a second, a batch each millisecond, with one time for the batch. What comes
/// too late is made up for, never left out. `write` is given index and value of each, and the time.
pub fn change(plant: Plant, rate: usize, mut write: impl FnMut(&[(usize, f64)], u64)) {
    let batch = (rate / 1000).max(1);
    let period = Duration::from_secs_f64(batch as f64 / rate.max(1) as f64);
    let (mut next, mut count) = (Instant::now(), 0);
    let mut values = Vec::with_capacity(batch);
    loop {
        values.clear();
        for _ in 0..batch {
            let (round, index) = (count / plant.busy, count % plant.busy);
            values.push((index, ((round * 7 + index) % 1_000_000) as f64 + 0.25));
            count += 1;
        }
        write(&values, now_ns());
        next += period;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// `--name value` on the command line.
pub fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument.strip_prefix("--") == Some(name))?;
    arguments.next()
}

/// The number after `--name`, or `default`.
pub fn number(name: &str, default: f64) -> f64 {
    argument(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the arguments say of the plant.
pub fn plant() -> Plant {
    Plant { signals: number("signals", 50_000.0) as usize, busy: number("busy", 10_000.0) as usize }
}
