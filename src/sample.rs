//! From a record to what a reader may believe: the raw value of a signal, its quality and its time. Both processes use this.

use crate::dbc::{self, Raw};
use crate::plan::{Interface, Plan, TagIndex};
use crate::quality::{Cause, Causes};
use crate::store::layout::{FLAG_SIMULATED, Word};
use crate::store::{Reader, Record, clock};

/// What one tag is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The raw value; held while late, `None` where there never was one.
    pub raw: Option<Raw>,
    /// Engineering value of `raw`.
    pub value: Option<f64>,
    pub causes: Causes,
    /// CLOCK_REALTIME nanoseconds since 1970 of the frame; 0: none, or the clock was not set then ([`clock::known`]).
    pub source_time: u64,
    /// CLOCK_MONOTONIC nanoseconds of the receiving; 0 for none.
    pub received: u64,
    /// Frames so far.
    pub count: u64,
}

impl Sample {
    /// Of something that is not there yet.
    pub const NEVER_RECEIVED: Sample = Sample {
        raw: None,
        value: None,
        causes: Causes::of(Cause::NeverReceived),
        source_time: 0,
        received: 0,
        count: 0,
    };
}

/// Decodes one signal out of its record. `outer`: the causes that hold for the whole bus ([`bus_causes`]) and for the tag
/// ([`Reader::marks`]).
pub fn decode(message: &dbc::Message, signal: usize, record: &Record, outer: Causes) -> Sample {
    let signal = &message.signals[signal];
    let mut causes = record.causes.and(outer);
    let forced = outer.contains(Cause::Forced);
    // a force writes its bits into the record, whether a frame ever came or not
    let empty =
        !forced && (record.causes.contains(Cause::NeverReceived) || record.causes.contains(Cause::BranchNotSeen));
    let raw = if empty { None } else { signal.codec.raw(record.bytes()) };
    if !empty && raw.is_none() {
        // the frame was shorter than the signal needs
        causes = causes.with(Cause::NeverReceived);
    }
    let value = raw.map(|raw| signal.codec.engineering(raw));
    if let (Some(raw), Some(value)) = (raw, value) {
        if signal.not_available(message, raw) {
            causes = causes.with(Cause::NotAvailable);
        } else if !value.is_finite() || !signal.in_range(value) {
            causes = causes.with(Cause::OutOfRange);
        }
    }
    let source_time = clock::known(record.source_time).unwrap_or(0);
    Sample { raw, value, causes, source_time, received: record.received, count: record.count }
}

/// Reads and decodes one tag. `source`: the J1939 slot, 0 for all others; `now`: CLOCK_MONOTONIC nanoseconds.
pub fn read(plan: &Plan, reader: &Reader, tag: TagIndex, source: usize, now: u64) -> Sample {
    let marks = reader.marks(tag).causes();
    let tag = &plan.tags[tag];
    let message = &plan.messages[tag.message];
    let group = message.message.signals[tag.signal].group;
    let outer = bus_causes(plan, reader, message.bus, now).and(marks);
    match reader.record(message.record(source, group)) {
        Some(record) => decode(&message.message, tag.signal, &record, outer),
        // the writer stopped in the middle of this record
        None => decode(&message.message, tag.signal, &Record::EMPTY, outer.with(Cause::ControllerGone)),
    }
}

/// The causes that hold for everything on a bus: state of the bus, heartbeat of the controller, simulation.
pub fn bus_causes(plan: &Plan, reader: &Reader, bus: usize, now: u64) -> Causes {
    let causes = reader.bus_causes(bus, now);
    // only what is on a virtual bus is made up
    if plan.buses[bus].interface == Interface::Virtual || reader.get(Word::Flags) & FLAG_SIMULATED != 0 {
        causes.with(Cause::Simulated)
    } else {
        causes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_came_before_the_clock_was_set_has_no_time() {
        let text = b"BU_: Us\nBO_ 1 M: 8 Us\n SG_ A : 0|8@1+ (1,0) [0|0] \"\" Us\n";
        let message = &dbc::parse("x.dbc", text).0.unwrap().messages[0];
        for (stamp, want) in [(0, 0), (5_000_000_000, 0), (clock::FLOOR - 1, 0), (clock::FLOOR, clock::FLOOR)] {
            let record =
                Record { causes: Causes::NONE, length: 8, source_time: stamp, received: 7, count: 1, ..Record::EMPTY };
            let sample = decode(message, 0, &record, Causes::NONE);
            assert_eq!((sample.source_time, sample.received, sample.value), (want, 7, Some(0.0)));
        }
    }
}
