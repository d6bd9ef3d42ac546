//! What an error frame of SocketCAN says about a controller's state (linux/can/error.h).
//!
//! The real-time thread needs the state only, without allocation; the text for people is made elsewhere, by
//! `socketcan::CanError`.

use crate::store::layout::BusState;

/// One error frame as the kernel hands it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorFrame {
    /// Classes, `CAN_ERR_*`; without the error flag.
    pub classes: u32,
    pub data: [u8; 8],
}

/// What follows from an error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The state from now on.
    pub state: BusState,
    /// Transmit and receive error counters (ISO 11898-1), where the driver tells.
    pub counters: Option<(u8, u8)>,
    /// The controller has lost received frames.
    pub overflow: bool,
}

/// An error counter at which the controller warns.
const WARNING: u8 = 96;
/// An error counter at which the controller becomes error-passive.
const PASSIVE: u8 = 128;

impl ErrorFrame {
    /// Decodes the frame. `before`: the state so far; an interface that is down or gone stays so, because what comes
    /// after that was queued before it.
    pub fn finding(&self, before: BusState) -> Finding {
        let problem = if self.has(libc::CAN_ERR_CRTL) { i32::from(self.data[1]) } else { 0 };
        let counters = self.has(libc::CAN_ERR_CNT).then_some((self.data[6], self.data[7]));
        let up = !matches!(before, BusState::Gone | BusState::Down);
        Finding {
            state: if up { self.state(problem, counters, before) } else { before },
            counters,
            overflow: problem & libc::CAN_ERR_CRTL_RX_OVERFLOW != 0,
        }
    }

    fn has(&self, class: u32) -> bool {
        self.classes & class != 0
    }

    fn state(&self, problem: i32, counters: Option<(u8, u8)>, before: BusState) -> BusState {
        let either = |rx, tx| problem & (rx | tx) != 0;
        if self.has(libc::CAN_ERR_BUSOFF) {
            BusState::BusOff
        } else if self.has(libc::CAN_ERR_RESTARTED) || either(libc::CAN_ERR_CRTL_ACTIVE, 0) {
            BusState::Active
        } else if either(libc::CAN_ERR_CRTL_RX_PASSIVE, libc::CAN_ERR_CRTL_TX_PASSIVE) {
            BusState::Passive
        } else if either(libc::CAN_ERR_CRTL_RX_WARNING, libc::CAN_ERR_CRTL_TX_WARNING) {
            BusState::Warning
        } else {
            match counters {
                // counters alone do not end a bus-off: only a restart does
                Some((tx, rx)) if before != BusState::BusOff => match tx.max(rx) {
                    PASSIVE.. => BusState::Passive,
                    WARNING.. => BusState::Warning,
                    _ => BusState::Active,
                },
                _ => before,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BusState::{Active, BusOff, Down, Passive, Warning};

    #[test]
    fn states() {
        let frame = |classes, problem, tx, rx| ErrorFrame { classes, data: [0, problem, 0, 0, 0, 0, tx, rx] };
        let check = |frame: ErrorFrame, before, state, counters, overflow| {
            assert_eq!(frame.finding(before), Finding { state, counters, overflow }, "{frame:?} after {before:?}");
        };
        // bus-off, and what ends it
        check(frame(0x040, 0, 0, 0), Active, BusOff, None, false);
        check(frame(0x240, 0, 248, 0), Passive, BusOff, Some((248, 0)), false);
        check(frame(0x200, 0, 0, 0), BusOff, BusOff, Some((0, 0)), false);
        check(frame(0x100, 0, 0, 0), BusOff, Active, None, false);
        // can_change_state(): both directions at once, with the counters
        check(frame(0x204, 0x0C, 100, 96), Active, Warning, Some((100, 96)), false);
        check(frame(0x204, 0x30, 130, 128), Warning, Passive, Some((130, 128)), false);
        check(frame(0x204, 0x40, 90, 0), Passive, Active, Some((90, 0)), false);
        // counters alone
        check(frame(0x200, 0, 127, 20), Active, Warning, Some((127, 20)), false);
        check(frame(0x200, 0, 0, 128), Active, Passive, Some((0, 128)), false);
        check(frame(0x200, 0, 95, 95), Passive, Active, Some((95, 95)), false);
        // lost frames are no change of state; other classes neither, whatever their data
        check(frame(0x004, 0x01, 0, 0), Warning, Warning, None, true);
        check(frame(0x0A8, 0xFF, 0xFF, 0xFF), Active, Active, None, false);
        // queued before the interface went down
        check(frame(0x040, 0, 0, 0), Down, Down, None, false);
    }
}
