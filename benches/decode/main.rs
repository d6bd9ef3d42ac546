//! Decoding measured against C that cantools generates for the same DBC file and against cantools in Python.
//!
//! `cargo bench --bench decode` measures DBC files of several kinds that it generates (`-- car` those with "car" in their
//! name), `cargo bench --bench decode -- FILE.dbc …` yours. All decode the same 65,536 frames in memory, in one thread, in the same run, and all
//! must give the same values. The C is compiled by gcc -O3 -march=native as one unit with its dispatch; this program is
//! built as it is shipped. Rounds of C and of ours alternate; times are CPU time; what is printed is the median of the
//! rounds' ratios with the lowest and the highest.

use std::collections::HashMap;
use std::hint::black_box;

use canvoy::can::FrameId;
use canvoy::dbc::decoder::Decoded;
use canvoy::dbc::{Codec, Database, Decoder, Message};
use nix::time::{ClockId, clock_gettime};

mod peers;
mod traffic;

use peers::{GeneratedC, Members, Python};

const FRAMES: usize = 65_536;
/// Frames of a batch.
const ROUNDS: usize = 15;
/// CPU seconds that a round should take.
const ROUND: f64 = 0.02;

/// A frame as SocketCAN lays it out, with room for 8 or 64 bytes.
struct Record<const WIDTH: usize> {
    id: FrameId,
    len: u8,
    data: [u8; WIDTH],
}

impl<const WIDTH: usize> Record<WIDTH> {
    fn new(id: FrameId, payload: &[u8]) -> Record<WIDTH> {
        let mut data = [0; WIDTH];
        data[..payload.len()].copy_from_slice(payload);
        Record { id, len: payload.len() as u8, data }
    }

