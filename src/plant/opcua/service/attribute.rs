//! Read and Write (OPC 10000-4, 5.11).

use std::sync::Arc;

use opcua::types::{AttributeId, NumericRange, StatusCode, TimestampsToReturn};

use super::lease::Commander;
use super::{Ask, Service, count};
use crate::plant::opcua::audit;
use crate::plant::opcua::channel::Channel;
use crate::plant::opcua::reading::Reading;
use crate::plant::opcua::scene::Encoding;
use crate::plant::opcua::server::Server;
use crate::plant::opcua::session::{Session, User};
use crate::plant::opcua::wire::{NodeRef, Reader, Writer, response};
use crate::plant::opcua::writing::{self, Asked};
use crate::store::clock;

/// TimestampsToReturn, where it is one that Read may be given.
pub fn timestamps(value: u32) -> Result<TimestampsToReturn, StatusCode> {
    match value {
        0 => Ok(TimestampsToReturn::Source),
        1 => Ok(TimestampsToReturn::Server),
        2 => Ok(TimestampsToReturn::Both),
        3 => Ok(TimestampsToReturn::Neither),
        _ => Err(StatusCode::BadTimestampsToReturnInvalid),
    }
}

/// The values as they are now: there is no older copy that `maxAge` could choose.
pub fn read(ask: &Ask<'_>, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    let max_age = reader.f64()?;
    let timestamps = timestamps(reader.u32()?);
    let nodes = count(reader, 8, ask.server.limits.nodes_per_read)?;
    if max_age.is_nan() || max_age < 0.0 {
        return Err(StatusCode::BadMaxAgeInvalid);
    }
    let timestamps = timestamps?;
    let scene = ask.server.scenes.now();
    let mut reading = Reading::new(&scene, &ask.user, timestamps, clock::monotonic());
    let mut writer = ask.response(Service::Read);
    writer.count(nodes);
    for _ in 0..nodes {
        let id = reader.node_id()?;
        let attribute = reader.u32()?;
        let range = reader.string()?.unwrap_or_default();
        let encoding = Encoding::of(reader.name()?);
        match scene.seen(id, &ask.user) {
            Some(node) => reading.read(node, attribute, range, encoding, &mut writer),
            None => writer.bad_value(unknown(id)),
        }
        if writer.len() > ask.server.limits.message_bytes {
            return Err(StatusCode::BadResponseTooLarge);
        }
    }
    writer.i32(-1);
    reading.denied.tell(ask, Service::Read);
    Ok(writer)
}

/// Why there is no such node.
pub fn unknown(id: NodeRef<'_>) -> StatusCode {
    if id.is_null() { StatusCode::BadNodeIdInvalid } else { StatusCode::BadNodeIdUnknown }
}

/// What a Write asks for, out of its request.
pub fn asked(server: &Server, reader: &mut Reader<'_>) -> Result<Vec<Asked>, StatusCode> {
    let nodes = count(reader, 8, server.limits.nodes_per_write)?;
    (0..nodes)
        .map(|_| {
            let node_id = reader.node_id()?.to_owned();
            let attribute = AttributeId::from_u32(reader.u32()?).ok();
            let range = match reader.string()?.unwrap_or_default() {
                "" => Ok(NumericRange::None),
                text => text.parse().map_err(|_| StatusCode::BadIndexRangeInvalid),
            };
            Ok(Asked { node_id, attribute, range, value: reader.data_value()? })
        })
        .collect()
}

/// Hands the values to the controller, and says what became of each.
pub async fn write(
    server: &Server,
    channel: &Channel,
    session: &Arc<Session>,
    user: &User,
    handle: u32,
    asked: Vec<Asked>,
) -> Writer {
    let by = Commander { server, session, user, origin: super::origin(channel, user) };
    let before = audit::values(server, user, &asked);
    let results = writing::write(&by, &asked).await;
    audit::written(server, session, user, channel, &asked, &before, &results);
    let mut writer = response(Service::Write.response(), handle, StatusCode::Good);
    writer.count(results.len());
    results.into_iter().for_each(|status| writer.status(status));
    writer.i32(-1);
    writer
}
