//! Nodes found, named and joined, over an invented plan.

use std::collections::HashSet;
use std::sync::LazyLock;

use opcua::types::{AttributeId, EnumValueType, LocalizedText, Variant};

use super::*;
use crate::plan::Overlay;
use crate::plant::opcua::identity::{Identity, Machine, Nameplate};
use crate::plant::opcua::locale::Locales;
use crate::plant::opcua::session::User;
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
    Space::new(Arc::new(plan()), table(), Default::default())
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
    for (space, count) in [(space(), 425), (fleet(), 521)] {
        found_and_joined(&space, count);
    }
}

/// `count`: nodes of the plant but for its alarms and methods.
fn found_and_joined(space: &Space, count: usize) {
    let nodes = walk(space);
    let alarms = nodes.iter().filter(|node| matches!(node, Node::Condition(super::condition::Part::Alarm(_)))).count();
    assert_eq!(alarms, space.plan().alarms.len());
    let ours = nodes.iter().filter(|node| !matches!(node, Node::Standard(_) | Node::Condition(_) | Node::Method(_)));
    let ours: Vec<String> = ours.map(|node| space.id(*node).to_string()).collect();
    assert_eq!(ours.len(), count + 2 * 4, "those of the plant, and those of two sessions: {ours:?}");
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
        ("Canvoy.Alarms", true),
        ("Canvoy.Alarms.bus_off:line", true),
        ("Canvoy.Alarms.bus_off:line.AckedState.Id", true),
        ("Canvoy.Alarms.late:line.Oven", true),
        ("Canvoy.Alarms.late:line.Oven.Acknowledge", true),
        ("Canvoy.Alarms.late:line.Oven.Acknowledge.InputArguments", true),
        ("Canvoy.Alarms.late:line.Oven.ShelvingState.CurrentState.Id", true),
        ("Canvoy.Alarms.late:line.Oven.EventId", true),
        ("Canvoy.Alarms.late:line.Oven.HighLimit", false),
        ("Canvoy.Alarms.late:line.Oven.OnDelay", false),
        ("Canvoy.Alarms.late:line.Oven.AckedState.Nothing", false),
        ("Canvoy.Alarms.late:line.Nothing", false),
        ("Canvoy.Alarms.", false),
        ("Canvoy.Alarmsx", false),
        ("line.EEC1@033", false),
        ("line.EEC1@+33", false),
        ("line.EEC1@", false),
        ("line.EEC1@33.", false),
        ("line.EEC1.EngineSpeed", false),
        ("line.Oven@33", false),
        ("line.Oven.Temp.EnumValues", false),
        ("line.EEC1@33.Identifier", true),
        ("", false),
        (".", false),
        ("line.", false),
        ("Canvoy.Devices.line.ECU", true),
        ("Canvoy.Devices.line.ME.SerialNumber", true),
        ("Canvoy.Devices.line.ME.AssetId", false),
        ("Canvoy.Devices.line.@33", true),
        ("Canvoy.Devices.line.@033", false),
        ("Canvoy.Devices.line.@34", false),
        ("Canvoy.Devices.line.Nobody", false),
        ("Canvoy.Devices.line", false),
        ("Canvoy.Devices", false),
        ("Canvoy.Types.line.ECU.Oven.Temp.EURange", true),
        ("Canvoy.Types.line.ECU.Oven.CycleTime", true),
        ("Canvoy.Types.line.ECU.Oven.", false),
        ("Canvoy.Types.line.ECU.", false),
        ("Canvoy.Types.line.ECU.EEC1", false),
        ("Canvoy.Types.line.ECU.DriveCommand", false),
        ("Canvoy.Types.line.@J1939.EEC1.EngineSpeed", true),
        ("Canvoy.Types.line.@J1939.Oven", false),
        ("Canvoy.Buses", true),
        ("Canvoy.Buses.line.State", true),
        ("Canvoy.Buses.line.BitRate", false),
        ("Canvoy.Buses.line.Load.EURange", true),
        ("Canvoy.Buses.line.Load.EnumValues", false),
        ("Canvoy.Buses.line.LostFrames.EURange", false),
        ("Canvoy.Buses.line.Load.", false),
        ("Canvoy.CanBusType.LoadPeak.EngineeringUnits", true),
        ("Canvoy.Buses.line.", false),
        ("Canvoy.Buses.", false),
        ("Canvoy.Controller.Overruns", true),
        ("Canvoy.Controller.", false),
        ("Canvoy.Deadlines.cycle line.DriveCommand.Budget", true),
        ("Canvoy.Deadlines.cycle line.Oven", false),
        ("Canvoy.Deadlines.", false),
        ("Canvoy.CanBusState.EnumStrings", true),
        ("Canvoy.CanBusState.", false),
        ("Canvoy.CanMessageType.Identifier", true),
        ("Canvoy.CanMessageType.", false),
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
        descriptions: vec![("de".into(), de.into())],
        ..Overlay::default()
    };
    let (temp, mode) = (tag(&plan, "Oven.Temp"), tag(&plan, "Oven.Mode"));
    plan.tag_overlays = [(temp, overlay("Oven 3", "Temperatur")), (mode, overlay("Mode 3", "Betriebsart"))].into();
    let eec1 = plan.tags[tag(&plan, "EEC1.EngineSpeed")].message;
    plan.message_overlays = [(eec1, overlay("Engine", "Motor"))].into();
    let space = Space::new(Arc::new(plan), table(), Default::default());
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
        ("line.EEC1@33", "Engine", "de:Motor"),
    ] {
        assert_eq!(read(id, AttributeId::DisplayName).trim_start_matches("[null]").trim_start_matches(':'), name);
        assert_eq!(read(id, AttributeId::Description).trim_start_matches("[null]"), description, "{id}");
    }
}

