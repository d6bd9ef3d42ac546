//! The thread that writes retained values: a disk may take seconds for it, and the main thread feeds the watchdog.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};

use super::copies::{Copies, Values};
use crate::rt::grants;

/// Bytes: the memory of the controller is locked, stacks included.
const STACK: usize = 128 * 1024;

/// The main thread's end. It never waits.
pub struct Keeper {
    jobs: Producer<Values>,
    results: Consumer<io::Result<()>>,
    /// Something was handed over and is not answered.
    busy: bool,
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread, with ordinary priority whatever ours is.
    pub fn start(mut copies: Copies) -> io::Result<Keeper> {
        let (jobs, mut incoming) = RingBuffer::<Values>::new(1);
        let (mut outgoing, results) = RingBuffer::new(1);
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::Builder::new().name("retain".into()).stack_size(STACK).spawn(move || {
            grants::ordinary();
            while !ended.load(Ordering::Acquire) {
                match incoming.pop() {
                    // there is room: one job, one answer
                    Ok(values) => drop(outgoing.push(copies.write(&values))),
                    Err(_) => std::thread::park(),
                }
            }
        })?;
        Ok(Keeper { jobs, results, busy: false, end, thread })
    }

    /// Nothing is on its way.
    pub fn idle(&self) -> bool {
        !self.busy
    }

    /// Hands over what is to be written; only while [`Keeper::idle`].
    pub fn write(&mut self, values: Values) {
        self.busy = self.jobs.push(values).is_ok();
        self.thread.thread().unpark();
    }

    /// What came of it, once.
    pub fn result(&mut self) -> Option<io::Result<()>> {
        let result = self.results.pop().ok()?;
        self.busy = false;
        Some(result)
    }
}

impl Drop for Keeper {
    /// The thread ends after what it is doing; nobody waits for a disk that hangs.
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}
