//! A DBC file to a [`Database`]: every statement read on its own, every mistake reported with its place.
//!
//! What is unambiguous is used, with a warning where it looks wrong; what would give a wrong value is left out. The
//! grammar is that of `can-dbc`, one statement at a time, so a broken statement costs nothing but itself.

use std::collections::BTreeMap;

use super::assemble;
use super::grammar::{self, Refusal};
use super::item::Item;
use super::model::Database;
use super::repair;
use super::statement::{Keyword, Scanner, flatten, keyword};
use super::text::{Report, decode};
use crate::diagnostic::{Diagnostic, Severity};

/// Reads a DBC file. `file` is its name for messages. `None`, with an error among the diagnostics, where nothing in it
/// is usable; all other mistakes are warnings that say what was left out. Any bytes are fine; time is bounded by the
/// size.
pub fn parse(file: &str, bytes: &[u8]) -> (Option<Database>, Vec<Diagnostic>) {
    let text = match decode(bytes) {
        Ok(text) => text,
        Err(reason) => return (None, vec![Diagnostic::new(Severity::Error, file, 0, 0, reason)]),
    };
    let mut report = Report::new(file, &text);
    let statements = statements(&text, &mut report);
    let database = assemble::database(file, statements.items, &mut report);
    let (damaged, mut diagnostics) = (report.any(), report.finish());
    if statements.known == 0 {
        let message =
            if text.trim().is_empty() { "the file is empty" } else { "not a DBC file: no DBC statement in it" };
        diagnostics.push(Diagnostic::new(Severity::Error, file, 0, 0, message));
        return (None, diagnostics);
    }
    if database.messages.is_empty() && damaged {
        let message = "no usable message in this file";
        diagnostics.push(Diagnostic::new(Severity::Error, file, 0, 0, message));
        return (None, diagnostics);
    }
    (Some(database), diagnostics)
}

struct Statements {
    /// Each with its byte offset; signals behind their message.
    items: Vec<(usize, Item)>,
    /// How many had a keyword, readable or not.
    known: usize,
}

/// What an SG_ line belongs to.
enum Above {
    Nothing,
    Message,
    /// The message was left out, so its signals are too.
    LeftOut,
}

fn statements(text: &str, report: &mut Report) -> Statements {
    let mut scanner = Scanner::new(text);
    let mut found = Statements { items: Vec::new(), known: 0 };
    let mut obsolete: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut above = Above::Nothing;
    let mut at = 0;
    loop {
        at = scanner.skip_blank(at);
        if at >= text.len() {
            break;
        }
        let word = scanner.word(at);
        let Some(keyword) = keyword(word) else {
            let end = scanner.next_start(at);
            let skipped = text.get(at..end).unwrap_or("").trim_end();
            let last = report.line((at + skipped.len()).saturating_sub(1).max(at));
            let lines =
                if last > report.line(at) { format!("; left out up to line {last}") } else { "; left out".into() };
            report.warn(at, format!("not a DBC statement{lines}"));
            at = end;
            continue;
        };
        found.known += 1;
        let (end, outcome) = read(&mut scanner, keyword, at, text, report);
        match outcome {
            Ok(item) => {
                if let Item::Message(_) = item {
                    above = Above::Message;
                }
                match (&item, &above) {
                    (Item::Signal(_), Above::LeftOut) => {}
                    (Item::Signal(line), Above::Nothing) => {
                        report.warn(at, format!("signal {} left out: it stands below no message", line.name));
                    }
                    _ => found.items.push((at, item)),
                }
            }
            Err(refusal) => match keyword {
                Keyword::Unused => {}
                Keyword::Obsolete => obsolete.entry(word).or_insert((at, 0)).1 += 1,
                _ => {
                    if keyword == Keyword::Message {
                        above = Above::LeftOut;
                    }
                    if !matches!((keyword, &above), (Keyword::Signal, Above::LeftOut)) {
                        let what = describe(keyword, word, text.get(at..end).unwrap_or(""));
                        report.warn(at + refusal.at, format!("{what} left out: {}", refusal.reason));
                    }
                }
            },
        }
        at = end;
    }
    for (word, (at, count)) in obsolete {
        let times = if count == 1 { "statement".into() } else { format!("statements ({count})") };
        report.warn(at, format!("{word} {times} left out: obsolete, without meaning for decoding"));
    }
    found
}

