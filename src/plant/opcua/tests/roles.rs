//! What somebody is shown who may see a part of the plant only.

use std::collections::BTreeMap;

use opcua::types::Argument;

use super::*;
use crate::plant::access::role::Config as RoleConfig;
use crate::plant::access::{Role, Roles};
use crate::plant::opcua::limits::Limits;
use crate::plant::opcua::scene::{Scene, Scenes};
use crate::plant::opcua::session::{Proof, User};
use crate::plant::opcua::space::server::{Diagnostics, ServerObject};
use crate::plant::opcua::wire::NodeRef;

/// An Engineer who sees these things, and a scene in which he does.
fn scene(plan: Plan, see: &[&str]) -> (Example, Arc<Scene>, User) {
    let config = RoleConfig { see: Some(see.iter().map(ToString::to_string).collect()), ..RoleConfig::default() };
    let (example, _requests) = Example::with_roles(plan, &BTreeMap::from([(Role::Engineer, config)]));
    let server = ServerObject::new("urn:this:server", Limits::default(), Diagnostics::none());
    let scene = Scenes::new(&example.plant, server, Default::default()).now();
    (example, scene, User::named("erna", Proof::Password, Roles::of(&[Role::Engineer])))
}

fn value(scene: &Scene, id: &str, user: &User) -> Variant {
    let node = scene.find(NodeRef::String(2, id)).unwrap_or_else(|| panic!("{id}"));
    scene.value_for(node, user, clock::monotonic()).unwrap().0.unwrap()
}

#[test]
fn arguments_name_nothing_that_is_hidden() {
    for (see, want, executable) in [
        (&["bus:line"][..], "Enable Setpoint Steps", true),
        (&["line.DriveCommand.*"], "Enable Setpoint Steps", true),
        (&["line.DriveCommand.Setpoint", "line.DriveCommand.Locked"], "Setpoint", false),
        (&["line.DriveCommand.Locked"], "", false),
    ] {
        let (_example, scene, user) = scene(plan(), see);
        let Variant::Array(arguments) = value(&scene, "Canvoy.Methods.line.DriveCommand.Send.InputArguments", &user)
        else {
            panic!("no array")
        };
        let names = arguments.values.into_iter().map(|argument| {
            let Variant::ExtensionObject(argument) = argument else { panic!("{argument:?}") };
            argument.into_inner_as::<Argument>().unwrap().name.to_string()
        });
        assert_eq!(names.collect::<Vec<_>>().join(" "), want, "{see:?}");
        let method = scene.find(NodeRef::String(2, "Canvoy.Methods.line.DriveCommand.Send")).unwrap();
        let may = scene.space.attribute(method, AttributeId::UserExecutable, &user);
        assert_eq!(may, Ok(Variant::Boolean(executable)), "{see:?}");
    }
}

