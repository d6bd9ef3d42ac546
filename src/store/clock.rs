//! The two clocks that the stamps in the store are taken from, the same in both processes.

/// CLOCK_MONOTONIC in nanoseconds: ages, deadlines, heartbeats.
pub fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME in nanoseconds since 1970: source times. It may jump.
pub fn realtime() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// 2026-01-01T00:00:00Z: no copy of this program was there before. A PC whose clock has lost its battery starts in 1970 or 2000,
/// and a stamp from then says nothing.
pub const FLOOR: u64 = 1_767_225_600_000_000_000;

/// A stamp of CLOCK_REALTIME, if it can be a time at all: not 0, and not from before this program was there. Such a stamp stays
/// unknown when the clock is set later: nobody knows how long ago it was taken.
pub fn known(stamp: u64) -> Option<u64> {
    (stamp >= FLOOR).then_some(stamp)
}

/// What the kernel says about its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synchronisation {
    /// A time service (NTP, PTP) keeps it.
    pub synchronized: bool,
    /// Nanoseconds by which it may be wrong, as the service and the kernel estimate it.
    pub max_error: u64,
}

/// Asks the kernel (adjtimex(2), changing nothing); `None` where we may not ask.
pub fn synchronisation() -> Option<Synchronisation> {
    // SAFETY: zero is a valid value of this C struct of integers; `modes` 0 asks only.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is valid for reading and writing during the call.
    if unsafe { libc::adjtimex(&mut state) } < 0 {
        return None;
    }
    let max_error = u64::try_from(state.maxerror).unwrap_or(0).saturating_mul(1000);
    Some(Synchronisation { synchronized: state.status & libc::STA_UNSYNC == 0, max_error })
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; the call has no other effect and can't fail for these clocks.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_before_the_program_is_no_time() {
        for (stamp, want) in [
            (0, None),
            (1, None),
            // 2000-01-01, where many clocks start without a battery
            (946_684_800_000_000_000, None),
            (FLOOR - 1, None),
            (FLOOR, Some(FLOOR)),
            (u64::MAX, Some(u64::MAX)),
        ] {
            assert_eq!(known(stamp), want);
        }
    }

    #[test]
    fn the_kernel_is_asked_and_nothing_changed() {
        let before = realtime();
        if let Some(Synchronisation { max_error, .. }) = synchronisation() {
            assert!(max_error <= 60 * 1_000_000_000, "{max_error}");
        }
        assert!(realtime() >= before);
    }
}
