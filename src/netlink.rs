//! Network interfaces as the kernel tells them and lets them be set (rtnetlink(7)): events when one changes, questions
//! about one by name, and what `canvoy-link` changes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

use crate::store::layout::BusState;

/// One interface at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    /// It is a CAN interface (ARPHRD_CAN).
    pub can: bool,
    /// Set up by the administrator.
    pub up: bool,
    /// 16 for classic CAN, 72 for CAN FD.
    pub mtu: u32,
    /// What a CAN controller's driver says; virtual interfaces say nothing.
    pub driver_state: Option<BusState>,
    /// The same of how the controller is set up.
    pub setup: Option<Setup>,
}

/// How a CAN controller is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// It neither sends nor acknowledges.
    pub listen_only: bool,
    pub fd: bool,
    /// Bit/s; 0: not set yet.
    pub bit_rate: u32,
    /// Bit/s of the data phase of CAN FD; 0: not set.
    pub data_bit_rate: u32,
    /// Milliseconds after which the driver itself restarts a controller that is off; 0: never.
    pub restart_ms: u32,
}

/// A change of one interface. It needs CAP_NET_ADMIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Up,
    Down,
    /// Bit rates, while it is down; the driver is told not to restart by itself. `fd`: on, off, or as it is.
    Setup {
        bit_rate: u32,
        data_bit_rate: Option<u32>,
        fd: Option<bool>,
    },
    /// Of a controller that is off.
    Restart,
}

impl Link {
    /// The state of the bus behind the interface, as far as the interface tells.
    pub fn state(&self) -> BusState {
        if self.up { self.driver_state.unwrap_or(BusState::Active) } else { BusState::Down }
    }
}

/// Hears of every change, and asks.
pub struct Links {
    events: OwnedFd,
    requests: Requests,
}

/// A netlink socket for questions and changes.
pub struct Requests {
    socket: OwnedFd,
    sequence: u32,
}

const NLMSG_HEADER: usize = 16;
const IFINFO: usize = 16;
/// Larger than any description of one interface.
const ANSWER: usize = 32 * 1024;

