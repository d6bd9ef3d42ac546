//! What the controller says of itself: in the log, and in one line for the service manager.

use socketcan::CanErrorFrame;
use socketcan::errors::CanError;
use tracing::{error, info, warn};

use super::Controller;
use crate::bus::error_frame::ErrorFrame;
use crate::plan::{Arm, Direction};
use crate::store::layout::{BusState, BusWord};

impl Controller {
    /// What stands in the log once, at the start.
    pub(super) fn report_start(&self) {
        let plan = &self.plan;
        info!(buses = plan.buses.len(), messages = plan.messages.len(), plan = plan.short_hash(), "controller started");
        if self.marker.unclean {
            warn!(
                "the last controller did not end in order: the outputs keep their fallback values until armed (canvoy arm)"
            );
        } else if plan.machine.arm == Arm::ByHand {
            info!("the outputs keep their fallback values until armed (canvoy arm)");
        }
        if plan.simulated {
            warn!("simulated: there is no machine behind these values");
        }
        self.report_buses();
        for line in self.rt.grants.missing() {
            warn!("{line}");
        }
    }

    /// What is sent on each bus.
    pub(super) fn report_buses(&self) {
        let plan = &self.plan;
        for (index, bus) in plan.buses.iter().enumerate() {
            let messages = &plan.messages[bus.messages.clone()];
            let routes = plan.routes.iter().filter(|route| route.to == index).map(|route| route.name.as_str());
            let routes: Vec<&str> = routes.collect();
            let sent: Vec<&str> = messages
                .iter()
                .filter(|message| matches!(message.direction, Direction::Output(_)))
                .map(|message| message.message.name.as_str())
                .collect();
            let node = bus.node.as_deref().unwrap_or("none");
            if !routes.is_empty() {
                info!(bus = %bus.name, routes = %routes.join(", "), "routes send on this bus what they pass");
            }
            if sent.is_empty() && routes.is_empty() {
                info!(bus = %bus.name, node, "listen only: nothing is sent on this bus");
            } else if !sent.is_empty() {
                info!(bus = %bus.name, node, messages = %sent.join(" "), "these messages are sent on this bus");
            }
        }
    }

    pub(super) fn report_bus(&self, bus: usize, before: BusState, state: BusState, cause: Option<ErrorFrame>) {
        let bus = &self.plan.buses[bus].name;
        let before = before.word();
        let cause = cause.map(describe).unwrap_or_default();
        match state {
            BusState::Active => info!(%bus, before, "bus is active"),
            BusState::Warning => warn!(%bus, before, cause, "bus has many errors (error warning)"),
            BusState::Passive => warn!(%bus, before, cause, "bus controller is error-passive"),
            BusState::BusOff => error!(%bus, before, cause, "bus is off: nothing is sent or received"),
            BusState::Down if before == BusState::Gone.word() => {
                warn!(%bus, "bus is not up: its interface is there, but down")
            }
            BusState::Down => error!(%bus, before, "bus is down: somebody has taken its interface down"),
            BusState::Gone => error!(%bus, before, "bus is gone: its interface does not exist any more"),
        }
    }

    /// One line for people.
    pub(super) fn status(&self) -> String {
        let buses = self.plan.buses.iter().enumerate().map(|(index, bus)| {
            let word = |word| self.reader.bus(index, word);
            let (state, received) = (self.reader.bus_state(index).word(), word(BusWord::ReceivedFrames));
            format!("{} {state} {received} in {} out; ", bus.name, word(BusWord::TransmittedFrames))
        });
        let waits = if self.reload.waits() { "; another configuration waits for reload_when" } else { "" };
        format!("{}{} clients connected{waits}", buses.collect::<String>(), self.door.clients().count())
    }
}

/// What an error frame says, in words.
fn describe(error: ErrorFrame) -> String {
    let frame = CanErrorFrame::new_error(error.classes, &error.data);
    frame.map(|frame| CanError::from(frame).to_string()).unwrap_or_default()
}
