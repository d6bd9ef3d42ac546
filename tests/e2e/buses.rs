//! The machine side on real SocketCAN interfaces, with can-utils and `ip` on the other side: every frame accounted for,
//! the life of an interface, bus states, sending.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use canvoy::bus::socketcan::{Batch, Sockets, newly_dropped};
use canvoy::command::MAX_DATAGRAM;
use canvoy::command::socket::Connection;
use canvoy::config::{LoadOptions, Sources, load};
use canvoy::controller::{Controller, Options};
use canvoy::notify::Notifier;
use canvoy::plan::{Alarm, Plan};
use canvoy::store::layout::{BusState, BusWord, Trouble, Word};
use canvoy::store::{Layout, Memory, Reader, Record};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::allocations::Watch;
use crate::harness::{LIMIT, Process, TempDir, poll, run};

crate::tests! {
    Vcan: every_frame_is_received_or_counted_as_lost, what_overflows_a_socket_is_counted,
        a_controller_that_was_stopped_counts_what_it_missed, classic_and_fd_frames_arrive_with_the_kernels_time,
        an_interface_may_go_down_and_come_up, an_interface_may_be_removed_and_return,
        an_interface_may_be_missing_at_the_start, a_silent_bus_is_read_all_the_same, error_frames_are_the_state_of_the_bus,
        cyclic_frames_keep_their_rate_and_a_listening_bus_is_silent, receiving_and_sending_allocate_nothing,
        the_load_is_that_of_canbusload;
}

const DBC: &str = r#"VERSION ""
NS_ :
BS_:
BU_: Controller Drive
BO_ 256 Command: 8 Controller
 SG_ Speed : 0|16@1- (0.5,0) [-1000|1000] "1/min" Drive
BO_ 512 Status: 8 Drive
 SG_ Actual : 0|16@1- (0.5,0) [0|0] "1/min" Controller
BO_ 513 Wide: 64 Drive
 SG_ Last : 504|8@1+ (1,0) [0|0] "" Controller
BO_ 2147484672 Extended: 2 Drive
 SG_ First : 0|8@1+ (1,0) [0|0] "" Controller
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","StandardCAN_FD","ExtendedCAN_FD";
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "VFrameFormat" BO_ 513 14;
BA_ "VFrameFormat" BO_ 2147484672 1;
"#;

/// A controller in a thread of this process: bus 0 sends and receives on `interface`, bus 1 listens on vcan2.
struct Machine {
    plan: Arc<Plan>,
    reader: Reader,
    thread_id: i32,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<bool>>,
    _folder: TempDir,
}

impl Machine {
    fn start(interface: &str, transmit: &str) -> Machine {
        let toml = format!(
            r#"
            [bus.a]
            interface = "{interface}"
            fd = true
            bit_rate = 250000
            data_bit_rate = 1000000
            dbc = ["bus.dbc"]
            node = "Controller"
            transmit = {transmit}
            message.Command = {{ cycle_ms = 10, send = "cyclic" }}
            [bus.b]
            interface = "vcan2"
            dbc = ["bus.dbc"]
            node = "Controller"
            "#
        );
        let sources = Sources::embedded("bus.toml", &toml, &[("bus.dbc", DBC.as_bytes())]);
        let loaded = load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        let (plan, folder) = (Arc::new(loaded.plan), TempDir::new());
        let options = Options {
            plan: plan.clone(),
            bundle: sources.to_bundle(LoadOptions::default()),
            simulator: None,
            socket: folder.path().join("s"),
            group: None,
            plant_socket: folder.path().join("plant"),
            plant_group: None,
            link: "/nowhere".into(),
            load: None,
            state: None,
        };
        let mut controller = Controller::open(options, Notifier::default()).expect("open the controller");
        let (reader, thread_id) = (controller.reader().clone(), controller.thread_id());
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).expect("an eventfd"));
        let stopped = stop.clone();
        let thread = Some(std::thread::spawn(move || controller.serve(stopped.as_fd()).expect("serve")));
        Machine { plan, reader, thread_id, stop, thread, _folder: folder }
    }

    fn count(&self, word: BusWord) -> u64 {
        self.reader.bus(0, word)
    }

    fn wait_state(&self, state: BusState) {
        poll(&format!("bus state {}", state.word()), LIMIT, || (self.reader.bus_state(0) == state).then_some(()));
    }

    /// Waits until a counter of bus 0 has at least this value.
    fn wait_count(&self, word: BusWord, least: u64) {
        poll(&format!("{word:?} {least}"), LIMIT, || (self.count(word) >= least).then_some(()));
    }

    fn record(&self, message: &str) -> Record {
        let index = (0..self.plan.messages.len()).find(|index| self.plan.message_name(*index, None) == message);
        self.reader.record(self.plan.messages[index.expect("a message")].first_record).expect("a readable record")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.write(1).expect("stop the controller");
        let ended = self.thread.take().expect("once").join();
        if !std::thread::panicking() {
            assert!(ended.expect("the controller"), "the real-time thread ended by itself");
        }
    }
}

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

