//! Methods called by a client: what reaches the controller, and what is said of what does not.

use std::sync::Mutex;

use opcua::types::{Argument, CallMethodRequest, CallMethodResult, CallRequest};

use super::*;
use crate::command::{Refusal, Value};
use crate::dbc::Raw;

const PLANT: &str = r#"VERSION ""
BU_: ME ECU
BO_ 512 DriveCommand: 8 ME
 SG_ Setpoint : 0|16@1+ (0.5,0) [0|3000] "rpm" ECU
 SG_ Enable : 16|1@1+ (1,0) [0|0] "" ECU
 SG_ Steps : 24|16@1- (1,0) [0|0] "" ECU
 SG_ Locked : 40|8@1+ (1,0) [0|0] "" ECU
 SG_ Fallback : 48|8@1+ (1,0) [0|0] "" ECU
BO_ 513 Pages: 3 ME
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" ECU
 SG_ Low m0 : 8|8@1+ (1,0) [0|99] "" ECU
 SG_ High m1 : 8|16@1- (1,0) [0|0] "" ECU
BO_ 514 Status: 8 ECU
 SG_ Speed : 0|16@1+ (0.5,0) [0|3000] "rpm" ME
CM_ SG_ 512 Setpoint "Speed of the drive";
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;
BA_DEF_DEF_ "GenMsgCycleTime" 10;
VAL_ 512 Enable 0 "Off" 1 "On" ;
"#;

const SETTINGS: &str = r#"
[bus.line]
interface = "can0"
dbc = ["plant.dbc"]
node = "ME"
transmit = "all"
writable = ["DriveCommand.Setpoint", "DriveCommand.Enable", "DriveCommand.Steps", "Pages.Low", "Pages.High"]
forcible = ["Status.Speed"]
message.DriveCommand.lease_ms = 400
[route.over]
from = "line"
to = "other"
all = true
[route.ways]
from = "west"
to = "xray"
id = "300"
both = true
[bus.other]
interface = "can1"
[bus.xray]
interface = "can2"
[bus.west]
interface = "can3"
"#;

fn example() -> (Example, mpsc::Receiver<crate::plant::view::Request>) {
    Example::with(configured(SETTINGS, PLANT))
}

async fn call(client: &mut Client, object: &str, method: &str, arguments: &[Variant]) -> CallMethodResult {
    let request = CallRequest {
        request_header: client.header(),
        methods_to_call: Some(vec![CallMethodRequest {
            object_id: id(object),
            method_id: id(&format!("Canvoy.Methods.{method}")),
            input_arguments: Some(arguments.to_vec()),
        }]),
    };
    let ResponseMessage::Call(answer) = client.call(request).await.unwrap() else { panic!("another answer") };
    answer.results.unwrap().remove(0)
}

