//! The NodeVersions that one request, or one turn of the sampler, asks for: each is as much work as browsing its node, and
//! is made once.

use std::collections::HashMap;

use opcua::types::{AttributeId, DataValue, StatusCode};

use super::scene::Scene;
use super::session::User;
use super::space::Node;
use super::space::version::Part;
use crate::plant::access::Roles;
use crate::store::clock;

/// Not kept for longer than that: J1939 sources come while a scene holds.
#[derive(Default)]
pub struct Versions(HashMap<(Part, Roles), DataValue>);

impl Versions {
    /// The NodeVersion of a node as this user reads it, with the time at which it was made. What a user sees depends on
    /// nothing but the roles.
    pub fn of(&mut self, scene: &Scene, part: Part, user: &User) -> Result<DataValue, StatusCode> {
        let key = (part, user.roles);
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let made = scene.attribute(Node::Version(part), AttributeId::Value, user, clock::monotonic())?;
        self.0.insert(key, made.clone());
        Ok(made)
    }
}
