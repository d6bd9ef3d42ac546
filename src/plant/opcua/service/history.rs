//! HistoryRead of raw values (OPC 10000-11, 6.5.3) over the frames that the store's ring still holds: the last seconds.

use std::collections::VecDeque;
use std::sync::Arc;

use opcua::types::{AttributeId, DataValue, DateTime, StatusCode, TimestampsToReturn};

use super::{Ask, Service, attribute, count};
use crate::plant::access::Operation;
use crate::plant::opcua::mapping;
use crate::plant::opcua::scene::{Encoding, Scene};
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::trace;
use crate::plant::opcua::wire::{NodeRef, Reader, Writer};

/// Encodings of the details and of the answer.
const RAW_DETAILS: u32 = 649;
const OTHER_DETAILS: [u32; 5] = [646, 652, 655, 15_279, 18_434];
const HISTORY_DATA: u32 = 658;
/// Values of a node in one response, where the client sets no limit.
const MOST_VALUES: usize = 2_000;

/// Values that were found and not handed out yet.
struct Rest {
    id: u64,
    values: VecDeque<DataValue>,
    most: usize,
}

/// The readings of one session that wait to be continued; the oldest goes where there are too many.
#[derive(Default)]
pub struct ContinuationPoints {
    next: u64,
    waiting: VecDeque<Rest>,
}

impl ContinuationPoints {
    fn take(&mut self, point: &[u8]) -> Result<Rest, StatusCode> {
        let id = point.try_into().map(u64::from_le_bytes).map_err(|_| StatusCode::BadContinuationPointInvalid)?;
        let at = self.waiting.iter().position(|rest| rest.id == id).ok_or(StatusCode::BadContinuationPointInvalid)?;
        self.waiting.remove(at).ok_or(StatusCode::BadContinuationPointInvalid)
    }

    fn put(&mut self, values: VecDeque<DataValue>, most: usize, limit: usize) -> u64 {
        while self.waiting.len() >= limit.max(1) {
            self.waiting.pop_front();
        }
        self.next += 1;
        self.waiting.push_back(Rest { id: self.next, values, most });
        self.next
    }
}

/// ReadRawModifiedDetails. Times: 100 ns since 1601; 0 is none.
struct Details {
    start: i64,
    end: i64,
    /// 0: all.
    most: usize,
    bounds: bool,
}

impl Details {
    fn read(structure: crate::plant::opcua::wire::Structure<'_>) -> Result<Details, StatusCode> {
        let kind = structure.encoding.standard();
        let body = match (kind, structure.body) {
            (Some(RAW_DETAILS), Some(body)) => body,
            (Some(other), Some(_)) if OTHER_DETAILS.contains(&other) => {
                return Err(StatusCode::BadHistoryOperationUnsupported);
            }
            _ => return Err(StatusCode::BadHistoryOperationInvalid),
        };
        let mut reader = Reader::new(body);
        let modified = reader.bool()?;
        let (start, end) = (reader.i64()?, reader.i64()?);
        let most = reader.u32()? as usize;
        let bounds = reader.bool()?;
        if modified {
            return Err(StatusCode::BadHistoryOperationUnsupported);
        }
        // two of three say what is meant (6.5.3.2)
        let given = [start > 0, end > 0, most > 0].into_iter().filter(|given| *given).count();
        if given < 2 { Err(StatusCode::BadHistoryOperationInvalid) } else { Ok(Details { start, end, most, bounds }) }
    }

    /// From the newest back.
    fn is_reverse(&self) -> bool {
        self.start <= 0 || self.end > 0 && self.end < self.start
    }

    /// What of the values, oldest first, is asked for, in the order it is asked in.
    fn select(&self, values: Vec<(i64, DataValue)>) -> VecDeque<DataValue> {
        let from = |time: i64, without| if time > 0 { time } else { without };
        let (first, last) = if self.start <= 0 {
            (i64::MIN, from(self.end, i64::MAX))
        } else if self.is_reverse() {
            (from(self.end, i64::MIN), from(self.start, i64::MAX))
        } else {
            (from(self.start, i64::MIN), from(self.end, i64::MAX))
        };
        let before = values.iter().rev().find(|(time, _)| *time < first).map(|(_, value)| value.clone());
        let after = values.iter().find(|(time, _)| *time > last).map(|(_, value)| value.clone());
        let exact = |time| values.iter().any(|(other, _)| *other == time);
        let (at_first, at_last) = (exact(first), exact(last));
        let inside = values.iter().filter(|(time, _)| (first..=last).contains(time)).map(|(_, value)| value.clone());
        let mut found: VecDeque<DataValue> = inside.collect();
        if self.bounds {
            let bound = |value: Option<DataValue>, time: i64| value.unwrap_or_else(|| missing(time));
            if first > i64::MIN && !at_first {
                found.push_front(bound(before, first));
            }
            if last < i64::MAX && !at_last {
                found.push_back(bound(after, last));
            }
        }
        if self.is_reverse() { found.into_iter().rev().collect() } else { found }
    }
}

