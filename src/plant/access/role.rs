//! Roles (OPC 10000-18, 4.2): the well-known ones that this service has, what each may do by itself, and who has which.

use std::collections::BTreeMap;

/// A role. What somebody may do is what at least one of its roles may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Who has shown nothing.
    Anonymous,
    /// Who has logged in and was given no other role.
    AuthenticatedUser,
    Observer,
    Operator,
    Engineer,
    SecurityAdmin,
}

/// What somebody wants to do. Every protocol asks with one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// That it is there: browse, and read what never changes.
    See,
    /// Read values, subscribe to them.
    Read,
    /// Read older values.
    History,
    /// Be told of alarms and of other events of the machine.
    Events,
    /// Write a signal.
    Write,
    /// Send a message.
    Send,
    /// Arm and disarm the outputs.
    Arm,
    /// Acknowledge, confirm, comment and shelve alarms.
    Alarm,
    /// Enable and disable alarms.
    AlarmEnable,
    /// Take outputs to their fallback values, and back.
    Fallback,
    /// Force values, and release them.
    Force,
    /// Switch routes, restart buses, Local and Remote.
    Switch,
    /// See what other users do: diagnostics of their sessions.
    Diagnose,
    /// See who has which role, and what each may do.
    SeeRoles,
    /// Be told of logins, writes and refusals of others: audit events.
    Audit,
}

impl Operation {
    pub const ALL: [Operation; 15] = [
        Operation::See,
        Operation::Read,
        Operation::History,
        Operation::Events,
        Operation::Write,
        Operation::Send,
        Operation::Arm,
        Operation::Alarm,
        Operation::AlarmEnable,
        Operation::Fallback,
        Operation::Force,
        Operation::Switch,
        Operation::Diagnose,
        Operation::SeeRoles,
        Operation::Audit,
    ];

    /// Whether it changes what the machine does: what `write` of a role narrows.
    pub fn changes_machine(self) -> bool {
        match self {
            Operation::Write
            | Operation::Send
            | Operation::Arm
            | Operation::Fallback
            | Operation::Force
            | Operation::Switch => true,
            Operation::See
            | Operation::Read
            | Operation::History
            | Operation::Events
            | Operation::Alarm
            | Operation::AlarmEnable
            | Operation::Diagnose
            | Operation::SeeRoles
            | Operation::Audit => false,
        }
    }
}

impl Role {
    pub const ALL: [Role; 6] =
        [Role::Anonymous, Role::AuthenticatedUser, Role::Observer, Role::Operator, Role::Engineer, Role::SecurityAdmin];

    /// As the standard and the configuration write it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Anonymous => "Anonymous",
            Role::AuthenticatedUser => "AuthenticatedUser",
            Role::Observer => "Observer",
            Role::Operator => "Operator",
            Role::Engineer => "Engineer",
            Role::SecurityAdmin => "SecurityAdmin",
        }
    }

    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether the configuration may say who has it. The others follow from how somebody has logged in.
    pub fn is_given(self) -> bool {
        !matches!(self, Role::Anonymous | Role::AuthenticatedUser)
    }

    /// What the role may do where nothing narrows it (OPC 10000-3, 4.9.2).
    pub fn grants(self, operation: Operation) -> bool {
        use Role::{Engineer, Operator, SecurityAdmin};
        match operation {
            Operation::See | Operation::Read => true,
            Operation::History | Operation::Events => self != SecurityAdmin,
            Operation::Write | Operation::Send | Operation::Arm | Operation::Alarm => {
                matches!(self, Operator | Engineer)
            }
            Operation::AlarmEnable | Operation::Fallback | Operation::Force | Operation::Switch => self == Engineer,
            Operation::Diagnose | Operation::SeeRoles | Operation::Audit => self == SecurityAdmin,
        }
    }

    /// Whether it may change anything of the machine.
    pub fn changes_machine(self) -> bool {
        Operation::ALL.into_iter().any(|operation| operation.changes_machine() && self.grants(operation))
    }
}

/// The roles that somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    pub const NONE: Roles = Roles(0);

    pub fn of(roles: &[Role]) -> Roles {
        roles.iter().fold(Roles::NONE, |all, role| all.with(*role))
    }

    pub fn with(self, role: Role) -> Roles {
        Roles(self.0 | 1 << role as u8)
    }

    pub fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        formatter.write_str(&names.join(","))
    }
}

/// `[role.NAME]`. Concerns the network side only: no part of the plan or its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names of the password file, or the common names of user certificates; `*` stands for anything.
    pub users: Vec<String>,
    /// Thumbprints of user certificates, hexadecimal.
    pub certificates: Vec<String>,
    /// ApplicationUris of clients whose certificate is trusted, with or without a user.
    pub applications: Vec<String>,
    /// What the role may change of the machine, of what it may change at all; `None`: everything.
    pub write: Option<Vec<String>>,
    /// What the role sees; `None`: everything.
    pub see: Option<Vec<String>>,
}

/// All that is said about roles.
pub type Configs = BTreeMap<Role, Config>;

/// What somebody has shown of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The name that was logged in by; `None`: none.
    pub name: Option<&'a str>,
    /// SHA-1 of the certificate that was logged in by.
    pub certificate: Option<[u8; 20]>,
    /// ApplicationUri of a client whose certificate was checked.
    pub application: Option<&'a str>,
}

/// Whether roles are given at all. Where they are not, whoever logs in may do everything.
pub fn are_given(configs: &Configs) -> bool {
    configs.keys().any(|role| *role != Role::Anonymous)
}

