//! Whether the service manager may be told that the plant lives: only on proof that each of its loops has turned.

use std::time::Duration;

use tokio::time::Instant;

use crate::plant::pulse::Pulse;

/// Until every loop has turned for the first time: an RSA key may have to be made before, which takes a slow computer tens
/// of seconds.
const BEGINNING: Duration = Duration::from_secs(180);

/// What was known when the manager was told the last time.
#[derive(Debug)]
pub struct Proof<'a> {
    /// Each loop, with its beats then.
    loops: Vec<(&'a Pulse, u64)>,
    started: Instant,
    /// All of them have turned once.
    begun: bool,
}

/// What the manager may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Not all turn yet; more time is needed.
    Beginning,
    /// For the first time all turn.
    Begun,
    /// All have turned since.
    Alive,
    /// One has not.
    Nothing,
}

impl<'a> Proof<'a> {
    pub fn new(loops: impl IntoIterator<Item = &'a Pulse>, now: Instant) -> Proof<'a> {
        Proof { loops: loops.into_iter().map(|pulse| (pulse, pulse.beats())).collect(), started: now, begun: false }
    }

    pub fn look(&mut self, now: Instant) -> Told {
        if self.loops.iter().all(|(pulse, before)| pulse.beats() != *before) {
            for (pulse, before) in &mut self.loops {
                *before = pulse.beats();
            }
            return if std::mem::replace(&mut self.begun, true) { Told::Alive } else { Told::Begun };
        }
        if !self.begun && now - self.started < BEGINNING { Told::Beginning } else { Told::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_loop_that_stands_still_is_enough() {
        let loops = [Pulse::default(), Pulse::default(), Pulse::default()];
        let start = Instant::now();
        let mut proof = Proof::new(&loops, start);
        let mut check = |seconds, beat: &[usize], want| {
            beat.iter().for_each(|index| loops[*index].beat());
            assert_eq!(proof.look(start + Duration::from_secs(seconds)), want, "at {seconds} s");
        };
        check(0, &[], Told::Beginning);
        check(1, &[0, 1], Told::Beginning);
        check(90, &[2], Told::Begun);
        check(91, &[0, 1, 2], Told::Alive);
        check(92, &[0, 0, 1], Told::Nothing);
        check(93, &[0, 1], Told::Nothing);
        check(94, &[2], Told::Alive);
        check(95, &[], Told::Nothing);
        // one that never begins
        let mut proof = Proof::new(&loops, start);
        assert_eq!(proof.look(start + BEGINNING - Duration::from_secs(1)), Told::Beginning);
        assert_eq!(proof.look(start + BEGINNING), Told::Nothing);
        assert_eq!(Proof::new([], start).look(start), Told::Begun);
    }
}