fn netlink(groups: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

impl Links {
    pub fn open() -> io::Result<Links> {
        Ok(Links { events: netlink(libc::RTMGRP_LINK as u32)?, requests: Requests::open()? })
    }

    /// Readable when some interface has changed.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Forgets the events so far; what they say is asked for instead, because events can be lost.
    pub fn forget_events(&self) {
        let mut buffer = [0; 4096];
        // bounded: what comes meanwhile is left for the next turn. ENOBUFS means that events were lost: go on.
        for _ in 0..1024 {
            match recv(self.events.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
                Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(_) => break,
            }
        }
    }

    /// Asks about one interface; `None` where there is none of that name.
    pub fn ask(&mut self, name: &str) -> io::Result<Option<Link>> {
        self.requests.ask(name)
    }
}

impl Requests {
    pub fn open() -> io::Result<Requests> {
        Ok(Requests { socket: netlink(0)?, sequence: 0 })
    }

    /// Asks about one interface; `None` where there is none of that name.
    pub fn ask(&mut self, name: &str) -> io::Result<Option<Link>> {
        self.sequence = self.sequence.wrapping_add(1);
        match self.exchange(&question(name, self.sequence))? {
            Answer::Link(link) => Ok(Some(link)),
            Answer::Error(Errno::ENODEV) => Ok(None),
            Answer::Error(error) => Err(error.into()),
            Answer::Done | Answer::Other => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Changes an interface, by its index.
    pub fn change(&mut self, index: u32, change: Change) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        match self.exchange(&order(index, change, self.sequence)) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Error(error)) => Err(error),
            Ok(Answer::Link(_) | Answer::Other) => Err(Errno::EBADMSG),
            Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
        }
    }

    fn exchange(&mut self, message: &[u8]) -> io::Result<Answer> {
        send(self.socket.as_raw_fd(), message, MsgFlags::empty())?;
        let mut buffer = vec![0; ANSWER];
        // The kernel has answered when `send` returns. Answers to what went wrong may stand before.
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            match answer(&buffer[..length], self.sequence)? {
                Answer::Other => {}
                answer => return Ok(answer),
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Link(Link),
    Error(Errno),
    /// What was asked for has been done.
    Done,
    /// To another question.
    Other,
}

/// RTM_GETLINK with IFLA_IFNAME.
fn question(name: &str, sequence: u32) -> Vec<u8> {
    let mut bytes = header(libc::RTM_GETLINK, libc::NLM_F_REQUEST, sequence, 0, None);
    put(&mut bytes, libc::IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    finish(bytes)
}

/// RTM_NEWLINK for an interface that exists; the kernel answers it with NLMSG_ERROR, 0 for done.
fn order(index: u32, change: Change, sequence: u32) -> Vec<u8> {
    let up = match change {
        Change::Up => Some(true),
        Change::Down => Some(false),
        Change::Setup { .. } | Change::Restart => None,
    };
    let mut bytes = header(libc::RTM_NEWLINK, libc::NLM_F_REQUEST | libc::NLM_F_ACK, sequence, index, up);
    let mut data = Vec::new();
    match change {
        Change::Up | Change::Down => return finish(bytes),
        Change::Setup { bit_rate, data_bit_rate, fd } => {
            put(&mut data, IFLA_CAN_BITTIMING, &bit_timing(bit_rate));
            if let Some(fd) = fd {
                let flags = if fd { CAN_CTRLMODE_FD } else { 0 };
                put(&mut data, IFLA_CAN_CTRLMODE, &[CAN_CTRLMODE_FD.to_ne_bytes(), flags.to_ne_bytes()].concat());
            }
            if let Some(rate) = data_bit_rate {
                put(&mut data, IFLA_CAN_DATA_BITTIMING, &bit_timing(rate));
            }
            put(&mut data, IFLA_CAN_RESTART_MS, &0_u32.to_ne_bytes());
        }
        Change::Restart => put(&mut data, IFLA_CAN_RESTART, &1_u32.to_ne_bytes()),
    }
    let mut details = Vec::new();
    put(&mut details, libc::IFLA_INFO_KIND, b"can");
    put(&mut details, libc::IFLA_INFO_DATA, &data);
    put(&mut bytes, libc::IFLA_LINKINFO, &details);
    finish(bytes)
}

/// struct can_bittiming with a bit rate only: the driver finds the rest.
fn bit_timing(rate: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&rate.to_ne_bytes());
    bytes
}

/// nlmsghdr, its length still missing, and ifinfomsg.
fn header(kind: u16, flags: i32, sequence: u32, index: u32, up: Option<bool>) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.resize(NLMSG_HEADER + 4, 0);
    bytes.extend(index.to_ne_bytes());
    let flag = libc::IFF_UP as u32;
    bytes.extend(if up == Some(true) { flag } else { 0 }.to_ne_bytes());
    bytes.extend(if up.is_some() { flag } else { 0 }.to_ne_bytes());
    bytes
}

/// Adds an attribute.
fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn finish(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = (bytes.len() as u32).to_ne_bytes();
    bytes[..4].copy_from_slice(&length);
    bytes
}

fn answer(datagram: &[u8], sequence: u32) -> io::Result<Answer> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "a netlink message is shorter than it says");
    let length = u32_at(datagram, 0).ok_or_else(short)? as usize;
    let message = datagram.get(..length).ok_or_else(short)?;
    if u32_at(message, 8) != Some(sequence) {
        return Ok(Answer::Other);
    }
    match u16_at(message, 4) {
        Some(kind) if i32::from(kind) == libc::NLMSG_ERROR => {
            let code = u32_at(message, NLMSG_HEADER).ok_or_else(short)? as i32;
            Ok(if code == 0 { Answer::Done } else { Answer::Error(Errno::from_raw(code.wrapping_neg())) })
        }
        Some(libc::RTM_NEWLINK) => link(&message[NLMSG_HEADER..]).map(Answer::Link).ok_or_else(short),
        _ => Ok(Answer::Other),
    }
}

