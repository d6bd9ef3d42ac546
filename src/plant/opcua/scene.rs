//! What the server answers from at one moment: a view of the plant and the nodes of its plan, which belong together.

use std::sync::Arc;

use anyhow::Context;
use opcua::types::{AttributeId, DataValue, DateTime, NodeId, NumericRange, StatusCode, Variant};
use tokio::sync::watch;

use super::mapping::{self, Property};
use super::space::{Node, Reference, Source, Space};
use crate::plant::{Plant, View};
use crate::sample::Sample;
use crate::store::clock;

/// One request, one look: one of these.
pub struct Scene {
    /// Counts up: nodes that were found in another one must be found anew.
    pub number: u64,
    pub view: Arc<View>,
    pub space: Arc<Space>,
}

impl Scene {
    pub fn find(&self, id: &NodeId) -> Option<Node> {
        self.space.find(id, |message| self.view.sources(message))
    }

    pub fn references(&self, node: Node) -> Vec<Reference> {
        self.space.references(node, |message| self.view.sources(message))
    }

    /// The value of a variable, with its sample where it comes from the store. `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn value(&self, node: Node, now: u64) -> Result<(Option<Variant>, Option<Sample>), StatusCode> {
        let sample = |tag, source: Option<Source>| self.view.sample(tag, source.map_or(0, |source| source.slot), now);
        let signal = |tag| self.view.plan.signal(tag);
        match node {
            Node::Signal(tag, source) => {
                let sample = sample(tag, source);
                Ok((mapping::value(signal(tag), &sample), Some(sample)))
            }
            Node::Property(tag, source, Property::ValueAsText) => {
                let sample = sample(tag, source);
                Ok((mapping::value_as_text(signal(tag), &sample), Some(sample)))
            }
            Node::Property(tag, _, property) => Ok((Some(mapping::property_value(signal(tag), property)), None)),
            Node::Fact(message, fact) => Ok((Some(self.space.fact_value(message, fact)), None)),
            Node::State(state) => {
                let (value, sample) = state.value(&self.view, now);
                Ok((Some(value), Some(sample)))
            }
            Node::Root | Node::Machine | Node::Bus(_) | Node::Message(..) => Err(StatusCode::BadAttributeIdInvalid),
        }
    }

    /// One attribute as a client reads it. `may_write`: the user may.
    pub fn attribute(
        &self,
        node: Node,
        attribute: AttributeId,
        range: &NumericRange,
        may_write: bool,
    ) -> Result<DataValue, StatusCode> {
        let now = DateTime::now();
        let mut answer = if attribute == AttributeId::Value {
            match self.value(node, clock::monotonic())? {
                (value, Some(sample)) => mapping::data_value(value, &sample, now),
                (value, None) => {
                    DataValue { value, source_timestamp: Some(now), server_timestamp: Some(now), ..DataValue::null() }
                }
            }
        } else {
            let value = self.space.attribute(node, attribute, may_write)?;
            DataValue { value: Some(value), server_timestamp: Some(now), ..DataValue::null() }
        };
        if range.has_range() {
            match &answer.value {
                Some(value @ Variant::Array(_)) => answer.value = Some(value.range_of(range)?),
                _ => return Err(StatusCode::BadIndexRangeNoData),
            }
        }
        Ok(answer)
    }
}

/// The scene that holds now, put in the other's place as a whole.
pub struct Scenes {
    current: watch::Sender<Arc<Scene>>,
}

impl Scenes {
    pub fn new(plant: &Plant) -> Scenes {
        let view = plant.view();
        let space = Arc::new(Space::new(view.plan.clone()));
        Scenes { current: watch::Sender::new(Arc::new(Scene { number: 1, view, space })) }
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
                    let plan = view.plan.clone();
                    Arc::new(tokio::task::spawn_blocking(move || Space::new(plan)).await.context("the nodes")?)
                };
                self.current.send_replace(Arc::new(Scene { number: before.number + 1, view, space }));
            }
            // the old store is not kept while nothing happens
            drop(before);
            changes.changed().await.context("the plant")?;
        }
    }
}
