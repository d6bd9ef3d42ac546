//! Certificates: our own, made at the first start, and those of clients, trusted by being in a folder.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use opcua::crypto::{CertificateStore, PrivateKey, SecurityPolicy, X509, X509Data};
use opcua::types::{DateTime, StatusCode};

use crate::plant::access::write_private;
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

/// A folder that only its owner may enter.
fn private_folder(folder: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("make the folder {}", folder.display()))
}

/// The certificate and key in `pki/own`, made where they are missing. `hosts`: names and addresses for the certificate
/// besides this machine's own. Takes the time of an RSA key; blocks.
pub fn own(pki: &Path, hosts: &[String]) -> anyhow::Result<Own> {
    let folder = pki.join("own");
    private_folder(&folder)?;
    let (certificate, key) = (folder.join("certificate.der"), folder.join("key.pem"));
    let read = |file: &Path| fs::read(file).with_context(|| format!("read {}", file.display()));
    if certificate.exists() && key.exists() {
        let mode = fs::metadata(&key).with_context(|| format!("read {}", key.display()))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(file = %key.display(), "others than its owner may use the private key; chmod 600");
        }
        let der = read(&certificate)?;
        X509::from_der(&der).map_err(|_| anyhow!("{} is no X.509 certificate in DER form", certificate.display()))?;
        PrivateKey::from_pem(&read(&key)?).map_err(|_| anyhow!("{} is no RSA key in PEM form", key.display()))?;
        let application_uri = uri(&der).ok_or_else(|| {
            anyhow!("{} names no application URI; remove it and key.pem to have new ones made", certificate.display())
        })?;
        return Ok(Own { certificate, key, application_uri });
    }
    let hostname = hostname();
    let application_uri = format!("urn:{hostname}:canvoy");
    let mut names = vec![hostname.clone(), "localhost".into(), "127.0.0.1".into()];
    names.extend(hosts.iter().filter(|host| !names.contains(host)).cloned().collect::<Vec<_>>());
    let mut alternatives = X509Data::alt_host_names(&application_uri, None, false, false, false);
    alternatives.add_addresses(&names);
    let data = X509Data {
        key_size: KEY_BITS,
        common_name: format!("Canvoy on {hostname}"),
        organization: "Canvoy".into(),
        organizational_unit: String::new(),
        country: String::new(),
        state: String::new(),
        alt_host_names: alternatives,
        certificate_duration_days: DAYS + days_unknown(clock::realtime()),
    };
    let (x509, private) = X509::cert_and_pkey(&data).map_err(|error| anyhow!("make a certificate: {error}"))?;
    let pem = private.to_der().ok().and_then(|der| der.to_pem("PRIVATE KEY", Default::default()).ok());
    let pem = pem.ok_or_else(|| anyhow!("write the private key as PEM"))?;
    let der = x509.to_der().map_err(|_| anyhow!("write the certificate as DER"))?;
    write_private(&key, pem.as_bytes())?;
    // public, but nothing needs it to be readable by others
    write_private(&certificate, &der)?;
    tracing::info!(file = %certificate.display(), application_uri, "own certificate made");
    Ok(Own { certificate, key, application_uri })
}

/// Days by which a clock that is not set is behind at least: a certificate made then must outlive its being set.
fn days_unknown(now: u64) -> u32 {
    const DAY: u64 = 86_400_000_000_000;
    u32::try_from(clock::FLOOR.saturating_sub(now) / DAY).unwrap_or(0)
}

/// The application URI among the certificate's alternative names (RFC 5280, 4.2.1.6).
fn uri(der: &[u8]) -> Option<String> {
    /// The object identifier 2.5.29.17, subjectAltName.
    const ALTERNATIVE_NAMES: [u8; 5] = [0x06, 0x03, 0x55, 0x1D, 0x11];
    const BOOLEAN: u8 = 0x01;
    /// `uniformResourceIdentifier [6]`.
    const URI: u8 = 0x86;
    let at = der.windows(ALTERNATIVE_NAMES.len()).position(|window| window == ALTERNATIVE_NAMES)?;
    let rest = der.get(at + ALTERNATIVE_NAMES.len()..)?;
    let (tag, mut content, after) = element(rest)?;
    if tag == BOOLEAN {
        // "critical"
        (_, content, _) = element(after)?;
    }
    let (_, mut names, _) = element(content)?;
    while let Some((tag, name, rest)) = element(names) {
        if tag == URI {
            return String::from_utf8(name.to_vec()).ok();
        }
        names = rest;
    }
    None
}

