//! One monitored item (OPC 10000-4, 5.13): what it looks at, what of that is news, and what waits for its client.

use std::collections::VecDeque;

use opcua::types::{
    AttributeId, ModelChangeStructureDataType, MonitoringMode, NodeId, SemanticChangeStructureDataType, StatusCode,
    TimestampsToReturn, Variant,
};

use super::event::Fields;
use super::events::Events;
use super::filter::{Filter, Trigger, differs};
use crate::plant::opcua::mapping;
use crate::plant::opcua::space::range::Ranges;
use crate::plant::opcua::space::{Node, meaning};
use crate::plant::opcua::wire::Writer;

/// InfoType DataValue, and the overflow bit (OPC 10000-4, 7.38.1).
pub const OVERFLOW: u32 = 0x480;

/// About how many bytes a value holds besides itself.
pub fn weight(value: &Variant) -> usize {
    match value {
        Variant::String(text) => text.as_ref().len(),
        Variant::XmlElement(text) => text.to_string().len(),
        Variant::ByteString(bytes) => bytes.as_ref().len(),
        Variant::LocalizedText(text) => 64 + text.text.as_ref().len() + text.locale.as_ref().len(),
        Variant::Array(array) => array.values.iter().map(|value| size_of::<Variant>() + weight(value)).sum(),
        // structures of ours: what the server tells about its sessions is the largest
        Variant::ExtensionObject(object)
            if object.inner_is::<ModelChangeStructureDataType>()
                || object.inner_is::<SemanticChangeStructureDataType>() =>
        {
            256
        }
        Variant::ExtensionObject(_) => 1024,
        Variant::Variant(inner) => size_of::<Variant>() + weight(inner),
        _ => 32,
    }
}

/// A value as it was seen. Times: CLOCK_REALTIME nanoseconds; 0 is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub value: Option<Variant>,
    pub status: StatusCode,
    pub source_time: u64,
    pub server_time: u64,
}

impl Seen {
    /// About how many bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        size_of::<Seen>() + self.value.as_ref().map_or(0, weight)
    }

    /// Writes it as a DataValue.
    pub fn write(&self, timestamps: TimestampsToReturn, writer: &mut Writer) {
        let wants = |both, one| timestamps == both || timestamps == one;
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let source = wants(TimestampsToReturn::Both, TimestampsToReturn::Source) && self.source_time > 0;
        let server = wants(TimestampsToReturn::Both, TimestampsToReturn::Server) && self.server_time > 0;
        let status = self.status.bits() != 0;
        writer.u8(bit(self.value.is_some(), 1) | bit(status, 2) | bit(source, 4) | bit(server, 8));
        if let Some(value) = &self.value {
            writer.variant(value);
        }
        if status {
            writer.status(self.status);
        }
        if source {
            writer.i64(mapping::ticks(self.source_time));
        }
        if server {
            // a frame may have come since the look was begun
            writer.i64(mapping::ticks(self.server_time.max(self.source_time)));
        }
    }
}

/// Says in its StatusCode that a value means something else.
fn turn(seen: &mut Seen, bits: u32) {
    if bits != 0 {
        seen.status = StatusCode::from(seen.status.bits() | bits);
    }
}

/// What a monitored item looks at.
#[derive(Clone, Debug)]
pub enum Target {
    Node(Node),
    /// Not there in the plan in force; looked for again when that changes.
    Gone(Box<NodeId>),
}

/// What waits for the client.
#[derive(Debug)]
pub enum Queue {
    Values(VecDeque<Seen>),
    Events(Box<Events>),
}

/// What a client asked for, revised.
#[derive(Clone, Debug)]
pub struct Settings {
    pub client_handle: u32,
    /// Nanoseconds; 0: every frame.
    pub interval: u64,
    /// As the client is told, in milliseconds.
    pub told_interval: f64,
    pub queue_size: u32,
    pub discard_oldest: bool,
    pub timestamps: TimestampsToReturn,
    pub filter: Filter,
    /// Least difference that is news.
    pub width: f64,
}