#[test]
fn texts_are_in_the_language_of_who_asks() {
    let mut plan = plan();
    let (temp, mode) = (tag(&plan, "Oven.Temp"), tag(&plan, "Oven.Mode"));
    let both = |de: &str, fr: &str| vec![("de".to_owned(), de.to_owned()), ("fr".to_owned(), fr.to_owned())];
    let words = vec![("de".to_owned(), vec![(0, "Aus".to_owned()), (2, "Störung".to_owned())])];
    let named = Overlay {
        alias: Some("Oven 3".into()),
        aliases: both("Ofen 3", "Four 3"),
        descriptions: vec![("de".into(), "Temperatur".into())],
        ..Overlay::default()
    };
    let unnamed = Overlay { aliases: both("Betriebsart", "Mode"), words, ..Overlay::default() };
    plan.tag_overlays = [(temp, named), (mode, unnamed)].into();
    let space = Space::new(Arc::new(plan), table(), Default::default());
    let node = |text: &str| space.find(NodeRef::String(NAMESPACE, text), PASSING).unwrap();
    for (locales, name, description, unnamed, words) in [
        (&[][..], "Oven 3", "Temperature of the oven", "Mode", "Off On Fault"),
        (&["de-AT"], "de:Ofen 3", "de:Temperatur", "de:Betriebsart", "de:Aus On de:Störung"),
        (&["fr", "de"], "fr:Four 3", "de:Temperatur", "fr:Mode", "de:Aus On de:Störung"),
        (&["en"], "Oven 3", "Temperature of the oven", "Mode", "Off On Fault"),
    ] {
        let locales = Locales(locales.iter().map(|locale| (*locale).to_owned()).collect());
        let user = User { locales, ..nobody() };
        let told = |text: &LocalizedText| match text.locale.as_ref() {
            "" => text.text.to_string(),
            locale => format!("{locale}:{}", text.text),
        };
        let read = |id: &str, attribute| match space.attribute(node(id), attribute, &user) {
            Ok(Variant::LocalizedText(text)) => told(&text),
            other => format!("{other:?}"),
        };
        assert_eq!(read("line.Oven.Temp", AttributeId::DisplayName), name);
        assert_eq!(read("line.Oven.Temp", AttributeId::Description), description);
        assert_eq!(read("line.Oven.Mode", AttributeId::DisplayName), unnamed);
        let values = mapping::property_value(space.plan.signal(mode), Property::EnumValues, space.words(mode, &user));
        let Variant::Array(values) = values else { panic!("no array") };
        let word = |value: &Variant| match value {
            Variant::ExtensionObject(object) => told(&object.inner_as::<EnumValueType>().unwrap().display_name),
            _ => String::new(),
        };
        assert_eq!(values.values.iter().map(word).collect::<Vec<_>>().join(" "), words);
    }
}

