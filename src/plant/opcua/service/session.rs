//! CreateSession, ActivateSession, CloseSession and Cancel (OPC 10000-4, 5.7).

use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::{SecurityPolicy, create_signature_data, verify_signature_data};
use opcua::types::{
    ApplicationDescription, ApplicationType, ByteString, DateTime, LocalizedText, SignatureData, StatusCode,
};

use super::Service;
use crate::plant::opcua::audit;
use crate::plant::opcua::channel::Channel;
use crate::plant::opcua::locale::Locales;
use crate::plant::opcua::login;
use crate::plant::opcua::server::Server;
use crate::plant::opcua::session::{Session, User, table::Wanted};
use crate::plant::opcua::wire::{Reader, RequestHeader, Writer, response};
use crate::store::clock;

/// Bytes of our nonces; a client's has at least as many (OPC 10000-4, 5.7.2.2).
const NONCE: usize = 32;
/// A client's nonce may be longer, within reason.
const MOST_NONCE: usize = 1024;
const MOST_SIGNATURE: usize = 1024;
/// Characters of a session's name and of each text by which a client describes itself.
const MOST_TEXT: usize = 512;
/// Locales that a client may list.
const MOST_LOCALES: usize = 20;

pub fn random() -> Result<Vec<u8>, StatusCode> {
    let mut nonce = vec![0; NONCE];
    getrandom::fill(&mut nonce).map_err(|_| StatusCode::BadInternalError)?;
    Ok(nonce)
}

fn short(text: Option<&str>) -> Result<&str, StatusCode> {
    let text = text.unwrap_or_default();
    if text.len() > MOST_TEXT { Err(StatusCode::BadEncodingLimitsExceeded) } else { Ok(text) }
}

/// How a client describes itself; its discovery URLs are passed over.
fn description(reader: &mut Reader<'_>) -> Result<ApplicationDescription, StatusCode> {
    let application_uri = short(reader.string()?)?.into();
    let product_uri = short(reader.string()?)?.into();
    let (text, locale) = reader.localized_text()?;
    let application_name = LocalizedText::new(short(locale)?, short(text)?);
    let application_type = match reader.u32()? {
        0 => ApplicationType::Server,
        1 => ApplicationType::Client,
        2 => ApplicationType::ClientAndServer,
        3 => ApplicationType::DiscoveryServer,
        _ => return Err(StatusCode::BadDecodingError),
    };
    let (gateway, profile) = (short(reader.string()?)?, short(reader.string()?)?);
    for _ in 0..reader.count(4)? {
        reader.string()?;
    }
    Ok(ApplicationDescription {
        application_uri,
        product_uri,
        application_name,
        application_type,
        gateway_server_uri: gateway.into(),
        discovery_profile_uri: profile.into(),
        discovery_urls: None,
    })
}

/// A signature; no key that we take makes one longer than a kilobyte.
fn signature(reader: &mut Reader<'_>) -> Result<SignatureData, StatusCode> {
    let algorithm = short(reader.string()?)?.into();
    let bytes = reader.bytes()?.unwrap_or_default();
    if bytes.len() > MOST_SIGNATURE {
        return Err(StatusCode::BadEncodingLimitsExceeded);
    }
    Ok(SignatureData { algorithm, signature: ByteString::from(bytes) })
}