/// `BadInvalidArgument Good BadTypeMismatch`: the status, and those of the arguments.
fn told(result: &CallMethodResult) -> String {
    let arguments = result.input_argument_results.iter().flatten().map(ToString::to_string);
    std::iter::once(result.status_code.to_string()).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_reaches_the_controller_or_is_refused_with_a_reason() {
    let (example, mut requests) = example();
    let plan = example.plant.view().plan.clone();
    let server = Running::start("methods", example.plant.clone(), Config::default()).await;
    let pki = server.client_pki();
    Client::connect(server.address, &pki).await;
    server.trust(&pki);
    let mut client = Client::connect(server.address, &pki).await;
    client.open(Some(server.server_certificate())).await.unwrap();
    client.login(Some(("anna", "secret"))).await.unwrap();
    // the controller: what it was asked, and what it says next
    let asked = Arc::new(Mutex::new(Vec::new()));
    let verdict = Arc::new(Mutex::new(None));
    let controller = tokio::spawn({
        let (asked, verdict) = (asked.clone(), verdict.clone());
        async move {
            while let Some(request) = requests.recv().await {
                asked.lock().unwrap().push(format!("{:?}", request.action));
                let refusal: Option<Refusal> = verdict.lock().unwrap().take();
                request.answer.send(refusal.map_or(Ok(()), Err)).unwrap();
            }
        }
    });
    let tag = |name: &str| tag(&plan, name);
    let message = |name: &str| plan.messages.iter().position(|message| message.message.name == name).unwrap();
    let drive = message("DriveCommand");
    let node = |name: &str| Variant::from(id(name));
    let number = Variant::Double;
    let set = |tag: usize, value: Value| Write { tag, value };
    let send = |setpoint: f64| {
        Action::Send(vec![
            set(tag("DriveCommand.Enable"), Value::Raw(Raw::Unsigned(1))),
            set(tag("DriveCommand.Setpoint"), Value::Engineering(setpoint)),
            set(tag("DriveCommand.Steps"), Value::Raw(Raw::Signed(-3))),
        ])
    };
    let low = Action::Send(vec![set(tag("Pages.Low"), Value::Raw(Raw::Unsigned(9)))]);
    let high = Action::Send(vec![set(tag("Pages.High"), Value::Raw(Raw::Signed(-9)))]);
    let force = Action::Force { tag: tag("Status.Speed"), value: Value::Engineering(10.0), seconds: 60.0 };
    let (on, steps, big) = (Variant::Boolean(true), Variant::Int16(-3), Variant::Int16(-9));
    for (object, method, arguments, want, actions) in [
        ("Canvoy.Machine", "Machine.Arm", vec![], "Good", vec![Action::Arm]),
        ("Canvoy.Machine", "Machine.Disarm", vec![], "Good", vec![Action::Disarm]),
        ("Canvoy.Machine", "Machine.Fallback", vec![], "Good", vec![Action::Fallback(None)]),
        ("Canvoy.Machine", "Machine.ResetFallback", vec![], "Good", vec![Action::ResetFallback(None)]),
        ("Canvoy.Machine", "Machine.SetLocal", vec![], "Good", vec![Action::Remote(false)]),
        ("Canvoy.Machine", "Machine.SetRemote", vec![], "Good", vec![Action::Remote(true)]),
        ("Canvoy.Machine", "Machine.ReleaseAll", vec![], "Good", vec![Action::Release(None)]),
        ("line.DriveCommand", "line.DriveCommand.Fallback", vec![], "Good", vec![Action::Fallback(Some(drive))]),
        (
            "line.DriveCommand",
            "line.DriveCommand.ResetFallback",
            vec![],
            "Good",
            vec![Action::ResetFallback(Some(drive))],
        ),
        // arguments in the order of their names
        (
            "line.DriveCommand",
            "line.DriveCommand.Send",
            vec![on.clone(), number(1500.0), steps.clone()],
            "Good Good Good Good",
            vec![send(1500.0)],
        ),
        // the selector says which page it is; what is on the other is passed over
        (
            "line.Pages",
            "line.Pages.Send",
            vec![Variant::Byte(0), big.clone(), Variant::Byte(9)],
            "Good Good Good Good",
            vec![low],
        ),
        (
            "line.Pages",
            "line.Pages.Send",
            vec![Variant::Byte(1), big.clone(), Variant::Byte(200)],
            "Good Good Good Good",
            vec![high],
        ),
        (
            "line.Pages",
            "line.Pages.Send",
            vec![Variant::Byte(0), big.clone(), Variant::Byte(200)],
            "BadInvalidArgument Good Good BadOutOfRange",
            vec![],
        ),
        (
            "Canvoy.Machine",
            "Machine.Force",
            vec![node("line.Status.Speed"), number(10.0), number(60_000.0)],
            "Good Good Good Good",
            vec![force],
        ),
        (
            "Canvoy.Machine",
            "Machine.Release",
            vec![node("line.Status.Speed")],
            "Good Good",
            vec![Action::Release(Some(tag("Status.Speed")))],
        ),
        ("Canvoy.Machine", "Machine.RestartBus", vec![node("line")], "Good Good", vec![Action::Restart(0)]),
        ("Canvoy.Buses.line", "line.Restart", vec![], "Good", vec![Action::Restart(0)]),
        (
            "Canvoy.Machine",
            "Machine.RestartBus",
            vec![node("Canvoy.Buses.line")],
            "Good Good",
            vec![Action::Restart(0)],
        ),
        (
            "Canvoy.Machine",
            "Machine.SwitchRoute",
            vec![Variant::from("over"), Variant::Boolean(false)],
            "Good Good Good",
            vec![Action::Route { route: 0, on: false }],
        ),
        // both ways of it
        (
            "Canvoy.Machine",
            "Machine.SwitchRoute",
            vec![Variant::from("ways"), Variant::Boolean(true)],
            "Good Good Good",
            vec![Action::Route { route: 1, on: true }, Action::Route { route: 2, on: true }],
        ),
        // what is wrong with the arguments
        ("Canvoy.Machine", "Machine.Arm", vec![number(1.0)], "BadTooManyArguments", vec![]),
        ("Canvoy.Machine", "Machine.Release", vec![], "BadArgumentsMissing", vec![]),
        ("line.DriveCommand", "line.DriveCommand.Send", vec![on.clone(), number(1.0)], "BadArgumentsMissing", vec![]),
        (
            "line.DriveCommand",
            "line.DriveCommand.Send",
            vec![on.clone(), number(1.0), steps.clone(), steps.clone()],
            "BadTooManyArguments",
            vec![],
        ),
        (
            "line.DriveCommand",
            "line.DriveCommand.Send",
            vec![Variant::Byte(1), number(3000.5), Variant::Empty],
            "BadInvalidArgument BadTypeMismatch BadOutOfRange BadTypeMismatch",
            vec![],
        ),
        (
            "Canvoy.Machine",
            "Machine.Force",
            vec![node("line.Status"), number(1.0), number(999.0)],
            "BadInvalidArgument BadNodeIdInvalid Good BadOutOfRange",
            vec![],
        ),
        (
            "Canvoy.Machine",
            "Machine.Force",
            vec![node("line.Status.Speed"), Variant::Float(1.0), steps.clone()],
            "BadInvalidArgument Good BadTypeMismatch BadTypeMismatch",
            vec![],
        ),
        (
            "Canvoy.Machine",
            "Machine.Release",
            vec![node("line.Nothing")],
            "BadInvalidArgument BadNodeIdUnknown",
            vec![],
        ),
        (
            "Canvoy.Machine",
            "Machine.RestartBus",
            vec![node("line.Status")],
            "BadInvalidArgument BadNodeIdInvalid",
            vec![],
        ),
        (
            "Canvoy.Machine",
            "Machine.SwitchRoute",
            vec![Variant::from("under"), on.clone()],
            "BadInvalidArgument BadNotFound Good",
            vec![],
        ),
        // and with where
        ("line.DriveCommand", "Machine.Arm", vec![], "BadMethodInvalid", vec![]),
        ("line.Pages", "line.DriveCommand.Fallback", vec![], "BadMethodInvalid", vec![]),
        ("line.Nothing", "Machine.Arm", vec![], "BadNodeIdUnknown", vec![]),
        ("line.Status", "line.Status.Fallback", vec![], "BadNodeIdUnknown", vec![]),
        ("Canvoy.Machine", "Machine.Arm.InputArguments", vec![], "BadNodeIdUnknown", vec![]),
        ("Canvoy.Machine", "Machine.Force.InputArguments", vec![], "BadMethodInvalid", vec![]),
    ] {
        let result = call(&mut client, object, method, &arguments).await;
        assert_eq!(told(&result), want, "{method} {arguments:?}");
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        let actions: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
        // renewals of the lease that Send has taken are the session's own
        let asked: Vec<String> = asked.into_iter().filter(|action| !action.starts_with("Renew")).collect();
        assert_eq!(asked, actions, "{method} {arguments:?}");
    }
    for (refusal, want) in [
        (Refusal::NotArmed, "BadInvalidState"),
        (Refusal::Local, "BadNotExecutable"),
        (Refusal::RemoteAtTheMachine, "BadNotExecutable"),
        (Refusal::NotForcible { tag: "x".into() }, "BadNotSupported"),
        (Refusal::Busy, "BadServerTooBusy"),
    ] {
        *verdict.lock().unwrap() = Some(refusal);
        assert_eq!(told(&call(&mut client, "Canvoy.Machine", "Machine.Disarm", &[]).await), want);
    }
    // what is there, and how it is called where a signal has the name
    let names =
        browse(&mut client, id("line.DriveCommand"), BrowseDirection::Forward, ReferenceTypeId::HasComponent).await;
    let wanted = "2:Enable 2:Fallback 2:FallbackMethod 2:Locked 2:ResetFallback 2:Send 2:Setpoint 2:Steps";
    assert_eq!(names, wanted);
    for (method, want) in [
        (
            "line.DriveCommand.Send",
            "Enable i=1 0 to 1; 0 = Off, 1 = On\n\
             Setpoint i=11 Speed of the drive; 0 to 3000 rpm\n\
             Steps i=4 -32768 to 32767",
        ),
        // i=290: Duration (OPC 10000-3, 8.13)
        (
            "Machine.Force",
            "Signal i=17 The variable of the signal.\n\
             Value i=24 Of the type of that variable.\n\
             Duration i=290 Milliseconds, from a second to a day; then the force ends by itself.",
        ),
    ] {
        let node = id(&format!("Canvoy.Methods.{method}.InputArguments"));
        let arguments = read(&mut client, node, AttributeId::Value).await;
        let Some(Variant::Array(arguments)) = arguments.value else { panic!("{arguments:?}") };
        let shown = arguments.values.into_iter().map(|argument| {
            let Variant::ExtensionObject(argument) = argument else { panic!("{argument:?}") };
            let argument = argument.into_inner_as::<Argument>().unwrap();
            format!("{} {} {}", argument.name, argument.data_type, argument.description.text)
        });
        assert_eq!(shown.collect::<Vec<_>>().join("\n"), want);
    }
    let lease = read(&mut client, id("line.DriveCommand.LeaseTime"), AttributeId::Value).await;
    assert_eq!(lease.value, Some(Variant::Double(400.0)));
    controller.abort();
    server.end().await;
}
