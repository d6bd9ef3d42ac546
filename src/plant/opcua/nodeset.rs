//! The plant's nodes as a NodeSet file (OPC 10000-6, Annex F): what a client browses, without the values that live.

mod value;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use opcua::types::{
    AttributeId, DataTypeId, EnumDefinition, ExtensionObject, NodeClass, NodeId, ObjectTypeId, Variant,
};
use tokio::sync::mpsc;

use super::identity::Identity;
use super::limits::Limits;
use super::scene::Scene;
use super::session::User;
use super::space::model::{DI, DI_URI, MACHINERY, MACHINERY_URI};
use super::space::server::{Diagnostics, ServerObject};
use super::space::standard::Standard;
use super::space::{NAMESPACE, NAMESPACE_URI, Node, Reference, Space, alias};
use crate::command::{Generation, Place, VERSION};
use crate::plan::Plan;
use crate::plant::View;
use crate::store::{Layout, Memory, Reader, Writer};

/// Models that ours needs: URI, version, when it was published.
const STANDARD_MODEL: [&str; 3] = ["http://opcfoundation.org/UA/", "1.05.02", "2022-11-01T00:00:00Z"];
const DI_MODEL: [&str; 3] = [DI_URI, "1.04.0", "2022-11-03T00:00:00Z"];
const MACHINERY_MODEL: [&str; 3] = [MACHINERY_URI, "1.03.0", "2023-10-01T00:00:00Z"];
const PUBLISHED: &str = "2026-01-01T00:00:00Z";

/// What would be served of a plan whose buses are silent.
pub fn scene(plan: Arc<Plan>, identity: Identity) -> anyhow::Result<Scene> {
    let (layout, hash) = (Layout::of(&plan), plan.hash_word());
    let memory = Arc::new(Memory::heap(layout.words()));
    // what it says of every record is that nothing came
    drop(Writer::new(memory.clone(), layout, hash));
    let generation =
        Generation { version: VERSION, number: 0, pid: 0, hash: plan.hash_text(), since: 0, door: Place::Plant };
    let (requests, _) = mpsc::channel(1);
    let view = Arc::new(View::new(plan.clone(), Reader::open(memory, layout, hash)?, &generation, requests));
    let uri = "urn:canvoy";
    let standard = Arc::new(Standard::load(uri, NAMESPACE_URI));
    let space = Arc::new(Space::new(plan, standard, Arc::new(identity)));
    let server = Arc::new(ServerObject::new(uri, Limits::default(), Diagnostics::none()));
    Ok(Scene { number: 0, view, space, server, alarms: Arc::default() })
}

/// The file.
pub fn write(scene: &Scene) -> String {
    let mut nodes = String::new();
    let mut machinery = false;
    for node in all(scene) {
        machinery |= one(scene, node, &mut nodes);
    }
    let uris: &[&str] = if machinery { &[NAMESPACE_URI, DI_URI, MACHINERY_URI] } else { &[NAMESPACE_URI, DI_URI] };
    let models: &[[&str; 3]] =
        if machinery { &[STANDARD_MODEL, DI_MODEL, MACHINERY_MODEL] } else { &[STANDARD_MODEL, DI_MODEL] };
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<UANodeSet xmlns=\"http://opcfoundation.org/UA/2011/03/UANodeSet.xsd\">\n",
    );
    text.push_str("  <NamespaceUris>\n");
    for uri in uris {
        let _ = writeln!(text, "    <Uri>{uri}</Uri>");
    }
    text.push_str("  </NamespaceUris>\n  <Models>\n");
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        text,
        "    <Model ModelUri=\"{NAMESPACE_URI}\" Version=\"{version}\" PublicationDate=\"{PUBLISHED}\">"
    );
    for [uri, version, published] in models {
        let _ = writeln!(
            text,
            "      <RequiredModel ModelUri=\"{uri}\" Version=\"{version}\" PublicationDate=\"{published}\"/>"
        );
    }
    text.push_str("    </Model>\n  </Models>\n");
    text.push_str(&nodes);
    text.push_str("</UANodeSet>\n");
    text
}

/// All nodes of the plant, each after what it hangs from; types before what is of them.
fn all(scene: &Scene) -> Vec<Node> {
    let space = &scene.space;
    let anchors = [
        space.find_number(0, DataTypeId::Enumeration as u32),
        space.find_number(0, ObjectTypeId::BaseObjectType as u32),
        space.find_number(DI, 1002),
        space.find_number(0, 85),
        space.find_number(DI, 5001),
        space.find_number(0, alias::CATEGORY),
        space.find_number(MACHINERY, 1001),
    ];
    let mut nodes: Vec<Node> = anchors.into_iter().flatten().collect();
    let anchors = nodes.len();
    let mut known: HashSet<Node> = nodes.iter().copied().collect();
    let mut at = 0;
    while let Some(node) = nodes.get(at).copied() {
        at += 1;
        for reference in scene.references(node) {
            let target = reference.target;
            if reference.forward && is_ours(space, target) && known.insert(target) {
                nodes.push(target);
            }
        }
    }
    nodes.split_off(anchors)
}

fn is_ours(space: &Space, node: Node) -> bool {
    match node {
        Node::Standard(_) | Node::Session(_) | Node::Diagnostic(..) => false,
        _ => space.id(node).namespace == NAMESPACE,
    }
}

/// The first inverse reference: what the node hangs from.
fn parent(scene: &Scene, node: Node) -> Option<Reference> {
    scene.references(node).into_iter().find(|reference| !reference.forward)
}

