//! Writes built-in types (OPC 10000-6, 5.2.2) into the body of a message.

use opcua::types::{BinaryEncodable, DataValue, StatusCode, Variant};

use super::NodeRef;

/// A body that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn new() -> Writer {
        Writer::default()
    }

    pub fn with_capacity(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes back what was written after `length`.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Sets a number that was written before something was known.
    pub fn set_u32(&mut self, at: usize, value: u32) {
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Puts a ByteString in the place of what was written from `start` to `end`, before it was known.
    pub fn replace_bytes(&mut self, start: usize, end: usize, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_le_bytes();
        if start <= end && end <= self.0.len() {
            self.0.splice(start..end, length.into_iter().chain(bytes.iter().copied()));
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_le_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_le_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_le_bytes());
    }

    pub fn status(&mut self, value: StatusCode) {
        self.u32(value.bits());
    }

    /// Length of an array, or of a String; no array of ours reaches 2^31.
    pub fn count(&mut self, count: usize) {
        self.i32(i32::try_from(count).unwrap_or(i32::MAX));
    }

    pub fn string(&mut self, text: Option<&str>) {
        self.bytes(text.map(str::as_bytes));
    }

    pub fn bytes(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.count(bytes.len());
                self.raw(bytes);
            }
            None => self.i32(-1),
        }
    }

    pub fn node_id(&mut self, id: NodeRef<'_>) {
        match id {
            NodeRef::Numeric(0, number @ 0..=0xFF) => self.raw(&[0, number as u8]),
            NodeRef::Numeric(namespace @ 0..=0xFF, number @ 0..=0xFFFF) => {
                self.raw(&[1, namespace as u8]);
                self.u16(number as u16);
            }
            NodeRef::Numeric(namespace, number) => {
                self.u8(2);
                self.u16(namespace);
                self.u32(number);
            }
            NodeRef::String(namespace, text) => {
                self.u8(3);
                self.u16(namespace);
                self.string(Some(text));
            }
            NodeRef::Guid(namespace, bytes) => {
                self.u8(4);
                self.u16(namespace);
                self.raw(&bytes);
            }
            NodeRef::Opaque(namespace, bytes) => {
                self.u8(5);
                self.u16(namespace);
                self.bytes(Some(bytes));
            }
        }
    }

    /// A QualifiedName.
    pub fn name(&mut self, namespace: u16, name: &str) {
        self.u16(namespace);
        self.string(Some(name));
    }

    /// A LocalizedText; an empty locale is left out.
    pub fn localized_text(&mut self, locale: &str, text: &str) {
        if locale.is_empty() {
            self.u8(2);
        } else {
            self.u8(3);
            self.string(Some(locale));
        }
        self.string(Some(text));
    }

    /// Anything else that the crate can encode.
    pub fn encode(&mut self, value: &impl BinaryEncodable) {
        let written = value.encode(&mut self.0, &super::context().context());
        debug_assert!(written.is_ok(), "{written:?}");
    }

    /// An array of what the crate can encode.
    pub fn all<T: BinaryEncodable>(&mut self, values: &[T]) {
        self.count(values.len());
        values.iter().for_each(|value| self.encode(value));
    }

    pub fn variant(&mut self, value: &Variant) {
        match value {
            Variant::Boolean(value) => self.raw(&[1, u8::from(*value)]),
            Variant::Double(value) => {
                self.u8(11);
                self.f64(*value);
            }
            other => self.encode(other),
        }
    }

    /// A DataValue that holds only a status.
    pub fn bad_value(&mut self, status: StatusCode) {
        self.u8(2);
        self.status(status);
    }

    pub fn data_value(&mut self, value: &DataValue) {
        self.encode(value);
    }
}
