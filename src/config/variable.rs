//! Variables: what `"${name}"` stands for, and where that comes from. The environment is stronger than the machine file, and that
//! than the configuration.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Document, Note};
use super::report::MOST;
use super::suggest::did_you_mean;
use crate::diagnostic::{Diagnostic, Severity};

/// The section that has them.
pub const SECTION: &str = "variables";
/// Behind it the name in capitals.
pub const ENVIRONMENT: &str = "CANVOY_VAR_";
/// The name that stands for each of several alike devices, inside of their sections.
pub const INSTANCE: &str = "instance";
/// Most variables.
const MAX_VARIABLES: usize = 1000;
/// Bytes that all references together may become: what is written in one place must not fill the memory.
const MAX_REPLACED: usize = 16 << 20;
/// Letters of a value that are shown.
const SHOWN: usize = 60;

/// A variable in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// As TOML writes it, shortened.
    pub value: String,
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// File, line and column.
    Configuration(String),
    /// File, line and column.
    MachineFile(String),
    /// The name in the environment.
    Environment(String),
}

/// For people.
impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Configuration(place) => f.write_str(place),
            Origin::MachineFile(place) => write!(f, "machine file {place}"),
            Origin::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// The values while they are gathered.
pub struct Values<'a, 'd> {
    document: &'d Document<'a>,
    found: Vec<Diagnostic>,
    values: BTreeMap<String, Value<'a>>,
}

struct Value<'a> {
    value: DeValue<'a>,
    /// Its key; none where it comes from the environment.
    key: Option<Range<usize>>,
    origin: Origin,
}

impl<'a, 'd> Values<'a, 'd> {
    pub fn new(document: &'d Document<'a>) -> Values<'a, 'd> {
        Values { document, found: Vec::new(), values: BTreeMap::new() }
    }

    /// The section of the configuration's own files.
    pub fn defaults(&mut self, section: Option<Spanned<DeValue<'a>>>) {
        self.section(section, Origin::Configuration);
    }

    /// The section of the machine file.
    pub fn machine(&mut self, section: Option<Spanned<DeValue<'a>>>) {
        self.section(section, Origin::MachineFile);
    }

    fn error(&mut self, place: Range<usize>, message: impl Into<String>) {
        if self.found.len() >= MOST {
            return;
        }
        self.found.push(self.document.at(Severity::Error, Some(place), message));
    }

    fn section(&mut self, section: Option<Spanned<DeValue<'a>>>, origin: fn(String) -> Origin) {
        let Some(section) = section else { return };
        let span = section.span();
        let DeValue::Table(table) = section.into_inner() else {
            self.error(span, "variables takes a section, [variables], with name = value");
            return;
        };
        for (key, mut value) in table {
            let name = key.get_ref().to_string();
            if !is_name(&name) {
                let message = format!(
                    "variable name \"{name}\": a small letter, then small letters, digits and _, so that the environment can have it too"
                );
                self.error(key.span(), message);
                continue;
            }
            if name == INSTANCE {
                let message =
                    "\"instance\" can't be a variable: inside of [bus.BUS.device.TYPE] it is the name of the device";
                self.error(key.span(), message);
                continue;
            }
            if let Err(mistake) = check(value.get_mut()) {
                self.error(value.span(), format!("{name} {mistake}"));
                continue;
            }
            if self.values.len() >= MAX_VARIABLES && !self.values.contains_key(&name) {
                self.error(key.span(), format!("more than {MAX_VARIABLES} variables"));
                return;
            }
            let origin = origin(self.document.place(&key.span()));
            let value = Value { value: value.into_inner(), key: Some(key.span()), origin };
            self.values.insert(name, value);
        }
    }

    /// Name and value of what begins with [`ENVIRONMENT`].
    pub fn environment(&mut self, environment: &'a [(String, String)]) {
        for (variable, text) in environment {
            let about = |severity, message: String| Diagnostic::new(severity, variable, 0, 0, message);
            let name = variable.strip_prefix(ENVIRONMENT).unwrap_or(variable);
            let lower = name.to_lowercase();
            let exact = is_name(&lower) && lower.to_uppercase() == name;
            let Some(before) = self.values.get_mut(&lower).filter(|_| exact) else {
                let variable = |name: &str| format!("{ENVIRONMENT}{}", name.to_uppercase());
                let names: Vec<String> = self.values.keys().map(|name| variable(name)).collect();
                let known = did_you_mean(&variable(name), names.iter().map(String::as_str));
                let message =
                    format!("this variable of the environment does nothing: no [variables] has \"{lower}\"{known}");
                self.found.push(about(Severity::Warning, message));
                continue;
            };
            match typed(text, &before.value) {
                Ok(value) => {
                    let origin = Origin::Environment(variable.clone());
                    *before = Value { value, key: before.key.clone(), origin };
                }
                Err(kind) => {
                    let message = format!("{text:?} is no {kind}, which {lower} is at {}", before.origin);
                    self.found.push(about(Severity::Error, message));
                }
            }
        }
    }