    fn payload(&self) -> &[u8] {
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

fn timed(passes: usize, mut pass: impl FnMut()) -> f64 {
    let start = cpu_seconds();
    (0..passes).for_each(|_| pass());
    cpu_seconds() - start
}

/// Passes that fill a round.
fn passes(mut seconds: impl FnMut(usize) -> f64) -> usize {
    seconds(1);
    ((ROUND / seconds(2) * 2.0) as usize).clamp(1, 1000)
}

fn median(mut of: Vec<f64>) -> (f64, f64, f64) {
    of.sort_by(f64::total_cmp);
    (of[of.len() / 2], of[0], of[of.len() - 1])
}

/// One decoder of ours, measured.
struct Form<'a> {
    name: &'static str,
    pass: Box<dyn FnMut() + 'a>,
}

/// What a consumer of a frame learns beside the values: how many there are, and of which signals.
fn decoded<T: Copy>(decoded: Option<Decoded<T>>) {
    if let Some(decoded) = decoded {
        black_box((decoded.message, decoded.signals.as_ptr(), decoded.values.len()));
    }
}

fn forms<'a, const WIDTH: usize>(decoder: &'a Decoder, frames: &'a [Record<WIDTH>]) -> Vec<Form<'a>> {
    let mut row = decoder.row::<f64>();
    let single = move || {
        for frame in frames {
            decoded(decoder.decode(frame.id, frame.payload(), &mut row));
            black_box(&mut row);
        }
    };
    let mut row = decoder.row::<u64>();
    let raw = move || {
        for frame in frames {
            decoded(decoder.raw(frame.id, frame.payload(), &mut row));
            black_box(&mut row);
        }
    };
    let mut batch = decoder.batch_buffer();
    let batched = move || {
        decoder.batch(
            frames,
            |frame| (frame.id, frame.payload()),
            &mut batch,
            |table| {
                black_box(table.column(0).as_ptr());
            },
        );
        black_box(&mut batch);
    };
    vec![
        Form { name: "batch", pass: Box::new(batched) },
        Form { name: "frame", pass: Box::new(single) },
        Form { name: "raw", pass: Box::new(raw) },
    ]
}

/// |got - want| as notes on exactness allow: 4 * 2^-53 * (|raw * factor| + |offset|).
fn close(codec: &Codec, payload: &[u8], got: f64, want: f64) -> bool {
    let Some(raw) = codec.raw(payload) else { return false };
    let allowed = 2.0 * f64::EPSILON * ((raw.as_f64() * codec.factor).abs() + codec.offset.abs());
    (got.is_nan() && want.is_nan()) || got == want || (got - want).abs() <= allowed
}

/// Values that differ from those of the scalar codec, of C and of Python; and how many were compared.
fn differences<const WIDTH: usize>(
    messages: &[Message],
    decoder: &Decoder,
    members: &Members,
    frames: &[Record<WIDTH>],
    c: Option<&[u8]>,
    python: Option<&[u8]>,
) -> (usize, usize) {
    let mut row = decoder.row::<f64>();
    let (mut bad, mut compared) = (0, 0);
    let mut batch = decoder.batch_buffer();
    let mut batched: Vec<HashMap<u32, f64>> = vec![HashMap::new(); frames.len()];
    decoder.batch(
        frames,
        |frame| (frame.id, frame.payload()),
        &mut batch,
        |table| {
            for (column, signal) in table.signals.iter().enumerate() {
                for (frame, value) in table.frames.iter().zip(table.column(column)) {
                    batched[*frame as usize].insert(*signal, *value);
                }
            }
        },
    );
    let (mut c, mut python) = (c.map(<[u8]>::iter), python.map(<[u8]>::iter));
    let number = |from: &mut std::slice::Iter<u8>| {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        f64::from_le_bytes(bytes)
    };
    for (frame, batched) in frames.iter().zip(&batched) {
        let Some(decoded) = decoder.decode(frame.id, frame.payload(), &mut row) else { continue };
        let message = &messages[decoded.message];
        let mut ours = vec![None; message.signals.len()];
        decoded.iter().for_each(|(signal, value)| ours[signal] = Some(value));
        let mut scalar = vec![None; message.signals.len()];
        for (signal, raw) in message.decode(frame.payload()) {
            scalar[signal] = Some(message.signals[signal].codec.engineering(raw));
        }
        let same = |(a, b): (&Option<f64>, &Option<f64>)| a.map(f64::to_bits) == b.map(f64::to_bits);
        bad += ours.iter().zip(&scalar).filter(|pair| !same(*pair)).count();
        let in_batch =
            |(signal, value)| batched.get(&(signal as u32)).map(|v| v.to_bits()) == Some(f64::to_bits(value));
        bad += decoded.iter().filter(|pair| !in_batch(*pair)).count() + batched.len().abs_diff(decoded.values.len());
        compared += ours.iter().flatten().count();
        for name in members.get(&frame.id.bits()).into_iter().flatten() {
            let signal = message.signals.iter().position(|signal| signal.name == *name || signal.dbc_name == *name);
            let value = signal.and_then(|signal| ours[signal]);
            let agrees = |want| match (signal, value) {
                (Some(signal), Some(value)) => close(&message.signals[signal].codec, frame.payload(), value, want),
                _ => false,
            };
            if let Some(python) = &mut python {
                let is_present = python.next();
                let want = number(python);
                bad += match is_present {
                    Some(2) => 0,
                    Some(1) => usize::from(!agrees(want)),
                    _ => usize::from(value.is_some()),
                };
            }
            if let Some(c) = &mut c {
                let want = number(c);
                bad += usize::from(value.is_some() && !agrees(want));
            }
        }
    }
    (bad, compared)
}

fn measure<const WIDTH: usize>(
    name: &str,
    dbc: &str,
    database: &Database,
    folder: &str,
    python: Result<&Python, &str>,
) {
    let path = format!("{folder}/file.dbc");
    let frames_path = format!("{folder}/frames");
    if let Err(error) = std::fs::write(&path, dbc) {
        return eprintln!("{path}: {error}");
    }
    let members = python.map_err(String::from).and_then(|python| python.generate_c(&path, WIDTH, folder));
    let known = |message: &&Message| match &members {
        Ok(members) => members.contains_key(&message.id.bits()),
        Err(_) => true,
    };
    let chosen: Vec<&Message> = database
        .messages
        .iter()
        .filter(|m| !m.signals.is_empty() && usize::from(m.length) <= WIDTH)
        .filter(known)
        .collect();
    if chosen.is_empty() {
        return println!("{name}: no message to measure");
    }
    let frames: Vec<Record<WIDTH>> = traffic::frames(
        &chosen,
        FRAMES,
        if std::env::var_os("CYCLIC").is_some() { traffic::Order::Cyclic } else { traffic::Order::Random },
    )
    .iter()
    .map(|(id, payload)| Record::new(*id, payload))
    .collect();
    let mut frames = frames;
    if std::env::var_os("SORTED").is_some() {
        frames.sort_by_key(|f| f.id);
    }
    let bytes: Vec<u8> = frames.iter().flat_map(Record::bytes).collect();
    if let Err(error) = std::fs::write(&frames_path, bytes) {
        return eprintln!("{frames_path}: {error}");
    }
    let decoder = Decoder::new(&database.messages);
    let mut row = decoder.row::<f64>();
    let values: usize =
        frames.iter().map(|f| decoder.decode(f.id, f.payload(), &mut row).map_or(0, |d| d.values.len())).sum();
    let mut c = members.as_ref().map_err(String::clone).and_then(|_| GeneratedC::start(folder, &frames_path));
    let by_python = python.map_err(String::from).and_then(|python| python.decode(&path, WIDTH, &frames_path, folder));
    let is_multiplexed = chosen.iter().any(|message| message.groups.len() > 1);

    println!(
        "\n{name}: {} messages, {} signals, {:.1} in a frame",
        chosen.len(),
        chosen.iter().map(|m| m.signals.len()).sum::<usize>(),
        values as f64 / FRAMES as f64
    );
    let none = Members::new();
    let c_values = c.as_mut().ok().and_then(|c| c.values().ok());
    let python_values = by_python.as_ref().ok().map(|(_, values)| values.as_slice());
    let members = members.as_ref().unwrap_or(&none);
    let (bad, compared) =
        differences(&database.messages, &decoder, members, &frames, c_values.as_deref(), python_values);
    let agree = if bad == 0 { "all agree".to_string() } else { format!("{bad} DIFFER") };
    println!(
        "  {compared} values compared with the scalar codec{}{}: {agree}",
        if c_values.is_some() { ", generated C" } else { "" },
        if python_values.is_some() { ", Python" } else { "" }
    );
    for missing in [c.as_ref().err(), by_python.as_ref().err()].into_iter().flatten() {
        println!("  peer missing: {missing}");
    }

    let whats: &[&str] = if is_multiplexed { &["all", "branch"] } else { &["all"] };
    let mut forms = forms(&decoder, &frames);
    let form_passes: Vec<usize> = forms.iter_mut().map(|form| passes(|passes| timed(passes, &mut form.pass))).collect();
    let c_passes: Vec<usize> = match &mut c {
        Ok(c) => whats.iter().map(|what| passes(|passes| c.seconds(what, passes))).collect(),
        Err(_) => Vec::new(),
    };
    let mut c_times: Vec<Vec<f64>> = vec![Vec::new(); whats.len()];
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); forms.len()];
    for _ in 0..ROUNDS {
        if let Ok(c) = &mut c {
            for ((what, passes), times) in whats.iter().zip(&c_passes).zip(&mut c_times) {
                times.push(c.seconds(what, *passes) / *passes as f64);
            }
        }
        for ((form, passes), times) in forms.iter_mut().zip(&form_passes).zip(&mut times) {
            times.push(timed(*passes, &mut form.pass) / *passes as f64);
        }
    }
    let mega = |seconds: f64| FRAMES as f64 / seconds / 1e6;
    for (what, times) in whats.iter().zip(&c_times).filter(|(_, times)| !times.is_empty()) {
        println!("  generated C ({what}) {:7.2} M frames/s", mega(median(times.clone()).0));
    }
    for (form, times) in forms.iter().zip(&times) {
        let ours = median(times.clone()).0;
        print!("  ours ({:6}) {:7.2} M frames/s {:7.0} M signals/s", form.name, mega(ours), values as f64 / ours / 1e6);
        for (what, c_times) in whats.iter().zip(&c_times).filter(|(_, times)| !times.is_empty()) {
            let (middle, low, high) = median(c_times.iter().zip(times).map(|(c, ours)| c / ours).collect());
            print!("   C {what} x{middle:.2} ({low:.2} to {high:.2})");
        }
        if let Ok((speed, _)) = &by_python {
            print!("   Python x{:.0}", FRAMES as f64 / ours / speed);
        }
        println!();
    }
}

fn measure_file(name: &str, dbc: &str, python: Result<&Python, &str>) {
    let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = format!("{}/decode/{safe}", env!("CARGO_TARGET_TMPDIR"));
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return eprintln!("{folder}: {error}");
    }
    let (database, _) = canvoy::dbc::parse(name, dbc.as_bytes());
    let Some(database) = database else { return println!("{name}: not usable") };
    let longest = database.messages.iter().map(|message| message.length).filter(|length| *length <= 64).max();
    if longest.unwrap_or(0) <= 8 {
        measure::<8>(name, dbc, &database, &folder, python);
    } else {
        measure::<64>(name, dbc, &database, &folder, python);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let (files, kinds): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument.ends_with(".dbc"));
    let python = Python::find();
    let python = python.as_ref().map_err(String::as_str);
    for shape in traffic::shapes() {
        let asked =
            if kinds.is_empty() { files.is_empty() } else { kinds.iter().any(|kind| shape.name.contains(kind)) };
        if asked {
            measure_file(shape.name, &shape.dbc(), python);
        }
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => measure_file(&file, &String::from_utf8_lossy(&bytes), python),
            Err(error) => eprintln!("{file}: {error}"),
        }
    }
}
