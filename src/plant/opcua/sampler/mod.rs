//! Looks at the store for the monitored items, and turns the publishing timers of their subscriptions.
//!
//! One task for all: it sleeps until something is due, and for ever where nothing is monitored. Items with an interval look at
//! records (`records`), those without one at every frame of the ring (`frames`), what is no signal is read like a client
//! reads it. While it looks at the store the subscriptions are locked, for a moment; what is sent is sent afterwards.

mod frames;
mod records;

#[cfg(test)]
mod tests;

pub use records::seen;

use std::sync::Arc;
use std::time::Duration;

use opcua::types::{AttributeId, NodeId};

use super::scene::Scene;
use super::server::Server;
use super::session::User;
use super::space::Node;
use super::space::range::Ranges;
use super::subscription::item::{Seen, Target};
use super::subscription::watched::Key;
use super::subscription::{Reply, Subscriptions, again, items};
use super::versions::Versions;
use crate::plant::pulse::{BEAT, Pulse};
use crate::store::clock;

/// Between two looks at the ring of frames, in nanoseconds.
const FRAMES: u64 = 2_500_000;
/// Timers that expire within this time expire together, in nanoseconds.
const TOGETHER: u64 = 500_000;
/// How often what only a reload changes is looked at all the same: J1939 sources come by themselves.
const SLOW: u64 = 1_000_000_000;

/// Runs until dropped. `pulse` beats while it does.
pub async fn run(server: &Arc<Server>, pulse: &Pulse) {
    let mut scenes = server.scenes.changes();
    let mut frames = frames::Frames::default();
    loop {
        pulse.beat();
        let scene = scenes.borrow_and_update().clone();
        let next = turn(server, &scene, &mut frames);
        drop(scene);
        let sleep = next.map_or(BEAT, |next| BEAT.min(Duration::from_nanos(next)));
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            // somebody has begun to look at something
            () = server.wake.notified(), if next.is_none_or(|next| next > FRAMES) => {}
            changed = scenes.changed() => if changed.is_err() { return },
        }
    }
}

/// Does what is due; gives the nanoseconds until something is due again.
fn turn(server: &Server, scene: &Arc<Scene>, frames: &mut frames::Frames) -> Option<u64> {
    let now = clock::monotonic() + TOGETHER;
    let stale = {
        let all = server.subscriptions();
        let old = all.scene();
        (old.number != scene.number).then(|| (old, all.targets()))
    };
    // nobody waits meanwhile
    let found = stale.map(|(old, targets)| again::found(&old, scene, targets)).unwrap_or_default();
    let (others, mut replies) = {
        let mut all = server.subscriptions();
        if all.scene().number != scene.number {
            all.find_again(scene, found, now);
            frames.forget();
        }
        let others = look(&mut all, scene, frames, now);
        // what is no signal is read without the lock, or reading diagnostics would wait for itself
        let replies = if others.is_empty() {
            all.tick(now);
            all.replies()
        } else {
            Vec::new()
        };
        (others, replies)
    };
    if !others.is_empty() {
        let seen = read(&others, scene);
        let mut all = server.subscriptions();
        seen.into_iter().for_each(|(key, seen)| all.offer(key, seen));
        all.tick(now);
        replies = all.replies();
    }
    replies.into_iter().for_each(Reply::send);
    let due = server.subscriptions().next_look()?;
    Some(due.saturating_sub(clock::monotonic()))
}

/// An item that is no signal, taken along to be read.
struct Other {
    key: Key,
    target: Result<Node, NodeId>,
    attribute: AttributeId,
    range: Option<Box<Ranges>>,
    user: Arc<User>,
}

impl Other {
    fn look(&self, scene: &Scene, versions: &mut Versions) -> Seen {
        match &self.target {
            Ok(node) => self.look_at(scene, *node, versions),
            // a new J1939 source makes a node; its item is found again with the next scene, and read meanwhile
            Err(id) => match scene.find(id.into()) {
                Some(node) => self.look_at(scene, node, versions),
                None => items::gone(),
            },
        }
    }

    fn look_at(&self, scene: &Scene, node: Node, versions: &mut Versions) -> Seen {
        items::look(scene, node, self.attribute, self.range.as_deref(), &self.user, versions)
    }
}

/// Reads what is no signal. After a reload that is all of it, and nobody is published to meanwhile.
fn read(others: &[Other], scene: &Scene) -> Vec<(Key, Seen)> {
    let mut versions = Versions::default();
    others.iter().map(|other| (other.key, other.look(scene, &mut versions))).collect()
}

/// Looks at every signal that is due; gives what else is.
fn look(all: &mut Subscriptions, scene: &Arc<Scene>, frames: &mut frames::Frames, now: u64) -> Vec<Other> {
    let mut found = Vec::new();
    let mut others = Vec::new();
    for (interval, class) in &mut all.watched.classes {
        if class.due > now {
            continue;
        }
        let step = if *interval == 0 { FRAMES } else { *interval };
        // what was missed is not made up for
        class.due = if class.due + step > now { class.due + step } else { now + step };
        if *interval > 0 {
            records::look(&scene.view, &mut class.groups, now, |key, seen| found.push((key, seen)));
        }
        others.extend(class.others.iter().copied());
    }
    let changed = all.watched.frames_changed;
    if !all.watched.classes.contains_key(&0) {
        // nobody wants the frames from here to where it begins anew
        frames.stop();
    }
    if let Some(class) = all.watched.classes.get_mut(&0) {
        let lost = frames.look(&scene.view, (changed, &mut class.groups), now, |key, seen| found.push((key, seen)));
        if lost {
            let keys: Vec<Key> =
                class.groups.values().flat_map(|group| group.looks.iter().map(|look| look.key)).collect();
            keys.into_iter().for_each(|key| all.gap(key));
        }
    }
    found.into_iter().for_each(|(key, seen)| all.offer(key, seen));
    others.into_iter().filter_map(|key| other(all, scene, key, now)).collect()
}

/// What of an item that is no signal has to be read now, if anything.
fn other(all: &mut Subscriptions, scene: &Scene, key: Key, now: u64) -> Option<Other> {
    let (user, item) = all.item_mut(key)?;
    let target = match &item.target {
        Target::Node(node) => {
            let live = scene.is_live(*node, item.attribute);
            // it changes with the scene only, or has been read already
            if !live && item.last.is_some() && item.scene == scene.number {
                return None;
            }
            Ok(*node)
        }
        Target::Gone(id) => {
            if item.scene == scene.number && item.looked + SLOW > now {
                return None;
            }
            Err((**id).clone())
        }
    };
    item.scene = scene.number;
    item.looked = now;
    Some(Other { key, target, attribute: item.attribute, range: item.range.clone(), user })
}
