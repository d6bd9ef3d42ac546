//! The HTTP listener: metrics, health and the landing page.

pub mod config;

pub use config::Config;
