//! A client of one connection: secure channel, session, calls and publishing. It waits for what it asked for, and keeps the
//! notifications that come meanwhile, each with the time of its last byte.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use opcua::core::comms::chunker::Chunker;
use opcua::core::comms::message_chunk::MessageChunk;
use opcua::core::comms::secure_channel::{Role, SecureChannel};
use opcua::core::comms::sequence_number::SequenceNumberHandle;
use opcua::core::{RequestMessage, ResponseMessage};
use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy, X509, create_signature_data};
use opcua::sync::RwLock;
use opcua::types::*;
use opcua_bench::now_ns;

const POLICY: SecurityPolicy = SecurityPolicy::Basic256Sha256;
const CHUNK: usize = 65_535;
pub const APPLICATION_URI: &str = "urn:bench:client";

pub struct Client {
    stream: TcpStream,
    /// What was read and not yet looked at: from `at` on.
    buffer: Vec<u8>,
    at: usize,
    pub channel: SecureChannel,
    url: UAString,
    key: Option<PrivateKey>,
    chunk: usize,
    request: u32,
    sequence: u32,
    token: NodeId,
    renew: Option<Instant>,
    /// Chunks of an answer whose last has not come.
    partial: Vec<MessageChunk>,
    /// Time in nanoseconds, answer.
    pub published: VecDeque<(u64, PublishResponse)>,
    /// Publish requests without an answer.
    pub waiting: usize,
    /// To be acknowledged with the next of them.
    pub acknowledge: Vec<SubscriptionAcknowledgement>,
}

/// An answer that was not decoded: how long it was.
pub struct Raw {
    pub bytes: usize,
    pub answer: Option<ResponseMessage>,
}

impl Client {
    /// A session on a channel of its own; anonymous. Without `pki` there is no security.
    pub fn open(address: &str, pki: Option<&Path>) -> anyhow::Result<Client> {
        Client::open_for(address, pki, 120_000.0)
    }

    /// The same, with a session that ends after so long without a request.
    pub fn open_for(address: &str, pki: Option<&Path>, timeout_ms: f64) -> anyhow::Result<Client> {
        let mut client = Client::connect(address, pki)?;
        let server = match pki {
            Some(pki) => Some(client.certificate(address, pki)?),
            None => None,
        };
        client.open_channel(server, SecurityTokenRequestType::Issue)?;
        client.log_in(timeout_ms)?;
        Ok(client)
    }

    /// The server's certificate, from its endpoints.
    fn certificate(&self, address: &str, pki: &Path) -> anyhow::Result<X509> {
        let mut client = Client::connect(address, Some(pki))?;
        client.open_channel(None, SecurityTokenRequestType::Issue)?;
        let request = GetEndpointsRequest {
            request_header: client.header(),
            endpoint_url: client.url.clone(),
            locale_ids: None,
            profile_uris: None,
        };
        let ResponseMessage::GetEndpoints(answer) = client.call(request)? else { bail!("another answer") };
        let endpoint = answer.endpoints.unwrap_or_default().into_iter().find(|endpoint| {
            endpoint.security_policy_uri.as_ref() == POLICY.to_uri()
                && endpoint.security_mode == MessageSecurityMode::SignAndEncrypt
        });
        let endpoint = endpoint.context("no endpoint with Basic256Sha256, SignAndEncrypt")?;
        X509::from_der(endpoint.server_certificate.as_ref()).map_err(|error| anyhow!("{error:?}"))
    }

