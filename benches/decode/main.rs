//! Decoding measured against C that cantools generates for the same DBC file, and against cantools in Python.
//!
//! `cargo bench --bench decode` measures DBC files of several kinds that it generates (`-- car` those with "car" in their
//! name), `cargo bench --bench decode -- FILE.dbc …` yours. All decode the same 65,536 frames in memory, in one thread, in
//! the same run, and all must give the same values. The C is compiled by gcc -O3 -march=native as one unit with its
//! dispatch; this program is built as it is shipped. Rounds of C and of ours alternate, times are CPU time, and what is
//! printed is the median of the rounds' ratios with their quartiles.

use std::hint::black_box;

use canvoy::can::FrameId;
use canvoy::dbc::decoder::Row;
use canvoy::dbc::{Database, Decoder, Message};
use nix::time::{ClockId, clock_gettime};

mod agreement;
mod peers;
mod traffic;

use peers::{Members, Python};
use traffic::Order;

const FRAMES: usize = 65_536;
const ROUNDS: usize = 15;
/// CPU seconds that a round should take.
const ROUND: f64 = 0.02;
/// Frames of a round of Python, which takes longer.
const PYTHON_FRAMES: usize = 4096;

/// A frame as SocketCAN lays it out, with room for 8 or 64 bytes.
pub struct Record<const WIDTH: usize> {
    pub id: FrameId,
    len: u8,
    data: [u8; WIDTH],
}

impl<const WIDTH: usize> Record<WIDTH> {
    fn new(id: FrameId, payload: &[u8]) -> Record<WIDTH> {
        let mut data = [0; WIDTH];
        data[..payload.len()].copy_from_slice(payload);
        Record { id, len: payload.len() as u8, data }
    }

    pub fn payload(&self) -> &[u8] {
        &self.data[..usize::from(self.len).min(WIDTH)]
    }

    /// As the peers read it.
    fn bytes(&self) -> Vec<u8> {
        [&self.id.bits().to_ne_bytes()[..], &[self.len, 0, 0, 0], &self.data].concat()
    }
}

fn cpu_seconds() -> f64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID) else { return f64::NAN };
    time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9
}

/// Something that decodes all frames as many times as it is told, and says how many CPU seconds one frame took.
struct Contender<'a> {
    name: &'static str,
    seconds: Box<dyn FnMut(usize) -> f64 + 'a>,
    passes: usize,
    /// Seconds of a frame, by round.
    times: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(name: &'static str, mut seconds: impl FnMut(usize) -> f64 + 'a) -> Contender<'a> {
        seconds(1);
        let passes = ((ROUND / (seconds(2) * FRAMES as f64)) as usize).clamp(1, 1000);
        Contender { name, seconds: Box::new(seconds), passes, times: Vec::new() }
    }

    /// One of ours.
    fn ours(name: &'static str, mut pass: impl FnMut() + 'a) -> Contender<'a> {
        Contender::new(name, move |passes| {
            let start = cpu_seconds();
            (0..passes).for_each(|_| pass());
            (cpu_seconds() - start) / (passes * FRAMES) as f64
        })
    }

    fn round(&mut self) {
        self.times.push((self.seconds)(self.passes));
    }

    fn speed(&self) -> String {
        format!("{:<34}{:>9.3} M frames/s", self.name, 1e-6 / quartiles(self.times.clone())[1])
    }

    /// How many times as fast as another, of which `nth` of every `of` rounds were beside ours.
    fn ratio(&self, other: &Contender, nth: usize, of: usize) -> [f64; 3] {
        let beside = other.times.iter().skip(nth).step_by(of);
        quartiles(beside.zip(&self.times).map(|(other, ours)| other / ours).collect())
    }
}

/// First quartile, median, third quartile.
fn quartiles(mut of: Vec<f64>) -> [f64; 3] {
    of.sort_by(f64::total_cmp);
    [of.len() / 4, of.len() / 2, of.len() * 3 / 4].map(|at| of[at])
}

