//! Canvoy: CAN on the machine, OPC UA and Prometheus to the plant.

pub mod can;
pub mod dbc;
pub mod diagnostic;
pub mod plan;
pub mod quality;
pub mod store;
