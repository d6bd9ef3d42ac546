//! Reading the configuration's files: the only file access of this module, and the only look at the environment.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::LoadOptions;
use super::assemble::{Missing, assemble};
use super::include;
use super::sources::{MAX_FILES, MAX_INCLUDED, SourceFile, Sources, dbc_name};
use super::variable::ENVIRONMENT;
use crate::diagnostic::{Diagnostic, Severity};

/// Largest configuration file, in bytes.
const MAX_CONFIG: u64 = 1 << 20;
/// All of them together.
const MAX_CONFIGS: u64 = 8 << 20;
/// Largest DBC file, in bytes. The largest known public ones have about 10 MB.
const MAX_DBC: u64 = 64 << 20;
/// Largest overlay table, in bytes.
const MAX_OVERLAY: u64 = 16 << 20;

/// Where a configuration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub config: PathBuf,
    /// In place of the one that the configuration names.
    pub machine: Option<PathBuf>,
}

impl From<PathBuf> for Files {
    fn from(config: PathBuf) -> Files {
        Files { config, machine: None }
    }
}

/// For people.
impl std::fmt::Display for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.config.display())?;
        match &self.machine {
            Some(machine) => write!(f, " for {}", machine.display()),
            None => Ok(()),
        }
    }
}

/// Reads a configuration and all files it names, with the variables of this process's environment.
pub fn read(path: &Path) -> Result<Sources, Vec<Diagnostic>> {
    Files::from(path.to_owned()).read()
}

impl Files {
    /// Reads the configuration and all files it names, with the variables of this process's environment.
    pub fn read(&self) -> Result<Sources, Vec<Diagnostic>> {
        self.read_with(environment())
    }

    /// Reads the configuration and all files it names. `environment`: names and values.
    ///
    /// Where a file can't be read, all mistakes of those that can be are in the answer too.
    pub fn read_with(&self, environment: Vec<(String, String)>) -> Result<Sources, Vec<Diagnostic>> {
        let main = |path: &Path| -> Result<SourceFile, Vec<Diagnostic>> {
            let name = path.display().to_string();
            let bytes = read_file(path, MAX_CONFIG).map_err(|reason| {
                vec![Diagnostic::new(Severity::Error, &name, 0, 0, format!("can't read the file: {reason}"))]
            })?;
            Ok(SourceFile { name, bytes })
        };
        let mut sources = Sources { config: main(&self.config)?, environment, ..Sources::default() };
        let mut missing = Missing::new();
        let named = read_included(&mut sources, &mut missing);
        match (&self.machine, named) {
            (Some(path), _) => sources.machine = Some(main(path)?),
            (None, Some((name, optional))) => match read_file(Path::new(&name), MAX_CONFIG) {
                Ok(bytes) => sources.machine = Some(SourceFile { name, bytes }),
                Err(reason) if optional && reason == GONE => {}
                Err(reason) => {
                    missing.insert(name, reason);
                }
            },
            (None, None) => {}
        }
        for (name, kind) in mentioned(&sources, &missing)? {
            let limit = match kind {
                Kind::Dbc => MAX_DBC,
                Kind::Overlay => MAX_OVERLAY,
            };
            match (read_file(Path::new(&name), limit), kind) {
                (Ok(bytes), Kind::Dbc) => sources.dbc.push(SourceFile { name, bytes }),
                (Ok(bytes), Kind::Overlay) => sources.overlay.push(SourceFile { name, bytes }),
                (Err(reason), _) => {
                    missing.insert(name, reason);
                }
            }
        }
        if missing.is_empty() {
            return Ok(sources);
        }
        // what the files that are there say is reported along
        match super::check(&sources, LoadOptions::default(), &missing, None) {
            Err(mistakes) => Err(mistakes),
            // one that nobody needs in the end
            Ok(_) => Ok(sources),
        }
    }
}

/// The variables that are for us.
fn environment() -> Vec<(String, String)> {
    let all = std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let ours = all.filter(|(name, _)| name.starts_with(ENVIRONMENT));
    let mut found: Vec<(String, String)> =
        ours.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect();
    found.sort();
    found
}

