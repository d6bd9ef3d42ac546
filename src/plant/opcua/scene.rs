//! What the server answers from at one moment: a view of the plant and the nodes of its plan, which belong together.

use std::sync::Arc;

use anyhow::Context;
use opcua::types::{AttributeId, DataValue, DateTime, NodeClass, StatusCode, VariableId, Variant};
use tokio::sync::watch;

use super::condition::Former;
use super::identity::Identity;
use super::mapping::{self, Property};
use super::session::User;
use super::space::server::{Health, ServerObject};
use super::space::standard::Standard;
use super::space::{
    self, NAMESPACE_URI, Node, Passing, Reference, Space, condition, method, model, permission, role, version,
};
use super::subscription::Event;
use super::wire::{Name, NodeRef};
use crate::plan::TagIndex;
use crate::plant::access::{Operation, Subject};
use crate::plant::alarm::Alarms;
use crate::plant::{Plant, View};
use crate::sample::Sample;
use crate::store::layout::Word;

/// One request, one look: one of these.
pub struct Scene {
    /// Counts up: nodes that were found in another one must be found anew.
    pub number: u64,
    pub view: Arc<View>,
    pub space: Arc<Space>,
    pub server: Arc<ServerObject>,
    pub alarms: Arc<Alarms>,
}

/// DataEncoding of a value (OPC 10000-4, 5.11.2): what a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// None: the one of the message.
    Any,
    Binary,
    /// One of the standard's that this server does not write.
    Unsupported,
    Unknown,
}

impl Encoding {
    pub fn of(name: Name<'_>) -> Encoding {
        match (name.namespace, name.name) {
            (_, "") => Encoding::Any,
            (0, "Default Binary") => Encoding::Binary,
            (0, "Default XML" | "Default JSON") => Encoding::Unsupported,
            _ => Encoding::Unknown,
        }
    }

    /// Whether an attribute can be had in it.
    pub fn check(self, attribute: AttributeId) -> Result<(), StatusCode> {
        match self {
            Encoding::Any => Ok(()),
            // only values have an encoding of their own
            _ if attribute != AttributeId::Value => Err(StatusCode::BadDataEncodingInvalid),
            Encoding::Binary => Ok(()),
            Encoding::Unsupported => Err(StatusCode::BadDataEncodingUnsupported),
            Encoding::Unknown => Err(StatusCode::BadDataEncodingInvalid),
        }
    }
}

impl Scene {
    pub fn find(&self, id: NodeRef<'_>) -> Option<Node> {
        let address = |message, slot| self.view.source(message, slot);
        let sessions = || (self.server.diagnostics.ids)();
        self.space.find(id, Passing { address: &address, sessions: &sessions })
    }

    /// The same, where this user may see it: what is hidden is not there.
    pub fn seen(&self, id: NodeRef<'_>, user: &User) -> Option<Node> {
        self.find(id).filter(|node| self.space.sees(user, *node))
    }

    /// The references of a node that this user may see.
    pub fn references_seen(&self, node: Node, user: &User) -> Vec<Reference> {
        let mut all = self.references(node);
        if !self.space.rights.sees_all(user.roles) {
            all.retain(|reference| self.space.sees(user, reference.target));
        }
        all
    }

    pub fn references(&self, node: Node) -> Vec<Reference> {
        let address = |message, slot| self.view.source(message, slot);
        let sessions = || (self.server.diagnostics.ids)();
        self.space.references(node, Passing { address: &address, sessions: &sessions })
    }

    /// The variables that an alias means.
    pub fn aliased(&self, alias: u32) -> Vec<Node> {
        let address = |message, slot| self.view.source(message, slot);
        self.space.aliased(alias, Passing { address: &address, sessions: &Vec::new })
    }

    /// Of the references of a node, at least those to nodes of this name; `None` where it is as well to look at all.
    pub fn references_named(&self, node: Node, namespace: u16, name: &str) -> Option<Vec<Reference>> {
        self.space.references_named(node, namespace, name)
    }

