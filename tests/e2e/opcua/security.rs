//! Security: what is offered, channels and sessions, users, certificates and their authorities.

crate::tests! {
    Tools: offered, channels, users, certificates, chains;
}

fn category(name: &str) {
    super::check("security.py", &["--category", name]);
}

fn offered() {
    category("offered");
}

fn channels() {
    category("channels");
}

fn users() {
    category("users");
}

fn certificates() {
    category("certificates");
}

fn chains() {
    category("chains");
}
