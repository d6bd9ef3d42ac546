//! Reads built-in types (OPC 10000-6, 5.2.2) out of a message: nothing is copied, counts are compared with what is there,
//! nesting has a limit.

use opcua::types::node_id::Identifier;
use opcua::types::{BinaryDecodable, ByteString, Guid, NodeId, QualifiedName, StatusCode, UAString, Variant};

/// Values in values in structures: as deep as this, not deeper (OPC 10000-6, 5.2.2.15 asks for at least 100).
pub const MOST_DEPTH: usize = 100;

type Result<T> = std::result::Result<T, StatusCode>;

/// The rest of a message. Every method takes one value off its front; what is not one is BadDecodingError, what is nested
/// too deep BadEncodingLimitsExceeded.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

/// A NodeId in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeRef<'a> {
    Numeric(u16, u32),
    String(u16, &'a str),
    /// Bytes as on the wire.
    Guid(u16, [u8; 16]),
    Opaque(u16, &'a [u8]),
}

/// A QualifiedName in a message; a null name is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    pub namespace: u16,
    pub name: &'a str,
}

/// An ExtensionObject in a message: the NodeId of its encoding, and its body where that is binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure<'a> {
    pub encoding: NodeRef<'a>,
    pub body: Option<&'a [u8]>,
}

fn malformed<T>() -> Result<T> {
    Err(StatusCode::BadDecodingError)
}

impl NodeRef<'_> {
    pub const NULL: NodeRef<'static> = NodeRef::Numeric(0, 0);

    pub fn namespace(&self) -> u16 {
        match *self {
            NodeRef::Numeric(namespace, _)
            | NodeRef::String(namespace, _)
            | NodeRef::Guid(namespace, _)
            | NodeRef::Opaque(namespace, _) => namespace,
        }
    }

    /// Its number, where it is a numeric one of the standard's namespace.
    pub fn standard(&self) -> Option<u32> {
        match *self {
            NodeRef::Numeric(0, number) => Some(number),
            _ => None,
        }
    }

    /// Null as OPC 10000-3, 8.2.4 has it: no namespace and the null of its identifier's type.
    pub fn is_null(&self) -> bool {
        match *self {
            NodeRef::Numeric(0, number) => number == 0,
            NodeRef::String(0, text) => text.is_empty(),
            NodeRef::Guid(0, guid) => guid == [0; 16],
            NodeRef::Opaque(0, bytes) => bytes.is_empty(),
            _ => false,
        }
    }

    pub fn to_owned(&self) -> NodeId {
        let (namespace, identifier) = match *self {
            NodeRef::Numeric(namespace, number) => (namespace, Identifier::Numeric(number)),
            NodeRef::String(namespace, text) => (namespace, Identifier::String(UAString::from(text))),
            NodeRef::Guid(namespace, guid) => (namespace, Identifier::Guid(Guid::from_bytes(guid))),
            NodeRef::Opaque(namespace, bytes) => (namespace, Identifier::ByteString(ByteString::from(bytes))),
        };
        NodeId { namespace, identifier }
    }
}

impl<'a> From<&'a NodeId> for NodeRef<'a> {
    fn from(id: &'a NodeId) -> NodeRef<'a> {
        match &id.identifier {
            Identifier::Numeric(number) => NodeRef::Numeric(id.namespace, *number),
            Identifier::String(text) => NodeRef::String(id.namespace, text.as_ref()),
            Identifier::Guid(guid) => NodeRef::Guid(id.namespace, guid.to_bytes()),
            Identifier::ByteString(bytes) => NodeRef::Opaque(id.namespace, bytes.as_ref()),
        }
    }
}

