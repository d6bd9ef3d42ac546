use opcua::types::AttributeId;

use super::*;
use crate::plant::opcua::identity::{Identity, Nameplate};
use crate::plant::opcua::limits::Limits;
use crate::plant::opcua::scene::{Scene, Scenes};
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::server::{Diagnostics, ServerObject};
use crate::plant::opcua::tests::{self, Example};
use crate::plant::opcua::wire::NodeRef;
use crate::store::clock;

/// Manufacturer 275, serial number 4711, function 130 of industry group 2 and vehicle system 5.
const NAME: u64 = 0xA10A_8200_2260_1267;

/// A pump at address 0x21, and any other source.
fn example() -> Example {
    let plan = tests::configured(
        "[j1939]\nmanufacturers = { 275 = \"Acme\" }\n\
         [bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\n",
        tests::DBC,
    );
    let (mut example, _requests) = Example::with(plan);
    example.frame("EEC1", (0, 33), [0; 8], Causes::NONE, clock::realtime());
    example.frame("EEC1", (1, 34), [0; 8], Causes::NONE, clock::realtime());
    example
}

fn scene(example: &Example, identity: Identity) -> std::sync::Arc<Scene> {
    let server = ServerObject::new("urn:this:server", Limits::default(), Diagnostics::none());
    Scenes::new(&example.plant, server, identity).now()
}

/// Value, status and source time of a property of the source 33.
fn read(scene: &Scene, property: &str) -> (Option<Variant>, u32, u64) {
    let node = scene.find(NodeRef::String(2, &format!("Canvoy.Devices.line.@33.{property}")));
    let node = node.unwrap_or_else(|| panic!("no {property}"));
    let (value, sample) = scene.value_for(node, &User::anybody("anna"), clock::monotonic()).unwrap();
    let status = sample.map_or(0, |sample| mapping::status(sample.causes).bits());
    (value, status, sample.map_or(0, |sample| sample.source_time))
}

#[test]
fn a_name_is_read_as_soon_as_it_is_claimed() {
    let mut example = example();
    let scene = scene(&example, Identity::default());
    let text = |text: &str| Some(Variant::from(text));
    let words = |text: &str| Some(Variant::from(LocalizedText::new("", text)));
    // before: nothing to be believed, and what DI wants where nothing is known
    for field in Plate::ALL.into_iter().filter(|plate| matches!(plate, Plate::J1939(_))) {
        assert_eq!(read(&scene, field.name()), (None, 0x8032_0000, 0), "{field:?}");
    }
    assert_eq!(read(&scene, "Manufacturer"), (words(""), 0, 0));
    assert_eq!(read(&scene, "SerialNumber"), (text(""), 0, 0));
    assert_eq!(read(&scene, "DeviceClass"), (text(""), 0, 0));
    let time = clock::realtime();
    example.claim(33, Some((NAME, time)));
    for (property, want) in [
        ("J1939Name", Variant::UInt64(NAME)),
        ("J1939ArbitraryAddressCapable", Variant::Boolean(true)),
        ("J1939IndustryGroup", Variant::Byte(2)),
        ("J1939VehicleSystemInstance", Variant::Byte(1)),
        ("J1939VehicleSystem", Variant::Byte(5)),
        ("J1939Function", Variant::Byte(130)),
        ("J1939FunctionInstance", Variant::Byte(0)),
        ("J1939EcuInstance", Variant::Byte(0)),
        ("J1939ManufacturerCode", Variant::UInt16(275)),
        ("J1939IdentityNumber", Variant::UInt32(4711)),
        ("J1939Claimed", Variant::from(mapping::source_time(time).unwrap())),
        ("Manufacturer", Variant::from(LocalizedText::new("", "Acme"))),
        ("SerialNumber", Variant::from("4711")),
        ("DeviceClass", Variant::from("J1939 function 130 (industry group 2, vehicle system 5)")),
    ] {
        assert_eq!(read(&scene, property), (Some(want), 0, time), "{property}");
    }
    // what no NAME says stays as it is
    assert_eq!(read(&scene, "Model"), (words(""), 0, 0));
    // another one, of a manufacturer without a name, at a time that nobody knows
    example.claim(33, Some((0x0003_0000_0000_0001, 5)));
    assert_eq!(read(&scene, "Manufacturer"), (words("J1939 manufacturer 0"), 0, 0));
    assert_eq!(read(&scene, "DeviceClass"), (text("J1939 function 0"), 0, 0));
    assert_eq!(read(&scene, "J1939Claimed"), (None, 0x808C_0000, 0));
    example.claim(33, None);
    assert_eq!(read(&scene, "J1939Name"), (None, 0x8032_0000, 0));
    example.claim(33, Some((NAME, time)));
    example.plant.disconnect();
    let gone = self::scene(&example, Identity::default());
    assert_eq!(read(&gone, "SerialNumber"), (text("4711"), 0x808B_0000, time));
}

#[test]
fn what_is_configured_is_told_and_not_what_is_claimed() {
    let mut example = example();
    let plate =
        Nameplate { serial_number: Some("00815".into()), device_class: Some("Pump".into()), ..Default::default() };
    let identity = Identity { device: [("line.@33".to_owned(), plate)].into(), ..Identity::default() };
    let scene = scene(&example, identity);
    example.claim(33, Some((NAME, clock::realtime())));
    assert_eq!(read(&scene, "SerialNumber"), (Some(Variant::from("00815")), 0, 0));
    assert_eq!(read(&scene, "DeviceClass"), (Some(Variant::from("Pump")), 0, 0));
    assert_eq!(read(&scene, "Manufacturer").0, Some(Variant::from(LocalizedText::new("", "Acme"))));
    assert_eq!(read(&scene, "J1939IdentityNumber").0, Some(Variant::UInt32(4711)));
    for (property, live) in
        [("SerialNumber", false), ("Model", false), ("Manufacturer", true), ("J1939Name", true), ("J1939Claimed", true)]
    {
        let node = scene.find(NodeRef::String(2, &format!("Canvoy.Devices.line.@33.{property}"))).unwrap();
        assert_eq!(scene.is_live(node, AttributeId::Value), live, "{property}");
    }
}

/// One of several alike has its address by configuration; a device of a DBC file has none that we know.
#[test]
fn configured_devices_with_an_address_claim_too() {
    let plan = tests::configured(
        "[bus.line]\ninterface = \"can0\"\nnode = \"ME\"\n[bus.line.device.Engine]\ndbc = [\"plant.dbc\"]\n\
         instances = [{ name = \"left\", source_address = 33 }]\n",
        JUST_J1939,
    );
    let (mut example, _requests) = Example::with(plan);
    let scene = scene(&example, Identity::default());
    example.claim(33, Some((NAME, clock::realtime())));
    let find = |name: &str| scene.find(NodeRef::String(2, name));
    let node = find("Canvoy.Devices.line.left.J1939IdentityNumber").unwrap();
    let (value, _) = scene.value_for(node, &User::anybody("anna"), clock::monotonic()).unwrap();
    assert_eq!(value, Some(Variant::UInt32(4711)));
    // a message has this name, which the property leaves to it
    assert!(find("Canvoy.Devices.line.left.J1939Name").is_none());
}

const JUST_J1939: &str = r#"VERSION ""
BU_: ME ECU
BO_ 2364539904 EEC1: 8 ECU
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" ME
BO_ 2566843646 J1939Name: 8 ECU
 SG_ Word : 0|8@1+ (1,0) [0|0] "" ME
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"#;
