//! Requests of a client that is logged in, without a channel: for the fuzz target `dispatch`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::types::{MessageSecurityMode, StatusCode};

use super::{Service, dispatch};
use crate::command::{Generation, Place, VERSION};
use crate::plan::Plan;
use crate::plant::opcua::channel::{Answers, Channel, Request};
use crate::plant::opcua::config::Config;
use crate::plant::opcua::server::{Server, build};
use crate::plant::opcua::session::table::Wanted;
use crate::plant::opcua::session::{Session, User};
use crate::plant::opcua::wire::{NodeRef, Writer};
use crate::plant::{Plant, View};
use crate::store::layout::Word;
use crate::store::{Layout, Memory, Reader, Writer as Store};

/// A server without a listener.
pub struct Bench {
    server: Arc<Server>,
    channel: Arc<Channel>,
    runtime: tokio::runtime::Runtime,
    /// Takes what is written: nobody answers.
    _requests: tokio::sync::mpsc::Receiver<crate::plant::view::Request>,
}

impl Bench {
    /// `folder`: for certificates.
    pub fn new(plan: Arc<Plan>, folder: &Path) -> anyhow::Result<Bench> {
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let mut store = Store::new(memory.clone(), layout, 7);
        store.set(Word::Heartbeat, u64::MAX);
        let (sender, requests) = tokio::sync::mpsc::channel(16);
        let generation =
            Generation { version: VERSION, number: 1, pid: 1, hash: "0".repeat(64), since: 1, door: Place::Plant };
        let reader = Reader::open(memory, layout, 7).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let plant = Arc::new(Plant::new(View::new(plan, reader, &generation, sender)));
        let config = Config { security_policy_none: true, ..Config::default() };
        let server = Arc::new(build(plant, config, ([127, 0, 0, 1], 4840).into(), folder)?);
        let security = (SecurityPolicy::None, MessageSecurityMode::None);
        let channel = Arc::new(Channel::new(1, security, None, ([127, 0, 0, 1], 5000).into()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Bench { server, channel, runtime, _requests: requests })
    }

    fn session(&self) -> Result<Arc<Session>, StatusCode> {
        let wanted = Wanted::plain(0);
        let most = (10, Duration::from_secs(60));
        let (session, _) = self.server.sessions.create(wanted, &self.channel, vec![0; 32], most, Instant::now())?;
        session.state().user = Some(Arc::new(User::anonymous()));
        Ok(session)
    }

    /// Requests of one session, one after the other: which service, two bytes of length, the body after the header.
    pub fn requests(&self, mut bytes: &[u8]) {
        let Ok(session) = self.session() else { return };
        self.server.subscriptions().number_from(0);
        self.runtime.block_on(async {
            while let Some(([service, low, high], rest)) = bytes.split_first_chunk::<3>() {
                let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
                let (body, next) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                bytes = next;
                let (answers, _open) = Answers::alone();
                let body = match Service::ALL.get(usize::from(*service)) {
                    Some(service) => request(*service, &session, body),
                    // whatever it is
                    None => body.to_vec(),
                };
                dispatch(&self.server, &self.channel, &answers, Request { id: 1, body });
                // what was postponed
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
            }
            let mut subscriptions = self.server.subscriptions();
            subscriptions.tick(crate::store::clock::monotonic() + 1_000_000_000);
            drop(subscriptions.replies());
        });
        for left in self.server.sessions.all() {
            if self.server.sessions.remove(left.id).is_some() {
                self.server.end_session(&left, true, "the next input");
            }
        }
    }
}

/// A request with a right header.
fn request(service: Service, session: &Session, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.node_id(NodeRef::Numeric(0, service.request()));
    writer.node_id(NodeRef::Opaque(0, &session.token));
    writer.raw(&[0; 8]); // time
    writer.u32(7);
    writer.u32(0);
    writer.i32(-1);
    writer.u32(0);
    writer.raw(&[0; 3]); // no additional header
    writer.raw(body);
    writer.finish()
}
