//! The invariants of src/lib.rs, held by reading the sources: who may use whom, and what may not be named where.

use std::path::Path;

/// The machine's side: no async runtime, no configuration text. `controller`'s main thread may log, what it drives may not.
const REAL_TIME: &[&str] = &[
    "can",
    "quality",
    "tag",
    "dbc",
    "protection",
    "plan",
    "bus",
    "store",
    "sample",
    "command",
    "control",
    "sim",
    "rt",
    "stats",
];
/// Where `unsafe` is allowed, and each use has its SAFETY line.
const UNSAFE: &[&str] = &["bus/socketcan", "command/socket", "dbc/decoder/vector", "rt", "store"];
/// A file splits at about this many lines without its tests.
const LINES: usize = 500;
/// Files over it that have a reason to be.
const LONG: &[&str] = &[];

/// A source file: its path below src/ and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module of the crate it belongs to; empty for lib.rs and main.rs.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or("");
        if first == "lib.rs" || first == "main.rs" { "" } else { first.trim_end_matches(".rs") }
    }

    /// Line numbers and lines without comments and without what is only there for tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let (mut marked, mut inside) = (false, false);
        let lines = self.text.lines().enumerate().filter(move |(_, line)| {
            // `#[cfg(test)]`, then either one line that ends with ; or a block up to the } in the first column
            let skip = marked || inside || line.starts_with("#[cfg(test)]");
            inside = (inside || (marked && line.ends_with('{'))) && !line.starts_with('}');
            marked = line.starts_with("#[cfg(test)]") || (marked && line.starts_with("#["));
            !skip
        });
        lines.map(|(number, line)| {
            let comment = line.match_indices("//").find(|(at, _)| *at == 0 || line[..*at].ends_with(' '));
            (number + 1, comment.map_or(line, |(at, _)| &line[..at]))
        })
    }

    fn is_under(&self, folders: &[&str]) -> bool {
        let path = self.path.trim_end_matches(".rs");
        folders.iter().any(|folder| path == *folder || path.starts_with(&format!("{folder}/")))
    }

    /// Every line of code for which `finds` says what is wrong with it.
    fn findings(&self, finds: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let found = self.code().filter_map(|(number, line)| Some((number, finds(line)?)));
        found.map(|(number, what)| format!("src/{}:{number}: {what}", self.path)).collect()
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, root: &Path, into: &mut Vec<Source>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("assets"))
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, root, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                into.push(Source { path: name, text: std::fs::read_to_string(&path).unwrap() });
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    walk(&root, &root, &mut all);
    // Files that only a `#[cfg(test)] mod name;` brings in.
    let tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    all.retain(|source| {
        !tests.iter().any(|path| source.path == format!("{path}.rs") || source.path.starts_with(&format!("{path}/")))
    });
    all
}

/// The files, without `.rs`, that a file brings in for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.strip_suffix("/mod.rs").or_else(|| source.path.strip_suffix("lib.rs")) {
        Some(folder) => folder.to_string(),
        None => source.path.trim_end_matches(".rs").to_string(),
    };
    let pairs = source.text.lines().zip(source.text.lines().skip(1));
    let names = pairs
        .filter(|(mark, _)| *mark == "#[cfg(test)]")
        .filter_map(|(_, line)| line.split_once("mod ")?.1.strip_suffix(';'));
    names.map(|name| format!("{folder}/{name}")).collect()
}

