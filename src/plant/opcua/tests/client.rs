//! A small OPC UA client for the tests: one request at a time, all of its security from the crate's public parts.

use std::net::SocketAddr;
use std::path::Path;

use opcua::core::{RequestMessage, ResponseMessage};
use opcua::crypto::{PrivateKey, SecurityPolicy, X509, create_signature_data, legacy_encrypt_secret};
use opcua::types::{
    ActivateSessionRequest, AnonymousIdentityToken, ApplicationDescription, ByteString, CreateSessionRequest,
    ExtensionObject, GetEndpointsRequest, MessageSecurityMode, RequestHeader, SecurityTokenRequestType, SignatureData,
    StatusCode, UAString, UserNameIdentityToken, UserTokenPolicy, UserTokenType,
};

use super::link::{Link, hello};

pub const POLICY: SecurityPolicy = SecurityPolicy::Basic256Sha256;

pub struct Client {
    link: Link,
    url: UAString,
    key: Option<PrivateKey>,
}

impl Client {
    /// Connects and says Hello. `pki`: the client's own folder, with `own/certificate.der` and `own/key.pem`.
    pub async fn connect(address: SocketAddr, pki: &Path) -> Client {
        let own = |name: &str| std::fs::read(pki.join("own").join(name)).ok();
        let key = || own("key.pem").map(|pem| PrivateKey::from_pem(&pem).unwrap());
        let url = format!("opc.tcp://{address}/");
        let mut link = Link::connect(address, &hello(&url, [65_535, 65_535, 0, 0])).await;
        link.own(own("certificate.der").map(|der| X509::from_der(&der).unwrap()), key());
        Client { link, url: url.into(), key: key() }
    }

    /// Sends a request and waits for its answer; the StatusCode of an Error message or of a ServiceFault.
    pub async fn call(&mut self, request: impl Into<RequestMessage>) -> Result<ResponseMessage, StatusCode> {
        self.link.call(request).await
    }

    pub fn header(&self) -> RequestHeader {
        self.link.header()
    }

    /// Opens a secure channel; `server`: its certificate, none for one without security.
    pub async fn open(&mut self, server: Option<X509>) -> Result<(), StatusCode> {
        let security = match server {
            Some(_) => (POLICY, MessageSecurityMode::SignAndEncrypt),
            None => (SecurityPolicy::None, MessageSecurityMode::None),
        };
        self.link.secure(security, server);
        let request = self.link.asks(SecurityTokenRequestType::Issue, 60_000);
        self.link.open(request).await.map(drop)
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
        let request = self.activation(user).await?;
        self.call(request).await.map(|_| ())
    }

    /// Sends a request; `answer` has what comes back.
    pub async fn send(&mut self, request: impl Into<RequestMessage>) -> Result<(), StatusCode> {
        self.link.send(request).await
    }

    pub async fn answer(&mut self) -> Result<ResponseMessage, StatusCode> {
        self.link.answer().await
    }

    /// Creates a session; the request that activates it.
    pub async fn activation(&mut self, user: Option<(&str, &str)>) -> Result<ActivateSessionRequest, StatusCode> {
        let certificate = match self.link.channel.security_policy() {
            SecurityPolicy::None => ByteString::null(),
            _ => self.link.channel.cert().unwrap().as_byte_string(),
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
        self.link.token = session.authentication_token.clone();
        let policy = self.link.channel.security_policy();
        let server = self.link.channel.remote_cert();
        let user_identity_token = match user {
            Some((name, password)) => {
                let token_policy = UserTokenPolicy {
                    policy_id: "username".into(),
                    token_type: UserTokenType::UserName,
                    ..UserTokenPolicy::default()
                };
                let mode = self.link.channel.security_mode();
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
        Ok(ActivateSessionRequest {
            request_header: self.header(),
            client_signature,
            client_software_certificates: None,
            locale_ids: None,
            user_identity_token,
            user_token_signature: SignatureData::default(),
        })
    }
}
