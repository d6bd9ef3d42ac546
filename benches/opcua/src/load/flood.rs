//! Far more monitored items than a server should have: served or refused, but never a stall, while another client reads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;
use opcua::core::ResponseMessage;
use opcua::types::*;
use opcua_bench::{number, plant};

use super::Figures;
use super::client::{Client, Refused};
use super::process;
use super::subscribe::{Monitored, id, items, publish, subscription, value_of};

/// Items of a call.
const BATCH: usize = 1000;
/// Between two reads of the other client.
const PAUSE: Duration = Duration::from_millis(10);

pub fn measure(address: &str, _pki: &Path) -> anyhow::Result<Figures> {
    let wanted = number("flood", 250_000.0) as usize;
    let watching: Vec<(String, f64)> =
        process::watched().into_iter().map(|(name, pid)| (name, process::pss(pid))).collect();
    let other = Other::start(address)?;
    let begin = Instant::now();
    let mut asked = Asked::default();
    let mut clients = Vec::new();
    let refused = loop {
        if asked.served >= wanted {
            break None;
        }
        let mut client = match Client::open(address, None) {
            Ok(client) => client,
            Err(error) => break Some(format!("session: {error}")),
        };
        let before = asked.served;
        let refusal = asked.fill(&mut client, wanted)?;
        clients.push(client);
        if asked.served == before && refusal.is_some() {
            break refusal;
        }
        if let Some(refusal) = refusal {
            eprintln!("load: {} items, then {refusal}", asked.served);
        }
    };
    if let Some(refusal) = &refused {
        eprintln!("load: refused after {} items: {refusal}", asked.served);
    }
    let (created, slowest_while_created) = (begin.elapsed().as_secs_f64(), other.slowest());
    // the first value of each
    let begin = Instant::now();
    let (mut got, mut heard) = (0, vec![false; asked.served]);
    while got < asked.served && begin.elapsed() < Duration::from_secs(60) {
        for client in &mut clients {
            publish(client, Instant::now() + Duration::from_millis(100), |_, handle, _| {
                got += usize::from(!std::mem::replace(&mut heard[handle], true));
                false
            })?;
        }
    }
    let mut figures = Figures::from([
        ("items asked for".into(), wanted as f64),
        ("items served".into(), asked.served as f64),
        ("sessions".into(), clients.len() as f64),
        ("until served or refused, s".into(), created),
        ("slowest answer, ms".into(), asked.slowest.as_secs_f64() * 1e3),
        ("the other client's slowest read, creating, ms".into(), slowest_while_created * 1e3),
        ("until every first value, s".into(), begin.elapsed().as_secs_f64()),
        ("first values".into(), got as f64),
    ]);
    for ((name, pid), (_, before)) in process::watched().into_iter().zip(&watching) {
        figures.push((
            format!("{name} PSS a served item, B"),
            (process::pss(pid) - before) * 1048576.0 / asked.served as f64,
        ));
    }
    let begin = Instant::now();
    for client in clients {
        client.close(true)?;
    }
    figures.push(("deleting all of it, ms".into(), begin.elapsed().as_secs_f64() * 1e3));
    let begin = Instant::now();
    Client::open(address, None)?.close(true)?;
    figures.push(("a fresh client after it, ms".into(), begin.elapsed().as_secs_f64() * 1e3));
    let (slowest, reads) = other.end()?;
    figures.push(("the other client's slowest read, ms".into(), slowest * 1e3));
    figures.push(("the other client's reads".into(), reads as f64));
    std::thread::sleep(Duration::from_secs(2));
    for ((name, pid), (_, before)) in process::watched().into_iter().zip(&watching) {
        figures.push((format!("{name} PSS more than before, MB"), process::pss(pid) - before));
    }
    Ok(figures)
}

#[derive(Default)]
struct Asked {
    served: usize,
    slowest: Duration,
}

impl Asked {
    /// As many items as a session may have; gives why there are not more.
    fn fill(&mut self, client: &mut Client, wanted: usize) -> anyhow::Result<Option<String>> {
        let plant = plant();
        loop {
            let begin = Instant::now();
            let created = subscription(client, 1000.0);
            self.slowest = self.slowest.max(begin.elapsed());
            let number_of_it = match created {
                Ok((number_of_it, _)) => number_of_it,
                Err(error) if error.is::<Refused>() => return Ok(Some(format!("subscription: {error}"))),
                Err(error) => return Err(error),
            };
            let mut of_it = 0;
            let refusal = loop {
                if self.served >= wanted {
                    return Ok(None);
                }
                let begin = Instant::now();
                let count = BATCH.min(wanted - self.served);
                let nodes = (self.served..self.served + count).map(|item| id(plant, item % plant.signals));
                let monitored = Monitored { sampling_ms: 1000.0, queue: 1 };
                let results = items(client, number_of_it, nodes, self.served, monitored);
                self.slowest = self.slowest.max(begin.elapsed());
                match results {
                    Ok(results) => {
                        let good = results.iter().filter(|result| result.status_code.is_good()).count();
                        (self.served, of_it) = (self.served + good, of_it + good);
                        if let Some(bad) = results.iter().find(|result| !result.status_code.is_good()) {
                            break bad.status_code.to_string();
                        }
                    }
                    Err(error) if error.is::<Refused>() => break error.to_string(),
                    Err(error) => return Err(error),
                }
            };
            if of_it == 0 {
                return Ok(Some(format!("item: {refusal}")));
            }
        }
    }
}

/// A client that only reads.
struct Other {
    stop: Arc<AtomicBool>,
    slowest: Arc<std::sync::atomic::AtomicU64>,
    thread: JoinHandle<anyhow::Result<u64>>,
}

impl Other {
    fn start(address: &str) -> anyhow::Result<Other> {
        let mut client = Client::open(address, None)?;
        let (stop, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::atomic::AtomicU64::new(0)));
        let (stopped, worst) = (stop.clone(), slowest.clone());
        let node = value_of(id(plant(), 0));
        let thread = std::thread::spawn(move || {
            let mut reads = 0;
            while !stopped.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let request = ReadRequest {
                    request_header: client.header(),
                    max_age: 0.0,
                    timestamps_to_return: TimestampsToReturn::Both,
                    nodes_to_read: Some(vec![node.clone()]),
                };
                let ResponseMessage::Read(_) = client.call(request)? else { bail!("another answer") };
                worst.fetch_max(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
                reads += 1;
                std::thread::sleep(PAUSE);
            }
            client.close(true)?;
            Ok(reads)
        });
        Ok(Other { stop, slowest, thread })
    }

    /// Seconds.
    fn slowest(&self) -> f64 {
        self.slowest.load(Ordering::Relaxed) as f64 / 1e9
    }

    fn end(self) -> anyhow::Result<(f64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let slowest = self.slowest.clone();
        let reads = self.thread.join().map_err(|_| anyhow::anyhow!("the other client"))??;
        Ok((slowest.load(Ordering::Relaxed) as f64 / 1e9, reads))
    }
}
