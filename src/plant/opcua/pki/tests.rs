//! Certificates of clients and users against folders and clocks. Those of tests/fixtures/pki are made by the script there.

use crate::plant::scratch::Scratch;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opcua::crypto::{SecurityPolicy, X509, X509Data};
use opcua::types::StatusCode as S;

use super::chain::{Demands, Lists, Purpose, validate};
use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pki").join(name)
}

/// A certificate of tests/fixtures/pki.
fn der(name: &str) -> Vec<u8> {
    fs::read(fixture(&format!("{name}.der"))).unwrap()
}

fn certificate(name: &str) -> Arc<Certificate> {
    Arc::new(Certificate::from_der(&der(name)).unwrap())
}

/// A client's certificate with a key of its own.
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

fn strict() -> Rules {
    Rules::default()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        files(folder).iter().map(|(file, _)| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const POLICY: SecurityPolicy = SecurityPolicy::Basic256Sha256;
/// 2030-01-01.
const NOW: Duration = Duration::from_secs(1_893_456_000);

/// `sent`, `trusted`, `issuers`, `revocations`: names of fixtures with a space between; the first sent is the client's.
fn verdict([sent, trusted, issuers, revocations]: [&str; 4], change: impl Fn(&mut Demands)) -> Result<(), S> {
    let all = |names: &str| names.split_whitespace().map(certificate).collect::<Vec<_>>();
    let list = |name: &str| {
        let file = fixture(&format!("{name}.crl"));
        Arc::new(RevocationList::from_der(&fs::read(&file).unwrap(), &file).unwrap())
    };
    let lists = Lists {
        trusted: all(trusted),
        issuers: all(issuers),
        revocations: revocations.split_whitespace().map(list).collect(),
    };
    let mut demands =
        Demands { purpose: Purpose::Application(POLICY), trusted: true, revocation_lists: true, now: NOW };
    change(&mut demands);
    let sent = all(sent);
    validate(&sent[0], &sent[1..], &lists, demands).map_err(|refusal| {
        println!("{sent:?}: {}", refusal.reason);
        refusal.status
    })
}

fn check([sent, trusted, issuers, revocations]: [&str; 4], want: Result<(), S>) {
    let found = verdict([sent, trusted, issuers, revocations], |_| {});
    assert_eq!(found, want, "sent {sent}, trusted {trusted}, issuers {issuers}, lists {revocations}");
}

#[test]
fn chains() {
    for (sent, trusted, issuers, want) in [
        ("self", "self", "", Ok(())),
        ("self", "", "self", Err(S::BadCertificateUntrusted)),
        ("self", "", "", Err(S::BadCertificateUntrusted)),
        // the authority is trusted: by its root, by itself, or the client alone is
        ("leaf", "root", "intermediate", Ok(())),
        ("leaf intermediate", "root", "", Ok(())),
        ("leaf intermediate root", "root", "", Ok(())),
        ("leaf root intermediate self", "root", "", Ok(())),
        ("leaf", "intermediate", "root", Ok(())),
        ("leaf", "intermediate root", "", Ok(())),
        ("leaf", "leaf", "intermediate root", Ok(())),
        ("root_leaf", "root", "", Ok(())),
        ("leaf", "self", "intermediate root", Err(S::BadCertificateUntrusted)),
        ("leaf intermediate root", "", "", Err(S::BadCertificateUntrusted)),
        ("leaf", "root", "", Err(S::BadCertificateChainIncomplete)),
        ("leaf", "intermediate", "", Err(S::BadCertificateChainIncomplete)),
        ("leaf", "leaf", "", Err(S::BadCertificateChainIncomplete)),
        // another authority of the same name, first or alone
        ("root_leaf", "other_root root", "", Ok(())),
        ("root_leaf", "root", "other_root", Ok(())),
        ("root_leaf", "other_root", "", Err(S::BadCertificateChainIncomplete)),
        ("root_leaf root", "other_root", "", Err(S::BadCertificateUntrusted)),
    ] {
        check([sent, trusted, issuers, "root intermediate"], want);
    }
}

#[test]
fn keys_and_signatures() {
    for (sent, trusted, issuers, want) in [
        ("leaf_pss", "root", "intermediate", Ok(())),
        ("leaf_sha512", "root", "intermediate", Ok(())),
        ("self_sha1", "self_sha1", "", Err(S::BadCertificatePolicyCheckFailed)),
        ("leaf_sha1", "root", "intermediate", Err(S::BadCertificatePolicyCheckFailed)),
        ("self_short", "self_short", "", Err(S::BadCertificatePolicyCheckFailed)),
        ("leaf_of_curve", "curve", "", Err(S::BadCertificatePolicyCheckFailed)),
    ] {
        check([sent, trusted, issuers, "root intermediate"], want);
    }
    // a signature that was changed, and a body that was
    for at in [-1_isize, 60] {
        let mut bytes = der("leaf");
        let index = if at < 0 { bytes.len() - 1 } else { at as usize };
        bytes[index] ^= 1;
        let Ok(changed) = Certificate::from_der(&bytes) else { continue };
        let lists = Lists {
            trusted: vec![certificate("root")],
            issuers: vec![certificate("intermediate")],
            ..Lists::default()
        };
        let demands =
            Demands { purpose: Purpose::Application(POLICY), trusted: true, revocation_lists: false, now: NOW };
        assert_eq!(validate(&Arc::new(changed), &[], &lists, demands).unwrap_err().status, S::BadCertificateInvalid);
    }
}

#[test]
fn times() {
    for (sent, trusted, issuers, want) in [
        ("self_expired", "self_expired", "", Err(S::BadCertificateTimeInvalid)),
        ("self_future", "self_future", "", Err(S::BadCertificateTimeInvalid)),
        ("self_expired", "", "", Err(S::BadCertificateUntrusted)),
        ("leaf_of_expired", "root", "intermediate_expired", Err(S::BadCertificateIssuerTimeInvalid)),
    ] {
        check([sent, trusted, issuers, "root intermediate"], want);
    }
    for (seconds, want) in [
        (0, Err(S::BadCertificateTimeInvalid)),
        (1_767_225_599, Err(S::BadCertificateTimeInvalid)),
        (1_767_225_600, Ok(())),
        (4_922_899_200, Ok(())),
        (4_922_899_201, Err(S::BadCertificateTimeInvalid)),
    ] {
        let found = verdict(["self", "self", "", ""], |demands| demands.now = Duration::from_secs(seconds));
        assert_eq!(found, want, "{seconds}");
    }
}

#[test]
fn uses() {
    for (sent, trusted, issuers, want) in [
        ("leaf_key_usage", "root", "intermediate", Err(S::BadCertificateUseNotAllowed)),
        ("leaf_server_only", "root", "intermediate", Err(S::BadCertificateUseNotAllowed)),
        ("leaf_critical", "root", "intermediate", Err(S::BadCertificateUseNotAllowed)),
        ("leaf_authority", "root", "intermediate", Err(S::BadCertificateUseNotAllowed)),
        ("self_authority", "self_authority", "", Ok(())),
        ("leaf_of_leaf leaf", "root", "intermediate", Err(S::BadCertificateIssuerUseNotAllowed)),
        ("leaf_of_leaf", "leaf", "root intermediate", Err(S::BadCertificateIssuerUseNotAllowed)),
        ("leaf_of_no_sign no_sign", "root", "", Err(S::BadCertificateIssuerUseNotAllowed)),
        ("leaf_of_deeper deeper", "root", "intermediate", Err(S::BadCertificateIssuerUseNotAllowed)),
    ] {
        check([sent, trusted, issuers, "root intermediate"], want);
    }
}

#[test]
fn revocation() {
    for (sent, lists, want) in [
        ("leaf", "root intermediate", Ok(())),
        ("leaf", "", Err(S::BadCertificateRevocationUnknown)),
        ("leaf", "root", Err(S::BadCertificateRevocationUnknown)),
        ("leaf", "intermediate", Err(S::BadCertificateIssuerRevocationUnknown)),
        ("leaf_revoked", "root intermediate", Err(S::BadCertificateRevoked)),
        ("leaf_of_revoked", "root intermediate_revoked", Err(S::BadCertificateIssuerRevoked)),
        ("leaf", "root intermediate_outdated", Err(S::BadCertificateRevocationUnknown)),
        ("leaf_revoked", "root intermediate_outdated", Err(S::BadCertificateRevoked)),
        ("leaf", "root intermediate_partial", Err(S::BadCertificateRevocationUnknown)),
        // signed by somebody else of the same name
        ("leaf", "forged intermediate", Err(S::BadCertificateIssuerRevocationUnknown)),
        ("leaf", "forged root intermediate", Ok(())),
    ] {
        let issuers = "intermediate intermediate_revoked";
        check([sent, "root", issuers, lists], want);
        let want = match want {
            Err(S::BadCertificateRevocationUnknown | S::BadCertificateIssuerRevocationUnknown) => Ok(()),
            other => other,
        };
        let found = verdict([sent, "root", issuers, lists], |demands| demands.revocation_lists = false);
        assert_eq!(found, want, "{sent} with {lists}, none needed");
    }
}

#[test]
fn who_trusts_anybody_still_looks_at_the_certificate() {
    for (sent, want) in [
        ("self", Ok(())),
        ("leaf", Ok(())),
        ("leaf intermediate root", Ok(())),
        ("self_expired", Err(S::BadCertificateTimeInvalid)),
        ("self_short", Err(S::BadCertificatePolicyCheckFailed)),
        ("self_sha1", Err(S::BadCertificatePolicyCheckFailed)),
        ("leaf_server_only", Err(S::BadCertificateUseNotAllowed)),
    ] {
        assert_eq!(verdict([sent, "", "", ""], |demands| demands.trusted = false), want, "{sent}");
    }
}

#[test]
fn users_need_less_of_a_key_and_one_name() {
    let user = |demands: &mut Demands| demands.purpose = Purpose::User;
    for (name, as_user, as_client, called) in [
        ("user", Ok(()), Err(S::BadCertificateUseNotAllowed), Some("Jörg Müller")),
        ("leaf", Ok(()), Ok(()), Some("Client")),
        ("user_two_names", Ok(()), Err(S::BadCertificateUseNotAllowed), None),
        ("user_colon", Ok(()), Err(S::BadCertificateUseNotAllowed), None),
        ("leaf_key_usage", Err(S::BadCertificateUseNotAllowed), Err(S::BadCertificateUseNotAllowed), Some("Client")),
    ] {
        let lists = [name, "root", "intermediate", "root intermediate"];
        assert_eq!(verdict(lists, user), as_user, "{name}");
        assert_eq!(verdict(lists, |_| {}), as_client, "{name}");
        assert_eq!(certificate(name).user_name().as_deref(), called, "{name}");
    }
}

#[test]
fn what_a_certificate_says() {
    let leaf = certificate("leaf");
    assert_eq!(leaf.uris, ["urn:plant:client"]);
    assert_eq!((leaf.common_name().as_str(), leaf.subject.as_str()), ("Client", "O=Plant,CN=Client"));
    assert_eq!(leaf.thumbprint.to_vec(), leaf.x509.thumbprint().value());
    assert_eq!(certificate("user").subject, "O=Plant,CN=Jörg Müller");
    assert!(certificate("root").uris.is_empty());
    assert_eq!(file_name(&certificate("user")), format!("Jörg Müller [{}].der", certificate("user").thumbprint_text()));
}

#[test]
fn a_chain_is_its_certificates_and_nothing_else() {
    let (leaf, root) = (der("leaf"), der("root"));
    let both = [leaf.clone(), root.clone()].concat();
    assert_eq!(read_chain(&both).unwrap().len(), 2);
    for bytes in [
        vec![],
        b"nonsense".to_vec(),
        leaf[..leaf.len() - 1].to_vec(),
        [&leaf[..], b"x"].concat(),
        [&leaf[..], &root[..root.len() - 3]].concat(),
        leaf.repeat(11),
        vec![0x30; 70_000],
        vec![0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
        vec![0x30, 0x80, 0, 0],
    ] {
        assert_eq!(read_chain(&bytes).unwrap_err(), S::BadCertificateInvalid, "{} bytes", bytes.len());
    }
}

#[test]
fn changed_bytes_never_panic() {
    let chain = [der("leaf_pss"), der("intermediate"), der("root")].concat();
    let list = fs::read(fixture("intermediate.crl")).unwrap();
    let lists =
        Lists { trusted: vec![certificate("root")], issuers: vec![certificate("intermediate")], revocations: vec![] };
    let demands = Demands { purpose: Purpose::Application(POLICY), trusted: true, revocation_lists: true, now: NOW };
    // xorshift: the same bytes each time
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % most as u64) as usize
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = if random(4) == 0 { list.clone() } else { chain.clone() };
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes.truncate(at + 1),
                _ => bytes.insert(at, random(256) as u8),
            }
        }
        if let Ok(found) = read_chain(&bytes) {
            read += 1;
            let found: Vec<_> = found.into_iter().map(Arc::new).collect();
            let _ = (found[0].user_name(), file_name(&found[0]));
            if read % 20 == 0 {
                // a signature takes its time in a build with checks
                let _ = validate(&found[0], &found[1..], &lists, demands);
            }
        }
        let _ = understand(&bytes, Path::new("x"));
    }
    assert!(read > 1000, "{read} were still readable");
}

