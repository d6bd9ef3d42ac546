//! A small OPC UA client for the tests: one request at a time, all of its security from the crate's public parts.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use opcua::core::comms::chunker::Chunker;
use opcua::core::comms::secure_channel::{Role, SecureChannel};
use opcua::core::comms::sequence_number::SequenceNumberHandle;
use opcua::core::{RequestMessage, ResponseMessage};
use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy, X509, create_signature_data, legacy_encrypt_secret};
use opcua::sync::RwLock;
use opcua::types::{
    ActivateSessionRequest, AnonymousIdentityToken, ApplicationDescription, ByteString, CreateSessionRequest, DateTime,
    ExtensionObject, GetEndpointsRequest, MessageSecurityMode, NodeId, OpenSecureChannelRequest, RequestHeader,
    SecurityTokenRequestType, SignatureData, StatusCode, UAString, UserNameIdentityToken, UserTokenPolicy,
    UserTokenType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const POLICY: SecurityPolicy = SecurityPolicy::Basic256Sha256;

pub struct Client {
    stream: TcpStream,
    channel: SecureChannel,
    url: UAString,
    key: Option<PrivateKey>,
    next: u32,
    token: NodeId,
}

impl Client {
    /// Connects and says Hello. `pki`: the client's own folder, with `own/certificate.der` and `own/key.pem`.
    pub async fn connect(address: SocketAddr, pki: &Path) -> Client {
        let store = Arc::new(RwLock::new(CertificateStore::new(pki)));
        let mut channel = SecureChannel::new(store, Role::Client, Arc::default());
        let own = |name: &str| std::fs::read(pki.join("own").join(name)).ok();
        let key = || own("key.pem").map(|pem| PrivateKey::from_pem(&pem).unwrap());
        channel.set_cert(own("certificate.der").map(|der| X509::from_der(&der).unwrap()));
        channel.set_private_key(key());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let url = format!("opc.tcp://{address}/");
        let mut hello = b"HELF".to_vec();
        hello.extend((8 + 20 + 4 + url.len() as u32).to_le_bytes());
        hello.extend([0, 65_535, 65_535, 0, 0].map(u32::to_le_bytes).concat());
        hello.extend((url.len() as u32).to_le_bytes());
        hello.extend(url.as_bytes());
        stream.write_all(&hello).await.unwrap();
        let mut client = Client { stream, channel, url: url.into(), key: key(), next: 0, token: NodeId::null() };
        let acknowledge = client.frame().await.unwrap();
        assert_eq!(&acknowledge[..4], b"ACKF");
        client
    }

    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 8];
        self.stream.read_exact(&mut frame).await.ok()?;
        frame.resize(u32::from_le_bytes(*frame.last_chunk().unwrap()) as usize, 0);
        self.stream.read_exact(&mut frame[8..]).await.ok()?;
        Some(frame)
    }

    /// Sends a request and waits for its answer; the StatusCode of an Error message or of a ServiceFault.
    pub async fn call(&mut self, request: impl Into<RequestMessage>) -> Result<ResponseMessage, StatusCode> {
        self.next += 1;
        let mut sequence = SequenceNumberHandle::new(true);
        sequence.set(self.next);
        let chunks = Chunker::encode(sequence, self.next, 0, 65_535, &self.channel, &request.into()).unwrap();
        assert_eq!(chunks.len(), 1);
        let mut secured = vec![0; 2 * chunks[0].data.len() + 4096];
        let size = self.channel.apply_security(&chunks[0], &mut secured).unwrap();
        self.stream.write_all(&secured[..size]).await.unwrap();
        let frame = self.frame().await.ok_or(StatusCode::BadConnectionClosed)?;
        if &frame[..3] == b"ERR" {
            return Err(StatusCode::from(u32::from_le_bytes(*frame[8..].first_chunk().unwrap())));
        }
        assert_eq!(frame[3], b'F', "an answer of one chunk");
        let chunk = self.channel.verify_and_remove_security(frame.into()).unwrap();
        let answer: ResponseMessage = Chunker::decode(&[chunk], &self.channel, None).unwrap();
        let status = answer.response_header().service_result;
        if status.is_bad() { Err(status) } else { Ok(answer) }
    }

    pub fn header(&self) -> RequestHeader {
        RequestHeader::new(&self.token, &DateTime::now(), self.next + 1)
    }

    /// Opens a secure channel; `server`: its certificate, none for one without security.
    pub async fn open(&mut self, server: Option<X509>) -> Result<(), StatusCode> {
        let mode = if server.is_some() { MessageSecurityMode::SignAndEncrypt } else { MessageSecurityMode::None };
        self.channel.set_security_policy(if server.is_some() { POLICY } else { SecurityPolicy::None });
        self.channel.set_security_mode(mode);
        self.channel.set_remote_cert(server.clone());
        self.channel.create_random_nonce();
        let request = OpenSecureChannelRequest {
            request_header: self.header(),
            client_protocol_version: 0,
            request_type: SecurityTokenRequestType::Issue,
            security_mode: mode,
            client_nonce: self.channel.local_nonce_as_byte_string(),
            requested_lifetime: 60_000,
        };
        let ResponseMessage::OpenSecureChannel(answer) = self.call(request).await? else { panic!("another answer") };
        self.channel.set_security_token(answer.security_token);
        if server.is_some() {
            self.channel.set_remote_nonce_from_byte_string(&answer.server_nonce).unwrap();
            self.channel.derive_keys();
        }
        Ok(())
    }

    /// Policies that are offered, and whether each has anonymous users.
    pub async fn endpoints(&mut self) -> Vec<(String, bool)> {
        let request = GetEndpointsRequest {
            request_header: self.header(),
            endpoint_url: self.url.clone(),
            locale_ids: None,
            profile_uris: None,
        };
        let ResponseMessage::GetEndpoints(answer) = self.call(request).await.unwrap() else { panic!("another answer") };
        let endpoints = answer.endpoints.unwrap().into_iter().map(|endpoint| {
            assert_eq!(endpoint.endpoint_url, self.url, "where it listens");
            let users = endpoint.user_identity_tokens.unwrap();
            let anonymous = users.iter().any(|user| user.token_type == UserTokenType::Anonymous);
            (SecurityPolicy::from_uri(endpoint.security_policy_uri.as_ref()).to_str().to_owned(), anonymous)
        });
        endpoints.collect()
    }

    /// Opens a session; without a user an anonymous one.
    pub async fn login(&mut self, user: Option<(&str, &str)>) -> Result<(), StatusCode> {
        let certificate = match self.channel.security_policy() {
            SecurityPolicy::None => ByteString::null(),
            _ => self.channel.cert().unwrap().as_byte_string(),
        };
        let request = CreateSessionRequest {
            request_header: self.header(),
            client_description: ApplicationDescription {
                application_uri: "urn:client".into(),
                ..ApplicationDescription::default()
            },
            server_uri: UAString::null(),
            endpoint_url: self.url.clone(),
            session_name: "test".into(),
            client_nonce: opcua::crypto::random::byte_string(32),
            client_certificate: certificate,
            requested_session_timeout: 30_000.0,
            max_response_message_size: 0,
        };
        let ResponseMessage::CreateSession(session) = self.call(request).await? else { panic!("another answer") };
        self.token = session.authentication_token.clone();
        let policy = self.channel.security_policy();
        let server = self.channel.remote_cert();
        let user_identity_token = match user {
            Some((name, password)) => {
                let token_policy = UserTokenPolicy {
                    policy_id: "username".into(),
                    token_type: UserTokenType::UserName,
                    ..UserTokenPolicy::default()
                };
                let mode = self.channel.security_mode();
                let nonce = session.server_nonce.as_ref();
                let secret = legacy_encrypt_secret(policy, mode, &token_policy, nonce, &server, password.as_bytes());
                let secret = secret.unwrap();
                ExtensionObject::from_message(UserNameIdentityToken {
                    policy_id: secret.policy,
                    user_name: name.into(),
                    password: secret.secret,
                    encryption_algorithm: secret.encryption_algorithm,
                })
            }
            None => ExtensionObject::from_message(AnonymousIdentityToken { policy_id: "anonymous".into() }),
        };
        let client_signature = match (&server, &self.key) {
            (Some(server), Some(key)) => {
                create_signature_data(key, policy, &server.as_byte_string(), &session.server_nonce).unwrap()
            }
            _ => SignatureData::default(),
        };
        let request = ActivateSessionRequest {
            request_header: self.header(),
            client_signature,
            client_software_certificates: None,
            locale_ids: None,
            user_identity_token,
            user_token_signature: SignatureData::default(),
        };
        self.call(request).await.map(|_| ())
    }
}
