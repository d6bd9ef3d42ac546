//! The devices' messages as tables of names and functions, and their binding to what the DBC says.

use super::World;
use super::world::{Device, Fault};
use crate::can::{Frame, FrameId, MAX_LEN};
use crate::dbc::codec::Kind;
use crate::dbc::{self, Codec, Raw};
use crate::sim::empty_frame;

/// A message that a device sends.
pub struct Sent {
    pub bus: &'static str,
    pub message: &'static str,
    pub device: Device,
    /// J1939: the sender's address.
    pub source_address: Option<u8>,
    pub timing: Timing,
    pub signals: Vec<(&'static str, Source)>,
}

/// When a device sends a message.
pub enum Timing {
    /// With the cycle time of the DBC.
    Cyclic,
    /// When this number has changed.
    Event(fn(&World) -> u64),
}

/// Where a signal's value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// Engineering value; NaN for "not available".
    Value(fn(&World) -> f64),
    /// Engineering value for what the selector of the signal's branch says.
    Selected(fn(&World, u64) -> f64),
    /// Raw value of a counter that `f64` could not hold.
    Raw(fn(&World) -> u64),
    /// Counts the frames: 0 to one below the modulus.
    Counter { modulus: u64, stuck_by: Option<Fault> },
    /// Steps through these raw values, each for so many frames.
    Page { values: &'static [u64], frames: u64 },
    /// CRC-8 SAE J1850 over all bytes before it.
    Checksum { wrong_by: Option<Fault> },
}

/// What a device does with the engineering value of a command.
pub type Apply = fn(&mut World, f64);

/// A command that a device listens to.
pub struct Received {
    pub bus: &'static str,
    pub message: &'static str,
    /// Called for each frame, before its signals.
    pub arrived: fn(&mut World),
    pub signals: Vec<(&'static str, Apply)>,
}

/// Why a table does not fit the DBC files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("the demo plant needs message {bus}.{message}, which the DBC files do not have")]
    Message { bus: String, message: String },
    #[error("the demo plant needs signal {bus}.{message}.{signal}, which the DBC files do not have")]
    Signal { bus: String, message: String, signal: String },
    #[error("no simulated device gives {bus}.{message}.{signal} a value")]
    NoSource { bus: String, message: String, signal: String },
    #[error("{bus}.{message} is too long for one frame or has no cycle time")]
    Frame { bus: String, message: String },
}

/// Which raw values of which selector make a signal present.
#[derive(Debug)]
struct Condition {
    selector: Codec,
    ranges: Vec<(i128, i128)>,
}

#[derive(Debug)]
struct Field {
    codec: Codec,
    source: Source,
    conditions: Vec<Condition>,
    /// What the sender writes for "not available".
    not_available: Raw,
    /// Frames counted so far, for [`Source::Counter`].
    count: u64,
}

/// A message that a device sends, bound to the DBC.
#[derive(Debug)]
pub struct Output {
    pub bus: usize,
    pub device: Device,
    /// Nanoseconds; `None` for an event.
    pub period: Option<u64>,
    event: Option<fn(&World) -> u64>,
    last_event: u64,
    frame: Frame,
    sent: u64,
    /// Selectors before what they select.
    fields: Vec<Field>,
}

/// A command that a device listens to, bound to the DBC.
#[derive(Debug)]
pub struct Input {
    bus: usize,
    id: FrameId,
    arrived: fn(&mut World),
    fields: Vec<Order>,
}

/// One signal of a command.
#[derive(Debug)]
struct Order {
    codec: Codec,
    conditions: Vec<Condition>,
    apply: Apply,
}

impl Sent {
    /// `bus`: index of the bus in the plan.
    pub fn bind(self, bus: usize, message: &dbc::Message) -> Result<Output, BindError> {
        let mut fields = Vec::with_capacity(self.signals.len());
        for &(name, source) in &self.signals {
            let signal = find(self.bus, message, name)?;
            let not_available = signal.value_table.iter().find(|(_, word)| word == "SNA").map(|(raw, _)| *raw);
            fields.push(Field {
                codec: signal.codec,
                source,
                conditions: conditions(message, signal),
                not_available: not_available
                    .and_then(|raw| Raw::from_i128(signal.codec.kind, raw))
                    .unwrap_or_else(|| all_ones(&signal.codec)),
                count: 0,
            });
        }
        let names = |signal: &&dbc::Signal| !self.signals.iter().any(|(name, _)| *name == signal.name);
        if let Some(signal) = message.signals.iter().find(names) {
            return Err(BindError::NoSource {
                bus: self.bus.into(),
                message: self.message.into(),
                signal: signal.name.clone(),
            });
        }
        fields.sort_by_key(|field| field.conditions.len());
        let (period, event) = match self.timing {
            Timing::Cyclic => (message.cycle_time.map(|time| time.as_nanos() as u64), None),
            Timing::Event(number) => (None, Some(number)),
        };
        let frame = empty_frame(message, self.source_address).filter(|_| period.is_some() || event.is_some());
        let Some(frame) = frame else {
            return Err(BindError::Frame { bus: self.bus.into(), message: self.message.into() });
        };
        Ok(Output { bus, device: self.device, period, event, last_event: 0, frame, sent: 0, fields })
    }
}

impl Output {
    /// Whether something happened that this message reports.
    pub fn event(&mut self, world: &World) -> bool {
        let Some(number) = self.event else { return false };
        let number = number(world);
        let happened = number != self.last_event;
        self.last_event = number;
        happened
    }

