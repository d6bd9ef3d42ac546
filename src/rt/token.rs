//! What epoll tells a descriptor by: two for each bus, and some of the loop's own.

use nix::sys::epoll::EpollFlags;

pub const WAKE_TOKEN: u64 = u64::MAX;
pub const TIMER_TOKEN: u64 = u64::MAX - 1;
/// CLOCK_REALTIME was set.
pub const CLOCK_TOKEN: u64 = u64::MAX - 2;

pub fn is_data(token: u64) -> bool {
    token < CLOCK_TOKEN && token.is_multiple_of(2)
}

pub fn data_token(bus: usize) -> u64 {
    bus as u64 * 2
}

pub fn error_token(bus: usize) -> u64 {
    bus as u64 * 2 + 1
}

/// An error socket speaks once, then rests until it is asked again.
pub fn errors_once() -> EpollFlags {
    EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT
}
