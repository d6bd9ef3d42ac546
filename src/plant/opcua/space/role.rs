//! The RoleSet (OPC 10000-18, 4.3 and 4.4): who has which role, for who may see it. It is the configuration's, and read only.

use opcua::types::{IdentityCriteriaType, IdentityMappingRuleType, VariableId, Variant};

use super::server::objects;
use crate::plant::access::Role;
use crate::plant::access::role::{Config, Configs};

/// What a property of a role tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Identities,
    Applications,
    ApplicationsExclude,
}

/// The property of a role behind a number of namespace 0.
fn find(number: u32) -> Option<(Role, Told)> {
    use VariableId as V;
    let all = [
        (
            Role::Anonymous,
            V::WellKnownRole_Anonymous_Identities,
            V::WellKnownRole_Anonymous_Applications,
            V::WellKnownRole_Anonymous_ApplicationsExclude,
        ),
        (
            Role::AuthenticatedUser,
            V::WellKnownRole_AuthenticatedUser_Identities,
            V::WellKnownRole_AuthenticatedUser_Applications,
            V::WellKnownRole_AuthenticatedUser_ApplicationsExclude,
        ),
        (
            Role::Observer,
            V::WellKnownRole_Observer_Identities,
            V::WellKnownRole_Observer_Applications,
            V::WellKnownRole_Observer_ApplicationsExclude,
        ),
        (
            Role::Operator,
            V::WellKnownRole_Operator_Identities,
            V::WellKnownRole_Operator_Applications,
            V::WellKnownRole_Operator_ApplicationsExclude,
        ),
        (
            Role::Engineer,
            V::WellKnownRole_Engineer_Identities,
            V::WellKnownRole_Engineer_Applications,
            V::WellKnownRole_Engineer_ApplicationsExclude,
        ),
        (
            Role::SecurityAdmin,
            V::WellKnownRole_SecurityAdmin_Identities,
            V::WellKnownRole_SecurityAdmin_Applications,
            V::WellKnownRole_SecurityAdmin_ApplicationsExclude,
        ),
    ];
    all.into_iter().find_map(|(role, identities, applications, exclude)| {
        let told =
            [(identities, Told::Identities), (applications, Told::Applications), (exclude, Told::ApplicationsExclude)];
        told.into_iter().find(|(id, _)| *id as u32 == number).map(|(_, told)| (role, told))
    })
}

/// Whether a variable of namespace 0 tells who has a role.
pub fn is_role(number: u32) -> bool {
    find(number).is_some()
}

/// Its value.
pub fn value(number: u32, configs: &Configs) -> Option<Variant> {
    let (role, told) = find(number)?;
    Some(match told {
        Told::Identities => objects(identities(role, configs.get(&role))),
        // none is excluded: an application has a role by a rule of its own, and needs none to have one by its user
        Told::Applications => Variant::from(Vec::<String>::new()),
        Told::ApplicationsExclude => Variant::Boolean(true),
    })
}

/// The rules by which a session has a role (OPC 10000-18, 4.4.3).
fn identities(role: Role, config: Option<&Config>) -> Vec<IdentityMappingRuleType> {
    let rule = |criteria_type, criteria: &str| IdentityMappingRuleType { criteria_type, criteria: criteria.into() };
    match role {
        Role::Anonymous => return vec![rule(IdentityCriteriaType::Anonymous, "")],
        Role::AuthenticatedUser => return vec![rule(IdentityCriteriaType::AuthenticatedUser, "")],
        Role::Observer | Role::Operator | Role::Engineer | Role::SecurityAdmin => {}
    }
    let Some(config) = config else { return Vec::new() };
    let users = config.users.iter().map(|name| rule(IdentityCriteriaType::UserName, name));
    let certificates = config.certificates.iter().map(|thumbprint| {
        let digits: String = thumbprint.chars().filter(char::is_ascii_hexdigit).collect();
        rule(IdentityCriteriaType::Thumbprint, &digits.to_ascii_uppercase())
    });
    let applications = config.applications.iter().map(|uri| rule(IdentityCriteriaType::Application, uri));
    users.chain(certificates).chain(applications).collect()
}