fn send(interface: &str, frame: &str) {
    run("cansend", &[interface, frame]);
}

/// Frames that any process has sent on an interface so far, as the kernel counts them.
fn sent(interface: &str) -> u64 {
    let path = Path::new("/sys/class/net").join(interface).join("statistics/tx_packets");
    std::fs::read_to_string(path).expect("statistics of the interface").trim().parse().expect("a number")
}

fn every_frame_is_received_or_counted_as_lost() {
    let machine = Machine::start("vcan0", "[]");
    machine.wait_state(BusState::Active);
    let before = sent("vcan0");
    // as fast as it can: classic and FD, short and long identifiers, remote frames; no kernel buffer holds all of it
    let mut generators: Vec<Process> =
        ["-m", "-e", "-R"].map(|mix| Process::start("cangen", &["vcan0", "-g", "0", "-i", mix])).into();
    std::thread::sleep(Duration::from_secs(10));
    for generator in &mut generators {
        generator.signal(libc::SIGTERM);
        generator.wait_end();
    }
    // The kernel tells what it has dropped with the next frame that it queues: a sentinel.
    poll("received and lost frames to be all that were sent", LIMIT, || {
        send("vcan0", "7FF#");
        let (received, lost) = (machine.count(BusWord::ReceivedFrames), machine.count(BusWord::LostFrames));
        let sent = sent("vcan0") - before;
        println!("sent {sent}, received {received}, lost {lost}");
        (received + lost == sent).then_some(())
    });
    assert!(machine.count(BusWord::ReceivedFrames) > 1000, "hardly any");
    assert!(machine.count(BusWord::UnknownFrames) > 0);
    assert_eq!(machine.reader.bus_state(0), BusState::Active);
}

fn what_overflows_a_socket_is_counted() {
    let index = nix::net::if_::if_nametoindex("vcan0").expect("vcan0");
    let (sockets, mut batch) = (Sockets::open(index).expect("open sockets"), Batch::default());
    let (mut received, mut lost, mut running) = (0, 0, 0);
    let mut read = || {
        while let Ok(count) = batch.receive(sockets.data()) {
            received += count as u64;
            lost += (0..count).map(|at| newly_dropped(&mut running, batch.arrival(at).drops)).sum::<u64>();
        }
        (received, lost)
    };
    // nobody reads: more than the largest buffer holds
    run("cangen", &["vcan0", "-g", "0", "-n", "10000", "-L", "8"]);
    let (kept, told) = read();
    assert!((1..10_000).contains(&kept), "{kept} frames fit into the buffer");
    assert_eq!(told, 0, "no frame was queued after a loss yet");
    send("vcan0", "7FF#");
    assert_eq!(read(), (kept + 1, 10_000 - kept));
    send("vcan0", "7FF#");
    assert_eq!(read(), (kept + 2, 10_000 - kept), "counted twice");
}

