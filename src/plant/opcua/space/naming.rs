//! Ids and names of nodes, put together in a text that the caller has: no node keeps its own.

use std::fmt::Write;

use opcua::types::{LocalizedText, NodeId, QualifiedName};

use super::{MACHINE, NAMESPACE, Node, ROOT, Reference, Source, Space, condition, method, model, version};
use crate::plan::MessageIndex;
use crate::plant::opcua::locale::Locales;
use crate::plant::opcua::wire::NodeRef;

impl Space {
    /// The NodeId; `text` is where the identifier of a node of the plant is put together.
    pub fn id_in<'a>(&'a self, node: Node, text: &'a mut String) -> NodeRef<'a> {
        text.clear();
        match node {
            Node::Standard(row) => self.standard.entry(row).map_or(NodeRef::NULL, |entry| entry.id()),
            Node::Session(session) => NodeRef::Numeric(1, session),
            Node::Diagnostic(session, diagnostic) => {
                let whole = diagnostic.whole().map(|whole| (whole.name(), ".")).unwrap_or_default();
                // a String takes everything
                let _ = write!(text, "{session}.{}{}{}", whole.0, whole.1, diagnostic.name());
                NodeRef::String(1, text)
            }
            _ => {
                self.write_id(node, text);
                NodeRef::String(NAMESPACE, text)
            }
        }
    }

    /// Appends the identifier of a node of the plant.
    pub(super) fn write_id(&self, node: Node, text: &mut String) {
        let message = |index: MessageIndex, source: Option<Source>, text: &mut String| {
            let message = &self.plan.messages[index];
            text.push_str(&self.plan.buses[message.bus].name);
            text.push('.');
            text.push_str(&message.message.name);
            if let Some(source) = source {
                // a String takes everything
                let _ = write!(text, "@{}", source.address);
            }
        };
        let name = match node {
            Node::Root => return text.push_str(ROOT),
            Node::Machine => return text.push_str(MACHINE),
            Node::Bus(bus) => return text.push_str(&self.plan.buses[bus].name),
            Node::Message(index, source) => return message(index, source, text),
            Node::Standard(_) | Node::Session(_) | Node::Diagnostic(..) => return,
            Node::Model(part) => return model::write_id(self, part, text),
            Node::Condition(part) => return condition::write_id(self, part, text),
            Node::Method(part) => return method::write_id(self, part, text),
            Node::Version(part) => return version::write_id(self, part, text),
            Node::State(state) => {
                text.push_str(MACHINE);
                state.name()
            }
            Node::Fact(index, source, fact) => {
                message(index, source, text);
                fact.name()
            }
            Node::Signal(tag, source) => {
                message(self.plan.tags[tag].message, source, text);
                &self.plan.signal(tag).name
            }
            Node::Property(tag, source, property) => {
                self.write_id(Node::Signal(tag, source), text);
                property.name()
            }
        };
        text.push('.');
        text.push_str(name);
    }

    pub fn id(&self, node: Node) -> NodeId {
        self.id_in(node, &mut String::new()).to_owned()
    }

    /// Puts the BrowseName, which is the name inside the parent, into `text`; its namespace.
    pub fn name_in(&self, node: Node, text: &mut String) -> u16 {
        text.clear();
        let mut namespace = NAMESPACE;
        let name = match node {
            Node::Root => ROOT,
            Node::Machine => "Machine",
            Node::State(state) => state.name(),
            Node::Bus(bus) => &self.plan.buses[bus].name,
            Node::Message(message, _) => self.message_name(message),
            Node::Fact(_, _, fact) => fact.name(),
            Node::Signal(tag, _) => &self.plan.signal(tag).name,
            Node::Property(_, _, property) => {
                namespace = property.namespace();
                property.name()
            }
            Node::Standard(row) => {
                let (own, name) = self.standard.entry(row).map_or((0, ""), |entry| entry.browse_name());
                namespace = own;
                name
            }
            Node::Model(part) => return model::name_in(self, part, text),
            Node::Condition(part) => return condition::name_in(self, part, text),
            Node::Method(part) => return method::name_in(self, part, text),
            Node::Version(_) => return version::name_in(text),
            Node::Session(_) => {
                namespace = 1;
                "Session"
            }
            Node::Diagnostic(_, diagnostic) => {
                namespace = 0;
                diagnostic.name()
            }
        };
        text.push_str(name);
        // a String takes everything
        let _ = match node {
            // clients choose the names of sessions, and may choose one twice
            Node::Session(session) => write!(text, " {session}"),
            _ => Ok(()),
        };
        namespace
    }

    pub fn browse_name(&self, node: Node) -> QualifiedName {
        let mut text = String::new();
        QualifiedName::new(self.name_in(node, &mut text), text)
    }

    /// Puts the alias of an overlay table into `text`, else the name inside the parent; its locale.
    pub fn display_name_in(&self, node: Node, locales: &Locales, text: &mut String) -> &str {
        let overlay = match node {
            Node::Signal(tag, _) => self.plan.tag_overlays.get(&tag),
            Node::Message(message, _) => self.plan.message_overlays.get(&message),
            Node::Standard(row) => {
                text.clear();
                text.push_str(self.standard.entry(row).map_or("", |entry| entry.display_name()));
                return "";
            }
            Node::Model(part) => {
                model::display_name_in(self, part, text);
                return "";
            }
            _ => None,
        };
        // a translation is better than the name in the DBC file only for who understands it
        let alias = overlay.and_then(|overlay| match &overlay.alias {
            Some(alias) => locales.text(Some(alias), &overlay.aliases),
            None => locales.best(&overlay.aliases).map(|(locale, alias)| (locale.as_str(), alias.as_str())),
        });
        match alias {
            Some((locale, alias)) => {
                text.clear();
                text.push_str(alias);
                locale
            }
            None => {
                self.name_in(node, text);
                ""
            }
        }
    }

    /// Puts what has been added behind others of the same kind of reference into the order of names.
    pub fn sort(&self, all: &mut [Reference]) {
        let kinds: Vec<(u32, bool)> = all.iter().map(|reference| (reference.kind, reference.forward)).collect();
        let mut name = String::new();
        all.sort_by_cached_key(|Reference { kind, forward, target }| {
            let first = kinds.iter().position(|known| known == &(*kind, *forward));
            if *forward {
                self.name_in(*target, &mut name);
            } else {
                name.clear();
            }
            (first, name.clone())
        });
    }

    pub fn display_name(&self, node: Node, locales: &Locales) -> LocalizedText {
        let mut text = String::new();
        let locale = self.display_name_in(node, locales, &mut text);
        LocalizedText::new(locale, &text)
    }
}

/// One spelling for one number: no "+1", no "01".
pub fn number_of(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| digits)
}
