//! Raw values that say "there is no value": the codes of SAE J1939-71, and entries of a value table that say so.

use super::{Message, Raw, Signal};

/// What a raw value of a J1939 parameter stands for (SAE J1939-71, 5.1, "transmitted signal ranges").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    /// Parameter specific or reserved codes: 0xFB.. to 0xFD..
    Reserved,
    /// Error indicator: 0xFE.., binary 10.
    Error,
    /// Not available or not requested: 0xFF.., binary 11.
    NotAvailable,
}

/// The J1939 rule by the size of the parameter, in bits. Sizes the standard gives no codes for are always valid.
pub fn j1939_validity(size: u8, raw: u64) -> Validity {
    if size == 2 {
        return match raw {
            2 => Validity::Error,
            3 => Validity::NotAvailable,
            _ => Validity::Valid,
        };
    }
    // One byte has its codes; of 2 and 4 bytes the most significant byte decides.
    let top = match size {
        8 => raw,
        16 => raw >> 8,
        32 => raw >> 24,
        _ => return Validity::Valid,
    };
    match top {
        0xFB..=0xFD => Validity::Reserved,
        0xFE => Validity::Error,
        0xFF => Validity::NotAvailable,
        _ => Validity::Valid,
    }
}

impl Signal {
    /// Whether this raw value says that there is no value: by the J1939 rule in a J1939 message (an error indicator
    /// included), or because the value table names it so.
    pub fn not_available(&self, message: &Message, raw: Raw) -> bool {
        let by_code = match raw {
            Raw::Unsigned(bits) if message.pgn.is_some() => {
                matches!(j1939_validity(self.codec.size, bits), Validity::Error | Validity::NotAvailable)
            }
            _ => false,
        };
        by_code || self.label(raw).is_some_and(says_not_available)
    }
}

/// Words that mean nothing else. "Invalid" and "Error" are left to people: they may be states of the machine.
fn says_not_available(word: &str) -> bool {
    const WORDS: [&str; 6] = ["sna", "signal not available", "not available", "notavailable", "not_available", "n/a"];
    let word = word.trim();
    WORDS.iter().any(|w| word.eq_ignore_ascii_case(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_j1939() {
        for (size, raw, want) in [
            (2, 1, Validity::Valid),
            (2, 2, Validity::Error),
            (2, 3, Validity::NotAvailable),
            (8, 0xFA, Validity::Valid),
            (8, 0xFB, Validity::Reserved),
            (8, 0xFE, Validity::Error),
            (8, 0xFF, Validity::NotAvailable),
            (16, 0xFAFF, Validity::Valid),
            (16, 0xFE00, Validity::Error),
            (16, 0xFFFF, Validity::NotAvailable),
            (32, 0xFAFF_FFFF, Validity::Valid),
            (32, 0xFF00_0000, Validity::NotAvailable),
            (3, 7, Validity::Valid),
            (64, u64::MAX, Validity::Valid),
        ] {
            assert_eq!(j1939_validity(size, raw), want, "{size} bits {raw:#X}");
        }
    }

    #[test]
    fn words() {
        assert!(says_not_available(" SNA"));
        assert!(says_not_available("Signal Not Available"));
        assert!(!says_not_available("not available in winter"));
        assert!(!says_not_available("Error"));
    }
}
