//! Requests as nobody writes them: every service, changed at random, answered or refused and never a panic.

use crate::plant::scratch::Scratch;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opcua::crypto::SecurityPolicy;
use opcua::types::{
    ApplicationDescription, BinaryEncodable, BrowseDescription, BrowseNextRequest, BrowseRequest, ByteString,
    CallMethodRequest, CallRequest, CancelRequest, CreateMonitoredItemsRequest, CreateSessionRequest,
    CreateSubscriptionRequest, DataValue, DeleteMonitoredItemsRequest, DeleteSubscriptionsRequest, GetEndpointsRequest,
    MessageSecurityMode, ModifyMonitoredItemsRequest, ModifySubscriptionRequest, MonitoredItemCreateRequest, NodeId,
    PublishRequest, ReadRequest, ReadValueId, RegisterNodesRequest, RepublishRequest, RequestHeader,
    SetMonitoringModeRequest, SetPublishingModeRequest, SetTriggeringRequest, SubscriptionAcknowledgement,
    TransferSubscriptionsRequest, TranslateBrowsePathsToNodeIdsRequest, Variant,
};

use super::*;
use crate::plant::opcua::config::Config;
use crate::plant::opcua::server::build;
use crate::plant::opcua::session::table::Wanted;
use crate::plant::opcua::tests::Example;
use crate::plant::opcua::wire::NodeRef;

const CASES: u32 = 20_000;

/// A server without a listener, a channel and a session that is logged in.
pub struct Bench {
    pub server: Arc<Server>,
    pub channel: Arc<Channel>,
    pub session: Arc<Session>,
}

fn bench() -> Bench {
    bench_of(0)
}

/// `max_response_bytes`: of its session.
fn bench_of(max_response_bytes: u32) -> Bench {
    bench_with(&Example::new().0, max_response_bytes)
}

pub fn bench_with(example: &Example, max_response_bytes: u32) -> Bench {
    let folder = Scratch::new("dispatch");
    let config = Config { security_policy_none: true, ..Config::default() };
    let address = "127.0.0.1:4840".parse().unwrap();
    let server = Arc::new(build(example.plant.clone(), config, address, &folder).unwrap());
    drop(folder);
    // the requests below speak of the first
    server.subscriptions().number_from(0);
    let security = (SecurityPolicy::None, MessageSecurityMode::None);
    let channel = Arc::new(Channel::new(1, security, None, "127.0.0.1:5000".parse().unwrap()));
    let wanted = Wanted::plain(max_response_bytes);
    let most = (10, Duration::from_secs(60));
    let (session, _) = server.sessions.create(wanted, &channel, vec![0; 32], most, Instant::now()).unwrap();
    session.state().user = Some(Arc::new(User::anonymous()));
    Bench { server, channel, session }
}

/// The bytes of a request.
fn bytes(encoding: u32, request: &impl BinaryEncodable) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.node_id(NodeRef::Numeric(0, encoding));
    writer.encode(request);
    writer.finish()
}

