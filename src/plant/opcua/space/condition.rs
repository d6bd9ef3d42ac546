//! Alarms as conditions (OPC 10000-9): their nodes.

use opcua::types::{AttributeId, NodeClass, ReferenceTypeId, StatusCode, Variant};

use super::{Node, Passing, Reference, Space};
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::sample::Sample;

/// One node of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {}

/// The part behind an identifier, which begins with `Canvoy.`.
pub fn find(_space: &Space, _text: &str) -> Option<Part> {
    None
}

pub fn class(_space: &Space, part: Part) -> NodeClass {
    match part {}
}

pub fn type_definition(_space: &Space, part: Part) -> Option<Node> {
    match part {}
}

/// What it hangs from.
pub fn parent(_space: &Space, part: Part) -> Option<(ReferenceTypeId, Node)> {
    match part {}
}

/// Adds references to those of any node, besides parent and type definition of a part.
pub fn references(_space: &Space, _node: Node, _passing: Passing<'_>, _all: &mut Vec<Reference>) {}

/// Appends the identifier.
pub fn write_id(_space: &Space, part: Part, _text: &mut String) {
    match part {}
}

/// Appends the BrowseName; its namespace.
pub fn name_in(_space: &Space, part: Part, _text: &mut String) -> u16 {
    match part {}
}

/// An attribute that is not as the class of the node has it; `None`: it is.
pub fn attribute(
    _space: &Space,
    part: Part,
    _attribute: AttributeId,
    _user: &User,
) -> Option<Result<Variant, StatusCode>> {
    match part {}
}

/// Number in namespace 0.
pub fn data_type(_space: &Space, part: Part) -> u32 {
    match part {}
}

pub fn value_rank(_space: &Space, part: Part) -> i32 {
    match part {}
}

/// Whether the value changes without a change of the plan.
pub fn is_live(part: Part) -> bool {
    match part {}
}

/// The value, with its sample where it comes from the store. `now`: CLOCK_MONOTONIC nanoseconds.
pub fn value(
    _scene: &Scene,
    part: Part,
    _user: &User,
    _now: u64,
) -> Result<(Option<Variant>, Option<Sample>), StatusCode> {
    match part {}
}