#[test]
fn own_certificate_is_made_once() {
    let pki = Scratch::new("pki-own");
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

    // renewed with the same key, then with a new one: names and application URI stay
    for (new_key, kept) in [(false, 1), (true, 2)] {
        let before = (fs::read(&first.certificate).unwrap(), fs::read(&first.key).unwrap());
        let renewed = renew(&pki, &["mes.example".into(), "localhost".into()], new_key).unwrap();
        assert_eq!(renewed.kept.len(), kept);
        assert_eq!(fs::read(&renewed.kept[0]).unwrap(), before.0, "the old one is kept");
        assert_eq!(own(&pki, &[]).unwrap(), first);
        assert_eq!(fs::read(&first.key).unwrap() == before.1, !new_key);
        assert_eq!(fs::metadata(&first.key).unwrap().permissions().mode() & 0o777, 0o600);
        let now = Certificate::from_der(&fs::read(&first.certificate).unwrap()).unwrap();
        assert_ne!(now.der, before.0);
        now.x509.is_application_uri_valid(&first.application_uri).unwrap();
        for host in ["localhost", "127.0.0.1", "plc.example", "10.0.0.7", "mes.example", &hostname()] {
            now.x509.is_hostname_valid(host).unwrap();
        }
    }

    fs::write(&first.certificate, super::tests::der("self")).unwrap();
    assert!(own(&pki, &[]).unwrap_err().to_string().contains("is not the key of"));
    fs::write(&first.certificate, super::tests::der("leaf")).unwrap();
    let refused = renew(&pki, &[], true).err().unwrap().to_string();
    assert!(refused.contains("was issued by O=Plant,CN=Line 3"), "{refused}");
    fs::write(&first.certificate, "no certificate").unwrap();
    assert!(own(&pki, &[]).unwrap_err().to_string().contains("no X.509 certificate"));
}

