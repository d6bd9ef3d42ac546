//! What a command must be before the real-time thread hears of it: what the plan, the state of a bus and its origin allow.

use super::AT_THE_MACHINE;
use crate::command::{self, Action, Change, Origin, Refusal};
use crate::plan::{Direction, Immediate, MessageIndex, Plan};
use crate::store::layout::BusState;
use crate::store::{Reader, clock};

/// Checks an action against the plan, and writes against the state of their bus.
pub fn check(plan: &Plan, reader: &Reader, action: &Action, origin: &Origin) -> Result<Change, Refusal> {
    let message = |tag: usize| plan.tags.get(tag).map(|tag| tag.message).ok_or(Refusal::UnknownTag);
    let sent = |message: Option<MessageIndex>| match message.map(|at| (at, plan.messages.get(at))) {
        None => Ok(None),
        Some((_, None)) => Err(Refusal::Unknown),
        Some((at, Some(planned))) => match planned.direction {
            Direction::Output(_) => Ok(Some(at)),
            Direction::Input(_) => Err(Refusal::NotSent { message: plan.message_name(at, None) }),
        },
    };
    Ok(match action {
        Action::Set(writes) | Action::Send(writes) => {
            let mut patch = command::compile(plan, writes)?;
            if matches!(action, Action::Send(_)) {
                patch.immediate = Immediate::OnWrite;
            }
            match reader.bus_state(plan.messages[patch.message].bus) {
                BusState::Active | BusState::Warning | BusState::Passive => Change::Patch(patch),
                BusState::Gone | BusState::Down | BusState::BusOff => return Err(Refusal::BusDown),
            }
        }
        Action::Renew(tag) => {
            let message = message(*tag)?;
            if let Direction::Input(_) = plan.messages[message].direction {
                return Err(Refusal::NotWritable { tag: plan.tag_name(*tag, None) });
            }
            Change::Renew(message)
        }
        Action::Force { tag, value, seconds } => {
            command::compile_force(plan, *tag, *value, *seconds, clock::monotonic())?
        }
        Action::Release(Some(tag)) if *tag >= plan.tags.len() => return Err(Refusal::UnknownTag),
        Action::Release(tag) => Change::Release(*tag),
        Action::Arm => Change::Arm,
        Action::Disarm => Change::Disarm,
        Action::Fallback(message) => Change::Fallback(sent(*message)?),
        Action::ResetFallback(message) => Change::ResetFallback(sent(*message)?),
        // who works at the machine decides whether others may act on it meanwhile, unless the configuration says otherwise
        Action::Remote(true) if origin.protocol != AT_THE_MACHINE && !plan.machine.remote_from_plant => {
            return Err(Refusal::RemoteAtTheMachine);
        }
        Action::Remote(remote) => Change::Remote(*remote),
        Action::Restart(bus) if *bus >= plan.buses.len() => return Err(Refusal::Unknown),
        Action::Restart(bus) if !plan.buses[*bus].managed => {
            return Err(Refusal::NotManaged { bus: plan.buses[*bus].name.clone() });
        }
        Action::Restart(bus) => Change::Restart(*bus),
        Action::Route { route, .. } if *route >= plan.routes.len() => return Err(Refusal::Unknown),
        Action::Route { route, on } => Change::Route { route: *route, on: *on },
        // answered before
        Action::Reload(_) | Action::CancelReload => return Err(Refusal::Malformed),
    })
}
