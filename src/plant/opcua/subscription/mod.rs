//! Subscriptions and their monitored items (OPC 10000-4, 5.13 and 5.14). A state machine: `now` comes in, responses go out.
//!
//! Who looks at the store is the `sampler`; it finds what to look at in [`Subscriptions::watched`], and hands in what it saw.

pub mod again;
mod cycle;
pub mod event;
mod events;
pub mod filter;
pub mod item;
pub mod items;
pub mod look;
mod publish;
pub mod service;
mod trigger;
pub mod watched;

#[cfg(test)]
pub mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use opcua::types::{ObjectId, StatusCode, SubscriptionDiagnosticsDataType};

pub use cycle::{Settings, Subscription};
pub use event::Event;
pub use publish::{Parked, Reply};

use super::limits::{FASTEST_MS, Limits};
use super::scene::Scene;
use super::session::User;
use super::wire::NodeRef;
use crate::plant::access::Roles;
use crate::store::clock;
use cycle::Due;
use item::{Change, Queue, Seen};
use publish::Waiting;
use watched::Watched;

/// Longest publishing and sampling interval, in milliseconds.
const SLOWEST_MS: f64 = 24.0 * 3600.0 * 1000.0;
/// Longest lifetime of a subscription without its client, in milliseconds.
const LONGEST_LIFE_MS: f64 = 24.0 * 3600.0 * 1000.0;
/// Most intervals between two messages.
const MOST_KEEP_ALIVE: u32 = 100_000;

/// What all of it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub subscriptions: u64,
    /// Different publishing intervals.
    pub intervals: u64,
    pub items: u64,
    /// Subscriptions ever.
    pub created: u64,
    /// Values and events sent.
    pub notifications: u64,
    /// Values and events that did not fit.
    pub lost: u64,
}

/// All subscriptions of the server.
pub struct Subscriptions {
    limits: Limits,
    next: u32,
    next_item: u32,
    subscriptions: BTreeMap<u32, Subscription>,
    sessions: HashMap<u32, Waiting>,
    /// What the sampler has to look at.
    pub watched: Watched,
    /// What the nodes of all items are of.
    scene: Arc<Scene>,
    items: usize,
    /// Items that wait for events.
    event_items: BTreeSet<(u32, u32)>,
    events: u64,
    created: u64,
    notifications: u64,
    lost: u64,
    replies: Vec<Reply>,
    /// Answers ever, for the order between subscriptions.
    served: u64,
    /// CLOCK_REALTIME of the start: makes EventIds other ones than those of an earlier run.
    born: u64,
}

/// A publishing or sampling interval in milliseconds, inside our limits.
pub fn revise(milliseconds: f64) -> f64 {
    if milliseconds.is_nan() { FASTEST_MS } else { milliseconds.clamp(FASTEST_MS, SLOWEST_MS) }
}

impl Settings {
    /// From what a client asks for (5.14.2.2): a lifetime is at least three times the keep-alive.
    pub fn revised(interval: f64, lifetime: u32, keep_alive: u32, most: u32, priority: u8) -> Settings {
        let interval = revise(interval);
        let longest = (LONGEST_LIFE_MS / interval).max(3.0) as u32;
        let keep_alive = match keep_alive {
            // the server's choice: about ten seconds
            0 => (10_000.0 / interval).clamp(1.0, 10_000.0) as u32,
            asked => asked.min(MOST_KEEP_ALIVE),
        };
        let keep_alive = keep_alive.clamp(1, (longest / 3).max(1));
        let lifetime = lifetime.clamp(keep_alive.saturating_mul(3), longest.max(keep_alive.saturating_mul(3)));
        Settings { interval: (interval * 1e6) as u64, lifetime, keep_alive, most, priority }
    }

    /// Publishing interval in milliseconds.
    pub fn interval_ms(&self) -> f64 {
        self.interval as f64 / 1e6
    }
}

impl Subscriptions {
    pub fn new(limits: Limits, scene: Arc<Scene>) -> Subscriptions {
        Subscriptions {
            limits,
            next: 0,
            next_item: 0,
            subscriptions: BTreeMap::new(),
            sessions: HashMap::new(),
            watched: Watched::default(),
            scene,
            items: 0,
            event_items: BTreeSet::new(),
            events: 0,
            created: 0,
            notifications: 0,
            lost: 0,
            replies: Vec::new(),
            served: 0,
            born: clock::realtime(),
        }
    }

    /// The next subscription and the next item have numbers above this one. A client that comes back after a restart with the
    /// numbers that it had must not meet somebody else's (OPC 10000-4, 5.14.2.2).
    pub fn number_from(&mut self, number: u32) {
        (self.next, self.next_item) = (number, number);
    }

