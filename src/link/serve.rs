//! The process: who may ask, how often, and what is done to an interface.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Uid, User};
use tracing::{error, info, warn};

use super::{Action, Listed, MAX_DATAGRAM, Reply, Request};
use crate::command::socket::{Connection, Listener, Peer};
use crate::netlink::{Change, Link, Requests};
use crate::notify::Notifier;
use crate::store::clock;
use crate::store::layout::BusState;

/// What it is started with.
pub struct Options {
    pub listed: Vec<Listed>,
    /// Path of its socket.
    pub socket: PathBuf,
    /// The user that may ask, besides our own and root.
    pub user: Option<String>,
}

/// Owner and group may connect; who of them may ask is decided by user.
const MODE: u32 = 0o660;
/// Most connections at a time.
const CLIENTS: usize = 4;
/// So many requests for one interface may come at once, then one in [`REFILL`] nanoseconds.
const BURST: u64 = 10;
const REFILL: u64 = 1_000_000_000;

/// Runs until SIGTERM or SIGINT.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { listed, socket, user } = options;
    let stop = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    stop.thread_block().context("can't block signals")?;
    let stop = SignalFd::with_flags(&stop, SfdFlags::SFD_CLOEXEC).context("can't wait for signals")?;
    let user = user.map(|name| find_user(&name)).transpose()?;
    let listener = Listener::bind(&socket, MODE).with_context(|| socket.display().to_string())?;
    let notifier = Notifier::from_environment();
    let mut server = Server::new(listed, user)?;
    let names: Vec<&str> = server.interfaces.iter().map(|one| one.listed.interface.as_str()).collect();
    info!(interfaces = %names.join(" "), "ready to set up these interfaces, and no others");
    notifier.ready(&names.join(" "));
    loop {
        let mut waited = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        // as many as there may be: the others wait in the kernel's queue
        let room = server.clients.len() < CLIENTS;
        waited.push(PollFd::new(listener.as_fd(), if room { PollFlags::POLLIN } else { PollFlags::empty() }));
        waited.extend(server.clients.iter().map(|(client, _)| PollFd::new(client.as_fd(), PollFlags::POLLIN)));
        match poll(&mut waited, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("can't wait for requests"),
        }
        let ready: Vec<bool> = waited.iter().map(|one| one.any().unwrap_or(true)).collect();
        drop(waited);
        let [stop, listening, clients @ ..] = &ready[..] else { continue };
        if *stop {
            notifier.stopping();
            info!("stopping: interfaces stay as they are");
            return Ok(ExitCode::SUCCESS);
        }
        server.serve(clients);
        if *listening {
            match listener.accept() {
                Ok(Some(connection)) => server.admit(connection),
                Ok(None) => {}
                Err(error) => {
                    warn!(%error, "can't accept a connection");
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
            }
        }
    }
}

fn find_user(name: &str) -> anyhow::Result<Uid> {
    let found = User::from_name(name).with_context(|| format!("can't look up the user {name}"))?;
    Ok(found.with_context(|| format!("there is no user {name}"))?.uid)
}

struct Server {
    requests: Requests,
    interfaces: Vec<Interface>,
    user: Option<Uid>,
    clients: Vec<(Connection, Peer)>,
}

struct Interface {
    listed: Listed,
    allowance: Allowance,
}

/// How often something may be done.
struct Allowance {
    left: u64,
    /// CLOCK_MONOTONIC nanoseconds.
    filled: u64,
}

impl Allowance {
    fn new(now: u64) -> Allowance {
        Allowance { left: BURST, filled: now }
    }

    fn take(&mut self, now: u64) -> bool {
        let more = now.saturating_sub(self.filled) / REFILL;
        self.filled += more * REFILL;
        self.left = (self.left + more).min(BURST);
        let some = self.left > 0;
        self.left -= u64::from(some);
        some
    }
}

impl Server {
    fn new(listed: Vec<Listed>, user: Option<Uid>) -> anyhow::Result<Server> {
        let requests = Requests::open().context("can't open a netlink socket")?;
        let now = clock::monotonic();
        let interfaces = listed.into_iter().map(|listed| Interface { listed, allowance: Allowance::new(now) });
        Ok(Server { requests, interfaces: interfaces.collect(), user, clients: Vec::new() })
    }

