//! Alarms as conditions, by asyncua, a test for each category, and by node-opcua; a flood of them.

crate::tests! {
    Tools: alarm_nodes, alarm_events, alarm_methods, alarm_restarts, alarms_node_opcua, alarm_flood;
    Vcan: a_bus_that_is_off_is_one_alarm;
}

fn category(name: &str) {
    super::check("alarms.py", &["--category", name]);
}

fn alarm_nodes() {
    category("nodes");
}

fn alarm_events() {
    category("events");
}

fn alarm_methods() {
    category("methods");
}

fn alarm_restarts() {
    category("restarts");
}

fn alarms_node_opcua() {
    super::node("alarms.mjs", &["--alarms", "--model"]);
}

/// A minute of it is in tests/peers/flood.py.
fn alarm_flood() {
    super::check("flood.py", &["--seconds", "10"]);
}

fn a_bus_that_is_off_is_one_alarm() {
    super::check("busoff.py", &[]);
}