/// Reads the statement at `at`; also gives where it ends.
///
/// Where that is depends on what is broken, so the likely ends are tried in turn: the statement's own end, then the
/// next line that looks like a statement (the semicolon is missing), then a semicolon behind that line (it is part of a
/// text in quotes).
fn read(
    scanner: &mut Scanner,
    keyword: Keyword,
    at: usize,
    text: &str,
    report: &mut Report,
) -> (usize, Result<Item, Refusal>) {
    let next = scanner.next_start(at);
    let own = match keyword {
        Keyword::Section => return (next, Ok(Item::Nothing)),
        Keyword::Version | Keyword::Message | Keyword::Signal => Some(scanner.line_end(at, next)),
        Keyword::Nodes => Some(next),
        Keyword::Semicolon | Keyword::Unused | Keyword::Obsolete => scanner.semicolon(at, next),
    };
    let first = own.unwrap_or(next);
    let mut refusal = match attempt(scanner, keyword, at, text.get(at..first).unwrap_or(""), report) {
        Ok(item) => return (first, Ok(item)),
        Err(refusal) => refusal,
    };
    let second = match keyword {
        Keyword::Version | Keyword::Message | Keyword::Signal => Some(next),
        Keyword::Nodes => Some(scanner.line_end(at, next)),
        _ if own.is_none() => scanner.far_semicolon(at),
        _ => None,
    };
    if let Some(second) = second.filter(|second| *second != first && scanner.spend(second - at)) {
        match attempt(scanner, keyword, at, text.get(at..second).unwrap_or(""), report) {
            Ok(item) => return (second, Ok(item)),
            Err(found) if second < first => refusal = found,
            Err(_) => {}
        }
    }
    let end = second.map_or(first, |second| second.min(first));
    refusal.at = refusal.at.min((end - at).saturating_sub(1));
    (end, Err(refusal))
}

fn attempt(
    scanner: &Scanner,
    keyword: Keyword,
    at: usize,
    statement: &str,
    report: &mut Report,
) -> Result<Item, Refusal> {
    let word = scanner.word(at);
    let mut statement = flatten(statement);
    let closes = matches!(keyword, Keyword::Semicolon | Keyword::Unused);
    let unclosed = closes && !statement.trim_end().ends_with(';');
    if unclosed {
        statement.push(';');
    }
    let (item, notes) = match grammar::read(keyword, &statement) {
        Ok(item) => (item, Vec::new()),
        Err(refusal) => match repair::read(word, &statement) {
            Some(repaired) => (repaired.item, repaired.notes),
            None => return Err(refusal),
        },
    };
    if unclosed && keyword == Keyword::Semicolon {
        report.warn(at, format!("the semicolon behind this {word} is missing"));
    }
    let what = describe(keyword, word, &statement);
    notes.iter().for_each(|note| report.warn(at, format!("{what}: {note}")));
    Ok(item)
}

/// What a statement that can't be read was about.
fn describe(keyword: Keyword, word: &str, statement: &str) -> String {
    let words = statement.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    let nth = |n| words.clone().nth(n).unwrap_or("without a name");
    match keyword {
        Keyword::Message => format!("message {} and its signals", nth(2)),
        Keyword::Signal => format!("signal {}", nth(1)),
        _ => format!("{word} statement"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "VERSION \"1\"\nBU_: A B\nBO_ 100 M: 8 A\n SG_ S : 0|8@1+ (1,0) [0|0] \"\" B\n";

    /// `more` behind a message M with a signal S: what must be reported, `LINE:COLUMN: text` each.
    fn check(more: &str, want: &[&str]) -> Database {
        let (database, diagnostics) = parse("t.dbc", format!("{HEAD}{more}").as_bytes());
        let got: Vec<String> = diagnostics.iter().map(|d| format!("{}:{}: {}", d.line, d.column, d.message)).collect();
        assert_eq!(got, want, "{more}");
        database.unwrap()
    }

    #[test]
    fn a_broken_statement_costs_only_itself() {
        let database = check(
            " SG_ T : 8|8@1+ (1,0) [0|0] \"\" B\n SG_ U : 16|8@2+ (1,0) [0|0] \"\" B\nBO_ 101 N: 8 A\n SG_ V : 0|8@1+ (1,0) [0|0] \"\" B\nVAL_ 100 S 1 \"on\" x ;\nVAL_ 100 S 1 \"on\" ;\n",
            &[
                "6:15: signal U left out: expected 0 or 1 instead of \"2+\"",
                "9:19: VAL_ statement left out: \"x\" is not expected here",
            ],
        );
        let signals: Vec<_> = database.messages.iter().map(|m| m.signals.len()).collect();
        assert_eq!(signals, [2, 1]);
        assert_eq!(database.messages[0].signals[0].value_table, [(1, "on".to_string())]);
    }
}
