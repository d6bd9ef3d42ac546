//! What a command must be before the real-time thread hears of it: what the plan, the state of a bus and the door allow.

use crate::command::{self, Action, Change, Place, Refusal};
use crate::plan::{Direction, Immediate, MessageIndex, Plan};
use crate::store::layout::BusState;
use crate::store::{Reader, clock};

/// Checks an action against the plan, and writes against the state of their bus.
pub fn check(plan: &Plan, reader: &Reader, action: &Action, place: Place) -> Result<Change, Refusal> {
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
        Action::Remote(true) if place == Place::Plant && !plan.machine.remote_from_plant => {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::command::{Value, Write};
    use crate::config::{self, LoadOptions, Sources};
    use crate::store::{Layout, Memory, Writer};

    const DBC: &str = "BU_: ME ECU\nBO_ 1 Command: 1 ME\n SG_ X : 0|8@1+ (1,0) [0|9] \"\" ECU\n\
                       BO_ 2 Status: 1 ECU\n SG_ Y : 0|8@1+ (1,0) [0|0] \"\" ME\n";
    const BUS: &str = "[bus.line]\nvirtual = true\ndbc = [\"a.dbc\"]\nnode = \"ME\"\ntransmit = \"all\"\nwritable = \"all\"\n\
                       message.Command.cycle_ms = 10\n";

    #[test]
    fn what_the_plan_and_the_origin_allow() {
        let check = |machine: &str, place: Place, action: Action| {
            let written = format!("{machine}{BUS}");
            let sources = Sources::embedded("plant.toml", &written, &[("a.dbc", DBC.as_bytes())]);
            let plan = config::load(&sources, LoadOptions::default()).map_err(|mistakes| format!("{mistakes:?}"));
            let plan = plan.unwrap().plan;
            let layout = Layout::of(&plan);
            let memory = Arc::new(Memory::heap(layout.words()));
            let mut writer = Writer::new(memory.clone(), layout, 7);
            writer.set_bus_state(0, BusState::Active, 1);
            let reader = Reader::open(memory, layout, 7).unwrap();
            check(&plan, &reader, &action, place).map_err(|refusal| refusal.to_string())
        };
        let write = |value| vec![Write { tag: 0, value: Value::Engineering(value) }];
        let immediate = |change: Result<Change, String>| match change {
            Ok(Change::Patch(patch)) => Some(patch.immediate),
            _ => None,
        };
        assert_eq!(immediate(check("", Place::Plant, Action::Set(write(1.0)))), Some(Immediate::No));
        assert_eq!(immediate(check("", Place::Plant, Action::Send(write(1.0)))), Some(Immediate::OnWrite));
        let machine = "[machine]\nremote_from_plant = true\n";
        let at_the_machine = "from Local to Remote only at the machine: `[machine] remote_from_plant` is not set";
        for (written, place, action, want) in [
            ("", Place::Plant, Action::Send(write(10.0)), Err("10 is outside 0..=9 of line.Command.X")),
            ("", Place::Plant, Action::Fallback(Some(0)), Ok(Change::Fallback(Some(0)))),
            ("", Place::Plant, Action::Fallback(None), Ok(Change::Fallback(None))),
            ("", Place::Plant, Action::ResetFallback(Some(0)), Ok(Change::ResetFallback(Some(0)))),
            ("", Place::Machine, Action::Fallback(Some(1)), Err("line.Status is not sent by this controller")),
            ("", Place::Machine, Action::ResetFallback(Some(2)), Err("no such bus, route or message")),
            ("", Place::Plant, Action::Remote(false), Ok(Change::Remote(false))),
            ("", Place::Plant, Action::Remote(true), Err(at_the_machine)),
            ("", Place::Machine, Action::Remote(true), Ok(Change::Remote(true))),
            (machine, Place::Plant, Action::Remote(true), Ok(Change::Remote(true))),
        ] {
            let said = format!("{written:?} {place:?} {action:?}");
            assert_eq!(check(written, place, action), want.map_err(str::to_owned), "{said}");
        }
    }
}
