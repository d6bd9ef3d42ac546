//! Who may do what with what: the one question that every protocol asks, over the plan that holds now.

use super::role::{Configs, Identity, Operation, Role, Roles, are_given, roles_of};
use crate::plan::{BusIndex, MessageIndex, Plan, TagIndex};

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The machine as a whole, and everything that belongs to no bus.
    Machine,
    Bus(BusIndex),
    Message(MessageIndex),
    Tag(TagIndex),
}

/// A part of the plant that a role is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub machine: bool,
    /// The whole bus was named.
    pub buses: Vec<bool>,
    /// The whole message was named, or its bus.
    pub messages: Vec<bool>,
    pub tags: Vec<bool>,
}

/// What a list of a role names and the plan does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Neither `bus:`, `area:`, `machine` nor `bus.Message`.
    Form,
    Bus(String),
    Area(String),
    Message {
        bus: BusIndex,
        name: String,
    },
    Signal {
        message: MessageIndex,
        name: String,
    },
}

impl Part {
    pub fn nothing(plan: &Plan) -> Part {
        Part {
            machine: false,
            buses: vec![false; plan.buses.len()],
            messages: vec![false; plan.messages.len()],
            tags: vec![false; plan.tags.len()],
        }
    }

    /// Adds what an element of a list names: `machine`, `bus:NAME`, `area:NAME` (with the areas below it, after a dot or a
    /// slash), `bus.Message`, `bus.Message.*`, `bus.Message.Signal`.
    pub fn add(&mut self, plan: &Plan, text: &str) -> Result<(), Unknown> {
        if text == "machine" {
            self.machine = true;
            return Ok(());
        }
        if let Some(name) = text.strip_prefix("bus:") {
            let bus = find_bus(plan, name)?;
            set(&mut self.buses, bus..bus + 1);
            if let Some(of) = plan.buses.get(bus) {
                set(&mut self.messages, of.messages.clone());
                plan.messages.get(of.messages.clone()).unwrap_or_default().iter().for_each(|message| {
                    set(&mut self.tags, message.tags.clone());
                });
            }
            return Ok(());
        }
        if let Some(area) = text.strip_prefix("area:") {
            return self.add_area(plan, area);
        }
        let (bus, rest) = text.split_once('.').ok_or(Unknown::Form)?;
        let bus = find_bus(plan, bus)?;
        let (name, signal) = rest.split_once('.').unwrap_or((rest, "*"));
        let message = find_message(plan, bus, name).ok_or(Unknown::Message { bus, name: name.to_owned() })?;
        let tags = plan.messages.get(message).map(|message| message.tags.clone()).unwrap_or_default();
        if signal == "*" {
            set(&mut self.messages, message..message + 1);
            set(&mut self.tags, tags);
            return Ok(());
        }
        let named = |tag: &TagIndex| {
            let known = plan.signal(*tag);
            known.name == signal || known.dbc_name == signal
        };
        let tag = tags.clone().find(named).ok_or(Unknown::Signal { message, name: signal.to_owned() })?;
        set(&mut self.tags, tag..tag + 1);
        Ok(())
    }

    fn add_area(&mut self, plan: &Plan, area: &str) -> Result<(), Unknown> {
        let inside =
            |of: &str| of.strip_prefix(area).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']));
        let mut found = false;
        for (message, of) in plan.messages.iter().enumerate() {
            let own = plan.message_overlays.get(&message).and_then(|overlay| overlay.area.as_deref());
            if own.is_some_and(inside) {
                found = true;
                // a signal of it may have another area of its own
                let whole = of.tags.clone().all(|tag| plan.area(tag).is_some_and(inside));
                if whole {
                    set(&mut self.messages, message..message + 1);
                }
            }
            for tag in of.tags.clone().filter(|tag| plan.area(*tag).is_some_and(inside)) {
                found = true;
                set(&mut self.tags, tag..tag + 1);
            }
        }
        if found && !area.is_empty() { Ok(()) } else { Err(Unknown::Area(area.to_owned())) }
    }

