//! Methods of the plant, and the properties that describe their arguments (OPC 10000-3, 5.7).

use opcua::types::{AttributeId, DataTypeId, NodeClass, ReferenceTypeId, StatusCode, VariableTypeId, Variant};

use super::model::{self, kinds::Owner};
use super::names::Named;
use super::{Node, Passing, Reference, Space, forward};
use crate::plan::{BusIndex, Direction, MessageIndex};
use crate::plant::access::{Operation, Subject};
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::session::User;

mod argument;

pub use argument::{arguments, of_send};

/// All of them begin with it.
const PREFIX: &str = "Canvoy.Methods.";
/// What those of the machine go on with; those of a bus or message go on with its NodeId.
const MACHINE: &str = "Machine";
/// The only method of a bus.
const RESTART: &str = "Restart";
/// The property, in namespace 0.
const INPUT_ARGUMENTS: &str = "InputArguments";

/// One method, or the property with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Method(Method),
    Arguments(Method),
}

/// A method, and what it is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Machine(OfMachine),
    /// Restarts a bus.
    Bus(BusIndex),
    /// A message that we send.
    Message(MessageIndex, OfMessage),
}

/// Methods of the machine, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfMachine {
    Arm,
    Disarm,
    Fallback,
    Force,
    Release,
    ReleaseAll,
    ResetFallback,
    RestartBus,
    SetLocal,
    SetRemote,
    SwitchRoute,
}

/// Methods of a message that we send, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfMessage {
    Fallback,
    ResetFallback,
    Send,
}

impl OfMachine {
    const ALL: [OfMachine; 11] = [
        OfMachine::Arm,
        OfMachine::Disarm,
        OfMachine::Fallback,
        OfMachine::Force,
        OfMachine::Release,
        OfMachine::ReleaseAll,
        OfMachine::ResetFallback,
        OfMachine::RestartBus,
        OfMachine::SetLocal,
        OfMachine::SetRemote,
        OfMachine::SwitchRoute,
    ];

    fn name(self) -> &'static str {
        match self {
            OfMachine::Arm => "Arm",
            OfMachine::Disarm => "Disarm",
            OfMachine::Fallback => "Fallback",
            OfMachine::Force => "Force",
            OfMachine::Release => "Release",
            OfMachine::ReleaseAll => "ReleaseAll",
            OfMachine::ResetFallback => "ResetFallback",
            OfMachine::RestartBus => "RestartBus",
            OfMachine::SetLocal => "SetLocal",
            OfMachine::SetRemote => "SetRemote",
            OfMachine::SwitchRoute => "SwitchRoute",
        }
    }

    fn description(self) -> &'static str {
        match self {
            OfMachine::Arm => "Ends the fallback of all outputs. Refused while a cause lasts.",
            OfMachine::Disarm => "Takes all outputs to their fallback values until armed.",
            OfMachine::Fallback => "Takes all outputs to their fallback values; the machine stays armed.",
            OfMachine::Force => "Holds a signal at a value for a time, whatever its owner says.",
            OfMachine::Release => "Ends the force of a signal.",
            OfMachine::ReleaseAll => "Ends all forces.",
            OfMachine::ResetFallback => {
                "Ends the fallback of all outputs of a machine that is armed. Refused while a cause lasts."
            }
            OfMachine::RestartBus => "Restarts a bus that is off.",
            OfMachine::SetLocal => "Local: the plant may only disarm, release and take outputs to fallback.",
            OfMachine::SetRemote => {
                "Remote: the plant may write, arm, force and switch. From the plant only where the configuration has remote_from_plant."
            }
            OfMachine::SwitchRoute => "Switches a route between buses on or off.",
        }
    }
}

impl OfMessage {
    const ALL: [OfMessage; 3] = [OfMessage::Fallback, OfMessage::ResetFallback, OfMessage::Send];

