//! Configuration and DBC resolved to dense indices: the one description of a plant that both processes work from.

mod alarm;
mod consequence;
mod limit;
mod succession;
mod traffic;
mod transmission;
mod watched;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

pub use alarm::Alarm;
pub use limit::{Level, Limit, OffNormal};
pub use succession::{Succession, same_layout};
pub use traffic::{Edit, Filter, Format, IdChange, Interlock, Link, Mapping, Otherwise, Route, WhenBad};
pub use transmission::{Active, Bits, FallbackOn, Transmission, Vital, WhenDisarmed};
pub use watched::{Contract, Timed};

use crate::dbc;
use crate::protection::Protection;

/// Index into [`Plan::buses`].
pub type BusIndex = usize;
/// Index into [`Plan::messages`].
pub type MessageIndex = usize;
/// Index into [`Plan::tags`].
pub type TagIndex = usize;

/// Index into [`Plan::instances`].
pub type InstanceIndex = usize;
/// Index into [`Plan::routes`].
pub type RouteIndex = usize;
/// Index into [`Plan::links`].
pub type LinkIndex = usize;
/// Index into [`Plan::interlocks`].
pub type InterlockIndex = usize;
/// Index into [`Plan::contracts`].
pub type ContractIndex = usize;
/// Index into [`Plan::alarms`].
pub type AlarmIndex = usize;

/// Everything that concerns the machine. Built by `config` from the bytes of the configuration and the DBC files, so
/// the same bytes give the same plan in both processes.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// SHA-256 over what concerns the machine: buses, DBC bytes, rights. Plant-side settings are outside.
    pub hash: [u8; 32],
    /// Devices are simulated: every value carries that cause.
    pub simulated: bool,
    pub machine: Machine,
    /// Sorted by name.
    pub buses: Vec<Bus>,
    /// By bus; within a bus sorted by name.
    pub messages: Vec<Message>,
    /// By message; within a message in the order of the DBC.
    pub tags: Vec<Tag>,
    /// By bus; within a bus sorted by name.
    pub instances: Vec<Instance>,
    /// What overlay tables say about tags beside unit, limits and comment, which are the signal's own.
    pub tag_overlays: BTreeMap<TagIndex, Overlay>,
    /// The same about messages.
    pub message_overlays: BTreeMap<MessageIndex, Overlay>,
    /// What people call J1939 manufacturers, by the code that is in the NAME of a device.
    pub manufacturers: BTreeMap<u16, String>,
    /// In which they have texts.
    pub locales: BTreeSet<String>,
    /// Sorted by name; one that goes both ways is two.
    pub routes: Vec<Route>,
    /// Sorted by name.
    pub links: Vec<Link>,
    /// Sorted by name; an earlier one is stronger where two hold the same signal.
    pub interlocks: Vec<Interlock>,
    /// What has a time to keep: routes, links, cyclic messages.
    pub contracts: Vec<Contract>,
    /// Sorted by name.
    pub limits: Vec<Limit>,
    /// Sorted by name; no name is among both.
    pub off_normals: Vec<OffNormal>,
    /// Everything that can be wrong, known before it is.
    pub alarms: Vec<Alarm>,
    /// By alarm, see [`Plan::causes`].
    pub alarm_causes: Vec<Box<[AlarmIndex]>>,
    /// Number of records in the store.
    pub records: usize,
}

/// What concerns all buses together.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Machine {
    pub arm: Arm,
    /// All hold: the machine is in Local, and the plant may not make it do anything. Empty: Local and Remote are switched by command only.
    pub local_when: Vec<Condition>,
    /// A cyclic frame that misses its budget takes the outputs of its bus to their fallback values.
    pub fallback_on_overrun: bool,
    /// The plant too may switch from Local to Remote.
    pub remote_from_plant: bool,
    /// All must hold for another plan to take the place of this one. Empty: at any time.
    pub reload_when: Vec<Condition>,
    /// Nanoseconds after a reload within which missed budgets bring the plan before it back; 0: never.
    pub reload_trial: u64,
}

/// How the outputs leave their fallback values after a start. After a crash it is always by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Arm {
    /// By itself, once every bus with outputs was listened to.
    #[default]
    AtStart,
    /// By the command.
    ByHand,
}

/// A comparison with the engineering value of a tag. A tag that is not good compares as neither true nor false: who asks
/// says which of the two is meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub tag: TagIndex,
    /// J1939: the source address that counts; `None` for all others.
    pub source_address: Option<u8>,
    pub comparison: Comparison,
    /// In the signal's unit.
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Comparison {
    /// As a configuration writes it.
    pub fn operator(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
        }
    }

    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Below => left < right,
            Comparison::AtMost => left <= right,
            Comparison::Above => left > right,
            Comparison::AtLeast => left >= right,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Bus {
    /// The name in `[bus.NAME]`.
    pub name: String,
    pub interface: Interface,
    /// CAN FD frames are received and may be sent.
    pub fd: bool,
    /// The `BU_` that we are on this bus.
    pub node: Option<String>,
    pub messages: Range<MessageIndex>,
    /// Its table of J1939 NAMEs in the store; `None` where the DBC files describe no J1939 message.
    pub names: Option<usize>,
    /// Nanoseconds that we listen for our own identifiers before the first frame of ours.
    pub listen: u64,
    /// Room for frames that wait to be sent, besides one for each message of ours.
    pub transmit_queue: usize,
    pub restart: Restart,
    /// Bit/s, for the `canvoy-link` helper, to be compared with what is set, and for the load of a bus that does not tell its
    /// own; `None`: not our affair.
    pub bit_rate: Option<u32>,
    /// Bit/s of the data phase of CAN FD.
    pub data_bit_rate: Option<u32>,
    /// `canvoy-link` sets the interface up, with the bit rates, and restarts it.
    pub managed: bool,
}

