//! Channels over real sockets, against async-opcua's own client side: every policy and mode, renewals, refusals, broken bytes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use opcua::core::comms::chunker::Chunker;
use opcua::core::comms::secure_channel::{Role, SecureChannel};
use opcua::core::comms::sequence_number::SequenceNumberHandle;
use opcua::core::{RequestMessage, ResponseMessage};
use opcua::crypto::{CertificateStore, PrivateKey, X509, X509Data};
use opcua::sync::RwLock;
use opcua::types::{
    ByteString, DateTime, NodeId, OpenSecureChannelRequest, ReadRequest, RequestHeader, SecurityTokenRequestType,
    TimestampsToReturn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::plant::opcua::application::POLICIES;
use crate::plant::opcua::pki::Rules;
use crate::plant::opcua::wire::{Reader, RequestHeader as Head, response};
use crate::plant::pulse::Pulse;

fn pair(name: &str) -> (X509, PrivateKey) {
    X509::cert_and_pkey(&X509Data {
        key_size: 2048,
        common_name: name.into(),
        organization: String::new(),
        organizational_unit: String::new(),
        country: String::new(),
        state: String::new(),
        alt_host_names: X509Data::alt_host_names("urn:test", None, true, false, false),
        certificate_duration_days: 10,
    })
    .unwrap()
}

/// Two pairs, server's and client's: an RSA key takes its time.
fn pairs() -> &'static [(X509, PrivateKey); 2] {
    static PAIRS: std::sync::LazyLock<[(X509, PrivateKey); 2]> = std::sync::LazyLock::new(|| [pair("a"), pair("b")]);
    &PAIRS
}

/// Answers every request with a ReadResponse that is about as long.
fn echo(channel: &Arc<Channel>, answers: &Answers, request: Request) {
    channel.logged_in();
    let mut reader = Reader::new(&request.body);
    reader.node_id().unwrap();
    let handle = Head::read(&mut reader).unwrap().handle;
    let mut writer = response(634, handle, StatusCode::Good);
    // the client's decoder takes no longer arrays
    let results = 900.min(request.body.len());
    writer.count(results);
    for _ in 0..results {
        // a value that is a ByteString
        writer.raw(&[1, 15]);
        writer.bytes(Some(&vec![7; request.body.len() / results]));
    }
    writer.i32(-1);
    answers.send(request.id, writer.finish());
}

/// With the folder of its certificates.
fn door(own: &(X509, PrivateKey), client: &X509) -> (Door, PathBuf) {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("canvoy-channel-{}-{number}", std::process::id()));
    let trust = Trust::new(&folder, Rules::default()).unwrap();
    std::fs::write(folder.join("trusted/certs/client.der"), client.to_der().unwrap()).unwrap();
    let application = Application {
        uri: "urn:test".into(),
        certificate: own.0.clone(),
        certificate_der: own.0.to_der().unwrap(),
        key: own.1.clone(),
        address: ([127, 0, 0, 1], 0).into(),
        hostname: "test".into(),
        hosts: Vec::new(),
        offers_none: true,
        anonymous_read: true,
        roles_of_applications: false,
        trusts_any: false,
    };
    let door = Door {
        application: Arc::new(application),
        trust: Arc::new(trust),
        max_connections: 20,
        limits: Limits::default(),
        counters: Arc::default(),
        tell: Arc::new(|_, _| {}),
    };
    (door, folder)
}

async fn server() -> SocketAddr {
    let (door, _) = door(&pairs()[0], &pairs()[1].0);
    serve_at(door).await
}

async fn serve_at(door: Door) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, door, echo, &Pulse::default()).await });
    address
}

struct Client {
    stream: TcpStream,
    channel: SecureChannel,
    next: u32,
}

fn hello(receive: u32, send: u32, bytes: u32, chunks: u32) -> Vec<u8> {
    let mut hello = b"HELF\x20\0\0\0".to_vec();
    hello.extend([0, receive, send, bytes, chunks, 0].map(u32::to_le_bytes).concat());
    hello
}

