//! Keeps the SocketCAN buses open: follows their interfaces by name, opens new sockets when one appears, tells the
//! real-time thread what the kernel says about them.

use std::io;

use tracing::{info, warn};

use super::managed::Managed;
use crate::bus::socketcan::Sockets;
use crate::link::Action;
use crate::netlink::{Link, Links, Setup};
use crate::plan::{Direction, Interface, Plan};
use crate::rt::{Handle, Order, Rates};
use crate::store::Reader;
use crate::store::layout::{BusState, FLAG_LISTEN_ONLY, FLAG_MODE_KNOWN};

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
    /// Something of ours leaves by it: messages, routes.
    sends: bool,
    bit_rate: Option<u32>,
    data_bit_rate: Option<u32>,
    /// `canvoy-link` looks after the interface, and was asked to set this one up.
    managed: bool,
    asked: Option<u32>,
    /// What the real-time thread was told to show, and what was told in the log.
    shown: Option<(u64, Rates)>,
    told_setup: Option<Setup>,
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
        let watched = watched(plan);
        if watched.is_empty() { Ok(None) } else { Ok(Some(Supervision { links: Links::open()?, watched })) }
    }

    /// Goes on with the interfaces that another plan names too, whose sockets have been taken over. What the real-time thread is to
    /// show of them is told again.
    pub fn adopt(&mut self, plan: &Plan) {
        let before = std::mem::replace(&mut self.watched, watched(plan));
        for watched in &mut self.watched {
            let same = |old: &&Watched| old.name == watched.name && old.interface == watched.interface;
            let Some(old) = before.iter().find(same) else { continue };
            (watched.opened, watched.asked, watched.disagree) = (old.opened, old.asked, old.disagree);
            (watched.buffer_told, watched.told) = (old.buffer_told, old.told.clone());
            watched.told_setup = old.told_setup.filter(|_| watched.managed == old.managed);
        }
    }

    pub fn links(&self) -> &Links {
        &self.links
    }
}

fn watched(plan: &Plan) -> Vec<Watched> {
    plan.buses
        .iter()
        .enumerate()
        .filter_map(|(bus, description)| match &description.interface {
            Interface::SocketCan(interface) => Some(Watched {
                bus,
                name: description.name.clone(),
                interface: interface.clone(),
                fd: description.fd,
                sends: sends(plan, bus),
                bit_rate: description.bit_rate,
                data_bit_rate: description.data_bit_rate,
                managed: description.managed,
                asked: None,
                shown: None,
                told_setup: None,
                opened: None,
                disagree: None,
                buffer_told: false,
                told: None,
            }),
            Interface::Virtual => None,
        })
        .collect()
}

impl Supervision {
    /// Sockets came back from the real-time thread.
    pub fn closed(&mut self, sockets: Sockets) {
        for watched in &mut self.watched {
            if watched.opened == Some(sockets.interface_index) {
                watched.opened = None;
            }
        }
    }

