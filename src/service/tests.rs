//! A controller in a few lines, for both who connect to one: the plant process and a person's commands.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::client::{Client, Rested};
use super::plant::{Loaded, follow, plan_of};
use crate::command::socket::{Connection, Listener};
use crate::command::{Action, Command, Generation, MAX_DATAGRAM, Origin, Place, Refusal, Reply, VERSION, Value};
use crate::config::{self, LoadOptions, Sources};
use crate::plan::Plan;
use crate::plant::link::{self, Handover};
use crate::plant::opcua::space;
use crate::plant::{Plant, View};
use crate::store::layout::Word;
use crate::store::memory::sealed;
use crate::store::{Layout, Memory, Writer, clock};

/// Frames that every controller has published before its first.
pub const PUBLISHED: u64 = 1000;

/// A configuration of these buses; each has a message `Status` with a signal `Level`.
pub fn toml(buses: &[&str]) -> String {
    let bus = |name: &&str| {
        format!("[bus.{name}]\ninterface = \"can-{name}\"\ndbc = [\"a.dbc\"]\nnode = \"ME\"\nforcible = \"all\"\n")
    };
    buses.iter().map(bus).collect()
}

/// What a controller hands over: the bundle, its plan, and a store with the writer to it.
fn generation(number: u64, toml: &str, published: u64) -> (Generation, Vec<u8>, Plan, Writer, std::os::fd::OwnedFd) {
    let dbc = "VERSION \"\"\nBU_: ME ECU\nBO_ 256 Status: 8 ECU\n SG_ Level : 0|16@1+ (1,0) [0|0] \"\" ME\n";
    let sources = Sources::embedded("plant.toml", toml, &[("a.dbc", dbc.as_bytes())]);
    let plan = match config::load(&sources, LoadOptions::default()) {
        Ok(loaded) => loaded.plan,
        Err(mistakes) => panic!("{mistakes:?}"),
    };
    let layout = Layout::of(&plan);
    let (memory, store) = Memory::shared(c"store", layout.words()).unwrap();
    let mut writer = Writer::new(Arc::new(memory), layout, plan.hash_word());
    writer.set(Word::Heartbeat, u64::MAX);
    writer.set(Word::Published, published);
    let hash = plan.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let generation =
        Generation { version: VERSION, number, pid: 1, hash, since: number * 1_000_000_000, door: Place::Machine };
    (generation, sources.to_bundle(LoadOptions::default()), plan, writer, store)
}

/// The controller's end of one connection.
pub struct Fake {
    pub socket: PathBuf,
    /// Whose door it says it is.
    pub door: Place,
    listener: Listener,
    connection: Option<Connection>,
    number: u64,
}

impl Fake {
    pub fn new(name: &str) -> Fake {
        let socket = std::env::temp_dir().join(format!("canvoy-fake-{name}-{}", std::process::id()));
        let listener = Listener::bind(&socket, 0o600).unwrap();
        Fake { socket, door: Place::Machine, listener, connection: None, number: 0 }
    }

    /// The next generation, for who is connected or connects now.
    pub fn hand_over(&mut self, toml: &str, published: u64) -> (Plan, Writer) {
        self.hand_over_filled(toml, published, |_| ())
    }

