//! Buses whose interface `canvoy-link` looks after: what it is asked for, and what it answers.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use tracing::{error, info, warn};

use crate::command::socket::Connection;
use crate::link::{Action, MAX_DATAGRAM, Reply, Request};
use crate::plan::{BusIndex, Interface, Plan};

/// Most requests without an answer; more are dropped, and asked for again by who needs them.
const WAITING: usize = 64;

/// The way to `canvoy-link`. Nothing here waits.
pub struct Managed {
    socket: PathBuf,
    connection: Option<Connection>,
    /// What was asked for and not answered yet: id, name of the bus, action.
    waiting: VecDeque<(u64, String, Action)>,
    next: u64,
    /// That it can't be reached has been told.
    told: bool,
}

impl Managed {
    pub fn new(socket: PathBuf) -> Managed {
        Managed { socket, connection: None, waiting: VecDeque::with_capacity(WAITING), next: 1, told: false }
    }

    /// Asks; false where it could not be asked.
    pub fn ask(&mut self, plan: &Plan, bus: BusIndex, action: Action) -> bool {
        let bus_plan = &plan.buses[bus];
        let Interface::SocketCan(interface) = &bus_plan.interface else { return false };
        if !bus_plan.managed || self.waiting.len() == WAITING {
            return false;
        }
        let request = Request { id: self.next, interface: interface.clone(), action };
        match self.send(&request) {
            Ok(()) => {
                self.told = false;
                self.waiting.push_back((self.next, bus_plan.name.clone(), action));
                self.next += 1;
                true
            }
            Err(error) => {
                self.connection = None;
                if !std::mem::replace(&mut self.told, true) {
                    let socket = self.socket.display();
                    warn!(bus = %bus_plan.name, %socket, %error, "canvoy-link can't be asked to look after the interface; start canvoy-link.service");
                }
                false
            }
        }
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        let text = serde_json::to_vec(request).map_err(io::Error::other)?;
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::connect(&self.socket)?,
        };
        connection.send(&text, &[])?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Takes what it has answered.
    pub fn answers(&mut self) {
        let Some(connection) = &self.connection else { return };
        let (mut buffer, mut unwanted) = ([0; MAX_DATAGRAM], Vec::new());
        for _ in 0..WAITING {
            match connection.receive(&mut buffer, &mut unwanted) {
                Ok(length @ 1..) => {
                    let Ok(reply) = serde_json::from_slice::<Reply>(&buffer[..length]) else { continue };
                    let Some(at) = self.waiting.iter().position(|(id, ..)| *id == reply.id) else { continue };
                    if let Some((_, bus, action)) = self.waiting.remove(at) {
                        tell(&bus, action, reply.result);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    warn!(unanswered = self.waiting.len(), "canvoy-link has gone; interfaces stay as they are");
                    self.connection = None;
                    self.waiting.clear();
                    return;
                }
            }
        }
    }
}

fn tell(bus: &str, action: Action, result: Result<String, String>) {
    match (action, result) {
        (Action::Up, Ok(done)) => info!(bus, interface = done, "interface set up"),
        (Action::Restart, Ok(done)) => warn!(bus, interface = done, "restart after bus-off"),
        (Action::Up, Err(reason)) => error!(bus, reason, "the interface can't be set up"),
        (Action::Restart, Err(reason)) => error!(bus, reason, "the bus can't be restarted"),
    }
}
