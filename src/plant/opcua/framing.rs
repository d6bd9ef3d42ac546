//! What can be told from the bytes of a connection without keys: OPC UA TCP messages (OPC 10000-6, 7.1), and which of
//! them may go on to the server layer.
//!
//! Pure: bytes in, verdict out. Message type, chunk letter and size are always in clear, and so are the security policy
//! and the certificate with which a channel is opened. On a channel without security everything is.

use opcua::crypto::SecurityPolicy;
use opcua::types::StatusCode;

use super::server::{CHUNK, POLICIES};

/// Bytes of the header that every message has: type, chunk letter, size.
pub const HEADER: usize = 8;
/// A Hello holds five numbers and a URL of at most 4096 bytes.
const MOST_HELLO: usize = HEADER + 20 + 4 + 4096;
/// An OpenSecureChannel holds a certificate, which may bring its issuers.
const MOST_OPEN: usize = 16 * 1024;
/// Whoever has no certificate has little to say.
const MOST_DISCOVERY: usize = 4096;
/// Bytes of a whole request.
pub const MOST_REQUEST: usize = 4 * 1024 * 1024;
/// Chunks of a request.
const MOST_CHUNKS: usize = 512;
/// Smallest buffer that a client may offer (OPC 10000-6, 7.1.2.3).
const LEAST_BUFFER: u32 = 8192;

/// Why a connection is ended, as its Error message says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: &'static str,
}

fn refuse<T>(status: StatusCode, reason: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, reason })
}

/// Type of a message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hello,
    Open,
    Message,
    Close,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing yet.
    Start,
    Hello,
    /// No security, and none is offered: only questions about endpoints.
    Discovery,
    /// No security, as the configuration offers it.
    Open,
    Secured(SecurityPolicy),
    Closed,
}

/// The same, as far as it matters to how long a client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No channel yet.
    Hello,
    /// A channel on which only discovery is answered, or one that was closed.
    Discovery,
    Channel,
}

/// What to do with a message.
#[derive(Debug, PartialEq)]
pub enum Verdict<'a> {
    Forward,
    /// Goes on, and the server layer owes an answer.
    Request,
    /// Goes on if the certificate is trusted.
    Admit(SecurityPolicy, &'a [u8]),
}

/// The client's side of a connection.
#[derive(Debug)]
pub struct Framing {
    phase: Phase,
    offers_none: bool,
    /// Of the request that is arriving.
    chunks: usize,
    bytes: usize,
}

impl Framing {
    /// `offers_none`: there is an endpoint without security.
    pub fn new(offers_none: bool) -> Framing {
        Framing { phase: Phase::Start, offers_none, chunks: 0, bytes: 0 }
    }

    /// How far the connection is.
    pub fn stage(&self) -> Stage {
        match self.phase {
            Phase::Start | Phase::Hello => Stage::Hello,
            Phase::Discovery | Phase::Closed => Stage::Discovery,
            Phase::Secured(_) | Phase::Open => Stage::Channel,
        }
    }

    /// Whether more than discovery is possible.
    pub fn is_channel(&self) -> bool {
        self.stage() == Stage::Channel
    }

    /// Checks a header before anything of the message is read. Gives the size of the whole message, in bytes.
    pub fn header(&mut self, header: [u8; HEADER]) -> Result<usize, Refusal> {
        let [a, b, c, chunk, size @ ..] = header;
        let kind = match &[a, b, c] {
            b"HEL" => Kind::Hello,
            b"OPN" => Kind::Open,
            b"MSG" => Kind::Message,
            b"CLO" => Kind::Close,
            _ => return refuse(StatusCode::BadTcpMessageTypeInvalid, "no OPC UA message"),
        };
        let size = u32::from_le_bytes(size) as usize;
        let most = match (kind, self.phase) {
            (Kind::Hello, Phase::Start) => MOST_HELLO,
            (Kind::Open, Phase::Hello | Phase::Secured(_) | Phase::Open) => MOST_OPEN,
            (Kind::Message | Kind::Close, Phase::Discovery) => MOST_DISCOVERY,
            (Kind::Message | Kind::Close, Phase::Secured(_) | Phase::Open) => CHUNK,
            _ => return refuse(StatusCode::BadTcpMessageTypeInvalid, "message out of order"),
        };
        if !(HEADER..=most).contains(&size) {
            return refuse(StatusCode::BadTcpMessageTooLarge, "message too large");
        }
        match (kind, self.phase, chunk) {
            (_, _, b'F') => {}
            (Kind::Message, Phase::Secured(_) | Phase::Open, b'C' | b'A') => {}
            _ => return refuse(StatusCode::BadTcpMessageTypeInvalid, "chunk type not allowed here"),
        }
        if kind == Kind::Message {
            self.chunks += 1;
            self.bytes += size;
            if self.chunks > MOST_CHUNKS || self.bytes > MOST_REQUEST {
                return refuse(StatusCode::BadRequestTooLarge, "request too large");
            }
        }
        Ok(size)
    }

