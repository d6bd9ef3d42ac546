//! Robustness: hostile and clumsy clients, in sizes for continuous integration; `robustness.py --full` has the whole load.

crate::tests! {
    Tools: hostile_and_clumsy_clients;
}

fn hostile_and_clumsy_clients() {
    super::check("robustness.py", &[]);
}
