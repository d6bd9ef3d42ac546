//! A message as a whole: the signals present in a payload, and a payload from values of signals.

use super::assemble::long_name;
use super::codec::{EncodeError, Raw};
use super::model::{Condition, Message, Signal};
use super::signals::{mask, share_bits};

impl Message {
    /// The name that the file gives: long where there is one. Differs from `name` only where that had to be made unique.
    pub fn file_name(&self) -> &str {
        long_name(&self.attributes, "SystemMessageLongSymbol").unwrap_or(&self.dbc_name)
    }

    /// The signals present in a payload, by index, with their raw values: those whose selectors choose them and that lie
    /// wholly inside.
    pub fn decode<'a>(&'a self, payload: &'a [u8]) -> impl Iterator<Item = (usize, Raw)> + 'a {
        // signals of one group mostly stand together
        let mut known = (0, true);
        self.signals.iter().enumerate().filter_map(move |(index, signal)| {
            if signal.group != known.0 {
                known = (signal.group, self.group_active(signal.group, payload));
            }
            if known.1 { Some((index, signal.codec.raw(payload)?)) } else { None }
        })
    }

    /// The payload that holds these raw values, each with the index of its signal.
    ///
    /// A named signal must be present: a selector that is not named takes the only value that selects all named signals,
    /// one that is named must select them. Other present signals get their start value (0 without one) unless a named
    /// signal uses their bits. Bits of no signal are 0.
    pub fn encode(&self, values: &[(usize, Raw)]) -> Result<Vec<u8>, MessageError> {
        let mut payload = vec![0; self.length.into()];
        let mut given: Vec<Option<Raw>> = vec![None; self.signals.len()];
        for &(index, raw) in values {
            let (Some(signal), Some(place)) = (self.signals.get(index), given.get_mut(index)) else {
                return Err(MessageError::NoSignal(index));
            };
            signal.codec.check_raw(raw).map_err(|error| MessageError::Signal { signal: signal.name.clone(), error })?;
            if place.replace(raw).is_some() {
                return Err(MessageError::Twice(signal.name.clone()));
            }
        }
        self.choose_selectors(&mut given)?;
        let named: Vec<(usize, Raw)> =
            given.iter().enumerate().filter_map(|(index, raw)| Some((index, (*raw)?))).collect();
        let mut written = Written::default();
        for &(index, raw) in &named {
            let Some(signal) = self.signals.get(index) else { continue };
            if let Some(other) = written.claim(index, signal) {
                let other = self.signals.get(other).map(|signal| signal.name.clone()).unwrap_or_default();
                return Err(MessageError::SharedBits(other, signal.name.clone()));
            }
            signal
                .codec
                .insert(raw, &mut payload)
                .map_err(|error| MessageError::Signal { signal: signal.name.clone(), error })?;
        }
        self.fill_start_values(&given, &mut written, &mut payload);
        Ok(payload)
    }

    /// Checks the selectors that are given against the signals that are, and finds those that are not given.
    fn choose_selectors(&self, given: &mut [Option<Raw>]) -> Result<(), MessageError> {
        let named: Vec<usize> = (0..given.len()).filter(|index| matches!(given.get(*index), Some(Some(_)))).collect();
        for (position, &index) in named.iter().enumerate() {
            let Some(signal) = self.signals.get(index) else { continue };
            for condition in self.conditions(signal) {
                let Some(selector) = self.signals.get(condition.selector) else { continue };
                let values = || MessageError::values(signal, selector, condition);
                let present = match given.get(condition.selector).copied().flatten() {
                    Some(raw) => raw.as_i128().is_some_and(|value| contains(&condition.ranges, value)),
                    None => {
                        let (low, high) = self.intersection(condition, named.get(position..).unwrap_or(&[]));
                        if low < high {
                            return Err(MessageError::SelectorMissing(values()));
                        }
                        match Raw::from_i128(selector.codec.kind, low) {
                            Some(raw) if low == high && selector.codec.check_raw(raw).is_ok() => {
                                if let Some(place) = given.get_mut(condition.selector) {
                                    *place = Some(raw);
                                }
                                true
                            }
                            _ => false,
                        }
                    }
                };
                if !present {
                    return Err(MessageError::NotSelected(values()));
                }
            }
        }
        Ok(())
    }

