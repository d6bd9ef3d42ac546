//! One look at whatever a monitored item is about, for the first value and for those that come by reading.

use opcua::types::{AttributeId, StatusCode};

use super::item::Seen;
use super::items::place;
use crate::plant::opcua::sampler;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::space::range::Ranges;
use crate::plant::opcua::versions::Versions;
use crate::store::clock;

/// Looks once.
pub fn look(
    scene: &Scene,
    node: Node,
    attribute: AttributeId,
    range: Option<&Ranges>,
    user: &User,
    versions: &mut Versions,
) -> Seen {
    let server_time = clock::realtime();
    // another user may have come since, or another plan
    if !scene.space.sees(user, node) || attribute == AttributeId::Value && !scene.space.may_read(user, node) {
        let status = StatusCode::BadUserAccessDenied;
        return Seen { value: None, status, source_time: 0, server_time };
    }
    if let Some((place, tag)) = place(scene, node, attribute, range.unwrap_or(&Ranges::default())) {
        // with its time to the nanosecond, which DateTime has not: so frames that it holds are known again
        let (record, causes) = scene.view.record(place.message, place.slot, place.group, clock::monotonic());
        let marks = scene.view.reader.marks(tag).causes();
        return sampler::seen(&scene.view, tag, &record, causes.and(marks), server_time);
    }
    let data = match node {
        Node::Version(part) if attribute == AttributeId::Value => versions.of(scene, part, user),
        _ => scene.attribute(node, attribute, user, clock::monotonic()),
    };
    let data = data.and_then(|mut data| {
        if let Some(range) = range.filter(|range| !range.is_empty())
            && let Some(value) = data.value.take()
        {
            data.value = Some(range.of(value)?);
        }
        Ok(data)
    });
    match data {
        Ok(data) => {
            let nanoseconds = |time: opcua::types::DateTime| time.as_chrono().timestamp_nanos_opt();
            let source = data.source_timestamp.and_then(nanoseconds).and_then(|time| u64::try_from(time).ok());
            let source_time = if attribute == AttributeId::Value { source.unwrap_or(0) } else { 0 };
            Seen { value: data.value, status: data.status.unwrap_or(StatusCode::Good), source_time, server_time }
        }
        Err(status) => Seen { value: None, status, source_time: 0, server_time },
    }
}

/// What is not there any more.
pub fn gone() -> Seen {
    Seen { value: None, status: StatusCode::BadNodeIdUnknown, source_time: 0, server_time: clock::realtime() }
}
