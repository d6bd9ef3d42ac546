//! The peer on open62541, the C library: every node in its node store, values written from a thread beside its own.

use std::path::PathBuf;

use anyhow::Context;
use opcua_bench::{NAMESPACE, NAMESPACE_URI, Plant, UNIT, UNIT_ID, argument, change, number, plant};
use open62541::ua;
use open62541::{AccessControl, Certificate, DataType, DefaultAccessControl, Node, PrivateKey, Server, ServerBuilder};
use open62541_sys::{UA_EUInformation, UA_Range, UA_ServerConfig};

/// Everyone may do everything, at the shortest intervals: the crate has no other way to set them.
struct Everyone;

// SAFETY: the access control is that of the crate.
unsafe impl AccessControl for Everyone {
    type Sentinel = ();

    unsafe fn apply(self, config: &mut UA_ServerConfig) -> open62541::Result<()> {
        config.publishingIntervalLimits.min = 5.0;
        config.samplingIntervalLimits.min = 0.0;
        config.maxNotificationsPerPublish = 5000;
        // SAFETY: the caller promises what it needs
        unsafe { DefaultAccessControl::new(true, &[]).apply(config) }
    }
}

fn main() -> anyhow::Result<()> {
    let (plant, port, rate) = (plant(), number("port", 4840.0) as u16, number("rate", 20_000.0) as usize);
    let pki = PathBuf::from(argument("pki").context("--pki DIR")?);
    let certificate = Certificate::from_bytes(&std::fs::read(pki.join("server.der"))?);
    let key = PrivateKey::from_bytes(&std::fs::read(pki.join("server.pem"))?);
    let builder = ServerBuilder::default_with_security_policies(port, &certificate, &key)?;
    let (server, runner) =
        builder.server_urls(&[&format!("opc.tcp://127.0.0.1:{port}")]).accept_all().access_control(Everyone)?.build();
    anyhow::ensure!(server.add_namespace(NAMESPACE_URI) == NAMESPACE, "another namespace");
    let ids = populate(plant, &server)?;
    std::thread::Builder::new().name("change".into()).spawn(move || {
        change(plant, rate, |values, now| {
            let time = ua::DateTime::try_from_unix_timestamp_nanos(now.into()).expect("a time of this century");
            for (index, value) in values {
                let value = ua::DataValue::new(ua::Variant::scalar(ua::Double::new(*value)))
                    .with_source_timestamp(&time)
                    .with_status(&ua::StatusCode::GOOD);
                server.write_data_value(&ids[*index], &value).expect("a value of a node that is there");
            }
        });
    })?;
    Ok(runner.run_until_interrupt()?)
}

/// A folder for each bus, an AnalogItemType with EURange and EngineeringUnits for each signal.
fn populate(plant: Plant, server: &Server) -> anyhow::Result<Vec<ua::NodeId>> {
    const OBJECTS: u32 = 85;
    const ORGANIZES: u32 = 35;
    const HAS_COMPONENT: u32 = 47;
    const HAS_PROPERTY: u32 = 46;
    const FOLDER_TYPE: u32 = 61;
    const PROPERTY_TYPE: u32 = 68;
    // its namespace 0 is the reduced one, without AnalogUnitType
    const ANALOG_ITEM_TYPE: u32 = 2368;
    const DOUBLE: u32 = 11;
    const RANGE: u32 = 884;
    const EU_INFORMATION: u32 = 887;
    let standard = ua::NodeId::ns0;
    let id = |text: &str| ua::NodeId::string(NAMESPACE, text);
    let add = |node: Node<ua::VariableAttributes>, text: &str, kind: u32| {
        server.add_node(node.with_requested_new_node_id(id(text)).with_type_definition(standard(kind)))
    };
    let read_only = ua::AccessLevelType::NONE.with_current_read(true);
    let attributes = |name: &str, kind: u32| -> anyhow::Result<ua::VariableAttributes> {
        use open62541::Attributes as _;
        Ok(ua::VariableAttributes::init()
            .with_display_name(&ua::LocalizedText::new("", name)?)
            .with_data_type(&standard(kind))
            .with_value_rank(-1)
            .with_access_level(&read_only))
    };
    let mut folders = Vec::new();
    let mut ids = Vec::with_capacity(plant.signals);
    for index in 0..plant.signals {
        let name = plant.name(index);
        let folder = id(&name.bus.to_string());
        if !folders.contains(&name.bus) {
            folders.push(name.bus);
            let browse_name = ua::QualifiedName::new(NAMESPACE, &name.bus.to_string());
            let node = Node::new(standard(OBJECTS), standard(ORGANIZES), browse_name, ua::ObjectAttributes::init());
            server.add_node(
                node.with_requested_new_node_id(folder.clone()).with_type_definition(standard(FOLDER_TYPE)),
            )?;
        }
        let (text, signal) = (name.id(), format!("{}.{}", name.message, name.signal));
        let browse_name = ua::QualifiedName::new(NAMESPACE, &signal);
        let node = Node::new(folder, standard(HAS_COMPONENT), browse_name, attributes(&signal, DOUBLE)?);
        let node = add(node, &text, ANALOG_ITEM_TYPE)?;
        let (low, high) = plant.range(index);
        // SAFETY: a whole value, which the wrapper owns from here
        let range = unsafe { ua::Range::from_raw(UA_Range { low, high }) };
        let unit = UA_EUInformation {
            namespaceUri: ua::String::new("http://www.opcfoundation.org/UA/units/un/cefact")?.into_raw(),
            unitId: UNIT_ID,
            displayName: ua::LocalizedText::new("", UNIT)?.into_raw(),
            description: ua::LocalizedText::new("", UNIT)?.into_raw(),
        };
        // SAFETY: as above
        let unit = unsafe { ua::EUInformation::from_raw(unit) };
        let properties = [
            ("EURange", RANGE, ua::Variant::scalar(range)),
            ("EngineeringUnits", EU_INFORMATION, ua::Variant::scalar(unit)),
        ];
        for (property, kind, value) in properties {
            let browse_name = ua::QualifiedName::ns0(property);
            // what the type asks for was made with it
            let made = server.browse_simplified_browse_path(&node, std::slice::from_ref(&browse_name));
            let made = made
                .ok()
                .and_then(|targets| targets.as_slice().first().map(|target| target.target_id().node_id().clone()));
            let property = match made {
                Some(made) => made,
                None => {
                    let new = Node::new(node.clone(), standard(HAS_PROPERTY), browse_name, attributes(property, kind)?);
                    add(new, &format!("{text}.{property}"), PROPERTY_TYPE)?
                }
            };
            server.write_value(&property, &value)?;
        }
        server.write_value(&node, &ua::Variant::scalar(ua::Double::new(1.0)))?;
        ids.push(node);
    }
    Ok(ids)
}
