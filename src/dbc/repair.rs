//! Statements that the grammar refuses although their meaning is plain: read from their tokens, with a note of each liberty.

use super::codec::ByteOrder;
use super::item::{AttributeKind, Item, MessageLine, Multiplex, Object, SignalLine, Target, Value, ValueType};
use super::token::{Token, parse_number, tokens};

/// What the statement says, and what had to be assumed.
pub(super) struct Repaired {
    pub item: Item,
    pub notes: Vec<String>,
}

/// Reads a flattened statement whose first word is `word`; `None` where its meaning is not plain.
pub(super) fn read(word: &str, statement: &str) -> Option<Repaired> {
    let found = attempt(word, statement, true);
    if found.is_none() && statement.contains("\\\"") {
        let mut found = attempt(word, statement, false)?;
        found.notes.push("the backslash before a quote taken as the end of a text".into());
        return Some(found);
    }
    found
}

fn attempt(word: &str, statement: &str, escapes: bool) -> Option<Repaired> {
    let mut tokens = tokens(statement, escapes);
    while tokens.last() == Some(&Token::Sign(';')) {
        tokens.pop();
    }
    let mut reader = Reader { tokens: tokens.iter().skip(1).copied().peekable(), notes: Vec::new(), escapes };
    let item = match word {
        "BU_" => reader.nodes(),
        "BO_" => reader.message(),
        "SG_" => reader.signal(),
        "VAL_" => reader.labels(),
        "SIG_VALTYPE_" => reader.value_type(),
        "SG_MUL_VAL_" => reader.multiplex(),
        "BO_TX_BU_" => reader.senders(),
        "CM_" => reader.comment(),
        "BA_DEF_" => reader.definition(),
        "BA_DEF_DEF_" => reader.default(),
        "BA_" => reader.attribute(),
        _ => None,
    }?;
    reader.tokens.next().is_none().then_some(Repaired { item, notes: reader.notes })
}

struct Reader<'a, I: Iterator<Item = Token<'a>>> {
    tokens: std::iter::Peekable<I>,
    notes: Vec<String>,
    escapes: bool,
}

