//! The methods of conditions (OPC 10000-9, 5.5 to 5.8).

use opcua::types::{MethodId, ObjectTypeId, StatusCode, Variant};

use super::Outcome;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::service::Ask;
use crate::plant::opcua::space::Node;
use crate::plant::opcua::wire::NodeRef;

/// Whether this is ConditionRefresh or ConditionRefresh2, which are called at the ConditionType (5.5.7, 5.5.8).
pub fn is_refresh(object: u32, method: u32) -> bool {
    let methods = [MethodId::ConditionType_ConditionRefresh as u32, MethodId::ConditionType_ConditionRefresh2 as u32];
    object == ObjectTypeId::ConditionType as u32 && methods.contains(&method)
}

pub fn refresh(_ask: &Ask<'_>, _method: u32, _arguments: &[Variant]) -> Outcome {
    StatusCode::BadMethodInvalid.into()
}

/// A method of one condition. `method`: that of the instance or that of its type.
pub fn call(_ask: &Ask<'_>, _scene: &Scene, _on: Node, _method: NodeRef<'_>, _arguments: &[Variant]) -> Outcome {
    StatusCode::BadMethodInvalid.into()
}
