//! Monitored items: when each is looked at, and what of it is news to its client.
//!
//! The server layer would compare and hold back values by itself; its rules lose changes of quality and rewrite source
//! times (async-opcua 0.19). So samples are taken and compared here, and handed over only when they are news.

mod watch;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use opcua::server::{MonitoredItemHandle, SubscriptionCache};
use opcua::types::{AttributeId, DataValue, DateTime, NodeId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::scene::{Scene, Scenes};
use crate::plant::pulse::{BEAT, Pulse};
use crate::store::clock;
use watch::{AGAIN, INTRODUCTIONS, Stamps, interval};
pub use watch::{Trigger, Watch, Watched};

/// Soon after its creation an item is looked at whatever its interval: the server layer registers it only after the
/// initial value was read, and what changed in between would be lost.
const SOON: Duration = Duration::from_millis(50);
/// Items left behind, at some 100 bytes each, before the server layer begins anew.
const MOST_LEFT: usize = 500_000;
/// Values handed over under one lock of the server layer.
const BATCH: usize = 1000;

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

    /// Looks at items when they are due, until dropped; `pulse` beats with each look, and while none is due.
    pub async fn run(&self, scenes: &Scenes, subscriptions: Arc<SubscriptionCache>, pulse: &Pulse) {
        loop {
            pulse.beat();
            let next = self.items().due.peek().map(|Reverse((due, _))| *due);
            match next {
                Some(due) if due > Instant::now() => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = tokio::time::sleep(BEAT) => continue,
                        () = self.changed.notified() => continue,
                    }
                }
                Some(_) => {}
                None => {
                    // changed, or time for a beat
                    let _ = tokio::time::timeout(BEAT, self.changed.notified()).await;
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
    use opcua::types::{NumericRange, Variant};

    use super::watch::Seen;
    use super::*;
    use crate::plant::opcua::space::Node;
    use crate::quality::{Cause, Causes};
    use crate::sample::Sample;

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
        for (text, want) in [
            ("None", Some(Trigger::Unfiltered)),
            ("DataChangeFilter(ParsedDataChangeFilter { trigger: Status, deadband: None })", Some(Trigger::Filtered)),
            (
                "DataChangeFilter(ParsedDataChangeFilter { trigger: StatusValueTimestamp, deadband: None })",
                Some(Trigger::Timestamp),
            ),
            ("EventFilter(…)", None),
        ] {
            assert_eq!(Trigger::of(text), want, "{text}");
        }
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
