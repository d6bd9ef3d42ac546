//! Whether conditions hold: comparisons with what was received.

use super::receive::Inputs;
use crate::plan::Condition;
use crate::store::Writer;

/// Whether all hold; `None` where none is wrong, and one can't be told because its tag is not good.
pub(super) fn all(conditions: &[Condition], inputs: &Inputs, store: &Writer) -> Option<bool> {
    told(conditions.iter().map(|condition| {
        let sample = inputs.sample(store, condition.tag, condition.source_address);
        (condition, sample.value.filter(|_| sample.causes.is_good()))
    }))
}

/// The same for values at hand; `None` for one that is not good.
pub(super) fn told<'a>(conditions: impl Iterator<Item = (&'a Condition, Option<f64>)>) -> Option<bool> {
    let mut told = Some(true);
    for (condition, value) in conditions {
        match value.map(|value| condition.comparison.holds(value, condition.value)) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => told = None,
        }
    }
    told
}
