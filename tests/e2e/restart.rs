//! The plant process ends again and again while clients come: none is refused. And what a service manager sees of both
//! processes: ready, alive, listeners to keep.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::canvoy::{Canvoy, get};
use crate::harness::{LIMIT, poll, signal};

crate::tests! {
    Nothing: nobody_is_refused_while_the_plant_restarts;
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
