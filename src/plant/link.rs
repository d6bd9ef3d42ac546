//! The plant's end of its socket: what the controller hands over, commands on their way, replies.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::command::socket::Connection;
use crate::command::{Action, Command, Generation, MAX_DATAGRAM, Place, Refusal, Reply, VERSION};
use crate::plant::view::Request;
use crate::store::Memory;

/// How long a controller may take to hand over and to answer a command.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the answer to a reload may take: files are read and checked.
const RELOAD_PATIENCE: Duration = Duration::from_secs(60);
/// Most commands without an answer; more are refused as busy.
const MAX_PENDING: usize = 64;
/// Largest bundle of configuration and DBC files, in bytes.
const MAX_BUNDLE: u64 = 1 << 30;

/// What a controller hands over: the bytes to build the plan from, and its store.
pub struct Handover {
    pub generation: Generation,
    pub bundle: Vec<u8>,
    pub memory: Memory,
}

/// Why a connection gave no handover.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("the controller handed nothing over within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("the controller closed the connection")]
    Closed,
    #[error(
        "the controller speaks version {theirs} of the command door, this process {VERSION}: install both from one release"
    )]
    Version { theirs: u32 },
    #[error("{}", other_door(*.theirs))]
    Door { theirs: Place },
    #[error("the controller sent something that can't be read: {0}")]
    Malformed(String),
}

impl LinkError {
    /// The controller is of another version than this process: the program that is installed now may be the right one.
    pub fn is_of_versions(&self) -> bool {
        matches!(self, LinkError::Version { .. } | LinkError::Door { .. })
    }
}

fn other_door(theirs: Place) -> &'static str {
    match theirs {
        Place::Machine => {
            "this is the socket for people at the machine; the plant side has its own (canvoy controller --plant-socket)"
        }
        Place::Plant => {
            "this is the plant side's socket; people at the machine have their own (canvoy controller --socket)"
        }
    }
}

/// Why [`Link::serve`] came back.
pub enum End {
    /// The connection is over; commands without an answer have been dropped.
    Closed,
    /// The controller has loaded another configuration.
    Handover(Handover),
}

type Answer = oneshot::Sender<Result<(), Refusal>>;

/// A connection to a controller.
pub struct Link {
    connection: Connection,
    /// A second descriptor of the same socket: tokio says on it when there is something to read.
    ready: tokio::net::UnixDatagram,
    buffer: Vec<u8>,
    next_id: u64,
    pending: HashMap<u64, (Instant, Answer)>,
}

/// A datagram from the controller.
enum Message {
    Reply(Reply),
    Handover(Handover),
}

/// Connects to a controller's door for `place` and waits for what it hands over.
pub async fn connect(path: &Path, place: Place) -> Result<(Link, Handover), LinkError> {
    Link::open(Connection::connect(path)?, place).await
}

impl Link {
    async fn open(connection: Connection, place: Place) -> Result<(Link, Handover), LinkError> {
        let ready = UnixDatagram::from(connection.as_fd().try_clone_to_owned()?);
        let mut link = Link {
            connection,
            ready: tokio::net::UnixDatagram::from_std(ready)?,
            buffer: vec![0; MAX_DATAGRAM],
            next_id: 0,
            pending: HashMap::new(),
        };
        match timeout(PATIENCE, link.receive()).await.map_err(|_| LinkError::Silent)?? {
            Message::Handover(handover) if handover.generation.door == place => Ok((link, handover)),
            Message::Handover(handover) => Err(LinkError::Door { theirs: handover.generation.door }),
            Message::Reply(_) => Err(LinkError::Malformed("a reply without a command".into())),
        }
    }

