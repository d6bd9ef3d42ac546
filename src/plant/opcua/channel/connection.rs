//! One connection from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use opcua::crypto::SecurityPolicy;
use opcua::types::{MessageSecurityMode, StatusCode};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{timeout, timeout_at};

use super::framing::{self, Assembly, HEADER, Header, Kind, Phase, Refusal, refuse};
use super::listener::Shared;
use super::open::{self, Clear};
use super::security::{Incoming, Sequence};
use super::trusted::Opened;
use super::{Answers, Channel, Closing, Item, Notice, Opening, Request, writing};

/// From the connection to a whole Hello.
const HELLO: Duration = Duration::from_secs(5);
/// A connection that only asks for endpoints lives this long.
const DISCOVERY: Duration = Duration::from_secs(30);
/// Between two messages of a client that has not logged in.
const IDLE: Duration = Duration::from_secs(60);
/// From the first byte of a message to its last, and for a client to take any of what is sent to it.
pub(super) const STALL: Duration = Duration::from_secs(20);
/// Requests without an answer. Publish requests wait for their answer: some tens are normal.
const UNANSWERED: usize = 256;
/// The same of a client that is not logged in.
const UNANSWERED_STRANGER: usize = 4;
/// Bytes that a client whose connection was ended may still send.
const MOST_DRAINED: usize = 1024 * 1024;
/// Bytes that are read at one time.
const READ: usize = 16 * 1024;

/// Why a connection ended before its time.
pub(super) enum End {
    Refused(Refusal),
    /// The connection failed; there is nobody to tell.
    Io,
    /// By the client, which has said so.
    Closed,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Io
    }
}

pub(super) fn late(reason: &'static str) -> End {
    End::Refused(Refusal { status: StatusCode::BadTimeout, reason })
}

/// Leaves the table of connections however the connection ends.
struct Place<'a, S> {
    shared: &'a Shared<S>,
    id: u64,
    answers: Answers,
}

impl<S> Drop for Place<'_, S> {
    fn drop(&mut self) {
        self.answers.close();
        let mut connections = self.shared.connections();
        connections.leave(self.id);
        self.shared.door.counters.connections(connections.len());
    }
}

/// Serves one client.
pub async fn serve<S>(shared: &Shared<S>, client: TcpStream, peer: SocketAddr)
where
    S: Fn(&Arc<Channel>, &Answers, Request),
{
    let (id, end) = {
        let mut connections = shared.connections();
        let entered = connections.enter(peer.ip());
        shared.door.counters.connections(connections.len());
        entered
    };
    let (answers, items) = Answers::new();
    let _place = Place { shared, id, answers: answers.clone() };
    prepare(&client);
    let (reader, mut writer) = client.into_split();
    let mut link = Reading {
        shared,
        id,
        peer,
        start: Instant::now(),
        client: BufReader::with_capacity(READ, reader),
        answers: answers.clone(),
        phase: Phase::Start,
        secure: None,
        assembly: Assembly::default(),
    };
    let mut why = StatusCode::BadSecureChannelClosed;
    let reading = async {
        let end = link.run().await;
        why = match &end {
            End::Refused(refusal) => refusal.status,
            End::Io => StatusCode::BadConnectionClosed,
            End::Closed => StatusCode::Good,
        };
        answers.item(Item::End(match end {
            End::Refused(refusal) => Some(refusal),
            End::Io | End::Closed => None,
        }));
        // what lies there is written first
        std::future::pending::<()>().await;
    };
    let own = &shared.door;
    let refused = tokio::select! {
        () = reading => None,
        refusal = writing::write(own, items, &mut writer, &answers) => {
            if let Some(refusal) = &refusal {
                own.counters.connection_refused();
                tracing::debug!(%peer, status = %refusal.status, reason = refusal.reason, "OPC UA client refused");
            }
            refusal
        }
        () = end.notified() => {
            own.counters.connection_refused();
            None
        }
    };
    if let Some(secure) = &link.secure
        && !link.is_discovery(&secure.channel)
    {
        let status = refused.as_ref().map_or(why, |refusal| refusal.status);
        (own.tell)(peer, Notice::Close(Closing { channel: secure.channel.id, status }));
    }
    if refused.is_some() {
        let _ = timeout(Duration::from_secs(1), drain(&mut link.client)).await;
    }
}

/// No waiting for more to send; a peer that is gone is noticed.
fn prepare(client: &TcpStream) {
    let keep_alive = || -> nix::Result<()> {
        setsockopt(client, sockopt::KeepAlive, &true)?;
        setsockopt(client, sockopt::TcpKeepIdle, &60)?;
        setsockopt(client, sockopt::TcpKeepInterval, &10)?;
        setsockopt(client, sockopt::TcpKeepCount, &3)
    };
    let options = client.set_nodelay(true).and_then(|()| Ok(keep_alive()?));
    if let Err(error) = options {
        tracing::debug!(%error, "socket options");
    }
}

