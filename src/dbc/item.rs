//! What one DBC statement says, names and numbers still as the file has them.

use super::codec::ByteOrder;

/// One statement with a meaning for us.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Version(String),
    Nodes(Vec<String>),
    Message(MessageLine),
    Signal(Box<SignalLine>),
    /// BO_TX_BU_
    Senders {
        id: u64,
        nodes: Vec<String>,
    },
    Comment {
        target: Target,
        text: String,
    },
    /// BA_DEF_
    Definition {
        object: Object,
        name: String,
        kind: AttributeKind,
    },
    /// BA_DEF_DEF_
    Default {
        name: String,
        value: Value,
    },
    /// BA_
    Attribute {
        target: Target,
        name: String,
        value: Value,
    },
    /// BA_REL_ of a node and a signal.
    Relation {
        node: String,
        id: u64,
        signal: String,
        name: String,
        value: Value,
    },
    /// VAL_
    Labels {
        id: u64,
        signal: String,
        entries: Vec<(i128, String)>,
    },
    /// SIG_VALTYPE_
    ValueType {
        id: u64,
        signal: String,
        kind: ValueType,
    },
    /// SG_MUL_VAL_
    Multiplex {
        id: u64,
        signal: String,
        multiplexor: String,
        ranges: Vec<(u64, u64)>,
    },
    /// Says nothing that we use.
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct MessageLine {
    /// As written, bit 31 for an extended identifier.
    pub id: u64,
    pub name: String,
    pub size: u64,
    pub transmitter: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SignalLine {
    pub name: String,
    pub multiplex: Multiplex,
    pub start: u64,
    pub size: u64,
    pub order: ByteOrder,
    pub signed: bool,
    pub factor: f64,
    pub offset: f64,
    pub min: f64,
    pub max: f64,
    pub unit: String,
    pub receivers: Vec<String>,
}

/// The multiplexer indicator of an SG_ line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Multiplex {
    Plain,
    /// `M`
    Multiplexor,
    /// `m<n>`
    Selected(u64),
    /// `m<n>M`
    SelectedMultiplexor(u64),
    /// `m` without a number.
    Bare,
}

/// What a comment or an attribute is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    Network,
    Node(String),
    Message(u64),
    Signal(u64, String),
    EnvironmentVariable,
}

/// What an attribute is defined for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Network,
    Node,
    Message,
    Signal,
    EnvironmentVariable,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum AttributeKind {
    Integer,
    Float,
    Text,
    Enum(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Text(String),
}

/// SIG_VALTYPE_
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    Integer,
    F32,
    F64,
}
