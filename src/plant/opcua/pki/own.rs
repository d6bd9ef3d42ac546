//! Our own certificate and key: made at the first start, made anew when asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use opcua::crypto::{PrivateKey, X509, X509Data};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::{Certificate, hexadecimal};
use super::rejected::private_folder;
use crate::plant::private;
use crate::store::clock;

/// RSA, as all three security policies take it.
const KEY_BITS: u32 = 2048;
/// Long enough for a machine that nobody visits every year, and below what clients complain about.
const DAYS: u32 = 5 * 365;

/// Our own certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// As the certificate says it: clients compare the two.
    pub application_uri: String,
}

/// The name of this machine.
pub fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}

/// A certificate of ours that ends in less is worth a warning.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// The certificate and key in `pki/own`, made where they are missing. `hosts`: names and addresses for the certificate
/// besides this machine's own. Takes the time of an RSA key; blocks.
pub fn own(pki: &Path, hosts: &[String]) -> anyhow::Result<Own> {
    let folder = pki.join("own");
    private_folder(&folder)?;
    let (certificate, key) = (folder.join("certificate.der"), folder.join("key.pem"));
    if certificate.exists() && key.exists() {
        let mode = fs::metadata(&key).with_context(|| format!("read {}", key.display()))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(file = %key.display(), "others than its owner may use the private key; chmod 600");
        }
        let there = read_certificate(&certificate)?;
        check_pair(&there, &read_key(&key)?, &certificate)?;
        let application_uri = there.uris.first().cloned().ok_or_else(|| {
            anyhow!("{} names no application URI; remove it and key.pem to have new ones made", certificate.display())
        })?;
        return Ok(Own { certificate, key, application_uri });
    }
    let hostname = hostname();
    let application_uri = format!("urn:{hostname}:canvoy");
    let mut names = vec![hostname.clone(), "localhost".into(), "127.0.0.1".into()];
    names.extend(hosts.iter().filter(|host| !names.contains(host)).cloned().collect::<Vec<_>>());
    let mut data = data(&application_uri);
    data.alt_host_names.add_addresses(&names);
    let (x509, private) = X509::cert_and_pkey(&data).map_err(|error| anyhow!("make a certificate: {error}"))?;
    write_key(&key, &private)?;
    write_certificate(&certificate, &x509)?;
    tracing::info!(file = %certificate.display(), application_uri, "own certificate made");
    Ok(Own { certificate, key, application_uri })
}

/// Whether a certificate of ours that is good until `until` is worth a warning at `now`; both since 1970.
pub fn ends_soon(until: Duration, now: Duration) -> bool {
    until < now + SOON
}

/// What was made anew.
pub struct Renewed {
    pub certificate: PathBuf,
    /// The old files, under their new names.
    pub kept: Vec<PathBuf>,
}

/// Makes a new certificate of ours, for the same application URI, names and addresses, and for `hosts`. The key stays, unless
/// a new one is asked for. The old files are kept beside. Takes the time of an RSA key; blocks.
pub fn renew(pki: &Path, hosts: &[String], new_key: bool) -> anyhow::Result<Renewed> {
    let folder = pki.join("own");
    let (certificate, key) = (folder.join("certificate.der"), folder.join("key.pem"));
    let old = read_certificate(&certificate)?;
    if !old.is_self_issued() {
        bail!(
            "{} was issued by {}: a new one comes from there; put it in place of this file",
            certificate.display(),
            old.issuer()
        );
    }
    let private = if new_key {
        PrivateKey::new(KEY_BITS).map_err(|error| anyhow!("make a key: {error}"))?
    } else {
        let private = read_key(&key)?;
        check_pair(&old, &private, &certificate)?;
        private
    };
    let names = old.parsed.tbs_certificate.get::<SubjectAltName>().ok().flatten();
    let (Some((_, names)), Some(application_uri)) = (names, old.uris.first()) else {
        bail!("{} names no application URI; remove it and key.pem to have new ones made", certificate.display());
    };
    let mut data = data(application_uri);
    // the application URI comes first: some clients look nowhere else
    let rest = names.0.into_iter().filter(|name| !matches!(name, GeneralName::UniformResourceIdentifier(_)));
    data.alt_host_names.names.0.extend(rest);
    for host in hosts {
        if old.x509.is_hostname_valid(host).is_err() {
            data.alt_host_names.add_address(host);
        }
    }
    let x509 = X509::from_pkey(&private, &data).map_err(|error| anyhow!("make a certificate: {error}"))?;

    let mark = hexadecimal(&old.thumbprint[..4]);
    let file = folder.join(format!("certificate.old-{mark}.der"));
    private::write(&file, &old.der)?;
    let mut kept = vec![file];
    if new_key {
        // without its old key the old certificate is of no use; a key that can't be read is of none either
        if let Ok(bytes) = fs::read(&key) {
            let file = folder.join(format!("key.old-{mark}.pem"));
            private::write(&file, &bytes)?;
            kept.push(file);
        }
        write_key(&key, &private)?;
    }
    write_certificate(&certificate, &x509)?;
    Ok(Renewed { certificate, kept })
}

