//! Monitored items made, changed, deleted (OPC 10000-4, 5.13): what a client asks for becomes an [`Item`] in its
//! subscription and a look in [`Watched`](super::watched::Watched).

use std::collections::VecDeque;

use opcua::types::{AttributeId, MonitoringMode, StatusCode, TimestampsToReturn, Variant};

use super::again::is_looked_at;
use super::event::{Checked, EventFilter};
use super::filter::{self, Asked, Filter};
use super::item::{Item, Queue, Seen, Settings, Target};
use super::watched::{self, Look, Place};
use super::{Subscriptions, event, events::Events, revise};
use crate::plan::TagIndex;
use crate::plant::opcua::limits::{FASTEST_MS, Limits};
use crate::plant::opcua::mapping::{self, Property};
use crate::plant::opcua::sampler;
use crate::plant::opcua::scene::{Encoding, Scene};
use crate::plant::opcua::service::attribute::unknown;
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::space::range::Ranges;
use crate::plant::opcua::versions::Versions;
use crate::plant::opcua::wire::{Reader, Structure};
use crate::store::clock;

/// Shortest interval of what is no signal, in milliseconds: it changes by reload, or by the second.
const FASTEST_OTHER_MS: f64 = 100.0;
/// Shortest between two looks at what only a reload changes, in nanoseconds, whatever the client is told.
pub(super) const FASTEST_CONSTANT: u64 = 1_000_000_000;

/// Items that wait for events, of all clients together: each event is compared with each of them.
const MOST_EVENT_ITEMS: usize = 1_000;

/// A new item, as far as it can be said without its subscription.
pub struct Wanted {
    target: Node,
    attribute: AttributeId,
    range: Option<Box<Ranges>>,
    mode: MonitoringMode,
    settings: Settings,
    /// -1 was asked for: with the publishing interval.
    with_publishing: bool,
    events: Option<Box<EventFilter>>,
    initial: Option<Seen>,
    /// A signal, in its record.
    place: Option<(Place, TagIndex)>,
    /// What is told about a filter for events.
    pub checked: Option<Checked>,
}

/// MonitoringParameters (OPC 10000-4, 7.21).
pub struct Parameters<'a> {
    pub client_handle: u32,
    /// Milliseconds.
    pub sampling_interval: f64,
    pub filter: Structure<'a>,
    pub queue_size: u32,
    pub discard_oldest: bool,
}

