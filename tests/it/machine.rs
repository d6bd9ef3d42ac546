//! The machine process on virtual buses: the door, writes, refusals, life and end, and that its real-time thread
//! allocates nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use canvoy::command::socket::Connection;
use canvoy::command::{Action, Command, Generation, MAX_DATAGRAM, Origin, Place, Refusal, Reply, Value, Write};
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::controller::{Controller, OpenError, Options};
use canvoy::notify::Notifier;
use canvoy::plan::{Alarm, Plan};
use canvoy::sample;
use canvoy::sim::{Simulator, demo, playback};
use canvoy::store::layout::{BusState, BusWord, FLAG_SIMULATED, Word};
use canvoy::store::{Layout, Memory, Reader, clock};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// What any test here may wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Controller Drive
BO_ 256 Command: 8 Controller
 SG_ Speed : 0|16@1- (0.5,0) [-1000|1000] "1/min" Drive
 SG_ Mode : 16|8@1+ (1,0) [0|3] "" Drive
BO_ 257 Event: 8 Controller
 SG_ Number : 0|32@1+ (1,0) [0|0] "" Drive
BO_ 512 Status: 8 Drive
 SG_ Actual : 0|16@1- (0.5,0) [0|0] "1/min" Controller
"#;

const TOML: &str = r#"
[bus.line]
virtual = true
dbc = ["machine.dbc"]
node = "Controller"
transmit = ["Command", "Event"]
writable = ["Command.Speed", "Event.Number"]
message.Command = { cycle_ms = 10, send = "cyclic" }
message.Event = { send = "on-write" }
"#;

fn plan() -> Plan {
    let sources = Sources::embedded("machine.toml", TOML, &[("machine.dbc", DBC.as_bytes())]);
    load(&sources, LoadOptions { simulate: true }).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan
}

fn tag(plan: &Plan, name: &str) -> usize {
    (0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == name).unwrap()
}

/// A directory of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("canvoy-machine-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("canvoy.sock")
    }

    /// The plant's, as [`options`] has it.
    fn plant(&self) -> PathBuf {
        plant_door(&self.socket())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn options(plan: &Arc<Plan>, socket: &Path) -> Options {
    Options {
        plan: plan.clone(),
        bundle: b"the bundle".to_vec(),
        simulator: None,
        socket: socket.into(),
        group: None,
        plant_socket: plant_door(socket),
        plant_group: None,
        link: "/nowhere".into(),
        load: None,
        state: None,
    }
}

fn plant_door(socket: &Path) -> PathBuf {
    socket.with_extension("plant")
}

/// A controller that runs in a thread of this process.
struct Running {
    stop: Arc<EventFd>,
    reader: Reader,
    thread_id: i32,
    thread: JoinHandle<bool>,
}

impl Running {
    fn start(options: Options) -> Running {
        Running::notifying(options, Notifier::default())
    }

    fn notifying(options: Options, notifier: Notifier) -> Running {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap());
        let mut controller = Controller::open(options, notifier).unwrap();
        let (reader, thread_id) = (controller.reader().clone(), controller.thread_id());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || controller.serve(stopped.as_fd()).unwrap());
        Running { stop, reader, thread_id, thread }
    }

    /// Ends it; it must end cleanly.
    fn stop(self) {
        self.stop.write(1).unwrap();
        assert!(self.thread.join().unwrap(), "the real-time thread ended by itself");
    }
}

/// The plant's end of the door.
struct Client {
    connection: Connection,
    descriptors: Vec<OwnedFd>,
    generation: Generation,
}

