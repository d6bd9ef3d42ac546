//! Canvoy: CAN on the machine, OPC UA and Prometheus to the plant.
//!
//! ```text
//!    controller process: the machine                         |  plant process: the network
//!    one real-time thread, no TCP, no heap after start        |  tokio, no CAN socket, can be killed at any time
//!                                                             |
//!  can0 ─┐                                                    |      ┌─> opcua
//!  can1 ─┼─> bus ──> control.step(now, event) ──> store ══════|═read═┼─> http (metrics, page)
//!  sim  ─┘              │       ▲                (memfd)      |
//!   ▲                   │       └────── command ◀═════════════|═write══ opcua
//!   └──── transmit ◀────┘              (unix socket)          |
//! ```
//!
//! Each module uses only those above it in this list; `tests/it/tidy.rs` holds that.
//!
//! | module | responsibility |
//! | --- | --- |
//! | [`can`], [`quality`], [`diagnostic`] | vocabulary: frame and identifier, why a value is not good, mistakes with their place |
//! | [`candump`] | lines of candump logs |
//! | [`dbc`] | what a DBC file says; compiled codecs: bits ↔ raw ↔ engineering values |
//! | [`protection`] | counters and checksums of messages: written, checked |
//! | [`plan`] | configuration and DBC resolved to dense indices: the one description both processes work from |
//! | [`store`] | the down door: shared memory of records under sequence locks, written by the real-time thread |
//! | [`bus`] | frames in and out: SocketCAN, virtual; bus state, losses |
//! | [`sample`] | from a record to a value with its quality and time |
//! | [`command`] | the up door: the wire form of commands and the checks of the controller |
//! | [`control`] | the machine's behaviour as a pure state machine |
//! | [`sim`] | simulated devices: the demo plant, and playback of any plant |
//! | [`rt`] | the real-time thread: the only clock, scheduling class, memory locking |
//! | [`notify`] | what systemd is told |
//! | [`netlink`] | network interfaces as the kernel tells them and lets them be set |
//! | [`link`] | bit rate, up and restart of listed interfaces on the controller's word: a process of its own, the only one with a capability |
//! | [`controller`] | the machine process: real-time thread, two command sockets, bus supervision, watchdog |
//! | [`plant`] | the network process: a view of the store, and a folder per protocol |
//! | [`config`] | TOML and DBC files checked together → [`plan::Plan`]; every mistake at once, with its place |
//! | [`service`] | wiring of both processes, supervisor, exit codes, log |
//! | [`backup`] | a plant in one file: gathered, sealed, checked, put in place on another computer |
//! | [`cli`] | the subcommands |
//!
//! What is absent on purpose:
//! - the real-time plane (`can` to `control`, `sim`, `bus`, `rt`) knows no tokio, no tracing, no configuration and no network;
//! - `plant` can neither name nor open a bus; what it wants changed goes through `command`, and the controller checks it;
//! - nothing but `rt` and `controller` reads a clock on the machine side, so everything that matters is tested as data.

pub mod backup;
pub mod bus;
pub mod can;
pub mod candump;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod controller;
pub mod dbc;
pub mod diagnostic;
pub mod link;
pub mod netlink;
pub mod notify;
pub mod plan;
pub mod plant;
pub mod protection;
pub mod quality;
pub mod rt;
pub mod sample;
pub mod service;
pub mod sim;
pub mod store;