    /// Whether the whole subject belongs to it.
    fn has(&self, subject: Subject) -> bool {
        let is = |list: &[bool], index: usize| list.get(index).copied().unwrap_or(false);
        match subject {
            Subject::Machine => self.machine,
            Subject::Bus(bus) => is(&self.buses, bus),
            Subject::Message(message) => is(&self.messages, message),
            Subject::Tag(tag) => is(&self.tags, tag),
        }
    }

    /// Adds whatever holds something of it: who sees a signal finds the way to it.
    fn with_ways(mut self, plan: &Plan) -> Part {
        for (index, message) in plan.messages.iter().enumerate() {
            let some = self.tags.get(message.tags.clone()).is_some_and(|tags| tags.contains(&true));
            if some {
                set(&mut self.messages, index..index + 1);
            }
            if self.messages.get(index) == Some(&true) {
                set(&mut self.buses, message.bus..message.bus + 1);
            }
        }
        self.machine = true;
        self
    }
}

fn set(list: &mut [bool], range: std::ops::Range<usize>) {
    list.get_mut(range).unwrap_or_default().fill(true);
}

fn find_bus(plan: &Plan, name: &str) -> Result<BusIndex, Unknown> {
    plan.buses.iter().position(|bus| bus.name == name).ok_or(Unknown::Bus(name.to_owned()))
}

/// By long name, else by DBC name.
fn find_message(plan: &Plan, bus: BusIndex, name: &str) -> Option<MessageIndex> {
    let range = plan.buses.get(bus)?.messages.clone();
    let long = range.clone().find(|index| plan.messages.get(*index).is_some_and(|of| of.message.name == name));
    long.or_else(|| range.clone().find(|index| plan.messages.get(*index).is_some_and(|of| of.message.dbc_name == name)))
}

/// What one role is narrowed to; `None`: to nothing, it has all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    see: Option<Part>,
    write: Option<Part>,
}

/// The rights of all roles in one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    configs: Configs,
    /// By role.
    scopes: [Scope; Role::ALL.len()],
}

impl Rights {
    /// What names nothing in this plan gives nothing: `check` has told about it.
    pub fn new(configs: &Configs, plan: &Plan) -> Rights {
        let part = |list: &Option<Vec<String>>| {
            list.as_ref().map(|list| {
                let mut part = Part::nothing(plan);
                for text in list {
                    let _ = part.add(plan, text);
                }
                part
            })
        };
        let mut scopes: [Scope; Role::ALL.len()] = Default::default();
        for (scope, role) in scopes.iter_mut().zip(Role::ALL) {
            if let Some(config) = configs.get(&role) {
                *scope = Scope { see: part(&config.see).map(|see| see.with_ways(plan)), write: part(&config.write) };
            }
        }
        Rights { configs: configs.clone(), scopes }
    }

    /// Whether somebody with these roles may do this with that. The only place where this is decided on the network side; the
    /// controller has its own rules on top of it.
    pub fn may(&self, roles: Roles, operation: Operation, subject: Subject) -> bool {
        roles.iter().any(|role| self.role_may(role, operation, subject))
    }

    /// The same for one role.
    pub fn role_may(&self, role: Role, operation: Operation, subject: Subject) -> bool {
        if !role.grants(operation) {
            return false;
        }
        let Some(scope) = self.scopes.get(role as usize) else { return false };
        let within = |part: &Option<Part>| part.as_ref().is_none_or(|part| part.has(subject));
        within(&scope.see) && (!operation.changes_machine() || within(&scope.write))
    }

    /// Whether nothing is hidden from somebody with these roles: then nothing needs to be asked one by one.
    pub fn sees_all(&self, roles: Roles) -> bool {
        roles.iter().any(|role| self.scopes.get(role as usize).is_some_and(|scope| scope.see.is_none()))
    }

    /// The roles that somebody has.
    pub fn roles_of(&self, identity: Identity<'_>) -> Roles {
        roles_of(&self.configs, identity)
    }

    /// Whether the configuration says who has which role.
    pub fn are_given(&self) -> bool {
        are_given(&self.configs)
    }

    /// What is configured about roles.
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// Whether an application may have a role by itself: then users without a name are let in to be looked at.
    pub fn name_applications(&self) -> bool {
        self.configs.iter().any(|(role, config)| role.is_given() && !config.applications.is_empty())
    }
}
