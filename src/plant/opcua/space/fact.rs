//! What is known about a message besides its signals.

use super::Space;
use crate::plan::{self, MessageIndex};

/// What is known about a message: its properties, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// In no session's language: the Description is.
    Comment,
    CycleTime,
    Identifier,
    /// Within it the plant must write again, or its session give a sign of life.
    LeaseTime,
    Sender,
}

impl Fact {
    pub const ALL: [Fact; 5] = [Fact::Comment, Fact::CycleTime, Fact::Identifier, Fact::LeaseTime, Fact::Sender];

    pub fn name(self) -> &'static str {
        match self {
            Fact::Comment => "Comment",
            Fact::CycleTime => "CycleTime",
            Fact::Identifier => "Identifier",
            Fact::LeaseTime => "LeaseTime",
            Fact::Sender => "Sender",
        }
    }
}

impl Space {
    /// What is known about a message. A signal of the same name keeps the name to itself.
    pub(super) fn facts(&self, message: MessageIndex) -> impl Iterator<Item = Fact> {
        self.facts_of(message).filter(|(_, free)| *free).map(|(fact, _)| fact)
    }

    /// What is known about a message, and whether no signal has its name.
    pub fn facts_of(&self, message: MessageIndex) -> impl Iterator<Item = (Fact, bool)> {
        let planned = &self.plan.messages[message];
        let description = &planned.message;
        Fact::ALL.into_iter().filter_map(move |fact| {
            let known = match fact {
                Fact::Comment => description.comment.is_some(),
                Fact::CycleTime => description.cycle_time.is_some(),
                Fact::Identifier => true,
                Fact::LeaseTime => lease(planned).is_some(),
                Fact::Sender => !description.senders.is_empty(),
            };
            known.then(|| (fact, description.signals.iter().all(|signal| signal.name != fact.name())))
        })
    }
}

/// Nanoseconds of the lease of a message that we send.
pub(super) fn lease(message: &plan::Message) -> Option<u64> {
    match &message.direction {
        plan::Direction::Output(transmission) => transmission.lease,
        plan::Direction::Input(_) => None,
    }
}
