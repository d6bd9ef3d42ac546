//! OpenSecureChannel (OPC 10000-4, 5.6.2): a new channel, or a new token for one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::types::{DateTime, MessageSecurityMode, StatusCode};

use super::framing::{HEADER, Refusal, refuse};
use super::security::{self, Sequence, Token};
use super::{Door, Notice};
use crate::plant::opcua::application::POLICIES;
use crate::plant::opcua::pki::Certificate;
use crate::plant::opcua::wire::{Reader, RequestHeader, response};

/// Encodings of request and response.
const REQUEST: u32 = 446;
const RESPONSE: u32 = 449;
/// Shortest lifetime of a token, in milliseconds. A client that wants less renews as often as it likes.
const LEAST_LIFETIME: u32 = 10_000;

/// What an OPN message says in clear.
pub struct Clear {
    pub channel: u32,
    pub policy: SecurityPolicy,
    /// The client's, perhaps with those of its issuers.
    pub certificate: Vec<u8>,
    thumbprint: Vec<u8>,
    /// Where the rest begins.
    start: usize,
}

/// What an OPN message asks for, once its security was checked.
pub struct Asked {
    pub request: u32,
    pub handle: u32,
    pub renew: bool,
    pub mode: MessageSecurityMode,
    pub nonce: Vec<u8>,
    /// Milliseconds.
    pub lifetime: u32,
    pub certificate: Option<Arc<Certificate>>,
}

/// The answer, for the writing side.
pub struct Answer {
    pub channel: u32,
    pub policy: SecurityPolicy,
    pub mode: MessageSecurityMode,
    pub certificate: Option<Arc<Certificate>>,
    pub request: u32,
    pub body: Vec<u8>,
    pub token: Arc<Token>,
}

impl Clear {
    pub fn read(message: &[u8]) -> Result<Clear, Refusal> {
        let mut reader = Reader::new(message.get(HEADER..).unwrap_or_default());
        let mut read = || {
            let channel = reader.u32()?;
            let policy = reader.bytes()?.unwrap_or_default();
            let certificate = reader.bytes()?.unwrap_or_default().to_vec();
            let thumbprint = reader.bytes()?.unwrap_or_default().to_vec();
            // not by the crate, which logs what strangers call a policy
            let mut known = POLICIES.into_iter().chain([SecurityPolicy::None]);
            let policy = known.find(|known| known.to_uri().as_bytes() == policy);
            Ok::<_, StatusCode>((channel, policy, certificate, thumbprint))
        };
        let Ok((channel, policy, certificate, thumbprint)) = read() else {
            return refuse(StatusCode::BadDecodingError, "malformed message");
        };
        let start = message.len() - reader.rest().len();
        let Some(policy) = policy else {
            return refuse(StatusCode::BadSecurityPolicyRejected, "this security policy is not offered");
        };
        if policy == SecurityPolicy::None && !(certificate.is_empty() && thumbprint.is_empty()) {
            return refuse(StatusCode::BadSecurityChecksFailed, "a certificate without security");
        }
        Ok(Clear { channel, policy, certificate, thumbprint, start })
    }