#[test]
fn aliases_lead_to_their_variables() {
    let mut plan = plan();
    let named = |alias: &str| Overlay { alias: Some(alias.into()), ..Overlay::default() };
    let tags = ["Oven.Temp", "Oven.Mode", "Oven.Door", "EEC1.EngineSpeed"].map(|name| tag(&plan, name));
    plan.tag_overlays = tags.into_iter().zip(["Oven no. 3.", "B", "B", "@1"].map(named)).collect();
    let space = Space::new(Arc::new(plan), table(), Default::default());
    let ids = |node: Node, kind: ReferenceTypeId, forward: bool| -> Vec<String> {
        let all = space.references(node, PASSING).into_iter();
        let of_kind = all.filter(|one| one.kind == kind as u32 && one.forward == forward);
        of_kind.map(|one| space.id(one.target).identifier.to_string()).collect()
    };
    let category = space.standard(alias::CATEGORY).unwrap();
    let aliases = ["s=Canvoy.Aliases.@1", "s=Canvoy.Aliases.B", "s=Canvoy.Aliases.Oven no. 3."];
    assert_eq!(ids(category, ReferenceTypeId::Organizes, true), aliases);
    for (alias, variables) in aliases.into_iter().zip([
        &["s=line.EEC1@200.EngineSpeed", "s=line.EEC1@33.EngineSpeed"][..],
        &["s=line.Oven.Mode", "s=line.Oven.Door"],
        &["s=line.Oven.Temp"],
    ]) {
        let find = |id: &str| space.find(NodeRef::String(NAMESPACE, id.strip_prefix("s=").unwrap()), PASSING).unwrap();
        assert_eq!(ids(find(alias), ReferenceTypeId::AliasFor, true), variables);
        for variable in variables {
            assert_eq!(ids(find(variable), ReferenceTypeId::AliasFor, false), [alias]);
        }
    }
    for gone in ["Canvoy.Aliases.A", "Canvoy.Aliases.", "Canvoy.Aliases", "Canvoy.Aliases.Z"] {
        assert_eq!(space.find(NodeRef::String(NAMESPACE, gone), PASSING), None, "{gone}");
    }
    let count = walk(&space).len();
    assert_eq!(count, walk(&self::space()).len() + 3, "each is come to");
}

#[test]
fn who_may_write_sees_it() {
    let space = space();
    let level = |text: &str, attribute, user: &User| {
        let node = space.find(NodeRef::String(NAMESPACE, text), PASSING).unwrap();
        space.attribute(node, attribute, user).unwrap()
    };
    let (access, user) = (AttributeId::AccessLevel, AttributeId::UserAccessLevel);
    let anna = User::anybody("anna");
    assert_eq!(level("line.DriveCommand.Enable", access, &nobody()), Variant::Byte(7));
    assert_eq!(level("line.DriveCommand.Enable", user, &nobody()), Variant::Byte(5));
    assert_eq!(level("line.DriveCommand.Enable", user, &anna), Variant::Byte(7));
    assert_eq!(level("line.DriveCommand.Locked", user, &anna), Variant::Byte(5));
    assert_eq!(level("line.Oven.Temp", access, &anna), Variant::Byte(5));
    // a change of it is told (SemanticChange)
    assert_eq!(level("line.Oven.Temp.EURange", access, &anna), Variant::Byte(17));
    assert_eq!(level("line.Oven.Temp.EURange", user, &anna), Variant::Byte(1));
    assert_eq!(level("line.Oven.Identifier", access, &anna), Variant::Byte(17));
    assert_eq!(level("line.Oven.Temp.RawValue", access, &anna), Variant::Byte(1));
    assert_eq!(level("Canvoy.NodeVersion.line.Oven", access, &anna), Variant::Byte(1));
    assert_eq!(level("Canvoy.Machine.Armed", user, &nobody()), Variant::Byte(1));
    assert_eq!(level("Canvoy.Machine.Armed", user, &anna), Variant::Byte(3));
}