impl Client {
    fn connect(socket: &Path) -> Client {
        let connection = Connection::connect(socket).unwrap();
        let (mut buffer, mut descriptors) = (vec![0; MAX_DATAGRAM], Vec::new());
        let length = wait(|| match connection.receive(&mut buffer, &mut descriptors) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            length => Some(length.unwrap()),
        });
        let generation = serde_json::from_slice(&buffer[..length]).unwrap();
        Client { connection, descriptors, generation }
    }

    fn send(&self, bytes: &[u8]) {
        self.connection.send(bytes, &[]).unwrap();
    }

    fn reply(&self) -> Reply {
        serde_json::from_slice(&self.datagram().0).unwrap()
    }

    /// The next datagram, with its descriptors.
    fn datagram(&self) -> (Vec<u8>, Vec<OwnedFd>) {
        let (mut buffer, mut descriptors) = (vec![0; MAX_DATAGRAM], Vec::new());
        let length = wait(|| match self.connection.receive(&mut buffer, &mut descriptors) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            length => Some(length.unwrap()),
        });
        buffer.truncate(length);
        (buffer, descriptors)
    }

    fn set(&self, id: u64, writes: &[(usize, Value)]) -> Option<Refusal> {
        let protocol = match self.generation.door {
            Place::Machine => Origin::TERMINAL,
            Place::Plant => "test",
        };
        let writes = writes.iter().map(|(tag, value)| Write { tag: *tag, value: *value }).collect();
        self.ask(id, Action::Set(writes), protocol)
    }

    /// A command in the name of a protocol; its refusal.
    fn ask(&self, id: u64, action: Action, protocol: &str) -> Option<Refusal> {
        self.send(&command(id, action, protocol));
        let reply = self.reply();
        assert_eq!(reply.id, id);
        reply.refusal
    }
}

fn set(id: u64, writes: &[(usize, Value)]) -> Vec<u8> {
    let writes = writes.iter().map(|(tag, value)| Write { tag: *tag, value: *value }).collect();
    command(id, Action::Set(writes), "test")
}

fn command(id: u64, action: Action, protocol: &str) -> Vec<u8> {
    let origin = Origin { protocol: protocol.into(), user: "me\nyou".into(), address: "127.0.0.1".into() };
    serde_json::to_vec(&Command { id, generation: 1, origin, action }).unwrap()
}

/// Tries until something is there.
fn wait<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = what() {
            return it;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_plant_is_handed_what_it_can_read_but_not_change() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let mut client = Client::connect(&folder.plant());
    assert_eq!(&client.generation.hash[..12], plan.short_hash());
    assert_eq!(client.generation.pid, std::process::id());
    let [bundle, store] = <[OwnedFd; 2]>::try_from(std::mem::take(&mut client.descriptors)).unwrap();

    let mut bundle = File::from(bundle);
    let mut text = String::new();
    bundle.seek(SeekFrom::Start(0)).unwrap();
    bundle.read_to_string(&mut text).unwrap();
    assert_eq!(text, "the bundle");

    let store = File::from(store);
    for mut file in [&bundle, &store] {
        let length = file.metadata().unwrap().len();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(file.write_all(b"x").is_err(), "written to");
        assert!(file.set_len(length - 1).is_err(), "shortened");
        assert!(file.set_len(length + 1).is_err(), "lengthened");
        // SAFETY: a new mapping that nothing uses.
        let writable = unsafe {
            let protection = nix::sys::mman::ProtFlags::PROT_WRITE;
            let size = std::num::NonZero::new(4096).unwrap();
            nix::sys::mman::mmap(None, size, protection, nix::sys::mman::MapFlags::MAP_SHARED, file, 0)
        };
        assert!(writable.is_err(), "mapped writable");
    }

    let layout = Layout::of(&plan);
    let memory = Arc::new(Memory::read_only(store.into()).unwrap());
    let reader = Reader::open(memory, layout, plan.hash_word()).unwrap();
    assert_eq!(reader.bus_state(0), BusState::Active);
    assert_ne!(reader.get(Word::Flags) & FLAG_SIMULATED, 0);
    let turns = reader.get(Word::Turns);
    wait(|| (reader.get(Word::Turns) > turns + 10).then_some(()));
    assert!(!reader.stale(clock::monotonic()));
    running.stop();
}