impl<'a> Parameters<'a> {
    pub fn read(reader: &mut Reader<'a>) -> Result<Parameters<'a>, StatusCode> {
        Ok(Parameters {
            client_handle: reader.u32()?,
            sampling_interval: reader.f64()?,
            filter: reader.structure()?,
            queue_size: reader.u32()?,
            discard_oldest: reader.bool()?,
        })
    }
}

/// Why an item was refused, and what is told about its filter.
pub type Refused = (StatusCode, Option<Checked>);

pub fn mode(number: u32) -> Result<MonitoringMode, StatusCode> {
    match number {
        0 => Ok(MonitoringMode::Disabled),
        1 => Ok(MonitoringMode::Sampling),
        2 => Ok(MonitoringMode::Reporting),
        _ => Err(StatusCode::BadMonitoringModeInvalid),
    }
}

/// Where in the store an item looks: a signal's value, whole.
fn place(scene: &Scene, node: Node, attribute: AttributeId, range: &Ranges) -> Option<(Place, TagIndex)> {
    let Node::Signal(tag, source) = node else { return None };
    if attribute != AttributeId::Value || !range.is_empty() {
        return None;
    }
    let of = scene.view.plan.tags.get(tag)?;
    let group = scene.view.plan.messages[of.message].message.signals[of.signal].group;
    Some((Place { message: of.message, slot: source.map_or(0, |source| source.slot), group }, tag))
}

/// Whether a deadband makes sense, and the range it may be a share of.
pub(super) fn analog(scene: &Scene, node: Node, attribute: AttributeId) -> (bool, Option<(f64, f64)>) {
    match node {
        Node::Signal(tag, _) if attribute == AttributeId::Value => {
            let signal = scene.view.plan.signal(tag);
            let number = mapping::value_type(signal) != mapping::Type::Boolean;
            let range = mapping::has_property(signal, Property::EuRange).then(|| mapping::range(signal)).flatten();
            (number, range)
        }
        _ => (false, None),
    }
}

/// The sampling interval in nanoseconds and as the client is told. `publishing`: that of the subscription, in milliseconds.
pub(super) fn interval(asked: f64, signal: bool, publishing: f64) -> (u64, f64) {
    let asked = if asked < 0.0 { publishing } else { asked };
    if signal && asked == 0.0 {
        return (0, 0.0);
    }
    let fastest = if signal { FASTEST_MS } else { FASTEST_OTHER_MS };
    // few different intervals: whole steps of five milliseconds, from a second on of a tenth
    let asked = revise(asked).max(fastest);
    let step = if asked > 1000.0 { 10f64.powf(asked.log10().floor() - 1.0) } else { 5.0 };
    let told = (asked / step).ceil() * step;
    ((told * 1e6) as u64, told)
}

/// One look at whatever an item is about.
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

/// Reads one item to be created and finds out what it is about. `Err` of the outer: the request is malformed.
pub fn wanted(
    reader: &mut Reader<'_>,
    scene: &Scene,
    user: &User,
    limits: &Limits,
    timestamps: TimestampsToReturn,
    versions: &mut Versions,
) -> Result<Result<Wanted, Refused>, StatusCode> {
    let id = reader.node_id()?;
    let attribute = reader.u32()?;
    let range = reader.string()?.unwrap_or_default();
    let encoding = Encoding::of(reader.name()?);
    let monitoring = reader.u32()?;
    let parameters = Parameters::read(reader)?;
    Ok((|| {
        let refused = |status| (status, None);
        let node = scene.seen(id, user).ok_or_else(|| refused(unknown(id)))?;
        let attribute = AttributeId::from_u32(attribute).map_err(|_| refused(StatusCode::BadAttributeIdInvalid))?;
        let range = Ranges::parse(range).map_err(refused)?;
        encoding.check(attribute).map_err(refused)?;
        let mode = mode(monitoring).map_err(refused)?;
        let place = place(scene, node, attribute, &range);
        let Parameters { client_handle, sampling_interval, queue_size, discard_oldest, .. } = parameters;
        let asked = filter::read(parameters.filter).map_err(refused)?;
        let data = matches!(asked, Asked::Data(_));
        if data == (attribute == AttributeId::EventNotifier) {
            let status = if data { StatusCode::BadMonitoredItemFilterInvalid } else { StatusCode::BadFilterNotAllowed };
            // without a filter the attribute itself may be watched
            if !(data && parameters.filter.body.is_none()) {
                return Err(refused(status));
            }
        }
        let (filter, events, checked) = match asked {
            Asked::Data(filter) => (filter, None, None),
            Asked::Event(mut reader) => {
                let (events, checked) = event::read(&mut reader, &scene.space.standard)
                    .map_err(|(status, checked)| (status, Some(checked)))?;
                if !is_notifier(scene, node, user) {
                    return Err(refused(StatusCode::BadAttributeIdInvalid));
                }
                (Filter::DEFAULT, Some(Box::new(events)), Some(checked))
            }
        };
        let (number, of) = analog(scene, node, attribute);
        let width = filter.width(number, of).map_err(refused)?;
        let initial = match &events {
            Some(_) => None,
            None => {
                let seen = look(scene, node, attribute, Some(&range), user, versions);
                let no_such = [
                    StatusCode::BadAttributeIdInvalid,
                    StatusCode::BadIndexRangeInvalid,
                    StatusCode::BadUserAccessDenied,
                    StatusCode::BadNotReadable,
                ];
                if no_such.contains(&seen.status) {
                    return Err(refused(seen.status));
                }
                Some(seen)
            }
        };
        let settings = Settings {
            client_handle,
            interval: 0,
            told_interval: sampling_interval,
            queue_size: queue(queue_size, limits, events.is_some()),
            discard_oldest,
            timestamps,
            filter,
            width,
        };
        let range = (!range.is_empty()).then(|| Box::new(range));
        let with_publishing = sampling_interval < 0.0;
        Ok(Wanted { target: node, attribute, range, mode, settings, with_publishing, events, initial, place, checked })
    })())
}

fn is_notifier(scene: &Scene, node: Node, user: &User) -> bool {
    let value = scene.space.attribute(node, AttributeId::EventNotifier, user);
    matches!(value, Ok(Variant::Byte(bits)) if bits & 1 != 0)
}

/// The queue that a client gets.
fn queue(asked: u32, limits: &Limits, events: bool) -> u32 {
    let most = u32::try_from(limits.queue_size).unwrap_or(u32::MAX).max(1);
    // 0 is one value; for events the server's choice (5.13.1.5)
    if asked == 0 && events { most.min(1000) } else { asked.clamp(1, most) }
}

/// What is told about an item that was created or changed.
pub struct Made {
    pub id: u32,
    /// Milliseconds.
    pub interval: f64,
    pub queue_size: u32,
}

impl Subscriptions {
    /// Adds an item to a subscription of the session.
    pub fn add(&mut self, session: u32, id: u32, wanted: Wanted, now: u64) -> Result<Made, StatusCode> {
        if self.items >= self.limits.monitored_items {
            return Err(StatusCode::BadTooManyMonitoredItems);
        }
        let most = self.limits.monitored_items_per_subscription;
        let (scene, event_items) = (self.scene(), self.event_items.len());
        let number = self.next_item.checked_add(1).unwrap_or(1);
        let subscription = self.of(session, id)?;
        if subscription.items.len() >= most || subscription.items.contains_key(&number) {
            return Err(StatusCode::BadTooManyMonitoredItems);
        }
        let Wanted { target, attribute, range, mode, mut settings, with_publishing, events, initial, place, .. } =
            wanted;
        let publishing = subscription.settings.interval_ms();
        let asked = if with_publishing { -1.0 } else { settings.told_interval };
        (settings.interval, settings.told_interval) = interval(asked, place.is_some(), publishing);
        let is_event = events.is_some();
        if is_event && event_items >= MOST_EVENT_ITEMS {
            return Err(StatusCode::BadTooManyMonitoredItems);
        }
        if is_event {
            (settings.interval, settings.told_interval) = (0, 0.0);
        }
        if place.is_none() && !scene.is_live(target, attribute) {
            settings.interval = settings.interval.max(FASTEST_CONSTANT);
        }
        let made = Made { id: number, interval: settings.told_interval, queue_size: settings.queue_size };
        let every = settings.interval;
        let queue = match events {
            Some(filter) => Queue::Events(Box::new(Events::new(*filter))),
            None => Queue::Values(VecDeque::new()),
        };
        let item = Item {
            id: number,
            target: Target::Node(target),
            attribute,
            range,
            mode,
            settings,
            queue,
            last: None,
            links: Vec::new(),
            triggered: false,
            listed: false,
            gap: false,
            turned: 0,
            scene: scene.number,
            looked: now,
        };
        subscription.items.insert(number, item);
        self.next_item = number;
        self.items += 1;
        let key = (id, number);
        if is_event {
            self.event_items.insert(key);
        } else if mode != MonitoringMode::Disabled {
            self.watch(key, every, place, initial.as_ref().map_or(0, |seen| seen.source_time), now);
            if let Some(seen) = initial {
                self.offer(key, seen);
            }
        }
        Ok(made)
    }

