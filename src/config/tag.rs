//! Tags by the names that a configuration gives them: `bus.Message.Signal`, of J1939 `bus.Message@ADDRESS.Signal`.

use super::bus::Section;
use super::report::Report;
use super::suggest::did_you_mean;
use crate::plan::{Direction, Message, Plan, TagIndex};

/// The tags of a plan that has all its buses.
pub struct Tags<'a> {
    pub plan: &'a Plan,
    /// By bus: what is not found does not exist. Otherwise a DBC file could not be read, and has been reported.
    complete: Vec<bool>,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub tag: TagIndex,
    /// The sender of a received J1939 message; `None` for all others.
    pub source_address: Option<u8>,
}

impl<'a> Tags<'a> {
    /// `sections`: those of the plan's buses, in their order.
    pub fn new(plan: &'a Plan, sections: &[Section<'_>]) -> Tags<'a> {
        Tags { plan, complete: sections.iter().map(|section| section.complete).collect() }
    }

    /// The tag of a name; the mistake in words, or none where it can't be told.
    pub fn find(&self, name: &str, report: &Report<'_>) -> Result<Named, Option<String>> {
        let parts: Vec<&str> = name.split('.').collect();
        let [bus_name, message_name, signal_name] = parts[..] else {
            return Err(Some(format!("\"{name}\" is not of the form bus.Message.Signal")));
        };
        let Some(bus) = self.plan.buses.iter().position(|bus| bus.name == bus_name) else {
            let buses = self.plan.buses.iter().map(|bus| bus.name.as_str());
            let mistake = format!("\"{name}\": no bus \"{bus_name}\"{}", did_you_mean(bus_name, buses));
            return Err((!report.is_dropped(&["bus", bus_name])).then_some(mistake));
        };
        let sure = self.complete.get(bus).copied().unwrap_or(false);
        let (message_name, address) = match message_name.split_once('@') {
            Some((message, address)) => (message, Some(address)),
            None => (message_name, None),
        };
        let Some(message) = self.find_message(bus, message_name) else {
            let hint = did_you_mean(message_name, self.messages(bus).map(|message| message.message.name.as_str()));
            let mistake = format!("\"{name}\": no message \"{message_name}\" in the DBC files of bus {bus_name}{hint}");
            return Err(sure.then_some(mistake));
        };
        let signals = &message.message.signals;
        let long = signals.iter().position(|signal| signal.name == signal_name);
        let Some(signal) = long.or_else(|| signals.iter().position(|signal| signal.dbc_name == signal_name)) else {
            let hint = did_you_mean(signal_name, signals.iter().map(|signal| signal.name.as_str()));
            return Err(Some(format!("\"{name}\": {message_name} has no signal \"{signal_name}\"{hint}")));
        };
        let source_address = source_address(name, message, address).map_err(Some)?;
        Ok(Named { tag: message.tags.start + signal, source_address })
    }

    fn messages(&self, bus: usize) -> impl Iterator<Item = &'a Message> {
        self.plan.messages[self.plan.buses[bus].messages.clone()].iter()
    }

    /// By long name, else by DBC name.
    fn find_message(&self, bus: usize, name: &str) -> Option<&'a Message> {
        let long = self.messages(bus).find(|message| message.message.name == name);
        long.or_else(|| self.messages(bus).find(|message| message.message.dbc_name == name))
    }
}

fn source_address(name: &str, message: &Message, written: Option<&str>) -> Result<Option<u8>, String> {
    let received = message.message.has_sources() && matches!(message.direction, Direction::Input(_));
    match (received, written) {
        (false, None) => Ok(None),
        (true, Some(address)) => match address.parse() {
            // 254 is "cannot claim", 255 "all" (SAE J1939-81, 4.2)
            Ok(address @ 0..=253) => Ok(Some(address)),
            _ => Err(format!("\"{name}\": \"{address}\" is no source address; they go from 0 to 253, in decimal")),
        },
        (true, None) => {
            let example = name.replacen(&message.message.name, &format!("{}@33", message.message.name), 1);
            Err(format!("\"{name}\" may come from several J1939 source addresses; say which, like {example}"))
        }
        (false, Some(_)) => Err(format!("\"{name}\": only received J1939 messages have a source address behind @")),
    }
}

/// What to say about a tag that stays good for ever once its device is silent; nothing where it has a deadline.
pub fn never_late(plan: &Plan, tag: TagIndex) -> Option<String> {
    let message = &plan.messages[plan.tags[tag].message];
    let Direction::Input(reception) = &message.direction else { return None };
    // where the whole message is late, all its branches are
    let watched = |group: usize| reception.deadlines.get(group).copied().flatten().is_some();
    if watched(0) || watched(plan.signal(tag).group) {
        return None;
    }
    let (bus, name) = (&plan.buses[message.bus].name, &message.message.name);
    Some(format!(
        "nobody notices when {name} stays away: it has no deadline; add [bus.{bus}.message.{name}] with timeout_ms"
    ))
}
