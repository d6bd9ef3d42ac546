//! Many monitored items whose values all change: processor time, and whether each change is notified.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use opcua_bench::{number, plant};

use super::Figures;
use super::client::Client;
use super::process::Window;
use super::subscribe::{Monitored, id, items, percentile, publish, source_ns, subscription};

/// Items of a call.
const BATCH: usize = 1000;

/// What was heard of an item: how often, and the times of its first and last value.
#[derive(Clone, Copy, Default)]
struct Heard {
    count: u64,
    first: u64,
    last: u64,
    repeated: u64,
}

pub fn measure(address: &str, _pki: &Path) -> anyhow::Result<Figures> {
    let plant = plant();
    let wanted = number("items", plant.busy as f64) as usize;
    let interval = number("interval-ms", 100.0);
    let per_subscription = number("per-subscription", 10_000.0) as usize;
    let seconds = number("seconds", 20.0);
    let period = plant.busy as f64 / number("rate", 20_000.0);
    let mut client = Client::open(address, None)?;
    let begin = Instant::now();
    let (mut id_of_subscription, mut revised) = (0, 0.0);
    for start in (0..wanted).step_by(BATCH) {
        if start % per_subscription == 0 {
            (id_of_subscription, revised) = subscription(&mut client, interval)?;
        }
        let nodes = (start..wanted.min(start + BATCH)).map(|index| id(plant, index));
        let monitored = Monitored { sampling_ms: interval, queue: 1 };
        for result in items(&mut client, id_of_subscription, nodes, start, monitored)? {
            ensure!(result.status_code.is_good(), "CreateMonitoredItems: {}", result.status_code);
            ensure!(result.revised_sampling_interval <= interval, "sampled at {}", result.revised_sampling_interval);
        }
    }
    let created = begin.elapsed().as_secs_f64();
    // until everything is as usual
    publish(&mut client, Instant::now() + Duration::from_secs(3), |_, _, _| false)?;

    let mut heard = vec![Heard::default(); wanted];
    let mut late = Vec::new();
    let mut bad = 0;
    let window = Window::open();
    publish(&mut client, Instant::now() + Duration::from_secs_f64(seconds), |time, handle, value| {
        let source = source_ns(value).unwrap_or(0);
        bad += u64::from(source == 0 || value.status.is_some_and(|status| !status.is_good()));
        let item = &mut heard[handle];
        item.repeated += u64::from(item.count > 0 && source <= item.last);
        if item.count == 0 {
            item.first = source;
        }
        item.count += 1;
        item.last = source;
        late.push(time.saturating_sub(source) as f64 / 1e6);
        false
    })?;
    let took = window.seconds();
    let used = window.close();

    let count: u64 = heard.iter().map(|item| item.count).sum();
    let lost: f64 = heard
        .iter()
        .map(|item| match item.count {
            0 => (took / period).floor(),
            count => ((item.last - item.first) as f64 / 1e9 / period).round() + 1.0 - count as f64,
        })
        .sum();
    late.sort_by(f64::total_cmp);
    let mut figures = Figures::from([
        ("creating the items, s".into(), created),
        ("publishing interval, ms".into(), revised),
        ("notifications/s".into(), count as f64 / took),
        ("changes lost".into(), lost),
        ("repeated".into(), heard.iter().map(|item| item.repeated).sum::<u64>() as f64),
        ("not good".into(), bad as f64),
        ("change to notification p50, ms".into(), percentile(&late, 0.5)),
        ("change to notification p99, ms".into(), percentile(&late, 0.99)),
    ]);
    for (name, all, change) in used {
        figures.push((format!("{name} CPU, %"), all / took * 100.0));
        figures.push((format!("{name} CPU without changing the values, %"), (all - change) / took * 100.0));
        figures.push((format!("{name} CPU a notification, us"), all * 1e6 / count as f64));
    }
    Ok(figures)
}
