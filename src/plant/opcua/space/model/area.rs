//! Areas: the signals by where they are in the plant, from overlay tables.

use std::collections::BTreeMap;

use crate::plan::{MessageIndex, Plan, TagIndex};
use crate::plant::opcua::space::{Node, Passing, Source, Space};

/// A place in the plant, with the messages that have signals there.
#[derive(Debug, PartialEq, Eq)]
pub struct Area {
    pub name: String,
    /// Sorted.
    pub messages: Vec<u32>,
}

/// All of a plan, sorted by name.
pub fn areas(plan: &Plan) -> Vec<Area> {
    let mut all: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    if plan.tag_overlays.is_empty() && plan.message_overlays.is_empty() {
        return Vec::new();
    }
    for (tag, described) in plan.tags.iter().enumerate() {
        if let Some(area) = plan.area(tag).filter(|area| !area.is_empty()) {
            let messages = all.entry(area).or_default();
            if messages.last() != Some(&(described.message as u32)) {
                messages.push(described.message as u32);
            }
        }
    }
    all.into_iter().map(|(name, messages)| Area { name: name.to_owned(), messages }).collect()
}

impl Space {
    pub(super) fn area_of(&self, tag: TagIndex) -> Option<u32> {
        if self.areas.is_empty() {
            return None;
        }
        let area = self.plan.area(tag)?;
        self.areas.binary_search_by(|known| known.name.as_str().cmp(area)).ok().map(|area| area as u32)
    }

    /// The signals of a message that are in an area, sorted by name.
    pub(super) fn tags_in(&self, area: u32, message: MessageIndex) -> impl Iterator<Item = TagIndex> + use<'_> {
        let tags = self.plan.messages.get(message).and_then(|message| self.sorted.get(message.tags.clone()));
        let tags = tags.unwrap_or_default().iter().map(|tag| *tag as usize);
        tags.filter(move |tag| self.area_of(*tag) == Some(area))
    }

    /// The messages in an area, of J1939 once for each source.
    pub(super) fn messages_in(&self, area: u32, passing: Passing<'_>) -> Vec<(MessageIndex, Option<Source>)> {
        let messages = self.areas.get(area as usize).map_or(&[][..], |area| area.messages.as_slice());
        let each = messages.iter().flat_map(|message| {
            let message = *message as usize;
            match self.is_j1939(message) {
                true => self.sources(message, passing).map(|source| (message, Some(source))).collect(),
                false => vec![(message, None)],
            }
        });
        each.collect()
    }

    /// `area`, `area.bus.Message`: the number of the area, and the message. Areas are called as people like.
    pub(super) fn find_area(&self, text: &str, passing: Passing<'_>) -> Option<super::Part> {
        (0..).zip(&self.areas).find_map(|(number, area)| {
            let rest = text.strip_prefix(area.name.as_str())?;
            let Some(name) = rest.strip_prefix('.') else {
                return rest.is_empty().then_some(super::Part::Area(number));
            };
            let Node::Message(message, source) = self.named(name, passing)? else { return None };
            let there = area.messages.binary_search(&(message as u32)).is_ok();
            let whole = source.is_some() || !self.is_j1939(message);
            (there && whole).then_some(super::Part::Place(number, message, source))
        })
    }
}
