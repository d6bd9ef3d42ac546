//! Open channels go on only as long as the certificates that they were opened with are good: trust that is taken back ends them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::types::StatusCode;
use tokio::sync::Notify;

use super::listener::Shared;
use super::{Answers, Notice};
use crate::plant::opcua::pki::{Lists, Trust};

/// Between two looks at what the folders of certificates hold.
const LOOK: Duration = Duration::from_secs(2);
/// Certificates and revocation lists also end by time.
const AGAIN: Duration = Duration::from_secs(60);

/// A channel that was opened with a certificate.
#[derive(Clone)]
pub struct Opened {
    pub policy: SecurityPolicy,
    /// The certificate, perhaps with those of its issuers.
    pub chain: Arc<[u8]>,
    pub peer: SocketAddr,
    pub answers: Answers,
}

/// Ends channels whose certificates are no longer good.
pub async fn watch<S>(shared: &Shared<S>) {
    let mut looked = Looked::default();
    let mut told = HashSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let opened = shared.connections().opened();
        // a client that does not take what it is told is cut off
        for (id, _, end) in &opened {
            if told.contains(id) {
                end.notify_one();
            }
        }
        let still: HashSet<u64> = opened.iter().map(|(id, _, _)| *id).collect();
        told.retain(|id| still.contains(id));
        let trust = shared.door.trust.clone();
        let look = tokio::task::spawn_blocking(move || {
            let bad = looked.bad(&trust, opened, Instant::now());
            (looked, bad)
        });
        let Ok((next, bad)) = look.await else {
            looked = Looked::default();
            continue;
        };
        looked = next;
        for (id, opened, status) in bad {
            if told.insert(id) {
                tracing::warn!(peer = %opened.peer, %status, "OPC UA channel ended: its certificate is no longer good");
                (shared.door.tell)(opened.peer, Notice::Certificate { status, der: &opened.chain });
                opened.answers.end(StatusCode::BadSecurityChecksFailed, "certificate no longer accepted");
            }
        }
    }
}

/// What was looked at last.
#[derive(Default)]
struct Looked {
    lists: Option<Arc<Lists>>,
    all: Option<Instant>,
}

impl Looked {
    /// Those whose certificates are no longer good. Blocks; costs next to nothing where nothing has changed.
    fn bad(
        &mut self,
        trust: &Trust,
        opened: Vec<(u64, Opened, Arc<Notify>)>,
        now: Instant,
    ) -> Vec<(u64, Opened, StatusCode)> {
        let lists = trust.lists();
        let same = self.lists.as_ref().is_some_and(|before| Arc::ptr_eq(before, &lists));
        if same && self.all.is_some_and(|all| now.duration_since(all) < AGAIN) {
            return Vec::new();
        }
        (self.lists, self.all) = (Some(lists), Some(now));
        let bad = opened.into_iter().filter_map(|(id, opened, _)| {
            let status = trust.still(opened.policy, &opened.chain).err()?;
            Some((id, opened, status))
        });
        bad.collect()
    }
}