    fn connect(address: &str, pki: Option<&Path>) -> anyhow::Result<Client> {
        let store = Arc::new(RwLock::new(CertificateStore::new(pki.unwrap_or(Path::new("/nonexistent")))));
        let mut channel = SecureChannel::new(store, Role::Client, Arc::default());
        channel.set_decoding_options(DecodingOptions {
            max_message_size: 0,
            max_chunk_count: 0,
            max_array_length: 1_000_000,
            ..DecodingOptions::default()
        });
        let mut key = None;
        if let Some(pki) = pki {
            let certificate = std::fs::read(pki.join("client.der"))?;
            let pem = std::fs::read(pki.join("client.pem"))?;
            let read = || PrivateKey::from_pem(&pem).map_err(|error| anyhow!("{error:?}"));
            channel.set_cert(Some(X509::from_der(&certificate).map_err(|error| anyhow!("{error:?}"))?));
            channel.set_private_key(Some(read()?));
            key = Some(read()?);
        }
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let url = format!("opc.tcp://{address}/");
        let mut client = Client {
            stream,
            buffer: Vec::new(),
            at: 0,
            channel,
            url: url.as_str().into(),
            key,
            chunk: CHUNK,
            request: 0,
            sequence: 0,
            token: NodeId::null(),
            renew: None,
            partial: Vec::new(),
            published: VecDeque::new(),
            waiting: 0,
            acknowledge: Vec::new(),
        };
        let mut hello = b"HELF".to_vec();
        hello.extend((8 + 20 + 4 + url.len() as u32).to_le_bytes());
        hello.extend([0, CHUNK as u32, CHUNK as u32, 0, 0].map(u32::to_le_bytes).concat());
        hello.extend((url.len() as u32).to_le_bytes());
        hello.extend(url.as_bytes());
        client.stream.write_all(&hello)?;
        let answer = client.frame(None)?.context("no answer to the Hello")?;
        ensure!(answer.starts_with(b"ACKF"), "no Acknowledge: {:?}", &answer[..4]);
        let receives = u32::from_le_bytes(*answer[12..].first_chunk().context("a short Acknowledge")?);
        client.chunk = CHUNK.min(receives as usize);
        Ok(client)
    }

