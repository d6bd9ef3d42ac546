//! Where counter and checksum are: the signals that a section names, and the fields that a scheme has.

use super::Part;
use super::written::Name;
use crate::can::MAX_LEN;
use crate::config::suggest::did_you_mean;
use crate::dbc::codec::{ByteOrder, Kind};
use crate::dbc::{Codec, Signal};
use crate::protection::Nibble;

/// A field of an E2E scheme: what it is called, and its bits.
pub struct Field {
    pub key: &'static str,
    pub codec: Codec,
}

impl Part<'_, '_> {
    /// The signal that a key names, one that is in every frame and has no sign.
    pub fn signal(&mut self, key: &str, name: &str) -> Option<(usize, Codec)> {
        let message = self.message;
        let signals = &message.signals;
        let long = signals.iter().position(|signal| signal.name == name);
        let Some(index) = long.or_else(|| signals.iter().position(|signal| signal.dbc_name == name)) else {
            let hint = did_you_mean(name, signals.iter().map(|signal| signal.name.as_str()));
            self.error(key, format!("{} has no signal \"{name}\"{hint}", message.name));
            return None;
        };
        let signal = &signals[index];
        let multiplexed = message.groups.get(signal.group).is_none_or(|group| !group.conditions.is_empty());
        let unfit = if multiplexed {
            Some("it is multiplexed, so not every frame has it")
        } else if signal.multiplexor {
            Some("it is a multiplexor")
        } else if signal.codec.kind != Kind::Unsigned {
            Some("the DBC file gives it a sign or makes it a float")
        } else if !signal.codec.fits(message.length.into()) {
            Some("it is not inside the message")
        } else {
            None
        };
        if let Some(reason) = unfit {
            self.error(key, format!("{name} can't be the {key}: {reason}"));
            return None;
        }
        Some((index, signal.codec))
    }

    /// The first byte of a CRC with the counter behind it: profiles 2, 22 (8 bits, then the low half of a byte) and 5 (16
    /// bits, low byte first, then a byte).
    pub fn header(&mut self, name: Name, crc_bits: u8, length: usize) -> Option<u8> {
        let behind = crc_bits / 8;
        let crc = match (&self.written.checksum, crc_bits) {
            (None, _) => None,
            (Some(_), 8) => self.byte_of("checksum")?,
            (Some(signal), _) => {
                let (_, codec) = self.signal("checksum", signal)?;
                let fits = codec.size == 16 && codec.start % 8 == 0 && codec.order == ByteOrder::LittleEndian;
                if !fits {
                    let text = format!(
                        "the CRC of scheme \"{name}\" has two whole bytes, the low one first; {signal} has not"
                    );
                    self.error("checksum", text);
                    return None;
                }
                Some((codec.start / 8) as u8)
            }
        };
        let counter = match (&self.written.counter, crc_bits) {
            (None, _) => None,
            (Some(_), 8) => {
                let nibble = self.nibble_of("counter")?;
                if nibble.is_some_and(|nibble| nibble.high) {
                    self.error("counter", format!("the counter of scheme \"{name}\" has the low half of its byte"));
                    return None;
                }
                nibble.map(|nibble| nibble.byte)
            }
            (Some(_), _) => self.byte_of("counter")?,
        };
        let at = match (crc, counter) {
            (None, None) => 0,
            (Some(crc), None) => crc,
            (None, Some(counter)) if counter >= behind => counter - behind,
            (Some(crc), Some(counter)) if counter == crc + behind => crc,
            (_, Some(counter)) => {
                self.error(
                    "counter",
                    format!("the counter of scheme \"{name}\" is right behind its CRC; not in byte {counter}"),
                );
                return None;
            }
        };
        let start = u16::from(at) * 8;
        let fields = [
            Field { key: "checksum", codec: bits(start, crc_bits)? },
            Field { key: "counter", codec: bits(start + u16::from(crc_bits), if crc_bits == 8 { 4 } else { 8 })? },
        ];
        self.claim(name, &fields, length);
        Some(at)
    }