#[test]
fn a_write_changes_the_next_frame() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let client = Client::connect(&folder.plant());
    let (reader, speed, number) = (&running.reader, tag(&plan, "line.Command.Speed"), tag(&plan, "line.Event.Number"));
    let sent = || reader.bus(0, BusWord::TransmittedFrames);

    assert_eq!(client.set(1, &[(speed, Value::Engineering(-2.5))]), None);
    let command = reader.record(plan.messages[plan.tags[speed].message].first_record).unwrap();
    assert_eq!(command.bytes(), [0xFB, 0xFF, 0, 0, 0, 0, 0, 0]);
    // the cycle goes on by itself
    let before = sent();
    wait(|| (sent() >= before + 5).then_some(()));
    // a write that sends at once, so often that cycles alone can't explain it
    for id in 0..50 {
        assert_eq!(client.set(id, &[(number, Value::Engineering(id as f64))]), None);
    }
    let event = reader.record(plan.messages[plan.tags[number].message].first_record).unwrap();
    assert_eq!((event.count, event.bytes()[0]), (50, 49));
    assert_eq!(reader.get(Word::Writes), 51);
    assert_eq!(reader.bus(0, BusWord::TransmitDropped), 0);
    running.stop();
}

#[test]
fn refusals_are_answers() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let client = Client::connect(&folder.plant());
    let [speed, mode, actual] =
        ["line.Command.Speed", "line.Command.Mode", "line.Status.Actual"].map(|n| tag(&plan, n));
    let check = |writes: &[(usize, Value)], expected: fn(&Refusal) -> bool| {
        let refusal = client.set(7, writes).unwrap();
        assert!(expected(&refusal), "{refusal:?}");
    };
    check(&[], |r| matches!(r, Refusal::Empty));
    check(&[(9999, Value::Engineering(0.0))], |r| matches!(r, Refusal::UnknownTag));
    check(&[(mode, Value::Engineering(1.0))], |r| matches!(r, Refusal::NotWritable { .. }));
    check(&[(actual, Value::Engineering(1.0))], |r| matches!(r, Refusal::NotWritable { .. }));
    check(&[(speed, Value::Engineering(1000.5))], |r| matches!(r, Refusal::Range { .. }));
    check(&[(speed, Value::Engineering(0.0)); 257], |r| matches!(r, Refusal::TooMany));
    let check = |datagram: &[u8], id| {
        client.send(datagram);
        assert_eq!(client.reply(), Reply { id, refusal: Some(Refusal::Malformed) });
    };
    check(b"\0\xFF", 0);
    check(br#"{"id":9,"action":{"Set":"all"}}"#, 9);
    check(&vec![b'['; MAX_DATAGRAM], 0);
    check(&vec![b' '; MAX_DATAGRAM + 1], 0);
    check(&vec![b' '; 2 * MAX_DATAGRAM], 0);
    assert_eq!(running.reader.get(Word::Writes), 0, "nothing was changed");
    assert_eq!(client.set(8, &[(speed, Value::Engineering(1.0))]), None, "the connection has survived all that");
    running.stop();
}

#[test]
fn neither_many_clients_nor_deaf_ones_hold_it_up() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let speed = tag(&plan, "line.Command.Speed");
    let clients: Vec<Client> = (0..4).map(|_| Client::connect(&folder.plant())).collect();
    // the fifth is let go without a word
    let fifth = Connection::connect(&folder.plant()).unwrap();
    let (mut buffer, mut descriptors) = ([0; 4096], Vec::new());
    wait(|| match fifth.receive(&mut buffer, &mut descriptors) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        end => (end.unwrap() == 0).then_some(()),
    });
    // one that writes and never reads its answers is dropped
    let command = set(1, &[(speed, Value::Engineering(1.0))]);
    wait(|| match clients[0].connection.send(&command, &[]) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        sent => sent.is_err().then_some(()),
    });
    // the others never noticed, and its place is free
    assert_eq!(clients[3].set(2, &[(speed, Value::Engineering(2.0))]), None);
    let another = Client::connect(&folder.plant());
    assert_eq!(another.set(3, &[(speed, Value::Engineering(3.0))]), None);
    // a burst is answered to the last, done or busy
    for id in 0..200 {
        another.send(&set(id, &[(speed, Value::Engineering(4.0))]));
    }
    let mut answered: Vec<u64> = (0..200)
        .map(|_| {
            let Reply { id, refusal } = another.reply();
            assert!(matches!(refusal, None | Some(Refusal::Busy)), "{refusal:?}");
            id
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..200));
    running.stop();
}

