//! Retained values: what the plant wrote last to signals in `retain`, kept over restarts, crashes and power loss.
//!
//! The main thread takes down what the real-time thread has confirmed; a thread of its own writes it, at most once a second and
//! only where something has changed.

mod copies;
mod keeper;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::command::{self, Action, Patch, Value};
use crate::dbc::Raw;
use crate::plan::{Bits, Immediate, Plan, TagIndex};
use copies::{Copies, Kept, Values};
use keeper::Keeper;

/// Between two writes, in nanoseconds: flash wears out.
const REST: u64 = 1_000_000_000;
/// The same after one that failed.
const RETRY: u64 = 10_000_000_000;
/// A value that so many starts in a row had no use for is forgotten.
const MOST_MISSED: u32 = 10;
/// How long the end waits for the last write.
const PATIENCE: Duration = Duration::from_secs(2);

/// A value that was written, and where it belongs.
pub struct Write {
    name: String,
    kept: Kept,
}

/// The table of the main thread.
#[derive(Default)]
pub struct Retained {
    values: Values,
    /// `None`: nothing is retained, and the log has said why.
    keeper: Option<Keeper>,
    changed: bool,
    /// CLOCK_MONOTONIC before which nothing is written.
    rest_until: u64,
    failing: bool,
}

/// Where they are kept. A simulated plant has its own: what was tried at the desk must not move a machine.
pub fn folder(state: &Path, simulated: bool) -> PathBuf {
    state.join(if simulated { "retained-simulated" } else { "retained" })
}

impl Retained {
    /// Reads what was kept. `state`: the folder for what outlives a run.
    pub fn open(state: Option<&Path>, plan: &Plan) -> Retained {
        let wanted = plan.tags.iter().filter(|tag| tag.retained).count();
        let Some(state) = state else {
            if wanted > 0 {
                warn!(signals = wanted, "nothing is retained: there is no folder to keep it in (--state)");
            }
            return Retained::default();
        };
        let folder = folder(state, plan.simulated);
        let found = match Copies::open(&folder) {
            Ok(found) => found,
            Err(error) => {
                error!(%error, "nothing is retained");
                return Retained::default();
            }
        };
        match found.damaged {
            0 => {}
            1 => {
                warn!(folder = %folder.display(), "one copy of the retained values is damaged, as after a power loss; the other counts")
            }
            _ => {
                error!(folder = %folder.display(), "both copies of the retained values are damaged: the outputs begin without them")
            }
        }
        // nothing to keep and nothing kept: no thread
        let keeper = (wanted > 0 || !found.values.is_empty()).then(|| Keeper::start(found.copies)).transpose();
        let keeper = keeper.unwrap_or_else(|error| {
            error!(%error, "nothing is retained: no thread to write it");
            None
        });
        Retained { values: found.values, keeper, ..Retained::default() }
    }

    /// What the plan has use for, as checked writes. What it has no use for is kept for a few starts: the right DBC file may
    /// come back.
    pub fn restore(&mut self, plan: &Plan) -> Vec<Patch> {
        let mut patches = Vec::new();
        let mut used = Vec::new();
        for tag in (0..plan.tags.len()).filter(|tag| plan.tags[*tag].retained) {
            let name = plan.tag_name(tag, None);
            let Some(kept) = self.values.get(&name) else { continue };
            match patch(plan, tag, kept) {
                Ok(patch) => {
                    let value = plan.signal(tag).codec.engineering(kept.raw);
                    info!(tag = %name, value, "retained value comes back, in force once armed");
                    patches.push(patch);
                    used.push(name);
                }
                Err(reason) => warn!(tag = %name, reason, "retained value does not fit any more and is not used"),
            }
        }
        self.values.retain(|name, kept| {
            let before = kept.missed;
            kept.missed = if used.contains(name) { 0 } else { before + 1 };
            self.changed |= kept.missed != before;
            if kept.missed > MOST_MISSED {
                warn!(tag = %name, starts = MOST_MISSED, "retained value was of no use for so many starts and is forgotten");
            }
            kept.missed <= MOST_MISSED
        });
        patches
    }

