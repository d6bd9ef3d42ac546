//! The View services (OPC 10000-4, 5.9): Browse and BrowseNext; paths and registered nodes are in `path`.

mod path;
mod points;

use opcua::types::{NodeClass, StatusCode};

pub use path::{register, translate, unregister};
pub use points::{ContinuationPoints, Point};

use super::limits::Limits;
use super::locale::Locales;
use super::scene::Scene;
use super::service::{attribute::unknown, count};
use super::session::User;
use super::space::{Node, Reference, Space};
use super::wire::{NodeRef, Reader, Writer};

/// What somebody wants to know of the references of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    forward: bool,
    inverse: bool,
    /// Number in namespace 0; `None`: all.
    kind: Option<u32>,
    subtypes: bool,
    /// 0: all.
    classes: u32,
    /// The fields that are asked for.
    result: u32,
}

/// Bits of a result mask (OPC 10000-4, 5.9.2.2).
const REFERENCE_TYPE: u32 = 1;
const IS_FORWARD: u32 = 2;
const NODE_CLASS: u32 = 4;
const BROWSE_NAME: u32 = 8;
const DISPLAY_NAME: u32 = 16;
const TYPE_DEFINITION: u32 = 32;

/// What is left of a request's room: references are paged when a response gets too large.
struct Page<'a> {
    scene: &'a Scene,
    user: &'a User,
    /// Bytes that a response may have before it ends early.
    room: usize,
    /// References of one node.
    most: usize,
    points: &'a mut ContinuationPoints,
    names: Names,
}

/// Where names are put together.
#[derive(Default)]
struct Names {
    id: String,
    name: String,
    /// The last ReferenceType that was looked at, and whether it is one of those wanted.
    last: Option<(u32, bool)>,
}

impl Filter {
    /// A BrowseDescription without its node.
    fn read(space: &Space, reader: &mut Reader<'_>) -> Result<Result<Filter, StatusCode>, StatusCode> {
        let direction = reader.u32()?;
        let kind = reader.node_id()?;
        let subtypes = reader.bool()?;
        let classes = reader.u32()?;
        let result = reader.u32()?;
        let kind = match reference_type(space, kind) {
            Ok(kind) => kind,
            Err(status) => return Ok(Err(status)),
        };
        let (forward, inverse) = match direction {
            0 => (true, false),
            1 => (false, true),
            2 => (true, true),
            _ => return Ok(Err(StatusCode::BadBrowseDirectionInvalid)),
        };
        Ok(Ok(Filter { forward, inverse, kind, subtypes, classes, result }))
    }

    fn wants(&self, space: &Space, reference: &Reference, last: &mut Option<(u32, bool)>) -> bool {
        if !(if reference.forward { self.forward } else { self.inverse }) {
            return false;
        }
        if self.classes != 0 && self.classes & space.class(reference.target) as u32 == 0 {
            return false;
        }
        let Some(wanted) = self.kind else { return true };
        match *last {
            Some((kind, is)) if kind == reference.kind => is,
            _ => {
                let is = reference.kind == wanted || self.subtypes && space.standard.is_subtype(reference.kind, wanted);
                *last = Some((reference.kind, is));
                is
            }
        }
    }
}

/// The number of a ReferenceType; `None` for null, which is any.
fn reference_type(space: &Space, id: NodeRef<'_>) -> Result<Option<u32>, StatusCode> {
    if id.is_null() {
        return Ok(None);
    }
    let found = space.standard.find(id).and_then(|row| space.standard.entry(row));
    match (found.map(|entry| entry.class()), id.standard()) {
        (Some(NodeClass::ReferenceType), Some(number)) => Ok(Some(number)),
        _ => Err(StatusCode::BadReferenceTypeIdInvalid),
    }
}

/// Browse: from the view to the results. The writer has the response's header.
pub fn browse(
    scene: &Scene,
    user: &User,
    limits: &Limits,
    points: &mut ContinuationPoints,
    reader: &mut Reader<'_>,
    writer: &mut Writer,
) -> Result<(), StatusCode> {
    let view = reader.node_id()?;
    // with or without a time and a version, null is no view (OPC 10000-4, 7.44)
    reader.i64()?;
    reader.u32()?;
    let most = reader.u32()? as usize;
    let nodes = count(reader, 17, limits.nodes_per_browse)?;
    if !view.is_null() {
        return Err(StatusCode::BadViewIdUnknown);
    }
    points.begin(limits.browse_continuation_points);
    let mut page = Page::new(scene, user, limits, most, points);
    writer.count(nodes);
    for _ in 0..nodes {
        let id = reader.node_id()?;
        let filter = Filter::read(&scene.space, reader)?;
        let found = scene.seen(id, user).ok_or_else(|| unknown(id));
        match found.and_then(|node| Ok((node, filter?))) {
            Ok((node, filter)) => page.node(Point::new(scene.number, node, filter, page.most), writer),
            Err(status) => nothing(status, writer),
        }
    }
    writer.i32(-1);
    Ok(())
}

