//! Channels over real sockets, against async-opcua's own client side: every policy and mode, renewals, refusals, broken bytes.

use crate::plant::scratch::Scratch;
use std::net::SocketAddr;
use std::time::Duration;

use opcua::core::ResponseMessage;
use opcua::crypto::{PrivateKey, X509, X509Data};
use opcua::types::{
    ByteString, CloseSecureChannelRequest, OpenSecureChannelRequest, ReadRequest, SecurityTokenRequestType,
    TimestampsToReturn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::plant::opcua::application::POLICIES;
use crate::plant::opcua::pki::Rules;
use crate::plant::opcua::tests::link::{self, Link};
use crate::plant::opcua::wire::{NodeRef, Reader, RequestHeader as Head, Writer, response};
use crate::plant::pulse::Pulse;

fn pair(name: &str) -> (X509, PrivateKey) {
    pair_of(name, 2048)
}

fn pair_of(name: &str, key_size: u32) -> (X509, PrivateKey) {
    X509::cert_and_pkey(&X509Data {
        key_size,
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
fn door(own: &(X509, PrivateKey), client: &X509) -> (Door, Scratch) {
    let folder = Scratch::new("channel");
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

/// With the folder of its certificates.
async fn server() -> (SocketAddr, Scratch) {
    let (door, folder) = door(&pairs()[0], &pairs()[1].0);
    (serve_at(door).await, folder)
}

async fn serve_at(door: Door) -> SocketAddr {
    serve_with(door, echo).await
}

async fn serve_with<S>(door: Door, answer: S) -> SocketAddr
where
    S: Fn(&Arc<Channel>, &Answers, Request) + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, door, answer, &Pulse::default()).await });
    address
}

type Client = Link;

fn hello(numbers: [u32; 4]) -> Vec<u8> {
    link::hello("opc.tcp://127.0.0.1/", numbers)
}

async fn connect(address: SocketAddr, policy: SecurityPolicy, mode: MessageSecurityMode) -> Client {
    connect_with(address, (policy, mode), [65_535, 65_535, 0, 0]).await
}

async fn connect_with(
    address: SocketAddr,
    (policy, mode): (SecurityPolicy, MessageSecurityMode),
    numbers: [u32; 4],
) -> Client {
    let mut client = Client::connect(address, &hello(numbers)).await;
    let secured = policy != SecurityPolicy::None;
    client.secure((policy, mode), secured.then(|| pairs()[0].0.clone()));
    if secured {
        client.own(Some(pairs()[1].0.clone()), Some(pairs()[1].1.clone()));
    }
    client
}

/// Opens a channel, or renews its token, with the shortest life.
async fn open(client: &mut Client, request_type: SecurityTokenRequestType) -> Result<(), StatusCode> {
    let request = client.asks(request_type, 1);
    let answer = client.open(request).await?;
    assert_eq!(answer.security_token.revised_lifetime, 10_000);
    Ok(())
}

fn reading(client: &Client, nodes: usize) -> ReadRequest {
    ReadRequest {
        request_header: client.header(),
        max_age: 0.0,
        timestamps_to_return: TimestampsToReturn::Both,
        nodes_to_read: Some(vec![Default::default(); nodes]),
    }
}

async fn read(client: &mut Client, nodes: usize) -> Result<(), StatusCode> {
    let request = reading(client, nodes);
    let handle = request.request_header.request_handle;
    match client.call(request).await? {
        ResponseMessage::Read(answer) => assert_eq!(answer.response_header.request_handle, handle),
        other => panic!("{other:?}"),
    }
    Ok(())
}

fn all() -> Vec<(SecurityPolicy, MessageSecurityMode)> {
    let secured = [MessageSecurityMode::Sign, MessageSecurityMode::SignAndEncrypt];
    let mut all = vec![(SecurityPolicy::None, MessageSecurityMode::None)];
    all.extend(POLICIES.into_iter().flat_map(|policy| secured.map(|mode| (policy, mode))));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_and_mode_carries_requests_and_renewals() {
    let (address, _folder) = server().await;
    for (policy, mode) in all() {
        let mut client = connect(address, policy, mode).await;
        open(&mut client, SecurityTokenRequestType::Issue).await.unwrap();
        // one chunk, all lengths of padding, several chunks
        for nodes in (0..20).chain([2_000, 20_000]) {
            read(&mut client, nodes).await.unwrap_or_else(|status| panic!("{policy} {mode:?} {nodes}: {status}"));
        }
        for _ in 0..3 {
            open(&mut client, SecurityTokenRequestType::Renew)
                .await
                .unwrap_or_else(|status| panic!("{policy} {mode:?}: {status}"));
            read(&mut client, 3).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_is_not_right_is_refused() {
    let (address, _folder) = server().await;
    let (policy, mode) = (SecurityPolicy::Basic256Sha256, MessageSecurityMode::SignAndEncrypt);
    type Change = fn(&mut OpenSecureChannelRequest);
    for (change, want) in [
        ((|request| request.security_mode = MessageSecurityMode::None) as Change, StatusCode::BadSecurityModeRejected),
        (|request| request.client_nonce = ByteString::from(vec![1; 31]), StatusCode::BadNonceInvalid),
        (|request| request.client_nonce = ByteString::null(), StatusCode::BadNonceInvalid),
        (|request| request.request_type = SecurityTokenRequestType::Renew, StatusCode::BadRequestTypeInvalid),
    ] {
        let mut client = connect(address, policy, mode).await;
        let mut request = client.asks(SecurityTokenRequestType::Issue, 1);
        change(&mut request);
        assert_eq!(client.open(request).await.err(), Some(want));
        assert_eq!(client.frame().await, None);
    }
    // not trusted; for another server
    let mut client = connect(address, policy, mode).await;
    client.channel.set_cert(Some(pairs()[0].0.clone()));
    client.channel.set_private_key(Some(pairs()[0].1.clone()));
    assert_eq!(open(&mut client, SecurityTokenRequestType::Issue).await, Err(StatusCode::BadSecurityChecksFailed));
    let mut client = connect(address, policy, mode).await;
    client.channel.set_remote_cert(Some(pairs()[1].0.clone()));
    assert_eq!(open(&mut client, SecurityTokenRequestType::Issue).await, Err(StatusCode::BadCertificateInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_was_changed_ends_the_channel() {
    let (address, _folder) = server().await;
    for (policy, mode) in all() {
        // at, xor, want
        for (at, want) in [
            (8, StatusCode::BadTcpSecureChannelUnknown),
            (12, StatusCode::BadSecureChannelTokenUnknown),
            (16, StatusCode::BadSecurityChecksFailed),
        ] {
            let mut client = connect(address, policy, mode).await;
            open(&mut client, SecurityTokenRequestType::Issue).await.unwrap();
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
    let (address, _folder) = server().await;
    for (bytes, want) in [
        (b"HELF\xFF\xFF\xFF\xFF".to_vec(), StatusCode::BadTcpMessageTooLarge),
        (b"OPNF\xF0\xFF\xFF\xFF".to_vec(), StatusCode::BadTcpMessageTypeInvalid),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), StatusCode::BadTcpMessageTypeInvalid),
        (hello([8191, 65_535, 0, 0]), StatusCode::BadConnectionRejected),
        (hello([65_535, 100, 0, 0]), StatusCode::BadConnectionRejected),
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
    let told: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    door.tell = {
        let told = told.clone();
        Arc::new(move |_, notice| {
            let line = match notice {
                Notice::Certificate { status, .. } => format!("certificate {status}"),
                Notice::Open(Opening { channel, renew, mode, status, .. }) => {
                    format!("open {} {renew} {mode:?} {status}", channel != 0)
                }
                Notice::Close(Closing { channel, status }) => format!("close {} {status}", channel != 0),
            };
            told.lock().unwrap().push(line);
        })
    };
    let address = serve_at(door).await;
    let (policy, mode) = (POLICIES[0], MessageSecurityMode::Sign);
    let mut client = connect(address, policy, mode).await;
    for kind in [SecurityTokenRequestType::Issue, SecurityTokenRequestType::Renew] {
        open(&mut client, kind).await.unwrap();
    }
    // another file in the folder changes nothing
    std::fs::write(folder.join("trusted/certs/other.der"), pairs()[0].0.to_der().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    read(&mut client, 1).await.unwrap();
    std::fs::rename(folder.join("trusted/certs/client.der"), folder.join("rejected/client.der")).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(8), client.answer()).await.unwrap();
    assert_eq!(end.err(), Some(StatusCode::BadSecurityChecksFailed));
    let closed = async |count: usize| {
        let has = || told.lock().unwrap().iter().filter(|line| line.starts_with("close")).count() == count;
        while !has() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed(1)).await.unwrap();
    let mut client = connect(address, policy, mode).await;
    assert_eq!(open(&mut client, SecurityTokenRequestType::Issue).await, Err(StatusCode::BadSecurityChecksFailed));
    let want = [
        "open true false Sign Good",
        "open true true Sign Good",
        "certificate BadCertificateUntrusted",
        "close true BadSecurityChecksFailed",
        "certificate BadCertificateUntrusted",
        "open false false Invalid BadSecurityChecksFailed",
    ];
    assert_eq!(*told.lock().unwrap(), want);
    // closed by the client, lost with its connection
    told.lock().unwrap().clear();
    std::fs::rename(folder.join("rejected/client.der"), folder.join("trusted/certs/client.der")).unwrap();
    for (number, says_so, want) in [(1, true, "close true Good"), (2, false, "close true BadConnectionClosed")] {
        let mut client = connect(address, policy, mode).await;
        open(&mut client, SecurityTokenRequestType::Issue).await.unwrap();
        if says_so {
            let close = client.sealed(CloseSecureChannelRequest { request_header: client.header() }.into());
            client.stream.write_all(&close).await.unwrap();
            assert_eq!(client.frame().await, None);
        }
        drop(client);
        tokio::time::timeout(Duration::from_secs(5), closed(number)).await.unwrap();
        assert_eq!(told.lock().unwrap().last().unwrap(), want);
    }
}

const CLEAR: (SecurityPolicy, MessageSecurityMode) = (SecurityPolicy::None, MessageSecurityMode::None);

/// A channel without security over a connection with these buffers and limits.
async fn clear(address: SocketAddr, numbers: [u32; 4]) -> Client {
    let mut client = connect_with(address, CLEAR, numbers).await;
    open(&mut client, SecurityTokenRequestType::Issue).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_to_what_the_client_can_take() {
    let (address, _folder) = server().await;
    // nodes to read, bytes and chunks that the client takes, what it gets
    let large = Err(StatusCode::BadResponseTooLarge);
    for (nodes, [bytes, chunks], want) in
        [(2_000, [0, 0], Ok(())), (2_000, [20_000, 0], large), (2_000, [0, 2], large), (100, [20_000, 2], Ok(()))]
    {
        let mut client = clear(address, [8_192, 8_192, bytes, chunks]).await;
        let request = reading(&client, nodes);
        // a client sends no larger chunks than it was told either
        client.send(request).await.unwrap();
        let (mut got, mut longest) = (Vec::new(), 0);
        loop {
            let frame = client.frame().await.unwrap();
            longest = longest.max(frame.len());
            got.push(frame[3]);
            if frame[3] == b'F' {
                let encoding = u16::from_le_bytes(*frame[26..].first_chunk().unwrap());
                let fault = got.len() == 1 && encoding == 397;
                assert_eq!(if fault { large } else { Ok(()) }, want, "{nodes} {bytes} {chunks}");
                break;
            }
        }
        assert!(longest <= 8_192, "{longest}");
        read(&mut client, 10).await.expect("the channel goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_closed_by_its_client_ends_without_a_word() {
    let (address, _folder) = server().await;
    for (policy, mode) in all() {
        let mut client = connect(address, policy, mode).await;
        open(&mut client, SecurityTokenRequestType::Issue).await.unwrap();
        let request = CloseSecureChannelRequest { request_header: client.header() };
        let mut bytes = client.sealed(request.into());
        assert_eq!(&bytes[..4], b"CLOF");
        client.stream.write_all(&bytes).await.unwrap();
        assert_eq!(client.frame().await, None, "{policy} {mode:?}");
        // who can't show the keys closes nothing but the connection, and is told so
        let mut client = connect(address, policy, mode).await;
        open(&mut client, SecurityTokenRequestType::Issue).await.unwrap();
        bytes[8..16].fill(0x55);
        client.stream.write_all(&bytes).await.unwrap();
        assert_eq!(client.answer().await.err(), Some(StatusCode::BadTcpSecureChannelUnknown));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_not_read_from() {
    let (mut door, _folder) = door(&pairs()[0], &pairs()[1].0);
    door.limits.backlog_bytes = 256 * 1024;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let address = serve_with(door, move |channel, answers, request| {
        counted.fetch_add(1, Ordering::Relaxed);
        echo(channel, answers, request);
    })
    .await;
    let mut client = clear(address, [65_535, 65_535, 0, 0]).await;
    const REQUESTS: usize = 400;
    // as much again comes back: 40 MB, far more than sockets hold
    let mut requests = Vec::new();
    for _ in 0..REQUESTS {
        let request = reading(&client, 4_000);
        requests.push(client.sealed(request.into()));
    }
    let (mut reader, mut writer) = client.stream.into_split();
    let sent = tokio::spawn(async move {
        for request in requests {
            writer.write_all(&request).await.unwrap();
        }
        writer
    });
    let mut before = usize::MAX;
    while before != asked.load(Ordering::Relaxed) {
        before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!((1..REQUESTS / 2).contains(&before), "{before} requests were taken and not one answer");
    // once it takes its answers it gets all of them
    let (mut last, mut bytes) = (0, Vec::new());
    while last < REQUESTS {
        let mut header = [0; 8];
        reader.read_exact(&mut header).await.unwrap();
        let size = u32::from_le_bytes(*header.last_chunk().unwrap()) as usize;
        bytes.resize(size - 8, 0);
        reader.read_exact(&mut bytes).await.unwrap();
        last += usize::from(header[3] == b'F');
    }
    assert_eq!(asked.load(Ordering::Relaxed), REQUESTS);
    sent.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_over_one_request_ends_one_connection() {
    let (door, _folder) = door(&pairs()[0], &pairs()[1].0);
    let counters = door.counters.clone();
    let address = serve_with(door, |channel, answers, request| {
        assert!(request.body.len() < 2_000, "on purpose: this test is about a panic");
        echo(channel, answers, request);
    })
    .await;
    let mut other = clear(address, [65_535, 65_535, 0, 0]).await;
    for _ in 0..100 {
        let mut client = clear(address, [65_535, 65_535, 0, 0]).await;
        read(&mut client, 5).await.unwrap();
        assert_eq!(read(&mut client, 500).await, Err(StatusCode::BadConnectionClosed));
    }
    read(&mut other, 5).await.unwrap();
    // none of them is left in the table of connections
    drop(clear(address, [65_535, 65_535, 0, 0]).await);
    assert!(counters.open() <= 2, "{} connections", counters.open());
}

#[tokio::test(flavor = "multi_thread")]
async fn longer_keys_carry_channels() {
    // the server's of 3072 bits, the client's of 4096: what each encrypts has two bytes of padding length for the other
    let (own, theirs) = (pair_of("c", 3072), pair_of("d", 4096));
    let (door, _folder) = door(&own, &theirs.0);
    let address = serve_at(door).await;
    for (policy, mode) in all().into_iter().skip(1) {
        let mut client = Client::connect(address, &hello([65_535, 65_535, 0, 0])).await;
        client.secure((policy, mode), Some(own.0.clone()));
        client.own(Some(theirs.0.clone()), Some(theirs.1.clone()));
        for kind in [SecurityTokenRequestType::Issue, SecurityTokenRequestType::Renew] {
            open(&mut client, kind).await.unwrap_or_else(|status| panic!("{policy} {mode:?}: {status}"));
            read(&mut client, 100).await.unwrap();
        }
    }
}

/// Both directions of a channel without a connection: what a client seals with our own sealing, opened.
struct Pair {
    incoming: security::Incoming,
    client: security::Outgoing,
    /// Chunks that were opened; one that was refused has its number to give back.
    opened: u32,
    now: std::time::Instant,
}

impl Pair {
    fn new() -> Pair {
        let (policy, mode) = (SecurityPolicy::Aes256Sha256RsaPss, MessageSecurityMode::SignAndEncrypt);
        Pair {
            incoming: security::Incoming::new(5, policy, mode, security::Sequence::default()),
            client: security::Outgoing::new(5, policy, mode),
            opened: 0,
            now: std::time::Instant::now(),
        }
    }

    /// Tokens live ten seconds. The same nonce on both sides makes the same keys for both directions.
    fn token(&self, id: u32, at: u64) -> Arc<security::Token> {
        let policy = SecurityPolicy::Aes256Sha256RsaPss;
        let nonce = [id as u8; 32];
        let created = self.now + Duration::from_secs(at);
        Arc::new(security::Token::new(id, created, Duration::from_secs(10), policy, (&nonce, &nonce)))
    }

    /// Sends a chunk; which token was used for the first time.
    fn chunk(&mut self, token: &Arc<security::Token>, at: f64) -> Result<Option<u32>, StatusCode> {
        self.client.renew(token.clone());
        self.client.numbers_from(self.opened, 0);
        let mut bytes = Vec::new();
        self.client.seal(b'F', 1, &[3; 20], &mut bytes).unwrap();
        let opened = self.incoming.open(&bytes, self.now + Duration::from_secs_f64(at));
        self.opened += u32::from(opened.is_ok());
        opened.map(|(_, used)| used.map(|used| used.id)).map_err(|refusal| refusal.status)
    }
}

#[test]
fn an_old_token_holds_until_its_time_or_the_use_of_the_new_one() {
    let unknown = Err(StatusCode::BadSecureChannelTokenUnknown);
    let mut pair = Pair::new();
    let (old, new, newest) = (pair.token(1, 0), pair.token(2, 8), pair.token(3, 9));
    pair.incoming.renew(old.clone());
    assert_eq!(pair.chunk(&old, 1.0), Ok(None));
    pair.incoming.renew(new.clone());
    // a quarter more than it lives (OPC 10000-4, 5.6.2.1)
    assert_eq!(pair.chunk(&old, 12.4), Ok(None));
    assert_eq!(pair.chunk(&old, 12.6), unknown);
    // a client that renews twice before it uses any
    let mut pair = Pair::new();
    [&old, &new, &newest].into_iter().for_each(|token| pair.incoming.renew(token.clone()));
    assert_eq!(pair.chunk(&old, 10.0), Ok(None));
    assert_eq!(pair.chunk(&new, 10.0), Ok(Some(2)));
    assert_eq!(pair.chunk(&old, 10.0), unknown, "the new one was used");
    assert_eq!(pair.chunk(&new, 10.0), Ok(None), "told once");
    assert_eq!(pair.chunk(&newest, 10.0), Ok(Some(3)));
    assert_eq!(pair.chunk(&new, 10.0), unknown);
    assert_eq!(pair.chunk(&newest, 21.6), unknown);
}

#[test]
fn sequence_numbers_start_again_below_1024() {
    const LAST: u32 = 4_294_966_271;
    for (before, number, right) in [
        (7, 8, true),
        (7, 7, false),
        (7, 9, false),
        (7, 0, false),
        (LAST - 1, 0, false),
        (LAST - 1, LAST, true),
        (LAST, LAST + 1, true),
        (LAST, 0, true),
        (LAST, 1023, true),
        (LAST, 1024, false),
        (LAST + 10, 1, true),
        (LAST + 10, LAST + 10, false),
        (u32::MAX, 0, true),
        (u32::MAX, 1024, false),
    ] {
        let mut sequence = security::Sequence::default();
        let plain = |number: u32| [number.to_le_bytes(), 1_u32.to_le_bytes()].concat();
        sequence.begin(&plain(before)).unwrap();
        assert_eq!(sequence.begin(&plain(number)).is_ok(), right, "{before} {number}");
    }
    // and ours
    let mut out = security::Outgoing::new(5, CLEAR.0, CLEAR.1);
    let nonce: (&[u8], &[u8]) = (&[], &[]);
    let token = security::Token::new(1, std::time::Instant::now(), Duration::from_secs(10), CLEAR.0, nonce);
    out.renew(Arc::new(token));
    let numbers = out.numbers_from(LAST - 1, 3);
    assert_eq!(numbers, [LAST, 1, 2]);
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

/// Where the seeds of a fuzz target go: below CANVOY_FUZZ_CORPUS, which is fuzz/corpus where they are made anew, else a folder
/// that is there as long as the second of the two.
pub fn corpus(target: &str) -> (std::path::PathBuf, Scratch) {
    let scratch = Scratch::new("seeds");
    let kept = std::env::var_os("CANVOY_FUZZ_CORPUS").map(std::path::PathBuf::from);
    let folder = kept.unwrap_or_else(|| scratch.to_path_buf()).join(target);
    std::fs::create_dir_all(&folder).unwrap();
    (folder, scratch)
}

/// The seeds of the fuzz target `framing`: what a client begins with, and chunks in a channel.
#[test]
fn fuzz_seeds() {
    let (folder, _scratch) = corpus("framing");
    let mut open = Writer::new();
    open.raw(b"OPNF\0\0\0\0");
    open.u32(0);
    open.string(Some(CLEAR.0.to_uri()));
    open.bytes(None);
    open.bytes(None);
    open.u32(1);
    open.u32(1);
    open.node_id(NodeRef::Numeric(0, 446));
    open.encode(&OpenSecureChannelRequest {
        request_type: SecurityTokenRequestType::Issue,
        security_mode: MessageSecurityMode::None,
        requested_lifetime: 60_000,
        ..Default::default()
    });
    let size = open.len() as u32;
    open.set_u32(4, size);
    let nonce: (&[u8], &[u8]) = (&[], &[]);
    let token = security::Token::new(1, std::time::Instant::now(), Duration::from_secs(10), CLEAR.0, nonce);
    let mut out = security::Outgoing::new(1, CLEAR.0, CLEAR.1);
    out.renew(Arc::new(token));
    let mut all = [hello([65_535, 65_535, 0, 0]), open.finish()].concat();
    std::fs::write(folder.join("seed-open"), &all).unwrap();
    for (letter, body) in [(b'C', [3; 200]), (b'F', [4; 200]), (b'C', [5; 200]), (b'A', [6; 200]), (b'F', [7; 200])] {
        out.seal(letter, 1, &body, &mut all).unwrap();
    }
    assert!(all.len() > 1_000, "{} bytes", all.len());
    std::fs::write(folder.join("seed-chunks"), all).unwrap();
}
