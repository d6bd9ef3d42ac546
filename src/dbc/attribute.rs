//! Attributes of a DBC file: definitions, defaults, enumerations resolved to their words, and what the well-known ones mean.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::codec::{Codec, Kind, Raw};
use super::item::{AttributeKind, Object, Value};
use super::model::{Attribute, SendType, Trigger};

/// BA_DEF_ and BA_DEF_DEF_ of a file.
#[derive(Default)]
pub(super) struct Definitions {
    by_name: HashMap<String, (Object, AttributeKind)>,
    defaults: BTreeMap<String, Value>,
}

impl Definitions {
    pub fn define(&mut self, object: Object, name: String, kind: AttributeKind) {
        self.by_name.insert(name, (object, kind));
    }

    pub fn set_default(&mut self, name: String, value: Value) {
        self.defaults.insert(name, value);
    }

    pub fn is_defined(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A value as its definition reads it; `Err` says why it makes no sense.
    pub fn resolve(&self, name: &str, value: &Value) -> Result<Attribute, String> {
        let plain = || match value {
            Value::Integer(v) => i64::try_from(*v).map_or(Attribute::Float(*v as f64), Attribute::Integer),
            Value::Float(v) => Attribute::Float(*v),
            Value::Text(v) => Attribute::Text(v.clone()),
        };
        let number = || match value {
            Value::Integer(v) => Some(*v as f64),
            Value::Float(v) => Some(*v),
            Value::Text(v) => v.trim().parse().ok().filter(|v: &f64| v.is_finite()),
        };
        Ok(match self.by_name.get(name).map(|(_, kind)| kind) {
            None => plain(),
            Some(AttributeKind::Text) => match plain() {
                Attribute::Integer(v) => Attribute::Text(v.to_string()),
                Attribute::Float(v) => Attribute::Text(v.to_string()),
                other => other,
            },
            Some(AttributeKind::Float) => match number() {
                Some(v) => Attribute::Float(v),
                None => plain(),
            },
            Some(AttributeKind::Integer) => match (value, number()) {
                (Value::Integer(_), _) => plain(),
                // a float in an integer attribute is common for start values
                (_, Some(v)) if v.trunc() == v && v.abs() < 9e18 => Attribute::Integer(v as i64),
                (_, Some(v)) => Attribute::Float(v),
                (_, None) => plain(),
            },
            Some(AttributeKind::Enum(words)) => {
                let index = match value {
                    Value::Integer(index) => usize::try_from(*index).ok(),
                    Value::Float(index) if index.trunc() == *index && *index >= 0.0 => Some(*index as usize),
                    Value::Float(_) => None,
                    // some tools write the word
                    Value::Text(word) => words
                        .iter()
                        .position(|known| known == word)
                        .or_else(|| words.iter().position(|known| known.eq_ignore_ascii_case(word.trim())))
                        .or_else(|| word.trim().parse().ok()),
                };
                match index.and_then(|index| words.get(index).map(|word| (index, word.clone()))) {
                    Some((index, word)) => Attribute::Enum { index, word },
                    None => {
                        let shown = match value {
                            Value::Integer(v) => v.to_string(),
                            Value::Float(v) => v.to_string(),
                            Value::Text(v) => format!("{v:?}"),
                        };
                        return Err(format!("{shown} is none of the {} words of its BA_DEF_", words.len()));
                    }
                }
            }
        })
    }

    /// The defaults of one kind of object.
    pub fn defaults(&self, object: Object) -> BTreeMap<String, Attribute> {
        let of_object = |name: &str| self.by_name.get(name).is_some_and(|(found, _)| *found == object);
        self.defaults
            .iter()
            .filter(|(name, _)| of_object(name))
            .filter_map(|(name, value)| Some((name.clone(), self.resolve(name, value).ok()?)))
            .collect()
    }
}

/// The number of an attribute, whatever type it was defined with.
pub(super) fn number(attribute: &Attribute) -> Option<f64> {
    match attribute {
        Attribute::Integer(v) => Some(*v as f64),
        Attribute::Float(v) => Some(*v),
        Attribute::Text(v) => v.trim().parse().ok(),
        Attribute::Enum { word, .. } => word.trim().parse().ok(),
    }
}

/// The text of an attribute; `None` for an empty one.
pub(super) fn text(attribute: &Attribute) -> Option<&str> {
    match attribute {
        Attribute::Text(v) | Attribute::Enum { word: v, .. } => Some(v.trim()).filter(|v| !v.is_empty()),
        Attribute::Integer(_) | Attribute::Float(_) => None,
    }
}

/// Milliseconds as a duration; `None` for 0, for less and for no number.
pub(super) fn milliseconds(attribute: Option<&Attribute>) -> Option<Duration> {
    let ms = attribute.and_then(number).filter(|ms| *ms > 0.0)?;
    Duration::try_from_secs_f64(ms / 1000.0).ok().filter(|time| !time.is_zero())
}

/// `GenSigStartValue` and `GenSigInactiveValue`: a raw value, for a float signal the number its bits stand for. `None` where the signal can't
/// hold it.
pub(super) fn raw_value(codec: &Codec, attribute: &Attribute) -> Option<Raw> {
    let raw = match codec.kind {
        Kind::F32 => number(attribute).map(|v| Raw::F32((v as f32).to_bits()))?,
        Kind::F64 => number(attribute).map(|v| Raw::F64(v.to_bits()))?,
        Kind::Unsigned | Kind::Signed => {
            let integer = match attribute {
                Attribute::Integer(v) => i128::from(*v),
                other => number(other).filter(|v| v.trunc() == *v && v.abs() < 1e20)? as i128,
            };
            Raw::from_i128(codec.kind, integer)?
        }
    };
    codec.check_raw(raw).ok().map(|()| raw)
}

/// The conventions of the words in `GenMsgSendType` and `GenSigSendType` differ by maker; their parts do not. `None` where
/// nothing is said.
pub(super) fn send_type(attribute: Option<&Attribute>) -> Option<SendType> {
    let word = match attribute? {
        Attribute::Text(word) | Attribute::Enum { word, .. } => word,
        // a number without an enumeration says nothing that can be known
        Attribute::Integer(_) | Attribute::Float(_) => return Some(SendType::default()),
    };
    let word: String = word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if word.is_empty() || word.contains("leerstring") {
        return None;
    }
    // "cyclic if active" is one thing; BAF: bei aktiver Funktion, while the function is active
    let word = word.replace("cyclicifactive", "ifactive").replace("enabledperiodic", "ifactive");
    let any = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    let not_cyclic = any(&["acyclic", "notcyclic", "noncyclic", "nocyclic"]);
    let on_write = not_cyclic || any(&["spontan", "onwrite", "event", "trigger", "immediate"]);
    Some(SendType {
        cyclic: any(&["cyclic", "periodic"]) && !not_cyclic,
        trigger: match () {
            () if on_write => Trigger::OnWrite,
            () if any(&["onchange"]) => Trigger::OnChange,
            () => Trigger::No,
        },
        if_active: any(&["ifactive", "baf"]),
        repeated: any(&["repetition", "repeat"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbc::codec::ByteOrder;

    #[test]
    fn send_types_of_many_makers() {
        let check = |word: &str, want: &str| {
            let shown = match send_type(Some(&Attribute::Text(word.into()))) {
                None => "nothing".to_owned(),
                Some(SendType { cyclic, trigger, if_active, repeated }) => {
                    let parts = [
                        (cyclic, "cyclic"),
                        (trigger == Trigger::OnWrite, "write"),
                        (trigger == Trigger::OnChange, "change"),
                        (if_active, "active"),
                        (repeated, "repeated"),
                    ];
                    parts.into_iter().filter(|(there, _)| *there).map(|(_, part)| part).collect::<Vec<_>>().join(" ")
                }
            };
            assert_eq!(shown, want, "{word}");
        };
        // Vector, messages and signals
        check("Cyclic", "cyclic");
        check("OnWrite", "write");
        check("OnWriteWithRepetition", "write repeated");
        check("OnChange", "change");
        check("OnChangeWithRepetition", "change repeated");
        check("IfActive", "active");
        check("IfActiveWithRepetition", "active repeated");
        check("NoMsgSendType", "");
        check("NoSigSendType", "");
        check("OnChangeAndIfActive", "change active");
        check("OnChangeAndIfActiveWithRepetition", "change active repeated");
        check("CyclicAndIfActive", "cyclic active");
        // other makers
        check("cyclicX", "cyclic");
        check("spontanX", "write");
        check("spontaneous", "write");
        check("cyclicIfActive", "active");
        check("cyclicIfActiveX", "active");
        check("cyclicIfActiveFast", "active");
        check("spontanWithDelay", "write");
        check("spontanWithRepetition", "write repeated");
        check("cyclicAndSpontanX", "cyclic write");
        check("cyclicAndSpontaneous", "cyclic write");
        check("cyclicAndSpontanWithDelay", "cyclic write");
        check("cyclicIfActiveAndSpontanWD", "write active");
        check("cyclicWithRepeatOnDemand", "cyclic repeated");
        check("BAF", "active");
        check("cyclicAndBAF", "cyclic active");
        check("FixedPeriodic", "cyclic");
        check("EnabledPeriodic", "active");
        check("EventPeriodic", "cyclic write");
        check("Event", "write");
        check("acyclic", "write");
        check("CyclicAndEvent", "cyclic write");
        check("triggered", "write");
        check("not_used", "");
        check("NotUsed", "");
        check("none", "");
        check("Vector_LeerString", "nothing");
        check(" ", "nothing");
        assert_eq!(send_type(None), None);
        assert_eq!(send_type(Some(&Attribute::Integer(0))), Some(SendType::default()));
    }

    #[test]
    fn values_by_their_definition() {
        let mut definitions = Definitions::default();
        let words = || AttributeKind::Enum(vec!["Cyclic".into(), "Event".into()]);
        definitions.define(Object::Message, "E".into(), words());
        definitions.define(Object::Message, "I".into(), AttributeKind::Integer);
        definitions.define(Object::Message, "F".into(), AttributeKind::Float);
        definitions.define(Object::Network, "T".into(), AttributeKind::Text);
        definitions.set_default("E".into(), Value::Text("Event".into()));
        definitions.set_default("T".into(), Value::Text("can".into()));
        let check = |name: &str, value: Value, want: Option<Attribute>| {
            assert_eq!(definitions.resolve(name, &value).ok(), want, "{name} {value:?}");
        };
        let event = || Attribute::Enum { index: 1, word: "Event".into() };
        check("E", Value::Integer(1), Some(event()));
        check("E", Value::Text("event".into()), Some(event()));
        check("E", Value::Text("1".into()), Some(event()));
        check("E", Value::Integer(2), None);
        check("E", Value::Integer(-1), None);
        check("I", Value::Float(5.0), Some(Attribute::Integer(5)));
        check("I", Value::Text("7".into()), Some(Attribute::Integer(7)));
        check("I", Value::Integer(1 << 70), Some(Attribute::Float((1i128 << 70) as f64)));
        check("F", Value::Integer(2), Some(Attribute::Float(2.0)));
        check("T", Value::Integer(2), Some(Attribute::Text("2".into())));
        check("?", Value::Integer(2), Some(Attribute::Integer(2)));
        assert_eq!(definitions.defaults(Object::Message), BTreeMap::from([("E".into(), event())]));
    }

    #[test]
    fn times_and_start_values() {
        let ms = |v| milliseconds(Some(&v));
        assert_eq!(ms(Attribute::Integer(100)), Some(Duration::from_millis(100)));
        assert_eq!(ms(Attribute::Float(2.5)), Some(Duration::from_micros(2500)));
        assert_eq!(ms(Attribute::Integer(0)), None);
        assert_eq!(ms(Attribute::Integer(-5)), None);
        assert_eq!(ms(Attribute::Float(f64::NAN)), None);
        assert_eq!(ms(Attribute::Float(1e300)), None);

        let codec = |kind, size| Codec::new(0, size, ByteOrder::LittleEndian, kind, 0.5, 1.0).unwrap();
        let start = |kind, size, value| raw_value(&codec(kind, size), &value);
        assert_eq!(start(Kind::Unsigned, 8, Attribute::Float(255.0)), Some(Raw::Unsigned(255)));
        assert_eq!(start(Kind::Unsigned, 8, Attribute::Integer(256)), None);
        assert_eq!(start(Kind::Unsigned, 8, Attribute::Float(0.5)), None);
        assert_eq!(start(Kind::Signed, 8, Attribute::Integer(-128)), Some(Raw::Signed(-128)));
        assert_eq!(start(Kind::F32, 32, Attribute::Float(1.5)), Some(Raw::F32(1.5f32.to_bits())));
    }
}
