//! Which alarms follow from which others: one bus-off is one alarm, and what it brings with it is shown below.

use std::collections::HashMap;

use super::{Alarm, AlarmIndex, BusIndex, Direction, MessageIndex, Plan};

/// For each alarm of the plan those of which it is a consequence; all of them, not only the nearest, so that a chain is
/// told by its first link although one between is silent. No alarm follows from itself.
pub(super) fn causes(plan: &Plan) -> Vec<Box<[AlarmIndex]>> {
    let places: HashMap<Alarm, AlarmIndex> =
        plan.alarms.iter().enumerate().map(|(index, alarm)| (*alarm, index)).collect();
    let outputs: Vec<MessageIndex> = (0..plan.messages.len())
        .filter(|message| matches!(plan.messages[*message].direction, Direction::Output(_)))
        .collect();
    plan.alarms
        .iter()
        .map(|alarm| {
            let causes = of(plan, *alarm, &outputs);
            let mut found: Vec<AlarmIndex> = causes.iter().filter_map(|cause| places.get(cause).copied()).collect();
            found.sort_unstable();
            found.dedup();
            found.into()
        })
        .collect()
}

fn of(plan: &Plan, alarm: Alarm, outputs: &[MessageIndex]) -> Vec<Alarm> {
    match alarm {
        // of a bus: where frames can't come or go
        Alarm::Late(message) => off(plan.messages[message].bus).into(),
        Alarm::TransmitDropped(bus) => off(bus).into(),
        Alarm::BusErrors(bus) => vec![Alarm::InterfaceGone(bus), Alarm::BusOff(bus)],
        Alarm::BusOff(bus) => vec![Alarm::InterfaceGone(bus)],
        Alarm::Link(link) => input(plan, plan.tags[plan.links[link].from].message),
        Alarm::Fallback(message) => fallback(plan, message),
        Alarm::NotArmed => {
            let own = outputs.iter().flat_map(|message| {
                let mut causes = fallback(plan, *message);
                causes.push(Alarm::Fallback(*message));
                causes
            });
            own.collect()
        }
        Alarm::Forced
        | Alarm::Overrun
        | Alarm::TakenBack
        | Alarm::InterfaceGone(_)
        | Alarm::Flapping(_)
        | Alarm::FramesLost(_)
        | Alarm::ForeignSender(_)
        | Alarm::Protection(_)
        | Alarm::Storm(_)
        | Alarm::NotRetained
        | Alarm::Limit(_)
        | Alarm::OffNormal(_) => Vec::new(),
    }
}

fn off(bus: BusIndex) -> [Alarm; 3] {
    [Alarm::InterfaceGone(bus), Alarm::BusOff(bus), Alarm::BusErrors(bus)]
}

/// Why a received message may not be good.
fn input(plan: &Plan, message: MessageIndex) -> Vec<Alarm> {
    let mut causes = vec![Alarm::Late(message), Alarm::Protection(message)];
    causes.extend(off(plan.messages[message].bus));
    causes
}

/// Why a message of ours may be in fallback.
fn fallback(plan: &Plan, message: MessageIndex) -> Vec<Alarm> {
    let Direction::Output(transmission) = &plan.messages[message].direction else { return Vec::new() };
    let mut causes = vec![Alarm::ForeignSender(message)];
    causes.extend(off(plan.messages[message].bus));
    for vital in &transmission.vital {
        causes.extend(input(plan, plan.tags[vital.tag].message));
    }
    if plan.machine.fallback_on_overrun {
        causes.push(Alarm::Overrun);
    }
    causes.extend(transmission.fallback_on.iter().map(|on| on.alarm));
    causes
}
