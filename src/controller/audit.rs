//! The record of each write: who, from where, which tag, old and new value, what came of it.

use tracing::info;

use crate::command::socket::Peer;
use crate::command::{MAX_WRITES, Origin, Refusal, Value, Write};
use crate::plan::Plan;
use crate::sample;
use crate::store::{Reader, clock};

/// Longest text of a client that is kept, in characters.
const TEXT: usize = 128;

/// What is known about a write before its result is.
pub struct Entry {
    origin: Origin,
    peer: Peer,
    lines: Vec<Line>,
}

struct Line {
    tag: String,
    old: String,
    new: String,
}

impl Entry {
    /// Takes down a command, with the values that it is about to replace.
    pub fn new(plan: &Plan, reader: &Reader, peer: Peer, origin: Origin, writes: &[Write]) -> Entry {
        let now = clock::monotonic();
        let lines = writes.iter().take(MAX_WRITES).map(|write| match plan.tags.get(write.tag) {
            Some(_) => {
                let old = sample::read(plan, reader, write.tag, 0, now);
                Line {
                    tag: plan.tag_name(write.tag, None),
                    old: old.value.map_or("none".into(), |value| value.to_string()),
                    new: match write.value {
                        Value::Engineering(value) => value.to_string(),
                        Value::Raw(raw) => plan.signal(write.tag).codec.engineering(raw).to_string(),
                    },
                }
            }
            None => Line { tag: format!("#{}", write.tag), old: "none".into(), new: format!("{:?}", write.value) },
        });
        Entry { lines: lines.collect(), origin, peer }
    }

    /// Writes the record, one line for each signal.
    pub fn close(&self, result: Result<(), &Refusal>) {
        let result = result.map_or_else(|refusal| format!("refused: {refusal}"), |()| "done".into());
        let Origin { protocol, user, address } = &self.origin;
        let (protocol, user, address) = (short(protocol), short(user), short(address));
        for Line { tag, old, new } in &self.lines {
            // quoted: text of a client must not look like another line or field
            info!(target: "audit", ?user, ?address, ?protocol, pid = self.peer.pid, uid = self.peer.uid,
                ?tag, %old, %new, ?result, "write");
        }
        if self.lines.is_empty() {
            info!(target: "audit", ?user, ?address, ?protocol, pid = self.peer.pid, uid = self.peer.uid, ?result, "empty write");
        }
    }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(TEXT).map_or(text, |(end, _)| &text[..end])
}
