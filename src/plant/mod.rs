//! The network process: it reads the store, sends commands, and speaks the plant's protocols. It can't open a CAN socket.
//!
//! One folder or file per protocol, none knows another; each is two mappings (sample to protocol, protocol to command)
//! and a server.

pub mod access;
pub mod active;
pub mod alarm;
pub mod figure;
pub mod http;
pub mod j1939;
pub mod link;
pub mod machine;
pub mod opcua;
pub mod private;
pub mod pulse;
#[cfg(test)]
mod scratch;
pub mod status;
pub mod text;
pub mod view;

pub use view::{Plant, View};