    /// Looks at every interface, and does what follows. `now`: CLOCK_MONOTONIC.
    pub fn look(&mut self, plan: &Plan, managed: &mut Managed, rt: &mut Handle, reader: &Reader, now: u64) {
        for watched in &mut self.watched {
            let problem = match self.links.ask(&watched.interface) {
                Ok(None) => {
                    watched.gone(rt, reader);
                    Some("the interface does not exist; waiting for it".to_owned())
                }
                Ok(Some(link)) if !link.can => Some("this is not a CAN interface".to_owned()),
                Ok(Some(link)) => watched.there(link, (plan, managed), rt, reader, now).err().map(|error| {
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
        (self.asked, self.told_setup) = (None, None);
        self.show(None, rt);
        if reader.bus_state(self.bus) != BusState::Gone {
            // a full ring: the next look says it again
            let _ = rt.order(Order::State { bus: self.bus, state: BusState::Gone });
        }
    }

    fn there(
        &mut self,
        link: Link,
        (plan, managed): (&Plan, &mut Managed),
        rt: &mut Handle,
        reader: &Reader,
        now: u64,
    ) -> io::Result<()> {
        let state = link.state();
        // Once for each interface that appears: who takes it down afterwards means it.
        if self.managed && self.asked != Some(link.index) && managed.ask(plan, self.bus, Action::Up) {
            self.asked = Some(link.index);
        }
        self.show(link.setup, rt);
        if link.up
            && let Some(setup) = link.setup
            && self.told_setup.replace(setup) != Some(setup)
        {
            for line in remarks(self.sends, self.bit_rate, self.data_bit_rate, &setup) {
                warn!(bus = %self.name, interface = %self.interface, "{line}");
            }
        }
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

    /// Has the real-time thread show how the controller is set up.
    fn show(&mut self, setup: Option<Setup>, rt: &mut Handle) {
        let listen_only = setup.is_some_and(|setup| setup.listen_only);
        let mode = if setup.is_some() { FLAG_MODE_KNOWN } else { 0 } | if listen_only { FLAG_LISTEN_ONLY } else { 0 };
        let rates = Rates {
            nominal: setup.map_or(0, |setup| setup.bit_rate.into()),
            // what a controller that is set up for classic CAN says about it means nothing
            data: setup.filter(|setup| setup.fd).map_or(0, |setup| setup.data_bit_rate.into()),
        };
        let shown = (mode, rates);
        if self.shown != Some(shown) && rt.order(Order::Setup { bus: self.bus, mode, rates }).is_ok() {
            self.shown = Some(shown);
        }
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

fn sends(plan: &Plan, bus: usize) -> bool {
    let messages = &plan.messages[plan.buses[bus].messages.clone()];
    messages.iter().any(|message| matches!(message.direction, Direction::Output(_)))
        || plan.routes.iter().any(|route| route.to == bus)
}

/// What is to be said about how a controller is set up, where the bus wants it otherwise.
fn remarks(sends: bool, bit_rate: Option<u32>, data_bit_rate: Option<u32>, setup: &Setup) -> Vec<String> {
    let mut lines = Vec::new();
    if sends && setup.listen_only {
        lines.push(
            "the controller is in listen-only mode: nothing that is sent gets on the wire; set listen-only off".into(),
        );
    }
    if !sends && !setup.listen_only {
        lines.push("nothing is sent on this bus, but the controller acknowledges the frames of others, and disturbs them where its bit rate is wrong; listen-only mode makes it silent (ListenOnly=yes, or ip link set ... type can listen-only on)".into());
    }
    for (what, wanted, set) in [
        ("bit rate", bit_rate, setup.bit_rate),
        // without CAN FD there is no such phase, whatever was set once
        ("data bit rate", data_bit_rate, if setup.fd { setup.data_bit_rate } else { 0 }),
    ] {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != set) {
            lines.push(format!("the interface has a {what} of {set} bit/s, the configuration says {wanted}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_the_controller_is_set_up() {
        let check = |sends, rates: (Option<u32>, Option<u32>), listen_only, fd, want: &[&str]| {
            let setup = Setup { listen_only, fd, bit_rate: 500_000, data_bit_rate: 2_000_000, restart_ms: 0 };
            let lines = remarks(sends, rates.0, rates.1, &setup);
            assert_eq!(lines.len(), want.len(), "{lines:?}");
            for (line, want) in lines.iter().zip(want) {
                assert!(line.contains(want), "{line} does not say {want}");
            }
        };
        check(true, (None, None), false, false, &[]);
        check(false, (None, None), true, false, &[]);
        check(true, (None, None), true, false, &["nothing that is sent gets on the wire"]);
        check(false, (None, None), false, true, &["acknowledges the frames of others"]);
        check(true, (Some(500_000), Some(2_000_000)), false, true, &[]);
        check(
            true,
            (Some(500_000), Some(2_000_000)),
            false,
            false,
            &["a data bit rate of 0 bit/s, the configuration says 2000000"],
        );
        check(
            true,
            (Some(250_000), Some(1_000_000)),
            true,
            true,
            &["listen-only", "a bit rate of 500000", "says 1000000"],
        );
    }
}
