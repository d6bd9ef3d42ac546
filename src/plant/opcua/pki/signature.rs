//! Whether a certificate or a revocation list was signed with the key of a certificate.

use rsa::pkcs1::RsaPssParams;
use rsa::signature::{DigestVerifier, Verifier};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPublicKey, pkcs1v15, pss, sha2};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::oid::db::rfc5912;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Bits of the shortest key: the least that any current policy asks for (OPC 10000-7, 6.6.161 to 6.6.165).
pub const LEAST_BITS: usize = 2048;

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("its signature is not of its issuer's key")]
    Wrong,
    #[error("its signature is none of RSA with SHA-256, SHA-384 or SHA-512")]
    Algorithm,
    #[error("its issuer's key is not RSA with 2048 to 4096 bits (elliptic curves can't be used here)")]
    Key,
}

/// The RSA key of a certificate, if it is one that can be used.
pub fn key(info: &SubjectPublicKeyInfoOwned) -> Result<RsaPublicKey, Flaw> {
    let key = RsaPublicKey::try_from(info.owned_to_ref()).map_err(|_| Flaw::Key)?;
    if key.n().bits() < LEAST_BITS { Err(Flaw::Key) } else { Ok(key) }
}

/// Checks a signature over `signed`.
pub fn verify(
    issuer: &SubjectPublicKeyInfoOwned,
    algorithm: &AlgorithmIdentifierOwned,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), Flaw> {
    match algorithm.oid {
        rfc5912::SHA_256_WITH_RSA_ENCRYPTION => pkcs1::<Sha256>(key(issuer)?, signed, signature),
        rfc5912::SHA_384_WITH_RSA_ENCRYPTION => pkcs1::<Sha384>(key(issuer)?, signed, signature),
        rfc5912::SHA_512_WITH_RSA_ENCRYPTION => pkcs1::<Sha512>(key(issuer)?, signed, signature),
        rfc5912::ID_RSASSA_PSS => {
            let parameters = algorithm.parameters.as_ref().ok_or(Flaw::Algorithm)?;
            let parameters: RsaPssParams<'_> = parameters.decode_as().map_err(|_| Flaw::Algorithm)?;
            // one hash for both uses is all that anybody does, and all that the crate can
            let masked = parameters.mask_gen.parameters.map(|hash| hash.oid);
            if masked != Some(parameters.hash.oid) {
                return Err(Flaw::Algorithm);
            }
            let salt = usize::from(parameters.salt_len);
            match parameters.hash.oid {
                rfc5912::ID_SHA_256 => probabilistic::<Sha256>(key(issuer)?, salt, signed, signature),
                rfc5912::ID_SHA_384 => probabilistic::<Sha384>(key(issuer)?, salt, signed, signature),
                rfc5912::ID_SHA_512 => probabilistic::<Sha512>(key(issuer)?, salt, signed, signature),
                _ => Err(Flaw::Algorithm),
            }
        }
        _ => Err(Flaw::Algorithm),
    }
}

/// RSASSA-PKCS1-v1_5 (RFC 8017, 8.2).
fn pkcs1<D: Digest + AssociatedOid>(key: RsaPublicKey, signed: &[u8], signature: &[u8]) -> Result<(), Flaw> {
    let signature = pkcs1v15::Signature::try_from(signature).map_err(|_| Flaw::Wrong)?;
    pkcs1v15::VerifyingKey::<D>::new(key).verify(signed, &signature).map_err(|_| Flaw::Wrong)
}

/// RSASSA-PSS (RFC 8017, 8.1).
fn probabilistic<D>(key: RsaPublicKey, salt: usize, signed: &[u8], signature: &[u8]) -> Result<(), Flaw>
where
    D: Digest + sha2::digest::FixedOutputReset,
{
    let signature = pss::Signature::try_from(signature).map_err(|_| Flaw::Wrong)?;
    let key = pss::VerifyingKey::<D>::new_with_salt_len(key, salt);
    key.verify_digest(D::new_with_prefix(signed), &signature).map_err(|_| Flaw::Wrong)
}