#[test]
fn who_may_call_sees_it() {
    let space = space();
    let (can, may) = (AttributeId::Executable, AttributeId::UserExecutable);
    let anna = User::anybody("anna");
    for (method, wanted) in [
        ("Machine.Arm", [true, true, false]),
        ("line.DriveCommand.Send", [true, true, false]),
        // what the configuration lets nobody do from the plant
        ("Machine.SetRemote", [false; 3]),
        ("Machine.Force", [false; 3]),
        ("line.Restart", [false; 3]),
    ] {
        let text = format!("Canvoy.Methods.{method}");
        let node = space.find(NodeRef::String(NAMESPACE, &text), PASSING).unwrap();
        let shown = [(can, &anna), (may, &anna), (may, &nobody())];
        let shown = shown.map(|(attribute, user)| space.attribute(node, attribute, user).unwrap());
        assert_eq!(shown, wanted.map(Variant::Boolean), "{method}");
    }
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
        (A::UserRolePermissions, [Yes; 7]),
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
        let name = space.display_name(node, Locales::NONE);
        assert!(!name.text.as_ref().is_empty(), "{}", space.id(node));
    }
    let symmetric = |number| space.attribute(space.standard(number).unwrap(), A::Symmetric, &nobody());
    assert_eq!(symmetric(31), Ok(Variant::Boolean(true)), "References");
    assert_eq!(symmetric(47), Ok(Variant::Boolean(false)), "HasComponent");
}

/// Two pumps of one type, and a bus of J1939.
fn fleet() -> Space {
    const PUMP: &str = "VERSION \"\"\nBU_: PLC PUMP\nBO_ 256 Status: 8 PUMP\n SG_ Speed : 0|16@1+ (0.5,0) [0|3000] \"rpm\" PLC\n \
                        SG_ Sender : 16|8@1+ (1,0) [0|0] \"\" PLC\nBO_ 257 Order: 8 PLC\n SG_ Start : 0|1@1+ (1,0) [0|0] \"\" PUMP\n";
    const CONFIGURATION: &str = "[bus.hall]\ninterface = \"can0\"\nnode = \"PLC\"\ndbc = [\"plant.dbc\"]\n[bus.hall.device.pump]\n\
                                 dbc = [\"pump.dbc\"]\ninstances = [{ name = \"pump1\", id_offset = 16 }, { name = \"pump2\", id_offset = 32 }]\n";
    let files = [("plant.dbc", crate::plant::opcua::tests::DBC.as_bytes()), ("pump.dbc", PUMP.as_bytes())];
    let sources = crate::config::Sources::embedded("plant.toml", CONFIGURATION, &files);
    let plan = match crate::config::load(&sources, Default::default()) {
        Ok(loaded) => loaded.plan,
        Err(mistakes) => panic!("{mistakes:?}"),
    };
    let text = |text: &str| Some(text.to_owned());
    let plate =
        Nameplate { manufacturer: text("Acme"), model: text("P"), serial_number: text("7"), ..Nameplate::default() };
    // who made the other is not known
    let other = Nameplate { manufacturer: text("Acme"), ..Nameplate::default() };
    let machine = Machine {
        name: text("Press 7"),
        manufacturer: text("Acme"),
        serial_number: text("4711"),
        product_instance_uri: text("urn:acme:4711"),
        year_of_construction: Some(2026),
        ..Machine::default()
    };
    let identity =
        Identity { machine, device: [("hall.pump1".to_owned(), plate), ("hall.pump2".to_owned(), other)].into() };
    let overlay = |area: &str| Overlay { area: Some(area.into()), ..Overlay::default() };
    let of = |name: &str| plan.messages.iter().position(|message| message.message.name == name).unwrap();
    let (oven, engine) = (of("Oven"), of("EEC1"));
    let mut plan = plan;
    plan.message_overlays = [(oven, overlay("Hall 2. North")), (engine, overlay("Engines"))].into();
    let temp = plan.messages[oven].tags.start;
    plan.tag_overlays = [(temp, overlay("Engines"))].into();
    Space::new(Arc::new(plan), table(), Arc::new(identity))
}

