//! A small plant, and the server run for real over it: what a client sees from its first byte to a written frame.

mod client;
pub mod link;
mod methods;
mod refresh;
mod reload;
mod roles;

use crate::plant::scratch::Scratch;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opcua::core::ResponseMessage;
use opcua::crypto::{X509, X509Data};
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowsePath, BrowseRequest, CloseSessionRequest,
    CreateMonitoredItemsRequest, CreateSubscriptionRequest, DataChangeNotification, DataValue,
    MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, NodeId, ObjectId, PublishRequest, ReadRequest,
    ReadValueId, ReferenceTypeId, RelativePath, RelativePathElement, RequestHeader, StatusCode, TimestampsToReturn,
    TranslateBrowsePathsToNodeIdsRequest, Variant, ViewDescription, WriteRequest, WriteValue,
};
use tokio::sync::{mpsc, oneshot};

use super::{Config, mapping, run};
use crate::can::name::Name;
use crate::command::{self, Action, Generation, Origin, Place, VERSION, Write};
use crate::config::{self, LoadOptions, Sources};
use crate::plan::{Plan, TagIndex};
use crate::plant::pulse::Pulses;
use crate::plant::{Plant, View, access};
use crate::quality::{Cause, Causes};
use crate::store::layout::{BusState, Word};
use crate::store::names::Holder;
use crate::store::{Layout, Memory, Reader, Record, Writer, clock};
use client::Client;

pub const DBC: &str = r#"VERSION ""
BU_: ME ECU
BO_ 256 Oven: 8 ECU
 SG_ Temp : 0|16@1+ (0.1,-40) [-40|200] "degC" ME
 SG_ Mode : 16|4@1+ (1,0) [0|0] "" ME
 SG_ Door : 20|1@1+ (1,0) [0|0] "" ME
 SG_ Flag : 21|1@1+ (1,0) [0|0] "" ME
 SG_ Trim : 24|8@1- (1,0) [0|0] "mm" ME
 SG_ Level : 32|32@1- (1,0) [0|0] "bottles" ME
BO_ 257 Wide: 8 ECU
 SG_ Big : 0|64@1+ (1,0) [0|0] "" ME
BO_ 258 Precise: 8 ECU
 SG_ Exact : 0|64@1- (1,0) [-1|1] "" ME
BO_ 512 DriveCommand: 8 ME
 SG_ Setpoint : 0|16@1+ (0.5,0) [0|3000] "rpm" ECU
 SG_ Enable : 16|1@1+ (1,0) [0|0] "" ECU
 SG_ Steps : 24|16@1- (1,0) [0|0] "" ECU
 SG_ Locked : 40|8@1+ (1,0) [0|0] "" ECU
BO_ 2364539904 EEC1: 8 ECU
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" ME
CM_ BO_ 256 "The oven";
CM_ SG_ 256 Temp "Temperature of the oven";
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_DEF_DEF_ "VFrameFormat" "StandardCAN";
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 512 10;
BA_ "VFrameFormat" BO_ 2364539904 3;
VAL_ 256 Mode 0 "Off" 1 "On" 2 "Fault" ;
VAL_ 256 Door 0 "Closed" 1 "Open" ;
SIG_VALTYPE_ 256 Level : 1;
SIG_VALTYPE_ 258 Exact : 2;
"#;

const CONFIGURATION: &str = r#"
[bus.line]
interface = "can0"
dbc = ["plant.dbc"]
node = "ME"
transmit = "all"
writable = ["DriveCommand.Setpoint", "DriveCommand.Enable", "DriveCommand.Steps"]
"#;

const READ_ONLY: &str = "[bus.line]\ninterface = \"can0\"\ndbc = [\"plant.dbc\"]\nnode = \"ME\"\n";

pub fn plan() -> Plan {
    plan_of(DBC)
}

fn plan_of(dbc: &str) -> Plan {
    // only what writes has what can be written
    configured(if dbc.contains("DriveCommand") { CONFIGURATION } else { READ_ONLY }, dbc)
}

pub fn configured(writes: &str, dbc: &str) -> Plan {
    let sources = Sources::embedded("plant.toml", writes, &[("plant.dbc", dbc.as_bytes())]);
    match config::load(&sources, LoadOptions::default()) {
        Ok(loaded) => loaded.plan,
        Err(mistakes) => panic!("{mistakes:?}"),
    }
}