/// One of them.
#[derive(Debug)]
pub struct Item {
    pub id: u32,
    pub target: Target,
    pub attribute: AttributeId,
    pub range: Option<Box<Ranges>>,
    pub mode: MonitoringMode,
    pub settings: Settings,
    pub queue: Queue,
    /// What the last news was compared to.
    pub last: Option<Seen>,
    /// Items that are reported when this one has news.
    pub links: Vec<u32>,
    /// Reported with the next message although it is only sampled.
    pub triggered: bool,
    /// It is in its subscription's list of those that have something.
    pub listed: bool,
    /// Values were lost before the next one.
    pub gap: bool,
    /// What has become of its meaning, for the StatusCode of the next value: that is told even if it is no news.
    pub turned: u32,
    /// Of what is no signal: the scene of the last look, and when that was (CLOCK_MONOTONIC nanoseconds).
    pub scene: u64,
    pub looked: u64,
}

/// What adding to a queue did: bytes more or less, values dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub bytes: isize,
    pub lost: u64,
    pub news: bool,
}

impl Item {
    pub fn is_event(&self) -> bool {
        matches!(self.queue, Queue::Events(_))
    }

    /// Whether something waits that may be sent now.
    pub fn has_report(&self) -> bool {
        let waits = match &self.queue {
            Queue::Values(values) => !values.is_empty(),
            Queue::Events(events) => events.has_report(),
        };
        waits && (self.mode == MonitoringMode::Reporting || self.triggered && self.mode == MonitoringMode::Sampling)
    }

    /// Something that waits, sent or not.
    pub fn waiting(&self) -> usize {
        match &self.queue {
            Queue::Values(values) => values.len(),
            Queue::Events(events) => events.len(),
        }
    }

    /// A sample: queued where it is news.
    pub fn offer(&mut self, seen: Seen) -> Change {
        if self.mode == MonitoringMode::Disabled {
            return Change::default();
        }
        let Settings { filter, width, .. } = &self.settings;
        let news = match &self.last {
            None => true,
            Some(last) => {
                last.status != seen.status
                    || filter.trigger != Trigger::Status && differs(*width, last.value.as_ref(), seen.value.as_ref())
                    || filter.trigger == Trigger::Timestamp && last.source_time != seen.source_time
            }
        };
        if !news && !self.gap && self.turned == 0 {
            return Change::default();
        }
        self.last = Some(seen.clone());
        self.push(seen)
    }

    /// Queues a value, news or not. What does not fit goes, and the overflow bit says where (5.13.1.5).
    pub fn push(&mut self, mut seen: Seen) -> Change {
        let Queue::Values(values) = &mut self.queue else { return Change::default() };
        let most = self.settings.queue_size.max(1) as usize;
        let mark = |seen: &mut Seen| {
            if most > 1 {
                seen.status = StatusCode::from(seen.status.bits() | OVERFLOW);
            }
        };
        let mut change = Change { news: true, ..Change::default() };
        // only what is notified has it, not what the next value is compared to (OPC 10000-4, 7.39.1)
        turn(&mut seen, std::mem::take(&mut self.turned));
        if std::mem::take(&mut self.gap) {
            mark(&mut seen);
            change.lost += 1;
        }
        if values.len() >= most {
            let gone = if self.settings.discard_oldest { values.pop_front() } else { values.pop_back() };
            change.bytes -= gone.as_ref().map_or(0, |gone| gone.bytes() as isize);
            // whoever does not get it is told with the next one
            let turned = gone.map_or(0, |gone| gone.status.bits() & meaning::CHANGED);
            let next = if self.settings.discard_oldest { values.front_mut() } else { None };
            turn(next.unwrap_or(&mut seen), turned);
            change.lost += 1;
            if !self.settings.discard_oldest {
                mark(&mut seen);
            }
            change.bytes += seen.bytes() as isize;
            values.push_back(seen);
            if self.settings.discard_oldest
                && let Some(oldest) = values.front_mut()
            {
                mark(oldest);
            }
            return change;
        }
        change.bytes += seen.bytes() as isize;
        values.push_back(seen);
        change
    }