#[test]
fn the_door_decides_where_a_command_is_from() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let (machine, plant) = (Client::connect(&folder.socket()), Client::connect(&folder.plant()));
    assert_eq!((machine.generation.door, plant.generation.door), (Place::Machine, Place::Plant));
    let speed = tag(&plan, "line.Command.Speed");
    let write = || Action::Set(vec![Write { tag: speed, value: Value::Engineering(1.0) }]);
    let force = || Action::Force { tag: speed, value: Value::Engineering(1.0), seconds: 5.0 };
    let wrong = |door| Some(Refusal::WrongDoor { door });
    let (cli, opcua) = (Origin::TERMINAL, "opcua");
    // a plant in foreign hands in Local: neither the truth nor a lie gets it past, and nothing is done
    assert_eq!(machine.ask(1, Action::Remote(false), cli), None);
    for (action, want) in [
        (write(), Some(Refusal::Local)),
        (Action::Arm, Some(Refusal::Local)),
        (Action::Remote(true), Some(Refusal::RemoteAtTheMachine)),
        (Action::Reload(None), Some(Refusal::OnlyAtTheMachine)),
        (Action::Reload(Some("00".into())), Some(Refusal::OnlyAtTheMachine)),
        (Action::CancelReload, Some(Refusal::OnlyAtTheMachine)),
        // lets go: never refused to anybody
        (Action::Disarm, None),
        (Action::Release(None), None),
    ] {
        let said = format!("{action:?}");
        assert_eq!(plant.ask(2, action.clone(), opcua), want, "{said}");
        assert_eq!(plant.ask(3, action, cli), wrong(Place::Plant), "{said} in the name of the machine");
    }
    for lie in ["CLI", "cli ", "", "machine"] {
        assert_eq!(plant.ask(4, Action::Arm, lie), Some(Refusal::Local), "{lie:?}");
    }
    assert_eq!(plant.ask(5, force(), cli), wrong(Place::Plant));
    let words = [Word::Armed, Word::Remote, Word::Forces, Word::Writes].map(|word| running.reader.get(word));
    assert_eq!(words, [0; 4], "something was done");
    // one for each lie, and the three that the plant may never ask for
    assert_eq!(running.reader.wrong_door(), 8 + 3 + 1);
    // a plant process that was given the path of the other door is not taken for a person
    for action in [Action::Remote(true), Action::Arm, write(), Action::Disarm, Action::Reload(None)] {
        assert_eq!(machine.ask(6, action, opcua), wrong(Place::Machine));
    }
    // the person at the machine is hindered by none of that
    for action in [Action::Arm, Action::Remote(true), write()] {
        assert_eq!(machine.ask(7, action, cli), None);
    }
    assert_eq!(plant.ask(8, write(), opcua), None, "Remote again");
    running.stop();
}

