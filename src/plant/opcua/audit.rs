//! The audit trail (OPC 10000-4, 6.5; OPC 10000-5, 6.4): who opened what, logged in, wrote what; as lines of the log and as
//! events that whoever is logged in by name may subscribe to.

mod channel;
mod denied;

pub use channel::channel;
pub use denied::Denied;

use opcua::types::{
    AttributeId, ByteString, DateTime, NodeId, ObjectId, ObjectTypeId, StatusCode, UAString, Variant,
    VariantScalarTypeId,
};

use super::channel::Channel;
use super::login::Token;
use super::server::Server;
use super::service::Ask;
use super::session::{Session, User};
use super::space::array;
use super::subscription::Event;
use super::subscription::item::weight;
use super::wire::NodeRef;
use super::writing::Asked;
use crate::store::clock;

/// Severities of events (OPC 10000-5, 6.4.2): what is as it should be, and what somebody should look at.
const NORMAL: u16 = 100;
const REFUSED: u16 = 500;

/// Bytes of a value that is told in an event.
const MOST_TOLD: usize = 1024;
/// Refused writes of one request that have lines of their own.
const MOST_LINES: usize = 10;
/// Arguments of a call that a line has.
const MOST_ARGUMENTS: usize = 20;

/// What every audit event says.
struct About<'a> {
    kind: ObjectTypeId,
    source: NodeId,
    source_name: &'a str,
    message: String,
    status: StatusCode,
    user: &'a str,
    fields: Vec<(&'static str, Variant)>,
}

fn tell(server: &Server, about: About<'_>) {
    let About { kind, source, source_name, message, status, user, mut fields } = about;
    let now = DateTime::now();
    fields.extend([
        ("ActionTimeStamp", Variant::from(now)),
        ("Status", Variant::from(!status.is_bad())),
        ("ServerId", Variant::from(server.application.uri.as_str())),
        ("ClientAuditEntryId", Variant::from(UAString::from(""))),
        ("ClientUserId", Variant::from(user)),
    ]);
    server.event(&Event {
        event_type: kind.into(),
        source_node: source,
        source_name: source_name.to_owned(),
        severity: if status.is_bad() { REFUSED } else { NORMAL },
        message,
        time: now,
        fields,
        confidential: true,
        audience: None,
        notifiers: Vec::new(),
        condition: None,
    });
}

fn server_node() -> NodeId {
    ObjectId::Server.into()
}

fn certificate_fields(channel: &Channel) -> Vec<(&'static str, Variant)> {
    let der = channel.certificate.as_ref().map_or(ByteString::null(), |shown| ByteString::from(&shown.der));
    let thumbprint = channel.certificate.as_ref().map_or(String::new(), |shown| shown.thumbprint_text());
    vec![
        ("ClientCertificate", Variant::from(der)),
        ("ClientCertificateThumbprint", Variant::from(thumbprint)),
        ("SecureChannelId", Variant::from(channel.id.to_string())),
    ]
}

/// A client has a session, though no user yet.
pub fn session_created(server: &Server, channel: &Channel, session: &Session) {
    let application = session.client.application_uri.as_ref();
    tracing::info!(session = session.id, peer = %channel.peer, application, "OPC UA session created");
    let mut fields = certificate_fields(channel);
    fields.extend([
        ("SessionId", Variant::from(session.node_id())),
        ("RevisedSessionTimeout", Variant::from(session.timeout.as_secs_f64() * 1000.0)),
        ("StatusCodeId", Variant::from(StatusCode::Good)),
    ]);
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditCreateSessionEventType,
            source: server_node(),
            source_name: "Session/CreateSession",
            message: format!("Session {} created by {application}", session.id),
            status: StatusCode::Good,
            // nobody is known yet (OPC 10000-4, 6.5.3)
            user: "System/CreateSession",
            fields,
        },
    );
}

/// A client's certificate names another application than the client does.
pub fn certificate_mismatch(server: &Server, channel: &Channel, claimed: &str) {
    let claimed = claimed.escape_debug().to_string();
    tracing::warn!(peer = %channel.peer, claimed, "OPC UA client refused: its certificate does not name its ApplicationUri");
    server.counters.session_not_trusted();
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditCertificateDataMismatchEventType,
            source: server_node(),
            source_name: "Security/Certificate",
            message: "The certificate of a client does not name its ApplicationUri".into(),
            status: StatusCode::BadCertificateUriInvalid,
            user: "",
            fields: vec![
                ("InvalidUri", Variant::from(claimed.as_str())),
                ("InvalidHostname", Variant::from("")),
                ("StatusCodeId", Variant::from(StatusCode::BadCertificateUriInvalid)),
            ],
        },
    );
}

