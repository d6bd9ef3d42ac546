//! `canvoy decode`: a candump log with the names and values of its signals.

use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::database::Databases;
use super::lines::{Line, Lines};
use super::shown::{Shown, ShownSignal};
use crate::can::FrameId;
use crate::candump::{self, Content};
use crate::dbc::decoder::Row;
use crate::dbc::{Decoder, Raw};

/// Some of the input was wrong (EX_DATAERR of sysexits.h).
pub(super) const EXIT_DATA: u8 = 65;
/// Longer than any candump line.
const LONGEST_LINE: usize = 4096;

/// Decode a candump log with DBC files
///
/// Reads lines of candump, in its default form or its log form (candump -L), and prints each with the signals of its
/// message. Only signals that are in the frame are shown: a short frame has fewer, a multiplexed one those of its
/// branch. J1939 messages are found by their parameter group whatever the source address.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  candump can0 | canvoy decode --dbc plant.dbc
  canvoy decode --dbc plant.dbc --single-line candump.log
  canvoy decode --dbc line.dbc --dbc cell.dbc --json candump.log > values.jsonl

With --json, one object a line:
  {\"time\":1790000000.123456,\"bus\":\"can0\",\"id\":\"1F4\",\"extended\":false,\"message\":\"Motor\",
   \"signals\":{\"Torque\":{\"raw\":\"-3\",\"value\":-1.5,\"label\":null,\"unit\":\"Nm\"}}}

\"raw\" is what the bits say, as a decimal string (the IEEE bits of a float). \"value\" is raw * factor + offset, null \
where it is not a finite number. \"label\" is the word of the value table. \"message\" is null and \"signals\" is \
empty for an identifier that no DBC file has. \"time\" is null without a time stamp; dates (candump -tA) are read as \
UTC.

A line that is not candump's is reported with its number on standard error, and the rest is decoded. Error frames are \
no messages: --json leaves them out.

Exit status: 0 all lines decoded, 65 some lines or a DBC file could not be read.")]
pub struct Args {
    /// DBC file; may be given several times
    #[arg(long, required = true, value_name = "FILE")]
    pub dbc: Vec<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Message and signals behind the frame, on its line
    #[arg(long, conflicts_with = "json")]
    pub single_line: bool,
    /// Do not print the warnings about the DBC files
    #[arg(long, short)]
    pub quiet: bool,
    /// The log; `-` or nothing: standard input
    #[arg(value_name = "LOG")]
    pub log: Option<PathBuf>,
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
    let mut lines = Lines::open(args.log.as_deref(), LONGEST_LINE)?;
    let form = match (args.json, args.single_line) {
        (true, _) => Form::Json,
        (false, true) => Form::SingleLine,
        (false, false) => Form::Text,
    };
    let malformed = decode(&databases, form, &mut lines, output, errors)?;
    if malformed > 0 {
        let lines = if malformed == 1 { "line" } else { "lines" };
        writeln!(errors, "{malformed} {lines} could not be read")?;
        return Ok(EXIT_DATA);
    }
    Ok(0)
}

/// A reader who has seen enough (`| head`) is no error.
pub(super) fn ended_early<W: Write>(error: anyhow::Error, output: BufWriter<W>) -> anyhow::Result<ExitCode> {
    // what the writer holds is not tried again
    drop(output.into_parts());
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(error),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    SingleLine,
    Json,
}

/// Decodes all lines; how many were malformed.
fn decode(
    databases: &Databases,
    form: Form,
    lines: &mut Lines,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<u64> {
    let decoder = Decoder::new(&databases.messages);
    let mut printer = Printer {
        shown: databases.messages.iter().map(Shown::new).collect(),
        row: decoder.row(),
        decoder: &decoder,
        values: Vec::new(),
        text: String::new(),
    };
    let name = lines.name.clone();
    let mut malformed = 0;
    loop {
        let number = lines.number + 1;
        let Some(line) = lines.next(|| output.flush())? else { break };
        // candump -a shows bytes as text, whatever they are
        let lossy;
        let text = match line {
            Line::Text(text) => Ok(text),
            Line::NotUtf8(text) => {
                lossy = text;
                Ok(lossy.as_str())
            }
            Line::TooLong => Err("too long for a line of candump".to_string()),
        };
        let parsed =
            text.and_then(|text| candump::parse(text).map(|line| (text, line)).map_err(|error| error.to_string()));
        match parsed {
            Ok((_, None)) => {}
            Ok((text, Some(line))) => {
                printer.text.clear();
                match form {
                    Form::Json => printer.json(&line),
                    Form::Text | Form::SingleLine => printer.line(text, &line.content, form == Form::SingleLine),
                }
                output.write_all(printer.text.as_bytes())?;
            }
            Err(reason) => {
                malformed += 1;
                writeln!(errors, "{name}:{number}: {reason}")?;
            }
        }
    }
    output.flush()?;
    Ok(malformed)
}

struct Printer<'a> {
    decoder: &'a Decoder,
    /// By message.
    shown: Vec<Shown<'a>>,
    row: Row<u64>,
    /// Bits of the present frame, by place.
    values: Vec<Option<u64>>,
    /// The output of the present line.
    text: String,
}

impl<'a> Printer<'a> {
    /// The message of a frame and its present signals with their raw values, in the order to show them.
    fn signals(
        &mut self,
        id: FrameId,
        payload: &[u8],
    ) -> Option<(&Shown<'a>, impl Iterator<Item = (&ShownSignal<'a>, Raw)>)> {
        let decoded = self.decoder.raw(id, payload, &mut self.row)?;
        let shown = self.shown.get(decoded.message)?;
        shown.sort(decoded.iter(), &mut self.values);
        Some((shown, shown.present(&self.values)))
    }

    /// The line as it was, then the message as cantools writes it.
    fn line(&mut self, line: &str, content: &Content, single: bool) {
        let mut text = std::mem::take(&mut self.text);
        text.push_str(line.trim_end_matches(['\r', '\n']));
        if let Some((id, payload)) = frame(content) {
            text.push_str(" ::");
            match self.signals(id, payload) {
                None => {
                    let _ = write!(text, " Unknown frame id {0} (0x{0:x})", id.number());
                }
                Some((message, signals)) => {
                    let (begin, before, between, end) =
                        if single { (" ", "", ", ", ")") } else { ("\n", "    ", ",\n", "\n)") };
                    push(&mut text, &[begin, message.name, if single { "(" } else { "(\n" }]);
                    for (position, (shown, raw)) in signals.enumerate() {
                        push(&mut text, &[if position > 0 { between } else { "" }, before, shown.name, ": "]);
                        match shown.signal.label(raw) {
                            Some(label) => text.push_str(label),
                            None => {
                                python_number(&mut text, shown, raw);
                                if !shown.signal.unit.is_empty() {
                                    push(&mut text, &[" ", &shown.signal.unit]);
                                }
                            }
                        }
                    }
                    text.push_str(end);
                }
            }
        }
        text.push('\n');
        self.text = text;
    }

    /// One object; nothing for an error frame.
    fn json(&mut self, line: &candump::Line) {
        let Some((id, payload)) = frame(&line.content) else { return };
        let mut text = std::mem::take(&mut self.text);
        let time = line.time.and_then(candump::seconds).unwrap_or_else(|| "null".into());
        let _ = write!(text, "{{\"time\":{time},\"bus\":");
        json_string(&mut text, line.bus);
        let _ = write!(text, ",\"id\":\"{id}\",\"extended\":{},\"message\":", id.is_extended());
        match self.signals(id, payload) {
            None => text.push_str("null,\"signals\":{"),
            Some((message, signals)) => {
                json_string(&mut text, message.name);
                text.push_str(",\"signals\":{");
                for (position, (shown, raw)) in signals.enumerate() {
                    text.push_str(if position > 0 { "," } else { "" });
                    json_string(&mut text, shown.name);
                    let _ = write!(text, ":{{\"raw\":\"{raw}\",\"value\":");
                    match shown.exact(raw) {
                        Some(value) => whole_number(&mut text, value),
                        None => match shown.signal.codec.engineering(raw) {
                            value if value.is_finite() => {
                                let _ = write!(text, "{value:?}");
                            }
                            _ => text.push_str("null"),
                        },
                    }
                    text.push_str(",\"label\":");
                    match shown.signal.label(raw) {
                        Some(label) => json_string(&mut text, label),
                        None => text.push_str("null"),
                    }
                    text.push_str(",\"unit\":");
                    match shown.signal.unit.as_str() {
                        "" => text.push_str("null"),
                        unit => json_string(&mut text, unit),
                    }
                    text.push('}');
                }
            }
        }
        text.push_str("}}\n");
        self.text = text;
    }
}