    /// What the items' nodes are of.
    pub fn scene(&self) -> Arc<Scene> {
        self.scene.clone()
    }

    /// Responses that are ready to leave; to be sent without the lock.
    #[must_use]
    pub fn replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    pub fn create(
        &mut self,
        session: u32,
        user: &Arc<User>,
        client: &str,
        settings: Settings,
        enabled: bool,
        now: u64,
    ) -> Result<u32, StatusCode> {
        let own = self.subscriptions.values().filter(|other| other.session == Some(session)).count();
        if self.subscriptions.len() >= self.limits.subscriptions || own >= self.limits.subscriptions_per_session {
            return Err(StatusCode::BadTooManySubscriptions);
        }
        let id = loop {
            self.next = self.next.checked_add(1).unwrap_or(1);
            if !self.subscriptions.contains_key(&self.next) {
                break self.next;
            }
        };
        let mut made = Subscription::new(id, session, user.clone(), client.to_owned(), settings, now);
        made.enabled = enabled;
        self.subscriptions.insert(id, made);
        self.created += 1;
        Ok(id)
    }

    /// A subscription of this session.
    pub fn of(&mut self, session: u32, id: u32) -> Result<&mut Subscription, StatusCode> {
        let found = self.subscriptions.get_mut(&id).filter(|found| found.session == Some(session));
        found.ok_or(StatusCode::BadSubscriptionIdInvalid)
    }

    /// Any subscription.
    pub fn get(&self, id: u32) -> Option<&Subscription> {
        self.subscriptions.get(&id)
    }

    pub fn delete(&mut self, session: u32, id: u32) -> StatusCode {
        if self.of(session, id).is_err() {
            return StatusCode::BadSubscriptionIdInvalid;
        }
        self.remove(id);
        // whoever waits for nothing is told (5.14.5)
        self.release_idle(session);
        StatusCode::Good
    }

    fn remove(&mut self, id: u32) -> Option<Subscription> {
        let gone = self.subscriptions.remove(&id)?;
        self.items -= gone.items.len();
        self.event_items.retain(|(subscription, _)| *subscription != id);
        self.watched.forget(id);
        Some(gone)
    }

    /// A session has ended.
    pub fn session_closed(&mut self, session: u32, with_subscriptions: bool) {
        // whoever waits is told, or its connection would wait for ever (5.7.4)
        let waiting = self.sessions.remove(&session).unwrap_or_default();
        self.replies.extend(waiting.give_up(StatusCode::BadSessionClosed));
        let own: Vec<u32> =
            self.subscriptions.values().filter(|own| own.session == Some(session)).map(|own| own.id).collect();
        for id in own {
            if with_subscriptions {
                self.remove(id);
            } else if let Some(left) = self.subscriptions.get_mut(&id) {
                left.session = None;
            }
        }
    }

    /// How many subscriptions, monitored items and waiting Publish requests a session has.
    pub fn counts(&self, session: u32) -> (u32, u32, u32) {
        let own = self.subscriptions.values().filter(|own| own.session == Some(session));
        let (count, items) = own.fold((0, 0), |(count, items), own| (count + 1, items + own.items.len() as u32));
        let waiting = self.sessions.get(&session).map_or(0, |waiting| waiting.len() as u32);
        (count, items, waiting)
    }

    pub fn totals(&self) -> Totals {
        let intervals: BTreeSet<u64> = self.subscriptions.values().map(|one| one.settings.interval).collect();
        Totals {
            subscriptions: self.subscriptions.len() as u64,
            intervals: intervals.len() as u64,
            items: self.items as u64,
            created: self.created,
            notifications: self.notifications,
            lost: self.lost,
        }
    }

    /// A sample of a monitored item.
    pub fn offer(&mut self, (subscription, item): (u32, u32), seen: Seen) {
        let Some(subscription) = self.subscriptions.get_mut(&subscription) else { return };
        let Some(found) = subscription.items.get_mut(&item) else { return };
        let change = found.offer(seen);
        if change.news {
            Self::changed(subscription, item, change, &mut self.lost);
        }
    }

    /// An item and the user that it looks for.
    pub fn item_mut(&mut self, (subscription, item): (u32, u32)) -> Option<(Arc<User>, &mut item::Item)> {
        let subscription = self.subscriptions.get_mut(&subscription)?;
        let user = subscription.user.clone();
        Some((user, subscription.items.get_mut(&item)?))
    }

