//! Secure channels over TCP (OPC 10000-6, 6.7 and 7.1; OPC 10000-4, 5.6): from accepted connections to whole, decrypted
//! requests, and back.
//!
//! `listener` counts, `connection` and `writing` move bytes and keep time, `open` answers OpenSecureChannel; `framing` and `security` are
//! pure. Whoever answers requests sees none of it: a [`Channel`], [`Answers`], and the bytes of a body.

mod connection;
mod framing;
#[cfg(fuzzing)]
pub mod fuzz;
mod listener;
mod open;
mod security;
mod trusted;
mod turns;
mod writing;

#[cfg(test)]
pub mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opcua::crypto::SecurityPolicy;
use opcua::types::{MessageSecurityMode, StatusCode};
use tokio::sync::{Notify, mpsc};

pub use listener::serve;
pub use turns::{Turn, Turns};

use super::application::Application;
use super::counters::Counters;
use super::limits::Limits;
use super::pki::{Certificate, Trust};
use framing::Refusal;

/// What the listener goes by.
#[derive(Clone)]
pub struct Door {
    pub application: Arc<Application>,
    pub trust: Arc<Trust>,
    pub max_connections: usize,
    pub limits: Limits,
    pub counters: Arc<Counters>,
    /// Told of what is to be audited. It must not block.
    pub tell: Tell,
}

/// Who is told what happens to channels.
pub type Tell = Arc<dyn Fn(SocketAddr, Notice<'_>) + Send + Sync>;

/// What happens to channels.
pub enum Notice<'a> {
    /// No channel was opened for a certificate, or one ends because of it.
    Certificate { status: StatusCode, der: &'a [u8] },
    /// OpenSecureChannel was carried out, or refused.
    Open(Opening<'a>),
    /// A channel has ended.
    Close(Closing),
}

/// What an OpenSecureChannel asked for, as far as it was understood, and what came of it.
pub struct Opening<'a> {
    pub channel: u32,
    pub policy: SecurityPolicy,
    pub mode: MessageSecurityMode,
    pub renew: bool,
    /// Milliseconds, as asked for.
    pub lifetime: u32,
    /// As it came.
    pub certificate: &'a [u8],
    pub status: StatusCode,
}

/// A channel that has ended, and why: Good where its client has closed it.
pub struct Closing {
    pub channel: u32,
    pub status: StatusCode,
}

/// An open channel, as those who answer requests see it.
pub struct Channel {
    pub id: u32,
    pub policy: SecurityPolicy,
    pub mode: MessageSecurityMode,
    /// The client's, which was found good; `None` without security.
    pub certificate: Option<Arc<Certificate>>,
    pub peer: SocketAddr,
    login: AtomicBool,
    closed: AtomicBool,
    /// Writes and calls, one after the other.
    pub writes: Turns,
}

impl Channel {
    pub fn new(
        id: u32,
        (policy, mode): (SecurityPolicy, MessageSecurityMode),
        certificate: Option<Arc<Certificate>>,
        peer: SocketAddr,
    ) -> Channel {
        Channel {
            id,
            policy,
            mode,
            certificate,
            peer,
            login: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            writes: Turns::default(),
        }
    }

    /// A session was activated on it: large requests are taken from now on.
    pub fn logged_in(&self) {
        self.login.store(true, Ordering::Relaxed);
    }

    /// Its connection has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_logged_in(&self) -> bool {
        self.login.load(Ordering::Relaxed)
    }
}

/// A whole request.
pub struct Request {
    /// Of its messages; the answer has the same.
    pub id: u32,
    pub body: Vec<u8>,
}

/// Where the answers to a connection's requests go.
#[derive(Clone)]
pub struct Answers(Arc<Flow>);

/// What both directions of a connection know of each other.
struct Flow {
    items: mpsc::UnboundedSender<Item>,
    /// Bytes of answers that were not written yet.
    bytes: AtomicUsize,
    /// Requests without an answer.
    unanswered: AtomicUsize,
    closed: AtomicBool,
    /// One of them has changed.
    changed: Notify,
}

/// What the writing side of a connection is told.
enum Item {
    /// What the client can take.
    Hello(framing::Hello),
    /// To be sent as it is.
    Raw(Vec<u8>),
    Open(Box<open::Answer>),
    /// The client has used its new token: so do we (OPC 10000-4, 5.6.2.1).
    Use(Arc<security::Token>),
    Answer {
        request: u32,
        body: Vec<u8>,
    },
    End(Option<Refusal>),
}

impl Answers {
    fn new() -> (Answers, mpsc::UnboundedReceiver<Item>) {
        let (items, receiver) = mpsc::unbounded_channel();
        let flow = Flow {
            items,
            bytes: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
        };
        (Answers(Arc::new(flow)), receiver)
    }

    /// Answers a request, once. What belongs to a connection that has ended is dropped.
    ///
    /// Never more lies here than the answers to the requests that were read: no more are read meanwhile.
    pub fn send(&self, request: u32, body: Vec<u8>) {
        let _ = self.0.unanswered.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
        if self.is_open() {
            self.0.bytes.fetch_add(body.len(), Ordering::AcqRel);
            self.item(Item::Answer { request, body });
        }
        self.0.changed.notify_one();
    }

    pub fn is_open(&self) -> bool {
        !self.0.closed.load(Ordering::Acquire) && !self.0.items.is_closed()
    }

    /// Bytes that the client has not taken yet.
    pub fn backlog(&self) -> usize {
        self.0.bytes.load(Ordering::Acquire)
    }

    /// Bytes of a request that waits: they count like those of an answer.
    pub fn hold(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub fn release(&self, bytes: usize) {
        self.written(bytes);
    }

    /// Ends the connection, and tells the client why.
    pub fn end(&self, status: StatusCode, reason: &'static str) {
        self.item(Item::End(Some(Refusal { status, reason })));
    }

    fn item(&self, item: Item) {
        // whoever receives has ended: nothing more is wanted
        let _ = self.0.items.send(item);
    }

    fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    /// Answers are on their way out, or gone.
    fn written(&self, bytes: usize) {
        let _ =
            self.0.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| Some(count.saturating_sub(bytes)));
        self.0.changed.notify_one();
    }

    fn asked(&self) {
        self.0.unanswered.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until another request may be read: the client takes its answers, and is not owed too many.
    async fn ready(&self, most: usize, bytes: usize) {
        loop {
            // before the check, or a change in between would be missed
            let changed = self.0.changed.notified();
            if self.0.unanswered.load(Ordering::Acquire) < most && self.backlog() < bytes {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Answers {
    /// Of no connection; open as long as the second is kept.
    pub fn alone() -> (Answers, Box<dyn std::any::Any>) {
        let (answers, receiver) = Answers::new();
        (answers, Box::new(receiver))
    }

    /// The same, with what gives the answers one by one.
    #[cfg(test)]
    pub fn kept() -> (Answers, impl FnMut() -> Option<Vec<u8>>) {
        let (answers, mut receiver) = Answers::new();
        let next = move || match receiver.try_recv() {
            Ok(Item::Answer { body, .. }) => Some(body),
            _ => None,
        };
        (answers, next)
    }
}