    /// Another plan is about to be put in force: what it has use for, as checked writes. Nothing is forgotten: the plan before may
    /// come back. `state`: as for [`Retained::open`].
    pub fn adopt(&mut self, state: Option<&Path>, plan: &Plan) -> Vec<Patch> {
        if self.keeper.is_none() && plan.tags.iter().any(|tag| tag.retained) {
            *self = Retained::open(state, plan);
        }
        let tags = (0..plan.tags.len()).filter(|tag| plan.tags[*tag].retained);
        let fitting = tags.filter_map(|tag| patch(plan, tag, self.values.get(&plan.tag_name(tag, None))?).ok());
        fitting.collect()
    }

    /// What of a command is to be retained once it is carried out.
    pub fn of(&self, plan: &Plan, action: &Action) -> Vec<Write> {
        let (Action::Set(writes) | Action::Send(writes)) = action else { return Vec::new() };
        if self.keeper.is_none() {
            return Vec::new();
        }
        let retained = writes.iter().filter(|write| plan.tags.get(write.tag).is_some_and(|tag| tag.retained));
        let kept = retained.filter_map(|write| {
            let raw = command::raw_of(plan, write.tag, write.value).ok()?;
            let name = plan.tag_name(write.tag, None);
            Some(Write { name, kept: kept(plan, write.tag, raw) })
        });
        kept.collect()
    }

    /// The real-time thread has carried it out.
    pub fn accept(&mut self, writes: Vec<Write>) {
        for Write { name, kept } in writes {
            self.changed |= self.values.get(&name) != Some(&kept);
            self.values.insert(name, kept);
        }
    }

    /// Hands over what has changed, when it is time. Whether writing has begun to fail, or no longer does. `now`:
    /// CLOCK_MONOTONIC nanoseconds.
    pub fn tick(&mut self, now: u64) -> Option<bool> {
        let keeper = self.keeper.as_mut()?;
        let mut news = None;
        match keeper.result() {
            Some(Ok(())) if self.failing => {
                self.failing = false;
                news = Some(false);
                info!("retained values are written again");
            }
            Some(Err(error)) => {
                self.changed = true;
                self.rest_until = now + RETRY;
                if !self.failing {
                    self.failing = true;
                    news = Some(true);
                    error!(%error, "retained values can't be written; tried again every 10 s");
                }
            }
            Some(Ok(())) | None => {}
        }
        if self.changed && now >= self.rest_until && keeper.idle() {
            self.changed = false;
            self.rest_until = now + REST;
            keeper.write(self.values.clone());
        }
        news
    }

    /// Writes what is left, and waits a little for it.
    pub fn flush(&mut self) {
        let end = Instant::now() + PATIENCE;
        self.rest_until = 0;
        let _ = self.tick(0);
        while self.keeper.as_ref().is_some_and(|keeper| !keeper.idle()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
            // what fails is not tried again: the rest after that is longer
            let _ = self.tick(0);
        }
    }
}

fn kept(plan: &Plan, tag: TagIndex, raw: Raw) -> Kept {
    let codec = &plan.signal(tag).codec;
    Kept { raw, factor: codec.factor, offset: codec.offset, missed: 0 }
}

