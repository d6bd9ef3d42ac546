//! A process that a supervisor has started: its name, and that it ends with the supervisor.

use std::ffi::CStr;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::service::exit::{Failure, UNAVAILABLE};

/// Names this process for `ps` and `top` (15 bytes at most), and ends it by `signal` when the supervisor goes, however
/// that happens. Call it before other threads are started.
pub fn begin(name: &CStr, supervisor: Option<u32>, signal: Signal) -> anyhow::Result<()> {
    // without it the process is only called "exe"
    let _ = prctl::set_name(name);
    let Some(supervisor) = supervisor else { return Ok(()) };
    prctl::set_pdeathsig(signal)?;
    // gone before that took effect
    if getppid().as_raw() != i32::try_from(supervisor)? {
        return Err(Failure::new(UNAVAILABLE, "the supervisor has ended").into());
    }
    Ok(())
}
