//! What methods of the plant are given: names, types and words for people (OPC 10000-3, 8.6).

use opcua::types::{Argument, DataTypeId, ExtensionObject, LocalizedText, NodeId};

use super::super::{Node, Space};
use super::{Method, OfMachine, OfMessage};
use crate::dbc::Signal;
use crate::plan::{MessageIndex, TagIndex};
use crate::plant::opcua::mapping::{self, Words};
use crate::plant::opcua::session::User;

/// Words of a value table that a description has; the variable of the signal has all of them.
const MOST_WORDS: usize = 20;

/// The InputArguments of a method, as a user sees them.
pub fn arguments(space: &Space, user: &User, method: Method) -> Vec<ExtensionObject> {
    let told = |name: &str, data_type: DataTypeId, (locale, description): (&str, &str)| {
        ExtensionObject::from_message(Argument {
            name: name.into(),
            data_type: NodeId::new(0, data_type as u32),
            value_rank: -1,
            array_dimensions: None,
            description: LocalizedText::new(locale, description),
        })
    };
    let one = |name: &str, data_type: DataTypeId, description: &str| told(name, data_type, ("", description));
    let signal = || one("Signal", DataTypeId::NodeId, "The variable of the signal.");
    match method {
        Method::Message(message, OfMessage::Send) => {
            let of = |tag: TagIndex| {
                let signal = space.plan.signal(tag);
                let (locale, text) = description(space, tag, user);
                told(&signal.name, mapping::value_type(signal).data_type(), (locale, &text))
            };
            of_send(space, user, message).into_iter().map(of).collect()
        }
        Method::Message(_, OfMessage::Fallback | OfMessage::ResetFallback) | Method::Bus(_) => Vec::new(),
        Method::Machine(method) => match method {
            OfMachine::Force => vec![
                signal(),
                one("Value", DataTypeId::BaseDataType, "Of the type of that variable."),
                one(
                    "Duration",
                    DataTypeId::Duration,
                    "Milliseconds, from a second to a day; then the force ends by itself.",
                ),
            ],
            OfMachine::Release => vec![signal()],
            OfMachine::RestartBus => vec![one("Bus", DataTypeId::NodeId, "The object of the bus.")],
            OfMachine::SwitchRoute => vec![
                one("Route", DataTypeId::String, "The name in [route.NAME]; both ways of one that goes both ways."),
                one("On", DataTypeId::Boolean, "True: on, false: off."),
            ],
            OfMachine::Arm
            | OfMachine::Disarm
            | OfMachine::Fallback
            | OfMachine::ReleaseAll
            | OfMachine::ResetFallback
            | OfMachine::SetLocal
            | OfMachine::SetRemote => Vec::new(),
        },
    }
}

/// The signals that Send takes: the selectors of what may be written, which say what of a multiplexed message is meant, then
/// what may be written. By name: the order in a DBC file is not meant to stay. What is hidden from a user is none of them: a
/// description with it would tell of it, and whoever may not see all of a message may not send it either.
pub fn of_send(space: &Space, user: &User, message: MessageIndex) -> Vec<TagIndex> {
    let planned = &space.plan.messages[message];
    let dbc = &planned.message;
    let writable = |signal: usize| space.plan.tags.get(planned.tags.start + signal).is_some_and(|tag| tag.writable);
    let mut selectors: Vec<usize> = Vec::new();
    for signal in (0..dbc.signals.len()).filter(|signal| writable(*signal)) {
        for condition in &dbc.groups[dbc.signals[signal].group].conditions {
            if !selectors.contains(&condition.selector) {
                selectors.push(condition.selector);
            }
        }
    }
    let mut others: Vec<usize> =
        (0..dbc.signals.len()).filter(|signal| writable(*signal) && !selectors.contains(signal)).collect();
    let by_name = |signal: &usize| &dbc.signals[*signal].name;
    selectors.sort_by_key(by_name);
    others.sort_by_key(by_name);
    let tags = selectors.into_iter().chain(others).map(|signal| planned.tags.start + signal);
    tags.filter(|tag| space.sees(user, Node::Signal(*tag, None))).collect()
}

/// Comment, range, unit and words of a signal.
fn description<'a>(space: &'a Space, tag: TagIndex, user: &User) -> (&'a str, String) {
    let signal = space.plan.signal(tag);
    let described = space.description(Node::Signal(tag, None), &user.locales);
    let mut parts: Vec<String> = described.iter().map(|(_, text)| (*text).to_owned()).collect();
    if let Some((low, high)) = mapping::range(signal) {
        parts.push(format!("{low} to {high} {}", signal.unit).trim_end().to_owned());
    } else if !signal.unit.is_empty() {
        parts.push(signal.unit.clone());
    }
    if !signal.value_table.is_empty() {
        parts.push(words(signal, space.words(tag, user)));
    }
    (described.map_or("", |(locale, _)| locale), parts.join("; "))
}

fn words(signal: &Signal, translated: Words<'_>) -> String {
    let word = |value: i128, word: &str| mapping::word(value, word, translated).1.to_owned();
    let words = signal.value_table.iter().take(MOST_WORDS);
    let words = words.map(|(value, own)| format!("{value} = {}", word(*value, own)));
    let mut words: Vec<String> = words.collect();
    if signal.value_table.len() > MOST_WORDS {
        words.push("…".into());
    }
    words.join(", ")
}
