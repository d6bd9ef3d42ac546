//! Who may do what with a node (OPC 10000-3, 4.9): the plant's rights, put to nodes, and the attributes that tell of them.

use opcua::types::{
    ExtensionObject, NodeClass, NodeId, ObjectId, PermissionType, RolePermissionType, StatusCode, Variant,
    VariantScalarTypeId,
};

use super::condition;
use super::server::ServerObject;
use super::{NAMESPACE_URI, Node, Space, array, method, model};
use crate::plant::access::{Operation, Rights, Role, Subject};
use crate::plant::opcua::session::User;
use crate::plant::opcua::wire::NodeRef;

/// The node that stands for a role.
pub fn role_node(role: Role) -> ObjectId {
    match role {
        Role::Anonymous => ObjectId::WellKnownRole_Anonymous,
        Role::AuthenticatedUser => ObjectId::WellKnownRole_AuthenticatedUser,
        Role::Observer => ObjectId::WellKnownRole_Observer,
        Role::Operator => ObjectId::WellKnownRole_Operator,
        Role::Engineer => ObjectId::WellKnownRole_Engineer,
        Role::SecurityAdmin => ObjectId::WellKnownRole_SecurityAdmin,
    }
}

impl Space {
    /// What of the plant a node is about.
    pub fn subject(&self, node: Node) -> Subject {
        match node {
            Node::Root | Node::Machine | Node::State(_) => Subject::Machine,
            Node::Standard(_) | Node::Session(_) | Node::Diagnostic(..) => Subject::Machine,
            Node::Bus(bus) => Subject::Bus(bus),
            Node::Message(message, _) | Node::Fact(message, ..) => Subject::Message(message),
            Node::Signal(tag, _) | Node::Property(tag, ..) => Subject::Tag(tag),
            Node::Model(part) => model::subject(self, part),
            Node::Condition(part) => condition::subject(self, part),
            Node::Method(part) => method::subject(self, part),
            Node::Version(part) => self.subject(part.node()),
        }
    }

    /// Whether this user may do this with that: the one question of all services.
    pub fn may(&self, user: &User, operation: Operation, node: Node) -> bool {
        self.any(node, |subject| self.rights.may(user.roles, operation, subject))
    }

    /// Asks about what a node is about; a device and its type are about several messages, an alarm about all that it tells of.
    fn any(&self, node: Node, ask: impl Fn(Subject) -> bool) -> bool {
        let node = if let Node::Version(part) = node { part.node() } else { node };
        match node {
            Node::Model(part) => model::any(self, part, ask),
            Node::Condition(part) => condition::subjects(self, part).into_iter().all(ask),
            _ => ask(self.subject(node)),
        }
    }

    /// Whether a node is there at all for this user.
    pub fn sees(&self, user: &User, node: Node) -> bool {
        self.rights.sees_all(user.roles) || self.may(user, Operation::See, node)
    }

    /// Whether this user may read the value.
    pub fn may_read(&self, user: &User, node: Node) -> bool {
        self.may(user, self.reading(node), node)
    }

    /// What reading the value is.
    pub fn reading(&self, node: Node) -> Operation {
        match node {
            Node::Diagnostic(..) => Operation::Diagnose,
            Node::Standard(row) => {
                let number = self.standard.entry(row).and_then(|entry| entry.id().standard());
                number.map_or(Operation::Read, ServerObject::reading)
            }
            _ => Operation::Read,
        }
    }

    /// What writing the value is.
    pub fn writing(node: Node) -> Operation {
        match node {
            Node::State(_) => Operation::Arm,
            _ => Operation::Write,
        }
    }

