//! Items over a store that is filled by hand: what is seen of it, and when.

use tokio::sync::mpsc;

use opcua::types::{MonitoringMode, StatusCode, Variant};

use super::*;
use crate::can::{Frame, FrameId};
use crate::command::{Generation, Place, VERSION};
use crate::config;
use crate::plant::access::{Role, Roles};
use crate::plant::opcua::limits::Limits;
use crate::plant::opcua::scene::Scenes;
use crate::plant::opcua::session::Proof;
use crate::plant::opcua::space::Space;
use crate::plant::opcua::space::server::{Diagnostics, ServerObject};
use crate::plant::opcua::space::version::Part;
use crate::plant::opcua::subscription::Settings;
use crate::plant::opcua::subscription::item::Queue;
use crate::plant::opcua::subscription::tests::wanted;
use crate::plant::opcua::tests::{DBC, plan};
use crate::plant::{Plant, View};
use crate::quality::{Cause, Causes};
use crate::store::layout::{BusState, Word};
use crate::store::{Layout, Memory, Reader, Writer};

const MS: u64 = 1_000_000;
/// CLOCK_REALTIME when a test begins: times of 1970 count as unknown.
const START: u64 = 1_790_000_000_000_000_000;

struct Bench {
    writer: Writer,
    scene: Arc<Scene>,
    all: Subscriptions,
    frames: frames::Frames,
    record: usize,
    id: FrameId,
}

/// The scene of a plan, and the writer of its store.
fn store(plan: Arc<crate::plan::Plan>) -> (Arc<Scene>, Writer) {
    let layout = Layout::of(&plan);
    let memory = Arc::new(Memory::heap(layout.words()));
    let mut writer = Writer::new(memory.clone(), layout, 7);
    writer.set_bus_state(0, BusState::Active, 1);
    writer.set(Word::Heartbeat, u64::MAX);
    let generation =
        Generation { version: VERSION, number: 1, pid: 1, hash: String::new(), since: 1, door: Place::Plant };
    let reader = Reader::open(memory, layout, 7).unwrap();
    let plant = Plant::new(View::new(plan, reader, &generation, mpsc::channel(1).0));
    let object = ServerObject::new("urn:test", Limits::default(), Diagnostics::none());
    (Scenes::new(&plant, object, Default::default()).now(), writer)
}

impl Bench {
    fn new() -> Bench {
        let plan = Arc::new(plan());
        let oven = plan.messages.iter().find(|message| message.message.name == "Oven").unwrap();
        let (record, id) = (oven.record(0, 0), oven.message.id);
        let (scene, writer) = store(plan.clone());
        let all = Subscriptions::new(Limits::default(), scene.clone());
        Bench { writer, scene, all, frames: frames::Frames::default(), record, id }
    }

    fn item(&mut self, interval: f64, queue: u32) -> Key {
        self.item_of("line.Oven.Temp", interval, queue)
    }

    fn item_of(&mut self, name: &str, interval: f64, queue: u32) -> Key {
        let user = Arc::new(User::anybody("anna"));
        let settings = Settings::revised(1000.0, 100, 10, 0, 0);
        let id = self.all.create(1, &user, "", settings, true, 0).unwrap();
        let wanted = wanted(&self.all, name, MonitoringMode::Reporting, (interval, queue), 7).unwrap();
        let made = self.all.add(1, id, wanted, 0).unwrap();
        (id, made.id)
    }

    /// A frame as the controller takes it.
    fn frame(&mut self, raw: u16, time: u64) {
        let mut payload = [0; 8];
        payload[..2].copy_from_slice(&raw.to_le_bytes());
        self.writer.received(self.record, self.id.bits(), time, 1, &payload);
        self.writer.publish(0, &Frame::classic(self.id, &payload).unwrap(), time, false);
    }

    fn look(&mut self, ms: u64) {
        let scene = self.scene.clone();
        let others = look(&mut self.all, &scene, &mut self.frames, ms * MS);
        read(&others, &scene).into_iter().for_each(|(key, seen)| self.all.offer(key, seen));
    }

    /// Another plan is in force.
    fn reload(&mut self, scene: Arc<Scene>, ms: u64) {
        self.scene = scene;
        let found = again::found(&self.all.scene(), &self.scene, self.all.targets());
        self.all.find_again(&self.scene, found, ms * MS);
        self.frames.forget();
    }

