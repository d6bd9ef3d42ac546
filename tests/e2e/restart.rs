//! The plant process ends again and again while clients come: none is refused. And what a service manager sees of both
//! processes: ready, alive, listeners to keep.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use canvoy::command::socket::{self, passing};

use crate::canvoy::{CANVOY, Canvoy, get};
use crate::harness::{LIMIT, Process, TempDir, free_port, poll, signal};

crate::tests! {
    Nothing: nobody_is_refused_while_the_plant_restarts, a_service_manager_is_told_and_keeps_the_listeners;
}

/// How often the plant process is killed.
const KILLS: usize = 10;

/// Connects to `address` all the time; how often, and what was refused.
fn connect_until(end: &AtomicBool, address: &str, connected: &AtomicUsize) -> Vec<String> {
    let mut failed = Vec::new();
    while !end.load(Ordering::Relaxed) {
        match TcpStream::connect(address) {
            Ok(_) => {
                connected.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
            Err(error) => failed.push(error.to_string()),
        }
        // the ports of a machine are not without end
        std::thread::sleep(Duration::from_millis(2));
    }
    failed
}

fn nobody_is_refused_while_the_plant_restarts() {
    let demo = Canvoy::demo();
    let opcua = demo.opcua.trim_start_matches("opc.tcp://").to_owned();
    let (end, connected) = (AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut seen = HashSet::new();
    let (failed, mut lost) = std::thread::scope(|scope| {
        let clients = [&opcua, &demo.http];
        let clients: Vec<_> = clients
            .into_iter()
            .zip(&connected)
            .map(|(address, connected)| scope.spawn(|| connect_until(&end, address, connected)))
            .collect();
        let lost: Vec<Duration> = (0..KILLS)
            .map(|_| {
                let plant = demo.part("plant");
                assert!(seen.insert(plant), "{plant} again");
                signal(plant, libc::SIGKILL);
                let killed = Instant::now();
                // one request: it waits where it would have been refused
                let (_, page) = poll("an answer of the next plant process", LIMIT, || get(&demo.http, "/metrics"));
                assert!(page.contains("canvoy"), "{page}");
                let lost = killed.elapsed();
                poll("the next plant process", LIMIT, || (demo.part("plant") != plant).then_some(()));
                // a life of some length, or the supervisor takes its time
                std::thread::sleep(Duration::from_millis(1000));
                lost
            })
            .collect();
        end.store(true, Ordering::Relaxed);
        (clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>(), lost)
    });
    for (failed, connected) in failed.iter().zip(&connected) {
        let connected = connected.load(Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of {connected} connections failed: {:?}", failed.len(), failed.first());
        assert!(connected > KILLS, "{connected}");
    }
    lost.sort();
    println!(
        "plant killed {KILLS} times: an answer after {:?} to {:?}, median {:?}",
        lost[0],
        lost[KILLS - 1],
        lost[KILLS / 2]
    );
}

/// What systemd does with a unit of Type=notify: its end of the notify socket, and its file descriptor store.
struct Manager {
    path: std::path::PathBuf,
    socket: UnixDatagram,
    store: Vec<(String, OwnedFd)>,
}

impl Manager {
    fn new(folder: &Path, name: &str) -> Manager {
        let path = folder.join(name);
        let socket = UnixDatagram::bind(&path).expect("a notify socket");
        socket.set_nonblocking(true).expect("a notify socket");
        Manager { path, socket, store: Vec::new() }
    }

    /// Starts `canvoy` as a main process, by the letter of sd_listen_fds(3).
    fn start(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", CANVOY]).args(arguments).stdin(Stdio::null());
        let names: Vec<&str> = self.store.iter().map(|(name, _)| name.as_str()).collect();
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "2000000");
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let copies: Vec<OwnedFd> = self.store.iter().map(|(_, one)| one.try_clone().expect("a copy")).collect();
        passing::give(&mut command, &copies).expect("descriptors for the child");
        Process::spawn(command)
    }

    /// Waits for a notification with this line.
    fn hear(&mut self, line: &str) {
        poll(line, LIMIT, || self.next().filter(|text| text.lines().any(|one| one == line)));
    }

    /// The next notification that has come; what shall be kept is.
    fn next(&mut self) -> Option<String> {
        let (mut buffer, mut descriptors) = ([0; 4096], Vec::new());
        let length = socket::receive(self.socket.as_fd(), &mut buffer, &mut descriptors).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if let Some(name) = text.strip_prefix("FDSTORE=1\nFDNAME=") {
            self.store.extend(descriptors.into_iter().map(|one| (name.to_owned(), one)));
        }
        Some(text)
    }
}

fn a_service_manager_is_told_and_keeps_the_listeners() {
    let folder = TempDir::new();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (command, door, state) = (path("command"), path("command.plant"), path("state"));
    let mut controllers = Manager::new(folder.path(), "controller.notify");
    let controller = controllers.start(&["controller", "--demo", "--socket", &command]);
    controllers.hear("READY=1");
    controllers.hear("WATCHDOG=1");

    let mut plants = Manager::new(folder.path(), "plant.notify");
    let (opcua, http) = (free_port(), free_port());
    let ports = (opcua.to_string(), http.to_string());
    let arguments = ["plant", "--socket", &door, "--state", &state, "--opcua-port", &ports.0, "--http-port", &ports.1];
    let mut plant = plants.start(&arguments);
    plants.hear("READY=1");
    let mut names: Vec<&str> = plants.store.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["http", "opcua"]);
    plants.hear("WATCHDOG=1");
    // as many clients as can be make it no less alive
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for port in [opcua, http, opcua, http] {
            let end = &end;
            scope.spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    drop(TcpStream::connect(("127.0.0.1", port)));
                }
            });
        }
        for _ in 0..4 {
            plants.hear("WATCHDOG=1");
        }
        end.store(true, Ordering::Relaxed);
    });

    plant.signal(libc::SIGKILL);
    assert_eq!(plant.wait_end(), -libc::SIGKILL);
    // nobody is there, and this one is served all the same
    let waiting = std::thread::spawn(move || get(&format!("127.0.0.1:{http}"), "/healthz"));
    let mut plant = plants.start(&arguments);
    plants.hear("READY=1");
    assert_eq!(waiting.join().expect("a client"), Some((200, "ok\n".into())));
    assert_eq!(plants.store.len(), 2, "the same as before: nothing new to keep");
    // another port: the old one is closed, everywhere
    plant.signal(libc::SIGTERM);
    assert_eq!(plant.wait_end(), 0);
    let other = free_port().to_string();
    let plant = plants.start(&[&arguments[..8], &[other.as_str()]].concat());
    plants.hear("FDSTOREREMOVE=1");
    plants.hear("READY=1");
    assert!(TcpStream::connect(("127.0.0.1", http)).is_err());
    assert!(TcpStream::connect(("127.0.0.1", opcua)).is_ok());
    for (mut process, mut manager) in [(plant, plants), (controller, controllers)] {
        // the socket holds few, and nobody has read it for a while
        while manager.next().is_some() {}
        process.signal(libc::SIGTERM);
        manager.hear("STOPPING=1");
        assert_eq!(process.wait_end(), 0);
    }
}
