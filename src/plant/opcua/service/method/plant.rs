//! The methods of the plant: what the controller is asked to do.

use std::time::Duration;

use opcua::types::{NodeId, StatusCode, Variant};
use tokio::time::{Instant, timeout_at};

use super::{Outcome, counted};
use crate::command::{Action, MAX_FORCE_SECONDS, Refusal};
use crate::plan::TagIndex;
use crate::plant::access::Operation;
use crate::plant::opcua::audit;
use crate::plant::opcua::mapping;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::service::Ask;
use crate::plant::opcua::service::lease::Commander;
use crate::plant::opcua::session::User;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::space::method::{self, Method, OfMachine, OfMessage, Part};
use crate::plant::opcua::space::model::{self, kinds::Owner};
use crate::plant::opcua::wire::NodeRef;
use crate::plant::view::WriteError;

/// How often a call is tried while one configuration follows another, and how long all attempts may take together.
const ATTEMPTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(3);

/// `on`: the object that it is called at.
pub async fn call(ask: &Ask<'_>, scene: &Scene, on: Node, part: Part, arguments: &[Variant]) -> Outcome {
    let Part::Method(method) = part else { return StatusCode::BadMethodInvalid.into() };
    if on != method::object(method) {
        return StatusCode::BadMethodInvalid.into();
    }
    let (object, called) = (scene.space.id(on), scene.space.id(Node::Method(part)));
    let outcome = if method::may_call(&scene.space, &ask.user, method) {
        carry_out(ask, &called, arguments).await
    } else {
        StatusCode::BadUserAccessDenied.into()
    };
    audit::called(ask, (object, called), arguments, outcome.status);
    outcome
}

/// What is asked for is found and sent with one scene, as a write is.
async fn carry_out(ask: &Ask<'_>, called: &NodeId, arguments: &[Variant]) -> Outcome {
    let mut changes = ask.server.scenes.changes();
    let deadline = Instant::now() + PATIENCE;
    let mut outcome = StatusCode::BadServerTooBusy.into();
    for _ in 0..ATTEMPTS {
        let scene = changes.borrow_and_update().clone();
        let Some(Node::Method(Part::Method(method))) = scene.seen(NodeRef::from(called), &ask.user) else {
            return StatusCode::BadNodeIdUnknown.into();
        };
        let wanted = match wanted(&scene, &ask.user, method, arguments) {
            Ok(wanted) => wanted,
            Err(outcome) => return outcome,
        };
        let rights = &scene.space.rights;
        if !wanted.iter().all(|action| rights.may_command(ask.user.roles, action, &scene.view.plan)) {
            return StatusCode::BadUserAccessDenied.into();
        }
        match carry_out_in(ask, &scene, wanted).await {
            Err(WriteError::Refused(Refusal::Reloaded)) => {
                outcome = mapping::refusal(&WriteError::Refused(Refusal::Reloaded)).into();
                if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                    break;
                }
            }
            // as Executable says (OPC 10000-4, 5.12.2.4)
            Err(WriteError::Refused(Refusal::Local)) => return StatusCode::BadNotExecutable.into(),
            Err(error) => return mapping::refusal(&error).into(),
            Ok(()) => return Outcome { arguments: vec![StatusCode::Good; arguments.len()], ..StatusCode::Good.into() },
        }
    }
    outcome
}

async fn carry_out_in(ask: &Ask<'_>, scene: &Scene, wanted: Vec<Action>) -> Result<(), WriteError> {
    let by = Commander { server: ask.server, session: &ask.session, user: &ask.user, origin: ask.origin() };
    for action in wanted {
        by.command(&scene.view, action).await?;
    }
    Ok(())
}

/// What the controller is to do, or what is wrong with the arguments.
fn wanted(scene: &Scene, user: &User, method: Method, arguments: &[Variant]) -> Result<Vec<Action>, Outcome> {
    let action = match method {
        Method::Message(message, OfMessage::Send) => send(scene, user, message, arguments)?,
        Method::Message(message, OfMessage::Fallback) => {
            counted::<0>(arguments)?;
            Action::Fallback(Some(message))
        }
        Method::Message(message, OfMessage::ResetFallback) => {
            counted::<0>(arguments)?;
            Action::ResetFallback(Some(message))
        }
        Method::Bus(bus) => {
            counted::<0>(arguments)?;
            Action::Restart(bus)
        }
        Method::Machine(method) => return of_machine(scene, user, method, arguments),
    };
    Ok(vec![action])
}

fn of_machine(scene: &Scene, user: &User, method: OfMachine, arguments: &[Variant]) -> Result<Vec<Action>, Outcome> {
    let simple = |action| counted::<0>(arguments).map(|_| action);
    let action = match method {
        OfMachine::Arm => simple(Action::Arm)?,
        OfMachine::Disarm => simple(Action::Disarm)?,
        OfMachine::Fallback => simple(Action::Fallback(None))?,
        OfMachine::ResetFallback => simple(Action::ResetFallback(None))?,
        OfMachine::ReleaseAll => simple(Action::Release(None))?,
        OfMachine::SetLocal => simple(Action::Remote(false))?,
        OfMachine::SetRemote => simple(Action::Remote(true))?,
        OfMachine::Force => force(scene, user, counted::<3>(arguments)?)?,
        OfMachine::Release => {
            let [signal] = counted::<1>(arguments)?;
            Action::Release(Some(tag(scene, user, signal).map_err(|status| Outcome::wrong(vec![status]))?))
        }
        OfMachine::RestartBus => {
            let [bus] = counted::<1>(arguments)?;
            match node(scene, user, bus, Operation::Switch) {
                Ok(Node::Bus(bus) | Node::Model(model::Part::Object(Owner::Bus(bus)))) => Action::Restart(bus),
                Ok(_) => return Err(Outcome::wrong(vec![StatusCode::BadNodeIdInvalid])),
                Err(status) => return Err(Outcome::wrong(vec![status])),
            }
        }
        OfMachine::SwitchRoute => return switch_route(scene, counted::<2>(arguments)?),
    };
    Ok(vec![action])
}

