//! Items without a sampling interval: every frame of their messages, out of the store's ring.

use std::collections::HashMap;

use super::records::{Around, seen};
use crate::can::FrameId;
use crate::plan::{BusIndex, Direction};
use crate::plant::View;
use crate::plant::opcua::subscription::item::Seen;
use crate::plant::opcua::subscription::watched::{Group, Key, Place};
use crate::quality::{Cause, Causes};
use crate::store::ring::{Entry, Next, Position};
use crate::store::{Record, clock};

/// Frames that are looked at in one go: more than half of the ring are lost anyway.
const MOST_FRAMES: usize = 16_384;

/// Which message a frame belongs to: J1939 by its parameter group and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sign {
    Id(BusIndex, FrameId),
    Group(BusIndex, u32, u8),
}

/// Where this reader is, and what it looks for.
#[derive(Default)]
pub struct Frames {
    position: Option<Position>,
    /// The change of what is looked for that `places` holds for.
    known: Option<u64>,
    places: HashMap<Sign, Vec<Place>>,
}

impl Frames {
    /// The plan is another one; the numbers of frames go on.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// Nothing is looked for.
    pub fn stop(&mut self) {
        self.position = None;
        self.known = None;
    }

    /// Reads what was published since the last look. Whether frames were lost before they were read.
    pub fn look(
        &mut self,
        view: &View,
        (changed, groups): (u64, &mut HashMap<Place, Group>),
        now: u64,
        mut found: impl FnMut(Key, Seen),
    ) -> bool {
        if self.known != Some(changed) {
            self.places = places(view, groups);
            self.known = Some(changed);
        }
        // what is too old for an item it does not take
        let mut position = self.position.unwrap_or_else(|| view.reader.oldest());
        let mut around = Around::default();
        let server_time = clock::realtime();
        let mut lost = false;
        for _ in 0..MOST_FRAMES {
            match view.reader.next(&mut position) {
                Next::Empty => break,
                Next::Lost(_) => lost = true,
                Next::Entry(entry) => {
                    for sign in signs(&entry) {
                        let Some(places) = self.places.get(&sign) else { continue };
                        for place in places {
                            let Some(group) = groups.get_mut(place) else { continue };
                            group.newest = entry.time;
                            self::frame(view, (*place, group), &entry, &mut around, (now, server_time), &mut found);
                        }
                    }
                }
            }
        }
        self.position = Some(position);
        for (place, group) in groups {
            record(view, (*place, group), &mut around, (now, server_time), lost, &mut found);
        }
        lost
    }
}

fn signs(entry: &Entry) -> [Sign; 2] {
    let id = entry.frame.id;
    [Sign::Id(entry.bus, id), Sign::Group(entry.bus, id.pgn(), id.source_address())]
}

fn places(view: &View, groups: &HashMap<Place, Group>) -> HashMap<Sign, Vec<Place>> {
    let mut places: HashMap<Sign, Vec<Place>> = HashMap::new();
    for place in groups.keys() {
        let Some(message) = view.plan.messages.get(place.message) else { continue };
        let sign = match (message.message.pgn, message.message.source_address) {
            (None, _) => Some(Sign::Id(message.bus, message.message.id)),
            (Some(pgn), Some(address)) => Some(Sign::Group(message.bus, pgn, address)),
            (Some(pgn), None) => {
                view.source(place.message, place.slot).map(|address| Sign::Group(message.bus, pgn, address))
            }
        };
        if let Some(sign) = sign {
            places.entry(sign).or_default().push(*place);
        }
    }
    places
}

/// What a frame says, with what is wrong with its record now but what a frame takes back.
fn frame(
    view: &View,
    (place, group): (Place, &Group),
    entry: &Entry,
    around: &mut Around,
    (now, server_time): (u64, u64),
    found: &mut impl FnMut(Key, Seen),
) {
    let message = &view.plan.messages[place.message];
    let sent = matches!(message.direction, Direction::Output(_));
    let payload = entry.frame.payload();
    if entry.sent != sent || entry.frame.remote || !message.message.group_active(place.group, payload) {
        return;
    }
    let kept = view.reader.record(message.record(place.slot, place.group));
    let (causes, accepted) = kept.map_or((Causes::NONE, 0), |record| (record.causes, record.source_time));
    let doubted = causes.contains(Cause::Checksum) || causes.contains(Cause::Counter);
    if doubted && entry.time > accepted {
        // its counter or checksum was wrong: the record holds the last good one
        return;
    }
    let taken_back =
        [Cause::NeverReceived, Cause::Late, Cause::BranchNotSeen, Cause::Checksum, Cause::Counter, Cause::Lost];
    let causes = taken_back.into_iter().fold(causes, Causes::without);
    let mut record = Record { causes, length: payload.len(), source_time: entry.time, count: 1, ..Record::EMPTY };
    record.payload[..payload.len()].copy_from_slice(payload);
    let outer = around.of(view, message.bus, now);
    for look in &group.looks {
        let marks = view.reader.marks(look.tag).causes();
        let old = look.fresh && entry.time <= look.since;
        // a force holds another value than the frame
        if !old && !marks.contains(Cause::Forced) {
            found(look.key, seen(view, look.tag, &record, outer.and(marks), server_time));
        }
    }
}

/// What changes without a frame: quality, and forces. A value that is newer than the ring was read comes with the ring.
fn record(
    view: &View,
    (place, group): (Place, &mut Group),
    around: &mut Around,
    (now, server_time): (u64, u64),
    lost: bool,
    found: &mut impl FnMut(Key, Seen),
) {
    let Some(message) = view.plan.messages.get(place.message) else { return };
    let index = message.record(place.slot, place.group);
    let causes = around.of(view, message.bus, now);
    let sequence = view.reader.sequence(index);
    let marked = group.looks.iter().any(|look| look.fresh || view.reader.marks(look.tag).0 != look.marks);
    if sequence == group.sequence && causes == group.causes && !marked && !lost {
        return;
    }
    let Some(record) = view.reader.record(index) else { return };
    // the ring was not read as far as the record: its frames come first, with the next look
    if record.source_time > group.newest && !group.put_off && !lost {
        group.put_off = true;
        return;
    }
    group.put_off = false;
    // a good record brings nothing that the ring has not brought, or will
    let doubted = record.causes != Causes::NONE || causes != group.causes || lost;
    group.sequence = sequence;
    group.causes = causes;
    if !doubted && !marked {
        return;
    }
    for look in &mut group.looks {
        let marks = view.reader.marks(look.tag);
        let marked = std::mem::replace(&mut look.marks, marks.0) != marks.0;
        // what came between its first value and its first look the ring has brought
        let fresh = std::mem::take(&mut look.fresh);
        if if fresh { record.source_time <= look.since } else { doubted || marked } {
            found(look.key, seen(view, look.tag, &record, causes.and(marks.causes()), server_time));
        }
    }
}