#[test]
fn only_files_in_trusted_are_let_in() {
    let pki = Scratch::new("pki-trust");
    let trust = Trust::new(&pki, strict()).unwrap();
    let admit = |der: &[u8]| trust.admit(POLICY, der).map(drop);
    let (anna, bert) = (client("anna", 2048), client("bert", 2048));
    assert_eq!(admit(&anna), Err(S::BadCertificateUntrusted));
    assert_eq!(admit(b"nonsense"), Err(S::BadCertificateInvalid));
    let rejected = files(&pki.join("rejected"));
    assert_eq!(rejected.len(), 1);
    let name = rejected[0].0.file_name().unwrap().to_string_lossy();
    let thumbprint = Certificate::from_der(&anna).unwrap().thumbprint_text();
    assert_eq!(name, format!("anna [{thumbprint}].der"));
    // moved into `trusted` itself, as versions before had it, and under another name: at once
    fs::rename(&rejected[0].0, pki.join("trusted/hmi")).unwrap();
    assert_eq!(admit(&anna), Ok(()));
    assert_eq!(admit(&bert), Err(S::BadCertificateUntrusted));
    // copied: what stays in `rejected` does not matter
    let (file, _) = files(&pki.join("rejected")).pop().unwrap();
    fs::copy(&file, pki.join("trusted/certs/bert.cer")).unwrap();
    assert_eq!(admit(&bert), Ok(()));
    let short = client("short", 1024);
    fs::write(pki.join("trusted/short.der"), &short).unwrap();
    assert_eq!(admit(&short), Err(S::BadCertificatePolicyCheckFailed));
    assert_eq!(names(&pki.join("rejected")).len(), 1, "a trusted one stays where it is");
    fs::remove_file(pki.join("trusted/hmi")).unwrap();
    assert_eq!(admit(&anna), Err(S::BadCertificateUntrusted));
    let any = Trust::new(&pki, Rules { any_application: true, ..strict() }).unwrap();
    assert!(any.admit(POLICY, &anna).is_ok());
    assert_eq!(names(&pki.join("trusted")), ["short.der"], "let in, not trusted");
}

