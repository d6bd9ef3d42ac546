//! Roles: each role against each operation, what attributes tell of it, and what changes with the user.

crate::tests! {
    Tools: table, seen, hidden, shown, changes;
}

fn category(name: &str) {
    super::check("roles.py", &["--category", name]);
}

fn table() {
    category("table");
}

fn seen() {
    category("seen");
}

fn changes() {
    category("changes");
}

fn hidden() {
    category("hidden");
}

fn shown() {
    category("shown");
}
