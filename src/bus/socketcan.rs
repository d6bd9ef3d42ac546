//! A bus on a Linux CAN interface: raw sockets, their options, receiving in batches, sending (kernel: networking/can.rst).
//!
//! Two sockets for each bus. The data socket receives and sends: with one socket for both directions the kernel does not
//! hand back what we sent ourselves, and still shows it to other processes. The error socket takes error frames only, so
//! that an error storm can't fill the queue of the data.
//!
//! The data socket accepts every data and remote frame by one filter (identifier 0, mask 0: a list of one entry, so no
//! frame costs more than by exact identifiers). Filtering by identifier would hide frames that no DBC file knows, and
//! `received + lost = sent` would hold for the known ones only.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use ::socketcan::{CanFdSocket, CanFilter, SocketOptions};
use libc::{c_int, c_void};
use nix::errno::Errno;

use super::error_frame::ErrorFrame;
use crate::can::{Frame, FrameId, MAX_CLASSIC_LEN, fd_len};

/// Asked for as the receive buffer of a data socket, in bytes: some 2,700 frames, a quarter of a second at 10 kframe/s.
const RECEIVE_BUFFER: c_int = 2 * 1024 * 1024;
/// Most frames taken from a socket by one call: what one bus may do before the others have their turn.
pub const BATCH: usize = 64;

/// The two sockets of one bus, bound to one interface. When that interface is removed they are worthless: binding them
/// again would lose the filters. Opening, binding and closing take the kernel's rtnl lock and may block for milliseconds:
/// never on the real-time thread.
pub struct Sockets {
    /// Of the interface that they are bound to.
    pub interface_index: u32,
    /// Bytes that the kernel gave for waiting frames (it counts its own overhead too).
    pub receive_buffer: usize,
    data: CanFdSocket,
    errors: CanFdSocket,
}

impl Sockets {
    /// Opens and binds both. The interface may be down.
    pub fn open(interface_index: u32) -> io::Result<Sockets> {
        let data = raw_socket()?;
        data.set_filters(&[CanFilter::new(0, 0)])?;
        data.set_loopback(true)?;
        data.set_recv_own_msgs(false)?;
        // Always: on a classic bus an FD frame is a frame that nobody knows, and is counted as that.
        data.set_socket_option_int(libc::SOL_CAN_RAW, libc::CAN_RAW_FD_FRAMES, 1)?;
        data.set_socket_option_int(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
        data.set_socket_option_int(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        data.set_socket_option_int(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        let errors = raw_socket()?;
        errors.set_filter_drop_all()?;
        // every class, the one with the error counters (CAN_ERR_CNT, since Linux 6.0) included
        errors.set_error_filter(libc::CAN_ERR_MASK)?;
        errors.set_socket_option_int(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        let receive_buffer = data.get_socket_option_int(libc::SOL_SOCKET, libc::SO_RCVBUF)?.unsigned_abs() as usize;
        // last, or frames of the default filter would be waiting
        bind(&errors, interface_index)?;
        bind(&data, interface_index)?;
        Ok(Sockets { interface_index, receive_buffer, data, errors })
    }

    pub fn data(&self) -> BorrowedFd<'_> {
        self.data.as_fd()
    }

    pub fn errors(&self) -> BorrowedFd<'_> {
        self.errors.as_fd()
    }

    /// Hands a frame to the kernel; never waits. ENOBUFS: the interface's queue is full, which is no back-pressure.
    pub fn send(&self, frame: &Frame) -> Result<(), Errno> {
        let mut raw = zeroed_frame();
        let bytes = to_raw(frame, &mut raw);
        // SAFETY: the kernel reads `bytes` bytes of `raw`, which is at least that long and initialised.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::send(self.data.as_raw_fd(), (&raw const raw).cast::<c_void>(), bytes, flags)
        };
        Errno::result(sent).map(drop)
    }
}

fn raw_socket() -> io::Result<CanFdSocket> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is involved; the descriptor is new and owned by nobody else.
    let socket = unsafe {
        let descriptor = Errno::result(libc::socket(libc::PF_CAN, kind, libc::CAN_RAW))?;
        OwnedFd::from_raw_fd(descriptor)
    };
    Ok(CanFdSocket::from(socket))
}

