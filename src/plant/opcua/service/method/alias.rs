//! FindAlias (OPC 10000-17, 6.3.2): the variables behind the aliases that a pattern fits.

use opcua::types::{
    AliasNameDataType, ExpandedNodeId, ExtensionObject, Identifier, MethodId, QualifiedName, ReferenceTypeId,
    StatusCode, Variant, VariantScalarTypeId,
};

use super::{Outcome, counted};
use crate::plant::opcua::pattern::Pattern;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::service::Ask;
use crate::plant::opcua::space::{NAMESPACE, alias, array};
use crate::plant::opcua::wire::NodeRef;

/// Aliases in one answer.
const MOST: usize = 10_000;
/// Letters of a pattern.
const LONGEST: usize = 200;
/// Steps of a search before others have their turn: less than a millisecond.
const STEPS: usize = 100_000;
/// Steps that a node is worth.
const NODE: usize = 100;
/// Bytes of an alias in an answer, and of an ID of one of its variables: without their texts.
const ALIAS_BYTES: usize = 19;
const NODE_BYTES: usize = 7;

/// Whether this is FindAlias at one of its objects: the folder of all categories, or the one that there is.
pub fn is_find(object: u32, method: u32) -> bool {
    let (all, one) = (MethodId::Aliases_FindAlias as u32, MethodId::TagVariables_FindAlias as u32);
    [(ALL, all), (alias::CATEGORY, one)].contains(&(object, method))
}

/// Aliases, the folder of the categories.
const ALL: u32 = 23470;

/// `room`: bytes that the output may have.
pub async fn find(ask: &Ask<'_>, scene: &Scene, arguments: &[Variant], room: usize) -> Outcome {
    let (pattern, filter) = match counted::<2>(arguments) {
        Ok([Variant::String(pattern), Variant::NodeId(filter)]) => (pattern.as_ref(), filter),
        Ok([Variant::String(_), _]) => return Outcome::mismatch(1, 2),
        Ok(_) => return Outcome::mismatch(0, 2),
        Err(outcome) => return outcome,
    };
    let kind = ReferenceTypeId::AliasFor as u32;
    let wanted = NodeRef::from(&**filter);
    // there is no kind of it
    let standard = &scene.space.standard;
    if !wanted.is_null() && !wanted.standard().is_some_and(|wanted| wanted == kind || standard.is_subtype(kind, wanted))
    {
        return StatusCode::BadInvalidArgument.into();
    }
    if pattern.chars().count() > LONGEST {
        return StatusCode::BadInvalidArgument.into();
    }
    let Some(pattern) = Pattern::read(pattern) else { return StatusCode::BadInvalidArgument.into() };
    let (mut found, mut bytes, mut steps) = (Vec::new(), 0, 0);
    for alias in scene.space.aliases.numbers() {
        if steps >= STEPS {
            steps = 0;
            tokio::task::yield_now().await;
        }
        let name = scene.space.aliases.name(scene.space.plan(), alias);
        steps += (name.len() + 1) * (pattern.places() + 1);
        if !pattern.fits(name) {
            continue;
        }
        let nodes = scene.aliased(alias);
        steps += nodes.len() * NODE;
        let nodes = nodes.into_iter().filter(|node| scene.space.sees(&ask.user, *node));
        let nodes: Vec<ExpandedNodeId> = nodes.map(|node| scene.space.id(node).into()).collect();
        if nodes.is_empty() {
            continue;
        }
        bytes += ALIAS_BYTES + name.len() + nodes.iter().map(size).sum::<usize>();
        if found.len() == MOST || bytes > room {
            return StatusCode::BadResponseTooLarge.into();
        }
        found.push(Variant::from(ExtensionObject::from_message(AliasNameDataType {
            alias_name: QualifiedName::new(NAMESPACE, name),
            referenced_nodes: Some(nodes),
        })));
    }
    let output = vec![array(VariantScalarTypeId::ExtensionObject, found)];
    Outcome { status: StatusCode::Good, arguments: vec![StatusCode::Good; 2], output }
}

/// The bytes of a variable's ID in an answer.
fn size(id: &ExpandedNodeId) -> usize {
    match &id.node_id.identifier {
        Identifier::String(text) => NODE_BYTES + text.as_ref().len(),
        _ => NODE_BYTES + size_of::<u32>(),
    }
}

#[cfg(test)]
mod tests;
