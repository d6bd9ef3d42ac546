//! Keeps the SocketCAN buses open: follows their interfaces by name, opens new sockets when one appears, tells the
//! real-time thread what the kernel says about them.

use std::io;

use tracing::{info, warn};

use super::link::{Link, Links};
use crate::bus::socketcan::Sockets;
use crate::plan::{Interface, Plan};
use crate::rt::{Handle, Order};
use crate::store::Reader;
use crate::store::layout::BusState;

/// Bytes of receive buffer that the kernel reports when it gave all that was asked for (it doubles the number).
const FULL_RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
/// How long the driver and the error frames may disagree about the state before the driver is believed, in nanoseconds.
const DISAGREEMENT: u64 = 1_000_000_000;
/// An interface of this MTU passes CAN FD frames.
const FD_MTU: u32 = 72;

/// All SocketCAN buses of the plan.
pub struct Supervision {
    links: Links,
    watched: Vec<Watched>,
}

struct Watched {
    bus: usize,
    name: String,
    interface: String,
    fd: bool,
    /// The interface that the bus's sockets are bound to.
    opened: Option<u32>,
    /// CLOCK_MONOTONIC since when driver and error frames disagree.
    disagree: Option<u64>,
    /// The small receive buffer has been told.
    buffer_told: bool,
    /// The last thing that was wrong, told once.
    told: Option<String>,
}

impl Supervision {
    /// `None` where the plan has no SocketCAN bus: then no socket is opened at all.
    pub fn new(plan: &Plan) -> io::Result<Option<Supervision>> {
        let watched: Vec<Watched> = plan
            .buses
            .iter()
            .enumerate()
            .filter_map(|(bus, description)| match &description.interface {
                Interface::SocketCan(interface) => Some(Watched {
                    bus,
                    name: description.name.clone(),
                    interface: interface.clone(),
                    fd: description.fd,
                    opened: None,
                    disagree: None,
                    buffer_told: false,
                    told: None,
                }),
                Interface::Virtual => None,
            })
            .collect();
        if watched.is_empty() { Ok(None) } else { Ok(Some(Supervision { links: Links::open()?, watched })) }
    }

    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Sockets came back from the real-time thread.
    pub fn closed(&mut self, bus: usize, sockets: Sockets) {
        for watched in &mut self.watched {
            if watched.bus == bus && watched.opened == Some(sockets.interface_index) {
                watched.opened = None;
            }
        }
    }

    /// Looks at every interface, and does what follows. `now`: CLOCK_MONOTONIC.
    pub fn look(&mut self, rt: &mut Handle, reader: &Reader, now: u64) {
        for watched in &mut self.watched {
            let problem = match self.links.ask(&watched.interface) {
                Ok(None) => {
                    watched.gone(rt, reader);
                    Some("the interface does not exist; waiting for it".to_owned())
                }
                Ok(Some(link)) if !link.can => Some("this is not a CAN interface".to_owned()),
                Ok(Some(link)) => watched.there(link, rt, reader, now).err().map(|error| {
                    let unknown = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT));
                    let remedy = if unknown { "; this kernel has no CAN sockets: modprobe can_raw" } else { "" };
                    format!("can't open sockets: {error}{remedy}")
                }),
                Err(error) => Some(format!("can't ask the kernel about the interface: {error}")),
            };
            watched.tell(problem);
        }
    }
}

impl Watched {
    fn gone(&mut self, rt: &mut Handle, reader: &Reader) {
        if reader.bus_state(self.bus) != BusState::Gone {
            // a full ring: the next look says it again
            let _ = rt.order(Order::State { bus: self.bus, state: BusState::Gone });
        }
    }

    fn there(&mut self, link: Link, rt: &mut Handle, reader: &Reader, now: u64) -> io::Result<()> {
        let state = link.state();
        if self.opened != Some(link.index) {
            let sockets = Sockets::open(link.index)?;
            let receive_buffer = sockets.receive_buffer;
            if rt.order(Order::Open { bus: self.bus, sockets, state }).is_err() {
                return Ok(());
            }
            self.opened = Some(link.index);
            info!(bus = %self.name, interface = %self.interface, state = state.word(), receive_buffer, "bus opened");
            if receive_buffer < FULL_RECEIVE_BUFFER && !self.buffer_told {
                self.buffer_told = true;
                warn!(bus = %self.name, receive_buffer, "the kernel gives little room for waiting frames; sysctl -w net.core.rmem_max=2097152 allows more");
            }
            if self.fd && link.mtu < FD_MTU {
                warn!(bus = %self.name, interface = %self.interface, mtu = link.mtu, "the interface is set up for classic CAN; CAN FD frames can't be sent");
            }
            return Ok(());
        }
        let current = reader.bus_state(self.bus);
        let there = |state| !matches!(state, BusState::Gone | BusState::Down);
        let wrong = if there(current) == there(state) {
            // Error frames are newer than this answer. Where they are missing, the driver is believed after a while.
            let disagree = link.driver_state.is_some_and(|driver| driver != current) && there(state);
            self.disagree = disagree.then(|| self.disagree.unwrap_or(now));
            self.disagree.is_some_and(|since| now - since >= DISAGREEMENT)
        } else {
            true
        };
        if wrong {
            // a full ring: the next look says it again
            let _ = rt.order(Order::State { bus: self.bus, state });
        }
        Ok(())
    }

    /// Logs a problem when it is new.
    fn tell(&mut self, problem: Option<String>) {
        if let Some(problem) = &problem
            && self.told.as_ref() != Some(problem)
        {
            warn!(bus = %self.name, interface = %self.interface, problem, "bus is not open");
        }
        self.told = problem;
    }
}