    /// The value of a variable, with its sample where it comes from the store. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn value_for(
        &self,
        node: Node,
        user: &User,
        now: u64,
    ) -> Result<(Option<Variant>, Option<Sample>), StatusCode> {
        if self.space.class(node) == NodeClass::Variable && !self.space.may_read(user, node) {
            return Err(StatusCode::BadUserAccessDenied);
        }
        match node {
            Node::Signal(tag, source) | Node::Property(tag, source, Property::RawValue | Property::ValueAsText) => {
                let sample = self.view.sample(tag, source.map_or(0, |source| source.slot), now);
                Ok((self.shown(node, tag, &sample, user), Some(sample)))
            }
            Node::State(state) => {
                // what is hidden is in no list either
                let all = self.space.rights.sees_all(user.roles);
                let sees = |node| all || self.space.sees(user, node);
                let (value, sample) = state.value(&self.view, sees, now);
                Ok((Some(value), Some(sample)))
            }
            Node::Model(part) => model::value(self, part, user, now),
            Node::Condition(part) => condition::value(self, part, user, now),
            Node::Method(part) => Ok((Some(method::value(self, part, user)?), None)),
            Node::Version(part) => Ok((Some(self.version(part, user)), None)),
            _ => Ok((Some(self.constant(node, user, now)?), None)),
        }
    }

    /// NodeVersion, as it is for this user.
    fn version(&self, part: version::Part, user: &User) -> Variant {
        let address = |message, slot| self.view.source(message, slot);
        let passing = Passing { address: &address, sessions: &Vec::new };
        let all = self.space.rights.sees_all(user.roles);
        version::value(&version::shape(&self.space, part, passing, |node| all || self.space.sees(user, node)))
    }

    /// What a variable of a signal shows of its sample.
    pub(super) fn shown(&self, node: Node, tag: TagIndex, sample: &Sample, user: &User) -> Option<Variant> {
        let signal = self.view.plan.signal(tag);
        match node {
            Node::Signal(..) => mapping::value(signal, sample),
            Node::Property(_, _, Property::RawValue) => mapping::raw_value(signal, sample),
            _ => mapping::value_as_text(signal, sample, self.space.words(tag, user)),
        }
    }

    /// What does not come from the store.
    fn constant(&self, node: Node, user: &User, now: u64) -> Result<Variant, StatusCode> {
        match node {
            Node::Property(tag, _, property) => {
                let words = self.space.words(tag, user);
                Ok(mapping::property_value(self.view.plan.signal(tag), property, words))
            }
            Node::Fact(message, source, fact) => Ok(self.space.fact_value(message, source, fact)),
            Node::Standard(row) => {
                let id = self.space.standard.entry(row).map(|entry| entry.id());
                let number = id.and_then(|id| id.standard()).unwrap_or(0);
                if let Some(own) = id.and_then(permission::default_of) {
                    return permission::default_permissions(&self.space.rights, user, own);
                }
                if number == VariableId::Server_ServerCapabilities_LocaleIdArray as u32 {
                    return Ok(self.space.locales());
                }
                let health = if self.view.alive(now) { Health::Good } else { Health::ControllerGone };
                let known = self.server.value(number, health);
                match known.or_else(|| role::value(number, self.space.rights.configs())) {
                    Some(value) => Ok(value),
                    None => self.space.standard_value(row),
                }
            }
            Node::Diagnostic(session, diagnostic) => self.server.session(session, diagnostic),
            Node::Root
            | Node::Machine
            | Node::Bus(_)
            | Node::Message(..)
            | Node::Session(_)
            | Node::Signal(..)
            | Node::State(_)
            | Node::Model(_)
            | Node::Condition(_)
            | Node::Method(_)
            | Node::Version(_) => Err(StatusCode::BadAttributeIdInvalid),
        }
    }

    /// Whether this user is told of an event. `source`: the node of its SourceNode, where that is here.
    pub fn may_be_told(&self, user: &User, event: &Event, source: Option<Node>) -> bool {
        if event.audience.is_some_and(|roles| roles != user.roles) {
            return false;
        }
        let operation = if event.confidential { Operation::Audit } else { Operation::Events };
        if let Some(condition) = &event.condition {
            // what came with a reload that holds elsewhere already is told to nobody who may see a part only
            if let Some(Former(gone)) = &condition.gone {
                return gone.may(user, operation, gone.alarms.node(condition.alarm));
            }
            let all = self.space.rights.sees_all(user.roles);
            return match self.find(NodeRef::from(&condition.node)) {
                Some(node) => self.space.may(user, operation, node),
                None => all && self.space.rights.may(user.roles, operation, Subject::Machine),
            };
        }
        let subject = source.map_or(Subject::Machine, |node| self.space.subject(node));
        // who reads the audit trail reads all of it, or what is hidden from it could be done unseen
        let subject = if event.confidential { Subject::Machine } else { subject };
        self.space.rights.may(user.roles, operation, subject)
    }

    /// Whether it is worth looking at without a change of the plan.
    pub fn is_live(&self, node: Node, attribute: AttributeId) -> bool {
        if attribute != AttributeId::Value {
            return false;
        }
        match node {
            Node::Standard(row) => {
                let number = self.space.standard.entry(row).and_then(|entry| entry.id().standard());
                number.is_some_and(ServerObject::is_live)
            }
            node => space::is_live(&self.space, node),
        }
    }

    /// An attribute that is not the value.
    pub fn described(&self, node: Node, attribute: AttributeId, user: &User) -> Result<Variant, StatusCode> {
        let value = self.space.attribute(node, attribute, user)?;
        let executable = matches!(attribute, AttributeId::Executable | AttributeId::UserExecutable);
        let remote = || self.view.reader.get(Word::Remote) == 1;
        // whether it can be called now (OPC 10000-3, 5.7); the controller says the same to whoever tries
        let refused = executable && matches!(node, Node::Method(part) if method::needs_remote(part)) && !remote();
        Ok(if refused { Variant::Boolean(false) } else { value })
    }

    /// One attribute as this user reads it, with all its times.
    pub fn attribute(
        &self,
        node: Node,
        attribute: AttributeId,
        user: &User,
        now: u64,
    ) -> Result<DataValue, StatusCode> {
        let time = DateTime::now();
        if attribute != AttributeId::Value {
            let value = self.described(node, attribute, user)?;
            return Ok(DataValue { value: Some(value), server_timestamp: Some(time), ..DataValue::null() });
        }
        Ok(match self.value_for(node, user, now)? {
            (value, Some(sample)) => mapping::data_value(value, &sample, time),
            (value, None) => {
                DataValue { value, source_timestamp: Some(time), server_timestamp: Some(time), ..DataValue::null() }
            }
        })
    }
}

