//! Aliases of overlay tables as AliasNames (OPC 10000-17): what people call a signal, and which variables that means.

use opcua::types::ReferenceTypeId;

use super::{Node, Passing, Reference, Space, forward, model};
use crate::plan::{Plan, TagIndex};

/// Category of all of them, TagVariables (OPC 10000-17, 9.3).
pub const CATEGORY: u32 = 23479;

/// All aliases of signals, sorted. Several signals may have the same one.
#[derive(Default)]
pub struct Aliases {
    /// Signals by alias.
    tags: Vec<u32>,
    /// Where those of each alias begin.
    starts: Vec<u32>,
}

impl Aliases {
    pub fn new(plan: &Plan) -> Aliases {
        let named = plan.tag_overlays.iter().filter(|(_, overlay)| overlay.alias.is_some());
        let mut tags: Vec<u32> = named.map(|(tag, _)| *tag as u32).collect();
        tags.sort_by_key(|tag| plan.alias(*tag as usize));
        let alias = |at: usize| plan.alias(*tags.get(at)? as usize);
        let starts = (0..tags.len()).filter(|at| *at == 0 || alias(*at) != alias(at - 1)).map(|at| at as u32).collect();
        Aliases { tags, starts }
    }

    pub fn bytes(&self) -> usize {
        (self.tags.len() + self.starts.len()) * size_of::<u32>()
    }

    pub fn numbers(&self) -> std::ops::Range<u32> {
        0..self.starts.len() as u32
    }

    /// The signals of an alias, sorted.
    pub fn tags(&self, alias: u32) -> &[u32] {
        let at = |alias: usize| self.starts.get(alias).map_or(self.tags.len(), |start| *start as usize);
        self.tags.get(at(alias as usize)..at(alias as usize + 1)).unwrap_or_default()
    }

    pub fn name<'a>(&self, plan: &'a Plan, alias: u32) -> &'a str {
        self.tags(alias).first().and_then(|tag| plan.alias(*tag as usize)).unwrap_or_default()
    }

    pub fn find(&self, plan: &Plan, name: &str) -> Option<u32> {
        let at = self.starts.partition_point(|start| {
            let tag = self.tags.get(*start as usize).copied();
            tag.and_then(|tag| plan.alias(tag as usize)) < Some(name)
        }) as u32;
        (self.name(plan, at) == name && !self.tags(at).is_empty()).then_some(at)
    }
}

impl Space {
    fn alias_node(alias: u32) -> Node {
        Node::Model(model::Part::Alias(alias))
    }

    /// The aliases below their category.
    pub(super) fn aliases_named(&self) -> impl Iterator<Item = Reference> {
        self.aliases.numbers().map(|alias| forward(ReferenceTypeId::Organizes, Self::alias_node(alias)))
    }

    /// The alias of a signal.
    pub(super) fn alias_of(&self, tag: TagIndex) -> Option<Node> {
        self.aliases.find(&self.plan, self.plan.alias(tag)?).map(Self::alias_node)
    }

    /// The variables of an alias: of J1939 one for each source.
    pub fn aliased(&self, alias: u32, passing: Passing<'_>) -> Vec<Node> {
        let each = self.aliases.tags(alias).iter().flat_map(|tag| {
            let tag = *tag as usize;
            let message = self.plan.tags[tag].message;
            match self.is_j1939(message) {
                true => self.sources(message, passing).map(|source| Node::Signal(tag, Some(source))).collect(),
                false => vec![Node::Signal(tag, None)],
            }
        });
        each.collect()
    }
}
