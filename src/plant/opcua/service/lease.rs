//! Commands of sessions, which may take leases, and renewing these on behalf of sessions whose clients live.

use std::sync::Arc;
use std::time::Instant;

use super::origin;
use crate::command::{Action, Origin, Refusal};
use crate::plant::opcua::channel::Channel;
use crate::plant::opcua::server::Server;
use crate::plant::opcua::session::{Session, User};
use crate::plant::opcua::space::{NAMESPACE, Node};
use crate::plant::opcua::wire::NodeRef;
use crate::plant::view::{View, WriteError};

/// Who commands: what it writes it holds.
pub struct Commander<'a> {
    pub server: &'a Server,
    pub session: &'a Session,
    pub user: &'a User,
    pub origin: Origin,
}

impl Commander<'_> {
    pub async fn command(&self, view: &View, action: Action) -> Result<(), WriteError> {
        let message = match &action {
            Action::Set(writes) | Action::Send(writes) => writes.first().map(|write| write.tag),
            _ => None,
        };
        let message = message.and_then(|tag| view.plan.tags.get(tag)).map(|tag| tag.message);
        let leases = &self.server.leases;
        let (ticket, sent) = leases.in_order(|| view.send(self.origin.clone(), action));
        let answer = sent?.answer().await;
        // what may have been written is nobody else's to renew
        let written = matches!(answer, Ok(()) | Err(WriteError::Unanswered));
        if let Some(message) = message.filter(|_| written) {
            let still = || answer.is_ok() && self.is_there();
            leases.written(&view.plan, message, (self.session.id, ticket), Instant::now(), still);
        }
        answer
    }

    /// Whether the session has not ended meanwhile, and has the same user.
    fn is_there(&self) -> bool {
        self.server.sessions.has(self.session.id) && self.session.user().as_deref() == Some(self.user)
    }
}

/// A request of this session has come: what it holds is renewed, where that has not been done lately.
pub fn renew(server: &Arc<Server>, channel: &Channel, session: &Session, user: &User) {
    let due = server.leases.alive(session.id, Instant::now());
    if due.is_empty() {
        return;
    }
    let (server, session, origin, roles) = (server.clone(), session.id, origin(channel, user), user.roles);
    tokio::spawn(async move {
        for message in due.iter().filter(|message| server.leases.holds(session, message)) {
            let scene = server.scenes.now();
            let Some(Node::Message(index, _)) = scene.find(NodeRef::String(NAMESPACE, message)) else {
                server.leases.lost(session, message);
                continue;
            };
            let action = Action::Renew(scene.view.plan.messages[index].tags.start);
            if !scene.space.rights.may_command(roles, &action, &scene.view.plan) {
                server.leases.lost(session, message);
                continue;
            }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opcua::crypto::SecurityPolicy;
    use opcua::types::MessageSecurityMode;

    use super::*;
    use crate::command::{Value, Write};
    use crate::plant::opcua::Config;
    use crate::plant::opcua::server::build;
    use crate::plant::opcua::session::table::Wanted;
    use crate::plant::opcua::tests::{DBC, Example, configured, tag};
    use crate::plant::scratch::Scratch;

    const SETTINGS: &str = "[bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\ntransmit = \"all\"\n\
                            writable = \"all\"\nmessage.DriveCommand.lease_ms = 400\n";

    /// While the controller has the write of a session, this happens.
    type Meanwhile = fn(&Server, &Session);

    #[tokio::test]
    async fn who_has_gone_before_the_answer_holds_nothing() {
        let (example, mut requests) = Example::with(configured(SETTINGS, DBC));
        let view = example.plant.view();
        let folder = Scratch::new("leases");
        let address = "127.0.0.1:4840".parse().unwrap();
        let server = build(example.plant.clone(), Config::default(), address, &folder).unwrap();
        drop(folder);
        let security = (SecurityPolicy::None, MessageSecurityMode::None);
        let channel = Arc::new(Channel::new(1, security, None, "127.0.0.1:5000".parse().unwrap()));
        let anna = User::anybody("anna");
        let ends: Meanwhile = |server, session| {
            server.sessions.remove(session.id);
            server.end_session(session, true, "closed");
        };
        let changes: Meanwhile = |server, session| {
            session.state().user = Some(Arc::new(User::anybody("bert")));
            server.leases.ended(session.id);
        };
        let write = |value| Write { tag: tag(&view.plan, "DriveCommand.Setpoint"), value: Value::Engineering(value) };
        for (meanwhile, refusal, holds) in [
            ((|_, _| {}) as Meanwhile, None, true),
            (|_, _| {}, Some(Refusal::NotArmed), false),
            (ends, None, false),
            (changes, None, false),
        ] {
            let wanted = Wanted::plain(0);
            let most = (10, Duration::from_secs(60));
            let (session, _) = server.sessions.create(wanted, &channel, vec![0; 32], most, Instant::now()).unwrap();
            session.state().user = Some(Arc::new(anna.clone()));
            let origin = Origin::default();
            let by = Commander { server: &server, session: &session, user: &anna, origin };
            let controller = async {
                let request = requests.recv().await.unwrap();
                meanwhile(&server, &session);
                request.answer.send(refusal.clone().map_or(Ok(()), Err)).unwrap();
            };
            let (answer, ()) = tokio::join!(by.command(&view, Action::Set(vec![write(1.0)])), controller);
            assert_eq!(answer.is_ok(), refusal.is_none());
            assert_eq!(server.leases.holds(session.id, "line.DriveCommand"), holds, "{refusal:?}");
        }
    }
}
