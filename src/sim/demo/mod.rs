//! The demo plant: a bottling line and its palletizing cell, as devices that answer to what the controller sends.

mod conveyor;
mod drive;
mod filler;
mod genset;
mod guard;
mod labeller;
mod meter;
mod oven;
mod panel;
mod random;
mod robot;
mod table;
mod world;

pub use table::BindError;
use table::{Input, Output, Received, Sent, start_payload};
use world::{Fault, TICK_NS, World};

use super::schedule::Schedule;
use crate::can::Frame;
use crate::dbc;
use crate::plan::Plan;

/// The configuration that `canvoy demo` runs: `examples/line.toml`.
pub const CONFIG: &str = include_str!("../../../examples/line.toml");
/// The DBC files that it names, by the names it uses.
pub const DBC: &[(&str, &[u8])] = &[
    ("../dbc/line.dbc", include_bytes!("../../../dbc/line.dbc")),
    ("../dbc/cell.dbc", include_bytes!("../../../dbc/cell.dbc")),
];

/// Names of the buses in [`CONFIG`].
const LINE: &str = "line";
const CELL: &str = "cell";
/// Every demo is the same demo.
const SEED: u64 = 1;
/// Between the first frames of two messages, so that they do not come in one burst.
const STAGGER_NS: u64 = 3_700_000;
/// All messages have been sent once after this time.
const SPREAD_NS: u64 = 100_000_000;

/// All devices of the demo plant.
#[derive(Debug)]
pub struct Plant {
    world: Box<World>,
    /// Job 0 is the tick, job `n + 1` is cyclic output `n`.
    schedule: Schedule,
    cyclic: Vec<Output>,
    /// Sent when something happened, asked at each tick.
    events: Vec<Output>,
    inputs: Vec<Input>,
    /// Sent once, at power-up.
    claims: Vec<(usize, Frame)>,
}

impl Plant {
    /// The plant for a plan that was made from [`CONFIG`] and [`DBC`].
    pub fn new(plan: &Plan) -> Result<Plant, BindError> {
        Plant::bind(|bus, name| {
            let bus = plan.buses.iter().position(|b| b.name == bus)?;
            let message = plan.messages.iter().find(|m| m.bus == bus && m.message.name == name)?;
            Some((bus, &message.message))
        })
    }

    /// `find`: index of the bus and description of a message, by the names of both.
    fn bind<'a>(find: impl Fn(&str, &str) -> Option<(usize, &'a dbc::Message)>) -> Result<Plant, BindError> {
        let find = |bus: &str, message: &str| {
            find(bus, message).ok_or_else(|| BindError::Message { bus: bus.into(), message: message.into() })
        };
        let (mut cyclic, mut events) = (Vec::new(), Vec::new());
        for sent in all_sent() {
            let (bus, message) = find(sent.bus, sent.message)?;
            let output = sent.bind(bus, message)?;
            if output.period.is_some() { cyclic.push(output) } else { events.push(output) }
        }
        let mut world = Box::new(World::new(SEED));
        let mut inputs = Vec::new();
        for received in all_received() {
            let (bus, message) = find(received.bus, received.message)?;
            let input = received.bind(bus, message)?;
            // the devices go by the start values until the first command comes
            input.apply(&start_payload(message), &mut world);
            inputs.push(input);
        }
        let first = |n: usize, period: u64| (n as u64 * STAGGER_NS) % period.clamp(1, SPREAD_NS);
        let jobs = cyclic.iter().filter_map(|output| output.period).enumerate().map(|(n, p)| (p, first(n, p)));
        let schedule = Schedule::new(std::iter::once((TICK_NS, 0)).chain(jobs));
        let (cell, _) = find(CELL, "EEC1")?;
        let claims = genset::claims().map(|claim| (cell, claim)).collect();
        Ok(Plant { world, schedule, cyclic, events, inputs, claims })
    }

    /// A frame that the controller transmitted; the devices act on it at their next tick.
    pub fn receive(&mut self, bus: usize, frame: &Frame) {
        for input in &self.inputs {
            input.take(bus, frame, &mut self.world);
        }
    }

    /// See [`super::Simulator::next_due`].
    pub fn next_due(&self) -> u64 {
        self.schedule.next_due()
    }

    /// See [`super::Simulator::step`].
    pub fn step(&mut self, now_ns: u64, send: &mut dyn FnMut(usize, &Frame)) {
        while let Some(job) = self.schedule.pop(now_ns) {
            if job > 0 {
                if let Some(output) = self.cyclic.get_mut(job - 1).filter(|o| !self.world.silent(o.device)) {
                    send(output.bus, output.encode(&self.world));
                }
                continue;
            }
            self.claims.drain(..).for_each(|(bus, frame)| send(bus, &frame));
            self.world.tick();
            for output in &mut self.events {
                if output.event(&self.world) && !self.world.silent(output.device) {
                    send(output.bus, output.encode(&self.world));
                }
            }
        }
    }
}

fn all_sent() -> Vec<Sent> {
    [
        drive::sent(),
        conveyor::sent(),
        filler::sent(),
        labeller::sent(),
        oven::sent(),
        guard::sent(),
        panel::sent(),
        robot::sent(),
        meter::sent(),
        genset::sent(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn all_received() -> Vec<Received> {
    let control = Received {
        bus: LINE,
        message: "DemoControl",
        arrived: |_| {},
        signals: vec![("FaultSelect", |w, v| w.fault = Fault::from_value(v).unwrap_or(w.fault))],
    };
    let mut received = vec![control, drive::received(), conveyor::received(), labeller::received(), oven::received()];
    received.extend(filler::received());
    received.extend(robot::received());
    received.push(meter::received());
    received
}

#[cfg(test)]
mod tests;
