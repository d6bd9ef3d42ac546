//! From the time a value says it is of (a frame's receive time) to its notification at the client.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use opcua_bench::{number, plant};

use super::Figures;
use super::client::Client;
use super::process::Window;
use super::subscribe::{Monitored, id, items, percentile, publish, source_ns, subscription};

/// Items: each of another message, so that their frames come spread over the cycle.
const ITEMS: usize = 160;

pub fn measure(address: &str, _pki: &Path) -> anyhow::Result<Figures> {
    let plant = plant();
    let mut client = Client::open(address, None)?;
    let (number_of_it, publishing) = subscription(&mut client, number("publishing-ms", 5.0))?;
    let nodes = (0..ITEMS).map(|item| id(plant, item * (plant.busy / ITEMS)));
    let monitored = Monitored { sampling_ms: 0.0, queue: 10 };
    let mut sampling = 0.0_f64;
    for result in items(&mut client, number_of_it, nodes, 0, monitored)? {
        ensure!(result.status_code.is_good(), "CreateMonitoredItems: {}", result.status_code);
        sampling = sampling.max(result.revised_sampling_interval);
    }
    publish(&mut client, Instant::now() + Duration::from_secs(2), |_, _, _| false)?;
    let mut late = Vec::new();
    let window = Window::open();
    let end = Instant::now() + Duration::from_secs_f64(number("seconds", 20.0));
    publish(&mut client, end, |time, _, value| {
        late.push(source_ns(value).map_or(f64::NAN, |source| (time as f64 - source as f64) / 1e6));
        false
    })?;
    let took = window.seconds();
    let used = window.close();
    late.sort_by(f64::total_cmp);
    let mut figures = Figures::from([
        ("publishing interval, ms".into(), publishing),
        ("sampling interval, ms".into(), sampling),
        ("notifications/s".into(), late.len() as f64 / took),
        ("latency p50, ms".into(), percentile(&late, 0.5)),
        ("latency p99, ms".into(), percentile(&late, 0.99)),
        ("latency max, ms".into(), percentile(&late, 1.0)),
    ]);
    figures.extend(used.into_iter().map(|(name, all, _)| (format!("{name} CPU, %"), all / took * 100.0)));
    Ok(figures)
}
