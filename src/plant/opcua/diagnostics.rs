//! What the server tells about its sessions (OPC 10000-5, 12.10 to 12.12).

use std::sync::{Arc, Mutex, OnceLock};

use opcua::types::{
    ByteString, MessageSecurityMode, SessionDiagnosticsDataType, SessionSecurityDiagnosticsDataType, UAString,
};

use super::counters::Counters;
use super::service::Service;
use super::session::{Proof, Session, Sessions};
use super::space::server::Diagnostics;
use super::subscription::Subscriptions;

/// Where the subscriptions are, once there are any.
type Place = Arc<OnceLock<Arc<Mutex<Subscriptions>>>>;

fn look<T: Default>(place: &Place, at: impl FnOnce(&Subscriptions) -> T) -> T {
    place.get().map_or_else(T::default, |subscriptions| {
        at(&subscriptions.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    })
}

/// What the Server object asks for. Never to be asked while the subscriptions are locked.
pub fn of(sessions: &Arc<Sessions>, place: &Place, counters: &Arc<Counters>) -> Diagnostics {
    let (all, at, counted) = (sessions.clone(), place.clone(), counters.clone());
    let summary = move || look(&at, |subscriptions| counted.summary(&all, subscriptions));
    let (all, at) = (sessions.clone(), place.clone());
    let of_sessions = move || look(&at, |subscriptions| self::sessions(&all, subscriptions));
    let (all, at, ids) = (sessions.clone(), place.clone(), sessions.clone());
    Diagnostics {
        ids: Box::new(move || ids.all().iter().map(|session| session.id).collect()),
        summary: Box::new(summary),
        sessions: Box::new(of_sessions),
        security: Box::new(move || security(&all)),
        subscriptions: Box::new(move || look(&at, Subscriptions::diagnostics)),
    }
}

/// Of each session, in the order of their creation.
pub fn sessions(sessions: &Sessions, subscriptions: &Subscriptions) -> Vec<SessionDiagnosticsDataType> {
    sessions.all().iter().map(|session| of_session(session, subscriptions)).collect()
}

fn of_session(session: &Session, subscriptions: &Subscriptions) -> SessionDiagnosticsDataType {
    let count = |service| session.counts.of(service);
    let (subscribed, items, publishes) = subscriptions.counts(session.id);
    let state = session.state();
    SessionDiagnosticsDataType {
        session_id: session.node_id(),
        session_name: session.name.as_str().into(),
        client_description: session.client.clone(),
        server_uri: session.server_uri.as_str().into(),
        endpoint_url: session.endpoint_url.as_str().into(),
        locale_ids: Some(
            state.user.iter().flat_map(|user| &user.locales.0).map(|locale| UAString::from(locale.as_str())).collect(),
        ),
        actual_session_timeout: session.timeout.as_secs_f64() * 1000.0,
        max_response_message_size: session.max_response_bytes,
        client_connection_time: session.created,
        client_last_contact_time: state.last_contact,
        current_subscriptions_count: subscribed,
        current_monitored_items_count: items,
        current_publish_requests_in_queue: publishes,
        total_request_count: session.counts.total(),
        unauthorized_request_count: session.counts.unauthorized_requests(),
        read_count: count(Service::Read),
        history_read_count: count(Service::HistoryRead),
        write_count: count(Service::Write),
        call_count: count(Service::Call),
        create_monitored_items_count: count(Service::CreateMonitoredItems),
        modify_monitored_items_count: count(Service::ModifyMonitoredItems),
        set_monitoring_mode_count: count(Service::SetMonitoringMode),
        set_triggering_count: count(Service::SetTriggering),
        delete_monitored_items_count: count(Service::DeleteMonitoredItems),
        create_subscription_count: count(Service::CreateSubscription),
        modify_subscription_count: count(Service::ModifySubscription),
        set_publishing_mode_count: count(Service::SetPublishingMode),
        publish_count: count(Service::Publish),
        republish_count: count(Service::Republish),
        transfer_subscriptions_count: count(Service::TransferSubscriptions),
        delete_subscriptions_count: count(Service::DeleteSubscriptions),
        browse_count: count(Service::Browse),
        browse_next_count: count(Service::BrowseNext),
        translate_browse_paths_to_node_ids_count: count(Service::TranslateBrowsePathsToNodeIds),
        register_nodes_count: count(Service::RegisterNodes),
        unregister_nodes_count: count(Service::UnregisterNodes),
        // services that this server has not got stay at 0
        ..SessionDiagnosticsDataType::default()
    }
}

/// How each session is secured.
pub fn security(sessions: &Sessions) -> Vec<SessionSecurityDiagnosticsDataType> {
    let of = |session: &Session| {
        let state = session.state();
        let user = state.user.as_ref();
        let name = user.map_or("", |user| user.display());
        let mechanism = match user.map(|user| user.proof) {
            Some(Proof::Anonymous) => "Anonymous",
            Some(Proof::Password) => "UserName",
            Some(Proof::Certificate) => "Certificate",
            None => "",
        };
        let certificate = session.certificate.as_ref();
        SessionSecurityDiagnosticsDataType {
            session_id: session.node_id(),
            client_user_id_of_session: name.into(),
            client_user_id_history: Some(vec![name.into()]),
            authentication_mechanism: mechanism.into(),
            encoding: "UA Binary".into(),
            transport_protocol: "opc.tcp".into(),
            security_mode: if state.channel.mode == MessageSecurityMode::Invalid {
                MessageSecurityMode::None
            } else {
                state.channel.mode
            },
            security_policy_uri: state.channel.policy.to_uri().into(),
            client_certificate: certificate.map_or(ByteString::null(), |shown| ByteString::from(&shown.der)),
        }
    };
    sessions.all().iter().map(|session| of(session)).collect()
}
