//! Nodes found, named and joined, over an invented plan.

use std::collections::HashSet;
use std::sync::LazyLock;

use opcua::types::{AttributeId, Variant};

use super::*;
use crate::plan::Overlay;
use crate::plant::opcua::session::{Proof, User};
use crate::plant::opcua::tests::{plan, tag};

/// Two sources of every J1939 message.
fn seen(_: MessageIndex, slot: usize) -> Option<u8> {
    [200, 33].get(slot).copied()
}

/// These sources, and two sessions.
const PASSING: Passing<'_> = Passing { address: &seen, sessions: &|| vec![8, 7] };

pub fn table() -> Arc<Standard> {
    static TABLE: LazyLock<Arc<Standard>> =
        LazyLock::new(|| Arc::new(Standard::load("urn:this:server", NAMESPACE_URI)));
    TABLE.clone()
}

fn space() -> Space {
    Space::new(Arc::new(plan()), table())
}

fn nobody() -> User {
    User::anonymous()
}

/// Every node that can be come to from Root, by references of all kinds.
fn walk(space: &Space) -> Vec<Node> {
    let mut nodes = vec![Node::Standard(space.standard.number(84).unwrap())];
    let mut known: HashSet<Node> = nodes.iter().copied().collect();
    let mut at = 0;
    while let Some(node) = nodes.get(at).copied() {
        at += 1;
        for reference in space.references(node, PASSING) {
            if known.insert(reference.target) {
                nodes.push(reference.target);
            }
        }
    }
    nodes
}

/// HierarchicalReferences.
const HIERARCHICAL: u32 = 33;

#[test]
fn every_node_is_found_by_its_id_and_refers_back() {
    let space = space();
    let nodes = walk(&space);
    let ours = nodes.iter().filter(|node| !matches!(node, Node::Standard(_)));
    assert_eq!(ours.count(), 63 + 19 + 2 * 4, "63 of the plant, 19 of its methods, and those of two sessions");
    let lonely = (0..space.standard.len() as u32).map(Node::Standard).filter(|node| !nodes.contains(node));
    let lonely: Vec<String> = lonely.map(|node| format!("{} {}", space.id(node), space.browse_name(node))).collect();
    assert_eq!(lonely, [""; 0], "no node of the table is by itself");
    for node in nodes {
        let id = space.id(node);
        assert_eq!(space.find((&id).into(), PASSING), Some(node), "{id}");
        let references = space.references(node, PASSING);
        let mut ends: Vec<(u32, bool, NodeId)> = Vec::new();
        let mut names: HashSet<String> = HashSet::new();
        for Reference { kind, forward, target } in &references {
            let other = space.id(*target);
            assert_eq!(
                space.standard.entry(space.standard.number(*kind).unwrap()).unwrap().class(),
                NodeClass::ReferenceType
            );
            // types do not list their instances, nor rules who follows them
            if ![40, 37].contains(kind) {
                let back = Reference { kind: *kind, forward: !forward, target: node };
                assert!(space.references(*target, PASSING).contains(&back), "{id} -{kind}-> {other}");
            }
            if *forward && space.standard.is_subtype(*kind, HIERARCHICAL) {
                let name = space.browse_name(*target).to_string();
                assert!(names.insert(name.clone()) || ends.iter().any(|(_, _, end)| *end == other), "{id}: two {name}");
            }
            ends.push((*kind, *forward, other));
        }
        let count = ends.len();
        ends.sort_by_key(|end| format!("{end:?}"));
        ends.dedup();
        assert_eq!(ends.len(), count, "{id}: one reference twice");
        let definitions = references.iter().filter(|reference| reference.kind == 40).count();
        let instance = matches!(space.class(node), NodeClass::Object | NodeClass::Variable);
        assert_eq!(definitions, usize::from(instance), "{id}");
        assert_eq!(space.type_definition(node).is_some(), instance, "{id}");
        let parents = references
            .iter()
            .filter(|reference| !reference.forward && space.standard.is_subtype(reference.kind, HIERARCHICAL));
        // encodings hang from their data types by HasEncoding, which is not hierarchical
        let root = id == NodeId::new(0, 84_u32) || space.browse_name(node).name.as_ref().starts_with("Default ");
        assert_eq!(parents.count() > 0, !root, "{id} {}", space.browse_name(node));
    }
}