/// The tag `Message.Signal` on the only bus.
pub fn tag(plan: &Plan, name: &str) -> TagIndex {
    (0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == format!("line.{name}")).unwrap()
}

/// What the controller says of one of its generations.
fn generation(number: u64) -> Generation {
    Generation {
        version: VERSION,
        number,
        pid: 1,
        hash: format!("{number:064}"),
        since: number * 1_000_000_000,
        door: Place::Plant,
    }
}

/// A plant whose controller is this test.
pub struct Example {
    pub plant: Arc<Plant>,
    writer: Writer,
}

impl Example {
    pub fn new() -> (Example, mpsc::Receiver<crate::plant::view::Request>) {
        Example::of(DBC)
    }

    pub fn of(dbc: &str) -> (Example, mpsc::Receiver<crate::plant::view::Request>) {
        Example::with(plan_of(dbc))
    }

    pub fn with(plan: Plan) -> (Example, mpsc::Receiver<crate::plant::view::Request>) {
        Example::with_roles(plan, &Default::default())
    }

    fn with_roles(plan: Plan, roles: &access::role::Configs) -> (Example, mpsc::Receiver<crate::plant::view::Request>) {
        let rights = Arc::new(access::Rights::new(roles, &plan));
        let plan = Arc::new(plan);
        let layout = Layout::of(&plan);
        let memory = Arc::new(Memory::heap(layout.words()));
        let mut writer = Writer::new(memory.clone(), layout, 7);
        writer.set_bus_state(0, BusState::Active, 1);
        // no heartbeat is older than this one
        writer.set(Word::Heartbeat, u64::MAX);
        let (sender, receiver) = mpsc::channel(16);
        let view = View::new(plan, Reader::open(memory, layout, 7).unwrap(), &generation(1), sender);
        let plant = Arc::new(Plant::new(view.with_rights(rights)));
        (Example { plant, writer }, receiver)
    }

    /// Who holds an address of the only bus: NAME, and CLOCK_REALTIME nanoseconds of the claim.
    pub fn claim(&mut self, address: u8, holder: Option<(u64, u64)>) {
        let holder = holder.map(|(name, claimed)| Holder { name: Name(name), claimed });
        self.writer.set_holder(0, address, holder);
    }

    /// Receives a frame. `source`: J1939 slot and source address.
    pub fn frame(&mut self, message: &str, source: (usize, u8), payload: [u8; 8], causes: Causes, time: u64) {
        let index = self.plant.view().plan.messages.iter().position(|other| other.message.name == message).unwrap();
        let view = self.plant.view();
        let plan = &view.plan.messages[index];
        let id_bits = plan.message.id.bits() & !0xFF | u32::from(source.1);
        let mut record =
            Record { causes, id_bits, source_time: time, received: 1, count: 1, length: 8, ..Record::EMPTY };
        record.payload[..8].copy_from_slice(&payload);
        let at = plan.record(source.0, 0);
        self.writer.record(at, &record);
    }
}

/// A running server.
struct Running {
    address: SocketAddr,
    folder: Scratch,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(name: &str, plant: Arc<Plant>, config: Config) -> Running {
        let folder = Scratch::new(&format!("opcua-{name}"));
        access::add(&folder.join("users"), "anna", "secret").unwrap();
        let config = Config { users: Some(folder.join("users")), ..config };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let state = folder.to_path_buf();
        let ended = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            run(plant, config, listener, &state, &Pulses::default(), shutdown).await
        });
        Running { address, folder, stop, ended }
    }

    async fn end(self) {
        drop(self.stop);
        self.ended.await.unwrap().unwrap();
    }

    fn server_certificate(&self) -> X509 {
        X509::from_der(&std::fs::read(self.folder.join("pki/own/certificate.der")).unwrap()).unwrap()
    }

    /// A client with a certificate of its own, which the server trusts.
    fn client_pki(&self) -> PathBuf {
        let pki = self.folder.join("client");
        let data = X509Data {
            key_size: 2048,
            common_name: "client".into(),
            organization: String::new(),
            organizational_unit: String::new(),
            country: String::new(),
            state: String::new(),
            alt_host_names: X509Data::alt_host_names("urn:client", None, true, false, false),
            certificate_duration_days: 10,
        };
        let (certificate, key) = X509::cert_and_pkey(&data).unwrap();
        std::fs::create_dir_all(pki.join("own")).unwrap();
        std::fs::write(pki.join("own/certificate.der"), certificate.to_der().unwrap()).unwrap();
        let pem = key.to_der().unwrap().to_pem("PRIVATE KEY", Default::default()).unwrap();
        std::fs::write(pki.join("own/key.pem"), pem.as_bytes()).unwrap();
        pki
    }

    fn trust(&self, pki: &Path) {
        std::fs::copy(pki.join("own/certificate.der"), self.folder.join("pki/trusted/client")).unwrap();
    }
}

