//! `state_machine` of a section: the numbers of the E2E state machine, checked against the rules of the specification.

use serde::Deserialize;

use super::Part;
use crate::protection::StateMachine;

/// Each as AUTOSAR calls it, without the words that all have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WrittenStates {
    pub window_init: Option<i64>,
    pub window_valid: Option<i64>,
    pub window_invalid: Option<i64>,
    pub min_ok_init: Option<i64>,
    pub min_ok_valid: Option<i64>,
    pub min_ok_invalid: Option<i64>,
    pub max_error_init: Option<i64>,
    pub max_error_valid: Option<i64>,
    pub max_error_invalid: Option<i64>,
    pub clear_to_invalid: Option<bool>,
}

impl Part<'_, '_> {
    /// The usual state machine with what is written.
    pub fn state_machine(&mut self) -> StateMachine {
        let usual = StateMachine::USUAL;
        let Some(written) = self.written.state_machine.clone() else { return usual };
        let windows = [
            ("window_init", written.window_init, usual.window_init),
            ("window_valid", written.window_valid, usual.window_valid),
            ("window_invalid", written.window_invalid, usual.window_invalid),
        ];
        let [window_init, window_valid, window_invalid] = windows.map(|entry| self.count(entry, 1));
        let least = [
            ("min_ok_init", written.min_ok_init, usual.min_ok_init),
            ("min_ok_valid", written.min_ok_valid, usual.min_ok_valid),
            ("min_ok_invalid", written.min_ok_invalid, usual.min_ok_invalid),
        ];
        let [min_ok_init, min_ok_valid, min_ok_invalid] = least.map(|entry| self.count(entry, 1));
        let most = [
            ("max_error_init", written.max_error_init, usual.max_error_init),
            ("max_error_valid", written.max_error_valid, usual.max_error_valid),
            ("max_error_invalid", written.max_error_invalid, usual.max_error_invalid),
        ];
        let [max_error_init, max_error_valid, max_error_invalid] = most.map(|entry| self.count(entry, 0));
        // the constraints of PRS E2EProtocol on E2E_SMConfigType
        for (holds, rule) in [
            (min_ok_init + max_error_init <= window_init, "min_ok_init + max_error_init must fit into window_init"),
            (
                min_ok_valid + max_error_valid <= window_valid,
                "min_ok_valid + max_error_valid must fit into window_valid",
            ),
            (
                min_ok_invalid + max_error_invalid <= window_invalid,
                "min_ok_invalid + max_error_invalid must fit into window_invalid",
            ),
            (
                window_init <= window_valid && window_invalid <= window_valid,
                "window_valid must be the longest of the three windows",
            ),
            (
                min_ok_valid <= min_ok_init && min_ok_init <= min_ok_invalid,
                "min_ok_valid, min_ok_init and min_ok_invalid must not decrease in this order",
            ),
            (
                max_error_valid >= max_error_init && max_error_init >= max_error_invalid,
                "max_error_valid, max_error_init and max_error_invalid must not increase in this order",
            ),
        ] {
            if !holds {
                let numbers = format!(
                    "windows {window_init}, {window_valid}, {window_invalid}; min_ok {min_ok_init}, {min_ok_valid}, {min_ok_invalid}; max_error {max_error_init}, {max_error_valid}, {max_error_invalid}"
                );
                self.error("state_machine", format!("{rule} (init, valid, invalid: {numbers})"));
            }
        }
        StateMachine {
            window_init,
            window_valid,
            window_invalid,
            min_ok_init,
            max_error_init,
            min_ok_valid,
            max_error_valid,
            min_ok_invalid,
            max_error_invalid,
            clear_to_invalid: written.clear_to_invalid.unwrap_or(usual.clear_to_invalid),
        }
    }

    fn count(&mut self, (key, written, usual): (&str, Option<i64>, u8), least: i64) -> u8 {
        let most = StateMachine::LONGEST;
        match written {
            None => usual,
            Some(number) if (least..=most.into()).contains(&number) => number as u8,
            Some(number) => {
                self.error("state_machine", format!("{key} goes from {least} to {most}; not {number}"));
                usual
            }
        }
    }
}
