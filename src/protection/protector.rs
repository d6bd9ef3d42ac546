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
        let Some(data) = self.guard.data_mut(payload) else { return };
        self.guard.write(id, self.counter, data);
        if let Some((_, modulus)) = self.guard.counter {
            self.counter = (self.counter + 1) % modulus;
        }
    }
}
