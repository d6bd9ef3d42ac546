//! The public listener in front of the server layer, which believes what it is told: it takes any size, any number of
//! connections and requests, and lets strangers far in (async-opcua 0.19). The guard reads each message's header first.
//!
//! The server layer itself listens on 127.0.0.1, on a port that changes with each start; a process on this machine could
//! go around the guard.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use opcua::crypto::SecurityPolicy;
use opcua::types::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::framing::{self, Answer, Framing, HEADER, Refusal, Stage, Verdict};
use super::pki::Trust;
use crate::plant::pulse::{BEAT, Pulse};

/// From the connection to a whole Hello.
const HELLO: Duration = Duration::from_secs(5);
/// From the connection to a whole OpenSecureChannel.
const OPEN: Duration = Duration::from_secs(10);
/// A connection that only asks for endpoints lives this long.
const DISCOVERY: Duration = Duration::from_secs(30);
/// A channel on which nothing is asked: as long as its token lives at most. Sessions end much earlier.
const IDLE: Duration = Duration::from_secs(600);
/// From the first byte of a message to its last, and for a client to take one.
const STALL: Duration = Duration::from_secs(20);
/// Connections of which nobody has shown a certificate yet.
const STRANGERS: usize = 64;
/// The same from one address.
const STRANGERS_PER_ADDRESS: usize = 32;
/// Requests without an answer. Publish requests wait for their answer: some tens are normal.
const UNANSWERED: usize = 128;
/// The same of a client without a certificate.
const UNANSWERED_DISCOVERY: usize = 1;
/// Certificates that are checked at one time.
const CHECKS: usize = 2;

/// From where a secure channel comes; the server layer sees only the guard.
#[derive(Default)]
pub struct Peers {
    channels: Mutex<HashMap<u32, SocketAddr>>,
}

impl Peers {
    fn channels(&self) -> MutexGuard<'_, HashMap<u32, SocketAddr>> {
        self.channels.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The client's address; empty when the channel is gone.
    pub fn address(&self, channel: u32) -> String {
        self.channels().get(&channel).map(SocketAddr::to_string).unwrap_or_default()
    }
}

/// What the guard goes by.
pub struct Guard {
    /// The port of 127.0.0.1 that the server layer listens on; none while it begins.
    pub inner: watch::Receiver<Option<u16>>,
    pub offers_none: bool,
    /// Connections with a certificate.
    pub max_connections: usize,
    pub trust: Trust,
    pub peers: Arc<Peers>,
}

impl Guard {
    /// A connection to the server layer, as soon as it is there.
    async fn connect(&self) -> io::Result<TcpStream> {
        let mut inner = self.inner.clone();
        let port = inner.wait_for(Option::is_some).await.ok().and_then(|port| *port);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port.ok_or(io::ErrorKind::NotConnected)?)).await
    }
}

/// All connections, so that there are never too many.
#[derive(Default)]
struct Connections {
    next: u64,
    /// Oldest first, each with the call to end it.
    strangers: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    /// Who has shown a trusted certificate, or is let in without one.
    known: HashMap<u64, IpAddr>,
}

impl Connections {
    /// Lets a new one in. Where there are too many strangers the oldest must go: a flood keeps nobody out.
    fn enter(&mut self, address: IpAddr) -> (u64, Arc<Notify>) {
        let same = |(_, (other, _)): &(&u64, &(IpAddr, Arc<Notify>))| *other == address;
        let oldest = if self.strangers.iter().filter(same).count() >= STRANGERS_PER_ADDRESS {
            self.strangers.iter().find(same).map(|(id, _)| *id)
        } else if self.strangers.len() >= STRANGERS {
            self.strangers.keys().next().copied()
        } else {
            None
        };
        if let Some((_, end)) = oldest.and_then(|id| self.strangers.remove(&id)) {
            end.notify_one();
        }
        self.next += 1;
        let end = Arc::new(Notify::new());
        self.strangers.insert(self.next, (address, end.clone()));
        (self.next, end)
    }

