//! The states of alarms in a file, so that what people did outlives a restart. The journal has what came after it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::journal::Position;
use super::state::State;
use crate::plant::private;

/// Its name in the folder of the alarms.
pub const FILE: &str = "states.json";

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Of the last change that is in it.
    pub number: u64,
    pub position: Position,
    /// By key; those that never did anything are left out.
    pub alarms: BTreeMap<String, Kept>,
}

/// One alarm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// CLOCK_REALTIME nanoseconds: when it was in a plan last.
    pub seen: u64,
    /// What is wrong, in one sentence; where the alarm is not in the plan any more, what was.
    #[serde(default)]
    pub text: String,
    /// The key of the alarm that it follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    pub state: State,
}

/// Nothing where there is no file yet.
pub fn read(folder: &Path) -> anyhow::Result<Snapshot> {
    let file = folder.join(FILE);
    match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("read {}", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Snapshot::default()),
        Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
    }
}

/// Whole, and in the place of the one before at once.
pub fn write(folder: &Path, snapshot: &Snapshot) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(snapshot).context("the states of alarms")?;
    private::write(&folder.join(FILE), &bytes)
}
