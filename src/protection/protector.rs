//! The sender's side: counter and checksum of the frames of one message.

use super::Protection;
use super::guard::Guard;
use crate::can::FrameId;

/// Writes counter and checksum of one message that we send.
#[derive(Clone, Debug)]
pub struct Protector {
    guard: Guard,
    counter: u64,
}

impl Protector {
    /// The next frame is the first one.
    pub fn new(protection: &Protection) -> Protector {
        let guard = Guard::new(protection);
        Protector { counter: guard.first, guard }
    }

    /// Writes counter and checksum, once for each frame that is sent: the next call uses the next counter. A payload that is
    /// too short for them stays as it is.
    pub fn protect(&mut self, id: FrameId, payload: &mut [u8]) {
        self.write(id, payload);
        self.sent();
    }

    /// Writes the counter and checksum that the next frame has, as often as it takes to send it.
    pub fn write(&self, id: FrameId, payload: &mut [u8]) {
        if let Some(data) = self.guard.data_mut(payload) {
            self.guard.write(id, self.counter, data);
        }
    }

    /// A frame has been sent: the next one has the next counter.
    pub fn sent(&mut self) {
        if let Some((_, modulus)) = self.guard.counter {
            self.counter = (self.counter + 1) % modulus;
        }
    }
}
