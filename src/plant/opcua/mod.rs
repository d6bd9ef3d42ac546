//! The OPC UA server of the plant.

pub mod config;

pub use config::Config;