#[test]
fn ids_are_fixed_for_good() {
    let space = space();
    for (text, found) in [
        ("Canvoy", true),
        ("line", true),
        ("line.Oven", true),
        ("Canvoy.Machine", true),
        ("Canvoy.Machine.Armed", true),
        ("Canvoy.Machine.Nothing", false),
        ("line.Oven.Temp", true),
        ("line.Oven.Temp.EURange", true),
        ("line.Oven.Identifier", true),
        ("line.EEC1", true),
        ("line.EEC1@33", true),
        ("line.EEC1@33.EngineSpeed", true),
        ("line.EEC1@200.EngineSpeed.EngineeringUnits", true),
        ("line.EEC1@34", false),
        ("line.EEC1@033", false),
        ("line.EEC1@+33", false),
        ("line.EEC1@", false),
        ("line.EEC1@33.", false),
        ("line.EEC1.EngineSpeed", false),
        ("line.Oven@33", false),
        ("line.Oven.Temp.EnumValues", false),
        ("line.EEC1@33.Identifier", false),
        ("", false),
        (".", false),
        ("line.", false),
    ] {
        assert_eq!(space.find(NodeRef::String(NAMESPACE, text), PASSING).is_some(), found, "{text}");
        assert_eq!(space.find(NodeRef::String(1, text), PASSING), None);
        assert_eq!(space.find(NodeRef::String(0, text), PASSING), None);
    }
    assert_eq!(space.find(NodeRef::Numeric(NAMESPACE, 5), PASSING), None);
    assert_eq!(space.find(NodeRef::Numeric(0, 5_000_000), PASSING), None);
    assert_eq!(space.find(NodeRef::Opaque(0, b"x"), PASSING), None);
}

#[test]
fn overlay_tables_give_names_and_descriptions_never_ids() {
    let mut plan = plan();
    let overlay = |alias: &str, de: &str| Overlay {
        alias: Some(alias.into()),
        area: None,
        descriptions: vec![("de".into(), de.into())],
    };
    let (temp, mode) = (tag(&plan, "Oven.Temp"), tag(&plan, "Oven.Mode"));
    plan.tag_overlays = [(temp, overlay("Oven 3", "Temperatur")), (mode, overlay("Mode 3", "Betriebsart"))].into();
    let eec1 = plan.tags[tag(&plan, "EEC1.EngineSpeed")].message;
    plan.message_overlays = [(eec1, overlay("Engine", "Motor"))].into();
    let space = Space::new(Arc::new(plan), table());
    let read = |text: &str, attribute| {
        let node = space.find(NodeRef::String(NAMESPACE, text), PASSING).unwrap();
        match space.attribute(node, attribute, &nobody()) {
            Ok(Variant::LocalizedText(text)) => format!("{}:{}", text.locale, text.text),
            other => format!("{other:?}"),
        }
    };
    for (id, name, description) in [
        // what the DBC file says has no locale, and is stronger
        ("line.Oven.Temp", "Oven 3", ":Temperature of the oven"),
        ("line.Oven.Mode", "Mode 3", "de:Betriebsart"),
        ("line.Oven", "Oven", ":The oven"),
        ("line.EEC1", "Engine", "de:Motor"),
        ("line.EEC1@33", "EEC1@33", "de:Motor"),
    ] {
        assert_eq!(read(id, AttributeId::DisplayName).trim_start_matches("[null]").trim_start_matches(':'), name);
        assert_eq!(read(id, AttributeId::Description).trim_start_matches("[null]"), description, "{id}");
    }
}

