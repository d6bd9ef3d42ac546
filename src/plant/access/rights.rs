//! Who may do what with what: the one question that every protocol asks, over the plan that holds now.

use super::role::{Configs, Identity, Operation, Role, Roles, are_given, roles_of};
use crate::command::Action;
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
    /// That, and whatever holds something of it.
    ways: Option<Part>,
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
                let see = part(&config.see).map(|see| Part { machine: true, ..see });
                let ways = see.clone().map(|see| see.with_ways(plan));
                *scope = Scope { see, ways, write: part(&config.write) };
            }
        }
        Rights { configs: configs.clone(), scopes }
    }

    /// Whether somebody with these roles may do this with that. The only place where this is decided on the network side; the
    /// controller has its own rules on top of it.
    pub fn may(&self, roles: Roles, operation: Operation, subject: Subject) -> bool {
        roles.iter().any(|role| self.role_may(role, operation, subject))
    }

    /// Whether somebody with these roles may have the controller do this.
    pub fn may_command(&self, roles: Roles, action: &Action, plan: &Plan) -> bool {
        let message = |tag: TagIndex| plan.tags.get(tag).map_or(Subject::Machine, |tag| Subject::Message(tag.message));
        let one = |operation, subject| self.may(roles, operation, subject);
        match action {
            Action::Set(writes) => writes.iter().all(|write| one(Operation::Write, Subject::Tag(write.tag))),
            Action::Send(writes) => writes.iter().all(|write| one(Operation::Send, message(write.tag))),
            // who may write some of it
            Action::Renew(tag) => {
                let of = plan.tags.get(*tag).and_then(|tag| plan.messages.get(tag.message));
                let is_writable = |tag: &TagIndex| plan.tags.get(*tag).is_some_and(|tag| tag.writable);
                let mut tags = of.map(|of| of.tags.clone()).unwrap_or_default().filter(is_writable);
                tags.any(|tag| one(Operation::Write, Subject::Tag(tag)))
            }
            Action::Force { tag, .. } | Action::Release(Some(tag)) => one(Operation::Force, Subject::Tag(*tag)),
            Action::Release(None) => one(Operation::Force, Subject::Machine),
            Action::Arm | Action::Disarm => one(Operation::Arm, Subject::Machine),
            Action::Fallback(of) | Action::ResetFallback(of) => {
                one(Operation::Fallback, of.map_or(Subject::Machine, Subject::Message))
            }
            Action::Restart(bus) => one(Operation::Switch, Subject::Bus(*bus)),
            Action::Route { route, .. } => {
                let to = plan.routes.get(*route).map_or(Subject::Machine, |route| Subject::Bus(route.to));
                one(Operation::Switch, to)
            }
            Action::Remote(_) | Action::Reload(_) | Action::CancelReload => one(Operation::Switch, Subject::Machine),
        }
    }

    /// The same for one role.
    pub fn role_may(&self, role: Role, operation: Operation, subject: Subject) -> bool {
        if !role.grants(operation) {
            return false;
        }
        let Some(scope) = self.scopes.get(role as usize) else { return false };
        let within = |part: &Option<Part>| part.as_ref().is_none_or(|part| part.has(subject));
        if operation.changes_machine() {
            // who sees a signal of a message does not send all of it
            within(&scope.see) && within(&scope.write)
        } else {
            within(&scope.ways)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoadOptions, Sources, load};
    use crate::plant::access::role::Config;

    const DBC: &str = r#"VERSION ""
BU_: ME ECU
BO_ 256 Oven: 8 ECU
 SG_ Temp : 0|16@1+ (1,0) [0|0] "" ME
 SG_ Door : 16|1@1+ (1,0) [0|0] "" ME
BO_ 512 Command: 8 ME
 SG_ Enable : 0|8@1+ (1,0) [0|0] "" ECU
 SG_ Speed : 8|8@1+ (1,0) [0|0] "" ECU
"#;
    const CONFIGURATION: &str = r#"
[bus.cell]
virtual = true
dbc = ["plant.dbc"]
[bus.line]
virtual = true
dbc = ["plant.dbc"]
node = "ME"
transmit = "all"
writable = "all"
overlay = ["names.csv"]
message.Command.cycle_ms = 100
"#;
    const AREAS: &str = "tag,area\nline.Command.Speed,Infeed.Left\nline.Oven,Infeed\nline.Oven.Door,Outfeed\n";

    fn plan() -> Plan {
        let mut sources = Sources::embedded("plant.toml", CONFIGURATION, &[("plant.dbc", DBC.as_bytes())]);
        let overlay = crate::config::SourceFile { name: "names.csv".into(), bytes: AREAS.into() };
        sources.overlay.push(overlay);
        load(&sources, LoadOptions::default()).unwrap_or_else(|mistakes| panic!("{mistakes:?}")).plan
    }

    fn subject(plan: &Plan, name: &str) -> Subject {
        let message = |message: usize| plan.message_name(message, None) == name;
        if name == "machine" {
            return Subject::Machine;
        }
        if let Some(bus) = plan.buses.iter().position(|bus| bus.name == name) {
            return Subject::Bus(bus);
        }
        match (0..plan.messages.len()).find(|index| message(*index)) {
            Some(index) => Subject::Message(index),
            None => Subject::Tag((0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == name).unwrap()),
        }
    }

    const SUBJECTS: [&str; 13] = [
        "machine",
        "cell",
        "cell.Oven",
        "cell.Oven.Temp",
        "cell.Command",
        "cell.Command.Speed",
        "line",
        "line.Oven",
        "line.Oven.Temp",
        "line.Oven.Door",
        "line.Command",
        "line.Command.Enable",
        "line.Command.Speed",
    ];

    /// A letter for each subject: it may be seen, it may be written too.
    #[track_caller]
    fn check(see: Option<&[&str]>, write: Option<&[&str]>, want: &str) {
        let plan = plan();
        let list = |list: Option<&[&str]>| list.map(|list| list.iter().map(|text| text.to_string()).collect());
        let config = Config { users: vec!["anna".into()], see: list(see), write: list(write), ..Config::default() };
        let rights = Rights::new(&Configs::from([(Role::Operator, config)]), &plan);
        let roles = rights.roles_of(Identity { name: Some("anna"), ..Identity::default() });
        let letter = |name: &&str| {
            let subject = subject(&plan, name);
            let may = |operation| rights.may(roles, operation, subject);
            assert!(!may(Operation::Force), "an Operator forces nothing");
            assert_eq!(may(Operation::Arm), may(Operation::Write));
            match (may(Operation::See), may(Operation::Write)) {
                (false, false) => '-',
                (true, false) => 's',
                (true, true) => 'w',
                (false, true) => panic!("{name} may be written and not seen"),
            }
        };
        let found: String = SUBJECTS.iter().map(letter).collect();
        assert_eq!(found, want, "{see:?} {write:?}");
        assert_eq!(rights.sees_all(roles), see.is_none());
    }

    #[test]
    fn what_a_role_is_narrowed_to() {
        check(None, None, "wwwwwwwwwwwww");
        check(Some(&[]), None, "w------------");
        check(Some(&["bus:line"]), None, "w-----wwwwwww");
        // the way to what is seen is seen, and may not be written as a whole
        check(Some(&["line.Command.Speed"]), None, "w-----s---s-w");
        check(None, Some(&[]), "sssssssssssss");
        check(None, Some(&["machine"]), "wssssssssssss");
        check(None, Some(&["line.Command.Speed"]), "ssssssssssssw");
        check(None, Some(&["line.Command"]), "sssssssssswww");
        check(None, Some(&["line.Command.*", "bus:cell"]), "swwwwwsssswww");
        // the areas below it too, and not a signal that has another one
        check(None, Some(&["area:Infeed"]), "sssssssswsssw");
        check(None, Some(&["area:Infeed.Left"]), "ssssssssssssw");
        check(Some(&["area:Infeed"]), Some(&["bus:line"]), "s-----ssw-s-w");
        check(Some(&["bus:cell"]), Some(&["bus:line"]), "ssssss-------");
    }

    #[test]
    fn several_roles_are_more_than_one() {
        let plan = plan();
        let config = |see: &str| Config { see: Some(vec![see.into()]), ..Config::default() };
        let configs = Configs::from([(Role::Observer, config("bus:line")), (Role::Engineer, config("bus:cell"))]);
        let rights = Rights::new(&configs, &plan);
        let both = Roles::of(&[Role::Observer, Role::Engineer]);
        for (operation, name, want) in [
            (Operation::See, "line.Command.Speed", true),
            (Operation::Write, "line.Command.Speed", false),
            (Operation::Write, "cell.Command.Speed", true),
            (Operation::Diagnose, "machine", false),
        ] {
            assert_eq!(rights.may(both, operation, subject(&plan, name)), want, "{operation:?} {name}");
        }
        assert!(!rights.may(Roles::NONE, Operation::See, Subject::Machine));
    }
}