/// One frame after the other, as they come.
fn by_frame<'a, const WIDTH: usize>(decoder: &'a Decoder, frames: &'a [Record<WIDTH>]) -> impl FnMut() + 'a {
    let mut row: Row<f64> = decoder.row();
    move || {
        for frame in frames {
            black_box(decoder.decode(frame.id, frame.payload(), &mut row).map(|decoded| decoded.message));
            black_box(&mut row);
        }
    }
}

fn raw_by_frame<'a, const WIDTH: usize>(decoder: &'a Decoder, frames: &'a [Record<WIDTH>]) -> impl FnMut() + 'a {
    let mut row: Row<u64> = decoder.row();
    move || {
        for frame in frames {
            black_box(decoder.raw(frame.id, frame.payload(), &mut row).map(|decoded| decoded.message));
            black_box(&mut row);
        }
    }
}

/// All together, as tables.
fn by_table<'a, const WIDTH: usize>(decoder: &'a Decoder, frames: &'a [Record<WIDTH>]) -> impl FnMut() + 'a {
    let mut batch = decoder.batch_buffer();
    move || {
        decoder.batch(
            frames,
            |frame| (frame.id, frame.payload()),
            &mut batch,
            |table| {
                black_box(table.column(0).as_ptr());
            },
        );
        black_box(&mut batch);
    }
}

/// What all orders of one DBC file have in common.
struct Subject<'a> {
    name: &'a str,
    dbc: &'a [u8],
    database: &'a Database,
    folder: &'a str,
    python: Result<&'a Python, &'a str>,
}

fn measure<const WIDTH: usize>(subject: &Subject) -> std::io::Result<()> {
    let Subject { name, database, folder, python, .. } = subject;
    let path = format!("{folder}/file.dbc");
    std::fs::write(&path, subject.dbc)?;
    let members = python.map_err(String::from).and_then(|python| python.generate_c(&path, WIDTH, folder));
    let is_known = |message: &&Message| match &members {
        Ok(members) => members.contains_key(&message.id.bits()),
        Err(_) => true,
    };
    let fits = |message: &&Message| !message.signals.is_empty() && usize::from(message.length) <= WIDTH;
    let messages: Vec<&Message> = database.messages.iter().filter(fits).filter(is_known).collect();
    let signals: usize = messages.iter().map(|message| message.signals.len()).sum();
    println!("\n{name}: {} messages, {signals} signals", messages.len());
    if messages.is_empty() {
        println!("  nothing to measure");
        return Ok(());
    }
    for (number, order) in [Order::Random, Order::Cyclic].into_iter().enumerate() {
        let frames: Vec<Record<WIDTH>> =
            traffic::frames(&messages, FRAMES, order).iter().map(|(id, payload)| Record::new(*id, payload)).collect();
        let path = format!("{folder}/frames{number}");
        std::fs::write(&path, frames.iter().flat_map(Record::bytes).collect::<Vec<u8>>())?;
        compare(subject, order, &frames, &path, members.as_ref().map_err(String::as_str));
    }
    Ok(())
}

