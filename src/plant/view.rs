//! What the protocols see of the machine: the plan, samples, and the way to write.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::{mpsc, oneshot};

use crate::command::{Action, Origin, Refusal, Write};
use crate::plan::{BusIndex, MessageIndex, Plan, TagIndex};
use crate::quality::{Cause, Causes};
use crate::sample::{self, Sample};
use crate::store::{Reader, Record};

/// A write on its way to the controller.
pub struct Request {
    /// Number of the generation whose indices the action has.
    pub generation: u64,
    pub origin: Origin,
    pub action: Action,
    /// Answered by the controller, or dropped when it goes away.
    pub answer: oneshot::Sender<Result<(), Refusal>>,
}

/// Why a write did not happen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the controller is gone; nothing was written")]
    ControllerGone,
    #[error("the controller did not answer; whether the value was written is not known")]
    Unanswered,
}

/// The machine, seen from the network process. One plan for the life of the process: a controller with another plan
/// makes the process start again.
pub struct Plant {
    pub plan: Arc<Plan>,
    reader: RwLock<Reader>,
    connected: AtomicBool,
    /// Number of the controller's generation.
    generation: AtomicU64,
    requests: mpsc::Sender<Request>,
    /// Sessions of OPC UA clients, kept by that server: for people to see.
    pub opcua_sessions: AtomicUsize,
}

impl Plant {
    pub fn new(plan: Arc<Plan>, reader: Reader, generation: u64, requests: mpsc::Sender<Request>) -> Plant {
        Plant {
            plan,
            reader: RwLock::new(reader),
            connected: AtomicBool::new(true),
            generation: generation.into(),
            requests,
            opcua_sessions: AtomicUsize::new(0),
        }
    }

    /// A controller (again) hands over its store.
    pub fn connect(&self, reader: Reader, generation: u64) {
        self.generation.store(generation, Ordering::Release);
        *self.reader.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = reader;
        self.connected.store(true, Ordering::Release);
    }

    /// The command socket has ended: everything is "controller gone" from now on.
    pub fn disconnect(&self) {
        self.connected.store(false, Ordering::Release);
    }

    /// The store, for counters. Its last content stays readable when the controller has gone.
    pub fn reader(&self) -> Reader {
        self.reader.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Whether a controller is there and its real-time loop turns. `now`: [`crate::store::clock::monotonic`].
    pub fn alive(&self, now: u64) -> bool {
        self.connected.load(Ordering::Acquire) && !self.reader().stale(now)
    }

    /// The causes that hold for everything on a bus.
    pub fn bus_causes(&self, bus: BusIndex, now: u64) -> Causes {
        let causes = sample::bus_causes(&self.plan, &self.reader(), bus, now);
        if self.connected.load(Ordering::Acquire) { causes } else { causes.with(Cause::ControllerGone) }
    }

    /// One tag. `source`: the J1939 slot, 0 for all others.
    pub fn sample(&self, tag: TagIndex, source: usize, now: u64) -> Sample {
        let message = self.plan.tags[tag].message;
        let signal = self.plan.tags[tag].signal;
        let group = self.plan.messages[message].message.signals[signal].group;
        let (record, causes) = self.record(message, source, group, now);
        let marks = self.reader().marks(tag).causes();
        sample::decode(&self.plan.messages[message].message, signal, &record, causes.and(marks))
    }

    /// One record and the causes that hold around it: for readers of several signals of a message.
    pub fn record(&self, message: MessageIndex, source: usize, group: usize, now: u64) -> (Record, Causes) {
        let plan = &self.plan.messages[message];
        let causes = self.bus_causes(plan.bus, now);
        match self.reader().record(plan.record(source, group)) {
            Some(record) => (record, causes),
            None => (Record::EMPTY, causes.with(Cause::ControllerGone)),
        }
    }

    /// The source addresses of a J1939 message seen so far, with their slot. Empty for other messages.
    pub fn sources(&self, message: MessageIndex) -> Vec<(usize, u8)> {
        let plan = &self.plan.messages[message];
        if !plan.message.has_sources() {
            return Vec::new();
        }
        let reader = self.reader();
        (0..plan.sources)
            .filter_map(|slot| {
                let record = reader.record(plan.record(slot, 0))?;
                (record.count > 0).then(|| record.source_address().map(|address| (slot, address))).flatten()
            })
            .collect()
    }

    /// Writes signals of one message together; answered by the controller.
    pub async fn write(&self, origin: Origin, writes: Vec<Write>) -> Result<(), WriteError> {
        self.command(origin, Action::Set(writes)).await
    }

    /// Anything that the controller can be asked to do; answered by it.
    pub async fn command(&self, origin: Origin, action: Action) -> Result<(), WriteError> {
        if !self.connected.load(Ordering::Acquire) {
            return Err(WriteError::ControllerGone);
        }
        let (answer, done) = oneshot::channel();
        let generation = self.generation.load(Ordering::Acquire);
        self.requests.try_send(Request { generation, origin, action, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Refused(Refusal::Busy),
            mpsc::error::TrySendError::Closed(_) => WriteError::ControllerGone,
        })?;
        done.await.map_err(|_| WriteError::Unanswered)?.map_err(WriteError::Refused)
    }
}
