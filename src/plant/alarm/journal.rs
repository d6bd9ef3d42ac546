//! The journal of alarms: what happened, when, and who did it, one JSON document a line, only ever added to. Files of
//! bounded size and number. What comes before a kill in the middle of a line is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::state::{Comment, Shelf, State, What};
use crate::plant::text;

/// Bytes of a file, and how many there are with the one that is being written.
pub const BYTES: u64 = 10 * 1024 * 1024;
pub const FILES: usize = 10;

/// How far the ring of transitions has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The controller, by when it started: CLOCK_REALTIME nanoseconds.
    pub controller: u64,
    /// Sequence of the transition that comes next.
    pub next: u64,
}

/// Lines that are not in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Numbers of the first and the last.
    pub from: u64,
    pub to: u64,
    /// Of the last.
    pub position: Position,
}

impl Gap {
    /// Both as one. `later`: the one that comes after.
    pub fn and(self, later: Gap) -> Gap {
        Gap { from: self.from, ..later }
    }

    /// The same with other numbers.
    pub fn shifted(self, by: u64) -> Gap {
        Gap { from: self.from + by, to: self.to + by, ..self }
    }
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Raised,
    Changed,
    Ended,
    Acknowledged,
    Confirmed,
    Commented,
    Enabled,
    Disabled,
    Shelved,
    Unshelved,
    Suppressed,
    Unsuppressed,
    /// Transitions were overwritten before they were read, or lines could not be written.
    Lost,
}

impl Told {
    pub fn of_state(self) -> Option<What> {
        Some(match self {
            Told::Raised => What::Raised,
            Told::Changed => What::Changed,
            Told::Ended => What::Ended,
            Told::Acknowledged => What::Acknowledged,
            Told::Confirmed => What::Confirmed,
            Told::Commented => What::Commented,
            Told::Enabled => What::Enabled,
            Told::Disabled => What::Disabled,
            Told::Shelved => What::Shelved,
            Told::Unshelved => What::Unshelved,
            Told::Suppressed => What::Suppressed,
            Told::Unsuppressed => What::Unsuppressed,
            Told::Lost => return None,
        })
    }

    fn of(what: What) -> Told {
        match what {
            What::Raised => Told::Raised,
            What::Changed => Told::Changed,
            What::Ended => Told::Ended,
            What::Acknowledged => Told::Acknowledged,
            What::Confirmed => Told::Confirmed,
            What::Commented => Told::Commented,
            What::Enabled => Told::Enabled,
            What::Disabled => Told::Disabled,
            What::Shelved => Told::Shelved,
            What::Unshelved => Told::Unshelved,
            What::Suppressed => Told::Suppressed,
            What::Unsuppressed => Told::Unsuppressed,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// One more than the line before.
    pub number: u64,
    /// RFC 3339, for people; `time` has all digits: CLOCK_REALTIME nanoseconds.
    pub when: String,
    pub time: u64,
    pub what: Told,
    /// The alarm; empty where the line is about none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Empty: the machine, or time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// 0: not active; of a limit its levels.
    #[serde(default)]
    pub level: u8,
    #[serde(default)]
    pub before: u8,
    #[serde(default)]
    pub detail: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    #[serde(default)]
    pub severity: u16,
    #[serde(default)]
    pub enabled: bool,
    #[serde(default)]
    pub acknowledged: bool,
    #[serde(default)]
    pub confirmed: bool,
    #[serde(default)]
    pub suppressed: bool,
    #[serde(default)]
    pub shelf: Shelf,
    /// Found out by comparing, not told by the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inferred: bool,
    /// Transitions that are lost, or lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Number of the first line that is lost; `number` is that of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    pub position: Position,
}

impl Entry {
    pub fn of(number: u64, position: Position, key: &str, what: What, state: &State, time: u64) -> Entry {
        let said = state.comment.time == time && !state.comment.text.is_empty();
        Entry {
            number,
            when: text::time(time),
            time,
            what: Told::of(what),
            key: key.to_owned(),
            text: String::new(),
            who: String::new(),
            comment: said.then(|| state.comment.text.clone()),
            level: state.level,
            before: state.level,
            detail: state.detail,
            value: state.value.filter(|value| value.is_finite()),
            severity: state.severity,
            enabled: state.enabled,
            acknowledged: state.acknowledged,
            confirmed: state.confirmed,
            suppressed: state.suppressed,
            shelf: state.shelf,
            inferred: false,
            lost: None,
            from: None,
            position,
        }
    }

    pub fn lost(number: u64, position: Position, count: u64, time: u64) -> Entry {
        let text = format!("{count} changes of alarms were not read in time and are lost");
        let mut entry = Entry::of(number, position, "", What::Changed, &State::default(), time);
        (entry.what, entry.text, entry.lost) = (Told::Lost, text, Some(count));
        entry
    }

    /// In the place of lines that could not be written.
    pub fn unwritten(gap: Gap, time: u64) -> Entry {
        let Gap { from, to, position } = gap;
        let mut entry = Entry::lost(to, position, to.saturating_sub(from) + 1, time);
        entry.text = format!("lines {from} to {to} could not be written and are lost");
        entry.from = Some(from);
        entry
    }

    /// Whether it tells of a transition that was read when this was the next.
    pub fn was_read_before(&self, position: Position) -> bool {
        self.who.is_empty() && self.position.controller == position.controller && self.position.next <= position.next
    }

    /// Brings a state to what the line tells.
    pub fn restore(&self, state: &mut State, what: What) {
        let raised = state.acknowledged && !self.acknowledged;
        if self.severity != state.severity {
            (state.last_severity, state.severity, state.times.severity) = (state.severity, self.severity, self.time);
        }
        let times = &mut state.times;
        for (changed, time) in [
            (state.enabled != self.enabled, &mut times.enabled),
            ((state.level == 0) != (self.level == 0), &mut times.active),
            (state.acknowledged != self.acknowledged, &mut times.acknowledged),
            (state.confirmed != self.confirmed, &mut times.confirmed),
            (state.suppressed != self.suppressed, &mut times.suppressed),
            (state.shelf != self.shelf, &mut times.shelved),
            (true, &mut times.last),
        ] {
            if changed {
                *time = self.time;
            }
        }
        (state.level, state.detail, state.value) = (self.level, self.detail, self.value);
        (state.enabled, state.acknowledged, state.confirmed) = (self.enabled, self.acknowledged, self.confirmed);
        (state.suppressed, state.shelf) = (self.suppressed, self.shelf);
        if let Some(text) = &self.comment {
            let (text, who) = (text.clone(), self.who.clone());
            state.comment = Comment { text, locale: state.comment.locale.clone(), who, time: self.time };
        }
        if raised {
            state.worst = state.severity;
        } else if !state.acknowledged {
            state.note_severity();
        }
        state.numbered(self.number, what);
    }
}

/// A journal that is being written.
pub struct Journal {
    folder: PathBuf,
    file: File,
    /// Bytes of whole lines in it.
    length: u64,
    /// There may be half a line behind them.
    torn: bool,
    limits: (u64, usize),
}

/// The name of a file of the journal; 0: the newest.
pub fn name(age: usize) -> String {
    if age == 0 { "journal.jsonl".into() } else { format!("journal.{age}.jsonl") }
}

fn path(folder: &Path, age: usize) -> PathBuf {
    folder.join(name(age))
}

impl Journal {
    /// Opens the newest file; half a line at its end goes. `limits`: bytes of a file, number of files.
    pub fn open(folder: &Path, limits: (u64, usize)) -> anyhow::Result<Journal> {
        let (file, length) = open(&path(folder, 0))?;
        Ok(Journal { folder: folder.to_owned(), file, length, torn: false, limits })
    }

    /// Adds lines. Where that fails none of them is there.
    pub fn write(&mut self, entries: &[Entry]) -> std::io::Result<()> {
        self.mend()?;
        if self.length >= self.limits.0 {
            self.rotate()?;
        }
        let mut bytes = Vec::with_capacity(entries.len() * 512);
        for entry in entries {
            serde_json::to_writer(&mut bytes, entry)?;
            bytes.push(b'\n');
        }
        let written = self.file.write_all(&bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(_) => {
                self.torn = true;
                self.mend()?;
            }
        }
        written
    }

    /// Half a line would make the next one unreadable.
    fn mend(&mut self) -> std::io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            self.torn = false;
        }
        Ok(())
    }

