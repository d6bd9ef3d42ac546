//! Attributes as a client gets them, over an invented plant.

use std::sync::Arc;

use opcua::types::{
    BinaryDecodable, DataValue, DateTime, NodeClass, ServerStatusDataType, SessionDiagnosticsDataType,
    SessionSecurityDiagnosticsDataType, SubscriptionDiagnosticsDataType, VariableId, VariantScalarTypeId,
};

use super::*;
use crate::plant::opcua::limits::Limits;
use crate::plant::opcua::scene::Scenes;
use crate::plant::opcua::space::server::{Diagnostics, ServerObject};
use crate::plant::opcua::tests::Example;
use crate::plant::opcua::wire::{Name, NodeRef, context};

fn diagnostics() -> Diagnostics {
    let node = |id: u32| opcua::types::NodeId::new(1, id);
    Diagnostics {
        ids: Box::new(|| vec![7, 8]),
        sessions: Box::new(move || {
            [7, 8].map(|id| SessionDiagnosticsDataType { session_id: node(id), ..Default::default() }).into()
        }),
        security: Box::new(move || {
            [7, 8].map(|id| SessionSecurityDiagnosticsDataType { session_id: node(id), ..Default::default() }).into()
        }),
        subscriptions: Box::new(move || {
            [7, 8, 8].map(|id| SubscriptionDiagnosticsDataType { session_id: node(id), ..Default::default() }).into()
        }),
        ..Diagnostics::none()
    }
}

/// A plant where the oven's message came, and one source of EEC1.
pub fn scene() -> (Example, Arc<Scene>) {
    let (mut example, _requests) = Example::new();
    let now = clock::realtime();
    example.frame("Oven", (0, 0), [0xE8, 0x03, 0x12, 5, 0, 0, 0x80, 0x3F], Causes::NONE, now);
    example.frame("EEC1", (0, 33), [0, 0, 0, 0x40, 0x1F, 0, 0, 0], Causes::NONE, now);
    let scenes = Scenes::new(
        &example.plant,
        ServerObject::new("urn:this:server", Limits::default(), diagnostics()),
        Default::default(),
    );
    (example, scenes.now())
}

/// Every node that can be come to from Root.
pub fn walk(scene: &Scene) -> Vec<Node> {
    let mut nodes = vec![scene.find(NodeRef::Numeric(0, 84)).unwrap()];
    let mut known: std::collections::HashSet<Node> = nodes.iter().copied().collect();
    let mut at = 0;
    while let Some(node) = nodes.get(at).copied() {
        at += 1;
        let targets = scene.references(node).into_iter().map(|reference| reference.target);
        nodes.extend(targets.filter(|target| known.insert(*target)));
    }
    nodes
}

fn anna() -> User {
    User::anybody("anna")
}

/// Reads as a client does, and decodes with the crate.
fn read(scene: &Scene, node: Node, attribute: u32, range: &str, encoding: Encoding, user: &User) -> DataValue {
    let mut writer = Writer::new();
    Reading::new(scene, user, TimestampsToReturn::Both, clock::monotonic()).read(
        node,
        attribute,
        range,
        encoding,
        &mut writer,
    );
    let bytes = writer.finish();
    let mut rest = bytes.as_slice();
    let value = DataValue::decode(&mut rest, &context().context()).unwrap();
    assert!(rest.is_empty(), "{} {bytes:?} {value:?}", scene.space.id(node));
    value
}

const VALUE: u32 = AttributeId::Value as u32;

