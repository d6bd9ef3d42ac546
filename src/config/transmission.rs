//! How a message is sent or awaited: what the DBC says about cycles and send types, with the overrides of the configuration.

use super::written::{Override, Send};
use crate::can::{MAX_CLASSIC_LEN, MAX_LEN, fd_len};
use crate::dbc::{self, Raw, SendType, Trigger};
use crate::plan::{Active, Bits, Immediate, Transmission};

const NS_PER_MS: u64 = 1_000_000;
/// Nothing on a CAN bus is faster than a frame of about 50 µs; a cycle below this is a slip of the unit.
const SHORTEST_PERIOD: u64 = 100_000;
/// More repetitions than this are a slip.
pub const MAX_REPETITIONS: u32 = 255;

/// A message to be sent.
pub struct Sending {
    pub transmission: Transmission,
    /// For each signal: what a write to it sends at once, and whether that is repeated.
    pub immediate: Vec<(Immediate, bool)>,
    /// What the user should know, about the DBC file.
    pub warnings: Vec<String>,
}

impl Sending {
    /// Neither a cycle nor a write ever sends it.
    pub fn never(&self) -> bool {
        self.transmission.period.is_none()
            && self.transmission.active.is_none()
            && self.immediate.iter().all(|(immediate, _)| *immediate == Immediate::No)
    }
}

