//! Methods of the plant, and the properties that describe their arguments (OPC 10000-3, 5.7).

use opcua::types::{AttributeId, NodeClass, ReferenceTypeId, StatusCode, Variant};

use super::{Node, Passing, Reference, Space};
use crate::plant::access::{Operation, Subject};
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;

/// One method, or a property of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {}

/// The part behind an identifier, which begins with `Canvoy.`.
pub fn find(_space: &Space, _text: &str) -> Option<Part> {
    None
}

pub fn class(part: Part) -> NodeClass {
    match part {}
}

/// What of the plant it is about: who may not see that does not see it.
pub fn subject(_space: &Space, part: Part) -> Subject {
    match part {}
}

/// What calling it is; `None`: it is no method, or nobody may call it.
pub fn operation(_space: &Space, part: Part) -> Option<Operation> {
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
pub fn data_type(part: Part) -> u32 {
    match part {}
}

pub fn value_rank(part: Part) -> i32 {
    match part {}
}

pub fn value(_scene: &Scene, part: Part) -> Result<Variant, StatusCode> {
    match part {}
}
