//! The publish machine over invented time, read back with the crate's own types.

use std::any::Any;

use opcua::types::{
    AttributeId, BinaryDecodable, DataChangeNotification, ExtensionObject, MonitoredItemCreateRequest, MonitoringMode,
    MonitoringParameters, NodeId, ReadValueId, StatusChangeNotification, TimestampsToReturn, Variant,
};

use super::item::Seen;
use super::*;
use crate::plant::opcua::channel::Answers;
use crate::plant::opcua::scene::Scenes;
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::server::{Diagnostics, ServerObject};
use crate::plant::opcua::tests::Example;
use crate::plant::opcua::versions::Versions;
use crate::plant::opcua::wire::{Reader, Writer, context};

const MS: u64 = 1_000_000;

pub fn scene(example: &Example) -> Arc<Scene> {
    Scenes::new(
        &example.plant,
        ServerObject::new("urn:test", Limits::default(), Diagnostics::none()),
        Default::default(),
    )
    .now()
}

fn anna() -> Arc<User> {
    Arc::new(User::anybody("anna"))
}

struct Bench {
    _example: Example,
    all: Subscriptions,
    answers: Answers,
    _open: Box<dyn Any>,
    requests: u32,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        let (example, _) = Example::new();
        let (answers, open) = Answers::alone();
        let all = Subscriptions::new(limits, scene(&example));
        Bench { _example: example, all, answers, _open: open, requests: 0 }
    }

    /// A subscription of session 1 with an interval of 10 ms, three intervals between keep-alives and nine to live.
    fn subscribe(&mut self, most: u32, priority: u8) -> u32 {
        let settings = Settings::revised(10.0, 9, 3, most, priority);
        self.all.create(1, &anna(), "urn:client", settings, true, 0).unwrap()
    }

    fn item(&mut self, subscription: u32, mode: MonitoringMode, queue: u32, handle: u32) -> u32 {
        let wanted = wanted(&self.all, "line.Oven.Temp", mode, (100.0, queue), handle).unwrap();
        let made = self.all.add(1, subscription, wanted, 0).unwrap();
        // the value of a message that never came, which is not what these tests are about
        let (_, item) = self.all.item_mut((subscription, made.id)).unwrap();
        let freed = item.clear();
        let subscription = self.all.of(1, subscription).unwrap();
        subscription.bytes = subscription.bytes.saturating_add_signed(freed);
        made.id
    }

    fn offer(&mut self, subscription: u32, item: u32, number: i32) {
        self.all.offer((subscription, item), seen(number));
    }

    fn publish(&mut self, session: u32, acknowledged: &[(u32, u32)]) -> Result<(), StatusCode> {
        self.requests += 1;
        let (answers, request) = (self.answers.clone(), self.requests);
        let parked = Parked {
            answers,
            request,
            handle: request,
            deadline: None,
            channel: request,
            most_bytes: 0,
            results: Vec::new(),
        };
        self.all.publish(session, parked, acknowledged)
    }

    fn replies(&mut self) -> Vec<String> {
        self.all.replies().iter().map(|reply| described(&reply.body, reply.request).unwrap()).collect()
    }
}

pub fn seen(number: i32) -> Seen {
    let value = Some(Variant::Int32(number));
    Seen { value, status: StatusCode::Good, source_time: number as u64, server_time: 1 }
}

/// As it comes from a client.
pub fn wanted(
    all: &Subscriptions,
    name: &str,
    mode: MonitoringMode,
    (interval, queue): (f64, u32),
    client_handle: u32,
) -> Result<items::Wanted, StatusCode> {
    let request = MonitoredItemCreateRequest {
        item_to_monitor: ReadValueId {
            node_id: NodeId::new(2, name),
            attribute_id: AttributeId::Value as u32,
            ..Default::default()
        },
        monitoring_mode: mode,
        requested_parameters: MonitoringParameters {
            client_handle,
            sampling_interval: interval,
            filter: ExtensionObject::null(),
            queue_size: queue,
            discard_oldest: true,
        },
    };
    let mut writer = Writer::new();
    writer.encode(&request);
    let bytes = writer.finish();
    let scene = all.scene();
    let mut reader = Reader::new(&bytes);
    let made = items::wanted(
        &mut reader,
        &scene,
        &anna(),
        &Limits::default(),
        TimestampsToReturn::Both,
        &mut Versions::default(),
    );
    assert!(reader.rest().is_empty());
    made.unwrap().map_err(|(status, _)| status)
}

