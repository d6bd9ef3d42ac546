//! Devices, buses, areas and the types of them: nodes of the plant besides its buses, messages and signals as the DBC has them.

use opcua::types::{AttributeId, NodeClass, NodeId, ReferenceTypeId, StatusCode, Variant};

use super::{Node, Passing, Reference, Space};
use crate::plant::access::Subject;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::sample::Sample;

/// One node of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {}

/// The part behind an identifier, which begins with `Canvoy.`.
pub fn find(_space: &Space, _text: &str, _passing: Passing<'_>) -> Option<Part> {
    None
}

pub fn class(part: Part) -> NodeClass {
    match part {}
}

/// What of the plant it is about: who may not see that does not see it.
pub fn subject(_space: &Space, part: Part) -> Subject {
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

/// Replaces the text by the DisplayName.
pub fn display_name_in(_space: &Space, part: Part, _text: &mut String) {
    match part {}
}

pub fn data_type(_space: &Space, part: Part) -> NodeId {
    match part {}
}

/// Number in namespace 0 of the type that the data type is, or derives from.
pub fn standard_data_type(part: Part) -> u32 {
    match part {}
}

pub fn value_rank(part: Part) -> i32 {
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
