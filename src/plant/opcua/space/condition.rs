//! Alarms as conditions (OPC 10000-9): their nodes. What a condition has is taken from its type's InstanceDeclarations.

mod shape;
mod source;

use opcua::types::{AttributeId, NodeClass, ObjectTypeId, ReferenceTypeId, StatusCode, Variant};
use std::sync::Arc;

use super::{NAMESPACE, Node, Passing, Reference, Space, forward};
use crate::plan::{Alarm, AlarmIndex, Plan};
use crate::plant::access::{Operation, Subject};
use crate::plant::opcua::condition::{self, Condition};
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::sample::Sample;
use shape::{Member, Shape};
use source::Sources;

/// NodeId of the folder of all of them; theirs begin with it. The machine has a variable of the same name.
const FOLDER: &str = "Canvoy.Alarms";
const FOLDER_NAME: &str = "Conditions";

/// One node of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Folder,
    Alarm(AlarmIndex),
    /// What is in it: an index into the shape of its type.
    Member(AlarmIndex, u16),
}

/// The alarms of a plan: numbers only, no names are kept.
pub struct Alarms {
    plan: Arc<Plan>,
    /// By key.
    sorted: Vec<u32>,
    sources: Sources,
    shapes: Vec<Shape>,
}

impl Alarms {
    pub fn new(plan: &Arc<Plan>, standard: &super::standard::Standard) -> Alarms {
        let mut sorted: Vec<u32> = (0..plan.alarms.len() as u32).collect();
        sorted.sort_by_cached_key(|alarm| plan.alarms.get(*alarm as usize).map(|alarm| alarm.key(plan)));
        let sources = Sources::new(plan, &sorted);
        Alarms { plan: plan.clone(), sorted, sources, shapes: shape::all(standard) }
    }

    /// Its identity for good.
    pub fn key(&self, alarm: AlarmIndex) -> String {
        self.plan.alarms.get(alarm).map(|alarm| alarm.key(&self.plan)).unwrap_or_default()
    }

    pub fn node(&self, alarm: AlarmIndex) -> Node {
        Node::Condition(Part::Alarm(alarm))
    }

    /// What it is about, and the variable that decides.
    pub fn source(&self, alarm: AlarmIndex) -> Node {
        source::of(&self.plan, alarm).0
    }

    pub fn input(&self, alarm: AlarmIndex) -> Option<Node> {
        source::of(&self.plan, alarm).1
    }

    pub fn bytes(&self) -> usize {
        self.sorted.len() * size_of::<u32>() + self.sources.bytes()
    }

    pub fn find(&self, key: &str) -> Option<AlarmIndex> {
        let found = self.sorted.binary_search_by(|alarm| self.key(*alarm as usize).as_str().cmp(key)).ok()?;
        self.sorted.get(found).map(|alarm| *alarm as usize)
    }
}

impl Space {
    fn shape(&self, alarm: AlarmIndex) -> Option<&Shape> {
        let kind = condition::type_of(&self.plan, *self.plan.alarms.get(alarm)?);
        self.alarms.shapes.iter().find(|shape| shape.of == kind)
    }

    fn member(&self, alarm: AlarmIndex, member: u16) -> Option<&Member> {
        self.shape(alarm)?.members.get(usize::from(member)).filter(|member| self.has(alarm, member))
    }

    /// Whether this alarm has what its type offers: limits that were configured, and no others.
    fn has(&self, alarm: AlarmIndex, member: &Member) -> bool {
        let first = member.path.split('/').next().unwrap_or_default();
        match self.plan.alarms.get(alarm) {
            Some(Alarm::Limit(at)) => match shape::level(first) {
                Some(level) => self.plan.limits[*at].limits[level.index()].is_some(),
                None => true,
            },
            Some(Alarm::OffNormal(_)) => true,
            _ => !matches!(first, "OnDelay" | "OffDelay"),
        }
    }

