//! One monitored item: what it looks at, and what of that is news.

use std::time::Duration;

use opcua::types::{AttributeId, DataValue, DateTime, NodeId, NumericRange, StatusCode, Variant};
use tokio::time::Instant;

use crate::plant::opcua::mapping;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::space::{self, FASTEST_MS, Node};
use crate::sample::Sample;

/// Longest interval between two looks.
pub(super) const SLOWEST: Duration = Duration::from_secs(24 * 3600);
/// So many looks hand over the value even if it is not news; the server layer drops what its client has already.
pub(super) const INTRODUCTIONS: u8 = 2;
/// When to look again at what was put off.
pub(super) const AGAIN: Duration = Duration::from_millis(10);
/// Shortest interval between two looks at what only a reload changes.
pub(super) const FIXED: Duration = Duration::from_secs(1);

/// What a client calls a change (OPC 10000-4, 7.22.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// No filter: value and status, but the server layer looks only at the value.
    Unfiltered,
    /// Status only, or value and status.
    Filtered,
    /// Also a new source time.
    Timestamp,
}

impl Trigger {
    /// From the Debug text of the server layer's filter, whose type it keeps to itself. `None` for an event filter.
    pub fn of(filter: &str) -> Option<Trigger> {
        if filter == "None" {
            Some(Trigger::Unfiltered)
        } else if !filter.starts_with("DataChangeFilter") {
            None
        } else if filter.contains("trigger: StatusValueTimestamp") {
            Some(Trigger::Timestamp)
        } else {
            Some(Trigger::Filtered)
        }
    }
}

/// When a value may carry its source time without the server layer changing it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stamps {
    Always,
    /// Sampling interval -1: the server layer would freeze it.
    Never,
    /// After ModifyMonitoredItems: only this far from the last.
    Apart(Duration),
}

/// What the client got last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    value: Option<Variant>,
    status: StatusCode,
    source_time: u64,
    /// With its source time.
    stamped: bool,
}

/// What a monitored item looks at: by name, since a reload moves indices.
#[derive(Clone, Debug)]
pub struct Watched {
    pub id: NodeId,
    pub attribute: AttributeId,
    pub range: NumericRange,
    /// The user may write: what UserAccessLevel says.
    pub may_write: bool,
}

/// What was seen at one look.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) value: Option<Variant>,
    pub(super) status: StatusCode,
    /// CLOCK_REALTIME nanoseconds; 0: none.
    pub(super) source_time: u64,
}

impl Seen {
    pub(super) fn of(value: Option<Variant>, sample: &Sample) -> Seen {
        Seen { value, status: mapping::status(sample.causes), source_time: sample.source_time }
    }

    pub(super) fn bad(status: StatusCode) -> Seen {
        Seen { value: None, status, source_time: 0 }
    }
}

/// One monitored item.
#[derive(Debug)]
pub struct Watch {
    pub(super) watched: Watched,
    /// The node, as it was found in the scene of this number.
    pub(super) node: Option<Node>,
    pub(super) scene: u64,
    pub(super) trigger: Trigger,
    pub(super) stamps: Stamps,
    pub(super) interval: Duration,
    pub(super) due: Instant,
    pub(super) enabled: bool,
    pub(super) introductions: u8,
    /// Status of the initial value, which is all that the server layer has if it did not know the item yet.
    pub(super) first: StatusCode,
    /// How long news have been put off, see [`Watch::puts_off`].
    pub(super) waited: Duration,
    pub(super) last: Option<Sent>,
}

impl Watch {
    pub fn new(watched: Watched, trigger: Trigger) -> Watch {
        Watch {
            watched,
            node: None,
            scene: 0,
            trigger,
            stamps: Stamps::Always,
            interval: SLOWEST,
            due: Instant::now(),
            enabled: true,
            introductions: INTRODUCTIONS,
            first: StatusCode::Good,
            waited: Duration::ZERO,
            last: None,
        }
    }

    /// What the initial value was read from.
    pub fn found(mut self, scene: u64, node: Node) -> Watch {
        (self.scene, self.node) = (scene, Some(node));
        self
    }

    /// Whether the value comes from the store. Everything else changes with the scene only.
    pub(super) fn is_live(&self) -> bool {
        self.watched.attribute == AttributeId::Value && self.node.is_some_and(space::is_live)
    }

    /// Looks at what it is about in this scene; `None` where nothing can have changed. `now`: CLOCK_MONOTONIC nanoseconds.
    pub(super) fn look(&mut self, scene: &Scene, now: u64) -> Option<Seen> {
        let another = self.scene != scene.number;
        if another || self.node.is_none() {
            // without another scene only a new J1939 source makes a node
            self.node = scene.find(&self.watched.id);
            self.scene = scene.number;
        }
        let Some(node) = self.node else { return Some(Seen::bad(StatusCode::BadNodeIdUnknown)) };
        let Watched { attribute, range, may_write, .. } = &self.watched;
        if self.is_live() && !range.has_range() {
            return Some(match scene.value(node, now) {
                Ok((value, Some(sample))) => Seen::of(value, &sample),
                Ok((value, None)) => Seen { value, status: StatusCode::Good, source_time: 0 },
                Err(status) => Seen::bad(status),
            });
        }
        let lost = self.last.as_ref().is_some_and(|last| last.status == StatusCode::BadNodeIdUnknown);
        if !another && !lost && !self.is_live() {
            return None;
        }
        let seen = match scene.attribute(node, *attribute, range, *may_write) {
            Ok(data) => Seen {
                status: data.status.unwrap_or_default(),
                value: data.value,
                source_time: self.last.as_ref().map_or(0, |last| last.source_time),
            },
            Err(status) => Seen::bad(status),
        };
        let news = self.last.as_ref().is_none_or(|last| last.status != seen.status || !same(&last.value, &seen.value));
        news.then_some(seen)
    }

