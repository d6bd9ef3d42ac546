//! All sessions of the server.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use opcua::types::{ApplicationDescription, DateTime, StatusCode};

use super::{Counts, Session, State, Turns};
use crate::plant::opcua::channel::Channel;
use crate::plant::opcua::pki::Certificate;
use crate::plant::opcua::wire::NodeRef;

/// What a session is known by: nobody can guess it (OPC 10000-4, 7.36).
pub type Token = [u8; 32];

/// Between CreateSession and ActivateSession, however long the client wants its session to live.
const TO_ACTIVATE: Duration = Duration::from_secs(30);
/// Least and default timeout of a session.
const LEAST_TIMEOUT: Duration = Duration::from_secs(5);

/// What CreateSession asks for.
pub struct Wanted {
    pub name: String,
    pub client: ApplicationDescription,
    pub server_uri: String,
    pub endpoint_url: String,
    pub certificate: Option<Arc<Certificate>>,
    /// Milliseconds.
    pub timeout: f64,
    pub max_response_bytes: u32,
}

#[cfg(any(test, fuzzing))]
impl Wanted {
    /// Of a client that says nothing of itself.
    pub fn plain(max_response_bytes: u32) -> Wanted {
        Wanted {
            name: "test".into(),
            client: ApplicationDescription::default(),
            server_uri: String::new(),
            endpoint_url: String::new(),
            certificate: None,
            timeout: 60_000.0,
            max_response_bytes,
        }
    }
}

/// All sessions. One lock, held for moments.
#[derive(Default)]
pub struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_token: HashMap<Token, Arc<Session>>,
    /// In the order of their creation.
    by_id: BTreeMap<u32, Arc<Session>>,
    next: u32,
}

impl Inner {
    fn remove(&mut self, id: u32) -> Option<Arc<Session>> {
        let session = self.by_id.remove(&id)?;
        self.by_token.remove(&session.token);
        Some(session)
    }
}

impl Sessions {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A new session, not activated. Where there are `most`, the oldest that was never activated must go
    /// (OPC 10000-4, 5.7.2.1): whoever only creates sessions locks nobody out. It comes back as the second.
    pub fn create(
        &self,
        wanted: Wanted,
        channel: &Arc<Channel>,
        nonce: Vec<u8>,
        (most, longest): (usize, Duration),
        now: Instant,
    ) -> Result<(Arc<Session>, Option<Arc<Session>>), StatusCode> {
        let mut token = Token::default();
        getrandom::fill(&mut token).map_err(|_| StatusCode::BadInternalError)?;
        // states are never looked at while the table is locked: who holds one may ask for the table
        let dispensable = if self.len() >= most { self.dispensable() } else { None };
        let mut inner = self.inner();
        let mut gone = None;
        if inner.by_id.len() >= most {
            gone = inner.remove(dispensable.ok_or(StatusCode::BadTooManySessions)?);
        }
        // numbers are never used twice while their session lives
        let id = loop {
            inner.next = inner.next.checked_add(1).unwrap_or(1);
            if !inner.by_id.contains_key(&inner.next) {
                break inner.next;
            }
        };
        let Wanted { name, client, server_uri, endpoint_url, certificate, timeout, max_response_bytes } = wanted;
        let name = if name.is_empty() { format!("Session {id}") } else { name };
        let timeout = revise(timeout, longest);
        let state = State {
            channel: channel.clone(),
            nonce,
            user: None,
            user_certificate: None,
            deadline: now + timeout.min(TO_ACTIVATE),
            last_contact: DateTime::now(),
            browses: Default::default(),
            histories: Default::default(),
        };
        let session = Arc::new(Session {
            id,
            token,
            name,
            client,
            server_uri,
            endpoint_url,
            certificate,
            timeout,
            max_response_bytes,
            created: DateTime::now(),
            activations: Turns::default(),
            counts: Counts::default(),
            state: Mutex::new(state),
        });
        inner.by_token.insert(token, session.clone());
        inner.by_id.insert(id, session.clone());
        Ok((session, gone))
    }

    /// Who must go when there are too many: the oldest that was never activated, or else whose connection has ended.
    fn dispensable(&self) -> Option<u32> {
        let all = self.all();
        let never = all.iter().find(|session| session.state().user.is_none());
        let alone = || all.iter().find(|session| session.state().channel.is_closed());
        never.or_else(alone).map(|session| session.id)
    }

    /// The next session has a number above this one.
    pub fn number_from(&self, number: u32) {
        self.inner().next = number;
    }

    /// By the authentication token of a request.
    pub fn find(&self, token: NodeRef<'_>) -> Option<Arc<Session>> {
        let NodeRef::Opaque(0, bytes) = token else { return None };
        let token: Token = bytes.try_into().ok()?;
        self.inner().by_token.get(&token).cloned()
    }

    /// Whether it has not ended.
    pub fn has(&self, id: u32) -> bool {
        self.inner().by_id.contains_key(&id)
    }

    pub fn remove(&self, id: u32) -> Option<Arc<Session>> {
        self.inner().remove(id)
    }

    /// Takes out what nobody has used for too long.
    pub fn expire(&self, now: Instant) -> Vec<Arc<Session>> {
        let mut late = self.all();
        late.retain(|session| session.state().deadline <= now);
        let late: Vec<u32> = late.iter().map(|session| session.id).collect();
        let mut inner = self.inner();
        late.into_iter().filter_map(|id| inner.remove(id)).collect()
    }

    /// All of them, in the order of their creation.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.inner().by_id.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.inner().by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The timeout that a client gets. `milliseconds` may be anything.
fn revise(milliseconds: f64, longest: Duration) -> Duration {
    let least = LEAST_TIMEOUT.min(longest);
    if milliseconds.is_nan() {
        return least;
    }
    let asked = milliseconds.clamp(0.0, longest.as_secs_f64() * 1000.0);
    // 0 and less: the server's choice
    if asked <= 0.0 { longest } else { Duration::from_secs_f64(asked / 1000.0).max(least) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let longest = Duration::from_secs(3600);
        for (asked, want) in [
            (30_000.0, 30.0),
            (1.0, 5.0),
            (1e12, 3600.0),
            (f64::INFINITY, 3600.0),
            (f64::NAN, 5.0),
            (0.0, 3600.0),
            (-5.0, 3600.0),
            (f64::NEG_INFINITY, 3600.0),
        ] {
            assert_eq!(revise(asked, longest).as_secs_f64(), want, "{asked}");
        }
    }
}
