//! Sessions (OPC 10000-4, 5.7): who talks, on which channel, and until when. `login` says who somebody is.

mod counts;
pub mod lease;
pub mod table;
pub mod trusted;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use opcua::types::{ApplicationDescription, DateTime, NodeId};

use super::channel::{Channel, Turns};
use super::locale::Locales;
use super::pki::Certificate;
use super::view::ContinuationPoints;
use crate::plant::access::{Role, Roles};

pub use counts::Counts;
pub use lease::Leases;
pub use table::{Sessions, Token};

/// How a user has shown who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    Anonymous,
    Password,
    Certificate,
}

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct User {
    /// Empty: anonymous.
    pub name: String,
    pub proof: Proof,
    /// What it may do follows from these; what may be written at all the controller decides.
    pub roles: Roles,
    /// What its client understands.
    pub locales: Locales,
}

/// The same somebody, whatever the language.
impl PartialEq for User {
    fn eq(&self, other: &User) -> bool {
        (&self.name, self.proof, self.roles) == (&other.name, other.proof, other.roles)
    }
}

impl Eq for User {}

impl User {
    pub fn anonymous() -> User {
        User {
            name: String::new(),
            proof: Proof::Anonymous,
            roles: Roles::of(&[Role::Anonymous]),
            locales: Locales::default(),
        }
    }

    /// Somebody who has logged in.
    pub fn named(name: &str, proof: Proof, roles: Roles) -> User {
        User { name: name.to_owned(), proof, roles, locales: Locales::default() }
    }

    /// Who may do everything, as whoever logs in where no roles are given.
    #[cfg(test)]
    pub fn anybody(name: &str) -> User {
        User::named(name, Proof::Password, Roles::of(&[Role::Engineer, Role::SecurityAdmin]))
    }

    /// Name and roles, for audit records.
    pub fn told(&self) -> String {
        format!("{} ({})", self.display(), self.roles)
    }

    pub fn is_anonymous(&self) -> bool {
        self.proof == Proof::Anonymous
    }

    /// Names the user may be known by in diagnostics and audit records (ClientUserIdOfSession).
    pub fn display(&self) -> &str {
        if self.is_anonymous() { "anonymous" } else { &self.name }
    }
}

/// What a client said when it created a session.
pub struct Session {
    /// Its NodeId is `ns=1;i=id`.
    pub id: u32,
    pub token: Token,
    pub name: String,
    pub client: ApplicationDescription,
    pub server_uri: String,
    pub endpoint_url: String,
    pub certificate: Option<Arc<Certificate>>,
    pub timeout: Duration,
    /// Bytes; 0: no limit.
    pub max_response_bytes: u32,
    pub created: DateTime,
    pub counts: Counts,
    /// Its activations, and the requests that came after them.
    pub activations: Turns,
    state: Mutex<State>,
}

/// What changes while a session lives.
pub struct State {
    /// The channel that it belongs to; another one only by ActivateSession.
    pub channel: Arc<Channel>,
    /// What the next ActivateSession must sign.
    pub nonce: Vec<u8>,
    /// `None` until it is activated.
    pub user: Option<Arc<User>>,
    /// What that user has shown, where it is a certificate.
    pub user_certificate: Option<Arc<[u8]>>,
    pub deadline: Instant,
    pub last_contact: DateTime,
    /// Browses to be continued.
    pub browses: ContinuationPoints,
    /// Readings of history to be continued.
    pub histories: super::service::history::ContinuationPoints,
}

impl Session {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn node_id(&self) -> NodeId {
        NodeId::new(1, self.id)
    }

    /// Who it is that asks; `None` before ActivateSession.
    pub fn user(&self) -> Option<Arc<User>> {
        self.state().user.clone()
    }

    /// Whether its client wants a response of this length, in bytes.
    pub fn takes(&self, bytes: usize) -> bool {
        self.max_response_bytes == 0 || u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.max_response_bytes)
    }

    /// The client is there.
    pub fn touch(&self, now: Instant) {
        let mut state = self.state();
        state.deadline = now + self.timeout;
        state.last_contact = DateTime::now();
    }
}
