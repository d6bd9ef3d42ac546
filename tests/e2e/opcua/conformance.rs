//! Conformance by asyncua, a test for each category, and by node-opcua.

crate::tests! {
    Tools: discovery, server, browse, attributes, analog, translate, writes, subscriptions, lifetimes, history, methods, diagnostics,
        audit, node_opcua;
}

fn category(name: &str) {
    super::check("conformance.py", &["--category", name]);
}

fn discovery() {
    category("discovery");
}

fn server() {
    category("server");
}

fn browse() {
    category("browse");
}

fn attributes() {
    category("attributes");
}

fn analog() {
    category("analog");
}

fn translate() {
    category("translate");
}

fn writes() {
    category("writes");
}

fn subscriptions() {
    category("subscriptions");
}

fn lifetimes() {
    category("lifetimes");
}

fn history() {
    category("history");
}

fn methods() {
    category("methods");
}

fn diagnostics() {
    category("diagnostics");
}

fn audit() {
    category("audit");
}

fn node_opcua() {
    super::node("conformance.mjs", &[]);
}
