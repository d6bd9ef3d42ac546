//! Certificates, chains and revocation lists as clients send them and people put them into folders.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use canvoy::plant::opcua::application::POLICIES;
use canvoy::plant::opcua::pki::{Content, Rules, Trust, read_chain, understand};

/// Trusts the authority of tests/fixtures/pki.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let folder: PathBuf = std::env::temp_dir().join(format!("canvoy-fuzz-pki-{}", std::process::id()));
    let trust = Trust::new(&folder, Rules::default()).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pki");
    for (name, place) in [
        ("root.der", "certs"),
        ("intermediate.der", "certs"),
        ("root.crl", "crl"),
        ("intermediate.crl", "crl"),
        ("self.der", "certs"),
    ] {
        std::fs::copy(fixtures.join(name), folder.join("trusted").join(place).join(name)).unwrap();
    }
    trust
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for policy in POLICIES {
        let _ = TRUST.still(policy, bytes);
    }
    for certificate in read_chain(bytes).into_iter().flatten() {
        let _ = (certificate.user_name(), certificate.common_name(), certificate.thumbprint_text());
        let _ = (certificate.issuer(), certificate.not_before(), certificate.not_after());
    }
    if let Content::Revocations(list) = understand(bytes, Path::new("list.crl")) {
        std::hint::black_box(list);
    }
});
