//! Roles: each role against each operation, what attributes tell of it, and what changes with the user.

crate::tests! {
    Tools: table, seen, changes;
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
