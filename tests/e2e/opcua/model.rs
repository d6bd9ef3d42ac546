//! The information model by asyncua and by node-opcua: types and instances, companion specifications, methods, the NodeSet file
//! in the servers of both.

crate::tests! {
    Tools: information_model, information_model_node_opcua, node_set_node_opcua;
    Vcan: names_that_are_claimed;
}

fn information_model() {
    super::check("model.py", &[]);
}

fn information_model_node_opcua() {
    super::node("model.mjs", &["--model"]);
}

fn node_set_node_opcua() {
    super::node("nodeset.mjs", &["--model", "--alarms"]);
}

fn names_that_are_claimed() {
    super::check("claims.py", &[]);
}
