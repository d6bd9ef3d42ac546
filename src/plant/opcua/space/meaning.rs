//! Whether a value means something else in another plan than it did: what a client has read about it once is then to be read
//! again (OPC 10000-3, 9.33).

use super::{Fact, Node, Space};
use crate::plan::{MessageIndex, TagIndex};
use crate::plant::opcua::mapping::{self, Property};

/// Bits of a StatusCode (OPC 10000-4, 7.39.1): what describes the value has changed, or its type.
pub const SEMANTICS_CHANGED: u32 = 1 << 14;
pub const STRUCTURE_CHANGED: u32 = 1 << 15;
/// Both of them.
pub const CHANGED: u32 = SEMANTICS_CHANGED | STRUCTURE_CHANGED;

/// What has become of a signal that both plans have, for the next StatusCode of its value.
pub fn bits((old, before): (&Space, TagIndex), (new, after): (&Space, TagIndex)) -> u32 {
    let (was, is) = (old.plan.signal(before), new.plan.signal(after));
    if was == is {
        return 0;
    }
    let has = |property, signal| mapping::has_property(signal, property);
    let mut constant = Property::ALL.into_iter().filter(|property| property.is_constant());
    // what a DA variable tells of by its StatusCode: OPC 10000-8, 5.3.2 and 5.3.3
    let semantics = constant.any(|property| {
        has(property, was) != has(property, is)
            || has(property, is) && mapping::property_value(was, property) != mapping::property_value(is, property)
    });
    let structure = mapping::value_type(was) != mapping::value_type(is);
    let bit = |on: bool, bit: u32| if on { bit } else { 0 };
    bit(semantics, SEMANTICS_CHANGED) | bit(structure, STRUCTURE_CHANGED)
}

/// Whether a SemanticChangeEvent names a signal that both plans have: for its words too, by which no value is another one.
pub fn of_signal((old, before): (&Space, TagIndex), (new, after): (&Space, TagIndex)) -> bool {
    let words = |space: &Space, tag| {
        let node = Node::Signal(tag, None);
        (space.described(node).ok(), space.display_name(node))
    };
    bits((old, before), (new, after)) & SEMANTICS_CHANGED != 0 || words(old, before) != words(new, after)
}

/// Whether that of a message that both plans have is another one.
pub fn of_message((old, before): (&Space, MessageIndex), (new, after): (&Space, MessageIndex)) -> bool {
    let facts = |space: &Space, message| {
        let fact = |fact: Fact| space.fact_value(message, None, fact);
        space.facts(message).map(fact).collect::<Vec<_>>()
    };
    let words = |space: &Space, message| {
        let node = Node::Message(message, None);
        (space.described(node).ok(), space.display_name(node))
    };
    words(old, before) != words(new, after) || facts(old, before) != facts(new, after)
}