/// `request: subscription #sequence what`.
fn described(body: &[u8], request: u32) -> Result<String, StatusCode> {
    let context = context();
    let mut reader = Reader::new(body);
    let encoding = reader.node_id()?.standard();
    reader.i64()?;
    assert_eq!(reader.u32()?, request);
    let status = reader.status()?;
    reader.take(8)?;
    if encoding == Some(397) {
        return Ok(format!("{request}: {status}"));
    }
    assert_eq!((encoding, status), (Some(829), StatusCode::Good));
    let subscription = reader.u32()?;
    let available = reader.count(4)?;
    let available = (0..available).map(|_| reader.u32()).collect::<Result<Vec<_>, _>>()?;
    let more = reader.bool()?;
    let sequence = reader.u32()?;
    reader.i64()?;
    let mut text = format!("{request}: {subscription} #{sequence}");
    for _ in 0..reader.count(3)? {
        let structure = reader.structure()?;
        let mut bytes = structure.body.unwrap();
        match structure.encoding.standard() {
            Some(811) => {
                let data = DataChangeNotification::decode(&mut bytes, &context.context()).unwrap();
                for item in data.monitored_items.unwrap() {
                    let Some(Variant::Int32(value)) = item.value.value else { panic!() };
                    let lost = item.value.status.is_some_and(|status| status.bits() & 0xFFFF == 0x480);
                    text += &format!(" {}={value}{}", item.client_handle, if lost { "!" } else { "" });
                }
            }
            Some(820) => {
                let change = StatusChangeNotification::decode(&mut bytes, &context.context()).unwrap();
                text += &format!(" {}", change.status);
            }
            other => panic!("{other:?}"),
        }
        assert!(bytes.is_empty());
    }
    if more {
        text += " more";
    }
    if !available.is_empty() {
        text += &format!(" kept {available:?}");
    }
    let results = (0..reader.count(4)?).map(|_| reader.status()).collect::<Result<Vec<_>, _>>()?;
    if !results.is_empty() {
        let results: Vec<_> = results.iter().map(ToString::to_string).collect();
        text += &format!(" {}", results.join(","));
    }
    assert_eq!(reader.i32()?, -1);
    assert!(reader.rest().is_empty());
    Ok(text)
}

#[test]
fn what_is_asked_for_is_revised() {
    let day = 86_400_000.0;
    for ((interval, lifetime, keep_alive), want) in [
        ((100.0, 1000, 10), (100.0, 1000, 10)),
        ((0.0, 1000, 10), (5.0, 1000, 10)),
        ((-1.0, 1000, 10), (5.0, 1000, 10)),
        ((f64::NAN, 1000, 10), (5.0, 1000, 10)),
        ((f64::NEG_INFINITY, 1000, 10), (5.0, 1000, 10)),
        ((f64::INFINITY, 0, 1), (day, 3, 1)),
        ((100.0, 0, 10), (100.0, 30, 10)),
        ((100.0, 5, 0), (100.0, 300, 100)),
        ((100.0, u32::MAX, u32::MAX), (100.0, 864_000, 100_000)),
        ((1e12, u32::MAX, u32::MAX), (day, 3, 1)),
    ] {
        let Settings { lifetime: life, keep_alive: silent, .. } =
            Settings::revised(interval, lifetime, keep_alive, 0, 0);
        let found = (Settings::revised(interval, lifetime, keep_alive, 0, 0).interval_ms(), life, silent);
        assert_eq!(found, want, "{interval} {lifetime} {keep_alive}");
        assert!(life >= 3 * silent);
    }
}

