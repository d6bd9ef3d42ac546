//! A frame to the kernel, and what its answer means for the queue that the frame waits in.

use nix::errno::Errno;

use super::time::Time;
use crate::bus::socketcan::Port;
use crate::control::{Outgoing, Sent};

/// Hands a frame to the kernel.
pub fn hand_over(port: &Port, outgoing: &Outgoing, time: &mut Time) -> Sent {
    let Some(sockets) = &port.sockets else { return Sent::NoBus };
    // what hit the socket while it was down may be told to the first call after that, once
    let sent = sockets.send(&outgoing.frame).or_else(|error| match error {
        Errno::ENETDOWN => sockets.send(&outgoing.frame),
        _ => Err(error),
    });
    match sent {
        Ok(()) => time.sent(outgoing),
        Err(Errno::ENOBUFS | Errno::EAGAIN) => Sent::Busy,
        Err(Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV) => Sent::NoBus,
        Err(_) => Sent::Refused,
    }
}
