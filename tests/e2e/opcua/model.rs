//! The information model by asyncua: types and instances, companion specifications, the NodeSet file.

crate::tests! {
    Tools: information_model;
}

fn information_model() {
    super::check("model.py", &[]);
}
