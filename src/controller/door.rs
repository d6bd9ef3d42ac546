//! The two doors of the controller, of the people at the machine and of the plant process: what who comes in is handed, and
//! their datagrams. What comes through one of them never counts as coming through the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tracing::{info, warn};

use super::entrance::{Entrance, OpenError, Way};
use super::limiter::Limiter;
use crate::command::socket::{Connection, Peer};
use crate::command::{Command, Generation, MAX_DATAGRAM, Place, Refusal, Reply};

/// Most connections at a time through each door: who fills one keeps nobody from the other.
const CLIENTS: usize = 4;
/// Datagrams taken from one client before the others have their turn.
const DATAGRAMS: usize = 8;
/// A datagram that is no command is searched for its id up to this size, in bytes.
const SEARCHED: usize = 4096;

/// What every client is handed when it connects.
pub struct Handout {
    pub generation: Generation,
    /// The sealed configuration.
    pub bundle: OwnedFd,
    pub store: OwnedFd,
}

impl Handout {
    fn send(&self, connection: &Connection, door: Place) -> io::Result<()> {
        let generation = Generation { door, ..self.generation.clone() };
        let text = serde_json::to_vec(&generation).map_err(io::Error::other)?;
        connection.send(&text, &[self.bundle.as_fd(), self.store.as_fd()])
    }
}

/// Both listening sockets and all their clients.
pub struct Doors {
    /// That of the machine first: who stands there is served first.
    doors: [Door; 2],
    /// Numbers clients of both, so that an answer never goes to another one.
    next: u64,
    handout: Handout,
    buffer: Vec<u8>,
}

struct Door {
    place: Place,
    entrance: Entrance,
    clients: Vec<Client>,
    refusals: Limiter,
}

struct Client {
    number: u64,
    connection: Connection,
    peer: Peer,
    place: Place,
}

/// One datagram.
pub struct Request {
    pub client: u64,
    pub peer: Peer,
    /// The door that it came through.
    pub place: Place,
    /// Where it is no command: the id to answer to.
    pub command: Result<Command, u64>,
}

impl Doors {
    /// Listens on both.
    pub fn open(machine: &Way, plant: &Way, handout: Handout) -> Result<Doors, OpenError> {
        let open = |place, way| {
            let entrance = Entrance::open(way)?;
            Ok(Door { place, entrance, clients: Vec::with_capacity(CLIENTS), refusals: Limiter::default() })
        };
        if machine.path == plant.path {
            return Err(OpenError::Same(machine.path.clone()));
        }
        Ok(Doors {
            doors: [open(Place::Machine, machine)?, open(Place::Plant, plant)?],
            next: 0,
            handout,
            // one more, so that a datagram of the largest size is told from a cut one
            buffer: vec![0; MAX_DATAGRAM + 1],
        })
    }

    /// What to wait for: one for each client in order.
    pub fn clients(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.doors.iter().flat_map(|door| &door.clients).map(|client| client.connection.as_fd())
    }

    /// What to wait for: somebody who wants to come in. `now`: CLOCK_MONOTONIC.
    pub fn listeners(&self, now: u64) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.doors.iter().filter_map(move |door| door.entrance.listener(now))
    }

    /// Lets in who waits and may.
    pub fn accept(&mut self) {
        for door in &mut self.doors {
            for _ in 0..CLIENTS {
                let Some(connection) = door.entrance.accept() else { break };
                door.admit(connection, &self.handout, &mut self.next);
            }
        }
    }

    /// Takes what the clients whose descriptors are ready have sent. `ready`: one for each client, as in
    /// [`Doors::clients`]. Clients that went away are forgotten.
    pub fn receive(&mut self, ready: &[bool], requests: &mut Vec<Request>) {
        let mut ready = ready.iter();
        let buffer = &mut self.buffer;
        for door in &mut self.doors {
            let is_ready = |ready: Option<&bool>| ready.is_some_and(|ready| *ready);
            door.clients.retain(|client| !is_ready(ready.next()) || client.receive(buffer, requests));
        }
    }

    /// What clients are handed now.
    pub fn generation(&self) -> &Generation {
        &self.handout.generation
    }

    /// Hands another generation to every client, and to those that come; the bundle of the one before. `store`: where it is
    /// another one.
    pub fn renew(&mut self, generation: Generation, bundle: OwnedFd, store: Option<OwnedFd>) -> OwnedFd {
        self.handout.generation = generation;
        let before = std::mem::replace(&mut self.handout.bundle, bundle);
        if let Some(store) = store {
            self.handout.store = store;
        }
        let handout = &self.handout;
        for door in &mut self.doors {
            door.clients.retain(|client| match handout.send(&client.connection, client.place) {
                Ok(()) => true,
                Err(error) => {
                    warn!(pid = client.peer.pid, %error, "client disconnected: it does not take the new configuration");
                    false
                }
            });
        }
        before
    }

    /// Answers a client. One that is gone, or does not read, is forgotten.
    pub fn answer(&mut self, client: u64, id: u64, refusal: Option<Refusal>) {
        for door in &mut self.doors {
            let Some(at) = door.clients.iter().position(|known| known.number == client) else { continue };
            let sent = serde_json::to_vec(&Reply { id, refusal })
                .map_err(io::Error::other)
                .and_then(|text| door.clients[at].connection.send(&text, &[]));
            if let Err(error) = sent {
                let client = door.clients.swap_remove(at);
                warn!(pid = client.peer.pid, %error, "client disconnected: it does not take its answers");
            }
            return;
        }
    }
}