    /// All are there.
    pub fn done(self) -> Found<'a> {
        Found { values: self.values, found: self.found }
    }
}

/// The values in force, and what is wrong with them.
pub struct Found<'a> {
    values: BTreeMap<String, Value<'a>>,
    pub found: Vec<Diagnostic>,
}

impl<'a> Found<'a> {
    /// Puts them in place of all references in the document.
    pub fn replace(mut self, document: &mut Document<'a>) -> (Vec<Variable>, Vec<Diagnostic>) {
        let mut root = std::mem::take(&mut document.root);
        let mut places = Places {
            values: &self.values,
            used: BTreeSet::new(),
            notes: Vec::new(),
            wrong: Vec::new(),
            device: false,
            size: 0,
        };
        places.table(&mut root);
        let Places { used, notes, wrong, .. } = places;
        document.root = root;
        for (place, message) in wrong {
            self.found.push(document.at(Severity::Error, Some(place.clone()), message));
            document.wrong.push(place);
        }
        for (name, value) in self.values.iter().filter(|(name, _)| !used.contains(name.as_str())).take(MOST) {
            let message = format!("variable \"{name}\" is used nowhere; a reference is \"${{{name}}}\"");
            self.found.push(document.at(Severity::Warning, value.key.clone(), message));
        }
        document.notes = notes;
        let variables = self.values.iter().map(|(name, value)| value.variable(name)).collect();
        (variables, self.found)
    }
}

impl Value<'_> {
    fn variable(&self, name: &str) -> Variable {
        Variable { name: name.to_owned(), value: shown(&self.value), origin: self.origin.clone() }
    }
}

/// The references while they are replaced.
struct Places<'v, 'a> {
    values: &'v BTreeMap<String, Value<'a>>,
    used: BTreeSet<&'v str>,
    notes: Vec<Note>,
    wrong: Vec<(Range<usize>, String)>,
    /// Inside of `device`: the device's name is put in later.
    device: bool,
    /// Bytes put in so far.
    size: usize,
}