    /// Smallest and largest selector value that selects every one of the named signals which depend on it; the first
    /// greater than the second where there is none.
    fn intersection(&self, condition: &Condition, named: &[usize]) -> (i128, i128) {
        let mut ranges = condition.ranges.clone();
        for signal in named.iter().filter_map(|index| self.signals.get(*index)) {
            for other in self.conditions(signal).iter().filter(|other| other.selector == condition.selector) {
                ranges = ranges
                    .iter()
                    .flat_map(|(low, high)| other.ranges.iter().map(move |(from, to)| (*low.max(from), *high.min(to))))
                    .filter(|(low, high)| low <= high)
                    .collect();
            }
        }
        let low = ranges.iter().map(|(low, _)| *low).min();
        let high = ranges.iter().map(|(_, high)| *high).max();
        low.zip(high).unwrap_or((1, 0))
    }

    fn conditions(&self, signal: &Signal) -> &[Condition] {
        self.groups.get(signal.group).map(|group| group.conditions.as_slice()).unwrap_or(&[])
    }

    fn fill_start_values(&self, given: &[Option<Raw>], written: &mut Written, payload: &mut [u8]) {
        let deepest = self.groups.iter().map(|group| group.conditions.len()).max().unwrap_or(0);
        // outer selectors first: they decide which inner signals there are
        for depth in 0..=deepest {
            for (index, signal) in self.signals.iter().enumerate() {
                let is_named = matches!(given.get(index), Some(Some(_)));
                if is_named || self.conditions(signal).len() != depth {
                    continue;
                }
                let Some(start) = signal.start_value else { continue };
                if self.group_active(signal.group, payload) && written.claim(index, signal).is_none() {
                    // what does not fit stays 0
                    let _ = signal.codec.insert(start, payload);
                }
            }
        }
    }
}

impl Signal {
    /// As [`Message::file_name`].
    pub fn file_name(&self) -> &str {
        long_name(&self.attributes, "SystemSignalLongSymbol").unwrap_or(&self.dbc_name)
    }
}

/// The bits that are taken, and by which signal.
#[derive(Default)]
struct Written(Vec<(usize, (u16, Vec<u8>))>);

impl Written {
    /// Takes the signal's bits; the signal that has some of them already.
    fn claim(&mut self, index: usize, signal: &Signal) -> Option<usize> {
        let bits = mask(&signal.codec);
        let taken = self.0.iter().find(|(_, other)| share_bits(other, &bits)).map(|(other, _)| *other);
        if taken.is_none() {
            self.0.push((index, bits));
        }
        taken
    }
}

fn contains(ranges: &[(i128, i128)], value: i128) -> bool {
    ranges.iter().any(|(low, high)| (*low..=*high).contains(&value))
}

/// Why a payload can't be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MessageError {
    #[error("the message has no signal number {0}")]
    NoSignal(usize),
    #[error("{signal}: {error}")]
    Signal { signal: String, error: EncodeError },
    #[error("{0} is given twice")]
    Twice(String),
    #[error("{0} and {1} share bits: only one of them can be written")]
    SharedBits(String, String),
    #[error("{0}; give that signal too")]
    SelectorMissing(String),
    #[error("{0}, which the other values rule out")]
    NotSelected(String),
}

impl MessageError {
    /// Which selector values make a signal present.
    fn values(signal: &Signal, selector: &Signal, condition: &Condition) -> String {
        const MOST: usize = 8;
        let range = |(low, high): &(i128, i128)| if low == high { low.to_string() } else { format!("{low} to {high}") };
        let mut ranges: Vec<String> = condition.ranges.iter().take(MOST).map(range).collect();
        if condition.ranges.len() > MOST {
            ranges.push("more".into());
        }
        format!("{} is present only where raw {} is {}", signal.name, selector.name, ranges.join(", "))
    }
}
