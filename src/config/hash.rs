//! The hash of a plan: what two processes, or two runs, compare to know that they mean the same machine.

use sha2::{Digest, Sha256};

use crate::plan::{Direction, Immediate, Interface, Plan};

/// SHA-256 over everything that concerns the machine: the resolved plan, and the DBC files of each bus as (name in the
/// configuration, bytes). Plant-side settings are no part of it.
pub fn hash(plan: &Plan, dbc: &[Vec<(&str, &[u8])>]) -> [u8; 32] {
    let mut hash = Canonical(Sha256::new());
    hash.bytes(env!("CARGO_PKG_VERSION").as_bytes());
    hash.number(plan.simulated.into());
    hash.number(plan.buses.len() as u64);
    for (bus, files) in plan.buses.iter().zip(dbc) {
        hash.bytes(bus.name.as_bytes());
        match &bus.interface {
            Interface::SocketCan(name) => hash.bytes(name.as_bytes()),
            // no interface has an empty name
            Interface::Virtual => hash.bytes(b""),
        }
        hash.number(bus.fd.into());
        hash.bytes(bus.node.as_deref().unwrap_or_default().as_bytes());
        hash.number(files.len() as u64);
        for (name, bytes) in files {
            hash.bytes(name.as_bytes());
            hash.bytes(bytes);
        }
        hash.number(bus.messages.len() as u64);
        for message in &plan.messages[bus.messages.clone()] {
            hash.bytes(message.message.name.as_bytes());
            hash.number(message.message.id.bits().into());
            hash.number(message.sources as u64);
            match &message.direction {
                Direction::Input(reception) => {
                    hash.number(0);
                    hash.number(reception.deadlines.len() as u64);
                    reception.deadlines.iter().for_each(|deadline| hash.option(*deadline));
                }
                Direction::Output(transmission) => {
                    hash.number(1);
                    hash.option(transmission.period);
                    hash.number(transmission.start_delay);
                    hash.bytes(&transmission.start[..transmission.length]);
                }
            }
            hash.number(message.tags.len() as u64);
            for tag in &plan.tags[message.tags.clone()] {
                hash.number(tag.writable.into());
                hash.number(match tag.immediate {
                    Immediate::No => 0,
                    Immediate::OnChange => 1,
                    Immediate::OnWrite => 2,
                });
            }
        }
    }
    hash.0.finalize().into()
}

/// Numbers have a fixed size and texts their length in front, so that no two plans give the same bytes.
struct Canonical(Sha256);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn option(&mut self, number: Option<u64>) {
        self.number(number.is_some().into());
        self.number(number.unwrap_or_default());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }
}
