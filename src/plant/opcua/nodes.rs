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
    AttributeId, DataEncoding, DataValue, IdType, MonitoringMode, NodeClass, NodeId, ObjectId, ReferenceDescription,
    StatusCode, TimestampsToReturn,
};

use super::guard::Peers;
use super::mapping;
use super::sampling::{Sampling, Trigger, Watch, Watched};
use super::scene::{Scene, Scenes};
use super::space::{self, NAMESPACE, NAMESPACE_URI, Node, Reference, Space, Target};
use super::writing;

/// What the server layer asks about our nodes.
pub struct Nodes {
    scenes: Arc<Scenes>,
    sampling: Arc<Sampling>,
    peers: Arc<Peers>,
}

/// References that did not fit into one answer.
struct Rest(Vec<ReferenceDescription>);

impl Nodes {
    pub fn new(scenes: Arc<Scenes>, sampling: Arc<Sampling>, peers: Arc<Peers>) -> Nodes {
        Nodes { scenes, sampling, peers }
    }

    /// One attribute as a client reads it.
    fn attribute(
        &self,
        scene: &Scene,
        context: &RequestContext,
        wanted: &ParsedReadValueId,
    ) -> Result<DataValue, StatusCode> {
        let node = scene.find(&wanted.node_id).ok_or(StatusCode::BadNodeIdUnknown)?;
        if !matches!(wanted.data_encoding, DataEncoding::Binary) {
            return Err(StatusCode::BadDataEncodingUnsupported);
        }
        scene.attribute(node, wanted.attribute_id, &wanted.index_range, writing::may_write(context))
    }

    /// A reference as Browse describes it.
    fn describe(space: &Space, reference: Reference) -> ReferenceDescription {
        let (node_id, browse_name, display_name, node_class, type_definition) = match reference.target {
            Target::Plant(node) => (
                space.id(node),
                space.browse_name(node),
                space.display_name(node),
                space.class(node),
                space.type_definition_id(node),
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
    fn references(scene: &Scene, id: &NodeId) -> Option<Vec<Reference>> {
        if *id == ObjectId::ObjectsFolder {
            return Some(vec![Space::from_objects()]);
        }
        Some(scene.references(scene.find(id)?))
    }

    fn browse_one(scene: &Scene, types: &dyn TypeTree, node: &mut BrowseNode) {
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
        let Some(references) = Self::references(scene, node.node_id()) else {
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
            if direction
                && let AddReferenceResult::Full(reference) = node.add(types, Self::describe(&scene.space, reference))
            {
                rest.push(reference);
            }
        }
        if !rest.is_empty() {
            node.set_next_continuation_point(Box::new(Rest(rest)));
        }
    }

    /// Follows a path from one of our nodes (or from Objects into the plant) as far as it stays with us.
    fn translate_one(scene: &Scene, index: usize, types: &dyn TypeTree, item: &mut BrowsePathItem<'_>) {
        if let Some(name) = item.unmatched_browse_name() {
            match scene.find(item.node_id()) {
                Some(node) if scene.space.browse_name(node) == *name => item.set_browse_name_matched(index),
                _ => return,
            }
        }
        let start = item.node_id().clone();
        if start.namespace == NAMESPACE && scene.find(&start).is_none() {
            item.set_status(StatusCode::BadNodeIdUnknown);
            return;
        }
        let mut here = vec![start];
        for (depth, element) in item.path().iter().enumerate() {
            let mut next = Vec::new();
            for reference in here.iter().filter_map(|id| Self::references(scene, id)).flatten() {
                let kind: NodeId = reference.kind.into();
                let wanted = &element.reference_type_id;
                let matches = wanted.is_null()
                    || *wanted == kind
                    || element.include_subtypes && types.is_subtype_of(&kind, wanted);
                if !matches || reference.forward == element.is_inverse {
                    continue;
                }
                let (id, name, ours) = match reference.target {
                    Target::Plant(node) => (scene.space.id(node), scene.space.browse_name(node), true),
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

    /// Prepares one monitored item: its initial value, and a watch, since a reload can change whatever it is.
    fn watch(&self, scene: &Scene, context: &RequestContext, item: &mut CreateMonitoredItem) -> Result<(), StatusCode> {
        let wanted = item.item_to_monitor();
        let node = scene.find(&wanted.node_id).ok_or(StatusCode::BadNodeIdUnknown)?;
        let filter = format!("{:?}", item.filter());
        let trigger = Trigger::of(&filter).ok_or(StatusCode::BadFilterNotAllowed)?;
        let number = match node {
            Node::Signal(tag, _) => mapping::value_type(scene.view.plan.signal(tag)) != mapping::Type::Boolean,
            _ => false,
        };
        if has_deadband(&filter) && !(number && wanted.attribute_id == AttributeId::Value) {
            return Err(StatusCode::BadFilterNotAllowed);
        }
        let mut initial = self.attribute(scene, context, wanted)?;
        let interval = match item.sampling_interval() {
            asked if asked > 0.0 => asked,
            // -1: the publishing interval of the subscription (OPC 10000-4, 7.21)
            _ => publishing_interval(context, item),
        };
        let watched = Watched {
            id: wanted.node_id.clone(),
            attribute: wanted.attribute_id,
            range: wanted.index_range.clone(),
            may_write: writing::may_write(context),
        };
        let mut watch = Watch::new(watched, trigger)
            .found(scene.number, node)
            .every(interval, item.sampling_interval() < 0.0)
            .enabled(item.monitoring_mode() != MonitoringMode::Disabled);
        // The server layer holds values back and rewrites their source time when they come closer than its own
        // interval. We take the samples ourselves, so its interval becomes 0 (half a microsecond, cut off).
        item.revise_sampling_interval(0.0005);
        watch.begin(&mut initial);
        self.sampling.add(item.handle(), watch);
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
        let scene = self.scenes.now();
        let space = &scene.space;
        for item in items {
            if let Some(node) = scene.find(item.node_id()) {
                let metadata = NodeMetadata {
                    node_id: space.id(node).into(),
                    type_definition: space.type_definition_id(node).into(),
                    browse_name: space.browse_name(node),
                    display_name: space.display_name(node),
                    node_class: space.class(node),
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
        let scene = self.scenes.now();
        for node in nodes {
            match self.attribute(&scene, context, node.node()) {
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
        writing::write(&self.scenes, origin, may_write, nodes).await;
        Ok(())
    }

    async fn browse(&self, context: &RequestContext, nodes: &mut [BrowseNode]) -> Result<(), StatusCode> {
        let types = context.get_type_tree_for_user();
        let scene = self.scenes.now();
        for node in nodes {
            Self::browse_one(&scene, types.get(), node);
        }
        Ok(())
    }

    async fn translate_browse_paths_to_node_ids(
        &self,
        context: &RequestContext,
        items: &mut [&mut BrowsePathItem],
    ) -> Result<(), StatusCode> {
        let types = context.get_type_tree_for_user();
        let scene = self.scenes.now();
        for item in items {
            Self::translate_one(&scene, context.current_node_manager_index, types.get(), item);
        }
        Ok(())
    }

    async fn create_monitored_items(
        &self,
        context: &RequestContext,
        items: &mut [&mut CreateMonitoredItem],
    ) -> Result<(), StatusCode> {
        let scene = self.scenes.now();
        for item in items {
            let status = match self.watch(&scene, context, item) {
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
        let scene = self.scenes.now();
        for call in calls {
            let known = scene.find(call.object_id()).is_some();
            call.set_status(if known { StatusCode::BadMethodInvalid } else { StatusCode::BadNodeIdUnknown });
        }
        Ok(())
    }
}
