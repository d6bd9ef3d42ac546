//! Times and quality: every frame with its own receive stamp, every change of quality.

crate::tests! {
    Tools: stamps_and_changes_of_quality;
}

fn stamps_and_changes_of_quality() {
    super::check("times.py", &[]);
}