/// Somebody has logged in, or could not.
pub fn session_activated(
    server: &Server,
    channel: &Channel,
    session: &Session,
    token: &Token,
    result: &Result<Vec<u8>, StatusCode>,
) {
    let user = token.display();
    let roles = session.user().map(|user| user.roles.to_string()).unwrap_or_default();
    let status = result.as_ref().err().copied().unwrap_or(StatusCode::Good);
    match status {
        StatusCode::Good => tracing::info!(session = session.id, user, roles, peer = %channel.peer, "OPC UA login"),
        _ => {
            server.counters.session_not_trusted();
            server.counters.session_rejected();
            tracing::warn!(session = session.id, user, peer = %channel.peer, error = %status, "OPC UA login refused");
        }
    }
    let message = match status {
        StatusCode::Good => format!("{user} ({roles}) has logged in to session {}", session.id),
        _ => format!("{user} could not log in to session {}: {status}", session.id),
    };
    let fields = vec![
        ("SessionId", Variant::from(session.node_id())),
        ("SecureChannelId", Variant::from(channel.id.to_string())),
        ("StatusCodeId", Variant::from(status)),
    ];
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditActivateSessionEventType,
            source: server_node(),
            source_name: "Session/ActivateSession",
            message,
            status,
            user: &user,
            fields,
        },
    );
}

/// A session has ended.
pub fn session_closed(server: &Server, session: &Session, why: &str) {
    let user = session.user();
    let user = user.as_ref().map_or("", |user| user.display());
    tracing::info!(session = session.id, user, why, "OPC UA session ended");
    let fields =
        vec![("SessionId", Variant::from(session.node_id())), ("StatusCodeId", Variant::from(StatusCode::Good))];
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditSessionEventType,
            source: server_node(),
            source_name: "Session/CloseSession",
            message: format!("Session {} ended: {why}", session.id),
            status: StatusCode::Good,
            user,
            fields,
        },
    );
}

/// A client waits no longer for its requests of this handle.
pub fn cancelled(server: &Server, session: &Session, handle: u32) {
    let user = session.user();
    let fields = vec![
        ("SessionId", Variant::from(session.node_id())),
        ("RequestHandle", Variant::from(handle)),
        ("StatusCodeId", Variant::from(StatusCode::Good)),
    ];
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditCancelEventType,
            source: server_node(),
            source_name: "Session/Cancel",
            message: format!("Requests with the handle {handle} cancelled"),
            status: StatusCode::Good,
            user: user.as_ref().map_or("", |user| user.display()),
            fields,
        },
    );
}

/// The values before a write, as far as there are any.
pub fn values(server: &Server, user: &User, asked: &[Asked]) -> Vec<Option<Variant>> {
    let scene = server.scenes.now();
    let now = clock::monotonic();
    let value = |asked: &Asked| {
        let node = scene.seen(NodeRef::from(&asked.node_id), user)?;
        scene.value_for(node, user, now).ok()?.0
    };
    asked.iter().map(|asked| if asked.attribute == Some(AttributeId::Value) { value(asked) } else { None }).collect()
}

/// What somebody wrote, item by item. The controller has its own record of what it carried out.
pub fn written(
    server: &Server,
    session: &Session,
    by: &User,
    channel: &Channel,
    asked: &[Asked],
    before: &[Option<Variant>],
    results: &[StatusCode],
) {
    let mut refused = 0;
    for ((asked, before), status) in asked.iter().zip(before).zip(results) {
        let node = asked.node_id.to_string().escape_debug().to_string();
        let told = |value: &Option<Variant>| match value {
            // what is long is not kept for everybody who listens
            Some(value) if weight(value) <= MOST_TOLD => value.clone(),
            _ => Variant::Empty,
        };
        let (new, old) = (told(&asked.value.value), told(before));
        let (shown, user) = (short(&new), by.display());
        let (session, peer, roles) = (session.id, channel.peer, by.roles);
        match *status {
            StatusCode::Good => {
                tracing::info!(session, user, %roles, %peer, node, old = short(&old), new = shown, "OPC UA write");
            }
            // a client that is refused again and again does not fill the log
            _ if refused >= MOST_LINES => refused += 1,
            error => {
                refused += 1;
                tracing::warn!(session, user, %roles, %peer, node, new = shown, %error, "OPC UA write refused");
            }
        }
        tell(
            server,
            About {
                kind: ObjectTypeId::AuditWriteUpdateEventType,
                source: asked.node_id.clone(),
                source_name: "Attribute/Write",
                message: format!("{} wrote {shown} to {node}: {status}", by.told()),
                status: *status,
                user,
                fields: vec![
                    ("AttributeId", Variant::from(asked.attribute.map_or(0, |attribute| attribute as u32))),
                    ("IndexRange", Variant::from(UAString::null())),
                    ("OldValue", old),
                    ("NewValue", new),
                ],
            },
        );
    }
}