    /// A stranger has become known; whether there is room. Half of the room is one address's share.
    fn know(&mut self, id: u64, most: usize) -> bool {
        if self.known.contains_key(&id) {
            return true;
        }
        let Some((address, _)) = self.strangers.get(&id) else { return false };
        let address = *address;
        let share = if address.is_loopback() { most } else { most.div_ceil(2) };
        if self.known.len() >= most || self.known.values().filter(|other| **other == address).count() >= share {
            return false;
        }
        self.strangers.remove(&id);
        self.known.insert(id, address);
        true
    }

    fn leave(&mut self, id: u64) {
        self.strangers.remove(&id);
        self.known.remove(&id);
    }
}

struct Shared {
    guard: Guard,
    connections: Mutex<Connections>,
    checks: Semaphore,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Accepts clients until dropped. `pulse` beats while clients are, or could be, accepted.
pub async fn serve(listener: TcpListener, guard: Guard, pulse: &Pulse) {
    let shared = Arc::new(Shared { guard, connections: Mutex::default(), checks: Semaphore::new(CHECKS) });
    // dropped with this future, and then all connections end
    let mut tasks = tokio::task::JoinSet::new();
    pulse.beat();
    loop {
        let accepted = tokio::select! {
            accepted = timeout(BEAT, listener.accept()) => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        match accepted {
            // nobody has come
            Err(_) => pulse.beat(),
            Ok(Ok((client, peer))) => {
                pulse.beat();
                let shared = shared.clone();
                tasks.spawn(async move { connection(&shared, client, peer).await });
            }
            Ok(Err(error)) => {
                // out of descriptors: they come back when connections end
                tracing::warn!(%error, "OPC UA client not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Why a connection ended before its time.
enum End {
    Refused(Refusal),
    Io(io::Error),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Io(error)
    }
}

fn late(reason: &'static str) -> End {
    End::Refused(Refusal { status: StatusCode::BadTimeout, reason })
}

/// One connection from its first byte to its last.
async fn connection(shared: &Shared, client: TcpStream, peer: SocketAddr) {
    let (id, end) = shared.connections().enter(peer.ip());
    prepare(&client);
    let mut link = Link { shared, id, peer, opened: Vec::new() };
    let (reader, mut writer) = client.into_split();
    let flow = Flow::default();
    let refusal = tokio::select! {
        refusal = link.relay(reader, &mut writer, &flow) => refusal,
        () = end.notified() => None,
    };
    if let Some(refusal) = refusal {
        tracing::debug!(%peer, status = %refusal.status, reason = refusal.reason, "OPC UA client refused");
        // not into the middle of an answer
        if !flow.writing.load(Ordering::Relaxed) {
            let _ = timeout(Duration::from_secs(1), writer.write_all(&framing::error(refusal))).await;
        }
    }
}

/// No waiting for more to send; a peer that is gone is noticed.
fn prepare(client: &TcpStream) {
    let options = client
        .set_nodelay(true)
        .map_err(|error| error.to_string())
        .and_then(|()| keep_alive(client).map_err(|error| error.to_string()));
    if let Err(error) = options {
        tracing::debug!(error, "socket options");
    }
}

fn keep_alive(client: &TcpStream) -> nix::Result<()> {
    setsockopt(client, sockopt::KeepAlive, &true)?;
    setsockopt(client, sockopt::TcpKeepIdle, &60)?;
    setsockopt(client, sockopt::TcpKeepInterval, &10)?;
    setsockopt(client, sockopt::TcpKeepCount, &3)
}

/// What both directions of a connection know of each other.
#[derive(Default)]
struct Flow {
    /// Requests without an answer.
    unanswered: AtomicUsize,
    /// An answer is on its way to the client, which has not taken all of it.
    writing: AtomicBool,
    /// One of the two has changed.
    changed: Notify,
}

impl Flow {
    /// Waits until another request may be read: the client takes its answers, and is not owed too many.
    async fn ready(&self, most: usize) {
        loop {
            // before the check, or a change in between would be missed
            let changed = self.changed.notified();
            if !self.writing.load(Ordering::Acquire) && self.unanswered.load(Ordering::Acquire) < most {
                return;
            }
            changed.await;
        }
    }
}

struct Link<'a> {
    shared: &'a Shared,
    id: u64,
    peer: SocketAddr,
    /// Channels that were opened on it.
    opened: Vec<u32>,
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        self.shared.connections().leave(self.id);
        let mut channels = self.shared.guard.peers.channels();
        for channel in &self.opened {
            channels.remove(channel);
        }
    }
}

impl Link<'_> {
    /// Copies both ways until one side ends it. Gives what to tell the client.
    async fn relay(&mut self, mut client: OwnedReadHalf, writer: &mut OwnedWriteHalf, flow: &Flow) -> Option<Refusal> {
        let start = Instant::now();
        let mut framing = Framing::new(self.shared.guard.offers_none);
        let mut message = Vec::new();
        // nothing reaches the server layer before a good Hello
        let hello = async {
            read(&mut client, &mut framing, &mut message).await?;
            Ok(self.shared.guard.connect().await?)
        };
        let inner = match timeout_at(start + HELLO, hello).await {
            Err(_) => return Some(Refusal { status: StatusCode::BadTimeout, reason: "no Hello in time" }),
            Ok(Err(End::Refused(refusal))) => return Some(refusal),
            Ok(Err(End::Io(error))) => {
                tracing::trace!(peer = %self.peer, %error, "OPC UA connection ended");
                return None;
            }
            Ok(Ok(inner)) => inner,
        };
        prepare(&inner);
        let (from_inner, mut to_inner) = inner.into_split();
        let (shared, id, peer, opened) = (self.shared, self.id, self.peer, &mut self.opened);
        let up = async {
            to_inner.write_all(&message).await?;
            up(shared, id, start, client, &mut framing, to_inner, flow).await
        };
        let end = tokio::select! {
            end = up => end,
            end = down(from_inner, writer, flow, |channel| {
                opened.push(channel);
                shared.guard.peers.channels().insert(channel, peer);
            }) => end,
        };
        match end {
            Err(End::Refused(refusal)) => Some(refusal),
            Err(End::Io(error)) => {
                tracing::trace!(%peer, %error, "OPC UA connection ended");
                None
            }
            Ok(()) => None,
        }
    }
}

/// Requests: from the client to the server layer.
async fn up(
    shared: &Shared,
    id: u64,
    start: Instant,
    mut client: OwnedReadHalf,
    framing: &mut Framing,
    mut inner: OwnedWriteHalf,
    flow: &Flow,
) -> Result<(), End> {
    let mut message = Vec::new();
    loop {
        let most = if framing.is_channel() { UNANSWERED } else { UNANSWERED_DISCOVERY };
        let deadline = match framing.stage() {
            Stage::Hello => start + OPEN,
            Stage::Discovery => start + DISCOVERY,
            Stage::Channel => Instant::now() + IDLE,
        };
        let next = async {
            flow.ready(most).await;
            read(&mut client, framing, &mut message).await
        };
        match timeout_at(deadline, next).await.map_err(|_| late("nothing was said for too long"))?? {
            Step::Forward => {}
            Step::Request => {
                flow.unanswered.fetch_add(1, Ordering::AcqRel);
            }
            Step::Admit(policy, certificate) => admit(shared, policy, certificate).await?,
        }
        if framing.is_channel() && !shared.connections().know(id, shared.guard.max_connections) {
            let reason = "too many connections";
            return Err(End::Refused(Refusal { status: StatusCode::BadTcpNotEnoughResources, reason }));
        }
        let write = timeout(STALL, inner.write_all(&message)).await;
        write.map_err(|_| late("the server does not take more"))??;
    }
}

/// A message that may go on.
enum Step {
    Forward,
    Request,
    Admit(SecurityPolicy, Vec<u8>),
}

/// Reads one whole message. The first byte may take its time, the rest not.
async fn read(client: &mut OwnedReadHalf, framing: &mut Framing, message: &mut Vec<u8>) -> Result<Step, End> {
    let mut header = [0; HEADER];
    client.read_exact(&mut header[..1]).await?;
    let rest = async {
        client.read_exact(&mut header[1..]).await?;
        let size = framing.header(header)?;
        message.clear();
        message.extend(header);
        message.resize(size, 0);
        client.read_exact(&mut message[HEADER..]).await?;
        Ok::<(), End>(())
    };
    timeout(STALL, rest).await.map_err(|_| late("the message did not end in time"))??;
    Ok(match framing.message(message)? {
        Verdict::Forward => Step::Forward,
        Verdict::Request => Step::Request,
        Verdict::Admit(policy, certificate) => Step::Admit(policy, certificate.to_vec()),
    })
}

/// Asks whether the certificate is trusted. What exactly is wrong with it the log says, not the answer (OPC 10000-4, 6.1.3).
async fn admit(shared: &Shared, policy: SecurityPolicy, certificate: Vec<u8>) -> Result<(), End> {
    let refused = || Refusal { status: StatusCode::BadSecurityChecksFailed, reason: "certificate not accepted" };
    let _turn = shared.checks.acquire().await.map_err(|_| refused())?;
    let trust = shared.guard.trust.clone();
    let verdict = tokio::task::spawn_blocking(move || trust.admit(policy, &certificate)).await;
    match verdict {
        Ok(Ok(())) => Ok(()),
        Ok(Err(status)) => {
            tracing::debug!(%status, "client certificate refused");
            Err(refused().into())
        }
        Err(_) => Err(refused().into()),
    }
}

/// Answers: from the server layer to the client. Ends when the server layer does.
async fn down(
    mut inner: OwnedReadHalf,
    client: &mut OwnedWriteHalf,
    flow: &Flow,
    mut opened: impl FnMut(u32),
) -> Result<(), End> {
    let mut message = Vec::new();
    loop {
        let mut header = [0; HEADER];
        inner.read_exact(&mut header).await?;
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "the server layer sent no OPC UA message");
        let (answer, size) = framing::answer(header).ok_or_else(unknown)?;
        message.clear();
        message.extend(header);
        message.resize(size, 0);
        inner.read_exact(&mut message[HEADER..]).await?;
        if let (Answer::Opened, Some(channel)) = (answer, framing::channel(&message)) {
            opened(channel);
        }
        flow.writing.store(true, Ordering::Release);
        timeout(STALL, client.write_all(&message))
            .await
            .map_err(|_| late("the client does not take its answers"))??;
        flow.writing.store(false, Ordering::Release);
        if answer == Answer::Final {
            let _ = flow.unanswered.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
        }
        flow.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_keeps_nobody_out() {
        let mut connections = Connections::default();
        let [flood, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let (visitor, _) = connections.enter(other);
        let ids: Vec<u64> = (0..1000).map(|_| connections.enter(flood).0).collect();
        assert_eq!(connections.strangers.len(), STRANGERS_PER_ADDRESS + 1);
        assert!(connections.strangers.contains_key(&visitor), "another address is left alone");
        assert!(connections.strangers.contains_key(&ids[999]), "the newest is in");
        assert!(!connections.know(ids[0], 50), "who was put out stays out");
        for last in 3..=255 {
            connections.enter(IpAddr::from([10, 0, 0, last]));
        }
        assert_eq!(connections.strangers.len(), STRANGERS);
    }

    #[test]
    fn known_connections_are_counted() {
        let mut connections = Connections::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let ids: Vec<u64> = (0..6).map(|_| connections.enter(address).0).collect();
        let known = |connections: &mut Connections, id| connections.know(id, 8);
        assert!(ids[..4].iter().all(|id| known(&mut connections, *id)));
        assert!(!known(&mut connections, ids[4]), "half of the room is one address's share");
        assert!(known(&mut connections, ids[0]), "once known is enough");
        connections.leave(ids[0]);
        assert!(known(&mut connections, ids[4]));
        let local: Vec<u64> = (0..6).map(|_| connections.enter(IpAddr::from([127, 0, 0, 1])).0).collect();
        assert!(local[..4].iter().all(|id| known(&mut connections, *id)), "this machine may have all that is left");
        assert!(!known(&mut connections, local[4]));
    }

    #[tokio::test]
    async fn a_client_that_takes_no_answers_is_not_read() {
        let flow = Flow::default();
        let ready = async |most| timeout(Duration::from_millis(20), flow.ready(most)).await.is_ok();
        assert!(ready(1).await);
        flow.unanswered.store(1, Ordering::Release);
        assert!(!ready(1).await);
        assert!(ready(2).await);
        flow.writing.store(true, Ordering::Release);
        assert!(!ready(2).await);
        let later = async {
            tokio::task::yield_now().await;
            flow.writing.store(false, Ordering::Release);
            flow.changed.notify_one();
        };
        let (ready, ()) = tokio::join!(timeout(Duration::from_secs(10), flow.ready(2)), later);
        assert!(ready.is_ok());
    }
}
