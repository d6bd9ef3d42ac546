//! Wiring of the processes: what the command line asks for, put together and kept running.
//!
//! ```text
//!   canvoy run, demo ──> supervisor ──┬──> controller   the machine: buses, store, command socket
//!                                     └──> plant        the network: OPC UA, HTTP
//! ```
//!
//! Under systemd there is no supervisor: each process is a unit of its own.

pub mod acceptance;
pub mod banner;
pub mod child;
pub mod client;
pub mod controller;
pub mod credential;
pub mod exit;
pub mod folder;
pub mod listeners;
pub mod log;
pub mod plant;
pub mod process;
pub mod proof;
pub mod restart;
pub mod source;
pub mod supervisor;
pub mod terminal;

#[cfg(test)]
pub(crate) mod tests;
