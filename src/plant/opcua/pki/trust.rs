//! Who is let in by a certificate: applications and users, by the folders below `pki`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::types::StatusCode;

use super::certificate::{Certificate, read_chain};
use super::chain::{Demands, Lists, Purpose, Refusal, validate};
use super::folders::{Folders, Kind, Place};
use super::rejected::{Rejected, file_name, private_folder};
use crate::plant::private;
use crate::store::clock;

/// What the configuration says about certificates.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Every application whose certificate is valid is let in; none is kept.
    pub any_application: bool,
    /// The first application is trusted, where none is yet.
    pub first_application: bool,
    /// Every certificate authority must have a current revocation list.
    pub revocation_lists: bool,
    /// Rejected certificates that are kept.
    pub rejected: usize,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { any_application: false, first_application: false, revocation_lists: true, rejected: 25 }
    }
}

/// Certificates of clients and users, and who decides about them: whoever puts files into folders.
#[derive(Clone)]
pub struct Trust {
    shared: Arc<Shared>,
}

struct Shared {
    rules: Rules,
    applications: Group,
    users: Group,
    /// Held while the first application is made a trusted one.
    first: Mutex<()>,
    warned: Mutex<Warned>,
}

/// Those that are trusted together.
struct Group {
    folders: Folders,
    rejected: Rejected,
    /// Where a newly trusted certificate goes.
    trusted: PathBuf,
}

/// When a refusal was last logged, and those since.
#[derive(Default)]
struct Warned {
    last: Option<Instant>,
    unsaid: u64,
}

/// Certificates of applications or of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    Applications,
    Users,
}

impl Holders {
    /// The name of one of its folders: `trusted`, `issuers`, `rejected`.
    pub fn folder(self, name: &str) -> String {
        match self {
            Holders::Applications => name.to_owned(),
            Holders::Users => format!("users_{name}"),
        }
    }

    /// Every folder that is read, with what it is for. Those of applications may lie in `trusted` itself.
    pub fn places(self, pki: &Path) -> Vec<Place> {
        let place = |path: PathBuf, kind| Place { folder: path, kind };
        let (trusted, issuers) = (pki.join(self.folder("trusted")), pki.join(self.folder("issuers")));
        vec![
            place(trusted.clone(), Kind::Trusted),
            place(trusted.join("certs"), Kind::Trusted),
            place(issuers.join("certs"), Kind::Issuers),
            place(trusted.join("crl"), Kind::Revocations),
            place(issuers.join("crl"), Kind::Revocations),
        ]
    }
}

impl Group {
    fn new(pki: &Path, holders: Holders, most_rejected: usize) -> anyhow::Result<Group> {
        let places = holders.places(pki);
        let rejected = pki.join(holders.folder("rejected"));
        for folder in places.iter().map(|place| &place.folder).chain([&rejected]) {
            private_folder(folder)?;
        }
        let trusted = pki.join(holders.folder("trusted")).join("certs");
        Ok(Group { folders: Folders::new(places), rejected: Rejected::new(rejected, most_rejected), trusted })
    }
}

impl Trust {
    /// Makes the folders that are missing.
    pub fn new(pki: &Path, rules: Rules) -> anyhow::Result<Trust> {
        let shared = Shared {
            rules,
            applications: Group::new(pki, Holders::Applications, rules.rejected)?,
            users: Group::new(pki, Holders::Users, rules.rejected)?,
            first: Mutex::default(),
            warned: Mutex::default(),
        };
        Ok(Trust { shared: Arc::new(shared) })
    }

    /// What is in the folders of applications: another object after each change. Blocks.
    pub fn lists(&self) -> Arc<Lists> {
        self.shared.applications.folders.current()
    }

    /// The same of users.
    pub fn user_lists(&self) -> Arc<Lists> {
        self.shared.users.folders.current()
    }

    /// Whether a client may open a channel. `chain`: its certificate in DER, then, if it likes, those of its issuers. One that is
    /// refused is put into `pki/rejected`. Blocks.
    pub fn admit(&self, policy: SecurityPolicy, chain: &[u8]) -> Result<Arc<Certificate>, StatusCode> {
        let shared = &self.shared;
        let leaf = shared.admit(&shared.applications, shared.demands(policy), chain)?;
        Ok(leaf)
    }

    /// Whether a client that was admitted still would be; nothing is kept or logged of one that is not. Blocks.
    pub fn still(&self, policy: SecurityPolicy, chain: &[u8]) -> Result<(), StatusCode> {
        still(chain, &self.lists(), self.shared.demands(policy))
    }

    /// The same of a user who was let in. Blocks.
    pub fn still_user(&self, chain: &[u8]) -> Result<(), StatusCode> {
        still(chain, &self.user_lists(), self.shared.user_demands())
    }