#[test]
fn a_type_is_there_for_who_sees_one_of_its_devices() {
    const PUMP: &str = "VERSION \"\"\nBU_: PLC PUMP\nBO_ 256 Status: 8 PUMP\n SG_ Speed : 0|16@1+ (0.5,0) [0|3000] \"rpm\" PLC\n \
                        SG_ Heat : 16|8@1+ (1,0) [0|0] \"\" PLC\nBO_ 257 Fault: 8 PUMP\n SG_ Code : 0|8@1+ (1,0) [0|0] \"\" PLC\n";
    const SETTINGS: &str = "[bus.hall]\ninterface = \"can0\"\nnode = \"PLC\"\n[bus.hall.device.pump]\ndbc = [\"pump.dbc\"]\n\
                            instances = [{ name = \"a\", id_offset = 16 }, { name = \"b\", id_offset = 32 }, { name = \"c\", id_offset = 48 }]\n";
    for (see, want) in [
        (&["bus:hall"][..], "type Status Status.Speed Status.Heat Fault Fault.Code"),
        (&["hall.c_Status.*"], "type Status Status.Speed Status.Heat"),
        (&["hall.b_Status.Heat"], "type Status Status.Heat"),
        (&["hall.b_Status.Heat", "hall.c_Fault.*"], "type Status Status.Heat Fault Fault.Code"),
        (&["hall.a_Status.Speed"], "type Status Status.Speed"),
        (&[], ""),
    ] {
        let sources = Sources::embedded("plant.toml", SETTINGS, &[("pump.dbc", PUMP.as_bytes())]);
        let plan = config::load(&sources, LoadOptions::default()).map_err(|mistakes| format!("{mistakes:?}")).unwrap();
        let (_example, scene, user) = scene(plan.plan, see);
        let shown =
            ["", ".Status", ".Status.Speed", ".Status.Heat", ".Fault", ".Fault.Code"].into_iter().filter(|name| {
                let id = format!("Canvoy.Types.hall.pump{name}");
                assert!(scene.find(NodeRef::String(2, &id)).is_some(), "{id}");
                scene.seen(NodeRef::String(2, &id), &user).is_some()
            });
        let shown: Vec<&str> = shown.map(|name| if name.is_empty() { "type" } else { &name[1..] }).collect();
        assert_eq!(shown.join(" "), want, "{see:?}");
        // whatever is there has its type
        for device in ["a", "b", "c"] {
            let Some(node) = scene.seen(NodeRef::String(2, &format!("Canvoy.Devices.hall.{device}")), &user) else {
                continue;
            };
            let typed = scene.references_seen(node, &user).into_iter().any(|one| one.forward && one.kind == 40);
            assert!(typed, "{device}: {see:?}");
        }
    }
}

#[test]
fn an_area_is_there_for_who_sees_a_signal_in_it() {
    const AREAS: &str = "tag,area\nOven.Temp,Vault\nDriveCommand,Hall\nDriveCommand.Steps,Vault\n";
    const SETTINGS: &str =
        "[bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\noverlay = [\"names.csv\"]\n";
    for (see, want) in [
        (&["bus:line"][..], "Vault Vault.line.Oven Vault.line.DriveCommand Hall Hall.line.DriveCommand"),
        (&["line.DriveCommand.Setpoint"], "Hall Hall.line.DriveCommand"),
        (&["line.DriveCommand.Steps"], "Vault Vault.line.DriveCommand"),
        (&["area:Vault"], "Vault Vault.line.Oven Vault.line.DriveCommand"),
        (&["line.Wide.*"], ""),
    ] {
        let mut sources = Sources::embedded("plant.toml", SETTINGS, &[("plant.dbc", DBC.as_bytes())]);
        sources.overlay.push(config::SourceFile { name: "names.csv".into(), bytes: AREAS.into() });
        let plan = config::load(&sources, LoadOptions::default()).map_err(|mistakes| format!("{mistakes:?}")).unwrap();
        let (_example, scene, user) = scene(plan.plan, see);
        let all = ["Vault", "Vault.line.Oven", "Vault.line.DriveCommand", "Hall", "Hall.line.DriveCommand"];
        let shown = all.into_iter().filter(|name| {
            let id = format!("Canvoy.Areas.{name}");
            assert!(scene.find(NodeRef::String(2, &id)).is_some(), "{id}");
            scene.seen(NodeRef::String(2, &id), &user).is_some()
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), want, "{see:?}");
    }
}

#[test]
fn what_is_counted_is_seen() {
    for (see, forces, names) in [
        (&["bus:line"][..], 2, 2),
        (&["line.Oven.Temp"], 1, 1),
        (&["line.DriveCommand.*"], 1, 1),
        (&["line.Wide.*"], 0, 0),
    ] {
        let (mut example, scene, user) = scene(plan(), see);
        for (slot, name) in ["Oven.Temp", "DriveCommand.Steps"].into_iter().enumerate() {
            let tag = tag(&scene.view.plan, name);
            example.writer.set_force(slot, tag, u64::MAX, 7);
        }
        example.writer.set(Word::Forces, 2);
        assert_eq!(value(&scene, "Canvoy.Machine.Forces", &user), Variant::UInt32(forces), "{see:?}");
        assert_eq!(value(&scene, "Canvoy.Controller.Forces", &user), Variant::UInt32(forces), "{see:?}");
        let Variant::Array(list) = value(&scene, "Canvoy.Controller.ForcedSignals", &user) else { panic!("no list") };
        assert_eq!(list.values.len(), names, "{see:?}");
    }
}

