//! The frames that the store's ring still holds, as samples of one signal: the last seconds of its history.

use crate::can::FrameId;
use crate::dbc;
use crate::plan::{Direction, TagIndex};
use crate::plant::View;
use crate::plant::opcua::space::Source;
use crate::quality::{Cause, Causes};
use crate::sample::{self, Sample};
use crate::store::clock;
use crate::store::record::Record;
use crate::store::ring::{Entry, Next};

/// Whether a frame is one of this message; `source`: of J1939, whose.
pub fn is_of(message: &dbc::Message, source: Option<u8>, id: FrameId) -> bool {
    let Some(pgn) = message.pgn else { return message.id == id };
    let from = source.or(message.source_address);
    id.is_extended() && id.pgn() == pgn && from.is_none_or(|address| address == id.source_address())
}

/// What a frame says about a signal; `None` where it has not got it.
fn sample(message: &dbc::Message, signal: usize, entry: &Entry, outer: Causes) -> Option<Sample> {
    let payload = entry.frame.payload();
    if entry.frame.remote || !message.group_active(message.signals[signal].group, payload) {
        return None;
    }
    let mut record =
        Record { causes: Causes::NONE, length: payload.len(), source_time: entry.time, count: 1, ..Record::EMPTY };
    record.payload[..payload.len()].copy_from_slice(payload);
    Some(sample::decode(message, signal, &record, outer)).filter(|sample| sample.raw.is_some())
}

/// All that is left of a signal, oldest first. Costs a look at each frame of the ring.
pub fn values(view: &View, tag: TagIndex, source: Option<Source>) -> Vec<Sample> {
    let tag = &view.plan.tags[tag];
    let message = &view.plan.messages[tag.message];
    let sent = matches!(message.direction, Direction::Output(_));
    let simulated = view.bus_causes(message.bus, clock::monotonic()).contains(Cause::Simulated);
    let outer = if simulated { Causes::of(Cause::Simulated) } else { Causes::NONE };
    let address = source.map(|source| source.address);
    let mut position = view.reader.oldest();
    let end = view.reader.follow();
    let mut found = Vec::new();
    while position != end {
        match view.reader.next(&mut position) {
            Next::Entry(entry) => {
                let ours = entry.bus == message.bus && entry.sent == sent;
                if ours && is_of(&message.message, address, entry.frame.id) {
                    found.extend(sample(&message.message, tag.signal, &entry, outer));
                }
            }
            // what is overwritten while it is read was the oldest
            Next::Lost(_) => found.clear(),
            Next::Empty => break,
        }
    }
    found
}
