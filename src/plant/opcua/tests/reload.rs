//! Reloads under a server that goes on: its sessions, its monitored items, its writes.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::command::Refusal;
use crate::plant::view::Request;

/// Every second generation has one message more before all others, one less, and another layout of Temp.
fn dbc(generation: u64) -> String {
    if generation % 2 == 1 {
        return DBC.into();
    }
    let more = "BO_ 300 Abba: 8 ME\n SG_ First : 0|16@1+ (1,0) [0|0] \"\" ECU\n SG_ Second : 16|16@1+ (1,0) [0|0] \"\" ECU\nBO_ 256 Oven";
    let precise = "BO_ 258 Precise: 8 ECU\n SG_ Exact : 0|64@1- (1,0) [-1|1] \"\" ME\n";
    let temp = r#"(0.1,-40) [-40|200] "degC""#;
    for part in ["BO_ 256 Oven", precise, temp, "SIG_VALTYPE_ 258 Exact : 2;\n"] {
        assert!(DBC.contains(part), "{part}");
    }
    DBC.replacen("BO_ 256 Oven", more, 1)
        .replace(precise, "")
        .replace("SIG_VALTYPE_ 258 Exact : 2;\n", "")
        .replace(temp, r#"(0.2,-40) [-40|400] "K""#)
}

/// A generation on its way to the plant, and its writer.
fn make(number: u64, requests: &mpsc::Sender<Request>) -> (View, Writer, Weak<Memory>) {
    let plan = Arc::new(plan_of(&dbc(number)));
    let layout = Layout::of(&plan);
    let memory = Arc::new(Memory::heap(layout.words()));
    let weak = Arc::downgrade(&memory);
    let mut writer = Writer::new(memory.clone(), layout, 7);
    writer.set_bus_state(0, BusState::Active, 1);
    writer.set(Word::Heartbeat, u64::MAX);
    let reader = Reader::open(memory, layout, 7).unwrap();
    (View::new(plan, reader, &generation(number), requests.clone()), writer, weak)
}

/// A client without a name, on a server that offers that.
async fn reader(server: &Running) -> Client {
    let mut client = Client::connect(server.address, &server.client_pki()).await;
    client.open(None).await.unwrap();
    client.login(None).await.unwrap();
    client
}

async fn subscribe(client: &mut Client, items: &[(u32, &str)]) {
    let request = CreateSubscriptionRequest {
        request_header: client.header(),
        requested_publishing_interval: 10.0,
        requested_lifetime_count: 10_000,
        requested_max_keep_alive_count: 40,
        max_notifications_per_publish: 0,
        publishing_enabled: true,
        priority: 0,
    };
    let ResponseMessage::CreateSubscription(made) = client.call(request).await.unwrap() else { panic!() };
    let item = |(handle, node): &(u32, &str)| MonitoredItemCreateRequest {
        item_to_monitor: ReadValueId {
            node_id: id(node),
            attribute_id: AttributeId::Value as u32,
            ..Default::default()
        },
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: *handle,
            sampling_interval: 10.0,
            queue_size: 10,
            discard_oldest: true,
            ..Default::default()
        },
    };
    let request = CreateMonitoredItemsRequest {
        request_header: client.header(),
        subscription_id: made.subscription_id,
        timestamps_to_return: TimestampsToReturn::Both,
        items_to_create: Some(items.iter().map(item).collect()),
    };
    let ResponseMessage::CreateMonitoredItems(answer) = client.call(request).await.unwrap() else { panic!() };
    assert!(answer.results.unwrap().iter().all(|result| result.status_code == StatusCode::Good));
}

/// What comes until nothing has come for a second and a half.
async fn settled(client: &mut Client) -> Vec<(u32, DataValue)> {
    let mut all = Vec::new();
    let mut quiet = 0;
    while quiet < 4 {
        let request = PublishRequest { request_header: client.header(), subscription_acknowledgements: None };
        let answer = tokio::time::timeout(Duration::from_secs(20), client.call(request)).await.unwrap().unwrap();
        let ResponseMessage::Publish(publish) = answer else { panic!("another answer") };
        quiet += 1;
        for data in publish.notification_message.notification_data.unwrap_or_default() {
            let data = data.into_inner_as::<DataChangeNotification>().unwrap();
            all.extend(data.monitored_items.unwrap().into_iter().map(|item| (item.client_handle, item.value)));
            quiet = 0;
        }
    }
    all
}