impl<'a, I: Iterator<Item = Token<'a>>> Reader<'a, I> {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn name(&mut self) -> Option<String> {
        self.tokens.next()?.name().map(String::from)
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        (self.tokens.next()? == Token::Sign(sign)).then_some(())
    }

    /// Takes the sign if it is next.
    fn takes(&mut self, sign: char) -> bool {
        self.tokens.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn integer(&mut self) -> Option<u64> {
        self.tokens.next()?.number()?.parse().ok()
    }

    fn number(&mut self) -> Option<f64> {
        parse_number(self.tokens.next()?.number()?)
    }

    fn text(&mut self) -> Option<String> {
        match self.tokens.next()? {
            Token::Text(text) if self.escapes => Some(super::grammar::unescape(text.into())),
            Token::Text(text) => Some(text.into()),
            Token::Word(_) | Token::Number(_) | Token::Sign(_) => None,
        }
    }

    /// All names up to the end; commas between them may be missing.
    fn names(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        while self.tokens.peek().is_some() {
            if !self.takes(',') {
                names.push(self.name()?);
            }
        }
        names.retain(|name| !matches!(name.as_str(), "Vector__XXX" | "VectorXXX" | "VECTOR__XXX"));
        Some(names)
    }

    fn nodes(&mut self) -> Option<Item> {
        self.sign(':')?;
        self.names().map(Item::Nodes)
    }

    fn message(&mut self) -> Option<Item> {
        let id = self.integer()?;
        let name = self.name()?;
        self.sign(':')?;
        let size = self.integer()?;
        let transmitter = self.names()?;
        if transmitter.len() > 1 {
            return None;
        }
        Some(Item::Message(MessageLine { id, name, size, transmitter: transmitter.into_iter().next() }))
    }

    fn signal(&mut self) -> Option<Item> {
        let name = self.name()?;
        let multiplex = self.indicator()?;
        let start = self.integer()?;
        self.sign('|')?;
        let size = self.integer()?;
        self.sign('@')?;
        let order = match self.integer()? {
            0 => ByteOrder::BigEndian,
            1 => ByteOrder::LittleEndian,
            _ => return None,
        };
        let signed = match self.tokens.next()? {
            Token::Sign('+') => false,
            Token::Sign('-') => true,
            _ => return None,
        };
        self.sign('(')?;
        let factor = self.number()?;
        self.sign(',')?;
        let offset = self.number()?;
        self.sign(')')?;
        let (min, max) = self.range()?;
        let unit = match self.tokens.peek() {
            Some(Token::Text(_)) => self.text()?,
            _ => {
                self.note("no unit");
                String::new()
            }
        };
        let receivers = self.names()?;
        let line =
            SignalLine { name, multiplex, start, size, order, signed, factor, offset, min, max, unit, receivers };
        Some(Item::Signal(Box::new(line)))
    }

    fn indicator(&mut self) -> Option<Multiplex> {
        let mut mark = String::new();
        while !self.takes(':') {
            mark.push_str(&self.name()?);
        }
        if mark.is_empty() {
            return Some(Multiplex::Plain);
        }
        match mark.as_str() {
            "M" => return Some(Multiplex::Multiplexor),
            "m" => return Some(Multiplex::Bare),
            _ => {}
        }
        let value = mark.strip_prefix('m')?;
        match value.strip_suffix('M') {
            Some(value) => value.parse().ok().map(Multiplex::SelectedMultiplexor),
            None => value.parse().ok().map(Multiplex::Selected),
        }
    }

    /// `[min|max]`; none where it is missing or not two finite numbers.
    fn range(&mut self) -> Option<(f64, f64)> {
        if !self.takes('[') {
            self.note("no range");
            return Some((0.0, 0.0));
        }
        let mut limits = Vec::new();
        while !self.takes(']') {
            if !self.takes('|') {
                limits.push(match self.tokens.next()? {
                    Token::Number(number) => parse_number(number),
                    Token::Word(_) | Token::Sign('+' | '-') => None,
                    _ => return None,
                });
            }
        }
        Some(match limits[..] {
            [Some(min), Some(max)] => (min, max),
            _ => {
                self.note("the range is not two numbers and is left out");
                (0.0, 0.0)
            }
        })
    }

    fn labels(&mut self) -> Option<Item> {
        let id = match self.tokens.next()? {
            Token::Number(id) => id.parse().ok()?,
            // of an environment variable
            _ => {
                while self.tokens.next().is_some() {}
                return Some(Item::Nothing);
            }
        };
        let signal = self.name()?;
        let mut entries = Vec::new();
        while let Some(key) = self.tokens.next() {
            let key = key.number()?;
            if self.tokens.peek().is_none() {
                self.note(format!("no word behind the last value {key}"));
                break;
            }
            let word = self.text()?;
            let number = parse_number(key).filter(|number| number.trunc() == *number && number.abs() < 1e30);
            match (key.parse::<i128>(), number) {
                (Ok(key), _) => entries.push((key, word)),
                (Err(_), Some(number)) => {
                    self.note(format!("{key} taken as {number}"));
                    entries.push((number as i128, word));
                }
                (Err(_), None) => self.note(format!("{key} is no raw value: its word {word:?} is left out")),
            }
        }
        Some(Item::Labels { id, signal, entries })
    }

    fn value_type(&mut self) -> Option<Item> {
        let id = self.integer()?;
        let signal = self.name()?;
        self.takes(':');
        let kind = match self.integer()? {
            0 => ValueType::Integer,
            1 => ValueType::F32,
            2 => ValueType::F64,
            _ => return None,
        };
        Some(Item::ValueType { id, signal, kind })
    }

    fn multiplex(&mut self) -> Option<Item> {
        let id = self.integer()?;
        let signal = self.name()?;
        let multiplexor = self.name()?;
        let mut ranges = Vec::new();
        while self.tokens.peek().is_some() {
            if !self.takes(',') {
                let low = self.integer()?;
                ranges.push((low, if self.takes('-') { self.integer()? } else { low }));
            }
        }
        (!ranges.is_empty()).then_some(Item::Multiplex { id, signal, multiplexor, ranges })
    }

    fn senders(&mut self) -> Option<Item> {
        let id = self.integer()?;
        self.takes(':');
        Some(Item::Senders { id, nodes: self.names()? })
    }

    fn comment(&mut self) -> Option<Item> {
        let target = self.target()?;
        Some(Item::Comment { target, text: self.text()? })
    }

    fn target(&mut self) -> Option<Target> {
        let Some(Token::Word(kind)) = self.tokens.next_if(|token| matches!(token, Token::Word(_))) else {
            return Some(Target::Network);
        };
        Some(match kind {
            "BU_" => Target::Node(self.name()?),
            "BO_" => Target::Message(self.integer()?),
            "SG_" => Target::Signal(self.integer()?, self.name()?),
            "EV_" => {
                self.name()?;
                Target::EnvironmentVariable
            }
            _ => return None,
        })
    }

    fn definition(&mut self) -> Option<Item> {
        let object = match self.tokens.next_if(|token| matches!(token, Token::Word(_))) {
            None => Object::Network,
            Some(Token::Word("BU_")) => Object::Node,
            Some(Token::Word("BO_")) => Object::Message,
            Some(Token::Word("SG_")) => Object::Signal,
            Some(Token::Word("EV_")) => Object::EnvironmentVariable,
            Some(_) => return None,
        };
        let name = self.text()?;
        let Token::Word(written) = self.tokens.next()? else { return None };
        let kind = match written {
            "INT" | "HEX" => AttributeKind::Integer,
            "FLOAT" => AttributeKind::Float,
            "STRING" => AttributeKind::Text,
            "ENUM" => AttributeKind::Enum(Vec::new()),
            "BOOL" => {
                self.note("BOOL is no attribute type: taken as INT");
                AttributeKind::Integer
            }
            "STR" => {
                self.note("STR taken as STRING");
                AttributeKind::Text
            }
            "ENU" => {
                self.note("ENU taken as ENUM");
                AttributeKind::Enum(Vec::new())
            }
            _ => return None,
        };
        // the limits of numbers have no meaning for us
        let mut words = Vec::new();
        while let Some(token) = self.tokens.peek() {
            match token {
                Token::Text(_) => words.push(self.text()?),
                Token::Number(_) | Token::Sign(',') => {
                    self.tokens.next();
                }
                // limits in hexadecimal or of a BOOL; any other word belongs to the next statement
                Token::Word(word) if word.starts_with("0x") || matches!(*word, "False" | "True" | "false" | "true") => {
                    self.tokens.next();
                }
                Token::Word(_) | Token::Sign(_) => return None,
            }
        }
        let kind = if let AttributeKind::Enum(_) = kind { AttributeKind::Enum(words) } else { kind };
        Some(Item::Definition { object, name, kind })
    }

    fn default(&mut self) -> Option<Item> {
        let name = self.text()?;
        Some(Item::Default { name, value: self.value()? })
    }

    fn attribute(&mut self) -> Option<Item> {
        let name = self.text()?;
        let is_object = |token: &Token| matches!(token, Token::Word("BU_" | "BO_" | "SG_" | "EV_"));
        let target = if self.tokens.peek().is_some_and(is_object) { self.target()? } else { Target::Network };
        Some(Item::Attribute { target, name, value: self.value()? })
    }

    fn value(&mut self) -> Option<Value> {
        if let Some(Token::Text(_)) = self.tokens.peek() {
            return self.text().map(Value::Text);
        }
        match self.tokens.next()? {
            Token::Number(number) => match number.parse() {
                Ok(integer) => Some(Value::Integer(integer)),
                Err(_) => parse_number(number).map(Value::Float),
            },
            Token::Word(word) => {
                self.note(format!("{word} taken as a text"));
                Some(Value::Text(word.into()))
            }
            Token::Text(_) | Token::Sign(_) => None,
        }
    }
}
