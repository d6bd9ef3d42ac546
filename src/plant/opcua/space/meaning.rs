//! Whether a value means something else in another plan than it did: what a client has read about it once is then to be read
//! again (OPC 10000-3, 9.33).

use super::{Fact, Node, Space};
use crate::plan::{MessageIndex, Overlay, TagIndex};
use crate::plant::opcua::locale::Locales;
use crate::plant::opcua::mapping::{self, Property};

/// Bits of a StatusCode (OPC 10000-4, 7.39.1): what describes the value has changed, or its type.
pub const SEMANTICS_CHANGED: u32 = 1 << 14;
pub const STRUCTURE_CHANGED: u32 = 1 << 15;
/// Both of them.
pub const CHANGED: u32 = SEMANTICS_CHANGED | STRUCTURE_CHANGED;

/// What has become of a signal that both plans have, for the next StatusCode of its value.
pub fn bits((old, before): (&Space, TagIndex), (new, after): (&Space, TagIndex)) -> u32 {
    let (was, is) = (old.plan.signal(before), new.plan.signal(after));
    let words = |space: &'_ Space, tag| space.plan.tag_overlays.get(&tag).map(|overlay| overlay.words.clone());
    let translated = words(old, before).unwrap_or_default() != words(new, after).unwrap_or_default();
    if was == is && !translated {
        return 0;
    }
    let has = |property, signal| mapping::has_property(signal, property);
    let mut constant =
        Property::ALL.into_iter().filter(|property| property.is_constant() && *property != Property::Comment);
    // what a DA variable tells of by its StatusCode: OPC 10000-8, 5.3.2 and 5.3.3
    let semantics = translated
        || constant.any(|property| {
            has(property, was) != has(property, is)
                || has(property, is)
                    && mapping::property_value(was, property, None) != mapping::property_value(is, property, None)
        });
    let structure = mapping::value_type(was) != mapping::value_type(is);
    let bit = |on: bool, bit: u32| if on { bit } else { 0 };
    bit(semantics, SEMANTICS_CHANGED) | bit(structure, STRUCTURE_CHANGED)
}

/// Whether a SemanticChangeEvent names a signal that both plans have: for its words too, by which no value is another one.
pub fn of_signal((old, before): (&Space, TagIndex), (new, after): (&Space, TagIndex)) -> bool {
    let words = |space: &Space, tag| {
        let node = Node::Signal(tag, None);
        (space.described(node, Locales::NONE).ok(), space.display_name(node, Locales::NONE))
    };
    bits((old, before), (new, after)) & SEMANTICS_CHANGED != 0
        || words(old, before) != words(new, after)
        || translations(old.plan.tag_overlays.get(&before)) != translations(new.plan.tag_overlays.get(&after))
}

/// Whether that of a message that both plans have is another one.
pub fn of_message((old, before): (&Space, MessageIndex), (new, after): (&Space, MessageIndex)) -> bool {
    let facts = |space: &Space, message| {
        let fact = |fact: Fact| space.fact_value(message, None, fact);
        space.facts(message).map(fact).collect::<Vec<_>>()
    };
    let words = |space: &Space, message| {
        let node = Node::Message(message, None);
        (space.described(node, Locales::NONE).ok(), space.display_name(node, Locales::NONE))
    };
    words(old, before) != words(new, after)
        || facts(old, before) != facts(new, after)
        || translations(old.plan.message_overlays.get(&before)) != translations(new.plan.message_overlays.get(&after))
}

/// Names and descriptions in other languages.
fn translations(overlay: Option<&Overlay>) -> [&[(String, String)]; 2] {
    overlay.map_or([&[], &[]], |overlay| [&overlay.aliases, &overlay.descriptions])
}