    /// One whole frame; `None` where there is none until `deadline`.
    fn frame(&mut self, deadline: Option<Instant>) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(size) = rest.get(4..8) {
                let size = u32::from_le_bytes(*size.first_chunk().context("four bytes")?) as usize;
                if let Some(frame) = rest.get(..size) {
                    let frame = frame.to_vec();
                    self.at += size;
                    return Ok(Some(frame));
                }
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(None);
                }
                self.stream.set_read_timeout(Some(left))?;
            }
            let read = self.read_some();
            if deadline.is_some() {
                self.stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            }
            match read {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    ensure!(deadline.is_some(), "no answer in 60 s");
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub fn header(&self) -> RequestHeader {
        let mut header = RequestHeader::new(&self.token, &DateTime::now(), self.request + 1);
        header.timeout_hint = 60_000;
        header
    }

    /// Sends a request and gives its number.
    pub fn send(&mut self, request: &RequestMessage) -> anyhow::Result<u32> {
        self.request += 1;
        let mut sequence = SequenceNumberHandle::new(true);
        sequence.set(self.sequence + 1);
        let chunks = Chunker::encode(sequence, self.request, 0, self.chunk, &self.channel, request)
            .map_err(|error| anyhow!("{error}"))?;
        self.sequence += chunks.len() as u32;
        let mut bytes = Vec::new();
        for chunk in &chunks {
            let begin = bytes.len();
            bytes.resize(begin + chunk.data.len() + 4096, 0);
            let size = self.channel.apply_security(chunk, &mut bytes[begin..]).map_err(|error| anyhow!("{error}"))?;
            bytes.truncate(begin + size);
        }
        self.push(&bytes)?;
        Ok(self.request)
    }

    /// Writes, and reads meanwhile: a server may take no more before its answers are taken.
    fn push(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        let socket = self.stream.as_raw_fd();
        while !bytes.is_empty() {
            // SAFETY: reads as many bytes as there are
            let sent = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) };
            if let Ok(sent) = usize::try_from(sent) {
                bytes = &bytes[sent..];
                continue;
            }
            let error = std::io::Error::last_os_error();
            if error.kind() != std::io::ErrorKind::WouldBlock {
                return Err(error.into());
            }
            let mut ready = libc::pollfd { fd: socket, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
            // SAFETY: one entry
            let count = unsafe { libc::poll(&raw mut ready, 1, 60_000) };
            ensure!(count > 0, "the server takes nothing for 60 s");
            if ready.revents & libc::POLLIN != 0 {
                self.read_some()?;
            }
        }
        Ok(())
    }

    /// What has come; waits for it as long as the socket's timeout says.
    fn read_some(&mut self) -> std::io::Result<usize> {
        let end = self.buffer.len();
        self.buffer.resize(end + 256 * 1024, 0);
        let read = self.stream.read(&mut self.buffer[end..]);
        self.buffer.truncate(end + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The next answer; `None` where there is none until `deadline`.
    pub fn receive(&mut self, deadline: Option<Instant>) -> anyhow::Result<Option<(u32, u64, ResponseMessage)>> {
        while let Some(frame) = self.frame(deadline)? {
            let time = now_ns();
            error(&frame)?;
            let last = frame[3] == b'F';
            let chunk = self.channel.verify_and_remove_security(frame.into()).map_err(|error| anyhow!("{error}"))?;
            self.partial.push(chunk);
            if last {
                let chunks = std::mem::take(&mut self.partial);
                let info = chunks[0].chunk_info(&self.channel).map_err(|error| anyhow!("{error}"))?;
                let answer: ResponseMessage =
                    Chunker::decode(&chunks, &self.channel, None).map_err(|error| anyhow!("{error}"))?;
                return Ok(Some((info.sequence_header.request_id, time, answer)));
            }
        }
        Ok(None)
    }

    /// The next answer, decoded only if `whole`: for who asks the same again and again.
    pub fn receive_raw(&mut self, whole: bool) -> anyhow::Result<Raw> {
        if whole {
            let (_, _, answer) = self.receive(None)?.context("no answer")?;
            return Ok(Raw { bytes: 0, answer: Some(answer) });
        }
        let mut bytes = 0;
        loop {
            let frame = self.frame(None)?.context("no answer")?;
            error(&frame)?;
            bytes += frame.len();
            if frame[3] == b'F' {
                return Ok(Raw { bytes, answer: None });
            }
        }
    }

    /// Sends a request and waits for its answer. A bad ServiceResult is an error.
    pub fn call(&mut self, request: impl Into<RequestMessage>) -> anyhow::Result<ResponseMessage> {
        if self.renew.is_some_and(|at| at < Instant::now()) {
            bail!("a channel that was to be renewed: call Client::renew");
        }
        let number = self.send(&request.into())?;
        loop {
            let (id, time, answer) = self.receive(None)?.context("no answer")?;
            if id == number {
                let status = answer.response_header().service_result;
                ensure!(status.is_good(), Refused(status));
                return Ok(answer);
            }
            self.keep(time, answer)?;
        }
    }

    /// An answer to a request of which nobody waits: to a Publish.
    pub fn keep(&mut self, time: u64, answer: ResponseMessage) -> anyhow::Result<()> {
        self.waiting = self.waiting.saturating_sub(1);
        match answer {
            ResponseMessage::Publish(answer) => self.published.push_back((time, *answer)),
            other => {
                let status = other.response_header().service_result;
                // a Publish that waited for nothing
                let ended = [
                    StatusCode::BadNoSubscription,
                    StatusCode::BadTimeout,
                    StatusCode::BadTooManyPublishRequests,
                    // of the client that closes it
                    StatusCode::BadSessionClosed,
                ];
                ensure!(ended.contains(&status), "an answer nobody waits for: {status}");
            }
        }
        Ok(())
    }

    /// Opens the channel, or renews it.
    fn open_channel(&mut self, server: Option<X509>, request_type: SecurityTokenRequestType) -> anyhow::Result<()> {
        let secured = server.is_some();
        let mode = if secured { MessageSecurityMode::SignAndEncrypt } else { MessageSecurityMode::None };
        self.channel.set_security_policy(if secured { POLICY } else { SecurityPolicy::None });
        self.channel.set_security_mode(mode);
        self.channel.set_remote_cert(server);
        self.channel.create_random_nonce();
        self.renew = None;
        let request = OpenSecureChannelRequest {
            request_header: self.header(),
            client_protocol_version: 0,
            request_type,
            security_mode: mode,
            client_nonce: self.channel.local_nonce_as_byte_string(),
            requested_lifetime: 3_600_000,
        };
        let ResponseMessage::OpenSecureChannel(answer) = self.call(request)? else { bail!("another answer") };
        let lifetime = answer.security_token.revised_lifetime;
        self.renew = Some(Instant::now() + Duration::from_millis(u64::from(lifetime) * 3 / 4));
        self.channel.set_security_token(answer.security_token);
        if secured {
            let nonce = &answer.server_nonce;
            self.channel.set_remote_nonce_from_byte_string(nonce).map_err(|error| anyhow!("{error}"))?;
            self.channel.derive_keys();
        }
        Ok(())
    }

    /// Renews the channel if it is time; only without security.
    pub fn renew(&mut self) -> anyhow::Result<()> {
        if self.renew.is_some_and(|at| at < Instant::now() + Duration::from_secs(30)) {
            ensure!(self.channel.security_policy() == SecurityPolicy::None, "a secured channel that lives so long");
            self.open_channel(None, SecurityTokenRequestType::Renew)?;
        }
        Ok(())
    }

    fn log_in(&mut self, timeout_ms: f64) -> anyhow::Result<()> {
        let policy = self.channel.security_policy();
        let certificate = match policy {
            SecurityPolicy::None => ByteString::null(),
            _ => self.channel.cert().context("no certificate")?.as_byte_string(),
        };
        let request = CreateSessionRequest {
            request_header: self.header(),
            client_description: ApplicationDescription {
                application_uri: APPLICATION_URI.into(),
                ..ApplicationDescription::default()
            },
            server_uri: UAString::null(),
            endpoint_url: self.url.clone(),
            session_name: "bench".into(),
            client_nonce: opcua::crypto::random::byte_string(32),
            client_certificate: certificate,
            requested_session_timeout: timeout_ms,
            max_response_message_size: 0,
        };
        let ResponseMessage::CreateSession(session) = self.call(request)? else { bail!("another answer") };
        self.token = session.authentication_token.clone();
        let client_signature = match (&self.channel.remote_cert(), &self.key) {
            (Some(server), Some(key)) if policy != SecurityPolicy::None => {
                create_signature_data(key, policy, &server.as_byte_string(), &session.server_nonce)
                    .map_err(|error| anyhow!("{error:?}"))?
            }
            _ => SignatureData::default(),
        };
        // the name of the anonymous policy is the server's to choose
        let endpoints = session.server_endpoints.unwrap_or_default();
        let here = endpoints.iter().find(|endpoint| {
            endpoint.security_policy_uri.as_ref() == policy.to_uri()
                && endpoint.security_mode == self.channel.security_mode()
        });
        let tokens = here.and_then(|endpoint| endpoint.user_identity_tokens.as_ref());
        let anonymous = tokens.and_then(|all| all.iter().find(|token| token.token_type == UserTokenType::Anonymous));
        let policy_id = anonymous.map_or("anonymous".into(), |token| token.policy_id.clone());
        let request = ActivateSessionRequest {
            request_header: self.header(),
            client_signature,
            client_software_certificates: None,
            locale_ids: None,
            user_identity_token: ExtensionObject::from_message(AnonymousIdentityToken { policy_id }),
            user_token_signature: SignatureData::default(),
        };
        self.call(request).map(|_| ())
    }

    pub fn close(mut self, delete_subscriptions: bool) -> anyhow::Result<()> {
        let request = CloseSessionRequest { request_header: self.header(), delete_subscriptions };
        self.call(request).map(|_| ())
    }
}

/// What a service answered instead.
#[derive(Debug)]
pub struct Refused(pub StatusCode);

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl std::error::Error for Refused {}

/// An Error message, or an aborted answer.
fn error(frame: &[u8]) -> anyhow::Result<()> {
    if frame.starts_with(b"ERR") {
        let status =
            frame.get(8..12).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes));
        return Err(Refused(StatusCode::from(status)).into());
    }
    ensure!(frame.get(3) != Some(&b'A'), "an aborted answer");
    Ok(())
}