    /// `since`: source time of the value that the client has.
    pub(super) fn watch(
        &mut self,
        key: (u32, u32),
        interval: u64,
        place: Option<(Place, TagIndex)>,
        since: u64,
        now: u64,
    ) {
        // looked at when its subscription publishes, not in between: what is told is as new as it can be
        let publishing = self.subscriptions.get(&key.0).map_or(0, |subscription| subscription.due);
        let due = watched::first_look(interval, publishing, now);
        match place {
            Some((place, tag)) => {
                self.watched.signal(interval, place, Look { key, tag, marks: 0, fresh: true, since }, due);
            }
            None => self.watched.other(interval, key, due),
        }
    }

    fn unwatch(&mut self, key: (u32, u32)) {
        let scene = &*self.scene();
        let Some(item) = self.subscriptions.get(&key.0).and_then(|one| one.items.get(&key.1)) else { return };
        let user = self.subscriptions.get(&key.0).map(|one| one.user.clone());
        let place = user.and_then(|user| item_place(scene, item, &user)).map(|(place, _)| place);
        let interval = item.settings.interval;
        self.watched.remove(interval, place, key);
    }

    /// Other parameters for an item.
    pub fn change(
        &mut self,
        (session, id, item): (u32, u32, u32),
        parameters: &Parameters<'_>,
        timestamps: TimestampsToReturn,
        now: u64,
    ) -> Result<(Made, Option<Checked>), Refused> {
        let limits = self.limits.clone();
        let scene = &*self.scene();
        let refused = |status| (status, None);
        let subscription = self.of(session, id).map_err(refused)?;
        let publishing = subscription.settings.interval_ms();
        let user = subscription.user.clone();
        let Some(found) = subscription.items.get_mut(&item) else {
            return Err(refused(StatusCode::BadMonitoredItemIdInvalid));
        };
        let asked = filter::read(parameters.filter).map_err(refused)?;
        let mut checked = None;
        let mut settings = Settings {
            client_handle: parameters.client_handle,
            interval: 0,
            told_interval: 0.0,
            queue_size: queue(parameters.queue_size, &limits, found.is_event()),
            discard_oldest: parameters.discard_oldest,
            timestamps,
            filter: Filter::DEFAULT,
            width: 0.0,
        };
        let place = item_place(scene, found, &user);
        match (asked, &mut found.queue) {
            (Asked::Event(mut reader), Queue::Events(queue)) => {
                let (events, told) = event::read(&mut reader, &scene.space.standard)
                    .map_err(|(status, checked)| (status, Some(checked)))?;
                queue.filter = events;
                checked = Some(told);
            }
            (Asked::Data(filter), Queue::Values(_)) => {
                let (number, of) = match found.target {
                    Target::Node(node) => analog(scene, node, found.attribute),
                    Target::Gone(_) => (false, None),
                };
                settings.filter = filter;
                settings.width = filter.width(number, of).map_err(refused)?;
                (settings.interval, settings.told_interval) =
                    interval(parameters.sampling_interval, place.is_some(), publishing);
                if !is_looked_at(scene, found, &user) {
                    settings.interval = settings.interval.max(FASTEST_CONSTANT);
                }
            }
            _ => return Err(refused(StatusCode::BadFilterNotAllowed)),
        }
        let made = Made { id: item, interval: settings.told_interval, queue_size: settings.queue_size };
        let (before, every) = (found.settings.interval, settings.interval);
        let watched = !found.is_event() && found.mode != MonitoringMode::Disabled;
        let since = found.last.as_ref().map_or(0, |last| last.source_time);
        let freed = found.set(settings);
        subscription.bytes = subscription.bytes.saturating_add_signed(freed);
        if watched && before != every {
            self.watched.remove(before, place.map(|(place, _)| place), (id, item));
            self.watch((id, item), every, place, since, now);
        }
        Ok((made, checked))
    }

