//! Lines of candump: its default form and its log form (`-L`), read and written.

use std::fmt;

use crate::can::{FrameId, MAX_CLASSIC_LEN, MAX_LEN};

/// Marks an error frame in the identifier (linux/can.h, `CAN_ERR_FLAG`).
const ERROR_FLAG: u32 = 0x2000_0000;

/// One line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As written, without the parentheses: `1790000000.123456`, `2026-09-22 12:04:45.485261`.
    pub time: Option<&'a str>,
    /// The interface, `can0`.
    pub bus: &'a str,
    pub content: Content,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Data {
        id: FrameId,
        /// CAN FD, with the flags of the log form (1: bit rate switch, 2: error state).
        fd: Option<u8>,
        payload: Payload,
    },
    /// A remote frame; it carries no data.
    Remote { id: FrameId },
    /// An error frame: a state of the bus, not a message.
    Error,
}

/// Up to 64 bytes of any number: a log may hold lengths that no DLC stands for.
#[derive(Clone, Copy, Eq)]
pub struct Payload {
    len: u8,
    bytes: [u8; MAX_LEN],
}

impl Payload {
    /// `None` for more than 64 bytes.
    pub fn new(bytes: &[u8]) -> Option<Payload> {
        let mut payload = Payload { len: u8::try_from(bytes.len()).ok()?, bytes: [0; MAX_LEN] };
        payload.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(payload)
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or(&[])
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        self.bytes() == other.bytes()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X?}", self.bytes())
    }
}

/// Why a line is no candump line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("the time stamp is not closed by `)`")]
    TimeNotClosed,
    #[error("{0:?} is no time stamp")]
    Time(String),
    #[error("no interface")]
    NoBus,
    #[error("no identifier behind the interface")]
    NoIdentifier,
    #[error("{0:?} is no identifier in hexadecimal")]
    Identifier(String),
    #[error("identifier {0} has more than 11 bits; extended ones are written with 8 digits")]
    NotStandard(String),
    #[error("identifier {0} has more than 29 bits")]
    NotExtended(String),
    #[error("neither candump's default form (`can0  1F4   [2]  00 11`) nor its log form (`can0 1F4#0011`)")]
    Form,
    #[error("{0:?} is no length")]
    Length(String),
    #[error("{0:?} is no byte in hexadecimal")]
    Byte(String),
    #[error("an odd number of digits in the data")]
    OddDigits,
    #[error("{given} bytes where {expected} were said")]
    Count { given: usize, expected: usize },
    #[error("{0} bytes of data are too many: a classic frame has 8, an FD frame 64")]
    TooLong(usize),
    #[error("no FD flags behind `##`")]
    NoFlags,
    #[error("{0:?} is not expected behind the frame")]
    Tail(String),
}

/// Reads a line of either form; `None` for a blank one.
pub fn parse(line: &str) -> Result<Option<Line<'_>>, LineError> {
    let mut rest = line.trim();
    if rest.is_empty() {
        return Ok(None);
    }
    let mut time = None;
    if let Some(behind) = rest.strip_prefix('(') {
        let (inside, behind) = behind.split_once(')').ok_or(LineError::TimeNotClosed)?;
        let inside = inside.trim();
        let known = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | ':' | ' ' | '+');
        if !inside.starts_with(|c: char| c.is_ascii_digit()) || !inside.chars().all(known) {
            return Err(LineError::Time(shown(inside)));
        }
        time = Some(inside);
        rest = behind.trim_start();
    }
    let (bus, behind) = word(rest);
    if bus.is_empty() {
        return Err(LineError::NoBus);
    }
    let (mut first, mut behind) = word(behind);
    if first.is_empty() {
        return Err(LineError::NoIdentifier);
    }
    let content = if first.contains('#') {
        log_form(first, behind)?
    } else {
        // candump -x: direction, then two flags
        if matches!(first, "RX" | "TX") {
            for _ in 0..3 {
                (first, behind) = word(behind);
            }
        }
        default_form(first, behind)?
    };
    Ok(Some(Line { time, bus, content }))
}

