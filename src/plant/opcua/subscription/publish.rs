//! Publish requests: where they wait, and which subscription answers which (OPC 10000-4, 5.14.5).

use std::collections::VecDeque;
use std::sync::Arc;

use opcua::types::StatusCode;

use super::Subscriptions;
use super::cycle::{Due, Message, status_change};
use crate::plant::opcua::channel::Answers;
use crate::plant::opcua::service::Service;
use crate::plant::opcua::session::User;
use crate::plant::opcua::wire::{response, service_fault};

/// Messages about the end of subscriptions that wait for a Publish request of their session.
const MOST_TOLD: usize = 100;

/// A Publish request that waits for something to publish.
pub struct Parked {
    pub answers: Answers,
    /// Of its messages.
    pub request: u32,
    /// Of its header.
    pub handle: u32,
    /// When its client gives up; CLOCK_MONOTONIC nanoseconds.
    pub deadline: Option<u64>,
    /// Id of the channel that it came by.
    pub channel: u32,
    /// Longest response that its client takes, in bytes; 0: any.
    pub most_bytes: u32,
    /// What became of its acknowledgements.
    pub results: Vec<StatusCode>,
}

/// A response that is ready to leave.
pub struct Reply {
    pub answers: Answers,
    pub request: u32,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn send(self) {
        self.answers.send(self.request, self.body);
    }
}

/// What waits in a session.
#[derive(Default)]
pub struct Waiting {
    requests: VecDeque<Parked>,
    /// Ends of subscriptions: number and message.
    told: VecDeque<(u32, Arc<[u8]>)>,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// The answers of all that wait, for a reason.
    pub fn give_up(self, status: StatusCode) -> impl Iterator<Item = Reply> {
        self.requests.into_iter().map(move |parked| Reply {
            body: service_fault(parked.handle, status),
            answers: parked.answers,
            request: parked.request,
        })
    }

    /// When the first request has waited too long.
    pub fn deadline(&self) -> Option<u64> {
        self.requests.iter().filter_map(|request| request.deadline).min()
    }
}

impl Subscriptions {
    /// A Publish request with its acknowledgements.
    pub fn publish(&mut self, session: u32, mut parked: Parked, acknowledged: &[(u32, u32)]) -> Result<(), StatusCode> {
        for (id, number) in acknowledged {
            let result = match self.of(session, *id) {
                Ok(subscription) => subscription.acknowledge(*number),
                Err(status) => status,
            };
            parked.results.push(result);
        }
        let mut has_any = false;
        for own in self.subscriptions.values_mut().filter(|own| own.session == Some(session)) {
            own.diagnostics.publish_requests += 1;
            own.heard();
            has_any = true;
        }
        // nothing is kept for a session that has neither: it may have ended
        if !has_any && self.sessions.get(&session).is_none_or(|waiting| waiting.told.is_empty()) {
            return Err(StatusCode::BadNoSubscription);
        }
        let waiting = self.sessions.entry(session).or_default();
        if waiting.requests.len() >= self.limits.publish_requests_per_session
            && let Some(oldest) = waiting.requests.pop_front()
        {
            let body = service_fault(oldest.handle, StatusCode::BadTooManyPublishRequests);
            self.replies.push(Reply { answers: oldest.answers, request: oldest.request, body });
        }
        let waiting = self.sessions.entry(session).or_default();
        waiting.requests.push_back(parked);
        if let Some((id, bytes)) = waiting.told.pop_front() {
            self.tell(session, id, bytes);
            return Ok(());
        }
        let late = self.subscriptions.values().filter(|own| own.session == Some(session) && own.late);
        let late = late.map(|own| own.id).collect();
        for id in self.in_turn(late) {
            self.serve(id);
        }
        Ok(())
    }

    /// The oldest request of a session whose client is still there.
    fn request(&mut self, session: u32) -> Option<Parked> {
        let waiting = self.sessions.get_mut(&session)?;
        loop {
            let oldest = waiting.requests.pop_front()?;
            if oldest.answers.is_open() {
                return Some(oldest);
            }
        }
    }

    /// Sends what a subscription has to say, as far as there are requests for it.
    pub(super) fn serve(&mut self, id: u32) {
        loop {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
            let wants = subscription.wants();
            if matches!(wants, Due::Nothing | Due::Expired) {
                subscription.late = false;
                return;
            }
            let session = subscription.session;
            let Some(parked) = session.and_then(|session| self.request(session)) else {
                if let Some(subscription) = self.subscriptions.get_mut(&id)
                    && !subscription.late
                {
                    subscription.late = true;
                    subscription.diagnostics.late += 1;
                }
                return;
            };
            let (scene, events) = (self.scene.clone(), &mut self.events);
            let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
            let message = match wants {
                Due::Notifications => subscription.notifications(&scene.space.standard, &mut || {
                    *events += 1;
                    let mut id = [0xFF; 16];
                    id[..8].copy_from_slice(&events.to_le_bytes());
                    id
                }),
                _ => subscription.keep_alive(),
            };
            self.served += 1;
            subscription.served = self.served;
            self.notifications += message.values;
            let available: Vec<u32> = subscription.available().collect();
            let more = message.more;
            self.reply(parked, id, &available, message);
            if !more {
                return;
            }
        }
    }

