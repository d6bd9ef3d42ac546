//! The E2E state machine: whether a stream of frames can be trusted, from the checks of the last ones (PRS, E2E state machine).

/// How many of the last checks count in each state, and what they must be. The names are those of E2E_SMConfigType;
/// windows are of 1 to [`StateMachine::LONGEST`] checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateMachine {
    pub window_init: u8,
    pub window_valid: u8,
    pub window_invalid: u8,
    pub min_ok_init: u8,
    pub max_error_init: u8,
    pub min_ok_valid: u8,
    pub max_error_valid: u8,
    pub min_ok_invalid: u8,
    pub max_error_invalid: u8,
    /// On the way to INVALID all earlier checks are forgotten (ClearToInvalid).
    pub clear_to_invalid: bool,
}

/// E2E_SMStateType; data may be used in `Valid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    NoData,
    Init,
    Valid,
    Invalid,
}

/// What a check of any profile means to the state machine (E2E_PCheckStatusType).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Ok,
    /// Repeated, or out of sequence: neither good nor an error, but it takes its place in the window.
    Counter,
    Error,
    NoNewData,
}

impl StateMachine {
    /// Longest window, in checks.
    pub const LONGEST: u8 = 64;

    /// One wrong checksum ends VALID at once, three checks in a row without a good frame do too; two good frames in a row
    /// bring it back.
    pub const USUAL: StateMachine = StateMachine {
        window_init: 2,
        window_valid: 3,
        window_invalid: 2,
        min_ok_init: 1,
        max_error_init: 0,
        min_ok_valid: 1,
        max_error_valid: 0,
        min_ok_invalid: 2,
        max_error_invalid: 0,
        clear_to_invalid: false,
    };
}

/// The state and the last checks.
#[derive(Clone, Debug)]
pub struct Machine {
    config: StateMachine,
    pub state: State,
    /// One bit a check, the last one in bit 0.
    ok: u64,
    error: u64,
}

impl Machine {
    /// E2E_SMCheckInit.
    pub fn new(config: StateMachine) -> Machine {
        Machine { config, state: State::NoData, ok: 0, error: 0 }
    }

    /// E2E_SMCheckInit again.
    pub fn reset(&mut self) {
        *self = Machine::new(self.config);
    }

    /// E2E_SMCheck with transitToInvalidExtended FALSE: one more check, and what the state is after it.
    pub fn check(&mut self, check: Check) -> State {
        self.ok = self.ok << 1 | u64::from(check == Check::Ok);
        self.error = self.error << 1 | u64::from(check == Check::Error);
        let config = &self.config;
        match self.state {
            State::NoData => {
                if !matches!(check, Check::Error | Check::NoNewData) {
                    self.forget(0);
                    self.state = State::Init;
                }
            }
            State::Init => {
                let (ok, error) = self.counts(config.window_init);
                if error > config.max_error_init {
                    self.invalidate(config.window_init);
                } else if ok >= config.min_ok_init {
                    self.forget(config.window_init);
                    self.state = State::Valid;
                }
            }
            State::Valid => {
                let (ok, error) = self.counts(config.window_valid);
                if error > config.max_error_valid || ok < config.min_ok_valid {
                    self.invalidate(config.window_valid);
                }
            }
            State::Invalid => {
                let (ok, error) = self.counts(config.window_invalid);
                if error <= config.max_error_invalid && ok >= config.min_ok_invalid {
                    self.forget(config.window_invalid);
                    self.state = State::Valid;
                }
            }
        }
        self.state
    }

    /// Good ones and errors among the last checks (E2E_SMAddStatus, PRS_E2E_00466).
    fn counts(&self, window: u8) -> (u8, u8) {
        let mask = last(window);
        ((self.ok & mask).count_ones() as u8, (self.error & mask).count_ones() as u8)
    }

    fn invalidate(&mut self, window: u8) {
        self.forget(if self.config.clear_to_invalid { 0 } else { window });
        self.state = State::Invalid;
    }

    /// Keeps so many of the last checks: a longer window of the next state must not see older ones
    /// (E2E_SMClearRemainingStatus, PRS_E2E_00607; with 0 E2E_SMClearStatus, PRS_E2E_00467).
    fn forget(&mut self, keep: u8) {
        self.ok &= last(keep);
        self.error &= last(keep);
    }
}

/// The bits of the last checks.
fn last(checks: u8) -> u64 {
    match checks {
        0 => 0,
        _ => u64::MAX >> (64 - checks.min(StateMachine::LONGEST)),
    }
}
