//! The DBC files named on a command line: their messages, found by name.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::can::FrameId;
use crate::dbc::{self, Message};
use crate::diagnostic::Severity;

/// The messages of all files together.
pub struct Databases {
    pub messages: Vec<Message>,
    by_name: HashMap<String, usize>,
    /// By the long name as the file has it and by the one in the BO_ line; `None` where that names several messages.
    by_file_name: HashMap<String, Option<usize>>,
}

impl Databases {
    /// Reads the files; every mistake in them goes to `report` (with `quiet` only errors). `None` where one of them
    /// holds nothing usable.
    pub fn load(files: &[PathBuf], quiet: bool, report: &mut impl Write) -> anyhow::Result<Option<Databases>> {
        let mut messages: Vec<Message> = Vec::new();
        let mut usable = true;
        let mut seen: HashMap<FrameId, String> = HashMap::new();
        for path in files {
            let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
            let name = path.display().to_string();
            let (database, diagnostics) = dbc::parse(&name, &bytes);
            for diagnostic in &diagnostics {
                if !quiet || diagnostic.severity == Severity::Error {
                    writeln!(report, "{diagnostic}")?;
                }
            }
            let Some(database) = database else {
                usable = false;
                continue;
            };
            for message in database.messages {
                match seen.get(&message.id) {
                    Some(before) if !quiet => {
                        let (id, other) = (message.id, &message.name);
                        writeln!(report, "{name}: warning: {other} left out: {before} has the same identifier {id}")?;
                    }
                    Some(_) => {}
                    None => {
                        seen.insert(message.id, format!("{} of {name}", message.name));
                        messages.push(message);
                    }
                }
            }
        }
        Ok(usable.then(|| Databases::new(messages)))
    }

    pub fn new(messages: Vec<Message>) -> Databases {
        let mut by_name = HashMap::new();
        let mut by_file_name: HashMap<String, Option<usize>> = HashMap::new();
        for (index, message) in messages.iter().enumerate() {
            by_name.entry(message.name.clone()).or_insert(index);
            let mut names = vec![message.file_name(), &message.dbc_name];
            names.dedup();
            for name in names {
                by_file_name.entry(name.into()).and_modify(|found| *found = None).or_insert(Some(index));
            }
        }
        Databases { messages, by_name, by_file_name }
    }

    /// By the name shown, else by one that only this message has in its file.
    pub fn by_name(&self, name: &str) -> Option<&Message> {
        let index = self.by_name.get(name).copied().or_else(|| self.by_file_name.get(name).copied().flatten())?;
        self.messages.get(index)
    }
}
