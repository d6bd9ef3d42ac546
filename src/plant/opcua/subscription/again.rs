//! Monitored items over a reload and a change of the user: their nodes are found anew, by their ids, in the plan that holds
//! now, and looked at as far as the user may.

use std::collections::HashMap;
use std::sync::Arc;

use opcua::types::{AttributeId, MonitoringMode};

use super::Subscriptions;
use super::cycle::Subscription;
use super::item::{Item, Target};
use super::items::{FASTEST_CONSTANT, analog, interval, item_place};
use super::watched::{Key, Place};
use crate::plan::TagIndex;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::{Node, meaning};

/// What items look at in another scene, and bits for the StatusCodes of what means something else there; found while nothing is
/// locked: names are looked up by the hundred thousand.
pub type Found = HashMap<Key, (Target, u32)>;

/// Finds in the new scene what items look at in the old one.
pub fn found(old: &Scene, new: &Scene, targets: Vec<(Key, Target)>) -> Found {
    let mut text = String::new();
    targets.into_iter().map(|(key, target)| (key, found_one(old, new, &target, &mut text))).collect()
}

fn found_one(old: &Scene, new: &Scene, target: &Target, text: &mut String) -> (Target, u32) {
    let found = match target {
        Target::Node(node) => new.find(old.space.id_in(*node, text)),
        Target::Gone(id) => new.find((&**id).into()),
    };
    match (found, target) {
        (Some(node), _) => (Target::Node(node), turned((old, target), (new, node))),
        (None, Target::Node(node)) => (Target::Gone(Box::new(old.space.id(*node))), 0),
        (None, Target::Gone(id)) => (Target::Gone(id.clone()), 0),
    }
}

impl Subscriptions {
    /// What all items look at, in the scene that holds.
    pub fn targets(&self) -> Vec<(Key, Target)> {
        let mut targets = Vec::with_capacity(self.items);
        for own in self.subscriptions.values() {
            targets.extend(own.items.values().map(|item| ((own.id, item.id), item.target.clone())));
        }
        targets
    }

    /// Has every item look at the same in another scene, which holds from now on. `found`: what [`found`] gave for this scene; an
    /// item that came since is found here.
    pub fn find_again(&mut self, new: &Arc<Scene>, mut found: Found, now: u64) {
        let old = std::mem::replace(&mut self.scene, new.clone());
        self.watched.clear();
        let mut text = String::new();
        let mut watch = Vec::with_capacity(self.items);
        for subscription in self.subscriptions.values_mut() {
            for item in subscription.items.values_mut() {
                let known = found.remove(&(subscription.id, item.id));
                let (target, turned) = known.unwrap_or_else(|| found_one(&old, new, &item.target, &mut text));
                item.target = target;
                item.turned |= if item.attribute == AttributeId::Value { turned } else { 0 };
            }
            watch.extend(watched(new, subscription));
        }
        for (key, every, place, since) in watch {
            self.watch(key, every, place, since, now);
        }
        // whatever else there is may have changed at once
        for class in self.watched.classes.values_mut() {
            class.due = class.due.min(now);
        }
    }

    /// A session has another user: its items see what that one may see, and tell it anew.
    pub fn user_changed(&mut self, session: u32, user: &Arc<User>, another: bool, now: u64) {
        let scene = self.scene();
        let mut watch = Vec::new();
        for own in self.subscriptions.values_mut().filter(|own| own.session == Some(session)) {
            own.user = user.clone();
            if another {
                own.forget();
            } else {
                // what waits is the user's own, in whatever language
                own.items.values_mut().for_each(|item| item.last = None);
            }
            self.watched.forget(own.id);
            watch.extend(watched(&scene, own));
        }
        for (key, every, place, since) in watch {
            self.watch(key, every, place, since, now);
            self.watched.look_now(every, now);
        }
    }
}

/// Bits of the StatusCode for what has become of the meaning of a value.
fn turned((old, was): (&Scene, &Target), (new, is): (&Scene, Node)) -> u32 {
    match (was, is) {
        (Target::Node(Node::Signal(before, _)), Node::Signal(after, _)) if !Arc::ptr_eq(&old.space, &new.space) => {
            meaning::bits((&old.space, *before), (&new.space, after))
        }
        _ => 0,
    }
}

type Watch = ((u32, u32), u64, Option<(Place, TagIndex)>, u64);

/// What the items of a subscription look at, and how often, in this scene and for its user.
fn watched(scene: &Scene, subscription: &mut Subscription) -> Vec<Watch> {
    let user = subscription.user.clone();
    let mut watch = Vec::new();
    for item in subscription.items.values_mut() {
        if item.is_event() || item.mode == MonitoringMode::Disabled {
            continue;
        }
        if let Target::Node(node) = item.target {
            let (number, range) = analog(scene, node, item.attribute);
            // a range that has gone leaves no deadband
            item.settings.width = item.settings.filter.width(number, range).unwrap_or(0.0);
        }
        let place = item_place(scene, item, &user);
        // what was no signal before may be one now, and the other way round
        // as the client was told; what has gone may come again
        let (every, _) = interval(item.settings.told_interval, place.is_some(), 0.0);
        let every = if is_looked_at(scene, item, &user) { every } else { every.max(FASTEST_CONSTANT) };
        item.settings.interval = every;
        let since = item.last.as_ref().map_or(0, |last| last.source_time);
        watch.push(((subscription.id, item.id), every, place, since));
    }
    watch
}

/// Whether an item changes by more than a reload.
pub(super) fn is_looked_at(scene: &Scene, item: &Item, user: &User) -> bool {
    item_place(scene, item, user).is_some()
        || matches!(item.target, Target::Node(node) if scene.is_live(node, item.attribute))
}
