//! What of the standard's nodes this server has, so that what is browsed is true; and the nodes that it adds.

use std::collections::{HashMap, HashSet};

use opcua::types::{DateTime, NodeClass, ObjectId, ObjectTypeId, VariableTypeId, Variant, VariantScalarTypeId};

use super::HAS_TYPE_DEFINITION;
use super::load::{Draft, HAS_MODELLING_RULE, Id};
use crate::plant::access::Role;
use crate::plant::opcua::space::permission::role_node;
use crate::plant::opcua::space::{NAMESPACE, array};

const ORGANIZES: u32 = 35;
const HAS_PROPERTY: u32 = 46;
const HAS_COMPONENT: u32 = 47;
/// What a node hangs from its parent by: Organizes, HasProperty, HasComponent, HasOrderedComponent, HasHistoricalConfiguration.
const PARENTS: [u32; 5] = [ORGANIZES, HAS_PROPERTY, HAS_COMPONENT, 49, 56];

/// Optional nodes that this server does not serve; what hangs from them goes too.
const ABSENT: [u32; 35] = [
    23488, // Aliases.Topics
    32852, // Aliases.LastChange
    31915, // Locations
    32637, // DefaultHAConfiguration
    32754, // DefaultHEConfiguration
    32530, // Quantities
    12885, // EstimatedReturnTime
    17634, // LocalTime
    17594, // Dictionaries
    14443, // PublishSubscribe
    12886, // RequestServerStateChange
    12749, // SetSubscriptionDurable
    24226, // Resources
    12637, // ServerConfiguration
    24290, // UserManagement
    24101, // ServerCapabilities.ConformanceUnits
    15692, // Supervisor, and other roles that nobody has here
    15716, // ConfigureAdmin
    18625, // TrustedApplication
    25565, // SecurityKeyServerAdmin
    25584, // SecurityKeyServerPush
    25603, // SecurityKeyServerAccess
    12166, // OperationLimits.MaxNodesPerHistoryReadEvents
    12167, // MaxNodesPerHistoryUpdateData
    12168, // MaxNodesPerHistoryUpdateEvents
    11713, // MaxNodesPerNodeManagement
    2289,  // ServerDiagnostics.SamplingIntervalDiagnosticsArray
    11313, // ServerRedundancy.RedundantServerArray
    19091, // HistoryServerCapabilities.ServerTimestampSupported
    16134, // http://opcfoundation.org/UA/.DefaultRolePermissions
    16135, // DefaultUserRolePermissions
    16136, // DefaultAccessRestrictions
    32408, // ModelVersion
    92,    // XML Schema: dictionaries that DataTypeDefinition has replaced
    93,    // OPC Binary
];

/// Methods that can be called: of Server (OPC 10000-5, 9.1 and 9.2), FindAlias (OPC 10000-17, 6.3.2), and those of condition types, which are called at an
/// instance (OPC 10000-9, 5.5.4).
const METHODS: [u32; 14] = [11492, 12873, 23476, 23485, 3875, 12912, 9027, 9028, 9029, 9111, 9113, 9211, 9212, 9213];

/// NamespaceMetadata of the namespaces that are not the standard's (OPC 10000-5, 6.3.13).
pub(super) fn namespaces(own_uri: &str, plant_uri: &str) -> Vec<Draft> {
    let described = [(1, own_uri), (NAMESPACE, plant_uri)];
    described.into_iter().flat_map(|(index, uri)| namespace(index, uri)).collect()
}

fn namespace(index: u16, uri: &str) -> Vec<Draft> {
    let object = Draft {
        name: (index, uri.into()),
        references: vec![
            (HAS_TYPE_DEFINITION, Id::Number(0, 11616), true),
            (HAS_COMPONENT, Id::Number(0, ObjectId::Server_Namespaces as u32), false),
        ],
        ..own(uri.into(), NodeClass::Object)
    };
    let empty = |kind| array(kind, Vec::new());
    let property = |name: &str, data_type: u32, value: Variant| {
        let array = value.is_array();
        Draft {
            name: (0, name.into()),
            level: 1,
            data_type,
            value_rank: if array { 1 } else { -1 },
            dimensions: if array { Variant::from(vec![0_u32]) } else { Variant::Empty },
            value,
            references: vec![
                (HAS_TYPE_DEFINITION, Id::Number(0, VariableTypeId::PropertyType as u32), true),
                (HAS_PROPERTY, Id::Text(uri.into()), false),
            ],
            ..own(format!("{uri}.{name}"), NodeClass::Variable)
        }
    };
    // nothing in them is the same in another server: no static ids
    let mut all = vec![
        object,
        property("NamespaceUri", 12, Variant::from(uri)),
        property("NamespaceVersion", 12, Variant::from(env!("CARGO_PKG_VERSION"))),
        property("NamespacePublicationDate", 13, Variant::from(DateTime::ymd(2026, 1, 1))),
        property("IsNamespaceSubset", 1, Variant::from(false)),
        property("StaticNodeIdTypes", 256, empty(VariantScalarTypeId::Int32)),
        property("StaticNumericNodeIdRange", 291, empty(VariantScalarTypeId::String)),
        property("StaticStringNodeIdPattern", 12, Variant::from("")),
    ];
    if index == NAMESPACE {
        // their values are found where they are read: they depend on who does
        all.push(property("DefaultRolePermissions", 96, empty(VariantScalarTypeId::ExtensionObject)));
        all.push(property("DefaultUserRolePermissions", 96, empty(VariantScalarTypeId::ExtensionObject)));
        all.push(property("DefaultAccessRestrictions", 95, Variant::UInt16(0)));
    }
    all
}