    /// The next frame.
    pub fn encode(&mut self, world: &World) -> &Frame {
        let sent = self.sent;
        let payload = self.frame.payload_mut();
        payload.fill(0);
        for field in &mut self.fields {
            if !present(&field.conditions, payload) {
                continue;
            }
            let raw = match field.source {
                Source::Value(value) => field.raw_of(value(world)),
                Source::Selected(value) => {
                    let selected = field.conditions.last().and_then(|c| c.selector.bits(payload)).unwrap_or(0);
                    field.raw_of(value(world, selected))
                }
                Source::Raw(value) => Raw::from_bits(field.codec.kind, value(world)),
                Source::Counter { modulus, stuck_by } => {
                    let count = field.count;
                    if !stuck_by.is_some_and(|fault| fault == world.fault) {
                        field.count = (count + 1) % modulus;
                    }
                    Raw::from_bits(field.codec.kind, count)
                }
                Source::Page { values, frames } => {
                    let page = (sent / frames) as usize % values.len();
                    Raw::from_bits(field.codec.kind, values.get(page).copied().unwrap_or(0))
                }
                Source::Checksum { wrong_by } => {
                    let bytes = payload.get(..field.codec.start as usize / 8).unwrap_or(&[]);
                    let checksum = crc8_j1850(bytes);
                    let wrong = wrong_by.is_some_and(|fault| fault == world.fault);
                    Raw::Unsigned(if wrong { !checksum } else { checksum } as u64)
                }
            };
            // a device's register saturates in `raw_of`; nothing else can fail in a message that was bound
            let _ = field.codec.insert(raw, payload);
        }
        self.sent += 1;
        &self.frame
    }
}

impl Field {
    /// Saturates where the signal's bits do not hold the value, as a device's register does.
    fn raw_of(&self, value: f64) -> Raw {
        if value.is_nan() {
            return self.not_available;
        }
        let (low, high) = self.codec.engineering_limits();
        self.codec.to_raw(value.clamp(low, high)).unwrap_or(self.not_available)
    }
}

impl Received {
    /// `bus`: index of the bus in the plan.
    pub fn bind(self, bus: usize, message: &dbc::Message) -> Result<Input, BindError> {
        let mut fields = Vec::with_capacity(self.signals.len());
        for &(name, apply) in &self.signals {
            let signal = find(self.bus, message, name)?;
            fields.push(Order { codec: signal.codec, conditions: conditions(message, signal), apply });
        }
        Ok(Input { bus, id: message.id, arrived: self.arrived, fields })
    }
}

impl Input {
    /// Takes the command over where the frame is this message.
    pub fn take(&self, bus: usize, frame: &Frame, world: &mut World) {
        if (bus, frame.id) == (self.bus, self.id) {
            (self.arrived)(world);
            self.apply(frame.payload(), world);
        }
    }

