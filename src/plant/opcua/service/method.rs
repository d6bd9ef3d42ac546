//! Call (OPC 10000-4, 5.12): which part of the server answers a call. Each has a file of its own.

mod alias;
mod condition;
mod plant;
mod server;

use opcua::types::{NodeClass, StatusCode, Variant};

use super::{Ask, Service, count};
use crate::plant::opcua::space::Node;
use crate::plant::opcua::wire::{NodeRef, Reader, Writer};

/// Arguments that a method may be given: no frame has more signals.
const MOST_ARGUMENTS: usize = 600;
/// Bytes that are kept in a response for each call that is still to come: of a result without output.
const SHORT: usize = 64;

/// What one call came to: a CallMethodResult.
pub struct Outcome {
    pub status: StatusCode,
    /// Of each argument, where one of them is wrong.
    pub arguments: Vec<StatusCode>,
    pub output: Vec<Variant>,
}

impl From<StatusCode> for Outcome {
    fn from(status: StatusCode) -> Outcome {
        Outcome { status, arguments: Vec::new(), output: Vec::new() }
    }
}

impl Outcome {
    /// Argument `at` of `count` is of another type.
    pub fn mismatch(at: usize, count: usize) -> Outcome {
        let status = |argument| if argument == at { StatusCode::BadTypeMismatch } else { StatusCode::Good };
        Outcome::wrong((0..count).map(status).collect())
    }

    /// One or more arguments are not right (OPC 10000-4, 5.12.2.4).
    pub fn wrong(arguments: Vec<StatusCode>) -> Outcome {
        Outcome { status: StatusCode::BadInvalidArgument, arguments, output: Vec::new() }
    }

    fn write(&self, writer: &mut Writer) {
        writer.status(self.status);
        writer.count(self.arguments.len());
        self.arguments.iter().for_each(|status| writer.status(*status));
        writer.i32(-1);
        writer.count(self.output.len());
        self.output.iter().for_each(|value| writer.variant(value));
    }
}

/// That there are as many arguments as the method takes (5.12.2.4).
pub fn counted<const N: usize>(arguments: &[Variant]) -> Result<&[Variant; N], Outcome> {
    match arguments.len() {
        given if given < N => Err(StatusCode::BadArgumentsMissing.into()),
        given if given > N => Err(StatusCode::BadTooManyArguments.into()),
        _ => arguments.try_into().map_err(|_| StatusCode::BadArgumentsMissing.into()),
    }
}

/// Each call by itself, one after the other.
pub async fn call(ask: &Ask<'_>, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    let calls = count(reader, 8, ask.server.limits.nodes_per_method_call)?;
    let mut writer = ask.response(Service::Call);
    writer.count(calls);
    // what its client takes; a search that finds more is refused, so that the other calls are answered
    let most = match ask.session.max_response_bytes as usize {
        0 => ask.server.limits.message_bytes,
        most => most.min(ask.server.limits.message_bytes),
    };
    for left in (0..calls).rev() {
        let (object, method) = (reader.node_id()?, reader.node_id()?);
        let arguments = reader.count(1)?;
        if arguments > MOST_ARGUMENTS {
            return Err(StatusCode::BadEncodingLimitsExceeded);
        }
        let arguments = (0..arguments).map(|_| reader.variant()).collect::<Result<Vec<_>, _>>()?;
        let room = most.saturating_sub(writer.len() + (left + 1) * SHORT);
        one(ask, object, method, &arguments, room).await.write(&mut writer);
        // a hundred calls that wait for nothing leave the thread to others
        if left > 0 {
            tokio::task::yield_now().await;
        }
    }
    writer.i32(-1);
    Ok(writer)
}

/// `room`: bytes that its output may have.
async fn one(ask: &Ask<'_>, object: NodeRef<'_>, method: NodeRef<'_>, arguments: &[Variant], room: usize) -> Outcome {
    let scene = ask.server.scenes.now();
    let (Some(on), Some(called)) = (scene.seen(object, &ask.user), scene.seen(method, &ask.user)) else {
        return StatusCode::BadNodeIdUnknown.into();
    };
    if scene.space.class(called) != NodeClass::Method {
        return StatusCode::BadMethodInvalid.into();
    }
    match (on, called) {
        (_, Node::Method(part)) => plant::call(ask, &scene, on, part, arguments).await,
        (Node::Condition(_), _) | (_, Node::Condition(_)) => {
            condition::call(ask, &scene, (on, called), arguments).await
        }
        _ => match (object.standard(), method.standard()) {
            (Some(object), Some(method)) if condition::is_refresh(object, method) => {
                condition::refresh(ask, method, arguments).await
            }
            (Some(object), Some(method)) if alias::is_find(object, method) => {
                alias::find(ask, &scene, arguments, room).await
            }
            // those of a condition are called at one, not at its type (OPC 10000-9, 5.5.6)
            (_, Some(method)) if scene.space.class(on) == NodeClass::ObjectType && condition::is_operation(method) => {
                StatusCode::BadNodeIdInvalid.into()
            }
            (Some(object), Some(method)) => server::call(ask, object, method, arguments),
            _ => StatusCode::BadMethodInvalid.into(),
        },
    }
}
