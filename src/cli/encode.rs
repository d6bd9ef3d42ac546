//! `canvoy encode`: frames from the names and values of signals.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::database::Databases;
use super::decode::{EXIT_DATA, ended_early};
use super::lines::{Line, Lines};
use crate::can::MAX_LEN;
use crate::candump::{self, Content, Payload};
use crate::dbc::{Attribute, Message, Raw, Signal};

/// Room for every signal of the longest message.
const LONGEST_LINE: usize = 1 << 20;

/// Encode values of signals to frames with DBC files
///
/// Reads JSON objects, one a line, and writes one line of candump's log form (candump -L) for each: feed it to
/// canplayer, or to `canvoy decode`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  echo '{\"message\":\"Motor\",\"signals\":{\"Torque\":-1.5}}' | canvoy encode --dbc plant.dbc
  canvoy encode --dbc plant.dbc --interface vcan0 values.jsonl | canplayer -I -

Values: \"signals\" holds engineering values, numbers or words of the value table; a number becomes the nearest raw \
value, halves the even one. \"raw\" holds raw values as decimal strings, a float signal's are its IEEE bits: \
{\"message\":\"Motor\",\"raw\":{\"Torque\":\"-3\"}}. Both may stand together, for different signals.

Not named: a signal gets its start value (GenSigStartValue), 0 without one; bits of no signal are 0. A selector takes \
the only value that selects the named signals.

Refused, never clipped: a value outside the signal's bits, signals of different branches, signals that share bits. The \
physical range of the DBC is not checked here. A refused line is reported with its number on standard error and gives \
no output line. The payload has the length that the DBC gives.

Exit status: 0 all lines encoded, 65 some lines were refused or a DBC file could not be read.")]
pub struct Args {
    /// DBC file; may be given several times
    #[arg(long, required = true, value_name = "FILE")]
    pub dbc: Vec<PathBuf>,
    /// The interface named in the output
    #[arg(long, value_name = "NAME", default_value = "can0")]
    pub interface: String,
    /// Do not print the warnings about the DBC files
    #[arg(long, short)]
    pub quiet: bool,
    /// JSON lines; `-` or nothing: standard input
    #[arg(value_name = "FILE")]
    pub input: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match process(&args, &mut output, &mut io::stderr()) {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) => ended_early(error, output),
    }
}

/// The command with its outputs given; its exit status.
pub fn process(args: &Args, output: &mut impl Write, errors: &mut impl Write) -> anyhow::Result<u8> {
    let Some(databases) = Databases::load(&args.dbc, args.quiet, errors)? else { return Ok(EXIT_DATA) };
    let mut lines = Lines::open(args.input.as_deref(), LONGEST_LINE)?;
    let refused = encode(&databases, &args.interface, &mut lines, output, errors)?;
    if refused > 0 {
        let lines = if refused == 1 { "line was" } else { "lines were" };
        writeln!(errors, "{refused} {lines} refused")?;
        return Ok(EXIT_DATA);
    }
    Ok(0)
}

/// Encodes all lines; how many were refused.
fn encode(
    databases: &Databases,
    interface: &str,
    lines: &mut Lines,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<u64> {
    let mut refused = 0;
    loop {
        let (name, number) = (lines.name.clone(), lines.number + 1);
        let Some(line) = lines.next(|| output.flush())? else { break };
        let frame = match line {
            Line::Text(text) if text.trim().is_empty() => continue,
            Line::Text(text) => frame(databases, text),
            Line::NotUtf8(_) => Err("not UTF-8".into()),
            Line::TooLong => Err("too long".into()),
        };
        match frame {
            Ok(content) => {
                let line = candump::Line { time: Some("0.000000"), bus: interface, content };
                writeln!(output, "{line}")?;
            }
            Err(reason) => {
                refused += 1;
                writeln!(errors, "{name}:{number}: {reason}")?;
            }
        }
    }
    output.flush()?;
    Ok(refused)
}

/// A line of input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    message: String,
    #[serde(default)]
    signals: Pairs<serde_json::Value>,
    #[serde(default)]
    raw: Pairs<serde_json::Value>,
}