/// The place of a bound that is not there (6.5.3.2).
fn missing(time: i64) -> DataValue {
    DataValue {
        status: Some(StatusCode::BadBoundNotFound),
        source_timestamp: Some(DateTime::from(time)),
        ..DataValue::null()
    }
}

/// Each node by itself.
pub fn read(ask: &Ask<'_>, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    let details = Details::read(reader.structure()?);
    let timestamps = attribute::timestamps(reader.u32()?);
    let release = reader.bool()?;
    let nodes = count(reader, 12, ask.server.limits.nodes_per_history_read)?;
    let (details, timestamps) = (details?, timestamps?);
    if timestamps == TimestampsToReturn::Neither {
        return Err(StatusCode::BadTimestampsToReturnInvalid);
    }
    let scene = ask.server.scenes.now();
    let mut writer = ask.response(Service::HistoryRead);
    writer.count(nodes);
    for _ in 0..nodes {
        let id = reader.node_id()?;
        let range = reader.string()?.unwrap_or_default();
        let encoding = Encoding::of(reader.name()?);
        let point = reader.bytes()?.unwrap_or_default();
        let found = if !point.is_empty() {
            let rest = ask.session.state().histories.take(point);
            if release { rest.map(|_| None) } else { rest.map(|rest| Some((rest.values, rest.most))) }
        } else if release {
            Ok(None)
        } else {
            find(&scene, &ask.user, id, range, encoding, &details).map(Some)
        };
        match found {
            Ok(Some((values, most))) => answer(ask, values, most, timestamps, &mut writer),
            Ok(None) => result(&mut writer, StatusCode::Good, None, &[]),
            Err(status) => result(&mut writer, status, None, &[]),
        }
    }
    writer.i32(-1);
    Ok(writer)
}

type Found = (VecDeque<DataValue>, usize);

fn find(
    scene: &Arc<Scene>,
    user: &User,
    id: NodeRef<'_>,
    range: &str,
    encoding: Encoding,
    details: &Details,
) -> Result<Found, StatusCode> {
    let node = scene.seen(id, user).ok_or_else(|| attribute::unknown(id))?;
    encoding.check(AttributeId::Value)?;
    if !range.is_empty() {
        return Err(StatusCode::BadIndexRangeNoData);
    }
    if !scene.space.may(user, Operation::History, node) {
        return Err(StatusCode::BadUserAccessDenied);
    }
    let Node::Signal(tag, source) = node else { return Err(StatusCode::BadHistoryOperationUnsupported) };
    let values = trace::values(&scene.view, tag, source);
    let signal = scene.view.plan.signal(tag);
    let values = values.into_iter().filter_map(|sample| {
        let source_time = mapping::source_time(sample.source_time)?;
        let data = mapping::data_value(mapping::value(signal, &sample), &sample, source_time);
        Some((source_time.checked_ticks(), data))
    });
    Ok((details.select(values.collect()), if details.most > 0 { details.most.min(MOST_VALUES) } else { MOST_VALUES }))
}

/// Hands out what fits, and keeps the rest.
fn answer(
    ask: &Ask<'_>,
    mut values: VecDeque<DataValue>,
    most: usize,
    timestamps: TimestampsToReturn,
    writer: &mut Writer,
) {
    let rest = if values.len() > most { values.split_off(most) } else { VecDeque::new() };
    let point = (!rest.is_empty())
        .then(|| ask.session.state().histories.put(rest, most, ask.server.limits.history_continuation_points));
    let mut values: Vec<DataValue> = values.into();
    for value in &mut values {
        match timestamps {
            TimestampsToReturn::Source => value.server_timestamp = None,
            TimestampsToReturn::Server => value.source_timestamp = None,
            _ => {}
        }
    }
    let status = if values.is_empty() { StatusCode::GoodNoData } else { StatusCode::Good };
    result(writer, status, point, &values);
}

/// A HistoryReadResult.
fn result(writer: &mut Writer, status: StatusCode, point: Option<u64>, values: &[DataValue]) {
    writer.status(status);
    writer.bytes(point.map(u64::to_le_bytes).as_ref().map(|bytes| bytes.as_slice()));
    if status.is_bad() {
        writer.raw(&[0, 0, 0]); // no data: a null ExtensionObject
        return;
    }
    writer.node_id(NodeRef::Numeric(0, HISTORY_DATA));
    writer.u8(1);
    let length = writer.len();
    writer.u32(0);
    writer.all(values);
    writer.set_u32(length, (writer.len() - length - 4) as u32);
}
