//! A backup under a passphrase: XChaCha20-Poly1305 with a key by Argon2id.
//!
//! ```text
//! "CANVOYE" · form (1 byte) · memory KiB, passes, lanes (3 × 4 bytes, little endian) · salt (16) · nonce (24) · sealed bytes
//! ```
//!
//! The header is authenticated with the rest.

use anyhow::anyhow;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::Refused;

const MAGIC: &[u8; 7] = b"CANVOYE";
const FORM: u8 = 1;
const HEADER: usize = 60;
const SALT: std::ops::Range<usize> = 20..36;
const NONCE: std::ops::Range<usize> = 36..60;
/// Memory in KiB, passes, lanes: half a second on a small PC.
const COST: [u32; 3] = [64 * 1024, 3, 1];
/// What a header may ask for at most: a damaged one must not take all memory.
const MOST_COST: [u32; 3] = [1024 * 1024, 16, 16];

/// Whether the bytes are sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Seals a backup.
pub fn seal(bytes: &[u8], passphrase: &str) -> anyhow::Result<Vec<u8>> {
    seal_at(COST, bytes, passphrase)
}

fn seal_at(cost: [u32; 3], bytes: &[u8], passphrase: &str) -> anyhow::Result<Vec<u8>> {
    let mut header = MAGIC.to_vec();
    header.push(FORM);
    cost.iter().for_each(|number| header.extend(number.to_le_bytes()));
    let mut random = [0; HEADER - SALT.start];
    getrandom::fill(&mut random).map_err(|error| anyhow!("no random numbers: {error}"))?;
    header.extend(random);
    let cipher = cipher(&header, cost, passphrase).ok_or_else(|| anyhow!("the passphrase can't be used"))?;
    let sealed = cipher.encrypt(XNonce::from_slice(&header[NONCE]), Payload { msg: bytes, aad: &header });
    let sealed = sealed.map_err(|_| anyhow!("too large to be encrypted"))?;
    header.extend(sealed);
    Ok(header)
}

/// What was sealed; any bytes may come.
pub fn open(bytes: &[u8], passphrase: &str) -> Result<Vec<u8>, Refused> {
    let (header, sealed) = bytes.split_at_checked(HEADER).ok_or(Refused::Damaged("it ends too early"))?;
    if !is_sealed(header) {
        return Err(Refused::NotABackup);
    }
    match header[MAGIC.len()] {
        FORM => {}
        0 => return Err(Refused::Damaged("its header")),
        format => return Err(Refused::Newer { format: format.into(), known: FORM.into(), by: String::new() }),
    }
    let number = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let cost = [number(8), number(12), number(16)];
    if cost.iter().zip(MOST_COST).any(|(cost, most)| *cost > most) {
        return Err(Refused::Damaged("its header"));
    }
    let cipher = cipher(header, cost, passphrase).ok_or(Refused::Damaged("its header"))?;
    let payload = Payload { msg: sealed, aad: header };
    cipher.decrypt(XNonce::from_slice(&header[NONCE]), payload).map_err(|_| Refused::Passphrase)
}

/// `None` where Argon2 refuses the cost.
fn cipher(header: &[u8], [memory, passes, lanes]: [u32; 3], passphrase: &str) -> Option<XChaCha20Poly1305> {
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut key = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.as_bytes(), &header[SALT], &mut key).ok()?;
    Some(XChaCha20Poly1305::new(&key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: [u32; 3] = [8, 1, 1];

    #[test]
    fn only_the_passphrase_opens_it() {
        let sealed = seal(b"content", "correct horse").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"content"));
        assert_eq!(open(&sealed, "correct horse").unwrap(), b"content");
        assert_eq!(open(&sealed, "battery staple"), Err(Refused::Passphrase));
        assert_ne!(seal_at(CHEAP, b"content", "x").unwrap(), seal_at(CHEAP, b"content", "x").unwrap());
    }

    #[test]
    fn cut_or_changed_it_is_refused() {
        let sealed = seal_at(CHEAP, &[5; 300], "x").unwrap();
        assert!(open(&sealed, "x").is_ok());
        for cut in 0..sealed.len() {
            assert!(open(&sealed[..cut], "x").is_err(), "{cut}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            // the costs stay small: large ones are tried below
            changed[at] ^= 1;
            assert!(open(&changed, "x").is_err(), "{at}");
        }
        for at in [8, 12, 16] {
            let mut changed = sealed.clone();
            changed[at..at + 4].fill(0xFF);
            assert_eq!(open(&changed, "x"), Err(Refused::Damaged("its header")));
        }
        let mut newer = sealed;
        newer[MAGIC.len()] = 2;
        assert!(open(&newer, "x").unwrap_err().to_string().contains("newer version of Canvoy (form 2"));
    }
}