/// The roles that somebody has.
///
/// AuthenticatedUser and Anonymous are what is left where nothing else was given (OPC 10000-3, 4.9.2): otherwise they would
/// show everybody what another role hides.
pub fn roles_of(configs: &Configs, identity: Identity<'_>) -> Roles {
    let given = configs.iter().filter(|(role, config)| role.is_given() && matches(config, identity));
    let given = given.fold(Roles::NONE, |all, (role, _)| all.with(*role));
    match identity.name {
        _ if !given.is_empty() => given,
        Some(_) if are_given(configs) => Roles::of(&[Role::AuthenticatedUser]),
        Some(_) => Roles::of(&[Role::Engineer, Role::SecurityAdmin]),
        None => Roles::of(&[Role::Anonymous]),
    }
}

fn matches(config: &Config, identity: Identity<'_>) -> bool {
    let name = identity.name.is_some_and(|name| config.users.iter().any(|pattern| fits(pattern, name)));
    let certificate = identity
        .certificate
        .is_some_and(|shown| config.certificates.iter().any(|text| thumbprint(text) == Some(shown)));
    let application = identity.application.is_some_and(|uri| config.applications.iter().any(|known| known == uri));
    name || certificate || application
}

/// Whether a name is what a pattern says; `*` stands for any number of characters.
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    // the last part ends the name, the others are found as early as they can be
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = left.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(tail)
}

/// The bytes of a thumbprint as people write it: hexadecimal digits, with or without colons and spaces.
pub fn thumbprint(text: &str) -> Option<[u8; 20]> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|character| !matches!(character, ':' | ' '))
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let bytes: Option<Vec<u8>> = digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_may_do() {
        // a column for each role: Anonymous, AuthenticatedUser, Observer, Operator, Engineer, SecurityAdmin
        for (operation, want) in [
            (Operation::See, "+ + + + + +"),
            (Operation::Read, "+ + + + + +"),
            (Operation::History, "+ + + + + -"),
            (Operation::Events, "+ + + + + -"),
            (Operation::Write, "- - - + + -"),
            (Operation::Send, "- - - + + -"),
            (Operation::Arm, "- - - + + -"),
            (Operation::Alarm, "- - - + + -"),
            (Operation::AlarmEnable, "- - - - + -"),
            (Operation::Fallback, "- - - - + -"),
            (Operation::Force, "- - - - + -"),
            (Operation::Switch, "- - - - + -"),
            (Operation::Diagnose, "- - - - - +"),
            (Operation::SeeRoles, "- - - - - +"),
            (Operation::Audit, "- - - - - +"),
        ] {
            let found = Role::ALL.map(|role| if role.grants(operation) { "+" } else { "-" }).join(" ");
            assert_eq!(found, want, "{operation:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("anna", "anna", true),
            ("anna", "Anna", false),
            ("anna", "annabel", false),
            ("shift-*", "shift-3", true),
            ("shift-*", "shift", false),
            ("*", "", true),
            ("*-night", "shift-night", true),
            ("s*-*t", "shift-night", true),
            ("s*x*t", "shift-night", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn thumbprints() {
        let mut want = [0; 20];
        want[0] = 0x5f;
        want[19] = 0xa3;
        let plain = format!("5f{}A3", "0".repeat(36));
        let colons = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
        assert_eq!(thumbprint(&plain), Some(want));
        assert_eq!(thumbprint(&colons.join(":")), Some(want));
        for wrong in ["", "5f", &plain[1..], "x", &format!("{plain}00"), &plain.replace('5', "g")] {
            assert_eq!(thumbprint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_has_which_role() {
        let config = |users: &[&str], certificate: Option<u8>, applications: &[&str]| Config {
            users: users.iter().map(|name| name.to_string()).collect(),
            certificates: certificate.map(|byte| format!("{byte:02x}").repeat(20)).into_iter().collect(),
            applications: applications.iter().map(|name| name.to_string()).collect(),
            ..Config::default()
        };
        let given = Configs::from([
            (Role::Operator, config(&["anna", "shift-*"], None, &["urn:scada"])),
            (Role::Engineer, config(&["anna"], Some(0x11), &[])),
        ]);
        let anonymous_only = Configs::from([(Role::Anonymous, Config::default())]);
        let none = Configs::new();
        let who = |name, certificate: Option<u8>, application| Identity {
            name,
            certificate: certificate.map(|byte| [byte; 20]),
            application,
        };
        for (configs, identity, want) in [
            (&given, who(Some("anna"), None, None), "Operator,Engineer"),
            (&given, who(Some("shift-2"), None, None), "Operator"),
            (&given, who(Some("bert"), None, None), "AuthenticatedUser"),
            (&given, who(Some("bert"), Some(0x11), None), "Engineer"),
            (&given, who(Some("bert"), Some(0x12), None), "AuthenticatedUser"),
            (&given, who(Some("bert"), None, Some("urn:scada")), "Operator"),
            (&given, who(None, None, Some("urn:scada")), "Operator"),
            (&given, who(None, None, Some("urn:other")), "Anonymous"),
            (&given, who(None, None, None), "Anonymous"),
            (&none, who(Some("anna"), None, None), "Engineer,SecurityAdmin"),
            (&none, who(None, None, Some("urn:scada")), "Anonymous"),
            (&anonymous_only, who(Some("anna"), None, None), "Engineer,SecurityAdmin"),
        ] {
            assert_eq!(roles_of(configs, identity).to_string(), want, "{identity:?}");
        }
    }
}
