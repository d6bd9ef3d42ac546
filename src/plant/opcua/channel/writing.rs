//! The writing side of a connection: answers sealed in chunks, and sent as fast as the client takes them.

use std::time::Duration;

use opcua::types::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::connection::{End, STALL, late};
use super::framing::{self, Hello, Refusal};
use super::open;
use super::security::Outgoing;
use super::{Answers, Item};
use crate::plant::opcua::wire::{Reader, service_fault};

/// Bytes that are gathered before they are written.
const GATHER: usize = 128 * 1024;

/// The server's side of a connection, as the client asked for it.
struct Writing {
    hello: Hello,
    secure: Option<Outgoing>,
    /// Sealed, not sent yet.
    buffer: Vec<u8>,
}

/// Writes what it is told to until it is told to end; gives what the client was told.
pub async fn write(
    door: &super::Door,
    mut items: UnboundedReceiver<Item>,
    writer: &mut OwnedWriteHalf,
    answers: &Answers,
) -> Option<Refusal> {
    let hello = Hello { chunk: framing::CHUNK, most_bytes: 0, most_chunks: 0 };
    let mut writing = Writing { hello, secure: None, buffer: Vec::new() };
    loop {
        let mut next = items.recv().await;
        let mut bytes = 0;
        let mut end = None;
        while let Some(item) = next {
            match item {
                Item::Hello(hello) => writing.hello = hello,
                Item::Raw(raw) => writing.buffer.extend_from_slice(&raw),
                Item::Open(answer) => {
                    if let Err(status) = writing.open(door, *answer) {
                        end = Some(Some(Refusal { status, reason: "the channel could not be opened" }));
                    }
                }
                Item::Use(token) => {
                    if let Some(secure) = &mut writing.secure {
                        secure.renew(token);
                    }
                }
                Item::Answer { request, body } => {
                    bytes += body.len();
                    if let Err(status) = writing.answer(request, &body) {
                        end = Some(Some(Refusal { status, reason: "the answer could not be sent" }));
                    }
                }
                Item::End(refusal) => end = Some(refusal),
            }
            if end.is_some() || writing.buffer.len() >= GATHER {
                break;
            }
            next = items.try_recv().ok();
        }
        if let Some(Some(refusal)) = end {
            writing.buffer.extend(framing::error(refusal));
        }
        let sent = send(writer, &writing.buffer).await;
        writing.buffer.clear();
        if writing.buffer.capacity() > 4 * GATHER {
            writing.buffer = Vec::new();
        }
        answers.written(bytes);
        match (end, sent) {
            (Some(refusal), _) => {
                let _ = timeout(Duration::from_secs(1), writer.shutdown()).await;
                return refusal;
            }
            (None, Ok(())) => {}
            (None, Err(End::Refused(refusal))) => return Some(refusal),
            (None, Err(End::Io | End::Closed)) => return None,
        }
    }
}

/// Sends everything, as long as the client takes it piece by piece in time.
async fn send(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<(), End> {
    for piece in bytes.chunks(framing::CHUNK) {
        let taken = timeout(STALL, writer.write_all(piece)).await;
        taken.map_err(|_| late("the client does not take its answers"))??;
    }
    Ok(())
}

impl Writing {
    fn open(&mut self, door: &super::Door, answer: open::Answer) -> Result<(), StatusCode> {
        let secure = self.secure.get_or_insert_with(|| Outgoing::new(answer.channel, answer.policy, answer.mode));
        let application = &door.application;
        let own = (&application.key, application.certificate_der.as_slice());
        let key = answer.certificate.as_ref().map(|certificate| certificate.x509.public_key());
        let key = key.transpose().map_err(|error| error.status())?;
        let thumbprint = answer.certificate.as_ref().map(|certificate| certificate.thumbprint);
        let theirs = key.as_ref().zip(thumbprint.as_ref().map(|thumbprint| thumbprint.as_slice()));
        let sealed = secure.seal_open(answer.request, &answer.body, own, theirs)?;
        self.buffer.extend_from_slice(&sealed);
        if !secure.has_token() {
            secure.renew(answer.token);
        }
        Ok(())
    }

    /// Seals an answer in as many chunks as it takes. What is more than the client wants is replaced by a fault.
    fn answer(&mut self, request: u32, body: &[u8]) -> Result<(), StatusCode> {
        let secure = self.secure.as_mut().ok_or(StatusCode::BadSecureChannelClosed)?;
        let room = secure.room(self.hello.chunk).max(1);
        let chunks = body.len().div_ceil(room).max(1);
        let Hello { most_bytes, most_chunks, .. } = self.hello;
        if most_bytes > 0 && body.len() > most_bytes || most_chunks > 0 && chunks > most_chunks {
            let fault = service_fault(handle(body), StatusCode::BadResponseTooLarge);
            return secure.seal(b'F', request, &fault, &mut self.buffer);
        }
        self.buffer.reserve(body.len() + chunks * 128);
        let mut pieces = body.chunks(room).peekable();
        while let Some(piece) = pieces.next() {
            let letter = if pieces.peek().is_some() { b'C' } else { b'F' };
            secure.seal(letter, request, piece, &mut self.buffer)?;
        }
        Ok(())
    }
}

/// The request's handle, out of the header of a response.
fn handle(body: &[u8]) -> u32 {
    let mut reader = Reader::new(body);
    let read = reader.node_id().and_then(|_| reader.i64()).and_then(|_| reader.u32());
    read.unwrap_or(0)
}
