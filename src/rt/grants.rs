//! What the real-time threads ask of the kernel: scheduling class, locked memory, a stack that is there already.

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// SCHED_FIFO priority of the thread that owns the buses: below the interrupt threads of PREEMPT_RT (50).
pub const BUS_PRIORITY: i32 = 45;
/// Of the controller's main thread: it feeds the watchdog, so ordinary load must not starve it.
pub const MAIN_PRIORITY: i32 = 5;

/// Bytes of stack that are touched before the loop starts, so that no page fault happens in it.
const TOUCHED_STACK: usize = 128 * 1024;

/// What was asked for and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    pub fifo: Result<(), Errno>,
    pub locked: Result<(), Errno>,
}

/// Puts the calling thread under SCHED_FIFO; threads it starts do not inherit that.
pub fn fifo(priority: i32) -> Result<(), Errno> {
    // SAFETY: zero is a valid value of this C struct of integers.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = priority;
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `parameter` is valid during the call; 0 is the calling thread.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &parameter) }).map(drop)
}

/// Takes the calling thread out of any real-time class: it does work that may wait.
pub fn ordinary() {
    // SAFETY: zero is a valid value of this C struct of integers.
    let parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: `parameter` is valid during the call; 0 is the calling thread. Less priority is never refused.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &parameter) };
}

/// Locks the memory of the whole process, each page when it is first used. Memory that is mapped later is included only
/// where the limit is infinite: otherwise later allocations would fail at the limit.
pub fn lock_memory() -> Result<(), Errno> {
    let infinite = getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft == RLIM_INFINITY);
    let later = if infinite { MlockAllFlags::MCL_FUTURE } else { MlockAllFlags::empty() };
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | on_fault | later)
}

/// Touches the stack that the loop may need.
#[inline(never)]
pub fn touch_stack() {
    std::hint::black_box(&mut [0_u8; TOUCHED_STACK]);
}

impl Grants {
    /// For the log, once: what was refused and who can grant it. Empty where all was granted.
    pub fn missing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Err(error) = self.fifo {
            lines.push(format!(
                "no real-time scheduling ({error}): frames will be late under load. In a systemd unit set LimitRTPRIO={BUS_PRIORITY}; \
                 for a login set `USER - rtprio {BUS_PRIORITY}` in /etc/security/limits.d/canvoy.conf and log in again. \
                 Where the limit is there: on a kernel with CONFIG_RT_GROUP_SCHED the CPUWeight= of another unit takes it from all; \
                 boot with cgroup_disable=cpu"
            ));
        }
        if let Err(error) = self.locked {
            lines.push(format!(
                "memory is not locked ({error}): frames will be late when memory is short. In a systemd unit set LimitMEMLOCK=infinity; \
                 for a login set `USER - memlock unlimited` in /etc/security/limits.d/canvoy.conf and log in again"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_names_its_remedy() {
        let check = |fifo, locked, words: &[&str]| {
            let missing = Grants { fifo, locked }.missing();
            assert_eq!(missing.len(), words.len());
            for (line, word) in missing.iter().zip(words) {
                assert!(line.contains(word) && line.contains("/etc/security/limits.d"), "{line}");
            }
        };
        check(Ok(()), Ok(()), &[]);
        check(Err(Errno::EPERM), Ok(()), &["LimitRTPRIO=45"]);
        // said in systemd/README.md too
        check(Err(Errno::EPERM), Ok(()), &["CONFIG_RT_GROUP_SCHED the CPUWeight="]);
        check(Err(Errno::EPERM), Err(Errno::ENOMEM), &["EPERM", "LimitMEMLOCK=infinity"]);
    }
}
