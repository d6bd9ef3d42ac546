//! What the server holds: after its start, and after a client has browsed all of it.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use opcua::core::ResponseMessage;
use opcua::types::*;
use opcua_bench::plant;

use super::Figures;
use super::client::Client;
use super::process;
use super::subscribe::{id, value_of};

/// Nodes of a Browse.
const BATCH: usize = 500;

pub fn measure(address: &str, _pki: &Path) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let pss = |figures: &mut Figures, when: &str| {
        for (name, pid) in process::watched() {
            figures.push((format!("{name} PSS {when}, MB"), process::pss(pid)));
        }
    };
    std::thread::sleep(Duration::from_secs(3));
    pss(&mut figures, "after start");
    let begin = Instant::now();
    let mut client = Client::open(address, None)?;
    let nodes = browse(&mut client)?;
    figures.push(("nodes browsed".into(), nodes as f64));
    figures.push(("browse, s".into(), begin.elapsed().as_secs_f64()));
    std::thread::sleep(Duration::from_millis(500));
    pss(&mut figures, "after browse");
    Ok(figures)
}

/// Waits until every signal has a good value.
pub fn wait(address: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let plant = plant();
    loop {
        let ready = || -> anyhow::Result<()> {
            let mut client = Client::open(address, None)?;
            for begin in (0..plant.signals).step_by(1000) {
                let nodes = (begin..plant.signals.min(begin + 1000)).map(|index| value_of(id(plant, index)));
                let request = ReadRequest {
                    request_header: client.header(),
                    max_age: 0.0,
                    timestamps_to_return: TimestampsToReturn::Both,
                    nodes_to_read: Some(nodes.collect()),
                };
                let ResponseMessage::Read(answer) = client.call(request)? else { bail!("another answer") };
                let values = answer.results.unwrap_or_default();
                let bad = values.iter().position(|value| value.status.is_some_and(|status| !status.is_good()));
                if let Some(bad) = bad {
                    bail!("{} has {:?}", id(plant, begin + bad), values[bad].status);
                }
            }
            client.close(true)
        };
        match ready() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Everything below Objects; gives the number of nodes.
fn browse(client: &mut Client) -> anyhow::Result<usize> {
    let mut seen = HashSet::from([NodeId::from(ObjectId::ObjectsFolder)]);
    let mut open: Vec<NodeId> = seen.iter().cloned().collect();
    while !open.is_empty() {
        let batch = open.split_off(open.len().saturating_sub(BATCH));
        let describe = |node_id: NodeId| BrowseDescription {
            node_id,
            browse_direction: BrowseDirection::Forward,
            reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
            include_subtypes: true,
            node_class_mask: 0,
            result_mask: BrowseResultMask::All as u32,
        };
        let request = BrowseRequest {
            request_header: client.header(),
            view: ViewDescription::default(),
            requested_max_references_per_node: 1000,
            nodes_to_browse: Some(batch.into_iter().map(describe).collect()),
        };
        let ResponseMessage::Browse(answer) = client.call(request)? else { bail!("another answer") };
        let mut results = answer.results.unwrap_or_default();
        while !results.is_empty() {
            let mut points = Vec::new();
            for result in results {
                ensure!(result.status_code.is_good(), "Browse: {}", result.status_code);
                for reference in result.references.unwrap_or_default() {
                    let node = reference.node_id.node_id;
                    if seen.insert(node.clone()) {
                        open.push(node);
                    }
                }
                if !result.continuation_point.is_null_or_empty() {
                    points.push(result.continuation_point);
                }
            }
            if points.is_empty() {
                break;
            }
            let request = BrowseNextRequest {
                request_header: client.header(),
                release_continuation_points: false,
                continuation_points: Some(points),
            };
            let ResponseMessage::BrowseNext(answer) = client.call(request)? else { bail!("another answer") };
            results = answer.results.unwrap_or_default();
        }
    }
    Ok(seen.len())
}
