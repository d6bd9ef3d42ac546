//! ConditionRefresh by a client that asks again and again (OPC 10000-9, 5.5.7).

use opcua::types::{
    CallMethodRequest, CallRequest, EventFilter, EventNotificationList, ExtensionObject, MethodId, NumericRange,
    ObjectTypeId, QualifiedName, SimpleAttributeOperand,
};

use super::*;

/// Calls as many in one request.
async fn refresh(client: &mut Client, subscription: u32, times: usize) -> Vec<StatusCode> {
    let call = CallMethodRequest {
        object_id: ObjectTypeId::ConditionType.into(),
        method_id: MethodId::ConditionType_ConditionRefresh.into(),
        input_arguments: Some(vec![Variant::UInt32(subscription)]),
    };
    let request = CallRequest { request_header: client.header(), methods_to_call: Some(vec![call; times]) };
    let ResponseMessage::Call(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    answer.results.unwrap().into_iter().map(|result| result.status_code).collect()
}

/// EventTypes of what is published next.
async fn events(client: &mut Client) -> Vec<String> {
    let request = PublishRequest { request_header: client.header(), subscription_acknowledgements: None };
    let ResponseMessage::Publish(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    let data = answer.notification_message.notification_data.unwrap().into_iter();
    let lists = data.map(|data| *data.into_inner_as::<EventNotificationList>().unwrap());
    let events = lists.flat_map(|list| list.events.unwrap());
    events.map(|event| event.event_fields.unwrap().remove(0).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_for_a_subscription() {
    let (example, _requests) = Example::new();
    let server = Running::start("refresh", example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    client.login(Some(("anna", "secret"))).await.unwrap();
    let mut subscriptions = Vec::new();
    for items in [2, 1] {
        let request = CreateSubscriptionRequest {
            request_header: client.header(),
            requested_publishing_interval: 10.0,
            requested_lifetime_count: 10_000,
            requested_max_keep_alive_count: 3_000,
            max_notifications_per_publish: 0,
            publishing_enabled: true,
            priority: items,
        };
        let ResponseMessage::CreateSubscription(made) = client.call(request).await.unwrap() else {
            panic!("another answer")
        };
        let event_type = SimpleAttributeOperand {
            type_definition_id: ObjectTypeId::BaseEventType.into(),
            browse_path: Some(vec![QualifiedName::from("EventType")]),
            attribute_id: AttributeId::Value as u32,
            index_range: NumericRange::None,
        };
        let filter = EventFilter { select_clauses: Some(vec![event_type]), ..Default::default() };
        let item = MonitoredItemCreateRequest {
            item_to_monitor: ReadValueId {
                node_id: ObjectId::Server.into(),
                attribute_id: AttributeId::EventNotifier as u32,
                ..Default::default()
            },
            monitoring_mode: MonitoringMode::Reporting,
            requested_parameters: MonitoringParameters {
                client_handle: 5,
                sampling_interval: 0.0,
                filter: ExtensionObject::from_message(filter),
                queue_size: 1,
                discard_oldest: true,
            },
        };
        let request = CreateMonitoredItemsRequest {
            request_header: client.header(),
            subscription_id: made.subscription_id,
            timestamps_to_return: TimestampsToReturn::Both,
            items_to_create: Some(vec![item; usize::from(items)]),
        };
        let ResponseMessage::CreateMonitoredItems(made_items) = client.call(request).await.unwrap() else {
            panic!("another answer")
        };
        assert!(made_items.results.unwrap().iter().all(|made| made.status_code == StatusCode::Good));
        subscriptions.push(made.subscription_id);
    }
    let (good, busy) = (StatusCode::Good, StatusCode::BadRefreshInProgress);
    let (start, end) = ("i=2787", "i=2788");
    assert_eq!(refresh(&mut client, subscriptions[0], 3).await, [good, busy, busy]);
    assert_eq!(refresh(&mut client, subscriptions[0], 1).await, [busy]);
    assert_eq!(refresh(&mut client, subscriptions[1], 2).await, [good, busy], "another one has its own");
    assert_eq!(events(&mut client).await, [start, end, start, end], "each item the whole of it");
    assert_eq!(refresh(&mut client, subscriptions[0], 2).await, [good, busy]);
    assert_eq!(refresh(&mut client, subscriptions[1], 1).await, [busy], "which has not been told yet");
    server.end().await;
}