    /// To the disk.
    pub fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        // where the new file could not be made last time, the others have their places already
        let ages = if path(&self.folder, 0).exists() { self.limits.1.saturating_sub(1) } else { 0 };
        for age in (0..ages).rev() {
            match fs::rename(path(&self.folder, age), path(&self.folder, age + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = create(&path(&self.folder, 0))?;
        self.length = 0;
        Ok(())
    }
}

fn create(file: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(file)
}

fn open(path: &Path) -> anyhow::Result<(File, u64)> {
    let named = || path.display().to_string();
    let mut file = create(path).with_context(named)?;
    let mut length = 0;
    for line in lines(BufReader::new(&file)) {
        let (line, whole) = line.with_context(named)?;
        if whole {
            length += line.len() as u64;
        }
    }
    file.set_len(length).with_context(named)?;
    file.seek(SeekFrom::Start(length)).with_context(named)?;
    Ok((file, length))
}

/// Each line with its end, and whether it has one.
fn lines(mut reader: impl BufRead) -> impl Iterator<Item = std::io::Result<(Vec<u8>, bool)>> {
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                let whole = line.ends_with(b"\n");
                Some(Ok((line, whole)))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

/// The lines with a number above `after`, oldest first. What is no line of ours is left out.
pub fn read(folder: &Path, after: u64) -> anyhow::Result<Vec<Entry>> {
    let mut files = Vec::new();
    for age in 0.. {
        let path = path(folder, age);
        let file = match File::open(&path) {
            Ok(file) => file,
            // one may be missing where a rotation was interrupted
            Err(error) if error.kind() == ErrorKind::NotFound && age < FILES => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let mut entries = Vec::new();
        let mut reached = false;
        for line in lines(BufReader::new(file)) {
            let (line, _) = line.with_context(|| path.display().to_string())?;
            let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
            if entry.number > after { entries.push(entry) } else { reached = true }
        }
        files.push(entries);
        if reached {
            break;
        }
    }
    let mut entries: Vec<Entry> = files.into_iter().rev().flatten().collect();
    // a backup that was made during a rotation has a file twice
    let mut last = after;
    entries.retain(|entry| {
        let new = entry.number > last;
        last = last.max(entry.number);
        new
    });
    Ok(entries)
}

/// Number of the last line; 0: there is none.
pub fn last(folder: &Path) -> anyhow::Result<u64> {
    let mut last = 0;
    for age in (0..FILES).map(|age| path(folder, age)) {
        let file = match File::open(&age) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| age.display().to_string()),
        };
        for line in lines(BufReader::new(file)) {
            let (line, _) = line.with_context(|| age.display().to_string())?;
            last = serde_json::from_slice::<Entry>(&line).map_or(last, |entry| last.max(entry.number));
        }
        if last > 0 {
            break;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests;
