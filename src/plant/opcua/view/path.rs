//! TranslateBrowsePathsToNodeIds, RegisterNodes and UnregisterNodes (OPC 10000-4, 5.9.4 to 5.9.6).

use opcua::types::StatusCode;

use super::{Names, count, reference_type, unknown};
use crate::plant::opcua::limits::Limits;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::wire::{Name, NodeRef, Reader, Writer};

/// Elements of one path; no tree of ours is a tenth as deep.
const MOST_ELEMENTS: usize = 100;
/// References that one request may have looked at.
const MOST_LOOKS: usize = 2_000_000;
/// Nodes that a path may lead to, on its way and at its end.
const MOST_TARGETS: usize = 1000;

/// A RelativePathElement.
struct Element<'a> {
    kind: NodeRef<'a>,
    inverse: bool,
    subtypes: bool,
    name: Name<'a>,
}

/// TranslateBrowsePathsToNodeIds. The writer has the response's header.
pub fn translate(
    scene: &Scene,
    user: &User,
    limits: &Limits,
    reader: &mut Reader<'_>,
    writer: &mut Writer,
) -> Result<(), StatusCode> {
    let paths = count(reader, 6, limits.nodes_per_translate)?;
    writer.count(paths);
    let mut names = Names::default();
    let mut budget = MOST_LOOKS;
    let mut elements = Vec::new();
    for _ in 0..paths {
        let start = reader.node_id()?;
        elements.clear();
        let length = reader.count(10)?;
        for _ in 0..length {
            elements.push(Element {
                kind: reader.node_id()?,
                inverse: reader.bool()?,
                subtypes: reader.bool()?,
                name: reader.name()?,
            });
        }
        match follow(scene, user, start, &elements, &mut names, &mut budget) {
            Ok(targets) => {
                writer.status(StatusCode::Good);
                writer.count(targets.len());
                for target in targets {
                    writer.node_id(scene.space.id_in(target, &mut names.id));
                    // all of the path was followed (OPC 10000-4, 5.9.4.2)
                    writer.u32(u32::MAX);
                }
            }
            Err(status) => {
                writer.status(status);
                writer.count(0);
            }
        }
    }
    writer.i32(-1);
    Ok(())
}

/// The nodes at the end of a path.
fn follow(
    scene: &Scene,
    user: &User,
    start: NodeRef<'_>,
    elements: &[Element<'_>],
    names: &mut Names,
    budget: &mut usize,
) -> Result<Vec<Node>, StatusCode> {
    let node = scene.seen(start, user).ok_or_else(|| unknown(start))?;
    if elements.is_empty() {
        return Err(StatusCode::BadNothingToDo);
    }
    if elements.iter().any(|element| element.name.is_null()) {
        return Err(StatusCode::BadBrowseNameInvalid);
    }
    if elements.len() > MOST_ELEMENTS {
        return Err(StatusCode::BadQueryTooComplex);
    }
    let mut here = vec![node];
    for element in elements {
        // a type that is not there has no references
        let kind = reference_type(&scene.space, element.kind).map_err(|_| StatusCode::BadNoMatch)?;
        let mut next = Vec::new();
        for node in here {
            let looks = step(scene, user, node, element, kind, names, &mut next);
            *budget = budget.checked_sub(looks).ok_or(StatusCode::BadQueryTooComplex)?;
            if next.len() > MOST_TARGETS {
                return Err(StatusCode::BadTooManyMatches);
            }
        }
        here = next;
    }
    if here.is_empty() { Err(StatusCode::BadNoMatch) } else { Ok(here) }
}

/// Where one element leads from one node; gives the references that were looked at.
fn step(
    scene: &Scene,
    user: &User,
    node: Node,
    element: &Element<'_>,
    kind: Option<u32>,
    names: &mut Names,
    next: &mut Vec<Node>,
) -> usize {
    let space = &scene.space;
    let references = match scene.references_named(node, element.name.namespace, element.name.name) {
        Some(few) if !element.inverse => few,
        _ => scene.references(node),
    };
    // what is hidden has been looked at too
    let looks = references.len();
    let all = space.rights.sees_all(user.roles);
    for reference in references.into_iter().filter(|reference| all || space.sees(user, reference.target)) {
        let follows = kind.is_none_or(|kind| {
            reference.kind == kind || element.subtypes && space.standard.is_subtype(reference.kind, kind)
        });
        if !follows || reference.forward == element.inverse || next.contains(&reference.target) {
            continue;
        }
        let namespace = space.name_in(reference.target, &mut names.name);
        if namespace == element.name.namespace && names.name == element.name.name {
            next.push(reference.target);
        }
    }
    looks
}

/// RegisterNodes: a NodeId of ours is found as fast as any handle could be, so it is its own.
pub fn register(limits: &Limits, reader: &mut Reader<'_>, writer: &mut Writer) -> Result<(), StatusCode> {
    let nodes = count(reader, 2, limits.nodes_per_register)?;
    writer.count(nodes);
    for _ in 0..nodes {
        writer.node_id(reader.node_id()?);
    }
    Ok(())
}

/// UnregisterNodes.
pub fn unregister(limits: &Limits, reader: &mut Reader<'_>) -> Result<(), StatusCode> {
    let nodes = count(reader, 2, limits.nodes_per_register)?;
    (0..nodes).try_for_each(|_| reader.node_id().map(drop))
}
