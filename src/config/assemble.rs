//! The configuration's files as one document: the main file, what it includes, the machine file, variables in place of
//! their references, keys of device types in place of those of each device.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::include;
use super::report::MOST;
use super::sources::{SourceFile, Sources};
use super::variable::{self, Variable};
use super::{device, disk, written};
use crate::diagnostic::{Diagnostic, Severity};
use crate::plant;

/// Includes inside of includes.
const MAX_DEPTH: usize = 8;

/// Files that are named and could not be read, with the reason.
pub type Missing = BTreeMap<String, String>;

/// Everything that the texts say.
pub struct Assembled<'a> {
    pub document: Document<'a>,
    /// Sorted by name.
    pub variables: Vec<Variable>,
    /// Mistakes and warnings so far.
    pub found: Vec<Diagnostic>,
}

/// `missing`: none where all files were handed over. An error: texts that are no TOML, of which nothing more can be said.
pub fn assemble<'a>(sources: &'a Sources, missing: &Missing) -> Result<Assembled<'a>, Vec<Diagnostic>> {
    let mut parts = Parts {
        sources,
        missing,
        document: Document::default(),
        root: DeTable::new(),
        seen: BTreeSet::new(),
        way: Vec::new(),
        found: Vec::new(),
        broken: Vec::new(),
    };
    parts.add(&sources.config);
    let machine_file = parts.root.remove(include::MACHINE_FILE);
    let defaults = parts.root.remove(variable::SECTION);
    let machine = parts.machine(machine_file);
    let Parts { mut document, root, mut found, broken, .. } = parts;
    if !broken.is_empty() {
        return Err(broken);
    }
    document.root = root;
    let mut values = variable::Values::new(&document);
    values.defaults(defaults);
    values.machine(machine);
    values.environment(&sources.environment);
    let (variables, more) = values.done().replace(&mut document);
    found.extend(more);
    for place in device::expand(&mut document) {
        let message = format!("this is too much for so many devices: more than {} values", device::MAX_VALUES);
        found.push(document.at(Severity::Error, Some(place), message));
    }
    Ok(Assembled { document, variables, found })
}

/// The files while they are put together.
struct Parts<'a, 'm> {
    sources: &'a Sources,
    missing: &'m Missing,
    document: Document<'a>,
    root: DeTable<'a>,
    /// Files that are in already.
    seen: BTreeSet<&'a str>,
    /// The files that include each other, down to the one in hand.
    way: Vec<&'a str>,
    found: Vec<Diagnostic>,
    /// What is no TOML.
    broken: Vec<Diagnostic>,
}