/// An ifinfomsg and its attributes.
fn link(body: &[u8]) -> Option<Link> {
    let attributes = body.get(IFINFO..)?;
    let details = attribute(attributes, libc::IFLA_LINKINFO);
    let is_can_driver = details.and_then(|d| attribute(d, libc::IFLA_INFO_KIND)).is_some_and(|kind| kind == b"can\0");
    let driver = details.filter(|_| is_can_driver).and_then(|d| attribute(d, libc::IFLA_INFO_DATA));
    let driver_state = driver.and_then(|data| u32_at(attribute(data, IFLA_CAN_STATE)?, 0));
    Some(Link {
        index: u32_at(body, 4)?,
        can: u16_at(body, 2)? == libc::ARPHRD_CAN,
        up: u32_at(body, 8)? & libc::IFF_UP as u32 != 0,
        mtu: attribute(attributes, libc::IFLA_MTU).and_then(|mtu| u32_at(mtu, 0)).unwrap_or(0),
        driver_state: driver_state.and_then(|state| CAN_STATES.get(state as usize).copied()),
        setup: driver.map(setup),
    })
}

/// What a driver says about its controller; what it leaves out is not set.
fn setup(data: &[u8]) -> Setup {
    let word = |kind, at| attribute(data, kind).and_then(|value| u32_at(value, at)).unwrap_or(0);
    // struct can_ctrlmode: mask, flags
    let mode = word(IFLA_CAN_CTRLMODE, 4);
    Setup {
        listen_only: mode & CAN_CTRLMODE_LISTENONLY != 0,
        fd: mode & CAN_CTRLMODE_FD != 0,
        bit_rate: word(IFLA_CAN_BITTIMING, 0),
        data_bit_rate: word(IFLA_CAN_DATA_BITTIMING, 0),
        restart_ms: word(IFLA_CAN_RESTART_MS, 0),
    }
}