#[test]
fn keep_alives_values_and_the_end() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.publish(1, &[]), Err(StatusCode::BadNoSubscription));
    let id = bench.subscribe(2, 0);
    let item = bench.item(id, MonitoringMode::Reporting, 10, 7);
    (0..3).for_each(|_| bench.publish(1, &[]).unwrap());
    // when, what is offered, what leaves
    for (ms, offered, want) in [
        (5, vec![], vec![]),
        (10, vec![], vec!["2: 1 #1"]),
        (20, vec![], vec![]),
        (30, vec![], vec![]),
        (40, vec![], vec!["3: 1 #1"]),
        (50, vec![1, 1, 2, 3], vec!["4: 1 #1 7=1 7=2 more kept [1]"]),
        (55, vec![], vec![]),
        // nobody asks: nothing leaves
        (60, vec![], vec![]),
    ] {
        offered.into_iter().for_each(|number| bench.offer(id, item, number));
        bench.all.tick(ms * MS);
        assert_eq!(bench.replies(), want, "{ms}");
    }
    // what is late leaves at once; each acknowledgement has its result
    bench.publish(1, &[(id, 1), (id, 1), (99, 1)]).unwrap();
    let results = "Good,BadSequenceNumberUnknown,BadSubscriptionIdInvalid";
    assert_eq!(bench.replies(), [format!("5: 1 #2 7=3 kept [2] {results}")]);
    // nothing was heard of the client for nine intervals
    for ms in (70..=150).step_by(10) {
        bench.all.tick(ms * MS);
        assert!(bench.replies().is_empty() && bench.all.get(id).is_some(), "{ms}");
    }
    bench.all.tick(160 * MS);
    assert!(bench.all.get(id).is_none() && bench.all.totals().items == 0);
    bench.publish(1, &[]).unwrap();
    assert_eq!(bench.replies(), ["6: 1 #3 BadTimeout"]);
    assert_eq!(bench.publish(1, &[]), Err(StatusCode::BadNoSubscription));
}

#[test]
fn too_many_requests_republishing_and_publishing_mode() {
    let mut bench = Bench::new(Limits { publish_requests_per_session: 2, ..Limits::default() });
    let id = bench.subscribe(0, 0);
    let item = bench.item(id, MonitoringMode::Reporting, 1, 7);
    (0..3).for_each(|_| bench.publish(1, &[]).unwrap());
    assert_eq!(bench.replies(), ["1: BadTooManyPublishRequests"]);
    bench.offer(id, item, 5);
    bench.all.tick(10 * MS);
    let sent = bench.all.replies().remove(0).body;
    let message = bench.all.of(1, id).unwrap().republish(1).unwrap();
    // from the sequence number on: all but what is before it, the results and the diagnostics
    let tail = &sent[sent.len() - 8 - message.len()..sent.len() - 8];
    assert_eq!(tail, &*message);
    assert!(bench.all.of(1, id).unwrap().republish(2).is_none());
    // disabled: keep-alives only
    bench.all.of(1, id).unwrap().enabled = false;
    bench.offer(id, item, 6);
    let left: Vec<_> = (2..=4).flat_map(|at| (bench.all.tick(at * 10 * MS), bench.replies()).1).collect();
    assert_eq!(left, ["3: 1 #2 kept [1]"]);
    // one value, and never the overflow bit
    bench.all.of(1, id).unwrap().enabled = true;
    bench.offer(id, item, 8);
    bench.publish(1, &[]).unwrap();
    bench.all.tick(50 * MS);
    assert_eq!(bench.replies(), ["4: 1 #2 7=8 kept [1, 2]"]);
    // whoever waits when its session ends is told
    bench.publish(1, &[]).unwrap();
    bench.all.session_closed(1, true);
    assert_eq!(bench.replies(), ["5: BadSessionClosed"]);
    assert_eq!(bench.all.totals().subscriptions, 0);
}