/// One of each service, as a client would send it.
fn requests(session: &Session) -> Vec<Vec<u8>> {
    let header = || RequestHeader {
        authentication_token: NodeId::new(0, ByteString::from(session.token.as_slice())),
        request_handle: 7,
        ..RequestHeader::default()
    };
    let value = |node: &str| ReadValueId { node_id: NodeId::new(2, node), attribute_id: 13, ..ReadValueId::default() };
    let all = |service: Service| service.request();
    vec![
        bytes(all(Service::GetEndpoints), &GetEndpointsRequest { request_header: header(), ..Default::default() }),
        bytes(
            all(Service::Read),
            &ReadRequest {
                request_header: header(),
                nodes_to_read: Some(vec![value("line.Oven.Temp"), value("line.Oven.Mode")]),
                ..Default::default()
            },
        ),
        bytes(
            all(Service::Browse),
            &BrowseRequest {
                request_header: header(),
                nodes_to_browse: Some(vec![BrowseDescription { node_id: NodeId::new(0, 85u32), ..Default::default() }]),
                requested_max_references_per_node: 1,
                ..Default::default()
            },
        ),
        bytes(
            all(Service::BrowseNext),
            &BrowseNextRequest {
                request_header: header(),
                continuation_points: Some(vec![ByteString::from(vec![1; 8])]),
                ..Default::default()
            },
        ),
        bytes(
            all(Service::TranslateBrowsePathsToNodeIds),
            &TranslateBrowsePathsToNodeIdsRequest {
                request_header: header(),
                browse_paths: Some(vec![Default::default()]),
            },
        ),
        bytes(
            all(Service::RegisterNodes),
            &RegisterNodesRequest { request_header: header(), nodes_to_register: Some(vec![NodeId::new(2, "line")]) },
        ),
        bytes(
            all(Service::Call),
            &CallRequest {
                request_header: header(),
                methods_to_call: Some(vec![CallMethodRequest {
                    object_id: NodeId::new(0, 2253u32),
                    method_id: NodeId::new(0, 11_492u32),
                    input_arguments: Some(vec![Variant::UInt32(1), Variant::from(DataValue::new_now(1.5))]),
                }]),
            },
        ),
        bytes(all(Service::Cancel), &CancelRequest { request_header: header(), request_handle: 3 }),
        bytes(
            all(Service::CreateSubscription),
            &CreateSubscriptionRequest { request_header: header(), publishing_enabled: true, ..Default::default() },
        ),
        bytes(
            all(Service::ModifySubscription),
            &ModifySubscriptionRequest { request_header: header(), subscription_id: 1, ..Default::default() },
        ),
        bytes(
            all(Service::SetPublishingMode),
            &SetPublishingModeRequest {
                request_header: header(),
                publishing_enabled: true,
                subscription_ids: Some(vec![1]),
            },
        ),
        bytes(
            all(Service::CreateMonitoredItems),
            &CreateMonitoredItemsRequest {
                request_header: header(),
                subscription_id: 1,
                items_to_create: Some(vec![MonitoredItemCreateRequest {
                    item_to_monitor: value("line.Oven.Temp"),
                    ..Default::default()
                }]),
                ..Default::default()
            },
        ),
        bytes(
            all(Service::ModifyMonitoredItems),
            &ModifyMonitoredItemsRequest {
                request_header: header(),
                subscription_id: 1,
                items_to_modify: Some(vec![Default::default()]),
                ..Default::default()
            },
        ),
        bytes(
            all(Service::SetMonitoringMode),
            &SetMonitoringModeRequest {
                request_header: header(),
                subscription_id: 1,
                monitored_item_ids: Some(vec![1, 2]),
                ..Default::default()
            },
        ),
        bytes(
            all(Service::SetTriggering),
            &SetTriggeringRequest {
                request_header: header(),
                subscription_id: 1,
                triggering_item_id: 1,
                links_to_add: Some(vec![1, 2]),
                ..Default::default()
            },
        ),
        bytes(
            all(Service::Publish),
            &PublishRequest {
                request_header: header(),
                subscription_acknowledgements: Some(vec![SubscriptionAcknowledgement {
                    subscription_id: 1,
                    sequence_number: 1,
                }]),
            },
        ),
        bytes(
            all(Service::Republish),
            &RepublishRequest { request_header: header(), subscription_id: 1, retransmit_sequence_number: 1 },
        ),
        bytes(
            all(Service::TransferSubscriptions),
            &TransferSubscriptionsRequest {
                request_header: header(),
                subscription_ids: Some(vec![1]),
                send_initial_values: true,
            },
        ),
        bytes(
            all(Service::DeleteMonitoredItems),
            &DeleteMonitoredItemsRequest {
                request_header: header(),
                subscription_id: 1,
                monitored_item_ids: Some(vec![9]),
            },
        ),
        bytes(
            all(Service::DeleteSubscriptions),
            &DeleteSubscriptionsRequest { request_header: header(), subscription_ids: Some(vec![9]) },
        ),
    ]
}

/// xorshift: the same changes each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    /// Changes, cuts or lengthens what comes after the header: what comes before is looked at by others.
    fn spoil(&mut self, request: &mut Vec<u8>, from: usize) {
        for _ in 0..=self.below(4) {
            let at = from + self.below(request.len() - from);
            match self.below(6) {
                0 => request.truncate(at.max(from)),
                1 => request.extend(std::iter::repeat_n(self.below(256) as u8, self.below(64))),
                2 => request[at..].iter_mut().take(4).for_each(|byte| *byte = 0xFF),
                3 => request.insert(at, self.below(256) as u8),
                4 => request[at] ^= 1 << self.below(8),
                _ => request[at] = self.below(256) as u8,
            }
            if request.len() <= from {
                request.push(0);
            }
        }
    }
}

