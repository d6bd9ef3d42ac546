//! Validation of a certificate: the steps of OPC 10000-4, 6.1.3, in their order. Pure: what is trusted and the time are
//! arguments.

use std::sync::Arc;
use std::time::Duration;

use opcua::crypto::SecurityPolicy;
use opcua::types::StatusCode;
use rsa::traits::PublicKeyParts;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};

use super::certificate::{Certificate, MOST_CHAIN};
use super::revocation::{RevocationList, Standing, standing};
use super::signature::{self, Flaw, LEAST_BITS};

/// Certificates of one name that are tried as an issuer. More of one name are no mistake but an attack.
const MOST_CANDIDATES: usize = 8;

/// What the folders hold.
#[derive(Default)]
pub struct Lists {
    pub trusted: Vec<Arc<Certificate>>,
    /// Needed to complete chains, not trusted by themselves.
    pub issuers: Vec<Arc<Certificate>>,
    pub revocations: Vec<Arc<RevocationList>>,
}

impl Lists {
    /// Byte by byte: a thumbprint is no proof.
    pub fn trusts(&self, certificate: &Certificate) -> bool {
        self.trusted.iter().any(|trusted| trusted.der == certificate.der)
    }
}

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// A client opens a channel with this policy.
    Application(SecurityPolicy),
    /// Somebody logs in.
    User,
}

/// What is asked of a certificate besides.
#[derive(Clone, Copy, Debug)]
pub struct Demands {
    pub purpose: Purpose,
    /// It, or a certificate authority above it, must be among the trusted.
    pub trusted: bool,
    /// Every certificate authority must have a current revocation list.
    pub revocation_lists: bool,
    /// Since 1970.
    pub now: Duration,
}

/// A certificate that is refused: the status code of the standard, and the reason for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: String,
}

fn refuse<T>(status: StatusCode, reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, reason: reason.into() })
}

/// Checks the first certificate; the rest of `sent` may be its issuers.
pub fn validate(
    leaf: &Arc<Certificate>,
    sent: &[Arc<Certificate>],
    lists: &Lists,
    demands: Demands,
) -> Result<(), Refusal> {
    let chain = match build(leaf, sent, lists, demands.now) {
        // where anybody is let in, nobody needs an issuer
        Err(refusal) if refusal.status == StatusCode::BadCertificateChainIncomplete && !demands.trusted => {
            vec![leaf.clone()]
        }
        other => other?,
    };
    check_keys(&chain, demands.purpose)?;
    if demands.trusted && !chain.iter().any(|certificate| lists.trusts(certificate)) {
        return refuse(StatusCode::BadCertificateUntrusted, "neither it nor one of its issuers is trusted");
    }
    check_times(&chain, demands.now)?;
    check_uses(&chain, demands.purpose)?;
    // who trusts nobody has nobody's lists
    if demands.trusted { check_revocation(&chain, lists, demands) } else { Ok(()) }
}

/// The chain from the certificate to a root, which is its own issuer. Each signature was verified.
fn build(
    leaf: &Arc<Certificate>,
    sent: &[Arc<Certificate>],
    lists: &Lists,
    now: Duration,
) -> Result<Vec<Arc<Certificate>>, Refusal> {
    let mut chain = vec![leaf.clone()];
    loop {
        let Some(last) = chain.last() else { return refuse(StatusCode::BadCertificateInvalid, "no certificate") };
        let top = last.is_self_issued();
        if top && is_signed_by(last, last).is_ok() {
            return Ok(chain);
        }
        if chain.len() == MOST_CHAIN {
            return refuse(StatusCode::BadCertificateChainIncomplete, "its chain of issuers is too long");
        }
        let next = issuer(last, sent, lists, now, &chain)
            .map_err(|status| Refusal { status: status.0, reason: format!("{}: {}", last.subject, status.1) })?;
        chain.push(next);
    }
}