    /// What a role may do with a node, as the standard's bits (OPC 10000-3, 8.55).
    fn permissions(&self, role: Role, node: Node) -> PermissionType {
        let may = |operation| self.any(node, |subject| self.rights.role_may(role, operation, subject));
        let bit = |bit: PermissionType, on: bool| if on { bit } else { PermissionType::empty() };
        let sees = may(Operation::See);
        let level = if self.class(node) == NodeClass::Variable { self.access_level(node) } else { 0 };
        let call = self.calling(node);
        bit(PermissionType::Browse, sees)
            | bit(PermissionType::ReadRolePermissions, may(Operation::SeeRoles))
            | bit(PermissionType::Read, level & 1 != 0 && may(self.reading(node)))
            | bit(PermissionType::Write, level & 2 != 0 && may(Self::writing(node)))
            | bit(PermissionType::ReadHistory, level & 4 != 0 && may(Operation::History))
            | bit(PermissionType::ReceiveEvents, may(Operation::Events))
            | bit(
                PermissionType::Call,
                call.is_some_and(|operation| match node {
                    // what it is about an argument names
                    Node::Method(part) if method::names_its_subject(part) => role.grants(operation),
                    _ => may(operation),
                }),
            )
    }

    /// What calling a method is; `None`: it is none, or nobody may call it.
    pub fn calling(&self, node: Node) -> Option<Operation> {
        match node {
            Node::Method(part) => method::operation(self, part),
            Node::Condition(part) => condition::operation(self, part),
            Node::Standard(row) => {
                let entry = self.standard.entry(row)?;
                let is = entry.class() == NodeClass::Method && entry.level() == 1;
                is.then_some(Operation::Read)
            }
            _ => None,
        }
    }

    /// RolePermissions: of all roles, for who may see them; UserRolePermissions: of the user's own (5.2.9 and 5.2.10).
    pub fn role_permissions(&self, node: Node, user: &User, own: bool) -> Result<Variant, StatusCode> {
        if !own && !self.may(user, Operation::SeeRoles, node) {
            return Err(StatusCode::BadUserAccessDenied);
        }
        let roles = Role::ALL.into_iter().filter(|role| !own || user.roles.has(*role));
        Ok(described(roles.map(|role| (role, self.permissions(role, node)))))
    }
}

/// Whether a NodeId is that of such a property of the plant's namespace, and whether of the user's own roles.
pub fn default_of(id: NodeRef<'_>) -> Option<bool> {
    let NodeRef::String(1, text) = id else { return None };
    match text.strip_prefix(NAMESPACE_URI)?.strip_prefix('.')? {
        "DefaultRolePermissions" => Some(false),
        "DefaultUserRolePermissions" => Some(true),
        _ => None,
    }
}

/// What roles may do in the plant's namespace where no node says otherwise (OPC 10000-5, 6.3.13).
pub fn default_permissions(rights: &Rights, user: &User, own: bool) -> Result<Variant, StatusCode> {
    if !own && !rights.may(user.roles, Operation::SeeRoles, Subject::Machine) {
        return Err(StatusCode::BadUserAccessDenied);
    }
    let bit = |bit: PermissionType, on: bool| if on { bit } else { PermissionType::empty() };
    let roles = Role::ALL.into_iter().filter(|role| !own || user.roles.has(*role));
    Ok(described(roles.map(|role| {
        let permissions = bit(PermissionType::Browse, role.grants(Operation::See))
            | bit(PermissionType::ReadRolePermissions, role.grants(Operation::SeeRoles))
            | bit(PermissionType::Read, role.grants(Operation::Read))
            | bit(PermissionType::Write, role.grants(Operation::Write))
            | bit(PermissionType::ReadHistory, role.grants(Operation::History))
            | bit(PermissionType::ReceiveEvents, role.grants(Operation::Events))
            | bit(PermissionType::Call, role.grants(Operation::Arm));
        (role, permissions)
    })))
}

fn described(all: impl Iterator<Item = (Role, PermissionType)>) -> Variant {
    let object = |(role, permissions): (Role, PermissionType)| {
        let role_id = NodeId::new(0, role_node(role) as u32);
        Variant::from(ExtensionObject::from_message(RolePermissionType { role_id, permissions }))
    };
    array(VariantScalarTypeId::ExtensionObject, all.map(object).collect())
}
