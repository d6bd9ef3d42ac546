//! The secure channel's cryptography (OPC 10000-6, 6.7): chunks opened and sealed. Pure: bytes in, bytes out.
//!
//! Nothing a stranger sends may panic: every length is compared with what is there before it is used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::{AesDerivedKeys, KeySize, PrivateKey, PublicKey, SecurityPolicy};
use opcua::types::{MessageSecurityMode, StatusCode};

use super::framing::{HEADER, Refusal, refuse};
use crate::plant::opcua::wire::Writer;

/// Bytes of channel and token id after the header, and of sequence number and request id after those.
const SYMMETRIC: usize = HEADER + 8;
const SEQUENCE: usize = 8;
/// Bytes of an AES block.
const BLOCK: usize = 16;
/// Tokens of one channel: the one in use, and those that were issued since.
const TOKENS: usize = 3;
/// Sequence numbers start again before they reach the end, at a number below this (6.7.2.4).
const WRAP: u32 = 1024;

fn failed<T>(reason: &'static str) -> Result<T, Refusal> {
    refuse(StatusCode::BadSecurityChecksFailed, reason)
}

/// One security token: the keys of both directions, and how long they hold.
pub struct Token {
    pub id: u32,
    pub created: Instant,
    pub lifetime: Duration,
    /// `None`: no security.
    keys: Option<Keys>,
}

struct Keys {
    client: AesDerivedKeys,
    server: AesDerivedKeys,
}

impl Token {
    pub fn new(
        id: u32,
        created: Instant,
        lifetime: Duration,
        policy: SecurityPolicy,
        (client_nonce, server_nonce): (&[u8], &[u8]),
    ) -> Token {
        let keys = (policy != SecurityPolicy::None).then(|| Keys {
            client: policy.make_secure_channel_keys(server_nonce, client_nonce),
            server: policy.make_secure_channel_keys(client_nonce, server_nonce),
        });
        Token { id, created, lifetime, keys }
    }

    /// A client may use a token a quarter longer than it lives (OPC 10000-4, 5.6.2.1).
    pub fn deadline(&self) -> Instant {
        self.created + self.lifetime + self.lifetime / 4
    }
}

/// Order of what a peer sends.
#[derive(Debug, Default)]
pub struct Sequence(Option<u32>);

impl Sequence {
    fn take(&mut self, number: u32) -> Result<(), Refusal> {
        let right = match self.0 {
            None => true,
            Some(last) if last >= u32::MAX - WRAP => number == last.wrapping_add(1) || number < WRAP,
            Some(last) => number == last + 1,
        };
        if !right {
            return failed("wrong sequence number");
        }
        self.0 = Some(number);
        Ok(())
    }
}

/// A chunk without its security.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    pub request: u32,
    pub body: Vec<u8>,
}

/// What a client's chunks are opened with.
pub struct Incoming {
    pub channel: u32,
    policy: SecurityPolicy,
    mode: MessageSecurityMode,
    /// Newest first; an older one counts until it is too old, or a newer one is used.
    tokens: Vec<Arc<Token>>,
    pub sequence: Sequence,
}

impl Incoming {
    pub fn new(channel: u32, policy: SecurityPolicy, mode: MessageSecurityMode, sequence: Sequence) -> Incoming {
        Incoming { channel, policy, mode, tokens: Vec::new(), sequence }
    }

    /// Another token; before the client uses it the last one holds.
    pub fn renew(&mut self, token: Arc<Token>) {
        self.tokens.insert(0, token);
        self.tokens.truncate(TOKENS);
    }

    /// When all tokens are too old.
    pub fn deadline(&self) -> Option<Instant> {
        self.tokens.first().map(|token| token.deadline())
    }

    /// Opens a MSG or CLO chunk. Comes with its token where that is the newest and used for the first time.
    pub fn open(&mut self, chunk: &[u8], now: Instant) -> Result<(Opened, Option<Arc<Token>>), Refusal> {
        let number =
            |at: usize| chunk.get(at..).and_then(|rest| rest.first_chunk()).map(|four| u32::from_le_bytes(*four));
        let (Some(channel), Some(token)) = (number(HEADER), number(HEADER + 4)) else {
            return refuse(StatusCode::BadDecodingError, "chunk too short");
        };
        if channel != self.channel {
            return refuse(StatusCode::BadTcpSecureChannelUnknown, "no such channel");
        }
        let found = self.tokens.iter().position(|known| known.id == token && known.deadline() > now);
        let Some(at) = found else {
            return refuse(StatusCode::BadSecureChannelTokenUnknown, "no such token, or it is too old");
        };
        let token = self.tokens[at].clone();
        let mut plain = match &token.keys {
            None => chunk.to_vec(),
            Some(keys) => self.decrypt(chunk, keys)?,
        };
        if plain.len() < SYMMETRIC + SEQUENCE {
            return refuse(StatusCode::BadDecodingError, "chunk too short");
        }
        let (sequence, request) = (four(&plain, SYMMETRIC), four(&plain, SYMMETRIC + 4));
        self.sequence.take(sequence)?;
        plain.drain(..SYMMETRIC + SEQUENCE);
        let first = at + 1 < self.tokens.len();
        self.tokens.truncate(at + 1);
        Ok((Opened { request, body: plain }, first.then_some(token)))
    }

