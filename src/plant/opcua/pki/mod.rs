//! Certificates: our own, made at the first start, and those of clients and users, trusted by being in a folder.
//!
//! ```text
//! pki/own/certificate.der, key.pem   ours (own)
//! pki/trusted/{certs,crl}            clients and certificate authorities that are let in; files in trusted/ itself count too
//! pki/issuers/{certs,crl}            authorities that only complete chains
//! pki/rejected                       clients that were refused, the newest few (rejected)
//! pki/users_trusted, users_issuers, users_rejected     the same for people who log in with a certificate
//! ```
//!
//! `certificate` reads one, `chain` says whether it is good (pure), `folders` knows what is in the folders, `trust` decides;
//! `inventory` is for people who look and decide by hand.

mod certificate;
mod chain;
mod folders;
mod inventory;
mod own;
mod rejected;
mod revocation;
mod signature;
mod trust;

pub use certificate::{Certificate, hexadecimal, read_chain};
pub use chain::Lists;
pub use folders::{Content, Kind, files, read, understand};
pub use inventory::{Held, HeldList, Inventory, Shelf, accept, inventory, is_authority, put, refuse};
pub use own::{Own, Renewed, ends_soon, hostname, own, renew};
pub use rejected::{file_name, private_folder};
pub use revocation::RevocationList;
pub use trust::{Holders, Rules, Trust};

#[cfg(test)]
mod tests;