/// One order of frames.
fn compare<const WIDTH: usize>(
    subject: &Subject,
    order: Order,
    frames: &[Record<WIDTH>],
    frames_path: &str,
    members: Result<&Members, &str>,
) {
    let Subject { database, folder, python, .. } = subject;
    let (decoder, portable) = (Decoder::new(&database.messages), Decoder::portable(&database.messages));
    let mut row: Row<f64> = decoder.row();
    let count =
        |frame: &Record<WIDTH>| decoder.decode(frame.id, frame.payload(), &mut row).map_or(0, |d| d.values.len());
    let values: usize = frames.iter().map(count).sum();
    let mut c = members.map_err(String::from).and_then(|_| peers::start_c(folder, frames_path));
    let dbc = format!("{folder}/file.dbc");
    let mut by_python = python.map_err(String::from).and_then(|p| p.start(&dbc, WIDTH, frames_path, folder));

    println!("  {}: {:.1} signals in a frame", order.words(), values as f64 / FRAMES as f64);
    let c_values = c.as_mut().ok().and_then(peers::Peer::values);
    let python_values = by_python.as_mut().ok().and_then(peers::Peer::values);
    let none = Members::new();
    let members = members.unwrap_or(&none);
    let agreement =
        agreement::check(&database.messages, members, frames, c_values.as_deref(), python_values.as_deref());
    println!("    values: {agreement}");
    for missing in [c.as_ref().err(), by_python.as_ref().err()].into_iter().flatten() {
        println!("    PEER MISSING: {missing}");
    }

    // like for like in a multiplexed message is C that converts the members of the selected branch only
    let is_multiplexed = database.messages.iter().any(|message| message.groups.len() > 1);
    let what = if is_multiplexed { "branch" } else { "all" };
    let c = c.ok().map(|mut c| {
        Contender::new("generated C", move |passes| c.seconds(&format!("{what} {passes}")) / (passes * FRAMES) as f64)
    });
    let by_python = by_python.ok().map(|mut python| {
        Contender::new("cantools in Python", move |_| python.seconds(&format!("frames {PYTHON_FRAMES}")))
    });
    let mut peers: Vec<(Contender, &str)> =
        c.map(|c| (c, "C")).into_iter().chain(by_python.map(|python| (python, "Python"))).collect();
    let mut ours = [
        Contender::ours("tables", by_table(&decoder, frames)),
        Contender::ours("frame by frame", by_frame(&decoder, frames)),
        Contender::ours("tables, portable instructions", by_table(&portable, frames)),
        Contender::ours("frame by frame, portable instr.", by_frame(&portable, frames)),
        Contender::ours("raw values, frame by frame", raw_by_frame(&decoder, frames)),
    ];
    for _ in 0..ROUNDS {
        // the peers beside each of ours, so that all meet the same disturbances
        for contender in &mut ours {
            peers.iter_mut().for_each(|(peer, _)| peer.round());
            contender.round();
        }
    }
    peers.iter().for_each(|(peer, _)| println!("    {}", peer.speed()));
    for (number, contender) in ours.iter().enumerate() {
        print!("    {}", contender.speed());
        for (peer, short) in &peers {
            let [low, middle, high] = contender.ratio(peer, number, ours.len());
            match *short {
                "C" => print!("   {middle:>5.2} x C ({low:.2} to {high:.2})"),
                short => print!("   {middle:>5.0} x {short} ({low:.0} to {high:.0})"),
            }
        }
        println!();
    }
}

fn measure_file(name: &str, dbc: &[u8], python: Result<&Python, &str>) {
    let (database, _) = canvoy::dbc::parse(name, dbc);
    let Some(database) = &database else { return println!("\n{name}: not usable, see `canvoy check`") };
    let folder_name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = &format!("{}/decode/{folder_name}", env!("CARGO_TARGET_TMPDIR"));
    let subject = Subject { name, dbc, database, folder, python };
    let longest = database.messages.iter().map(|message| message.length).filter(|length| *length <= 64).max();
    let measured = std::fs::create_dir_all(folder).and_then(|()| match longest.unwrap_or(0) {
        0..=8 => measure::<8>(&subject),
        _ => measure::<64>(&subject),
    });
    if let Err(error) = measured {
        println!("\n{name}: {folder}: {error}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let (files, kinds): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument.ends_with(".dbc"));
    let python = Python::find();
    let python = python.as_ref().map_err(String::as_str);
    for shape in traffic::SHAPES {
        let is_asked = if kinds.is_empty() { files.is_empty() } else { kinds.iter().any(|k| shape.name.contains(k)) };
        if is_asked {
            measure_file(shape.name, shape.dbc().as_bytes(), python);
        }
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => measure_file(&file, &bytes, python),
            Err(error) => println!("\n{file}: {error}"),
        }
    }
}
