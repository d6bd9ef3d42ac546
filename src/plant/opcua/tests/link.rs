//! The client's end of a connection for the tests: chunks and channels by the crate's public parts, which are not ours.

use std::net::SocketAddr;
use std::sync::Arc;

use opcua::core::comms::chunker::Chunker;
use opcua::core::comms::secure_channel::{Role, SecureChannel};
use opcua::core::comms::sequence_number::SequenceNumberHandle;
use opcua::core::{RequestMessage, ResponseMessage};
use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy, X509};
use opcua::sync::RwLock;
use opcua::types::{
    DateTime, MessageSecurityMode, NodeId, OpenSecureChannelRequest, OpenSecureChannelResponse, RequestHeader,
    SecurityTokenRequestType, StatusCode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Link {
    pub stream: TcpStream,
    pub channel: SecureChannel,
    /// Sequence number and request id of the last chunk.
    pub next: u32,
    /// What requests are marked with.
    pub token: NodeId,
}

/// A Hello: buffers and longest message, in bytes, and most chunks.
pub fn hello(url: &str, [receive, send, bytes, chunks]: [u32; 4]) -> Vec<u8> {
    let mut hello = b"HELF".to_vec();
    hello.extend((8 + 20 + 4 + url.len() as u32).to_le_bytes());
    hello.extend([0, receive, send, bytes, chunks].map(u32::to_le_bytes).concat());
    hello.extend((url.len() as u32).to_le_bytes());
    hello.extend(url.as_bytes());
    hello
}

impl Link {
    /// Connects and says Hello.
    pub async fn connect(address: SocketAddr, hello: &[u8]) -> Link {
        let store = Arc::new(RwLock::new(CertificateStore::new(std::path::Path::new("/nonexistent"))));
        let channel = SecureChannel::new(store, Role::Client, Arc::default());
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(hello).await.unwrap();
        let mut link = Link { stream, channel, next: 0, token: NodeId::null() };
        assert_eq!(&link.frame().await.unwrap()[..4], b"ACKF");
        link
    }

    /// What the channel is to be secured with, before it is opened.
    pub fn secure(&mut self, (policy, mode): (SecurityPolicy, MessageSecurityMode), server: Option<X509>) {
        self.channel.set_security_policy(policy);
        self.channel.set_security_mode(mode);
        self.channel.set_remote_cert(server);
    }

    pub fn own(&mut self, certificate: Option<X509>, key: Option<PrivateKey>) {
        self.channel.set_cert(certificate);
        self.channel.set_private_key(key);
    }

    pub async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 8];
        self.stream.read_exact(&mut frame).await.ok()?;
        frame.resize(u32::from_le_bytes(*frame.last_chunk().unwrap()) as usize, 0);
        self.stream.read_exact(&mut frame[8..]).await.ok()?;
        Some(frame)
    }

    /// The bytes of a request.
    pub fn sealed(&mut self, request: RequestMessage) -> Vec<u8> {
        let mut sequence = SequenceNumberHandle::new(true);
        sequence.set(self.next + 1);
        let chunks = Chunker::encode(sequence, self.next + 1, 0, 65_535, &self.channel, &request).unwrap();
        self.next += chunks.len() as u32;
        let mut bytes = Vec::new();
        for chunk in chunks {
            let mut secured = vec![0; 2 * chunk.data.len() + 4096];
            let size = self.channel.apply_security(&chunk, &mut secured).unwrap();
            bytes.extend_from_slice(&secured[..size]);
        }
        bytes
    }

    pub async fn send(&mut self, request: impl Into<RequestMessage>) -> Result<(), StatusCode> {
        let bytes = self.sealed(request.into());
        self.stream.write_all(&bytes).await.map_err(|_| StatusCode::BadConnectionClosed)
    }

    /// The next answer; the StatusCode of an Error message or of a ServiceFault.
    pub async fn answer(&mut self) -> Result<ResponseMessage, StatusCode> {
        let mut chunks = Vec::new();
        loop {
            let frame = self.frame().await.ok_or(StatusCode::BadConnectionClosed)?;
            if &frame[..3] == b"ERR" {
                return Err(StatusCode::from(u32::from_le_bytes(*frame[8..].first_chunk().unwrap())));
            }
            let last = frame[3] == b'F';
            chunks.push(self.channel.verify_and_remove_security(frame.into()).unwrap());
            if last {
                break;
            }
        }
        let answer: ResponseMessage = Chunker::decode(&chunks, &self.channel, None).unwrap();
        let status = answer.response_header().service_result;
        if status.is_bad() { Err(status) } else { Ok(answer) }
    }

    pub async fn call(&mut self, request: impl Into<RequestMessage>) -> Result<ResponseMessage, StatusCode> {
        self.send(request).await?;
        self.answer().await
    }

    pub fn header(&self) -> RequestHeader {
        RequestHeader::new(&self.token, &DateTime::now(), self.next + 1)
    }

    pub fn asks(&mut self, request_type: SecurityTokenRequestType, lifetime: u32) -> OpenSecureChannelRequest {
        self.channel.create_random_nonce();
        OpenSecureChannelRequest {
            request_header: self.header(),
            client_protocol_version: 0,
            request_type,
            security_mode: self.channel.security_mode(),
            client_nonce: self.channel.local_nonce_as_byte_string(),
            requested_lifetime: lifetime,
        }
    }

    /// Opens a channel, or renews its token.
    pub async fn open(&mut self, request: OpenSecureChannelRequest) -> Result<OpenSecureChannelResponse, StatusCode> {
        let ResponseMessage::OpenSecureChannel(answer) = self.call(request).await? else { panic!("another answer") };
        self.channel.set_security_token(answer.security_token.clone());
        if self.channel.security_policy() != SecurityPolicy::None {
            self.channel.set_remote_nonce_from_byte_string(&answer.server_nonce).unwrap();
            self.channel.derive_keys();
        }
        Ok(*answer)
    }
}