/// What our certificates say.
fn data(application_uri: &str) -> X509Data {
    X509Data {
        key_size: KEY_BITS,
        common_name: format!("Canvoy on {}", hostname()),
        organization: "Canvoy".into(),
        organizational_unit: String::new(),
        country: String::new(),
        state: String::new(),
        alt_host_names: X509Data::alt_host_names(application_uri, None, false, false, false),
        certificate_duration_days: DAYS + days_unknown(clock::realtime()),
    }
}

fn read_certificate(file: &Path) -> anyhow::Result<Certificate> {
    let der = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Certificate::from_der(&der).map_err(|_| anyhow!("{} is no X.509 certificate in DER form", file.display()))
}

fn read_key(file: &Path) -> anyhow::Result<PrivateKey> {
    let pem = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    PrivateKey::from_pem(&pem).map_err(|_| anyhow!("{} is no RSA key in PEM form", file.display()))
}

/// Whether the key is the certificate's.
fn check_pair(certificate: &Certificate, key: &PrivateKey, file: &Path) -> anyhow::Result<()> {
    let of_key = key.public_key_to_info().map_err(|_| anyhow!("key.pem has no public part"))?;
    let of_certificate = &certificate.parsed.tbs_certificate.subject_public_key_info;
    if of_key.subject_public_key != of_certificate.subject_public_key {
        bail!("key.pem is not the key of {}: put back the one that is, or remove both", file.display());
    }
    Ok(())
}

fn write_key(file: &Path, key: &PrivateKey) -> anyhow::Result<()> {
    let pem = key.to_der().ok().and_then(|der| der.to_pem("PRIVATE KEY", Default::default()).ok());
    let pem = pem.ok_or_else(|| anyhow!("write the private key as PEM"))?;
    private::write(file, pem.as_bytes())
}

/// It is public, but nothing needs it to be readable by others.
fn write_certificate(file: &Path, x509: &X509) -> anyhow::Result<()> {
    let der = x509.to_der().map_err(|_| anyhow!("write the certificate as DER"))?;
    private::write(file, &der)
}

/// Days by which a clock that is not set is behind at least: a certificate made then must outlive its being set.
fn days_unknown(now: u64) -> u32 {
    const DAY: u64 = 86_400_000_000_000;
    u32::try_from(clock::FLOOR.saturating_sub(now) / DAY).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_made_before_the_clock_was_set_is_valid_after() {
        for (now, want) in
            [(0, 20_454), (clock::FLOOR - 86_400_000_000_000, 1), (clock::FLOOR, 0), (clock::FLOOR * 2, 0)]
        {
            assert_eq!(days_unknown(now), want);
        }
    }

    #[test]
    fn a_certificate_is_warned_about_for_its_last_month() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        for (until, now, want) in [(100, 69, false), (100, 71, true), (100, 100, true), (100, 200, true)] {
            assert_eq!(ends_soon(days(until), days(now)), want, "{until} {now}");
        }
    }
}
