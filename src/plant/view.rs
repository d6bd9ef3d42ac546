//! What the protocols see of the machine: the plan, samples, and the way to write.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::access::Rights;
use super::alarm::Alarms;
use super::figure::Figures;
use crate::command::{Action, Generation, Origin, Refusal};
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

/// The machine, seen from the network process: the view that holds now. A reload, a restart or the end of the controller
/// puts another in its place; who works on one takes it once, so that all of it belongs together.
pub struct Plant {
    current: watch::Sender<Arc<View>>,
    /// Kept by the OPC UA server, for people to see.
    pub figures: Figures,
    pub alarms: Arc<Alarms>,
}

/// One generation of a controller: its plan, its store, and the way to write with the plan's indices.
#[derive(Clone)]
pub struct View {
    pub plan: Arc<Plan>,
    /// Who may do what, in this plan.
    pub rights: Arc<Rights>,
    /// The store. Its last content stays readable when the controller has gone.
    pub reader: Reader,
    /// Number of the generation, which commands name.
    pub generation: u64,
    /// [`Plan::hash`], hexadecimal.
    pub hash: String,
    /// CLOCK_REALTIME, nanoseconds since 1970: in force since.
    pub since: u64,
    /// To this controller and no other: the way ends with the connection.
    pub requests: mpsc::Sender<Request>,
    connected: bool,
}

impl Plant {
    pub fn new(view: View) -> Plant {
        Plant { current: watch::Sender::new(Arc::new(view)), figures: Figures::default(), alarms: Arc::default() }
    }

    /// What holds now. Nothing is locked while it is used.
    pub fn view(&self) -> Arc<View> {
        self.current.borrow().clone()
    }

    /// A controller hands over: its first generation, or the next after a reload.
    pub fn connect(&self, view: View) {
        self.current.send_replace(Arc::new(view));
    }

    /// The command socket has ended: everything is "controller gone" from now on.
    pub fn disconnect(&self) {
        self.current.send_modify(|view| *view = Arc::new(View { connected: false, ..View::clone(view) }));
    }

    /// Tells when another view holds.
    pub fn changes(&self) -> watch::Receiver<Arc<View>> {
        self.current.subscribe()
    }
}

impl View {
    /// Of a controller that is connected.
    pub fn new(plan: Arc<Plan>, reader: Reader, generation: &Generation, requests: mpsc::Sender<Request>) -> View {
        let Generation { number, hash, since, .. } = generation;
        let (hash, rights) = (hash.clone(), Arc::default());
        View { plan, rights, reader, generation: *number, hash, since: *since, requests, connected: true }
    }

    /// The same, with the rights that the configuration gives.
    pub fn with_rights(self, rights: Arc<Rights>) -> View {
        View { rights, ..self }
    }

    /// Whether a controller is there and its real-time loop turns. `now`: [`crate::store::clock::monotonic`].
    pub fn alive(&self, now: u64) -> bool {
        self.connected && !self.reader.stale(now)
    }

    /// The causes that hold for everything on a bus.
    pub fn bus_causes(&self, bus: BusIndex, now: u64) -> Causes {
        let causes = sample::bus_causes(&self.plan, &self.reader, bus, now);
        if self.connected { causes } else { causes.with(Cause::ControllerGone) }
    }

    /// One tag. `source`: the J1939 slot, 0 for all others.
    pub fn sample(&self, tag: TagIndex, source: usize, now: u64) -> Sample {
        let message = self.plan.tags[tag].message;
        let signal = self.plan.tags[tag].signal;
        let group = self.plan.messages[message].message.signals[signal].group;
        let (record, causes) = self.record(message, source, group, now);
        let marks = self.reader.marks(tag).causes();
        sample::decode(&self.plan.messages[message].message, signal, &record, causes.and(marks))
    }

    /// One record and the causes that hold around it: for readers of several signals of a message.
    pub fn record(&self, message: MessageIndex, source: usize, group: usize, now: u64) -> (Record, Causes) {
        let plan = &self.plan.messages[message];
        let causes = self.bus_causes(plan.bus, now);
        match self.reader.record(plan.record(source, group)) {
            Some(record) => (record, causes),
            None => (Record::EMPTY, causes.with(Cause::ControllerGone)),
        }
    }

    /// The source address seen at a slot of a J1939 message; `None` where there was no frame yet.
    pub fn source(&self, message: MessageIndex, slot: usize) -> Option<u8> {
        let record = self.reader.record(self.plan.messages.get(message)?.record(slot, 0))?;
        if record.count > 0 { record.source_address() } else { None }
    }

    /// The source addresses of a J1939 message seen so far, with their slot. Empty for other messages.
    pub fn sources(&self, message: MessageIndex) -> Vec<(usize, u8)> {
        let plan = &self.plan.messages[message];
        let slots = if plan.message.has_sources() { plan.sources } else { 0 };
        (0..slots).filter_map(|slot| Some((slot, self.source(message, slot)?))).collect()
    }

    /// Anything that the controller can be asked to do; answered by it.
    pub async fn command(&self, origin: Origin, action: Action) -> Result<(), WriteError> {
        self.send(origin, action)?.answer().await
    }

    /// Puts a command on its way; the controller takes them in the order in which they are sent.
    pub fn send(&self, origin: Origin, action: Action) -> Result<Sent, WriteError> {
        if !self.connected {
            return Err(WriteError::ControllerGone);
        }
        let (answer, done) = oneshot::channel();
        let generation = self.generation;
        self.requests.try_send(Request { generation, origin, action, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Refused(Refusal::Busy),
            mpsc::error::TrySendError::Closed(_) => WriteError::ControllerGone,
        })?;
        Ok(Sent(done))
    }
}

/// A command on its way.
pub struct Sent(oneshot::Receiver<Result<(), Refusal>>);

impl Sent {
    pub async fn answer(self) -> Result<(), WriteError> {
        self.0.await.map_err(|_| WriteError::Unanswered)?.map_err(WriteError::Refused)
    }
}