fn bind(socket: &CanFdSocket, interface_index: u32) -> io::Result<()> {
    // SAFETY: zero is a valid value of every field of this C struct.
    let mut address: libc::sockaddr_can = unsafe { zeroed() };
    address.can_family = libc::AF_CAN as libc::sa_family_t;
    address.can_ifindex = c_int::try_from(interface_index).map_err(io::Error::other)?;
    // SAFETY: `address` is a sockaddr_can of the length given, alive during the call.
    let bound = unsafe {
        let length = size_of_val(&address) as libc::socklen_t;
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
    };
    Ok(Errno::result(bound).map(drop)?)
}

/// A SocketCAN bus as the real-time thread holds it.
#[derive(Default)]
pub struct Port {
    /// `None` while there is no interface.
    pub sockets: Option<Sockets>,
    /// The interface is gone; what still waits in the data socket is read before it is given back.
    pub dying: bool,
    /// Last running drop counters of the kernel: of the data socket, of the error socket.
    pub data_drops: u32,
    pub error_drops: u32,
    /// Until then the error socket rests: CLOCK_MONOTONIC, nanoseconds; 0: it is being listened to.
    pub errors_rest_until: u64,
}

impl Port {
    /// Puts new sockets in place; the old ones come back.
    pub fn replace(&mut self, sockets: Option<Sockets>) -> Option<Sockets> {
        let old = self.sockets.take();
        *self = Port { sockets, ..Port::default() };
        old
    }
}

/// How many the kernel has dropped since the last look at its running counter, which wraps.
pub fn newly_dropped(last: &mut u32, running: Option<u32>) -> u64 {
    let Some(running) = running else { return 0 };
    u64::from(running.wrapping_sub(std::mem::replace(last, running)))
}

/// What one call has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Frame(Frame),
    Error(ErrorFrame),
    /// Neither a classic nor an FD frame that this program knows.
    Other,
}

/// One received frame with what the kernel says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub content: Content,
    /// CLOCK_REALTIME nanoseconds since 1970; `None` without a stamp.
    pub source_time: Option<u64>,
    /// The socket's running drop counter; absent while it is 0.
    pub drops: Option<u32>,
}

/// Room for the kernel's additions to one frame: a time stamp and the drop counter, 56 bytes on 64-bit machines.
const CONTROL_WORDS: usize = 8;
const CONTROL_BYTES: usize = size_of::<[u64; CONTROL_WORDS]>();

/// Memory to receive a batch of frames into, made once. It holds pointers into itself, so it is reached by its address only.
pub struct Batch(NonNull<Memory>);

struct Memory {
    frames: [libc::canfd_frame; BATCH],
    control: [[u64; CONTROL_WORDS]; BATCH],
    vectors: [libc::iovec; BATCH],
    headers: [libc::mmsghdr; BATCH],
    /// So many headers were filled by the last call.
    used: usize,
}

