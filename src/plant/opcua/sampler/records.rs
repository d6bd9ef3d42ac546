//! Items with a sampling interval: what has changed in the records that they look at.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use opcua::types::StatusCode;

use crate::plan::{BusIndex, TagIndex};
use crate::plant::View;
use crate::plant::opcua::mapping;
use crate::plant::opcua::subscription::item::Seen;
use crate::plant::opcua::subscription::watched::{Group, Key, Place};
use crate::quality::Causes;
use crate::sample::{self, Sample};
use crate::store::{Record, clock};

/// The causes that hold for each bus at one moment.
#[derive(Default)]
pub struct Around(HashMap<BusIndex, Causes>);

impl Around {
    pub fn of(&mut self, view: &View, bus: BusIndex, now: u64) -> Causes {
        match self.0.entry(bus) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => *free.insert(view.bus_causes(bus, now)),
        }
    }
}

/// Looks at each record that is another than at the last look; `found` gets what each item sees.
pub fn look(view: &View, groups: &mut HashMap<Place, Group>, now: u64, mut found: impl FnMut(Key, Seen)) {
    let mut around = Around::default();
    let server_time = clock::realtime();
    for (place, group) in groups {
        let Some(message) = view.plan.messages.get(place.message) else { continue };
        let index = message.record(place.slot, place.group);
        let causes = around.of(view, message.bus, now);
        let sequence = view.reader.sequence(index);
        let same = sequence == group.sequence && causes == group.causes;
        if same && group.looks.iter().all(|look| view.reader.marks(look.tag).0 == look.marks) {
            continue;
        }
        let (record, causes) = match view.reader.record(index) {
            Some(record) => (record, causes),
            None => (Record::EMPTY, causes.with(crate::quality::Cause::ControllerGone)),
        };
        // a record that changes while it is read is looked at again
        group.sequence = sequence;
        group.causes = causes;
        for look in &mut group.looks {
            let marks = view.reader.marks(look.tag);
            look.marks = marks.0;
            found(look.key, seen(view, look.tag, &record, causes.and(marks.causes()), server_time));
        }
    }
}

/// What a record says about a tag.
pub fn seen(view: &View, tag: TagIndex, record: &Record, causes: Causes, server_time: u64) -> Seen {
    let signal = view.plan.tags[tag].signal;
    let message = &view.plan.messages[view.plan.tags[tag].message].message;
    let sample: Sample = sample::decode(message, signal, record, causes);
    let status: StatusCode = mapping::status(sample.causes);
    Seen {
        value: mapping::value(&message.signals[signal], &sample),
        status,
        source_time: sample.source_time,
        server_time,
    }
}
