//! Tests of the library that need nothing installed; `canvoy` as a process is tests/e2e.

mod allocations;
mod bench;
mod config;
mod config_files;
mod config_fleet;
mod config_reception;
mod control;
mod control_alarms;
mod control_authority;
mod control_life;
mod control_links;
mod control_names;
mod control_receive;
mod control_reload;
mod control_routes;
mod control_transmit;
mod dbc;
mod machine;
mod protection;
mod protection_config;
mod store;
mod tidy;