/// Identifier and payload; a remote frame has none, an error frame is no frame.
fn frame(content: &Content) -> Option<(FrameId, &[u8])> {
    match content {
        Content::Data { id, payload, .. } => Some((*id, payload.bytes())),
        Content::Remote { id } => Some((*id, &[])),
        Content::Error => None,
    }
}

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

fn json_string(text: &mut String, value: &str) {
    // most names and units are plain
    if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        push(text, &["\"", value, "\""]);
    } else {
        let _ = write!(text, "{}", serde_json::Value::from(value));
    }
}

fn whole_number(text: &mut String, value: i128) {
    let _ = match i64::try_from(value) {
        Ok(value) => write!(text, "{value}"),
        Err(_) => write!(text, "{value}"),
    };
}

/// As Python prints it: a whole number where raw, factor and offset are whole, else the shortest form that reads back.
fn python_number(text: &mut String, shown: &ShownSignal, raw: Raw) {
    if let Some(value) = shown.exact(raw) {
        whole_number(text, value);
        return;
    }
    let value = shown.signal.codec.engineering(raw);
    if value.is_nan() {
        text.push_str("nan");
        return;
    }
    let shortest = format!("{value:?}");
    match shortest.split_once('e') {
        // Rust writes 1e-7 and 1e16, Python 1e-07 and 1e+16
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            let _ = write!(text, "{digits}e{sign}{exponent:0>2}");
        }
        None => text.push_str(&shortest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbc::Codec;
    use crate::dbc::codec::{ByteOrder, Kind};

    #[test]
    fn numbers_as_python_prints_them() {
        let check = |kind, factor, offset, raw: Raw, want: &str| {
            let size = if kind == Kind::F32 { 32 } else { 64 };
            let codec = Codec::new(0, size, ByteOrder::LittleEndian, kind, factor, offset).unwrap();
            let (database, _) = crate::dbc::parse("t", b"BO_ 1 M: 8 X\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" X\n");
            let mut signal = database.unwrap().messages.remove(0).signals.remove(0);
            signal.codec = codec;
            let mut text = String::new();
            python_number(&mut text, &ShownSignal::new(&signal), raw);
            assert_eq!(text, want);
        };
        check(Kind::Unsigned, 1.0, 0.0, Raw::Unsigned(u64::MAX), "18446744073709551615");
        check(Kind::Signed, 2.0, -1.0, Raw::Signed(-3), "-7");
        check(Kind::Signed, 0.5, 0.0, Raw::Signed(4), "2.0");
        check(Kind::Signed, 1e-7, 0.0, Raw::Signed(1), "1e-07");
        check(Kind::Signed, 0.0001, 0.0, Raw::Signed(1), "0.0001");
        check(Kind::Signed, 1e16, 0.5, Raw::Signed(1), "1e+16");
        check(Kind::F32, 1.0, 0.0, Raw::F32(0.1f32.to_bits()), "0.10000000149011612");
        check(Kind::F32, 1.0, 0.0, Raw::F32(f32::NAN.to_bits()), "nan");
        check(Kind::F32, 1.0, 0.0, Raw::F32(f32::NEG_INFINITY.to_bits()), "-inf");
    }
}