#[test]
fn the_more_important_first_and_equals_in_turn() {
    let mut bench = Bench::new(Limits::default());
    let ids: Vec<u32> = [0, 0, 9].into_iter().map(|priority| bench.subscribe(0, priority)).collect();
    let items: Vec<u32> = ids.iter().map(|id| bench.item(*id, MonitoringMode::Reporting, 1, 7)).collect();
    let mut order = Vec::new();
    for round in 1..=3 {
        for (id, item) in ids.iter().zip(&items) {
            bench.offer(*id, *item, round);
        }
        bench.all.tick(round as u64 * 10 * MS);
        // two requests for three that have something to say
        for _ in 0..2 {
            bench.publish(1, &[]).unwrap();
            order.extend(bench.replies().iter().map(|reply| reply.split(' ').nth(1).unwrap().to_owned()));
        }
    }
    assert_eq!(order, ["3", "1", "3", "2", "3", "1"]);
}

#[test]
fn transfers() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.subscribe(0, 0);
    let item = bench.item(id, MonitoringMode::Reporting, 1, 7);
    bench.publish(1, &[]).unwrap();
    bench.offer(id, item, 5);
    bench.all.tick(10 * MS);
    assert_eq!(bench.replies(), ["1: 1 #1 7=5 kept [1]"]);
    let other = Arc::new(User::anybody("bert"));
    let refused = bench.all.transfer(id, 2, (&other, "urn:client"), true);
    assert_eq!(refused, Err(StatusCode::BadUserAccessDenied));
    assert_eq!(bench.all.transfer(99, 2, (&anna(), ""), true), Err(StatusCode::BadSubscriptionIdInvalid));
    bench.publish(1, &[]).unwrap();
    assert_eq!(bench.all.transfer(id, 2, (&anna(), "urn:client"), true), Ok(vec![1]));
    assert_eq!(bench.replies(), ["2: 1 #2 GoodSubscriptionTransferred"]);
    bench.publish(2, &[]).unwrap();
    bench.all.tick(20 * MS);
    assert_eq!(bench.replies(), ["3: 1 #2 7=5 kept [1, 2]"], "the last value once more");
    // a session may end without its subscriptions
    bench.all.session_closed(2, false);
    assert!(bench.all.get(id).is_some());
    (3..20).for_each(|at| bench.all.tick(at * 10 * MS));
    assert!(bench.all.get(id).is_none());
}

#[test]
fn modes_and_triggering() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.subscribe(0, 0);
    let trigger = bench.item(id, MonitoringMode::Reporting, 1, 1);
    let sampled = bench.item(id, MonitoringMode::Sampling, 3, 2);
    let disabled = bench.item(id, MonitoringMode::Disabled, 3, 3);
    (0..9).for_each(|_| bench.publish(1, &[]).unwrap());
    bench.all.tick(10 * MS);
    bench.replies();
    let linked = bench.all.link((1, id, trigger), &[sampled, disabled, 99], &[98]).unwrap();
    use StatusCode as S;
    let unknown = S::BadMonitoredItemIdInvalid;
    assert_eq!(linked, (vec![S::Good, S::Good, unknown], vec![unknown]));
    // offered: handle and number
    for (ms, offered, want) in [
        (20, vec![(sampled, 1), (sampled, 2), (disabled, 3)], ""),
        (30, vec![(trigger, 5)], "2=1 2=2 1=5"),
        // triggered once, not from now on
        (40, vec![(sampled, 3)], ""),
        (50, vec![(trigger, 6)], "1=6 2=3"),
        // nothing was there to be reported
        (60, vec![(trigger, 7)], "1=7"),
        (70, vec![(sampled, 4)], ""),
    ] {
        offered.into_iter().for_each(|(item, number)| bench.offer(id, item, number));
        bench.all.tick(ms * MS);
        let found: Vec<String> = bench.replies();
        let values = |text: &String| text.split(' ').filter(|word| word.contains('=')).map(str::to_owned).collect();
        let mut found: Vec<String> = found.iter().flat_map(|text| -> Vec<String> { values(text) }).collect();
        let mut want: Vec<String> = want.split_whitespace().map(str::to_owned).collect();
        found.sort();
        want.sort();
        assert_eq!(found, want, "{ms}");
    }
    // what was only sampled is reported once that is asked for
    assert_eq!(bench.all.switch((1, id, sampled), MonitoringMode::Reporting, 0), S::Good);
    bench.all.tick(80 * MS);
    assert!(bench.replies().concat().contains("2=4"));
}

