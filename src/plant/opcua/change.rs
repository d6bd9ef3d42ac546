//! Changes of the model: what clients are told when a reload, or a J1939 source that is new, has made other nodes of it
//! (OPC 10000-3, 9.32 and 9.33). Everybody is told of what changed for him, and of nothing that is hidden from him.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use opcua::types::{
    DateTime, ExtensionObject, ModelChangeStructureDataType, NodeId, ObjectId, ObjectTypeId,
    SemanticChangeStructureDataType, Variant, VariantScalarTypeId,
};

use super::scene::Scene;
use super::server::Server;
use super::session::{Proof, User};
use super::space::version::{self, DEEPEST, Part, Shape};
use super::space::{Node, Passing, Source, Space, array, meaning};
use super::subscription::Event;
use crate::plan::MessageIndex;
use crate::plant::View;
use crate::plant::access::Roles;

/// Nodes that one event names. When there are more, what they hang from stands for them.
const MOST: usize = 1_000;
/// Between two looks for J1939 sources, and so between two events about them.
const SOURCES: Duration = Duration::from_secs(2);

/// Verbs of a ModelChangeStructureDataType (OPC 10000-5, 12.16).
const ADDED: u8 = 1;
const DELETED: u8 = 2;
const REFERENCE_ADDED: u8 = 4;
const REFERENCE_DELETED: u8 = 8;
const DATA_TYPE: u8 = 16;

/// The nodes at one moment, with the sources that there were.
#[derive(Clone)]
struct Snapshot {
    space: Arc<Space>,
    sources: Arc<BTreeMap<(MessageIndex, usize), u8>>,
}

/// A node that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    part: Part,
    /// It is one of the new nodes, else of the old ones.
    is: bool,
    /// 0: its meaning.
    verb: u8,
}

/// Both, one after the other.
#[derive(Clone)]
struct Pair {
    old: Snapshot,
    new: Snapshot,
}

impl Snapshot {
    fn of(scene: &Scene) -> Snapshot {
        Snapshot { space: scene.space.clone(), sources: Arc::new(sources(&scene.view)) }
    }

    fn is(&self, other: &Snapshot) -> bool {
        Arc::ptr_eq(&self.space, &other.space) && self.sources == other.sources
    }

    fn with<T>(&self, work: impl FnOnce(Passing<'_>) -> T) -> T {
        let address = |message, slot| self.sources.get(&(message, slot)).copied();
        // sessions come and go as others know
        work(Passing { address: &address, sessions: &Vec::new })
    }

    fn sees(&self, user: &User) -> impl Fn(Node) -> bool {
        let all = self.space.rights.sees_all(user.roles);
        move |node| all || self.space.sees(user, node)
    }

    /// All nodes with a version that are seen, by numbers for their ids, each with a number for its shape: the shapes
    /// themselves would be a hundred megabytes where there are many J1939 sources.
    fn digests(&self, user: &User, passing_only: bool) -> (Vec<u64>, HashMap<u64, (Part, u64)>) {
        let (mut order, mut all) = (Vec::new(), HashMap::new());
        let sees = self.sees(user);
        self.with(|passing| {
            version::each(&self.space, passing, passing_only, |part| {
                if sees(part.node()) {
                    let key = version::key(&self.space, part);
                    order.push(key);
                    let shape = version::shape(&self.space, part, passing, &sees);
                    all.insert(key, (part, version::digest(&shape)));
                }
            });
        });
        (order, all)
    }

    fn shape(&self, user: &User, part: Part) -> Shape {
        self.with(|passing| version::shape(&self.space, part, passing, self.sees(user)))
    }
}

/// The addresses of all J1939 sources there are.
fn sources(view: &View) -> BTreeMap<(MessageIndex, usize), u8> {
    let plan = &view.plan;
    let messages = plan.messages.iter().enumerate().filter(|(_, message)| message.message.has_sources());
    let seen =
        messages.flat_map(|(index, _)| view.sources(index).into_iter().map(move |(slot, at)| ((index, slot), at)));
    seen.collect()
}

impl Pair {
    fn side(&self, is: bool) -> &Snapshot {
        if is { &self.new } else { &self.old }
    }

    /// Whether only sources are others.
    fn same_plan(&self) -> bool {
        Arc::ptr_eq(&self.old.space, &self.new.space)
    }

