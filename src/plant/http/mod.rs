//! The HTTP listener: metrics, health and the landing page.

pub mod config;
mod metrics;
mod snapshot;
#[cfg(test)]
pub(in crate::plant) mod tests;

pub use config::Config;