/// Writes a node; whether it needs Machinery.
fn one(scene: &Scene, node: Node, text: &mut String) -> bool {
    let space = &scene.space;
    let element = match space.class(node) {
        NodeClass::Object => "UAObject",
        NodeClass::Variable => "UAVariable",
        NodeClass::ObjectType => "UAObjectType",
        NodeClass::DataType => "UADataType",
        NodeClass::Method => "UAMethod",
        NodeClass::VariableType => "UAVariableType",
        NodeClass::ReferenceType => "UAReferenceType",
        NodeClass::View | NodeClass::Unspecified => return false,
    };
    let user = User::anonymous();
    let attribute = |attribute| space.attribute(node, attribute, &user).ok();
    let name = space.browse_name(node);
    let mut machinery = name.namespace_index == MACHINERY;
    let _ = write!(text, "  <{element} NodeId=\"{}\"", id_text(&space.id(node)));
    let _ = write!(text, " BrowseName=\"{}{}\"", index(name.namespace_index), escape(name.name.as_ref()));
    let parent = parent(scene, node);
    if let Some(parent) = parent.filter(|parent| is_ours(space, parent.target)) {
        let _ = write!(text, " ParentNodeId=\"{}\"", id_text(&space.id(parent.target)));
    }
    if let Some(Variant::Byte(notifier @ 1..)) = attribute(AttributeId::EventNotifier) {
        let _ = write!(text, " EventNotifier=\"{notifier}\"");
    }
    if space.class(node) == NodeClass::Variable {
        let _ = write!(text, " DataType=\"{}\"", id_text(&space.data_type_id(node)));
        let rank = space.value_rank(node);
        if rank != -1 {
            let _ = write!(text, " ValueRank=\"{rank}\" ArrayDimensions=\"0\"");
        }
        if let Some(Variant::Byte(level)) = attribute(AttributeId::AccessLevel) {
            let _ = write!(text, " AccessLevel=\"{level}\"");
        }
        if let Some(Variant::Double(interval)) = attribute(AttributeId::MinimumSamplingInterval)
            && interval > 0.0
        {
            let _ = write!(text, " MinimumSamplingInterval=\"{interval}\"");
        }
    }
    text.push_str(">\n");
    for (element, read) in [("DisplayName", AttributeId::DisplayName), ("Description", AttributeId::Description)] {
        if let Some(Variant::LocalizedText(words)) = attribute(read) {
            let locale = match words.locale.as_ref() {
                "" => String::new(),
                locale => format!(" Locale=\"{}\"", escape(locale)),
            };
            let _ = writeln!(text, "    <{element}{locale}>{}</{element}>", escape(words.text.as_ref()));
        }
    }
    text.push_str("    <References>\n");
    let own = space.id(node);
    for reference in scene.references(node) {
        let target = reference.target;
        let here = match (reference.forward, is_ours(space, target)) {
            // nobody else in the file says what the standard's nodes refer to
            (false, ours) => !ours || parent == Some(reference),
            // types and rules of the standard
            (true, false) => true,
            // what hangs from here says so itself
            (true, true) => self::parent(scene, target)
                .is_none_or(|parent| parent.kind != reference.kind || space.id(parent.target) != own),
        };
        if here {
            let id = space.id(target);
            machinery |= id.namespace == MACHINERY;
            let forward = if reference.forward { "" } else { " IsForward=\"false\"" };
            let _ = writeln!(
                text,
                "      <Reference ReferenceType=\"i={}\"{forward}>{}</Reference>",
                reference.kind,
                id_text(&id)
            );
        }
    }
    text.push_str("    </References>\n");
    if let Some(Variant::ExtensionObject(definition)) = attribute(AttributeId::DataTypeDefinition) {
        enumeration(space.browse_name(node).name.as_ref(), &definition, text);
    }
    let is_constant = space.class(node) == NodeClass::Variable && !scene.is_live(node, AttributeId::Value);
    if is_constant && let Ok((Some(found), _)) = scene.value_for(node, &user, 0) {
        value::write(&found, text);
    }
    let _ = writeln!(text, "  </{element}>");
    machinery
}

fn enumeration(name: &str, definition: &ExtensionObject, text: &mut String) {
    let Some(definition) = definition.inner_as::<EnumDefinition>() else { return };
    let _ = writeln!(text, "    <Definition Name=\"1:{}\">", escape(name));
    for field in definition.fields.iter().flatten() {
        let (name, shown) = (escape(field.name.as_ref()), escape(field.display_name.text.as_ref()));
        let _ = writeln!(
            text,
            "      <Field Name=\"{name}\" Value=\"{}\"><DisplayName>{shown}</DisplayName></Field>",
            field.value
        );
    }
    text.push_str("    </Definition>\n");
}

/// The index that a namespace has in the file, with a colon; nothing for the standard's.
fn index(namespace: u16) -> String {
    match in_file(namespace) {
        0 => String::new(),
        index => format!("{index}:"),
    }
}

/// The server's own namespace is not in the file.
fn in_file(namespace: u16) -> u16 {
    namespace.saturating_sub(1)
}

fn id_text(id: &NodeId) -> String {
    let namespace = match in_file(id.namespace) {
        0 => String::new(),
        index => format!("ns={index};"),
    };
    format!("{namespace}{}", escape(&id.identifier.to_string()))
}

/// Text in an element or an attribute; what XML 1.0 can't write is a question mark.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{0}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => escaped.push('?'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
