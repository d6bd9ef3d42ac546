//! `[j1939]`: what people call the manufacturers that the NAMEs of devices have as numbers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::report::Report;

/// The largest manufacturer code: 11 bits (SAE J1939-81, 4.1.1).
const MAX_CODE: u16 = 2047;
/// Characters of a name, at most.
const LONGEST: usize = 200;

/// `[j1939]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// By manufacturer code. The list of all of them is SAE's, and not ours to give away.
    pub manufacturers: BTreeMap<String, String>,
}

/// Names by code.
pub fn manufacturers(written: &Written, report: &mut Report<'_>) -> BTreeMap<u16, String> {
    let mut names = BTreeMap::new();
    for (key, name) in &written.manufacturers {
        let path = ["j1939", "manufacturers", key];
        let code = key.parse().ok().filter(|code: &u16| *code <= MAX_CODE && code.to_string() == *key);
        let Some(code) = code else {
            let message = format!("manufacturers have codes from 0 to {MAX_CODE}, like 275 = \"Acme\"; not \"{key}\"");
            report.error(&path, message);
            continue;
        };
        if name.trim().is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
            report.error(&path, format!("the name of a manufacturer has 1 to {LONGEST} characters, all in one line"));
        }
        names.insert(code, name.clone());
    }
    names
}
