//! Sessions, subscriptions and items that come and go, for long: is memory flat, and what a notification costs?

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use opcua::core::ResponseMessage;
use opcua::types::*;
use opcua_bench::{number, plant};

use super::Figures;
use super::client::Client;
use super::process::{self, Window};
use super::subscribe::{Monitored, id, items, publish, subscription};

/// Items of the client that stays.
const STAYS: usize = 1000;
/// Subscriptions of a client that goes, and items of each.
const SUBSCRIPTIONS: usize = 2;
const ITEMS: usize = 500;
/// The shortest time between two that come.
const PACE: Duration = Duration::from_millis(100);
/// Session timeout of those that come and go: some end by it.
const TIMEOUT_MS: f64 = 10_000.0;
/// How long nobody comes or goes, once a turn, to measure the cost.
const QUIET: Duration = Duration::from_secs(10);

/// One turn: memory and cost of each process, cycles and failures so far.
struct Turn {
    pss: Vec<(String, f64)>,
    micros: Vec<(String, f64)>,
}

pub fn measure(address: &str, pki: &Path) -> anyhow::Result<Figures> {
    let minutes = number("minutes", 60.0);
    let turn = Duration::from_secs_f64(number("turn-seconds", 60.0).min(minutes * 60.0 / 3.0));
    let begin = Instant::now();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let stays = {
        let (address, stop, count) = (address.to_owned(), stop.clone(), count.clone());
        std::thread::spawn(move || stay(&address, &stop, &count))
    };
    let (mut turns, mut cycles, mut reconnects) = (Vec::new(), 0_usize, 0_usize);
    while begin.elapsed().as_secs_f64() < minutes * 60.0 {
        let end = Instant::now() + turn.saturating_sub(QUIET);
        while Instant::now() < end {
            let next = Instant::now() + PACE;
            if let Err(error) = come_and_go(address, pki, cycles) {
                // a server may start its layer anew; more than now and then is a failure
                reconnects += 1;
                eprintln!("load: cycle {cycles}: {error:#}");
                std::thread::sleep(Duration::from_millis(200));
            }
            cycles += 1;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        std::thread::sleep(Duration::from_secs(2));
        let (window, before) = (Window::open(), count.load(Ordering::Relaxed));
        std::thread::sleep(QUIET - Duration::from_secs(2));
        let notifications = (count.load(Ordering::Relaxed) - before) as f64;
        let micros = window.close().into_iter().map(|(name, all, _)| (name, all * 1e6 / notifications)).collect();
        let pss = process::watched().into_iter().map(|(name, pid)| (name, process::pss(pid))).collect();
        let this = Turn { pss, micros };
        eprintln!(
            "load: {:.1} min, {cycles} cycles, {reconnects} failed, PSS {:.1?} MB, {:.2?} us a notification ({notifications})",
            begin.elapsed().as_secs_f64() / 60.0,
            this.pss.iter().map(|(_, mb)| *mb).collect::<Vec<_>>(),
            this.micros.iter().map(|(_, micros)| *micros).collect::<Vec<_>>(),
        );
        turns.push(this);
    }
    stop.store(true, Ordering::Relaxed);
    let failures = stays.join().map_err(|_| anyhow::anyhow!("the client that stays"))??;
    let mut figures = Figures::from([
        ("minutes".into(), begin.elapsed().as_secs_f64() / 60.0),
        ("cycles".into(), cycles as f64),
        ("cycles that failed".into(), reconnects as f64),
        ("times the client that stays was cut off".into(), failures as f64),
    ]);
    let third = turns.len().div_ceil(3);
    let mean = |turns: &[Turn], at: usize, of: fn(&Turn) -> &Vec<(String, f64)>| {
        turns.iter().map(|turn| of(turn)[at].1).sum::<f64>() / turns.len() as f64
    };
    for (at, (name, _)) in process::watched().into_iter().enumerate() {
        let (early, late) = (&turns[..third], &turns[turns.len() - third..]);
        figures.push((format!("{name} PSS first turn, MB"), turns[0].pss[at].1));
        figures.push((format!("{name} PSS first third, MB"), mean(early, at, |turn| &turn.pss)));
        figures.push((format!("{name} PSS last third, MB"), mean(late, at, |turn| &turn.pss)));
        figures.push((format!("{name} us a notification, first third"), mean(early, at, |turn| &turn.micros)));
        figures.push((format!("{name} us a notification, last third"), mean(late, at, |turn| &turn.micros)));
    }
    Ok(figures)
}

/// One client's whole life; it ends in another way each time.
fn come_and_go(address: &str, pki: &Path, cycle: usize) -> anyhow::Result<()> {
    let plant = plant();
    // a handshake costs more than all the rest: some of them
    let mut client = Client::open_for(address, (cycle % 10 == 9).then_some(pki), TIMEOUT_MS)?;
    let mut subscriptions = Vec::new();
    let mut created = Vec::new();
    for at in 0..SUBSCRIPTIONS {
        let (number_of_it, _) = subscription(&mut client, 100.0)?;
        let first = (cycle * 17 + at * ITEMS) % (plant.busy - ITEMS);
        let nodes = (first..first + ITEMS).map(|index| id(plant, index));
        let monitored = Monitored { sampling_ms: 100.0, queue: 10 };
        for result in items(&mut client, number_of_it, nodes, at * ITEMS, monitored)? {
            ensure!(result.status_code.is_good(), "CreateMonitoredItems: {}", result.status_code);
            created.push((number_of_it, result.monitored_item_id));
        }
        subscriptions.push(number_of_it);
    }
    let (mut got, mut heard) = (0, vec![false; SUBSCRIPTIONS * ITEMS]);
    publish(&mut client, Instant::now() + Duration::from_secs(10), |_, handle, _| {
        got += usize::from(!std::mem::replace(&mut heard[handle], true));
        got == SUBSCRIPTIONS * ITEMS
    })?;
    ensure!(got == SUBSCRIPTIONS * ITEMS, "{got} first values in 10 s");
    match cycle % 5 {
        // items, then the rest with the session
        0 => {
            for number_of_it in subscriptions {
                let of_it = created.iter().filter(|(of, _)| *of == number_of_it);
                let request = DeleteMonitoredItemsRequest {
                    request_header: client.header(),
                    subscription_id: number_of_it,
                    monitored_item_ids: Some(of_it.map(|(_, item)| *item).collect()),
                };
                let ResponseMessage::DeleteMonitoredItems(_) = client.call(request)? else { bail!("another answer") };
            }
            client.close(true)
        }
        // subscriptions, then the session
        1 => {
            let request =
                DeleteSubscriptionsRequest { request_header: client.header(), subscription_ids: Some(subscriptions) };
            let ResponseMessage::DeleteSubscriptions(_) = client.call(request)? else { bail!("another answer") };
            client.close(true)
        }
        // all with the session
        2 | 3 => client.close(true),
        // gone without a word: its session and subscriptions end by their timeouts
        _ => {
            for subscription_id in subscriptions {
                let request = ModifySubscriptionRequest {
                    request_header: client.header(),
                    subscription_id,
                    requested_publishing_interval: 100.0,
                    requested_lifetime_count: 30,
                    requested_max_keep_alive_count: 10,
                    max_notifications_per_publish: 0,
                    priority: 0,
                };
                let ResponseMessage::ModifySubscription(_) = client.call(request)? else { bail!("another answer") };
            }
            Ok(())
        }
    }
}

/// A client that stays, and counts its notifications; gives how often it had to come again.
fn stay(address: &str, stop: &AtomicBool, count: &AtomicU64) -> anyhow::Result<usize> {
    let plant = plant();
    let mut failures = 0;
    while !stop.load(Ordering::Relaxed) {
        let life = || -> anyhow::Result<()> {
            let mut client = Client::open(address, None)?;
            let (number_of_it, _) = subscription(&mut client, 100.0)?;
            let nodes = (0..STAYS).map(|index| id(plant, index));
            items(&mut client, number_of_it, nodes, 0, Monitored { sampling_ms: 100.0, queue: 1 })?;
            while !stop.load(Ordering::Relaxed) {
                client.renew()?;
                publish(&mut client, Instant::now() + Duration::from_secs(1), |_, _, _| {
                    count.fetch_add(1, Ordering::Relaxed);
                    false
                })?;
            }
            client.close(true)
        };
        if let Err(error) = life() {
            failures += 1;
            eprintln!("load: the client that stays: {error:#}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    Ok(failures)
}