    fn admit(&mut self, connection: Connection) {
        match connection.peer() {
            Ok(peer) if self.may_ask(peer) => {
                info!(uid = peer.uid, pid = peer.pid, "controller connected");
                self.clients.push((connection, peer));
            }
            Ok(peer) => {
                warn!(uid = peer.uid, pid = peer.pid, "connection refused: neither the controller's user nor root")
            }
            Err(error) => warn!(%error, "connection refused: its user is unknown"),
        }
    }

    fn may_ask(&self, peer: Peer) -> bool {
        let peer = Uid::from_raw(peer.uid);
        peer == Uid::effective() || peer.is_root() || Some(peer) == self.user
    }

    /// Serves one request of each client that is ready.
    fn serve(&mut self, ready: &[bool]) {
        let (mut buffer, mut unwanted) = ([0; MAX_DATAGRAM], Vec::new());
        let clients = std::mem::take(&mut self.clients);
        for (index, (client, peer)) in clients.into_iter().enumerate() {
            let stays = !ready.get(index).is_some_and(|ready| *ready)
                || match client.receive(&mut buffer, &mut unwanted) {
                    Ok(0) => false,
                    Ok(length) => {
                        let reply = self.reply(&buffer[..length], clock::monotonic());
                        // a client that does not read is let go
                        serde_json::to_vec(&reply).is_ok_and(|text| client.send(&text, &[]).is_ok())
                    }
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                };
            if stays {
                self.clients.push((client, peer));
            } else {
                info!(pid = peer.pid, "controller disconnected");
            }
        }
    }

    fn reply(&mut self, datagram: &[u8], now: u64) -> Reply {
        let Ok(Request { id, interface, action }) = serde_json::from_slice(datagram) else {
            warn!("a datagram that is no request was refused");
            return Reply { id: 0, result: Err("this is no request".into()) };
        };
        let Some(found) = self.interfaces.iter_mut().find(|one| one.listed.interface == interface) else {
            warn!(interface, "refused: the interface is not listed");
            return Reply { id, result: Err(format!("{interface} is not among the interfaces of canvoy-link")) };
        };
        if !found.allowance.take(now) {
            warn!(interface, ?action, "refused: too many requests");
            return Reply { id, result: Err("too many requests; wait a second".into()) };
        }
        let result = match action {
            Action::Up => up(&mut self.requests, &found.listed),
            Action::Restart => restart(&mut self.requests, &found.listed),
        };
        match &result {
            Ok(done) => info!(interface, done, "done"),
            Err(reason) => error!(interface, ?action, reason, "failed"),
        }
        Reply { id, result }
    }
}

/// What is to be changed so that an interface is up with these bit rates, in order.
fn steps(listed: &Listed, link: &Link) -> Vec<Change> {
    let mut steps = Vec::new();
    if let Some(bit_rate) = listed.bit_rate {
        let fd = link.setup.is_some_and(|setup| setup.fd);
        let as_wanted = link.setup.is_some_and(|setup| {
            setup.bit_rate == bit_rate
                && setup.restart_ms == 0
                && fd == listed.data_bit_rate.is_some()
                && listed.data_bit_rate.is_none_or(|rate| setup.data_bit_rate == rate)
        });
        if !as_wanted {
            if link.up {
                steps.push(Change::Down);
            }
            // a controller without CAN FD does not even take that it shall be off
            let fd = (fd || listed.data_bit_rate.is_some()).then_some(listed.data_bit_rate.is_some());
            steps.push(Change::Setup { bit_rate, data_bit_rate: listed.data_bit_rate, fd });
        }
    }
    if !link.up || !steps.is_empty() {
        steps.push(Change::Up);
    }
    steps
}

fn find(requests: &mut Requests, interface: &str) -> Result<Link, String> {
    match requests.ask(interface) {
        Ok(Some(link)) if link.can => Ok(link),
        Ok(Some(_)) => Err(format!("{interface} is not a CAN interface")),
        Ok(None) => Err(format!("{interface} does not exist")),
        Err(error) => Err(format!("can't ask the kernel about {interface}: {error}")),
    }
}

