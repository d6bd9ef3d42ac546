//! Messages of OPC UA TCP as they arrive (OPC 10000-6, 7.1): what a header may say before anything more is read, the Hello,
//! and the chunks of a request put together. Pure: bytes in, verdict out.

use opcua::types::StatusCode;

use crate::plant::opcua::wire::{Reader, Writer};

/// Bytes of the header that every message has: type, chunk letter, size.
pub const HEADER: usize = 8;
/// Largest chunk that we take and send, in bytes.
pub const CHUNK: usize = 65_535;
/// A Hello holds five numbers and a URL of at most 4096 bytes.
const MOST_URL: usize = 4096;
const MOST_HELLO: usize = HEADER + 20 + 4 + MOST_URL;
/// An OpenSecureChannel holds a certificate, which may bring its issuers, and 8 kB of another at most.
const MOST_OPEN: usize = 40 * 1024;
/// Smallest buffer that a client may offer (OPC 10000-6, 7.1.2.3).
const LEAST_BUFFER: u32 = 8192;
/// Chunks of one request that hold next to nothing: as many as whole ones, and some more.
const SPARE_CHUNKS: usize = 16;
/// Requests that a client may give up one after the other.
const MOST_ABORTS: usize = 100;

/// Why a connection is ended, as its Error message says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: &'static str,
}

pub fn refuse<T>(status: StatusCode, reason: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, reason })
}

/// Type of a message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hello,
    Open,
    Message,
    Close,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Start,
    /// A Hello has come.
    Greeted,
    /// A channel is open.
    Channel,
}

/// A header that was found to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// `F` final, `C` more to come, `A` given up.
    pub letter: u8,
    /// Of the whole message, in bytes.
    pub size: usize,
}

/// Checks a header before anything of the message is read.
pub fn header(bytes: [u8; HEADER], phase: Phase) -> Result<Header, Refusal> {
    let [a, b, c, letter, size @ ..] = bytes;
    let kind = match &[a, b, c] {
        b"HEL" => Kind::Hello,
        b"OPN" => Kind::Open,
        b"MSG" => Kind::Message,
        b"CLO" => Kind::Close,
        _ => return refuse(StatusCode::BadTcpMessageTypeInvalid, "no OPC UA message"),
    };
    let most = match (kind, phase) {
        (Kind::Hello, Phase::Start) => MOST_HELLO,
        (Kind::Open, Phase::Greeted | Phase::Channel) => MOST_OPEN,
        (Kind::Message | Kind::Close, Phase::Channel) => CHUNK,
        _ => return refuse(StatusCode::BadTcpMessageTypeInvalid, "message out of order"),
    };
    let size = u32::from_le_bytes(size) as usize;
    if !(HEADER..=most).contains(&size) {
        return refuse(StatusCode::BadTcpMessageTooLarge, "message too large");
    }
    match (kind, letter) {
        (_, b'F') | (Kind::Message, b'C' | b'A') => Ok(Header { kind, letter, size }),
        _ => refuse(StatusCode::BadTcpMessageTypeInvalid, "chunk type not allowed here"),
    }
}

/// What a client can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Bytes of a chunk.
    pub chunk: usize,
    /// Bytes of a message, and its chunks; 0: no limit.
    pub most_bytes: usize,
    pub most_chunks: usize,
}

/// Reads a Hello, without its header; comes with the Acknowledge that answers it. `most_bytes`, `most_chunks`: of a request.
pub fn hello(body: &[u8], (most_bytes, most_chunks): (usize, usize)) -> Result<(Hello, Vec<u8>), Refusal> {
    let mut reader = Reader::new(body);
    let mut read = || {
        let numbers = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let url = reader.string()?.unwrap_or_default();
        Ok::<_, StatusCode>((numbers, url.len(), reader.rest().is_empty()))
    };
    let Ok(([_version, receive, send, bytes, chunks], url, whole)) = read() else {
        return refuse(StatusCode::BadDecodingError, "malformed Hello");
    };
    if url > MOST_URL || !whole {
        return refuse(StatusCode::BadTcpEndpointUrlInvalid, "malformed Hello");
    }
    if receive < LEAST_BUFFER || send < LEAST_BUFFER {
        return refuse(StatusCode::BadConnectionRejected, "buffers of at least 8192 bytes are needed");
    }
    let hello =
        Hello { chunk: (receive as usize).min(CHUNK), most_bytes: bytes as usize, most_chunks: chunks as usize };
    let mut writer = Writer::with_capacity(28);
    writer.raw(b"ACKF");
    writer.u32(28);
    writer.u32(0); // protocol version
    writer.u32((send as usize).min(CHUNK) as u32);
    writer.u32(hello.chunk as u32);
    writer.u32(u32::try_from(most_bytes).unwrap_or(u32::MAX));
    writer.u32(u32::try_from(most_chunks).unwrap_or(u32::MAX));
    Ok((hello, writer.finish()))
}