/// What happens after bus-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    pub policy: RestartPolicy,
    /// Most restarts within an hour; then by hand only.
    pub per_hour: u32,
    /// Nanoseconds after a restart in which nothing of ours is sent.
    pub quarantine: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Not by us (the driver's restart-ms, or somebody else).
    Off,
    /// By the command only.
    ByHand,
    /// Always after so many nanoseconds.
    Fixed(u64),
    /// After the first so many nanoseconds, each time twice as long up to the second.
    Growing(u64, u64),
}

/// After 1 s, then more slowly, at most ten times an hour.
impl Default for Restart {
    fn default() -> Restart {
        Restart { policy: RestartPolicy::Growing(1_000_000_000, 60_000_000_000), per_hour: 10, quarantine: 200_000_000 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// A Linux network interface, `can0`.
    SocketCan(String),
    /// Inside the controller process; its other nodes are simulated.
    #[default]
    Virtual,
}

/// One of several alike devices of a bus: its messages are those of its type, with its name before theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    pub bus: BusIndex,
    pub name: String,
    /// The name in `[bus.NAME.device.TYPE]`.
    pub device: String,
}

/// Words for people about a tag or a message, from an overlay table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    pub alias: Option<String>,
    /// Where in the plant.
    pub area: Option<String>,
    /// By locale (BCP 47); sorted. The one without a locale is `alias`.
    pub aliases: Vec<(String, String)>,
    /// By locale; sorted. The one without a locale is the comment.
    pub descriptions: Vec<(String, String)>,
    /// By locale, sorted: words of the value table by raw value, sorted.
    pub words: Vec<(String, Vec<(i128, String)>)>,
}

impl Overlay {
    /// The locales that it has something in, some several times.
    pub fn locales(&self) -> impl Iterator<Item = &String> {
        let texts = self.aliases.iter().chain(&self.descriptions).map(|(locale, _)| locale);
        texts.chain(self.words.iter().map(|(locale, _)| locale))
    }
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
    /// Counter and checksum: written where we send the message, checked where we receive it. What it writes nobody else does.
    pub protection: Option<Protection>,
    /// The device it belongs to, where one DBC file describes several alike.
    pub instance: Option<InstanceIndex>,
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
    /// Received.
    Input(Reception),
    /// Sent by us.
    Output(Box<Transmission>),
}

/// How one of the others' messages is expected.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Reception {
    /// For each group of signals: nanoseconds after which it is late; `None`: never. That of group 0 is the message's own:
    /// any frame keeps it, and with it all groups are late.
    pub deadlines: Vec<Option<u64>>,
    /// It is late too where it never came: from the moment that its bus is there. Not with J1939, whose senders are known
    /// by their frames only.
    pub awaited: bool,
    /// Only while all hold it is expected; otherwise it is "switched off", not late. Empty: always.
    pub expected_when: Vec<Condition>,
    /// Nanoseconds: frames that come closer together than this are counted. `None`: not watched.
    pub shortest_interval: Option<u64>,
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

#[derive(Clone, Debug, Default)]
pub struct Tag {
    pub message: MessageIndex,
    /// Index into the DBC message's signals.
    pub signal: usize,
    /// The plant may write it.
    pub writable: bool,
    /// The link that owns it. Never together with `writable`.
    pub link: Option<LinkIndex>,
    /// An operator may force it.
    pub forcible: bool,
    /// What the plant wrote last outlives disarming and restarts. Only together with `writable`, never multiplexed.
    pub retained: bool,
    /// What a write to it does beyond changing the next frame.
    pub immediate: Immediate,
    /// The write starts the message's repetitions too.
    pub repeated: bool,
}

impl Plan {
    /// The signal behind a tag.
    pub fn signal(&self, tag: TagIndex) -> &dbc::Signal {
        let tag = &self.tags[tag];
        &self.messages[tag.message].message.signals[tag.signal]
    }

    /// The tag's name for people, where an overlay table has one.
    pub fn alias(&self, tag: TagIndex) -> Option<&str> {
        self.tag_overlays.get(&tag)?.alias.as_deref()
    }

    /// Where in the plant the tag belongs: its own area, else its message's.
    pub fn area(&self, tag: TagIndex) -> Option<&str> {
        let own = self.tag_overlays.get(&tag).and_then(|overlay| overlay.area.as_deref());
        own.or_else(|| self.message_overlays.get(&self.tags[tag].message)?.area.as_deref())
    }

    /// Whether the signal is a counter or checksum that we write with each frame: nobody else has a say in it.
    pub fn is_protection(&self, tag: TagIndex) -> bool {
        let tag = &self.tags[tag];
        let message = &self.messages[tag.message];
        let sent = matches!(message.direction, Direction::Output(_));
        sent && message.protection.as_ref().is_some_and(|protection| protection.signals.contains(&tag.signal))
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

    /// As a configuration writes it; a word of a value table as its number.
    pub fn condition_text(&self, condition: &Condition) -> String {
        let Condition { tag, source_address, comparison, value } = condition;
        format!("{} {} {value}", self.tag_name(*tag, *source_address), comparison.operator())
    }

    /// All of the hash, hexadecimal.
    pub fn hash_text(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// First 12 hexadecimal digits of the hash, for people.
    pub fn short_hash(&self) -> String {
        self.hash[..6].iter().map(|b| format!("{b:02x}")).collect()
    }
}
