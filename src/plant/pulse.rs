//! Proof of life: the loops that clients depend on say that they turn, and the watchdog is fed only while all of them do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A loop that waits for something turns at least this often all the same.
pub const BEAT: Duration = Duration::from_millis(250);

/// How often a loop has turned.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// One turn more. Called where the loop has done what it is there for, never by a timer beside it.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The loops of the plant process.
#[derive(Debug, Default)]
pub struct Pulses {
    /// The HTTP listener accepts.
    pub http: Pulse,
    /// The OPC UA listener accepts.
    pub opcua: Pulse,
    /// Monitored items are looked at.
    pub sampling: Pulse,
}