/// What a type declares, its supertypes included: reference, name, class, rule.
fn declarations(space: &Space, of: Node) -> Vec<(u32, String, NodeClass, bool, Option<Node>)> {
    let mut all = Vec::new();
    let mut next = Some(of);
    while let Some(of) = next {
        let references = space.references(of, PASSING);
        for reference in references.iter().filter(|one| one.forward && [46, 47].contains(&one.kind)) {
            let target = reference.target;
            let rule = space.references(target, PASSING).into_iter().find(|one| one.kind == 37).map(|one| one.target);
            let Some(rule) = rule.filter(|rule| [space.standard(78), space.standard(80)].contains(&Some(*rule))) else {
                continue;
            };
            let name = space.browse_name(target).to_string();
            let mandatory = Some(rule) == space.standard(78);
            all.push((reference.kind, name, space.class(target), mandatory, Some(target)));
        }
        next = references.iter().find(|one| !one.forward && one.kind == 45).map(|one| one.target);
    }
    all
}

fn derives(space: &Space, from: Node, of: Node) -> bool {
    let above = |one: &Node| {
        let references = space.references(*one, PASSING);
        references.iter().find(|one| !one.forward && one.kind == 45).map(|one| one.target)
    };
    std::iter::successors(Some(from), above).any(|one| one == of)
}

/// Each declaration is there by its name, of its class and type, down to the last property.
fn conforms(space: &Space, instance: Node, of: Node) -> usize {
    let mut checked = 0;
    let children = space.references(instance, PASSING);
    for (kind, name, class, mandatory, declared) in declarations(space, of) {
        let declared = declared.unwrap();
        let same = |one: &&Reference| one.forward && space.browse_name(one.target).to_string() == name;
        let Some(found) = children.iter().find(same) else {
            assert!(!mandatory, "{} has no {name}", space.id(instance));
            continue;
        };
        checked += 1;
        let target = found.target;
        assert_eq!(space.class(target), class, "{}", space.id(target));
        // an Identification is an add-in of a component (OPC 40001-1, 10.2)
        assert!(space.standard.is_subtype(found.kind, kind), "{}: {}", space.id(target), found.kind);
        if class == NodeClass::Variable {
            let (kind, wanted) = (space.data_type_id(target), space.data_type_id(declared));
            let derived = space.standard.is_subtype(space.data_type(target), space.data_type(declared));
            assert!(kind == wanted || wanted.namespace == 0 && derived, "{}: {kind} for {wanted}", space.id(target));
            assert_eq!(space.value_rank(target), space.value_rank(declared), "{}", space.id(target));
        }
        let types = space.type_definition(target).zip(space.type_definition(declared));
        assert!(types.is_none_or(|(own, of)| derives(space, own, of)), "{}", space.id(target));
        checked += conforms(space, target, declared);
    }
    checked
}

#[test]
fn instances_have_what_their_types_declare() {
    for (space, least) in [(space(), 100), (fleet(), 150)] {
        let mut checked = 0;
        for node in walk(&space) {
            let ours = !matches!(node, Node::Standard(_) | Node::Session(_));
            if ours && let Some(definition) = space.type_definition(node) {
                checked += conforms(&space, node, definition);
            }
        }
        assert!(checked > least, "{checked}");
    }
}

#[test]
fn alike_devices_have_one_type() {
    let space = fleet();
    let find = |text: &str| space.find(NodeRef::String(NAMESPACE, text), PASSING);
    for (id, name, parent, definition) in [
        ("Canvoy.Devices.hall.pump1", "2:hall.pump1", "ns=3;i=5001", "ns=2;s=Canvoy.Types.hall.pump"),
        ("Canvoy.Devices.hall.pump2", "2:hall.pump2", "ns=3;i=5001", "ns=2;s=Canvoy.Types.hall.pump"),
        ("Canvoy.Devices.hall.ECU", "2:hall.ECU", "ns=3;i=5001", "ns=2;s=Canvoy.Types.hall.ECU"),
        ("hall.pump1_Status", "2:Status", "ns=2;s=Canvoy.Devices.hall.pump1", "i=58"),
        ("hall.pump2_Order", "2:Order", "ns=2;s=Canvoy.Devices.hall.pump2", "ns=2;s=Canvoy.CanMessageType"),
        ("hall.Oven", "2:Oven", "ns=2;s=hall", "ns=2;s=Canvoy.CanMessageType"),
    ] {
        let node = find(id).unwrap_or_else(|| panic!("{id}"));
        let name_found = space.browse_name(node);
        let found = format!("{}:{}", name_found.namespace_index, name_found.name);
        let parent_found = space.references(node, PASSING).into_iter().find(|one| !one.forward).unwrap().target;
        let found = (found, space.id(parent_found).to_string(), space.type_definition_id(node).to_string());
        assert_eq!(found, (name.into(), parent.into(), definition.into()), "{id}");
    }
    for (id, found) in [
        ("Canvoy.Devices.hall.PUMP", false),
        ("Canvoy.Types.hall.pump.Status.Speed", true),
        ("Canvoy.Types.hall.pump.pump1_Status", false),
        ("Canvoy.Types.hall.pump2", false),
        ("hall.Status", false),
    ] {
        assert_eq!(find(id).is_some(), found, "{id}");
    }
    use model::devices::Device;
    use model::plate::Plate;
    let plate = |number, plate| space.plate(Device::Listed(number), plate);
    assert_eq!(plate(2, Plate::SerialNumber), Variant::from("7"));
    // what nobody knows is not made up
    assert_eq!(plate(3, Plate::SerialNumber), Variant::from(""));
    assert_eq!(plate(3, Plate::RevisionCounter), Variant::Int32(-1));
}

