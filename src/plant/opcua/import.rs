//! What somebody who imports tags into a SCADA system needs to know of the variables that OPC UA has for them.

use std::collections::HashMap;

use opcua::types::ObjectId;
use serde::Serialize;

use super::locale::Locales;
use super::mapping::{self, Property};
use super::scene::Scene;
use super::space::{NAMESPACE, NAMESPACE_URI, Node, Source};
use super::units;
use crate::plan::{Direction, TagIndex};

/// The variable of one tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Variable {
    /// `ns=2;s=…`; `None` of a J1939 signal that any source may send: each has a variable of its own.
    pub node_id: Option<String>,
    /// The same with the URI of the namespace, which stays where indices change (OPC 10000-6, 5.1.12).
    pub node_id_uri: Option<String>,
    /// From the Root folder, as OPC 10000-4, A.2 writes paths.
    pub browse_path: Option<String>,
    pub variable_type: String,
    pub data_type: String,
    /// `read` or `read-write`: what the configuration says; a user may have less.
    pub access: &'static str,
    /// UNECE common code (Recommendation 20) and what OPC UA makes of it; `None` of an unknown unit.
    pub unit_code: Option<String>,
    pub unit_id: Option<i32>,
    /// EURange.
    pub eu_low: Option<f64>,
    pub eu_high: Option<f64>,
    pub description: Option<String>,
}

/// The variables of all tags.
pub fn variables(scene: &Scene) -> Vec<Variable> {
    let mut paths = HashMap::new();
    (0..scene.space.plan().tags.len()).map(|tag| variable(scene, tag, &mut paths)).collect()
}

fn variable(scene: &Scene, tag: TagIndex, paths: &mut HashMap<Node, String>) -> Variable {
    let space = &scene.space;
    let plan = space.plan();
    let signal = plan.signal(tag);
    let planned = &plan.messages[plan.tags[tag].message];
    let source = match &planned.direction {
        // J1939: what we send has our address in its identifier
        Direction::Output(_) => Some(Source { slot: 0, address: planned.message.id.number() as u8 }),
        Direction::Input(_) => None,
    };
    let source = source.filter(|_| planned.message.has_sources());
    let is_there = source.is_some() || !planned.message.has_sources();
    let node = Node::Signal(tag, source);
    let id = is_there.then(|| space.id(node).identifier.to_string());
    let unit = mapping::has_property(signal, Property::EngineeringUnits)
        .then(|| units::engineering_units(&signal.unit).unit_id)
        .filter(|id| *id >= 0);
    let range = mapping::range(signal).filter(|_| mapping::has_property(signal, Property::EuRange));
    Variable {
        node_id: id.as_ref().map(|id| format!("ns={NAMESPACE};{id}")),
        node_id_uri: id.as_ref().map(|id| format!("nsu={NAMESPACE_URI};{id}")),
        browse_path: is_there.then(|| path(scene, node, paths)),
        variable_type: format!("{:?}", mapping::form(signal).type_definition()),
        data_type: format!("{:?}", mapping::value_type(signal).data_type()),
        access: if plan.tags[tag].writable { "read-write" } else { "read" },
        unit_code: unit.map(units::common_code),
        unit_id: unit,
        eu_low: range.map(|(low, _)| low),
        eu_high: range.map(|(_, high)| high),
        description: space.description(node, Locales::NONE).map(|(_, text)| text.to_owned()),
    }
}

/// `/0:Objects/2:Canvoy/2:line/2:Oven/2:Temp`: by the folder of the bus, where there are several ways.
fn path(scene: &Scene, node: Node, known: &mut HashMap<Node, String>) -> String {
    if let Some(path) = known.get(&node) {
        return path.clone();
    }
    let objects = scene.space.find_number(0, ObjectId::ObjectsFolder as u32);
    let above = match node {
        node if Some(node) == objects => None,
        _ => {
            let references = scene.references(node);
            let mut above = references.iter().filter(|reference| !reference.forward).map(|reference| reference.target);
            above.clone().find(|above| matches!(above, Node::Bus(_))).or_else(|| above.next())
        }
    };
    let mut text = above.map(|above| path(scene, above, known)).unwrap_or_default();
    let name = scene.space.browse_name(node);
    text.push_str(&format!("/{}:", name.namespace_index));
    for letter in name.name.as_ref().chars() {
        if "/.<>:#!&".contains(letter) {
            text.push('&');
        }
        text.push(letter);
    }
    // many have what is above in common, nobody the signal itself
    if !matches!(node, Node::Signal(..)) {
        known.insert(node, text.clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::opcua::nodeset;
    use crate::plant::opcua::tests::{plan, tag};

    #[test]
    fn a_variable_is_told_as_it_is_served() {
        let plan = plan();
        let names = ["Oven.Temp", "Oven.Mode", "Oven.Door", "Oven.Level", "DriveCommand.Setpoint", "EEC1.EngineSpeed"];
        let tags = names.map(|name| tag(&plan, name));
        let all = variables(&nodeset::scene(plan.into(), Default::default()).unwrap());
        let told = |variable: &Variable| {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let number = |number: Option<f64>| number.map_or("-".into(), |number| number.to_string());
            let (path, code) = (text(&variable.browse_path), text(&variable.unit_code));
            let range = format!("{} {}", number(variable.eu_low), number(variable.eu_high));
            let types = format!("{} {}", variable.variable_type, variable.data_type);
            format!("{} {path} {types} {} {code} {range}", text(&variable.node_id_uri), variable.access)
        };
        let unit = |tag: usize| all.get(tag).and_then(|variable| variable.unit_id);
        for (tag, want) in tags.into_iter().zip([
            "nsu=urn:canvoy:plant;s=line.Oven.Temp /0:Objects/2:Canvoy/2:line/2:Oven/2:Temp AnalogUnitType Double read CEL -40 200",
            "nsu=urn:canvoy:plant;s=line.Oven.Mode /0:Objects/2:Canvoy/2:line/2:Oven/2:Mode MultiStateValueDiscreteType Byte read - - -",
            "nsu=urn:canvoy:plant;s=line.Oven.Door /0:Objects/2:Canvoy/2:line/2:Oven/2:Door TwoStateDiscreteType Boolean read - - -",
            // no range in the DBC file, and a unit that is not in the recommendation
            "nsu=urn:canvoy:plant;s=line.Oven.Level /0:Objects/2:Canvoy/2:line/2:Oven/2:Level AnalogUnitType Float read - - -",
            "nsu=urn:canvoy:plant;s=line.DriveCommand.Setpoint /0:Objects/2:Canvoy/2:line/2:DriveCommand/2:Setpoint AnalogUnitType Double read-write RPM 0 3000",
            // its NodeId has the address of who sends it
            "- - AnalogUnitType Double read RPM 0 8031.875",
        ]) {
            assert_eq!(told(&all[tag]), want);
        }
        assert_eq!((unit(tags[0]), unit(tags[3])), (Some(4408652), None));
        assert_eq!(all[tags[0]].node_id.as_deref(), Some("ns=2;s=line.Oven.Temp"));
        assert_eq!(all[tags[0]].description.as_deref(), Some("Temperature of the oven"));
    }
}
