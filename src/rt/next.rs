//! A plan that is ready to take the place of the one in force: made elsewhere, so that the change itself allocates nothing.

use super::machine::Slot;
use super::time::Time;
use crate::bus::Bus;
use crate::bus::socketcan::Port;
use crate::control::{Control, Now, Transmit};
use crate::plan::{Direction, Interface, Plan, Succession};
use crate::sim::Simulator;
use crate::store::layout::{FLAG_SIMULATED, Word};
use crate::store::{Writer, clock};

/// Nanoseconds that a change of plans takes at least, and for each record that goes on: until the next cycle there should be more.
const ROOM: u64 = 200_000;
const ROOM_FOR_RECORD: u64 = 100;

/// Everything that one plan needs in the real-time thread. Once it has been taken over, what the plan before needed: to be
/// freed where that does no harm.
pub struct Next {
    /// Which one it is, for who made it.
    pub number: u64,
    pub(super) buses: Vec<Slot>,
    pub(super) control: Control,
    pub(super) transmit: Transmit,
    pub(super) store: Writer,
    pub(super) simulator: Option<Simulator>,
    /// [`Word::Flags`] that come from the plan.
    pub(super) flags: u64,
    pub(super) succession: Succession,
    /// The moment that `control` was made for.
    pub(super) made: Now,
    /// Nanoseconds that are to be left until something is due.
    pub(super) room: u64,
}

impl Next {
    /// `old`: the plan in force.
    pub fn new(number: u64, old: &Plan, plan: &Plan, store: Writer, simulator: Option<Simulator>) -> Next {
        let made = Time::new().now();
        let succession = Succession::new(old, plan);
        let records: usize = succession.records.iter().map(|(_, _, count)| count).sum();
        Next {
            number,
            buses: slots(plan),
            control: Control::new(plan, made),
            transmit: Transmit::new(plan),
            store,
            simulator,
            flags: flags(plan),
            made,
            room: ROOM + ROOM_FOR_RECORD * records as u64,
            succession,
        }
    }

    /// Once it has been taken over: lets the old store look alive for readers that do not have the new one yet.
    pub fn keep_alive(&mut self) {
        self.store.set(Word::Heartbeat, clock::monotonic());
    }
}

/// The buses of a plan, all without sockets.
pub(super) fn slots(plan: &Plan) -> Vec<Slot> {
    let slot = |(index, bus): (usize, &crate::plan::Bus)| Slot {
        bus: match bus.interface {
            Interface::SocketCan(_) => Bus::SocketCan(Port::default()),
            Interface::Virtual => Bus::Virtual,
        },
        sends: plan.messages[bus.messages.clone()].iter().any(|m| matches!(m.direction, Direction::Output(_)))
            || plan.routes.iter().any(|route| route.to == index),
    };
    plan.buses.iter().enumerate().map(slot).collect()
}

pub(super) fn flags(plan: &Plan) -> u64 {
    if plan.simulated { FLAG_SIMULATED } else { 0 }
}