fn force(scene: &Scene, user: &User, [signal, value, duration]: &[Variant; 3]) -> Result<Action, Outcome> {
    let tag = tag(scene, user, signal);
    let value = tag.map_or(Ok(None), |tag| mapping::write(&scene.view.plan, tag, value).map(|write| Some(write.value)));
    let seconds = match duration {
        Variant::Double(ms) if (1000.0..=MAX_FORCE_SECONDS * 1000.0).contains(ms) => Ok(ms / 1000.0),
        Variant::Double(_) => Err(StatusCode::BadOutOfRange),
        _ => Err(StatusCode::BadTypeMismatch),
    };
    match (tag, value, seconds) {
        (Ok(tag), Ok(Some(value)), Ok(seconds)) => Ok(Action::Force { tag, value, seconds }),
        (tag, value, seconds) => Err(Outcome::wrong(vec![status(tag), status(value), status(seconds)])),
    }
}

/// A route that goes both ways is two of the plan, one with "(back)" behind its name.
fn switch_route(scene: &Scene, [name, on]: &[Variant; 2]) -> Result<Vec<Action>, Outcome> {
    let routes = &scene.view.plan.routes;
    let meant = match name {
        Variant::String(name) => {
            let (name, back) = (name.as_ref(), format!("{} (back)", name.as_ref()));
            let meant = (0..routes.len()).filter(|at| routes[*at].name == name || routes[*at].name == back);
            let meant: Vec<usize> = meant.collect();
            if meant.is_empty() { Err(StatusCode::BadNotFound) } else { Ok(meant) }
        }
        _ => Err(StatusCode::BadTypeMismatch),
    };
    let on = match on {
        Variant::Boolean(on) => Ok(*on),
        _ => Err(StatusCode::BadTypeMismatch),
    };
    match (meant, on) {
        (Ok(meant), Ok(on)) => Ok(meant.into_iter().map(|route| Action::Route { route, on }).collect()),
        (meant, on) => Err(Outcome::wrong(vec![status(meant), status(on)])),
    }
}

/// All writable signals of a message that the user sees, so that nothing hidden is ever set; of a multiplexed one those that
/// the selectors choose, the others are passed over.
fn send(scene: &Scene, user: &User, message: usize, arguments: &[Variant]) -> Result<Action, Outcome> {
    let plan = &scene.view.plan;
    let tags = method::of_send(&scene.space, user, message);
    if arguments.len() < tags.len() {
        return Err(StatusCode::BadArgumentsMissing.into());
    }
    if arguments.len() > tags.len() {
        return Err(StatusCode::BadTooManyArguments.into());
    }
    let dbc = &plan.messages[message].message;
    let raw = |signal: usize| {
        let at = tags.iter().position(|tag| plan.tags[*tag].signal == signal)?;
        let value = mapping::to_command(plan.signal(tags[at]), arguments.get(at)?).ok()?;
        crate::command::raw_of(plan, tags[at], value).ok()
    };
    let mut writes = Vec::with_capacity(tags.len());
    let mut statuses = Vec::with_capacity(tags.len());
    for (tag, argument) in tags.iter().zip(arguments) {
        let signal = plan.signal(*tag);
        let chosen = dbc.groups[signal.group].active(raw);
        let is_selector = || tags.iter().any(|other| is_selector_of(plan, *tag, *other));
        let checked = match mapping::write(plan, *tag, argument) {
            // of what is not in the frame only the type must be right
            Err(StatusCode::BadOutOfRange) if !chosen && !is_selector() => Ok(()),
            Err(status) => Err(status),
            Ok(write) if chosen && plan.tags[*tag].writable => {
                writes.push(write);
                Ok(())
            }
            Ok(_) => Ok(()),
        };
        statuses.push(status(checked));
    }
    if statuses.iter().any(|status| status.is_bad()) {
        return Err(Outcome::wrong(statuses));
    }
    Ok(Action::Send(writes))
}

fn is_selector_of(plan: &crate::plan::Plan, selector: TagIndex, of: TagIndex) -> bool {
    let dbc = &plan.messages[plan.tags[of].message].message;
    let conditions = &dbc.groups[plan.signal(of).group].conditions;
    conditions.iter().any(|condition| condition.selector == plan.tags[selector].signal)
}

/// A node that the call is about, of which the user may ask that too.
fn node(scene: &Scene, user: &User, argument: &Variant, operation: Operation) -> Result<Node, StatusCode> {
    let Variant::NodeId(id) = argument else { return Err(StatusCode::BadTypeMismatch) };
    let node = scene.seen(NodeRef::from(id.as_ref()), user).ok_or(StatusCode::BadNodeIdUnknown)?;
    if scene.space.may(user, operation, node) { Ok(node) } else { Err(StatusCode::BadUserAccessDenied) }
}

/// A signal to be forced or released. Of a J1939 signal the source makes no difference: all sources are meant.
fn tag(scene: &Scene, user: &User, argument: &Variant) -> Result<TagIndex, StatusCode> {
    match node(scene, user, argument, Operation::Force)? {
        Node::Signal(tag, _) => Ok(tag),
        _ => Err(StatusCode::BadNodeIdInvalid),
    }
}

fn status<T>(checked: Result<T, StatusCode>) -> StatusCode {
    checked.err().unwrap_or(StatusCode::Good)
}