impl Default for Batch {
    fn default() -> Batch {
        // SAFETY: zero (null pointers, no lengths) is a valid value of these C structs.
        let memory: &mut Memory = Box::leak(Box::new(unsafe { zeroed() }));
        let memory = NonNull::from(memory);
        let at = memory.as_ptr();
        for index in 0..BATCH {
            // SAFETY: `at` is the memory just made, `index` is within its arrays, and nobody else knows of it yet. Each header
            // points to one vector, one frame and one control buffer; these stay where they are until `drop`.
            unsafe {
                (&raw mut (*at).vectors[index]).write(libc::iovec {
                    iov_base: (&raw mut (*at).frames[index]).cast::<c_void>(),
                    iov_len: size_of::<libc::canfd_frame>(),
                });
                let header = &raw mut (*at).headers[index].msg_hdr;
                (*header).msg_iov = &raw mut (*at).vectors[index];
                (*header).msg_iovlen = 1;
                (*header).msg_control = (&raw mut (*at).control[index]).cast::<c_void>();
                (*header).msg_controllen = CONTROL_BYTES as _;
            }
        }
        Batch(memory)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: made by `Box` in `default`, given back once, and nothing points to it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Batch {
    /// Takes what waits in a socket, at most [`BATCH`] frames, and never waits itself.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let at = self.0.as_ptr();
        // SAFETY: `at` is valid until `drop` and reached through `self` only, which is borrowed here. Each header points to one
        // vector, one frame and one control buffer of the lengths given, untouched by others during the call; the kernel
        // changes no pointer and, where it filled a header, the length of its control buffer. No time-out is passed.
        let count = unsafe {
            let headers = (&raw mut (*at).headers).cast::<libc::mmsghdr>();
            for index in 0..(*at).used {
                (*headers.add(index)).msg_hdr.msg_controllen = CONTROL_BYTES as _;
            }
            let count = libc::recvmmsg(
                socket.as_raw_fd(),
                headers,
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            );
            (*at).used = usize::try_from(count).unwrap_or(0);
            count
        };
        Errno::result(count).map(|count| count as usize)
    }

    /// One frame of the last call, `index` below what it returned.
    pub fn arrival(&self, index: usize) -> Arrival {
        // SAFETY: the memory is valid until `drop`, and while `self` is borrowed nothing changes it.
        let memory = unsafe { self.0.as_ref() };
        let bytes = memory.headers[index].msg_len as usize;
        let mut arrival = Arrival { content: from_raw(&memory.frames[index], bytes), source_time: None, drops: None };
        let header = &raw const memory.headers[index].msg_hdr;
        // SAFETY: the kernel filled the control buffer of this header and set its length; the macros of libc stay inside
        // it, and each datum is read unaligned after its length was looked at.
        unsafe {
            let mut control = libc::CMSG_FIRSTHDR(header);
            while let Some(item) = control.as_ref() {
                let length = item.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(control);
                match (item.cmsg_level, item.cmsg_type) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if length >= size_of::<libc::timespec>() => {
                        let time = data.cast::<libc::timespec>().read_unaligned();
                        arrival.source_time = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if length >= size_of::<u32>() => {
                        arrival.drops = Some(data.cast::<u32>().read_unaligned());
                    }
                    _ => {}
                }
                control = libc::CMSG_NXTHDR(header, control);
            }
        }
        arrival
    }
}

fn zeroed_frame() -> libc::canfd_frame {
    // SAFETY: zero is a valid value of this C struct of integers.
    unsafe { zeroed() }
}

/// From the kernel's form. `bytes`: as received, 16 for a classic frame, 72 for FD. The two forms agree but for the length.
fn from_raw(raw: &libc::canfd_frame, bytes: usize) -> Content {
    let fd = match bytes {
        libc::CAN_MTU => false,
        libc::CANFD_MTU => true,
        _ => return Content::Other,
    };
    if raw.can_id & libc::CAN_ERR_FLAG != 0 {
        let mut data = [0; 8];
        data.copy_from_slice(&raw.data[..8]);
        return Content::Error(ErrorFrame { classes: raw.can_id & libc::CAN_ERR_MASK, data });
    }
    let id = if raw.can_id & libc::CAN_EFF_FLAG != 0 {
        FrameId::extended(raw.can_id & libc::CAN_EFF_MASK)
    } else {
        FrameId::standard(raw.can_id & libc::CAN_SFF_MASK)
    };
    let length = usize::from(raw.len);
    let frame = id.and_then(|id| {
        if fd {
            // A process may send a length that no DLC stands for; on a wire it would be the next longer one.
            let mut frame = Frame::fd(id, &raw.data[..fd_len(length)?])?;
            frame.payload_mut().iter_mut().skip(length).for_each(|byte| *byte = 0);
            frame.bit_rate_switch = c_int::from(raw.flags) & libc::CANFD_BRS != 0;
            frame.error_state = c_int::from(raw.flags) & libc::CANFD_ESI != 0;
            Some(frame)
        } else if raw.can_id & libc::CAN_RTR_FLAG != 0 {
            Frame::remote(id, raw.len)
        } else {
            let bytes = std::array::from_fn(|index| raw.data[index]);
            Frame::classic_of(id, bytes, length.min(MAX_CLASSIC_LEN))
        }
    });
    frame.map_or(Content::Other, Content::Frame)
}

/// To the kernel's form; returns how many bytes of it to write.
fn to_raw(frame: &Frame, raw: &mut libc::canfd_frame) -> usize {
    raw.can_id = frame.id.number();
    if frame.id.is_extended() {
        raw.can_id |= libc::CAN_EFF_FLAG;
    }
    if frame.remote {
        raw.can_id |= libc::CAN_RTR_FLAG;
    }
    raw.len = frame.len() as u8;
    if !frame.fd {
        raw.data[..MAX_CLASSIC_LEN].copy_from_slice(&frame.first_bytes());
        return libc::CAN_MTU;
    }
    raw.data[..frame.payload().len()].copy_from_slice(frame.payload());
    let flag = |set, flag: c_int| if set { flag as u8 } else { 0 };
    raw.flags = flag(frame.bit_rate_switch, libc::CANFD_BRS) | flag(frame.error_state, libc::CANFD_ESI);
    libc::CANFD_MTU
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u32) -> FrameId {
        FrameId::from_bits(bits).unwrap()
    }