    /// The chunk in clear, without padding and signature.
    fn decrypt(&self, chunk: &[u8], keys: &Keys) -> Result<Vec<u8>, Refusal> {
        let signature = self.policy.symmetric_signature_size();
        let encrypted = self.mode == MessageSecurityMode::SignAndEncrypt;
        let secret = chunk.get(SYMMETRIC..).unwrap_or_default();
        let mut plain = Vec::with_capacity(chunk.len() + BLOCK);
        plain.extend_from_slice(if encrypted { chunk.get(..SYMMETRIC).unwrap_or_default() } else { chunk });
        if encrypted {
            if secret.is_empty() || !secret.len().is_multiple_of(BLOCK) {
                return failed("no whole blocks");
            }
            plain.resize(chunk.len() + BLOCK, 0);
            let done = self.policy.symmetric_decrypt(&keys.client, secret, &mut plain[SYMMETRIC..]);
            done.or_else(|_| failed("not decrypted"))?;
            plain.truncate(chunk.len());
        }
        let end = plain.len().checked_sub(signature).filter(|end| *end >= SYMMETRIC + SEQUENCE);
        let Some(end) = end else { return failed("chunk too short for its signature") };
        let (signed, sum) = plain.split_at(end);
        self.policy.symmetric_verify_signature(&keys.client, signed, sum).or_else(|_| failed("signature is wrong"))?;
        let end = if encrypted { unpad(&plain, SYMMETRIC + SEQUENCE, end, false)? } else { end };
        plain.truncate(end);
        Ok(plain)
    }
}