    /// Looks every `milliseconds`; `with_publishing`: the client asked for -1.
    pub fn every(mut self, milliseconds: f64, with_publishing: bool) -> Watch {
        self.interval = self.at_least(interval(milliseconds));
        if with_publishing {
            self.stamps = Stamps::Never;
        }
        self
    }

    pub(super) fn at_least(&self, interval: Duration) -> Duration {
        if self.is_live() { interval } else { interval.max(FIXED) }
    }

    pub fn enabled(mut self, enabled: bool) -> Watch {
        self.enabled = enabled;
        self
    }

    /// Makes the initial value one that later ones can follow: what comes next is compared with it.
    pub fn begin(&mut self, initial: &mut DataValue) {
        let status = initial.status.unwrap_or_default();
        if status.is_bad() {
            initial.value = None;
        }
        let time = initial.source_timestamp.and_then(|time| time.as_chrono().timestamp_nanos_opt());
        if self.stamps == Stamps::Never {
            initial.source_timestamp = None;
        }
        self.first = status;
        self.last = Some(Sent {
            value: initial.value.clone(),
            status,
            source_time: time.and_then(|time| u64::try_from(time).ok()).unwrap_or(0),
            stamped: initial.source_timestamp.is_some(),
        });
    }

    /// What to hand over for this sample: nothing, the value, or a marker and the value.
    ///
    /// The marker is for clients without a filter, which are nearly all: the server layer then compares values only, so
    /// that a value that turns late would look healthy for ever. An absent value in between makes it two changes. An
    /// item with a queue of one shows only the second, with the overflow bit; a longer queue shows both.
    pub(super) fn news(&mut self, seen: Seen, now: DateTime) -> Vec<DataValue> {
        let Seen { value, status, source_time } = seen;
        let introduced = self.introductions == 0;
        self.introductions = self.introductions.saturating_sub(1);
        // Bad goes without its held value: so the server layer sees a change. Read gives the held value.
        let mut value = if status.is_bad() { None } else { value };
        let mut marker = false;
        if let Some(last) = &self.last {
            let same_value = same(&last.value, &value);
            let changed = !same_value
                || last.status != status
                || self.trigger == Trigger::Timestamp && last.source_time != source_time;
            if !changed && introduced {
                return Vec::new();
            }
            let other_status = last.status != status || !introduced && self.first != status;
            if same_value && other_status && self.trigger == Trigger::Unfiltered {
                if status.is_bad() {
                    // absent and Empty are the same on the wire, but not to the server layer
                    value = if last.value.is_none() { Some(Variant::Empty) } else { None };
                } else {
                    marker = true;
                }
            }
        }
        let stamped = self.may_stamp(source_time);
        let data = DataValue {
            value: value.clone(),
            status: Some(status),
            source_timestamp: if stamped { mapping::source_time(source_time) } else { None },
            server_timestamp: Some(now),
            ..DataValue::null()
        };
        let mut all = Vec::with_capacity(2);
        if marker {
            let uncertain = if status.is_uncertain() { status } else { StatusCode::Uncertain };
            all.push(DataValue { value: None, status: Some(uncertain), ..data.clone() });
        }
        self.last = Some(Sent { value, status, source_time, stamped });
        all.push(data);
        all
    }

    /// Whether to look again a little later: a frame that is too close to the last for its time to be kept is followed,
    /// where it is cyclic, by one that is not. Changes of quality do not wait.
    pub(super) fn puts_off(&mut self, seen: &Seen) -> bool {
        let (Stamps::Apart(least), Some(last)) = (self.stamps, &self.last) else { return false };
        let wait = last.status == seen.status
            && seen.source_time > last.source_time
            && self.waited < least
            && !self.may_stamp(seen.source_time);
        self.waited = if wait { self.waited + AGAIN } else { Duration::ZERO };
        wait
    }

    pub(super) fn may_stamp(&self, source_time: u64) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.stamped) else {
            return self.stamps != Stamps::Never;
        };
        // A source time before the last one (the clock was set back) would be rewritten too.
        let Some(apart) = source_time.checked_sub(last.source_time) else { return false };
        match self.stamps {
            Stamps::Always => true,
            Stamps::Never => false,
            Stamps::Apart(least) => Duration::from_nanos(apart) >= least,
        }
    }
}

/// Milliseconds as a client asks for them, inside our limits.
pub(super) fn interval(milliseconds: f64) -> Duration {
    let milliseconds = if milliseconds.is_nan() { FASTEST_MS } else { milliseconds };
    Duration::from_secs_f64(milliseconds.clamp(FASTEST_MS, SLOWEST.as_secs_f64() * 1000.0) / 1000.0)
}

/// Absent and Empty are one; NaN is itself, or it would be news at every look.
pub(super) fn same(a: &Option<Variant>, b: &Option<Variant>) -> bool {
    let empty = |value: &Option<Variant>| value.as_ref().is_none_or(|value| *value == Variant::Empty);
    match (a, b) {
        (Some(Variant::Double(a)), Some(Variant::Double(b))) => a.to_bits() == b.to_bits(),
        (Some(Variant::Float(a)), Some(Variant::Float(b))) => a.to_bits() == b.to_bits(),
        _ => empty(a) && empty(b) || a == b,
    }
}