    #[test]
    fn the_kernels_form_and_back() {
        let check = |frame: Frame, can_id, bytes| {
            let mut raw = zeroed_frame();
            assert_eq!(to_raw(&frame, &mut raw), bytes, "{frame:?}");
            assert_eq!(raw.can_id, can_id, "{frame:?}");
            assert_eq!(from_raw(&raw, bytes), Content::Frame(frame));
        };
        check(Frame::classic(id(0x123), &[1, 2, 3]).unwrap(), 0x123, 16);
        check(Frame::classic(id(0x9FFF_FFFF), &[9; 8]).unwrap(), 0x9FFF_FFFF, 16);
        check(Frame::remote(id(0x7FF), 5).unwrap(), 0x4000_07FF, 16);
        check(Frame::fd(id(0x321), &[7; 64]).unwrap(), 0x321, 72);
        let mut switched = Frame::fd(id(0x8000_0001), &[1; 12]).unwrap();
        (switched.bit_rate_switch, switched.error_state) = (true, true);
        check(switched, 0x8000_0001, 72);
    }

    #[test]
    fn what_a_process_may_send_but_a_wire_would_not() {
        let check = |can_id, len, bytes, expected: Content| {
            let mut raw = zeroed_frame();
            (raw.can_id, raw.len, raw.data) = (can_id, len, [0xAA; 64]);
            assert_eq!(from_raw(&raw, bytes), expected, "{can_id:X} {len} {bytes}");
        };
        let mut padded = Frame::fd(id(1), &[0xAA; 12]).unwrap();
        padded.payload_mut()[9..].fill(0);
        check(1, 9, 72, Content::Frame(padded));
        check(1, 65, 72, Content::Other);
        check(1, 15, 16, Content::Frame(Frame::classic(id(1), &[0xAA; 8]).unwrap()));
        check(1, 8, 20, Content::Other);
        check(0x2000_0040, 8, 16, Content::Error(ErrorFrame { classes: 0x40, data: [0xAA; 8] }));
    }

    #[test]
    fn the_running_drop_counter_wraps() {
        let mut last = 0;
        let check = |last: &mut u32, running, dropped| assert_eq!(newly_dropped(last, running), dropped, "{running:?}");
        check(&mut last, None, 0);
        check(&mut last, Some(7), 7);
        check(&mut last, Some(7), 0);
        check(&mut last, Some(u32::MAX), u64::from(u32::MAX) - 7);
        check(&mut last, None, 0);
        check(&mut last, Some(4), 5);
    }
}
