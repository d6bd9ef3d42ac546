//! The HTTP listener: metrics, health and the landing page.

pub mod config;
mod metrics;
#[cfg(test)]
mod tests;

pub use config::Config;