#[test]
fn memory_has_a_limit() {
    let limits = Limits { queue_bytes: 100_000, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let ids = [bench.subscribe(0, 0), bench.subscribe(0, 0)];
    let greedy: Vec<u32> =
        (0..20).map(|handle| bench.item(ids[0], MonitoringMode::Reporting, 10_000, handle)).collect();
    let modest = bench.item(ids[1], MonitoringMode::Reporting, 10, 100);
    (0..10).for_each(|number| bench.offer(ids[1], modest, number));
    for number in 0..2000 {
        greedy.iter().for_each(|item| bench.offer(ids[0], *item, number));
        bench.all.tick(0);
        let held: usize = ids.iter().map(|id| bench.all.get(*id).unwrap().bytes).sum();
        assert!(held <= 100_000, "{held}");
    }
    assert!(bench.all.totals().lost > 30_000);
    let counted: usize = bench.all.get(ids[0]).unwrap().items.values().map(item::Item::bytes).sum();
    assert_eq!(counted, bench.all.get(ids[0]).unwrap().bytes, "the count is kept right");
    (0..2).for_each(|_| bench.publish(1, &[]).unwrap());
    bench.all.tick(10 * MS);
    let replies = bench.replies().join("\n");
    assert!(replies.contains("100=0 100=1"), "who takes little loses nothing");
    assert!(replies.contains("0=1999") && replies.contains('!'));
}

/// A random walk: nothing is lost, told twice or out of order; numbers have no gap.
#[test]
fn a_random_walk() {
    for seed in 1..=8u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut bench = Bench::new(Limits::default());
        let ids: Vec<u32> = (0..3).map(|priority| bench.subscribe(priority * 2, priority as u8)).collect();
        let items: Vec<Vec<u32>> = ids
            .iter()
            .map(|id| (0..4).map(|handle| bench.item(*id, MonitoringMode::Reporting, 10_000, handle)).collect())
            .collect();
        let (mut now, mut given) = (0, 0);
        let mut offered = vec![vec![Vec::new(); 4]; 3];
        let mut told = vec![vec![Vec::new(); 4]; 3];
        let mut last = [0; 3];
        for step in 0..3000 {
            match random(4) {
                0 | 1 => {
                    let (one, item) = (random(3) as usize, random(4) as usize);
                    given += 1;
                    offered[one][item].push(given);
                    bench.offer(ids[one], items[one][item], given);
                }
                2 => bench.publish(1, &[]).unwrap(),
                _ => {
                    now += random(8) * MS;
                    bench.all.tick(now);
                }
            }
            if step >= 2900 {
                bench.publish(1, &[]).unwrap();
                now += 10 * MS;
                bench.all.tick(now);
            }
            for reply in bench.replies() {
                if reply.contains("TooMany") {
                    continue;
                }
                let words: Vec<&str> = reply.split(' ').collect();
                let one = ids.iter().position(|id| id.to_string() == words[1]).unwrap();
                let number: u32 = words[2][1..].parse().unwrap();
                assert_eq!(number, last[one] + 1, "seed {seed}, step {step}: {reply}");
                let values: Vec<(usize, i32)> = words
                    .iter()
                    .filter_map(|word| word.split_once('='))
                    .map(|(handle, value)| (handle.parse().unwrap(), value.parse().unwrap()))
                    .collect();
                last[one] += u32::from(!values.is_empty());
                assert!(one == 0 || values.len() <= 2 * one);
                values.into_iter().for_each(|(handle, value)| told[one][handle].push(value));
            }
        }
        for _ in 0..1000 {
            bench.publish(1, &[]).unwrap();
            now += 10 * MS;
            bench.all.tick(now);
            for reply in bench.replies().iter().filter(|reply| reply.contains('=')) {
                let words: Vec<&str> = reply.split(' ').collect();
                let one = ids.iter().position(|id| id.to_string() == words[1]).unwrap();
                for (handle, value) in words.iter().filter_map(|word| word.split_once('=')) {
                    told[one][handle.parse::<usize>().unwrap()].push(value.parse().unwrap());
                }
            }
        }
        assert_eq!(told, offered, "seed {seed}");
        for id in ids {
            let one = bench.all.get(id).unwrap();
            assert!(one.items.values().all(|item| item.bytes() == 0));
        }
    }
}