#[test]
fn every_variable_has_a_value_of_its_type_and_rank() {
    let (_example, scene) = scene();
    let mut variables = 0;
    for node in walk(&scene) {
        let id = scene.space.id(node);
        let found = read(&scene, node, VALUE, "", Encoding::Any, &anna());
        let status = found.status.unwrap_or_default();
        if scene.space.class(node) != NodeClass::Variable {
            let type_value = scene.space.class(node) == NodeClass::VariableType && status.is_good();
            assert!(type_value || status == StatusCode::BadAttributeIdInvalid, "{id} {status}");
            continue;
        }
        variables += 1;
        assert!(found.server_timestamp.is_some(), "{id}");
        // of the plant only two messages came
        let live = matches!(node, Node::Signal(..) | Node::Property(..) | Node::State(_) | Node::Model(_));
        assert!(status.is_good() || live && found.value.as_ref().is_none_or(Variant::is_empty), "{id} {status}");
        let (data_type, rank) = (scene.space.data_type(node), scene.space.value_rank(node));
        let Some(value) = found.value.filter(|_| status.is_good()) else { continue };
        assert!(found.source_timestamp.is_some() || matches!(node, Node::State(_) | Node::Model(_)), "{id}");
        let builtin = scene.space.standard.lineage(data_type).find_map(|number| match number {
            1..=23 | 25 => Some(number),
            29 => Some(6),
            _ => None,
        });
        let kind = value.scalar_type_id();
        match builtin {
            Some(builtin) => {
                assert_eq!(kind, Some(VariantScalarTypeId::try_from(builtin).unwrap()), "{id} of {data_type}");
            }
            // Number, BaseDataType: any
            None => assert!(
                [24, 26, 27, 28].contains(&data_type)
                    || [24, 26, 27, 28].iter().any(|of| scene.space.standard.is_subtype(data_type, *of)),
                "{id} of {data_type}"
            ),
        }
        if builtin.is_some() {
            assert_eq!(value.is_array(), rank >= 0, "{id} rank {rank}");
        }
        if let Variant::Double(number) = value {
            assert!(number.is_finite(), "{id}");
        }
        // the long way says the same
        let long = scene.attribute(node, AttributeId::Value, &anna(), clock::monotonic()).unwrap();
        assert_eq!(long.value.map(|long| long.scalar_type_id()), Some(kind), "{id}");
    }
    assert!(variables > 1500, "{variables}");
}

#[test]
fn numbers_are_written_as_the_long_way_has_them() {
    let (_example, scene) = scene();
    for text in ["Temp", "Mode", "Door", "Flag", "Trim", "Level", "Mode.ValueAsText", "Temp.EURange", "Identifier"] {
        let node = scene.find(NodeRef::String(2, &format!("line.Oven.{text}"))).unwrap();
        let short = read(&scene, node, VALUE, "", Encoding::Any, &anna());
        let long = scene.attribute(node, AttributeId::Value, &anna(), clock::monotonic()).unwrap();
        // structures come back as bytes, empty locales as none
        if text != "Temp.EURange" && text != "Mode.ValueAsText" {
            assert_eq!(short.value, long.value, "{text}");
        }
        assert_eq!(short.status.unwrap_or_default(), long.status.unwrap_or_default(), "{text}");
        assert!(short.source_timestamp.is_some() && short.server_timestamp >= short.source_timestamp, "{text}");
    }
    let wide = scene.find(NodeRef::String(2, "line.Wide.Big")).unwrap();
    let found = read(&scene, wide, VALUE, "", Encoding::Any, &anna());
    assert_eq!((found.value, found.status), (None, Some(StatusCode::BadWaitingForInitialData)));
}

#[test]
fn errors_are_said_item_by_item() {
    use StatusCode as S;
    let (_example, scene) = scene();
    let plant = |text: &str| scene.find(NodeRef::String(2, text)).unwrap();
    let standard = |number: u32| scene.find(NodeRef::Numeric(0, number)).unwrap();
    let name = |namespace, name| Encoding::of(Name { namespace, name });
    let none = name(0, "");
    let (temp, range, namespaces, object) =
        (plant("line.Oven.Temp"), plant("line.Oven.Temp.EURange"), standard(2255), standard(2253));
    for (node, attribute, index, encoding, want) in [
        (temp, 13, "", none, S::Good),
        (temp, 0, "", none, S::BadAttributeIdInvalid),
        (temp, 28, "", none, S::BadAttributeIdInvalid),
        (temp, u32::MAX, "", none, S::BadAttributeIdInvalid),
        (temp, 26, "", none, S::BadAttributeIdInvalid),
        (temp, 13, "0", none, S::BadIndexRangeNoData),
        (temp, 13, "x", none, S::BadIndexRangeInvalid),
        (temp, 13, "", name(0, "Default Binary"), S::BadDataEncodingInvalid),
        (range, 13, "", name(0, "Default Binary"), S::Good),
        (range, 13, "", name(0, "Default XML"), S::BadDataEncodingUnsupported),
        (range, 13, "", name(0, "Default JSON"), S::BadDataEncodingUnsupported),
        (range, 13, "", name(0, "Nonsense"), S::BadDataEncodingInvalid),
        (range, 13, "", name(2, "Default Binary"), S::BadDataEncodingInvalid),
        (range, 4, "", name(0, "Default Binary"), S::BadDataEncodingInvalid),
        (namespaces, 13, "0:1", none, S::Good),
        (namespaces, 13, "2:9", none, S::Good),
        (namespaces, 13, "5", none, S::BadIndexRangeNoData),
        (namespaces, 13, "0:1,0:2", none, S::Good),
        (namespaces, 13, "1:0", none, S::BadIndexRangeInvalid),
        (namespaces, 16, "0", none, S::Good),
        (object, 13, "", none, S::BadAttributeIdInvalid),
        (object, 12, "", none, S::Good),
    ] {
        let found = read(&scene, node, attribute, index, encoding, &anna()).status.unwrap_or_default();
        assert_eq!(found, want, "{} {attribute} {index:?} {encoding:?}", scene.space.id(node));
    }
    // what has no value has a status that says why, whatever piece is asked for
    let never = read(&scene, plant("line.Wide.Big"), 13, "0", none, &anna());
    assert_eq!(never.status, Some(S::BadWaitingForInitialData));
}

