//! What the structures of a session's diagnostics are made of: a variable for each field (OPC 10000-5, 7.11 and 7.12).

use opcua::types::{
    DataTypeId as Kind, SessionDiagnosticsDataType, SessionSecurityDiagnosticsDataType, UAString, Variant,
    VariantScalarTypeId,
};

use crate::plant::opcua::space::array;
use crate::plant::opcua::space::server::object;

/// A field of a structure: its name, what it is, and how it is found there.
pub struct Field<T> {
    pub name: &'static str,
    pub data_type: Kind,
    pub is_array: bool,
    pub value: fn(&T) -> Variant,
}

const fn one<T>(name: &'static str, data_type: Kind, value: fn(&T) -> Variant) -> Field<T> {
    Field { name, data_type, is_array: false, value }
}

const fn list<T>(name: &'static str, data_type: Kind, value: fn(&T) -> Variant) -> Field<T> {
    Field { name, data_type, is_array: true, value }
}

fn texts(texts: &Option<Vec<UAString>>) -> Variant {
    array(VariantScalarTypeId::String, texts.iter().flatten().cloned().map(Variant::from).collect())
}

/// Those of SessionDiagnosticsDataType, sorted by name.
pub const SESSION: [Field<SessionDiagnosticsDataType>; 43] = [
    one("ActualSessionTimeout", Kind::Duration, |all| Variant::Double(all.actual_session_timeout)),
    one("AddNodesCount", Kind::ServiceCounterDataType, |all| object(all.add_nodes_count.clone())),
    one("AddReferencesCount", Kind::ServiceCounterDataType, |all| object(all.add_references_count.clone())),
    one("BrowseCount", Kind::ServiceCounterDataType, |all| object(all.browse_count.clone())),
    one("BrowseNextCount", Kind::ServiceCounterDataType, |all| object(all.browse_next_count.clone())),
    one("CallCount", Kind::ServiceCounterDataType, |all| object(all.call_count.clone())),
    one("ClientConnectionTime", Kind::UtcTime, |all| Variant::from(all.client_connection_time)),
    one("ClientDescription", Kind::ApplicationDescription, |all| object(all.client_description.clone())),
    one("ClientLastContactTime", Kind::UtcTime, |all| Variant::from(all.client_last_contact_time)),
    one("CreateMonitoredItemsCount", Kind::ServiceCounterDataType, |all| {
        object(all.create_monitored_items_count.clone())
    }),
    one("CreateSubscriptionCount", Kind::ServiceCounterDataType, |all| object(all.create_subscription_count.clone())),
    one("CurrentMonitoredItemsCount", Kind::UInt32, |all| Variant::UInt32(all.current_monitored_items_count)),
    one("CurrentPublishRequestsInQueue", Kind::UInt32, |all| Variant::UInt32(all.current_publish_requests_in_queue)),
    one("CurrentSubscriptionsCount", Kind::UInt32, |all| Variant::UInt32(all.current_subscriptions_count)),
    one("DeleteMonitoredItemsCount", Kind::ServiceCounterDataType, |all| {
        object(all.delete_monitored_items_count.clone())
    }),
    one("DeleteNodesCount", Kind::ServiceCounterDataType, |all| object(all.delete_nodes_count.clone())),
    one("DeleteReferencesCount", Kind::ServiceCounterDataType, |all| object(all.delete_references_count.clone())),
    one("DeleteSubscriptionsCount", Kind::ServiceCounterDataType, |all| object(all.delete_subscriptions_count.clone())),
    one("EndpointUrl", Kind::String, |all| Variant::from(all.endpoint_url.clone())),
    one("HistoryReadCount", Kind::ServiceCounterDataType, |all| object(all.history_read_count.clone())),
    one("HistoryUpdateCount", Kind::ServiceCounterDataType, |all| object(all.history_update_count.clone())),
    list("LocaleIds", Kind::LocaleId, |all| texts(&all.locale_ids)),
    one("MaxResponseMessageSize", Kind::UInt32, |all| Variant::UInt32(all.max_response_message_size)),
    one("ModifyMonitoredItemsCount", Kind::ServiceCounterDataType, |all| {
        object(all.modify_monitored_items_count.clone())
    }),
    one("ModifySubscriptionCount", Kind::ServiceCounterDataType, |all| object(all.modify_subscription_count.clone())),
    one("PublishCount", Kind::ServiceCounterDataType, |all| object(all.publish_count.clone())),
    one("QueryFirstCount", Kind::ServiceCounterDataType, |all| object(all.query_first_count.clone())),
    one("QueryNextCount", Kind::ServiceCounterDataType, |all| object(all.query_next_count.clone())),
    one("ReadCount", Kind::ServiceCounterDataType, |all| object(all.read_count.clone())),
    one("RegisterNodesCount", Kind::ServiceCounterDataType, |all| object(all.register_nodes_count.clone())),
    one("RepublishCount", Kind::ServiceCounterDataType, |all| object(all.republish_count.clone())),
    one("ServerUri", Kind::String, |all| Variant::from(all.server_uri.clone())),
    one("SessionId", Kind::NodeId, |all| Variant::from(all.session_id.clone())),
    one("SessionName", Kind::String, |all| Variant::from(all.session_name.clone())),
    one("SetMonitoringModeCount", Kind::ServiceCounterDataType, |all| object(all.set_monitoring_mode_count.clone())),
    one("SetPublishingModeCount", Kind::ServiceCounterDataType, |all| object(all.set_publishing_mode_count.clone())),
    one("SetTriggeringCount", Kind::ServiceCounterDataType, |all| object(all.set_triggering_count.clone())),
    one("TotalRequestCount", Kind::ServiceCounterDataType, |all| object(all.total_request_count.clone())),
    one("TransferSubscriptionsCount", Kind::ServiceCounterDataType, |all| {
        object(all.transfer_subscriptions_count.clone())
    }),
    one("TranslateBrowsePathsToNodeIdsCount", Kind::ServiceCounterDataType, |all| {
        object(all.translate_browse_paths_to_node_ids_count.clone())
    }),
    one("UnauthorizedRequestCount", Kind::UInt32, |all| Variant::UInt32(all.unauthorized_request_count)),
    one("UnregisterNodesCount", Kind::ServiceCounterDataType, |all| object(all.unregister_nodes_count.clone())),
    one("WriteCount", Kind::ServiceCounterDataType, |all| object(all.write_count.clone())),
];

/// Those of SessionSecurityDiagnosticsDataType, sorted by name.
pub const SECURITY: [Field<SessionSecurityDiagnosticsDataType>; 9] = [
    one("AuthenticationMechanism", Kind::String, |all| Variant::from(all.authentication_mechanism.clone())),
    one("ClientCertificate", Kind::ByteString, |all| Variant::from(all.client_certificate.clone())),
    list("ClientUserIdHistory", Kind::String, |all| texts(&all.client_user_id_history)),
    one("ClientUserIdOfSession", Kind::String, |all| Variant::from(all.client_user_id_of_session.clone())),
    one("Encoding", Kind::String, |all| Variant::from(all.encoding.clone())),
    one("SecurityMode", Kind::MessageSecurityMode, |all| Variant::Int32(all.security_mode as i32)),
    one("SecurityPolicyUri", Kind::String, |all| Variant::from(all.security_policy_uri.clone())),
    one("SessionId", Kind::NodeId, |all| Variant::from(all.session_id.clone())),
    one("TransportProtocol", Kind::String, |all| Variant::from(all.transport_protocol.clone())),
];