    /// When something has to be looked at, published or given up next.
    pub fn next_look(&self) -> Option<u64> {
        let looks = self.watched.classes.values().map(|class| class.due).min();
        looks.into_iter().chain(self.next_due()).min()
    }

    /// Values of these items were lost before the next one.
    pub fn gap(&mut self, (subscription, item): (u32, u32)) {
        if let Some(found) = self.subscriptions.get_mut(&subscription).and_then(|found| found.items.get_mut(&item)) {
            found.gap = found.last.is_some();
        }
    }

    /// Something was queued: what hangs on it is reported too.
    fn changed(subscription: &mut Subscription, id: u32, change: Change, lost: &mut u64) {
        subscription.bytes = subscription.bytes.saturating_add_signed(change.bytes);
        *lost += change.lost;
        let is_event = subscription.items.get(&id).is_some_and(item::Item::is_event);
        let diagnostics = &mut subscription.diagnostics;
        let count = if is_event { &mut diagnostics.event_overflows } else { &mut diagnostics.overflows };
        *count = count.wrapping_add(u32::from(change.lost > 0));
        subscription.list(id);
        let links = subscription.items.get(&id).map(|item| item.links.clone()).unwrap_or_default();
        for link in links {
            if let Some(item) = subscription.items.get_mut(&link) {
                item.triggered = true;
            }
            subscription.list(link);
        }
    }

    /// Whether anybody would be told of an event.
    pub fn wants_events(&self) -> bool {
        !self.event_items.is_empty()
    }

    /// The roles of those who would be told of an event, each once.
    pub fn audiences(&self) -> Vec<Roles> {
        let mut all: Vec<Roles> = Vec::new();
        for (subscription, _) in &self.event_items {
            let roles = self.subscriptions.get(subscription).map(|subscription| subscription.user.roles);
            all.extend(roles.filter(|roles| !all.contains(roles)));
        }
        all
    }

    /// Something has happened: to whoever has subscribed to it.
    pub fn event(&mut self, event: &Event) {
        self.events += 1;
        self.deliver(event, self.events, None);
        self.relieve();
    }

    /// Numbers of the first and the last event of a refresh, which are the same for all its items (OPC 10000-9, 5.5.7).
    pub fn refresh_numbers(&mut self) -> (u64, u64) {
        self.events += 2;
        (self.events - 1, self.events)
    }

    /// Only to one item: all that ConditionRefresh tells, in one piece (OPC 10000-9, 5.5.7 and 5.5.8).
    pub fn refresh(&mut self, events: &[Event], (start, end): (u64, u64), (subscription, item): (u32, u32)) {
        let Some(found) = self.subscriptions.get_mut(&subscription) else { return };
        let Some(Queue::Events(queue)) = found.items.get_mut(&item).map(|item| &mut item.queue) else { return };
        let change = queue.begin_refresh();
        found.bytes = found.bytes.saturating_add_signed(change.bytes);
        for (at, event) in events.iter().enumerate() {
            self.deliver(event, if at == 0 { start } else { end }, Some((subscription, item)));
        }
        self.relieve();
    }