    /// Takes an item out of its subscription.
    pub fn drop_item(&mut self, session: u32, id: u32, item: u32) -> StatusCode {
        match self.of(session, id) {
            Err(status) => return status,
            Ok(found) if !found.items.contains_key(&item) => return StatusCode::BadMonitoredItemIdInvalid,
            Ok(_) => {}
        }
        self.unwatch((id, item));
        self.event_items.remove(&(id, item));
        if let Some(subscription) = self.subscriptions.get_mut(&id)
            && let Some(gone) = subscription.items.remove(&item)
        {
            subscription.bytes = subscription.bytes.saturating_sub(gone.bytes());
            // what is deleted before it was told leaves no list of its own behind
            if subscription.ready.len() > 2 * subscription.items.len() + 1000 {
                let items = &subscription.items;
                subscription.ready.retain(|id| items.contains_key(id));
            }
            self.items -= 1;
        }
        StatusCode::Good
    }

    /// Switches an item. What waits is dropped when it is disabled (5.13.1.3).
    pub fn switch(&mut self, (session, id, item): (u32, u32, u32), mode: MonitoringMode, now: u64) -> StatusCode {
        let scene = &*self.scene();
        let subscription = match self.of(session, id) {
            Err(status) => return status,
            Ok(subscription) => subscription,
        };
        let user = subscription.user.clone();
        let Some(found) = subscription.items.get_mut(&item) else { return StatusCode::BadMonitoredItemIdInvalid };
        let before = std::mem::replace(&mut found.mode, mode);
        if found.is_event() || before == mode {
            if mode == MonitoringMode::Disabled {
                let freed = found.clear();
                subscription.bytes = subscription.bytes.saturating_add_signed(freed);
            }
            subscription.list(item);
            return StatusCode::Good;
        }
        let key = (id, item);
        if mode == MonitoringMode::Disabled {
            let freed = found.clear();
            found.last = None;
            subscription.bytes = subscription.bytes.saturating_add_signed(freed);
            self.unwatch(key);
        } else if before == MonitoringMode::Disabled {
            let (interval, place) = (found.settings.interval, item_place(scene, found, &user));
            match (place, &found.target) {
                (Some(_), Target::Node(node)) => {
                    let range = found.range.as_deref();
                    let first = look(scene, *node, found.attribute, range, &user, &mut Versions::default());
                    self.watch(key, interval, place, first.source_time, now);
                    self.offer(key, first);
                }
                // what is no signal may be what the server tells about its subscriptions, which are locked now: the sampler
                // reads it in a moment
                _ => {
                    self.watch(key, interval, place, 0, now);
                    self.watched.look_now(interval, now);
                }
            }
        } else {
            // what was only sampled is reported now
            subscription.list(item);
        }
        StatusCode::Good
    }
}

/// What is not there any more.
pub fn gone() -> Seen {
    Seen { value: None, status: StatusCode::BadNodeIdUnknown, source_time: 0, server_time: clock::realtime() }
}

/// Where the signal of an item is, as long as its user may read it.
pub(super) fn item_place(scene: &Scene, item: &Item, user: &User) -> Option<(Place, TagIndex)> {
    let Target::Node(node) = item.target else { return None };
    if !scene.space.may_read(user, node) {
        return None;
    }
    let none = Ranges::default();
    place(scene, node, item.attribute, item.range.as_deref().unwrap_or(&none))
}