/// The message that tells a client why its connection ends (OPC 10000-6, 7.1.2.5).
pub fn error(refusal: Refusal) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.raw(b"ERRF");
    writer.u32(0);
    writer.status(refusal.status);
    writer.string(Some(refusal.reason));
    let size = writer.len() as u32;
    writer.set_u32(4, size);
    writer.finish()
}

/// Chunks of a request of `bytes`, which need not be full.
pub fn most_chunks(bytes: usize) -> usize {
    bytes.div_ceil(8192 - 64) + SPARE_CHUNKS
}

/// The request whose chunks are arriving.
#[derive(Debug, Default)]
pub struct Assembly {
    request: Option<u32>,
    body: Vec<u8>,
    chunks: usize,
    aborts: usize,
}

impl Assembly {
    /// Adds a chunk. The whole body comes back with the last one. `most`: bytes of a request.
    pub fn add(&mut self, letter: u8, request: u32, body: Vec<u8>, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
        if self.request.is_some_and(|begun| begun != request) {
            return refuse(StatusCode::BadDecodingError, "chunks of two requests mixed");
        }
        if letter == b'A' {
            self.aborts += 1;
            self.clear();
            return if self.aborts > MOST_ABORTS {
                refuse(StatusCode::BadTcpInternalError, "too many requests given up")
            } else {
                Ok(None)
            };
        }
        self.request = Some(request);
        self.chunks += 1;
        if self.body.len() + body.len() > most || self.chunks > most_chunks(most) {
            return refuse(StatusCode::BadRequestTooLarge, "request too large");
        }
        if letter == b'F' && self.body.is_empty() {
            self.clear();
            self.aborts = 0;
            return Ok(Some(body));
        }
        self.body.extend_from_slice(&body);
        if letter != b'F' {
            return Ok(None);
        }
        let whole = std::mem::take(&mut self.body);
        self.clear();
        self.aborts = 0;
        Ok(Some(whole))
    }

    fn clear(&mut self) {
        self.request = None;
        self.body = Vec::new();
        self.chunks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let head = |text: &[u8; 4], size: u32| {
            let mut bytes = [0; HEADER];
            bytes[..4].copy_from_slice(text);
            bytes[4..].copy_from_slice(&size.to_le_bytes());
            bytes
        };
        let order = Err(StatusCode::BadTcpMessageTypeInvalid);
        let large = Err(StatusCode::BadTcpMessageTooLarge);
        for (text, size, phase, want) in [
            (b"HELF", 60, Phase::Start, Ok(60)),
            (b"HELF", u32::MAX, Phase::Start, large),
            (b"HELF", 7, Phase::Start, large),
            (b"HELC", 60, Phase::Start, order),
            (b"HELF", 60, Phase::Greeted, order),
            (b"OPNF", 60, Phase::Start, order),
            (b"OPNF", 1500, Phase::Greeted, Ok(1500)),
            (b"OPNF", 1500, Phase::Channel, Ok(1500)),
            (b"OPNC", 1500, Phase::Channel, order),
            (b"OPNF", 1 << 20, Phase::Greeted, large),
            (b"MSGF", 60, Phase::Greeted, order),
            (b"MSGC", 65_535, Phase::Channel, Ok(65_535)),
            (b"MSGA", 60, Phase::Channel, Ok(60)),
            (b"MSGX", 60, Phase::Channel, order),
            (b"MSGF", 65_536, Phase::Channel, large),
            (b"CLOF", 60, Phase::Channel, Ok(60)),
            (b"GET ", 60, Phase::Start, order),
            (b"ACKF", 28, Phase::Start, order),
        ] {
            let found = header(head(text, size), phase);
            assert_eq!(found.map(|header| header.size).map_err(|refusal| refusal.status), want, "{text:?} {phase:?}");
        }
    }

    #[test]
    fn requests_have_an_end() {
        let mut assembly = Assembly::default();
        let (bytes, most) = ([7; 1000], 10_000);
        assert_eq!(assembly.add(b'C', 1, bytes.to_vec(), most), Ok(None));
        assert_eq!(assembly.add(b'A', 1, Vec::new(), most), Ok(None));
        assert_eq!(assembly.add(b'C', 2, bytes.to_vec(), most), Ok(None));
        assert_eq!(assembly.add(b'F', 2, bytes.to_vec(), most), Ok(Some([7; 2000].to_vec())));
        assert_eq!(assembly.add(b'C', 3, bytes.to_vec(), most), Ok(None));
        assert!(assembly.add(b'F', 4, bytes.to_vec(), most).is_err(), "another request in between");
        let end = |mut add: Box<dyn FnMut(&mut Assembly) -> bool>| {
            let mut assembly = Assembly::default();
            (0..10_000).find(|_| !add(&mut assembly))
        };
        let full = end(Box::new(move |assembly| assembly.add(b'C', 1, bytes.to_vec(), most).is_ok()));
        let empty = end(Box::new(move |assembly| assembly.add(b'C', 1, Vec::new(), most).is_ok()));
        let aborts = end(Box::new(move |assembly| assembly.add(b'A', 1, Vec::new(), most).is_ok()));
        assert_eq!((full, empty, aborts), (Some(10), Some(18), Some(100)));
    }
}