    /// The members below one of them, or below the alarm itself.
    fn members(&self, alarm: AlarmIndex, below: Option<u16>) -> impl Iterator<Item = (u16, &Member)> {
        let all = self.shape(alarm).map_or(&[][..], |shape| &shape.members);
        let own = all.iter().enumerate().filter(move |(_, member)| member.parent == below);
        own.filter(move |(_, member)| self.has(alarm, member)).map(|(at, member)| (at as u16, member))
    }

    /// What a source is called in events.
    pub fn source_name(&self, source: Node) -> String {
        let mut text = String::new();
        self.id_in(source, &mut text);
        match source {
            Node::Machine => "Machine".into(),
            _ => text,
        }
    }

    /// Whether events can be subscribed to at a node: all that is below it is told there (OPC 10000-3, 5.5.1).
    pub fn is_notifier(&self, node: Node) -> bool {
        matches!(node, Node::Machine | Node::Bus(_) | Node::Message(_, None)) || self.alike(node).is_some()
    }

    /// The nodes besides Server at which events of a source are told.
    pub fn notifiers(&self, source: Node) -> Vec<Node> {
        std::iter::successors(Some(source), |node| source::notifier(self, *node))
            .filter(|node| self.is_notifier(*node))
            .collect()
    }

    /// The alarm of a condition, or of something in it, and the names of that in it.
    pub fn condition(&self, node: Node) -> Option<(AlarmIndex, &str)> {
        match node {
            Node::Condition(Part::Alarm(alarm)) => Some((alarm, "")),
            Node::Condition(Part::Member(alarm, member)) => Some((alarm, &self.member(alarm, member)?.path)),
            _ => None,
        }
    }
}

/// The part behind an identifier, which begins with `Canvoy.`.
pub fn find(space: &Space, text: &str) -> Option<Part> {
    let rest = text.strip_prefix(FOLDER)?;
    if rest.is_empty() {
        return Some(Part::Folder);
    }
    let rest = rest.strip_prefix('.')?;
    if let Some(alarm) = space.alarms.find(rest) {
        return Some(Part::Alarm(alarm));
    }
    // keys have points of their own
    rest.rmatch_indices('.').take(shape::DEEPEST).find_map(|(at, _)| {
        let (key, path) = (rest.get(..at)?, rest.get(at + 1..)?);
        let alarm = space.alarms.find(key)?;
        let same = |member: &Member| member.path.split('/').eq(path.split('.'));
        let member = space.shape(alarm)?.members.iter().position(|member| same(member) && space.has(alarm, member))?;
        Some(Part::Member(alarm, member as u16))
    })
}

pub fn class(space: &Space, part: Part) -> NodeClass {
    match part {
        Part::Folder | Part::Alarm(_) => NodeClass::Object,
        Part::Member(alarm, member) => {
            let entry = space.member(alarm, member).and_then(|member| space.standard.entry(member.row));
            entry.map_or(NodeClass::Unspecified, |entry| entry.class())
        }
    }
}

/// What of the plant it is about: who may not see that does not see it.
pub fn subject(space: &Space, part: Part) -> Subject {
    match part {
        Part::Folder => Subject::Machine,
        Part::Alarm(alarm) | Part::Member(alarm, _) => space.subject(space.alarms.source(alarm)),
    }
}

/// All of the plant that an alarm tells of: who may not see one of them does not see the alarm.
pub fn subjects(space: &Space, part: Part) -> Vec<Subject> {
    let plan = &space.plan;
    let (Part::Alarm(alarm) | Part::Member(alarm, _)) = part else { return vec![Subject::Machine] };
    match plan.alarms.get(alarm) {
        Some(Alarm::Limit(at)) => plan.limits.get(*at).map(|limit| Subject::Tag(limit.tag)).into_iter().collect(),
        Some(Alarm::OffNormal(at)) => {
            let when = plan.off_normals.get(*at).map_or(&[][..], |alarm| &alarm.when);
            when.iter().map(|condition| Subject::Tag(condition.tag)).collect()
        }
        Some(Alarm::Storm(route)) => {
            plan.routes.get(*route).map_or(Vec::new(), |route| vec![Subject::Bus(route.from), Subject::Bus(route.to)])
        }
        _ => vec![subject(space, part)],
    }
}