#[test]
fn an_idle_item_is_small() {
    let look = size_of::<watched::Look>();
    let item = size_of::<item::Item>();
    assert!(item <= 288 && look <= 40, "{item} {look}");
}

#[test]
fn what_waits_on_a_channel_that_was_left_is_answered() {
    let mut bench = Bench::new(Limits::default());
    bench.subscribe(0, 0);
    for _ in 0..3 {
        bench.publish(1, &[]).unwrap();
    }
    // each came by a channel with its own number
    bench.all.channel_left(1, 2);
    assert_eq!(bench.replies(), ["1: BadSecureChannelClosed", "3: BadSecureChannelClosed"]);
    bench.all.channel_left(2, 9);
    assert!(bench.replies().is_empty(), "another session's");
    assert_eq!(bench.all.counts(1).2, 1, "what came by the channel in use goes on waiting");
}

#[test]
fn a_message_too_long_for_its_session_is_kept() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.subscribe(0, 0);
    let item = bench.item(id, MonitoringMode::Reporting, 10, 1);
    bench.offer(id, item, 1);
    let answers = bench.answers.clone();
    let parked =
        Parked { answers, request: 1, handle: 1, deadline: None, channel: 1, most_bytes: 60, results: Vec::new() };
    bench.all.publish(1, parked, &[]).unwrap();
    bench.all.tick(11 * MS);
    assert_eq!(bench.replies(), ["1: BadResponseTooLarge"]);
    assert_eq!(bench.all.of(1, id).unwrap().available().count(), 1, "for Republish");
}

#[test]
fn what_was_found_without_the_lock_is_not_looked_for_again() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.subscribe(0, 0);
    let mut item = |handle| bench.item(id, MonitoringMode::Reporting, 10, handle);
    let (first, second) = (item(0), item(1));
    let (old, new) = (bench.all.scene(), scene(&bench._example));
    let mut found = again::found(&old, &new, bench.all.targets());
    assert_eq!(found.len(), 2);
    // one that is told from others, and one that comes in between
    let gone = item::Target::Gone(Box::new(NodeId::new(2, "line.Nothing")));
    found.insert((id, second), (gone, 0));
    let third = bench.item(id, MonitoringMode::Reporting, 10, 2);
    bench.all.find_again(&new, found, 0);
    for (item, want) in [(first, true), (second, false), (third, true)] {
        let target = &bench.all.get(id).unwrap().items[&item].target;
        assert_eq!(matches!(target, item::Target::Node(_)), want, "{target:?}");
    }
}

#[test]
fn another_language_leaves_what_waits_and_another_user_does_not() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.subscribe(0, 0);
    let item = bench.item(id, MonitoringMode::Reporting, 5, 1);
    (1..=3).for_each(|number| bench.offer(id, item, number));
    let waiting = |bench: &mut Bench| {
        let (_, item) = bench.all.item_mut((id, item)).unwrap();
        (item.waiting(), item.last.is_none())
    };
    assert_eq!(waiting(&mut bench), (3, false));
    bench.all.user_changed(1, &anna(), false, 1);
    assert_eq!(waiting(&mut bench), (3, true), "the value is told anew");
    bench.all.user_changed(1, &anna(), true, 2);
    assert_eq!(waiting(&mut bench), (0, true));
}