#[test]
fn authorities_lists_and_pem_files_are_seen_without_a_restart() {
    let pki = Scratch::new("pki-authorities");
    let trust = Trust::new(&pki, strict()).unwrap();
    let put = |from: &str, to: &str| assert_ne!(fs::copy(fixture(from), pki.join(to)).unwrap(), 0);
    let admit = |name: &str| trust.admit(POLICY, &der(name)).map(drop);
    assert_eq!(admit("leaf"), Err(S::BadCertificateChainIncomplete));
    put("root.der", "trusted/certs/root.der");
    put("intermediate.der", "issuers/certs/line3");
    assert_eq!(admit("leaf"), Err(S::BadCertificateRevocationUnknown));
    put("root.crl", "trusted/crl/root.crl");
    put("list.pem", "issuers/crl/line3.pem");
    assert_eq!(admit("leaf"), Ok(()));
    assert_eq!(admit("leaf_revoked"), Err(S::BadCertificateRevoked));
    // written over in place: within a second
    put("intermediate_outdated.crl", "issuers/crl/line3.pem");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(admit("leaf"), Err(S::BadCertificateRevocationUnknown));
    put("intermediate.crl", "issuers/crl/another");
    assert_eq!(admit("leaf"), Ok(()), "of two lists the one that is valid for longer counts");
    // a text with the whole chain in it
    fs::remove_file(pki.join("trusted/certs/root.der")).unwrap();
    fs::remove_file(pki.join("issuers/certs/line3")).unwrap();
    assert_eq!(admit("leaf"), Err(S::BadCertificateChainIncomplete));
    put("chain.pem", "trusted/certs/chain.txt");
    assert_eq!(admit("leaf"), Ok(()));
    // nothing else in these folders disturbs
    fs::write(pki.join("trusted/certs/readme.txt"), "who is who").unwrap();
    fs::write(pki.join("trusted/crl/.hidden"), "x").unwrap();
    assert_eq!(admit("leaf"), Ok(()));
}