/// What calling it is; `None`: it is no method.
pub fn operation(space: &Space, part: Part) -> Option<Operation> {
    let Part::Member(alarm, member) = part else { return None };
    if class(space, part) != NodeClass::Method {
        return None;
    }
    Some(match &*space.member(alarm, member)?.path {
        "Enable" | "Disable" => Operation::AlarmEnable,
        _ => Operation::Alarm,
    })
}

pub fn type_definition(space: &Space, part: Part) -> Option<Node> {
    let number = match part {
        Part::Folder => ObjectTypeId::FolderType as u32,
        Part::Alarm(alarm) => condition::type_of(&space.plan, *space.plan.alarms.get(alarm)?),
        Part::Member(alarm, member) => {
            let row = space.standard.entry(space.member(alarm, member)?.row)?.type_definition()?;
            return Some(Node::Standard(row));
        }
    };
    space.standard(number)
}

/// What it hangs from.
pub fn parent(space: &Space, part: Part) -> Option<(ReferenceTypeId, Node)> {
    Some(match part {
        Part::Folder => (ReferenceTypeId::HasComponent, Node::Machine),
        Part::Alarm(_) => (ReferenceTypeId::HasComponent, Node::Condition(Part::Folder)),
        Part::Member(alarm, member) => {
            let member = space.member(alarm, member)?;
            let above = member.parent.map_or(Part::Alarm(alarm), |parent| Part::Member(alarm, parent));
            (member.kind, Node::Condition(above))
        }
    })
}

/// Adds references to those of any node, besides parent and type definition of a part.
pub fn references(space: &Space, node: Node, _passing: Passing<'_>, all: &mut Vec<Reference>) {
    // inverse ones come first, and first of them what the node hangs from
    let back = |kind: ReferenceTypeId, target, all: &mut Vec<Reference>| {
        let at = all.iter().position(|reference| reference.forward).unwrap_or(all.len());
        all.insert(at, Reference { kind: kind as u32, forward: false, target });
    };
    let below = |alarm, parent| {
        let members = space.members(alarm, parent);
        members.map(move |(at, member)| forward(member.kind, Node::Condition(Part::Member(alarm, at))))
    };
    match node {
        Node::Condition(Part::Folder) => {
            let alarms = space.alarms.sorted.iter();
            all.extend(
                alarms
                    .map(|alarm| forward(ReferenceTypeId::HasComponent, Node::Condition(Part::Alarm(*alarm as usize)))),
            );
        }
        Node::Condition(Part::Alarm(alarm)) => {
            back(ReferenceTypeId::HasCondition, space.alarms.source(alarm), all);
            all.extend(below(alarm, None));
        }
        Node::Condition(Part::Member(alarm, member)) => all.extend(below(alarm, Some(member))),
        _ => {
            if let Some(above) = source::notifier(space, node)
                && (space.is_notifier(node) || space.alarms.sources.has(&space.plan, node))
            {
                back(space.notifies(node), above, all);
            } else if node == Node::Machine
                && let Some(server) = space.standard(opcua::types::ObjectId::Server as u32)
            {
                back(ReferenceTypeId::HasNotifier, server, all);
            }
            if node == Node::Machine {
                all.push(forward(ReferenceTypeId::HasComponent, Node::Condition(Part::Folder)));
            }
            let told = source::below(space, node, &space.alarms.sources, |number| space.standard(number));
            all.extend(told.into_iter().map(|target| forward(space.notifies(target), target)));
            let conditions = space.alarms.sources.conditions(&space.plan, node);
            all.extend(
                conditions.map(|alarm| forward(ReferenceTypeId::HasCondition, Node::Condition(Part::Alarm(alarm)))),
            );
        }
    }
}

impl Space {
    /// How a notifier refers to a node below it (OPC 10000-3, 7.17 and 7.18).
    fn notifies(&self, node: Node) -> ReferenceTypeId {
        if self.is_notifier(node) { ReferenceTypeId::HasNotifier } else { ReferenceTypeId::HasEventSource }
    }
}

