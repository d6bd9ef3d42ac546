//! The node manager: the server layer's questions about our namespace, answered from the plan and the store.

use std::sync::Arc;

use async_trait::async_trait;
use opcua::nodes::{DefaultTypeTree, TypeTree};
use opcua::server::CreateMonitoredItem;
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::{
    AddReferenceResult, BrowseNode, BrowsePathItem, ExternalReferenceRequest, MethodCall, MonitoredItemRef,
    MonitoredItemUpdateRef, NodeManager, NodeMetadata, ParsedReadValueId, ReadNode, RequestContext, ServerContext,
    WriteNode,
};
use opcua::types::{
    AttributeId, DataEncoding, DataValue, DateTime, IdType, MonitoringMode, NodeClass, NodeId, ObjectId,
    ReferenceDescription, StatusCode, TimestampsToReturn, Variant,
};

use super::guard::Peers;
use super::mapping::{self, Property};
use super::sampling::{Sampling, Trigger, Watch, Watched};
use super::space::{self, NAMESPACE, NAMESPACE_URI, Node, Reference, Space, Target};
use super::writing;
use crate::plan::MessageIndex;
use crate::plant::Plant;
use crate::sample::Sample;
use crate::store::clock;

/// What the server layer asks about our nodes.
pub struct Nodes {
    space: Space,
    plant: Arc<Plant>,
    sampling: Arc<Sampling>,
    peers: Arc<Peers>,
}

/// References that did not fit into one answer.
struct Rest(Vec<ReferenceDescription>);

impl Nodes {
    pub fn new(plant: Arc<Plant>, sampling: Arc<Sampling>, peers: Arc<Peers>) -> Nodes {
        Nodes { space: Space::new(plant.plan.clone()), plant, sampling, peers }
    }

    fn sources(&self, message: MessageIndex) -> Vec<(usize, u8)> {
        self.plant.sources(message)
    }

    fn find(&self, id: &NodeId) -> Option<Node> {
        self.space.find(id, |message| self.sources(message))
    }