#[test]
fn a_plant_that_floods_its_door_keeps_nobody_from_the_other() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let speed = tag(&plan, "line.Command.Speed");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (sent, slowest) = std::thread::scope(|scope| {
        // every place is taken, more knock all the time, and each sends as fast as it can: what is right, what is wrong
        let flooding = |client: Client| {
            let mut sent = 0_u64;
            let mut buffer = vec![0; MAX_DATAGRAM];
            let datagrams = [
                set(1, &[(speed, Value::Engineering(1.0))]),
                command(2, Action::Arm, Origin::TERMINAL),
                vec![b'['; MAX_DATAGRAM],
            ];
            while !stop.load(SeqCst) {
                for datagram in &datagrams {
                    sent += u64::from(client.connection.send(datagram, &[]).is_ok());
                }
                while client.connection.receive(&mut buffer, &mut Vec::new()).is_ok() {}
            }
            sent
        };
        let clients: Vec<Client> = (0..4).map(|_| Client::connect(&folder.plant())).collect();
        let floods: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || flooding(client))).collect();
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                drop(Connection::connect(&folder.plant()));
            }
        });
        let mut slowest = Duration::ZERO;
        for id in 0..50 {
            let began = Instant::now();
            let person = Client::connect(&folder.socket());
            assert_eq!(person.set(id, &[(speed, Value::Engineering(2.0))]), None, "never busy");
            slowest = slowest.max(began.elapsed());
        }
        stop.store(true, SeqCst);
        (floods.into_iter().map(|flood| flood.join().unwrap()).sum::<u64>(), slowest)
    });
    assert!(sent > 500, "no flood: {sent}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(running.reader.wrong_door() > 0);
    running.stop();
}

#[test]
fn each_door_is_open_to_its_owner_and_its_group_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let check = |group: Option<u32>, plant_group: Option<u32>, want: [(u32, Option<u32>); 2]| {
        let gid = |group: Option<u32>| group.map(nix::unistd::Gid::from_raw);
        let (group, plant_group) = (gid(group), gid(plant_group));
        let running = Running::start(Options { group, plant_group, ..options(&plan, &folder.socket()) });
        for (path, (mode, group)) in [folder.socket(), folder.plant()].into_iter().zip(want) {
            let found = std::fs::metadata(&path).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, mode, "{path:?}");
            assert!(group.is_none_or(|group| found.gid() == group), "{path:?}: {}", found.gid());
        }
        running.stop();
    };
    let own = nix::unistd::getegid().as_raw();
    check(None, None, [(0o600, None), (0o600, None)]);
    check(Some(own), None, [(0o660, Some(own)), (0o600, None)]);
    if nix::unistd::geteuid().is_root() {
        check(None, Some(4711), [(0o600, Some(own)), (0o660, Some(4711))]);
        check(Some(4712), Some(4711), [(0o660, Some(4712)), (0o660, Some(4711))]);
    }
    let same = Options { plant_socket: folder.socket(), ..options(&plan, &folder.socket()) };
    let Err(same) = Controller::open(same, Notifier::default()) else { panic!("one path for both") };
    assert!(matches!(same.downcast_ref(), Some(OpenError::Same(_))), "{same:#}");
}

#[test]
fn a_socket_belongs_to_one_controller() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    // what a process that was killed leaves behind: a socket that nobody listens on
    drop(std::os::unix::net::UnixListener::bind(folder.socket()).unwrap());
    let running = Running::start(options(&plan, &folder.socket()));
    let Err(second) = Controller::open(options(&plan, &folder.socket()), Notifier::default()) else {
        panic!("two on one socket")
    };
    assert!(matches!(second.downcast_ref(), Some(OpenError::InUse(_))), "{second:#}");
    // the first is not disturbed
    let client = Client::connect(&folder.plant());
    assert_eq!(client.generation.number, 1);
    running.stop();
    assert!(!folder.socket().exists(), "the path is left behind");
    let Err(nowhere) = Controller::open(options(&plan, &folder.0.join("no/such/folder")), Notifier::default()) else {
        panic!("opened")
    };
    assert!(matches!(nowhere.downcast_ref(), Some(OpenError::NoFolder { .. })), "{nowhere:#}");
    // one that has another socket for people, and the same for the plant: what the first has put down stays
    let running = Running::start(options(&plan, &folder.socket()));
    let other = Options { plant_socket: folder.plant(), ..options(&plan, &folder.0.join("other")) };
    let Err(other) = Controller::open(other, Notifier::default()) else { panic!("two on one socket of the plant") };
    assert!(matches!(other.downcast_ref(), Some(OpenError::InUse(path)) if *path == folder.plant()), "{other:#}");
    assert_eq!(Client::connect(&folder.plant()).generation.number, 1);
    running.stop();
}