/// The client's side.
struct Reading<'a, S> {
    shared: &'a Shared<S>,
    id: u64,
    peer: SocketAddr,
    start: Instant,
    client: BufReader<OwnedReadHalf>,
    answers: Answers,
    phase: Phase,
    secure: Option<Secure>,
    assembly: Assembly,
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// Its open channel.
struct Secure {
    channel: Arc<Channel>,
    incoming: Incoming,
}

impl<S: Fn(&Arc<Channel>, &Answers, Request)> Reading<'_, S> {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.message().await {
                return end;
            }
        }
    }

    /// Until when the next message must have begun, and a channel be open.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        match &self.secure {
            None if self.phase == Phase::Start => self.start + HELLO,
            None => self.start + Duration::from_secs(self.shared.door.limits.half_open_s),
            Some(secure) if self.is_discovery(&secure.channel) => self.start + DISCOVERY,
            Some(secure) => {
                let token = secure.incoming.deadline().unwrap_or(now);
                if secure.channel.is_logged_in() { token } else { token.min(now + IDLE) }
            }
        }
    }

    /// A channel without security where none is offered.
    fn is_discovery(&self, channel: &Channel) -> bool {
        channel.policy == SecurityPolicy::None && !self.shared.door.application.offers_none
    }

    /// Reads one message and does what it asks for.
    async fn message(&mut self) -> Result<(), End> {
        let logged_in = self.secure.as_ref().is_some_and(|secure| secure.channel.is_logged_in());
        let most = if logged_in { UNANSWERED } else { UNANSWERED_STRANGER };
        let deadline = self.deadline().into();
        let mut first = [0; 1];
        let begin = async {
            self.answers.ready(most, self.shared.door.limits.backlog_bytes).await;
            self.client.read_exact(&mut first).await
        };
        let begun = timeout_at(deadline, begin).await.map_err(|_| late("nothing was said for too long"))?;
        begun?;
        let (header, message) =
            timeout(STALL, self.rest(first[0])).await.map_err(|_| late("the message did not end in time"))??;
        match header.kind {
            Kind::Hello => self.hello(&message),
            Kind::Open => self.open(message).await,
            Kind::Message => self.chunk(header.letter, &message),
            Kind::Close => {
                // whoever can't prove to be the client does not end its channel, only this connection
                self.unseal(&message)?;
                Err(End::Closed)
            }
        }
    }

    /// The rest of a message of which one byte is there.
    async fn rest(&mut self, first: u8) -> Result<(Header, Vec<u8>), End> {
        let mut bytes = [first; HEADER];
        self.client.read_exact(&mut bytes[1..]).await?;
        let header = framing::header(bytes, self.phase)?;
        let mut message = vec![0; header.size];
        message[..HEADER].copy_from_slice(&bytes);
        self.client.read_exact(&mut message[HEADER..]).await?;
        Ok((header, message))
    }

    fn hello(&mut self, message: &[u8]) -> Result<(), End> {
        let bytes = self.shared.door.limits.message_bytes;
        let (hello, acknowledge) = framing::hello(&message[HEADER..], (bytes, framing::most_chunks(bytes)))?;
        self.phase = Phase::Greeted;
        self.answers.item(Item::Hello(hello));
        self.answers.item(Item::Raw(acknowledge));
        Ok(())
    }

    async fn open(&mut self, message: Vec<u8>) -> Result<(), End> {
        let clear = Clear::read(&message)?;
        let (policy, chain) = (clear.policy, Arc::<[u8]>::from(clear.certificate.as_slice()));
        let mut said = None;
        let result = self.try_open(clear, message, &chain, &mut said).await;
        let status = match &result {
            Ok(()) => StatusCode::Good,
            Err(End::Refused(refusal)) => refusal.status,
            Err(End::Io | End::Closed) => return result,
        };
        let door = &self.shared.door;
        if status.is_bad() {
            door.counters.request_rejected(status);
        }
        // anybody may ask for endpoints, and as often as it likes: that is no matter of security
        if policy != SecurityPolicy::None || door.application.offers_none {
            let channel = self.secure.as_ref().map_or(0, |secure| secure.channel.id);
            let (renew, mode, lifetime) = said.unwrap_or((channel != 0, MessageSecurityMode::Invalid, 0));
            let certificate = &*chain;
            let opening = Opening { channel, policy, mode, renew, lifetime, certificate, status };
            (door.tell)(self.peer, Notice::Open(opening));
        }
        result
    }

    /// `said`: whether a token is to be renewed, the mode and the lifetime, once they were understood.
    async fn try_open(
        &mut self,
        clear: Clear,
        message: Vec<u8>,
        chain: &Arc<[u8]>,
        said: &mut Option<(bool, MessageSecurityMode, u32)>,
    ) -> Result<(), End> {
        if let Some(secure) = &self.secure {
            if clear.channel != secure.channel.id {
                return refuse(StatusCode::BadTcpSecureChannelUnknown, "no such channel").map_err(End::from);
            }
            if clear.policy != secure.channel.policy {
                let reason = "the policy of a channel can't change";
                return refuse(StatusCode::BadSecurityPolicyRejected, reason).map_err(End::from);
            }
        } else if clear.channel != 0 {
            return refuse(StatusCode::BadTcpSecureChannelUnknown, "no such channel").map_err(End::from);
        }
        let failed = |_| Refusal { status: StatusCode::BadInternalError, reason: "not checked" };
        let (clear, opened) = {
            let _turn = self.shared.checks.acquire().await.map_err(|_| late("the server ends"))?;
            let (door, peer) = (self.shared.door.clone(), self.peer);
            let check = tokio::task::spawn_blocking(move || {
                let opened = clear.open(&door, peer, &message);
                (clear, opened)
            });
            check.await.map_err(failed)?
        };
        let (plain, certificate) = opened?;
        let mut begun = Sequence::default();
        let sequence = self.secure.as_mut().map_or(&mut begun, |secure| &mut secure.incoming.sequence);
        let asked = clear.asked(&plain, certificate, sequence)?;
        *said = Some((asked.renew, asked.mode, asked.lifetime));
        if asked.renew != self.secure.is_some() {
            return refuse(StatusCode::BadRequestTypeInvalid, "a new token for no channel, or a second channel")
                .map_err(End::from);
        }
        let door = &self.shared.door;
        let Some(secure) = &mut self.secure else {
            let answer = open::answer(door, clear.policy, &asked, open::number()?, open::number()?)?;
            let channel = Channel::new(answer.channel, (clear.policy, asked.mode), asked.certificate, self.peer);
            let channel = Arc::new(channel);
            if !self.is_discovery(&channel) {
                let (most, share) = (door.max_connections, door.limits.connections_per_address);
                if !self.shared.connections().know(self.id, most, share) {
                    return refuse(StatusCode::BadTcpNotEnoughResources, "too many connections").map_err(End::from);
                }
            }
            let mut incoming = Incoming::new(channel.id, channel.policy, channel.mode, begun);
            incoming.renew(answer.token.clone());
            self.watch(&channel, chain);
            self.secure = Some(Secure { channel, incoming });
            self.phase = Phase::Channel;
            self.answers.item(Item::Open(Box::new(answer)));
            return Ok(());
        };
        let same = |certificate: &Option<Arc<crate::plant::opcua::pki::Certificate>>| {
            certificate.as_ref().map(|certificate| certificate.der.clone())
        };
        if same(&asked.certificate) != same(&secure.channel.certificate) || asked.mode != secure.channel.mode {
            let reason = "a token for another client, or another mode";
            return refuse(StatusCode::BadSecurityChecksFailed, reason).map_err(End::from);
        }
        let answer = open::answer(door, clear.policy, &asked, secure.channel.id, open::number()?)?;
        secure.incoming.renew(answer.token.clone());
        let channel = secure.channel.clone();
        self.watch(&channel, chain);
        self.answers.item(Item::Open(Box::new(answer)));
        Ok(())
    }

    /// Has the channel ended once its certificate is no longer good.
    fn watch(&self, channel: &Channel, chain: &Arc<[u8]>) {
        if channel.certificate.is_some() {
            let (chain, answers) = (chain.clone(), self.answers.clone());
            let opened = Opened { policy: channel.policy, chain, peer: self.peer, answers };
            self.shared.connections().open(self.id, opened);
        }
    }

    /// Takes the security off a message.
    fn unseal(&mut self, message: &[u8]) -> Result<super::security::Opened, End> {
        let Some(secure) = &mut self.secure else {
            return refuse(StatusCode::BadTcpSecureChannelUnknown, "no channel").map_err(End::from);
        };
        let (opened, used) = secure.incoming.open(message, Instant::now())?;
        if let Some(token) = used {
            self.answers.item(Item::Use(token));
        }
        Ok(opened)
    }

    fn chunk(&mut self, letter: u8, message: &[u8]) -> Result<(), End> {
        let opened = self.unseal(message)?;
        let Some(secure) = &self.secure else { return Err(End::Io) };
        let limits = &self.shared.door.limits;
        let most = if secure.channel.is_logged_in() { limits.message_bytes } else { limits.message_before_login_bytes };
        if let Some(body) = self.assembly.add(letter, opened.request, opened.body, most)? {
            self.answers.asked();
            (self.shared.answer)(&secure.channel, &self.answers, Request { id: opened.request, body });
        }
        Ok(())
    }
}

/// Takes what a client still sends and drops it: unread, it would make the kernel reset the connection, and the client would
/// not see why it ended.
async fn drain(client: &mut BufReader<OwnedReadHalf>) {
    let mut bytes = [0; 4096];
    for _ in 0..MOST_DRAINED / 4096 {
        if !matches!(client.read(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}