#[test]
fn the_server_object_is_live_and_true() {
    let (_example, scene) = scene();
    let value = |id: VariableId, user: &User| {
        let node = scene.find(NodeRef::Numeric(0, id as u32)).unwrap();
        scene.attribute(node, AttributeId::Value, user, clock::monotonic()).map(|read| read.value.unwrap())
    };
    let get = |id| value(id, &User::anonymous()).unwrap();
    use VariableId as V;
    let texts = |texts: &[&str]| Variant::from(texts.iter().map(|text| text.to_string()).collect::<Vec<_>>());
    let namespaces = [
        "http://opcfoundation.org/UA/",
        "urn:this:server",
        "urn:canvoy:plant",
        "http://opcfoundation.org/UA/DI/",
        "http://opcfoundation.org/UA/Machinery/",
    ];
    assert_eq!(get(V::Server_NamespaceArray), texts(&namespaces));
    assert_eq!(get(V::Server_ServerArray), texts(&["urn:this:server"]));
    assert_eq!(get(V::Server_ServiceLevel), Variant::Byte(255));
    assert_eq!(get(V::Server_Auditing), Variant::Boolean(true));
    assert_eq!(get(V::Server_ServerCapabilities_MaxSessions), Variant::UInt32(100));
    assert_eq!(get(V::Server_ServerCapabilities_MaxBrowseContinuationPoints), Variant::UInt16(100));
    assert_eq!(get(V::Server_ServerCapabilities_OperationLimits_MaxNodesPerRead), Variant::UInt32(10_000));
    let Variant::ExtensionObject(status) = get(V::Server_ServerStatus) else { panic!() };
    let status = status.inner_as::<ServerStatusDataType>().unwrap();
    assert!((DateTime::now().as_chrono() - status.current_time.as_chrono()).num_seconds() < 5);
    assert_eq!(get(V::Server_ServerStatus_State), Variant::Int32(0));
    assert_eq!(get(V::Server_ServerStatus_BuildInfo_ProductName), Variant::from("Canvoy"));
    assert_eq!(get(V::Server_ServerStatus_StartTime), Variant::from(scene.server.start));
    assert!(matches!(get(V::Server_ServerStatus_CurrentTime), Variant::DateTime(time) if *time >= scene.server.start));

    let array = V::Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray;
    assert_eq!(value(array, &User::anonymous()), Err(StatusCode::BadUserAccessDenied));
    let Ok(Variant::Array(all)) = value(array, &anna()) else { panic!() };
    assert_eq!(all.values.len(), 2);
    let own = scene.find(NodeRef::String(1, "8.SubscriptionDiagnosticsArray")).unwrap();
    let read = |user: &User| scene.attribute(own, AttributeId::Value, user, 0).map(|read| read.value);
    assert_eq!(read(&User::anonymous()), Err(StatusCode::BadUserAccessDenied));
    let Ok(Some(Variant::Array(own))) = read(&anna()) else { panic!() };
    assert_eq!(own.values.len(), 2, "of two subscriptions");
    for (id, found) in [
        (NodeRef::Numeric(1, 7), true),
        (NodeRef::Numeric(1, 9), false),
        (NodeRef::String(1, "7.SessionDiagnostics"), true),
        (NodeRef::String(1, "7.SessionDiagnostics.ReadCount"), true),
        (NodeRef::String(1, "7.SessionSecurityDiagnostics.ReadCount"), false),
        (NodeRef::String(1, "9.SessionDiagnostics.ReadCount"), false),
        (NodeRef::String(1, "07.SessionDiagnostics"), false),
        (NodeRef::String(1, "9.SessionDiagnostics"), false),
        (NodeRef::String(1, "urn:canvoy:plant.NamespaceUri"), true),
        (NodeRef::String(1, "urn:this:server"), true),
    ] {
        assert_eq!(scene.find(id).is_some(), found, "{id:?}");
    }
}