#[test]
fn the_machine_and_its_places() {
    let space = fleet();
    let find = |text: &str| space.find(NodeRef::String(NAMESPACE, text), PASSING);
    let below = |id: &str| {
        let references = space.references(find(id).unwrap_or_else(|| panic!("{id}")), PASSING);
        let children = references.iter().filter(|one| one.forward && one.kind != 40);
        children.map(|one| space.browse_name(one.target).name.to_string()).collect::<Vec<_>>().join(", ")
    };
    for (id, want) in [
        ("Canvoy.Asset", "Areas, Components, Identification, MachineryBuildingBlocks"),
        ("Canvoy.Asset.MachineryBuildingBlocks", "Components, Identification"),
        ("Canvoy.Asset.Components", "hall.@200, hall.@33, hall.pump1, NodeVersion"),
        ("Canvoy.Devices.hall.@33.Identification", "DeviceClass, Manufacturer, SerialNumber"),
        ("Canvoy.Devices.hall.pump1.Identification", "Manufacturer, Model, SerialNumber"),
        ("Canvoy.Asset.Identification", "Manufacturer, ProductInstanceUri, SerialNumber, YearOfConstruction"),
        ("Canvoy.Areas", "Engines, Hall 2. North, NodeVersion"),
        ("Canvoy.Areas.Engines", "hall.EEC1@200, hall.EEC1@33, hall.Oven, NodeVersion"),
        ("Canvoy.Areas.Engines.hall.EEC1@33", "EngineSpeed, NodeVersion"),
        ("Canvoy.Areas.Engines.hall.Oven", "Temp, NodeVersion"),
        ("Canvoy.Areas.Hall 2. North.hall.Oven", "Door, Flag, Level, Mode, Trim, NodeVersion"),
    ] {
        assert_eq!(below(id), want, "{id}");
    }
    for id in [
        "Canvoy.Asset.Identification.Model",
        "Canvoy.Asset.MachineryBuildingBlocks.Components",
        // its maker is not known
        "Canvoy.Devices.hall.pump2.Identification",
        "Canvoy.Devices.hall.pump1.Identification.RevisionCounter",
        "Canvoy.Devices.hall.pump1.Identification.",
        "Canvoy.Areas.Nowhere",
        "Canvoy.Areas.Engines.hall.EEC1",
        "Canvoy.Areas.",
    ] {
        assert_eq!(find(id), None, "{id}");
    }
    // nobody is told of a machine that is not described
    let plain = self::space();
    for id in ["Canvoy.Asset", "Canvoy.Asset.Components", "Canvoy.Areas"] {
        assert_eq!(plain.find(NodeRef::String(NAMESPACE, id), PASSING), None, "{id}");
    }
}

#[test]
fn an_identifier_that_begins_alike_again_and_again_is_of_nothing() {
    let space = space();
    let find = |text: &str| space.plant(text, PASSING);
    assert!(find("Canvoy.NodeVersion.line").is_some());
    for times in [2, 3, 500_000] {
        assert_eq!(find(&format!("{}line", "Canvoy.NodeVersion.".repeat(times))), None, "{times}");
    }
}
