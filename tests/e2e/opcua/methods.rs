//! Methods, leases that sessions hold, and writes that go together.

crate::tests! {
    Tools: methods, writes_together, leases;
    Vcan: a_lease_on_the_wire;
}

fn category(name: &str) {
    super::check("methods.py", &["--category", name]);
}

fn methods() {
    category("methods");
}

fn writes_together() {
    category("together");
}

fn leases() {
    category("leases");
}

/// The same client is killed, and candump says what is on the bus then.
fn a_lease_on_the_wire() {
    super::check("methods.py", &["--category", "leases", "--only", "killed", "--interface", "vcan0"]);
}
