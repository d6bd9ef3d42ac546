//! One certificate as it was read: its bytes, its names, what validation asks of it. No opinion on whether it is good.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use opcua::crypto::X509;
use opcua::types::StatusCode;
use sha1::Digest;
use x509_cert::der::oid::db::rfc4519;
use x509_cert::der::{Decode, Header, Reader, SliceReader, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::plant::access::check_name;

/// More bytes are no chain: ten certificates with 4,096-bit keys and many names take less.
pub const MOST_CHAIN_BYTES: usize = 64 * 1024;
/// Certificates in one chain, the root counted.
pub const MOST_CHAIN: usize = 10;

/// An X.509 certificate.
pub struct Certificate {
    /// As it was received; what is signed and hashed are these bytes, never a new encoding.
    pub der: Vec<u8>,
    /// SHA-1 of `der` (OPC 10000-6, 6.2.2): a name for it, no protection.
    pub thumbprint: [u8; 20],
    /// URIs among the alternative names; the first of an application's certificate is its ApplicationUri.
    pub uris: Vec<String>,
    /// As in RFC 4514, without control characters.
    pub subject: String,
    /// For the cryptography of channels and sessions.
    pub x509: X509,
    /// The same, for validation.
    pub(super) parsed: x509_cert::Certificate,
    /// Where in `der` the signed part is.
    signed: Range<usize>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} [{}]", self.subject, self.thumbprint_text())
    }
}

impl Certificate {
    /// Reads one certificate and nothing after it.
    pub fn from_der(der: &[u8]) -> Result<Certificate, StatusCode> {
        let invalid = |_| StatusCode::BadCertificateInvalid;
        if der.len() > MOST_CHAIN_BYTES {
            return Err(StatusCode::BadCertificateInvalid);
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(invalid)?;
        let x509 = X509::from_der(der).map_err(|_| StatusCode::BadCertificateInvalid)?;
        let names = parsed.tbs_certificate.get::<SubjectAltName>().map_err(invalid)?;
        let uris = names.iter().flat_map(|(_, names)| &names.0).filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        });
        let uris = uris.collect();
        let subject = plain(&parsed.tbs_certificate.subject.to_string());
        let thumbprint = sha1::Sha1::digest(der).into();
        Ok(Certificate { signed: signed_part(der)?, der: der.to_vec(), thumbprint, uris, subject, x509, parsed })
    }

    /// The bytes that its issuer signed.
    pub fn signed(&self) -> &[u8] {
        self.der.get(self.signed.clone()).unwrap_or_default()
    }

    /// The common name, or the whole subject where there is none.
    pub fn common_name(&self) -> String {
        let name = plain(&self.common_names().into_iter().next().unwrap_or_default());
        if name.is_empty() { self.subject.clone() } else { name }
    }

    /// Who logs in with this certificate: its common name, if it has exactly one and that can be a user's name.
    pub fn user_name(&self) -> Option<String> {
        let [name] = <[String; 1]>::try_from(self.common_names()).ok()?;
        check_name(&name).is_ok().then_some(name)
    }

    fn common_names(&self) -> Vec<String> {
        let attributes = self.parsed.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
        attributes
            .filter(|attribute| attribute.oid == rfc4519::COMMON_NAME)
            .map(|attribute| match attribute.value.tag() {
                Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
                    String::from_utf8_lossy(attribute.value.value()).into_owned()
                }
                // what else there is (TeletexString, BMPString) nobody has issued for long (RFC 5280, 4.1.2.4)
                _ => String::new(),
            })
            .collect()
    }

    /// Who issued it, as the subject is written.
    pub fn issuer(&self) -> String {
        plain(&self.parsed.tbs_certificate.issuer.to_string())
    }

    /// Since 1970.
    pub fn not_before(&self) -> Duration {
        self.parsed.tbs_certificate.validity.not_before.to_unix_duration()
    }

    /// Since 1970.
    pub fn not_after(&self) -> Duration {
        self.parsed.tbs_certificate.validity.not_after.to_unix_duration()
    }

    /// In hexadecimal digits.
    pub fn thumbprint_text(&self) -> String {
        hexadecimal(&self.thumbprint)
    }

    /// Whether the subject is its own issuer.
    pub fn is_self_issued(&self) -> bool {
        self.parsed.tbs_certificate.subject == self.parsed.tbs_certificate.issuer
    }
}

/// A certificate and, after it, those of its issuers, one after the other in DER (OPC 10000-6, 6.2.6). The first is the
/// sender's own.
pub fn read_chain(bytes: &[u8]) -> Result<Vec<Certificate>, StatusCode> {
    if bytes.is_empty() || bytes.len() > MOST_CHAIN_BYTES {
        return Err(StatusCode::BadCertificateInvalid);
    }
    let invalid = |_| StatusCode::BadCertificateInvalid;
    let mut reader = SliceReader::new(bytes).map_err(invalid)?;
    let mut chain = Vec::new();
    while !reader.is_finished() {
        if chain.len() == MOST_CHAIN {
            return Err(StatusCode::BadCertificateInvalid);
        }
        chain.push(Certificate::from_der(reader.tlv_bytes().map_err(invalid)?)?);
    }
    Ok(chain)
}

/// Where in a signed structure (certificate or revocation list) the part is that the signature covers: the first element of
/// the sequence.
pub(super) fn signed_part(der: &[u8]) -> Result<Range<usize>, StatusCode> {
    let find = || -> x509_cert::der::Result<Range<usize>> {
        let mut reader = SliceReader::new(der)?;
        Header::decode(&mut reader)?.tag.assert_eq(Tag::Sequence)?;
        let start = usize::try_from(reader.position())?;
        let length = reader.tlv_bytes()?.len();
        Ok(start..start + length)
    };
    find().map_err(|_| StatusCode::BadCertificateInvalid)
}

/// Bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a string can't fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a stranger wrote, fit for a log or a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}