    /// What waits: status or value, `!` for overflow, and source time.
    fn taken(&mut self, key: Key) -> Vec<String> {
        let (_, item) = self.all.item_mut(key).unwrap();
        let Queue::Values(values) = &mut item.queue else { panic!() };
        let shown = values.drain(..).map(|seen| {
            let Seen { value, status, source_time, .. } = seen;
            let lost = if status.bits() & 0xFFFF == 0x480 { "!" } else { "" };
            let plain = StatusCode::from(status.bits() & 0xFFFF_0000);
            let Some(Variant::Double(value)) = value else { return format!("{plain}{lost}@{source_time}") };
            let quality = if plain.is_good() { String::new() } else { format!("{plain} ") };
            format!("{quality}{value}{lost}@{source_time}")
        });
        shown.collect()
    }
}

#[test]
fn quality_alone_is_told_and_nothing_twice() {
    let mut bench = Bench::new();
    // nanoseconds that DateTime has not
    bench.frame(1000, 1_790_000_000_000_000_123);
    let keys = [bench.item(10.0, 10), bench.item(0.0, 10)];
    for key in keys {
        assert_eq!(bench.taken(key), ["60@1790000000000000123"]);
    }
    bench.look(10);
    bench.look(20);
    bench.writer.set_causes(bench.record, Causes::of(Cause::Late));
    bench.look(30);
    bench.look(40);
    bench.frame(1000, 1_790_000_000_000_000_456);
    bench.look(50);
    bench.look(60);
    let late = "UncertainNoCommunicationLastUsableValue 60@1790000000000000123";
    for key in keys {
        assert_eq!(bench.taken(key), [late, "60@1790000000000000456"]);
    }
    // the controller has gone
    bench.writer.set(Word::Heartbeat, 0);
    bench.look(10_000);
    for key in keys {
        let told = bench.taken(key);
        assert!(told.len() == 1 && told[0].starts_with("Bad"), "{told:?}");
    }
}

#[test]
fn every_frame_or_the_last_of_each_look() {
    let mut bench = Bench::new();
    let (every, sampled) = (bench.item(0.0, 1000), bench.item(10.0, 1000));
    bench.look(11);
    bench.taken(every);
    bench.taken(sampled);
    let (mut all, mut some) = (Vec::new(), Vec::new());
    for ms in 12..=111u64 {
        let raw = 900 + ms as u16;
        bench.frame(raw, START + ms * MS + 17);
        bench.look(ms);
        all.push(START + ms * MS + 17);
        if ms % 10 == 0 {
            some.push(START + ms * MS + 17);
        }
    }
    bench.look(121);
    some.push(START + 111 * MS + 17);
    let stamps = |told: Vec<String>| -> Vec<u64> {
        told.iter().map(|text| text.split('@').nth(1).unwrap().parse().unwrap()).collect()
    };
    assert_eq!(stamps(bench.taken(every)), all);
    assert_eq!(stamps(bench.taken(sampled)), some);
}

#[test]
fn frames_that_were_not_seen_are_told_of() {
    let mut bench = Bench::new();
    let every = bench.item(0.0, 100_000);
    bench.look(1);
    bench.frame(1000, START + 5);
    bench.look(10);
    bench.taken(every);
    for number in 0..40_000u64 {
        bench.frame(1000 + (number % 2) as u16, START + 1000 + number);
    }
    (1..10).for_each(|at| bench.look(10 + at * 10));
    let told = bench.taken(every);
    assert!(told[0].contains('!'), "{}", told[0]);
    assert!(told[1..].iter().all(|text| !text.contains('!')), "once");
    assert!(told.last().unwrap().ends_with("0000040999"), "{:?}", told.last());
    // nobody looks for a while: what passes meanwhile is nothing that was lost
    let (subscription, item) = every;
    bench.all.drop_item(1, subscription, item);
    bench.look(200);
    for number in 0..40_000u64 {
        bench.frame(1000, START + 50_000 + number);
    }
    let every = bench.item(0.0, 10);
    bench.look(210);
    bench.frame(1001, START + 100_000);
    bench.look(220);
    assert!(bench.taken(every).iter().all(|text| !text.contains('!')));
}