/// The frame that a line asks for, or why there is none.
fn frame(databases: &Databases, line: &str) -> Result<Content, String> {
    let request: Request = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let name = &request.message;
    let message = databases.by_name(name).ok_or_else(|| format!("no message {name:?} in the DBC files"))?;
    let mut values = Vec::with_capacity(request.signals.0.len() + request.raw.0.len());
    for (name, value) in &request.signals.0 {
        let (index, signal) = signal(message, name)?;
        values.push((index, engineering(signal, value).map_err(|reason| format!("{name}: {reason}"))?));
    }
    for (name, value) in &request.raw.0 {
        let (index, signal) = signal(message, name)?;
        values.push((index, raw(signal, value).map_err(|reason| format!("{name}: {reason}"))?));
    }
    let bytes = message.encode(&values).map_err(|error| error.to_string())?;
    let payload = Payload::new(&bytes)
        .ok_or_else(|| format!("{name} has {} bytes, a frame at most {MAX_LEN}", message.length))?;
    // Vector's attribute for the second bit rate; sent with it unless the file says no
    let no_switch = match message.attributes.get("CANFD_BRS") {
        Some(Attribute::Enum { word, .. }) => word == "0",
        Some(Attribute::Integer(value)) => *value == 0,
        Some(Attribute::Float(_) | Attribute::Text(_)) | None => false,
    };
    let fd = message.fd || bytes.len() > crate::can::MAX_CLASSIC_LEN;
    Ok(Content::Data { id: message.id, fd: fd.then_some(u8::from(!no_switch)), payload })
}

/// A signal by the name shown, else by the long name as the file has it, else by the one in the SG_ line.
fn signal<'a>(message: &'a Message, name: &str) -> Result<(usize, &'a Signal), String> {
    let names: [fn(&Signal) -> &str; 3] = [|signal| &signal.name, Signal::file_name, |signal| &signal.dbc_name];
    for wanted in names {
        let mut found = message.signals.iter().enumerate().filter(|(_, signal)| wanted(signal) == name);
        match (found.next(), found.next()) {
            (Some(signal), None) => return Ok(signal),
            (Some(_), Some(_)) => return Err(format!("{} has several signals {name:?}", message.name)),
            (None, _) => {}
        }
    }
    Err(format!("{} has no signal {name:?}", message.name))
}

/// An engineering value: a number or a word of the value table.
fn engineering(signal: &Signal, value: &serde_json::Value) -> Result<Raw, String> {
    if let Some(word) = value.as_str() {
        let mut found = signal.value_table.iter().filter(|(_, known)| known == word);
        return match (found.next(), found.next()) {
            (Some((value, _)), None) => Raw::from_i128(signal.codec.kind, *value)
                .ok_or_else(|| "a word of a float signal: give a number".into()),
            (Some(_), Some(_)) => Err(format!("{word:?} names several raw values: give a number")),
            (None, _) => Err(format!("{word:?} is not in its value table")),
        };
    }
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    if let Some(raw) = integer.and_then(|integer| signal.codec.to_raw_exact(integer)) {
        return Ok(raw);
    }
    let number = value.as_f64().ok_or("neither a number nor a word")?;
    signal.codec.to_raw(number).map_err(|error| error.to_string())
}

/// A raw value: a decimal string, or an integer.
fn raw(signal: &Signal, value: &serde_json::Value) -> Result<Raw, String> {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return Err("a raw value is a decimal string".into()),
    };
    let kind = signal.codec.kind;
    Raw::parse(kind, text.trim()).ok_or_else(|| format!("{text:?} is no raw value of a {kind}"))
}

/// A JSON object in its order, every name once.
struct Pairs<V>(Vec<(String, V)>);

impl<V> Default for Pairs<V> {
    fn default() -> Pairs<V> {
        Pairs(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Pairs<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<V>, D::Error> {
        struct PairsVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<V> {
            type Value = Pairs<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of signals")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<V>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}
