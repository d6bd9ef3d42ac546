//! Exit codes, those of sysexits.h, and the error that carries one.

/// Wrong command line.
pub const USAGE: u8 = 64;
/// Something needed is not there: a port, the controller's socket.
pub const UNAVAILABLE: u8 = 69;
/// A mistake in the program.
pub const INTERNAL: u8 = 70;
/// The operating system refused something that it always gives.
pub const SYSTEM: u8 = 71;
/// Input or output failed.
pub const IO: u8 = 74;
/// To be started again, with what has changed since (EX_TEMPFAIL).
pub const AGAIN: u8 = 75;
/// No permission.
pub const PERMISSION: u8 = 77;
/// The configuration is wrong: every mistake has been printed.
pub const CONFIG: u8 = 78;

/// An error whose exit code is known where it happens.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: u8,
    /// What is wrong and what to do. Empty: everything has been said already.
    pub message: String,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// The configuration is wrong, and its mistakes have been printed.
    pub fn config() -> Failure {
        Failure::new(CONFIG, "")
    }
}

/// The exit code for an error: its own, or what the input-output error at its bottom says.
pub fn code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.code;
    }
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::PermissionDenied) => PERMISSION,
        Some(std::io::ErrorKind::AddrInUse | std::io::ErrorKind::AddrNotAvailable) => UNAVAILABLE,
        Some(std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::QuotaExceeded) => SYSTEM,
        Some(_) => IO,
        None => INTERNAL,
    }
}

/// What the operating system said, where it is at the bottom of an error.
pub fn errno(error: &anyhow::Error) -> Option<i32> {
    error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).and_then(std::io::Error::raw_os_error)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use anyhow::Context;

    use super::*;

    #[test]
    fn codes() {
        let io = |kind: ErrorKind| Err::<(), _>(Error::from(kind)).context("open").unwrap_err();
        for (error, want) in [
            (anyhow::anyhow!("odd"), INTERNAL),
            (io(ErrorKind::PermissionDenied), PERMISSION),
            (io(ErrorKind::NotFound), IO),
            (io(ErrorKind::AddrInUse), UNAVAILABLE),
            (Failure::config().into(), CONFIG),
            (Err::<(), _>(Failure::new(USAGE, "x")).context("while").unwrap_err(), USAGE),
        ] {
            assert_eq!(code(&error), want, "{error:#}");
            assert_eq!(errno(&error), None);
        }
        assert_eq!(errno(&Err::<(), _>(Error::from_raw_os_error(19)).context("open").unwrap_err()), Some(19));
    }
}
