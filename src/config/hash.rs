//! The hash of a plan: what two processes, or two runs, compare to know that they mean the same machine.

use sha2::{Digest, Sha256};

use crate::dbc::Codec;
use crate::plan::{Condition, Direction, Immediate, Interface, Plan, Restart, RestartPolicy, WhenDisarmed};
use crate::protection::{Checksum, Counter, Covers, DataId, Nibble, Protection, Resync, Scheme};

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
        hash.number(bus.listen);
        hash.bytes(bus.node.as_deref().unwrap_or_default().as_bytes());
        hash.restart(bus.restart);
        hash.option(bus.bit_rate.map(u64::from));
        hash.option(bus.data_bit_rate.map(u64::from));
        hash.number(bus.managed.into());
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
            hash.option(message.message.source_address.map(u64::from));
            match &message.direction {
                Direction::Input(reception) => {
                    hash.number(0);
                    hash.number(reception.deadlines.len() as u64);
                    reception.deadlines.iter().for_each(|deadline| hash.option(*deadline));
                    hash.number(reception.awaited.into());
                    hash.option(reception.shortest_interval);
                    hash.conditions(&reception.expected_when);
                }
                Direction::Output(transmission) => {
                    hash.number(1);
                    hash.option(transmission.period);
                    hash.number(transmission.stagger);
                    hash.number(transmission.active.is_some().into());
                    if let Some(active) = &transmission.active {
                        hash.number(active.period);
                        hash.number(active.last_frames.into());
                        hash.number(active.inactive.len() as u64);
                        for (group, bits) in &active.inactive {
                            hash.number(*group as u64);
                            hash.bytes(&bits.mask);
                            hash.bytes(&bits.bits);
                        }
                    }
                    hash.option(transmission.fast_period);
                    hash.number(transmission.repetitions.into());
                    hash.number(transmission.delay);
                    hash.number(transmission.start_delay);
                    hash.number(transmission.stale);
                    hash.number(transmission.budget);
                    hash.bytes(&transmission.start[..transmission.length]);
                    hash.bytes(&transmission.fallback[..transmission.length]);
                    hash.number((transmission.when_disarmed == WhenDisarmed::Silent).into());
                    hash.option(transmission.lease);
                    hash.bytes(format!("{:?}", (&transmission.vital, &transmission.fallback_on)).as_bytes());
                }
            }
            hash.number(message.protection.is_some().into());
            if let Some(protection) = &message.protection {
                hash.protection(protection);
            }
            hash.number(message.tags.len() as u64);
            for tag in &plan.tags[message.tags.clone()] {
                hash.number(tag.writable.into());
                hash.number(tag.forcible.into());
                hash.number(tag.retained.into());
                hash.number(match tag.immediate {
                    Immediate::No => 0,
                    Immediate::OnChange => 1,
                    Immediate::OnWrite => 2,
                });
                hash.number(tag.repeated.into());
            }
        }
    }
    // Every field with its name, so that one that is added later counts too.
    hash.bytes(
        format!("{:?}", (&plan.routes, &plan.links, &plan.machine, &plan.interlocks, &plan.instances)).as_bytes(),
    );
    hash.bytes(format!("{:?}", (&plan.limits, &plan.off_normals)).as_bytes());
    hash.bytes(format!("{:?}", plan.manufacturers).as_bytes());
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

    fn conditions(&mut self, conditions: &[Condition]) {
        self.number(conditions.len() as u64);
        for condition in conditions {
            self.number(condition.tag as u64);
            self.option(condition.source_address.map(u64::from));
            self.number(condition.comparison as u64);
            self.number(condition.value.to_bits());
        }
    }

    fn restart(&mut self, restart: Restart) {
        match restart.policy {
            RestartPolicy::Off => self.number(0),
            RestartPolicy::ByHand => self.number(1),
            RestartPolicy::Fixed(pause) => {
                self.number(2);
                self.number(pause);
            }
            RestartPolicy::Growing(first, longest) => {
                self.number(3);
                self.number(first);
                self.number(longest);
            }
        }
        self.number(restart.per_hour.into());
        self.number(restart.quarantine);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) {
        numbers.into_iter().for_each(|number| self.number(number));
    }

    fn protection(&mut self, protection: &Protection) {
        let Protection { scheme, length, max_delta, state, signals } = protection;
        match scheme {
            Scheme::Plain { counter, checksum } => {
                self.numbers([0, counter.is_some().into(), checksum.is_some().into()]);
                if let Some(Counter { codec, modulus }) = counter {
                    self.place(codec);
                    self.number(*modulus);
                }
                if let Some(checksum) = checksum {
                    let Checksum { codec, algorithm, covers, initial, final_xor, before, after } = checksum;
                    self.place(codec);
                    let covers = match covers {
                        Covers::Others => [0, 0, 0],
                        Covers::Bytes(first, last) => [1, (*first).into(), (*last).into()],
                    };
                    self.numbers([*algorithm as u64].into_iter().chain(covers).chain([*initial, *final_xor]));
                    self.bytes(before);
                    self.bytes(after);
                }
            }
            Scheme::Profile1 { crc, counter, data_id, resync } => {
                self.numbers([1, (*crc).into(), half(counter)]);
                self.data_id(data_id);
                self.resync(resync);
            }
            Scheme::Profile2 { data_ids, resync } => {
                self.number(2);
                self.bytes(data_ids);
                self.resync(resync);
            }
            Scheme::Profile5 { header, data_id } => self.numbers([5, (*header).into(), (*data_id).into()]),
            Scheme::Profile11 { crc, counter, data_id } => {
                self.numbers([11, (*crc).into(), half(counter)]);
                self.data_id(data_id);
            }
            Scheme::Profile22 { header, data_ids } => {
                self.numbers([22, (*header).into()]);
                self.bytes(data_ids);
            }
            Scheme::Tsc1 => self.number(3),
        }
        self.numbers([*length as u64, (*max_delta).into()]);
        self.numbers([state.window_init, state.window_valid, state.window_invalid].map(u64::from));
        self.numbers([state.min_ok_init, state.min_ok_valid, state.min_ok_invalid].map(u64::from));
        self.numbers([state.max_error_init, state.max_error_valid, state.max_error_invalid].map(u64::from));
        self.numbers([state.clear_to_invalid.into(), signals.len() as u64]);
        self.numbers(signals.iter().map(|signal| *signal as u64));
    }

    /// A signal's bits; factor and offset are in the DBC file.
    fn place(&mut self, codec: &Codec) {
        self.numbers([codec.start.into(), codec.size.into(), codec.order as u64]);
    }

    fn data_id(&mut self, data_id: &DataId) {
        self.numbers(match data_id {
            DataId::Both(id) => [0, (*id).into(), 0],
            DataId::Alternating(id) => [1, (*id).into(), 0],
            DataId::Low(id) => [2, (*id).into(), 0],
            DataId::Nibble(id, place) => [3, (*id).into(), half(place)],
        });
    }

    fn resync(&mut self, Resync { max_no_new_or_repeated, sync_counter }: &Resync) {
        self.numbers([(*max_no_new_or_repeated).into(), (*sync_counter).into()]);
    }
}

/// Half bytes from 0 on.
fn half(nibble: &Nibble) -> u64 {
    u64::from(nibble.byte) * 2 + u64::from(nibble.high)
}
