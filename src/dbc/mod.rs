//! DBC files: what they say (`model`), reading them with every mistake placed (`parse`), bits to engineering values and back (`codec`).

pub mod codec;
pub mod lookup;
pub mod model;
pub mod validity;

pub use codec::{Codec, EncodeError, Raw};
pub use lookup::Lookup;
pub use model::{Attribute, Condition, Database, Group, Message, Node, SendType, Signal};
