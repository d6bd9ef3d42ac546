//! The queue to the real-time thread, with nobody who reads the answers: how much of it the plant may fill.

use super::*;
use crate::command::socket::Peer;
use crate::command::{Origin, Value, Write};
use crate::config::{self, LoadOptions, Sources};

const DBC: &str = "VERSION \"\"\nBU_: ME\nBO_ 1 Command: 8 ME\n SG_ X : 0|8@1+ (1,0) [0|9] \"\" ME\n";
const TOML: &str = "[bus.line]\nvirtual = true\ndbc = [\"a.dbc\"]\nnode = \"ME\"\ntransmit = \"all\"\nwritable = \"all\"\n\
                    message.Command.cycle_ms = 10\n";

#[test]
fn the_plant_leaves_room_for_people_at_the_machine() {
    let folder = std::env::temp_dir().join(format!("canvoy-share-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let sources = Sources::embedded("plant.toml", TOML, &[("a.dbc", DBC.as_bytes())]);
    let loaded = config::load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let options = Options {
        plan: Arc::new(loaded.plan),
        bundle: b"a bundle".to_vec(),
        simulator: None,
        socket: folder.join("command"),
        group: None,
        plant_socket: folder.join("plant"),
        plant_group: None,
        link: "/nowhere".into(),
        load: None,
        state: None,
    };
    let mut controller = Controller::open(options, Notifier::default()).unwrap();
    let mut ask = |place: Place, protocol: &str| {
        let origin = Origin { protocol: protocol.into(), ..Origin::default() };
        let action = Action::Set(vec![Write { tag: 0, value: Value::Engineering(1.0) }]);
        let command = Ok(Command { id: 1, generation: 1, origin, action });
        controller.take(Request { client: 7, peer: Peer { pid: 1, uid: 1, gid: 1 }, place, command });
        // the real-time thread takes orders out; what it has answered still counts until it is read
        std::thread::sleep(Duration::from_millis(1));
        controller.pending.len()
    };
    for _ in 0..2 * rt::ORDERS {
        ask(Place::Plant, "opcua");
    }
    assert_eq!(ask(Place::Plant, "opcua"), OF_PLANT);
    assert_eq!(ask(Place::Machine, Origin::TERMINAL), OF_PLANT + 1);
    for _ in 0..rt::ORDERS {
        ask(Place::Machine, Origin::TERMINAL);
    }
    assert_eq!(ask(Place::Machine, Origin::TERMINAL), rt::ORDERS);
    drop(controller);
    std::fs::remove_dir_all(&folder).unwrap();
}