    /// The byte of the signal that the key names; `Some(None)` where it names none.
    pub fn byte_of(&mut self, key: &'static str) -> Option<Option<u8>> {
        let Some(name) = self.written.named(key) else { return Some(None) };
        let (_, codec) = self.signal(key, name)?;
        if codec.size != 8 || codec.needed_len() != usize::from(codec.start / 8) + 1 {
            self.error(key, format!("{key} has a whole byte in this scheme; {name} has not"));
            return None;
        }
        Some(Some((codec.start / 8) as u8))
    }

    /// The half byte of the signal that the key names; `Some(None)` where it names none.
    pub fn nibble_of(&mut self, key: &'static str) -> Option<Option<Nibble>> {
        let Some(name) = self.written.named(key) else { return Some(None) };
        let (_, codec) = self.signal(key, name)?;
        let byte = (codec.start / 8) as u8;
        let found = [false, true].map(|high| Nibble { byte, high }).into_iter().find(|place| {
            codec.size == 4 && nibble(*place).is_some_and(|codec_of_nibble| mask(&codec_of_nibble) == mask(&codec))
        });
        if found.is_none() {
            self.error(
                key,
                format!("{key} has the low or the high four bits of a byte in this scheme; {name} has not"),
            );
        }
        found.map(Some)
    }

    /// Takes the signals at the places of the scheme's fields, and refuses places that are not inside the message, that share
    /// bits, or where the DBC file has something else.
    pub fn claim(&mut self, name: Name, fields: &[Field], length: usize) {
        let message = self.message;
        for (index, field) in fields.iter().enumerate() {
            let Field { key, codec } = field;
            let (bits, place) = (mask(codec), place(codec));
            if !codec.fits(length) {
                let text = format!("scheme \"{name}\" has its {key} in {place}; {} has {length} bytes", message.name);
                self.error(key, text);
                continue;
            }
            if fields.iter().take(index).any(|other| overlap(&bits, &mask(&other.codec))) {
                self.error(key, format!("{key} shares bits with another field of scheme \"{name}\""));
            }
            let is_named = |signal: &Signal, named: &str| signal.name == named || signal.dbc_name == named;
            let fits = |signal: &Signal| mask(&signal.codec) == bits && signal.codec.kind == Kind::Unsigned;
            let named = self.written.named(key);
            if let Some(named) = named.filter(|named| !message.signals.iter().any(|s| is_named(s, named) && fits(s))) {
                self.error(key, format!("scheme \"{name}\" has its {key} in {place}; there is no {named} there"));
                continue;
            }
            for (at, signal) in message.signals.iter().enumerate() {
                if fits(signal) && named.is_none_or(|named| is_named(signal, named)) {
                    self.signals.push(at);
                } else if overlap(&mask(&signal.codec), &bits) {
                    let remedy = match named {
                        Some(_) => "two signals can't share these bits",
                        None if matches!(name, Name::Tsc1 | Name::E2e2) => "so it is another scheme",
                        None => "name the signal that it is",
                    };
                    let there = &signal.name;
                    let text =
                        format!("scheme \"{name}\" has its {key} in {place}, where the DBC file has {there}; {remedy}");
                    self.error(key, text);
                }
            }
        }
    }
}

/// A field's place in words.
fn place(codec: &Codec) -> String {
    let byte = codec.start / 8;
    match codec.size {
        4 if codec.start.is_multiple_of(8) => format!("the low half of byte {byte}"),
        4 => format!("the high half of byte {byte}"),
        8 => format!("byte {byte}"),
        _ => format!("bytes {byte} and {}", byte + 1),
    }
}

pub fn bits(start: u16, size: u8) -> Option<Codec> {
    Codec::new(start, size, ByteOrder::LittleEndian, Kind::Unsigned, 1.0, 0.0)
}

pub fn nibble(nibble: Nibble) -> Option<Codec> {
    bits(u16::from(nibble.byte) * 8 + if nibble.high { 4 } else { 0 }, 4)
}

/// Ones where the signal has its bits.
pub fn mask(codec: &Codec) -> [u8; MAX_LEN] {
    let mut mask = [0; MAX_LEN];
    codec.mask(&mut mask);
    mask
}

pub fn overlap(a: &[u8; MAX_LEN], b: &[u8; MAX_LEN]) -> bool {
    a.iter().zip(b).any(|(a, b)| a & b != 0)
}
