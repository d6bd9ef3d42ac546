//! Frames in and out: the kinds of bus that the real-time thread can own.

pub mod error_frame;
pub mod socketcan;

use socketcan::Port;

/// One bus of the plan.
pub enum Bus {
    /// A Linux network interface.
    SocketCan(Port),
    /// Inside this process; the simulator is whoever else is on it.
    Virtual,
}
