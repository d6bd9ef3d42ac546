//! Monitored items: when each is looked at, and what of it is news to its client.
//!
//! The server layer would compare and hold back values by itself; its rules lose changes of quality and rewrite source
//! times (async-opcua 0.19). So samples are taken and compared here, and handed over only when they are news.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use opcua::server::{MonitoredItemHandle, SubscriptionCache};
use opcua::types::{AttributeId, DataValue, DateTime, NodeId, NumericRange, StatusCode, Variant};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::filter::Trigger;
use super::mapping;
use super::scene::{Scene, Scenes};
use super::space::{self, FASTEST_MS, Node};
use crate::sample::Sample;
use crate::store::clock;

/// Longest interval between two looks.
const SLOWEST: Duration = Duration::from_secs(24 * 3600);
/// Soon after its creation an item is looked at whatever its interval: the server layer registers it only after the
/// initial value was read, and what changed in between would be lost.
const SOON: Duration = Duration::from_millis(50);
/// So many looks hand over the value even if it is not news; the server layer drops what its client has already.
const INTRODUCTIONS: u8 = 2;
/// When to look again at what was put off.
const AGAIN: Duration = Duration::from_millis(10);
/// Items left behind, at some 100 bytes each, before the server layer begins anew.
const MOST_LEFT: usize = 500_000;
/// Shortest interval between two looks at what only a reload changes.
const FIXED: Duration = Duration::from_secs(1);
/// Values handed over under one lock of the server layer.
const BATCH: usize = 1000;

/// When a value may carry its source time without the server layer changing it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stamps {
    Always,
    /// Sampling interval -1: the server layer would freeze it.
    Never,
    /// After ModifyMonitoredItems: only this far from the last.
    Apart(Duration),
}

/// What the client got last.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
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
struct Seen {
    value: Option<Variant>,
    status: StatusCode,
    /// CLOCK_REALTIME nanoseconds; 0: none.
    source_time: u64,
}

impl Seen {
    fn of(value: Option<Variant>, sample: &Sample) -> Seen {
        Seen { value, status: mapping::status(sample.causes), source_time: sample.source_time }
    }

    fn bad(status: StatusCode) -> Seen {
        Seen { value: None, status, source_time: 0 }
    }
}

/// One monitored item.
#[derive(Debug)]
pub struct Watch {
    watched: Watched,
    /// The node, as it was found in the scene of this number.
    node: Option<Node>,
    scene: u64,
    trigger: Trigger,
    stamps: Stamps,
    interval: Duration,
    due: Instant,
    enabled: bool,
    introductions: u8,
    /// Status of the initial value, which is all that the server layer has if it did not know the item yet.
    first: StatusCode,
    /// How long news have been put off, see [`Watch::puts_off`].
    waited: Duration,
    last: Option<Sent>,
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
    fn is_live(&self) -> bool {
        self.watched.attribute == AttributeId::Value && self.node.is_some_and(space::is_live)
    }