/// A node of namespace 1.
pub(super) fn own(id: String, class: NodeClass) -> Draft {
    Draft {
        id: Id::Text(id),
        class,
        level: 0,
        is_abstract: false,
        symmetric: false,
        name: (0, String::new()),
        display_name: String::new(),
        description: String::new(),
        inverse_name: String::new(),
        data_type: 0,
        value_rank: -1,
        dimensions: Variant::Empty,
        value: Variant::Empty,
        definition: None,
        references: Vec::new(),
    }
}

pub(super) fn prune(drafts: &mut Vec<Draft>) {
    let gone = gone(drafts);
    drafts.retain(|draft| !gone.contains(&draft.id));
    // all rules can be browsed from their folder (OPC 10000-5, 8.2.5)
    let rule = (HAS_TYPE_DEFINITION, Id::Number(0, ObjectTypeId::ModellingRuleType as u32), true);
    for draft in drafts.iter_mut().filter(|draft| draft.references.contains(&rule)) {
        let folder = Id::Number(0, ObjectId::Server_ServerCapabilities_ModellingRules as u32);
        draft.references.push((ORGANIZES, folder, false));
    }
    let reached = reached(drafts);
    drafts.retain(|draft| reached.contains(&draft.id));
    for draft in drafts {
        if draft.display_name.is_empty() {
            draft.display_name.clone_from(&draft.name.1);
        }
        match draft.id {
            Id::Number(0, number) if METHODS.contains(&number) => draft.level = 1,
            // SubscribeToEvents: all events of this server come from here
            Id::Number(0, number) if number == ObjectId::Server as u32 => draft.level = 1,
            _ => {}
        }
    }
}

/// What is absent, and all that has no other parent.
fn gone(drafts: &[Draft]) -> HashSet<Id> {
    let mut children: HashMap<&Id, Vec<&Id>> = HashMap::new();
    let mut parents: HashMap<&Id, HashSet<&Id>> = HashMap::new();
    for draft in drafts {
        for (kind, other, forward) in &draft.references {
            if PARENTS.contains(kind) {
                let (parent, child) = if *forward { (&draft.id, other) } else { (other, &draft.id) };
                children.entry(parent).or_default().push(child);
                parents.entry(child).or_default().insert(parent);
            }
        }
    }
    let mut gone: HashSet<Id> = ABSENT.into_iter().map(|number| Id::Number(0, number)).collect();
    gone.extend(of_roles(drafts));
    let mut open: Vec<Id> = gone.iter().cloned().collect();
    while let Some(id) = open.pop() {
        for child in children.get(&id).map_or(&[][..], Vec::as_slice) {
            let orphan = parents.get(child).is_none_or(|parents| parents.iter().all(|parent| gone.contains(*parent)));
            if orphan && gone.insert((*child).clone()) {
                open.push((*child).clone());
            }
        }
    }
    gone
}

/// Members of roles that say what can't be here: endpoints, configuration by a tool (OPC 10000-18, 4.4.1: all optional).
fn of_roles(drafts: &[Draft]) -> Vec<Id> {
    const MEMBERS: [&str; 6] =
        ["Endpoints", "EndpointsExclude", "CustomConfiguration", "AddEndpoint", "RemoveEndpoint", "AddApplication"];
    let roles: Vec<Id> = Role::ALL.into_iter().map(|role| Id::Number(0, role_node(role) as u32)).collect();
    let is = |draft: &&Draft| {
        let named = MEMBERS.contains(&draft.name.1.as_str()) || draft.name.1 == "RemoveApplication";
        let below = |(_, other, forward): &(u32, Id, bool)| !*forward && roles.contains(other);
        named && draft.references.iter().any(below)
    };
    drafts.iter().filter(is).map(|draft| draft.id.clone()).collect()
}

/// What can be come to from Root: the standard has some nodes that hang nowhere, for servers to use or not.
fn reached(drafts: &[Draft]) -> HashSet<Id> {
    let mut next: HashMap<&Id, Vec<&Id>> = HashMap::new();
    for draft in drafts {
        for (kind, other, forward) in &draft.references {
            let (from, to) = if *forward { (&draft.id, other) } else { (other, &draft.id) };
            next.entry(from).or_default().push(to);
            if *kind != HAS_TYPE_DEFINITION && *kind != HAS_MODELLING_RULE {
                next.entry(to).or_default().push(from);
            }
        }
    }
    let root = Id::Number(0, ObjectId::RootFolder as u32);
    let mut reached = HashSet::from([root.clone()]);
    let mut open = vec![&root];
    while let Some(id) = open.pop() {
        for other in next.get(id).map_or(&[][..], Vec::as_slice) {
            if !reached.contains(*other) {
                reached.insert((*other).clone());
                open.push(other);
            }
        }
    }
    reached
}