/// A session that can do nothing yet.
pub async fn create(
    server: &Arc<Server>,
    channel: &Arc<Channel>,
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
) -> Result<Writer, StatusCode> {
    let client = description(reader)?;
    let server_uri = short(reader.string()?)?;
    let url = short(reader.string()?)?;
    let name = short(reader.string()?)?;
    let client_nonce = reader.bytes()?.unwrap_or_default();
    let certificate = reader.bytes()?.unwrap_or_default();
    let timeout = reader.f64()?;
    let max_response_bytes = reader.u32()?;
    if !server_uri.is_empty() && server_uri != server.application.uri {
        return Err(StatusCode::BadServerUriInvalid);
    }
    if !server.application.offers(channel.policy, channel.mode) {
        return Err(StatusCode::BadSecurityPolicyRejected);
    }
    if let Some(shown) = &channel.certificate {
        if !(NONCE..=MOST_NONCE).contains(&client_nonce.len()) {
            return Err(StatusCode::BadNonceInvalid);
        }
        // the same application that has opened the channel (5.7.2.2); it may send its issuers along
        if !certificate.starts_with(&shown.der) {
            return Err(StatusCode::BadCertificateInvalid);
        }
        if !shown.uris.iter().any(|uri| uri == client.application_uri.as_ref()) {
            audit::certificate_mismatch(server, channel, client.application_uri.as_ref());
            return Err(StatusCode::BadCertificateUriInvalid);
        }
    }
    let wanted = Wanted {
        name: name.to_owned(),
        client,
        server_uri: server_uri.to_owned(),
        endpoint_url: url.to_owned(),
        certificate: channel.certificate.clone(),
        timeout,
        max_response_bytes,
    };
    let nonce = random()?;
    let signature = sign(server, channel, client_nonce).await?;
    let longest = Duration::from_millis(u64::from(server.limits.session_timeout_ms));
    let most = (server.limits.sessions, longest);
    let (session, gone) = server.sessions.create(wanted, channel, nonce.clone(), most, Instant::now())?;
    if let Some(gone) = gone {
        server.end_session(&gone, true, "another client came while it was not activated");
    }
    server.counters.session_created();
    audit::session_created(server, channel, &session);
    let mut writer = response(Service::CreateSession.response(), header.handle, StatusCode::Good);
    writer.encode(&session.node_id());
    writer.node_id(crate::plant::opcua::wire::NodeRef::Opaque(0, &session.token));
    writer.f64(session.timeout.as_secs_f64() * 1000.0);
    writer.bytes(Some(&nonce));
    writer.bytes(Some(&server.application.certificate_der));
    writer.all(&server.application.endpoints(url));
    writer.count(0); // software certificates: deprecated
    writer.encode(&signature);
    writer.u32(server.limits.message_bytes.try_into().unwrap_or(u32::MAX));
    Ok(writer)
}

/// Our signature of the client's certificate and nonce.
async fn sign(server: &Arc<Server>, channel: &Channel, nonce: &[u8]) -> Result<SignatureData, StatusCode> {
    // of the bytes that were sent as the certificate only the first is signed
    let Some(signed) = channel.certificate.as_ref().map(|shown| ByteString::from(&shown.der)) else {
        return Ok(SignatureData::default());
    };
    let (application, policy, nonce) = (server.application.clone(), channel.policy, ByteString::from(nonce));
    let sign = move || create_signature_data(&application.key, policy, &signed, &nonce);
    server.work.run(sign).await?.map_err(|error| error.status())
}

/// What ActivateSession says.
struct Activation {
    signature: SignatureData,
    locales: Vec<String>,
    token: login::Token,
    token_signature: SignatureData,
}

impl Activation {
    fn read(reader: &mut Reader<'_>) -> Result<Activation, StatusCode> {
        let signature = signature(reader)?;
        for _ in 0..reader.count(8)? {
            reader.bytes()?;
            reader.bytes()?;
        }
        let count = reader.count(4)?;
        if count > MOST_LOCALES {
            return Err(StatusCode::BadEncodingLimitsExceeded);
        }
        let locales = (0..count).map(|_| short(reader.string()?).map(str::to_owned)).collect::<Result<_, _>>()?;
        let token = login::Token::read(reader.structure()?)?;
        let token_signature = self::signature(reader)?;
        Ok(Activation { signature, locales, token, token_signature })
    }
}

/// Gives a session its user, and its channel where that is another than before.
pub async fn activate(
    server: &Arc<Server>,
    channel: &Arc<Channel>,
    session: &Arc<Session>,
    handle: u32,
    reader: &mut Reader<'_>,
) -> Result<Writer, StatusCode> {
    let activation = Arc::new(Activation::read(reader)?);
    let result = try_activate(server, channel, session, &activation).await;
    audit::session_activated(server, channel, session, &activation.token, &result);
    let nonce = result?;
    let mut writer = response(Service::ActivateSession.response(), handle, StatusCode::Good);
    writer.bytes(Some(&nonce));
    writer.count(0); // results of software certificates
    writer.count(0);
    Ok(writer)
}

