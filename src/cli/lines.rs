//! Lines of an input that may be live, endless or garbage: bounded in length, output flushed before waiting.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;

/// The input of a command: a file, or standard input for `-` and for nothing.
pub struct Lines {
    reader: BufReader<Box<dyn Read>>,
    /// For messages: the file as it was named, `stdin`.
    pub name: String,
    /// Of the line that [`Lines::next`] gave, from 1.
    pub number: u64,
    line: Vec<u8>,
    longest: usize,
}

/// What was read.
pub enum Line<'a> {
    Text(&'a str),
    /// With a stand-in for what is no UTF-8.
    NotUtf8(String),
    TooLong,
}

impl Lines {
    pub fn open(path: Option<&Path>, longest: usize) -> anyhow::Result<Lines> {
        let (name, input): (String, Box<dyn Read>) = match path.filter(|path| *path != Path::new("-")) {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("can't open {}", path.display()))?;
                (path.display().to_string(), Box::new(file))
            }
            None => ("stdin".into(), Box::new(io::stdin())),
        };
        Ok(Lines { reader: BufReader::with_capacity(1 << 16, input), name, number: 0, line: Vec::new(), longest })
    }

    /// The next line without its end; `None` at the end of the input. `flush` is called before waiting for more.
    pub fn next(&mut self, mut flush: impl FnMut() -> io::Result<()>) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut too_long = false;
        loop {
            if self.reader.buffer().is_empty() {
                flush()?;
            }
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                if self.line.is_empty() && !too_long {
                    return Ok(None);
                }
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or(available);
            if self.line.len() + part.len() > self.longest {
                too_long = true;
                self.line.clear();
            }
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = end.map_or(available.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        Ok(Some(match std::str::from_utf8(&self.line) {
            _ if too_long => Line::TooLong,
            Ok(text) => Line::Text(text),
            Err(_) => Line::NotUtf8(String::from_utf8_lossy(&self.line).into_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_input() {
        let input: &[u8] = b"one\r\n\n0123456789ab\ntw\xFF\nlast";
        let reader: Box<dyn Read> = Box::new(input);
        let reader = BufReader::with_capacity(4, reader);
        let mut lines = Lines { reader, name: "t".into(), number: 0, line: Vec::new(), longest: 10 };
        let mut got = Vec::new();
        while let Some(line) = lines.next(|| Ok(())).unwrap() {
            got.push(match line {
                Line::Text(text) => text.to_string(),
                Line::NotUtf8(text) => format!("not UTF-8: {text}"),
                Line::TooLong => "too long".into(),
            });
        }
        assert_eq!(got, ["one\r", "", "too long", "not UTF-8: tw\u{FFFD}", "last"]);
        assert_eq!(lines.number, 5);
    }
}
