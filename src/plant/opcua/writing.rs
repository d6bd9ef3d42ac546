//! Writes: each checked for what it is, those of one message sent to the controller as one command.

use std::collections::HashMap;
use std::time::Duration;

use opcua::types::{AttributeId, DataValue, NodeId, NumericRange, StatusCode, Variant};
use tokio::time::{Instant, timeout_at};

use super::mapping;
use super::scene::Scene;
use super::service::lease::Commander;
use super::session::User;
use super::space::{Node, Space};
use super::wire::NodeRef;
use crate::command::{Action, MAX_WRITES, Refusal, Write};
use crate::plan::{MessageIndex, Plan, TagIndex};
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

/// Answers all writes of one request. Those of one message go together, in one frame or not at all: where one of them is
/// wrong, or the controller refuses, none is carried out, and the others are told [`mapping::NOT_ALONE`].
///
/// What is written is found and sent with one scene, so that it can't land on another signal. Should the configuration
/// change in between, the controller refuses, and it is found again in the next scene.
pub async fn write(by: &Commander<'_>, asked: &[Asked]) -> Vec<StatusCode> {
    let mut changes = by.server.scenes.changes();
    let deadline = Instant::now() + PATIENCE;
    let mut results = vec![mapping::refusal(&WriteError::Refused(Refusal::Reloaded)); asked.len()];
    let mut open: Vec<usize> = (0..asked.len()).collect();
    for _ in 0..ATTEMPTS {
        let scene = changes.borrow_and_update().clone();
        open = attempt(&scene, by, asked, &open, &mut results).await;
        if open.is_empty() || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
            break;
        }
    }
    results
}

/// Answers these writes; what comes back is what the controller refused because the scene no longer holds.
async fn attempt(
    scene: &Scene,
    by: &Commander<'_>,
    asked: &[Asked],
    open: &[usize],
    results: &mut [StatusCode],
) -> Vec<usize> {
    let Scene { view, .. } = scene;
    let mut groups: Vec<Group> = Vec::new();
    let mut by_message: HashMap<MessageIndex, usize> = HashMap::new();
    let mut commands = Vec::new();
    for &index in open {
        let found = scene.seen(NodeRef::from(&asked[index].node_id), by.user);
        let checked = found.ok_or(StatusCode::BadNodeIdUnknown);
        let checked = checked.and_then(|found| check(scene, found, &asked[index], by.user));
        match (found, checked) {
            (Some(Node::Signal(tag, _)), checked) => {
                let at = *by_message.entry(view.plan.tags[tag].message).or_insert(groups.len());
                if at == groups.len() {
                    groups.push(Group::default());
                }
                match (checked, groups.get_mut(at)) {
                    (Ok(Wanted::Write(write)), Some(group)) => group.writes.push((index, write)),
                    (Err(status), Some(group)) => group.wrong.push((index, status)),
                    _ => results[index] = StatusCode::BadInternalError,
                }
            }
            (_, Ok(Wanted::Action(action))) => commands.push((Group::default(), index, action)),
            (_, Ok(Wanted::Write(_))) => results[index] = StatusCode::BadInternalError,
            (_, Err(status)) => results[index] = status,
        }
    }
    // arming comes before what is written along with it
    for group in groups {
        match group.together() {
            Ok(writes) => {
                let first = group.writes.first().map_or(0, |(index, _)| *index);
                commands.push((group, first, Action::Set(writes)));
            }
            Err(others) => {
                group.wrong.iter().for_each(|(index, status)| results[*index] = *status);
                group.writes.iter().for_each(|(index, _)| results[*index] = others);
            }
        }
    }
    let mut again = Vec::new();
    for (group, first, action) in commands {
        let answer = by.command(view, action).await;
        if answer == Err(WriteError::Refused(Refusal::Reloaded)) {
            again.extend(group.writes.iter().map(|(index, _)| *index).chain([first]));
            continue;
        }
        results[first] = answer.as_ref().map_or_else(mapping::refusal, |()| StatusCode::Good);
        for (index, write) in &group.writes {
            results[*index] = match &answer {
                Ok(()) => StatusCode::Good,
                Err(error) if group.is_innocent(&view.plan, write.tag, error) => mapping::NOT_ALONE,
                Err(error) => mapping::refusal(error),
            };
        }
    }
    again.sort_unstable();
    again.dedup();
    again
}

/// What one Write has of one message, each with its place in the request.
#[derive(Default)]
struct Group {
    writes: Vec<(usize, Write)>,
    wrong: Vec<(usize, StatusCode)>,
}

impl Group {
    /// What goes out in one frame: of a signal that is there twice its last value, as items are processed in their order. Or
    /// why nothing does: what those are told that are right by themselves.
    fn together(&self) -> Result<Vec<Write>, StatusCode> {
        if !self.wrong.is_empty() {
            return Err(mapping::NOT_ALONE);
        }
        let mut places: HashMap<TagIndex, usize> = HashMap::with_capacity(self.writes.len());
        let mut together: Vec<Write> = Vec::with_capacity(self.writes.len());
        for (_, write) in &self.writes {
            let at = *places.entry(write.tag).or_insert(together.len());
            match together.get_mut(at) {
                Some(before) => *before = *write,
                None => together.push(*write),
            }
        }
        if together.len() > MAX_WRITES {
            return Err(mapping::refusal(&WriteError::Refused(Refusal::TooMany)));
        }
        Ok(together)
    }

    /// Whether the controller has refused because of another signal that was written along with this one.
    fn is_innocent(&self, plan: &Plan, tag: TagIndex, error: &WriteError) -> bool {
        let WriteError::Refused(refusal) = error else { return false };
        let blamed = |tag: TagIndex| refusal.tags().contains(&Some(plan.tag_name(tag, None).as_str()));
        !blamed(tag) && self.writes.iter().any(|(_, other)| blamed(other.tag))
    }
}

/// What a write asks for.
enum Wanted {
    Write(Write),
    Action(Action),
}

/// What can be said without the controller (OPC 10000-4, 5.11.4).
fn check(scene: &Scene, node: Node, asked: &Asked, user: &User) -> Result<Wanted, StatusCode> {
    let plan = &scene.view.plan;
    let attribute = asked.attribute.ok_or(StatusCode::BadAttributeIdInvalid)?;
    let writable = match node {
        Node::Signal(tag, _) => plan.tags[tag].writable,
        Node::State(state) => state.is_writable(),
        _ => false,
    };
    if !writable || attribute != AttributeId::Value {
        return Err(StatusCode::BadNotWritable);
    }
    if !scene.space.may(user, Space::writing(node), node) {
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
        Node::Signal(tag, _) => Ok(Wanted::Write(mapping::write(plan, tag, value)?)),
        Node::State(state) => state.write(value).map(Wanted::Action),
        _ => Err(StatusCode::BadNotWritable),
    }
}
