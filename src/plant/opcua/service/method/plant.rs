//! The methods of the plant: what the controller is asked to do.

use opcua::types::{StatusCode, Variant};

use super::Outcome;
use crate::plant::opcua::scene::Scene;
use crate::plant::opcua::service::Ask;
use crate::plant::opcua::space::{Node, method};

/// `on`: the object that it is called at.
pub async fn call(_ask: &Ask<'_>, _scene: &Scene, _on: Node, _part: method::Part, _arguments: &[Variant]) -> Outcome {
    StatusCode::BadMethodInvalid.into()
}