/// Appends the identifier.
pub fn write_id(space: &Space, part: Part, text: &mut String) {
    text.push_str(FOLDER);
    let (alarm, path) = match part {
        Part::Folder => return,
        Part::Alarm(alarm) => (alarm, ""),
        Part::Member(alarm, member) => (alarm, space.member(alarm, member).map_or("", |member| &*member.path)),
    };
    text.push('.');
    text.push_str(&space.alarms.key(alarm));
    for name in path.split('/').filter(|name| !name.is_empty()) {
        text.push('.');
        text.push_str(name);
    }
}

/// Appends the BrowseName; its namespace.
pub fn name_in(space: &Space, part: Part, text: &mut String) -> u16 {
    match part {
        Part::Folder => text.push_str(FOLDER_NAME),
        Part::Alarm(alarm) => text.push_str(&space.alarms.key(alarm)),
        Part::Member(alarm, member) => {
            let path = space.member(alarm, member).map_or("", |member| &*member.path);
            text.push_str(path.rsplit('/').next().unwrap_or_default());
            return 0;
        }
    }
    NAMESPACE
}

/// An attribute that is not as the class of the node has it; `None`: it is.
pub fn attribute(
    space: &Space,
    part: Part,
    attribute: AttributeId,
    user: &User,
) -> Option<Result<Variant, StatusCode>> {
    match (class(space, part), attribute) {
        (NodeClass::Method, AttributeId::Executable) => Some(Ok(Variant::Boolean(true))),
        (NodeClass::Method, AttributeId::UserExecutable) => {
            let may = operation(space, part).is_some_and(|call| space.may(user, call, Node::Condition(part)));
            Some(Ok(Variant::Boolean(may)))
        }
        _ => None,
    }
}

/// Number in namespace 0.
pub fn data_type(space: &Space, part: Part) -> u32 {
    entry(space, part).map_or(0, |entry| entry.data_type())
}

pub fn value_rank(space: &Space, part: Part) -> i32 {
    entry(space, part).map_or(-1, |entry| entry.value_rank())
}

fn entry(space: &Space, part: Part) -> Option<super::standard::Entry<'_>> {
    let Part::Member(alarm, member) = part else { return None };
    space.standard.entry(space.member(alarm, member)?.row)
}

/// Whether the value changes without a change of the plan.
pub fn is_live(space: &Space, part: Part) -> bool {
    let Part::Member(alarm, member) = part else { return false };
    let is_constant = |path: &str| is_arguments(path) || condition::is_constant(path);
    space.member(alarm, member).is_some_and(|member| !is_constant(&member.path))
}

/// Whether it is the arguments of a method, of which the type says what they are.
fn is_arguments(path: &str) -> bool {
    path.ends_with("/InputArguments")
}

/// The value, with its sample where it comes from the store. `now`: CLOCK_MONOTONIC nanoseconds.
pub fn value(
    scene: &Scene,
    part: Part,
    _user: &User,
    now: u64,
) -> Result<(Option<Variant>, Option<Sample>), StatusCode> {
    let space = &scene.space;
    let Part::Member(alarm, member) = part else { return Err(StatusCode::BadAttributeIdInvalid) };
    let member = space.member(alarm, member).ok_or(StatusCode::BadNodeIdUnknown)?;
    if class(space, part) != NodeClass::Variable {
        return Err(StatusCode::BadAttributeIdInvalid);
    }
    if is_arguments(&member.path) {
        return Ok((Some(space.standard_value(member.row)?), None));
    }
    let state = scene.alarms.state(&space.alarms.key(alarm));
    let condition = Condition::new(space, alarm, state, scene.view.alive(now)).ok_or(StatusCode::BadNodeIdUnknown)?;
    match condition.field(&member.path) {
        Some(Variant::StatusCode(status)) if status == StatusCode::BadConditionDisabled => Err(status),
        Some(value) => Ok((Some(value), None)),
        None => Ok((Some(space.standard_value(member.row)?), None)),
    }
}