    /// The same, with something in the store already.
    pub fn hand_over_filled(&mut self, toml: &str, published: u64, fill: impl FnOnce(&mut Writer)) -> (Plan, Writer) {
        self.number += 1;
        let (mut generation, bundle, plan, mut writer, store) = generation(self.number, toml, published);
        generation.door = self.door;
        fill(&mut writer);
        let start = Instant::now();
        while self.connection.is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "nobody connects");
            self.connection = self.listener.accept().unwrap();
        }
        let bundle = sealed(c"bundle", &bundle).unwrap();
        let text = serde_json::to_vec(&generation).unwrap();
        self.connection.as_ref().unwrap().send(&text, &[bundle.as_fd(), store.as_fd()]).unwrap();
        (plan, writer)
    }

    /// Waits for a command, and answers it as one of the generation in force or not.
    pub fn answer(&self) -> Command {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let start = Instant::now();
        let length = loop {
            match self.connection.as_ref().unwrap().receive(&mut buffer, &mut Vec::new()) {
                Ok(length) => break length,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "no command: {error}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let command: Command = serde_json::from_slice(&buffer[..length]).unwrap();
        let refusal = (command.generation != self.number).then_some(Refusal::Reloaded);
        let reply = serde_json::to_vec(&Reply { id: command.id, refusal }).unwrap();
        self.connection.as_ref().unwrap().send(&reply, &[]).unwrap();
        command
    }
}

/// `Status.Level` of a bus.
fn level(plan: &Plan, bus: &str) -> Action {
    let tag = (0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == format!("{bus}.Status.Level")).unwrap();
    Action::Force { tag, value: Value::Engineering(1.0), seconds: 5.0 }
}

#[test]
fn a_command_is_made_anew_with_the_plan_in_force() {
    let mut fake = Fake::new("command");
    let socket = fake.socket.clone();
    let person = std::thread::spawn(move || {
        let mut client = Client::open(Some(socket)).unwrap();
        let answer = client.command_by(|plan| Ok(level(plan, "line"))).unwrap();
        assert_eq!((answer, client.generation.number), (Ok(()), 2));
        assert_eq!(client.rest(Duration::ZERO), Rested::Quiet);
    });
    fake.hand_over(&toml(&["line"]), 0);
    // the next is in force before the command comes, and is handed over after its refusal
    fake.number = 2;
    let first = fake.answer();
    fake.number = 1;
    let (plan, _writer) = fake.hand_over(&toml(&["cell", "line"]), 0);
    let second = fake.answer();
    person.join().unwrap();
    assert_eq!((first.generation, second.generation), (1, 2));
    assert_eq!(second.action, level(&plan, "line"), "the index of the new plan");
    assert_ne!(first.action, second.action, "which is another");
}

/// Until the plant shows this many buses, or the other way round: that it does not within two seconds.
async fn shows(plant: &Plant, buses: usize) -> bool {
    for _ in 0..400 {
        if plant.view().plan.buses.len() == buses {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plant_process_lives_on_unless_its_own_settings_change() {
    let mut fake = Fake::new("plant");
    fake.door = Place::Plant;
    let socket = fake.socket.clone();
    let path = socket.clone();
    let connected = tokio::spawn(async move { link::connect(&path, Place::Plant).await.unwrap() });
    let (_, first) = tokio::task::block_in_place(|| fake.hand_over(&toml(&["line"]), 0));
    let (link, handover) = connected.await.unwrap();
    let Loaded { plan, settings, rights: _, reader, generation } = plan_of(handover).unwrap();
    let (sender, requests) = mpsc::channel(4);
    let plant = Arc::new(Plant::new(View::new(Arc::new(plan), reader, &generation, sender)));
    let following = tokio::spawn({
        let (plant, socket) = (plant.clone(), socket.clone());
        async move { follow(link, requests, &plant, &socket, &settings).await }
    });
    let old = plant.view();

    let (plan, second) = fake.hand_over(&toml(&["cell", "line"]), 0);
    assert!(shows(&plant, 2).await, "the new configuration is shown");
    assert_eq!(plant.view().since, 2_000_000_000);
    assert!(plant.view().alive(clock::monotonic()));
    // what was found before the reload is refused, what is found now is done
    let action = level(&old.plan, "line");
    let command = tokio::spawn(async move { old.command(Origin::default(), action).await });
    tokio::task::block_in_place(|| fake.answer());
    assert_eq!(command.await.unwrap(), Err(Refusal::Reloaded.into()));

    // the same plan again, as when a controller is told to reload what has not changed: nothing is built anew
    let before = plant.view();
    let (_, third) = fake.hand_over(&toml(&["cell", "line"]), 0);
    for _ in 0..400 {
        if plant.view().generation == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(plant.view().generation == 3 && Arc::ptr_eq(&before.plan, &plant.view().plan));

    // two at once: the last counts
    let (_, fourth) = fake.hand_over(&toml(&["line"]), 0);
    let (_, fifth) = fake.hand_over(&toml(&["a", "b", "c"]), 0);
    assert!(shows(&plant, 3).await);

    // a controller that goes takes the way for commands with it: they never reach the next one
    let gone = plant.view();
    let stale = level(&plan, "line");
    fake.connection = None;
    fake.number = 0;
    let (_, sixth) = tokio::task::block_in_place(|| fake.hand_over(&toml(&["line"]), 0));
    assert!(shows(&plant, 1).await);
    assert!(gone.requests.is_closed());
    assert!(gone.command(Origin::default(), stale).await.is_err());
    assert!(!following.is_finished());

    let (_, seventh) = fake.hand_over(&(toml(&["line"]) + "[http]\nlisten = \"127.0.0.1:1\"\n"), 0);
    let ended = tokio::time::timeout(Duration::from_secs(20), following).await.unwrap().unwrap();
    assert!(ended.to_string().contains("[opcua], [http] or [role]"), "{ended}");
    drop((first, second, third, fourth, fifth, sixth, seventh));
}

/// As after an upgrade whose controller was started before its plant side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_can_not_be_spoken_to_any_more_ends_the_plant_process() {
    let mut fake = Fake::new("upgrade");
    fake.door = Place::Plant;
    let socket = fake.socket.clone();
    let path = socket.clone();
    let connected = tokio::spawn(async move { link::connect(&path, Place::Plant).await.unwrap() });
    let (_, first) = tokio::task::block_in_place(|| fake.hand_over(&toml(&["line"]), 0));
    let (link, handover) = connected.await.unwrap();
    let Loaded { plan, settings, reader, generation, .. } = plan_of(handover).unwrap();
    let (sender, requests) = mpsc::channel(4);
    let plant = Arc::new(Plant::new(View::new(Arc::new(plan), reader, &generation, sender)));
    let following = tokio::spawn(async move { follow(link, requests, &plant, &socket, &settings).await });
    fake.connection = None;
    fake.door = Place::Machine;
    let (_, second) = tokio::task::block_in_place(|| fake.hand_over(&toml(&["line"]), 0));
    let ended = tokio::time::timeout(Duration::from_secs(20), following).await.unwrap().unwrap();
    assert!(ended.to_string().contains("starting again"), "{ended}");
    assert_eq!(super::exit::code(&ended), super::exit::AGAIN);
    drop((first, second));
}

/// For the eye: `cargo test --lib service::tests::large -- --nocapture`.
#[test]
fn large_plans_are_understood() {
    const SIGNALS: usize = 10_000;
    let mut dbc = String::from("VERSION \"\"\nBU_: ME ECU\n");
    for message in 0..SIGNALS / 8 {
        dbc += &format!("BO_ {} M{message}: 8 ECU\n", message + 1);
        for signal in 0..8 {
            dbc += &format!(" SG_ S{signal} : {}|8@1+ (0.5,0) [0|127.5] \"degC\" ME\n", signal * 8);
        }
    }
    let toml = "[bus.line]\ninterface = \"virtual\"\ndbc = [\"a.dbc\"]\nnode = \"ME\"\n";
    let sources = Sources::embedded("plant.toml", toml, &[("a.dbc", dbc.as_bytes())]);
    let plan = config::load(&sources, LoadOptions::default()).map_err(|mistakes| format!("{mistakes:?}")).unwrap().plan;
    let layout = Layout::of(&plan);
    let (memory, store) = Memory::shared(c"store", layout.words()).unwrap();
    Writer::new(Arc::new(memory), layout, plan.hash_word());
    let hash = plan.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let generation = Generation { version: VERSION, number: 2, pid: 1, hash, since: 1, door: Place::Plant };
    let bundle = sources.to_bundle(LoadOptions::default());
    let standard = Arc::new(space::standard::Standard::load("", ""));
    let start = Instant::now();
    let loaded = plan_of(Handover { generation, bundle, memory: Memory::read_only(store).unwrap() }).unwrap();
    let understood = start.elapsed();
    space::Space::new(Arc::new(loaded.plan.clone()), standard, Default::default());
    println!(
        "{} signals: plan in {understood:?}, with the OPC UA nodes in {:?}",
        loaded.plan.tags.len(),
        start.elapsed()
    );
    assert_eq!(loaded.plan.tags.len(), SIGNALS);
}