/// What somebody called of the plant: the object and the method, and what came of it. The controller has its own record.
pub fn called(ask: &Ask<'_>, (object, method): (NodeId, NodeId), arguments: &[Variant], status: StatusCode) {
    let shown: Vec<String> = arguments.iter().take(MOST_ARGUMENTS).map(short).collect();
    let (shown, name) = (shown.join(" "), method.to_string().escape_debug().to_string());
    let (session, user, peer) = (ask.session.id, ask.user.display(), ask.channel.peer);
    let (roles, who) = (ask.user.roles.to_string(), ask.user.told());
    match status {
        StatusCode::Good => {
            tracing::info!(session, user, roles, %peer, method = name, arguments = shown, "OPC UA call")
        }
        error => {
            tracing::warn!(session, user, roles, %peer, method = name, arguments = shown, %error, "OPC UA call refused")
        }
    }
    let told = if arguments.iter().map(weight).sum::<usize>() <= MOST_TOLD { arguments } else { &[] };
    tell(
        ask.server,
        About {
            kind: ObjectTypeId::AuditUpdateMethodEventType,
            source: object,
            source_name: "Attribute/Call",
            message: format!("{who} called {name}({shown}): {status}"),
            status,
            user,
            fields: vec![
                ("MethodId", Variant::from(method)),
                ("StatusCodeId", Variant::from(status)),
                (
                    "InputArguments",
                    array(
                        VariantScalarTypeId::Variant,
                        told.iter().map(|value| Variant::Variant(Box::new(value.clone()))).collect(),
                    ),
                ),
                ("OutputArguments", array(VariantScalarTypeId::Variant, Vec::new())),
            ],
        },
    );
}

/// A value for a line of the log: a client can't make it long, or print what it likes.
fn short(value: &Variant) -> String {
    const MOST: usize = 80;
    let text = match value {
        Variant::Empty => String::new(),
        Variant::Array(_) | Variant::ExtensionObject(_) | Variant::DataValue(_) | Variant::Variant(_) => "(…)".into(),
        value => value.to_string(),
    };
    let printable: String = text.chars().take(MOST).collect();
    printable.escape_debug().to_string()
}

/// What somebody did about an alarm, or tried to.
pub struct Operated<'a> {
    pub name: &'static str,
    pub kind: ObjectTypeId,
    pub key: &'a str,
    /// The condition, and the method that was called.
    pub node: NodeId,
    pub method: NodeId,
    pub arguments: &'a [Variant],
    pub status: StatusCode,
}

/// Tells it (OPC 10000-9, 5.10).
pub fn operated(ask: &Ask<'_>, done: Operated<'_>) {
    let Operated { name, kind, key, node, method, arguments, status } = done;
    let (user, roles, session, peer) = (ask.user.display(), ask.user.roles, ask.session.id, ask.channel.peer);
    match status {
        StatusCode::Good => {
            tracing::info!(session, user, %roles, %peer, alarm = key, operation = name, "OPC UA alarm operation")
        }
        error => {
            tracing::warn!(session, user, %roles, %peer, alarm = key, operation = name, %error, "OPC UA alarm operation refused");
        }
    }
    let small = arguments.iter().map(|value| if weight(value) <= MOST_TOLD { value.clone() } else { Variant::Empty });
    let mut fields = vec![
        ("MethodId", Variant::from(method)),
        (
            "InputArguments",
            array(VariantScalarTypeId::Variant, small.map(|value| Variant::Variant(Box::new(value))).collect()),
        ),
        ("StatusCodeId", Variant::from(status)),
    ];
    if let [Variant::ByteString(id), rest @ ..] = arguments {
        fields.push(("ConditionEventId", Variant::ByteString(id.clone())));
        fields.extend(rest.first().map(|comment| ("Comment", comment.clone())));
    }
    if let [Variant::Double(time)] = arguments {
        fields.push(("ShelvingTime", Variant::Double(*time)));
    }
    let about = About {
        kind,
        source: node,
        source_name: name,
        message: format!("{}: {name} of {key}: {status}", ask.user.told()),
        status,
        user,
        fields,
    };
    tell(ask.server, about);
}