#[test]
fn the_service_manager_hears_of_its_life() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let manager = UnixDatagram::bind(folder.0.join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let path = folder.0.join("notify");
    let notifier = Notifier::new(Some(path.as_os_str()), Some(Duration::from_millis(400)));
    let running = Running::notifying(options(&plan, &folder.socket()), notifier);
    let ready = hear();
    assert!(ready.starts_with("READY=1\nSTATUS=line active"), "{ready}");
    for _ in 0..5 {
        let heard = hear();
        assert!(heard == "WATCHDOG=1" || heard.starts_with("STATUS="), "{heard}");
    }
    running.stop();
    wait(|| (hear() == "STOPPING=1").then_some(()));
}

/// The plan of [`plan`] with one retained signal.
fn retaining() -> Arc<Plan> {
    let mut plan = plan();
    let tag = tag(&plan, "line.Command.Speed");
    plan.tags[tag].retained = true;
    plan.number();
    Arc::new(plan)
}

#[test]
fn a_retained_value_comes_back_with_the_next_controller() {
    let (folder, plan) = (Folder::new(), retaining());
    let state = folder.0.join("state");
    let speed = tag(&plan, "line.Command.Speed");
    let start = || Running::start(Options { state: Some(state.clone()), ..options(&plan, &folder.socket()) });
    let value = |running: &Running| sample::read(&plan, &running.reader, speed, 0, clock::monotonic()).value;
    let copies =
        || ["a", "b"].map(|name| std::fs::read(state.join("retained-simulated").join(name)).unwrap_or_default());

    let running = start();
    assert!(!state.exists(), "nothing is written before there is something");
    assert_eq!(Client::connect(&folder.plant()).set(1, &[(speed, Value::Engineering(12.0))]), None);
    // at once, for the power may go
    let first = wait(|| copies().iter().any(|copy| !copy.is_empty()).then(copies));
    running.stop();
    assert_eq!(copies(), first, "nothing has changed");

    let running = start();
    wait(|| (value(&running) == Some(12.0)).then_some(()));
    let client = Client::connect(&folder.plant());
    for id in 0..200 {
        assert_eq!(client.set(id, &[(speed, Value::Engineering(id as f64))]), None);
    }
    running.stop();
    assert!(copies().iter().all(|copy| !copy.is_empty()));
    let running = start();
    wait(|| (value(&running) == Some(199.0)).then_some(()));
    running.stop();
}

#[test]
fn a_disk_that_refuses_is_an_alarm_and_no_more() {
    let (folder, plan) = (Folder::new(), retaining());
    let state = folder.0.join("state");
    let speed = tag(&plan, "line.Command.Speed");
    let running = Running::start(Options { state: Some(state.clone()), ..options(&plan, &folder.socket()) });
    // a file where the folder should be
    std::fs::write(&state, "").unwrap();
    let client = Client::connect(&folder.plant());
    assert_eq!(client.set(1, &[(speed, Value::Engineering(12.0))]), None);
    let alarm = plan.alarm(Alarm::NotRetained).unwrap();
    wait(|| running.reader.alarm(alarm).active.then_some(()));
    assert_eq!(client.set(2, &[(speed, Value::Engineering(13.0))]), None);
    // it is tried again, at the latest at the end
    std::fs::remove_file(&state).unwrap();
    running.stop();
    assert!(state.join("retained-simulated/a").exists());
}

#[test]
fn the_state_of_the_clock_is_shown() {
    let (folder, plan) = (Folder::new(), Arc::new(plan()));
    let running = Running::start(options(&plan, &folder.socket()));
    let kernel = clock::synchronisation().map(|clock| clock.synchronized);
    assert_eq!(running.reader.clock().map(|clock| clock.synchronized), kernel);
    running.stop();
}