impl<'a> Places<'_, 'a> {
    fn table(&mut self, table: &mut DeTable<'a>) {
        for (key, value) in table.iter_mut() {
            let around = self.device;
            self.device |= key.get_ref() == "device";
            self.value(value);
            self.device = around;
        }
    }

    /// Depth is bounded by the parser.
    fn value(&mut self, value: &mut Spanned<DeValue<'a>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(list) => list.iter_mut().for_each(|element| self.value(element)),
            DeValue::String(text) if text.contains("${") => match self.text(text, &span) {
                Ok(new) => *value.get_mut() = new,
                Err(mistake) if self.wrong.len() < MOST => self.wrong.push((span, mistake)),
                Err(_) => {}
            },
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn text(&mut self, text: &str, place: &Range<usize>) -> Result<DeValue<'a>, String> {
        let parts = split(text)?;
        if self.device && parts == [Part::Reference(INSTANCE)] {
            return Ok(DeValue::String(Cow::Owned(format!("${{{INSTANCE}}}"))));
        }
        if let [Part::Reference(name)] = parts[..] {
            let value = self.named(name, place)?;
            return Ok(placed(value, place));
        }
        let mut whole = String::new();
        for part in parts {
            match part {
                Part::Text(text) => whole.push_str(text),
                Part::Reference(INSTANCE) if self.device => whole.push_str(&format!("${{{INSTANCE}}}")),
                Part::Reference(name) => match self.named(name, place)? {
                    DeValue::String(text) => whole.push_str(text),
                    DeValue::Array(_) => {
                        return Err(format!(
                            "{name} is a list, which can't be a part of a text; write \"${{{name}}}\" alone"
                        ));
                    }
                    other => whole.push_str(&shown(other)),
                },
            }
        }
        Ok(DeValue::String(Cow::Owned(whole)))
    }

    fn named(&mut self, name: &str, place: &Range<usize>) -> Result<&'_ DeValue<'a>, String> {
        let Some((name, value)) = self.values.get_key_value(name) else {
            let known = did_you_mean(name, self.values.keys().map(String::as_str));
            return Err(format!(
                "no variable \"{name}\"{known}; add it to [variables] here or in the machine file. For the text itself write $${{{name}}}"
            ));
        };
        self.used.insert(name);
        self.size = self.size.saturating_add(size(&value.value));
        if self.size > MAX_REPLACED {
            return Err(format!(
                "with this one the values of variables are put in for more than {} MiB",
                MAX_REPLACED >> 20
            ));
        }
        let words = format!("${{{name}}} is {}, from {}", shown(&value.value), value.origin);
        let note = Note { place: place.clone(), words };
        if self.notes.last() != Some(&note) {
            self.notes.push(note);
        }
        Ok(&value.value)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    Reference(&'t str),
}

/// Text and references; `$${` is the text `${`.
fn split(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            parts.extend([Part::Text(before), Part::Text("${")]);
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("\"{text}\": a reference has no }}; for the text itself write $${{"));
        };
        if !is_name(name) {
            return Err(format!("\"{name}\" is no variable name: a small letter, then small letters, digits and _"));
        }
        parts.extend([Part::Text(before), Part::Reference(name)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// Whether a variable can have the value; turns `$${` into `${`.
fn check(value: &mut DeValue<'_>) -> Result<(), &'static str> {
    match value {
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => Ok(()),
        DeValue::String(text) => match split(text) {
            Ok(parts) if parts.iter().all(|part| matches!(part, Part::Text(_))) => {
                let literal = |part: &Part<'_>| match part {
                    Part::Text(text) | Part::Reference(text) => (*text).to_owned(),
                };
                *text = Cow::Owned(parts.iter().map(literal).collect());
                Ok(())
            }
            Ok(_) | Err(_) => Err("can't refer to another variable; for the text itself write $${"),
        },
        DeValue::Array(list) => list.iter_mut().try_for_each(|element| match element.get_mut() {
            DeValue::Array(_) => Err("takes a text, a number, true or false, or a list of these"),
            element => check(element),
        }),
        DeValue::Datetime(_) | DeValue::Table(_) => Err("takes a text, a number, true or false, or a list of these"),
    }
}

/// A text of the environment as the type that the variable has; what it is not, else.
fn typed<'a>(text: &'a str, like: &DeValue<'_>) -> Result<DeValue<'a>, &'static str> {
    let kind = match like {
        DeValue::String(_) => return Ok(DeValue::String(Cow::Borrowed(text))),
        DeValue::Integer(_) | DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Array(_) | DeValue::Datetime(_) | DeValue::Table(_) => "list, like [\"a\", \"b\"]",
    };
    let mut value = DeValue::parse(text.trim()).map_err(|_| kind)?.into_inner();
    let number = |value: &DeValue<'_>| matches!(value, DeValue::Integer(_) | DeValue::Float(_));
    let fits = (number(&value) && number(like))
        || std::mem::discriminant::<DeValue<'_>>(&value) == std::mem::discriminant::<DeValue<'_>>(like);
    if fits && check(&mut value).is_ok() { Ok(value) } else { Err(kind) }
}

/// A copy whose place, and that of its elements, is the reference's.
fn placed<'a>(value: &DeValue<'a>, place: &Range<usize>) -> DeValue<'a> {
    match value {
        DeValue::Array(list) => DeValue::Array(
            list.iter().map(|element| Spanned::new(place.clone(), placed(element.get_ref(), place))).collect(),
        ),
        other => other.clone(),
    }
}

/// About how many bytes a copy takes.
fn size(value: &DeValue<'_>) -> usize {
    const VALUE: usize = 64;
    match value {
        DeValue::String(text) => VALUE + text.len(),
        DeValue::Array(list) => list.iter().map(|element| size(element.get_ref())).sum(),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            VALUE
        }
    }
}

/// As TOML writes it, shortened.
fn shown(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(list) => {
            let elements: Vec<String> = list.iter().map(|element| shown(element.get_ref())).collect();
            format!("[{}]", elements.join(", "))
        }
        DeValue::Table(_) => "a section".to_owned(),
    };
    if text.chars().count() > SHOWN { text.chars().take(SHOWN - 1).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_texts() {
        use Part::{Reference, Text};
        for (text, expected) in [
            ("${a}", Some(vec![Reference("a")])),
            ("x${a_1}y${b}", Some(vec![Text("x"), Reference("a_1"), Text("y"), Reference("b")])),
            ("$${a}", Some(vec![Text("${"), Text("a}")])),
            ("$$${a}", Some(vec![Text("$"), Text("${"), Text("a}")])),
            ("$a {b} $", Some(vec![Text("$a {b} $")])),
            ("${", None),
            ("${a", None),
            ("${}", None),
            ("${A}", None),
            ("${1}", None),
            ("${a b}", None),
        ] {
            assert_eq!(split(text).ok(), expected, "{text}");
        }
    }
}