fn a_controller_that_was_stopped_counts_what_it_missed() {
    let folder = TempDir::new();
    let [file, socket] = ["bus.toml", "s"].map(|name| folder.path().join(name));
    std::fs::write(folder.path().join("bus.dbc"), DBC).expect("write the DBC");
    let toml = "[bus.a]\ninterface = \"vcan0\"\ndbc = [\"bus.dbc\"]\n";
    std::fs::write(&file, toml).expect("write the configuration");
    let sources = canvoy::config::read(&file).expect("readable files");
    let plan = load(&sources, LoadOptions::default()).expect("a correct configuration").plan;
    let [file, path] = [&file, &socket].map(|path| path.to_str().expect("UTF-8"));
    let before = sent("vcan0");
    let mut controller = Process::start(env!("CARGO_BIN_EXE_canvoy"), &["controller", file, "--socket", path]);
    let connection = poll("the command socket", LIMIT, || Connection::connect(&socket).ok());
    let (mut buffer, mut descriptors) = (vec![0; MAX_DATAGRAM], Vec::new());
    poll("the generation", LIMIT, || connection.receive(&mut buffer, &mut descriptors).ok());
    let memory = Memory::read_only(descriptors.pop().expect("the store")).expect("map the store");
    let layout = Layout::of(&plan);
    let reader = Reader::open(Arc::new(memory), layout, plan.hash_word()).expect("a store of this plan");
    let count = |word| reader.bus(0, word);
    poll("an active bus", LIMIT, || (reader.bus_state(0) == BusState::Active).then_some(()));
    controller.signal(libc::SIGSTOP);
    poll("a stale heartbeat", LIMIT, || reader.stale(canvoy::store::clock::monotonic()).then_some(()));
    run("cangen", &["vcan0", "-g", "0", "-n", "10000", "-L", "8"]);
    controller.signal(libc::SIGCONT);
    poll("a fresh heartbeat", LIMIT, || (!reader.stale(canvoy::store::clock::monotonic())).then_some(()));
    poll("received and lost frames to be all that were sent", LIMIT, || {
        send("vcan0", "7FF#");
        (count(BusWord::ReceivedFrames) + count(BusWord::LostFrames) == sent("vcan0") - before).then_some(())
    });
    assert!(count(BusWord::LostFrames) > 0, "10,000 frames fitted into the buffer");
    controller.signal(libc::SIGTERM);
    assert_eq!(controller.wait_end(), 0);
}

fn classic_and_fd_frames_arrive_with_the_kernels_time() {
    let machine = Machine::start("vcan0", "[]");
    machine.wait_state(BusState::Active);
    let before = canvoy::store::clock::realtime();
    send("vcan0", "200#0102030405060708");
    send("vcan0", &format!("201##1{}", "5A".repeat(64)));
    send("vcan0", "00000400#A1A2");
    send("vcan0", "200#R");
    machine.wait_count(BusWord::ReceivedFrames, 4);
    let after = canvoy::store::clock::realtime();
    let check = |message, id_bits, bytes: &[u8]| {
        let record = machine.record(message);
        assert_eq!((record.id_bits, record.bytes(), record.count), (id_bits, bytes, 1), "{message}");
        assert!((before..=after).contains(&record.source_time), "{message} at {}", record.source_time);
    };
    check("a.Status", 0x200, &[1, 2, 3, 4, 5, 6, 7, 8]);
    check("a.Wide", 0x201, &[0x5A; 64]);
    check("a.Extended", 0x8000_0400, &[0xA1, 0xA2]);
    assert_eq!(machine.count(BusWord::ReceivedBytes), 8 + 64 + 2);
    assert_eq!(machine.count(BusWord::UnknownFrames), 0);
}

