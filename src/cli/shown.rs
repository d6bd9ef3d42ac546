//! Messages prepared for printing many frames of them: what does not change from frame to frame is worked out once.

use crate::dbc::{Message, Raw, Signal};

/// A message as it is printed.
pub(super) struct Shown<'a> {
    /// As the file has it.
    pub name: &'a str,
    /// By their first bit on the wire, as cantools shows them.
    pub signals: Vec<ShownSignal<'a>>,
    /// By signal: its place in `signals`.
    places: Vec<usize>,
}

/// A signal as it is printed.
pub(super) struct ShownSignal<'a> {
    pub signal: &'a Signal,
    /// As the file has it.
    pub name: &'a str,
    /// Factor and offset where both are whole.
    whole: Option<(i128, i128)>,
}

impl<'a> Shown<'a> {
    pub fn new(message: &'a Message) -> Shown<'a> {
        let first_bit = |index: &usize| message.signals.get(*index).map(|signal| signal.codec.first_bit());
        let mut order: Vec<usize> = (0..message.signals.len()).collect();
        order.sort_by_key(first_bit);
        let mut places = vec![0; order.len()];
        for (place, signal) in order.iter().enumerate() {
            if let Some(at) = places.get_mut(*signal) {
                *at = place;
            }
        }
        let signals = order.iter().filter_map(|index| message.signals.get(*index)).map(ShownSignal::new).collect();
        Shown { name: message.file_name(), signals, places }
    }

    /// Puts the raw bits of signals, by index, into the order to show them; `values` has a place for each signal.
    pub fn sort(&self, bits: impl Iterator<Item = (usize, u64)>, values: &mut Vec<Option<u64>>) {
        values.clear();
        values.resize(self.signals.len(), None);
        for (signal, bits) in bits {
            if let Some(value) = self.places.get(signal).and_then(|place| values.get_mut(*place)) {
                *value = Some(bits);
            }
        }
    }

    /// The present signals of what [`Shown::sort`] has sorted.
    pub fn present<'s>(&'s self, values: &'s [Option<u64>]) -> impl Iterator<Item = (&'s ShownSignal<'a>, Raw)> {
        let raw = |(shown, bits): (&'s ShownSignal<'a>, &Option<u64>)| {
            Some((shown, Raw::from_bits(shown.signal.codec.kind, (*bits)?)))
        };
        self.signals.iter().zip(values).filter_map(raw)
    }
}

impl<'a> ShownSignal<'a> {
    pub fn new(signal: &'a Signal) -> ShownSignal<'a> {
        ShownSignal { signal, name: signal.file_name(), whole: signal.codec.whole_scaling() }
    }

    /// `Codec::exact`.
    pub fn exact(&self, raw: Raw) -> Option<i128> {
        let (factor, offset) = self.whole?;
        Some(raw.as_i128()? * factor + offset)
    }
}
