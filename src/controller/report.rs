//! What the log says about the state of a bus.

use socketcan::CanErrorFrame;
use socketcan::errors::CanError;
use tracing::{error, info, warn};

use crate::bus::error_frame::ErrorFrame;
use crate::store::layout::BusState;

/// The state of a bus has changed, perhaps because of an error frame.
pub fn bus(bus: &str, before: BusState, state: BusState, cause: Option<ErrorFrame>) {
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

/// What an error frame says, in words.
fn describe(error: ErrorFrame) -> String {
    let frame = CanErrorFrame::new_error(error.classes, &error.data);
    frame.map(|frame| CanError::from(frame).to_string()).unwrap_or_default()
}