fn four(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

/// Where the padding before `end` begins (6.7.2.5). `two`: its length takes two bytes. Only what is signed comes here.
fn unpad(plain: &[u8], least: usize, end: usize, two: bool) -> Result<usize, Refusal> {
    let wrong = || failed("padding is wrong");
    let count = 1 + usize::from(two);
    let Some(last) = end.checked_sub(count).filter(|last| *last >= least) else { return wrong() };
    let low = plain[last];
    let size = usize::from(low) | if two { usize::from(plain[last + 1]) << 8 } else { 0 };
    let Some(start) = last.checked_sub(size).filter(|start| *start >= least) else { return wrong() };
    if plain[start..=last].iter().any(|byte| *byte != low) { wrong() } else { Ok(start) }
}

/// What our chunks are sealed with.
pub struct Outgoing {
    channel: u32,
    policy: SecurityPolicy,
    mode: MessageSecurityMode,
    token: Option<Arc<Token>>,
    sequence: u32,
}

impl Outgoing {
    pub fn new(channel: u32, policy: SecurityPolicy, mode: MessageSecurityMode) -> Outgoing {
        Outgoing { channel, policy, mode, token: None, sequence: 0 }
    }

    pub fn renew(&mut self, token: Arc<Token>) {
        self.token = Some(token);
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    fn next(&mut self) -> u32 {
        self.sequence = if self.sequence >= u32::MAX - WRAP { 1 } else { self.sequence + 1 };
        self.sequence
    }

    /// Bytes of a body that fit into a chunk of `size`.
    pub fn room(&self, size: usize) -> usize {
        let signature = if self.policy == SecurityPolicy::None { 0 } else { self.policy.symmetric_signature_size() };
        let inside = size.saturating_sub(SYMMETRIC);
        match self.mode {
            MessageSecurityMode::SignAndEncrypt => (inside / BLOCK * BLOCK).saturating_sub(SEQUENCE + signature + 1),
            _ => inside.saturating_sub(SEQUENCE + signature),
        }
    }

    /// Adds one chunk of a message to `into`. `kind`: the letter of the chunk.
    pub fn seal(&mut self, kind: u8, request: u32, body: &[u8], into: &mut Vec<u8>) -> Result<(), StatusCode> {
        let token = self.token.clone().ok_or(StatusCode::BadSecureChannelTokenUnknown)?;
        let secured = self.policy != SecurityPolicy::None;
        let encrypted = secured && self.mode == MessageSecurityMode::SignAndEncrypt;
        let signature = if secured { self.policy.symmetric_signature_size() } else { 0 };
        let inside = SEQUENCE + body.len() + signature;
        let padding = if encrypted { 1 + (BLOCK - (inside + 1) % BLOCK) % BLOCK } else { 0 };
        let size = SYMMETRIC + inside + padding;
        let mut plain = Writer::with_capacity(size + BLOCK);
        plain.raw(&[b'M', b'S', b'G', kind]);
        plain.u32(u32::try_from(size).map_err(|_| StatusCode::BadEncodingLimitsExceeded)?);
        plain.u32(self.channel);
        plain.u32(token.id);
        plain.u32(self.next());
        plain.u32(request);
        plain.raw(body);
        let mut plain = plain.finish();
        plain.resize(plain.len() + padding, padding.saturating_sub(1) as u8);
        let Some(keys) = &token.keys else {
            into.extend_from_slice(&plain);
            return Ok(());
        };
        let signed = plain.len();
        plain.resize(size, 0);
        let (content, sum) = plain.split_at_mut(signed);
        self.policy.symmetric_sign(&keys.server, content, sum).map_err(|error| error.status())?;
        if !encrypted {
            into.extend_from_slice(&plain);
            return Ok(());
        }
        let start = into.len();
        into.extend_from_slice(&plain[..SYMMETRIC]);
        into.resize(start + size + BLOCK, 0);
        self.policy
            .symmetric_encrypt(&keys.server, &plain[SYMMETRIC..], &mut into[start + SYMMETRIC..])
            .map_err(|error| error.status())?;
        into.truncate(start + size);
        Ok(())
    }

    /// The OPN message that answers OpenSecureChannel; `theirs`: the client's key, `None` without security.
    pub fn seal_open(
        &mut self,
        request: u32,
        body: &[u8],
        own: (&PrivateKey, &[u8]),
        theirs: Option<(&PublicKey, &[u8])>,
    ) -> Result<Vec<u8>, StatusCode> {
        let (key, certificate) = own;
        let mut head = Writer::with_capacity(2048);
        head.raw(b"OPNF");
        head.u32(0);
        head.u32(self.channel);
        head.string(Some(self.policy.to_uri()));
        head.bytes(theirs.map(|_| certificate));
        head.bytes(theirs.map(|(_, thumbprint)| thumbprint));
        let start = head.len();
        head.u32(self.next());
        head.u32(request);
        head.raw(body);
        let Some((client, _)) = theirs else {
            let size = head.len();
            head.set_u32(4, size as u32);
            return Ok(head.finish());
        };
        let info = self.policy.asymmetric_padding_info(client);
        let inside = head.len() - start + info.minimum_padding + key.size();
        let fill = (info.block_size - inside % info.block_size) % info.block_size;
        head.raw(&vec![fill as u8; fill + 1]);
        if info.minimum_padding == 2 {
            head.u8((fill >> 8) as u8);
        }
        let blocks = (inside + fill) / info.block_size;
        let size = start + blocks * client.size();
        head.set_u32(4, u32::try_from(size).map_err(|_| StatusCode::BadEncodingLimitsExceeded)?);
        let mut plain = head.finish();
        let signed = plain.len();
        plain.resize(signed + key.size(), 0);
        let (content, sum) = plain.split_at_mut(signed);
        self.policy.asymmetric_sign(key, content, sum).map_err(|error| error.status())?;
        let mut sealed = plain[..start].to_vec();
        sealed.resize(size, 0);
        self.policy
            .asymmetric_encrypt(client, &plain[start..], &mut sealed[start..])
            .map_err(|error| error.status())?;
        Ok(sealed)
    }
}

/// Opens an OPN message whose secret part begins at `start`: with our key, signed by the client's.
pub fn open_asymmetric(
    policy: SecurityPolicy,
    message: &[u8],
    start: usize,
    own: &PrivateKey,
    client: &PublicKey,
) -> Result<Vec<u8>, Refusal> {
    let secret = message.get(start..).unwrap_or_default();
    if secret.is_empty() || !secret.len().is_multiple_of(own.size()) {
        return failed("no whole blocks");
    }
    let mut plain = message[..start].to_vec();
    plain.resize(message.len(), 0);
    let length = policy.asymmetric_decrypt(own, secret, &mut plain[start..]);
    let length = length.or_else(|_| failed("not decrypted"))?;
    plain.truncate(start + length);
    let end = plain.len().checked_sub(client.size()).filter(|end| *end >= start + SEQUENCE);
    let Some(end) = end else { return failed("message too short for its signature") };
    let (signed, sum) = plain.split_at(end);
    policy.asymmetric_verify_signature(client, signed, sum).or_else(|_| failed("signature is wrong"))?;
    let end = unpad(&plain, start + SEQUENCE, end, own.size() > 256)?;
    plain.truncate(end);
    plain.drain(..start);
    Ok(plain)
}

impl Sequence {
    /// Takes sequence number and request id off an opened OPN message.
    pub fn begin(&mut self, plain: &[u8]) -> Result<(u32, usize), Refusal> {
        if plain.len() < SEQUENCE {
            return refuse(StatusCode::BadDecodingError, "message too short");
        }
        self.take(four(plain, 0))?;
        Ok((four(plain, 4), SEQUENCE))
    }
}

#[cfg(test)]
impl Outgoing {
    /// The sequence numbers of the next chunks after one with the number `last`.
    pub fn numbers_from(&mut self, last: u32, count: usize) -> Vec<u32> {
        self.sequence = last;
        (0..count).map(|_| self.next()).collect()
    }
}
