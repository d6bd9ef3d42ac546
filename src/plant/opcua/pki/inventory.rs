//! What lies in which folder, and moving it: for whoever decides by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use x509_cert::ext::pkix::BasicConstraints;

use super::certificate::Certificate;
use super::folders::{Content, Kind, files, read};
use super::rejected::{file_name, private_folder};
use super::revocation::RevocationList;
use super::trust::Holders;
use crate::plant::private;

/// Where a certificate lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    Own,
    Trusted(Holders),
    Issuers(Holders),
    Rejected(Holders),
}

impl Shelf {
    /// In the order in which people are told.
    pub const ALL: [Shelf; 7] = [
        Shelf::Own,
        Shelf::Trusted(Holders::Applications),
        Shelf::Issuers(Holders::Applications),
        Shelf::Rejected(Holders::Applications),
        Shelf::Trusted(Holders::Users),
        Shelf::Issuers(Holders::Users),
        Shelf::Rejected(Holders::Users),
    ];

    /// The folder below `pki`.
    pub fn name(self) -> String {
        match self {
            Shelf::Own => "own".into(),
            Shelf::Trusted(holders) => holders.folder("trusted"),
            Shelf::Issuers(holders) => holders.folder("issuers"),
            Shelf::Rejected(holders) => holders.folder("rejected"),
        }
    }
}

/// A certificate and its file.
#[derive(Clone, Debug)]
pub struct Held {
    pub shelf: Shelf,
    pub file: PathBuf,
    pub certificate: Arc<Certificate>,
    /// There are others in the file.
    pub shared: bool,
}

/// A revocation list of an authority.
pub struct HeldList {
    pub shelf: Shelf,
    pub list: Arc<RevocationList>,
}

/// All that is there.
#[derive(Default)]
pub struct Inventory {
    pub certificates: Vec<Held>,
    pub lists: Vec<HeldList>,
    /// Files that are neither, with the reason.
    pub others: Vec<(PathBuf, String)>,
}

/// Looks into every folder.
pub fn inventory(pki: &Path) -> Inventory {
    let mut found = Inventory::default();
    for shelf in Shelf::ALL {
        let folder = pki.join(shelf.name());
        match shelf {
            Shelf::Own => {
                // its key and what was there before are no matter of trust
                found.look(shelf, &[(folder.join("certificate.der"), Kind::Trusted)]);
            }
            Shelf::Rejected(_) => found.look_into(shelf, &folder, Kind::Trusted),
            Shelf::Trusted(holders) | Shelf::Issuers(holders) => {
                for place in holders.places(pki) {
                    if place.folder.starts_with(&folder) {
                        found.look_into(shelf, &place.folder, place.kind);
                    }
                }
            }
        }
    }
    found
}

impl Inventory {
    fn look_into(&mut self, shelf: Shelf, folder: &Path, kind: Kind) {
        let mut files: Vec<(PathBuf, Kind)> = files(folder).into_iter().map(|(file, _)| (file, kind)).collect();
        files.sort();
        self.look(shelf, &files);
    }

    fn look(&mut self, shelf: Shelf, files: &[(PathBuf, Kind)]) {
        for (file, kind) in files.iter().filter(|(file, _)| file.exists()) {
            match read(file, *kind) {
                Ok(Content::Certificates(found)) => {
                    let shared = found.len() > 1;
                    let held = |certificate| Held { shelf, file: file.clone(), certificate, shared };
                    self.certificates.extend(found.into_iter().map(held));
                }
                Ok(Content::Revocations(list)) => self.lists.push(HeldList { shelf, list }),
                Ok(Content::Other) => {}
                Err(error) => self.others.push((file.clone(), error.to_string())),
            }
        }
    }

    /// Those whose thumbprint begins like this, of our own none.
    pub fn find(&self, thumbprint: &str) -> Vec<&Held> {
        let wanted = thumbprint.to_ascii_lowercase();
        let others = self.certificates.iter().filter(|held| held.shelf != Shelf::Own);
        others.filter(|held| held.certificate.thumbprint_text().starts_with(&wanted)).collect()
    }

    /// Whether there is a revocation list of this authority that says nothing out of date.
    pub fn has_list_of(&self, authority: &Certificate, now: Duration) -> bool {
        self.lists.iter().any(|held| !held.list.is_outdated(now) && held.list.is_of(authority))
    }
}

/// Whether it is a certificate authority's.
pub fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.parsed.tbs_certificate.get::<BasicConstraints>();
    constraints.ok().flatten().is_some_and(|(_, constraints)| constraints.ca)
}

/// Moves a rejected certificate to where it counts: `shelf` is one of trusted or issuers. Where it is now.
pub fn accept(pki: &Path, held: &Held, shelf: Shelf) -> anyhow::Result<PathBuf> {
    let file = put(pki, shelf, "certs", &file_name(&held.certificate), &held.certificate.der)?;
    fs::remove_file(&held.file).with_context(|| format!("remove {}", held.file.display()))?;
    Ok(file)
}

/// Puts a certificate or revocation list where it counts.
pub fn put(pki: &Path, shelf: Shelf, below: &str, name: &str, der: &[u8]) -> anyhow::Result<PathBuf> {
    let folder = pki.join(shelf.name()).join(below);
    private_folder(&folder)?;
    let file = folder.join(name);
    private::write(&file, der)?;
    Ok(file)
}

/// Moves a certificate that counts to the rejected ones. Where it is now.
pub fn refuse(pki: &Path, held: &Held) -> anyhow::Result<PathBuf> {
    let (Shelf::Trusted(holders) | Shelf::Issuers(holders)) = held.shelf else {
        bail!("{} is no trusted certificate", held.file.display());
    };
    if held.shared {
        bail!(
            "{} holds several certificates: take {} out of it, or remove the file",
            held.file.display(),
            held.certificate.subject
        );
    }
    let folder = pki.join(holders.folder("rejected"));
    private_folder(&folder)?;
    let file = folder.join(file_name(&held.certificate));
    private::write(&file, &held.certificate.der)?;
    fs::remove_file(&held.file).with_context(|| format!("remove {}", held.file.display()))?;
    Ok(file)
}