fn up(requests: &mut Requests, listed: &Listed) -> Result<String, String> {
    let link = find(requests, &listed.interface)?;
    let steps = steps(listed, &link);
    for step in &steps {
        requests.change(link.index, *step).map_err(|error| explain(*step, error))?;
    }
    let rate = listed.bit_rate.map(|rate| format!(" with {rate} bit/s")).unwrap_or_default();
    let data = listed.data_bit_rate.map(|rate| format!(", data {rate} bit/s")).unwrap_or_default();
    Ok(if steps.is_empty() { format!("was up{rate}{data} already") } else { format!("up{rate}{data}") })
}

fn restart(requests: &mut Requests, listed: &Listed) -> Result<String, String> {
    let link = find(requests, &listed.interface)?;
    match link.driver_state {
        None => return Err(format!("{} is a virtual interface, which is never off", listed.interface)),
        Some(BusState::BusOff) => {}
        Some(state) => return Ok(format!("nothing to restart: {}", state.word())),
    }
    requests.change(link.index, Change::Restart).map_err(|error| explain(Change::Restart, error))?;
    Ok("restarted after bus-off".into())
}

/// Why the kernel refuses a change, and what to do.
fn explain(change: Change, error: Errno) -> String {
    let what = match change {
        Change::Up => "set it up",
        Change::Down => "set it down",
        Change::Setup { .. } => "set the bit rate",
        Change::Restart => "restart the controller",
    };
    let why = match (change, error) {
        (_, Errno::EPERM) => {
            "the capability CAP_NET_ADMIN is missing: start it by canvoy-link.service, or as root".into()
        }
        (Change::Setup { .. }, Errno::EOPNOTSUPP) => {
            "the interface has no bit rate (virtual), or its controller has no CAN FD: remove bit_rate or data_bit_rate"
                .into()
        }
        (Change::Setup { .. }, Errno::EINVAL | Errno::EDOM | Errno::ERANGE) => {
            "the controller can't make this bit rate from its clock".into()
        }
        (Change::Up, Errno::EINVAL) => "the controller has no bit rate yet: add bit_rate to the bus".into(),
        (Change::Restart, Errno::EINVAL | Errno::EBUSY) => {
            "the driver restarts by itself (restart-ms is set), or the controller is not off".into()
        }
        _ => error.desc().to_owned(),
    };
    format!("can't {what}: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Setup;

    fn listed(bit_rate: Option<u32>, data_bit_rate: Option<u32>) -> Listed {
        Listed { interface: "can0".into(), bit_rate, data_bit_rate }
    }

    #[test]
    fn steps_to_an_interface_that_is_up() {
        let check = |wanted: (Option<u32>, Option<u32>), up, setup: Option<(u32, u32, u32, bool)>, want: &[Change]| {
            let setup = setup.map(|(bit_rate, data_bit_rate, restart_ms, fd)| Setup {
                listen_only: false,
                fd,
                bit_rate,
                data_bit_rate,
                restart_ms,
            });
            let link = Link { index: 3, can: true, up, mtu: 16, driver_state: None, setup };
            assert_eq!(steps(&listed(wanted.0, wanted.1), &link), want, "{wanted:?} {up} {setup:?}");
        };
        let set = |bit_rate, data_bit_rate, fd| Change::Setup { bit_rate, data_bit_rate, fd };
        let (classic, fd) = ((Some(500_000), None), (Some(500_000), Some(2_000_000)));
        check((None, None), false, None, &[Change::Up]);
        check((None, None), true, None, &[]);
        check((None, None), false, Some((0, 0, 0, false)), &[Change::Up]);
        check(classic, false, Some((0, 0, 0, false)), &[set(500_000, None, None), Change::Up]);
        check(classic, false, Some((500_000, 0, 0, false)), &[Change::Up]);
        check(classic, true, Some((500_000, 0, 0, false)), &[]);
        // another rate, the driver's own restarts, CAN FD that is not wanted: down first
        check(classic, true, Some((250_000, 0, 0, false)), &[Change::Down, set(500_000, None, None), Change::Up]);
        check(classic, true, Some((500_000, 0, 100, false)), &[Change::Down, set(500_000, None, None), Change::Up]);
        let off = set(500_000, None, Some(false));
        check(classic, true, Some((500_000, 2_000_000, 0, true)), &[Change::Down, off, Change::Up]);
        let on = set(500_000, Some(2_000_000), Some(true));
        check(fd, false, Some((0, 0, 0, false)), &[on, Change::Up]);
        check(fd, true, Some((500_000, 2_000_000, 0, true)), &[]);
        check(fd, true, Some((500_000, 1_000_000, 0, true)), &[Change::Down, on, Change::Up]);
        // a virtual one is asked all the same, and the kernel's refusal told
        check(classic, false, None, &[set(500_000, None, None), Change::Up]);
    }

    #[test]
    fn requests_that_are_refused() {
        let lo = Listed { interface: "lo".into(), bit_rate: None, data_bit_rate: None };
        let mut server = Server::new(vec![lo, listed(None, None)], None).unwrap();
        let mut check = |datagram: &str, now, id, want: &str| {
            let reply = server.reply(datagram.as_bytes(), now);
            assert_eq!((reply.id, reply.result), (id, Err(want.to_owned())), "{datagram}");
        };
        let now = clock::monotonic();
        check("", now, 0, "this is no request");
        check(r#"{"id":1,"interface":"lo","action":"Down"}"#, now, 0, "this is no request");
        check(r#"{"id":1,"interface":"lo","action":"Up","bit_rate":1}"#, now, 0, "this is no request");
        check(
            r#"{"id":2,"interface":"eth0","action":"Up"}"#,
            now,
            2,
            "eth0 is not among the interfaces of canvoy-link",
        );
        check(r#"{"id":3,"interface":"can0","action":"Restart"}"#, now, 3, "can0 does not exist");
        for _ in 0..BURST {
            check(r#"{"id":4,"interface":"lo","action":"Up"}"#, now, 4, "lo is not a CAN interface");
        }
        check(r#"{"id":5,"interface":"lo","action":"Up"}"#, now, 5, "too many requests; wait a second");
        check(r#"{"id":6,"interface":"can0","action":"Up"}"#, now, 6, "can0 does not exist");
        check(r#"{"id":7,"interface":"lo","action":"Up"}"#, now + REFILL, 7, "lo is not a CAN interface");
        check(r#"{"id":8,"interface":"lo","action":"Up"}"#, now + REFILL, 8, "too many requests; wait a second");
    }

    #[test]
    fn who_may_ask() {
        let own = Uid::effective().as_raw();
        for (user, uid, may) in
            [(None, own, true), (None, 0, true), (None, 4242, own == 4242), (Some(4242), 4242, true)]
        {
            let server = Server::new(Vec::new(), user.map(Uid::from_raw)).unwrap();
            assert_eq!(server.may_ask(Peer { pid: 1, uid, gid: 0 }), may, "{user:?} {uid}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let set = Change::Setup { bit_rate: 1, data_bit_rate: None, fd: None };
        for (change, error, want) in [
            (
                Change::Up,
                Errno::EPERM,
                "can't set it up: the capability CAP_NET_ADMIN is missing: start it by canvoy-link.service, or as root",
            ),
            (
                set,
                Errno::EOPNOTSUPP,
                "can't set the bit rate: the interface has no bit rate (virtual), or its controller has no CAN FD: remove bit_rate or data_bit_rate",
            ),
            (set, Errno::EINVAL, "can't set the bit rate: the controller can't make this bit rate from its clock"),
            (Change::Up, Errno::EINVAL, "can't set it up: the controller has no bit rate yet: add bit_rate to the bus"),
            (
                Change::Restart,
                Errno::EBUSY,
                "can't restart the controller: the driver restarts by itself (restart-ms is set), or the controller is not off",
            ),
            (Change::Down, Errno::ENODEV, "can't set it down: No such device"),
        ] {
            assert_eq!(explain(change, error), want);
        }
    }
}