    /// `number`: makes its EventId, where it is none of a condition.
    fn deliver(&mut self, event: &Event, number: u64, only: Option<(u32, u32)>) {
        let id = match &event.condition {
            Some(condition) => condition.id,
            None => {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&number.to_le_bytes());
                id[8..].copy_from_slice(&self.born.to_le_bytes());
                id
            }
        };
        // what is about the client's own picture is told wherever it has subscribed, to whoever may subscribe at all
        let everywhere = event.is_of_refresh();
        let server = self.scene.find(NodeRef::Numeric(0, ObjectId::Server as u32));
        let source = self.scene.find(NodeRef::from(&event.source_node));
        let told: Vec<_> = event.notifiers.iter().filter_map(|id| self.scene.find(NodeRef::from(id))).collect();
        let everybody = only.is_none().then_some(&self.event_items).into_iter().flatten();
        for (number, item) in only.into_iter().chain(everybody.copied()) {
            let Some(subscription) = self.subscriptions.get_mut(&number) else { continue };
            if !everywhere && !self.scene.may_be_told(&subscription.user, event, source) {
                continue;
            }
            let Some(found) = subscription.items.get_mut(&item) else { continue };
            let item::Target::Node(at) = found.target else { continue };
            if !everywhere && Some(at) != server && !told.contains(&at) {
                continue;
            }
            let Queue::Events(queue) = &mut found.queue else { continue };
            if found.mode == opcua::types::MonitoringMode::Disabled {
                continue;
            }
            let Some(fields) = queue.filter.apply(event, &id, &self.scene.space.standard) else { continue };
            let change = if only.is_some() { queue.push_refresh(fields) } else { found.push_event(fields) };
            Self::changed(subscription, item, change, &mut self.lost);
        }
    }

    /// Keeps what all subscriptions hold below its limit: the greediest gives.
    fn relieve(&mut self) {
        let most = self.limits.queue_bytes;
        let mut held: usize = self.subscriptions.values().map(|one| one.bytes).sum();
        while held > most {
            let Some(greediest) = self.subscriptions.values_mut().max_by_key(|one| one.bytes) else { return };
            let before = greediest.bytes;
            // half of it, so that this is not done again with the next value
            let lost = greediest.shed(before / 2);
            greediest.diagnostics.overflows = greediest.diagnostics.overflows.wrapping_add(u32::from(lost > 0));
            self.lost += lost;
            let freed = before.saturating_sub(greediest.bytes);
            if freed == 0 {
                // one value for each item: that is what the number of items limits
                return;
            }
            held -= freed;
        }
    }

    /// When the next publishing timer expires, or a Publish request has waited too long.
    pub fn next_due(&self) -> Option<u64> {
        let timers = self.subscriptions.values().map(|one| one.due);
        let requests = self.sessions.values().filter_map(Waiting::deadline);
        timers.chain(requests).min()
    }

    /// Whatever is due at `now`.
    pub fn tick(&mut self, now: u64) {
        self.relieve();
        let due: Vec<u32> = self.subscriptions.values().filter(|one| one.due <= now).map(|one| one.id).collect();
        for id in self.in_turn(due) {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            match subscription.expire(now) {
                Due::Nothing => {}
                Due::Notifications | Due::KeepAlive => self.serve(id),
                Due::Expired => {
                    let session = subscription.session;
                    let last = cycle::status_change(subscription, StatusCode::BadTimeout);
                    self.remove(id);
                    if let Some(session) = session {
                        self.tell(session, id, last);
                    }
                }
            }
        }
        self.time_out(now);
    }

    /// The more important first, among equals the one that was answered longest ago (5.14.1.1).
    fn in_turn(&self, ids: Vec<u32>) -> Vec<u32> {
        let mut order: Vec<(u8, u64, u32)> = ids
            .into_iter()
            .filter_map(|id| self.subscriptions.get(&id))
            .map(|one| (u8::MAX - one.settings.priority, one.served, one.id))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, _, id)| id).collect()
    }

    /// As SubscriptionDiagnosticsArray has it.
    pub fn diagnostics(&self) -> Vec<SubscriptionDiagnosticsDataType> {
        let of = |one: &Subscription| {
            let numbers = &one.diagnostics;
            let disabled = |mode: opcua::types::MonitoringMode| mode == opcua::types::MonitoringMode::Disabled;
            SubscriptionDiagnosticsDataType {
                session_id: one.session.map_or(opcua::types::NodeId::null(), |id| opcua::types::NodeId::new(1, id)),
                subscription_id: one.id,
                priority: one.settings.priority,
                publishing_interval: one.settings.interval_ms(),
                max_keep_alive_count: one.settings.keep_alive,
                max_lifetime_count: one.settings.lifetime,
                max_notifications_per_publish: one.settings.most,
                publishing_enabled: one.enabled,
                modify_count: numbers.modified,
                enable_count: numbers.enabled,
                disable_count: numbers.disabled,
                republish_request_count: numbers.republish_requests,
                republish_message_request_count: numbers.republish_requests,
                republish_message_count: numbers.republished,
                transfer_request_count: numbers.transfer_requests,
                transferred_to_alt_client_count: numbers.transferred_to_other,
                transferred_to_same_client_count: numbers.transferred_to_same,
                publish_request_count: numbers.publish_requests,
                data_change_notifications_count: numbers.data_changes,
                event_notifications_count: numbers.events,
                notifications_count: numbers.data_changes.wrapping_add(numbers.events),
                late_publish_request_count: numbers.late,
                current_keep_alive_count: one.silent(),
                current_lifetime_count: one.alone(),
                unacknowledged_message_count: numbers.unacknowledged,
                discarded_message_count: numbers.discarded,
                monitored_item_count: one.items.len() as u32,
                disabled_monitored_item_count: one.items.values().filter(|item| disabled(item.mode)).count() as u32,
                monitoring_queue_overflow_count: numbers.overflows,
                next_sequence_number: one.next_sequence(),
                event_queue_overflow_count: numbers.event_overflows,
            }
        };
        self.subscriptions.values().map(of).collect()
    }
}
