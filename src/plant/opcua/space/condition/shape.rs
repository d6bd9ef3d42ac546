//! What the conditions of a type have: its InstanceDeclarations (OPC 10000-3, 6.3.4), those of the types above it too.

use opcua::types::{NodeClass, ObjectId, ObjectTypeId, ReferenceTypeId};

use crate::plan::Level;
use crate::plant::opcua::condition::level_of;
use crate::plant::opcua::space::standard::Standard;

/// Names in a path.
pub const DEEPEST: usize = 4;

/// What is there although it need not be.
const OPTIONAL: [&str; 28] = [
    "EnabledState/EffectiveDisplayName",
    "EnabledState/TransitionTime",
    "AckedState/TransitionTime",
    "ConfirmedState",
    "ConfirmedState/TransitionTime",
    "Confirm",
    "ActiveState/EffectiveDisplayName",
    "ActiveState/EffectiveTransitionTime",
    "ActiveState/TransitionTime",
    "SuppressedState",
    "SuppressedState/TransitionTime",
    "ShelvingState",
    "MaxTimeShelved",
    "OnDelay",
    "OffDelay",
    "HighHighLimit",
    "HighLimit",
    "LowLimit",
    "LowLowLimit",
    "HighHighDeadband",
    "HighDeadband",
    "LowDeadband",
    "LowLowDeadband",
    "HighHighState",
    "HighState",
    "LowState",
    "LowLowState",
    "LimitState",
];

/// One node in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Names joined by `/`.
    pub path: Box<str>,
    /// The InstanceDeclaration: a row of the table of the standard's nodes.
    pub row: u32,
    /// `None`: the condition itself.
    pub parent: Option<u16>,
    pub kind: ReferenceTypeId,
}

/// The members of a type, siblings sorted by name.
pub struct Shape {
    /// Number in namespace 0.
    pub of: u32,
    pub members: Vec<Member>,
}

/// The level that a member of a limit alarm is about.
pub fn level(name: &str) -> Option<Level> {
    ["Limit", "Deadband", "State"].into_iter().find_map(|suffix| level_of(name.strip_suffix(suffix)?))
}

/// Those of all types that alarms have.
pub fn all(standard: &Standard) -> Vec<Shape> {
    [
        ObjectTypeId::SystemOffNormalAlarmType,
        ObjectTypeId::OffNormalAlarmType,
        ObjectTypeId::ExclusiveLevelAlarmType,
        ObjectTypeId::NonExclusiveLimitAlarmType,
    ]
    .into_iter()
    .map(|kind| shape(standard, kind as u32))
    .collect()
}

fn shape(standard: &Standard, of: u32) -> Shape {
    let mut types: Vec<u32> = standard.lineage(of).filter_map(|number| standard.number(number)).collect();
    // what a type says again replaces what the one above it says
    types.reverse();
    let mut members = Vec::new();
    for row in types {
        add(standard, row, None, "", &mut members);
    }
    let mut shape = Shape { of, members };
    shape.sort();
    shape
}

fn add(standard: &Standard, row: u32, parent: Option<u16>, above: &str, members: &mut Vec<Member>) {
    if above.split('/').count() >= DEEPEST {
        return;
    }
    let (property, component) = (ReferenceTypeId::HasProperty, ReferenceTypeId::HasComponent);
    for link in standard.links(row).iter().filter(|link| link.forward) {
        let Some(kind) = [property, component].into_iter().find(|kind| *kind as u32 == link.kind) else { continue };
        let Some(entry) = standard.entry(link.target) else { continue };
        let name = entry.browse_name().1;
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
        let known = members.iter().position(|member| *member.path == *path);
        let wanted = is_mandatory(standard, link.target) || OPTIONAL.contains(&path.as_str()) || known.is_some();
        let usual = matches!(entry.class(), NodeClass::Variable | NodeClass::Object | NodeClass::Method);
        if !wanted || !usual {
            continue;
        }
        let at = known.unwrap_or(members.len());
        match members.get_mut(at) {
            Some(member) => member.row = link.target,
            None => members.push(Member { path: path.as_str().into(), row: link.target, parent, kind }),
        }
        add(standard, link.target, u16::try_from(at).ok(), &path, members);
    }
}

fn is_mandatory(standard: &Standard, row: u32) -> bool {
    let rule = standard.number(ObjectId::ModellingRule_Mandatory as u32);
    let links = standard.links(row).iter();
    links
        .filter(|link| link.forward && link.kind == ReferenceTypeId::HasModellingRule as u32)
        .any(|link| Some(link.target) == rule)
}

impl Shape {
    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        order.sort_by_key(|at| self.members.get(*at).map(|member| &member.path));
        let place = |parent: u16| order.iter().position(|at| *at == usize::from(parent)).map(|at| at as u16);
        let sorted = order
            .iter()
            .filter_map(|at| self.members.get(*at))
            .map(|member| Member { parent: member.parent.and_then(place), ..member.clone() });
        self.members = sorted.collect();
    }
}
