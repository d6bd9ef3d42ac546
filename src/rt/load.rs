//! The load of the buses: the share of each second that frames had a bus, from the bits that the store counts.

use super::machine::Machine;
use crate::control::Now;
use crate::plan;
use crate::quality::Causes;
use crate::store::Writer;
use crate::store::layout::BusWord;

/// Nanoseconds between two looks at the counters.
const EVERY: u64 = 100_000_000;
/// Nanoseconds that a load is of, at least: the next look after them ends it.
const SPAN: u64 = 1_000_000_000;

/// The bit rates of a bus, bit/s; 0: not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rates {
    pub nominal: u64,
    pub data: u64,
}

/// What is known about the load of one bus.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Of the configuration; in force where the interface does not tell its own.
    configured: Rates,
    /// Those of the last look.
    rates: Rates,
    /// The counters of bits at the last look, nominal and data.
    bits: (u64, u64),
    /// CLOCK_MONOTONIC since which `busy` is counted; `None`: nothing is known.
    since: Option<u64>,
    /// Nanoseconds.
    busy: u64,
}

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing that a load could be made of.
    Unknown,
    /// So many nanoseconds more.
    Busy(u64),
    /// The same, and a second is over: its load in millionths.
    Second { busy: u64, load: u64 },
}

impl Rates {
    pub(super) fn of(bus: &plan::Bus) -> Rates {
        let rate = |rate: Option<u32>| rate.map_or(0, u64::from);
        Rates { nominal: rate(bus.bit_rate), data: rate(bus.data_bit_rate) }
    }

    /// Nanoseconds that these bits take; `None` where a rate that it needs is not known.
    fn time(self, nominal: u64, data: u64) -> Option<u64> {
        let time = |bits: u64, rate: u64| match bits {
            0 => Some(0),
            _ => bits.saturating_mul(1_000_000_000).checked_div(rate),
        };
        Some(time(nominal, self.nominal)?.saturating_add(time(data, self.data)?))
    }
}

impl Load {
    pub fn new(configured: Rates) -> Load {
        Load { configured, ..Load::default() }
    }

    /// Takes over from the same bus in the plan before, whose counters go on.
    pub fn go_on(&mut self, before: &Load) {
        *self = Load { configured: self.configured, ..*before };
    }

    /// `now`: CLOCK_MONOTONIC; `told`: by the interface; `bits`: the counters; `hears`: the bus is up and what passes on it
    /// arrives here.
    fn look(&mut self, now: u64, told: Rates, bits: (u64, u64), hears: bool) -> Found {
        let or = |told: u64, configured: u64| if told == 0 { configured } else { told };
        let rates = match told.nominal {
            0 => self.configured,
            nominal => Rates { nominal, data: or(told.data, self.configured.data) },
        };
        let (nominal, data) = (bits.0.wrapping_sub(self.bits.0), bits.1.wrapping_sub(self.bits.1));
        self.bits = bits;
        let same = std::mem::replace(&mut self.rates, rates) == rates;
        let busy = rates.time(nominal, data).filter(|_| rates.nominal != 0 && hears);
        let (Some(busy), true, Some(since)) = (busy, same, self.since) else {
            // a second that begins here is whole
            (self.since, self.busy) = (busy.map(|_| now), 0);
            return Found::Unknown;
        };
        self.busy = self.busy.saturating_add(busy);
        let span = now.saturating_sub(since);
        if span < SPAN {
            return Found::Busy(busy);
        }
        let load = (u128::from(self.busy) * 1_000_000 / u128::from(span)) as u64;
        (self.since, self.busy) = (Some(now), 0);
        Found::Second { busy, load }
    }
}

impl Machine {
    /// Shows how the controller of a bus is set up.
    pub(super) fn set_up(&mut self, bus: usize, mode: u64, rates: Rates) {
        self.store.set_bus(bus, BusWord::Mode, mode);
        self.store.set_bus(bus, BusWord::BitRate, rates.nominal);
        self.store.set_bus(bus, BusWord::DataBitRate, rates.data);
    }

    /// Looks at the counters of all buses when it is time to.
    pub(super) fn count_loads(&mut self, now: Now) {
        if now.monotonic < self.loads_due {
            return;
        }
        self.loads_due = now.monotonic + EVERY;
        for (bus, slot) in self.buses.iter_mut().enumerate() {
            count_load(now, bus, &mut slot.load, &mut self.store);
        }
    }
}

