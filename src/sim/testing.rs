//! What the tests of the simulators share: the demo plant's databases, and which signals a payload holds.

use crate::dbc::{Database, Message, Raw, Signal, parse};
use crate::sim::demo;

/// `line` and `cell`; both without a single complaint.
pub fn demo_databases() -> [Database; 2] {
    std::array::from_fn(|n| {
        let (name, bytes) = demo::DBC[n];
        let (database, diagnostics) = parse(name, bytes);
        assert_eq!(diagnostics, [], "{name}");
        database.unwrap()
    })
}

/// The signals that are present in a payload, by its selectors.
pub fn present<'a>(message: &'a Message, payload: &'a [u8]) -> impl Iterator<Item = &'a Signal> {
    let raw = |signal: usize| message.signals[signal].codec.raw(payload).and_then(Raw::as_i128);
    let present = move |signal: &&Signal| {
        message.groups[signal.group].conditions.iter().all(|condition| {
            let value = raw(condition.selector).unwrap();
            condition.ranges.iter().any(|(low, high)| (*low..=*high).contains(&value))
        })
    };
    message.signals.iter().filter(present)
}