    fn name(self) -> &'static str {
        match self {
            OfMessage::Fallback => "Fallback",
            OfMessage::ResetFallback => "ResetFallback",
            OfMessage::Send => "Send",
        }
    }

    /// Beside a signal that has the name.
    fn other_name(self) -> &'static str {
        match self {
            OfMessage::Fallback => "FallbackMethod",
            OfMessage::ResetFallback => "ResetFallbackMethod",
            OfMessage::Send => "SendMethod",
        }
    }

    fn description(self) -> &'static str {
        match self {
            OfMessage::Fallback => "Takes the message to its fallback values; the others go on.",
            OfMessage::ResetFallback => {
                "Ends the fallback of the message, if the machine is armed and no cause of it lasts."
            }
            OfMessage::Send => "Writes all its writable signals and sends them in one frame at once.",
        }
    }
}

/// The part behind an identifier, which begins with `Canvoy.`.
pub fn find(space: &Space, text: &str) -> Option<Part> {
    let text = text.strip_prefix(PREFIX)?;
    if let Some(text) = text.strip_suffix(INPUT_ARGUMENTS).and_then(|text| text.strip_suffix('.')) {
        return method(space, text).filter(|method| has_arguments(*method)).map(Part::Arguments);
    }
    method(space, text).map(Part::Method)
}

fn method(space: &Space, text: &str) -> Option<Method> {
    let (object, name) = text.rsplit_once('.')?;
    if object == MACHINE {
        return OfMachine::ALL.into_iter().find(|method| method.name() == name).map(Method::Machine);
    }
    match space.names.find(&space.plan, &[object])? {
        Named::Message(message) => {
            let method = of_message(space, message).find(|method| method.name() == name)?;
            Some(Method::Message(message, method))
        }
        Named::Bus(bus) => (name == RESTART).then_some(Method::Bus(bus)),
        Named::Tag(_) => None,
    }
}

/// The methods that a message has.
fn of_message(space: &Space, message: MessageIndex) -> impl Iterator<Item = OfMessage> {
    OfMessage::ALL.into_iter().filter(move |method| {
        let planned = &space.plan.messages[message];
        let sent = matches!(planned.direction, Direction::Output(_));
        let written =
            || space.plan.tags.get(planned.tags.clone()).is_some_and(|tags| tags.iter().any(|tag| tag.writable));
        sent && (*method != OfMessage::Send || written()) && browse_name(space, message, *method).is_some()
    })
}

/// A signal keeps its name to itself; the method has another one beside it, or none if that is taken too.
fn browse_name(space: &Space, message: MessageIndex, method: OfMessage) -> Option<&'static str> {
    let signals = &space.plan.messages[message].message.signals;
    [method.name(), method.other_name()].into_iter().find(|name| signals.iter().all(|signal| signal.name != *name))
}

fn has_arguments(method: Method) -> bool {
    match method {
        Method::Machine(method) => match method {
            OfMachine::Force | OfMachine::Release | OfMachine::RestartBus | OfMachine::SwitchRoute => true,
            OfMachine::Arm
            | OfMachine::Disarm
            | OfMachine::Fallback
            | OfMachine::ReleaseAll
            | OfMachine::ResetFallback
            | OfMachine::SetLocal
            | OfMachine::SetRemote => false,
        },
        Method::Message(_, method) => method == OfMessage::Send,
        Method::Bus(_) => false,
    }
}

pub fn class(part: Part) -> NodeClass {
    match part {
        Part::Method(_) => NodeClass::Method,
        Part::Arguments(_) => NodeClass::Variable,
    }
}

/// What of the plant it is about: who may not see that does not see it.
pub fn subject(_space: &Space, part: Part) -> Subject {
    match part {
        Part::Method(method) | Part::Arguments(method) => match method {
            Method::Machine(_) => Subject::Machine,
            Method::Bus(bus) => Subject::Bus(bus),
            Method::Message(message, _) => Subject::Message(message),
        },
    }
}