    /// Queues an event's fields.
    pub fn push_event(&mut self, fields: Fields) -> Change {
        let Queue::Events(events) = &mut self.queue else { return Change::default() };
        events.push(fields, self.settings.queue_size as usize, self.settings.discard_oldest)
    }

    /// Whether anything is queued for it at all.
    pub fn is_on(&self) -> bool {
        self.mode != MonitoringMode::Disabled
    }

    /// Whether ConditionRefresh has told it something that its client has not got, and is to get.
    pub fn is_refreshing(&self) -> bool {
        self.mode == MonitoringMode::Reporting && matches!(&self.queue, Queue::Events(events) if events.is_refreshing())
    }

    /// Other settings: what waits stays as far as it fits. Gives the bytes that it holds less.
    pub fn set(&mut self, settings: Settings) -> isize {
        self.settings = settings;
        let most = self.settings.queue_size.max(1) as usize;
        let mut freed = 0;
        if let Queue::Values(values) = &mut self.queue {
            let (mut cut, mut turned) = (false, 0);
            while values.len() > most {
                let gone = if self.settings.discard_oldest { values.pop_front() } else { values.pop_back() };
                freed -= gone.as_ref().map_or(0, |gone| gone.bytes() as isize);
                turned |= gone.map_or(0, |gone| gone.status.bits() & meaning::CHANGED);
                cut = true;
            }
            let marked = if self.settings.discard_oldest { values.front_mut() } else { values.back_mut() };
            if let Some(marked) = marked.filter(|_| cut) {
                turn(marked, turned | if most > 1 { OVERFLOW } else { 0 });
            }
        }
        freed
    }

    /// Drops the oldest of what waits, for want of memory, until only so many wait. The overflow bit says so.
    pub fn shorten(&mut self, most: usize) -> Change {
        let mut change = Change::default();
        match &mut self.queue {
            Queue::Values(values) => {
                let gone = values.len().saturating_sub(most);
                let mut turned = 0;
                for seen in values.drain(..gone) {
                    change.bytes -= seen.bytes() as isize;
                    turned |= seen.status.bits() & meaning::CHANGED;
                }
                change.lost = gone as u64;
                values.shrink_to(most);
                if let Some(first) = values.front_mut().filter(|_| gone > 0) {
                    turn(first, turned | OVERFLOW);
                }
            }
            Queue::Events(events) => change = events.shorten(most),
        }
        change
    }

