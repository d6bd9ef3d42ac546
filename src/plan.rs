//! Configuration and DBC resolved to dense indices: the one description of a plant that both processes work from.

use std::ops::Range;
use std::sync::Arc;

use crate::can::MAX_LEN;
use crate::dbc;

/// Index into [`Plan::buses`].
pub type BusIndex = usize;
/// Index into [`Plan::messages`].
pub type MessageIndex = usize;
/// Index into [`Plan::tags`].
pub type TagIndex = usize;

/// Everything that concerns the machine. Built by `config` from the bytes of the configuration and the DBC files, so
/// the same bytes give the same plan in both processes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// SHA-256 over what concerns the machine: buses, DBC bytes, rights. Plant-side settings are outside.
    pub hash: [u8; 32],
    /// Devices are simulated: every value carries that cause.
    pub simulated: bool,
    /// Sorted by name.
    pub buses: Vec<Bus>,
    /// By bus; within a bus sorted by name.
    pub messages: Vec<Message>,
    /// By message; within a message in the order of the DBC.
    pub tags: Vec<Tag>,
    /// Number of records in the store.
    pub records: usize,
}

#[derive(Clone, Debug)]
pub struct Bus {
    /// The name in `[bus.NAME]`.
    pub name: String,
    pub interface: Interface,
    /// CAN FD frames are received and may be sent.
    pub fd: bool,
    /// The `BU_` that we are on this bus.
    pub node: Option<String>,
    pub messages: Range<MessageIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// A Linux network interface, `can0`.
    SocketCan(String),
    /// Inside the controller process; its other nodes are simulated.
    Virtual,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub bus: BusIndex,
    pub message: Arc<dbc::Message>,
    pub direction: Direction,
    /// J1939: how many source addresses are kept apart at most. 1 for all others.
    pub sources: usize,
    /// Index of the first record; [`Message::record`] gives the others.
    pub first_record: usize,
    pub tags: Range<TagIndex>,
}

impl Message {
    /// The record of one group of signals, for one source (0 unless J1939).
    pub fn record(&self, source: usize, group: usize) -> usize {
        self.first_record + source * self.message.groups.len() + group
    }

    /// How many records the message has.
    pub fn records(&self) -> usize {
        self.sources * self.message.groups.len()
    }
}

#[derive(Clone, Debug)]
pub enum Direction {
    /// Received. `deadline`: nanoseconds after which it is late; `None`: never.
    Input { deadline: Option<u64> },
    /// Sent by us.
    Output(Transmission),
}

/// How one of our messages is sent.
#[derive(Clone, Debug)]
pub struct Transmission {
    /// Nanoseconds; `None`: not cyclic.
    pub period: Option<u64>,
    /// Nanoseconds from the start of the controller to the first frame.
    pub start_delay: u64,
    /// Bytes on the wire (a DLC length).
    pub length: usize,
    /// Payload at start: the start values.
    pub start: [u8; MAX_LEN],
}

/// When a write sends a frame at once, besides the cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub enum Immediate {
    /// With the next cycle.
    #[default]
    No,
    /// When the payload changes.
    OnChange,
    /// With every write.
    OnWrite,
}

#[derive(Clone, Debug)]
pub struct Tag {
    pub message: MessageIndex,
    /// Index into the DBC message's signals.
    pub signal: usize,
    /// The plant may write it.
    pub writable: bool,
    /// What a write to it does beyond changing the next frame.
    pub immediate: Immediate,
}

impl Plan {
    /// The signal behind a tag.
    pub fn signal(&self, tag: TagIndex) -> &dbc::Signal {
        let tag = &self.tags[tag];
        &self.messages[tag.message].message.signals[tag.signal]
    }

    /// `bus.Message.Signal`; with a J1939 source address `bus.Message@SA.Signal` (decimal address).
    pub fn tag_name(&self, tag: TagIndex, source_address: Option<u8>) -> String {
        let message = self.tags[tag].message;
        format!("{}.{}", self.message_name(message, source_address), self.signal(tag).name)
    }

    /// `bus.Message` or `bus.Message@SA`.
    pub fn message_name(&self, message: MessageIndex, source_address: Option<u8>) -> String {
        let message = &self.messages[message];
        let bus = &self.buses[message.bus].name;
        match source_address {
            Some(address) => format!("{bus}.{}@{address}", message.message.name),
            None => format!("{bus}.{}", message.message.name),
        }
    }

    /// The first 8 bytes of the hash, as the store's header has them.
    pub fn hash_word(&self) -> u64 {
        self.hash[..8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
    }

    /// First 12 hexadecimal digits of the hash, for people.
    pub fn short_hash(&self) -> String {
        self.hash[..6].iter().map(|b| format!("{b:02x}")).collect()
    }
}