    /// What has become of the model.
    fn model(&self, user: &User) -> Vec<Change> {
        let (old_order, mut old) = self.old.digests(user, self.same_plan());
        let (new_order, new) = self.new.digests(user, self.same_plan());
        let mut changes = Vec::new();
        for key in new_order {
            let Some((part, digest)) = new.get(&key).copied() else { continue };
            let verb = match old.remove(&key) {
                None => ADDED,
                Some((_, before)) if before == digest => continue,
                Some((before, _)) => verb(&self.old.shape(user, before), &self.new.shape(user, part)),
            };
            if verb != 0 {
                changes.push(Change { part, is: true, verb });
            }
        }
        let gone = old_order.iter().filter_map(|key| old.get(key));
        changes.extend(gone.map(|(part, _)| Change { part: *part, is: false, verb: DELETED }));
        changes
    }

    /// The messages and signals that mean something else.
    fn meaning(&self, user: &User) -> Vec<Change> {
        let (old, new) = (&self.old.space, &self.new.space);
        if self.same_plan() {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let (saw, sees) = (self.old.sees(user), self.new.sees(user));
        let both = |before: Part, after: Part| saw(before.node()) && sees(after.node());
        let plan = old.plan();
        let names: HashMap<(&str, &str), MessageIndex> = (plan.messages.iter().enumerate())
            .filter_map(|(index, of)| Some(((plan.buses.get(of.bus)?.name.as_str(), of.message.name.as_str()), index)))
            .collect();
        let plan = new.plan();
        for (after, message) in plan.messages.iter().enumerate() {
            let Some(bus) = plan.buses.get(message.bus) else { continue };
            let Some(before) = names.get(&(bus.name.as_str(), message.message.name.as_str())).copied() else {
                continue;
            };
            if both(Part::Message(before, None), Part::Message(after, None))
                && meaning::of_message((old, before), (new, after))
            {
                changes.push(Change { part: Part::Message(after, None), is: true, verb: 0 });
            }
            let sources = self.common_sources(before, after);
            let Some(was) = old.plan().messages.get(before) else { continue };
            for tag in message.tags.clone() {
                let name = &plan.signal(tag).name;
                let Some(of) = was.tags.clone().find(|tag| old.plan().signal(*tag).name == *name) else { continue };
                let there = both(Part::Signal(of, None), Part::Signal(tag, None));
                if !there || sources.is_empty() || !meaning::of_signal((old, of), (new, tag)) {
                    continue;
                }
                let each = sources.iter().map(|source| Change { part: Part::Signal(tag, *source), is: true, verb: 0 });
                changes.extend(each);
            }
        }
        changes
    }

    /// The sources of a message that both have; for any but J1939 the one that is none.
    fn common_sources(&self, before: MessageIndex, after: MessageIndex) -> Vec<Option<Source>> {
        let has = |snapshot: &Snapshot, message: MessageIndex| {
            snapshot.space.plan().messages.get(message).is_some_and(|message| message.message.has_sources())
        };
        match (has(&self.old, before), has(&self.new, after)) {
            (false, false) => vec![None],
            (true, true) => {
                let of = |snapshot: &Snapshot, message: MessageIndex| {
                    let all = snapshot.sources.range((message, 0)..=(message, usize::MAX));
                    all.map(|((_, slot), address)| Source { slot: *slot, address: *address }).collect::<Vec<_>>()
                };
                let old = of(&self.old, before);
                let new = of(&self.new, after).into_iter();
                new.filter(|new| old.iter().any(|old| old.address == new.address)).map(Some).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Keeps a list short: of what there is too much, what it hangs from stands for it.
    fn shortened(&self, mut changes: Vec<Change>, most: usize, user: &User) -> Vec<Change> {
        for depth in (1..=DEEPEST).rev() {
            if changes.len() <= most {
                return changes;
            }
            let mut at: HashMap<u64, usize> = HashMap::new();
            let mut kept: Vec<Change> = Vec::new();
            let (deep, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.part.depth() >= depth);
            for change in others.into_iter().chain(deep.into_iter().map(|change| self.lifted(change, user))) {
                let key = version::key(&self.side(change.is).space, change.part);
                let place = *at.entry(key).or_insert_with(|| {
                    kept.push(Change { verb: 0, ..change });
                    kept.len() - 1
                });
                if let Some(kept) = kept.get_mut(place) {
                    // of what has come or gone as a whole there is no more to say
                    let whole = (ADDED | DELETED) & (kept.verb | change.verb);
                    kept.verb = if whole != 0 { whole } else { kept.verb | change.verb };
                }
            }
            changes = kept;
        }
        changes
    }

    /// The change as one of what the node hangs from: a client finds it below that.
    fn lifted(&self, change: Change, user: &User) -> Change {
        let side = self.side(change.is);
        let above = change.part.above(&side.space);
        let part = if side.sees(user)(above.node()) { above } else { Part::Root };
        let verb = match change.verb {
            0 => 0,
            ADDED => REFERENCE_ADDED,
            DELETED => REFERENCE_DELETED,
            _ => REFERENCE_ADDED | REFERENCE_DELETED,
        };
        Change { part, is: change.is, verb }
    }

    /// NodeIds of a node and of its type definition.
    fn ids(&self, change: Change) -> (NodeId, NodeId) {
        let space = &self.side(change.is).space;
        (space.id(change.part.node()), space.type_definition_id(change.part.node()))
    }

    /// The events for whoever has these roles.
    fn events(&self, roles: Roles) -> Vec<Event> {
        let user = User::named("", Proof::Anonymous, roles);
        let mut events = Vec::new();
        let model = self.shortened(self.model(&user), MOST, &user);
        if !model.is_empty() {
            let changes = model.into_iter().map(|change| {
                let (affected, affected_type) = self.ids(change);
                ExtensionObject::from_message(ModelChangeStructureDataType {
                    affected,
                    affected_type,
                    verb: change.verb,
                })
            });
            let kind = ObjectTypeId::GeneralModelChangeEventType;
            events.push(event(kind, "The nodes of the plant have changed", changes.collect(), roles));
        }
        let meaning = self.shortened(self.meaning(&user), MOST, &user);
        if !meaning.is_empty() {
            let changes = meaning.into_iter().map(|change| {
                let (affected, affected_type) = self.ids(change);
                ExtensionObject::from_message(SemanticChangeStructureDataType { affected, affected_type })
            });
            let kind = ObjectTypeId::SemanticChangeEventType;
            events.push(event(kind, "What is known about values has changed", changes.collect(), roles));
        }
        events
    }
}

fn verb(before: &Shape, after: &Shape) -> u8 {
    let lacks = |a: &[u64], b: &[u64]| a.iter().any(|one| b.binary_search(one).is_err());
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    bit(lacks(&after.references, &before.references), REFERENCE_ADDED)
        | bit(lacks(&before.references, &after.references), REFERENCE_DELETED)
        | bit(before.data_type != after.data_type, DATA_TYPE)
}

/// From the server, as the whole AddressSpace is what has changed (OPC 10000-5, 6.4.31).
fn event(kind: ObjectTypeId, message: &str, changes: Vec<ExtensionObject>, roles: Roles) -> Event {
    let changes = changes.into_iter().map(Variant::from).collect();
    Event {
        event_type: kind.into(),
        source_node: ObjectId::Server.into(),
        source_name: "Server".into(),
        severity: 100,
        message: message.into(),
        time: DateTime::now(),
        fields: vec![("Changes", array(VariantScalarTypeId::ExtensionObject, changes))],
        confidential: false,
        audience: Some(roles),
        notifiers: Vec::new(),
        condition: None,
    }
}

/// Tells changes to whoever has subscribed to them, for good.
pub async fn run(server: &Server) -> Infallible {
    let mut scenes = server.scenes.changes();
    let mut known = Snapshot::of(&scenes.borrow_and_update().clone());
    loop {
        tokio::select! {
            changed = scenes.changed() => if changed.is_err() { return std::future::pending().await },
            () = tokio::time::sleep(SOURCES) => {}
        }
        let now = Snapshot::of(&scenes.borrow_and_update().clone());
        if now.is(&known) {
            continue;
        }
        let pair = Pair { old: std::mem::replace(&mut known, now.clone()), new: now };
        let audiences = server.subscriptions().audiences();
        if audiences.is_empty() {
            continue;
        }
        let found = tokio::task::spawn_blocking(move || {
            audiences.into_iter().flat_map(|roles| pair.events(roles)).collect::<Vec<_>>()
        });
        match found.await {
            Ok(events) => events.iter().for_each(|event| server.event(event)),
            Err(error) => tracing::error!(%error, "changes of the nodes could not be told"),
        }
    }
}

#[cfg(test)]
mod tests;
