//! Renewing leases on behalf of sessions whose clients live.

use std::sync::Arc;
use std::time::Instant;

use super::origin;
use crate::command::{Action, Refusal};
use crate::plant::opcua::channel::Channel;
use crate::plant::opcua::server::Server;
use crate::plant::opcua::session::{Session, User};
use crate::plant::opcua::space::{NAMESPACE, Node};
use crate::plant::opcua::wire::NodeRef;
use crate::plant::view::WriteError;

/// A request of this session has come: what it holds is renewed, where that has not been done lately.
pub fn renew(server: &Arc<Server>, channel: &Channel, session: &Session, user: &User) {
    let due = server.leases.alive(session.id, Instant::now());
    if due.is_empty() {
        return;
    }
    let (server, session, origin) = (server.clone(), session.id, origin(channel, user));
    tokio::spawn(async move {
        for message in due.iter().filter(|message| server.leases.holds(session, message)) {
            let scene = server.scenes.now();
            let Some(Node::Message(index, _)) = scene.find(NodeRef::String(NAMESPACE, message)) else {
                server.leases.lost(session, message);
                continue;
            };
            let action = Action::Renew(scene.view.plan.messages[index].tags.start);
            match scene.view.command(origin.clone(), action).await {
                Ok(()) => {}
                // the next sign of life tries again
                Err(WriteError::Refused(Refusal::Reloaded | Refusal::Busy)) => {}
                Err(WriteError::ControllerGone | WriteError::Unanswered) => {}
                Err(WriteError::Refused(_)) => server.leases.lost(session, message),
            }
        }
    });
}
