//! The real-time thread: the only clock, and the owner of every bus.
//!
//! ```text
//!           ┌───────────────── one turn ─────────────────┐
//! epoll ──> │ orders ─> a batch of each bus ─> deadlines │ ──> epoll
//!           └──── every step's frames leave at once ─────┘
//! ```
//!
//! After its start the thread allocates nothing, takes no lock, writes no log and waits in epoll only. With the main
//! thread it has two bounded rings: orders come in (with an eventfd that wakes it), notices go out (it wakes nobody).

pub mod grants;
mod load;
mod machine;
mod next;
mod sending;
mod time;
mod token;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::bus::error_frame::ErrorFrame;
use crate::bus::socketcan::Sockets;
use crate::command::{Change, Denied, Patch, Place};
use crate::control::Wish;
use crate::plan::{AlarmIndex, Plan};
use crate::sim::Simulator;
use crate::store::Writer;
use crate::store::layout::BusState;
use grants::Grants;
pub use load::Rates;
use machine::Machine;
pub use next::Next;

/// Orders that may wait; more are refused by the main thread as "busy".
pub const ORDERS: usize = 64;
/// Notices that may wait. Answers and sockets always find room, because there are never more of them than orders;
/// changes of bus state and wishes take what is left, and are dropped when the main thread does not look (the store has the
/// state, and a wish is repeated).
const NOTICES: usize = 4 * ORDERS;
/// Kept free for answers and sockets.
const NOTICES_RESERVED: usize = 2 * ORDERS;

/// The loop turns at least this often, in nanoseconds: its heartbeat.
const HEARTBEAT: u64 = 50_000_000;

/// From the main thread.
pub enum Order {
    /// A checked command; answered by [`Notice::Done`].
    Command { ticket: u64, place: Place, change: Change },
    /// New sockets for a bus, and the state of its interface when they were opened. Old ones come back.
    Open { bus: usize, sockets: Sockets, state: BusState },
    /// What the kernel says about an interface.
    State { bus: usize, state: BusState },
    /// How the controller of a bus is set up: bits of `BusWord::Mode`, and its bit rates.
    Setup { bus: usize, mode: u64, rates: Rates },
    /// An alarm of the main thread has begun, or is over.
    Alarm { alarm: AlarmIndex, active: bool },
    /// Another plan, to take the place of this one as soon as its `reload_when` allows: at the end of a cycle. Answered by
    /// [`Notice::Swapped`].
    Swap(Box<Next>),
    /// The plan that waits is not wanted any more; it comes back by [`Notice::Unused`].
    Cancel,
    /// Send the fallback values, then nothing more, and end.
    Stop,
}

/// To the main thread.
pub enum Notice {
    /// The command has been carried out, or why not.
    Done { ticket: u64, result: Result<(), Denied> },
    /// Sockets that are out of use, to be closed where waiting does no harm.
    Closed { sockets: Sockets },
    /// The state of a bus has changed.
    Bus { bus: usize, before: BusState, state: BusState, error: Option<ErrorFrame> },
    /// Something that only others can do.
    Wish { bus: usize, wish: Wish },
    /// The other plan has to wait for `reload_when`; once for each.
    Waits,
    /// The other plan is in force, and this is what is left of the one before. Notices before this one have the old indices,
    /// those after it the new ones.
    Swapped(Box<Next>),
    /// A plan that was not taken over.
    Unused(Box<Next>),
}

/// Too many orders wait; the one that was to be handed over is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many orders wait for the real-time thread")]
pub struct Full;

/// The main thread's end.
pub struct Handle {
    /// Each with the number of plans that had been taken over when it was given: of others it has the wrong indices.
    orders: Producer<(u64, Order)>,
    /// Plans taken over so far.
    swaps: u64,
    notices: Consumer<Notice>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    /// Kernel's id of the thread.
    pub thread_id: i32,
    pub grants: Grants,
}

/// What comes from the controller before this one.
#[derive(Clone, Debug, Default)]
pub struct Inherited {
    /// It did not end in order, so nothing commands until armed.
    pub unclean: bool,
    /// Values that the plant wrote then, as checked writes; in force once armed.
    pub retained: Vec<Patch>,
}

/// Starts the thread and waits until it is in its loop. Virtual buses are active from then on, SocketCAN buses wait for
/// [`Order::Open`].
pub fn start(plan: Arc<Plan>, store: Writer, simulator: Option<Simulator>, inherited: Inherited) -> io::Result<Handle> {
    let (orders, incoming) = RingBuffer::new(ORDERS);
    let (outgoing, notices) = RingBuffer::new(NOTICES);
    let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
    let (started, ready) = sync_channel(1);
    let loop_wake = wake.clone();
    // 512 KiB: the steps need a few KiB; MCL_FUTURE would lock the default of several MiB.
    let thread = std::thread::Builder::new().name("bus".into()).stack_size(512 * 1024).spawn(move || {
        // made here, because its buffers hold pointers into themselves
        let mut machine = match Machine::new(&plan, store, simulator, loop_wake, incoming, outgoing) {
            Ok(machine) => machine,
            Err(error) => return drop(started.send(Err(error))),
        };
        machine.inherit(&inherited);
        grants::touch_stack();
        let grants = Grants { fifo: grants::fifo(grants::BUS_PRIORITY), locked: grants::lock_memory() };
        machine.start(grants);
        let thread_id = nix::unistd::gettid().as_raw();
        if started.send(Ok((thread_id, grants))).is_err() {
            return;
        }
        drop(started);
        machine.run();
    })?;
    let (thread_id, grants) = ready.recv().map_err(io::Error::other)??;
    Ok(Handle { orders, swaps: 0, notices, wake, thread: Some(thread), thread_id, grants })
}

impl Handle {
    /// Hands over an order.
    pub fn order(&mut self, order: Order) -> Result<(), Full> {
        self.orders.push((self.swaps, order)).map_err(|_| Full)?;
        // Fails only when the counter is full: then the thread is being woken anyway.
        let _ = self.wake.write(1);
        Ok(())
    }

    /// The next notice, if any. Looked for, not waited for.
    pub fn notice(&mut self) -> Option<Notice> {
        let notice = self.notices.pop().ok();
        if let Some(Notice::Swapped(_)) = notice {
            self.swaps += 1;
        }
        notice
    }

    /// Whether the thread has ended, by itself or because it was told to.
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the thread after what it is doing now. An error: it had panicked.
    pub fn stop(&mut self) -> std::thread::Result<()> {
        while !self.ended() && self.order(Order::Stop).is_err() {
            std::thread::yield_now();
        }
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Handle {
    /// A controller that fails must not leave a thread behind that sends.
    fn drop(&mut self) {
        // its end is the point; how it ended was for `stop` to say
        let _ = self.stop();
    }
}
