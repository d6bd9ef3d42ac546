//! Call (OPC 10000-4, 5.12): the methods of the Server object that this server has.

use opcua::types::{MethodId, ObjectId, StatusCode, Variant};

use super::{Ask, Service, count};
use crate::plant::opcua::subscription;
use crate::plant::opcua::wire::{NodeRef, Reader, Writer};

/// Arguments that a method may be given; ours take one.
const MOST_ARGUMENTS: usize = 100;

/// Each call by itself.
pub fn call(ask: &Ask<'_>, reader: &mut Reader<'_>) -> Result<Writer, StatusCode> {
    let calls = count(reader, 8, ask.server.limits.nodes_per_method_call)?;
    let mut writer = ask.response(Service::Call);
    writer.count(calls);
    for _ in 0..calls {
        let (object, method) = (reader.node_id()?, reader.node_id()?);
        let arguments = reader.count(1)?;
        if arguments > MOST_ARGUMENTS {
            return Err(StatusCode::BadEncodingLimitsExceeded);
        }
        let arguments = (0..arguments).map(|_| reader.variant()).collect::<Result<Vec<_>, _>>()?;
        one(ask, object, method, &arguments).write(&mut writer);
    }
    writer.i32(-1);
    Ok(writer)
}

/// A CallMethodResult.
struct Outcome {
    status: StatusCode,
    /// Of each argument, where one of them is wrong.
    arguments: Vec<StatusCode>,
    output: Vec<Variant>,
}

impl From<StatusCode> for Outcome {
    fn from(status: StatusCode) -> Outcome {
        Outcome { status, arguments: Vec::new(), output: Vec::new() }
    }
}

impl Outcome {
    fn write(&self, writer: &mut Writer) {
        writer.status(self.status);
        writer.count(self.arguments.len());
        self.arguments.iter().for_each(|status| writer.status(*status));
        writer.i32(-1);
        writer.count(self.output.len());
        self.output.iter().for_each(|value| writer.variant(value));
    }
}

fn one(ask: &Ask<'_>, object: NodeRef<'_>, method: NodeRef<'_>, arguments: &[Variant]) -> Outcome {
    let scene = ask.server.scenes.now();
    if scene.find(object).is_none() {
        return StatusCode::BadNodeIdUnknown.into();
    }
    let known = match method.standard() {
        Some(id) if id == MethodId::Server_GetMonitoredItems as u32 => Some(MethodId::Server_GetMonitoredItems),
        Some(id) if id == MethodId::Server_ResendData as u32 => Some(MethodId::Server_ResendData),
        _ => None,
    };
    let Some(known) = known else {
        let exists = scene.find(method).is_some();
        return if exists { StatusCode::BadMethodInvalid } else { StatusCode::BadNodeIdUnknown }.into();
    };
    if object.standard() != Some(ObjectId::Server as u32) {
        return StatusCode::BadMethodInvalid.into();
    }
    let subscription = match arguments {
        [] => return StatusCode::BadArgumentsMissing.into(),
        [Variant::UInt32(subscription)] => *subscription,
        [_] => {
            let arguments = vec![StatusCode::BadTypeMismatch];
            return Outcome { status: StatusCode::BadInvalidArgument, arguments, output: Vec::new() };
        }
        _ => return StatusCode::BadTooManyArguments.into(),
    };
    let answered = match known {
        MethodId::Server_ResendData => subscription::service::resend_data(ask, subscription).map(|()| Vec::new()),
        _ => subscription::service::monitored_items(ask, subscription)
            .map(|(server, client)| vec![Variant::from(server), Variant::from(client)]),
    };
    match answered {
        Ok(output) => Outcome { status: StatusCode::Good, arguments: vec![StatusCode::Good], output },
        Err(status) => status.into(),
    }
}
