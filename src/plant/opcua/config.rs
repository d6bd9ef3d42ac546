//! What `[opcua]` in the configuration may say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use std::collections::BTreeMap;

use super::identity::{Identity, Machine, Nameplate};
use super::limits::Limits;

/// `[opcua]`. Concerns the network side only: no part of the plan or its hash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there is an OPC UA server at all.
    pub enabled: bool,
    /// Address and port of the listener.
    pub listen: SocketAddr,
    /// File with the users: one `name:argon2-hash` a line. A relative path starts at the configuration file;
    /// `credential:NAME` is what the service manager hands over under this name.
    pub users: Option<PathBuf>,
    /// Who has no name and password may read (never write).
    pub anonymous_read: bool,
    /// Offers the security policy None: no encryption, anyone on the network reads and can change what passes.
    pub security_policy_none: bool,
    /// Accepts every client certificate. Only on a loopback address.
    pub trust_any_client_certificate: bool,
    /// Trusts the first client that comes, while there is no certificate in pki/trusted yet; nobody after it.
    pub trust_first_client: bool,
    /// Refuses certificates of an authority whose current revocation list (CRL) is not in pki/trusted/crl or pki/issuers/crl.
    pub revocation_lists_required: bool,
    /// Most connections at one time.
    pub max_connections: usize,
    /// Host names and addresses in the server's certificate, besides those of the machine.
    pub certificate_hosts: Vec<String>,
    pub limits: Limits,
    /// The machine's nameplate.
    pub machine: Machine,
    /// Those of devices, by `bus.Device`.
    pub device: BTreeMap<String, Nameplate>,
}

impl Config {
    /// Who made the machine and its devices.
    pub fn identity(&self) -> Identity {
        Identity { machine: self.machine.clone(), device: self.device.clone() }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: true,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4840),
            users: None,
            anonymous_read: false,
            security_policy_none: false,
            trust_any_client_certificate: false,
            trust_first_client: false,
            revocation_lists_required: true,
            max_connections: 50,
            certificate_hosts: Vec::new(),
            limits: Limits::default(),
            machine: Machine::default(),
            device: BTreeMap::new(),
        }
    }
}
