//! Bulk read: values a second, without security and encrypted, so many values a request and so many requests at a time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use opcua::core::{RequestMessage, ResponseMessage};
use opcua::types::*;
use opcua_bench::{argument, number, plant};

use super::Figures;
use super::client::{Client, Refused};
use super::process::{self, Window};
use super::subscribe::{id, value_of};

/// Of so many answers one is decoded and looked at; the others are only counted, so that the client is not what is measured.
const WHOLE: usize = 25;

pub fn measure(address: &str, pki: &Path) -> anyhow::Result<Figures> {
    let seconds = Duration::from_secs_f64(number("read-seconds", 2.0));
    let list = |name: &str, default: &str| -> Vec<usize> {
        let text = argument(name).unwrap_or_else(|| default.to_owned());
        text.split(',').filter_map(|number| number.parse().ok()).collect()
    };
    let mut figures = Figures::new();
    let only = argument("security");
    for (security, pki) in [("None", None), ("Basic256Sha256", Some(pki))] {
        if only.as_ref().is_some_and(|only| only != security) {
            continue;
        }
        for size in list("sizes", "1000,5000,10000") {
            for depth in list("depths", "1,4") {
                let name = format!("{security}, {size} a request, {depth} at a time");
                let mut client = Client::open(address, pki)?;
                match run(&mut client, size, depth, seconds) {
                    Ok((rate, used)) => {
                        figures.push((format!("{name}: values/s"), rate));
                        // what a controller does meanwhile has nothing to do with it
                        for (process, micros) in used.iter().filter(|(process, _)| process != "controller") {
                            figures.push((format!("{name}: {process} us a value"), *micros));
                        }
                    }
                    Err(error) if error.is::<Refused>() => eprintln!("load: {name}: {error}"),
                    Err(error) => return Err(error).context(name),
                }
            }
        }
    }
    Ok(figures)
}

fn run(client: &mut Client, size: usize, depth: usize, time: Duration) -> anyhow::Result<(f64, Vec<(String, f64)>)> {
    let plant = plant();
    // over all signals in turn
    let mut requests: Vec<RequestMessage> = (0..(plant.signals / size).max(1))
        .map(|part| {
            let nodes = (0..size).map(|at| value_of(id(plant, (part * size + at) % plant.signals)));
            ReadRequest {
                request_header: RequestHeader::default(),
                max_age: 0.0,
                timestamps_to_return: TimestampsToReturn::Both,
                nodes_to_read: Some(nodes.collect()),
            }
            .into()
        })
        .collect();
    let (mut sent, mut received) = (0, 0);
    let mut ask = |client: &mut Client| -> anyhow::Result<()> {
        let count = requests.len();
        let request = &mut requests[sent % count];
        if let RequestMessage::Read(read) = request {
            read.request_header = client.header();
        }
        sent += 1;
        client.send(request).map(|_| ())
    };
    let check = |answer: ResponseMessage| -> anyhow::Result<()> {
        let status = answer.response_header().service_result;
        ensure!(status.is_good(), Refused(status));
        let ResponseMessage::Read(answer) = answer else { anyhow::bail!("another answer") };
        let values = answer.results.unwrap_or_default();
        ensure!(values.len() == size, "{} values instead of {size}", values.len());
        let bad = values.iter().filter(|value| value.value.is_none() || value.status.is_some_and(|s| !s.is_good()));
        ensure!(bad.count() == 0, "values that are not good");
        Ok(())
    };
    // one before the clock runs
    ask(client)?;
    check(client.receive_raw(true)?.answer.context("no answer")?)?;
    let (window, own) = (Window::open(), process::cpu(std::process::id()).0);
    let begin = Instant::now();
    for _ in 0..depth {
        ask(client)?;
    }
    while begin.elapsed() < time {
        let raw = client.receive_raw(received % WHOLE == WHOLE - 1)?;
        match raw.answer {
            Some(answer) => check(answer)?,
            // a Double and its status or times take more
            None => ensure!(raw.bytes > size * 9, "an answer of {} bytes for {size} values", raw.bytes),
        }
        received += 1;
        ask(client)?;
    }
    let took = window.seconds();
    let values = (received * size) as f64;
    let own = process::cpu(std::process::id()).0 - own;
    let mut used: Vec<_> = window.close().into_iter().map(|(name, all, _)| (name, all * 1e6 / values)).collect();
    used.push(("load client".into(), own * 1e6 / values));
    for _ in 0..depth {
        client.receive_raw(false)?;
    }
    Ok((values / took, used))
}