impl Client {
    async fn connect(address: SocketAddr, policy: SecurityPolicy, mode: MessageSecurityMode) -> Client {
        let store = Arc::new(RwLock::new(CertificateStore::new(std::path::Path::new("/nonexistent"))));
        let mut channel = SecureChannel::new(store, Role::Client, Arc::default());
        channel.set_security_policy(policy);
        channel.set_security_mode(mode);
        if policy != SecurityPolicy::None {
            channel.set_cert(Some(pairs()[1].0.clone()));
            channel.set_private_key(Some(pairs()[1].1.clone()));
            channel.set_remote_cert(Some(pairs()[0].0.clone()));
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello(65_535, 65_535, 0, 0)).await.unwrap();
        let mut client = Client { stream, channel, next: 0 };
        assert_eq!(&client.frame().await.unwrap()[..4], b"ACKF");
        client
    }

    async fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 8];
        self.stream.read_exact(&mut frame).await.ok()?;
        frame.resize(u32::from_le_bytes(*frame.last_chunk().unwrap()) as usize, 0);
        self.stream.read_exact(&mut frame[8..]).await.ok()?;
        Some(frame)
    }

    fn sealed(&mut self, request: RequestMessage) -> Vec<u8> {
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

    async fn answer(&mut self) -> Result<ResponseMessage, StatusCode> {
        let mut chunks = Vec::new();
        loop {
            let frame = self.frame().await.ok_or(StatusCode::BadConnectionClosed)?;
            if &frame[..3] == b"ERR" {
                return Err(StatusCode::from(u32::from_le_bytes(*frame[8..].first_chunk().unwrap())));
            }
            let last = frame[3] == b'F';
            chunks.push(self.channel.verify_and_remove_security(frame.into()).unwrap());
            if last {
                return Ok(Chunker::decode(&chunks, &self.channel, None).unwrap());
            }
        }
    }

    async fn call(&mut self, request: impl Into<RequestMessage>) -> Result<ResponseMessage, StatusCode> {
        let bytes = self.sealed(request.into());
        self.stream.write_all(&bytes).await.map_err(|_| StatusCode::BadConnectionClosed)?;
        self.answer().await
    }

    fn header(&self) -> RequestHeader {
        RequestHeader::new(&NodeId::null(), &DateTime::now(), self.next + 1)
    }

    fn asks(&mut self, request_type: SecurityTokenRequestType) -> OpenSecureChannelRequest {
        self.channel.create_random_nonce();
        OpenSecureChannelRequest {
            request_header: self.header(),
            client_protocol_version: 0,
            request_type,
            security_mode: self.channel.security_mode(),
            client_nonce: self.channel.local_nonce_as_byte_string(),
            requested_lifetime: 1,
        }
    }

    async fn open(&mut self, request: OpenSecureChannelRequest) -> Result<(), StatusCode> {
        let ResponseMessage::OpenSecureChannel(answer) = self.call(request).await? else { panic!("another answer") };
        assert_eq!(answer.security_token.revised_lifetime, 10_000);
        self.channel.set_security_token(answer.security_token);
        if self.channel.security_policy() != SecurityPolicy::None {
            self.channel.set_remote_nonce_from_byte_string(&answer.server_nonce).unwrap();
            self.channel.derive_keys();
        }
        Ok(())
    }

    async fn read(&mut self, nodes: usize) -> Result<(), StatusCode> {
        let request = ReadRequest {
            request_header: self.header(),
            max_age: 0.0,
            timestamps_to_return: TimestampsToReturn::Both,
            nodes_to_read: Some(vec![Default::default(); nodes]),
        };
        let handle = request.request_header.request_handle;
        match self.call(request).await? {
            ResponseMessage::Read(answer) => assert_eq!(answer.response_header.request_handle, handle),
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

fn all() -> Vec<(SecurityPolicy, MessageSecurityMode)> {
    let secured = [MessageSecurityMode::Sign, MessageSecurityMode::SignAndEncrypt];
    let mut all = vec![(SecurityPolicy::None, MessageSecurityMode::None)];
    all.extend(POLICIES.into_iter().flat_map(|policy| secured.map(|mode| (policy, mode))));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_and_mode_carries_requests_and_renewals() {
    let address = server().await;
    for (policy, mode) in all() {
        let mut client = Client::connect(address, policy, mode).await;
        let request = client.asks(SecurityTokenRequestType::Issue);
        client.open(request).await.unwrap();
        // one chunk, all lengths of padding, several chunks
        for nodes in (0..20).chain([2_000, 20_000]) {
            client.read(nodes).await.unwrap_or_else(|status| panic!("{policy} {mode:?} {nodes}: {status}"));
        }
        for _ in 0..3 {
            let request = client.asks(SecurityTokenRequestType::Renew);
            client.open(request).await.unwrap_or_else(|status| panic!("{policy} {mode:?}: {status}"));
            client.read(3).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_is_not_right_is_refused() {
    let address = server().await;
    let (policy, mode) = (SecurityPolicy::Basic256Sha256, MessageSecurityMode::SignAndEncrypt);
    type Change = fn(&mut OpenSecureChannelRequest);
    for (change, want) in [
        ((|request| request.security_mode = MessageSecurityMode::None) as Change, StatusCode::BadSecurityModeRejected),
        (|request| request.client_nonce = ByteString::from(vec![1; 31]), StatusCode::BadNonceInvalid),
        (|request| request.client_nonce = ByteString::null(), StatusCode::BadNonceInvalid),
        (|request| request.request_type = SecurityTokenRequestType::Renew, StatusCode::BadRequestTypeInvalid),
    ] {
        let mut client = Client::connect(address, policy, mode).await;
        let mut request = client.asks(SecurityTokenRequestType::Issue);
        change(&mut request);
        assert_eq!(client.open(request).await, Err(want));
        assert_eq!(client.frame().await, None);
    }
    // not trusted; for another server
    let mut client = Client::connect(address, policy, mode).await;
    client.channel.set_cert(Some(pairs()[0].0.clone()));
    client.channel.set_private_key(Some(pairs()[0].1.clone()));
    let request = client.asks(SecurityTokenRequestType::Issue);
    assert_eq!(client.open(request).await, Err(StatusCode::BadSecurityChecksFailed));
    let mut client = Client::connect(address, policy, mode).await;
    client.channel.set_remote_cert(Some(pairs()[1].0.clone()));
    let request = client.asks(SecurityTokenRequestType::Issue);
    assert_eq!(client.open(request).await, Err(StatusCode::BadCertificateInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_was_changed_ends_the_channel() {
    let address = server().await;
    for (policy, mode) in all() {
        // at, xor, want
        for (at, want) in [
            (8, StatusCode::BadTcpSecureChannelUnknown),
            (12, StatusCode::BadSecureChannelTokenUnknown),
            (16, StatusCode::BadSecurityChecksFailed),
        ] {
            let mut client = Client::connect(address, policy, mode).await;
            let request = client.asks(SecurityTokenRequestType::Issue);
            client.open(request).await.unwrap();
            let request = ReadRequest { request_header: client.header(), ..Default::default() };
            let mut bytes = client.sealed(request.into());
            bytes[at] ^= 0x55;
            client.stream.write_all(&bytes).await.unwrap();
            assert_eq!(client.answer().await.err(), Some(want), "{policy} {mode:?} {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_bytes_are_refused_with_a_reason() {
    let address = server().await;
    for (bytes, want) in [
        (b"HELF\xFF\xFF\xFF\xFF".to_vec(), StatusCode::BadTcpMessageTooLarge),
        (b"OPNF\xF0\xFF\xFF\xFF".to_vec(), StatusCode::BadTcpMessageTypeInvalid),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), StatusCode::BadTcpMessageTypeInvalid),
        (hello(8191, 65_535, 0, 0), StatusCode::BadConnectionRejected),
        (hello(65_535, 100, 0, 0), StatusCode::BadConnectionRejected),
        ([b"HELF\x09\0\0\0".to_vec(), vec![0]].concat(), StatusCode::BadDecodingError),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        end.unwrap().unwrap();
        assert_eq!(&answer[..4], b"ERRF");
        assert_eq!(answer[8..12], want.bits().to_le_bytes(), "{bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_that_is_taken_back_ends_open_channels() {
    let (mut door, folder) = door(&pairs()[0], &pairs()[1].0);
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    door.tell = {
        let told = told.clone();
        Arc::new(move |_, notice| {
            let line = match notice {
                Notice::Certificate { status, .. } => format!("certificate {status}"),
                Notice::Open(Opening { channel, renew, mode, status, .. }) => {
                    format!("open {} {renew} {mode:?} {status}", channel != 0)
                }
            };
            told.lock().unwrap().push(line);
        })
    };
    let address = serve_at(door).await;
    let (policy, mode) = (POLICIES[0], MessageSecurityMode::Sign);
    let mut client = Client::connect(address, policy, mode).await;
    for kind in [SecurityTokenRequestType::Issue, SecurityTokenRequestType::Renew] {
        let request = client.asks(kind);
        client.open(request).await.unwrap();
    }
    // another file in the folder changes nothing
    std::fs::write(folder.join("trusted/certs/other.der"), pairs()[0].0.to_der().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.read(1).await.unwrap();
    std::fs::rename(folder.join("trusted/certs/client.der"), folder.join("rejected/client.der")).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(8), client.answer()).await.unwrap();
    assert_eq!(end.err(), Some(StatusCode::BadSecurityChecksFailed));
    let mut client = Client::connect(address, policy, mode).await;
    let request = client.asks(SecurityTokenRequestType::Issue);
    assert_eq!(client.open(request).await, Err(StatusCode::BadSecurityChecksFailed));
    let want = [
        "open true false Sign Good",
        "open true true Sign Good",
        "certificate BadCertificateUntrusted",
        "certificate BadCertificateUntrusted",
        "open false false Invalid BadSecurityChecksFailed",
    ];
    assert_eq!(*told.lock().unwrap(), want);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Changed chunks against the pure part, so that a panic fails the test.
#[test]
fn changed_chunks_never_panic() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % below
    };
    let now = std::time::Instant::now();
    for (policy, mode) in all() {
        let token = || security::Token::new(7, now, Duration::from_secs(60), policy, (&[1; 32], &[1; 32]));
        let mut out = security::Outgoing::new(5, policy, mode);
        out.renew(Arc::new(token()));
        let mut sealed = Vec::new();
        out.seal(b'F', 1, &[3; 200], &mut sealed).unwrap();
        let mut opened = 0;
        for round in 0..3_000 {
            let mut incoming = security::Incoming::new(5, policy, mode, security::Sequence::default());
            incoming.renew(Arc::new(token()));
            let mut bytes = sealed.clone();
            if round > 0 {
                bytes.truncate(random(bytes.len() + 1));
                for _ in 0..random(4) {
                    let at = random(bytes.len().max(1));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random(256) as u8;
                    }
                }
            }
            opened += usize::from(incoming.open(&bytes, now).is_ok());
        }
        assert!(opened > 0, "{policy} {mode:?}");
    }
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random(120)).map(|_| random(256) as u8).collect();
        let _ = framing::hello(&bytes, (1 << 20, 100));
        let mut message = b"OPNF\0\0\0\0\0\0\0\0".to_vec();
        message.extend((47_u32).to_le_bytes());
        message.extend(SecurityPolicy::None.to_uri().as_bytes());
        message.extend(&bytes);
        message.truncate(random(message.len() + 1));
        if let Ok(clear) = open::Clear::read(&message) {
            let _ = clear.asked(&bytes, None, &mut security::Sequence::default());
        }
    }
}