/// The write that a kept value stands for, or why it is none.
fn patch(plan: &Plan, tag: TagIndex, kept: &Kept) -> Result<Patch, String> {
    let codec = &plan.signal(tag).codec;
    if (kept.factor, kept.offset) != (codec.factor, codec.offset) {
        return Err("the signal has another factor or offset than when it was written".into());
    }
    let raw = command::raw_of(plan, tag, Value::Raw(kept.raw)).map_err(|refusal| refusal.to_string())?;
    let mut bits = Bits::NONE;
    codec.mask(&mut bits.mask);
    codec.insert(raw, &mut bits.bits).map_err(|error| error.to_string())?;
    Ok(Patch { message: plan.tags[tag].message, bits, immediate: Immediate::No, repeated: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadOptions, Sources, load};
    use crate::store::clock;

    const DBC: &str =
        "BU_: Us\nBO_ 1 M: 8 Us\n SG_ A : 0|16@1+ (0.5,0) [0|100] \"\" Us\n SG_ B : 16|16@1+ (0.5,0) [0|100] \"\" Us\n";

    fn plan(dbc: &str) -> Plan {
        let toml = "[bus.b]\nvirtual = true\ndbc = [\"b.dbc\"]\nnode = \"Us\"\ntransmit = \"all\"\nwritable = \"all\"\n\
                    retain = [\"M.*\"]\nmessage.M.cycle_ms = 10\n";
        let sources = Sources::embedded("b.toml", toml, &[("b.dbc", dbc.as_bytes())]);
        load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan
    }

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("canvoy-retained-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    fn write(retained: &mut Retained, plan: &Plan, value: f64) {
        let writes = (0..2).map(|tag| command::Write { tag, value: Value::Engineering(value) }).collect();
        let kept = retained.of(plan, &Action::Set(writes));
        assert_eq!(kept.len(), 2);
        retained.accept(kept);
        retained.flush();
    }

    #[test]
    fn another_plan_is_no_trouble() {
        let state = folder("plans");
        let original = plan(DBC);
        write(&mut Retained::open(Some(&state), &original), &original, 50.0);
        let check = |dbc: &str, used: usize| {
            let plan = plan(dbc);
            let mut retained = Retained::open(Some(&state), &plan);
            assert_eq!(retained.restore(&plan).len(), used, "{dbc}");
            retained.flush();
        };
        check(DBC, 2);
        // another scale, another range, another type, another name: only the signal that has it is left out
        check(&DBC.replacen("(0.5,0)", "(0.1,0)", 1), 1);
        check(&DBC.replacen("[0|100]", "[0|10]", 1), 1);
        check(&DBC.replacen("0|16@1+", "0|16@1-", 1), 1);
        check(&DBC.replace("SG_ A", "SG_ C"), 1);
        // and it comes back with the right file
        check(DBC, 2);
        for _ in 0..MOST_MISSED {
            check(&DBC.replace("SG_ A", "SG_ C"), 1);
        }
        check(DBC, 2);
        for _ in 0..=MOST_MISSED {
            check(&DBC.replace("SG_ A", "SG_ C"), 1);
        }
        check(DBC, 1);
        std::fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn what_does_not_change_is_not_written_and_what_changes_often_not_often() {
        let state = folder("wear");
        let plan = plan(DBC);
        let mut retained = Retained::open(Some(&state), &plan);
        write(&mut retained, &plan, 1.0);
        let copies = || ["a", "b"].map(|name| std::fs::read(folder_of(&state).join(name)).ok());
        let first = copies();
        write(&mut retained, &plan, 1.0);
        assert_eq!(copies(), first);
        // a thousand writes within a second of the table's time
        let now = clock::monotonic();
        let mut handed = 0;
        for step in 0..1000 {
            let writes = vec![command::Write { tag: 0, value: Value::Engineering(f64::from(step % 100)) }];
            let kept = retained.of(&plan, &Action::Set(writes));
            retained.accept(kept);
            let before = retained.rest_until;
            let _ = retained.tick(now + step as u64 * 1_000_000);
            handed += usize::from(retained.rest_until != before);
            std::thread::sleep(Duration::from_micros(50));
        }
        assert_eq!(handed, 1);
        std::fs::remove_dir_all(state).unwrap();
    }

    fn folder_of(state: &Path) -> PathBuf {
        super::folder(state, false)
    }
}
