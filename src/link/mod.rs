//! `canvoy-link`: sets bit rate and state of listed interfaces, and restarts controllers that are off, on the controller's
//! word. The only process with a capability (CAP_NET_ADMIN); it knows rtnetlink and one socket, and nothing of CAN frames.

mod serve;

use serde::{Deserialize, Serialize};

pub use serve::{Options, run};

/// Where the controller looks for it.
pub const SOCKET: &str = "/run/canvoy-link/socket";
/// Largest datagram either way, in bytes.
pub const MAX_DATAGRAM: usize = 1024;

/// One datagram, controller to `canvoy-link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Comes back in the [`Reply`].
    pub id: u64,
    /// One of those that `canvoy-link` was started for.
    pub interface: String,
    pub action: Action,
}

/// Closed: nothing else can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Up, with the bit rates of the configuration; down before that where they are others.
    Up,
    /// Restarts a controller that is off.
    Restart,
}

/// One datagram back for each [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    pub id: u64,
    /// What was done, or why nothing was: for people.
    pub result: Result<String, String>,
}

/// An interface that may be changed, and how it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub interface: String,
    /// Bit/s; `None`: as it is.
    pub bit_rate: Option<u32>,
    pub data_bit_rate: Option<u32>,
}
