//! Whether conditions hold: comparisons with what was received.

use super::receive::Inputs;
use crate::plan::Condition;
use crate::store::Writer;

/// Whether all hold; `None` where none is wrong, and one can't be told because its tag is not good.
pub(super) fn all(conditions: &[Condition], inputs: &Inputs, store: &Writer) -> Option<bool> {
    let mut told = Some(true);
    for condition in conditions {
        match one(condition, inputs, store) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => told = None,
        }
    }
    told
}

/// Whether one holds; `None` where its tag is not good.
pub(super) fn one(condition: &Condition, inputs: &Inputs, store: &Writer) -> Option<bool> {
    let sample = inputs.sample(store, condition.tag, condition.source_address);
    let value = sample.value.filter(|_| sample.causes.is_good())?;
    Some(condition.comparison.holds(value, condition.value))
}