/// The scene that holds now, put in the other's place as a whole.
pub struct Scenes {
    current: watch::Sender<Arc<Scene>>,
}

impl Scenes {
    /// Loads all nodes: blocks for a tenth of a second.
    pub fn new(plant: &Plant, server: ServerObject, identity: Identity) -> Scenes {
        let view = plant.view();
        let standard = Arc::new(Standard::load(&server.application_uri, NAMESPACE_URI));
        let space = Space::new(view.plan.clone(), standard, Arc::new(identity)).with_rights(view.rights.clone());
        let space = Arc::new(space);
        let scene = Scene { number: 1, view, space, server: Arc::new(server), alarms: plant.alarms.clone() };
        Scenes { current: watch::Sender::new(Arc::new(scene)) }
    }

    pub fn now(&self) -> Arc<Scene> {
        self.current.borrow().clone()
    }

    /// Tells when another one holds.
    pub fn changes(&self) -> watch::Receiver<Arc<Scene>> {
        self.current.subscribe()
    }

    /// Keeps up with the plant. The nodes of another plan are found beside the threads that serve; until they are there, the
    /// old scene holds.
    pub async fn follow(&self, plant: &Plant) -> anyhow::Result<std::convert::Infallible> {
        let mut changes = plant.changes();
        loop {
            let view = changes.borrow_and_update().clone();
            let before = self.now();
            if !Arc::ptr_eq(&before.view, &view) {
                let space = if Arc::ptr_eq(&before.view.plan, &view.plan) {
                    before.space.clone()
                } else {
                    let (plan, space) = (view.plan.clone(), before.space.clone());
                    let space = tokio::task::spawn_blocking(move || space.of(plan)).await;
                    Arc::new(space.context("the nodes")?.with_rights(view.rights.clone()))
                };
                let server = before.server.clone();
                let (number, alarms) = (before.number + 1, before.alarms.clone());
                self.current.send_replace(Arc::new(Scene { number, view, space, server, alarms }));
            }
            // the old store is not kept while nothing happens
            drop(before);
            changes.changed().await.context("the plant")?;
        }
    }
}