/// `1F4#0011`, `1F4##10011`, `1F4#R3`, then perhaps `R` or `T`.
fn log_form(frame: &str, tail: &str) -> Result<Content, LineError> {
    if !matches!(tail.trim(), "" | "R" | "T") {
        return Err(LineError::Tail(shown(tail.trim())));
    }
    let (id, data) = frame.split_once('#').ok_or(LineError::Form)?;
    let Identifier::Frame(id) = identifier(id)? else { return Ok(Content::Error) };
    if let Some(data) = data.strip_prefix('#') {
        let mut chars = data.chars();
        let flags = chars.next().and_then(|c| c.to_digit(16)).ok_or(LineError::NoFlags)?;
        return Ok(Content::Data { id, fd: Some(flags as u8), payload: hex(chars.as_str(), MAX_LEN)? });
    }
    if let Some(length) = data.strip_prefix('R') {
        let known = length.is_empty() || matches!(length.parse(), Ok(0..=15u8));
        return if known { Ok(Content::Remote { id }) } else { Err(LineError::Length(shown(length))) };
    }
    // a classic frame of 8 bytes may carry its raw DLC: `1F4#0011223344556677_F`
    let data = match data.split_once('_') {
        Some((data, dlc)) if dlc.len() == 1 && u8::from_str_radix(dlc, 16).is_ok() => data,
        Some((_, dlc)) => return Err(LineError::Length(shown(dlc))),
        None => data,
    };
    Ok(Content::Data { id, fd: None, payload: hex(data, MAX_CLASSIC_LEN)? })
}

/// `1F4   [2]  00 11`, then perhaps the same as text in `'…'` or the word `ERRORFRAME`.
fn default_form(id: &str, rest: &str) -> Result<Content, LineError> {
    let id = identifier(id)?;
    let (length, rest) = word(rest);
    let digits = length.strip_prefix('[').and_then(|l| l.strip_suffix(']')).ok_or(LineError::Form)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let expected: usize = digits.parse().ok().filter(|_| is_number).ok_or_else(|| LineError::Length(shown(digits)))?;
    let Identifier::Frame(id) = id else { return Ok(Content::Error) };
    if rest.trim_start().starts_with("remote request") {
        return Ok(Content::Remote { id });
    }
    // candump writes the length of an FD frame with two digits
    let is_fd = digits.len() == 2;
    if expected > MAX_LEN || (!is_fd && expected > MAX_CLASSIC_LEN) {
        return Err(LineError::TooLong(expected));
    }
    let mut bytes = [0; MAX_LEN];
    let mut rest = rest;
    for (given, byte) in bytes.iter_mut().take(expected).enumerate() {
        let digits;
        (digits, rest) = word(rest);
        if digits.is_empty() || digits.starts_with('\'') {
            return Err(LineError::Count { given, expected });
        }
        *byte = hex_byte(digits)?;
    }
    let tail = rest.trim();
    if !(tail.is_empty() || tail.starts_with('\'') || tail == "ERRORFRAME") {
        return Err(LineError::Tail(shown(tail)));
    }
    let payload = Payload::new(bytes.get(..expected).unwrap_or(&[])).ok_or(LineError::TooLong(expected))?;
    Ok(Content::Data { id, fd: is_fd.then_some(0), payload })
}

enum Identifier {
    Frame(FrameId),
    Error,
}

/// Up to three digits are a standard identifier, more an extended one.
fn identifier(text: &str) -> Result<Identifier, LineError> {
    let digits_only = text.bytes().all(|b| b.is_ascii_hexdigit()) && !text.is_empty();
    let number = u32::from_str_radix(text, 16).ok().filter(|_| digits_only);
    let number = number.ok_or_else(|| LineError::Identifier(shown(text)))?;
    if text.len() <= 3 {
        let id = FrameId::standard(number);
        return id.map(Identifier::Frame).ok_or_else(|| LineError::NotStandard(shown(text)));
    }
    if number & ERROR_FLAG != 0 && number <= ERROR_FLAG | FrameId::MAX_EXTENDED {
        return Ok(Identifier::Error);
    }
    FrameId::extended(number).map(Identifier::Frame).ok_or_else(|| LineError::NotExtended(shown(text)))
}

