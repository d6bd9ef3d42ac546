//! Where references go among those that a node has already, and the reference to a rule.

use opcua::types::ReferenceTypeId;

use crate::plant::opcua::space::{Node, Reference, Space};

/// ModellingRules Mandatory and Optional.
const MANDATORY: u32 = 78;
const OPTIONAL: u32 = 80;
/// HasModellingRule.
const HAS_RULE: u32 = 37;

/// Puts forward references where they belong by name, among others that are sorted.
pub fn merge(space: &Space, all: &mut Vec<Reference>, more: Vec<Reference>) {
    let first = all.iter().take_while(|reference| !is_child(reference)).count();
    for reference in more {
        let name = space.browse_name(reference.target).name;
        let children = all.get(first..).unwrap_or_default();
        let before = |other: &Reference| space.browse_name(other.target).name.as_ref() < name.as_ref();
        all.insert(first + children.partition_point(before), reference);
    }
}

fn is_child(reference: &Reference) -> bool {
    reference.forward && reference.kind != ReferenceTypeId::HasTypeDefinition as u32
}

/// Puts inverse references where the others are: before those forward.
pub fn inverse(all: &mut Vec<Reference>, more: impl Iterator<Item = (ReferenceTypeId, Node)>) {
    let at = all.iter().take_while(|reference| !reference.forward).count();
    let more = more.map(|(kind, target)| Reference { kind: kind as u32, forward: false, target });
    all.splice(at..at, more);
}

/// The reference to a ModellingRule (OPC 10000-3, 6.4.4).
pub fn rule(space: &Space, is_mandatory: bool) -> Option<Reference> {
    let target = space.standard(if is_mandatory { MANDATORY } else { OPTIONAL })?;
    Some(Reference { kind: HAS_RULE, forward: true, target })
}
