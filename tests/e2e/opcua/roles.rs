//! Every role against every kind of operation, over the wire.

crate::tests! {
    Tools: roles;
}

fn roles() {
    super::check("roles.py", &[]);
}