    /// Looks at what it is about in this scene; `None` where nothing can have changed. `now`: CLOCK_MONOTONIC nanoseconds.
    fn look(&mut self, scene: &Scene, now: u64) -> Option<Seen> {
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

    fn at_least(&self, interval: Duration) -> Duration {
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
    fn news(&mut self, seen: Seen, now: DateTime) -> Vec<DataValue> {
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
    fn puts_off(&mut self, seen: &Seen) -> bool {
        let (Stamps::Apart(least), Some(last)) = (self.stamps, &self.last) else { return false };
        let wait = last.status == seen.status
            && seen.source_time > last.source_time
            && self.waited < least
            && !self.may_stamp(seen.source_time);
        self.waited = if wait { self.waited + AGAIN } else { Duration::ZERO };
        wait
    }

    fn may_stamp(&self, source_time: u64) -> bool {
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
fn interval(milliseconds: f64) -> Duration {
    let milliseconds = if milliseconds.is_nan() { FASTEST_MS } else { milliseconds };
    Duration::from_secs_f64(milliseconds.clamp(FASTEST_MS, SLOWEST.as_secs_f64() * 1000.0) / 1000.0)
}

/// Absent and Empty are one; NaN is itself, or it would be news at every look.
fn same(a: &Option<Variant>, b: &Option<Variant>) -> bool {
    let empty = |value: &Option<Variant>| value.as_ref().is_none_or(|value| *value == Variant::Empty);
    match (a, b) {
        (Some(Variant::Double(a)), Some(Variant::Double(b))) => a.to_bits() == b.to_bits(),
        (Some(Variant::Float(a)), Some(Variant::Float(b))) => a.to_bits() == b.to_bits(),
        _ => empty(a) && empty(b) || a == b,
    }
}

/// Handles in an order, for the heap.
type Key = (u32, u32);

fn key(handle: MonitoredItemHandle) -> Key {
    (handle.subscription_id, handle.monitored_item_id)
}

#[derive(Default)]
struct Items {
    watches: HashMap<Key, Watch>,
    /// When to look at which; entries that no longer agree with their watch are left over and passed by.
    due: BinaryHeap<Reverse<(Instant, Key)>>,
}

/// All monitored items of our nodes.
pub struct Sampling {
    start: Instant,
    items: Mutex<Items>,
    changed: Notify,
    /// Items that the server layer keeps although their subscription is gone.
    left: AtomicUsize,
    littered: Notify,
}

/// A value on its way to the server layer.
struct Push {
    id: NodeId,
    attribute: AttributeId,
    handle: MonitoredItemHandle,
    value: DataValue,
}

impl Sampling {
    pub fn new() -> Sampling {
        Sampling {
            start: Instant::now(),
            items: Mutex::default(),
            changed: Notify::new(),
            left: AtomicUsize::new(0),
            littered: Notify::new(),
        }
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn add(&self, handle: MonitoredItemHandle, mut watch: Watch) {
        watch.due = Instant::now() + SOON.min(watch.interval);
        let mut items = self.items();
        items.due.push(Reverse((watch.due, key(handle))));
        items.watches.insert(key(handle), watch);
        drop(items);
        self.changed.notify_one();
    }

    pub fn remove(&self, handle: MonitoredItemHandle) {
        self.items().watches.remove(&key(handle));
    }

    /// The client modified the item; the server layer now has this interval of its own, in milliseconds.
    pub fn modify(&self, handle: MonitoredItemHandle, revised: f64) {
        let mut items = self.items();
        let Some(watch) = items.watches.get_mut(&key(handle)) else { return };
        if revised < 0.0 {
            watch.stamps = Stamps::Never;
        } else {
            watch.interval = watch.at_least(interval(revised));
            watch.stamps = Stamps::Apart(watch.interval);
        }
        let due = Instant::now() + watch.interval;
        watch.due = due;
        items.due.push(Reverse((due, key(handle))));
        drop(items);
        self.changed.notify_one();
    }

    pub fn enable(&self, handle: MonitoredItemHandle, enabled: bool) {
        if let Some(watch) = self.items().watches.get_mut(&key(handle)) {
            watch.enabled = enabled;
            watch.introductions = INTRODUCTIONS;
        }
    }

    /// Counts an item that went with its whole subscription.
    pub fn leave_behind(&self) {
        if self.left.fetch_add(1, Ordering::Relaxed) + 1 == MOST_LEFT {
            self.littered.notify_one();
        }
    }

    /// Returns when so much was left behind that the server layer should begin anew.
    pub async fn littered(&self) {
        self.littered.notified().await;
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items().watches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at items when they are due, until dropped.
    pub async fn run(&self, scenes: &Scenes, subscriptions: Arc<SubscriptionCache>) {
        loop {
            let next = self.items().due.peek().map(|Reverse((due, _))| *due);
            match next {
                Some(due) if due > Instant::now() => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.changed.notified() => continue,
                    }
                }
                Some(_) => {}
                None => {
                    self.changed.notified().await;
                    continue;
                }
            }
            let mut news = self.look(&scenes.now(), Instant::now());
            while !news.is_empty() {
                let rest = news.split_off(news.len().min(BATCH));
                hand_over(&subscriptions, news);
                news = rest;
                // other tasks want the server layer's lock too
                tokio::task::yield_now().await;
            }
        }
    }

    /// Samples all items that are due.
    fn look(&self, scene: &Scene, now: Instant) -> Vec<Push> {
        let (monotonic, time) = (clock::monotonic(), DateTime::now());
        let mut news = Vec::new();
        let mut items = self.items();
        let Items { watches, due } = &mut *items;
        while let Some(Reverse((at, key))) = due.peek().copied() {
            if at > now {
                break;
            }
            due.pop();
            let Some(watch) = watches.get_mut(&key).filter(|watch| watch.due == at) else { continue };
            let seen = if watch.enabled { watch.look(scene, monotonic) } else { None };
            let put_off = seen.as_ref().is_some_and(|seen| watch.puts_off(seen));
            watch.due = if put_off { now + AGAIN } else { next(self.start, now, watch.interval) };
            due.push(Reverse((watch.due, key)));
            let Some(seen) = seen.filter(|_| !put_off) else { continue };
            let handle = MonitoredItemHandle { subscription_id: key.0, monitored_item_id: key.1 };
            for value in watch.news(seen, time) {
                let Watched { id, attribute, .. } = &watch.watched;
                news.push(Push { id: id.clone(), attribute: *attribute, handle, value });
            }
        }
        news
    }
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling::new()
    }
}

/// The next look, on a grid from `start`, so that items of one interval are looked at together.
fn next(start: Instant, now: Instant, interval: Duration) -> Instant {
    let over = (now - start).as_nanos() % interval.as_nanos().max(1);
    now + interval.saturating_sub(Duration::from_nanos(u64::try_from(over).unwrap_or(0)))
}

/// Gives values to the server layer. A value goes straight to its item: the layer's own table of items per node keeps
/// those of deleted subscriptions for ever, and going through it grows slower with each.
fn hand_over(subscriptions: &SubscriptionCache, news: Vec<Push>) {
    let mut notifier = subscriptions.data_notifier();
    let Some(known) = news.iter().position(|push| notifier.notify_for(&push.id, push.attribute).is_some()) else {
        // none is registered yet; they are introduced again
        return;
    };
    let Some(mut batch) = notifier.notify_for(&news[known].id, news[known].attribute) else { return };
    for push in &news {
        batch.data_value_to_item(push.value.clone(), &push.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::{Cause, Causes};

    fn watch(trigger: Trigger) -> Watch {
        let watched =
            Watched { id: NodeId::null(), attribute: AttributeId::Value, range: NumericRange::None, may_write: false };
        let watch = Watch::new(watched, trigger).found(1, Node::Signal(0, None)).every(100.0, false);
        Watch { introductions: 0, ..watch }
    }

    /// Value, cause, source time in milliseconds.
    type Given = (f64, Option<Cause>, u64);

    /// What one look hands over, in words.
    fn look(watch: &mut Watch, (value, cause, time): Given) -> String {
        let causes = cause.map_or(Causes::NONE, Causes::of);
        let source_time = time * 1_000_000;
        let sample = Sample { raw: None, value: None, causes, source_time, received: 0, count: 1 };
        let seen = Seen::of(Some(Variant::Double(value)), &sample);
        if watch.puts_off(&seen) {
            return "later".into();
        }
        let word = |data: DataValue| {
            let value = match data.value {
                None => "-".into(),
                Some(Variant::Empty) => "empty".into(),
                Some(Variant::Double(value)) => value.to_string(),
                other => format!("{other:?}"),
            };
            let severity = match data.status.unwrap() {
                status if status.is_bad() => " bad",
                status if status.is_uncertain() => " uncertain",
                _ => "",
            };
            format!("{value}{severity}{}", if data.source_timestamp.is_some() { "" } else { " unstamped" })
        };
        let news = watch.news(seen, DateTime::now());
        news.into_iter().map(word).collect::<Vec<_>>().join(", then ")
    }

    fn check(mut watch: Watch, looks: &[(Given, &str)]) {
        for (number, (sample, want)) in looks.iter().enumerate() {
            assert_eq!(look(&mut watch, *sample), *want, "look {number}: {sample:?}");
        }
    }

    #[test]
    fn without_a_filter_quality_is_news_too() {
        use Cause::{BusOff, InterfaceGone, Late, OutOfRange};
        check(
            watch(Trigger::Unfiltered),
            &[
                ((1.0, None, 1), "1"),
                ((1.0, None, 2), ""),
                ((2.0, None, 3), "2"),
                ((2.0, Some(Late), 3), "- uncertain, then 2 uncertain"),
                ((2.0, Some(Late), 3), ""),
                ((2.0, None, 4), "- uncertain, then 2"),
                ((9.0, Some(OutOfRange), 5), "9 uncertain"),
                ((9.0, Some(BusOff), 5), "- bad"),
                ((9.0, Some(InterfaceGone), 5), "empty bad"),
                ((9.0, Some(BusOff), 5), "- bad"),
                ((9.0, None, 6), "9"),
                ((f64::NAN, Some(OutOfRange), 7), "NaN uncertain"),
                ((f64::NAN, Some(OutOfRange), 8), ""),
            ],
        );
    }

    #[test]
    fn the_first_look_follows_the_initial_value() {
        let mut late = watch(Trigger::Unfiltered);
        late.introductions = INTRODUCTIONS;
        let mut initial = DataValue { value: Some(Variant::Double(1.0)), ..DataValue::null() };
        late.begin(&mut initial);
        assert_eq!(look(&mut late, (1.0, Some(Cause::Late), 1)), "- uncertain, then 1 uncertain");
        let again = "once more, should the server layer not have known the item";
        assert_eq!(look(&mut late, (1.0, Some(Cause::Late), 1)), "- uncertain, then 1 uncertain", "{again}");
        assert_eq!(look(&mut late, (1.0, Some(Cause::Late), 1)), "");
    }

    #[test]
    fn filters() {
        use Cause::Late;
        check(
            watch(Trigger::Filtered),
            &[
                ((1.0, None, 1), "1"),
                ((1.0, None, 2), ""),
                ((1.0, Some(Late), 2), "1 uncertain"),
                ((1.0, None, 3), "1"),
            ],
        );
        check(
            watch(Trigger::Timestamp),
            &[
                ((1.0, None, 1), "1"),
                ((1.0, None, 1), ""),
                ((1.0, None, 2), "1"),
                ((1.0, Some(Late), 2), "1 uncertain"),
            ],
        );
    }

    #[test]
    fn a_source_time_is_right_or_absent() {
        let modified = || Watch { stamps: Stamps::Apart(Duration::from_millis(100)), ..watch(Trigger::Filtered) };
        check(
            watch(Trigger::Unfiltered),
            // the clock was set back
            &[((1.0, None, 500), "1"), ((2.0, None, 400), "2 unstamped"), ((3.0, None, 410), "3")],
        );
        check(
            watch(Trigger::Unfiltered).every(50.0, true),
            &[((1.0, None, 1), "1 unstamped"), ((2.0, None, 200), "2 unstamped")],
        );
        // frames every 40 ms: the one that is far enough from the last is waited for
        check(
            modified(),
            &[
                ((1.0, None, 40), "1"),
                ((2.0, None, 120), "later"),
                ((2.0, None, 120), "later"),
                ((3.0, None, 160), "3"),
                ((3.0, Some(Cause::Late), 160), "3 uncertain unstamped"),
                ((4.0, None, 200), "4"),
            ],
        );
        // a frame that nothing follows is not waited for any longer
        let mut once = modified();
        look(&mut once, (1.0, None, 40));
        let later = (0..10).filter(|_| look(&mut once, (2.0, None, 50)) == "later").count();
        assert_eq!(later, 10);
        assert_eq!(look(&mut once, (2.0, None, 50)), "2 unstamped");
    }

    #[test]
    fn looks_are_on_a_grid() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (now, interval, want) in [(0, 10, 10), (9, 10, 10), (10, 10, 20), (1234, 100, 1300), (1, 5000, 5000)] {
            assert_eq!(next(start, start + ms(now), ms(interval)) - start, ms(want), "{now} {interval}");
        }
        for (asked, want) in [(-1.0, 10), (0.0, 10), (0.5, 10), (f64::NAN, 10), (250.0, 250), (1e300, 86_400_000)] {
            assert_eq!(interval(asked), ms(want), "{asked}");
        }
    }
}
