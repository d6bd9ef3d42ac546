//! Writes: each checked for what it is, those of one message sent to the controller as one command.

use std::time::Duration;

use opcua::types::{AttributeId, DataValue, NodeId, NumericRange, StatusCode, Variant};
use tokio::time::{Instant, timeout_at};

use super::mapping;
use super::scene::{Scene, Scenes};
use super::space::Node;
use super::wire::NodeRef;
use crate::command::{Action, MAX_WRITES, Origin, Refusal, Write};
use crate::plan::Plan;
use crate::plant::view::WriteError;

/// How often a write is tried while one configuration follows another.
const ATTEMPTS: usize = 4;
/// How long a write waits for the next scene, all attempts together.
const PATIENCE: Duration = Duration::from_secs(3);

/// One WriteValue (OPC 10000-4, 5.11.4).
#[derive(Clone, Debug)]
pub struct Asked {
    pub node_id: NodeId,
    /// `None`: there is no such attribute.
    pub attribute: Option<AttributeId>,
    /// What of the value; an error is this one item's.
    pub range: Result<NumericRange, StatusCode>,
    pub value: DataValue,
}

/// Answers all writes of one request. Writes of one message go together: the frame carries all or none of them.
///
/// What is written is found and sent with one scene, so that it can't land on another signal. Should the configuration
/// change in between, the controller refuses, and it is found again in the next scene.
pub async fn write(scenes: &Scenes, origin: Origin, may_write: bool, asked: &[Asked]) -> Vec<StatusCode> {
    let mut changes = scenes.changes();
    let deadline = Instant::now() + PATIENCE;
    let mut results = vec![mapping::refusal(&WriteError::Refused(Refusal::Reloaded)); asked.len()];
    let mut open: Vec<usize> = (0..asked.len()).collect();
    for _ in 0..ATTEMPTS {
        let scene = changes.borrow_and_update().clone();
        open = attempt(&scene, &origin, may_write, asked, &open, &mut results).await;
        if open.is_empty() || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    results
}

/// Answers these writes; what comes back is what the controller refused because the scene no longer holds.
async fn attempt(
    scene: &Scene,
    origin: &Origin,
    may_write: bool,
    asked: &[Asked],
    open: &[usize],
    results: &mut [StatusCode],
) -> Vec<usize> {
    let Scene { view, .. } = scene;
    let mut commands: Vec<(Vec<usize>, Vec<Write>)> = Vec::new();
    let mut actions = Vec::new();
    for &index in open {
        let found = scene.find(NodeRef::from(&asked[index].node_id)).ok_or(StatusCode::BadNodeIdUnknown);
        match found.and_then(|found| check(&view.plan, found, &asked[index], may_write)) {
            Ok(Wanted::Write(write)) => group(&view.plan, &mut commands, index, write),
            Ok(Wanted::Action(action)) => actions.push((vec![index], action)),
            Err(status) => results[index] = status,
        }
    }
    // arming comes before what is written along with it
    let writes = commands.into_iter().map(|(indices, writes)| (indices, Action::Set(writes)));
    let mut again = Vec::new();
    for (indices, action) in actions.into_iter().chain(writes) {
        let status = match view.command(origin.clone(), action).await {
            Ok(()) => StatusCode::Good,
            Err(WriteError::Refused(Refusal::Reloaded)) => {
                again.extend(indices);
                continue;
            }
            Err(error) => mapping::refusal(&error),
        };
        for index in indices {
            results[index] = status;
        }
    }
    again.sort_unstable();
    again
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
fn check(plan: &Plan, node: Node, asked: &Asked, may_write: bool) -> Result<Wanted, StatusCode> {
    let attribute = asked.attribute.ok_or(StatusCode::BadAttributeIdInvalid)?;
    let writable = match node {
        Node::Signal(tag, _) => plan.tags[tag].writable,
        Node::State(state) => state.is_writable(),
        _ => false,
    };
    if !writable || attribute != AttributeId::Value {
        return Err(StatusCode::BadNotWritable);
    }
    if !may_write {
        return Err(StatusCode::BadUserAccessDenied);
    }
    if asked.range.clone()?.has_range() {
        return Err(StatusCode::BadIndexRangeNoData);
    }
    let value = &asked.value;
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
