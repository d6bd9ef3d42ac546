//! What happens to secure channels, as audit events (OPC 10000-4, 6.5.2; OPC 10000-5, 6.4.5, 6.4.6 and 6.4.12).

use std::net::SocketAddr;

use opcua::types::{ByteString, ObjectTypeId, StatusCode, Variant};

use super::{About, server_node, tell};
use crate::plant::opcua::channel::{Closing, Notice, Opening};
use crate::plant::opcua::pki::read_chain;
use crate::plant::opcua::server::Server;

/// Tells what a client at `peer` has done, or could not do.
pub fn channel(server: &Server, peer: SocketAddr, notice: &Notice<'_>) {
    match notice {
        Notice::Certificate { status, der } => certificate(server, peer, *status, der),
        Notice::Open(opening) => opened(server, peer, opening),
        Notice::Close(closing) => closed(server, peer, closing),
    }
}

fn opened(server: &Server, peer: SocketAddr, opening: &Opening<'_>) {
    let Opening { channel, policy, mode, renew, lifetime, certificate, status } = *opening;
    let leaf = read_chain(certificate).ok().and_then(|chain| chain.into_iter().next());
    let thumbprint = leaf.as_ref().map_or(String::new(), |leaf| leaf.thumbprint_text());
    let message = match status {
        StatusCode::Good => format!("Secure channel {channel} opened for a client at {peer}"),
        _ => format!("No secure channel for a client at {peer}: {status}"),
    };
    tracing::debug!(channel, %peer, renew, %policy, ?mode, %status, "OPC UA channel");
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditOpenSecureChannelEventType,
            source: server_node(),
            source_name: "SecureChannel/OpenSecureChannel",
            message,
            status,
            user: "System/OpenSecureChannel",
            fields: vec![
                ("ClientCertificate", Variant::from(ByteString::from(certificate))),
                ("ClientCertificateThumbprint", Variant::from(thumbprint)),
                ("RequestType", Variant::from(i32::from(renew))),
                ("SecurityPolicyUri", Variant::from(policy.to_uri())),
                ("SecurityMode", Variant::from(mode as i32)),
                ("RequestedLifetime", Variant::from(f64::from(lifetime))),
                ("SecureChannelId", Variant::from(channel.to_string())),
                ("StatusCodeId", Variant::from(status)),
            ],
        },
    );
}

/// By its client, by us, or with its connection. There is no event type for the closing alone: it is known by its SourceName.
fn closed(server: &Server, peer: SocketAddr, closing: &Closing) {
    let Closing { channel, status } = *closing;
    tracing::debug!(channel, %peer, %status, "OPC UA channel closed");
    let message = match status {
        StatusCode::Good => format!("Secure channel {channel} closed by its client at {peer}"),
        _ => format!("Secure channel {channel} of a client at {peer} has ended: {status}"),
    };
    tell(
        server,
        About {
            kind: ObjectTypeId::AuditChannelEventType,
            source: server_node(),
            source_name: "SecureChannel/CloseSecureChannel",
            message,
            status,
            user: "System/CloseSecureChannel",
            fields: vec![
                ("SecureChannelId", Variant::from(channel.to_string())),
                ("StatusCodeId", Variant::from(status)),
            ],
        },
    );
}

/// A certificate is not good, or no longer. The log has told about it already.
fn certificate(server: &Server, peer: SocketAddr, status: StatusCode, certificate: &[u8]) {
    let kind = match status {
        StatusCode::BadCertificateTimeInvalid | StatusCode::BadCertificateIssuerTimeInvalid => {
            ObjectTypeId::AuditCertificateExpiredEventType
        }
        StatusCode::BadCertificateUntrusted => ObjectTypeId::AuditCertificateUntrustedEventType,
        StatusCode::BadCertificateRevoked | StatusCode::BadCertificateIssuerRevoked => {
            ObjectTypeId::AuditCertificateRevokedEventType
        }
        _ => ObjectTypeId::AuditCertificateInvalidEventType,
    };
    tell(
        server,
        About {
            kind,
            source: server_node(),
            source_name: "Security/Certificate",
            message: format!("The certificate of a client at {peer} was refused: {status}"),
            status,
            user: "",
            fields: vec![
                ("Certificate", Variant::from(ByteString::from(certificate))),
                ("StatusCodeId", Variant::from(status)),
            ],
        },
    );
}