/// The issuer of a certificate: by name, then by signature. Trusted ones and those that are valid now come first.
fn issuer(
    certificate: &Certificate,
    sent: &[Arc<Certificate>],
    lists: &Lists,
    now: Duration,
    chain: &[Arc<Certificate>],
) -> Result<Arc<Certificate>, (StatusCode, String)> {
    let all = lists.trusted.iter().chain(&lists.issuers).chain(sent);
    let mut candidates: Vec<&Arc<Certificate>> = all
        .filter(|candidate| is_named_by(certificate, candidate) && !chain.iter().any(|used| used.der == candidate.der))
        .collect();
    candidates.sort_by_key(|candidate| (!lists.trusts(candidate), !is_valid_at(candidate, now)));
    let mut flaw = None;
    for candidate in candidates.into_iter().take(MOST_CANDIDATES) {
        match is_signed_by(certificate, candidate) {
            Ok(()) => return Ok(candidate.clone()),
            Err(found) => flaw = Some(found),
        }
    }
    Err(match flaw {
        None if certificate.is_self_issued() => match is_signed_by(certificate, certificate) {
            Err(flaw) => (status_of(flaw), flaw.to_string()),
            Ok(()) => (StatusCode::BadCertificateChainIncomplete, "its issuer is itself".into()),
        },
        None => (
            StatusCode::BadCertificateChainIncomplete,
            format!("its issuer {} is not in issuers/certs or trusted/certs", certificate.issuer()),
        ),
        Some(flaw) => (status_of(flaw), flaw.to_string()),
    })
}

fn status_of(flaw: Flaw) -> StatusCode {
    match flaw {
        Flaw::Wrong => StatusCode::BadCertificateInvalid,
        Flaw::Algorithm | Flaw::Key => StatusCode::BadCertificatePolicyCheckFailed,
    }
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> Result<(), Flaw> {
    let parsed = &certificate.parsed;
    let signature = parsed.signature.as_bytes().unwrap_or_default();
    // the algorithm is told twice, and the one that is signed must be the same (RFC 5280, 4.1.1.2)
    if parsed.signature_algorithm != parsed.tbs_certificate.signature {
        return Err(Flaw::Wrong);
    }
    let key = &issuer.parsed.tbs_certificate.subject_public_key_info;
    signature::verify(key, &parsed.signature_algorithm, certificate.signed(), signature)
}

/// Whether the names, and the identifiers of keys where both have them, fit together (RFC 5280, 4.2.1.1).
fn is_named_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let (child, parent) = (&certificate.parsed.tbs_certificate, &issuer.parsed.tbs_certificate);
    if child.issuer != parent.subject {
        return false;
    }
    let wanted = child.get::<AuthorityKeyIdentifier>().ok().flatten().and_then(|(_, wanted)| wanted.key_identifier);
    let offered = parent.get::<SubjectKeyIdentifier>().ok().flatten().map(|(_, offered)| offered.0);
    match (wanted, offered) {
        (Some(wanted), Some(offered)) => wanted == offered,
        _ => true,
    }
}

fn check_keys(chain: &[Arc<Certificate>], purpose: Purpose) -> Result<(), Refusal> {
    for (index, certificate) in chain.iter().enumerate() {
        let info = &certificate.parsed.tbs_certificate.subject_public_key_info;
        let bits = signature::key(info).map_or(0, |key| key.n().bits());
        let enough = match purpose {
            Purpose::Application(policy) if index == 0 => bits >= LEAST_BITS && is_length_of(policy, bits),
            _ => bits >= LEAST_BITS,
        };
        if !enough {
            let reason = format!("{}: its key is not RSA of a length that the policy allows", certificate.subject);
            return refuse(StatusCode::BadCertificatePolicyCheckFailed, reason);
        }
    }
    Ok(())
}

/// Whether a policy allows keys of this length. The crate panics for policies that are none.
fn is_length_of(policy: SecurityPolicy, bits: usize) -> bool {
    match policy {
        SecurityPolicy::Unknown | SecurityPolicy::None => true,
        _ => policy.is_valid_keylength(bits),
    }
}

fn is_valid_at(certificate: &Certificate, now: Duration) -> bool {
    certificate.not_before() <= now && now <= certificate.not_after()
}

fn check_times(chain: &[Arc<Certificate>], now: Duration) -> Result<(), Refusal> {
    for (index, certificate) in chain.iter().enumerate() {
        if !is_valid_at(certificate, now) {
            let validity = &certificate.parsed.tbs_certificate.validity;
            let reason = format!(
                "{}: valid from {} to {} only, by the clock of this computer not now",
                certificate.subject, validity.not_before, validity.not_after
            );
            let first = index == 0;
            return refuse(
                if first { StatusCode::BadCertificateTimeInvalid } else { StatusCode::BadCertificateIssuerTimeInvalid },
                reason,
            );
        }
    }
    Ok(())
}

fn check_uses(chain: &[Arc<Certificate>], purpose: Purpose) -> Result<(), Refusal> {
    // certificate authorities between this one and the leaf (RFC 5280, 4.2.1.9)
    let mut below = 0;
    for (index, certificate) in chain.iter().enumerate() {
        let unfit = match index {
            0 => unfit_for(certificate, purpose, chain.len() == 1),
            _ => unfit_issuer(certificate, below),
        };
        if let Some(reason) = unknown_critical(certificate).or(unfit) {
            let status = match index {
                0 => StatusCode::BadCertificateUseNotAllowed,
                _ => StatusCode::BadCertificateIssuerUseNotAllowed,
            };
            return refuse(status, format!("{}: {reason}", certificate.subject));
        }
        if index > 0 && !certificate.is_self_issued() {
            below += 1;
        }
    }
    Ok(())
}