    /// Checks a whole message, header included, whose header was checked.
    pub fn message<'a>(&mut self, message: &'a [u8]) -> Result<Verdict<'a>, Refusal> {
        let malformed = Refusal { status: StatusCode::BadDecodingError, reason: "malformed message" };
        let (Some(header), Some(body)) = (message.first_chunk::<HEADER>(), message.get(HEADER..)) else {
            return Err(malformed);
        };
        match &header[..3] {
            b"HEL" => {
                hello(body).ok_or(malformed)??;
                self.phase = Phase::Hello;
                Ok(Verdict::Forward)
            }
            b"OPN" => self.open(body, malformed),
            b"CLO" => {
                if self.phase == Phase::Discovery {
                    plain_request(symmetric(body).ok_or(malformed)?, &[CLOSE]).ok_or(malformed)?;
                }
                self.phase = Phase::Closed;
                Ok(Verdict::Forward)
            }
            _ if header[3] == b'C' => Ok(Verdict::Forward),
            _ => {
                (self.chunks, self.bytes) = (0, 0);
                if header[3] == b'A' {
                    return Ok(Verdict::Forward);
                }
                if self.phase == Phase::Discovery {
                    let not_offered = Refusal {
                        status: StatusCode::BadSecurityPolicyRejected,
                        reason: "without security only GetEndpoints and FindServers are answered",
                    };
                    plain_request(symmetric(body).ok_or(malformed)?, &DISCOVERY).ok_or(not_offered)?;
                }
                Ok(Verdict::Request)
            }
        }
    }

    /// OpenSecureChannel: a new channel, or a new token for one with the same policy.
    fn open<'a>(&mut self, body: &'a [u8], malformed: Refusal) -> Result<Verdict<'a>, Refusal> {
        let (policy, certificate, mut rest) = asymmetric(body).ok_or(malformed)?;
        let policy = std::str::from_utf8(policy).map_or(SecurityPolicy::Unknown, SecurityPolicy::from_uri);
        if policy == SecurityPolicy::None {
            // sequence number and request id
            rest.skip(8).and_then(|()| plain_request(rest, &[OPEN])).ok_or(malformed)?;
            self.phase = match self.phase {
                Phase::Hello | Phase::Open if self.offers_none => Phase::Open,
                Phase::Hello => Phase::Discovery,
                _ => return refuse(StatusCode::BadSecurityPolicyRejected, "the policy of a channel can't change"),
            };
            return Ok(Verdict::Forward);
        }
        if !POLICIES.contains(&policy) {
            return refuse(StatusCode::BadSecurityPolicyRejected, "this security policy is not offered");
        }
        match self.phase {
            Phase::Hello => {}
            Phase::Secured(before) if before == policy => {}
            _ => return refuse(StatusCode::BadSecurityPolicyRejected, "the policy of a channel can't change"),
        }
        self.phase = Phase::Secured(policy);
        Ok(Verdict::Admit(policy, certificate))
    }
}

/// Binary encoding ids (OPC 10000-6, annex A.3).
const OPEN: u32 = 446;
const CLOSE: u32 = 452;
/// FindServers, GetEndpoints.
const DISCOVERY: [u32; 2] = [422, 428];