    fn reply(&mut self, parked: Parked, id: u32, available: &[u32], message: Message) {
        let mut writer = response(Service::Publish.response(), parked.handle, StatusCode::Good);
        writer.u32(id);
        writer.count(available.len());
        available.iter().for_each(|number| writer.u32(*number));
        writer.bool(message.more);
        writer.raw(&message.bytes);
        writer.count(parked.results.len());
        parked.results.iter().for_each(|status| writer.status(*status));
        writer.i32(-1);
        let mut body = writer.finish();
        if parked.most_bytes > 0 && body.len() > parked.most_bytes as usize {
            // the message is kept: Republish may bring it to a session that takes more
            body = service_fault(parked.handle, StatusCode::BadResponseTooLarge);
        }
        self.replies.push(Reply { answers: parked.answers, request: parked.request, body });
    }

    /// Tells a session of the end of a subscription, now or with its next request.
    pub(super) fn tell(&mut self, session: u32, id: u32, bytes: Arc<[u8]>) {
        if let Some(parked) = self.request(session) {
            let message = Message { bytes, more: false, values: 0 };
            self.reply(parked, id, &[], message);
            self.release_idle(session);
            return;
        }
        let told = &mut self.sessions.entry(session).or_default().told;
        if told.len() < MOST_TOLD {
            told.push_back((id, bytes));
        }
    }

    /// Answers the requests of a session that has no subscription left.
    pub(super) fn release_idle(&mut self, session: u32) {
        if self.subscriptions.values().any(|own| own.session == Some(session)) {
            return;
        }
        let Some(waiting) = self.sessions.get_mut(&session) else { return };
        let idle = Waiting { requests: std::mem::take(&mut waiting.requests), told: VecDeque::new() };
        self.replies.extend(idle.give_up(StatusCode::BadNoSubscription));
    }

    /// Answers the requests whose clients have given up.
    pub(super) fn time_out(&mut self, now: u64) {
        for waiting in self.sessions.values_mut() {
            if waiting.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            let (late, others) =
                waiting.requests.drain(..).partition(|parked| parked.deadline.is_some_and(|deadline| deadline <= now));
            waiting.requests = others;
            let late: VecDeque<Parked> = late;
            self.replies.extend(late.into_iter().map(|parked| Reply {
                body: service_fault(parked.handle, StatusCode::BadTimeout),
                answers: parked.answers,
                request: parked.request,
            }));
        }
    }

    /// A session goes on on another channel: what came by another one is answered there (OPC 10000-4, 5.7.3.1).
    pub fn channel_left(&mut self, session: u32, now_on: u32) {
        let Some(waiting) = self.sessions.get_mut(&session) else { return };
        let (left, others): (VecDeque<Parked>, VecDeque<Parked>) =
            waiting.requests.drain(..).partition(|parked| parked.channel != now_on);
        waiting.requests = others;
        let left = Waiting { requests: left, told: VecDeque::new() };
        self.replies.extend(left.give_up(StatusCode::BadSecureChannelClosed));
    }

    /// Gives up requests with this handle; how many there were (Cancel, 5.7.5).
    pub fn cancel(&mut self, session: u32, handle: u32) -> u32 {
        let Some(waiting) = self.sessions.get_mut(&session) else { return 0 };
        let before = waiting.requests.len();
        let (cancelled, others): (VecDeque<Parked>, VecDeque<Parked>) =
            waiting.requests.drain(..).partition(|parked| parked.handle == handle);
        waiting.requests = others;
        self.replies.extend(cancelled.into_iter().map(|parked| Reply {
            body: service_fault(parked.handle, StatusCode::BadRequestCancelledByClient),
            answers: parked.answers,
            request: parked.request,
        }));
        (before - self.sessions.get(&session).map_or(0, Waiting::len)) as u32
    }

    /// Gives a subscription to another session of the same user (5.14.7). Gives the numbers of its kept messages.
    pub fn transfer(
        &mut self,
        id: u32,
        session: u32,
        (user, client): (&Arc<User>, &str),
        initial: bool,
    ) -> Result<Vec<u32>, StatusCode> {
        let own = self.subscriptions.values().filter(|own| own.session == Some(session)).count();
        let most = self.limits.subscriptions_per_session;
        let subscription = self.subscriptions.get_mut(&id).ok_or(StatusCode::BadSubscriptionIdInvalid)?;
        subscription.diagnostics.transfer_requests += 1;
        // without a name it is the application that counts
        let same = subscription.user == *user && (!user.is_anonymous() || subscription.client == client);
        if !same {
            return Err(StatusCode::BadUserAccessDenied);
        }
        let before = subscription.session;
        if before != Some(session) && own >= most {
            return Err(StatusCode::BadTooManySubscriptions);
        }
        match subscription.client == client {
            true => subscription.diagnostics.transferred_to_same += 1,
            false => subscription.diagnostics.transferred_to_other += 1,
        }
        subscription.session = Some(session);
        // who speaks another language there
        subscription.user = user.clone();
        subscription.heard();
        let available = subscription.available().collect();
        if initial {
            self.lost += subscription.resend();
        }
        let last = status_change(subscription, StatusCode::GoodSubscriptionTransferred);
        if let Some(before) = before.filter(|before| *before != session) {
            self.tell(before, id, last);
        }
        Ok(available)
    }
}