    /// What comes after the part in clear.
    #[cfg(fuzzing)]
    pub fn rest<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message.get(self.start..).unwrap_or_default()
    }

    /// Checks the certificate and opens the rest: the expensive part, on a thread that may block. What exactly is wrong with
    /// a certificate the log says, not the answer (OPC 10000-4, 6.1.3).
    pub fn open(
        &self,
        door: &Door,
        peer: SocketAddr,
        message: &[u8],
    ) -> Result<(Vec<u8>, Option<Arc<Certificate>>), Refusal> {
        if self.policy == SecurityPolicy::None {
            return Ok((message.get(self.start..).unwrap_or_default().to_vec(), None));
        }
        let application = &door.application;
        if self.thumbprint != application.certificate.thumbprint().value() {
            return refuse(StatusCode::BadCertificateInvalid, "encrypted for another certificate than ours");
        }
        let certificate = door.trust.admit(self.policy, &self.certificate).map_err(|status| {
            tracing::debug!(%status, "client certificate refused");
            door.counters.certificate_refused();
            (door.tell)(peer, Notice::Certificate { status, der: &self.certificate });
            Refusal { status: StatusCode::BadSecurityChecksFailed, reason: "certificate not accepted" }
        })?;
        let key = certificate.x509.public_key();
        let key = key.or_else(|_| refuse(StatusCode::BadSecurityChecksFailed, "certificate not accepted"))?;
        let plain = security::open_asymmetric(self.policy, message, self.start, &application.key, &key)?;
        Ok((plain, Some(certificate)))
    }

    /// Reads what was opened.
    pub fn asked(
        &self,
        plain: &[u8],
        certificate: Option<Arc<Certificate>>,
        sequence: &mut Sequence,
    ) -> Result<Asked, Refusal> {
        let (request, at) = sequence.begin(plain)?;
        let mut reader = Reader::new(plain.get(at..).unwrap_or_default());
        let mut read = || {
            let encoding = reader.node_id()?;
            let header = RequestHeader::read(&mut reader)?;
            let (_version, kind, mode) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let nonce = reader.bytes()?.unwrap_or_default().to_vec();
            let lifetime = reader.u32()?;
            Ok::<_, StatusCode>((encoding.standard(), header.handle, kind, mode, nonce, lifetime))
        };
        let Ok((Some(REQUEST), handle, kind, mode, nonce, lifetime)) = read() else {
            return refuse(StatusCode::BadDecodingError, "no OpenSecureChannel request");
        };
        let mode = match (mode, self.policy == SecurityPolicy::None) {
            (1, true) => MessageSecurityMode::None,
            (2, false) => MessageSecurityMode::Sign,
            (3, false) => MessageSecurityMode::SignAndEncrypt,
            _ => return refuse(StatusCode::BadSecurityModeRejected, "this security mode is not offered"),
        };
        let renew = match kind {
            0 => false,
            1 => true,
            _ => return refuse(StatusCode::BadRequestTypeInvalid, "neither a new token nor another"),
        };
        if self.policy != SecurityPolicy::None && nonce.len() != self.policy.secure_channel_nonce_length() {
            return refuse(StatusCode::BadNonceInvalid, "nonce of the wrong length");
        }
        Ok(Asked { request, handle, renew, mode, nonce, lifetime, certificate })
    }
}

/// A token as asked for, and the response that says so.
pub fn answer(
    door: &Door,
    policy: SecurityPolicy,
    asked: &Asked,
    channel: u32,
    token_id: u32,
) -> Result<Answer, Refusal> {
    let most = door.limits.token_lifetime_ms.max(LEAST_LIFETIME);
    // 0: the server's choice
    let lifetime = if asked.lifetime == 0 { most } else { asked.lifetime.clamp(LEAST_LIFETIME, most) };
    let mut nonce = vec![0; policy.secure_channel_nonce_length()];
    if policy == SecurityPolicy::None {
        nonce = Vec::new();
    } else if getrandom::fill(&mut nonce).is_err() {
        return refuse(StatusCode::BadInternalError, "no random numbers");
    }
    let life = Duration::from_millis(u64::from(lifetime));
    let token = Token::new(token_id, Instant::now(), life, policy, (&asked.nonce, &nonce));
    let mut writer = response(RESPONSE, asked.handle, StatusCode::Good);
    writer.u32(0); // protocol version
    writer.u32(channel);
    writer.u32(token_id);
    writer.encode(&DateTime::now());
    writer.u32(lifetime);
    writer.bytes(Some(&nonce));
    Ok(Answer {
        channel,
        policy,
        mode: asked.mode,
        certificate: asked.certificate.clone(),
        request: asked.request,
        body: writer.finish(),
        token: Arc::new(token),
    })
}

/// A number that nobody guesses, for channels and tokens; never 0.
pub fn number() -> Result<u32, Refusal> {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        return refuse(StatusCode::BadInternalError, "no random numbers");
    }
    Ok(u32::from_le_bytes(bytes).max(1))
}