/// linux/can/netlink.h.
const IFLA_CAN_BITTIMING: u16 = 1;
const IFLA_CAN_STATE: u16 = 4;
const IFLA_CAN_CTRLMODE: u16 = 5;
const IFLA_CAN_RESTART_MS: u16 = 6;
const IFLA_CAN_RESTART: u16 = 7;
const IFLA_CAN_DATA_BITTIMING: u16 = 9;
const CAN_CTRLMODE_LISTENONLY: u32 = 0x02;
const CAN_CTRLMODE_FD: u32 = 0x20;
/// `enum can_state`: active, warning, passive, bus-off, stopped, sleeping.
const CAN_STATES: [BusState; 6] =
    [BusState::Active, BusState::Warning, BusState::Passive, BusState::BusOff, BusState::Down, BusState::Down];

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        // the two upper bits say "nested" and "network byte order"
        if u16_at(attributes, 2)? & 0x3FFF == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, kind, value);
        bytes
    }

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((16 + body.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn interface(kind: &[u8], up: bool, state: u32) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend(libc::ARPHRD_CAN.to_ne_bytes());
        body.extend(7_u32.to_ne_bytes());
        body.extend(u32::from(up).to_ne_bytes());
        body.extend(0_u32.to_ne_bytes());
        body.extend(nested(libc::IFLA_IFNAME, b"can0\0"));
        body.extend(nested(libc::IFLA_MTU, &72_u32.to_ne_bytes()));
        let mode = [0xFF_u32.to_ne_bytes(), 0x22_u32.to_ne_bytes()].concat();
        let data = [
            nested(1, &bit_timing(500_000)),
            nested(IFLA_CAN_STATE, &state.to_ne_bytes()),
            nested(IFLA_CAN_CTRLMODE, &mode),
            nested(IFLA_CAN_RESTART_MS, &100_u32.to_ne_bytes()),
            nested(IFLA_CAN_DATA_BITTIMING, &bit_timing(2_000_000)),
        ]
        .concat();
        let details = [nested(libc::IFLA_INFO_KIND, kind), nested(0x8000 | libc::IFLA_INFO_DATA, &data)].concat();
        body.extend(nested(libc::IFLA_LINKINFO, &details));
        body
    }

    #[test]
    fn answers() {
        let check = |kind: &[u8], up, state, driver_state, bus| {
            let datagram = message(libc::RTM_NEWLINK, 5, &interface(kind, up, state));
            let Answer::Link(link) = answer(&datagram, 5).unwrap() else { panic!("no link") };
            let setup = (kind == b"can\0").then_some(Setup {
                listen_only: true,
                fd: true,
                bit_rate: 500_000,
                data_bit_rate: 2_000_000,
                restart_ms: 100,
            });
            assert_eq!(link, Link { index: 7, can: true, up, mtu: 72, driver_state, setup });
            assert_eq!(link.state(), bus);
            assert_eq!(answer(&datagram, 6).unwrap(), Answer::Other, "an answer to another question");
            for cut in 0..datagram.len() {
                assert!(answer(&datagram[..cut], 5).is_err(), "cut at {cut}");
            }
        };
        check(b"can\0", true, 0, Some(BusState::Active), BusState::Active);
        check(b"can\0", true, 3, Some(BusState::BusOff), BusState::BusOff);
        check(b"can\0", true, 99, None, BusState::Active);
        check(b"can\0", false, 4, Some(BusState::Down), BusState::Down);
        check(b"vcan\0", true, 3, None, BusState::Active);
        check(b"vcan\0", false, 3, None, BusState::Down);
        let done = message(libc::NLMSG_ERROR as u16, 5, &0_i32.to_ne_bytes());
        assert_eq!(answer(&done, 5).unwrap(), Answer::Done);
        let refused = message(libc::NLMSG_ERROR as u16, 5, &(-libc::ENODEV).to_ne_bytes());
        assert_eq!(answer(&refused, 5).unwrap(), Answer::Error(Errno::ENODEV));
    }

    /// What a change is, as `ip link` sends it (little-endian, in hexadecimal words, without the header's sequence).
    #[test]
    #[cfg(target_endian = "little")]
    fn changes_as_bytes() {
        let check = |change, want: &[u32]| {
            let bytes = order(7, change, 9);
            let words: Vec<u32> = (0..bytes.len() / 4).map(|at| u32_at(&bytes, at * 4).unwrap()).collect();
            // RTM_NEWLINK, REQUEST | ACK; the family, the index
            let header = [bytes.len() as u32, 0x0005_0010, 9, 0, 0, 7];
            assert_eq!((&words[..6], &words[6..]), (&header[..], want), "{change:?}: {words:08x?}");
        };
        check(Change::Up, &[1, 1]);
        check(Change::Down, &[0, 1]);
        // flags; IFLA_LINKINFO { IFLA_INFO_KIND "can", IFLA_INFO_DATA { IFLA_CAN_RESTART 1 } }
        let can = u32::from_le_bytes(*b"can\0");
        check(Change::Restart, &[0, 0, 0x0012_0018, 0x0001_0007, can, 0x0002_000C, 0x0007_0008, 1]);
        let timing = |rate| [rate, 0, 0, 0, 0, 0, 0, 0];
        let classic =
            [&[0, 0, 0x0012_003C, 0x0001_0007, can, 0x0002_0030, 0x0001_0024][..], &timing(250_000), &[0x0006_0008, 0]];
        check(Change::Setup { bit_rate: 250_000, data_bit_rate: None, fd: None }, &classic.concat());
        let fd = [
            &[0, 0, 0x0012_006C, 0x0001_0007, can, 0x0002_0060, 0x0001_0024][..],
            &timing(500_000),
            &[0x0005_000C, 0x20, 0x20, 0x0009_0024],
            &timing(2_000_000),
            &[0x0006_0008, 0],
        ];
        check(Change::Setup { bit_rate: 500_000, data_bit_rate: Some(2_000_000), fd: Some(true) }, &fd.concat());
    }

    #[test]
    fn the_kernel_answers() {
        let mut requests = Requests::open().unwrap();
        assert!(requests.change(u32::MAX / 2, Change::Up).is_err(), "there is no such interface");
        let mut links = Links::open().unwrap();
        let lo = links.ask("lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.can), (nix::net::if_::if_nametoindex("lo").unwrap(), false));
        assert_eq!(links.ask("nosuch0").unwrap(), None);
        links.forget_events();
    }
}
