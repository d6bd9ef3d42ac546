//! What a supervisor does when one of its processes ends: a function of facts, without clock or process.

use std::process::ExitStatus;
use std::time::Duration;

use crate::service::exit;

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Controller,
    Plant,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Exited(u8),
    Killed(i32),
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End everything with this code.
    End(u8),
    Restart(Duration),
}

/// A process has settled when it has been ready for this long: until then a bad exit code is about its start, and
/// trying again would only repeat it.
pub const SETTLED: Duration = Duration::from_secs(2);

/// The controller is started again after this time: long enough that receivers on the bus have noticed and nobody takes
/// the values that begin anew for the old ones.
const CONTROLLER_PAUSE: Duration = Duration::from_secs(5);
const PLANT_FIRST_PAUSE: Duration = Duration::from_millis(50);
const PLANT_LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Ending {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(u8::try_from(code).unwrap_or(exit::INTERNAL)),
            (None, signal) => Ending::Killed(signal.unwrap_or_default()),
        }
    }
}

/// `settled`: it had been so once, in this life or an earlier one. `failures`: short lives in a row, this
/// one included; 0 when this one was not short.
pub fn decide(side: Side, ending: Ending, settled: bool, failures: u32) -> Action {
    match ending {
        // a file became wrong while we ran: the controller alone reads files
        Ending::Exited(code @ (exit::USAGE | exit::CONFIG)) if side == Side::Controller || !settled => {
            Action::End(code)
        }
        // a port that is taken is for the one who starts us to see
        Ending::Exited(code @ (exit::UNAVAILABLE | exit::PERMISSION)) if !settled => Action::End(code),
        // a full disk on the network side is no reason to stop the machine
        Ending::Exited(code @ (exit::SYSTEM | exit::IO)) if !settled && side == Side::Controller => Action::End(code),
        // a crash, a kill, or an end that nobody asked for
        Ending::Exited(_) | Ending::Killed(_) => Action::Restart(match side {
            Side::Controller => CONTROLLER_PAUSE,
            Side::Plant => {
                let doublings = failures.saturating_sub(1).min(8);
                (PLANT_FIRST_PAUSE * 2u32.pow(doublings)).min(PLANT_LONGEST_PAUSE)
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_when_a_process_ends() {
        let after = |ms| Action::Restart(Duration::from_millis(ms));
        let killed = Ending::Killed(9);
        let exited = Ending::Exited;
        for (side, ending, settled, failures, want) in [
            // the plant comes back, fast, whatever ends it
            (Side::Plant, killed, true, 0, after(50)),
            (Side::Plant, killed, false, 1, after(50)),
            (Side::Plant, killed, true, 2, after(100)),
            (Side::Plant, killed, true, 5, after(800)),
            (Side::Plant, killed, true, 6, after(1000)),
            (Side::Plant, killed, true, u32::MAX, after(1000)),
            (Side::Plant, exited(0), true, 0, after(50)),
            (Side::Plant, exited(101), false, 1, after(50)),
            (Side::Plant, exited(exit::INTERNAL), false, 1, after(50)),
            // at the start its port or its users file is wrong: say so and end
            (Side::Plant, exited(exit::UNAVAILABLE), false, 1, Action::End(69)),
            (Side::Plant, exited(exit::CONFIG), false, 1, Action::End(78)),
            // a reload changed its settings, however young it is
            (Side::Plant, exited(exit::AGAIN), false, 1, after(50)),
            // a full disk is nothing to stop the machine for
            (Side::Plant, exited(exit::IO), false, 1, after(50)),
            (Side::Controller, exited(exit::IO), false, 1, Action::End(74)),
            // later it is not
            (Side::Plant, exited(exit::UNAVAILABLE), true, 1, after(50)),
            (Side::Plant, exited(exit::CONFIG), true, 1, after(50)),
            // the controller is not taken lightly
            (Side::Controller, killed, true, 0, after(5000)),
            (Side::Controller, killed, false, 1, after(5000)),
            (Side::Controller, exited(exit::INTERNAL), true, 0, after(5000)),
            (Side::Controller, exited(exit::UNAVAILABLE), true, 1, after(5000)),
            (Side::Controller, exited(exit::UNAVAILABLE), false, 1, Action::End(69)),
            (Side::Controller, exited(exit::CONFIG), false, 1, Action::End(78)),
            (Side::Controller, exited(exit::CONFIG), true, 1, Action::End(78)),
            (Side::Controller, exited(exit::USAGE), true, 1, Action::End(64)),
        ] {
            assert_eq!(decide(side, ending, settled, failures), want, "{side:?} {ending:?} {settled} {failures}");
        }
    }

    #[test]
    fn endings() {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(Ending::from(ExitStatus::from_raw(78 << 8)), Ending::Exited(78));
        assert_eq!(Ending::from(ExitStatus::from_raw(9)), Ending::Killed(9));
    }
}
