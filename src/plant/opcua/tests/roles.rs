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
