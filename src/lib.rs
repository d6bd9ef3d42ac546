//! Canvoy: CAN on the machine, OPC UA and Prometheus to the plant.

pub mod can;
pub mod command;
pub mod control;
pub mod dbc;
pub mod diagnostic;
pub mod notify;
pub mod plan;
pub mod plant;
pub mod quality;
pub mod sample;
pub mod store;