/// BrowseNext. Each point is good for once.
pub fn browse_next(
    scene: &Scene,
    user: &User,
    limits: &Limits,
    points: &mut ContinuationPoints,
    reader: &mut Reader<'_>,
    writer: &mut Writer,
) -> Result<(), StatusCode> {
    let release = reader.bool()?;
    let wanted = count(reader, 4, limits.nodes_per_browse)?;
    points.begin(limits.browse_continuation_points);
    let mut page = Page::new(scene, user, limits, 0, points);
    writer.count(wanted);
    for _ in 0..wanted {
        match page.points.take(reader.bytes()?.unwrap_or_default()) {
            // the nodes of another plan are others
            Some(point) if point.scene == scene.number && !release => page.node(point, writer),
            // the standard would have both lists empty (OPC 10000-4, 5.9.3.2), but clients compare their number with that of
            // the points, as they may for every other list, and other servers answer each point
            Some(_) if release => nothing(StatusCode::Good, writer),
            _ => nothing(StatusCode::BadContinuationPointInvalid, writer),
        }
    }
    writer.i32(-1);
    Ok(())
}

/// A BrowseResult without references.
fn nothing(status: StatusCode, writer: &mut Writer) {
    writer.status(status);
    writer.bytes(None);
    writer.count(0);
}

impl<'a> Page<'a> {
    fn new(
        scene: &'a Scene,
        user: &'a User,
        limits: &Limits,
        most: usize,
        points: &'a mut ContinuationPoints,
    ) -> Page<'a> {
        let most = if most == 0 { limits.references_per_node } else { most.min(limits.references_per_node) };
        Page { scene, user, room: limits.message_bytes / 2, most, points, names: Names::default() }
    }

    /// A BrowseResult, from where the point stands.
    fn node(&mut self, mut point: Point, writer: &mut Writer) {
        let space = &self.scene.space;
        let references = self.scene.references_seen(point.node, self.user);
        // a source or a session more or less: nobody knows where the rest begins
        if *point.count.get_or_insert(references.len()) != references.len() {
            return nothing(StatusCode::BadContinuationPointInvalid, writer);
        }
        let start = writer.len();
        writer.status(StatusCode::Good);
        writer.bytes(None);
        self.names.last = None;
        let first = writer.len();
        writer.count(0);
        let (mut written, mut more) = (0, false);
        let rest = references.iter().enumerate().skip(point.position);
        for (at, reference) in rest {
            if !point.filter.wants(space, reference, &mut self.names.last) {
                continue;
            }
            if written == point.most || written > 0 && writer.len() > self.room {
                point.position = at;
                more = true;
                break;
            }
            describe(space, reference, (point.filter.result, &self.user.locales), &mut self.names, writer);
            written += 1;
        }
        writer.set_u32(first, written as u32);
        if !more {
            return;
        }
        let Some(id) = self.points.put(point) else {
            writer.truncate(start);
            return nothing(StatusCode::BadNoContinuationPoints, writer);
        };
        writer.replace_bytes(start + 4, first, &id);
    }
}

/// A ReferenceDescription; what is not asked for is null.
fn describe(
    space: &Space,
    reference: &Reference,
    (result, locales): (u32, &Locales),
    names: &mut Names,
    writer: &mut Writer,
) {
    let Reference { kind, forward, target } = *reference;
    let asked = |bit| result & bit != 0;
    let null = NodeRef::NULL;
    writer.node_id(if asked(REFERENCE_TYPE) { NodeRef::Numeric(0, kind) } else { null });
    writer.bool(asked(IS_FORWARD) && forward);
    // an ExpandedNodeId without server and URI is written as a NodeId
    writer.node_id(space.id_in(target, &mut names.id));
    if asked(BROWSE_NAME) {
        let namespace = space.name_in(target, &mut names.name);
        writer.name(namespace, &names.name);
    } else {
        writer.u16(0);
        writer.string(None);
    }
    if asked(DISPLAY_NAME) {
        let locale = space.display_name_in(target, locales, &mut names.name);
        writer.localized_text(locale, &names.name);
    } else {
        writer.u8(0);
    }
    writer.i32(if asked(NODE_CLASS) { space.class(target) as i32 } else { 0 });
    let definition = if asked(TYPE_DEFINITION) { space.type_definition(target) } else { None };
    writer.node_id(definition.map_or(null, |definition| space.id_in(definition, &mut names.id)));
}

impl Point {
    fn new(scene: u64, node: Node, filter: Filter, most: usize) -> Point {
        Point { scene, node, filter, most, position: 0, count: None }
    }
}

#[cfg(test)]
mod tests;