impl Name<'_> {
    pub fn is_null(&self) -> bool {
        self.name.is_empty()
    }

    pub fn to_owned(&self) -> QualifiedName {
        QualifiedName::new(self.namespace, self.name)
    }
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else { return malformed() };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.0.split_first_chunk() {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(*taken)
            }
            None => malformed(),
        }
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn bool(&mut self) -> Result<bool> {
        self.u8().map(|byte| byte != 0)
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    pub fn status(&mut self) -> Result<StatusCode> {
        self.u32().map(StatusCode::from)
    }

    /// A ByteString, or the bytes of a String.
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            length if length < 0 => Ok(None),
            length => self.take(length as usize).map(Some),
        }
    }

    pub fn string(&mut self) -> Result<Option<&'a str>> {
        match self.bytes()? {
            Some(bytes) => std::str::from_utf8(bytes).map(Some).or_else(|_| malformed()),
            None => Ok(None),
        }
    }

    /// Length of an array whose elements take at least `least` bytes each: never more than can be there. Null is empty.
    pub fn count(&mut self, least: usize) -> Result<usize> {
        match self.i32()? {
            count if count < 0 => Ok(0),
            count if (count as usize).saturating_mul(least) <= self.0.len() => Ok(count as usize),
            _ => malformed(),
        }
    }

    pub fn node_id(&mut self) -> Result<NodeRef<'a>> {
        match self.u8()? {
            kind if kind & 0xC0 != 0 => malformed(),
            kind => self.identifier(kind),
        }
    }

    fn identifier(&mut self, kind: u8) -> Result<NodeRef<'a>> {
        Ok(match kind & 0x3F {
            0 => NodeRef::Numeric(0, u32::from(self.u8()?)),
            1 => NodeRef::Numeric(u16::from(self.u8()?), u32::from(self.u16()?)),
            2 => NodeRef::Numeric(self.u16()?, self.u32()?),
            3 => NodeRef::String(self.u16()?, self.string()?.unwrap_or_default()),
            4 => NodeRef::Guid(self.u16()?, self.array()?),
            5 => NodeRef::Opaque(self.u16()?, self.bytes()?.unwrap_or_default()),
            _ => return malformed(),
        })
    }

    /// An ExpandedNodeId: the NodeId in it, where it is one of this server's.
    pub fn expanded_node_id(&mut self) -> Result<Option<NodeRef<'a>>> {
        let kind = self.u8()?;
        let id = self.identifier(kind)?;
        let uri = if kind & 0x80 != 0 { self.string()? } else { None };
        let server = if kind & 0x40 != 0 { self.u32()? } else { 0 };
        Ok((uri.is_none() && server == 0).then_some(id))
    }

    pub fn name(&mut self) -> Result<Name<'a>> {
        Ok(Name { namespace: self.u16()?, name: self.string()?.unwrap_or_default() })
    }

    /// The text of a LocalizedText, and its locale.
    pub fn localized_text(&mut self) -> Result<(Option<&'a str>, Option<&'a str>)> {
        let mask = self.u8()?;
        let locale = if mask & 1 != 0 { self.string()? } else { None };
        let text = if mask & 2 != 0 { self.string()? } else { None };
        Ok((text, locale))
    }

    pub fn structure(&mut self) -> Result<Structure<'a>> {
        let encoding = self.node_id()?;
        let body = match self.u8()? {
            0 => None,
            1 => self.bytes()?,
            2 => {
                self.bytes()?;
                None
            }
            _ => return malformed(),
        };
        Ok(Structure { encoding, body })
    }

    /// A value, which is decoded once it is known not to be nested too deep.
    pub fn variant(&mut self) -> Result<Variant> {
        let start = self.0;
        self.skip_variant(0)?;
        let mut value = decode(&start[..start.len() - self.0.len()])?;
        // The crate makes an empty list of dimensions of none where an array is empty, and writes it so that nobody can read it.
        if let Variant::Array(array) = &mut value {
            array.dimensions.take_if(|dimensions| dimensions.is_empty());
        }
        Ok(value)
    }

    /// A DataValue, as the crate has it.
    pub fn data_value(&mut self) -> Result<opcua::types::DataValue> {
        let start = self.0;
        self.skip_data_value(0)?;
        decode(&start[..start.len() - self.0.len()])
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    fn skip_variant(&mut self, depth: usize) -> Result<()> {
        if depth >= MOST_DEPTH {
            return Err(StatusCode::BadEncodingLimitsExceeded);
        }
        let mask = self.u8()?;
        let kind = mask & 0x3F;
        if mask & 0x80 == 0 {
            return if mask & 0x40 == 0 { self.skip_scalar(kind, depth) } else { malformed() };
        }
        let count = self.count(usize::from(kind != 0))?;
        if kind == 0 && count > 0 {
            return malformed();
        }
        match fixed(kind) {
            Some(size) => self.skip(count.saturating_mul(size))?,
            None => (0..count).try_for_each(|_| self.skip_scalar(kind, depth))?,
        }
        if mask & 0x40 != 0 {
            let dimensions = self.count(4)?;
            self.skip(dimensions * 4)?;
        }
        Ok(())
    }

    fn skip_scalar(&mut self, kind: u8, depth: usize) -> Result<()> {
        if let Some(size) = fixed(kind) {
            return self.skip(size);
        }
        match kind {
            0 => Ok(()),
            12 => self.string().map(drop),
            15 | 16 => self.bytes().map(drop),
            17 => self.node_id().map(drop),
            18 => self.expanded_node_id().map(drop),
            20 => self.name().map(drop),
            21 => self.localized_text().map(drop),
            22 => self.structure().map(drop),
            23 => self.skip_data_value(depth + 1),
            24 => self.skip_variant(depth + 1),
            25 => self.skip_diagnostic(depth + 1),
            // kinds that are not assigned yet are ByteStrings (OPC 10000-6, 5.2.2.16); the crate knows none of them
            _ => malformed(),
        }
    }

    fn skip_data_value(&mut self, depth: usize) -> Result<()> {
        let mask = self.u8()?;
        if mask & 1 != 0 {
            self.skip_variant(depth)?;
        }
        // the status; times of 8 bytes with picoseconds of 2
        let sizes = [(2, 4), (4, 8), (16, 2), (8, 8), (32, 2)];
        sizes.into_iter().try_for_each(|(bit, size)| if mask & bit != 0 { self.skip(size) } else { Ok(()) })
    }

    fn skip_diagnostic(&mut self, depth: usize) -> Result<()> {
        if depth >= MOST_DEPTH {
            return Err(StatusCode::BadEncodingLimitsExceeded);
        }
        let mask = self.u8()?;
        // symbolic id, namespace, locale, text: numbers of four bytes
        self.skip(4 * (mask & 0x0F).count_ones() as usize)?;
        if mask & 0x10 != 0 {
            self.string()?;
        }
        if mask & 0x20 != 0 {
            self.skip(4)?;
        }
        if mask & 0x40 != 0 { self.skip_diagnostic(depth + 1) } else { Ok(()) }
    }
}