    /// Carries commands and replies until the connection ends or the controller hands over anew. Cancelling it loses
    /// nothing.
    pub async fn serve(&mut self, requests: &mut mpsc::Receiver<Request>) -> Result<End, LinkError> {
        loop {
            let earliest = self.pending.values().map(|(due, _)| *due).min();
            let give_up = async {
                match earliest {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.receive() => match message {
                    Ok(Message::Reply(reply)) => {
                        // an answer after its time has nobody who waits
                        if let Some((_, answer)) = self.pending.remove(&reply.id) {
                            let _ = answer.send(reply.refusal.map_or(Ok(()), Err));
                        }
                    }
                    Ok(Message::Handover(handover)) => return Ok(End::Handover(handover)),
                    Err(LinkError::Closed) => return Ok(End::Closed),
                    Err(error) => return Err(error),
                },
                Some(request) = requests.recv() => self.command(request)?,
                () = give_up => {
                    let now = Instant::now();
                    self.pending.retain(|_, (due, _)| *due > now);
                }
            }
        }
    }

    fn command(&mut self, request: Request) -> Result<(), LinkError> {
        let Request { generation, origin, action, answer } = request;
        // who waits may be gone; either way there is nothing more to do
        if self.pending.len() >= MAX_PENDING {
            let _ = answer.send(Err(Refusal::Busy));
            return Ok(());
        }
        self.next_id += 1;
        let patience = if matches!(action, Action::Reload(_)) { RELOAD_PATIENCE } else { PATIENCE };
        let command = Command { id: self.next_id, generation, origin, action };
        let bytes = serde_json::to_vec(&command).map_err(|error| LinkError::Malformed(error.to_string()))?;
        if bytes.len() > MAX_DATAGRAM {
            let _ = answer.send(Err(Refusal::TooMany));
            return Ok(());
        }
        match self.connection.send(&bytes, &[]) {
            Ok(()) => {
                self.pending.insert(self.next_id, (Instant::now() + patience, answer));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = answer.send(Err(Refusal::Busy));
            }
            // the end of the connection is seen by the next receive
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Message, LinkError> {
        let mut descriptors = Vec::new();
        let (connection, buffer) = (&self.connection, &mut self.buffer);
        let receive = || connection.receive(buffer, &mut descriptors);
        let length = self.ready.async_io(Interest::READABLE, receive).await?;
        if length == 0 {
            return Err(LinkError::Closed);
        }
        let bytes = &self.buffer[..length];
        let malformed = |error: serde_json::Error| LinkError::Malformed(error.to_string());
        if descriptors.is_empty() {
            return serde_json::from_slice(bytes).map(Message::Reply).map_err(malformed);
        }
        // another version may have other fields: look at the number alone first
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(LinkError::Version { theirs: version });
        }
        let generation = serde_json::from_slice(bytes).map_err(malformed)?;
        let Ok([bundle, store]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err(LinkError::Malformed("not two descriptors".into()));
        };
        Ok(Message::Handover(Handover { generation, bundle: read_bundle(bundle)?, memory: Memory::read_only(store)? }))
    }
}

fn read_bundle(descriptor: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(descriptor);
    let length = file.metadata()?.len().min(MAX_BUNDLE);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    // every process that has the descriptor shares its position: read without one
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Origin, Value, Write};
    use crate::store::memory::sealed;

    fn generation(version: u32) -> Generation {
        Generation { version, number: 1, pid: 1, hash: "ab".into(), since: 0, door: Place::Plant }
    }

    fn hand_over(controller: &Connection, generation: &Generation) {
        let bundle = sealed(c"bundle", b"[bus.line]").unwrap();
        let (_, store) = Memory::shared(c"store", 16).unwrap();
        let bytes = serde_json::to_vec(generation).unwrap();
        controller.send(&bytes, &[bundle.as_fd(), store.as_fd()]).unwrap();
    }

    fn request(answer: Answer) -> Request {
        let writes = vec![Write { tag: 3, value: Value::Engineering(1.5) }];
        Request { generation: 1, origin: Origin::default(), action: Action::Set(writes), answer }
    }

    fn next_command(controller: &Connection) -> Option<u64> {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let length = controller.receive(&mut buffer, &mut Vec::new()).ok()?;
        let Command { id, action, .. } = serde_json::from_slice(&buffer[..length]).unwrap();
        assert!(matches!(action, Action::Set(writes) if writes.len() == 1));
        Some(id)
    }

    #[tokio::test]
    async fn commands_and_replies_find_each_other() {
        let (ours, controller) = Connection::pair().unwrap();
        hand_over(&controller, &generation(VERSION));
        let (mut link, handover) = Link::open(ours, Place::Plant).await.unwrap();
        assert_eq!((handover.bundle.as_slice(), handover.memory.words().len()), (&b"[bus.line]"[..], 16));
        let (sender, mut requests) = mpsc::channel(8);
        let (first, second) = (oneshot::channel(), oneshot::channel());
        sender.send(request(first.0)).await.unwrap();
        sender.send(request(second.0)).await.unwrap();
        let answers = async {
            let mut ids = Vec::new();
            while ids.len() < 2 {
                ids.extend(next_command(&controller));
                tokio::task::yield_now().await;
            }
            // answered in another order, with one that nobody asked for
            for (id, refusal) in [(ids[1], Some(Refusal::Empty)), (99, None), (ids[0], None)] {
                controller.send(&serde_json::to_vec(&Reply { id, refusal }).unwrap(), &[]).unwrap();
            }
            assert_eq!(first.1.await.unwrap(), Ok(()));
            assert_eq!(second.1.await.unwrap(), Err(Refusal::Empty));
            hand_over(&controller, &generation(VERSION));
        };
        let (end, ()) = tokio::join!(link.serve(&mut requests), answers);
        assert!(matches!(end, Ok(End::Handover(_))));
        drop(controller);
        assert!(matches!(link.serve(&mut requests).await, Ok(End::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_without_an_answer_is_dropped() {
        let (ours, controller) = Connection::pair().unwrap();
        hand_over(&controller, &generation(VERSION));
        let (mut link, _) = Link::open(ours, Place::Plant).await.unwrap();
        let (sender, mut requests) = mpsc::channel(8);
        let (answer, done) = oneshot::channel();
        sender.send(request(answer)).await.unwrap();
        tokio::select! {
            _ = link.serve(&mut requests) => panic!("ended"),
            done = done => assert!(done.is_err()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_controller_of_ours_is_refused() {
        let open = async |send: &dyn Fn(&Connection)| {
            let (ours, controller) = Connection::pair().unwrap();
            send(&controller);
            Link::open(ours, Place::Plant).await.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(open(&|c| hand_over(c, &generation(VERSION + 1))).await.contains(&format!("version {}", VERSION + 1)));
        let machine = Generation { door: Place::Machine, ..generation(VERSION) };
        assert!(open(&|c| hand_over(c, &machine)).await.contains("for people at the machine"));
        assert!(open(&|c| c.send(b"[]", &[]).unwrap()).await.contains("can't be read"));
        assert!(open(&|c| c.send(b"{}", &[c.as_fd()]).unwrap()).await.contains("can't be read"));
        let text = serde_json::to_vec(&generation(VERSION)).unwrap();
        assert!(open(&|c| c.send(&text, &[c.as_fd()]).unwrap()).await.contains("not two descriptors"));
        assert!(open(&|_| ()).await.contains("nothing over"));
        let (ours, controller) = Connection::pair().unwrap();
        drop(controller);
        assert!(matches!(Link::open(ours, Place::Plant).await, Err(LinkError::Closed)));
    }
}