    /// Drops what waits; gives the bytes that it held less.
    pub fn clear(&mut self) -> isize {
        let bytes = self.bytes();
        match &mut self.queue {
            Queue::Values(values) => *values = VecDeque::new(),
            Queue::Events(events) => events.clear(),
        }
        -(bytes as isize)
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> usize {
        match &self.queue {
            Queue::Values(values) => values.iter().map(Seen::bytes).sum(),
            Queue::Events(events) => events.bytes(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn settings(queue_size: u32, discard_oldest: bool) -> Settings {
        Settings {
            client_handle: 7,
            interval: 100_000_000,
            told_interval: 100.0,
            queue_size,
            discard_oldest,
            timestamps: TimestampsToReturn::Both,
            filter: Filter::DEFAULT,
            width: 0.0,
        }
    }

    pub fn item(queue_size: u32, discard_oldest: bool) -> Item {
        Item {
            id: 1,
            target: Target::Node(Node::Root),
            attribute: AttributeId::Value,
            range: None,
            mode: MonitoringMode::Reporting,
            settings: settings(queue_size, discard_oldest),
            queue: Queue::Values(VecDeque::new()),
            last: None,
            links: Vec::new(),
            triggered: false,
            listed: false,
            gap: false,
            turned: 0,
            scene: 0,
            looked: 0,
        }
    }

    pub fn seen(number: f64, status: StatusCode, time: u64) -> Seen {
        Seen { value: Some(Variant::Double(number)), status, source_time: time, server_time: time + 1 }
    }

    /// What waits: numbers, with `!` where the overflow bit is set.
    fn waiting(item: &Item) -> String {
        let Queue::Values(values) = &item.queue else { panic!() };
        let shown = values.iter().map(|seen| {
            let Some(Variant::Double(number)) = seen.value else { panic!() };
            let bits = seen.status.bits() & 0xFFFF;
            assert!(bits == 0 || bits == OVERFLOW, "{bits:x}");
            format!("{number}{}", if bits == 0 { "" } else { "!" })
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn overflow() {
        for (size, discard_oldest, count, want) in [
            (1, true, 3, "3"),
            (1, false, 3, "3"),
            (3, true, 3, "1 2 3"),
            (3, true, 5, "3! 4 5"),
            (3, false, 3, "1 2 3"),
            (3, false, 5, "1 2 5!"),
        ] {
            let mut item = item(size, discard_oldest);
            let mut bytes = 0;
            for number in 1..=count {
                bytes += item.offer(seen(f64::from(number), StatusCode::Good, 5)).bytes;
            }
            assert_eq!(waiting(&item), want, "{size} {discard_oldest} {count}");
            assert_eq!(bytes, item.bytes() as isize);
            bytes += item.set(settings(2, discard_oldest));
            assert_eq!(bytes, item.bytes() as isize);
            bytes += item.clear();
            assert_eq!(bytes, 0);
        }
    }

    #[test]
    fn another_meaning_is_told_once() {
        const SEMANTICS: u32 = meaning::SEMANTICS_CHANGED;
        for (size, discard_oldest, count, want) in [
            // what waits was of the meaning before
            (1, true, 1, vec![0x4000]),
            (3, true, 1, vec![0, 0x4000]),
            (3, true, 2, vec![0, 0x4000, 0]),
            // it goes over to the one after, where it does not fit
            (2, true, 3, vec![0x4480, 0]),
            (2, false, 3, vec![0, 0x4480]),
            (1, true, 3, vec![0x4000]),
        ] {
            let mut item = item(size, discard_oldest);
            let mut bytes = item.offer(seen(1.0, StatusCode::Good, 5)).bytes;
            item.turned = SEMANTICS;
            // the same value as before is told
            for number in 1..=count {
                bytes += item.offer(seen(f64::from(number), StatusCode::Good, 5)).bytes;
            }
            let Queue::Values(values) = &item.queue else { panic!() };
            let bits: Vec<u32> = values.iter().map(|seen| seen.status.bits()).collect();
            assert_eq!(bits, want, "{size} {discard_oldest} {count}");
            assert!(!item.offer(seen(f64::from(count), StatusCode::Good, 5)).news, "once");
            bytes += item.shorten(1).bytes;
            assert_eq!(bytes, item.bytes() as isize);
            let Queue::Values(values) = &item.queue else { panic!() };
            let last = values.front().unwrap().status.bits();
            assert_eq!(last & SEMANTICS, SEMANTICS, "{size} {last:x}");
        }
    }

    #[test]
    fn quality_alone_is_news_and_nothing_is_told_twice() {
        let mut item = item(10, true);
        let mut told = Vec::new();
        for (status, time) in [
            (StatusCode::Good, 1),
            (StatusCode::Good, 2),
            (StatusCode::UncertainNoCommunicationLastUsableValue, 2),
            (StatusCode::UncertainNoCommunicationLastUsableValue, 2),
            (StatusCode::Good, 3),
        ] {
            if item.offer(seen(1.0, status, time)).news {
                told.push(status);
            }
        }
        use StatusCode as S;
        assert_eq!(told, [S::Good, S::UncertainNoCommunicationLastUsableValue, S::Good]);
        item.settings.filter.trigger = Trigger::Timestamp;
        assert!(item.offer(seen(1.0, S::Good, 4)).news);
        item.settings.filter.trigger = Trigger::Status;
        assert!(!item.offer(seen(2.0, S::Good, 5)).news);
        assert!(item.offer(seen(2.0, S::Bad, 5)).news);
        item.mode = MonitoringMode::Disabled;
        assert!(!item.offer(seen(9.0, S::Good, 6)).news);
    }
}
