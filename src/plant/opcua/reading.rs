//! One Read: what is read of one message in it is of one frame, and numbers are written without a detour.

use std::collections::HashMap;

use opcua::types::{AttributeId, StatusCode, TimestampsToReturn, Variant, VariantScalarTypeId};

use super::audit::Denied;
use super::mapping::{self, Property};
use super::scene::{Encoding, Scene};
use super::session::User;
use super::space::range::Ranges;
use super::space::{Node, Source};
use super::versions::Versions;
use super::wire::Writer;
use crate::plan::TagIndex;
use crate::quality::Causes;
use crate::sample::{self, Sample};
use crate::store::{Record, clock};

/// Somebody reads, at one moment.
pub struct Reading<'a> {
    scene: &'a Scene,
    user: &'a User,
    timestamps: TimestampsToReturn,
    /// CLOCK_MONOTONIC and CLOCK_REALTIME, nanoseconds.
    now: u64,
    time: u64,
    /// By their index in the store: the records that were looked at, with the causes around them.
    records: HashMap<usize, (Record, Causes)>,
    versions: Versions,
    /// What the user has no right to.
    pub denied: Denied,
}

/// What is to be written of a value.
enum Shown {
    /// Built-in type, bytes, bits.
    Number(u8, usize, u64),
    Value(Variant),
    None,
}

impl Shown {
    fn is_structure(&self) -> bool {
        match self {
            Shown::Value(Variant::ExtensionObject(_)) => true,
            Shown::Value(Variant::Array(array)) => array.value_type == VariantScalarTypeId::ExtensionObject,
            _ => false,
        }
    }
}

impl<'a> Reading<'a> {
    /// `now`: CLOCK_MONOTONIC nanoseconds.
    pub fn new(scene: &'a Scene, user: &'a User, timestamps: TimestampsToReturn, now: u64) -> Reading<'a> {
        Reading {
            scene,
            user,
            timestamps,
            now,
            time: clock::realtime(),
            records: HashMap::new(),
            versions: Versions::default(),
            denied: Denied::default(),
        }
    }

    /// Writes one attribute as a DataValue. What is wrong is said in it.
    pub fn read(&mut self, node: Node, attribute: u32, range: &str, encoding: Encoding, writer: &mut Writer) {
        let start = writer.len();
        if let Err(status) = self.one(node, attribute, range, encoding, writer) {
            writer.truncate(start);
            writer.bad_value(status);
            if status == StatusCode::BadUserAccessDenied {
                self.denied.add(|| self.scene.space.id(node));
            }
        }
    }

    fn one(
        &mut self,
        node: Node,
        attribute: u32,
        range: &str,
        encoding: Encoding,
        writer: &mut Writer,
    ) -> Result<(), StatusCode> {
        let attribute = AttributeId::from_u32(attribute).map_err(|_| StatusCode::BadAttributeIdInvalid)?;
        if attribute != AttributeId::Value {
            let value = self.scene.described(node, attribute, self.user)?;
            encoding.check(attribute)?;
            let value = Ranges::parse(range)?.of(value)?;
            self.write(Shown::Value(value), StatusCode::Good, None, writer);
            return Ok(());
        }
        let (shown, status, source_time) = self.value(node)?;
        encoding.check(attribute)?;
        // only structures have encodings to choose from
        if encoding == Encoding::Binary && !shown.is_structure() {
            return Err(StatusCode::BadDataEncodingInvalid);
        }
        let ranges = Ranges::parse(range)?;
        let shown = match shown {
            shown if ranges.is_empty() => shown,
            Shown::Value(value) => Shown::Value(ranges.of(value)?),
            Shown::Number(..) => return Err(StatusCode::BadIndexRangeNoData),
            // its status says why there is none
            Shown::None => Shown::None,
        };
        self.write(shown, status, source_time, writer);
        Ok(())
    }

    /// The value, its status and the time of its source.
    fn value(&mut self, node: Node) -> Result<(Shown, StatusCode, Option<u64>), StatusCode> {
        let of = |sample: &Sample| (mapping::status(sample.causes), Some(sample.source_time));
        match node {
            Node::Signal(tag, source) => {
                let sample = self.sample(tag, source);
                let number = mapping::bits(self.scene.view.plan.signal(tag), &sample);
                let shown = number.map_or(Shown::None, |(kind, size, bits)| Shown::Number(kind, size, bits));
                let (status, time) = of(&sample);
                Ok((shown, status, time))
            }
            Node::Property(tag, source, Property::RawValue | Property::ValueAsText) => {
                let sample = self.sample(tag, source);
                let (status, time) = of(&sample);
                Ok((self.scene.shown(node, tag, &sample, self.user).map_or(Shown::None, Shown::Value), status, time))
            }
            Node::Version(part) => {
                let value = self.versions.of(self.scene, part, self.user)?.value.unwrap_or_default();
                Ok((Shown::Value(value), StatusCode::Good, Some(self.time)))
            }
            _ => {
                let (value, sample) = self.scene.value_for(node, self.user, self.now)?;
                let (status, time) = sample.as_ref().map_or((StatusCode::Good, Some(self.time)), of);
                Ok((value.map_or(Shown::None, Shown::Value), status, time))
            }
        }
    }

    fn sample(&mut self, tag: TagIndex, source: Option<Source>) -> Sample {
        let view = &self.scene.view;
        let tagged = &view.plan.tags[tag];
        let message = &view.plan.messages[tagged.message];
        let slot = source.map_or(0, |source| source.slot);
        let group = message.message.signals[tagged.signal].group;
        let (record, causes) = self
            .records
            .entry(message.record(slot, group))
            .or_insert_with(|| view.record(tagged.message, slot, group, self.now));
        sample::decode(&message.message, tagged.signal, record, causes.and(view.reader.marks(tag).causes()))
    }

    /// Writes a DataValue (OPC 10000-6, 5.2.2.17).
    fn write(&self, shown: Shown, status: StatusCode, source_time: Option<u64>, writer: &mut Writer) {
        use TimestampsToReturn::{Both, Server, Source};
        let source_time = source_time.filter(|time| *time > 0 && matches!(self.timestamps, Source | Both));
        let server_time = matches!(self.timestamps, Server | Both);
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let good = status.bits() == 0;
        writer.u8(bit(!matches!(shown, Shown::None), 1)
            | bit(!good, 2)
            | bit(source_time.is_some(), 4)
            | bit(server_time, 8));
        match shown {
            Shown::Number(kind, size, bits) => {
                writer.u8(kind);
                writer.raw(bits.to_le_bytes().get(..size).unwrap_or_default());
            }
            Shown::Value(value) => writer.variant(&value),
            Shown::None => {}
        }
        if !good {
            writer.status(status);
        }
        if let Some(time) = source_time {
            writer.i64(mapping::ticks(time));
        }
        if server_time {
            // a frame may have come since the request was begun
            writer.i64(mapping::ticks(self.time.max(source_time.unwrap_or(0))));
        }
    }
}

#[cfg(test)]
pub mod tests;
