//! What somebody was refused for want of the right, where nothing was written or called: a line of the log and an audit event
//! for each request (OPC 10000-5, 6.4.3).

use opcua::types::{NodeId, ObjectTypeId, StatusCode, Variant};

use super::{About, tell};
use crate::plant::opcua::service::{Ask, Service};

/// The nodes of one request that were refused: the first, and how many.
#[derive(Clone, Debug, Default)]
pub struct Denied {
    first: Option<NodeId>,
    count: usize,
}

impl Denied {
    pub fn add(&mut self, node: impl FnOnce() -> NodeId) {
        self.count += 1;
        self.first.get_or_insert_with(node);
    }

    /// Tells it, if there are any.
    pub fn tell(self, ask: &Ask<'_>, service: Service) {
        let Some(node) = self.first else { return };
        let name = node.to_string().escape_debug().to_string();
        let (session, peer, nodes) = (ask.session.id, ask.channel.peer, self.count);
        let (user, roles) = (ask.user.display(), ask.user.roles);
        tracing::warn!(session, user, %roles, %peer, service = ?service, node = name, nodes, "OPC UA access refused");
        let about = About {
            kind: ObjectTypeId::AuditSecurityEventType,
            source: node,
            source_name: "Security/Access",
            message: format!("{} was refused {service:?} of {name} ({nodes} in one request)", ask.user.told()),
            status: StatusCode::BadUserAccessDenied,
            user,
            fields: vec![("StatusCodeId", Variant::from(StatusCode::BadUserAccessDenied))],
        };
        tell(ask.server, about);
    }
}