/// Of one item: its values, or what is wrong.
fn of(all: &[(u32, DataValue)], handle: u32) -> Vec<String> {
    let word = |data: &DataValue| match (&data.value, data.status()) {
        (_, status) if status.is_bad() => status.to_string(),
        (Some(Variant::Double(value)), _) => format!("{value}"),
        (Some(Variant::Byte(value)), _) => format!("{value}"),
        (other, _) => format!("{other:?}"),
    };
    all.iter().filter(|(of, _)| *of == handle).map(|(_, data)| word(data)).collect()
}

async fn until_served(client: &mut Client, number: u64) {
    let want = Some(Variant::from(generation(number).hash));
    for _ in 0..2000 {
        if read(client, id("Canvoy.Machine.ConfigurationHash"), AttributeId::Value).await.value == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("generation {number} is not served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_survives_reloads() {
    let (mut example, _requests) = Example::new();
    let oven = |mode: u8| [0xE8, 3, mode, 0, 0, 0, 0, 0];
    let stamp = 1_767_323_045_250_000_000;
    example.frame("Oven", (0, 0), oven(1), Causes::NONE, stamp);
    example.frame("Precise", (0, 0), 0.5_f64.to_le_bytes(), Causes::NONE, stamp);
    example.frame("EEC1", (1, 33), [0, 0, 0, 0, 2, 0, 0, 0], Causes::NONE, stamp);
    let config = Config { security_policy_none: true, ..Config::default() };
    let server = Running::start("reload", example.plant.clone(), config).await;
    let mut client = reader(&server).await;
    let items = [
        (1, "line.Oven.Mode"),
        (2, "line.Precise.Exact"),
        (3, "line.Oven.Temp"),
        (4, "line.Oven.Temp.EngineeringUnits"),
        (5, "line.EEC1@33.EngineSpeed"),
    ];
    subscribe(&mut client, &items).await;
    let first = settled(&mut client).await;
    let last = |all: &[(u32, DataValue)], handle| of(all, handle).last().cloned().unwrap_or_default();
    assert_eq!([1, 2, 3, 5].map(|handle| last(&first, handle)), ["1", "0.5", "60", "64"]);

    // the same frames in other places; the J1939 source has another slot
    let requests = example.plant.view().requests.clone();
    let (view, writer, _) = make(2, &requests);
    example.writer = writer;
    let moved = Arc::new(view);
    let swap = |example: &mut Example, view: View, frames: &mut dyn FnMut(&mut Example)| {
        // into the new store before anybody sees it
        let plant = std::mem::replace(&mut example.plant, Arc::new(Plant::new(view.clone())));
        frames(example);
        example.plant = plant;
        example.plant.connect(view);
    };
    swap(&mut example, View::clone(&moved), &mut |example| {
        example.frame("Oven", (0, 0), oven(1), Causes::NONE, stamp);
        example.frame("EEC1", (0, 33), [0, 0, 0, 0, 2, 0, 0, 0], Causes::NONE, stamp);
    });
    until_served(&mut client, 2).await;
    let names = browse(&mut client, id("line"), BrowseDirection::Forward, ReferenceTypeId::Organizes).await;
    assert_eq!(names, "2:Abba 2:DriveCommand 2:EEC1 2:Oven 2:Wide 2:line.@33");
    let status = |data: DataValue| data.status.unwrap_or(StatusCode::Good);
    let gone = read(&mut client, id("line.Precise.Exact"), AttributeId::Value).await;
    assert_eq!(status(gone), StatusCode::BadNodeIdUnknown);
    let time = read(&mut client, id("Canvoy.Machine.ConfigurationTime"), AttributeId::Value).await;
    assert!(matches!(time.value, Some(Variant::DateTime(_))), "{time:?}");
    subscribe(&mut client, &[(6, "line.Abba.First")]).await;
    let second = settled(&mut client).await;
    assert_eq!(of(&second, 1), [""; 0], "nothing has changed for it");
    assert_eq!(of(&second, 2), ["BadNodeIdUnknown"]);
    assert_eq!(of(&second, 3), ["160"], "by its new definition");
    let bits = |all: &[(u32, DataValue)], handle| {
        let own = all.iter().filter(|(of, _)| *of == handle);
        own.map(|(_, data)| data.status().bits() & 0xC000).collect::<Vec<_>>()
    };
    assert_eq!(bits(&second, 3), [0x4000], "SemanticsChanged: another range and unit");
    assert_eq!(of(&second, 4).len(), 1, "another unit");
    assert_eq!(of(&second, 5), [""; 0], "its slot is another, its value is not");
    assert_eq!(last(&second, 6), "BadWaitingForInitialData");

    example.frame("Oven", (0, 0), [0xE9, 3, 2, 0, 0, 0, 0, 0], Causes::NONE, stamp + 1_000_000_000);
    let more = settled(&mut client).await;
    assert_eq!(of(&more, 1), ["2"], "sampling goes on, from the new store");
    assert_eq!(bits(&more, 3), [0], "once");

    let (view, writer, _) = make(3, &requests);
    example.writer = writer;
    swap(&mut example, view, &mut |example| {
        example.frame("Oven", (0, 0), oven(2), Causes::NONE, stamp + 1_000_000_000);
        example.frame("Precise", (0, 0), 0.25_f64.to_le_bytes(), Causes::NONE, stamp);
        example.frame("EEC1", (1, 33), [0, 0, 0, 0, 2, 0, 0, 0], Causes::NONE, stamp);
    });
    let third = settled(&mut client).await;
    assert_eq!(of(&third, 1), [""; 0]);
    assert_eq!(of(&third, 2), ["0.25"], "it is back");
    assert_eq!(of(&third, 5), [""; 0]);
    assert_eq!(of(&third, 6), ["BadNodeIdUnknown"]);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_race_with_reloads_and_no_store_is_left() {
    const SWAPS: u64 = 200;
    let (example, mut requests) = Example::new();
    let plant = example.plant.clone();
    let server = Running::start("race", plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    client.login(Some(("anna", "secret"))).await.unwrap();

    // refuses what is of another generation, as the real one does; the value says which tag was meant
    let present = Arc::new(AtomicU64::new(1));
    let landed = Arc::new(AtomicU64::new(0));
    let (in_force, count) = (present.clone(), landed.clone());
    let plans = [plan_of(&dbc(0)), plan_of(&dbc(1))];
    let controller = tokio::spawn(async move {
        while let Some(Request { generation, action, answer, .. }) = requests.recv().await {
            let Action::Set(writes) = action else { panic!("{action:?}") };
            let _ = answer.send(if generation == in_force.load(Ordering::SeqCst) {
                let plan = &plans[(generation % 2) as usize];
                let name = plan.tags.get(writes[0].tag).map(|_| plan.tag_name(writes[0].tag, None));
                assert_eq!(name.as_deref(), Some("line.DriveCommand.Setpoint"), "generation {generation}");
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            } else {
                Err(Refusal::Reloaded)
            });
        }
    });
    let way = plant.view().requests.clone();
    let reloads = tokio::spawn({
        let plant = plant.clone();
        async move {
            let mut stores = Vec::new();
            for number in 2..2 + SWAPS {
                let (view, _, store) = make(number, &way);
                // the controller is always first
                present.store(number, Ordering::SeqCst);
                tokio::task::yield_now().await;
                plant.connect(view);
                stores.push(store);
                tokio::time::sleep(Duration::from_millis(number % 4)).await;
            }
            stores
        }
    });
    let (mut good, mut busy) = (0, 0);
    while !reloads.is_finished() {
        match write(&mut client, &[("line.DriveCommand.Setpoint", Variant::Double(1500.0))]).await[0] {
            StatusCode::Good => good += 1,
            StatusCode::BadServerTooBusy => busy += 1,
            other => panic!("{other}"),
        }
    }
    let stores = reloads.await.unwrap();
    until_served(&mut client, 1 + SWAPS).await;
    assert!(!controller.is_finished(), "a write landed on another tag");
    assert_eq!(landed.load(Ordering::SeqCst), good, "what is Good was done, what is busy was not ({busy})");
    assert!(good > 0);
    let alive = || stores.iter().filter(|store| store.strong_count() > 0).count();
    for _ in 0..2000 {
        if alive() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(alive(), 1, "only the last store is kept");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_of_one_call_share_a_node_version() {
    let (example, _requests) = Example::new();
    let config = Config { security_policy_none: true, ..Config::default() };
    let server = Running::start("versions", example.plant.clone(), config).await;
    let mut client = reader(&server).await;
    let items: Vec<_> = (0..20).map(|handle| (handle, "Canvoy.NodeVersion.line")).collect();
    subscribe(&mut client, &items).await;
    let mut versions = Vec::new();
    for generation in [1, 2] {
        if generation == 2 {
            let (view, _, _) = make(2, &example.plant.view().requests.clone());
            example.plant.connect(view);
        }
        let told = settled(&mut client).await;
        assert_eq!(told.len(), items.len(), "generation {generation}");
        let (_, first) = &told[0];
        // its source time is when it was made: once
        let same = |data: &DataValue| (&data.value, data.source_timestamp) == (&first.value, first.source_timestamp);
        assert!(told.iter().all(|(_, data)| same(data)), "generation {generation}: {told:?}");
        versions.push(first.value.clone());
    }
    assert!(versions[0].is_some() && versions[0] != versions[1], "{versions:?}");
}
