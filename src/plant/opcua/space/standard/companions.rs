//! The part of the companion specifications DI (OPC 10000-100) and Machinery (OPC 40001-1) that this server has. `companions.txt`
//! is made of the official NodeSets by tests/peers/companions.py; a line is a node: id, class, BrowseName, data type,
//! references, value.

use std::str::FromStr;

use opcua::types::{DateTime, NodeClass, QualifiedName, Variant};

use super::load::{Draft, Id};
use super::prune::own;

const TABLE: &str = include_str!("companions.txt");

/// All of them. What is wrong with the table is left out, and its test says so.
pub(super) fn nodes() -> Vec<Draft> {
    TABLE.lines().filter_map(node).collect()
}

fn node(line: &str) -> Option<Draft> {
    let mut fields = line.split('\t');
    let (namespace, number) = pair(fields.next()?)?;
    let class = fields.next()?;
    let (name_namespace, name) = fields.next()?.split_once(':')?;
    let data_type = fields.next()?;
    let references = fields.next()?.split(' ').map(reference).collect::<Option<_>>()?;
    let value = value(fields.next()?)?;
    let array = data_type.ends_with("[]");
    let class = match class.trim_end_matches('!') {
        "Object" => NodeClass::Object,
        "Variable" => NodeClass::Variable,
        "ObjectType" => NodeClass::ObjectType,
        _ => return None,
    };
    Some(Draft {
        id: Id::Number(namespace, number),
        is_abstract: line.split('\t').nth(1)?.ends_with('!'),
        level: u8::from(class == NodeClass::Variable),
        name: (name_namespace.parse().ok()?, name.into()),
        data_type: data_type.trim_end_matches("[]").parse().ok()?,
        value_rank: if array { 1 } else { -1 },
        dimensions: if array { Variant::from(vec![0_u32]) } else { Variant::Empty },
        value,
        references,
        ..own(String::new(), class)
    })
}

/// `namespace:number`.
fn pair<T: FromStr>(text: &str) -> Option<(u16, T)> {
    let (namespace, rest) = text.split_once(':')?;
    Some((namespace.parse().ok()?, rest.parse().ok()?))
}

/// `type>id` forward, `type<id` inverse.
fn reference(text: &str) -> Option<(u32, Id, bool)> {
    let at = text.find(['<', '>'])?;
    let (kind, other) = text.split_at(at);
    let (namespace, number) = pair(other.get(1..)?)?;
    Some((kind.parse().ok()?, Id::Number(namespace, number), other.starts_with('>')))
}

/// `Type text`, or nothing.
fn value(text: &str) -> Option<Variant> {
    let Some((kind, text)) = text.split_once(' ') else { return Some(Variant::Empty) };
    Some(match kind {
        "String" => Variant::from(text),
        "Boolean" => Variant::Boolean(text == "true"),
        "DateTime" => Variant::from(DateTime::parse_from_rfc3339(text).ok()?),
        "QualifiedName" => {
            let (namespace, name) = text.split_once(':')?;
            Variant::from(QualifiedName::new(namespace.parse().ok()?, name))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_node() {
        assert_eq!(nodes().len(), TABLE.lines().count());
        let device = nodes().into_iter().find(|node| node.id == Id::Number(3, 1002)).unwrap();
        assert_eq!((device.name, device.is_abstract), ((3, "DeviceType".into()), true));
        assert_eq!(device.references, [(45, Id::Number(3, 15063), false)]);
    }
}