    /// The value of a variable, with its sample where it comes from the store.
    fn value(&self, node: Node, now: u64) -> Result<(Option<Variant>, Option<Sample>), StatusCode> {
        let sample =
            |tag, source: Option<space::Source>| self.plant.sample(tag, source.map_or(0, |source| source.slot), now);
        let signal = |tag| self.plant.plan.signal(tag);
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
                let (value, sample) = state.value(&self.plant, now);
                Ok((Some(value), Some(sample)))
            }
            Node::Root | Node::Machine | Node::Bus(_) | Node::Message(..) => Err(StatusCode::BadAttributeIdInvalid),
        }
    }

    /// One attribute as a client reads it.
    fn attribute(&self, context: &RequestContext, wanted: &ParsedReadValueId) -> Result<DataValue, StatusCode> {
        let node = self.find(&wanted.node_id).ok_or(StatusCode::BadNodeIdUnknown)?;
        let now = DateTime::now();
        if !matches!(wanted.data_encoding, DataEncoding::Binary) {
            return Err(StatusCode::BadDataEncodingUnsupported);
        }
        let mut answer = if wanted.attribute_id == AttributeId::Value {
            match self.value(node, clock::monotonic())? {
                (value, Some(sample)) => mapping::data_value(value, &sample, now),
                (value, None) => {
                    DataValue { value, source_timestamp: Some(now), server_timestamp: Some(now), ..DataValue::null() }
                }
            }
        } else {
            let value = self.space.attribute(node, wanted.attribute_id, writing::may_write(context))?;
            DataValue { value: Some(value), server_timestamp: Some(now), ..DataValue::null() }
        };
        if wanted.index_range.has_range() {
            match &answer.value {
                Some(value @ Variant::Array(_)) => answer.value = Some(value.range_of(&wanted.index_range)?),
                _ => return Err(StatusCode::BadIndexRangeNoData),
            }
        }
        Ok(answer)
    }

    /// A reference as Browse describes it.
    fn describe(&self, reference: Reference) -> ReferenceDescription {
        let (node_id, browse_name, display_name, node_class, type_definition) = match reference.target {
            Target::Plant(node) => (
                self.space.id(node),
                self.space.browse_name(node),
                self.space.display_name(node),
                self.space.class(node),
                self.space.type_definition_id(node),
            ),
            Target::Standard { id, name, class, type_definition } => {
                (id, name.into(), opcua::types::LocalizedText::new("", name), class, type_definition)
            }
        };
        ReferenceDescription {
            reference_type_id: reference.kind.into(),
            is_forward: reference.forward,
            node_id: node_id.into(),
            browse_name,
            display_name,
            node_class,
            type_definition: type_definition.into(),
        }
    }

    /// All references that start at a node; of the standard Objects folder only the one into the plant.
    fn references(&self, id: &NodeId) -> Option<Vec<Reference>> {
        if *id == ObjectId::ObjectsFolder {
            return Some(vec![Space::from_objects()]);
        }
        let node = self.find(id)?;
        Some(self.space.references(node, |message| self.sources(message)))
    }

    fn browse_one(&self, types: &dyn TypeTree, node: &mut BrowseNode) {
        if node.continuation_point::<Rest>().is_some() {
            let Some(rest) = node.take_continuation_point::<Rest>() else { return };
            node.set_status(StatusCode::Good);
            let mut rest = rest.0.into_iter();
            while node.remaining() > 0 {
                let Some(reference) = rest.next() else { break };
                // filtered and cut to the result mask when it was put aside
                node.add_unchecked(reference);
            }
            let rest: Vec<_> = rest.collect();
            if !rest.is_empty() {
                node.set_next_continuation_point(Box::new(Rest(rest)));
            }
            return;
        }
        let Some(references) = self.references(node.node_id()) else {
            if node.node_id().namespace == NAMESPACE {
                // the other node managers say Good to what they do not know
                node.set_status(StatusCode::BadNodeIdUnknown);
            }
            return;
        };
        if node.node_id().namespace == NAMESPACE {
            let kind = node.reference_type_id();
            if !kind.is_null() && types.get(kind) != Some(NodeClass::ReferenceType) {
                node.set_status(StatusCode::BadReferenceTypeIdInvalid);
                return;
            }
            node.set_status(StatusCode::Good);
        }
        let mut rest = Vec::new();
        for reference in references {
            let direction = if reference.forward { node.allows_forward() } else { node.allows_inverse() };
            if direction && let AddReferenceResult::Full(reference) = node.add(types, self.describe(reference)) {
                rest.push(reference);
            }
        }
        if !rest.is_empty() {
            node.set_next_continuation_point(Box::new(Rest(rest)));
        }
    }

    /// Follows a path from one of our nodes (or from Objects into the plant) as far as it stays with us.
    fn translate_one(&self, index: usize, types: &dyn TypeTree, item: &mut BrowsePathItem<'_>) {
        if let Some(name) = item.unmatched_browse_name() {
            match self.find(item.node_id()) {
                Some(node) if self.space.browse_name(node) == *name => item.set_browse_name_matched(index),
                _ => return,
            }
        }
        let start = item.node_id().clone();
        if start.namespace == NAMESPACE && self.find(&start).is_none() {
            item.set_status(StatusCode::BadNodeIdUnknown);
            return;
        }
        let mut here = vec![start];
        for (depth, element) in item.path().iter().enumerate() {
            let mut next = Vec::new();
            for reference in here.iter().filter_map(|id| self.references(id)).flatten() {
                let kind: NodeId = reference.kind.into();
                let wanted = &element.reference_type_id;
                let matches = wanted.is_null()
                    || *wanted == kind
                    || element.include_subtypes && types.is_subtype_of(&kind, wanted);
                if !matches || reference.forward == element.is_inverse {
                    continue;
                }
                let (id, name, ours) = match reference.target {
                    Target::Plant(node) => (self.space.id(node), self.space.browse_name(node), true),
                    Target::Standard { id, name, .. } => (id, name.into(), false),
                };
                if name == element.target_name {
                    item.add_element(id.clone(), depth + 1, None);
                    if ours {
                        next.push(id);
                    }
                }
            }
            here = next;
        }
    }

    /// Prepares one monitored item: its initial value, and a watch where the value comes from the store.
    fn watch(&self, context: &RequestContext, item: &mut CreateMonitoredItem) -> Result<(), StatusCode> {
        let wanted = item.item_to_monitor();
        let node = self.find(&wanted.node_id).ok_or(StatusCode::BadNodeIdUnknown)?;
        let filter = format!("{:?}", item.filter());
        let trigger = Trigger::of(&filter).ok_or(StatusCode::BadFilterNotAllowed)?;
        let number = match node {
            Node::Signal(tag, _) => mapping::value_type(self.plant.plan.signal(tag)) != mapping::Type::Boolean,
            _ => false,
        };
        if has_deadband(&filter) && !(number && wanted.attribute_id == AttributeId::Value) {
            return Err(StatusCode::BadFilterNotAllowed);
        }
        let mut initial = self.attribute(context, wanted)?;
        let live = match node {
            Node::Signal(tag, source) => Some(Watched::Value(tag, source)),
            Node::Property(tag, source, Property::ValueAsText) => Some(Watched::Text(tag, source)),
            Node::State(state) => Some(Watched::State(state)),
            _ => None,
        };
        if let (Some(watched), AttributeId::Value) = (live, wanted.attribute_id) {
            let interval = match item.sampling_interval() {
                asked if asked > 0.0 => asked,
                // -1: the publishing interval of the subscription (OPC 10000-4, 7.21)
                _ => publishing_interval(context, item),
            };
            let mut watch = Watch::new(wanted.node_id.clone(), watched, trigger)
                .every(interval, item.sampling_interval() < 0.0)
                .enabled(item.monitoring_mode() != MonitoringMode::Disabled);
            // The server layer holds values back and rewrites their source time when they come closer than its own
            // interval. We take the samples ourselves, so its interval becomes 0 (half a microsecond, cut off).
            item.revise_sampling_interval(0.0005);
            watch.begin(&mut initial);
            self.sampling.add(item.handle(), watch);
        }
        item.set_initial_value(initial);
        Ok(())
    }
}

