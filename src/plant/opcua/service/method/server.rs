//! The methods of the Server object (OPC 10000-5, 6.3.1).

use opcua::types::{MethodId, ObjectId, StatusCode, Variant};

use super::{Outcome, counted};
use crate::plant::opcua::service::Ask;
use crate::plant::opcua::subscription;

/// `object` and `method`: numbers of namespace 0.
pub fn call(ask: &Ask<'_>, object: u32, method: u32, arguments: &[Variant]) -> Outcome {
    let known = [MethodId::Server_GetMonitoredItems, MethodId::Server_ResendData];
    let Some(known) = known.into_iter().find(|known| *known as u32 == method) else {
        // those of the RoleSet and other methods that are there and can't be called (OPC 10000-4, 5.12.2.4)
        return StatusCode::BadNotExecutable.into();
    };
    if object != ObjectId::Server as u32 {
        return StatusCode::BadMethodInvalid.into();
    }
    let subscription = match counted::<1>(arguments) {
        Ok([Variant::UInt32(subscription)]) => *subscription,
        Ok(_) => return Outcome::mismatch(0, 1),
        Err(outcome) => return outcome,
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
