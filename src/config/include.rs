//! Which files a file names: `include`, with `*` and `?` in the last part of a path, and `machine_file`.

use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// The key of a list of files.
pub const KEY: &str = "include";
pub const TAKES: &str = "a list of file names, like [\"common.toml\", \"lines/*.toml\"]";
/// The key of the file that only one machine has.
pub const MACHINE_FILE: &str = "machine_file";
const MACHINE_FILE_TAKES: &str =
    "machine_file takes a file name in quotes, or { path = \"machine.toml\", optional = true }";

/// A machine file as a configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineFile<'a, N> {
    /// As a user can open it.
    pub name: N,
    pub written: &'a str,
    /// It need not be there.
    pub optional: bool,
}

/// The patterns of a file, in order; what is none is passed over.
pub fn patterns<'a>(table: &'a DeTable<'_>) -> Vec<&'a str> {
    let list = table.get(KEY).and_then(|written| written.get_ref().as_array());
    list.into_iter().flatten().filter_map(|element| element.get_ref().as_str()).collect()
}

/// The machine file that a file's key names.
pub fn machine_file<'a>(from: &str, written: &'a DeValue<'_>) -> Result<MachineFile<'a, String>, &'static str> {
    let (written, optional) = match written {
        DeValue::String(path) => (path.as_ref(), false),
        DeValue::Table(table) => {
            let known = table.keys().all(|key| matches!(key.get_ref().as_ref(), "path" | "optional"));
            let path = table.get("path").and_then(|path| path.get_ref().as_str());
            let optional = table.get("optional").map_or(Some(false), |optional| optional.get_ref().as_bool());
            path.zip(optional).filter(|_| known).ok_or(MACHINE_FILE_TAKES)?
        }
        _ => return Err(MACHINE_FILE_TAKES),
    };
    if written.contains("${") {
        return Err("no variables here: the machine file is where they come from");
    }
    Ok(MachineFile { name: joined(from, written), written, optional })
}

/// Whether the last part of a path may stand for several files.
pub fn is_pattern(written: &str) -> bool {
    written.contains(['*', '?'])
}

/// The names of the files that a pattern stands for, sorted; `from`: the file that has it. `known`: all that there are.
pub fn names<'a>(from: &str, pattern: &str, known: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    if pattern.contains("${") {
        return Err("no variables in include: which files there are must not depend on them".to_owned());
    }
    let whole = joined(from, pattern);
    if !is_pattern(pattern) {
        return Ok(vec![whole]);
    }
    let (folder, last) = split(&whole);
    if is_pattern(folder) || last.is_empty() {
        return Err(format!("\"{pattern}\": * and ? are possible in the last part only, the file's name"));
    }
    let matching = known.filter(|name| *name != from).filter(|name| {
        let (its_folder, file) = split(name);
        its_folder == folder && matches(last, file)
    });
    let mut names: Vec<String> = matching.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The folder that a pattern looks into, and the part that is compared with names; `None` where it is no pattern.
pub fn looked_into(from: &str, pattern: &str) -> Option<PathBuf> {
    let whole = joined(from, pattern);
    let (folder, _) = split(&whole);
    (is_pattern(pattern) && !is_pattern(folder)).then(|| PathBuf::from(folder))
}

fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/')
        .map_or(("", name), |(folder, file)| if folder.is_empty() { ("/", file) } else { (folder, file) })
}

/// A path in a file, seen from where the file's own name is seen; without detours, so that one file has one name.
pub fn joined(from: &str, written: &str) -> String {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut clean = PathBuf::new();
    for part in folder.join(written).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean.display().to_string()
}

/// `*`: any letters, also none; `?`: one. A name that begins with a dot is matched only by a pattern that does.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut place) = (0, 0);
    // the last star, and how much of the name it has taken
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match &mut star {
                Some((back, taken)) => {
                    *taken += 1;
                    (at, place) = (*back + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", false),
            (".*", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("line?.toml", "line1.toml", true),
            ("line?.toml", "line.toml", false),
            ("*", "", true),
            ("**", "x", true),
            ("größe?", "größe→", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn one_file_has_one_name() {
        for (from, written, expected) in [
            ("plant.toml", "common.toml", "common.toml"),
            ("/etc/canvoy/plant.toml", "./lines/../common.toml", "/etc/canvoy/common.toml"),
            ("a/b/plant.toml", "../common.toml", "a/common.toml"),
            ("plant.toml", "../common.toml", "../common.toml"),
            ("../plant.toml", "../common.toml", "../../common.toml"),
            ("plant.toml", "/x.toml", "/x.toml"),
            ("/plant.toml", "../x.toml", "/../x.toml"),
        ] {
            assert_eq!(joined(from, written), expected, "{from} {written}");
        }
    }

    #[test]
    fn names_are_sorted_and_without_the_file_itself() {
        let known = ["p.toml", "b.toml", "a.toml", "x/c.toml", "d.txt"];
        assert_eq!(names("p.toml", "*.toml", known.into_iter()), Ok(vec!["a.toml".into(), "b.toml".into()]));
        assert_eq!(names("p.toml", "x/*", known.into_iter()), Ok(vec!["x/c.toml".into()]));
        assert_eq!(names("x/c.toml", "../?.txt", known.into_iter()), Ok(vec!["d.txt".into()]));
        assert!(names("p.toml", "*/c.toml", known.into_iter()).is_err());
    }
}