fn id(text: &str) -> NodeId {
    NodeId::new(2, text.to_owned())
}

async fn read(client: &mut Client, node: NodeId, attribute: AttributeId) -> DataValue {
    let request = ReadRequest {
        request_header: client.header(),
        max_age: 0.0,
        timestamps_to_return: TimestampsToReturn::Both,
        nodes_to_read: Some(vec![ReadValueId { node_id: node, attribute_id: attribute as u32, ..Default::default() }]),
    };
    let ResponseMessage::Read(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    answer.results.unwrap().remove(0)
}

async fn write(client: &mut Client, writes: &[(&str, Variant)]) -> Vec<StatusCode> {
    let write = |(node, value): &(&str, Variant)| WriteValue {
        node_id: id(node),
        attribute_id: AttributeId::Value as u32,
        value: DataValue { value: Some(value.clone()), ..DataValue::null() },
        ..Default::default()
    };
    let request =
        WriteRequest { request_header: client.header(), nodes_to_write: Some(writes.iter().map(write).collect()) };
    let ResponseMessage::Write(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    answer.results.unwrap()
}

/// BrowseNames of what a node refers to, or the StatusCode.
async fn browse(client: &mut Client, node: NodeId, direction: BrowseDirection, kind: ReferenceTypeId) -> String {
    let request = BrowseRequest {
        request_header: client.header(),
        view: ViewDescription::default(),
        requested_max_references_per_node: 0,
        nodes_to_browse: Some(vec![BrowseDescription {
            node_id: node,
            browse_direction: direction,
            reference_type_id: kind.into(),
            include_subtypes: true,
            node_class_mask: 0,
            result_mask: 0x3F,
        }]),
    };
    let ResponseMessage::Browse(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    let result = answer.results.unwrap().remove(0);
    if result.status_code.is_bad() {
        return result.status_code.to_string();
    }
    let names = result.references.unwrap_or_default().into_iter().map(|reference| reference.browse_name.to_string());
    names.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_no_further_than_the_endpoints() {
    let (example, _requests) = Example::new();
    let server = Running::start("strangers", example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    let mut client = Client::connect(server.address, &pki).await;
    client.open(None).await.unwrap();
    let mut endpoints = client.endpoints().await;
    endpoints.sort();
    endpoints.dedup();
    let offered = ["Aes128-Sha256-RsaOaep", "Aes256-Sha256-RsaPss", "Basic256Sha256"];
    assert_eq!(endpoints, offered.map(|policy| (policy.to_owned(), false)));
    assert_eq!(client.login(None).await, Err(StatusCode::BadSecurityPolicyRejected));

    let certificate = server.server_certificate();
    let mut client = Client::connect(server.address, &pki).await;
    assert_eq!(client.open(Some(certificate.clone())).await, Err(StatusCode::BadSecurityChecksFailed));
    server.trust(&pki);
    for (user, want) in [
        (None, Err(StatusCode::BadIdentityTokenRejected)),
        (Some(("anna", "wrong")), Err(StatusCode::BadIdentityTokenRejected)),
        (Some(("ANONYMOUS", "secret")), Err(StatusCode::BadIdentityTokenRejected)),
        (Some(("anna", "secret")), Ok(())),
    ] {
        let mut client = Client::connect(server.address, &pki).await;
        client.open(Some(certificate.clone())).await.unwrap();
        assert_eq!(client.login(user).await, want, "{user:?}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reads_and_writes() {
    let (mut example, mut requests) = Example::new();
    let stamp = 1_767_323_045_250_000_000;
    example.frame("Oven", (0, 0), [0xE8, 3, 0x11, 0xFE, 0, 0, 0x80, 0x3F], Causes::NONE, stamp);
    example.frame("EEC1", (1, 33), [0, 0, 0, 0, 2, 0, 0, 0], Causes::of(Cause::Late), stamp);
    let plan = example.plant.view().plan.clone();
    let server = Running::start("operator", example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    client.login(Some(("anna", "secret"))).await.unwrap();

    for (node, direction, kind, want) in [
        (ObjectId::ObjectsFolder.into(), BrowseDirection::Forward, ReferenceTypeId::Organizes, "2:Canvoy"),
        (id("Canvoy"), BrowseDirection::Inverse, ReferenceTypeId::References, "Objects"),
        (id("Canvoy"), BrowseDirection::Forward, ReferenceTypeId::Organizes, "2:Machine 2:line"),
        (
            id("line"),
            BrowseDirection::Forward,
            ReferenceTypeId::Organizes,
            "2:DriveCommand 2:EEC1 2:Oven 2:Precise 2:Wide 2:line.@33",
        ),
        (
            id("line.Oven"),
            BrowseDirection::Forward,
            ReferenceTypeId::HasComponent,
            "2:Door 2:Flag 2:Level 2:Mode 2:Temp 2:Trim",
        ),
        (id("Canvoy.Devices.line.@33"), BrowseDirection::Forward, ReferenceTypeId::HasComponent, "2:EEC1"),
        (id("line.EEC1@33"), BrowseDirection::Forward, ReferenceTypeId::HasComponent, "2:EngineSpeed"),
        (id("line.Oven.Temp"), BrowseDirection::Inverse, ReferenceTypeId::HierarchicalReferences, "2:Oven"),
        (
            id("line.Oven.Temp"),
            BrowseDirection::Both,
            ReferenceTypeId::References,
            "2:Oven AnalogUnitType 2:Comment EngineeringUnits EURange NodeVersion 2:RawValue",
        ),
        (id("line.Nothing"), BrowseDirection::Forward, ReferenceTypeId::References, "BadNodeIdUnknown"),
    ] {
        let names = browse(&mut client, node.clone(), direction, kind).await;
        let ours = names.split(' ').filter(|name| kind != ReferenceTypeId::Organizes || name.starts_with("2:"));
        assert_eq!(ours.collect::<Vec<_>>().join(" "), want, "{node} {direction:?} {kind:?}");
    }

    let temperature = read(&mut client, id("line.Oven.Temp"), AttributeId::Value).await;
    assert_eq!((&temperature.value, temperature.status()), (&Some(Variant::Double(60.0)), StatusCode::Good));
    let source = temperature.source_timestamp.unwrap();
    assert_eq!(source.as_chrono().timestamp_nanos_opt(), Some(stamp as i64));
    let late = read(&mut client, id("line.EEC1@33.EngineSpeed"), AttributeId::Value).await;
    assert_eq!(late.value, Some(Variant::Double(64.0)), "the last value is held");
    assert_eq!(late.status, Some(StatusCode::UncertainNoCommunicationLastUsableValue));
    let never = read(&mut client, id("line.Wide.Big"), AttributeId::Value).await;
    assert_eq!((never.value, never.status), (None, Some(StatusCode::BadWaitingForInitialData)));
    for (node, attribute, want) in [
        ("line.Oven.Mode.ValueAsText", AttributeId::DisplayName, StatusCode::Good),
        ("line.Oven.Mode.EURange", AttributeId::Value, StatusCode::BadNodeIdUnknown),
        ("line.Oven", AttributeId::Value, StatusCode::BadAttributeIdInvalid),
        ("line.Oven.Flag", AttributeId::Description, StatusCode::BadAttributeIdInvalid),
        ("line.EEC1.EngineSpeed", AttributeId::Value, StatusCode::BadNodeIdUnknown),
        ("line.EEC1@34.EngineSpeed", AttributeId::Value, StatusCode::BadNodeIdUnknown),
        ("line.EEC1@033.EngineSpeed", AttributeId::Value, StatusCode::BadNodeIdUnknown),
    ] {
        let answer = read(&mut client, id(node), attribute).await;
        assert_eq!(answer.status.unwrap_or(StatusCode::Good), want, "{node} {attribute:?}");
    }

    // the controller: checks as the real one does, and reports what it was asked
    let (asked, mut asks) = mpsc::channel::<(Origin, Vec<Write>)>(16);
    let controller = tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            let Action::Set(writes) = request.action else { panic!("{:?}", request.action) };
            let verdict = command::compile(&plan, &writes).map(|_| ());
            asked.send((request.origin, writes)).await.unwrap();
            request.answer.send(verdict).unwrap();
        }
    });
    let [setpoint, enable, steps] = ["Setpoint", "Enable", "Steps"].map(|name| format!("line.DriveCommand.{name}"));
    let good = StatusCode::Good;
    for (writes, want, commands) in [
        (vec![(&setpoint[..], Variant::Double(1500.0))], vec![good], 1),
        (
            vec![
                (&setpoint[..], Variant::Double(1.0)),
                (&enable[..], Variant::Boolean(true)),
                (&steps[..], Variant::Int16(-3)),
            ],
            vec![good, good, good],
            1,
        ),
        // of one signal the last value counts: one frame
        (vec![(&enable[..], Variant::Boolean(true)), (&enable[..], Variant::Boolean(false))], vec![good, good], 1),
        (vec![(&setpoint[..], Variant::Double(3000.5))], vec![StatusCode::BadOutOfRange], 0),
        (vec![(&setpoint[..], Variant::Double(f64::NAN))], vec![StatusCode::BadOutOfRange], 0),
        (vec![(&setpoint[..], Variant::Float(1.0))], vec![StatusCode::BadTypeMismatch], 0),
        (vec![(&setpoint[..], Variant::Int32(1))], vec![StatusCode::BadTypeMismatch], 0),
        (vec![(&setpoint[..], Variant::Empty)], vec![StatusCode::BadTypeMismatch], 0),
        (vec![(&setpoint[..], Variant::from(vec![1.0]))], vec![StatusCode::BadTypeMismatch], 0),
        (vec![("line.DriveCommand.Locked", Variant::Byte(1))], vec![StatusCode::BadNotWritable], 0),
        (vec![("line.Oven.Temp", Variant::Double(1.0))], vec![StatusCode::BadNotWritable], 0),
        (vec![("line.Oven", Variant::Double(1.0))], vec![StatusCode::BadNotWritable], 0),
        (vec![("line.Nothing", Variant::Double(1.0))], vec![StatusCode::BadNodeIdUnknown], 0),
        // all of one message or nothing: who is right by himself is told so
        (
            vec![
                (&enable[..], Variant::Byte(1)),
                (&steps[..], Variant::Int16(7)),
                (&setpoint[..], Variant::Double(3000.5)),
                ("line.DriveCommand.Locked", Variant::Byte(1)),
            ],
            vec![
                StatusCode::BadTypeMismatch,
                mapping::NOT_ALONE,
                StatusCode::BadOutOfRange,
                StatusCode::BadNotWritable,
            ],
            0,
        ),
        // what is wrong elsewhere does not hold it up
        (
            vec![("line.Oven.Temp", Variant::Double(1.0)), (&steps[..], Variant::Int16(7))],
            vec![StatusCode::BadNotWritable, good],
            1,
        ),
    ] {
        assert_eq!(write(&mut client, &writes).await, want, "{writes:?}");
        for _ in 0..commands {
            let (origin, _) = asks.try_recv().unwrap();
            assert_eq!((&origin.protocol[..], &origin.user[..]), ("opcua", "anna"));
            assert!(origin.address.starts_with("127.0.0.1:"), "{origin:?}");
        }
        assert!(asks.try_recv().is_err(), "{writes:?}");
    }
    controller.abort();

    let path = |names: &[(u16, &str)]| BrowsePath {
        starting_node: ObjectId::ObjectsFolder.into(),
        relative_path: RelativePath {
            elements: Some(
                names
                    .iter()
                    .map(|(namespace, name)| RelativePathElement {
                        reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
                        is_inverse: false,
                        include_subtypes: true,
                        target_name: opcua::types::QualifiedName::new(*namespace, *name),
                    })
                    .collect(),
            ),
        },
    };
    let request = TranslateBrowsePathsToNodeIdsRequest {
        request_header: client.header(),
        browse_paths: Some(vec![
            path(&[(2, "Canvoy"), (2, "line"), (2, "Oven"), (2, "Temp"), (0, "EURange")]),
            path(&[(2, "Canvoy"), (2, "line"), (2, "line.@33"), (2, "EEC1")]),
            path(&[(2, "Canvoy"), (0, "line")]),
        ]),
    };
    let ResponseMessage::TranslateBrowsePathsToNodeIds(answer) = client.call(request).await.unwrap() else {
        panic!("another answer")
    };
    let found: Vec<String> = answer
        .results
        .unwrap()
        .into_iter()
        .map(|result| match result.targets {
            Some(targets) if !targets.is_empty() => {
                targets.iter().map(|target| target.target_id.node_id.to_string()).collect()
            }
            _ => result.status_code.to_string(),
        })
        .collect();
    assert_eq!(found, ["ns=2;s=line.Oven.Temp.EURange", "ns=2;s=line.EEC1@33", "BadNoMatch"]);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_turns_late_is_news_to_a_client_without_a_filter() {
    let (mut example, _requests) = Example::new();
    let payload = [0xE8, 3, 1, 0, 0, 0, 0, 0];
    example.frame("Oven", (0, 0), payload, Causes::NONE, 1_000_000_000);
    let config = Config { security_policy_none: true, ..Config::default() };
    let server = Running::start("subscription", example.plant.clone(), config).await;
    let mut client = Client::connect(server.address, &server.client_pki()).await;
    client.open(None).await.unwrap();
    client.login(None).await.unwrap();
    let header = |client: &Client| -> RequestHeader { client.header() };
    assert_eq!(
        write(&mut client, &[("line.DriveCommand.Enable", Variant::Boolean(true))]).await,
        [StatusCode::BadUserAccessDenied],
        "who has no name may not write"
    );
    let level = read(&mut client, id("line.DriveCommand.Enable"), AttributeId::UserAccessLevel).await;
    assert_eq!(level.value, Some(Variant::Byte(5)));

    let request = CreateSubscriptionRequest {
        request_header: header(&client),
        requested_publishing_interval: 10.0,
        requested_lifetime_count: 1000,
        requested_max_keep_alive_count: 300,
        max_notifications_per_publish: 0,
        publishing_enabled: true,
        priority: 0,
    };
    let ResponseMessage::CreateSubscription(subscription) = client.call(request).await.unwrap() else {
        panic!("another answer")
    };
    assert_eq!(subscription.revised_publishing_interval, 10.0);
    let request = CreateMonitoredItemsRequest {
        request_header: header(&client),
        subscription_id: subscription.subscription_id,
        timestamps_to_return: TimestampsToReturn::Both,
        items_to_create: Some(vec![MonitoredItemCreateRequest {
            item_to_monitor: ReadValueId {
                node_id: id("line.Oven.Mode"),
                attribute_id: AttributeId::Value as u32,
                ..Default::default()
            },
            monitoring_mode: MonitoringMode::Reporting,
            requested_parameters: MonitoringParameters {
                client_handle: 5,
                sampling_interval: 10.0,
                queue_size: 1,
                discard_oldest: true,
                ..Default::default()
            },
        }]),
    };
    let ResponseMessage::CreateMonitoredItems(items) = client.call(request).await.unwrap() else {
        panic!("another answer")
    };
    assert_eq!(items.results.unwrap()[0].status_code, StatusCode::Good);

    let now = clock::realtime();
    let late = Causes::of(Cause::Late);
    let mut before = None;
    for (causes, time, want) in [
        (Causes::NONE, None, StatusCode::Good),
        // the same frame still, only older
        (late, Some(now), StatusCode::UncertainNoCommunicationLastUsableValue),
        (Causes::NONE, Some(now + 1000), StatusCode::Good),
        (Causes::of(Cause::BusOff), Some(now + 1000), StatusCode::BadNoCommunication),
        (Causes::of(Cause::InterfaceGone), Some(now + 1000), StatusCode::BadNotConnected),
    ] {
        if let Some(time) = time {
            example.frame("Oven", (0, 0), payload, causes, time);
        }
        // the low bits tell that a queue of one was overrun, which is not what this is about
        let status_of = |value: &DataValue| value.status().bits() & 0xFFFF_0000;
        let value = loop {
            let request = PublishRequest { request_header: header(&client), subscription_acknowledgements: None };
            let answer = tokio::time::timeout(Duration::from_secs(20), client.call(request)).await.unwrap().unwrap();
            let ResponseMessage::Publish(publish) = answer else { panic!("another answer") };
            // none: a keep-alive
            let Some(mut data) = publish.notification_message.notification_data else { continue };
            let data = data.remove(0).into_inner_as::<DataChangeNotification>().unwrap();
            let value = data.monitored_items.unwrap().remove(0).value;
            // a new item is told its first values again, and on a busy computer that comes late
            if before != Some(status_of(&value)) {
                break value;
            }
        };
        before = Some(status_of(&value));
        assert_eq!(status_of(&value), want.bits(), "{value:?}");
        // as Read gives it
        let held = Some(Variant::Byte(1));
        assert_eq!(value.value.clone().filter(|value| *value != Variant::Empty), held);
        if let (Some(time), Some(stamp)) = (time, value.source_timestamp) {
            let stamp = stamp.as_chrono().timestamp_nanos_opt().unwrap() as u64;
            assert_eq!(stamp / 100, time / 100, "the frame's own time");
        }
    }
    server.end().await;
}

/// A client that goes on while its password is still being looked at has done nothing wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_right_after_an_activation_waits_for_it() {
    let (example, _requests) = Example::new();
    let server = Running::start("activation", example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let state = |client: &Client| ReadRequest {
        request_header: client.header(),
        max_age: 0.0,
        timestamps_to_return: TimestampsToReturn::Neither,
        nodes_to_read: Some(vec![ReadValueId::new(
            opcua::types::VariableId::Server_ServerStatus_State.into(),
            AttributeId::Value,
        )]),
    };
    let close = |client: &Client| CloseSessionRequest { request_header: client.header(), delete_subscriptions: true };

    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    for _ in 0..3 {
        let activation = client.activation(Some(("anna", "secret"))).await.unwrap();
        client.send(activation).await.unwrap();
        client.send(state(&client)).await.unwrap();
        client.send(state(&client)).await.unwrap();
        assert!(matches!(client.answer().await, Ok(ResponseMessage::ActivateSession(_))));
        assert!(matches!(client.answer().await, Ok(ResponseMessage::Read(_))));
        assert!(matches!(client.answer().await, Ok(ResponseMessage::Read(_))));
        client.call(state(&client)).await.unwrap();
        client.call(close(&client)).await.unwrap();
    }

    // nobody's password: then nothing of the session is left (OPC 10000-4, 5.7.3.1)
    let activation = client.activation(Some(("anna", "wrong"))).await.unwrap();
    client.send(activation).await.unwrap();
    client.send(state(&client)).await.unwrap();
    assert_eq!(client.answer().await.unwrap_err(), StatusCode::BadIdentityTokenRejected);
    assert_eq!(client.answer().await.unwrap_err(), StatusCode::BadSessionNotActivated);
    assert_eq!(client.call(state(&client)).await.unwrap_err(), StatusCode::BadSessionIdInvalid);

    // used without being activated
    client.activation(Some(("anna", "secret"))).await.unwrap();
    assert_eq!(client.call(state(&client)).await.unwrap_err(), StatusCode::BadSessionNotActivated);
    assert_eq!(client.call(state(&client)).await.unwrap_err(), StatusCode::BadSessionIdInvalid);

    // closed while it is being activated
    let activation = client.activation(Some(("anna", "secret"))).await.unwrap();
    client.send(activation).await.unwrap();
    client.send(close(&client)).await.unwrap();
    // in the end there is none, whichever comes first
    let answers = [client.answer().await, client.answer().await];
    let closed = |answer: &Result<ResponseMessage, _>| matches!(answer, Ok(ResponseMessage::CloseSession(_)));
    assert!(answers.iter().any(closed), "{answers:?}");
    assert!(!closed(&answers[0]) || matches!(answers[1], Err(StatusCode::BadSessionIdInvalid)), "{answers:?}");
    assert_eq!(client.call(state(&client)).await.unwrap_err(), StatusCode::BadSessionIdInvalid);
    server.end().await;
}