/// What calling it is; `None`: it is no method, or nobody may call it.
pub fn operation(space: &Space, part: Part) -> Option<Operation> {
    let Part::Method(method) = part else { return None };
    executable(space, method).then_some(right(method))
}

/// What somebody needs the right to.
fn right(method: Method) -> Operation {
    match method {
        Method::Bus(_) => Operation::Switch,
        Method::Message(_, OfMessage::Send) => Operation::Send,
        Method::Message(_, OfMessage::Fallback | OfMessage::ResetFallback) => Operation::Fallback,
        Method::Machine(method) => match method {
            OfMachine::Arm | OfMachine::Disarm => Operation::Arm,
            OfMachine::Fallback | OfMachine::ResetFallback => Operation::Fallback,
            OfMachine::Force | OfMachine::Release | OfMachine::ReleaseAll => Operation::Force,
            OfMachine::RestartBus | OfMachine::SetLocal | OfMachine::SetRemote | OfMachine::SwitchRoute => {
                Operation::Switch
            }
        },
    }
}

pub fn type_definition(space: &Space, part: Part) -> Option<Node> {
    match part {
        Part::Method(_) => None,
        Part::Arguments(_) => space.standard(VariableTypeId::PropertyType as u32),
    }
}

/// The object that a method is called at.
pub fn object(method: Method) -> Node {
    match method {
        Method::Machine(_) => Node::Machine,
        Method::Bus(bus) => Node::Model(model::Part::Object(Owner::Bus(bus))),
        Method::Message(message, _) => Node::Message(message, None),
    }
}

/// What it hangs from.
pub fn parent(_space: &Space, part: Part) -> Option<(ReferenceTypeId, Node)> {
    Some(match part {
        Part::Method(method) => (ReferenceTypeId::HasComponent, object(method)),
        Part::Arguments(method) => (ReferenceTypeId::HasProperty, Node::Method(Part::Method(method))),
    })
}

/// Adds references to those of any node, besides parent and type definition of a part.
pub fn references(space: &Space, node: Node, _passing: Passing<'_>, all: &mut Vec<Reference>) {
    let component = |method| forward(ReferenceTypeId::HasComponent, Node::Method(Part::Method(method)));
    match node {
        Node::Machine => all.extend(OfMachine::ALL.map(|method| component(Method::Machine(method)))),
        Node::Message(message, None) => {
            all.extend(of_message(space, message).map(|method| component(Method::Message(message, method))));
        }
        Node::Model(model::Part::Object(Owner::Bus(bus))) => all.push(component(Method::Bus(bus))),
        Node::Method(Part::Method(method)) if has_arguments(method) => {
            all.push(forward(ReferenceTypeId::HasProperty, Node::Method(Part::Arguments(method))));
        }
        _ => {}
    }
}

/// Appends the identifier.
pub fn write_id(space: &Space, part: Part, text: &mut String) {
    let (Part::Method(method) | Part::Arguments(method)) = part;
    text.push_str(PREFIX);
    let name = match method {
        Method::Machine(method) => {
            text.push_str(MACHINE);
            method.name()
        }
        Method::Bus(bus) => {
            text.push_str(&space.plan.buses[bus].name);
            RESTART
        }
        Method::Message(message, method) => {
            text.push_str(&space.plan.message_name(message, None));
            method.name()
        }
    };
    text.push('.');
    text.push_str(name);
    if let Part::Arguments(_) = part {
        text.push('.');
        text.push_str(INPUT_ARGUMENTS);
    }
}

/// Appends the BrowseName; its namespace.
pub fn name_in(space: &Space, part: Part, text: &mut String) -> u16 {
    let name = match part {
        Part::Arguments(_) => INPUT_ARGUMENTS,
        Part::Method(Method::Machine(method)) => method.name(),
        Part::Method(Method::Bus(_)) => RESTART,
        Part::Method(Method::Message(message, method)) => {
            browse_name(space, message, method).unwrap_or_else(|| method.name())
        }
    };
    text.push_str(name);
    match part {
        Part::Method(_) => super::NAMESPACE,
        Part::Arguments(_) => 0,
    }
}

