//! The machine process: starts the real-time thread, then looks after what may wait: the command sockets, the interfaces,
//! the log, the watchdog.
//!
//! It never forks, has no TCP, and nothing it waits for can hold up the real-time thread.

mod audit;
mod check;
mod door;
mod entrance;
mod limiter;
mod managed;
mod marker;
mod reload;
mod report;
mod retain;
mod supervision;
mod trial;
mod watchdog;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Gid;
use tracing::{error, info, warn};

use crate::command::{self, Action, Command, Generation, Place, Refusal};
use crate::control::Wish;
use crate::link;
use crate::notify::Notifier;
use crate::plan::{Alarm, Plan};
use crate::rt::{self, Inherited, Notice, Order, grants};
use crate::sim::Simulator;
use crate::store::layout::{MainWord, Word};
use crate::store::{Layout, MainWriter, Memory, Reader, Writer, clock, memory};
use audit::Entry;
use door::{Doors, Handout, Request};
use entrance::Way;
pub use entrance::{OpenError, group};
use limiter::Limiter;
use managed::Managed;
use marker::Marker;
use reload::{Asked, Reload};
pub use reload::{Candidate, Load};
use retain::Retained;
use supervision::Supervision;
use watchdog::Watchdog;

/// What a controller is started with.
pub struct Options {
    pub plan: Arc<Plan>,
    /// The bytes that the plan was made from, for the plant process to make the same.
    pub bundle: Vec<u8>,
    /// Whoever else is on the virtual buses.
    pub simulator: Option<Simulator>,
    /// Path of the socket of people at the machine.
    pub socket: PathBuf,
    /// Whose members may connect to it, besides our own user and root.
    pub group: Option<Gid>,
    /// Path of the plant process's socket.
    pub plant_socket: PathBuf,
    /// Whose members may connect to that one, besides our own user and root.
    pub plant_group: Option<Gid>,
    /// Path of the socket of `canvoy-link`.
    pub link: PathBuf,
    /// How the configuration is read again; `None`: it can't be.
    pub load: Option<Arc<Load>>,
    /// Folder for what outlives a run; without it nothing is retained.
    pub state: Option<PathBuf>,
}

/// The socket is taken or can't be made (EX_UNAVAILABLE).
const EXIT_UNAVAILABLE: u8 = 69;
/// The real-time thread has ended by itself (EX_SOFTWARE).
const EXIT_INTERNAL: u8 = 70;

/// Commands of the plant that may wait for the real-time thread: as many as there is room for, less some for people at the
/// machine.
const OF_PLANT: usize = rt::ORDERS - 16;
/// Between two looks at notices, bus states and the watchdog, in milliseconds.
const TICK: u8 = 100;
/// The same while a write or a look is on its way.
const SHORT_TICK: u8 = 1;
/// After work for other processes, at least this long and at most that long.
const SHORTEST_REST: Duration = Duration::from_millis(1);
const LONGEST_REST: Duration = Duration::from_millis(100);
/// Interfaces are asked about at least this often, in nanoseconds: events can be lost.
const LOOK: u64 = 1_000_000_000;
/// And at most this often, in nanoseconds: asking takes a lock of the kernel.
const SOONEST_LOOK: u64 = 10_000_000;
/// Between two looks at the state of the clock, in nanoseconds.
const CLOCK: u64 = 1_000_000_000;
/// Between two status lines for the service manager, in nanoseconds.
const STATUS: u64 = 5_000_000_000;

