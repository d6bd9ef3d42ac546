//! DataTypeDefinitions as OPC 10000-3, 8.48 has them: the crate's say neither what a structure derives from nor its inherited
//! fields.

use std::collections::HashMap;

use opcua::types::{DataTypeDefinition, NodeId, StructureDefinition, StructureField, StructureType};

use super::load::{Draft, Id};
use super::{HAS_SUBTYPE, MOST_SUPERTYPES};

/// Structure, Union: no more fields above them.
const BASES: [u32; 2] = [22, 12756];

/// Completes all of them.
pub(super) fn complete(drafts: &mut [Draft]) {
    let own: HashMap<u32, (u32, Vec<StructureField>)> = drafts.iter().filter_map(of).collect();
    for draft in drafts {
        let Id::Number(0, number) = draft.id else { continue };
        match (&mut draft.definition, own.get(&number)) {
            (Some(DataTypeDefinition::Structure(definition)), Some((base, _))) => {
                definition.base_data_type = NodeId::new(0, *base);
                definition.fields = Some(inherited(number, &own));
                definition.structure_type = kind(definition);
            }
            // Enumeration itself: an empty structure says nothing of it
            (definition @ Some(DataTypeDefinition::Structure(_)), None) => *definition = None,
            _ => {}
        }
    }
}

/// A structure's number, its supertype and its own fields.
fn of(draft: &Draft) -> Option<(u32, (u32, Vec<StructureField>))> {
    let (Id::Number(0, number), Some(DataTypeDefinition::Structure(definition))) = (&draft.id, &draft.definition)
    else {
        return None;
    };
    let base = draft.references.iter().find_map(|reference| match reference {
        (HAS_SUBTYPE, Id::Number(0, base), false) => Some(*base),
        _ => None,
    })?;
    // BaseDataType
    (base != 24).then(|| (*number, (base, definition.fields.clone().unwrap_or_default())))
}

/// The fields of the supertypes, then those of the type itself.
fn inherited(number: u32, own: &HashMap<u32, (u32, Vec<StructureField>)>) -> Vec<StructureField> {
    let mut parts = Vec::new();
    let mut at = number;
    for _ in 0..MOST_SUPERTYPES {
        let Some((base, fields)) = own.get(&at) else { break };
        parts.push(fields);
        if BASES.contains(base) {
            break;
        }
        at = *base;
    }
    parts.into_iter().rev().flatten().cloned().collect()
}

/// With optional fields, or not (8.49).
fn kind(definition: &StructureDefinition) -> StructureType {
    let has_optional = definition.fields.iter().flatten().any(|field| field.is_optional);
    match definition.structure_type {
        StructureType::Structure if has_optional => StructureType::StructureWithOptionalFields,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use opcua::types::{BinaryDecodable, ContextOwned, Variant};

    use super::super::Standard;
    use super::*;

    #[test]
    fn structures_say_what_they_derive_from_and_all_their_fields() {
        let standard = Standard::load("urn:own", "urn:plant");
        let context = ContextOwned::default();
        let definition = |number: u32| {
            let mut bytes = standard.entry(standard.number(number)?)?.definition()?;
            let Ok(Variant::ExtensionObject(object)) = Variant::decode(&mut bytes, &context.context()) else {
                return None;
            };
            let definition = object.inner_as::<StructureDefinition>()?;
            let fields = definition.fields.iter().flatten().map(|field| field.name.to_string()).collect::<Vec<_>>();
            Some((definition.base_data_type.as_u32(), definition.structure_type, fields.join(" ")))
        };
        for (number, base, kind, fields) in [
            (884, 22, StructureType::Structure, "Low High"),
            // UserNameIdentityToken below UserIdentityToken
            (322, 316, StructureType::Structure, "PolicyId UserName Password EncryptionAlgorithm"),
        ] {
            assert_eq!(definition(number), Some((Some(base), kind, fields.into())), "{number}");
        }
        // Enumeration is abstract and has no fields, of whatever kind
        assert!(standard.number(29).and_then(|row| standard.entry(row)).unwrap().definition().is_none());
    }
}
