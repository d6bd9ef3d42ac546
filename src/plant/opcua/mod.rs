//! The OPC UA server of the plant, on the types and cryptography of async-opcua; the server layer is ours.
//!
//! ```text
//! listener ─> connection ─> secure channel ─> service ─┬─> scene, view: attributes, browsing      (space)
//!                 ▲                                    ├─> writing ─> command door
//!                 │                                    ├─> subscription ◀─ sampler ◀─ store, ring
//!                 └───────────── answers ◀─────────────┴─> session, login, pki
//! ```
//!
//! What a client sees of the plant (`mapping`, `units`, `machine`, `space`) stands apart from how it is asked. `wire` reads
//! what strangers send, `limits` says how much of it.

pub mod application;
pub mod audit;
pub mod change;
pub mod channel;
pub mod condition;
pub mod config;
pub mod counters;
pub mod crypto;
pub mod diagnostics;
pub mod identity;
pub mod import;
pub mod limits;
pub mod locale;
pub mod login;
pub mod machine;
mod mapping;
pub mod nodeset;
pub mod pattern;
pub mod pki;
pub mod reading;
pub mod sampler;
pub mod scene;
pub mod server;
pub mod service;
pub mod session;
pub mod space;
pub mod subscription;
pub mod trace;
pub mod units;
pub mod versions;
pub mod view;
pub mod wire;
pub mod writing;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use server::run;