/// The demo's devices send, the plant's outputs too: what both take of a bus is its load.
#[test]
fn the_load_of_a_bus_is_counted() {
    let sources = Sources::embedded("demo/demo.toml", demo::CONFIG, demo::DBC);
    let plan = load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan;
    let (folder, plan) = (Folder::new(), Arc::new(plan));
    let simulator = Some(Simulator::Demo(demo::Plant::new(&plan).unwrap()));
    let running = Running::start(Options { simulator, ..options(&plan, &folder.socket()) });
    let watch = crate::allocations::Watch::thread(running.thread_id);
    let reader = &running.reader;
    assert!(reader.load(0, clock::monotonic()).is_err(), "known before a second is over");
    for (index, bus) in plan.buses.iter().enumerate() {
        let count = |word| reader.bus(index, word);
        let (peak, _) = wait(|| reader.load_peak(index));
        let load = reader.load(index, clock::monotonic()).unwrap();
        assert!(0.0 < load && load <= peak && peak < 1.0, "{}: {load} of {peak}", bus.name);
        // of the same second, or a little more
        let frames = count(BusWord::ReceivedFrames) + count(BusWord::TransmittedFrames);
        assert!(count(BusWord::NominalBits) >= 30 * frames, "{}", bus.name);
        assert_eq!(count(BusWord::DataBits) > 0, bus.fd, "{}", bus.name);
        let rate = |bits: u64, rate: Option<u32>| if bits == 0 { 0.0 } else { bits as f64 / f64::from(rate.unwrap()) };
        let busy = count(BusWord::BusyTime) as f64 / 1e9;
        let all = rate(count(BusWord::NominalBits), bus.bit_rate) + rate(count(BusWord::DataBits), bus.data_bit_rate);
        assert!(busy > 0.0 && busy <= all, "{}: {busy} s of {all} s", bus.name);
    }
    assert_eq!(watch.count(), 0, "allocated or freed memory in the loop");
    drop(watch);
    running.stop();
}

#[test]
fn the_real_time_thread_allocates_nothing() {
    let check = |plan: Plan, simulator: Option<Simulator>, written: &str, received: u64| {
        let (folder, plan) = (Folder::new(), Arc::new(plan));
        let bus = plan.buses.iter().position(|bus| bus.name == "line").unwrap();
        let running = Running::start(Options { simulator, ..options(&plan, &folder.socket()) });
        let client = Client::connect(&folder.plant());
        let watch = crate::allocations::Watch::thread(running.thread_id);
        let count = |word| running.reader.bus(bus, word);
        let (sent, got) = (count(BusWord::TransmittedFrames), count(BusWord::ReceivedFrames));
        for id in 0..100 {
            assert_eq!(client.set(id, &[(tag(&plan, written), Value::Engineering(0.0))]), None);
        }
        wait(|| (count(BusWord::TransmittedFrames) >= sent + 50).then_some(()));
        wait(|| (count(BusWord::ReceivedFrames) >= got + received).then_some(()));
        assert_eq!(count(BusWord::LostFrames), 0);
        assert_eq!(watch.count(), 0, "allocated or freed memory in the loop");
        drop(watch);
        running.stop();
    };
    check(plan(), None, "line.Command.Speed", 0);
    let playback = Simulator::Playback(playback::Player::new(&plan()));
    check(plan(), Some(playback), "line.Event.Number", 1);
    let sources = Sources::embedded("demo/demo.toml", demo::CONFIG, demo::DBC);
    let plant = load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan;
    let devices = Simulator::Demo(demo::Plant::new(&plant).unwrap());
    check(plant, Some(devices), "line.DriveCommand.SpeedSetpoint", 200);
}