#[test]
fn users_have_folders_of_their_own() {
    let pki = Scratch::new("pki-users");
    let trust = Trust::new(&pki, strict()).unwrap();
    let put = |from: &str, to: &str| assert_ne!(fs::copy(fixture(from), pki.join(to)).unwrap(), 0);
    let admit = |name: &str| trust.admit_user(&der(name)).map(|found| found.user_name().unwrap());
    for (file, place) in
        [("root.der", "certs"), ("intermediate.der", "certs"), ("root.crl", "crl"), ("intermediate.crl", "crl")]
    {
        put(file, &format!("trusted/{place}/{file}"));
    }
    assert_eq!(admit("user"), Err(S::BadCertificateChainIncomplete), "an application's authority vouches for no user");
    assert_eq!(names(&pki.join("users_rejected")).len(), 1);
    assert!(names(&pki.join("rejected")).is_empty());
    for (file, place) in [("root.der", "certs"), ("root.crl", "crl"), ("intermediate.crl", "crl")] {
        put(file, &format!("users_trusted/{place}/{file}"));
    }
    put("intermediate.der", "users_issuers/certs/line3");
    assert_eq!(admit("user").as_deref(), Ok("Jörg Müller"));
    assert_eq!(admit("user_two_names"), Err(S::BadIdentityTokenRejected));
    assert_eq!(admit("user_colon"), Err(S::BadIdentityTokenRejected));
    assert_eq!(admit("leaf_revoked"), Err(S::BadCertificateRevoked));
}