/// The body of a Hello.
fn hello(body: &[u8]) -> Option<Result<(), Refusal>> {
    let mut reader = Reader(body);
    let [_version, receive, send, _message, _chunks] =
        [reader.number()?, reader.number()?, reader.number()?, reader.number()?, reader.number()?];
    reader.bytes()?; // endpoint URL: the server layer compares it
    if receive < LEAST_BUFFER || send < LEAST_BUFFER {
        return Some(refuse(StatusCode::BadConnectionRejected, "buffers of at least 8192 bytes are needed"));
    }
    Some(Ok(()))
}

/// Policy and certificate of an OpenSecureChannel, and what follows them.
fn asymmetric(body: &[u8]) -> Option<(&[u8], &[u8], Reader<'_>)> {
    let mut reader = Reader(body);
    reader.skip(4)?; // channel
    let policy = reader.bytes()?;
    let certificate = reader.bytes()?;
    reader.bytes()?; // thumbprint of our certificate
    Some((policy, certificate, reader))
}

/// What follows channel, token, sequence number and request id.
fn symmetric(body: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader(body);
    reader.skip(4 + 4 + 8)?;
    Some(reader)
}

/// A request in clear of one of the types, whose header carries no structure that the server layer would decode.
fn plain_request(mut reader: Reader<'_>, types: &[u32]) -> Option<()> {
    let kind = reader.node_id()?;
    if !types.contains(&kind?) {
        return None;
    }
    reader.node_id()?; // authentication token
    reader.skip(8 + 4 + 4)?; // time, handle, diagnostics
    reader.bytes()?; // audit entry
    reader.skip(4)?; // timeout
    reader.node_id()?; // type of the additional header
    // without a body: nothing can be nested in it
    (reader.byte()? == 0).then_some(())
}

/// Reads built-in types (OPC 10000-6, 5.2.2).
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| Some(u32::from_le_bytes(*bytes.first_chunk()?)))
    }

    /// A String or ByteString; null is empty.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        match self.number()? {
            u32::MAX => Some(&[]),
            length => self.take(length as usize),
        }
    }

    /// A NodeId: its number where it is numeric in namespace 0, else `Some(None)`.
    fn node_id(&mut self) -> Option<Option<u32>> {
        Some(match self.byte()? {
            0 => Some(u32::from(self.byte()?)),
            1 => {
                let namespace = self.byte()?;
                let number = u16::from_le_bytes(*self.take(2)?.first_chunk()?);
                (namespace == 0).then_some(u32::from(number))
            }
            2 => {
                let namespace = u16::from_le_bytes(*self.take(2)?.first_chunk()?);
                let number = self.number()?;
                (namespace == 0).then_some(number)
            }
            3 | 5 => {
                self.skip(2)?;
                self.bytes()?;
                None
            }
            4 => {
                self.skip(2 + 16)?;
                None
            }
            _ => return None,
        })
    }
}

/// What a header of the server's side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The last chunk of an answer to a request.
    Final,
    /// The answer to OpenSecureChannel: a channel has its number.
    Opened,
    Other,
}

/// Reads a header of the server layer; `None` where it is none. Gives the size of the whole message too.
pub fn answer(header: [u8; HEADER]) -> Option<(Answer, usize)> {
    let [a, b, c, chunk, size @ ..] = header;
    let size = u32::from_le_bytes(size) as usize;
    if !(HEADER..=CHUNK + HEADER).contains(&size) {
        return None;
    }
    let answer = match (&[a, b, c], chunk) {
        (b"MSG", b'F' | b'A') => Answer::Final,
        (b"OPN", b'F') => Answer::Opened,
        _ => Answer::Other,
    };
    Some((answer, size))
}

/// The channel that an answer to OpenSecureChannel names.
pub fn channel(message: &[u8]) -> Option<u32> {
    Reader(message.get(HEADER..)?).number()
}

/// An Error message (OPC 10000-6, 7.1.2.5).
pub fn error(refusal: Refusal) -> Vec<u8> {
    let size = HEADER + 4 + 4 + refusal.reason.len();
    let mut message = Vec::with_capacity(size);
    message.extend(b"ERRF");
    message.extend((size as u32).to_le_bytes());
    message.extend(refusal.status.bits().to_le_bytes());
    message.extend((refusal.reason.len() as u32).to_le_bytes());
    message.extend(refusal.reason.as_bytes());
    message
}
