//! The record of each write: who, from where, which tag, old and new value, what came of it.

use tracing::info;

use crate::command::socket::Peer;
use crate::command::{Action, MAX_WRITES, Origin, Place, Refusal, Value, Write};
use crate::plan::Plan;
use crate::sample;
use crate::store::{Reader, clock};

/// Longest text of a client that is kept, in characters.
const TEXT: usize = 128;

/// What is known about a write before its result is.
pub struct Entry {
    origin: Origin,
    /// The door that it came through, and who did.
    place: Place,
    peer: Peer,
    lines: Vec<Line>,
    /// A lease that is renewed changes nothing, and is many a minute: only a refusal is told.
    silent: bool,
}

struct Line {
    /// The kind of command.
    what: &'static str,
    tag: String,
    old: String,
    new: String,
}

impl Entry {
    /// Takes down a command, with the values that it is about to replace.
    pub fn new(plan: &Plan, reader: &Reader, by: (Place, Peer), origin: Origin, action: &Action) -> Entry {
        let tag_name = |tag: usize| match plan.tags.get(tag) {
            Some(_) => plan.tag_name(tag, None),
            None => format!("#{tag}"),
        };
        let name = |named: Option<&String>, index: usize| named.map_or(format!("#{index}"), String::clone);
        let bus = |index: usize| name(plan.buses.get(index).map(|bus| &bus.name), index);
        let route = |index: usize| name(plan.routes.get(index).map(|route| &route.name), index);
        let outputs = |message: Option<usize>| match message {
            None => "outputs".into(),
            Some(at) if at < plan.messages.len() => plan.message_name(at, None),
            Some(at) => format!("#{at}"),
        };
        let one = |what, tag: String, new: &str| vec![Line { what, tag, old: String::new(), new: new.to_owned() }];
        let lines = match action {
            Action::Set(writes) | Action::Send(writes) => {
                let now = clock::monotonic();
                let what = if matches!(action, Action::Send(_)) { "send" } else { "write" };
                writes.iter().take(MAX_WRITES).map(|write| line(plan, reader, what, write, now)).collect()
            }
            Action::Force { tag, value, seconds } => {
                let write = Write { tag: *tag, value: *value };
                let mut line = line(plan, reader, "force", &write, clock::monotonic());
                line.new = format!("{} for {seconds} s", line.new);
                vec![line]
            }
            Action::Renew(tag) => one("renew lease", tag_name(*tag), ""),
            Action::Release(Some(tag)) => one("release", tag_name(*tag), ""),
            Action::Release(None) => one("release", "all forces".into(), ""),
            Action::Arm => one("arm", "outputs".into(), "armed"),
            Action::Disarm => one("disarm", "outputs".into(), "disarmed"),
            Action::Fallback(at) => one("fallback", outputs(*at), "fallback"),
            Action::ResetFallback(at) => one("reset fallback", outputs(*at), ""),
            Action::Remote(remote) => one("mode", "machine".into(), if *remote { "Remote" } else { "Local" }),
            Action::Restart(at) => one("restart", bus(*at), ""),
            Action::Reload(_) => one("reload", "configuration".into(), ""),
            Action::CancelReload => one("cancel reload", "configuration".into(), ""),
            Action::Route { route: at, on } => one("route", route(*at), if *on { "on" } else { "off" }),
        };
        let (place, peer) = by;
        Entry { lines, origin, place, peer, silent: matches!(action, Action::Renew(_)) }
    }

    /// Writes the record, one line for each signal.
    pub fn close(&self, result: Result<(), &Refusal>) {
        if self.silent && result.is_ok() {
            return;
        }
        let result = result.map_or_else(|refusal| format!("refused: {refusal}"), |()| "done".into());
        let Origin { protocol, user, address } = &self.origin;
        let (protocol, user, address) = (short(protocol), short(user), short(address));
        for Line { what, tag, old, new } in &self.lines {
            // quoted: text of a client must not look like another line or field
            info!(target: "audit", ?user, ?address, ?protocol, door = self.place.word(), pid = self.peer.pid, uid = self.peer.uid,
                ?tag, %old, %new, ?result, "{what}");
        }
        if self.lines.is_empty() {
            info!(target: "audit", ?user, ?address, ?protocol, door = self.place.word(), pid = self.peer.pid, uid = self.peer.uid, ?result, "empty write");
        }
    }
}

fn line(plan: &Plan, reader: &Reader, what: &'static str, write: &Write, now: u64) -> Line {
    if write.tag >= plan.tags.len() {
        return Line { what, tag: format!("#{}", write.tag), old: "none".into(), new: format!("{:?}", write.value) };
    }
    let old = sample::read(plan, reader, write.tag, 0, now);
    Line {
        what,
        tag: plan.tag_name(write.tag, None),
        old: old.value.map_or("none".into(), |value| value.to_string()),
        new: match write.value {
            Value::Engineering(value) => value.to_string(),
            Value::Raw(raw) => plan.signal(write.tag).codec.engineering(raw).to_string(),
        },
    }
}

fn short(text: &str) -> &str {
    text.char_indices().nth(TEXT).map_or(text, |(end, _)| &text[..end])
}