/// All included files, in the order of their first mention; the machine file that they name, and whether it may be absent.
fn read_included(sources: &mut Sources, missing: &mut Missing) -> Option<(String, bool)> {
    let mut machine = None;
    let mut size = sources.config.bytes.len() as u64;
    let mut waiting: VecDeque<(String, Vec<String>)> = VecDeque::new();
    let look = |file: &SourceFile, machine: &mut Option<(String, bool)>| {
        // mistakes are the business of who puts the files together
        let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
        let (table, _) = DeTable::parse_recoverable(text.strip_prefix('\u{feff}').unwrap_or(text));
        let named = table.get_ref().get(include::MACHINE_FILE);
        let named = named.and_then(|named| include::machine_file(&file.name, named.get_ref()).ok());
        *machine = machine.take().or(named.map(|named| (named.name, named.optional)));
        let patterns = include::patterns(table.get_ref()).into_iter().map(str::to_owned).collect();
        (file.name.clone(), patterns)
    };
    waiting.push_back(look(&sources.config, &mut machine));
    while let Some((from, patterns)) = waiting.pop_front() {
        for name in patterns.iter().flat_map(|pattern| present(&from, pattern)) {
            let known = std::iter::once(&sources.config).chain(&sources.included).any(|file| file.name == name);
            if known || missing.contains_key(&name) {
                continue;
            }
            let read = match sources.included.len() {
                MAX_INCLUDED.. => Err(format!("more than {MAX_INCLUDED} files are included")),
                _ => read_file(Path::new(&name), MAX_CONFIG),
            };
            size += read.as_ref().map_or(0, |bytes| bytes.len() as u64);
            match read {
                Ok(_) if size > MAX_CONFIGS => {
                    missing.insert(name, format!("with it the configuration has more than {} MiB", MAX_CONFIGS >> 20));
                }
                Ok(bytes) => {
                    let file = SourceFile { name, bytes };
                    waiting.push_back(look(&file, &mut machine));
                    sources.included.push(file);
                }
                Err(reason) => {
                    missing.insert(name, reason);
                }
            }
        }
    }
    machine
}

/// The names of the files that a pattern stands for on this disk.
fn present(from: &str, pattern: &str) -> Vec<String> {
    let Some(folder) = include::looked_into(from, pattern) else {
        return include::names(from, pattern, std::iter::empty()).unwrap_or_default();
    };
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
    let entries = std::fs::read_dir(here).into_iter().flatten().filter_map(Result::ok);
    // a name that is no text can't be shown, and so not opened by who sees it
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<String> = names.map(|name| folder.join(name).display().to_string()).collect();
    include::names(from, pattern, names.iter().map(String::as_str)).unwrap_or_default()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dbc,
    Overlay,
}

/// Every DBC file and overlay table once, by buses sorted by name. Mistakes of shape are left to the check that follows.
fn mentioned(sources: &Sources, missing: &Missing) -> Result<Vec<(String, Kind)>, Vec<Diagnostic>> {
    let mut assembled = assemble(sources, missing)?;
    let (file, _) = super::assemble::read(&mut assembled);
    let document = &assembled.document;
    let mut seen = BTreeMap::new();
    let mut mentions: Vec<(String, Kind)> = Vec::new();
    let mut mention = |path: &[&str], index: usize, written: &str, kind: Kind| {
        let name = dbc_name(document.file(path, Some(index)), written);
        if mentions.len() < MAX_FILES && seen.insert((name.clone(), kind == Kind::Dbc), ()).is_none() {
            mentions.push((name, kind));
        }
    };
    for (bus, section) in &file.bus {
        for (index, written) in section.dbc.iter().enumerate() {
            mention(&["bus", bus, "dbc"], index, written, Kind::Dbc);
        }
        for (device, section) in &section.device {
            for (index, written) in section.dbc.iter().enumerate() {
                mention(&["bus", bus, "device", device, "dbc"], index, written, Kind::Dbc);
            }
        }
        for (index, written) in section.overlay.iter().enumerate() {
            mention(&["bus", bus, "overlay"], index, written, Kind::Overlay);
        }
    }
    Ok(mentions)
}

/// A file that is not there.
pub const GONE: &str = "no such file";

/// A whole regular file; the reason in words where that can't be had.
fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let explain = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => GONE.to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::InvalidInput => "not a file name".to_owned(),
        _ => error.to_string(),
    };
    // before opening: a named pipe would wait for its other end
    let metadata = std::fs::metadata(path).map_err(explain)?;
    if metadata.is_dir() {
        return Err("it is a directory".into());
    }
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(explain)?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} MiB", limit >> 20));
    }
    Ok(bytes)
}
