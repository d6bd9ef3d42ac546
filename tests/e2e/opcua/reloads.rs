//! Changes of the model over reloads, by asyncua: events, NodeVersion, SemanticsChanged, and nothing of what is hidden.

crate::tests! {
    Tools: changes_are_told;
}

fn changes_are_told() {
    super::check("reloads.py", &[]);
}