    /// Whether somebody may log in with a certificate. `chain`: as for [`Trust::admit`]. The folders are those of users, and the
    /// user's name is what [`Certificate::user_name`] says. Blocks.
    pub fn admit_user(&self, chain: &[u8]) -> Result<Arc<Certificate>, StatusCode> {
        let leaf = self.shared.admit(&self.shared.users, self.shared.user_demands(), chain)?;
        if leaf.user_name().is_none() {
            tracing::warn!(subject = leaf.subject, "certificate of a user has no common name that can be a user's");
            return Err(StatusCode::BadIdentityTokenRejected);
        }
        Ok(leaf)
    }
}

fn still(chain: &[u8], lists: &Lists, demands: Demands) -> Result<(), StatusCode> {
    let mut chain = read_chain(chain)?.into_iter().map(Arc::new);
    let leaf = chain.next().ok_or(StatusCode::BadCertificateInvalid)?;
    let sent: Vec<Arc<Certificate>> = chain.collect();
    validate(&leaf, &sent, lists, demands).map_err(|refusal| refusal.status)
}

impl Shared {
    /// What is asked of a user's certificate.
    fn user_demands(&self) -> Demands {
        Demands {
            purpose: Purpose::User,
            trusted: true,
            revocation_lists: self.rules.revocation_lists,
            now: Duration::from_nanos(clock::realtime()),
        }
    }

    /// What is asked of an application's certificate.
    fn demands(&self, policy: SecurityPolicy) -> Demands {
        Demands {
            purpose: Purpose::Application(policy),
            trusted: !self.rules.any_application,
            revocation_lists: self.rules.revocation_lists,
            now: Duration::from_nanos(clock::realtime()),
        }
    }

    fn admit(&self, group: &Group, demands: Demands, chain: &[u8]) -> Result<Arc<Certificate>, StatusCode> {
        let mut chain = read_chain(chain)?.into_iter().map(Arc::new);
        let leaf = chain.next().ok_or(StatusCode::BadCertificateInvalid)?;
        let sent: Vec<Arc<Certificate>> = chain.collect();
        let lists = group.folders.current();
        let verdict = validate(&leaf, &sent, &lists, demands).or_else(|refusal| {
            let first = self.rules.first_application
                && matches!(demands.purpose, Purpose::Application(_))
                && refusal.status == StatusCode::BadCertificateUntrusted;
            if first { self.trust_first(group, &leaf, &sent, demands, refusal) } else { Err(refusal) }
        });
        match verdict {
            Ok(()) => Ok(leaf),
            Err(refusal) => {
                // a trusted one that has expired, say, has its place
                let kept = if lists.trusts(&leaf) { None } else { group.rejected.keep(&leaf) };
                self.report(&leaf, &refusal, kept.as_deref());
                Err(refusal.status)
            }
        }
    }

    /// Trusts the first application, if there is no certificate among the trusted yet and all else about this one is right.
    fn trust_first(
        &self,
        group: &Group,
        leaf: &Arc<Certificate>,
        sent: &[Arc<Certificate>],
        demands: Demands,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let _only = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let lists = group.folders.current();
        if !lists.trusted.is_empty() {
            return Err(refusal);
        }
        let (issuers, revocations) = (lists.issuers.clone(), lists.revocations.clone());
        validate(leaf, sent, &Lists { trusted: vec![leaf.clone()], issuers, revocations }, demands)?;
        let file = group.trusted.join(file_name(leaf));
        private::write(&file, &leaf.der).map_err(|error| Refusal {
            status: StatusCode::BadCertificateUntrusted,
            reason: format!("it is the first, and can't be kept: {error:#}"),
        })?;
        tracing::warn!(
            subject = leaf.subject,
            thumbprint = leaf.thumbprint_text(),
            file = %file.display(),
            "TRUSTED ON FIRST USE: the first client to come is trusted from now on, as trust_first_client says; nobody else is"
        );
        Ok(())
    }

    /// Once a second at most: certificates are cheap. What exactly is wrong the client is not told (OPC 10000-4, 6.1.3).
    fn report(&self, leaf: &Certificate, refusal: &Refusal, kept: Option<&Path>) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            warned.unsaid += 1;
            return;
        }
        let (status, reason, subject) = (refusal.status, refusal.reason.as_str(), leaf.subject.as_str());
        let (thumbprint, unsaid) = (leaf.thumbprint_text(), std::mem::take(&mut warned.unsaid));
        warned.last = Some(Instant::now());
        drop(warned);
        let file = kept.map(|file| file.display().to_string()).unwrap_or_default();
        if clock::known(clock::realtime()).is_none() && status == StatusCode::BadCertificateTimeInvalid {
            tracing::warn!(%status, reason, subject, thumbprint, unsaid, "certificate refused: the clock of this computer is not set");
        } else if status == StatusCode::BadCertificateUntrusted {
            tracing::warn!(%status, reason, subject, thumbprint, file, unsaid, "certificate not trusted; `canvoy cert trust` lets it in");
        } else {
            tracing::warn!(%status, reason, subject, thumbprint, file, unsaid, "certificate refused");
        }
    }
}