/// Runs until SIGTERM or SIGINT. Call it before other threads are started: they would take the signals.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let stop = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    stop.thread_block().context("can't block signals")?;
    let stop = SignalFd::with_flags(&stop, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("can't wait for signals")?;
    let hang_up = SigSet::from_iter([Signal::SIGHUP]);
    hang_up.thread_block().context("can't block signals")?;
    let hang_up = SignalFd::with_flags(&hang_up, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("can't wait for signals")?;
    let mut controller = match Controller::open(options, Notifier::from_environment()) {
        Ok(controller) => controller,
        Err(error) => {
            error!("{error:#}");
            return match error.downcast_ref::<OpenError>() {
                Some(_) => Ok(ExitCode::from(EXIT_UNAVAILABLE)),
                None => Err(error),
            };
        }
    };
    controller.hang_up = Some(hang_up);
    Ok(if controller.serve(stop.as_fd())? { ExitCode::SUCCESS } else { ExitCode::from(EXIT_INTERNAL) })
}

/// What is handed over with a plan that comes into force now.
fn generation(plan: &Plan, number: u64) -> Generation {
    let hash = plan.hash_text();
    let (pid, since) = (std::process::id(), clock::realtime());
    Generation { version: command::VERSION, number, pid, hash, since, door: Place::Plant }
}

/// A running controller.
pub struct Controller {
    plan: Arc<Plan>,
    /// Stopped first when dropped: nothing is sent without the rest.
    rt: rt::Handle,
    reader: Reader,
    own_words: MainWriter,
    door: Doors,
    marker: Marker,
    retained: Retained,
    clock_asked: u64,
    supervision: Option<Supervision>,
    managed: Managed,
    notifier: Notifier,
    pending: VecDeque<Pending>,
    tickets: u64,
    requests: Vec<Request>,
    malformed: Limiter,
    turned_away: Limiter,
    /// Commands that came through the wrong door, over reloads.
    wrong_door: u64,
    looked: u64,
    look_wanted: bool,
    status_told: u64,
    watchdog: Watchdog,
    reload: Reload,
    /// Readable when the configuration is to be read again.
    hang_up: Option<SignalFd>,
}

/// A write that the real-time thread has not confirmed yet.
struct Pending {
    ticket: u64,
    client: u64,
    id: u64,
    entry: Entry,
    retained: Vec<retain::Write>,
}

impl Controller {
    /// Opens everything and starts the real-time thread. [`OpenError`] is inside where the socket is the matter.
    pub fn open(options: Options, notifier: Notifier) -> anyhow::Result<Controller> {
        let Options { plan, bundle, simulator, socket, group, plant_socket, plant_group, link, load, state } = options;
        let layout = Layout::of(&plan);
        let (memory, store) = Memory::shared(c"canvoy-store", layout.words()).context("can't make the store")?;
        let memory = Arc::new(memory);
        let own_words = MainWriter::new(memory.clone());
        let writer = Writer::new(memory.clone(), layout, plan.hash_word());
        let reader = Reader::open(memory, layout, plan.hash_word())?;
        let handout = Handout {
            generation: generation(&plan, 1),
            bundle: memory::sealed(c"canvoy-bundle", &bundle).context("can't seal the configuration")?,
            store,
        };
        // Before anything is sent: a second controller must not disturb the first.
        let plant_way = Way { path: plant_socket, group: plant_group };
        let door = Doors::open(&Way { path: socket.clone(), group }, &plant_way, handout)?;
        let supervision = Supervision::new(&plan).context("can't follow network interfaces (netlink)")?;
        let marker = Marker::put(&socket).context("can't put the file beside the socket that says that we run")?;
        let mut retained = Retained::open(state.as_deref(), &plan);
        let inherited = Inherited { unclean: marker.unclean, retained: retained.restore(&plan) };
        let rt = rt::start(plan.clone(), writer, simulator, inherited)
            .inspect_err(|_| {
                // nothing was sent: the next one need not know of us
                if !marker.unclean {
                    let _ = marker.take_away();
                }
            })
            .context("can't start the real-time thread")?;
        // The main thread feeds the watchdog. Where it gets no priority the bus thread gets none either, which is told.
        let _ = grants::fifo(grants::MAIN_PRIORITY);
        let mut controller = Controller {
            plan,
            rt,
            reader,
            own_words,
            door,
            marker,
            retained,
            clock_asked: 0,
            supervision,
            managed: Managed::new(link),
            notifier,
            pending: VecDeque::with_capacity(rt::ORDERS),
            tickets: 0,
            requests: Vec::new(),
            malformed: Limiter::default(),
            turned_away: Limiter::default(),
            wrong_door: 0,
            looked: 0,
            look_wanted: false,
            status_told: 0,
            watchdog: Watchdog::default(),
            reload: Reload::new(load, state),
            hang_up: None,
        };
        controller.report_start();
        controller.look(clock::monotonic());
        controller.ask_clock(clock::monotonic());
        controller.notifier.ready(&controller.status());
        Ok(controller)
    }

    /// Kernel's id of the real-time thread.
    pub fn thread_id(&self) -> i32 {
        self.rt.thread_id
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Serves until `stop` is readable, then ends cleanly. False: the real-time thread ended by itself.
    pub fn serve(&mut self, stop: BorrowedFd<'_>) -> anyhow::Result<bool> {
        loop {
            if self.wait(stop)? {
                self.notifier.stopping();
                info!("stopping: the fallback values are sent once more, then nothing");
                let clean = self.rt.stop().is_ok();
                self.notices(clock::monotonic());
                self.retained.flush();
                if clean && let Err(error) = self.marker.take_away() {
                    warn!(%error, "the next start will take this end for a crash");
                }
                return Ok(clean);
            }
            let now = clock::monotonic();
            self.notices(now);
            self.hang_up();
            self.look_after_reload(now);
            self.retain(now);
            self.ask_clock(now);
            self.managed.answers();
            let pause = if self.look_wanted { SOONEST_LOOK } else { LOOK };
            if now - self.looked >= pause {
                self.look(now);
            }
            if self.rt.ended() {
                error!("the real-time thread has ended; nothing is sent or received any more");
                return Ok(false);
            }
            self.feed_watchdog(now);
            if now - self.status_told >= STATUS {
                self.status_told = now;
                self.notifier.status(&self.status());
            }
        }
    }

    /// Waits for something to do and does what sockets want; true when it is time to stop.
    fn wait(&mut self, stop: BorrowedFd<'_>) -> anyhow::Result<bool> {
        let idle = self.pending.is_empty() && !self.look_wanted && !self.reload.is_awaited();
        let tick = if idle { TICK } else { SHORT_TICK };
        let now = clock::monotonic();
        let (clients, listeners) = (self.door.clients().count(), self.door.listeners(now).count());
        let links = self.supervision.as_ref().map(|supervision| supervision.links().events());
        let mut waited: Vec<PollFd> = std::iter::once(stop)
            .chain(self.door.clients())
            .chain(self.door.listeners(now))
            .chain(links)
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        match poll(&mut waited, PollTimeout::from(tick)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("can't wait for events"),
        }
        let began = Instant::now();
        // an error or a hang-up is something to read too
        let ready: Vec<bool> = waited.iter().map(|one| one.any().unwrap_or(true)).collect();
        drop(waited);
        let [stop, others @ ..] = &ready[..] else { return Ok(false) };
        let (clients, rest) = others.split_at(clients);
        let (listeners, links) = rest.split_at(listeners);
        self.door.receive(clients, &mut self.requests);
        if listeners.contains(&true) {
            self.door.accept();
        }
        for request in std::mem::take(&mut self.requests) {
            self.take(request);
        }
        if let (Some(supervision), true) = (&self.supervision, links.contains(&true)) {
            supervision.links().forget_events();
            self.look_wanted = true;
        }
        if others.contains(&true) {
            // Whatever the other sides do, half of the time is left: a priority above ordinary programs is for short work,
            // and the kernel's limit for real-time threads must not be used up here.
            std::thread::sleep(began.elapsed().clamp(SHORTEST_REST, LONGEST_REST));
        }
        Ok(*stop)
    }

    /// Checks a command and hands it to the real-time thread.
    fn take(&mut self, request: Request) {
        let Request { client, peer, place, command } = request;
        let Command { id, generation, origin, action } = match command {
            Ok(command) => command,
            Err(id) => {
                if let Some(left_out) = self.malformed.pass() {
                    warn!(door = place.word(), pid = peer.pid, left_out, "a datagram that is no command was refused");
                }
                return self.door.answer(client, id, Some(Refusal::Malformed));
            }
        };
        let about_indices = !matches!(action, Action::Reload(_) | Action::CancelReload);
        let admitted = command::admit(place, &origin, &action);
        if admitted.is_err() {
            self.wrong_door += 1;
            self.own_words.set(MainWord::WrongDoor, self.wrong_door);
        }
        if about_indices && generation != self.door.generation().number {
            let refusal = admitted.err().unwrap_or(Refusal::Reloaded);
            return self.door.answer(client, id, Some(refusal));
        }
        let entry = Entry::new(&self.plan, &self.reader, (place, peer), origin, &action);
        if let Err(refusal) = admitted {
            if let Some(left_out) = self.turned_away.pass() {
                warn!(
                    door = place.word(),
                    pid = peer.pid,
                    uid = peer.uid,
                    left_out,
                    "a command that does not belong to this door was refused: {refusal}"
                );
                entry.close(Err(&refusal));
            }
            return self.door.answer(client, id, Some(refusal));
        }
        if !about_indices {
            let asked = Some(Asked { client, id, entry });
            return match action {
                Action::Reload(hash) => self.reload(hash, asked),
                _ => self.cancel_reload(asked),
            };
        }
        let ticket = self.tickets;
        let most = match place {
            Place::Machine => rt::ORDERS,
            Place::Plant => OF_PLANT,
        };
        let result = check::check(&self.plan, &self.reader, &action, place).and_then(|change| {
            // one answer has room in the notices for each that is pending
            if self.pending.len() >= most {
                return Err(Refusal::Busy);
            }
            self.rt.order(Order::Command { ticket, place, change }).map_err(|_| Refusal::Busy)
        });
        match result {
            Ok(()) => {
                self.tickets += 1;
                let retained = self.retained.of(&self.plan, &action);
                self.pending.push_back(Pending { ticket, client, id, entry, retained });
            }
            Err(refusal) => {
                entry.close(Err(&refusal));
                self.door.answer(client, id, Some(refusal));
            }
        }
    }

    /// Takes what the real-time thread has to say.
    fn notices(&mut self, now: u64) {
        while let Some(notice) = self.rt.notice() {
            match notice {
                Notice::Done { ticket, result } => {
                    let refusal = result.err().map(|denied| denied.refusal(&self.plan));
                    // in order, one answer for each: the rings are
                    if self.pending.front().is_some_and(|pending| pending.ticket == ticket)
                        && let Some(pending) = self.pending.pop_front()
                    {
                        if refusal.is_none() {
                            self.retained.accept(pending.retained);
                        }
                        pending.entry.close(refusal.as_ref().map_or(Ok(()), Err));
                        self.door.answer(pending.client, pending.id, refusal);
                    }
                }
                Notice::Closed { sockets, .. } => {
                    if let Some(supervision) = &mut self.supervision {
                        supervision.closed(sockets);
                    }
                    self.look_wanted = true;
                }
                Notice::Bus { bus, before, state, error } => {
                    self.report_bus(bus, before, state, error);
                    self.look_wanted = true;
                }
                Notice::Wish { bus, wish } => self.grant(bus, wish),
                Notice::Waits => self.reload_waits(),
                Notice::Swapped(left) => self.reloaded(left, now),
                Notice::Unused(next) => self.reload_unused(next),
            }
        }
    }

    /// SIGHUP: the configuration is read again.
    fn hang_up(&mut self) {
        let told = self.hang_up.as_ref().is_some_and(|signals| matches!(signals.read_signal(), Ok(Some(_))));
        if told {
            self.reload_by_signal();
        }
    }

    /// Shows in the store whether the clock is synchronised.
    fn ask_clock(&mut self, now: u64) {
        if now - self.clock_asked < CLOCK {
            return;
        }
        self.clock_asked = now;
        let (word, max_error) = match clock::synchronisation() {
            None => (0, 0),
            Some(clock) => (1 + u64::from(clock.synchronized), clock.max_error),
        };
        self.own_words.set(MainWord::ClockMaxError, max_error);
        self.own_words.set(MainWord::ClockSynchronized, word);
    }

    /// Lets retained values be written, and tells where that fails.
    fn retain(&mut self, now: u64) {
        if let (Some(active), Some(alarm)) = (self.retained.tick(now), self.plan.alarm(Alarm::NotRetained)) {
            // a full ring only leaves the alarm out; the log has it
            let _ = self.rt.order(Order::Alarm { alarm, active });
        }
    }

    fn look(&mut self, now: u64) {
        (self.looked, self.look_wanted) = (now, false);
        if let Some(supervision) = &mut self.supervision {
            supervision.look(&self.plan, &mut self.managed, &mut self.rt, &self.reader, now);
        }
    }

    /// Tells the service manager that the process lives, if the real-time loop has done its work since the last time.
    fn feed_watchdog(&mut self, now: u64) {
        self.watchdog.look(&self.plan, &self.reader, now);
        let Some(interval) = self.notifier.watchdog_interval() else { return };
        if self.watchdog.due(now, interval, self.reader.get(Word::Turns)) {
            self.notifier.watchdog();
        }
    }

    /// What is done about a bus that is off.
    fn grant(&mut self, bus: usize, wish: Wish) {
        let asked = wish == Wish::Restart && self.managed.ask(&self.plan, bus, link::Action::Restart);
        let bus = &self.plan.buses[bus];
        match wish {
            Wish::Restart if asked => info!(bus = %bus.name, "canvoy-link is asked to restart the bus"),
            Wish::Restart => error!(bus = %bus.name, "nobody is there to restart the bus"),
            Wish::ByHand => {
                let restarts = bus.restart.per_hour;
                error!(bus = %bus.name, restarts, "no more restarts within this hour; the bus stays off until it is restarted by command");
            }
        }
    }
}

#[cfg(test)]
mod tests;
