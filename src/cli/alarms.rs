//! `canvoy alarms`: what is wrong and what people have done about it, and the journal, from the files of the plant side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::{cert, print};
use crate::plant::alarm::journal::{self, Entry};
use crate::plant::alarm::kept::{self, Kept};
use crate::plant::alarm::{FOLDER, State};
use crate::plant::text;
use crate::service::exit::{Failure, UNAVAILABLE};

/// Show alarms with what people have done about them: acknowledged, confirmed, shelved; or their journal
///
/// Shown are those that are active or wait for somebody, consequences below what they follow from. Acknowledged, shelved and so
/// on is by OPC UA. Exit code: 0 when there is none, 1 when there is, 69 when there are no files of the plant side.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  canvoy alarms\n  canvoy alarms --all\n  canvoy alarms --journal | tail -20\n  canvoy alarms --journal --json | jq 'select(.who)'"
)]
pub struct Args {
    /// As JSON; of the journal one document a line
    #[arg(long)]
    json: bool,
    /// What happened, oldest first
    #[arg(long)]
    journal: bool,
    /// Those that are over and done too
    #[arg(long)]
    all: bool,
    /// Folder of the plant side [default: as for `canvoy cert`]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// One alarm, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    key: &'a str,
    text: &'a str,
    /// The alarm that it follows from.
    because: Option<&'a str>,
    active: bool,
    retain: bool,
    /// RFC 3339; `null`: never.
    since: Option<String>,
    state: &'a State,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = cert::of_plant(args.state.clone(), FOLDER).map_err(|tried| {
        let message = format!(
            "no alarms in {tried}: the plant side keeps them; say its folder with --state, or run this as root"
        );
        Failure::new(UNAVAILABLE, message)
    })?;
    if args.journal {
        return write_journal(&folder, args.json);
    }
    let kept = kept::read(&folder)?.alarms;
    let wanted = |kept: &Kept| kept.state.retain() || args.all && kept.state.number != 0;
    let shown = in_order(&kept).into_iter().filter(|(_, kept)| wanted(kept));
    let shown: Vec<(&str, &Kept)> = shown.collect();
    let text = if args.json { json(&shown)? } else { people(&shown) };
    print(&text)?;
    Ok(ExitCode::from(u8::from(shown.iter().any(|(_, kept)| kept.state.retain()))))
}

/// The worst first, each followed by its consequences.
fn in_order(kept: &BTreeMap<String, Kept>) -> Vec<(&str, &Kept)> {
    let mut all: Vec<(&str, &Kept)> = kept.iter().map(|(key, kept)| (key.as_str(), kept)).collect();
    let rank = |key: &str, kept: &Kept| (!kept.state.is_active(), u16::MAX - kept.state.severity, key.to_owned());
    all.sort_by_cached_key(|(key, of)| {
        let cause = of.because.as_deref().and_then(|cause| Some((cause, kept.get(cause)?)));
        let first = cause.map_or_else(|| rank(key, of), |(cause, of)| rank(cause, of));
        (first, cause.is_some(), rank(key, of))
    });
    all
}

fn json(shown: &[(&str, &Kept)]) -> anyhow::Result<String> {
    let all: Vec<Shown<'_>> = shown
        .iter()
        .map(|(key, kept)| Shown {
            key,
            text: &kept.text,
            because: kept.because.as_deref(),
            active: kept.state.is_active(),
            retain: kept.state.retain(),
            since: text::known_time(kept.state.times.active),
            state: &kept.state,
        })
        .collect();
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

fn people(shown: &[(&str, &Kept)]) -> String {
    if shown.is_empty() {
        return "no alarm\n".into();
    }
    let line = |(key, kept): &(&str, &Kept)| {
        let since = text::known_time(kept.state.times.active);
        let since = since.as_deref().unwrap_or(text::UNKNOWN_TIME);
        let below = if kept.because.is_some() { "  ↳ " } else { "" };
        let text = if kept.text.is_empty() { key } else { kept.text.as_str() };
        let handled = kept.state.handled();
        printable(&format!("{since}  {:>4}  {below}{text} · {handled}", kept.state.severity))
    };
    shown.iter().map(line).collect()
}

fn write_journal(folder: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    for entry in journal::read(folder, 0)? {
        text += &if json { serde_json::to_string(&entry)? + "\n" } else { line(&entry) };
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A line of the journal for people.
fn line(entry: &Entry) -> String {
    let what = entry.what.of_state().map_or("lost", |what| what.text());
    let mut line = format!("{}  {what:<14} {}", entry.when, entry.text);
    for (word, more) in [(" · by ", Some(&entry.who)), (" · ", entry.comment.as_ref())] {
        if let Some(more) = more.filter(|more| !more.is_empty()) {
            line += word;
            line += more;
        }
    }
    printable(&line)
}

/// What people wrote must not move the cursor of a terminal.
fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect::<String>() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::alarm::{Shelf, state::Comment};

    #[test]
    fn consequences_are_below_their_cause_and_nothing_moves_the_cursor() {
        let of = |severity, because: Option<&str>, text: &str| Kept {
            text: text.into(),
            because: because.map(Into::into),
            state: State { level: 1, severity, number: 1, suppressed: because.is_some(), ..State::default() },
            ..Kept::default()
        };
        let mut bus_off = of(900, None, "line: bus off");
        bus_off.state.acknowledged = false;
        bus_off.state.shelf = Shelf::OneShot(9);
        bus_off.state.comment = Comment { text: "look \u{1b}[2J".into(), who: "anna".into(), ..Comment::default() };
        let kept: BTreeMap<String, Kept> = [
            ("a".to_owned(), of(300, None, "machine: values are forced")),
            ("late:line.X".to_owned(), of(650, Some("bus_off:line"), "line.X: late")),
            ("late:line.Y".to_owned(), of(650, None, "line.Y: late")),
            ("bus_off:line".to_owned(), bus_off),
        ]
        .into();
        let text = people(&in_order(&kept));
        let order: Vec<&str> = text.lines().map(|line| line.rsplit("  ").next().unwrap()).collect();
        assert_eq!(
            order,
            [
                "line: bus off · unacknowledged · shelved until it is over · anna: look \u{FFFD}[2J",
                "↳ line.X: late · acknowledged",
                "line.Y: late · acknowledged",
                "machine: values are forced · acknowledged",
            ],
            "{text}"
        );
        assert_eq!(people(&[]), "no alarm\n");
    }
}
