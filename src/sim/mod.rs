//! Simulated devices on virtual buses: a pure state machine that is handed the time and hands out frames.
//!
//! It runs inside the real-time thread: no clock, no thread, no log, and no allocation after construction.

pub mod demo;
pub mod playback;
mod schedule;

use crate::can::{Frame, FrameId, MAX_CLASSIC_LEN, MAX_LEN, fd_len};
use crate::dbc;

/// Whoever else is on the virtual buses.
#[derive(Debug)]
pub enum Simulator {
    /// The devices of the demo plant.
    Demo(demo::Plant),
    /// The other nodes' messages of any plant, with moving values.
    Playback(playback::Player),
}

impl Simulator {
    /// A frame that our controller transmitted. `bus`: index into the plan's buses. It takes effect when the devices run
    /// next, so its time is not looked at.
    pub fn receive(&mut self, _now_ns: u64, bus: usize, frame: &Frame) {
        match self {
            Simulator::Demo(plant) => plant.receive(bus, frame),
            // what is played back depends on nothing
            Simulator::Playback(_) => {}
        }
    }

    /// When it wants to run next, in monotonic nanoseconds; 0 before the first step, `u64::MAX` for never.
    pub fn next_due(&self) -> u64 {
        match self {
            Simulator::Demo(plant) => plant.next_due(),
            Simulator::Playback(player) => player.next_due(),
        }
    }

    /// Runs what is due and hands each frame to `send(bus, frame)`. The first call sets the start. What was due more
    /// than [`MAX_BEHIND`] ago is left out, so that the work of one call is bounded.
    pub fn step(&mut self, now_ns: u64, send: &mut dyn FnMut(usize, &Frame)) {
        match self {
            Simulator::Demo(plant) => plant.step(now_ns, send),
            Simulator::Playback(player) => player.step(now_ns, send),
        }
    }
}

/// Nanoseconds that are made up for after a pause; a longer pause is left out.
pub const MAX_BEHIND: u64 = 100_000_000;

/// A frame of the message with all bits 0; `None` where it does not fit into one frame. `source_address`: J1939, instead
/// of the one in the DBC.
fn empty_frame(message: &dbc::Message, source_address: Option<u8>) -> Option<Frame> {
    let id = match source_address {
        Some(address) => FrameId::extended(message.id.number() & !0xFF | address as u32)?,
        None => message.id,
    };
    let length = message.length as usize;
    if message.fd {
        let mut frame = Frame::fd(id, [0; MAX_LEN].get(..fd_len(length)?)?)?;
        frame.bit_rate_switch = true;
        Some(frame)
    } else {
        Frame::classic(id, [0; MAX_CLASSIC_LEN].get(..length)?)
    }
}

#[cfg(test)]
mod tests;