fn decode<T: BinaryDecodable>(mut bytes: &[u8]) -> Result<T> {
    T::decode(&mut bytes, &super::context().context()).map_err(|error| error.status())
}

/// Bytes of a built-in type that always has the same size.
fn fixed(kind: u8) -> Option<usize> {
    match kind {
        1..=3 => Some(1),
        4 | 5 => Some(2),
        6 | 7 | 10 | 19 => Some(4),
        8 | 9 | 11 | 13 => Some(8),
        14 => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use opcua::types::{BinaryEncodable, DataValue, ExtensionObject, LocalizedText, NodeId, Range};

    use super::*;

    fn bytes(value: &impl BinaryEncodable) -> Vec<u8> {
        value.encode_to_vec(&super::super::context().context())
    }

    /// A value in `depth` values, by 0x17 (DataValue) or 0x19 (DiagnosticInfo).
    fn nested(depth: usize) -> Vec<u8> {
        let mut all = [0x17, 0x01].repeat(depth);
        all.push(0);
        all
    }

    #[test]
    fn values_are_read_as_the_crate_writes_them() {
        let guid = Guid::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        for value in [
            Variant::Empty,
            Variant::from(1.5),
            Variant::from("text"),
            Variant::from(vec![1u16, 2, 3]),
            Variant::from(Vec::<u16>::new()),
            Variant::from(vec!["a".to_owned(), "b".to_owned()]),
            Variant::from(LocalizedText::new("de", "Ofen")),
            Variant::from(NodeId::new(2, "can0.Oven.Temp")),
            Variant::from(guid.clone()),
            Variant::from(DataValue::new_now(7i32)),
        ] {
            let written = bytes(&value);
            let mut reader = Reader::new(&written);
            assert_eq!(reader.variant(), Ok(value.clone()));
            assert!(reader.rest().is_empty(), "{value:?}");
            // cut anywhere: refused, never a panic
            for length in 0..written.len() {
                assert!(Reader::new(&written[..length]).variant().is_err(), "{value:?} cut at {length}");
            }
        }
        // a structure stays bytes, and is written as it came
        let range = Variant::from(ExtensionObject::from_message(Range { low: 1.0, high: 2.0 }));
        let written = bytes(&range);
        assert_eq!(Reader::new(&written).variant().map(|value| bytes(&value)), Ok(written));
        // an array of values of several types: whatever the crate makes of it
        let _ = Reader::new(&[0x98, 2, 0, 0, 0, 1, 1, 3, 7]).variant();
        for id in [
            NodeId::new(0, 85u32),
            NodeId::new(2, "x"),
            NodeId::new(300, 70_000u32),
            NodeId::new(1, guid),
            NodeId::null(),
        ] {
            let written = bytes(&id);
            let found = Reader::new(&written).node_id().unwrap();
            assert_eq!((found, found.to_owned()), (NodeRef::from(&id), id.clone()));
        }
    }

    #[test]
    fn nesting_ends_where_the_limit_is() {
        assert!(Reader::new(&nested(MOST_DEPTH - 1)).variant().is_ok());
        for depth in [MOST_DEPTH, 3_000, 60_000] {
            assert_eq!(Reader::new(&nested(depth)).variant(), Err(StatusCode::BadEncodingLimitsExceeded), "{depth}");
        }
        let diagnostics: Vec<u8> = [vec![25], vec![0x40; 60_000], vec![0]].concat();
        assert_eq!(Reader::new(&diagnostics).variant(), Err(StatusCode::BadEncodingLimitsExceeded));
        let arrays = [0x98, 1, 0, 0, 0].repeat(60_000);
        assert_eq!(Reader::new(&arrays).variant(), Err(StatusCode::BadEncodingLimitsExceeded));
    }

    #[test]
    fn counts_are_never_larger_than_what_is_there() {
        for bytes in [[0x8B, 0xFF, 0xFF, 0xFF, 0x7F], [0x8B, 0, 0, 0, 0x80], [0x80, 1, 0, 0, 0]] {
            let _ = Reader::new(&bytes).variant();
        }
        assert_eq!(Reader::new(&[0x8B, 0xFF, 0xFF, 0xFF, 0x7F]).variant(), Err(StatusCode::BadDecodingError));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 1, 2]).count(1), Ok(2));
        assert_eq!(Reader::new(&[3, 0, 0, 0, 1, 2]).count(1), Err(StatusCode::BadDecodingError));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 0xC3, 0x28]).string(), Err(StatusCode::BadDecodingError));
    }
}
