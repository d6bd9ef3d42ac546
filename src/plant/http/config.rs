//! What `[http]` in the configuration may say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// `[http]`. Concerns the network side only: no part of the plan or its hash.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there is an HTTP listener at all.
    pub enabled: bool,
    /// Address and port of the listener.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Config {
        Config { enabled: true, listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9840) }
    }
}