    /// Hands the signals that are present to the device.
    pub fn apply(&self, payload: &[u8], world: &mut World) {
        for order in &self.fields {
            let raw = order.codec.raw(payload).filter(|_| present(&order.conditions, payload));
            let Some(raw) = raw else { continue };
            let value = order.codec.engineering(raw);
            // a float signal can carry NaN: no command
            if value.is_finite() {
                (order.apply)(world, value);
            }
        }
    }
}

fn find<'a>(bus: &str, message: &'a dbc::Message, name: &str) -> Result<&'a dbc::Signal, BindError> {
    message.signals.iter().find(|signal| signal.name == name).ok_or_else(|| BindError::Signal {
        bus: bus.into(),
        message: message.name.clone(),
        signal: name.into(),
    })
}

fn conditions(message: &dbc::Message, signal: &dbc::Signal) -> Vec<Condition> {
    let group = message.groups.get(signal.group).map_or(&[][..], |group| &group.conditions);
    let bind = |condition: &dbc::Condition| {
        let selector = message.signals.get(condition.selector)?.codec;
        Some(Condition { selector, ranges: condition.ranges.clone() })
    };
    group.iter().filter_map(bind).collect()
}

fn present(conditions: &[Condition], payload: &[u8]) -> bool {
    conditions.iter().all(|condition| {
        let selected = condition.selector.raw(payload).and_then(Raw::as_i128);
        selected.is_some_and(|raw| condition.ranges.iter().any(|(low, high)| (*low..=*high).contains(&raw)))
    })
}

/// The payload that the start values make. Of branches that exclude each other, those are in it that the selectors'
/// start values select.
pub fn start_payload(message: &dbc::Message) -> [u8; MAX_LEN] {
    let mut payload = [0; MAX_LEN];
    let mut signals: Vec<_> = message.signals.iter().map(|signal| (conditions(message, signal), signal)).collect();
    signals.sort_by_key(|(conditions, _)| conditions.len());
    for (conditions, signal) in signals {
        if let Some(start) = signal.start_value.filter(|_| present(&conditions, &payload)) {
            // one that does not fit is a mistake of the DBC file and was reported when it was read
            let _ = signal.codec.insert(start, &mut payload);
        }
    }
    payload
}

/// What J1939 and most others send for "not available" (SAE J1939-71, 5.1.4).
fn all_ones(codec: &Codec) -> Raw {
    match codec.kind {
        Kind::Unsigned => Raw::Unsigned(u64::MAX >> (64 - codec.size as u32)),
        Kind::Signed => Raw::Signed(-1),
        Kind::F32 => Raw::F32(f32::NAN.to_bits()),
        Kind::F64 => Raw::F64(f64::NAN.to_bits()),
    }
}

/// Polynomial 0x1D, start value 0xFF, inverted at the end (SAE J1850).
pub fn crc8_j1850(bytes: &[u8]) -> u8 {
    let shift = |crc: u8, _| if crc & 0x80 != 0 { crc << 1 ^ 0x1D } else { crc << 1 };
    !bytes.iter().fold(0xFF, |crc, byte| (0..8).fold(crc ^ byte, shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_catalogue() {
        // the check value of CRC-8/SAE-J1850
        assert_eq!(crc8_j1850(b"123456789"), 0x4B);
    }
}
