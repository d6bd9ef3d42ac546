//! Methods, leases that sessions hold, and writes that go together.

crate::tests! {
    Tools: methods, writes_together, leases;
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