/// One DER element: tag, content, what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Certificates of clients: trusted are those whose file is in `pki/trusted`, under any name, DER or PEM.
#[derive(Clone, Debug)]
pub struct Trust {
    trusted: PathBuf,
    rejected: PathBuf,
    /// The server layer's own folder. It looks for a client's certificate there under a name of its own, and writes
    /// whatever it does not find; so it gets a copy of those that were let in, and nothing else.
    session: PathBuf,
    /// Every valid certificate is let in, and none is kept.
    any: bool,
    /// When an unknown certificate was last reported.
    warned: Arc<Mutex<Option<Instant>>>,
}

impl Trust {
    pub fn new(pki: &Path, any: bool) -> anyhow::Result<Trust> {
        let [trusted, rejected, session] = ["trusted", "rejected", "session"].map(|name| pki.join(name));
        let trust = Trust { trusted, rejected, session, any, warned: Arc::default() };
        match fs::remove_dir_all(&trust.session) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("clear {}", trust.session.display()));
            }
            _ => {}
        }
        for folder in [&trust.trusted, &trust.rejected, &trust.session.join("trusted"), &trust.session.join("rejected")]
        {
            private_folder(folder)?;
        }
        Ok(trust)
    }

    /// The folder that the server layer takes for its certificate store.
    pub fn session(&self) -> &Path {
        &self.session
    }

    /// Whether a client with this certificate may open a secure channel. An unknown one is put into `pki/rejected`, from
    /// where it can be moved to `pki/trusted`. Blocks.
    pub fn admit(&self, policy: SecurityPolicy, der: &[u8]) -> Result<(), StatusCode> {
        let certificate = X509::from_der(der).map_err(|_| StatusCode::BadCertificateInvalid)?;
        let name = CertificateStore::cert_file_name(&certificate).replace(['/', '\0'], "_");
        if !self.any && !self.is_trusted(der) {
            self.reject(&name, der);
            self.warn(&name);
            return Err(StatusCode::BadCertificateUntrusted);
        }
        let bits = certificate.key_length().map_err(|_| StatusCode::BadCertificateInvalid)?;
        if bits < KEY_BITS as usize || !policy.is_valid_keylength(bits) {
            return Err(StatusCode::BadCertificatePolicyCheckFailed);
        }
        certificate.is_time_valid(&DateTime::now().as_chrono()).map_err(|error| error.status())?;
        self.hand_to_session(&name, der).map_err(|error| {
            tracing::error!(folder = %self.session.display(), %error, "client certificate can't be kept for its session");
            StatusCode::BadInternalError
        })
    }

    /// Once a second at most: certificates are cheap.
    fn warn(&self, name: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if warned.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            *warned = Some(Instant::now());
            let file = self.rejected.join(name);
            tracing::warn!(file = %file.display(), "client certificate not trusted; move it to ../trusted to let the client in");
        }
    }

    fn is_trusted(&self, der: &[u8]) -> bool {
        files(&self.trusted).into_iter().any(|(_, file)| {
            let Ok(bytes) = fs::read(&file) else { return false };
            bytes == der || X509::from_pem(&bytes).is_ok_and(|pem| pem.to_der().is_ok_and(|pem| pem == der))
        })
    }

    /// Keeps the newest few: an attacker can make certificates faster than anyone can look at them.
    fn reject(&self, name: &str, der: &[u8]) {
        let mut kept = files(&self.rejected);
        kept.retain(|(_, file)| file.file_name().is_none_or(|kept| kept != name));
        kept.sort();
        let over = (kept.len() + 1).saturating_sub(MOST_REJECTED);
        let removed = kept.iter().take(over).try_for_each(|(_, file)| fs::remove_file(file));
        let file = self.rejected.join(name);
        if let Err(error) = removed.and_then(|()| fs::write(&file, der)) {
            tracing::warn!(file = %file.display(), %error, "rejected certificate can't be kept");
        }
    }

    fn hand_to_session(&self, name: &str, der: &[u8]) -> std::io::Result<()> {
        let folder = self.session.join("trusted");
        let file = folder.join(name);
        if fs::read(&file).is_ok_and(|there| there == der) {
            return Ok(());
        }
        let mut kept = files(&folder);
        if kept.len() >= MOST_SESSIONS {
            kept.sort();
            kept.iter().take(MOST_SESSIONS / 2).try_for_each(|(_, file)| fs::remove_file(file))?;
        }
        fs::write(&file, der)
    }
}

/// Rejected certificates that are kept.
const MOST_REJECTED: usize = 20;
/// Copies of certificates that were let in. Only where any is trusted are there more than a plant has clients.
const MOST_SESSIONS: usize = 1000;
/// A larger file is no certificate.
const MOST_BYTES: u64 = 64 * 1024;

