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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: &str = "http://opcfoundation.org/UA/SecurityPolicy#None";
    const BASIC: &str = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256";
    const AES: &str = "http://opcfoundation.org/UA/SecurityPolicy#Aes256_Sha256_RsaPss";
    const OLD: &str = "http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15";

    fn text(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
    }

    fn frame(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&kind[..], &((HEADER + body.len()) as u32).to_le_bytes(), body].concat()
    }

    fn hello_with(buffer: u32) -> Vec<u8> {
        let numbers = [0, buffer, 65_536, 0, 0].map(u32::to_le_bytes).concat();
        frame(b"HELF", &[numbers, text(b"opc.tcp://localhost:4840")].concat())
    }

    /// A request in clear; `extra`: the encoding byte of its additional header and what follows.
    fn request(kind: u16, extra: &[u8]) -> Vec<u8> {
        let header = [&[0, 0][..], &[0; 16], &u32::MAX.to_le_bytes(), &[0; 4], &[0, 0]].concat();
        [&[1, 0], &kind.to_le_bytes()[..], &header, extra].concat()
    }

    fn open(policy: &str, body: &[u8]) -> Vec<u8> {
        let security = [text(policy.as_bytes()), text(b"certificate"), u32::MAX.to_le_bytes().to_vec()].concat();
        frame(b"OPNF", &[&[0; 4][..], &security, &[0; 8], body].concat())
    }

    fn plain_open() -> Vec<u8> {
        open(NONE, &request(446, &[0]))
    }

    fn message(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        frame(kind, &[&[0; 16], body].concat())
    }

    /// What happens to messages sent one after the other: one word each, up to the first refusal.
    fn run(offers_none: bool, messages: &[Vec<u8>]) -> Vec<String> {
        let mut framing = Framing::new(offers_none);
        let mut words = Vec::new();
        for message in messages {
            let verdict = framing.header(*message.first_chunk().unwrap()).and_then(|size| {
                assert_eq!(size, message.len());
                framing.message(message)
            });
            match verdict {
                Ok(Verdict::Forward) => words.push("forward".into()),
                Ok(Verdict::Request) => words.push("request".into()),
                Ok(Verdict::Admit(policy, certificate)) => {
                    assert_eq!(certificate, b"certificate");
                    words.push(policy.to_str().to_owned());
                }
                Err(refusal) => {
                    words.push(refusal.status.to_string());
                    break;
                }
            }
        }
        words
    }

    #[test]
    fn conversations() {
        let hello = hello_with(65_536);
        let secret = |size| message(b"MSGF", &vec![0xA5; size]);
        for (offers_none, messages, want) in [
            // discovery, and nothing else
            (
                false,
                vec![hello.clone(), plain_open(), message(b"MSGF", &request(428, &[0]))],
                "forward forward request",
            ),
            (
                false,
                vec![hello.clone(), plain_open(), message(b"MSGF", &request(422, &[0]))],
                "forward forward request",
            ),
            (
                false,
                vec![hello.clone(), plain_open(), message(b"MSGF", &request(461, &[0]))],
                "forward forward BadSecurityPolicyRejected",
            ),
            // a structure in the request's header would be decoded
            (
                false,
                vec![hello.clone(), plain_open(), message(b"MSGF", &request(428, &[1, 2, 0, 0, 0, 0, 0]))],
                "forward forward BadSecurityPolicyRejected",
            ),
            (false, vec![hello.clone(), open(NONE, &request(446, &[1]))], "forward BadDecodingError"),
            (
                false,
                vec![hello.clone(), plain_open(), message(b"MSGC", &request(428, &[0]))],
                "forward forward BadTcpMessageTypeInvalid",
            ),
            (
                false,
                vec![hello.clone(), plain_open(), message(b"MSGF", &[0; 5000])],
                "forward forward BadTcpMessageTooLarge",
            ),
            (
                false,
                vec![hello.clone(), plain_open(), message(b"CLOF", &request(452, &[0])), plain_open()],
                "forward forward forward BadTcpMessageTypeInvalid",
            ),
            (false, vec![hello.clone(), plain_open(), plain_open()], "forward forward BadTcpMessageTypeInvalid"),
            // where it is offered all of it passes
            (true, vec![hello.clone(), plain_open(), message(b"MSGF", &request(461, &[1]))], "forward forward request"),
            // secured: the body is nobody's business here
            (false, vec![hello.clone(), open(BASIC, b"?"), secret(60_000)], "forward Basic256Sha256 request"),
            (
                false,
                vec![hello.clone(), open(BASIC, b"?"), message(b"MSGC", &[0; 9]), secret(9), message(b"MSGA", &[0; 9])],
                "forward Basic256Sha256 forward request forward",
            ),
            (
                false,
                vec![hello.clone(), open(BASIC, b"?"), open(BASIC, b"?"), open(AES, b"?")],
                "forward Basic256Sha256 Basic256Sha256 BadSecurityPolicyRejected",
            ),
            (
                true,
                vec![hello.clone(), open(BASIC, b"?"), plain_open()],
                "forward Basic256Sha256 BadSecurityPolicyRejected",
            ),
            (
                false,
                vec![hello.clone(), open(BASIC, b"?"), secret(65_535)],
                "forward Basic256Sha256 BadTcpMessageTooLarge",
            ),
            (false, vec![hello.clone(), open(OLD, b"?")], "forward BadSecurityPolicyRejected"),
            (false, vec![hello.clone(), open("nonsense", b"?")], "forward BadSecurityPolicyRejected"),
            // order
            (false, vec![hello.clone(), hello.clone()], "forward BadTcpMessageTypeInvalid"),
            (false, vec![plain_open()], "BadTcpMessageTypeInvalid"),
            (false, vec![secret(9)], "BadTcpMessageTypeInvalid"),
            (false, vec![hello.clone(), secret(9)], "forward BadTcpMessageTypeInvalid"),
            (false, vec![frame(b"HELC", &[])], "BadTcpMessageTypeInvalid"),
            (false, vec![b"GET / HTTP/1.1\r\n".to_vec()], "BadTcpMessageTypeInvalid"),
            (false, vec![b"HELF\xFF\xFF\xFF\xFF".to_vec()], "BadTcpMessageTooLarge"),
            (false, vec![b"HELF\x00\x00\x00\x00".to_vec()], "BadTcpMessageTooLarge"),
            (false, vec![frame(b"HELF", &[0; 10])], "BadDecodingError"),
            (false, vec![hello_with(100)], "BadConnectionRejected"),
        ] {
            assert_eq!(run(offers_none, &messages).join(" "), want);
        }
    }

    #[test]
    fn requests_have_an_end() {
        let start = [hello_with(65_536), open(BASIC, b"?")];
        let check = |chunk: Vec<u8>, passed: usize| {
            let chunks = std::iter::repeat_n(chunk, passed + 1);
            let words = run(false, &start.iter().cloned().chain(chunks).collect::<Vec<_>>());
            assert_eq!(words.len(), start.len() + passed + 1);
            assert_eq!(words.last().unwrap(), "BadRequestTooLarge");
        };
        check(message(b"MSGC", &[]), MOST_CHUNKS);
        check(message(b"MSGC", &[0; 60_000]), MOST_REQUEST / (60_000 + 16 + HEADER));
    }

    #[test]
    fn answers() {
        for (bytes, want) in [
            (*b"MSGF\x10\0\0\0", Some((Answer::Final, 16))),
            (*b"MSGA\x10\0\0\0", Some((Answer::Final, 16))),
            (*b"MSGC\x10\0\0\0", Some((Answer::Other, 16))),
            (*b"OPNF\x10\0\0\0", Some((Answer::Opened, 16))),
            (*b"ACKF\x1C\0\0\0", Some((Answer::Other, 28))),
            (*b"MSGF\0\0\0\x10", None),
        ] {
            assert_eq!(answer(bytes), want);
        }
        assert_eq!(channel(b"OPNF\x10\0\0\0\x07\0\0\0rest"), Some(7));
        assert_eq!(channel(b"OPNF"), None);
        let refusal = Refusal { status: StatusCode::BadTimeout, reason: "late" };
        assert_eq!(error(refusal), b"ERRF\x14\0\0\0\0\0\x0A\x80\x04\0\0\0late");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(
            offers_none: bool,
            prefix in 0..4_usize,
            messages in prop::collection::vec(
                (prop::sample::select(vec![*b"HELF", *b"OPNF", *b"MSGF", *b"MSGC", *b"CLOF"]),
                 prop::collection::vec(any::<u8>(), 0..200)),
                0..8,
            ),
        ) {
            let mut framing = Framing::new(offers_none);
            let known = [hello_with(65_536), plain_open(), open(BASIC, b"?")];
            let all = known.into_iter().take(prefix).chain(messages.iter().map(|(kind, body)| frame(kind, body)));
            for message in all {
                if framing.header(*message.first_chunk().unwrap()).is_ok() {
                    let _ = framing.message(&message);
                }
            }
        }

        #[test]
        fn a_cut_or_changed_message_is_judged(cut in 0..120_usize, at in 0..120_usize, byte: u8) {
            for mut message in [hello_with(65_536), plain_open(), message(b"MSGF", &request(428, &[0]))] {
                let mut framing = Framing { phase: Phase::Discovery, ..Framing::new(false) };
                if let Some(place) = message.get_mut(HEADER + at) {
                    *place = byte;
                }
                message.truncate((HEADER + cut).max(HEADER));
                let _ = framing.message(&message);
            }
        }
    }
}
