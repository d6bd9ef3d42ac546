//! What an error frame of SocketCAN says about a controller's state (linux/can/error.h).
//!
//! The real-time thread needs the state only, without allocation; the text for people is made elsewhere, by
//! `socketcan::CanError`.

use crate::store::layout::{BusState, Trouble};

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
    /// The controller was restarted after bus-off.
    pub restarted: bool,
    /// What the frame says about the cause; none where it only says what the state is.
    pub class: Trouble,
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
            restarted: self.has(libc::CAN_ERR_RESTARTED),
            class: self.class(problem),
        }
    }

    /// The class of the error, the most telling one first where the frame has several.
    fn class(&self, problem: i32) -> Trouble {
        let [_, _, kind, place, ..] = self.data.map(i32::from);
        let protocol = self.has(libc::CAN_ERR_PROT);
        // some drivers say it by the place only
        let slot = place == libc::CAN_ERR_PROT_LOC_ACK && kind & !IS_NO_ERROR == 0;
        if self.has(libc::CAN_ERR_TRX) {
            Trouble::Transceiver
        } else if self.has(libc::CAN_ERR_ACK) || (protocol && slot) {
            Trouble::NoAcknowledge
        } else if protocol && overwritten(kind, place) {
            Trouble::SameIdentifier
        } else if protocol && (kind & !IS_NO_ERROR != 0 || place != libc::CAN_ERR_PROT_LOC_UNSPEC) {
            Trouble::Protocol
        } else if problem & libc::CAN_ERR_CRTL_RX_OVERFLOW != 0 {
            Trouble::Overflow
        } else {
            // A lost arbitration (CAN_ERR_LOSTARB) is no error, but what every busy bus lives by; CAN_ERR_BUSERROR alone
            // says nothing more.
            Trouble::None
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

/// Of the kinds of protocol violation: an active error announced, and the direction.
const IS_NO_ERROR: i32 = libc::CAN_ERR_PROT_ACTIVE | libc::CAN_ERR_PROT_TX;

/// Whether a bit that we sent was overwritten behind the identifier. Two nodes that send the same identifier both win the
/// arbitration and collide in the length or the data; a recessive bit overwritten within the arbitration is no error
/// (ISO 11898-1, bit error), and a dominant one that does not get through is a matter of wiring.
fn overwritten(kind: i32, place: i32) -> bool {
    let sent = kind & libc::CAN_ERR_PROT_TX != 0;
    let bit = kind & (libc::CAN_ERR_PROT_BIT | libc::CAN_ERR_PROT_BIT1) != 0;
    let behind = matches!(place, libc::CAN_ERR_PROT_LOC_DLC | libc::CAN_ERR_PROT_LOC_DATA);
    sent && bit && behind
}

#[cfg(test)]
mod tests {
    use super::*;
    use BusState::{Active, BusOff, Down, Passive, Warning};

    #[test]
    fn states() {
        let frame = |classes, problem, tx, rx| ErrorFrame { classes, data: [0, problem, 0, 0, 0, 0, tx, rx] };
        let check = |frame: ErrorFrame, before, state, counters, overflow| {
            let finding = frame.finding(before);
            let found = (finding.state, finding.counters, finding.overflow, finding.restarted);
            let restarted = frame.classes & 0x100 != 0;
            assert_eq!(found, (state, counters, overflow, restarted), "{frame:?} after {before:?}");
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

    #[test]
    fn classes() {
        let check = |classes, problem, kind, place, class| {
            let frame = ErrorFrame { classes, data: [0, problem, kind, place, 0, 0, 0, 0] };
            assert_eq!(frame.finding(Active).class, class, "{frame:?}");
        };
        check(0x020, 0, 0, 0, Trouble::NoAcknowledge);
        // m_can, c_can, sja1000: bus error without a kind, in the acknowledge slot
        check(0x088, 0, 0x00, 0x19, Trouble::NoAcknowledge);
        check(0x088, 0, 0x80, 0x19, Trouble::NoAcknowledge);
        check(0x088, 0, 0x81, 0x19, Trouble::Protocol);
        check(0x088, 0, 0x02, 0x1B, Trouble::Protocol);
        // bit, form, stuff, bit0, bit1; CRC by its place
        for kind in [0x01, 0x02, 0x04, 0x08, 0x10, 0x82, 0x84] {
            check(0x088, 0, kind, 0x0A, Trouble::Protocol);
        }
        check(0x088, 0, 0, 0x08, Trouble::Protocol);
        check(0x008, 0, 0x20, 0, Trouble::Protocol);
        // one of our bits, overwritten behind the identifier; before it, or a dominant one, it is the wire
        check(0x088, 0, 0x81, 0x0A, Trouble::SameIdentifier);
        check(0x088, 0, 0x90, 0x0B, Trouble::SameIdentifier);
        check(0x088, 0, 0x81, 0x02, Trouble::Protocol);
        check(0x088, 0, 0x88, 0x0A, Trouble::Protocol);
        check(0x010, 0, 0, 0, Trouble::Transceiver);
        check(0x030, 0, 0, 0, Trouble::Transceiver);
        check(0x004, 0x01, 0, 0, Trouble::Overflow);
        // ours to send and not lost on receiving; states; lost arbitration; an error announced; no more than "error"
        check(0x004, 0x02, 0, 0, Trouble::None);
        check(0x004, 0x30, 0, 0, Trouble::None);
        check(0x002, 0, 0, 0, Trouble::None);
        check(0x008, 0, 0x40, 0, Trouble::None);
        check(0x080, 0xFF, 0xFF, 0xFF, Trouble::None);
    }
}