#[test]
fn who_may_write_sees_it() {
    let space = space();
    let level = |text: &str, attribute, user: &User| {
        let node = space.find(NodeRef::String(NAMESPACE, text), PASSING).unwrap();
        space.attribute(node, attribute, user).unwrap()
    };
    let (access, user) = (AttributeId::AccessLevel, AttributeId::UserAccessLevel);
    let anna = User::named("anna", Proof::Password);
    assert_eq!(level("line.DriveCommand.Enable", access, &nobody()), Variant::Byte(7));
    assert_eq!(level("line.DriveCommand.Enable", user, &nobody()), Variant::Byte(5));
    assert_eq!(level("line.DriveCommand.Enable", user, &anna), Variant::Byte(7));
    assert_eq!(level("line.DriveCommand.Locked", user, &anna), Variant::Byte(5));
    assert_eq!(level("line.Oven.Temp", access, &anna), Variant::Byte(5));
    assert_eq!(level("line.Oven.Temp.EURange", access, &anna), Variant::Byte(1));
    assert_eq!(level("Canvoy.Machine.Armed", user, &nobody()), Variant::Byte(1));
    assert_eq!(level("Canvoy.Machine.Armed", user, &anna), Variant::Byte(3));
}

/// Whether an attribute is there: always, never, or as the node has it.
#[derive(Clone, Copy, PartialEq)]
enum Has {
    Yes,
    No,
    Some,
}

#[test]
fn attributes_of_each_class() {
    use AttributeId as A;
    use Has::{No, Some, Yes};
    use NodeClass as C;
    let classes = [C::Object, C::Variable, C::Method, C::ObjectType, C::VariableType, C::ReferenceType, C::DataType];
    // OPC 10000-3, tables 2 to 24: mandatory ones are there
    let table = [
        (A::NodeId, [Yes; 7]),
        (A::NodeClass, [Yes; 7]),
        (A::BrowseName, [Yes; 7]),
        (A::DisplayName, [Yes; 7]),
        (A::Description, [Some; 7]),
        (A::WriteMask, [Yes; 7]),
        (A::UserWriteMask, [Yes; 7]),
        (A::IsAbstract, [No, No, No, Yes, Yes, Yes, Yes]),
        (A::Symmetric, [No, No, No, No, No, Yes, No]),
        (A::InverseName, [No, No, No, No, No, Some, No]),
        (A::ContainsNoLoops, [No; 7]),
        (A::EventNotifier, [Yes, No, No, No, No, No, No]),
        (A::DataType, [No, Yes, No, No, Yes, No, No]),
        (A::ValueRank, [No, Yes, No, No, Yes, No, No]),
        (A::ArrayDimensions, [No, Some, No, No, Some, No, No]),
        (A::AccessLevel, [No, Yes, No, No, No, No, No]),
        (A::UserAccessLevel, [No, Yes, No, No, No, No, No]),
        (A::AccessLevelEx, [No, Yes, No, No, No, No, No]),
        (A::MinimumSamplingInterval, [No, Yes, No, No, No, No, No]),
        (A::Historizing, [No, Yes, No, No, No, No, No]),
        (A::Executable, [No, No, Yes, No, No, No, No]),
        (A::UserExecutable, [No, No, Yes, No, No, No, No]),
        (A::DataTypeDefinition, [No, No, No, No, No, No, Some]),
        (A::RolePermissions, [No; 7]),
        (A::UserRolePermissions, [No; 7]),
        (A::AccessRestrictions, [No; 7]),
    ];
    let space = space();
    for node in walk(&space) {
        let class = classes.iter().position(|class| *class == space.class(node)).unwrap();
        for (attribute, has) in &table {
            let found = space.attribute(node, *attribute, &nobody());
            let wanted = has[class];
            assert!(wanted == Some || found.is_ok() == (wanted == Yes), "{} {attribute:?} {found:?}", space.id(node));
            if let Err(status) = found {
                assert_eq!(status, opcua::types::StatusCode::BadAttributeIdInvalid);
            }
        }
        let name = space.display_name(node);
        assert!(!name.text.as_ref().is_empty(), "{}", space.id(node));
    }
    let symmetric = |number| space.attribute(space.standard(number).unwrap(), A::Symmetric, &nobody());
    assert_eq!(symmetric(31), Ok(Variant::Boolean(true)), "References");
    assert_eq!(symmetric(47), Ok(Variant::Boolean(false)), "HasComponent");
}
