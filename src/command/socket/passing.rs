//! Descriptors that a process is started with, from 3 on (sd_listen_fds(3)): given to a child, taken over by it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;

/// The first one, SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;
/// Most of them.
pub const MOST: usize = 8;

/// The child will have copies of these at 3, 4 and so on, whatever else is closed there. Names and count are the caller's
/// to say in its environment.
pub fn give(command: &mut Command, descriptors: &[OwnedFd]) -> io::Result<()> {
    if descriptors.len() > MOST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // above the numbers that they get, or one would be put over another
    let lowest = FIRST + MOST as RawFd;
    let copies = descriptors.iter().map(|descriptor| {
        // SAFETY: a plain call on a descriptor that is borrowed.
        let copy = check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(copy) })
    });
    let copies: Vec<OwnedFd> = copies.collect::<io::Result<_>>()?;
    let place = move || {
        for (number, copy) in (FIRST..).zip(&copies) {
            // SAFETY: a plain call on a descriptor that the closure owns; what was at `number` is the parent's, closed
            // at exec anyway. The copy is not closed at exec.
            check(unsafe { libc::dup2(copy.as_raw_fd(), number) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes only dup2 calls, which are async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(place) };
    Ok(())
}

/// Takes over what this process was started with; once, a second call finds none. They are closed at exec from then on.
/// Call it before anything is opened without close-on-exec, which std never does.
pub fn inherited(count: usize) -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let numbers = (FIRST..).take(count.min(MOST));
    let open = numbers.take_while(|number| {
        // SAFETY: plain calls on a number; one that is not open is refused.
        match unsafe { libc::fcntl(*number, libc::F_GETFD) } {
            // ours are closed at exec, so this one came with the process
            flags @ 0.. if flags & libc::FD_CLOEXEC == 0 => {
                // SAFETY: as above.
                unsafe { libc::fcntl(*number, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
            }
            _ => false,
        }
    });
    // SAFETY: open, and nobody in this process owns it: it was not opened here, and is taken only once.
    open.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_child_finds_them_from_3_on() {
        let pipes: Vec<_> = (0..3).map(|_| io::pipe().unwrap()).collect();
        let (mut readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        let writers: Vec<OwnedFd> = writers.into_iter().map(OwnedFd::from).collect();
        let mut command = Command::new("sh");
        command.args(["-c", "echo a >&3; echo b >&4; echo c >&5"]).stdin(Stdio::null());
        give(&mut command, &writers).unwrap();
        assert!(command.status().unwrap().success());
        drop((command, writers));
        for (reader, want) in readers.iter_mut().zip(["a\n", "b\n", "c\n"]) {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, want);
        }
        let many: Vec<OwnedFd> = (0..=MOST).map(|_| io::pipe().unwrap().1.into()).collect();
        assert!(give(&mut Command::new("true"), &many).is_err());
    }

    #[test]
    fn what_is_opened_here_is_not_inherited() {
        // whatever this test run was started with besides, the pipe is closed at exec and stays ours
        let (mut reader, mut writer) = io::pipe().unwrap();
        drop(inherited(0));
        assert!(inherited(MOST).is_empty(), "only once");
        writer.write_all(b"x").unwrap();
        drop(writer);
        assert_eq!(reader.read(&mut [0; 4]).unwrap(), 1);
    }
}
