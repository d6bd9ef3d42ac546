//! What the kernel says about network interfaces: events when one changes, and questions about one by name (rtnetlink(7)).

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
}

impl Link {
    /// The state of the bus behind the interface, as far as the interface tells.
    pub fn state(&self) -> BusState {
        if self.up { self.driver_state.unwrap_or(BusState::Active) } else { BusState::Down }
    }
}

/// Two netlink sockets: one hears of every change, one asks.
pub struct Links {
    events: OwnedFd,
    questions: OwnedFd,
    sequence: u32,
}

const NLMSG_HEADER: usize = 16;
const IFINFO: usize = 16;
/// Larger than any description of one interface.
const ANSWER: usize = 32 * 1024;

impl Links {
    pub fn open() -> io::Result<Links> {
        let netlink = |groups| -> Result<OwnedFd, Errno> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
            Ok(socket)
        };
        Ok(Links { events: netlink(libc::RTMGRP_LINK as u32)?, questions: netlink(0)?, sequence: 0 })
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
        self.sequence = self.sequence.wrapping_add(1);
        send(self.questions.as_raw_fd(), &question(name, self.sequence), MsgFlags::empty())?;
        let mut buffer = vec![0; ANSWER];
        // The kernel has answered when `send` returns. Answers of questions that went wrong may stand before.
        loop {
            let length = recv(self.questions.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            match answer(&buffer[..length], self.sequence)? {
                Answer::Link(link) => return Ok(Some(link)),
                Answer::Error(Errno::ENODEV) => return Ok(None),
                Answer::Error(error) => return Err(error.into()),
                Answer::Other => {}
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Link(Link),
    Error(Errno),
    Other,
}

/// RTM_GETLINK with IFLA_IFNAME.
fn question(name: &str, sequence: u32) -> Vec<u8> {
    let attribute = 4 + name.len() + 1;
    let length = NLMSG_HEADER + IFINFO + attribute.next_multiple_of(4);
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(libc::RTM_GETLINK.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.resize(NLMSG_HEADER + IFINFO, 0);
    message.extend((attribute as u16).to_ne_bytes());
    message.extend(libc::IFLA_IFNAME.to_ne_bytes());
    message.extend(name.as_bytes());
    message.resize(length, 0);
    message
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
            Ok(Answer::Error(Errno::from_raw(-code)))
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
    let driver_state = details
        .filter(|_| is_can_driver)
        .and_then(|d| attribute(d, libc::IFLA_INFO_DATA))
        .and_then(|data| u32_at(attribute(data, IFLA_CAN_STATE)?, 0));
    Some(Link {
        index: u32_at(body, 4)?,
        can: u16_at(body, 2)? == libc::ARPHRD_CAN,
        up: u32_at(body, 8)? & libc::IFF_UP as u32 != 0,
        mtu: attribute(attributes, libc::IFLA_MTU).and_then(|mtu| u32_at(mtu, 0)).unwrap_or(0),
        driver_state: driver_state.and_then(|state| CAN_STATES.get(state as usize).copied()),
    })
}

/// linux/can/netlink.h.
const IFLA_CAN_STATE: u16 = 4;
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
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
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
        let data = [nested(1, &[0; 32]), nested(IFLA_CAN_STATE, &state.to_ne_bytes())].concat();
        let details = [nested(libc::IFLA_INFO_KIND, kind), nested(0x8000 | libc::IFLA_INFO_DATA, &data)].concat();
        body.extend(nested(libc::IFLA_LINKINFO, &details));
        body
    }

    #[test]
    fn answers() {
        let check = |kind: &[u8], up, state, driver_state, bus| {
            let datagram = message(libc::RTM_NEWLINK, 5, &interface(kind, up, state));
            let Answer::Link(link) = answer(&datagram, 5).unwrap() else { panic!("no link") };
            assert_eq!(link, Link { index: 7, can: true, up, mtu: 72, driver_state });
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
        let refused = message(libc::NLMSG_ERROR as u16, 5, &(-libc::ENODEV).to_ne_bytes());
        assert_eq!(answer(&refused, 5).unwrap(), Answer::Error(Errno::ENODEV));
    }

    #[test]
    fn the_kernel_answers() {
        let mut links = Links::open().unwrap();
        let lo = links.ask("lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.can), (nix::net::if_::if_nametoindex("lo").unwrap(), false));
        assert_eq!(links.ask("nosuch0").unwrap(), None);
        links.forget_events();
    }
}
