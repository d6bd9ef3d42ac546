//! The peer on async-opcua: its own server with a SimpleNodeManager, every node in its address space.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use opcua::crypto::SecurityPolicy;
use opcua::nodes::{ObjectBuilder, VariableBuilder};
use opcua::server::address_space::AddressSpace;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder};
use opcua::types::{
    DataTypeId, DataValue, DateTime, EUInformation, ExtensionObject, LocalizedText, MessageSecurityMode, NodeId,
    ObjectId, ObjectTypeId, QualifiedName, Range, StatusCode, VariableTypeId, Variant,
};
use opcua_bench::{NAMESPACE, NAMESPACE_URI, Plant, UNIT, UNIT_ID, argument, change, number, plant};

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let (plant, port, rate) = (plant(), number("port", 4840.0) as u16, number("rate", 20_000.0) as usize);
    let pki = PathBuf::from(argument("pki").context("--pki DIR")?);
    let anonymous = &[ANONYMOUS_USER_TOKEN_ID] as &[&str];
    let secured = MessageSecurityMode::SignAndEncrypt;
    let mut builder = ServerBuilder::new()
        .application_name("bench")
        .application_uri("urn:bench:server")
        .product_uri("urn:bench")
        .host("127.0.0.1")
        .port(port)
        .discovery_urls(vec![format!("opc.tcp://127.0.0.1:{port}/")])
        .pki_dir(pki.join("async-opcua"))
        .certificate_path(pki.join("server.der").canonicalize()?)
        .private_key_path(pki.join("server.pem").canonicalize()?)
        .trust_client_certs(true)
        .add_endpoint("none", ("/", SecurityPolicy::None, MessageSecurityMode::None, anonymous))
        .add_endpoint("secured", ("/", SecurityPolicy::Basic256Sha256, secured, anonymous))
        .with_node_manager(simple_node_manager(
            opcua::server::diagnostics::NamespaceMetadata {
                namespace_uri: NAMESPACE_URI.to_owned(),
                ..Default::default()
            },
            "plant",
        ));
    // its defaults are too small for what is asked here
    let limits = builder.limits_mut();
    limits.max_array_length = 200_000;
    limits.max_message_size = 64 << 20;
    limits.max_chunk_count = 2000;
    limits.max_sessions = 100;
    limits.subscriptions.max_subscriptions_per_session = 100;
    limits.subscriptions.max_monitored_items_per_sub = 0;
    limits.subscriptions.max_notifications_per_publish = 5000;
    limits.subscriptions.max_queued_notifications = 100;
    limits.subscriptions.min_sampling_interval_ms = 5.0;
    limits.subscriptions.min_publishing_interval_ms = 5.0;
    limits.operational.max_monitored_items_per_call = 10_000;
    // it publishes on this tick only: for the shortest publishing interval it has to be shorter
    let builder = builder.subscription_poll_interval_ms(number("poll-ms", 50.0) as u64);
    let (server, handle) = builder.build().map_err(|error| anyhow!("{error}"))?;
    anyhow::ensure!(handle.get_namespace_index(NAMESPACE_URI) == Some(NAMESPACE), "another namespace");
    let nodes: Arc<SimpleNodeManager> = handle.node_managers().get_of_type().context("no node manager")?;
    let ids = populate(plant, &mut nodes.address_space().write());
    let subscriptions = handle.subscriptions().clone();
    std::thread::Builder::new().name("change".into()).spawn(move || {
        change(plant, rate, |values, now| {
            let time = DateTime::from(116_444_736_000_000_000 + (now / 100) as i64);
            let values = values.iter().map(|(index, value)| {
                let value = DataValue {
                    value: Some(Variant::Double(*value)),
                    status: Some(StatusCode::Good),
                    source_timestamp: Some(time),
                    server_timestamp: Some(time),
                    ..DataValue::null()
                };
                (&ids[*index], None, value)
            });
            nodes.set_values(&subscriptions, values).expect("a value of a node that is there");
        });
    })?;
    server.run().await.map_err(|error| anyhow!("{error}"))
}

/// A folder for each bus, an AnalogUnitType with EURange and EngineeringUnits for each signal.
fn populate(plant: Plant, space: &mut AddressSpace) -> Vec<NodeId> {
    let id = |text: String| NodeId::new(NAMESPACE, text);
    let mut folders = Vec::new();
    let mut ids = Vec::with_capacity(plant.signals);
    for index in 0..plant.signals {
        let name = plant.name(index);
        let folder = id(name.bus.to_string());
        if !folders.contains(&name.bus) {
            folders.push(name.bus);
            ObjectBuilder::new(&folder, name.bus.to_string(), name.bus.to_string())
                .organized_by(ObjectId::ObjectsFolder)
                .has_type_definition(ObjectTypeId::FolderType)
                .insert(space);
        }
        let (text, signal) = (name.id(), format!("{}.{}", name.message, name.signal));
        let node = id(text.clone());
        VariableBuilder::new(&node, QualifiedName::new(NAMESPACE, signal.as_str()), signal.as_str())
            .data_type(DataTypeId::Double)
            .value(1.0_f64)
            .has_type_definition(VariableTypeId::AnalogUnitType)
            .component_of(folder)
            .insert(space);
        let (low, high) = plant.range(index);
        let unit = EUInformation {
            namespace_uri: "http://www.opcfoundation.org/UA/units/un/cefact".into(),
            unit_id: UNIT_ID,
            display_name: LocalizedText::new("", UNIT),
            description: LocalizedText::new("", UNIT),
        };
        let properties = [
            ("EURange", DataTypeId::Range, ExtensionObject::from_message(Range { low, high })),
            ("EngineeringUnits", DataTypeId::EUInformation, ExtensionObject::from_message(unit)),
        ];
        for (property, kind, value) in properties {
            VariableBuilder::new(&id(format!("{text}.{property}")), property, property)
                .data_type(kind)
                .value(value)
                .has_type_definition(VariableTypeId::PropertyType)
                .property_of(node.clone())
                .insert(space);
        }
        ids.push(node);
    }
    ids
}
