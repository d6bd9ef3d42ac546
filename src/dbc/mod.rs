//! DBC files: what they say (`model`), reading them with every mistake placed (`parse`), bits to engineering values and back (`codec`, and `decoder` for many frames).

pub mod codec;
pub mod decoder;
pub mod lookup;
pub mod message;
pub mod model;
pub mod parse;
pub mod validity;

mod assemble;
mod attribute;
mod gather;
mod grammar;
mod item;
mod multiplex;
mod repair;
mod signals;
mod statement;
mod text;
mod token;

pub use codec::{Codec, EncodeError, Raw};
pub use decoder::Decoder;
pub use lookup::Lookup;
pub use message::MessageError;
pub use model::{Attribute, Condition, Database, Group, Message, Node, SendType, Signal, Trigger};
pub use parse::parse;
