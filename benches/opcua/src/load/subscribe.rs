//! Subscriptions and monitored items, and the notifications that come of them.

use std::time::Instant;

use anyhow::bail;
use opcua::core::ResponseMessage;
use opcua::types::*;
use opcua_bench::{NAMESPACE, Plant};

use super::client::Client;

/// Publish requests a client keeps at the server.
pub const WAITING: usize = 4;

pub fn id(plant: Plant, index: usize) -> NodeId {
    NodeId::new(NAMESPACE, plant.name(index).id())
}

pub fn value_of(node_id: NodeId) -> ReadValueId {
    ReadValueId { node_id, attribute_id: AttributeId::Value as u32, ..ReadValueId::default() }
}

/// Number and publishing interval of a new subscription.
pub fn subscription(client: &mut Client, publishing_ms: f64) -> anyhow::Result<(u32, f64)> {
    let request = CreateSubscriptionRequest {
        request_header: client.header(),
        requested_publishing_interval: publishing_ms,
        requested_lifetime_count: 30_000,
        requested_max_keep_alive_count: 100,
        max_notifications_per_publish: 0,
        publishing_enabled: true,
        priority: 0,
    };
    let ResponseMessage::CreateSubscription(answer) = client.call(request)? else { bail!("another answer") };
    Ok((answer.subscription_id, answer.revised_publishing_interval))
}

/// How items are to be monitored.
#[derive(Clone, Copy)]
pub struct Monitored {
    pub sampling_ms: f64,
    pub queue: u32,
}

/// Adds items, in one call; the handle of the first is `handle`, and so on.
pub fn items(
    client: &mut Client,
    subscription_id: u32,
    nodes: impl Iterator<Item = NodeId>,
    handle: usize,
    monitored: Monitored,
) -> anyhow::Result<Vec<MonitoredItemCreateResult>> {
    let create = |(at, node): (usize, NodeId)| MonitoredItemCreateRequest {
        item_to_monitor: value_of(node),
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: (handle + at) as u32,
            sampling_interval: monitored.sampling_ms,
            filter: ExtensionObject::null(),
            queue_size: monitored.queue,
            discard_oldest: true,
        },
    };
    let request = CreateMonitoredItemsRequest {
        request_header: client.header(),
        subscription_id,
        timestamps_to_return: TimestampsToReturn::Both,
        items_to_create: Some(nodes.enumerate().map(create).collect()),
    };
    let ResponseMessage::CreateMonitoredItems(answer) = client.call(request)? else { bail!("another answer") };
    Ok(answer.results.unwrap_or_default())
}

/// Publishes until `deadline`, or until `take` says that it is enough. `take` is given time of receipt in nanoseconds, handle and value.
pub fn publish(
    client: &mut Client,
    deadline: Instant,
    mut take: impl FnMut(u64, usize, &DataValue) -> bool,
) -> anyhow::Result<()> {
    loop {
        while let Some((time, answer)) = client.published.pop_front() {
            let status = answer.response_header.service_result;
            if !status.is_good() {
                bail!("Publish: {status}");
            }
            let message = &answer.notification_message;
            let mut enough = false;
            for data in message.notification_data.iter().flatten() {
                let Some(changes) = data.inner_as::<DataChangeNotification>() else { continue };
                for item in changes.monitored_items.iter().flatten() {
                    enough |= take(time, item.client_handle as usize, &item.value);
                }
            }
            if message.notification_data.as_ref().is_some_and(|data| !data.is_empty()) {
                client.acknowledge.push(SubscriptionAcknowledgement {
                    subscription_id: answer.subscription_id,
                    sequence_number: message.sequence_number,
                });
            }
            if enough {
                return Ok(());
            }
        }
        while client.waiting < WAITING {
            let acknowledgements = std::mem::take(&mut client.acknowledge);
            let request = PublishRequest {
                request_header: client.header(),
                subscription_acknowledgements: Some(acknowledgements).filter(|all| !all.is_empty()),
            };
            client.send(&request.into())?;
            client.waiting += 1;
        }
        if Instant::now() >= deadline {
            return Ok(());
        }
        let Some((_, time, answer)) = client.receive(Some(deadline))? else { return Ok(()) };
        client.keep(time, answer)?;
    }
}

/// The time a value says it is of, in nanoseconds since 1970.
pub fn source_ns(value: &DataValue) -> Option<u64> {
    let ticks = value.source_timestamp?.checked_ticks() - 116_444_736_000_000_000;
    u64::try_from(ticks).ok().map(|ticks| ticks * 100)
}

/// The `share` (0 to 1) of sorted values lies below this one.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
