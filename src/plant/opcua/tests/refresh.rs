//! ConditionRefresh by a client that asks again and again (OPC 10000-9, 5.5.7).

use opcua::types::{
    CallMethodRequest, CallRequest, ContentFilter, ContentFilterElement, EventFilter, EventNotificationList,
    ExtensionObject, FilterOperator, LiteralOperand, MethodId, NumericRange, ObjectTypeId, QualifiedName,
    SimpleAttributeOperand,
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
    fields(client).await.into_iter().map(|fields| fields[0].to_string()).collect()
}

/// EventType and EventId of what is published next.
async fn fields(client: &mut Client) -> Vec<Vec<Variant>> {
    let request = PublishRequest { request_header: client.header(), subscription_acknowledgements: None };
    let ResponseMessage::Publish(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    let data = answer.notification_message.notification_data.unwrap().into_iter();
    let lists = data.map(|data| *data.into_inner_as::<EventNotificationList>().unwrap());
    let events = lists.flat_map(|list| list.events.unwrap());
    events.map(|event| event.event_fields.unwrap()).collect()
}

/// A subscription with so many items for events at Server, of these event types where that is said.
async fn subscribe(client: &mut Client, items: u8, only: Option<ObjectTypeId>) -> u32 {
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
    let field = |name: &str| SimpleAttributeOperand {
        type_definition_id: ObjectTypeId::BaseEventType.into(),
        browse_path: Some(vec![QualifiedName::from(name)]),
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
    };
    let of_type = |kind: ObjectTypeId| ContentFilterElement {
        filter_operator: FilterOperator::OfType,
        filter_operands: Some(vec![ExtensionObject::from_message(LiteralOperand {
            value: Variant::from(opcua::types::NodeId::from(kind)),
        })]),
    };
    let filter = EventFilter {
        select_clauses: Some(vec![field("EventType"), field("EventId")]),
        where_clause: ContentFilter { elements: only.map(|kind| vec![of_type(kind)]) },
    };
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
    made.subscription_id
}

async fn connected(name: &str) -> (Running, Client, Example) {
    let (example, _requests) = Example::new();
    let server = Running::start(name, example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    client.login(Some(("anna", "secret"))).await.unwrap();
    (server, client, example)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time_for_a_subscription() {
    let (server, mut client, _example) = connected("refresh").await;
    let subscriptions = [subscribe(&mut client, 2, None).await, subscribe(&mut client, 1, None).await];
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

/// "To ensure a Client is always informed", no filter keeps begin and end from it (OPC 10000-9, 4.5), which all items have alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn begin_and_end_pass_every_filter() {
    let (server, mut client, _example) = connected("refresh-filter").await;
    let subscription = subscribe(&mut client, 2, Some(ObjectTypeId::AlarmConditionType)).await;
    assert_eq!(refresh(&mut client, subscription, 1).await, [StatusCode::Good]);
    let told = fields(&mut client).await;
    let kinds: Vec<String> = told.iter().map(|fields| fields[0].to_string()).collect();
    assert_eq!(kinds, ["i=2787", "i=2788", "i=2787", "i=2788"]);
    let ids: Vec<&Variant> = told.iter().map(|fields| &fields[1]).collect();
    assert_eq!((ids[0], ids[1]), (ids[2], ids[3]));
    assert_ne!(ids[0], ids[1]);
    server.end().await;
}
