//! Conditions: `bus.Message.Signal == 1`, `… >= 20.5`, `… == 'On'`.

use super::report::Report;
use super::suggest::{did_you_mean, list};
use super::tag::Tags;
use super::written::OneOrMore;
use crate::dbc::codec::Kind;
use crate::dbc::{self, Raw, Signal};
use crate::diagnostic::Severity;
use crate::plan::{Comparison, Condition, Direction};

/// Longer ones first, so that `<=` is not read as `<`.
const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::AtMost,
    Comparison::AtLeast,
    Comparison::Below,
    Comparison::Above,
];

/// The conditions at a path of the configuration; what is wrong with them is reported.
pub fn conditions(written: &OneOrMore, path: &[&str], tags: &Tags<'_>, report: &mut Report<'_>) -> Vec<Condition> {
    let sent = |condition: &Condition| {
        matches!(tags.plan.messages[tags.plan.tags[condition.tag].message].direction, Direction::Output(_))
    };
    let received = |condition: Condition| match sent(&condition) {
        false => Ok(condition),
        true => Err(format!(
            "{} is sent by this controller; a condition looks at what is received",
            tags.plan.tag_name(condition.tag, None)
        )),
    };
    checked(written, path, tags, report, received)
}

/// The same, where they may look at what is sent too.
pub fn of_all(written: &OneOrMore, path: &[&str], tags: &Tags<'_>, report: &mut Report<'_>) -> Vec<Condition> {
    checked(written, path, tags, report, Ok)
}

fn checked(
    written: &OneOrMore,
    path: &[&str],
    tags: &Tags<'_>,
    report: &mut Report<'_>,
    may: impl Fn(Condition) -> Result<Condition, String>,
) -> Vec<Condition> {
    let mut found = Vec::new();
    for (place, text) in written.0.iter().enumerate() {
        match parse(text, tags, report).and_then(|condition| may(condition).map_err(Some)) {
            Ok(condition) => found.push(condition),
            Err(Some(mistake)) => report.element(Severity::Error, path, Some(place), mistake),
            Err(None) => {}
        }
    }
    found
}

/// One comparison; the mistake in words, or none where it can't be told.
fn parse(text: &str, tags: &Tags<'_>, report: &Report<'_>) -> Result<Condition, Option<String>> {
    let form = "write TAG OPERATOR VALUE, like \"line.PowerStatus.DrivePower == 1\"";
    let Some(at) = text.find(['=', '!', '<', '>']) else {
        return Err(Some(format!("\"{text}\" has no operator; {form}")));
    };
    let (name, rest) = text.split_at(at);
    let Some(comparison) = COMPARISONS.into_iter().find(|comparison| rest.starts_with(comparison.operator())) else {
        let remedy = if rest.starts_with('=') { "to compare write ==" } else { "there are ==, !=, <, <=, > and >=" };
        return Err(Some(format!("\"{text}\": {remedy}")));
    };
    let (name, value) = (name.trim(), rest[comparison.operator().len()..].trim());
    if ["&&", "||", " and ", " or "].iter().any(|word| text.contains(word)) && !value.ends_with('\'') {
        return Err(Some(format!("\"{text}\": one comparison each; write a list of conditions that must all hold")));
    }
    if name.is_empty() || value.is_empty() {
        return Err(Some(format!("\"{text}\" is not complete; {form}")));
    }
    let named = tags.find(name, report)?;
    let message = &tags.plan.messages[tags.plan.tags[named.tag].message];
    let value = operand(name, tags.plan.signal(named.tag), &message.message, comparison, value).map_err(Some)?;
    Ok(Condition { tag: named.tag, source_address: named.source_address, comparison, value })
}

/// The value to compare with, in the signal's unit, as the signal itself can have it.
fn operand(
    name: &str,
    signal: &Signal,
    message: &dbc::Message,
    comparison: Comparison,
    text: &str,
) -> Result<f64, String> {
    let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    if let Some(label) = text.strip_prefix('\'') {
        let label =
            label.strip_suffix('\'').ok_or_else(|| format!("{name}: the quote before {label} is not closed"))?;
        if !equality {
            return Err(format!("{name}: a word of the value table compares only with == and !="));
        }
        return labelled(name, signal, message, label);
    }
    let Some(number) = text.parse().ok().filter(|number: &f64| number.is_finite()) else {
        if signal.value_table.iter().any(|(_, word)| word == text) {
            return Err(format!("{name}: write '{text}' in single quotes"));
        }
        return Err(format!("{name}: \"{text}\" is neither a number nor a word in single quotes"));
    };
    // as the frame says it: 3 × 0.1 is a little more than 0.3
    let nearest = signal.codec.to_raw(number).map(|raw| signal.codec.engineering(raw)).ok();
    let rounding = 4.0 * f64::EPSILON * ((number - signal.codec.offset).abs() + signal.codec.offset.abs());
    let same = nearest.filter(|nearest| (nearest - number).abs() <= rounding);
    if equality && (same.is_none() || !signal.in_range(number)) {
        let near = match nearest {
            Some(nearest) if signal.in_range(nearest) => format!("; the nearest value is {nearest}"),
            _ => String::new(),
        };
        return Err(format!("{name} is never {number}{near}"));
    }
    let number = same.unwrap_or(number);
    // only values in the DBC's range are good, and only good ones are compared
    let (low, high) = signal.codec.engineering_limits();
    let (low, high) = signal.range.map_or((low, high), |(min, max)| (low.max(min), high.min(max)));
    match (comparison.holds(low, number), comparison.holds(high, number)) {
        (true, true) if !equality => Err(format!("{name} is always {} {number}", comparison.operator())),
        (false, false) if !equality => Err(format!("{name} is never {} {number}", comparison.operator())),
        _ => Ok(number),
    }
}

fn labelled(name: &str, signal: &Signal, message: &dbc::Message, label: &str) -> Result<f64, String> {
    let mut keys = signal.value_table.iter().filter(|(_, word)| word == label).map(|(key, _)| *key);
    let Some(key) = keys.next() else {
        if signal.value_table.is_empty() {
            return Err(format!("{name} has no value table in the DBC file; write the number instead of '{label}'"));
        }
        let words = || signal.value_table.iter().map(|(_, word)| word.as_str());
        let hint = did_you_mean(label, words());
        return Err(format!("{name} has no value '{label}'{hint}; it has: {}", list(words())));
    };
    if keys.next().is_some() {
        return Err(format!("{name}: '{label}' stands for several values; write the number"));
    }
    let raw = match signal.codec.kind {
        Kind::F32 => Some(Raw::F32((key as f32).to_bits())),
        Kind::F64 => Some(Raw::F64((key as f64).to_bits())),
        kind @ (Kind::Unsigned | Kind::Signed) => Raw::from_i128(kind, key),
    };
    let raw = raw.filter(|raw| signal.codec.check_raw(*raw).is_ok());
    let raw = raw.ok_or_else(|| format!("{name} can't have the value of '{label}': it has too few bits"))?;
    let value = signal.codec.engineering(raw);
    if signal.not_available(message, raw) {
        return Err(format!("{name}: '{label}' says that there is no value, and only good values are compared"));
    }
    if !signal.in_range(value) {
        return Err(format!("{name}: '{label}' is outside the signal's range, and only good values are compared"));
    }
    Ok(value)
}
