//! The likely cause of what is wrong on a bus: the classes of error frames, counted with a leak, so that the one which
//! dominates the last seconds wins.

use crate::store::layout::{BusState, Trouble};

/// What one error frame counts.
const ONE: u32 = 1 << 16;
/// From here on a bus that is otherwise healthy has a trouble: a single disturbed frame is none.
const SEVERAL: u32 = 3 * ONE;
/// Below it the trouble of a healthy bus is over.
const QUIET: u32 = ONE / 4;
/// What was counted halves in this time, nanoseconds.
const HALF_LIFE: u64 = 1_000_000_000;
/// An error counter at which a controller is error-passive (ISO 11898-1).
const PASSIVE: u8 = 128;

/// The errors of the last seconds on one bus.
#[derive(Default)]
pub struct Evidence {
    scores: [u32; Trouble::ALL.len()],
    /// CLOCK_MONOTONIC nanoseconds up to which the leak was applied.
    leaked: u64,
    /// The last cause that error frames named; kept while the bus is not well, however long it is silent.
    named: Trouble,
}

impl Evidence {
    /// One error frame of this class.
    pub fn add(&mut self, now: u64, class: Trouble) {
        self.leak(now);
        if class != Trouble::None {
            let score = &mut self.scores[class as usize];
            *score = score.saturating_add(ONE);
        }
    }

    /// The likely cause in this state. `counters`: transmit and receive error counter.
    pub fn judge(&mut self, now: u64, state: BusState, counters: (u8, u8)) -> Trouble {
        self.leak(now);
        let (mut strongest, mut score) = (Trouble::None, 0);
        for (class, counted) in Trouble::ALL.into_iter().zip(self.scores) {
            if counted > score {
                (strongest, score) = (class, counted);
            }
        }
        match state {
            BusState::Gone | BusState::Down => {
                *self = Evidence { leaked: now, ..Evidence::default() };
                return Trouble::Interface;
            }
            BusState::Active if score >= SEVERAL => self.named = strongest,
            BusState::Active if score < QUIET => self.named = Trouble::None,
            BusState::Active => {}
            BusState::Warning | BusState::Passive | BusState::BusOff if score > 0 => self.named = strongest,
            BusState::Warning | BusState::Passive | BusState::BusOff => {}
        }
        match (self.named, state) {
            (Trouble::None, BusState::Active) => Trouble::None,
            // Drivers that report no single errors leave the counters. A missing acknowledgement never leads further than
            // to error-passive (ISO 11898-1, fault confinement), and it is the usual reason to get there by sending.
            (Trouble::None, BusState::Passive) if counters.0 >= PASSIVE && counters.1 < PASSIVE => {
                Trouble::NoAcknowledge
            }
            (Trouble::None, _) => Trouble::Unknown,
            (named, _) => named,
        }
    }

    fn leak(&mut self, now: u64) {
        let halves = now.saturating_sub(self.leaked) / HALF_LIFE;
        if halves > 0 {
            self.leaked += halves * HALF_LIFE;
            for score in &mut self.scores {
                *score = score.checked_shr(halves.min(u64::from(u32::BITS)) as u32).unwrap_or(0);
            }
        }
    }
}
