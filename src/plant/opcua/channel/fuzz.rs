//! What a stranger sends, up to whole requests, without a socket: for the fuzz target `framing`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::types::MessageSecurityMode;

use super::framing::{self, Assembly, HEADER, Kind, Phase};
use super::open::Clear;
use super::security::{Incoming, Outgoing, Sequence, Token};

/// Id of the channel, and of its token, that messages speak of.
const NUMBER: u32 = 1;
/// Bytes of a request.
const MOST: usize = 64 * 1024;

/// A connection's bytes from its first one, on a channel without security and on one with keys.
pub fn framing(bytes: &[u8]) {
    let keyed = (SecurityPolicy::Basic256Sha256, MessageSecurityMode::SignAndEncrypt);
    for (policy, mode) in [(SecurityPolicy::None, MessageSecurityMode::None), keyed] {
        connection(bytes, policy, mode);
    }
    let _ = Clear::read(bytes);
    let _ = Sequence::default().begin(bytes);
}

fn connection(bytes: &[u8], policy: SecurityPolicy, mode: MessageSecurityMode) {
    let now = Instant::now();
    let nonce: (&[u8], &[u8]) = (&[1; 32], &[1; 32]);
    let token = Arc::new(Token::new(NUMBER, now, Duration::from_secs(60), policy, nonce));
    let mut incoming = Incoming::new(NUMBER, policy, mode, Sequence::default());
    incoming.renew(token.clone());
    let mut outgoing = Outgoing::new(NUMBER, policy, mode);
    outgoing.renew(token);
    let (mut assembly, mut phase, mut rest) = (Assembly::default(), Phase::Start, bytes);
    while let Some((head, _)) = rest.split_first_chunk::<HEADER>() {
        let Ok(header) = framing::header(*head, phase) else { return };
        let Some((message, next)) = rest.split_at_checked(header.size) else { return };
        let body = message.get(HEADER..).unwrap_or_default();
        rest = next;
        match header.kind {
            Kind::Hello => {
                if framing::hello(body, (MOST, framing::most_chunks(MOST))).is_err() {
                    return;
                }
                phase = Phase::Greeted;
            }
            Kind::Open => {
                let Ok(clear) = Clear::read(message) else { return };
                // as if its security had been taken off
                if clear.asked(clear.rest(message), None, &mut Sequence::default()).is_err() {
                    return;
                }
                phase = Phase::Channel;
            }
            Kind::Message | Kind::Close => {
                // the body as it came, and sealed by a client that has the keys
                let mut sealed = Vec::new();
                let chunk = if policy == SecurityPolicy::None {
                    message
                } else if outgoing.seal(header.letter, NUMBER, body, &mut sealed).is_ok() {
                    let _ = incoming.open(message, now);
                    &sealed
                } else {
                    return;
                };
                let Ok((opened, _)) = incoming.open(chunk, now) else { return };
                if assembly.add(header.letter, opened.request, opened.body, MOST).is_err() {
                    return;
                }
            }
        }
    }
}
