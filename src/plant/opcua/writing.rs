//! Writes: each checked for what it is, those of one message sent to the controller as one command.

use opcua::server::node_manager::{ParsedWriteValue, RequestContext, WriteNode};
use opcua::types::{AttributeId, NodeId, StatusCode, Variant};

use super::guard::Peers;
use super::mapping;
use super::space::Node;
use crate::command::{Action, MAX_WRITES, Origin, Write};
use crate::plan::Plan;
use crate::plant::Plant;
use crate::plant::view::WriteError;

/// Who is not anonymous may write; what may be written the controller decides.
pub fn may_write(context: &RequestContext) -> bool {
    !context.token.is_anonymous()
}

/// Who wrote from where, for the audit record.
pub fn origin(context: &RequestContext, peers: &Peers) -> Origin {
    let channel = context.session.read().secure_channel_id();
    Origin { protocol: "opcua".into(), user: context.token.0.clone(), address: peers.address(channel) }
}

/// Answers all writes of one request. Writes of one message go together: the frame carries all or none of them.
pub async fn write(
    plant: &Plant,
    origin: Origin,
    may_write: bool,
    nodes: &mut [&mut WriteNode],
    find: impl Fn(&NodeId) -> Option<Node>,
) {
    let mut commands: Vec<(Vec<usize>, Vec<Write>)> = Vec::new();
    let mut actions = Vec::new();
    for (index, node) in nodes.iter_mut().enumerate() {
        let found = find(&node.value().node_id).ok_or(StatusCode::BadNodeIdUnknown);
        match found.and_then(|found| check(&plant.plan, found, node.value(), may_write)) {
            Ok(Wanted::Write(write)) => group(&plant.plan, &mut commands, index, write),
            Ok(Wanted::Action(action)) => actions.push((index, action)),
            Err(status) => node.set_status(status),
        }
    }
    let status = |done: Result<(), WriteError>| match done {
        Ok(()) => StatusCode::Good,
        Err(error) => mapping::refusal(&error),
    };
    // arming comes before what is written along with it
    for (index, action) in actions {
        nodes[index].set_status(status(plant.command(origin.clone(), action).await));
    }
    for (indices, writes) in commands {
        let status = status(plant.write(origin.clone(), writes).await);
        for index in indices {
            nodes[index].set_status(status);
        }
    }
}

/// Adds a write to the last command for its message, unless that has this signal already: then the later value follows
/// in a command of its own.
fn group(plan: &Plan, commands: &mut Vec<(Vec<usize>, Vec<Write>)>, index: usize, write: Write) {
    let message = plan.tags[write.tag].message;
    let last = commands.iter_mut().rev().find(|(_, writes)| plan.tags[writes[0].tag].message == message);
    match last {
        Some((indices, writes)) if writes.len() < MAX_WRITES && writes.iter().all(|other| other.tag != write.tag) => {
            indices.push(index);
            writes.push(write);
        }
        _ => commands.push((vec![index], vec![write])),
    }
}

/// What a write asks for.
enum Wanted {
    Write(Write),
    Action(Action),
}

/// What can be said without the controller (OPC 10000-4, 5.11.4).
fn check(plan: &Plan, node: Node, wanted: &ParsedWriteValue, may_write: bool) -> Result<Wanted, StatusCode> {
    let writable = match node {
        Node::Signal(tag, _) => plan.tags[tag].writable,
        Node::State(state) => state.is_writable(),
        _ => false,
    };
    if !writable || wanted.attribute_id != AttributeId::Value {
        return Err(StatusCode::BadNotWritable);
    }
    if !may_write {
        return Err(StatusCode::BadUserAccessDenied);
    }
    if wanted.index_range.has_range() {
        return Err(StatusCode::BadIndexRangeNoData);
    }
    let value = &wanted.value;
    // A Good status says nothing, and asyncua sends its own time with every write: it has no effect, as the time of a
    // value is that of its frame. What would mean something is refused.
    let bare = value.status.is_none_or(|status| status == StatusCode::Good)
        && value.server_timestamp.is_none()
        && value.source_picoseconds.is_none()
        && value.server_picoseconds.is_none();
    if !bare {
        return Err(StatusCode::BadWriteNotSupported);
    }
    let value = value.value.as_ref().unwrap_or(&Variant::Empty);
    match node {
        Node::Signal(tag, _) => Ok(Wanted::Write(Write { tag, value: mapping::to_command(plan.signal(tag), value)? })),
        Node::State(state) => state.write(value).map(Wanted::Action),
        _ => Err(StatusCode::BadNotWritable),
    }
}