/// Whether the DBC means the message to come at its cycle time.
pub fn cyclic(message: &dbc::Message) -> bool {
    match message.send_type {
        None => true,
        // "no message send type": its signals decide
        Some(send_type) if send_type == SendType::default() => {
            message.signals.iter().any(|signal| signal.send_type.is_some_and(|send_type| send_type.cyclic))
        }
        Some(send_type) => send_type.cyclic,
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
    let by_override = |reason: &str| CantSend { reason: reason.into(), by_override: true };
    let mut warnings = Vec::new();
    let length = length(message).map_err(|reason| CantSend { reason, by_override: false })?;
    let cycle_time = over.cycle_ms.map_or(cycle(message), |ms| Some(nanoseconds(ms)).filter(|cycle| *cycle > 0));
    let fast = over.cycle_fast_ms.map_or(duration(message.fast_cycle_time().unwrap_or_default()), nanoseconds);
    let fast = Some(fast).filter(|fast| *fast > 0);
    let base_cyclic = match (over.send, over.cycle_ms) {
        (Some(send), cycle_ms) => {
            let cyclic = send.send_type().cyclic;
            match (cyclic, send.send_type().if_active, cycle_ms, cycle_time) {
                (false, false, Some(1..), _) => {
                    let words = if send == Send::OnChange { "cyclic-and-on-change" } else { "cyclic-and-on-write" };
                    let reason = format!("with a cycle_ms it is also sent cyclically; write send = \"{words}\"");
                    return Err(by_override(&reason));
                }
                (true, _, Some(0), _) => {
                    return Err(by_override("cycle_ms = 0 means not cyclic; set a time, or another send"));
                }
                (true, _, _, None) => return Err(by_override("the DBC file gives no cycle time; add cycle_ms")),
                _ => cyclic,
            }
        }
        // a cycle that was written is meant, whatever the DBC file says; "if active" takes it for its own
        (None, Some(written)) => written > 0 && !message.send_type.is_some_and(|t| t.if_active && !t.cyclic),
        (None, None) => cyclic(message),
    };
    let mut period = cycle_time.filter(|_| base_cyclic);
    let active = match active(message, over, length, fast.or(cycle_time)) {
        Ok(active) => active,
        Err(reason) if over.send.is_some() => return Err(by_override(reason)),
        Err(reason) => {
            if over.cycle_ms != Some(0) && cycle_time.is_some() {
                period = cycle_time;
                warnings.push(format!(
                    "{}: its send type is \"cyclic if active\", but {reason}; it is sent cyclically all the time. \
                     cycle_ms = 0 stops that",
                    message.name
                ));
            }
            None
        }
    };
    for (period, key) in
        [(period, "cycle_ms"), (active.as_ref().map(|a| a.period), "cycle_fast_ms"), (fast, "cycle_fast_ms")]
    {
        if let Some(period) = period.filter(|period| *period < SHORTEST_PERIOD) {
            let ms = period as f64 / NS_PER_MS as f64;
            let reason = format!("its cycle time of {ms} ms is too short for a CAN bus; set {key}");
            return Err(CantSend { reason, by_override: false });
        }
    }
    let mut immediate: Vec<(Immediate, bool)> =
        message.signals.iter().map(|signal| immediate(message, signal, over)).collect();
    let repetitions = over.repetitions.map_or(message.repetitions(), |n| u32::try_from(n).unwrap_or_default());
    let repetitions = repetitions.min(MAX_REPETITIONS);
    if immediate.iter().any(|(_, repeated)| *repeated) && (repetitions == 0 || fast.is_none()) {
        immediate.iter_mut().for_each(|(_, repeated)| *repeated = false);
        if repetitions > 0 && over.repetitions.is_some() {
            return Err(by_override("the DBC file gives no time between repetitions; add cycle_fast_ms"));
        }
        let lacks = if fast.is_none() { "GenMsgCycleTimeFast" } else { "GenMsgNrOfRepetition" };
        warnings.push(format!("{}: its send type has repetitions, but {lacks} is 0: it is sent once", message.name));
    }
    let start = start_payload(message, length, &mut warnings);
    let cycle = period.or(active.as_ref().map(|active| active.period));
    let transmission = Transmission {
        active,
        fast_period: fast,
        repetitions,
        delay: over.delay_ms.map_or(duration(message.delay_time()), nanoseconds),
        start_delay: over.start_delay_ms.map_or(duration(message.start_delay), nanoseconds),
        stale: over.stale_ms.map_or(Transmission::usual_stale(cycle), nanoseconds),
        budget: over.budget_ms.map_or(Transmission::usual_budget(cycle), |ms| (ms * NS_PER_MS as f64) as u64),
        ..Transmission::new(length, start, period)
    };
    Ok(Sending { transmission, immediate, warnings })
}

fn nanoseconds(ms: i64) -> u64 {
    (ms.max(0) as u64).saturating_mul(NS_PER_MS)
}

fn duration(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The cycle while active, where there is one; `period`: nanoseconds. The error says what it lacks.
fn active(
    message: &dbc::Message,
    over: &Override,
    length: usize,
    period: Option<u64>,
) -> Result<Option<Active>, &'static str> {
    let whole = over.send.map_or(message.send_type, |send| Some(send.send_type())).unwrap_or_default();
    let of_signal = |signal: &dbc::Signal| signal.send_type.filter(|_| over.send.is_none()).unwrap_or_default();
    if !whole.if_active && !message.signals.iter().any(|signal| of_signal(signal).if_active) {
        return Ok(None);
    }
    let mut inactive: Vec<(usize, Bits)> = Vec::new();
    let mut last_frames = 1;
    let repetitions = over.repetitions.map_or(message.repetitions(), |n| u32::try_from(n).unwrap_or_default());
    for signal in &message.signals {
        let send_type = of_signal(signal);
        if !whole.if_active && !send_type.if_active {
            continue;
        }
        let Some(value) = signal.inactive_value() else { continue };
        let at = inactive.iter().position(|(group, _)| *group == signal.group).unwrap_or_else(|| {
            inactive.push((signal.group, Bits::NONE));
            inactive.len() - 1
        });
        let bits = &mut inactive[at].1;
        signal.codec.mask(&mut bits.mask);
        // one that lies outside the frame is never sent, and so never active
        if signal.codec.insert(value, &mut bits.bits[..length]).is_err() {
            return Err("a signal with GenSigInactiveValue does not fit the message");
        }
        if whole.if_active || send_type.repeated {
            last_frames = repetitions.clamp(1, MAX_REPETITIONS);
        }
    }
    if inactive.is_empty() {
        return Err("no signal has a GenSigInactiveValue");
    }
    let Some(period) = period else { return Err("there is neither GenMsgCycleTimeFast nor GenMsgCycleTime") };
    Ok(Some(Active { period, inactive, last_frames }))
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

/// What a write to a signal sends at once, and whether that is repeated: by the message's send type for all signals, by the
/// signal's own for this one.
fn immediate(message: &dbc::Message, signal: &dbc::Signal, over: &Override) -> (Immediate, bool) {
    let types = match over.send {
        Some(send) => [Some(send.send_type()), None],
        None => [message.send_type, signal.send_type],
    };
    let trigger = types.iter().flatten().map(|send_type| send_type.trigger).max().unwrap_or_default();
    let immediate = match trigger {
        Trigger::No => Immediate::No,
        Trigger::OnChange => Immediate::OnChange,
        Trigger::OnWrite => Immediate::OnWrite,
    };
    let by_type = types.iter().flatten().any(|send_type| send_type.repeated && send_type.trigger != Trigger::No);
    let repeated = over.repetitions.map_or(by_type, |repetitions| repetitions > 0);
    (immediate, repeated && trigger != Trigger::No)
}

/// Gives the cycles of one bus their phases: no two frames fall on one moment, and equal periods are spread over it.
///
/// With g the greatest common divisor of all periods and n messages, message k has the phase k × g / n within g, so that
/// any two frames of the bus are at least g / n apart for ever. In which of its g-wide slots a longer period begins is
/// spread evenly over the messages of that period. A start delay that is given is kept as it is.
pub fn stagger<'a>(transmissions: impl Iterator<Item = &'a mut Transmission>) {
    let mut cyclic: Vec<(u64, &mut Transmission)> = transmissions
        .filter(|transmission| transmission.start_delay == 0)
        .filter_map(|transmission| Some((transmission.period?, transmission)))
        .collect();
    let divisor = cyclic.iter().fold(0, |divisor, (period, _)| gcd(divisor, *period));
    // the fastest first; the order of the bus within a period
    cyclic.sort_by_key(|(period, _)| *period);
    let count = cyclic.len() as u64;
    let periods: Vec<u64> = cyclic.iter().map(|(period, _)| *period).collect();
    let mut before = 0;
    for (index, (period, transmission)) in cyclic.into_iter().enumerate() {
        if index > 0 && periods[index - 1] != period {
            before = index;
        }
        let same = periods.iter().filter(|other| **other == period).count() as u64;
        let slot = (index - before) as u64 * (period / divisor) / same;
        transmission.stagger = slot * divisor + index as u64 * divisor / count;
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
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