/// Whether a parsed filter has a deadband. The server layer keeps its type to itself; its Debug text is what it shows.
fn has_deadband(filter: &str) -> bool {
    filter.contains("deadband: Absolute") || filter.contains("deadband: Percent")
}

fn publishing_interval(context: &RequestContext, item: &CreateMonitoredItem) -> f64 {
    let Some(session) = context.subscriptions.get_session_subscriptions(context.session_id) else {
        return space::FASTEST_MS;
    };
    let session = session.lock();
    let subscription = session.get(item.handle().subscription_id);
    subscription.map_or(space::FASTEST_MS, |subscription| subscription.publishing_interval().as_secs_f64() * 1000.0)
}

/// Leaves only the timestamps that were asked for.
fn strip(value: &mut DataValue, timestamps: TimestampsToReturn) {
    if matches!(timestamps, TimestampsToReturn::Server | TimestampsToReturn::Neither) {
        value.source_timestamp = None;
    }
    if matches!(timestamps, TimestampsToReturn::Source | TimestampsToReturn::Neither) {
        value.server_timestamp = None;
    }
}

#[async_trait]
impl NodeManager for Nodes {
    fn owns_node(&self, id: &NodeId) -> bool {
        id.namespace == NAMESPACE
    }

    fn name(&self) -> &str {
        "plant"
    }

    fn namespaces_for_user(&self, _context: &RequestContext) -> Vec<NamespaceMetadata> {
        vec![NamespaceMetadata {
            namespace_uri: NAMESPACE_URI.into(),
            namespace_index: NAMESPACE,
            is_namespace_subset: Some(false),
            static_node_id_types: Some(vec![IdType::String]),
            ..NamespaceMetadata::default()
        }]
    }