/// What is wrong with a certificate as one of an application or user (OPC 10000-6, 6.2.2). `own`: it is its own issuer.
fn unfit_for(certificate: &Certificate, purpose: Purpose, own: bool) -> Option<String> {
    let certificate = &certificate.parsed.tbs_certificate;
    let usage = certificate.get::<KeyUsage>();
    let extended = certificate.get::<ExtendedKeyUsage>();
    let constraints = certificate.get::<BasicConstraints>();
    let (Ok(usage), Ok(extended), Ok(constraints)) = (usage, extended, constraints) else {
        return Some("an extension can't be read".into());
    };
    // tools of many clients mark what they sign themselves as an authority
    if !own && constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Some("it is of a certificate authority, of no application or user".into());
    }
    if let Some((_, usage)) = usage {
        let encrypts = usage.key_encipherment() || usage.data_encipherment() || purpose == Purpose::User;
        if !usage.digital_signature() || !encrypts {
            return Some("its key usage lacks digitalSignature or keyEncipherment".into());
        }
    }
    let client = |use_: &ObjectIdentifier| [rfc5280::ID_KP_CLIENT_AUTH, rfc5280::ANY_EXTENDED_KEY_USAGE].contains(use_);
    let fits = purpose == Purpose::User || extended.is_none_or(|(_, uses)| uses.0.iter().any(client));
    (!fits).then(|| "its extended key usage lacks clientAuth".into())
}

/// What is wrong with a certificate as an issuer's.
fn unfit_issuer(certificate: &Certificate, below: u8) -> Option<String> {
    let certificate = &certificate.parsed.tbs_certificate;
    let (Ok(usage), Ok(constraints)) = (certificate.get::<KeyUsage>(), certificate.get::<BasicConstraints>()) else {
        return Some("an extension can't be read".into());
    };
    if usage.is_some_and(|(_, usage)| !usage.key_cert_sign()) {
        return Some("its key usage lacks keyCertSign".into());
    }
    match constraints {
        Some((_, constraints)) if constraints.ca => {
            let too_long = constraints.path_len_constraint.is_some_and(|most| below > most);
            too_long.then(|| "more authorities are below it than it allows".into())
        }
        _ => Some("its basic constraints don't make it a certificate authority".into()),
    }
}

/// A critical extension that nobody here understands (RFC 5280, 4.2).
fn unknown_critical(certificate: &Certificate) -> Option<String> {
    const KNOWN: [ObjectIdentifier; 7] = [
        rfc5280::ID_CE_BASIC_CONSTRAINTS,
        rfc5280::ID_CE_KEY_USAGE,
        rfc5280::ID_CE_EXT_KEY_USAGE,
        rfc5280::ID_CE_SUBJECT_ALT_NAME,
        rfc5280::ID_CE_SUBJECT_KEY_IDENTIFIER,
        rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER,
        // no policy is asked for, so any will do
        rfc5280::ID_CE_CERTIFICATE_POLICIES,
    ];
    let extensions = certificate.parsed.tbs_certificate.extensions.iter().flatten();
    let mut critical = extensions.filter(|extension| extension.critical);
    let unknown = critical.find(|extension| !KNOWN.contains(&extension.extn_id))?;
    Some(format!("its critical extension {} is not understood here", unknown.extn_id))
}

fn check_revocation(chain: &[Arc<Certificate>], lists: &Lists, demands: Demands) -> Result<(), Refusal> {
    for (index, (certificate, issuer)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        let first = index == 0;
        let lists = lists.revocations.iter().map(Arc::as_ref);
        match standing(certificate, issuer, lists, demands.now) {
            Standing::NotRevoked => {}
            Standing::Revoked => {
                let status =
                    if first { StatusCode::BadCertificateRevoked } else { StatusCode::BadCertificateIssuerRevoked };
                return refuse(status, format!("{}: revoked by its issuer", certificate.subject));
            }
            Standing::Unknown(_) if !demands.revocation_lists => {}
            Standing::Unknown(reason) => {
                let status = if first {
                    StatusCode::BadCertificateRevocationUnknown
                } else {
                    StatusCode::BadCertificateIssuerRevocationUnknown
                };
                return refuse(status, reason);
            }
        }
    }
    Ok(())
}