impl Door {
    fn admit(&mut self, connection: Connection, handout: &Handout, next: &mut u64) {
        let door = self.place.word();
        let peer = match connection.peer() {
            Ok(peer) => peer,
            Err(error) => return warn!(door, %error, "connection refused: its user is unknown"),
        };
        let reason = if !self.entrance.may_enter(peer) {
            "not our user, root or the socket's group"
        } else if self.clients.len() == CLIENTS {
            "there are as many connections as there may be"
        } else if handout.send(&connection, self.place).is_err() {
            "it went away before it was connected"
        } else {
            info!(door, uid = peer.uid, pid = peer.pid, "client connected");
            self.clients.push(Client { number: *next, connection, peer, place: self.place });
            *next += 1;
            return;
        };
        if let Some(left_out) = self.refusals.pass() {
            warn!(door, uid = peer.uid, pid = peer.pid, reason, left_out, "connection refused");
        }
    }
}

impl Client {
    /// Takes some datagrams; false where the client has gone.
    fn receive(&self, buffer: &mut [u8], requests: &mut Vec<Request>) -> bool {
        let mut unwanted = Vec::new();
        for _ in 0..DATAGRAMS {
            let command = match self.connection.receive(buffer, &mut unwanted) {
                Ok(0) => {
                    info!(pid = self.peer.pid, "client disconnected");
                    return false;
                }
                Ok(length) if length > MAX_DATAGRAM => Err(0),
                Ok(length) => parse(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // too large, or with too many descriptors
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(0),
                Err(error) => {
                    warn!(pid = self.peer.pid, %error, "client disconnected");
                    return false;
                }
            };
            requests.push(Request { client: self.number, peer: self.peer, place: self.place, command });
        }
        true
    }
}

/// A command, or the id that a datagram which is none seems to have.
fn parse(datagram: &[u8]) -> Result<Command, u64> {
    serde_json::from_slice(datagram).map_err(|_| {
        if datagram.len() > SEARCHED {
            return 0;
        }
        let document: serde_json::Value = serde_json::from_slice(datagram).unwrap_or_default();
        document.get("id").and_then(serde_json::Value::as_u64).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_answered_by_its_id() {
        let check = |text: &[u8], id| assert_eq!(parse(text), Err(id), "{}", String::from_utf8_lossy(text));
        check(b"", 0);
        check(b"\xFF\xFE", 0);
        check(b"[[[[", 0);
        check(br#"{"id":7}"#, 7);
        check(br#"{"id":8,"action":"Reboot"}"#, 8);
        check(br#"{"id":-1,"generation":1,"origin":{},"action":{"Set":[]}}"#, 0);
        check(
            br#"{"id":9,"generation":1,"origin":{"protocol":"","user":"","address":""},"action":{"Set":[]},"x":1}"#,
            9,
        );
        check("[".repeat(60_000).as_bytes(), 0);
        assert!(
            parse(br#"{"id":1,"generation":1,"origin":{"protocol":"","user":"","address":""},"action":{"Set":[]}}"#)
                .is_ok()
        );
    }
}
