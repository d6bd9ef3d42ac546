//! Revocation lists of certificate authorities (RFC 5280, 5): which of their certificates no longer count.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use opcua::types::StatusCode;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::KeyUsage;
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::certificate::{Certificate, signed_part};
use super::signature;

/// One list, as it was read.
pub struct RevocationList {
    /// Where it is from, for people.
    pub file: PathBuf,
    pub issuer: Name,
    /// Since 1970.
    pub this_update: Duration,
    /// Since 1970; a newer list is there from then on.
    pub next_update: Option<Duration>,
    /// Serial numbers of what is revoked.
    pub revoked: HashSet<Vec<u8>>,
    /// It has a critical extension, that is: it is no list of everything that its issuer revoked (RFC 5280, 5.2).
    partial: bool,
    der: Vec<u8>,
    signed: Range<usize>,
    algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
}

impl RevocationList {
    pub fn from_der(der: &[u8], file: &Path) -> Result<RevocationList, StatusCode> {
        let CertificateList { tbs_cert_list: list, signature_algorithm: algorithm, signature } =
            CertificateList::from_der(der).map_err(|_| StatusCode::BadCertificateInvalid)?;
        let entries = list.revoked_certificates.unwrap_or_default();
        let partial =
            has_critical(&list.crl_extensions) || entries.iter().any(|entry| has_critical(&entry.crl_entry_extensions));
        Ok(RevocationList {
            file: file.to_owned(),
            issuer: list.issuer,
            this_update: list.this_update.to_unix_duration(),
            next_update: list.next_update.map(|time| time.to_unix_duration()),
            revoked: entries.iter().map(|entry| entry.serial_number.as_bytes().to_vec()).collect(),
            partial,
            signed: signed_part(der)?,
            der: der.to_vec(),
            algorithm,
            signature: signature.as_bytes().unwrap_or_default().to_vec(),
        })
    }

    /// Whether this certificate signed the list, and may sign lists (RFC 5280, 6.3.3).
    pub fn is_of(&self, issuer: &Certificate) -> bool {
        let certificate = &issuer.parsed.tbs_certificate;
        let may = certificate.get::<KeyUsage>().is_ok_and(|usage| usage.is_none_or(|(_, usage)| usage.crl_sign()));
        let signed = self.der.get(self.signed.clone()).unwrap_or_default();
        may && self.issuer == certificate.subject
            && signature::verify(&certificate.subject_public_key_info, &self.algorithm, signed, &self.signature).is_ok()
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether there is a newer one, which is not here. `now`: since 1970.
    pub fn is_outdated(&self, now: Duration) -> bool {
        self.next_update.is_some_and(|next| next < now)
    }
}

fn has_critical(extensions: &Option<Extensions>) -> bool {
    extensions.iter().flatten().any(|extension| extension.critical)
}

/// What the lists say about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    NotRevoked,
    Revoked,
    /// The reason.
    Unknown(String),
}

/// Looks a certificate up in the newest list of its issuer.
pub fn standing<'a>(
    certificate: &Certificate,
    issuer: &Certificate,
    lists: impl Iterator<Item = &'a RevocationList>,
    now: Duration,
) -> Standing {
    let newest = lists
        .filter(|list| list.is_of(issuer))
        .max_by_key(|list| (list.this_update, list.next_update.unwrap_or(Duration::MAX)));
    let Some(list) = newest else {
        return Standing::Unknown(format!("there is no revocation list of {}", issuer.subject));
    };
    if list.revoked.contains(certificate.parsed.tbs_certificate.serial_number.as_bytes()) {
        return Standing::Revoked;
    }
    if list.partial {
        return Standing::Unknown(format!("{} is no complete revocation list", list.file.display()));
    }
    if list.is_outdated(now) {
        return Standing::Unknown(format!("{} is out of date: a newer list is needed", list.file.display()));
    }
    Standing::NotRevoked
}