async fn try_activate(
    server: &Arc<Server>,
    channel: &Arc<Channel>,
    session: &Arc<Session>,
    activation: &Arc<Activation>,
) -> Result<Vec<u8>, StatusCode> {
    let (nonce, before) = {
        let state = session.state();
        if state.user.is_none() && state.channel.id != channel.id {
            return Err(StatusCode::BadSecureChannelIdInvalid);
        }
        (state.nonce.clone(), state.user.clone())
    };
    // another channel of the same application, as safe as the first (5.7.3.1)
    let thumbprint = |certificate: &Option<_>| {
        certificate.as_ref().map(|shown: &Arc<crate::plant::opcua::pki::Certificate>| shown.thumbprint)
    };
    if thumbprint(&channel.certificate) != thumbprint(&session.certificate)
        || !server.application.offers(channel.policy, channel.mode)
    {
        return Err(StatusCode::BadSecurityChecksFailed);
    }
    let look = {
        let (server, channel) = (server.clone(), channel.clone());
        let (activation, nonce) = (activation.clone(), nonce.clone());
        move || {
            if let Some(shown) = &channel.certificate {
                let valid = verify(&activation.signature, channel.policy, &shown.x509, &server, &nonce);
                valid.map_err(|_| StatusCode::BadApplicationSignatureInvalid)?;
            }
            login::look(&server, &channel, &activation.token, &activation.token_signature, &nonce)
        }
    };
    let mut user = login::login(server, channel, server.work.run(look).await??).await?;
    let next = random()?;
    let mut state = session.state();
    // it may have ended meanwhile
    if !server.sessions.has(session.id) {
        return Err(StatusCode::BadSessionIdInvalid);
    }
    // somebody else's session does not become mine by a channel of my own
    if let Some(before) = &before
        && state.channel.id != channel.id
        && **before != user
    {
        return Err(StatusCode::BadIdentityChangeNotSupported);
    }
    if state.nonce != nonce {
        return Err(StatusCode::BadNonceInvalid);
    }
    state.nonce = next.clone();
    state.channel = channel.clone();
    // "if it is not specified the Server shall keep using the current localeIds" (5.7.3.2)
    user.locales = match &before {
        Some(before) if activation.locales.is_empty() => before.locales.clone(),
        _ => Locales(activation.locales.clone()),
    };
    let user = Arc::new(user);
    let speaks = before.as_ref().is_some_and(|before| before.locales != user.locales);
    let changed = before.is_some_and(|before| before != user);
    state.user = Some(user.clone());
    state.user_certificate = activation.token.certificate();
    if changed {
        // what was found and not handed out yet was found for somebody else
        state.browses = Default::default();
        state.histories = Default::default();
    }
    state.deadline = Instant::now() + session.timeout;
    state.last_contact = DateTime::now();
    drop(state);
    server.channel_left(session, channel);
    if changed {
        // what the one before held the other need not be allowed
        server.leases.ended(session.id);
    }
    if changed || speaks {
        server.subscriptions().user_changed(session.id, &user, changed, clock::monotonic());
        server.wake.notify_one();
    }
    channel.logged_in();
    Ok(next)
}

/// Whether a client has signed our certificate and nonce.
pub fn verify(
    signature: &SignatureData,
    policy: SecurityPolicy,
    signer: &opcua::crypto::X509,
    server: &Server,
    nonce: &[u8],
) -> Result<(), StatusCode> {
    // what the algorithm is called clients do not agree on; only the policy's own can be right
    verify_signature_data(signature, policy, signer, &server.application.certificate, nonce)
        .map_err(|error| error.status())
}

/// Ends a session; what it has subscribed to goes with it, or lives on until it has not been looked at for too long.
pub fn close(
    server: &Server,
    session: &Arc<Session>,
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
) -> Result<Writer, StatusCode> {
    let with_subscriptions = reader.bool()?;
    if server.sessions.remove(session.id).is_none() {
        return Err(StatusCode::BadSessionIdInvalid);
    }
    server.end_session(session, with_subscriptions, "closed by its client");
    Ok(response(Service::CloseSession.response(), header.handle, StatusCode::Good))
}

/// Gives up waiting for requests. Only Publish waits.
pub fn cancel(
    server: &Server,
    session: &Arc<Session>,
    header: &RequestHeader<'_>,
    reader: &mut Reader<'_>,
) -> Result<Writer, StatusCode> {
    let handle = reader.u32()?;
    let cancelled = server.cancel(session, handle);
    audit::cancelled(server, session, handle);
    let mut writer = response(Service::Cancel.response(), header.handle, StatusCode::Good);
    writer.u32(cancelled);
    Ok(writer)
}

/// Whom a request on this session comes from.
pub fn user_of(session: &Session, channel: &Channel) -> Result<Arc<User>, StatusCode> {
    let state = session.state();
    if state.channel.id != channel.id {
        return Err(StatusCode::BadSecureChannelIdInvalid);
    }
    state.user.clone().ok_or(StatusCode::BadSessionNotActivated)
}