    async fn init(&self, _types: &mut DefaultTypeTree, _context: ServerContext) {}

    async fn resolve_external_references(
        &self,
        _context: &RequestContext,
        items: &mut [&mut ExternalReferenceRequest],
    ) {
        for item in items {
            if let Some(node) = self.find(item.node_id()) {
                let metadata = NodeMetadata {
                    node_id: self.space.id(node).into(),
                    type_definition: self.space.type_definition_id(node).into(),
                    browse_name: self.space.browse_name(node),
                    display_name: self.space.display_name(node),
                    node_class: self.space.class(node),
                };
                item.set(metadata);
            }
        }
    }

    async fn read(
        &self,
        context: &RequestContext,
        _max_age: f64,
        timestamps: TimestampsToReturn,
        nodes: &mut [&mut ReadNode],
    ) -> Result<(), StatusCode> {
        for node in nodes {
            match self.attribute(context, node.node()) {
                Ok(mut value) => {
                    strip(&mut value, timestamps);
                    node.set_result(value);
                }
                Err(status) => node.set_error(status),
            }
        }
        Ok(())
    }

    async fn write(&self, context: &RequestContext, nodes: &mut [&mut WriteNode]) -> Result<(), StatusCode> {
        let origin = writing::origin(context, &self.peers);
        let may_write = writing::may_write(context);
        writing::write(&self.plant, origin, may_write, nodes, |id| self.find(id)).await;
        Ok(())
    }

    async fn browse(&self, context: &RequestContext, nodes: &mut [BrowseNode]) -> Result<(), StatusCode> {
        let types = context.get_type_tree_for_user();
        for node in nodes {
            self.browse_one(types.get(), node);
        }
        Ok(())
    }

    async fn translate_browse_paths_to_node_ids(
        &self,
        context: &RequestContext,
        items: &mut [&mut BrowsePathItem],
    ) -> Result<(), StatusCode> {
        let types = context.get_type_tree_for_user();
        for item in items {
            self.translate_one(context.current_node_manager_index, types.get(), item);
        }
        Ok(())
    }

    async fn create_monitored_items(
        &self,
        context: &RequestContext,
        items: &mut [&mut CreateMonitoredItem],
    ) -> Result<(), StatusCode> {
        for item in items {
            let status = match self.watch(context, item) {
                Ok(()) => StatusCode::Good,
                Err(status) => status,
            };
            item.set_status(status);
        }
        Ok(())
    }

    async fn modify_monitored_items(&self, _context: &RequestContext, items: &[&MonitoredItemUpdateRef]) {
        for item in items {
            self.sampling.modify(item.handle(), item.update().revised_sampling_interval);
        }
    }

    async fn set_monitoring_mode(&self, _context: &RequestContext, mode: MonitoringMode, items: &[&MonitoredItemRef]) {
        for item in items {
            self.sampling.enable(item.handle(), mode != MonitoringMode::Disabled);
        }
    }

    async fn delete_monitored_items(&self, context: &RequestContext, items: &[&MonitoredItemRef]) {
        let session = context.subscriptions.get_session_subscriptions(context.session_id);
        for item in items {
            self.sampling.remove(item.handle());
            let with_subscription = session.as_ref().is_none_or(|session| {
                let session = session.lock();
                let subscription = session.get(item.handle().subscription_id);
                subscription.is_none_or(|subscription| subscription.is_empty())
            });
            if with_subscription {
                self.sampling.leave_behind();
            }
        }
    }

    async fn call(&self, _context: &RequestContext, calls: &mut [&mut MethodCall]) -> Result<(), StatusCode> {
        for call in calls {
            let known = self.find(call.object_id()).is_some();
            call.set_status(if known { StatusCode::BadMethodInvalid } else { StatusCode::BadNodeIdUnknown });
        }
        Ok(())
    }
}
