//! `canvoy cert` against folders of certificates that tests/fixtures/pki brings.

use super::*;
use crate::plant::opcua::pki::Trust;

/// 2030-01-01.
const NOW: Duration = Duration::from_secs(1_893_456_000);

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("canvoy-cert-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let pki = folder.join("pki");
        Trust::new(&pki, pki::Rules::default()).unwrap();
        Place(pki)
    }

    /// Runs `canvoy cert trust`.
    fn trust(&self, what: &str, issuer: bool, user: bool) -> Result<String, String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pki").join(what);
        let given = fs::read(file).ok();
        trust(&self.0, Path::new(what), given, issuer, user, NOW).map_err(|error| error.to_string())
    }

    fn reject(&self, thumbprint: &str) -> Result<String, String> {
        reject(&self.0, thumbprint).map_err(|error| error.to_string())
    }

    fn put(&self, from: &str, to: &str) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pki").join(from);
        fs::copy(&file, self.0.join(to)).unwrap();
        Certificate::from_der(&fs::read(file).unwrap()).map(|found| found.thumbprint_text()).unwrap_or_default()
    }

    fn files(&self, folder: &str) -> usize {
        pki::files(&self.0.join(folder)).len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn from_rejected_to_trusted_and_back() {
    let place = Place::new("back");
    let alone = place.put("self.der", "rejected/x.der");
    let user = place.put("user.der", "users_rejected/y.der");
    assert!(place.trust(&alone[..6], false, false).unwrap().starts_with("CN=Alone is trusted: trusted/certs/Alone ["));
    assert!(place.trust(&user.to_uppercase(), false, false).unwrap().contains("is trusted: users_trusted/certs/"));
    assert_eq!((place.files("rejected"), place.files("trusted/certs"), place.files("users_trusted/certs")), (0, 1, 1));
    assert!(place.trust(&alone[..6], false, false).unwrap().contains("is in trusted/certs/Alone ["));
    place.put("self.der", "trusted/copy");
    assert!(place.reject(&alone[..4]).unwrap().starts_with("CN=Alone is no longer trusted: rejected/Alone ["));
    assert_eq!((place.files("rejected"), place.files("trusted"), place.files("trusted/certs")), (1, 0, 0));
    for (thumbprint, want) in [
        (&alone[..4], "no trusted certificate"),
        ("0000", "no trusted certificate"),
        ("abc", "4 to 40 digits"),
        ("self.der", "4 to 40 digits"),
    ] {
        let refused = place.reject(thumbprint).unwrap_err();
        assert!(refused.contains(want), "{refused}");
    }
    assert!(place.trust("0000", false, false).unwrap_err().contains("`canvoy cert list` shows them"));
}

#[test]
fn authorities_and_their_lists_come_from_files() {
    let place = Place::new("files");
    let refused = place.trust("root.crl", false, false).unwrap_err();
    assert!(refused.contains("trust that first"), "{refused}");
    let said = place.trust("root.der", false, false).unwrap();
    assert!(said.contains("until its revocation list is here"), "{said}");
    assert!(place.trust("root.crl", false, false).unwrap().contains("is in force: trusted/crl/Root ["));
    assert!(!place.trust("root.der", false, false).unwrap().contains("revocation list"));
    assert!(place.trust("intermediate.der", true, false).unwrap().contains("completes chains: issuers/certs/Line 3 ["));
    assert!(place.trust("intermediate_outdated.crl", true, false).unwrap().contains("out of date"));
    assert!(!place.trust("list.pem", true, false).unwrap().contains("out of date"));
    assert_eq!(place.files("issuers/crl"), 1, "the newer takes the place of the older");
    assert!(place.trust("chain.pem", false, true).unwrap().matches("is trusted: users_trusted").count() == 3);
    assert!(place.trust("make.sh", false, false).unwrap_err().contains("holds no certificate"));
    // several in one file are nothing to be moved
    place.put("chain.pem", "trusted/certs/chain.pem");
    let leaf = place.put("leaf.der", "rejected/leaf.der");
    assert!(place.reject(&leaf).unwrap_err().contains("chain.pem holds several certificates"));
}

#[test]
fn the_list_says_what_is_wrong() {
    let place = Place::new("list");
    pki::own(&place.0, &[]).unwrap();
    place.put("self_expired.der", "rejected/x.der");
    place.put("self_future.der", "trusted/y.der");
    place.put("root.der", "trusted/certs/root.der");
    place.put("intermediate_outdated.crl", "issuers/crl/z");
    fs::write(place.0.join("trusted/certs/readme"), "hello").unwrap();
    let inventory = pki::inventory(&place.0);
    let text = listing(&place.0, &inventory, NOW);
    for want in [
        "\nown\n",
        "CN=Canvoy on ",
        ":canvoy, ",
        "own/certificate.der",
        "WARNING: ended 3287 days ago",
        "WARNING: not valid before 2125-01-01",
        "O=Plant,CN=Root, certificate authority",
        "2026-01-01 to 2126-01-01",
        "revocation list of O=Plant,CN=Line 3: 1 revoked, next by 2026-03-01",
        "WARNING: out of date",
        "not read: trusted/certs/readme: it is no certificate",
        "lets a rejected one in",
    ] {
        assert!(text.contains(want), "{want} is not in\n{text}");
    }
    let value = as_json(&place.0, &inventory, NOW);
    let expired = value["certificates"].as_array().unwrap().iter().find(|found| found["store"] == "rejected").unwrap();
    assert_eq!(expired["application_uri"], "urn:plant:client");
    assert_eq!((&expired["not_after"], &expired["days_left"]), (&json!("2021-01-01"), &json!(-3287)));
    assert_eq!(value["revocation_lists"][0]["outdated"], true);
    for (days, want) in [(61, None), (59, Some("ends in 59 days")), (0, Some("ends in 0 days"))] {
        let root = inventory.certificates.iter().find(|held| held.certificate.subject.contains("Root")).unwrap();
        let now = root.certificate.not_after() - Duration::from_secs(86_400 * days);
        assert_eq!(warning(&root.certificate, now).as_deref(), want);
    }
}