fn an_interface_may_go_down_and_come_up() {
    let machine = Machine::start("vcan0", r#"["Command"]"#);
    machine.wait_state(BusState::Active);
    machine.wait_count(BusWord::TransmittedFrames, 5);
    for round in 1..=3 {
        ip("link set vcan0 down");
        machine.wait_state(BusState::Down);
        assert_eq!(machine.count(BusWord::InterfaceLosses), round);
        let silent = machine.count(BusWord::TransmittedFrames);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(machine.count(BusWord::TransmittedFrames), silent, "sent on an interface that is down");
        ip("link set vcan0 up");
        machine.wait_state(BusState::Active);
        machine.wait_count(BusWord::TransmittedFrames, silent + 5);
        send("vcan0", "200#01");
        machine.wait_count(BusWord::ReceivedFrames, round);
    }
    // down and up faster than anybody looks
    for _ in 0..5 {
        ip("link set vcan0 down");
        ip("link set vcan0 up");
    }
    machine.wait_state(BusState::Active);
    let now = machine.count(BusWord::TransmittedFrames);
    machine.wait_count(BusWord::TransmittedFrames, now + 5);
}

fn an_interface_may_be_removed_and_return() {
    let machine = Machine::start("vcan1", r#"["Command"]"#);
    machine.wait_state(BusState::Active);
    for round in 1..=3 {
        ip("link del vcan1");
        machine.wait_state(BusState::Gone);
        ip("link add vcan1 type vcan");
        machine.wait_state(BusState::Down);
        ip("link set vcan1 mtu 72 up");
        machine.wait_state(BusState::Active);
        let now = machine.count(BusWord::TransmittedFrames);
        machine.wait_count(BusWord::TransmittedFrames, now + 5);
        send("vcan1", &format!("200#0{round}"));
        machine.wait_count(BusWord::ReceivedFrames, round);
        assert_eq!(machine.record("a.Status").bytes(), [round as u8]);
        assert_eq!(machine.count(BusWord::InterfaceLosses), round);
    }
    // gone and back faster than anybody looks, under the same name
    ip("link del vcan1");
    ip("link add vcan1 type vcan");
    ip("link set vcan1 mtu 72 up");
    poll("frames of the new interface", LIMIT, || {
        send("vcan1", "200#0A");
        (machine.record("a.Status").bytes() == [0x0A]).then_some(())
    });
    assert_eq!(machine.reader.bus_state(0), BusState::Active);
}

/// What the watchdog goes by: every bus that there is is read, also when nothing comes, when it is down, and again when it
/// is back; and no deadline is left.
fn a_silent_bus_is_read_all_the_same() {
    let machine = Machine::start("vcan1", r#"["Command"]"#);
    let read_again = |bus: usize| {
        let before = machine.reader.bus(bus, BusWord::ReadAt);
        poll("two more readings", LIMIT, || {
            // at most this far behind, however busy the machine is, or it would be killed for nothing
            let turned = machine.reader.get(Word::Heartbeat);
            assert!(turned.saturating_sub(machine.reader.get(Word::NextDue)) < 1_000_000_000);
            (machine.reader.bus(bus, BusWord::ReadAt) > before + 600_000_000).then_some(())
        });
    };
    machine.wait_state(BusState::Active);
    read_again(0);
    read_again(1);
    ip("link set vcan1 down");
    machine.wait_state(BusState::Down);
    read_again(0);
    ip("link del vcan1");
    poll("no socket to read", LIMIT, || (machine.count(BusWord::ReadAt) == 0).then_some(()));
    ip("link add vcan1 type vcan");
    ip("link set vcan1 mtu 72 up");
    machine.wait_state(BusState::Active);
    read_again(0);
}

fn an_interface_may_be_missing_at_the_start() {
    let machine = Machine::start("vcan9", r#"["Command"]"#);
    poll("the other bus", LIMIT, || (machine.reader.bus_state(1) == BusState::Active).then_some(()));
    assert_eq!(machine.reader.bus_state(0), BusState::Gone);
    assert_eq!(machine.count(BusWord::TransmittedFrames), 0);
    ip("link add vcan9 type vcan");
    ip("link set vcan9 mtu 72 up");
    machine.wait_state(BusState::Active);
    machine.wait_count(BusWord::TransmittedFrames, 5);
    ip("link del vcan9");
    machine.wait_state(BusState::Gone);
}

fn error_frames_are_the_state_of_the_bus() {
    let machine = Machine::start("vcan0", r#"["Command"]"#);
    machine.wait_state(BusState::Active);
    let check = |frame, state, counters| {
        let before = machine.count(BusWord::ErrorFrames);
        send("vcan0", frame);
        machine.wait_count(BusWord::ErrorFrames, before + 1);
        machine.wait_state(state);
        assert_eq!(
            (machine.count(BusWord::TransmitErrors), machine.count(BusWord::ReceiveErrors)),
            counters,
            "{frame}"
        );
    };
    check("20000204#000C000000006061", BusState::Warning, (0x60, 0x61));
    check("20000204#0030000000008081", BusState::Passive, (0x80, 0x81));
    let trouble = |want| assert_eq!(Trouble::from_word(machine.count(BusWord::Trouble)), want);
    let alarm = |alarm| machine.reader.alarm(machine.plan.alarm(alarm).expect("an alarm")).active;
    trouble(Trouble::Unknown);
    check("20000088#0000040A00000000", BusState::Passive, (0x80, 0x81));
    trouble(Trouble::Protocol);
    assert!(alarm(Alarm::BusErrors(0)) && !alarm(Alarm::BusOff(0)));
    check("20000240#000000000000F800", BusState::BusOff, (0xF8, 0));
    trouble(Trouble::Protocol);
    assert!(alarm(Alarm::BusOff(0)) && !alarm(Alarm::BusErrors(0)));
    let silent = machine.count(BusWord::TransmittedFrames);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(machine.count(BusWord::TransmittedFrames), silent, "sent while the bus is off");
    check("20000300#0000000000000000", BusState::Active, (0, 0));
    assert_eq!(machine.count(BusWord::Restarts), 1);
    assert!(!alarm(Alarm::BusOff(0)));
    machine.wait_count(BusWord::TransmittedFrames, silent + 5);
    check("20000004#0001000000000000", BusState::Active, (0, 0));
    assert_eq!(machine.count(BusWord::ControllerOverflows), 1);
    assert_eq!(machine.count(BusWord::BusOffs), 1);
    assert_eq!(machine.count(BusWord::ReceivedFrames), 0, "an error frame is not data");
    // a storm of them disturbs neither data nor cycles
    let storm = Process::start("cangen", &["vcan0", "-g", "0", "-i", "-I", "20000008", "-e", "-L", "8"]);
    let (frames, sent) = (machine.count(BusWord::ReceivedFrames), machine.count(BusWord::TransmittedFrames));
    send("vcan0", "200#01");
    machine.wait_count(BusWord::ReceivedFrames, frames + 1);
    machine.wait_count(BusWord::TransmittedFrames, sent + 50);
    drop(storm);
}

fn cyclic_frames_keep_their_rate_and_a_listening_bus_is_silent() {
    let (before, silent) = (sent("vcan0"), sent("vcan2"));
    let machine = Machine::start("vcan0", r#"["Command"]"#);
    machine.wait_state(BusState::Active);
    let mut dump = Process::start("candump", &["-ta", "-n", "300", "vcan0,100:7FF"]);
    assert_eq!(dump.wait_end(), 0);
    let times: Vec<f64> = dump
        .output()
        .lines()
        .map(|line| {
            let (time, frame) = line.split_once(") ").expect("a time");
            assert!(frame.contains("vcan0  100   [8]  00 00 00 00 00 00 00 00"), "{line}");
            time.trim_start_matches([' ', '(']).parse().expect("seconds")
        })
        .collect();
    assert_eq!(times.len(), 300);
    // Over 300 cycles of 10 ms the mean is exact, whatever single frames did: deadlines are absolute. A machine that
    // stood still for a while has skipped cycles, whole ones.
    let cycles = (times[299] - times[0]) / 0.010;
    println!(
        "{cycles} cycles in 299 intervals, {} overruns",
        machine.reader.get(canvoy::store::layout::Word::Overruns)
    );
    assert!(cycles > 297.0, "{cycles} cycles took less time than they have: sent too fast");
    let counted = machine.count(BusWord::TransmittedFrames);
    assert!(sent("vcan0") - before >= counted, "the kernel has seen fewer frames than were counted");
    assert_eq!(machine.count(BusWord::TransmitDropped), 0);
    assert_eq!(machine.count(BusWord::ReceivedFrames), 0, "our own frames came back");
    assert_eq!(sent("vcan2"), silent, "something was sent on a bus that only listens");
}

fn receiving_and_sending_allocate_nothing() {
    let machine = Machine::start("vcan0", r#"["Command"]"#);
    machine.wait_state(BusState::Active);
    let watch = Watch::thread(machine.thread_id);
    let generator = Process::start("cangen", &["vcan0", "-g", "1", "-m"]);
    machine.wait_count(BusWord::ReceivedFrames, 500);
    drop(generator);
    send("vcan0", "200000FF#FFFFFFFFFFFFFFFF");
    machine.wait_state(BusState::BusOff);
    ip("link set vcan0 down");
    machine.wait_state(BusState::Down);
    ip("link set vcan0 up");
    machine.wait_state(BusState::Active);
    assert_eq!(watch.count(), 0, "allocated or freed memory in the loop");
}

/// can-utils counts the stuff bits of classic frames one by one (`-e`), and hears the same frames from both sides.
fn the_load_is_that_of_canbusload() {
    let machine = Machine::start("vcan0", r#"["Command"]"#);
    machine.wait_state(BusState::Active);
    let generator = Process::start("cangen", &["vcan0", "-g", "2", "-I", "200", "-L", "8", "-D", "r"]);
    let theirs = Process::start("stdbuf", &["-oL", "canbusload", "-e", "vcan0@250000"]);
    let (since, bits) = (canvoy::store::clock::monotonic(), machine.count(BusWord::NominalBits));
    // ` vcan0@250k   600   70000   38400       0  28%`: one line a second
    let seconds = 5;
    let lines = poll("lines of canbusload", LIMIT, || {
        let output = theirs.output();
        let lines: Vec<Vec<String>> = output
            .lines()
            .filter(|line| line.contains("vcan0@"))
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        (lines.len() > seconds).then_some(lines)
    });
    let elapsed = (canvoy::store::clock::monotonic() - since) as f64 / 1e9;
    let (ours, load) =
        (machine.count(BusWord::NominalBits) - bits, machine.reader.load(0, canvoy::store::clock::monotonic()));
    drop(generator);
    let number = |line: &Vec<String>, at: usize| line[at].trim_end_matches('%').parse::<f64>().expect("a number");
    // bits of each frame are compared, so that neither clock matters; then the load by ours
    let (frames, total) = lines.iter().fold((0.0, 0.0), |sum, line| (sum.0 + number(line, 1), sum.1 + number(line, 2)));
    let counted = machine.count(BusWord::ReceivedFrames) + machine.count(BusWord::TransmittedFrames);
    let mean = machine.count(BusWord::NominalBits) as f64 / counted as f64;
    assert!((mean / (total / frames) - 1.0).abs() < 0.015, "{mean} bits a frame, canbusload has {}", total / frames);
    let (load, expected) = (load.expect("a load"), ours as f64 / 250_000.0 / elapsed);
    assert!((load / expected - 1.0).abs() < 0.3, "load {load}, in all these seconds {expected}");
    assert!(machine.reader.load_peak(0).is_some_and(|(peak, _)| peak >= load));
    // what nobody sees has no load
    ip("link set vcan0 down");
    machine.wait_state(BusState::Down);
    assert!(machine.reader.load(0, canvoy::store::clock::monotonic()).is_err());
    ip("link set vcan0 up");
    machine.wait_state(BusState::Active);
    // bus 1 has no bit rate, and its interface tells none
    assert!(machine.reader.load(1, canvoy::store::clock::monotonic()).is_err());
}