/// A controller that reads one configuration after the other: each a message more or less, so that every index moves.
#[test]
fn plans_change_while_frames_are_sent_and_the_real_time_thread_allocates_nothing() {
    let folder = Folder::new();
    let variant = |number: usize| {
        let dbc = if number.is_multiple_of(2) {
            DBC.to_owned()
        } else {
            format!("{DBC}BO_ 100 Aaa: 8 Drive\n SG_ First : 0|8@1+ (1,0) [0|0] \"\" Controller\n")
        };
        let sources = Sources::embedded("machine.toml", TOML, &[("machine.dbc", dbc.as_bytes())]);
        load(&sources, LoadOptions { simulate: true }).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).plan
    };
    let read = Arc::new(AtomicUsize::new(0));
    let reading = read.clone();
    let first = Arc::new(variant(0));
    let load: Arc<canvoy::controller::Load> =
        Arc::new(move |_: Option<&[u8]>| match reading.fetch_add(1, SeqCst) + 1 {
            21 => Err("machine.toml:3:1: error: something\n".into()),
            number => {
                let plan = Arc::new(variant(number));
                Ok(canvoy::controller::Candidate { plan, bundle: number.to_string().into_bytes(), simulator: None })
            }
        });
    let running = Running::start(Options { load: Some(load), ..options(&first, &folder.socket()) });
    let mut client = Client::connect(&folder.socket());
    assert_eq!(client.set(1, &[(tag(&first, "line.Command.Speed"), Value::Engineering(50.0))]), None);
    let watch = crate::allocations::Watch::thread(running.thread_id);
    let order = |client: &Client, id, action, protocol: &str| {
        let origin = Origin { protocol: protocol.into(), ..Origin::default() };
        client.send(&serde_json::to_vec(&Command { id, generation: 1, origin, action }).unwrap());
    };
    let answer = |client: &mut Client| loop {
        let (bytes, descriptors) = client.datagram();
        if descriptors.is_empty() {
            return serde_json::from_slice::<Reply>(&bytes).unwrap();
        }
        client.generation = serde_json::from_slice(&bytes).unwrap();
        client.descriptors = descriptors;
    };
    let plant = Client::connect(&folder.plant());
    order(&plant, 1, Action::Reload(None), "opcua");
    assert_eq!(plant.reply().refusal, Some(Refusal::OnlyAtTheMachine));
    drop(plant);
    for number in 1..=20_u64 {
        order(&client, number, Action::Reload(None), "cli");
        assert_eq!(answer(&mut client), Reply { id: number, refusal: None });
        assert_eq!(client.generation.number, 1 + number);
        let plan = variant(number as usize);
        assert_eq!(client.generation.hash, plan.hash_text());
        let [_, store] = <[OwnedFd; 2]>::try_from(std::mem::take(&mut client.descriptors)).unwrap();
        let memory = Arc::new(Memory::read_only(store).unwrap());
        let reader = Reader::open(memory, Layout::of(&plan), plan.hash_word()).unwrap();
        let show = || sample::read(&plan, &reader, tag(&plan, "line.Command.Speed"), 0, clock::monotonic());
        assert_eq!(show().value, Some(50.0), "what was written stays");
        let sent = show().count;
        wait(|| (show().count > sent + 1).then_some(()));
        assert!(reader.get(Word::Overruns) < 5, "{number}");
        assert_eq!(reader.wrong_door(), 1, "counted on over reloads");
        // indices of another plan are refused, whatever they would mean now
        let refused = client.set(1000 + number, &[(tag(&first, "line.Command.Mode"), Value::Engineering(1.0))]);
        assert_eq!(refused, Some(Refusal::Reloaded));
    }
    assert_eq!(watch.count(), 0, "a change of plans allocated or freed memory in the loop");
    drop(watch);
    order(&client, 50, Action::Reload(None), "cli");
    assert!(
        matches!(answer(&mut client).refusal, Some(Refusal::Configuration { mistakes }) if mistakes.contains(":3:1"))
    );
    order(&client, 51, Action::Reload(Some("00".into())), "cli");
    assert!(
        matches!(answer(&mut client).refusal, Some(Refusal::NotReloaded { .. })),
        "other files than were looked at"
    );
    order(&client, 53, Action::CancelReload, "cli");
    assert!(matches!(answer(&mut client).refusal, Some(Refusal::NotReloaded { .. })), "nothing waits");
    assert_eq!((read.load(SeqCst), client.generation.number), (22, 21));
    running.stop();
}