impl<'a> Parts<'a, '_> {
    fn add(&mut self, file: &'a SourceFile) {
        self.seen.insert(&file.name);
        self.way.push(&file.name);
        match self.document.add(&file.name, &file.bytes) {
            Ok(mut table) => {
                let included = table.remove(include::KEY);
                let mut root = std::mem::take(&mut self.root);
                self.merge(&mut root, table);
                self.root = root;
                self.include(file, included);
            }
            Err(mistakes) => self.broken.extend(mistakes),
        }
        self.way.pop();
    }

    fn error(&mut self, severity: Severity, place: &Spanned<DeValue<'_>>, message: impl Into<String>) {
        self.add_mistake(severity, place.span(), message);
    }

    fn add_mistake(&mut self, severity: Severity, place: Range<usize>, message: impl Into<String>) {
        if self.found.len() < MOST {
            self.found.push(self.document.at(severity, Some(place), message));
        }
    }

    fn include(&mut self, file: &'a SourceFile, written: Option<Spanned<DeValue<'a>>>) {
        let Some(written) = written else { return };
        let Some(list) = written.get_ref().as_array() else {
            self.error(Severity::Error, &written, format!("{} takes {}", include::KEY, include::TAKES));
            return;
        };
        for element in list {
            let Some(pattern) = element.get_ref().as_str() else {
                self.error(Severity::Error, element, format!("{} takes {}", include::KEY, include::TAKES));
                continue;
            };
            let sources = self.sources;
            let known = std::iter::once(&sources.config).chain(&sources.included).map(|file| file.name.as_str());
            // a pattern stands for what is there, readable or not
            let unreadable = self.missing.iter().filter(|(_, reason)| *reason != disk::GONE);
            let known = known.chain(unreadable.map(|(name, _)| name.as_str()));
            let names = match include::names(&file.name, pattern, known) {
                Ok(names) => names,
                Err(mistake) => {
                    self.error(Severity::Error, element, mistake);
                    continue;
                }
            };
            if names.is_empty() {
                let message = format!("\"{pattern}\" matches no file: nothing is included");
                self.error(Severity::Warning, element, message);
            }
            for name in names {
                self.include_one(&name, pattern, element);
            }
        }
    }

    fn include_one(&mut self, name: &str, pattern: &str, element: &Spanned<DeValue<'a>>) {
        if let Some(start) = self.way.iter().position(|on_the_way| *on_the_way == name) {
            let circle = [&self.way[start..], &[name]].concat().join(" → ");
            self.error(Severity::Error, element, format!("files include each other in a circle: {circle}"));
            return;
        }
        // two ways to one file: its content is there
        if self.seen.contains(name) {
            return;
        }
        if let Some(reason) = self.missing.get(name) {
            let named = if include::is_pattern(pattern) { name } else { pattern };
            self.error(Severity::Error, element, format!("can't read \"{named}\": {reason}"));
            return;
        }
        let sources = self.sources;
        let Some(file) = sources.included.iter().find(|file| file.name == name) else {
            self.error(Severity::Error, element, format!("\"{pattern}\" is not among the files handed over"));
            return;
        };
        if self.way.len() > MAX_DEPTH {
            let message = format!("files include each other more than {MAX_DEPTH} deep");
            self.error(Severity::Error, element, message);
            return;
        }
        self.add(file);
    }

    /// Tables become one; any other key is there once.
    fn merge(&mut self, into: &mut DeTable<'a>, from: DeTable<'a>) {
        for (key, mut value) in from {
            let Some(there) = into.get_key_value(key.get_ref().as_ref()).map(|(there, _)| there.span()) else {
                into.insert(key, value);
                continue;
            };
            let both = (into.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_mut());
            if let (Some(DeValue::Table(inner)), DeValue::Table(more)) = both {
                let more = std::mem::take(more);
                self.merge(inner, more);
            } else {
                let message = format!("\"{}\" is already given at {}", key.get_ref(), self.document.place(&there));
                self.add_mistake(Severity::Error, key.span(), message);
            }
        }
    }

    /// The variables of the machine file.
    fn machine(&mut self, named: Option<Spanned<DeValue<'a>>>) -> Option<Spanned<DeValue<'a>>> {
        let sources = self.sources;
        let Some(file) = &sources.machine else {
            self.no_machine(named);
            return None;
        };
        let mut table = match self.document.add(&file.name, &file.bytes) {
            Ok(table) => table,
            Err(mistakes) => {
                self.broken.extend(mistakes);
                return None;
            }
        };
        let variables = table.remove(variable::SECTION);
        for (key, _) in table {
            let message = format!(
                "\"{}\" in a machine file, which has only [variables]: give the value a name there, and write \"${{NAME}}\" in the configuration",
                key.get_ref()
            );
            self.add_mistake(Severity::Error, key.span(), message);
        }
        variables
    }

    /// There is none: right only where none is named, or it may be absent.
    fn no_machine(&mut self, named: Option<Spanned<DeValue<'a>>>) {
        let Some(named) = named else { return };
        let place = self.document.file_of(&named.span());
        match include::machine_file(place, named.get_ref()) {
            Err(mistake) => self.error(Severity::Error, &named, mistake),
            Ok(file) => match self.missing.get(&file.name) {
                Some(reason) => {
                    let message = format!(
                        "can't read the machine file \"{}\": {reason}; where there may be none write machine_file = {{ path = \"{}\", optional = true }}",
                        file.written, file.written
                    );
                    self.error(Severity::Error, &named, message);
                }
                None if file.optional => {}
                None => {
                    let message = format!("\"{}\" is not among the files handed over", file.written);
                    self.error(Severity::Error, &named, message);
                }
            },
        }
    }
}

/// Reads the document into the structs of a configuration.
pub fn read(assembled: &mut Assembled<'_>) -> (written::File, Vec<super::document::Dropped>) {
    let limits = plant::opcua::limits::KEYS.iter().map(|key| (format!("opcua.{}", key.name), key.takes()));
    let limits: Vec<(String, String)> = limits.collect();
    let mut takes = super::takes::TAKES.to_vec();
    takes.extend(limits.iter().map(|(name, takes)| (name.as_str(), takes.as_str())));
    assembled.document.read(&takes, &mut assembled.found)
}
