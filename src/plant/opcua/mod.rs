//! The OPC UA server of the plant.
//!
//! What a client sees (`mapping`, `units`, `space`) stands apart from the server layer and the hooks into it (`scene`, `nodes`,
//! `writing`, `sampling`, `login`, `server`). `guard` is the public
//! listener before that layer (what it goes by is in `framing`), `pki` the certificates.

pub mod config;
pub mod framing;
pub mod guard;
pub mod login;
pub mod machine;
mod mapping;
pub mod nodes;
pub mod pki;
pub mod sampling;
pub mod scene;
pub mod server;
pub mod space;
pub mod units;
pub mod writing;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use server::{WORKER_STACK, run};
