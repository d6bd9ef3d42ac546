//! The public listener in front of the server layer: bounds what an unknown client can do to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

/// From where a secure channel comes; the server layer sees only the guard.
#[derive(Default)]
pub struct Peers {
    channels: Mutex<HashMap<u32, SocketAddr>>,
}

impl Peers {
    fn channels(&self) -> MutexGuard<'_, HashMap<u32, SocketAddr>> {
        self.channels.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The client's address; empty when the channel is gone.
    pub fn address(&self, channel: u32) -> String {
        self.channels().get(&channel).map(SocketAddr::to_string).unwrap_or_default()
    }
}
