//! Configurations of several files: included ones, variables, alike devices, overlay tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use canvoy::config::{LoadOptions, Loaded, SourceFile, Sources, load};
use canvoy::diagnostic::Diagnostic;
use canvoy::plan::{Direction, Plan};

/// The parts of a case, by the name behind `>>> `.
fn parts(case: &str) -> BTreeMap<&str, String> {
    case.split(">>> ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name, text.into()))
        .collect()
}

/// `p.toml` is the main file, `machine.toml` that of the machine; others go by their extension.
fn sources(parts: &BTreeMap<&str, String>) -> Sources {
    let mut sources = Sources::default();
    for (name, text) in parts {
        let file = SourceFile { name: (*name).into(), bytes: text.clone().into_bytes() };
        match name.rsplit_once('.').unwrap_or_default() {
            ("p", "toml") => sources.config = file,
            ("machine", "toml") => sources.machine = Some(file),
            (_, "toml") => sources.included.push(file),
            (_, "dbc") => sources.dbc.push(file),
            (_, "csv") => sources.overlay.push(file),
            _ => {}
        }
    }
    let environment = parts.get("environment").into_iter().flat_map(|text| text.lines());
    sources.environment =
        environment.filter_map(|line| line.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect();
    for (name, bytes) in [
        ("pump.dbc", &include_bytes!("../fixtures/config/pump.dbc")[..]),
        ("engine.dbc", include_bytes!("../fixtures/config/engine.dbc")),
    ] {
        sources.dbc.push(SourceFile { name: name.into(), bytes: bytes.into() });
    }
    sources
}

fn said(loaded: &Result<Loaded, Vec<Diagnostic>>) -> String {
    let diagnostics = loaded.as_ref().map_or_else(|mistakes| mistakes, |loaded| &loaded.diagnostics);
    let lines = diagnostics.iter().map(|found| found.to_string().lines().next().unwrap_or_default().to_owned());
    lines.map(|line| line + "\n").collect()
}

/// Each message with its identifier, who owns what, and the limits of its signals.
fn messages(plan: &Plan) -> String {
    let mut text = String::new();
    for (index, message) in plan.messages.iter().enumerate() {
        let way = match &message.direction {
            Direction::Input(_) => "in",
            Direction::Output(_) => "out",
        };
        let device =
            message.instance.map(|of| format!(" {} of {}", plan.instances[of].name, plan.instances[of].device));
        let source = message.message.source_address.map(|address| format!(" from {address}"));
        let tags: Vec<String> = message
            .tags
            .clone()
            .map(|tag| {
                let signal = plan.signal(tag);
                let range = signal.range.map(|(min, max)| format!("[{min} {max}]")).unwrap_or_default();
                let writable = if plan.tags[tag].writable { "=w" } else { "" };
                let forcible = if plan.tags[tag].forcible { "=f" } else { "" };
                format!("{}{range}{}{writable}{forcible}", signal.name, signal.unit)
            })
            .collect();
        writeln!(
            text,
            "{} {} {way}{}{}: {}",
            message.message.id,
            plan.message_name(index, None),
            source.unwrap_or_default(),
            device.unwrap_or_default(),
            tags.join(" ")
        )
        .unwrap();
    }
    text
}

/// What overlay tables say.
fn overlays(plan: &Plan) -> String {
    let of_messages = plan.message_overlays.iter().map(|(index, overlay)| {
        (plan.message_name(*index, None), overlay, plan.messages[*index].message.comment.clone())
    });
    let of_tags = plan
        .tag_overlays
        .iter()
        .map(|(tag, overlay)| (plan.tag_name(*tag, None), overlay, plan.signal(*tag).comment.clone()));
    let line = |(name, overlay, comment): (String, &canvoy::plan::Overlay, Option<String>)| {
        let mut text = format!("{name} {:?} {:?} {:?} {comment:?}", overlay.alias, overlay.area, overlay.descriptions);
        if !overlay.aliases.is_empty() || !overlay.words.is_empty() {
            write!(text, " {:?} {:?}", overlay.aliases, overlay.words).unwrap();
        }
        text + "\n"
    };
    of_messages.chain(of_tags).map(line).collect()
}

/// files.txt: `=== what`, the files, then what must be said, and where it is given the messages and the variables.
#[test]
fn several_files_are_one_configuration() {
    let cases = include_str!("../fixtures/config/files.txt");
    let mut differing = String::new();
    for case in cases.split("=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let parts = parts(rest);
        let loaded = load(&sources(&parts), LoadOptions::default());
        let mut got = BTreeMap::from([("said", said(&loaded))]);
        if let Ok(loaded) = &loaded {
            got.insert("messages", messages(&loaded.plan));
            got.insert("overlays", overlays(&loaded.plan));
            let line = |v: &canvoy::config::Variable| format!("{} = {} ({})\n", v.name, v.value, v.origin);
            got.insert("variables", loaded.variables.iter().map(line).collect());
        }
        for part in ["said", "messages", "variables", "overlays"] {
            let Some(expected) = parts.get(part) else { continue };
            let got = got.get(part).map_or("", String::as_str);
            if expected.trim_end() != got.trim_end() {
                write!(differing, "=== {name}\n>>> {part}\n{got}").unwrap();
            }
        }
    }
    assert!(differing.is_empty(), "said otherwise:\n{differing}");
}