#[test]
fn what_is_not_served_is_not_there() {
    let (_example, scene) = scene();
    for number in [14443, 12637, 15692, 12749, 12886, 23488, 11713, 12167, 16136, 2289, 24101] {
        assert_eq!(scene.find(NodeRef::Numeric(0, number)), None, "i={number}");
    }
    // of Server, and of the types of conditions
    let methods = [11492, 12873, 23476, 23485, 3875, 12912, 9027, 9028, 9029, 9111, 9113, 9211, 9212, 9213];
    let executable: Vec<u32> = walk(&scene)
        .into_iter()
        .filter(|node| {
            let found = scene.space.attribute(*node, AttributeId::Executable, &anna());
            found == Ok(Variant::Boolean(true))
        })
        .filter_map(|node| scene.space.id(node).as_u32())
        .collect();
    assert_eq!(executable.iter().copied().collect::<std::collections::BTreeSet<_>>(), methods.into());
}

/// For the eye: `cargo test --release --lib opcua::reading::tests::large -- --nocapture`.
#[test]
fn large_plans_take_little() {
    const SIGNALS: usize = 10_000;
    let mut dbc = String::from("VERSION \"\"\nBU_: ME ECU\n");
    for message in 0..SIGNALS / 8 {
        dbc += &format!("BO_ {} Message{message}: 8 ECU\n", message + 1);
        for signal in 0..8 {
            dbc += &format!(" SG_ Signal{signal} : {}|8@1+ (0.5,0) [0|127.5] \"degC\" ME\n", signal * 8);
        }
    }
    let (example, _requests) = Example::of(&dbc);
    let start = std::time::Instant::now();
    let scenes = Scenes::new(
        &example.plant,
        ServerObject::new("urn:this:server", Limits::default(), diagnostics()),
        Default::default(),
    );
    let scene = scenes.now();
    let loaded = start.elapsed();
    let start = std::time::Instant::now();
    let space = crate::plant::opcua::space::Space::new(
        scene.view.plan.clone(),
        scene.space.standard.clone(),
        Default::default(),
    );
    let built = start.elapsed();
    let each = space.bytes() as f64 / SIGNALS as f64;
    let standard = &scene.space.standard;
    println!("standard: {} nodes, {} bytes; scene {loaded:?}", standard.len(), standard.bytes());
    println!("{SIGNALS} signals, {} nodes of them: {built:?}, {each:.1} bytes for each signal", 3 * SIGNALS);
    assert!(each < 24.0 && standard.bytes() < 2_100_000);

    let ids: Vec<String> =
        (0..SIGNALS).map(|at| format!("line.Message{}.Signal{}", at * 7 % (SIGNALS / 8), at % 8)).collect();
    let user = anna();
    let mut writer = Writer::with_capacity(1 << 20);
    let start = std::time::Instant::now();
    let mut reading = Reading::new(&scene, &user, TimestampsToReturn::Both, clock::monotonic());
    for id in &ids {
        let node = scene.find(NodeRef::String(2, id)).unwrap();
        reading.read(node, VALUE, "", Encoding::Any, &mut writer);
    }
    println!("{SIGNALS} values read and written in {:?}, {} bytes", start.elapsed(), writer.len());
    let start = std::time::Instant::now();
    let found = ids.iter().filter(|id| scene.find(NodeRef::String(2, id)).is_some()).count();
    println!("{found} found in {:?}", start.elapsed());
    let bus = scene.find(NodeRef::String(2, "line")).unwrap();
    let start = std::time::Instant::now();
    let references = scene.references(bus).len();
    println!("{references} references of a bus in {:?}", start.elapsed());
}