fn hex(digits: &str, most: usize) -> Result<Payload, LineError> {
    let mut bytes = [0; MAX_LEN];
    let count = digits.len() / 2;
    if count > most {
        return Err(LineError::TooLong(count));
    }
    let pairs = digits.as_bytes().chunks(2);
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let [high, low] = pair else { return Err(LineError::OddDigits) };
        *byte = match (hex_digit(*high), hex_digit(*low)) {
            (Some(high), Some(low)) => high << 4 | low,
            _ => return Err(LineError::Byte(shown(&String::from_utf8_lossy(pair)))),
        };
    }
    if !digits.len().is_multiple_of(2) {
        return Err(LineError::OddDigits);
    }
    Payload::new(bytes.get(..count).unwrap_or(&[])).ok_or(LineError::TooLong(count))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn hex_byte(digits: &str) -> Result<u8, LineError> {
    let is_byte = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| is_byte).ok_or_else(|| LineError::Byte(shown(digits)))
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// As much of a wrong word as a message needs.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Seconds since 1970 of a time stamp, as digits of a JSON number; a date is read as UTC. `None` where it is neither.
pub fn seconds(time: &str) -> Option<String> {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole = match whole.split_once(' ') {
        Some((date, clock)) => (days_since_1970(date)? * 86_400 + seconds_of_day(clock)?).to_string(),
        None if whole.bytes().all(|b| b.is_ascii_digit()) && !whole.is_empty() => {
            let digits = whole.trim_start_matches('0');
            if digits.is_empty() { "0".into() } else { digits.into() }
        }
        None => return None,
    };
    Some(if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") })
}

fn seconds_of_day(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':').map(|part| part.parse::<u8>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    let known = parts.next().is_none() && h < 24 && m < 60 && s < 61;
    known.then_some(i64::from(h) * 3600 + i64::from(m) * 60 + i64::from(s))
}

/// Of a date in the Gregorian calendar, `2026-09-22`.
fn days_since_1970(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(|part| part.parse::<u16>().ok().map(i64::from));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some()
        || !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    // years that begin in March: the leap day is their last
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era_year, century) = (year % 400, year / 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(century * 146_097 + era_year * 365 + era_year / 4 - era_year / 100 + day_of_year - 719_468)
}

/// As `candump -L` writes it.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.time {
            write!(f, "({time}) ")?;
        }
        write!(f, "{} ", self.bus)?;
        match &self.content {
            Content::Data { id, fd, payload } => {
                match fd {
                    Some(flags) => write!(f, "{id}##{flags:X}")?,
                    None => write!(f, "{id}#")?,
                }
                payload.bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
            Content::Remote { id } => write!(f, "{id}#R"),
            Content::Error => write!(f, "{ERROR_FLAG:08X}#0000000000000000"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(line: &str, want: Result<&str, &str>) {
        let got = parse(line).map(|line| line.map(|line| line.to_string()).unwrap_or_default());
        assert_eq!(got.map_err(|error| error.to_string()), want.map(String::from).map_err(String::from), "{line}");
    }

    #[test]
    fn default_form() {
        check("  can0  1F4   [2]  00 11", Ok("can0 1F4#0011"));
        check("can0  1F4   [0]", Ok("can0 1F4#"));
        check(" (1436509052.249713)  vcan0  044   [3]  2A 36 6C   '*6l'", Ok("(1436509052.249713) vcan0 044#2A366C"));
        check(" (000.000000)  vcan0  0C8   [1]  31   '1'", Ok("(000.000000) vcan0 0C8#31"));
        check(" (2020-12-19 12:04:45.485261)  vcan0  0C8   [1]  F0", Ok("(2020-12-19 12:04:45.485261) vcan0 0C8#F0"));
        check("  can0  18FEEE00   [1]  FF", Ok("can0 18FEEE00#FF"));
        check("  can0  1F4  [12]  00 01 02 03 04 05 06 07 08 09 0A 0B", Ok("can0 1F4##0000102030405060708090A0B"));
        check("  can0  1F4  [02]  00 01", Ok("can0 1F4##00001"));
        check("  can0  RX - -  1F4   [1]  00", Ok("can0 1F4#00"));
        check("  can0  TX B E  1F4  [01]  00", Ok("can0 1F4##000"));
        check("  can0  1F4   [8]  remote request", Ok("can0 1F4#R"));
        check("  can0  20000004   [8]  00 01 00 00 00 00 00 00   ERRORFRAME", Ok("can0 20000000#0000000000000000"));
    }

    #[test]
    fn log_form() {
        check("(1790000000.123456) can0 1F4#0011", Ok("(1790000000.123456) can0 1F4#0011"));
        check("(1790000000.123456) can0 1F4#0011 R", Ok("(1790000000.123456) can0 1F4#0011"));
        check("(1.5) can0 00000123#aB T", Ok("(1.5) can0 00000123#AB"));
        check("(1.5) can0 1F4##1001122", Ok("(1.5) can0 1F4##1001122"));
        check("(1.5) can0 1F4#", Ok("(1.5) can0 1F4#"));
        check("(1.5) can0 1F4#R", Ok("(1.5) can0 1F4#R"));
        check("(1.5) can0 1F4#R3", Ok("(1.5) can0 1F4#R"));
        check("(1.5) can0 1F4#0011223344556677_F", Ok("(1.5) can0 1F4#0011223344556677"));
        check("(1.5) can0 20000080#0000000000000000", Ok("(1.5) can0 20000000#0000000000000000"));
        check("can0 1F4#0011", Ok("can0 1F4#0011"));
        check("\r\n", Ok(""));
    }

    #[test]
    fn reasons() {
        check("(1.5 can0 1F4#00", Err("the time stamp is not closed by `)`"));
        check("(now) can0 1F4#00", Err("\"now\" is no time stamp"));
        check("(1.5)", Err("no interface"));
        check("can0", Err("no identifier behind the interface"));
        check("can0 xyz#00", Err("\"xyz\" is no identifier in hexadecimal"));
        check("can0 +12#00", Err("\"+12\" is no identifier in hexadecimal"));
        check("can0 FFF#00", Err("identifier FFF has more than 11 bits; extended ones are written with 8 digits"));
        check("can0 8FEEEE00#00", Err("identifier 8FEEEE00 has more than 29 bits"));
        check("hello world", Err("\"world\" is no identifier in hexadecimal"));
        check("can0 1F4#0", Err("an odd number of digits in the data"));
        check("can0 1F4#0g", Err("\"0g\" is no byte in hexadecimal"));
        check("can0 1F4#é", Err("\"é\" is no byte in hexadecimal"));
        check(
            "can0 1F4#001122334455667788",
            Err("9 bytes of data are too many: a classic frame has 8, an FD frame 64"),
        );
        check("can0 1F4##", Err("no FD flags behind `##`"));
        check("can0 1F4#00 x", Err("\"x\" is not expected behind the frame"));
        check("can0 1F4#Rx", Err("\"x\" is no length"));
        check("can0 1F4 [2] 00", Err("1 bytes where 2 were said"));
        check("can0 1F4 [1] 00 11", Err("\"11\" is not expected behind the frame"));
        check("can0 1F4 [9] 00", Err("9 bytes of data are too many: a classic frame has 8, an FD frame 64"));
        check("can0 1F4 [+1] 00", Err("\"+1\" is no length"));
        check(
            "can0 1F4 00",
            Err("neither candump's default form (`can0  1F4   [2]  00 11`) nor its log form (`can0 1F4#0011`)"),
        );
    }

    #[test]
    fn times() {
        for (time, want) in [
            ("1790000000.123456", Some("1790000000.123456")),
            ("000.000000", Some("0.000000")),
            ("007.5", Some("7.5")),
            ("12", Some("12")),
            ("1970-01-01 00:00:01.5", Some("1.5")),
            ("2020-12-19 12:04:45.485261", Some("1608379485.485261")),
            ("2024-02-29 23:59:59", Some("1709251199")),
            ("2024-13-01 00:00:00", None),
            ("1.2.3", None),
            ("1-2", None),
        ] {
            assert_eq!(seconds(time).as_deref(), want, "{time}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,60}", frame in "[ can0-9A-F#R\\[\\]().']{0,40}") {
            for line in [&line, &frame] {
                if let Ok(Some(read)) = parse(line) {
                    prop_assert_eq!(parse(&read.to_string()).map(|again| again.is_some()), Ok(true));
                    read.time.and_then(seconds);
                }
            }
        }

        #[test]
        fn what_is_written_is_read_again(
            id in 0u32..=FrameId::MAX_EXTENDED, extended in any::<bool>(), fd in proptest::option::of(0u8..16),
            bytes in proptest::collection::vec(any::<u8>(), 0..=8),
        ) {
            let id = if extended { FrameId::extended(id) } else { FrameId::standard(id & 0x7FF) };
            let content = Content::Data { id: id.unwrap(), fd, payload: Payload::new(&bytes).unwrap() };
            let line = Line { time: Some("1.000000"), bus: "vcan0", content };
            let text = line.to_string();
            prop_assert_eq!(parse(&text), Ok(Some(line)));
        }
    }
}