fn count_load(now: Now, bus: usize, load: &mut Load, store: &mut Writer) {
    let told = Rates { nominal: store.bus(bus, BusWord::BitRate), data: store.bus(bus, BusWord::DataBitRate) };
    let bits = (store.bus(bus, BusWord::NominalBits), store.bus(bus, BusWord::DataBits));
    match load.look(now.monotonic, told, bits, store.bus_causes(bus) == Causes::NONE) {
        Found::Unknown => store.set_bus(bus, BusWord::LoadAt, 0),
        Found::Busy(busy) => store.add_bus(bus, BusWord::BusyTime, busy),
        Found::Second { busy, load } => {
            store.add_bus(bus, BusWord::BusyTime, busy);
            store.set_bus(bus, BusWord::Load, load);
            store.set_bus(bus, BusWord::LoadAt, now.monotonic);
            if store.bus(bus, BusWord::LoadPeakAt) == 0 || load > store.bus(bus, BusWord::LoadPeak) {
                store.set_bus(bus, BusWord::LoadPeak, load);
                store.set_bus(bus, BusWord::LoadPeakAt, now.realtime);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSIC: Rates = Rates { nominal: 500_000, data: 0 };
    const FD: Rates = Rates { nominal: 500_000, data: 2_000_000 };
    const NONE: Rates = Rates { nominal: 0, data: 0 };

    /// Milliseconds, what the interface tells, the counters, whether the bus is up; what is found.
    type Look = (u64, Rates, (u64, u64), bool, Found);

    fn check(configured: Rates, looks: &[Look]) {
        let mut load = Load::new(configured);
        for (at, told, bits, hears, wanted) in looks {
            assert_eq!(load.look(at * 1_000_000, *told, *bits, *hears), *wanted, "at {at} ms of {looks:?}");
        }
    }

    #[test]
    fn a_load_is_of_a_whole_second_with_one_bit_rate() {
        use Found::{Busy, Second, Unknown};
        // what the interface tells is in force, what is configured without it
        for (configured, told) in [(NONE, CLASSIC), (CLASSIC, NONE), (FD, CLASSIC)] {
            let second = Second { busy: 200_000_000, load: 400_000 };
            let third = Second { busy: 1_000_000_000, load: 1_000_000 };
            let looks = [
                (5, told, (0, 0), true, Unknown),
                (505, told, (100_000, 0), true, Busy(200_000_000)),
                (1005, told, (200_000, 0), true, second),
                (2005, told, (700_000, 0), true, third),
                (3105, told, (700_000, 0), true, Second { busy: 0, load: 0 }),
            ];
            check(configured, &looks);
        }
        // the two phases of CAN FD at their rates
        let mixed = Second { busy: 300_000_000, load: 300_000 };
        check(FD, &[(0, NONE, (0, 0), true, Unknown), (1000, NONE, (100_000, 200_000), true, mixed)]);
        // a late look makes the span longer, not the load higher
        let late = Second { busy: 2_000_000_000, load: 500_000 };
        check(CLASSIC, &[(0, NONE, (0, 0), true, Unknown), (4000, NONE, (1_000_000, 0), true, late)]);
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        use Found::{Busy, Second, Unknown};
        // no bit rate; the data phase without one
        check(NONE, &[(0, NONE, (0, 0), true, Unknown), (1000, NONE, (9, 0), true, Unknown)]);
        check(CLASSIC, &[(0, NONE, (0, 0), true, Unknown), (1000, NONE, (9, 9), true, Unknown)]);
        // down for a while: the next second is a whole one
        let second = Second { busy: 200_000_000, load: 200_000 };
        let looks = [
            (0, NONE, (0, 0), true, Unknown),
            (500, NONE, (100_000, 0), true, Busy(200_000_000)),
            (600, NONE, (100_000, 0), false, Unknown),
            (900, NONE, (150_000, 0), true, Unknown),
            (1100, NONE, (150_000, 0), true, Busy(0)),
            (1900, NONE, (250_000, 0), true, second),
        ];
        check(CLASSIC, &looks);
        // another bit rate within a second
        let other = Rates { nominal: 250_000, data: 0 };
        let looks = [
            (0, CLASSIC, (0, 0), true, Unknown),
            (900, CLASSIC, (100_000, 0), true, Busy(200_000_000)),
            (1000, other, (110_000, 0), true, Unknown),
            (2000, other, (160_000, 0), true, second),
        ];
        check(NONE, &looks);
    }

    #[test]
    fn a_plan_with_another_bit_rate_goes_on_with_the_counters() {
        let mut load = Load::new(CLASSIC);
        load.look(0, NONE, (1_000_000, 0), true);
        let mut next = Load::new(FD);
        next.go_on(&load);
        assert_eq!(next.look(1_000_000_000, NONE, (1_100_000, 0), true), Found::Unknown);
        let second = Found::Second { busy: 200_000_000, load: 200_000 };
        assert_eq!(next.look(2_000_000_000, NONE, (1_200_000, 0), true), second);
        // of the same bit rate nothing is lost
        let mut next = Load::new(CLASSIC);
        next.go_on(&load);
        assert_eq!(next.look(1_000_000_000, NONE, (1_100_000, 0), true), second);
    }
}
