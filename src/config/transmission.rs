//! How a message is sent or awaited: what the DBC says about cycles and send types, with the overrides of the configuration.

use super::written::{Override, Send};
use crate::can::{MAX_CLASSIC_LEN, MAX_LEN, fd_len};
use crate::dbc::{self, Raw, SendType};
use crate::plan::{Immediate, Transmission};

const NS_PER_MS: u64 = 1_000_000;
/// Nothing on a CAN bus is faster than a frame of about 50 µs; a cycle below this is a slip of the unit.
const SHORTEST_PERIOD: u64 = 100_000;

/// A message to be sent.
pub struct Sending {
    pub transmission: Transmission,
    /// For each signal.
    pub immediate: Vec<Immediate>,
    /// What the user should know, about the DBC file.
    pub warnings: Vec<String>,
}

impl Sending {
    /// Neither a cycle nor a write ever sends it.
    pub fn never(&self) -> bool {
        self.transmission.period.is_none() && self.immediate.iter().all(|immediate| *immediate == Immediate::No)
    }
}

/// Whether the DBC means the message to come at its cycle time.
pub fn cyclic(message: &dbc::Message) -> bool {
    match message.send_type {
        SendType::Cyclic | SendType::CyclicAndOnWrite | SendType::Unspecified => true,
        SendType::OnWrite | SendType::OnChange | SendType::IfActive => false,
        // "no message send type": its signals decide
        SendType::None => {
            message.signals.iter().any(|s| matches!(s.send_type, SendType::Cyclic | SendType::CyclicAndOnWrite))
        }
    }
}

/// The cycle time in nanoseconds.
pub fn cycle(message: &dbc::Message) -> Option<u64> {
    let cycle = u64::try_from(message.cycle_time?.as_nanos()).unwrap_or(u64::MAX);
    (cycle > 0).then_some(cycle)
}

/// Why a message can't be sent.
pub struct CantSend {
    pub reason: String,
    /// The override of the configuration is wrong, not the message.
    pub by_override: bool,
}

/// What the DBC and the override say about sending a message.
pub fn sending(message: &dbc::Message, over: &Override) -> Result<Sending, CantSend> {
    let mut warnings = Vec::new();
    let length = length(message).map_err(|reason| CantSend { reason, by_override: false })?;
    let period = period(message, over, &mut warnings).map_err(|reason| CantSend { reason, by_override: true })?;
    if let Some(period) = period.filter(|period| *period < SHORTEST_PERIOD) {
        let ms = period as f64 / NS_PER_MS as f64;
        let reason = format!("its cycle time of {ms} ms is too short for a CAN bus; set cycle_ms");
        return Err(CantSend { reason, by_override: false });
    }
    let immediate = message.signals.iter().map(|signal| immediate(message, signal, over)).collect();
    let start = start_payload(message, length, &mut warnings);
    let start_delay = u64::try_from(message.start_delay.as_nanos()).unwrap_or(u64::MAX);
    let transmission = Transmission { start_delay, ..Transmission::new(length, start, period) };
    Ok(Sending { transmission, immediate, warnings })
}

fn period(message: &dbc::Message, over: &Override, warnings: &mut Vec<String>) -> Result<Option<u64>, String> {
    let written = over.cycle_ms.map(|ms| (ms.max(0) as u64).saturating_mul(NS_PER_MS));
    match (over.send, written) {
        (Some(Send::OnWrite | Send::OnChange), Some(1..)) => {
            Err("with a cycle_ms it is also sent cyclically; write send = \"cyclic-and-on-write\"".into())
        }
        (Some(Send::OnWrite | Send::OnChange), _) | (None, Some(0)) => Ok(None),
        (Some(Send::Cyclic | Send::CyclicAndOnWrite), written) => match written.or(cycle(message)) {
            None => Err("the DBC file gives no cycle time; add cycle_ms".into()),
            Some(0) => Err("cycle_ms = 0 means not cyclic; set a time, or another send".into()),
            some => Ok(some),
        },
        (None, Some(period)) => Ok(Some(period)),
        (None, None) if message.send_type == SendType::IfActive => {
            let period = cycle(message);
            if period.is_some() {
                warnings.push(format!(
                    "{}: its send type is \"cyclic if active\"; it is sent cyclically all the time. cycle_ms = 0 stops that",
                    message.name
                ));
            }
            Ok(period)
        }
        (None, None) => Ok(cycle(message).filter(|_| cyclic(message))),
    }
}

/// Bytes on the wire.
fn length(message: &dbc::Message) -> Result<usize, String> {
    let length = usize::from(message.length);
    let longest = if message.fd { MAX_LEN } else { MAX_CLASSIC_LEN };
    if length > longest {
        return Err(if message.pgn.is_some() {
            format!("it has {length} bytes; the J1939 transport protocol, which that needs, is not supported")
        } else if message.fd {
            format!("it has {length} bytes; a CAN FD frame has at most {MAX_LEN}")
        } else {
            format!(
                "it has {length} bytes; a classic CAN frame has at most {MAX_CLASSIC_LEN}. If it is CAN FD, the DBC file must say so (VFrameFormat)"
            )
        });
    }
    Ok(fd_len(length).unwrap_or(length))
}

fn immediate(message: &dbc::Message, signal: &dbc::Signal, over: &Override) -> Immediate {
    match over.send {
        Some(Send::Cyclic) => Immediate::No,
        Some(Send::OnWrite | Send::CyclicAndOnWrite) => Immediate::OnWrite,
        Some(Send::OnChange) => Immediate::OnChange,
        None => of_send_type(message.send_type).max(of_send_type(signal.send_type)),
    }
}

fn of_send_type(send_type: SendType) -> Immediate {
    match send_type {
        SendType::OnWrite | SendType::CyclicAndOnWrite => Immediate::OnWrite,
        SendType::OnChange => Immediate::OnChange,
        SendType::Unspecified | SendType::Cyclic | SendType::IfActive | SendType::None => Immediate::No,
    }
}

/// The start values of all signals that are present together with the start values of their selectors. Bits without a
/// signal are 0.
fn start_payload(message: &dbc::Message, length: usize, warnings: &mut Vec<String>) -> [u8; MAX_LEN] {
    let mut payload = [0; MAX_LEN];
    let start = |signal: &dbc::Signal| signal.start_value.unwrap_or(Raw::from_bits(signal.codec.kind, 0));
    let starts: Vec<Raw> = message.signals.iter().map(start).collect();
    let active = |signal: &dbc::Signal| {
        let Some(group) = message.groups.get(signal.group) else { return false };
        group.conditions.iter().all(|condition| {
            let selected = starts.get(condition.selector).and_then(|raw| raw.as_i128());
            condition.ranges.iter().any(|(from, to)| selected.is_some_and(|value| (*from..=*to).contains(&value)))
        })
    };
    for (signal, start) in message.signals.iter().zip(&starts) {
        if !active(signal) {
            continue;
        }
        if let Err(error) = signal.codec.insert(*start, &mut payload[..length]) {
            warnings.push(format!("start value of {}.{}: {error}; 0 is sent", message.name, signal.name));
        }
    }
    payload
}