/// Whether an argument says what of the plant it is about.
pub fn names_its_subject(part: Part) -> bool {
    use OfMachine::{Force, Release, RestartBus, SwitchRoute};
    matches!(part, Part::Method(Method::Machine(Force | Release | RestartBus | SwitchRoute)))
}

/// Whether a user has the right to call a method; whether that makes sense now is the controller's to say. What an argument
/// names is asked about when it is called.
pub fn may_call(space: &Space, user: &User, method: Method) -> bool {
    let (operation, part) = (right(method), Part::Method(method));
    match names_its_subject(part) {
        true => user.roles.iter().any(|role| role.grants(operation)),
        false => space.may(user, operation, Node::Method(part)),
    }
}

/// Whether it makes the machine do something, which the plant may not in Local; what only lets go it may.
pub fn needs_remote(part: Part) -> bool {
    let Part::Method(method) = part else { return false };
    match method {
        Method::Bus(_) => true,
        Method::Message(_, method) => method != OfMessage::Fallback,
        Method::Machine(method) => match method {
            OfMachine::Arm
            | OfMachine::Force
            | OfMachine::ResetFallback
            | OfMachine::RestartBus
            | OfMachine::SwitchRoute => true,
            OfMachine::Disarm
            | OfMachine::Fallback
            | OfMachine::Release
            | OfMachine::ReleaseAll
            | OfMachine::SetLocal
            | OfMachine::SetRemote => false,
        },
    }
}

/// Whether the configuration lets anybody call it from the plant.
fn executable(space: &Space, method: Method) -> bool {
    let plan = &space.plan;
    let method = match method {
        Method::Machine(method) => method,
        Method::Bus(bus) => return plan.buses[bus].managed,
        Method::Message(..) => return true,
    };
    match method {
        OfMachine::SetRemote => plan.machine.remote_from_plant,
        OfMachine::RestartBus => plan.buses.iter().any(|bus| bus.managed),
        OfMachine::SwitchRoute => !plan.routes.is_empty(),
        OfMachine::Force => plan.tags.iter().any(|tag| tag.forcible),
        OfMachine::Arm
        | OfMachine::Disarm
        | OfMachine::Fallback
        | OfMachine::Release
        | OfMachine::ReleaseAll
        | OfMachine::ResetFallback
        | OfMachine::SetLocal => true,
    }
}

/// An attribute that is not as the class of the node has it; `None`: it is.
pub fn attribute(
    space: &Space,
    part: Part,
    attribute: AttributeId,
    user: &User,
) -> Option<Result<Variant, StatusCode>> {
    let Part::Method(method) = part else { return None };
    let value = match attribute {
        AttributeId::Executable => Variant::Boolean(executable(space, method)),
        AttributeId::UserExecutable => Variant::Boolean(executable(space, method) && may_call(space, user, method)),
        AttributeId::Description => {
            let text = match method {
                Method::Machine(method) => method.description(),
                Method::Message(_, method) => method.description(),
                Method::Bus(_) => "Restarts the bus, which is off.",
            };
            Variant::from(opcua::types::LocalizedText::new("", text))
        }
        _ => return None,
    };
    Some(Ok(value))
}

/// Number in namespace 0.
pub fn data_type(part: Part) -> u32 {
    match part {
        Part::Method(_) => DataTypeId::BaseDataType as u32,
        Part::Arguments(_) => DataTypeId::Argument as u32,
    }
}

pub fn value_rank(part: Part) -> i32 {
    match part {
        Part::Method(_) => -1,
        Part::Arguments(_) => 1,
    }
}

pub fn value(scene: &Scene, part: Part, user: &User) -> Result<Variant, StatusCode> {
    match part {
        Part::Method(_) => Err(StatusCode::BadAttributeIdInvalid),
        Part::Arguments(method) => Ok(Variant::from(arguments(&scene.space, user, method))),
    }
}