/// The modules of the crate that a file names by `crate::`, one a line of code and name, with the line number.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = source.code().collect();
    let mut found = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if !rest.starts_with('{') {
                found.push((*number, name_at(rest)));
                continue;
            }
            // use crate::{a::X, b::{Y, Z}}; may run over several lines: the names at depth one
            let text: String = std::iter::once(rest).chain(lines[index + 1..].iter().map(|(_, line)| *line)).collect();
            let (mut depth, mut start) = (0, true);
            for (at, character) in text.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => start = true,
                    _ if depth == 1 && start && !character.is_whitespace() => {
                        found.push((*number, name_at(&text[at..])));
                        start = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
    found
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn contains_word(line: &str, word: &str) -> bool {
    let inside =
        |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    line.match_indices(word)
        .any(|(at, _)| !inside(line[..at].chars().next_back()) && !inside(line[at + word.len()..].chars().next()))
}

/// The modules from top to bottom, as the table in the documentation of src/lib.rs lists them.
fn table() -> Vec<String> {
    let map = include_str!("../../src/lib.rs");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | ")?.split(" | ").next());
    rows.flat_map(|row| row.split("[`").skip(1).map(name_at)).collect()
}

fn uses_only_modules_above(source: &Source) -> Vec<String> {
    let modules = table();
    let module = source.module();
    if module.is_empty() {
        return Vec::new();
    }
    let Some(own) = modules.iter().position(|name| name == module) else {
        return vec![format!("src/{}: module {module} is not in the table of src/lib.rs", source.path)];
    };
    let mut found: Vec<String> = uses(source)
        .into_iter()
        .filter(|(_, name)| modules.iter().position(|module| module == name).is_none_or(|used| used > own))
        .map(|(number, name)| {
            format!(
                "src/{}:{number}: {module} stands above {name} in the table of src/lib.rs and must not use it",
                source.path
            )
        })
        .collect();
    // `super` from the top of a module is another way to name the crate.
    let folders = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    let climb = "super::".repeat(folders + 1);
    found
        .extend(source.findings(|line| {
            line.contains(&climb).then(|| "say crate:: instead of climbing out of the module".into())
        }));
    found
}

fn names_nothing_foreign(source: &Source) -> Vec<String> {
    let module = source.module();
    let forbidden: &[&str] = match module {
        _ if REAL_TIME.contains(&module) => &["tokio::", "tracing::", "config::", "toml::"],
        "controller" => &["tokio::", "crate::config", "toml::"],
        "plant" => &["crate::bus", "socketcan::", "AF_CAN", "PF_CAN", "CAN_RAW"],
        _ => &[],
    };
    source.findings(|line| {
        let hit =
            forbidden.iter().find(|word| contains_word(line, word.trim_end_matches("::")) && line.contains(*word))?;
        Some(format!("{module} must not name {hit}"))
    })
}

fn never_panics(source: &Source) -> Vec<String> {
    const CALLS: &[&str] = &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!(", "dbg!("];
    source.findings(|line| Some(format!("{} outside tests", CALLS.iter().find(|call| line.contains(*call))?)))
}

fn unsafe_is_explained(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in source.code() {
        let is_use = ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"].iter().any(|form| line.contains(form));
        if is_use && !source.is_under(UNSAFE) {
            found.push(format!("src/{}:{number}: unsafe is allowed only in {UNSAFE:?}", source.path));
        } else if is_use && !lines[number.saturating_sub(9)..number].iter().any(|line| line.contains("SAFETY:")) {
            found.push(format!("src/{}:{number}: unsafe without a SAFETY line above it", source.path));
        }
    }
    found
}

fn has_the_house_form(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if source.path != "main.rs" && !source.text.starts_with("//! ") {
        found.push(format!("src/{}:1: the first line says the file's responsibility: //! ...", source.path));
    }
    let lines = source.code().count();
    if lines > LINES && !LONG.contains(&source.path.as_str()) {
        found.push(format!("src/{}: {lines} lines without tests; split at about {LINES}", source.path));
    }
    for mark in ["TODO", "FIXME", "XXX"] {
        if contains_word(&source.text, mark) {
            found.push(format!("src/{}: {mark}", source.path));
        }
    }
    found.extend(source.findings(|line| line.contains("#![allow(").then(|| "a blanket allow".to_string())));
    found
}

fn check(rule: fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(sources.len() > 5, "no sources found");
    let found: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_module_uses_only_those_above_it() {
    check(uses_only_modules_above);
}

#[test]
fn neither_plane_names_what_belongs_to_the_other() {
    check(names_nothing_foreign);
}

#[test]
fn nothing_panics_on_purpose() {
    check(never_panics);
}

#[test]
fn unsafe_stays_in_its_places() {
    check(unsafe_is_explained);
}

#[test]
fn files_have_the_house_form() {
    check(has_the_house_form);
}

#[test]
fn rules_find_what_they_forbid() {
    type Rule = fn(&Source) -> Vec<String>;
    let cases: &[(Rule, &str, &str, usize)] = &[
        (uses_only_modules_above, "dbc/codec.rs", "use crate::can::FrameId;", 0),
        (uses_only_modules_above, "dbc/codec.rs", "use crate::rt::Loop;", 1),
        (uses_only_modules_above, "dbc/codec.rs", "use crate::{can::{A, B}, rt,\n plant::X};", 2),
        (uses_only_modules_above, "dbc/codec.rs", "fn f() { crate::store::open() } // crate::plant", 1),
        (uses_only_modules_above, "dbc/codec.rs", "use super::model;", 0),
        (uses_only_modules_above, "dbc/codec.rs", "use super::super::rt;", 1),
        (uses_only_modules_above, "dbc/mod.rs", "use super::rt;", 1),
        (uses_only_modules_above, "can.rs", "use super::rt;", 1),
        (uses_only_modules_above, "can.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n}", 0),
        (uses_only_modules_above, "misc.rs", "", 1),
        (names_nothing_foreign, "store/writer.rs", "use tokio::sync;", 1),
        (names_nothing_foreign, "controller/mod.rs", "tracing::info!();", 0),
        (names_nothing_foreign, "plant/opcua/mod.rs", "let bus = crate::bus::Bus;", 1),
        (names_nothing_foreign, "plant/opcua/mod.rs", "let bus = tag.bus;", 0),
        (names_nothing_foreign, "plant/opcua/mod.rs", "libc::socket(libc::AF_CAN, 0, 0)", 1),
        (never_panics, "can.rs", "x.unwrap()", 1),
        (never_panics, "can.rs", "#[cfg(test)]\nmod tests {\n    x.unwrap()\n}\n", 0),
        (never_panics, "can.rs", "#[cfg(test)]\nmod tests;\nfn f() { x.unwrap() }", 1),
        (never_panics, "can.rs", "#[cfg(test)]\nmod tests {\n}\nfn f() { x.unwrap() }", 1),
        (unsafe_is_explained, "can.rs", "// SAFETY: no\nunsafe { x() }", 1),
        (unsafe_is_explained, "rt.rs", "unsafe { x() }", 1),
        (unsafe_is_explained, "rt.rs", "// SAFETY: a system call on numbers\nunsafe { x() }", 0),
        (has_the_house_form, "can.rs", "//! Frames.", 0),
        (has_the_house_form, "can.rs", "use x;", 1),
    ];
    for (rule, path, text, count) in cases {
        let source = Source { path: path.to_string(), text: text.to_string() };
        let found = rule(&source);
        assert_eq!(found.len(), *count, "{path}: {text}: {found:?}");
    }
}