#[test]
fn what_is_no_signal_has_a_value_too() {
    let mut bench = Bench::new();
    for name in ["line.Oven.Temp.EngineeringUnits", "line.Oven.Temp.EURange", "Canvoy.Machine.Armed"] {
        let (subscription, id) = bench.item_of(name, 100.0, 10);
        bench.look(1000);
        let (_, item) = bench.all.item_mut((subscription, id)).unwrap();
        let Queue::Values(values) = &item.queue else { panic!() };
        assert_eq!(values.len(), 1, "{name}: once");
        assert!(values[0].value.is_some() && values[0].status.is_good(), "{name}: {values:?}");
    }
}

#[test]
fn a_node_goes_with_a_plan_and_comes_again() {
    let without = "VERSION \"\"\nBU_: ME OVEN\nBO_ 99 Other: 8 OVEN\n SG_ X : 0|8@1+ (1,0) [0|0] \"\" ME\n";
    let toml = "[bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\n";
    let sources = crate::config::Sources::embedded("plant.toml", toml, &[("plant.dbc", without.as_bytes())]);
    let without = crate::config::load(&sources, crate::config::LoadOptions::default()).unwrap().plan;
    let mut bench = Bench::new();
    bench.frame(1000, START);
    let first = bench.scene.clone();
    let keys = [bench.item(10.0, 10), bench.item(0.0, 10)];
    bench.look(10);
    keys.into_iter().for_each(|key| drop(bench.taken(key)));
    let (other, _) = store(Arc::new(without));
    let other = Arc::new(Scene {
        number: 2,
        view: other.view.clone(),
        space: other.space.clone(),
        server: first.server.clone(),
        alarms: first.alarms.clone(),
    });
    bench.reload(other, 20);
    bench.look(20);
    for key in keys {
        assert_eq!(bench.taken(key), ["BadNodeIdUnknown@0"]);
    }
    let again = Scene {
        number: 3,
        view: first.view.clone(),
        space: first.space.clone(),
        server: first.server.clone(),
        alarms: first.alarms.clone(),
    };
    bench.reload(Arc::new(again), 2000);
    bench.look(2000);
    for key in keys {
        assert_eq!(bench.taken(key), [format!("60@{START}")]);
    }
    // as often as before
    for (ms, raw) in [(2010, [1001, 1002]), (2020, [1003, 1004])] {
        raw.into_iter().for_each(|raw| bench.frame(raw, START + u64::from(raw)));
        bench.look(ms);
    }
    assert_eq!(keys.map(|key| bench.taken(key).len()), [2, 4]);
}

#[test]
fn a_node_version_is_made_once_for_all_who_see_the_same() {
    let toml = "[bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\n\
                [role.Operator]\nusers = [\"bob\"]\nsee = [\"line.Oven\"]\n";
    let sources = config::Sources::embedded("plant.toml", toml, &[("plant.dbc", DBC.as_bytes())]);
    let loaded = config::load(&sources, config::LoadOptions::default()).unwrap();
    let (scene, _writer) = store(Arc::new(loaded.plan));
    let space = Space::new(scene.view.plan.clone(), scene.space.standard.clone(), Default::default());
    let scene = Scene {
        number: 2,
        view: scene.view.clone(),
        space: Arc::new(space.with_rights(Arc::new(loaded.rights))),
        server: scene.server.clone(),
        alarms: scene.alarms.clone(),
    };
    let operator = || User::named("bob", Proof::Password, Roles::of(&[Role::Operator]));
    let users = [User::anybody("anna"), operator(), User::anybody("carl"), operator()];
    for part in [Part::Bus(0), Part::Alarms] {
        let others: Vec<Other> = (users.iter().zip(1..))
            .map(|(user, item)| Other {
                key: (1, item),
                target: Ok(Node::Version(part)),
                attribute: AttributeId::Value,
                range: None,
                user: Arc::new(user.clone()),
            })
            .collect();
        let turn = || read(&others, &scene).into_iter().map(|(_, seen)| seen).collect::<Vec<_>>();
        let seen = turn();
        assert!(seen.iter().all(|seen| seen.status.is_good() && seen.value.is_some()), "{part:?}");
        // the source time is when it was made
        for same in [(0, 2), (1, 3)] {
            assert_eq!(seen[same.0].source_time, seen[same.1].source_time, "{part:?} {same:?}");
            assert_eq!(seen[same.0].value, seen[same.1].value, "{part:?} {same:?}");
        }
        assert_ne!(seen[0].value, seen[1].value, "{part:?}");
        // J1939 sources may have come since
        std::thread::sleep(Duration::from_millis(1));
        assert!(turn()[0].source_time > seen[0].source_time, "{part:?}");
    }
}