#[test]
fn what_local_refuses_is_not_executable() {
    let (mut example, scene, user) = scene(plan(), &["bus:line"]);
    for (method, in_local) in [
        ("Machine.Arm", false),
        ("Machine.Disarm", true),
        ("Machine.Fallback", true),
        ("Machine.ReleaseAll", true),
        ("Machine.ResetFallback", false),
        ("Machine.SetLocal", true),
        ("line.DriveCommand.Send", false),
        ("line.DriveCommand.Fallback", true),
        ("line.DriveCommand.ResetFallback", false),
    ] {
        let node = scene.find(NodeRef::String(2, &format!("Canvoy.Methods.{method}"))).unwrap();
        for (remote, want) in [(0, in_local), (1, true)] {
            example.writer.set(Word::Remote, remote);
            for attribute in [AttributeId::Executable, AttributeId::UserExecutable] {
                assert_eq!(scene.described(node, attribute, &user), Ok(Variant::Boolean(want)), "{method} {remote}");
            }
        }
    }
}

const LEASE: &str = "[bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\ntransmit = \"all\"\n\
                     writable = \"all\"\nmessage.DriveCommand.lease_ms = 400\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_by_who_may_still_write() {
    let rights_of = |write: Option<&str>| {
        let write = write.map(|write| vec![write.to_owned()]);
        let users = vec!["anna".to_owned()];
        BTreeMap::from([(Role::Engineer, RoleConfig { users, write, ..RoleConfig::default() })])
    };
    let (example, mut requests) = Example::with_roles(configured(LEASE, DBC), &rights_of(None));
    let server = Running::start("renewal", example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    client.login(Some(("anna", "secret"))).await.unwrap();
    let renewals = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let controller = tokio::spawn({
        let renewals = renewals.clone();
        async move {
            while let Some(request) = requests.recv().await {
                let renews = matches!(request.action, Action::Renew(_));
                renewals.fetch_add(renews.into(), std::sync::atomic::Ordering::Relaxed);
                request.answer.send(Ok(())).unwrap();
            }
        }
    });
    let sender = example.plant.view().requests.clone();
    // what the role may write: one signal is enough
    for (number, write, want) in
        [(1, None, true), (2, Some("line.DriveCommand.Enable"), true), (3, Some("machine"), false)]
    {
        if number > 1 {
            let plan = configured(LEASE, DBC);
            let rights = Arc::new(access::Rights::new(&rights_of(write), &plan));
            let (plan, layout) = (Arc::new(plan), Layout::of(&configured(LEASE, DBC)));
            let memory = Arc::new(Memory::heap(layout.words()));
            let mut writer = Writer::new(memory.clone(), layout, 7);
            writer.set(Word::Heartbeat, u64::MAX);
            let reader = Reader::open(memory, layout, 7).unwrap();
            example.plant.connect(View::new(plan, reader, &generation(number), sender.clone()).with_rights(rights));
            let hash = Some(Variant::from(generation(number).hash));
            while read(&mut client, id("Canvoy.Machine.ConfigurationHash"), AttributeId::Value).await.value != hash {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            let written = write_one(&mut client, "line.DriveCommand.Setpoint", Variant::Double(1.0)).await;
            assert_eq!(written, StatusCode::Good);
        }
        renewals.store(0, std::sync::atomic::Ordering::Relaxed);
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(120)).await;
            read(&mut client, id("line.DriveCommand.Setpoint"), AttributeId::Value).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(renewals.load(std::sync::atomic::Ordering::Relaxed) > 0, want, "{write:?}");
    }
    controller.abort();
    server.end().await;
}

async fn write_one(client: &mut Client, node: &str, value: Variant) -> StatusCode {
    write(client, &[(node, value)]).await.remove(0)
}