/// The files of a folder that may be certificates, with the time of their last change.
fn files(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= MOST_BYTES)?;
        Some((metadata.modified().ok()?, entry.path()))
    };
    entries.flatten().filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("canvoy-pki-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A client's certificate.
    fn client(name: &str, bits: u32) -> Vec<u8> {
        let data = X509Data {
            key_size: bits,
            common_name: name.into(),
            organization: String::new(),
            organizational_unit: String::new(),
            country: String::new(),
            state: String::new(),
            alt_host_names: X509Data::alt_host_names("urn:client", None, true, false, false),
            certificate_duration_days: 10,
        };
        X509::cert_and_pkey(&data).unwrap().0.to_der().unwrap()
    }

    #[test]
    fn own_certificate_is_made_once() {
        let pki = folder("own");
        let first = own(&pki, &["plc.example".into(), "10.0.0.7".into()]).unwrap();
        assert_eq!(first.application_uri, format!("urn:{}:canvoy", hostname()));
        assert_eq!(fs::metadata(&first.key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(pki.join("own")).unwrap().permissions().mode() & 0o777, 0o700);
        let pem = fs::read_to_string(&first.key).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && !pem.contains('\r'), "{pem}");
        let der = fs::read(&first.certificate).unwrap();
        let certificate = X509::from_der(&der).unwrap();
        assert_eq!(certificate.key_length().unwrap(), 2048);
        certificate.is_application_uri_valid(&first.application_uri).unwrap();
        for host in ["localhost", "127.0.0.1", "plc.example", "10.0.0.7", &hostname()] {
            certificate.is_hostname_valid(host).unwrap();
        }
        assert_eq!(own(&pki, &[]).unwrap(), first);
        assert_eq!(fs::read(&first.certificate).unwrap(), der);
        fs::write(&first.certificate, "no certificate").unwrap();
        assert!(own(&pki, &[]).unwrap_err().to_string().contains("no X.509 certificate"));
        fs::remove_dir_all(pki).unwrap();
    }

    #[test]
    fn a_certificate_made_before_the_clock_was_set_is_valid_after() {
        for (now, want) in
            [(0, 20_454), (clock::FLOOR - 86_400_000_000_000, 1), (clock::FLOOR, 0), (clock::FLOOR * 2, 0)]
        {
            assert_eq!(days_unknown(now), want);
        }
    }

    #[test]
    fn only_files_in_trusted_are_let_in() {
        let pki = folder("trust");
        let trust = Trust::new(&pki, false).unwrap();
        let policy = SecurityPolicy::Basic256Sha256;
        let (anna, bert) = (client("anna", 2048), client("bert", 2048));
        assert_eq!(trust.admit(policy, &anna), Err(StatusCode::BadCertificateUntrusted));
        assert_eq!(trust.admit(policy, b"nonsense"), Err(StatusCode::BadCertificateInvalid));
        let rejected = files(&pki.join("rejected"));
        assert_eq!(rejected.len(), 1);
        // moved, and under another name: at once
        fs::rename(&rejected[0].1, pki.join("trusted/hmi")).unwrap();
        assert_eq!(trust.admit(policy, &anna), Ok(()));
        assert_eq!(files(&pki.join("session/trusted")).len(), 1);
        assert_eq!(trust.admit(policy, &bert), Err(StatusCode::BadCertificateUntrusted));
        let short = client("short", 1024);
        fs::write(pki.join("trusted/short.der"), &short).unwrap();
        assert_eq!(trust.admit(policy, &short), Err(StatusCode::BadCertificatePolicyCheckFailed));
        fs::remove_file(pki.join("trusted/hmi")).unwrap();
        assert_eq!(trust.admit(policy, &anna), Err(StatusCode::BadCertificateUntrusted));
        let any = Trust::new(&pki, true).unwrap();
        assert_eq!(any.admit(policy, &bert), Ok(()));
        assert_eq!(files(&pki.join("trusted")).len(), 1, "let in, not trusted");
        fs::remove_dir_all(pki).unwrap();
    }

    #[test]
    fn rejected_certificates_are_few() {
        let pki = folder("rejected");
        let trust = Trust::new(&pki, false).unwrap();
        let der = client("flood", 1024);
        for number in 0..MOST_REJECTED + 5 {
            trust.reject(&format!("{number}.der"), &der);
        }
        assert_eq!(files(&pki.join("rejected")).len(), MOST_REJECTED);
        assert!(pki.join(format!("rejected/{}.der", MOST_REJECTED + 4)).exists(), "the newest is there");
        fs::remove_dir_all(pki).unwrap();
    }
}