#[tokio::test]
async fn spoiled_requests_are_answered_or_refused() {
    let Bench { server, channel, session } = bench();
    let whole = requests(&session);
    let header = whole[7].len() - 4; // Cancel has four bytes after its header
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut longest = Duration::ZERO;
    for case in 0..CASES {
        let mut body = whole[case as usize % whole.len()].clone();
        if case as usize >= whole.len() {
            let from = header.min(body.len());
            dice.spoil(&mut body, from);
        }
        let (answers, _open) = Answers::alone();
        let start = Instant::now();
        dispatch(&server, &channel, &answers, Request { id: case, body });
        longest = longest.max(start.elapsed());
    }
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    // and it is still there
    let (answers, _open) = Answers::alone();
    dispatch(&server, &channel, &answers, Request { id: 0, body: whole[1].clone() });
    assert!(answers.backlog() > 40, "more than a fault: {} bytes", answers.backlog());
}

#[tokio::test]
async fn without_a_session_nothing_is_looked_at() {
    let Bench { server, channel, session } = bench();
    let whole = requests(&session);
    session.state().user = None;
    for (at, request) in whole.iter().enumerate().skip(1) {
        let (answers, _open) = Answers::alone();
        dispatch(&server, &channel, &answers, Request { id: 1, body: request.clone() });
        // what is answered later holds its request until then
        for _ in 0..100 {
            if answers.backlog() < 60 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // a fault and nothing else
        assert!((20..60).contains(&answers.backlog()), "{at}: {} bytes", answers.backlog());
    }
    assert!(server.sessions.is_empty(), "a session that is used before it is activated ends");
}

#[tokio::test]
async fn a_response_that_its_session_does_not_want_becomes_a_fault() {
    for (most, want) in [(0, StatusCode::Good), (10_000, StatusCode::Good), (40, StatusCode::BadResponseTooLarge)] {
        let Bench { server, channel, session } = bench_of(most);
        let (answers, mut open) = Answers::kept();
        dispatch(&server, &channel, &answers, Request { id: 1, body: requests(&session).remove(1) });
        let body = open().unwrap();
        let mut reader = Reader::new(&body);
        reader.node_id().unwrap();
        reader.take(12).unwrap();
        assert_eq!(reader.status().unwrap(), want, "{most}");
    }
}

#[tokio::test]
async fn a_client_that_its_certificate_does_not_name_counts_once() {
    let Bench { server, .. } = bench();
    let der = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pki/self.der")).unwrap();
    let certificate = Arc::new(crate::plant::opcua::pki::Certificate::from_der(&der).unwrap());
    let security = (SecurityPolicy::Basic256Sha256, MessageSecurityMode::Sign);
    let channel = Arc::new(Channel::new(2, security, Some(certificate), "127.0.0.1:5000".parse().unwrap()));
    let request = CreateSessionRequest {
        client_description: ApplicationDescription { application_uri: "urn:other".into(), ..Default::default() },
        client_nonce: ByteString::from(vec![1; 32]),
        client_certificate: ByteString::from(&der),
        ..Default::default()
    };
    let (answers, mut answer) = Answers::kept();
    let body = bytes(Service::CreateSession.request(), &request);
    dispatch(&server, &channel, &answers, Request { id: 1, body });
    let body = loop {
        match answer() {
            Some(body) => break body,
            None => tokio::task::yield_now().await,
        }
    };
    let mut reader = Reader::new(&body);
    reader.node_id().unwrap();
    reader.take(12).unwrap();
    assert_eq!(reader.status().unwrap(), StatusCode::BadCertificateUriInvalid);
    let summary = server.counters.summary(&server.sessions, &server.subscriptions());
    assert_eq!((summary.rejected_session_count, summary.security_rejected_session_count), (1, 1));
    assert_eq!((summary.rejected_requests_count, summary.security_rejected_requests_count), (1, 1));
}

/// The seeds of the fuzz target `dispatch`: a request of each kind without its header, and all of them.
#[test]
fn fuzz_seeds() {
    let Bench { session, .. } = bench();
    let (folder, _scratch) = crate::plant::opcua::channel::tests::corpus("dispatch");
    let mut all = Vec::new();
    for whole in requests(&session) {
        let mut reader = Reader::new(&whole);
        let service = Service::of_request(reader.node_id().unwrap().standard().unwrap()).unwrap();
        crate::plant::opcua::wire::RequestHeader::read(&mut reader).unwrap();
        let body = reader.rest();
        let mut seed = vec![service as u8];
        seed.extend((body.len() as u16).to_le_bytes());
        seed.extend(body);
        std::fs::write(folder.join(format!("seed-{service:?}")), &seed).unwrap();
        all.extend(seed);
    }
    assert!(all.len() > 500, "{} bytes", all.len());
    std::fs::write(folder.join("seed-all"), all).unwrap();
}