#[test]
fn the_first_client_is_trusted_only_where_that_is_asked_for() {
    let pki = Scratch::new("pki-first");
    let first = Trust::new(&pki, Rules { first_application: true, ..strict() }).unwrap();
    let admit = |name: &str| first.admit(POLICY, &der(name)).map(drop);
    assert_eq!(admit("self_short"), Err(S::BadCertificatePolicyCheckFailed), "not whatever comes first");
    assert_eq!(first.admit_user(&der("self")).map(drop), Err(S::BadCertificateUntrusted), "no user is");
    // several come at the same moment: one of them is the first
    let all = [client("anna", 2048), client("bert", 2048), der("self"), der("self_authority")];
    let admitted: Vec<bool> = std::thread::scope(|scope| {
        let first = &first;
        let threads: Vec<_> = all.iter().map(|der| scope.spawn(move || first.admit(POLICY, der).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1, "{admitted:?}");
    for (der, admitted) in all.iter().zip(admitted) {
        assert_eq!(first.admit(POLICY, der).is_ok(), admitted);
    }
    assert_eq!(names(&pki.join("trusted/certs")).len(), 1);
}

#[test]
fn rejected_certificates_are_few_and_each_is_there_once() {
    let pki = Scratch::new("pki-rejected");
    let trust = Trust::new(&pki, Rules { rejected: 3, ..strict() }).unwrap();
    let all = ["self", "self_expired", "self_future", "self_sha1", "self_short"];
    for name in all {
        for _ in 0..5 {
            assert!(trust.admit(POLICY, &der(name)).is_err());
        }
        std::thread::sleep(Duration::from_millis(600));
    }
    let kept = names(&pki.join("rejected"));
    let mut want: Vec<String> = all[2..].iter().map(|name| file_name(&certificate(name))).collect();
    want.sort();
    assert_eq!(kept, want, "the newest");
    let mode = fs::metadata(pki.join("rejected").join(&kept[0])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_flood_of_unknown_certificates_reads_nothing_anew() {
    let pki = Scratch::new("pki-flood");
    let trust = Trust::new(&pki, strict()).unwrap();
    for number in 0..200 {
        fs::copy(fixture("self.der"), pki.join(format!("trusted/certs/{number}.der"))).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(trust.admit(POLICY, &der("self")).is_ok());
    let before = trust.lists();
    for _ in 0..50 {
        assert!(trust.admit(POLICY, &der("self_expired")).is_err());
    }
    assert!(Arc::ptr_eq(&before, &trust.lists()), "read again");
    fs::remove_file(pki.join("trusted/certs/0.der")).unwrap();
    assert!(!Arc::ptr_eq(&before, &trust.lists()), "a change went unseen");
}
